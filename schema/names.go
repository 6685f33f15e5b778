package schema

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Names of collections, types, tables, columns and fields are made in this file
// and nowhere else. The rules, for users: docs/names.md.

// maxIdentifier is what Postgres keeps of a name, in bytes.
const maxIdentifier = 63

// reservedColumns are atview's own columns, and those that every Postgres table
// has. A property with such a name gets a `_` after it.
var reservedColumns = []string{
	"did", "rkey", "cid", "rev", "indexed_at", "sort_at", "flagged", "hidden", "record",
	"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid",
}

// SystemFields are the fields that every record type of the API has before its
// own. A property with such a name gets a `_` after it.
var SystemFields = []string{
	"uri", "cid", "did", "rkey", "rev", "collection", "indexedAt", "actorHandle", "record", "flags",
}

// derivedSuffixes are what the API appends to a record's type name to make
// further types and fields. They count as taken, so that a lexicon
// `….graph.edge` cannot clash with the edge of `….graph`.
var derivedSuffixes = []string{
	"Connection", "Edge", "WhereInput", "SortFieldInput", "SortField", "Aggregated", "AggregatedGroup",
	"GroupByFieldInput", "GroupByField", "Condition", "Value", "ByUri", "ByDid", "Created", "Updated", "Deleted",
	"ValueWhereInput", "ValueListCondition",
}

// derivedOfObjects are appended to the name of an object that is part of a record.
var derivedOfObjects = []string{"WhereInput", "ListCondition"}

// whereWords are what a where input has besides the fields of its type. A
// property with such a name gets a `_` after it there, and there alone.
var whereWords = []string{"and", "or", "not", "isNull", "flagged"}

// sortWords are values of every sort enum besides the fields, and what GraphQL
// does not allow as the value of an enum.
var sortWords = []string{"sortAt", "true", "false", "null"}

// ownTypes are the API's own types.
var ownTypes = []string{
	"Query", "Mutation", "Subscription", "PageInfo", "Blob", "JSON", "Long", "DateTime", "Record",
	"SortDirection", "UnknownValue", "Flag", "Actor", "BooleanInput",
	"StringCondition", "LongCondition", "BooleanCondition", "DateTimeCondition", "StringListCondition",
	"LongListCondition", "BooleanListCondition", "DateTimeListCondition", "BlobCondition", "BlobListCondition",
	"UnionCondition", "UnionListCondition", "JSONCondition",
	"Int", "Float", "String", "Boolean", "ID",
}

// name gives each collection and each type it reaches a name. Record types come
// first, then named definitions, then what is written inside them; within each
// the order is the alphabet's, so the same lexicons always get the same names.
func name(c *Catalog) {
	types, tables := taken{}, taken{}
	for _, own := range ownTypes {
		types[own] = true
	}
	for _, col := range c.Collections {
		col.Type = types.claimAll(pascal(string(col.NSID)), string(col.NSID), derivedSuffixes)
		col.Table = tables.claimIdentifier(snake(string(col.NSID)), string(col.NSID))
	}
	for _, ref := range sortedKeys(c.data) {
		if obj, ok := c.data[ref].(*Object); ok {
			want := pascal(ref)
			if obj.record {
				want += "Value" // what a record is as part of another: no uri, no author
			}
			if obj.record && c.collectionOf(obj) != nil {
				obj.name = c.collectionOf(obj).Type + "Value"
				continue
			}
			obj.name = types.claimAll(want, ref, derivedOfObjects)
		}
	}
	n := inliner{types: types, seen: map[Type]bool{}}
	for _, ref := range sortedKeys(c.data) {
		switch t := c.data[ref].(type) {
		case *Object:
			n.fields(t)
		case *Array:
			n.visit(t.Items, pascal(ref), "Union")
		}
	}
}

// WithTables is the catalog with the tables that collections have already: a
// name once given stays, whatever lexicons come after and would have had a
// better claim to it.
func (c *Catalog) WithTables(given map[syntax.NSID]string) *Catalog {
	out := *c
	out.Collections, out.byNSID = nil, map[syntax.NSID]*Collection{}
	tables := taken{}
	for _, table := range given {
		tables[table] = true
	}
	for _, col := range c.Collections {
		renamed := *col
		if table, ok := given[col.NSID]; ok {
			renamed.Table = table
		} else {
			renamed.Table = tables.claimIdentifier(snake(string(col.NSID)), string(col.NSID))
		}
		out.Collections = append(out.Collections, &renamed)
		out.byNSID[col.NSID] = &renamed
	}
	return &out
}

