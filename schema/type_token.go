package schema

import "github.com/valyala/fastjson"

// Token is the lexicon type `token`: a name without a value. A property that
// refers to one cannot be satisfied by any value, yet real lexicons have such
// properties (recipe types, say) and real records hold the name as a string.
type Token struct {
	noColumn
	Name string
}

func (*Token) GraphQL() string { return gqlJSON }

func (t *Token) check(w *walk, v *fastjson.Value) {
	w.flag("a token is no type for a value")
	w.untyped(v)
}

func (t *Token) describe(d *digest) { d.add("token", t.Name) }
