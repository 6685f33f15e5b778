package graphql

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A cursor is base64url of the JSON `{"o":order,"v":[values of the sort keys]}`,
// the record's key among the values. Values of 64 bits and timestamps are
// text. The order is a fingerprint: a cursor says nothing in a list that is
// sorted otherwise.
type cursor struct {
	Order  string    `json:"o"`
	Values []*string `json:"v"`
}

// errCursor is returned for a text that is no cursor of ours.
var errCursor = errors.New("not a cursor of this list")

// errCursorOrder is returned for a cursor of another list or another order.
var errCursorOrder = errors.New("a cursor of a list with another order: use it with the sortBy it came from")

// maxCursor bounds a cursor's length. Sort values are what records hold, so it
// has to be more than the longest text that somebody may sort by.
const maxCursor = 1 << 16

func parseCursor(text string) (cursor, error) {
	var c cursor
	if len(text) > maxCursor {
		return c, errCursor
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || !utf8.Valid(raw) || json.Unmarshal(raw, &c) != nil || len(c.Values) > maxSortKeys+3 {
		return c, errCursor
	}
	for _, v := range c.Values {
		if v != nil && strings.ContainsRune(*v, 0) {
			return c, errCursor
		}
	}
	return c, nil
}

// decodeCursor reads a cursor for the order. Values have the types of its keys.
func decodeCursor(text string, o order) ([]any, error) {
	c, err := parseCursor(text)
	if err != nil {
		return nil, err
	}
	if c.Order != o.fingerprint {
		return nil, errCursorOrder
	}
	if len(c.Values) != len(o.keys) {
		return nil, errCursor
	}
	values := make([]any, len(o.keys))
	for i, key := range o.keys {
		switch text := c.Values[i]; {
		case text == nil && key.nullable:
		case text == nil:
			return nil, errCursor
		default:
			if values[i], err = key.kind.parse(*text); err != nil {
				return nil, errCursor
			}
		}
	}
	return values, nil
}

// cursorShape is which values of a cursor are null: the SQL depends on it.
func cursorShape(text string) string {
	c, err := parseCursor(text)
	if err != nil {
		return "!"
	}
	out := make([]byte, len(c.Values))
	for i, v := range c.Values {
		out[i] = '1'
		if v == nil {
			out[i] = '0'
		}
	}
	return strconv.Quote(c.Order) + string(out) // quoted: what follows in the shape is not to be imitated
}

func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// postgresTime is how Postgres writes a timestamptz in UTC.
const postgresTime = "2006-01-02 15:04:05.999999-07"

func parsePostgresTime(text string) (time.Time, error) {
	if at, err := time.Parse(postgresTime, text); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}
