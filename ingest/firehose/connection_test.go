package firehose

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// posts are commits of one account, numbered from first.
func posts(t testing.TB, a *account, first int64, n int) []numbered {
	t.Helper()
	var frames []numbered
	for i := range int64(n) {
		seq := first + i
		frames = append(frames, a.frame(t, seq, post("com.example.post/"+strconv.FormatInt(seq, 10), 1)))
	}
	return frames
}

func creates(first int64, n int) []string {
	var s []string
	for i := range int64(n) {
		s = append(s, "create "+strconv.FormatInt(first+i, 10))
	}
	return s
}

func TestConnection(t *testing.T) {
	t.Parallel()

	t.Run("BeginsWithThePresentAndSaysSoFirst", func(t *testing.T) {
		t.Parallel()
		h, a, out := startHost(t, nil), newAccount(1), newSink()
		frames := posts(t, a, 11, 6)
		h.append(frames[:3]...)
		run(t, newSource(t, Config{URLs: []string{h.url()}, Directory: newDirectory(a)}), stream.Cursor{}, out)
		if q := h.request(t, 0); q.Has("cursor") {
			t.Errorf("%v", q)
		}
		h.append(frames[3:]...)
		same(t, out.at(t, 16), creates(14, 3)...)
		if want := (stream.Cursor{Value: 13, Host: h.name()}); out.cursors[0] != want {
			t.Errorf("begins at %+v, want %+v", out.cursors[0], want)
		}
	})

	t.Run("BeginsWithTheOldest", func(t *testing.T) {
		t.Parallel()
		h, a, out := startHost(t, nil), newAccount(1), newSink()
		h.append(posts(t, a, 1, 3)...)
		run(t, newSource(t, Config{URLs: []string{h.url()}, Directory: newDirectory(a), FromStart: true}), stream.Cursor{}, out)
		same(t, out.at(t, 3), creates(1, 3)...)
		if q := h.request(t, 0); q.Get("cursor") != "0" {
			t.Errorf("%v", q)
		}
	})

	t.Run("ReconnectsWithTheCursor", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, func(conn int) behaviour { return behaviour{cut: map[int]int{0: 3, 1: 1}[conn]} })
		a, out := newAccount(1), newSink()
		h.append(posts(t, a, 101, 8)...)
		src := newSource(t, Config{URLs: []string{h.url()}, Directory: newDirectory(a)})
		run(t, src, stream.Cursor{Value: 100, Host: h.name()}, out)
		same(t, out.at(t, 108), creates(101, 8)...)
		for i, want := range []string{"100", "103", "104"} {
			if got := h.request(t, i).Get("cursor"); got != want {
				t.Errorf("connection %d asks for %s, want %s", i, got, want)
			}
		}
		if st := src.Status(); st.Connects != 3 || st.LastError == nil {
			t.Errorf("%+v", st)
		}
	})

	t.Run("NothingIsWantedAndTheCursorMoves", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{}, "com.other.*")
		w.append(posts(t, w.a, 101, 50)...)
		same(t, w.out.at(t, 150))

		w = setup(t, Config{CursorEvery: time.Hour}, "com.other.*")
		w.append(posts(t, w.a, 101, 50)...)
		w.append(w.a.frame(t, 151, post("com.other.post/1", 1)))
		same(t, w.out.at(t, 151), "create 1")
		if n := len(w.out.cursors); n > 2 { // each costs a wait for the log's disk
			t.Errorf("%d cursors for 51 frames", n)
		}
	})

	t.Run("TooSlow", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, func(conn int) behaviour {
			if conn == 0 {
				return behaviour{first: [][]byte{errorFrame("ConsumerTooSlow")}, over: true}
			}
			return behaviour{}
		})
		a, out := newAccount(1), newSink()
		h.append(posts(t, a, 101, 2)...)
		src := newSource(t, Config{URLs: []string{h.url()}, Directory: newDirectory(a)})
		run(t, src, stream.Cursor{Value: 100, Host: h.name()}, out)
		same(t, out.at(t, 102), creates(101, 2)...)
		if got := h.request(t, 1).Get("cursor"); got != "100" {
			t.Errorf("asks for %s", got)
		}
		if err := src.Status().LastError; err == nil || !strings.Contains(err.Error(), "ConsumerTooSlow") {
			t.Errorf("%v", err)
		}
	})

	t.Run("FutureCursor", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, func(conn int) behaviour {
			if conn == 0 {
				return behaviour{first: [][]byte{errorFrame(futureCursor)}, over: true}
			}
			return behaviour{}
		})
		a, out := newAccount(1), newSink()
		src := newSource(t, Config{URLs: []string{h.url()}, Directory: newDirectory(a)})
		run(t, src, stream.Cursor{Value: 1000, Host: h.name()}, out)
		if q := h.request(t, 1); q.Has("cursor") {
			t.Errorf("%v", q)
		}
		h.append(posts(t, a, 5, 2)...)
		same(t, out.count(t, 2), creates(5, 2)...)
		if out.at(t, 6); out.cursors[0].Value != 4 || src.Stats().Lost != 1 {
			t.Errorf("%v, %+v", out.cursors, src.Stats())
		}
	})

	t.Run("FutureCursorOfAHostThatCountsAnew", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, func(conn int) behaviour {
			if conn == 0 {
				return behaviour{first: [][]byte{errorFrame(futureCursor)}, over: true}
			}
			return behaviour{}
		})
		a, out := newAccount(1), newSink()
		h.append(posts(t, a, 1, 5)...) // since it began
		src := newSource(t, Config{URLs: []string{h.url()}, Directory: newDirectory(a), ConnectTimeout: 200 * time.Millisecond})
		run(t, src, stream.Cursor{Value: 1000, Host: h.name(), Time: time.Now()}, out)
		same(t, out.count(t, 5), creates(1, 5)...)
	})

	t.Run("OutdatedCursor", func(t *testing.T) {
		t.Parallel()
		info := encode(t, "#info", &comatproto.SyncSubscribeRepos_Info{Name: outdatedCursor})
		h := startHost(t, func(int) behaviour { return behaviour{first: [][]byte{info}} })
		a, out := newAccount(1), newSink()
		h.append(posts(t, a, 5000, 2)...)
		src := newSource(t, Config{URLs: []string{h.url()}, Directory: newDirectory(a)})
		run(t, src, stream.Cursor{Value: 100, Host: h.name()}, out)
		same(t, out.at(t, 5001), creates(5000, 2)...)
		if st := src.Stats(); st.Lost != 1 || st.Gaps != 1 || st.Missing != 4899 {
			t.Errorf("%+v", st)
		}
	})

	t.Run("AHostThatCountsAnew", func(t *testing.T) {
		t.Parallel()
		h, a, out := startHost(t, func(int) behaviour { return behaviour{} }), newAccount(1), newSink()
		src := newSource(t, Config{URLs: []string{h.url() + method + "?"}, Directory: newDirectory(a)})
		run(t, src, stream.Cursor{Value: 100_000, Host: h.name()}, out)
		h.request(t, 0)
		frames := posts(t, a, 1, renumberAfter+5)
		for i := range frames {
			frames[i].seq += 1_000_000 // so that the host gives them out whatever it is asked for
		}
		h.append(frames...)
		same(t, out.count(t, len(frames)), creates(1, len(frames))...)
		if c := out.until(t, func() bool { return out.cursors[len(out.cursors)-1].Value == renumberAfter+5 }); len(c) != len(frames) {
			t.Errorf("%d lines", len(c))
		}
	})

	t.Run("AnotherHostTakesOver", func(t *testing.T) {
		t.Parallel()
		// The first host breaks after two frames, and is back when the other breaks. The
		// other one is asked what it sends now, which is nothing, and then for all it has.
		one := startHost(t, func(conn int) behaviour {
			if conn == 1 {
				return behaviour{status: http.StatusServiceUnavailable}
			}
			return behaviour{cut: map[int]int{0: 2}[conn]}
		})
		two := startHost(t, func(conn int) behaviour {
			if conn > 1 {
				return behaviour{status: http.StatusBadGateway}
			}
			return behaviour{cut: 4}
		})
		a, out := newAccount(1), newSink()
		for i := range int64(5) {
			msg := a.commit(t, 101+i, post("com.example.post/"+strconv.FormatInt(101+i, 10), 1))
			one.append(at(msg.Seq, encode(t, "#commit", msg)))
			if i < 4 {
				msg.Seq = 7001 + i
				two.append(at(msg.Seq, encode(t, "#commit", msg)))
			}
		}
		src := newSource(t, Config{URLs: []string{one.url(), two.url()}, Directory: newDirectory(a), ConnectTimeout: 200 * time.Millisecond})
		run(t, src, stream.Cursor{Value: 100, Host: one.name()}, out)
		lines := out.until(t, func() bool { return len(out.cursors) > 0 && out.cursors[len(out.cursors)-1].Value == 105 })
		same(t, lines, creates(101, 5)...)
		if two.request(t, 0).Has("cursor") || two.request(t, 1).Get("cursor") != "0" {
			t.Errorf("the other host is asked for %v, %v", two.request(t, 0), two.request(t, 1))
		}
		if q := one.request(t, 2); q.Get("cursor") != "102" {
			t.Errorf("back at the first host: %v", q)
		}
		for _, c := range out.cursors {
			if (c.Value > 1000) != (c.Host == two.name()) {
				t.Errorf("cursor %+v", c)
			}
		}
		if st := src.Stats(); st.Seen != 4 || st.Resyncs != 0 {
			t.Errorf("%+v", st)
		}
	})

	t.Run("AnotherHostIsSearchedByTime", func(t *testing.T) {
		t.Parallel()
		// A host that has been quiet, then busy; some PDSes' clocks are wrong.
		const first, n = 500_000, 6000
		begin := time.Now().Add(-3 * time.Hour).Truncate(time.Second)
		when := make([]time.Time, n)
		var now [][]byte
		h := startHost(t, func(int) behaviour { return behaviour{now: now} })
		for i := range when {
			d := time.Duration(i) * 3 * time.Second
			if i > n/2 {
				d = n/2*3*time.Second + time.Duration(i-n/2)*500*time.Millisecond
			}
			when[i] = begin.Add(d)
			said := when[i]
			if i%9 == 0 {
				said = said.Add(time.Duration(i%5-2) * time.Hour)
			}
			h.append(identityAt(t, first+int64(i), said))
		}
		for i := range int64(probeFrames) {
			now = append(now, identityAt(t, first+n+i, when[n-1]).data)
		}
		src := newSource(t, Config{URLs: []string{h.url()}, Trust: true})
		for _, i := range []int{n - 1, 5432, 4567, n / 2, 1234, 100} {
			before := h.connections()
			got, err := src.seek(t.Context(), src.hosts[0], when[i])
			if err != nil {
				t.Fatal(err)
			}
			k := int(got + 1 - first)
			if k < 0 || k > i || when[i].Sub(when[k]) > 2*closeEnough {
				t.Errorf("searched frame %d, found %d", i, k)
				continue
			}
			probes := h.connections() - before
			t.Logf("%v too much, %d connections", when[i].Sub(when[k]), probes)
			if probes > 15 {
				t.Errorf("%d connections", probes)
			}
		}
		got, err := src.seek(t.Context(), src.hosts[0], begin.Add(-time.Hour))
		if err != nil || got != 0 || src.Stats().Lost != 1 {
			t.Errorf("before the oldest: %d, %v", got, err)
		}
	})

	t.Run("ACursorOfAHostThatIsNotReadAnyMore", func(t *testing.T) {
		t.Parallel()
		h, a, out := startHost(t, nil), newAccount(1), newSink()
		h.append(posts(t, a, 11, 3)...)
		src := newSource(t, Config{URLs: []string{h.url()}, Directory: newDirectory(a), ConnectTimeout: 100 * time.Millisecond})
		run(t, src, stream.Cursor{Value: 7000, Host: "gone.test", Time: time.Now()}, out)
		same(t, out.at(t, 13), creates(11, 3)...)
	})

	t.Run("TheCursorsHostComesFirst", func(t *testing.T) {
		t.Parallel()
		one, two := startHost(t, nil), startHost(t, nil)
		src := newSource(t, Config{URLs: []string{one.url(), two.url()}, Trust: true})
		run(t, src, stream.Cursor{Value: 100, Host: two.name()}, newSink())
		if q := two.request(t, 0); q.Get("cursor") != "100" || one.connections() != 0 {
			t.Errorf("%v, %d", q, one.connections())
		}
	})

	t.Run("ASilentHostIsLeft", func(t *testing.T) {
		t.Parallel()
		for name, b := range map[string]behaviour{"mute": {mute: true}, "quiet": {quiet: true}} {
			h := startHost(t, func(conn int) behaviour {
				if conn == 0 {
					return b
				}
				return behaviour{}
			})
			cfg := Config{URLs: []string{h.url()}, Trust: true, PingEvery: 20 * time.Millisecond}
			if b.quiet {
				cfg.PingEvery, cfg.IdleTimeout = time.Hour, 50*time.Millisecond
			}
			a, out := newAccount(1), newSink()
			h.append(posts(t, a, 101, 1)...)
			src := newSource(t, cfg)
			run(t, src, stream.Cursor{Value: 100, Host: h.name()}, out)
			same(t, out.at(t, 101), creates(101, 1)...)
			if want := map[bool]error{true: errIdle, false: errSilent}[b.quiet]; !errors.Is(src.Status().LastError, want) {
				t.Errorf("%s: %v", name, src.Status().LastError)
			}
		}
	})

	t.Run("RefusedForGood", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, func(int) behaviour { return behaviour{status: http.StatusForbidden} })
		src := newSource(t, Config{URLs: []string{h.url()}, Trust: true})
		err := src.Run(t.Context(), stream.Cursor{}, func(source.Line) error { return nil })
		if _, ok := errors.AsType[*statusError](err); !ok {
			t.Errorf("%v", err)
		}
		// A host that is there for a while and then not is waited for.
		h = startHost(t, func(conn int) behaviour {
			return behaviour{cut: 1, status: map[int]int{1: 404, 2: 503, 3: 429}[conn]}
		})
		a, out := newAccount(1), newSink()
		h.append(posts(t, a, 101, 2)...)
		run(t, newSource(t, Config{URLs: []string{h.url()}, Trust: true}), stream.Cursor{Value: 100, Host: h.name()}, out)
		same(t, out.at(t, 102), creates(101, 2)...)
	})

	t.Run("AStallIsBufferedThenTheSocketWaits", func(t *testing.T) {
		t.Parallel()
		h, a, out := startHost(t, nil), newAccount(1), newSink()
		const n, buffered = 300, 40
		for i := range int64(n) { // more than sockets hold
			w := write{path: "com.example.post/" + strconv.FormatInt(101+i, 10), record: map[string]any{"text": strings.Repeat("x", 100_000)}}
			h.append(a.frame(t, 101+i, w))
			for c, b := range a.all {
				if len(b) > 50_000 {
					delete(a.all, c)
				}
			}
		}
		out.hold = make(chan struct{})
		src := newSource(t, Config{
			URLs: []string{h.url()}, Directory: newDirectory(a), BufferFrames: buffered, Workers: 2,
			IdleTimeout: time.Second, PingEvery: 500 * time.Millisecond,
		})
		run(t, src, stream.Cursor{Value: 100, Host: h.name()}, out)
		poll := time.NewTicker(time.Millisecond)
		defer poll.Stop()
		patience := time.After(time.Minute)
		for src.Status().Buffered < buffered {
			select {
			case <-poll.C:
			case <-patience:
				t.Fatal("buffer does not fill")
			}
		}
		<-time.After(3 * time.Second) // three times as long as a connection may be idle
		h.mu.Lock()
		sent := h.sent
		h.mu.Unlock()
		if sent == n || h.connections() != 1 {
			t.Errorf("%d of %d sent over %d connections", sent, n, h.connections())
		}
		close(out.hold)
		same(t, out.at(t, 100+n), creates(101, n)...)
	})

	t.Run("StopsWhileSomethingIsLookedUp", func(t *testing.T) {
		t.Parallel()
		h, a, out := startHost(t, nil), newAccount(1), newSink()
		dir := newDirectory(a)
		asked := make(chan struct{})
		dir.wait = waitForever(asked)
		h.append(posts(t, a, 101, 1)...)
		stop := run(t, newSource(t, Config{URLs: []string{h.url()}, Directory: dir, LookupTimeout: time.Hour}), stream.Cursor{Value: 100, Host: h.name()}, out)
		<-asked
		if err := stop(); err == nil || len(out.lines) != 0 {
			t.Errorf("%v, %d lines", err, len(out.lines))
		}
	})
}

// identityAt is a frame with nothing but a number and a time.
func identityAt(t testing.TB, seq int64, when time.Time) numbered {
	t.Helper()
	return at(seq, encode(t, "#identity", &comatproto.SyncSubscribeRepos_Identity{Did: "did:plc:1", Seq: seq, Time: when.UTC().Format(time.RFC3339Nano)}))
}
