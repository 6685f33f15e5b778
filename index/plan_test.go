package index_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

var update = flag.Bool("update", false, "write golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sameText(t, file+" (go test ./index -update writes it anew)", string(want), got)
}

func TestDDL(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	var out strings.Builder
	for _, c := range cat.Collections {
		fmt.Fprintf(&out, "%s;\n\n", strings.Join(index.DDL(c), ";\n"))
	}
	golden(t, "examples.sql", out.String())
}

func TestDDLOfRealLexicons(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	var out strings.Builder
	for _, nsid := range []string{"app.bsky.feed.generator", "pub.leaflet.document", "win.tomo-x.pushat.allow",
		"app.gainforest.organization.observations.measuredTreesCluster", "blue.2048.game"} {
		c := cat.Collection(syntax.NSID(nsid))
		if c == nil {
			t.Fatalf("%s is not in the corpus", nsid)
		}
		fmt.Fprintf(&out, "%s;\n\n", strings.Join(index.DDL(c), ";\n"))
	}
	golden(t, "corpus.sql", out.String())
}

// olderCatalog is the corpus with the earlier versions of one source in place of
// the current ones.
func olderCatalog(t *testing.T, source string) *schema.Catalog {
	t.Helper()
	return load(t, shared(t, "lexicons-older", source), shared(t, "lexicons"))
}

// TestLexiconChangeKeepsEverything folds the corpus with earlier lexicons, goes
// over to the current ones, and finds what folding with the current ones from
// the start gives.
func TestLexiconChangeKeepsEverything(t *testing.T) {
	t.Parallel()
	current := load(t, shared(t, "lexicons"))
	var lines [][]byte
	for _, file := range captures(t) {
		lines = append(lines, readLines(t, file)...)
	}
	straight := newWorld(t, current)
	straight.feed(lines...)
	straight.settle()
	want := straight.dump()
	for _, source := range []string{"2024-10-20_atcute", "2025-10-25_jacquard", "2025-12-30_hyphacoop-streamplace"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, olderCatalog(t, source))
			w.feed(lines...)
			w.settle()
			w.stop()
			applied, left := w.migrate(current)
			rederived := 0
			for _, c := range applied {
				if c.Rederive {
					rederived++
				}
			}
			if rederived == 0 {
				t.Error("no rows were derived anew, though the lexicons differ")
			}
			t.Logf("%d changes applied, %d collections derived anew, %d destructive left", len(applied), rederived, len(left))
			if again, _ := w.migrate(current); len(again) > 0 {
				t.Errorf("a second migration finds something to do: %v", again[0])
			}
			sameText(t, "after the change", want, w.dump())
		})
	}
}

func TestPlanNamesWhatIsDestructive(t *testing.T) {
	t.Parallel()
	lexicon := func(properties string) *schema.Catalog {
		dir := t.TempDir()
		text := `{"lexicon":1,"id":"com.example.note","defs":{"main":{"type":"record","key":"tid","record":{"type":"object","properties":{` + properties + `}}}}}`
		if err := os.WriteFile(filepath.Join(dir, "com.example.note.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return load(t, dir)
	}
	before := lexicon(`"n":{"type":"string"},"gone":{"type":"string"},"same":{"type":"integer"}`)
	after := lexicon(`"n":{"type":"integer"},"added":{"type":"string","format":"did"},"same":{"type":"integer"}`)
	w := newWorld(t, before)
	w.feed(
		[]byte(`{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","time_us":1750000000000000,"kind":"commit","commit":{"rev":"3lvedge222224","operation":"create","collection":"com.example.note","rkey":"a","record":{"$type":"com.example.note","n":"1","gone":"x","same":1,"added":"did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"},"cid":"c"}}`),
		[]byte(`{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","time_us":1750000000000000,"kind":"commit","commit":{"rev":"3lvedge222225","operation":"create","collection":"com.example.note","rkey":"b","record":{"$type":"com.example.note","n":7,"same":1},"cid":"c"}}`))
	w.settle()
	w.stop()
	live, err := index.Inspect(t.Context(), w.pool)
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	for _, c := range index.Plan(live, after) {
		plan = append(plan, c.String())
	}
	golden(t, "plan.txt", strings.Join(plan, "\n")+"\n")
	_, left := w.migrate(after)
	if len(left) != 1 || left[0].Class != index.Destructive {
		t.Errorf("left %v, want the dropped column alone", left)
	}
	var out strings.Builder
	w.rows(&out, "note", "select concat_ws(' ', rkey, coalesce(n::text, 'null'), coalesce(added, 'null'), flagged::text, record->>'gone') from records.com_example_note order by rkey")
	w.rows(&out, "count", "select concat_ws(' ', target, path, records, dids) from atview.link_count")
	want := "note a null did:plc:bbbbbbbbbbbbbbbbbbbbbbbb true x\nnote b 7 null false\ncount did:plc:bbbbbbbbbbbbbbbbbbbbbbbb added 1 1\n"
	if out.String() != want {
		t.Errorf("after the migration:\n%swant:\n%s", out.String(), want)
	}
	if _, left, err := index.Migrate(t.Context(), w.pool, after, index.MigrateConfig{Destructive: true}); err != nil || len(left) > 0 {
		t.Errorf("destructive migration left %v: %v", left, err)
	}
	live, err = index.Inspect(t.Context(), w.pool)
	if err != nil {
		t.Fatal(err)
	}
	if rest := index.Plan(live, after); len(rest) > 0 {
		t.Errorf("still to do: %v", rest)
	}
}

func TestRederivingWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, load(t, "../lexicons"))
	if _, err := w.pool.Exec(t.Context(), "update atview.collection set fingerprint = 'another'"); err != nil {
		t.Fatal(err)
	}
	w.feed(slices.Clone(readLines(t, "../examples/records.jsonl"))...)
	w.settle()
	_, _, err := index.Migrate(t.Context(), w.pool, w.cat, index.MigrateConfig{})
	if err == nil || !strings.Contains(err.Error(), index.ErrBusy.Error()) {
		t.Errorf("migration beside a running index: %v, want %v", err, index.ErrBusy)
	}
}

