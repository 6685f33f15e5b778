package jetstreamv2

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"

	legacy "github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// Everything below speaks the wire with an encoder of its own; TestGolden holds the
// decoder against the bytes of the real one.

// encodeBlock is a block's frame.
func encodeBlock(rows ...row) []byte { return compress(encodeColumns(rows...)) }

var encoder = sync.OnceValue(func() *zstd.Encoder {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err)
	}
	return enc
})

func compress(data []byte) []byte { return encoder().EncodeAll(data, nil) }

func encodeColumns(rows ...row) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(len(rows)))
	for _, column := range []func(r *row){
		func(r *row) { b = le.AppendUint64(b, r.seq) },
		func(r *row) { b = le.AppendUint64(b, uint64(r.witnessed)) },
		func(r *row) { b = le.AppendUint64(b, uint64(r.indexed)) },
		func(r *row) { b = append(b, r.kind) },
		func(r *row) { b = append(b, byte(len(r.collection))) },
		func(r *row) { b = le.AppendUint16(b, uint16(len(r.did))) },
		func(r *row) { b = append(b, byte(len(r.rkey))) },
		func(r *row) { b = append(b, byte(len(r.rev))) },
		func(r *row) { b = le.AppendUint32(b, uint32(len(r.payload))) },
		func(r *row) { b = append(b, r.collection...) },
		func(r *row) { b = append(b, r.did...) },
		func(r *row) { b = append(b, r.rkey...) },
		func(r *row) { b = append(b, r.rev...) },
		func(r *row) { b = append(b, r.payload...) },
	} {
		for i := range rows {
			column(&rows[i])
		}
	}
	return b
}

// encodeSegment is a sealed segment of these frames.
func encodeSegment(generation uint64, blocks [][]row, frames [][]byte) []byte {
	le := binary.LittleEndian
	b := append([]byte("jss0"), bytes.Repeat([]byte{0}, headerSize-4)...)
	le.PutUint64(b[4:], generation)
	le.PutUint16(b[12:], segmentVersion)
	le.PutUint32(b[14:], uint32(len(frames)))
	var index []byte
	for i, f := range frames {
		index = le.AppendUint64(index, uint64(len(b)))
		index = le.AppendUint32(index, uint32(len(f)))
		index = le.AppendUint32(index, 0)
		index = le.AppendUint32(index, uint32(len(blocks[i])))
		first, last := uint64(0), uint64(0)
		if n := len(blocks[i]); n > 0 {
			first, last = blocks[i][0].seq, blocks[i][n-1].seq
		}
		index = le.AppendUint64(index, first)
		index = le.AppendUint64(index, last)
		index = append(index, make([]byte, 16)...)
		b = le.AppendUint64(b, uint64(len(f)))
		b = append(b, f...)
	}
	le.PutUint64(b[90:], uint64(len(b)))
	return append(b, index...)
}

const (
	someTime = 1_790_000_000_000_000
	someRev  = "3mptbypluud2a"
	note     = "com.example.note"
)

func did(n int) string { return fmt.Sprintf("did:plc:%024d", n) }

// record is {"n": n} in DAG-CBOR.
func record(n int) []byte { return []byte{0xa1, 0x61, 'n', 0x19, byte(n >> 8), byte(n)} }

// noteRow is a create: number seq of one repository, with the record {"n": seq}.
func noteRow(seq int) row {
	return row{
		seq: uint64(seq), witnessed: someTime + int64(seq)*1_000_000, kind: rowCreate,
		collection: []byte(note), did: []byte(did(seq % 3)), rkey: fmt.Appendf(nil, "r%d", seq), rev: []byte(someRev), payload: record(seq),
	}
}

func noteRows(first, last int) []row {
	var rows []row
	for i := first; i <= last; i++ {
		rows = append(rows, noteRow(i))
	}
	return rows
}

// message is a frame of the live stream.
func message(kind, members string) []byte {
	return fmt.Appendf(nil, `{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#%s",%s}}`, kind, members)
}

func timeText(seq int) string {
	return time.UnixMicro(someTime + int64(seq)*1_000_000).UTC().Format(time.RFC3339Nano)
}

