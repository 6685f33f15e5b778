package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// working runs a worker until stop is called.
func working(t *testing.T, w *world, pool *pgxpool.Pool, change ...func(*WorkerConfig)) (*Worker, func()) {
	t.Helper()
	cfg := WorkerConfig{
		Cache: newCache(t, w, pool, nil), Pool: pool, Rate: 1e6, PollEvery: 5 * time.Millisecond,
		Log: zerolog.New(zerolog.NewTestWriter(t)),
	}
	for _, f := range change {
		f(&cfg)
	}
	worker, err := NewWorker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return worker, stop
}

// row is what the table says of an actor.
type row struct {
	handle, pds, key, reason string
	attempts                 int
	waiting                  time.Duration // until it is due
	settled                  bool          // not due, ever
}

func readRow(t *testing.T, pool *pgxpool.Pool, did syntax.DID) (r row) {
	t.Helper()
	var wait *float64
	err := pool.QueryRow(t.Context(), `select coalesce(handle, ''), coalesce(pds, ''), coalesce(signing_key, ''), coalesce(resolve_error, ''),
		resolve_attempts, extract(epoch from resolve_at - now())::float8 from atview.actor where did = $1`, did).
		Scan(&r.handle, &r.pds, &r.key, &r.reason, &r.attempts, &wait)
	if err != nil {
		t.Fatal(err)
	}
	if r.settled = wait == nil; wait != nil {
		r.waiting = time.Duration(*wait * float64(time.Second))
	}
	return r
}

// until waits for the table to say something.
func until(t *testing.T, pool *pgxpool.Pool, did syntax.DID, done func(row) bool) row {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if r := readRow(t, pool, did); done(r) {
			return r
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s stays at %+v", did, readRow(t, pool, did))
		}
	}
}

func settled(r row) bool { return r.settled }

// tried is whether an attempt was made that did not settle it; it is past its
// lease, which is ten minutes.
func tried(r row) bool {
	return !r.settled && r.attempts > 0 && r.waiting < 5*time.Minute && r.waiting > 0
}

func makeDue(t *testing.T, pool *pgxpool.Pool, did syntax.DID, handle string) {
	t.Helper()
	exec(t, pool, `insert into atview.actor (did, handle, resolve_at) values ($1, nullif($2, ''), now())
		on conflict (did) do update set resolve_at = now()`, did, handle)
}

