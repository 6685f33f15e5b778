package graphql

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fastjson"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// The row program: what a compiled selection writes, row by row. One program
// reads both encodings of rows: text as Postgres sends it, and JSON for the
// rows of nested lists, which come inside a slot.

// row is one row of a scope. A nil slot is null.
type row struct {
	slots [][]byte
	json  bool
}

// node writes a value of the answer from a row.
type node interface{ write(w *writer, r *row) }

// projection writes a value of the answer from a value of a record. It writes
// nothing and is false when the value is not of the type.
type projection interface {
	project(w *writer, r *row, v []byte) bool
}

// rootNode writes a field of Query.
type rootNode interface {
	write(w *writer, rows []row, extra *row)
}

// writer is an answer being written.
type writer struct {
	buf     []byte
	max     int  // bytes
	over    bool // the answer has become longer than max and is of no use
	vars    map[string]any
	lookups map[*byte]map[string][]byte // rows by URI, of slots that have been looked into
	pending []pending
	parser  fastjson.Parser
}

// full says that writing more is in vain. A few names can ask for the same
// large value a thousand times.
func (w *writer) full() bool {
	w.over = w.over || len(w.buf) > w.max
	return w.over
}

func (w *writer) str(s string) { w.buf = append(w.buf, s...) }
func (w *writer) null()        { w.buf = append(w.buf, "null"...) }

// fieldKey is a response key as it is written.
func fieldKey(alias string) string { return `"` + alias + `":` }

// text is the same for each row.
type text string

func (n text) write(w *writer, _ *row) { w.str(string(n)) }

// slotText is a string.
type slotText int

func (n slotText) write(w *writer, r *row) {
	switch v := r.slots[n]; {
	case v == nil:
		w.null()
	case r.json:
		w.buf = append(w.buf, v...)
	default:
		w.buf = quote(w.buf, v)
	}
}

// plain is a slot's text, whatever the row's encoding.
func (n slotText) plain(r *row) []byte {
	if v := r.slots[n]; v != nil && r.json {
		return unquoted(v)
	}
	return r.slots[n]
}

// slotRaw is a number, a boolean or JSON: the same in both encodings.
type slotRaw int

func (n slotRaw) write(w *writer, r *row) {
	if v := r.slots[n]; v != nil {
		w.buf = append(w.buf, v...)
	} else {
		w.null()
	}
}

type slotTime int

func (n slotTime) write(w *writer, r *row) {
	var ok bool
	if w.buf, ok = appendTime(w.buf, slotText(n).plain(r)); !ok {
		w.null()
	}
}

type slotURI struct {
	did, rkey  int
	collection string // with slashes
}

func (n slotURI) write(w *writer, r *row) {
	did, rkey := slotText(n.did).plain(r), slotText(n.rkey).plain(r)
	if did == nil || rkey == nil {
		w.null()
		return
	}
	start := len(w.buf)
	w.buf = quote(w.buf, did)
	// `"did"` becomes `"at://did/collection/rkey"`.
	w.buf = append(w.buf[:len(w.buf)-1], n.collection...)
	tail := len(w.buf)
	w.buf = quote(w.buf, rkey)
	w.buf = append(w.buf[:tail], w.buf[tail+1:]...)
	w.buf = append(w.buf, "at://"...)
	copy(w.buf[start+1+5:], w.buf[start+1:len(w.buf)-5])
	copy(w.buf[start+1:], "at://")
}

// slotJSON is a value of the record.
type slotJSON struct {
	slot int
	projection
}

func (n slotJSON) write(w *writer, r *row) {
	if v := r.slots[n.slot]; v == nil || !n.project(w, r, v) {
		w.null()
	}
}

// optional is null without a record.
type optional struct {
	present int // slot that no record has null
	node
}

func (n optional) write(w *writer, r *row) {
	if r.slots[n.present] == nil {
		w.null()
		return
	}
	n.node.write(w, r)
}

type object struct {
	keys  []string
	nodes []node
}

func (n *object) add(alias string, value node) {
	n.keys, n.nodes = append(n.keys, fieldKey(alias)), append(n.nodes, value)
}