// noteFrame is the live form of noteRow. Tag tells records apart that have the
// same number.
func noteFrame(seq int, tag string) liveEvent {
	return liveEvent{seq: seq, timeUS: someTime + int64(seq)*1_000_000, collection: note, data: message("commit",
		fmt.Sprintf(`"cid":"bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i","collection":%q,"did":%q,"operation":"create","record":{"n":%d},"rev":%q,"rkey":"r%d%s","seq":%d,"time":%q`,
			note, did(seq%3), seq, someRev, seq, tag, seq, timeText(seq)))}
}

// noteFrames are those from 1 on.
func noteFrames(last int) []liveEvent {
	var out []liveEvent
	for i := 1; i <= last; i++ {
		out = append(out, noteFrame(i, ""))
	}
	return out
}

type liveEvent struct {
	seq        int
	timeUS     int64
	collection string
	data       []byte
	binary     bool // data is sent as it is, in a binary frame
}

// segment is one of the fake's archive.
type segment struct {
	name       string
	generation uint64
	blocks     [][]row
	frames     [][]byte // in place of the blocks' own, where not nil
	whole      bool     // mode
}

func (s *segment) frame(i int) []byte {
	if i < len(s.frames) && s.frames[i] != nil {
		return s.frames[i]
	}
	return encodeBlock(s.blocks[i]...)
}

func (s *segment) file() []byte {
	var frames [][]byte
	for i := range s.blocks {
		frames = append(frames, s.frame(i))
	}
	return encodeSegment(s.generation, s.blocks, frames)
}

// request is what the fake was asked.
type asked struct {
	method string
	q      url.Values
	plan   planRequest
	header http.Header
}

// fake is a Jetstream v2.
type fake struct {
	http *httptest.Server
	over chan struct{}
	// hook, if it reports true, has answered request n (from 0) of a method itself.
	hook func(method string, n int, w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	changed  chan struct{}
	requests []asked
	counts   map[string]int
	segments []*segment
	events   []liveEvent
	floor    int // the lowest number that is replayed
	pageCap  int // entries of a plan
	// cut ends a connection after so many frames, if not 0.
	cut func(conn int) int
	// info is sent first.
	info map[int][]byte
	// dict is the dictionary that frames are compressed with, for those who ask.
	dict []byte
	// given is the one that is handed out, if it is another.
	given []byte
}

func startFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{over: make(chan struct{}), changed: make(chan struct{}), counts: make(map[string]int), pageCap: 1000}
	f.http = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(func() {
		close(f.over)
		f.http.CloseClientConnections()
		f.http.Close()
	})
	return f
}

func (f *fake) url() string {
	return "ws" + strings.TrimPrefix(f.http.URL, "http") + xrpcPath + "subscribeEvents"
}
func (f *fake) host() string { return strings.TrimPrefix(f.http.URL, "http://") }

// update changes the fake under its lock.
func (f *fake) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) append(events ...liveEvent) {
	f.update(func() { f.events = append(f.events, events...) })
}

// request waits for request n (from 0) of a method.
func (f *fake) request(t testing.TB, method string, n int) asked {
	t.Helper()
	for {
		f.mu.Lock()
		i := 0
		for _, a := range f.requests {
			if a.method == method {
				if i == n {
					f.mu.Unlock()
					return a
				}
				i++
			}
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("no request %d of %s", n, method)
		}
	}
}

func (f *fake) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[method]
}

func refuse(w http.ResponseWriter, code int, name, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": name, "message": message}) // the client may have left
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, xrpcPath)
	a := asked{method: method, q: r.URL.Query(), header: r.Header}
	if method == "planSnapshot" {
		if json.NewDecoder(r.Body).Decode(&a.plan) != nil {
			refuse(w, 400, "InvalidRequest", "no JSON")
			return
		}
	}
	var n int
	f.update(func() {
		f.requests = append(f.requests, a)
		n = f.counts[method]
		f.counts[method]++
	})
	if f.hook != nil && f.hook(method, n, w, r) {
		return
	}
	switch method {
	case "subscribeEvents":
		f.subscribe(w, r, n)
	case "getZstdDictionary":
		f.mu.Lock()
		dict := f.dict
		if f.given != nil {
			dict = f.given
		}
		f.mu.Unlock()
		if dict == nil {
			refuse(w, 404, "DictionaryNotFound", "none")
			return
		}
		_, _ = w.Write(dict)
	case "planSnapshot":
		f.plan(w, a.plan)
	case "getBlock":
		i, err := strconv.Atoi(a.q.Get("blockIndex"))
		f.mu.Lock()
		s := f.segment(a.q.Get("segment"))
		f.mu.Unlock()
		if s == nil || err != nil || i >= len(s.blocks) {
			refuse(w, 404, "SegmentNotFound", a.q.Get("segment"))
			return
		}
		w.Header().Set("Etag", fmt.Sprintf(`"%016x:%d"`, s.generation, i))
		_, _ = w.Write(s.frame(i))
	case "getSegment":
		f.mu.Lock()
		s := f.segment(a.q.Get("name"))
		f.mu.Unlock()
		if s == nil {
			refuse(w, 404, "SegmentNotFound", a.q.Get("name"))
			return
		}
		w.Header().Set("Etag", fmt.Sprintf(`"%016x"`, s.generation))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.file()))
	}
}

