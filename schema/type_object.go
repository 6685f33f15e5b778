package schema

import (
	"slices"

	"github.com/valyala/fastjson"
)

// strongRefNSID is the lexicon whose main object names one version of a record.
const strongRefNSID = "com.atproto.repo.strongRef"

// Object is the lexicon type `object`, or the object of a record. It is read
// from the record; its links have columns (see [Collection.Columns]).
type Object struct {
	noColumn
	// Ref is the definition's full name, such as
	// `app.bsky.richtext.facet#byteSlice` or `app.bsky.embed.images` for a main
	// definition; "" for an object written inside another definition.
	Ref         string
	Description string
	Fields      []*Field // in alphabetical order: JSON objects have no other

	name   string // in GraphQL
	record bool   // the object of a record definition
	byName map[string]int
}

// Field is one property of an object.
type Field struct {
	Name        string // as in the record
	GraphQL     string // as in the API
	Description string
	Required    bool
	Nullable    bool
	Type        Type
}

func (t *Object) GraphQL() string { return t.name }

// StrongRef says whether the object is com.atproto.repo.strongRef.
func (t *Object) StrongRef() bool { return t.Ref == strongRefNSID }

// Field finds a property by its name in the record; nil when there is none.
func (t *Object) Field(name string) *Field {
	if i, ok := t.byName[name]; ok {
		return t.Fields[i]
	}
	return nil
}

func (t *Object) setFields(fields []*Field) {
	slices.SortFunc(fields, func(a, b *Field) int { return compareNames(a.Name, b.Name) })
	t.Fields = fields
	t.byName = make(map[string]int, len(fields))
	for i, f := range fields {
		t.byName[f.Name] = i
	}
	nameFields(t)
}

func (t *Object) check(w *walk, v *fastjson.Value) {
	obj, err := v.Object()
	if err != nil {
		w.wrongType("object", v)
		return
	}
	w.checkShape(v)
	seen := make([]bool, len(t.Fields))
	obj.Visit(func(key []byte, v *fastjson.Value) {
		i, known := t.byName[string(key)]
		w.enter(string(key))
		defer w.leave()
		if !known {
			w.untyped(v)
			return
		}
		if seen[i] {
			w.duplicate = true
		}
		seen[i] = true
		if f := t.Fields[i]; v.Type() != fastjson.TypeNull || !f.Nullable {
			f.Type.check(w, v)
		}
	})
	for i, f := range t.Fields {
		if f.Required && !seen[i] {
			w.enter(f.Name)
			w.flag("required property is missing")
			w.leave()
		}
	}
}

func (t *Object) describe(d *digest) {
	d.add("object", t.Ref)
	for _, f := range t.Fields {
		d.add(f.Name, f.Required, f.Nullable)
		d.descend(f.Type)
	}
}
