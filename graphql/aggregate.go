package graphql

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// defaultGroups is what an aggregation gives without `limit`.
const defaultGroups = 100

// source is a SELECT of the values that an aggregation is about: a row for each
// record, or with a key of a list one for each of the record's elements.
type source struct {
	alias  string // of the table
	col    *schema.Collection
	values []string // SQL
	joins  []string
	handle string // alias of the author's row; "" while nobody asks for it
}

// outer is the alias that the rest of the statement knows the values by.
const outer = "g"

// value adds a value to the rows, or finds it there.
func (s *source) value(sql string) string {
	at := slices.Index(s.values, sql)
	if at < 0 {
		at = len(s.values)
		s.values = append(s.values, sql)
	}
	return fmt.Sprintf("%s.v%d", outer, at+1)
}

func (s *source) sql(conditions []string) string {
	values := make([]string, len(s.values))
	for i, sql := range s.values {
		values[i] = fmt.Sprintf("%s as v%d", sql, i+1)
	}
	from := strings.Join(append([]string{tableSQL(s.col) + " " + s.alias}, s.joins...), "\n")
	return fmt.Sprintf("(select %s\nfrom %s\nwhere %s) %s", strings.Join(values, ", "), from, conjunction(conditions), outer)
}

// keySQL is the value that a record has for the key, or one of them. Text is compared by bytes
// wherever it is from.
func (c *compiler) keySQL(s *source, k *keyField) string {
	var sql string
	switch {
	case k.system:
		switch k.name {
		case "uri":
			sql = parens(uriSQL(s.alias, s.col))
		case "collection":
			sql = literalSQL(s.col.NSID.String()) + "::text"
		case "indexedAt", "indexed_at":
			sql = s.alias + ".indexed_at"
		case "actorHandle":
			if s.handle == "" {
				s.handle = c.alias("h")
				s.joins = append(s.joins, fmt.Sprintf("left join atview.actor %[1]s on %[1]s.did = %[2]s.did", s.handle, s.alias))
			}
			sql = s.handle + ".handle"
		default:
			sql = s.alias + "." + k.name
		}
	case k.list:
		e := c.alias("e")
		s.joins = append(s.joins, fmt.Sprintf("left join lateral (%s) %s on true", c.elementsSQL(s, k), e))
		return e + ".v"
	default:
		at := s.alias + ".record"
		for _, step := range k.path {
			at = "(" + at + " -> " + literalSQL(step) + ")"
		}
		sql = k.inJSON(at)
		if column := s.col.Column(k.path...); column != nil && (k.tag == "" || k.tag == "$link") {
			inRecord := sql
			sql = s.alias + "." + schema.Quote(column.Name)
			if column.Link != nil {
				// A link too long for an index is in the record alone, which is flagged.
				sql = fmt.Sprintf("coalesce(%s, case when %s.flagged then %s end)", sql, s.alias, inRecord)
			}
		}
	}
	if k.kind == kindText {
		sql = parens(sql) + ` collate "C"`
	}
	return sql
}

// inJSON is the field's value, of the JSON that its path leads to.
func (k *keyField) inJSON(at string) string {
	if k.tag != "" {
		at = "(" + at + " -> " + literalSQL(k.tag) + ")"
	}
	switch k.kind {
	case kindBoolean:
		return booleanSQL(at)
	case kindLong:
		return longSQL(at)
	case kindTime:
		return timeSQL(at)
	case kindJSON:
		return fmt.Sprintf("case when jsonb_typeof(%s) = 'object' then %s end", at, at)
	}
	return textSQL(at)
}

