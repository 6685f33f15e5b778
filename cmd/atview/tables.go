package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/atview/atview/graphql"
	"github.com/atview/atview/index"
	"github.com/atview/atview/migrations"
	"github.com/atview/atview/schema"
)

func planCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "plan",
		Short: "Show what the lexicons would change in the database, and change nothing",
	}, func(cmd *cobra.Command, s *settings) error {
		cat, pool, done, err := openForTables(cmd.Context(), s)
		if err != nil {
			return err
		}
		defer done()
		live, err := index.Inspect(cmd.Context(), pool)
		if err != nil {
			return err
		}
		printPlan(cmd.OutOrStdout(), index.Plan(live, cat))
		return nil
	}, lexiconFlags, storeFlags)
}

func printPlan(out io.Writer, changes []index.Change) {
	if len(changes) == 0 {
		fmt.Fprintln(out, "Nothing to do: the tables are up to the lexicons.")
		return
	}
	count := map[index.Class]int{}
	for _, c := range changes {
		count[c.Class]++
		fmt.Fprintln(out, c)
	}
	fmt.Fprintf(out, "%d changes: %d safe, %d slow, %d destructive.", len(changes), count[index.Safe], count[index.Slow], count[index.Destructive])
	if count[index.Destructive] > 0 {
		fmt.Fprint(out, " Destructive ones are left out unless --allow-destructive is given.")
	}
	fmt.Fprintln(out)
}

func migrateCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "migrate",
		Short: "Bring the database to the lexicons, as dev and serve do when they start",
	}, func(cmd *cobra.Command, s *settings) error {
		cat, pool, done, err := openForTables(cmd.Context(), s)
		if err != nil {
			return err
		}
		defer done()
		log := s.logger()
		if err := migrations.Up(cmd.Context(), pool); err != nil {
			return err
		}
		applied, left, err := index.Migrate(cmd.Context(), pool, cat, migrateConfig(s, log))
		for _, c := range applied {
			fmt.Fprintf(cmd.OutOrStdout(), "applied  %s\n", c)
		}
		for _, c := range left {
			fmt.Fprintf(cmd.OutOrStdout(), "left     %s\n", c)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d changes applied, %d left (--allow-destructive applies them).\n", len(applied), len(left))
		return nil
	}, lexiconFlags, storeFlags, destructiveFlag)
}

func openForTables(ctx context.Context, s *settings) (*schema.Catalog, *pgxpool.Pool, func(), error) {
	log := s.logger()
	cat, err := loadCatalog(s, log)
	if err != nil {
		return nil, nil, nil, err
	}
	pool, done, err := openDatabase(ctx, s, log)
	if err != nil {
		return nil, nil, nil, err
	}
	if cat, err = index.KeepNames(ctx, pool, cat); err != nil {
		done()
		return nil, nil, nil, err
	}
	return cat, pool, done, nil
}

// migrateTables is what every start does: it applies what destroys nothing.
func migrateTables(ctx context.Context, pool *pgxpool.Pool, cat *schema.Catalog, s *settings, log zerolog.Logger) error {
	applied, left, err := index.Migrate(ctx, pool, cat, migrateConfig(s, log))
	if err != nil {
		return fmt.Errorf("bring the tables to the lexicons: %w", err)
	}
	for _, c := range left {
		log.Warn().Str("collection", c.Collection).Msg("left alone without --allow-destructive: " + c.What)
	}
	if len(applied) > 0 {
		log.Info().Int("changes", len(applied)).Msg("tables brought to the lexicons")
	}
	return nil
}

func migrateConfig(s *settings, log zerolog.Logger) index.MigrateConfig {
	last := time.Now()
	return index.MigrateConfig{
		Destructive: s.AllowDestructive,
		Logger:      log,
		Progress: func(collection syntax.NSID, rows int64) {
			if time.Since(last) > 2*time.Second {
				last = time.Now()
				log.Info().Str("collection", string(collection)).Int64("rows", rows).Msg("deriving rows anew")
			}
		},
	}
}

func schemaCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "schema",
		Short: "Print what the lexicons become: the GraphQL schema (--sdl) or the tables (--ddl)",
	}, func(cmd *cobra.Command, s *settings) error {
		if s.SDL == s.DDL {
			return usageError{cmd, fmt.Errorf("one of --sdl and --ddl is needed")}
		}
		cat, err := loadCatalog(s, s.logger())
		if err != nil {
			return err
		}
		if s.SDL {
			_, err := io.WriteString(cmd.OutOrStdout(), graphql.SDL(cat, graphql.Config{Joins: graphql.Joins(s.Joins)}))
			return err
		}
		for _, c := range cat.Collections {
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s;\n\n", strings.Join(index.DDL(c), ";\n")); err != nil {
				return err
			}
		}
		return nil
	}, lexiconFlags, func(s *settings, f flagSet) {
		f.BoolVar(&s.SDL, "sdl", false, "the GraphQL schema")
		f.BoolVar(&s.DDL, "ddl", false, "the tables")
		f.StringVar(&s.Joins, "joins", "auto", "as for dev")
	})
}
