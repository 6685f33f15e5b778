package testnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/jetstream"
)

// Config describes a network. Its zero value has one PDS.
type Config struct {
	// Seed makes the network what it is.
	Seed uint64
	// PDSes is how many there are. Default 1.
	PDSes int
	// K256Every makes every n-th account's key one of the curve K-256, the others
	// P-256, which signs faster. Default 4; 1 is all, less than 0 none.
	K256Every int
	// OldDocs has DID documents name keys in the form before Multikey
	// (EcdsaSecp256k1VerificationKey2019), as the PLC server on npm still does.
	OldDocs bool
	// KeepHandles has relay and Jetstream pass the handle of an #identity on. The indigo
	// relay strips it.
	KeepHandles bool
	// Clock tells the time of events and revisions. Nil is a clock of the network's
	// own that begins at Start and goes on by Step with each action.
	Clock func() time.Time
	// Start is 2026-01-01 by default. It is for a nil Clock.
	Start time.Time
	// Step is 10 ms by default. It is for a nil Clock.
	Step time.Duration
	// ReplayFrames is how many frames RelayReplay and JetstreamReplay go back.
	// Default 20.
	ReplayFrames int
	// Slow is how long the slow faults wait. Default 200 ms: more than a loopback
	// answer, less than any sensible timeout.
	Slow time.Duration
	// RetryAfter is what a PDS says with 429. Default 1 s, the least the header can
	// say.
	RetryAfter time.Duration
	// WriteTimeout is how long a websocket's write may wait for the subscriber before
	// it is cut off. Default 10 s.
	WriteTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.PDSes == 0 {
		c.PDSes = 1
	}
	if c.K256Every == 0 {
		c.K256Every = 4
	}
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if c.Step == 0 {
		c.Step = 10 * time.Millisecond
	}
	if c.ReplayFrames == 0 {
		c.ReplayFrames = 20
	}
	if c.Slow == 0 {
		c.Slow = 200 * time.Millisecond
	}
	if c.RetryAfter == 0 {
		c.RetryAfter = time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 10 * time.Second
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.PDSes < 1 {
		faults = append(faults, fmt.Errorf("%d PDSes: at least 1", c.PDSes))
	}
	if c.Step < 0 || c.ReplayFrames < 0 || c.Slow < 0 || c.RetryAfter < 0 || c.WriteTimeout < 0 {
		faults = append(faults, errors.New("step, replay and waits: none under 0"))
	}
	return errors.Join(faults...)
}

// Network is a PLC directory, PDSes, a relay and a Jetstream, and the accounts on
// them. Close it.
type Network struct {
	// Faults is what goes wrong.
	Faults *Faults

	cfg       Config
	plc       *server
	pdses     []*pds
	relay     *relay
	jet       *jet
	transport *http.Transport
	packer    *zstd.Encoder

	over  context.Context //nolint:containedctx // the network's life, which handlers of hijacked connections have no other sign of
	close context.CancelFunc

	requestsMu sync.Mutex // of closed, so that no request begins behind Close
	closed     bool
	requests   sync.WaitGroup

	mu       sync.RWMutex // of all that follows, and of the accounts
	clock    time.Time
	accounts map[syntax.DID]*Account
	inOrder  []*Account
	handles  map[syntax.Handle]*Account
}

// Start starts a network without accounts.
func Start(cfg Config) (*Network, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("testnet configuration: %w", err)
	}
	// One encoder for all: as fast as it gets, since only its form matters.
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderDict(jetstream.Dictionary()),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	n := &Network{
		Faults:   newFaults(cfg.Seed),
		cfg:      cfg,
		packer:   packer,
		clock:    cfg.Start,
		accounts: map[syntax.DID]*Account{},
		handles:  map[syntax.Handle]*Account{},
	}
	n.over, n.close = context.WithCancel(context.Background())
	n.transport = &http.Transport{}
	if err := n.listen(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Network) listen() (err error) {
	if n.plc, err = n.serve(n.servePLC); err != nil {
		return err
	}
	for i := range n.cfg.PDSes {
		p := &pds{n: n, index: i, stream: newFirehose()}
		if p.server, err = n.serve(p.serve); err != nil {
			return err
		}
		n.pdses = append(n.pdses, p)
	}
	n.relay = &relay{n: n, stream: newFirehose()}
	if n.relay.server, err = n.serve(n.relay.serve); err != nil {
		return err
	}
	n.jet = &jet{n: n, changed: make(chan struct{})}
	n.jet.server, err = n.serve(n.jet.serve)
	return err
}

// Close ends all connections and waits for what served them.
func (n *Network) Close() {
	n.close()
	n.requestsMu.Lock()
	n.closed = true
	n.requestsMu.Unlock()
	servers := []*server{n.plc}
	for _, p := range n.pdses {
		servers = append(servers, p.server)
	}
	if n.relay != nil {
		servers = append(servers, n.relay.server)
	}
	if n.jet != nil {
		servers = append(servers, n.jet.server)
	}
	for _, s := range servers {
		if s != nil {
			s.stop()
		}
	}
	n.requests.Wait() // also websockets, of which an HTTP server does not know
	n.transport.CloseIdleConnections()
	n.packer.Close()
}

// PLC is the base URL of the directory: GET /{did}.
func (n *Network) PLC() string { return n.plc.url() }

// PDS is the base URL of host i.
func (n *Network) PDS(i int) string { return n.pdses[i].server.url() }

// PDSFirehose is where host i streams (ws://…/xrpc/com.atproto.sync.subscribeRepos).
func (n *Network) PDSFirehose(i int) string { return streamURL(n.PDS(i), subscribeRepos) }

// Relay is the relay's base URL.
func (n *Network) Relay() string { return n.relay.server.url() }

// Firehose is where the relay streams (ws://…/xrpc/com.atproto.sync.subscribeRepos).
func (n *Network) Firehose() string { return streamURL(n.Relay(), subscribeRepos) }

// Jetstream is the legacy wire (ws://…/subscribe).
func (n *Network) Jetstream() string { return streamURL(n.jet.server.url(), "/subscribe") }

// JetstreamV2 is the new live wire (ws://…/xrpc/network.bsky.jetstream.subscribeEvents).
func (n *Network) JetstreamV2() string { return streamURL(n.jet.server.url(), subscribeEvents) }

func streamURL(base, path string) string { return "ws" + strings.TrimPrefix(base, "http") + path }

// LookupTXT is a resolver's, for handles: _atproto.<handle>. Handles of accounts
// without [Spec.DNS] have no such record.
func (n *Network) LookupTXT(_ context.Context, name string) ([]string, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	handle, ok := strings.CutPrefix(name, "_atproto.")
	if a := n.handles[syntax.Handle(handle)]; ok && a != nil && a.dns {
		return []string{"did=" + string(a.did)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// Transport makes requests to handles, and to the hosts of did:web, end at the
// network, over plain HTTP whatever the scheme; others go where they say.
func (n *Network) Transport() http.RoundTripper { return transport{n} }

type transport struct{ n *Network }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.n.mu.RLock()
	a := t.n.handles[syntax.Handle(r.URL.Hostname())]
	var host string
	if a != nil {
		host = strings.TrimPrefix(t.n.PDS(a.pds), "http://")
	}
	t.n.mu.RUnlock()
	if a != nil {
		r = r.Clone(r.Context())
		if r.Host == "" {
			r.Host = r.URL.Host
		}
		r.URL.Scheme, r.URL.Host = "http", host
	}
	return t.n.transport.RoundTrip(r)
}

// Forget makes relay and Jetstream lose all that they have emitted so far, as time
// does: a cursor of before is outdated, and what accounts have must be had from
// their PDSes.
func (n *Network) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.relay.stream.forget()
	n.jet.forget()
}

// RestartRelay has the relay begin its sequence numbers anew, as one that lost its
// disk does. Its connections are cut, and what it emitted is gone.
func (n *Network) RestartRelay() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.relay.stream.restart()
}

// Inject has the relay emit a frame that no PDS emitted. The frame is made for each
// subscriber from the sequence number that it gets.
func (n *Network) Inject(frame func(seq int64) []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.relay.stream.append(&event{}, frame)
}

// RelaySeq is the sequence number of the relay's newest frame; 0 before the first.
func (n *Network) RelaySeq() int64 { return n.relay.stream.tip() }

// JetstreamSeq is the sequence number of the Jetstream's newest event, the `seq` and
// `cursor` of its wires; 0 before the first.
func (n *Network) JetstreamSeq() int64 {
	n.jet.mu.Lock()
	defer n.jet.mu.Unlock()
	return n.jet.last
}

// Now is the network's time: that of the last action, unless Config.Clock is set.
func (n *Network) Now() time.Time {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.now()
}

func (n *Network) now() time.Time {
	if n.cfg.Clock != nil {
		return n.cfg.Clock()
	}
	return n.clock
}

// tick is the time of an action. It never stands still: revisions depend on it.
func (n *Network) tick() time.Time {
	at := n.clock.Add(n.cfg.Step)
	if n.cfg.Clock != nil {
		at = n.cfg.Clock()
	}
	at = at.UTC().Truncate(time.Microsecond)
	if !at.After(n.clock) {
		at = n.clock.Add(time.Microsecond)
	}
	n.clock = at
	return at
}

// Account finds an account; nil if there is none.
func (n *Network) Account(did syntax.DID) *Account {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.accounts[did]
}

// Accounts are all accounts, also those that are deleted, in the order in which
// they came.
func (n *Network) Accounts() []*Account {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return slices.Clone(n.inOrder)
}

// server is an HTTP server on a port of its own.
type server struct {
	http     *http.Server
	listener net.Listener
	done     chan struct{}
}

func (n *Network) serve(handler http.HandlerFunc) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("testnet: %w", err)
	}
	s := &server{
		http: &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.enter() {
					defer n.requests.Done()
					handler(w, r)
				}
			}),
			ReadHeaderTimeout: 10 * time.Second,
		},
		listener: listener,
		done:     make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // it ends with stop
	}()
	return s, nil
}

func (n *Network) enter() bool {
	n.requestsMu.Lock()
	defer n.requestsMu.Unlock()
	if !n.closed {
		n.requests.Add(1)
	}
	return !n.closed
}

func (s *server) url() string { return "http://" + s.listener.Addr().String() }

func (s *server) stop() {
	s.http.Close()
	<-s.done
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has hung up
}

// xrpcError answers as https://atproto.com/specs/xrpc#error-responses has it.
func xrpcError(w http.ResponseWriter, status int, name, message string) {
	writeJSON(w, status, map[string]string{"error": name, "message": message})
}

// limit reads a page's size.
func limit(q url.Values, otherwise, most int) (int, bool) {
	s := q.Get("limit")
	if s == "" {
		return otherwise, true
	}
	v, err := strconv.Atoi(s)
	return v, err == nil && 1 <= v && v <= most
}

// cut ends the connection without an answer, or in the middle of one.
func cut() { panic(http.ErrAbortHandler) }

// wait is false if the client has left before.
func (n *Network) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-n.over.Done():
	}
	return false
}
