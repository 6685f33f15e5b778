package graphql

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"

	"github.com/atview/atview/schema"
)

// model is a catalog as the API shows it: the GraphQL schema, and what each of
// its fields means. It is immutable.
type model struct {
	cat     *schema.Catalog
	doc     ast.SchemaDocument // our own definitions, in the order of the SDL
	schema  *ast.Schema        // with GraphQL's; nil until validated
	records map[string]*recordType
	objects map[string]*objectType
	unions  map[string]*unionType
	wheres  map[string]map[string]*schema.Field // by input type: fields that are properties
	sorts   map[string]map[string]*schema.Field // by enum: values that are properties
	lists   map[string]*schema.Collection       // by field of Query
	byURI   map[string]*schema.Collection       // by field of Query
	joins   map[string]*join                    // by field of any record type
	// What can be aggregated, also by field of Query.
	aggregations map[*schema.Collection]*aggregation
	aggregated   map[string]*aggregation
	mode         Joins // JoinsAll or JoinsRelated
	fields       int   // that are joins, over all types
}

// recordType is the GraphQL type of a collection's records.
type recordType struct {
	col    *schema.Collection
	object *objectType
}

// objectType is the GraphQL type of an object in a record, or what a record
// has besides system fields and joins.
type objectType struct {
	object   *schema.Object
	fields   map[string]*schema.Field // by GraphQL name
	resolved map[string]*schema.Field // by the name of the field that follows the link
}

type unionType struct {
	union   *schema.Union
	members map[string]*schema.Object // by $type
}

// join is a field that leads from records to other records: those that link to
// it (link is set) or those of its author.
type join struct {
	col  *schema.Collection
	link *schema.Link
}

// newModel never fails: there is a schema for every catalog.
func newModel(cat *schema.Catalog, cfg Config) *model {
	m := &model{
		cat:     cat,
		records: map[string]*recordType{},
		objects: map[string]*objectType{},
		unions:  map[string]*unionType{},
		wheres:  map[string]map[string]*schema.Field{},
		sorts:   map[string]map[string]*schema.Field{},
		lists:   map[string]*schema.Collection{},
		byURI:   map[string]*schema.Collection{},
		joins:   map[string]*join{},

		aggregations: map[*schema.Collection]*aggregation{},
		aggregated:   map[string]*aggregation{},
	}
	b := builder{model: m, cfg: cfg, later: map[string]*ast.Definition{}, seen: map[schema.Type]bool{}}
	b.build()
	return m
}

// validated makes the schema that operations are held against.
func (m *model) validated() error {
	prelude, err := parser.ParseSchemas(validator.Prelude)
	if err != nil {
		return err
	}
	doc := ast.SchemaDocument{}
	doc.Merge(prelude)
	doc.Merge(&m.doc)
	// We answer in one piece.
	doc.Directives = slices.DeleteFunc(doc.Directives, func(d *ast.DirectiveDefinition) bool { return d.Name == "defer" })
	if m.schema, err = validator.ValidateSchemaDocument(&doc); err != nil {
		return fmt.Errorf("GraphQL schema of the lexicons: %w", err)
	}
	return nil
}

// builder writes a model's definitions.
type builder struct {
	*model
	cfg   Config
	later map[string]*ast.Definition // types in records, in the order of their names after all others
	seen  map[schema.Type]bool
}

