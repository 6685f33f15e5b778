package firehose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	lexutil "github.com/bluesky-social/indigo/lex/util"
	"github.com/ipfs/go-cid"

	"github.com/atview/atview/ingest/stream"
)

// nest makes the account's tree one of n levels, each of which has the one below in
// two places, and signs that: n blocks to send, 2^n to walk.
func (a *account) nest(t testing.TB, n int) {
	t.Helper()
	value := a.put([]byte{0xa0})
	put := func(d mst.NodeData) cid.Cid {
		b, c, err := d.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		a.all[*c] = b
		return *c
	}
	below := put(mst.NodeData{})
	for range n {
		c := below
		below = put(mst.NodeData{Left: &c, Entries: []mst.EntryData{{KeySuffix: []byte("com.example.post/1"), Value: value, Right: &c}}})
	}
	a.data = below
}

// root makes a tree of one node that its reader has to survive.
func (a *account) root(t testing.TB, entries ...mst.EntryData) {
	t.Helper()
	for i := range entries {
		entries[i].Value = a.put([]byte{0xa0})
	}
	b, c, err := (&mst.NodeData{Entries: entries}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	a.all[*c] = b
	a.data = *c
}

// TestTampered sends a commit with one thing wrong between two that are right. It
// has to be a reject with its bytes, the repository is to be read anew, and the next
// commit is as good as any.
func TestTampered(t *testing.T) {
	t.Parallel()
	type msg = comatproto.SyncSubscribeRepos_Commit
	link := func(c cid.Cid) *lexutil.LexLink { l := lexutil.LexLink(c); return &l }
	flip := func(m *msg, c cid.Cid) { // a byte of a block
		i := bytes.Index(m.Blocks, c.Bytes())
		m.Blocks[i+len(c.Bytes())+3] ^= 1
	}
	resign := func(t *testing.T, a *account, m *msg) {
		m.Blocks, m.Commit = a.car(t)
	}
	cases := []struct {
		name   string
		reason stream.Reason
		do     func(t *testing.T, a *account, m *msg)
	}{
		{"RecordsByte", ReasonProof, func(_ *testing.T, _ *account, m *msg) { flip(m, cid.Cid(*m.Ops[0].Cid)) }},
		{"TreesByte", ReasonProof, func(_ *testing.T, a *account, m *msg) { flip(m, a.data) }},
		{"CommitsByte", ReasonProof, func(_ *testing.T, _ *account, m *msg) { flip(m, cid.Cid(m.Commit)) }},
		{"AnothersKey", ReasonSignature, func(t *testing.T, a *account, m *msg) {
			key := a.key
			a.key = newKey()
			resign(t, a, m)
			a.key = key
		}},
		{"PrevData", ReasonProof, func(_ *testing.T, a *account, m *msg) { m.PrevData = link(a.data) }},
		{"NoPrevDataThoughFirst", ReasonProof, func(_ *testing.T, _ *account, m *msg) { m.PrevData, m.Since = nil, nil }},
		{"OperationOnAnotherRecord", ReasonProof, func(_ *testing.T, a *account, m *msg) { m.Ops[0].Cid = link(a.data) }},
		{"OperationThatIsNotDone", ReasonProof, func(_ *testing.T, _ *account, m *msg) { m.Ops[0].Path = "com.example.post/not" }},
		{"OperationLeftOut", ReasonProof, func(_ *testing.T, _ *account, m *msg) { m.Ops = m.Ops[:1] }},
		{"OperationTwice", ReasonProof, func(_ *testing.T, _ *account, m *msg) { m.Ops = append(m.Ops, m.Ops[0]) }},
		{"DeleteOfWhatIsThere", ReasonProof, func(_ *testing.T, _ *account, m *msg) {
			m.Ops[1].Action, m.Ops[1].Prev, m.Ops[1].Cid = "delete", m.Ops[1].Cid, nil
		}},
		{"DeleteOfWhatWasNot", ReasonProof, func(_ *testing.T, _ *account, m *msg) {
			m.Ops = append(m.Ops, &comatproto.SyncSubscribeRepos_RepoOp{Action: "delete", Path: "com.example.post/never", Prev: m.Ops[0].Cid})
		}},
		{"CreateOfWhatWas", stream.ReasonOperation, func(_ *testing.T, _ *account, m *msg) { m.Ops[0].Prev = m.Ops[1].Cid }},
		{"UnknownAction", stream.ReasonOperation, func(_ *testing.T, _ *account, m *msg) { m.Ops[0].Action = "move" }},
		{"AnothersRepository", ReasonProof, func(t *testing.T, a *account, m *msg) {
			did := a.did
			a.did = "did:plc:other"
			resign(t, a, m)
			a.did = did
		}},
		{"AnotherRev", ReasonProof, func(t *testing.T, a *account, m *msg) {
			rev := a.rev
			a.rev = "3aaaaaaaaaaaa"
			resign(t, a, m)
			a.rev = rev
		}},
		{"NoRev", stream.ReasonRev, func(_ *testing.T, _ *account, m *msg) { m.Rev = "yesterday" }},
		{"BlocksCutOff", ReasonProof, func(_ *testing.T, _ *account, m *msg) { m.Blocks = m.Blocks[:len(m.Blocks)-1] }},
		{"NoBlocks", ReasonProof, func(_ *testing.T, _ *account, m *msg) { m.Blocks = nil }},
		{"NoCommit", ReasonProof, func(_ *testing.T, a *account, m *msg) {
			blocks := maps.Clone(a.all)
			delete(blocks, a.data)
			m.Blocks = carOf(a.data, blocks)
		}},
		{"NoTree", ReasonProof, func(_ *testing.T, a *account, m *msg) {
			blocks := maps.Clone(a.all)
			delete(blocks, a.data)
			m.Blocks = carOf(cid.Cid(m.Commit), blocks)
		}},
		{"ATreeThatIsEndless", ReasonProof, func(t *testing.T, a *account, m *msg) {
			data := a.data
			a.nest(t, 60)
			resign(t, a, m)
			a.data = data
		}},
		{"AKeyThatBeginsBeforeItself", ReasonProof, func(t *testing.T, a *account, m *msg) {
			data := a.data
			a.root(t, mst.EntryData{PrefixLen: -1, KeySuffix: []byte("com.example.post/1")})
			resign(t, a, m)
			a.data = data
		}},
		{"AKeyThatBeginsBehindTheOther", ReasonProof, func(t *testing.T, a *account, m *msg) {
			data := a.data
			a.root(t, mst.EntryData{KeySuffix: []byte("com.example.post/1")}, mst.EntryData{PrefixLen: 1 << 40, KeySuffix: []byte("x")})
			resign(t, a, m)
			a.data = data
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, Config{})
			w.append(w.a.frame(t, 101, post("com.example.post/1", 1), post("com.example.post/2", 1)))
			m := w.a.commit(t, 102, post("com.example.post/3", 1), post("com.example.post/4", 4))
			c.do(t, w.a, m)
			bad := encode(t, "#commit", m)
			w.append(at(102, bad), w.a.frame(t, 103, post("com.example.post/5", 1)))
			lines := w.out.at(t, 103)
			same(t, lines, "create 1", "create 2", "reject "+string(c.reason), "sync", "create 5")
			if l := lines[2]; !bytes.Equal(l.Data, bad) || l.Event.DID != w.a.did || l.Event.Kind != stream.KindCommit {
				t.Errorf("%+v", l.Event)
			}
			if ev := lines[3].Event; ev.DID != w.a.did || ev.Sync.Seq != 102 || ev.Sync.Complete {
				t.Errorf("%+v", ev)
			}
		})
	}
}

