package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// Config says what a [Runner] runs.
type Config struct {
	// Stream is the log that is written.
	Stream *stream.Log
	// Sources are run side by side, each with a publisher and a cursor of its own.
	// Their names must differ.
	Sources []source.Source
	// Backfill is the backfill lane, and Archives are sources of history that are
	// published there. They end before the others, or not at all.
	Backfill *stream.Log
	Archives []source.Source
	// Collections are those whose commits are published; the zero value publishes
	// all. Identity, account and sync events always are.
	Collections source.Collections
	// MarkEvery is how often a cursor is written while there is progress. Default
	// 1 s: so much is read twice after a crash.
	MarkEvery time.Duration
	// DrainTimeout bounds how long the end of Run waits for the log to confirm what
	// has been read. Default 10 s.
	DrainTimeout time.Duration
	// Window is how many messages of each source may wait for confirmation; see
	// [stream.PublisherConfig].
	Window int
	Log    zerolog.Logger
}

func (c *Config) validate() error {
	var faults []error
	if c.Stream == nil {
		faults = append(faults, errors.New("no log"))
	}
	if len(c.Sources) == 0 {
		faults = append(faults, errors.New("no sources"))
	}
	if len(c.Archives) > 0 && c.Backfill == nil {
		faults = append(faults, errors.New("no backfill lane for archives"))
	}
	names := make(map[string]bool)
	for _, s := range slices.Concat(c.Sources, c.Archives) {
		if names[s.Name()] {
			faults = append(faults, fmt.Errorf("source %s is given twice", s.Name()))
		}
		names[s.Name()] = true
	}
	if c.MarkEvery <= 0 {
		c.MarkEvery = time.Second
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = 10 * time.Second
	}
	return errors.Join(faults...)
}

// Runner runs sources into the log.
type Runner struct {
	cfg         Config
	collections atomic.Pointer[source.Collections]
	lanes       []*lane
}

// New makes a runner. Nothing runs yet.
func New(cfg Config) (*Runner, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("ingest configuration: %w", err)
	}
	r := &Runner{cfg: cfg}
	add := func(s source.Source, to *stream.Log) {
		r.lanes = append(r.lanes, &lane{
			runner:  r,
			src:     s,
			to:      to,
			log:     cfg.Log.With().Str("source", s.Name()).Logger(),
			emitted: make(chan struct{}, 1),
			counts:  newCounts(),
		})
	}
	for _, s := range cfg.Sources {
		add(s, cfg.Stream)
	}
	for _, s := range cfg.Archives {
		add(s, cfg.Backfill)
	}
	r.SetCollections(cfg.Collections)
	return r, nil
}

// SetCollections changes which commits are published from now on. It may be
// called at any time. Of a collection that is new, what came before is not on
// the log: that is a backfill's work.
func (r *Runner) SetCollections(c source.Collections) {
	r.collections.Store(&c)
	for _, l := range r.lanes {
		l.src.SetCollections(c)
	}
}

// Run runs all sources until each is at its end, or one fails for good, or ctx is
// done; the end of ctx is not an error. Before it returns it waits, for
// [Config.DrainTimeout], until what has been read is stored, and stores the
// cursors. To be called once.
func (r *Runner) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, l := range r.lanes {
		g.Go(func() error {
			if err := l.run(gctx); err != nil {
				return fmt.Errorf("source %s: %w", l.src.Name(), err)
			}
			return nil
		})
	}
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// Positions returns, for each partition, the sequence number of the last message
// that this runner has stored of its sources, archives aside. After Run of sources that end, a worker that has
// come to its partition's position has seen everything.
func (r *Runner) Positions() stream.Positions {
	all := make(stream.Positions, r.cfg.Stream.Partitions())
	for _, l := range r.lanes {
		if l.to != r.cfg.Stream {
			continue
		}
		l.mu.Lock()
		for i, seq := range l.positions {
			all[i] = max(all[i], seq)
		}
		l.mu.Unlock()
	}
	return all
}

// lane is one source on its way to the log.
type lane struct {
	runner *Runner
	src    source.Source
	to     *stream.Log
	log    zerolog.Logger
	// emitted says, for a source that wants to know what is stored, that there is
	// more to be stored.
	emitted chan struct{}

	mu        sync.Mutex
	pub       *stream.Publisher // nil before run
	cursor    stream.Cursor     // of what has been published
	marked    stream.Cursor     // the last one handed to the publisher
	positions stream.Positions
	counts    counts
	done      bool
}

