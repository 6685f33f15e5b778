package jetstreamv2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// Archive reads what one server has sealed. See the package's documentation.
type Archive struct {
	cfg         *Config
	hosts       []*server
	pact        *pact
	collections atomic.Pointer[source.Collections]
	refilter    chan struct{} // capacity 1: the collections have changed

	mu       sync.Mutex
	status   source.Status
	progress Progress

	bytes atomic.Int64
}

var _ source.Source = (*Archive)(nil)

// Progress is how far the archive has been read, in the server's numbers.
type Progress struct {
	// Next is the first number that has not been read, Until the last that is to be.
	// Both are 0 before anything is known.
	Next, Until int64
	// Rows counts events emitted, and Lost blocks given up, since the start.
	Rows, Lost int64
}

// Name is [Config.Name] with "-archive".
func (a *Archive) Name() string { return a.cfg.Name + "-archive" }

// SetCollections says what is read. If it becomes more, all is read anew: which
// part of it is new, a block does not tell.
func (a *Archive) SetCollections(c source.Collections) {
	a.collections.Store(&c)
	select {
	case a.refilter <- struct{}{}:
	default:
	}
}

// Status returns how reading goes. Connects counts plans.
func (a *Archive) Status() source.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := a.status
	st.Bytes = a.bytes.Load()
	return st
}

// Progress is a snapshot; it may be called at any time, from any goroutine.
func (a *Archive) Progress() Progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.progress
}

// span is what is to be read. It is kept in the cursor of the log: Value is next,
// Host has the rest.
type span struct {
	host  string
	next  int64 // the first number that has not been read; 0 for no span
	until int64 // the last one to be
	// of names the collections that it is read for.
	of string
	// all is whether markers are read, too: identity, account and sync events.
	all bool
}

func (s *span) done() bool { return s.next > s.until }

func (s *span) cursor() stream.Cursor {
	q := url.Values{"until": {strconv.FormatInt(s.until, 10)}, "of": {s.of}}
	if s.all {
		q.Set("kinds", "all")
	}
	return stream.Cursor{Value: s.next, Host: s.host + "?" + q.Encode()}
}

// restore takes a cursor as made by cursor; of anything else it makes no span.
func restore(c stream.Cursor) span {
	u, err := url.Parse("//" + c.Host)
	if err != nil || c.Value <= 0 || c.Value > timeCursors {
		return span{}
	}
	q := u.Query()
	until, err := strconv.ParseInt(q.Get("until"), 10, 64)
	if err != nil || until < 0 || until >= timeCursors {
		return span{}
	}
	return span{host: u.Host, next: c.Value, until: until, of: q.Get("of"), all: q.Get("kinds") == "all"}
}

// Run reads from the cursor on. See [source.Source] and [Config.Once]. Without
// Once, and without a cursor, it begins when Live has begun.
func (a *Archive) Run(ctx context.Context, from stream.Cursor, emit func(source.Line) error) error {
	defer a.pact.start()()
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(a.cfg.Downloads),
		zstd.WithDecoderMaxMemory(uint64(a.cfg.MaxDecoded))) // a few bytes can claim to be gigabytes
	if err != nil {
		return fmt.Errorf("zstd decoder: %w", err)
	}
	defer dec.Close()
	select {
	case <-a.refilter: // the present collections are those we read
	default:
	}
	r := &archiveRun{Archive: a, emit: emit, zstd: dec, span: restore(from), given: make(map[unit]*loss), refused: make([]error, len(a.hosts))}
	if r.span.next != 0 && r.server() == nil {
		a.cfg.Log.Warn().Str("host", r.span.host).Msg("Jetstream whose archive was read is given no more; reading another one's from its beginning")
		r.span = span{}
	}
	return r.loop(ctx)
}

// archiveRun is one call of Run.
type archiveRun struct {
	*Archive
	emit func(source.Line) error
	zstd *zstd.Decoder
	span span
	// have is what the span is read for, once that is known of this run.
	have *source.Collections

	host    int     // index of the one to ask for a new span
	refused []error // why a host will never take us

	pending *request // to be answered when a span has been pinned

	failures int // in a row
	// Units that cannot be downloaded: how often the present one has failed, and
	// those that are given up.
	stuck    unit
	stuckFor int
	given    map[unit]*loss
}

