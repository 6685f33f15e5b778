package identity

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/mr-tron/base58"

	"github.com/atview/atview/ingest/outbound"
)

func TestParseDocument(t *testing.T) {
	t.Parallel()
	const did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	k256 := newKey(t)
	private, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	p256, err := private.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	legacy := func(key atcrypto.PublicKey) string { return "z" + base58.Encode(key.UncompressedBytes()) }
	method := func(id, typ, key string) string {
		return `{"id":"` + id + `","type":"` + typ + `","controller":"` + did + `","publicKeyMultibase":"` + key + `"}`
	}
	service := func(id, url string) string {
		return `{"id":"` + id + `","type":"AtprotoPersonalDataServer","serviceEndpoint":"` + url + `"}`
	}
	doc := func(aka, methods, services string) string {
		return `{"id":"` + did + `","alsoKnownAs":[` + aka + `],"verificationMethod":[` + methods + `],"service":[` + services + `]}`
	}
	for name, c := range map[string]struct {
		doc  string
		http bool
		want Document
		note string
	}{
		"today": {
			doc:  doc(`"at://Alice.Test"`, method(did+"#atproto", "Multikey", k256.Multibase()), service("#atproto_pds", "https://PDS.example.com/")),
			want: Document{Handle: "alice.test", PDS: "https://pds.example.com", Key: k256},
		},
		"P-256": {doc: doc(``, method(did+"#atproto", "Multikey", p256.Multibase()), ``), want: Document{Key: p256}},
		"K-256 of 2019, ids that are relative": {
			doc:  doc(``, method("#atproto", "EcdsaSecp256k1VerificationKey2019", legacy(k256)), service(did+"#atproto_pds", "https://pds.test")),
			want: Document{Key: k256, PDS: "https://pds.test"},
		},
		"P-256 of 2019": {doc: doc(``, method("#atproto", "EcdsaSecp256r1VerificationKey2019", legacy(p256)), ``), want: Document{Key: p256}},
		"compressed":    {doc: doc(``, method("#atproto", "EcdsaSecp256k1VerificationKey2019", "z"+base58.Encode(k256.Bytes())), ``), want: Document{Key: k256}},
		"the first of each": {
			doc: doc(`"https://x.test","at://not a handle","at://a.test","at://b.test"`,
				method("#atproto_label", "Multikey", p256.Multibase())+","+method("#atproto", "Multikey", k256.Multibase())+","+method("#atproto", "Multikey", p256.Multibase()),
				service("#bsky_fg", "https://no.test")+","+service("#atproto_pds", "https://a.test")+","+service("#atproto_pds", "https://b.test")),
			want: Document{Handle: "a.test", PDS: "https://a.test", Key: k256},
		},
		"another's key": {doc: doc(``, `{"id":"#atproto","type":"Multikey","controller":"did:web:evil.test","publicKeyMultibase":"`+k256.Multibase()+`"}`, ``)},
		"of other types": {
			doc:  `{"id":"` + did + `","alsoKnownAs":[{"a":1},"at://a.test"],"verificationMethod":[{"id":"#k","type":"JsonWebKey2020","publicKeyJwk":{}}],"service":[{"id":"#s","type":["a","b"],"serviceEndpoint":[{"uri":"x"}]}],"controller":["x"]}`,
			want: Document{Handle: "a.test"},
		},
		"unknown key type": {doc: doc(``, method("#atproto", "Ed25519VerificationKey2020", "zabc"), ``), note: "signing key"},
		"broken keys":      {doc: doc(``, method("#atproto", "Multikey", "zzzzzz"), ``), note: "signing key"},
		"endless key":      {doc: doc(``, method("#atproto", "EcdsaSecp256k1VerificationKey2019", "z"+strings.Repeat("2", 50000)), ``), note: "signing key"},
		"point elsewhere":  {doc: doc(``, method("#atproto", "EcdsaSecp256k1VerificationKey2019", "z"+base58.Encode(make([]byte, 65))), ``), note: "signing key"},
		"http":             {doc: doc(``, ``, service("#atproto_pds", "http://localhost:2583")), note: "PDS"},
		"http allowed":     {doc: doc(``, ``, service("#atproto_pds", "http://localhost:2583")), http: true, want: Document{PDS: "http://localhost:2583"}},
		"path":             {doc: doc(``, ``, service("#atproto_pds", "https://a.test/x")), note: "PDS"},
		"user":             {doc: doc(``, ``, service("#atproto_pds", "https://a:b@c.test")), note: "PDS"},
		"query":            {doc: doc(``, ``, service("#atproto_pds", "https://c.test?x")), note: "PDS"},
		"no UTF-8":         {doc: doc(``, ``, service("#atproto_pds", "https://%ff.test")), note: "PDS"},
		"scheme":           {doc: doc(``, ``, service("#atproto_pds", "file:///etc/passwd")), note: "PDS"},
		"nothing":          {doc: `{"id":"` + did + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseDocument(did, []byte(c.doc), c.http)
			if err != nil {
				t.Fatal(err)
			}
			if got.Handle != c.want.Handle || got.PDS != c.want.PDS || (got.Key == nil) != (c.want.Key == nil) || got.Key != nil && !got.Key.Equal(c.want.Key) {
				t.Errorf("%+v\nwant %+v", got, c.want)
			}
			if !strings.Contains(got.Note, c.note) || c.note == "" && got.Note != "" {
				t.Errorf("note %q", got.Note)
			}
		})
	}
	for _, bad := range []string{``, `null`, `[]`, `{"id":"did:plc:other"}`, `{"id":"` + did + `","service":{}}`, `<html>`} {
		if got, err := parseDocument(did, []byte(bad), false); err == nil {
			t.Errorf("%s is taken: %+v", bad, got)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	const did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	f.Add([]byte(`{"id":"` + did + `","alsoKnownAs":["at://a.test"],"verificationMethod":[{"id":"#atproto","type":"EcdsaSecp256k1VerificationKey2019","controller":"` + did + `","publicKeyMultibase":"z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t"}],"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://a.test"}]}`))
	f.Add([]byte(`{"id":"` + did + `","verificationMethod":[{"id":"#atproto","type":"Multikey","controller":"` + did + `","publicKeyMultibase":"zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := parseDocument(did, b, false)
		if err != nil {
			return
		}
		if doc.PDS != "" && !strings.HasPrefix(doc.PDS, "https://") {
			t.Errorf("PDS %q", doc.PDS)
		}
		for _, s := range []string{doc.PDS, doc.Note, string(doc.Handle)} {
			if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
				t.Errorf("Postgres would refuse %q", s)
			}
		}
	})
}

func TestResolver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.resolver(t)
	did, handle, key := w.account(t, 1)
	doc, err := r.Document(t.Context(), did)
	if err != nil || doc.Handle != handle || doc.PDS != "https://pds.test" || !doc.Key.Equal(key) {
		t.Fatalf("%+v, %v", doc, err)
	}
	const web = "did:web:web.test"
	w.set(func() {
		w.docs["web.test/.well-known/did.json"] = document(web, handle, "https://pds.test", key)
		w.docs["did:plc:gone"], w.docs["did:plc:bad"] = "status 410", "status 400"
		w.docs["did:plc:broken"], w.docs["did:plc:other"] = "<html>", document(did, handle, "https://pds.test", key)
		w.docs["did:plc:large"] = strings.Repeat(" ", 65<<10)
	})
	for did, want := range map[syntax.DID]error{
		"did:plc:unknown": ErrNotFound, "did:plc:gone": ErrNotFound, "did:plc:bad": ErrNotFound,
		"did:key:abc": ErrMethod, "did:web:a.test:path": ErrMethod, "did:web:127.0.0.1": ErrMethod, "did:web:a.local": ErrMethod,
		"did:web:a.test%3Ax": ErrMethod,
	} {
		if _, err := r.Document(t.Context(), did); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", did, err, want)
		}
	}
	for _, did := range []syntax.DID{"did:plc:broken", "did:plc:other", "did:plc:large", web} { // nobody answers https here
		if _, err := r.Document(t.Context(), did); err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrMethod) {
			t.Errorf("%s: %v", did, err)
		}
	}
	var large *outbound.TooLargeError
	if _, err := r.Document(t.Context(), "did:plc:large"); !errors.As(err, &large) {
		t.Error(err)
	}
}

// TestLocalWeb reads the document of a did:web as test networks have it.
func TestLocalWeb(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, port, err := net.SplitHostPort(w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	did := syntax.DID("did:web:localhost%3A" + port)
	w.set(func() {
		w.docs["localhost:"+port+"/.well-known/did.json"] = document(did, "a.test", "http://localhost:"+port, newKey(t))
	})
	if doc, err := w.resolver(t).Document(t.Context(), did); err != nil || doc.PDS != "http://localhost:"+port {
		t.Errorf("%+v, %v", doc, err)
	}
	strict := w.resolver(t, func(c *ResolverConfig) { c.AllowPrivate = false })
	if _, err := strict.Document(t.Context(), did); !errors.Is(err, ErrMethod) {
		t.Error(err)
	}
}

func TestWebURL(t *testing.T) {
	t.Parallel()
	for did, want := range map[syntax.DID]string{
		"did:web:example.com": "https://example.com/.well-known/did.json", "did:web:Feed.Example.com": "https://feed.example.com/.well-known/did.json",
		"did:web:localhost": "http://localhost/.well-known/did.json", "did:web:localhost%3A2583": "http://localhost:2583/.well-known/did.json",
		"did:web:a.test%3a80": "http://a.test:80/.well-known/did.json",
		"did:web:a.b%2F..%2F": "", "did:web:a%40b.test": "", "did:web:x": "", "did:web:localhost%3A99999": "", "did:web:a.test%3A80%3A80": "",
	} {
		if got, _ := webURL(did, true); got != want {
			t.Errorf("%s: %q, want %q", did, got, want)
		}
		if got, err := webURL(did, false); err == nil && strings.HasPrefix(got, "http:") {
			t.Errorf("%s: %q without AllowPrivate", did, got)
		}
	}
}

// TestPause has the directory ask to be left alone.
func TestPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.resolver(t, func(c *ResolverConfig) { c.MaxPause = 50 * time.Millisecond })
	did, _, _ := w.account(t, 1)
	w.set(func() { w.docs["did:plc:busy"] = "status 429" })
	var status *outbound.StatusError
	if _, err := r.Document(t.Context(), "did:plc:busy"); !errors.As(err, &status) || status.Status != http.StatusTooManyRequests {
		t.Fatal(err)
	}
	end := r.paused
	if _, err := r.Document(t.Context(), did); err != nil {
		t.Fatal(err)
	}
	if end.IsZero() || time.Now().Before(end) {
		t.Error("did not wait")
	}
	r.pause(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	before := w.count(string(did))
	if _, err := r.Document(ctx, did); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Error(err)
	}
	if w.count(string(did)) != before {
		t.Error("asked during the pause")
	}
}

func TestVerifyHandle(t *testing.T) {
	t.Parallel()
	const did, other = "did:plc:00000000000000000000000a", "did:plc:00000000000000000000000b"
	const wellKnown = "a.test/.well-known/atproto-did"
	for name, c := range map[string]struct {
		dns   []string
		noDNS bool
		http  string // what the host answers; empty: 404
		want  bool
		open  bool // no definite answer
	}{
		"by DNS":                         {dns: []string{"did=" + did}, http: other, want: true},
		"DNS has the say":                {dns: []string{"did=" + other}, http: did},
		"by its host":                    {http: " " + did + "\r\n", want: true},
		"other records":                  {dns: []string{"v=spf1", "did=nonsense"}, http: did, want: true},
		"contradiction":                  {dns: []string{"did=" + did, "did=" + other}, http: did},
		"the same twice":                 {dns: []string{"did=" + did, "did=" + did}, want: true},
		"nowhere":                        {},
		"to another by its host":         {http: other},
		"start page":                     {http: "<html>"},
		"a large page":                   {http: strings.Repeat("x", 10000)},
		"gone":                           {http: "status 410"},
		"host out of order":              {http: "status 503", open: true},
		"host refuses us":                {http: "status 403", open: true},
		"DNS away":                       {noDNS: true, open: true},
		"DNS away, by its host":          {noDNS: true, http: did, want: true},
		"DNS away, host leads elsewhere": {noDNS: true, http: other, open: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.noDNS = c.noDNS
			if c.dns != nil {
				w.dns["_atproto.a.test"] = c.dns
			}
			if c.http != "" {
				w.docs[wellKnown] = c.http
			}
			got, err := w.resolver(t).VerifyHandle(t.Context(), "A.test", did)
			if got != c.want || (err != nil) != c.open {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	t.Run("host away", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		r := w.resolver(t)
		w.Close()
		if got, err := r.VerifyHandle(t.Context(), "a.test", did); got || err == nil {
			t.Error(got, err)
		}
	})
	t.Run("reserved", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.dns["_atproto.a.local"] = []string{"did=" + did}
		for _, h := range []syntax.Handle{"a.local", syntax.HandleInvalid, "a.internal"} {
			if got, err := w.resolver(t).VerifyHandle(t.Context(), h, did); got || err != nil {
				t.Error(h, got, err)
			}
		}
	})
}

func TestResolverConfig(t *testing.T) {
	t.Parallel()
	_, err := NewResolver(ResolverConfig{PLC: "plc.directory", Timeout: -1})
	for _, want := range []string{"no HTTP client", "PLC directory", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %q", err, want)
		}
	}
}
