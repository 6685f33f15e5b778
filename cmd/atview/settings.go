package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

const envPrefix = "ATVIEW_"

// settings are what flags, environment and file come to. Each field is one flag;
// a command declares those that it reads.
type settings struct {
	Args []string
	bar  *bar // nil where there is no terminal

	Config    string
	LogFormat string
	LogLevel  string

	Lexicons    []string
	Collections []string
	Sources     []string
	Once        bool

	JetstreamArchive bool
	JetstreamKey     string

	PLCURL       string
	AllowPrivate bool
	CAFile       string
	Resolve      []string
	Identities   string

	Backfill         []string
	Relay            string
	BackfillDIDs     string
	BackfillMaxRepos int
	BackfillWorkers  int
	BackfillPerHost  int
	BackfillHostRate float64
	BackfillMaxBytes int64

	Data        string
	DatabaseURL string
	NATSURL     string
	Listen      string
	Roles       []string

	Partitions       int
	LogMaxBytes      int64
	LogKeep          time.Duration
	BatchSize        int
	AllowDestructive bool

	PageMax  int
	GroupMax int
	DepthMax int
	CostMax  int
	Timeout  time.Duration
	Joins    string
	BlobURL  string

	Rate     float64
	Seed     uint64
	Accounts int
	Events   int64
	Odd      float64

	SDL bool
	DDL bool

	Force  bool
	NoRefs bool

	Repos    []string
	Sample   int
	AllRepos bool
	Repair   bool

	Retry bool
}

// group is a set of flags that belong together.
type group func(*settings, flagSet)

type flagSet = *pflag.FlagSet

func commonFlags(s *settings, f *pflag.FlagSet) {
	f.StringVar(&s.Config, "config", "", "YAML `file` of settings (default atview.yaml, if it is there)")
	f.StringVar(&s.LogFormat, "log-format", "text", "text or json")
	f.StringVar(&s.LogLevel, "log-level", "info", "debug, info, warn or error")
}

func lexiconFlags(s *settings, f *pflag.FlagSet) {
	f.StringArrayVar(&s.Lexicons, "lexicons", nil, "`folder` of lexicon JSON, nested by NSID or flat; repeatable")
	f.StringArrayVar(&s.Collections, "collections", nil, "`glob` of record collections to index, such as 'app.bsky.*'; repeatable (default all that have a lexicon)")
}

func storeFlags(s *settings, f *pflag.FlagSet) {
	f.StringVar(&s.Data, "data", ".atview", "`folder` for the private Postgres and the embedded NATS")
	f.StringVar(&s.DatabaseURL, "database-url", "", "Postgres `URL` (default a private Postgres under --data)")
}

func plumbingFlags(s *settings, f *pflag.FlagSet) {
	f.StringVar(&s.NATSURL, "nats-url", "", "NATS `URL` (default a NATS inside this process)")
	f.StringVar(&s.Listen, "listen", "127.0.0.1:8080", "`address` of the HTTP server; port 0 takes a free one")
	f.IntVar(&s.Partitions, "partitions", 0, "partitions of a new log: how many workers can share the work (default 8)")
	f.Int64Var(&s.LogMaxBytes, "log-max-bytes", 0, "how much the log may hold before sources have to wait (default 8 GiB, or less where NATS has less to give)")
	f.DurationVar(&s.LogKeep, "log-keep", 10*time.Minute, "how long folded events stay in the log, for consumers of your own")
	f.IntVar(&s.BatchSize, "batch-size", 1000, "most events in one transaction")
	destructiveFlag(s, f)
}

// networkFlags say how hosts that the network names are reached: identities,
// repositories, lexicons.
func networkFlags(s *settings, f *pflag.FlagSet) {
	f.StringVar(&s.PLCURL, "plc-url", "https://plc.directory", "`URL` of the PLC directory, which knows the did:plc identities")
	f.BoolVar(&s.AllowPrivate, "allow-private-hosts", false, "let identities lead to hosts on private networks and over plain HTTP: for development")
	f.StringVar(&s.CAFile, "ca-file", "", "PEM `file` of certificate authorities to trust besides the system's")
	f.StringArrayVar(&s.Resolve, "resolve", nil, "`NAME=HOST:PORT` to connect to instead of looking a name up; repeatable")
}

