package firehose

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
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// maxSkip bounds how much of a frame that is too large is read only to get to its
// end.
const maxSkip = 1 << 30

var (
	errIdle   = errors.New("nothing for too long")
	errSilent = errors.New("no answer to a ping")
)

// session is one connection. Frames are read by one goroutine, checked by several,
// and emitted by one in the order in which they were read.
type session struct {
	src    *Source
	url    *url.URL
	pos    *position
	chain  *chain
	memory *memory // nil without a database
	emit   func(source.Line) error

	// For Run, after the session has ended.
	connected bool
	asked     bool // with a cursor
	frames    int64
	emitErr   error // emit's, if that ended the session

	queue chan *job // all that is read and not emitted, in order
	work  chan *job // of these, what is not checked
	bytes *semaphore.Weighted
	// ahead is taken by whoever checks the next frame, and given back when that is
	// emitted: what was checked is larger than what was read, and has to wait for
	// the slowest before it.
	ahead chan struct{}
	told  time.Time // when the cursor was emitted last

	// full is whether the reader waits for room in the queue: then the socket's
	// silence is our own doing.
	full     atomic.Bool
	lastRead atomic.Int64 // when a frame was read and queued last; Unix nanoseconds
}

// frame is what came over the socket: its beginning if length is more.
type frame struct {
	data   []byte
	length int64
}

// job is a frame on its way.
type job struct {
	frame
	done chan struct{} // closed when out is there
	out  outcome
}

// run connects and emits until the connection ends; what has been read is emitted
// in any case, unless ctx is done.
func (ses *session) run(ctx context.Context) error {
	s := ses.src
	conn, err := ses.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway
	ses.connected = true
	ses.queue = make(chan *job, s.cfg.BufferFrames)
	ses.work = make(chan *job, s.cfg.BufferFrames+1) // never full: what the emitter waits for has left the queue
	ses.bytes = semaphore.NewWeighted(s.cfg.BufferBytes)
	ses.ahead = make(chan struct{}, 4*s.cfg.Workers)

	s.mu.Lock()
	s.queue = ses.queue
	s.status.Connected = true
	s.status.Connects++
	s.mu.Unlock()

	// The reader ends with the connection, the workers and the emitter when there is
	// nothing left. The watcher ends the connection.
	emitCtx, stopEmit := context.WithCancel(ctx)
	defer stopEmit()
	var workers errgroup.Group
	for range s.cfg.Workers {
		workers.Go(func() error { ses.check(emitCtx); return nil })
	}
	net, netCtx := errgroup.WithContext(emitCtx)
	net.Go(func() error {
		defer close(ses.queue)
		defer close(ses.work)
		return ses.read(netCtx, conn)
	})
	net.Go(func() error { return ses.watch(netCtx, conn) })

	emitErr := ses.drain(emitCtx)
	if emitErr != nil {
		stopEmit()
	}
	err = net.Wait()
	workers.Wait() //nolint:errcheck // there are none
	if emitErr != nil {
		return emitErr
	}
	return err
}

// dial connects at the cursor of the host, which it looks for if the host has none
// and another one has been read before.
func (ses *session) dial(ctx context.Context) (*websocket.Conn, error) {
	s := ses.src
	s.mu.Lock()
	s.status.Host = ses.url.Host
	s.mu.Unlock()
	ses.pos.host = ses.url.Host
	cursor, known := ses.pos.cursors[ses.url.Host]
	if last := ses.pos.when(); !known && !last.IsZero() {
		found, err := s.seek(ctx, ses.url, last.Add(-s.cfg.RewindOtherHost))
		if err != nil {
			return nil, err
		}
		s.cfg.Log.Info().Str("host", ses.url.Host).Int64("cursor", found).Time("since", last).Msg("going on at another host")
		cursor, known = found, true
		ses.pos.cursors[ses.url.Host] = found
	}
	ask := &cursor
	if !known && !s.cfg.FromStart {
		ask = nil
	}
	ses.asked = known
	conn, err := s.dial(ctx, ses.url, ask)
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info().Str("host", ses.url.Host).Int64("cursor", cursor).Msg("firehose connected")
	return conn, nil
}

