package graphql

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	gql "github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// introspect answers __schema and __type out of the schema. gqlgen's own
// resolvers for it are generated code, which we do not have.
func (e *executor) introspect(w *writer, op *gql.OperationContext, r *run, f *ast.Field) *gqlerror.Error {
	if op.DisableIntrospection {
		w.null()
		return &gqlerror.Error{
			Message: "introspection is switched off here", Path: ast.Path{ast.PathName(f.Alias)},
			Extensions: map[string]any{"code": codeOff},
		}
	}
	key := r.key
	values, err := json.Marshal(r.vars) // names of types may be in them
	if err != nil {
		values = nil
	}
	key.shape = f.Alias + "\x00" + string(values)
	if text, ok := e.texts.Get(key); ok {
		w.buf = append(w.buf, text...)
		return nil
	}
	start := len(w.buf)
	i := introspector{
		compiler: &compiler{m: e.model, cfg: e.cfg, doc: op.Doc, vars: r.vars},
		schema:   e.model.schema,
		w:        w,
		sets:     map[setKey][]*ast.Field{},
	}
	if f.Name == "__schema" {
		i.root(f.SelectionSet)
	} else {
		name, _ := i.value(f, "name").(string)
		i.typ(i.schema.Types[name], f.SelectionSet)
	}
	if len(key.query) <= maxCachedQuery && len(values) <= maxCachedQuery && !w.over {
		e.texts.Add(key, slices.Clone(w.buf[start:]))
	}
	return nil
}

// introspector writes descriptions of the schema. Lists that a kind of type
// does not have are null, as the specification has it.
type introspector struct {
	*compiler
	schema *ast.Schema
	w      *writer
	sets   map[setKey][]*ast.Field
}

type setKey struct {
	first    ast.Selection
	size     int
	typeName string
}

// fields is collect, remembered: a schema has thousands of types that are all
// asked the same.
func (i *introspector) fields(set ast.SelectionSet, typeName string) []*ast.Field {
	if len(set) == 0 {
		return nil
	}
	key := setKey{set[0], len(set), typeName}
	fields, ok := i.sets[key]
	if !ok {
		fields = i.collect(set, typeName)
		i.sets[key] = fields
	}
	return fields
}

func (i *introspector) object(set ast.SelectionSet, typeName string, write func(f *ast.Field)) {
	i.w.buf = append(i.w.buf, '{')
	for n, f := range i.fields(set, typeName) {
		if i.w.full() {
			return
		}
		if n > 0 {
			i.w.buf = append(i.w.buf, ',')
		}
		i.w.str(fieldKey(f.Alias))
		if f.Name == "__typename" {
			i.str(typeName)
			continue
		}
		write(f)
	}
	i.w.buf = append(i.w.buf, '}')
}

func each[T any](i *introspector, list []T, write func(T)) {
	i.w.buf = append(i.w.buf, '[')
	for n, item := range list {
		if i.w.full() {
			return
		}
		if n > 0 {
			i.w.buf = append(i.w.buf, ',')
		}
		write(item)
	}
	i.w.buf = append(i.w.buf, ']')
}

func (i *introspector) str(s string) { i.w.buf = quote(i.w.buf, []byte(s)) }

func (i *introspector) optional(s string) {
	if s == "" {
		i.w.null()
		return
	}
	i.str(s)
}

func (i *introspector) boolean(b bool) {
	if b {
		i.w.str("true")
	} else {
		i.w.str("false")
	}
}

func (i *introspector) value(f *ast.Field, name string) any { return i.argument(f, name).now }

func (i *introspector) root(set ast.SelectionSet) {
	i.object(set, "__Schema", func(f *ast.Field) {
		switch f.Name {
		case "description":
			i.optional(i.schema.Description)
		case "types":
			names := slices.Sorted(maps.Keys(i.schema.Types))
			each(i, names, func(name string) { i.typ(i.schema.Types[name], f.SelectionSet) })
		case "queryType":
			i.typ(i.schema.Query, f.SelectionSet)
		case "mutationType":
			i.typ(i.schema.Mutation, f.SelectionSet)
		case "subscriptionType":
			i.typ(i.schema.Subscription, f.SelectionSet)
		case "directives":
			names := slices.Sorted(maps.Keys(i.schema.Directives))
			each(i, names, func(name string) { i.directive(i.schema.Directives[name], f.SelectionSet) })
		default:
			i.w.null()
		}
	})
}

func (i *introspector) directive(d *ast.DirectiveDefinition, set ast.SelectionSet) {
	i.object(set, "__Directive", func(f *ast.Field) {
		switch f.Name {
		case "name":
			i.str(d.Name)
		case "description":
			i.optional(d.Description)
		case "locations":
			each(i, d.Locations, func(l ast.DirectiveLocation) { i.str(string(l)) })
		case "args":
			i.arguments(d.Arguments, f)
		case "isRepeatable":
			i.boolean(d.IsRepeatable)
		default:
			i.w.null()
		}
	})
}