// run runs the source until it ends, and again from its last cursor if the log
// lost what had been published.
func (l *lane) run(ctx context.Context) error {
	for {
		err := l.session(ctx)
		if ctx.Err() != nil || !errors.Is(err, stream.ErrRewound) {
			return err
		}
		l.log.Warn().Err(err).Msg("source begins again at its last cursor")
	}
}

func (l *lane) session(ctx context.Context) error {
	pub, err := l.to.NewPublisher(stream.PublisherConfig{
		Source: l.src.Name(),
		Window: l.runner.cfg.Window,
		Log:    &l.runner.cfg.Log,
	})
	if err != nil {
		return err
	}
	defer pub.Close()
	from, err := l.begin(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.pub, l.cursor, l.marked = pub, from, from
	l.mu.Unlock()
	l.log.Info().Int64("cursor", from.Value).Str("host", from.Host).Msg("source starts")

	g, gctx := errgroup.WithContext(ctx)
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		return l.src.Run(gctx, from, func(line source.Line) error { return l.emit(gctx, line) })
	})
	g.Go(func() error {
		tick := time.NewTicker(l.runner.cfg.MarkEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := l.mark(gctx); err != nil {
					return err
				}
			case <-ended:
				return nil
			case <-gctx.Done():
				return nil
			}
		}
	})
	if confirmer, ok := l.src.(source.Confirmer); ok {
		g.Go(func() error { return l.confirm(gctx, confirmer, ended) })
	}
	err = g.Wait()

	if errors.Is(err, stream.ErrRewound) {
		return err
	}
	// What has been read counts, whatever ended the source.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.runner.cfg.DrainTimeout)
	defer cancel()
	if derr := l.drain(drain); derr != nil {
		l.log.Warn().Err(derr).Msg("not everything that was read is stored; it will be read again from the last cursor")
		err = errors.Join(err, derr)
	}
	l.mu.Lock()
	l.done = true
	l.mu.Unlock()
	if err == nil {
		l.log.Info().Msg("source is at its end, and stored")
	}
	return err
}

// confirm tells a source what is stored, until the source has ended. While one
// flush is under way the next gathers, so that confirming costs no throughput.
func (l *lane) confirm(ctx context.Context, src source.Confirmer, ended <-chan struct{}) error {
	for {
		select {
		case <-l.emitted:
		case <-ended:
			return nil
		case <-ctx.Done():
			return nil
		}
		l.mu.Lock()
		c := l.cursor
		l.mu.Unlock()
		if _, err := l.pub.Flush(ctx); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // being told to stop is no failure
			}
			return err
		}
		src.Confirmed(c)
	}
}

