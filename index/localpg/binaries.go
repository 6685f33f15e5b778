package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// minMajor is the oldest Postgres we take: 14 brought scram-sha-256 as the
// default, lz4 and DROP DATABASE … (FORCE); 13 is out of support.
const minMajor = 14

// ErrNoBinaries is returned when no usable Postgres is found or to be had. The
// error's text lists where it was looked for and how to install it.
var ErrNoBinaries = errors.New("no usable Postgres on this machine")

// ErrVersion is returned when there is a Postgres, but not of the major version
// that the cluster was made by.
var ErrVersion = errors.New("the cluster belongs to another major version of Postgres")

// Binaries is a folder with the programs of one Postgres: postgres, initdb,
// pg_ctl, with symbolic links resolved.
type Binaries struct {
	Dir     string
	Version string // as Postgres says it: "15.18", "19devel"
	Major   int

	libs string // LD_LIBRARY_PATH they need, if they came without an installation
}

// FindBinaries returns the Postgres that [Start] would use for a new cluster.
// It installs nothing.
func FindBinaries(ctx context.Context, cfg Config) (Binaries, error) {
	user := currentAccount()
	if os.Geteuid() == 0 {
		var err error
		if user, err = serviceAccount(); err != nil {
			return Binaries{}, err
		}
	}
	found, look := find(ctx, cfg, user)
	if len(found) == 0 {
		return Binaries{}, look.error(nil)
	}
	return found[0], nil
}

// binariesFor finds the binaries for the cluster of cfg.Dir, of its major version
// if it exists, and fetches some if there are none.
func binariesFor(ctx context.Context, cfg Config, log zerolog.Logger) (Binaries, error) {
	cluster, _, err := recordedPlace(cfg.Dir)
	if err != nil {
		return Binaries{}, err
	}
	user, err := accountFor(cluster) // first: it says best whose cluster we may not read
	if err != nil {
		return Binaries{}, err
	}
	major, err := clusterMajor(cluster)
	if err != nil {
		return Binaries{}, err
	}
	found, look := find(ctx, cfg, user)
	for _, s := range look.skipped {
		log.Debug().Str("bin", s.dir).Str("reason", s.reason).Msg("Postgres skipped")
	}
	if len(found) == 0 {
		if cfg.NoInstall || look.fixed {
			return Binaries{}, look.error(nil)
		}
		bin, err := install(ctx, cfg, user, log)
		if err != nil {
			return Binaries{}, look.error(err)
		}
		found = []Binaries{bin}
	}
	if major == 0 {
		return found[0], nil
	}
	for _, bin := range found {
		if bin.Major == major {
			return bin, nil
		}
	}
	var have []string
	for _, bin := range found {
		have = append(have, bin.Version+" ("+bin.Dir+")")
	}
	return Binaries{}, fmt.Errorf("cluster %s was made by Postgres %d, and found here is %s; install Postgres %d beside it, "+
		"or move the cluster with pg_upgrade, or remove the folder to index anew: %w",
		cluster, major, strings.Join(have, ", "), major, ErrVersion)
}

// search is the record of where was looked, for the error.
type search struct {
	looked  []string
	skipped []skip
	fixed   bool // by ATVIEW_POSTGRES_BIN: nothing else is to be tried
}

type skip struct{ dir, reason string }

// find returns all usable binaries, the preferred first.
func find(ctx context.Context, cfg Config, user account) ([]Binaries, search) {
	var look search
	var dirs []string
	switch env := os.Getenv("ATVIEW_POSTGRES_BIN"); {
	case env != "":
		look.fixed = true
		look.looked = []string{"ATVIEW_POSTGRES_BIN=" + env}
		dirs = []string{env}
	case cfg.Search != nil:
		look.looked = slices.Clone(cfg.Search)
		dirs = cfg.Search
	default:
		look.looked, dirs = usualPlaces()
	}
	if !look.fixed {
		pattern := filepath.Join(fetchDir(cfg), "*", "bin")
		look.looked = append(look.looked, pattern)
		dirs = append(dirs, glob(pattern)...)
		pattern = filepath.Join(fetchDir(cfg), "*", "usr/lib/postgresql/*/bin")
		look.looked = append(look.looked, pattern)
		dirs = append(dirs, glob(pattern)...)
	}

	var found []Binaries
	seen := map[string]bool{}
	for _, dir := range dirs {
		real, err := resolve(dir)
		if err != nil {
			// A place where nothing is needs no mention, unless somebody said
			// that something is there.
			if look.fixed || !errors.Is(err, os.ErrNotExist) {
				look.skipped = append(look.skipped, skip{dir, err.Error()})
			}
			continue
		}
		if seen[real] {
			continue
		}
		seen[real] = true
		bin, err := inspect(ctx, real, user)
		if err != nil {
			look.skipped = append(look.skipped, skip{real, err.Error()})
			continue
		}
		found = append(found, bin)
	}
	return found, look
}

