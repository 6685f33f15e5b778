package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// compile turns parsed lexicons (sorted by NSID) into a catalog.
func compile(lexicons []Lexicon, problems []Problem) *Catalog {
	c := &compiler{
		catalog: &Catalog{
			Lexicons: lexicons,
			Problems: problems,
			byNSID:   map[syntax.NSID]*Collection{},
			data:     map[string]Type{},
		},
		defs: map[string]definition{},
	}
	for _, lex := range lexicons {
		for name, def := range lex.parsed.Defs {
			ref := canonicalRef(string(lex.NSID) + "#" + name)
			c.defs[ref] = definition{nsid: lex.NSID, file: lex.File, inner: def.Inner}
		}
	}
	for _, ref := range sortedKeys(c.defs) {
		c.resolve(ref)
	}
	for _, lex := range lexicons {
		if rec, ok := lex.parsed.Defs["main"].Inner.(lexicon.SchemaRecord); ok {
			c.catalog.Collections = append(c.catalog.Collections, c.collection(lex, rec))
		}
	}
	for _, col := range c.catalog.Collections {
		c.catalog.byNSID[col.NSID] = col
	}
	name(c.catalog)
	r := reach{seen: map[Type]bool{}}
	for _, col := range c.catalog.Collections {
		col.build()
		r.visit(col.Object)
	}
	for _, t := range r.unresolved {
		c.problem(t.at, fmt.Sprintf("reference %s is not resolved; read as JSON", t.Ref))
	}
	slices.SortStableFunc(c.catalog.Problems, func(a, b Problem) int {
		return strings.Compare(a.File+a.Reason, b.File+b.Reason)
	})
	return c.catalog
}

type compiler struct {
	catalog *Catalog
	defs    map[string]definition
}

type definition struct {
	nsid  syntax.NSID
	file  string
	inner any
}

// site is where a type is written: the lexicon that relative refs start from,
// for messages also its file.
type site struct {
	nsid syntax.NSID
	file string
}

// resolve gives the type that data named by ref has; nil when there is none.
func (c *compiler) resolve(ref string) Type {
	ref = canonicalRef(ref)
	if t, ok := c.catalog.data[ref]; ok {
		return t
	}
	def, ok := c.defs[ref]
	if !ok {
		return nil
	}
	at := site{def.nsid, def.file}
	switch inner := def.inner.(type) {
	case lexicon.SchemaRecord:
		obj := &Object{Ref: ref, Description: text(inner.Description), record: true}
		if obj.Description == "" {
			obj.Description = text(inner.Record.Description)
		}
		c.catalog.data[ref] = obj // before its fields: they may lead back here
		c.fill(obj, inner.Record, at)
		return obj
	case lexicon.SchemaObject:
		obj := &Object{Ref: ref, Description: text(inner.Description)}
		c.catalog.data[ref] = obj
		c.fill(obj, inner, at)
		return obj
	case lexicon.SchemaArray:
		arr := &Array{MinLength: inner.MinLength, MaxLength: inner.MaxLength, ref: ref}
		c.catalog.data[ref] = arr
		arr.Items = c.typ(inner.Items.Inner, at)
		return arr
	case lexicon.SchemaToken:
		c.catalog.data[ref] = &Token{Name: ref}
	case lexicon.SchemaBoolean, lexicon.SchemaInteger, lexicon.SchemaString, lexicon.SchemaBytes,
		lexicon.SchemaCIDLink, lexicon.SchemaBlob:
		c.catalog.data[ref] = c.typ(inner, at)
	default:
		return nil // a query, procedure, subscription or permission set: no data has this type
	}
	return c.catalog.data[ref]
}

func (c *compiler) fill(obj *Object, s lexicon.SchemaObject, at site) {
	fields := make([]*Field, 0, len(s.Properties))
	for _, prop := range sortedKeys(s.Properties) {
		inner := s.Properties[prop].Inner
		fields = append(fields, &Field{
			Name:        prop,
			Description: describe(inner),
			Required:    slices.Contains(s.Required, prop),
			Nullable:    slices.Contains(s.Nullable, prop),
			Type:        c.typ(inner, at),
		})
	}
	obj.setFields(fields)
}

