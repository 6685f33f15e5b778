package graphql

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
)

// asker makes up operations from a schema.
type asker struct {
	*rand.Rand
	schema  *ast.Schema
	aliases int
	cursors map[string][]string    // by order
	orders  map[string]string      // of lists without sortBy, by the type of their where
	keys    map[string][]*keyField // of aggregations, by enum
}

// keysOf finds keys of an enum, in the order of the enum.
func (a *asker) keysOf(enum string, kinds ...kind) []string {
	var out []string
	for _, k := range a.keys[enum] {
		if slices.Contains(kinds, k.kind) && a.schema.Types[enum].EnumValues.ForName(k.name) != nil {
			out = append(out, k.name)
		}
	}
	return out
}

func (a *asker) selection(def *ast.Definition, depth int) string {
	var b strings.Builder
	b.WriteString("{")
	switch def.Kind {
	case ast.Union:
		b.WriteString(" __typename")
		for range 1 + a.IntN(3) {
			member := a.schema.Types[def.Types[a.IntN(len(def.Types))]]
			fmt.Fprintf(&b, " ... on %s %s", member.Name, a.selection(member, depth))
		}
	default:
		for range 1 + a.IntN(4) {
			f := def.Fields[a.IntN(len(def.Fields))]
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			to := a.schema.Types[f.Type.Name()]
			if f.Name == "sum" || f.Name == "avg" { // of numbers alone
				if numbers := a.keysOf(f.Arguments[0].Type.Name(), kindLong); len(numbers) > 0 {
					a.aliases++
					fmt.Fprintf(&b, " a%d: %s(field: %s)", a.aliases, f.Name, numbers[a.IntN(len(numbers))])
				}
				continue
			}
			a.aliases++
			field := fmt.Sprintf(" a%d: %s%s", a.aliases, f.Name, a.arguments(f.Arguments))
			if to.IsCompositeType() {
				if depth == 0 {
					continue
				}
				field += " " + a.selection(to, depth-1)
			}
			b.WriteString(field)
		}
		a.aliases++
		fmt.Fprintf(&b, " a%d: __typename", a.aliases)
	}
	b.WriteString(" }")
	return b.String()
}

