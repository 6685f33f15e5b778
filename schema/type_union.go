package schema

import (
	"github.com/valyala/fastjson"
)

// Union is the lexicon type `union`: one of several definitions, told apart by
// `$type`. An open union (the default) may hold anything with a `$type`.
type Union struct {
	noColumn
	Description string
	Members     []*Member
	Closed      bool

	name    string // in GraphQL
	byRef   map[string]*Member
	catalog *Catalog
}

// Member is one listed alternative of a union.
type Member struct {
	Ref  string // the value's `$type`
	Type Type
}

// GraphQL is the union's own name, or JSON when it lists nothing that is an
// object in GraphQL (empty unions, unions of tokens).
func (t *Union) GraphQL() string {
	if len(t.Objects()) == 0 {
		return gqlJSON
	}
	return t.name
}

// Objects are the members that can be part of a GraphQL union, in the
// lexicon's order.
func (t *Union) Objects() []*Member {
	var out []*Member
	for _, m := range t.Members {
		if _, ok := m.Type.(*Object); ok {
			out = append(out, m)
		}
	}
	return out
}

func (t *Union) check(w *walk, v *fastjson.Value) {
	if v.Type() != fastjson.TypeObject {
		w.wrongType("object of a union", v)
		return
	}
	tag := v.Get("$type")
	if tag == nil || tag.Type() != fastjson.TypeString {
		w.flag("value of a union has no $type")
		w.untyped(v)
		return
	}
	ref := string(tag.GetStringBytes())
	if m, ok := t.byRef[ref]; ok {
		m.Type.check(w, v)
		return
	}
	if t.Closed {
		w.flag("%q is not part of the closed union", clip(ref, 100))
		w.untyped(v)
		return
	}
	// An open union may hold what another lexicon of this catalog describes. It
	// is looked up here and never over the network: the name is the writer's.
	if known, ok := t.catalog.data[canonicalRef(ref)]; ok {
		known.check(w, v)
		return
	}
	w.untyped(v)
}

func (t *Union) describe(d *digest) {
	d.add("union", t.Closed)
	for _, m := range t.Members {
		d.add(m.Ref)
		d.descend(m.Type)
	}
}
