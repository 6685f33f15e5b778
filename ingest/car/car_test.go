package car_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"

	"github.com/atview/atview/ingest/car"
	"github.com/atview/atview/ingest/car/cartest"
	"github.com/atview/atview/ingest/stream"
)

const (
	did = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	rev = syntax.TID("3mptbypluud2a")
)

func shared(t testing.TB, elem ...string) string {
	t.Helper()
	p := filepath.Join(append([]string{"..", "..", "..", "shared"}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("needs the shared corpus: %s is absent", p)
	}
	return p
}

func verify(t testing.TB, file []byte, opts car.Options) (*car.Repo, error) {
	t.Helper()
	return car.Verify(t.Context(), bytes.NewReader(file), int64(len(file)), opts)
}

// records reads all of a repository's records as the events that they become.
func records(t testing.TB, r *car.Repo) map[string]car.Record {
	t.Helper()
	out := map[string]car.Record{}
	last := ""
	for rec, err := range r.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Key <= last {
			t.Errorf("%q comes after %q", rec.Key, last)
		}
		last = rec.Key
		rec.JSON, rec.Block = bytes.Clone(rec.JSON), bytes.Clone(rec.Block)
		out[rec.Key] = rec
	}
	return out
}

func reason(err error) car.Reason {
	if bad, ok := errors.AsType[*car.InvalidError](err); ok {
		return bad.Reason
	}
	return ""
}

// TestCorpus holds repositories of the network against what others read in them.
func TestCorpus(t *testing.T) {
	t.Parallel()
	bad := map[string]car.Reason{
		"skyfall-attie":            car.ReasonMissing, // a part of a repository
		"indigo-fakermaker.repo":   car.ReasonVersion,
		"indigo-paul_staging.repo": car.ReasonVersion,
		"indigo-repo_slice":        car.ReasonVersion,
	}
	files, err := filepath.Glob(filepath.Join(shared(t, "records", "car"), "*.car"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".car")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			commit, _, err := repo.LoadRepoFromCAR(t.Context(), bytes.NewReader(file))
			whose := did
			if err == nil {
				whose = syntax.DID(commit.DID)
			}
			r, err := verify(t, file, car.Unsigned(car.Options{DID: whose}))
			if want := bad[name]; reason(err) != want {
				t.Fatalf("%v, want reason %q", err, want)
			} else if want != "" {
				return
			}
			got := records(t, r)
			if int(r.Total) != len(got) || int(r.Wanted) != len(got) {
				t.Fatalf("%d records, %d in all, %d read", r.Wanted, r.Total, len(got))
			}
			want := events(t, name)
			// Some collections are not among the events.
			collections := map[syntax.NSID]bool{}
			for _, ev := range want {
				collections[ev.Commit.Collection] = true
			}
			for key, rec := range got {
				if _, ok := want[key]; !ok && collections[rec.Collection] {
					t.Errorf("%s is in no event", key)
				}
			}
			for key, ev := range want {
				rec := got[key]
				if rec.Err != nil || r.DID != ev.DID || r.Rev != ev.Commit.Rev || rec.Collection != ev.Commit.Collection ||
					rec.RKey != ev.Commit.RKey || rec.CID.String() != ev.Commit.CID || !sameJSON(t, rec.JSON, ev.Commit.Record) {
					t.Errorf("%s: %s %s %+v, want %+v", key, r.DID, r.Rev, rec, ev.Commit)
				}
			}
		})
	}
}

