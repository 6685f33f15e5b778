package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

// Config is what an [Index] needs. Zero values take the defaults.
type Config struct {
	Pool *pgxpool.Pool
	// Log is the live lane, and Backfill, if it is not nil, the lane of repositories
	// that are read whole. Both have as many partitions.
	Log      *stream.Log
	Backfill *stream.Log
	Catalog  *schema.Catalog
	Logger   zerolog.Logger

	// AskSeen has the repository of each account read whole that writes its first
	// record, and AskLinked those of accounts that records link to. Somebody has to
	// do it: see package backfill.
	AskSeen, AskLinked bool

	// BatchSize is the most events in one transaction. Defaults to 1000: the cost
	// of a transaction is spread thin by then, and what a crash repeats is little.
	BatchSize int
	// BackfillBatch is the same for the backfill lane. Defaults to 1000: a live event
	// waits for one such transaction at most, some 50 ms, and a record takes a sixth
	// less of the processors than with 500. 2000 would save a tenth more, and hold
	// twice the memory where records are long.
	BackfillBatch int
	// Writers is how many transactions run at a time. Defaults to the number of
	// processors, at least 2: more only wait, for a processor or for each other's
	// link counts, and batches grow while they do.
	Writers int
	// Linger is how long a batch waits for more once it has an event. Defaults to
	// 5 ms, which no reader notices and which halves the transactions of a stream
	// of a few hundred events a second.
	Linger time.Duration
	// CommitTimeout bounds one transaction. Defaults to 2 minutes: hiding an
	// account with a million records takes a while.
	CommitTimeout time.Duration
	// LeaseInterval is how often partitions are shared out among the index
	// processes. Defaults to 3 s.
	LeaseInterval time.Duration
	// KeepFolded is how long folded events stay in the log, for consumers of one's
	// own and for a Postgres that comes back from a crash. Defaults to 10 minutes.
	KeepFolded time.Duration
	// TrimInterval is how often the log is trimmed. Defaults to 15 s.
	TrimInterval time.Duration
}

func (c *Config) defaults() error {
	if c.Pool == nil || c.Log == nil || c.Catalog == nil {
		return errors.New("index configuration: Pool, Log and Catalog are required")
	}
	if c.Backfill != nil && c.Backfill.Partitions() != c.Log.Partitions() {
		return fmt.Errorf("index configuration: the log has %d partitions and the backfill lane %d; a repository must be in the same one of both",
			c.Log.Partitions(), c.Backfill.Partitions())
	}
	c.BatchSize = cmp.Or(c.BatchSize, 1000)
	c.BackfillBatch = cmp.Or(c.BackfillBatch, 1000)
	c.Writers = cmp.Or(c.Writers, max(2, runtime.NumCPU()))
	c.Linger = cmp.Or(c.Linger, 5*time.Millisecond)
	c.CommitTimeout = cmp.Or(c.CommitTimeout, 2*time.Minute)
	c.LeaseInterval = cmp.Or(c.LeaseInterval, 3*time.Second)
	c.KeepFolded = cmp.Or(c.KeepFolded, 10*time.Minute)
	c.TrimInterval = cmp.Or(c.TrimInterval, 15*time.Second)
	return nil
}

// Index runs a worker for each partition that is this process's.
type Index struct {
	cfg    Config
	folder *folder
	write  chan struct{} // a token for each writer
	bulk   chan struct{} // a token for each writer of the backfill lane

	mu     sync.Mutex
	places map[place]*progress
	change chan struct{} // closed and made anew when a partition moves
	total  Folded
	busy   time.Duration // in transactions, over all partitions
}

// The lanes of the log.
const (
	LaneLive     = "live"
	LaneBackfill = "backfill"
)

// place is a partition of a lane.
type place struct {
	lane      string
	partition int
}

// progress of one partition that this process works on.
type progress struct {
	seq     uint64
	movedAt time.Time // when seq was reached
	trimmed uint64    // what the log was last told to trim to
	eventAt time.Time // when the log stored the last folded event
	history []mark
}

// mark remembers when a position was reached, for trimming.
type mark struct {
	seq uint64
	at  time.Time
}

// New makes an Index. The tables must be up to the catalog, see [Migrate].
func New(cfg Config) (*Index, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	f := newFolder(cfg.Catalog)
	f.seen, f.linked = cfg.AskSeen, cfg.AskLinked
	return &Index{
		cfg:    cfg,
		folder: f,
		write:  make(chan struct{}, cfg.Writers),
		bulk:   make(chan struct{}, max(1, cfg.Writers-1)),
		places: map[place]*progress{},
		change: make(chan struct{}),
	}, nil
}

