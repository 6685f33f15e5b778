package localpg

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	embedded "github.com/fergusstrange/embedded-postgres"
	"github.com/gofrs/flock"
	"github.com/rs/zerolog"
)

// embeddedVersion is what is fetched where there is no package manager that we
// can use. 17 is the first with a locale provider of its own; see locales.
const embeddedVersion = embedded.V17

// fetchDir is where fetched binaries are kept.
func fetchDir(cfg Config) string {
	if cfg.FetchDir != "" {
		return cfg.FetchDir
	}
	if os.Geteuid() == 0 {
		// Root's own cache is closed to the user that Postgres runs as.
		return "/var/cache/atview/postgres"
	}
	cache, err := os.UserCacheDir()
	if err != nil { // no HOME, as a service user has none
		cache = filepath.Join(os.TempDir(), "cache-"+strconv.Itoa(os.Geteuid()))
	}
	return filepath.Join(cache, "atview", "postgres")
}

// install gets a Postgres onto the machine, in the first way that works, and
// returns it.
func install(ctx context.Context, cfg Config, user account, log zerolog.Logger) (Binaries, error) {
	began := time.Now()
	dir := fetchDir(cfg)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Binaries{}, err
	}
	// Another atview on this machine may be at it: then what it fetches is ours
	// as well.
	gate := flock.New(filepath.Join(dir, "lock"))
	if _, err := gate.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return Binaries{}, fmt.Errorf("lock %s: %w", dir, err)
	}
	defer gate.Close()
	if found, _ := find(ctx, cfg, user); len(found) > 0 {
		return found[0], nil
	}

	if err := removeUnfinished(dir); err != nil {
		return Binaries{}, err
	}
	i := installer{cfg: cfg, dir: dir, log: log}
	var errs []error
	for _, way := range []struct {
		name   string
		usable bool
		run    func(context.Context) error
	}{
		{"apt-get install", cfg.Search == nil && os.Geteuid() == 0 && have("apt-get"), i.aptInstall},
		{"unpacking Debian packages", have("apt-get", "dpkg-deb"), i.aptUnpack},
		{"download of prebuilt binaries", true, i.download},
	} {
		if !way.usable {
			continue
		}
		log.Info().Str("way", way.name).Msg("no Postgres on this machine; installing it")
		if err := way.run(ctx); err != nil {
			log.Warn().Err(err).Str("way", way.name).Msg("Postgres could not be installed this way")
			errs = append(errs, fmt.Errorf("%s: %w", way.name, err))
			continue
		}
		found, look := find(ctx, cfg, user)
		if len(found) > 0 {
			log.Info().Dur("took", time.Since(began)).Str("version", found[0].Version).Str("bin", found[0].Dir).Msg("installed Postgres")
			return found[0], nil
		}
		errs = append(errs, fmt.Errorf("%s: it ended well, but there is still no usable Postgres: %v", way.name, look.skipped))
	}
	return Binaries{}, errors.Join(errs...)
}

func have(programs ...string) bool {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return false
		}
	}
	return true
}

type installer struct {
	cfg Config
	dir string
	log zerolog.Logger
}

