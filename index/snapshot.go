package index

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"

	"github.com/atview/atview/queries"
)

// Why a repository is to be read whole, in atview.repo.
const (
	whySync   = "sync"   // a source said so
	whySeen   = "seen"   // its account was seen for the first time
	whyLinked = "linked" // a record links to it
)

// coverages remembers which collections a repository was read for. There are as
// many as there have been sets of lexicons.
type coverages struct {
	mu   sync.RWMutex
	sets map[string][]string // by digest, sorted
}

func (c *coverages) get(digest string) (nsids []string, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	nsids, ok = c.sets[digest]
	return nsids, ok
}

// covers says whether a repository was read for a collection. What is not known
// was not.
func (c *coverages) covers(digest string, nsid syntax.NSID) bool {
	nsids, _ := c.get(digest)
	_, found := slices.BinarySearch(nsids, string(nsid))
	return found
}

// load reads the coverages that are not known yet.
func (c *coverages) load(ctx context.Context, tx pgx.Tx, q *queries.Queries, digests []string) error {
	var missing []string
	for _, d := range digests {
		if _, ok := c.get(d); !ok && !slices.Contains(missing, d) {
			missing = append(missing, d)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	rows, err := q.Coverages(ctx, tx, missing)
	if err != nil {
		return fmt.Errorf("read coverages: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sets == nil {
		c.sets = map[string][]string{}
	}
	for _, r := range rows {
		slices.Sort(r.Collections)
		c.sets[r.Digest] = r.Collections
	}
	return nil
}

// touch moves the rev of rows that a repository has unchanged, so that the sweep
// knows them.
func (f *folder) touch(ctx context.Context, tx pgx.Tx, tab *table, keys []key, changes map[key]change) error {
	if len(keys) == 0 {
		return nil
	}
	_, rkeys, dids := columnsOf(tab, keys)
	revs := make([]string, len(keys))
	for i, k := range keys {
		revs[i] = string(changes[k].rev)
	}
	tag, err := tx.Exec(ctx, tab.sql.touch, rkeys, dids, revs)
	if err != nil {
		return fmt.Errorf("move revs: %w", err)
	}
	return mustAffect(tag.RowsAffected(), len(keys), "moved")
}

// settleRepos ends snapshots: rows of their collections that are older than the
// snapshot were not in it, so the repository no longer has them. From then on
// commits up to its rev say nothing new, and tombstones up to there are not needed.
func (f *folder) settleRepos(ctx context.Context, tx pgx.Tx, t *tally, read map[string]whole, actors map[string]*actor) (Folded, error) {
	var done Folded
	if len(read) == 0 {
		return done, nil
	}
	var digests []string
	for _, w := range read {
		digests = append(digests, w.coverage)
	}
	if err := f.coverages.load(ctx, tx, f.q, digests); err != nil {
		return done, err
	}
	byCoverage := map[string][]string{}
	for _, did := range sortedKeys(read) {
		w, a := read[did], actors[did]
		// Of a coverage that nobody knows nothing can be concluded, nor of what an account
		// had before it was deleted. Whoever asked finds the repository unfinished, and has
		// it read again.
		if _, known := f.coverages.get(w.coverage); !known || w.rev < a.syncedRev || w.rev <= a.purgedRev {
			continue
		}
		a.read(w.rev)
		byCoverage[w.coverage] = append(byCoverage[w.coverage], did)
		a.syncedRev, a.syncedOf, a.changed = w.rev, w.coverage, true
	}
	if err := f.reactivate(ctx, tx, t, read, actors); err != nil {
		return done, err
	}
	var finish queries.FinishReposParams
	for _, digest := range sortedKeys(byCoverage) {
		dids := byCoverage[digest]
		nsids, _ := f.coverages.get(digest)
		revs := make([]string, len(dids))
		for i, did := range dids {
			revs[i] = string(read[did].rev)
			finish.Coverages = append(finish.Coverages, digest)
			finish.Claims = append(finish.Claims, read[did].claim)
		}
		n, err := f.sweep(ctx, tx, t, nsids, dids, revs)
		if err != nil {
			return done, err
		}
		done.Swept += n
		done.Repos += len(dids)
		finish.Dids, finish.Revs = append(finish.Dids, dids...), append(finish.Revs, revs...)
		err = f.q.DropTombstonesUpTo(ctx, tx, queries.DropTombstonesUpToParams{Dids: dids, Revs: revs, Collections: nsids})
		if err != nil {
			return done, fmt.Errorf("drop tombstones: %w", err)
		}
	}
	if len(finish.Dids) == 0 {
		return done, nil
	}
	return done, f.q.FinishRepos(ctx, tx, finish)
}

// reactivate shows accounts whose PDS gave out their repository after it was heard
// that they are deactivated. When an account moves, its old host says so, by another
// clock than its new host's, and may seem to say it last. What others have decided
// about an account, a PDS cannot undo.
func (f *folder) reactivate(ctx context.Context, tx pgx.Tx, t *tally, read map[string]whole, actors map[string]*actor) error {
	var back []string
	for _, did := range sortedKeys(read) {
		a, asked := actors[did], read[did].asked.UTC().Truncate(time.Microsecond)
		if a.status == statusDeactivated && asked.After(a.account.at) {
			a.status, a.account, a.changed = statusActive, stamp{at: asked}, true
			back = append(back, did)
		}
	}
	if err := f.flip(ctx, tx, t, back, false); err != nil {
		return fmt.Errorf("show accounts: %w", err)
	}
	return nil
}

// sweep removes the rows of repositories that are older than a rev.
func (f *folder) sweep(ctx context.Context, tx pgx.Tx, t *tally, nsids, dids, revs []string) (swept int, err error) {
	older := map[*table]map[key]change{}
	var b pgx.Batch
	for _, tab := range f.tables {
		if _, covered := slices.BinarySearch(nsids, string(tab.NSID)); !covered {
			continue
		}
		b.Queue(tab.sql.older, dids, revs).Query(func(rows pgx.Rows) error {
			var k key
			_, err := pgx.ForEachRow(rows, []any{&k.rkey, &k.did}, func() error {
				if older[tab] == nil {
					older[tab] = map[key]change{}
				}
				older[tab][k] = change{gone: true}
				return nil
			})
			return err
		})
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return 0, fmt.Errorf("find what is gone: %w", err)
	}
	for _, tab := range f.tables {
		changes := older[tab]
		if len(changes) == 0 {
			continue
		}
		keys := sortedKeysOf(changes)
		have, err := f.existing(ctx, tx, tab, keys)
		if err != nil {
			return swept, err
		}
		n, err := f.write(ctx, tx, t, tab, keys, changes, have, nil, "")
		if err != nil {
			return swept, fmt.Errorf("sweep %s: %w", tab.NSID, err)
		}
		swept += n.Deleted
	}
	return swept, nil
}

// linkedDIDs are the accounts that a batch's records link to, other than their
// authors.
func linkedDIDs(b *batch) []string {
	dids := map[string]bool{}
	for _, s := range b.segments {
		for _, changes := range s.changes {
			for k, ch := range changes {
				for _, l := range ch.row.Links {
					if did := linkedDID(l.Target); did != "" && did != k.did {
						dids[did] = true
					}
				}
			}
		}
	}
	return sortedKeys(dids)
}

// linkedDID is the account that a link leads to, "" if to none.
func linkedDID(target string) string {
	did, _, _ := strings.Cut(strings.TrimPrefix(target, "at://"), "/")
	if !strings.HasPrefix(did, "did:plc:") && !strings.HasPrefix(did, "did:web:") {
		return ""
	}
	return did
}

// askForNew has repositories read whole that nobody has asked for before. One
// statement, in order of the DIDs: two workers may ask for the same ones.
func (f *folder) askForNew(ctx context.Context, tx pgx.Tx, seen []string, b *batch) error {
	whys := map[string]string{}
	if f.linked {
		for _, did := range linkedDIDs(b) {
			whys[did] = whyLinked
		}
	}
	if f.seen {
		for _, did := range seen {
			whys[did] = whySeen
		}
	}
	if len(whys) == 0 {
		return nil
	}
	p := queries.QueueNewReposParams{Dids: sortedKeys(whys)}
	for _, did := range p.Dids {
		p.Whys = append(p.Whys, whys[did])
	}
	if _, err := f.q.QueueNewRepos(ctx, tx, p); err != nil {
		return fmt.Errorf("queue new repositories: %w", err)
	}
	return nil
}
