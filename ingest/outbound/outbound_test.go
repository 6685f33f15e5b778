package outbound

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
)

func newClient(t *testing.T, cfg Config) *http.Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func addrOf(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestNotPublic(t *testing.T) {
	t.Parallel()
	for _, a := range []string{
		"0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.8.8", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
		"203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8",
		"64:ff9b:1::1", "100::1", "2001::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd12::1",
		"fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1",
	} {
		if notPublic(netip.MustParseAddr(a)) == "" {
			t.Errorf("%s passes as public", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1", "223.255.255.255",
		"2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"} {
		if reason := notPublic(netip.MustParseAddr(a)); reason != "" {
			t.Errorf("%s is refused as %s", a, reason)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	s := serve(t, func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	_, port, err := net.SplitHostPort(addrOf(s))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"} {
		_, err := Get(t.Context(), c, "http://"+host+":"+port+"/", 10)
		var blocked *BlockedError
		var unknown *net.DNSError // 127.1 is a name here, to others an address
		if !errors.As(err, &blocked) && !errors.As(err, &unknown) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if len(asked) > 0 {
		t.Error("a guarded client reached loopback")
	}
	if _, err := Get(t.Context(), newClient(t, Config{AllowPrivate: true}), s.URL, 10); err != nil {
		t.Error(err)
	}
	t.Run("Port", func(t *testing.T) {
		t.Parallel()
		d, err := NewDialer(Config{})
		if err != nil {
			t.Fatal(err)
		}
		for address, want := range map[string]string{"8.8.8.8:443": "", "8.8.8.8:80": "", "8.8.8.8:25": "port 25", "8.8.8.8:8443": "port 8443", "10.0.0.1:443": "private"} {
			err := d.guard("tcp4", address, nil)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v", address, err)
			}
		}
		if d.guard("udp4", "8.8.8.8:443", nil) == nil {
			t.Error("UDP passes")
		}
		if d, err = NewDialer(Config{Ports: []uint16{8443}}); err != nil || d.guard("tcp4", "8.8.8.8:8443", nil) != nil {
			t.Error("a port that was added is refused", err)
		}
	})
}

// TestRedirect has a host that Config.Hosts names, and so is trusted, send us to
// places.
func TestRedirect(t *testing.T) {
	t.Parallel()
	secret := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("auth=" + r.Header.Get("Authorization") + r.Header.Get("Dpop") + r.Header.Get("Cookie") + r.Header.Get("Referer")))
	})
	front := serve(t, func(w http.ResponseWriter, r *http.Request) {
		to := r.URL.Query().Get("to")
		if to == "" {
			w.Write([]byte("here, auth=" + r.Header.Get("Authorization")))
			return
		}
		http.Redirect(w, r, to, http.StatusFound)
	})
	hosts := map[string]string{"front.test": addrOf(front), "other.test": addrOf(secret), "sub.front.test": addrOf(secret)}
	get := func(t *testing.T, cfg Config, to string) (string, error) {
		t.Helper()
		cfg.Hosts = hosts
		c := newClient(t, cfg)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://front.test/?to="+url.QueryEscape(to), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer xyz")
		req.Header.Set("DPoP", "xyz")
		req.Header.Set("Cookie", "xyz")
		resp, err := c.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}

	var blocked *BlockedError
	if _, err := get(t, Config{}, secret.URL); !errors.As(err, &blocked) {
		t.Errorf("redirect to loopback: %v", err)
	}
	for _, to := range []string{"file:///etc/passwd", "gopher://front.test/", "ftp://other.test/"} {
		if body, err := get(t, Config{}, to); err == nil {
			t.Errorf("redirect to %s: %q", to, body)
		}
	}
	for _, to := range []string{"http://other.test/", "http://sub.front.test/", "http://front.test/?to=" + url.QueryEscape("http://sub.front.test/")} {
		if body, err := get(t, Config{}, to); err != nil || body != "auth=" {
			t.Errorf("redirect to %s: %q, %v", to, body, err)
		}
	}
	if body, err := get(t, Config{}, "http://front.test/"); err != nil || body != "here, auth=Bearer xyz" {
		t.Errorf("redirect to the same host: %q, %v", body, err)
	}
	chain := "http://front.test/"
	for range 3 {
		chain = "http://front.test/?to=" + url.QueryEscape(chain)
	}
	if _, err := get(t, Config{MaxRedirects: 4}, chain); err != nil {
		t.Error(err)
	}
	if _, err := get(t, Config{MaxRedirects: 3}, chain); err == nil || !strings.Contains(err.Error(), "more than 3 redirects") {
		t.Errorf("four redirects: %v", err)
	}
}

func TestDowngrade(t *testing.T) {
	t.Parallel()
	plain := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("plain")) })
	secure := httptest.NewTLSServer(http.RedirectHandler("http://plain.test/", http.StatusFound))
	t.Cleanup(secure.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{CAFile: file, Hosts: map[string]string{"plain.test": addrOf(plain), "example.com": addrOf(secure)}}
	if _, err := Get(t.Context(), newClient(t, cfg), "https://example.com/", 10); err == nil || !strings.Contains(err.Error(), "https to http") {
		t.Errorf("redirect to http: %v", err)
	}
	cfg.AllowPrivate = true
	if body, err := Get(t.Context(), newClient(t, cfg), "https://example.com/", 10); err != nil || string(body) != "plain" {
		t.Errorf("with AllowPrivate: %q, %v", body, err)
	}
	cfg.CAFile = ""
	if _, err := Get(t.Context(), newClient(t, cfg), "https://example.com/", 10); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: %v", err)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	d, err := NewDialer(Config{Hosts: map[string]string{
		"PDS.test": "10.0.0.1", "pds.test:8080": "10.0.0.2:81", "*.pds.test": "[::1]", "a.pds.test": "10.0.0.3:1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"pds.test:443": "10.0.0.1:443", "pds.test:8080": "10.0.0.2:81", "b.c.PDS.test:443": "[::1]:443", "a.pds.test:443": "10.0.0.3:1",
		"test:443": "", "xpds.test:443": "", "[::2]:443": "",
	} {
		if got, _ := d.override(address); got != want {
			t.Errorf("%s goes to %q, want %q", address, got, want)
		}
	}
	for _, bad := range []Config{{Hosts: map[string]string{"a.*": "1.1.1.1"}}, {Hosts: map[string]string{"a": ""}}, {MaxRedirects: -1}, {CAFile: "/nowhere"}} {
		if _, err := New(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestReadAll(t *testing.T) {
	t.Parallel()
	if b, err := ReadAll(strings.NewReader("12345"), 5); err != nil || string(b) != "12345" {
		t.Error(b, err)
	}
	var large *TooLargeError
	if _, err := ReadAll(strings.NewReader("123456"), 5); !errors.As(err, &large) || large.Limit != 5 {
		t.Error(err)
	}
	// Small on the wire, large after decompression: the limit is on what comes out.
	zeros := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(gzipped(1 << 20))
	})
	if _, err := Get(t.Context(), newClient(t, Config{AllowPrivate: true}), zeros.URL, 1<<16); !errors.As(err, &large) {
		t.Error(err)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") != "atview" {
			t.Errorf("user agent %q", r.Header.Get("User-Agent"))
		}
		switch r.URL.Path {
		case "/good":
			w.Write([]byte(`{"a":1}`))
		case "/bad":
			w.Write([]byte(`<html>`))
		default:
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
			w.Write([]byte(`{"error":"RateLimitExceeded","message":"slower, please"}`))
		}
	})
	c := newClient(t, Config{AllowPrivate: true})
	var v struct{ A int }
	if err := JSON(t.Context(), c, s.URL+"/good", 100, &v); err != nil || v.A != 1 {
		t.Error(v, err)
	}
	if err := JSON(t.Context(), c, s.URL+"/bad", 100, &v); err == nil {
		t.Error("HTML is JSON")
	}
	err := JSON(t.Context(), c, s.URL+"/", 100, &v)
	var status *StatusError
	if !errors.As(err, &status) || status.Status != 429 || status.Name != "RateLimitExceeded" || status.Message != "slower, please" || !status.Temporary() {
		t.Fatalf("%#v", err)
	}
	if d := status.RetryAfter(time.Now(), time.Hour); d < 20*time.Second || d > 30*time.Second {
		t.Error("asked to wait", d)
	}
	if d := status.RetryAfter(time.Now(), time.Second); d != time.Second {
		t.Error("not bounded:", d)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	now := time.Now()
	in := func(d time.Duration) func(time.Time) bool {
		return func(at time.Time) bool { return at.Sub(now).Round(5*time.Second) == d }
	}
	for name, c := range map[string]struct {
		status  int
		header  map[string]string
		body    string
		text    string
		retry   func(time.Time) bool
		forever bool
	}{
		"xrpc":        {status: 400, body: `{"error":"RepoNotFound","message":"Could not find repo"}`, text: `host.test answers HTTP 400 RepoNotFound: "Could not find repo"`, forever: true},
		"text":        {status: 502, body: "bad gateway\n", text: `host.test answers HTTP 502: "bad gateway"`},
		"html":        {status: 503, header: map[string]string{"Content-Type": "text/html; charset=utf-8"}, body: "<html>", text: `host.test answers HTTP 503`},
		"plc":         {status: 404, body: `{"message":"DID not registered"}`, text: `host.test answers HTTP 404: "DID not registered"`, forever: true},
		"error twice": {status: 400, body: `{"error":{"a":1}}`, text: `host.test answers HTTP 400: "{\"error\":{\"a\":1}}"`, forever: true},
		"long":        {status: 404, body: strings.Repeat("ä", 5000), text: `host.test answers HTTP 404: "` + strings.Repeat("ä", 150) + `..."`, forever: true},
		"seconds":     {status: 429, header: map[string]string{"Retry-After": "120"}, retry: in(2 * time.Minute)},
		"date":        {status: 503, header: map[string]string{"Retry-After": now.Add(time.Hour).UTC().Format(http.TimeFormat)}, retry: in(time.Hour)},
		"reset epoch": {status: 429, header: map[string]string{"Ratelimit-Reset": "2000000000"}, retry: func(at time.Time) bool { return at.Unix() == 2000000000 }},
		"reset delta": {status: 429, header: map[string]string{"Ratelimit-Reset": "60"}, retry: in(time.Minute)},
		"not limited": {status: 500, header: map[string]string{"Ratelimit-Reset": "60", "Ratelimit-Remaining": "2999"}, retry: time.Time.IsZero},
		"nonsense":    {status: 429, header: map[string]string{"Retry-After": "NaN", "Ratelimit-Reset": "-4"}, retry: time.Time.IsZero},
		"ages":        {status: 429, header: map[string]string{"Retry-After": "1e300"}, retry: func(at time.Time) bool { return at.After(now.AddDate(50, 0, 0)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := &http.Response{StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.body)),
				Request: &http.Request{URL: &url.URL{Host: "host.test"}}}
			for k, v := range c.header {
				resp.Header.Set(k, v)
			}
			var e *StatusError
			if !errors.As(Check(resp), &e) {
				t.Fatal("no StatusError")
			}
			if c.text != "" && e.Error() != c.text {
				t.Errorf("%s\nwant %s", e, c.text)
			}
			if c.retry != nil && !c.retry(e.RetryAt) {
				t.Errorf("retry at %s", e.RetryAt)
			}
			if e.Temporary() == c.forever {
				t.Error("temporary:", e.Temporary())
			}
		})
	}
	if err := Check(&http.Response{StatusCode: http.StatusNoContent}); err != nil {
		t.Error(err)
	}
}

