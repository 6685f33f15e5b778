package jetstreamv2

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/internal/readahead"
	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// New makes the two sources of a Jetstream, which share what they know of one
// another. Nothing is connected yet. Archive is of use only with
// [Config.Archive] or [Config.Once].
func New(cfg Config) (*Live, *Archive, error) {
	if err := cfg.validate(); err != nil {
		return nil, nil, fmt.Errorf("jetstream v2 configuration: %w", err)
	}
	var hosts []*server
	for _, raw := range cfg.URLs {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("jetstream v2 configuration: %w", err)
		}
		hosts = append(hosts, &server{url: u, cfg: &cfg})
	}
	p := newPact()
	live := &Live{cfg: &cfg, hosts: hosts, pact: p, refilter: make(chan struct{}, 1)}
	archive := &Archive{cfg: &cfg, hosts: hosts, pact: p, refilter: make(chan struct{}, 1)}
	live.collections.Store(&source.Collections{})
	archive.collections.Store(&source.Collections{})
	return live, archive, nil
}

// Live reads the stream of one server at a time. See the package's
// documentation.
type Live struct {
	cfg         *Config
	hosts       []*server
	pact        *pact
	collections atomic.Pointer[source.Collections]
	refilter    chan struct{} // capacity 1: the collections have changed

	mu     sync.Mutex
	status source.Status
	buf    *readahead.Buffer[received] // of the session; nil between two

	bytes atomic.Int64
	gaps  atomic.Int64
}

var _ source.Source = (*Live)(nil)

// Name is [Config.Name]: the same whichever host is read.
func (s *Live) Name() string { return s.cfg.Name }

// SetCollections changes the server's filter. A connection that stands is made
// anew: this wire cannot change it otherwise.
func (s *Live) SetCollections(c source.Collections) {
	s.collections.Store(&c)
	select {
	case s.refilter <- struct{}{}:
	default:
	}
}

// Status returns how the connection is.
func (s *Live) Status() source.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Bytes = s.bytes.Load()
	if s.buf != nil {
		st.Buffered = s.buf.Len()
	}
	return st
}

// Gaps counts how often the stream went on later than where it had been read, with
// no archive to read what is between.
func (s *Live) Gaps() int64 { return s.gaps.Load() }

// Run reads until ctx is done, or until every host has refused the request as
// wrong. See [source.Source].
func (s *Live) Run(ctx context.Context, from stream.Cursor, emit func(source.Line) error) error {
	r := &liveRun{Live: s, emit: emit, refused: make([]error, len(s.hosts)), served: make([]bool, len(s.hosts))}
	r.pos = position{log: s.cfg.Log}
	r.pos.restore(from)
	if err := r.begin(ctx); err != nil {
		return err
	}
	return r.loop(ctx)
}

// liveRun is one call of Run.
type liveRun struct {
	*Live
	emit    func(source.Line) error
	pos     position
	host    int     // index of the one that is read
	refused []error // why a host will never take us
	served  []bool  // it did once
	tooOld  int     // answers in a row that the cursor is
	plain   bool    // compression has been given up
}

// begin finds out where to begin, and has it stored before anything is read: from
// there on nothing may be missed, whatever happens before the first event is
// stored.
func (r *liveRun) begin(ctx context.Context) error {
	if r.cfg.Archive {
		b, err := r.pact.ask(ctx, need{host: r.pos.host, seq: r.pos.seq})
		switch {
		case errors.Is(err, errNoArchive):
			r.cfg.Log.Warn().Msg("Jetstream's archive is not being read; the live stream begins without it")
		case err != nil:
			return err
		case !b.keep:
			return r.moveTo(b)
		}
	}
	if r.pos.known() {
		return nil
	}
	r.pos.host, r.pos.timeUS = r.hosts[0].host(), time.Now().Add(-r.cfg.ReplayWindow).UnixMicro()
	r.pos.byTime, r.pos.exact = true, true
	return r.emit(source.Line{Cursor: r.pos.cursor()})
}

// moveTo goes on where the archive ends.
func (r *liveRun) moveTo(b begin) error {
	r.pos.host, r.pos.seq, r.pos.byTime, r.pos.exact = b.host, b.seq, false, true
	if r.pos.timeUS == 0 {
		// When the tip was, nobody said. Another host, asked by time, is asked for too
		// much rather than for too little.
		r.pos.timeUS = time.Now().Add(-lookback).UnixMicro()
	}
	return r.emit(source.Line{Cursor: r.pos.cursor()})
}

