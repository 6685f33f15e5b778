package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/outbound"
)

// world is what is outside: a PLC directory, DNS, and the hosts of handles and of
// did:web, all on one server.
type world struct {
	*httptest.Server

	mu    sync.Mutex
	docs  map[string]string // by DID, or by host/path
	down  bool              // the server answers 500
	dns   map[string][]string
	noDNS bool // DNS does not answer
	asked map[string]int
	// hold, if not nil, is asked for the DID before a document is given out.
	hold func(did string)
}

const plcHost = "plc.test"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{docs: map[string]string{}, dns: map[string][]string{}, asked: map[string]int{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	name := r.Host + r.URL.Path
	if r.Host == plcHost {
		name = strings.TrimPrefix(r.URL.Path, "/")
	}
	w.mu.Lock()
	w.asked[name]++
	doc, ok := w.docs[name]
	down, hold := w.down, w.hold
	w.mu.Unlock()
	if hold != nil {
		hold(name)
	}
	switch {
	case down:
		http.Error(rw, "out of order", http.StatusInternalServerError)
	case !ok:
		http.Error(rw, `{"message":"DID not registered"}`, http.StatusNotFound)
	case strings.HasPrefix(doc, "status "):
		status, err := strconv.Atoi(doc[len("status "):])
		if err != nil {
			panic(err)
		}
		rw.Header().Set("Retry-After", "1")
		rw.WriteHeader(status)
	default:
		rw.Write([]byte(doc))
	}
}

func (w *world) LookupTXT(_ context.Context, name string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[name]++
	if w.noDNS {
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	if txt, ok := w.dns[name]; ok {
		return txt, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) count(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[name]
}

// resolver asks this world. Hosts of all names ending in .test are in it.
func (w *world) resolver(t *testing.T, change ...func(*ResolverConfig)) *Resolver {
	t.Helper()
	addr := w.Listener.Addr().String()
	client, err := outbound.New(outbound.Config{AllowPrivate: true, Hosts: map[string]string{"*.test": addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	cfg := ResolverConfig{HTTP: client, DNS: w, PLC: "http://" + plcHost, AllowPrivate: true, PLCRate: 1e6, PLCBurst: 1e6}
	for _, f := range change {
		f(&cfg)
	}
	r, err := NewResolver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// account puts an account into the world, with a handle that leads to it by DNS.
func (w *world) account(t *testing.T, n int) (syntax.DID, syntax.Handle, atcrypto.PublicKey) {
	t.Helper()
	did, handle := syntax.DID(fmt.Sprintf("did:plc:%024d", n)), syntax.Handle(fmt.Sprintf("user%d.test", n))
	key := newKey(t)
	w.set(func() {
		w.docs[string(did)] = document(did, handle, "https://pds.test", key)
		w.dns["_atproto."+string(handle)] = []string{"v=spf1", "did=" + string(did)}
	})
	return did, handle, key
}

func newKey(t *testing.T) atcrypto.PublicKey {
	t.Helper()
	private, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	key, err := private.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// document is as the PLC directory writes it.
func document(did syntax.DID, handle syntax.Handle, pds string, key atcrypto.PublicKey) string {
	b, err := json.Marshal(map[string]any{
		"@context":    []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"},
		"id":          did,
		"alsoKnownAs": []string{"at://" + string(handle)},
		"verificationMethod": []any{map[string]any{
			"id": string(did) + "#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": key.Multibase(),
		}},
		"service": []any{map[string]any{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}},
	})
	if err != nil {
		panic(err)
	}
	return string(b)
}