// The advisory locks, in one class of their own: see pg_advisory_lock(int, int).
const (
	lockClass  = 0x61747677 // "atvw"
	lockMember = -1         // shared by each index process; exclusive to change tables
)

// Run folds until ctx ends, then finishes the batches that were begun. It takes
// its share of the partitions, more when another process dies, fewer when one
// joins.
//
// A partition's lease is a Postgres advisory lock: it ends with the session that
// holds it, so a dead process needs no timeout of ours. Should two workers meet
// all the same, the position row lets one through.
func (ix *Index) Run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		began := time.Now()
		err := ix.lease(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // being told to stop is no failure
		}
		if time.Since(began) > time.Minute {
			attempt = 0
		}
		wait := backoff(attempt)
		ix.cfg.Logger.Warn().Err(err).Dur("retry_in", wait).Msg("lost the leases of all partitions")
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// lease holds partitions and runs their workers until the session with Postgres
// or ctx ends.
func (ix *Index) lease(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, ix.cfg.Pool.Config().ConnConfig.Copy())
	if err != nil {
		return fmt.Errorf("connect for leases: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "select pg_advisory_lock_shared($1, $2)", lockClass, lockMember); err != nil {
		return fmt.Errorf("join the index: %w", err)
	}
	running := map[int]*running{}
	defer func() {
		for _, r := range running {
			r.stop()
		}
		for _, r := range running {
			<-r.done
		}
	}()
	share := time.NewTimer(0)
	defer share.Stop()
	trim := time.NewTicker(ix.cfg.TrimInterval)
	defer trim.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-trim.C:
			ix.trim(ctx)
		case <-share.C:
			if err := ix.share(ctx, conn, running); err != nil {
				return err
			}
			share.Reset(ix.cfg.LeaseInterval)
		}
	}
}

// Running counts the index processes that are at work on a database.
func Running(ctx context.Context, db queries.DBTX) (members int, err error) {
	err = db.QueryRow(ctx, `select count(*) from pg_locks
		where locktype = 'advisory' and classid = $1::bigint::oid and objid = ($2::bigint & 4294967295)::oid and granted
		  and database = (select oid from pg_database where datname = current_database())`, lockClass, lockMember).Scan(&members)
	if err != nil {
		return 0, fmt.Errorf("count the index processes: %w", err)
	}
	return members, nil
}

type running struct {
	stop context.CancelFunc
	done chan struct{}
}

// share takes or gives back partitions, so that each process has as many.
func (ix *Index) share(ctx context.Context, conn *pgx.Conn, running map[int]*running) error {
	members, err := Running(ctx, conn)
	if err != nil {
		return err
	}
	all := ix.cfg.Log.Partitions()
	fair := (all + max(members, 1) - 1) / max(members, 1)
	for p := all - 1; p >= 0 && len(running) > fair; p-- {
		if r := running[p]; r != nil {
			r.stop()
			<-r.done
			delete(running, p)
			ix.dropped(p)
			if _, err := conn.Exec(ctx, "select pg_advisory_unlock($1, $2)", lockClass, p); err != nil {
				return fmt.Errorf("give up partition %d: %w", p, err)
			}
			ix.cfg.Logger.Info().Int("partition", p).Msg("gave up a partition")
		}
	}
	for p := 0; p < all && len(running) < fair; p++ {
		if running[p] != nil {
			continue
		}
		var mine bool
		if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1, $2)", lockClass, p).Scan(&mine); err != nil {
			return fmt.Errorf("take partition %d: %w", p, err)
		}
		if mine {
			running[p] = ix.start(ctx, p)
		}
	}
	return nil
}

// start runs the workers of a partition, one for each lane.
func (ix *Index) start(ctx context.Context, partition int) *running {
	ctx, stop := context.WithCancel(ctx)
	r := &running{stop, make(chan struct{})}
	turn := make(chan struct{}, 1)
	var workers sync.WaitGroup
	for lane, events := range ix.lanes() {
		w := &worker{
			ix: ix, at: place{lane, partition}, events: events, turn: turn,
			log: ix.cfg.Logger.With().Str("lane", lane).Int("partition", partition).Logger(),
		}
		workers.Go(func() { w.run(ctx) })
	}
	go func() {
		defer close(r.done)
		workers.Wait()
	}()
	return r
}

func (ix *Index) lanes() map[string]*stream.Log {
	lanes := map[string]*stream.Log{LaneLive: ix.cfg.Log}
	if ix.cfg.Backfill != nil {
		lanes[LaneBackfill] = ix.cfg.Backfill
	}
	return lanes
}

