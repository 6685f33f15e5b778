package tap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// Config says which Tap is read, and how.
type Config struct {
	// URL of the Tap: tap+ws://HOST:2480/channel, or tap+wss. A password in it
	// (tap+wss://admin:PASSWORD@HOST) is sent as Basic auth.
	URL string
	// Name of the source. Default "tap".
	Name string
	// PingEvery is how often Tap has to answer. Default 20 s. It may have nothing else
	// to say for hours.
	PingEvery time.Duration
	// ConnectTimeout bounds the making of a connection. Default 20 s.
	ConnectTimeout time.Duration
	// AckTimeout bounds the sending of an acknowledgement. Default 20 s.
	AckTimeout time.Duration
	// MinBackoff and MaxBackoff bound the waits between attempts, which double while
	// they fail. Default 1 s and 60 s.
	MinBackoff, MaxBackoff time.Duration
	// MaxFrame is the longest event in bytes. Default 16 MiB: records are 1 MiB of CBOR
	// at most, JSON may be several times as long.
	MaxFrame int
	// BufferFrames is how many events are read ahead while the log does not take them.
	// Default 16: Tap keeps the rest.
	BufferFrames int
	// MaxUnacked is how many events may wait to be confirmed. Default 100,000, which
	// take 2 MB: more than the log has in flight.
	MaxUnacked int
	// HTTP makes the connection. Default a client of its own, that follows the proxy of
	// the environment.
	HTTP *http.Client
	// UserAgent is what the server's operator sees. Default "atview".
	UserAgent string
	Log       zerolog.Logger
}

func (c *Config) validate() (*url.URL, *url.Userinfo, error) {
	var faults []error
	u, err := url.Parse(c.URL)
	if err != nil {
		// Without the URL, which may have a password.
		return nil, nil, errors.New("URL does not parse: want tap+ws://HOST:2480/channel")
	}
	user := u.User
	u.User = nil
	scheme, ok := strings.CutPrefix(u.Scheme, "tap+")
	if !ok || scheme != "ws" && scheme != "wss" || u.Host == "" {
		faults = append(faults, fmt.Errorf("URL %q: want tap+ws://HOST:2480/channel", u.Redacted()))
	}
	u.Scheme = scheme
	if u.Path == "" || u.Path == "/" {
		u.Path = "/channel"
	}
	c.Name = cmp.Or(c.Name, "tap")
	c.PingEvery = cmp.Or(c.PingEvery, 20*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 20*time.Second)
	c.AckTimeout = cmp.Or(c.AckTimeout, 20*time.Second)
	c.MinBackoff = cmp.Or(c.MinBackoff, time.Second)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 60*time.Second)
	c.MaxFrame = cmp.Or(c.MaxFrame, 16<<20)
	c.BufferFrames = cmp.Or(c.BufferFrames, 16)
	c.MaxUnacked = cmp.Or(c.MaxUnacked, 100_000)
	c.UserAgent = cmp.Or(c.UserAgent, "atview")
	for name, n := range map[string]int64{
		"PingEvery": int64(c.PingEvery), "ConnectTimeout": int64(c.ConnectTimeout), "AckTimeout": int64(c.AckTimeout), "MinBackoff": int64(c.MinBackoff),
		"MaxBackoff": int64(c.MaxBackoff), "MaxFrame": int64(c.MaxFrame), "BufferFrames": int64(c.BufferFrames), "MaxUnacked": int64(c.MaxUnacked),
	} {
		if n < 0 {
			faults = append(faults, fmt.Errorf("%s must not be negative", name))
		}
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	return u, user, errors.Join(faults...)
}

// Source reads one Tap. See the package's documentation.
type Source struct {
	cfg  Config
	url  *url.URL
	user *url.Userinfo

	mu     sync.Mutex
	status source.Status
	frames chan received // of the session; nil between two

	acks  acks
	bytes atomic.Int64
}

var _ source.Confirmer = (*Source)(nil)

// New makes a source. Nothing is connected yet.
func New(cfg Config) (*Source, error) {
	u, user, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("tap configuration: %w", err)
	}
	s := &Source{cfg: cfg, url: u, user: user}
	s.acks.most = cfg.MaxUnacked
	s.acks.changed = make(chan struct{}, 1)
	s.acks.room = make(chan struct{}, 1)
	return s, nil
}

// Name is [Config.Name].
func (s *Source) Name() string { return s.cfg.Name }

// SetCollections does nothing: what is sent is Tap's configuration.
func (s *Source) SetCollections(source.Collections) {}

// Status returns how the connection is.
func (s *Source) Status() source.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Bytes = s.bytes.Load()
	st.Buffered = len(s.frames)
	return st
}

// Unacked is how many events wait to be confirmed.
func (s *Source) Unacked() int { return s.acks.len() }

