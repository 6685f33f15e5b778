package tap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/coder/websocket"

	"github.com/atview/atview/ingest/internal/natstest"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// fake is a Tap: it sends what has not been acknowledged, on each connection anew,
// and nothing twice on one.
type fake struct {
	http *httptest.Server
	over chan struct{}

	mu       sync.Mutex
	changed  chan struct{}
	frames   [][]byte // in order; those with a number in it count
	ids      []uint64
	acked    map[uint64]int
	requests []http.Header
	// cut ends connection n (from 0) after so many frames, if not 0.
	cut map[int]int
	// ended are connections that have ended, or are to: those below.
	ended int
	// status other than 0 is the answer in place of a websocket, to connection n.
	status map[int]int
}

func startFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{over: make(chan struct{}), changed: make(chan struct{}), acked: make(map[uint64]int), cut: make(map[int]int), status: make(map[int]int)}
	f.http = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(func() {
		close(f.over)
		f.http.CloseClientConnections()
		f.http.Close()
	})
	return f
}

func (f *fake) host() string { return strings.TrimPrefix(f.http.URL, "http://") }
func (f *fake) url() string  { return "tap+ws://" + f.host() + "/channel" }

func (f *fake) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// send adds an event.
func (f *fake) send(id uint64, data string) {
	f.update(func() { f.ids, f.frames = append(f.ids, id), append(f.frames, []byte(data)) })
}

// restart is a Tap that came back with nothing left to send: its ids begin anew.
func (f *fake) restart() {
	f.update(func() { f.ids, f.frames, f.acked, f.ended = nil, nil, make(map[uint64]int), 1 })
}

// until waits for a state.
func (f *fake) until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for {
		f.mu.Lock()
		ok, changed := done(), f.changed
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("not: %s", what)
		}
	}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	var n int
	f.update(func() {
		n = len(f.requests)
		f.requests = append(f.requests, r.Header)
	})
	f.mu.Lock()
	status, cut := f.status[n], f.cut[n]
	f.mu.Unlock()
	if status != 0 {
		http.Error(w, "fake trouble", status)
		return
	}
	if r.URL.Path != "/channel" {
		http.NotFound(w, r)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	go func() {
		defer cancel()
		for {
			_, data, err := conn.Read(ctx)
			if err != nil {
				return
			}
			var ack struct {
				Type string `json:"type"`
				ID   uint64 `json:"id"`
			}
			if json.Unmarshal(data, &ack) != nil || ack.Type != "ack" {
				return
			}
			f.update(func() { f.acked[ack.ID]++ })
		}
	}()
	sent := make(map[string]bool)
	for frames := 0; ; {
		f.mu.Lock()
		changed := f.changed
		var next []byte
		over := n < f.ended
		for i, id := range f.ids {
			if key := fmt.Sprint(i, id, string(f.frames[i])); f.acked[id] == 0 && !sent[key] {
				next, sent[key] = f.frames[i], true
				break
			}
		}
		f.mu.Unlock()
		if over {
			return
		}
		if next == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			case <-f.over:
				return
			}
		}
		if conn.Write(ctx, websocket.MessageText, next) != nil {
			return
		}
		if frames++; frames == cut {
			return
		}
	}
}

// sink collects what a source emits, and confirms it when told to.
type sink struct {
	mu      sync.Mutex
	lines   []source.Line
	changed chan struct{}
	each    func(source.Line) error
}

func (s *sink) emit(l source.Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
	close(s.changed)
	s.changed = make(chan struct{})
	if s.each != nil {
		return s.each(l)
	}
	return nil
}

func (s *sink) count(t testing.TB, n int) []source.Line {
	t.Helper()
	for {
		s.mu.Lock()
		lines, changed := slices.Clone(s.lines), s.changed
		s.mu.Unlock()
		if len(lines) >= n {
			return lines
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("only %d lines", len(lines))
		}
	}
}

