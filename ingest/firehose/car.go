package firehose

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/atview/atview/ingest/dagcbor"
)

// car is the blocks of a frame. See https://ipld.io/specs/transport/car/carv1/.
type car struct {
	root   cid.Cid
	blocks map[cid.Cid][]byte
	// gets left of Get, so that a tree whose nodes share children, which is small in
	// the frame and endless to walk, is not walked.
	gets int
}

// readCAR reads the blocks and checks that each is what its CID says. With only
// the root wanted, it checks that one and leaves the others out.
func readCAR(data []byte, rootOnly bool) (*car, error) {
	head, data, err := section(data)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	text, err := dagcbor.AppendJSON(nil, head)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	var h struct {
		Version int `json:"version"`
		Roots   []struct {
			Link string `json:"$link"`
		} `json:"roots"`
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if h.Version != 1 || len(h.Roots) == 0 {
		return nil, fmt.Errorf("version %d with %d roots", h.Version, len(h.Roots))
	}
	root, err := cid.Decode(h.Roots[0].Link)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	c := &car{root: root, blocks: make(map[cid.Cid][]byte)}
	for len(data) > 0 {
		var s []byte
		if s, data, err = section(data); err != nil {
			return nil, err
		}
		n, id, err := cid.CidFromBytes(s)
		if err != nil {
			return nil, fmt.Errorf("CID of a block: %w", err)
		}
		if rootOnly && id != root {
			continue
		}
		block := s[n:]
		// A repository has blocks of this kind only. Another one is not looked for, and
		// what it would prove nobody checks.
		if p := id.Prefix(); p.Version != 1 || p.Codec != cid.DagCBOR || p.MhType != 0x12 || p.MhLength != sha256.Size {
			continue
		}
		if sum := sha256.Sum256(block); string(sum[:]) != id.KeyString()[len(id.KeyString())-sha256.Size:] {
			return nil, fmt.Errorf("block %s is another one", id)
		}
		c.blocks[id] = block
		if rootOnly {
			break
		}
	}
	c.gets = len(c.blocks)
	return c, nil
}

// section cuts off what a length precedes.
func section(data []byte) (s, rest []byte, err error) {
	n, used := binary.Uvarint(data)
	if used <= 0 || n == 0 || n > uint64(len(data)-used) {
		return nil, nil, errors.New("section is cut off")
	}
	end := used + int(n)
	return data[used:end], data[end:], nil
}

var errShared = errors.New("a node of the tree is in two places")

// Get is for the tree's reader, which takes each node once.
func (c *car) Get(_ context.Context, id cid.Cid) (blocks.Block, error) {
	b, ok := c.blocks[id]
	if !ok {
		return nil, &ipld.ErrNotFound{Cid: id}
	}
	if c.gets--; c.gets < 0 {
		return nil, errShared
	}
	return blocks.NewBlockWithCid(b, id)
}
