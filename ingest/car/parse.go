package car

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// parser reads the few items of DAG-CBOR that headers, commits and nodes are
// made of. Its error sticks: after the first, it gives zero values. Texts and
// bytes that it gives are part of b.
type parser struct {
	b   []byte
	i   int
	err error
}

const (
	majorUint  = 0
	majorInt   = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
	null       = 0xf6
	tagLink    = 42
)

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("at byte %d: "+format, append([]any{p.i}, args...)...)
	}
}

// head reads an item's head, which must be of the given major type and in the
// shortest form.
func (p *parser) head(major byte) uint64 {
	if p.err != nil {
		return 0
	}
	if p.i >= len(p.b) {
		p.fail("ends too soon")
		return 0
	}
	is, info := p.b[p.i]>>5, p.b[p.i]&0x1f
	if is != major {
		p.fail("CBOR of major type %d, not %d", is, major)
		return 0
	}
	if info < 24 {
		p.i++
		return uint64(info)
	}
	if info > 27 {
		p.fail("CBOR of no length")
		return 0
	}
	n := 1 << (info - 24)
	if len(p.b)-p.i-1 < n {
		p.fail("ends too soon")
		return 0
	}
	var wide [8]byte
	copy(wide[8-n:], p.b[p.i+1:])
	v := binary.BigEndian.Uint64(wide[:])
	if v < 24 || n > 1 && v>>(4*n) == 0 {
		p.fail("a number that is longer than necessary")
		return 0
	}
	p.i += 1 + n
	return v
}

func (p *parser) uint() uint64 { return p.head(majorUint) }

// run reads bytes or text.
func (p *parser) run(major byte) []byte {
	n := p.head(major)
	if p.err == nil && n > uint64(len(p.b)-p.i) {
		p.fail("ends too soon")
	}
	if p.err != nil {
		return nil
	}
	v := p.b[p.i : p.i+int(n)]
	p.i += int(n)
	return v
}

func (p *parser) bytes() []byte { return p.run(majorBytes) }
func (p *parser) text() string  { return string(p.run(majorText)) }

// array reads the head of an array of at most max items; a negative max leaves it
// to the bytes that are left.
func (p *parser) array(max int) int {
	n := p.head(majorArray)
	if p.err == nil && (n > uint64(len(p.b)-p.i) || max >= 0 && n > uint64(max)) {
		p.fail("an array of %d", n)
	}
	if p.err != nil {
		return 0
	}
	return int(n)
}

// null takes a null, if one is next.
func (p *parser) null() bool {
	if p.err != nil || p.i >= len(p.b) || p.b[p.i] != null {
		return false
	}
	p.i++
	return true
}

// linkPrefix is a CID's in DAG-CBOR: the multibase prefix of binary, and then
// version 1, DAG-CBOR, SHA-256.
var linkPrefix = []byte{0, 1, codecDAGCBOR, 0x12, 32}

// link reads a CID, which must be that of a DAG-CBOR block.
func (p *parser) link() (d digest) {
	if tag := p.head(majorTag); p.err == nil && tag != tagLink {
		p.fail("tag %d, not a link's", tag)
	}
	b := p.bytes()
	if p.err != nil {
		return d
	}
	if len(b) != len(linkPrefix)+len(d) || !bytes.HasPrefix(b, linkPrefix) {
		p.fail("a link to what is no block of a repository: %.40x", b)
		return d
	}
	copy(d[:], b[len(linkPrefix):])
	return d
}

// nullableLink reads a CID or null.
func (p *parser) nullableLink() (d digest, ok bool) {
	if p.null() {
		return d, false
	}
	return p.link(), p.err == nil
}

// object reads the whole of b as one map, and has value read the value of each
// key. A key must not come twice.
func (p *parser) object(value func(key string)) error {
	p.fields(value)
	if p.err == nil && p.i != len(p.b) {
		p.fail("goes on behind its end")
	}
	return p.err
}

// fields reads a map of a few fields.
func (p *parser) fields(value func(key string)) {
	const most = 8
	n := p.head(majorMap)
	if p.err == nil && n > most {
		p.fail("a map of %d", n)
	}
	var seen [most]string
	for i := range n {
		if p.err != nil {
			return
		}
		key := p.text()
		for _, s := range seen[:i] {
			if s == key {
				p.fail("key %.20q twice", key)
			}
		}
		if p.err != nil {
			return
		}
		seen[i] = key
		value(key)
	}
}
