package backfill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/outbound"
)

func testHosts(change func(*HostConfig)) *hosts {
	var cfg HostConfig
	if change != nil {
		change(&cfg)
	}
	cfg.setDefaults()
	return newHosts(cfg)
}

func TestHosts(t *testing.T) {
	t.Parallel()
	const a, b = "https://a.example.com", "https://b.example.com"
	delay := func(t *testing.T, err error) time.Duration {
		t.Helper()
		e, ok := errors.AsType[*deferError](err)
		if !ok {
			t.Fatalf("%v, want to be sent away", err)
		}
		return e.delay
	}
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, f)
		})
	}

	run("RateAfterBurst", func(t *testing.T) {
		hs := testHosts(func(c *HostConfig) { c.Rate, c.Burst = 10, 20 })
		began := time.Now()
		for range 70 {
			if err := hs.acquire(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			hs.release(a)
		}
		if took := time.Since(began); took < 4990*time.Millisecond || took > 5010*time.Millisecond {
			t.Errorf("20 at once and 50 at 10 a second take %s", took)
		}
		if err := hs.acquire(t.Context(), b); err != nil || time.Since(began) > 6*time.Second {
			t.Errorf("another host: %v", err)
		}
	})

	run("PausedAndTheOtherNot", func(t *testing.T) {
		hs := testHosts(nil)
		hs.pause(a, time.Now().Add(10*time.Minute))
		if d := delay(t, hs.acquire(t.Context(), a)); d != 10*time.Minute {
			t.Errorf("come again in %s", d)
		}
		began := time.Now()
		if err := hs.acquire(t.Context(), b); err != nil || time.Since(began) != 0 {
			t.Errorf("another host: %v", err)
		}
		names, paused := hs.busy()
		if len(names) != 1 || names[0] != a || paused != 1 {
			t.Errorf("%v, %d paused", names, paused)
		}
		time.Sleep(10 * time.Minute) //nolint:forbidigo // of a synctest's time
		if err := hs.acquire(t.Context(), a); err != nil || time.Since(began) != 10*time.Minute {
			t.Errorf("afterwards: %v", err)
		}
	})

	run("ShortPauseIsWaitedFor", func(t *testing.T) {
		hs := testHosts(nil)
		began := time.Now()
		hs.pause(a, began.Add(3*time.Second))
		if err := hs.acquire(t.Context(), a); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})

	run("PausesAreBounded", func(t *testing.T) {
		hs := testHosts(nil)
		hs.pause(a, time.Now().AddDate(100, 0, 0))
		if w := hs.wait(a); w != time.Hour {
			t.Errorf("for a century: %s", w)
		}
		hs.pause(b, time.Time{})
		if w := hs.wait(b); w != time.Second {
			t.Errorf("without a time: %s", w)
		}
	})

	run("FailuresDouble", func(t *testing.T) {
		hs := testHosts(nil)
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
			hs.failed(a)
			hs.failed(a) // one that was under way, too
			if w := hs.wait(a); w != want {
				t.Errorf("failure %d: %s", i, w)
			}
			time.Sleep(hs.wait(a)) //nolint:forbidigo // as above
		}
		for range 30 {
			hs.failed(a)
			time.Sleep(hs.wait(a)) //nolint:forbidigo // as above
		}
		hs.failed(a)
		if w := hs.wait(a); w != 10*time.Minute {
			t.Errorf("at the end: %s", w)
		}
		time.Sleep(hs.wait(a)) //nolint:forbidigo // as above
		hs.answered(a)
		hs.failed(a)
		if w := hs.wait(a); w != time.Second {
			t.Errorf("after an answer: %s", w)
		}
	})

	// Of a thousand that come for a host that is away, each comes again in its turn.
	run("ThoseSentAwayComeOneByOne", func(t *testing.T) {
		hs := testHosts(func(c *HostConfig) { c.Rate = 10 })
		hs.pause(a, time.Now().Add(time.Minute))
		for i := range 1000 {
			want := time.Minute + time.Duration(i)*100*time.Millisecond
			if d := delay(t, hs.acquire(t.Context(), a)); d != want {
				t.Fatalf("number %d comes in %s, want %s", i, d, want)
			}
		}
	})

	run("TooManyWaitingIsNotARate", func(t *testing.T) {
		hs := testHosts(func(c *HostConfig) { c.MaxWaiting, c.Concurrency = 1, 1 })
		ctx, cancel := context.WithCancel(t.Context())
		if err := hs.acquire(ctx, a); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := hs.acquire(ctx, a); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
		synctest.Wait()
		for range 1000 {
			if d := delay(t, hs.acquire(ctx, a)); d > 3*time.Second || d < 500*time.Millisecond {
				t.Fatalf("come again in %s", d)
			}
		}
		cancel()
		wg.Wait()
	})

	run("FewAtATimeAndFewWait", func(t *testing.T) {
		hs := testHosts(func(c *HostConfig) { c.Concurrency, c.MaxWaiting = 2, 3 })
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		got, away, ended := 0, 0, 0
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				err := hs.acquire(ctx, a)
				_, isAway := errors.AsType[*deferError](err)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					got++
				case isAway:
					away++
				case errors.Is(err, context.Canceled):
					ended++
				}
			})
		}
		synctest.Wait()
		check := func(wantGot, wantAway int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if got != wantGot || away != wantAway {
				t.Errorf("%d have a turn and %d are sent away, want %d and %d", got, away, wantGot, wantAway)
			}
		}
		check(2, 5)
		if names, _ := hs.busy(); len(names) != 1 {
			t.Errorf("busy: %v", names)
		}
		hs.release(a)
		synctest.Wait()
		check(3, 5)
		if names, _ := hs.busy(); len(names) != 1 {
			t.Errorf("busy with two of three waiting: %v", names)
		}
		hs.release(a)
		synctest.Wait()
		check(4, 5)
		if names, _ := hs.busy(); len(names) != 0 {
			t.Errorf("busy with one of three waiting: %v", names)
		}
		cancel()
		wg.Wait()
		if ended != 1 {
			t.Errorf("%d ended with ctx", ended)
		}
		hs.mu.Lock()
		defer hs.mu.Unlock()
		if h := hs.m[a]; h.running != 2 || h.waiting != 0 {
			t.Errorf("%d run, %d wait", h.running, h.waiting)
		}
	})

	run("HostsAreForgotten", func(t *testing.T) {
		hs := testHosts(func(c *HostConfig) { c.Rate, c.Burst = 100, 1 })
		hs.pause(a, time.Now().Add(time.Hour))
		for i := range 3 * maxHosts {
			name := fmt.Sprintf("https://%d.example.com", i)
			if err := hs.acquire(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			hs.release(name)
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // as above
		}
		if n := len(hs.m); n > maxHosts+1 {
			t.Errorf("%d hosts are remembered", n)
		}
		if hs.wait(a) == 0 {
			t.Error("one that is paused is not")
		}
	})
}

