package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

// RepairConfig says what [RepairLocal] repairs. Zero values take the defaults.
type RepairConfig struct {
	// Verify says where to look. What it finds is repaired.
	Verify VerifyConfig
	// MaxRows is how many rows are repaired. Defaults to 500,000: their keys are
	// remembered, some 200 bytes each. What is left is found by the next call.
	MaxRows int
}

// RepairReport is what [RepairLocal] did.
type RepairReport struct {
	Found     VerifyReport // before
	Rederived int64        // rows, with their links and flags, from their records
	Removed   int64        // rows that were deleted or whose account was
	Orphans   int64        // links, flags and counts of no record
	Recounted int          // collections whose links were counted anew
	Unproven  int64        // rows that are not the record that their CID names
	Left      int64        // differences of rows beyond MaxRows
	// Reconcile are the accounts whose repositories are to be read whole, since the
	// tables alone do not say what is right. They are queued in atview.repo, and
	// their Unproven rows have no CID any more, so that any snapshot replaces them.
	Reconcile []syntax.DID
}

const whyAsked = "asked"

// RepairLocal repairs what [Verify] finds, as far as the tables alone can tell
// what is right: it does not look at the network. It may be interrupted anywhere
// and called again. It returns [ErrBusy] while index processes run, since two
// writers of a row are one too many.
func RepairLocal(ctx context.Context, db *pgxpool.Pool, cat *schema.Catalog, cfg RepairConfig) (RepairReport, error) {
	cfg.MaxRows = cmp.Or(cfg.MaxRows, 500_000)
	conn, err := pgx.ConnectConfig(ctx, db.Config().ConnConfig.Copy())
	if err != nil {
		return RepairReport{}, fmt.Errorf("connect: %w", err)
	}
	// Both locks end with the connection.
	defer conn.Close(context.WithoutCancel(ctx))
	if err := lockOut(ctx, conn); err != nil {
		return RepairReport{}, err
	}
	r := repair{migration: migration{conn: conn, folder: newFolder(cat)}, max: cfg.MaxRows,
		rows: map[string]map[key]remedy{}, orphans: map[string]bool{}, recount: map[string]bool{}}
	found := cfg.Verify.Found
	cfg.Verify.Found = func(d Difference) {
		r.note(d)
		if found != nil {
			found(d)
		}
	}
	if r.report.Found, err = Verify(ctx, db, cat, cfg.Verify); err != nil {
		return r.report, err
	}
	return r.report, r.run(ctx)
}

// lockOut keeps index processes and migrations away.
func lockOut(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1, $2)", lockClass, lockMigrate); err != nil {
		return fmt.Errorf("wait for migrations: %w", err)
	}
	// A process that has just ended is gone only when its session is.
	for attempt := 0; ; attempt++ {
		var alone bool
		if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1, $2)", lockClass, lockMember).Scan(&alone); err != nil {
			return fmt.Errorf("keep index processes away: %w", err)
		}
		if alone {
			return nil
		}
		if attempt == 5 || !sleep(ctx, backoff(attempt)) {
			return ErrBusy
		}
	}
}

// remedy is what is done about a row.
type remedy int

// Of several the last is done.
const (
	rederive  remedy = iota + 1
	unprove          // and rederive
	reconcile        // it is no record at all, so there is nothing to derive from
	remove           // the account is gone
	removeAsk        // a tombstone says that it is gone; the repository knows
)

type repair struct {
	migration
	max     int
	noted   int
	report  RepairReport
	rows    map[string]map[key]remedy // by collection
	orphans map[string]bool           // collections
	recount map[string]bool
}

// note takes a difference as something to do.
func (r *repair) note(d Difference) {
	var what remedy
	switch nsid := string(d.Collection); d.Kind {
	case DiffColumn, DiffLink, DiffFlag:
		what = rederive
	case DiffCID:
		what = unprove
	case DiffRecord:
		what = reconcile
	case DiffDeleted:
		what = remove
	case DiffTombstone:
		what = removeAsk
	case DiffOrphan:
		r.orphans[nsid], r.recount[nsid] = true, true
		return
	case DiffCount:
		r.recount[nsid] = true
		return
	}
	k := key{string(d.RKey), string(d.DID)}
	rows := r.rows[string(d.Collection)]
	if rows[k] == 0 {
		if r.noted == r.max {
			r.report.Left++
			return
		}
		r.noted++
		if rows == nil {
			rows = map[key]remedy{}
			r.rows[string(d.Collection)] = rows
		}
	}
	rows[k] = max(rows[k], what)
}

func (r *repair) run(ctx context.Context) error {
	for _, nsid := range sortedKeys(r.rows) {
		r.recount[nsid] = true
		for keys := range slices.Chunk(sortedKeysOf(r.rows[nsid]), rederiveBatch) {
			tab := r.folder.byNSID[nsid]
			if err := pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error { return r.repair(ctx, tx, tab, keys) }); err != nil {
				return fmt.Errorf("repair %s: %w", nsid, err)
			}
		}
	}
	slices.Sort(r.report.Reconcile)
	r.report.Reconcile = slices.Compact(r.report.Reconcile)
	for _, nsid := range sortedKeys(r.orphans) {
		if err := r.dropOrphans(ctx, nsid); err != nil {
			return fmt.Errorf("drop orphans of %s: %w", nsid, err)
		}
	}
	for _, nsid := range sortedKeys(r.recount) {
		if err := r.count(ctx, nsid); err != nil {
			return fmt.Errorf("recount %s: %w", nsid, err)
		}
	}
	return nil
}

