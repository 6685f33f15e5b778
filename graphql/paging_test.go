package graphql

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// everything makes records of com.example.everything with few distinct values,
// so that there are ties and nulls in every column.
func everything(n int) []line {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "B", "é", `pipe|quote"back\slash`, "NULL", "", "🍲", "a\tb"}
	var out []line
	for i := range n {
		record := map[string]any{"$type": "com.example.everything"}
		if rnd.IntN(4) > 0 {
			record["text"] = words[rnd.IntN(len(words))]
		}
		if rnd.IntN(4) > 0 {
			record["n"] = []int64{-1, 0, 1, 1 << 53, -(1 << 62)}[rnd.IntN(5)]
		}
		if rnd.IntN(3) > 0 {
			record["flag"] = rnd.IntN(2) == 0
		}
		if rnd.IntN(3) > 0 {
			record["at"] = []string{"2025-01-01T00:00:00Z", "2025-01-01T00:00:00.000001Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"}[rnd.IntN(4)]
		}
		record["link"] = fmt.Sprintf("at://did:plc:target/com.example.thing/%d", rnd.IntN(3))
		raw, err := json.Marshal(record)
		if err != nil {
			panic(err)
		}
		out = append(out, line{
			URI:    fmt.Sprintf("at://did:plc:author%d/com.example.everything/%03d", rnd.IntN(3), i/2),
			Record: raw, IndexedAt: time.Date(2026, 1, 1, 0, 0, rnd.IntN(9), 0, time.UTC),
		})
	}
	// Twice the same key of one author is the same record.
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(l line) bool {
		twice := seen[l.URI]
		seen[l.URI] = true
		return twice
	})
}

type pageAnswer struct {
	TotalCount int
	PageInfo   struct {
		HasNextPage, HasPreviousPage bool
		StartCursor, EndCursor       *string
	}
	Edges []struct {
		Cursor string
		Node   pageNode
	}
}

type pageNode struct {
	DID, RKey, Text2 string
	IndexedAt        string
	Text             *string
	N                *int64
	Flag             *bool
	At               *string
}

const pageFields = `{ totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { did rkey indexedAt text n flag at } } }`

// orders are sortBy arguments with what they should do.
var orders = []struct {
	sortBy string
	keys   []func(a, b pageNode) int
	desc   []bool
}{
	{`[]`, []func(a, b pageNode) int{byIndexedAt}, []bool{true}},
	{`[{field: text}]`, []func(a, b pageNode) int{byText}, []bool{false}},
	{`[{field: text, direction: DESC}]`, []func(a, b pageNode) int{byText}, []bool{true}},
	{`[{field: n, direction: DESC}, {field: text}]`, []func(a, b pageNode) int{byN, byText}, []bool{true, false}},
	{`[{field: flag}, {field: at, direction: DESC}, {field: n}]`, []func(a, b pageNode) int{byFlag, byAt, byN}, []bool{false, true, false}},
	{`[{field: indexedAt}, {field: at}]`, []func(a, b pageNode) int{byIndexedAt, byAt}, []bool{false, false}},
	{`[{field: uri, direction: DESC}]`, []func(a, b pageNode) int{byDID}, []bool{true}},
	{`[{field: rkey}]`, nil, nil},
	{`[{field: collection}, {field: did}]`, []func(a, b pageNode) int{byDID}, []bool{false}},
}

func byIndexedAt(a, b pageNode) int { return cmp.Compare(a.IndexedAt, b.IndexedAt) }
func byDID(a, b pageNode) int       { return cmp.Compare(a.DID, b.DID) }
func byText(a, b pageNode) int      { return byPointer(a.Text, b.Text) }
func byN(a, b pageNode) int         { return byPointer(a.N, b.N) }
func byAt(a, b pageNode) int        { return byPointer(moment(a.At), moment(b.At)) }

// moment is microseconds, which text with and without them does not sort by.
func moment(text *string) *int64 {
	if text == nil {
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, *text)
	if err != nil {
		panic(err)
	}
	micro := at.UnixMicro()
	return &micro
}