// server returns the one that the span is of; nil if there is none.
func (r *archiveRun) server() *server {
	for _, h := range r.hosts {
		if h.host() == r.span.host {
			return h
		}
	}
	return nil
}

var (
	// errAsked interrupts reading: Live waits, or other collections are wanted.
	errAsked = errors.New("asked for something else")
)

func (r *archiveRun) loop(ctx context.Context) error {
	for {
		err := r.step(ctx)
		emitted, ended := errors.AsType[*emitError](err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case ended:
			return emitted.err
		case errors.Is(err, errEnd):
			return nil
		case err == nil, errors.Is(err, errAsked):
			r.failures = 0
			continue
		}
		r.failed(err)
		wait := time.Duration(0)
		if refusal, ok := errors.AsType[*statusError](err); ok {
			wait = refusal.retryAfter
			if refusal.permanent(r.span.next > 0) && (refusal.method == "planSnapshot" || refusal.code == http.StatusUnauthorized || refusal.code == http.StatusForbidden) {
				r.refused[r.host] = err
				if r.span.next > 0 || !slices.Contains(r.refused, nil) {
					return err
				}
				r.cfg.Log.Error().Err(err).Msg("Jetstream refuses its archive for good; leaving it out")
			}
		}
		if r.span.next == 0 {
			r.host = retry.NextHost(r.host, r.refused)
		}
		r.cfg.Log.Warn().Err(err).Int64("next", r.span.next).Msg("reading Jetstream's archive stopped; trying again")
		if !retry.Sleep(ctx, max(wait, retry.Backoff(r.failures, r.cfg.MinBackoff, r.cfg.MaxBackoff))) {
			return ctx.Err()
		}
		r.failures++
	}
}

var errEnd = errors.New("archive has been read")

// emitError is an error of emit, which ends Run.
type emitError struct{ err error }

func (e *emitError) Error() string { return e.err.Error() }

// step does the next thing that is to be done.
func (r *archiveRun) step(ctx context.Context) error {
	wants := *r.collections.Load()
	if r.have != nil && within(wants, *r.have) && r.span.of != digest(wants) {
		r.span.of, r.have = digest(wants), &wants // less than before: nothing to read anew
	}
	switch {
	case r.pending != nil:
		return r.serve(ctx, r.pending)
	case r.span.next == 0 && !r.cfg.Once && r.pact.begun() == "":
		return r.wait(ctx)
	case r.span.next == 0:
		// If Live has begun, the log has lost the cursor since. What was sealed then is
		// sealed now.
		return r.pin(ctx, span{host: r.pact.begun(), next: 1})
	case r.span.of != digest(wants):
		r.cfg.Log.Info().Msg("other collections are wanted of Jetstream's archive; reading it from its beginning")
		return r.pin(ctx, span{host: r.span.host, next: 1, all: r.span.all})
	case !r.span.done():
		r.have = &wants
		return r.page(ctx, wants)
	case r.cfg.Once:
		return errEnd
	}
	r.have = &wants
	return r.wait(ctx)
}

