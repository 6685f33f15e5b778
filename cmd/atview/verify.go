package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest/backfill"
	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

// errDiffers is how verify ends when it has found something: exit code 1.
var errDiffers = errors.New("the index is not what it should be")

func verifyCommand() *cobra.Command {
	return command(&cobra.Command{
		Use:   "verify",
		Short: "Derive everything anew and say what differs, or hold repositories against their PDS",
		Long: `Verify derives columns, links, flags and counts anew from the stored records,
recomputes the records' CIDs, and prints each difference. It reads one state of
the database and may run beside the index.

With --repo, --sample or --all-repos it fetches repositories from their PDS
instead, verifies them, and prints what the tables lack or have too much.

--repair mends what it finds. What the tables know by themselves is derived
anew, for which no index may be running. Repositories are read whole again: by
the running atview if there is one, else by this command.

It ends with 0 if nothing differs, or nothing does any more.`,
		Example: `  atview verify --lexicons ./lexicons
  atview verify --lexicons ./lexicons --sample 100 --repair`,
	}, runVerify, lexiconFlags, storeFlags, networkFlags, func(s *settings, f flagSet) {
		f.StringVar(&s.NATSURL, "nats-url", "", "NATS `URL`, for --repair (default a NATS inside this process)")
		f.StringArrayVar(&s.Repos, "repo", nil, "`DID` of a repository to compare; repeatable")
		f.IntVar(&s.Sample, "sample", 0, "compare so many repositories, taken at random")
		f.BoolVar(&s.AllRepos, "all-repos", false, "compare all repositories")
		f.BoolVar(&s.Repair, "repair", false, "mend what differs")
	})
}

// audit is a run of verify.
type audit struct {
	s     *settings
	log   zerolog.Logger
	out   io.Writer
	cat   *schema.Catalog
	store *stores
	pool  *pgxpool.Pool
	fetch *backfill.Fetcher
	found map[index.DifferenceKind]int64
	// doubts are what repositories have made us doubt, when it is to be mended.
	doubts []doubt
}

// doubt is a row that its repository does not have, or has otherwise. A snapshot
// leaves rows of its own revision alone, so these lose what makes them one of it:
// the CID, or, of what is to go, the revision.
type doubt struct {
	did        syntax.DID
	collection syntax.NSID
	rkey       syntax.RecordKey
	gone       bool
	rev        syntax.TID // of the repository; a row that is newer is none of our business
}

func runVerify(cmd *cobra.Command, s *settings) (err error) {
	ctx := cmd.Context()
	for _, raw := range s.Repos {
		if _, err := syntax.ParseDID(raw); err != nil {
			return usageError{cmd, fmt.Errorf("--repo %q: %w", raw, err)}
		}
	}
	if s.Sample < 0 {
		return usageError{cmd, fmt.Errorf("--sample %d: less than none", s.Sample)}
	}
	a := &audit{s: s, log: s.logger(), out: cmd.OutOrStdout(), found: map[index.DifferenceKind]int64{}}
	if a.cat, err = loadCatalog(s, a.log); err != nil {
		return err
	}
	repos := len(s.Repos) > 0 || s.Sample > 0 || s.AllRepos
	if a.pool, a.store, err = attach(ctx, s, a.log, s.Repair); err != nil {
		return err
	}
	defer a.store.Close()
	defer a.pool.Close()
	if err := hasRun(ctx, a.pool); err != nil {
		return err
	}
	if a.cat, err = index.KeepNames(ctx, a.pool, a.cat); err != nil {
		return err
	}
	if !repos {
		return a.tables(ctx)
	}
	return a.repositories(ctx)
}

// tables verifies what the tables know by themselves.
func (a *audit) tables(ctx context.Context) error {
	cfg := index.VerifyConfig{Found: a.print, Progress: a.progress()}
	if !a.s.Repair {
		report, err := index.Verify(ctx, a.pool, a.cat, cfg)
		if err != nil {
			return err
		}
		return a.conclude(&report)
	}
	done, err := index.RepairLocal(ctx, a.pool, a.cat, index.RepairConfig{Verify: cfg})
	if errors.Is(err, index.ErrBusy) {
		return fmt.Errorf("--repair: %w; stop the processes with the role index, or compare repositories (--sample, --repo), which are mended while it runs", err)
	}
	if err != nil {
		return err
	}
	a.s.bar.show(0, "")
	fmt.Fprintf(a.out, "repaired: %d rows derived anew, %d removed, %d orphans, %d collections counted anew\n",
		done.Rederived, done.Removed, done.Orphans, done.Recounted)
	if len(done.Reconcile) > 0 {
		fmt.Fprintf(a.out, "%d rows are not the record that their CID names; reading the repositories of %d accounts again\n", done.Unproven, len(done.Reconcile))
		if err := a.reconcile(ctx, done.Reconcile); err != nil {
			return err
		}
	}
	clear(a.found)
	report, err := index.Verify(ctx, a.pool, a.cat, cfg)
	if err != nil {
		return err
	}
	return a.conclude(&report)
}

