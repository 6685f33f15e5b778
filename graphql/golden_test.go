package graphql

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/validator"
)

var update = flag.Bool("update", false, "write golden files anew")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./graphql -update", err)
	}
	if got == string(want) {
		return
	}
	w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			t.Fatalf("%s differs in line %d; see the difference with: go test ./graphql -update && git diff\nwant %s\ngot  %s", file, i+1, w[i], g[i])
		}
	}
	t.Fatalf("%s differs: want %d lines, got %d", file, len(w), len(g))
}

// TestQueries holds answers and SQL of testdata/queries against their golden
// files. Variables are a comment in the query's first line.
func TestQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testCatalog(t))
	w.load(t, readLines(t))
	a := w.api(t, Config{})
	files, err := filepath.Glob("testdata/queries/*.graphql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no queries: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".graphql")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			query, vars := readQuery(t, file)
			stem := strings.TrimSuffix(file, ".graphql")
			got := post(t, a, query, vars)
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, []byte(got.body), "", "  "); err != nil {
				t.Fatal(err)
			}
			golden(t, stem+".json", pretty.String()+"\n")
			if len(got.Errors) == 0 {
				golden(t, stem+".sql", compiled(t, w, query, vars))
			}
			// A second time from the caches.
			if again := post(t, a, query, vars); again.body != got.body {
				t.Errorf("the second answer differs:\n%s\n%s", got.body, again.body)
			}
		})
	}
}

func readQuery(t testing.TB, file string) (query string, vars map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	if text, ok := strings.CutPrefix(first, "# variables: "); ok {
		if err := json.Unmarshal([]byte(text), &vars); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return string(raw), vars
}

// compiled is the SQL of a query, with what its parameters come from.
func compiled(t testing.TB, w *world, query string, vars map[string]any) string {
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
	op := doc.Operations[0]
	values, err := validator.VariableValues(m.schema, op, vars)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range values {
		values[name] = plain(v)
	}
	p, failed := compile(m, &cfg, doc, op, values)
	if failed != nil {
		t.Fatal(failed)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "-- cost %d\n", p.cost)
	for _, f := range p.fields {
		for i, stmt := range []*statement{f.rows, f.extra} {
			if stmt == nil {
				continue
			}
			fmt.Fprintf(&out, "\n-- %s%s\n%s;\n", f.key, []string{"", ", beside the rows"}[i], stmt.sql)
			for n, p := range stmt.params {
				fmt.Fprintf(&out, "-- $%d: %s (%s)\n", n+1, p.at, p.key)
			}
		}
	}
	return out.String()
}
