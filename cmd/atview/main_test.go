package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The tests in this package run the binary as a user would.

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "atview-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "atview")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic("build atview: " + err.Error())
	}
	// A private Postgres belongs to another user when root runs the tests.
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func shared(t testing.TB, elem ...string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join(append([]string{"..", "..", "..", "shared"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Skipf("needs the shared corpus: %s is absent", filepath.Join(elem...))
	}
	return p
}

func exampleLexiconDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "lexicons"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// environment is the caller's without settings of its own.
func environment(extra ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, envPrefix) || strings.HasPrefix(entry, "ATVIEW_POSTGRES_BIN=") {
			env = append(env, entry)
		}
	}
	return append(env, extra...)
}

// atview runs a command to its end.
func atview(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return atviewIn(t, t.TempDir(), nil, args...)
}

func atviewIn(t testing.TB, dir string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = dir, environment(env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("atview %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// process is an atview at work.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	// What it printed when it was ready.
	Console, GraphQL, Database, Indexing string

	mu     sync.Mutex
	stderr bytes.Buffer
	exited chan struct{}
}

// launch starts atview and waits for what it prints.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), exited: make(chan struct{})}
	p.cmd.Env = environment()
	p.cmd.Dir = t.TempDir()
	p.cmd.Stderr = writerFunc(func(b []byte) (int, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.stderr.Write(b)
	})
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			name, value, _ := strings.Cut(scanner.Text(), " ")
			value = strings.TrimSpace(value)
			switch name {
			case "Console":
				p.Console = value
			case "GraphQL":
				p.GraphQL = value
			case "Database":
				p.Database = value
			case "Indexing":
				p.Indexing = value
				close(ready)
			}
		}
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	t.Cleanup(p.Stop)
	select {
	case <-ready:
	case <-p.exited:
		t.Fatalf("atview %s ended before it was ready:\n%s", strings.Join(args, " "), p.log())
	case <-time.After(2 * time.Minute):
		t.Fatalf("atview %s is not ready after two minutes:\n%s", strings.Join(args, " "), p.log())
	}
	return p
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// Kill ends the process as a power cut would: nothing is tidied up.
func (p *process) Kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
}

// Stop asks the process to end, as Ctrl-C does.
func (p *process) Stop() {
	select {
	case <-p.exited:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Errorf("atview does not stop:\n%s", p.log())
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// eventually polls until ok holds. For what happens in another process there is
// no signal to wait for.
func eventually(t testing.TB, within time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		done, last := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s; at last:\n%s", what, within, last)
		}
	}
}

// psql runs a query and gives the rows' first column.
func psql(ctx context.Context, url, sql string) ([]string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// query asks the GraphQL API.
func query(t testing.TB, url, text string) string {
	t.Helper()
	body := fmt.Sprintf(`{"query":%q}`, text)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
