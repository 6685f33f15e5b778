package graphql

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// projection writes a value of the answer from a value of a record. It writes
// nothing and is false when the value is not of the type.
type projection interface {
	project(w *writer, r *row, v []byte) bool
}

// Values of records.

type jsonAny struct{}

func (jsonAny) project(w *writer, _ *row, v []byte) bool {
	if isNullJSON(v) {
		return false
	}
	w.buf = append(w.buf, v...)
	return true
}

type jsonText struct{}

func (jsonText) project(w *writer, _ *row, v []byte) bool {
	if len(v) == 0 || v[0] != '"' {
		return false
	}
	w.buf = append(w.buf, v...)
	return true
}

type jsonBoolean struct{}

func (jsonBoolean) project(w *writer, _ *row, v []byte) bool {
	if len(v) == 0 || v[0] != 't' && v[0] != 'f' {
		return false
	}
	w.buf = append(w.buf, v...)
	return true
}

// jsonTagged is the string in `{"$link": …}` or `{"$bytes": …}`.
type jsonTagged string

func (t jsonTagged) project(w *writer, r *row, v []byte) bool {
	return jsonText{}.project(w, r, property(v, `"`+string(t)+`"`))
}

// jsonLong and jsonTime read as the column does, schema's way.
type jsonLong struct{ t *schema.Integer }

func (p jsonLong) project(w *writer, _ *row, v []byte) bool {
	if len(v) == 0 || v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return false
	}
	parsed, err := w.parser.ParseBytes(v)
	if err != nil {
		return false
	}
	n, ok := p.t.Value(parsed).(int64)
	if ok {
		w.buf = strconv.AppendInt(w.buf, n, 10)
	}
	return ok
}

type jsonTime struct{ t *schema.String }

func (p jsonTime) project(w *writer, _ *row, v []byte) bool {
	if len(v) == 0 || v[0] != '"' {
		return false
	}
	parsed, err := w.parser.ParseBytes(v)
	if err != nil {
		return false
	}
	at, ok := p.t.Value(parsed).(time.Time)
	if ok {
		w.buf = appendMoment(w.buf, at)
	}
	return ok
}

// jsonArray leaves out what does not fit.
type jsonArray struct{ item projection }

func (p jsonArray) project(w *writer, r *row, v []byte) bool {
	list, ok := scanArray(v)
	if !ok {
		return false
	}
	w.buf = append(w.buf, '[')
	first := true
	for {
		v, ok := list.next()
		if !ok {
			break
		}
		mark := len(w.buf)
		if !first {
			w.buf = append(w.buf, ',')
		}
		if !p.item.project(w, r, v) {
			w.buf = w.buf[:mark]
			continue
		}
		first = false
	}
	w.buf = append(w.buf, ']')
	return true
}

// jsonObject picks properties of an object. Fields may also be of the row.
type jsonObject struct {
	props  []string // quoted, each once
	fields []jsonField
}

type jsonField struct {
	key        string
	prop       int // of props; -1: of the row
	projection projection
	node       node
}

func newJSONObject() *jsonObject { return &jsonObject{} }

func (p *jsonObject) property(alias, prop string, v projection) {
	quoted := string(quote(nil, []byte(prop)))
	at := -1
	for i, have := range p.props {
		if have == quoted {
			at = i
		}
	}
	if at < 0 {
		at = len(p.props)
		p.props = append(p.props, quoted)
	}
	p.fields = append(p.fields, jsonField{key: fieldKey(alias), prop: at, projection: v})
}

func (p *jsonObject) row(alias string, n node) {
	p.fields = append(p.fields, jsonField{key: fieldKey(alias), prop: -1, node: n})
}

func (p *jsonObject) project(w *writer, r *row, v []byte) bool {
	m, ok := scanObject(v)
	if !ok {
		return false
	}
	var few [16][]byte
	values := few[:]
	if len(p.props) > len(few) {
		values = make([][]byte, len(p.props))
	}
	for len(p.props) > 0 {
		key, v, ok := m.next()
		if !ok {
			break
		}
		for i, prop := range p.props {
			if string(key) == prop {
				values[i] = v
				break
			}
		}
	}
	w.buf = append(w.buf, '{')
	for i, f := range p.fields {
		if w.full() {
			return true
		}
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.str(f.key)
		switch {
		case f.prop < 0:
			f.node.write(w, r)
		case values[f.prop] == nil || !f.projection.project(w, r, values[f.prop]):
			w.null()
		}
	}
	w.buf = append(w.buf, '}')
	return true
}

// jsonUnion picks the member by $type.
type jsonUnion struct {
	members map[string]projection
	unknown *unknownValue // nil: the union is closed
}

