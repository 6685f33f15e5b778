package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/car"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/outbound"
)

// FetchConfig says how one repository is fetched and verified.
type FetchConfig struct {
	// Directory says where a repository is and who signs it.
	Directory identity.Directory
	// HTTP is the client; which addresses may be reached is its affair.
	HTTP *http.Client
	// Limits of what a repository may cost; Limits.Bytes is also where its download
	// is cut.
	Limits car.Limits
	// Timeout bounds a download. Default 30 min: 1 GiB at 600 kB/s.
	Timeout time.Duration
	// MinSpeed is how many bytes a second a download must bring, seen over each
	// SpeedWindow, the wait for the first byte included. Default 8,192, over 30 s:
	// what is slower at home, with four downloads at a time, is stuck. A repository
	// of less than 240 kB may take the 30 s.
	MinSpeed    int64
	SpeedWindow time.Duration
	// TempDir is where downloads lie until they are published; it is made if it is
	// not there. Default [os.TempDir]. PDSes decide how much of it is used, up to
	// Limits.Bytes for each worker.
	TempDir string
}

func (c *FetchConfig) validate() error {
	var faults []error
	if c.Directory == nil {
		faults = append(faults, errors.New("no directory of identities"))
	}
	if c.HTTP == nil {
		faults = append(faults, errors.New("no HTTP client"))
	}
	c.Limits.Bytes = or(c.Limits.Bytes, 1<<30) // as package car has it
	c.Timeout = or(c.Timeout, 30*time.Minute)
	c.MinSpeed = or(c.MinSpeed, 8192)
	c.SpeedWindow = or(c.SpeedWindow, 30*time.Second)
	if c.TempDir == "" {
		c.TempDir = os.TempDir()
	}
	return errors.Join(faults...)
}

// Fetcher fetches and verifies single repositories. It is safe for concurrent
// use.
type Fetcher struct {
	cfg FetchConfig
	// read counts the bytes that came, of all downloads.
	read atomic.Int64
}

// NewFetcher makes a fetcher.
func NewFetcher(cfg FetchConfig) (*Fetcher, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("fetch configuration: %w", err)
	}
	return &Fetcher{cfg: cfg}, nil
}

// Fetch fetches a repository from its PDS and verifies it; nothing is published.
// Want says which collections are to be read, nil all. The caller closes the
// Repo. The error is ctx's or an [*Error].
func (f *Fetcher) Fetch(ctx context.Context, did syntax.DID, want func(syntax.NSID) bool) (*car.Repo, error) {
	repo, _, err := f.fetch(ctx, request{did: did, want: want}, free{})
	return repo, err
}

// request is what is to be fetched.
type request struct {
	did    syntax.DID
	minRev syntax.TID
	want   func(syntax.NSID) bool
	// retry is whether it has failed before.
	retry bool
}

// gate is who has to be asked before each step that costs something.
type gate interface {
	// enter waits until a host may be asked. If its error is nil, leave is called
	// with what came of it, and, if the host says so, until when it is to be left
	// alone.
	enter(ctx context.Context, pds string) error
	leave(pds string, until time.Time, err error)
	// verify waits until there is memory to verify what was downloaded. It may be
	// called twice.
	verify(ctx context.Context) error
}

// free is the gate of who comes alone.
type free struct{}

func (free) enter(context.Context, string) error { return nil }
func (free) leave(string, time.Time, error)      {}
func (free) verify(context.Context) error        { return nil }

// fetch fetches and verifies. If what the directory remembers of the account may
// be out of date, it has it looked up anew, and goes after an account that has
// moved, once. The PDS that it returns is the one that was asked last.
//
// The error is ctx's, a [*deferError] or an [*Error].
func (f *Fetcher) fetch(ctx context.Context, req request, g gate) (*car.Repo, string, error) {
	id, err := f.cfg.Directory.Lookup(ctx, req.did)
	if err != nil {
		return nil, "", f.identityError(ctx, err)
	}
	for again := false; ; again = true {
		repo, err := f.attempt(ctx, req, id, g)
		if err == nil {
			return repo, id.PDS, nil
		}
		why, ok := errors.AsType[*Error](err)
		if !ok || again || !why.maybeMoved(req.retry) {
			return nil, id.PDS, err
		}
		fresh, rerr := f.cfg.Directory.Refresh(ctx, req.did)
		switch {
		case rerr != nil:
			if why.final(0) {
				// Only who knows that the account is still there may say that it has nothing.
				return nil, id.PDS, f.identityError(ctx, rerr)
			}
			return nil, id.PDS, err
		case fresh.PDS == id.PDS && sameKey(fresh.Key, id.Key):
			return nil, id.PDS, err
		}
		id = fresh
	}
}

func (f *Fetcher) identityError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := classify("", err)
	if e.Reason == ReasonConnection {
		e.Reason = ReasonIdentity
	}
	return e
}

func sameKey(a, b atcrypto.PublicKey) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Equal(b)
}

