package localpg

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestStart(t *testing.T) {
	t.Parallel()

	t.Run("KeepsDataAndURLAcrossRestart", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		cfg := quick(t, Config{Dir: dir})
		cfg.Fast, cfg.Template = false, "" // as users have it
		s, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		run(t, connect(t, s), `create table t as select 'kept'::text as v`)
		stop(t, s)
		stop(t, s) // harmless
		if s.Pid() != 0 {
			t.Errorf("after Stop the pid is %d", s.Pid())
		}

		again, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stop(t, again) })
		if v := query(t, connect(t, again), `select v from t`); v != "kept" {
			t.Errorf("got %q", v)
		}
		if s.URL() != again.URL() {
			t.Errorf("URL changed from %s to %s", s.URL(), again.URL())
		}
	})

	t.Run("TextIsOrderedByBytesAndFoldedByUnicode", func(t *testing.T) {
		t.Parallel()
		conn := connect(t, start(t, Config{Dir: folder(t)}))
		if v := query(t, conn, `select string_agg(v, '' order by v) from unnest(array['b','a','B','é']) v`); v != "Babé" {
			t.Errorf("order is %q, want that of the bytes", v)
		}
		if v := query(t, conn, `select lower('ÉCLAIR')`); v != "éclair" {
			t.Errorf("lower case is %q", v)
		}
	})

	t.Run("SettingsAreInForce", func(t *testing.T) {
		t.Parallel()
		conn := connect(t, start(t, Config{Dir: folder(t), Settings: map[string]string{"work_mem": "7MB", "max_connections": "55"}}))
		if v := query(t, conn, `select coalesce(string_agg(name || ': ' || error, '; '), '') from pg_file_settings where error is not null`); v != "" {
			t.Errorf("Postgres objects: %s", v)
		}
		for name, want := range map[string]string{
			"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "TimeZone": "UTC", "jit": "off",
			"work_mem": "7MB", "max_connections": "55", // the user's win over ours
		} {
			if v := query(t, conn, `show `+name); v != want {
				t.Errorf("%s is %q, want %q", name, v, want)
			}
		}
	})

	t.Run("WantsThePassword", func(t *testing.T) {
		t.Parallel()
		s := start(t, Config{Dir: folder(t)})
		if info, err := os.Stat(s.passwordFile()); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of the password file is %v, %v", info.Mode(), err)
		}
		u, err := url.Parse(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(Name, "guess")
		_, err = pgx.Connect(t.Context(), u.String())
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "28P01" {
			t.Errorf("a wrong password gave %v", err)
		}
	})

	t.Run("NewPasswordIfTheFileIsLost", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		stop(t, s)
		if err := os.Remove(s.passwordFile()); err != nil {
			t.Fatal(err)
		}
		again := start(t, Config{Dir: dir})
		connect(t, again)
		if again.password == s.password {
			t.Error("the password is the old one")
		}
	})

	t.Run("AnotherPortIfTheOldOneIsTaken", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		stop(t, s)
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", itoa(s.port)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		again := start(t, Config{Dir: dir})
		if again.port == s.port {
			t.Errorf("the port is still %d", s.port)
		}
		connect(t, again)
	})

	t.Run("DeepFolder", func(t *testing.T) {
		t.Parallel()
		dir := folder(t) // a socket's path could have 107 bytes
		for len(dir) < 300 {
			dir = filepath.Join(dir, strings.Repeat("deep", 10)+" folder's")
		}
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		connect(t, start(t, Config{Dir: dir}))
	})

	t.Run("SecondIsRefused", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		_, err := Start(t.Context(), quick(t, Config{Dir: dir}))
		if !errors.Is(err, ErrLocked) {
			t.Fatalf("got %v, want ErrLocked", err)
		}
		for _, want := range []string{dir, itoa(os.Getpid())} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not name %s", err, want)
			}
		}
		connect(t, s) // the first is unharmed
	})

	t.Run("FailureSaysWhyAndLeavesNothing", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		_, err := Start(t.Context(), quick(t, Config{Dir: dir, Settings: map[string]string{"work_mem": "plenty"}}))
		if err == nil || !strings.Contains(err.Error(), "work_mem") {
			t.Fatalf("got %v, want what Postgres says about work_mem", err)
		}
		connect(t, start(t, Config{Dir: dir})) // the folder is free, and in order
	})

	t.Run("CutOffBeforeTheDatabaseWasMade", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		conn, err := pgx.Connect(t.Context(), s.url("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		run(t, conn, `drop database `+Name)
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop(t, s)
		connect(t, start(t, Config{Dir: dir}))
	})

	t.Run("CancelledLeavesNothing", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Start(ctx, quick(t, Config{Dir: dir})); !errors.Is(err, context.Canceled) && !errors.Is(err, ErrNoBinaries) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
		connect(t, start(t, Config{Dir: dir}))
	})

	t.Run("ForeignFolderIsLeftAlone", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		file := filepath.Join(dir, "cluster", "precious")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, file, "x")
		if os.Geteuid() == 0 {
			if err := os.Chown(filepath.Dir(file), 12345, 12345); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := Start(t.Context(), quick(t, Config{Dir: dir})); err == nil {
			stop(t, s)
			t.Error("a folder with something else in it was taken for a cluster")
		}
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	})

	t.Run("ClearsAwayWhatWasCutOff", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		half := filepath.Join(dir, "new-123", "cluster", "base")
		if err := os.MkdirAll(half, 0o700); err != nil {
			t.Fatal(err)
		}
		connect(t, start(t, Config{Dir: dir}))
		if left, err := filepath.Glob(filepath.Join(dir, "new-*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})

	t.Run("BadConfig", func(t *testing.T) {
		t.Parallel()
		_, err := Start(t.Context(), Config{Settings: map[string]string{"work_mem = 1\nfsync": "off", "Port": "5432"}})
		if err == nil {
			t.Fatal("no error")
		}
		if faults := strings.Count(err.Error(), "\n") + 1; faults != 3 {
			t.Errorf("%d faults reported, want 3:\n%v", faults, err)
		}
	})
}

func TestStop(t *testing.T) {
	t.Parallel()

	t.Run("EndsOpenTransactions", func(t *testing.T) {
		t.Parallel()
		s := start(t, Config{Dir: folder(t)})
		conn := connect(t, s)
		run(t, conn, `begin; create table t (x int)`)
		stop(t, s)
		if err := conn.Ping(t.Context()); err == nil {
			t.Error("the connection outlived the server")
		}
	})

	t.Run("CutShortRecovers", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		run(t, connect(t, s), `create table t as select 'kept'::text as v`)
		// A stopped backend cannot take part in a fast shutdown.
		busy := connect(t, s)
		backend := int(busy.PgConn().PID())
		if err := syscall.Kill(backend, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Stop(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if v := query(t, connect(t, start(t, Config{Dir: dir})), `select v from t`); v != "kept" {
			t.Errorf("got %q", v)
		}
	})
}

func TestCrash(t *testing.T) {
	t.Parallel()

	t.Run("KilledServerComesBack", func(t *testing.T) {
		t.Parallel()
		s := start(t, Config{Dir: folder(t)})
		conn := connect(t, s)
		run(t, conn, `create table t as select 'kept'::text as v`)
		// A backend that is busy does not notice that its server is dead.
		busy := connect(t, s)
		started := make(chan error, 1)
		go func() {
			_, err := busy.Exec(context.Background(), `select count(*) from generate_series(1, 1e12::bigint)`)
			started <- err
		}()
		await(t, "the query runs", func() bool {
			return query(t, conn, `select count(*)::text from pg_stat_activity where query like '%1e12%' and state = 'active' and pid <> pg_backend_pid()`) == "1"
		})
		for range 3 {
			old := s.Pid()
			if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			await(t, "the server is back", func() bool { pid := s.Pid(); return pid != 0 && pid != old })
			if v := query(t, connect(t, s), `select v from t`); v != "kept" {
				t.Errorf("got %q", v)
			}
		}
		if err := <-started; err == nil {
			t.Error("the query outlived the server")
		}
	})

	t.Run("OrphanIsStopped", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		c := startChild(t, executable(t), dir, nil, orphanEnv+"=1")
		conn, err := pgx.Connect(t.Context(), c.url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		run(t, conn, `create table t as select 'kept'::text as v`)
		c.kill()
		if !isPostmaster(c.pid, filepath.Join(dir, "cluster")) {
			t.Fatal("there is no orphan: this test tests nothing")
		}
		s := start(t, Config{Dir: dir})
		if alive(c.pid) && !gone(c.pid, s.cluster) {
			t.Error("the orphan lives")
		}
		if v := query(t, connect(t, s), `select v from t`); v != "kept" {
			t.Errorf("got %q", v)
		}
		if s.URL() != c.url {
			t.Errorf("URL changed from %s to %s", c.url, s.URL())
		}
	})

	t.Run("KilledOrphanWithBusyBackend", func(t *testing.T) {
		t.Parallel()
		if runtime.GOOS != "linux" {
			t.Skip("only Linux says which cluster a backend is of")
		}
		dir := folder(t)
		c := startChild(t, executable(t), dir, nil, orphanEnv+"=1")
		conn, err := pgx.Connect(t.Context(), c.url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if err := syscall.Kill(int(conn.PgConn().PID()), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		c.kill()
		if err := syscall.Kill(c.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, "the orphan has ended", func() bool { return gone(c.pid, filepath.Join(dir, "cluster")) })
		connect(t, start(t, Config{Dir: dir}))
	})

	t.Run("ServerFollowsItsProcess", func(t *testing.T) {
		t.Parallel()
		if runtime.GOOS != "linux" {
			t.Skip("only Linux ties a child's life to ours")
		}
		dir := folder(t)
		c := startChild(t, executable(t), dir, nil)
		c.kill()
		await(t, "Postgres has ended", func() bool { return gone(c.pid, filepath.Join(dir, "cluster")) })
	})

	t.Run("RecycledPidIsNotOurs", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		stop(t, s)
		// Of the same user: only then Postgres takes it for one of its own.
		stranger := exec.CommandContext(t.Context(), "sleep", "600")
		stranger.SysProcAttr = &syscall.SysProcAttr{}
		s.user.apply(stranger.SysProcAttr)
		if err := stranger.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = stranger.Wait() }()
		put(t, filepath.Join(s.cluster, "postmaster.pid"), itoa(stranger.Process.Pid)+"\n"+s.cluster+"\n1700000000\n"+itoa(s.port)+"\n\n127.0.0.1\n  1  1\nready   \n")
		if err := s.user.own(filepath.Join(s.cluster, "postmaster.pid")); err != nil {
			t.Fatal(err)
		}

		connect(t, start(t, Config{Dir: dir}))
		select {
		case <-ended:
			t.Error("the stranger was killed")
		default:
		}
		_ = stranger.Process.Kill()
		<-ended
	})

	t.Run("AnotherClustersServerIsNotOurs", func(t *testing.T) {
		t.Parallel()
		other := start(t, Config{Dir: folder(t)})
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		stop(t, s)
		text, err := os.ReadFile(filepath.Join(other.cluster, "postmaster.pid"))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(s.cluster, "postmaster.pid"), string(text))
		if err := s.user.own(filepath.Join(s.cluster, "postmaster.pid")); err != nil {
			t.Fatal(err)
		}
		pid := other.Pid()
		connect(t, start(t, Config{Dir: dir}))
		connect(t, other)
		if other.Pid() != pid {
			t.Error("the other server was restarted")
		}
	})
}

func TestUser(t *testing.T) {
	t.Parallel()

	t.Run("OrdinaryUser", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("all the other tests run as an ordinary user")
		}
		// A place where that user can reach the test binary, and write.
		home := filepath.Dir(folder(t))
		self := filepath.Join(home, "localpg.test")
		if err := copyFile(executable(t), self); err != nil {
			t.Fatal(err)
		}
		own := filepath.Join(home, "own")
		const nobody = 65534
		if err := errors.Join(os.Chmod(self, 0o755), os.Mkdir(own, 0o700), os.Chown(own, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		c := startChild(t, self, filepath.Join(own, "postgres"), attr, "HOME="+own)
		if c.uid != nobody {
			t.Fatalf("the child runs as %d", c.uid)
		}
		conn, err := pgx.Connect(t.Context(), c.url)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close(t.Context())
		if err := c.stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("stop as an ordinary user: %v", err)
		}
		// Root goes on with the cluster's owner.
		if s := start(t, Config{Dir: filepath.Join(own, "postgres"), stateDir: home}); s.user.uid != nobody {
			t.Errorf("as root it runs as %s", s.user.name)
		}
	})

	t.Run("ClosedFolder", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("only root gives Postgres to another user")
		}
		top := filepath.Dir(folder(t))
		data := filepath.Join(top, "root", "data")
		if err := os.MkdirAll(data, 0o700); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Dir: filepath.Join(data, "postgres"), stateDir: filepath.Join(top, "state")}
		s := start(t, cfg)
		if !strings.HasPrefix(s.cluster, cfg.stateDir) {
			t.Errorf("the cluster is at %s", s.cluster)
		}
		run(t, connect(t, s), `create table t as select 'kept'::text as v`)
		stop(t, s)

		// It stays there, also when the folder is open by then.
		if err := os.Chmod(filepath.Join(top, "root"), 0o711); err != nil {
			t.Fatal(err)
		}
		again := start(t, cfg)
		if v := query(t, connect(t, again), `select v from t`); v != "kept" {
			t.Errorf("got %q", v)
		}
		stop(t, again)

		// Who removes the data folder wants to begin anew.
		if err := errors.Join(os.Chmod(filepath.Join(top, "root"), 0o700), os.RemoveAll(data)); err != nil {
			t.Fatal(err)
		}
		anew := start(t, cfg)
		if v := query(t, connect(t, anew), `select count(*)::text from pg_tables where tablename = 't'`); v != "0" {
			t.Error("the data of the removed folder are there")
		}
	})
}
