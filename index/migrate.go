package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

// ErrBusy says that rows have to be derived anew while other index processes
// write them.
var ErrBusy = errors.New("other index processes are at work on this database; stop them first")

// Inspect reads from Postgres' catalog what [Plan] compares.
func Inspect(ctx context.Context, db *pgxpool.Pool) (Live, error) {
	live := Live{Tables: map[string]LiveTable{}}
	var begun bool
	if err := db.QueryRow(ctx, "select to_regclass('atview.collection') is not null").Scan(&begun); err != nil {
		return live, fmt.Errorf("read the database: %w", err)
	}
	if !begun {
		return live, nil
	}
	rows, err := queries.New().Collections(ctx, db)
	if err != nil {
		return live, fmt.Errorf("read collections: %w", err)
	}
	for _, r := range rows {
		live.Applied = append(live.Applied, Applied{NSID: r.Nsid, Table: r.TableName, Fingerprint: r.Fingerprint})
	}
	columns, err := db.Query(ctx, `
		select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), coalesce(col_description(c.oid, a.attnum), '')
		from pg_class c
		join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		where c.relnamespace = 'records'::regnamespace and c.relkind in ('r', 'p')`)
	if err != nil {
		return live, fmt.Errorf("read columns: %w", err)
	}
	var table, name, sql, comment string
	if _, err := pgx.ForEachRow(columns, []any{&table, &name, &sql, &comment}, func() error {
		t, ok := live.Tables[table]
		if !ok {
			t = LiveTable{Columns: map[string]string{}, Indexes: map[string]bool{}, Comments: map[string]string{}}
			live.Tables[table] = t
		}
		t.Columns[name] = sql
		t.Comments[name] = comment
		return nil
	}); err != nil {
		return live, fmt.Errorf("read columns: %w", err)
	}
	indexes, err := db.Query(ctx, `
		select t.relname, i.relname, x.indisvalid, coalesce(obj_description(t.oid, 'pg_class'), '')
		from pg_index x
		join pg_class i on i.oid = x.indexrelid
		join pg_class t on t.oid = x.indrelid
		where t.relnamespace = 'records'::regnamespace`)
	if err != nil {
		return live, fmt.Errorf("read indexes: %w", err)
	}
	var valid bool
	if _, err := pgx.ForEachRow(indexes, []any{&table, &name, &valid, &comment}, func() error {
		live.Tables[table].Indexes[name] = valid
		live.Tables[table].Comments[""] = comment
		return nil
	}); err != nil {
		return live, fmt.Errorf("read indexes: %w", err)
	}
	for name, t := range live.Tables {
		if err := db.QueryRow(ctx, "select exists (select from records."+schema.Quote(name)+")").Scan(&t.HasRows); err != nil {
			return live, fmt.Errorf("look into %s: %w", name, err)
		}
		live.Tables[name] = t
	}
	return live, nil
}

// KeepNames gives collections the tables that they have in the database. Call it
// before anything else is done with a catalog.
func KeepNames(ctx context.Context, db *pgxpool.Pool, cat *schema.Catalog) (*schema.Catalog, error) {
	var begun bool
	if err := db.QueryRow(ctx, "select to_regclass('atview.collection') is not null").Scan(&begun); err != nil {
		return nil, fmt.Errorf("read the names of tables: %w", err)
	}
	if !begun {
		return cat, nil
	}
	rows, err := queries.New().Collections(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("read the names of tables: %w", err)
	}
	given := map[syntax.NSID]string{}
	for _, r := range rows {
		given[syntax.NSID(r.Nsid)] = r.TableName
	}
	return cat.WithTables(given), nil
}

// MigrateConfig says how far [Migrate] may go.
type MigrateConfig struct {
	// Destructive allows what drops tables and columns.
	Destructive bool
	// Progress, if set, is called while rows are derived anew.
	Progress func(collection syntax.NSID, rows int64)
	Logger   zerolog.Logger
}

