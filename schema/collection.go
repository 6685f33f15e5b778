package schema

import (
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// MaxLinkBytes bounds a value in a link column. Link columns are indexed, and a
// B-tree entry holds about 2,700 bytes, of which a DID may take 512. A longer
// value is flagged and stays in the record alone.
const MaxLinkBytes = 1000

// maxLinkDepth bounds how deep in nested objects a link gets a column. Real
// lexicons need two (`reply.parent.uri`); deeper links are rows of atview.link.
const maxLinkDepth = 4

// Collection is one record type, as a table and as a type of the API.
type Collection struct {
	NSID        syntax.NSID
	Key         string // `tid`, `any`, `nsid` or `literal:…`; records in the wild need not obey it
	Description string
	Object      *Object

	Table   string    // in the Postgres schema `records`
	Type    string    // in GraphQL
	Columns []*Column // the typed ones; the system columns are the same for all
	Links   []*Link   // those that have a column

	// SortColumn is the moment the record itself claims, such as createdAt; nil
	// when it has none. Lists are sorted by the earlier of it and the moment the
	// record was seen.
	SortColumn *Column

	// Fingerprint changes when a record could be read differently: another
	// column, link or constraint, here or in any lexicon it refers to.
	Fingerprint string

	catalog *Catalog
}

// Column is a typed column of a collection's table.
type Column struct {
	Name        string
	Path        []string // properties that lead from the record to the value
	Type        Type
	Description string
	Link        *Link // what the column's values point at; nil for none
}

// SQL is the column's Postgres type.
func (c *Column) SQL() string { return c.Type.SQL() }

// LinkKind says what a link points at.
type LinkKind int

// The targets of links.
const (
	LinkNone   LinkKind = iota
	LinkRecord          // an AT-URI
	LinkDID             // an account
	LinkURL             // any other URI
)

// Link is a single-valued link of a collection that has a column. All other
// links are rows of atview.link.
type Link struct {
	Path   string // as in backlink sources: `subject.uri`, `reply.parent.uri`
	Kind   LinkKind
	Column *Column
	// Property leads from the record to what is linked: for a strongRef the
	// object (`subject`), else the string itself.
	Property []string
	// StrongRef is the column of the CID that the link pins; nil for plain links.
	StrongRef *Column
}

// Singleton says whether a repository holds at most one record of the
// collection, as it does for profiles.
func (c *Collection) Singleton() bool { return strings.HasPrefix(c.Key, "literal:") }

// Column finds the column that holds the value at path; nil when it has none.
func (c *Collection) Column(path ...string) *Column {
	for _, col := range c.Columns {
		if slices.Equal(col.Path, path) {
			return col
		}
	}
	return nil
}

func (c *compiler) collection(lex Lexicon, rec lexicon.SchemaRecord) *Collection {
	col := &Collection{
		NSID:    lex.NSID,
		Key:     rec.Key,
		Object:  c.catalog.data[lex.NSID.String()].(*Object),
		catalog: c.catalog,
	}
	col.Description = col.Object.Description
	if col.Description == "" {
		col.Description = text(lex.parsed.Description)
	}
	return col
}

// build makes the columns and links; names come after all types are known.
func (c *Collection) build() {
	b := builder{collection: c, taken: map[string]bool{}}
	for _, reserved := range reservedColumns {
		b.taken[reserved] = true
	}
	b.object(c.Object, nil, nil)
	c.SortColumn = pickSortColumn(c)

	d := newDigest()
	d.add(string(c.NSID))
	for _, col := range c.Columns {
		d.add(col.Name, col.SQL(), col.Path, col.Link != nil)
	}
	if c.SortColumn != nil {
		d.add(c.SortColumn.Name)
	}
	d.descend(c.Object)
	c.Fingerprint = d.sum()
}

type builder struct {
	collection *Collection
	taken      map[string]bool
}

func (b *builder) object(obj *Object, path []string, above []*Object) {
	above = append(above, obj)
	for _, f := range obj.Fields {
		at := append(slices.Clone(path), f.Name)
		switch t := f.Type.(type) {
		case *Object:
			if t.StrongRef() {
				b.strongRef(f, t, at)
			} else if len(at) < maxLinkDepth && !slices.Contains(above, t) {
				b.object(t, at, above)
			}
		case *String:
			if t.Link() != LinkNone {
				col := b.column(at, f.Type, f.Description)
				b.link(&Link{Path: strings.Join(at, "."), Kind: t.Link(), Column: col, Property: at})
			} else if len(at) == 1 {
				b.column(at, f.Type, f.Description)
			}
		default:
			if len(at) == 1 && f.Type.SQL() != "" {
				b.column(at, f.Type, f.Description)
			}
		}
	}
}

func (b *builder) strongRef(f *Field, ref *Object, at []string) {
	uri, cid := ref.Field("uri"), ref.Field("cid")
	if uri == nil || cid == nil {
		return
	}
	uriPath := append(slices.Clone(at), "uri")
	link := &Link{
		Path:      strings.Join(uriPath, "."),
		Kind:      LinkRecord,
		Column:    b.column(uriPath, uri.Type, f.Description),
		Property:  at,
		StrongRef: b.column(append(slices.Clone(at), "cid"), cid.Type, f.Description),
	}
	b.link(link)
}

func (b *builder) link(l *Link) {
	l.Column.Link = l
	b.collection.Links = append(b.collection.Links, l)
}

func (b *builder) column(path []string, t Type, description string) *Column {
	col := &Column{
		Name:        b.name(path),
		Path:        path,
		Type:        t,
		Description: description,
	}
	b.collection.Columns = append(b.collection.Columns, col)
	return col
}

// sortProperties are what lexicons name the moment of a record, most telling
// first.
var sortProperties = []string{"createdAt", "created_at", "publishedAt", "playedTime", "recordedAt",
	"submittedAt", "addedAt", "postedAt", "timestamp", "date", "startsAt"}

func pickSortColumn(c *Collection) *Column {
	for _, prop := range sortProperties {
		if col := c.Column(prop); col != nil && col.SQL() == "timestamptz" {
			return col
		}
	}
	// Else the only datetime that a record must have, which is rarely an end or
	// an expiry.
	var only *Column
	for _, f := range c.Object.Fields {
		if col := c.Column(f.Name); f.Required && col != nil && col.SQL() == "timestamptz" {
			if only != nil {
				return nil
			}
			only = col
		}
	}
	return only
}
