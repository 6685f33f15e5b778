package backfill_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/backfill"
	"github.com/atview/atview/ingest/car"
	"github.com/atview/atview/ingest/car/cartest"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
)

func TestRepositoriesAreListedAndPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 20
	for i := range n {
		w.net.add(didOf(i), i)
	}
	cfg := w.config()
	cfg.RelayURL = w.net.srv.URL + "/"
	b := w.new(cfg)
	stop := w.run(b)
	for i := range n {
		r := w.state(didOf(i), "published")
		if r.Why != "listed" || r.Rev != string(rev1) || r.Records != int64(i) || r.Bytes == 0 || r.Pds != w.net.srv.URL || r.Coverage != stream.Coverage(cfg.NSIDs) {
			t.Errorf("%+v", r)
		}
	}
	events, rejects := w.published(w.lane)
	for i := range n {
		w.snapshot(events[didOf(i)], i, rev1)
		if len(events[didOf(i)]) != i+1 || w.net.times(didOf(i)) != 1 {
			t.Errorf("repository %d: %d events, fetched %d times", i, len(events[didOf(i)]), w.net.times(didOf(i)))
		}
	}
	if len(rejects) != 0 {
		t.Errorf("%d rejects", len(rejects))
	}
	covers, err := queries.New().Coverages(t.Context(), w.pool, []string{stream.Coverage(cfg.NSIDs)})
	if err != nil || len(covers) != 1 || len(covers[0].Collections) != 1 || covers[0].Collections[0] != string(post) {
		t.Errorf("coverage %v, %v", covers, err)
	}
	w.finish()
	counts, err := b.Counts(t.Context())
	if want := (backfill.Counts{Done: n, Records: n * (n - 1) / 2}); err != nil || counts != want {
		t.Errorf("%+v, %v", counts, err)
	}
	s := b.Stats()
	if s.ReposPublished != n || s.ReposListed != n || s.RecordsPublished != n*(n-1)/2 || s.BytesRead == 0 {
		t.Errorf("%+v", s)
	}
	stop()
	noFiles(t, cfg.Fetch.TempDir)
}

func TestOddRecordsBecomeRejects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 0)
	float := []byte("\xa1\x61a\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00")
	records := cartest.Posts(t, 3)
	records["app.bsky.feed.post/float"] = float
	records["app.bsky.feed.post/bad key"] = []byte("\xa0")
	records["app.bsky.feed.like/unwanted"] = float
	w.net.put(a, rev1, records)
	b := w.new(w.config())
	w.run(b)
	w.add(b, a.did)
	w.state(a.did, "published")
	events, rejects := w.published(w.lane)
	w.snapshot(events[a.did], 3, rev1)
	if len(rejects) != 2 {
		t.Fatalf("%d rejects", len(rejects))
	}
	for _, m := range rejects {
		if !strings.Contains(m.Reject.Detail, "at://"+string(a.did)+"/app.bsky.feed.post/") || m.Reject.Source != "backfill" {
			t.Errorf("%+v", m.Reject)
		}
	}
	if s := b.Stats(); s.RecordsRejected != 2 || s.RecordsPublished != 3 {
		t.Errorf("%+v", s)
	}
}

