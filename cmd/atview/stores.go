package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/atview/atview/index/localpg"
	"github.com/atview/atview/ingest/localnats"
)

// stores are the database and the log's server, ours or the user's.
type stores struct {
	DatabaseURL string
	NATS        *nats.Conn // nil when not asked for
	closers     []func()
}

// Close closes what was opened, last first.
func (s *stores) Close() {
	for _, closer := range slices.Backward(s.closers) {
		closer()
	}
	s.closers = nil
}

// openStores starts or connects to the database, and to NATS if wanted.
func openStores(ctx context.Context, s *settings, log zerolog.Logger, withNATS bool) (_ *stores, err error) {
	st := &stores{DatabaseURL: s.DatabaseURL}
	defer func() {
		if err != nil {
			st.Close()
		}
	}()
	ownNATS := withNATS && s.NATSURL == ""
	if s.DatabaseURL == "" || ownNATS {
		lock, err := lockData(s.Data)
		if err != nil {
			return nil, err
		}
		st.closers = append(st.closers, func() { _ = lock.Unlock() })
	}
	if s.DatabaseURL == "" {
		pg, err := localpg.Start(ctx, localpg.Config{Dir: filepath.Join(s.Data, "postgres"), Log: log.With().Str("component", "postgres").Logger()})
		if err != nil {
			return nil, err
		}
		st.closers = append(st.closers, func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			if err := pg.Stop(ctx); err != nil {
				log.Warn().Err(err).Msg("stop Postgres")
			}
		})
		st.DatabaseURL = pg.URL()
	}
	switch {
	case ownNATS:
		server, err := localnats.Start(localnats.Config{Dir: filepath.Join(s.Data, "nats"), Log: log.With().Str("component", "nats").Logger()})
		if err != nil {
			return nil, err
		}
		st.closers = append(st.closers, server.Stop)
		if st.NATS, err = server.Connect(nats.ErrorHandler(natsErrors(log))); err != nil {
			return nil, err
		}
		st.closers = append(st.closers, st.NATS.Close)
	case withNATS:
		st.NATS, err = nats.Connect(s.NATSURL, nats.Name("atview"), nats.MaxReconnects(-1), nats.ErrorHandler(natsErrors(log)),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn().Err(err).Msg("NATS connection lost") }),
			nats.ReconnectHandler(func(*nats.Conn) { log.Info().Msg("NATS connected again") }))
		if err != nil {
			return nil, fmt.Errorf("--nats-url %s: %w", s.NATSURL, err)
		}
		st.closers = append(st.closers, st.NATS.Close)
	}
	return st, nil
}

// natsErrors takes what NATS would print itself. Readers notice what they miss
// and read it again, so it is of interest to developers only.
func natsErrors(log zerolog.Logger) nats.ErrHandler {
	return func(_ *nats.Conn, _ *nats.Subscription, err error) {
		log.Debug().Err(err).Msg("NATS")
	}
}

// lockData makes the data folder this process's. The lock dies with it.
func lockData(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "atview.lock"))
	mine, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
	}
	if !mine {
		holder := "another atview"
		if seen, err := readRunning(dir); err == nil {
			holder = fmt.Sprintf("another atview (process %d, at %s)", seen.PID, seen.Console)
		}
		return nil, fmt.Errorf("%s is at work on the data folder %s; stop it, or give this one another with --data", holder, dir)
	}
	return lock, nil
}

// runningInfo is what a running atview leaves in its data folder, for commands
// that want to talk to it.
type runningInfo struct {
	PID      int    `json:"pid"`
	Console  string `json:"console"`
	GraphQL  string `json:"graphql"`
	Database string `json:"database"`
}

func runningFile(dir string) string { return filepath.Join(dir, "running.json") }

func readRunning(dir string) (runningInfo, error) {
	var info runningInfo
	raw, err := os.ReadFile(runningFile(dir))
	if err != nil {
		return info, err
	}
	return info, json.Unmarshal(raw, &info)
}

// writeRunning has the database's password in it, hence the mode.
func writeRunning(dir string, info runningInfo) error {
	raw, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(runningFile(dir), raw, 0o600)
}

// openDatabase connects to the database that --database-url or --data names: a
// running atview's, or else its private Postgres, started for the occasion.
func openDatabase(ctx context.Context, s *settings, log zerolog.Logger) (*pgxpool.Pool, func(), error) {
	pool, st, err := attach(ctx, s, log, false)
	if err != nil {
		return nil, nil, err
	}
	return pool, func() { pool.Close(); st.Close() }, nil
}

// attach is openDatabase, with NATS beside it if wanted and no atview runs that
// has its own.
func attach(ctx context.Context, s *settings, log zerolog.Logger, withNATS bool) (*pgxpool.Pool, *stores, error) {
	quick, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if info, err := readRunning(s.Data); s.DatabaseURL == "" && err == nil {
		if pool, err := connect(quick, info.Database, 8); err == nil {
			return pool, &stores{DatabaseURL: info.Database}, nil
		}
	}
	st, err := openStores(ctx, s, log, withNATS)
	if err != nil {
		return nil, nil, err
	}
	pool, err := connect(ctx, st.DatabaseURL, 24)
	if err != nil {
		st.Close()
		return nil, nil, err
	}
	return pool, st, nil
}

// leastPostgres is the oldest Postgres that the SQL is tried on.
const leastPostgres = 14

// connect opens a pool and makes sure that Postgres answers and is new enough.
func connect(ctx context.Context, databaseURL string, connections int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("--database-url: %w", err)
	}
	cfg.MaxConns = max(cfg.MaxConns, connections)
	cfg.ConnConfig.RuntimeParams["application_name"] = "atview"
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	// Three statements a collection, and hundreds of collections.
	cfg.ConnConfig.StatementCacheCapacity = 2048
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("--database-url: %w", err)
	}
	var number int
	if err := pool.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&number); err != nil {
		pool.Close()
		return nil, fmt.Errorf("database %s: %w", withoutPassword(databaseURL), err)
	}
	if number/10000 < leastPostgres {
		pool.Close()
		return nil, fmt.Errorf("database %s is Postgres %d; atview needs %d or newer", withoutPassword(databaseURL), number/10000, leastPostgres)
	}
	return pool, nil
}

func withoutPassword(databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "(no URL)"
	}
	return u.Redacted()
}

var errNoLexicons = errors.New("no lexicons: name a folder with --lexicons")
