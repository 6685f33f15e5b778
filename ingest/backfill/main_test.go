package backfill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/atview/atview/index/dbtest"
	"github.com/atview/atview/ingest/backfill"
	"github.com/atview/atview/ingest/car/cartest"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/internal/natstest"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/migrations"
	"github.com/atview/atview/queries"
)

func TestMain(m *testing.M) {
	// indigo's repo package, with which tests make repositories, starts it when it is
	// loaded.
	dbtest.Main(m, goleak.IgnoreAnyFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

const (
	post = syntax.NSID("app.bsky.feed.post")
	rev1 = syntax.TID("3mptbypluud2a")
	rev2 = syntax.TID("3mptbypluud3a")
)

func didOf(n int) syntax.DID { return syntax.DID(fmt.Sprintf("did:plc:%024d", n)) }

// account is a repository on the fake network.
type account struct {
	did  syntax.DID
	key  atcrypto.PrivateKey
	car  []byte
	pds  string
	keys int // how often the directory was asked anew
}

// network is a PDS that is a relay too, and a directory.
type network struct {
	t   testing.TB
	srv *httptest.Server

	mu       sync.Mutex
	accounts map[syntax.DID]*account
	// answer, if it is set, answers getRepo in place of the PDS; false leaves it to
	// the PDS.
	answer func(w http.ResponseWriter, r *http.Request, did syntax.DID) bool
	// list is the same for the lists.
	list func(w http.ResponseWriter, r *http.Request) bool
	// fresh, if it is set, is what the directory says when it is asked anew.
	fresh func(identity.Identity) (identity.Identity, error)
	// away has the directory answer nothing; lookups counts what it is asked.
	away      bool
	lookups   int
	asked     map[syntax.DID]int
	listed    []string // cursors asked for
	most, now int      // requests for repositories at a time
}

func newNetwork(t testing.TB) *network {
	n := &network{t: t, accounts: map[syntax.DID]*account{}, asked: map[syntax.DID]int{}}
	n.srv = httptest.NewServer(n)
	t.Cleanup(n.srv.Close)
	return n
}

// add makes an account with a repository of so many posts.
func (n *network) add(did syntax.DID, posts int) *account {
	n.t.Helper()
	a := &account{did: did, key: cartest.Key(n.t), pds: n.srv.URL}
	n.put(a, rev1, cartest.Posts(n.t, posts))
	return a
}

// put gives an account a repository.
func (n *network) put(a *account, rev syntax.TID, records map[string][]byte) {
	n.t.Helper()
	file := cartest.Build(n.t, a.key, a.did, rev, records).Bytes()
	n.mu.Lock()
	defer n.mu.Unlock()
	a.car = file
	n.accounts[a.did] = a
}

func (n *network) on(answer func(w http.ResponseWriter, r *http.Request, did syntax.DID) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer = answer
}

func (n *network) times(did syntax.DID) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[did]
}

func xrpcError(w http.ResponseWriter, status int, name string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": name, "message": name}) //nolint:errcheck // to a client that may be gone
}

func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch r.URL.Path {
	case "/xrpc/com.atproto.sync.getRepo":
		did := syntax.DID(q.Get("did"))
		n.mu.Lock()
		n.asked[did]++
		n.now++
		n.most = max(n.most, n.now)
		a, answer := n.accounts[did], n.answer
		var file []byte
		if a != nil {
			file = a.car
		}
		n.mu.Unlock()
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.now--
		}()
		switch {
		case answer != nil && answer(w, r, did):
		case file == nil:
			xrpcError(w, 400, "RepoNotFound")
		default:
			w.Header().Set("Content-Type", "application/vnd.ipld.car")
			w.Write(file)
		}
	case "/xrpc/com.atproto.sync.listReposByCollection", "/xrpc/com.atproto.sync.listRepos":
		n.mu.Lock()
		list := n.list
		n.listed = append(n.listed, q.Get("collection")+"@"+q.Get("cursor"))
		dids := slices.Sorted(maps.Keys(n.accounts))
		n.mu.Unlock()
		if list != nil && list(w, r) {
			return
		}
		from, _ := strconv.Atoi(q.Get("cursor"))
		page := struct {
			Cursor string           `json:"cursor,omitempty"`
			Repos  []map[string]any `json:"repos"`
		}{Repos: []map[string]any{}}
		for i := from; i < len(dids) && i < from+3; i++ { // pages of three
			page.Repos = append(page.Repos, map[string]any{"did": dids[i]})
			page.Cursor = strconv.Itoa(i + 1) // on the last page, too
		}
		json.NewEncoder(w).Encode(page) //nolint:errcheck // as above
	default:
		xrpcError(w, 501, "MethodNotImplemented")
	}
}

