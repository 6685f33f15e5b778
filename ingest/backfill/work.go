package backfill

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/outbound"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
)

// job is one claim.
type job struct {
	did      syntax.DID
	claim    int64
	minRev   syntax.TID
	attempts int
	cancel   context.CancelCauseFunc
	done     chan struct{} // closed when it has let go
	// before is an older job for the same repository, which has lost its claim.
	before *job
}

// errLost ends a job whose claim somebody else has, or that has been asked for
// anew.
var errLost = errors.New("the claim is lost")

// work claims repositories and has them read.
func (b *Backfill) work(ctx context.Context) error {
	// So many may be claimed: beside those that are under way, those that wait for
	// their hosts.
	most := 4 * b.cfg.Workers
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(b.cfg.Poll)
	defer tick.Stop()
	for {
		more := true
		for more && most-b.running() >= b.cfg.Workers && b.hosts.wait(directory) == 0 {
			// A few at a time: of these, all may be of one host.
			var rows []queries.ClaimReposRow
			err := b.persist(ctx, "claim repositories", func() (err error) {
				rows, err = b.claim(ctx, b.cfg.Workers)
				return err
			})
			if err != nil {
				return err
			}
			for _, row := range rows {
				b.start(ctx, &running, row)
			}
			more = len(rows) == b.cfg.Workers
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.wake:
		case <-tick.C:
		}
	}
}

// claim takes up to most repositories, those first that somebody waits for.
func (b *Backfill) claim(ctx context.Context, most int) ([]queries.ClaimReposRow, error) {
	busy, _ := b.hosts.busy()
	arg := queries.ClaimUrgentReposParams{Busy: busy, Most: int32(most), LeaseSeconds: b.cfg.Lease.Seconds()} //nolint:gosec // a few dozens
	urgent, err := b.q.ClaimUrgentRepos(ctx, b.cfg.Pool, arg)
	if err != nil {
		return nil, err
	}
	rows := make([]queries.ClaimReposRow, 0, most)
	for _, row := range urgent {
		rows = append(rows, queries.ClaimReposRow(row))
	}
	if most -= len(rows); most == 0 {
		return rows, nil
	}
	arg.Most = int32(most) //nolint:gosec // as above
	others, err := b.q.ClaimRepos(ctx, b.cfg.Pool, queries.ClaimReposParams(arg))
	if err != nil && len(rows) == 0 {
		return nil, err
	}
	return append(rows, others...), nil // those that are claimed are to be read
}

func (b *Backfill) running() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.jobs)
}

func (b *Backfill) start(ctx context.Context, running *sync.WaitGroup, row queries.ClaimReposRow) {
	ctx, cancel := context.WithCancelCause(ctx)
	j := &job{
		did: syntax.DID(row.Did), claim: row.Claim, attempts: int(row.Attempts),
		// The fold takes no snapshot that is older than what it has settled.
		minRev: syntax.TID(max(row.WantedRev, row.SettledRev)),
		cancel: cancel, done: make(chan struct{}),
	}
	b.mu.Lock()
	if j.before = b.jobs[j.did]; j.before != nil {
		j.before.cancel(errLost)
	}
	b.jobs[j.did] = j
	b.mu.Unlock()
	running.Go(func() {
		defer cancel(nil)
		if j.before != nil {
			<-j.before.done // so that two snapshots do not get mixed
			j.before = nil
		}
		b.run(ctx, j)
		b.mu.Lock()
		if b.jobs[j.did] == j {
			delete(b.jobs, j.did)
		}
		b.mu.Unlock()
		close(j.done)
		notify(b.wake)
	})
}

// hold extends the claims of what is under way.
func (b *Backfill) hold(ctx context.Context) error {
	tick := time.NewTicker(b.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		b.mu.Lock()
		jobs := make([]*job, 0, len(b.jobs))
		arg := queries.HoldReposParams{LeaseSeconds: b.cfg.Lease.Seconds()}
		for _, j := range b.jobs {
			jobs = append(jobs, j)
			arg.Dids = append(arg.Dids, string(j.did))
			arg.Claims = append(arg.Claims, j.claim)
		}
		b.mu.Unlock()
		if len(jobs) == 0 {
			continue
		}
		err := b.q.HoldRepos(ctx, b.cfg.Pool, arg)
		var held []string
		if err == nil {
			held, err = b.q.HeldRepos(ctx, b.cfg.Pool, queries.HeldReposParams{Dids: arg.Dids, Claims: arg.Claims})
		}
		if err != nil {
			if ctx.Err() == nil {
				b.cfg.Log.Warn().Err(err).Msg("extend the claims of repositories")
			}
			continue // the next time may do; else others take over, and nothing is lost
		}
		for _, j := range jobs {
			if !slices.Contains(held, string(j.did)) {
				j.cancel(errLost)
			}
		}
	}
}