func TestWorker(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*world, *pgxpool.Pool) {
		t.Helper()
		return newWorld(t), newPool(t)
	}
	t.Run("VerifiesHandle", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		did, handle, key := w.account(t, 1)
		makeDue(t, pool, did, "")
		worker, stop := working(t, w, pool)
		r := until(t, pool, did, settled)
		if r.handle != string(handle) || r.pds != "https://pds.test" || r.key != key.DIDKey() || r.reason != "" || r.attempts != 0 {
			t.Errorf("%+v", r)
		}
		stop() // what it has written it now knows
		if id, err := worker.cfg.Cache.Lookup(t.Context(), did); err != nil || id.Handle != handle {
			t.Errorf("%+v, %v", id, err)
		}
		w.expectAsked(t, did, 1)
		if s := worker.Stats(); s.Resolved != 1 || s.Active != 0 || s.Failed != 0 || s.Invalid != 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("LookupMakesHandleDue", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		did, handle, _ := w.account(t, 1)
		worker, _ := working(t, w, pool)
		if _, err := worker.cfg.Cache.Lookup(t.Context(), did); err != nil {
			t.Fatal(err)
		}
		if r := until(t, pool, did, settled); r.handle != string(handle) {
			t.Errorf("%+v", r)
		}
		w.expectAsked(t, did, 1) // the document that the lookup read was recent enough
	})
	t.Run("HandleThatDoesNotLeadBack", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		did, handle, _ := w.account(t, 1)
		w.set(func() { w.dns["_atproto."+string(handle)] = []string{"did=did:plc:another"} })
		makeDue(t, pool, did, string(handle))
		working(t, w, pool)
		if r := until(t, pool, did, settled); r.handle != "handle.invalid" || r.pds == "" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("NetworkDownKeepsHandle", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		did, handle, _ := w.account(t, 1)
		w.set(func() { w.noDNS = true })
		makeDue(t, pool, did, string(handle))
		worker, _ := working(t, w, pool)
		r := until(t, pool, did, tried)
		if r.handle != string(handle) || r.pds == "" || !strings.Contains(r.reason, "misbehaving") {
			t.Errorf("%+v", r)
		}
		if r.waiting < 30*time.Second || r.waiting > 2*time.Minute {
			t.Error("next attempt in", r.waiting)
		}
		w.set(func() { w.noDNS = false })
		exec(t, pool, `update atview.actor set resolve_at = now() where did = $1`, did)
		if r := until(t, pool, did, settled); r.handle != string(handle) || r.attempts != 0 || r.reason != "" {
			t.Errorf("%+v", r)
		}
		if worker.Stats().Failed != 1 {
			t.Errorf("%+v", worker.Stats())
		}
	})
	t.Run("DirectoryDownKeepsAll", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		did, handle, _ := w.account(t, 1)
		makeDue(t, pool, did, string(handle))
		exec(t, pool, `update atview.actor set pds = 'https://old.test', resolved_at = now() - interval '1 day', resolve_attempts = 3`)
		w.set(func() { w.down = true })
		working(t, w, pool)
		r := until(t, pool, did, func(r row) bool { return r.reason != "" })
		if r.handle != string(handle) || r.pds != "https://old.test" || r.attempts != 4 || r.waiting < 7*time.Minute || r.waiting > 11*time.Minute {
			t.Errorf("%+v", r)
		}
	})
	t.Run("OldHandleThatIsNotClaimedAnyMore", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		did, _, _ := w.account(t, 1)
		w.set(func() { w.noDNS = true })
		makeDue(t, pool, did, "old.test")
		working(t, w, pool)
		if r := until(t, pool, did, tried); r.handle != "handle.invalid" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("NoSuchDID", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		makeDue(t, pool, "did:plc:none", "a.test")
		exec(t, pool, `update atview.actor set pds = 'https://old.test'`)
		working(t, w, pool)
		// First it may be that the directory is behind.
		r := until(t, pool, "did:plc:none", tried)
		if r.handle != "handle.invalid" || r.pds != "" || !strings.Contains(r.reason, "no such DID") {
			t.Errorf("%+v", r)
		}
		exec(t, pool, `update atview.actor set resolve_at = now(), resolve_attempts = 3`)
		if r := until(t, pool, "did:plc:none", settled); !strings.Contains(r.reason, "no such DID") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("UnknownMethod", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		makeDue(t, pool, "did:key:zabc", "")
		working(t, w, pool)
		if r := until(t, pool, "did:key:zabc", settled); !strings.Contains(r.reason, "not supported") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("EventMeanwhile", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		did, _, key := w.account(t, 1)
		arrived, release := make(chan struct{}), make(chan struct{})
		w.set(func() {
			w.hold = func(name string) {
				if name == string(did) {
					arrived <- struct{}{}
					<-release
				}
			}
		})
		makeDue(t, pool, did, "")
		working(t, w, pool)
		<-arrived
		w.set(func() {
			w.docs[string(did)] = document(did, "new.test", "https://pds.test", key)
			w.dns["_atproto.new.test"] = []string{"did=" + string(did)}
		})
		exec(t, pool, `update atview.actor set resolve_at = now() where did = $1`, did) // as the fold does
		release <- struct{}{}
		<-arrived // it is looked at again
		close(release)
		if r := until(t, pool, did, settled); r.handle != "new.test" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("HandleThatMoved", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		old, handle, _ := w.account(t, 1)
		did, _, key := w.account(t, 2)
		w.set(func() {
			w.docs[string(did)] = document(did, handle, "https://pds.test", key)
			w.dns["_atproto."+string(handle)] = []string{"did=" + string(did)}
		})
		exec(t, pool, `insert into atview.actor (did, handle) values ($1, $2)`, old, handle)
		makeDue(t, pool, did, "")
		working(t, w, pool)
		until(t, pool, did, func(r row) bool { return r.handle == string(handle) })
		until(t, pool, old, func(r row) bool { return r.handle == "handle.invalid" })
	})
	t.Run("StopGivesBack", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		did, _, _ := w.account(t, 1)
		arrived, release := make(chan struct{}), make(chan struct{})
		t.Cleanup(func() { close(release) })
		w.set(func() {
			w.hold = func(string) {
				arrived <- struct{}{}
				<-release
			}
		})
		makeDue(t, pool, did, "")
		_, stop := working(t, w, pool)
		<-arrived
		stop()
		if r := readRow(t, pool, did); r.settled || r.waiting > 0 || r.attempts != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("SeveralShare", func(t *testing.T) {
		t.Parallel()
		w, pool := setup(t)
		const n = 200
		for i := range n {
			did, _, _ := w.account(t, i)
			makeDue(t, pool, did, "")
		}
		for range 3 {
			working(t, w, pool, func(c *WorkerConfig) { c.Concurrency = 4 })
		}
		for i := range n {
			did := syntax.DID(fmt.Sprintf("did:plc:%024d", i))
			if r := until(t, pool, did, settled); r.handle != fmt.Sprintf("user%d.test", i) {
				t.Errorf("%+v", r)
			}
			w.expectAsked(t, did, 1)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if _, err := NewCache(CacheConfig{TTL: -1}); err == nil {
		t.Error("a cache without resolver")
	}
	if _, err := NewWorker(WorkerConfig{Lease: time.Second}); err == nil || !strings.Contains(err.Error(), "no cache") || !strings.Contains(err.Error(), "lease") {
		t.Error(err)
	}
}
