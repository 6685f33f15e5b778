package localpg

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// confFile is the file of our settings in the data directory, included from
// its postgresql.conf.
const confFile = "atview.conf"

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// setting is a line of the file, with the reason that stands above it.
type setting struct{ name, value, why string }

// machine is what the settings depend on.
type machine struct {
	memory      int64  // bytes that we may use; 0 if unknown
	compression string // of the WAL: lz4 or on
	timezone    string // UTC, or GMT where Postgres has no zone files
	sharedMem   string // kind of dynamic shared memory, "" for initdb's choice
}

// settings are ours for a server on the given port.
func settings(port int, m machine, fast bool) []setting {
	const mb = 1 << 20
	buffers := min(max(m.memory/16, 256*mb), 512*mb)
	if fast {
		buffers = 128 * mb // several test processes run at once
	}
	list := []setting{
		{"listen_addresses", "127.0.0.1", "private: nobody but this machine"},
		{"port", strconv.Itoa(port), "chosen free at the first start, kept in the file port"},
		{"unix_socket_directories", "", "the path of a socket may have 107 bytes only, and data folders can be deep"},
		{"max_connections", "100", "workers, API and a psql or two share it; each costs memory"},
		{"shared_buffers", mbytes(buffers), "hot indexes fit; more takes from the page cache and from atview itself"},
		{"effective_cache_size", mbytes(max(m.memory/2, 2*buffers)), "what the page cache is likely to hold, for the planner"},
		{"maintenance_work_mem", "128MB", "index builds when a lexicon changes"},
		{"max_wal_size", "4GB", "a backfill writes fast; with 1GB it would checkpoint, and log whole pages, all the time"},
		{"checkpoint_timeout", "30min", "each checkpoint makes the next change of every page log the whole page"},
		{"wal_compression", m.compression, "whole-page images are most of the WAL"},
		{"jit", "off", "queries are short; compiling one costs more than running it"},
		{"random_page_cost", "1.1", "solid state disks; 4 would choose sequential scans"},
		{"timezone", m.timezone, "times are UTC everywhere in AT Protocol"},
		{"log_timezone", m.timezone, "and in the log"},
		{"lc_messages", "C", "messages can be searched for"},
		{"datestyle", "ISO, YMD", "unambiguous"},
		{"logging_collector", "off", "the log goes to stderr, where atview bounds its size"},
		{"log_destination", "stderr", "see logging_collector"},
		{"log_line_prefix", "%m [%p] %q%u@%d ", "when, which process, who"},
		{"log_min_error_statement", "panic", "statements hold records, thousands in one; the client has the error"},
		{"log_checkpoints", "on", "tells whether max_wal_size is right"},
		{"log_autovacuum_min_duration", "10s", "tells when vacuum cannot keep up"},
		{"autovacuum_naptime", "15s", "counts are updated in place all the time; their dead rows slow reads"},
		{"autovacuum_vacuum_scale_factor", "0.05", "a fifth of a large table, the default, is long to wait for and long to clean"},
		{"autovacuum_analyze_scale_factor", "0.05", "a new collection grows fast; the planner should know"},
		{"autovacuum_vacuum_insert_scale_factor", "0.1", "keeps index-only scans index-only"},
		{"autovacuum_vacuum_cost_limit", "1000", "the default dates from spinning disks"},
	}
	if m.sharedMem != "" {
		list = append(list, setting{"dynamic_shared_memory_type", m.sharedMem, "/dev/shm is missing or too small here, as in a container, and parallel queries would fail"})
	}
	if fast {
		// synchronous_commit stays on: without fsync it costs next to nothing,
		// and off would lose commits when a test kills Postgres.
		list = append(list, setting{"fsync", "off", "tests: survives a killed Postgres, not a killed machine"})
	}
	return list
}

func mbytes(n int64) string { return strconv.FormatInt(n>>20, 10) + "MB" }

// render is the text of the file, with the user's settings last, so that they
// win.
func render(list []setting, extra map[string]string) string {
	var b strings.Builder
	b.WriteString("# Written by atview at each start: changes here are lost. Use ALTER SYSTEM.\n")
	for _, s := range list {
		fmt.Fprintf(&b, "\n# %s\n%s = %s\n", s.why, s.name, quoteSetting(s.value))
	}
	if len(extra) > 0 {
		b.WriteString("\n# from atview's configuration\n")
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		fmt.Fprintf(&b, "%s = %s\n", name, quoteSetting(extra[name]))
	}
	return b.String()
}

func quoteSetting(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`).Replace(value) + "'"
}

func (s *Server) writeSettings(ctx context.Context) error {
	m := machine{
		memory:      memoryLimit(),
		compression: "on",
		timezone:    "GMT", // compiled in
		sharedMem:   sharedMemoryType(),
	}
	if s.accepts(ctx, "wal_compression", "lz4") {
		m.compression = "lz4"
	}
	if s.accepts(ctx, "timezone", "UTC") {
		m.timezone = "UTC"
	}
	path := filepath.Join(s.cluster, confFile)
	if err := writeFile(path, render(settings(s.port, m, s.cfg.Fast), s.cfg.Settings)); err != nil {
		return fmt.Errorf("settings of the private Postgres: %w", err)
	}
	if err := s.user.own(path); err != nil {
		return fmt.Errorf("settings of the private Postgres: %w", err)
	}
	return nil
}

// accepts asks the binary itself whether it takes the value: what it was built
// with is not to be seen from its version.
func (s *Server) accepts(ctx context.Context, name, value string) bool {
	cmd := s.user.command(ctx, s.bin, "postgres", "-C", name, "-D", s.cluster,
		"-c", "config_file=/dev/null", "-c", name+"="+value)
	return cmd.Run() == nil
}
