package graphql

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/index"
	"github.com/atview/atview/index/dbtest"
	"github.com/atview/atview/migrations"
	"github.com/atview/atview/schema"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// catalog is the example lexicons and those of testdata.
var catalog = sync.OnceValues(func() (*schema.Catalog, error) { return schema.Load("../lexicons", "testdata/lexicons") })

func testCatalog(t testing.TB) *schema.Catalog {
	t.Helper()
	cat, err := catalog()
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// world is a database with tables, to put records into.
type world struct {
	url   string
	cat   *schema.Catalog
	write *pgxpool.Pool
	read  *pgxpool.Pool
}

func newWorld(t testing.TB, cat *schema.Catalog) *world {
	t.Helper()
	w := &world{url: dbtest.New(t), cat: cat}
	// Few connections: tests that wait for their turn keep theirs, and the server
	// has a hundred for all.
	config, err := pgxpool.ParseConfig(w.url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 2
	if w.write, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.write.Close)
	if err := migrations.Up(t.Context(), w.write); err != nil {
		t.Fatal(err)
	}
	var ddl strings.Builder
	for _, col := range cat.Collections {
		ddl.WriteString(strings.Join(index.DDL(col), ";\n") + ";\n")
	}
	if _, err := w.write.Exec(t.Context(), ddl.String()); err != nil {
		t.Fatal(err)
	}
	if config, err = PoolConfig(w.url, 0); err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 2
	if w.read, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.read.Close)
	return w
}

func (w *world) api(t testing.TB, cfg Config) *API {
	t.Helper()
	if reflect.ValueOf(cfg.Log).IsZero() { // a test that fails shows why
		cfg.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel)
	}
	a, err := New(w.cat, w.read, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// line is one thing to put into a world: a record, or an account.
type line struct {
	DID       string
	Handle    string
	Status    string
	URI       string
	Record    json.RawMessage
	IndexedAt time.Time
}

// load puts records in as the fold would write them.
func (w *world) load(t testing.TB, lines []line) {
	t.Helper()
	ctx := t.Context()
	batch := &pgx.Batch{}
	inactive := map[string]bool{}
	for _, l := range lines {
		if l.Record == nil {
			if l.Status == "" {
				l.Status = "active"
			}
			inactive[l.DID] = l.Status != "active"
			batch.Queue("insert into atview.actor (did, handle, status) values ($1, nullif($2, ''), $3)", l.DID, l.Handle, l.Status)
		}
	}
	type count struct {
		records int
		dids    map[string]bool
	}
	counts := map[[3]string]*count{}
	for i, l := range lines {
		if l.Record == nil {
			continue
		}
		uri, err := syntax.ParseATURI(l.URI)
		if err != nil {
			t.Fatal(err)
		}
		did, nsid, rkey := uri.Authority().String(), uri.Collection(), uri.RecordKey().String()
		col := w.cat.Collection(nsid)
		row, err := col.Row(l.Record)
		if err != nil {
			t.Fatalf("%s: %v", l.URI, err)
		}
		at := l.IndexedAt
		if at.IsZero() {
			at = time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC)
		}
		sortAt := at
		if !row.SortAt.IsZero() && row.SortAt.Before(at) {
			sortAt = row.SortAt
		}
		columns := []string{"rkey", "did", "cid", "rev", "indexed_at", "sort_at", "flagged", "hidden", "record"}
		values := []any{rkey, did, fmt.Sprintf("bafyreic%05d", i), fmt.Sprintf("3k%05d", i), at, sortAt, len(row.Flags) > 0, inactive[did], string(row.Record)}
		for i, column := range col.Columns {
			columns, values = append(columns, schema.Quote(column.Name)), append(values, row.Values[i])
		}
		marks := make([]string, len(values))
		for i := range marks {
			marks[i] = fmt.Sprintf("$%d", i+1)
		}
		batch.Queue(fmt.Sprintf("insert into records.%s (%s) values (%s)", schema.Quote(col.Table), strings.Join(columns, ","), strings.Join(marks, ",")), values...)
		for n, f := range row.Flags {
			batch.Queue("insert into atview.flag values ($1, $2, $3, $4, $5, $6)", nsid.String(), rkey, did, n, f.Path, f.Reason)
		}
		for _, e := range row.Links {
			if e.Column < 0 || inactive[did] {
				continue
			}
			key := [3]string{e.Target, nsid.String(), e.Path}
			if counts[key] == nil {
				counts[key] = &count{dids: map[string]bool{}}
			}
			counts[key].records++
			counts[key].dids[did] = true
		}
	}
	for key, n := range counts {
		batch.Queue("insert into atview.link_count values ($1, $2, $3, $4, $5)", key[0], key[1], key[2], n.records, len(n.dids))
	}
	if err := w.write.SendBatch(ctx, batch).Close(); err != nil {
		t.Fatal(err)
	}
}

// readLines reads testdata/world.jsonl.
func readLines(t testing.TB) []line {
	t.Helper()
	const file = "testdata/world.jsonl"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []line
	scanner := bufio.NewScanner(bytes.NewReader(raw))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if text := strings.TrimSpace(scanner.Text()); text != "" && !strings.HasPrefix(text, "#") {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%s: %v: %s", file, err, text)
			}
			out = append(out, l)
		}
	}
	return out
}

// answer is what a request gives.
type answer struct {
	status int
	body   string
	Data   json.RawMessage
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
}

func post(t testing.TB, a http.Handler, query string, variables any) answer {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return serve(t, a, r)
}

func serve(t testing.TB, a http.Handler, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	out := answer{status: w.Code, body: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("answer is no JSON: %v\n%s", err, out.body)
	}
	return out
}

// data is the answer of an operation that must succeed, into v.
func (w answer) data(t testing.TB, v any) {
	t.Helper()
	if len(w.Errors) > 0 {
		t.Fatalf("answered with errors: %s", w.body)
	}
	if err := json.Unmarshal(w.Data, v); err != nil {
		t.Fatal(err)
	}
}

func (w answer) code() string {
	if len(w.Errors) == 0 {
		return ""
	}
	code, _ := w.Errors[0].Extensions["code"].(string)
	return code
}

// silent is for tests that cause what is logged.
var silent = zerolog.Nop().With().Str("test", "expected").Logger()
