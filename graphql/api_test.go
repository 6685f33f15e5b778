package graphql

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/schema"
)

// smallWorld has the records of testdata.
func smallWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, testCatalog(t))
	w.load(t, readLines(t))
	return w
}

// TestRefusals are requests that are refused, each with what it is told.
func TestRefusals(t *testing.T) {
	t.Parallel()
	a := smallWorld(t).api(t, Config{})
	deep := strings.Repeat("comMyrecipesRecipeByDid(first: 1) { edges { node { ", 8) + "title" + strings.Repeat(" } } }", 8)
	bomb := "query { ...F0 } "
	for i := range 20 {
		bomb += fmt.Sprintf("fragment F%d on Query { a%d: actor(did: \"did:plc:a\") { did } ...G%d ... { ...G%d } } fragment G%d on Query { ... { ...F%d } } ", i, i, i, i, i, i+1)
	}
	bomb += "fragment F20 on Query { kind: __typename }"
	tests := []struct {
		name, query string
		vars        map[string]any
		code        string
		message     string
		path        string
	}{
		{"page over the maximum", `{comMyrecipesRecipe(first: 1001) {totalCount}}`, nil, codeInput, "first: 1001 is over the maximum of 1000", "[comMyrecipesRecipe]"},
		{"negative page", `{comMyrecipesRecipe(last: -1) {totalCount}}`, nil, codeInput, "last: -1 is negative", "[comMyrecipesRecipe]"},
		{"page of a variable", `query($n: Int) {comMyrecipesRecipe(first: $n) {totalCount}}`, map[string]any{"n": 5000}, codeInput, "first: 5000 is over", "[comMyrecipesRecipe]"},
		{"first and last", `{comMyrecipesRecipe(first: 1, last: 1) {totalCount}}`, nil, codeInput, "first and last exclude each other", "[comMyrecipesRecipe]"},
		{"nested argument", `{list: comMyrecipesRecipe {edges {node {r: comMyrecipesReviewViaSubject(first: -5) {totalCount}}}}}`, nil, codeInput, "first: -5 is negative", "[list edges node r]"},
		{"text for a number", `{comMyrecipesRecipe(where: {or: [{servings: {gte: "many"}}]}) {totalCount}}`, nil, codeInput, `where.or[0].servings.gte: "many" is not a whole number of 64 bits`, "[comMyrecipesRecipe]"},
		{"fraction for a number", `{comMyrecipesRecipe(where: {servings: {gte: 1.5}}) {totalCount}}`, nil, codeInput, "where.servings.gte: 1.5 is not a whole", "[comMyrecipesRecipe]"},
		{"number over 64 bits", `query($n: Long) {comMyrecipesRecipe(where: {servings: {eq: $n}}) {totalCount}}`, map[string]any{"n": json.Number("9223372036854775808")}, codeInput, "is not a whole number of 64 bits", "[comMyrecipesRecipe]"},
		{"number in a list", `{comMyrecipesRecipe(where: {servings: {in: [1, "x"]}}) {totalCount}}`, nil, codeInput, `where.servings.in: [1]: "x" is not`, "[comMyrecipesRecipe]"},
		{"no date", `query($d: DateTime) {comMyrecipesRecipe(where: {createdAt: {lt: $d}}) {totalCount}}`, map[string]any{"d": "yesterday"}, codeInput, `where.createdAt.lt: "yesterday" is not a date or a time`, "[comMyrecipesRecipe]"},
		{"no boolean", `{comExampleEverything(where: {flag: {eq: "yes"}}) {totalCount}}`, nil, codeInput, `where.flag.eq: "yes" is not true or false`, "[comExampleEverything]"},
		{"object for a number", `query($w: ComMyrecipesRecipeWhereInput) {comMyrecipesRecipe(where: $w) {totalCount}}`, map[string]any{"w": map[string]any{"servings": map[string]any{"eq": map[string]any{}}}}, codeInput, "where.servings.eq: {} is not", "[comMyrecipesRecipe]"},
		{"nothing to compare with", `query($x: String) {comMyrecipesRecipe(where: {title: {contains: $x}}) {totalCount}}`, map[string]any{"x": nil}, codeInput, "where.title.contains: null is no value to compare with", "[comMyrecipesRecipe]"},
		{"U+0000", `query($x: String) {comMyrecipesRecipe(where: {title: {eq: $x}}) {totalCount}}`, map[string]any{"x": "a\x00b"}, codeInput, "holds U+0000", "[comMyrecipesRecipe]"},
		{"U+0000 in a list", `query($x: [String!]) {comMyrecipesRecipe(where: {did: {in: $x}}) {totalCount}}`, map[string]any{"x": []string{"\x00"}}, codeInput, "holds U+0000", "[comMyrecipesRecipe]"},
		{"U+0000 in a URI", `query($x: String!) {comMyrecipesRecipeByUri(uri: $x) {title}}`, map[string]any{"x": "at://\x00"}, codeInput, "holds U+0000", "[comMyrecipesRecipeByUri]"},
		{"U+0000 in an order", `query($x: String) {comMyrecipesRecipe(after: $x) {totalCount}}`, map[string]any{"x": "\x00"}, codeInput, "not a cursor", "[comMyrecipesRecipe]"},
		{"no AT-URI", `{record(uri: "https://example.com") {__typename}}`, nil, codeInput, "is not an AT-URI", "[record]"},
		{"AT-URI of no record", `{record(uri: "at://did:plc:a/com.example.thing") {__typename}}`, nil, codeInput, "is not the AT-URI of a record", "[record]"},
		{"actor by nothing", `{actor {did}}`, nil, codeInput, "give either did or handle", "[actor]"},
		{"actor by both", `{actor(did: "did:plc:a", handle: "a.b") {did}}`, nil, codeInput, "give either did or handle", "[actor]"},
		{"no DID", `{actor(did: "alice") {did}}`, nil, codeInput, "is not a DID", "[actor]"},
		{"too many sort keys", `{comMyrecipesRecipe(sortBy: [{field: uri},{field: uri},{field: uri},{field: uri},{field: uri},{field: uri},{field: uri},{field: uri},{field: uri}]) {totalCount}}`, nil, codeInput, "9 keys are over the maximum of 8", "[comMyrecipesRecipe]"},
		{"unknown key", `{comMyrecipesReviewAggregated(groupBy: [{field: ratings}]) {count}}`, nil, "GRAPHQL_VALIDATION_FAILED", `Did you mean the enum value "rating"`, ""},
		{"unknown interval", `{comMyrecipesReviewAggregated(groupBy: [{field: createdAt, interval: DECADE}]) {count}}`, nil, "GRAPHQL_VALIDATION_FAILED", `"DECADE" does not exist in "DateInterval"`, ""},
		{"unknown metric", `{comMyrecipesReview {aggregate {median(field: rating)}}}`, nil, "GRAPHQL_VALIDATION_FAILED", `Cannot query field "median"`, ""},
		{"interval of a number", `{r: comMyrecipesReviewAggregated(groupBy: [{field: did}, {field: rating, interval: DAY}]) {count}}`, nil, codeInput, "groupBy[1].interval: rating is not a time", "[r]"},
		{"time zone of no interval", `{comMyrecipesReviewAggregated(groupBy: {field: createdAt, timeZone: "Europe/Berlin"}) {count}}`, nil, codeInput, "groupBy.timeZone: a time zone is that of an interval", "[comMyrecipesReviewAggregated]"},
		{"unknown time zone", `{comMyrecipesReviewAggregated(groupBy: {field: createdAt, interval: DAY, timeZone: "Europe/Berlim"}) {count}}`, nil, codeInput, `groupBy.timeZone: "Europe/Berlim" is no time zone that is known`, "[comMyrecipesReviewAggregated]"},
		{"time zone by its offset", `query($z: String) {comMyrecipesReviewAggregated(groupBy: {field: createdAt, interval: DAY, timeZone: $z}) {count}}`, map[string]any{"z": "+02:00"}, codeInput, `"+02:00" is no time zone: give a name`, "[comMyrecipesReviewAggregated]"},
		{"time zone of the server", `{comMyrecipesReviewAggregated(groupBy: {field: createdAt, interval: DAY, timeZone: "Local"}) {count}}`, nil, codeInput, `"Local" is no time zone`, "[comMyrecipesReviewAggregated]"},
		{"key twice", `{comMyrecipesReviewAggregated(groupBy: [{field: rating}, {field: rating}]) {count}}`, nil, codeInput, "groupBy[1]: rating is there twice", "[comMyrecipesReviewAggregated]"},
		{"two lists", `{comMyrecipesRecipeAggregated(groupBy: [{field: tags}, {field: steps}]) {count}}`, nil, codeInput, "groupBy[1]: steps is the second list", "[comMyrecipesRecipeAggregated]"},
		{"too many keys", `{comMyrecipesReviewAggregated(groupBy: [{field: rating}, {field: did}, {field: rkey}, {field: cid}, {field: text}, {field: uri}]) {count}}`, nil, codeInput, "groupBy: 6 keys are over the maximum of 5", "[comMyrecipesReviewAggregated]"},
		{"too many groups", `query($n: Int) {comMyrecipesReviewAggregated(groupBy: {field: did}, limit: $n) {count}}`, map[string]any{"n": 1001}, codeInput, "limit: 1001 is over the maximum of 1000 groups", "[comMyrecipesReviewAggregated]"},
		{"negative number of groups", `{comMyrecipesReviewAggregated(limit: -1) {count}}`, nil, codeInput, "limit: -1 is negative", "[comMyrecipesReviewAggregated]"},
		{"sum of text", `{r: comMyrecipesReview {a: aggregate {s: sum(field: text)}}}`, nil, codeInput, "field: sum and avg are of integers, and text is none", "[r a s]"},
		{"average of times", `{comMyrecipesReviewAggregated(orderBy: {avg: createdAt}) {count}}`, nil, codeInput, "orderBy.avg: sum and avg are of integers", "[comMyrecipesReviewAggregated]"},
		{"least of booleans", `{comExampleEverythingAggregated {min(field: flag)}}`, nil, codeInput, "field: true and false have no min and max: flag", "[comExampleEverythingAggregated min]"},
		{"order by what is not a key", `{comMyrecipesReviewAggregated(groupBy: {field: did}, orderBy: [{count: ASC}, {key: rating}]) {count}}`, nil, codeInput, `orderBy[1].key: "rating" is not grouped by`, "[comMyrecipesReviewAggregated]"},
		{"order by two things at once", `{comMyrecipesReviewAggregated(orderBy: {count: ASC, max: rating}) {count}}`, nil, codeInput, "orderBy: give one of count, key", "[comMyrecipesReviewAggregated]"},
		{"order by nothing", `{comMyrecipesReviewAggregated(orderBy: {direction: DESC}) {count}}`, nil, codeInput, "orderBy: give one of count, key", "[comMyrecipesReviewAggregated]"},
		{"text for an average", `{comMyrecipesReviewAggregated(having: {avg: {field: rating, gt: "good"}}) {count}}`, nil, codeInput, `having.avg.gt: "good" is not a number`, "[comMyrecipesReviewAggregated]"},
		{"no number for a sum", `query($n: JSON) {comMyrecipesReviewAggregated(having: {sum: {field: rating, gt: $n}}) {count}}`, map[string]any{"n": "NaN"}, codeInput, `having.sum.gt: "NaN" is not a number`, "[comMyrecipesReviewAggregated]"},
		{"a list for a maximum", `query($n: JSON) {comMyrecipesReviewAggregated(having: {max: {field: rating, gt: $n}}) {count}}`, map[string]any{"n": []any{1}}, codeInput, `having.max.gt: [1] is not a whole number`, "[comMyrecipesReviewAggregated]"},
		{"no time for a maximum", `{comMyrecipesReviewAggregated(having: {max: [{field: rating, gt: 1}, {field: createdAt, gt: 1}]}) {count}}`, nil, codeInput, `having.max[1].gt: 1 is not a date`, "[comMyrecipesReviewAggregated]"},
		{"too many aggregations", "{x: comMyrecipesReviewAggregated {count} " + manyAggregations(20) + "}", nil, codeCost, "fewer aggregations", ""},
		{"aggregates of too many lists", `{comMyrecipesRecipe(first: 1000) {edges {node {a: comMyrecipesReviewViaSubject(first: 100) {edges {node {rating}} aggregate {avg(field: rating)}} b: comMyrecipesLikeViaSubject(first: 100) {aggregate {min(field: createdAt)} edges {node {did}}}}}}}`, nil, codeCost, "may read 223001 rows", ""},
		{"too deep", "{ comMyrecipesRecipe(first: 1) { edges { node { " + deep + " } } } }", nil, codeDepth, "nested deeper than 20", ""},
		{"too much", `{comMyrecipesRecipe(first: 1000) {edges {node {comMyrecipesRecipeByDid(first: 1000) {edges {node {title}}}}}}}`, nil, codeCost, "may read 1002001 rows, over the maximum of 200000", ""},
		{"too many tokens", "{" + strings.Repeat("a: __typename ", 5001) + "}", nil, "GRAPHQL_PARSE_FAILED", "token limit", ""},
		{"fragments that multiply", bomb, nil, codeCost, "more than 100 times in one place", ""},
		{"fragments in a circle", "{...A} fragment A on Query {...B} fragment B on Query {...A}", nil, "GRAPHQL_VALIDATION_FAILED", "Cannot spread fragment", ""},
		{"unknown field", `{comMyrecipesRecipe {edges {node {tite}}}}`, nil, "GRAPHQL_VALIDATION_FAILED", `Did you mean "title"`, ""},
		{"no GraphQL", `{`, nil, "GRAPHQL_PARSE_FAILED", "", ""},
		{"nothing", ``, nil, "GRAPHQL_VALIDATION_FAILED", "no operation", ""},
		{"a missing variable", `query($x: String!) {record(uri: $x) {__typename}}`, nil, "GRAPHQL_VALIDATION_FAILED", "must be defined", ""},
		{"a mutation", `mutation {x}`, nil, "GRAPHQL_VALIDATION_FAILED", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // compiled, and from the caches
				got := post(t, a, test.query, test.vars)
				if got.code() != test.code || !strings.Contains(got.Errors[0].Message, test.message) {
					t.Fatalf("answered %s", got.body)
				}
				if path := fmt.Sprint(got.Errors[0].Path); test.path != "" && path != test.path {
					t.Errorf("path %s, want %s", path, test.path)
				}
				if got.status != http.StatusOK || got.Data != nil {
					t.Errorf("status %d, data %s: nothing was run", got.status, got.Data)
				}
			}
		})
	}
}

