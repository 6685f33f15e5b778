package index

import (
	"fmt"
	"strings"

	"github.com/atview/atview/schema"
)

// The DDL of a collection's table, one statement per object, from one pure
// place; plan.go decides which of them a database still lacks.

// RecordsSchema is the Postgres schema of the collections' tables.
const RecordsSchema = "records"

// systemColumn is a column that every table has.
type systemColumn struct {
	name, sql, comment string
}

// systemColumns in the order of a new table: the key first, fixed-width values
// together so that Postgres pads little, the record last.
var systemColumns = []systemColumn{
	{"rkey", `text collate "C" not null`, "Record key; with the DID the table's key."},
	{"did", `text collate "C" not null`, "The repository the record is in. The AT-URI is at://did/collection/rkey."},
	{"cid", `text collate "C"`, "Hash of this version; null when the source did not give it."},
	{"rev", `text collate "C" not null`, "Revision of the repository that wrote this version; sorts by time."},
	{"indexed_at", "timestamptz not null", "When the source saw this version."},
	{"sort_at", "timestamptz not null", "The earlier of indexed_at and the moment that the record claims."},
	{"flagged", "boolean not null default false", "Breaks its lexicon; why is in atview.flag."},
	{"hidden", "boolean not null default false", "Its account is not active: in no list and no count."},
}

const recordComment = "The record whole, as written. All typed columns are derived from it."

// TableName is the collection's table, quoted and with its schema.
func TableName(c *schema.Collection) string {
	return RecordsSchema + "." + schema.Quote(c.Table)
}

// DDL is all that makes the collection's table in an empty database.
func DDL(c *schema.Collection) []string {
	out := []string{createTable(c)}
	for _, idx := range indexes(c) {
		out = append(out, idx.create(c, false))
	}
	return append(out, comments(c)...)
}

func createTable(c *schema.Collection) string {
	var b strings.Builder
	fmt.Fprintf(&b, "create table %s (\n", TableName(c))
	for _, s := range systemColumns {
		fmt.Fprintf(&b, "    %s %s,\n", s.name, s.sql)
	}
	for _, col := range c.Columns {
		fmt.Fprintf(&b, "    %s %s,\n", schema.Quote(col.Name), columnType(col))
	}
	fmt.Fprintf(&b, "    record jsonb not null,\n    constraint %s primary key (rkey, did)\n)", schema.Quote(schema.IndexName(c.Table, "pkey")))
	return b.String()
}

// columnType is the column's type with the byte order for text: link targets
// and keys are compared, never shown sorted in a human language.
func columnType(col *schema.Column) string {
	if strings.HasPrefix(col.SQL(), "text") {
		return col.SQL() + ` collate "C"`
	}
	return col.SQL()
}

// tableIndex is a secondary index of a collection's table.
type tableIndex struct {
	name    string
	columns []string
	where   string
}

// indexes of a collection: what its lists are sorted by, and for each link the
// two ways that links are asked for. Each costs 4-5 µs a row, so there is none
// without a query that needs it.
func indexes(c *schema.Collection) []tableIndex {
	out := []tableIndex{
		{name: schema.IndexName(c.Table, "sort_at"), columns: []string{"sort_at"}},
		{name: schema.IndexName(c.Table, "did", "sort_at"), columns: []string{"did", "sort_at"}},
	}
	if c.SortColumn != nil {
		// What clients ask for most: newest by the record's own date.
		name := c.SortColumn.Name
		out = append(out, tableIndex{name: schema.IndexName(c.Table, name), columns: []string{schema.Quote(name)}})
	}
	for _, l := range c.Links {
		col := schema.Quote(l.Column.Name)
		where := col + " is not null"
		out = append(out,
			// Newest links of a target: reverse joins, backlinks.
			tableIndex{schema.IndexName(c.Table, l.Column.Name, "sort_at"), []string{col, "sort_at"}, where},
			// Whether this account links to this target: distinct counts, viewer fields.
			tableIndex{schema.IndexName(c.Table, l.Column.Name, "did"), []string{col, "did"}, where})
	}
	return out
}

func (i tableIndex) create(c *schema.Collection, concurrently bool) string {
	how := ""
	if concurrently {
		how = "concurrently "
	}
	stmt := fmt.Sprintf("create index %s%s on %s (%s)",
		how, schema.Quote(i.name), TableName(c), strings.Join(i.columns, ", "))
	if i.where != "" {
		stmt += " where " + i.where
	}
	return stmt
}

func comments(c *schema.Collection) []string {
	out := []string{commentTable(c)}
	for _, s := range systemColumns {
		out = append(out, commentColumn(c, s.name, s.comment))
	}
	for _, col := range c.Columns {
		out = append(out, commentColumn(c, col.Name, columnComment(col)))
	}
	return append(out, commentColumn(c, "record", recordComment))
}

func commentTable(c *schema.Collection) string {
	return fmt.Sprintf("comment on table %s is %s", TableName(c), quoteLiteral(tableComment(c)))
}

func tableComment(c *schema.Collection) string {
	if c.Description == "" {
		return string(c.NSID)
	}
	return string(c.NSID) + ": " + c.Description
}

// columnComment says what the column holds: the property, and the lexicon's own
// words.
func columnComment(col *schema.Column) string {
	text := strings.Join(col.Path, ".")
	if col.Description != "" {
		text += ": " + col.Description
	}
	return text
}

func commentColumn(c *schema.Collection, column, text string) string {
	return fmt.Sprintf("comment on column %s.%s is %s", TableName(c), schema.Quote(column), quoteLiteral(text))
}

// quoteLiteral makes an SQL string, for DDL, which takes no parameters.
func quoteLiteral(s string) string {
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
