package car

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/bits"
)

// maxKey is the longest key of a tree, in bytes; other implementations have the
// same bound. A collection and a record key take 830 at most.
const maxKey = 1024

// walker goes over a tree in the order of its keys; see
// https://atproto.com/specs/repository#mst-structure.
//
// Why it ends: below the root each node is one layer below its parent, down to
// layer 0. Why no node is worth anything twice: one without a key has a subtree
// with one, and a key that comes again is out of order. So neither a cycle, if
// somebody could make one, nor a node with many parents can make it go on.
type walker struct {
	repo   *Repo
	ctx    context.Context //nolint:containedctx // lives as long as the call of walk
	visit  func(key []byte, value digest) error
	levels []level
	nodes  int
	last   []byte // the key visited last
	any    bool   // whether there was one
}

// level is what is kept of the node on each layer of the way down; a second node
// of the layer uses it again.
type level struct {
	block   []byte
	entries []entry
	key     []byte
}

type entry struct {
	shared   uint64 // how much of the key before is the beginning of this one
	suffix   []byte // part of the block
	value    digest
	right    digest
	hasRight bool
}

// walk calls visit for each key of the tree, in order. It keeps no key.
func (r *Repo) walk(ctx context.Context, visit func(key []byte, value digest) error) error {
	w := &walker{repo: r, ctx: ctx, visit: visit, levels: make([]level, r.limits.Layers)}
	return w.node(r.root, -1, 0)
}

// node walks the node on a layer, depth layers below the root. The root's layer,
// -1, is that of its first key.
func (w *walker) node(d digest, layer, depth int) error {
	w.nodes++
	if w.nodes%checkEvery == 0 && w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	if depth >= len(w.levels) {
		return invalid(ReasonLimit, "a tree of more than %d layers", len(w.levels))
	}
	lv := &w.levels[depth]
	block, ok, err := w.repo.read(d, lv.block)
	if err != nil {
		return err
	}
	if !ok {
		return invalid(ReasonMissing, "a node of the tree after key %.200q", w.last)
	}
	lv.block = block
	left, hasLeft, err := lv.parse(block)
	if err != nil {
		return invalid(ReasonTree, "a node after key %.200q: %v", w.last, err)
	}
	if len(lv.entries) == 0 {
		switch {
		case depth == 0 && !hasLeft:
			return nil // the empty repository
		case depth == 0:
			return invalid(ReasonTree, "a root that only points to another node")
		case !hasLeft:
			return invalid(ReasonTree, "an empty node after key %.200q", w.last)
		}
	}
	lv.key = lv.key[:0]
	for i := range lv.entries {
		e := &lv.entries[i]
		if e.shared > uint64(len(lv.key)) {
			return invalid(ReasonTree, "a key that shares %d bytes with one of %d before it, after key %.200q", e.shared, len(lv.key), w.last)
		}
		if int(e.shared)+len(e.suffix) > maxKey {
			return invalid(ReasonTree, "a key of %d bytes after key %.200q", int(e.shared)+len(e.suffix), w.last)
		}
		lv.key = append(lv.key[:e.shared], e.suffix...)
		switch at := layerOf(lv.key); {
		case layer < 0:
			layer = at // i is 0
		case at != layer:
			return invalid(ReasonTree, "key %.200q is on layer %d, not %d", lv.key, layer, at)
		}
		if i == 0 && hasLeft {
			if err := w.child(left, layer, depth); err != nil {
				return err
			}
		}
		if w.any && bytes.Compare(lv.key, w.last) <= 0 {
			return invalid(ReasonTree, "key %.200q stands after %.200q", lv.key, w.last)
		}
		w.last, w.any = append(w.last[:0], lv.key...), true
		if err := w.visit(lv.key, e.value); err != nil {
			return err
		}
		if e.hasRight {
			if err := w.child(e.right, layer, depth); err != nil {
				return err
			}
		}
	}
	if len(lv.entries) == 0 {
		return w.child(left, layer, depth)
	}
	return nil
}

func (w *walker) child(d digest, layer, depth int) error {
	if layer == 0 {
		return invalid(ReasonTree, "a node below the lowest layer after key %.200q", w.last)
	}
	return w.node(d, layer-1, depth+1)
}

// parse reads a node: {"e": [{"k", "p", "t", "v"}…], "l"}.
func (lv *level) parse(block []byte) (left digest, hasLeft bool, err error) {
	lv.entries = lv.entries[:0]
	var hasEntries bool
	p := &parser{b: block}
	err = p.object(func(key string) {
		switch key {
		case "l":
			left, hasLeft = p.nullableLink()
		case "e":
			hasEntries = true
			for range p.array(-1) {
				if p.err != nil {
					return
				}
				lv.entries = append(lv.entries, parseEntry(p))
			}
		default:
			p.fail("unknown key %.20q", key)
		}
	})
	if err == nil && !hasEntries {
		p.fail("no entries")
	}
	return left, hasLeft, p.err
}

func parseEntry(p *parser) (e entry) {
	var hasKey, hasShared, hasValue bool
	p.fields(func(key string) {
		switch key {
		case "k":
			e.suffix, hasKey = p.bytes(), true
		case "p":
			e.shared, hasShared = p.uint(), true
		case "v":
			e.value, hasValue = p.link(), true
		case "t":
			e.right, e.hasRight = p.nullableLink()
		default:
			p.fail("unknown key %.20q", key)
		}
	})
	if !hasKey || !hasShared || !hasValue {
		p.fail("an entry without k, p or v")
	}
	return e
}

// layerOf counts the zero bits at the beginning of the key's SHA-256, in pairs.
func layerOf(key []byte) int {
	zeros := 0
	for _, b := range sha256.Sum256(key) {
		zeros += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return zeros / 2
}
