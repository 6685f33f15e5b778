package graphql

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/schema"
)

// corpusLines are the records of the corpus that the catalog has a collection
// for, each key once.
func corpusLines(t testing.TB, cat *schema.Catalog) []line {
	t.Helper()
	var out []line
	seen := map[string]bool{}
	for _, dir := range []string{"synthetic", "car-events", "edge", "jetstream-v1"} {
		files, err := filepath.Glob(filepath.Join(shared(t, "records"), dir, "*.jsonl"))
		if err != nil || len(files) == 0 {
			t.Fatalf("records of %s: %v", dir, err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			scanner := bufio.NewScanner(bytes.NewReader(raw))
			scanner.Buffer(nil, 1<<24)
			for scanner.Scan() {
				var ev struct {
					DID    string
					TimeUS int64 `json:"time_us"`
					Commit struct {
						Collection, RKey string
						Record           json.RawMessage
					}
				}
				if err := json.Unmarshal(scanner.Bytes(), &ev); err != nil || ev.Commit.Record == nil {
					continue
				}
				col := cat.Collection(syntax.NSID(ev.Commit.Collection))
				uri, err := syntax.ParseATURI(fmt.Sprintf("at://%s/%s/%s", ev.DID, ev.Commit.Collection, ev.Commit.RKey))
				if col == nil || err != nil || seen[uri.String()] {
					continue
				}
				if _, err := col.Row(ev.Commit.Record); err != nil {
					continue
				}
				seen[uri.String()] = true
				out = append(out, line{URI: uri.String(), Record: ev.Commit.Record, IndexedAt: time.UnixMicro(ev.TimeUS)})
			}
		}
	}
	return out
}

// maxNesting is how deep the test asks: types contain themselves.
const maxNesting = 5

// selection asks for all that a value of the type can have.
func selection(t schema.Type, depth int) string {
	switch t := t.(type) {
	case *schema.Array:
		return selection(t.Items, depth)
	case *schema.Blob:
		return "{ref mimeType size}"
	case *schema.Object:
		if depth > maxNesting {
			return "{__typename}"
		}
		return "{__typename " + properties(t, "", depth) + "}"
	case *schema.Union:
		if t.GraphQL() == "JSON" {
			return ""
		}
		var b strings.Builder
		b.WriteString("{__typename ")
		if depth <= maxNesting {
			for i, m := range t.Objects() {
				// Members may have fields of one name and several types.
				fmt.Fprintf(&b, "... on %s {%s} ", m.Type.GraphQL(), properties(m.Type.(*schema.Object), fmt.Sprintf("m%d_", i), depth))
			}
		}
		if !t.Closed {
			b.WriteString("... on UnknownValue {u_type: type u_value: value}")
		}
		return b.String() + "}"
	}
	return ""
}

func properties(t *schema.Object, prefix string, depth int) string {
	var b strings.Builder
	b.WriteString("__typename ")
	for _, f := range t.Fields {
		alias := ""
		if prefix != "" {
			alias = prefix + f.GraphQL + ": "
		}
		b.WriteString(alias + f.GraphQL + selection(f.Type, depth+1) + " ")
	}
	return b.String()
}

// want is what the API should say of a value in a record: written again here,
// plainly, as a second opinion on the row program.
func want(t schema.Type, v any, depth int) any {
	switch t := t.(type) {
	case *schema.Boolean:
		if b, ok := v.(bool); ok {
			return b
		}
	case *schema.Integer:
		if n, ok := v.(json.Number); ok {
			if whole, ok := wholeNumber(n.String()); ok {
				return json.Number(fmt.Sprint(whole))
			}
		}
	case *schema.String:
		s, ok := v.(string)
		switch {
		case ok && t.Format == "datetime":
			if _, err := syntax.ParseDatetime(s); err != nil {
				return nil
			}
			at, err := time.Parse(time.RFC3339Nano, s)
			if at = at.UTC().Truncate(time.Microsecond); err != nil || at.Year() < 1 || at.Year() > 9999 {
				return nil
			}
			if at.Nanosecond()%1_000_000 == 0 {
				return at.Format("2006-01-02T15:04:05.000Z")
			}
			return at.Format("2006-01-02T15:04:05.000000Z")
		case ok:
			return s
		}
	case *schema.CIDLink:
		return tagged(v, "$link")
	case *schema.Bytes:
		return tagged(v, "$bytes")
	case *schema.Blob:
		object, _ := v.(map[string]any)
		ref := tagged(object["ref"], "$link")
		if ref == nil {
			ref, _ = object["cid"].(string)
		}
		if ref == nil || ref == "" {
			return nil
		}
		return map[string]any{"ref": ref, "mimeType": want(&schema.String{}, object["mimeType"], 0), "size": want(&schema.Integer{}, object["size"], 0)}
	case *schema.Array:
		list, ok := v.([]any)
		if !ok {
			return nil
		}
		out := []any{}
		for _, item := range list {
			if w := want(t.Items, item, depth); w != nil {
				out = append(out, w)
			}
		}
		return out
	case *schema.Object:
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		out := map[string]any{"__typename": t.GraphQL()}
		if depth <= maxNesting {
			wantProperties(out, t, object, "", depth)
		}
		return out
	case *schema.Union:
		if t.GraphQL() == "JSON" {
			return v
		}
		return wantMember(t, v, depth)
	default:
		return v
	}
	return nil
}

func wantProperties(out map[string]any, t *schema.Object, object map[string]any, prefix string, depth int) {
	for _, f := range t.Fields {
		out[prefix+f.GraphQL] = want(f.Type, object[f.Name], depth+1)
	}
}

func wantMember(t *schema.Union, v any, depth int) any {
	object, _ := v.(map[string]any)
	tag, ok := object["$type"].(string)
	if !ok {
		return nil
	}
	for i, m := range t.Objects() {
		if tag == m.Ref || tag == m.Ref+"#main" && !strings.Contains(m.Ref, "#") {
			out := map[string]any{"__typename": m.Type.GraphQL()}
			if depth <= maxNesting {
				// Every member of this type is asked by its first name, too.
				for n, other := range t.Objects()[:i+1] {
					if other.Type == m.Type {
						wantProperties(out, m.Type.(*schema.Object), object, fmt.Sprintf("m%d_", n), depth)
					}
				}
			}
			return out
		}
	}
	if t.Closed {
		return nil
	}
	return map[string]any{"__typename": "UnknownValue", "u_type": tag, "u_value": v}
}

func tagged(v any, key string) any {
	object, _ := v.(map[string]any)
	if s, ok := object[key].(string); ok {
		return s
	}
	return nil
}

// TestCorpusRecordsComeBack asks for every property of every record of the
// corpus, and holds the answer against the record.
func TestCorpusRecordsComeBack(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	w := newWorld(t, cat)
	lines := corpusLines(t, cat)
	w.load(t, lines)
	a := w.api(t, Config{MaxDepth: 1000, MaxFields: 1_000_000, MaxTokens: 1_000_000, MaxCost: 1 << 30, MaxAnswer: 1 << 30})
	byCollection := map[syntax.NSID]map[string]map[string]any{}
	for _, l := range lines {
		uri := syntax.ATURI(l.URI)
		col := cat.Collection(uri.Collection())
		row, err := col.Row(l.Record)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(row.Record))
		decoder.UseNumber()
		var record map[string]any
		if err := decoder.Decode(&record); err != nil {
			t.Fatal(err)
		}
		if byCollection[col.NSID] == nil {
			byCollection[col.NSID] = map[string]map[string]any{}
		}
		byCollection[col.NSID][l.URI] = record
	}
	compared := 0
	for _, col := range cat.Collections {
		query := fmt.Sprintf("{%s(first: 1000) {edges {node {uri %s}}}}", col.QueryField(), properties(col.Object, "", 0))
		got := post(t, a, query, nil)
		if len(got.Errors) > 0 {
			t.Fatalf("%s: %v", col.NSID, got.Errors)
		}
		decoder := json.NewDecoder(bytes.NewReader(got.Data))
		decoder.UseNumber()
		var data map[string]struct {
			Edges []struct{ Node map[string]any }
		}
		if err := decoder.Decode(&data); err != nil {
			t.Fatal(err)
		}
		edges := data[col.QueryField()].Edges
		if n := min(len(byCollection[col.NSID]), 1000); len(edges) != n {
			t.Errorf("%s: %d records of %d", col.NSID, len(edges), n)
		}
		for _, e := range edges {
			uri, _ := e.Node["uri"].(string)
			expected := map[string]any{"uri": uri, "__typename": col.Type}
			wantProperties(expected, col.Object, byCollection[col.NSID][uri], "", 0)
			if difference := differs("", expected, e.Node); difference != "" {
				t.Errorf("%s: %s", uri, difference)
			}
			compared++
		}
	}
	if compared < 2000 {
		t.Errorf("compared %d records; the corpus has more", compared)
	}
	t.Logf("%d records of %d collections", compared, len(cat.Collections))
}

