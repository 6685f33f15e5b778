package car

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// digest is the SHA-256 of a block. Of a repository's blocks it is all that
// their CIDs differ in; see https://atproto.com/specs/data-model#link-and-cid-formats.
type digest [sha256.Size]byte

// place is where a block is in the file.
type place struct {
	offset int64
	size   int32
}

const (
	codecDAGCBOR = 0x71
	codecRaw     = 0x55

	// maxHeader bounds the CAR's header, which for one root has 58 bytes.
	maxHeader = 4 << 10
	// checkEvery is after how many blocks or nodes ctx is looked at.
	checkEvery = 1024
)

// scan reads the file once: it returns the root, and where each block is, having
// checked its hash. See https://ipld.io/specs/transport/car/carv1/.
func scan(ctx context.Context, file io.Reader, limits Limits) (digest, map[digest]place, error) {
	in := &counter{r: bufio.NewReaderSize(file, 256<<10)}
	var root digest
	size, err := in.uvarint()
	switch {
	case errors.Is(err, io.EOF):
		return root, nil, invalid(ReasonFile, "the file is empty")
	case err != nil:
		return root, nil, err
	case size == 0 || size > maxHeader:
		return root, nil, invalid(ReasonFile, "a header of %d bytes", size)
	}
	header := make([]byte, size)
	if err := in.full(header); err != nil {
		return root, nil, err
	}
	if root, err = parseHeader(header); err != nil {
		return root, nil, err
	}

	blocks := make(map[digest]place)
	var block []byte
	for n := 0; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return root, nil, ctx.Err()
		}
		size, err := in.uvarint()
		if errors.Is(err, io.EOF) {
			return root, blocks, nil
		}
		if err != nil {
			return root, nil, err
		}
		if n >= limits.Blocks {
			return root, nil, invalid(ReasonLimit, "more than %d blocks", limits.Blocks)
		}
		start := in.n
		codec, claimed, err := in.cid()
		if err != nil {
			return root, nil, err
		}
		taken := uint64(in.n - start)
		if size < taken {
			return root, nil, invalid(ReasonFile, "a section of %d bytes at byte %d, less than its CID", size, start)
		}
		size -= taken
		if size > uint64(limits.BlockSize) {
			return root, nil, invalid(ReasonLimit, "a block of %d bytes at byte %d, more than %d", size, start, limits.BlockSize)
		}
		at := place{offset: in.n, size: int32(size)} //nolint:gosec // at most 1 GiB, see Options.validate
		if block, err = in.take(block, int(at.size)); err != nil {
			return root, nil, err
		}
		if sha256.Sum256(block) != claimed {
			return root, nil, invalid(ReasonBlock, "the block at byte %d does not have the hash that its CID says", start)
		}
		// Nothing in a repository refers to a block of another codec; a second copy of
		// a block is the same.
		if _, twice := blocks[claimed]; codec == codecDAGCBOR && !twice {
			blocks[claimed] = at
		}
	}
}

// parseHeader returns the root of {"roots": [CID], "version": 1}.
func parseHeader(b []byte) (root digest, err error) {
	p := &parser{b: b}
	var version uint64
	roots := -1
	err = p.object(func(key string) {
		switch key {
		case "version":
			version = p.uint()
		case "roots":
			roots = p.array(1)
			for range roots {
				root = p.link()
			}
		default:
			p.fail("unknown key %.20q", key)
		}
	})
	switch {
	case err != nil:
		return root, invalid(ReasonFile, "header: %v", err)
	case version != 1:
		return root, invalid(ReasonFile, "version %d, not 1", version)
	case roots != 1:
		return root, invalid(ReasonFile, "no root")
	}
	return root, nil
}

// counter reads the file and knows where it is. Its errors are those of scan,
// apart from io.EOF at the beginning of a varint.
type counter struct {
	r *bufio.Reader
	n int64
}

// uvarint reads an unsigned varint in the shortest form, of at most 9 bytes; see
// https://github.com/multiformats/unsigned-varint.
func (c *counter) uvarint() (uint64, error) {
	var v uint64
	start := c.n
	for shift := 0; shift < 63; shift += 7 {
		b, err := c.r.ReadByte()
		if errors.Is(err, io.EOF) && c.n == start {
			return 0, io.EOF
		}
		if err != nil {
			return 0, c.failed(err)
		}
		c.n++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if b == 0 && c.n > start+1 {
				return 0, invalid(ReasonFile, "a varint at byte %d that is longer than necessary", start)
			}
			return v, nil
		}
	}
	return 0, invalid(ReasonFile, "a varint at byte %d of more than 9 bytes", start)
}

// cid reads a CID of version 1 whose hash is SHA-256.
func (c *counter) cid() (codec uint64, hash digest, err error) {
	start := c.n
	var v [4]uint64 // version, codec, hash function, length of the hash
	for i := range v {
		if v[i], err = c.uvarint(); errors.Is(err, io.EOF) {
			err = c.failed(err)
		}
		if err != nil {
			return 0, hash, err
		}
	}
	if v[0] != 1 || v[1] != codecDAGCBOR && v[1] != codecRaw || v[2] != 0x12 || v[3] != sha256.Size {
		return 0, hash, invalid(ReasonBlock, "a CID at byte %d that no repository's block has: version %d, codec %#x, hash %#x of %d bytes",
			start, v[0], v[1], v[2], v[3])
	}
	return v[1], hash, c.full(hash[:])
}

func (c *counter) full(b []byte) error {
	n, err := io.ReadFull(c.r, b)
	c.n += int64(n)
	if err != nil {
		return c.failed(err)
	}
	return nil
}

// take reads n bytes into b, or more room. A length that the file does not have
// is not allocated.
func (c *counter) take(b []byte, n int) ([]byte, error) {
	const step = 64 << 10
	b = b[:0]
	for len(b) < n {
		from := len(b)
		more := min(n-from, max(step, cap(b)-from))
		if cap(b)-from < more {
			b = append(b, make([]byte, more)...)
		}
		b = b[:from+more]
		if err := c.full(b[from:]); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (c *counter) failed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid(ReasonFile, "cut off at byte %d", c.n)
	}
	return fmt.Errorf("read the CAR file at byte %d: %w", c.n, err)
}

// read reads a block into buf, or more room, and reports whether the file has it.
func (r *Repo) read(d digest, buf []byte) (_ []byte, ok bool, err error) {
	at, ok := r.blocks[d]
	if !ok {
		return buf, false, nil
	}
	if cap(buf) < int(at.size) {
		buf = make([]byte, min(2*int(at.size), math.MaxInt32))
	}
	buf = buf[:at.size]
	if at.size == 0 {
		return buf, true, nil
	}
	if n, err := r.file.ReadAt(buf, at.offset); n < len(buf) {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return buf, true, fmt.Errorf("read the CAR file at byte %d: %w", at.offset, err)
	}
	return buf, true, nil
}

// appendCID appends the bytes of the CID of a DAG-CBOR block.
func appendCID(b []byte, d digest) []byte {
	b = append(b, 1)
	b = binary.AppendUvarint(b, codecDAGCBOR)
	b = append(b, 0x12, sha256.Size)
	return append(b, d[:]...)
}
