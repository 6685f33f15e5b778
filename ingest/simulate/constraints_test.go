package simulate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

// inline makes a catalog of definitions, by name: `com.example.NAME`.
func inline(t testing.TB, defs map[string]string) *schema.Catalog {
	t.Helper()
	dir := t.TempDir()
	for name, def := range defs {
		id := "com.example." + name
		text := fmt.Sprintf(`{"lexicon":1,"id":%q,"defs":%s}`, id, def)
		if err := os.WriteFile(filepath.Join(dir, id+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cat := load(t, dir)
	if len(cat.Lexicons) != len(defs) {
		t.Fatalf("%d of %d lexicons loaded: %v", len(cat.Lexicons), len(defs), cat.Problems)
	}
	return cat
}

// record is a definition of a record with one property `p`, required.
func record(key, property string) string {
	return fmt.Sprintf(`{"main":{"type":"record","key":%q,"record":{"type":"object","required":["p"],"properties":{"p":%s}}}}`,
		key, property)
}

// TestConstraints makes records of lexicons that leave little room.
func TestConstraints(t *testing.T) {
	t.Parallel()
	node := `{"main":{"type":"record","key":"tid","record":{"type":"object","required":["p"],"properties":{
		"p":{"type":"ref","ref":"#node"}}}},
		"node":{"type":"object","required":["text","children"],"properties":{"text":{"type":"string"},
		"left":{"type":"ref","ref":"#node"},"right":{"type":"ref","ref":"#node"},
		"children":{"type":"array","items":{"type":"union","refs":["#node","#leaf"]}}}},
		"leaf":{"type":"object","properties":{"n":{"type":"integer"}}}}`
	mustNest := `{"main":{"type":"record","key":"tid","record":{"type":"object","required":["p"],"properties":{
		"p":{"type":"array","minLength":2,"maxLength":3,"items":{"type":"union","closed":true,"refs":["#pair","#leaf"]}}}}},
		"pair":{"type":"object","required":["a","b"],"properties":{
		"a":{"type":"union","closed":true,"refs":["#pair","#leaf"]},"b":{"type":"union","closed":true,"refs":["#pair","#leaf"]}}},
		"leaf":{"type":"object","properties":{}}}`
	tokens := `{"main":{"type":"record","key":"tid","record":{"type":"object","required":["p"],"properties":{
		"p":{"type":"union","refs":["#one","#two"]},
		"q":{"type":"array","items":{"type":"ref","ref":"#one"}},"r":{"type":"ref","ref":"#one"}}}},
		"one":{"type":"token"},"two":{"type":"token"}}`
	scalars := `{"main":{"type":"record","key":"tid","record":{"type":"object","required":["p"],"properties":{
		"p":{"type":"union","refs":["#text","#thing"]}}}},
		"text":{"type":"string"},"thing":{"type":"object","required":["x"],"properties":{"x":{"type":"ref","ref":"#text"}}}}`
	defs := map[string]string{
		"aMinLength":     record("tid", `{"type":"string","minLength":300}`),
		"aMaxLength":     record("tid", `{"type":"string","maxLength":3}`),
		"aOneGrapheme":   record("tid", `{"type":"string","maxGraphemes":1,"maxLength":32,"minLength":1}`),
		"aMinGraphemes":  record("tid", `{"type":"string","minGraphemes":50,"maxGraphemes":51}`),
		"aExact":         record("tid", `{"type":"string","minLength":7,"maxLength":7}`),
		"aEmpty":         record("tid", `{"type":"string","maxLength":0}`),
		"aEnum":          record("tid", `{"type":"string","enum":["x","y"]}`),
		"aConst":         record("tid", `{"type":"string","const":"only"}`),
		"aKnown":         record("tid", `{"type":"string","knownValues":["much too long","ok"],"maxLength":5}`),
		"bRange":         record("tid", `{"type":"integer","minimum":-5,"maximum":-3}`),
		"bMinimum":       record("tid", `{"type":"integer","minimum":1000000}`),
		"bMaximum":       record("tid", `{"type":"integer","maximum":-7}`),
		"bEnum":          record("tid", `{"type":"integer","enum":[3,9]}`),
		"bConst":         record("tid", `{"type":"integer","const":4}`),
		"bWide":          record("tid", `{"type":"integer","minimum":-9007199254740991,"maximum":9007199254740991}`),
		"cBoolean":       record("tid", `{"type":"boolean","const":false}`),
		"cBytes":         record("tid", `{"type":"bytes","minLength":3,"maxLength":3}`),
		"cLink":          record("tid", `{"type":"cid-link"}`),
		"cBlob":          record("tid", `{"type":"blob","accept":["image/*"],"maxSize":10}`),
		"cBlobs":         record("tid", `{"type":"blob","accept":["audio/*","text/vtt","*/*"]}`),
		"cUnknown":       record("tid", `{"type":"unknown"}`),
		"dArray":         record("tid", `{"type":"array","minLength":5,"maxLength":6,"items":{"type":"integer"}}`),
		"dNoArray":       record("tid", `{"type":"array","maxLength":0,"items":{"type":"string"}}`),
		"dObject":        record("tid", `{"type":"object","required":["x"],"nullable":["x"],"properties":{"x":{"type":"string"}}}`),
		"dEmptyUnion":    record("tid", `{"type":"union","refs":[]}`),
		"dUnresolved":    record("tid", `{"type":"ref","ref":"org.example.missing"}`),
		"dUnionMissing":  record("tid", `{"type":"union","refs":["org.example.missing#x"]}`),
		"eTree":          node,
		"eMustNest":      mustNest,
		"eTokens":        tokens,
		"eScalarMembers": scalars,
		"fKeyAny":        record("any", `{"type":"string"}`),
		"fKeyNsid":       record("nsid", `{"type":"string"}`),
		"fKeyLiteral":    record("literal:only-one", `{"type":"string"}`),
	}
	for _, format := range []string{"at-identifier", "at-uri", "cid", "datetime", "did", "handle", "nsid", "uri",
		"language", "tid", "record-key"} {
		name := "g" + strings.ReplaceAll(format, "-", "")
		defs[name] = record("tid", fmt.Sprintf(`{"type":"string","format":%q}`, format))
	}
	cat := inline(t, defs)
	m := newModel(t, cat, simulate.Config{Seed: 1})
	if p := m.Problems(); len(p) > 0 {
		t.Errorf("problems %v", p)
	}
	made := check(t, cat, m, 8_000)
	for _, col := range cat.Collections {
		if len(made[col.NSID]) < 10 {
			t.Errorf("%s: %d records", col.NSID, len(made[col.NSID]))
		}
	}
	known := 0
	for _, ev := range made["com.example.aKnown"] {
		if bytes.Contains(ev.Record, []byte(`"ok"`)) {
			known++
		}
	}
	if n := len(made["com.example.aKnown"]); known*3 < n {
		t.Errorf("%d of %d have a known value that fits", known, n)
	}
	for nsid, commits := range made {
		for _, c := range commits {
			if err := keyFits(cat.Collection(nsid).Key, c.RKey); err != nil {
				t.Errorf("%s: record key %s: %v", nsid, c.RKey, err)
			}
			if len(c.Record) > 100_000 {
				t.Errorf("%s: record of %d bytes", nsid, len(c.Record))
			}
		}
	}
}

// keyFits holds a record key against a lexicon's; see
// https://atproto.com/specs/record-key.
func keyFits(key string, rkey syntax.RecordKey) error {
	var err error
	switch {
	case key == "tid":
		_, err = syntax.ParseTID(rkey.String())
	case key == "nsid":
		_, err = syntax.ParseNSID(rkey.String())
	case strings.HasPrefix(key, "literal:"):
		if want := strings.TrimPrefix(key, "literal:"); rkey.String() != want {
			err = fmt.Errorf("want %s", want)
		}
	default:
		_, err = syntax.ParseRecordKey(rkey.String())
	}
	return err
}

// check makes n events, holds their records against the catalog and returns
// what was written.
func check(t *testing.T, cat *schema.Catalog, m *simulate.Model, n int) map[syntax.NSID][]*stream.Commit {
	t.Helper()
	made := map[syntax.NSID][]*stream.Commit{}
	bad := map[syntax.NSID]bool{}
	for range n {
		ev := m.Next()
		// What the model says, the log can take.
		again, err := stream.Parse(ev.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.AppendJSON(nil), ev.AppendJSON(nil)) {
			t.Fatalf("event comes back as another\n%s\n%s", ev.AppendJSON(nil), again.AppendJSON(nil))
		}
		if ev.Kind != stream.KindCommit || ev.Commit.Operation == stream.Delete {
			continue
		}
		nsid := ev.Commit.Collection
		made[nsid] = append(made[nsid], ev.Commit)
		row, err := cat.Collection(nsid).Row(ev.Commit.Record)
		if err != nil {
			t.Fatalf("%s: %v\n%s", nsid, err, ev.Commit.Record)
		}
		if len(row.Flags) > 0 && !bad[nsid] {
			bad[nsid] = true
			t.Errorf("%s: %v\n%s", nsid, row.Flags, ev.Commit.Record)
		}
	}
	return made
}

func TestImpossibleLexiconsAreReported(t *testing.T) {
	t.Parallel()
	cat := inline(t, map[string]string{
		"token": `{"main":{"type":"record","key":"tid","record":{"type":"object","required":["kind"],"properties":{
			"kind":{"type":"ref","ref":"#fine"}}}},"fine":{"type":"token"}}`,
		"endless": `{"main":{"type":"record","key":"tid","record":{"type":"object","required":["in"],"properties":{
			"in":{"type":"ref","ref":"#box"}}}},
			"box":{"type":"object","required":["in"],"properties":{"in":{"type":"ref","ref":"#box"}}}}`,
		"closed": record("tid", `{"type":"union","closed":true,"refs":["com.example.token#fine"]}`),
		"deep":   record("tid", `{"type":"array","minLength":1,"items":{"type":"union","closed":true,"refs":["com.example.token#fine"]}}`),
		"fine":   record("tid", `{"type":"string"}`),
	})
	m := newModel(t, cat, simulate.Config{Seed: 1})
	want := []string{
		"com.example.closed: p must be in a union that no value is in",
		"com.example.deep: p.[] must be in a union that no value is in",
		"com.example.endless: in.in",
		"com.example.token: kind must be the token com.example.token#fine, and no value is one",
	}
	got := m.Problems()
	if len(got) != len(want) {
		t.Fatalf("problems %q, want %q", got, want)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %q, want %q", got[i], want[i])
		}
	}
	// They are made all the same, and nothing breaks on them.
	made := map[syntax.NSID]int{}
	for range 2000 {
		if ev := m.Next(); ev.Commit != nil {
			made[ev.Commit.Collection]++
		}
	}
	for _, col := range cat.Collections {
		if made[col.NSID] == 0 {
			t.Errorf("no record of %s was made", col.NSID)
		}
	}
}

// TestIndigoAgrees has another implementation validate what we make.
func TestIndigoAgrees(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	judge := lexicon.NewBaseCatalog()
	for _, lex := range cat.Lexicons {
		var file lexicon.SchemaFile
		if err := json.Unmarshal(lex.JSON, &file); err != nil {
			t.Fatal(err)
		}
		if err := judge.AddSchemaFile(file); err != nil {
			t.Fatal(err)
		}
	}
	// What indigo cannot judge: refs that nothing resolves, and a record as the
	// member of a union.
	unable := []string{"schema not found in catalog", "could not resolve known union variant",
		"unhandled schema type: lexicon.SchemaRecord"}
	m := newModel(t, cat, simulate.Config{Seed: 21})
	objections := map[string]int{}
	checked := 0
	for range 5_000 {
		ev := m.Next()
		if ev.Kind != stream.KindCommit || ev.Commit.Operation == stream.Delete {
			continue
		}
		data, err := atdata.UnmarshalJSON(ev.Commit.Record)
		if err != nil {
			t.Fatalf("%s: %v\n%s", ev.Commit.Collection, err, ev.Commit.Record)
		}
		checked++
		err = lexicon.ValidateRecord(judge, data, ev.Commit.Collection.String(), 0)
		if err != nil && !slices.ContainsFunc(unable, func(s string) bool { return strings.Contains(err.Error(), s) }) {
			objections[fmt.Sprintf("%s: %v", ev.Commit.Collection, err)]++
		}
	}
	if checked == 0 {
		t.Fatal("nothing was checked")
	}
	for _, objection := range slices.Sorted(maps.Keys(objections)) {
		t.Errorf("%s (%d times)", objection, objections[objection])
	}
}