func newSource(t testing.TB, cfg Config) *Source {
	t.Helper()
	cfg.MinBackoff, cfg.MaxBackoff = time.Millisecond, 5*time.Millisecond
	transport := http.DefaultTransport.(*http.Transport).Clone()
	cfg.HTTP = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	src, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func newSink() *sink { return &sink{changed: make(chan struct{})} }

func run(t testing.TB, src *Source, from stream.Cursor) (out *sink, stop func() error) {
	t.Helper()
	out = newSink()
	return out, runInto(t, src, from, out)
}

// runInto runs a source until stop is called, which returns Run's error.
func runInto(t testing.TB, src *Source, from stream.Cursor, out *sink) (stop func() error) {
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

const (
	did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	rev = "3mptbypluud2a"
)

func record(id uint64, rkey string) string {
	return fmt.Sprintf(`{"id":%d,"type":"record","record":{"live":true,"did":%q,"rev":%q,"collection":"com.example.note","rkey":%q,"action":"create","record":{"n":%d},"cid":"bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"}}`, id, did, rev, rkey, id)
}

func rkeys(lines []source.Line) []string {
	var out []string
	for _, l := range lines {
		if l.Event.Commit != nil {
			out = append(out, string(l.Event.Commit.RKey))
		}
	}
	return out
}

func TestSource(t *testing.T) {
	t.Parallel()

	t.Run("AcknowledgesWhatIsConfirmed", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		for i := uint64(1); i <= 5; i++ {
			f.send(i, record(i, fmt.Sprint("r", i)))
		}
		src := newSource(t, Config{URL: f.url()})
		out, stop := run(t, src, stream.Cursor{Value: 100})
		lines := out.count(t, 5)
		if lines[0].Cursor.Value != 101 || lines[0].Cursor.Host != f.host() {
			t.Errorf("%+v", lines[0].Cursor)
		}
		src.Confirmed(lines[2].Cursor)
		f.until(t, "3 acknowledged", func() bool { return f.acked[3] == 1 })
		f.mu.Lock()
		if len(f.acked) != 3 {
			t.Errorf("%v", f.acked)
		}
		f.mu.Unlock()
		if n := src.Unacked(); n != 2 {
			t.Errorf("%d are not acknowledged", n)
		}
		if st := src.Status(); !st.Connected || st.Connects != 1 || st.Host != f.host() || st.Bytes == 0 {
			t.Errorf("%+v", st)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})

	t.Run("WhatIsNotConfirmedComesAgain", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		for i := uint64(1); i <= 4; i++ {
			f.send(i, record(i, fmt.Sprint("r", i)))
		}
		src := newSource(t, Config{URL: f.url()})
		out := newSink()
		out.each = func(l source.Line) error {
			if l.Event.Commit.RKey == "r4" {
				f.update(func() { f.ended = 1 })
			}
			return nil
		}
		runInto(t, src, stream.Cursor{}, out)
		out.count(t, 4)
		f.send(5, record(5, "r5"))
		f.send(6, record(6, "r6"))
		lines := out.count(t, 10)
		if got := rkeys(lines[4:10]); !slices.Equal(got, []string{"r1", "r2", "r3", "r4", "r5", "r6"}) {
			t.Errorf("%v", got)
		}
		// What the first connection brought is stored by now, but was sent again: it is
		// acknowledged for the second time only.
		src.Confirmed(lines[3].Cursor)
		src.Confirmed(lines[5].Cursor)
		f.until(t, "2 acknowledged", func() bool { return f.acked[2] == 1 })
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.acked) != 2 {
			t.Errorf("%v", f.acked)
		}
	})

	t.Run("IdsThatBeginAnewAreOtherEvents", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.send(1, record(1, "old1"))
		f.send(2, record(2, "old2"))
		src := newSource(t, Config{URL: f.url()})
		f.status[1] = 503
		out := newSink()
		out.each = func(l source.Line) error {
			if l.Event.Commit.RKey == "old2" {
				f.restart()
				f.send(1, record(1, "new1"))
			}
			return nil
		}
		runInto(t, src, stream.Cursor{}, out)
		lines := out.count(t, 3)
		if lines[2].Event.Commit.RKey != "new1" {
			t.Errorf("%v", rkeys(lines))
		}
		src.Confirmed(lines[1].Cursor) // of old2
		if n := src.Unacked(); n != 1 {
			t.Errorf("%d are not acknowledged", n)
		}
		src.Confirmed(lines[2].Cursor)
		f.until(t, "new1 acknowledged", func() bool { return f.acked[1] == 1 })
	})

	t.Run("ARewoundLogConfirmsNothing", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.send(1, record(1, "r1"))
		src := newSource(t, Config{URL: f.url()})
		out, stop := run(t, src, stream.Cursor{Value: 10})
		src.Confirmed(stream.Cursor{Value: out.count(t, 1)[0].Cursor.Value + 50})
		f.until(t, "1 acknowledged", func() bool { return f.acked[1] == 1 })
		stop() //nolint:errcheck // cancelled
		f.send(2, record(2, "r2"))
		out, _ = run(t, src, stream.Cursor{Value: 5})
		out.count(t, 1)
		if n := src.Unacked(); n != 1 {
			t.Errorf("%d are not acknowledged", n)
		}
	})

	t.Run("WaitsWhenTooMuchIsNotConfirmed", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		for i := uint64(1); i <= 30; i++ {
			f.send(i, record(i, fmt.Sprint("r", i)))
		}
		src := newSource(t, Config{URL: f.url(), MaxUnacked: 3})
		out := newSink()
		most := 0
		out.each = func(source.Line) error {
			most = max(most, src.Unacked())
			return nil
		}
		stop := runInto(t, src, stream.Cursor{}, out)
		for i := 1; i <= 30; i++ {
			src.Confirmed(out.count(t, i)[i-1].Cursor)
		}
		f.until(t, "all acknowledged", func() bool { return len(f.acked) == 30 })
		stop() //nolint:errcheck // cancelled
		if most > 3 {
			t.Errorf("%d were not confirmed", most)
		}
	})

	t.Run("Password", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.status[1] = 401
		f.cut[0] = 1
		f.send(1, record(1, "r1"))
		src := newSource(t, Config{URL: "tap+ws://admin:se%2Fcret@" + f.host(), UserAgent: "test"})
		err := src.Run(t.Context(), stream.Cursor{}, func(source.Line) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "cret@") {
			t.Errorf("%v", err)
		}
		r := http.Request{Header: f.requests[0]}
		if user, password, ok := r.BasicAuth(); !ok || user != "admin" || password != "se/cret" || r.UserAgent() != "test" {
			t.Errorf("%q %q", user, password)
		}
	})

	t.Run("WaitsForATapThatIsAway", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.status[0], f.status[1] = 502, 503
		f.send(1, record(1, "r1"))
		src := newSource(t, Config{URL: f.url()})
		out, _ := run(t, src, stream.Cursor{})
		out.count(t, 1)
	})

	t.Run("TooLargeIsARejectAndAcknowledged", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.send(7, strings.Replace(record(7, "r7"), `"n":`, `"s":"`+strings.Repeat("x", 5000)+`","n":`, 1))
		f.send(8, record(8, "r8"))
		src := newSource(t, Config{URL: f.url(), MaxFrame: 1000})
		out, _ := run(t, src, stream.Cursor{})
		lines := out.count(t, 2)
		if reason(lines[0].Err) != stream.ReasonTooLarge || len(lines[0].Data) != 1000 || lines[1].Err != nil {
			t.Errorf("%+v", lines)
		}
		src.Confirmed(lines[1].Cursor)
		f.until(t, "both acknowledged", func() bool { return f.acked[7] == 1 && f.acked[8] == 1 })
	})

	t.Run("EmitsErrorEndsIt", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.send(1, record(1, "r1"))
		src := newSource(t, Config{URL: f.url()})
		gone := errors.New("log is gone")
		if err := src.Run(t.Context(), stream.Cursor{}, func(source.Line) error { return gone }); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
}

