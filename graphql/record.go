package graphql

import (
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// rec is a record, or an account, whose fields are being compiled.
type rec struct {
	scope *scope
	alias string             // of its table
	col   *schema.Collection // nil for an account
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
