package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

var (
	// errFenced says that another worker has moved the partition's position.
	errFenced = errors.New("partition was moved by another worker")
	// errInvariant says that the tables are not what the fold left there.
	errInvariant = errors.New("tables disagree with themselves")
)

// folder writes batches. It holds no state but the SQL of the collections, and
// is safe for concurrent use.
type folder struct {
	q         *queries.Queries
	tables    []*table
	byNSID    map[string]*table
	coverages coverages
	// seen and linked ask for repositories to be read whole: of accounts that a live
	// event shows for the first time, and of those that records link to.
	seen, linked bool
}

// table is a collection with its SQL.
type table struct {
	*schema.Collection
	sql tableSQL
}

func newFolder(cat *schema.Catalog) *folder {
	f := &folder{q: queries.New(), byNSID: map[string]*table{}}
	for _, c := range cat.Collections {
		t := &table{c, newTableSQL(c)}
		f.tables = append(f.tables, t)
		f.byNSID[string(c.NSID)] = t
	}
	return f
}

// linkColumn finds the column that holds links of a path; nil for links that
// are rows of atview.link.
func (f *folder) linkColumn(collection, path string) (*table, *schema.Link) {
	t := f.byNSID[collection]
	if t == nil {
		return nil, nil
	}
	for _, l := range t.Links {
		if l.Path == path {
			return t, l
		}
	}
	return t, nil
}

// Folded counts what a batch came to.
type Folded struct {
	Events int
	// Put and Deleted are changes of records; Ignored were older than what the
	// tables had. Kept are those that a repository, read whole, has as the tables do.
	Put, Deleted, Ignored, Kept int
	// Swept are rows that a repository, read whole, no longer has, and Repos how
	// many were read.
	Swept, Repos int

	seen        []string // accounts with their first record
	Flagged     int
	DeadLetters int
}

func (n *Folded) add(m Folded) {
	n.Events += m.Events
	n.Put += m.Put
	n.Deleted += m.Deleted
	n.Ignored += m.Ignored
	n.Kept += m.Kept
	n.Swept += m.Swept
	n.Repos += m.Repos
	n.seen = append(n.seen, m.seen...)
	n.Flagged += m.Flagged
	n.DeadLetters += m.DeadLetters
}

// fold writes a batch and moves the partition from position was to the batch's
// end, in tx. The caller commits.
func (f *folder) fold(ctx context.Context, tx pgx.Tx, at place, was uint64, b batch) (Folded, error) {
	done := Folded{Events: b.events, DeadLetters: len(b.dead)}
	if err := f.q.LockPositions(ctx, tx, int32(at.partition)); err != nil {
		return done, fmt.Errorf("lock positions: %w", err)
	}
	moved, err := f.q.MovePosition(ctx, tx, queries.MovePositionParams{
		Lane: at.lane, Partition: int32(at.partition), Was: int64(was), Seq: int64(b.last), MessageAt: timestamp(b.lastAt),
	})
	if err != nil {
		return done, fmt.Errorf("move position: %w", err)
	}
	if moved == 0 {
		return done, errFenced
	}
	t := newTally()
	for i := range b.segments {
		n, err := f.segment(ctx, tx, t, &b.segments[i])
		if err != nil {
			return done, err
		}
		done.add(n)
	}
	if err := f.writeCounts(ctx, tx, t); err != nil {
		return done, err
	}
	if err := f.putDeadLetters(ctx, tx, b.dead); err != nil {
		return done, err
	}
	if at.lane == LaneLive {
		if err := f.askForNew(ctx, tx, done.seen, &b); err != nil {
			return done, err
		}
	}
	done.seen = nil
	return done, f.putResyncs(ctx, tx, b.resyncs)
}

