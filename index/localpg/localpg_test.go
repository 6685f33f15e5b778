package localpg

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is a temporary one that Postgres' user may pass through.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil {
			break
		}
	}
	return filepath.Join(dir, "postgres")
}

func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	cfg.Log = zerolog.New(zerolog.NewTestWriter(t))
	cfg.NoInstall = true
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func connect(t testing.TB, s *Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec1(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	t.Run("KeepsDataAcrossRestart", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		exec1(t, connect(t, s), `create table t as select 'kept'::text as v`)
		stop(t, s)

		again := start(t, Config{Dir: dir})
		var v string
		if err := connect(t, again).QueryRow(t.Context(), `select v from t`).Scan(&v); err != nil || v != "kept" {
			t.Fatalf("got %q, %v", v, err)
		}
		if s.URL() != again.URL() {
			t.Errorf("URL changed from %s to %s", s.URL(), again.URL())
		}
	})
}
