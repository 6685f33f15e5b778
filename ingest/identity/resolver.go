package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/time/rate"

	"github.com/atview/atview/ingest/outbound"
)

// TXT looks up TXT records; see [DNS]. An error that is a [net.DNSError] with
// IsNotFound says that there are none; every other one that nobody knows.
type TXT interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// DNS is TXT by a resolver, or by the system's if r is nil.
func DNS(r *net.Resolver) TXT {
	if r == nil {
		r = net.DefaultResolver
	}
	return rooted{r}
}

type rooted struct{ r *net.Resolver }

// LookupTXT ends the name with a dot, so that the system's search domains are not
// appended to it: what they have under it is not meant for the world.
func (d rooted) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return d.r.LookupTXT(ctx, strings.TrimSuffix(name, ".")+".")
}

// ResolverConfig says whom a [Resolver] asks.
type ResolverConfig struct {
	// HTTP is the client for all requests, as package outbound makes it. Required.
	HTTP *http.Client
	// DNS answers for handles. Default: the system's resolver, [DNS].
	DNS TXT
	// PLC is the directory's URL. Default https://plc.directory.
	PLC string
	// AllowPrivate takes http where otherwise https is asked for: of a PDS, of a
	// did:web that is localhost or has a port, and of a handle's host that does not
	// answer https. The client has to allow private hosts as well.
	AllowPrivate bool
	// Timeout bounds a request. Default 10 s.
	Timeout time.Duration
	// MaxDocument bounds a DID document in bytes. Default 64 KiB; one of the PLC
	// directory has 1 to 2.
	MaxDocument int64
	// PLCRate is how many requests a second the PLC directory gets, PLCBurst how many
	// at once. Default 50 and 10: a tenth of what relays ask it, and still 4 million
	// documents a day.
	PLCRate  float64
	PLCBurst int
	// MaxPause bounds how long the PLC directory is left alone when it asks for that.
	// Default 5 min, which is its own window for counting requests.
	MaxPause time.Duration
}

func (c *ResolverConfig) validate() error {
	var faults []error
	if c.HTTP == nil {
		faults = append(faults, errors.New("no HTTP client"))
	}
	c.PLC = strings.TrimRight(cmp.Or(c.PLC, "https://plc.directory"), "/")
	if u, err := url.Parse(c.PLC); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		faults = append(faults, fmt.Errorf("PLC directory %q: want https://HOST", c.PLC))
	}
	if c.Timeout < 0 || c.MaxDocument < 0 || c.PLCRate < 0 || c.PLCBurst < 0 || c.MaxPause < 0 {
		faults = append(faults, errors.New("limits must not be negative"))
	}
	if c.DNS == nil {
		c.DNS = DNS(nil)
	}
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.MaxDocument = cmp.Or(c.MaxDocument, 64<<10)
	c.PLCRate = cmp.Or(c.PLCRate, 50)
	c.PLCBurst = cmp.Or(c.PLCBurst, 10)
	c.MaxPause = cmp.Or(c.MaxPause, 5*time.Minute)
	return errors.Join(faults...)
}

// Resolver asks the network, and remembers nothing. It is safe for concurrent use.
type Resolver struct {
	cfg     ResolverConfig
	limiter *rate.Limiter // of the PLC directory

	mu     sync.Mutex
	paused time.Time // the PLC directory is not asked before
}

// NewResolver makes a resolver. Nothing is asked yet.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("identity configuration: %w", err)
	}
	return &Resolver{cfg: cfg, limiter: rate.NewLimiter(rate.Limit(cfg.PLCRate), cfg.PLCBurst)}, nil
}

// Document reads a DID document. It fails with [ErrNotFound] or [ErrMethod] if
// there is none for good; any other error is for now only.
func (r *Resolver) Document(ctx context.Context, did syntax.DID) (Document, error) {
	var body []byte
	var err error
	switch did.Method() {
	case "plc":
		body, err = r.plc(ctx, did)
	case "web":
		body, err = r.web(ctx, did)
	default:
		err = ErrMethod
	}
	if err != nil {
		return Document{}, fmt.Errorf("%.100s: %w", did, err)
	}
	doc, err := parseDocument(did, body, r.cfg.AllowPrivate)
	if err != nil {
		return Document{}, fmt.Errorf("%.100s: %w", did, err)
	}
	return doc, nil
}

// plc asks the directory: https://web.plc.directory/spec/v0.1/did-plc#did-resolution.
func (r *Resolver) plc(ctx context.Context, did syntax.DID) ([]byte, error) {
	if err := r.admit(ctx); err != nil {
		return nil, err
	}
	body, err := r.get(ctx, r.cfg.PLC+"/"+url.PathEscape(string(did)), r.cfg.MaxDocument)
	if status, ok := errors.AsType[*outbound.StatusError](err); ok {
		switch status.Status {
		case http.StatusNotFound, http.StatusGone, // never was; is no more
			http.StatusBadRequest: // cannot be
			return nil, fmt.Errorf("%w (%w)", ErrNotFound, err)
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			// Without a word of theirs, long enough to make a difference to them.
			r.pause(cmp.Or(status.RetryAfter(time.Now(), r.cfg.MaxPause), min(5*time.Second, r.cfg.MaxPause)))
		}
	}
	return body, err
}

// admit waits until the PLC directory may be asked.
func (r *Resolver) admit(ctx context.Context) error {
	for {
		r.mu.Lock()
		wait := time.Until(r.paused)
		r.mu.Unlock()
		if wait <= 0 {
			break
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return fmt.Errorf("PLC directory asks to be left alone for %s", wait.Round(time.Second))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	if err := r.limiter.Wait(ctx); err != nil {
		return fmt.Errorf("our rate of requests to the PLC directory: %w", err)
	}
	return nil
}

func (r *Resolver) pause(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until := time.Now().Add(d); until.After(r.paused) {
		r.paused = until
	}
}

// web asks the host that the DID names. Of did:web, AT Protocol has whole hosts
// only: https://atproto.com/specs/did#at-protocol-did-identifier-syntax.
func (r *Resolver) web(ctx context.Context, did syntax.DID) ([]byte, error) {
	u, err := webURL(did, r.cfg.AllowPrivate)
	if err != nil {
		return nil, err
	}
	body, err := r.get(ctx, u, r.cfg.MaxDocument)
	if status, ok := errors.AsType[*outbound.StatusError](err); ok && (status.Status == http.StatusNotFound || status.Status == http.StatusGone) {
		return nil, fmt.Errorf("%w (%w)", ErrNotFound, err)
	}
	return body, err
}

func webURL(did syntax.DID, allowPrivate bool) (string, error) {
	unusable := func(why string) error { return fmt.Errorf("%w: did:web with %s", ErrMethod, why) }
	id := did.Identifier()
	if strings.Contains(id, ":") {
		return "", unusable("a path")
	}
	host, port, hasPort := strings.Cut(strings.ReplaceAll(strings.ToLower(id), "%3a", ":"), ":")
	scheme := "https"
	if hasPort || host == "localhost" {
		if !allowPrivate {
			return "", unusable("a port, or of localhost")
		}
		scheme = "http"
	}
	if hasPort {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return "", unusable("a port that is none")
		}
	}
	if h, err := syntax.ParseHandle(host); host != "localhost" && (err != nil || !h.AllowedTLD()) {
		return "", unusable("a host that is none")
	}
	if hasPort {
		host = net.JoinHostPort(host, port)
	}
	return scheme + "://" + host + "/.well-known/did.json", nil
}

func (r *Resolver) get(ctx context.Context, u string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	return outbound.Get(ctx, r.cfg.HTTP, u, limit)
}
