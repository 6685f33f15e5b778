package backfill

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// hosts keeps to what each host bears: so many requests at a time and in a
// second, and none while it wants to be left alone. It is safe for concurrent
// use.
//
// Rates are token buckets. Who comes while many wait, or the host is paused for
// long, is not kept waiting here but sent away with the time at which to come
// again. Those times go up by the rate, so that of a host with a million
// repositories each is looked at about twice.
type hosts struct {
	cfg HostConfig

	mu sync.Mutex
	m  map[string]*host
}

// HostConfig says how much is asked of one host.
type HostConfig struct {
	// Concurrency is how many requests a host has at a time. Default 4: a PDS reads
	// a repository row by row for us, and has other guests.
	Concurrency int
	// Rate is how many requests a host gets in a second, in the long run; negative is
	// no bound. Default 8, and Burst 500: within the 3,000 in five minutes that
	// the reference PDS allows to an address.
	Rate  float64
	Burst int
	// MaxWait is for how long a repository waits in memory for its host; beyond that
	// it goes back into the queue. Default 5 s.
	MaxWait time.Duration
	// MaxWaiting is how many do so. Default 32, which is half of what the default
	// number of workers claims: enough to keep a host busy, and the rest is for the
	// others.
	MaxWaiting int
	// MinBackoff and MaxBackoff bound for how long a host is left alone that does not
	// answer or has an error of its own; that doubles with each in a row. Default
	// 1 s and 10 min.
	MinBackoff, MaxBackoff time.Duration
	// MaxPause bounds for how long a host is left alone because it says so. Default
	// 1 h, so that a wrong clock does not shut it out.
	MaxPause time.Duration
}

func (c *HostConfig) setDefaults() {
	c.Concurrency = or(c.Concurrency, 4)
	c.Burst = or(c.Burst, 500)
	if c.Rate == 0 {
		c.Rate = 8
	}
	c.MaxWait = or(c.MaxWait, 5*time.Second)
	c.MaxWaiting = or(c.MaxWaiting, 32)
	c.MinBackoff = or(c.MinBackoff, time.Second)
	c.MaxBackoff = or(c.MaxBackoff, 10*time.Minute)
	c.MaxPause = or(c.MaxPause, time.Hour)
}

