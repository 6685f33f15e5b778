package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/jetstream"
)

// ServerConfig says how a network is served.
type ServerConfig struct {
	// Rate is events per second. 0 is as fast as all subscribers read: without any,
	// or while one lags, nothing happens.
	Rate float64
	// Events is after how many the network falls silent; 0 is never. What is kept
	// can still be read.
	Events int64
	// Await holds the first event back until the first subscriber is there.
	Await bool
	// History is how many bytes of events are kept for cursors; 0 means 256 MiB,
	// about 400,000 events. A subscriber whose next event is no longer kept is cut
	// off.
	History int64
	// WriteTimeout is how long a write may wait for a subscriber to read before it
	// is cut off; 0 means 5 s, as others do.
	WriteTimeout time.Duration
	// Ping is how often a subscriber that gets no events is pinged; 0 means 30 s.
	Ping time.Duration
	// Log gets a line for each subscriber; the zero value is silent.
	Log zerolog.Logger
}

func (c ServerConfig) withDefaults() ServerConfig {
	if c.History == 0 {
		c.History = 256 << 20
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 5 * time.Second
	}
	if c.Ping == 0 {
		c.Ping = 30 * time.Second
	}
	return c
}

func (c ServerConfig) validate() error {
	var faults []error
	if c.Rate < 0 {
		faults = append(faults, fmt.Errorf("rate %g: not under 0", c.Rate))
	}
	if c.Events < 0 {
		faults = append(faults, fmt.Errorf("events %d: not under 0", c.Events))
	}
	if c.History < 0 || c.WriteTimeout < 0 || c.Ping < 0 {
		faults = append(faults, errors.New("history, write timeout and ping: none under 0"))
	}
	return errors.Join(faults...)
}

const (
	// batch is how many events are made at a time when there is no rate.
	batch = 64
	// lead is how far ahead of the slowest subscriber they are made. It is more than
	// a subscriber reads at a time, so that none waits for the other.
	lead = 8 * readEntries
)

// errShutdown says that the server ends.
var errShutdown = errors.New("server is shutting down")

// Server serves a [Model] as a Jetstream. After NewServer the model is the
// server's: only [Server.State] may look at it.
type Server struct {
	cfg     ServerConfig
	history *history
	packer  *zstd.Encoder
	done    chan struct{}

	mu     sync.Mutex // of the model, and of what follows
	model  *Model
	paused bool

	subMu sync.Mutex
	subs  map[*subscriber]bool
	// wake has room for one: something has changed that the generator may be
	// waiting for.
	wake  chan struct{}
	conns sync.WaitGroup
}

// NewServer prepares to serve m. Nothing happens before [Server.Serve].
func NewServer(m *Model, cfg ServerConfig) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	// The fastest level takes a third of the default's time and gives the same size:
	// what an event has in common with others is in the dictionary.
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderDict(jetstream.Dictionary()),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	return &Server{
		cfg:     cfg,
		history: newHistory(cfg.History),
		packer:  packer,
		done:    make(chan struct{}),
		model:   m,
		subs:    map[*subscriber]bool{},
		wake:    make(chan struct{}, 1),
	}, nil
}

// Done is closed once [ServerConfig.Events] events have happened.
func (s *Server) Done() <-chan struct{} { return s.done }

// Serve makes events and sends them to whoever subscribes, until ctx is done,
// which is no error, or the listener fails. It closes the listener. It may be
// called once.
//
//	GET  /subscribe  the legacy Jetstream wire
//	GET  /           [Status] as JSON
//	GET  /state      [State] as JSON lines; with ?records=full also the records
//	POST /pause      no more events until
//	POST /resume
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	subscribers, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	server := &http.Server{
		Handler:           s.routes(subscribers),
		ReadHeaderTimeout: 10 * time.Second,
	}
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", listener.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop(errShutdown)
		// Bounded: a client that stalls in the middle of /state must not keep us.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.WriteTimeout)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			return server.Close()
		}
		return nil
	})
	group.Go(func() error { s.generate(ctx); return nil })
	err := group.Wait()
	s.conns.Wait() // websockets, of which Shutdown does not know
	return err
}

// generate makes events at the rate, or as fast as they are read.
func (s *Server) generate(ctx context.Context) {
	if s.cfg.Await || s.cfg.Rate == 0 {
		if !s.await(ctx, func() bool { return s.lag() >= 0 }) {
			return
		}
	}
	var made int64
	start, timer := time.Now(), time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if s.isPaused() {
			if !s.await(ctx, func() bool { return !s.isPaused() }) {
				return
			}
			start, made = time.Now(), 0 // what was missed is not made up for
		}
		n := int64(batch)
		if s.cfg.Rate > 0 {
			n = int64(time.Since(start).Seconds()*s.cfg.Rate) + 1 - made
			if n <= 0 {
				next := time.Duration(float64(made) / s.cfg.Rate * float64(time.Second))
				// Not for each event: past 1,000 a second a timer costs more than an event.
				timer.Reset(max(time.Until(start.Add(next)), time.Millisecond))
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
				continue
			}
			n = min(n, 1024)
		} else if !s.await(ctx, func() bool { lag := s.lag(); return lag >= 0 && lag < lead }) {
			return
		}
		more := s.step(n)
		if made += n; !more {
			close(s.done)
			return
		}
	}
}

