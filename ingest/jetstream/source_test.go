package jetstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/internal/fakejet"
	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// sink collects what a source emits.
type sink struct {
	mu      sync.Mutex
	first   source.Line   // of all
	lines   []source.Line // those that are more than a cursor
	changed chan struct{}
	hold    chan struct{} // emit waits for it, if not nil
}

func newSink() *sink { return &sink{changed: make(chan struct{})} }

func (s *sink) emit(l source.Line) error {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.Cursor.Value == 0 {
		s.first = l
	}
	if l.Data != nil || l.Err != nil {
		s.lines = append(s.lines, l)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// until waits until the collected lines are as wanted.
func (s *sink) until(t *testing.T, done func(lines []source.Line) bool) []source.Line {
	t.Helper()
	for {
		s.mu.Lock()
		lines, changed := s.lines, s.changed
		s.mu.Unlock()
		if done(lines) {
			return lines
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("only %d lines", len(lines))
		}
	}
}

func (s *sink) count(t *testing.T, n int) []source.Line {
	t.Helper()
	return s.until(t, func(lines []source.Line) bool { return len(lines) >= n })
}

func newSource(t *testing.T, cfg jetstream.Config) *jetstream.Source {
	t.Helper()
	cfg.MinBackoff = cmpOr(cfg.MinBackoff, time.Millisecond)
	cfg.MaxBackoff = cmpOr(cfg.MaxBackoff, 10*time.Millisecond)
	src, err := jetstream.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func cmpOr(d, or time.Duration) time.Duration {
	if d == 0 {
		return or
	}
	return d
}

// run runs a source until stop is called, which returns Run's error.
func run(t *testing.T, src *jetstream.Source, from stream.Cursor, out *sink) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx, from, out.emit) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() }) //nolint:errcheck // looked at where it matters
	return stop
}

const start = 1_790_000_000_000_000

// post returns event n of a repository, a second after the one before.
func post(repo, n int) fakejet.Event {
	return fakejet.Line(fmt.Appendf(nil, `{"did":"did:plc:%024d","time_us":%d,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"create","collection":"app.bsky.feed.post","rkey":"r%d","record":{"$type":"app.bsky.feed.post","text":"%d"},"cid":"bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"}}`,
		repo, start+int64(n)*1_000_000, n, n))
}

func posts(n, repos int) []fakejet.Event {
	var events []fakejet.Event
	for i := range n {
		events = append(events, post(i%repos, i))
	}
	return events
}