func (f *folder) segment(ctx context.Context, tx pgx.Tx, t *tally, s *segment) (Folded, error) {
	var done Folded
	dids := map[string]bool{}
	for _, changes := range s.changes {
		for k := range changes {
			dids[k.did] = true
		}
	}
	for _, ev := range s.accounts {
		dids[string(ev.DID)] = true
	}
	for did := range s.read {
		dids[did] = true
	}
	if len(dids) == 0 {
		return done, nil
	}
	actors, err := f.actors(ctx, tx, sortedKeys(dids))
	if err != nil {
		return done, fmt.Errorf("read actors: %w", err)
	}
	accounts := s.accounts
	if s.deletion {
		accounts = accounts[:len(accounts)-1]
	}
	for _, ev := range accounts {
		actors[string(ev.DID)].apply(ev)
	}
	if err := f.showAndHide(ctx, tx, t, actors); err != nil {
		return done, err
	}
	news, err := f.newcomers(ctx, tx, s)
	if err != nil {
		return done, fmt.Errorf("find newcomers: %w", err)
	}
	for _, tab := range f.tables {
		if changes := s.changes[tab.Collection]; len(changes) > 0 {
			n, err := f.apply(ctx, tx, t, tab, changes, actors, news[tab])
			if err != nil {
				return done, fmt.Errorf("fold %s: %w", tab.NSID, err)
			}
			done.add(n)
		}
	}
	n, err := f.settleRepos(ctx, tx, t, s.read, actors)
	if err != nil {
		return done, fmt.Errorf("settle repositories: %w", err)
	}
	done.add(n)
	if s.deletion {
		ev := s.accounts[len(s.accounts)-1]
		if err := f.deleteAccount(ctx, tx, t, actors[string(ev.DID)], ev); err != nil {
			return done, fmt.Errorf("delete account %s: %w", ev.DID, err)
		}
	}
	if err := f.putActors(ctx, tx, actors); err != nil {
		return done, fmt.Errorf("write actors: %w", err)
	}
	return done, nil
}

// existing is what the table has of a record that is about to change.
type existing struct {
	rev     string
	cid     string // "" for unknown
	hidden  bool
	flagged bool
	linked  bool // has rows in atview.link
	links   []target
}

// apply writes the changes that are newer than what the table and the
// tombstones have. Of newcomers there is nothing in either.
func (f *folder) apply(ctx context.Context, tx pgx.Tx, t *tally, tab *table, changes map[key]change, actors map[string]*actor,
	newcomers map[string]bool) (Folded, error) {
	var done Folded
	keys := sortedKeysOf(changes)
	known := slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return newcomers[k.did] })
	tombs, err := f.tombstones(ctx, tx, tab, known)
	if err != nil {
		return done, err
	}
	have, err := f.existing(ctx, tx, tab, known)
	if err != nil {
		return done, err
	}
	var win, same []key
	upsert := tab.sql.upsert
	for _, k := range keys {
		ch := changes[k]
		if ch.snapshot {
			actors[k.did].read(ch.rev)
		}
		switch f.judge(tab, &ch, have[k], tombs[k], actors[k.did]) {
		case stale:
			done.Ignored++
		case unchanged:
			done.Kept++
			if have[k].rev < string(ch.rev) {
				same = append(same, k)
			}
		case wins:
			win = append(win, k)
			if old := have[k]; old != nil && old.rev == string(ch.rev) {
				upsert = tab.sql.force
			}
			if a := actors[k.did]; !ch.gone && !a.followed {
				a.followed, a.changed, a.resolve = true, true, true
			}
			if a := actors[k.did]; !ch.gone && !a.asked {
				a.asked = true
				done.seen = append(done.seen, k.did)
			}
		}
	}
	if err := f.touch(ctx, tx, tab, same, changes); err != nil {
		return done, err
	}
	hidden := func(did string) bool { return !actors[did].visible() }
	t.newcomers = newcomers
	n, err := f.write(ctx, tx, t, tab, win, changes, have, hidden, upsert)
	t.newcomers = nil // they have rows now
	if err != nil {
		return done, err
	}
	n.add(done)
	return n, f.moveTombstones(ctx, tx, tab, win, changes, tombs)
}

