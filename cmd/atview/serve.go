package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/examples"
	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
	exampleLexicons "github.com/atview/atview/lexicons"
)

func devCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process, with a private Postgres and NATS unless told otherwise",
		Example: `  atview dev --lexicons ./lexicons
  atview dev --lexicons ./lexicons --source file:events.jsonl --once`,
	}, func(cmd *cobra.Command, s *settings) error {
		a := &app{s: s, log: s.logger(), out: cmd.OutOrStdout(), roles: allRoles}
		return a.run(cmd.Context())
	}, lexiconFlags, sourceFlags, storeFlags, plumbingFlags, onceFlag, limitFlags)
}

func serveCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "serve",
		Short: "Run some of the roles, against the Postgres and NATS of a deployment",
		Example: `  atview serve --roles ingest --nats-url nats://nats:4222 --lexicons ./lexicons
  atview serve --roles index,api --database-url postgres://... --nats-url nats://... --lexicons ./lexicons`,
	}, func(cmd *cobra.Command, s *settings) error {
		if err := checkRoles(s); err != nil {
			return usageError{cmd, err}
		}
		a := &app{s: s, log: s.logger(), out: cmd.OutOrStdout(), roles: s.Roles}
		return a.run(cmd.Context())
	}, func(s *settings, f flagSet) {
		f.StringSliceVar(&s.Roles, "roles", allRoles, "what this process does: ingest, index, api")
	}, lexiconFlags, sourceFlags, storeFlags, plumbingFlags, onceFlag, limitFlags)
}

func checkRoles(s *settings) error {
	var faults []error
	if len(s.Roles) == 0 {
		faults = append(faults, errors.New("--roles: none given"))
	}
	for _, role := range s.Roles {
		if !slices.Contains(allRoles, role) {
			faults = append(faults, fmt.Errorf("--roles: %q is none of %s", role, strings.Join(allRoles, ", ")))
		}
	}
	if s.DatabaseURL == "" && (slices.Contains(s.Roles, roleIndex) || slices.Contains(s.Roles, roleAPI)) {
		faults = append(faults, errors.New("--database-url is required for the roles index and api (atview dev brings its own)"))
	}
	if s.NATSURL == "" && (slices.Contains(s.Roles, roleIndex) || slices.Contains(s.Roles, roleIngest)) {
		faults = append(faults, errors.New("--nats-url is required for the roles ingest and index (atview dev brings its own)"))
	}
	return errors.Join(faults...)
}

func demoCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "demo",
		Short: "Run everything on example lexicons, sample records and a generator that keeps writing",
		Long: `Demo is dev with example lexicons (recipes, reviews, likes, profiles, statuses),
sample records of them, and a simulated network that goes on writing, so that
there is something to query and to watch. --lexicons adds your own: the
generator writes records of those, too. --source replaces samples and
generator by what you name.`,
	}, runDemo, lexiconFlags, sourceFlags, storeFlags, plumbingFlags, limitFlags, func(s *settings, f flagSet) {
		f.Float64Var(&s.Rate, "rate", 5, "simulated events a second")
	})
}

func runDemo(cmd *cobra.Command, s *settings) error {
	dir := filepath.Join(s.Data, "demo")
	if err := unpackExamples(dir); err != nil {
		return fmt.Errorf("unpack the examples: %w", err)
	}
	s.Lexicons = append([]string{filepath.Join(dir, "lexicons")}, s.Lexicons...)
	a := &app{s: s, log: s.logger(), out: cmd.OutOrStdout(), roles: allRoles, queries: examples.Queries()}
	var err error
	if a.catalog, err = loadCatalog(s, a.log); err != nil {
		return err
	}
	// A network of its own at each start: one that began anew with the same
	// accounts would write the records that are there already.
	model, err := simulate.New(a.catalog, simulate.Config{Seed: uint64(time.Now().UnixNano()), Accounts: 40, Clock: time.Now})
	if err != nil {
		return fmt.Errorf("simulated network: %w", err)
	}
	// So that what it writes is also about the samples.
	for line := range bytes.Lines(examples.Records) {
		if ev, err := stream.Parse(bytes.TrimSpace(line)); err == nil {
			model.Know(ev)
		}
	}
	network, listener, err := serveModel(cmd.Context(), model, simulate.ServerConfig{Rate: s.Rate, Await: true}, "127.0.0.1:0")
	if err != nil {
		return err
	}
	if len(s.Sources) == 0 {
		s.Sources = []string{"file:" + filepath.Join(dir, "records.jsonl"), "ws://" + listener.Addr().String() + "/subscribe"}
	}
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return network.Serve(ctx, listener) })
	g.Go(func() error {
		defer stop()
		return a.run(ctx)
	})
	return g.Wait()
}

// unpackExamples writes what the binary holds to where it can be looked at.
func unpackExamples(dir string) error {
	lexicons := filepath.Join(dir, "lexicons")
	if err := os.RemoveAll(lexicons); err != nil { // of another version, maybe
		return err
	}
	if err := os.MkdirAll(lexicons, 0o755); err != nil {
		return err
	}
	files, err := fs.Sub(exampleLexicons.Files, ".")
	if err != nil {
		return err
	}
	if err := os.CopyFS(lexicons, files); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "records.jsonl"), examples.Records, 0o644)
}

func simulateCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "simulate",
		Short: "Serve a simulated network: valid random records of any lexicons, on the wire of a Jetstream",
		Long: `Simulate makes up a network from lexicons: accounts that write, change and
delete records, link to one another's, change their handles, leave and come
back. It serves them as a Jetstream does, at /subscribe. /state tells what a
reader should have by now, as JSON lines.`,
		Example: `  atview simulate --lexicons ./lexicons --listen 127.0.0.1:6008 --rate 100
  atview dev --lexicons ./lexicons --source ws://127.0.0.1:6008/subscribe`,
	}, runSimulate, lexiconFlags, func(s *settings, f flagSet) {
		f.StringVar(&s.Listen, "listen", "127.0.0.1:6008", "`address` of the server; port 0 takes a free one")
	}, generatorFlags)
}

func runSimulate(cmd *cobra.Command, s *settings) error {
	log := s.logger()
	cat, err := loadCatalog(s, log)
	if err != nil {
		return err
	}
	model, err := simulate.New(cat, simulate.Config{Seed: s.Seed, Accounts: s.Accounts, Odd: s.Odd, Clock: time.Now})
	if err != nil {
		return fmt.Errorf("simulated network: %w", err)
	}
	for _, problem := range model.Problems() {
		log.Warn().Msg(problem)
	}
	network, listener, err := serveModel(cmd.Context(), model, simulate.ServerConfig{Rate: s.Rate, Events: s.Events, Log: log}, s.Listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Source    ws://%s/subscribe\nState     http://%[1]s/state\nWriting   %s\n",
		listener.Addr(), describeCollections(cat))
	return network.Serve(cmd.Context(), listener)
}

func serveModel(ctx context.Context, model *simulate.Model, cfg simulate.ServerConfig, listen string) (*simulate.Server, net.Listener, error) {
	server, err := simulate.NewServer(model, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("simulated network: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, nil, fmt.Errorf("--listen %s: %w", listen, err)
	}
	return server, listener, nil
}
