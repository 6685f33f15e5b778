package graphql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/atview/atview/schema"
)

// plan is an operation made ready to run, for variables of one shape. It is
// immutable and shared by requests.
type plan struct {
	fields []planField
	cost   int
}

// planField is one field of Query.
type planField struct {
	key     string // response key
	name    string
	nonNull bool
	rows    *statement // the records; nil when nothing of them is asked for
	extra   *statement // one row beside them: the count, whether there are other pages
	node    rootNode
}

// statement is SQL with its parameters.
type statement struct {
	sql    string
	params []param
	unused []param // of the request's, too: a bad value is one also where it has no effect
}

type param struct {
	binding
	key  string // what it is of the value, to use one parameter for one thing
	conv func(any) (any, error)
	at   string   // for messages
	path ast.Path // of the field
}

// finish numbers the parameters in the order of the SQL, and drops those of
// conditions that were found to be without effect: Postgres takes exactly the
// parameters that a statement has.
func (s *statement) finish() {
	var b strings.Builder
	var used []param
	numbers := map[string]int{}
	for i, part := range strings.Split(s.sql, "\x02") {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		if numbers[part] == 0 {
			at, _ := strconv.Atoi(part)
			used = append(used, s.params[at])
			numbers[part] = len(used)
		}
		fmt.Fprintf(&b, "$%d", numbers[part])
	}
	for i, p := range s.params {
		if numbers[strconv.Itoa(i)] == 0 {
			s.unused = append(s.unused, p)
		}
	}
	s.sql, s.params = b.String(), used
}

// bind gets the parameters' values of a request.
func (s *statement) bind(vars map[string]any) ([]any, *gqlerror.Error) {
	args := make([]any, len(s.params))
	for i, p := range s.params {
		v, _ := p.value(vars)
		arg, err := p.conv(v)
		if err != nil {
			return nil, badInput(p.path, p.at, err)
		}
		args[i] = arg
	}
	for _, p := range s.unused {
		v, _ := p.value(vars)
		if _, err := p.conv(v); err != nil {
			return nil, badInput(p.path, p.at, err)
		}
	}
	return args, nil
}

// compiler turns one operation into a plan. It does no I/O.
type compiler struct {
	m    *model
	cfg  *Config
	doc  *ast.QueryDocument
	vars map[string]any

	stmt    *statement // being written
	path    ast.Path   // of the field being compiled
	aliases int
	rows    int // rows that the scope being compiled has at most
	cost    int
	// compared counts conditions.
	compared int
	err      *gqlerror.Error // the first one
}

// compile makes a plan of an operation that has been validated and is within
// the limits of depth and fields.
func compile(m *model, cfg *Config, doc *ast.QueryDocument, op *ast.OperationDefinition, vars map[string]any) (*plan, *gqlerror.Error) {
	c := &compiler{m: m, cfg: cfg, doc: doc, vars: vars, rows: 1}
	p := &plan{}
	for _, f := range c.collect(op.SelectionSet, "Query") {
		c.path = ast.Path{ast.PathName(f.Alias)}
		field := c.root(f)
		if c.err != nil {
			return nil, c.err
		}
		for _, stmt := range []*statement{field.rows, field.extra} {
			if stmt != nil {
				stmt.finish()
			}
		}
		p.fields = append(p.fields, field)
	}
	p.cost = c.cost
	if c.cost > cfg.MaxCost {
		return nil, tooMuch("the operation may read %d rows, over the maximum of %d: ask for smaller pages (`first`) or fewer nested lists", c.cost, cfg.MaxCost)
	}
	return p, nil
}

func (c *compiler) root(f *ast.Field) planField {
	out := planField{key: f.Alias, name: f.Name, nonNull: f.Definition != nil && f.Definition.Type.NonNull}
	switch f.Name {
	case "__typename":
		out.node = rootText{`"Query"`}
	case "__schema", "__type":
		out.node = rootIntrospection{f}
	case "record":
		c.rootRecord(f, &out)
	case "actor":
		c.rootActor(f, &out)
	default:
		if col := c.m.byURI[f.Name]; col != nil {
			c.rootByURI(f, col, &out)
		} else if col := c.m.lists[f.Name]; col != nil {
			c.rootList(f, col, &out)
		}
	}
	return out
}

