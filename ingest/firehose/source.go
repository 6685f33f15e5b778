package firehose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// method is the path of the stream on every host.
const method = "/xrpc/com.atproto.sync.subscribeRepos"

// Config says which hosts are read, and how.
type Config struct {
	// URLs of hosts that stand in for one another (wss://HOST, or with the method's
	// path). The first is read until it fails, then the next.
	URLs []string
	// Name of the source. Default "firehose".
	Name string
	// FromStart begins with the oldest that the host still has, if there is no cursor: days of the whole network at a relay, what has happened lately at a PDS.
	// Default: with what happens now.
	FromStart bool
	// Directory has the accounts' keys. It is needed, unless Trust is set.
	Directory identity.Directory
	// Trust takes the host's word for signatures and proofs. Records are held against
	// their CIDs all the same. For a relay of one's own, which has checked them.
	Trust bool
	// DialContext makes the connections; nil is net.Dialer's.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Workers is how many frames are checked at a time. Default 64: most wait for an
	// identity, the processors limit the others.
	Workers int
	// LookupTimeout bounds how long one frame waits for an identity, and so holds up
	// those behind it. Default 10 s.
	LookupTimeout time.Duration
	// Heads is of how many repositories the newest commit is remembered. Default
	// 200,000, some 50 MB; of one that is forgotten, a gap is not noticed.
	Heads int
	// MaxFrame is the longest frame in bytes. Default 16 MiB; hosts should not send
	// more than 5 MB (https://atproto.com/specs/sync#firehose).
	MaxFrame int
	// RewindOtherHost is how much is read again when another host takes over. Default
	// 60 s: how far it is behind the network is its own.
	RewindOtherHost time.Duration
	// IdleTimeout is how long a connection may bring nothing. Default 5 min: one PDS
	// may well be silent, and whether it lives is for pings to find out.
	IdleTimeout time.Duration
	// PingEvery is how often the host has to answer. Default 20 s.
	PingEvery time.Duration
	// ConnectTimeout bounds the making of a connection. Default 20 s.
	ConnectTimeout time.Duration
	// MinBackoff and MaxBackoff bound the waits between attempts, which double
	// while all hosts fail. Default 1 s and 60 s.
	MinBackoff, MaxBackoff time.Duration
	// BufferFrames and BufferBytes bound what is read and not yet taken by the log.
	// Default 16,384 frames and 64 MiB: half a minute of the whole network.
	BufferFrames int
	BufferBytes  int64
	// Pool is of the Postgres that has tables atview.head and head_at, where it is
	// remembered over restarts how repositories with wanted records stood. Nil: of
	// what happened between the last commit before a restart and the first after it,
	// a gap is not noticed.
	Pool *pgxpool.Pool
	// HeadsEvery is how often that is stored. Default 1 s; a restart reads so much
	// again.
	HeadsEvery time.Duration
	// CursorEvery is how often the cursor is told while nothing is wanted. Default
	// 5 s: each time waits for the log's disk, and after a crash so much is read again.
	CursorEvery time.Duration
	// UserAgent is what the hosts' operators see. Default "atview".
	UserAgent string
	Log       zerolog.Logger
}

