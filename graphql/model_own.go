package graphql

import (
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/atview/atview/schema"
)

// ownSDL is what every schema has, whatever the lexicons.
const ownSDL = `
"A whole number of 64 bits, as a JSON number. As an argument also a string of digits."
scalar Long
"A moment in UTC, such as 2026-01-01T00:00:00.000Z: always with milliseconds, with microseconds where there are any. As an argument any RFC 3339 form, or a date, which is its midnight in UTC."
scalar DateTime
"Any JSON value."
scalar JSON
"true or false, also as strings."
scalar BooleanInput

"A file of a record. The bytes are in its author's repository."
type Blob {
  "CID of the bytes."
  ref: String
  mimeType: String
  "Bytes. Null in records of before 2023, which do not say."
  size: Long
  "Where to fetch it. Presets of Bluesky's CDN: avatar, banner, feed_thumbnail, feed_fullsize."
  url(preset: String = "feed_fullsize"): String
}
"A value of a type that the union's lexicon does not list."
type UnknownValue {
  "The value's $type."
  type: String
  value: JSON
}
"Where and how a record breaks its lexicon."
type Flag {
  "Such as facets[2].index.byteStart. Empty for the record as a whole."
  path: String
  reason: String
}
"An account."
type Actor {
  did: String!
  handle: String
}
type PageInfo {
  hasNextPage: Boolean!
  hasPreviousPage: Boolean!
  startCursor: String
  endCursor: String
}
enum SortDirection {
  ASC
  DESC
}
"A part of the calendar. As a key it is text that sorts by time."
enum DateInterval {
  "2026-01-31T09:00"
  HOUR
  "2026-01-31"
  DAY
  "2026-W05, as ISO 8601 counts weeks: from Monday, and in the year that has their Thursday."
  WEEK
  "2026-01"
  MONTH
  "2026-Q1"
  QUARTER
  "2026"
  YEAR
}

"All that is given must hold. ne and notIn also find records without a value."
input StringCondition {
  eq: String
  ne: String
  "An empty list matches nothing."
  in: [String!]
  notIn: [String!]
  "Regardless of upper and lower case."
  contains: String
  startsWith: String
  gt: String
  gte: String
  lt: String
  lte: String
  isNull: Boolean
}
"All that is given must hold. ne and notIn also find records without a value."
input LongCondition {
  eq: Long
  ne: Long
  "An empty list matches nothing."
  in: [Long!]
  notIn: [Long!]
  gt: Long
  gte: Long
  lt: Long
  lte: Long
  isNull: Boolean
}
input BooleanCondition {
  eq: BooleanInput
  ne: BooleanInput
  isNull: Boolean
}
"All that is given must hold. ne and notIn also find records without a value."
input DateTimeCondition {
  eq: DateTime
  ne: DateTime
  "An empty list matches nothing."
  in: [DateTime!]
  notIn: [DateTime!]
  gt: DateTime
  gte: DateTime
  lt: DateTime
  lte: DateTime
  isNull: Boolean
}
input StringListCondition {
  has: String
  hasAny: [String!]
  hasAll: [String!]
  isEmpty: Boolean
  isNull: Boolean
}
input LongListCondition {
  has: Long
  hasAny: [Long!]
  hasAll: [Long!]
  isEmpty: Boolean
  isNull: Boolean
}
input BooleanListCondition {
  has: BooleanInput
  hasAny: [BooleanInput!]
  hasAll: [BooleanInput!]
  isEmpty: Boolean
  isNull: Boolean
}
input DateTimeListCondition {
  has: DateTime
  hasAny: [DateTime!]
  hasAll: [DateTime!]
  isEmpty: Boolean
  isNull: Boolean
}
input BlobCondition {
  mimeType: StringCondition
  isNull: Boolean
}
input BlobListCondition {
  "At least one of the list."
  any: BlobCondition
  isEmpty: Boolean
  isNull: Boolean
}
input UnionCondition {
  "The value's $type."
  type: StringCondition
  isNull: Boolean
}
input UnionListCondition {
  "At least one of the list."
  any: UnionCondition
  isEmpty: Boolean
  isNull: Boolean
}
input JSONCondition {
  isNull: Boolean
}
`

// own defines what every schema has.
func (b *builder) own() {
	doc, err := parser.ParseSchema(&ast.Source{Name: "own", Input: ownSDL})
	if err != nil {
		panic(err) // the text above is a constant
	}
	for _, def := range doc.Definitions {
		strip(def)
		b.add(def)
	}
}

// strip takes the positions out: they point into a text that no user has.
func strip(def *ast.Definition) {
	def.Position = nil
	for _, f := range def.Fields {
		f.Position = nil
	}
	for _, value := range def.EnumValues {
		value.Position = nil
	}
}