// newcomers are, for each table, the accounts whose repositories are read whole and
// that neither the table nor the tombstones have anything of, which is so for most
// of a backfill. One question about an account is then the answer to all those about
// its records.
func (f *folder) newcomers(ctx context.Context, tx pgx.Tx, s *segment) (map[*table]map[string]bool, error) {
	out := map[*table]map[string]bool{}
	var b pgx.Batch
	for _, tab := range f.tables {
		read := map[string]bool{}
		for k, ch := range s.changes[tab.Collection] {
			if ch.snapshot {
				read[k.did] = true
			}
		}
		if len(read) == 0 {
			continue
		}
		b.Queue(tab.sql.absent, sortedKeys(read)).Query(func(rows pgx.Rows) error {
			out[tab] = map[string]bool{}
			var did string
			_, err := pgx.ForEachRow(rows, []any{&did}, func() error { out[tab][did] = true; return nil })
			return err
		})
	}
	if b.Len() == 0 {
		return out, nil
	}
	return out, tx.SendBatch(ctx, &b).Close()
}

// verdict is what becomes of a change.
type verdict int

const (
	stale     verdict = iota // older than what is known
	unchanged                // the row is already what the change says
	wins
)

// judge holds a change against what is known of its record. A commit must be newer
// than all of it. A snapshot's part is what the repository has, so that it only
// must not be older.
func (f *folder) judge(tab *table, ch *change, old *existing, tomb string, a *actor) verdict {
	rev := string(ch.rev)
	switch {
	case ch.rev <= a.purgedRev:
		return stale
	case ch.snapshot:
		switch {
		case ch.rev < a.syncedRev || rev < tomb || old != nil && rev < old.rev:
			return stale
		case old != nil && old.cid != "" && old.cid == ch.cid:
			return unchanged
		}
		return wins
	case rev <= tomb || old != nil && rev <= old.rev:
		return stale
	case ch.rev <= a.syncedRev && f.coverages.covers(a.syncedOf, tab.NSID):
		return stale
	}
	return wins
}

// write puts and removes rows with their links and flags. have is what the table
// holds of them. A nil tally leaves the counts alone.
func (f *folder) write(ctx context.Context, tx pgx.Tx, t *tally, tab *table, keys []key, changes map[key]change,
	have map[key]*existing, hidden func(did string) bool, upsert string) (Folded, error) {
	var done Folded
	if len(keys) == 0 {
		return done, nil
	}
	if err := f.genericLinks(ctx, tx, tab, have); err != nil {
		return done, err
	}
	fresh := 0
	for _, k := range keys {
		if have[k] == nil && !changes[k].gone {
			fresh++
		}
	}
	var adds, puts, gone []key
	for _, k := range keys {
		ch, old := changes[k], have[k]
		var was, is []target
		if old != nil && !old.hidden {
			was = old.links
		}
		if ch.gone {
			if old != nil {
				gone = append(gone, k)
			}
		} else {
			if old == nil && fresh >= minCopy {
				adds = append(adds, k)
			} else {
				puts = append(puts, k)
			}
			if !hidden(k.did) {
				is = targetsOf(tab.Collection, &ch.row)
			}
			if len(ch.row.Flags) > 0 {
				done.Flagged++
			}
		}
		if t != nil {
			t.change(k.did, was, is)
		}
	}
	// The tally of these rows is settled before they change, and at once: two
	// tables of one batch never share a linker, since a path has its collection.
	if t != nil {
		if err := f.settle(ctx, tx, t); err != nil {
			return done, err
		}
		clear(t.linkers)
	}
	if err := f.dropSideRows(ctx, tx, tab, keys, have); err != nil {
		return done, err
	}
	if err := f.remove(ctx, tx, tab, gone); err != nil {
		return done, err
	}
	if err := f.put(ctx, tx, tab, puts, changes, hidden, upsert); err != nil {
		return done, err
	}
	if err := f.insert(ctx, tx, tab, adds, changes, hidden); err != nil {
		return done, err
	}
	done.Put, done.Deleted = len(puts)+len(adds), len(gone)
	return done, nil
}

