package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Repairs are for what JSON can say and jsonb cannot hold. They are rare, so
// the way there is short (needsRepair) and the way back is plain.

// The reasons of flags that a repair leaves behind.
const (
	repairedNUL    = "U+0000 stored as U+FFFD"
	repairedNumber = "number is out of range; stored as text"
	repairedText   = "text that is not Unicode, or a property twice; stored without"
)

// RepairReasons are the reasons of all flags that [Row] sets because it changed
// the record, so that the stored one no longer shows why.
var RepairReasons = []string{repairedNUL, repairedNumber, repairedText}

// needsRepair says whether record holds U+0000, half a surrogate pair or bytes
// that are not UTF-8. It reads escapes exactly: `\\u0000` is text.
func needsRepair(record []byte) bool {
	if !utf8.Valid(record) {
		return true
	}
	for rest := record; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 || i+1 >= len(rest) {
			return false
		}
		if rest[i+1] != 'u' {
			rest = rest[i+2:]
			continue
		}
		unit, ok := hex4(rest[i+2:])
		if !ok || unit == 0 || isLowSurrogate(unit) {
			return true
		}
		rest = rest[i+6:]
		if isHighSurrogate(unit) {
			if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
				return true
			}
			if low, ok := hex4(rest[2:]); !ok || !isLowSurrogate(low) {
				return true
			}
			rest = rest[6:]
		}
	}
}

func hex4(b []byte) (uint16, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return uint16(n), err == nil
}

func isHighSurrogate(u uint16) bool { return u >= 0xD800 && u < 0xDC00 }
func isLowSurrogate(u uint16) bool  { return u >= 0xDC00 && u < 0xE000 }

// repair writes record again so that jsonb takes it: U+FFFD for what is no
// text, a string for a number out of range, the last of several equal keys.
func repair(record []byte) ([]byte, []Flag, error) {
	decoder := json.NewDecoder(bytes.NewReader(record))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, nil, fmt.Errorf("%w: %s", ErrNoRecord, clip(err.Error(), 200))
	}
	r := repairer{}
	v = r.value(v, "")
	if len(r.flags) == 0 {
		// The decoder has mended surrogates, UTF-8 and double keys on its way, and
		// does not say where.
		r.flags = []Flag{{"", repairedText}}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, nil, fmt.Errorf("%w: %s", ErrNoRecord, clip(err.Error(), 200))
	}
	slices.SortFunc(r.flags, func(a, b Flag) int { return strings.Compare(a.Path, b.Path) })
	return bytes.TrimSpace(out.Bytes()), r.flags, nil
}

type repairer struct{ flags []Flag }

func (r *repairer) value(v any, path string) any {
	switch v := v.(type) {
	case string:
		return r.text(v, path)
	case json.Number:
		if !storable(v.String()) {
			r.flags = append(r.flags, Flag{path, repairedNumber})
			return v.String()
		}
	case []any:
		for i := range v {
			v[i] = r.value(v[i], path+"["+strconv.Itoa(i)+"]")
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			at := key
			if path != "" {
				at = path + "." + key
			}
			at = strings.ReplaceAll(clip(at, 500), "\x00", "\uFFFD")
			out[r.text(key, at)] = r.value(inner, at)
		}
		return out
	}
	return v
}

func (r *repairer) text(s, path string) string {
	if !strings.Contains(s, "\x00") {
		return s
	}
	r.flags = append(r.flags, Flag{path, repairedNUL})
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}

// storable says whether jsonb's numeric can hold a JSON number: its range ends
// at 131,072 digits, a double's long before.
func storable(number string) bool {
	if len(number) > 1000 {
		return false
	}
	f, err := strconv.ParseFloat(number, 64)
	return err == nil && !math.IsInf(f, 0)
}
