package graphql

import (
	"fmt"

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
		return nil, tooMuch("the operation may read %d rows, over the maximum of %d: ask for smaller pages (`first`), fewer nested lists or fewer aggregations", c.cost, cfg.MaxCost)
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
		} else if a := c.m.aggregated[f.Name]; a != nil {
			c.rootAggregated(f, a, &out)
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
	authority, nsid, rkey := c.uriParams(uri)
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
	authority, nsid, rkey := c.uriParams(uri)
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
	r := rec{scope: s, alias: a}
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
	var from string
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
