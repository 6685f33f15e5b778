package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

// RepoState is a repository read whole and verified.
type RepoState struct {
	DID syntax.DID
	Rev syntax.TID
	// Records are all records of the repository, in any order; those of other
	// collections than the catalog's are passed over. An error ends the comparison.
	Records iter.Seq2[RepoRecord, error]
}

// RepoRecord is a record of a repository. JSON need be valid only until the next.
type RepoRecord struct {
	Collection syntax.NSID
	RKey       syntax.RecordKey
	CID        string
	JSON       []byte
}

// CompareConfig says what [Compare] looks at. Zero values take the defaults.
type CompareConfig struct {
	// Collections to look at; all of the catalog if there are none. Of those that
	// the repository was not read for, all rows would be extra.
	Collections []syntax.NSID
	// MaxDifferences is how many differences the report keeps. Defaults to 1000,
	// more than anybody reads; all are counted.
	MaxDifferences int
	// Found, if set, is given each difference.
	Found func(Difference)
}

// CompareReport is what [Compare] found.
type CompareReport struct {
	Rows    int64 // of the repository in the tables
	Records int64 // of the collections in the repository
	// Newer are rows that were changed or removed after the repository was read, or
	// belong to an account that was deleted since: no differences.
	Newer int64
	// Found counts all differences, Differences holds the first of them.
	Found       map[DifferenceKind]int64
	Differences []Difference
}

// Clean says whether the rows are the repository's.
func (r *CompareReport) Clean() bool { return len(r.Found) == 0 }

// Compare holds the rows of one repository against the repository. Differences
// are of the kinds [DiffMissing], [DiffExtra], [DiffCID] and, where a row has the
// right CID or none but not that record, [DiffRecord].
//
// It remembers the rows' keys, revs and CIDs meanwhile, some 250 bytes a row.
func Compare(ctx context.Context, db *pgxpool.Pool, cat *schema.Catalog, repo RepoState, cfg CompareConfig) (CompareReport, error) {
	if cfg.MaxDifferences == 0 {
		cfg.MaxDifferences = 1000
	}
	c := comparison{repo: repo, cfg: cfg, tables: map[syntax.NSID]*table{}, rows: map[repoKey]repoRow{}, tombs: map[repoKey]string{},
		report: CompareReport{Found: map[DifferenceKind]int64{}}}
	for _, tab := range newFolder(cat).tables {
		if len(cfg.Collections) == 0 || slices.Contains(cfg.Collections, tab.NSID) {
			c.tables[tab.NSID] = tab
			c.order = append(c.order, tab)
		}
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, db, options, func(tx pgx.Tx) error { return c.run(ctx, tx) })
	if err != nil {
		return c.report, fmt.Errorf("compare %s: %w", repo.DID, err)
	}
	return c.report, nil
}

// comparison is one run of [Compare].
type comparison struct {
	repo   RepoState
	cfg    CompareConfig
	tables map[syntax.NSID]*table
	order  []*table
	report CompareReport

	rows   map[repoKey]repoRow
	tombs  map[repoKey]string
	purged string
}

type repoKey struct {
	collection syntax.NSID
	rkey       syntax.RecordKey
}

// repoRow is what is remembered of a row until its record comes along.
type repoRow struct {
	rev string
	cid string // as stored; "" for unknown
	// hash is what the stored record recomputes to, when that is not cid; "" when it
	// does not recompute.
	hash string
	odd  bool // hash is not cid
}

func (c *comparison) run(ctx context.Context, tx pgx.Tx) error {
	if err := c.read(ctx, tx); err != nil {
		return err
	}
	for record, err := range c.repo.Records {
		if err != nil {
			return fmt.Errorf("read the repository: %w", err)
		}
		if tab := c.tables[record.Collection]; tab != nil {
			c.report.Records++
			if err := c.record(ctx, tx, tab, record); err != nil {
				return fmt.Errorf("%s/%s: %w", record.Collection, record.RKey, err)
			}
		}
	}
	// What is left is not in the repository.
	left := slices.SortedFunc(maps.Keys(c.rows), func(a, b repoKey) int {
		return cmp.Or(strings.Compare(string(a.collection), string(b.collection)), strings.Compare(string(a.rkey), string(b.rkey)))
	})
	for _, k := range left {
		if rev := c.rows[k].rev; rev > string(c.repo.Rev) {
			c.report.Newer++
		} else {
			c.differ(DiffExtra, k, "", "rev "+rev)
		}
	}
	return nil
}