func (r *liveRun) loop(ctx context.Context) error {
	failures := 0
	for i, h := range r.hosts {
		if h.host() == r.pos.host {
			r.host = i // where its cursor is exact
		}
	}
	for {
		ses := &session{live: r, server: r.hosts[r.host]}
		err := ses.run(ctx)
		r.ended(err)
		var refusal *statusError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case ses.emitErr != nil:
			return ses.emitErr
		case errors.Is(err, errRefilter):
			continue
		case errors.Is(err, errDictionary):
			// The server has another dictionary now. A second time in a row, it does not
			// know itself.
			if again := ses.server.forget(); again && ses.frames == 0 {
				r.cfg.Log.Warn().Str("host", ses.server.host()).Msg("Jetstream compresses with another dictionary than it gives; going on uncompressed")
				r.plain = true
			}
			continue
		case errors.Is(err, errRenumbered):
			r.cfg.Log.Error().Str("host", ses.server.host()).Int64("cursor", r.pos.seq).Msg("Jetstream has begun to count anew; going on by time")
			r.pos.byTime, r.pos.exact = true, false
			continue
		case errors.As(err, &refusal) && refusal.name == "CursorTooOld":
			if err := r.fillGap(ctx, refusal); err != nil {
				return err
			}
			continue
		case errors.As(err, &refusal) && refusal.permanent(r.served[r.host]):
			r.refused[r.host] = err
			if !slices.Contains(r.refused, nil) {
				return errors.Join(r.refused...)
			}
			r.cfg.Log.Error().Err(err).Str("host", ses.server.host()).Msg("Jetstream refuses the request for good; leaving it out")
		}
		r.cfg.Log.Warn().Err(err).Str("host", ses.server.host()).Int64("cursor", r.pos.seq).Msg("Jetstream connection ended")

		r.served[r.host] = r.served[r.host] || ses.connected
		if ses.frames > 0 {
			failures = 0 // it works, in principle: the same host again
		} else {
			failures++
			r.host = retry.NextHost(r.host, r.refused)
		}
		n, over := retry.Round(failures, r.refused)
		if !over {
			continue
		}
		wait := retry.Backoff(n, r.cfg.MinBackoff, r.cfg.MaxBackoff)
		if refusal != nil {
			wait = max(wait, refusal.retryAfter)
		}
		if !retry.Sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// fillGap deals with a cursor that is older than the server looks back: the
// archive has what is between.
func (r *liveRun) fillGap(ctx context.Context, why error) error {
	r.tooOld++
	if r.cfg.Archive && r.tooOld <= r.cfg.MaxGaps {
		r.cfg.Log.Warn().Err(why).Int64("cursor", r.pos.seq).Msg("Jetstream has no more events as old as the cursor; reading them from the archive")
		b, err := r.pact.ask(ctx, need{host: r.hosts[r.host].host(), seq: r.pos.seq, gap: true})
		switch {
		case err == nil:
			return r.moveTo(b)
		case !errors.Is(err, errNoArchive):
			return err
		}
	}
	// Asked by time, the server begins with the oldest that it has, and says so: then
	// it is counted.
	r.cfg.Log.Error().Err(why).Int64("cursor", r.pos.seq).Msg("Jetstream has no more events as old as the cursor, and no archive is read; going on by time")
	r.pos.byTime, r.pos.exact = true, false
	if !retry.Sleep(ctx, retry.Backoff(r.tooOld-1, r.cfg.MinBackoff, r.cfg.MaxBackoff)) {
		return ctx.Err()
	}
	return nil
}

func (s *Live) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = nil
	s.status.Connected = false
	s.status.LastError = err
	s.status.LastErrorTime = time.Now()
}

// timeCursors is where cursors of the wire begin to be microseconds since the
// Unix epoch; what is less is a sequence number.
const timeCursors = 1_000_000_000_000_000

// lookback is how long servers replay from: 36 hours, unless configured otherwise.
const lookback = 36 * time.Hour

// position is how far has been read.
type position struct {
	host   string // which the number belongs to
	seq    int64  // the last; 0 if none is known
	timeUS int64  // the latest time of an event
	// byTime is whether the number is of no use, even on its host.
	byTime bool
	// exact is whether to ask for the position itself, without going back: nothing
	// has been read that would have to be read again.
	exact bool
	log   zerolog.Logger
}

// restore takes a cursor of the log, as made by cursor.
func (p *position) restore(c stream.Cursor) {
	p.host = c.Host
	switch {
	case c.Value == 0:
	case c.Value >= timeCursors:
		p.timeUS, p.byTime = c.Value, true
	default:
		p.seq = c.Value
		if !c.Time.IsZero() {
			p.timeUS = c.Time.UnixMicro()
		}
	}
}

func (p *position) known() bool { return p.seq != 0 || p.byTime }

// cursor returns the position for the log. A number has the time of its event with
// it, for another host.
func (p *position) cursor() stream.Cursor {
	if p.byTime || p.seq == 0 {
		return stream.Cursor{Value: max(p.timeUS, timeCursors), Host: p.host}
	}
	c := stream.Cursor{Value: p.seq, Host: p.host}
	if p.timeUS > 0 {
		c.Time = time.UnixMicro(p.timeUS).UTC()
	}
	return c
}

// ask returns the cursor to connect with: of the number on its own host, of the
// time on another.
func (p *position) ask(host string, now time.Time, seqs int64, other time.Duration) int64 {
	if host == p.host && !p.byTime {
		if p.exact {
			return p.seq
		}
		return max(p.seq-seqs, 1)
	}
	// A time in the future would be taken for no cursor.
	c := min(p.timeUS, now.UnixMicro())
	if !p.exact {
		c -= other.Microseconds()
	}
	return max(c, timeCursors)
}

// advance moves the position to an event. The number goes back only where another
// host, or a new count, has its own: a server that crashed gives numbers twice, and
// the events are new all the same.
func (p *position) advance(f frame, host string) {
	if f.seq == 0 || f.seq >= timeCursors {
		return
	}
	if p.byTime || host != p.host || f.seq > p.seq {
		p.seq = f.seq
	}
	p.host, p.byTime, p.exact = host, false, false
	p.timeUS = max(p.timeUS, f.timeUS)
}
