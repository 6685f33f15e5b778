package testnet

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	blockstore "github.com/ipfs/go-ipfs-blockstore"
)

// record is one version of a record.
type record struct {
	block block
	json  []byte // nil for a raw one
}

// repository is a repository at its newest commit; see
// https://atproto.com/specs/repository.
type repository struct {
	did     syntax.DID
	tree    mst.Tree
	records map[string]*record // by path
	rev     syntax.TID
	head    block // the signed commit
	data    cid.Cid
	// before is how to get back to the commit before the last: nil before the
	// second.
	before *undo
}

// undo is what a commit replaced.
type undo struct {
	head    block
	rev     syntax.TID
	records map[string]*record // by path; nil where there was none
}

// change is what a commit did to a record.
type change struct {
	op        Op
	was, is   *record
	operation repo.Operation
}

// diff is a commit with all that proves it.
type diff struct {
	since    syntax.TID // empty for the first
	prevData cid.Cid    // undefined for the first
	changes  []change
	car      []byte
}

func newRepository(did syntax.DID) *repository {
	return &repository{did: did, tree: mst.NewEmptyTree(), records: map[string]*record{}}
}

// commit applies changes and signs the outcome.
func (r *repository) commit(changes []change, rev syntax.TID, key *signer) (diff, error) {
	d := diff{since: r.rev, prevData: r.data}
	before := &undo{head: r.head, rev: r.rev, records: map[string]*record{}}
	var added []block
	for _, c := range changes {
		path := c.op.path()
		var value *cid.Cid
		if c.is != nil {
			value = &c.is.block.cid
			added = append(added, c.is.block)
		}
		op, err := repo.ApplyOp(&r.tree, path, value)
		if err != nil {
			return diff{}, fmt.Errorf("%s %s: %w", c.op.action, path, err)
		}
		if r.tree.IsEmpty() {
			r.tree = mst.NewEmptyTree() // the old root remembers a height
		}
		c.operation = *op
		d.changes = append(d.changes, c)
		before.records[path] = c.was
		if c.is == nil {
			delete(r.records, path)
		} else {
			r.records[path] = c.is
		}
	}
	nodes, err := r.seal(rev, key)
	if err != nil {
		return diff{}, err
	}
	if before.rev != "" {
		r.before = before
	}
	all := append([]block{r.head}, nodes...)
	d.car = appendCAR(nil, r.head.cid, append(all, added...)...)
	return d, nil
}

// seal computes the tree and signs a commit of it. It returns the tree's changed
// nodes, and those that prove the change.
func (r *repository) seal(rev syntax.TID, key *signer) ([]block, error) {
	written := &written{}
	root, err := r.tree.WriteDiffBlocks(context.Background(), written)
	if err != nil {
		return nil, fmt.Errorf("tree of %s: %w", r.did, err)
	}
	if len(written.blocks) == 0 { // nothing has changed; the root is part of a commit all the same
		written.blocks = append(written.blocks, nodeBlock(r.tree.Root))
	}
	r.rev, r.data = rev, *root
	r.head, err = signed(r.did, rev, *root, key)
	return written.blocks, err
}

func signed(did syntax.DID, rev syntax.TID, data cid.Cid, key *signer) (block, error) {
	c := repo.Commit{DID: string(did), Version: repo.ATPROTO_REPO_VERSION, Data: data, Rev: string(rev)}
	if err := c.Sign(key); err != nil {
		return block{}, fmt.Errorf("sign commit of %s: %w", did, err)
	}
	var buf bytes.Buffer
	if err := c.MarshalCBOR(&buf); err != nil {
		return block{}, fmt.Errorf("encode commit of %s: %w", did, err)
	}
	return newBlock(buf.Bytes()), nil
}

// written collects the blocks of a tree. Of the interface, writing a tree uses
// only Put.
type written struct {
	blockstore.Blockstore
	blocks []block
}

func (w *written) Put(_ context.Context, b blocks.Block) error {
	w.blocks = append(w.blocks, block{cid: b.Cid(), data: b.RawData()})
	return nil
}

// nodeBlock encodes a node whose children are known by their CIDs.
func nodeBlock(n *mst.Node) block {
	d := n.NodeData()
	data, c, err := d.Bytes()
	if err != nil {
		panic(fmt.Sprintf("testnet: encode node: %v", err)) // it was encoded when it was written
	}
	return block{cid: *c, data: data}
}

// part is a block of a repository, and what it is.
type part struct {
	block
	node, record bool // the commit is neither
}

// parts are all blocks, in the order in which a PDS exports them: the commit, then
// the tree depth first, with records where their keys stand.
func (r *repository) parts() []part {
	out := []part{{block: r.head}}
	seen := map[cid.Cid]bool{} // records of the same content are one block
	var walk func(n *mst.Node)
	walk = func(n *mst.Node) {
		out = append(out, part{block: nodeBlock(n), node: true})
		for _, e := range n.Entries {
			if e.Child != nil {
				walk(e.Child)
			} else if e.IsValue() {
				if rec := r.records[string(e.Key)]; !seen[rec.block.cid] {
					seen[rec.block.cid] = true
					out = append(out, part{block: rec.block, record: true})
				}
			}
		}
	}
	walk(r.tree.Root)
	return out
}

// proof are the blocks that prove what is, or is not, under a path.
func (r *repository) proof(path string) []block {
	out := []block{r.head}
	key := []byte(path)
	for n := r.tree.Root; n != nil; {
		out = append(out, nodeBlock(n))
		var next *mst.Node
		for _, e := range n.Entries {
			if e.Child != nil {
				next = e.Child
			} else if e.IsValue() {
				if c := bytes.Compare(key, e.Key); c == 0 {
					return append(out, r.records[path].block)
				} else if c < 0 {
					break
				}
				next = nil
			}
		}
		n = next
	}
	return out
}

// older is the repository as of the commit before the last, nil if there is none.
func (r *repository) older() *repository {
	if r.before == nil {
		return nil
	}
	old := &repository{did: r.did, tree: r.tree.Copy(), records: maps.Clone(r.records), rev: r.before.rev, head: r.before.head}
	for path, was := range r.before.records {
		var value *cid.Cid
		if was == nil {
			delete(old.records, path)
		} else {
			old.records[path], value = was, &was.block.cid
		}
		if _, err := repo.ApplyOp(&old.tree, path, value); err != nil {
			panic(fmt.Sprintf("testnet: undo %s: %v", path, err)) // the tree is whole
		}
		if old.tree.IsEmpty() {
			old.tree = mst.NewEmptyTree()
		}
	}
	root, err := old.tree.RootCID()
	if err != nil {
		panic(fmt.Sprintf("testnet: undo: %v", err))
	}
	old.data = *root
	return old
}

func carOf(root cid.Cid, parts []part) []byte {
	size := 100
	for _, p := range parts {
		size += len(p.data) + 46
	}
	b := appendCAR(make([]byte, 0, size), root)
	for _, p := range parts {
		b = appendBlock(b, p.block)
	}
	return b
}