func (a *audit) conclude(r *index.VerifyReport) error {
	a.s.bar.show(0, "")
	fmt.Fprintf(a.out, "%d rows of %d collections, %d links, %d counts in %s: ", r.Rows, r.Collections, r.Links, r.Counts, r.Took.Round(time.Millisecond))
	fmt.Fprintf(a.out, "%d CIDs recompute", r.CIDs)
	if rest := r.NoCID + r.Repaired + r.Unhashable; rest > 0 {
		fmt.Fprintf(a.out, " (%d rows came without, %d were repaired, %d have no CID)", r.NoCID, r.Repaired, r.Unhashable)
	}
	fmt.Fprintln(a.out)
	return a.verdict()
}

// verdict says what was found.
func (a *audit) verdict() error {
	if len(a.found) == 0 {
		fmt.Fprintln(a.out, "nothing differs")
		return nil
	}
	var parts []string
	for kind, n := range a.found {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	return fmt.Errorf("%w: %s", errDiffers, strings.Join(parts, ", "))
}

func (a *audit) print(d index.Difference) {
	a.s.bar.show(0, "") // it may be on the same terminal
	a.found[d.Kind]++
	var b strings.Builder
	fmt.Fprintf(&b, "%-9s", d.Kind)
	switch {
	case d.DID != "":
		fmt.Fprintf(&b, " at://%s/%s/%s", d.DID, d.Collection, d.RKey)
	default:
		fmt.Fprintf(&b, " %s", d.Collection)
	}
	for _, part := range []struct{ name, value string }{{"path", d.Path}, {"target", d.Target}, {"want", d.Want}, {"have", d.Have}} {
		if part.value != "" {
			fmt.Fprintf(&b, " %s %s", part.name, part.value)
		}
	}
	fmt.Fprintln(a.out, b.String())
}

// progress tells how far verifying is: by a bar on a terminal, by log lines
// otherwise.
func (a *audit) progress() func(index.VerifyProgress) {
	every := progressEvery
	if a.s.bar != nil {
		every = 200 * time.Millisecond
	}
	last := time.Now()
	return func(p index.VerifyProgress) {
		if time.Since(last) < every || p.Total == 0 {
			return
		}
		last = time.Now()
		done := float64(p.Done) / float64(p.Total)
		if a.s.bar != nil {
			a.s.bar.show(done, fmt.Sprintf("%d rows verified", p.Rows))
			return
		}
		a.log.Info().Int64("rows", p.Rows).Str("done", fmt.Sprintf("%.0f%%", 100*done)).Msg("verifying")
	}
}

// progressEvery is how often long work says how far it is.
const progressEvery = 5 * time.Second

// repositories holds repositories against their PDS.
func (a *audit) repositories(ctx context.Context) error {
	peers, err := openPeers(a.s, a.pool, a.log)
	if err != nil {
		return err
	}
	fetch, err := fetchConfig(a.s, peers)
	if err != nil {
		return err
	}
	if a.fetch, err = backfill.NewFetcher(fetch); err != nil {
		return err
	}
	var broken, failed []syntax.DID
	compared := 0
	last := time.Now()
	for did, err := range a.dids(ctx) {
		if err != nil {
			return err
		}
		switch differs, err := a.compare(ctx, did); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			fmt.Fprintf(a.out, "%-9s %s %v\n", "unread", did, err)
			failed = append(failed, did)
		case differs:
			broken = append(broken, did)
			compared++
		default:
			compared++
		}
		if time.Since(last) > progressEvery {
			last = time.Now()
			a.log.Info().Int("repositories", compared).Int("broken", len(broken)).Int("unread", len(failed)).Msg("comparing")
		}
	}
	fmt.Fprintf(a.out, "%d repositories compared, %d differ, %d could not be read\n", compared, len(broken), len(failed))
	if a.s.Repair && len(broken) > 0 {
		n := int64(0)
		for _, found := range a.found {
			n += found
		}
		if err := a.reconcile(ctx, broken); err != nil {
			return err
		}
		clear(a.found)
		for _, did := range broken {
			if _, err := a.compare(ctx, did); err != nil {
				return fmt.Errorf("compare %s again: %w", did, err)
			}
		}
		fmt.Fprintf(a.out, "%d records of %d repositories needed the repair\n", n, len(broken))
	}
	if len(failed) > 0 && len(a.found) == 0 {
		return fmt.Errorf("%d repositories could not be read", len(failed))
	}
	return a.verdict()
}

