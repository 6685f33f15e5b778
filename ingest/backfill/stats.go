package backfill

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/atview/atview/ingest/internal/retry"
)

// counters are what this process has done since it was made.
type counters struct {
	began     time.Time
	listed    atomic.Int64
	oddDIDs   atomic.Int64
	fetched   atomic.Int64
	published atomic.Int64
	records   atomic.Int64
	rejects   atomic.Int64
	listing   atomic.Bool
	counts    atomic.Pointer[Counts]
}

// Counts says how many repositories there are in each state, in the database.
type Counts struct {
	Queued, Fetching, Published, Done, Failed, Gone int64
	// Records is how many the repositories that are done had when they were read.
	Records int64
}

// Total is how many repositories there are.
func (c Counts) Total() int64 {
	return c.Queued + c.Fetching + c.Published + c.Done + c.Failed + c.Gone
}

// Open is how many are on their way. Those that have failed are not among them.
func (c Counts) Open() int64 { return c.Queued + c.Fetching + c.Published }

// Counts asks the database. It may be called without Run.
func (b *Backfill) Counts(ctx context.Context) (Counts, error) {
	rows, err := b.q.CountRepos(ctx, b.cfg.Pool)
	if err != nil {
		return Counts{}, fmt.Errorf("count repositories: %w", err)
	}
	var c Counts
	for _, r := range rows {
		switch r.State {
		case "queued":
			c.Queued = r.Repos
		case "fetching":
			c.Fetching = r.Repos
		case "published":
			c.Published = r.Repos
		case "done":
			c.Done, c.Records = r.Repos, r.Records
		case "failed":
			c.Failed = r.Repos
		case "gone":
			c.Gone = r.Repos
		}
	}
	return c, nil
}

// Stats is a snapshot.
type Stats struct {
	// Counts is the state of all repositories, some seconds ago; zero before Run has
	// counted them for the first time.
	Counts
	// Listing is whether a relay is being asked which repositories there are.
	Listing bool
	// What this process has done: repositories listed for the first time or again,
	// fetched and verified, published; records published, and set aside; bytes read.
	ReposListed, ReposFetched, ReposPublished int64
	RecordsPublished, RecordsRejected         int64
	BytesRead                                 int64
	// OddDIDs counts what was listed and is no DID.
	OddDIDs int64
	// HostsPaused is how many hosts are left alone now.
	HostsPaused int
	// Uptime is since when it has done that.
	Uptime time.Duration
}

// Stats returns a snapshot; it asks nobody.
func (b *Backfill) Stats() Stats {
	c := &b.counters
	s := Stats{
		Listing:     c.listing.Load(),
		ReposListed: c.listed.Load(), ReposFetched: c.fetched.Load(), ReposPublished: c.published.Load(),
		RecordsPublished: c.records.Load(), RecordsRejected: c.rejects.Load(),
		BytesRead: b.fetcher.read.Load(),
		OddDIDs:   c.oddDIDs.Load(),
		Uptime:    time.Since(c.began),
	}
	if counts := c.counts.Load(); counts != nil {
		s.Counts = *counts
	}
	_, s.HostsPaused = b.hosts.busy()
	return s
}

// count keeps the counts of Stats recent.
func (b *Backfill) count(ctx context.Context) error {
	for {
		began := time.Now()
		counts, err := b.Counts(ctx)
		switch {
		case err == nil:
			b.counters.counts.Store(&counts)
		case ctx.Err() == nil:
			b.cfg.Log.Warn().Err(err).Msg("state of the backfill")
		}
		// Counting millions of rows takes a while; no more than a twentieth of the time
		// is for it.
		if !retry.Sleep(ctx, max(2*time.Second, 20*time.Since(began))) {
			return ctx.Err()
		}
	}
}

// Report is what happened between two snapshots, for people.
type Report struct {
	Stats
	// Per second.
	Repos, Records, Bytes float64
	// Left is how long it takes if it goes on like that; 0 if nobody can tell.
	Left time.Duration
}

// Report compares with an earlier snapshot of the same process; the zero value is
// its beginning.
func (s Stats) Report(before Stats) Report {
	r := Report{Stats: s}
	if d := (s.Uptime - before.Uptime).Seconds(); d > 0 {
		r.Repos = float64(s.ReposPublished-before.ReposPublished) / d
		r.Records = float64(s.RecordsPublished-before.RecordsPublished) / d
		r.Bytes = float64(s.BytesRead-before.BytesRead) / d
	}
	if left := s.Queued + s.Fetching; left > 0 && r.Repos > 0 && !s.Listing {
		r.Left = time.Duration(float64(left) / r.Repos * float64(time.Second)).Round(time.Second)
	}
	return r
}

// Done is the part of all known repositories that needs no more work, from 0 to 1.
func (r Report) Done() float64 {
	if r.Total() == 0 {
		return 0
	}
	return float64(r.Total()-r.Open()) / float64(r.Total())
}

// String is one line.
func (r Report) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d of %d repositories (%.0f %%)", r.Total()-r.Open(), r.Total(), 100*r.Done())
	if r.Failed > 0 {
		fmt.Fprintf(&s, ", %d failed", r.Failed)
	}
	if r.Gone > 0 {
		fmt.Fprintf(&s, ", %d gone", r.Gone)
	}
	fmt.Fprintf(&s, "; %.1f repositories, %.0f records, %.1f MB a second", r.Repos, r.Records, r.Bytes/1e6)
	if r.HostsPaused > 0 {
		fmt.Fprintf(&s, "; %d hosts paused", r.HostsPaused)
	}
	if r.Listing {
		s.WriteString("; still listing")
	}
	if r.Left > 0 {
		fmt.Fprintf(&s, "; %s left", r.Left)
	}
	return s.String()
}
