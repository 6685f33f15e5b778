package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/atview/atview/queries"
)

// WorkerConfig says how fast a [Worker] works.
type WorkerConfig struct {
	// Cache is the process' own: what it has read lately need not be read again, and
	// what the worker reads it knows. Required.
	Cache *Cache
	// Pool is of the Postgres that has table atview.actor. Required.
	Pool *pgxpool.Pool
	// Concurrency is how many accounts are looked at at once. Default 16: most of the
	// time is spent waiting for DNS and small hosts.
	Concurrency int
	// Rate is how many accounts a second at most. Default 20, which leaves the better
	// part of [ResolverConfig.PLCRate] to those who wait for an answer.
	Rate float64
	// PollEvery is how often to look for what is due, when nothing was. Default 2 s.
	PollEvery time.Duration
	// Timeout bounds the work on an account. Default 1 min: the document, DNS, and the
	// handle's host, each with the resolver's timeout.
	Timeout time.Duration
	// Lease is when what a worker has taken falls to the others, should it die.
	// Default 10 min; it must be longer than Timeout.
	Lease time.Duration
	// MinBackoff and MaxBackoff bound the waits between attempts, which double.
	// Default 1 min and 24 h.
	MinBackoff, MaxBackoff time.Duration
	// NotFoundAttempts is how often a DID that does not exist is asked for before that
	// is final. Default 4, within a quarter of an hour: a mirror of the PLC directory
	// may be behind.
	NotFoundAttempts int
	Log              zerolog.Logger
}

func (c *WorkerConfig) validate() error {
	var faults []error
	if c.Cache == nil {
		faults = append(faults, errors.New("no cache"))
	}
	if c.Pool == nil {
		faults = append(faults, errors.New("no Postgres"))
	}
	if c.Concurrency < 0 || c.Rate < 0 || c.PollEvery < 0 || c.Timeout < 0 || c.Lease < 0 || c.MinBackoff < 0 || c.MaxBackoff < 0 || c.NotFoundAttempts < 0 {
		faults = append(faults, errors.New("limits must not be negative"))
	}
	c.Concurrency = cmp.Or(c.Concurrency, 16)
	c.Rate = cmp.Or(c.Rate, 20)
	c.PollEvery = cmp.Or(c.PollEvery, 2*time.Second)
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	c.Lease = cmp.Or(c.Lease, 10*time.Minute)
	c.MinBackoff = cmp.Or(c.MinBackoff, time.Minute)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 24*time.Hour)
	c.NotFoundAttempts = cmp.Or(c.NotFoundAttempts, 4)
	if c.Lease <= c.Timeout {
		faults = append(faults, errors.New("the lease must be longer than the timeout"))
	}
	return errors.Join(faults...)
}

// Worker looks at the accounts of table atview.actor that are due, and writes what
// it finds. Several may work on one table.
type Worker struct {
	cfg     WorkerConfig
	q       *queries.Queries
	limiter *rate.Limiter

	resolved, invalid, failed, active, due atomic.Int64
}

// WorkerStats is what an operator wants to know of a [Worker].
type WorkerStats struct {
	Resolved int64 // settled for now, since the start
	Invalid  int64 // of those, without a handle that leads back
	Failed   int64 // attempts that will be made again
	Active   int64 // being looked at
	Due      int64 // waiting in the table, of all workers; counted up to 100,000
}

// maxDue bounds the counting of what is due, which reads that many index entries.
const maxDue = 100_000

// dueEvery is how often that is counted.
const dueEvery = 15 * time.Second

// NewWorker makes a worker. It does nothing before Run.
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("identity worker configuration: %w", err)
	}
	return &Worker{cfg: cfg, q: queries.New(), limiter: rate.NewLimiter(rate.Limit(cfg.Rate), cfg.Concurrency)}, nil
}

// Stats is a snapshot; it may be called at any time.
func (w *Worker) Stats() WorkerStats {
	return WorkerStats{
		Resolved: w.resolved.Load(), Invalid: w.invalid.Load(), Failed: w.failed.Load(),
		Active: w.active.Load(), Due: w.due.Load(),
	}
}

// Run works until ctx is done, and returns its error when all that was begun has
// been settled or given back. Postgres being away is waited for.
func (w *Worker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, w.cfg.Concurrency)
	var counted time.Time
	away := false // Postgres
	for {
		if time.Since(counted) > dueEvery {
			counted = time.Now()
			if n, err := w.q.DueIdentities(ctx, w.cfg.Pool, maxDue); err == nil {
				w.due.Store(n)
			}
		}
		// No more is claimed than can be begun: what waits, waits in the table.
		free, err := acquire(ctx, slots)
		if err != nil {
			return err
		}
		rows, err := w.q.ClaimIdentities(ctx, w.cfg.Pool, queries.ClaimIdentitiesParams{
			Most: int32(free), LeaseSeconds: w.cfg.Lease.Seconds(),
		})
		for range free - len(rows) {
			<-slots
		}
		if err != nil && ctx.Err() == nil && !away {
			w.cfg.Log.Warn().Err(err).Msg("identities that are due cannot be read; trying again")
		}
		away = err != nil
		for _, row := range rows {
			w.active.Add(1)
			wg.Go(func() {
				w.settle(ctx, row)
				w.active.Add(-1)
				<-slots
			})
		}
		if len(rows) == 0 {
			timer := time.NewTimer(w.cfg.PollEvery)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
	}
}

