package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/queries"
)

// CacheConfig says how long a [Cache] remembers what.
type CacheConfig struct {
	// Resolver asks the network. Required.
	Resolver *Resolver
	// Pool is of the Postgres that has table atview.actor, where identities are
	// remembered for all processes. Nil: in memory only. A DID that is looked up gets a
	// row, and its handle will be verified; who looks up DIDs that are of no further
	// interest (the network's, to check signatures of what is then dropped) does
	// better without.
	Pool *pgxpool.Pool
	// Size is how many DIDs are kept in memory. Default 100,000: some 65 MB (BenchmarkCacheMemory).
	Size int
	// TTL is how old a document may be. Default 24 h, as everywhere in the network:
	// whoever moves to another host expects this. Events and [Cache.Refresh] tell
	// sooner.
	TTL time.Duration
	// MemoryTTL is how long memory answers without a look at Postgres, where another
	// process may have noted a change. Default 1 h.
	MemoryTTL time.Duration
	// NegativeTTL is how long there being no such DID is remembered. Default 5 min: a
	// DID that is new may not have reached a mirror of the directory.
	NegativeTTL time.Duration
	// RetryEvery is how long a DID that could not be looked up is not asked for again.
	// Default 30 s.
	RetryEvery time.Duration
	// RefreshEvery is how often Refresh asks the network of one DID. Default 1 s: any
	// signature that does not fit is a reason to refresh, and anybody can send those.
	RefreshEvery time.Duration
	// StaleFor is how old a document may be that is used because the network does not
	// answer. Default 7 days.
	StaleFor time.Duration
	Log      zerolog.Logger
}

func (c *CacheConfig) validate() error {
	var faults []error
	if c.Resolver == nil {
		faults = append(faults, errors.New("no resolver"))
	}
	if c.Size < 0 || c.TTL < 0 || c.MemoryTTL < 0 || c.NegativeTTL < 0 || c.RetryEvery < 0 || c.RefreshEvery < 0 || c.StaleFor < 0 {
		faults = append(faults, errors.New("limits must not be negative"))
	}
	c.Size = cmp.Or(c.Size, 100_000)
	c.TTL = cmp.Or(c.TTL, 24*time.Hour)
	c.MemoryTTL = cmp.Or(c.MemoryTTL, time.Hour)
	c.NegativeTTL = cmp.Or(c.NegativeTTL, 5*time.Minute)
	c.RetryEvery = cmp.Or(c.RetryEvery, 30*time.Second)
	c.RefreshEvery = cmp.Or(c.RefreshEvery, time.Second)
	c.StaleFor = max(cmp.Or(c.StaleFor, 7*24*time.Hour), c.TTL)
	return errors.Join(faults...)
}

// Cache is a [Directory] that remembers.
type Cache struct {
	cfg CacheConfig
	q   *queries.Queries
	now func() time.Time

	mu      sync.Mutex // of flights, and of changes of entries
	entries *lru.Cache[syntax.DID, entry]
	flights map[flightKey]*flight

	memory, stored, network, failed, stale atomic.Int64
	warned                                 atomic.Int64 // when Postgres was complained of last; Unix nanoseconds
}

var _ Directory = (*Cache)(nil)

// CacheStats counts lookups by where the answer came from.
type CacheStats struct {
	Memory  int64 // remembered here
	Stored  int64 // remembered in Postgres
	Network int64 // asked, and answered
	Failed  int64 // asked, and not answered for now
	Stale   int64 // of those, answered by what was remembered
	Size    int   // DIDs in memory
}

// entry is what is known of a DID. It is replaced, never changed.
type entry struct {
	id Identity
	// claimed is the handle of the document, if it was read by this process.
	claimed syntax.Handle
	note    string
	read    bool // by this process, so that claimed and note are known
	// err is in place of an identity: ErrNotFound, ErrMethod, or what went wrong.
	err error
	// asked is when the network was asked last, and failure what went wrong then, if
	// id is from before.
	asked   time.Time
	failure error
	until   time.Time // it need not be looked at again before
}

// NewCache makes a cache.
func NewCache(cfg CacheConfig) (*Cache, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("identity configuration: %w", err)
	}
	entries, err := lru.New[syntax.DID, entry](cfg.Size)
	if err != nil {
		return nil, fmt.Errorf("identity configuration: %w", err)
	}
	return &Cache{cfg: cfg, q: queries.New(), now: time.Now, entries: entries, flights: map[flightKey]*flight{}}, nil
}

// Stats is a snapshot; it may be called at any time.
func (c *Cache) Stats() CacheStats {
	return CacheStats{
		Memory: c.memory.Load(), Stored: c.stored.Load(), Network: c.network.Load(),
		Failed: c.failed.Load(), Stale: c.stale.Load(), Size: c.entries.Len(),
	}
}