// wait waits until there is something to do.
func (r *archiveRun) wait(ctx context.Context) error {
	r.connected(false)
	select {
	case req := <-r.pact.requests:
		r.asked(&req)
	case <-r.refilter:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// asked takes a request of Live. It answers at once if nothing has to be pinned for
// it, and reports that.
func (r *archiveRun) asked(req *request) (answered bool) {
	switch n := req.need; {
	case n.gap && r.span.next != 0 && n.host != r.span.host && !r.span.done():
		req.answer <- answer{err: errNoArchive}
		return true
	case r.span.next != 0 && n.seq != 0 && !n.gap:
		// It had begun where a span of this archive ends, or before.
		req.answer <- answer{begin: begin{keep: true}}
		return true
	}
	r.pending = req
	return false
}

// serve pins a span for Live, and answers.
func (r *archiveRun) serve(ctx context.Context, req *request) error {
	n := req.need
	s := span{host: r.span.host, next: r.span.next, all: r.span.all}
	switch {
	case s.next == 0:
		s.host, s.next = n.host, 1
	case r.span.done() && n.gap:
		s = span{host: n.host, next: max(n.seq-r.cfg.RewindSeqs, 1), all: true}
	case n.gap:
		// Also the rest of what is being read is read with the markers.
		s.all = true
	case r.span.done():
		s.all = true // Live has lost its place, nobody knows since when
	}
	if r.span.of != digest(*r.collections.Load()) {
		s.next = 1
	}
	if err := r.pin(ctx, s); err != nil {
		return err
	}
	r.pending = nil
	a := answer{begin: begin{host: r.span.host, seq: r.span.until}}
	if !n.gap && n.host == r.span.host && n.seq != 0 && n.seq <= r.span.until {
		a.begin = begin{keep: true}
	}
	req.answer <- a
	return nil
}

// pin asks for the present tip, makes it the span's end, and has that stored. A
// span without host, or with one that is not given, takes the next one.
func (r *archiveRun) pin(ctx context.Context, s span) error {
	srv := r.hosts[r.host]
	for i, h := range r.hosts {
		if h.host() == s.host && r.refused[i] == nil && (r.span.next != 0 || r.failures == 0) {
			srv, r.host = h, i
		}
	}
	if s.host != "" && srv.host() != s.host {
		s.next = 1 // its numbers are its own
	}
	wants := *r.collections.Load()
	r.connecting(srv)
	// Only the tip is asked for: what the page has is not read, so let it be short.
	p, err := srv.plan(ctx, planRequest{Kinds: []string{"commit"}, Collections: []string{nothing}})
	if err != nil {
		return err
	}
	s.host, s.until, s.of = srv.host(), p.SealedTip, digest(wants)
	if s.until < s.next-1 {
		s.next = s.until + 1 // the server has less than it had
	}
	if err := r.emit(source.Line{Cursor: s.cursor()}); err != nil {
		return &emitError{err}
	}
	r.span, r.have = s, &wants
	clear(r.given)
	r.moved(0)
	r.cfg.Log.Info().Str("host", s.host).Int64("from", s.next).Int64("until", s.until).Bool("markers", s.all).Msg("reading Jetstream's archive")
	return nil
}

// page reads the next page of the plan, and moves the span behind it.
func (r *archiveRun) page(ctx context.Context, wants source.Collections) error {
	srv := r.server()
	r.connecting(srv)
	req := planRequest{Collections: wanted(wants), AfterSeq: r.span.next - 1, BeforeSeq: r.span.until}
	if !r.span.all {
		req.Kinds = []string{"commit"}
	}
	p, err := srv.plan(ctx, req)
	if err != nil {
		return err
	}
	if err := r.read(ctx, srv, &p, wants); err != nil {
		return err
	}
	through := min(p.PlannedThrough, r.span.until)
	if p.SealedTip < r.span.until && p.PlannedThrough >= p.SealedTip {
		r.cfg.Log.Error().Str("host", srv.host()).Int64("until", r.span.until).Int64("tip", p.SealedTip).Msg("Jetstream's archive has less than it had; reading ends there")
		through = r.span.until
	}
	r.span.next = max(r.span.next, through+1)
	if err := r.emit(source.Line{Cursor: r.span.cursor()}); err != nil {
		return &emitError{err}
	}
	r.moved(0)
	if r.span.done() {
		r.cfg.Log.Info().Str("host", srv.host()).Int64("until", r.span.until).Int64("rows", r.Progress().Rows).Msg("Jetstream's archive has been read")
	}
	return nil
}

func (a *Archive) connecting(s *server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Host = s.host()
	a.status.Connected = true
	a.status.Connects++
}

func (a *Archive) connected(is bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Connected = is
}

func (a *Archive) failed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Connected = false
	a.status.LastError = err
	a.status.LastErrorTime = time.Now()
}

// moved tells the progress.
func (r *archiveRun) moved(rows int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Next, r.progress.Until = r.span.next, r.span.until
	r.progress.Rows += int64(rows)
}
