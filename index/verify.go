package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

// ErrNotMigrated says that a collection's table is not what the catalog asks for.
// [Migrate] comes first.
var ErrNotMigrated = errors.New("the tables are not up to the lexicons; migrate first")

// DifferenceKind says what of the tables is not as it should be.
type DifferenceKind string

// The kinds of differences.
const (
	// Of a row and its own record. Path is the column, the link's path or the place
	// of the flag.
	DiffColumn DifferenceKind = "column" // a typed column, sort_at, flagged or hidden
	DiffLink   DifferenceKind = "link"   // a row of atview.link
	DiffFlag   DifferenceKind = "flag"   // a row of atview.flag
	DiffCID    DifferenceKind = "cid"    // the record does not recompute to its CID
	DiffRecord DifferenceKind = "record" // what is stored is no record, or not the repository's

	// Of a row and what else is known.
	DiffTombstone DifferenceKind = "tombstone" // the record was deleted at the row's rev or later
	DiffDeleted   DifferenceKind = "deleted"   // the row is from before its account was deleted
	DiffOrphan    DifferenceKind = "orphan"    // a link or flag of no record; Path is its table

	// Of a row of atview.link_count; only Collection, Path and Target are set.
	DiffCount DifferenceKind = "count"

	// Of the rows and a repository; see [Compare].
	DiffMissing DifferenceKind = "missing" // the repository has it
	DiffExtra   DifferenceKind = "extra"   // the repository does not have it
)

// Difference is one thing that is not as it should be.
type Difference struct {
	Kind       DifferenceKind
	Collection syntax.NSID
	DID        syntax.DID
	RKey       syntax.RecordKey
	Path       string
	Target     string
	// Want and Have are for people, and cut to 200 bytes; "" for nothing there.
	Want, Have string
}

// VerifyConfig says what [Verify] looks at. Zero values take the defaults.
type VerifyConfig struct {
	// Collections to look at; all of the catalog if there are none.
	Collections []syntax.NSID
	// Connections to Postgres, beside the pool's. Defaults to the number of
	// processors and one more: deriving rows takes as long as reading them does, so
	// a processor each would be idle when its connection waits.
	Connections int
	// MaxDifferences is how many differences the report keeps. Defaults to 1000,
	// more than anybody reads; all are counted.
	MaxDifferences int
	// PartBlocks is how many blocks of a table are read by one statement. Defaults to
	// 2048, which are 16 MB: so the connections end at about the same time.
	PartBlocks int
	// SortMemory is what a sort may take of Postgres' memory, in megabytes, before
	// it goes to disk. Defaults to 64: counting sorts all links, and no more than
	// one sort a connection runs at a time.
	SortMemory int
	// Found, if set, is given each difference, one at a time. It holds up the work.
	Found func(Difference)
	// Progress, if set, is called now and then, one call at a time.
	Progress func(VerifyProgress)
}

func (c *VerifyConfig) defaults() {
	c.Connections = cmp.Or(c.Connections, runtime.NumCPU()+1)
	c.MaxDifferences = cmp.Or(c.MaxDifferences, 1000)
	c.PartBlocks = cmp.Or(c.PartBlocks, 2048)
	c.SortMemory = cmp.Or(c.SortMemory, 64)
}

// VerifyProgress says how far [Verify] is.
type VerifyProgress struct {
	Rows        int64 // looked at
	Done, Total int64 // bytes of tables; their rows are not known before
}

// VerifyReport is what [Verify] found.
type VerifyReport struct {
	Collections int
	Rows        int64
	Links       int64 // rows of atview.link
	Counts      int64 // rows of atview.link_count
	// CIDs recompute from their record. NoCID rows have none, because the source
	// gave none. The records of Repaired rows were changed to be storable, which
	// their flags say; Unhashable records break the data model, as a fraction does:
	// of both kinds the CID cannot be recomputed.
	CIDs, NoCID, Repaired, Unhashable int64
	// Found counts all differences, Differences holds the first of them.
	Found       map[DifferenceKind]int64
	Differences []Difference
	Took        time.Duration
}

// Clean says whether all is as it should be.
func (r *VerifyReport) Clean() bool { return len(r.Found) == 0 }

