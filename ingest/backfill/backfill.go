package backfill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
)

// Config says what is read, and how much at a time.
type Config struct {
	// Pool is the database with the tables atview.repo, coverage and discovery.
	Pool *pgxpool.Pool
	// Lane is the log that is written. It has as many partitions as the live one.
	Lane *stream.Log
	// Fetch says how a single repository is fetched.
	Fetch FetchConfig
	// Hosts says how much is asked of one host.
	Hosts HostConfig

	// NSIDs are the collections that are listed, and of which a repository that has
	// been read holds nothing but what the snapshot had.
	NSIDs []syntax.NSID
	// Collections are those whose records are published. They may be more than NSIDs
	// where patterns name collections that nobody knows yet; of those, what a
	// repository no longer has is not noticed. The zero value is all.
	Collections source.Collections

	// RelayURL (http(s)://HOST) is asked which repositories have a collection; a host
	// that cannot tell (a PDS) is asked for all of its repositories. Empty: nobody
	// is asked.
	RelayURL string
	// DIDs are repositories that are read in any case.
	DIDs []syntax.DID
	// MaxReposPerCollection is where listing stops. Default 100,000: more than any
	// third-party application has, and at 10 repositories a second three hours. Who
	// wants the likes of the whole network says so.
	MaxReposPerCollection int64
	// RelistEvery is how often the relay is asked again. Default 24 h: repositories
	// that begin to write are seen live, so this is for what was missed.
	RelistEvery time.Duration

	// Workers is how many repositories are under way at a time, from the download to
	// the log. Default 16: so many keep two CPUs busy although the network is slow,
	// and four hosts that trickle do not occupy them all. Each may have
	// Fetch.Limits.Bytes on disk.
	Workers int
	// Verifiers is how many of them are verified and published at a time. Default: the
	// number of CPUs; each may need 480 MB (see car.Limits), though nearly all need 1 MB.
	Verifiers int
	// Lease is how long a claim holds without being extended. Default 60 s: so much
	// later another process takes over what a killed one had.
	Lease time.Duration
	// MinRetry and MaxRetry bound the wait after a failure, which doubles with each in
	// a row. Default 30 s, and 24 h: a broken repository costs a request a day.
	MinRetry, MaxRetry time.Duration
	// Poll is how often the table is looked at for what others have queued. Default
	// 1 s.
	Poll time.Duration
	// CheckEvery is how often it is checked that what has been published arrives.
	// Default 1 min.
	CheckEvery time.Duration

	Log zerolog.Logger
}

func (c *Config) validate() error {
	var faults []error
	if c.Pool == nil {
		faults = append(faults, errors.New("no database"))
	}
	if c.Lane == nil {
		faults = append(faults, errors.New("no lane"))
	}
	if err := c.Fetch.validate(); err != nil {
		faults = append(faults, err)
	}
	c.RelayURL = strings.TrimRight(c.RelayURL, "/")
	if c.RelayURL != "" && !strings.HasPrefix(c.RelayURL, "http://") && !strings.HasPrefix(c.RelayURL, "https://") {
		faults = append(faults, fmt.Errorf("relay %q: want http(s)://HOST", c.RelayURL))
	}
	c.Hosts.setDefaults()
	c.MaxReposPerCollection = or(c.MaxReposPerCollection, 100_000)
	c.RelistEvery = or(c.RelistEvery, 24*time.Hour)
	c.Workers = or(c.Workers, 16)
	c.Verifiers = or(c.Verifiers, runtime.GOMAXPROCS(0))
	c.Lease = or(c.Lease, time.Minute)
	c.MinRetry = or(c.MinRetry, 30*time.Second)
	c.MaxRetry = or(c.MaxRetry, 24*time.Hour)
	c.Poll = or(c.Poll, time.Second)
	c.CheckEvery = or(c.CheckEvery, time.Minute)
	return errors.Join(faults...)
}

// Backfill reads repositories. It is safe for concurrent use.
type Backfill struct {
	cfg     Config
	fetcher *Fetcher
	hosts   *hosts
	q       *queries.Queries
	lane    *lane

	plan      atomic.Pointer[plan]
	replanned chan struct{} // capacity 1: the plan has changed
	relist    chan struct{} // capacity 1: so that discovery has a look
	wake      chan struct{} // capacity 1: there may be something to claim

	workers   chan struct{} // a token for each repository under way
	verifiers chan struct{} // and for each that is verified and published

	mu   sync.Mutex
	jobs map[syntax.DID]*job

	counters counters
}

// plan is what is to be read.
type plan struct {
	nsids    []syntax.NSID
	names    []string
	want     func(syntax.NSID) bool
	coverage string
}

func newPlan(collections source.Collections, nsids []syntax.NSID) *plan {
	p := &plan{nsids: slices.Clone(nsids), coverage: stream.Coverage(nsids)}
	slices.Sort(p.nsids)
	p.nsids = slices.Compact(p.nsids)
	p.names = make([]string, 0, len(p.nsids))
	listed := make(map[syntax.NSID]bool, len(p.nsids))
	for _, n := range p.nsids {
		p.names = append(p.names, string(n))
		listed[n] = true
	}
	// What is covered is published: else the end mark would delete it.
	p.want = func(n syntax.NSID) bool { return listed[n] || collections.Want(n) }
	return p
}

