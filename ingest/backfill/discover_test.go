package backfill_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"

	"github.com/atview/atview/ingest/backfill"
	"github.com/atview/atview/ingest/car/cartest"
	"github.com/atview/atview/ingest/stream"
)

type listed struct {
	Collection, Cursor, Reason string
	Repos                      int
	Done                       bool
}

func (w *world) listings() map[string]listed {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `select collection, cursor, coalesce(reason, ''), repos, done_at is not null from atview.discovery`)
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[listed])
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]listed{}
	for _, l := range all {
		out[l.Collection] = l
	}
	return out
}

func (w *world) total(b *backfill.Backfill) int {
	w.t.Helper()
	c, err := b.Counts(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return int(c.Total())
}

func (n *network) lists() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.listed)
}

func TestListing(t *testing.T) {
	t.Parallel()
	const like = syntax.NSID("app.bsky.feed.like")
	setup := func(t *testing.T, repos int) (*world, backfill.Config) {
		w := newWorld(t)
		for i := range repos {
			w.net.add(didOf(i), 1)
		}
		cfg := w.config()
		cfg.RelayURL = w.net.srv.URL
		return w, cfg
	}
	done := func(w *world, collection string) listed {
		var l listed
		w.until(collection+" is listed", func() bool { l = w.listings()[collection]; return l.Done })
		return l
	}

	t.Run("SeveralCollectionsAllPages", func(t *testing.T) {
		t.Parallel()
		w, cfg := setup(t, 8)
		cfg.NSIDs = append(cfg.NSIDs, like)
		b := w.new(cfg)
		w.run(b)
		for _, c := range cfg.NSIDs {
			if l := done(w, string(c)); l.Repos != 8 || l.Reason != "" || l.Cursor != "" {
				t.Errorf("%+v", l)
			}
		}
		if n := w.total(b); n != 8 {
			t.Errorf("%d repositories", n)
		}
	})

	t.Run("AHostThatDoesNotListByCollectionListsAll", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			status int
			name   string
		}{{401, "AuthMissing"}, {404, "NotFound"}, {501, "MethodNotImplemented"}, {400, "MethodNotImplemented"}} {
			t.Run(fmt.Sprint(c.status), func(t *testing.T) {
				t.Parallel()
				w, cfg := setup(t, 5)
				cfg.NSIDs = append(cfg.NSIDs, like)
				w.net.list = func(rw http.ResponseWriter, r *http.Request) bool {
					if strings.HasSuffix(r.URL.Path, "listRepos") {
						return false
					}
					xrpcError(rw, c.status, c.name)
					return true
				}
				b := w.new(cfg)
				w.run(b)
				if l := done(w, "*"); l.Repos != 5 {
					t.Errorf("%+v", l)
				}
				if l := done(w, string(like)); l.Reason != "not-served" {
					t.Errorf("%+v", l)
				}
				for i := range 5 {
					w.state(didOf(i), "published")
				}
			})
		}
	})

	t.Run("StopsAtTheLimitAndGoesOnWithAHigherOne", func(t *testing.T) {
		t.Parallel()
		w, cfg := setup(t, 10)
		cfg.MaxReposPerCollection = 4
		b := w.new(cfg)
		stop := w.run(b)
		if l := done(w, string(post)); l.Reason != "limit" || l.Repos != 4 || w.total(b) != 4 {
			t.Errorf("%+v", l)
		}
		stop()
		cfg.MaxReposPerCollection = 100
		b = w.new(cfg)
		w.run(b)
		w.until("all are listed", func() bool { l := w.listings()[string(post)]; return l.Done && l.Reason == "" })
		if n := w.total(b); n != 10 {
			t.Errorf("%d repositories", n)
		}
	})

	t.Run("GoesOnWhereItWasKilled", func(t *testing.T) {
		t.Parallel()
		w, cfg := setup(t, 9)
		var held atomic.Bool
		held.Store(true)
		w.net.list = func(rw http.ResponseWriter, r *http.Request) bool {
			if held.Load() && r.URL.Query().Get("cursor") == "6" {
				<-r.Context().Done()
				return true
			}
			return false
		}
		b := w.new(cfg)
		stop := w.run(b)
		w.until("two pages are listed", func() bool { return w.listings()[string(post)].Cursor == "6" })
		stop()
		held.Store(false)
		w.net.mu.Lock()
		w.net.listed = nil
		w.net.mu.Unlock()
		b = w.new(cfg)
		w.run(b)
		if l := done(w, string(post)); l.Repos != 9 {
			t.Errorf("%+v", l)
		}
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		if first := w.net.listed[0]; first != string(post)+"@6" {
			t.Errorf("went on with %s", first)
		}
	})

	t.Run("TwoProcessesListOnce", func(t *testing.T) {
		t.Parallel()
		w, cfg := setup(t, 12)
		one, two := w.new(cfg), w.new(cfg)
		w.run(one)
		w.run(two)
		if l := done(w, string(post)); l.Repos != 12 || w.total(one) != 12 {
			t.Errorf("%+v", l)
		}
		for i := range 12 {
			w.state(didOf(i), "published")
			if n := w.net.times(didOf(i)); n != 1 {
				t.Errorf("repository %d is fetched %d times", i, n)
			}
		}
	})

	t.Run("ListsAgainLater", func(t *testing.T) {
		t.Parallel()
		w, cfg := setup(t, 3)
		cfg.RelistEvery = 30 * time.Millisecond
		b := w.new(cfg)
		w.run(b)
		done(w, string(post))
		w.net.add(didOf(7), 1)
		w.state(didOf(7), "published")
		if n := w.net.times(didOf(0)); n > 1 {
			t.Errorf("what is there is fetched %d times", n)
		}
	})

	t.Run("OddPages", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			page   string
			repos  int
			reason string
		}{
			"the same cursor for ever": {`{"cursor":"x","repos":[{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}]}`, 2, "same-cursor"},
			"what are no DIDs":         {`{"repos":[{"did":"alice"},{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"},{},{"did":"did:web:` + strings.Repeat("x", 600) + `"}]}`, 1, ""},
			"no repositories":          {`{"cursor":"x"}`, 0, ""},
			"nothing":                  {`{}`, 0, ""},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w, cfg := setup(t, 0)
				w.net.list = func(rw http.ResponseWriter, _ *http.Request) bool {
					rw.Write([]byte(c.page))
					return true
				}
				b := w.new(cfg)
				w.run(b)
				if l := done(w, string(post)); l.Repos != c.repos || l.Reason != c.reason {
					t.Errorf("%+v", l)
				}
				if s := b.Stats(); (s.OddDIDs > 0) != strings.HasPrefix(name, "what") {
					t.Errorf("%+v", s)
				}
			})
		}
	})

	t.Run("FaultsAreTriedAgain", func(t *testing.T) {
		t.Parallel()
		w, cfg := setup(t, 3)
		var n atomic.Int32
		w.net.list = func(rw http.ResponseWriter, _ *http.Request) bool {
			switch n.Add(1) {
			case 1:
				xrpcError(rw, 500, "InternalServerError")
			case 2:
				xrpcError(rw, 429, "RateLimitExceeded")
			case 3:
				rw.Write([]byte("<html>"))
			case 4:
				panic(http.ErrAbortHandler)
			case 5:
				rw.Write([]byte(`{"cursor":"a\u0000b","repos":[]}`))
			case 6:
				rw.Write(make([]byte, 5<<20))
			default:
				return false
			}
			return true
		}
		b := w.new(cfg)
		w.run(b)
		if l := done(w, string(post)); l.Repos != 3 {
			t.Errorf("%+v after %d requests", l, w.net.lists())
		}
	})

	t.Run("DIDsOfTheConfiguration", func(t *testing.T) {
		t.Parallel()
		w, cfg := setup(t, 2)
		cfg.RelayURL = ""
		cfg.DIDs = []syntax.DID{didOf(0), didOf(1), didOf(0)}
		b := w.new(cfg)
		stop := w.run(b)
		for i := range 2 {
			if r := w.state(didOf(i), "published"); r.Why != "asked" {
				t.Errorf("%+v", r)
			}
		}
		stop()
		w.finish()
		stop = w.run(w.new(cfg)) // a start is no reason to read them again
		w.until("it has started", func() bool { return w.listings() != nil })
		stop()
		if w.row(didOf(0)).State != "done" || w.net.times(didOf(0)) != 1 || w.net.lists() != 0 {
			t.Errorf("%+v", w.row(didOf(0)))
		}
	})
}

