package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/internal/readahead"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// maxSkip bounds how much of a frame that is too large is read only to get to its
// end.
const maxSkip = 1 << 30

var (
	errIdle   = errors.New("no event for too long")
	errSilent = errors.New("no answer to a ping")
)

// session is one connection.
type session struct {
	src   *Source
	url   *url.URL
	dec   *decoder
	pos   *position
	plain bool
	emit  func(source.Line) error

	// For Run, after the session has ended.
	connected bool
	frames    int64 // emitted
	emitErr   error // emit's, if that ended the session

	wanted []string
	// full is whether the reader waits for room in the buffer: then the socket's
	// silence is our own doing.
	full     atomic.Bool
	lastRead atomic.Int64 // when a frame was read and put last; Unix nanoseconds
}

// run connects and emits until the connection ends; what has been read is
// emitted in any case, unless ctx is done.
func (ses *session) run(ctx context.Context) error {
	s := ses.src
	conn, err := ses.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway
	ses.connected = true

	buf := readahead.New[frame](s.cfg.BufferFrames, s.cfg.BufferBytes)
	s.mu.Lock()
	s.buf = buf
	s.status.Connected = true
	s.status.Connects++
	s.mu.Unlock()

	// The reader ends with the connection, the emitter when the buffer is empty. The
	// watcher ends both.
	emitCtx, stopEmit := context.WithCancel(ctx)
	defer stopEmit()
	g, netCtx := errgroup.WithContext(emitCtx)
	g.Go(func() error {
		defer buf.End()
		return ses.read(netCtx, conn, buf)
	})
	g.Go(func() error { return ses.watch(netCtx, conn) })

	emitErr := ses.drain(emitCtx, buf)
	if emitErr != nil {
		stopEmit()
	}
	err = g.Wait()
	if emitErr != nil {
		return emitErr
	}
	return err
}

func (ses *session) dial(ctx context.Context) (*websocket.Conn, error) {
	s := ses.src
	select {
	case <-s.refilter: // the present filter is the one we ask for
	default:
	}
	ses.wanted = wanted(*s.collections.Load())
	now := time.Now()
	cursor := ses.pos.ask(ses.url.Host, now, s.cfg.Rewind, s.cfg.RewindOtherHost)

	u := *ses.url
	q := u.Query()
	for _, w := range ses.wanted {
		q.Add("wantedCollections", w)
	}
	if cursor != 0 {
		q.Set("cursor", strconv.FormatInt(cursor, 10))
	}
	if !ses.plain {
		q.Set("compress", "true")
	}
	u.RawQuery = q.Encode()

	s.mu.Lock()
	s.status.Host = u.Host
	s.mu.Unlock()
	dctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(dctx, u.String(), &websocket.DialOptions{
		HTTPHeader: http.Header{"User-Agent": []string{s.cfg.UserAgent}},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
			return nil, &statusError{code: resp.StatusCode, host: u.Host, body: string(body)}
		}
		if uerr, ok := errors.AsType[*url.Error](err); ok {
			err = uerr.Err // without the URL, which may be kilobytes of collections
		}
		return nil, fmt.Errorf("connection to %s: %w", u.Host, err)
	}
	// Frames that are too large are cut here, by read: the library would drop the
	// connection, and the same frame would come again.
	conn.SetReadLimit(-1)
	s.cfg.Log.Info().Str("host", u.Host).Int64("cursor", cursor).Int("filters", len(ses.wanted)).Msg("Jetstream connected")

	return conn, nil
}

func (ses *session) cursor() stream.Cursor {
	return stream.Cursor{Value: ses.pos.cursor, Host: ses.pos.host}
}

// read puts frames into the buffer until the connection ends.
func (ses *session) read(ctx context.Context, conn *websocket.Conn, buf *readahead.Buffer[frame]) error {
	ses.alive()
	var scratch []byte
	for {
		var f frame
		var err error
		f, scratch, err = readFrame(ctx, conn, scratch)
		if err != nil {
			return fmt.Errorf("read from %s: %w", ses.url.Host, err)
		}
		ses.src.received.Add(f.length)
		if !buf.Try(f) {
			ses.full.Store(true)
			if err := buf.Put(ctx, f); err != nil {
				return err
			}
			ses.alive() // before full: watch must not see neither
			ses.full.Store(false)
			continue
		}
		ses.alive()
	}
}

func (ses *session) alive() { ses.lastRead.Store(time.Now().UnixNano()) }