func (c *compiler) rootList(f *ast.Field, col *schema.Collection, out *planField) {
	out.rows, out.extra = &statement{}, &statement{}
	c.stmt = out.rows
	rows, extra := newScope(false), newScope(false)
	page := c.page(f, col, nil)
	node := c.connection(f, page, rows, extra, out.extra)
	if node.item {
		c.stmt = out.rows
		out.rows.sql = rows.selectSQL(page.sql) + "\norder by " + page.order.sql(page.alias, false)
	} else {
		out.rows = nil
	}
	if len(extra.slots) > 0 {
		out.extra.sql = extra.selectSQL("")
	} else {
		out.extra = nil
	}
	out.node = rootConnection{node}
}

// rootByURI gives one record by its key.
func (c *compiler) rootByURI(f *ast.Field, col *schema.Collection, out *planField) {
	out.rows = &statement{}
	c.stmt = out.rows
	c.charge(1)
	s := newScope(false)
	r := rec{scope: s, alias: c.alias("t"), col: col}
	node := c.record(r, f.SelectionSet)
	uri := c.argument(f, "uri")
	authority := c.param(uri, "authority", "text", uriPart(func(u uriParts) string { return u.authority }))
	nsid := c.param(uri, "collection", "text", uriPart(func(u uriParts) string { return u.collection }))
	rkey := c.param(uri, "rkey", "text", uriPart(func(u uriParts) string { return u.rkey }))
	out.rows.sql = s.selectSQL(fmt.Sprintf("%s %s", tableSQL(col), r.alias)) + fmt.Sprintf(
		"\nwhere %[1]s.rkey = %[2]s and %[1]s.did = %[3]s and %[4]s = %[5]s and not %[1]s.hidden",
		r.alias, rkey, didOf(authority), nsid, literalSQL(col.NSID.String()))
	out.node = rootRecord{node}
}

// didOf is the DID that an authority stands for: itself, or that of the handle.
func didOf(authority string) string {
	return fmt.Sprintf("case when %[1]s like 'did:%%' then %[1]s else (select a.did from atview.actor a where a.handle = %[1]s limit 1) end", authority)
}

// rootRecord gives one record of whatever collection.
func (c *compiler) rootRecord(f *ast.Field, out *planField) {
	out.rows = &statement{}
	c.stmt = out.rows
	c.charge(1)
	s := newScope(false)
	uri := c.argument(f, "uri")
	authority := c.param(uri, "authority", "text", uriPart(func(u uriParts) string { return u.authority }))
	nsid := c.param(uri, "collection", "text", uriPart(func(u uriParts) string { return u.collection }))
	rkey := c.param(uri, "rkey", "text", uriPart(func(u uriParts) string { return u.rkey }))
	alias := c.alias("u")
	node := c.anyRecord(s, link{alias + ".uri", alias + ".did", alias + ".nsid", alias + ".rkey"}, f.SelectionSet)
	out.rows.sql = s.selectSQL(fmt.Sprintf("(select 'at://' || did || '/' || nsid || '/' || rkey as uri, did, nsid, rkey from (select %s as did, %s as nsid, %s as rkey) p) %s",
		didOf(authority), nsid, rkey, alias))
	out.node = rootRecord{node}
}

// rootActor gives an account, known or not: a DID is enough to ask for its
// records.
func (c *compiler) rootActor(f *ast.Field, out *planField) {
	did, handle := c.argument(f, "did"), c.argument(f, "handle")
	if did.null() == handle.null() {
		c.fail(codeInput, "give either did or handle")
		return
	}
	out.rows = &statement{}
	c.stmt = out.rows
	c.charge(1)
	s := newScope(false)
	a := c.alias("a")
	r := rec{scope: s, alias: a, actor: a}
	node := &object{}
	for _, f := range c.collect(f.SelectionSet, "Actor") {
		c.within(f, func() {
			switch f.Name {
			case "__typename":
				node.add(f.Alias, text(`"Actor"`))
			case "did":
				node.add(f.Alias, slotText(s.slot(a+".did", kindText)))
			case "handle":
				node.add(f.Alias, slotText(s.slot(a+".handle", kindText)))
			default:
				node.add(f.Alias, c.joined(r, f))
			}
		})
	}
	from := ""
	if did.null() {
		from = fmt.Sprintf("(select did, handle from atview.actor where handle = %s and status = 'active' order by did limit 1) %s",
			c.operand(handle, kindText), a)
	} else {
		from = fmt.Sprintf("(select d.did, o.handle from (select %s as did) d left join atview.actor o on o.did = d.did where coalesce(o.status, 'active') = 'active') %s",
			c.param(did, "did", "text", didOperand), a)
	}
	out.rows.sql = s.selectSQL(from)
	out.node = rootRecord{node}
}