// Migrate brings the tables to the catalog and returns what it did, and what it
// left because it is destructive. It may be interrupted anywhere and called
// again. Several processes may call it at once: one works, the others wait.
func Migrate(ctx context.Context, db *pgxpool.Pool, cat *schema.Catalog, cfg MigrateConfig) (applied, left []Change, err error) {
	conn, err := pgx.ConnectConfig(ctx, db.Config().ConnConfig.Copy())
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1, $2)", lockClass, lockMigrate); err != nil {
		return nil, nil, fmt.Errorf("wait for other migrations: %w", err)
	}
	live, err := Inspect(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	m := migration{conn: conn, folder: newFolder(cat), cfg: cfg}
	if err := m.forget(ctx, cat); err != nil {
		return nil, nil, err
	}
	for _, change := range Plan(live, cat) {
		if change.Class == Destructive && !cfg.Destructive {
			left = append(left, change)
			continue
		}
		if err := m.apply(ctx, change); err != nil {
			return applied, left, fmt.Errorf("%s: %s: %w", change.Collection, change.What, err)
		}
		applied = append(applied, change)
	}
	return applied, left, nil
}

const lockMigrate = -2

type migration struct {
	conn   *pgx.Conn
	folder *folder
	cfg    MigrateConfig
}

// forget notes that collections without a lexicon are not folded from now on. What
// their accounts do meanwhile does not reach their rows, so that they are derived
// anew when the lexicon is back.
func (m *migration) forget(ctx context.Context, cat *schema.Catalog) error {
	var nsids []string
	for _, c := range cat.Collections {
		nsids = append(nsids, string(c.NSID))
	}
	if err := m.folder.q.ForgetCollections(ctx, m.conn, nsids); err != nil {
		return fmt.Errorf("note which collections are not folded: %w", err)
	}
	return nil
}

func (m *migration) apply(ctx context.Context, change Change) error {
	if change.Class == Slow {
		m.cfg.Logger.Info().Str("collection", change.Collection).Msg(change.What)
	}
	if concurrent(change.SQL) {
		for _, sql := range change.SQL {
			if _, err := m.conn.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}
	err := pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
		// DDL waits for readers behind it, and new readers wait for DDL. Giving up
		// soon keeps a long query from stopping the API. What Postgres loses in a
		// crash, the next start does again.
		setup := "set local lock_timeout = '10s'; set local synchronous_commit = off;\n"
		// All at once: a table has dozens of comments, and a catalog hundreds of
		// tables.
		if _, err := tx.Conn().PgConn().Exec(ctx, setup+strings.Join(change.SQL, ";\n")).ReadAll(); err != nil {
			return err
		}
		if change.Rederive {
			return nil
		}
		return m.note(ctx, tx, change.Done)
	})
	if err != nil || !change.Rederive {
		return err
	}
	if err := m.rederive(ctx, m.folder.byNSID[change.Collection]); err != nil {
		return err
	}
	return m.note(ctx, m.conn, change.Done)
}

// note records that a collection is up to its lexicon, or gone.
func (m *migration) note(ctx context.Context, db queries.DBTX, done *Applied) error {
	switch {
	case done == nil:
		return nil
	case done.Table == "":
		return m.folder.q.DropCollection(ctx, db, done.NSID)
	}
	return m.folder.q.PutCollection(ctx, db, queries.PutCollectionParams{
		Nsid: done.NSID, TableName: done.Table, Fingerprint: done.Fingerprint})
}

// rederiveBatch is how many rows are derived anew in a transaction; see
// [Config.BatchSize].
const rederiveBatch = 1000

// rederive reads each row of a table anew from its record and writes what
// differs: columns, flags, links, counts. Rows keep their rev. The index's
// workers must not run: they are the only writers of their repositories.
func (m *migration) rederive(ctx context.Context, tab *table) error {
	// A process that has just ended is gone only when its session is.
	alone := false
	for attempt := 0; !alone; attempt++ {
		if err := m.conn.QueryRow(ctx, "select pg_try_advisory_lock($1, $2)", lockClass, lockMember).Scan(&alone); err != nil {
			return err
		}
		if !alone && (attempt == 5 || !sleep(ctx, backoff(attempt))) {
			return ErrBusy
		}
	}
	defer func() {
		// The lock ends with the connection, too.
		_, _ = m.conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1, $2)", lockClass, lockMember)
	}()
	var after key
	for done := int64(0); ; {
		n, last, err := m.rederiveFrom(ctx, tab, after)
		if err != nil {
			return err
		}
		if n == 0 {
			return m.recount(ctx, tab)
		}
		after = last
		done += int64(n)
		if m.cfg.Progress != nil {
			m.cfg.Progress(tab.NSID, done)
		}
	}
}

