package schema

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rivo/uniseg"
	"github.com/valyala/fastjson"
)

// String is the lexicon type `string`, with or without a format. The format
// `datetime` has a timestamptz column; all others are text.
type String struct {
	Format                     string
	MinLength, MaxLength       *int // UTF-8 bytes
	MinGraphemes, MaxGraphemes *int
	Enum                       []string
	KnownValues                []string // suggestions; others are as valid
	Const                      *string
}

func (t *String) SQL() string {
	if t.Format == "datetime" {
		return "timestamptz"
	}
	return "text"
}

func (t *String) GraphQL() string {
	if t.Format == "datetime" {
		return gqlDateTime
	}
	return "String"
}

// Link says what values of the string point at.
func (t *String) Link() LinkKind {
	switch t.Format {
	case "at-uri":
		return LinkRecord
	case "did", "at-identifier":
		return LinkDID
	case "uri":
		return LinkURL
	}
	return LinkNone
}

func (t *String) Value(v *fastjson.Value) any {
	if v.Type() != fastjson.TypeString {
		return nil
	}
	s := string(v.GetStringBytes())
	if t.Format == "datetime" {
		if at, err := parseDatetime(s); err == nil {
			return at
		}
		return nil
	}
	return s
}

func (t *String) check(w *walk, v *fastjson.Value) {
	if v.Type() != fastjson.TypeString {
		w.wrongType("string", v)
		return
	}
	s := string(v.GetStringBytes())
	if reason := t.breach(s); reason != "" {
		w.flag("%s", reason)
	}
	if kind := t.Link(); kind != LinkNone {
		w.link(kind, s)
	}
}

// breach says how s breaks the type; "" when it does not.
func (t *String) breach(s string) string {
	switch {
	case t.Const != nil && s != *t.Const:
		return fmt.Sprintf("string is not the constant %q", *t.Const)
	case t.MinLength != nil && len(s) < *t.MinLength:
		return fmt.Sprintf("string of %d bytes is under the minimum of %d", len(s), *t.MinLength)
	case t.MaxLength != nil && len(s) > *t.MaxLength:
		return fmt.Sprintf("string of %d bytes is over the maximum of %d", len(s), *t.MaxLength)
	case len(t.Enum) > 0 && !slices.Contains(t.Enum, s):
		return fmt.Sprintf("string is not one of the %d allowed values", len(t.Enum))
	}
	if reason := t.graphemeBreach(s); reason != "" {
		return reason
	}
	if t.Format == "" {
		return ""
	}
	if err := checkFormat(t.Format, s); err != nil {
		return fmt.Sprintf("not a valid %s: %v", t.Format, err)
	}
	return ""
}

func (t *String) graphemeBreach(s string) string {
	// A grapheme is a byte at least, so short strings need no counting; counting
	// is the costliest check there is.
	if t.MinGraphemes == nil && (t.MaxGraphemes == nil || len(s) <= *t.MaxGraphemes) {
		return ""
	}
	n := uniseg.GraphemeClusterCount(s)
	switch {
	case t.MinGraphemes != nil && n < *t.MinGraphemes:
		return fmt.Sprintf("string of %d graphemes is under the minimum of %d", n, *t.MinGraphemes)
	case t.MaxGraphemes != nil && n > *t.MaxGraphemes:
		return fmt.Sprintf("string of %d graphemes is over the maximum of %d", n, *t.MaxGraphemes)
	}
	return ""
}

func (t *String) describe(d *digest) {
	d.add("string", t.Format, t.MinLength, t.MaxLength, t.MinGraphemes, t.MaxGraphemes, t.Enum, t.Const)
}

// checkFormat holds s against a string format; see
// https://atproto.com/specs/lexicon#string-formats.
func checkFormat(format, s string) error {
	var err error
	switch format {
	case "at-identifier":
		_, err = syntax.ParseAtIdentifier(s)
	case "at-uri":
		_, err = syntax.ParseATURI(s)
	case "cid":
		_, err = syntax.ParseCID(s)
	case "datetime":
		_, err = parseDatetime(s)
	case "did":
		_, err = syntax.ParseDID(s)
	case "handle":
		_, err = syntax.ParseHandle(s)
	case "nsid":
		_, err = syntax.ParseNSID(s)
	case "uri":
		_, err = syntax.ParseURI(s)
	case "language":
		_, err = syntax.ParseLanguage(s)
	case "tid":
		_, err = syntax.ParseTID(s)
	case "record-key":
		_, err = syntax.ParseRecordKey(s)
	}
	return err
}

// parseDatetime reads an atproto datetime, cut to the microseconds that
// Postgres keeps. A moment that is before the year 1 in UTC is refused: it has
// no text form that comes back.
func parseDatetime(s string) (time.Time, error) {
	if _, err := syntax.ParseDatetime(s); err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, err
	}
	at = at.UTC().Truncate(time.Microsecond)
	if at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}, fmt.Errorf("year %d in UTC is out of range", at.Year())
	}
	return at, nil
}

// hasScheme tells an http(s) URL from prose that happens to hold a colon.
func hasScheme(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}