func (f *folder) tombstones(ctx context.Context, tx pgx.Tx, tab *table, keys []key) (map[key]string, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	collections, rkeys, dids := columnsOf(tab, keys)
	rows, err := f.q.Tombstones(ctx, tx, queries.TombstonesParams{Collections: collections, Rkeys: rkeys, Dids: dids})
	if err != nil {
		return nil, fmt.Errorf("read tombstones: %w", err)
	}
	out := make(map[key]string, len(rows))
	for _, r := range rows {
		out[key{r.Rkey, r.Did}] = r.Rev
	}
	return out, nil
}

func (f *folder) existing(ctx context.Context, tx pgx.Tx, tab *table, keys []key) (map[key]*existing, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	_, rkeys, dids := columnsOf(tab, keys)
	rows, err := tx.Query(ctx, tab.sql.existing, rkeys, dids)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	defer rows.Close()
	out := map[key]*existing{}
	links := make([]*string, len(tab.Links))
	var i int64
	for rows.Next() {
		e := &existing{}
		into := []any{&i, &e.rev, &e.cid, &e.hidden, &e.flagged}
		for n := range links {
			into = append(into, &links[n])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("read rows: %w", err)
		}
		for n, l := range tab.Links {
			if links[n] != nil {
				e.links = append(e.links, target{*links[n], string(tab.NSID), l.Path})
			}
		}
		out[keys[i-1]] = e
	}
	return out, rows.Err()
}

// genericLinks adds to existing rows the links that have no column.
func (f *folder) genericLinks(ctx context.Context, tx pgx.Tx, tab *table, have map[key]*existing) error {
	if len(have) == 0 {
		return nil
	}
	collections, rkeys, dids := columnsOf(tab, sortedKeysOf(have))
	rows, err := f.q.LinksOf(ctx, tx, queries.LinksOfParams{Collections: collections, Rkeys: rkeys, Dids: dids})
	if err != nil {
		return fmt.Errorf("read links: %w", err)
	}
	for _, r := range rows {
		e := have[key{r.Rkey, r.Did}]
		e.linked = true
		e.links = append(e.links, target{r.Target, r.Collection, r.Path})
	}
	return nil
}

// dropSideRows removes the links and flags of rows that are about to be replaced
// or removed.
func (f *folder) dropSideRows(ctx context.Context, tx pgx.Tx, tab *table, keys []key, have map[key]*existing) error {
	var linked, flagged []key
	for _, k := range keys {
		old := have[k]
		if old == nil {
			continue
		}
		if old.linked {
			linked = append(linked, k)
		}
		if old.flagged {
			flagged = append(flagged, k)
		}
	}
	if len(linked) > 0 {
		collections, rkeys, dids := columnsOf(tab, linked)
		if err := f.q.DropLinks(ctx, tx, queries.DropLinksParams{Collections: collections, Rkeys: rkeys, Dids: dids}); err != nil {
			return fmt.Errorf("drop links: %w", err)
		}
	}
	if len(flagged) > 0 {
		collections, rkeys, dids := columnsOf(tab, flagged)
		if err := f.q.DropFlags(ctx, tx, queries.DropFlagsParams{Collections: collections, Rkeys: rkeys, Dids: dids}); err != nil {
			return fmt.Errorf("drop flags: %w", err)
		}
	}
	return nil
}

func (f *folder) remove(ctx context.Context, tx pgx.Tx, tab *table, keys []key) error {
	if len(keys) == 0 {
		return nil
	}
	_, rkeys, dids := columnsOf(tab, keys)
	tag, err := tx.Exec(ctx, tab.sql.remove, rkeys, dids)
	if err != nil {
		return fmt.Errorf("delete rows: %w", err)
	}
	return mustAffect(tag.RowsAffected(), len(keys), "deleted")
}

func (f *folder) put(ctx context.Context, tx pgx.Tx, tab *table, keys []key, changes map[key]change, hidden func(string) bool, upsert string) error {
	if len(keys) == 0 {
		return nil
	}
	rows := make([]change, len(keys))
	for i, k := range keys {
		rows[i] = changes[k]
	}
	tag, err := tx.Exec(ctx, upsert, upsertArgs(tab.Collection, keys, rows, hidden)...)
	if err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	if err := mustAffect(tag.RowsAffected(), len(keys), "written"); err != nil {
		return err
	}
	return f.putSideRows(ctx, tx, tab, keys, rows, hidden)
}