// rec is a record, or an account, whose fields are being compiled.
type rec struct {
	scope *scope
	alias string             // of its table
	col   *schema.Collection // nil for an account
	actor string             // alias of its row of atview.actor; "" before it is joined
}

func (r rec) did() string { return r.alias + ".did" }

// json is the record. It is a mark that [scope.finish] makes SQL of: a record
// of which several parts are read is unpacked once. A long record is stored
// compressed, and Postgres would unpack it for each part: 50 documents of 27 kB
// take 7.4 ms for five parts, and 1.1 ms when they are unpacked once.
func (r rec) json() string { return "\x01" + r.alias + "\x01" }

// record compiles a selection on a record's type.
func (c *compiler) record(r rec, set ast.SelectionSet) node {
	out := &object{}
	t := c.m.records[r.col.Type]
	for _, f := range c.collect(set, r.col.Type) {
		c.within(f, func() { out.add(f.Alias, c.recordField(r, t, f)) })
	}
	return out
}

func (c *compiler) recordField(r rec, t *recordType, f *ast.Field) node {
	s, a := r.scope, r.alias
	if prop := t.object.fields[f.Name]; prop != nil {
		return c.recordProperty(r, prop, f)
	}
	if prop := t.object.resolved[f.Name]; prop != nil {
		n, _ := c.resolved(r, prop, f, nil, true)
		return n
	}
	switch f.Name {
	case "__typename":
		return text(`"` + r.col.Type + `"`)
	case "uri":
		return slotURI{s.slot(a+".did", kindText), s.slot(a+".rkey", kindText), "/" + r.col.NSID.String() + "/"}
	case "cid", "did", "rkey", "rev":
		return slotText(s.slot(a+"."+f.Name, kindText))
	case "collection":
		return text(string(quote(nil, []byte(r.col.NSID))))
	case "indexedAt":
		return slotTime(s.slot(a+".indexed_at", kindTime))
	case "actorHandle":
		return slotText(s.slot(c.handle(r)+".handle", kindText))
	case "record":
		return slotRaw(s.slot(r.json(), kindJSON))
	case "flags":
		return c.flags(r, f)
	}
	return c.joined(r, f)
}

// handle is the alias of the account's row.
func (c *compiler) handle(r rec) string {
	return r.scope.join("actor "+r.alias, func() (alias, sql string) {
		alias = c.alias("h")
		return alias, fmt.Sprintf("left join atview.actor %s on %s.did = %s", alias, alias, r.did())
	})
}

func (c *compiler) flags(r rec, f *ast.Field) node {
	out := &object{}
	for _, f := range c.collect(f.SelectionSet, "Flag") {
		switch f.Name {
		case "__typename":
			out.add(f.Alias, text(`"Flag"`))
		case "path":
			out.add(f.Alias, slotText(0))
		case "reason":
			out.add(f.Alias, slotText(1))
		}
	}
	c.charge(1)
	alias := c.alias("f")
	slot := r.scope.slot(fmt.Sprintf("case when %[1]s.flagged then (select json_agg(json_build_array(%[2]s.path, %[2]s.reason) order by %[2]s.ordinal)"+
		" from atview.flag %[2]s where %[2]s.rkey = %[1]s.rkey and %[2]s.did = %[1]s.did and %[2]s.collection = %[3]s) end",
		r.alias, alias, literalSQL(r.col.NSID.String())), kindJSON)
	return rowsNode{slot: slot, width: 2, item: out}
}

// recordProperty compiles a property of a record.
func (c *compiler) recordProperty(r rec, prop *schema.Field, f *ast.Field) node {
	s := r.scope
	if column := r.col.Column(prop.Name); column != nil {
		sql := r.alias + "." + schema.Quote(column.Name)
		if column.Link != nil {
			// A link too long for an index is in the record alone, which is flagged.
			sql = fmt.Sprintf("coalesce(%s, case when %s.flagged then %s end)", sql, r.alias, textSQL(r.alias+".record -> "+literalSQL(prop.Name)))
		}
		switch column.SQL() {
		case "text":
			return slotText(s.slot(sql, kindText))
		case "bigint":
			return slotRaw(s.slot(sql, kindLong))
		case "boolean":
			return slotRaw(s.slot(sql, kindBoolean))
		case "timestamptz":
			return slotTime(s.slot(sql, kindTime))
		}
		// Of a list, the record has what fits also where one element does not.
	}
	slot := s.slot(r.json()+" -> "+literalSQL(prop.Name), kindJSON)
	v := c.value(r, prop.Type, f.SelectionSet, []string{prop.Name}, true)
	return slotJSON{slot, v}
}

