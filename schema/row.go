package schema

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/valyala/fastjson"
)

// maxFlags bounds the reasons kept for one record: a hostile one could have a
// fault in each of a hundred thousand elements.
const maxFlags = 16

// ErrNoRecord is returned for text that is no JSON object, or one nested deeper
// than 300 levels (the data model allows 32).
var ErrNoRecord = errors.New("not a record")

// Row is a record as its collection's table holds it.
type Row struct {
	Record []byte    // JSON that a jsonb column accepts
	Values []any     // one per [Collection.Columns]; nil for none or a misfit
	SortAt time.Time // what the record claims as its moment; zero for none
	Flags  []Flag
	Links  []Edge // distinct, in the order met
}

// Flag says where and how a record breaks its lexicon or the data model.
type Flag struct {
	Path   string // `facets[2].index.byteStart`; "" for the record as a whole
	Reason string
}

// Edge is one link of a record.
type Edge struct {
	Path   string // `facets[].features[app.bsky.richtext.facet#mention].did`
	Target string // AT-URI, DID or URL, as written
	Column int    // index into [Collection.Columns]; -1 for a row of atview.link
}

var parsers fastjson.ParserPool

// Row reads a record of the collection. The record must be valid JSON; the
// only error is [ErrNoRecord].
func (c *Collection) Row(record []byte) (Row, error) {
	return readRow(c, c.NSID, record)
}

// RawRow reads a record of a collection without a lexicon: no columns, all of
// its links as rows of atview.link.
func RawRow(nsid syntax.NSID, record []byte) (Row, error) {
	return readRow(nil, nsid, record)
}

func readRow(c *Collection, nsid syntax.NSID, record []byte) (Row, error) {
	w := walk{}
	clean, repaired := record, []Flag(nil)
	if needsRepair(record) {
		var err error
		if clean, repaired, err = repair(record); err != nil {
			return Row{}, err
		}
	}
	parser := parsers.Get()
	defer parsers.Put(parser)
	v, err := parser.ParseBytes(clean)
	if err != nil {
		return Row{}, fmt.Errorf("%w: %s", ErrNoRecord, clip(err.Error(), 200))
	}
	if v.Type() != fastjson.TypeObject {
		return Row{}, fmt.Errorf("%w: JSON %s in place of an object", ErrNoRecord, v.Type())
	}
	w.root(c, nsid, v)
	if (w.duplicate || w.unstorable) && repaired == nil {
		if clean, repaired, err = repair(record); err != nil {
			return Row{}, err
		}
		if v, err = parser.ParseBytes(clean); err != nil {
			return Row{}, fmt.Errorf("%w: %s", ErrNoRecord, clip(err.Error(), 200))
		}
		w = walk{}
		w.root(c, nsid, v)
	}
	row := Row{Record: clean, Flags: append(repaired, w.flags...)}
	if len(row.Flags) > maxFlags {
		row.Flags = row.Flags[:maxFlags]
	}
	row.Links = w.links
	if c != nil {
		row.columns(c, v)
	}
	return row, nil
}

func (row *Row) columns(c *Collection, v *fastjson.Value) {
	row.Values = make([]any, len(c.Columns))
	for i, col := range c.Columns {
		found := v.Get(col.Path...)
		if found == nil {
			continue
		}
		value := col.Type.Value(found)
		if s, ok := value.(string); ok && col.Link != nil {
			// A link column holds links and nothing else, so that what counts by the
			// column and what counts by the links is the same.
			if len(s) > MaxLinkBytes {
				row.Flags = append(row.Flags, Flag{strings.Join(col.Path, "."),
					fmt.Sprintf("link of %d bytes is over the %d that are indexed", len(s), MaxLinkBytes)})
			}
			if !row.linksFrom(col.Link.Path) {
				value = nil
			}
		}
		row.Values[i] = value
		if at, ok := value.(time.Time); ok && col == c.SortColumn {
			row.SortAt = at
		}
	}
	for i := range row.Links {
		row.Links[i].Column = c.linkColumn(row.Links[i].Path)
	}
}

func (row *Row) linksFrom(path string) bool {
	return slices.ContainsFunc(row.Links, func(e Edge) bool { return e.Path == path })
}

func (c *Collection) linkColumn(path string) int {
	for i, col := range c.Columns {
		if col.Link != nil && col.Link.Path == path {
			return i
		}
	}
	return -1
}

// walk goes through a record once and gathers what is wrong with it and what it
// links to.
type walk struct {
	path       []segment
	flags      []Flag
	links      []Edge
	duplicate  bool // an object has a key twice: jsonb keeps the last, the parser the first
	unstorable bool // a number that numeric cannot hold
}

// segment is one step of a path: a property, or an element of an array.
type segment struct {
	key   string
	index int    // for an element; -1 for a property
	tag   string // the element's $type
}