// differs names the first place where two JSON values differ.
func differs(at string, want, got any) string {
	wantMap, ok1 := want.(map[string]any)
	gotMap, ok2 := got.(map[string]any)
	if ok1 && ok2 {
		for key := range wantMap {
			if d := differs(at+"."+key, wantMap[key], gotMap[key]); d != "" {
				return d
			}
		}
		for key := range gotMap {
			if _, ok := wantMap[key]; !ok {
				return at + "." + key + ": not expected"
			}
		}
		return ""
	}
	wantList, ok1 := want.([]any)
	gotList, ok2 := got.([]any)
	if ok1 && ok2 && len(wantList) == len(gotList) {
		for i := range wantList {
			if d := differs(fmt.Sprintf("%s[%d]", at, i), wantList[i], gotList[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Sprintf("%s: want %v, got %v", at, want, got)
	}
	return ""
}

// conditions are where inputs that a record fulfils, one for each value in it.
func conditions(obj *schema.Object, record map[string]any, depth int) []map[string]any {
	var out []map[string]any
	for _, f := range obj.Fields {
		name := obj.WhereField(f)
		for _, c := range conditionsOf(f.Type, record[f.Name], depth) {
			out = append(out, map[string]any{name: c})
		}
	}
	return out
}

func conditionsOf(t schema.Type, v any, depth int) []map[string]any {
	if depth > 3 {
		return nil
	}
	expected := want(t, v, 0)
	if expected == nil {
		return []map[string]any{{"isNull": true}}
	}
	out := []map[string]any{{"isNull": false}}
	switch t := t.(type) {
	case *schema.Boolean, *schema.Integer:
		out = append(out, map[string]any{"eq": expected}, map[string]any{"eq": fmt.Sprint(expected)})
	case *schema.String, *schema.CIDLink, *schema.Bytes:
		s, _ := expected.(string)
		if link, ok := t.(*schema.String); ok && link.Link() != schema.LinkNone && len(s) > schema.MaxLinkBytes {
			return nil // in no column
		}
		out = append(out, map[string]any{"eq": s}, map[string]any{"in": []any{s}})
		if t.SQL() != "timestamptz" {
			out = append(out, map[string]any{"startsWith": s[:min(len(s), 3)][:len(strings.ToValidUTF8(s[:min(len(s), 3)], ""))], "contains": strings.ToUpper(s[len(s)/2:])})
			if !strings.EqualFold(strings.ToUpper(s), s) || !utf8.ValidString(s[len(s)/2:]) {
				out = out[:len(out)-1] // what has no simple upper case
			}
		}
	case *schema.Blob:
		if mime, ok := expected.(map[string]any)["mimeType"].(string); ok {
			out = append(out, map[string]any{"mimeType": map[string]any{"eq": mime}})
		}
	case *schema.Object:
		object, _ := v.(map[string]any)
		out = append(out, conditions(t, object, depth+1)...)
	case *schema.Union:
		if t.GraphQL() != "JSON" {
			object, _ := v.(map[string]any)
			out = append(out, map[string]any{"type": map[string]any{"eq": object["$type"]}})
		}
	case *schema.Array:
		return append(out, elementConditions(t, v.([]any), depth)...)
	}
	return out
}

func elementConditions(t *schema.Array, list []any, depth int) []map[string]any {
	out := []map[string]any{}
	scalar := false
	switch items := t.Items.(type) {
	case *schema.Boolean, *schema.Integer, *schema.String, *schema.CIDLink, *schema.Bytes:
		scalar = true
	case *schema.Union:
		if items.GraphQL() == "JSON" {
			return nil
		}
	case *schema.Object, *schema.Blob:
	default:
		return nil
	}
	whole := true
	for _, item := range list {
		whole = whole && want(t.Items, item, 0) != nil
	}
	for _, item := range list[:min(len(list), 2)] {
		expected := want(t.Items, item, 0)
		switch {
		case expected == nil:
		case scalar && whole: // else the column is null
			out = append(out, map[string]any{"has": expected}, map[string]any{"hasAny": []any{expected}})
		case !scalar:
			for _, c := range conditionsOf(t.Items, item, depth+1) {
				out = append(out, map[string]any{"any": c})
			}
		}
	}
	if whole {
		out = append(out, map[string]any{"isEmpty": len(list) == 0})
	}
	return out
}

// TestCorpusRecordsAreFound filters by each value of records of the corpus: the
// record must be found by it, and by nothing that denies it.
func TestCorpusRecordsAreFound(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	w := newWorld(t, cat)
	lines := corpusLines(t, cat)
	w.load(t, lines)
	a := w.api(t, Config{})
	perCollection, asked := map[syntax.NSID]int{}, 0
	for _, l := range lines {
		uri := syntax.ATURI(l.URI)
		col := cat.Collection(uri.Collection())
		if perCollection[col.NSID]++; perCollection[col.NSID] > 2 { // the second has every property
			continue
		}
		row, err := col.Row(l.Record)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(row.Record))
		decoder.UseNumber()
		var record map[string]any
		if err := decoder.Decode(&record); err != nil {
			t.Fatal(err)
		}
		all := conditions(col.Object, record, 0)
		for len(all) > 0 {
			n := min(len(all), 40)
			checkFound(t, a, col, l.URI, all[:n])
			all, asked = all[n:], asked+n
		}
	}
	t.Logf("%d conditions", asked)
}

func checkFound(t *testing.T, a *API, col *schema.Collection, uri string, conditions []map[string]any) {
	t.Helper()
	var head, body strings.Builder
	vars := map[string]any{"uri": uri}
	for i, c := range conditions {
		fmt.Fprintf(&head, ", $w%d: %s!", i, col.WhereInput())
		fmt.Fprintf(&body, "yes%[1]d: %[2]s(where: {uri: {eq: $uri}, and: [$w%[1]d]}) {totalCount} no%[1]d: %[2]s(where: {uri: {eq: $uri}, not: $w%[1]d}) {totalCount} ", i, col.QueryField())
		vars[fmt.Sprintf("w%d", i)] = c
	}
	got := post(t, a, fmt.Sprintf("query($uri: String!%s) {%s}", head.String(), body.String()), vars)
	if len(got.Errors) > 0 {
		t.Fatalf("%s: %v\n%v", uri, got.Errors, conditions)
	}
	var data map[string]struct{ TotalCount int }
	if err := json.Unmarshal(got.Data, &data); err != nil {
		t.Fatal(err)
	}
	for i, c := range conditions {
		if data[fmt.Sprintf("yes%d", i)].TotalCount != 1 || data[fmt.Sprintf("no%d", i)].TotalCount != 0 {
			text, err := json.Marshal(c)
			t.Errorf("%s is not found by %.300s (%v)", uri, text, err)
		}
	}
}
