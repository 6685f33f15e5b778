package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !Sleep(t.Context(), time.Hour) || time.Since(began) != time.Hour {
			t.Errorf("slept %s", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if Sleep(ctx, time.Hour) {
			t.Error("the end of ctx did not end it")
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{-1: time.Second, 0: time.Second, 1: 2 * time.Second, 3: 8 * time.Second, 7: time.Minute, 1 << 30: time.Minute} {
		for range 100 {
			if got := Backoff(n, time.Second, time.Minute); got < want/2 || got > want {
				t.Fatalf("after attempt %d: %s, want %s to %s", n, got, want/2, want)
			}
		}
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	for _, c := range []struct {
		host    int
		refused []error
		want    int
	}{
		{0, []error{nil}, 0}, {0, []error{nil, nil}, 1}, {1, []error{nil, nil}, 0}, {0, []error{nil, no, nil}, 2}, {2, []error{no, nil, nil}, 1},
	} {
		if got := NextHost(c.host, c.refused); got != c.want {
			t.Errorf("after %d of %v: %d, want %d", c.host, c.refused, got, c.want)
		}
	}
	for failures, want := range []struct {
		n    int
		over bool
	}{{-1, true}, {-1, false}, {0, true}, {0, false}, {1, true}} {
		if n, over := Round(failures, []error{nil, no, nil}); n != want.n || over != want.over {
			t.Errorf("after %d failures: %d %t", failures, n, over)
		}
	}
}
