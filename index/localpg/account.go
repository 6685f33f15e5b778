package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the operating system user that Postgres runs as.
type account struct {
	name     string
	uid, gid int
	other    bool // not who we are: we are root and change to it
}

// currentAccount is who we are.
func currentAccount() account {
	a := account{uid: os.Geteuid(), gid: os.Getegid()}
	a.name = userName(a.uid)
	return a
}

// serviceAccount is whom root gives Postgres to.
func serviceAccount() (account, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if errors.Join(err1, err2) == nil && uid != 0 {
			return account{name: name, uid: uid, gid: gid, other: true}, nil
		}
	}
	return account{}, errors.New("no user to run Postgres, which refuses to be root's: there is neither a user postgres nor a user nobody to run it: run atview as an ordinary user")
}

// accountFor is who runs the Postgres of a cluster. An existing cluster goes
// on with its owner: Postgres takes no other, and "nobody" today may have been
// "postgres" had the package been installed before the first start.
func accountFor(cluster string) (account, error) {
	info, err := os.Stat(cluster)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if os.Geteuid() == 0 {
			return serviceAccount()
		}
		return currentAccount(), nil
	case err != nil:
		return account{}, fmt.Errorf("cluster: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return currentAccount(), nil
	}
	uid, gid := int(owner.Uid), int(owner.Gid)
	switch {
	case uid == os.Geteuid() && uid != 0:
		return currentAccount(), nil
	case os.Geteuid() == 0 && uid != 0:
		return account{name: userName(uid), uid: uid, gid: gid, other: true}, nil
	case os.Geteuid() == 0:
		return account{}, fmt.Errorf("the cluster %s belongs to root, as whom Postgres refuses to run: chown it to an ordinary user", cluster)
	}
	return account{}, fmt.Errorf("the cluster %s belongs to user %s, and we are %s: run atview as that user, or chown -R the folder above it", cluster, userName(uid), userName(os.Geteuid()))
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// command is a program of bin to be run as the account. Its environment is
// made, not inherited: a PGDATA, PGPORT or LC_ALL of the user's own would
// change what Postgres does.
func (a account) command(ctx context.Context, bin Binaries, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin.Dir, program), args...)
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=" + bin.Dir + ":/usr/bin:/bin",
		"HOME=/",
		// Messages in English, so that they can be searched for; on macOS
		// Postgres does not start at all without a valid LC_ALL.
		"LC_ALL=C",
	}
	libs := os.Getenv("LD_LIBRARY_PATH")
	if bin.libs != "" {
		libs = bin.libs
	}
	if libs != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+libs)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	a.apply(cmd.SysProcAttr)
	return cmd
}

func (a account) apply(attr *syscall.SysProcAttr) {
	if a.other {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
}

// own gives path to the account. It does nothing when we are it.
func (a account) own(path string) error {
	if !a.other {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// reaches says whether the account may pass through each folder down to and
// including dir; if not, which one stops it. It reads permission bits only,
// and so is blind to access control lists.
func (a account) reaches(dir string) (blocked string, err error) {
	if !a.other {
		return "", nil
	}
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return "", err
		}
		if !a.mayEnter(info) {
			blocked = dir // go on: the topmost is the one to name
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return blocked, nil
		}
		dir = parent
	}
}

func (a account) mayEnter(info os.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := info.Mode().Perm()
	switch {
	case int(owner.Uid) == a.uid:
		return mode&0o100 != 0
	case int(owner.Gid) == a.gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}