func (b *builder) build() {
	b.own()
	query := &ast.Definition{Kind: ast.Object, Name: "Query", Description: "Everything that can be asked for."}
	b.add(query)
	for _, col := range b.cat.Collections {
		b.lists[col.QueryField()], b.byURI[col.ByURIField()] = col, col
		query.Fields = append(query.Fields,
			&ast.FieldDefinition{
				Name:        col.QueryField(),
				Description: fmt.Sprintf("Records of %s, newest first.", col.NSID),
				Arguments:   listArguments(col),
				Type:        nonNull(col.ConnectionType()),
			},
			&ast.FieldDefinition{
				Name:        col.ByURIField(),
				Description: fmt.Sprintf("The record of %s with this AT-URI.", col.NSID),
				Arguments:   ast.ArgumentDefinitionList{argument("uri", nonNull("String"))},
				Type:        named(col.Type),
			})
		b.collection(col)
	}
	if len(b.cat.Collections) > 0 {
		union := &ast.Definition{Kind: ast.Union, Name: "Record", Description: "A record of any collection."}
		for _, col := range b.cat.Collections {
			union.Types = append(union.Types, col.Type)
		}
		b.add(union)
		query.Fields = append(query.Fields, &ast.FieldDefinition{
			Name:        "record",
			Description: "The record with this AT-URI, of whatever collection.",
			Arguments:   ast.ArgumentDefinitionList{argument("uri", nonNull("String"))},
			Type:        named("Record"),
		})
	}
	query.Fields = append(query.Fields, &ast.FieldDefinition{
		Name:        "actor",
		Description: "The account with this DID, or with this handle. Null for one that is not active.",
		Arguments:   ast.ArgumentDefinitionList{argument("did", named("String")), argument("handle", named("String"))},
		Type:        named("Actor"),
	})
	b.join()
	b.aggregate()
	for _, name := range slices.Sorted(maps.Keys(b.later)) {
		b.add(b.later[name])
	}
}

func (b *builder) add(defs ...*ast.Definition) {
	b.doc.Definitions = append(b.doc.Definitions, defs...)
}

// collection defines the types that only records have.
func (b *builder) collection(col *schema.Collection) {
	object := b.meaning(col.Object)
	b.records[col.Type] = &recordType{col: col, object: object}
	def := &ast.Definition{Kind: ast.Object, Name: col.Type, Description: col.Description}
	def.Fields = append(def.Fields, systemFields()...)
	def.Fields = append(def.Fields, b.properties(col.Object, object)...)

	connection := &ast.Definition{
		Kind: ast.Object, Name: col.ConnectionType(),
		Fields: ast.FieldList{
			field("edges", listOf(nonNull(col.EdgeType()), true), ""),
			field("pageInfo", nonNull("PageInfo"), ""),
			field("totalCount", named("Int"), "Records on all pages together. Counted only when it is asked for."),
		},
	}
	edge := &ast.Definition{
		Kind: ast.Object, Name: col.EdgeType(),
		Fields: ast.FieldList{field("node", nonNull(col.Type), ""), field("cursor", nonNull("String"), "")},
	}
	b.add(def, connection, edge, b.recordWhere(col), b.sortInput(col), b.sortEnum(col))
}

// systemFields has them in the order of schema.SystemFields.
func systemFields() ast.FieldList {
	types := map[string]*ast.FieldDefinition{
		"uri":         field("uri", named("String"), "at://did/collection/rkey"),
		"cid":         field("cid", named("String"), "Hash of this version."),
		"did":         field("did", named("String"), "The repository that the record is in, which is its author."),
		"rkey":        field("rkey", named("String"), "The record's key in its collection."),
		"rev":         field("rev", named("String"), "Revision of the repository that wrote this version. Sorts by time."),
		"collection":  field("collection", named("String"), ""),
		"indexedAt":   field("indexedAt", named("DateTime"), "When this version was seen."),
		"actorHandle": field("actorHandle", named("String"), "The author's handle, where it is known."),
		"record":      field("record", named("JSON"), "The record as its author wrote it."),
		"flags":       field("flags", listOf(nonNull("Flag"), true), "What in the record breaks its lexicon."),
	}
	out := make(ast.FieldList, len(schema.SystemFields))
	for i, name := range schema.SystemFields {
		out[i] = types[name]
	}
	return out
}