// Lookup and Refresh are the directory's.
func (n *network) Lookup(_ context.Context, did syntax.DID) (identity.Identity, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookups++
	if n.away {
		return identity.Identity{}, errors.New("directory answers HTTP 503")
	}
	a := n.accounts[did]
	if a == nil {
		return identity.Identity{}, identity.ErrNotFound
	}
	public, err := a.key.PublicKey()
	return identity.Identity{DID: did, PDS: a.pds, Key: public}, err
}

func (n *network) Refresh(ctx context.Context, did syntax.DID) (identity.Identity, error) {
	id, err := n.Lookup(ctx, did)
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.accounts[did]; a != nil {
		a.keys++
	}
	if n.fresh != nil && err == nil {
		return n.fresh(id)
	}
	return id, err
}

// world is a database, a lane and a network.
type world struct {
	t    testing.TB
	pool *pgxpool.Pool
	nats *natstest.Server
	lane *stream.Log
	net  *network
}

const partitions = 4

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, pool: dbtest.Pool(t), nats: natstest.Start(t), net: newNetwork(t)}
	if err := migrations.Up(t.Context(), w.pool); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.lane, err = streamOf(w, "atview_backfill", 0); err != nil {
		t.Fatal(err)
	}
	return w
}

func streamOf(w *world, name string, maxBytes int64) (*stream.Log, error) {
	return stream.Open(w.t.Context(), w.nats.Connect(), stream.Config{Name: name, Partitions: partitions, MaxBytes: maxBytes})
}

func (w *world) config() backfill.Config {
	collections, err := source.ParseCollections([]string{string(post)})
	if err != nil {
		w.t.Fatal(err)
	}
	return backfill.Config{
		Pool: w.pool, Lane: w.lane, Log: zerolog.New(zerolog.NewTestWriter(w.t)).Level(zerolog.WarnLevel),
		Fetch:       backfill.FetchConfig{Directory: w.net, HTTP: w.net.srv.Client(), TempDir: w.t.TempDir()},
		Hosts:       backfill.HostConfig{Rate: -1, MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond, MaxWait: 50 * time.Millisecond},
		Collections: collections, NSIDs: []syntax.NSID{post},
		MinRetry: 10 * time.Millisecond, MaxRetry: 100 * time.Millisecond, Poll: 10 * time.Millisecond, CheckEvery: 50 * time.Millisecond,
	}
}

func (w *world) new(cfg backfill.Config) *backfill.Backfill {
	w.t.Helper()
	b, err := backfill.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// run runs a backfill until stop is called.
func (w *world) run(b *backfill.Backfill) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) add(b *backfill.Backfill, dids ...syntax.DID) {
	w.t.Helper()
	if err := b.Add(w.t.Context(), dids, "asked"); err != nil {
		w.t.Fatal(err)
	}
}

type row struct {
	Did, State, Why, Reason, Pds, Rev, Coverage string
	Attempts                                    int
	Records, Bytes, Claim                       int64
}

