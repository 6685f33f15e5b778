package graphql

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/validator"
)

const bigRows = 20_000

// bigWorld has 20,000 recipes of 2,000 authors, with three reviews each for
// some and one with a thousand, made in SQL as the fold would write them.
func bigWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, testCatalog(t))
	statements := []string{
		`insert into atview.actor (did, handle) select 'did:plc:author' || i, 'author' || i || '.example.com' from generate_series(1, 2000) i`,
		`insert into records.app_bsky_actor_profile (rkey, did, cid, rev, indexed_at, sort_at, record, display_name, description)
		 select 'self', 'did:plc:author' || i, 'bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4', '3k', now(), now(),
		   jsonb_build_object('$type', 'app.bsky.actor.profile', 'displayName', 'Author ' || i, 'description', repeat('About me. ', 10)), 'Author ' || i, repeat('About me. ', 10)
		 from generate_series(1, 2000) i`,
		fmt.Sprintf(`insert into records.com_myrecipes_recipe (rkey, did, cid, rev, indexed_at, sort_at, record, title, description, servings, cuisine, difficulty, ingredients, steps, tags, created_at)
		 select '3k' || lpad(i::text, 11, '0'), 'did:plc:author' || 1 + i %% 2000, 'bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4', '3k', at, at,
		   jsonb_build_object('$type', 'com.myrecipes.recipe', 'title', 'Recipe ' || i, 'description', repeat('Tasty. ', 20), 'servings', i %% 8, 'cuisine', 'Cuisine ' || i %% 20,
		     'ingredients', to_jsonb(i1), 'steps', to_jsonb(s1), 'tags', to_jsonb(t1), 'createdAt', at),
		   'Recipe ' || i, repeat('Tasty. ', 20), i %% 8, 'Cuisine ' || i %% 20, 'easy', i1, s1, t1, at
		 from generate_series(1, %d) i,
		   lateral (select '2025-01-01'::timestamptz + i * interval '1 minute' as at, array['salt', 'pepper', 'flour'] as i1, array['mix', 'bake'] as s1, array['tag' || i %% 50] as t1) v`, bigRows),
		fmt.Sprintf(`insert into records.com_myrecipes_review (rkey, did, cid, rev, indexed_at, sort_at, record, subject_uri, subject_cid, rating, text, created_at)
		 select '3r' || lpad(i::text, 11, '0'), 'did:plc:author' || 1 + i * 7 %% 2000, 'bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4', '3k', at, at,
		   jsonb_build_object('$type', 'com.myrecipes.review', 'subject', jsonb_build_object('uri', uri, 'cid', cid), 'rating', 1 + i %% 5, 'text', repeat('Well. ', 15), 'createdAt', at),
		   uri, cid, 1 + i %% 5, repeat('Well. ', 15), at
		 from generate_series(1, %[1]d) i,
		   lateral (select '2025-02-01'::timestamptz + i * interval '1 minute' as at, 'bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4' as cid,
		     case when i %% 20 = 0 then %[1]d else %[1]d - i / 3 end as r) v,
		   lateral (select 'at://did:plc:author' || 1 + r %% 2000 || '/com.myrecipes.recipe/3k' || lpad(r::text, 11, '0') as uri) u`, bigRows),
		`insert into atview.link_count select subject_uri, 'com.myrecipes.review', 'subject.uri', count(*), count(distinct did) from records.com_myrecipes_review group by 1`,
		// Some have nothing to sort by, and there is an index that an operator made.
		`update records.com_myrecipes_recipe set created_at = null, record = record - 'createdAt' where rkey like '%77'`,
		`create index on records.com_myrecipes_recipe (created_at)`,
		`vacuum full records.com_myrecipes_recipe`,
		`vacuum analyze`,
	}
	for _, sql := range statements {
		if _, err := w.write.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	return w
}

// planNode is what matters of EXPLAIN's answer.
type planNode struct {
	Type    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Index   string  `json:"Index Name"`
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Removed float64 `json:"Rows Removed by Filter"`
	Plans   []planNode
}

// touched is the most rows that a node of the plan has to do with.
func (n planNode) touched() (rows float64, where string) {
	rows, where = (n.Rows+n.Removed)*n.Loops, n.Type+" "+n.Table+" "+n.Index
	for _, inner := range n.Plans {
		if more, at := inner.touched(); more > rows {
			rows, where = more, at
		}
	}
	return rows, where
}