// meaning registers what the fields of an object's type mean.
func (b *builder) meaning(obj *schema.Object) *objectType {
	t := &objectType{object: obj, fields: map[string]*schema.Field{}, resolved: map[string]*schema.Field{}}
	for _, f := range obj.Fields {
		t.fields[f.GraphQL] = f
		// A strongRef's own uri has no such field: the property with the
		// strongRef has it.
		if linksToRecord(f.Type) && !obj.StrongRef() {
			t.resolved[obj.ResolvedField(f)] = f
		}
	}
	return t
}

// linksToRecord says whether a value of the type names a record, or is a list
// of values that do.
func linksToRecord(t schema.Type) bool {
	switch t := t.(type) {
	case *schema.Object:
		return t.StrongRef() && t.Field("uri") != nil
	case *schema.String:
		return t.Link() == schema.LinkRecord
	case *schema.Array:
		if _, nested := t.Items.(*schema.Array); !nested {
			return linksToRecord(t.Items)
		}
	}
	return false
}

func (b *builder) properties(obj *schema.Object, t *objectType) ast.FieldList {
	var out ast.FieldList
	for _, f := range obj.Fields {
		b.reach(f.Type)
		out = append(out, field(f.GraphQL, typeOf(f.Type), f.Description))
		name := obj.ResolvedField(f)
		if t.resolved[name] == nil {
			continue
		}
		resolved := named("Record")
		text := fmt.Sprintf("The record that %s points at. Null when it is not here.", f.Name)
		if _, many := f.Type.(*schema.Array); many {
			resolved = listOf(named("Record"), false)
			text = fmt.Sprintf("The records that %s point at, in their order. Null for those that are not here.", f.Name)
		}
		out = append(out, field(name, resolved, text))
	}
	if len(out) == 0 && b.records[obj.GraphQL()] == nil {
		out = append(out, field("_", named("Boolean"), "The lexicon gives the object no properties."))
	}
	return out
}

// reach defines the types that a value in a record can have.
func (b *builder) reach(t schema.Type) {
	switch t := t.(type) {
	case *schema.Array:
		b.reach(t.Items)
	case *schema.Object:
		if b.seen[t] {
			return
		}
		b.seen[t] = true
		meaning := b.meaning(t)
		b.objects[t.GraphQL()] = meaning
		def := &ast.Definition{Kind: ast.Object, Name: t.GraphQL(), Description: t.Description}
		b.later[def.Name] = def
		def.Fields = b.properties(t, meaning)
	case *schema.Union:
		if b.seen[t] || t.GraphQL() == "JSON" {
			return
		}
		b.seen[t] = true
		meaning := &unionType{union: t, members: map[string]*schema.Object{}}
		b.unions[t.GraphQL()] = meaning
		def := &ast.Definition{Kind: ast.Union, Name: t.GraphQL(), Description: t.Description}
		for _, member := range t.Objects() {
			obj := member.Type.(*schema.Object) //nolint:forcetypeassert // what Objects are
			b.reach(obj)
			if !slices.Contains(def.Types, obj.GraphQL()) {
				def.Types = append(def.Types, obj.GraphQL())
			}
			meaning.members[member.Ref] = obj
			if !strings.Contains(member.Ref, "#") {
				meaning.members[member.Ref+"#main"] = obj
			}
		}
		if !t.Closed {
			def.Types = append(def.Types, "UnknownValue")
		}
		b.later[def.Name] = def
	}
}

