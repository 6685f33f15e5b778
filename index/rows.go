package index

import (
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/schema"
)

// upsertArgs turns rows into the arrays that upsertSQL takes, one per column.
func upsertArgs(c *schema.Collection, keys []key, changes []change, hidden func(did string) bool) []any {
	n := len(keys)
	rkeys, dids := make([]string, n), make([]string, n)
	cids := make([]*string, n)
	revs, records := make([]string, n), make([]string, n)
	indexedAt, sortAt := make([]time.Time, n), make([]time.Time, n)
	flagged, hiddens := make([]bool, n), make([]bool, n)
	for i, k := range keys {
		ch := &changes[i]
		rkeys[i], dids[i] = k.rkey, k.did
		if ch.cid != "" {
			cids[i] = &ch.cid
		}
		revs[i], records[i] = string(ch.rev), string(ch.row.Record)
		indexedAt[i], sortAt[i] = ch.at, sortTime(k.rkey, ch)
		flagged[i], hiddens[i] = len(ch.row.Flags) > 0, hidden(k.did)
	}
	args := []any{rkeys, dids, cids, revs, indexedAt, sortAt, flagged, hiddens, records}
	for i, col := range c.Columns {
		args = append(args, columnArray(col.SQL(), i, changes))
	}
	return args
}

// copySource gives COPY the rows that upsertArgs gives an upsert.
type copySource struct {
	keys   []key
	rows   []change
	hidden func(did string) bool
	next   int
	values []any
}

func (s *copySource) Next() bool {
	s.next++
	return s.next <= len(s.keys)
}

func (s *copySource) Err() error { return nil }

// Values are good until the next call.
func (s *copySource) Values() ([]any, error) {
	k, ch := s.keys[s.next-1], &s.rows[s.next-1]
	var cid any
	if ch.cid != "" {
		cid = ch.cid
	}
	s.values = append(s.values[:0], k.rkey, k.did, cid, string(ch.rev), ch.at, sortTime(k.rkey, ch),
		len(ch.row.Flags) > 0, s.hidden(k.did), ch.row.Record)
	s.values = append(s.values, ch.row.Values...)
	return s.values, nil
}

// sortTime is the earlier of what the record claims and when it was seen: a
// record dated in the future does not stay on top of every list. A record that
// claims nothing is dated by its key if that is a TID: what is read with a whole
// repository was all seen at one time.
func sortTime(rkey string, ch *change) time.Time {
	claimed := ch.row.SortAt
	if claimed.IsZero() {
		if tid, err := syntax.ParseTID(rkey); err == nil && !tid.Time().Before(networkBegan) {
			claimed = tid.Time()
		}
	}
	if !claimed.IsZero() && claimed.Before(ch.at) {
		return claimed
	}
	return ch.at
}

// networkBegan is before the first repository; a TID of an earlier time is a name
// that looks like one.
var networkBegan = time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)

func columnArray(sql string, column int, changes []change) any {
	switch sql {
	case "boolean":
		return pointers[bool](column, changes)
	case "bigint":
		return pointers[int64](column, changes)
	case "timestamptz":
		return pointers[time.Time](column, changes)
	case "text":
		return pointers[string](column, changes)
	}
	// An array: as the text of one, see upsertColumns.
	out := make([]*string, len(changes))
	for i := range changes {
		if v := changes[i].row.Values[column]; v != nil {
			text := arrayLiteral(v)
			out[i] = &text
		}
	}
	return out
}

func pointers[T any](column int, changes []change) []*T {
	out := make([]*T, len(changes))
	for i := range changes {
		if v, ok := changes[i].row.Values[column].(T); ok {
			out[i] = &v
		}
	}
	return out
}

// arrayLiteral is the text form of a Postgres array; see
// https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO.
func arrayLiteral(v any) string {
	var items []string
	switch v := v.(type) {
	case []string:
		for _, s := range v {
			items = append(items, `"`+arrayEscapes.Replace(s)+`"`)
		}
	case []int64:
		for _, n := range v {
			items = append(items, strconv.FormatInt(n, 10))
		}
	case []bool:
		for _, b := range v {
			items = append(items, strconv.FormatBool(b))
		}
	case []time.Time:
		for _, t := range v {
			items = append(items, `"`+t.UTC().Format("2006-01-02T15:04:05.999999Z07:00")+`"`)
		}
	}
	return "{" + strings.Join(items, ",") + "}"
}

var arrayEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