func (c *Config) validate() (hosts []*url.URL, err error) {
	var faults []error
	if len(c.URLs) == 0 {
		faults = append(faults, errors.New("no URL"))
	}
	for _, s := range c.URLs {
		u, err := url.Parse(s)
		switch {
		case err != nil:
			faults = append(faults, err)
			continue
		case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "":
			faults = append(faults, fmt.Errorf("URL %q: want wss://HOST%s", u.Redacted(), method))
		case strings.Trim(u.Path, "/") == "":
			u.Path = method
		}
		hosts = append(hosts, u)
	}
	if c.Directory == nil && !c.Trust {
		faults = append(faults, errors.New("no directory of identities to check signatures with"))
	}
	for name, n := range map[string]int64{
		"Workers": int64(c.Workers), "LookupTimeout": int64(c.LookupTimeout), "Heads": int64(c.Heads),
		"MaxFrame": int64(c.MaxFrame), "BufferFrames": int64(c.BufferFrames), "BufferBytes": c.BufferBytes,
		"IdleTimeout": int64(c.IdleTimeout), "PingEvery": int64(c.PingEvery), "ConnectTimeout": int64(c.ConnectTimeout),
		"MinBackoff": int64(c.MinBackoff), "MaxBackoff": int64(c.MaxBackoff), "CursorEvery": int64(c.CursorEvery), "HeadsEvery": int64(c.HeadsEvery), "RewindOtherHost": int64(c.RewindOtherHost),
	} {
		if n < 0 {
			faults = append(faults, fmt.Errorf("%s must not be negative", name))
		}
	}
	c.Name = cmp.Or(c.Name, "firehose")
	c.Workers = cmp.Or(c.Workers, 64)
	c.LookupTimeout = cmp.Or(c.LookupTimeout, 10*time.Second)
	c.Heads = cmp.Or(c.Heads, 200_000)
	c.MaxFrame = cmp.Or(c.MaxFrame, 16<<20)
	c.RewindOtherHost = cmp.Or(c.RewindOtherHost, 60*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 5*time.Minute)
	c.PingEvery = cmp.Or(c.PingEvery, 20*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 20*time.Second)
	c.MinBackoff = cmp.Or(c.MinBackoff, time.Second)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 60*time.Second)
	c.BufferFrames = cmp.Or(c.BufferFrames, 16384)
	c.BufferBytes = cmp.Or(c.BufferBytes, 64<<20)
	c.HeadsEvery = cmp.Or(c.HeadsEvery, time.Second)
	c.CursorEvery = cmp.Or(c.CursorEvery, 5*time.Second)
	c.UserAgent = cmp.Or(c.UserAgent, "atview")
	return hosts, errors.Join(faults...)
}

// staleIdentities bounds how many accounts are remembered that said to have a new
// identity. Of those that are forgotten, an old key counts until it does not fit.
const staleIdentities = 50_000

// Source reads one host at a time. See the package's documentation.
type Source struct {
	cfg         Config
	hosts       []*url.URL
	client      *http.Client
	collections atomic.Pointer[source.Collections]
	// stale has the accounts whose identity changed since it was asked for.
	stale *lru.Cache[syntax.DID, struct{}]

	mu     sync.Mutex
	status source.Status
	stats  Stats
	queue  chan *job // of the session; nil between two

	received atomic.Int64 // bytes
	oddities zerolog.Logger
}

var _ source.Source = (*Source)(nil)

// New makes a source. Nothing is connected yet.
func New(cfg Config) (*Source, error) {
	hosts, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("firehose configuration: %w", err)
	}
	stale, err := lru.New[syntax.DID, struct{}](staleIdentities)
	if err != nil {
		return nil, fmt.Errorf("firehose configuration: %w", err)
	}
	transport := &http.Transport{DialContext: cfg.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: cfg.ConnectTimeout}
	if cfg.DialContext == nil {
		transport.Proxy = http.ProxyFromEnvironment
	}
	s := &Source{
		cfg:    cfg,
		hosts:  hosts,
		client: &http.Client{Transport: transport},
		stale:  stale,
		// What a host does wrong it may do a thousand times a second.
		oddities: cfg.Log.Sample(&zerolog.BurstSampler{Burst: 5, Period: time.Minute}),
	}
	s.collections.Store(&source.Collections{})
	return s, nil
}

// Name is [Config.Name]: the same whichever host is read.
func (s *Source) Name() string { return s.cfg.Name }

// SetCollections says whose commits are to be checked and emitted. A firehose is not
// filtered by its host.
func (s *Source) SetCollections(c source.Collections) { s.collections.Store(&c) }

// Status returns how the connection is.
func (s *Source) Status() source.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Bytes = s.received.Load()
	st.Buffered = len(s.queue)
	return st
}

// Stats counts frames since the source was made.
type Stats struct {
	// Frames is all of them, Commits those that are a #commit.
	Frames, Commits int64
	// Checked counts commits whose signature and proof hold; the others have nothing
	// that is wanted, or are rejects.
	Checked int64
	// Seen counts commits that had been there before.
	Seen int64
	// Rejected counts lines that are no events.
	Rejected int64
	// Resyncs counts repositories to be read anew; Broken is those of them whose
	// commit does not follow the one before.
	Resyncs, Broken int64
	// Gaps counts jumps in the host's numbers, and Missing the numbers left out. A PDS
	// leaves some out as it likes.
	Gaps, Missing int64
	// Backwards counts frames numbered at or below one before.
	Backwards int64
	// Unknown counts frames of types that this version does not know.
	Unknown int64
	// Lost counts the times that a host did not have what follows the cursor: it was
	// too old, or the host had never heard of it.
	Lost int64
}

