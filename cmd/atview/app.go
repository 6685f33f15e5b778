package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/graphql"
	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest"
	"github.com/atview/atview/ingest/backfill"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/jetstreamv2"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/migrations"
	"github.com/atview/atview/schema"
)

// The roles of a process.
const (
	roleIngest = "ingest"
	roleIndex  = "index"
	roleAPI    = "api"
)

var allRoles = []string{roleIngest, roleIndex, roleAPI}

// publicJetstreams are read when no source is named: Bluesky's own instances,
// which carry the whole network.
var publicJetstreams = "wss://jetstream2.us-east.bsky.network/subscribe,wss://jetstream1.us-west.bsky.network/subscribe," +
	"wss://jetstream1.us-east.bsky.network/subscribe,wss://jetstream2.us-west.bsky.network/subscribe"

// app is one process in its roles.
type app struct {
	s     *settings
	log   zerolog.Logger
	out   io.Writer
	roles []string
	// queries are shown in the console's editor.
	queries []string

	specs    []ingest.Spec
	plan     backfillPlan
	follows  bool // identities are looked up
	stores   *stores
	pool     *pgxpool.Pool // for writing: index, backfill, identities
	reads    *pgxpool.Pool // for the API
	stream   *stream.Log
	lane     *stream.Log // of repositories that are read whole
	peers    *peers
	runner   *ingest.Runner
	backfill *backfill.Backfill
	api      *graphql.API
	listener net.Listener

	mu      sync.Mutex // of what is replaced when the lexicons change
	catalog *schema.Catalog
	index   *index.Index
}

func (a *app) has(role string) bool { return slices.Contains(a.roles, role) }

// run opens what the roles need, works until ctx ends or, with --once, until
// the sources have, and closes in the reverse order.
func (a *app) run(ctx context.Context) (err error) {
	began := time.Now()
	if a.catalog == nil {
		if a.catalog, err = loadCatalog(a.s, a.log); err != nil {
			return err
		}
	}
	if err := a.decide(); err != nil {
		return err
	}
	// The port first: it fails at once, and a second atview should not touch the
	// stores of the first.
	if a.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.s.Listen); err != nil {
		return fmt.Errorf("--listen %s: %w", a.s.Listen, err)
	}
	defer a.listener.Close()
	if a.stores, err = openStores(ctx, a.s, a.log, a.has(roleIngest) || a.has(roleIndex)); err != nil {
		return err
	}
	defer a.stores.Close()
	if err := a.openDatabase(ctx); err != nil {
		return err
	}
	defer a.closeDatabase()
	if err := a.openLog(ctx); err != nil {
		return err
	}
	if a.has(roleIngest) {
		if err := a.openIngest(); err != nil {
			return err
		}
	}
	a.announce()
	if a.s.DatabaseURL == "" {
		if err := writeRunning(a.s.Data, a.running()); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
		defer os.Remove(runningFile(a.s.Data))
	}
	a.log.Info().Dur("took", time.Since(began)).Msg("ready")
	return a.work(ctx)
}

func (a *app) openDatabase(ctx context.Context) (err error) {
	if a.has(roleIndex) || a.has(roleIngest) && a.stores.DatabaseURL != "" {
		// A connection for each worker of the index, and a few for what else there is.
		if a.pool, err = connect(ctx, a.stores.DatabaseURL, 24); err != nil {
			return err
		}
		if err := migrations.Up(ctx, a.pool); err != nil {
			return err
		}
	}
	if a.has(roleIndex) {
		if a.catalog, err = index.KeepNames(ctx, a.pool, a.catalog); err != nil {
			return err
		}
		if err := migrateTables(ctx, a.pool, a.catalog, a.s, a.log); err != nil {
			return err
		}
	}
	if !a.has(roleAPI) {
		return nil
	}
	cfg, err := graphql.PoolConfig(a.stores.DatabaseURL, a.s.Timeout)
	if err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	if a.reads, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return fmt.Errorf("--database-url: %w", err)
	}
	if err := a.reads.Ping(ctx); err != nil {
		return fmt.Errorf("database %s: %w", withoutPassword(a.stores.DatabaseURL), err)
	}
	if a.catalog, err = index.KeepNames(ctx, a.reads, a.catalog); err != nil {
		return err
	}
	a.api, err = graphql.New(a.catalog, a.reads, graphql.Config{
		MaxPage: a.s.PageMax, MaxGroups: a.s.GroupMax, MaxDepth: a.s.DepthMax, MaxCost: a.s.CostMax, Timeout: a.s.Timeout,
		Joins: graphql.Joins(a.s.Joins), BlobURL: a.s.BlobURL,
		Log: a.log.With().Str("component", "graphql").Logger(),
	})
	return err
}