// TestListsUseIndexes has Postgres explain what it does for the usual lists: no
// step may touch more than a few pages' rows of tables of 20,000, whether the
// plan is made for the values or for any.
func TestListsUseIndexes(t *testing.T) {
	t.Parallel()
	w := bigWorld(t)
	middle := func(o order, values ...string) string {
		c := cursor{Order: o.fingerprint}
		for _, v := range values {
			c.Values = append(c.Values, &v)
		}
		raw, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	newest := (&compiler{m: newModel(w.cat, Config{})}).order(w.cat.Collection("com.myrecipes.recipe"), input{})
	reviews := (&compiler{m: newModel(w.cat, Config{})}).order(w.cat.Collection("com.myrecipes.review"), input{})
	at := middle(newest, "2025-01-07 00:00:00+00", "3k00000008640", "did:plc:author641")
	created := middle(order{fingerprint: fingerprint("com.myrecipes.recipe", `"created_at"`, "true", "rkey", "true", "did", "true")},
		"2025-01-07 00:00:00+00", "3k00000008640", "did:plc:author641")
	const popular = "at://did:plc:author1/com.myrecipes.recipe/3k00000020000"
	tests := map[string]string{
		"newest":                   `{l: comMyrecipesRecipe {edges {cursor node {title}}}}`,
		"after a cursor":           `{l: comMyrecipesRecipe(after: "` + at + `") {edges {node {title}}}}`,
		"before a cursor":          `{l: comMyrecipesRecipe(last: 50, before: "` + at + `") {edges {node {title}}}}`,
		"between pages":            `{l: comMyrecipesRecipe(after: "` + at + `") {edges {node {title}} pageInfo {hasPreviousPage}}}`,
		"oldest":                   `{l: comMyrecipesRecipe(last: 50) {edges {node {title}}}}`,
		"oldest, sorted":           `{l: comMyrecipesRecipe(sortBy: [{field: sortAt}]) {edges {node {title}}}}`,
		"by creation, newest":      `{l: comMyrecipesRecipe(sortBy: [{field: createdAt, direction: DESC}]) {edges {node {title}}}}`,
		"by creation, oldest":      `{l: comMyrecipesRecipe(sortBy: [{field: createdAt}]) {edges {node {title}}}}`,
		"by creation, unknown":     `{l: comMyrecipesRecipe(last: 50, sortBy: [{field: createdAt}]) {edges {node {title}}}}`,
		"by creation, page":        `{l: comMyrecipesRecipe(first: 50, after: "` + created + `", sortBy: [{field: createdAt, direction: DESC}]) {edges {node {title}} pageInfo {hasNextPage hasPreviousPage}}}`,
		"by creation, page back":   `{l: comMyrecipesRecipe(last: 50, before: "` + created + `", sortBy: [{field: createdAt, direction: DESC}]) {edges {node {title}} pageInfo {hasNextPage hasPreviousPage}}}`,
		"by key":                   `{l: comMyrecipesRecipe(sortBy: [{field: rkey}]) {edges {node {title}}}}`,
		"of an account":            `{l: comMyrecipesRecipe(where: {did: {eq: "did:plc:author7"}}) {totalCount edges {node {title}}}}`,
		"of accounts":              `{l: comMyrecipesRecipe(where: {did: {in: ["did:plc:author7", "did:plc:author8"]}}) {totalCount edges {node {title}}}}`,
		"of a handle":              `{l: comMyrecipesRecipe(where: {actorHandle: {eq: "author7.example.com"}}) {totalCount edges {node {title}}}}`,
		"by URI":                   `{l: comMyrecipesRecipe(where: {uri: {eq: "` + popular + `"}}) {totalCount edges {node {title}}}}`,
		"by URIs":                  `{l: comMyrecipesRecipe(where: {uri: {in: ["` + popular + `", "at://did:plc:author3/com.myrecipes.recipe/3k00000004002"]}}) {totalCount edges {node {title}}}}`,
		"one by URI":               `{r: comMyrecipesRecipeByUri(uri: "` + popular + `") {title}}`,
		"one by handle":            `{r: comMyrecipesRecipeByUri(uri: "at://author1.example.com/com.myrecipes.recipe/3k00000020000") {title}}`,
		"linking to a record":      `{l: comMyrecipesReview(where: {subject: {uri: {eq: "` + popular + `"}}}) {edges {node {rating}}}}`,
		"newest of many":           `{r: comMyrecipesRecipeByUri(uri: "` + popular + `") {comMyrecipesReviewViaSubject(first: 3) {edges {node {rating}}}}}`,
		"oldest of many":           `{r: comMyrecipesRecipeByUri(uri: "` + popular + `") {comMyrecipesReviewViaSubject(last: 3) {edges {node {rating}} pageInfo {hasPreviousPage}}}}`,
		"pages of many":            `{r: comMyrecipesRecipeByUri(uri: "` + popular + `") {comMyrecipesReviewViaSubject(first: 3, after: "` + middle(reviews, "2025-02-08 00:00:00+00", "3r00000010000", "did:plc:author1") + `") {edges {node {rating}} pageInfo {hasPreviousPage hasNextPage}}}}`,
		"linking, after a cursor":  `{r: comMyrecipesRecipeByUri(uri: "` + popular + `") {comMyrecipesReviewViaSubject(first: 5) {totalCount pageInfo {hasNextPage} edges {cursor node {rating}}}}}`,
		"joins on a page":          `{l: comMyrecipesRecipe(first: 20) {edges {node {title actorHandle appBskyActorProfileByDid {displayName} comMyrecipesReviewViaSubject(first: 3) {totalCount edges {node {rating appBskyActorProfileByDid {displayName} subjectResolved {... on ComMyrecipesRecipe {title}}}}} comMyrecipesRecipeByDid(first: 2) {edges {node {title}}}}}}}`,
		"aggregates on a page":     `{l: comMyrecipesRecipe(where: {did: {in: ["did:plc:author7", "did:plc:author8"]}}) {edges {node {title comMyrecipesReviewViaSubject {aggregate {count avg(field: rating) max(field: createdAt)}} comMyrecipesRecipeByDid {aggregate {sum(field: servings)}}}}}}`,
		"aggregates of an account": `{l: comMyrecipesRecipe(where: {did: {eq: "did:plc:author7"}}) {aggregate {count avg(field: servings)}}}`,
		"a common value":           `{l: comMyrecipesRecipe(where: {cuisine: {in: ["Cuisine 3", "Cuisine 4", "Cuisine 5", "Cuisine 6"]}}) {edges {node {title}}}}`,
		"any record":               `{r: record(uri: "` + popular + `") {... on ComMyrecipesRecipe {title} ... on ComMyrecipesReview {rating}}}`,
		"an account":               `{actor(handle: "author7.example.com") {comMyrecipesRecipeByDid {totalCount edges {node {title}}} appBskyActorProfileByDid {displayName}}}`,
	}
	for name, query := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, s := range statementsOf(t, w, query) {
				for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
					plan := explain(t, w, mode, s)
					if rows, where := plan.touched(); rows > 500 {
						text, _ := json.MarshalIndent(plan, "", " ")
						t.Errorf("%s: statement %d touches %.0f rows in %s\n%s\n%s", mode, i, rows, where, s.sql, text)
					}
				}
			}
		})
	}
}