func or[T int | int64 | int32 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

type host struct {
	running, waiting int
	full             bool          // since MaxWaiting waited, until half of them do
	changed          chan struct{} // closed and replaced when a request ends
	tokens           float64
	filled           time.Time // when tokens was right
	paused           time.Time // until then
	failures         int       // in a row
	backlog          time.Time // when the last one that was sent away comes again
}

func newHosts(cfg HostConfig) *hosts {
	return &hosts{cfg: cfg, m: make(map[string]*host)}
}

// maxHosts is where hosts that have nothing to remember are forgotten.
const maxHosts = 4096

func (hs *hosts) get(name string, now time.Time) *host {
	h := hs.m[name]
	if h == nil {
		if len(hs.m) >= maxHosts {
			for k, old := range hs.m {
				hs.refill(old, now)
				if old.running+old.waiting+old.failures == 0 && old.tokens >= float64(hs.cfg.Burst) &&
					now.After(old.paused) && now.After(old.backlog) {
					delete(hs.m, k)
				}
			}
		}
		h = &host{changed: make(chan struct{}), tokens: float64(hs.cfg.Burst), filled: now}
		hs.m[name] = h
	}
	hs.refill(h, now)
	return h
}

func (hs *hosts) refill(h *host, now time.Time) {
	if hs.cfg.Rate < 0 {
		h.tokens = float64(hs.cfg.Burst)
	}
	h.tokens = min(h.tokens+max(now.Sub(h.filled), 0).Seconds()*hs.cfg.Rate, float64(hs.cfg.Burst))
	h.filled = now
}

// acquire waits for its turn at a host. The error is ctx's or a [*deferError].
// Who got a turn ends it with release.
func (hs *hosts) acquire(ctx context.Context, name string) error {
	waited := false
	for {
		hs.mu.Lock()
		now := time.Now()
		h := hs.get(name, now)
		if waited {
			h.waiting--
		}
		if err := ctx.Err(); err != nil {
			hs.mu.Unlock()
			return err
		}
		wait := max(h.paused.Sub(now), 0)
		if h.tokens < 1 {
			wait = max(wait, seconds((1-h.tokens)/hs.cfg.Rate))
		}
		if wait == 0 && h.running < hs.cfg.Concurrency {
			h.running++
			h.tokens--
			hs.mu.Unlock()
			return nil
		}
		if wait > hs.cfg.MaxWait || h.waiting >= hs.cfg.MaxWaiting {
			delay := hs.later(h, now, wait)
			hs.mu.Unlock()
			return &deferError{name, delay}
		}
		h.waiting++
		h.full = h.full || h.waiting >= hs.cfg.MaxWaiting
		changed := h.changed
		hs.mu.Unlock()

		waited = true
		var ready <-chan time.Time
		var timer *time.Timer
		if wait > 0 {
			timer = time.NewTimer(wait)
			ready = timer.C
		}
		select {
		case <-ready:
		case <-changed:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// later is when the next one that is sent away is to come again. One that only
// finds too many others waiting comes soon: until the host has room, nothing more
// of it is claimed (see busy).
func (hs *hosts) later(h *host, now time.Time, wait time.Duration) time.Duration {
	if wait == 0 || hs.cfg.Rate < 0 {
		return wait + hs.cfg.MaxWait/10 + rand.N(hs.cfg.MaxWait/2)
	}
	step := seconds(1 / hs.cfg.Rate)
	first := now.Add(max(wait, step) + time.Duration(h.waiting)*step)
	if h.backlog.Before(first) {
		h.backlog = first
	} else {
		h.backlog = h.backlog.Add(step)
	}
	return h.backlog.Sub(now)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// release ends a turn.
func (hs *hosts) release(name string) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.get(name, time.Now())
	h.running--
	hs.wake(h)
}

func (hs *hosts) wake(h *host) {
	close(h.changed)
	h.changed = make(chan struct{})
}

// away is when a repository of a host that is paused is to come again.
func (hs *hosts) away(name string) time.Duration {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	now := time.Now()
	h := hs.get(name, now)
	return hs.later(h, now, h.paused.Sub(now))
}

// wait is for how long a host is paused.
func (hs *hosts) wait(name string) time.Duration {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h := hs.m[name]; h != nil {
		return max(time.Until(h.paused), 0)
	}
	return 0
}

// answered notes that a host works.
func (hs *hosts) answered(name string) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.get(name, time.Now()).failures = 0
}

// failed notes that a host does not answer, or has an error of its own.
func (hs *hosts) failed(name string) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	now := time.Now()
	h := hs.get(name, now)
	if now.Before(h.paused) {
		return // those that were under way say nothing new
	}
	h.failures++
	h.paused = now.Add(min(hs.cfg.MinBackoff<<min(h.failures-1, 20), hs.cfg.MaxBackoff))
	hs.wake(h)
}

// pause leaves a host alone until then, but not for too long.
func (hs *hosts) pause(name string, until time.Time) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	now := time.Now()
	h := hs.get(name, now)
	if most := now.Add(hs.cfg.MaxPause); until.After(most) {
		until = most
	}
	// A host that limits us and does not say for how long has the first backoff.
	if least := now.Add(hs.cfg.MinBackoff); until.Before(least) {
		until = least
	}
	if until.After(h.paused) {
		h.paused = until
	}
	hs.wake(h)
}

// busy lists the hosts of which nothing more should be claimed now, and counts
// those that are paused.
func (hs *hosts) busy() (names []string, paused int) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	now := time.Now()
	names = []string{}
	for name, h := range hs.m {
		if now.Before(h.paused) {
			paused++
		}
		if h.waiting <= hs.cfg.MaxWaiting/2 {
			h.full = false // not sooner, or each one that leaves would have many come
		}
		if h.paused.Sub(now) > hs.cfg.MaxWait || h.full {
			names = append(names, name)
		}
	}
	return names, paused
}