// step makes n events, or what is left of them; it returns false when that was
// all.
func (s *Server) step(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.cfg.Events - s.model.Events(); s.cfg.Events > 0 {
		n = min(n, left)
	}
	entries := make([]*entry, 0, max(n, 0))
	for range n {
		ev := s.model.Next()
		entries = append(entries, newEntry(&ev))
	}
	s.history.append(entries)
	return s.cfg.Events == 0 || s.model.Events() < s.cfg.Events
}

// await returns true once ready does, and false when ctx is done.
func (s *Server) await(ctx context.Context, ready func() bool) bool {
	for !ready() {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// progressed makes the generator look again.
func (s *Server) progressed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// lag is how many events the slowest subscriber has before it; -1 without any.
func (s *Server) lag() int64 {
	s.subMu.Lock()
	defer s.subMu.Unlock()
	lag, tip := int64(-1), s.history.tip()
	for sub := range s.subs {
		lag = max(lag, tip-sub.at.Load())
	}
	return lag
}

func (s *Server) joined(sub *subscriber) {
	s.subMu.Lock()
	s.subs[sub] = true
	s.subMu.Unlock()
	s.progressed()
}

func (s *Server) left(sub *subscriber) {
	s.subMu.Lock()
	delete(s.subs, sub)
	s.subMu.Unlock()
	s.progressed()
}

// pack compresses an event, once for all subscribers.
func (s *Server) pack(e *entry) []byte {
	if packed := e.packed.Load(); packed != nil {
		return *packed
	}
	packed := frame(opBinary, s.packer.EncodeAll(payload(e.frame), nil))
	e.packed.Store(&packed)
	return packed
}

// Pause stops events from happening until [Server.Resume].
func (s *Server) Pause() { s.setPaused(true) }

// Resume is the opposite of [Server.Pause].
func (s *Server) Resume() { s.setPaused(false) }

func (s *Server) setPaused(paused bool) {
	s.mu.Lock()
	s.paused = paused
	s.mu.Unlock()
	s.progressed()
}

func (s *Server) isPaused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused
}

// State is what a reader of all events so far should have.
func (s *Server) State() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.model.State()
}

// Status is how a server is doing.
type Status struct {
	Events       int64   `json:"events"` // so far
	Done         bool    `json:"done"`   // there will be no more
	Paused       bool    `json:"paused"`
	Rate         float64 `json:"rate"`
	Seed         uint64  `json:"seed"`
	Records      int     `json:"records"` // that exist now, visible or not
	Accounts     int     `json:"accounts"`
	Subscribers  int     `json:"subscribers"`
	Kept         int     `json:"kept"` // events that can be replayed
	HistoryBytes int64   `json:"history_bytes"`
	OldestUS     int64   `json:"oldest_us"` // time_us of the oldest event that can be replayed
	NewestUS     int64   `json:"newest_us"`
}

// Status may be called at any time, from any goroutine.
func (s *Server) Status() Status {
	s.mu.Lock()
	st := Status{
		Events:   s.model.Events(),
		Paused:   s.paused,
		Rate:     s.cfg.Rate,
		Seed:     s.model.cfg.Seed,
		Records:  len(s.model.byKey),
		Accounts: len(s.model.accounts),
	}
	s.mu.Unlock()
	st.Done = s.cfg.Events > 0 && st.Events >= s.cfg.Events
	st.Kept, st.HistoryBytes, st.OldestUS, st.NewestUS = s.history.extent()
	s.subMu.Lock()
	st.Subscribers = len(s.subs)
	s.subMu.Unlock()
	return st
}

func (s *Server) routes(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /subscribe", func(w http.ResponseWriter, r *http.Request) { s.subscribe(ctx, w, r) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Status())
	})
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jsonl")
		_ = s.State().Write(w, r.URL.Query().Get("records") == "full")
	})
	mux.HandleFunc("POST /pause", func(http.ResponseWriter, *http.Request) { s.Pause() })
	mux.HandleFunc("POST /resume", func(http.ResponseWriter, *http.Request) { s.Resume() })
	return mux
}

func (s *Server) subscribe(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	s.conns.Add(1)
	defer s.conns.Done()
	opts, err := parseOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sub := &subscriber{server: s, packed: opts.packed, hello: make(chan struct{}), start: s.history.tip}
	if opts.cursor != nil {
		sub.start = func() int64 { return s.history.seek(*opts.cursor) }
	}
	sub.filter.Store(opts.filter)
	if !opts.mustWait {
		// The place is taken before the client is let in: what happens after it has
		// our answer is its.
		at := sub.start()
		sub.start = func() int64 { return at }
		close(sub.hello)
	}
	if sub.conn, err = upgrader.Upgrade(w, r, nil); err != nil {
		return // it has answered
	}
	sub.socket = sub.conn.NetConn()
	log := s.cfg.Log.With().Str("component", "simulate").Str("subscriber", r.RemoteAddr).Logger()
	log.Info().Str("query", r.URL.RawQuery).Msg("subscribed")
	err = sub.run(ctx)
	log.Info().AnErr("reason", err).Msg("unsubscribed")
}
