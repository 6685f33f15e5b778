package outbound

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config says whom we speak to, and how.
type Config struct {
	// AllowPrivate lets names and redirects lead anywhere, this machine included, on
	// any port. It is for test networks, and for networks where whoever writes DID
	// documents is trusted with all that this machine can reach.
	AllowPrivate bool
	// Ports that may be reached without AllowPrivate. Default 80 and 443: other ports
	// would make us a port scanner for whoever writes DID documents, and relays do
	// not crawl hosts on other ports either.
	Ports []uint16
	// Hosts gives names an address of their own (host or host:port), in place of
	// DNS; a name may be host, host:port, or *.host for all names below it. What is
	// named here is trusted and not checked: it is for split-horizon DNS, and for
	// tests. TLS certificates are still checked against the name.
	Hosts map[string]string
	// RootCAs are the certificate authorities to trust. Default: the system's.
	RootCAs *x509.CertPool
	// CAFile has more of them, in PEM.
	CAFile string
	// UserAgent is what the hosts' operators see. Default "atview".
	UserAgent string
	// DialTimeout bounds the making of a connection, TLSTimeout its handshake.
	// Default 10 s each: who needs longer is as good as away.
	DialTimeout, TLSTimeout time.Duration
	// HeaderTimeout bounds the wait for an answer to begin. Default 30 s: a PDS may
	// have to read a large repository from a cold disk first. How long the body may
	// take is up to the request's ctx.
	HeaderTimeout time.Duration
	// MaxHeaderBytes bounds an answer's header. Default 64 KiB.
	MaxHeaderBytes int64
	// MaxRedirects is how often an answer may send us elsewhere. Default 5.
	MaxRedirects int
	// MaxIdlePerHost is how many connections to a host are kept for the next request.
	// Default 4: most hosts hold few accounts, and a hosting company's are many hosts.
	MaxIdlePerHost int
}

func (c *Config) validate() error {
	var faults []error
	for name, addr := range c.Hosts {
		if name == "" || addr == "" || strings.Contains(strings.TrimPrefix(name, "*."), "*") {
			faults = append(faults, fmt.Errorf("host %q at %q: want NAME, NAME:PORT or *.NAME, and an address", name, addr))
		}
	}
	if c.MaxRedirects < 0 || c.MaxHeaderBytes < 0 || c.MaxIdlePerHost < 0 || c.DialTimeout < 0 || c.TLSTimeout < 0 || c.HeaderTimeout < 0 {
		faults = append(faults, errors.New("limits must not be negative"))
	}
	if len(c.Ports) == 0 {
		c.Ports = []uint16{80, 443}
	}
	c.UserAgent = cmp.Or(c.UserAgent, "atview")
	c.DialTimeout = cmp.Or(c.DialTimeout, 10*time.Second)
	c.TLSTimeout = cmp.Or(c.TLSTimeout, 10*time.Second)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 30*time.Second)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 64<<10)
	c.MaxRedirects = cmp.Or(c.MaxRedirects, 5)
	c.MaxIdlePerHost = cmp.Or(c.MaxIdlePerHost, 4)
	return errors.Join(faults...)
}

// New makes a client. It is safe for concurrent use; CloseIdleConnections ends
// what it keeps. It has no timeout for bodies, since a websocket's is its life:
// each request's ctx needs a deadline. Proxies of the environment are not heeded,
// as a proxy looks names up by itself, past the guard.
func New(cfg Config) (*http.Client, error) {
	d, err := NewDialer(cfg)
	if err != nil {
		return nil, err
	}
	return d.Client(), nil
}

// Dialer makes connections under the guard. It is safe for concurrent use.
type Dialer struct {
	cfg   Config
	hosts map[string]string // names in lower case
	roots *x509.CertPool
	net   net.Dialer // guarded
	free  net.Dialer // for addresses of Config.Hosts
}

// NewDialer makes a dialer.
func NewDialer(cfg Config) (*Dialer, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("outbound configuration: %w", err)
	}
	roots, err := rootCAs(cfg)
	if err != nil {
		return nil, fmt.Errorf("outbound configuration: %w", err)
	}
	d := &Dialer{cfg: cfg, hosts: map[string]string{}, roots: roots}
	for name, addr := range cfg.Hosts {
		d.hosts[strings.ToLower(name)] = addr
	}
	d.free = net.Dialer{Timeout: cfg.DialTimeout, KeepAlive: 30 * time.Second}
	d.net = d.free
	d.net.Control = d.guard
	return d, nil
}

