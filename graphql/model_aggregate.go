package graphql

import (
	"fmt"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// aggregation is what the records of a collection can be grouped by and what
// can be measured of them.
type aggregation struct {
	col  *schema.Collection
	keys map[string]*keyField // by value of the enum of keys

	row     string // GraphQL type of a group
	metrics string // GraphQL type of a list as a whole
}

// keyField is a value in a record, or one of the record's system fields.
type keyField struct {
	name   string
	system bool
	path   []string    // from the record; `[*]` is each element of an array
	t      schema.Type // of the value
	tag    string      // the property that stands for a value that is an object; "" for none
	list   bool        // path leads through an array
	kind   kind
}

const (
	// maxKeyDepth bounds the properties on the way to a key. Real lexicons need
	// three (`reply.parent.uri`).
	maxKeyDepth = 4
	// maxKeys bounds the keys of a collection, those near the record first.
	// Documents with blocks within blocks would have thousands, each in two enums.
	maxKeys = 150
)

// metricNames are the fields of every aggregate.
var metricNames = []string{"count", "countDistinct", "sum", "avg", "min", "max"}

// systemKeys are the system fields that records can be grouped by. indexed_at is
// how clients of this vocabulary may spell indexedAt.
var systemKeys = []struct {
	name string
	kind kind
}{
	{"uri", kindText}, {"cid", kindText}, {"did", kindText}, {"rkey", kindText}, {"collection", kindText},
	{"indexedAt", kindTime}, {"indexed_at", kindTime}, {"actorHandle", kindText},
}

// newAggregation finds the keys of a collection: level by level, so that it is the
// deepest that a collection with too many does without. It returns them in that
// order, too.
func newAggregation(col *schema.Collection) (*aggregation, []*keyField) {
	a := &aggregation{col: col, keys: map[string]*keyField{}, row: col.Type + "Aggregated"}
	var order []*keyField
	taken := map[string]bool{"true": true, "false": true, "null": true}
	for _, name := range metricNames {
		taken[name] = true
	}
	add := func(k keyField) {
		if len(order) == maxKeys {
			return
		}
		for taken[k.name] {
			k.name += "_"
		}
		taken[k.name] = true
		a.keys[k.name] = &k
		order = append(order, &k)
	}
	for _, system := range systemKeys {
		add(keyField{name: system.name, system: true, kind: system.kind})
	}
	type level struct {
		object *schema.Object
		from   keyField
		within []*schema.Object
	}
	levels := []level{{object: col.Object, within: []*schema.Object{col.Object}}}
	for len(levels) > 0 {
		l := levels[0]
		levels = levels[1:]
		for _, f := range l.object.Fields {
			k := l.from
			if k.name != "" {
				k.name += "_"
			}
			k.name += f.GraphQL
			k.path = append(slices.Clone(k.path), f.Name)
			k.t = f.Type
			if array, ok := f.Type.(*schema.Array); ok {
				k.list, k.t = true, array.Items
				k.path = append(k.path, "[*]")
				switch t := k.t.(type) {
				case *schema.Object, *schema.Blob:
					add(k.as("", "", kindJSON))
				case *schema.Union:
					if t.GraphQL() != gqlJSON {
						add(k.as("", "", kindJSON))
					}
				}
			}
			switch t := k.t.(type) {
			case *schema.Boolean:
				add(k.as("", "", kindBoolean))
			case *schema.Integer:
				add(k.as("", "", kindLong))
			case *schema.String:
				add(k.as("", "", kindOf(t.SQL())))
			case *schema.CIDLink:
				add(k.as("", "$link", kindText))
			case *schema.Bytes:
				add(k.as("", "$bytes", kindText))
			case *schema.Blob:
				add(k.as("_mimeType", "mimeType", kindText))
				add(k.as("_size", "size", kindLong))
			case *schema.Union:
				if t.GraphQL() != gqlJSON {
					add(k.as("_type", "$type", kindText))
				}
			case *schema.Object:
				if len(l.within) < maxKeyDepth && !slices.Contains(l.within, t) {
					levels = append(levels, level{t, k, append(slices.Clone(l.within), t)})
				}
			}
		}
	}
	return a, order
}

// as is the key for a value, or for one of the properties of it.
func (k keyField) as(suffix, tag string, of kind) keyField {
	k.name, k.tag, k.kind = k.name+suffix, tag, of
	return k
}

// measurable says whether metrics take the field: of a list, a record has any
// number of values.
func (k *keyField) measurable() bool {
	return !k.list && k.name != "collection" && k.name != "indexed_at"
}

// aggregate defines the aggregations of all collections. It comes after all
// other definitions, whose names go first.
func (b *builder) aggregate() {
	taken := map[string]bool{}
	for _, def := range b.doc.Definitions {
		taken[def.Name] = true
	}
	for name := range b.later {
		taken[name] = true
	}
	for _, col := range b.cat.Collections {
		b.aggregateOf(col, func(suffix string) string {
			return schema.Unique(taken, col.Type+suffix, col.NSID.String()+suffix)
		})
	}
}

func (b *builder) aggregateOf(col *schema.Collection, unique func(suffix string) string) {
	a, keys := newAggregation(col)
	a.metrics = unique("Aggregate")
	b.aggregations[col] = a
	// The schema keeps these three names free.
	keyEnum, keyInput := col.Type+"GroupByField", col.Type+"GroupByFieldInput"
	fieldEnum, having := unique("AggregateField"), unique("AggregatedHaving")
	metric, orderBy := unique("AggregatedMetricCondition"), unique("AggregatedOrderBy")

	row := &ast.Definition{Kind: ast.Object, Name: a.row, Description: fmt.Sprintf("Records of %s that have the keys in common. Keys that they are not grouped by are null.", col.NSID)}
	list := &ast.Definition{Kind: ast.Object, Name: a.metrics, Description: fmt.Sprintf("Records of %s, all pages of a list together.", col.NSID)}
	enum := &ast.Definition{Kind: ast.Enum, Name: keyEnum, Description: "What records can be grouped by: paths of properties, joined by _. Of a list, each element is a key."}
	fields := &ast.Definition{Kind: ast.Enum, Name: fieldEnum, Description: "What can be measured."}
	for _, k := range keys {
		description := ""
		if k.name == "indexed_at" && k.system {
			description = "The same as indexedAt."
		}
		t := "String"
		if k.kind == kindJSON {
			t = gqlJSON
		}
		row.Fields = append(row.Fields, field(k.name, named(t), description))
		enum.EnumValues = append(enum.EnumValues, &ast.EnumValueDefinition{Name: k.name, Description: description})
		if k.measurable() {
			fields.EnumValues = append(fields.EnumValues, &ast.EnumValueDefinition{Name: k.name})
		}
	}
	metrics := metricFields(fieldEnum)
	row.Fields = append(row.Fields, metrics...)
	list.Fields = metrics

	conditions := ast.FieldList{field("count", named("LongCondition"), "")}
	for _, name := range metricNames[1:] {
		conditions = append(conditions, field(name, listOf(nonNull(metric), false), ""))
	}
	direction := field("direction", nonNull("SortDirection"), "Of what is not count.")
	direction.DefaultValue = &ast.Value{Kind: ast.EnumValue, Raw: "ASC"}
	order := &ast.Definition{
		Kind: ast.InputObject, Name: orderBy,
		Description: "One thing to sort groups by: their count, a key, or a metric of a field. Groups without a value come last in both directions; ties are sorted by the keys.",
		Fields:      ast.FieldList{field("count", named("SortDirection"), ""), field("key", named(keyEnum), "One that is grouped by.")},
	}
	for _, name := range metricNames[1:] {
		order.Fields = append(order.Fields, field(name, named(fieldEnum), ""))
	}
	order.Fields = append(order.Fields, direction)
	condition := &ast.Definition{
		Kind: ast.InputObject, Name: metric, Description: "All that is given must hold of the metric of the field.",
		Fields: ast.FieldList{field("field", nonNull(fieldEnum), "")},
	}
	for _, operator := range []string{"eq", "ne", "gt", "gte", "lt", "lte"} {
		condition.Fields = append(condition.Fields, field(operator, named(gqlJSON), ""))
	}
	condition.Fields = append(condition.Fields, field("isNull", named("Boolean"), ""))
	b.add(row, list, enum, &ast.Definition{
		Kind: ast.InputObject, Name: keyInput,
		Fields: ast.FieldList{
			field("field", nonNull(keyEnum), ""),
			field("interval", named("DateInterval"), "For times only."),
			field("timeZone", named("String"), "Whose calendar the interval is of, such as Europe/Berlin. UTC if none is given."),
		},
	}, fields, &ast.Definition{
		Kind: ast.InputObject, Name: having, Description: "All that is given must hold of a group.",
		Fields: conditions,
	}, condition, order)

	query := b.doc.Definitions.ForName("Query")
	byURI := slices.IndexFunc(query.Fields, func(f *ast.FieldDefinition) bool { return f.Name == col.ByURIField() })
	query.Fields = slices.Insert(query.Fields, byURI+1, &ast.FieldDefinition{
		Name:        col.QueryField() + "Aggregated",
		Description: fmt.Sprintf("Records of %s in groups. Without groupBy, all of them are one.", col.NSID),
		Arguments: ast.ArgumentDefinitionList{
			argument("groupBy", listOf(nonNull(keyInput), false)), argument("where", named(col.WhereInput())),
			argument("having", named(having)), argument("orderBy", listOf(nonNull(orderBy), false)), argument("limit", named("Int")),
		},
		Type: listOf(nonNull(a.row), false),
	})
	b.aggregated[col.QueryField()+"Aggregated"] = a
	connection := b.doc.Definitions.ForName(col.ConnectionType())
	connection.Fields = append(connection.Fields,
		field("aggregate", named(a.metrics), "Of the records on all pages together. Reads all of them."))
}

func metricFields(enum string) ast.FieldList {
	of := func(name string, t *ast.Type, description string) *ast.FieldDefinition {
		f := field(name, t, description)
		f.Arguments = ast.ArgumentDefinitionList{argument("field", nonNull(enum))}
		return f
	}
	return ast.FieldList{
		field("count", nonNull("Int"), "Records."),
		of("countDistinct", nonNull("Int"), "Values of the field, each counted once."),
		of("sum", named("Float"), "Of integers: a whole number with all its digits. Null without a value."),
		of("avg", named("Float"), "Of integers. Null without a value."),
		of("min", named(gqlJSON), "The least number, the earliest time or the first text by its bytes. Null without a value."),
		of("max", named(gqlJSON), "The greatest number, the latest time or the last text by its bytes. Null without a value."),
	}
}