// TestWebsocket has both of the libraries that atview uses go through the guard.
func TestWebsocket(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		conn.Write(r.Context(), websocket.MessageText, []byte("hello")) //nolint:errcheck // the client sees it
		conn.Close(websocket.StatusNormalClosure, "")
	}))
	t.Cleanup(s.Close)
	cfg := Config{Hosts: map[string]string{"example.com": addrOf(s)}, RootCAs: newPool(s)}
	d, err := NewDialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	client := d.Client()
	defer client.CloseIdleConnections()
	conn, _, err := websocket.Dial(ctx, "wss://example.com/", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	if _, b, err := conn.Read(ctx); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	conn.CloseNow() //nolint:errcheck // it is over anyway
	var blocked *BlockedError
	if _, _, err := websocket.Dial(ctx, "wss://"+addrOf(s), &websocket.DialOptions{HTTPClient: client}); !errors.As(err, &blocked) {
		t.Error(err)
	}

	dialer := gorilla.Dialer{NetDialContext: d.DialContext, TLSClientConfig: d.TLS()}
	gconn, _, err := dialer.DialContext(ctx, "wss://example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, b, err := gconn.ReadMessage(); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	gconn.Close()
	if _, _, err := dialer.DialContext(ctx, "wss://"+addrOf(s), nil); !errors.As(err, &blocked) {
		t.Error(err)
	}
}
