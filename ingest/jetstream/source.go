package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/internal/readahead"
	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// Config says which Jetstreams are read, and how.
type Config struct {
	// URLs of servers that stand in for one another (wss://HOST/subscribe). The
	// first is read until it fails, then the next.
	URLs []string
	// Name of the source. Default "jetstream".
	Name string
	// StartCursor is where to begin if the log has no cursor, in microseconds since
	// the Unix epoch. Default: ReplayWindow decides.
	StartCursor int64
	// ReplayWindow is how far back to begin if the log has no cursor. Default 0: with
	// what happens now.
	ReplayWindow time.Duration
	// Plain asks for uncompressed frames: three times the traffic for less work.
	Plain bool
	// Rewind is how much is read again after a disconnect. Default 10 s, which is
	// more than events of one host are out of order by their time.
	Rewind time.Duration
	// RewindOtherHost is the same when another host takes over. Default 60 s: its
	// clock, and how far it is behind the network, are its own.
	RewindOtherHost time.Duration
	// IdleTimeout is how long a connection may bring no event. Default 60 s; the
	// network brings identity and account events every second, whatever the filter.
	IdleTimeout time.Duration
	// PingEvery is how often the server has to answer. Default 20 s.
	PingEvery time.Duration
	// ConnectTimeout bounds the making of a connection. Default 20 s.
	ConnectTimeout time.Duration
	// MinBackoff and MaxBackoff bound the waits between attempts, which double
	// while all hosts fail. Default 1 s and 60 s.
	MinBackoff, MaxBackoff time.Duration
	// BufferFrames and BufferBytes bound what is read and not yet taken by the log.
	// Default 16,384 frames and 32 MiB: half a minute of the whole network.
	BufferFrames int
	BufferBytes  int64
	// UserAgent is what the servers' operators see. Default "atview".
	UserAgent string
	Log       zerolog.Logger
}

func (c *Config) validate() error {
	var faults []error
	if len(c.URLs) == 0 {
		faults = append(faults, errors.New("no URL"))
	}
	for _, s := range c.URLs {
		u, err := url.Parse(s)
		switch {
		case err != nil:
			faults = append(faults, err)
		case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "":
			faults = append(faults, fmt.Errorf("URL %q: want wss://HOST/subscribe", s))
		}
	}
	if c.StartCursor < 0 || c.ReplayWindow < 0 || c.Rewind < 0 || c.RewindOtherHost < 0 {
		faults = append(faults, errors.New("start cursor, replay window and rewinds must not be negative"))
	}
	c.Name = cmp.Or(c.Name, "jetstream")
	c.Rewind = cmp.Or(c.Rewind, 10*time.Second)
	c.RewindOtherHost = cmp.Or(c.RewindOtherHost, 60*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 60*time.Second)
	c.PingEvery = cmp.Or(c.PingEvery, 20*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 20*time.Second)
	c.MinBackoff = cmp.Or(c.MinBackoff, time.Second)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 60*time.Second)
	c.BufferFrames = cmp.Or(c.BufferFrames, 16384)
	c.BufferBytes = cmp.Or(c.BufferBytes, 32<<20)
	c.UserAgent = cmp.Or(c.UserAgent, "atview")
	return errors.Join(faults...)
}

// Source reads one Jetstream at a time. See the package's documentation.
type Source struct {
	cfg         Config
	hosts       []*url.URL
	collections atomic.Pointer[source.Collections]
	refilter    chan struct{} // capacity 1: the collections have changed

	mu     sync.Mutex
	status source.Status
	buf    *readahead.Buffer[frame] // of the session; nil between two

	received atomic.Int64 // bytes
}

var _ source.Source = (*Source)(nil)

// New makes a source. Nothing is connected yet.
func New(cfg Config) (*Source, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("jetstream configuration: %w", err)
	}
	s := &Source{cfg: cfg, refilter: make(chan struct{}, 1)}
	for _, raw := range cfg.URLs {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("jetstream configuration: %w", err)
		}
		s.hosts = append(s.hosts, u)
	}
	s.collections.Store(&source.Collections{})
	return s, nil
}

// Name is [Config.Name]: the same whichever host is read.
func (s *Source) Name() string { return s.cfg.Name }

// SetCollections changes the server's filter, on a running connection too.
func (s *Source) SetCollections(c source.Collections) {
	s.collections.Store(&c)
	select {
	case s.refilter <- struct{}{}:
	default:
	}
}

// Status returns how the connection is.
func (s *Source) Status() source.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Bytes = s.received.Load()
	if s.buf != nil {
		st.Buffered = s.buf.Len()
	}
	return st
}