// segment returns a copy of the one with a name; the lock is held.
func (f *fake) segment(name string) *segment {
	for _, s := range f.segments {
		if s.name == name {
			c := *s
			return &c
		}
	}
	return nil
}

func matches(patterns []string, collection string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); p == collection || ok && strings.HasPrefix(collection, prefix) {
			return true
		}
	}
	return len(patterns) == 0
}

func (f *fake) plan(w http.ResponseWriter, r planRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var p plan
	for _, s := range f.segments {
		for _, b := range s.blocks {
			for _, row := range b {
				p.SealedTip = max(p.SealedTip, int64(row.seq))
			}
		}
	}
	if r.BeforeSeq > 0 {
		p.SealedTip = min(p.SealedTip, r.BeforeSeq)
	}
	p.PlannedThrough = p.SealedTip
	entries := 0
	p.Segments = []planSegment{}
pages:
	for _, s := range f.segments {
		seg := planSegment{Name: s.name, Mode: "blocks"}
		var through int64
		for i, b := range s.blocks {
			wanted := false
			last := int64(0)
			for _, row := range b {
				seq := int64(row.seq)
				last = max(last, seq)
				in := seq > r.AfterSeq && (r.BeforeSeq == 0 || seq <= r.BeforeSeq)
				if row.commit() {
					wanted = wanted || in && matches(r.Collections, string(row.collection))
				} else {
					wanted = wanted || in && len(r.Kinds) == 0
				}
			}
			if wanted && !s.whole {
				if entries == f.pageCap {
					p.PlannedThrough = through
					if len(seg.Blocks) > 0 {
						p.Segments = append(p.Segments, seg)
					} else if len(p.Segments) > 0 {
						p.PlannedThrough = f.lastBefore(s.name)
					}
					break pages
				}
				entries++
				seg.Blocks = append(seg.Blocks, planRange{i, i})
			}
			if wanted {
				through = last
			}
		}
		switch {
		case s.whole && through > 0 && entries == f.pageCap:
			p.PlannedThrough = f.lastBefore(s.name)
			break pages
		case s.whole && through > 0:
			entries++
			seg.Mode = "segment"
			p.Segments = append(p.Segments, seg)
		case len(seg.Blocks) > 0:
			p.Segments = append(p.Segments, seg)
		}
	}
	_ = json.NewEncoder(w).Encode(p) // the client may have left
}

// lastBefore is the last number before a segment.
func (f *fake) lastBefore(name string) int64 {
	last := int64(0)
	for _, s := range f.segments {
		if s.name == name {
			break
		}
		for _, b := range s.blocks {
			for _, row := range b {
				last = max(last, int64(row.seq))
			}
		}
	}
	return last
}