// attempt fetches from one PDS.
func (f *Fetcher) attempt(ctx context.Context, req request, id identity.Identity, g gate) (*car.Repo, error) {
	switch {
	case id.PDS == "" || !clean(id.PDS):
		return nil, &Error{Reason: ReasonNoPDS, Err: errors.New("the DID document names no PDS")}
	case id.Key == nil:
		return nil, &Error{Reason: ReasonNoKey, PDS: id.PDS, Err: errors.New("the DID document names no key that is understood")}
	}
	if err := g.enter(ctx, id.PDS); err != nil {
		return nil, err
	}
	file, size, until, err := f.download(ctx, id.PDS, req.did)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	g.leave(id.PDS, until, err)
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, fault(ctx, id.PDS, err)
	}
	if err := g.verify(ctx); err != nil {
		file.Close()
		return nil, err
	}
	repo, err := car.Verify(ctx, file, size, car.Options{
		DID: req.did, Key: id.Key, MinRev: req.minRev, Want: req.want, Limits: f.cfg.Limits,
	})
	if err != nil {
		file.Close()
		if _, ok := errors.AsType[*car.InvalidError](err); !ok {
			err = &Error{Reason: ReasonLocal, PDS: id.PDS, Err: err}
		}
		return nil, fault(ctx, id.PDS, err)
	}
	return repo, nil
}

// fault is ctx's error, if that is why.
func fault(ctx context.Context, pds string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(pds, err)
}

// tempPattern is what downloads are called, for the moment that they have a name.
const tempPattern = "atview-repo-*.car"

// temp makes a file that nobody has to remove.
func (f *Fetcher) temp() (*tempFile, error) {
	file, err := os.CreateTemp(f.cfg.TempDir, tempPattern)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(f.cfg.TempDir, 0o700); err == nil {
			file, err = os.CreateTemp(f.cfg.TempDir, tempPattern)
		}
	}
	if err != nil {
		return nil, err
	}
	// Without a name it goes with the process, however that ends. Where an open file
	// keeps its name, Close removes it, or the next start.
	t := &tempFile{File: file}
	if os.Remove(file.Name()) != nil {
		t.name = file.Name()
	}
	return t, nil
}

type tempFile struct {
	*os.File
	name string // empty if it has none any more
}

func (t *tempFile) Close() error {
	err := t.File.Close()
	if t.name != "" {
		err = errors.Join(err, os.Remove(t.name))
	}
	return err
}

// sweepTemp removes what a killed process has left.
func (f *Fetcher) sweepTemp() {
	names, _ := filepath.Glob(filepath.Join(f.cfg.TempDir, tempPattern)) // the pattern is a good one
	for _, name := range names {
		// One that was made just now may be about to lose its name.
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > f.cfg.Timeout {
			_ = os.Remove(name) // that of a running process, where that matters, cannot be removed
		}
	}
}

// download fetches a repository into a file. Until is when the host may be asked
// again, if this was the last request that it takes for now.
func (f *Fetcher) download(ctx context.Context, pds string, did syntax.DID) (_ *tempFile, size int64, until time.Time, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	var read atomic.Int64
	watch.Go(func() { f.watch(ctx, cancel, &read) })
	defer func() {
		// Whoever ended ctx knows better than the request why.
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}()

	u := pds + "/xrpc/com.atproto.sync.getRepo?did=" + url.QueryEscape(string(did))
	resp, err := get(ctx, f.cfg.HTTP, u, "application/vnd.ipld.car")
	if err != nil {
		return nil, 0, until, err
	}
	defer resp.Body.Close()
	until = exhausted(resp)
	limit := f.cfg.Limits.Bytes
	if resp.ContentLength > limit {
		return nil, 0, until, fmt.Errorf("%d bytes: %w", resp.ContentLength, &outbound.TooLargeError{Limit: limit})
	}
	file, err := f.temp()
	if err != nil {
		return nil, 0, until, &Error{Reason: ReasonLocal, PDS: pds, Err: err}
	}
	size, err = io.Copy(file, io.TeeReader(io.LimitReader(resp.Body, limit+1), counting{&read, &f.read}))
	if err == nil && size > limit {
		err = &outbound.TooLargeError{Limit: limit}
	}
	if err != nil {
		file.Close()
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			err = &Error{Reason: ReasonLocal, PDS: pds, Err: err}
		}
		return nil, 0, until, err
	}
	return file, size, until, nil
}

// exhausted is until when a host takes no more requests, if its answer, which was
// a good one, says that it takes none.
func exhausted(resp *http.Response) time.Time {
	if resp.Header.Get("RateLimit-Remaining") != "0" {
		return time.Time{}
	}
	limited := outbound.Check(&http.Response{
		StatusCode: http.StatusTooManyRequests, Header: resp.Header, Body: http.NoBody, Request: resp.Request,
	})
	if e, ok := errors.AsType[*outbound.StatusError](limited); ok {
		return e.RetryAt
	}
	return time.Time{}
}

// counting counts what is written.
type counting [2]*atomic.Int64

func (c counting) Write(p []byte) (int, error) {
	for _, n := range c {
		n.Add(int64(len(p)))
	}
	return len(p), nil
}

// watch ends a download that takes too long.
func (f *Fetcher) watch(ctx context.Context, cancel context.CancelCauseFunc, read *atomic.Int64) {
	end := time.NewTimer(f.cfg.Timeout)
	defer end.Stop()
	tick := time.NewTicker(f.cfg.SpeedWindow)
	defer tick.Stop()
	least := int64(float64(f.cfg.MinSpeed) * f.cfg.SpeedWindow.Seconds())
	var before int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			cancel(errTimeout)
			return
		case <-tick.C:
			now := read.Load()
			if now-before < least {
				cancel(errSlow)
				return
			}
			before = now
		}
	}
}

// get asks for u. An answer that is no success is an [*outbound.StatusError].
func get(ctx context.Context, client *http.Client, u, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	resp, err := client.Do(req)
	if err != nil {
		if uerr, ok := errors.AsType[*url.Error](err); ok {
			err = uerr.Err // without the URL, which the caller knows
		}
		return nil, err
	}
	if err := outbound.Check(resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}
