package index_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest/stream"
)

// TestLanesAreFencedFromEachOther: a process loses its leases in the middle of a batch of the backfill lane, and
// another one takes its partitions and folds the live lane.
func TestLanesAreFencedFromEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, load(t, "../lexicons"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.put(1, like, "old", likeOf("soup", 1))
	w.settle()
	// The batch has written its rows and waits for a count.
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // a second time, when all went well
	if _, err := tx.Exec(ctx, "lock table atview.link_count in exclusive mode"); err != nil {
		t.Fatal(err)
	}
	w.read(alice, rev(5), onlyLikes, part{like, "old", likeOf("soup", 1)}, part{like, "new", likeOf("cake", 1)})
	if _, err := w.bulk.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	w.until(ctx, "select (count(*) > 0)::text from pg_locks l join pg_class c on c.oid = l.relation where c.relname = 'link_count' and not l.granted and l.database = (select oid from pg_database where datname = current_database())", "true")
	// Its lease ends.
	if _, err := w.pool.Exec(ctx, `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and pid <> pg_backend_pid()
		and database = (select oid from pg_database where datname = current_database())`); err != nil {
		t.Fatal(err)
	}
	w.until(ctx, `select (count(*) = 0)::text from pg_locks where locktype = 'advisory' and granted
		and database = (select oid from pg_database where datname = current_database())`, "true")
	pool, err := pgxpool.New(ctx, w.pool.Config().ConnString()) // of a process of its own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	other, err := index.New(index.Config{Pool: pool, Log: w.log, Backfill: w.lane, Catalog: w.cat, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	octx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- other.Run(octx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the other process: %v", err)
		}
	}()
	// An identity event needs no counts; what it says must not be forgotten.
	ev := stream.Event{DID: alice, TimeUS: rev(6).Time().UnixMicro(), Kind: stream.KindIdentity, Identity: &stream.Identity{Handle: "alice.example", Seq: 6, Time: rev(6).Time()}}
	w.feed(ev.AppendJSON(nil))
	live, err := w.pub.Flush(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.until(ctx, "select (count(*) > 1)::text from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()", "true")
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	positions, err := w.bulk.Flush(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(ctx, index.LaneBackfill, positions); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(ctx, index.LaneLive, live); err != nil {
		t.Fatal(err)
	}
	if got := w.one("select coalesce(identity_seq, 0)::text || ' ' || coalesce(synced_rev, '-') from atview.actor"); got != "6 "+string(rev(5)) {
		t.Errorf("actor %q", got)
	}
}

func (w *world) until(ctx context.Context, sql, want string) {
	w.t.Helper()
	for {
		if w.one(sql) == want {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: not %s", sql, want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestLanesFoldedAnew folds histories with gaps, in which either lane is folded anew at any time, snapshots
// are interleaved and lose their marks, and the index is restarted.
func TestLanesFoldedAnew(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	collections := []syntax.NSID{like, review, "com.myrecipes.collection", "app.bsky.graph.follow"}
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 77))
			w := newWorld(t, cat)
			n := &network{history: history{rng: rng, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, repos: map[string]*repo{}, accounts: newModel(cat)}
			for range 6 {
				for range 120 {
					line, account := n.next(t)
					if account || rng.IntN(6) != 0 {
						w.feed(line)
					}
					if rng.IntN(12) == 0 {
						n.readSome(w, collections)
					}
					if rng.IntN(25) == 0 {
						n.mix(w, collections)
					}
				}
				if rng.IntN(2) == 0 {
					w.settle()
				}
				w.stop()
				if lane := rng.IntN(3); lane < 2 {
					if _, err := w.pool.Exec(t.Context(), "update atview.position set seq = 0, message_at = null where lane = $1", []string{"live", "backfill"}[lane]); err != nil {
						t.Fatal(err)
					}
				}
				w.start()
			}
			w.settle()
			for _, did := range n.dids() {
				r := n.repos[did]
				w.read(syntax.DID(did), r.head, collections, r.parts()...)
			}
			w.settle()
			want, got := n.lines(t, cat), w.modelLines()
			sameText(t, "after all", withoutRevs(want), withoutRevs(got))
			w.stop()
			if _, err := w.pool.Exec(t.Context(), "update atview.position set seq = 0, message_at = null"); err != nil {
				t.Fatal(err)
			}
			w.start()
			w.settle()
			sameText(t, "folded anew", withoutRevs(want), withoutRevs(w.modelLines()))
		})
	}
}

// mix publishes two snapshots of a repository at once, and may lose their marks.
func (n *network) mix(w *world, collections []syntax.NSID) {
	w.t.Helper()
	dids := n.dids()
	did := dids[n.rng.IntN(len(dids))]
	r := n.repos[did]
	if len(r.past) == 0 {
		return
	}
	lines := func(s snapshot) [][]byte {
		var out [][]byte
		for _, p := range s.parts {
			out = append(out, commitEvent(syntax.DID(did), s.rev, p.collection, p.rkey, p.record, true))
		}
		if n.rng.IntN(3) == 0 {
			return out
		}
		end := stream.Event{DID: syntax.DID(did), TimeUS: s.rev.Time().UnixMicro(), Kind: stream.KindSync, Sync: &stream.Sync{Rev: s.rev, Complete: true, Coverage: stream.Coverage(collections)}}
		return append(out, end.AppendJSON(nil))
	}
	a, b := lines(r.past[n.rng.IntN(len(r.past))]), lines(snapshot{r.head, r.parts()})
	for len(a)+len(b) > 0 {
		if n.rng.IntN(2) == 0 {
			a, b = b, a
		}
		if len(a) == 0 {
			continue
		}
		ev, err := stream.Parse(a[0])
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.bulk.Publish(w.t.Context(), &ev, slices.Clone(a[0])); err != nil {
			w.t.Fatal(err)
		}
		a = a[1:]
	}
}
