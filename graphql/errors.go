package graphql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// Codes in extensions.code of errors, besides gqlgen's GRAPHQL_PARSE_FAILED
// and GRAPHQL_VALIDATION_FAILED.
const (
	codeInput    = "BAD_USER_INPUT"         // an argument's value
	codeDepth    = "DEPTH_LIMIT_EXCEEDED"   // Config.MaxDepth
	codeCost     = "COST_LIMIT_EXCEEDED"    // Config.MaxCost, MaxFields
	codeAnswer   = "ANSWER_TOO_LARGE"       // Config.MaxAnswer
	codeTimeout  = "TIMEOUT"                // Config.Timeout
	codeRequest  = "BAD_REQUEST"            // HTTP: no request of GraphQL
	codeTooLarge = "REQUEST_TOO_LARGE"      // Config.MaxBody
	codeMethod   = "METHOD_NOT_ALLOWED"     // HTTP
	codeMedia    = "UNSUPPORTED_MEDIA_TYPE" // HTTP
	codeOff      = "INTROSPECTION_DISABLED" // Config.NoIntrospection
	codeInternal = "INTERNAL_SERVER_ERROR"  // told in the log
	codeBusy     = "SERVICE_UNAVAILABLE"    // no connection to the database
)

// badInput says which argument of which field is wrong, and why.
func badInput(path ast.Path, at string, err error) *gqlerror.Error {
	return &gqlerror.Error{
		Err:        err,
		Message:    fmt.Sprintf("%s: %v", at, err),
		Path:       path,
		Extensions: map[string]any{"code": codeInput},
	}
}

// presentDatabase is what a client is told of an error of the database. told
// is false for what the log should have.
func presentDatabase(path ast.Path, err error) (e *gqlerror.Error, told bool) {
	e = &gqlerror.Error{Err: err, Path: path}
	var pgErr *pgconn.PgError
	switch {
	case errors.Is(err, errTooLarge):
		e.Message, e.Extensions = "the answer is too large: ask for smaller pages or fewer fields", map[string]any{"code": codeAnswer}
		return e, true
	case errors.As(err, &pgErr) && pgErr.Code == "57014", // query_canceled: statement_timeout, or us
		errors.Is(err, context.DeadlineExceeded):
		e.Message, e.Extensions = "the query took too long and was given up: ask for less, or filter and sort by what has an index", map[string]any{"code": codeTimeout}
		return e, true
	case errors.Is(err, context.Canceled):
		e.Message, e.Extensions = "the request was cancelled", map[string]any{"code": codeTimeout}
		return e, true
	case pgErr != nil && pgErr.Code == "22023" && strings.HasPrefix(pgErr.Message, "time zone "):
		// One that we know and this Postgres does not.
		e.Message, e.Extensions = "the database does not know the time zone", map[string]any{"code": codeInput}
		return e, true
	case pgErr == nil, unavailable(pgErr.Code):
		e.Message, e.Extensions = "the database cannot take the query now: try again", map[string]any{"code": codeBusy}
	default:
		e.Message, e.Extensions = "internal error", map[string]any{"code": codeInternal}
	}
	return e, false
}

// unavailable says whether an SQLSTATE is of a server that cannot take the
// query now: connection errors, no connection or memory left, shutting down.
func unavailable(code string) bool {
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "53") || strings.HasPrefix(code, "57P")
}
