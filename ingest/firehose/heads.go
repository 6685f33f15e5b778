package firehose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/jackc/pgx/v5"

	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
)

// memory keeps the heads of repositories with checked commits in Postgres, as of a
// frame. After a restart reading begins behind that frame, if need be earlier than
// the cursor says: what a head was is known of that moment only.
type memory struct {
	src *Source
	q   *queries.Queries

	// What has changed since the last save. Of the loop that delivers.
	dirty map[syntax.DID]head
	gone  map[syntax.DID]struct{}
	last  time.Time
	work  chan save // to the saver; capacity 1
}

// save is what is to be stored at once.
type save struct {
	heads map[syntax.DID]head
	gone  map[syntax.DID]struct{}
	at    stream.Cursor
}

func newMemory(s *Source) *memory {
	return &memory{src: s, q: queries.New(), dirty: map[syntax.DID]head{}, gone: map[syntax.DID]struct{}{},
		last: time.Now(), work: make(chan save, 1)}
}

// load has a chain find what is remembered, and says where to read on: at the
// cursor, or earlier.
func (m *memory) load(ctx context.Context, c *chain, from stream.Cursor) (stream.Cursor, error) {
	pool := m.src.cfg.Pool
	// That is a question for each account of the network, once; it takes some 100 µs.
	c.find = func(did syntax.DID) (head, bool) {
		r, err := m.q.HeadOf(ctx, pool, string(did))
		if err != nil {
			return head{}, false // unknown, as if it had never been here
		}
		data, err := cid.Decode(r.Data)
		return head{rev: r.Rev, data: data, loaded: true}, err == nil
	}
	at, err := m.q.HeadsAt(ctx, pool, m.src.cfg.Name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return from, nil
	case err != nil:
		return from, fmt.Errorf("read where repositories stood: %w", err)
	case at.Host != from.Host:
		// Another host's numbers; but where repositories stood is the same for all.
	case at.Seq < from.Value:
		from.Value = at.Seq
	}
	return from, nil
}

// note takes what a frame did to a repository.
func (m *memory) note(did syntax.DID, h head, known bool) {
	if !known {
		delete(m.dirty, did)
		m.gone[did] = struct{}{}
		return
	}
	delete(m.gone, did)
	m.dirty[did] = h
}

// due hands over what has changed, now and then, unless the last save is still
// under way: then there is more the next time.
func (m *memory) due(at stream.Cursor) {
	if len(m.dirty)+len(m.gone) == 0 || time.Since(m.last) < m.src.cfg.HeadsEvery {
		return
	}
	select {
	case m.work <- save{m.dirty, m.gone, at}:
		m.dirty, m.gone, m.last = map[syntax.DID]head{}, map[syntax.DID]struct{}{}, time.Now()
	default:
	}
}

// run stores what is handed over, until ctx is done. What cannot be stored is tried
// again, and the loop that delivers goes on: at worst a restart reads more.
func (m *memory) run(ctx context.Context) {
	for {
		select {
		case s := <-m.work:
			for {
				err := m.store(ctx, s)
				if err == nil || ctx.Err() != nil {
					break
				}
				m.src.cfg.Log.Warn().Err(err).Msg("where repositories stand could not be stored; trying again")
				if !retry.Sleep(ctx, m.src.cfg.HeadsEvery) {
					return
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// finish stores what is left when reading has ended and run has, too.
func (m *memory) finish(ctx context.Context, at stream.Cursor) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
	defer cancel()
	all := save{m.dirty, m.gone, at}
	select {
	case before := <-m.work:
		for did, h := range before.heads {
			if _, again := all.gone[did]; !again {
				if _, newer := all.heads[did]; !newer {
					all.heads[did] = h
				}
			}
		}
		for did := range before.gone {
			if _, back := all.heads[did]; !back {
				all.gone[did] = struct{}{}
			}
		}
	default:
	}
	if len(all.heads)+len(all.gone) == 0 {
		return
	}
	if err := m.store(ctx, all); err != nil {
		m.src.cfg.Log.Warn().Err(err).Msg("where repositories stand could not be stored; a restart reads more")
	}
}

// lastSave bounds the save at the end: what is not stored is only read again.
const lastSave = 5 * time.Second

func (m *memory) store(ctx context.Context, s save) error {
	var put queries.PutHeadsParams
	for did, h := range s.heads {
		put.Dids, put.Revs, put.Data = append(put.Dids, string(did)), append(put.Revs, h.rev), append(put.Data, h.data.String())
	}
	var gone []string
	for did := range s.gone {
		gone = append(gone, string(did))
	}
	return pgx.BeginFunc(ctx, m.src.cfg.Pool, func(tx pgx.Tx) error {
		// All or nothing, but not at once on disk: a crash of Postgres takes heads and
		// their place back together.
		if _, err := tx.Exec(ctx, "set local synchronous_commit = off"); err != nil {
			return err
		}
		if len(put.Dids) > 0 {
			if err := m.q.PutHeads(ctx, tx, put); err != nil {
				return err
			}
		}
		if len(gone) > 0 {
			if err := m.q.DropHeads(ctx, tx, gone); err != nil {
				return err
			}
		}
		return m.q.PutHeadsAt(ctx, tx, queries.PutHeadsAtParams{Source: m.src.cfg.Name, Host: s.at.Host, Seq: s.at.Value})
	})
}