func sourceFlags(s *settings, f *pflag.FlagSet) {
	f.StringArrayVar(&s.Sources, "source", nil, "`URL` to index from: wss://HOST/subscribe (Jetstream), wss://HOST/xrpc/network.bsky.jetstream.subscribeEvents (its version 2), "+
		"wss://HOST/xrpc/com.atproto.sync.subscribeRepos (a relay's or PDS's firehose), tap+ws://HOST:PORT/channel (Tap) or file:PATH.jsonl; repeatable (default the public Jetstreams)")
	f.BoolVar(&s.JetstreamArchive, "jetstream-archive", false, "read the whole archive of a Jetstream version 2 first")
	f.StringVar(&s.JetstreamKey, "jetstream-key", "", "API `key` for the archive of a hosted Jetstream")
	f.StringVar(&s.Identities, "identities", modeAuto, "look up handles and hosts of the accounts that are indexed: on, off or auto (on unless all sources are files or on this machine)")
	networkFlags(s, f)
	backfillFlags(s, f)
}

func backfillFlags(s *settings, f *pflag.FlagSet) {
	f.StringSliceVar(&s.Backfill, "backfill", []string{modeAuto}, "which repositories are read whole: listed (by the relay, for the collections that are indexed), seen (with their first live record), "+
		"linked (from records), none (but those that a source says are broken), off, or auto (listed and seen, if there is a relay to ask)")
	f.StringVar(&s.Relay, "relay", "", "`URL` of a relay, or a PDS, that lists repositories (default the firehose's host; the public relay when no source is named)")
	f.StringVar(&s.BackfillDIDs, "backfill-dids", "", "`file` of DIDs, one a line, whose repositories are read whole")
	f.IntVar(&s.BackfillMaxRepos, "backfill-max-repos", 100_000, "most repositories listed for a collection; one with more is left at those")
	f.IntVar(&s.BackfillWorkers, "backfill-workers", 0, "repositories read at a time (default 16)")
	f.IntVar(&s.BackfillPerHost, "backfill-per-host", 0, "repositories read from one host at a time (default 4)")
	f.Float64Var(&s.BackfillHostRate, "backfill-host-rate", 0, "most requests to one host a second, in the long run; negative is no bound (default 8)")
	f.Int64Var(&s.BackfillMaxBytes, "backfill-max-bytes", 0, "largest repository that is read (default 1 GiB)")
}

// modeAuto has a setting follow from others.
const modeAuto = "auto"

func destructiveFlag(s *settings, f *pflag.FlagSet) {
	f.BoolVar(&s.AllowDestructive, "allow-destructive", false, "also drop tables and columns that no lexicon describes any more")
}

func onceFlag(s *settings, f *pflag.FlagSet) {
	f.BoolVar(&s.Once, "once", false, "exit 0 when all file sources are read and what they held is committed")
}

func limitFlags(s *settings, f *pflag.FlagSet) {
	f.IntVar(&s.PageMax, "page-max", 1000, "most records of one page")
	f.IntVar(&s.GroupMax, "group-max", 1000, "most groups of one aggregation")
	f.IntVar(&s.DepthMax, "depth-max", 20, "deepest query")
	f.IntVar(&s.CostMax, "cost-max", 200_000, "most rows that a query may come to")
	f.DurationVar(&s.Timeout, "timeout", 10*time.Second, "longest query")
	f.StringVar(&s.Joins, "joins", "auto", "which collections have fields that lead to which others: all, related (the same first two NSID segments) or auto")
	f.StringVar(&s.BlobURL, "blob-url", "", "where blobs are found, with {did}, {cid} and {preset} (default Bluesky's image CDN)")
}

func generatorFlags(s *settings, f *pflag.FlagSet) {
	f.Float64Var(&s.Rate, "rate", 10, "events a second; 0 is as fast as they are read")
	f.Uint64Var(&s.Seed, "seed", 1, "what makes this network and no other")
	f.IntVar(&s.Accounts, "accounts", 100, "accounts that write")
	f.Int64Var(&s.Events, "events", 0, "stop after so many; 0 goes on")
	f.Float64Var(&s.Odd, "odd", 0, "share of records that break their lexicon, as they do on the network")
}

