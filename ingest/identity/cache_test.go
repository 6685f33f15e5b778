package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/index/dbtest"
	"github.com/atview/atview/migrations"
)

// clock is a time that tests move.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ns.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func newPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := dbtest.Pool(t)
	if err := migrations.Up(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	return pool
}

func newCache(t *testing.T, w *world, pool *pgxpool.Pool, clock *clock) *Cache {
	t.Helper()
	c, err := NewCache(CacheConfig{Resolver: w.resolver(t), Pool: pool, Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	if clock != nil {
		c.now = clock.now
	}
	return c
}

func (w *world) expectAsked(t *testing.T, did syntax.DID, n int) {
	t.Helper()
	if got := w.count(string(did)); got != n {
		t.Errorf("the directory was asked %d times, want %d", got, n)
	}
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// TestCache runs what holds with and without Postgres.
func TestCache(t *testing.T) {
	t.Parallel()
	for _, postgres := range []bool{false, true} {
		setup := func(t *testing.T) (*world, *Cache, *clock) {
			t.Helper()
			t.Parallel()
			w, clk := newWorld(t), newClock()
			var pool *pgxpool.Pool
			if postgres {
				pool = newPool(t)
			}
			return w, newCache(t, w, pool, clk), clk
		}
		run := func(name string, f func(*testing.T)) { t.Run(fmt.Sprintf("%s/Postgres=%v", name, postgres), f) }

		run("Remembers", func(t *testing.T) {
			w, c, clk := setup(t)
			did, _, key := w.account(t, 1)
			for range 3 {
				id, err := c.Lookup(t.Context(), did)
				if err != nil || id.DID != did || id.PDS != "https://pds.test" || !id.Key.Equal(key) || id.Handle != "" {
					t.Fatalf("%+v, %v", id, err)
				}
			}
			w.expectAsked(t, did, 1)
			clk.advance(23 * time.Hour) // longer than MemoryTTL
			if _, err := c.Lookup(t.Context(), did); err != nil {
				t.Fatal(err)
			}
			w.expectAsked(t, did, 1)
			clk.advance(2 * time.Hour)
			if _, err := c.Lookup(t.Context(), did); err != nil {
				t.Fatal(err)
			}
			w.expectAsked(t, did, 2)
		})
		run("Refresh", func(t *testing.T) {
			w, c, clk := setup(t)
			did, handle, _ := w.account(t, 1)
			if _, err := c.Lookup(t.Context(), did); err != nil {
				t.Fatal(err)
			}
			key := newKey(t)
			w.set(func() { w.docs[string(did)] = document(did, handle, "https://new.test", key) })
			// Just asked: not again.
			if id, err := c.Refresh(t.Context(), did); err != nil || id.PDS != "https://pds.test" {
				t.Fatalf("%+v, %v", id, err)
			}
			clk.advance(11 * time.Second)
			for range 3 {
				if id, err := c.Refresh(t.Context(), did); err != nil || id.PDS != "https://new.test" || !id.Key.Equal(key) {
					t.Fatalf("%+v, %v", id, err)
				}
			}
			if id, err := c.Lookup(t.Context(), did); err != nil || id.PDS != "https://new.test" {
				t.Fatalf("%+v, %v", id, err)
			}
			w.expectAsked(t, did, 2)
		})
		run("Stale", func(t *testing.T) {
			w, c, clk := setup(t)
			did, _, key := w.account(t, 1)
			if _, err := c.Lookup(t.Context(), did); err != nil {
				t.Fatal(err)
			}
			w.set(func() { w.down = true })
			clk.advance(25 * time.Hour)
			for range 3 {
				if id, err := c.Lookup(t.Context(), did); err != nil || !id.Key.Equal(key) {
					t.Fatalf("%+v, %v", id, err)
				}
				if _, err := c.Refresh(t.Context(), did); err == nil { // what is remembered is not what it is for
					t.Fatal("a refresh that failed says nothing")
				}
			}
			w.expectAsked(t, did, 2)
			clk.advance(time.Minute)
			if _, err := c.Lookup(t.Context(), did); err != nil {
				t.Fatal(err)
			}
			w.expectAsked(t, did, 3)
			clk.advance(8 * 24 * time.Hour)
			if id, err := c.Lookup(t.Context(), did); err == nil {
				t.Fatalf("too old: %+v", id)
			}
			w.set(func() { w.down = false })
			clk.advance(time.Minute)
			if id, err := c.Lookup(t.Context(), did); err != nil || !id.Key.Equal(key) {
				t.Fatalf("%+v, %v", id, err)
			}
		})
		run("NotFound", func(t *testing.T) {
			w, c, clk := setup(t)
			did, handle, key := w.account(t, 1)
			if _, err := c.Lookup(t.Context(), did); err != nil {
				t.Fatal(err)
			}
			w.set(func() { delete(w.docs, string(did)) })
			clk.advance(11 * time.Second)
			for range 3 {
				if _, err := c.Refresh(t.Context(), did); !errors.Is(err, ErrNotFound) {
					t.Fatal(err)
				}
				if _, err := c.Lookup(t.Context(), did); !errors.Is(err, ErrNotFound) {
					t.Fatal(err)
				}
			}
			w.expectAsked(t, did, 2)
			clk.advance(6 * time.Minute)
			if _, err := c.Lookup(t.Context(), did); !errors.Is(err, ErrNotFound) {
				t.Fatal("back from Postgres:", err)
			}
			w.set(func() { w.docs[string(did)] = document(did, handle, "https://back.test", key) })
			clk.advance(6 * time.Minute)
			if id, err := c.Lookup(t.Context(), did); err != nil || id.PDS != "https://back.test" {
				t.Fatalf("%+v, %v", id, err)
			}
			if _, err := c.Lookup(t.Context(), "did:key:x"); !errors.Is(err, ErrMethod) {
				t.Fatal(err)
			}
		})
		run("FailureIsNotAskedAgainAtOnce", func(t *testing.T) {
			w, c, clk := setup(t)
			did, _, _ := w.account(t, 1)
			w.set(func() { w.down = true })
			for range 5 {
				if _, err := c.Lookup(t.Context(), did); err == nil || errors.Is(err, ErrNotFound) {
					t.Fatal(err)
				}
			}
			w.expectAsked(t, did, 1)
			w.set(func() { w.down = false })
			clk.advance(time.Minute)
			if _, err := c.Lookup(t.Context(), did); err != nil {
				t.Fatal(err)
			}
		})
		run("OneQuestionForMany", func(t *testing.T) {
			w, c, _ := setup(t)
			did, _, key := w.account(t, 1)
			arrived, release := make(chan struct{}, 1), make(chan struct{})
			w.set(func() {
				w.hold = func(string) {
					arrived <- struct{}{}
					<-release
				}
			})
			// The first gives up while it asks; another takes over for all.
			ctx, cancel := context.WithCancel(t.Context())
			first := make(chan error, 1)
			go func() {
				_, err := c.Lookup(ctx, did)
				first <- err
			}()
			<-arrived
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if id, err := c.Lookup(t.Context(), did); err != nil || !id.Key.Equal(key) {
						t.Errorf("%+v, %v", id, err)
					}
				})
			}
			cancel()
			if err := <-first; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			<-arrived
			close(release)
			wg.Wait()
			w.expectAsked(t, did, 2)
		})
	}
}

