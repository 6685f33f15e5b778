package index_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest/car"
	"github.com/atview/atview/ingest/car/cartest"
	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

var (
	benchRepos   = flag.Int("repos", 400, "repositories that BenchmarkBackfillToRows reads")
	benchRecords = flag.Int("records", 100, "records in each of them, on average")
)

// BenchmarkBackfillToRows takes signed repositories, as a PDS gives them out, to
// committed rows, links and counts, and holds that against COPY of the same rows
// into the same tables with the same indexes, right after, on the same machine.
//
// Shares of COPY are given by the clock, of as many connections as a backfill has
// writers, and by the processors' time of all that takes part: this process, which
// has NATS in it, and Postgres. The second is what to go by on a busy machine. A
// round that is COPY has read nothing, verified nothing and decided nothing.
func BenchmarkBackfillToRows(b *testing.B) {
	cat := load(b, "../lexicons")
	w := newWorld(b, cat)
	repos, coverage := signedRepos(b, w, *benchRepos, *benchRecords)
	pg := postmaster(b, w)
	writers := max(1, runtime.NumCPU()-1)

	var chain, alone spent
	var records int64
	for b.Loop() {
		b.StopTimer()
		w.empty(repos)
		b.StartTimer()
		chain.add(measure(pg, func() { records += w.readRepos(repos, coverage) }))
		b.StopTimer()
		tables := w.copyOut(writers)
		w.empty(nil)
		alone.add(measure(pg, func() { w.copyIn(tables) }))
		w.check(tables)
		b.StartTimer()
	}
	n := float64(records)
	b.ReportMetric(0, "ns/op") // its rounds are records
	b.ReportMetric(n/chain.wall.Seconds(), "records/s")
	b.ReportMetric(n/alone.wall.Seconds(), "COPY-records/s")
	b.ReportMetric(100*alone.wall.Seconds()/chain.wall.Seconds(), "%-of-COPY")
	b.ReportMetric(chain.ours.Seconds()*1e6/n, "own-cpu-µs/record")
	if pg != 0 {
		b.ReportMetric(chain.postgres.Seconds()*1e6/n, "pg-cpu-µs/record")
		b.ReportMetric(alone.cpu().Seconds()*1e6/n, "COPY-cpu-µs/record")
		b.ReportMetric(n/chain.cpu().Seconds(), "records/s/core")
		b.ReportMetric(100*alone.cpu().Seconds()/chain.cpu().Seconds(), "%-of-COPY-cpu")
	}
}

// signedRepo is a repository as a PDS gives it out.
type signedRepo struct {
	did syntax.DID
	key atcrypto.PublicKey
	car []byte
}

// signedRepos are what a simulated network has written, without what it has
// deleted since: nothing.
func signedRepos(b *testing.B, w *world, repos, records int) ([]signedRepo, string) {
	b.Helper()
	m, err := simulate.New(w.cat, simulate.Config{Seed: 1, Accounts: repos, Mix: simulate.Mix{Create: 1}, MaxRecords: 2 * repos * records})
	if err != nil {
		b.Fatal(err)
	}
	written := map[syntax.DID]map[string][]byte{}
	for made := 0; made < repos*records; {
		ev := m.Next()
		if ev.Kind != stream.KindCommit || ev.Commit.Record == nil {
			continue
		}
		record, err := atdata.UnmarshalJSON(ev.Commit.Record)
		if err != nil {
			b.Fatal(err)
		}
		if written[ev.DID] == nil {
			written[ev.DID] = map[string][]byte{}
		}
		written[ev.DID][string(ev.Commit.Collection)+"/"+string(ev.Commit.RKey)] = cartest.Record(b, record)
		made++
	}
	rev := syntax.NewTIDNow(0)
	var out []signedRepo
	for did, records := range written {
		key := cartest.Key(b)
		out = append(out, signedRepo{did, cartest.Public(b, key), cartest.Build(b, key, did, rev, records).Bytes()})
	}
	slices.SortFunc(out, func(a, b signedRepo) int { return strings.Compare(string(a.did), string(b.did)) })

	covered := make([]syntax.NSID, len(w.cat.Collections))
	names := make([]string, len(covered))
	for i, c := range w.cat.Collections {
		covered[i], names[i] = c.NSID, string(c.NSID)
	}
	coverage := stream.Coverage(covered)
	if err := queries.New().PutCoverage(b.Context(), w.pool, queries.PutCoverageParams{Digest: coverage, Collections: names}); err != nil {
		b.Fatal(err)
	}
	return out, coverage
}