func (c *compiler) typ(inner any, at site) Type {
	switch s := inner.(type) {
	case lexicon.SchemaBoolean:
		return &Boolean{Const: s.Const}
	case lexicon.SchemaInteger:
		return &Integer{Minimum: s.Minimum, Maximum: s.Maximum, Enum: s.Enum, Const: s.Const}
	case lexicon.SchemaString:
		return &String{Format: text(s.Format), MinLength: s.MinLength, MaxLength: s.MaxLength,
			MinGraphemes: s.MinGraphemes, MaxGraphemes: s.MaxGraphemes, Enum: s.Enum, KnownValues: s.KnownValues, Const: s.Const}
	case lexicon.SchemaBytes:
		return &Bytes{MinLength: s.MinLength, MaxLength: s.MaxLength}
	case lexicon.SchemaCIDLink:
		return &CIDLink{}
	case lexicon.SchemaBlob:
		return &Blob{Accept: s.Accept, MaxSize: s.MaxSize}
	case lexicon.SchemaUnknown:
		return &Unknown{}
	case lexicon.SchemaArray:
		return &Array{Items: c.typ(s.Items.Inner, at), MinLength: s.MinLength, MaxLength: s.MaxLength}
	case lexicon.SchemaObject:
		obj := &Object{Description: text(s.Description)}
		c.fill(obj, s, at)
		return obj
	case lexicon.SchemaRef:
		return c.ref(s.Ref, at)
	case lexicon.SchemaUnion:
		return c.union(s, at)
	}
	return &Unresolved{Ref: fmt.Sprintf("%T", inner), at: at} // indigo lets no other type be a value's
}

func (c *compiler) ref(ref string, at site) Type {
	full := canonicalRef(absolute(ref, at.nsid))
	if t := c.resolve(full); t != nil {
		return t
	}
	return &Unresolved{Ref: full, at: at}
}

func (c *compiler) union(s lexicon.SchemaUnion, at site) Type {
	u := &Union{
		Description: text(s.Description),
		Closed:      s.Closed != nil && *s.Closed,
		byRef:       map[string]*Member{},
		catalog:     c.catalog,
	}
	for _, ref := range s.Refs {
		full := canonicalRef(absolute(ref, at.nsid))
		if _, twice := u.byRef[full]; twice {
			continue
		}
		m := &Member{Ref: full, Type: c.ref(ref, at)}
		u.Members = append(u.Members, m)
		u.byRef[full] = m
		// `$type` of a main definition may be written with its fragment.
		if !strings.Contains(full, "#") {
			u.byRef[full+"#main"] = m
		}
	}
	return u
}

func (c *compiler) problem(at site, reason string) {
	p := Problem{File: at.file, NSID: at.nsid.String(), Reason: reason}
	if !slices.Contains(c.catalog.Problems, p) {
		c.catalog.Problems = append(c.catalog.Problems, p)
	}
}

// reach finds the unresolved references that records can come to. Those in
// views and in the answers of queries, which most lexicons have, are nobody's
// concern here.
type reach struct {
	seen       map[Type]bool
	unresolved []*Unresolved
}

func (r *reach) visit(t Type) {
	if r.seen[t] {
		return
	}
	r.seen[t] = true
	switch t := t.(type) {
	case *Object:
		for _, f := range t.Fields {
			r.visit(f.Type)
		}
	case *Array:
		r.visit(t.Items)
	case *Union:
		for _, m := range t.Members {
			r.visit(m.Type)
		}
	case *Unresolved:
		r.unresolved = append(r.unresolved, t)
	}
}

// canonicalRef names a main definition by its NSID alone, as `$type` does.
func canonicalRef(ref string) string { return strings.TrimSuffix(ref, "#main") }

func absolute(ref string, base syntax.NSID) string {
	if strings.HasPrefix(ref, "#") {
		return base.String() + ref
	}
	return ref
}

func describe(inner any) string {
	switch s := inner.(type) {
	case lexicon.SchemaBoolean:
		return text(s.Description)
	case lexicon.SchemaInteger:
		return text(s.Description)
	case lexicon.SchemaString:
		return text(s.Description)
	case lexicon.SchemaBytes:
		return text(s.Description)
	case lexicon.SchemaCIDLink:
		return text(s.Description)
	case lexicon.SchemaBlob:
		return text(s.Description)
	case lexicon.SchemaUnknown:
		return text(s.Description)
	case lexicon.SchemaArray:
		return text(s.Description)
	case lexicon.SchemaObject:
		return text(s.Description)
	case lexicon.SchemaRef:
		return text(s.Description)
	case lexicon.SchemaUnion:
		return text(s.Description)
	}
	return ""
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