func (p jsonUnion) project(w *writer, r *row, v []byte) bool {
	tag := property(v, `"$type"`)
	if len(tag) == 0 || tag[0] != '"' {
		return false
	}
	if member := p.members[string(unquoted(tag))]; member != nil {
		return member.project(w, r, v)
	}
	if p.unknown == nil {
		return false
	}
	p.unknown.write(w, tag, v)
	return true
}

type unknownValue struct{ keys, names []string }

func (u *unknownValue) add(f *ast.Field) {
	u.keys, u.names = append(u.keys, fieldKey(f.Alias)), append(u.names, f.Name)
}

func (u *unknownValue) write(w *writer, tag, v []byte) {
	w.buf = append(w.buf, '{')
	for i, key := range u.keys {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.str(key)
		switch u.names[i] {
		case "__typename":
			w.str(`"UnknownValue"`)
		case "type":
			w.buf = append(w.buf, tag...)
		case "value":
			w.buf = append(w.buf, v...)
		}
	}
	w.buf = append(w.buf, '}')
}

// jsonBlob reads both shapes of blobs; see schema.Blob.
type jsonBlob struct {
	did      int // slot of the author, for URLs
	template string
	fields   []blobField
}

type blobField struct {
	key, name string
	preset    binding
}

func (p *jsonBlob) project(w *writer, r *row, v []byte) bool {
	m, ok := scanObject(v)
	if !ok {
		return false
	}
	var ref, mimeType, size []byte
	for {
		key, v, ok := m.next()
		if !ok {
			break
		}
		switch string(key) {
		case `"ref"`:
			ref = property(v, `"$link"`)
		case `"cid"`:
			if ref == nil {
				ref = v
			}
		case `"mimeType"`:
			mimeType = v
		case `"size"`:
			size = v
		}
	}
	if len(ref) == 0 || ref[0] != '"' {
		return false
	}
	w.buf = append(w.buf, '{')
	for i, f := range p.fields {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.str(f.key)
		fits := true
		switch f.name {
		case "__typename":
			w.str(`"Blob"`)
		case "ref":
			w.buf = append(w.buf, ref...)
		case "mimeType":
			fits = jsonText{}.project(w, r, mimeType)
		case "size":
			fits = jsonLong{&schema.Integer{}}.project(w, r, size)
		case "url":
			w.buf = quote(w.buf, []byte(p.url(w, r, f, ref)))
		}
		if !fits {
			w.null()
		}
	}
	w.buf = append(w.buf, '}')
	return true
}

func (p *jsonBlob) url(w *writer, r *row, f blobField, ref []byte) string {
	preset := "feed_fullsize"
	if v, _ := f.preset.value(w.vars); v != nil {
		preset, _ = v.(string)
	}
	return strings.NewReplacer(
		"{did}", url.PathEscape(string(slotText(p.did).plain(r))),
		"{cid}", url.PathEscape(string(unquoted(ref))),
		"{preset}", url.PathEscape(preset),
	).Replace(p.template)
}

// jsonLookup follows the link that a value is, to one of the rows that the
// statement has found for the record's links.
type jsonLookup struct {
	slot, width int
	strongRef   bool
	item        node
}

func (p jsonLookup) project(w *writer, r *row, v []byte) bool {
	if p.strongRef {
		v = property(v, `"uri"`)
	}
	if len(v) == 0 || v[0] != '"' || len(r.slots[p.slot]) == 0 {
		return false
	}
	rows := r.slots[p.slot]
	byURI := w.lookups[&rows[0]]
	if byURI == nil {
		byURI = map[string][]byte{}
		list, ok := scanArray(rows)
		for ok {
			var one []byte
			if one, ok = list.next(); ok {
				if slots, isArray := scanArray(one); isArray {
					if uri, ok := slots.next(); ok {
						byURI[string(uri)] = one
					}
				}
			}
		}
		if w.lookups == nil {
			w.lookups = map[*byte]map[string][]byte{}
		}
		w.lookups[&rows[0]] = byURI
	}
	found := byURI[string(v)]
	if found == nil {
		return false
	}
	inner := splitRow(found, p.width)
	p.item.write(w, &inner)
	return true
}

// jsonLookups is a list of links. It keeps their order and has null for those
// that lead nowhere.
type jsonLookups struct{ item jsonLookup }

func (p jsonLookups) project(w *writer, r *row, v []byte) bool {
	list, ok := scanArray(v)
	if !ok {
		return false
	}
	w.buf = append(w.buf, '[')
	for first := true; ; first = false {
		v, ok := list.next()
		if !ok {
			break
		}
		if !first {
			w.buf = append(w.buf, ',')
		}
		if !p.item.project(w, r, v) {
			w.null()
		}
	}
	w.buf = append(w.buf, ']')
	return true
}