// TestAllowed are requests near the limits that must pass.
func TestAllowed(t *testing.T) {
	t.Parallel()
	a := smallWorld(t).api(t, Config{})
	tests := map[string]string{
		"50 with 20 each":       `{comMyrecipesRecipe(first: 50) {edges {node {comMyrecipesReviewViaSubject(first: 20) {totalCount edges {node {rating}}}}}}}`,
		"a page of the maximum": `{comMyrecipesRecipe(first: 1000) {edges {node {title appBskyActorProfileByDid {displayName}}}}}`,
		"three default lists":   `{comMyrecipesRecipe {edges {node {comMyrecipesReviewViaSubject {edges {node {comMyrecipesLikeViaSubject {edges {node {did}}}}}}}}}}`,
		"three lists":           `{comMyrecipesRecipe(first: 20) {edges {node {comMyrecipesReviewViaSubject(first: 20) {edges {node {comMyrecipesLikeViaSubject(first: 20) {edges {node {did}}}}}}}}}}`,
		"comments and commas":   "# hello\n{,,comMyrecipesRecipe,(first:,1),{totalCount}}",
		"many slots":            "{comMyrecipesRecipeByDidOf: comMyrecipesRecipe(first: 1) {edges {node {comMyrecipesRecipeByDid(first: 2) {edges {node {" + manyFields(230) + "}}}}}}}",
	}
	for name, query := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var data map[string]any
			post(t, a, query, nil).data(t, &data)
		})
	}
}

