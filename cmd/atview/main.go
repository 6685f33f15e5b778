package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker; empty, the build's own information is used.
var version string

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is main with an exit code: 0 when all went well, 2 for a mistake in the
// command line, 1 for everything else.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:   "atview",
		Short: "Lexicons in, API out: an AT Protocol AppView without code",
		Long: `atview reads lexicons, indexes the records of the network that they describe
into typed Postgres tables, and serves a GraphQL API over them.

Each flag has a twin in the environment (--data is ATVIEW_DATA) and in the file
that --config names (data: ...). Flags win over the environment, the
environment over the file. Flags that take several values may be repeated;
in the environment they are separated by commas.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd: true,
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd, err} })
	root.AddCommand(devCommand(), demoCommand(), serveCommand(), simulateCommand(),
		planCommand(), migrateCommand(), schemaCommand(), lexiconCommand(), backfillCommand(), verifyCommand(), statusCommand(), versionCommand())
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "atview: %v\n", err)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "Try: %s --help\n", usage.cmd.CommandPath())
		return 2
	case strings.HasPrefix(err.Error(), "unknown command"): // cobra has no type for it
		return 2
	}
	return 1
}

// usageError is a mistake in the command line.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }
