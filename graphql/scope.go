package graphql

import (
	"fmt"
	"strings"
)

// scope is a SELECT that is being written: a row of slots, and what is joined
// for them.
type scope struct {
	json   bool // its rows come as JSON arrays, inside a slot of another scope
	slots  []string
	index  map[string]int
	joins  []string
	joined map[string]string // alias by what is joined
}

func newScope(json bool) *scope {
	return &scope{json: json, index: map[string]int{}, joined: map[string]string{}}
}

// slot adds an expression to the row, or finds it there.
func (s *scope) slot(sql string, k kind) int {
	switch {
	case k == kindTime, !s.json && (k == kindLong || k == kindBoolean):
		// As text, so that Postgres' encodings are not ours to know. Within JSON,
		// numbers and booleans have none.
		if strings.Contains(sql, " ") {
			sql = parens(sql)
		}
		sql += "::text"
	}
	if i, ok := s.index[sql]; ok {
		return i
	}
	s.index[sql] = len(s.slots)
	s.slots = append(s.slots, sql)
	return len(s.slots) - 1
}

// join adds a join, or finds it.
func (s *scope) join(key string, write func() (alias, sql string)) string {
	if alias, ok := s.joined[key]; ok {
		return alias
	}
	alias, sql := write()
	s.joined[key] = alias
	s.joins = append(s.joins, sql)
	return alias
}

// finish writes the records that slots are read from; see [rec.json].
func (s *scope) finish() {
	parts := map[string]int{}
	var order []string
	for _, slot := range s.slots {
		for i, alias := range strings.Split(slot, "\x01") {
			if i%2 == 0 {
				continue
			}
			if parts[alias]++; parts[alias] == 1 {
				order = append(order, alias)
			}
		}
	}
	for _, alias := range order {
		record := alias + ".record"
		if parts[alias] > 1 {
			record = alias + "j.record"
			// OFFSET keeps Postgres from putting the expression back into each slot.
			s.joins = append(s.joins, fmt.Sprintf("cross join lateral (select %[1]s.record || '{}' as record offset 0) %[1]sj", alias))
		}
		for i := range s.slots {
			s.slots[i] = strings.ReplaceAll(s.slots[i], "\x01"+alias+"\x01", record)
		}
	}
}

func (s *scope) fromSQL(from string) string {
	return strings.Join(append([]string{from}, s.joins...), "\n")
}

func (s *scope) selectSQL(from string) string {
	s.finish()
	sql := "select " + strings.Join(s.slots, ",\n  ")
	if from != "" {
		sql += "\nfrom " + s.fromSQL(from)
	}
	return sql
}

// maxArguments is what a function of Postgres takes.
const maxArguments = 100

// array is the row as a JSON array. One that is longer than a function takes
// arguments has the rest as an array in its last place; see splitRow.
func (s *scope) array() string {
	s.finish()
	return buildArray(s.slots)
}

func buildArray(slots []string) string {
	if len(slots) <= maxArguments {
		return "json_build_array(" + strings.Join(slots, ", ") + ")"
	}
	head := slots[:maxArguments-1]
	return "json_build_array(" + strings.Join(head, ", ") + ", " + buildArray(slots[maxArguments-1:]) + ")"
}
