package localnats

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

const (
	// defaultMaxPayload holds any event, with room: a commit has 2 MB of
	// blocks at most and a record 1 MB, but a record's JSON can be several
	// times its CBOR. NATS' own default of 1 MB does not.
	defaultMaxPayload = 32 << 20
	// maxPayload: a connection is cut when this much waits for it, so one
	// message must be less (NATS' default for max_pending).
	maxPayload = 64 << 20

	readyTimeout = 10 * time.Second
	stopTimeout  = 30 * time.Second
)

// Config says where the server keeps its data and who can reach it. Only Dir
// is required.
type Config struct {
	// Dir is the folder of the data, such as <data>/nats. Created if missing.
	Dir string

	// Log receives NATS' warnings and errors as such, the rest at debug.
	// Zero value: nothing is logged.
	Log zerolog.Logger

	// Port to listen on. Default (0): none, connections come from [Server.Connect]
	// only. -1: a free one, see [Server.URL].
	Port int

	// Host to listen on, if there is a port. Default: 127.0.0.1.
	Host string

	// MaxPayload is the size of the largest message in bytes. Default: 32 MiB;
	// at most 64 MiB.
	MaxPayload int32

	// StoreMax bounds the space that all streams take together, in bytes.
	// Default (0): three quarters of what is free on the disk at the start.
	StoreMax int64
}

func (c *Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("no folder given for NATS (Dir)"))
	}
	if c.Port < -1 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("%d is not a port for NATS", c.Port))
	}
	if c.MaxPayload < 0 || c.MaxPayload > maxPayload {
		errs = append(errs, fmt.Errorf("largest message of NATS: %d is not between 0 and %d bytes", c.MaxPayload, maxPayload))
	}
	if c.StoreMax < 0 {
		errs = append(errs, fmt.Errorf("space for NATS: %d is negative", c.StoreMax))
	}
	return errors.Join(errs...)
}

// Server is a running NATS. Its methods are safe for concurrent use.
type Server struct {
	log  zerolog.Logger
	nats *server.Server
	lock *flock.Flock
	open bool // listens on a port
}

// Start brings up the server of cfg.Dir and returns when its streams are
// recovered and it takes connections. The error is [ErrLocked] when another
// process has the folder.
func Start(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("folder of NATS: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of NATS: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		log:  cfg.Log,
		lock: lock,
		open: cfg.Port != 0,
	}
	if err := s.start(cfg, dir); err != nil {
		s.Stop()
		return nil, fmt.Errorf("start of NATS in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Server) start(cfg Config, dir string) error {
	began := time.Now()
	opts := &server.Options{
		ServerName:             "atview",
		Host:                   cfg.Host,
		Port:                   cfg.Port,
		DontListen:             !s.open,
		MaxPayload:             cfg.MaxPayload,
		JetStream:              true,
		JetStreamMaxStore:      cfg.StoreMax,
		StoreDir:               dir,
		NoSigs:                 true, // signals are for the process to handle
		DisableJetStreamBanner: true,
	}
	if opts.Host == "" {
		opts.Host = "127.0.0.1"
	}
	if opts.MaxPayload == 0 {
		opts.MaxPayload = defaultMaxPayload
	}
	var err error
	if s.nats, err = server.NewServer(opts); err != nil {
		return err
	}
	log := &logger{log: s.log}
	s.nats.SetLoggerV2(log, false, false, false)

	s.nats.Start()
	// NATS expects that a fatal error ends the process, and so returns none.
	if err := log.fatal(); err != nil {
		return err
	}
	if !s.nats.ReadyForConnections(readyTimeout) {
		return fmt.Errorf("not ready for connections after %v", readyTimeout)
	}
	s.log.Info().Dur("took", time.Since(began)).Str("dir", dir).Str("url", s.URL()).Msg("embedded NATS is ready")
	return nil
}

// Connect opens a connection within the process, which needs no port. The
// caller closes it. After [Server.Stop] it cannot reconnect.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(s.nats)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connection to the embedded NATS: %w", err)
	}
	return nc, nil
}

// URL is where other processes can connect, and empty if there is no port.
func (s *Server) URL() string {
	if !s.open {
		return ""
	}
	return s.nats.ClientURL()
}

// Stop shuts the server down, waits for that, and gives the folder free. Open
// connections are closed; close your own before, for an orderly end. Calling
// it again is harmless.
func (s *Server) Stop() {
	if s.nats != nil {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			s.nats.Shutdown()
			s.nats.WaitForShutdown()
		}()
		timeout := time.NewTimer(stopTimeout)
		defer timeout.Stop()
		select {
		case <-stopped:
		case <-timeout.C:
			// The lock is kept: the server may still write.
			s.log.Error().Dur("after", stopTimeout).Msg("embedded NATS does not shut down; leaving it to the end of the process")
			return
		}
	}
	_ = s.lock.Close() // closing the file is all there is to do; the process' end does it too
}
