package graphql

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atview/atview/schema"
)

// shared gives a path in the corpus of real lexicons, which is not part of the
// repository.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	p := filepath.Join(append([]string{"..", "..", "shared"}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("needs the shared corpus: %s is absent", p)
	}
	return p
}

func load(t testing.TB, dirs ...string) *schema.Catalog {
	t.Helper()
	cat, err := schema.Load(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func TestSDL(t *testing.T) {
	t.Parallel()
	t.Run("examples", func(t *testing.T) {
		t.Parallel()
		golden(t, "testdata/examples.sdl", SDL(load(t, "../lexicons"), Config{}))
	})
	t.Run("odd lexicons", func(t *testing.T) {
		t.Parallel()
		golden(t, "testdata/odd.sdl", SDL(load(t, "testdata/lexicons", "../lexicons/com/atproto"), Config{}))
	})
	t.Run("real lexicons", func(t *testing.T) {
		t.Parallel()
		cat, err := load(t, shared(t, "lexicons", "bluesky"), shared(t, "lexicons", "statusphere"), shared(t, "lexicons", "leaflet")).
			Select("app.bsky.feed.post", "app.bsky.feed.threadgate", "app.bsky.graph.list*", "xyz.statusphere.*", "pub.leaflet.*")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/real.sdl", SDL(cat, Config{}))
	})
	t.Run("no lexicons", func(t *testing.T) {
		t.Parallel()
		if err := newModel(load(t, t.TempDir()), Config{}).validated(); err != nil {
			t.Error(err)
		}
	})
}

func TestJoinsAreBounded(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	start := time.Now()
	sdl := SDL(cat, Config{})
	took := time.Since(start)
	for range 2 { // the other tests of this machine do not count
		start = time.Now()
		SDL(cat, Config{})
		took = min(took, time.Since(start))
	}
	if took > slower*2*time.Second {
		t.Errorf("SDL of %d collections took %v", len(cat.Collections), took)
	}
	if again := SDL(load(t, shared(t, "lexicons")), Config{}); again != sdl {
		t.Error("the same lexicons gave another SDL")
	}
	modes := []struct {
		name string
		cfg  Config
		mode Joins
		max  int
		has  map[string]bool // `type.field`
	}{
		{"auto", Config{}, JoinsRelated, maxJoinFields, map[string]bool{
			"AppBskyFeedPost.appBskyFeedLikeViaSubject":    true, // one authority
			"PubLeafletDocument.appBskyFeedLikeViaSubject": false,
			"PubLeafletDocument.appBskyActorProfileByDid":  true,  // a singleton
			"AppBskyActorProfile.appBskyActorProfileByDid": false, // itself
		}},
		{"globs", Config{JoinGlobs: []string{"pub.leaflet.d*"}}, JoinsRelated, maxJoinFields + 2000, map[string]bool{
			"PubLeafletDocument.appBskyFeedLikeViaSubject":    true,
			"AppBskyFeedPost.pubLeafletDocumentByDid":         true,
			"PubLeafletPublication.appBskyFeedLikeViaSubject": false,
		}},
		{"all", Config{Joins: JoinsAll}, JoinsAll, 200_000, map[string]bool{"PubLeafletPublication.appBskyFeedLikeViaSubject": true}},
	}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			m := newModel(cat, mode.cfg)
			if err := m.validated(); err != nil {
				t.Fatal(err)
			}
			if m.mode != mode.mode || m.fields > mode.max {
				t.Errorf("mode %s with %d fields", m.mode, m.fields)
			}
			for name, want := range mode.has {
				typ, field, _ := strings.Cut(name, ".")
				if got := m.schema.Types[typ].Fields.ForName(field) != nil; got != want {
					t.Errorf("%s: %t, want %t", name, got, want)
				}
			}
		})
	}
	few := newModel(load(t, "../lexicons"), Config{})
	if few.mode != JoinsAll {
		t.Errorf("a few collections are joined by mode %s", few.mode)
	}
}

