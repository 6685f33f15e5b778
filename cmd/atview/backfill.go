package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/atview/atview/ingest/backfill"
	"github.com/atview/atview/ingest/car"
	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

func backfillCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "backfill [DID...]",
		Args:  cobra.ArbitraryArgs,
		Short: "Show how reading repositories whole is getting on, or ask for some",
		Long: `Backfill shows how many repositories have been read whole, and which could not
be and why. With DIDs, or --backfill-dids, it asks for those repositories to be
read (again); --retry asks for all that have failed. The atview that runs with
the role ingest reads them.`,
		Example: `  atview backfill
  atview backfill did:plc:ewvi7nxzyoun6zhxrhs64oiz
  atview backfill --retry`,
	}, runBackfill, storeFlags, func(s *settings, f flagSet) {
		f.StringVar(&s.BackfillDIDs, "backfill-dids", "", "`file` of DIDs, one a line")
		f.BoolVar(&s.Retry, "retry", false, "try all repositories again that could not be read")
	})
}

func runBackfill(cmd *cobra.Command, s *settings) error {
	ctx := cmd.Context()
	dids, err := readDIDs(s.BackfillDIDs)
	if err != nil {
		return err
	}
	for _, arg := range s.Args {
		did, err := syntax.ParseDID(arg)
		if err != nil {
			return usageError{cmd, err}
		}
		dids = append(dids, did)
	}
	pool, done, err := openDatabase(ctx, s, s.logger())
	if err != nil {
		return err
	}
	defer done()
	if err := hasRun(ctx, pool); err != nil {
		return err
	}
	q := queries.New()
	out := cmd.OutOrStdout()
	if len(dids) > 0 {
		p := askFor(dids)
		if err := q.QueueRepos(ctx, pool, p); err != nil {
			return fmt.Errorf("queue repositories: %w", err)
		}
		fmt.Fprintf(out, "%d repositories queued\n", len(p.Dids))
	}
	if s.Retry {
		n, err := q.RetryRepos(ctx, pool)
		if err != nil {
			return fmt.Errorf("queue repositories: %w", err)
		}
		fmt.Fprintf(out, "%d repositories queued again\n", n)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if err := printRepos(ctx, w, pool); err != nil {
		return err
	}
	failed, err := q.FailedRepos(ctx, pool, 50)
	if err != nil {
		return fmt.Errorf("list repositories that could not be read: %w", err)
	}
	if len(failed) > 0 {
		fmt.Fprintln(w, "\nNOT READ\tSTATE\tATTEMPTS\tNEXT\tREASON")
	}
	for _, r := range failed {
		next := "-"
		if r.State == "failed" {
			next = r.DueAt.Time.UTC().Format(time.DateTime)
		}
		reason := ""
		if r.Reason != nil {
			reason = *r.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", r.Did, r.State, r.Attempts, next, reason)
	}
	return w.Flush()
}

// hasRun fails on a database on which atview has not run.
func hasRun(ctx context.Context, pool *pgxpool.Pool) error {
	var begun bool
	if err := pool.QueryRow(ctx, "select to_regclass('atview.repo') is not null").Scan(&begun); err != nil {
		return fmt.Errorf("look into the database: %w", err)
	}
	if !begun {
		return errors.New("the database is empty: atview has not run on it")
	}
	return nil
}

// askFor has repositories read whole, each once: Postgres refuses a statement that
// would write a row twice.
func askFor(dids []syntax.DID) queries.QueueReposParams {
	p := queries.QueueReposParams{Why: "asked"}
	for _, did := range dids {
		p.Dids = append(p.Dids, string(did))
	}
	slices.Sort(p.Dids)
	p.Dids = slices.Compact(p.Dids)
	p.WantedRevs = make([]string, len(p.Dids))
	return p
}

func readDIDs(path string) ([]syntax.DID, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--backfill-dids: %w", err)
	}
	defer f.Close()
	dids, err := backfill.ReadDIDs(f)
	if err != nil {
		return nil, fmt.Errorf("--backfill-dids %s: %w", path, err)
	}
	return dids, nil
}

// openBackfill makes what reads repositories whole, if the plan says so.
func (a *app) openBackfill() error {
	if !a.plan.on {
		return nil
	}
	dids, err := readDIDs(a.s.BackfillDIDs)
	if err != nil {
		return err
	}
	wanted, err := a.wanted()
	if err != nil {
		return err
	}
	fetch, err := fetchConfig(a.s, a.peers)
	if err != nil {
		return err
	}
	a.backfill, err = backfill.New(backfill.Config{
		Pool: a.pool, Lane: a.lane,
		Fetch:       fetch,
		Hosts:       backfill.HostConfig{Concurrency: a.s.BackfillPerHost, Rate: a.s.BackfillHostRate},
		NSIDs:       collectionsOf(a.catalog),
		Collections: wanted,
		RelayURL:    a.plan.relay, DIDs: dids, MaxReposPerCollection: int64(a.s.BackfillMaxRepos),
		Workers: a.s.BackfillWorkers,
		Log:     a.log.With().Str("component", "backfill").Logger(),
	})
	return err
}

// fetchConfig says how a repository is fetched. Downloads lie in the data folder:
// a system's temporary one may be in memory.
func fetchConfig(s *settings, p *peers) (backfill.FetchConfig, error) {
	dir := filepath.Join(s.Data, "tmp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return backfill.FetchConfig{}, fmt.Errorf("data folder: %w", err)
	}
	return backfill.FetchConfig{Directory: p.identities, HTTP: p.client, Limits: car.Limits{Bytes: s.BackfillMaxBytes}, TempDir: dir}, nil
}

func collectionsOf(cat *schema.Catalog) []syntax.NSID {
	var nsids []syntax.NSID
	for _, c := range cat.Collections {
		nsids = append(nsids, c.NSID)
	}
	return nsids
}

// reportBackfill says how far the backfill is, while there is something to say:
// by a bar on a terminal, by log lines otherwise.
func (a *app) reportBackfill(ctx context.Context) error {
	every := progressEvery
	if a.s.bar != nil {
		every = time.Second
		defer a.s.bar.show(0, "")
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var before backfill.Stats
	idle := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := a.backfill.Stats()
		busy := now.Open() > 0 || now.Listing
		report := now.Report(before)
		switch {
		case a.s.bar != nil && busy:
			a.s.bar.show(report.Done(), report.String())
		case busy || !idle: // the last line says that it is over
			a.s.bar.show(0, "")
			a.log.Info().Str("component", "backfill").Msg(report.String())
		}
		idle, before = !busy, now
	}
}