func (w *walk) root(c *Collection, nsid syntax.NSID, v *fastjson.Value) {
	if tag := string(v.GetStringBytes("$type")); tag != nsid.String() {
		w.enter("$type")
		w.flag("$type is not the collection")
		w.leave()
	}
	if c == nil {
		w.untyped(v)
		return
	}
	c.Object.check(w, v)
}

func (w *walk) enter(key string) { w.path = append(w.path, segment{key: key, index: -1}) }
func (w *walk) leave()           { w.path = w.path[:len(w.path)-1] }

func (w *walk) enterItem(i int, v *fastjson.Value) {
	s := segment{index: i}
	if v.Type() == fastjson.TypeObject {
		s.tag = string(v.GetStringBytes("$type"))
	}
	w.path = append(w.path, s)
}

func (w *walk) flag(format string, args ...any) {
	if len(w.flags) < maxFlags {
		w.flags = append(w.flags, Flag{w.place(), fmt.Sprintf(format, args...)})
	}
}

func (w *walk) wrongType(want string, v *fastjson.Value) {
	w.number(v)
	w.flag("%s in place of %s", v.Type(), want)
	if t := v.Type(); t == fastjson.TypeObject || t == fastjson.TypeArray {
		w.untyped(v)
	}
}

// place is where the walk stands, for people: with indexes.
func (w *walk) place() string {
	var b strings.Builder
	for _, s := range w.path {
		if s.index >= 0 {
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(clip(s.key, 100))
	}
	return clip(b.String(), 500)
}

// source is where the walk stands, as the path of a link: without indexes, with
// the $type of elements.
func (w *walk) source() string {
	var b strings.Builder
	for _, s := range w.path {
		if s.index >= 0 {
			b.WriteString("[" + s.tag + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s.key)
	}
	return b.String()
}

// maxPathBytes bounds the path of a link: it is part of an index entry, and in
// untyped parts of a record the writer chooses it.
const maxPathBytes = 300

// maxLinks bounds the links taken from one record.
const maxLinks = 1000

// link takes s as a link of the given kind, if it is one.
func (w *walk) link(kind LinkKind, s string) {
	if len(s) > MaxLinkBytes || len(w.links) >= maxLinks {
		return
	}
	var err error
	switch kind {
	case LinkRecord:
		_, err = syntax.ParseATURI(s)
	case LinkDID:
		_, err = syntax.ParseDID(s)
	case LinkURL:
		_, err = syntax.ParseURI(s)
	}
	if err != nil {
		return
	}
	e := Edge{Path: w.source(), Target: s, Column: -1}
	if len(e.Path) <= maxPathBytes && !slices.Contains(w.links, e) {
		w.links = append(w.links, e)
	}
}

// untyped goes through a value that no lexicon describes: the data model still
// holds, and what looks like a link is one.
func (w *walk) untyped(v *fastjson.Value) {
	switch v.Type() {
	case fastjson.TypeString:
		s := string(v.GetStringBytes())
		switch {
		case strings.HasPrefix(s, "at://"):
			w.link(LinkRecord, s)
		case strings.HasPrefix(s, "did:"):
			w.link(LinkDID, s)
		case hasScheme(s):
			w.link(LinkURL, s)
		}
	case fastjson.TypeNumber:
		w.number(v)
	case fastjson.TypeArray:
		for i, item := range v.GetArray() {
			w.enterItem(i, item)
			w.untyped(item)
			w.leave()
		}
	case fastjson.TypeObject:
		w.checkShape(v)
		keys := map[string]bool{}
		v.GetObject().Visit(func(key []byte, v *fastjson.Value) {
			if keys[string(key)] {
				w.duplicate = true
			}
			keys[string(key)] = true
			w.enter(string(key))
			w.untyped(v)
			w.leave()
		})
	}
}

// number reports a number that is no integer: the data model has none, see
// https://atproto.com/specs/data-model.
func (w *walk) number(v *fastjson.Value) {
	if v.Type() != fastjson.TypeNumber {
		return
	}
	token := v.MarshalTo(nil)
	if _, whole := parseInteger(token); !whole {
		w.flag("number is not an integer of 53 bits")
		w.unstorable = w.unstorable || !storable(string(token))
	}
}

// checkShape reports objects that the data model gives a meaning and that do
// not have its form.
func (w *walk) checkShape(v *fastjson.Value) {
	if link := v.Get("$link"); link != nil {
		if v.GetObject().Len() != 1 || !validCID(string(link.GetStringBytes())) {
			w.flag("object with $link is not a CID link")
		}
		return
	}
	if bytes := v.Get("$bytes"); bytes != nil {
		if v.GetObject().Len() != 1 || bytes.Type() != fastjson.TypeString {
			w.flag("object with $bytes is not bytes")
		}
		return
	}
	if tag := v.Get("$type"); tag != nil {
		switch name := string(tag.GetStringBytes()); {
		case name == "":
			w.flag("$type is not a name")
		case name == "blob":
			if cid, _, _, ok := readBlob(v); !ok || !validCID(cid) {
				w.flag("object of $type blob is not a blob")
			}
		}
	}
}
