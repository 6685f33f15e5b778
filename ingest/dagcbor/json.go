package dagcbor

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// MaxDepth is how deep maps and arrays may be nested. Rich text with lists in
// lists gets to some twenty levels; the readers of the JSON stop at 300.
const MaxDepth = 256

// Reason is why a block is not a record. The set is small and fixed, so that it
// may label a metric.
type Reason string

// The reasons of an [*Error].
const (
	ReasonShort      Reason = "short"      // ends within an item
	ReasonTrailing   Reason = "trailing"   // goes on behind the record
	ReasonNotMap     Reason = "not-map"    // the record is something else
	ReasonFloat      Reason = "float"      // the data model has none
	ReasonInteger    Reason = "integer"    // does not fit into 64 bits with a sign
	ReasonIndefinite Reason = "indefinite" // an item that does not say its length
	ReasonKey        Reason = "key"        // a key that is not text
	ReasonDuplicate  Reason = "duplicate"  // a key given twice in a map
	ReasonTag        Reason = "tag"        // a tag that is not a link's
	ReasonLink       Reason = "link"       // a link without a CID
	ReasonSimple     Reason = "simple"     // neither true, false nor null
	ReasonDepth      Reason = "depth"      // nested deeper than MaxDepth
	ReasonReserved   Reason = "reserved"   // bytes that CBOR gives no meaning
)

