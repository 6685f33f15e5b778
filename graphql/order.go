package graphql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// maxSortKeys bounds what a list may be sorted by at a time.
const maxSortKeys = 8

// order is what a list is sorted by. It always ends in the record's key, so no
// two records are equal in it.
type order struct {
	keys        []sortKey
	fingerprint string
}

type sortKey struct {
	column   string // quoted
	kind     kind
	nullable bool
	desc     bool
}

// order reads the argument sortBy.
func (c *compiler) order(col *schema.Collection, sortBy input) order {
	var o order
	add := func(column string, k kind, nullable, desc bool) {
		if !slices.ContainsFunc(o.keys, func(have sortKey) bool { return have.column == column }) {
			o.keys = append(o.keys, sortKey{column, k, nullable, desc})
		}
	}
	desc := true
	items := c.items(sortBy)
	if len(items) > maxSortKeys {
		c.failInput(sortBy, fmt.Errorf("%d keys are over the maximum of %d", len(items), maxSortKeys))
		items = nil
	}
	for _, item := range items {
		name, _ := c.get(item, "field").now.(string)
		direction, _ := c.get(item, "direction").now.(string)
		desc = strings.EqualFold(direction, "DESC")
		if f := c.m.sorts[col.SortEnum()][name]; f != nil {
			column := col.Column(f.Name)
			add(schema.Quote(column.Name), kindOf(column.SQL()), true, desc)
			continue
		}
		switch name {
		case "sortAt":
			add("sort_at", kindTime, false, desc)
		case "indexedAt":
			add("indexed_at", kindTime, false, desc)
		case "uri":
			add("did", kindText, false, desc)
			add("rkey", kindText, false, desc)
		case "cid":
			add("cid", kindText, true, desc)
		case "did", "rkey", "rev":
			add(name, kindText, false, desc)
		case "collection": // the same for all
		default:
			c.failInput(item, fmt.Errorf("%s is no value of %s", show(name), col.SortEnum()))
		}
	}
	if len(o.keys) == 0 {
		add("sort_at", kindTime, false, desc)
	}
	add("rkey", kindText, false, desc)
	add("did", kindText, false, desc)

	parts := []string{col.NSID.String()}
	for _, key := range o.keys {
		parts = append(parts, key.column, fmt.Sprint(key.desc))
	}
	o.fingerprint = fingerprint(parts...)
	return o
}

// indexed says whether every list has an index that starts like the order.
func (o order) indexed() bool { return o.keys[0].column == "sort_at" }

// first is the order by its first key alone.
func (o order) first() order { return order{keys: o.keys[:1]} }

// sql is the ORDER BY list. Records without a value come last either way, in
// the direction that the list has; backward turns all of it around.
func (o order) sql(alias string, backward bool) string {
	var b strings.Builder
	for i, key := range o.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(alias + "." + key.column)
		if key.desc != backward {
			b.WriteString(" desc")
		}
		if key.nullable {
			// NULLS LAST is the default of asc, NULLS FIRST that of desc.
			switch {
			case key.desc && !backward:
				b.WriteString(" nulls last")
			case !key.desc && backward:
			case key.desc && backward:
				b.WriteString(" nulls first")
			}
		}
	}
	return b.String()
}

// side is where a record is, seen from a cursor.
type side int

const (
	after side = iota
	before
	notAfter
	notBefore
)

// limit is one end of a page: a cursor, and the side of it that is asked for.
type limit struct {
	cursor input
	side   side
}

// stretch is a part of a list that one index scan can read in the list's
// order.
type stretch struct {
	conditions []string
	order      order
}

// stretches are the parts of a list within limits, the nearest first. A list
// is one, unless records may have no value to sort by: those are one of their
// own, at the end of the list in either direction of the sort, where no index
// has them.
func (c *compiler) stretches(o order, alias string, backward bool, limits []limit) []stretch {
	if !o.keys[0].nullable {
		all := stretch{order: o}
		for _, l := range limits {
			all.conditions = append(all.conditions, o.beyond(alias, c.cursorParams(o, l.cursor), l.side))
		}
		return []stretch{all}
	}
	column := alias + "." + o.keys[0].column
	valued := order{keys: slices.Clone(o.keys)}
	valued.keys[0].nullable = false
	null := order{keys: o.keys[1:]}
	parts := []*stretch{
		{conditions: []string{column + " is not null"}, order: valued},
		{conditions: []string{column + " is null"}, order: null},
	}
	for _, l := range limits {
		params := c.cursorParams(o, l.cursor)
		forward := l.side == after || l.side == notBefore
		// The cursor is in one of the two; the other is before or after it as a whole.
		in, other := 0, 1
		part := valued
		if params[0] == "" {
			in, other, part, params = 1, 0, null, params[1:]
		}
		if parts[in] != nil {
			parts[in].conditions = append(parts[in].conditions, part.beyond(alias, params, l.side))
		}
		if (other == 1) != forward {
			parts[other] = nil
		}
	}
	var out []stretch
	for _, part := range parts {
		if part != nil {
			out = append(out, *part)
		}
	}
	if backward {
		slices.Reverse(out)
	}
	return out
}

