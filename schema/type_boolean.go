package schema

import "github.com/valyala/fastjson"

// Boolean is the lexicon type `boolean`.
type Boolean struct {
	Const *bool
}

func (*Boolean) SQL() string     { return "boolean" }
func (*Boolean) GraphQL() string { return "Boolean" }

func (*Boolean) Value(v *fastjson.Value) any {
	switch v.Type() {
	case fastjson.TypeTrue:
		return true
	case fastjson.TypeFalse:
		return false
	}
	return nil
}

func (t *Boolean) check(w *walk, v *fastjson.Value) {
	b, ok := t.Value(v).(bool)
	if !ok {
		w.wrongType("boolean", v)
		return
	}
	if t.Const != nil && b != *t.Const {
		w.flag("boolean is not the constant %t", *t.Const)
	}
}

func (t *Boolean) describe(d *digest) { d.add("boolean", t.Const) }
