package index

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atview/atview/schema"
)

// The SQL over a collection's table that the fold runs, from one pure place.
// Statements take arrays and unnest them: one plan per collection, whatever the
// batch.

// tableSQL is the statements of one collection.
type tableSQL struct {
	columns  []string // that are written, unquoted, in the order of upsertColumns
	existing string   // $1 rkeys, $2 dids → i, rev, cid, hidden, flagged, link columns
	absent   string   // $1 dids → those without a row, and without a tombstone anywhere
	upsert   string   // arrays in the order of upsertColumns
	force    string   // the same, for rows of the stored rev
	remove   string   // $1 rkeys, $2 dids
	touch    string   // $1 rkeys, $2 dids, $3 revs
	older    string   // $1 dids, $2 revs → rkey, did
	hide     string   // $1 dids, $2 hidden
	visible  string   // $1 did, $2 rev → rkey, rev
	purge    string   // $1 did, $2 rev → rkey, rev
	linkers  []string // per link: $1 targets, $2 dids, $3 bound → i, records
	sums     []string // per link: $1 dids, $2 hidden → target, did, records
}

func newTableSQL(c *schema.Collection) tableSQL {
	table := TableName(c)
	s := tableSQL{
		existing: existingSQL(c),
		upsert:   upsertSQL(c, "<"),
		force:    upsertSQL(c, "<="),
		remove: fmt.Sprintf("delete from %s t using (select unnest($1::text[]) as rkey, unnest($2::text[]) as did) k"+
			" where (t.rkey, t.did) = (k.rkey, k.did)", table),
		touch: fmt.Sprintf("update %s t set rev = k.rev from (select unnest($1::text[]) as rkey, unnest($2::text[]) as did, unnest($3::text[]) as rev) k"+
			" where (t.rkey, t.did) = (k.rkey, k.did)", table),
		absent: fmt.Sprintf("select k.did from (select unnest($1::text[]) as did) k"+
			" where not exists (select from %s t where t.did = k.did)"+
			" and not exists (select from atview.tombstone s where s.did = k.did)", table),
		older: fmt.Sprintf("select t.rkey, t.did from %s t join (select unnest($1::text[]) as did, unnest($2::text[]) as rev) k"+
			" on t.did = k.did and t.rev < k.rev", table),
		hide:    fmt.Sprintf("update %s set hidden = $2 where did = any($1::text[]) and hidden <> $2", table),
		visible: fmt.Sprintf("select rkey, rev from %s where did = $1 and rev <= $2 and not hidden", table),
		purge:   fmt.Sprintf("delete from %s where did = $1 and rev <= $2 returning rkey, rev", table),
	}
	s.columns = slices.Clone(writtenColumns)
	for _, col := range c.Columns {
		s.columns = append(s.columns, col.Name)
	}
	for _, l := range c.Links {
		col := schema.Quote(l.Column.Name)
		s.linkers = append(s.linkers, fmt.Sprintf("select k.i::bigint, (select count(*) from (select from %s t"+
			" where t.%s = k.target and t.did = k.did and not t.hidden limit $3::bigint) x)"+
			" from (select generate_subscripts($1::text[], 1) as i, unnest($1::text[]) as target, unnest($2::text[]) as did) k", table, col))
		s.sums = append(s.sums, fmt.Sprintf("select t.%[2]s, t.did, count(*) from %[1]s t"+
			" where t.did = any($1::text[]) and t.hidden = $2 and t.%[2]s is not null group by 1, 2", table, col))
	}
	return s
}

func existingSQL(c *schema.Collection) string {
	var b strings.Builder
	b.WriteString("select k.i::bigint, t.rev, coalesce(t.cid, ''), t.hidden, t.flagged")
	for _, l := range c.Links {
		b.WriteString(", t." + schema.Quote(l.Column.Name))
	}
	fmt.Fprintf(&b, " from (select generate_subscripts($1::text[], 1) as i, unnest($1::text[]) as rkey, unnest($2::text[]) as did) k"+
		" join %s t using (rkey, did)", TableName(c))
	return b.String()
}

// writtenColumns are those of every table, in the order in which they are written.
var writtenColumns = []string{"rkey", "did", "cid", "rev", "indexed_at", "sort_at", "flagged", "hidden", "record"}

// upsertColumns are the columns that upsert takes arrays for, and the type of
// the arrays' elements. An array cannot hold arrays of different length, so a
// column that is an array itself travels as text.
func upsertColumns(c *schema.Collection) (names, types []string) {
	names = slices.Clone(writtenColumns)
	types = []string{"text", "text", "text", "text", "timestamptz", "timestamptz", "boolean", "boolean", "text"}
	for _, col := range c.Columns {
		names = append(names, schema.Quote(col.Name))
		if strings.HasSuffix(col.SQL(), "[]") {
			types = append(types, "text")
		} else {
			types = append(types, col.SQL())
		}
	}
	return names, types
}

func upsertSQL(c *schema.Collection, older string) string {
	names, types := upsertColumns(c)
	var from, values, set strings.Builder
	for i, name := range names {
		if i > 0 {
			from.WriteString(", ")
			values.WriteString(", ")
		}
		fmt.Fprintf(&from, "unnest($%d::%s[]) as c%d", i+1, types[i], i+1)
		fmt.Fprintf(&values, "c%d%s", i+1, castOf(c, i))
		if name != "rkey" && name != "did" {
			if set.Len() > 0 {
				set.WriteString(", ")
			}
			fmt.Fprintf(&set, "%s = excluded.%s", name, name)
		}
	}
	return fmt.Sprintf("insert into %s as t (%s)\nselect %s from (select %s) rows\non conflict (rkey, did) do update set %s\nwhere t.rev %s excluded.rev",
		TableName(c), strings.Join(names, ", "), values.String(), from.String(), set.String(), older)
}

// castOf is the cast that column i of upsertColumns needs on its way in.
func castOf(c *schema.Collection, i int) string {
	const recordColumn, firstTyped = 8, 9
	if i == recordColumn {
		return "::jsonb"
	}
	if i >= firstTyped {
		if sql := c.Columns[i-firstTyped].SQL(); strings.HasSuffix(sql, "[]") {
			return "::" + sql
		}
	}
	return ""
}

// recountSQL counts the collection's links from its rows. A row holds a link to
// a target by a path once, so rows are records. $1 is the NSID.
func recountSQL(c *schema.Collection) string {
	var b strings.Builder
	b.WriteString("insert into atview.link_count (target, collection, path, records, dids)\n" +
		"select target, $1, path, count(*), count(distinct did) from (\n" +
		"select target, path, did from atview.link where collection = $1 and not hidden")
	for _, l := range c.Links {
		fmt.Fprintf(&b, "\nunion all select %s, %s, did from %s where not hidden and %[1]s is not null",
			schema.Quote(l.Column.Name), quoteLiteral(l.Path), TableName(c))
	}
	b.WriteString("\n) links group by target, path")
	return b.String()
}