func byFlag(a, b pageNode) int {
	number := func(p *bool) *int {
		if p == nil {
			return nil
		}
		n := 0
		if *p {
			n = 1
		}
		return &n
	}
	return byPointer(number(a.Flag), number(b.Flag))
}

// null is what byPointer gives when one value is missing: it is last in both
// directions.
const null = 1000

func byPointer[T cmp.Ordered](a, b *T) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return null
	case b == nil:
		return -null
	}
	return cmp.Compare(*a, *b)
}

func expected(nodes []pageNode, keys []func(a, b pageNode) int, desc []bool) []pageNode {
	out := slices.Clone(nodes)
	last := len(desc) > 0 && desc[len(desc)-1]
	slices.SortFunc(out, func(a, b pageNode) int {
		for i, key := range keys {
			if n := key(a, b); n == null || n == -null {
				return n
			} else if n != 0 {
				if desc[i] {
					return -n
				}
				return n
			}
		}
		n := cmp.Or(cmp.Compare(a.RKey, b.RKey), cmp.Compare(a.DID, b.DID))
		if last {
			return -n
		}
		return n
	})
	return out
}

func keysOf(nodes []pageNode) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(n.RKey + "/" + n.DID + " ")
	}
	return b.String()
}

// TestPaging walks lists in every order and page size, forward and backward,
// at the root and inside a record, and holds each page against the list.
func TestPaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testCatalog(t))
	w.load(t, append(everything(80), line{URI: "at://did:plc:target/com.example.thing/1", Record: json.RawMessage(`{"$type":"com.example.thing"}`)}))
	a := w.api(t, Config{})

	root := func(args string) string { return "{ list: comExampleEverything" + args + pageFields + " }" }
	nested := func(args string) string {
		return `{ thing: comExampleThing_6c25c9e4ByUri(uri: "at://did:plc:target/com.example.thing/1") { list: comExampleEverythingViaLink` + args + pageFields + ` } }`
	}
	for name, query := range map[string]func(args string) string{"root": root, "nested": nested} {
		for _, o := range orders {
			t.Run(name+o.sortBy, func(t *testing.T) {
				t.Parallel()
				ask := func(args string) pageAnswer {
					t.Helper()
					var out struct {
						List  pageAnswer
						Thing struct{ List pageAnswer }
					}
					post(t, a, query("(sortBy: "+o.sortBy+args+")"), nil).data(t, &out)
					if name == "nested" {
						return out.Thing.List
					}
					return out.List
				}
				all := ask(", first: 1000")
				var nodes []pageNode
				for _, e := range all.Edges {
					nodes = append(nodes, e.Node)
				}
				keys := o.keys
				if o.sortBy == `[{field: uri, direction: DESC}]` || strings.Contains(o.sortBy, "did") {
					// did decides before rkey does; the rest is the tie-break.
					keys = []func(a, b pageNode) int{byDID}
				}
				if got, want := keysOf(nodes), keysOf(expected(nodes, keys, o.desc)); got != want {
					t.Fatalf("order is\n%s, want\n%s", got, want)
				}
				if all.TotalCount != len(nodes) || len(nodes) < 10 {
					t.Fatalf("totalCount is %d for %d records", all.TotalCount, len(nodes))
				}
				for _, size := range []int{1, 3, 7, len(nodes) - 1, len(nodes), len(nodes) + 1} {
					walk(t, ask, nodes, size, false)
					walk(t, ask, nodes, size, true)
				}
				between(t, ask, all)
			})
		}
	}
}