// Verify derives all that the tables hold about records anew, from the records
// alone, and reports what differs: columns, links, flags, counts, CIDs; and rows
// that should not be. It reads one snapshot of the database, so that it finds
// nothing of an index that is at work beside it, and changes nothing.
//
// While it runs, tables cannot be altered: [Migrate] gives up after its timeout
// for locks. The error is [ErrNotMigrated] if the tables are not those of the
// catalog, or that of a database that does not answer.
func Verify(ctx context.Context, db *pgxpool.Pool, cat *schema.Catalog, cfg VerifyConfig) (VerifyReport, error) {
	cfg.defaults()
	began := time.Now()
	v := &verifier{cfg: cfg, folder: newFolder(cat), whole: len(cfg.Collections) == 0, found: cfg.Found,
		links: map[string]int64{}, flags: map[string]int64{}}
	for _, tab := range v.folder.tables {
		if v.whole || slices.Contains(cfg.Collections, tab.NSID) {
			v.tables = append(v.tables, tab)
		}
	}
	for _, nsid := range cfg.Collections {
		if cat.Collection(nsid) == nil {
			return VerifyReport{}, fmt.Errorf("verify %s: no lexicon describes it", nsid)
		}
	}
	v.report.Collections = len(v.tables)
	v.report.Found = map[DifferenceKind]int64{}
	err := v.run(ctx, db)
	v.report.Took = time.Since(began)
	return v.report, err
}

// verifier is one run of [Verify].
type verifier struct {
	cfg    VerifyConfig
	folder *folder
	tables []*table
	whole  bool  // all collections
	block  int64 // bytes

	sizes map[string]int64 // of tables, in blocks
	known map[string]bool  // collections that have a table
	side  sideRows

	mu       sync.Mutex
	found    func(Difference)
	report   VerifyReport
	progress VerifyProgress
	links    map[string]int64 // rows of atview.link that have a record, by collection
	flags    map[string]int64
}

// sideRows is how many rows of the fixed tables are about each collection.
type sideRows struct {
	links, flags, tombstones, counts map[string]int64
}

// task is a part of the work that one connection does.
type task func(context.Context, pgx.Tx) error

// run shares the work among connections that all read one snapshot.
func (v *verifier) run(ctx context.Context, db *pgxpool.Pool) error {
	first, err := v.connect(ctx, db, "")
	if err != nil {
		return err
	}
	defer first.close(ctx)
	if err := v.upToDate(ctx, first.tx); err != nil {
		return err
	}
	if err := v.measure(ctx, first.tx); err != nil {
		return err
	}
	if v.side, err = v.sideRows(ctx, first.tx); err != nil {
		return err
	}
	var snapshot string
	if err := first.tx.QueryRow(ctx, "select pg_export_snapshot()").Scan(&snapshot); err != nil {
		return fmt.Errorf("export a snapshot: %w", err)
	}
	conns := []*verifyConn{first}
	for len(conns) < v.cfg.Connections {
		conn, err := v.connect(ctx, db, snapshot)
		if err != nil {
			return err
		}
		defer conn.close(ctx)
		conns = append(conns, conn)
	}
	// The longest first.
	if err := share(ctx, conns, append(v.countTasks(), v.rowTasks()...)); err != nil {
		return err
	}
	// Whether links and flags are left is known once all records have been seen.
	return share(ctx, conns, v.orphanTasks())
}