// trim removes from each lane what was folded long enough ago. When a lane is more
// than half full, long enough is what Postgres needs to bring a commit to its disk.
func (ix *Index) trim(ctx context.Context) {
	for lane, events := range ix.lanes() {
		if err := ix.trimLane(ctx, lane, events); err != nil {
			ix.cfg.Logger.Warn().Err(err).Str("lane", lane).Msg("trim the log")
		}
	}
}

func (ix *Index) trimLane(ctx context.Context, lane string, events *stream.Log) error {
	keep := ix.cfg.KeepFolded
	state, err := events.State(ctx)
	if err != nil {
		return err
	}
	if state.MaxBytes > 0 && state.Bytes > uint64(state.MaxBytes)/2 {
		keep = min(keep, walFlush)
	}
	// What this process remembers to have folded may be more than a Postgres that
	// has crashed since still knows; and while it does not answer, nothing goes.
	positions, err := queries.New().Positions(ctx, ix.cfg.Pool)
	if err != nil {
		return err
	}
	folded := map[place]uint64{}
	for _, p := range positions {
		folded[place{p.Lane, int(p.Partition)}] = uint64(p.Seq)
	}
	var faults []error
	for partition, seq := range ix.trimmable(lane, time.Now().Add(-keep)) {
		faults = append(faults, events.Trim(ctx, partition, min(seq, folded[place{lane, partition}])))
	}
	return errors.Join(faults...)
}

// walFlush is when a commit is on disk for certain, although the fold does not
// wait for it: Postgres writes its WAL at least every three times
// wal_writer_delay, 600 ms by default.
const walFlush = 10 * time.Second

func (ix *Index) trimmable(lane string, before time.Time) map[int]uint64 {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	out := map[int]uint64{}
	for at, prog := range ix.places {
		if at.lane != lane {
			continue
		}
		upTo := prog.trimmed
		for len(prog.history) > 0 && prog.history[0].at.Before(before) {
			upTo = prog.history[0].seq
			prog.history = prog.history[1:]
		}
		// A partition that has come to rest is folded to its end, and must not hold
		// up the others.
		if prog.movedAt.Before(before) {
			upTo = prog.seq
		}
		if upTo != prog.trimmed {
			prog.trimmed, out[at.partition] = upTo, upTo
		}
	}
	return out
}

func (ix *Index) progress(at place) *progress {
	if ix.places[at] == nil {
		ix.places[at] = &progress{}
	}
	return ix.places[at]
}

// moved notes that a partition stands at seq.
func (ix *Index) moved(at place, seq uint64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	p := ix.progress(at)
	p.seq, p.movedAt = seq, time.Now()
	close(ix.change)
	ix.change = make(chan struct{})
}

func (ix *Index) folded(at place, b batch, done Folded, took time.Duration) {
	ix.moved(at, b.last)
	ix.mu.Lock()
	defer ix.mu.Unlock()
	p := ix.progress(at)
	p.eventAt = b.lastAt
	// A mark a second is enough to trim by.
	now := time.Now()
	if n := len(p.history); n == 0 || now.Sub(p.history[n-1].at) > time.Second {
		p.history = append(p.history, mark{b.last, now})
	}
	ix.total.add(done)
	ix.busy += took
}

func (ix *Index) dropped(partition int) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	delete(ix.places, place{LaneLive, partition})
	delete(ix.places, place{LaneBackfill, partition})
}

// Wait returns when the tables hold all of a lane up to the given position of
// each partition (see [stream.Positions]). The partitions must be this process's.
func (ix *Index) Wait(ctx context.Context, lane string, positions stream.Positions) error {
	for {
		ix.mu.Lock()
		behind, change := false, ix.change
		for p, seq := range positions {
			if held := ix.places[place{lane, p}]; seq > 0 && (held == nil || held.seq < seq) {
				behind = true
			}
		}
		ix.mu.Unlock()
		if !behind {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return fmt.Errorf("wait for the index: %w", ctx.Err())
		}
	}
}

// Status is what this process has folded so far.
type Status struct {
	Folded
	// Busy is the time spent in transactions, over all partitions.
	Busy time.Duration
	// Lanes are where the partitions of this process stand.
	Lanes map[string]map[int]Position
}

// Position is where a partition stands.
type Position struct {
	// Seq is the last folded message's sequence number in the log, and EventAt when
	// the log stored it; zero until this process has folded one.
	Seq     uint64
	EventAt time.Time
}

// Status may be called at any time.
func (ix *Index) Status() Status {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	s := Status{Folded: ix.total, Busy: ix.busy, Lanes: map[string]map[int]Position{}}
	for at, prog := range ix.places {
		if s.Lanes[at.lane] == nil {
			s.Lanes[at.lane] = map[int]Position{}
		}
		s.Lanes[at.lane][at.partition] = Position{prog.seq, prog.eventAt}
	}
	return s
}
