package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
)

// lexicons are the examples of this repository, and what they lack of the
// collections in which Bluesky's simulator writes.
var lexicons = []string{"../lexicons", "testdata/lexicons"}

// atview is one in its `dev` form: all roles, its own Postgres and NATS.
type atview struct {
	*bench
	args, lexicons []string
	// How the network is reached, for other commands than dev.
	plc []string
	// The one that runs now; kill and launch replace it.
	*process
	console, database string
}

// newAtview starts one on the example lexicons, with more flags.
func newAtview(b *bench, plc string, resolve []string, flags ...string) *atview {
	b.t.Helper()
	a := &atview{bench: b, plc: append([]string{"--plc-url", plc, "--allow-private-hosts"}, resolve...)}
	for _, dir := range lexicons {
		abs, err := filepath.Abs(dir)
		if err != nil {
			b.t.Fatal(err)
		}
		a.lexicons = append(a.lexicons, "--lexicons", abs)
	}
	a.args = slices.Concat([]string{"dev", "--data", b.path("atview"), "--listen", "127.0.0.1:0", "--identities", "on"}, a.lexicons, a.plc, flags)
	b.t.Cleanup(a.endPostgres)
	a.launch()
	return a
}

// launch starts it on the data that it has, and waits until it reads.
func (a *atview) launch() {
	a.bench.t.Helper()
	a.process = a.start("atview", environment(), buildAtview(a.bench.t), a.args...)
	a.console = a.line("Console", 2*time.Minute) // unpacks Postgres at first
	a.database = a.line("Database", time.Minute)
	a.line("Indexing", time.Minute)
}

// connected waits until every source reads. What a firehose sends before that
// belongs to nobody: a new one begins with the present.
func (a *atview) connected(t testing.TB) {
	t.Helper()
	eventually(t, time.Minute, "the sources are connected", func() (bool, string) {
		text, err := get(t.Context(), a.console+"metrics")
		if err != nil {
			return false, err.Error()
		}
		sources := regexp.MustCompile(`(?m)^atview_source_connected\{.*$`).FindAllString(string(text), -1)
		for _, s := range sources {
			if !strings.HasSuffix(s, " 1") {
				return false, s
			}
		}
		return len(sources) > 0, "no sources in the metrics"
	})
}

// endPostgres ends the Postgres of an atview that was killed and not started
// again: that would have taken it over.
func (a *atview) endPostgres() {
	cluster := a.path("atview", "postgres", "cluster")
	if moved, err := os.ReadFile(a.path("atview", "postgres", "cluster.path")); err == nil {
		cluster = strings.TrimSpace(string(moved))
	}
	text, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	if err != nil {
		return // it has stopped
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if pid, err := strconv.Atoi(first); err == nil && pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGQUIT) // at once; the folder is removed anyway
	}
}

// verify runs `atview verify` on the tables, beside the index, and gives what it
// prints. It has to find nothing, or to have mended everything.
func (a *atview) verify(t testing.TB, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	args := slices.Concat([]string{"verify", "--data", a.path("verify"), "--database-url", a.database}, a.lexicons, a.plc, flags)
	cmd := exec.CommandContext(ctx, buildAtview(t), args...)
	cmd.Dir, cmd.Env = a.dir, environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("atview %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// verifyBoth has atview compare its tables with themselves, and with repositories.
func (a *atview) verifyBoth(t testing.TB) {
	t.Helper()
	t.Logf("verify says: %s", lastLines(a.verify(t), 2))
	t.Logf("verify --sample says: %s", lastLines(a.verify(t, "--sample", "100"), 2))
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// folded says how far the log is in the tables: its newest message there, of both
// lanes together.
func (a *atview) folded() (int64, error) {
	rows, err := query[int64](a, "select coalesce(sum(last), 0)::bigint from (select max(seq) as last from atview.position group by lane) as lanes")
	if err != nil {
		return 0, err
	}
	return rows[0], nil
}

// records reads the tables: what the API shows, and what it hides because of
// its account's state.
func (a *atview) records() (shown, hidden records, err error) {
	tables, err := query[struct{ NSID, Table string }](a, "select nsid, table_name from atview.collection")
	if err != nil {
		return nil, nil, err
	}
	shown, hidden = records{}, records{}
	for _, table := range tables {
		rows, err := query[struct {
			DID, RKey, CID string
			Hidden         bool
		}](a, "select did, rkey, cid, hidden from records."+pgx.Identifier{table.Table}.Sanitize())
		if err != nil {
			return nil, nil, err
		}
		for _, row := range rows {
			into := shown
			if row.Hidden {
				into = hidden
			}
			into[uri(syntax.DID(row.DID), table.NSID+"/"+row.RKey)] = row.CID
		}
	}
	return shown, hidden, nil
}

// query collects rows: structs by the order of their fields, or single values.
func query[T any](a *atview, sql string, args ...any) ([]T, error) {
	ctx, cancel := context.WithTimeout(a.bench.t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, a.database)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	var one T
	if strings.HasPrefix(fmt.Sprintf("%T", one), "struct") {
		return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// expect waits until the tables show exactly these records.
func (a *atview) expect(t testing.TB, within time.Duration, want func() (records, error)) {
	t.Helper()
	eventually(t, within, "the tables equal the repositories", func() (bool, string) {
		truth, err := want()
		if err != nil {
			return false, err.Error()
		}
		shown, _, err := a.records()
		if err != nil {
			return false, err.Error()
		}
		d := compare(truth, shown)
		return d.count() == 0, d.String() + a.queued()
	})
}

// queued says, for a failure's message, which repositories atview wants to read
// or could not.
func (a *atview) queued() string {
	lines, err := query[string](a, "select concat_ws(' ', did, state, why, rev, records, reason) from atview.repo limit 5")
	if err != nil {
		return err.Error()
	}
	return strings.Join(append([]string{""}, lines...), "\n")
}