func (a *app) closeDatabase() {
	if a.reads != nil {
		a.reads.Close()
	}
	if a.pool != nil {
		a.pool.Close()
	}
}

// laneName is the stream of repositories that are read whole.
const laneName = "atview_backfill"

func (a *app) openLog(ctx context.Context) (err error) {
	if a.stores.NATS == nil {
		return nil
	}
	log := a.log.With().Str("component", "log").Logger()
	if a.stream, err = stream.Open(ctx, a.stores.NATS, stream.Config{Partitions: a.s.Partitions, MaxBytes: a.s.LogMaxBytes, Log: log}); err != nil {
		return err
	}
	a.lane, err = stream.Open(ctx, a.stores.NATS, stream.Config{Name: laneName, Partitions: a.stream.Partitions(), Log: log})
	if err != nil || !a.has(roleIndex) {
		return err
	}
	a.index, err = a.newIndex(a.catalog)
	return err
}

// openIngest makes what reads the network.
func (a *app) openIngest() (err error) {
	if a.peers, err = openPeers(a.s, a.pool, a.log); err != nil {
		return err
	}
	if a.pool == nil && (a.plan.on || a.follows) {
		a.log.Warn().Msg("without --database-url this process reads no repositories whole and looks up no identities")
		a.plan, a.follows = backfillPlan{}, false
	}
	opened, err := ingest.Open(a.specs, ingest.OpenConfig{
		JetstreamV2: jetstreamv2.Config{Archive: a.s.JetstreamArchive, APIKey: a.s.JetstreamKey},
		Directory:   a.peers.identities,
		Pool:        a.pool,
		Log:         a.log,
	})
	if err != nil {
		return err
	}
	wanted, err := a.wanted()
	if err != nil {
		return err
	}
	if err := a.openBackfill(); err != nil {
		return err
	}
	a.runner, err = ingest.New(ingest.Config{
		Stream: a.stream, Sources: opened.Sources, Backfill: a.lane, Archives: opened.Archives, Collections: wanted,
		Log: a.log.With().Str("component", "ingest").Logger(),
	})
	return err
}

func (a *app) newIndex(cat *schema.Catalog) (*index.Index, error) {
	return index.New(index.Config{
		Pool: a.pool, Log: a.stream, Backfill: a.lane, AskSeen: a.plan.seen, AskLinked: a.plan.linked, Catalog: cat, Logger: a.log.With().Str("component", "index").Logger(),
		BatchSize: a.s.BatchSize, KeepFolded: a.s.LogKeep,
	})
}

func (a *app) wanted() (source.Collections, error) {
	var patterns []string
	for _, c := range a.catalog.Collections {
		patterns = append(patterns, string(c.NSID))
	}
	return source.ParseCollections(patterns)
}

// decide reads what the settings say of sources, and finds mistakes before
// anything is opened.
func (a *app) decide() (err error) {
	if a.specs, err = ingest.Parse(a.s.Sources); err != nil {
		return err
	}
	for _, spec := range a.specs {
		if a.s.Once && !spec.Ends() {
			return fmt.Errorf("--once: source %s never ends; only file: sources do", spec)
		}
	}
	if a.s.Once && len(a.specs) == 0 {
		return errors.New("--once: name a file: source; the network never ends")
	}
	if a.plan, err = planBackfill(a.s, a.specs); err != nil {
		return err
	}
	a.s.Relay = a.plan.relay // named by the user, if only by its firehose: it may be anywhere
	if a.follows, err = identitiesOn(a.s, a.specs); err != nil {
		return err
	}
	if len(a.specs) == 0 {
		a.specs, err = ingest.Parse([]string{publicJetstreams})
	}
	return err
}

