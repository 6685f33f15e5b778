package backfill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/car"
	"github.com/atview/atview/ingest/stream"
)

// sourceName is what rejects of a backfill say where they are from.
const sourceName = "backfill"

// lane is the one publisher that all workers share. Each publishes a repository
// from its first record to its end mark, in order; between those of different
// repositories there is no order to keep. It is safe for concurrent use.
type lane struct {
	log *stream.Log
	zl  zerolog.Logger

	mu sync.Mutex
	// life counts the publishers: a log that lost its end has the next one begin.
	life int
	pub  *stream.Publisher
}

// get returns the publisher, and its life.
func (l *lane) get() (*stream.Publisher, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pub == nil {
		pub, err := l.log.NewPublisher(stream.PublisherConfig{Source: sourceName, Log: &l.zl})
		if err != nil {
			return nil, 0, fmt.Errorf("publisher for the backfill lane: %w", err)
		}
		l.pub = pub
		l.life++
	}
	return l.pub, l.life, nil
}

// current is the life of the publisher that is in use, or was last.
func (l *lane) current() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.life
}

// end ends a publisher. It reports whether it was in use until now.
func (l *lane) end(life int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pub == nil || l.life != life {
		return false
	}
	l.pub.Close()
	l.pub = nil
	l.life++ // what it published is not to be relied on
	return true
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pub != nil {
		l.pub.Close()
		l.pub = nil
	}
}

// earliest is before any repository of this format; see [snapshotTime].
var earliest = time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)

// snapshotTime is the time of a snapshot's events: that of its rev, so that the
// same repository gives the same events. A rev is a time only by convention.
func snapshotTime(rev syntax.TID, now time.Time) int64 {
	at := rev.Time()
	if at.Before(earliest) {
		at = earliest
	}
	if at.After(now) {
		at = now
	}
	return at.UnixMicro()
}

// publish puts a repository on the log, and returns when all of it is stored.
func (b *Backfill) publish(ctx context.Context, pub *stream.Publisher, repo *car.Repo, coverage string, claim int64, asked time.Time) error {
	at := snapshotTime(repo.Rev, time.Now())
	for rec, err := range repo.Records(ctx) {
		if err != nil {
			return fmt.Errorf("read of the repository that was verified: %w", err)
		}
		ev := stream.Event{DID: repo.DID, TimeUS: at, Kind: stream.KindCommit, Commit: &stream.Commit{
			Rev: repo.Rev, Operation: stream.Create, Collection: rec.Collection, RKey: rec.RKey,
			CID: rec.CID.String(), Record: rec.JSON, Snapshot: true,
		}}
		if rec.Err != nil {
			why := &stream.InvalidError{Reason: rejectReason(rec), Detail: fmt.Sprintf("at://%s/%s (%s): %v", repo.DID, rec.Key, rec.CID, rec.Err)}
			if err := pub.Reject(ctx, &ev, bytes.Clone(rec.Block), why); err != nil {
				return err
			}
			b.counters.rejects.Add(1)
			continue
		}
		if err := pub.Publish(ctx, &ev, nil); err != nil {
			return err
		}
		b.counters.records.Add(1)
	}
	// Not before all records are stored: of those under way, the log may refuse a
	// long one for lack of room and take a short one behind it. An end mark that
	// came first would have the fold delete what is still to come.
	if _, err := pub.Flush(ctx); err != nil {
		return err
	}
	end := stream.Event{DID: repo.DID, TimeUS: at, Kind: stream.KindSync, Sync: &stream.Sync{
		Rev: repo.Rev, Complete: true, Coverage: coverage, Seq: claim, Time: asked.UTC(),
	}}
	if err := pub.Publish(ctx, &end, nil); err != nil {
		return err
	}
	_, err := pub.Flush(ctx)
	return err
}

func rejectReason(rec car.Record) stream.Reason {
	switch {
	case rec.Collection == "":
		return stream.ReasonCollection
	case rec.RKey == "":
		return stream.ReasonRKey
	}
	return stream.ReasonRecord
}

// withhold publishes that an account is not active, as of when its repository was
// asked for: what it has done since is newer.
func (b *Backfill) withhold(ctx context.Context, pub *stream.Publisher, did syntax.DID, why Reason, asked time.Time) error {
	ev := stream.Event{DID: did, TimeUS: asked.UnixMicro(), Kind: stream.KindAccount, Account: &stream.Account{
		Status: string(why), Time: asked.UTC(),
	}}
	if err := pub.Publish(ctx, &ev, nil); err != nil {
		return err
	}
	_, err := pub.Flush(ctx)
	return err
}

// isLaneEnd reports whether a publisher is of no use any more.
func isLaneEnd(err error) bool {
	return errors.Is(err, stream.ErrRewound) || errors.Is(err, stream.ErrClosed)
}