func (c *Catalog) collectionOf(obj *Object) *Collection {
	for _, col := range c.Collections {
		if col.Object == obj {
			return col
		}
	}
	return nil
}

// inliner names objects and unions that are written inside other definitions:
// the parent's name and the property's, `Union` behind it in an array.
type inliner struct {
	types taken
	seen  map[Type]bool
}

func (n *inliner) fields(obj *Object) {
	if n.seen[obj] {
		return
	}
	n.seen[obj] = true
	for _, f := range obj.Fields {
		n.visit(f.Type, strings.TrimSuffix(obj.name, "Value")+pascal(f.Name), "")
	}
}

func (n *inliner) visit(t Type, want, unionSuffix string) {
	switch t := t.(type) {
	case *Object:
		if t.name == "" {
			t.name = n.types.claimAll(want, want, derivedOfObjects)
			n.fields(t)
		}
	case *Union:
		if t.name == "" {
			t.name = n.types.claim(want+unionSuffix, want)
		}
	case *Array:
		if t.ref == "" {
			n.visit(t.Items, want, "Union")
		}
	}
}

// nameFields gives the properties of an object their names in GraphQL.
func nameFields(t *Object) {
	names := taken{}
	if t.record {
		for _, system := range SystemFields {
			names[system] = true
		}
	}
	for _, f := range t.Fields {
		want := graphQLName(f.Name)
		for names[want] {
			want += "_"
		}
		names[want] = true
		f.GraphQL = want
	}
}

// name of a column: its path in snake case.
func (b *builder) name(path []string) string {
	id := strings.Join(path, ".")
	want := fit(snake(id), id)
	for b.taken[want] {
		want = fit(want+"_", id+"_"+want)
	}
	b.taken[want] = true
	return want
}

// QueryField is the collection's field on Query: the list of its records.
func (c *Collection) QueryField() string { return lowerFirst(c.Type) }

// ByURIField is the field on Query that gives one record of the collection.
func (c *Collection) ByURIField() string { return c.QueryField() + "ByUri" }

// ConnectionType is a page of the collection's records, as Relay has it.
func (c *Collection) ConnectionType() string { return c.Type + "Connection" }

// EdgeType is a record on a page, with its cursor.
func (c *Collection) EdgeType() string { return c.Type + "Edge" }

// WhereInput is the input that filters lists of the collection.
func (c *Collection) WhereInput() string { return c.Type + "WhereInput" }

// SortInput is the input that says one key to sort by and its direction.
func (c *Collection) SortInput() string { return c.Type + "SortFieldInput" }

// SortEnum is the enum of what lists of the collection can be sorted by.
func (c *Collection) SortEnum() string { return c.Type + "SortField" }

// WhereInput is the input that filters by what is in the object.
func (t *Object) WhereInput() string { return t.name + "WhereInput" }

// ListCondition is the input that filters by the elements of an array of the
// objects.
func (t *Object) ListCondition() string { return t.name + "ListCondition" }

// WhereField is the field's name in where inputs.
func (t *Object) WhereField(f *Field) string { return t.besides(f, whereWords) }

// SortValue is the field's name in the sort enum.
func (t *Object) SortValue(f *Field) string { return t.besides(f, sortWords) }

// besides is the field's name where the words are taken, too.
func (t *Object) besides(f *Field, words []string) string {
	name := f.GraphQL
	for slices.Contains(words, name) || name != f.GraphQL && t.hasGraphQL(name) {
		name += "_"
	}
	return name
}

func (t *Object) hasGraphQL(name string) bool {
	return slices.ContainsFunc(t.Fields, func(f *Field) bool { return f.GraphQL == name })
}

// ResolvedField is the field beside a link that leads to the record it points
// at: `subjectResolved`.
func (t *Object) ResolvedField(f *Field) string {
	name := f.GraphQL + "Resolved"
	for t.hasGraphQL(name) || t.record && slices.Contains(SystemFields, name) {
		name += "_"
	}
	return name
}