type bound struct {
	sql  string
	args []any
}

// statementsOf is what a query comes to, without variables.
func statementsOf(t testing.TB, w *world, query string) []bound {
	t.Helper()
	cfg, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(w.cat, cfg)
	if err := m.validated(); err != nil {
		t.Fatal(err)
	}
	doc, errs := gqlparser.LoadQueryWithRules(m.schema, query, validationRules())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	vars, err := validator.VariableValues(m.schema, doc.Operations[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	p, failed := compile(m, &cfg, doc, doc.Operations[0], vars)
	if failed != nil {
		t.Fatal(failed)
	}
	var out []bound
	for _, f := range p.fields {
		for _, s := range []*statement{f.rows, f.extra} {
			if s == nil {
				continue
			}
			args, failed := s.bind(vars)
			if failed != nil {
				t.Fatal(failed)
			}
			out = append(out, bound{s.sql, args})
		}
	}
	return out
}

func explain(t *testing.T, w *world, mode string, s bound) planNode {
	t.Helper()
	conn, err := w.read.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	text := make([]string, len(s.args))
	for i, arg := range s.args {
		text[i] = sqlText(arg)
	}
	args := ""
	if len(text) > 0 {
		args = "(" + strings.Join(text, ", ") + ")"
	}
	var raw []byte
	for _, sql := range []string{"set plan_cache_mode = " + mode, "prepare p as " + s.sql} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	if err := conn.QueryRow(t.Context(), "explain (analyze, costs off, timing off, format json) execute p"+args).Scan(&raw); err != nil {
		t.Fatalf("%v\n%s", err, s.sql)
	}
	if _, err := conn.Exec(t.Context(), "deallocate p"); err != nil {
		t.Fatal(err)
	}
	var out []struct{ Plan planNode }
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out[0].Plan
}

func sqlText(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case time.Time:
		return "'" + v.Format(time.RFC3339Nano) + "'"
	case []string:
		all := make([]string, len(v))
		for i, s := range v {
			all[i] = sqlText(s)
		}
		return "array[" + strings.Join(all, ", ") + "]::text[]"
	}
	return fmt.Sprint(v)
}
