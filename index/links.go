package index

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

// target is what link counts are kept for.
type target struct {
	target, collection, path string
}

func (t target) compare(o target) int {
	return cmp.Or(strings.Compare(t.target, o.target), strings.Compare(t.collection, o.collection), strings.Compare(t.path, o.path))
}

// linker is an account that links to a target.
type linker struct {
	target
	did string
}

// tally gathers what a batch does to link counts. Records are plain sums. An
// account counts once however many of its records link, so whether it enters or
// leaves depends on the records it had before: settle asks the tables.
type tally struct {
	records map[target]int64
	dids    map[target]int64
	linkers map[linker]*moves
	// newcomers have no row yet in the table that is being changed, and so no link.
	newcomers map[string]bool
}

// moves of one account's links to one target in the rows being changed.
type moves struct {
	added, removed int64
}

func newTally() *tally {
	return &tally{records: map[target]int64{}, dids: map[target]int64{}, linkers: map[linker]*moves{}}
}

// change takes note that a record's visible links were one set and become
// another.
func (t *tally) change(did string, was, is []target) {
	for _, l := range was {
		if !slices.Contains(is, l) {
			t.records[l]--
			t.move(l, did).removed++
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			t.records[l]++
			t.move(l, did).added++
		}
	}
}

func (t *tally) move(l target, did string) *moves {
	k := linker{l, did}
	if t.linkers[k] == nil {
		t.linkers[k] = &moves{}
	}
	return t.linkers[k]
}

// account takes note that all of an account's links to a target come or go.
func (t *tally) account(l target, records int64) {
	t.records[l] += records
	switch {
	case records > 0:
		t.dids[l]++
	case records < 0:
		t.dids[l]--
	}
}

// settle finds out which accounts enter and leave. It must run before the rows
// change.
func (f *folder) settle(ctx context.Context, tx pgx.Tx, t *tally) error {
	type group struct {
		linkers []linker
		bound   int64
	}
	byColumn := map[*schema.Link]*group{}
	owner := map[*schema.Link]*table{}
	generic := &group{}
	for _, k := range sortedLinkers(t.linkers) {
		if t.newcomers[k.did] {
			t.dids[k.target]++
			continue
		}
		g := generic
		if tab, link := f.linkColumn(k.collection, k.path); link != nil {
			if byColumn[link] == nil {
				byColumn[link] = &group{}
				owner[link] = tab
			}
			g = byColumn[link]
		}
		g.linkers = append(g.linkers, k)
		// Whether more than the removed ones are there is all that matters.
		g.bound = max(g.bound, t.linkers[k].removed+1)
	}
	decide := func(g *group, i, before int64) {
		k := g.linkers[i-1]
		m := t.linkers[k]
		after := before + m.added - m.removed
		switch {
		case before == 0 && after > 0:
			t.dids[k.target]++
		case before > 0 && after == 0:
			t.dids[k.target]--
		}
	}
	for link, g := range byColumn {
		targets, dids := make([]string, len(g.linkers)), make([]string, len(g.linkers))
		for i, k := range g.linkers {
			targets[i], dids[i] = k.target.target, k.did
		}
		tab := owner[link]
		rows, err := tx.Query(ctx, tab.sql.linkers[slices.Index(tab.Links, link)], targets, dids, g.bound)
		if err != nil {
			return err
		}
		var i, before int64
		if _, err := pgx.ForEachRow(rows, []any{&i, &before}, func() error { decide(g, i, before); return nil }); err != nil {
			return fmt.Errorf("count linkers by %s of %s: %w", link.Path, tab.NSID, err)
		}
	}
	if len(generic.linkers) == 0 {
		return nil
	}
	p := queries.LinkersOfParams{Bound: generic.bound}
	for _, k := range generic.linkers {
		p.Targets = append(p.Targets, k.target.target)
		p.Collections = append(p.Collections, k.collection)
		p.Paths = append(p.Paths, k.path)
		p.Dids = append(p.Dids, k.did)
	}
	rows, err := f.q.LinkersOf(ctx, tx, p)
	if err != nil {
		return fmt.Errorf("count linkers: %w", err)
	}
	for _, r := range rows {
		decide(generic, r.I, r.Records)
	}
	return nil
}

// writeCounts adds the tally to the stored counts, in one order of targets for
// all workers.
func (f *folder) writeCounts(ctx context.Context, tx pgx.Tx, t *tally) error {
	var p queries.AddLinkCountsParams
	lowers := false
	for _, k := range sortedTargets(t.records, t.dids) {
		records, dids := t.records[k], t.dids[k]
		if records == 0 && dids == 0 {
			continue
		}
		p.Targets, p.Collections, p.Paths = append(p.Targets, k.target), append(p.Collections, k.collection), append(p.Paths, k.path)
		p.Records, p.Dids = append(p.Records, records), append(p.Dids, dids)
		// What could not stand in a row of its own must change one that is there.
		lowers = lowers || dids < 0 || records < dids
	}
	if len(p.Targets) == 0 {
		return nil
	}
	if !lowers {
		if err := f.q.AddLinkCounts(ctx, tx, p); err != nil {
			return fmt.Errorf("add link counts: %w", err)
		}
		return nil
	}
	if err := f.q.TouchLinkCounts(ctx, tx, queries.TouchLinkCountsParams{Targets: p.Targets, Collections: p.Collections, Paths: p.Paths}); err != nil {
		return fmt.Errorf("lock link counts: %w", err)
	}
	n, err := f.q.ChangeLinkCounts(ctx, tx, queries.ChangeLinkCountsParams(p))
	if err != nil {
		return fmt.Errorf("change link counts: %w", err)
	}
	if err := mustAffect(n, len(p.Targets), "changed"); err != nil {
		return err
	}
	if err := f.q.DropEmptyLinkCounts(ctx, tx, queries.DropEmptyLinkCountsParams{Targets: p.Targets, Collections: p.Collections, Paths: p.Paths}); err != nil {
		return fmt.Errorf("drop empty link counts: %w", err)
	}
	return nil
}

// targetsOf are the links of a row as counts know them.
func targetsOf(c *schema.Collection, row *schema.Row) []target {
	out := make([]target, len(row.Links))
	for i, l := range row.Links {
		out[i] = target{l.Target, string(c.NSID), l.Path}
	}
	return out
}

func sortedTargets(a, b map[target]int64) []target {
	out := make([]target, 0, len(a))
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, both := a[k]; !both {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, target.compare)
	return out
}

func sortedLinkers(m map[linker]*moves) []linker {
	out := make([]linker, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b linker) int {
		return cmp.Or(a.target.compare(b.target), strings.Compare(a.did, b.did))
	})
	return out
}
