package web_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/atview/atview/web"
)

// get asks the handler as a browser would, and returns the answer with its body
// as sent.
func get(t *testing.T, h http.Handler, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), w.Body.String()
}

var reference = regexp.MustCompile(`(?:src|href)="([^"]*)"`)

func TestPageRefersOnlyToWhatIsServed(t *testing.T) {
	t.Parallel()
	h := web.Handler(web.Config{GraphQLPath: "/api/graphql"})
	_, page := get(t, h, "/")
	refs := reference.FindAllStringSubmatch(page, -1)
	if len(refs) < 4 { // icon, style, script, the link for readers without JavaScript
		t.Fatalf("%d references in the page:\n%s", len(refs), page)
	}
	for _, ref := range refs {
		if ref[1] == "/api/graphql" {
			continue
		}
		if resp, _ := get(t, h, "/"+ref[1]); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", ref[1], resp.StatusCode)
		}
	}
	if other := regexp.MustCompile(`(?i)(https?:)?//\w`).FindString(page); other != "" {
		t.Errorf("the page mentions another host (%q):\n%s", other, page)
	}
}

func TestStylesheetFetchesNothing(t *testing.T) {
	t.Parallel()
	h := web.Handler(web.Config{})
	_, page := get(t, h, "/")
	_, css := get(t, h, "/"+assetOf(t, page, ".css"))
	for _, url := range regexp.MustCompile(`url\(([^)]{0,80})|@import[^;]*`).FindAllStringSubmatch(css, -1) {
		if !strings.HasPrefix(strings.Trim(url[1], `"'`), "data:image/") {
			t.Errorf("%s", url[0])
		}
	}
}

func TestPageHasAStrictPolicyWithAFreshNonce(t *testing.T) {
	t.Parallel()
	h := web.Handler(web.Config{})
	nonces := map[string]bool{}
	for range 2 {
		resp, page := get(t, h, "/")
		policy := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("no %q in the policy %q", want, policy)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("unsafe policy %q", policy)
		}
		nonce := config(t, page)["nonce"].(string)
		if !strings.Contains(policy, "'nonce-"+nonce+"'") {
			t.Errorf("nonce %q is not in the policy %q", nonce, policy)
		}
		nonces[nonce] = true
		if got := resp.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q would let a nonce be used again", got)
		}
	}
	if len(nonces) != 2 {
		t.Errorf("the nonce repeats: %v", nonces)
	}
}

// Queries come from the configuration and may hold anything.
func TestPageCarriesItsConfig(t *testing.T) {
	t.Parallel()
	query := "query A { b(c: \"</script><script>alert('x')</script>\") } # \u2028 é & <!--"
	_, page := get(t, web.Handler(web.Config{Title: "<cooks>", GraphQLPath: "/g", Queries: []string{query}}), "/")
	got := config(t, page)
	if got["graphqlPath"] != "/g" || got["subscriptionPath"] != "/g" || got["title"] != "<cooks>" {
		t.Errorf("config %v", got)
	}
	if got["queries"].([]any)[0] != query {
		t.Errorf("query %q, want %q", got["queries"], query)
	}
	if !strings.Contains(page, "<title>&lt;cooks&gt;</title>") {
		t.Errorf("title not escaped:\n%s", page)
	}
}

func TestAssetsAreCachedForEver(t *testing.T) {
	t.Parallel()
	h := web.Handler(web.Config{})
	_, page := get(t, h, "/")
	for ext, contentType := range map[string]string{
		".js":  "text/javascript; charset=utf-8",
		".css": "text/css; charset=utf-8",
		".svg": "image/svg+xml",
	} {
		path := "/" + assetOf(t, page, ext)
		resp, plain := get(t, h, path)
		if got := resp.Header.Get("Content-Type"); got != contentType {
			t.Errorf("%s: Content-Type %q", path, got)
		}
		if got := resp.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
			t.Errorf("%s: Cache-Control %q", path, got)
		}

		resp, packed := get(t, h, path, "Accept-Encoding", "br;q=1, gzip;q=0.8")
		if got := resp.Header.Get("Content-Encoding"); got != "gzip" {
			t.Fatalf("%s: Content-Encoding %q", path, got)
		}
		r, err := gzip.NewReader(strings.NewReader(packed))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if unpacked, err := io.ReadAll(r); err != nil || string(unpacked) != plain {
			t.Errorf("%s: the compressed form differs from the plain one (%v)", path, err)
		}
		if resp, _ := get(t, h, path, "Accept-Encoding", "gzip;q=0"); resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: gzip for a client that refuses it", path)
		}

		if resp, body := get(t, h, path, "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("%s: status %d for what the client has", path, resp.StatusCode)
		}
	}
}

func TestEmbeddedFilesAreSmall(t *testing.T) {
	t.Parallel()
	h := web.Handler(web.Config{})
	_, page := get(t, h, "/")
	sum := 0
	for _, ext := range []string{".js", ".css", ".svg"} {
		_, packed := get(t, h, "/"+assetOf(t, page, ext), "Accept-Encoding", "gzip")
		sum += len(packed)
	}
	if sum > 600_000 { // 0.5 s at 10 Mbit/s; when it was set, 490 kB went over the line
		t.Errorf("a first visit loads %d bytes", sum)
	}
}

func TestElsewhereIsNotFound(t *testing.T) {
	t.Parallel()
	h := web.Handler(web.Config{})
	for _, path := range []string{"/nothing", "/assets/", "/assets/nothing.js", "/assets/..%2findex.html", "/index.html"} {
		if resp, _ := get(t, h, path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	if resp, body := get(t, h, "/licenses.txt"); resp.StatusCode != http.StatusOK || !strings.Contains(body, "graphiql 4.") {
		t.Errorf("/licenses.txt: status %d", resp.StatusCode)
	}
}

func assetOf(t *testing.T, page, ext string) string {
	t.Helper()
	for _, ref := range reference.FindAllStringSubmatch(page, -1) {
		if strings.HasSuffix(ref[1], ext) {
			return ref[1]
		}
	}
	t.Fatalf("the page has no %s file:\n%s", ext, page)
	return ""
}

func config(t *testing.T, page string) map[string]any {
	t.Helper()
	m := regexp.MustCompile(`(?s)<script id="config" type="application/json">(.*?)</script>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("the page has no config:\n%s", page)
	}
	var cfg map[string]any
	if err := json.Unmarshal([]byte(m[1]), &cfg); err != nil {
		t.Fatalf("config %s: %v", m[1], err)
	}
	return cfg
}