// minCopy is from how many new rows on COPY is used: with about 60 it costs as much as
// an upsert, with 10 a tenth more, and with 250 a sixth less.
const minCopy = 64

// insert adds rows that are not there.
func (f *folder) insert(ctx context.Context, tx pgx.Tx, tab *table, keys []key, changes map[key]change, hidden func(string) bool) error {
	if len(keys) == 0 {
		return nil
	}
	rows := make([]change, len(keys))
	for i, k := range keys {
		rows[i] = changes[k]
	}
	src := &copySource{keys: keys, rows: rows, hidden: hidden}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{RecordsSchema, tab.Table}, tab.sql.columns, src); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return f.putSideRows(ctx, tx, tab, keys, rows, hidden)
}

func (f *folder) putSideRows(ctx context.Context, tx pgx.Tx, tab *table, keys []key, rows []change, hidden func(string) bool) error {
	var links queries.PutLinksParams
	var flags queries.PutFlagsParams
	for i, k := range keys {
		for _, l := range rows[i].row.Links {
			if l.Column >= 0 {
				continue
			}
			links.Targets = append(links.Targets, l.Target)
			links.Collections = append(links.Collections, string(tab.NSID))
			links.Paths = append(links.Paths, l.Path)
			links.Dids = append(links.Dids, k.did)
			links.Rkeys = append(links.Rkeys, k.rkey)
			links.SortAts = append(links.SortAts, timestamp(sortTime(k.rkey, &rows[i])))
			links.Hiddens = append(links.Hiddens, hidden(k.did))
		}
		for n, flag := range rows[i].row.Flags {
			flags.Collections = append(flags.Collections, string(tab.NSID))
			flags.Rkeys = append(flags.Rkeys, k.rkey)
			flags.Dids = append(flags.Dids, k.did)
			flags.Ordinals = append(flags.Ordinals, int16(n))
			flags.Paths = append(flags.Paths, storableText(flag.Path))
			flags.Reasons = append(flags.Reasons, storableText(flag.Reason))
		}
	}
	if len(links.Targets) > 0 {
		if err := f.q.PutLinks(ctx, tx, links); err != nil {
			return fmt.Errorf("write links: %w", err)
		}
	}
	if len(flags.Paths) > 0 {
		if err := f.q.PutFlags(ctx, tx, flags); err != nil {
			return fmt.Errorf("write flags: %w", err)
		}
	}
	return nil
}

func (f *folder) moveTombstones(ctx context.Context, tx pgx.Tx, tab *table, keys []key, changes map[key]change, tombs map[key]string) error {
	var put, drop []key
	var revs []string
	for _, k := range keys {
		if ch := changes[k]; ch.gone {
			put = append(put, k)
			revs = append(revs, string(ch.rev))
		} else if tombs[k] != "" {
			drop = append(drop, k)
		}
	}
	if len(put) > 0 {
		collections, rkeys, dids := columnsOf(tab, put)
		if err := f.q.PutTombstones(ctx, tx, queries.PutTombstonesParams{Collections: collections, Rkeys: rkeys, Dids: dids, Revs: revs}); err != nil {
			return fmt.Errorf("write tombstones: %w", err)
		}
	}
	if len(drop) > 0 {
		collections, rkeys, dids := columnsOf(tab, drop)
		if err := f.q.DropTombstones(ctx, tx, queries.DropTombstonesParams{Collections: collections, Rkeys: rkeys, Dids: dids}); err != nil {
			return fmt.Errorf("drop tombstones: %w", err)
		}
	}
	return nil
}

// showAndHide flips the rows of accounts whose visibility has changed.
func (f *folder) showAndHide(ctx context.Context, tx pgx.Tx, t *tally, actors map[string]*actor) error {
	var show, hide []string
	for _, did := range sortedKeys(actors) {
		switch a := actors[did]; {
		case a.visible() && !a.wasVisible:
			show = append(show, did)
		case !a.visible() && a.wasVisible:
			hide = append(hide, did)
		}
	}
	if err := f.flip(ctx, tx, t, show, false); err != nil {
		return fmt.Errorf("show accounts: %w", err)
	}
	if err := f.flip(ctx, tx, t, hide, true); err != nil {
		return fmt.Errorf("hide accounts: %w", err)
	}
	return nil
}