// aptInstall installs the distribution's package, so that it gets the
// distribution's security updates.
func (i *installer) aptInstall(ctx context.Context) error {
	// The package would create a cluster of its own and start it, on the port
	// 5432 that somebody may have other plans for. It reads this folder first;
	// the file is ours and goes again, so that a later installation by hand
	// behaves as ever.
	dropIn := "/etc/postgresql-common/createcluster.d/atview-installs.conf"
	if err := os.MkdirAll(filepath.Dir(dropIn), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(dropIn, []byte("create_main_cluster = false\n"), 0o644); err != nil {
		return err
	}
	defer os.Remove(dropIn)

	if _, err := i.run(ctx, "apt-get", "update"); err != nil {
		i.log.Warn().Err(err).Msg("update of the package lists")
	}
	_, err := i.run(ctx, "apt-get", "install", "-y", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=120", // unattended upgrades run at boot
		"postgresql")
	return err
}

// simulated is a line of apt-get --simulate: what it would install.
var simulated = regexp.MustCompile(`(?m)^Inst (\S+) `)

// serverPackage is the dependency of Debian's package postgresql on that of
// the version which the release has.
var serverPackage = regexp.MustCompile(`\bpostgresql-\d+\b`)

// aptUnpack fetches the distribution's packages and unpacks them into a folder
// of ours, which takes no privilege. Debian's Postgres finds its files relative
// to its programs; the libraries get a path (librariesBeside).
func (i *installer) aptUnpack(ctx context.Context) error {
	work, err := os.MkdirTemp(i.dir, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	// Lists and cache of our own: the system's are not ours to write, and in a
	// container often empty.
	apt := filepath.Join(work, "apt")
	for _, sub := range []string{"lists/partial", "archives/partial", "deb", "root"} {
		if err := os.MkdirAll(filepath.Join(apt, sub), 0o755); err != nil {
			return err
		}
	}
	options := []string{
		"-o", "Dir::State::lists=" + filepath.Join(apt, "lists"),
		"-o", "Dir::Cache=" + apt,
		"-o", "Debug::NoLocking=1",
		"-o", "APT::Sandbox::User=", // stay who we are
	}
	get := func(args ...string) (string, error) { return i.run(ctx, "apt-get", append(options, args...)...) }

	_, updateErr := get("update") // hooks for the system's cache may fail, to no harm
	plan, err := get("--simulate", "--no-install-recommends", "install", "postgresql")
	if err != nil {
		return errors.Join(err, updateErr)
	}
	depends, err := i.run(ctx, "apt-cache", append(options, "depends", "postgresql")...)
	if err != nil {
		return errors.Join(err, updateErr)
	}
	server := serverPackage.FindString(depends)
	if server == "" {
		return fmt.Errorf("the package postgresql depends on no server: %s", lastLines(depends, 5))
	}
	packages := []string{server}
	for _, match := range simulated.FindAllStringSubmatch(plan, -1) {
		if name := match[1]; wanted(name) && !slices.Contains(packages, name) {
			packages = append(packages, name)
		}
	}
	download := append([]string{"download"}, packages...)
	if _, err := i.runIn(ctx, filepath.Join(apt, "deb"), "apt-get", append(options, download...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(apt, "deb", "*.deb"))
	if err != nil {
		return err
	}
	root := filepath.Join(apt, "root")
	for _, deb := range debs {
		if _, err := i.run(ctx, "dpkg-deb", "-x", deb, root); err != nil {
			return err
		}
	}
	if err := os.Chmod(root, 0o755); err != nil { // dpkg-deb gives it the package's mode
		return err
	}
	return replaceDir(root, filepath.Join(i.dir, server))
}

// wanted says which of the packages that come with Postgres it needs to run:
// its libraries, but not those of the compiler, which we switch off, of Perl and
// of translations (a hundred megabytes together), and no scripts.
func wanted(name string) bool {
	name, _, _ = strings.Cut(name, ":")
	if !strings.HasPrefix(name, "lib") || strings.HasSuffix(name, "-perl") {
		return false
	}
	for _, unused := range []string{"libllvm", "libz3-", "libperl", "libgdbm", "libc-"} {
		if strings.HasPrefix(name, unused) {
			return false
		}
	}
	return true
}

// librariesBeside is the library path of binaries that aptUnpack unpacked, and
// empty for all others.
func librariesBeside(dir string) string {
	version := filepath.Base(filepath.Dir(dir))
	root, ok := strings.CutSuffix(dir, filepath.Join("/usr/lib/postgresql", version, "bin"))
	if !ok || root == "" {
		return ""
	}
	var dirs []string
	for _, pattern := range []string{"usr/lib/*-linux-*", "lib/*-linux-*", "usr/lib", "lib"} {
		dirs = append(dirs, glob(filepath.Join(root, pattern))...)
	}
	return strings.Join(dirs, ":")
}

// download has the embedded-postgres library fetch binaries that run
// everywhere on this kind of machine.
func (i *installer) download(ctx context.Context) error {
	work, err := os.MkdirTemp(i.dir, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	// The library fetches only as part of a start, as ourselves, which as root
	// cannot work. With a data folder that cannot be, it stops after fetching.
	blocker := filepath.Join(work, "file")
	if err := os.WriteFile(blocker, nil, 0o600); err != nil {
		return err
	}
	tree := filepath.Join(work, "tree")
	var said bytes.Buffer
	config := embedded.DefaultConfig().Version(embeddedVersion).
		Port(0). // any is free
		CachePath(filepath.Join(work, "cache")).RuntimePath(filepath.Join(work, "run")).
		BinariesPath(tree).DataPath(filepath.Join(blocker, "data")).Logger(&said)
	if i.cfg.repository != "" {
		config = config.BinaryRepositoryURL(i.cfg.repository)
	}
	done := make(chan error, 1)
	go func() { done <- embedded.NewDatabase(config).Start() }()
	select {
	case err = <-done:
	case <-ctx.Done():
		// The library knows no contexts; its download ends by itself, and
		// writes to a folder that nobody looks at.
		return ctx.Err()
	}
	if !isProgram(filepath.Join(tree, "bin", "postgres")) {
		return fmt.Errorf("%w %s", err, lastLines(said.String(), 3))
	}
	if err := os.Chmod(tree, 0o755); err != nil {
		return err
	}
	return replaceDir(tree, filepath.Join(i.dir, "embedded-"+string(embeddedVersion)))
}

// replaceDir moves a finished folder to its place. Whatever is there was found
// unusable, or we would not be here.
func replaceDir(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (i *installer) run(ctx context.Context, name string, args ...string) (string, error) {
	return i.runIn(ctx, "", name, args...)
}

// runIn runs a program and returns its output. What it says goes to the log:
// all at debug, and at info now and then, so that nobody thinks we hang.
func (i *installer) runIn(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.WaitDelay = 5 * time.Second // a grandchild may keep the output open
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	var out bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		said := time.Now()
		for lines := bufio.NewReader(r); ; {
			line, err := lines.ReadString('\n')
			out.WriteString(line)
			if line = strings.TrimSpace(line); line != "" {
				level := zerolog.DebugLevel
				if time.Since(said) > 3*time.Second {
					level, said = zerolog.InfoLevel, time.Now()
				}
				i.log.WithLevel(level).Str("program", name).Msg(line)
			}
			if err != nil {
				return
			}
		}
	}()
	err := cmd.Run()
	_ = w.Close()
	<-read
	if err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", name, err, lastLines(out.String(), 3))
	}
	return out.String(), nil
}
