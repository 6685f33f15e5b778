package localpg

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// followUs has the kernel ask Postgres for a fast shutdown when the thread
// that started it ends, that is (the thread is locked to the supervision) when
// we die, however suddenly. The next start need not wait for an orphan then.
func followUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// isPostmaster says whether the process is a Postgres that works in the
// cluster: a postmaster changes into its data directory. Where we may not look,
// the process is of another user, and so not one that we or our like started.
func isPostmaster(pid int, cluster string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	exe, err := os.Readlink(filepath.Join(proc, "exe"))
	if err != nil {
		return false // also a zombie, which has ended
	}
	// After an update the program that runs is "…/postgres (deleted)".
	name := strings.TrimSuffix(filepath.Base(exe), " (deleted)")
	if name != "postgres" && name != "postmaster" {
		return false
	}
	at, err := os.Stat(filepath.Join(proc, "cwd"))
	if err != nil {
		return false
	}
	want, err := os.Stat(cluster)
	return err == nil && os.SameFile(at, want)
}

// gone says whether a process that was a Postgres of the cluster has ended, its
// hold on shared memory included. The link to its program vanishes a moment
// before that.
func gone(pid int, cluster string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return true
	}
	// "pid (name) state …", where the name may hold anything.
	if _, after, ok := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " "); ok && strings.HasPrefix(after, "Z") {
		return true // nobody waits for it, as in a container without an init
	}
	if _, err := os.Readlink(filepath.Join(proc, "exe")); err != nil {
		return false
	}
	return !isPostmaster(pid, cluster)
}

// endStrays kills the backends that outlived their postmaster: one that is
// busy does not notice for as long as its query runs, and no new server can
// start before it is gone. Killing them is safe: recovery from the log follows.
func endStrays(ctx context.Context, cluster string) (pids []int) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || !isPostmaster(pid, cluster) {
			continue
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			pids = append(pids, pid)
		}
	}
	// The kernel takes a moment, and until then their shared memory is in use.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, pid := range pids {
		awaitEnd(ctx, pid, cluster)
	}
	return pids
}

// memoryLimit is what we may use, in bytes: the machine's memory or the
// control group's share of it.
func memoryLimit() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	limit := int64(info.Totalram) * int64(info.Unit)
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			limit = min(limit, n)
		}
	}
	return limit
}

// sharedMemoryType avoids /dev/shm where it is too small: a container has 64 MB
// there, and a parallel hash join asks for more.
func sharedMemoryType() string {
	const enough = 256 << 20
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &fs); err == nil && int64(fs.Blocks)*int64(fs.Bsize) >= enough { //nolint:unconvert // Bsize has other widths on other machines
		return ""
	}
	return "sysv"
}