// read remembers the rows of the repository, and what is known to be gone.
func (c *comparison) read(ctx context.Context, tx pgx.Tx) error {
	q := queries.New()
	var err error
	if c.purged, err = q.PurgedRev(ctx, tx, string(c.repo.DID)); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read the account: %w", err)
	}
	tombs, err := q.TombstonesOf(ctx, tx, string(c.repo.DID))
	if err != nil {
		return fmt.Errorf("read tombstones: %w", err)
	}
	for _, t := range tombs {
		c.tombs[repoKey{syntax.NSID(t.Collection), syntax.RecordKey(t.Rkey)}] = t.Rev
	}
	for _, tab := range c.order {
		rows, err := tx.Query(ctx, fmt.Sprintf("select rkey, rev, cid, record::text from %s where did = $1", TableName(tab.Collection)), string(c.repo.DID))
		if err != nil {
			return fmt.Errorf("read rows of %s: %w", tab.NSID, err)
		}
		var rkey, rev string
		var cid pgtype.Text
		var record []byte
		if _, err := pgx.ForEachRow(rows, []any{&rkey, &rev, &cid, &record}, func() error {
			row := repoRow{rev: rev, cid: cid.String}
			if hash, err := schema.CID(record); err != nil || hash != row.cid {
				row.hash, row.odd = hash, true
			}
			c.rows[repoKey{tab.NSID, syntax.RecordKey(rkey)}] = row
			return nil
		}); err != nil {
			return fmt.Errorf("read rows of %s: %w", tab.NSID, err)
		}
	}
	c.report.Rows = int64(len(c.rows))
	return nil
}

// record holds a record of the repository against its row.
func (c *comparison) record(ctx context.Context, tx pgx.Tx, tab *table, record RepoRecord) error {
	k := repoKey{record.Collection, record.RKey}
	row, found := c.rows[k]
	delete(c.rows, k)
	rev := string(c.repo.Rev)
	switch {
	case !found && (c.tombs[k] > rev || c.purged >= rev):
		c.report.Newer++
	case !found:
		c.differ(DiffMissing, k, record.CID, "")
	case row.rev > rev:
		c.report.Newer++
	case row.cid != "" && row.cid != record.CID:
		c.differ(DiffCID, k, record.CID, row.cid)
	case !row.odd || row.hash == record.CID:
	default:
		// The stored record may be one that was changed to be storable.
		same, err := storedAs(ctx, tx, tab, c.repo.DID, record)
		if err != nil {
			return err
		}
		if !same {
			c.differ(DiffRecord, k, record.CID, row.hash)
		}
	}
	return nil
}

// storedAs says whether a row's record is what the fold makes of a record.
func storedAs(ctx context.Context, tx pgx.Tx, tab *table, did syntax.DID, record RepoRecord) (same bool, err error) {
	row, err := tab.Row(record.JSON)
	if err != nil {
		return false, nil //nolint:nilerr // the fold would not have stored it
	}
	err = tx.QueryRow(ctx, fmt.Sprintf("select record = $3::text::jsonb from %s where rkey = $1 and did = $2", TableName(tab.Collection)),
		string(record.RKey), string(did), string(row.Record)).Scan(&same)
	if err != nil {
		return false, fmt.Errorf("compare the record: %w", err)
	}
	return same, nil
}

func (c *comparison) differ(kind DifferenceKind, k repoKey, want, have string) {
	d := Difference{Kind: kind, Collection: k.collection, DID: c.repo.DID, RKey: k.rkey, Want: want, Have: have}
	c.report.Found[kind]++
	if len(c.report.Differences) < c.cfg.MaxDifferences {
		c.report.Differences = append(c.report.Differences, d)
	}
	if c.cfg.Found != nil {
		c.cfg.Found(d)
	}
}