// begin returns the source's last cursor, the zero one if it has none. It waits
// for a NATS that does not answer.
func (l *lane) begin(ctx context.Context) (stream.Cursor, error) {
	for said := false; ; said = true {
		c, err := l.to.Cursor(ctx, l.src.Name())
		switch {
		case err == nil, errors.Is(err, stream.ErrNotFound):
			return c, nil
		case ctx.Err() != nil || !noAnswer(err):
			return c, err
		case !said:
			l.log.Warn().Err(err).Msg("NATS does not say where the source stands; asking again")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
}

func noAnswer(err error) bool {
	for _, e := range []error{context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, jetstream.ErrNoStreamResponse} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// emit publishes a line if it is wanted.
func (l *lane) emit(ctx context.Context, line source.Line) error {
	verdict := l.judge(&line)
	var err error
	switch verdict {
	case accepted:
		err = l.pub.Publish(ctx, &line.Event, line.Data)
	case rejected:
		err = l.pub.Reject(ctx, &line.Event, line.Data, line.Err)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.counts.add(&line, verdict)
	if line.Cursor.Value != 0 {
		l.cursor = line.Cursor
	}
	l.mu.Unlock()
	select {
	case l.emitted <- struct{}{}:
	default:
	}
	if verdict != cursorOnly {
		return nil
	}
	// A source that tells its cursor without an event is where it begins. A kill
	// must not make it begin later than that.
	if err := l.mark(ctx); err != nil {
		return err
	}
	_, err = l.pub.Flush(ctx)
	return err
}

func (l *lane) judge(line *source.Line) verdict {
	ev := &line.Event
	switch {
	case line.Err == nil && ev.Kind == "":
		return cursorOnly
	case errors.Is(line.Err, stream.ErrUnknownKind):
		return ignored
	case ev.Commit != nil && ev.Commit.Collection != "" && !l.runner.collections.Load().Want(ev.Commit.Collection):
		return filtered
	case line.Err != nil:
		return rejected
	}
	if line.Err = l.pub.Fits(line.Data); line.Err != nil {
		return rejected
	}
	return accepted
}

// mark hands the cursor to the publisher if it has moved.
func (l *lane) mark(ctx context.Context) error {
	l.mu.Lock()
	c := l.cursor
	moved := c.Value != l.marked.Value || c.Host != l.marked.Host
	l.marked = c
	l.mu.Unlock()
	if !moved {
		return nil
	}
	return l.pub.Mark(ctx, c)
}

func (l *lane) drain(ctx context.Context) error {
	if err := l.mark(ctx); err != nil {
		return err
	}
	positions, err := l.pub.Flush(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.positions = positions
	return nil
}

// Stats is a snapshot of a runner, for metrics and status pages.
type Stats struct {
	Sources []SourceStats
}

// SourceStats is a snapshot of one source. Counts are since the start.
type SourceStats struct {
	Name   string
	Status source.Status
	Log    stream.PublisherStats
	// Events counts what was published, by kind.
	Events map[stream.Kind]int64
	// Collections counts published commits. Beyond 1,000 collections the rest is
	// counted under "other": anybody can invent names.
	Collections map[string]int64
	// Rejects counts what is no event, by reason.
	Rejects map[stream.Reason]int64
	// Filtered counts commits of collections that are not wanted, and Ignored events
	// of an unknown kind.
	Filtered, Ignored int64
	// Bytes counts what was published.
	Bytes int64
	// LastEvent is the time of the newest event, by the source's clock, and Lag how
	// far behind it was when it came; zero before the first.
	LastEvent time.Time
	Lag       time.Duration
	// Cursor is how far the source has been read and handed to the log.
	Cursor stream.Cursor
	// Done says that the source has ended, and all of it is stored or given up.
	Done bool
}

// Stats returns a snapshot. It may be called at any time.
func (r *Runner) Stats() Stats {
	var s Stats
	for _, l := range r.lanes {
		status := l.src.Status()
		l.mu.Lock()
		ss := SourceStats{
			Name:        l.src.Name(),
			Status:      status,
			Events:      maps.Clone(l.counts.events),
			Collections: maps.Clone(l.counts.collections),
			Rejects:     maps.Clone(l.counts.rejects),
			Filtered:    l.counts.filtered,
			Ignored:     l.counts.ignored,
			Bytes:       l.counts.bytes,
			LastEvent:   l.counts.lastEvent,
			Lag:         l.counts.lag,
			Cursor:      l.cursor,
			Done:        l.done,
		}
		if l.pub != nil {
			ss.Log = l.pub.Stats()
		}
		l.mu.Unlock()
		s.Sources = append(s.Sources, ss)
	}
	return s
}

type verdict int

const (
	accepted verdict = iota
	rejected
	filtered
	ignored
	cursorOnly
)

// maxCollections bounds the memory that strangers can take with invented names.
const maxCollections = 1000

type counts struct {
	events            map[stream.Kind]int64
	collections       map[string]int64
	rejects           map[stream.Reason]int64
	filtered, ignored int64
	bytes             int64
	lastEvent         time.Time
	lag               time.Duration
}

func newCounts() counts {
	return counts{
		events:      make(map[stream.Kind]int64),
		collections: make(map[string]int64),
		rejects:     make(map[stream.Reason]int64),
	}
}

func (c *counts) add(line *source.Line, v verdict) {
	switch v {
	case accepted:
		c.events[line.Event.Kind]++
		c.bytes += int64(len(line.Data))
		if commit := line.Event.Commit; commit != nil {
			name := string(commit.Collection)
			if _, ok := c.collections[name]; !ok && len(c.collections) >= maxCollections {
				name = "other"
			}
			c.collections[name]++
		}
	case rejected:
		reason := stream.ReasonJSON
		if bad, ok := errors.AsType[*stream.InvalidError](line.Err); ok {
			reason = bad.Reason
		}
		c.rejects[reason]++
	case filtered:
		c.filtered++
	case ignored:
		c.ignored++
	}
	if t := line.Event.TimeUS; t > 0 {
		at := time.UnixMicro(t)
		c.lag = time.Since(at)
		if at.After(c.lastEvent) {
			c.lastEvent = at
		}
	}
}