// TestAnswers has a host answer in each of the ways in which hosts do.
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config()
	cfg.Fetch.Limits.Bytes = 1 << 20
	cfg.Fetch.SpeedWindow = 2 * time.Second
	cfg.Fetch.Timeout = 20 * time.Second
	cfg.Hosts.MaxWaiting = 100
	cfg.MinRetry, cfg.MaxRetry = time.Hour, time.Hour
	other := cartest.Key(t)
	key := cartest.Key(t)
	posts := cartest.Posts(t, 50)
	good := cartest.Build(t, key, didOf(1000), rev1, posts)

	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 16<<20)) //nolint:errcheck // into memory
	z.Close()
	stalled := make(chan struct{})
	type answer func(w http.ResponseWriter, r *http.Request, a *account)
	xrpc := func(status int, name string) answer {
		return func(w http.ResponseWriter, _ *http.Request, _ *account) { xrpcError(w, status, name) }
	}
	file := func(change func(f *cartest.File, a *account)) answer {
		return func(w http.ResponseWriter, _ *http.Request, a *account) {
			f := cartest.Build(t, a.key, a.did, rev1, posts)
			change(&f, a)
			w.Write(f.Bytes())
		}
	}
	cases := []struct {
		name   string
		answer answer
		state  string
		reason backfill.Reason
	}{
		{"deactivated", xrpc(400, "RepoDeactivated"), "gone", backfill.ReasonDeactivated},
		{"taken down", xrpc(400, "RepoTakendown"), "gone", backfill.ReasonTakendown},
		{"suspended", xrpc(400, "RepoSuspended"), "gone", backfill.ReasonSuspended},
		{"not found", xrpc(400, "RepoNotFound"), "gone", backfill.ReasonNotFound},
		{"not found, in the words of the reference PDS", func(w http.ResponseWriter, _ *http.Request, a *account) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"InvalidRequest","message":"Could not find repo for DID: %s"}`, a.did)
		}, "gone", backfill.ReasonNotFound},
		{"server error", xrpc(500, "InternalServerError"), "failed", backfill.ReasonHTTP},
		{"forbidden", xrpc(403, "Forbidden"), "failed", backfill.ReasonHTTP},
		{"a web page", func(w http.ResponseWriter, _ *http.Request, _ *account) { io.WriteString(w, "<html>") }, "failed", backfill.Reason(car.ReasonFile)}, //nolint:errcheck // as in ServeHTTP
		{"10 GB to come", func(w http.ResponseWriter, r *http.Request, _ *account) {
			w.Header().Set("Content-Length", "10000000000")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done() // who reads on would wait until the download is too slow
		}, "failed", backfill.ReasonTooLarge},
		{"without end", func(w http.ResponseWriter, r *http.Request, _ *account) {
			junk := make([]byte, 1<<16)
			for {
				if _, err := w.Write(junk); err != nil || r.Context().Err() != nil {
					return
				}
			}
		}, "failed", backfill.ReasonTooLarge},
		{"a gzip bomb", func(w http.ResponseWriter, _ *http.Request, _ *account) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}, "failed", backfill.ReasonTooLarge},
		{"stalled", func(w http.ResponseWriter, r *http.Request, _ *account) {
			w.Write([]byte{1, 2, 3})
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-stalled:
			}
		}, "failed", backfill.ReasonSlow},
		{"cut off", func(w http.ResponseWriter, _ *http.Request, a *account) {
			w.Header().Set("Content-Length", "5000")
			w.Write(a.car[:1000])
			panic(http.ErrAbortHandler)
		}, "failed", backfill.ReasonConnection},
		{"of another repository", func(w http.ResponseWriter, _ *http.Request, _ *account) { w.Write(good.Bytes()) }, "failed", backfill.Reason(car.ReasonDID)},
		{"of another key", func(w http.ResponseWriter, _ *http.Request, a *account) {
			w.Write(cartest.Build(t, other, a.did, rev1, posts).Bytes())
		}, "failed", backfill.Reason(car.ReasonSignature)},
		{"of the future", func(w http.ResponseWriter, _ *http.Request, a *account) {
			w.Write(cartest.Build(t, a.key, a.did, syntax.NewTIDFromTime(time.Now().Add(time.Hour), 1), posts).Bytes())
		}, "failed", backfill.Reason(car.ReasonRev)},
		{"without a node", file(func(f *cartest.File, _ *account) { f.Blocks = append(f.Blocks[:2:2], f.Blocks[3:]...) }), "failed", backfill.Reason(car.ReasonMissing)},
		{"without a record", file(func(f *cartest.File, _ *account) { f.Blocks = f.Blocks[:len(f.Blocks)-1] }), "failed", backfill.Reason(car.ReasonMissing)},
		{"with a flipped bit", file(func(f *cartest.File, _ *account) {
			last := &f.Blocks[len(f.Blocks)-1]
			last.Data = append([]byte{0xff}, last.Data[1:]...)
		}), "failed", backfill.Reason(car.ReasonBlock)},
		{"with text that Postgres does not hold", func(w http.ResponseWriter, _ *http.Request, _ *account) {
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "a\x00b\xff") //nolint:errcheck // as in ServeHTTP
		}, "failed", backfill.ReasonHTTP},
	}
	answers := map[syntax.DID]answer{}
	var dids []syntax.DID
	for i, c := range cases {
		a := w.net.add(didOf(i), 20)
		answers[a.did] = c.answer
		dids = append(dids, a.did)
	}
	for i := range 20 { // neighbours, among them
		dids = append(dids, w.net.add(didOf(100+i), 30).did)
	}
	w.net.on(func(rw http.ResponseWriter, r *http.Request, did syntax.DID) bool {
		if answers[did] == nil {
			return false
		}
		w.net.mu.Lock()
		a := w.net.accounts[did]
		w.net.mu.Unlock()
		answers[did](rw, r, a)
		return true
	})
	t.Cleanup(func() { close(stalled) })
	b := w.new(cfg)
	stop := w.run(b)
	w.add(b, dids...)
	for i, c := range cases {
		r := w.state(didOf(i), c.state)
		if !strings.HasPrefix(r.Reason, string(c.reason)+": ") {
			t.Errorf("%s: %q, want %q", c.name, r.Reason, c.reason)
		}
		if (r.Attempts == 1) != (c.state == "failed") {
			t.Errorf("%s: %d attempts", c.name, r.Attempts)
		}
	}
	for i := range 20 {
		w.state(didOf(100+i), "published")
	}
	events, rejects := w.published(w.lane)
	for i := range 20 {
		w.snapshot(events[didOf(100+i)], 30, rev1)
	}
	for i, c := range cases {
		evs := events[didOf(i)]
		switch c.reason {
		case backfill.ReasonDeactivated, backfill.ReasonTakendown, backfill.ReasonSuspended:
			if len(evs) != 1 || evs[0].Kind != stream.KindAccount || evs[0].Account.Active || evs[0].Account.Status != string(c.reason) || time.Since(evs[0].Account.Time) > time.Minute {
				t.Errorf("%s: %+v", c.name, evs)
			}
		default:
			if len(evs) != 0 {
				t.Errorf("%s: %d events", c.name, len(evs))
			}
		}
	}
	if len(rejects) > 0 {
		t.Errorf("%d rejects", len(rejects))
	}
	failed, err := b.Failed(t.Context(), 1000)
	if err != nil || len(failed) != len(cases) {
		t.Errorf("%d failures, %v", len(failed), err)
	}
	for _, f := range failed {
		if f.Reason == "" || f.PDS != w.net.srv.URL || f.Time.IsZero() || f.Gone != (f.Attempts == 0) {
			t.Errorf("%+v", f)
		}
	}

	// Whatever it was, it is over.
	w.net.on(nil)
	if n, err := b.Retry(t.Context()); err != nil || int(n) != len(cases) {
		t.Errorf("%d queued again, %v", n, err)
	}
	for i := range cases {
		w.state(didOf(i), "published")
	}
	stop()
	noFiles(t, cfg.Fetch.TempDir)
}

func TestFailuresAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 5)
	w.net.on(func(rw http.ResponseWriter, _ *http.Request, did syntax.DID) bool {
		if w.net.times(did) > 3 {
			return false
		}
		xrpcError(rw, 502, "UpstreamFailure")
		return true
	})
	b := w.new(w.config())
	w.run(b)
	w.add(b, a.did)
	if r := w.state(a.did, "published"); r.Attempts != 3 || r.Reason != "" || w.net.times(a.did) != 4 {
		t.Errorf("%+v after %d requests", r, w.net.times(a.did))
	}
}

// A host that wants to be left alone is, and the others go on.
func TestPausedHostHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		header string
		value  string
	}{
		{429, "Retry-After", "1"},
		{503, "Retry-After", "1"},
		{429, "RateLimit-Reset", "1"},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.header), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			quiet := httptest.NewServer(w.net)
			t.Cleanup(quiet.Close)
			// Until the others are published, the quiet host answers like that.
			var mu sync.Mutex
			var first time.Time // of requests to it
			early, open := 0, false
			w.net.on(func(rw http.ResponseWriter, r *http.Request, _ syntax.DID) bool {
				if !strings.HasSuffix(quiet.URL, r.Host) {
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				if open {
					return false
				}
				if early++; early == 1 {
					first = time.Now()
				}
				rw.Header().Set(c.header, c.value)
				xrpcError(rw, c.status, "RateLimitExceeded")
				return true
			})
			var dids []syntax.DID
			for i := range 30 {
				a := w.net.add(didOf(i), 2)
				if i%2 == 0 {
					a.pds = quiet.URL
				}
				dids = append(dids, a.did)
			}
			b := w.new(w.config())
			w.run(b)
			w.add(b, dids...)
			for i := 1; i < 30; i += 2 {
				w.state(didOf(i), "published")
			}
			w.until("the quiet host was asked", func() bool { mu.Lock(); defer mu.Unlock(); return early > 0 })
			mu.Lock()
			// Each second at most as many as may be under way.
			if most := 4 * (int(time.Since(first).Seconds()) + 1); early > most {
				t.Errorf("asked %d times in %s while it wanted to be left alone", early, time.Since(first))
			}
			open = true
			mu.Unlock()
			for i := 0; i < 30; i += 2 {
				if r := w.state(didOf(i), "published"); r.Attempts != 0 {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func TestHostsHaveFewRequestsAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var dids []syntax.DID
	for i := range 40 {
		dids = append(dids, w.net.add(didOf(i), 1).did)
	}
	cfg := w.config()
	cfg.Hosts.Concurrency = 2
	b := w.new(cfg)
	w.run(b)
	w.add(b, dids...)
	for _, did := range dids {
		w.state(did, "published")
	}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	if w.net.most > 2 {
		t.Errorf("%d requests at a time", w.net.most)
	}
}

// A repository is followed to where it is now, with the key that it has now.
func TestAccountHasMoved(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"RepoDeactivated", "RepoNotFound"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.net.add(didOf(1), 7)
			old := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { xrpcError(rw, 400, name) }))
			t.Cleanup(old.Close)
			a.pds = old.URL
			w.net.fresh = func(id identity.Identity) (identity.Identity, error) {
				id.PDS = w.net.srv.URL
				return id, nil
			}
			b := w.new(w.config())
			w.run(b)
			w.add(b, a.did)
			if r := w.state(a.did, "published"); r.Pds != w.net.srv.URL {
				t.Errorf("%+v", r)
			}
			events, _ := w.published(w.lane)
			if len(events[a.did]) != 8 {
				t.Errorf("%d events: the old host's word counted", len(events[a.did]))
			}
		})
	}
	t.Run("new key", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		a := w.net.add(didOf(1), 7)
		public := cartest.Public(t, a.key)
		a.key = cartest.Key(t) // what the directory remembers
		w.net.fresh = func(id identity.Identity) (identity.Identity, error) {
			id.Key = public
			return id, nil
		}
		b := w.new(w.config())
		w.run(b)
		w.add(b, a.did)
		w.state(a.did, "published")
	})
}

// A mirror that lags does not answer a request for what is newer.
func TestOldRevIsNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 3)
	b := w.new(w.config())
	err := queries.New().QueueRepos(t.Context(), w.pool, queries.QueueReposParams{Why: "sync", Dids: []string{string(a.did)}, WantedRevs: []string{string(rev2)}})
	if err != nil {
		t.Fatal(err)
	}
	w.run(b)
	w.until("it has failed", func() bool { return w.row(a.did).Attempts > 0 })
	w.net.put(a, rev2, cartest.Posts(t, 4))
	w.state(a.did, "published")
	events, _ := w.published(w.lane)
	w.snapshot(events[a.did], 4, rev2)
	if len(events[a.did]) != 5 {
		t.Errorf("%d events", len(events[a.did]))
	}
}

// What is asked for while it is being fetched is fetched once more.
func TestRequestWhileFetching(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 3)
	fetching, goOn := make(chan struct{}), make(chan struct{})
	w.net.on(func(http.ResponseWriter, *http.Request, syntax.DID) bool {
		if w.net.times(a.did) == 1 {
			close(fetching)
			<-goOn
		}
		return false
	})
	b := w.new(w.config())
	w.run(b)
	w.add(b, a.did)
	<-fetching
	w.net.put(a, rev2, cartest.Posts(t, 5))
	err := queries.New().QueueRepos(t.Context(), w.pool, queries.QueueReposParams{Why: "sync", Dids: []string{string(a.did)}, WantedRevs: []string{string(rev2)}})
	if err != nil {
		t.Fatal(err)
	}
	w.until("it is claimed again", func() bool { return w.row(a.did).Claim == 2 })
	close(goOn)
	if r := w.state(a.did, "published"); r.Rev != string(rev2) || w.net.times(a.did) != 2 {
		t.Errorf("%+v after %d requests", r, w.net.times(a.did))
	}
}

// TestKilled ends a process at several points of its work, without letting it
// clean up, and has another one go on.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"download", "lane", "note"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const n = 6
			var dids []syntax.DID
			for i := range n {
				dids = append(dids, w.net.add(didOf(i), 200).did)
			}
			cfg := w.config()
			cfg.Lease = 300 * time.Millisecond
			cfg.Workers = 2

			reached := make(chan struct{})
			var once sync.Once
			hold := make(chan struct{})
			t.Cleanup(func() { close(hold) })
			if at == "download" {
				w.net.on(func(_ http.ResponseWriter, r *http.Request, did syntax.DID) bool {
					if w.net.times(did) == 1 {
						once.Do(func() { close(reached) })
						select {
						case <-hold:
						case <-r.Context().Done():
						}
					}
					return false
				})
			}
			b := w.new(cfg)
			stop := w.run(b)
			w.add(b, dids...)
			switch at {
			case "download":
				<-reached
			case "lane":
				w.until("something is published", func() bool { return b.Stats().RecordsPublished > 100 })
			case "note":
				w.until("a repository is published", func() bool { return b.Stats().ReposPublished > 0 })
			}
			stop()
			// As a kill leaves it: claims that nobody gives back.
			if _, err := w.pool.Exec(t.Context(), `
				update atview.repo set state = 'fetching', claim = claim + 1, claimed_until = now() + interval '300 ms', due_at = now() + interval '300 ms'
				where state = 'queued'`); err != nil {
				t.Fatal(err)
			}
			w.net.on(nil)
			second := w.new(cfg)
			stop = w.run(second)
			for _, did := range dids {
				w.state(did, "published")
			}
			events, _ := w.published(w.lane)
			for _, did := range dids {
				w.snapshot(events[did], 200, rev1)
			}
			w.finish()
			for _, did := range dids {
				w.state(did, "done")
			}
			stop()
			noFiles(t, cfg.Fetch.TempDir)
		})
	}
}

// A claim that takes long is extended.
func TestLeaseIsExtended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 3)
	goOn := make(chan struct{})
	w.net.on(func(http.ResponseWriter, *http.Request, syntax.DID) bool { <-goOn; return false })
	cfg := w.config()
	cfg.Lease = 2 * time.Second
	b := w.new(cfg)
	w.run(b)
	other := w.new(cfg)
	w.run(other)
	w.add(b, a.did)
	w.state(a.did, "fetching")
	began := time.Now()
	w.until("the lease would be over", func() bool { return time.Since(began) > cfg.Lease*3/2 })
	close(goOn)
	if r := w.state(a.did, "published"); r.Claim != 1 || w.net.times(a.did) != 1 {
		t.Errorf("%+v after %d requests", r, w.net.times(a.did))
	}
}

// What was published on a lane that then lost it is published again.
func TestLostEndMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 3)
	b := w.new(w.config())
	w.run(b)
	w.add(b, a.did)
	w.state(a.did, "published")
	// The fold is at the end of the lane, and has not seen the mark.
	for p := range partitions {
		last, err := w.lane.Last(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.pool.Exec(t.Context(), `insert into atview.position (lane, partition, seq) values ('backfill', $1, $2)`, p, int64(last)); err != nil {
			t.Fatal(err)
		}
	}
	w.until("it is read again", func() bool { return w.net.times(a.did) >= 2 })
	w.finish()
	w.state(a.did, "done")
}

// A published repository whose mark is still to be folded is left alone.
func TestUnfoldedIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 3)
	cfg := w.config()
	cfg.CheckEvery = 5 * time.Millisecond
	b := w.new(cfg)
	w.run(b)
	w.add(b, a.did)
	w.state(a.did, "published")
	if _, err := w.pool.Exec(t.Context(), `insert into atview.position (lane, partition, seq) select 'backfill', p, 1 from generate_series(0, 3) p`); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.until("it was checked a few times", func() bool { return time.Since(began) > 200*time.Millisecond })
	if n := w.net.times(a.did); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestNewCollectionHasRepositoriesReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 3)
	records := cartest.Posts(t, 3)
	records["app.bsky.feed.like/a"] = cartest.Record(t, map[string]any{"$type": "app.bsky.feed.like"})
	w.net.put(a, rev1, records)
	cfg := w.config()
	cfg.RelayURL = w.net.srv.URL
	b := w.new(cfg)
	w.run(b)
	w.state(a.did, "published")
	w.finish()
	w.state(a.did, "done")

	both, err := source.ParseCollections([]string{"app.bsky.feed.*"})
	if err != nil {
		t.Fatal(err)
	}
	nsids := []syntax.NSID{post, "app.bsky.feed.like"}
	b.SetCollections(both, nsids)
	if r := w.state(a.did, "published"); r.Coverage != stream.Coverage(nsids) || r.Records != 4 {
		t.Errorf("%+v", r)
	}
	w.until("the new one is listed", func() bool {
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		return slices.Contains(w.net.listed, "app.bsky.feed.like@")
	})
	w.finish()
	w.state(a.did, "done")

	// Fewer collections: what was read covers them.
	b.SetCollections(source.Collections{}, []syntax.NSID{post})
	began := time.Now()
	w.until("it would be read again", func() bool { return time.Since(began) > 200*time.Millisecond })
	if n := w.net.times(a.did); n != 2 {
		t.Errorf("fetched %d times", n)
	}
}

func TestFetcher(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.add(didOf(1), 10)
	dir := t.TempDir()
	f, err := backfill.NewFetcher(backfill.FetchConfig{Directory: n, HTTP: n.srv.Client(), TempDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := f.Fetch(t.Context(), a.did, nil)
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for rec, err := range repo.Records(t.Context()) {
		if err != nil || rec.Err != nil {
			t.Fatal(err, rec.Err)
		}
		records++
	}
	if records != 10 || repo.Rev != rev1 {
		t.Errorf("%d records at %s", records, repo.Rev)
	}
	if err := repo.Close(); err != nil {
		t.Error(err)
	}
	_, err = f.Fetch(t.Context(), didOf(2), nil)
	if e, ok := errors.AsType[*backfill.Error](err); !ok || e.Reason != backfill.ReasonNoDID {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = f.Fetch(ctx, a.did, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := backfill.NewFetcher(backfill.FetchConfig{}); err == nil {
		t.Error("a fetcher of nothing")
	}
	noFiles(t, dir)
}

// Downloads of a process that was killed are removed, those of others are not.
func TestLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config()
	old, young := filepath.Join(cfg.Fetch.TempDir, "atview-repo-1.car"), filepath.Join(cfg.Fetch.TempDir, "atview-repo-2.car")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	b := w.new(cfg)
	w.run(b)
	w.until("the old one is removed", func() bool { _, err := os.Stat(old); return errors.Is(err, os.ErrNotExist) })
	if _, err := os.Stat(young); err != nil {
		t.Error(err)
	}
}

func TestReadDIDs(t *testing.T) {
	t.Parallel()
	dids, err := backfill.ReadDIDs(strings.NewReader("# my friends\n\n did:plc:aaaaaaaaaaaaaaaaaaaaaaaa \ndid:web:example.com\n"))
	if err != nil || len(dids) != 2 || dids[1] != "did:web:example.com" {
		t.Errorf("%v, %v", dids, err)
	}
	if _, err := backfill.ReadDIDs(strings.NewReader("did:web:example.com\nalice.example.com\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := backfill.New(backfill.Config{RelayURL: "wss://relay.example.com"})
	for _, want := range []string{"no database", "no lane", "no directory", "no HTTP client", "wss://relay.example.com"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	before := backfill.Stats{Uptime: 10 * time.Second, ReposPublished: 10, RecordsPublished: 1000}
	now := backfill.Stats{
		Counts:         backfill.Counts{Queued: 90, Fetching: 10, Done: 90, Gone: 7, Failed: 3},
		Uptime:         20 * time.Second,
		ReposPublished: 30, RecordsPublished: 6000, BytesRead: 25_000_000, HostsPaused: 2,
	}
	got := now.Report(before).String()
	if want := "100 of 200 repositories (50 %), 3 failed, 7 gone; 2.0 repositories, 500 records, 2.5 MB a second; 2 hosts paused; 50s left"; got != want {
		t.Errorf("%s\n%s", got, want)
	}
	if d := (backfill.Stats{}).Report(backfill.Stats{}).Done(); d != 0 {
		t.Errorf("of nothing %v is done", d)
	}
}