// share runs tasks, each on the next connection that is free.
func share(ctx context.Context, conns []*verifyConn, tasks []task) error {
	queue := make(chan task, len(tasks))
	for _, t := range tasks {
		queue <- t
	}
	close(queue)
	g, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		g.Go(func() error {
			for t := range queue {
				if err := t(ctx, conn.tx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

type verifyConn struct {
	conn *pgx.Conn
	tx   pgx.Tx
}

// connect opens a connection that reads a snapshot, or takes a new one.
func (v *verifier) connect(ctx context.Context, db *pgxpool.Pool, snapshot string) (*verifyConn, error) {
	conn, err := pgx.ConnectConfig(ctx, db.Config().ConnConfig.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &verifyConn{conn: conn}
	if c.tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err != nil {
		c.close(ctx)
		return nil, fmt.Errorf("begin to read: %w", err)
	}
	// The time-outs of a pool are for a request's statements. Compiling a statement
	// over many tables takes longer than what it saves. A plan for parts of any length
	// would read all accounts for each part.
	setup := fmt.Sprintf("set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0;"+
		" set local jit = off; set local plan_cache_mode = force_custom_plan; set local work_mem = '%dMB'", v.cfg.SortMemory)
	if snapshot != "" {
		setup = "set transaction snapshot " + quoteLiteral(snapshot) + "; " + setup
	}
	if _, err := conn.PgConn().Exec(ctx, setup).ReadAll(); err != nil {
		c.close(ctx)
		return nil, fmt.Errorf("set up a reader: %w", err)
	}
	return c, nil
}

func (c *verifyConn) close(ctx context.Context) {
	// Nothing is lost with the transaction, nor with a farewell that fails.
	_ = c.conn.Close(context.WithoutCancel(ctx))
}

// upToDate makes sure that the tables are the catalog's.
func (v *verifier) upToDate(ctx context.Context, tx pgx.Tx) error {
	rows, err := v.folder.q.Collections(ctx, tx)
	if err != nil {
		return fmt.Errorf("read collections: %w", err)
	}
	applied := map[string]queries.CollectionsRow{}
	v.known = map[string]bool{}
	for _, r := range rows {
		applied[r.Nsid] = r
		v.known[r.Nsid] = true
	}
	for _, tab := range v.tables {
		if a := applied[string(tab.NSID)]; a.TableName != tab.Table || a.Fingerprint != tab.Fingerprint {
			return fmt.Errorf("verify %s: %w", tab.NSID, ErrNotMigrated)
		}
	}
	return nil
}

// measure finds the lengths of the tables. It is asked after the snapshot is
// taken, so what the snapshot shows is within.
func (v *verifier) measure(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		select c.relname, current_setting('block_size')::bigint, greatest(pg_relation_size(c.oid),
			(select max(pg_relation_size(p.relid)) from pg_partition_tree(c.oid) p where p.isleaf))
		from pg_class c where c.relnamespace = 'records'::regnamespace and c.relkind in ('r', 'p')`)
	if err != nil {
		return fmt.Errorf("measure the tables: %w", err)
	}
	v.sizes = map[string]int64{}
	var table string
	var bytes int64
	if _, err := pgx.ForEachRow(rows, []any{&table, &v.block, &bytes}, func() error {
		v.sizes[table] = bytes / v.block
		return nil
	}); err != nil {
		return fmt.Errorf("measure the tables: %w", err)
	}
	for _, tab := range v.tables {
		v.progress.Total += v.sizes[tab.Table] * v.block
	}
	return nil
}

func (v *verifier) sideRows(ctx context.Context, tx pgx.Tx) (sideRows, error) {
	s := sideRows{map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]int64{}}
	links, err := v.folder.q.CountLinks(ctx, tx)
	if err != nil {
		return s, fmt.Errorf("count links: %w", err)
	}
	for _, r := range links {
		s.links[r.Collection] = r.Rows
	}
	flags, err := v.folder.q.CountFlags(ctx, tx)
	if err != nil {
		return s, fmt.Errorf("count flags: %w", err)
	}
	for _, r := range flags {
		s.flags[r.Collection] = r.Rows
	}
	tombstones, err := v.folder.q.CountTombstones(ctx, tx)
	if err != nil {
		return s, fmt.Errorf("count tombstones: %w", err)
	}
	for _, r := range tombstones {
		s.tombstones[r.Collection] = r.Rows
	}
	counts, err := v.folder.q.CountLinkCounts(ctx, tx)
	if err != nil {
		return s, fmt.Errorf("count link counts: %w", err)
	}
	for _, r := range counts {
		s.counts[r.Collection] = r.Rows
	}
	return s, nil
}

// differ takes note of differences.
func (v *verifier) differ(found ...Difference) {
	if len(found) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range found {
		v.report.Found[d.Kind]++
		if len(v.report.Differences) < v.cfg.MaxDifferences {
			v.report.Differences = append(v.report.Differences, d)
		}
		if v.found != nil {
			v.found(d)
		}
	}
}

func (v *verifier) rowTasks() []task {
	var out []task
	for _, tab := range v.tables {
		sql, blocks := verifyRowsSQL(tab.Collection, v.side), v.sizes[tab.Table]
		part := int64(v.cfg.PartBlocks)
		for from := int64(0); from < blocks; from += part {
			to := min(from+part, blocks)
			out = append(out, func(ctx context.Context, tx pgx.Tx) error {
				if err := v.rows(ctx, tx, tab, sql, from, to); err != nil {
					return fmt.Errorf("verify %s: %w", tab.NSID, err)
				}
				v.advance(0, to-from)
				return nil
			})
		}
	}
	return out
}

// advance takes note of what has been looked at.
func (v *verifier) advance(rows, blocks int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.progress.Rows += rows
	v.progress.Done += blocks * v.block
	if v.cfg.Progress != nil {
		v.cfg.Progress(v.progress)
	}
}

// countTables is how many tables' links are counted by one statement. Each
// statement reads atview.link and atview.link_count, so there should be few; but
// one over all tables of a large catalog would take long to plan.
const countTables = 64

func (v *verifier) countTasks() []task {
	var filled []*table
	var empty []string
	for _, tab := range v.tables {
		if v.sizes[tab.Table] > 0 {
			filled = append(filled, tab)
		} else {
			empty = append(empty, string(tab.NSID))
		}
	}
	var out []task
	for group := range slices.Chunk(filled, countTables) {
		out = append(out, v.countTask(group, nil))
	}
	if len(out) == 0 {
		return []task{v.countTask(nil, empty)}
	}
	// Counts of collections without a row are looked for along the way.
	out[0] = v.countTask(filled[:min(len(filled), countTables)], empty)
	return out
}

func (v *verifier) countTask(tables []*table, empty []string) task {
	return func(ctx context.Context, tx pgx.Tx) error {
		nsids := slices.Clone(empty)
		for _, tab := range tables {
			nsids = append(nsids, string(tab.NSID))
		}
		rows, err := tx.Query(ctx, verifyCountsSQL(tables), nsids)
		if err != nil {
			return fmt.Errorf("verify counts: %w", err)
		}
		var collection, link, path string
		var want, have struct{ records, dids pgtype.Int8 }
		into := []any{&collection, &link, &path, &want.records, &want.dids, &have.records, &have.dids}
		if _, err := pgx.ForEachRow(rows, into, func() error {
			v.differ(Difference{Kind: DiffCount, Collection: syntax.NSID(collection), Path: path, Target: link,
				Want: countText(want.records, want.dids), Have: countText(have.records, have.dids)})
			return nil
		}); err != nil {
			return fmt.Errorf("verify counts: %w", err)
		}
		return nil
	}
}

func countText(records, dids pgtype.Int8) string {
	if !records.Valid {
		return ""
	}
	return fmt.Sprintf("%d records of %d accounts", records.Int64, dids.Int64)
}

// orphanTasks look for links and flags without a record where there are more of
// them than the records have, and for all that is about collections without a
// table.
func (v *verifier) orphanTasks() []task {
	var out []task
	for _, tab := range v.tables {
		nsid := string(tab.NSID)
		v.report.Counts += v.side.counts[nsid]
		if v.side.links[nsid] != v.links[nsid] {
			out = append(out, v.orphanTask(nsid, "link", tab))
		}
		if v.side.flags[nsid] != v.flags[nsid] {
			out = append(out, v.orphanTask(nsid, "flag", tab))
		}
	}
	if !v.whole {
		return out
	}
	unknown := map[string]bool{}
	for _, side := range []map[string]int64{v.side.links, v.side.flags, v.side.counts} {
		for nsid := range side {
			if !v.known[nsid] {
				unknown[nsid] = true
			}
		}
	}
	for _, nsid := range sortedKeys(unknown) {
		out = append(out, v.orphanTask(nsid, "link", nil), v.orphanTask(nsid, "flag", nil), v.countTask(nil, []string{nsid}))
	}
	return out
}

// orphanTask looks for side rows of a collection that have no record; all of them
// if there is no table.
func (v *verifier) orphanTask(nsid, side string, tab *table) task {
	return func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, orphansSQL(side, tab), nsid)
		if err != nil {
			return fmt.Errorf("find orphans of %s: %w", nsid, err)
		}
		var did, rkey, have string
		if _, err := pgx.ForEachRow(rows, []any{&did, &rkey, &have}, func() error {
			v.differ(Difference{Kind: DiffOrphan, Collection: syntax.NSID(nsid), DID: syntax.DID(did), RKey: syntax.RecordKey(rkey),
				Path: "atview." + side, Have: cut(have)})
			return nil
		}); err != nil {
			return fmt.Errorf("find orphans of %s: %w", nsid, err)
		}
		return nil
	}
}

// cut shortens a value for people.
func cut(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return storableText(s[:limit]) + "…"
}
