package graphql

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// TestAggregationsAreRight works out the answers of testdata/queries/aggregated_*
// once more: in Go, from the records as they were written and without SQL.
func TestAggregationsAreRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testCatalog(t))
	lines := readLines(t)
	w.load(t, lines)
	a := w.api(t, Config{})
	o := newOracle(t, w.cat, lines)
	m := newModel(w.cat, Config{})
	if err := m.validated(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/queries/aggregated_*.graphql")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d queries: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".graphql"), func(t *testing.T) {
			t.Parallel()
			query, vars := readQuery(t, file)
			answered := post(t, a, query, vars)
			if len(answered.Errors) > 0 {
				t.Fatal(answered.body)
			}
			doc, errs := gqlparser.LoadQueryWithRules(m.schema, query, validationRules())
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			var got map[string]any
			decodeNumbers(t, answered.Data, &got)
			checked := 0
			for _, sel := range doc.Operations[0].SelectionSet {
				checked += o.root(t, sel.(*ast.Field), vars, got)
			}
			if checked == 0 {
				t.Error("nothing was checked")
			}
		})
	}
}

func decodeNumbers(t testing.TB, raw []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// oracle knows all records that anybody may see.
type oracle struct {
	cat     *schema.Catalog
	records map[syntax.NSID][]known
}

type known struct {
	uri     syntax.ATURI
	system  map[string]any
	content map[string]any
}

func newOracle(t *testing.T, cat *schema.Catalog, lines []line) *oracle {
	t.Helper()
	o := &oracle{cat, map[syntax.NSID][]known{}}
	handles, hidden := map[string]any{}, map[string]bool{}
	for _, l := range lines {
		if l.Record == nil {
			handles[l.DID], hidden[l.DID] = l.Handle, l.Status != ""
		}
	}
	for i, l := range lines {
		if l.Record == nil {
			continue
		}
		uri := syntax.ATURI(l.URI)
		did := uri.Authority().String()
		if hidden[did] {
			continue
		}
		k := known{uri: uri, system: map[string]any{
			"uri": l.URI, "cid": fmt.Sprintf("bafyreic%05d", i), "did": did, "rkey": uri.RecordKey().String(), "collection": uri.Collection().String(),
			"indexedAt": time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC), "actorHandle": handles[did],
		}}
		k.system["indexed_at"] = k.system["indexedAt"]
		decodeNumbers(t, l.Record, &k.content)
		o.records[uri.Collection()] = append(o.records[uri.Collection()], k)
	}
	return o
}

// values are what a record has for a key: one, or those of a list, each once.
func (o *oracle) values(r known, name string) []any {
	if v, ok := r.system[name]; ok {
		return []any{v}
	}
	var out []any
	var walk func(t schema.Type, v any, name string) bool
	walk = func(t schema.Type, v any, name string) bool {
		switch t := t.(type) {
		case *schema.Array:
			list, _ := v.([]any)
			for _, item := range list {
				walk(t.Items, item, name)
			}
			return true
		case *schema.Object:
			object, _ := v.(map[string]any)
			if name == "" {
				if object != nil {
					out = append(out, object)
				}
				return true
			}
			for _, f := range t.Fields {
				rest, found := strings.CutPrefix(name, f.GraphQL)
				if rest == "_" && slices.Contains(metricNames, f.GraphQL) {
					rest = ""
				}
				if found && (rest == "" || rest[0] == '_') && walk(f.Type, object[f.Name], strings.TrimPrefix(rest, "_")) {
					return true
				}
			}
			return false
		case *schema.Union:
			object, _ := v.(map[string]any)
			v, t2 := object["$type"], &schema.String{}
			if w := want(t2, v, 0); w != nil && name == "type" {
				out = append(out, w)
			}
			return name == "type"
		case *schema.Blob:
			object, _ := v.(map[string]any)
			var w any
			if name == "size" {
				w = want(&schema.Integer{}, object["size"], 0)
			} else {
				w = want(&schema.String{}, object["mimeType"], 0)
			}
			if w != nil {
				out = append(out, w)
			}
			return true
		}
		w := want(t, v, 0)
		if s, ok := t.(*schema.String); ok && s.Format == "datetime" && w != nil {
			at, err := time.Parse(time.RFC3339Nano, w.(string))
			if err != nil {
				return false
			}
			w = at
		}
		if w != nil && name == "" {
			out = append(out, w)
		}
		return name == ""
	}
	col := o.cat.Collection(r.uri.Collection())
	if !walk(col.Object, r.content, name) {
		panic("no key " + name + " in " + r.uri.String())
	}
	slices.SortFunc(out, order3)
	out = slices.CompactFunc(out, func(a, b any) bool { return order3(a, b) == 0 })
	if len(out) == 0 {
		return []any{nil}
	}
	return out
}

