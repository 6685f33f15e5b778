package lexfetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/outbound"
)

// collection is where lexicons are published; the record key is the NSID.
const collection = "com.atproto.lexicon.schema"

// Config says whom to ask, and how much to take.
type Config struct {
	// Directory finds the PDS and the key of whoever publishes. Required.
	Directory identity.Directory
	// HTTP is the client for all requests, as package outbound makes it. Required.
	HTTP *http.Client
	// DNS says who publishes. Default: the system's resolver.
	DNS identity.TXT
	// Known says which lexicons are at hand: they are not fetched because another
	// refers to them, only if they are asked for. Nil: none.
	Known func(syntax.NSID) bool
	// NoRefs leaves out what is only referred to.
	NoRefs bool
	// MaxLexicons bounds how many are fetched. Default 1,000: all of Bluesky's are 400.
	MaxLexicons int
	// MaxDepth bounds how far references are followed. Default 16; real ones end at 5.
	MaxDepth int
	// MaxBytes bounds a lexicon with its proof. Default 2 MiB: the PDSes' own limit is
	// 1 MB for a record, and a proof is a few kB.
	MaxBytes int64
	// MaxPages bounds the listing of a repository, at 100 lexicons a page. Default 100.
	MaxPages int
	// Timeout bounds a request. Default 20 s.
	Timeout time.Duration
	// Concurrency is how many are fetched at once. Default 4: they come from the same
	// one or two hosts.
	Concurrency int
}

func (c *Config) validate() error {
	var faults []error
	if c.Directory == nil {
		faults = append(faults, errors.New("no directory"))
	}
	if c.HTTP == nil {
		faults = append(faults, errors.New("no HTTP client"))
	}
	if c.MaxLexicons < 0 || c.MaxDepth < 0 || c.MaxBytes < 0 || c.MaxPages < 0 || c.Timeout < 0 || c.Concurrency < 0 {
		faults = append(faults, errors.New("limits must not be negative"))
	}
	if c.DNS == nil {
		c.DNS = identity.DNS(nil)
	}
	if c.Known == nil {
		c.Known = func(syntax.NSID) bool { return false }
	}
	c.MaxLexicons = cmp.Or(c.MaxLexicons, 1000)
	c.MaxDepth = cmp.Or(c.MaxDepth, 16)
	c.MaxBytes = cmp.Or(c.MaxBytes, 2<<20)
	c.MaxPages = cmp.Or(c.MaxPages, 100)
	c.Timeout = cmp.Or(c.Timeout, 20*time.Second)
	c.Concurrency = cmp.Or(c.Concurrency, 4)
	return errors.Join(faults...)
}

// Fetcher fetches lexicons. It is safe for concurrent use.
type Fetcher struct{ cfg Config }

// New makes a fetcher. Nothing is asked yet.
func New(cfg Config) (*Fetcher, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configuration for fetching lexicons: %w", err)
	}
	return &Fetcher{cfg}, nil
}

// Lexicon is one that was fetched.
type Lexicon struct {
	NSID syntax.NSID
	// DID is who publishes it, PDS where it was read, CID and Rev which version.
	DID syntax.DID
	PDS string
	CID string
	Rev syntax.TID
	// For is why it was fetched: what was asked for, or the NSID of the first lexicon
	// that refers to it.
	For string
	// JSON is the lexicon, indented, as a file has it.
	JSON []byte
}

// Failure is what could not be fetched.
type Failure struct {
	// Name is an NSID, or a pattern that could not be listed.
	Name string
	// For is as in [Lexicon].
	For string
	Err error
}

// Result is what came of fetching.
type Result struct {
	Lexicons []Lexicon // by NSID
	Failures []Failure // by name
}