func TestCachePostgres(t *testing.T) {
	t.Parallel()
	pool, w, clk := newPool(t), newWorld(t), newClock()
	a, b := newCache(t, w, pool, clk), newCache(t, w, pool, clk) // two processes
	did, handle, key := w.account(t, 1)
	if _, err := a.Lookup(t.Context(), did); err != nil {
		t.Fatal(err)
	}
	if id, err := b.Lookup(t.Context(), did); err != nil || !id.Key.Equal(key) || id.PDS != "https://pds.test" {
		t.Fatalf("%+v, %v", id, err)
	}
	w.expectAsked(t, did, 1)

	// Its handle is for the Worker; the other columns are not touched.
	exec(t, pool, `update atview.actor set status = 'suspended', handle = $1, resolve_at = null where did = $2`, handle, did)
	clk.advance(2 * time.Hour)
	if id, err := b.Lookup(t.Context(), did); err != nil || id.Handle != handle {
		t.Fatalf("%+v, %v", id, err)
	}
	w.expectAsked(t, did, 1)

	// An identity event: what is remembered does not count any more.
	exec(t, pool, `update atview.actor set resolve_at = $1 where did = $2`, clk.now(), did)
	w.set(func() { w.docs[string(did)] = document(did, handle, "https://new.test", key) })
	clk.advance(time.Hour + time.Second)
	if id, err := a.Lookup(t.Context(), did); err != nil || id.PDS != "https://new.test" {
		t.Fatalf("%+v, %v", id, err)
	}
	w.expectAsked(t, did, 2)
	var status string
	var due bool
	if err := pool.QueryRow(t.Context(), `select status, resolve_at is not null from atview.actor where did = $1`, did).Scan(&status, &due); err != nil {
		t.Fatal(err)
	}
	if status != "suspended" || !due {
		t.Errorf("status %s, due %v", status, due)
	}
	// Refreshed by one process, and not again by the other.
	if _, err := newCache(t, w, pool, clk).Refresh(t.Context(), did); err != nil {
		t.Fatal(err)
	}
	w.expectAsked(t, did, 2)
}

// TestCacheWithoutPostgres has Postgres fail: identities are found all the same.
func TestCacheWithoutPostgres(t *testing.T) {
	t.Parallel()
	pool, w := newPool(t), newWorld(t)
	c := newCache(t, w, pool, nil)
	exec(t, pool, `alter table atview.actor rename to gone`)
	did, _, key := w.account(t, 1)
	for range 2 {
		if id, err := c.Lookup(t.Context(), did); err != nil || !id.Key.Equal(key) {
			t.Fatalf("%+v, %v", id, err)
		}
	}
	w.expectAsked(t, did, 1)
}

// TestCacheIsBounded looks up more than fits.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := NewCache(CacheConfig{Resolver: w.resolver(t), Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		if _, err := c.Lookup(t.Context(), syntax.DID(fmt.Sprintf("did:plc:none%d", n))); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	if n := c.Stats().Size; n != 10 {
		t.Errorf("%d entries", n)
	}
}