// graphqlJS runs a script with GraphQL's reference implementation.
func graphqlJS(t *testing.T, script string, files ...string) []byte {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs Node.js: node is not in the PATH")
	}
	home := ""
	for _, dir := range []string{filepath.Join("..", "web"), filepath.Join(cacheDir(t), "graphql-js")} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", "graphql", "package.json")); err == nil {
			home = dir
			break
		}
	}
	if home == "" {
		npm, err := exec.LookPath("npm")
		if err != nil {
			t.Skip("needs the npm package graphql: run `npm ci` in web")
		}
		home = filepath.Join(cacheDir(t), "graphql-js")
		if out, err := exec.CommandContext(t.Context(), npm, "install", "--no-audit", "--no-fund", "--prefix", home, "graphql@16").CombinedOutput(); err != nil {
			t.Skipf("needs the npm package graphql, which npm could not install: %s", out)
		}
	}
	home, err = filepath.Abs(home)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "script.js")
	text := "const graphql = require(" + quoteGraphQL(filepath.Join(home, "node_modules", "graphql")) + "), fs = require('fs'), args = process.argv.slice(2);\n" + script
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{file}, files...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func cacheDir(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no cache folder: %v", err)
	}
	return filepath.Join(dir, "atview")
}

// TestReferenceImplementationAgrees has GraphQL's reference implementation
// read the SDL and the answer to its own introspection query, which must be the
// same schema.
func TestReferenceImplementationAgrees(t *testing.T) {
	t.Parallel()
	catalogs := map[string]func(t *testing.T) *schema.Catalog{
		"examples": func(t *testing.T) *schema.Catalog { return testCatalog(t) },
		"corpus":   func(t *testing.T) *schema.Catalog { return load(t, shared(t, "lexicons")) },
	}
	for name, catalog := range catalogs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cat, dir := catalog(t), t.TempDir()
			query := graphqlJS(t, `process.stdout.write(graphql.getIntrospectionQuery({inputValueDeprecation: true, specifiedByUrl: true, schemaDescription: true, directiveIsRepeatable: true, oneOf: true}))`)
			a, err := New(cat, nil, Config{})
			if err != nil {
				t.Fatal(err)
			}
			got := post(t, a, string(query), nil)
			if len(got.Errors) > 0 {
				t.Fatalf("introspection: %v", got.Errors)
			}
			if again := post(t, a, string(query), nil); again.body != got.body {
				t.Error("introspection from the cache differs")
			}
			sdl, answer := filepath.Join(dir, "sdl"), filepath.Join(dir, "answer")
			for file, text := range map[string]string{sdl: SDL(cat, Config{}), answer: got.body} {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out := graphqlJS(t, `
				const sdl = graphql.buildSchema(fs.readFileSync(args[0], 'utf8'));
				const asked = graphql.buildClientSchema(JSON.parse(fs.readFileSync(args[1], 'utf8')).data);
				const faults = [...graphql.validateSchema(sdl), ...graphql.validateSchema(asked)].map(String);
				const print = s => graphql.printSchema(graphql.lexicographicSortSchema(s));
				const [a, b] = [print(sdl).split('\n'), print(asked).split('\n')];
				const at = a.findIndex((line, i) => line !== b[i]);
				process.stdout.write(JSON.stringify({faults, lines: [a.length, b.length], at, a: a[at], b: b[at]}))`, sdl, answer)
			var verdict struct {
				Faults []string
				Lines  []int
				At     int
				A, B   string
			}
			if err := json.Unmarshal(out, &verdict); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if len(verdict.Faults) > 0 {
				t.Errorf("graphql-js refuses the schema: %v", verdict.Faults)
			}
			if verdict.At >= 0 || verdict.Lines[0] != verdict.Lines[1] {
				t.Errorf("SDL and introspection differ in line %d:\n%s\n%s", verdict.At, verdict.A, verdict.B)
			}
			t.Logf("SDL and introspection agree in %d lines; the answer has %d bytes", verdict.Lines[0], len(got.body))
		})
	}
}