// readFrame reads one message, of which it keeps at most maxEvent bytes. Scratch
// is memory to work in, for the next call.
func readFrame(ctx context.Context, conn *websocket.Conn, scratch []byte) (frame, []byte, error) {
	typ, r, err := conn.Reader(ctx)
	if err != nil {
		return frame{}, scratch, err
	}
	f := frame{zstd: typ == websocket.MessageBinary}
	buf := scratch[:0]
	for len(buf) < maxEvent {
		buf = slices.Grow(buf, 512)
		n, err := r.Read(buf[len(buf):min(cap(buf), maxEvent)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			f.data, f.length = bytes.Clone(buf), int64(len(buf))
			if cap(buf) > 1<<20 {
				buf = nil // one large frame should not be kept for good
			}
			return f, buf, nil
		}
		if err != nil {
			return frame{}, buf, err
		}
	}
	skipped, err := io.Copy(io.Discard, io.LimitReader(r, maxSkip))
	if err != nil {
		return frame{}, nil, err
	}
	if skipped == maxSkip {
		return frame{}, nil, fmt.Errorf("frame of more than %d bytes", maxSkip)
	}
	f.data, f.length = buf, maxEvent+skipped
	return f, nil, nil
}

// drain emits what is in the buffer until it is at its end.
func (ses *session) drain(ctx context.Context, buf *readahead.Buffer[frame]) error {
	for {
		f, ok := buf.Take(ctx)
		if !ok {
			return ctx.Err()
		}
		data, err := ses.dec.line(f)
		if errors.Is(err, errDictionary) {
			if !ses.plain {
				return err
			}
			err = &stream.InvalidError{Reason: stream.ReasonFrame, Detail: err.Error()}
		}
		line := source.Line{Data: data, Err: err}
		if err == nil {
			line = source.Parsed(data)
		}
		ses.pos.advance(line.Event.TimeUS, ses.url.Host, time.Now())
		line.Cursor = ses.cursor()
		if ses.emitErr = ses.emit(line); ses.emitErr != nil {
			return ses.emitErr
		}
		ses.frames++
	}
}

// watch keeps the filter current, and ends a connection that is dead: one that
// brings nothing, or does not answer pings. While the buffer is full the socket
// is silent because of us, and that is no sign.
func (ses *session) watch(ctx context.Context, conn *websocket.Conn) error {
	s := ses.src
	ping := time.NewTicker(s.cfg.PingEvery)
	defer ping.Stop()
	idle := time.NewTicker(max(s.cfg.IdleTimeout/4, time.Millisecond))
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.refilter:
			if err := ses.update(ctx, conn); err != nil {
				return err
			}
		case <-idle.C:
			since := time.Since(time.Unix(0, ses.lastRead.Load()))
			if since > s.cfg.IdleTimeout && !ses.full.Load() {
				return errIdle
			}
		case <-ping.C:
			if ses.full.Load() {
				continue
			}
			asked := time.Now().UnixNano()
			pctx, cancel := context.WithTimeout(ctx, s.cfg.PingEvery)
			err := conn.Ping(pctx)
			cancel()
			switch {
			case err == nil, ctx.Err() != nil:
			case ses.full.Load(), ses.lastRead.Load() > asked:
				// The answer stands behind frames that we did not read, or frames came: it
				// lives.
			default:
				return errSilent
			}
		}
	}
}

// update sends the server the present filter. See
// https://github.com/bluesky-social/jetstream#subscriber-sourced-messages.
func (ses *session) update(ctx context.Context, conn *websocket.Conn) error {
	now := wanted(*ses.src.collections.Load())
	if slices.Equal(now, ses.wanted) && (now == nil) == (ses.wanted == nil) {
		return nil
	}
	if now == nil {
		now = []string{} // null would be refused
	}
	type payload struct {
		WantedCollections   []string `json:"wantedCollections"`
		WantedDIDs          []string `json:"wantedDids"`
		MaxMessageSizeBytes int      `json:"maxMessageSizeBytes"`
	}
	msg, err := json.Marshal(struct {
		Type    string  `json:"type"`
		Payload payload `json:"payload"`
	}{"options_update", payload{WantedCollections: now, WantedDIDs: []string{}}})
	if err != nil {
		return fmt.Errorf("options_update: %w", err)
	}
	wctx, cancel := context.WithTimeout(ctx, ses.src.cfg.ConnectTimeout)
	defer cancel()
	if err := conn.Write(wctx, websocket.MessageText, msg); err != nil {
		return fmt.Errorf("options_update to %s: %w", ses.url.Host, err)
	}
	ses.wanted = now
	return nil
}