func (n *object) write(w *writer, r *row) {
	w.buf = append(w.buf, '{')
	for i, key := range n.keys {
		if w.full() {
			return
		}
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.str(key)
		n.nodes[i].write(w, r)
	}
	w.buf = append(w.buf, '}')
}

// recordUnion is the record that a link points at, of any collection. Those
// of which fields are asked for are joined. For the others it is enough to know
// that they are there, which is found out for all of an answer together: joins
// with each collection would make a statement as long as the catalog.
type recordUnion struct {
	uri     int // slot of the link
	members []optional
	others  map[string]otherRecord // by NSID
}

// otherRecord is a collection of which no more than the type's name is asked for.
type otherRecord struct {
	col  *schema.Collection
	keys []string // under which the name is asked for
}

// pending is a record that may be there, in an answer that is being written.
type pending struct {
	at        int // where in the answer it belongs
	did, rkey string
	otherRecord
}

func (n *recordUnion) write(w *writer, r *row) {
	for _, m := range n.members {
		if r.slots[m.present] != nil {
			m.node.write(w, r)
			return
		}
	}
	parts := strings.Split(string(slotText(n.uri).plain(r)), "/") // at://did/collection/rkey
	if len(parts) != 5 {
		w.null()
		return
	}
	other, ok := n.others[parts[3]]
	if !ok {
		w.null()
		return
	}
	w.pending = append(w.pending, pending{len(w.buf), parts[2], parts[4], other})
}

// settle writes the records that were pending: found says which are there.
func (w *writer) settle(found func(p pending) bool) {
	if len(w.pending) == 0 {
		return
	}
	out := make([]byte, 0, len(w.buf)+64*len(w.pending))
	from := 0
	for _, p := range w.pending {
		out = append(out, w.buf[from:p.at]...)
		from = p.at
		if !found(p) {
			out = append(out, "null"...)
			continue
		}
		out = append(out, '{')
		for i, key := range p.keys {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(append(append(append(out, key...), '"'), p.col.Type...), '"')
		}
		out = append(out, '}')
	}
	w.buf, w.pending = append(out, w.buf[from:]...), nil
}

// rowsNode is a list of rows inside a slot.
type rowsNode struct {
	slot, width int
	item        node
}

func (n rowsNode) write(w *writer, r *row) {
	w.buf = append(w.buf, '[')
	for i, inner := range splitRows(r.slots[n.slot], n.width) {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		n.item.write(w, &inner)
	}
	w.buf = append(w.buf, ']')
}

// splitRows reads the rows of a nested list.
func splitRows(v []byte, width int) []row {
	list, ok := scanArray(v)
	if !ok {
		return nil
	}
	var out []row
	for {
		v, ok := list.next()
		if !ok {
			return out
		}
		out = append(out, splitRow(v, width))
	}
}

// splitRow reads what [scope.array] makes.
func splitRow(v []byte, width int) row {
	r := row{slots: make([][]byte, 0, width), json: true}
	for len(r.slots) < width {
		list, ok := scanArray(v)
		last := min(width-len(r.slots), maxArguments)
		chained := width-len(r.slots) > maxArguments
		for i := 0; ok && i < last; i++ {
			var element []byte
			if element, ok = list.next(); !ok {
				break
			}
			if chained && i == maxArguments-1 {
				v = element
				break
			}
			if isNullJSON(element) {
				element = nil
			}
			r.slots = append(r.slots, element)
		}
		if !chained || !ok {
			break
		}
	}
	for len(r.slots) < width {
		r.slots = append(r.slots, nil)
	}
	return r
}

// connection is a page of a list.
type connection struct {
	keys     []string
	nodes    []connectionNode
	limit    int
	backward bool
	item     bool // rows are asked for
	// Slots beside the rows, -1 for none.
	total, previous, next int
}

type connectionNode interface {
	write(w *writer, n *connection, p pageRows)
}

// pageRows are the rows of a page, and what there is around it.
type pageRows struct {
	rows  []row // of the page
	more  bool  // one more row was found than asked for
	extra *row
}

func (n *connection) add(alias string, value connectionNode) {
	n.keys, n.nodes = append(n.keys, fieldKey(alias)), append(n.nodes, value)
}

