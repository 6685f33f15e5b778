package dbtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// childEnv makes this test binary run one of the tests named TestChild… alone:
// what happens at the end of a process needs a process.
const childEnv = "DBTEST_CHILD"

func TestMain(m *testing.M) { Main(m) }

func TestNew(t *testing.T) {
	t.Parallel()

	t.Run("DatabasesAreEmptyAndApart", func(t *testing.T) {
		t.Parallel()
		a, b := Pool(t), Pool(t)
		if _, err := a.Exec(t.Context(), `create table mine (x int)`); err != nil {
			t.Fatal(err)
		}
		var tables int
		err := b.QueryRow(t.Context(), `select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')`).Scan(&tables)
		if err != nil || tables != 0 {
			t.Errorf("the other database has %d tables, %v", tables, err)
		}
	})

	t.Run("DroppedWithTheTestThoughInUse", func(t *testing.T) {
		t.Parallel()
		var url string
		var left *pgx.Conn
		t.Run("Inner", func(t *testing.T) {
			url = New(t)
			var err error
			if left, err = pgx.Connect(context.Background(), url); err != nil {
				t.Fatal(err)
			}
		})
		defer left.Close(context.Background())
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "3D000" {
			t.Errorf("connecting after the test: %v, want that the database does not exist", err)
		}
	})
}

func TestPrivate(t *testing.T) {
	t.Parallel()
	server := Private(t)
	if shared := New(t); strings.HasPrefix(shared, strings.TrimSuffix(server.URL(), "atview")) {
		t.Fatalf("%s is on the private server %s", shared, server.URL())
	}
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `create table t as select 'kept'::text as v`); err != nil {
		t.Fatal(err)
	}
	Crash(t, server)
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection outlived the server")
	}
	conn, err = pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var v string
	if err := conn.QueryRow(t.Context(), `select v from t`).Scan(&v); err != nil || v != "kept" {
		t.Errorf("after the crash: %q, %v", v, err)
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()

	t.Run("ManyMayMakeTheTemplateAtOnce", func(t *testing.T) {
		t.Parallel()
		tmp := openTemp(t)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if out, err := child(t, "TestChildNew", "TMPDIR="+tmp).CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
		wg.Wait()
		if left := runs(t, tmp); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		templates, err := filepath.Glob(filepath.Join(tmp, filepath.Base(base()), "template", "*"))
		if err != nil || len(templates) != 1 {
			t.Errorf("templates: %v, %v; want one", templates, err)
		}
	})

	t.Run("KilledLeavesNothing", func(t *testing.T) {
		t.Parallel()
		tmp := openTemp(t)
		cmd := child(t, "TestChildWaits", "TMPDIR="+tmp)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		url, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // "signal: killed"
		if runtime.GOOS == "linux" {
			awaitRefusal(t, strings.TrimSpace(url))
		}
		if len(runs(t, tmp)) == 0 {
			t.Fatal("the killed process had no folder: this test tests nothing")
		}
		if out, err := child(t, "TestChildNew", "TMPDIR="+tmp).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if left := runs(t, tmp); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})

	t.Run("LeakedGoroutineFails", func(t *testing.T) {
		t.Parallel()
		out, err := child(t, "TestChildLeaks").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "TestChildLeaks") {
			t.Errorf("a leak gave %v: %s", err, out)
		}
	})

	t.Run("ExternalServer", func(t *testing.T) {
		t.Parallel()
		server := Private(t)
		out, err := child(t, "TestChildNew", externalURL+"="+server.URL()).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if want := strings.TrimSuffix(server.URL(), "/atview?sslmode=disable") + "/test_"; !strings.Contains(string(out), want) {
			t.Errorf("the database is not on the given server: %s", out)
		}
	})
}

func TestOthersFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := ours(dir); err == nil {
		t.Error("a folder that all may write to was accepted")
	}
}

func TestChildNew(t *testing.T) {
	inChild(t)
	fmt.Println(New(t))
}

func TestChildWaits(t *testing.T) {
	inChild(t)
	fmt.Println(New(t))
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed
}

func TestChildLeaks(t *testing.T) {
	inChild(t)
	go func() { select {} }()
}

func inChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("runs in a process of its own, started by TestProcess")
	}
}

func child(t *testing.T, test string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+test+"$", "-test.v=false")
	cmd.Env = append(append(os.Environ(), childEnv+"=1"), env...)
	stdin, w, err := os.Pipe() // held open, for TestChildWaits
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = stdin
	t.Cleanup(func() { _ = errors.Join(stdin.Close(), w.Close()) })
	return cmd
}

// openTemp is a temporary folder that Postgres' user may pass through.
func openTemp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runs lists the folders of processes whose lock is not held.
func runs(t *testing.T, tmp string) (left []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(tmp, filepath.Base(base()), "run-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if lock := flock.New(strings.TrimSuffix(path, ".lock") + ".lock"); !strings.HasSuffix(path, ".lock") {
			if ok, err := lock.TryLock(); err != nil || !ok {
				continue
			}
			_ = lock.Close()
		}
		left = append(left, path)
	}
	return left
}

// awaitRefusal returns when nobody listens at the URL any more.
func awaitRefusal(t *testing.T, url string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil && strings.Contains(err.Error(), "connection refused") {
			return
		}
		if err == nil {
			_ = conn.Close(t.Context())
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("Postgres outlived its process")
		}
	}
}
