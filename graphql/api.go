package graphql

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	gql "github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/atview/atview/schema"
)

// API is the HTTP handler of the GraphQL endpoint. It is safe for concurrent
// use.
type API struct {
	cfg   Config
	db    *pgxpool.Pool
	texts gql.Cache[string] // of persisted queries; outlives a schema
	now   atomic.Pointer[handler.Server]
}

// New makes the API of a catalog, reading from a pool that [PoolConfig] was
// used for. The caller keeps the pool and closes it. The collections' tables
// must be there before a request asks for them.
func New(cat *schema.Catalog, db *pgxpool.Pool, cfg Config) (*API, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("GraphQL configuration: %w", err)
	}
	a := &API{cfg: cfg, db: db, texts: short[string]{lru.New[string](maxDocuments)}}
	return a, a.Swap(cat)
}

// maxDocuments bounds the caches of operations: their texts, and parsed.
const maxDocuments = 1000

// Swap exchanges the catalog. Requests that are running finish on the old one.
func (a *API) Swap(cat *schema.Catalog) error {
	m := newModel(cat, a.cfg)
	if err := m.validated(); err != nil {
		return err
	}
	exec, err := newExecutor(m, &a.cfg, a.db)
	if err != nil {
		return err
	}
	// Caches hold pointers into the schema that they were filled under, so each
	// schema has a server of its own.
	server := handler.New(exec)
	server.AddTransport(httpTransport{a.cfg.MaxBody})
	documents := short[*ast.QueryDocument]{lru.New[*ast.QueryDocument](maxDocuments)}
	server.SetQueryCache(documents)
	server.SetParserTokenLimit(a.cfg.MaxTokens)
	server.SetValidationRulesFn(validationRules)
	server.SetRecoverFunc(a.recovered)
	server.Use(extension.AutomaticPersistedQuery{Cache: a.texts})
	server.Use(limits{&a.cfg, m.schema, documents})
	server.Use(exec)
	a.now.Store(server)

	level, remedy := zerolog.InfoLevel, ""
	if m.mode == JoinsRelated && a.cfg.Joins == JoinsAuto {
		level, remedy = zerolog.WarnLevel, "; to join more, set joins to all or name collections in join globs"
	}
	a.cfg.Log.WithLevel(level).Int("collections", len(cat.Collections)).Str("joins", string(m.mode)).Int("join_fields", m.fields).
		Msg("GraphQL schema built" + remedy)
	return nil
}

// ServeHTTP takes operations by GET and POST, from any web page.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if r.Method == http.MethodOptions {
		h.Set("Allow", "GET, POST, OPTIONS")
		h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "*, Authorization, Content-Type")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	a.now.Load().ServeHTTP(w, r)
}

func (a *API) recovered(ctx context.Context, fault any) error {
	event := a.cfg.Log.Error().Interface("panic", fault)
	if gql.HasOperationContext(ctx) {
		event = event.Str("query", gql.GetOperationContext(ctx).RawQuery)
	}
	event.Msg("request failed")
	return &gqlerror.Error{Message: "internal error", Extensions: map[string]any{"code": codeInternal}}
}

// short keeps long texts out of a cache: a thousand of a megabyte each would
// fill memory.
type short[T any] struct{ gql.Cache[T] }

func (c short[T]) Add(ctx context.Context, key string, value T) {
	text, isText := any(value).(string)
	if len(key) <= maxCachedQuery && (!isText || len(text) <= maxCachedQuery) {
		c.Cache.Add(ctx, key, value)
	}
}
