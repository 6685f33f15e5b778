package graphql

import (
	"strings"

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

func (w *writer) null() { w.buf = append(w.buf, "null"...) }

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