func rootCAs(cfg Config) (*x509.CertPool, error) {
	if cfg.CAFile == "" {
		return cfg.RootCAs, nil
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	var pool *x509.CertPool
	if cfg.RootCAs != nil {
		pool = cfg.RootCAs.Clone()
	} else if pool, err = x509.SystemCertPool(); err != nil {
		return nil, fmt.Errorf("system's certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s has no certificate in PEM", cfg.CAFile)
	}
	return pool, nil
}

// DialContext connects to an address (host:port) as [net.Dialer.DialContext] does.
// It fails with a [BlockedError] if the host has none but addresses that may not
// be reached.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if to, ok := d.override(address); ok {
		return d.free.DialContext(ctx, network, to)
	}
	return d.net.DialContext(ctx, network, address)
}

// override is what Config.Hosts has for an address: the most exact name wins.
func (d *Dialer) override(address string) (string, bool) {
	if len(d.hosts) == 0 {
		return "", false
	}
	host, port, err := net.SplitHostPort(strings.ToLower(address))
	if err != nil {
		return "", false
	}
	to, ok := d.hosts[net.JoinHostPort(host, port)]
	if !ok {
		to, ok = d.hosts[host]
	}
	for rest := host; !ok; {
		var more bool
		if _, rest, more = strings.Cut(rest, "."); !more {
			return "", false
		}
		to, ok = d.hosts["*."+rest]
	}
	if _, _, err := net.SplitHostPort(to); err != nil {
		to = net.JoinHostPort(strings.Trim(to, "[]"), port)
	}
	return to, true
}

// guard is called for each address that a name has, before it is connected to.
func (d *Dialer) guard(network, address string, _ syscall.RawConn) error {
	if d.cfg.AllowPrivate {
		return nil
	}
	blocked := func(reason string) error { return &BlockedError{address, reason} }
	if network != "tcp4" && network != "tcp6" {
		return blocked("no TCP")
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return blocked("no IP address")
	}
	if reason := notPublic(ap.Addr()); reason != "" {
		return blocked(reason + ", and not public (private hosts are not allowed)")
	}
	if !slices.Contains(d.cfg.Ports, ap.Port()) {
		return blocked("port " + strconv.Itoa(int(ap.Port())) + " is not among those allowed")
	}
	return nil
}

// TLS is a configuration for whoever makes TLS connections over DialContext: a
// copy of its own each time.
func (d *Dialer) TLS() *tls.Config {
	return &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS12}
}

// Client makes an HTTP client; see [New].
func (d *Dialer) Client() *http.Client {
	t := &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        d.TLS(),
		TLSHandshakeTimeout:    d.cfg.TLSTimeout,
		ResponseHeaderTimeout:  d.cfg.HeaderTimeout,
		MaxResponseHeaderBytes: d.cfg.MaxHeaderBytes,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           256, // some 10 MB of buffers
		MaxIdleConnsPerHost:    d.cfg.MaxIdlePerHost,
		IdleConnTimeout:        time.Minute,
	}
	return &http.Client{Transport: &transport{t, d.cfg.UserAgent}, CheckRedirect: d.redirect}
}

// credentials are headers that are meant for the host that was asked.
var credentials = []string{"Authorization", "Cookie", "Dpop", "Proxy-Authorization", "Www-Authenticate", "X-Api-Key"}

// redirect holds redirects to what was asked for. Their addresses are checked by
// guard, as every connection's.
func (d *Dialer) redirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	switch {
	case len(via) > d.cfg.MaxRedirects:
		return fmt.Errorf("more than %d redirects", d.cfg.MaxRedirects)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return fmt.Errorf("redirect to scheme %q", req.URL.Scheme)
	case last.Scheme == "https" && req.URL.Scheme == "http" && !d.cfg.AllowPrivate:
		return fmt.Errorf("redirect from https to http, at %s", req.URL.Host)
	}
	// net/http drops some of these, but not towards a subdomain, whose owner may be
	// another: on hosts of handles everybody has one.
	if slices.ContainsFunc(via[1:], func(r *http.Request) bool { return !sameOrigin(r, via[0]) }) || !sameOrigin(req, via[0]) {
		for _, h := range credentials {
			req.Header.Del(h)
		}
		req.Header.Del("Referer") // its query may be as secret as a header
	}
	return nil
}

func sameOrigin(a, b *http.Request) bool {
	return a.URL.Scheme == b.URL.Scheme && strings.EqualFold(a.URL.Host, b.URL.Host)
}

// transport says who we are. It returns bodies as they are: a websocket's has to
// be writable.
type transport struct {
	*http.Transport
	userAgent string
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", t.userAgent)
	}
	return t.Transport.RoundTrip(req)
}
