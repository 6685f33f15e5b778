package simulate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

// shared gives a path in the corpus of real lexicons, which is not part of the
// repository.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	p := filepath.Join(append([]string{"..", "..", "..", "shared"}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("needs the shared corpus: %s is absent", p)
	}
	return p
}

func load(t testing.TB, dir string) *schema.Catalog {
	t.Helper()
	cat, err := schema.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func examples(t testing.TB) *schema.Catalog { return load(t, filepath.Join("..", "..", "lexicons")) }

func newModel(t testing.TB, cat *schema.Catalog, cfg simulate.Config) *simulate.Model {
	t.Helper()
	m, err := simulate.New(cat, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRecordsOfTheCorpusAreValid makes many records of every real lexicon.
func TestRecordsOfTheCorpusAreValid(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	weights := map[syntax.NSID]float64{}
	for _, col := range cat.Collections {
		weights[col.NSID] = 1
	}
	m := newModel(t, cat, simulate.Config{Seed: 1, Weights: weights})
	for _, p := range m.Problems() {
		t.Logf("impossible: %s", p)
	}
	bad := map[syntax.NSID]int{}
	made := map[syntax.NSID]int{}
	for range 12_000 {
		ev := m.Next()
		if ev.Kind != stream.KindCommit || ev.Commit.Operation == stream.Delete {
			continue
		}
		made[ev.Commit.Collection]++
		row, err := cat.Collection(ev.Commit.Collection).Row(ev.Commit.Record)
		if err != nil {
			t.Fatalf("%s: %v\n%s", ev.Commit.Collection, err, ev.Commit.Record)
		}
		if len(row.Flags) > 0 {
			if bad[ev.Commit.Collection]++; bad[ev.Commit.Collection] == 1 {
				t.Errorf("%s: %v\n%s", ev.Commit.Collection, row.Flags, ev.Commit.Record)
			}
		}
	}
	for _, col := range cat.Collections {
		if made[col.NSID] == 0 {
			t.Errorf("no record of %s was made", col.NSID)
		}
	}
}

// TestCIDs holds the model's own CBOR against indigo's.
func TestCIDs(t *testing.T) {
	t.Parallel()
	cat := examples(t)
	m := newModel(t, cat, simulate.Config{Seed: 7})
	for range 3000 {
		ev := m.Next()
		if ev.Kind != stream.KindCommit || ev.Commit.Operation == stream.Delete {
			continue
		}
		record, err := atdata.UnmarshalJSON(ev.Commit.Record)
		if err != nil {
			t.Fatalf("%v\n%s", err, ev.Commit.Record)
		}
		cbor, err := atdata.MarshalCBOR(record)
		if err != nil {
			t.Fatal(err)
		}
		want, err := cid.V1Builder{Codec: cid.DagCBOR, MhType: multihash.SHA2_256}.Sum(cbor)
		if err != nil {
			t.Fatal(err)
		}
		if ev.Commit.CID != want.String() {
			t.Fatalf("CID %s, want %s\n%s", ev.Commit.CID, want, ev.Commit.Record)
		}
	}
}

func TestOneSeedOneHistory(t *testing.T) {
	t.Parallel()
	cat := examples(t)
	run := func(seed uint64) []byte {
		m := newModel(t, cat, simulate.Config{Seed: seed})
		var out []byte
		for range 5000 {
			ev := m.Next()
			out = append(ev.AppendJSON(out), '\n')
		}
		return out
	}
	if !bytes.Equal(run(3), run(3)) {
		t.Error("one seed gave two histories")
	}
	if bytes.Equal(run(3), run(4)) {
		t.Error("two seeds gave one history")
	}
}

func BenchmarkNext(b *testing.B) {
	m := newModel(b, examples(b), simulate.Config{Seed: 1, Accounts: 1000})
	var size int
	for b.Loop() {
		ev := m.Next()
		size += len(ev.AppendJSON(nil))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(size)/float64(b.N), "B/event")
}