func (n *connection) write(w *writer, rows []row, extra *row) {
	p := pageRows{rows: rows, extra: extra}
	if p.more = len(rows) > n.limit; p.more {
		if n.backward {
			p.rows = rows[len(rows)-n.limit:]
		} else {
			p.rows = rows[:n.limit]
		}
	}
	w.buf = append(w.buf, '{')
	for i, key := range n.keys {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.str(key)
		n.nodes[i].write(w, n, p)
	}
	w.buf = append(w.buf, '}')
}

type connectionText string

func (t connectionText) write(w *writer, _ *connection, _ pageRows) { w.str(string(t)) }

type connectionTotal struct{}

func (connectionTotal) write(w *writer, n *connection, p pageRows) {
	if p.extra == nil {
		w.null()
		return
	}
	slotRaw(n.total).write(w, p.extra)
}

type connectionEdges struct{ edge node }

func (e connectionEdges) write(w *writer, _ *connection, p pageRows) {
	w.buf = append(w.buf, '[')
	for i := range p.rows {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		e.edge.write(w, &p.rows[i])
	}
	w.buf = append(w.buf, ']')
}

type connectionInfo struct{ fields []infoField }

type infoField struct {
	key, name string
	cursor    cursorNode
}

func (c connectionInfo) write(w *writer, n *connection, p pageRows) {
	flag := func(slot int) bool {
		if slot < 0 || p.extra == nil {
			return false
		}
		v := p.extra.slots[slot]
		return len(v) > 0 && v[0] == 't'
	}
	w.buf = append(w.buf, '{')
	for i, f := range c.fields {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.str(f.key)
		switch f.name {
		case "__typename":
			w.str(`"PageInfo"`)
		case "hasNextPage":
			w.buf = strconv.AppendBool(w.buf, p.more && !n.backward || flag(n.next))
		case "hasPreviousPage":
			w.buf = strconv.AppendBool(w.buf, p.more && n.backward || flag(n.previous))
		case "startCursor":
			if len(p.rows) == 0 {
				w.null()
			} else {
				f.cursor.write(w, &p.rows[0])
			}
		case "endCursor":
			if len(p.rows) == 0 {
				w.null()
			} else {
				f.cursor.write(w, &p.rows[len(p.rows)-1])
			}
		}
	}
	w.buf = append(w.buf, '}')
}

// cursorNode is the cursor of a row; see [cursor].
type cursorNode struct {
	order string
	slots []int
}

func (n cursorNode) write(w *writer, r *row) {
	raw := append(make([]byte, 0, 256), `{"o":"`...)
	raw = append(raw, n.order...)
	raw = append(raw, `","v":[`...)
	for i, slot := range n.slots {
		if i > 0 {
			raw = append(raw, ',')
		}
		switch v := r.slots[slot]; {
		case v == nil:
			raw = append(raw, "null"...)
		case r.json && v[0] == '"':
			raw = append(raw, v...)
		default:
			raw = quote(raw, v)
		}
	}
	raw = append(raw, "]}"...)
	w.buf = append(w.buf, '"')
	w.buf = base64.RawURLEncoding.AppendEncode(w.buf, raw)
	w.buf = append(w.buf, '"')
}

// nestedConnection is a page whose rows are in a slot.
type nestedConnection struct {
	*connection
	slot, width int
}

func (n nestedConnection) write(w *writer, r *row) {
	var rows []row
	if n.item {
		rows = splitRows(r.slots[n.slot], n.width)
	}
	n.connection.write(w, rows, r)
}

type rootText struct{ text string }

func (n rootText) write(w *writer, _ []row, _ *row) { w.str(n.text) }

// rootIntrospection is answered from the schema, before there are rows.
type rootIntrospection struct{ field *ast.Field }

func (rootIntrospection) write(w *writer, _ []row, _ *row) { w.null() }

type rootConnection struct{ *connection }

// rootRecord is one record or account, or null.
type rootRecord struct{ node }

func (n rootRecord) write(w *writer, rows []row, _ *row) {
	if len(rows) == 0 {
		w.null()
		return
	}
	n.node.write(w, &rows[0])
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
