package index

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/atview/atview/schema"
)

// verifyRowsSQL reads a part of a table with what stands about its rows
// elsewhere, if anything does about the collection's: to look for each row costs
// as much as to read it. A part is a range of blocks: ranges of the key would come
// through an index and could be of any length. $1 is the NSID, $2 and $3 the range.
func verifyRowsSQL(c *schema.Collection, side sideRows) string {
	about := func(rows map[string]int64, sql string) string {
		if rows[string(c.NSID)] == 0 {
			return "null"
		}
		return "(" + sql + " where (s.rkey, s.did, s.collection) = (t.rkey, t.did, $1))"
	}
	var b strings.Builder
	b.WriteString("select t.rkey, t.did, t.cid, t.rev, t.indexed_at, t.sort_at, t.flagged, t.hidden, t.record::text," +
		" coalesce(a.status, ''), coalesce(a.purged_rev, '')")
	for _, text := range []string{
		about(side.links, "select json_agg(json_build_array(s.path, s.target, s.sort_at = t.sort_at and s.hidden = t.hidden))::text from atview.link s"),
		about(side.flags, "select json_agg(json_build_array(s.path, s.reason) order by s.ordinal)::text from atview.flag s"),
		about(side.tombstones, "select s.rev from atview.tombstone s"),
	} {
		b.WriteString(",\n" + text)
	}
	for _, col := range c.Columns {
		b.WriteString(", t." + schema.Quote(col.Name))
	}
	// The NSID has its type also where it is not asked for.
	fmt.Fprintf(&b, "\nfrom %s t left join atview.actor a on a.did = t.did where t.ctid >= $2 and t.ctid < $3 and $1::text is not null", TableName(c))
	return b.String()
}

// verifyCountsSQL counts the links of tables and gives the counts that are not
// stored so. $1 are the NSIDs.
func verifyCountsSQL(tables []*table) string {
	var b strings.Builder
	b.WriteString("with want as (\nselect collection, target, path, count(*) as records, count(distinct did) as dids from (\n" +
		"select collection, target, path, did from atview.link where collection = any($1::text[]) and not hidden")
	for _, tab := range tables {
		for _, l := range tab.Links {
			fmt.Fprintf(&b, "\nunion all select %s, %s, %s, did from %s where not hidden and %[2]s is not null",
				quoteLiteral(string(tab.NSID)), schema.Quote(l.Column.Name), quoteLiteral(l.Path), TableName(tab.Collection))
		}
	}
	b.WriteString("\n) links group by collection, target, path)\n" +
		"select collection, target, path, w.records, w.dids, c.records, c.dids from want w\n" +
		"full join (select * from atview.link_count where collection = any($1::text[])) c using (collection, target, path)\n" +
		"where (w.records, w.dids) is distinct from (c.records, c.dids)")
	return b.String()
}

// orphansSQL finds the rows of atview.link or atview.flag that have no record;
// without a table that is all of them. $1 is the NSID.
func orphansSQL(side string, tab *table) string {
	have := map[string]string{"link": "s.path || ' ' || s.target", "flag": "s.path || ' ' || s.reason"}[side]
	sql := fmt.Sprintf("select s.did, s.rkey, %s from atview.%s s where s.collection = $1", have, side)
	if tab != nil {
		sql += fmt.Sprintf(" and not exists (select from %s t where (t.rkey, t.did) = (s.rkey, s.did))", TableName(tab.Collection))
	}
	return sql
}

// storedRow is a row as the database has it.
type storedRow struct {
	key
	cid                pgtype.Text
	rev                string
	indexedAt, sortAt  pgtype.Timestamptz
	flagged, hidden    bool
	record             []byte
	status, purgedRev  string // of its account; "" for one that no event has mentioned
	links, flags, tomb pgtype.Text
	columns            []any // pointers to scan into
}

func newStoredRow(c *schema.Collection) *storedRow {
	r := &storedRow{}
	for _, col := range c.Columns {
		r.columns = append(r.columns, newColumn(col.SQL()))
	}
	return r
}

func (r *storedRow) into() []any {
	return append([]any{&r.rkey, &r.did, &r.cid, &r.rev, &r.indexedAt, &r.sortAt, &r.flagged, &r.hidden, &r.record,
		&r.status, &r.purgedRev, &r.links, &r.flags, &r.tomb}, r.columns...)
}

// newColumn is where a column's value is read to.
func newColumn(sql string) any {
	switch sql {
	case "boolean":
		return new(pgtype.Bool)
	case "bigint":
		return new(pgtype.Int8)
	case "timestamptz":
		return new(pgtype.Timestamptz)
	case "boolean[]":
		return new([]pgtype.Bool)
	case "bigint[]":
		return new([]pgtype.Int8)
	case "timestamptz[]":
		return new([]pgtype.Timestamptz)
	case "text[]":
		return new([]pgtype.Text)
	}
	return new(pgtype.Text)
}

