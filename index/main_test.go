package index_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/atview/atview/index"
	"github.com/atview/atview/index/dbtest"
	"github.com/atview/atview/ingest/localnats"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/migrations"
	"github.com/atview/atview/schema"
)

func TestMain(m *testing.M) {
	// indigo's repo package, which benchmarks make repositories with, starts it when
	// it is loaded.
	dbtest.Main(m, goleak.IgnoreAnyFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

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

func load(t testing.TB, dirs ...string) *schema.Catalog {
	t.Helper()
	cat, err := schema.Load(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// world is a database and a log of a test's own, with an index between them.
type world struct {
	t    testing.TB
	cat  *schema.Catalog
	pool *pgxpool.Pool
	log  *stream.Log
	lane *stream.Log // of snapshots
	pub  *stream.Publisher
	bulk *stream.Publisher // to lane
	ix   *index.Index
	stop func()
}

func newWorld(t testing.TB, cat *schema.Catalog) *world {
	t.Helper()
	w := &world{t: t, cat: cat, pool: dbtest.Pool(t)}
	ctx := t.Context()
	if err := migrations.Up(ctx, w.pool); err != nil {
		t.Fatal(err)
	}
	w.migrate(cat)
	nc := localnats.StartTest(t)
	w.log, w.pub = openLane(t, nc, "atview")
	w.lane, w.bulk = openLane(t, nc, "atview_backfill")
	w.start()
	return w
}

func openLane(t testing.TB, nc *nats.Conn, name string) (*stream.Log, *stream.Publisher) {
	t.Helper()
	log, err := stream.Open(t.Context(), nc, stream.Config{Name: name, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	pub, err := log.NewPublisher(stream.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pub.Close)
	return log, pub
}

func (w *world) migrate(cat *schema.Catalog) (applied, left []index.Change) {
	w.t.Helper()
	applied, left, err := index.Migrate(w.t.Context(), w.pool, cat, index.MigrateConfig{Logger: zerolog.Nop()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.cat = cat
	return applied, left
}

// start runs an index until the test ends or stop is called.
func (w *world) start() {
	w.t.Helper()
	ix, err := index.New(index.Config{Pool: w.pool, Log: w.log, Backfill: w.lane, Catalog: w.cat, Logger: zerolog.New(zerolog.NewTestWriter(w.t)).Level(zerolog.WarnLevel)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.ix = ix
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ix.Run(ctx) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("index: %v", err)
		}
	}
	w.t.Cleanup(w.stop)
}

// feed puts lines on the log.
func (w *world) feed(lines ...[]byte) {
	w.t.Helper()
	for _, line := range lines {
		ev, err := stream.Parse(line)
		if err == nil {
			err = w.pub.Publish(w.t.Context(), &ev, line)
		} else {
			err = w.pub.Reject(w.t.Context(), &ev, line, err)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// settle waits until the tables hold all that was fed.
func (w *world) settle() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	for lane, pub := range map[string]*stream.Publisher{index.LaneLive: w.pub, index.LaneBackfill: w.bulk} {
		positions, err := pub.Flush(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.ix.Wait(ctx, lane, positions); err != nil {
			w.t.Fatal(err)
		}
	}
}

// dump is all that the tables say, as text to compare.
func (w *world) dump() string {
	w.t.Helper()
	var out strings.Builder
	for _, c := range w.cat.Collections {
		known := []string{"rkey", "did", "cid", "rev", "indexed_at", "sort_at", "flagged", "hidden", "record"}
		for _, col := range c.Columns {
			known = append(known, col.Name)
		}
		// Columns of an earlier lexicon stay in a table until somebody drops them.
		w.rows(&out, c.Table, fmt.Sprintf(`select (to_jsonb(t) - coalesce((select array_agg(attname::text) from pg_attribute
			where attrelid = '%[1]s'::regclass and not attname::text = any('{%[2]s}')), '{}'))::text from %[1]s t order by rkey, did`,
			index.TableName(c), strings.Join(known, ",")))
	}
	for _, table := range []string{"actor", "tombstone", "link", "link_count", "flag"} {
		// When something is due is this machine's clock, and what was read says nothing
		// of what is there.
		w.rows(&out, table, fmt.Sprintf("select (to_jsonb(t) - 'resolve_at' - 'read_rev')::text from atview.%s t order by 1", table))
	}
	w.rows(&out, "repo", "select row(did, why, wanted_rev)::text from atview.repo order by 1")
	w.rows(&out, "dead_letter", "select encode(bytes, 'escape') || reason from atview.dead_letter order by 1")
	return out.String()
}

func (w *world) rows(out *strings.Builder, name, sql string) {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), sql)
	if err != nil {
		w.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range lines {
		fmt.Fprintln(out, name, line)
	}
}

func readLines(t testing.TB, file string) [][]byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines [][]byte
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<24)
	for scanner.Scan() {
		lines = append(lines, bytes.Clone(scanner.Bytes()))
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// didOf reads the repository of a line, whatever else is wrong with it.
func didOf(line []byte) string {
	var head struct{ DID string }
	_ = json.Unmarshal(line, &head)
	return head.DID
}

func sameText(t testing.TB, what, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range w {
		if !slices.Contains(g, line) {
			t.Errorf("%s: missing\n%.400s", what, line)
			break
		}
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			t.Errorf("%s: unexpected\n%.400s", what, line)
			break
		}
	}
	t.Errorf("%s: %d lines, want %d", what, len(g), len(w))
}
