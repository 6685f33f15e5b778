package index

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atview/atview/schema"
)

// Class says what it takes to apply a [Change].
type Class string

// The classes of change.
const (
	Safe        Class = "safe"        // at once, without a lock that anybody waits for
	Slow        Class = "slow"        // reads or writes each row; readers go on meanwhile
	Destructive Class = "destructive" // data or columns go; only when asked for
)

// Change is one step from the live tables to those that the catalog asks for.
type Change struct {
	Class      Class
	Collection string // NSID
	What       string // for people
	SQL        []string
	// Rederive says that the collection's rows are to be read anew from their
	// records, after SQL.
	Rederive bool
	// Done, if set, is recorded of the collection when the change is applied.
	Done *Applied
}

// Applied is what atview.collection says of a collection whose rows are up to
// its lexicon. An empty Table means that it is gone.
type Applied struct {
	NSID, Table, Fingerprint string
}

func (c Change) String() string {
	return fmt.Sprintf("%-11s %s: %s", c.Class, c.Collection, c.What)
}

// Live is what the database has.
type Live struct {
	Tables  map[string]LiveTable // by name, in the schema `records`
	Applied []Applied            // by NSID
}

// LiveTable is a table as Postgres' catalog describes it.
type LiveTable struct {
	Columns map[string]string // type by name, as format_type gives it
	Indexes map[string]bool   // valid by name
	// Comments by column; the table's own under "".
	Comments map[string]string
	HasRows  bool
}

// Plan compares the tables with the collections. It is pure: what it gives
// depends on its arguments alone, and nothing is changed.
//
// What the lexicons no longer mention is Destructive and stays until asked for,
// since the records still hold it. A property that changes its type is not: its
// column is made anew from the records.
func Plan(live Live, cat *schema.Catalog) []Change {
	p := planner{live: live, applied: map[string]Applied{}}
	for _, a := range live.Applied {
		p.applied[a.NSID] = a
	}
	for _, c := range cat.Collections {
		p.collection(c)
	}
	for _, a := range live.Applied {
		if _, exists := live.Tables[a.Table]; exists && !p.wanted[a.NSID] {
			p.add(Change{Class: Destructive, Collection: a.NSID, What: "no lexicon describes it; drop table " + a.Table,
				SQL: dropCollection(a), Done: &Applied{NSID: a.NSID}})
		}
	}
	return p.changes
}

// dropCollection removes a table and what stands about its records elsewhere.
func dropCollection(a Applied) []string {
	out := []string{"drop table " + RecordsSchema + "." + schema.Quote(a.Table)}
	for _, side := range []string{"link", "link_count", "flag", "tombstone"} {
		out = append(out, fmt.Sprintf("delete from atview.%s where collection = %s", side, quoteLiteral(a.NSID)))
	}
	return out
}

type planner struct {
	live    Live
	applied map[string]Applied
	wanted  map[string]bool
	changes []Change
}

func (p *planner) add(c Change) { p.changes = append(p.changes, c) }

func (p *planner) collection(c *schema.Collection) {
	if p.wanted == nil {
		p.wanted = map[string]bool{}
	}
	nsid := string(c.NSID)
	p.wanted[nsid] = true
	done := &Applied{NSID: nsid, Table: c.Table, Fingerprint: c.Fingerprint}
	have, exists := p.live.Tables[c.Table]
	if !exists {
		p.add(Change{Class: Safe, Collection: nsid, What: "create table " + c.Table, SQL: DDL(c), Done: done})
		return
	}
	before := len(p.changes)
	p.columns(c, have)
	p.indexes(c, have)
	p.comments(c, have)
	p.leftovers(c, have)
	if p.applied[nsid].Fingerprint == c.Fingerprint {
		return
	}
	if !have.HasRows {
		p.add(Change{Class: Safe, Collection: nsid, What: "take note of the lexicon", Done: done})
		return
	}
	p.add(Change{Class: Slow, Collection: nsid, What: reasonToRederive(p.changes[before:]), Rederive: true, Done: done})
}