// elementsSQL is a SELECT of the elements that a record has, each once: a record
// that says the same twice is still one record.
func (c *compiler) elementsSQL(s *source, k *keyField) string {
	at, from := s.alias+".record", []string(nil)
	for _, step := range k.path {
		if step == "[*]" {
			e := c.alias("e")
			from = append(from, fmt.Sprintf("jsonb_array_elements(case when jsonb_typeof(%s) = 'array' then %s end) %s(v)", at, at, e))
			at = e + ".v"
			continue
		}
		at = "(" + at + " -> " + literalSQL(step) + ")"
	}
	collate := ""
	if k.kind == kindText {
		collate = ` collate "C"`
	}
	elements := fmt.Sprintf("select %s as v from %s", k.inJSON(at), strings.Join(from, ", "))
	u := c.alias("u")
	if column := s.col.Column(k.path[:len(k.path)-1]...); column != nil && len(from) == 1 && k.path[len(k.path)-1] == "[*]" {
		// The column has none of the elements when one of them does not fit. The
		// record, which then is flagged, has the others.
		return fmt.Sprintf("select distinct %[1]s.v%[2]s as v from unnest(coalesce(%[3]s.%[4]s, case when %[3]s.flagged then array(%[5]s) end)) %[1]s(v) where %[1]s.v is not null",
			u, collate, s.alias, schema.Quote(column.Name), elements)
	}
	return fmt.Sprintf("select distinct %[1]s.v%[2]s as v from (%[3]s) %[1]s where %[1]s.v is not null", u, collate, elements)
}

// metric is an aggregate as SQL.
type metric struct {
	sql  string
	kind kind
}

var (
	errNoNumbers = errors.New("sum and avg are of integers")
	errNoOrder   = errors.New("true and false have no min and max")
)

// metric is what a field of an aggregate, or an input of the same name, asks
// for. field is which field it is of.
func (c *compiler) metric(s *source, a *aggregation, name string, field input) metric {
	if name == "count" {
		return metric{"count(*)", kindLong}
	}
	value, _ := field.now.(string)
	k := a.keys[value]
	if k == nil || !k.measurable() {
		c.failInput(field, fmt.Errorf("%s is nothing that can be measured", show(field.now)))
		return metric{"null::bigint", kindLong}
	}
	switch {
	case (name == "sum" || name == "avg") && k.kind != kindLong:
		c.failInput(field, fmt.Errorf("%w, and %s is none", errNoNumbers, k.name))
	case (name == "min" || name == "max") && k.kind == kindBoolean:
		c.failInput(field, fmt.Errorf("%w: %s", errNoOrder, k.name))
	}
	of := s.value(c.keySQL(s, k))
	switch name {
	case "countDistinct":
		return metric{"count(distinct " + of + ")", kindLong}
	case "sum", "avg":
		return metric{name + "(" + of + ")", kindNumber}
	}
	return metric{name + "(" + of + ")", k.kind}
}

// metricNode adds a metric to a row.
func (c *compiler) metricNode(rows *scope, s *source, a *aggregation, f *ast.Field) node {
	m := c.metric(s, a, f.Name, c.argument(f, "field"))
	switch {
	case m.kind == kindTime:
		return slotTime(rows.slot(m.sql, kindTime))
	case m.kind == kindText:
		return slotText(rows.slot(m.sql, kindText))
	case f.Name == "avg":
		m.sql += "::float8"
	}
	return slotRaw(rows.slot(m.sql, kindLong)) // sums, too: as text, or as a number of JSON
}

// aggregate compiles the metrics of a list as a whole to one JSON array. path is
// where they are asked for.
func (c *compiler) aggregate(f *ast.Field, p *page, path ast.Path) (sql string, width int, item node) {
	a := c.m.aggregations[p.col]
	s := &source{alias: c.alias("c"), col: p.col}
	rows, out, counts := newScope(true), &object{}, true
	list := c.path
	c.path = path
	for _, f := range c.collect(f.SelectionSet, a.metrics) {
		c.within(f, func() {
			if f.Name == "__typename" {
				out.add(f.Alias, text(`"`+a.metrics+`"`))
				return
			}
			counts = counts && f.Name == "count"
			out.add(f.Alias, c.metricNode(rows, s, a, f))
		})
	}
	c.path = list
	switch {
	case len(rows.slots) == 0:
		return "json_build_array()", 0, out
	case counts && p.count != "" && c.unfiltered(p):
		c.charge(1)
		return "json_build_array(" + p.count + ")", 1, out
	case p.base == nil:
		c.charge(c.cfg.AggregateCost)
	default:
		c.charge(countGuess)
	}
	return fmt.Sprintf("(select %s from %s)", rows.array(), s.sql(c.conditions(p, s.alias))), len(rows.slots), out
}

