//go:build unix && !linux

package localpg

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// followUs does nothing: only Linux can tie the life of a child to ours. The
// next start stops the orphan.
func followUs(*syscall.SysProcAttr) {}

// isPostmaster says whether the process is a Postgres that was started on the
// cluster, from its command line, where we put the folder.
func isPostmaster(pid int, cluster string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	program, args, _ := strings.Cut(strings.TrimSpace(string(out)), " -D ")
	return filepath.Base(program) == "postgres" && strings.TrimSpace(args) == cluster
}

func gone(pid int, cluster string) bool { return !isPostmaster(pid, cluster) }

// endStrays does nothing: a backend's command line does not tell its cluster.
// The restart is tried until they have ended.
func endStrays(context.Context, string) []int { return nil }

// memoryLimit is unknown here without cgo; the settings take their minimum.
func memoryLimit() int64 { return 0 }

func sharedMemoryType() string { return "" }
