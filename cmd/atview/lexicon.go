package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/spf13/cobra"

	"github.com/atview/atview/ingest/lexfetch"
	"github.com/atview/atview/schema"
)

func lexiconCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "lexicon",
		Short: "List the lexicons at hand, or get more from the network",
	}
	c.AddCommand(lexiconAddCommand(), lexiconListCommand())
	return c
}

func lexiconAddCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "add NSID...",
		Args:  cobra.MinimumNArgs(1),
		Short: "Get lexicons from whoever publishes them, with what they refer to, as files to review",
		Long: `Add asks DNS who publishes an NSID, reads the lexicon from that account's
repository, checks its proof, and writes a file into the first folder of
--lexicons. NSID.* stands for all that the same authority publishes below it.
Nothing is ever fetched while events are read: what is indexed is what lies in
the folder.`,
		Example: `  atview lexicon add xyz.statusphere.status --lexicons ./lexicons
  atview lexicon add 'pub.leaflet.*' --lexicons ./lexicons`,
	}, runLexiconAdd, lexiconFlags, networkFlags, func(s *settings, f flagSet) {
		f.BoolVar(&s.Force, "force", false, "replace files that say something else")
		f.BoolVar(&s.NoRefs, "no-refs", false, "leave out lexicons that are only referred to")
	})
}

func runLexiconAdd(cmd *cobra.Command, s *settings) error {
	if len(s.Lexicons) == 0 {
		return usageError{cmd, errNoLexicons}
	}
	net, err := openPeers(s, nil, s.logger())
	if err != nil {
		return err
	}
	return addLexicons(cmd.Context(), cmd.OutOrStdout(), s, lexfetch.Config{Directory: net.identities, HTTP: net.client})
}

// addLexicons fetches from whom cfg says.
func addLexicons(ctx context.Context, out io.Writer, s *settings, cfg lexfetch.Config) error {
	dir := s.Lexicons[0]
	cfg.Known, cfg.NoRefs = atHand(s.Lexicons), s.NoRefs
	fetcher, err := lexfetch.New(cfg)
	if err != nil {
		return err
	}
	result, err := fetcher.Fetch(ctx, s.Args)
	if err != nil {
		return err
	}
	written, err := lexfetch.Write(dir, result.Lexicons, s.Force)
	if err != nil {
		return err
	}
	return printLexicons(out, dir, written, result.Failures)
}

// atHand says which lexicons lie in the folders. Folders that do not load know
// nothing: what they lack is fetched, and files are not replaced.
func atHand(dirs []string) func(syntax.NSID) bool {
	have := map[syntax.NSID]bool{}
	for _, dir := range dirs {
		cat, err := schema.Load(dir)
		if err != nil {
			continue
		}
		for _, l := range cat.Lexicons {
			have[l.NSID] = true
		}
	}
	return func(nsid syntax.NSID) bool { return have[nsid] }
}

func printLexicons(out io.Writer, dir string, written []lexfetch.Written, failures []lexfetch.Failure) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	var faults []error
	for _, f := range written {
		fmt.Fprintf(w, "%s\t%s\t%s\tby %s\n", f.State, f.Lexicon.NSID, f.Path, f.Lexicon.DID)
		switch f.State {
		case lexfetch.Failed:
			faults = append(faults, fmt.Errorf("%s: %w", f.Path, f.Err))
		case lexfetch.Differs:
			faults = append(faults, fmt.Errorf("%s says something else and was left alone (--force replaces it)", f.Path))
		}
	}
	for _, f := range failures {
		if f.For != "" && f.For != f.Name {
			faults = append(faults, fmt.Errorf("%s, which %s refers to: %w", f.Name, f.For, f.Err))
			continue
		}
		faults = append(faults, fmt.Errorf("%s: %w", f.Name, f.Err))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d lexicons in %s; review them before you index by them.\n", len(written), dir)
	return errors.Join(faults...)
}

func lexiconListCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "list",
		Short: "List the lexicons at hand, and what is wrong with those that do not load",
	}, func(cmd *cobra.Command, s *settings) error {
		if len(s.Lexicons) == 0 {
			return usageError{cmd, errNoLexicons}
		}
		cat, err := schema.Load(s.Lexicons...)
		if err != nil {
			return fmt.Errorf("--lexicons: %w", err)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		for _, l := range cat.Lexicons {
			kind := "-"
			if c := cat.Collection(l.NSID); c != nil {
				kind = "records." + c.Table
			}
			fmt.Fprintf(w, "%s\t%s\n", l.NSID, kind)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, p := range cat.Problems {
			fmt.Fprintf(os.Stderr, "%s\n", strings.TrimSpace(fmt.Sprintf("%s: %s %s", p.File, p.NSID, p.Reason)))
		}
		return nil
	}, lexiconFlags)
}
