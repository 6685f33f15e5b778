package firehose

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// sink collects what a source emits.
type sink struct {
	mu      sync.Mutex
	lines   []source.Line // those that are more than a cursor
	cursors []stream.Cursor
	changed chan struct{}
	hold    chan struct{} // emit waits for it, if not nil
}

func newSink() *sink { return &sink{changed: make(chan struct{})} }

func (s *sink) emit(l source.Line) error {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Event.Kind != "" || l.Err != nil {
		s.lines = append(s.lines, l)
	}
	if l.Cursor.Value != 0 {
		s.cursors = append(s.cursors, l.Cursor)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// until waits until what is collected is as wanted.
func (s *sink) until(t *testing.T, done func() bool) []source.Line {
	t.Helper()
	for {
		s.mu.Lock()
		ok, lines, changed := done(), s.lines, s.changed
		s.mu.Unlock()
		if ok {
			return lines
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("only %d lines", len(lines))
		case <-time.After(30 * time.Second):
			t.Fatalf("only %d lines: %+v", len(lines), lines)
		}
	}
}

func (s *sink) count(t *testing.T, n int) []source.Line {
	t.Helper()
	return s.until(t, func() bool { return len(s.lines) >= n })
}

// at waits until the cursor is at seq, and returns the lines up to there.
func (s *sink) at(t *testing.T, seq int64) []source.Line {
	t.Helper()
	return s.until(t, func() bool { return len(s.cursors) > 0 && s.cursors[len(s.cursors)-1].Value >= seq })
}

func newSource(t testing.TB, cfg Config) *Source {
	t.Helper()
	cfg.MinBackoff = cmp.Or(cfg.MinBackoff, time.Millisecond)
	cfg.MaxBackoff = cmp.Or(cfg.MaxBackoff, 10*time.Millisecond)
	cfg.CursorEvery = cmp.Or(cfg.CursorEvery, time.Nanosecond)
	src, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// run runs a source until stop is called, which returns Run's error.
func run(t testing.TB, src *Source, from stream.Cursor, out *sink) (stop func() error) {
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

// texts describes lines in short.
func texts(lines []source.Line) []string {
	var out []string
	for _, l := range lines {
		ev := l.Event
		var bad *stream.InvalidError
		switch {
		case errors.As(l.Err, &bad):
			out = append(out, "reject "+string(bad.Reason))
		case l.Err != nil:
			out = append(out, l.Err.Error())
		case ev.Commit != nil:
			out = append(out, fmt.Sprintf("%s %s", ev.Commit.Operation, ev.Commit.RKey))
		case ev.Sync != nil && ev.Sync.Rev == "":
			out = append(out, "sync")
		case ev.Sync != nil:
			out = append(out, "sync "+string(ev.Sync.Rev))
		default:
			out = append(out, string(ev.Kind))
		}
	}
	return out
}

func same(t *testing.T, got []source.Line, want ...string) {
	t.Helper()
	if g := texts(got); !slices.Equal(g, want) {
		t.Errorf("%q\nwant %q", g, want)
		for _, l := range got {
			if l.Err != nil {
				t.Log(l.Err)
			}
		}
	}
}

// world is one host with one source that reads it.
type world struct {
	*host
	a, b *account
	dir  *directory
	src  *Source
	out  *sink
	stop func() error
}

// setup runs a source on a host. It begins at cursor 100, as if it had been there.
func setup(t *testing.T, cfg Config, patterns ...string) *world {
	t.Helper()
	w := &world{host: startHost(t, nil), a: newAccount(1), b: newAccount(2), out: newSink()}
	w.dir = newDirectory(w.a, w.b)
	cfg.URLs = []string{w.url()}
	if !cfg.Trust {
		cfg.Directory = w.dir
	}
	w.src = newSource(t, cfg)
	if patterns != nil {
		w.src.SetCollections(collections(t, patterns...))
	}
	w.stop = run(t, w.src, stream.Cursor{Value: 100, Host: w.name()}, w.out)
	return w
}

func at(seq int64, data []byte) numbered { return numbered{seq, data} }

func TestSource(t *testing.T) {
	t.Parallel()

	t.Run("EventsOfACommitInItsOrder", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{})
		w.append(
			w.a.frame(t, 101, post("com.example.post/z", 1), post("com.example.post/a", 2), post("org.other.x/b", 3)),
			w.a.frame(t, 102, write{path: "com.example.post/z"}, post("com.example.post/a", 4)),
			w.a.frame(t, 103), // changes nothing
		)
		lines := w.out.at(t, 103)
		same(t, lines, "create z", "create a", "create b", "delete z", "update a")
		c := lines[1].Event.Commit
		if string(c.Record) != `{"n":2,"$type":"com.example.post"}` || c.CID == "" || c.Collection != "com.example.post" || c.Snapshot {
			t.Errorf("%+v", c)
		}
		if us := time.Date(2026, 7, 4, 14, 39, 14, 123_000_000, time.UTC).UnixMicro(); lines[0].Event.TimeUS != us || lines[0].Event.DID != w.a.did {
			t.Errorf("%+v", lines[0].Event)
		}
		if lines[0].Cursor.Value != 0 || lines[2].Cursor != (stream.Cursor{Value: 101, Host: w.name()}) {
			t.Errorf("%+v, %+v", lines[0].Cursor, lines[2].Cursor)
		}
		if st := w.src.Status(); !st.Connected || st.Connects != 1 || st.Host != w.name() || st.Bytes == 0 {
			t.Errorf("%+v", st)
		}
		if err := w.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	})

	t.Run("OnlyWhatIsWantedIsLookedAt", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{}, "com.example.*")
		w.append(
			w.a.frame(t, 101, post("org.other.x/1", 1)),
			w.a.frame(t, 102, post("org.other.x/2", 1), post("com.example.post/3", 2)),
			w.b.frame(t, 103, post("org.other.x/4", 1)),
		)
		same(t, w.out.at(t, 103), "create 3")
		if w.dir.lookups != 1 || w.src.Stats().Checked != 1 {
			t.Errorf("%d lookups, %+v", w.dir.lookups, w.src.Stats())
		}
	})

	t.Run("IdentityAndAccount", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{})
		handle, status, future := "a.test", "takendown", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		w.append(
			at(101, encode(t, "#identity", &comatproto.SyncSubscribeRepos_Identity{Did: string(w.a.did), Seq: 101, Time: "2026-07-04T14:39:14Z", Handle: &handle})),
			at(102, encode(t, "#account", &comatproto.SyncSubscribeRepos_Account{Did: string(w.a.did), Seq: 102, Time: future, Status: &status})),
			at(103, encode(t, "#account", &comatproto.SyncSubscribeRepos_Account{Did: "did:nobody", Seq: 103, Active: true})),
		)
		lines := w.out.at(t, 103)
		same(t, lines, "identity", "account", "reject did")
		at := time.Date(2026, 7, 4, 14, 39, 14, 0, time.UTC)
		if id := lines[0].Event.Identity; id.Handle != "a.test" || id.Seq != 101 || !id.Time.Equal(at) {
			t.Errorf("%+v", id)
		}
		if ac := lines[1].Event.Account; ac.Active || ac.Status != "takendown" || ac.Seq != 102 {
			t.Errorf("%+v", ac)
		}
		if us := lines[1].Event.TimeUS; us > time.Now().UnixMicro() || us < at.UnixMicro() {
			t.Errorf("time from the future: %d", us)
		}
	})

	t.Run("ACommitThatDoesNotFollow", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{}, "com.example.*")
		first := w.a.frame(t, 101, post("com.example.post/1", 1))
		w.a.frame(t, 0, post("com.example.post/lost", 2))
		third := w.a.frame(t, 102, post("com.example.post/3", 3))
		rev := w.a.rev
		fourth := w.a.frame(t, 103, post("com.example.post/4", 4))
		// Also if nobody wants what it does: something wanted may be missing.
		w.a.frame(t, 0, post("com.example.post/lost", 5))
		fifth := w.a.frame(t, 104, post("org.other.x/5", 5))
		w.append(first, third, fourth, fifth)
		same(t, w.out.at(t, 104), "create 1", "create 3", "sync "+rev, "create 4", "sync "+w.a.rev)
		if st := w.src.Stats(); st.Broken != 2 || st.Resyncs != 2 {
			t.Errorf("%+v", st)
		}
	})

	t.Run("WhatWasThereIsNotEmittedAgain", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{}, "com.example.*")
		one := w.a.commit(t, 101, post("com.example.post/1", 1))
		two := w.a.commit(t, 102, post("com.example.post/2", 2))
		three := w.a.commit(t, 103, post("org.other.x/3", 3))
		seq := int64(100)
		for range 3 {
			for _, msg := range []*comatproto.SyncSubscribeRepos_Commit{one, two, three} {
				seq++
				msg.Seq = seq
				w.append(at(seq, encode(t, "#commit", msg)))
			}
		}
		w.append(w.a.frame(t, 110, post("com.example.post/4", 4)))
		same(t, w.out.at(t, 110), "create 1", "create 2", "create 4")
		if st := w.src.Stats(); st.Seen != 6 || st.Resyncs != 0 {
			t.Errorf("%+v", st)
		}
	})

	t.Run("AClaimFromTheFutureMakesNothingSuperfluous", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{}, "com.example.*")
		liar := *w.a
		liar.key, liar.n, liar.tree = newKey(), 1000, w.a.tree.Copy()
		w.append(
			w.a.frame(t, 101, post("com.example.post/1", 1)),
			liar.frame(t, 102, post("org.other.x/1", 1)), // nobody checks it
			w.a.frame(t, 103, post("com.example.post/2", 2)),
			w.a.frame(t, 104, post("com.example.post/3", 3)),
		)
		lines := w.out.at(t, 104)
		if got := slices.DeleteFunc(texts(lines), func(s string) bool { return strings.HasPrefix(s, "sync") }); !slices.Equal(got, []string{"create 1", "create 2", "create 3"}) {
			t.Errorf("%q", texts(lines))
		}
	})

	t.Run("Declared", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{}, "com.example.*")
		w.append(
			w.a.frame(t, 101, post("com.example.post/1", 1)),
			at(102, encode(t, "#sync", w.a.declare(t, 102))), // nothing new
		)
		w.a.frame(t, 0, post("com.example.post/lost", 2))
		rev := w.a.rev
		w.append(
			at(103, encode(t, "#sync", w.a.declare(t, 103))),
			w.a.frame(t, 104, post("com.example.post/2", 2)), // follows
		)
		same(t, w.out.at(t, 104), "create 1", "sync "+rev, "create 2")

		key := w.a.key
		w.a.key = newKey()
		forged := w.a.declare(t, 105)
		w.a.key = key
		other := w.a.declare(t, 106)
		other.Rev = rev // not the commit's: a host after an account's migration does that
		w.append(at(105, encode(t, "#sync", forged)), at(106, encode(t, "#sync", other)))
		same(t, w.out.at(t, 106)[3:], "reject signature", "sync", "reject proof", "sync")
	})

	t.Run("TooBigToSay", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{})
		w.append(w.a.frame(t, 101, post("com.example.post/1", 1)))
		msg := w.a.commit(t, 102, post("com.example.post/2", 1))
		msg.TooBig, msg.Ops, msg.Blocks = true, nil, nil
		w.append(at(102, encode(t, "#commit", msg)), w.a.frame(t, 103, post("com.example.post/3", 1)))
		same(t, w.out.at(t, 103), "create 1", "sync", "create 3")
	})

	t.Run("ABlockIsMissing", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{})
		msg := w.a.commit(t, 101, post("com.example.post/1", 1), post("com.example.post/2", 2))
		blocks := maps.Clone(w.a.all)
		delete(blocks, cid.Cid(*msg.Ops[0].Cid))
		msg.Blocks = carOf(cid.Cid(msg.Commit), blocks)
		w.append(at(101, encode(t, "#commit", msg)))
		same(t, w.out.at(t, 101), "create 2", "sync "+w.a.rev)
	})

	t.Run("ARecordThatIsNone", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{})
		float := []byte{0xa1, 0x61, 'a', 0xf9, 0x3c, 0x00}
		w.append(w.a.frame(t, 101, post("com.example.post/1", 1), write{path: "com.example.post/2", block: float}, post("com.example.post/3", 3)))
		lines := w.out.at(t, 101)
		same(t, lines, "create 1", "reject record", "create 3")
		if !bytes.Equal(lines[1].Data, float) || lines[1].Event.Commit.RKey != "2" || lines[1].Event.DID != w.a.did {
			t.Errorf("%+v", lines[1])
		}
	})

	t.Run("TheFormWithoutPrev", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{})
		w.append(w.a.frame(t, 101, post("com.example.post/1", 1), post("com.example.post/2", 1)))
		legacy := func(seq int64, writes ...write) *comatproto.SyncSubscribeRepos_Commit {
			msg := w.a.commit(t, seq, writes...)
			msg.PrevData = nil
			for _, op := range msg.Ops {
				op.Prev = nil
			}
			return msg
		}
		w.append(at(102, encode(t, "#commit", legacy(102, write{path: "com.example.post/1"}, post("com.example.post/2", 2), post("com.example.post/3", 3)))))
		legacy(0, post("com.example.post/lost", 1))
		w.append(at(103, encode(t, "#commit", legacy(103, post("com.example.post/4", 3)))))
		lies := legacy(104, post("com.example.post/5", 3))
		lies.Ops[0].Action, lies.Ops[0].Cid = "delete", nil
		w.append(at(104, encode(t, "#commit", lies)))
		lines := w.out.at(t, 104)
		if got := texts(lines); len(got) != 9 || got[2] != "delete 1" || got[3] != "update 2" || got[4] != "create 3" || got[5] != "create 4" || !strings.HasPrefix(got[6], "sync 3") || got[7] != "reject proof" || got[8] != "sync" {
			t.Errorf("%q", got)
		}
	})

	t.Run("AnotherKey", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{})
		w.append(w.a.frame(t, 101, post("com.example.post/1", 1)))
		w.out.at(t, 101)
		w.dir.change(w.a)
		w.append(w.a.frame(t, 102, post("com.example.post/2", 1)))
		same(t, w.out.at(t, 102), "create 1", "create 2")
		if w.dir.asked[w.a.did] != 1 {
			t.Errorf("asked anew %d times", w.dir.asked[w.a.did])
		}
		// An account that says that its identity changed is asked for anew at once, and
		// then the old key does not count.
		old := *w.b
		w.append(w.b.frame(t, 103, post("com.example.post/3", 1)))
		w.out.at(t, 103)
		old.tree, old.rev, old.data, old.all, old.n = w.b.tree.Copy(), w.b.rev, w.b.data, maps.Clone(w.b.all), w.b.n
		w.dir.change(w.b)
		w.append(at(104, encode(t, "#identity", &comatproto.SyncSubscribeRepos_Identity{Did: string(w.b.did), Seq: 104})))
		w.out.at(t, 104)
		w.append(old.frame(t, 105, post("com.example.post/4", 1)))
		same(t, w.out.at(t, 105)[2:], "create 3", "identity", "reject signature", "sync")
	})

	t.Run("ASlowIdentityHoldsUpForAWhile", func(t *testing.T) {
		t.Parallel()
		w := &world{host: startHost(t, nil), a: newAccount(1), b: newAccount(2), out: newSink()}
		w.dir = newDirectory(w.a, w.b)
		w.dir.wait = func(ctx context.Context, did syntax.DID) error {
			if did != w.a.did {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		nobody := newAccount(3)
		w.src = newSource(t, Config{URLs: []string{w.url()}, Directory: w.dir, LookupTimeout: 50 * time.Millisecond})
		run(t, w.src, stream.Cursor{Value: 100, Host: w.name()}, w.out)
		w.append(
			w.b.frame(t, 101, post("com.example.post/1", 1)),
			w.a.frame(t, 102, post("com.example.post/2", 1)),
			w.b.frame(t, 103, post("com.example.post/3", 1)),
			nobody.frame(t, 104, post("com.example.post/4", 1)),
		)
		lines := w.out.at(t, 104)
		same(t, lines, "create 1", "reject identity", "sync", "create 3", "reject identity", "sync")
		if lines[1].Event.DID != w.a.did || !bytes.Equal(lines[1].Data, w.frames[1].data) || lines[1].Cursor.Value != 0 || lines[2].Cursor.Value != 102 {
			t.Errorf("%+v\n%+v", lines[1], lines[2])
		}
	})

	t.Run("Trust", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{Trust: true})
		msg := w.a.commit(t, 102, post("com.example.post/2", 1))
		msg.Blocks[len(msg.Blocks)-1] ^= 1
		w.a.key = newKey()
		w.append(w.b.frame(t, 101, post("com.example.post/1", 1)), at(102, encode(t, "#commit", msg)))
		same(t, w.out.at(t, 102), "create 1", "reject proof", "sync")
		if w.dir.lookups != 0 {
			t.Errorf("%d lookups", w.dir.lookups)
		}
	})

	t.Run("GarbageIsNoReasonToReconnect", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{MaxFrame: 100_000})
		msg := newAccount(3).commit(t, 0)
		msg.Blocks = make([]byte, 200_000)
		long := encode(t, "#commit", msg)
		unknown := encode(t, "#tomorrow", &comatproto.SyncSubscribeRepos_Info{Name: "x"})
		cut := w.a.frame(t, 0, post("com.example.post/x", 1)).data
		for _, f := range [][]byte{
			{}, {0xff}, []byte("hello"), {0xa1}, bytes.Repeat([]byte{0x81}, 10_000), {0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
			cut[:len(cut)/2], long,
			unknown, {0xa1, 0x62, 'o', 'p', 0x07}, // to be skipped
		} {
			w.append(at(101, f))
		}
		w.append(w.b.frame(t, 102, post("com.example.post/1", 1)))
		lines := w.out.at(t, 102)
		want := slices.Repeat([]string{"reject frame"}, 7)
		same(t, lines, append(want, "reject too-large", "create 1")...)
		var bad *stream.InvalidError
		if errors.As(lines[7].Err, &bad); len(lines[7].Data) != 100_000 || !strings.Contains(bad.Detail, strconv.Itoa(len(long))) {
			t.Errorf("%d bytes: %v", len(lines[7].Data), lines[7].Err)
		}
		if st := w.src.Stats(); w.connections() != 1 || st.Unknown != 2 || st.Rejected != 8 {
			t.Errorf("%d connections, %+v", w.connections(), st)
		}
	})

	t.Run("GapsAndStepsBack", func(t *testing.T) {
		t.Parallel()
		w := setup(t, Config{})
		w.append(
			w.a.frame(t, 101, post("com.example.post/1", 1)),
			w.a.frame(t, 111, post("com.example.post/2", 1)),
			at(112, encode(t, "#commit", w.a.commit(t, 50, post("com.example.post/3", 1)))),
			w.a.frame(t, 113, post("com.example.post/4", 1)),
		)
		lines := w.out.at(t, 113)
		same(t, lines, "create 1", "create 2", "create 3", "create 4")
		if c := lines[2].Cursor.Value; c != 111 {
			t.Errorf("cursor goes back to %d", c)
		}
		if st := w.src.Stats(); st.Gaps != 2 || st.Missing != 10 || st.Backwards != 1 {
			t.Errorf("%+v", st)
		}
	})

	t.Run("EmitsErrorEndsIt", func(t *testing.T) {
		t.Parallel()
		w := &world{host: startHost(t, nil), a: newAccount(1)}
		for i := range int64(10) {
			w.append(w.a.frame(t, i+1, post("com.example.post/"+strconv.FormatInt(i, 10), 1)))
		}
		src := newSource(t, Config{URLs: []string{w.url()}, Directory: newDirectory(w.a), FromStart: true})
		enough := errors.New("enough")
		if err := src.Run(t.Context(), stream.Cursor{}, func(source.Line) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("%v", err)
		}
	})

	t.Run("Configuration", func(t *testing.T) {
		t.Parallel()
		dir := newDirectory()
		for _, cfg := range []Config{
			{Directory: dir},
			{URLs: []string{"https://one.test"}, Directory: dir},
			{URLs: []string{"wss://"}, Directory: dir},
			{URLs: []string{"wss://one.test"}},
			{URLs: []string{"wss://one.test"}, Directory: dir, Workers: -1},
		} {
			if _, err := New(cfg); err == nil {
				t.Errorf("%+v passes", cfg)
			}
		}
		src, err := New(Config{URLs: []string{"wss://one.test", "wss://two.test/other?x=1"}, Trust: true})
		if err != nil || src.hosts[0].String() != "wss://one.test"+method || src.hosts[1].String() != "wss://two.test/other?x=1" || src.Name() != "firehose" {
			t.Errorf("%v, %v", src.hosts, err)
		}
	})
}
