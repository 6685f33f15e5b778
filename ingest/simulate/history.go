package simulate

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/stream"
)

// entry is one event as it goes over the wire. It does not change once it is in
// the history, but for packed, which is made when the first subscriber asks.
type entry struct {
	timeUS     int64
	did        syntax.DID
	collection syntax.NSID // "" for all but commits
	frame      []byte      // a websocket frame with the event's JSON
	packed     atomic.Pointer[[]byte]
}

// entryBytes is what an entry takes beside its frames, about.
const entryBytes = 128

func newEntry(ev *stream.Event) *entry {
	e := &entry{timeUS: ev.TimeUS, did: ev.DID}
	var line []byte
	if ev.Kind == stream.KindCommit {
		e.collection = ev.Commit.Collection
		line = make([]byte, 0, len(ev.Commit.Record)+400)
	}
	e.frame = frame(opText, ev.AppendJSON(line))
	return e
}

// history is the events that can be replayed: the newest, up to a bound. All
// that a subscriber gets, it reads here, old or new, so there is no seam between
// replay and live. It is safe for concurrent use.
type history struct {
	mu      sync.Mutex
	entries []*entry
	first   int64 // the number of entries[0]; the first event ever is 0
	bytes   int64
	bound   int64
	grown   chan struct{} // closed when there are more entries
}

func newHistory(bound int64) *history {
	return &history{bound: bound, grown: make(chan struct{})}
}

func (h *history) append(entries []*entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range entries {
		h.bytes += int64(len(e.frame)) + entryBytes
	}
	h.entries = append(h.entries, entries...)
	drop := 0
	for h.bytes > h.bound && drop < len(h.entries)-1 {
		h.bytes -= int64(len(h.entries[drop].frame)) + entryBytes
		drop++
	}
	clear(h.entries[:drop]) // the array behind the slice lives on
	h.entries = h.entries[drop:]
	h.first += int64(drop)
	close(h.grown)
	h.grown = make(chan struct{})
}

// tip is the number that the next event will have.
func (h *history) tip() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first + int64(len(h.entries))
}

// seek finds the first event that is not older than a time. An older time than
// that of the oldest event is the oldest event, and a newer one than that of the
// newest is the tip: neither is said to the client, on this wire.
func (h *history) seek(timeUS int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first + int64(sort.Search(len(h.entries), func(i int) bool { return h.entries[i].timeUS >= timeUS }))
}

// read appends up to n entries from a number on. Without any, grown is closed
// when there are some. With ok false the number is no longer kept.
func (h *history) read(from int64, n int, into []*entry) (_ []*entry, grown <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from < h.first {
		return into, nil, false
	}
	at := min(int(from-h.first), len(h.entries))
	return append(into, h.entries[at:min(at+n, len(h.entries))]...), h.grown, true
}

// extent is what is kept.
func (h *history) extent() (events int, bytes, oldestUS, newestUS int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.entries) == 0 {
		return 0, 0, 0, 0
	}
	return len(h.entries), h.bytes, h.entries[0].timeUS, h.entries[len(h.entries)-1].timeUS
}

// Opcodes of https://www.rfc-editor.org/rfc/rfc6455#section-5.2.
const (
	opText   = 1
	opBinary = 2
)

// frame makes a websocket message of one frame, as servers send it: unmasked.
func frame(opcode byte, payload []byte) []byte {
	b := make([]byte, 0, 10+len(payload))
	b = append(b, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127)
		for shift := 56; shift >= 0; shift -= 8 {
			b = append(b, byte(uint64(n)>>shift))
		}
	}
	return slices.Clip(append(b, payload...))
}

// payload is what a frame of [frame] carries.
func payload(frame []byte) []byte {
	switch frame[1] {
	case 126:
		return frame[4:]
	case 127:
		return frame[10:]
	}
	return frame[2:]
}