// group is one key that records are grouped by.
type group struct {
	*keyField
	sql      string // in the rows of the source
	interval bool
}

// rootAggregated gives the records of a collection in groups.
func (c *compiler) rootAggregated(f *ast.Field, a *aggregation, out *planField) {
	out.rows = &statement{}
	c.stmt = out.rows
	s := &source{alias: c.alias("t"), col: a.col}
	groups := c.groups(s, a, c.argument(f, "groupBy"))
	limit := c.groupLimit(c.argument(f, "limit"))
	c.charge(c.cfg.AggregateCost + limit)

	rows, node := newScope(false), &object{}
	for _, f := range c.collect(f.SelectionSet, a.row) {
		c.within(f, func() {
			switch {
			case f.Name == "__typename":
				node.add(f.Alias, text(`"`+a.row+`"`))
			case slices.Contains(metricNames, f.Name):
				node.add(f.Alias, c.metricNode(rows, s, a, f))
			default:
				at := slices.IndexFunc(groups, func(g group) bool { return g.name == f.Name })
				if at < 0 {
					node.add(f.Alias, text("null"))
				} else {
					node.add(f.Alias, groups[at].node(rows))
				}
			}
		})
	}
	having := c.having(s, a, c.argument(f, "having"))
	order := c.groupOrder(s, a, groups, c.argument(f, "orderBy"))
	conditions := c.conditions(&page{col: a.col, where: c.argument(f, "where")}, s.alias)
	if len(rows.slots) == 0 {
		rows.slot("count(*)", kindLong) // a group has at least a place in the list
	}
	var b strings.Builder
	b.WriteString(rows.selectSQL(s.sql(conditions)))
	if len(groups) > 0 {
		keys := make([]string, len(groups))
		for i, g := range groups {
			keys[i] = g.sql
		}
		b.WriteString("\ngroup by " + strings.Join(keys, ", "))
	}
	if having != "" {
		b.WriteString("\nhaving " + having)
	}
	if len(groups) > 0 {
		b.WriteString("\norder by " + order)
	}
	fmt.Fprintf(&b, "\nlimit %d", limit)
	out.rows.sql = b.String()
	out.node = rootRows{node}
}

// groups reads the argument groupBy.
func (c *compiler) groups(s *source, a *aggregation, groupBy input) []group {
	items := c.items(groupBy)
	if len(items) > c.cfg.MaxGroupKeys {
		c.failInput(groupBy, fmt.Errorf("%d keys are over the maximum of %d", len(items), c.cfg.MaxGroupKeys))
		return nil
	}
	var out []group
	lists := 0
	for _, item := range items {
		name, _ := c.get(item, "field").now.(string)
		k := a.keys[name]
		switch {
		case k == nil:
			c.failInput(item, fmt.Errorf("%s is nothing to group by", show(name)))
			return nil
		case slices.ContainsFunc(out, func(g group) bool { return g.name == name }):
			c.failInput(item, fmt.Errorf("%s is there twice", name))
			return nil
		case k.list:
			// The elements of two lists would make as many rows as their product.
			if lists++; lists > 1 {
				c.failInput(item, fmt.Errorf("%s is the second list: records can be grouped by the elements of one", name))
				return nil
			}
		}
		g := group{keyField: k}
		sql := c.keySQL(s, k)
		interval, zone := c.get(item, "interval"), c.get(item, "timeZone")
		switch {
		case !interval.null() && k.kind != kindTime:
			c.failInput(interval, fmt.Errorf("%s is not a time", name))
		case !interval.null():
			g.interval = true
			sql = c.intervalSQL(sql, interval, zone)
		case !zone.null():
			c.failInput(zone, errors.New("a time zone is that of an interval, and there is none"))
		}
		g.sql = s.value(sql)
		out = append(out, g)
	}
	return out
}