// Lookup returns what is remembered of a DID, or else what the network says. The
// handle is the one that a [Worker] has verified, and empty if none has yet.
func (c *Cache) Lookup(ctx context.Context, did syntax.DID) (Identity, error) {
	if e, ok := c.entries.Get(did); ok && c.now().Before(e.until) {
		c.memory.Add(1)
		return e.id, e.err
	}
	e, err := c.once(ctx, flightKey{did, false}, func() entry { return c.lookup(ctx, did) })
	if err != nil {
		return Identity{}, err
	}
	return e.id, e.err
}

// Refresh asks the network, but of a DID not more often than
// [CacheConfig.RefreshEvery]; in between it returns what came of it the last time.
// If the network does not answer, that is an error: unlike Lookup it is not for
// whom what is remembered will do.
func (c *Cache) Refresh(ctx context.Context, did syntax.DID) (Identity, error) {
	e, ok := c.entries.Get(did)
	if !ok {
		e, _ = c.load(ctx, did)
	}
	if c.now().Sub(e.asked) >= c.cfg.RefreshEvery {
		var err error
		if e, err = c.once(ctx, flightKey{did, true}, func() entry { return c.store(ctx, c.ask(ctx, did, e)) }); err != nil {
			return Identity{}, err
		}
	}
	if e.failure != nil {
		return Identity{}, e.failure
	}
	return e.id, e.err
}

// since returns what a document says that was read at a time or later, for the
// Worker: it writes what comes of it itself.
func (c *Cache) since(ctx context.Context, did syntax.DID, at time.Time) (entry, error) {
	e, ok := c.entries.Get(did)
	if ok && e.read && e.err == nil && !e.id.ResolvedAt.Before(at) {
		return e, nil
	}
	e, err := c.once(ctx, flightKey{did, true}, func() entry { return c.ask(ctx, did, e) })
	switch {
	case err != nil:
		return entry{}, err
	case e.failure != nil:
		return entry{}, e.failure
	}
	return e, e.err
}

// verified notes what became of a document's handle.
func (c *Cache) verified(did syntax.DID, handle syntax.Handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries.Peek(did); ok && e.err == nil {
		e.id.Handle = handle
		c.entries.Add(did, e)
	}
}

func (c *Cache) lookup(ctx context.Context, did syntax.DID) entry {
	e, known := c.entries.Peek(did)
	row, due := c.load(ctx, did)
	switch {
	case row.id.ResolvedAt.After(e.id.ResolvedAt): // another process has read it
		row.asked, row.failure = later(row.asked, e.asked), e.failure
		e = row
	case row.id.ResolvedAt.Equal(e.id.ResolvedAt): // a Worker may have looked at the handle
		e.id.Handle = row.id.Handle
	}
	now := c.now()
	if e.err == nil && !due && !e.id.ResolvedAt.IsZero() && now.Sub(e.id.ResolvedAt) < c.cfg.TTL {
		c.stored.Add(1)
		e.failure = nil // it was a Refresh that failed; for a lookup this is good enough
		return c.remember(did, e)
	}
	if known && e.failure != nil && now.Sub(e.asked) < c.cfg.RetryEvery {
		return c.remember(did, e)
	}
	return c.store(ctx, c.ask(ctx, did, e))
}

// ask reads the document and remembers what came of it. Old is what is known.
func (c *Cache) ask(ctx context.Context, did syntax.DID, old entry) entry {
	// What changes during the question may not be in the answer, so the time is that
	// from before; as Postgres has it, in microseconds.
	asked := c.now().Truncate(time.Microsecond)
	doc, err := c.cfg.Resolver.Document(ctx, did)
	switch {
	case err == nil:
		c.network.Add(1)
		id := Identity{DID: did, Handle: old.id.Handle, PDS: doc.PDS, Key: doc.Key, ResolvedAt: asked}
		if id.Handle != doc.Handle && id.Handle != syntax.HandleInvalid {
			id.Handle = "" // it is another one now, which nobody has looked at
		}
		return c.remember(did, entry{id: id, claimed: doc.Handle, note: doc.Note, read: true, asked: asked})
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrMethod):
		c.network.Add(1)
		return c.remember(did, entry{id: Identity{DID: did}, err: err, asked: asked})
	case ctx.Err() != nil:
		// It is the caller who gave up, and that says nothing of the DID.
		old.id, old.err, old.failure = Identity{}, err, err
		return old
	}
	c.failed.Add(1)
	old.asked, old.failure = asked, err
	if old.err != nil || old.id.ResolvedAt.IsZero() || asked.Sub(old.id.ResolvedAt) >= c.cfg.StaleFor {
		old.id, old.err = Identity{DID: did}, err
	} else {
		c.stale.Add(1)
	}
	return c.remember(did, old)
}