// TestLog: with a real log behind it, nothing is acknowledged that the log does not
// have, and all is in the end.
func TestLog(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	log, err := stream.Open(t.Context(), server.Connect(), stream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	f := startFake(t)
	f.cut[0] = 50
	src := newSource(t, Config{URL: f.url()})
	pub, err := log.NewPublisher(stream.PublisherConfig{Source: src.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// As package ingest does it.
	var wg sync.WaitGroup
	published := make(chan stream.Cursor, 1000)
	emitted := make(map[syntax.RecordKey]bool)
	wg.Go(func() {
		err := src.Run(ctx, stream.Cursor{}, func(l source.Line) error {
			if err := pub.Publish(ctx, &l.Event, l.Data); err != nil {
				return err
			}
			f.update(func() { emitted[l.Event.Commit.RKey] = true })
			published <- l.Cursor
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	wg.Go(func() {
		for {
			select {
			case c := <-published:
				if _, err := pub.Flush(ctx); err == nil {
					src.Confirmed(c)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	for i := uint64(1); i <= 200; i++ {
		f.send(i, record(i, fmt.Sprint("r", i)))
	}
	f.until(t, "200 acknowledged", func() bool { return len(f.acked) == 200 })

	server.Stop()
	for i := uint64(201); i <= 220; i++ {
		f.send(i, record(i, fmt.Sprint("r", i)))
	}
	f.until(t, "220 emitted", func() bool { return len(emitted) == 220 })
	f.mu.Lock()
	if len(f.acked) != 200 {
		t.Errorf("%d acknowledged while the log was away", len(f.acked))
	}
	f.mu.Unlock()
	server.Restart()
	f.until(t, "220 acknowledged", func() bool { return len(f.acked) == 220 })
	cancel()
	wg.Wait()

	have := make(map[syntax.RecordKey]bool)
	reader, err := log.Read(t.Context(), stream.Partition(did, log.Partitions()), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for len(have) < 220 {
		msgs, err := reader.Next(t.Context(), 1000, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range msgs {
			ev, err := stream.Parse(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			have[ev.Commit.RKey] = true
		}
	}
}

func reason(err error) stream.Reason {
	if bad, ok := errors.AsType[*stream.InvalidError](err); ok {
		return bad.Reason
	}
	return ""
}

func TestParse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	at := syntax.TID(rev).Time().UnixMicro()
	head := func(us int64) string { return fmt.Sprintf(`{"did":%q,"time_us":%d,"kind":`, did, us) }
	body := `{"a":"\ud800\u0000","n":123456789012345678901, "f":1.0e2}`
	cases := []struct {
		name, in string
		id       uint64
		want     []string // lines' bodies, or reasons
	}{
		{"Create", `{"id":1,"type":"record","record":{"live":false,"did":"` + did + `","rev":"` + rev + `","collection":"com.example.note","rkey":"self","action":"create","record":` + body + `,"cid":"bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"}}`, 1,
			[]string{head(at) + `"commit","commit":{"rev":"` + rev + `","operation":"create","collection":"com.example.note","rkey":"self","record":` + body + `,"cid":"bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"}}`}},
		{"Delete", `{"id":2,"type":"record","record":{"live":true,"did":"` + did + `","rev":"` + rev + `","collection":"com.example.note","rkey":"self","action":"delete"}}`, 2,
			[]string{head(at) + `"commit","commit":{"rev":"` + rev + `","operation":"delete","collection":"com.example.note","rkey":"self"}}`}},
		{"FutureRev", `{"id":2,"type":"record","record":{"live":true,"did":"` + did + `","rev":"7zzzzzzzzzz22","collection":"com.example.note","rkey":"self","action":"delete"}}`, 2,
			[]string{head(now.UnixMicro()) + `"commit","commit":{"rev":"7zzzzzzzzzz22","operation":"delete","collection":"com.example.note","rkey":"self"}}`}},
		{"NoContent", `{"id":3,"type":"record","record":{"live":true,"did":"` + did + `","rev":"` + rev + `","collection":"com.example.note","rkey":"self","action":"update"}}`, 3,
			[]string{"record", head(at) + `"sync","sync":{"did":"` + did + `","rev":"` + rev + `","seq":0}}`}},
		{"OddContent", `{"id":3,"type":"record","record":{"live":true,"did":"` + did + `","rev":"` + rev + `","collection":"com.example.note","rkey":"self","action":"update","record":[1]}}`, 3,
			[]string{"record"}},
		{"Action", `{"id":4,"type":"record","record":{"did":"` + did + `","rev":"` + rev + `","collection":"com.example.note","rkey":"self","action":"move"}}`, 4, []string{"operation"}},
		{"RKey", `{"id":5,"type":"record","record":{"did":"` + did + `","rev":"` + rev + `","collection":"com.example.note","rkey":"a/b","action":"delete"}}`, 5, []string{"rkey"}},
		{"DID", `{"id":6,"type":"record","record":{"did":"x","rev":"` + rev + `","collection":"com.example.note","rkey":"self","action":"update"}}`, 6, []string{"did"}},
		{"Identity", `{"id":7,"type":"identity","identity":{"did":"` + did + `","handle":"a.test","is_active":true,"status":"active"}}`, 7,
			[]string{head(now.UnixMicro()) + `"identity","identity":{"handle":"a.test"}}`, head(now.UnixMicro()) + `"account","account":{"active":true}}`}},
		{"Takedown", `{"id":8,"type":"identity","identity":{"did":"` + did + `","handle":"a.test","is_active":false,"status":"takendown"}}`, 8,
			[]string{head(now.UnixMicro()) + `"identity","identity":{"handle":"a.test"}}`, head(now.UnixMicro()) + `"account","account":{"active":false,"status":"takendown"}}`}},
		{"NoState", `{"id":9,"type":"identity","identity":{"did":"` + did + `","handle":""}}`, 9, []string{head(now.UnixMicro()) + `"identity","identity":{"handle":""}}`, "body"}},
		{"BadIdentity", `{"id":9,"type":"identity","identity":{"did":7}}`, 9, []string{"did"}},
		{"NoBody", `{"id":10,"type":"record"}`, 10, []string{"body"}},
		{"NoType", `{"id":11}`, 11, []string{"kind"}},
		{"Future", `{"id":12,"type":"repo"}`, 12, []string{"unknown"}},
		{"BadType", `{"id":13,"type":7}`, 13, []string{"frame"}},
		{"NoJSON", `{"id":14`, 0, []string{"frame"}},
		{"Null", `null`, 0, []string{"kind"}},
	}
	for _, c := range cases {
		id, lines := parse([]byte(c.in), now)
		var got []string
		for _, l := range lines {
			switch {
			case errors.Is(l.Err, stream.ErrUnknownKind):
				got = append(got, "unknown")
			case l.Err != nil:
				got = append(got, string(reason(l.Err)))
				if !bytes.Equal(l.Data, []byte(c.in)) {
					t.Errorf("%s: a reject is not as it was sent: %s", c.name, l.Data)
				}
			default:
				got = append(got, string(l.Data))
			}
		}
		if id != c.id || !slices.Equal(got, c.want) {
			t.Errorf("%s: id %d\n%s\nwant\n%s", c.name, id, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(record(1, "a")))
	f.Add([]byte(`{"id":7,"type":"identity","identity":{"did":"` + did + `","handle":"a.test","is_active":true,"status":"active"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, lines := parse(data, time.Unix(1_790_000_000, 0))
		if len(lines) == 0 {
			t.Fatal("nothing")
		}
		for _, l := range lines {
			if l.Err != nil {
				continue
			}
			if _, err := stream.Parse(l.Data); err != nil {
				t.Errorf("a line that does not parse: %v", err)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "ws://a.test/channel", "tap+http://a.test", "tap+ws:///channel", "tap+ws://admin:pw@a b"} {
		_, err := New(Config{URL: bad})
		if err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := New(Config{URL: "tap+ws://a.test", MaxFrame: -1}); err == nil {
		t.Error("a negative limit passes")
	}
	src, err := New(Config{URL: "tap+wss://a.test:2480"})
	if err != nil || src.url.String() != "wss://a.test:2480/channel" || src.Name() != "tap" {
		t.Errorf("%v", err)
	}
}

func BenchmarkParse(b *testing.B) {
	data := []byte(record(1, "a"))
	b.ReportAllocs()
	for b.Loop() {
		if _, lines := parse(data, time.Unix(1_790_000_000, 0)); lines[0].Err != nil {
			b.Fatal(lines[0].Err)
		}
	}
}