// Error says why a block is not a record, and where.
type Error struct {
	Reason Reason
	// Offset is the byte at which the offending item begins.
	Offset int
	// Detail is for people; empty if the reason says all.
	Detail string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("DAG-CBOR at byte %d: %s", e.Offset, e.Reason)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// AppendJSON appends the JSON of a record's block to dst and returns the extended
// buffer. Links are {"$link":"…"}, bytes {"$bytes":"…"} in base64 without padding.
//
// The error is an [*Error]; then what is returned is dst as it was. The block is
// not kept. It is safe for concurrent use.
func AppendJSON(dst, block []byte) ([]byte, error) {
	d := decoders.Get().(*decoder)
	d.in, d.pos, d.keys = block, 0, d.keys[:0]
	out, err := d.record(dst)
	d.in = nil
	clear(d.keys[:cap(d.keys)]) // they are slices of the block
	if cap(d.keys) <= 1024 {
		decoders.Put(d)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// decoder reads one block.
type decoder struct {
	in  []byte
	pos int
	// keys of the maps that are open, the innermost map's last.
	keys [][]byte
}

// The major types of CBOR (RFC 8949, section 3.1).
const (
	majorUnsigned = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

const tagLink = 42

func (d *decoder) record(dst []byte) ([]byte, error) {
	if len(d.in) > 0 && d.in[0]>>5 != majorMap {
		return dst, &Error{Reason: ReasonNotMap}
	}
	dst, err := d.value(dst, 0)
	if err != nil {
		return dst, err
	}
	if d.pos < len(d.in) {
		return dst, &Error{Reason: ReasonTrailing, Offset: d.pos, Detail: fmt.Sprintf("%d bytes", len(d.in)-d.pos)}
	}
	return dst, nil
}

// head reads an item's first bytes: its major type and its argument, which is a
// value, a length or a count. Of a float it is the bits.
func (d *decoder) head() (major byte, arg uint64, err error) {
	at := d.pos
	if at >= len(d.in) {
		return 0, 0, &Error{Reason: ReasonShort, Offset: at}
	}
	first := d.in[at]
	major, info := first>>5, first&31
	d.pos++
	if info < 24 {
		return major, uint64(info), nil
	}
	if info == 31 {
		return 0, 0, &Error{Reason: ReasonIndefinite, Offset: at}
	}
	if info > 27 {
		return 0, 0, &Error{Reason: ReasonReserved, Offset: at, Detail: fmt.Sprintf("first byte %#x", first)}
	}
	n := 1 << (info - 24)
	if len(d.in)-d.pos < n {
		return 0, 0, &Error{Reason: ReasonShort, Offset: at}
	}
	b := d.in[d.pos:]
	d.pos += n
	switch n {
	case 1:
		arg = uint64(b[0])
	case 2:
		arg = uint64(binary.BigEndian.Uint16(b))
	case 4:
		arg = uint64(binary.BigEndian.Uint32(b))
	default:
		arg = binary.BigEndian.Uint64(b)
	}
	return major, arg, nil
}

// take returns the next n bytes.
func (d *decoder) take(n uint64, at int) ([]byte, error) {
	if n > uint64(len(d.in)-d.pos) {
		return nil, &Error{Reason: ReasonShort, Offset: at, Detail: fmt.Sprintf("%d bytes announced, %d there", n, len(d.in)-d.pos)}
	}
	b := d.in[d.pos : d.pos+int(n)]
	d.pos += int(n)
	return b, nil
}

func (d *decoder) value(dst []byte, depth int) ([]byte, error) {
	at := d.pos
	major, arg, err := d.head()
	if err != nil {
		return dst, err
	}
	switch major {
	case majorUnsigned:
		if arg > math.MaxInt64 {
			return dst, &Error{Reason: ReasonInteger, Offset: at, Detail: strconv.FormatUint(arg, 10)}
		}
		return strconv.AppendUint(dst, arg, 10), nil
	case majorNegative:
		if arg > math.MaxInt64 {
			return dst, &Error{Reason: ReasonInteger, Offset: at, Detail: fmt.Sprintf("-1-%d", arg)}
		}
		return strconv.AppendInt(dst, -1-int64(arg), 10), nil
	case majorBytes:
		b, err := d.take(arg, at)
		if err != nil {
			return dst, err
		}
		dst = append(dst, `{"$bytes":"`...)
		dst = base64.RawStdEncoding.AppendEncode(dst, b)
		return append(dst, `"}`...), nil
	case majorText:
		b, err := d.take(arg, at)
		if err != nil {
			return dst, err
		}
		return appendText(dst, b), nil
	case majorArray, majorMap:
		if depth >= MaxDepth {
			return dst, &Error{Reason: ReasonDepth, Offset: at, Detail: fmt.Sprintf("more than %d levels", MaxDepth)}
		}
		// Each element is a byte at least, so that a count too large ends as short.
		if major == majorArray {
			return d.array(dst, arg, depth+1)
		}
		return d.object(dst, arg, depth+1)
	case majorTag:
		if arg != tagLink {
			return dst, &Error{Reason: ReasonTag, Offset: at, Detail: fmt.Sprintf("tag %d", arg)}
		}
		return d.link(dst, at)
	}
	return d.simple(dst, at, arg)
}

func (d *decoder) simple(dst []byte, at int, arg uint64) ([]byte, error) {
	switch d.in[at] & 31 {
	case 20:
		return append(dst, "false"...), nil
	case 21:
		return append(dst, "true"...), nil
	case 22:
		return append(dst, "null"...), nil
	case 25, 26, 27:
		return dst, &Error{Reason: ReasonFloat, Offset: at}
	}
	return dst, &Error{Reason: ReasonSimple, Offset: at, Detail: fmt.Sprintf("simple value %d", arg)}
}

func (d *decoder) array(dst []byte, n uint64, depth int) ([]byte, error) {
	dst = append(dst, '[')
	var err error
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = d.value(dst, depth); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func (d *decoder) object(dst []byte, n uint64, depth int) ([]byte, error) {
	start, base := d.pos, len(d.keys)
	sorted := true
	dst = append(dst, '{')
	for i := range n {
		at := d.pos
		major, length, err := d.head()
		if err != nil {
			return dst, err
		}
		if major != majorText {
			return dst, &Error{Reason: ReasonKey, Offset: at}
		}
		key, err := d.take(length, at)
		if err != nil {
			return dst, err
		}
		if i > 0 {
			dst = append(dst, ',')
			sorted = sorted && compareKeys(d.keys[len(d.keys)-1], key) < 0
		}
		d.keys = append(d.keys, key)
		dst = appendText(dst, key)
		dst = append(dst, ':')
		if dst, err = d.value(dst, depth); err != nil {
			return dst, err
		}
	}
	if !sorted { // else none can be there twice
		keys := d.keys[base:]
		slices.SortFunc(keys, compareKeys)
		for i := 1; i < len(keys); i++ {
			if bytes.Equal(keys[i-1], keys[i]) {
				return dst, &Error{Reason: ReasonDuplicate, Offset: start, Detail: strconv.QuoteToASCII(string(keys[i][:min(len(keys[i]), 100)]))}
			}
		}
	}
	d.keys = d.keys[:base]
	return append(dst, '}'), nil
}

// compareKeys is the order that DAG-CBOR demands.
func compareKeys(a, b []byte) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}

// link reads what follows a link's tag: a zero byte and a CID in a byte string.
func (d *decoder) link(dst []byte, at int) ([]byte, error) {
	major, n, err := d.head()
	if err != nil {
		return dst, err
	}
	if major != majorBytes {
		return dst, &Error{Reason: ReasonLink, Offset: at, Detail: "not a byte string"}
	}
	b, err := d.take(n, at)
	if err != nil {
		return dst, err
	}
	if len(b) == 0 || b[0] != 0 {
		return dst, &Error{Reason: ReasonLink, Offset: at, Detail: "no zero byte before the CID"}
	}
	dst = append(dst, `{"$link":"`...)
	if dst, err = appendCID(dst, b[1:]); err != nil {
		return dst, &Error{Reason: ReasonLink, Offset: at, Detail: err.Error()}
	}
	return append(dst, `"}`...), nil
}

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string. See the package's documentation on text that
// is not UTF-8.
func appendText(dst, s []byte) []byte {
	dst = append(dst, '"')
	from := 0 // of what has not been appended yet
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[from:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[from:i]...)
			dst = append(dst, '\\', 'u', 'd', 'c', hexDigits[c>>4], hexDigits[c&15])
			from = i + 1
		}
		i += n
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
