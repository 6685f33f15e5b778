package jetstreamv2

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A row's kind, as blocks have it.
const (
	rowCreate   = 1
	rowUpdate   = 2
	rowDelete   = 3
	rowIdentity = 4
	rowAccount  = 5
	rowSync     = 6
	// rowResync is a create that a resync brought.
	rowResync = 7
)

// fixedPerRow is how many bytes the columns of fixed width take per row.
const fixedPerRow = 8 + 8 + 8 + 1 + 1 + 2 + 1 + 1 + 4

// row is one event of a block. Its bytes share memory with the block.
type row struct {
	seq uint64
	// Times in microseconds since the Unix epoch. Indexed is 0 where it is not set.
	witnessed, indexed int64
	kind               byte
	collection, did    []byte
	rkey, rev          []byte
	payload            []byte // DAG-CBOR
}

func (r *row) commit() bool { return r.kind >= rowCreate && r.kind <= rowDelete || r.kind == rowResync }

// timeUS is the time that the server shows for the event.
func (r *row) timeUS() int64 {
	if r.indexed != 0 {
		return r.indexed
	}
	return r.witnessed
}

// block is a decompressed block: columns of fixed width, then the bytes of the
// others, each column one behind the other. See section 3.2 of
// https://github.com/bluesky-social/jetstream/blob/main/docs/README.md.
type block struct {
	rows                                     int
	seq, witnessed, indexed, kind            []byte
	collectionLen, didLen, rkeyLen, revLen   []byte
	payloadLen                               []byte
	collections, dids, rkeys, revs, payloads []byte
}

// parseBlock takes a block apart. Nothing is allocated in proportion to what the
// block claims: the columns stay where they are. Afterwards no row can lie outside
// of it.
func parseBlock(data []byte) (block, error) {
	var b block
	if len(data) < 4 {
		return b, fmt.Errorf("block of %d bytes has no count of rows", len(data))
	}
	n := uint64(binary.LittleEndian.Uint32(data))
	rest := data[4:]
	if n*fixedPerRow > uint64(len(rest)) {
		return b, fmt.Errorf("block of %d bytes claims %d rows", len(data), n)
	}
	b.rows = int(n)
	fixed := func(width int) []byte {
		column := rest[:b.rows*width]
		rest = rest[b.rows*width:]
		return column
	}
	b.seq, b.witnessed, b.indexed = fixed(8), fixed(8), fixed(8)
	b.kind = fixed(1)
	b.collectionLen, b.didLen, b.rkeyLen, b.revLen = fixed(1), fixed(2), fixed(1), fixed(1)
	b.payloadLen = fixed(4)

	var err error
	variable := func(name string, lengths []byte, width int) []byte {
		var sum uint64
		for i := range b.rows {
			sum += uint64(length(lengths, width, i))
		}
		if err == nil && sum > uint64(len(rest)) {
			err = fmt.Errorf("block of %d bytes: column %s claims %d of the %d that are left", len(data), name, sum, len(rest))
		}
		if err != nil {
			return nil
		}
		column := rest[:sum]
		rest = rest[sum:]
		return column
	}
	b.collections = variable("collection", b.collectionLen, 1)
	b.dids = variable("did", b.didLen, 2)
	b.rkeys = variable("rkey", b.rkeyLen, 1)
	b.revs = variable("rev", b.revLen, 1)
	b.payloads = variable("payload", b.payloadLen, 4)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("block of %d bytes has %d behind its end", len(data), len(rest))
	}
	return b, err
}

func length(column []byte, width, i int) uint32 {
	switch width {
	case 1:
		return uint32(column[i])
	case 2:
		return uint32(binary.LittleEndian.Uint16(column[2*i:]))
	}
	return binary.LittleEndian.Uint32(column[4*i:])
}

// each yields the rows in their order.
func (b *block) each(yield func(*row) bool) {
	collections, dids, rkeys, revs, payloads := b.collections, b.dids, b.rkeys, b.revs, b.payloads
	cut := func(column *[]byte, n uint32) []byte {
		v := (*column)[:n:n]
		*column = (*column)[n:]
		return v
	}
	le := binary.LittleEndian
	var r row
	for i := range b.rows {
		r = row{
			seq:        le.Uint64(b.seq[8*i:]),
			witnessed:  int64(le.Uint64(b.witnessed[8*i:])),
			indexed:    int64(le.Uint64(b.indexed[8*i:])),
			kind:       b.kind[i],
			collection: cut(&collections, length(b.collectionLen, 1, i)),
			did:        cut(&dids, length(b.didLen, 2, i)),
			rkey:       cut(&rkeys, length(b.rkeyLen, 1, i)),
			rev:        cut(&revs, length(b.revLen, 1, i)),
			payload:    cut(&payloads, length(b.payloadLen, 4, i)),
		}
		if !yield(&r) {
			return
		}
	}
}

const (
	headerSize     = 256
	indexEntrySize = 52
	segmentVersion = 1
)

// header is what of a segment file's header is needed to find its blocks. See
// section 3.1.2 of the same document.
type header struct {
	blocks uint32
	index  uint64 // offset of the block index
}

func parseHeader(data []byte) (header, error) {
	le := binary.LittleEndian
	switch {
	case len(data) < headerSize:
		return header{}, fmt.Errorf("segment header of %d bytes, want %d", len(data), headerSize)
	case string(data[:4]) != "jss0":
		return header{}, fmt.Errorf("segment begins with %q, want jss0", data[:4])
	case le.Uint64(data[4:]) == 0:
		return header{}, fmt.Errorf("segment is not sealed")
	case le.Uint16(data[12:]) != segmentVersion:
		return header{}, fmt.Errorf("segment of version %d, want %d", le.Uint16(data[12:]), segmentVersion)
	}
	h := header{blocks: le.Uint32(data[14:]), index: le.Uint64(data[90:])}
	if h.index < headerSize || h.index > math.MaxInt64/2 {
		return header{}, fmt.Errorf("segment's block index at offset %d", h.index)
	}
	return h, nil
}

// place is where in a segment file a block's frame lies.
type place struct {
	offset         int64 // of the frame, behind its length
	size           int64
	minSeq, maxSeq uint64
}

// parseIndex reads a block index. Blocks lie between header and index, one behind
// the other.
func parseIndex(data []byte, h header) ([]place, error) {
	if uint64(len(data)) != uint64(h.blocks)*indexEntrySize {
		return nil, fmt.Errorf("block index of %d bytes, want %d entries", len(data), h.blocks)
	}
	le := binary.LittleEndian
	places := make([]place, h.blocks)
	end := uint64(headerSize)
	for i := range places {
		e := data[i*indexEntrySize:]
		offset, size := le.Uint64(e), uint64(le.Uint32(e[8:]))
		if offset < end || offset > h.index || offset+8+size > h.index {
			return nil, fmt.Errorf("block %d claims to be %d bytes at %d, between %d and %d", i, size, offset, end, h.index)
		}
		end = offset + 8 + size
		places[i] = place{int64(offset + 8), int64(size), le.Uint64(e[20:]), le.Uint64(e[28:])}
	}
	return places, nil
}