func (a *asker) arguments(list ast.ArgumentDefinitionList) string {
	var out []string
	var cursors []string
	if where := list.ForName("where"); where != nil && a.IntN(3) == 0 {
		cursors = a.cursors[a.orders[where.Type.Name()]]
	}
	page := a.IntN(3)
	for _, arg := range list {
		switch {
		case arg.Name == "first" && page == 0, arg.Name == "last" && page == 1:
			out = append(out, fmt.Sprintf("%s: %d", arg.Name, a.IntN(5)))
		case arg.Name == "first", arg.Name == "last":
		case arg.Name == "after" || arg.Name == "before":
			if len(cursors) > 0 && a.IntN(2) == 0 {
				out = append(out, fmt.Sprintf("%s: %q", arg.Name, cursors[a.IntN(len(cursors))]))
			}
		case arg.Name == "sortBy" && len(cursors) > 0: // they are of the usual order
		case arg.Name == "limit":
			out = append(out, fmt.Sprintf("limit: %d", a.IntN(5)))
		case arg.Name == "having" && a.IntN(3) > 0: // most of what it could say fits no kind
		case arg.Name == "orderBy":
			out = append(out, "orderBy: "+[]string{"{count: ASC}", "[{countDistinct: did, direction: DESC}, {count: DESC}]", "{max: actorHandle}", "[]"}[a.IntN(4)])
		case arg.Type.NonNull || a.IntN(2) == 0:
			out = append(out, arg.Name+": "+a.value(arg.Type, 4, arg.Name))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "(" + strings.Join(out, ", ") + ")"
}

func (a *asker) value(t *ast.Type, depth int, name string) string {
	if t.Elem != nil {
		var out []string
		for range a.IntN(3) {
			out = append(out, a.value(t.Elem, depth, name))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	pick := func(values ...string) string { return values[a.IntN(len(values))] }
	def := a.schema.Types[t.NamedType]
	switch {
	case def.Kind == ast.Enum:
		return def.EnumValues[a.IntN(len(def.EnumValues))].Name
	case strings.HasSuffix(def.Name, "GroupByFieldInput"):
		enum := def.Fields.ForName("field").Type.Name()
		if times := a.keysOf(enum, kindTime); a.IntN(3) == 0 {
			return fmt.Sprintf("{field: %s, interval: %s, timeZone: %s}", times[a.IntN(len(times))],
				pick("HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"), pick(`"Europe/Berlin"`, "null", `"Asia/Kathmandu"`))
		}
		return "{field: " + a.schema.Types[enum].EnumValues[a.IntN(len(a.schema.Types[enum].EnumValues))].Name + "}"
	case def.Kind == ast.InputObject:
		var out []string
		var names []string
		for range 1 + a.IntN(2) {
			f := def.Fields[a.IntN(len(def.Fields))]
			if slices.Contains(names, f.Name) || depth == 0 && a.schema.Types[f.Type.Name()].Kind == ast.InputObject {
				continue
			}
			names = append(names, f.Name)
			out = append(out, f.Name+": "+a.value(f.Type, depth-1, f.Name))
		}
		for _, f := range def.Fields {
			if f.Type.NonNull && f.DefaultValue == nil && !slices.Contains(names, f.Name) {
				out = append(out, f.Name+": "+a.value(f.Type, depth-1, f.Name))
			}
		}
		return "{" + strings.Join(out, ", ") + "}"
	case name == "uri":
		return pick(`"at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/com.myrecipes.recipe/3kaaaaaaaaa01"`, `"at://bob.example.com/app.bsky.feed.post/3kggggggggg02"`, `"at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/com.example.outline/1"`)
	case def.Name == "Long":
		return pick("0", "-1", `"4"`, "9007199254740993")
	case def.Name == "DateTime":
		return pick(`"2025-01-03"`, `"2025-03-01T10:00:00Z"`, `"0001-01-01T00:00:00Z"`)
	case def.Name == "BooleanInput":
		return pick("true", `"false"`)
	case def.Name == "JSON":
		return pick("1", `"2025-01-03"`, "0.5", "null")
	case def.Name == "Boolean":
		return pick("true", "false")
	}
	return pick(`"a"`, `"%"`, `"é\\"`, `"did:plc:aliceaaaaaaaaaaaaaaaaaaa"`, `"Borscht"`, `"alice.example.com"`, `""`, `"avatar"`)
}

// TestRandomQueries asks for whatever the schema allows. Whatever is refused
// must be refused for a reason that the client can act on.
func TestRandomQueries(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	a := w.api(t, Config{})
	m := newModel(w.cat, Config{})
	if err := m.validated(); err != nil {
		t.Fatal(err)
	}
	r := &asker{Rand: rand.New(rand.NewPCG(5, 7)), schema: m.schema, cursors: map[string][]string{}, orders: map[string]string{}, keys: map[string][]*keyField{}}
	for _, col := range w.cat.Collections {
		_, keys := newAggregation(col)
		r.keys[m.schema.Types[col.Type+"GroupByField"].Name] = keys
		r.keys[m.schema.Types[m.aggregations[col].metrics].Fields.ForName("sum").Arguments[0].Type.Name()] = keys
		r.orders[col.WhereInput()] = (&compiler{m: m}).order(col, input{}).fingerprint
	}
	answered := 0
	for i := range 400 {
		query := r.selection(m.schema.Query, 2+r.IntN(7))
		got := post(t, a, query, nil)
		switch got.code() {
		case "":
			answered++
		case codeInput, codeCost, codeDepth, "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED":
			continue
		default:
			t.Fatalf("query %d: %s\n%s", i, query, got.body)
		}
		var data any
		if err := json.Unmarshal(got.Data, &data); err != nil {
			t.Fatal(err)
		}
		for _, text := range cursorsIn(data) {
			if c, err := parseCursor(text); err == nil {
				r.cursors[c.Order] = append(r.cursors[c.Order], text)
			}
		}
	}
	if answered < 200 {
		t.Errorf("only %d of 400 queries were answered", answered)
	}
	t.Logf("%d answered, with cursors of %d orders", answered, len(r.cursors))
}

// cursorsIn finds what looks like one of our cursors.
func cursorsIn(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "eyJvIjoi") {
			out = append(out, v)
		}
	case []any:
		for _, item := range v {
			out = append(out, cursorsIn(item)...)
		}
	case map[string]any:
		for _, item := range v {
			out = append(out, cursorsIn(item)...)
		}
	}
	return out
}