// order3 compares values as keys are sorted: null last, text by bytes, and JSON
// as jsonb is, as far as the test's objects need.
func order3(a, b any) int {
	rank := func(v any) int {
		switch v.(type) {
		case string:
			return 0
		case json.Number:
			return 1
		case bool:
			return 2
		case time.Time:
			return 3
		case map[string]any:
			return 4
		}
		return 9
	}
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra - rb
	}
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case json.Number:
		return number(a).Cmp(number(b))
	case bool:
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	case time.Time:
		return a.Compare(b.(time.Time))
	case map[string]any:
		other := b.(map[string]any)
		for _, key := range []string{"bits", "model"} {
			if n := order3(a[key], other[key]); n != 0 {
				return n
			}
		}
	}
	return 0
}

func number(v any) *big.Rat {
	r, ok := new(big.Rat).SetString(fmt.Sprint(v))
	if !ok {
		panic(fmt.Sprintf("%v is no number", v))
	}
	return r
}

// holds evaluates a condition on a value.
func holds(v any, cond map[string]any) bool {
	for operator, operand := range cond {
		if operator == "field" {
			continue
		}
		if operand == nil {
			if (v == nil) != (operator == "eq") {
				return false
			}
			continue
		}
		if operator == "isNull" {
			if (v == nil) != operand.(bool) {
				return false
			}
			continue
		}
		if operator == "ne" && v == nil {
			continue
		}
		if v == nil {
			return false
		}
		switch v.(type) {
		case json.Number:
			operand = json.Number(fmt.Sprint(operand))
		case time.Time:
			at, err := timeOperand(operand)
			if err != nil {
				panic(err)
			}
			operand = at
		}
		n := order3(v, operand)
		if ok := map[string]bool{"eq": n == 0, "ne": n != 0, "gt": n > 0, "gte": n >= 0, "lt": n < 0, "lte": n <= 0}[operator]; !ok {
			return false
		}
	}
	return true
}

func (o *oracle) where(r known, where map[string]any) bool {
	for name, cond := range where {
		if name == "or" {
			if !slices.ContainsFunc(listOfMaps(cond), func(w map[string]any) bool { return o.where(r, w) }) {
				return false
			}
			continue
		}
		if !holds(o.values(r, name)[0], cond.(map[string]any)) {
			return false
		}
	}
	return true
}

func listOfMaps(v any) []map[string]any {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]map[string]any, len(list))
	for i, item := range list {
		out[i] = item.(map[string]any)
	}
	return out
}

// metric evaluates an aggregate of records.
func (o *oracle) metric(records []known, name, field string) any {
	if name == "count" {
		return json.Number(fmt.Sprint(len(records)))
	}
	var values []any
	for _, r := range records {
		if v := o.values(r, field)[0]; v != nil {
			values = append(values, v)
		}
	}
	slices.SortFunc(values, order3)
	if name == "countDistinct" {
		return json.Number(fmt.Sprint(len(slices.CompactFunc(values, func(a, b any) bool { return order3(a, b) == 0 }))))
	}
	if len(values) == 0 {
		return nil
	}
	switch name {
	case "min":
		return values[0]
	case "max":
		return values[len(values)-1]
	}
	sum := new(big.Rat)
	for _, v := range values {
		sum.Add(sum, number(v))
	}
	if name == "avg" {
		mean, _ := sum.Quo(sum, big.NewRat(int64(len(values)), 1)).Float64()
		return json.Number(fmt.Sprint(mean))
	}
	return json.Number(sum.RatString())
}