// Those that somebody waits for do not stand behind all that was listed.
func TestUrgentFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 200 {
		w.net.add(didOf(i), 1)
	}
	if _, err := w.pool.Exec(t.Context(), `
		insert into atview.repo (did, why, due_at) select 'did:plc:' || lpad(i::text, 24, '0'), 'listed', now() - interval '1 hour' from generate_series(0, 198) i`); err != nil {
		t.Fatal(err)
	}
	cfg := w.config()
	cfg.Workers = 1
	b := w.new(cfg)
	w.add(b, didOf(199))
	w.run(b)
	w.state(didOf(199), "published")
	var before int
	err := w.pool.QueryRow(t.Context(), `select count(*) from atview.repo
		where state = 'published' and updated_at < (select updated_at from atview.repo where did = $1)`, string(didOf(199))).Scan(&before)
	if err != nil || before > 20 {
		t.Errorf("published after %d others, %v", before, err)
	}
}

// A backfill survives that its log, or its database, is away for a while.
func TestLogIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 10
	for i := range n {
		w.net.add(didOf(i), 300)
	}
	cfg := w.config()
	cfg.RelayURL = w.net.srv.URL
	b := w.new(cfg)
	w.run(b)
	w.until("something is published", func() bool { return b.Stats().RecordsPublished > 100 })
	w.nats.Stop()
	w.nats.Restart()
	for i := range n {
		w.state(didOf(i), "published")
	}
	events, _ := w.published(w.lane)
	for i := range n {
		w.snapshot(events[didOf(i)], 300, rev1)
	}
}