func reasonToRederive(changes []Change) string {
	for _, c := range changes {
		if c.Class != Destructive && strings.Contains(c.What, "column") && !strings.Contains(c.What, "comment") {
			return "fill the columns from the records"
		}
	}
	return "hold the records against the changed lexicon"
}

func (p *planner) columns(c *schema.Collection, have LiveTable) {
	for _, col := range c.Columns {
		name := schema.Quote(col.Name)
		add := fmt.Sprintf("alter table %s add column %s %s", TableName(c), name, columnType(col))
		live, exists := have.Columns[col.Name]
		switch {
		case !exists:
			p.add(Change{Class: Safe, Collection: string(c.NSID), What: fmt.Sprintf("add column %s %s", col.Name, col.SQL()),
				SQL: []string{add, commentColumn(c, col.Name, columnComment(col))}})
		case live != liveType(col.SQL()):
			p.add(Change{Class: Slow, Collection: string(c.NSID),
				What: fmt.Sprintf("column %s changes from %s to %s and is made anew", col.Name, live, col.SQL()),
				SQL: []string{fmt.Sprintf("alter table %s drop column %s", TableName(c), name), add,
					commentColumn(c, col.Name, columnComment(col))}})
			// Its indexes go with it.
			for _, idx := range indexes(c) {
				if slices.Contains(idx.columns, name) {
					delete(have.Indexes, idx.name)
				}
			}
			have.Comments[col.Name] = columnComment(col)
		}
	}
}

// liveType is how Postgres' catalog spells a column type of ours.
func liveType(sql string) string {
	base, array := strings.CutSuffix(sql, "[]")
	if base == "timestamptz" {
		base = "timestamp with time zone"
	}
	if array {
		base += "[]"
	}
	return base
}

func (p *planner) indexes(c *schema.Collection, have LiveTable) {
	for _, idx := range indexes(c) {
		valid, exists := have.Indexes[idx.name]
		if valid {
			continue
		}
		change := Change{Class: Safe, Collection: string(c.NSID), What: "create index " + idx.name}
		if exists {
			// What a concurrent build leaves behind when it is interrupted.
			change.SQL = append(change.SQL, fmt.Sprintf("drop index concurrently %s.%s", RecordsSchema, schema.Quote(idx.name)))
			change.What = "index " + idx.name + " was not finished; build it again"
		}
		if have.HasRows {
			change.Class = Slow
		}
		change.SQL = append(change.SQL, idx.create(c, have.HasRows))
		p.add(change)
	}
}

func (p *planner) comments(c *schema.Collection, have LiveTable) {
	var sql []string
	if text := tableComment(c); have.Comments[""] != text {
		sql = append(sql, commentTable(c))
	}
	for _, col := range c.Columns {
		if _, exists := have.Columns[col.Name]; exists && have.Comments[col.Name] != columnComment(col) {
			sql = append(sql, commentColumn(c, col.Name, columnComment(col)))
		}
	}
	if len(sql) > 0 {
		p.add(Change{Class: Safe, Collection: string(c.NSID), What: fmt.Sprintf("update %d comments", len(sql)), SQL: sql})
	}
}

// leftovers are columns whose property is gone.
func (p *planner) leftovers(c *schema.Collection, have LiveTable) {
	ours := map[string]bool{"record": true}
	for _, s := range systemColumns {
		ours[s.name] = true
	}
	for _, col := range c.Columns {
		ours[col.Name] = true
	}
	for _, name := range sortedKeys(have.Columns) {
		if !ours[name] {
			p.add(Change{Class: Destructive, Collection: string(c.NSID), What: "no property fills it; drop column " + name,
				SQL: []string{fmt.Sprintf("alter table %s drop column %s", TableName(c), schema.Quote(name))}})
		}
	}
}

// concurrent says whether statements must run outside a transaction.
func concurrent(statements []string) bool {
	return slices.ContainsFunc(statements, func(s string) bool { return strings.Contains(s, " concurrently ") })
}
