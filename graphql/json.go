package graphql

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// A scanner of the JSON that Postgres writes: valid, so it only has to find
// where values end. On text that is not JSON it stops early and never reads
// out of bounds.

// skipSpace is the index of the next byte that is no white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString is the index behind the string that starts at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b); {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		end := i + n
		// A quote is one unless an odd number of backslashes stands before it.
		slashes := 0
		for end-1-slashes >= i && b[end-1-slashes] == '\\' {
			slashes++
		}
		i = end + 1
		if slashes%2 == 0 {
			return i
		}
	}
	return len(b)
}

// skipValue is the index behind the value that starts at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			for i++; i < len(b) && !bytes.ContainsRune([]byte(",:]} \n\t\r"), rune(b[i])); i++ {
			}
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

// elements goes through the values of an array.
type elements struct {
	b []byte
	i int
}

// scanArray starts behind the bracket. ok is false for what is no array.
func scanArray(b []byte) (e elements, ok bool) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return e, false
	}
	return elements{b, i + 1}, true
}

func (e *elements) next() (value []byte, ok bool) {
	i := skipSpace(e.b, e.i)
	if i < len(e.b) && e.b[i] == ',' {
		i = skipSpace(e.b, i+1)
	}
	if i >= len(e.b) || e.b[i] == ']' {
		return nil, false
	}
	end := skipValue(e.b, i)
	if end == i {
		return nil, false
	}
	e.i = end
	return e.b[i:end], true
}

// members goes through the properties of an object.
type members elements

func scanObject(b []byte) (m members, ok bool) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return m, false
	}
	return members{b, i + 1}, true
}

// next gives the key as it is written, with its quotes.
func (m *members) next() (key, value []byte, ok bool) {
	e := elements(*m)
	if e.i < len(e.b) && skipSpace(e.b, e.i) < len(e.b) && e.b[skipSpace(e.b, e.i)] == '}' {
		return nil, nil, false
	}
	if key, ok = e.next(); !ok || key[0] != '"' {
		return nil, nil, false
	}
	i := skipSpace(e.b, e.i)
	if i >= len(e.b) || e.b[i] != ':' {
		return nil, nil, false
	}
	i = skipSpace(e.b, i+1)
	end := skipValue(e.b, i)
	if end == i {
		return nil, nil, false
	}
	m.i = end
	return key, e.b[i:end], true
}

// property finds one value of an object by its key, which is quoted.
func property(b []byte, key string) []byte {
	m, ok := scanObject(b)
	for ok {
		var k, v []byte
		if k, v, ok = m.next(); ok && string(k) == key {
			return v
		}
	}
	return nil
}

func isNullJSON(v []byte) bool { return len(v) == 0 || v[0] == 'n' }

const hexDigits = "0123456789abcdef"

// quote appends text as a JSON string, escaped as Postgres escapes it.
func quote(dst, text []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i, c := range text {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, text[start:]...)
	return append(dst, '"')
}

// unquoted is a JSON string's text.
func unquoted(token []byte) []byte {
	if len(token) < 2 {
		return nil
	}
	inner := token[1 : len(token)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	out := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		if inner[i] != '\\' || i+1 == len(inner) {
			out = append(out, inner[i])
			continue
		}
		i++
		switch c := inner[i]; c {
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'u':
			// Postgres writes control characters so, and nothing else.
			var r rune
			for n := 0; n < 4 && i+1 < len(inner); n++ {
				i++
				r = r<<4 | rune(max(0, bytes.IndexByte([]byte(hexDigits), inner[i]|0x20)))
				if inner[i] <= '9' {
					r = r&^15 | rune(inner[i]-'0')
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return out
}

// appendTime writes a moment as the API does. text is how Postgres writes a
// timestamptz: `2026-01-01 00:00:00.5+00`, in JSON with a T.
func appendTime(dst, text []byte) ([]byte, bool) {
	if len(text) < 22 || text[4] != '-' || !isUTC(text) {
		at, err := parsePostgresTime(string(text))
		if err != nil {
			return dst, false
		}
		return appendMoment(dst, at), true
	}
	dst = append(dst, '"')
	dst = append(dst, text[:10]...)
	dst = append(dst, 'T')
	dst = append(dst, text[11:19]...)
	fraction := text[19:bytes.LastIndexByte(text, '+')]
	dst = appendFraction(dst, fraction)
	return append(dst, 'Z', '"'), true
}

func isUTC(text []byte) bool {
	return bytes.HasSuffix(text, []byte("+00")) || bytes.HasSuffix(text, []byte("+00:00")) && text[len(text)-9] != '+'
}

// appendFraction writes milliseconds, or microseconds where there are any.
// fraction is "" or starts with the point.
func appendFraction(dst, fraction []byte) []byte {
	width := 4
	if len(fraction) > width {
		width = 7
	}
	if len(fraction) == 0 {
		dst = append(dst, '.')
	} else {
		dst = append(dst, fraction[:min(len(fraction), width)]...)
	}
	for n := max(len(fraction), 1); n < width; n++ {
		dst = append(dst, '0')
	}
	return dst
}

func appendMoment(dst []byte, at time.Time) []byte {
	at = at.UTC()
	format := `"2006-01-02T15:04:05.000Z"`
	if at.Nanosecond()/1000%1000 != 0 {
		format = `"2006-01-02T15:04:05.000000Z"`
	}
	return at.AppendFormat(dst, format)
}
