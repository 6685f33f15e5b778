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
	Pool    *pgxpool.Pool
	Log     *stream.Log
	Catalog *schema.Catalog
	Logger  zerolog.Logger

	// BatchSize is the most events in one transaction. Defaults to 1000: the cost
	// of a transaction is spread thin by then, and what a crash repeats is little.
	BatchSize int
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
	c.BatchSize = cmp.Or(c.BatchSize, 1000)
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

	mu        sync.Mutex
	partition map[int]*progress
	change    chan struct{} // closed and made anew when a partition moves
	total     Folded
	busy      time.Duration // in transactions, over all partitions
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
	return &Index{
		cfg:       cfg,
		folder:    newFolder(cfg.Catalog),
		write:     make(chan struct{}, cfg.Writers),
		partition: map[int]*progress{},
		change:    make(chan struct{}),
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

type running struct {
	stop context.CancelFunc
	done chan struct{}
}

// share takes or gives back partitions, so that each process has as many.
func (ix *Index) share(ctx context.Context, conn *pgx.Conn, running map[int]*running) error {
	var members int
	err := conn.QueryRow(ctx, `select count(*) from pg_locks
		where locktype = 'advisory' and classid = $1::bigint::oid and objid = ($2::bigint & 4294967295)::oid and granted
		  and database = (select oid from pg_database where datname = current_database())`, lockClass, lockMember).Scan(&members)
	if err != nil {
		return fmt.Errorf("count the index processes: %w", err)
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

func (ix *Index) start(ctx context.Context, partition int) *running {
	ctx, stop := context.WithCancel(ctx)
	r := &running{stop, make(chan struct{})}
	w := &worker{ix: ix, partition: partition, log: ix.cfg.Logger.With().Int("partition", partition).Logger()}
	go func() {
		defer close(r.done)
		w.run(ctx)
	}()
	return r
}

// trim removes from the log what was folded long enough ago. When the log is
// more than half full, long enough is what Postgres needs to bring a commit to
// its disk.
func (ix *Index) trim(ctx context.Context) {
	keep := ix.cfg.KeepFolded
	state, err := ix.cfg.Log.State(ctx)
	if err != nil {
		ix.cfg.Logger.Warn().Err(err).Msg("trim the log")
		return
	}
	if state.MaxBytes > 0 && state.Bytes > uint64(state.MaxBytes)/2 {
		keep = min(keep, walFlush)
	}
	// What this process remembers to have folded may be more than a Postgres that
	// has crashed since still knows; and while it does not answer, nothing goes.
	positions, err := queries.New().Positions(ctx, ix.cfg.Pool)
	if err != nil {
		ix.cfg.Logger.Warn().Err(err).Msg("trim the log")
		return
	}
	folded := map[int]uint64{}
	for _, p := range positions {
		folded[int(p.Partition)] = uint64(p.Seq)
	}
	for partition, seq := range ix.trimmable(time.Now().Add(-keep)) {
		seq = min(seq, folded[partition])
		if err := ix.cfg.Log.Trim(ctx, partition, seq); err != nil {
			ix.cfg.Logger.Warn().Err(err).Int("partition", partition).Msg("trim the log")
		}
	}
}

// walFlush is when a commit is on disk for certain, although the fold does not
// wait for it: Postgres writes its WAL at least every three times
// wal_writer_delay, 600 ms by default.
const walFlush = 10 * time.Second

func (ix *Index) trimmable(before time.Time) map[int]uint64 {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	out := map[int]uint64{}
	for p, prog := range ix.partition {
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
			prog.trimmed, out[p] = upTo, upTo
		}
	}
	return out
}

func (ix *Index) at(partition int) *progress {
	if ix.partition[partition] == nil {
		ix.partition[partition] = &progress{}
	}
	return ix.partition[partition]
}

// moved notes that a partition stands at seq.
func (ix *Index) moved(partition int, seq uint64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	p := ix.at(partition)
	p.seq, p.movedAt = seq, time.Now()
	close(ix.change)
	ix.change = make(chan struct{})
}

func (ix *Index) folded(partition int, b batch, done Folded, took time.Duration) {
	ix.moved(partition, b.last)
	ix.mu.Lock()
	defer ix.mu.Unlock()
	p := ix.at(partition)
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
	delete(ix.partition, partition)
}

// Wait returns when the tables hold all up to the given position of each
// partition (see [stream.Positions]). The partitions must be this process's.
func (ix *Index) Wait(ctx context.Context, positions stream.Positions) error {
	for {
		ix.mu.Lock()
		behind, change := false, ix.change
		for p, seq := range positions {
			if held := ix.partition[p]; seq > 0 && (held == nil || held.seq < seq) {
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
	// Positions are the stream sequence numbers that the partitions of this
	// process stand at, and EventAt when the log stored those messages.
	Positions map[int]uint64
	EventAt   map[int]time.Time
}

// Status may be called at any time.
func (ix *Index) Status() Status {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	s := Status{Folded: ix.total, Busy: ix.busy, Positions: map[int]uint64{}, EventAt: map[int]time.Time{}}
	for p, prog := range ix.partition {
		s.Positions[p] = prog.seq
		s.EventAt[p] = prog.eventAt
	}
	return s
}
