package graphql

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedQueries runs all that docs/graphql.md shows.
func TestDocumentedQueries(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/graphql.md")
	if err != nil {
		t.Fatal(err)
	}
	a := smallWorld(t).api(t, Config{})
	blocks := strings.Split(string(raw), "```graphql\n")[1:]
	if len(blocks) < 10 {
		t.Fatalf("only %d queries", len(blocks))
	}
	vars := map[string]any{"uri": "at://alice.example.com/com.myrecipes.recipe/3kaaaaaaaaa01", "handle": "alice.example.com"}
	for _, block := range blocks {
		query, _, _ := strings.Cut(block, "```")
		name, _, _ := strings.Cut(strings.TrimPrefix(query, "query "), " ")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := post(t, a, query, vars); len(got.Errors) > 0 {
				t.Errorf("%s answered %s", query, got.body)
			}
		})
	}
}
