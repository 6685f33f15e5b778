package lexfetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/outbound"
	"github.com/atview/atview/ingest/testnet"
	"github.com/atview/atview/schema"
)

// world is a network on which lexicons are published.
type world struct {
	*testnet.Network
	cache *identity.Cache
	http  *http.Client

	mu    sync.Mutex
	dns   map[string][]string
	asked map[string]int                          // by host and path, or DNS name
	alter func(rkey string, answer []byte) []byte // of getRecord
}

func newWorld(t *testing.T) *world {
	t.Helper()
	n, err := testnet.Start(testnet.Config{Seed: 1, PDSes: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	w := &world{Network: n, dns: map[string][]string{}, asked: map[string]int{}}
	client, err := outbound.New(outbound.Config{AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	w.http = &http.Client{Transport: between{client.Transport, w}}
	resolver, err := identity.NewResolver(identity.ResolverConfig{HTTP: client, DNS: w, PLC: n.PLC(), AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	// What was just looked up may be refreshed at once.
	if w.cache, err = identity.NewCache(identity.CacheConfig{Resolver: resolver, RefreshEvery: 1}); err != nil {
		t.Fatal(err)
	}
	return w
}

// between counts requests, and alters answers.
type between struct {
	http.RoundTripper
	w *world
}

func (b between) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.asked[r.URL.Path+"/"+r.URL.Query().Get("rkey")]++
	if err == nil && b.w.alter != nil && strings.HasSuffix(r.URL.Path, "sync.getRecord") {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(b.w.alter(r.URL.Query().Get("rkey"), body)))
		resp.ContentLength = -1
	}
	return resp, err
}

func (w *world) LookupTXT(_ context.Context, name string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[name]++
	if txt, ok := w.dns[name]; ok {
		if txt == nil {
			return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
		}
		return txt, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// publisher is an account that publishes the lexicons of groups of NSIDs.
func (w *world) publisher(domains ...string) *testnet.Account {
	a := w.NewAccount(0)
	for _, d := range domains {
		w.dns["_lexicon."+d] = []string{"v=spf1", "did=" + string(a.DID())}
	}
	return a
}

// lex is a lexicon's record, of a record with these references.
func lex(nsid string, refs ...string) string {
	props := make([]string, len(refs))
	for i, ref := range refs {
		props[i] = fmt.Sprintf(`"r%d":{"type":"ref","ref":%q}`, i, ref)
	}
	return fmt.Sprintf(`{"$type":"com.atproto.lexicon.schema","lexicon":1,"id":%q,"defs":{"main":{"type":"record","key":"tid","record":{"type":"object","properties":{%s}}}}}`,
		nsid, strings.Join(props, ","))
}

func publish(a *testnet.Account, nsid, record string) {
	a.Commit(testnet.Create(collection, syntax.RecordKey(nsid), record))
}

func (w *world) fetch(t *testing.T, change func(*Config), patterns ...string) Result {
	t.Helper()
	cfg := Config{Directory: w.cache, HTTP: w.http, DNS: w}
	if change != nil {
		change(&cfg)
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Fetch(t.Context(), patterns)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// summary is a result in short: names, why, and failures as "!name".
func summary(r Result) string {
	var b []string
	for _, l := range r.Lexicons {
		b = append(b, string(l.NSID)+"<"+l.For)
	}
	for _, f := range r.Failures {
		b = append(b, "!"+f.Name+"<"+f.For)
	}
	return strings.Join(b, " ")
}

func expect(t *testing.T, r Result, want string) {
	t.Helper()
	if got := summary(r); got != want {
		t.Errorf("fetched %s\nwant    %s", got, want)
		for _, f := range r.Failures {
			t.Log(f.Name, f.Err)
		}
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.publisher("app.example.com", "deep.app.example.com")
	b := w.publisher("other.org")
	publish(a, "com.example.app.post", lex("com.example.app.post", "#local", "com.example.app.defs#thing", "org.other.embed", "com.example.app.post"))
	publish(a, "com.example.app.defs", lex("com.example.app.defs", "com.example.app.post"))
	publish(a, "com.example.app.alone", lex("com.example.app.alone"))
	publish(a, "com.example.app.deep.like", lex("com.example.app.deep.like"))
	publish(b, "org.other.embed", `{"$type":"com.atproto.lexicon.schema","description":"d","lexicon":1,"id":"org.other.embed","defs":{"main":{"type":"object","properties":{
		"u":{"type":"array","items":{"type":"union","refs":["com.example.app.defs","com.missing.thing#x"]}}}}}}`)

	r := w.fetch(t, nil, "com.example.app.post")
	expect(t, r, "com.example.app.defs<com.example.app.post com.example.app.post<com.example.app.post org.other.embed<com.example.app.post !com.missing.thing<org.other.embed")
	if err := r.Failures[0].Err; !strings.Contains(err.Error(), "_lexicon.missing.com") {
		t.Error(err)
	}
	post, embed := r.Lexicons[1], r.Lexicons[2]
	if post.DID != a.DID() || post.PDS != w.PDS(0) || post.Rev != a.Rev() || embed.DID != b.DID() || embed.CID == "" {
		t.Errorf("%+v", post)
	}
	if !strings.HasPrefix(string(embed.JSON), "{\n  \"lexicon\": 1,\n  \"id\": \"org.other.embed\",\n  \"description\": \"d\",\n  \"defs\": {") || strings.Contains(string(embed.JSON), "$type") {
		t.Errorf("%s", embed.JSON)
	}
	if n := w.asked["_lexicon.app.example.com"]; n != 1 {
		t.Errorf("DNS was asked %d times for one authority", n)
	}

	expect(t, w.fetch(t, func(c *Config) { c.NoRefs = true }, "com.example.app.post"), "com.example.app.post<com.example.app.post")
	expect(t, w.fetch(t, func(c *Config) { c.Known = func(n syntax.NSID) bool { return n != "com.example.app.defs" } }, "com.example.app.post"),
		"com.example.app.defs<com.example.app.post com.example.app.post<com.example.app.post")
	expect(t, w.fetch(t, func(c *Config) { c.NoRefs = true }, "com.example.app.*"),
		"com.example.app.alone<com.example.app.* com.example.app.deep.like<com.example.app.* com.example.app.defs<com.example.app.* com.example.app.post<com.example.app.*")
	expect(t, w.fetch(t, nil, "com.example.app.deep.*"), "com.example.app.deep.like<com.example.app.deep.*")
	expect(t, w.fetch(t, func(c *Config) { c.MaxLexicons = 2 }, "com.example.app.post"),
		"com.example.app.defs<com.example.app.post com.example.app.post<com.example.app.post !org.other.embed<com.example.app.post")
	expect(t, w.fetch(t, func(c *Config) { c.MaxDepth = 1 }, "com.example.app.post"),
		"com.example.app.defs<com.example.app.post com.example.app.post<com.example.app.post org.other.embed<com.example.app.post !com.missing.thing<org.other.embed")

	f, err := New(Config{Directory: w.cache, HTTP: w.http, DNS: w})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "*", "com.*", "../../etc/passwd", "com.example.app.*.x", "com.example.app.post#main", "com.example"} {
		if r, err := f.Fetch(t.Context(), []string{bad}); err == nil {
			t.Errorf("%q is taken: %+v", bad, r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Fetch(ctx, []string{"com.example.app.post"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestList has more lexicons than a page.
func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.publisher("app.example.com")
	var ops []testnet.Op
	for i := range 120 {
		nsid := fmt.Sprintf("com.example.app.n%03d", i)
		ops = append(ops, testnet.Create(collection, syntax.RecordKey(nsid), lex(nsid)))
	}
	// It may publish what is not its own: that is not taken from here.
	ops = append(ops, testnet.Create(collection, "com.example.app.stolen.post", lex("com.example.app.stolen.post")), testnet.Create(collection, "self", lex("com.example.app.self")))
	a.Commit(ops...)
	r := w.fetch(t, nil, "com.example.app.*")
	if len(r.Lexicons) != 120 || len(r.Failures) != 1 || r.Failures[0].Name != "com.example.app.stolen.post" {
		t.Errorf("%d lexicons, %+v", len(r.Lexicons), r.Failures)
	}
	if r := w.fetch(t, func(c *Config) { c.MaxPages = 1 }, "com.example.app.*"); len(r.Lexicons) >= 120 || len(r.Failures) != 2 || !strings.Contains(r.Failures[0].Err.Error(), "pages") {
		t.Errorf("%d lexicons, %+v", len(r.Lexicons), r.Failures)
	}
	expect(t, w.fetch(t, nil, "com.nobody.*"), "!com.nobody.*<com.nobody.*")
	w.publisher("empty.com")
	expect(t, w.fetch(t, nil, "com.empty.*"), "!com.empty.*<com.empty.*")
}

// TestOdd publishes what is no lexicon.
func TestOdd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.publisher("a.com")
	for name, record := range map[string]string{
		"other":   lex("com.a.another"),
		"version": strings.Replace(lex("com.a.version"), `"lexicon":1`, `"lexicon":2`, 1),
		"typed":   strings.Replace(lex("com.a.typed"), `"key":"tid"`, `"key":7`, 1),
		"nodefs":  `{"$type":"com.atproto.lexicon.schema","lexicon":1,"id":"com.a.nodefs"}`,
		"empty":   `{"$type":"com.atproto.lexicon.schema","lexicon":1,"id":"com.a.empty","defs":{}}`,
		"sub":     `{"$type":"com.atproto.lexicon.schema","lexicon":1,"id":"com.a.sub","defs":{"main":{"type":"subscription","message":{"schema":{"type":"string"}}}}}`,
		"text":    `{"$type":"com.atproto.lexicon.schema","text":"hello"}`,
		"post":    `{"$type":"app.bsky.feed.post","lexicon":1,"id":"com.a.post","defs":{"main":{"type":"token"}}}`,
		"large":   `{"$type":"com.atproto.lexicon.schema","lexicon":1,"id":"com.a.large","description":"` + strings.Repeat("x", 1<<20) + `","defs":{"main":{"type":"token"}}}`,
	} {
		publish(a, "com.a."+name, record)
	}
	w.dns["_lexicon.away.com"] = nil
	w.dns["_lexicon.two.com"] = []string{"did=did:plc:x", "did=did:plc:y"}
	w.dns["_lexicon.gone.com"] = []string{"did=did:plc:gone"}
	w.dns["_lexicon.evil.com"] = []string{"did=did:web:169.254.169.254"}
	names := []string{"other", "version", "nodefs", "empty", "text", "post", "large", "absent", "typed", "sub"}
	for i := range names {
		names[i] = "com.a." + names[i]
	}
	names = append(names, "com.away.x", "com.two.x", "com.gone.x", "com.evil.x")
	r := w.fetch(t, func(c *Config) { c.MaxBytes = 1 << 20 }, names...)
	if len(r.Lexicons) > 0 || len(r.Failures) != len(names) {
		t.Errorf("%s", summary(r))
	}
	for _, f := range r.Failures {
		t.Log(f.Name, f.Err)
	}
	expect(t, w.fetch(t, nil, "com.a.large"), "com.a.large<com.a.large")
}

// TestProof has whoever stands in between alter the proof.
func TestProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.publisher("a.com"), w.publisher("b.com")
	var ops []testnet.Op
	for i := range 50 { // so that the tree has several levels
		nsid := fmt.Sprintf("com.a.n%02d", i)
		ops = append(ops, testnet.Create(collection, syntax.RecordKey(nsid), lex(nsid)))
	}
	a.Commit(ops...)
	publish(b, "com.a.n07", strings.Replace(lex("com.a.n07"), "tid", "any", 1)) // not its own
	var car, other []byte
	w.alter = func(_ string, answer []byte) []byte { car = answer; return answer }
	expect(t, w.fetch(t, nil, "com.a.n07"), "com.a.n07<com.a.n07")
	id, err := w.cache.Lookup(t.Context(), a.DID())
	if err != nil {
		t.Fatal(err)
	}
	const path = collection + "/com.a.n07"
	rec, err := prove(car, id, path)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := prove(car, id, collection+"/com.a.absent"); err == nil {
		t.Error("an absent record is proven")
	}
	w.dns["_lexicon.a.com"] = []string{"did=" + string(b.DID())}
	w.alter = func(_ string, answer []byte) []byte { other = answer; return answer }
	expect(t, w.fetch(t, nil, "com.a.n07"), "com.a.n07<com.a.n07")
	if _, err := prove(other, id, path); err == nil {
		t.Error("another's record is proven")
	}
	stranger := id
	stranger.Key = b.Key()
	if _, err := prove(car, stranger, path); !errors.Is(err, errSignature) {
		t.Error(err)
	}
	stranger.Key = nil
	if _, err := prove(car, stranger, path); err == nil {
		t.Error("proven without a key")
	}
	// Whatever bit changes, one of each byte: it is this record, or none.
	for i := range car {
		bad := bytes.Clone(car)
		bad[i] ^= 1 << (i % 8)
		if got, err := prove(bad, id, path); err == nil && !bytes.Equal(got.block, rec.block) {
			t.Fatalf("byte %d: another record is proven", i)
		}
	}
	for i := range car {
		if got, err := prove(car[:i], id, path); err == nil && !bytes.Equal(got.block, rec.block) {
			t.Fatalf("cut at %d: another record is proven", i)
		}
	}

	w.dns["_lexicon.a.com"] = []string{"did=" + string(a.DID())}
	w.alter = func(_ string, answer []byte) []byte {
		return bytes.Replace(answer, []byte("tid"), []byte("any"), 1)
	}
	expect(t, w.fetch(t, nil, "com.a.n07"), "!com.a.n07<com.a.n07")
	w.alter = nil

	// The account has moved, with another key, since it was looked up.
	a.Migrate(1)
	publish(a, "com.a.new", lex("com.a.new"))
	r := w.fetch(t, nil, "com.a.new")
	expect(t, r, "com.a.new<com.a.new")
	if len(r.Lexicons) == 1 && r.Lexicons[0].PDS != w.PDS(1) {
		t.Errorf("read at %s", r.Lexicons[0].PDS)
	}
}

func FuzzProve(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x3a\xa2eroots\x81\xd8\x2aX\x25\x00\x01\x71\x12\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaagversion\x01"))
	f.Fuzz(func(t *testing.T, car []byte) {
		if _, err := prove(car, identity.Identity{DID: "did:plc:x"}, "a/b"); err == nil {
			t.Error("proven")
		}
	})
}

func TestWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.publisher("app.example.com")
	publish(a, "com.example.app.post", lex("com.example.app.post", "com.example.app.defs"))
	publish(a, "com.example.app.defs", lex("com.example.app.defs"))
	lexicons := w.fetch(t, nil, "com.example.app.*").Lexicons
	dir := filepath.Join(t.TempDir(), "lexicons")
	states := func(lexicons []Lexicon, force bool) string {
		t.Helper()
		written, err := Write(dir, lexicons, force)
		if err != nil {
			t.Fatal(err)
		}
		var b []string
		for _, f := range written {
			b = append(b, f.Path+" "+string(f.State))
			if (f.State == Failed) != (f.Err != nil) {
				t.Errorf("%+v", f)
			}
		}
		return strings.Join(b, ", ")
	}
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	const defs, post = "com/example/app/defs.json", "com/example/app/post.json"
	check(states(lexicons, false), defs+" added, "+post+" added")
	check(states(lexicons, true), defs+" same, "+post+" same")

	// What package schema makes of them.
	catalog, err := schema.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(catalog.Problems) > 0 || len(catalog.Collections) != 2 {
		t.Errorf("%d collections, %v", len(catalog.Collections), catalog.Problems)
	}

	// By its own formatting, and as a record, a file says the same.
	if err := os.WriteFile(filepath.Join(dir, defs), []byte(lex("com.example.app.defs")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, post), []byte(`{"lexicon":1,"id":"com.example.app.post","defs":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	check(states(lexicons, false), defs+" same, "+post+" differs")
	if b, err := os.ReadFile(filepath.Join(dir, post)); err != nil || !strings.HasSuffix(string(b), `"defs":{}}`) {
		t.Errorf("%s, %v", b, err)
	}
	check(states(lexicons, true), defs+" same, "+post+" changed")
	if b, err := os.ReadFile(filepath.Join(dir, post)); err != nil || !bytes.Equal(b, lexicons[1].JSON) {
		t.Errorf("%s, %v", b, err)
	}

	// Nothing leads out of the folder.
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "org")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "net", "example"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := []Lexicon{{NSID: "../../../etc/passwd"}, {NSID: "a/b/c.d.e"}, {NSID: "org.example.post"}, {NSID: "net.example.post"}, {NSID: ""}}
	if got := states(bad, true); strings.Count(got, "failed") != len(bad) {
		t.Error(got)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Error(entries, err)
	}
	var left []string
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".tmp") {
			left = append(left, path)
		}
		return err
	})
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}
