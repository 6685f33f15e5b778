// Package retry is how sources wait and change hosts when an upstream fails.
//
// Place in the flow: below the packages that speak to hosts. It knows none of them.
//
// It guarantees that waits end with their context, grow to a bound, and are not the
// same for all. It leaves to its callers what is worth another attempt.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits, and reports false if ctx ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Backoff is the wait after attempt n (from 0) has failed: least, doubled n times,
// but no longer than most. A random part of it, up to half, is left out, so that
// not all come back at the same time.
func Backoff(n int, least, most time.Duration) time.Duration {
	d := min(least<<min(max(n, 0), 20), most)
	return d/2 + rand.N(d/2+1)
}

// NextHost is the next host that has not refused for good; refused has why a host
// did, nil if it did not.
func NextHost(host int, refused []error) int {
	for range refused {
		host = (host + 1) % len(refused)
		if refused[host] == nil {
			break
		}
	}
	return host
}

// Round says which round over the hosts has failed with the last failure, from 0,
// and whether it is over: between the hosts of a round nobody has to wait. A host
// that works ends the counting, with failures 0.
func Round(failures int, refused []error) (n int, over bool) {
	left := 0
	for _, r := range refused {
		if r == nil {
			left++
		}
	}
	return failures/left - 1, failures%left == 0
}