// A log that comes back without its end has published repositories read again.
func TestLogLosesItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 5
	for i := range n {
		w.net.add(didOf(i), 20)
	}
	cfg := w.config()
	cfg.CheckEvery = time.Hour // only the publisher can notice
	b := w.new(cfg)
	w.run(b)
	w.add(b, didOf(0))
	w.state(didOf(0), "published")
	w.nats.Stop()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(w.nats.StoreDir())); err != nil {
		t.Fatal(err)
	}
	w.nats.Restart()
	for i := 1; i < n; i++ {
		w.add(b, didOf(i))
		w.state(didOf(i), "published")
	}
	w.nats.Stop()
	if err := os.RemoveAll(w.nats.StoreDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.nats.StoreDir(), os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	w.nats.Restart()
	// The next one to be published runs into it.
	w.add(b, didOf(0))
	w.until("all are read again", func() bool {
		for i := range n {
			if w.net.times(didOf(i)) < 2 || w.row(didOf(i)).State != "published" {
				return false
			}
		}
		return true
	})
	events, _ := w.published(w.lane)
	for i := range n {
		w.snapshot(events[didOf(i)], 20, rev1)
	}
}

// A lane that is full blocks, and loses nothing.
func TestLaneIsFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 4
	for i := range n {
		w.net.add(didOf(i), 1000)
	}
	small, err := streamOf(w, "atview_small", 300_000)
	if err != nil {
		t.Fatal(err)
	}
	cfg := w.config()
	cfg.Lane = small
	cfg.RelayURL = w.net.srv.URL
	cfg.Lease = 2 * time.Second
	b := w.new(cfg)
	stop := w.run(b)
	w.until("the lane is full", func() bool {
		s, err := small.State(t.Context())
		return err == nil && s.Bytes > 290_000
	})
	began := time.Now()
	w.until("leases would be over", func() bool { return time.Since(began) > cfg.Lease*3/2 })
	for i := range n {
		if r := w.row(didOf(i)); r.State != "fetching" && r.State != "queued" && r.State != "published" || r.Claim > 1 {
			t.Errorf("%+v", r)
		}
	}
	if small, err = streamOf(w, "atview_small", 100_000_000); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		w.state(didOf(i), "published")
	}
	stop()
	events, _ := w.published(small)
	for i := range n {
		w.snapshot(events[didOf(i)], 1000, rev1)
	}
}