// New makes a backfill. Nothing runs yet.
func New(cfg Config) (*Backfill, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("backfill configuration: %w", err)
	}
	b := &Backfill{
		cfg:       cfg,
		fetcher:   &Fetcher{cfg: cfg.Fetch},
		hosts:     newHosts(cfg.Hosts),
		q:         queries.New(),
		lane:      &lane{log: cfg.Lane, zl: cfg.Log},
		replanned: make(chan struct{}, 1),
		relist:    make(chan struct{}, 1),
		wake:      make(chan struct{}, 1),
		workers:   make(chan struct{}, cfg.Workers),
		verifiers: make(chan struct{}, cfg.Verifiers),
		jobs:      make(map[syntax.DID]*job),
	}
	b.counters.began = time.Now()
	b.counters.listing.Store(cfg.RelayURL != "") // what is listed is not known yet
	b.plan.Store(newPlan(cfg.Collections, cfg.NSIDs))
	return b, nil
}

// SetCollections changes what is read from now on. Repositories that were read
// for less are queued again. It may be called at any time.
func (b *Backfill) SetCollections(collections source.Collections, nsids []syntax.NSID) {
	b.plan.Store(newPlan(collections, nsids))
	b.counters.listing.Store(b.cfg.RelayURL != "")
	notify(b.replanned)
	notify(b.relist)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Add asks for repositories to be read, again if they have been. Why is a word
// for the table: asked, seen, linked.
func (b *Backfill) Add(ctx context.Context, dids []syntax.DID, why string) error {
	for _, batch := range batches(dids) {
		err := b.q.QueueRepos(ctx, b.cfg.Pool, queries.QueueReposParams{Why: why, Dids: batch, WantedRevs: make([]string, len(batch))})
		if err != nil {
			return fmt.Errorf("queue %d repositories: %w", len(dids), err)
		}
	}
	notify(b.wake)
	return nil
}

// addNew asks for repositories that nobody has asked for yet.
func (b *Backfill) addNew(ctx context.Context, dids []syntax.DID, why string) error {
	for _, batch := range batches(dids) {
		_, err := b.q.QueueNewRepos(ctx, b.cfg.Pool, queries.QueueNewReposParams{Dids: batch, Whys: slices.Repeat([]string{why}, len(batch))})
		if err != nil {
			return fmt.Errorf("queue %d repositories: %w", len(dids), err)
		}
	}
	notify(b.wake)
	return nil
}

// batches are the DIDs as they go into a statement: each once, and all statements
// in the same order, so that two cannot wait for each other.
func batches(dids []syntax.DID) [][]string {
	all := make([]string, 0, len(dids))
	for _, did := range dids {
		all = append(all, string(did))
	}
	slices.Sort(all)
	return slices.Collect(slices.Chunk(slices.Compact(all), 5000))
}

// ReadDIDs reads DIDs, one a line; empty lines and those that begin with # are
// skipped.
func ReadDIDs(r io.Reader) ([]syntax.DID, error) {
	var dids []syntax.DID
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		did, err := syntax.ParseDID(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		dids = append(dids, did)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read DIDs: %w", err)
	}
	return dids, nil
}

// Retry asks again, now, for all repositories that could not be read. It returns
// how many those are.
func (b *Backfill) Retry(ctx context.Context) (int64, error) {
	n, err := b.q.RetryRepos(ctx, b.cfg.Pool)
	if err != nil {
		return 0, fmt.Errorf("queue the repositories that could not be read: %w", err)
	}
	notify(b.wake)
	return n, nil
}

// Failure is a repository that could not be read.
type Failure struct {
	DID syntax.DID
	// Gone is whether that is final until somebody asks again.
	Gone bool
	// Reason begins with a [Reason] and a colon.
	Reason   string
	PDS      string
	Attempts int
	// Due is when it is tried again, if it is not gone.
	Due time.Time
	// Time is when it failed.
	Time time.Time
}

// Failed lists repositories that could not be read, those of late first.
func (b *Backfill) Failed(ctx context.Context, limit int) ([]Failure, error) {
	rows, err := b.q.FailedRepos(ctx, b.cfg.Pool, int32(min(limit, 1<<30))) //nolint:gosec // bounded
	if err != nil {
		return nil, fmt.Errorf("list repositories that could not be read: %w", err)
	}
	out := make([]Failure, 0, len(rows))
	for _, r := range rows {
		out = append(out, Failure{
			DID: syntax.DID(r.Did), Gone: r.State == "gone", Reason: deref(r.Reason), PDS: deref(r.Pds),
			Attempts: int(r.Attempts), Due: r.DueAt.Time, Time: r.UpdatedAt.Time,
		})
	}
	return out, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Fetcher is what single repositories are fetched with; nothing is published.
func (b *Backfill) Fetcher() *Fetcher { return b.fetcher }

// Run reads repositories until ctx is done, which is not an error. It waits for
// Postgres and NATS while they are away. What is under way when it ends is queued
// again. To be called once.
func (b *Backfill) Run(ctx context.Context) error {
	b.fetcher.sweepTemp()
	defer b.lane.close()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.work(gctx) })
	g.Go(func() error { return b.hold(gctx) })
	g.Go(func() error { return b.discover(gctx) })
	g.Go(func() error { return b.check(gctx) })
	g.Go(func() error { return b.count(gctx) })
	err := g.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// persist does something that needs Postgres until it succeeds or ctx ends.
func (b *Backfill) persist(ctx context.Context, what string, do func() error) error {
	for wait := b.cfg.Poll; ; wait = min(2*wait, 30*time.Second) {
		err := do()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		b.cfg.Log.Warn().Err(err).Msg(what)
		if !retry.Sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}