// readRepos takes repositories through the whole of a backfill but the network,
// and returns how many records they had when all are in the tables.
func (w *world) readRepos(repos []signedRepo, coverage string) (records int64) {
	w.t.Helper()
	counts := make([]int64, len(repos))
	// 16: as many as package backfill has under way.
	g, ctx := errgroup.WithContext(w.t.Context())
	g.SetLimit(16)
	for i, r := range repos {
		g.Go(func() error {
			repo, err := car.Verify(ctx, bytes.NewReader(r.car), int64(len(r.car)), car.Options{DID: r.did, Key: r.key})
			if err != nil {
				return err
			}
			counts[i] = repo.Wanted
			return w.publishRepo(ctx, repo, coverage)
		})
	}
	if err := g.Wait(); err != nil {
		w.t.Fatal(err)
	}
	positions, err := w.bulk.Flush(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.ix.Wait(w.t.Context(), index.LaneBackfill, positions); err != nil {
		w.t.Fatal(err)
	}
	for _, n := range counts {
		records += n
	}
	return records
}

// publishRepo puts a repository on the log as package backfill does.
func (w *world) publishRepo(ctx context.Context, repo *car.Repo, coverage string) error {
	at := repo.Rev.Time().UnixMicro()
	for rec, err := range repo.Records(ctx) {
		if err == nil {
			err = rec.Err
		}
		if err != nil {
			return err
		}
		ev := stream.Event{DID: repo.DID, TimeUS: at, Kind: stream.KindCommit, Commit: &stream.Commit{
			Rev: repo.Rev, Operation: stream.Create, Collection: rec.Collection, RKey: rec.RKey,
			CID: rec.CID.String(), Record: rec.JSON, Snapshot: true,
		}}
		if err := w.bulk.Publish(ctx, &ev, nil); err != nil {
			return err
		}
	}
	if _, err := w.bulk.Flush(ctx); err != nil {
		return err
	}
	end := stream.Event{DID: repo.DID, TimeUS: at, Kind: stream.KindSync, Sync: &stream.Sync{Rev: repo.Rev, Complete: true, Coverage: coverage}}
	if err := w.bulk.Publish(ctx, &end, nil); err != nil {
		return err
	}
	_, err := w.bulk.Flush(ctx)
	return err
}

// empty leaves tables without a row, but for the repositories that are to be read.
func (w *world) empty(repos []signedRepo) {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := w.pool.Exec(ctx, "truncate "+strings.Join(writtenTables(w.cat), ", ")+", atview.repo, atview.tombstone"); err != nil {
		w.t.Fatal(err)
	}
	dids := make([]string, len(repos))
	for i, r := range repos {
		dids[i] = string(r.did)
	}
	if _, err := w.pool.Exec(ctx, "insert into atview.repo (did, why, state) select unnest($1::text[]), 'listed', 'fetching'", dids); err != nil {
		w.t.Fatal(err)
	}
	// What was written before is not to be written to the disk meanwhile.
	if _, err := w.pool.Exec(ctx, "checkpoint"); err != nil {
		w.t.Fatal(err)
	}
}

// writtenTables are all that a backfill adds rows to.
func writtenTables(cat *schema.Catalog) []string {
	tables := []string{"atview.link", "atview.link_count", "atview.actor", "atview.flag"}
	for _, c := range cat.Collections {
		tables = append(tables, index.TableName(c))
	}
	return tables
}

// copied is a table's rows in COPY's binary format, in parts of about one size.
type copied struct {
	table string
	rows  int64
	parts [][]byte
}

// copyOut reads all tables, in the order of their rows on the disk.
func (w *world) copyOut(parts int) []copied {
	w.t.Helper()
	var out []copied
	err := w.pool.AcquireFunc(w.t.Context(), func(conn *pgxpool.Conn) error {
		for _, table := range writtenTables(w.cat) {
			var buf bytes.Buffer
			tag, err := conn.Conn().PgConn().CopyTo(w.t.Context(), &buf, "copy "+table+" to stdout (format binary)")
			if err != nil {
				return err
			}
			if tag.RowsAffected() > 0 {
				out = append(out, copied{table, tag.RowsAffected(), cut(buf.Bytes(), int(tag.RowsAffected()), parts)})
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// cut divides COPY's binary format by rows; see
// https://www.postgresql.org/docs/current/sql-copy.html.
func cut(data []byte, rows, parts int) [][]byte {
	const header, trailer = 19, "\xff\xff"
	out := make([][]byte, parts)
	at := header
	for p := range out {
		out[p] = bytes.Clone(data[:header])
		from := at
		for range rows*(p+1)/parts - rows*p/parts {
			fields := int(binary.BigEndian.Uint16(data[at:]))
			at += 2
			for range fields {
				if n := int32(binary.BigEndian.Uint32(data[at:])); n > 0 {
					at += int(n)
				}
				at += 4
			}
		}
		out[p] = append(append(out[p], data[from:at]...), trailer...)
	}
	return out
}

// copyIn writes tables, from a connection and in a transaction for each part.
func (w *world) copyIn(tables []copied) {
	w.t.Helper()
	var g errgroup.Group
	for part := range len(tables[0].parts) {
		g.Go(func() error {
			ctx := w.t.Context()
			return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "set local synchronous_commit = off"); err != nil {
					return err
				}
				for _, t := range tables {
					if _, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(t.parts[part]), "copy "+t.table+" from stdin (format binary)"); err != nil {
						return fmt.Errorf("copy %s: %w", t.table, err)
					}
				}
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// check fails the benchmark if COPY wrote other than what it was given.
func (w *world) check(tables []copied) {
	w.t.Helper()
	for _, t := range tables {
		if got := w.one("select count(*)::text from " + t.table); got != strconv.FormatInt(t.rows, 10) {
			w.t.Errorf("%s: COPY left %s rows, the fold %d", t.table, got, t.rows)
		}
	}
}

// spent is the time that something took: by the clock, and of the processors.
type spent struct{ wall, ours, postgres time.Duration }

func (s *spent) add(o spent) {
	s.wall, s.ours, s.postgres = s.wall+o.wall, s.ours+o.ours, s.postgres+o.postgres
}

func (s *spent) cpu() time.Duration { return s.ours + s.postgres }

func measure(postmaster int, do func()) spent {
	ours, postgres, began := ownCPU(), postgresCPU(postmaster), time.Now()
	do()
	return spent{time.Since(began), ownCPU() - ours, postgresCPU(postmaster) - postgres}
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// postmaster is the process that Postgres' others are children of, 0 if they are on
// another machine, or this one has no /proc.
func postmaster(t testing.TB, w *world) int {
	t.Helper()
	var backend int
	if err := w.pool.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&backend); err != nil {
		t.Fatal(err)
	}
	name, parent, _ := process(backend)
	if !strings.HasPrefix(name, "postgres") {
		return 0
	}
	return parent
}

func postgresCPU(postmaster int) (total time.Duration) {
	if postmaster == 0 {
		return 0
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if _, parent, cpu := process(pid); pid == postmaster || parent == postmaster {
			total += cpu
		}
	}
	return total
}

// process reads a process's name, its parent, and the processors' time that it has
// had, with that of children which have ended; see proc_pid_stat(5).
func process(pid int) (name string, parent int, cpu time.Duration) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, 0
	}
	before, after, _ := bytes.Cut(data, []byte(") "))
	_, name, _ = strings.Cut(string(before), "(")
	fields := strings.Fields(string(after))
	if len(fields) < 15 {
		return "", 0, 0
	}
	parent, _ = strconv.Atoi(fields[1])
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all that Go runs on
	for _, f := range fields[11:15] {
		n, _ := strconv.Atoi(f)
		cpu += time.Duration(n) * tick
	}
	return name, parent, cpu
}
