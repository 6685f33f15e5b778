package firehose

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// behaviour is how a host treats one connection. The zero value serves what it has.
type behaviour struct {
	status int  // other than 0 answers with it in place of a websocket
	cut    int  // ends the connection after so many frames; 0 never does
	mute   bool // sends nothing, nor answers pings
	quiet  bool // sends nothing, but answers pings
	first  [][]byte
	over   bool     // ends the connection after first
	now    [][]byte // for who asks for what happens now
}

// host is a relay or a PDS, with real websockets.
type host struct {
	http   *httptest.Server
	behave func(conn int) behaviour
	over   chan struct{}

	mu       sync.Mutex
	changed  chan struct{}
	frames   []numbered
	requests []url.Values
	sent     int
}

type numbered struct {
	seq  int64
	data []byte
}

func startHost(t testing.TB, behave func(conn int) behaviour) *host {
	t.Helper()
	if behave == nil {
		behave = func(int) behaviour { return behaviour{} }
	}
	h := &host{behave: behave, over: make(chan struct{}), changed: make(chan struct{})}
	h.http = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(func() {
		close(h.over)
		h.http.CloseClientConnections()
		h.http.Close()
	})
	return h
}

func (h *host) url() string  { return "ws" + strings.TrimPrefix(h.http.URL, "http") }
func (h *host) name() string { return strings.TrimPrefix(h.http.URL, "http://") }

func (h *host) append(frames ...numbered) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.frames = append(h.frames, frames...)
	h.signal()
}

func (h *host) signal() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// request waits for connection n (from 0) and returns its query.
func (h *host) request(t testing.TB, n int) url.Values {
	t.Helper()
	for {
		h.mu.Lock()
		var q url.Values
		if n < len(h.requests) {
			q = h.requests[n]
		}
		changed := h.changed
		h.mu.Unlock()
		if q != nil {
			return q
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("no connection %d", n)
		}
	}
}

func (h *host) connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.requests)
}

func (h *host) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	h.mu.Lock()
	b := h.behave(len(h.requests))
	h.requests = append(h.requests, q)
	i := len(h.frames) // without a cursor: what comes from now on
	if q.Has("cursor") {
		cursor, err := strconv.ParseInt(q.Get("cursor"), 10, 64)
		if err != nil {
			b.status = http.StatusBadRequest
		}
		for i = 0; i < len(h.frames) && h.frames[i].seq <= cursor; i++ {
			continue
		}
	}
	h.signal()
	h.mu.Unlock()
	if r.URL.Path != method {
		b.status = http.StatusNotFound
	}
	if b.status != 0 {
		http.Error(w, "no", b.status)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-h.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	if b.mute {
		<-ctx.Done()
		return
	}
	gone := conn.CloseRead(ctx)
	if !q.Has("cursor") {
		b.first = append(b.first, b.now...)
	}
	for _, f := range b.first {
		if conn.Write(gone, websocket.MessageBinary, f) != nil {
			return
		}
	}
	if b.over {
		conn.Close(websocket.StatusPolicyViolation, "")
		return
	}
	if b.quiet {
		<-gone.Done()
		return
	}
	for n := 0; ; {
		h.mu.Lock()
		var todo []numbered
		if i < len(h.frames) {
			todo = h.frames[i:]
		}
		changed := h.changed
		h.mu.Unlock()
		for _, f := range todo {
			if conn.Write(gone, websocket.MessageBinary, f.data) != nil {
				return
			}
			i++
			h.mu.Lock()
			h.sent++
			h.mu.Unlock()
			if n++; n == b.cut {
				return
			}
		}
		select {
		case <-changed:
		case <-gone.Done():
			return
		}
	}
}

// encode makes a frame.
func encode(t testing.TB, kind string, body cbg.CBORMarshaler) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cbg.NewCborWriter(&b)
	write := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	text := func(s string) {
		write(w.WriteMajorTypeHeader(cbg.MajTextString, uint64(len(s))))
		_, err := w.WriteString(s)
		write(err)
	}
	write(w.WriteMajorTypeHeader(cbg.MajMap, 2))
	text("t")
	text(kind)
	text("op")
	write(w.WriteMajorTypeHeader(cbg.MajUnsignedInt, 1))
	write(body.MarshalCBOR(w))
	return b.Bytes()
}

// errorFrame is {"op": -1} and {"error": name}.
func errorFrame(name string) []byte {
	b := []byte{0xa1, 0x62, 'o', 'p', 0x20, 0xa1, 0x65, 'e', 'r', 'r', 'o', 'r', 0x60 + byte(len(name))}
	return append(b, name...)
}
