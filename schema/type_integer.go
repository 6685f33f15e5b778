package schema

import (
	"math"
	"slices"
	"strconv"

	"github.com/valyala/fastjson"
)

// Integer is the lexicon type `integer`: 64-bit, though the data model asks
// for no more than 53 bits; see https://atproto.com/specs/data-model.
type Integer struct {
	Minimum, Maximum *int
	Enum             []int
	Const            *int
}

func (*Integer) SQL() string     { return "bigint" }
func (*Integer) GraphQL() string { return gqlLong }

func (*Integer) Value(v *fastjson.Value) any {
	if v.Type() != fastjson.TypeNumber {
		return nil
	}
	if n, ok := parseInteger(v.MarshalTo(nil)); ok {
		return n
	}
	return nil
}

func (t *Integer) check(w *walk, v *fastjson.Value) {
	n, ok := t.Value(v).(int64)
	if !ok {
		w.wrongType("integer", v)
		return
	}
	i := int(n)
	switch {
	case t.Const != nil && i != *t.Const:
		w.flag("integer is not the constant %d", *t.Const)
	case t.Minimum != nil && i < *t.Minimum:
		w.flag("integer is under the minimum of %d", *t.Minimum)
	case t.Maximum != nil && i > *t.Maximum:
		w.flag("integer is over the maximum of %d", *t.Maximum)
	case len(t.Enum) > 0 && !slices.Contains(t.Enum, i):
		w.flag("integer is not one of the %d allowed values", len(t.Enum))
	}
}

func (t *Integer) describe(d *digest) { d.add("integer", t.Minimum, t.Maximum, t.Enum, t.Const) }

// parseInteger reads a JSON number that is a whole number of 64 bits. `1.0`
// and `1e3` are whole: JSON has one kind of number, and encoders differ.
func parseInteger(token []byte) (int64, bool) {
	if n, err := strconv.ParseInt(string(token), 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(token), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}
