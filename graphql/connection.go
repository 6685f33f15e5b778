package graphql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// page is the part of a list that is asked for, as SQL.
type page struct {
	paging
	col   *schema.Collection
	alias string
	order order
	base  func(alias string) string // which records the list is of; nil for all
	where input
	sql   string // the page alone, joins and counts come on top
	count string // SQL of the list's length when nothing filters it; "" for none kept
	field ast.Path
}

func (c *compiler) page(f *ast.Field, col *schema.Collection, base func(alias string) string) *page {
	p := &page{paging: c.paging(f), col: col, base: base, where: c.argument(f, "where"), alias: c.alias("t"), field: slices.Clone(c.path)}
	p.order = c.order(col, c.argument(f, "sortBy"))
	var limits []limit
	if !p.after.null() {
		limits = append(limits, limit{p.after, after})
	}
	if !p.before.null() {
		limits = append(limits, limit{p.before, before})
	}
	p.sql = c.pageSQL(p, c.stretches(p.order, p.alias, p.backward, limits))
	return p
}

// pageSQL reads one more than the page, to know whether there is another.
func (c *compiler) pageSQL(p *page, stretches []stretch) string {
	n := p.limit + 1
	conditions := c.conditions(p, p.alias)
	read := func(s stretch, more ...string) string {
		from := fmt.Sprintf("%s %s where %s", tableSQL(p.col), p.alias, conjunction(slices.Concat(conditions, s.conditions, more)))
		if p.order.indexed() {
			// First by what indexes are sorted by, with ties, then by all. Of the whole
			// order, Postgres takes a target's records to be few, as most targets' are,
			// and sorts them all: for the newest three of 50,000 likes, all of them.
			from = fmt.Sprintf("(select * from %s\norder by %s fetch first %d rows with ties) %s", from, s.order.first().sql(p.alias, p.backward), n, p.alias)
		}
		return fmt.Sprintf("(select * from %s\norder by %s limit %d)", from, s.order.sql(p.alias, p.backward), n)
	}
	switch len(stretches) {
	case 0:
		return fmt.Sprintf("(select * from %s where false) %s", tableSQL(p.col), p.alias)
	case 1:
		return read(stretches[0]) + " " + p.alias
	}
	// The second only if the first does not fill the page.
	near := c.alias("n")
	return fmt.Sprintf("(with %[1]s as materialized %[2]s\nselect * from (select * from %[1]s union all %[3]s) %[4]s\norder by %[5]s limit %[6]d) %[4]s",
		near, read(stretches[0]), read(stretches[1], fmt.Sprintf("(select count(*) from %s) < %d", near, n)), p.alias, p.order.sql(p.alias, p.backward), n)
}

// conditions are those of the list, whatever page of it is asked for.
func (c *compiler) conditions(p *page, alias string) []string {
	conditions := []string{"not " + alias + ".hidden"}
	if p.base != nil {
		conditions = append(conditions, p.base(alias))
	}
	if where := c.where(p.where, place{json: alias + ".record", alias: alias, col: p.col}); where != "" {
		conditions = append(conditions, where)
	}
	return conditions
}

// connection compiles a selection on a connection. Slots of rows go to rows,
// those of the list as a whole to extra, with parameters of stmt.
func (c *compiler) connection(f *ast.Field, p *page, rows, extra *scope, stmt *statement) *connection {
	out := &connection{limit: p.limit, backward: p.backward, total: -1, previous: -1, next: -1}
	outer := c.rows
	inExtra := func(sql func() string, k kind) int {
		rowsStmt, path := c.stmt, c.path
		c.stmt, c.path = stmt, p.field // arguments are the list's, whatever asks for them
		slot := extra.slot(sql(), k)
		c.stmt, c.path = rowsStmt, path
		return slot
	}
	exists := func(at input, s side) int {
		return inExtra(func() string {
			alias := c.alias("c")
			backward := s == notAfter
			var nearest []string
			for _, part := range c.stretches(p.order, alias, backward, []limit{{at, s}}) {
				// One of the nearest, by the index that the page comes from: of EXISTS,
				// Postgres thinks that any row will do, and reads the table until one does.
				nearest = append(nearest, fmt.Sprintf("(select true from %s %s where %s order by %s limit 1)",
					tableSQL(p.col), alias, conjunction(append(c.conditions(p, alias), part.conditions...)), part.order.first().sql(alias, backward)))
			}
			return "coalesce(" + strings.Join(append(nearest, "false"), ", ") + ")"
		}, kindBoolean)
	}
	r := rec{scope: rows, alias: p.alias, col: p.col}
	charged := false
	needRows := func() {
		out.item = true
		if !charged {
			charged = true
			c.charge(p.limit + 1)
		}
	}
	cursor := func() cursorNode {
		return cursorNode{order: p.order.fingerprint, slots: p.order.cursorSlots(rows, p.alias)}
	}
	for _, f := range c.collect(f.SelectionSet, p.col.ConnectionType()) {
		c.within(f, func() {
			switch f.Name {
			case "__typename":
				out.add(f.Alias, connectionText(`"`+p.col.ConnectionType()+`"`))
			case "totalCount":
				if out.total < 0 {
					out.total = inExtra(func() string {
						if p.count != "" && c.unfiltered(p) {
							c.charge(1)
							return p.count
						}
						c.charge(countGuess)
						alias := c.alias("c")
						return fmt.Sprintf("(select count(*) from %s %s where %s)", tableSQL(p.col), alias, conjunction(c.conditions(p, alias)))
					}, kindLong)
				}
				out.add(f.Alias, connectionTotal{})
			case "aggregate":
				node, path := connectionAggregate{}, slices.Clone(c.path)
				node.slot = inExtra(func() string {
					var sql string
					sql, node.width, node.item = c.aggregate(f, p, path)
					return sql
				}, kindJSON)
				out.add(f.Alias, node)
			case "edges":
				needRows()
				c.rows = outer * max(p.limit, 1)
				edge := &object{}
				for _, f := range c.collect(f.SelectionSet, p.col.EdgeType()) {
					c.within(f, func() {
						switch f.Name {
						case "__typename":
							edge.add(f.Alias, text(`"`+p.col.EdgeType()+`"`))
						case "cursor":
							edge.add(f.Alias, cursor())
						case "node":
							edge.add(f.Alias, c.record(r, f.SelectionSet))
						}
					})
				}
				c.rows = outer
				out.add(f.Alias, connectionEdges{edge})
			case "pageInfo":
				info := connectionInfo{}
				for _, f := range c.collect(f.SelectionSet, "PageInfo") {
					field := infoField{key: fieldKey(f.Alias), name: f.Name}
					switch f.Name {
					case "startCursor", "endCursor":
						needRows()
						field.cursor = cursor()
					case "hasNextPage":
						if !p.backward {
							needRows()
						}
						if !p.before.null() && out.next < 0 {
							c.charge(1)
							out.next = exists(p.before, notBefore)
						}
					case "hasPreviousPage":
						if p.backward {
							needRows()
						}
						if !p.after.null() && out.previous < 0 {
							c.charge(1)
							out.previous = exists(p.after, notAfter)
						}
					}
					info.fields = append(info.fields, field)
				}
				out.add(f.Alias, info)
			}
		})
	}
	return out
}

// countGuess is how many records there are to count, for the cost. Most targets
// have few.
const countGuess = 10

// unfiltered says whether the list is all that its base gives.
func (c *compiler) unfiltered(p *page) bool {
	return c.where(p.where, place{json: "x.record", alias: "x", col: p.col}) == ""
}
