package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/atview/atview/index/localpg"
)

// externalURL names a server to use in place of a private one.
const externalURL = "ATVIEW_TEST_DATABASE_URL"

// Main runs the tests, stops what they started, fails them if a goroutine is
// left over, and exits. options are goleak's, for goroutines that a library
// will not end.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, "dbtest: goroutines left over:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// New creates an empty database for the test and returns its URL. It is
// dropped when the test ends, whoever may still be connected to it.
func New(t testing.TB) string {
	t.Helper()
	admin, err := shared.start()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), counter.Add(1))
	// template0: nobody can be connected to it, which would be an error.
	if _, err := admin.pool.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		t.Fatalf("dbtest: create database for the test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t's own has ended
		defer cancel()
		if _, err := admin.pool.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("dbtest: drop the test's database: %v", err)
		}
	})
	return withDatabase(admin.url, name)
}

// Pool is a pool of connections to a [New] database, closed when the test ends.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), New(t))
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Private starts a Postgres for this test alone, for tests that kill, stop or
// fill it. It is stopped when the test ends. See [Crash].
func Private(t testing.TB) *localpg.Server {
	t.Helper()
	dir, release, err := newRun()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	server, err := startServer(t.Context(), dir, zerolog.NewTestWriter(t))
	if err != nil {
		release()
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stopServer(server), os.RemoveAll(dir)); err != nil {
			t.Errorf("dbtest: %v", err)
		}
		release()
	})
	return server
}

// Crash kills the server with SIGKILL and returns when it has been started
// again and has recovered.
func Crash(t testing.TB, server *localpg.Server) {
	t.Helper()
	old := server.Pid()
	if old == 0 {
		t.Fatal("dbtest: the Postgres to be killed is not running")
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatalf("dbtest: kill Postgres: %v", err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if pid := server.Pid(); pid != 0 && pid != old {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("dbtest: Postgres did not come back before the test ended")
		}
	}
}

var (
	shared  instance
	counter atomic.Int64
)

// instance is the server of the test process, started by the first test that
// needs it.
type instance struct {
	once sync.Once
	err  error

	url     string
	pool    *pgxpool.Pool   // to create and drop databases
	server  *localpg.Server // nil if external
	dir     string
	release func()
}

func (i *instance) start() (*instance, error) {
	i.once.Do(func() { i.err = i.open(context.Background()) })
	return i, i.err
}

func (i *instance) open(ctx context.Context) (err error) {
	if i.url = os.Getenv(externalURL); i.url == "" {
		if i.dir, i.release, err = newRun(); err != nil {
			return err
		}
		if i.server, err = startServer(ctx, i.dir, os.Stderr); err != nil {
			return err
		}
		i.url = i.server.URL()
	}
	config, err := pgxpool.ParseConfig(i.url)
	if err != nil {
		return fmt.Errorf("%s: %w", externalURL, err)
	}
	// Creating databases is work of the server's; more at a time gains nothing.
	config.MaxConns = 4
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // CREATE DATABASE cannot be prepared
	if i.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	return nil
}

func (i *instance) stop() error {
	i.once.Do(func() { i.err = errors.New("the tests are over") })
	if i.pool != nil {
		i.pool.Close()
	}
	var err error
	if i.server != nil {
		err = stopServer(i.server)
	}
	if i.dir != "" {
		err = errors.Join(err, os.RemoveAll(i.dir))
		i.release()
	}
	return err
}

func startServer(ctx context.Context, dir string, log io.Writer) (*localpg.Server, error) {
	return localpg.Start(ctx, localpg.Config{
		Dir:      filepath.Join(dir, "pg"),
		Fast:     true,
		Template: filepath.Join(base(), "template"),
		Log:      zerolog.New(log).Level(zerolog.WarnLevel),
	})
}

func stopServer(server *localpg.Server) error {
	// Its data are thrown away: an ended context has it stop at once.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Stop(ctx)
}

// base holds the folders of all test processes of this user. The name has the
// user in it, so that users do not meet in each other's files.
func base() string {
	return filepath.Join(os.TempDir(), "atview-dbtest-"+strconv.Itoa(os.Geteuid()))
}

// newRun makes a folder for one server and removes those of processes that
// were killed. Each is locked by its process, so a folder whose lock can be
// had is nobody's.
func newRun() (dir string, release func(), err error) {
	if err := os.Mkdir(base(), 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	if err := ours(base()); err != nil {
		return "", nil, err
	}
	// One process at a time: between the making of a folder and its locking,
	// another would take it for a leftover.
	gate := flock.New(filepath.Join(base(), "lock"))
	if err := gate.Lock(); err != nil {
		return "", nil, err
	}
	defer gate.Close()

	runs, err := filepath.Glob(filepath.Join(base(), "run-*.lock"))
	if err != nil {
		return "", nil, err
	}
	for _, path := range runs {
		lock := flock.New(path)
		if ok, err := lock.TryLock(); err != nil || !ok {
			continue
		}
		// Errors are of no interest: the next process tries again.
		if os.RemoveAll(strings.TrimSuffix(path, ".lock")) == nil {
			_ = os.Remove(path)
		}
		_ = lock.Close()
	}

	dir, err = os.MkdirTemp(base(), "run-")
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // for Postgres' user, if we are root
		return "", nil, err
	}
	lock := flock.New(dir + ".lock")
	if err := lock.Lock(); err != nil {
		return "", nil, err
	}
	return dir, func() {
		_ = os.Remove(dir + ".lock")
		_ = lock.Close()
	}, nil
}

// ours refuses a folder that another user has put in our way: the template in
// it is run, in a sense, and holds a password.
func ours(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || ok && int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a folder of ours alone: remove it", dir)
	}
	return nil
}

func withDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server // start has parsed it
	}
	u.Path = "/" + name
	return u.String()
}
