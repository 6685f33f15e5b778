package graphql

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// Config bounds what a request may ask for. The zero value has the defaults.
type Config struct {
	// PageSize is what a list gives without `first` or `last`. Default 50, which
	// is what clients of this vocabulary expect.
	PageSize int
	// MaxPage is the most that `first` or `last` may ask for. Default 1000: more
	// gains nothing over paging and holds a connection for longer.
	MaxPage int
	// MaxDepth bounds how deep fields are nested, introspection excepted.
	// Default 20: six lists in one another, or the deepest documents of the
	// lexicons we know.
	MaxDepth int
	// MaxCost bounds the rows that an operation may read in the worst case: the
	// page of each list times what is asked for on each row. Default 200,000:
	// three lists of the default size in one another, a second or two of a
	// Postgres process.
	MaxCost int
	// MaxGroups is the most groups that an aggregation may ask for. Default 1000,
	// as for pages. Without a limit it gives 100 of them.
	MaxGroups int
	// MaxGroupKeys bounds what an aggregation may group by at a time. Default 5,
	// which is what clients of this vocabulary expect.
	MaxGroupKeys int
	// AggregateCost is what an aggregation over a whole collection counts for in
	// MaxCost. Default 10,000, so that an operation has about twenty: nobody
	// knows before how many records there are, and all of them are read.
	AggregateCost int
	// MaxFields bounds the fields of an operation with its fragments written out.
	// Default 5,000. Fragments within fragments double at each level.
	MaxFields int
	// MaxTokens bounds an operation's text. Default 10,000: validation compares
	// the fields of a selection with one another.
	MaxTokens int
	// MaxBody bounds a request's body in bytes. Default 1 MiB.
	MaxBody int64
	// MaxAnswer bounds an answer in bytes, and what is read for it. Default
	// 32 MiB: a record may have a megabyte, and a page a thousand records.
	MaxAnswer int
	// Timeout is for a request in whole and for each statement of it. Default 10 s.
	Timeout time.Duration

	// Joins says which collections have fields that lead to which others.
	Joins Joins
	// JoinGlobs are NSIDs, `*` standing for any text: collections that every
	// other is joined with also when Joins would leave them out.
	JoinGlobs []string

	// BlobURL is where blobs are found, with {did}, {cid} and {preset}.
	// Default: Bluesky's image CDN.
	BlobURL string

	// NoIntrospection switches __schema and __type off.
	NoIntrospection bool

	// Log gets what a client is not told: errors of the database. The zero
	// value says nothing.
	Log zerolog.Logger
}

// Joins says which record types get fields for which collections. Links do not
// say what they point at, so each collection with a link could be joined to
// each other; with 240 collections that would make 100,000 fields.
type Joins string

// The modes of [Config.Joins].
const (
	// JoinsAuto, the default, is JoinsAll while there are at most maxJoinFields
	// fields and JoinsRelated beyond.
	JoinsAuto Joins = "auto"
	// JoinsAll joins each collection with each.
	JoinsAll Joins = "all"
	// JoinsRelated joins collections whose NSIDs share the first two segments.
	// Every type still leads to its author's singletons, such as profiles.
	JoinsRelated Joins = "related"
)

// maxJoinFields is where JoinsAuto stops joining all with all: the answer to
// an introspection query grows by about 1 kB a field.
const maxJoinFields = 20_000

const defaultBlobURL = "https://cdn.bsky.app/img/{preset}/plain/{did}/{cid}@jpeg"

func (c Config) withDefaults() (Config, error) {
	setDefault(&c.PageSize, 50)
	setDefault(&c.MaxPage, 1000)
	setDefault(&c.MaxDepth, 20)
	setDefault(&c.MaxCost, 200_000)
	setDefault(&c.MaxGroups, 1000)
	setDefault(&c.MaxGroupKeys, 5)
	setDefault(&c.AggregateCost, 10_000)
	setDefault(&c.MaxFields, 5_000)
	setDefault(&c.MaxTokens, 10_000)
	setDefault(&c.MaxBody, 1<<20)
	setDefault(&c.MaxAnswer, 32<<20)
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.Joins, JoinsAuto)
	setDefault(&c.BlobURL, defaultBlobURL)
	var faults []error
	if c.PageSize > c.MaxPage {
		c.PageSize = c.MaxPage
	}
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"PageSize", int64(c.PageSize)}, {"MaxPage", int64(c.MaxPage)}, {"MaxDepth", int64(c.MaxDepth)},
		{"MaxCost", int64(c.MaxCost)}, {"MaxGroups", int64(c.MaxGroups)},
		{"MaxGroupKeys", int64(c.MaxGroupKeys)}, {"AggregateCost", int64(c.AggregateCost)}, {"MaxFields", int64(c.MaxFields)}, {"MaxTokens", int64(c.MaxTokens)},
		{"MaxBody", c.MaxBody}, {"MaxAnswer", int64(c.MaxAnswer)}, {"Timeout", int64(c.Timeout)},
	} {
		if limit.value < 0 {
			faults = append(faults, fmt.Errorf("%s is negative", limit.name))
		}
	}
	switch c.Joins {
	case JoinsAuto, JoinsAll, JoinsRelated:
	default:
		faults = append(faults, fmt.Errorf("joins %q is none of auto, all, related", c.Joins))
	}
	for _, glob := range c.JoinGlobs {
		if _, err := path.Match(glob, ""); err != nil {
			faults = append(faults, fmt.Errorf("join glob %q: %w", glob, err))
		}
	}
	if !strings.Contains(c.BlobURL, "{cid}") {
		faults = append(faults, fmt.Errorf("blob URL %q lacks {cid}", c.BlobURL))
	}
	return c, errors.Join(faults...)
}

func setDefault[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

// PoolConfig is how the API wants to be connected: connections that can only
// read, and that give a statement up after timeout (0: the default of
// [Config.Timeout]). The caller may change the number of connections and
// whatever else before it opens the pool.
func PoolConfig(url string, timeout time.Duration) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	setDefault(&timeout, 10*time.Second)
	maps.Copy(config.ConnConfig.RuntimeParams, map[string]string{
		"application_name":              "atview-api",
		"default_transaction_read_only": "on",
		"statement_timeout":             fmt.Sprint(timeout.Milliseconds()),
		"timezone":                      "UTC", // the row program reads timestamps as text
		"datestyle":                     "ISO",
		// Both cost more than they give where answers take milliseconds.
		"jit":                             "off",
		"max_parallel_workers_per_gather": "0",
	})
	// A prepared statement holds about 90 kB of a Postgres process.
	config.ConnConfig.StatementCacheCapacity = 128
	// A client that hangs up takes its query with it; without this, Postgres
	// would work on until the timeout, for nobody.
	config.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{
			Conn:               conn,
			CancelRequestDelay: 0,
			DeadlineDelay:      5 * time.Second,
		}
	}
	return config, nil
}
