package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/atview/atview/queries"
)

func statusCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "status",
		Short: "Show what is indexed and how far, from the database",
	}, func(cmd *cobra.Command, s *settings) error {
		pool, done, err := openDatabase(cmd.Context(), s, s.logger())
		if err != nil {
			return err
		}
		defer done()
		out := cmd.OutOrStdout()
		if info, err := readRunning(s.Data); s.DatabaseURL == "" && err == nil {
			printReadiness(cmd.Context(), out, info)
		}
		return printStatus(cmd.Context(), out, pool)
	}, storeFlags)
}

func printReadiness(ctx context.Context, out io.Writer, info runningInfo) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, info.Console+"readyz", nil)
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintf(out, "process %d does not answer at %s\n\n", info.PID, info.Console)
		return
	}
	defer resp.Body.Close()
	var ready readiness
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&ready); err != nil {
		return
	}
	fmt.Fprintf(out, "process %d at %s, ready: %t\n", info.PID, info.Console, ready.Ready)
	for _, reason := range ready.Reasons {
		fmt.Fprintf(out, "  %s\n", reason)
	}
	fmt.Fprintln(out)
}

func printStatus(ctx context.Context, out io.Writer, pool *pgxpool.Pool) error {
	var begun bool
	if err := pool.QueryRow(ctx, "select to_regclass('atview.collection') is not null").Scan(&begun); err != nil {
		return err
	}
	if !begun {
		fmt.Fprintln(out, "The database is empty: atview has not run on it.")
		return nil
	}
	q := queries.New()
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	collections, err := q.Collections(ctx, pool)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "COLLECTION\tRECORDS\tHIDDEN\tFLAGGED\tNEWEST")
	for _, c := range collections {
		var records, hidden, flagged int64
		var newest *time.Time
		err := pool.QueryRow(ctx, "select count(*), count(*) filter (where hidden), count(*) filter (where flagged), max(indexed_at) from "+
			pgx.Identifier{"records", c.TableName}.Sanitize()).Scan(&records, &hidden, &flagged, &newest)
		if err != nil {
			return fmt.Errorf("count %s: %w", c.Nsid, err)
		}
		seen := "-"
		if newest != nil {
			seen = newest.UTC().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", c.Nsid, records, hidden, flagged, seen)
	}
	fmt.Fprintln(w, "\nLANE\tPARTITION\tPOSITION\tMOVED")
	positions, err := q.Positions(ctx, pool)
	if err != nil {
		return err
	}
	for _, p := range positions {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", p.Lane, p.Partition, p.Seq, p.UpdatedAt.Time.UTC().Format(time.DateTime))
	}
	if err := printRepos(ctx, w, pool); err != nil {
		return err
	}
	var actors, inactive, letters int64
	err = pool.QueryRow(ctx, `select (select count(*) from atview.actor), (select count(*) from atview.actor where status <> 'active'),
		(select count(*) from atview.dead_letter)`).Scan(&actors, &inactive, &letters)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nactors\t%d (%d not active)\ndead letters\t%d\n", actors, inactive, letters)
	return w.Flush()
}

// printRepos says how reading repositories whole is getting on.
func printRepos(ctx context.Context, w io.Writer, pool *pgxpool.Pool) error {
	counts, err := queries.New().CountRepos(ctx, pool)
	if err != nil {
		return fmt.Errorf("count repositories: %w", err)
	}
	if len(counts) == 0 {
		fmt.Fprintln(w, "\nno repositories are read whole")
		return nil
	}
	fmt.Fprintln(w, "\nREPOSITORIES\tRECORDS\t")
	for _, c := range counts {
		fmt.Fprintf(w, "%d %s\t%d\t\n", c.Repos, c.State, c.Records)
	}
	return nil
}

func versionCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "version",
		Short: "Print the version",
	}, func(cmd *cobra.Command, _ *settings) error {
		fmt.Fprintf(cmd.OutOrStdout(), "atview %s (%s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	})
}

func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ", modified"
		}
	}
	if revision == "" {
		return info.Main.Version
	}
	return fmt.Sprintf("%s, commit %s%s", info.Main.Version, revision, dirty)
}
