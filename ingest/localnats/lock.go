package localnats

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// ErrLocked is returned by [Start] when another server runs on the folder. Two
// would overwrite each other's messages, and NATS itself does not notice. The
// error's text names the folder and, where it is known, the process.
var ErrLocked = errors.New("the folder is in use by another process; stop that one or choose another data folder")

// lockDir takes dir+".lock" for this process. The lock is the kernel's and
// goes with the process, however that ends, so a stale one does not exist. The
// process id inside is for the message only.
func lockDir(dir string) (*flock.Flock, error) {
	path := dir + ".lock"
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o644))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		if text, err := os.ReadFile(path); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				return nil, fmt.Errorf("lock %s, held by process %d: %w", dir, pid, ErrLocked)
			}
		}
		return nil, fmt.Errorf("lock %s: %w", dir, ErrLocked)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), lock.Close())
	}
	return lock, nil
}
