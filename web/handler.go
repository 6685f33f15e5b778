package web

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed dist
var dist embed.FS

// Config says what the console shows. The zero value is usable.
type Config struct {
	// Title is the page's title and logo. Default: "atview".
	Title string

	// GraphQLPath is where queries are posted, a path on the same host.
	// Default: "/graphql".
	GraphQLPath string

	// SubscriptionPath is where subscriptions are opened, as a websocket with
	// the subprotocol graphql-transport-ws. Default: GraphQLPath.
	SubscriptionPath string

	// Queries are what the first visit finds in the editor, each in a tab that
	// is named after its operation. Default: one that lists what can be asked.
	Queries []string
}

const defaultQuery = `# Write a query here and press Ctrl-Enter (or the button) to run it.
# Ctrl-Space completes; the book on the left has the documentation.
#
# To begin with, this lists what can be asked.
query Fields {
  __schema {
    queryType {
      fields {
        name
        description
      }
    }
  }
}
`

func (cfg Config) withDefaults() Config {
	if cfg.Title == "" {
		cfg.Title = "atview"
	}
	if cfg.GraphQLPath == "" {
		cfg.GraphQLPath = "/graphql"
	}
	if cfg.SubscriptionPath == "" {
		cfg.SubscriptionPath = cfg.GraphQLPath
	}
	if len(cfg.Queries) == 0 {
		cfg.Queries = []string{defaultQuery}
	}
	return cfg
}

// Handler serves the console at "/", its files under "/assets/" and their
// licenses at "/licenses.txt". Anything else is 404, so that it can be a mux's handler of last resort. It is safe for
// concurrent use.
func Handler(cfg Config) http.Handler {
	h := &handler{cfg: cfg.withDefaults(), assets: loadAssets()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.page)
	mux.HandleFunc("GET /assets/{name}", h.asset)
	mux.HandleFunc("GET /licenses.txt", licenses)
	return mux
}

type handler struct {
	cfg    Config
	assets map[string]*asset
}

var page = template.Must(template.ParseFS(dist, "dist/index.html"))

// page writes the page anew for each visit, since its nonce must be used once:
// it is what lets GraphiQL's dialogs, and nobody else, add a style element.
func (h *handler) page(w http.ResponseWriter, _ *http.Request) {
	nonce := rand.Text()
	var body bytes.Buffer
	err := page.Execute(&body, map[string]any{
		"Title":       h.cfg.Title,
		"GraphQLPath": h.cfg.GraphQLPath,
		"Config": map[string]any{
			"title":            h.cfg.Title,
			"graphqlPath":      h.cfg.GraphQLPath,
			"subscriptionPath": h.cfg.SubscriptionPath,
			"queries":          h.cfg.Queries,
			"nonce":            nonce,
		},
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", policy(nonce))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	_, _ = w.Write(body.Bytes())
}

// policy allows the page's own files and requests to the page's own host, which
// includes websockets, and refuses everything else. Records are strangers' data:
// a picture that GraphiQL would preview stays unloaded, too.
func policy(nonce string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self' 'nonce-" + nonce + "'",
		"img-src 'self' data:", // data: the marks for errors in the editor
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

func (h *handler) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := h.assets[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", a.contentType)
	// The name changes with the content.
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("ETag", a.etag)
	header.Set("Vary", "Accept-Encoding")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.content
	if acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		body = a.gzipped()
	}
	header.Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body)
}

// licenses serves the notices of the packages in the bundle, which ask to be
// passed on with it.
func licenses(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, dist, "dist/licenses.txt")
}

func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if name == "gzip" && strings.TrimSpace(weight) != "q=0" {
			return true
		}
	}
	return false
}

type asset struct {
	content     []byte
	contentType string
	etag        string
	// gzipped compresses at the first call: 60 ms that start-up need not wait for.
	gzipped func() []byte
}

// loadAssets returns the embedded files by name. The name holds a hash of the
// content and so serves as the ETag.
func loadAssets() map[string]*asset {
	const dir = "dist/assets"
	entries, err := fs.ReadDir(dist, dir)
	if err != nil {
		panic(fmt.Sprintf("web: embedded files: %v", err)) // the binary was built wrongly
	}
	assets := make(map[string]*asset, len(entries))
	for _, entry := range entries {
		content, err := fs.ReadFile(dist, path.Join(dir, entry.Name()))
		if err != nil {
			panic(fmt.Sprintf("web: embedded files: %v", err))
		}
		assets[entry.Name()] = &asset{
			content:     content,
			contentType: contentTypes[path.Ext(entry.Name())],
			etag:        `W/"` + entry.Name() + `"`, // weak: plain and compressed share it
			gzipped:     sync.OnceValue(func() []byte { return compress(content) }),
		}
	}
	return assets
}

// Not mime.TypeByExtension: what it says depends on the machine.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func compress(content []byte) []byte {
	var buf bytes.Buffer
	w, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level is valid
	// A bytes.Buffer does not fail.
	_, _ = w.Write(content)
	_ = w.Close()
	return buf.Bytes()
}