// cursorParams are parameters for a cursor's values, "" for null.
func (c *compiler) cursorParams(o order, at input) []string {
	params := make([]string, len(o.keys))
	text, ok := at.now.(string)
	if !ok {
		c.failInput(at, errCursor)
		return params
	}
	values, err := decodeCursor(text, o)
	if err != nil {
		c.failInput(at, err)
		return params
	}
	for i, key := range o.keys {
		if values[i] == nil {
			continue
		}
		params[i] = c.param(at, fmt.Sprintf("cursor %s %d", o.fingerprint, i), key.kind.sql(), func(v any) (any, error) {
			text, _ := v.(string)
			values, err := decodeCursor(text, o)
			if err != nil {
				return nil, err
			}
			return values[i], nil
		})
	}
	return params
}

// beyond is the condition that a record is on that side of the cursor.
func (o order) beyond(alias string, params []string, s side) string {
	if row, ok := o.row(alias, params, s); ok {
		return row
	}
	return o.expanded(alias, params, s)
}

// row is the condition as a comparison of rows, which an index on the first
// key can start from. It needs keys of one direction and without nulls.
func (o order) row(alias string, params []string, s side) (string, bool) {
	columns := make([]string, len(o.keys))
	for i, key := range o.keys {
		if key.nullable || key.desc != o.keys[0].desc {
			return "", false
		}
		columns[i] = alias + "." + key.column
	}
	operator := map[side]string{after: ">", before: "<", notAfter: "<=", notBefore: ">="}[s]
	if o.keys[0].desc {
		operator = map[side]string{after: "<", before: ">", notAfter: ">=", notBefore: "<="}[s]
	}
	return fmt.Sprintf("(%s) %s (%s)", strings.Join(columns, ", "), operator, strings.Join(params, ", ")), true
}

// expanded is the condition for any order, key by key. A parameter that is ""
// stands for null.
func (o order) expanded(alias string, params []string, s side) string {
	forward := s == after || s == notBefore
	condition := "false"
	if s == notAfter || s == notBefore {
		condition = "true" // the record of the cursor itself
	}
	for i, key := range slices.Backward(o.keys) {
		param := params[i]
		column := alias + "." + key.column
		strict, equal := key.strict(column, param, forward), column+" = "+param
		if param == "" {
			equal = column + " is null"
		}
		switch condition {
		case "false":
			condition = strict
		case "true":
			condition = or(strict, equal)
		default:
			condition = or(strict, "("+equal+" and "+parens(condition)+")")
		}
	}
	// What an index on the first key can start from.
	if first := o.keys[0]; params[0] != "" {
		column := alias + "." + first.column
		operator := ">="
		if first.desc == forward {
			operator = "<="
		}
		bound := column + " " + operator + " " + params[0]
		if first.nullable && forward {
			bound = "(" + bound + " or " + column + " is null)"
		}
		condition = bound + " and " + parens(condition)
	}
	return condition
}

// strict is that the key's value alone puts a record beyond the cursor.
func (k sortKey) strict(column, param string, forward bool) string {
	if param == "" { // the cursor is among the nulls, which are last
		if forward {
			return "false"
		}
		return column + " is not null"
	}
	operator := ">"
	if k.desc == forward {
		operator = "<"
	}
	condition := column + " " + operator + " " + param
	if k.nullable && forward {
		condition = "(" + condition + " or " + column + " is null)"
	}
	return condition
}

// cursorSlots are the values of the order's keys, for cursors.
func (o order) cursorSlots(s *scope, alias string) []int {
	out := make([]int, len(o.keys))
	for i, key := range o.keys {
		out[i] = s.slot(alias+"."+key.column, key.kind)
	}
	return out
}

// paging is what first, after, last and before come to.
type paging struct {
	limit         int
	backward      bool
	after, before input
}

func (c *compiler) paging(f *ast.Field) paging {
	first, last := c.argument(f, "first"), c.argument(f, "last")
	p := paging{limit: c.cfg.PageSize, after: c.argument(f, "after"), before: c.argument(f, "before")}
	switch {
	case !first.null() && !last.null():
		c.failInput(last, fmt.Errorf("first and last exclude each other"))
	case !first.null():
		p.limit = c.limit(first)
	case !last.null():
		p.limit, p.backward = c.limit(last), true
	}
	return p
}

func (c *compiler) limit(in input) int {
	v, err := longOperand(in.now)
	n, _ := v.(int64)
	switch {
	case err != nil:
		c.failInput(in, err)
	case n < 0:
		c.failInput(in, fmt.Errorf("%d is negative", n))
	case n > int64(c.cfg.MaxPage):
		c.failInput(in, fmt.Errorf("%d is over the maximum of %d: page through with `after`", n, c.cfg.MaxPage))
	default:
		return int(n)
	}
	return 0
}