// typ is a named type; nil gives null.
func (i *introspector) typ(def *ast.Definition, set ast.SelectionSet) {
	if def == nil {
		i.w.null()
		return
	}
	i.object(set, "__Type", func(f *ast.Field) {
		switch f.Name {
		case "kind":
			i.str(string(def.Kind))
		case "name":
			i.str(def.Name)
		case "description":
			i.optional(def.Description)
		case "specifiedByURL":
			if d := def.Directives.ForName("specifiedBy"); d != nil && d.Arguments.ForName("url") != nil {
				i.str(d.Arguments.ForName("url").Value.Raw)
				return
			}
			i.w.null()
		case "fields":
			if def.Kind != ast.Object && def.Kind != ast.Interface {
				i.w.null()
				return
			}
			var shown []*ast.FieldDefinition
			for _, field := range def.Fields {
				if !strings.HasPrefix(field.Name, "__") && i.shown(f, field.Directives) {
					shown = append(shown, field)
				}
			}
			each(i, shown, func(field *ast.FieldDefinition) { i.field(field, f.SelectionSet) })
		case "inputFields":
			if def.Kind != ast.InputObject {
				i.w.null()
				return
			}
			var shown []*ast.FieldDefinition
			for _, field := range def.Fields {
				if i.shown(f, field.Directives) {
					shown = append(shown, field)
				}
			}
			each(i, shown, func(field *ast.FieldDefinition) {
				i.inputValue(field.Name, field.Description, field.Type, field.DefaultValue, field.Directives, f.SelectionSet)
			})
		case "interfaces":
			if def.Kind != ast.Object && def.Kind != ast.Interface {
				i.w.null()
				return
			}
			each(i, def.Interfaces, func(name string) { i.typ(i.schema.Types[name], f.SelectionSet) })
		case "possibleTypes":
			if !def.IsAbstractType() {
				i.w.null()
				return
			}
			each(i, i.schema.GetPossibleTypes(def), func(t *ast.Definition) { i.typ(t, f.SelectionSet) })
		case "enumValues":
			if def.Kind != ast.Enum {
				i.w.null()
				return
			}
			var shown []*ast.EnumValueDefinition
			for _, v := range def.EnumValues {
				if i.shown(f, v.Directives) {
					shown = append(shown, v)
				}
			}
			each(i, shown, func(v *ast.EnumValueDefinition) { i.enumValue(v, f.SelectionSet) })
		case "isOneOf":
			if def.Kind != ast.InputObject {
				i.w.null()
				return
			}
			i.boolean(def.Directives.ForName("oneOf") != nil)
		default: // ofType
			i.w.null()
		}
	})
}

// typeRef is a type as it is used: perhaps a list, perhaps not null.
func (i *introspector) typeRef(t *ast.Type, set ast.SelectionSet) {
	kind, inner := "", *t
	switch {
	case t.NonNull:
		kind, inner.NonNull = "NON_NULL", false
	case t.Elem != nil:
		kind, inner = "LIST", *t.Elem
	default:
		i.typ(i.schema.Types[t.NamedType], set)
		return
	}
	i.object(set, "__Type", func(f *ast.Field) {
		switch f.Name {
		case "kind":
			i.str(kind)
		case "ofType":
			i.typeRef(&inner, f.SelectionSet)
		default:
			i.w.null()
		}
	})
}

func (i *introspector) field(def *ast.FieldDefinition, set ast.SelectionSet) {
	i.object(set, "__Field", func(f *ast.Field) {
		switch f.Name {
		case "name":
			i.str(def.Name)
		case "description":
			i.optional(def.Description)
		case "args":
			i.arguments(def.Arguments, f)
		case "type":
			i.typeRef(def.Type, f.SelectionSet)
		default:
			i.deprecation(def.Directives, f)
		}
	})
}

func (i *introspector) arguments(list ast.ArgumentDefinitionList, f *ast.Field) {
	var shown []*ast.ArgumentDefinition
	for _, arg := range list {
		if i.shown(f, arg.Directives) {
			shown = append(shown, arg)
		}
	}
	each(i, shown, func(arg *ast.ArgumentDefinition) {
		i.inputValue(arg.Name, arg.Description, arg.Type, arg.DefaultValue, arg.Directives, f.SelectionSet)
	})
}

func (i *introspector) inputValue(name, description string, t *ast.Type, value *ast.Value, directives ast.DirectiveList, set ast.SelectionSet) {
	i.object(set, "__InputValue", func(f *ast.Field) {
		switch f.Name {
		case "name":
			i.str(name)
		case "description":
			i.optional(description)
		case "type":
			i.typeRef(t, f.SelectionSet)
		case "defaultValue":
			if value == nil {
				i.w.null()
				return
			}
			i.str(value.String())
		default:
			i.deprecation(directives, f)
		}
	})
}

func (i *introspector) enumValue(v *ast.EnumValueDefinition, set ast.SelectionSet) {
	i.object(set, "__EnumValue", func(f *ast.Field) {
		switch f.Name {
		case "name":
			i.str(v.Name)
		case "description":
			i.optional(v.Description)
		default:
			i.deprecation(v.Directives, f)
		}
	})
}

func (i *introspector) deprecation(directives ast.DirectiveList, f *ast.Field) {
	d := directives.ForName("deprecated")
	switch {
	case f.Name == "isDeprecated":
		i.boolean(d != nil)
	case f.Name == "deprecationReason" && d != nil:
		reason := "No longer supported"
		if arg := d.Arguments.ForName("reason"); arg != nil {
			reason = arg.Value.Raw
		}
		i.str(reason)
	default:
		i.w.null()
	}
}

// shown says whether a list asks for the element: deprecated ones only with
// includeDeprecated.
func (i *introspector) shown(f *ast.Field, directives ast.DirectiveList) bool {
	return directives.ForName("deprecated") == nil || i.value(f, "includeDeprecated") == true
}