func (a *app) running() runningInfo {
	base := "http://" + a.listener.Addr().String()
	return runningInfo{PID: os.Getpid(), Console: base + "/", GraphQL: base + "/graphql", Database: a.stores.DatabaseURL}
}

// announce prints what scripts and people look for, a line each, in an order
// that does not change.
func (a *app) announce() {
	r := a.running()
	var from []string
	for _, spec := range a.specs {
		if a.has(roleIngest) {
			from = append(from, spec.Name())
		}
	}
	if len(from) == 0 {
		from = []string{"the log"}
	}
	database := r.Database
	if a.s.DatabaseURL != "" {
		database = withoutPassword(database) // the user knows it, and logs are read by others
	}
	fmt.Fprintf(a.out, "Console   %s\nGraphQL   %s\nDatabase  %s\nIndexing  %s from %s\n",
		r.Console, r.GraphQL, database, describeCollections(a.catalog), strings.Join(from, " and "))
}

func describeCollections(cat *schema.Catalog) string {
	const shown = 5
	var names []string
	for _, c := range cat.Collections {
		if len(names) == shown {
			return fmt.Sprintf("%d collections (%s, ...)", len(cat.Collections), strings.Join(names, ", "))
		}
		names = append(names, string(c.NSID))
	}
	return strings.Join(names, ", ")
}

// work runs the roles side by side.
func (a *app) work(ctx context.Context) error {
	ctx, finish := context.WithCancel(ctx)
	defer finish()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.serveHTTP(ctx) })
	if a.has(roleIndex) {
		g.Go(func() error { return a.runIndex(ctx) })
	} else {
		g.Go(func() error { return a.followLexicons(ctx) })
	}
	if a.backfill != nil {
		g.Go(func() error { return a.backfill.Run(ctx) })
		g.Go(func() error { return a.reportBackfill(ctx) })
	}
	if a.follows && a.has(roleIngest) {
		worker, err := identity.NewWorker(identity.WorkerConfig{Cache: a.peers.identities, Pool: a.pool, Log: a.log.With().Str("component", "identity").Logger()})
		if err != nil {
			return fmt.Errorf("identities: %w", err)
		}
		g.Go(func() error { return worker.Run(ctx) })
	}
	if a.has(roleIngest) {
		g.Go(func() error {
			err := a.runner.Run(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("ingest: %w", err)
			}
			a.log.Info().Msg("all sources have ended")
			if !a.s.Once {
				return nil
			}
			if a.has(roleIndex) {
				if err := a.currentIndex().Wait(ctx, index.LaneLive, a.runner.Positions()); err != nil {
					return err
				}
				a.log.Info().Interface("folded", a.currentIndex().Status().Folded).Msg("everything is committed")
			}
			finish()
			return nil
		})
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (a *app) serveHTTP(ctx context.Context) error {
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(a.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("HTTP server: %w", err)
	case <-ctx.Done():
	}
	// Requests under way are given time; after that they are cut.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		server.Close()
	}
	return nil
}

func loadCatalog(s *settings, log zerolog.Logger) (*schema.Catalog, error) {
	if len(s.Lexicons) == 0 {
		return nil, errNoLexicons
	}
	cat, err := schema.Load(s.Lexicons...)
	if err != nil {
		return nil, fmt.Errorf("--lexicons: %w", err)
	}
	for _, p := range cat.Problems {
		log.Warn().Str("file", p.File).Str("nsid", p.NSID).Msg(p.Reason)
	}
	if len(cat.Collections) == 0 {
		return nil, fmt.Errorf("--lexicons %s: no record lexicon among %d files that load (%d do not)",
			strings.Join(s.Lexicons, " "), len(cat.Lexicons), len(cat.Problems))
	}
	if cat, err = cat.Select(s.Collections...); err != nil {
		return nil, fmt.Errorf("--collections: %w", err)
	}
	return cat, nil
}
