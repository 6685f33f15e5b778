package graphql

import (
	"encoding/base64"
	"strconv"
)

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

// connectionAggregate is a row of metrics inside a slot.
type connectionAggregate struct {
	slot, width int
	item        node
}

func (a connectionAggregate) write(w *writer, _ *connection, p pageRows) {
	if p.extra == nil || p.extra.slots[a.slot] == nil {
		w.null()
		return
	}
	inner := splitRow(p.extra.slots[a.slot], a.width)
	a.item.write(w, &inner)
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
