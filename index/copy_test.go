package index_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rs/zerolog"

	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
)

// startWith runs an index with another size of batches, after stop.
func (w *world) startWith(backfillBatch int) {
	w.t.Helper()
	ix, err := index.New(index.Config{Pool: w.pool, Log: w.log, Backfill: w.lane, Catalog: w.cat, Logger: zerolog.Nop(), BackfillBatch: backfillBatch})
	if err != nil {
		w.t.Fatal(err)
	}
	w.ix = ix
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ix.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("index: %v", err)
		}
	})
}

// TestManyNewRowsAreAsFew reads repositories in batches of which each has many rows
// for a table, which are copied, and in batches of a few, which are not. A part of
// the repositories comes twice in one batch, and a part is known before.
func TestManyNewRowsAreAsFew(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	m, err := simulate.New(cat, simulate.Config{Seed: 3, Accounts: 30, Odd: 0.1, Mix: simulate.Mix{Create: 1}})
	if err != nil {
		t.Fatal(err)
	}
	byDID := map[syntax.DID][]stream.Event{}
	made := map[string]bool{}
	for range 4000 {
		ev := m.Next()
		if ev.Kind != stream.KindCommit {
			continue
		}
		// A repository has a record once; what there is one of is written again.
		if uri := fmt.Sprint(ev.DID, ev.Commit.Collection, ev.Commit.RKey); !made[uri] {
			made[uri] = true
			byDID[ev.DID] = append(byDID[ev.DID], ev)
		}
	}
	var covered []syntax.NSID
	for _, c := range cat.Collections {
		covered = append(covered, c.NSID)
	}
	dids := sortedDIDs(byDID)
	tables := func(batch int) string {
		w := newWorld(t, cat)
		for i, did := range dids {
			if i%5 == 0 {
				w.feed(byDID[did][0].AppendJSON(nil))
			}
			if i%7 == 0 {
				ev := stream.Event{DID: did, TimeUS: byDID[did][0].TimeUS, Kind: stream.KindCommit, Commit: &stream.Commit{
					Rev: rev(1), Operation: stream.Delete, Collection: like, RKey: "gone"}}
				w.feed(ev.AppendJSON(nil))
			}
		}
		w.settle()
		w.stop()
		// Parts at the one rev are gone at the next: rows that are written and swept in one
		// batch. Both revs are of one time, since what stays keeps the time it came with.
		now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		at, later := syntax.NewTIDFromTime(now, 0), syntax.NewTIDFromTime(now, 1)
		for i, did := range dids {
			var parts []part
			for _, ev := range byDID[did] {
				parts = append(parts, part{ev.Commit.Collection, string(ev.Commit.RKey), ev.Commit.Record})
			}
			w.read(did, at, covered, parts...)
			if i%3 == 0 {
				w.read(did, later, covered, parts[len(parts)/2:]...)
			}
		}
		w.startWith(batch)
		w.settle()
		return w.dump()
	}
	sameText(t, "in batches of 10", tables(5000), tables(10))
}

func sortedDIDs[V any](m map[syntax.DID]V) []syntax.DID {
	var out []syntax.DID
	for did := range m {
		out = append(out, did)
	}
	slices.Sort(out)
	return out
}

// TestOneRefusedOfManyNewRows has Postgres refuse one row of many that are copied.
func TestOneRefusedOfManyNewRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, load(t, "../lexicons"))
	if _, err := w.pool.Exec(t.Context(), `
		create function refuse() returns trigger language plpgsql as $$ begin raise 'no such row' using errcode = '22000'; end $$;
		create trigger refuse before insert on records.com_myrecipes_like for each row when (new.rkey = 'r70') execute function refuse()`); err != nil {
		t.Fatal(err)
	}
	w.stop()
	var parts []part
	for i := range 200 {
		parts = append(parts, part{like, fmt.Sprintf("r%d", i), likeOf("soup", i%60)})
	}
	w.read(alice, rev(5), onlyLikes, parts...)
	w.startWith(1000)
	w.settle()
	if got := w.one("select count(*)::text from records.com_myrecipes_like"); got != "199" {
		t.Errorf("%s likes", got)
	}
	if got := w.one("select records || ' ' || dids from atview.link_count where path = 'subject.uri'"); got != "199 1" {
		t.Errorf("counts %q", got)
	}
	if n := w.ix.Status().DeadLetters; n != 1 {
		t.Errorf("%d dead letters", n)
	}
}