// join gives all record types, and Actor, their joins. The definitions are
// shared: a join means the same on every type.
func (b *builder) join() {
	taken := map[string]bool{}
	for _, def := range b.doc.Definitions {
		if b.records[def.Name] != nil || def.Name == "Actor" {
			for _, f := range def.Fields {
				taken[f.Name] = true
			}
		}
	}
	type definition struct {
		*join
		*ast.FieldDefinition
	}
	var all []definition
	for _, col := range b.cat.Collections {
		byDID := &ast.FieldDefinition{
			Name:        schema.Unique(taken, col.ByDIDField(), col.ByDIDField()),
			Description: fmt.Sprintf("The same account's records of %s.", col.NSID),
			Arguments:   listArguments(col),
			Type:        nonNull(col.ConnectionType()),
		}
		if col.Singleton() {
			byDID.Description = fmt.Sprintf("The same account's record of %s.", col.NSID)
			byDID.Arguments, byDID.Type = nil, named(col.Type)
		}
		all = append(all, definition{&join{col: col}, byDID})
		for _, l := range col.Links {
			if l.Kind != schema.LinkRecord && l.Kind != schema.LinkDID {
				continue
			}
			target := "record"
			if l.Kind == schema.LinkDID {
				target = "record's account"
			}
			all = append(all, definition{&join{col: col, link: l}, &ast.FieldDefinition{
				Name:        schema.Unique(taken, col.ViaField(l), col.ViaField(l)),
				Description: fmt.Sprintf("Records of %s whose %s is this %s.", col.NSID, strings.Join(l.Property, "."), target),
				Arguments:   listArguments(col),
				Type:        nonNull(col.ConnectionType()),
			}})
		}
	}
	for _, d := range all {
		b.joins[d.Name] = d.join
	}
	b.mode = b.cfg.Joins
	if b.mode == JoinsAuto || b.mode == "" {
		b.mode = JoinsAll
		if len(all)*len(b.cat.Collections) > maxJoinFields {
			b.mode = JoinsRelated
		}
	}
	for _, def := range b.doc.Definitions {
		t := b.records[def.Name]
		if t == nil && def.Name != "Actor" {
			continue
		}
		for _, d := range all {
			switch {
			case t == nil && d.link != nil && d.link.Kind != schema.LinkDID:
				continue // nothing links to an account as to a record
			case t != nil && d.link == nil && d.col == t.col && d.col.Singleton():
				continue // the record itself
			case t != nil && b.mode == JoinsRelated && !b.related(t.col, d.join):
				continue
			}
			def.Fields = append(def.Fields, d.FieldDefinition)
			b.fields++
		}
	}
}

func (b *builder) related(col *schema.Collection, j *join) bool {
	if j.link == nil && j.col.Singleton() {
		return true
	}
	return authority(col.NSID) == authority(j.col.NSID) || b.chosen(col) || b.chosen(j.col)
}

func (b *builder) chosen(col *schema.Collection) bool {
	return slices.ContainsFunc(b.cfg.JoinGlobs, func(glob string) bool {
		ok, _ := path.Match(glob, col.NSID.String()) // a bad glob was refused before
		return ok
	})
}

// authority is the first two segments of an NSID: whose it is.
func authority(nsid syntax.NSID) string {
	parts := strings.SplitN(nsid.String(), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// typeOf is the GraphQL type of a value in a record.
func typeOf(t schema.Type) *ast.Type {
	if list, ok := t.(*schema.Array); ok {
		items := typeOf(list.Items)
		items.NonNull = true
		return listOf(items, false)
	}
	return named(t.GraphQL())
}

func named(name string) *ast.Type   { return &ast.Type{NamedType: name} }
func nonNull(name string) *ast.Type { return &ast.Type{NamedType: name, NonNull: true} }

func listOf(items *ast.Type, nonNull bool) *ast.Type { return &ast.Type{Elem: items, NonNull: nonNull} }

func field(name string, t *ast.Type, description string) *ast.FieldDefinition {
	return &ast.FieldDefinition{Name: name, Type: t, Description: description}
}

func argument(name string, t *ast.Type) *ast.ArgumentDefinition {
	return &ast.ArgumentDefinition{Name: name, Type: t}
}

func listArguments(col *schema.Collection) ast.ArgumentDefinitionList {
	return ast.ArgumentDefinitionList{
		argument("first", named("Int")), argument("after", named("String")),
		argument("last", named("Int")), argument("before", named("String")),
		argument("where", named(col.WhereInput())),
		argument("sortBy", listOf(nonNull(col.SortInput()), false)),
	}
}

// gqlJSON is the type of what no lexicon describes.
const gqlJSON = "JSON"
