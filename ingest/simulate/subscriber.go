package simulate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// readEntries is how many events are taken from the history at a time.
	readEntries = 256
	// flushBytes is how much goes into one write, unless there is no more to send:
	// a write for each event is what limits other servers to a third of our rate.
	flushBytes = 64 << 10
)

// subscriber is one client. Its events are written by one goroutine; control
// frames go past it, which net.Conn allows between writes.
type subscriber struct {
	server *Server
	conn   *websocket.Conn
	socket net.Conn
	packed bool
	filter atomic.Pointer[filter]
	start  func() int64  // where to begin
	hello  chan struct{} // closed once events may flow
	at     atomic.Int64  // the number of the next event to send
}

var upgrader = websocket.Upgrader{
	ReadBufferSize:  4 << 10,
	WriteBufferSize: 4 << 10,
	CheckOrigin:     func(*http.Request) bool { return true }, // there is nothing to protect
}

// run sends events until the client, the server or ctx ends. The error is why
// the client was cut off; nil when it left.
func (s *subscriber) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		cancel(s.read())
	}()
	err := s.write(ctx)
	s.close(err)
	<-reader
	return err
}

// errLeft says that the client closed the connection, or lost it.
var errLeft = errors.New("client left")

// errUpdate says that a client sent something else than an options_update.
var errUpdate = errors.New("invalid options update")

// errTooSlow says that a client was overtaken by the end of the history.
var errTooSlow = errors.New("subscriber too slow: its next event is no longer kept")

// read takes what the client sends until the connection ends.
func (s *subscriber) read() error {
	s.conn.SetReadLimit(maxUpdateBytes)
	// Gorilla's own handler would leave a deadline of a second on the socket, and
	// the events share it.
	s.conn.SetPingHandler(func(data string) error {
		_ = s.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(s.server.cfg.WriteTimeout))
		return nil
	})
	waiting := true
	for {
		_, data, err := s.conn.ReadMessage()
		if err != nil {
			return errLeft
		}
		f, err := parseUpdate(data)
		if err != nil {
			return fmt.Errorf("%w: %w", errUpdate, err)
		}
		s.filter.Store(f)
		if waiting {
			waiting = false
			select {
			case <-s.hello: // did not have to wait
			default:
				close(s.hello)
			}
		}
	}
}

func (s *subscriber) write(ctx context.Context) error {
	ping := time.NewTicker(s.server.cfg.Ping)
	defer ping.Stop()
	select {
	case <-s.hello:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.at.Store(s.start())
	s.server.joined(s)
	defer s.server.left(s)

	entries := make([]*entry, 0, readEntries)
	out := make([]byte, 0, flushBytes+4<<10)
	for {
		var grown <-chan struct{}
		var ok bool
		entries, grown, ok = s.server.history.read(s.at.Load(), readEntries, entries[:0])
		if !ok {
			return errTooSlow
		}
		f := s.filter.Load()
		for _, e := range entries {
			if !f.wants(e) {
				continue
			}
			b := e.frame
			if s.packed {
				b = s.server.pack(e)
			}
			if f.maxBytes > 0 && len(payload(b)) > f.maxBytes {
				continue
			}
			if out = append(out, b...); len(out) >= flushBytes {
				if err := s.flush(out); err != nil {
					return err
				}
				out = out[:0]
			}
		}
		if len(entries) < readEntries && len(out) > 0 {
			if err := s.flush(out); err != nil {
				return err
			}
			out = out[:0]
		}
		s.at.Add(int64(len(entries)))
		s.server.progressed()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(entries) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-ping.C:
			if err := s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(s.server.cfg.WriteTimeout)); err != nil {
				return errLeft
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *subscriber) flush(b []byte) error {
	if err := s.socket.SetWriteDeadline(time.Now().Add(s.server.cfg.WriteTimeout)); err != nil {
		return errLeft
	}
	if _, err := s.socket.Write(b); err != nil {
		return err
	}
	return nil
}

// close says goodbye, unless a write has failed: then the frame may be half out,
// and what follows it would be read as the other half.
func (s *subscriber) close(err error) {
	code, text := websocket.CloseNormalClosure, ""
	switch {
	case errors.Is(err, errShutdown):
		code = websocket.CloseGoingAway
	case errors.Is(err, errTooSlow):
		code, text = websocket.ClosePolicyViolation, "ConsumerTooSlow"
	case errors.Is(err, errUpdate):
		code, text = websocket.ClosePolicyViolation, errUpdate.Error()
	}
	if _, broken := errors.AsType[net.Error](err); !broken {
		_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
	}
	_ = s.conn.Close()
}