// usualPlaces are the folders to look in, as patterns for the reader and as
// the folders that exist.
func usualPlaces() (patterns, dirs []string) {
	patterns = append(patterns, "PATH")
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			if _, err := exec.LookPath(filepath.Join(dir, "postgres")); err == nil {
				dirs = append(dirs, dir)
			}
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",                                       // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                                // RHEL, from postgresql.org
		"/usr/bin",                                                        // Fedora, Arch
		"/usr/local/bin",                                                  // FreeBSD, from source
		"/usr/local/pgsql/bin",                                            // from source
		"/usr/libexec/postgresql*",                                        // Alpine
		"/opt/homebrew/opt/postgresql*/bin",                               // Homebrew on ARM
		"/usr/local/opt/postgresql*/bin",                                  // Homebrew on Intel
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",                  // Homebrew on Linux
		"/Applications/Postgres.app/Contents/Versions/*/bin",              // Postgres.app
		"/run/current-system/sw/bin", "/nix/var/nix/profiles/default/bin", // Nix
	} {
		patterns = append(patterns, pattern)
		dirs = append(dirs, glob(pattern)...)
	}
	return patterns, dirs
}

// glob returns what matches, the highest version first.
func glob(pattern string) []string {
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return nil // only for a malformed pattern
	}
	slices.SortStableFunc(dirs, func(a, b string) int {
		return compareVersions(numbers.FindAllString(b, -1), numbers.FindAllString(a, -1))
	})
	return dirs
}

var numbers = regexp.MustCompile(`\d+`)

func compareVersions(a, b []string) int {
	return slices.CompareFunc(a, b, func(x, y string) int {
		i, _ := strconv.Atoi(x) // digits only; past 2^63 the order is of no interest
		j, _ := strconv.Atoi(y)
		return i - j
	})
}

// resolve follows the link that a postgres on PATH may be, to the folder where
// its siblings are.
func resolve(dir string) (string, error) {
	program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil {
		return "", err
	}
	real := filepath.Dir(program)
	if real != dir && !isProgram(filepath.Join(real, "initdb")) && isProgram(filepath.Join(dir, "initdb")) {
		return dir, nil // a folder of links to programs that live apart, as Nix has them
	}
	return real, nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// inspect runs the binaries in dir as the user who is to run them, which finds
// missing libraries and closed folders as well as the version.
func inspect(ctx context.Context, dir string, user account) (Binaries, error) {
	for _, program := range []string{"postgres", "initdb", "pg_ctl"} {
		if !isProgram(filepath.Join(dir, program)) {
			return Binaries{}, fmt.Errorf("no program %s there", program)
		}
	}
	bin := Binaries{Dir: dir, libs: librariesBeside(dir)}
	for _, program := range []string{"postgres", "initdb"} {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		out, err := user.command(ctx, bin, program, "--version").CombinedOutput()
		cancel()
		if err != nil {
			return Binaries{}, fmt.Errorf("%s --version as user %s: %w: %s", program, user.name, err, lastLines(string(out), 2))
		}
		match := versionLine.FindStringSubmatch(string(out))
		if match == nil {
			return Binaries{}, fmt.Errorf("%s --version says %q", program, lastLines(string(out), 1))
		}
		if bin.Version != "" && bin.Version != match[1] {
			return Binaries{}, fmt.Errorf("postgres is %s, but initdb is %s", bin.Version, match[1])
		}
		bin.Version = match[1]
		if bin.Major, err = strconv.Atoi(match[2]); err != nil {
			return Binaries{}, fmt.Errorf("version %q: %w", match[1], err)
		}
	}
	if bin.Major < minMajor {
		return Binaries{}, fmt.Errorf("version %s is too old, the oldest that works is %d", bin.Version, minMajor)
	}
	return bin, nil
}

func (l search) error(installing error) error {
	var b strings.Builder
	if l.fixed {
		b.WriteString(l.looked[0])
	} else {
		b.WriteString("looked in " + strings.Join(l.looked, ", "))
	}
	for _, s := range l.skipped {
		fmt.Fprintf(&b, "; %s: %s", s.dir, s.reason)
	}
	if l.fixed {
		return fmt.Errorf("%s: %w: that variable names the folder with postgres, initdb and pg_ctl (version %d or newer)", &b, ErrNoBinaries, minMajor)
	}
	if installing != nil {
		fmt.Fprintf(&b, "; installing it: %v", installing)
	}
	return fmt.Errorf("%s: %w. Install it with one of\n"+
		"  apt-get install postgresql        (Debian, Ubuntu)\n"+
		"  dnf install postgresql-server     (Fedora, RHEL)\n"+
		"  brew install postgresql           (macOS)\n"+
		"or name its folder in ATVIEW_POSTGRES_BIN, or use a server of your own by its URL", &b, ErrNoBinaries)
}