// recount makes the link counts of a collection anew. Counting what changed
// would need what the rows linked to under the lexicon before, which nobody has
// any more: a property that is gone left its links in a column of old.
func (m *migration) recount(ctx context.Context, tab *table) error {
	return pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "delete from atview.link_count where collection = $1", string(tab.NSID)); err != nil {
			return fmt.Errorf("drop link counts: %w", err)
		}
		if _, err := tx.Exec(ctx, recountSQL(tab.Collection), string(tab.NSID)); err != nil {
			return fmt.Errorf("count links: %w", err)
		}
		return nil
	})
}

func (m *migration) rederiveFrom(ctx context.Context, tab *table, after key) (n int, last key, err error) {
	err = pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
		changes, hidden, err := m.storedRows(ctx, tx, tab, after)
		if err != nil || len(changes) == 0 {
			return err
		}
		keys := sortedKeysOf(changes)
		n, last = len(keys), keys[len(keys)-1]
		have, err := m.folder.existing(ctx, tx, tab, keys)
		if err != nil {
			return err
		}
		_, err = m.folder.write(ctx, tx, nil, tab, keys, changes, have, func(did string) bool { return hidden[did] }, tab.sql.force)
		return err
	})
	return n, last, err
}

// storedRows reads the next rows of a table, as changes that put them again, or
// remove them if their account was deleted since.
func (m *migration) storedRows(ctx context.Context, tx pgx.Tx, tab *table, after key) (map[key]change, map[string]bool, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("select t.rkey, t.did, coalesce(t.cid, ''), t.rev, t.indexed_at, coalesce(a.status <> 'active', false),"+
		" coalesce(t.rev <= a.purged_rev, false), t.record::text from %s t left join atview.actor a using (did)"+
		" where (t.rkey, t.did) > ($1, $2) order by t.rkey, t.did limit %d", TableName(tab.Collection), rederiveBatch), after.rkey, after.did)
	if err != nil {
		return nil, nil, fmt.Errorf("read rows: %w", err)
	}
	changes, hidden := map[key]change{}, map[string]bool{}
	var k key
	var cid, rev, record string
	var at time.Time
	var isHidden, isPurged bool
	if _, err := pgx.ForEachRow(rows, []any{&k.rkey, &k.did, &cid, &rev, &at, &isHidden, &isPurged, &record}, func() error {
		hidden[k.did] = isHidden
		if isPurged {
			changes[k] = change{rev: syntax.TID(rev), gone: true}
			return nil
		}
		row, err := tab.Row([]byte(record))
		if err != nil {
			return err
		}
		changes[k] = change{rev: syntax.TID(rev), cid: cid, at: at, row: row}
		return nil
	}); err != nil {
		return nil, nil, fmt.Errorf("read rows: %w", err)
	}
	return changes, hidden, m.keepRepairs(ctx, tx, tab, changes)
}

// keepRepairs carries over the flags about what Postgres could not hold: the
// stored record no longer shows it.
func (m *migration) keepRepairs(ctx context.Context, tx pgx.Tx, tab *table, changes map[key]change) error {
	rkeys := make([]string, 0, len(changes))
	for _, k := range sortedKeysOf(changes) {
		rkeys = append(rkeys, k.rkey)
	}
	flags, err := m.folder.q.FlagsByReason(ctx, tx, queries.FlagsByReasonParams{
		Collection: string(tab.NSID), Rkeys: rkeys, Reasons: schema.RepairReasons})
	if err != nil {
		return fmt.Errorf("read flags: %w", err)
	}
	carried := map[key]int{}
	for _, f := range flags {
		k := key{f.Rkey, f.Did}
		if ch, ok := changes[k]; ok {
			ch.row.Flags = slices.Insert(ch.row.Flags, carried[k], schema.Flag{Path: f.Path, Reason: f.Reason})
			carried[k]++ // repairs stand first, as Row puts them
			changes[k] = ch
		}
	}
	return nil
}
