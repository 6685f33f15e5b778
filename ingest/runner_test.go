package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/atview/atview/ingest"
	"github.com/atview/atview/ingest/file"
	"github.com/atview/atview/ingest/internal/fakejet"
	"github.com/atview/atview/ingest/internal/natstest"
	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func openLog(t testing.TB, nc *nats.Conn, cfg stream.Config) *stream.Log {
	t.Helper()
	log, err := stream.Open(testContext(t), nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func newRunner(t testing.TB, cfg ingest.Config) *ingest.Runner {
	t.Helper()
	if cfg.MarkEvery == 0 {
		cfg.MarkEvery = 2 * time.Millisecond
	}
	r, err := ingest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fileSource(t testing.TB, lines ...string) *file.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return corpusSource(t, path)
}

// corpusSource reads a file, or skips if it is not there.
func corpusSource(t testing.TB, path string) *file.Source {
	t.Helper()
	src, err := file.New(file.Config{Path: path})
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no record corpus beside the checkout: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return src
}

const corpus = "../../shared/records/"

func jetstreamSource(t testing.TB, srv *fakejet.Server) *jetstream.Source {
	t.Helper()
	src, err := jetstream.New(jetstream.Config{
		URLs: []string{srv.URL()}, StartCursor: start, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

const start = 1_790_000_000_000_000

// line returns event n, a second after the one before, of one of the
// repositories.
func line(n, repos int) string {
	return fmt.Sprintf(`{"did":"did:plc:%024d","time_us":%d,"kind":"commit","commit":{"rev":"%s","operation":"create","collection":"app.bsky.feed.post","rkey":"r%d","record":{"$type":"app.bsky.feed.post","text":"%s"},"cid":"bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"}}`,
		n%repos, start+int64(n)*1_000_000, syntax.NewTIDFromInteger(uint64(n+1_000_000)), n, strings.Repeat("x", n%300))
}

func lines(n, repos int) []fakejet.Event {
	var events []fakejet.Event
	for i := range n {
		events = append(events, fakejet.Line([]byte(line(i, repos))))
	}
	return events
}

// everything reads the whole stream, in order.
func everything(t testing.TB, nc *nats.Conn) (events, rejects []string, cursors map[int]int64) {
	t.Helper()
	ctx := testContext(t)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, "atview")
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	cursors = make(map[int]int64)
	if state.Msgs == 0 {
		return events, rejects, cursors
	}
	cons, err := s.OrderedConsumer(ctx, natsjs.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	it, err := cons.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	for {
		m, err := it.Next(natsjs.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.Contains(m.Subject(), ".cursor."):
			var c stream.Cursor
			if err := json.Unmarshal(m.Data(), &c); err != nil {
				t.Fatal(err)
			}
			cursors[len(events)] = c.Value
		case m.Headers().Get(stream.HeaderReject) != "":
			rejects = append(rejects, string(m.Data()))
		default:
			events = append(events, string(m.Data()))
		}
		if meta.Sequence.Stream >= state.LastSeq {
			return events, rejects, cursors
		}
	}
}

func parse(t testing.TB, data string) stream.Event {
	t.Helper()
	ev, err := stream.Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// checkComplete checks that events 0 to n-1 are on the log, the last copies in
// order for each repository, and each cursor behind the events up to its time.
func checkComplete(t testing.TB, nc *nats.Conn, n int) {
	t.Helper()
	events, rejects, cursors := everything(t, nc)
	if len(rejects) > 0 {
		t.Errorf("%d rejects", len(rejects))
	}
	lastOf := make(map[int]int) // event → place of its last copy
	stored := 0                 // all below it are
	done := make(map[int]bool)
	check := func(place int) {
		if c, ok := cursors[place]; ok {
			if upTo := int((c - start) / 1_000_000); stored <= upTo {
				t.Errorf("cursor of event %d is stored when event %d is missing", upTo, stored)
			}
		}
	}
	for place, e := range events {
		check(place)
		k := int((parse(t, e).TimeUS - start) / 1_000_000)
		lastOf[k] = place
		done[k] = true
		for done[stored] {
			stored++
		}
	}
	check(len(events))
	if len(done) != n {
		t.Errorf("%d events of %d", len(done), n)
	}
	repos := make(map[syntax.DID]int)
	for k := range n {
		did := parse(t, events[lastOf[k]]).DID
		if lastOf[k] < repos[did] {
			t.Errorf("event %d of %s stands before its predecessor", k, did)
		}
		repos[did] = lastOf[k]
	}
	if len(cursors) == 0 {
		t.Error("no cursor was stored")
	}
	t.Logf("%d events, %d with second copies, %d cursors", n, len(events), len(cursors))
}

// until waits until a runner has stored an event, or ended.
func until(t testing.TB, r *ingest.Runner, done func(s ingest.SourceStats) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ctx := testContext(t)
	for !done(r.Stats().Sources[0]) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not there: %+v", r.Stats())
		}
	}
}

// cursorAt tells that the source has been read up to event n.
func cursorAt(n int) func(ingest.SourceStats) bool {
	return func(s ingest.SourceStats) bool { return s.Cursor.Value >= start+int64(n)*1_000_000 }
}

func TestRunner(t *testing.T) {
	t.Parallel()

	t.Run("CapturedFileComesBackAsItIs", func(t *testing.T) {
		t.Parallel()
		path := corpus + "jetstream-v1/bluesky-2026-07-04.jsonl"
		src := corpusSource(t, path)
		nc := natstest.Start(t).Connect()
		log := openLog(t, nc, stream.Config{})
		ctx := testContext(t)
		r := newRunner(t, ingest.Config{Stream: log, Sources: []source.Source{src}})
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}

		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[syntax.DID][]string)
		for l := range bytes.Lines(data) {
			l := strings.TrimSpace(string(l))
			did := parse(t, l).DID
			want[did] = append(want[did], l)
		}
		got := make(map[syntax.DID][]string)
		n := 0
		for p, last := range r.Positions() {
			rd, err := log.Read(ctx, p, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer rd.Close()
			for seq := uint64(0); seq < last; {
				msgs, err := rd.Next(ctx, 100, 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range msgs {
					did := parse(t, string(m.Data)).DID
					got[did] = append(got[did], string(m.Data))
					seq = m.Seq
					n++
				}
			}
		}
		if n != 152 || !reflect.DeepEqual(got, want) {
			t.Errorf("%d events, or not the same", n)
		}
		s := r.Stats().Sources[0]
		if s.Events[stream.KindCommit] != 150 || s.Events[stream.KindIdentity] != 1 || s.Events[stream.KindAccount] != 1 || !s.Done || s.Lag <= 0 || s.LastEvent.IsZero() {
			t.Errorf("%+v", s)
		}
	})

	t.Run("EdgeCasesAreStored", func(t *testing.T) {
		t.Parallel()
		src := corpusSource(t, corpus+"edge/edge-cases.jsonl")
		nc := natstest.Start(t).Connect()
		r := newRunner(t, ingest.Config{Stream: openLog(t, nc, stream.Config{}), Sources: []source.Source{src}})
		if err := r.Run(testContext(t)); err != nil {
			t.Fatal(err)
		}
		events, rejects, _ := everything(t, nc)
		if len(events) != 49 || len(rejects) != 0 {
			t.Errorf("%d events, rejects %v", len(events), rejects)
		}
	})

	t.Run("OnlyWantedCommitsAndEverythingElse", func(t *testing.T) {
		t.Parallel()
		nc := natstest.Start(t).Connect()
		commit := func(collection, rkey string) string {
			return `{"did":"did:web:a.test","time_us":5,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"delete","collection":"` + collection + `","rkey":"` + rkey + `"}}`
		}
		src := fileSource(t,
			commit("a.b.c", "x"),
			commit("a.b.d", "x"),
			commit("a.b.d", "bad key"), // nobody asked for it
			commit("a.b.c", "bad key"),
			commit("x.y.z", "x"),
			`{"did":"did:web:a.test","time_us":5,"kind":"identity","identity":{}}`,
			`{"did":"did:web:a.test","time_us":5,"kind":"account","account":{"active":true}}`,
			`{"did":"did:web:a.test","time_us":5,"kind":"sync","sync":{"rev":"3mptbypluud2a"}}`,
			`{"did":"did:web:a.test","time_us":5,"kind":"labels","labels":{}}`,
			`no JSON`,
		)
		wanted, err := source.ParseCollections([]string{"a.b.c", "x.y.*"})
		if err != nil {
			t.Fatal(err)
		}
		r := newRunner(t, ingest.Config{Stream: openLog(t, nc, stream.Config{}), Sources: []source.Source{src}, Collections: wanted})
		if err := r.Run(testContext(t)); err != nil {
			t.Fatal(err)
		}
		events, rejects, cursors := everything(t, nc)
		if len(events) != 5 || len(rejects) != 2 || len(cursors) != 0 {
			t.Errorf("events %v\nrejects %v\ncursors %v", events, rejects, cursors)
		}
		s := r.Stats().Sources[0]
		if s.Filtered != 2 || s.Ignored != 1 || s.Rejects[stream.ReasonRKey] != 1 || s.Rejects[stream.ReasonJSON] != 1 ||
			s.Events[stream.KindCommit] != 2 || s.Collections["a.b.c"] != 1 || s.Collections["x.y.z"] != 1 || s.Bytes == 0 || s.Log.Confirmed != 7 {
			t.Errorf("%+v", s)
		}
	})

	t.Run("TroubleOnBothSidesLosesNothing", func(t *testing.T) {
		t.Parallel()
		const n, repos = 3000, 5
		nats := natstest.Start(t)
		proxy := nats.Proxy()
		srv := fakejet.Start(t, func(int) fakejet.Behaviour { return fakejet.Behaviour{Cut: 30 + rand.N(300)} })
		srv.Append(lines(n, repos)...)
		r := newRunner(t, ingest.Config{Stream: openLog(t, proxy.Connect(), stream.Config{}), Sources: []source.Source{jetstreamSource(t, srv)}, Window: 128})
		ctx, stop := context.WithCancel(testContext(t))
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		for i := range 10 {
			until(t, r, cursorAt(n/11*(i+1)))
			if i%3 == 0 {
				nats.Stop()
				nats.Restart()
			} else {
				proxy.Cut()
			}
		}
		until(t, r, cursorAt(n-1))
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		checkComplete(t, nats.Connect(), n)
		if s := r.Stats().Sources[0]; s.Log.Retries == 0 || s.Status.Connects < 5 {
			t.Errorf("was there trouble? %+v", s)
		}
	})

	t.Run("KilledAndStartedAgain", func(t *testing.T) {
		t.Parallel()
		const n, repos, kills = 2000, 4, 6
		server := natstest.Start(t)
		srv := fakejet.Start(t, nil)
		srv.Append(lines(n, repos)...)
		for i := range kills {
			nc := server.Connect()
			r := newRunner(t, ingest.Config{
				Stream: openLog(t, nc, stream.Config{}), Sources: []source.Source{jetstreamSource(t, srv)}, Window: 64, DrainTimeout: time.Millisecond,
			})
			done := make(chan error, 1)
			go func() { done <- r.Run(testContext(t)) }()
			until(t, r, cursorAt(n/(kills+1)*(i+1)))
			nc.Close() // nothing more gets through, nothing is said
			if err := <-done; err == nil {
				t.Fatal("runs on without a log")
			}
		}
		nc := server.Connect()
		r := newRunner(t, ingest.Config{Stream: openLog(t, nc, stream.Config{}), Sources: []source.Source{jetstreamSource(t, srv)}})
		ctx, stop := context.WithCancel(testContext(t))
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		until(t, r, cursorAt(n-1))
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		checkComplete(t, nc, n)
		// Not all from the start each time.
		q := srv.Request(t, kills)
		if got, err := strconv.ParseInt(q.Get("cursor"), 10, 64); err != nil || got <= start {
			t.Errorf("the last start asks from %d", got-start)
		}
	})

	t.Run("ALogThatLostItsTailIsFilledAgain", func(t *testing.T) {
		t.Parallel()
		const n, repos = 1500, 3
		server := natstest.Start(t)
		srv := fakejet.Start(t, nil)
		all := lines(n, repos)
		srv.Append(all[:500]...)
		r := newRunner(t, ingest.Config{Stream: openLog(t, server.Connect(), stream.Config{}), Sources: []source.Source{jetstreamSource(t, srv)}})
		ctx, stop := context.WithCancel(testContext(t))
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		until(t, r, cursorAt(499))
		server.Stop()
		backup := t.TempDir()
		if err := os.CopyFS(backup, os.DirFS(server.StoreDir())); err != nil {
			t.Fatal(err)
		}
		server.Restart()
		srv.Append(all[500:1000]...)
		until(t, r, func(s ingest.SourceStats) bool { return cursorAt(999)(s) && s.Log.Waiting == 0 })

		// The machine of NATS loses power; what it had not forced to disk is gone.
		server.Stop()
		if err := os.RemoveAll(server.StoreDir()); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(server.StoreDir(), os.DirFS(backup)); err != nil {
			t.Fatal(err)
		}
		server.Restart()
		srv.Append(all[1000:]...)
		srv.Request(t, 1) // begun again
		until(t, r, cursorAt(n-1))
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		checkComplete(t, server.Connect(), n)
	})

	t.Run("WaitsForNATSAtTheStart", func(t *testing.T) {
		t.Parallel()
		server := natstest.Start(t)
		src := fileSource(t, line(0, 1))
		r := newRunner(t, ingest.Config{Stream: openLog(t, server.Connect(), stream.Config{}), Sources: []source.Source{src}})
		server.Stop()
		done := make(chan error, 1)
		go func() { done <- r.Run(testContext(t)) }()
		server.Restart()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if events, _, _ := everything(t, server.Connect()); len(events) != 1 {
			t.Errorf("%d events", len(events))
		}
	})

	t.Run("ACleanStopLeavesTheLastCursor", func(t *testing.T) {
		t.Parallel()
		nc := natstest.Start(t).Connect()
		log := openLog(t, nc, stream.Config{})
		srv := fakejet.Start(t, nil)
		srv.Append(lines(100, 1)...)
		r := newRunner(t, ingest.Config{Stream: log, Sources: []source.Source{jetstreamSource(t, srv)}, MarkEvery: time.Hour})
		ctx, stop := context.WithCancel(testContext(t))
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		until(t, r, cursorAt(99))
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		c, err := log.Cursor(testContext(t), "jetstream")
		if err != nil || c.Value != start+99_000_000 || c.Host != srv.Host() {
			t.Errorf("%+v, %v", c, err)
		}
		if len(r.Positions()) != log.Partitions() {
			t.Errorf("%v", r.Positions())
		}
	})

	t.Run("AFullLogHoldsTheSourceBack", func(t *testing.T) {
		t.Parallel()
		const n = 2000
		nc := natstest.Start(t).Connect()
		log := openLog(t, nc, stream.Config{Partitions: 1, MaxBytes: 100_000})
		srv := fakejet.Start(t, nil)
		srv.Append(lines(n, 3)...)
		r := newRunner(t, ingest.Config{Stream: log, Sources: []source.Source{jetstreamSource(t, srv)}, Window: 32})
		ctx, stop := context.WithCancel(testContext(t))
		defer stop()
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()

		rd, err := log.Read(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		next := make(map[syntax.DID]int)
		var last uint64
		for seen, stalls := 0, 0; seen < n; {
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			msgs, err := rd.Next(short, 100, 0)
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			for _, m := range msgs {
				did := parse(t, string(m.Data)).DID
				if k := int((parse(t, string(m.Data)).TimeUS - start) / 1_000_000); k/3 == next[did] {
					next[did]++
					seen++
				}
				last = m.Seq
			}
			if !r.Stats().Sources[0].Log.StalledSince.IsZero() {
				stalls++
				if err := log.Trim(ctx, 0, last); err != nil {
					t.Fatal(err)
				}
			}
			if seen == n && stalls == 0 {
				t.Error("the log was never full")
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})

	t.Run("CollectionsChangeWhileItRuns", func(t *testing.T) {
		t.Parallel()
		nc := natstest.Start(t).Connect()
		srv := fakejet.Start(t, nil)
		none, err := source.ParseCollections([]string{"a.b.c"})
		if err != nil {
			t.Fatal(err)
		}
		r := newRunner(t, ingest.Config{Stream: openLog(t, nc, stream.Config{}), Sources: []source.Source{jetstreamSource(t, srv)}, Collections: none})
		ctx, stop := context.WithCancel(testContext(t))
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		if got := srv.Request(t, 0)["wantedCollections"]; len(got) != 1 || got[0] != "a.b.c" {
			t.Errorf("%v", got)
		}
		r.SetCollections(source.Collections{})
		srv.Update(t, 0)
		srv.Append(lines(1, 1)...)
		until(t, r, cursorAt(0))
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if events, _, _ := everything(t, nc); len(events) != 1 {
			t.Errorf("%d events", len(events))
		}
	})

	t.Run("ASourceThatFailsEndsAll", func(t *testing.T) {
		t.Parallel()
		nc := natstest.Start(t).Connect()
		srv := fakejet.Start(t, func(int) fakejet.Behaviour { return fakejet.Behaviour{Status: 400} })
		live := fakejet.Start(t, nil)
		other, err := jetstream.New(jetstream.Config{URLs: []string{live.URL()}, Name: "other"})
		if err != nil {
			t.Fatal(err)
		}
		r := newRunner(t, ingest.Config{Stream: openLog(t, nc, stream.Config{}), Sources: []source.Source{jetstreamSource(t, srv), other}})
		if err := r.Run(testContext(t)); err == nil || !strings.Contains(err.Error(), "source jetstream") || !strings.Contains(err.Error(), "HTTP 400") {
			t.Errorf("%v", err)
		}
	})

	t.Run("Configuration", func(t *testing.T) {
		t.Parallel()
		src := fileSource(t)
		_, err := ingest.New(ingest.Config{Sources: []source.Source{src, src}})
		if err == nil || !strings.Contains(err.Error(), "no log") || !strings.Contains(err.Error(), "given twice") {
			t.Errorf("%v", err)
		}
	})
}

// acked is a source that ends when all that it has emitted is confirmed.
type acked struct {
	lines     [][]byte
	log       *stream.Log
	confirmed chan stream.Cursor
}

func (*acked) Name() string                      { return "acked" }
func (*acked) SetCollections(source.Collections) {}
func (*acked) Status() source.Status             { return source.Status{} }
func (s *acked) Confirmed(c stream.Cursor)       { s.confirmed <- c }

func (s *acked) Run(ctx context.Context, _ stream.Cursor, emit func(source.Line) error) error {
	for i, data := range s.lines {
		line := source.Parsed(data)
		line.Cursor = stream.Cursor{Value: int64(i + 1)}
		if err := emit(line); err != nil {
			return err
		}
	}
	for {
		select {
		case c := <-s.confirmed:
			state, err := s.log.State(ctx)
			if err != nil {
				return err
			}
			if state.Messages < uint64(c.Value) {
				return fmt.Errorf("%d lines are confirmed, and %d on the log", c.Value, state.Messages)
			}
			if int(c.Value) == len(s.lines) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestASourceHearsWhatIsStored(t *testing.T) {
	t.Parallel()
	log := openLog(t, natstest.Start(t).Connect(), stream.Config{})
	src := &acked{log: log, confirmed: make(chan stream.Cursor)}
	for i := range 1000 {
		src.lines = append(src.lines, []byte(line(i, 5)))
	}
	if err := newRunner(t, ingest.Config{Stream: log, Sources: []source.Source{src}}).Run(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestArchivesGoToTheBackfillLane(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	live, backfill := openLog(t, nc, stream.Config{}), openLog(t, nc, stream.Config{Name: "backfill"})
	r := newRunner(t, ingest.Config{
		Stream: live, Sources: []source.Source{fileSource(t, line(1, 5))},
		Backfill: backfill, Archives: []source.Source{fileSource(t, line(2, 5), line(3, 5), line(4, 5))},
	})
	if err := r.Run(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for log, want := range map[*stream.Log]uint64{live: 1, backfill: 3} {
		state, err := log.State(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if state.Messages != want {
			t.Errorf("%s holds %d messages, want %d", log.Name(), state.Messages, want)
		}
	}
	if seqs := r.Positions(); len(slices.DeleteFunc(seqs, func(n uint64) bool { return n == 0 })) != 1 {
		t.Errorf("positions %v: want those of the live lane only", seqs)
	}
}