// node writes the key: as text, whatever it is in the record.
func (g group) node(rows *scope) node {
	switch {
	case g.interval:
		return slotText(rows.slot(g.sql, kindText))
	case g.kind == kindTime:
		return slotTime(rows.slot(g.sql, kindTime))
	case g.kind == kindJSON:
		return slotRaw(rows.slot(g.sql, kindJSON))
	}
	return slotText(rows.slot(g.sql, g.kind))
}

func (c *compiler) groupLimit(in input) int {
	if in.null() {
		return min(defaultGroups, c.cfg.MaxGroups)
	}
	v, err := longOperand(in.now)
	n, _ := v.(int64)
	switch {
	case err != nil:
		c.failInput(in, err)
	case n < 0:
		c.failInput(in, fmt.Errorf("%d is negative", n))
	case n > int64(c.cfg.MaxGroups):
		c.failInput(in, fmt.Errorf("%d is over the maximum of %d groups", n, c.cfg.MaxGroups))
	default:
		return int(n)
	}
	return 0
}

// having is the condition on groups; "" for none.
func (c *compiler) having(s *source, a *aggregation, in input) string {
	if in.null() {
		return ""
	}
	var all []string
	for _, name := range metricNames {
		conditions := []input{c.get(in, name)}
		if name != "count" {
			conditions = c.items(conditions[0])
		}
		for _, cond := range conditions {
			if cond.null() {
				continue
			}
			m := c.metric(s, a, name, c.get(cond, "field"))
			if sql := c.scalar(cond, m.sql, m.kind); sql != "" {
				all = append(all, sql)
			}
		}
	}
	return conjunction(all)
}

// groupOrder reads the argument orderBy. The keys come last, so no two groups
// are equal in it. Without the argument the largest groups are first.
func (c *compiler) groupOrder(s *source, a *aggregation, groups []group, orderBy input) string {
	items := c.items(orderBy)
	if len(items) > maxSortKeys {
		c.failInput(orderBy, fmt.Errorf("%d keys are over the maximum of %d", len(items), maxSortKeys))
		return ""
	}
	var keys []string
	add := func(sql string, desc bool) {
		if desc {
			sql += " desc nulls last"
		}
		keys = append(keys, sql)
	}
	for _, item := range items {
		direction, _ := c.get(item, "direction").now.(string)
		desc, given := strings.EqualFold(direction, "DESC"), 0
		if count := c.get(item, "count"); !count.null() {
			given++
			way, _ := count.now.(string)
			add("count(*)", strings.EqualFold(way, "DESC"))
		}
		if key := c.get(item, "key"); !key.null() {
			given++
			name, _ := key.now.(string)
			at := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
			if at < 0 {
				c.failInput(key, fmt.Errorf("%s is not grouped by", show(name)))
				return ""
			}
			add(groups[at].sql, desc)
		}
		for _, name := range metricNames[1:] {
			if field := c.get(item, name); !field.null() {
				given++
				add(c.metric(s, a, name, field).sql, desc)
			}
		}
		if given != 1 {
			c.failInput(item, errors.New("give one of count, key, countDistinct, sum, avg, min, max"))
			return ""
		}
	}
	if len(items) == 0 {
		add("count(*)", true)
	}
	for _, g := range groups {
		if !slices.Contains(keys, g.sql) && !slices.Contains(keys, g.sql+" desc nulls last") {
			add(g.sql, false)
		}
	}
	return strings.Join(keys, ", ")
}

// rootRows is a list of rows.
type rootRows struct{ item node }

func (n rootRows) write(w *writer, rows []row, _ *row) {
	w.buf = append(w.buf, '[')
	for i := range rows {
		if w.full() {
			return
		}
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		n.item.write(w, &rows[i])
	}
	w.buf = append(w.buf, ']')
}