// events are those of the corpus; none for the repository that is empty.
func events(t *testing.T, name string) map[string]stream.Event {
	t.Helper()
	out := map[string]stream.Event{}
	if name == "repo-stream-empty" {
		return out
	}
	f, err := os.Open(shared(t, "records", "car-events", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		ev, err := stream.Parse(bytes.Clone(lines.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		out[string(ev.Commit.Collection)+"/"+string(ev.Commit.RKey)] = ev
	}
	return out
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestSignature(t *testing.T) {
	t.Parallel()
	p256, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]atcrypto.PrivateKey{"K-256": cartest.Key(t), "P-256": p256} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := cartest.Build(t, key, did, rev, cartest.Posts(t, 100)).Bytes()
			r, err := verify(t, file, car.Options{DID: did, Key: cartest.Public(t, key), MinRev: rev})
			if err != nil {
				t.Fatal(err)
			}
			if r.Rev != rev || r.Wanted != 100 || r.Bytes != int64(len(file)) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestWantSkipsOthersAndTheirBlocks(t *testing.T) {
	t.Parallel()
	key := cartest.Key(t)
	all := cartest.Posts(t, 50)
	like := cartest.Record(t, map[string]any{"$type": "app.bsky.feed.like"})
	all["app.bsky.feed.like/a"], all["app.bsky.feed.like/b"] = like, like
	f := cartest.Build(t, key, did, rev, all)
	gone := cartest.NewBlock(like).CID
	f.Blocks = slices.DeleteFunc(f.Blocks, func(b cartest.Block) bool { return b.CID.Equals(gone) })

	posts := car.Options{DID: did, Key: cartest.Public(t, key), Want: func(n syntax.NSID) bool { return n == "app.bsky.feed.post" }}
	r, err := verify(t, f.Bytes(), posts)
	if err != nil {
		t.Fatal(err)
	}
	if got := records(t, r); len(got) != 50 || r.Wanted != 50 || r.Total != 52 {
		t.Errorf("%d records, %d wanted of %d", len(got), r.Wanted, r.Total)
	}
	posts.Want = nil
	if _, err := verify(t, f.Bytes(), posts); reason(err) != car.ReasonMissing {
		t.Errorf("without the likes' block: %v", err)
	}
}

func TestOddRecordsAreGivenWithAnError(t *testing.T) {
	t.Parallel()
	key := cartest.Key(t)
	deep := append(bytes.Repeat([]byte{0x81}, 100_000), 0x80)
	all := map[string][]byte{
		"com.example.odd/array":    {0x80},
		"com.example.odd/float":    []byte("\xa1\x61a\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
		"com.example.odd/deep":     append([]byte("\xa1\x61a"), deep...),
		"com.example.odd/empty":    {},
		"com.example.odd/good":     []byte("\xa1\x65$type\x6fcom.example.odd"),
		"com.example.odd/bad rkey": []byte("\xa1\x65$type\x6fcom.example.odd"),
		"com.example.odd/a/b":      []byte("\xa1\x65$type\x6fcom.example.odd"),
		"com.example.odd":          []byte("\xa1\x65$type\x6fcom.example.odd"),
		"no nsid/\xff\x00":         []byte("\xa1\x65$type\x6fcom.example.odd"),
	}
	file := cartest.Build(t, key, did, rev, all).Bytes()
	r, err := verify(t, file, car.Options{DID: did, Key: cartest.Public(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	got := records(t, r)
	if len(got) != len(all) {
		t.Errorf("%d records of %d", len(got), len(all))
	}
	for k, block := range all {
		rec := got[k]
		if good := k == "com.example.odd/good"; (rec.Err == nil) != good || (len(rec.JSON) > 0) != good {
			t.Errorf("%q: %v %s", k, rec.Err, rec.JSON)
		}
		if !bytes.Equal(rec.Block, block) || rec.CID != cartest.NewBlock(block).CID {
			t.Errorf("%q: block %x, CID %s", k, rec.Block, rec.CID)
		}
	}
	if rec := got["com.example.odd/bad rkey"]; rec.Collection != "com.example.odd" || rec.RKey != "" || reason(rec.Err) != car.ReasonKey {
		t.Errorf("%+v", rec)
	}
}

// TestRefused gives wrong files of each kind.
func TestRefused(t *testing.T) {
	t.Parallel()
	key, other := cartest.Key(t), cartest.Key(t)
	posts := cartest.Posts(t, 300)
	good := cartest.Build(t, key, did, rev, posts)
	bytesOf := good.Bytes()
	keys := slices.Sorted(maps.Keys(posts))
	value := func(i int) cid.Cid { return cartest.NewBlock(posts[keys[i]]).CID }

	// of signs a tree that is made by hand.
	of := func(root cartest.Block, more ...cartest.Block) []byte {
		commit := cartest.Commit(t, key, did, rev, root.CID)
		return cartest.File{Root: commit.CID, Blocks: slices.Concat([]cartest.Block{commit, root}, more, good.Blocks)}.Bytes()
	}
	low := onLayer(0, 400)
	high := onLayer(1, 40)
	entry := func(k string) mst.EntryData { return mst.EntryData{KeySuffix: []byte(k), Value: value(0)} }
	raw := func(data string) cartest.Block { return cartest.NewBlock([]byte(data)) }
	node := func(left *cid.Cid, entries ...mst.EntryData) cartest.Block { return cartest.Node(t, left, entries...) }
	with := func(e mst.EntryData, change func(*mst.EntryData)) mst.EntryData { change(&e); return e }
	link := string([]byte{0xd8, 0x2a, 0x58, 0x25, 0}) + string(value(0).Bytes())

	without := func(c cid.Cid) []byte {
		f := good
		f.Blocks = slices.DeleteFunc(slices.Clone(f.Blocks), func(b cartest.Block) bool { return b.CID.Equals(c) })
		if len(f.Blocks) != len(good.Blocks)-1 {
			t.Fatal("no such block")
		}
		return f.Bytes()
	}
	flipped := bytes.Clone(bytesOf)
	flipped[len(flipped)-3] ^= 0x10
	rootless := cartest.File{Root: value(3), Blocks: good.Blocks}.Bytes()
	twoRoots := append([]byte("\x61\xa2\x65roots\x82"), bytes.Repeat([]byte(link), 2)...)
	twoRoots = append(twoRoots, "\x67version\x01"...)
	emptyLow := node(nil)
	child := node(nil, entry(low[1]))
	grandchild := node(nil, entry(low[0]))
	tooLow := node(&grandchild.CID, entry(low[1]))
	tail := node(nil, entry(low[399]))

	cases := []struct {
		name   string
		file   []byte
		want   car.Reason
		change func(*car.Options)
	}{
		{"empty", nil, car.ReasonFile, nil},
		{"a web page", []byte("<!doctype html><title>Not found</title>" + strings.Repeat(" ", 9000)), car.ReasonFile, nil},
		{"a header that is cut off", bytesOf[:20], car.ReasonFile, nil},
		{"a header of gigabytes", []byte("\xff\xff\xff\xff\x7f{}"), car.ReasonFile, nil},
		{"a header that is no CBOR", []byte("\x02{}"), car.ReasonFile, nil},
		{"version 2", bytes.Replace(bytesOf, []byte("\x67version\x01"), []byte("\x67version\x02"), 1), car.ReasonFile, nil},
		{"no root", []byte("\x11\xa2\x65roots\x80\x67version\x01"), car.ReasonFile, nil},
		{"two roots", twoRoots, car.ReasonFile, nil},
		{"root is absent", without(good.Root), car.ReasonCommit, nil},
		{"root is a record", rootless, car.ReasonCommit, nil},
		{"cut off in a block", bytesOf[:len(bytesOf)-10], car.ReasonFile, nil},
		{"cut off between blocks", bytesOf[:len(bytesOf)-len(cartest.AppendSection(nil, good.Blocks[len(good.Blocks)-1]))], car.ReasonMissing, nil},
		{"garbage behind the end", append(bytes.Clone(bytesOf), "garbage of some length"...), car.ReasonBlock, nil},
		{"zeros behind the end", append(bytes.Clone(bytesOf), 0, 0, 0), car.ReasonFile, nil},
		{"a section shorter than its CID", append(bytes.Clone(bytesOf), append([]byte{5}, good.Root.Bytes()...)...), car.ReasonFile, nil},
		{"a varint without end", append(bytes.Clone(bytesOf), bytes.Repeat([]byte{0xff}, 20)...), car.ReasonFile, nil},
		{"a varint that is too long", append(bytes.Clone(bytesOf), 0x80, 0x00), car.ReasonFile, nil},
		{"a section of exabytes", append(bytes.Clone(bytesOf), append([]byte("\xff\xff\xff\xff\xff\xff\xff\x7f"), good.Root.Bytes()...)...), car.ReasonLimit, nil},
		{"a CID of version 0", append(bytes.Clone(bytesOf), "\x22\x12\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"...), car.ReasonBlock, nil},
		{"a CID of another hash", append(bytes.Clone(bytesOf), "\x26\x01\x71\x13\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"...), car.ReasonBlock, nil},
		{"a flipped bit", flipped, car.ReasonBlock, nil},

		{"more bytes than allowed", bytesOf, car.ReasonLimit, func(o *car.Options) { o.Limits.Bytes = 1000 }},
		{"more blocks than allowed", bytesOf, car.ReasonLimit, func(o *car.Options) { o.Limits.Blocks = 10 }},
		{"a larger block than allowed", bytesOf, car.ReasonLimit, func(o *car.Options) { o.Limits.BlockSize = 50 }},
		{"more layers than allowed", bytesOf, car.ReasonLimit, func(o *car.Options) { o.Limits.Layers = 2 }},
		{"more records than allowed", bytesOf, car.ReasonLimit, func(o *car.Options) { o.Limits.Records = 299 }},

		{"another key", bytesOf, car.ReasonSignature, func(o *car.Options) { o.Key = cartest.Public(t, other) }},
		{"another repository", bytesOf, car.ReasonDID, func(o *car.Options) { o.DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb" }},
		{"an older rev", bytesOf, car.ReasonOld, func(o *car.Options) { o.MinRev = "3mptbypluud2b" }},
		{"a rev of the future", bytesOf, car.ReasonRev, func(o *car.Options) {
			o.Now = func() time.Time { return rev.Time().Add(-6 * time.Minute) }
		}},

		{"not signed", signed(t, key, good, func(c *repo.Commit) { c.Sig = nil }), car.ReasonSignature, nil},
		{"changed after it was signed", signed(t, key, good, func(c *repo.Commit) { c.Rev = "3mptbypluud2b" }), car.ReasonSignature, nil},
		{"version 4", signed(t, key, good, func(c *repo.Commit) { c.Version = 4 }), car.ReasonVersion, nil},
		{"a negative version", signed(t, key, good, func(c *repo.Commit) { c.Version = -3 }), car.ReasonCommit, nil},
		{"a rev that is no TID", signed(t, key, good, func(c *repo.Commit) { c.Rev = "yesterday" }), car.ReasonRev, nil},
		{"no tree", signed(t, key, good, func(c *repo.Commit) { c.Data = value(5) }), car.ReasonSignature, nil},

		{"a node is missing", without(good.Blocks[3].CID), car.ReasonMissing, nil},
		{"a record is missing", without(value(250)), car.ReasonMissing, nil},
		{"the tree is a record", of(good.Blocks[len(good.Blocks)-1]), car.ReasonTree, nil},
		{"a prefix longer than the key before", of(node(nil, entry(low[0]), with(entry("x"), func(e *mst.EntryData) { e.PrefixLen = 999 }))), car.ReasonTree, nil},
		{"a prefix in the first entry", of(node(nil, with(entry(low[0]), func(e *mst.EntryData) { e.PrefixLen = 50 }))), car.ReasonTree, nil},
		{"a prefix of exabytes", of(node(nil, entry(low[0]), with(entry("x"), func(e *mst.EntryData) { e.PrefixLen = 1<<63 - 1 }))), car.ReasonTree, nil},
		{"a negative prefix", of(node(nil, with(entry(low[0]), func(e *mst.EntryData) { e.PrefixLen = -1 }))), car.ReasonTree, nil},
		{"keys out of order", of(node(nil, entry(low[1]), entry(low[0]))), car.ReasonTree, nil},
		{"a key twice", of(node(nil, entry(low[0]), entry(low[0]))), car.ReasonTree, nil},
		{"order across nodes", of(node(&tail.CID, entry(high[0])), tail), car.ReasonTree, nil},
		{"a key on another layer", of(node(nil, entry(low[0]), entry(high[39]))), car.ReasonTree, nil},
		{"a key that is too long", of(node(nil, entry("com.example.long/"+strings.Repeat("x", 2000)))), car.ReasonTree, nil},
		{"an empty node", of(node(&emptyLow.CID, entry(high[0])), emptyLow), car.ReasonTree, nil},
		{"a root without a key", of(node(&child.CID), child), car.ReasonTree, nil},
		{"a node below the lowest layer", of(tooLow, grandchild), car.ReasonTree, nil},
		{"the same node twice", of(node(&child.CID, with(entry(high[39]), func(e *mst.EntryData) { e.Right = &child.CID })), child), car.ReasonTree, nil},
		{"a node that is no map", of(raw("\x80")), car.ReasonTree, nil},
		{"a node without entries", of(raw("\xa1\x61l\xf6")), car.ReasonTree, nil},
		{"a node with a key twice", of(raw("\xa2\x61e\x80\x61e\x80")), car.ReasonTree, nil},
		{"a node that goes on", of(raw("\xa2\x61e\x80\x61l\xf6\x00")), car.ReasonTree, nil},
		{"entries beyond the block", of(raw("\xa2\x61e\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x61l\xf6")), car.ReasonTree, nil},
		{"an entry without a value", of(raw("\xa2\x61e\x81\xa2\x61kaa\x61p\x00\x61l\xf6")), car.ReasonTree, nil},
		{"a value that is no block", of(raw("\xa2\x61e\x81\xa4\x61k\x41a\x61p\x00\x61t\xf6\x61v\xd8\x2a\x41\x00\x61l\xf6")), car.ReasonTree, nil},
		{"nested without end", of(raw(strings.Repeat("\x81", 1_000_000))), car.ReasonTree, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := car.Options{DID: did, Key: cartest.Public(t, key)}
			if c.change != nil {
				c.change(&opts)
			}
			_, err := verify(t, c.file, opts)
			if reason(err) != c.want {
				t.Errorf("%v, want reason %q", err, c.want)
			}
		})
	}
}

// signed changes a repository's commit after it has been signed.
func signed(t *testing.T, key atcrypto.PrivateKey, f cartest.File, change func(*repo.Commit)) []byte {
	t.Helper()
	var c repo.Commit
	if err := c.UnmarshalCBOR(bytes.NewReader(f.Blocks[0].Data)); err != nil {
		t.Fatal(err)
	}
	if err := c.Sign(key); err != nil {
		t.Fatal(err)
	}
	change(&c)
	var buf bytes.Buffer
	if err := c.MarshalCBOR(&buf); err != nil {
		t.Fatal(err)
	}
	commit := cartest.NewBlock(buf.Bytes())
	return cartest.File{Root: commit.CID, Blocks: append([]cartest.Block{commit}, f.Blocks...)}.Bytes()
}

// onLayer returns n ascending keys that are on a layer.
func onLayer(layer, n int) []string {
	var out []string
	for i := 0; len(out) < n; i++ {
		if k := fmt.Sprintf("com.example.made/%06d", i); mst.HeightForKey([]byte(k)) == layer {
			out = append(out, k)
		}
	}
	return out
}

// A record that many keys share must not become more than a file could hold.
func TestSharedBlocksAreCountedEachTime(t *testing.T) {
	t.Parallel()
	key := cartest.Key(t)
	big := cartest.Record(t, map[string]any{"$type": "com.example.made", "text": strings.Repeat("x", 100_000)})
	all := map[string][]byte{}
	for _, k := range onLayer(0, 50) {
		all[k] = big
	}
	f := cartest.Build(t, key, did, rev, all)
	f.Blocks = slices.CompactFunc(f.Blocks, func(a, b cartest.Block) bool { return a.CID.Equals(b.CID) })
	file := f.Bytes()
	opts := car.Options{DID: did, Key: cartest.Public(t, key)}
	if r, err := verify(t, file, opts); err != nil || len(records(t, r)) != 50 {
		t.Errorf("50 records of one block: %v", err)
	}
	opts.Limits.Bytes = 1 << 20
	if _, err := verify(t, file, opts); len(file) > 1<<20 || reason(err) != car.ReasonLimit {
		t.Errorf("a file of %d bytes with records of 5 MB: %v", len(file), err)
	}
}

// Nobody can make a block that holds its own hash. If they could, this is it.
func TestCycleEnds(t *testing.T) {
	t.Parallel()
	key := cartest.Key(t)
	file := cartest.Build(t, key, did, rev, cartest.Posts(t, 1000)).Bytes()
	r, err := verify(t, file, car.Options{DID: did, Key: cartest.Public(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	car.Loop(r)
	var last error
	for _, err := range r.Records(t.Context()) {
		last = err
	}
	if reason(last) != car.ReasonTree {
		t.Errorf("%v", last)
	}
}

func TestDuplicatesAndBlobsBesideAreFine(t *testing.T) {
	t.Parallel()
	key := cartest.Key(t)
	f := cartest.Build(t, key, did, rev, cartest.Posts(t, 20))
	f.Blocks = append(f.Blocks, f.Blocks...)
	blob := cartest.NewBlock([]byte("a picture"))
	blob.CID = cid.NewCidV1(cid.Raw, blob.CID.Hash())
	f.Blocks = append(f.Blocks, blob)
	r, err := verify(t, f.Bytes(), car.Options{DID: did, Key: cartest.Public(t, key)})
	if err != nil || r.Wanted != 20 {
		t.Fatalf("%+v %v", r, err)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	key := cartest.Key(t)
	file := cartest.Build(t, key, did, rev, cartest.Posts(t, 20)).Bytes()
	opts := car.Options{DID: did, Key: cartest.Public(t, key)}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := car.Verify(ctx, bytes.NewReader(file), int64(len(file)), opts); !errors.Is(err, context.Canceled) {
		t.Errorf("with ctx at its end: %v", err)
	}
	if _, err := car.Verify(t.Context(), broken{bytes.NewReader(file), int64(len(file) / 2)}, int64(len(file)), opts); !errors.Is(err, errDisk) {
		t.Errorf("of a broken disk: %v", err)
	}
	if _, err := verify(t, file, car.Options{}); err == nil || !strings.Contains(err.Error(), "no DID") || !strings.Contains(err.Error(), "no key") {
		t.Errorf("without DID and key: %v", err)
	}

	r, err := verify(t, file, opts)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range r.Records(t.Context()) {
		if n++; n == 5 || err != nil {
			break
		}
	}
	if n != 5 {
		t.Errorf("%d records after 5", n)
	}
}

var errDisk = errors.New("disk is broken")

// broken cannot be read from a byte on.
type broken struct {
	io.ReaderAt
	from int64
}

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.from {
		return 0, errDisk
	}
	return b.ReaderAt.ReadAt(p, off)
}

// indigoReads is what another implementation makes of a file; see
// https://github.com/bluesky-social/indigo. It panics on some.
func indigoReads(file []byte, public atcrypto.PublicKey) (keys map[string]cid.Cid, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx := context.Background()
	commit, r, err := repo.LoadRepoFromCAR(ctx, bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	if err := commit.VerifySignature(public); err != nil {
		return nil, err
	}
	if r.MST.IsPartial() {
		return nil, errors.New("partial")
	}
	if err := r.MST.Verify(); err != nil {
		return nil, err
	}
	keys = map[string]cid.Cid{}
	last := []byte(nil)
	err = r.MST.Walk(func(k []byte, v cid.Cid) error {
		// Its Verify compares keys within a node and with those above only.
		if last != nil && bytes.Compare(k, last) <= 0 {
			return errors.New("out of order")
		}
		last = bytes.Clone(k)
		if len(k) > mst.MAX_KEY_BYTES {
			return errors.New("key too long") // its Verify does not look
		}
		if _, err := r.RecordStore.Get(ctx, v); err != nil {
			return err
		}
		keys[string(k)] = v
		return nil
	})
	return keys, err
}

// mutate breaks a repository somewhere, and makes the hashes right again, so that
// only the content is wrong.
func mutate(t testing.TB, rng *rand.Rand, key atcrypto.PrivateKey, f cartest.File, nodes int) []byte {
	t.Helper()
	f.Blocks = slices.Clone(f.Blocks)
	if rng.IntN(8) == 0 {
		i := rng.IntN(len(f.Blocks))
		f.Blocks = slices.Delete(f.Blocks, i, i+1)
		return f.Bytes()
	}
	if rng.IntN(8) == 0 {
		file := f.Bytes()
		file[rng.IntN(len(file))] ^= 1 << rng.IntN(8)
		return file
	}
	// A node changes, and all above it follow.
	i := 1 + rng.IntN(nodes)
	b := &f.Blocks[i]
	old := b.CID
	data := bytes.Clone(b.Data)
	switch rng.IntN(3) {
	case 0:
		data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
	case 1:
		at := rng.IntN(len(data))
		data = slices.Insert(data, at, byte(rng.Uint32()))
	default:
		at := rng.IntN(len(data))
		data = slices.Delete(data, at, at+1)
	}
	*b = cartest.NewBlock(data)
	replaced := map[cid.Cid]cid.Cid{old: b.CID}
	for len(replaced) > 0 {
		next := map[cid.Cid]cid.Cid{}
		for was, is := range replaced {
			for j := 1; j <= nodes; j++ {
				up := &f.Blocks[j]
				if !bytes.Contains(up.Data, was.Bytes()) {
					continue
				}
				before := up.CID
				*up = cartest.NewBlock(bytes.ReplaceAll(up.Data, was.Bytes(), is.Bytes()))
				next[before] = up.CID
			}
			var c repo.Commit
			if err := c.UnmarshalCBOR(bytes.NewReader(f.Blocks[0].Data)); err != nil {
				t.Fatal(err)
			}
			if c.Data.Equals(was) {
				c.Data = is
				f.Blocks[0] = cartest.Sign(t, key, c)
				f.Root = f.Blocks[0].CID
			}
		}
		replaced = next
	}
	return f.Bytes()
}

// TestAgainstIndigo has two implementations read the same files, right and wrong.
func TestAgainstIndigo(t *testing.T) {
	t.Parallel()
	key := cartest.Key(t)
	public := cartest.Public(t, key)
	rng := rand.New(rand.NewPCG(1, 2))
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	agreed := map[bool]int{}
	for range 6 {
		n := rng.IntN(200)
		posts := cartest.Posts(t, n)
		f := cartest.Build(t, key, did, rev, posts)
		nodes := len(f.Blocks) - 1 - len(posts)
		for range rounds / 6 {
			file := f.Bytes()
			if rng.IntN(20) > 0 {
				file = mutate(t, rng, key, f, nodes)
			}
			theirs, theirErr := indigoReads(file, public)
			r, err := verify(t, file, car.Options{DID: did, Key: public})
			if (err == nil) != (theirErr == nil) {
				if err != nil && lenient(err) {
					continue
				}
				t.Fatalf("atview: %v\nindigo: %v\n%x", err, theirErr, file)
			}
			agreed[err == nil]++
			if err != nil {
				continue
			}
			ours := map[string]cid.Cid{}
			for rec, err := range r.Records(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				ours[rec.Key] = rec.CID
			}
			if !maps.Equal(ours, theirs) {
				t.Fatalf("atview: %d records\nindigo: %d\n%x", len(ours), len(theirs), file)
			}
		}
	}
	if agreed[true] < rounds/50 || agreed[false] < rounds/2 {
		t.Errorf("of %d files, both take %d and refuse %d: that compares little", rounds, agreed[true], agreed[false])
	}
}

// lenient is what indigo lets pass and we do not: it skips unknown keys of a node,
// takes bytes behind its end, and CIDs of other kinds.
func lenient(err error) bool {
	for _, s := range []string{"unknown key", "goes on behind its end", "no block of a repository", "a key twice", "twice", "that no repository's block has"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

func FuzzVerify(f *testing.F) {
	key := cartest.Key(f)
	good := cartest.Build(f, key, did, rev, cartest.Posts(f, 5)).Bytes()
	f.Add(good)
	f.Add(cartest.Build(f, key, did, rev, nil).Bytes())
	f.Add(good[:100])
	f.Fuzz(func(t *testing.T, file []byte) {
		// The hashes are in the way of a fuzzer, so it writes the root's tree itself:
		// what it gives is also taken as a node.
		node := cartest.NewBlock(file)
		commit := cartest.Commit(t, key, did, rev, node.CID)
		for _, b := range [][]byte{file, cartest.File{Root: commit.CID, Blocks: []cartest.Block{commit, node}}.Bytes()} {
			r, err := verify(t, b, car.Options{DID: did, Key: cartest.Public(t, key)})
			if err != nil && reason(err) == "" {
				t.Fatal(err)
			}
			if err == nil {
				records(t, r)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	const n = 20_000
	key := cartest.Key(b)
	file := cartest.Build(b, key, did, rev, cartest.Posts(b, n)).Bytes()
	path := filepath.Join(b.TempDir(), "repo.car")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		b.Fatal(err)
	}
	on, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer on.Close()
	opts := car.Options{DID: did, Key: cartest.Public(b, key)}
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(int64(len(file)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := car.Verify(b.Context(), on, int64(len(file)), opts); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("records", func(b *testing.B) {
		r, err := car.Verify(b.Context(), on, int64(len(file)), opts)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			for _, err := range r.Records(b.Context()) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "records/s")
	})
}