// An account that a PDS withheld is read when it is back.
func TestAccountReturns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 3)
	w.net.on(func(rw http.ResponseWriter, _ *http.Request, _ syntax.DID) bool {
		xrpcError(rw, 400, "RepoDeactivated")
		return true
	})
	b := w.new(w.config())
	w.run(b)
	w.add(b, a.did)
	w.state(a.did, "gone")
	w.net.on(nil)
	if _, err := w.pool.Exec(t.Context(), `insert into atview.actor (did, status, account_at) values ($1, 'active', now())`, a.did); err != nil {
		t.Fatal(err)
	}
	w.state(a.did, "published")
}

// What the tables have is not read again at an older rev: the fold would not
// finish it.
func TestOlderThanTheTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 3)
	if _, err := w.pool.Exec(t.Context(), `insert into atview.actor (did, synced_rev, synced_of) values ($1, $2, 'x')`, a.did, rev2); err != nil {
		t.Fatal(err)
	}
	b := w.new(w.config())
	w.run(b)
	w.add(b, a.did)
	if r := w.state(a.did, "failed"); !strings.HasPrefix(r.Reason, "old: ") {
		t.Errorf("%+v", r)
	}
}

// A log that has no room for a record may have room for the end mark, which is
// short.
func TestEndMarkWaitsForItsRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.net.add(didOf(1), 0)
	w.net.put(a, rev1, map[string][]byte{
		"app.bsky.feed.post/long": cartest.Record(t, map[string]any{"$type": "app.bsky.feed.post", "text": strings.Repeat("x", 100_000)}),
	})
	const room = 200_000
	small, err := streamOf(w, "atview_small", room)
	if err != nil {
		t.Fatal(err)
	}
	filler, err := small.NewPublisher(stream.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	if err := filler.Reject(t.Context(), &stream.Event{DID: didOf(2)}, make([]byte, room-50_000), errors.New("fills the log")); err != nil {
		t.Fatal(err)
	}
	if _, err := filler.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := w.config()
	cfg.Lane = small
	b := w.new(cfg)
	w.run(b)
	w.add(b, a.did)
	began := time.Now()
	w.until("a mark would be on the log", func() bool { return b.Stats().RecordsPublished == 1 && time.Since(began) > 300*time.Millisecond })
	if small, err = streamOf(w, "atview_small", 10*room); err != nil {
		t.Fatal(err)
	}
	w.state(a.did, "published")
	events, _ := w.published(small)
	w.snapshot(events[a.did], 1, rev1)
}

// While the directory is away, not every repository fails.
func TestDirectoryIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 300
	var dids []syntax.DID
	for i := range n {
		dids = append(dids, w.net.add(didOf(i), 1).did)
	}
	w.net.away = true
	cfg := w.config()
	cfg.Hosts.MinBackoff, cfg.Hosts.MaxBackoff = 100*time.Millisecond, 100*time.Millisecond
	b := w.new(cfg)
	w.add(b, dids...)
	w.run(b)
	began := time.Now()
	w.until("it was asked for a while", func() bool {
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		return w.net.lookups > 0 && time.Since(began) > 350*time.Millisecond
	})
	w.net.mu.Lock()
	w.net.away = false
	// At each of five times, what was claimed before it was known.
	if w.net.lookups > 5*64 {
		t.Errorf("asked %d times while it was away", w.net.lookups)
	}
	w.net.mu.Unlock()
	for _, did := range dids {
		w.state(did, "published")
	}
}

// A DID that nobody knows is looked for a few times, and then no more.
func TestUnknownDID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config()
	b := w.new(cfg)
	w.add(b, didOf(404))
	w.run(b)
	if r := w.state(didOf(404), "gone"); !strings.HasPrefix(r.Reason, "no-did: ") || r.Attempts != 4 {
		t.Errorf("%+v", r)
	}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	if w.net.lookups != 5 {
		t.Errorf("asked %d times", w.net.lookups)
	}
}