// TestNamesStayWithTheirCollections adds lexicons whose names clash with what
// is there: tables stay with the collections that have them.
func TestNamesStayWithTheirCollections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(nsid string) {
		text := `{"lexicon":1,"id":"` + nsid + `","defs":{"main":{"type":"record","key":"tid","record":{"type":"object","properties":{"text":{"type":"string"}}}}}}`
		if err := os.WriteFile(filepath.Join(dir, nsid+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("com.example.thing")
	w := newWorld(t, load(t, dir))
	w.stop()
	// Sorts before the first and would have the better claim; and what a primary
	// key of the first's table is called by default.
	for _, nsid := range []string{"com.example.Thing", "com.example.thing.pkey"} {
		write(nsid)
	}
	cat, err := index.KeepNames(t.Context(), w.pool, load(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	w.migrate(cat)
	var out strings.Builder
	w.rows(&out, "", "select concat_ws(' ', nsid, table_name) from atview.collection order by nsid")
	got := strings.Fields(out.String())
	if len(got) != 6 || got[3] != "com_example_thing" || got[1] == got[3] || got[5] != "com_example_thing_pkey" {
		t.Errorf("tables: %v", got)
	}
	again, err := index.KeepNames(t.Context(), w.pool, load(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if applied, left := w.migrate(again); len(applied)+len(left) > 0 {
		t.Errorf("a second start finds something to do: %v %v", applied, left)
	}
}

// TestALexiconThatIsAwayForAWhile is away when an account goes.
func TestALexiconThatIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../lexicons")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir + "/com/myrecipes/like.json"); err != nil {
		t.Fatal(err)
	}
	for _, status := range []string{"deleted", "deactivated"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, cat)
			w.put(1, like, "a", likeOf("soup", 1))
			w.settle()
			w.stop()
			w.migrate(load(t, dir))
			w.start()
			w.account(3, stream.Account{Status: status})
			w.settle()
			w.stop()
			w.migrate(cat)
			w.start()
			w.settle()
			if got := w.one("select coalesce(string_agg(rkey, ' '), '') from records.com_myrecipes_like where not hidden"); got != "" {
				t.Errorf("visible likes of a %s account: %s", status, got)
			}
			if got := w.one("select coalesce(string_agg(rkey, ' '), '') from records.com_myrecipes_like"); status == "deleted" && got != "" {
				t.Errorf("likes of a %s account: %s", status, got)
			}
			w.comeBack(5)
			w.settle()
			want := map[string]string{"deleted": "0 0", "deactivated": "1 1"}[status]
			if got := w.one("select count(*) || ' ' || coalesce((select sum(records) from atview.link_count), 0) from records.com_myrecipes_like"); got != want {
				t.Errorf("after the return %s rows and links, want %s", got, want)
			}
		})
	}
}
