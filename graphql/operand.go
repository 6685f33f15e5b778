package graphql

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// kind is what an SQL expression's values are.
type kind int

const (
	kindText kind = iota
	kindLong
	kindBoolean
	kindTime
	kindJSON
	kindNumber // sums and averages
)

// sql is the kind's Postgres type.
func (k kind) sql() string {
	return [...]string{"text", "bigint", "boolean", "timestamptz", "jsonb", "numeric"}[k]
}

func kindOf(sql string) kind {
	switch sql {
	case "bigint":
		return kindLong
	case "boolean":
		return kindBoolean
	case "timestamptz":
		return kindTime
	case "text":
		return kindText
	}
	return kindJSON
}

// parse reads the kind's text form in cursors.
func (k kind) parse(text string) (any, error) {
	switch k {
	case kindLong:
		return strconv.ParseInt(text, 10, 64)
	case kindBoolean:
		return strconv.ParseBool(text)
	case kindTime:
		return parsePostgresTime(text)
	}
	return text, nil
}

// operand makes a value that a user gives one that Postgres takes.
func (k kind) operand(v any) (any, error) {
	switch k {
	case kindLong:
		return longOperand(v)
	case kindBoolean:
		return booleanOperand(v)
	case kindTime:
		return timeOperand(v)
	case kindNumber:
		return numberOperand(v)
	}
	return textOperand(v)
}

func textOperand(v any) (any, error) {
	s, ok := v.(string)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s is not a string", show(v))
	case strings.ContainsRune(s, 0):
		return nil, fmt.Errorf("%s holds U+0000, which no record does", show(v))
	case !utf8.ValidString(s):
		return nil, fmt.Errorf("%s is not UTF-8", show(v))
	}
	return s, nil
}

func longOperand(v any) (any, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case json.Number:
		if n, ok := wholeNumber(v.String()); ok {
			return n, nil
		}
	case float64:
		if n, ok := wholeNumber(strconv.FormatFloat(v, 'f', -1, 64)); ok {
			return n, nil
		}
	case string:
		if n, ok := wholeNumber(strings.TrimSpace(v)); ok {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%s is not a whole number of 64 bits", show(v))
}

func wholeNumber(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// numberOperand gives a number's digits.
func numberOperand(v any) (any, error) {
	text := ""
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10), nil
	case json.Number:
		text = v.String()
	case float64:
		text = strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		text = strings.TrimSpace(v)
	}
	// What Postgres takes for a number, too: neither 0x10 nor NaN, nor 1e999.
	if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(f, 0) && len(text) <= 100 && strings.Trim(text, "+-.0123456789eE") == "" {
		return text, nil
	}
	return nil, fmt.Errorf("%s is not a number", show(v))
}

func booleanOperand(v any) (any, error) {
	switch v {
	case true, "true":
		return true, nil
	case false, "false":
		return false, nil
	}
	return nil, fmt.Errorf("%s is not true or false", show(v))
}

// timeForms are what a DateTime may look like, beside RFC 3339.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", time.DateTime, time.DateOnly}

func timeOperand(v any) (any, error) {
	if s, ok := v.(string); ok {
		for _, form := range timeForms {
			if at, err := time.Parse(form, s); err == nil {
				// Postgres keeps microseconds, and has no year 0.
				if at = at.UTC().Truncate(time.Microsecond); at.Year() > 0 && at.Year() < 10000 {
					return at, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("%s is not a date or a time", show(v))
}

// show writes a value in a message.
func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "the value"
	}
	if len(text) > 100 {
		return strings.ToValidUTF8(string(text[:100]), "") + "…"
	}
	return string(text)
}

// operands makes a list one that Postgres takes as an array.
func (k kind) operands(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	switch k {
	case kindLong:
		return operandsOf[int64](k, list)
	case kindBoolean:
		return operandsOf[bool](k, list)
	case kindTime:
		return operandsOf[time.Time](k, list)
	}
	return operandsOf[string](k, list)
}

func operandsOf[T any](k kind, list []any) (any, error) {
	out := make([]T, len(list))
	for i, v := range list {
		operand, err := k.operand(v)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		out[i], _ = operand.(T)
	}
	return out, nil
}

// likePattern finds s anywhere, itself and not as a pattern.
func likePattern(v any) (any, error) {
	s, err := textOperand(v)
	if err != nil {
		return nil, err
	}
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s.(string)) + "%", nil
}

// foldsBeyondASCII says whether upper and lower case of s differ outside of
// ASCII. How far Postgres knows of that depends on how the database was made.
func foldsBeyondASCII(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf && unicode.SimpleFold(r) != r })
}

// foldPattern is a regular expression that finds s in upper and lower case, by
// Unicode's table and not by the database's.
func foldPattern(v any) (any, error) {
	s, err := textOperand(v)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, r := range s.(string) {
		if unicode.SimpleFold(r) == r {
			b.WriteString(regexp.QuoteMeta(string(r)))
			continue
		}
		b.WriteByte('[')
		b.WriteRune(r)
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			b.WriteRune(other)
		}
		b.WriteByte(']')
	}
	// `***=` or `***:` at the start would be read as a director.
	return "(?:" + b.String() + ")", nil
}
