package graphql

import (
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// place is an object that conditions are about: a record, or something in it.
type place struct {
	json  string             // SQL of the object as jsonb
	alias string             // of the table
	col   *schema.Collection // nil inside an array, where there are no columns
	path  []string           // from the record to the object
}

// inside is the value of a property, as SQL of jsonb.
func (p place) inside(prop string) string { return p.json + " -> " + literalSQL(prop) }

func (p place) column(prop string) *schema.Column {
	if p.col == nil {
		return nil
	}
	return p.col.Column(append(append([]string{}, p.path...), prop)...)
}

// where is the argument's condition on records; "" for none.
func (c *compiler) where(in input, p place) string {
	if in.null() {
		return ""
	}
	if strings.Count(in.path, "\x00") > 2*maxValueDepth { // Postgres' own stack ends at some thousands
		c.failInput(in, fmt.Errorf("conditions are nested deeper than %d", maxValueDepth))
		return ""
	}
	var all []string
	def := c.m.schema.Types[p.col.WhereInput()]
	for _, f := range def.Fields {
		cond := c.get(in, f.Name)
		if !cond.given {
			continue
		}
		if sql := c.recordCondition(f, cond, p); sql != "" {
			all = append(all, sql)
		}
	}
	return conjunction(all)
}

func (c *compiler) recordCondition(f *ast.FieldDefinition, in input, p place) string {
	if prop := c.m.wheres[p.col.WhereInput()][f.Name]; prop != nil {
		return c.property(prop, in, p)
	}
	if in.null() {
		return ""
	}
	switch f.Name {
	case "and", "or":
		var all []string
		for _, item := range c.items(in) {
			if sql := c.where(item, p); sql != "" {
				all = append(all, sql)
			} else {
				all = append(all, "true")
			}
		}
		if f.Name == "and" {
			return conjunction(all)
		}
		if len(all) == 0 {
			return "false"
		}
		for i := range all {
			all[i] = parens(all[i])
		}
		return strings.Join(all, " or ")
	case "not":
		if sql := c.where(in, p); sql != "" {
			return parens(sql) + " is not true"
		}
		return "false"
	case "uri":
		return c.uriCondition(in, p)
	case "cid", "did", "rkey", "rev":
		return c.scalar(in, p.alias+"."+f.Name, kindText)
	case "collection":
		return c.scalar(in, literalSQL(p.col.NSID.String())+"::text", kindText)
	case "indexedAt":
		return c.scalar(in, p.alias+".indexed_at", kindTime)
	case "flagged":
		return c.scalar(in, p.alias+".flagged", kindBoolean)
	case "actorHandle":
		return c.handleCondition(in, p)
	}
	c.failInput(in, fmt.Errorf("unknown condition"))
	return ""
}

// property is the condition on a property of the place.
func (c *compiler) property(f *schema.Field, in input, p place) string {
	if in.null() {
		return ""
	}
	if column := p.column(f.Name); column != nil {
		sql := p.alias + "." + schema.Quote(column.Name)
		if list, ok := f.Type.(*schema.Array); ok {
			return c.list(in, sql, kindOf(list.Items.SQL()), "cardinality("+sql+")")
		}
		return c.scalar(in, sql, kindOf(column.SQL()))
	}
	at := p.inside(f.Name)
	switch t := f.Type.(type) {
	case *schema.Object:
		inner := place{json: "(" + at + ")", alias: p.alias, col: p.col, path: append(append([]string{}, p.path...), f.Name)}
		return c.object(t, in, inner)
	case *schema.Array:
		return c.array(t, in, at)
	}
	return c.inRecord(f.Type, in, at)
}

// object is the condition on an object in a record.
func (c *compiler) object(t *schema.Object, in input, p place) string {
	var all []string
	for _, f := range c.m.schema.Types[t.WhereInput()].Fields {
		cond := c.get(in, f.Name)
		if !cond.given {
			continue
		}
		var sql string
		if prop := c.m.wheres[t.WhereInput()][f.Name]; prop != nil {
			sql = c.property(prop, cond, p)
		} else {
			sql = c.isNull(cond, "jsonb_typeof("+p.json+") is distinct from 'object'")
		}
		if sql != "" {
			all = append(all, sql)
		}
	}
	return conjunction(all)
}

// inRecord is the condition on a value that has no column: at is its SQL.
func (c *compiler) inRecord(t schema.Type, in input, at string) string {
	switch t := t.(type) {
	case *schema.Boolean:
		return c.scalar(in, booleanSQL(at), kindBoolean)
	case *schema.Integer:
		return c.scalar(in, longSQL(at), kindLong)
	case *schema.String:
		if t.SQL() == "timestamptz" {
			return c.scalar(in, timeSQL(at), kindTime)
		}
		return c.scalar(in, textSQL(at), kindText)
	case *schema.CIDLink:
		return c.scalar(in, textSQL("("+at+") -> '$link'"), kindText)
	case *schema.Bytes:
		return c.scalar(in, textSQL("("+at+") -> '$bytes'"), kindText)
	case *schema.Blob:
		return c.tagged(in, at, "mimeType", "mimeType")
	case *schema.Union:
		if t.GraphQL() != gqlJSON {
			return c.tagged(in, at, "type", "$type")
		}
	case *schema.Object:
		return c.object(t, in, place{json: "(" + at + ")"})
	}
	return c.isNull(c.get(in, "isNull"), fmt.Sprintf("coalesce(jsonb_typeof(%s), 'null') = 'null'", at))
}

// tagged is the condition on a blob or a union: an object of which one string
// is compared.
func (c *compiler) tagged(in input, at, name, prop string) string {
	var all []string
	if inner := c.get(in, name); !inner.null() {
		all = append(all, c.scalar(inner, textSQL("("+at+") -> "+literalSQL(prop)), kindText))
	}
	if isNull := c.isNull(c.get(in, "isNull"), "jsonb_typeof("+at+") is distinct from 'object'"); isNull != "" {
		all = append(all, isNull)
	}
	return conjunction(all)
}

// array is the condition on an array that has no column.
func (c *compiler) array(t *schema.Array, in input, at string) string {
	isArray := "jsonb_typeof(" + at + ") = 'array'"
	elements := "jsonb_array_elements(case when " + isArray + " then " + at + " end)"
	length := "jsonb_array_length(case when " + isArray + " then " + at + " end)"
	switch items := t.Items.(type) {
	case *schema.Boolean, *schema.Integer, *schema.String, *schema.CIDLink, *schema.Bytes:
		k := kindOf(items.SQL())
		var element string
		e := c.alias("e")
		switch items.(type) {
		case *schema.Boolean:
			element = booleanSQL(e + ".v")
		case *schema.Integer:
			element = longSQL(e + ".v")
		case *schema.CIDLink:
			element = textSQL(e + ".v -> '$link'")
		case *schema.Bytes:
			element, k = textSQL(e+".v -> '$bytes'"), kindText
		default:
			if element = textSQL(e + ".v"); k == kindTime {
				element = timeSQL(e + ".v")
			}
		}
		return c.list(in, fmt.Sprintf("case when %s then array(select %s from %s %s(v)) end", isArray, element, elements, e), k, length)
	}
	var all []string
	if any := c.get(in, "any"); !any.null() {
		e := c.alias("e")
		sql := c.inRecord(t.Items, any, e+".v")
		if sql == "" {
			sql = "true"
		}
		all = append(all, fmt.Sprintf("exists (select from %s %s(v) where %s)", elements, e, sql))
	}
	all = append(all, c.emptiness(in, length)...)
	return conjunction(all)
}

// emptiness are the conditions isEmpty and isNull of a list.
func (c *compiler) emptiness(in input, length string) []string {
	var all []string
	if isEmpty := c.get(in, "isEmpty"); !isEmpty.null() {
		if isEmpty.now == true {
			all = append(all, length+" = 0")
		} else {
			all = append(all, length+" > 0")
		}
	}
	if isNull := c.isNull(c.get(in, "isNull"), length+" is null"); isNull != "" {
		all = append(all, isNull)
	}
	return all
}

func (c *compiler) isNull(in input, sql string) string {
	switch in.now {
	case true:
		return sql
	case false:
		return "not (" + sql + ")"
	}
	return ""
}

// list is the condition on an array of scalars.
func (c *compiler) list(in input, sql string, k kind, length string) string {
	var all []string
	for _, operator := range []struct{ name, sql string }{{"has", "@>"}, {"hasAny", "&&"}, {"hasAll", "@>"}} {
		if operand := c.get(in, operator.name); c.operandGiven(operand) {
			all = append(all, fmt.Sprintf("%s %s %s", parensIf(sql), operator.sql, c.param(operand, "list", k.sql()+"[]", k.operands)))
		}
	}
	return conjunction(append(all, c.emptiness(in, length)...))
}

func parensIf(sql string) string {
	if strings.HasPrefix(sql, "case ") {
		return "(" + sql + ")"
	}
	return sql
}

// maxConditions bounds the conditions of an operation. Postgres takes 65,535
// parameters, and plans for longer than it runs with a few thousand.
const maxConditions = 1000

// scalar is the condition on one value. eq and ne take null for a value;
// ne and notIn hold for records without one.
func (c *compiler) scalar(in input, sql string, k kind) string {
	if in.null() {
		return ""
	}
	sql = parensIf(sql)
	var all []string
	for _, operator := range []string{"eq", "ne", "gt", "gte", "lt", "lte", "in", "notIn", "contains", "startsWith", "isNull"} {
		operand := c.get(in, operator)
		if !operand.given {
			continue
		}
		if c.compared++; c.compared > maxConditions {
			c.fail(codeCost, fmt.Sprintf("the operation has more than %d conditions", maxConditions))
			return ""
		}
		switch operator {
		case "isNull":
			if cond := c.isNull(operand, sql+" is null"); cond != "" {
				all = append(all, cond)
			}
			continue
		case "eq":
			if operand.now == nil {
				all = append(all, sql+" is null")
				continue
			}
			all = append(all, sql+" = "+c.operand(operand, k))
			continue
		case "ne":
			if operand.now == nil {
				all = append(all, sql+" is not null")
				continue
			}
			all = append(all, sql+" is distinct from "+c.operand(operand, k))
			continue
		}
		if !c.operandGiven(operand) {
			continue
		}
		switch operator {
		case "gt", "gte", "lt", "lte":
			symbol := map[string]string{"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}[operator]
			all = append(all, sql+" "+symbol+" "+c.operand(operand, k))
		case "in":
			all = append(all, fmt.Sprintf("%s = any(%s)", sql, c.param(operand, "list", k.sql()+"[]", k.operands)))
		case "notIn":
			all = append(all, fmt.Sprintf("(%s = any(%s)) is not true", sql, c.param(operand, "list", k.sql()+"[]", k.operands)))
		case "contains":
			if text, _ := operand.now.(string); foldsBeyondASCII(text) {
				all = append(all, fmt.Sprintf(`%s collate "C" ~ %s`, sql, c.param(operand, "fold", "text", foldPattern)))
			} else {
				all = append(all, fmt.Sprintf(`%s collate "C" ilike %s`, sql, c.param(operand, "like", "text", likePattern)))
			}
		case "startsWith":
			all = append(all, fmt.Sprintf(`%s collate "C" ^@ %s`, sql, c.operand(operand, k)))
		}
	}
	return conjunction(all)
}

// operandGiven refuses null where there is nothing to compare with.
func (c *compiler) operandGiven(in input) bool {
	if in.given && in.now == nil {
		c.failInput(in, fmt.Errorf("null is no value to compare with"))
	}
	return !in.null()
}

func (c *compiler) operand(in input, k kind) string { return c.param(in, "value", k.sql(), k.operand) }

// uriCondition compares AT-URIs, which are not stored: equality goes by the key.
func (c *compiler) uriCondition(in input, p place) string {
	nsid := p.col.NSID.String()
	part := func(pick func(syntax.ATURI) string) func(any) (any, error) {
		return func(v any) (any, error) {
			s, err := textOperand(v)
			if err != nil {
				return nil, err
			}
			if uri, err := syntax.ParseATURI(s.(string)); err == nil && uri.Collection().String() == nsid {
				return pick(uri), nil
			}
			return nil, nil // null: equal to no record
		}
	}
	parts := func(pick func(syntax.ATURI) string) func(any) (any, error) {
		return func(v any) (any, error) {
			list, ok := v.([]any)
			if !ok {
				list = []any{v}
			}
			out := []string{}
			for _, item := range list {
				picked, err := part(pick)(item)
				if err != nil {
					return nil, err
				}
				if s, ok := picked.(string); ok {
					out = append(out, s)
				}
			}
			return out, nil
		}
	}
	did := func(uri syntax.ATURI) string { return uri.Authority().String() }
	rkey := func(uri syntax.ATURI) string { return uri.RecordKey().String() }
	var all []string
	if eq := c.get(in, "eq"); !eq.null() {
		all = append(all, fmt.Sprintf("%s.rkey = %s and %s.did = %s",
			p.alias, c.param(eq, "rkey", "text", part(rkey)), p.alias, c.param(eq, "did", "text", part(did))))
		in = without(in, "eq")
	}
	if list := c.get(in, "in"); !list.null() {
		all = append(all, fmt.Sprintf("(%s.rkey, %s.did) in (select * from unnest(%s, %s))",
			p.alias, p.alias, c.param(list, "rkeys", "text[]", parts(rkey)), c.param(list, "dids", "text[]", parts(did))))
		in = without(in, "in")
	}
	if rest := c.scalar(in, parens(uriSQL(p.alias, p.col)), kindText); rest != "" {
		all = append(all, rest)
	}
	return conjunction(all)
}

// without is the input with a field taken out.
func without(in input, name string) input {
	if in.node != nil {
		node := *in.node
		node.Children = nil
		for _, child := range in.node.Children {
			if child.Name != name {
				node.Children = append(node.Children, child)
			}
		}
		in.node = &node
		return in
	}
	fields, _ := in.now.(map[string]any)
	rest := map[string]any{}
	for key, v := range fields {
		if key != name {
			rest[key] = v
		}
	}
	in.now = rest
	return in
}

// handleCondition compares the author's handle. Equality starts from the few
// accounts with that handle.
func (c *compiler) handleCondition(in input, p place) string {
	var all []string
	for _, operator := range []string{"eq", "in"} {
		operand := c.get(in, operator)
		if operand.null() {
			continue
		}
		cond := "= "
		if operator == "eq" {
			cond += c.operand(operand, kindText)
		} else {
			cond += fmt.Sprintf("any(%s)", c.param(operand, "list", "text[]", kindText.operands))
		}
		all = append(all, fmt.Sprintf("%s.did = any(array(select a.did from atview.actor a where a.handle %s))", p.alias, cond))
		in = without(in, operator)
	}
	if rest := c.scalar(in, fmt.Sprintf("(select a.handle from atview.actor a where a.did = %s.did)", p.alias), kindText); rest != "" {
		all = append(all, rest)
	}
	return conjunction(all)
}