func (w *world) row(did syntax.DID) row {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `
		select did, state, why, coalesce(reason, ''), coalesce(pds, ''), coalesce(rev, ''), coalesce(coverage, ''),
			attempts, coalesce(records, 0), coalesce(bytes, 0), claim
		from atview.repo where did = $1`, did)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := pgx.CollectOneRow(rows, pgx.RowToStructByPos[row])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		w.t.Fatal(err)
	}
	return r
}

// until waits until a condition holds.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			w.t.Fatalf("waited in vain: %s", what)
		case <-w.t.Context().Done():
			w.t.Fatalf("at the test's end: %s", what)
		}
	}
}

func (w *world) state(did syntax.DID, state string) row {
	w.t.Helper()
	var r row
	w.until(fmt.Sprintf("%s %s", did, state), func() bool { r = w.row(did); return r.State == state })
	return r
}

// published is what is on the lane, by repository, in order.
func (w *world) published(lane *stream.Log) (events map[syntax.DID][]stream.Event, rejects []stream.Message) {
	w.t.Helper()
	events = map[syntax.DID][]stream.Event{}
	for p := range partitions {
		last, err := lane.Last(w.t.Context(), p)
		if err != nil {
			w.t.Fatal(err)
		}
		if last == 0 {
			continue
		}
		r, err := lane.Read(w.t.Context(), p, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		for seq := uint64(0); seq < last; {
			msgs, err := r.Next(w.t.Context(), 1000, 0)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, m := range msgs {
				seq = m.Seq
				if m.Reject != nil {
					rejects = append(rejects, m)
					continue
				}
				ev, err := stream.Parse(m.Data)
				if err != nil {
					w.t.Fatal(err)
				}
				events[ev.DID] = append(events[ev.DID], ev)
			}
		}
		r.Close()
	}
	return events, rejects
}

// finish does what the fold does with the end marks that are on the lane.
func (w *world) finish() {
	w.t.Helper()
	events, _ := w.published(w.lane)
	var arg queries.FinishReposParams
	for did, evs := range events {
		for _, ev := range evs {
			if ev.Kind == stream.KindSync && ev.Sync.Complete {
				arg.Dids, arg.Revs, arg.Coverages = append(arg.Dids, string(did)), append(arg.Revs, string(ev.Sync.Rev)), append(arg.Coverages, ev.Sync.Coverage)
				arg.Claims = append(arg.Claims, ev.Sync.Seq)
			}
		}
	}
	if err := queries.New().FinishRepos(w.t.Context(), w.pool, arg); err != nil {
		w.t.Fatal(err)
	}
}

// snapshot checks that the events end with a snapshot of n posts. Some may be there
// twice, but no end mark before all records.
func (w *world) snapshot(events []stream.Event, n int, rev syntax.TID) {
	w.t.Helper()
	records := map[syntax.RecordKey]bool{}
	for i, ev := range events {
		switch {
		case ev.TimeUS != rev.Time().UnixMicro():
			continue // of another snapshot
		case ev.Kind == stream.KindSync:
			if !ev.Sync.Complete || ev.Sync.Rev != rev || ev.Sync.Coverage != stream.Coverage([]syntax.NSID{post}) {
				w.t.Errorf("end: %+v %+v", ev, ev.Sync)
			}
			if len(records) != n {
				w.t.Errorf("event %d is an end mark after %d records of %d", i, len(records), n)
			}
		case ev.Kind != stream.KindCommit || !ev.Commit.Snapshot || ev.Commit.Rev != rev || ev.Commit.Collection != post ||
			ev.Commit.Operation != stream.Create || ev.Commit.CID == "" || len(ev.Commit.Record) == 0:
			w.t.Errorf("event %d: %+v %+v", i, ev, ev.Commit)
		default:
			records[ev.Commit.RKey] = true
		}
	}
	if len(events) == 0 || events[len(events)-1].Kind != stream.KindSync {
		w.t.Errorf("%d events, and no end mark behind them", len(events))
	}
}

// noFiles checks that no download is left.
func noFiles(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left", e.Name())
	}
}
