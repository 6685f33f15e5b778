package localpg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

// Name is the database user (a superuser of this private cluster) and the
// database that [Server.URL] names.
const Name = "atview"

// Config says where the private Postgres lives and how it runs. Only Dir is
// required.
type Config struct {
	// Dir is the folder of the cluster and what belongs to it, such as
	// <data>/postgres. It is created if missing. As root, create the folders
	// above it so that others may pass through (mode 0711 or 0755).
	Dir string

	// Log receives the steps of a start, restarts and Postgres' own panics.
	// Zero value: nothing is logged.
	Log zerolog.Logger

	// Fast trades safety against a crash of the machine for speed (fsync off).
	// What was committed still survives a killed Postgres. For tests.
	Fast bool

	// Settings are added to postgresql.conf after atview's own, so they win.
	Settings map[string]string

	// Template is a folder that keeps a fresh cluster per user and Postgres
	// version, to be copied in place of running initdb, which saves most of a
	// second. All copies have the same password. For tests. Default: none.
	Template string

	// Search lists the folders to look in for Postgres' programs. Default
	// (nil): PATH and the usual places; empty but not nil: nowhere.
	// The environment variable ATVIEW_POSTGRES_BIN comes before either and
	// excludes both.
	Search []string

	// NoInstall makes missing binaries an error in place of a download.
	NoInstall bool

	// FetchDir is where downloaded binaries are kept. Default:
	// /var/cache/atview/postgres as root, else atview/postgres in the user's
	// cache folder.
	FetchDir string

	repository string // tests: where prebuilt binaries are fetched from
	stateDir   string // tests: in place of /var/lib/atview
	keepOrphan bool   // tests: do not let the kernel stop Postgres when we die
}

func (c *Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("no folder given for the private Postgres (Dir)"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
		switch {
		case !settingName.MatchString(name):
			errs = append(errs, fmt.Errorf("%q is not the name of a Postgres setting", name))
		case slices.Contains(reserved, strings.ToLower(name)):
			errs = append(errs, fmt.Errorf("the setting %s of the private Postgres cannot be changed: atview finds the server by it", name))
		}
	}
	return errors.Join(errs...)
}

// reserved settings say where the server is.
var reserved = []string{"port", "listen_addresses", "data_directory", "config_file", "hba_file"}

// Server is a running private Postgres. Its methods are safe for concurrent
// use.
type Server struct {
	cfg      Config
	log      zerolog.Logger
	bin      Binaries
	user     account
	cluster  string // data directory, absolute
	password string
	port     int
	output   *output
	fresh    bool // the cluster was made by this start

	ctx    context.Context //nolint:containedctx // of the supervision, which outlives every call; ends with Stop
	cancel context.CancelFunc
	done   chan struct{} // closed when the supervision has ended and Postgres is down

	mu      sync.Mutex
	running *process // the newest, dead or alive
	pid     int      // of the server that accepts connections; 0 while none does

	release func()
}

// Start brings up the Postgres of cfg.Dir and returns when it accepts
// connections: it takes the folder's lock, finds (or fetches) the binaries,
// creates the cluster if there is none, stops what an earlier process left
// running, and starts the server. ctx bounds the start only; the server lives
// until [Server.Stop]. The error is [ErrLocked] when another process has the
// folder, [ErrNoBinaries] when there is no usable Postgres, [ErrVersion] when
// the cluster belongs to another major version.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("folder of the private Postgres: %w", err)
	}
	log := cfg.Log
	began := time.Now()

	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()

	if err := makeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("folder of the private Postgres: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	locks := []*flock.Flock{lock}
	release := func() {
		for _, l := range locks {
			_ = l.Close() // closing the file is all there is to do; the process' end does it too
		}
	}
	undo = append(undo, func() { release() })

	step := newStepLog(log)
	bin, err := binariesFor(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	step.done("found Postgres", func(e *zerolog.Event) { e.Str("version", bin.Version).Str("bin", bin.Dir) })

	home, err := locate(cfg, log) // after an installation, which may have made the user
	if err != nil {
		return nil, err
	}
	if home.lockDir != cfg.Dir {
		second, err := lockDir(home.lockDir)
		if err != nil {
			return nil, err
		}
		locks = append(locks, second)
	}

	s := &Server{
		cfg: cfg, log: log, bin: bin, user: home.user, cluster: home.cluster,
		done: make(chan struct{}), release: release,
	}
	if err := stopOrphan(ctx, s.cluster, log); err != nil {
		return nil, err
	}
	if err := s.prepareCluster(ctx, step); err != nil {
		return nil, err
	}
	if s.output, err = newOutput(filepath.Join(cfg.Dir, "log"), log); err != nil {
		return nil, err
	}
	undo = append(undo, s.output.close)

	if err := s.launch(ctx); err != nil {
		return nil, err
	}
	undo = append(undo, func() {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = s.end(stopCtx) // the start's own error matters more
	})
	step.done("Postgres accepts connections", func(e *zerolog.Event) { e.Int("port", s.port).Int("pid", s.Pid()) })

	if err := s.ensureDatabase(ctx); err != nil {
		return nil, err
	}
	log.Info().Dur("took", time.Since(began)).Str("dir", cfg.Dir).Msg("private Postgres is ready")
	return s, nil
}

// URL is where the database is, with user and password, for pgx or psql. It
// stays the same for the life of the server, also across its restarts.
func (s *Server) URL() string { return s.url(Name) }

func (s *Server) url(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(Name, s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable", // the loopback interface is not worth a certificate
	}
	return u.String()
}

// Binaries are the programs that the server runs from.
func (s *Server) Binaries() Binaries { return s.bin }

// LogFile is the path of Postgres' own log.
func (s *Server) LogFile() string { return s.output.path }

// Pid is the process id of the server that accepts connections, and 0 while
// there is none: between a crash and the end of its recovery, and after Stop.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

func (s *Server) setPid(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
}

// Stop shuts Postgres down and gives the folder free. Open connections are
// closed and their transactions rolled back (a "fast" shutdown); when ctx ends
// before that is through, the server is made to stop at once, and the next
// start recovers. It returns when the server is gone. Calling it again is
// harmless.
func (s *Server) Stop(ctx context.Context) error {
	err := s.end(ctx)
	s.output.close()
	s.release()
	return err
}

// ensureDatabase creates the database of URL if the cluster is new.
func (s *Server) ensureDatabase(ctx context.Context) error {
	if !s.fresh {
		conn, err := pgx.Connect(ctx, s.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		// The first start may have been cut off before it came this far.
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "3D000" { // invalid_catalog_name
			return fmt.Errorf("connection to the private Postgres: %w", err)
		}
	}
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return fmt.Errorf("connection to the private Postgres: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{Name}.Sanitize()); err != nil {
		return fmt.Errorf("create database %s: %w", Name, err)
	}
	return nil
}

// stepLog says at info how long each step of a start took, because a slow
// first start is the first thing that a new user sees.
type stepLog struct {
	log  zerolog.Logger
	last time.Time
}

func newStepLog(log zerolog.Logger) *stepLog { return &stepLog{log: log, last: time.Now()} }

func (l *stepLog) done(what string, fields func(*zerolog.Event)) {
	e := l.log.Info().Dur("took", time.Since(l.last))
	if fields != nil {
		fields(e)
	}
	e.Msg(what)
	l.last = time.Now()
}
