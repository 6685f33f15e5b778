package localpg

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"
)

// stateDir holds the clusters that cannot be in their data folder. It is
// where a service keeps its state, by the Filesystem Hierarchy Standard, and
// survives a reboot, as a temporary folder would not.
const stateDir = "/var/lib/atview"

// home is where a cluster is and who runs it.
type home struct {
	cluster string  // the data directory; may not exist yet
	lockDir string  // the folder whose lock guards it
	user    account // runs Postgres
}

// dirMode is the mode of the folders we make. As root, Postgres' user has to
// pass through them; the cluster itself is 0700 either way.
func dirMode() os.FileMode {
	if os.Geteuid() == 0 {
		return 0o711
	}
	return 0o700
}

// makeDir makes a folder of that mode, whatever the process' umask.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, dirMode()); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil // nobody else has to get in, and it may not be ours to change
	}
	return os.Chmod(dir, dirMode())
}

// recordedPlace is where the cluster of dir is, or goes if its user can get
// there. elsewhere says that it is in stateDir, which dir has a note of.
func recordedPlace(dir string) (cluster string, elsewhere bool, err error) {
	marker := filepath.Join(dir, "cluster.path")
	text, err := os.ReadFile(marker)
	if errors.Is(err, os.ErrNotExist) {
		return filepath.Join(dir, "cluster"), false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("place of the cluster: %w", err)
	}
	cluster = strings.TrimSpace(string(text))
	if _, err := os.Stat(cluster); err != nil {
		return "", false, fmt.Errorf("cluster of %s (its place is recorded in %s; remove that file to begin anew): %w", dir, marker, err)
	}
	return cluster, true, nil
}

// locate finds the place of the cluster: where it is already, else inside
// cfg.Dir, else, if its user cannot get there, in stateDir. The choice is
// recorded, so that a later start finds the same cluster whatever the
// permissions have become.
func locate(cfg Config, log zerolog.Logger) (home, error) {
	dir := cfg.Dir
	inside, elsewhere, err := recordedPlace(dir)
	if err != nil {
		return home{}, err
	}
	if elsewhere {
		user, err := accountFor(inside)
		return home{cluster: inside, lockDir: filepath.Dir(inside), user: user}, err
	}
	user, err := accountFor(inside)
	if err != nil {
		return home{}, err
	}
	blocked, err := user.reaches(dir)
	if err != nil {
		return home{}, fmt.Errorf("folder of the private Postgres: %w", err)
	}
	if blocked == "" {
		return home{cluster: inside, lockDir: dir, user: user}, nil
	}
	if _, err := os.Stat(inside); err == nil {
		return home{}, fmt.Errorf("user %s, who owns the cluster %s, may no longer pass through %s: chmod o+x that folder", user.name, inside, blocked)
	}

	sum := sha256.Sum256([]byte(dir))
	state := stateDir
	if cfg.stateDir != "" {
		state = cfg.stateDir
	}
	outside := filepath.Join(state, hex.EncodeToString(sum[:8]))
	log.Warn().Str("folder", blocked).Str("user", user.name).Str("cluster", outside).
		Msg("Postgres cannot run as root, and its user may not pass through a folder above the data folder; the cluster is placed elsewhere")
	if err := errors.Join(makeDir(state), makeDir(outside)); err != nil {
		return home{}, fmt.Errorf("the user %s may not pass through %s (chmod o+x it, or choose another data folder), and the place to go instead: %w", user.name, blocked, err)
	}
	return home{cluster: filepath.Join(outside, "cluster"), lockDir: outside, user: user}, nil
}

// recordPlace notes in dir that its cluster is elsewhere. It is called once
// the cluster is complete, and not before: a note without a cluster is an
// error to locate.
func recordPlace(dir, cluster string) error {
	if filepath.Dir(cluster) == dir {
		return nil
	}
	return writeFile(filepath.Join(dir, "cluster.path"), cluster+"\n")
}

// writeFile replaces path as a whole, for its owner's eyes, so that a crash
// leaves the old text or the new one.
func writeFile(path, text string) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