// TestConclusions is what is concluded about a host from its answers.
func TestConclusions(t *testing.T) {
	t.Parallel()
	status := func(code int, after time.Duration) error {
		e := &outbound.StatusError{Status: code}
		if after > 0 {
			e.RetryAt = time.Now().Add(after)
		}
		return fmt.Errorf("list: %w", e)
	}
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	for _, c := range []struct {
		name  string
		until time.Time
		err   error
		want  time.Duration // of pause, about
	}{
		{"an answer", time.Time{}, nil, 0},
		{"the last answer for now", in(time.Minute), nil, time.Minute},
		{"too large", time.Time{}, &outbound.TooLargeError{Limit: 1}, 0},
		{"not found", time.Time{}, status(http.StatusNotFound, 0), 0},
		{"too many requests", time.Time{}, status(http.StatusTooManyRequests, 5*time.Minute), 5 * time.Minute},
		{"too many requests, says not for how long", time.Time{}, status(http.StatusTooManyRequests, 0), time.Second},
		{"unavailable for a while", time.Time{}, status(http.StatusServiceUnavailable, 2*time.Minute), 2 * time.Minute},
		{"an error of its own", time.Time{}, status(http.StatusInternalServerError, 0), time.Second},
		{"no answer", time.Time{}, errors.New("connection refused"), time.Second},
		{"too slow", time.Time{}, errSlow, time.Second},
		{"we have no disk", time.Time{}, &Error{Reason: ReasonLocal, Err: errors.New("disk full")}, 0},
		{"we end", time.Time{}, context.Canceled, 0},
	} {
		b := &Backfill{hosts: testHosts(nil)}
		b.noteHost("x", c.until, c.err)
		if got := b.hosts.wait("x"); got > c.want || got < c.want*9/10 {
			t.Errorf("%s: paused for %s, want %s", c.name, got, c.want)
		}
	}
}

func TestSnapshotTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for rev, want := range map[syntax.TID]time.Time{
		"2222222222222": earliest,
		"3mptbypluud2a": syntax.TID("3mptbypluud2a").Time(),
		"jzzzzzzzzzzzz": now,
	} {
		if got := snapshotTime(rev, now); got != want.UnixMicro() {
			t.Errorf("%s: %s, want %s", rev, time.UnixMicro(got).UTC(), want)
		}
	}
}