// Run reads until ctx is done, or until every host has refused the request as
// wrong. See [source.Source].
func (s *Source) Run(ctx context.Context, from stream.Cursor, emit func(source.Line) error) error {
	dec, err := newDecoder()
	if err != nil {
		return err
	}
	defer dec.close()
	pos := position{cursor: from.Value, host: from.Host, log: s.cfg.Log}
	if pos.cursor == 0 {
		pos.cursor = s.cfg.StartCursor
		if pos.cursor == 0 {
			// From here on nothing may be missed, whatever happens before the first event
			// is stored: the beginning is on the log before anything else.
			pos.start(time.Now(), s.cfg.ReplayWindow, s.hosts[0].Host)
			if err := emit(source.Line{Cursor: stream.Cursor{Value: pos.cursor, Host: pos.host}}); err != nil {
				return err
			}
		}
		pos.exact = true // nothing has been read that would have to be read again
	}

	plain := s.cfg.Plain
	refused := make([]error, len(s.hosts)) // why a host will never take us
	served := make([]bool, len(s.hosts))   // it did once
	host, failures := 0, 0
	for i, u := range s.hosts {
		if u.Host == from.Host {
			host = i // where its cursor is exact
		}
	}
	for {
		ses := &session{src: s, url: s.hosts[host], dec: dec, pos: &pos, plain: plain, emit: emit}
		err := ses.run(ctx)
		s.ended(err)
		var status *statusError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case ses.emitErr != nil:
			return ses.emitErr
		case errors.Is(err, errDictionary):
			s.cfg.Log.Warn().Str("host", ses.url.Host).Msg("Jetstream compresses with another dictionary; going on uncompressed")
			plain = true
			continue
		case errors.As(err, &status) && status.permanent(served[host]):
			refused[host] = err
			if !slices.Contains(refused, nil) {
				return errors.Join(refused...)
			}
			s.cfg.Log.Error().Err(err).Str("host", ses.url.Host).Msg("Jetstream refuses the request for good; leaving it out")
		}
		s.cfg.Log.Warn().Err(err).Str("host", ses.url.Host).Int64("cursor", pos.cursor).Msg("Jetstream connection ended")

		served[host] = served[host] || ses.connected
		if ses.frames > 0 {
			failures = 0 // it works, in principle: the same host again
		} else {
			failures++
			host = retry.NextHost(host, refused)
		}
		if n, over := retry.Round(failures, refused); over && !retry.Sleep(ctx, retry.Backoff(n, s.cfg.MinBackoff, s.cfg.MaxBackoff)) {
			return ctx.Err()
		}
	}
}

func (s *Source) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = nil
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
	msg := fmt.Sprintf("%s answers HTTP %d", e.host, e.code)
	if body := strings.TrimSpace(e.body); body != "" {
		msg += fmt.Sprintf(": %q", body)
	}
	return msg
}

// permanent reports whether asking again is of no use. A server that has taken us
// before may answer oddly for a while, but 400 is about the request itself.
func (e *statusError) permanent(served bool) bool {
	switch {
	case e.code == 400:
		return true
	case e.code == 408, e.code == 425, e.code == 429:
		return false
	}
	return 400 < e.code && e.code < 500 && !served
}

// position is how far has been read, as a cursor.
type position struct {
	cursor int64  // microseconds; 0 before the first connection
	host   string // where it was read
	// exact is whether to ask for the cursor itself, without going back.
	exact bool
	// guessed is whether the cursor is the time of our own clock at the first
	// connection, to be replaced by the first event's.
	guessed bool
	// future counts events in a row that are later than the present.
	future int
	warned time.Time // of that
	log    zerolog.Logger
}

// start is for the first start without a cursor: the time of our own clock, less
// window. Without a window that is a guess at the server's, until an event tells
// it.
func (p *position) start(now time.Time, window time.Duration, host string) {
	p.cursor, p.host, p.guessed = now.Add(-window).UnixMicro(), host, window == 0
}

// ask returns the cursor to connect with; 0 asks for what happens from now on.
func (p *position) ask(host string, now time.Time, same, other time.Duration) int64 {
	if p.cursor == 0 {
		return 0
	}
	c := p.cursor
	if n := now.UnixMicro(); c > n {
		p.log.Warn().Int64("cursor", c).Msg("cursor is in the future, which Jetstream takes as no cursor; using the present")
		c = n
	}
	if p.exact {
		return c
	}
	back := same
	if host != p.host {
		back = other
	}
	return max(c-back.Microseconds(), 1)
}

// futureRun is how many events in a row have to be from the future before we take
// it that the server's clock, and not an event, is wrong.
const futureRun = 100

// advance moves the cursor to an event's time.
func (p *position) advance(timeUS int64, host string, now time.Time) {
	p.host, p.exact = host, false
	if timeUS <= 0 {
		return
	}
	if n := now.UnixMicro(); timeUS > n {
		p.future++
		if now.Sub(p.warned) > time.Minute {
			p.warned = now
			p.log.Warn().Int64("time_us", timeUS).Str("host", host).Msg("event from the future does not move the cursor")
		}
		if p.future < futureRun {
			return
		}
		timeUS = n
	} else {
		p.future = 0
	}
	if p.guessed || timeUS > p.cursor {
		p.cursor = timeUS
	}
	p.guessed = false
}