// remember puts an entry into memory, for as long as it will do.
func (c *Cache) remember(did syntax.DID, e entry) entry {
	now := c.now()
	switch {
	case e.failure != nil:
		e.until = e.asked.Add(c.cfg.RetryEvery)
	case e.err != nil:
		e.until = e.asked.Add(c.cfg.NegativeTTL)
	default:
		e.until = now.Add(c.cfg.MemoryTTL)
		if end := e.id.ResolvedAt.Add(c.cfg.TTL); end.Before(e.until) {
			e.until = end
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Add(did, e)
	return e
}

// load reads what Postgres has of a DID, and whether something has happened since
// that its document is to be read for. Without a row, or without Postgres, the
// entry is empty.
func (c *Cache) load(ctx context.Context, did syntax.DID) (e entry, due bool) {
	if c.cfg.Pool == nil {
		return entry{}, false
	}
	row, err := c.q.GetIdentity(ctx, c.cfg.Pool, string(did))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return entry{}, false
	case err != nil:
		c.complain(ctx, err, "remembered identities cannot be read; asking the network")
		return entry{}, false
	case !row.ResolvedAt.Valid, row.Pds == nil && row.SigningKey == nil:
		// Never read; or of no use, if it was.
		return entry{}, false
	}
	id := Identity{DID: did, Handle: syntax.Handle(deref(row.Handle)), PDS: deref(row.Pds), ResolvedAt: row.ResolvedAt.Time}
	if s := deref(row.SigningKey); s != "" {
		if id.Key, err = atcrypto.ParsePublicDIDKey(s); err != nil {
			return entry{}, false // somebody else wrote it: the document will tell
		}
	}
	due = row.ResolveAt.Valid && row.ResolveAt.Time.After(id.ResolvedAt) && !row.ResolveAt.Time.After(c.now())
	if due {
		id.Handle = "" // it may be what an event said, which anybody can
	}
	return entry{id: id, asked: id.ResolvedAt}, due
}

// storeTimeout bounds the wait for a row that a fold is writing: whoever waits for
// the answer should not wait for that.
const storeTimeout = 5 * time.Second

// store writes to Postgres what the network said. A failure is the cache's, not
// the caller's: the answer is as good without.
func (c *Cache) store(parent context.Context, e entry) entry {
	if c.cfg.Pool == nil || e.failure != nil {
		return e
	}
	ctx, cancel := context.WithTimeout(parent, storeTimeout)
	defer cancel()
	var err error
	switch {
	case e.err == nil:
		err = c.q.PutIdentity(ctx, c.cfg.Pool, queries.PutIdentityParams{
			Did: string(e.id.DID), Pds: nonEmpty(e.id.PDS), SigningKey: didKey(e.id.Key), ResolvedAt: timestamp(e.id.ResolvedAt),
		})
	case errors.Is(e.err, ErrNotFound):
		err = c.q.ForgetIdentity(ctx, c.cfg.Pool, queries.ForgetIdentityParams{Did: string(e.id.DID), ResolvedAt: timestamp(e.asked)})
	}
	if err != nil {
		c.complain(parent, err, "identities cannot be remembered in Postgres")
	}
	return e
}

// complain logs that Postgres is in trouble, once a minute: others will say so, too.
func (c *Cache) complain(ctx context.Context, err error, text string) {
	now, last := time.Now().UnixNano(), c.warned.Load()
	if ctx.Err() == nil && now-last > int64(time.Minute) && c.warned.CompareAndSwap(last, now) {
		c.cfg.Log.Warn().Err(err).Msg(text)
	}
}

type flightKey struct {
	did   syntax.DID
	force bool // past what is remembered
}

// flight is a lookup under way.
type flight struct {
	done      chan struct{}
	e         entry
	abandoned bool // whoever made it gave up
}

// once has fn run by one caller at a time for a key, in that caller's goroutine,
// and returns its result to all who came meanwhile. If that caller gives up,
// another takes over. The error is ctx's.
func (c *Cache) once(ctx context.Context, key flightKey, fn func() entry) (entry, error) {
	for {
		c.mu.Lock()
		f, running := c.flights[key]
		if !running {
			f = &flight{done: make(chan struct{}), abandoned: true}
			c.flights[key] = f
			c.mu.Unlock()
			defer func() {
				c.mu.Lock()
				delete(c.flights, key)
				c.mu.Unlock()
				close(f.done)
			}()
			f.e = fn()
			f.abandoned = ctx.Err() != nil
			return f.e, ctx.Err()
		}
		c.mu.Unlock()
		select {
		case <-f.done:
			if !f.abandoned {
				return f.e, nil
			}
		case <-ctx.Done():
			return entry{}, ctx.Err()
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func didKey(k atcrypto.PublicKey) *string {
	if k == nil {
		return nil
	}
	s := k.DIDKey()
	return &s
}

func timestamp(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}
}
