package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A bench is a folder for the processes of one test, with a log of each. It is
// kept when the test fails.
type bench struct {
	t   testing.TB
	dir string
}

func newBench(t testing.TB) *bench {
	t.Helper()
	buildAtview(t) // before anything that goes on meanwhile

	dir, err := os.MkdirTemp("", "atview-peers-") //nolint:usetesting // a private Postgres may run as another user, who cannot enter a test's folder
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: dir}
	t.Cleanup(func() {
		if !t.Failed() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
			return
		}
		logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Error(err)
		}
		for _, path := range logs {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			t.Logf("the end of %s:\n%s", path, lastLines(string(text), 25))
		}
	})
	return b
}

// path makes a folder for a process's data, or names a file in an existing one.
func (b *bench) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

// A process is one of a test's, in a process group of its own, so that nothing
// that it starts can outlive the test.
type process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	exited chan struct{}
	// Lines of its standard output, of which a reader takes what it wants. The
	// rest is dropped here when nobody reads, and is in the log anyway.
	lines chan string
}

// start runs a program until the test ends, or until it is stopped or killed.
func (b *bench) start(name string, env []string, program string, args ...string) *process {
	b.t.Helper()
	log, err := os.OpenFile(b.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		b.t.Fatal(err)
	}
	fmt.Fprintf(log, "== %s %s\n", program, strings.Join(args, " "))
	p := &process{t: b.t, name: name, cmd: exec.Command(program, args...), exited: make(chan struct{}), lines: make(chan string, 100)}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = b.dir, env, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	// The PDSes end when this does, also if the test ends by a panic.
	if _, err := p.cmd.StdinPipe(); err != nil {
		b.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		defer close(p.lines)
		defer log.Close()
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			fmt.Fprintln(log, scanner.Text())
			select {
			case p.lines <- scanner.Text():
			default:
			}
		}
		_ = p.cmd.Wait() // how it ended is in ProcessState
		fmt.Fprintf(log, "== ended: %s\n", p.cmd.ProcessState)
	}()
	b.t.Cleanup(p.stop)
	return p
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends the process, and not what it started, as a power cut would: nothing
// is tidied up.
func (p *process) kill() {
	p.t.Helper()
	if !p.running() {
		p.t.Fatalf("%s has ended by itself", p.name)
	}
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
}

// stop asks the process to end, as Ctrl-C does, and sees to it that it does.
func (p *process) stop() {
	if p.running() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(40 * time.Second): // the simulator may take 30 s
			p.t.Errorf("%s does not stop", p.name)
		}
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // what is left of its group, if anything
	<-p.exited
}

// line waits for a line of output that begins with a word, and gives the rest.
func (p *process) line(word string, within time.Duration) string {
	p.t.Helper()
	timeout := time.After(within)
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				p.t.Fatalf("%s ended before it said %q", p.name, word)
			}
			if rest, found := strings.CutPrefix(line, word); found {
				return strings.TrimSpace(rest)
			}
		case <-timeout:
			p.t.Fatalf("%s did not say %q within %s", p.name, word, within)
		}
	}
}

// environment is the caller's without settings of the programs under test.
func environment(extra ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		ours := strings.HasPrefix(entry, "ATVIEW_") && !strings.HasPrefix(entry, "ATVIEW_POSTGRES_BIN=")
		if !ours && !strings.HasPrefix(entry, "JETSTREAM_") && !strings.HasPrefix(entry, "TAP_") && !strings.HasPrefix(entry, "RELAY_") {
			env = append(env, entry)
		}
	}
	return append(env, extra...)
}

// freeAddress is for peers that cannot say which port they were given. It is
// below 32768, where Linux begins to take ports for outgoing connections: one
// that a peer needs again after a restart must not be lent out in between.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20_000+rand.IntN(12_000)))
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("no free port in 100 tries")
	return ""
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
			t.Fatalf("%s: not within %s; at last: %s", what, within, last)
		}
	}
}

// client gives up a request that hangs, and keeps no connection to a process
// that may be killed.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get answers with the body of a 200.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return do(req)
}

func do(req *http.Request) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", req.Method, req.URL, resp.Status, body)
	}
	return body, nil
}