// command makes a cobra command whose flags are the groups' and whose settings
// are resolved before run is called. A command takes no arguments unless c.Args
// says so.
func command(c *cobra.Command, run func(cmd *cobra.Command, s *settings) error, groups ...group) *cobra.Command {
	s := &settings{}
	for _, g := range append(groups, commonFlags) {
		g(s, c.Flags())
	}
	c.Flags().SortFlags = false
	allowed := c.Args
	if allowed == nil {
		allowed = cobra.NoArgs
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := allowed(cmd, args); err != nil {
			return usageError{cmd, err}
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s.Args = args
		if err := resolve(cmd, s, os.Environ()); err != nil {
			return usageError{cmd, err}
		}
		return run(cmd, s)
	}
	return c
}

// resolve fills flags that were not given from the environment, then from the
// file. What neither knows is refused: a typo in production is not noticed
// otherwise.
func resolve(cmd *cobra.Command, s *settings, environ []string) error {
	flags := cmd.Flags()
	var faults []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(otherEnv, name) {
			continue
		}
		flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-")
		if !known(cmd, flag) {
			faults = append(faults, fmt.Errorf("environment variable %s is not a setting", name))
			continue
		}
		faults = append(faults, fill(flags, flag, name, strings.Split(value, ",")))
	}
	file, err := readFile(s.Config)
	if err != nil {
		return errors.Join(append(faults, err)...)
	}
	for key, node := range file {
		if !known(cmd, key) || key == "config" {
			faults = append(faults, fmt.Errorf("%s: %q is not a setting", configName(s.Config), key))
			continue
		}
		values, err := scalars(node)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %s: %w", configName(s.Config), key, err))
			continue
		}
		faults = append(faults, fill(flags, key, configName(s.Config)+": "+key, values))
	}
	if s.LogFormat != "text" && s.LogFormat != "json" {
		faults = append(faults, fmt.Errorf("--log-format %q is neither text nor json", s.LogFormat))
	}
	if _, err := zerolog.ParseLevel(s.LogLevel); err != nil {
		faults = append(faults, fmt.Errorf("--log-level %q is none of debug, info, warn, error", s.LogLevel))
	}
	return errors.Join(faults...)
}

// otherEnv are variables with our prefix that are read elsewhere.
var otherEnv = []string{"ATVIEW_POSTGRES_BIN", "ATVIEW_TEST_DATABASE_URL"}

// known says whether any command has the flag: a file or environment serves
// several roles, which need not read all of it.
func known(cmd *cobra.Command, flag string) bool {
	return slices.ContainsFunc(commandsBelow(cmd.Root()), func(c *cobra.Command) bool { return c.Flags().Lookup(flag) != nil })
}

func commandsBelow(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range c.Commands() {
		all = append(append(all, sub), commandsBelow(sub)...)
	}
	return all
}

// fill sets a flag that has not been set yet.
func fill(flags *pflag.FlagSet, name, from string, values []string) error {
	flag := flags.Lookup(name)
	if flag == nil || flag.Changed {
		return nil
	}
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		flag.Changed = true
		return list.Replace(values)
	}
	if err := flags.Set(name, strings.Join(values, ",")); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return nil
}

const defaultConfig = "atview.yaml"

func configName(path string) string {
	if path == "" {
		return defaultConfig
	}
	return path
}

func readFile(path string) (map[string]yaml.Node, error) {
	raw, err := os.ReadFile(configName(path))
	if path == "" && errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	var out map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&out); err != nil && len(bytes.TrimSpace(raw)) > 0 {
		return nil, fmt.Errorf("%s: %w", configName(path), err)
	}
	return out, nil
}

func scalars(node yaml.Node) ([]string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		return []string{node.Value}, nil
	case yaml.SequenceNode:
		var out []string
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a list of plain values is expected", item.Line)
			}
			out = append(out, item.Value)
		}
		return out, nil
	}
	return nil, fmt.Errorf("line %d: a value or a list of values is expected", node.Line)
}

// logger writes to standard error: standard output belongs to the command.
func (s *settings) logger() zerolog.Logger {
	level, err := zerolog.ParseLevel(s.LogLevel)
	if err != nil {
		level = zerolog.InfoLevel
	}
	if s.LogFormat == "json" {
		return zerolog.New(os.Stderr).Level(level).With().Timestamp().Logger()
	}
	var out io.Writer = os.Stderr
	if isTerminal(os.Stderr) {
		if s.bar == nil {
			s.bar = &bar{out: os.Stderr}
		}
		out = s.bar
	}
	return zerolog.New(zerolog.ConsoleWriter{Out: out, TimeFormat: "15:04:05", NoColor: s.bar == nil}).
		Level(level).With().Timestamp().Logger()
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