// value compiles a selection on a value of a record's JSON. path leads there
// from the record; direct says that only objects are on the way.
func (c *compiler) value(r rec, t schema.Type, set ast.SelectionSet, path []string, direct bool) projection {
	switch t := t.(type) {
	case *schema.Boolean:
		return jsonBoolean{}
	case *schema.Integer:
		return jsonLong{t}
	case *schema.String:
		if t.SQL() == "timestamptz" {
			return jsonTime{t}
		}
		return jsonText{}
	case *schema.CIDLink:
		return jsonTagged("$link")
	case *schema.Bytes:
		return jsonTagged("$bytes")
	case *schema.Blob:
		return c.blob(r, set)
	case *schema.Array:
		return jsonArray{c.value(r, t.Items, set, append(path[:len(path):len(path)], "[*]"), false)}
	case *schema.Object:
		return c.jsonObject(r, t, set, path, direct)
	case *schema.Union:
		if t.GraphQL() != gqlJSON {
			return c.union(r, t, set, path)
		}
	}
	return jsonAny{}
}

func (c *compiler) jsonObject(r rec, t *schema.Object, set ast.SelectionSet, path []string, direct bool) projection {
	out := newJSONObject()
	meaning := c.m.objects[t.GraphQL()]
	for _, f := range c.collect(set, t.GraphQL()) {
		c.within(f, func() {
			if prop := meaning.fields[f.Name]; prop != nil {
				at := append(path[:len(path):len(path)], prop.Name)
				out.property(f.Alias, prop.Name, c.value(r, prop.Type, f.SelectionSet, at, direct))
				return
			}
			if prop := meaning.resolved[f.Name]; prop != nil {
				if n, p := c.resolved(r, prop, f, path, direct); p != nil {
					out.property(f.Alias, prop.Name, p)
				} else {
					out.row(f.Alias, n)
				}
				return
			}
			if f.Name == "__typename" {
				out.row(f.Alias, text(`"`+t.GraphQL()+`"`))
				return
			}
			out.row(f.Alias, text("null")) // `_` of an object without properties
		})
	}
	return out
}

func (c *compiler) union(r rec, t *schema.Union, set ast.SelectionSet, path []string) projection {
	out := jsonUnion{members: map[string]projection{}}
	meaning := c.m.unions[t.GraphQL()]
	compiled := map[*schema.Object]projection{}
	for _, member := range t.Objects() {
		obj := meaning.members[member.Ref]
		if compiled[obj] == nil {
			compiled[obj] = c.jsonObject(r, obj, set, path, false)
		}
		out.members[member.Ref] = compiled[obj]
		if !strings.Contains(member.Ref, "#") {
			out.members[member.Ref+"#main"] = compiled[obj]
		}
	}
	if !t.Closed {
		unknown := &unknownValue{}
		for _, f := range c.collect(set, "UnknownValue") {
			unknown.add(f)
		}
		out.unknown = unknown
	}
	return out
}

func (c *compiler) blob(r rec, set ast.SelectionSet) projection {
	out := &jsonBlob{}
	for _, f := range c.collect(set, "Blob") {
		bf := blobField{key: fieldKey(f.Alias), name: f.Name}
		if f.Name == "url" {
			if in := c.argument(f, "preset"); !in.null() {
				bf.preset = in.binding
			}
			out.template = c.cfg.BlobURL
			out.did = r.scope.slot(r.did(), kindText)
		}
		out.fields = append(out.fields, bf)
	}
	return out
}

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

// charge counts a row that each row of the scope may make Postgres read.
func (c *compiler) charge(n int) {
	c.cost += c.rows * n
	if c.cost > 1<<40 {
		c.cost = 1 << 40
	}
}

func (c *compiler) alias(prefix string) string {
	c.aliases++
	return fmt.Sprintf("%s%d", prefix, c.aliases)
}

// within compiles a field, for the paths of errors.
func (c *compiler) within(f *ast.Field, compile func()) {
	c.path = append(c.path, ast.PathName(f.Alias))
	compile()
	c.path = c.path[:len(c.path)-1]
}

