package graphql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// joined compiles a join of a record or an account.
func (c *compiler) joined(r rec, f *ast.Field) node {
	j := c.m.joins[f.Name]
	if j == nil {
		return text("null")
	}
	if j.link == nil && j.col.Singleton() {
		return c.singleton(r, j.col, f)
	}
	base := func(alias string) string { return fmt.Sprintf("%s.did = %s", alias, r.did()) }
	count := ""
	if j.link != nil {
		target := r.did()
		if j.link.Kind == schema.LinkRecord {
			target = parens(uriSQL(r.alias, r.col))
		}
		base = func(alias string) string {
			return fmt.Sprintf("%s.%s = %s", alias, schema.Quote(j.link.Column.Name), target)
		}
		count = fmt.Sprintf("coalesce((select n.records from atview.link_count n where n.target = %s and n.collection = %s and n.path = %s), 0)",
			target, literalSQL(j.col.NSID.String()), literalSQL(j.link.Path))
	}
	page := c.page(f, j.col, base)
	page.count = count
	rows := newScope(true)
	node := c.connection(f, page, rows, r.scope, c.stmt)
	out := nestedConnection{connection: node}
	if node.item {
		x := c.alias("x")
		out.width = len(rows.slots)
		out.slot = r.scope.slot(fmt.Sprintf("(select json_agg(%s.r) from (select %s as r from %s\norder by %s) %s)",
			x, rows.array(), rows.fromSQL(page.sql), page.order.sql(page.alias, false), x), kindJSON)
	}
	return out
}

// singleton joins the one record that an account has in the collection.
func (c *compiler) singleton(r rec, col *schema.Collection, f *ast.Field) node {
	c.charge(1)
	alias := r.scope.join("singleton "+r.alias+" "+col.NSID.String(), func() (alias, sql string) {
		alias = c.alias("s")
		return alias, fmt.Sprintf("left join %[1]s %[2]s on %[2]s.rkey = %[3]s and %[2]s.did = %[4]s and not %[2]s.hidden",
			tableSQL(col), alias, literalSQL(strings.TrimPrefix(col.Key, "literal:")), r.did())
	})
	target := rec{scope: r.scope, alias: alias, col: col}
	return optional{r.scope.slot(alias+".rkey", kindText), c.record(target, f.SelectionSet)}
}

// link is where an AT-URI is, whole and taken apart.
type link struct{ uri, did, nsid, rkey string }

// linkSQL takes an AT-URI in a column apart.
func linkSQL(column string) link {
	part := func(n int) string { return fmt.Sprintf("split_part(%s, '/', %d)", column, n) }
	return link{uri: column, did: part(3), nsid: part(4), rkey: part(5)}
}

// resolved compiles the field that follows a link in the object at path: to
// something read from the row or, inside arrays and unions, from the link's own
// JSON.
func (c *compiler) resolved(r rec, prop *schema.Field, f *ast.Field, path []string, direct bool) (node, projection) {
	c.charge(1)
	at := append(path[:len(path):len(path)], prop.Name)
	list, many := prop.Type.(*schema.Array)
	target := prop.Type
	if many {
		target = list.Items
	}
	uriPath := at
	if _, strongRef := target.(*schema.Object); strongRef {
		uriPath = append(at[:len(at):len(at)], "uri")
	}
	if !many && direct {
		if column := r.col.Column(uriPath...); column != nil {
			return c.anyRecord(r.scope, linkSQL(r.alias+"."+schema.Quote(column.Name)), f.SelectionSet), nil
		}
	}
	// Links in arrays and unions: all of the record's at this path, looked up by
	// URI where they stand.
	steps := at
	if many {
		steps = append(at[:len(at):len(at)], "[*]")
	}
	_, strongRef := target.(*schema.Object)
	if strongRef {
		steps = append(steps[:len(steps):len(steps)], "uri")
	}
	rows := newScope(true)
	u, x := c.alias("u"), c.alias("x")
	rows.slot(u+".uri", kindText)
	outer := c.rows
	c.rows *= maxResolvedGuess
	c.charge(1)
	item := c.anyRecord(rows, link{u + ".uri", u + ".did", u + ".nsid", u + ".rkey"}, f.SelectionSet)
	c.rows = outer
	parts := linkSQL("p.uri")
	from := fmt.Sprintf("(select p.uri, %s as did, %s as nsid, %s as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(%s, %s) v where jsonb_typeof(v) = 'string' limit %d) p) %s",
		parts.did, parts.nsid, parts.rkey, r.json(), jsonPath(steps), maxResolved, u)
	slot := r.scope.slot(fmt.Sprintf("(select json_agg(%s.r) from (select %s as r from %s) %s)", x, rows.array(), rows.fromSQL(from), x), kindJSON)
	lookup := jsonLookup{slot: slot, width: len(rows.slots), strongRef: strongRef, item: item}
	var p projection = lookup
	if many {
		p = jsonLookups{lookup}
	}
	if path == nil {
		return slotJSON{r.scope.slot(r.json()+" -> "+literalSQL(prop.Name), kindJSON), p}, nil
	}
	return nil, p
}

const (
	// maxResolved bounds the links of one record that are followed at one path.
	maxResolved = 1000
	// maxResolvedGuess is how many links a record has in an array, for the cost.
	maxResolvedGuess = 10
)

// anyRecord compiles a selection on Record for the record that a link points
// at.
func (c *compiler) anyRecord(s *scope, l link, set ast.SelectionSet) node {
	out := &recordUnion{uri: s.slot(l.uri, kindText), others: map[string]otherRecord{}}
	for _, col := range c.m.cat.Collections {
		fields := c.collect(set, col.Type)
		if !slices.ContainsFunc(fields, func(f *ast.Field) bool { return f.Name != "__typename" }) {
			other := otherRecord{col: col}
			for _, f := range fields {
				other.keys = append(other.keys, fieldKey(f.Alias))
			}
			out.others[col.NSID.String()] = other
			continue
		}
		alias := s.join("record "+l.uri+" "+col.NSID.String(), func() (alias, sql string) {
			alias = c.alias("r")
			return alias, fmt.Sprintf("left join %[1]s %[2]s on %[2]s.rkey = %[3]s and %[2]s.did = %[4]s and %[5]s = %[6]s and not %[2]s.hidden",
				tableSQL(col), alias, l.rkey, l.did, l.nsid, literalSQL(col.NSID.String()))
		})
		r := rec{scope: s, alias: alias, col: col}
		out.members = append(out.members, optional{s.slot(alias+".rkey", kindText), c.record(r, set)})
	}
	return out
}
