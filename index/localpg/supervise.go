package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
	// maxPause is for a server that came up and died again, where it is likely
	// that work goes on in between.
	maxPause = time.Second
	// steady is how long a server must have lived for its death to count as the
	// first one again.
	steady = time.Minute
	// portTries: between the check that a port is free and Postgres' taking it,
	// another process can be faster. Five in a row is not bad luck any more.
	portTries = 5
)

// launch starts the server and the supervision, and returns when the server
// accepts connections or did not come up. ctx bounds the wait.
func (s *Server) launch(ctx context.Context) error {
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	first := make(chan error, 1)
	go s.supervise(ctx, first)
	err := <-first
	if err != nil {
		<-s.done
	}
	return err
}

// supervise keeps Postgres running until Stop. It stays on one thread: on
// Linux the server is told to stop when the thread that started it ends.
func (s *Server) supervise(startCtx context.Context, first chan<- error) {
	defer close(s.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	p, err := s.firstProcess(startCtx)
	first <- err
	if err != nil {
		return
	}
	var backoff time.Duration // none after the first death
	for {
		born := time.Now()
		select {
		case <-s.ctx.Done():
			s.setPid(0)
			return // end waits for the process
		case <-p.exited:
		}
		s.setPid(0)
		if time.Since(born) > steady {
			backoff = 0
		}
		s.log.Error().Str("how", p.state()).Str("said", s.output.tail()).Dur("wait", min(backoff, maxPause)).
			Msg("Postgres has ended; starting it again")
		for limit := maxPause; ; limit = maxBackoff {
			if !s.pause(min(backoff, limit)) {
				return
			}
			backoff = min(max(2*backoff, minBackoff), maxBackoff)
			if p = s.again(); p != nil {
				break
			}
		}
	}
}

// pause returns false if Stop came first.
func (s *Server) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-timer.C:
		return s.ctx.Err() == nil
	}
}

// firstProcess starts Postgres, on another port if the chosen one is snatched
// away.
func (s *Server) firstProcess(ctx context.Context) (*process, error) {
	for try := 1; ; try++ {
		if err := s.writeSettings(ctx); err != nil {
			return nil, err
		}
		p, err := s.spawn()
		if err != nil {
			return nil, err
		}
		err = s.awaitReady(ctx, p)
		if err == nil {
			return p, nil
		}
		p.kill()
		if try == portTries || !strings.Contains(s.output.tail(), "could not create any TCP/IP sockets") {
			return nil, err
		}
		if err := s.choosePort(); err != nil {
			return nil, err
		}
	}
}

// again starts Postgres after its death, and returns nil if that did not work.
func (s *Server) again() *process {
	if pids := endStrays(s.ctx, s.cluster); len(pids) > 0 {
		s.log.Info().Ints("pids", pids).Msg("ended backends that outlived their server")
	}
	p, err := s.spawn()
	if err == nil {
		// Recovery takes as long as it takes; only Stop cuts it short.
		if err = s.awaitReady(s.ctx, p); err == nil {
			s.log.Info().Int("pid", p.pid).Msg("Postgres accepts connections again")
			return p
		}
		if s.ctx.Err() != nil {
			return nil // end waits for the process
		}
		p.kill()
	}
	s.log.Error().Err(err).Msg("start of Postgres")
	return nil
}

// process is one life of the server.
type process struct {
	cmd    *exec.Cmd
	pid    int
	exited chan struct{} // closed when it has ended and was waited for
}

func (p *process) state() string {
	if p.cmd.ProcessState == nil {
		return "unknown"
	}
	return p.cmd.ProcessState.String()
}

// kill ends a server that is of no use, and waits for that.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.exited:
	case <-time.After(immediateShutdown):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

func (s *Server) spawn() (*process, error) {
	// Not the context's command: ending it is a matter of signals and patience.
	cmd := s.user.command(context.WithoutCancel(s.ctx), s.bin, "postgres", "-D", s.cluster)
	cmd.Stdout, cmd.Stderr = s.output.pipe, s.output.pipe
	// An interrupt at the terminal goes to the whole group. It is for us: we
	// finish what we have in hand and then stop the server.
	cmd.SysProcAttr.Setpgid = true
	if !s.cfg.keepOrphan {
		followUs(cmd.SysProcAttr)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start of Postgres: %w", err)
	}
	p := &process{cmd: cmd, pid: cmd.Process.Pid, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // the state says it all
	}()
	s.mu.Lock()
	s.running = p
	s.mu.Unlock()
	return p, nil
}

// awaitReady returns when the server accepts connections. The way to know is
// pg_ctl's: the last line of postmaster.pid.
func (s *Server) awaitReady(ctx context.Context, p *process) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	note := time.NewTicker(5 * time.Second)
	defer note.Stop()
	for {
		if ready(s.cluster, p.pid) {
			s.setPid(p.pid)
			return nil
		}
		select {
		case <-tick.C:
		case <-note.C:
			s.log.Info().Str("said", s.output.tail()).Msg("Postgres is still starting, as after a crash")
		case <-p.exited:
			return fmt.Errorf("start of Postgres: %s: %s", p.state(), s.output.tail())
		case <-ctx.Done():
			return fmt.Errorf("start of Postgres: %w: %s", ctx.Err(), s.output.tail())
		}
	}
}

func ready(cluster string, pid int) bool {
	text, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return len(lines) >= 8 && strings.TrimSpace(lines[0]) == fmt.Sprint(pid) && strings.TrimSpace(lines[7]) == "ready"
}

// end stops the supervision and then the server.
func (s *Server) end(ctx context.Context) error {
	s.cancel()
	<-s.done // from here on nobody starts another process
	s.mu.Lock()
	p := s.running
	s.mu.Unlock()

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := p.cmd.Process.Signal(signal); errors.Is(err, os.ErrProcessDone) {
			<-p.exited
			return nil
		}
		switch signal {
		case syscall.SIGINT:
			select {
			case <-p.exited:
				return nil
			case <-ctx.Done():
				s.log.Warn().Msg("Postgres takes too long to shut down; it is made to stop, and recovers at the next start")
			}
		case syscall.SIGQUIT:
			select {
			case <-p.exited:
			case <-time.After(immediateShutdown):
				continue
			}
			return fmt.Errorf("shutdown of Postgres cut short: %w", ctx.Err())
		}
	}
	<-p.exited
	return fmt.Errorf("shutdown of Postgres cut short: %w", ctx.Err())
}