// acquire takes one slot, waiting for it, and all others that are free.
func acquire(ctx context.Context, slots chan struct{}) (int, error) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n := 1; ; n++ {
		select {
		case slots <- struct{}{}:
		default:
			return n, nil
		}
	}
}

// settleTimeout bounds the writing of what came of a claim. It outlives Run's ctx:
// otherwise what has been found out would be asked again after the restart.
const settleTimeout = 5 * time.Second

// settle looks at one account and writes what comes of it.
func (w *Worker) settle(ctx context.Context, row queries.ClaimIdentitiesRow) {
	write := w.resolve(ctx, row)
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := write(wctx); err != nil {
		// The claim will run out, and the account be due again.
		w.failed.Add(1)
		w.cfg.Log.Warn().Err(err).Str("did", row.Did).Msg("identity cannot be written")
	}
}

// resolve asks the network, and returns how to write what it says.
func (w *Worker) resolve(ctx context.Context, row queries.ClaimIdentitiesRow) func(context.Context) error {
	release := func(ctx context.Context) error {
		return w.q.ReleaseIdentity(ctx, w.cfg.Pool, queries.ReleaseIdentityParams{Did: row.Did, WantedAt: row.WantedAt, ClaimedUntil: row.ClaimedUntil})
	}
	if w.limiter.Wait(ctx) != nil {
		return release
	}
	rctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()

	did := syntax.DID(row.Did)
	e, err := w.cfg.Cache.since(rctx, did, row.WantedAt.Time)
	finish := queries.FinishIdentityParams{Did: row.Did, ClaimedUntil: row.ClaimedUntil}
	switch {
	case ctx.Err() != nil:
		return release
	case errors.Is(err, ErrNotFound):
		finish.ResolvedAt = timestamp(w.cfg.Cache.now())
		finish.Handle, finish.ResolveError = new(syntax.HandleInvalid.String()), new(reason(err))
		if row.ResolveAttempts < int32(w.cfg.NotFoundAttempts) {
			finish.NextAt = timestamp(w.next(row.ResolveAttempts))
		}
	case errors.Is(err, ErrMethod):
		return w.postpone(row, time.Time{}, err)
	case err != nil:
		return w.postpone(row, w.next(row.ResolveAttempts), err)
	default:
		finish.ResolvedAt, finish.Pds, finish.SigningKey = timestamp(e.id.ResolvedAt), nonEmpty(e.id.PDS), didKey(e.id.Key)
		finish.ResolveError = nonEmpty(e.note)
		handle := syntax.HandleInvalid
		if e.claimed != "" {
			ok, err := w.cfg.Cache.cfg.Resolver.VerifyHandle(rctx, e.claimed, did)
			switch {
			case ctx.Err() != nil:
				return release
			case err != nil:
				finish.NextAt, finish.ResolveError = timestamp(w.next(row.ResolveAttempts)), new(reason(err))
				// The one that stands there may still be good; unless the document, which has
				// been read, claims another.
				if old := syntax.Handle(deref(row.Handle)); old == e.claimed || old == "" {
					handle = ""
				}
			case ok:
				handle = e.claimed
			}
		}
		finish.Handle = nonEmpty(string(handle))
	}
	return func(ctx context.Context) error { return w.finish(ctx, finish) }
}

func (w *Worker) finish(ctx context.Context, p queries.FinishIdentityParams) error {
	if err := w.q.FinishIdentity(ctx, w.cfg.Pool, p); err != nil {
		return err
	}
	if p.NextAt.Valid {
		w.failed.Add(1)
	} else {
		w.resolved.Add(1)
	}
	handle := syntax.Handle(deref(p.Handle))
	switch handle {
	case "":
		return nil
	case syntax.HandleInvalid:
		w.invalid.Add(1)
	default:
		if err := w.q.ContestHandle(ctx, w.cfg.Pool, queries.ContestHandleParams{Did: p.Did, Handle: string(handle)}); err != nil {
			return err
		}
	}
	w.cfg.Cache.verified(syntax.DID(p.Did), handle)
	return nil
}

// postpone writes that nothing was learned, and when to try again, if ever.
func (w *Worker) postpone(row queries.ClaimIdentitiesRow, next time.Time, cause error) func(context.Context) error {
	w.failed.Add(1)
	return func(ctx context.Context) error {
		return w.q.PostponeIdentity(ctx, w.cfg.Pool, queries.PostponeIdentityParams{
			Did: row.Did, ClaimedUntil: row.ClaimedUntil, NextAt: timestamp(next), ResolveError: new(reason(cause)),
		})
	}
}

// next is when attempt n+1 is made: later by a random part, so that accounts of
// one host that was away do not all come back at once.
func (w *Worker) next(n int32) time.Time {
	d := min(w.cfg.MinBackoff<<min(max(n-1, 0), 20), w.cfg.MaxBackoff)
	return w.cfg.Cache.now().Add(d + rand.N(d/4+1))
}

// maxReason bounds what of an error is kept in the table.
const maxReason = 500

// reason is an error's text as Postgres takes it, whatever the network put into it.
func reason(err error) string {
	s := []rune(strings.NewReplacer("\n", "; ", "\x00", "\uFFFD").Replace(err.Error()))
	return string(s[:min(len(s), maxReason)])
}