// Fetch gets the lexicons that are asked for, each by its NSID or, with an end of
// .*, all that the authority of that group publishes in it. It fails if a pattern
// is none, and if ctx ends; what else goes wrong is in the result.
func (f *Fetcher) Fetch(ctx context.Context, patterns []string) (Result, error) {
	r := &run{Fetcher: f, wanted: map[syntax.NSID]bool{}, authorities: map[string]*authority{}}
	if err := r.begin(ctx, patterns); err != nil {
		return Result{}, err
	}
	for depth := 0; len(r.next) > 0; depth++ {
		level := r.next
		r.next = nil
		if depth > f.cfg.MaxDepth {
			for _, a := range level {
				r.fail(string(a.nsid), a.why, fmt.Errorf("reference %d deep; the limit is %d", depth, f.cfg.MaxDepth))
			}
			break
		}
		found := make([]*fetched, len(level))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(f.cfg.Concurrency)
		for i, a := range level {
			g.Go(func() error {
				lex, err := r.fetch(gctx, a.nsid)
				if gctx.Err() != nil {
					return gctx.Err()
				}
				if err != nil {
					r.fail(string(a.nsid), a.why, err)
					return nil
				}
				lex.For = a.why
				found[i] = lex
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return Result{}, err
		}
		for _, lex := range found {
			if lex == nil {
				continue
			}
			r.result.Lexicons = append(r.result.Lexicons, lex.Lexicon)
			if f.cfg.NoRefs {
				continue
			}
			for _, ref := range lex.refs {
				if !f.cfg.Known(ref) {
					r.want(ref, string(lex.NSID))
				}
			}
		}
	}
	slices.SortFunc(r.result.Lexicons, func(a, b Lexicon) int { return strings.Compare(string(a.NSID), string(b.NSID)) })
	slices.SortStableFunc(r.result.Failures, func(a, b Failure) int { return strings.Compare(a.Name, b.Name) })
	return r.result, nil
}

// run is one call of Fetch.
type run struct {
	*Fetcher
	wanted map[syntax.NSID]bool // now, or before
	next   []asked
	full   bool // there were more than we take

	mu          sync.Mutex
	result      Result
	authorities map[string]*authority // by domain
}

// asked is a lexicon that is to be fetched, and why.
type asked struct {
	nsid syntax.NSID
	why  string
}

// fetched is a lexicon with the names that it refers to.
type fetched struct {
	Lexicon
	refs []syntax.NSID
}

func (r *run) fail(name, why string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Failures = append(r.result.Failures, Failure{Name: name, For: why, Err: err})
}

// want has a lexicon fetched in the next round, once.
func (r *run) want(nsid syntax.NSID, why string) {
	nsid = nsid.Normalize()
	if r.wanted[nsid] || r.full {
		return
	}
	if len(r.wanted) == r.cfg.MaxLexicons {
		r.full = true
		r.fail(string(nsid), why, fmt.Errorf("this one and all that follow are left out: more than %d lexicons", r.cfg.MaxLexicons))
		return
	}
	r.wanted[nsid] = true
	r.next = append(r.next, asked{nsid, why})
}

// begin wants what is asked for. The names are checked before anything is asked.
func (r *run) begin(ctx context.Context, patterns []string) error {
	groups := make([]syntax.NSID, len(patterns))
	var faults []error
	for i, p := range patterns {
		name, isGroup := strings.CutSuffix(p, ".*")
		if isGroup {
			name += ".any" // a group is all of an NSID but its name
		}
		nsid, err := syntax.ParseNSID(name)
		if err != nil {
			faults = append(faults, fmt.Errorf("%q: want an NSID, or one that ends in .* for the group: %w", p, err))
			continue
		}
		if isGroup {
			groups[i] = nsid.Normalize()
		} else {
			r.want(nsid, p)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	for i, p := range patterns {
		if groups[i] == "" {
			continue
		}
		names, err := r.list(ctx, groups[i])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, nsid := range names {
			r.want(nsid, p)
		}
		if err == nil && len(names) == 0 {
			err = errors.New("its authority publishes none; groups below it may have authorities of their own")
		}
		if err != nil {
			r.fail(p, p, err)
		}
	}
	return nil
}

// list returns the names that the authority of a group publishes in it, and below
// it. That it lists a name makes nobody its authority: each is fetched from its
// own.
func (r *run) list(ctx context.Context, group syntax.NSID) ([]syntax.NSID, error) {
	id, err := r.authority(ctx, group)
	if err != nil {
		return nil, err
	}
	prefix := strings.TrimSuffix(string(group), group.Name())
	var names []syntax.NSID
	cursor := ""
	for range r.cfg.MaxPages {
		var page struct {
			Cursor  string `json:"cursor"`
			Records []struct {
				URI string `json:"uri"`
			} `json:"records"`
		}
		q := url.Values{"repo": {string(id.DID)}, "collection": {collection}, "limit": {"100"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		// 100 lexicons of the largest size are more than anybody publishes.
		if err := r.json(ctx, id.PDS+"/xrpc/com.atproto.repo.listRecords?"+q.Encode(), 8*r.cfg.MaxBytes, &page); err != nil {
			return names, err
		}
		for _, rec := range page.Records {
			uri, err := syntax.ParseATURI(rec.URI)
			if err != nil {
				continue // of a name that is none
			}
			nsid, err := syntax.ParseNSID(string(uri.RecordKey()))
			if err == nil && strings.HasPrefix(string(nsid.Normalize()), prefix) {
				names = append(names, nsid)
			}
		}
		if page.Cursor == "" || len(page.Records) == 0 {
			return names, nil
		}
		if page.Cursor == cursor {
			return names, fmt.Errorf("listing of %s does not get on", id.DID)
		}
		cursor = page.Cursor
	}
	return names, fmt.Errorf("more than %d pages of lexicons", r.cfg.MaxPages)
}

// authority is who publishes the NSIDs of a domain. It is asked for once.
type authority struct {
	once sync.Once
	id   identity.Identity
	err  error
}

func (r *run) authority(ctx context.Context, nsid syntax.NSID) (identity.Identity, error) {
	domain := nsid.Authority()
	r.mu.Lock()
	a := r.authorities[domain]
	if a == nil {
		a = &authority{}
		r.authorities[domain] = a
	}
	r.mu.Unlock()
	a.once.Do(func() { a.id, a.err = r.resolve(ctx, domain) })
	return a.id, a.err
}

func (r *run) resolve(ctx context.Context, domain string) (identity.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	name := "_lexicon." + domain
	dids, err := identity.LookupDIDs(ctx, r.cfg.DNS, name)
	switch {
	case err != nil:
		return identity.Identity{}, fmt.Errorf("DNS: %w", err)
	case len(dids) == 0:
		return identity.Identity{}, fmt.Errorf("nobody publishes it: DNS has no TXT record did=... at %s", name)
	case len(dids) > 1:
		return identity.Identity{}, fmt.Errorf("DNS has %d publishers at %s", len(dids), name)
	}
	id, err := r.cfg.Directory.Lookup(ctx, dids[0])
	if err != nil {
		return identity.Identity{}, fmt.Errorf("publisher by %s: %w", name, err)
	}
	if id.PDS == "" {
		return identity.Identity{}, fmt.Errorf("publisher %s has no PDS", id.DID)
	}
	return id, nil
}

// fetch reads one lexicon from its authority's repository.
func (r *run) fetch(ctx context.Context, nsid syntax.NSID) (*fetched, error) {
	id, err := r.authority(ctx, nsid)
	if err != nil {
		return nil, err
	}
	rec, id, err := r.record(ctx, id, nsid)
	if err != nil {
		return nil, err
	}
	text, refs, err := parse(rec.block, nsid)
	if err != nil {
		return nil, fmt.Errorf("record at://%s/%s/%s: %w", id.DID, collection, nsid, err)
	}
	return &fetched{Lexicon{NSID: nsid, DID: id.DID, PDS: id.PDS, CID: rec.cid, Rev: rec.rev, JSON: text}, refs}, nil
}

// record reads the record with its proof. A key that does not fit, and a PDS that
// does not have the repository, may be of before a change: then the directory is
// asked anew, once.
func (r *run) record(ctx context.Context, id identity.Identity, nsid syntax.NSID) (record, identity.Identity, error) {
	rec, err := r.proven(ctx, id, nsid)
	if err == nil || !errors.Is(err, errSignature) && !isNotFound(err) {
		return rec, id, err
	}
	fresh, freshErr := r.cfg.Directory.Refresh(ctx, id.DID)
	if freshErr != nil || fresh.PDS == "" || fresh.PDS == id.PDS && sameKey(fresh, id) {
		return record{}, id, err
	}
	rec, err = r.proven(ctx, fresh, nsid)
	return rec, fresh, err
}

func isNotFound(err error) bool {
	status, ok := errors.AsType[*outbound.StatusError](err)
	return ok && (status.Status == http.StatusNotFound || status.Status == http.StatusBadRequest)
}

func sameKey(a, b identity.Identity) bool {
	return a.Key == nil && b.Key == nil || a.Key != nil && b.Key != nil && a.Key.Equal(b.Key)
}

func (r *run) proven(ctx context.Context, id identity.Identity, nsid syntax.NSID) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	q := url.Values{"did": {string(id.DID)}, "collection": {collection}, "rkey": {string(nsid)}}
	car, err := outbound.Get(ctx, r.cfg.HTTP, id.PDS+"/xrpc/com.atproto.sync.getRecord?"+q.Encode(), r.cfg.MaxBytes)
	if err != nil {
		return record{}, err
	}
	rec, err := prove(car, id, collection+"/"+string(nsid))
	if err != nil {
		return record{}, fmt.Errorf("proof by %s for %s: %w", id.PDS, id.DID, err)
	}
	return rec, nil
}

func (r *run) json(ctx context.Context, u string, limit int64, v any) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	return outbound.JSON(ctx, r.cfg.HTTP, u, limit, v)
}