// param adds a parameter to the statement, or finds it there. The SQL has a
// mark, which [statement.finish] makes a number of.
func (c *compiler) param(in input, key, sqlType string, conv func(any) (any, error)) string {
	for i, p := range c.stmt.params {
		if p.binding == in.binding && p.key == key+" "+sqlType {
			return fmt.Sprintf("\x02%d\x02::%s", i, sqlType)
		}
	}
	path := append(ast.Path{}, c.path...)
	c.stmt.params = append(c.stmt.params, param{binding: in.binding, key: key + " " + sqlType, conv: conv, at: in.at, path: path})
	return fmt.Sprintf("\x02%d\x02::%s", len(c.stmt.params)-1, sqlType)
}

func (c *compiler) failInput(in input, err error) {
	if c.err == nil {
		c.err = badInput(append(ast.Path{}, c.path...), in.at, err)
	}
}

func (c *compiler) fail(code, message string) {
	if c.err == nil {
		c.err = &gqlerror.Error{Message: message, Path: append(ast.Path{}, c.path...), Extensions: map[string]any{"code": code}}
	}
}

func tableSQL(col *schema.Collection) string { return "records." + schema.Quote(col.Table) }

// scope is a SELECT that is being written: a row of slots, and what is joined
// for them.
type scope struct {
	json   bool // its rows come as JSON arrays, inside a slot of another scope
	slots  []string
	index  map[string]int
	joins  []string
	joined map[string]string // alias by what is joined
}

func newScope(json bool) *scope {
	return &scope{json: json, index: map[string]int{}, joined: map[string]string{}}
}

// slot adds an expression to the row, or finds it there.
func (s *scope) slot(sql string, k kind) int {
	switch {
	case k == kindTime, !s.json && (k == kindLong || k == kindBoolean):
		// As text, so that Postgres' encodings are not ours to know. Within JSON,
		// numbers and booleans have none.
		if strings.Contains(sql, " ") {
			sql = parens(sql)
		}
		sql += "::text"
	}
	if i, ok := s.index[sql]; ok {
		return i
	}
	s.index[sql] = len(s.slots)
	s.slots = append(s.slots, sql)
	return len(s.slots) - 1
}

// join adds a join, or finds it.
func (s *scope) join(key string, write func() (alias, sql string)) string {
	if alias, ok := s.joined[key]; ok {
		return alias
	}
	alias, sql := write()
	s.joined[key] = alias
	s.joins = append(s.joins, sql)
	return alias
}

// finish writes the records that slots are read from; see [rec.json].
func (s *scope) finish() {
	parts := map[string]int{}
	var order []string
	for _, slot := range s.slots {
		for i, alias := range strings.Split(slot, "\x01") {
			if i%2 == 0 {
				continue
			}
			if parts[alias]++; parts[alias] == 1 {
				order = append(order, alias)
			}
		}
	}
	for _, alias := range order {
		record := alias + ".record"
		if parts[alias] > 1 {
			record = alias + "j.record"
			// OFFSET keeps Postgres from putting the expression back into each slot.
			s.joins = append(s.joins, fmt.Sprintf("cross join lateral (select %[1]s.record || '{}' as record offset 0) %[1]sj", alias))
		}
		for i := range s.slots {
			s.slots[i] = strings.ReplaceAll(s.slots[i], "\x01"+alias+"\x01", record)
		}
	}
}

func (s *scope) fromSQL(from string) string {
	return strings.Join(append([]string{from}, s.joins...), "\n")
}

func (s *scope) selectSQL(from string) string {
	s.finish()
	sql := "select " + strings.Join(s.slots, ",\n  ")
	if from != "" {
		sql += "\nfrom " + s.fromSQL(from)
	}
	return sql
}

// maxArguments is what a function of Postgres takes.
const maxArguments = 100

// array is the row as a JSON array. One that is longer than a function takes
// arguments has the rest as an array in its last place; see splitRow.
func (s *scope) array() string {
	s.finish()
	return buildArray(s.slots)
}

func buildArray(slots []string) string {
	if len(slots) <= maxArguments {
		return "json_build_array(" + strings.Join(slots, ", ") + ")"
	}
	head := slots[:maxArguments-1]
	return "json_build_array(" + strings.Join(head, ", ") + ", " + buildArray(slots[maxArguments-1:]) + ")"
}