// manyAggregations asks for whole collections.
func manyAggregations(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "g%d: comMyrecipesReview { aggregate { avg(field: rating) } } ", i)
	}
	return b.String()
}

// manyFields asks for more slots than a function of Postgres takes arguments.
func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d: comMyrecipesReviewViaSubject(where: {rating: {gt: %d}}) { totalCount } ", i, i)
	}
	return b.String()
}

// TestManySlotsKeepTheirPlace: rows that are longer than json_build_array
// takes are chained.
func TestManySlotsKeepTheirPlace(t *testing.T) {
	t.Parallel()
	a := smallWorld(t).api(t, Config{})
	for _, n := range []int{98, 99, 100, 101, 198, 199, 200, 320} {
		var out struct {
			Actor struct {
				ComMyrecipesRecipeByDid struct {
					Edges []struct {
						Node map[string]struct{ TotalCount int }
					}
				}
			}
		}
		query := `{actor(handle: "alice.example.com") {comMyrecipesRecipeByDid(last: 1) {edges {node {` + manyFields(n) + `}}}}}`
		post(t, a, query, nil).data(t, &out)
		node := out.Actor.ComMyrecipesRecipeByDid.Edges[0].Node
		for i := range n {
			want := 0
			if i < 5 {
				want = []int{3, 3, 3, 2, 1}[i]
			}
			if got := node[fmt.Sprintf("a%d", i)].TotalCount; got != want {
				t.Fatalf("of %d fields, a%d is %d, want %d", n, i, got, want)
			}
		}
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	a := smallWorld(t).api(t, Config{MaxBody: 2000})
	const query = `{comMyrecipesRecipe(first: 1) {edges {node {title}}}}`
	const good = `{"data":{"comMyrecipesRecipe":{"edges":[{"node":{"title":null}}]}}}`
	request := func(method, target, contentType, body string, header ...string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	asJSON := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	body := asJSON(map[string]any{"query": query})
	const json, gql = "application/json", "application/graphql-response+json"
	tests := []struct {
		name   string
		r      *http.Request
		status int
		code   string
		media  string
	}{
		{"POST", request("POST", "/graphql", json, body), 200, "", json},
		{"POST with charset", request("POST", "/graphql", json+"; charset=utf-8", body), 200, "", json},
		{"POST that takes the new media type", request("POST", "/graphql", json, body, "Accept", gql+", "+json+";q=0.9"), 200, "", gql},
		{"POST of the text alone", request("POST", "/graphql", "application/graphql", query), 200, "", json},
		{"GET", request("GET", "/graphql?query="+url.QueryEscape(query), "", ""), 200, "", json},
		{"GET with variables", request("GET", "/graphql?query="+url.QueryEscape(`query($n: Int) {comMyrecipesRecipe(first: $n) {edges {node {title}}}}`)+"&variables="+url.QueryEscape(`{"n":1}`), "", ""), 200, "", json},
		{"named operation", request("POST", "/graphql", json, asJSON(map[string]any{"query": "query A {__typename} query B " + query, "operationName": "B"})), 200, "", json},
		{"operation that is not there", request("POST", "/graphql", json, asJSON(map[string]any{"query": "query A {__typename} query B " + query, "operationName": "C"})), 200, "GRAPHQL_VALIDATION_FAILED", json},
		{"invalid operation", request("POST", "/graphql", json, `{"query":"{x}"}`), 200, "GRAPHQL_VALIDATION_FAILED", json},
		{"invalid operation, new media type", request("POST", "/graphql", json, `{"query":"{x}"}`, "Accept", gql), 400, "GRAPHQL_VALIDATION_FAILED", gql},
		{"no JSON", request("POST", "/graphql", json, `{"query":`), 400, codeRequest, json},
		{"JSON of another form", request("POST", "/graphql", json, `["x"]`), 400, codeRequest, json},
		{"two JSON objects", request("POST", "/graphql", json, body+body), 400, codeRequest, json},
		{"variables of another form", request("POST", "/graphql", json, `{"query":"{__typename}","variables":[1]}`), 400, codeRequest, json},
		{"empty", request("POST", "/graphql", json, ``), 400, codeRequest, json},
		{"too large", request("POST", "/graphql", json, `{"query":"`+strings.Repeat("#", 2000)+`"}`), 413, codeTooLarge, json},
		{"a form", request("POST", "/graphql", "application/x-www-form-urlencoded", "query=x"), 415, codeMedia, json},
		{"no content type", request("POST", "/graphql", "", body), 415, codeMedia, json},
		{"GET of nothing", request("GET", "/graphql", "", ""), 400, codeRequest, json},
		{"GET with broken variables", request("GET", "/graphql?query=%7B__typename%7D&variables=x", "", ""), 400, codeRequest, json},
		{"GET of text that is not UTF-8", request("GET", "/graphql?query="+url.QueryEscape("{comMyrecipesRecipe(where: {title: {eq: \"\xff\"}}) {totalCount}}"), "", ""), 200, codeInput, json},
		{"PUT", request("PUT", "/graphql", json, body), 405, codeMethod, json},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			a.ServeHTTP(w, test.r)
			got := answer{body: w.Body.String()}
			if err := jsonUnmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v: %s", err, got.body)
			}
			if w.Code != test.status || got.code() != test.code {
				t.Errorf("status %d, want %d; code %s: %s", w.Code, test.status, got.code(), got.body)
			}
			if test.code == "" && got.body != good {
				t.Errorf("answered %s", got.body)
			}
			if media := w.Header().Get("Content-Type"); media != test.media+"; charset=utf-8" {
				t.Errorf("media type %s", media)
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Content-Length") != fmt.Sprint(len(got.body)) {
				t.Errorf("headers %v", w.Header())
			}
		})
	}
	t.Run("preflight", func(t *testing.T) {
		t.Parallel()
		w := httptest.NewRecorder()
		a.ServeHTTP(w, request("OPTIONS", "/graphql", "", "", "Origin", "https://example.com", "Access-Control-Request-Method", "POST"))
		if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Headers") == "" {
			t.Errorf("status %d, headers %v", w.Code, w.Header())
		}
	})
}

