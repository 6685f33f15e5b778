// Package cartest makes repositories for tests: whole ones, and parts to make
// wrong ones of.
package cartest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	blockstore "github.com/ipfs/go-ipfs-blockstore"
	"github.com/multiformats/go-multihash"
)

// Block is a block of a CAR file.
type Block struct {
	CID  cid.Cid
	Data []byte
}

// NewBlock gives data the CID of a DAG-CBOR block.
func NewBlock(data []byte) Block {
	c, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum(data)
	if err != nil {
		panic(err) // SHA-256 is always there
	}
	return Block{c, data}
}

// File is a CAR file to be.
type File struct {
	Root   cid.Cid
	Blocks []Block
}

// Bytes is the file.
func (f File) Bytes() []byte {
	header := append([]byte("\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"), f.Root.Bytes()...)
	header = append(header, "\x67version\x01"...)
	out := append(binary.AppendUvarint(nil, uint64(len(header))), header...)
	for _, b := range f.Blocks {
		out = AppendSection(out, b)
	}
	return out
}

// AppendSection appends a block as it stands in a file.
func AppendSection(out []byte, b Block) []byte {
	out = binary.AppendUvarint(out, uint64(len(b.CID.Bytes())+len(b.Data)))
	return append(append(out, b.CID.Bytes()...), b.Data...)
}

// Key makes a key.
func Key(t testing.TB) atcrypto.PrivateKey {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Public is a key's public part.
func Public(t testing.TB, key atcrypto.PrivateKey) atcrypto.PublicKey {
	t.Helper()
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// Commit signs a commit whose tree has the given root.
func Commit(t testing.TB, key atcrypto.PrivateKey, did syntax.DID, rev syntax.TID, data cid.Cid) Block {
	t.Helper()
	return Sign(t, key, repo.Commit{DID: string(did), Version: repo.ATPROTO_REPO_VERSION, Data: data, Rev: string(rev)})
}

// Sign signs a commit.
func Sign(t testing.TB, key atcrypto.PrivateKey, c repo.Commit) Block {
	t.Helper()
	if err := c.Sign(key); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := c.MarshalCBOR(&buf); err != nil {
		t.Fatal(err)
	}
	return NewBlock(buf.Bytes())
}

// Node encodes a node, right or wrong.
func Node(t testing.TB, left *cid.Cid, entries ...mst.EntryData) Block {
	t.Helper()
	node := mst.NodeData{Left: left, Entries: entries}
	data, c, err := node.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return Block{*c, data}
}

// Tree makes the tree of the values under the keys: its root, and its nodes.
func Tree(t testing.TB, values map[string]cid.Cid) (cid.Cid, []Block) {
	t.Helper()
	tree, err := mst.LoadTreeFromMap(values)
	if err != nil {
		t.Fatal(err)
	}
	var w written
	root, err := tree.WriteDiffBlocks(context.Background(), &w)
	if err != nil {
		t.Fatal(err)
	}
	return *root, w.blocks
}

// written collects blocks. Of the interface, writing a tree uses only Put.
type written struct {
	blockstore.Blockstore
	blocks []Block
}

func (w *written) Put(_ context.Context, b blocks.Block) error {
	w.blocks = append(w.blocks, Block{b.Cid(), b.RawData()})
	return nil
}

// Build makes a whole repository of the blocks of records under their keys. Its
// first block is the commit, then come the nodes, then the records by key.
func Build(t testing.TB, key atcrypto.PrivateKey, did syntax.DID, rev syntax.TID, records map[string][]byte) File {
	t.Helper()
	values := make(map[string]cid.Cid, len(records))
	var all []Block
	for _, k := range slices.Sorted(maps.Keys(records)) {
		b := NewBlock(records[k])
		values[k] = b.CID
		all = append(all, b)
	}
	data, nodes := Tree(t, values)
	commit := Commit(t, key, did, rev, data)
	return File{Root: commit.CID, Blocks: slices.Concat([]Block{commit}, nodes, all)}
}

// Record encodes a record.
func Record(t testing.TB, record map[string]any) []byte {
	t.Helper()
	data, err := atdata.MarshalCBOR(record)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Posts makes n posts of some 200 bytes under ascending keys.
func Posts(t testing.TB, n int) map[string][]byte {
	t.Helper()
	const start = 1_700_000_000_000_000
	out := make(map[string][]byte, n)
	for i := range n {
		out["app.bsky.feed.post/"+string(syntax.NewTID(start+int64(i)*1000, 7))] = Record(t, map[string]any{
			"$type":     "app.bsky.feed.post",
			"text":      fmt.Sprintf("This is post %d, and it is as long as posts are: a line or two, of which people mostly read one.", i),
			"langs":     []any{"en"},
			"createdAt": "2026-11-21T10:58:00.000Z",
		})
	}
	return out
}