// dial connects; without a cursor it asks for what happens from now on.
func (s *Source) dial(ctx context.Context, to *url.URL, cursor *int64) (*websocket.Conn, error) {
	u := *to
	if cursor != nil {
		q := u.Query()
		q.Set("cursor", strconv.FormatInt(*cursor, 10))
		u.RawQuery = q.Encode()
	}
	dctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(dctx, u.String(), &websocket.DialOptions{
		HTTPClient: s.client,
		HTTPHeader: http.Header{"User-Agent": []string{s.cfg.UserAgent}},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
			return nil, &statusError{code: resp.StatusCode, host: u.Host, body: string(body)}
		}
		return nil, fmt.Errorf("connection to %s: %w", u.Host, err)
	}
	// Frames that are too large are cut when they are read: the library would drop
	// the connection, and the same frame would come again.
	conn.SetReadLimit(-1)
	return conn, nil
}

// read queues frames until the connection ends.
func (ses *session) read(ctx context.Context, conn *websocket.Conn) error {
	ses.alive()
	var scratch []byte
	for {
		var f frame
		var err error
		f, scratch, err = readFrame(ctx, conn, scratch, ses.src.cfg.MaxFrame)
		if err != nil {
			return fmt.Errorf("read from %s: %w", ses.url.Host, err)
		}
		ses.src.received.Add(f.length)
		if err := ses.put(ctx, &job{frame: f, done: make(chan struct{})}); err != nil {
			return err
		}
	}
}

// weight of a job: a frame that is larger than the buffer fills it.
func (ses *session) weight(j *job) int64 {
	return min(int64(len(j.data)), ses.src.cfg.BufferBytes)
}

