package graphql

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"

	gql "github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/validator"
)

// TestPlansFitTheirVariables asks one operation with many variables, in an
// order in which plans of one are met by the other, and holds each answer
// against that of an API without caches.
func TestPlansFitTheirVariables(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	w.load(t, everything(30)[:20])
	a := w.api(t, Config{})
	const query = `query Q($w: ComExampleEverythingWhereInput, $n: Int, $after: String, $before: String, $sort: [ComExampleEverythingSortFieldInput!],
			$text: String, $long: Long, $texts: [String!], $with: Boolean = true, $null: Boolean, $since: DateTime) {
		whole: comExampleEverything(where: $w, first: $n, after: $after, before: $before, sortBy: $sort) { ...Page }
		parts: comExampleEverything(where: {or: [{text: {contains: $text}}, {n: {gte: $long}}, {words: {hasAny: $texts}}, {at: {gt: $since, isNull: $null}}]}, last: 2) { ...Page @include(if: $with) totalCount }
	}
	fragment Page on ComExampleEverythingConnection { totalCount pageInfo { hasNextPage hasPreviousPage endCursor startCursor } edges { cursor node { uri text n flag at } } }`
	col := w.cat.Collection("com.example.everything")
	var wheres []map[string]any
	for _, l := range readLines(t) {
		if strings.Contains(l.URI, "com.example.everything") {
			var record map[string]any
			decoder := json.NewDecoder(strings.NewReader(string(l.Record)))
			decoder.UseNumber()
			if err := decoder.Decode(&record); err != nil {
				t.Fatal(err)
			}
			wheres = append(wheres, conditions(col.Object, record, 0)...)
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	maybe := func(vars map[string]any, name string, values ...any) {
		switch n := rnd.IntN(len(values) + 1); {
		case n == len(values): // not given
		default:
			vars[name] = values[n]
		}
	}
	cursors := map[string][]any{"": {nil}}
	answered := 0
	for range 150 {
		vars := map[string]any{}
		pick := func() map[string]any { return wheres[rnd.IntN(len(wheres))] }
		maybe(vars, "w", nil, pick(), map[string]any{"not": pick()}, map[string]any{"or": []any{pick(), pick()}}, map[string]any{"and": []any{pick()}, "or": pick()})
		maybe(vars, "n", 1, 3, nil, 50)
		sorts := []any{nil, []any{map[string]any{"field": "text"}}, []any{map[string]any{"field": "n", "direction": "DESC"}, map[string]any{"field": "at"}}, map[string]any{"field": "flag"}}
		delete(vars, "sort")
		sort := rnd.IntN(len(sorts))
		vars["sort"] = sorts[sort]
		key := fmt.Sprint(sort)
		maybe(vars, "after", append(cursors[key], nil)...)
		maybe(vars, "before", append(cursors[key], nil)...)
		maybe(vars, "text", "é", "a", "PIPE", "B")
		maybe(vars, "long", 0, "1", int64(1)<<53)
		maybe(vars, "texts", []any{"a"}, []any{}, []any{"x", "a"}, "a")
		maybe(vars, "with", true, false)
		maybe(vars, "null", true, false, nil)
		maybe(vars, "since", "2025-01-01", "2025-01-01T00:00:00.000001Z")

		got := post(t, a, query, vars)
		fresh := post(t, w.api(t, Config{}), query, vars)
		if code := got.code(); code != "" && code != codeInput {
			t.Fatalf("with %v the answer is\n%s", vars, got.body)
		}
		if got.body != fresh.body {
			t.Fatalf("with %v the cache makes it\n%s\nwithout it is\n%s", vars, got.body, fresh.body)
		}
		var data struct{ Whole pageAnswer }
		if json.Unmarshal(got.Data, &data) == nil && len(got.Errors) == 0 {
			answered++
			for _, e := range data.Whole.Edges {
				if len(cursors[key]) < 12 {
					cursors[key] = append(cursors[key], e.Cursor)
				}
			}
		}
	}
	if answered < 75 {
		t.Errorf("only %d of 150 requests were answered", answered)
	}
}

// TestPlansAreShared: values do not make plans.
func TestPlansAreShared(t *testing.T) {
	t.Parallel()
	cfg, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(testCatalog(t), cfg)
	if err := m.validated(); err != nil {
		t.Fatal(err)
	}
	e, err := newExecutor(m, &cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(query string, vars map[string]any) int {
		doc, errs := gqlparser.LoadQueryWithRules(m.schema, query, validationRules())
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		values, err := validator.VariableValues(m.schema, doc.Operations[0], vars)
		if err != nil {
			t.Fatal(err)
		}
		op := &gql.OperationContext{RawQuery: query, Doc: doc, Operation: doc.Operations[0], Variables: values}
		if _, failed := e.prepare(op); failed != nil {
			t.Fatal(failed)
		}
		return e.plans.Len()
	}
	const query = `query($w: ComMyrecipesRecipeWhereInput, $n: Int, $min: Int, $q: String) { comMyrecipesRecipe(where: $w, first: $n) { totalCount } other: comMyrecipesRecipe(where: {servings: {gte: $min}, title: {contains: $q}}) { totalCount } }`
	steps := []struct {
		vars  map[string]any
		plans int
	}{
		{map[string]any{"min": 1}, 1},
		{map[string]any{"min": 2}, 1},
		{map[string]any{"min": 2, "q": "a"}, 2},
		{map[string]any{"min": 7, "q": "b"}, 2},
		{map[string]any{"min": 7, "q": "é"}, 3}, // case folds beyond ASCII: another operator
		{map[string]any{"w": map[string]any{"title": map[string]any{"eq": "x"}}}, 4},
		{map[string]any{"w": map[string]any{"title": map[string]any{"eq": "y"}}}, 4},
		{map[string]any{"w": map[string]any{"title": map[string]any{"in": []any{"y"}}}}, 5},
		{map[string]any{"w": map[string]any{"title": map[string]any{"in": []any{"y", "z"}}}}, 5},
		{map[string]any{"w": map[string]any{"or": []any{map[string]any{"title": map[string]any{"eq": "y"}}}}}, 6},
		{map[string]any{"n": 5}, 7}, // a limit is in the SQL
		{map[string]any{"n": 6}, 8},
	}
	const groups = `query($zone: String, $min: JSON, $limit: Int, $by: [ComMyrecipesReviewGroupByFieldInput!], $of: ComMyrecipesReviewAggregateField = rating) {
		comMyrecipesReviewAggregated(groupBy: [{field: createdAt, interval: DAY, timeZone: $zone}], having: {avg: {field: rating, gte: $min}}, limit: $limit) { createdAt }
		by: comMyrecipesReviewAggregated(groupBy: $by) { max(field: $of) }
	}`
	by := func(field, interval, zone string) []any {
		return []any{map[string]any{"field": field, "interval": interval, "timeZone": zone}}
	}
	groupSteps := []struct {
		vars  map[string]any
		plans int
	}{
		{map[string]any{"zone": "Europe/Berlin", "min": 3}, 9},
		{map[string]any{"zone": "Asia/Tokyo", "min": "3.5"}, 9},
		{map[string]any{"zone": "Asia/Tokyo"}, 10},
		{map[string]any{"limit": 5}, 11}, // a limit is in the SQL
		{map[string]any{"limit": 6}, 12},
		{map[string]any{"by": by("createdAt", "DAY", "UTC")}, 13},
		{map[string]any{"by": by("createdAt", "DAY", "Asia/Tokyo")}, 13},
		{map[string]any{"by": by("createdAt", "HOUR", "Asia/Tokyo")}, 14},
		{map[string]any{"by": by("indexedAt", "DAY", "UTC")}, 15},
		{map[string]any{"of": "text"}, 16},
	}
	for _, step := range steps {
		if got := ask(query, step.vars); got != step.plans {
			t.Errorf("after %v there are %d plans, want %d", step.vars, got, step.plans)
		}
	}
	for _, step := range groupSteps {
		if got := ask(groups, step.vars); got != step.plans {
			t.Errorf("after %v there are %d plans, want %d", step.vars, got, step.plans)
		}
	}
}

// TestUnavailable is what a client is told when the database is not there.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	a := w.api(t, Config{Log: silent})
	w.read.Close()
	got := post(t, a, `{comMyrecipesRecipe {totalCount}}`, nil)
	if got.code() != codeBusy {
		t.Errorf("answered %s", got.body)
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/graphql?query=%7B__typename%7D", nil)
	if got := serve(t, a, r); string(got.Data) != `{"__typename":"Query"}` {
		t.Errorf("what needs no database answers %s", got.body)
	}
}
