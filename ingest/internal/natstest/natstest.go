// Package natstest gives tests a NATS server of their own that can be stopped
// and started again on the same port and data: what a client sees when a server
// restarts. It is for the tests of package ingest alone.
package natstest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a NATS server with file storage.
type Server struct {
	t    testing.TB
	opts server.Options
	addr string
	srv  *server.Server
}

// Start starts a server; it ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, opts: server.Options{
		Host:       "127.0.0.1",
		Port:       server.RANDOM_PORT,
		JetStream:  true,
		StoreDir:   t.TempDir(),
		NoLog:      true,
		NoSigs:     true,
		MaxPayload: 8 << 20,
	}}
	t.Cleanup(s.Stop)
	s.Restart()
	return s
}

// Restart starts the server again, on the same port, with the same data.
func (s *Server) Restart() {
	s.t.Helper()
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		s.t.Fatal("NATS server does not get ready")
	}
	s.srv = srv
	if s.addr == "" {
		s.addr = srv.Addr().String()
		s.opts.Port = opts.Port
	}
}

// SetMaxPayload takes effect with the next Restart.
func (s *Server) SetMaxPayload(n int32) { s.opts.MaxPayload = n }

// Stop stops the server. It may be called twice.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// StoreDir is where the server keeps its streams.
func (s *Server) StoreDir() string { return s.opts.StoreDir }

// Connect connects a client that never gives up; it ends with the test.
func (s *Server) Connect() *nats.Conn {
	s.t.Helper()
	return s.connect(s.addr)
}

func (s *Server) connect(addr string) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect("nats://"+addr,
		nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}
