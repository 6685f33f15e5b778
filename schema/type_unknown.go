package schema

import "github.com/valyala/fastjson"

// Unknown is the lexicon type `unknown`: any object.
type Unknown struct{ noColumn }

func (*Unknown) GraphQL() string { return gqlJSON }

func (*Unknown) check(w *walk, v *fastjson.Value) {
	if v.Type() != fastjson.TypeObject {
		w.wrongType("object", v)
	}
	w.untyped(v)
}

func (*Unknown) describe(d *digest) { d.add("unknown") }

// Unresolved stands for a reference that no loaded lexicon resolves: any value
// passes, and the API gives it as JSON.
type Unresolved struct {
	noColumn
	Ref string
	at  site
}

func (*Unresolved) GraphQL() string { return gqlJSON }

func (*Unresolved) check(w *walk, v *fastjson.Value) { w.untyped(v) }

func (t *Unresolved) describe(d *digest) { d.add("unresolved", t.Ref) }