// run reads a repository and notes what came of it.
func (b *Backfill) run(ctx context.Context, j *job) {
	log := b.cfg.Log.With().Str("did", string(j.did)).Logger()
	pds, err := b.read(ctx, j)
	if err == nil || errors.Is(context.Cause(ctx), errLost) {
		return
	}
	var at *string
	if pds != "" {
		at = &pds
	}
	deferred, isDeferred := errors.AsType[*deferError](err)
	e, isError := errors.AsType[*Error](err)
	stopping := ctx.Err() != nil
	b.settle(ctx, "note what came of a repository", func(ctx context.Context) error {
		switch {
		case isDeferred:
			return b.deferRepo(ctx, j, at, deferred.delay)
		case isError && e.Reason == ReasonRate:
			return b.deferRepo(ctx, j, at, b.hosts.away(e.PDS))
		case isError && e.final(j.attempts):
			log.Debug().Err(e).Msg("repository is not to be had")
			return b.q.GoneRepo(ctx, b.cfg.Pool, queries.GoneRepoParams{Did: string(j.did), Claim: j.claim, Reason: e.text(), Pds: at})
		case isError:
			wait := min(b.cfg.MinRetry<<min(j.attempts, 30), b.cfg.MaxRetry)
			if wait <= 0 {
				wait = b.cfg.MaxRetry
			}
			wait = wait/2 + rand.N(wait/2+1) // those that failed together need not come together
			level := zerolog.DebugLevel
			if e.Reason == ReasonLocal {
				level = zerolog.WarnLevel
			}
			log.WithLevel(level).Err(e).Dur("again", wait).Msg("repository could not be read")
			return b.q.FailRepo(ctx, b.cfg.Pool, queries.FailRepoParams{
				Did: string(j.did), Claim: j.claim, Reason: e.text(), Pds: at, DelaySeconds: wait.Seconds(),
			})
		}
		if stopping || isLaneEnd(err) {
			return b.deferRepo(ctx, j, at, 0)
		}
		log.Warn().Err(err).Msg("repository could not be published")
		return b.deferRepo(ctx, j, at, b.cfg.MinRetry)
	})
}

func (b *Backfill) deferRepo(ctx context.Context, j *job, pds *string, delay time.Duration) error {
	return b.q.DeferRepo(ctx, b.cfg.Pool, queries.DeferRepoParams{Did: string(j.did), Claim: j.claim, Pds: pds, DelaySeconds: delay.Seconds()})
}

// settleTimeout bounds what is done after ctx has ended. If it does not suffice
// the claim runs out, and somebody does it all again.
const settleTimeout = 5 * time.Second