// columnText is a column's value as text to compare and to show; "" for null.
func columnText(column any) string {
	switch v := column.(type) {
	case *pgtype.Bool:
		return boolText(*v)
	case *pgtype.Int8:
		return intText(*v)
	case *pgtype.Timestamptz:
		return timeText(*v)
	case *pgtype.Text:
		return textText(*v)
	case *[]pgtype.Bool:
		return arrayText(*v, boolText)
	case *[]pgtype.Int8:
		return arrayText(*v, intText)
	case *[]pgtype.Timestamptz:
		return arrayText(*v, timeText)
	case *[]pgtype.Text:
		return arrayText(*v, textText)
	}
	return ""
}

// valueText is a value of a [schema.Row] in the words of columnText.
func valueText(value any) string {
	switch v := value.(type) {
	case bool:
		return boolText(pgtype.Bool{Bool: v, Valid: true})
	case int64:
		return intText(pgtype.Int8{Int64: v, Valid: true})
	case time.Time:
		return timeText(pgtype.Timestamptz{Time: v, Valid: true})
	case string:
		return textText(pgtype.Text{String: v, Valid: true})
	case []bool:
		return arrayText(v, func(v bool) string { return valueText(v) })
	case []int64:
		return arrayText(v, func(v int64) string { return valueText(v) })
	case []time.Time:
		return arrayText(v, func(v time.Time) string { return valueText(v) })
	case []string:
		return arrayText(v, func(v string) string { return valueText(v) })
	}
	return ""
}

func boolText(v pgtype.Bool) string {
	if !v.Valid {
		return ""
	}
	return strconv.FormatBool(v.Bool)
}

func intText(v pgtype.Int8) string {
	if !v.Valid {
		return ""
	}
	return strconv.FormatInt(v.Int64, 10)
}

// timeText has the microseconds that Postgres keeps.
func timeText(v pgtype.Timestamptz) string {
	switch {
	case !v.Valid:
		return ""
	case v.InfinityModifier != pgtype.Finite:
		return v.InfinityModifier.String()
	}
	return v.Time.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
}

// textText quotes text, so that an empty one is not null.
func textText(v pgtype.Text) string {
	if !v.Valid {
		return ""
	}
	return `"` + v.String + `"`
}

func arrayText[T any](values []T, text func(T) string) string {
	if values == nil {
		return ""
	}
	out := make([]string, len(values))
	for i, v := range values {
		if out[i] = text(v); out[i] == "" {
			out[i] = "null"
		}
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// rows verifies a range of a table's blocks.
func (v *verifier) rows(ctx context.Context, tx pgx.Tx, tab *table, sql string, from, to int64) error {
	rows, err := tx.Query(ctx, sql, string(tab.NSID), blockStart(from), blockStart(to))
	if err != nil {
		return err
	}
	c := checker{tab: tab, row: newStoredRow(tab.Collection)}
	into := c.row.into()
	var done int64
	_, err = pgx.ForEachRow(rows, into, func() error {
		c.found = c.found[:0]
		if err := c.check(); err != nil {
			return fmt.Errorf("%s/%s: %w", c.row.did, c.row.rkey, err)
		}
		v.differ(c.found...)
		if done++; done%progressRows == 0 {
			v.advance(progressRows, 0)
		}
		return nil
	})
	v.advance(done%progressRows, 0)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.links[string(tab.NSID)] += c.links
	v.flags[string(tab.NSID)] += c.flags
	v.report.Rows += done
	v.report.Links += c.links
	v.report.CIDs += c.cids
	v.report.NoCID += c.noCID
	v.report.Repaired += c.repaired
	v.report.Unhashable += c.unhashable
	return err
}

// progressRows is after how many rows progress is told: a tenth of a second or so.
const progressRows = 5000

func blockStart(block int64) pgtype.TID {
	return pgtype.TID{BlockNumber: uint32(min(block, 1<<32-1)), Valid: true} //nolint:gosec // a table has less than 2^32 blocks
}

// checker holds rows of a table against their records.
type checker struct {
	tab   *table
	row   *storedRow
	found []Difference

	links, flags                      int64
	cids, noCID, repaired, unhashable int64
}

func (c *checker) differ(kind DifferenceKind, path, target, want, have string) {
	c.found = append(c.found, Difference{Kind: kind, Collection: c.tab.NSID, DID: syntax.DID(c.row.did), RKey: syntax.RecordKey(c.row.rkey),
		Path: path, Target: target, Want: cut(want), Have: cut(have)})
}

// check looks at one row. The error is for what the database cannot have sent.
func (c *checker) check() error {
	r := c.row
	var links []storedLink
	var flags []storedFlag
	if err := unpack(r.links, &links); err != nil {
		return fmt.Errorf("read links: %w", err)
	}
	if err := unpack(r.flags, &flags); err != nil {
		return fmt.Errorf("read flags: %w", err)
	}
	c.links += int64(len(links))
	c.flags += int64(len(flags))
	if r.tomb.Valid && r.tomb.String >= r.rev {
		c.differ(DiffTombstone, "", "", "deleted at "+r.tomb.String, r.rev)
	}
	if r.rev <= r.purgedRev {
		c.differ(DiffDeleted, "", "", "nothing up to "+r.purgedRev, r.rev)
	}
	if hidden := r.status != "" && r.status != statusActive; hidden != r.hidden {
		c.differ(DiffColumn, "hidden", "", strconv.FormatBool(hidden), strconv.FormatBool(r.hidden))
	}
	row, err := c.tab.Row(r.record)
	if err != nil {
		c.differ(DiffRecord, "", "", "a record", err.Error())
		return nil
	}
	repaired := c.checkFlags(&row, flags)
	c.checkColumns(&row)
	c.checkLinks(&row, links)
	c.checkCID(repaired)
	return nil
}

func (c *checker) checkColumns(row *schema.Row) {
	r := c.row
	for i, col := range c.tab.Columns {
		// Of more links than are kept, others may be there.
		if col.Link != nil && len(row.Links) >= schema.MaxLinks {
			continue
		}
		if want, have := valueText(row.Values[i]), columnText(r.columns[i]); want != have {
			c.differ(DiffColumn, col.Name, "", want, have)
		}
	}
	sortAt := timestamp(sortTime(r.rkey, &change{at: r.indexedAt.Time, row: *row}))
	if want, have := timeText(sortAt), timeText(r.sortAt); want != have {
		c.differ(DiffColumn, "sort_at", "", want, have)
	}
}

// storedLink is a row of atview.link.
type storedLink struct {
	path, target string
	fits         bool // has the sort_at and hidden of its record
}

// UnmarshalJSON reads an array of the fields.
func (l *storedLink) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&l.path, &l.target, &l.fits})
}