func number(t *testing.T, l source.Line) int {
	t.Helper()
	if l.Err != nil {
		t.Fatal(l.Err)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(string(l.Event.Commit.RKey), "r"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func collections(t *testing.T, patterns ...string) source.Collections {
	t.Helper()
	c, err := source.ParseCollections(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSource(t *testing.T) {
	t.Parallel()

	t.Run("AsksForCollectionsCompressionAndCursor", func(t *testing.T) {
		t.Parallel()
		srv := fakejet.Start(t, nil)
		src := newSource(t, jetstream.Config{URLs: []string{srv.URL() + "?extra=1"}})
		src.SetCollections(collections(t, "a.b.c", "x.y.*", "a.b.c"))
		stop := run(t, src, stream.Cursor{Value: start, Host: srv.Host()}, newSink())
		q := srv.Request(t, 0)
		want := url.Values{
			"wantedCollections": {"a.b.c", "x.y.*"},
			"compress":          {"true"},
			"cursor":            {strconv.Itoa(start - 10_000_000)},
			"extra":             {"1"},
		}
		if q.Encode() != want.Encode() {
			t.Errorf("%s\nwant %s", q.Encode(), want.Encode())
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	})

	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("EventsArriveByteForByte/Plain=%v", plain), func(t *testing.T) {
			t.Parallel()
			srv := fakejet.Start(t, nil)
			odd := fakejet.Line([]byte(` {"did":"did:web:a.test","time_us":1790000001000000,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"create","collection":"a.b.c","rkey":"x","record":{"a":"\ud800\u0000","n":123456789012345678901}}}`))
			srv.Append(post(1, 0), odd)
			src := newSource(t, jetstream.Config{URLs: []string{srv.URL()}, Plain: plain, StartCursor: start})
			out := newSink()
			run(t, src, stream.Cursor{}, out)
			lines := out.count(t, 2)
			if !bytes.Equal(lines[0].Data, post(1, 0).Data) || !bytes.Equal(lines[1].Data, odd.Data) {
				t.Errorf("%s\n%s", lines[0].Data, lines[1].Data)
			}
			if lines[1].Err != nil || lines[1].Cursor.Value != start+1_000_000 || lines[1].Cursor.Host != srv.Host() {
				t.Errorf("%+v", lines[1])
			}
			if got := srv.Request(t, 0).Get("compress") == "true"; got == plain {
				t.Errorf("compress=%v", got)
			}
			if st := src.Status(); !st.Connected || st.Connects != 1 || st.Host != srv.Host() || st.Bytes == 0 {
				t.Errorf("%+v", st)
			}
		})
	}

	t.Run("FilterChangesWhileConnected", func(t *testing.T) {
		t.Parallel()
		srv := fakejet.Start(t, nil)
		src := newSource(t, jetstream.Config{URLs: []string{srv.URL()}, StartCursor: start})
		src.SetCollections(collections(t, "a.b.c"))
		out := newSink()
		run(t, src, stream.Cursor{}, out)
		srv.Request(t, 0)
		src.SetCollections(collections(t, "a.b.c", "app.bsky.feed.post"))
		if got := srv.Update(t, 0); !slices.Equal(got, []string{"a.b.c", "app.bsky.feed.post"}) {
			t.Errorf("%v", got)
		}
		srv.Append(post(1, 1))
		out.count(t, 1)
		src.SetCollections(source.Collections{})
		if got := srv.Update(t, 1); len(got) != 0 {
			t.Errorf("all: %v", got)
		}
		if n := srv.Connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})

	t.Run("CutsLoseNothing", func(t *testing.T) {
		t.Parallel()
		const n, repos, cuts = 3000, 7, 40
		srv := fakejet.Start(t, func(conn int) fakejet.Behaviour {
			if conn >= cuts {
				return fakejet.Behaviour{}
			}
			return fakejet.Behaviour{Cut: 1 + rand.N(150)}
		})
		events := posts(n, repos)
		// Times go backwards here and there, by less than the rewind.
		for i := 10; i < n; i += 10 {
			events[i].Data = bytes.Replace(events[i].Data, fmt.Appendf(nil, `"time_us":%d`, events[i].TimeUS), fmt.Appendf(nil, `"time_us":%d`, events[i].TimeUS-4_000_000), 1)
			events[i].TimeUS -= 4_000_000
		}
		srv.Append(events...)
		src := newSource(t, jetstream.Config{URLs: []string{srv.URL()}, StartCursor: start})
		out := newSink()
		run(t, src, stream.Cursor{}, out)
		lines := out.until(t, func(lines []source.Line) bool {
			return len(lines) > 0 && lines[len(lines)-1].Event.Commit.RKey == "r2999"
		})
		seen := make(map[int]bool)
		var cursor int64
		for i, l := range lines {
			k := number(t, l)
			seen[k] = true
			if i > 0 {
				// In order, but for the steps back of a reconnect.
				if before := number(t, lines[i-1]); k > before+1 {
					t.Fatalf("%d follows %d", k, before)
				}
			}
			if l.Cursor.Value < cursor {
				t.Fatalf("cursor goes back from %d to %d", cursor, l.Cursor.Value)
			}
			cursor = l.Cursor.Value
		}
		if len(seen) != n {
			t.Errorf("%d events of %d, in %d lines", len(seen), n, len(lines))
		}
		if c := srv.Connections(); c < 10 || len(lines) == n {
			t.Errorf("%d connections, %d lines: were there cuts?", c, len(lines))
		}
	})

	t.Run("AGapBeforeTheFirstEventIsClosed", func(t *testing.T) {
		t.Parallel()
		left := make(chan struct{})
		var once sync.Once
		srv := fakejet.Start(t, func(conn int) fakejet.Behaviour {
			if conn == 0 {
				return fakejet.Behaviour{Quiet: true}
			}
			once.Do(func() { close(left) })
			return fakejet.Behaviour{}
		})
		out := newSink()
		run(t, newSource(t, jetstream.Config{URLs: []string{srv.URL()}, IdleTimeout: 50 * time.Millisecond}), stream.Cursor{}, out)
		// The present, as it was given away before the connection.
		asked := srv.Request(t, 0).Get("cursor")
		out.mu.Lock()
		if told := strconv.FormatInt(out.first.Cursor.Value, 10); asked != told {
			t.Errorf("first request has cursor %s, the first that was told is %s", asked, told)
		}
		out.mu.Unlock()
		ev := fakejet.Line(bytes.Replace(post(1, 1).Data, []byte(`"time_us":1790000001000000`), fmt.Appendf(nil, `"time_us":%d`, time.Now().UnixMicro()), 1))
		srv.Append(ev) // while nobody is told
		<-left
		out.count(t, 1)
		if q := srv.Request(t, 1); !q.Has("cursor") {
			t.Error("second request has no cursor")
		}
		out.mu.Lock()
		defer out.mu.Unlock()
		if out.first.Data != nil || out.first.Cursor.Value == 0 {
			t.Errorf("no cursor is left at the first connection: %+v", out.first)
		}
	})

	t.Run("BadRequestEndsIt", func(t *testing.T) {
		t.Parallel()
		srv := fakejet.Start(t, func(int) fakejet.Behaviour { return fakejet.Behaviour{Status: 400} })
		src := newSource(t, jetstream.Config{URLs: []string{srv.URL()}})
		err := src.Run(t.Context(), stream.Cursor{}, newSink().emit)
		if err == nil || !strings.Contains(err.Error(), "HTTP 400") || !strings.Contains(err.Error(), "fake trouble") || !strings.Contains(err.Error(), srv.Host()) {
			t.Errorf("%v", err)
		}
		if n := srv.Connections(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})

	t.Run("BadRequestOfOneHostLeavesItOut", func(t *testing.T) {
		t.Parallel()
		bad := fakejet.Start(t, func(int) fakejet.Behaviour { return fakejet.Behaviour{Status: 404} })
		good := fakejet.Start(t, func(int) fakejet.Behaviour { return fakejet.Behaviour{Cut: 1} })
		good.Append(posts(3, 1)...)
		out := newSink()
		run(t, newSource(t, jetstream.Config{URLs: []string{bad.URL(), good.URL()}, StartCursor: start}), stream.Cursor{}, out)
		out.count(t, 5)
		if n := bad.Connections(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})

	t.Run("TroubleIsRetried", func(t *testing.T) {
		t.Parallel()
		status := []int{503, 429, 500, 502, 503, 0, 404, 403, 0}
		srv := fakejet.Start(t, func(conn int) fakejet.Behaviour {
			if conn >= len(status) {
				return fakejet.Behaviour{}
			}
			return fakejet.Behaviour{Status: status[conn], Cut: 1}
		})
		srv.Append(post(1, 1))
		out := newSink()
		src := newSource(t, jetstream.Config{URLs: []string{srv.URL()}, StartCursor: start})
		run(t, src, stream.Cursor{}, out)
		out.count(t, 3)
		if n := srv.Connections(); n != len(status)+1 {
			t.Errorf("%d connections", n)
		}
	})

	t.Run("AnotherHostTakesOver", func(t *testing.T) {
		t.Parallel()
		// One serves once, then is away.
		one := fakejet.Start(t, func(conn int) fakejet.Behaviour {
			if conn == 0 {
				return fakejet.Behaviour{Cut: 200}
			}
			return fakejet.Behaviour{Status: 503}
		})
		two := fakejet.Start(t, nil)
		one.Append(posts(300, 3)...)
		two.Append(posts(300, 3)...)
		out := newSink()
		run(t, newSource(t, jetstream.Config{URLs: []string{one.URL(), two.URL()}, StartCursor: start}), stream.Cursor{}, out)
		lines := out.until(t, func(lines []source.Line) bool {
			return len(lines) > 0 && lines[len(lines)-1].Event.Commit.RKey == "r299"
		})
		if lines[0].Cursor.Host != one.Host() || lines[len(lines)-1].Cursor.Host != two.Host() {
			t.Errorf("cursors of %s and %s", lines[0].Cursor.Host, lines[len(lines)-1].Cursor.Host)
		}
		last := int64(start + 199*1_000_000)
		if got := one.Request(t, 1).Get("cursor"); got != strconv.FormatInt(last-10_000_000, 10) {
			t.Errorf("same host is asked from %s", got)
		}
		if got := two.Request(t, 0).Get("cursor"); got != strconv.FormatInt(last-60_000_000, 10) {
			t.Errorf("other host is asked from %s", got)
		}
	})

	t.Run("BeginsAtTheHostOfTheCursor", func(t *testing.T) {
		t.Parallel()
		one, two := fakejet.Start(t, nil), fakejet.Start(t, nil)
		run(t, newSource(t, jetstream.Config{URLs: []string{one.URL(), two.URL()}}), stream.Cursor{Value: start, Host: two.Host()}, newSink())
		if got := two.Request(t, 0).Get("cursor"); got != strconv.Itoa(start-10_000_000) {
			t.Errorf("asked from %s", got)
		}
	})

	for name, b := range map[string]fakejet.Behaviour{"Idle": {Quiet: true}, "DoesNotAnswerPings": {Mute: true}} {
		t.Run("DeadConnectionIsLeft/"+name, func(t *testing.T) {
			t.Parallel()
			srv := fakejet.Start(t, func(conn int) fakejet.Behaviour {
				if conn == 0 {
					return b
				}
				return fakejet.Behaviour{}
			})
			srv.Append(post(1, 1))
			cfg := jetstream.Config{URLs: []string{srv.URL()}, StartCursor: start, IdleTimeout: 50 * time.Millisecond}
			if b.Mute {
				cfg.IdleTimeout, cfg.PingEvery = time.Hour, 20*time.Millisecond
			}
			out := newSink()
			run(t, newSource(t, cfg), stream.Cursor{}, out)
			out.count(t, 1)
		})
	}

	t.Run("FaultyFramesAreRejectsAndNoReasonToReconnect", func(t *testing.T) {
		t.Parallel()
		srv := fakejet.Start(t, nil)
		bomb := compress(t, make([]byte, 64<<20), nil)
		faults := []struct {
			ev     fakejet.Event
			reason stream.Reason
		}{
			{fakejet.Event{Data: []byte("no JSON"), TimeUS: start}, stream.ReasonJSON},
			{fakejet.Event{Data: []byte{}, TimeUS: start}, stream.ReasonJSON},
			{fakejet.Event{Data: []byte("no zstd"), TimeUS: start, Binary: true}, stream.ReasonFrame},
			{fakejet.Event{Data: compress(t, post(1, 1).Data, jetstream.Dictionary())[:60], TimeUS: start, Binary: true}, stream.ReasonFrame},
			{fakejet.Event{Data: compress(t, []byte("no JSON either"), jetstream.Dictionary()), TimeUS: start, Binary: true}, stream.ReasonJSON},
			{fakejet.Event{Data: bomb, TimeUS: start, Binary: true}, stream.ReasonTooLarge},
			{fakejet.Event{Data: bytes.Repeat([]byte("x"), 33<<20), TimeUS: start}, stream.ReasonTooLarge},
		}
		for _, f := range faults {
			srv.Append(f.ev)
		}
		srv.Append(post(1, 7))
		out := newSink()
		run(t, newSource(t, jetstream.Config{URLs: []string{srv.URL()}, Plain: true, StartCursor: start}), stream.Cursor{}, out)
		lines := out.count(t, len(faults)+1)
		for i, f := range faults {
			var bad *stream.InvalidError
			if !errors.As(lines[i].Err, &bad) || bad.Reason != f.reason {
				t.Errorf("fault %d: %v, want %s", i, lines[i].Err, f.reason)
			}
		}
		if number(t, lines[len(faults)]) != 7 || srv.Connections() != 1 {
			t.Errorf("%d connections", srv.Connections())
		}
	})

	t.Run("AnotherDictionaryIsGivenUp", func(t *testing.T) {
		t.Parallel()
		srv := fakejet.Start(t, nil)
		other := bytes.Clone(jetstream.Dictionary())
		other[4]++ // its id
		ev := post(1, 1)
		srv.Append(fakejet.Event{Data: compress(t, ev.Data, other), TimeUS: ev.TimeUS, Binary: true}, post(1, 2))
		out := newSink()
		run(t, newSource(t, jetstream.Config{URLs: []string{srv.URL()}, StartCursor: start}), stream.Cursor{}, out)
		lines := out.count(t, 2)
		var bad *stream.InvalidError
		if !errors.As(lines[0].Err, &bad) || bad.Reason != stream.ReasonFrame || number(t, lines[1]) != 2 {
			t.Errorf("%v, %v", lines[0].Err, lines[1].Err)
		}
		if srv.Request(t, 0).Get("compress") != "true" || srv.Request(t, 1).Has("compress") {
			t.Error("not asked for uncompressed frames")
		}
	})

	t.Run("AStallIsBufferedThenTheSocketWaits", func(t *testing.T) {
		t.Parallel()
		srv := fakejet.Start(t, nil)
		const buffered, n = 500, 6000
		events := posts(n, 3)
		for i := range events { // more than sockets hold
			events[i].Data = append(bytes.Clone(events[i].Data), bytes.Repeat([]byte(" "), 5000)...)
		}
		srv.Append(events...)
		out := newSink()
		out.hold = make(chan struct{})
		src := newSource(t, jetstream.Config{
			URLs: []string{srv.URL()}, Plain: true, StartCursor: start,
			BufferFrames: buffered, IdleTimeout: 2 * time.Second, PingEvery: time.Second,
		})
		run(t, src, stream.Cursor{}, out)
		// The server sends what fits into the buffer and the sockets, and waits. It
		// does so for longer than a connection may be idle.
		poll := time.NewTicker(time.Millisecond)
		defer poll.Stop()
		for src.Status().Buffered < buffered {
			select {
			case <-poll.C:
			case <-t.Context().Done():
				t.Fatal("buffer does not fill")
			}
		}
		<-time.After(5 * time.Second)
		if sent := srv.Sent(); sent == n {
			t.Error("all was sent: nothing held the server back")
		}
		if c := srv.Connections(); c != 1 {
			t.Errorf("%d connections", c)
		}
		close(out.hold)
		out.mu.Lock()
		out.hold = nil
		out.mu.Unlock()
		lines := out.count(t, n)
		for i, l := range lines {
			if k := number(t, l); k != i {
				t.Fatalf("line %d is %d", i, k)
			}
		}
	})

	t.Run("EmitsErrorEndsIt", func(t *testing.T) {
		t.Parallel()
		srv := fakejet.Start(t, nil)
		srv.Append(posts(10, 1)...)
		src := newSource(t, jetstream.Config{URLs: []string{srv.URL()}, StartCursor: start})
		enough := errors.New("enough")
		if err := src.Run(t.Context(), stream.Cursor{}, func(source.Line) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("%v", err)
		}
	})

	t.Run("ReplayWindow", func(t *testing.T) {
		t.Parallel()
		srv := fakejet.Start(t, nil)
		run(t, newSource(t, jetstream.Config{URLs: []string{srv.URL()}, ReplayWindow: time.Hour}), stream.Cursor{}, newSink())
		got, err := strconv.ParseInt(srv.Request(t, 0).Get("cursor"), 10, 64)
		if ago := time.Since(time.UnixMicro(got)); err != nil || ago < time.Hour || ago > time.Hour+time.Minute {
			t.Errorf("%v ago, %v", ago, err)
		}
	})

	t.Run("Configuration", func(t *testing.T) {
		t.Parallel()
		for _, cfg := range []jetstream.Config{
			{},
			{URLs: []string{"https://one.test/subscribe"}},
			{URLs: []string{"wss:///subscribe"}},
			{URLs: []string{"wss://one.test/subscribe"}, StartCursor: -1},
		} {
			if _, err := jetstream.New(cfg); err == nil {
				t.Errorf("%+v passes", cfg)
			}
		}
	})
}

func compress(t *testing.T, data, dict []byte) []byte {
	t.Helper()
	opts := []zstd.EOption{zstd.WithEncoderConcurrency(1)}
	if dict != nil {
		opts = append(opts, zstd.WithEncoderDict(dict))
	}
	enc, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(data, nil)
}
