// Package fakejet is a server that speaks the legacy Jetstream wire, for the
// tests of package ingest: over real websockets, with the faults that real ones
// have.
package fakejet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/jetstream"
)

// Behaviour is how the server treats one connection. The zero value serves.
type Behaviour struct {
	// Status other than 0 answers with it in place of a websocket.
	Status int
	// Cut ends the connection after so many frames, without a goodbye; 0 never does.
	Cut int
	// Mute serves nothing, nor answers pings, until the client leaves.
	Mute bool
	// Quiet sends nothing, but answers pings.
	Quiet bool
}

// Event is one frame that the server has.
type Event struct {
	Data       []byte
	TimeUS     int64
	Collection string // of a commit
	// Binary sends Data as it is, in a binary frame.
	Binary bool
}

// Server is a Jetstream.
type Server struct {
	http   *httptest.Server
	behave func(conn int) Behaviour
	enc    *zstd.Encoder
	over   chan struct{} // closed when the test ends

	mu       sync.Mutex
	changed  chan struct{}
	events   []Event
	requests []url.Values
	updates  [][]string
	sent     int
}

// Start starts a server; it ends with the test. Behave says how connection n
// (from 0) is treated; nil serves all.
func Start(t testing.TB, behave func(conn int) Behaviour) *Server {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderDict(jetstream.Dictionary()), zstd.WithWindowSize(1<<17), zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{behave: behave, enc: enc, over: make(chan struct{}), changed: make(chan struct{})}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		close(s.over)
		s.http.CloseClientConnections()
		s.http.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// URL is what a client is given.
func (s *Server) URL() string { return "ws" + strings.TrimPrefix(s.http.URL, "http") + "/subscribe" }

// Host is the URL's.
func (s *Server) Host() string { return strings.TrimPrefix(s.http.URL, "http://") }

// Append adds events to what the server has.
func (s *Server) Append(events ...Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, events...)
	s.signal()
}

// Line returns an event of a line of JSON.
func Line(line []byte) Event {
	var e struct {
		TimeUS int64 `json:"time_us"`
		Commit struct {
			Collection string `json:"collection"`
		} `json:"commit"`
	}
	_ = json.Unmarshal(line, &e) // what is no event has no time and is sent all the same
	return Event{Data: line, TimeUS: e.TimeUS, Collection: e.Commit.Collection}
}

// Request waits for connection n (from 0) and returns its query.
func (s *Server) Request(t testing.TB, n int) url.Values {
	t.Helper()
	var q url.Values
	s.wait(t, fmt.Sprintf("connection %d", n), func() bool {
		if n < len(s.requests) {
			q = s.requests[n]
		}
		return q != nil
	})
	return q
}

// Update waits for options_update n (from 0) and returns its wantedCollections.
func (s *Server) Update(t testing.TB, n int) []string {
	t.Helper()
	var u []string
	s.wait(t, fmt.Sprintf("options_update %d", n), func() bool {
		if n < len(s.updates) {
			u = s.updates[n]
		}
		return u != nil
	})
	return u
}

// Connections returns how many requests there have been.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// Sent returns how many frames have been sent over all connections.
func (s *Server) Sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func (s *Server) wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	for {
		s.mu.Lock()
		ok, changed := done(), s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("no %s", what)
		}
	}
}

func (s *Server) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, r.URL.Query())
	s.signal()
	s.mu.Unlock()
	var b Behaviour
	if s.behave != nil {
		b = s.behave(n)
	}
	if b.Status != 0 {
		http.Error(w, "fake trouble", b.Status)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if b.Mute {
		<-s.over // a hijacked connection has no other end
		return
	}
	filter := &filter{wanted: r.URL.Query()["wantedCollections"]}
	go s.listen(ctx, cancel, conn, filter)
	if b.Quiet {
		<-ctx.Done()
		return
	}
	s.send(ctx, conn, r.URL.Query(), filter, b.Cut)
}

type filter struct {
	mu     sync.Mutex
	wanted []string
}

func (f *filter) wants(collection string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wanted) == 0 || collection == "" {
		return true
	}
	for _, w := range f.wanted {
		if prefix, ok := strings.CutSuffix(w, "*"); w == collection || ok && strings.HasPrefix(collection, prefix) {
			return true
		}
	}
	return false
}

func (s *Server) listen(ctx context.Context, cancel func(), conn *websocket.Conn, f *filter) {
	defer cancel()
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var msg struct {
			Type    string `json:"type"`
			Payload struct {
				WantedCollections []string `json:"wantedCollections"`
			} `json:"payload"`
		}
		if json.Unmarshal(data, &msg) != nil || msg.Type != "options_update" || msg.Payload.WantedCollections == nil {
			conn.Close(websocket.StatusPolicyViolation, "bad message")
			return
		}
		f.mu.Lock()
		f.wanted = msg.Payload.WantedCollections
		f.mu.Unlock()
		s.mu.Lock()
		s.updates = append(s.updates, msg.Payload.WantedCollections)
		s.signal()
		s.mu.Unlock()
	}
}

func (s *Server) send(ctx context.Context, conn *websocket.Conn, q url.Values, f *filter, cut int) {
	cursor, err := strconv.ParseInt(q.Get("cursor"), 10, 64)
	s.mu.Lock()
	next := 0
	if err != nil { // none: from now on
		next = len(s.events)
	}
	s.mu.Unlock()
	// As the real one: it finds the first event at or after the cursor, and goes on
	// from there whatever the times say.
	seeking := err == nil
	for frames := 0; ; {
		s.mu.Lock()
		changed := s.changed
		var ev *Event
		if next < len(s.events) {
			ev = &s.events[next]
			next++
		}
		s.mu.Unlock()
		if ev == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		if seeking && ev.TimeUS < cursor {
			continue
		}
		seeking = false
		if !f.wants(ev.Collection) {
			continue
		}
		typ, data := websocket.MessageText, ev.Data
		if ev.Binary {
			typ = websocket.MessageBinary
		} else if q.Get("compress") == "true" {
			typ, data = websocket.MessageBinary, s.compress(ev.Data)
		}
		if conn.Write(ctx, typ, data) != nil {
			return
		}
		s.mu.Lock()
		s.sent++
		s.signal()
		s.mu.Unlock()
		if frames++; cut > 0 && frames >= cut {
			return
		}
	}
}

// Compress does beforehand what the server does when it sends.
func (s *Server) Compress(events []Event) {
	for i := range events {
		events[i].Data, events[i].Binary = s.compress(events[i].Data), true
	}
}

func (s *Server) compress(data []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enc.EncodeAll(data, nil)
}
