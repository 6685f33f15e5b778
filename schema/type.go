package schema

import (
	"github.com/valyala/fastjson"
)

// Type is what a lexicon says a value may be. A Type is immutable once its
// catalog is loaded, and safe for concurrent use. Types may refer to one
// another in circles.
type Type interface {
	// SQL is the Postgres type of a column that holds the value; "" when the
	// value has no column and is read from the record.
	SQL() string
	// GraphQL is the type's name in the API, such as `String` or
	// `[AppBskyRichtextFacet!]`.
	GraphQL() string
	// Value is what the column holds for v: a string, int64, bool, time.Time or
	// a slice of one of these. It is nil when v does not fit the column.
	Value(v *fastjson.Value) any
	// check reports to w what in v breaks the lexicon, and the links in v.
	check(w *walk, v *fastjson.Value)
	// describe writes all that decides how a value is read, for fingerprints.
	describe(d *digest)
}

// Scalars of the API that GraphQL does not bring along.
const (
	gqlJSON     = "JSON"
	gqlLong     = "Long"
	gqlDateTime = "DateTime"
)

// noColumn is embedded by types whose values stay in the record.
type noColumn struct{}

func (noColumn) SQL() string               { return "" }
func (noColumn) Value(*fastjson.Value) any { return nil }