// GraphQLName is the link's name in joins: `Subject` in `…ViaSubject`,
// `ReplyParent` for `reply.parent.uri`.
func (l *Link) GraphQLName() string { return pascal(strings.Join(l.Property, ".")) }

// ViaField is the field by which a record that this collection links to lists
// the records that link to it: `appBskyFeedLikeViaSubject`.
func (c *Collection) ViaField(l *Link) string {
	name := c.QueryField() + "Via" + l.GraphQLName()
	for _, other := range c.Links {
		if other != l && other.GraphQLName() == l.GraphQLName() { // `reply.parent` and `replyParent`
			return name + "_" + shortHash(l.Path)
		}
	}
	return name
}

// ByDIDField is the field that leads from any record to its author's record or
// records in this collection: `appBskyActorProfileByDid`.
func (c *Collection) ByDIDField() string { return c.QueryField() + "ByDid" }

// IndexName names a table's index by its columns. The `$`, which no table name
// has, keeps column `family` of table `platform` from meeting table
// `platform_family`.
func IndexName(table string, columns ...string) string {
	name := table + "$" + strings.Join(columns, "_")
	return fit(name, name)
}

// Quote makes any name an SQL identifier.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// taken is the set of names in use.
type taken map[string]bool

// claim takes the name wanted, or with a hash of id behind it.
func (t taken) claim(want, id string) string {
	if t[want] {
		want += "_" + shortHash(id)
	}
	t[want] = true
	return want
}

// claimAll is claim for a name that others are derived from: it and they are free.
func (t taken) claimAll(want, id string, suffixes []string) string {
	free := !t[want]
	for _, suffix := range suffixes {
		free = free && !t[want+suffix]
	}
	if !free {
		want += "_" + shortHash(id)
	}
	t[want] = true
	for _, suffix := range suffixes {
		t[want+suffix] = true
	}
	return want
}

// Unique takes the name wanted from those that are free, or with a hash of id
// behind it. It is for names that several collections share a space of, such
// as the joins of record types.
func Unique(names map[string]bool, want, id string) string { return taken(names).claim(want, id) }

// claimIdentifier is claim for Postgres, which cuts names at 63 bytes.
func (t taken) claimIdentifier(want, id string) string {
	want = fit(want, id)
	if t[want] {
		suffix := "_" + shortHash(id)
		want = clip(want, maxIdentifier-len(suffix)) + suffix
	}
	t[want] = true
	return want
}

func fit(name, id string) string {
	if len(name) <= maxIdentifier {
		return name
	}
	suffix := "_" + shortHash(id)
	return clip(name, maxIdentifier-len(suffix)) + suffix
}

func shortHash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:4])
}

// pascal capitalises and joins the parts of an NSID, ref or path:
// `app.bsky.richtext.facet#mention` gives `AppBskyRichtextFacetMention`.
func pascal(s string) string {
	var b strings.Builder
	upper := true
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z' && upper:
			b.WriteRune(r - 'a' + 'A')
			upper = false
		case r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			b.WriteRune(r)
			upper = false
		default:
			upper = true
		}
	}
	return leadingLetter(b.String())
}

// snake lower-cases an NSID or path: `app.bsky.graph.listItem` gives
// `app_bsky_graph_list_item`.
func snake(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		switch {
		case r >= 'A' && r <= 'Z':
			after := i > 0 && isLower(runes[i-1])
			before := i > 0 && i+1 < len(runes) && isUpper(runes[i-1]) && isLower(runes[i+1])
			if after || before {
				b.WriteByte('_')
			}
			b.WriteRune(r - 'A' + 'a')
		case r == '_' || isLower(r):
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

func isLower(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
func isUpper(r rune) bool { return r >= 'A' && r <= 'Z' }

// graphQLName is a property's name with what GraphQL does not allow replaced.
func graphQLName(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
	}
	name := leadingLetter(b.String())
	if strings.HasPrefix(name, "__") {
		name = "p" + name // names with two underscores belong to introspection
	}
	return name
}

func leadingLetter(s string) string {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return "_" + s
	}
	return s
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// clip cuts s to n bytes, for names (which are ASCII) and messages.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func compareNames(a, b string) int { return cmp.Compare(a, b) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