// walk goes through the list page by page and checks what each says of itself.
func walk(t *testing.T, ask func(string) pageAnswer, nodes []pageNode, size int, backward bool) {
	t.Helper()
	cursor := ""
	for at := 0; ; {
		args := fmt.Sprintf(", first: %d, after: %q", size, cursor)
		if backward {
			args = fmt.Sprintf(", last: %d, before: %q", size, cursor)
		}
		if cursor == "" {
			args = args[:strings.LastIndex(args, ",")]
		}
		page := ask(args)
		n := min(size, len(nodes)-at)
		want := nodes[at : at+n]
		if backward {
			want = nodes[len(nodes)-at-n : len(nodes)-at]
		}
		var got []pageNode
		for _, e := range page.Edges {
			got = append(got, e.Node)
		}
		if keysOf(got) != keysOf(want) {
			t.Fatalf("page%s is %s, want %s", args, keysOf(got), keysOf(want))
		}
		ahead, behind := page.PageInfo.HasNextPage, page.PageInfo.HasPreviousPage
		if backward {
			ahead, behind = behind, ahead
		}
		if wantAhead := at+n < len(nodes); ahead != wantAhead || behind != (at > 0) {
			t.Fatalf("page%s of %d+%d of %d: next %t, previous %t", args, at, n, len(nodes), page.PageInfo.HasNextPage, page.PageInfo.HasPreviousPage)
		}
		if page.TotalCount != len(nodes) {
			t.Fatalf("page%s: totalCount %d of %d", args, page.TotalCount, len(nodes))
		}
		if n > 0 && (*page.PageInfo.StartCursor != page.Edges[0].Cursor || *page.PageInfo.EndCursor != page.Edges[n-1].Cursor) {
			t.Fatalf("page%s: startCursor and endCursor are not those of its edges", args)
		}
		if at += n; at >= len(nodes) {
			return
		}
		cursor = *page.PageInfo.EndCursor
		if backward {
			cursor = *page.PageInfo.StartCursor
		}
	}
}

// between asks for what is between two cursors.
func between(t *testing.T, ask func(string) pageAnswer, all pageAnswer) {
	t.Helper()
	n := len(all.Edges)
	for _, c := range []struct{ from, to, size int }{{0, 5, 10}, {0, 5, 2}, {3, 4, 1}, {n - 2, n - 1, 5}} {
		for _, backward := range []bool{false, true} {
			word := "first"
			if backward {
				word = "last"
			}
			page := ask(fmt.Sprintf(", %s: %d, after: %q, before: %q", word, c.size, all.Edges[c.from].Cursor, all.Edges[c.to].Cursor))
			size := min(c.size, c.to-c.from-1)
			if len(page.Edges) != size {
				t.Errorf("%d records between %d and %d, want %d", len(page.Edges), c.from, c.to, size)
			}
			if !page.PageInfo.HasNextPage || !page.PageInfo.HasPreviousPage {
				t.Errorf("between %d and %d: there is more on both sides", c.from, c.to)
			}
		}
	}
	empty := ask(", first: 0")
	if len(empty.Edges) != 0 || !empty.PageInfo.HasNextPage || empty.PageInfo.HasPreviousPage || empty.PageInfo.EndCursor != nil {
		t.Errorf("first: 0 gives %+v", empty)
	}
}

