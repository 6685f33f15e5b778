package schema

import (
	"time"

	"github.com/valyala/fastjson"
)

// Array is the lexicon type `array`. An array of scalars has an array column;
// any other is read from the record.
type Array struct {
	Items                Type
	MinLength, MaxLength *int

	ref string // the definition's full name; "" for an array written inside another
}

func (t *Array) SQL() string {
	if t.Items == nil {
		return ""
	}
	switch item := t.Items.(type) {
	case *Boolean, *Integer, *String, *CIDLink:
		return item.SQL() + "[]"
	}
	return ""
}

func (t *Array) GraphQL() string { return "[" + t.Items.GraphQL() + "!]" }

// Value is nil when a single element does not fit: half an array would answer
// a `has` filter wrongly.
func (t *Array) Value(v *fastjson.Value) any {
	items, err := v.Array()
	if err != nil {
		return nil
	}
	switch t.SQL() {
	case "boolean[]":
		return columnArray[bool](t.Items, items)
	case "bigint[]":
		return columnArray[int64](t.Items, items)
	case "text[]":
		return columnArray[string](t.Items, items)
	case "timestamptz[]":
		return columnArray[time.Time](t.Items, items)
	}
	return nil
}

func columnArray[T any](item Type, items []*fastjson.Value) any {
	out := make([]T, len(items))
	for i, v := range items {
		fit, ok := item.Value(v).(T)
		if !ok {
			return nil
		}
		out[i] = fit
	}
	return out
}

func (t *Array) check(w *walk, v *fastjson.Value) {
	items, err := v.Array()
	if err != nil {
		w.wrongType("array", v)
		return
	}
	switch {
	case t.MinLength != nil && len(items) < *t.MinLength:
		w.flag("array of %d is under the minimum of %d", len(items), *t.MinLength)
	case t.MaxLength != nil && len(items) > *t.MaxLength:
		w.flag("array of %d is over the maximum of %d", len(items), *t.MaxLength)
	}
	for i, item := range items {
		w.enterItem(i, item)
		t.Items.check(w, item)
		w.leave()
	}
}

func (t *Array) describe(d *digest) {
	d.add("array", t.MinLength, t.MaxLength)
	d.descend(t.Items)
}