func (ses *session) put(ctx context.Context, j *job) error {
	if !ses.bytes.TryAcquire(ses.weight(j)) {
		ses.full.Store(true)
		if err := ses.bytes.Acquire(ctx, ses.weight(j)); err != nil {
			return err
		}
	}
	select {
	case ses.queue <- j:
	default:
		ses.full.Store(true)
		select {
		case ses.queue <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ses.work <- j
	ses.alive() // before full: watch must not see neither
	ses.full.Store(false)
	return nil
}

func (ses *session) alive() { ses.lastRead.Store(time.Now().UnixNano()) }

// readFrame reads one message, of which it keeps at most most bytes. Scratch is
// memory to work in, for the next call.
func readFrame(ctx context.Context, conn *websocket.Conn, scratch []byte, most int) (frame, []byte, error) {
	_, r, err := conn.Reader(ctx)
	if err != nil {
		return frame{}, scratch, err
	}
	buf := scratch[:0]
	for len(buf) < most {
		buf = slices.Grow(buf, 512)
		n, err := r.Read(buf[len(buf):min(cap(buf), most)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			f := frame{data: bytes.Clone(buf), length: int64(len(buf))}
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
	return frame{data: buf, length: int64(most) + skipped}, nil, nil
}

// check checks frames until there are none. The turn is taken before the frame: so
// the frame that the emitter waits for always has one.
func (ses *session) check(ctx context.Context) {
	for {
		select {
		case ses.ahead <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case j, ok := <-ses.work:
			if !ok {
				return
			}
			j.out = ses.src.check(ctx, j.frame)
			close(j.done)
		case <-ctx.Done():
			return
		}
	}
}

// drain emits what is queued until the queue is at its end.
func (ses *session) drain(ctx context.Context) error {
	for {
		var j *job
		var ok bool
		select {
		case j, ok = <-ses.queue:
		case <-ctx.Done():
		}
		if !ok {
			return ctx.Err()
		}
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if ctx.Err() != nil {
			return ctx.Err() // what was being checked may have failed for that
		}
		if err := ses.deliver(&j.out); err != nil {
			return err
		}
		ses.bytes.Release(ses.weight(j))
		<-ses.ahead
	}
}

// deliver emits what a frame comes to.
func (ses *session) deliver(o *outcome) error {
	s := ses.src
	if o.end != nil {
		return o.end
	}
	ses.frames++
	if o.info != nil && o.info.Name == outdatedCursor {
		s.count(func(st *Stats) { st.Lost++ })
		s.cfg.Log.Error().Str("host", ses.url.Host).Int64("cursor", ses.pos.at().Value).Msg("host does not have all since the cursor any more; repositories that commit again are read anew")
	}
	m := ses.number(o.seq)
	if m.begin > 0 {
		// From here on nothing may be missed, whatever happens before the first event is
		// stored: the beginning is on the log before anything else.
		if err := ses.tell(source.Line{Cursor: ses.pos.at()}); err != nil {
			return err
		}
	}

	stand := follows
	if o.step != nil {
		if o.declared {
			stand = ses.chain.sync(o.did, *o.step)
		} else {
			stand = ses.chain.commit(o.did, *o.step)
		}
	}
	if o.forget {
		ses.chain.forget(o.did)
	}
	switch stand {
	case seen:
		o.lines, o.again = nil, false
	case broken:
		o.again = true
	}
	if o.again {
		ev := o.event(stream.KindSync)
		ev.Sync = &stream.Sync{Rev: o.rev, Seq: o.seq, Time: o.time}
		o.lines = append(o.lines, source.Line{Event: ev})
	}
	s.count(func(st *Stats) { st.add(o, m, stand) })

	ses.pos.done(o.seq, o.timeUS)
	ses.remember(o)
	for i, line := range o.lines {
		if i == len(o.lines)-1 {
			line.Cursor = ses.pos.at()
		}
		if err := ses.tell(line); err != nil {
			return err
		}
	}
	if len(o.lines) == 0 && time.Since(ses.told) >= s.cfg.CursorEvery && ses.pos.at().Value > 0 {
		return ses.tell(source.Line{Cursor: ses.pos.at()})
	}
	return nil
}

// remember has the memory keep how a repository stands of which something was
// checked, in this run or an earlier one.
func (ses *session) remember(o *outcome) {
	if ses.memory == nil {
		return
	}
	if o.step != nil || o.forget {
		if h, known := ses.chain.heads.Peek(o.did); !known || h.checked != "" || h.loaded {
			ses.memory.note(o.did, h, known)
		}
	}
	ses.memory.due(ses.pos.at())
}

func (ses *session) tell(line source.Line) error {
	if line.Cursor.Value != 0 {
		ses.told = time.Now()
	}
	ses.emitErr = ses.emit(line)
	return ses.emitErr
}

// number takes a frame's number, and says so if it is odd.
func (ses *session) number(seq int64) move {
	before := ses.pos.at().Value
	m := ses.pos.next(seq)
	log := ses.src.oddities.Warn
	switch {
	case m.renumber:
		ses.src.cfg.Log.Error().Str("host", ses.url.Host).Int64("cursor", before).Int64("seq", seq).Msg("host counts anew; the cursor follows")
	case m.backwards:
		log().Str("host", ses.url.Host).Int64("cursor", before).Int64("seq", seq).Msg("frame is numbered as one that was there")
	case m.missing > 0:
		log().Str("host", ses.url.Host).Int64("cursor", before).Int64("seq", seq).Msg("host left numbers out")
	}
	return m
}

func (st *Stats) add(o *outcome, m move, stand verdict) {
	st.Frames++
	if o.commit {
		st.Commits++
	}
	if o.commit && o.checked {
		st.Checked++
	}
	if stand == seen {
		st.Seen++
	}
	if stand == broken && !o.declared {
		st.Broken++
	}
	if o.again {
		st.Resyncs++
	}
	for _, l := range o.lines {
		if l.Err != nil {
			st.Rejected++
		}
	}
	if m.missing > 0 {
		st.Gaps++
		st.Missing += m.missing
	}
	if m.backwards {
		st.Backwards++
	}
	if o.unknown {
		st.Unknown++
	}
}

// watch ends a connection that is dead: one that brings nothing, or does not
// answer pings. While the queue is full the socket is silent because of us, and
// that is no sign.
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