func (f *fake) subscribe(w http.ResponseWriter, r *http.Request, n int) {
	q := r.URL.Query()
	f.mu.Lock()
	floor, dict, cut, info := f.floor, f.dict, 0, f.info[n]
	if f.cut != nil {
		cut = f.cut(n)
	}
	f.mu.Unlock()
	cursor, err := strconv.ParseInt(q.Get("cursor"), 10, 64)
	if err == nil && cursor < timeCursors && cursor < int64(floor) {
		refuse(w, 400, "CursorTooOld", fmt.Sprintf("floor is %d", floor))
		return
	}
	var enc *zstd.Encoder
	if id := q.Get("zstdDictionary"); id != "" {
		if dict == nil || strconv.FormatUint(uint64(binary.LittleEndian.Uint32(dict[4:])), 10) != id {
			refuse(w, 400, "UnknownZstdDictionary", "another one")
			return
		}
		var eerr error
		enc, eerr = zstd.NewWriter(nil, zstd.WithEncoderDict(dict), zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if eerr != nil {
			refuse(w, 500, "Internal", eerr.Error())
			return
		}
	}
	conn, aerr := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"xrpc.v1.json"}})
	if aerr != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway
	ctx := conn.CloseRead(context.WithoutCancel(r.Context()))
	send := func(data []byte, binary bool) bool {
		typ := websocket.MessageText
		switch {
		case binary:
			typ = websocket.MessageBinary
		case enc != nil:
			typ, data = websocket.MessageBinary, enc.EncodeAll(data, nil)
		}
		return conn.Write(ctx, typ, data) == nil
	}
	if info != nil && !send(info, false) {
		return
	}
	next, frames := 0, 0
	if err != nil { // no cursor: from now on
		f.mu.Lock()
		next = len(f.events)
		f.mu.Unlock()
	}
	for seeking := err == nil; ; {
		f.mu.Lock()
		changed := f.changed
		var ev *liveEvent
		if next < len(f.events) {
			e := f.events[next]
			ev = &e
			next++
		}
		f.mu.Unlock()
		if ev == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			case <-f.over:
				return
			}
		}
		if seeking && (cursor < timeCursors && int64(ev.seq) < cursor || cursor >= timeCursors && ev.timeUS < cursor) {
			continue
		}
		seeking = false
		if ev.collection != "" && !matches(q["collections"], ev.collection) {
			continue
		}
		if !send(ev.data, ev.binary) {
			return
		}
		if frames++; cut > 0 && frames >= cut {
			return
		}
	}
}

// sink collects what a source emits.
type sink struct {
	mu      sync.Mutex
	all     []source.Line
	changed chan struct{}
	// fail ends emit with an error at line n (from 1), if not 0.
	fail int
	err  error
}

func newSink() *sink { return &sink{changed: make(chan struct{})} }

func (s *sink) emit(l source.Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail > 0 && len(s.all)+1 >= s.fail {
		return s.err
	}
	s.all = append(s.all, l)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// until waits until the collected lines are as wanted.
func (s *sink) until(t testing.TB, done func(lines []source.Line) bool) []source.Line {
	t.Helper()
	for {
		s.mu.Lock()
		lines, changed := slices.Clone(s.all), s.changed
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

// events waits for n lines that are more than a cursor.
func (s *sink) events(t testing.TB, n int) []source.Line {
	t.Helper()
	var out []source.Line
	s.until(t, func(lines []source.Line) bool { out = events(lines); return len(out) >= n })
	return out
}

func events(lines []source.Line) []source.Line {
	var out []source.Line
	for _, l := range lines {
		if l.Data != nil || l.Err != nil {
			out = append(out, l)
		}
	}
	return out
}

// lastCursor is what a log would have.
func lastCursor(lines []source.Line) stream.Cursor {
	for _, l := range slices.Backward(lines) {
		if l.Cursor.Value != 0 {
			return l.Cursor
		}
	}
	return stream.Cursor{}
}

// keys are the record keys of commits, or what is wrong.
func keys(lines []source.Line) []string {
	var out []string
	for _, l := range lines {
		switch {
		case l.Err != nil:
			out = append(out, l.Err.Error())
		case l.Event.Commit != nil:
			out = append(out, string(l.Event.Commit.RKey))
		default:
			out = append(out, string(l.Event.Kind))
		}
	}
	return out
}

func rkeys(first, last int) []string {
	var out []string
	for i := first; i <= last; i++ {
		out = append(out, fmt.Sprintf("r%d", i))
	}
	return out
}

func newSources(t testing.TB, cfg Config) (*Live, *Archive) {
	t.Helper()
	cfg.MinBackoff, cfg.MaxBackoff = cmp.Or(cfg.MinBackoff, time.Millisecond), cmp.Or(cfg.MaxBackoff, 5*time.Millisecond)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	cfg.HTTP = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	live, archive, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return live, archive
}

// run runs a source until stop is called, which returns Run's error.
func run(t testing.TB, src source.Source, from stream.Cursor, out *sink) (stop func() error) {
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

func collections(t testing.TB, patterns ...string) source.Collections {
	t.Helper()
	c, err := source.ParseCollections(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func asTime(us int64) time.Time { return time.UnixMicro(us).UTC() }

func dictionary() []byte { return legacy.Dictionary() }

func must(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func newDecoder(t testing.TB) *zstd.Decoder {
	t.Helper()
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dec.Close)
	return dec
}