// repair does what is to be done about some rows of a table. Counts are made anew
// afterwards.
func (r *repair) repair(ctx context.Context, tx pgx.Tx, tab *table, keys []key) error {
	var derive, unproven []key
	changes := map[key]change{}
	var ask []string
	for _, k := range keys {
		what := r.rows[string(tab.NSID)][k]
		switch what {
		case rederive, unprove:
			derive = append(derive, k)
		case remove, removeAsk:
			changes[k] = change{gone: true}
		}
		if what == unprove || what == reconcile {
			unproven = append(unproven, k)
		}
		if what == unprove || what == reconcile || what == removeAsk {
			ask = append(ask, k.did)
		}
	}
	removed := len(changes)
	if err := r.derive(ctx, tx, tab, derive, changes); err != nil {
		return err
	}
	if err := r.write(ctx, tx, tab, changes); err != nil {
		return err
	}
	if len(unproven) > 0 {
		_, rkeys, dids := columnsOf(tab, unproven)
		if _, err := tx.Exec(ctx, fmt.Sprintf("update %s t set cid = null from (select unnest($1::text[]) as rkey, unnest($2::text[]) as did) k"+
			" where (t.rkey, t.did) = (k.rkey, k.did)", TableName(tab.Collection)), rkeys, dids); err != nil {
			return fmt.Errorf("take CIDs away: %w", err)
		}
	}
	if len(ask) > 0 {
		slices.Sort(ask)
		ask = slices.Compact(ask)
		// Whatever was read before, it is to be read again.
		if err := r.folder.q.QueueRepos(ctx, tx, queries.QueueReposParams{Why: whyAsked, Dids: ask, WantedRevs: make([]string, len(ask))}); err != nil {
			return fmt.Errorf("queue repositories: %w", err)
		}
		for _, did := range ask {
			r.report.Reconcile = append(r.report.Reconcile, syntax.DID(did))
		}
	}
	r.report.Rederived += int64(len(changes) - removed)
	r.report.Removed += int64(removed)
	r.report.Unproven += int64(len(unproven))
	return nil
}

// derive adds to changes what the stored records of keys come to.
func (r *repair) derive(ctx context.Context, tx pgx.Tx, tab *table, keys []key, changes map[key]change) error {
	if len(keys) == 0 {
		return nil
	}
	_, rkeys, dids := columnsOf(tab, keys)
	rows, err := tx.Query(ctx, fmt.Sprintf("select rkey, did, coalesce(cid, ''), rev, indexed_at, record::text from %s"+
		" join (select unnest($1::text[]) as rkey, unnest($2::text[]) as did) k using (rkey, did)", TableName(tab.Collection)), rkeys, dids)
	if err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	var k key
	var cid, rev, record string
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&k.rkey, &k.did, &cid, &rev, &at, &record}, func() error {
		row, err := tab.Row([]byte(record))
		if err != nil {
			return err
		}
		changes[k] = change{rev: syntax.TID(rev), cid: cid, at: at, row: row}
		return nil
	}); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	return r.keepRepairs(ctx, tx, tab, changes)
}

// write puts and removes rows; who is hidden is told by the accounts.
func (r *repair) write(ctx context.Context, tx pgx.Tx, tab *table, changes map[key]change) error {
	keys := sortedKeysOf(changes)
	have, err := r.folder.existing(ctx, tx, tab, keys)
	if err != nil {
		return err
	}
	dids := map[string]bool{}
	for k, row := range have {
		dids[k.did] = true
		// Its flags are looked for whatever it says: that may be what is wrong.
		row.flagged = true
	}
	actors, err := r.folder.actors(ctx, tx, sortedKeys(dids))
	if err != nil {
		return fmt.Errorf("read actors: %w", err)
	}
	_, err = r.folder.write(ctx, tx, nil, tab, keys, changes, have, func(did string) bool { return !actors[did].visible() }, tab.sql.force)
	return err
}

// dropOrphans removes the links and flags of a collection that have no record.
func (r *repair) dropOrphans(ctx context.Context, nsid string) error {
	tab := r.folder.byNSID[nsid]
	if tab == nil {
		links, err := r.folder.q.DropLinksOfCollection(ctx, r.conn, nsid)
		flags, err2 := r.folder.q.DropFlagsOfCollection(ctx, r.conn, nsid)
		r.report.Orphans += links + flags
		return errors.Join(err, err2)
	}
	for _, side := range []string{"link", "flag"} {
		tag, err := r.conn.Exec(ctx, fmt.Sprintf("delete from atview.%s s where s.collection = $1"+
			" and not exists (select from %s t where (t.rkey, t.did) = (s.rkey, s.did))", side, TableName(tab.Collection)), nsid)
		if err != nil {
			return err
		}
		r.report.Orphans += tag.RowsAffected()
	}
	return nil
}

// count makes the link counts of a collection anew; one without a table has none.
func (r *repair) count(ctx context.Context, nsid string) error {
	if tab := r.folder.byNSID[nsid]; tab != nil {
		r.report.Recounted++
		return r.migration.recount(ctx, tab)
	}
	n, err := r.folder.q.DropLinkCountsOfCollection(ctx, r.conn, nsid)
	r.report.Orphans += n
	return err
}