// TestFlippedBytes flips each byte of a commit's frame in turn. No event may come
// of it that differs from the true ones.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	a := newAccount(1)
	a.commit(t, 1, post("com.example.post/1", 1))
	data := a.frame(t, 2, post("com.example.post/2", 2), write{path: "com.example.post/1"}).data
	src := newSource(t, Config{URLs: []string{"wss://one.test"}, Directory: newDirectory(a)})
	describe := func(o outcome) string {
		var b strings.Builder
		for _, l := range o.lines {
			if l.Err == nil && l.Event.Commit != nil {
				fmt.Fprintf(&b, "%s %+v %s\n", l.Event.DID, *l.Event.Commit, l.Event.Commit.Record)
			}
		}
		return b.String()
	}
	want := describe(src.check(context.Background(), frame{data, int64(len(data))}))
	if strings.Count(want, "\n") != 2 {
		t.Fatal(want)
	}
	held := 0
	for i := range data {
		flipped := bytes.Clone(data)
		flipped[i] ^= 1 << (i % 8)
		o := src.check(context.Background(), frame{flipped, int64(len(flipped))})
		for _, l := range o.lines {
			var bad *stream.InvalidError
			if l.Err != nil && !errors.As(l.Err, &bad) {
				t.Errorf("byte %d: %v", i, l.Err)
			}
		}
		got := describe(o)
		if got == want {
			held++
			continue
		}
		for line := range strings.Lines(got) {
			// Less is as good, if the repository is read anew.
			if !o.again || !strings.Contains(want, line) {
				t.Errorf("byte %d: %s\nwant %s", i, got, want)
			}
		}
	}
	t.Logf("%d bytes, %d of them without meaning", len(data), held)
}