// Stats returns a snapshot; it may be called at any time, from any goroutine.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Run reads until ctx is done, or until every host has refused the request as
// wrong. See [source.Source].
func (s *Source) Run(ctx context.Context, from stream.Cursor, emit func(source.Line) error) error {
	chain, err := newChain(s.cfg.Heads)
	if err != nil {
		return err
	}
	var mem *memory
	if s.cfg.Pool != nil {
		mem = newMemory(s)
		if from, err = mem.load(ctx, chain, from); err != nil {
			return err
		}
	}
	pos := newPosition(from)
	if mem != nil {
		var saver sync.WaitGroup
		saving, stop := context.WithCancel(ctx)
		saver.Go(func() { mem.run(saving) })
		defer func() {
			stop()
			saver.Wait()
			mem.finish(ctx, pos.at())
		}()
	}
	refused := make([]error, len(s.hosts)) // why a host will never take us
	served := make([]bool, len(s.hosts))   // it did once
	host, failures := 0, 0
	if i := slices.IndexFunc(s.hosts, func(u *url.URL) bool { return u.Host == from.Host }); i >= 0 {
		host = i // which understands the cursor
	} else if from.Value > 0 {
		s.cfg.Log.Warn().Str("host", from.Host).Int64("cursor", from.Value).Msg("cursor is of a host that is not read any more: another one is asked for what happened since then")
	}
	for {
		ses := &session{src: s, url: s.hosts[host], pos: pos, chain: chain, memory: mem, emit: emit}
		err := ses.run(ctx)
		s.ended(err)
		served[host] = served[host] || ses.connected
		var status *statusError
		var said *hostError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case ses.emitErr != nil:
			return ses.emitErr
		case errors.As(err, &said) && said.Name == futureCursor && ses.asked:
			s.count(func(st *Stats) { st.Lost++ })
			s.cfg.Log.Error().Str("host", ses.url.Host).Int64("cursor", pos.at().Value).Msg("host has never been at our cursor; looking for the time instead")
			pos.forget()
			if !retry.Sleep(ctx, s.cfg.MinBackoff) {
				return ctx.Err()
			}
			continue // with the same host: nothing else is wrong with it
		case errors.As(err, &status) && status.permanent(served[host]):
			refused[host] = err
			if !slices.Contains(refused, nil) {
				return errors.Join(refused...)
			}
			s.cfg.Log.Error().Err(err).Str("host", ses.url.Host).Msg("host refuses the request for good; leaving it out")
		}
		s.cfg.Log.Warn().Err(err).Str("host", ses.url.Host).Int64("cursor", pos.at().Value).Msg("firehose connection ended")

		if ses.frames > 0 {
			failures = 0 // it works, in principle: the same host again
		} else {
			failures++
			host = retry.NextHost(host, refused)
		}
		if n, over := retry.Round(failures, refused); over && !retry.Sleep(ctx, retry.Backoff(n, s.cfg.MinBackoff, s.cfg.MaxBackoff)) {
			return ctx.Err()
		}
	}
}

func (s *Source) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = nil
	s.status.Connected = false
	s.status.LastError = err
	s.status.LastErrorTime = time.Now()
}

func (s *Source) count(add func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.stats)
}

// statusError is an HTTP answer in place of a websocket.
type statusError struct {
	code int
	host string
	body string
}

func (e *statusError) Error() string {
	msg := fmt.Sprintf("%s answers HTTP %d", e.host, e.code)
	if body := strings.TrimSpace(e.body); body != "" {
		msg += fmt.Sprintf(": %q", body)
	}
	return msg
}

// permanent reports whether asking again is of no use: a host that has never taken
// us does not know the method, or does not want us.
func (e *statusError) permanent(served bool) bool {
	switch e.code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return 400 <= e.code && e.code < 500 && !served
}