// Confirmed says that all lines up to the one with this cursor are on the log; see
// [source.Confirmer].
func (s *Source) Confirmed(c stream.Cursor) { s.acks.confirm(c.Value) }

// Run reads until ctx is done, or until Tap refuses the password. See
// [source.Source].
func (s *Source) Run(ctx context.Context, from stream.Cursor, emit func(source.Line) error) error {
	counter := max(from.Value, 0)
	s.acks.reset(counter)
	for failures := 0; ; {
		ses := &session{src: s, emit: emit, counter: counter}
		err := ses.run(ctx)
		counter = ses.counter
		s.acks.reset(counter)
		s.ended(err)
		var refused *statusError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case ses.emitErr != nil:
			return ses.emitErr
		case errors.As(err, &refused) && refused.permanent():
			return err
		}
		s.cfg.Log.Warn().Err(err).Str("host", s.url.Host).Msg("Tap connection ended")
		if ses.events > 0 {
			failures = 0
		}
		if !retry.Sleep(ctx, retry.Backoff(failures, s.cfg.MinBackoff, s.cfg.MaxBackoff)) {
			return ctx.Err()
		}
		failures++
	}
}

func (s *Source) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = nil
	s.status.Connected = false
	s.status.LastError = err
	s.status.LastErrorTime = time.Now()
}

// statusError is an HTTP answer in place of a websocket.
type statusError struct {
	code int
	host string
	body string
}

func (e *statusError) Error() string {
	msg := fmt.Sprintf("Tap at %s answers HTTP %d", e.host, e.code)
	if body := strings.TrimSpace(e.body); body != "" {
		msg += fmt.Sprintf(": %q", body)
	}
	switch e.code {
	case http.StatusUnauthorized, http.StatusForbidden:
		msg += " (give the password as tap+wss://admin:PASSWORD@HOST)"
	case http.StatusBadRequest:
		msg += " (a Tap that is set up to call a webhook has no channel)"
	}
	return msg
}

// permanent reports whether asking again is of no use.
func (e *statusError) permanent() bool {
	return e.code == http.StatusUnauthorized || e.code == http.StatusForbidden || e.code == http.StatusBadRequest
}

// acks are the events of one connection that wait to be acknowledged, in their
// order.
type acks struct {
	most int
	// changed says that some have been confirmed, and room that some have left.
	changed, room chan struct{}

	mu        sync.Mutex
	waiting   []ack
	confirmed int64 // counters up to here are on the log
}

type ack struct {
	counter int64
	id      uint64
}

// add takes an event that is about to be emitted. It waits while too many are not
// confirmed.
func (a *acks) add(ctx context.Context, e ack) error {
	for {
		a.mu.Lock()
		if len(a.waiting) < a.most {
			a.waiting = append(a.waiting, e)
			a.mu.Unlock()
			return nil
		}
		a.mu.Unlock()
		select {
		case <-a.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *acks) confirm(counter int64) {
	a.mu.Lock()
	a.confirmed = max(a.confirmed, counter)
	a.mu.Unlock()
	signal(a.changed)
}

// take returns the ids that may be acknowledged now.
func (a *acks) take() []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	var ids []uint64
	for ; n < len(a.waiting) && a.waiting[n].counter <= a.confirmed; n++ {
		if id := a.waiting[n].id; id != 0 {
			ids = append(ids, id)
		}
	}
	if n > 0 {
		a.waiting = a.waiting[n:]
		signal(a.room)
	}
	return ids
}

// reset forgets what a connection left that has ended. What is confirmed later has a
// counter above this one; a log that was rewound may have it begin again below what
// had been confirmed.
func (a *acks) reset(counter int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting, a.confirmed = nil, counter
}

func (a *acks) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// received is what came over the socket.
type received struct {
	data []byte
	// length of what was sent; data is its beginning if that is shorter.
	length int64
}

// session is one connection.
type session struct {
	src  *Source
	emit func(source.Line) error

	counter int64 // of the last event
	events  int   // emitted
	emitErr error // emit's, if that ended the session
	full    atomic.Bool
}

var errSilent = errors.New("no answer to a ping")

// run connects and emits until the connection ends.
func (ses *session) run(ctx context.Context) error {
	s := ses.src
	conn, err := ses.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway

	frames := make(chan received, s.cfg.BufferFrames)
	s.mu.Lock()
	s.frames = frames
	s.status.Connected = true
	s.status.Connects++
	s.mu.Unlock()

	// Unlike elsewhere, what has been read is not emitted when the connection ends:
	// it could not be acknowledged, and comes again.
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ses.read(gctx, conn, frames) })
	g.Go(func() error { return ses.acknowledge(gctx, conn) })
	g.Go(func() error { return ses.watch(gctx, conn) })
	g.Go(func() error { return ses.emitAll(gctx, frames) })
	return g.Wait()
}