// calendar is the part of the calendar that a moment is in.
func calendar(at time.Time, interval, zone string) string {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	at = at.In(loc)
	switch interval {
	case "WEEK":
		year, week := at.ISOWeek()
		return fmt.Sprintf("%04d-W%02d", year, week)
	case "QUARTER":
		return fmt.Sprintf("%04d-Q%d", at.Year(), (int(at.Month())+2)/3)
	}
	return at.Format(map[string]string{"HOUR": "2006-01-02T15:00", "DAY": "2006-01-02", "MONTH": "2006-01", "YEAR": "2006"}[interval])
}

type oracleGroup struct {
	keys    []any
	records []known
}

// aggregated answers a field `…Aggregated`.
func (o *oracle) aggregated(t *testing.T, col *schema.Collection, f *ast.Field, vars map[string]any) []any {
	t.Helper()
	arg := func(name string) any { return argumentValue(t, f, name, vars) }
	groupBy := listOfMaps(arg("groupBy"))
	where, _ := arg("where").(map[string]any)
	groups := map[string]*oracleGroup{}
	if len(groupBy) == 0 {
		groups[fmt.Sprintf("%#v", []any(nil))] = &oracleGroup{}
	}
	for _, r := range o.records[col.NSID] {
		if !o.where(r, where) {
			continue
		}
		combinations := [][]any{nil}
		for _, by := range groupBy {
			var next [][]any
			for _, v := range o.values(r, by["field"].(string)) {
				if interval, _ := by["interval"].(string); interval != "" && v != nil {
					zone, _ := by["timeZone"].(string)
					v = calendar(v.(time.Time), interval, zone)
				}
				for _, c := range combinations {
					next = append(next, append(slices.Clone(c), v))
				}
			}
			combinations = next
		}
		for _, keys := range combinations {
			id := fmt.Sprintf("%#v", keys)
			if groups[id] == nil {
				groups[id] = &oracleGroup{keys: keys}
			}
			groups[id].records = append(groups[id].records, r)
		}
	}
	having, _ := arg("having").(map[string]any)
	var kept []*oracleGroup
	for _, g := range groups {
		fits := true
		for name, conditions := range having {
			for _, cond := range listOfMaps(conditions) {
				field, _ := cond["field"].(string)
				fits = fits && holds(o.metric(g.records, name, field), cond)
			}
		}
		if fits {
			kept = append(kept, g)
		}
	}
	position := func(name any) int {
		return slices.IndexFunc(groupBy, func(by map[string]any) bool { return by["field"] == name })
	}
	orderBy := listOfMaps(arg("orderBy"))
	if len(orderBy) == 0 {
		orderBy = []map[string]any{{"count": "DESC"}}
	}
	slices.SortFunc(kept, func(a, b *oracleGroup) int {
		for _, by := range orderBy {
			var va, vb any
			desc := by["direction"] == "DESC"
			for name, field := range by {
				switch name {
				case "direction":
				case "count":
					va, vb, desc = o.metric(a.records, name, ""), o.metric(b.records, name, ""), field == "DESC"
				case "key":
					va, vb = a.keys[position(field)], b.keys[position(field)]
				default:
					va, vb = o.metric(a.records, name, field.(string)), o.metric(b.records, name, field.(string))
				}
			}
			n := order3(va, vb)
			if desc && va != nil && vb != nil {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return slices.CompareFunc(a.keys, b.keys, order3)
	})
	limit := 100
	if n := arg("limit"); n != nil {
		limit = int(n.(int64))
	}
	out := []any{}
	for _, g := range kept[:min(limit, len(kept))] {
		row := map[string]any{}
		for _, sel := range f.SelectionSet {
			f := sel.(*ast.Field)
			switch at := position(f.Name); {
			case f.Name == "__typename":
				row[f.Alias] = col.Type + "Aggregated"
			case slices.Contains(metricNames, f.Name):
				row[f.Alias] = o.answered(t, f, g.records, vars)
			case at < 0 || g.keys[at] == nil:
				row[f.Alias] = nil
			default:
				v := written(g.keys[at])
				if _, object := v.(map[string]any); !object {
					v = fmt.Sprint(v)
				}
				row[f.Alias] = v
			}
		}
		out = append(out, row)
	}
	return out
}

func (o *oracle) answered(t *testing.T, f *ast.Field, records []known, vars map[string]any) any {
	t.Helper()
	field, _ := argumentValue(t, f, "field", vars).(string)
	return written(o.metric(records, f.Name, field))
}

// written is a value as answers have it.
func written(v any) any {
	if at, ok := v.(time.Time); ok {
		return strings.Trim(string(appendMoment(nil, at)), `"`)
	}
	return v
}

func argumentValue(t *testing.T, f *ast.Field, name string, vars map[string]any) any {
	t.Helper()
	arg := f.Arguments.ForName(name)
	if arg == nil {
		return nil
	}
	v, err := arg.Value.Value(vars)
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := v.(float64); ok { // a variable
		return int64(n)
	}
	return v
}

// root checks a field of Query, and says how many aggregates were in it.
func (o *oracle) root(t *testing.T, f *ast.Field, vars, got map[string]any) int {
	t.Helper()
	for _, col := range o.cat.Collections {
		switch f.Name {
		case col.QueryField() + "Aggregated":
			o.compare(t, f.Alias, o.aggregated(t, col, f, vars), got[f.Alias])
			return 1
		case col.QueryField():
			return o.connection(t, col, f, vars, got[f.Alias], func(known) bool { return true })
		}
	}
	t.Fatalf("no field %s", f.Name)
	return 0
}

// connection checks the aggregates of a list, and of the lists in it.
func (o *oracle) connection(t *testing.T, col *schema.Collection, f *ast.Field, vars map[string]any, got any, base func(known) bool) int {
	t.Helper()
	checked := 0
	answered := got.(map[string]any)
	where, _ := argumentValue(t, f, "where", vars).(map[string]any)
	var records []known
	for _, r := range o.records[col.NSID] {
		if base(r) && o.where(r, where) {
			records = append(records, r)
		}
	}
	for _, sel := range f.SelectionSet {
		f := sel.(*ast.Field)
		switch f.Name {
		case "aggregate":
			row := map[string]any{}
			for _, sel := range f.SelectionSet {
				if f := sel.(*ast.Field); f.Name == "__typename" {
					row[f.Alias] = col.Type + "Aggregate"
				} else {
					row[f.Alias] = o.answered(t, f, records, vars)
				}
			}
			o.compare(t, f.Alias, row, answered[f.Alias])
			checked++
		case "edges":
			for _, edge := range answered[f.Alias].([]any) {
				node := edge.(map[string]any)["node"].(map[string]any)
				for _, sel := range f.SelectionSet[0].(*ast.Field).SelectionSet {
					checked += o.join(t, sel.(*ast.Field), vars, node)
				}
			}
		}
	}
	return checked
}

func (o *oracle) join(t *testing.T, f *ast.Field, vars, node map[string]any) int {
	t.Helper()
	for _, col := range o.cat.Collections {
		uri, _ := node["uri"].(string)
		switch f.Name {
		case col.ByDIDField():
			return o.connection(t, col, f, vars, node[f.Alias], func(r known) bool { return r.uri.Authority() == syntax.ATURI(uri).Authority() })
		case col.QueryField() + "ViaSubject":
			return o.connection(t, col, f, vars, node[f.Alias], func(r known) bool { return o.values(r, "subject_uri")[0] == uri })
		}
	}
	return 0
}

func (o *oracle) compare(t *testing.T, at string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			t.Errorf("%s: %d groups, want %d", at, len(list), len(want))
			return
		}
		for i := range want {
			o.compare(t, fmt.Sprintf("%s[%d]", at, i), want[i], list[i])
		}
	case map[string]any:
		object, _ := got.(map[string]any)
		for key := range want {
			o.compare(t, at+"."+key, want[key], object[key])
		}
		if len(object) != len(want) {
			t.Errorf("%s: %v, want %v", at, got, want)
		}
	case json.Number:
		n, ok := got.(json.Number)
		if !ok {
			t.Errorf("%s: %v, want %v", at, got, want)
			return
		}
		if n == want {
			return
		}
		a, err1 := want.Float64()
		b, err2 := n.Float64()
		whole := !strings.ContainsAny(want.String()+n.String(), ".e")
		if err1 != nil || err2 != nil || whole || math.Abs(a-b) > 1e-12*math.Abs(a) {
			t.Errorf("%s: %v, want %v", at, n, want)
		}
	default:
		if got != want {
			t.Errorf("%s: %v, want %v", at, got, want)
		}
	}
}