func jsonUnmarshal(raw []byte, v any) error { return json.Unmarshal(raw, v) }

// TestDatabaseErrorsAreNotShown breaks tables behind the API's back.
func TestDatabaseErrorsAreNotShown(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	var log bytes.Buffer
	var mu sync.Mutex
	a := w.api(t, Config{Log: zerolog.New(zerolog.SyncWriter(lockedWriter{&mu, &log}))})
	if _, err := w.write.Exec(t.Context(), "alter table records.com_myrecipes_review drop column rating"); err != nil {
		t.Fatal(err)
	}
	const list = `{good: comMyrecipesRecipeByUri(uri: "at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/com.myrecipes.recipe/3kaaaaaaaaa01") {title}
		bad: comMyrecipesReviewByUri(uri: "at://did:plc:bobbbbbbbbbbbbbbbbbbbbbb/com.myrecipes.review/3kbbbbbbbbb01") {rating}
		after: comMyrecipesRecipe(first: 1, sortBy: [{field: sortAt}]) {edges {node {title}}}}`
	got := post(t, a, list, nil)
	want := `{"good":{"title":"Borscht"},"bad":null,"after":{"edges":[{"node":{"title":"Borscht"}}]}}`
	if string(got.Data) != want || got.code() != codeInternal || fmt.Sprint(got.Errors[0].Path) != "[bad]" {
		t.Errorf("answered %s", got.body)
	}
	if strings.Contains(got.body, "rating") || strings.Contains(got.body, "column") || strings.Contains(got.body, "select") {
		t.Errorf("the answer tells of the database: %s", got.body)
	}
	mu.Lock()
	if !strings.Contains(log.String(), "rating") {
		t.Errorf("the log does not tell of it: %s", log.String())
	}
	mu.Unlock()
	// What must not be null takes all with it.
	got = post(t, a, `{good: comMyrecipesRecipe(first: 1) {totalCount} bad: comMyrecipesReview {edges {node {rating}}}}`, nil)
	if string(got.Data) != "null" || got.code() != codeInternal || fmt.Sprint(got.Errors[0].Path) != "[bad]" {
		t.Errorf("answered %s", got.body)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// TestAggregatesThatTakeTooLong leave the records there.
func TestAggregatesThatTakeTooLong(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	config, err := PoolConfig(w.url, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	a, err := New(w.cat, pool, Config{Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := w.write.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "lock table atview.actor"); err != nil {
		t.Fatal(err)
	}
	got := post(t, a, `{l: comMyrecipesReview(first: 1) {edges {node {rating}} of: aggregate {min(field: actorHandle)} totalCount}
		g: comMyrecipesReviewAggregated(groupBy: {field: actorHandle}) {count}}`, nil)
	const want = `{"l":{"edges":[{"node":{"rating":2}}],"of":null,"totalCount":null},"g":null}`
	if string(got.Data) != want {
		t.Errorf("answered %s", got.body)
	}
	var paths []string
	for _, e := range got.Errors {
		paths = append(paths, fmt.Sprint(e.Path, e.Extensions["code"]))
	}
	if fmt.Sprint(paths) != "[[l of]TIMEOUT [l totalCount]TIMEOUT [g]TIMEOUT]" {
		t.Errorf("errors at %v", paths)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestTimeouts has a lock hold a statement up.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	config, err := PoolConfig(w.url, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	a, err := New(w.cat, pool, Config{Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := w.write.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "lock table records.com_myrecipes_review"); err != nil {
		t.Fatal(err)
	}
	got := post(t, a, `{good: comMyrecipesRecipeByUri(uri: "at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/com.myrecipes.recipe/3kaaaaaaaaa01") {title}
		slow: comMyrecipesReviewByUri(uri: "at://did:plc:bobbbbbbbbbbbbbbbbbbbbbb/com.myrecipes.review/3kbbbbbbbbb01") {rating}}`, nil)
	if got.code() != codeTimeout || !strings.Contains(got.Errors[0].Message, "too long") || string(got.Data) != `{"good":{"title":"Borscht"},"slow":null}` {
		t.Errorf("answered %s", got.body)
	}

	// A client that hangs up ends its query.
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(`{"query":"{comMyrecipesReview {totalCount}}"}`))
	r.Header.Set("Content-Type", "application/json")
	cancel()
	rec := httptest.NewRecorder()
	a.ServeHTTP(rec, r)
	if !strings.Contains(rec.Body.String(), codeTimeout) {
		t.Errorf("answered %s", rec.Body)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	post(t, a, `{comMyrecipesReview {totalCount}}`, nil).data(t, &out)
}

func TestConnectionsCanOnlyRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, load(t, t.TempDir()))
	if _, err := w.read.Exec(t.Context(), "create table x ()"); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a write gives %v", err)
	}
	settings := map[string]string{"timezone": "UTC", "jit": "off", "statement_timeout": "10s", "max_parallel_workers_per_gather": "0"}
	for name, want := range settings {
		var got string
		if err := w.read.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, want %s (%v)", name, got, want, err)
		}
	}
}

// TestSwap exchanges the catalog while requests are running.
func TestSwap(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	a := w.api(t, Config{})
	all := testCatalog(t)
	few, err := all.Select("com.myrecipes.*")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				var out map[string]any
				post(t, a, `{comMyrecipesRecipe(first: 1) {edges {node {title comMyrecipesReviewViaSubject {totalCount}}}}}`, nil).data(t, &out)
			}
		})
	}
	for i := range 10 {
		if err := a.Swap([]*schema.Catalog{all, few}[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if err := a.Swap(few); err != nil {
		t.Fatal(err)
	}
	if got := post(t, a, `{appBskyFeedPost {totalCount}}`, nil); got.code() != "GRAPHQL_VALIDATION_FAILED" {
		t.Errorf("a collection that is gone: %s", got.body)
	}
	if err := a.Swap(all); err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	post(t, a, `{appBskyFeedPost {totalCount}}`, nil).data(t, &out)
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	off, err := New(testCatalog(t), nil, Config{NoIntrospection: true})
	if err != nil {
		t.Fatal(err)
	}
	got := post(t, off, `{__schema {queryType {name}}}`, nil)
	if got.code() != codeOff || string(got.Data) != "null" {
		t.Errorf("switched off, it answers %s", got.body)
	}
	if got := post(t, off, `{__type(name: "Query") {name}}`, nil); got.code() != codeOff || string(got.Data) != `{"__type":null}` {
		t.Errorf("switched off, it answers %s", got.body)
	}
	if got := post(t, off, `{__typename}`, nil); string(got.Data) != `{"__typename":"Query"}` {
		t.Errorf("__typename is no introspection: %s", got.body)
	}
	on, err := New(testCatalog(t), nil, Config{})
	if err != nil {
		t.Fatal(err)
	}
	const query = `query($n: String!) {t: __type(name: $n) {kind name __typename specifiedByURL isOneOf ofType {name} interfaces {name} possibleTypes {name} enumValues(includeDeprecated: true) {name isDeprecated} fields {name} inputFields {name defaultValue}} none: __type(name: "Nothing") {name}}`
	tests := map[string]string{
		"SortDirection":                    `{"t":{"kind":"ENUM","name":"SortDirection","__typename":"__Type","specifiedByURL":null,"isOneOf":null,"ofType":null,"interfaces":null,"possibleTypes":null,"enumValues":[{"name":"ASC","isDeprecated":false},{"name":"DESC","isDeprecated":false}],"fields":null,"inputFields":null},"none":null}`,
		"PageInfo":                         `{"t":{"kind":"OBJECT","name":"PageInfo","__typename":"__Type","specifiedByURL":null,"isOneOf":null,"ofType":null,"interfaces":[],"possibleTypes":null,"enumValues":null,"fields":[{"name":"hasNextPage"},{"name":"hasPreviousPage"},{"name":"startCursor"},{"name":"endCursor"}],"inputFields":null},"none":null}`,
		"ComMyrecipesReviewSortFieldInput": `{"t":{"kind":"INPUT_OBJECT","name":"ComMyrecipesReviewSortFieldInput","__typename":"__Type","specifiedByURL":null,"isOneOf":false,"ofType":null,"interfaces":null,"possibleTypes":null,"enumValues":null,"fields":null,"inputFields":[{"name":"field","defaultValue":null},{"name":"direction","defaultValue":"ASC"}]},"none":null}`,
		"ComExampleEverythingClosed":       `{"t":{"kind":"UNION","name":"ComExampleEverythingClosed","__typename":"__Type","specifiedByURL":null,"isOneOf":null,"ofType":null,"interfaces":null,"possibleTypes":[{"name":"ComExampleEverythingInner"},{"name":"ComExampleEverythingLeaf"}],"enumValues":null,"fields":null,"inputFields":null},"none":null}`,
	}
	for name, want := range tests {
		for range 2 {
			if got := post(t, on, query, map[string]any{"n": name}); string(got.Data) != want {
				t.Errorf("%s:\n%s\nwant\n%s", name, got.body, want)
			}
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := New(testCatalog(t), nil, Config{MaxPage: -1, Joins: "some", JoinGlobs: []string{"["}, BlobURL: "https://example.com"})
	for _, fault := range []string{"MaxPage is negative", `joins "some"`, `join glob "["`, "lacks {cid}"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%v does not tell of %s", err, fault)
		}
	}
}

// TestCostlyTexts are short texts that were made to keep the server busy.
func TestCostlyTexts(t *testing.T) {
	t.Parallel()
	a, err := New(load(t, shared(t, "lexicons")), nil, Config{})
	if err != nil {
		t.Fatal(err)
	}
	numbered := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "#", fmt.Sprint(i)))
		}
		return b.String()
	}
	not := func(n int) string { return strings.Repeat("{not: ", n) + "{}" + strings.Repeat("}", n) }
	tests := map[string]struct {
		query string
		vars  any
	}{
		"one field again and again":         {"{" + strings.Repeat("__typename ", 9990) + "}", nil},
		"one name again and again":          {"{" + strings.Repeat("a: __typename ", 3300) + "}", nil},
		"one list again and again":          {"{" + strings.Repeat("comMyrecipesRecipe {totalCount} ", 2400) + "}", nil},
		"fields that do not exist":          {"{" + numbered(3000, "comMyrecipesRecipe# ") + "}", nil},
		"fragments that do not end":         {"{...F0}" + numbered(600, " fragment F# on Query {...F1 ...F2 __typename}"), nil},
		"many fragments":                    {"{" + numbered(900, "...F# ") + "}" + numbered(900, " fragment F# on Query {x#: __typename}"), nil},
		"deep conditions":                   {"{comMyrecipesRecipe(where: " + not(2400) + ") {totalCount}}", nil},
		"deep conditions in a default":      {"query($w: ComMyrecipesRecipeWhereInput = " + not(2400) + ") {comMyrecipesRecipe(where: $w) {totalCount}}", nil},
		"deep conditions in a variable":     {"query($w: ComMyrecipesRecipeWhereInput) {comMyrecipesRecipe(where: $w) {totalCount}}", map[string]any{"w": json.RawMessage(strings.Repeat(`{"not":`, 5000) + "{}" + strings.Repeat("}", 5000))}},
		"many conditions":                   {"query($w: [ComMyrecipesRecipeWhereInput!]) {comMyrecipesRecipe(where: {or: $w}) {totalCount}}", map[string]any{"w": json.RawMessage("[" + strings.Repeat(`{"title":{"eq":"a"}},`, 20000) + `{"title":{"eq":"a"}}]`)}},
		"large answers about the schema":    {"{__schema {types {fields {args {type {inputFields {" + numbered(50, "a#: name b#: description ") + "}}}}}}}", nil},
		"nested questions about the schema": {"{__schema {types {fields {type {fields {type {fields {name}}}}}}}}", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			got := post(t, a, test.query, test.vars)
			if len(got.Errors) == 0 || got.code() == codeInternal {
				t.Errorf("answered %s", got.body[:min(len(got.body), 300)])
			}
			if took := time.Since(start); took > slower*3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestAnswersAreBounded: also when few records are asked for in many names.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	a := w.api(t, Config{MaxAnswer: 10_000})
	for name, query := range map[string]string{
		"rows":          `{comMyrecipesRecipe {edges {node {record title description ingredients steps}}} appBskyFeedPost {edges {node {record facets {index {byteStart}} embed {__typename}}}} comExampleEverything {edges {node {record inner {text} inners {text} opens {__typename} uri cid rev did text}}} comMyrecipesReview {edges {node {record}}}}`,
		"names":         `{comExampleEverything(where: {rkey: {eq: "1"}}) {edges {node {` + numberedAliases(200, "record") + `}}}}`,
		"introspection": `{__schema {types {name description fields {name description}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				if got := post(t, a, query, nil); got.code() != codeAnswer || string(got.Data) != "null" {
					t.Errorf("answered %d bytes, code %s", len(got.body), got.code())
				}
			}
		})
	}
	t.Run("afterwards", func(t *testing.T) {
		t.Parallel()
		var out map[string]any
		post(t, a, `{comMyrecipesRecipe {totalCount}}`, nil).data(t, &out)
	})
}

func numberedAliases(n int, field string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d: %s ", i, field)
	}
	return b.String()
}

// TestPersistedQueries sends a text once and its hash from then on, also after
// the schema has changed.
func TestPersistedQueries(t *testing.T) {
	t.Parallel()
	w := smallWorld(t)
	a := w.api(t, Config{})
	const query = `{comMyrecipesRecipe(first: 1) {totalCount}}`
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(query)))
	extensions := url.QueryEscape(`{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}`)
	ask := func(text string) answer {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/graphql?extensions="+extensions+"&query="+url.QueryEscape(text), nil)
		return serve(t, a, r)
	}
	if got := ask(""); got.code() != "PERSISTED_QUERY_NOT_FOUND" {
		t.Errorf("an unknown hash: %s", got.body)
	}
	for _, text := range []string{query, "", ""} {
		if got := ask(text); string(got.Data) != `{"comMyrecipesRecipe":{"totalCount":7}}` {
			t.Errorf("answered %s", got.body)
		}
		if err := a.Swap(w.cat); err != nil {
			t.Fatal(err)
		}
	}
}
