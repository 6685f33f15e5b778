package lexfetch

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"

	"github.com/atview/atview/ingest/dagcbor"
	"github.com/atview/atview/ingest/identity"
)

var (
	errSignature = errors.New("the signature is not by the account's key")
	errAbsent    = errors.New("the repository has no such record")
	errCut       = errors.New("CAR is cut off")
)

// record is one that has been proven.
type record struct {
	block []byte
	cid   string
	rev   syntax.TID
}

// maxNodes bounds the way from the root to a record. A tree's height grows with the
// logarithm of its size, so this is that of a repository that cannot be.
const maxNodes = 64

// prove follows the chain of hashes from the signed commit to the record at a path.
// See https://atproto.com/specs/repository#car-file-serialization. Only the nodes
// on the way are read: whatever else a CAR has costs no more than its bytes.
func prove(car []byte, id identity.Identity, path string) (rec record, err error) {
	// indigo's decoders are made for what their encoders made.
	defer func() {
		if p := recover(); p != nil {
			rec, err = record{}, fmt.Errorf("cannot be read: %v", p)
		}
	}()
	root, blocks, err := readCAR(car)
	if err != nil {
		return record{}, err
	}
	b, err := blocks.get(root)
	if err != nil {
		return record{}, fmt.Errorf("commit: %w", err)
	}
	var commit repo.Commit
	if err := commit.UnmarshalCBOR(bytes.NewReader(b)); err != nil {
		return record{}, fmt.Errorf("commit: %w", err)
	}
	if err := commit.VerifyStructure(); err != nil {
		return record{}, fmt.Errorf("commit: %w", err)
	}
	if commit.DID != string(id.DID) {
		return record{}, fmt.Errorf("commit is of %s", commit.DID)
	}
	if id.Key == nil {
		return record{}, errors.New("the DID document has no signing key that is understood")
	}
	if commit.VerifySignature(id.Key) != nil {
		return record{}, errSignature
	}
	value, err := find(blocks, commit.Data, []byte(path))
	if err != nil {
		return record{}, err
	}
	if b, err = blocks.get(value); err != nil {
		return record{}, fmt.Errorf("record: %w", err)
	}
	return record{block: b, cid: value.String(), rev: syntax.TID(commit.Rev)}, nil
}

// find goes down the tree to a key; see https://atproto.com/specs/repository#mst-structure.
func find(blocks blockMap, at cid.Cid, key []byte) (cid.Cid, error) {
	for range maxNodes {
		b, err := blocks.get(at)
		if err != nil {
			return cid.Undef, fmt.Errorf("tree: %w", err)
		}
		node, err := mst.NodeDataFromCBOR(bytes.NewReader(b))
		if err != nil {
			return cid.Undef, fmt.Errorf("tree: %w", err)
		}
		next := node.Left
		var last []byte
		for _, e := range node.Entries {
			if e.PrefixLen < 0 || e.PrefixLen > int64(len(last)) {
				return cid.Undef, errors.New("tree: impossible prefix of a key")
			}
			k := append(last[:e.PrefixLen:e.PrefixLen], e.KeySuffix...)
			if len(last) > 0 && bytes.Compare(last, k) >= 0 {
				return cid.Undef, errors.New("tree: keys out of order")
			}
			order := bytes.Compare(k, key)
			if order == 0 {
				return e.Value, nil
			}
			if order > 0 {
				break
			}
			last, next = k, e.Right
		}
		if next == nil {
			return cid.Undef, errAbsent
		}
		at = *next
	}
	return cid.Undef, fmt.Errorf("tree of more than %d levels", maxNodes)
}

// blockMap is the blocks of a CAR, not checked yet.
type blockMap map[cid.Cid][]byte

// get returns a block that is what its CID says.
func (m blockMap) get(id cid.Cid) ([]byte, error) {
	b, ok := m[id]
	if !ok {
		return nil, fmt.Errorf("block %s is missing", id)
	}
	if err := dagcbor.CheckCID(id.String(), b); err != nil {
		return nil, err
	}
	return b, nil
}

// readCAR reads a CAR; see https://ipld.io/specs/transport/car/carv1/.
func readCAR(data []byte) (root cid.Cid, blocks blockMap, err error) {
	head, data, err := section(data)
	if err != nil {
		return cid.Undef, nil, err
	}
	text, err := dagcbor.AppendJSON(nil, head)
	if err != nil {
		return cid.Undef, nil, fmt.Errorf("CAR: %w", err)
	}
	var h struct {
		Version int `json:"version"`
		Roots   []struct {
			Link string `json:"$link"`
		} `json:"roots"`
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return cid.Undef, nil, fmt.Errorf("CAR: %w", err)
	}
	if h.Version != 1 || len(h.Roots) == 0 {
		return cid.Undef, nil, fmt.Errorf("CAR of version %d with %d roots", h.Version, len(h.Roots))
	}
	if root, err = cid.Decode(h.Roots[0].Link); err != nil {
		return cid.Undef, nil, fmt.Errorf("CAR: %w", err)
	}
	blocks = blockMap{}
	for len(data) > 0 {
		var s []byte
		if s, data, err = section(data); err != nil {
			return cid.Undef, nil, err
		}
		n, id, err := cid.CidFromBytes(s)
		if err != nil {
			return cid.Undef, nil, fmt.Errorf("CAR: %w", err)
		}
		blocks[id] = s[n:]
	}
	return root, blocks, nil
}

// section cuts off what a length precedes.
func section(data []byte) (s, rest []byte, err error) {
	n, used := binary.Uvarint(data)
	if used <= 0 || n > uint64(len(data)-used) {
		return nil, nil, errCut
	}
	end := used + int(n)
	return data[used:end], data[end:], nil
}