// TestAggregationNames: a lexicon may have what our names would be.
func TestAggregationNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(nsid, properties, defs string) {
		text := fmt.Sprintf(`{"lexicon": 1, "id": %q, "defs": {"main": {"type": "record", "key": "tid", "record": {"type": "object", "properties": {%s}}}%s}}`, nsid, properties, defs)
		if err := os.WriteFile(filepath.Join(dir, nsid+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("com.example.thing", `"a": {"type": "ref", "ref": "#a"}, "a_b": {"type": "string"}, "sum": {"type": "integer"}, "avg": {"type": "ref", "ref": "#a"},
		"indexed_at": {"type": "string"}, "true": {"type": "boolean"}, "again": {"type": "ref", "ref": "#again"}`,
		`, "a": {"type": "object", "properties": {"b": {"type": "string"}}}, "again": {"type": "object", "properties": {"n": {"type": "integer"}, "again": {"type": "ref", "ref": "#again"}, "all": {"type": "array", "items": {"type": "ref", "ref": "#again"}}}}`)
	for _, suffix := range []string{"Aggregate", "AggregateField", "AggregatedHaving", "AggregatedMetricCondition", "AggregatedOrderBy", "Aggregated", "GroupByField"} {
		write("com.example.thing"+suffix, `"n": {"type": "integer"}`, "")
	}
	write("com.example.many", `"deep": {"type": "ref", "ref": "#l0"}`, func() string {
		var b strings.Builder
		for level := range 6 {
			fmt.Fprintf(&b, `, "l%d": {"type": "object", "properties": {`, level)
			for n := range 60 {
				fmt.Fprintf(&b, `"p%d": {"type": "integer"}, `, n)
			}
			fmt.Fprintf(&b, `"next": {"type": "ref", "ref": "#l%d"}}}`, level+1)
		}
		return b.String() + `, "l6": {"type": "object", "properties": {"end": {"type": "string"}}}`
	}())
	cat := load(t, dir)
	m := newModel(cat, Config{})
	if err := m.validated(); err != nil {
		t.Fatal(err)
	}
	keys := m.aggregations[cat.Collection("com.example.thing")].keys
	for name, path := range map[string]string{
		"a_b": "a_b", "a_b_": "a b", "sum_": "sum", "avg_b": "avg b", "indexed_at_": "indexed_at", "true_": "true", "again_n": "again n", "indexed_at": "",
	} {
		if k := keys[name]; k == nil || strings.Join(k.path, " ") != path {
			t.Errorf("%s is %v, want the path %s", name, k, path)
		}
	}
	for name, k := range keys {
		if len(k.path) > 4 {
			t.Errorf("%s has the path %v", name, k.path)
		}
	}
	if n := len(m.aggregations[cat.Collection("com.example.many")].keys); n != maxKeys {
		t.Errorf("%d keys, want no more than %d", n, maxKeys)
	}
	w := newWorld(t, cat)
	got := post(t, w.api(t, Config{}), `{comExampleThingAggregated(groupBy: [{field: a_b_}, {field: indexed_at_}, {field: true_}], orderBy: {sum: sum_}) {a_b_ true_ sum(field: again_n)}
		comExampleThing {aggregate {count max(field: sum_)}}}`, nil)
	if string(got.Data) != `{"comExampleThingAggregated":[],"comExampleThing":{"aggregate":{"count":0,"max":null}}}` {
		t.Errorf("answered %s", got.body)
	}
}

// TestTimeZoneOfNewerGo: the zones that we know and those that Postgres knows
// come from different releases.
func TestTimeZoneOfNewerGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testCatalog(t))
	_, err := w.read.Exec(t.Context(), "select now() at time zone $1::text", "Mars/Olympus")
	e, told := presentDatabase(nil, err)
	if !told || e.Extensions["code"] != codeInput || !strings.Contains(e.Message, "time zone") {
		t.Errorf("%v is told as %v", err, e)
	}
}
