package localpg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// How long an orphan gets to end by itself after each signal. A fast shutdown
// writes a checkpoint, of up to max_wal_size; an immediate one takes Postgres 5 s
// at most, after which it kills its own children.
const (
	fastShutdown      = 60 * time.Second
	immediateShutdown = 10 * time.Second
)

// stopOrphan stops the server that an earlier process left on the cluster. The
// caller holds the folder's lock, so whoever runs there has no living owner.
func stopOrphan(ctx context.Context, cluster string, log zerolog.Logger) error {
	pidFile := filepath.Join(cluster, "postmaster.pid")
	pid, err := readPostmasterPid(pidFile)
	if err != nil || pid == 0 {
		return err
	}
	if isPostmaster(pid, cluster) {
		if err := stopPostmaster(ctx, pid, cluster, log); err != nil {
			return err
		}
	}
	// One that was killed itself may have left backends, which hold its shared
	// memory and with it the next start.
	if pids := endStrays(ctx, cluster); len(pids) > 0 {
		log.Warn().Ints("pids", pids).Msg("ended backends that outlived their server")
	}
	if !alive(pid) {
		return nil // Postgres itself clears such a file away
	}
	if now, err := readPostmasterPid(pidFile); err != nil || now != pid {
		return err
	}
	// The number went to another process since, or its process has ended but
	// nobody has taken note. Postgres would take that for a server of this
	// cluster and refuse to start.
	log.Info().Int("pid", pid).Msg("removing a stale postmaster.pid: the process is not a Postgres of this cluster")
	if err := os.Remove(pidFile); err != nil {
		return fmt.Errorf("stale postmaster.pid: %w", err)
	}
	return nil
}

func stopPostmaster(ctx context.Context, pid int, cluster string, log zerolog.Logger) error {
	for _, try := range []struct {
		signal syscall.Signal
		mode   string
		wait   time.Duration
	}{
		{syscall.SIGINT, "fast", fastShutdown},
		{syscall.SIGQUIT, "immediate", immediateShutdown},
	} {
		log.Warn().Int("pid", pid).Str("shutdown", try.mode).Msg("stopping the Postgres that an earlier process left running")
		if err := syscall.Kill(pid, try.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the Postgres of an earlier process (pid %d): %w", pid, err)
		}
		waitCtx, cancel := context.WithTimeout(ctx, try.wait)
		ended := awaitEnd(waitCtx, pid, cluster)
		cancel()
		if ended {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stop the Postgres of an earlier process (pid %d): %w", pid, err)
		}
	}
	return fmt.Errorf("the Postgres of an earlier process (pid %d, cluster %s) does not stop: end it by hand", pid, cluster)
}

// readPostmasterPid returns 0 if there is no file, or none with a usable
// number.
func readPostmasterPid(path string) (int, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("postmaster.pid: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, notANumber := strconv.Atoi(strings.TrimSpace(line))
	if notANumber != nil || pid <= 1 { // negative in single-user mode, which has ended if we hold the lock
		return 0, nil //nolint:nilerr // a torn file names no process
	}
	return pid, nil
}

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// awaitEnd waits for a process that is not our child, for which there is no
// better way than to look again.
func awaitEnd(ctx context.Context, pid int, cluster string) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if gone(pid, cluster) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}
