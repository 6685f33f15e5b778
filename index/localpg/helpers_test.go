package localpg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// childEnv makes this test binary start a server on the named folder and wait:
// what happens when a process dies needs a process.
const (
	childEnv  = "LOCALPG_TEST_CHILD"
	orphanEnv = "LOCALPG_TEST_ORPHAN" // and let Postgres outlive it
)

// template is shared by the tests; initdb is tested where it matters.
var template string

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
	}
	dir, err := os.MkdirTemp("", "localpg-template-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	template = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func child(dir string) {
	s, err := Start(context.Background(), Config{Dir: dir, Fast: true, NoInstall: true, keepOrphan: os.Getenv(orphanEnv) != ""})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.Pid(), os.Geteuid(), s.URL())
	_, _ = io.Copy(io.Discard, os.Stdin) // until told, or killed
	if err := s.Stop(context.Background()); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process of this test binary with a server, and what it said of that.
type childProcess struct {
	cmd   *exec.Cmd
	stdin io.Closer
	pid   int // of the server
	uid   int // of the child
	url   string
}

// startChild runs the binary self, which is this one or a copy of it.
func startChild(t *testing.T, self, dir string, attr *syscall.SysProcAttr, env ...string) *childProcess {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Dir = "/"
	cmd.Env = append(append(os.Environ(), childEnv+"="+dir), env...)
	cmd.SysProcAttr = attr
	cmd.Stderr = os.Stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	c := &childProcess{cmd: cmd, stdin: stdin}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error:") {
		t.Fatalf("child: %v %s", err, line)
	}
	if _, err := fmt.Sscan(line, &c.pid, &c.uid, &c.url); err != nil {
		t.Fatalf("child said %q: %v", line, err)
	}
	return c
}

func (c *childProcess) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // "signal: killed"; a second time, an error of no interest
}

func executable(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// folder is the name of a folder in a temporary one that Postgres' user may
// pass through.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "postgres")
}

func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), quick(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

// quick adds to the configuration what a test wants.
func quick(t testing.TB, cfg Config) Config {
	cfg.Log = zerolog.New(zerolog.NewTestWriter(t))
	cfg.NoInstall = true
	cfg.Fast = true
	cfg.Template = template
	return cfg
}

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func connect(t testing.TB, s *Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func query(t testing.TB, conn *pgx.Conn, sql string) (value string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// await returns when the condition, of another process, holds.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// fakeBin is a folder with programs that say they are of that version.
func fakeBin(t testing.TB, version string, programs ...string) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(folder(t)), "pg-"+version, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		script := "#!/bin/sh\necho '" + program + " (PostgreSQL) " + version + " (a fake)'\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
