package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/source"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		patterns []string
		most     int
		want     []string // nil: not possible
	}{
		{"FewStay", []string{"b.c.d", "a.b.c"}, 2, []string{"a.b.c", "b.c.d"}},
		{"BelowAPrefixIsDropped", []string{"a.b.*", "a.b.c", "a.b.c.d", "a.b.c.*", "a.bc.d"}, 9, []string{"a.b.*", "a.bc.d"}},
		{"OneMergeThatSuffices", []string{"a.b.c", "a.b.d", "c.d.e", "c.d.f", "c.d.g", "x.y.z"}, 5, []string{"a.b.*", "c.d.e", "c.d.f", "c.d.g", "x.y.z"}},
		{"TheOneThatSavesMost", []string{"a.b.c", "a.b.d", "c.d.e", "c.d.f", "c.d.g", "x.y.z"}, 3, []string{"a.b.*", "c.d.*", "x.y.z"}},
		{"LongPrefixesFirst", []string{"a.b.c.d", "a.b.c.e", "a.b.x", "a.b.y", "a.b.z"}, 4, []string{"a.b.c.*", "a.b.x", "a.b.y", "a.b.z"}},
		{"ThenShorter", []string{"a.b.c.d", "a.b.c.e", "a.b.x", "a.b.y", "a.b.z"}, 3, []string{"a.b.*"}},
		{"PrefixesMerge", []string{"a.b.c.*", "a.b.d.*", "a.x.y"}, 2, []string{"a.b.*", "a.x.y"}},
		{"NeverOneSegment", []string{"a.b.c", "a.c.d", "a.d.e"}, 2, nil},
		{"None", nil, 2, []string{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, ok := merge(c.patterns, c.most)
			if ok != (c.want != nil) || ok && !slices.Equal(got, c.want) {
				t.Errorf("%v, %v; want %v", got, ok, c.want)
			}
		})
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	collections := func(patterns ...string) source.Collections {
		c, err := source.ParseCollections(patterns)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if got := wanted(source.Collections{}); got != nil {
		t.Errorf("all: %v", got)
	}
	if got := wanted(collections()); len(got) != 1 || collections().Want("a.b.c") {
		t.Errorf("none: %v, which a Jetstream takes as all", got)
	}
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprintf("a.b%d.c", i))
	}
	if got := wanted(collections(many...)); got != nil {
		t.Errorf("101 that do not merge: %v", got)
	}
}

// TestMergeLexicons merges the record collections of real applications.
func TestMergeLexicons(t *testing.T) {
	t.Parallel()
	nsids := lexiconRecords(t)
	for _, most := range []int{400, 200, 100, 60} {
		got, ok := merge(nsids, most)
		if !ok {
			t.Errorf("at most %d: not possible", most)
			continue
		}
		if len(got) > most {
			t.Errorf("at most %d: %d patterns", most, len(got))
		}
		c, err := source.ParseCollections(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nsids {
			if !c.Want(syntax.NSID(n)) {
				t.Errorf("at most %d: %s is lost", most, n)
			}
		}
		prefixes := 0
		for _, p := range got {
			if strings.HasSuffix(p, ".*") {
				prefixes++
				if strings.Count(p, ".") < 2 {
					t.Errorf("at most %d: prefix of one segment %s", most, p)
				}
			}
		}
		t.Logf("%d collections in at most %d: %d patterns, %d of them prefixes", len(nsids), most, len(got), prefixes)
	}
}

func lexiconRecords(t testing.TB) []string {
	t.Helper()
	var nsids []string
	root := filepath.Join("..", "..", "..", "shared", "lexicons")
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no lexicons beside the checkout: %v", err)
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var doc struct {
			ID   string `json:"id"`
			Defs struct {
				Main struct {
					Type string `json:"type"`
				} `json:"main"`
			} `json:"defs"`
		}
		if json.Unmarshal(data, &doc) == nil && doc.Defs.Main.Type == "record" {
			nsids = append(nsids, doc.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(nsids)
	return slices.Compact(nsids)
}
