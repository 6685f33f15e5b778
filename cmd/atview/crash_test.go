package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/schema"
)

// kills is how often each crash test kills. Each restart takes about a second.
const kills = 20

// network is a simulated network that writes as fast as it is read.
type network struct {
	server *simulate.Server
	source string
	cat    *schema.Catalog
}

func startNetwork(t *testing.T, seed uint64) *network {
	t.Helper()
	cat, err := schema.Load(exampleLexiconDir(t))
	if err != nil {
		t.Fatal(err)
	}
	model, err := simulate.New(cat, simulate.Config{Seed: seed, Clock: time.Now, Odd: 0.02, MaxRecords: 20_000,
		Mix: simulate.Mix{Create: 60, Update: 15, Delete: 15, Identity: 2, Account: 2}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := simulate.NewServer(model, simulate.ServerConfig{Await: true, History: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("simulated network: %v", err)
		}
	})
	return &network{server, "ws://" + listener.Addr().String() + "/subscribe", cat}
}

// advance waits until the network has made some more events.
func (n *network) advance(t *testing.T, events int64) {
	t.Helper()
	goal := n.server.Status().Events + events
	eventually(t, time.Minute, "the network goes on", func() (bool, string) {
		now := n.server.Status().Events
		return now >= goal, fmt.Sprintf("%d events of %d", now, goal)
	})
}

// expect waits until the tables are what the network's own books say.
func (n *network) expect(t *testing.T, p *process) {
	t.Helper()
	var want []string
	eventually(t, 4*time.Minute, "tables equal the model", func() (bool, string) {
		got, err := n.tables(t, p.Database)
		if err != nil {
			return false, err.Error()
		}
		want = n.state()
		if slices.Equal(want, got) {
			return true, ""
		}
		_, ready := get(t, p.Console+"readyz")
		return false, difference(want, got) + ready + lastLines(p.log(), 20)
	})
	t.Logf("%d events, %d lines of state agree", n.server.Status().Events, len(want))
}

// state is the model's books as lines.
func (n *network) state() []string {
	s := n.server.State()
	var out []string
	for k, r := range s.Records {
		out = append(out, fmt.Sprintf("record %s %s %s %s %s hidden=%t", k.Collection, k.DID, k.RKey, r.Rev, r.CID, r.Hidden))
	}
	for k, c := range s.Counts() {
		out = append(out, fmt.Sprintf("links %s %s %s %d %d", k.Target, k.Collection, k.Path, c.Records, c.DIDs))
	}
	slices.Sort(out)
	return out
}

func (n *network) tables(t *testing.T, database string) ([]string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out []string
	for _, c := range n.cat.Collections {
		rows, err := psql(ctx, database, fmt.Sprintf("select concat_ws(' ', 'record %s', did, rkey, rev, cid, 'hidden=' || hidden::text) from records.%s",
			c.NSID, schema.Quote(c.Table)))
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	rows, err := psql(ctx, database, "select concat_ws(' ', 'links', target, collection, path, records, dids) from atview.link_count")
	if err != nil {
		return nil, err
	}
	out = append(out, rows...)
	slices.Sort(out)
	return out, nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func difference(want, got []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d lines, want %d\n", len(got), len(want))
	for _, line := range want {
		if _, found := slices.BinarySearch(got, line); !found {
			fmt.Fprintf(&b, "missing:    %s\n", line)
			break
		}
	}
	for _, line := range got {
		if _, found := slices.BinarySearch(want, line); !found {
			fmt.Fprintf(&b, "unexpected: %s\n", line)
			break
		}
	}
	return b.String()
}

// TestKilledAtviewGoesOn kills atview at random moments while a network writes
// as fast as it reads. Each start finds a Postgres that the dead process left
// behind.
func TestKilledAtviewGoesOn(t *testing.T) {
	t.Parallel()
	net := startNetwork(t, 1)
	data := sharedDir(t)
	args := []string{"dev", "--lexicons", exampleLexiconDir(t), "--data", data, "--listen", "127.0.0.1:0", "--source", net.source}
	p := launch(t, args...)
	rng := rand.New(rand.NewPCG(1, 1))
	for range kills {
		net.advance(t, 200+rng.Int64N(5000))
		p.Kill()
		p = launch(t, args...)
	}
	net.advance(t, 2000)
	net.server.Pause()
	net.expect(t, p)
}

// TestKilledPostgresGoesOn kills Postgres under a running atview, which loses
// what the fold had committed and Postgres had not yet on disk.
func TestKilledPostgresGoesOn(t *testing.T) {
	t.Parallel()
	net := startNetwork(t, 2)
	data := sharedDir(t)
	p := launch(t, "dev", "--lexicons", exampleLexiconDir(t), "--data", data, "--listen", "127.0.0.1:0", "--source", net.source)
	rng := rand.New(rand.NewPCG(2, 2))
	for range kills {
		net.advance(t, 200+rng.Int64N(5000))
		was := killPostgres(t, data)
		// The log takes events at ten times the rate that Postgres folds them. What
		// comes while Postgres is down would take the rest of the day.
		net.server.Pause()
		eventually(t, time.Minute, "Postgres is started again", func() (bool, string) {
			now, err := postmaster(data)
			return err == nil && now != was, p.log()
		})
		net.server.Resume()
	}
	net.advance(t, 2000)
	net.server.Pause()
	net.expect(t, p)
}

// sharedDir is a temporary folder that Postgres' own user can reach.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "atview-e2e-data-") //nolint:usetesting // Postgres runs as another user, who cannot enter a test's folder
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func postmaster(data string) (int, error) {
	cluster := filepath.Join(data, "postgres", "cluster")
	if moved, err := os.ReadFile(filepath.Join(data, "postgres", "cluster.path")); err == nil {
		cluster = strings.TrimSpace(string(moved))
	}
	raw, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	return strconv.Atoi(first)
}

func killPostgres(t *testing.T, data string) int {
	t.Helper()
	var pid int
	eventually(t, time.Minute, "Postgres runs", func() (bool, string) {
		var err error
		if pid, err = postmaster(data); err != nil {
			return false, err.Error()
		}
		return syscall.Kill(pid, syscall.SIGKILL) == nil, "the process in postmaster.pid is not there"
	})
	return pid
}