func (f *folder) flip(ctx context.Context, tx pgx.Tx, t *tally, dids []string, hide bool) error {
	if len(dids) == 0 {
		return nil
	}
	sign := int64(1)
	if hide {
		sign = -1
	}
	// One round trip for all tables: there may be hundreds, and an account has
	// rows in a few.
	var b pgx.Batch
	for _, tab := range f.tables {
		for i, l := range tab.Links {
			b.Queue(tab.sql.sums[i], dids, !hide).Query(func(rows pgx.Rows) error {
				return sumRows(rows, func(to string, records int64) {
					t.account(target{to, string(tab.NSID), l.Path}, sign*records)
				})
			})
		}
		b.Queue(tab.sql.hide, dids, hide)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	sums, err := f.q.LinkSums(ctx, tx, queries.LinkSumsParams{Dids: dids, Hidden: !hide})
	if err != nil {
		return err
	}
	for _, s := range sums {
		t.account(target{s.Target, s.Collection, s.Path}, sign*s.Records)
	}
	return f.q.HideLinks(ctx, tx, queries.HideLinksParams{Dids: dids, Hidden: hide})
}

func sumRows(rows pgx.Rows, visit func(target string, records int64)) error {
	var to, did string
	var records int64
	_, err := pgx.ForEachRow(rows, []any{&to, &did, &records}, func() error {
		visit(to, records)
		return nil
	})
	return err
}

// deleteAccount removes what an account had before it was deleted.
//
// A deletion that is news takes all rows that are there: by the order of the
// log they came before it, whatever a PDS's clock wrote into their revs. One
// that is older than the account state we know takes what is older than itself;
// so does one that comes after the repository was read at a later rev, of an account
// that has returned since: the backfill lane is not in the order of the live one.
func (f *folder) deleteAccount(ctx context.Context, tx pgx.Tx, t *tally, a *actor, ev stream.Event) error {
	did := string(ev.DID)
	at := stampOf(ev, ev.Account.Time, ev.Account.Seq)
	floor := deletionRev(ev)
	purge := floor
	if at.after(a.account) {
		hiding := a.visible()
		a.account, a.status, a.changed = at, statusDeleted, true
		if a.readRev <= floor {
			purge = lastRev
		}
		if hiding {
			if err := f.flip(ctx, tx, t, []string{did}, true); err != nil {
				return err
			}
		}
	}
	if purge != lastRev {
		if err := f.removeVisible(ctx, tx, t, did, purge); err != nil {
			return err
		}
	}
	highest, err := f.purgeHidden(ctx, tx, did, purge)
	if err != nil {
		return err
	}
	if floor = max(floor, highest); floor > a.purgedRev {
		a.purgedRev, a.changed = floor, true
	}
	if a.status == statusDeleted {
		// If the account comes back, it is read again.
		if err := f.q.LeaveRepo(ctx, tx, queries.LeaveRepoParams{Did: did, At: timestamp(a.account.at)}); err != nil {
			return err
		}
	}
	return f.q.DropTombstonesOf(ctx, tx, queries.DropTombstonesOfParams{Dids: []string{did}, Revs: []string{string(a.purgedRev)}})
}

// lastRev is above every rev.
const lastRev syntax.TID = "zzzzzzzzzzzzz"

// removeVisible removes an account's visible rows up to a rev, one by one: they
// stand in counts beside rows that stay.
func (f *folder) removeVisible(ctx context.Context, tx pgx.Tx, t *tally, did string, upTo syntax.TID) error {
	for _, tab := range f.tables {
		rows, err := tx.Query(ctx, tab.sql.visible, did, string(upTo))
		if err != nil {
			return err
		}
		changes := map[key]change{}
		var rkey, rev string
		if _, err := pgx.ForEachRow(rows, []any{&rkey, &rev}, func() error {
			changes[key{rkey, did}] = change{gone: true}
			return nil
		}); err != nil {
			return err
		}
		if len(changes) == 0 {
			continue
		}
		keys := sortedKeysOf(changes)
		have, err := f.existing(ctx, tx, tab, keys)
		if err != nil {
			return err
		}
		if _, err := f.write(ctx, tx, t, tab, keys, changes, have, nil, ""); err != nil {
			return err
		}
	}
	return nil
}

// purgeHidden removes an account's rows up to a rev, none of which is in a
// count, and returns the highest rev among them.
func (f *folder) purgeHidden(ctx context.Context, tx pgx.Tx, did string, upTo syntax.TID) (highest syntax.TID, err error) {
	var collections, rkeys, dids []string
	var b pgx.Batch
	for _, tab := range f.tables {
		b.Queue(tab.sql.purge, did, string(upTo)).Query(func(rows pgx.Rows) error {
			var rkey, rev string
			_, err := pgx.ForEachRow(rows, []any{&rkey, &rev}, func() error {
				collections, rkeys, dids = append(collections, string(tab.NSID)), append(rkeys, rkey), append(dids, did)
				highest = max(highest, syntax.TID(rev))
				return nil
			})
			return err
		})
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return "", err
	}
	if len(rkeys) == 0 {
		return "", nil
	}
	if err := f.q.DropLinks(ctx, tx, queries.DropLinksParams{Collections: collections, Rkeys: rkeys, Dids: dids}); err != nil {
		return "", err
	}
	return highest, f.q.DropFlags(ctx, tx, queries.DropFlagsParams{Collections: collections, Rkeys: rkeys, Dids: dids})
}

func (f *folder) putDeadLetters(ctx context.Context, tx pgx.Tx, dead []deadLetter) error {
	if len(dead) == 0 {
		return nil
	}
	var p queries.PutDeadLettersParams
	for _, d := range dead {
		p.Digests = append(p.Digests, d.digest())
		p.Ats = append(p.Ats, timestamp(d.at))
		p.Sources = append(p.Sources, storableText(d.source))
		p.Reasons = append(p.Reasons, storableText(d.reason))
		p.Bytes = append(p.Bytes, d.bytes)
		p.FullSizes = append(p.FullSizes, int64(d.full))
	}
	if err := f.q.PutDeadLetters(ctx, tx, p); err != nil {
		return fmt.Errorf("write dead letters: %w", err)
	}
	return nil
}

func (f *folder) putResyncs(ctx context.Context, tx pgx.Tx, resyncs []resync) error {
	if len(resyncs) == 0 {
		return nil
	}
	newest := map[string]resync{}
	for _, r := range resyncs {
		if held, ok := newest[string(r.did)]; !ok || r.rev > held.rev {
			newest[string(r.did)] = r
		}
	}
	p := queries.QueueReposParams{Why: whySync}
	for _, did := range sortedKeys(newest) {
		p.Dids = append(p.Dids, did)
		p.WantedRevs = append(p.WantedRevs, string(newest[did].rev))
	}
	if err := f.q.QueueRepos(ctx, tx, p); err != nil {
		return fmt.Errorf("queue repositories: %w", err)
	}
	return nil
}

func mustAffect(got int64, want int, what string) error {
	if int(got) != want {
		return fmt.Errorf("%w: %d rows %s, %d expected", errInvariant, got, what, want)
	}
	return nil
}

func columnsOf(tab *table, keys []key) (collections, rkeys, dids []string) {
	for _, k := range keys {
		collections = append(collections, string(tab.NSID))
		rkeys = append(rkeys, k.rkey)
		dids = append(dids, k.did)
	}
	return collections, rkeys, dids
}

// storableText is s as Postgres takes it.
func storableText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func timestamp(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sortedKeysOf orders keys as the primary key does, so that rows go into the
// index side by side.
func sortedKeysOf[V any](m map[key]V) []key {
	return slices.SortedFunc(maps.Keys(m), func(a, b key) int {
		return cmp.Or(strings.Compare(a.rkey, b.rkey), strings.Compare(a.did, b.did))
	})
}