func (ses *session) dial(ctx context.Context) (*websocket.Conn, error) {
	s := ses.src
	s.mu.Lock()
	s.status.Host = s.url.Host
	s.mu.Unlock()
	h := http.Header{"User-Agent": {s.cfg.UserAgent}}
	if s.user != nil {
		password, _ := s.user.Password()
		req := http.Request{Header: h}
		req.SetBasicAuth(s.user.Username(), password)
	}
	dctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(dctx, s.url.String(), &websocket.DialOptions{HTTPClient: s.cfg.HTTP, HTTPHeader: h})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // what could be read is shown
			return nil, &statusError{code: resp.StatusCode, host: s.url.Host, body: string(body)}
		}
		return nil, fmt.Errorf("connection to %s: %w", s.url.Host, err)
	}
	// Frames that are too large are cut here, by read: the library would drop the
	// connection, and the same frame would come again.
	conn.SetReadLimit(-1)
	s.cfg.Log.Info().Str("host", s.url.Host).Msg("Tap connected")
	return conn, nil
}

// maxSkip bounds how much of a frame that is too large is read only to get to its
// end.
const maxSkip = 1 << 30

func (ses *session) read(ctx context.Context, conn *websocket.Conn, frames chan<- received) error {
	s := ses.src
	for {
		_, r, err := conn.Reader(ctx)
		if err != nil {
			return fmt.Errorf("read from %s: %w", s.url.Host, err)
		}
		data, err := io.ReadAll(io.LimitReader(r, int64(s.cfg.MaxFrame)))
		if err != nil {
			return fmt.Errorf("read from %s: %w", s.url.Host, err)
		}
		f := received{data: data, length: int64(len(data))}
		skipped, err := io.Copy(io.Discard, io.LimitReader(r, maxSkip))
		f.length += skipped
		switch {
		case err != nil:
			return fmt.Errorf("read from %s: %w", s.url.Host, err)
		case skipped == maxSkip:
			return fmt.Errorf("read from %s: frame of more than %d bytes", s.url.Host, maxSkip)
		}
		s.bytes.Add(f.length)
		ses.full.Store(true)
		select {
		case frames <- f:
			ses.full.Store(false)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (ses *session) emitAll(ctx context.Context, frames <-chan received) error {
	s := ses.src
	for {
		var f received
		select {
		case f = <-frames:
		case <-ctx.Done():
			return ctx.Err()
		}
		var id uint64
		var lines []source.Line
		if f.length > int64(len(f.data)) {
			// Its id stands at the beginning, as Tap writes it.
			id = leadingID(f.data)
			lines = []source.Line{reject(f.data, stream.ReasonTooLarge, fmt.Sprintf("frame of %d bytes, more than %d", f.length, len(f.data)))}
		} else {
			id, lines = parse(f.data, time.Now())
		}
		if err := s.acks.add(ctx, ack{ses.counter + 1, id}); err != nil {
			return err
		}
		ses.counter++
		lines[len(lines)-1].Cursor = stream.Cursor{Value: ses.counter, Host: s.url.Host}
		for _, line := range lines {
			if ses.emitErr = ses.emit(line); ses.emitErr != nil {
				return ses.emitErr
			}
		}
		ses.events++
	}
}

// leadingID reads the id of a frame that has been cut.
func leadingID(data []byte) uint64 {
	rest, ok := strings.CutPrefix(string(data[:min(len(data), 64)]), `{"id":`)
	end := strings.IndexByte(rest, ',')
	if !ok || end < 0 {
		return 0
	}
	n, err := strconv.ParseUint(rest[:end], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// acknowledge tells Tap what is on the log.
func (ses *session) acknowledge(ctx context.Context, conn *websocket.Conn) error {
	s := ses.src
	for {
		for _, id := range s.acks.take() {
			msg := strconv.AppendUint([]byte(`{"type":"ack","id":`), id, 10)
			wctx, cancel := context.WithTimeout(ctx, s.cfg.AckTimeout)
			err := conn.Write(wctx, websocket.MessageText, append(msg, '}'))
			cancel()
			if err != nil {
				return fmt.Errorf("acknowledgement to %s: %w", s.url.Host, err)
			}
		}
		select {
		case <-s.acks.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch ends a connection that does not answer pings. While we do not read, the
// answer cannot be seen, and that is no sign.
func (ses *session) watch(ctx context.Context, conn *websocket.Conn) error {
	ping := time.NewTicker(ses.src.cfg.PingEvery)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ping.C:
		}
		if ses.full.Load() {
			continue
		}
		before := ses.src.bytes.Load()
		pctx, cancel := context.WithTimeout(ctx, ses.src.cfg.PingEvery)
		err := conn.Ping(pctx)
		cancel()
		if err != nil && ctx.Err() == nil && !ses.full.Load() && ses.src.bytes.Load() == before {
			return errSilent
		}
	}
}
