package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
)

// worker folds one partition of a lane: it reads, folds a batch in a transaction,
// and reads on. The workers of a partition's lanes take turns; together they are
// the only writers of its repositories.
type worker struct {
	ix     *Index
	at     place
	events *stream.Log
	turn   chan struct{} // a token for the partition
	log    zerolog.Logger
}

// run folds until ctx ends. Whatever fails is tried again from the position that
// Postgres has, which is also where a crash of Postgres goes back to.
func (w *worker) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		progress, err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if progress {
			attempt = 0
		}
		wait := backoff(attempt)
		w.log.Warn().Err(err).Dur("retry_in", wait).Msg("folding stopped; reading the position again")
		if !sleep(ctx, wait) {
			return
		}
	}
}

// session folds from the stored position until something fails.
func (w *worker) session(ctx context.Context) (progress bool, err error) {
	was, err := w.position(ctx)
	if err != nil {
		return false, err
	}
	w.ix.moved(w.at, was)
	reader, err := w.events.Read(ctx, w.at.partition, was)
	if err != nil {
		return false, fmt.Errorf("read the log: %w", err)
	}
	defer reader.Close()
	for {
		messages, err := reader.Next(ctx, w.batchSize(), w.ix.cfg.Linger)
		if errors.Is(err, stream.ErrRewound) {
			return progress, errors.Join(err, w.rewind(ctx, was))
		}
		if err != nil {
			return progress, fmt.Errorf("read the log: %w", err)
		}
		if was, err = w.foldMessages(ctx, was, messages); err != nil {
			return progress, err
		}
		progress = true
	}
}

// position reads where the partition stands. A position in a log that has since
// lost its tail, or is another log, goes back to the log's beginning: all that
// it still has is folded again, which changes nothing that is right.
func (w *worker) position(ctx context.Context) (uint64, error) {
	q := queries.New()
	if err := q.StartPosition(ctx, w.ix.cfg.Pool, queries.StartPositionParams{Lane: w.at.lane, Partition: int32(w.at.partition)}); err != nil {
		return 0, fmt.Errorf("start position: %w", err)
	}
	p, err := q.Position(ctx, w.ix.cfg.Pool, queries.PositionParams{Lane: w.at.lane, Partition: int32(w.at.partition)})
	if err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	seq := uint64(p.Seq)
	if seq == 0 {
		return 0, nil
	}
	at, err := w.events.At(ctx, seq)
	switch {
	case errors.Is(err, stream.ErrNotFound):
	case err != nil:
		return 0, fmt.Errorf("look up position: %w", err)
	case p.MessageAt.Valid && at.Truncate(time.Microsecond).Equal(p.MessageAt.Time.Truncate(time.Microsecond)):
		return seq, nil
	}
	return 0, w.rewind(ctx, seq)
}

func (w *worker) rewind(ctx context.Context, from uint64) error {
	w.log.Warn().Uint64("position", from).Msg("the log is not the one the position was in; folding all that it holds again")
	n, err := queries.New().MovePosition(ctx, w.ix.cfg.Pool, queries.MovePositionParams{
		Lane: w.at.lane, Partition: int32(w.at.partition), Was: int64(from), Seq: 0,
	})
	if err != nil {
		return fmt.Errorf("rewind position: %w", err)
	}
	if n == 0 {
		return errFenced
	}
	return nil
}

// foldMessages folds messages, if need be one by one: a message that Postgres
// refuses is a dead letter and does not hold up the others.
func (w *worker) foldMessages(ctx context.Context, was uint64, messages []stream.Message) (uint64, error) {
	b := decode(w.ix.cfg.Catalog, messages)
	err := w.commit(ctx, was, b)
	if !refused(err) {
		return b.last, err
	}
	if len(messages) > 1 {
		half := len(messages) / 2
		if was, err = w.foldMessages(ctx, was, messages[:half]); err != nil {
			return was, err
		}
		return w.foldMessages(ctx, was, messages[half:])
	}
	m := messages[0]
	w.log.Error().Err(err).Uint64("seq", m.Seq).Msg("event cannot be stored; kept as a dead letter")
	buried := batch{events: 1, last: m.Seq, lastAt: m.Time}
	buried.bury(m, fmt.Errorf("refused by the database: %w", err))
	return m.Seq, w.commit(ctx, was, buried)
}

// refused says whether Postgres refuses what an event holds, as opposed to being
// out of order itself. Class 22 is data, 54 a limit such as an index entry's
// size; see https://www.postgresql.org/docs/current/errcodes-appendix.html.
func refused(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return false
	}
	return pgErr.Code[:2] == "22" || pgErr.Code[:2] == "54"
}

func (w *worker) commit(ctx context.Context, was uint64, b batch) error {
	release, err := w.wait(ctx)
	if err != nil {
		return err
	}
	defer release()
	// A batch that was begun is finished: at shutdown the transaction is given
	// time of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.ix.cfg.CommitTimeout)
	defer cancel()
	began := time.Now()
	var done Folded
	err = pgx.BeginFunc(ctx, w.ix.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, foldSettings); err != nil {
			return err
		}
		var err error
		done, err = w.ix.folder.fold(ctx, tx, w.at, was, b)
		return err
	})
	if err != nil {
		return fmt.Errorf("fold %d events: %w", b.events, err)
	}
	w.ix.folded(w.at, b, done, time.Since(began))
	return nil
}

// foldSettings are for a transaction of the fold, in one round trip.
//
// Position and rows go back together if Postgres crashes before they reach its disk,
// and the log replays: waiting for the disk would buy nothing.
//
// All that the fold asks is by keys that have an index. A plan that is made while a
// table is small reads all of it instead, and is kept while the table grows, up to
// the next ANALYZE: a batch then costs as much as there are rows.
const foldSettings = `set local synchronous_commit = off;
set local enable_seqscan = off;
set local enable_hashjoin = off;
set local enable_mergejoin = off`

// wait returns when the worker may write: it has its partition's turn and is one
// of the writers. The backfill lane may use all writers but one, so that live
// events wait for one batch of it at the most.
func (w *worker) wait(ctx context.Context) (release func(), err error) {
	tokens := []chan struct{}{w.turn, w.ix.write}
	if w.at.lane == LaneBackfill {
		tokens = slices.Insert(tokens, 0, w.ix.bulk)
	}
	var held []chan struct{}
	release = func() {
		for _, token := range held {
			<-token
		}
	}
	for _, token := range tokens {
		select {
		case token <- struct{}{}:
			held = append(held, token)
		case <-ctx.Done():
			release()
			return nil, ctx.Err()
		}
	}
	return release, nil
}

func (w *worker) batchSize() int {
	if w.at.lane == LaneBackfill {
		return w.ix.cfg.BackfillBatch
	}
	return w.ix.cfg.BatchSize
}

// backoff grows from 50 ms to 5 s, with jitter so that the workers of many
// partitions do not come back to an ailing Postgres all at once.
func backoff(attempt int) time.Duration {
	d := 50 * time.Millisecond << min(attempt, 7)
	return min(d, 5*time.Second)/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