// condition is the input that filters by a value of the type.
func (b *builder) condition(t schema.Type) string {
	switch t := t.(type) {
	case *schema.Boolean:
		return "BooleanCondition"
	case *schema.Integer:
		return "LongCondition"
	case *schema.String:
		if t.SQL() == "timestamptz" {
			return "DateTimeCondition"
		}
		return "StringCondition"
	case *schema.CIDLink, *schema.Bytes:
		return "StringCondition"
	case *schema.Blob:
		return "BlobCondition"
	case *schema.Object:
		b.objectWhere(t)
		return t.WhereInput()
	case *schema.Union:
		if t.GraphQL() == "JSON" {
			return "JSONCondition"
		}
		return "UnionCondition"
	case *schema.Array:
		switch items := t.Items.(type) {
		case *schema.Boolean:
			return "BooleanListCondition"
		case *schema.Integer:
			return "LongListCondition"
		case *schema.String:
			if items.SQL() == "timestamptz" {
				return "DateTimeListCondition"
			}
			return "StringListCondition"
		case *schema.CIDLink, *schema.Bytes:
			return "StringListCondition"
		case *schema.Blob:
			return "BlobListCondition"
		case *schema.Object:
			return b.listCondition(items)
		case *schema.Union:
			if items.GraphQL() != "JSON" {
				return "UnionListCondition"
			}
		}
	}
	return "JSONCondition"
}

func (b *builder) recordWhere(col *schema.Collection) *ast.Definition {
	name := col.WhereInput()
	self := func() *ast.Type { return listOf(nonNull(name), false) }
	def := &ast.Definition{
		Kind: ast.InputObject, Name: name,
		Description: "All that is given must hold.",
		Fields: ast.FieldList{
			field("and", self(), ""), field("or", self(), "At least one. An empty list matches nothing."),
			field("not", named(name), ""),
		},
	}
	for _, system := range []struct{ name, condition string }{
		{"uri", "StringCondition"}, {"cid", "StringCondition"}, {"did", "StringCondition"}, {"rkey", "StringCondition"},
		{"rev", "StringCondition"}, {"collection", "StringCondition"}, {"indexedAt", "DateTimeCondition"},
		{"actorHandle", "StringCondition"}, {"flagged", "BooleanCondition"},
	} {
		def.Fields = append(def.Fields, field(system.name, named(system.condition), ""))
	}
	def.Fields = append(def.Fields, b.whereFields(name, col.Object)...)
	return def
}

func (b *builder) objectWhere(obj *schema.Object) {
	name := obj.WhereInput()
	if b.later[name] != nil {
		return
	}
	def := &ast.Definition{
		Kind: ast.InputObject, Name: name,
		Fields: ast.FieldList{field("isNull", named("Boolean"), "")},
	}
	b.later[name] = def // before its fields: they may lead back here
	def.Fields = append(def.Fields, b.whereFields(name, obj)...)
}

func (b *builder) whereFields(name string, obj *schema.Object) ast.FieldList {
	var out ast.FieldList
	b.wheres[name] = map[string]*schema.Field{}
	for _, f := range obj.Fields {
		in := obj.WhereField(f)
		b.wheres[name][in] = f
		out = append(out, field(in, named(b.condition(f.Type)), ""))
	}
	return out
}

func (b *builder) listCondition(items *schema.Object) string {
	name := items.ListCondition()
	if b.later[name] == nil {
		def := &ast.Definition{Kind: ast.InputObject, Name: name}
		b.later[name] = def
		b.objectWhere(items)
		def.Fields = ast.FieldList{
			field("any", named(items.WhereInput()), "At least one of the list."),
			field("isEmpty", named("Boolean"), ""), field("isNull", named("Boolean"), ""),
		}
	}
	return name
}

func (b *builder) sortInput(col *schema.Collection) *ast.Definition {
	direction := field("direction", nonNull("SortDirection"), "")
	direction.DefaultValue = &ast.Value{Kind: ast.EnumValue, Raw: "ASC"}
	return &ast.Definition{
		Kind: ast.InputObject, Name: col.SortInput(),
		Description: "Records without a value come last in both directions.",
		Fields:      ast.FieldList{field("field", nonNull(col.SortEnum()), ""), direction},
	}
}

// systemSorts are the values of every sort enum besides the properties.
var systemSorts = []struct{ name, description string }{
	{"sortAt", "What lists are sorted by unless told otherwise: the earlier of when the record says it was made and when it was seen."},
	{"indexedAt", ""}, {"uri", ""}, {"cid", ""}, {"did", ""}, {"rkey", ""}, {"rev", ""}, {"collection", ""},
}

func (b *builder) sortEnum(col *schema.Collection) *ast.Definition {
	def := &ast.Definition{Kind: ast.Enum, Name: col.SortEnum()}
	for _, system := range systemSorts {
		def.EnumValues = append(def.EnumValues, &ast.EnumValueDefinition{Name: system.name, Description: system.description})
	}
	b.sorts[def.Name] = map[string]*schema.Field{}
	for _, f := range col.Object.Fields {
		if column := col.Column(f.Name); column != nil && sortable(column.SQL()) {
			name := col.Object.SortValue(f)
			b.sorts[def.Name][name] = f
			def.EnumValues = append(def.EnumValues, &ast.EnumValueDefinition{Name: name})
		}
	}
	return def
}

func sortable(sql string) bool {
	return sql == "text" || sql == "bigint" || sql == "boolean" || sql == "timestamptz"
}