// dids are the repositories that are to be compared, each once.
func (a *audit) dids(ctx context.Context) iter.Seq2[syntax.DID, error] {
	return func(yield func(syntax.DID, error) bool) {
		q := queries.New()
		some := slices.Clone(a.s.Repos)
		if a.s.Sample > 0 {
			sample, err := q.SomeFollowedActors(ctx, a.pool, int64(a.s.Sample))
			if err != nil {
				yield("", err)
				return
			}
			some = append(some, sample...)
		}
		slices.Sort(some)
		some = slices.Compact(some)
		for _, did := range some {
			if !yield(syntax.DID(did), nil) {
				return
			}
		}
		const page = 1000
		for after, more := "", a.s.AllRepos; more; {
			dids, err := q.FollowedActors(ctx, a.pool, queries.FollowedActorsParams{After: after, Most: page})
			if err != nil {
				yield("", err)
				return
			}
			for _, did := range dids {
				after = did
				if _, done := slices.BinarySearch(some, did); !done && !yield(syntax.DID(did), nil) {
					return
				}
			}
			more = len(dids) == page
		}
	}
}

// compare prints what differs between the tables and a repository.
func (a *audit) compare(ctx context.Context, did syntax.DID) (differs bool, err error) {
	repo, err := a.fetch.Fetch(ctx, did, func(nsid syntax.NSID) bool { return a.cat.Collection(nsid) != nil })
	if err != nil {
		return false, err
	}
	defer repo.Close()
	records := func(yield func(index.RepoRecord, error) bool) {
		for rec, err := range repo.Records(ctx) {
			if rec.Err != nil {
				continue // a dead letter, and no row
			}
			if !yield(index.RepoRecord{Collection: rec.Collection, RKey: rec.RKey, CID: rec.CID.String(), JSON: rec.JSON}, err) {
				return
			}
		}
	}
	report, err := index.Compare(ctx, a.pool, a.cat, index.RepoState{DID: did, Rev: repo.Rev, Records: records}, index.CompareConfig{Found: func(d index.Difference) {
		a.print(d)
		if a.s.Repair && d.Kind != index.DiffMissing {
			a.doubts = append(a.doubts, doubt{d.DID, d.Collection, d.RKey, d.Kind == index.DiffExtra, repo.Rev})
		}
	}})
	if err != nil {
		return false, err
	}
	return len(report.Found) > 0, nil
}

// reconcile has repositories read whole again, and waits for it.
func (a *audit) reconcile(ctx context.Context, dids []syntax.DID) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := askFor(dids)
	q := queries.New()
	// One by one: who locks many rows in an order of its own may stand in the index's
	// way, and the index in its.
	for _, d := range a.doubts {
		change := "cid = null"
		if d.gone {
			change = "rev = ''"
		}
		_, err := a.pool.Exec(ctx, fmt.Sprintf("update %s set %s where rkey = $1 and did = $2 and rev <= $3", index.TableName(a.cat.Collection(d.collection)), change),
			string(d.rkey), string(d.did), string(d.rev))
		if err != nil {
			return fmt.Errorf("doubt at://%s/%s/%s: %w", d.did, d.collection, d.rkey, err)
		}
	}
	a.doubts = nil
	if err := q.QueueRepos(ctx, a.pool, p); err != nil {
		return fmt.Errorf("queue repositories: %w", err)
	}
	running, err := index.Running(ctx, a.pool)
	if err != nil {
		return err
	}
	if running == 0 {
		wait, err := a.readHere(ctx, stop)
		if err != nil {
			return err
		}
		defer wait()
		defer stop(nil)
	}
	began, last := time.Now(), time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		states, err := q.RepoStates(ctx, a.pool, p.Dids)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("read how repositories are: %w", err)
		}
		count := map[string]int{}
		for _, r := range states {
			count[r.State]++
		}
		if count["done"]+count["failed"]+count["gone"] == len(dids) {
			for _, r := range states {
				if r.State != "done" {
					fmt.Fprintf(a.out, "%-9s %s %s\n", r.State, r.Did, r.Reason)
				}
			}
			return nil
		}
		if count["queued"] == len(dids) && time.Since(began) > nobodyReads {
			return fmt.Errorf("%d repositories are queued, and nobody reads them: the running atview has --backfill off, or no role ingest", len(dids))
		}
		if time.Since(last) > progressEvery {
			last = time.Now()
			a.log.Info().Interface("repositories", count).Msg("reading repositories again")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// nobodyReads is when a queue that does not move has no reader.
const nobodyReads = 30 * time.Second

// readHere reads and folds repositories in this process until ctx ends; wait
// returns when that is over. What ends it before is given to stop.
func (a *audit) readHere(ctx context.Context, stop context.CancelCauseFunc) (wait func(), err error) {
	work := &app{s: a.s, log: a.log, out: io.Discard, roles: []string{roleIndex, roleIngest}, stores: a.store, pool: a.pool, catalog: a.cat,
		plan: backfillPlan{on: true}}
	if work.peers, err = openPeers(a.s, a.pool, a.log); err != nil {
		return nil, err
	}
	if err := work.openLog(ctx); err != nil {
		return nil, err
	}
	if err := work.openBackfill(); err != nil {
		return nil, err
	}
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		if err := work.index.Run(ctx); err != nil {
			stop(fmt.Errorf("index: %w", err))
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		if err := work.backfill.Run(ctx); err != nil {
			stop(fmt.Errorf("backfill: %w", err))
		}
	}()
	return func() { <-done; <-done }, nil
}