// TestPagesAreStable pages while records are written before, behind and where
// the cursor is.
func TestPagesAreStable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testCatalog(t))
	w.load(t, everything(40))
	a := w.api(t, Config{})
	var before struct{ List pageAnswer }
	post(t, a, "{ list: comExampleEverything(first: 1000)"+pageFields+"}", nil).data(t, &before)
	seen := map[string]int{}
	cursor := "null"
	for page := 0; ; page++ {
		var out struct{ List pageAnswer }
		post(t, a, "{ list: comExampleEverything(first: 4, after: "+cursor+")"+pageFields+"}", nil).data(t, &out)
		for _, e := range out.List.Edges {
			seen[e.Node.RKey+"/"+e.Node.DID]++
		}
		if !out.List.PageInfo.HasNextPage {
			break
		}
		cursor = fmt.Sprintf("%q", *out.List.PageInfo.EndCursor)
		// One newer, one older, and the cursor's own record goes away.
		last := out.List.Edges[len(out.List.Edges)-1].Node
		w.load(t, []line{
			{URI: fmt.Sprintf("at://did:plc:new/com.example.everything/n%d", page), Record: json.RawMessage(`{"$type":"com.example.everything"}`), IndexedAt: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		})
		if _, err := w.write.Exec(t.Context(), `delete from records.com_example_everything where rkey = $1 and did = $2`, last.RKey, last.DID); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range before.List.Edges {
		if n := seen[e.Node.RKey+"/"+e.Node.DID]; n != 1 {
			t.Errorf("record %s was on %d pages", e.Node.RKey, n)
		}
	}
	for key := range seen {
		if strings.HasPrefix(key, "n") {
			t.Errorf("%s was written before the first page's cursor and showed up behind it", key)
		}
	}
}

func TestCursorsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testCatalog(t))
	w.load(t, everything(10))
	a := w.api(t, Config{})
	var out struct{ List pageAnswer }
	post(t, a, `{ list: comExampleEverything(first: 1, sortBy: [{field: n}])`+pageFields+`}`, nil).data(t, &out)
	good := *out.List.PageInfo.EndCursor
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	var c cursor
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	const other, none = "a cursor of a list with another order", "not a cursor of this list"
	tests := []struct{ name, sortBy, cursor, message string }{
		{"another direction", "{field: n, direction: DESC}", good, other},
		{"another field", "{field: text}", good, other},
		{"no base64", "{field: n}", "***", none},
		{"no JSON", "{field: n}", encode("x"), none},
		{"text for a number", "{field: n}", encode(`{"o":"` + c.Order + `","v":["x","1","2"]}`), none},
		{"null for a key", "{field: n}", encode(`{"o":"` + c.Order + `","v":["1",null,"2"]}`), none},
		{"too few values", "{field: n}", encode(`{"o":"` + c.Order + `","v":["1"]}`), none},
		{"too many values", "{field: n}", encode(`{"o":"` + c.Order + `","v":["1","1","1","1"]}`), none},
		{"U+0000", "{field: n}", encode(`{"o":"` + c.Order + `","v":["1","\u0000","1"]}`), none},
		{"empty", "{field: n}", "", none},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			query := `query($c: String) { list: comExampleEverything(sortBy: [` + test.sortBy + `], after: $c)` + pageFields + `}`
			for range 2 { // compiled, and from the cache
				got := post(t, a, query, map[string]any{"c": test.cursor})
				if got.code() != codeInput || !strings.Contains(got.Errors[0].Message, test.message) || len(got.Errors[0].Path) == 0 {
					t.Errorf("answered %s", got.body)
				}
			}
		})
	}
	// A good cursor after bad ones of the same shape, and the other way round.
	query := `query($c: String) { list: comExampleEverything(sortBy: [{field: n}], after: $c)` + pageFields + `}`
	for _, c := range []string{good, encode(`{"o":"` + c.Order + `","v":["x","1","2"]}`), good} {
		if got := post(t, a, query, map[string]any{"c": c}); (got.code() == "") != (c == good) {
			t.Errorf("answered %s", got.body)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("eyJvIjoiSjIzTjlGejAiLCJ2IjpbIjIwMjYtMDEtMDEgMDA6MDA6MTQrMDAiLCIza2FhYWFhYWFhYTA4IiwiZGlkOnBsYzpib2JiYmJiYmJiYmJiYmJiYmJiYmJiYmIiXX0")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"o":"x","v":[null,"1","true","a"]}`)))
	o := order{fingerprint: "x", keys: []sortKey{{kind: kindTime, nullable: true}, {kind: kindLong}, {kind: kindBoolean}, {kind: kindText}}}
	f.Fuzz(func(t *testing.T, text string) {
		_ = cursorShape(text)
		values, err := decodeCursor(text, o)
		if err != nil {
			return
		}
		if len(values) != len(o.keys) {
			t.Fatalf("%d values for %d keys", len(values), len(o.keys))
		}
		if s, ok := values[3].(string); !ok || strings.ContainsRune(s, 0) {
			t.Fatalf("value %q cannot be a parameter", values[3])
		}
	})
}
