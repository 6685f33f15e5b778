package jetstreamv2

import (
	"bytes"
	"context"
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
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/internal/readahead"
	"github.com/atview/atview/ingest/stream"
)

// maxSkip bounds how much of a frame that is too large is read only to get to its
// end.
const maxSkip = 1 << 30

var (
	errIdle       = errors.New("no event for too long")
	errSilent     = errors.New("no answer to a ping")
	errRefilter   = errors.New("other collections are wanted")
	errDictionary = errors.New("server compresses with another dictionary")
	errRenumbered = errors.New("numbers are below what was asked for")
)

// session is one connection.
type session struct {
	live   *liveRun
	server *server

	asked  int64         // the cursor
	wanted []string      // the collections
	zstd   *zstd.Decoder // nil if frames are not compressed

	// For Run, after the session has ended.
	connected bool
	frames    int64 // emitted
	emitErr   error // emit's, if that ended the session

	// full is whether the reader waits for room in the buffer: then the socket's
	// silence is our own doing.
	full     atomic.Bool
	lastRead atomic.Int64 // when a frame was read and put last; Unix nanoseconds
}

// run connects and emits until the connection ends; what has been read is
// emitted in any case, unless ctx is done.
func (ses *session) run(ctx context.Context) error {
	r := ses.live
	conn, err := ses.dial(ctx)
	if ses.zstd != nil {
		defer ses.zstd.Close()
	}
	if err != nil {
		return err
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway
	ses.connected = true

	buf := readahead.New[received](r.cfg.BufferFrames, r.cfg.BufferBytes)
	r.mu.Lock()
	r.buf = buf
	r.status.Connected = true
	r.status.Connects++
	r.mu.Unlock()

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
	r := ses.live
	select {
	case <-r.refilter: // the present filter is the one we ask for
	default:
	}
	host := ses.server.host()
	r.mu.Lock()
	r.status.Host = host
	r.mu.Unlock()
	ses.wanted = wanted(*r.collections.Load())
	ses.asked = r.pos.ask(host, time.Now(), r.cfg.RewindSeqs, r.cfg.RewindOtherHost)

	u := *ses.server.url
	q := u.Query()
	for _, w := range ses.wanted {
		q.Add("collections", w)
	}
	// No kinds: identity and account events of everybody keep the cursor young where
	// the collections are rare.
	q.Set("cursor", strconv.FormatInt(ses.asked, 10))
	if !r.cfg.Plain && !r.plain {
		if err := ses.compress(ctx, q); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			r.cfg.Log.Warn().Err(err).Str("host", host).Msg("no dictionary of Jetstream; going on uncompressed")
		}
	}
	u.RawQuery = q.Encode()

	dctx, cancel := context.WithTimeout(ctx, r.cfg.ConnectTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(dctx, u.String(), &websocket.DialOptions{
		HTTPClient:   r.cfg.HTTP,
		HTTPHeader:   http.Header{"User-Agent": []string{r.cfg.UserAgent}},
		Subprotocols: []string{"xrpc.v1.json"},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			refused := ses.server.refusal("subscribeEvents", resp)
			if refused.name == "UnknownZstdDictionary" {
				return nil, fmt.Errorf("%w: %w", errDictionary, refused)
			}
			return nil, refused
		}
		if uerr, ok := errors.AsType[*url.Error](err); ok {
			err = uerr.Err // without the URL, which may be kilobytes of collections
		}
		return nil, fmt.Errorf("connection to %s: %w", host, err)
	}
	// Frames that are too large are cut here, by read: the library would drop the
	// connection, and the same frame would come again.
	conn.SetReadLimit(-1)
	r.cfg.Log.Info().Str("host", host).Int64("cursor", ses.asked).Int("filters", len(ses.wanted)).Bool("zstd", ses.zstd != nil).Msg("Jetstream connected")
	return conn, nil
}

// compress asks for frames compressed with the server's dictionary.
func (ses *session) compress(ctx context.Context, q url.Values) error {
	dict, id, err := ses.server.loadDictionary(ctx)
	if err != nil {
		return err
	}
	ses.zstd, err = zstd.NewReader(nil,
		zstd.WithDecoderDicts(dict),
		zstd.WithDecoderConcurrency(1),
		// A few bytes can claim to be gigabytes.
		zstd.WithDecoderMaxMemory(uint64(ses.live.cfg.MaxFrame)))
	if err != nil {
		return fmt.Errorf("zstd dictionary of %s: %w", ses.server.host(), err)
	}
	q.Set("zstdDictionary", strconv.FormatUint(uint64(id), 10))
	return nil
}

// read puts frames into the buffer until the connection ends.
func (ses *session) read(ctx context.Context, conn *websocket.Conn, buf *readahead.Buffer[received]) error {
	ses.alive()
	var scratch []byte
	for {
		var f received
		var err error
		f, scratch, err = readFrame(ctx, conn, scratch, ses.live.cfg.MaxFrame)
		if err != nil {
			return fmt.Errorf("read from %s: %w", ses.server.host(), err)
		}
		ses.live.bytes.Add(f.length)
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

// readFrame reads one message, of which it keeps at most most bytes. Scratch is
// memory to work in, for the next call.
func readFrame(ctx context.Context, conn *websocket.Conn, scratch []byte, most int) (received, []byte, error) {
	typ, r, err := conn.Reader(ctx)
	if err != nil {
		return received{}, scratch, err
	}
	f := received{zstd: typ == websocket.MessageBinary}
	buf := scratch[:0]
	for len(buf) < most {
		buf = slices.Grow(buf, 512)
		n, err := r.Read(buf[len(buf):min(cap(buf), most)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			f.data, f.length = bytes.Clone(buf), int64(len(buf))
			if cap(buf) > 1<<20 {
				buf = nil // one large frame should not be kept for good
			}
			return f, buf, nil
		}
		if err != nil {
			return received{}, buf, err
		}
	}
	skipped, err := io.Copy(io.Discard, io.LimitReader(r, maxSkip))
	if err != nil {
		return received{}, nil, err
	}
	if skipped == maxSkip {
		return received{}, nil, fmt.Errorf("frame of more than %d bytes", maxSkip)
	}
	f.data, f.length = buf, int64(len(buf))+skipped
	return f, nil, nil
}

// decode decompresses a frame and reads it. A frame that cannot be read is a
// reject: it would come again.
func (ses *session) decode(f received, now time.Time) (frame, error) {
	if f.length > int64(len(f.data)) {
		return frame{line: reject(f.data, stream.ReasonTooLarge, fmt.Sprintf("frame of %d bytes, more than %d", f.length, len(f.data)))}, nil
	}
	if !f.zstd {
		return parseFrame(f.data, now), nil
	}
	if ses.zstd == nil {
		return frame{line: reject(f.data, stream.ReasonFrame, "binary frame, though none was asked for")}, nil
	}
	out, err := ses.zstd.DecodeAll(f.data, nil)
	switch {
	case err == nil:
		return parseFrame(out, now), nil
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return frame{}, errDictionary
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return frame{line: reject(f.data, stream.ReasonTooLarge, fmt.Sprintf("compressed frame of more than %d bytes", ses.live.cfg.MaxFrame))}, nil
	}
	return frame{line: reject(f.data, stream.ReasonFrame, fmt.Sprintf("compressed frame: %v", err))}, nil
}

// drain emits what is in the buffer until it is at its end.
func (ses *session) drain(ctx context.Context, buf *readahead.Buffer[received]) error {
	r := ses.live
	host := ses.server.host()
	for {
		raw, ok := buf.Take(ctx)
		if !ok {
			return ctx.Err()
		}
		f, err := ses.decode(raw, time.Now())
		if err != nil {
			return err
		}
		switch f.kind {
		case frameInfo:
			if err := ses.info(f); err != nil {
				return err
			}
			continue
		case frameError:
			return fmt.Errorf("%s ends the stream: %s: %q", host, clip(f.name, 100), clip(f.message, 300))
		case frameEvent:
		}
		if ses.frames == 0 && ses.asked < timeCursors && 0 < f.seq && f.seq < ses.asked {
			return errRenumbered
		}
		r.pos.advance(f, host)
		f.line.Cursor = r.pos.cursor()
		if ses.emitErr = r.emit(f.line); ses.emitErr != nil {
			return ses.emitErr
		}
		ses.frames++
		r.tooOld, ses.server.forgotten = 0, false
	}
}

// info heeds what the server says beside the events.
func (ses *session) info(f frame) error {
	r := ses.live
	log := r.cfg.Log.With().Str("host", ses.server.host()).Str("message", clip(f.message, 300)).Logger()
	switch f.name {
	case "OutdatedCursor":
		r.gaps.Add(1)
		log.Error().Int64("cursor", ses.asked).Msg("Jetstream has no more events as old as the cursor; what is between is missing")
	case "FutureCursor":
		if ses.asked < timeCursors {
			return errRenumbered
		}
		log.Warn().Int64("cursor", ses.asked).Msg("Jetstream's clock is behind ours; it begins with what happens now")
	default:
		log.Info().Str("name", clip(f.name, 100)).Msg("Jetstream says")
	}
	return nil
}

// watch ends a connection that asks for something else than is wanted, or that is
// dead: one that brings nothing, or does not answer pings. While the buffer is full
// the socket is silent because of us, and that is no sign.
func (ses *session) watch(ctx context.Context, conn *websocket.Conn) error {
	cfg := ses.live.cfg
	ping := time.NewTicker(cfg.PingEvery)
	defer ping.Stop()
	idle := time.NewTicker(max(cfg.IdleTimeout/4, time.Millisecond))
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ses.live.refilter:
			now := wanted(*ses.live.collections.Load())
			if !slices.Equal(now, ses.wanted) || (now == nil) != (ses.wanted == nil) {
				return errRefilter
			}
		case <-idle.C:
			since := time.Since(time.Unix(0, ses.lastRead.Load()))
			if since > cfg.IdleTimeout && !ses.full.Load() {
				return errIdle
			}
		case <-ping.C:
			if ses.full.Load() {
				continue
			}
			asked := time.Now().UnixNano()
			pctx, cancel := context.WithTimeout(ctx, cfg.PingEvery)
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