// settle writes what came of a job, also when ctx has ended.
func (b *Backfill) settle(ctx context.Context, what string, write func(context.Context) error) {
	deadline := max(b.cfg.Lease, settleTimeout) // later the claim is not ours
	if ctx.Err() != nil {
		deadline = settleTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer cancel()
	_ = b.persist(ctx, what, func() error { return write(ctx) }) // its error is that of ctx
}

// directory stands among the hosts for the one that has the did:plc documents.
// While it is away nothing is claimed: all repositories would fail, one by one.
const directory = "directory"

// read fetches, verifies and publishes a repository. It returns where the
// repository is, as far as that is known, and why it was not read: an [*Error], a
// [*deferError], or nothing that is its fault.
func (b *Backfill) read(ctx context.Context, j *job) (pds string, err error) {
	p := b.plan.Load()
	t := &turn{b: b}
	defer t.end()
	isPLC := strings.HasPrefix(string(j.did), "did:plc:")
	asked := time.Now()
	repo, pds, err := b.fetcher.fetch(ctx, request{did: j.did, minRev: j.minRev, want: p.want, retry: j.attempts > 0}, t)
	if e, ok := errors.AsType[*Error](err); isPLC && ok && e.Reason == ReasonIdentity {
		b.hosts.failed(directory)
	} else if isPLC && ctx.Err() == nil {
		b.hosts.answered(directory)
	}
	if e, ok := errors.AsType[*Error](err); ok && slices.Contains(withheld, e.Reason) {
		if perr := b.onLane(ctx, func(pub *stream.Publisher) error { return b.withhold(ctx, pub, j.did, e.Reason, asked) }); perr != nil {
			return pds, perr
		}
	}
	if err != nil {
		return pds, err
	}
	defer repo.Close()
	b.counters.fetched.Add(1)

	// Who folds the end mark looks up what it covers.
	if err := b.q.PutCoverage(ctx, b.cfg.Pool, queries.PutCoverageParams{Digest: p.coverage, Collections: p.names}); err != nil {
		return pds, err
	}
	_, life, err := b.lane.get()
	if err != nil {
		return pds, err
	}
	if err := b.onLane(ctx, func(pub *stream.Publisher) error { return b.publish(ctx, pub, repo, p.coverage, j.claim, asked) }); err != nil {
		return pds, err
	}
	b.settle(ctx, "note that a repository is published", func(ctx context.Context) error {
		// So that a firehose notices if a commit is missing between this and the first
		// that it sees.
		err := b.q.PutNewerHead(ctx, b.cfg.Pool, queries.PutNewerHeadParams{Did: string(j.did), Rev: string(repo.Rev), Data: repo.Data().String()})
		if err != nil {
			return err
		}
		return b.q.PublishRepo(ctx, b.cfg.Pool, queries.PublishRepoParams{
			Did: string(j.did), Claim: j.claim, Pds: pds, Rev: string(repo.Rev), Coverage: p.coverage,
			Records: repo.Wanted, Bytes: repo.Bytes,
		})
	})
	b.counters.published.Add(1)
	if b.lane.current() != life {
		b.queuePublished(ctx) // it was noted too late for whoever ended the publisher
	}
	return pds, nil
}

// onLane publishes something. If the log has lost its end, what was published and
// is not in the tables has to be published again.
func (b *Backfill) onLane(ctx context.Context, do func(*stream.Publisher) error) error {
	pub, life, err := b.lane.get()
	if err != nil {
		return err
	}
	if err = do(pub); err != nil && isLaneEnd(err) && b.lane.end(life) {
		b.cfg.Log.Warn().Err(err).Msg("backfill lane lost its end; publishing again what is not in the tables")
		b.queuePublished(ctx)
	}
	return err
}

func (b *Backfill) queuePublished(ctx context.Context) {
	b.settle(ctx, "queue again what was published", func(ctx context.Context) error {
		_, err := b.q.QueuePublished(ctx, b.cfg.Pool)
		return err
	})
}

// turn is a job's way through the bottlenecks: its host, a worker, a verifier. The
// last two it keeps until it ends.
type turn struct {
	b        *Backfill
	works    bool
	verifies bool
}

func (t *turn) enter(ctx context.Context, pds string) error {
	if err := t.b.hosts.acquire(ctx, pds); err != nil {
		return err
	}
	if t.works {
		return nil
	}
	select {
	case t.b.workers <- struct{}{}:
		t.works = true
		return nil
	case <-ctx.Done():
		t.b.hosts.release(pds)
		return ctx.Err()
	}
}

func (t *turn) leave(pds string, until time.Time, err error) {
	t.b.noteHost(pds, until, err)
	t.b.hosts.release(pds)
}

func (t *turn) verify(ctx context.Context) error {
	if t.verifies {
		return nil
	}
	select {
	case t.b.verifiers <- struct{}{}:
		t.verifies = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turn) end() {
	if t.verifies {
		<-t.b.verifiers
	}
	if t.works {
		<-t.b.workers
	}
}

// noteHost draws conclusions about a host from an answer of it.
func (b *Backfill) noteHost(host string, until time.Time, err error) {
	status, isStatus := errors.AsType[*outbound.StatusError](err)
	_, tooLarge := errors.AsType[*outbound.TooLargeError](err)
	_, known := errors.AsType[*Error](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, errLost), known:
		// It is about us.
	case err == nil, tooLarge:
		b.hosts.answered(host)
		if !until.IsZero() {
			b.hosts.pause(host, until)
		}
	case isStatus && (status.Status == http.StatusTooManyRequests || status.Status >= 500 && !status.RetryAt.IsZero()):
		b.hosts.pause(host, status.RetryAt)
	case isStatus && status.Status < 500:
		b.hosts.answered(host)
	default:
		b.hosts.failed(host)
	}
}
