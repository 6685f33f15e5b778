package graphql

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

const benchQuery = `query Newest($n: Int) {
  comMyrecipesRecipe(first: $n) {
    edges {
      node {
        uri title createdAt servings tags
        appBskyActorProfileByDid { displayName }
        comMyrecipesReviewViaSubject(first: 3) { totalCount edges { node { rating text createdAt did } } }
      }
    }
  }
}`

// handSQL is what one would write for benchQuery by hand.
const handSQL = `
select json_build_object('data', json_build_object('comMyrecipesRecipe', json_build_object('edges', coalesce(json_agg(json_build_object('node', json_build_object(
  'uri', r.uri, 'title', r.title, 'createdAt', to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'servings', r.servings, 'tags', r.tags,
  'appBskyActorProfileByDid', case when p.did is not null then json_build_object('displayName', p.display_name) end,
  'comMyrecipesReviewViaSubject', json_build_object(
    'totalCount', coalesce((select n.records from atview.link_count n where n.target = r.uri and n.collection = 'com.myrecipes.review' and n.path = 'subject.uri'), 0),
    'edges', (select coalesce(json_agg(json_build_object('node', json_build_object('rating', v.rating, 'text', v.text, 'createdAt', to_char(v.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'did', v.did)) order by v.sort_at desc, v.rkey desc), '[]')
      from (select * from records.com_myrecipes_review v where v.subject_uri = r.uri and not v.hidden order by v.sort_at desc, v.rkey desc, v.did desc limit 3) v))
)) order by r.sort_at desc, r.rkey desc), '[]'))))
from (select *, 'at://' || did || '/com.myrecipes.recipe/' || rkey as uri from records.com_myrecipes_recipe where not hidden order by sort_at desc, rkey desc, did desc limit 50) r
left join records.app_bsky_actor_profile p on p.rkey = 'self' and p.did = r.did and not p.hidden`

// BenchmarkPage asks for 50 recipes, each with its author, its number of
// reviews and the three newest of them, and compares with hand-written SQL of
// which Postgres makes all of the JSON.
func BenchmarkPage(b *testing.B) {
	compareWithHand(b, benchQuery, map[string]any{"n": 50}, handSQL)
}

const aggregateQuery = `query Rated($n: Int) {
  comMyrecipesRecipe(first: $n) {
    edges { node { uri title comMyrecipesReviewViaSubject { aggregate { count avg(field: rating) } } } }
  }
}`

// aggregateSQL is what one would write for aggregateQuery by hand.
const aggregateSQL = `
select json_build_object('data', json_build_object('comMyrecipesRecipe', json_build_object('edges', coalesce(json_agg(json_build_object('node', json_build_object(
  'uri', r.uri, 'title', r.title,
  'comMyrecipesReviewViaSubject', json_build_object('aggregate', json_build_object('count', v.count, 'avg', v.avg))
)) order by r.sort_at desc, r.rkey desc), '[]'))))
from (select *, 'at://' || did || '/com.myrecipes.recipe/' || rkey as uri from records.com_myrecipes_recipe where not hidden order by sort_at desc, rkey desc, did desc limit 50) r
cross join lateral (select count(*), avg(rating)::float8 from records.com_myrecipes_review v where v.subject_uri = r.uri and not v.hidden) v`

// BenchmarkAggregates asks for 50 recipes, each with the number and the average
// of its reviews. One of them has a thousand.
func BenchmarkAggregates(b *testing.B) {
	compareWithHand(b, aggregateQuery, map[string]any{"n": 50}, aggregateSQL)
}

const groupsQuery = `{ comMyrecipesReviewAggregated(groupBy: [{field: createdAt, interval: DAY}]) { createdAt count avg(field: rating) } }`

// groupsSQL is what one would write for groupsQuery by hand.
const groupsSQL = `
select json_build_object('data', json_build_object('comMyrecipesReviewAggregated', json_agg(g)))
from (select to_char(created_at at time zone 'UTC', 'YYYY-MM-DD') as "createdAt", count(*), avg(rating)::float8
  from records.com_myrecipes_review where not hidden group by 1 order by count(*) desc, 1 limit 100) g`

// BenchmarkGroups counts 20,000 reviews by day.
func BenchmarkGroups(b *testing.B) {
	compareWithHand(b, groupsQuery, nil, groupsSQL)
}

// compareWithHand measures a query against SQL that gives the same answer.
func compareWithHand(b *testing.B, query string, variables map[string]any, sql string) {
	b.Helper()
	w := bigWorld(b)
	a := w.api(b, Config{})
	hand := http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			b.Error(err)
		}
		rows, err := w.read.Query(r.Context(), sql)
		if err != nil {
			b.Error(err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			if _, err := out.Write(rows.RawValues()[0]); err != nil {
				b.Error(err)
			}
		}
		if rows.Err() != nil {
			b.Error(rows.Err())
		}
	})
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		b.Fatal(err)
	}
	ask := func(h http.Handler) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/graphql", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	var ours, theirs any
	for v, h := range map[*any]http.Handler{&ours: a, &theirs: hand} {
		if err := json.Unmarshal(ask(h).Body.Bytes(), v); err != nil {
			b.Fatal(err)
		}
	}
	if !reflect.DeepEqual(ours, theirs) {
		b.Fatal("the two do not give the same answer")
	}
	// In turns, so that what else the machine does weighs on both.
	b.Run("in turns", func(b *testing.B) {
		var took [2]time.Duration
		n := 0
		for b.Loop() {
			for i, h := range []http.Handler{a, hand} {
				start := time.Now()
				ask(h)
				took[i] += time.Since(start)
			}
			n++
		}
		b.ReportMetric(float64(took[0].Microseconds())/float64(n), "µs/atview")
		b.ReportMetric(float64(took[1].Microseconds())/float64(n), "µs/hand")
		b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "times_hand")
	})
	for name, h := range map[string]http.Handler{"atview": a, "hand": hand} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ask(h)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// BenchmarkByURI is the least that a request can ask for: what is left is the
// cost of GraphQL.
func BenchmarkByURI(b *testing.B) {
	w := bigWorld(b)
	a := w.api(b, Config{})
	body := `{"query":"query($u: String!) { comMyrecipesRecipeByUri(uri: $u) { title servings createdAt } }","variables":{"u":"at://did:plc:author1/com.myrecipes.recipe/3k00000020000"}}`
	b.Run("atview", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/graphql", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			a.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
	b.Run("pgx alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var title, servings, created string
			err := w.read.QueryRow(b.Context(), `select title, servings::text, created_at::text from records.com_myrecipes_recipe where rkey = $1 and did = $2 and not hidden`,
				"3k00000020000", "did:plc:author1").Scan(&title, &servings, &created)
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