func (c *checker) checkLinks(row *schema.Row, have []storedLink) {
	for _, l := range have {
		if !l.fits {
			c.differ(DiffLink, l.path, l.target, "sort_at and hidden of its record", "others")
		}
	}
	if len(row.Links) >= schema.MaxLinks {
		return
	}
	for _, l := range row.Links {
		if l.Column >= 0 {
			continue
		}
		i := slices.IndexFunc(have, func(h storedLink) bool { return h.path == l.Path && h.target == l.Target })
		if i < 0 {
			c.differ(DiffLink, l.Path, l.Target, "a row", "")
			continue
		}
		have = slices.Delete(have, i, i+1)
	}
	for _, l := range have {
		c.differ(DiffLink, l.path, l.target, "", "a row")
	}
}

// storedFlag is a row of atview.flag.
type storedFlag struct{ path, reason string }

// UnmarshalJSON reads an array of the fields.
func (f *storedFlag) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&f.path, &f.reason})
}

// checkFlags compares the flags but those of repairs, which the stored record no
// longer shows, and says whether there is one of these. Their order is that of
// the record's properties, which jsonb does not keep.
func (c *checker) checkFlags(row *schema.Row, have []storedFlag) (repaired bool) {
	var want []storedFlag
	for _, f := range row.Flags {
		want = append(want, storedFlag{storableText(f.Path), storableText(f.Reason)})
	}
	kept := have[:0:0]
	for _, f := range have {
		if slices.Contains(schema.RepairReasons, f.reason) {
			repaired = true
		} else {
			kept = append(kept, f)
		}
	}
	if flagged := repaired || len(want) > 0; flagged != c.row.flagged {
		c.differ(DiffColumn, "flagged", "", strconv.FormatBool(flagged), strconv.FormatBool(c.row.flagged))
	}
	// Of more flags than are kept, others may be there.
	if all := len(want) + len(have) - len(kept); all >= schema.MaxFlags && len(have) >= schema.MaxFlags {
		return repaired
	}
	missing, extra := difference(want, kept), difference(kept, want)
	for _, f := range missing {
		c.differ(DiffFlag, f.path, "", f.reason, "")
	}
	for _, f := range extra {
		c.differ(DiffFlag, f.path, "", "", f.reason)
	}
	return repaired
}

// difference is what is in a and not in b, each as often as it is.
func difference(a, b []storedFlag) []storedFlag {
	if len(a) == 0 {
		return nil
	}
	rest := slices.Clone(b)
	var out []storedFlag
	for _, f := range a {
		if i := slices.Index(rest, f); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b storedFlag) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.reason, b.reason))
	})
	return out
}

func (c *checker) checkCID(repaired bool) {
	switch {
	case !c.row.cid.Valid:
		c.noCID++
		return
	case repaired:
		c.repaired++
		return
	}
	got, err := schema.CID(c.row.record)
	switch {
	case err != nil:
		c.unhashable++
	case got == c.row.cid.String:
		c.cids++
	default:
		c.differ(DiffCID, "", "", got, c.row.cid.String)
	}
}

// unpack reads what Postgres has gathered of a row's side rows; none are null.
func unpack[T any](text pgtype.Text, into *[]T) error {
	if !text.Valid {
		return nil
	}
	return json.Unmarshal([]byte(text.String), into)
}
