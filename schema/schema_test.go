package schema_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/schema"
)

var update = flag.Bool("update", false, "write golden files anew")

// shared gives a path in the corpus of real lexicons and records, which is not
// part of the repository.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	p := filepath.Join(append([]string{"..", "..", "shared"}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("needs the shared corpus: %s is absent", p)
	}
	return p
}

func corpus(t testing.TB) *schema.Catalog {
	t.Helper()
	c, err := schema.Load(shared(t, "lexicons"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

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
	if got != string(want) {
		t.Errorf("%s differs; see the difference with: go test ./schema -update && git diff\n%s", file, firstDifference(string(want), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, got %d", len(w), len(g))
}

func TestCorpusCompiles(t *testing.T) {
	t.Parallel()
	c := corpus(t)
	// indigo refuses 9 of the 1,133 files, and 4 of those are records.
	if got := len(c.Lexicons); got != 1124 {
		t.Errorf("loaded %d lexicons, want 1124", got)
	}
	if got := len(c.Collections); got != 239 {
		t.Errorf("compiled %d collections, want 239", got)
	}
	var out strings.Builder
	for _, p := range c.Problems {
		p.File = strings.TrimPrefix(p.File, shared(t, "lexicons")+"/")
		fmt.Fprintln(&out, p)
	}
	golden(t, "corpus-problems.txt", out.String())
}

func TestCorpusNames(t *testing.T) {
	t.Parallel()
	c := corpus(t)
	var out strings.Builder
	tables, types := map[string]bool{}, map[string]bool{}
	for _, col := range c.Collections {
		if tables[col.Table] || types[strings.ToLower(col.Type)] && types[col.Type] {
			t.Errorf("%s: name taken twice", col.NSID)
		}
		tables[col.Table], types[col.Type] = true, true
		if len(col.Table) > 63 {
			t.Errorf("table %s has %d bytes", col.Table, len(col.Table))
		}
		fmt.Fprintf(&out, "%s key=%s table=%s type=%s", col.NSID, col.Key, col.Table, col.Type)
		if col.SortColumn != nil {
			fmt.Fprintf(&out, " sort=%s", col.SortColumn.Name)
		}
		out.WriteByte('\n')
		columns := map[string]bool{}
		for _, column := range col.Columns {
			if columns[column.Name] || len(column.Name) > 63 {
				t.Errorf("%s: column %s is taken or too long", col.NSID, column.Name)
			}
			columns[column.Name] = true
			fmt.Fprintf(&out, "  %s %s <- %s", column.Name, column.SQL(), strings.Join(column.Path, "."))
			if column.Link != nil && column.Link.Kind != schema.LinkURL {
				fmt.Fprintf(&out, " via %s", col.ViaField(column.Link))
			}
			out.WriteByte('\n')
		}
		for _, f := range col.Object.Fields {
			fmt.Fprintf(&out, "  .%s: %s\n", f.GraphQL, f.Type.GraphQL())
		}
	}
	golden(t, "corpus-names.txt", out.String())
}

func TestSameCatalogTwice(t *testing.T) {
	t.Parallel()
	a, b := corpus(t), corpus(t)
	for i, col := range a.Collections {
		if other := b.Collections[i]; col.Fingerprint != other.Fingerprint || col.Type != other.Type {
			t.Errorf("%s compiled differently the second time", col.NSID)
		}
	}
}

// event is what these tests need of a line of the record corpus.
type event struct {
	file   string
	line   int
	Kind   string
	Commit struct {
		Operation  string
		Collection string
		RKey       string
		Record     json.RawMessage
	}
}

func records(t testing.TB, visit func(event)) {
	t.Helper()
	for _, dir := range []string{"synthetic", "car-events", "edge", "jetstream-v1"} {
		files, err := filepath.Glob(filepath.Join(shared(t, "records"), dir, "*.jsonl"))
		if err != nil || len(files) == 0 {
			t.Fatalf("records of %s: %v", dir, err)
		}
		for _, file := range files {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			scanner := bufio.NewScanner(f)
			scanner.Buffer(nil, 1<<24)
			for line := 1; scanner.Scan(); line++ {
				ev := event{file: filepath.Join(dir, filepath.Base(file)), line: line}
				if err := json.Unmarshal(scanner.Bytes(), &ev); err != nil {
					t.Fatalf("%s:%d: %v", file, line, err)
				}
				if ev.Commit.Record != nil {
					visit(ev)
				}
			}
			f.Close()
		}
	}
}

// TestAgreesWithIndigo holds our verdict on each record of the corpus against
// indigo's validator, which reads the same lexicons in another way.
func TestAgreesWithIndigo(t *testing.T) {
	t.Parallel()
	c := corpus(t)
	peer := lexicon.NewBaseCatalog()
	for _, lex := range c.Lexicons {
		var file lexicon.SchemaFile
		if err := json.Unmarshal(lex.JSON, &file); err != nil {
			t.Fatal(err)
		}
		if err := peer.AddSchemaFile(file); err != nil {
			t.Fatal(err)
		}
	}
	var valid, invalid int
	records(t, func(ev event) {
		col := c.Collection(syntax.NSID(ev.Commit.Collection))
		if col == nil {
			return
		}
		row, err := col.Row(ev.Commit.Record)
		if err != nil {
			t.Fatalf("%s:%d: %v", ev.file, ev.line, err)
		}
		data, peerErr := atdata.UnmarshalJSON(ev.Commit.Record)
		if peerErr == nil {
			peerErr = lexicon.ValidateRecord(peer, data, ev.Commit.Collection, lexicon.AllowLegacyBlob)
		}
		if peerErr != nil && (strings.Contains(peerErr.Error(), "schema not found in catalog") ||
			strings.Contains(peerErr.Error(), "unhandled schema type: lexicon.SchemaRecord")) {
			return // a reference that nothing resolves, or to a record: ours reads them
		}
		flagged := slices.DeleteFunc(slices.Clone(row.Flags), func(f schema.Flag) bool {
			return strings.Contains(f.Reason, "U+0000") || strings.Contains(f.Reason, "that are indexed") ||
				strings.Contains(f.Reason, "not Unicode") // Postgres' limits, which indigo does not have
		})
		if (len(flagged) > 0) != (peerErr != nil) {
			t.Errorf("%s:%d %s: indigo says %v, we flag %v", ev.file, ev.line, ev.Commit.Collection, peerErr, row.Flags)
		}
		if peerErr == nil {
			valid++
		} else {
			invalid++
		}
	})
	if valid < 6000 || invalid < 40 {
		t.Errorf("compared %d valid and %d invalid records; the corpus has more", valid, invalid)
	}
}

func TestRowKeepsTheRecord(t *testing.T) {
	t.Parallel()
	c := corpus(t)
	n := 0
	records(t, func(ev event) {
		col := c.Collection(syntax.NSID(ev.Commit.Collection))
		if col == nil {
			return
		}
		row, err := col.Row(ev.Commit.Record)
		if err != nil {
			t.Fatalf("%s:%d: %v", ev.file, ev.line, err)
		}
		if len(row.Flags) == 0 && !bytes.Equal(row.Record, ev.Commit.Record) {
			t.Errorf("%s:%d: a record without a fault was rewritten", ev.file, ev.line)
		}
		if !json.Valid(row.Record) {
			t.Errorf("%s:%d: row's record is no JSON", ev.file, ev.line)
		}
		n++
	})
	t.Logf("%d records", n)
}

func example(t *testing.T, lexicons map[string]string) *schema.Catalog {
	t.Helper()
	dir := t.TempDir()
	for name, text := range lexicons {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := schema.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func record(nsid, properties string) string {
	return fmt.Sprintf(`{"lexicon":1,"id":%q,"defs":{"main":{"type":"record","key":"tid","record":{"type":"object","properties":%s}}}}`, nsid, properties)
}

func TestNames(t *testing.T) {
	t.Parallel()
	long := "com.example." + strings.Repeat("a", 40) + "." + strings.Repeat("b", 30)
	c := example(t, map[string]string{
		"com/example/thing.json": record("com.example.thing", `{
			"did":{"type":"string"},"uri":{"type":"string"},"cid":{"type":"string"},"id":{"type":"string"},
			"rkey":{"type":"string"},"order":{"type":"integer"},"record":{"type":"unknown"},"xmin":{"type":"boolean"},
			"createdAt":{"type":"string","format":"datetime"},"created_at":{"type":"string"},"a-b":{"type":"string"},"9":{"type":"string"}}`),
		"com/example/Thing.json":          record("com.example.Thing", `{}`),
		"com/example/thing/edge.json":     record("com.example.thing.edge", `{}`),
		"com.example.thingEdge.json":      record("com.example.thingEdge", `{}`),
		"com/tomo-x/5ive.json":            record("com.tomo-x.5ive", `{}`),
		"com/example/pageInfo.json":       record("com.example.pageInfo", `{}`),
		long + ".json":                    record(long, `{"x":{"type":"string"}}`),
		strings.ToUpper("x") + "bad.json": `{"lexicon":1,"id":"com.example.elsewhere","defs":{}}`,
		"broken.json":                     `{"lexicon":`,
		"other.json":                      `{"hello":"world"}`,
	})
	var out strings.Builder
	for _, col := range c.Collections {
		fmt.Fprintln(&out, col.NSID, col.Table, col.Type, col.QueryField())
		for _, column := range col.Columns {
			fmt.Fprintln(&out, "  column", column.Name, column.SQL())
		}
		for _, f := range col.Object.Fields {
			fmt.Fprintln(&out, "  field", f.GraphQL, f.Name)
		}
	}
	for _, p := range c.Problems {
		fmt.Fprintln(&out, filepath.Base(p.File), p.Reason)
	}
	golden(t, "names.txt", out.String())
}

func TestRowRepairsWhatPostgresRefuses(t *testing.T) {
	t.Parallel()
	c := example(t, map[string]string{"com/example/note.json": record("com.example.note", `{
		"text":{"type":"string"},"n":{"type":"integer"},"extra":{"type":"unknown"}}`)})
	col := c.Collection("com.example.note")
	tests := []struct{ name, properties, record, flag string }{
		{"NUL", `"text":"a\u0000b"`, `"a\uFFFDb"`, "text: U+0000 stored as U+FFFD"},
		{"escaped backslash before u0000 is text", `"text":"a\\u0000b"`, `"a\\u0000b"`, ""},
		{"lone high surrogate", `"text":"a\ud800b"`, `"a\uFFFDb"`, ": text that is not Unicode, or a property twice; stored without"},
		{"lone low surrogate", `"text":"\udc00"`, `"\uFFFD"`, ": text that is not Unicode, or a property twice; stored without"},
		{"surrogate pair is a character", `"text":"\ud83d\ude00"`, `"\ud83d\ude00"`, ""},
		{"invalid UTF-8", "\"text\":\"\xff\"", `"\uFFFD"`, ": text that is not Unicode, or a property twice; stored without"},
		{"number out of range", `"extra":{"x":1e999999}`, ``, "extra.x: number is out of range; stored as text"},
		{"float", `"extra":{"x":1.5}`, ``, "extra.x: number is not an integer of 53 bits"},
		{"property twice", `"text":"a","text":"b"`, `"b"`, ": text that is not Unicode, or a property twice; stored without"},
		{"integer beyond 32 bits", `"n":9007199254740991`, ``, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			row, err := col.Row([]byte(`{"$type":"com.example.note",` + test.properties + `}`))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(row.Flags) > 0 {
				got = row.Flags[0].Path + ": " + row.Flags[0].Reason
			}
			if got != test.flag {
				t.Errorf("flag %q, want %q", got, test.flag)
			}
			var stored struct{ Text json.RawMessage }
			if err := json.Unmarshal(row.Record, &stored); err != nil {
				t.Fatal(err)
			}
			var want, have string
			if test.record != "" {
				if err := json.Unmarshal([]byte(test.record), &want); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(stored.Text, &have); err != nil || have != want {
					t.Errorf("stored %q, want %q (%v)", have, want, err)
				}
			}
		})
	}
}

func TestRowRefusesWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	c := example(t, map[string]string{"com/example/note.json": record("com.example.note", `{}`)})
	for _, text := range []string{`[]`, `"x"`, `null`, strings.Repeat(`{"a":`, 400) + `1` + strings.Repeat(`}`, 400)} {
		if _, err := c.Collection("com.example.note").Row([]byte(text)); err == nil {
			t.Errorf("%s was taken", text[:min(len(text), 20)])
		}
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	c := corpus(t)
	post := c.Collection("app.bsky.feed.post")
	row, err := post.Row([]byte(`{"$type":"app.bsky.feed.post","createdAt":"2026-01-01T00:00:00Z",
		"text":"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/a.b.c/prose",
		"reply":{"root":{"uri":"at://did:plc:a2a2a2a2a2a2a2a2a2a2a2a2/app.bsky.feed.post/1","cid":"bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4"},
		         "parent":{"uri":"at://did:plc:a2a2a2a2a2a2a2a2a2a2a2a2/app.bsky.feed.post/2","cid":"bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4"}},
		"facets":[{"index":{"byteStart":0,"byteEnd":1},"features":[
			{"$type":"app.bsky.richtext.facet#mention","did":"did:plc:b3b3b3b3b3b3b3b3b3b3b3b3"},
			{"$type":"app.bsky.richtext.facet#mention","did":"did:plc:b3b3b3b3b3b3b3b3b3b3b3b3"},
			{"$type":"app.bsky.richtext.facet#link","uri":"https://example.com/a"}]}],
		"embed":{"$type":"com.example.poll","of":{"x":["did:web:example.com"]}},
		"extra":"https://example.com/b"}`))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, l := range row.Links {
		column := "-"
		if l.Column >= 0 {
			column = post.Columns[l.Column].Name
		}
		fmt.Fprintln(&out, l.Path, l.Target, column)
	}
	golden(t, "links.txt", out.String())
	if len(row.Flags) > 0 {
		t.Errorf("flagged: %v", row.Flags)
	}
}

func BenchmarkRow(b *testing.B) {
	c := corpus(b)
	type work struct {
		col    *schema.Collection
		record []byte
	}
	var all []work
	records(b, func(ev event) {
		if col := c.Collection(syntax.NSID(ev.Commit.Collection)); col != nil && strings.HasPrefix(ev.file, "jetstream-v1/bluesky") {
			all = append(all, work{col, ev.Commit.Record})
		}
	})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w := all[i%len(all)]
		if _, err := w.col.Row(w.record); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadCorpus(b *testing.B) {
	dir := shared(b, "lexicons")
	for b.Loop() {
		if _, err := schema.Load(dir); err != nil {
			b.Fatal(err)
		}
	}
}
