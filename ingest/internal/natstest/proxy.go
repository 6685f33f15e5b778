package natstest

import (
	"io"
	"net"
	"sync"

	"github.com/nats-io/nats.go"
)

// Proxy stands between clients and the server, and cuts their connections: what
// is on the way then is lost, in both directions.
type Proxy struct {
	s  *Server
	ln net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// Proxy starts a proxy; it ends with the test.
func (s *Server) Proxy() *Proxy {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	p := &Proxy{s: s, ln: ln}
	p.wg.Go(p.accept)
	s.t.Cleanup(func() {
		ln.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Connect connects a client through the proxy, as [Server.Connect] does.
func (p *Proxy) Connect() *nats.Conn {
	p.s.t.Helper()
	return p.s.connect(p.ln.Addr().String())
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.s.addr)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			p.wg.Go(func() {
				io.Copy(pair[0], pair[1]) //nolint:errcheck // its end is all that matters
				pair[0].Close()
				pair[1].Close()
			})
		}
	}
}
