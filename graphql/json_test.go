package graphql

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"
)

// rebuild reads JSON with our scanner, leaves with encoding/json.
func rebuild(t *testing.T, v []byte) any {
	t.Helper()
	if list, ok := scanArray(v); ok {
		out := []any{}
		for {
			item, ok := list.next()
			if !ok {
				return out
			}
			out = append(out, rebuild(t, item))
		}
	}
	if m, ok := scanObject(v); ok {
		out := map[string]any{}
		for {
			key, item, ok := m.next()
			if !ok {
				return out
			}
			var name string
			if err := json.Unmarshal(key, &name); err != nil {
				t.Fatalf("key %s: %v", key, err)
			}
			out[name] = rebuild(t, item)
		}
	}
	return leaf(t, v)
}

func leaf(t *testing.T, v []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(v))
	decoder.UseNumber()
	var out any
	if err := decoder.Decode(&out); err != nil {
		t.Fatalf("leaf %q: %v", v, err)
	}
	return out
}

// FuzzScanner holds the scanner against encoding/json, and only asks that it
// stops on what is no JSON.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"a": [1, -2.5e+3, "x\"y\\", {}, [], null, true], "b\\": {"c": ""}}`, `[[[[]]]]`, `"\\\\\""`, ` [ 1 , 2 ] `,
		`{"a":`, `[1,`, `{"a" 1}`, `["`, `]`, `{]`, `[1 2]`, `{"a":1,}`, "[\x00]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		splitRow(text, 3)
		splitRows(text, 150)
		property(text, `"a"`)
		if !json.Valid(text) || !utf8.Valid(text) {
			list, ok := scanArray(text)
			for ok {
				_, ok = list.next()
			}
			m, ok := scanObject(text)
			for ok {
				_, _, ok = m.next()
			}
			return
		}
		if got, want := rebuild(t, text), leaf(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %v, want %v", text, got, want)
		}
	})
}

func FuzzQuote(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x01\b\f\n\r\t\"\\/é🍲\u2028")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		quoted := quote(nil, []byte(text))
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != text {
			t.Errorf("%q is written as %s, read as %q (%v)", text, quoted, back, err)
		}
		if back := string(unquoted(quoted)); back != text {
			t.Errorf("%q is written as %s, read by us as %q", text, quoted, back)
		}
	})
}

func TestMoments(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"2026-01-01 00:00:00+00":              `"2026-01-01T00:00:00.000Z"`,
		"2026-01-01 00:00:00.5+00":            `"2026-01-01T00:00:00.500Z"`,
		"2026-01-01 00:00:00.123+00":          `"2026-01-01T00:00:00.123Z"`,
		"2026-01-01 00:00:00.1234+00":         `"2026-01-01T00:00:00.123400Z"`,
		"2026-01-01 00:00:00.123456+00":       `"2026-01-01T00:00:00.123456Z"`,
		"2026-01-01T00:00:00.000001+00:00":    `"2026-01-01T00:00:00.000001Z"`,
		"0001-01-01 00:00:00+00":              `"0001-01-01T00:00:00.000Z"`,
		"9999-12-31 23:59:59.999999+00":       `"9999-12-31T23:59:59.999999Z"`,
		"2026-01-01 02:00:00.25+02":           `"2026-01-01T00:00:00.250Z"`, // another time zone than ours
		"2026-01-01 00:00:00 BC":              ``,
		"infinity":                            ``,
		"":                                    ``,
		"2026-01-01 00:00:00.123456+05:00:00": ``,
	}
	for text, want := range tests {
		if got, ok := appendTime(nil, []byte(text)); string(got) != want || ok != (want != "") {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 67_000_000, time.FixedZone("", 3600))
	if got := string(appendMoment(nil, at)); got != `"2026-01-02T02:04:05.067Z"` {
		t.Errorf("%v is %s", at, got)
	}
}
