package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
)

const (
	// laneName is the lane's in atview.position.
	laneName = "backfill"
	// recoverEvery is how often all repositories are looked through for what they
	// lack: that reads each row.
	recoverEvery = time.Hour
)

// check queues again what has to be read again: at the beginning, when the plan
// changes, and from time to time what was lost.
func (b *Backfill) check(ctx context.Context) error {
	tick := time.NewTicker(b.cfg.CheckEvery)
	defer tick.Stop()
	covered := time.Time{} // when that was checked last
	for {
		if time.Since(covered) > recoverEvery {
			if err := b.persist(ctx, "queue repositories that were read for other collections", func() error { return b.uncovered(ctx) }); err != nil {
				return err
			}
			covered = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.replanned:
			covered = time.Time{}
		case <-tick.C:
			if err := errors.Join(b.lost(ctx), b.returned(ctx)); err != nil && ctx.Err() == nil {
				b.cfg.Log.Warn().Err(err).Msg("look for repositories that have to be read again")
			}
		}
	}
}

// uncovered queues repositories whose snapshot is not of all collections, or older
// than was asked for.
func (b *Backfill) uncovered(ctx context.Context) error {
	p := b.plan.Load()
	if err := b.q.PutCoverage(ctx, b.cfg.Pool, queries.PutCoverageParams{Digest: p.coverage, Collections: p.names}); err != nil {
		return err
	}
	digests, err := b.q.CoveringDigests(ctx, b.cfg.Pool, p.names)
	if err != nil {
		return err
	}
	var all int64
	for {
		// Not all in one transaction, which would have the fold wait.
		const most = 10_000
		n, err := b.q.QueueUncoveredRepos(ctx, b.cfg.Pool, queries.QueueUncoveredReposParams{Digests: digests, Most: most})
		if err != nil {
			return err
		}
		if all += n; n < most {
			break
		}
	}
	if all > 0 {
		b.cfg.Log.Info().Int64("repos", all).Msg("repositories are read again: they lack collections, or are older than asked for")
		notify(b.wake)
	}
	return nil
}

// lost queues repositories whose end mark the fold has passed without finishing
// them: it was lost with the end of the log.
//
// The mark of a repository was stored before its row said published. So whoever
// reads the row, then the end of its partition, and then a position that is not
// before that end, knows that the mark has been folded, or is not there.
func (b *Backfill) lost(ctx context.Context) error {
	var after string
	for {
		const most = 5000
		rows, err := b.q.PublishedRepos(ctx, b.cfg.Pool, queries.PublishedReposParams{
			After: after, OlderSeconds: b.cfg.CheckEvery.Seconds(), Most: most,
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		drained, err := b.drained(ctx)
		if err != nil {
			return err
		}
		arg := queries.QueueLostReposParams{DelaySeconds: b.cfg.MinRetry.Seconds()}
		for _, r := range rows {
			if drained[stream.Partition(syntax.DID(r.Did), len(drained))] {
				arg.Dids = append(arg.Dids, r.Did)
				arg.Claims = append(arg.Claims, r.Claim)
			}
		}
		n, err := b.q.QueueLostRepos(ctx, b.cfg.Pool, arg)
		if err != nil {
			return err
		}
		if n > 0 {
			b.cfg.Log.Warn().Int64("repos", n).Msg("repositories were lost with the end of the backfill lane; reading them again")
			notify(b.wake)
		}
		if len(rows) < most {
			return nil
		}
		after = rows[len(rows)-1].Did
	}
}

// returned queues repositories of accounts that have come back.
func (b *Backfill) returned(ctx context.Context) error {
	n, err := b.q.QueueReturnedRepos(ctx, b.cfg.Pool)
	if n > 0 {
		b.cfg.Log.Info().Int64("repos", n).Msg("accounts have come back; reading their repositories")
		notify(b.wake)
	}
	return err
}

// drained says of each partition of the lane whether all of it is in the tables.
func (b *Backfill) drained(ctx context.Context) ([]bool, error) {
	last := make([]uint64, b.cfg.Lane.Partitions())
	for p := range last {
		var err error
		if last[p], err = b.cfg.Lane.Last(ctx, p); err != nil {
			return nil, fmt.Errorf("end of the backfill lane: %w", err)
		}
	}
	rows, err := b.q.Positions(ctx, b.cfg.Pool)
	if err != nil {
		return nil, fmt.Errorf("positions of the backfill lane: %w", err)
	}
	drained := make([]bool, len(last))
	for _, r := range rows {
		if r.Lane == laneName && int(r.Partition) < len(last) {
			drained[r.Partition] = uint64(r.Seq) >= last[r.Partition]
		}
	}
	return drained, nil
}
