package firehose

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	lexutil "github.com/bluesky-social/indigo/lex/util"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	blockstore "github.com/ipfs/go-ipfs-blockstore"
	"github.com/multiformats/go-multihash"

	"github.com/atview/atview/ingest/identity"
)

// directory knows the accounts of a test.
type directory struct {
	mu      sync.Mutex
	known   map[syntax.DID]identity.Identity // what Lookup says
	fresh   map[syntax.DID]identity.Identity // what Refresh finds
	lookups int
	asked   map[syntax.DID]int // refreshes
	// wait is called before an answer, if not nil.
	wait func(ctx context.Context, did syntax.DID) error
}

func newDirectory(accounts ...*account) *directory {
	d := &directory{known: make(map[syntax.DID]identity.Identity), fresh: make(map[syntax.DID]identity.Identity), asked: make(map[syntax.DID]int)}
	for _, a := range accounts {
		d.set(a)
	}
	return d
}

func (d *directory) set(a *account) {
	pub, err := a.key.PublicKey()
	if err != nil {
		panic(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[a.did] = identity.Identity{DID: a.did, Key: pub}
}

// change gives an account another key, which Lookup does not know yet.
func (d *directory) change(a *account) {
	d.mu.Lock()
	old := d.known[a.did]
	d.mu.Unlock()
	a.key = newKey()
	d.set(a)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh[a.did], d.known[a.did] = d.known[a.did], old
}

func (d *directory) Lookup(ctx context.Context, did syntax.DID) (identity.Identity, error) {
	if d.wait != nil {
		if err := d.wait(ctx, did); err != nil {
			return identity.Identity{}, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookups++
	id, ok := d.known[did]
	if !ok {
		return id, identity.ErrNotFound
	}
	return id, nil
}

func (d *directory) Refresh(ctx context.Context, did syntax.DID) (identity.Identity, error) {
	d.mu.Lock()
	if id, ok := d.fresh[did]; ok {
		d.known[did] = id
	}
	d.asked[did]++
	d.mu.Unlock()
	return d.Lookup(ctx, did)
}

// account has a repository that it signs.
type account struct {
	did  syntax.DID
	key  atcrypto.PrivateKey
	tree mst.Tree
	rev  string
	data cid.Cid
	all  map[cid.Cid][]byte // blocks, old ones too
	n    int64
}

func newKey() atcrypto.PrivateKey {
	k, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		panic(err)
	}
	return k
}

// fuzzKey is the same in all of the fuzzer's processes.
var fuzzKey = func() atcrypto.PrivateKey {
	k, err := atcrypto.ParsePrivateBytesK256(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err)
	}
	return k
}()

func newAccount(n int) *account {
	return &account{
		did:  syntax.DID(fmt.Sprintf("did:plc:%024d", n)),
		key:  newKey(),
		tree: mst.NewEmptyTree(),
		all:  make(map[cid.Cid][]byte),
	}
}

// write is an operation: without a record it deletes.
type write struct {
	path   string
	record map[string]any
	block  []byte // in place of record
}

func post(path string, n int) write {
	return write{path: path, record: map[string]any{"$type": "com.example.post", "n": int64(n)}}
}

// putter is what the tree needs of a blockstore.
type putter struct {
	blockstore.Blockstore
	blocks map[cid.Cid][]byte
}

func (p putter) Put(_ context.Context, b blocks.Block) error {
	p.blocks[b.Cid()] = b.RawData()
	return nil
}

func (a *account) put(block []byte) cid.Cid {
	c, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum(block)
	if err != nil {
		panic(err)
	}
	a.all[c] = block
	return c
}

// commit writes, and returns the frame's body.
func (a *account) commit(t testing.TB, seq int64, writes ...write) *comatproto.SyncSubscribeRepos_Commit {
	t.Helper()
	msg := &comatproto.SyncSubscribeRepos_Commit{
		Repo: string(a.did), Seq: seq, Time: "2026-07-04T14:39:14.123Z",
		Ops: []*comatproto.SyncSubscribeRepos_RepoOp{}, Blobs: []lexutil.LexLink{},
	}
	if a.rev != "" {
		since := a.rev
		msg.Since = &since
		prev := a.data
		msg.PrevData = (*lexutil.LexLink)(&prev)
	}
	for _, w := range writes {
		op := &comatproto.SyncSubscribeRepos_RepoOp{Path: w.path}
		var value *cid.Cid
		if w.record != nil || w.block != nil {
			block := w.block
			if block == nil {
				var err error
				if block, err = atdata.MarshalCBOR(w.record); err != nil {
					t.Fatal(err)
				}
			}
			c := a.put(block)
			value = &c
		}
		done, err := repo.ApplyOp(&a.tree, w.path, value)
		if err != nil {
			t.Fatal(err)
		}
		op.Cid, op.Prev = (*lexutil.LexLink)(done.Value), (*lexutil.LexLink)(done.Prev)
		switch {
		case value == nil:
			op.Action = "delete"
		case done.Prev == nil:
			op.Action = "create"
		default:
			op.Action = "update"
		}
		msg.Ops = append(msg.Ops, op)
	}
	a.sign(t)
	msg.Rev = a.rev
	msg.Blocks, msg.Commit = a.car(t)
	return msg
}

// sign makes the tree the newest commit.
func (a *account) sign(t testing.TB) {
	t.Helper()
	data, err := a.tree.WriteDiffBlocks(context.Background(), putter{blocks: a.all})
	if err != nil {
		t.Fatal(err)
	}
	a.n++
	a.data = *data
	a.rev = string(syntax.NewTIDFromTime(time.UnixMicro(1_780_000_000_000_000+a.n*1_000_000), 1))
}

func (a *account) car(t testing.TB) (lexutil.LexBytes, lexutil.LexLink) {
	t.Helper()
	commit := repo.Commit{DID: string(a.did), Version: repo.ATPROTO_REPO_VERSION, Data: a.data, Rev: a.rev}
	if err := commit.Sign(a.key); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := commit.MarshalCBOR(&b); err != nil {
		t.Fatal(err)
	}
	root := a.put(b.Bytes())
	return carOf(root, a.all), lexutil.LexLink(root)
}

func carOf(root cid.Cid, blocks map[cid.Cid][]byte) []byte {
	head := append([]byte("\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"), root.Bytes()...)
	head = append(head, "\x67version\x01"...)
	out := append(binary.AppendUvarint(nil, uint64(len(head))), head...)
	put := func(c cid.Cid) {
		out = binary.AppendUvarint(out, uint64(c.ByteLen()+len(blocks[c])))
		out = append(append(out, c.Bytes()...), blocks[c]...)
	}
	put(root)
	for _, c := range slices.SortedFunc(maps.Keys(blocks), func(a, b cid.Cid) int { return bytes.Compare(a.Bytes(), b.Bytes()) }) {
		if c != root {
			put(c)
		}
	}
	return out
}

// declare is a #sync of the newest commit.
func (a *account) declare(t testing.TB, seq int64) *comatproto.SyncSubscribeRepos_Sync {
	t.Helper()
	car, _ := a.car(t)
	return &comatproto.SyncSubscribeRepos_Sync{Did: string(a.did), Rev: a.rev, Seq: seq, Time: "2026-07-04T14:39:14.123Z", Blocks: car}
}

// frame is a commit's, ready to be served.
func (a *account) frame(t testing.TB, seq int64, writes ...write) numbered {
	t.Helper()
	return numbered{seq, encode(t, "#commit", a.commit(t, seq, writes...))}
}

func TestAccount(t *testing.T) {
	t.Parallel()
	a := newAccount(1)
	for i := range 300 {
		w := []write{post(fmt.Sprintf("com.example.post/%05d", i*7919%1000), i)}
		if i%3 == 2 {
			w = append(w, write{path: fmt.Sprintf("com.example.post/%05d", (i-1)*7919%1000)}, post(fmt.Sprintf("com.example.post/%05d", (i-2)*7919%1000), i))
		}
		msg := a.commit(t, int64(i+1), w...)
		c, err := readCAR(msg.Blocks, false)
		if err != nil {
			t.Fatal(err)
		}
		commit, err := readCommit(c, a.did, msg.Rev)
		if err == nil {
			err = prove(c, commit, msg)
		}
		if err != nil {
			t.Fatalf("commit %d: %v", i, err)
		}
	}
}

// waitForever says that it was asked, and has no answer.
func waitForever(asked chan struct{}) func(context.Context, syntax.DID) error {
	return func(ctx context.Context, _ syntax.DID) error {
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	}
}
