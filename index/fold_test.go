package index_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// captures are the record files that hold events.
func captures(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{"jetstream-v1", "car-events", "synthetic", "edge"} {
		files, err := filepath.Glob(filepath.Join(shared(t, "records"), dir, "*.jsonl"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no records in %s: %v", dir, err)
		}
		out = append(out, files...)
	}
	return out
}

// TestTablesHoldWhatTheEventsComeTo folds each captured file and compares the
// tables with a fold by hand.
func TestTablesHoldWhatTheEventsComeTo(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	w := newWorld(t, cat)
	m := newModel(cat)
	for _, file := range captures(t) {
		lines := readLines(t, file)
		w.feed(lines...)
		for _, line := range lines {
			m.fold(t, line)
		}
		w.settle()
		sameText(t, filepath.Base(file), m.lines(), w.modelLines())
		if t.Failed() {
			return
		}
	}
	if n := w.ix.Status().DeadLetters; n > 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestOrderAndRepetitionDoNotMatter feeds the same events in each order that
// the protocol leaves open, and again.
func TestOrderAndRepetitionDoNotMatter(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	var lines [][]byte
	for _, file := range captures(t) {
		if !strings.Contains(file, "car-events") || strings.Contains(file, "little") {
			lines = append(lines, readLines(t, file)...)
		}
	}
	first := newWorld(t, cat)
	first.feed(lines...)
	first.settle()
	want := first.dump()

	t.Run("twice", func(t *testing.T) {
		first.feed(lines...)
		first.settle()
		sameText(t, "fed twice", want, first.dump())
	})
	for seed := range uint64(3) {
		t.Run("shuffled and interrupted", func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t, cat)
			mixed := interleave(rng, lines)
			for len(mixed) > 0 {
				n := min(len(mixed), 1+rng.IntN(800))
				w.feed(mixed[:n]...)
				// Stopping while a batch is under way, then reading on from the position.
				w.stop()
				w.start()
				mixed = mixed[n:]
			}
			w.settle()
			sameText(t, "shuffled", want, w.dump())
		})
	}
}

// interleave keeps the order within each repository, as every source does, and
// mixes the repositories; some stretches are delivered twice.
func interleave(rng *rand.Rand, lines [][]byte) [][]byte {
	byDID := map[string][][]byte{}
	var dids []string
	for _, line := range lines {
		did := didOf(line)
		if byDID[did] == nil {
			dids = append(dids, did)
		}
		byDID[did] = append(byDID[did], line)
	}
	var out [][]byte
	for len(dids) > 0 {
		i := rng.IntN(len(dids))
		queue := byDID[dids[i]]
		n := min(len(queue), 1+rng.IntN(5))
		out = append(out, queue[:n]...)
		if rng.IntN(4) == 0 {
			out = append(out, queue[:n]...)
		}
		if byDID[dids[i]] = queue[n:]; len(queue) == n {
			dids = append(dids[:i], dids[i+1:]...)
		}
	}
	return out
}

// TestRandomHistories folds small, crowded histories: few accounts, few records
// and few targets, so that every kind of change meets every other. Old events
// are delivered again at random.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, cat)
			m := newModel(cat)
			h := history{rng: rand.New(rand.NewPCG(seed, 2)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			for range 12 {
				lines := h.lines(150)
				for _, line := range lines {
					m.fold(t, line)
				}
				w.feed(lines...)
				w.settle()
				sameText(t, "after a stretch", m.lines(), w.modelLines())
				if t.Failed() {
					return
				}
			}
		})
	}
}

// history makes events of a small network. Its clock moves, so revs and times
// rise together, as they do on the network.
type history struct {
	rng  *rand.Rand
	now  time.Time
	past [][]byte
}

func (h *history) lines(n int) [][]byte {
	out := make([][]byte, 0, n)
	for range n {
		if len(h.past) > 0 && h.rng.IntN(6) == 0 {
			out = append(out, h.past[h.rng.IntN(len(h.past))])
			continue
		}
		line := h.event()
		h.past = append(h.past, line)
		out = append(out, line)
	}
	return out
}

func (h *history) event() []byte {
	h.now = h.now.Add(time.Duration(1+h.rng.IntN(1000)) * time.Millisecond)
	did := fmt.Sprintf("did:plc:%024d", 2+h.rng.IntN(5))
	did = strings.NewReplacer("0", "a", "1", "b").Replace(did)
	head := map[string]any{"did": did, "time_us": h.now.UnixMicro()}
	switch h.rng.IntN(20) {
	case 0:
		head["kind"] = "account"
		account := map[string]any{"did": did, "seq": h.now.UnixMilli(), "time": h.now.Format(time.RFC3339Nano), "active": true}
		if state := h.rng.IntN(5); state < 3 {
			account["active"] = false
			account["status"] = []string{"deactivated", "takendown", "deleted"}[state]
		}
		head["account"] = account
	default:
		head["kind"] = "commit"
		head["commit"] = h.commit()
	}
	line, err := json.Marshal(head)
	if err != nil {
		panic(err)
	}
	return line
}

func (h *history) commit() map[string]any {
	collections := []string{"com.myrecipes.like", "com.myrecipes.review", "com.myrecipes.collection", "app.bsky.graph.follow"}
	collection := collections[h.rng.IntN(len(collections))]
	commit := map[string]any{
		"rev":        syntax.NewTIDFromTime(h.now, 0).String(),
		"collection": collection,
		"rkey":       fmt.Sprintf("r%d", h.rng.IntN(4)),
	}
	if h.rng.IntN(4) == 0 {
		commit["operation"] = "delete"
		return commit
	}
	commit["operation"] = []string{"create", "update"}[h.rng.IntN(2)]
	record := map[string]any{"$type": collection, "createdAt": h.now.Format(time.RFC3339Nano)}
	ref := func() any {
		if h.rng.IntN(10) == 0 {
			return "not a reference" // flagged
		}
		return map[string]any{
			"uri": fmt.Sprintf("at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/com.myrecipes.recipe/t%d", h.rng.IntN(3)),
			"cid": "bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4",
		}
	}
	switch collection {
	case "com.myrecipes.collection":
		items := []any{}
		for range h.rng.IntN(4) {
			items = append(items, ref())
		}
		record["name"], record["items"] = "A collection", items
	case "app.bsky.graph.follow":
		record["subject"] = fmt.Sprintf("did:plc:%s", strings.Repeat("c", 24))
	case "com.myrecipes.review":
		record["subject"], record["rating"], record["text"] = ref(), 1+h.rng.IntN(5), "Good."
	default:
		record["subject"] = ref()
	}
	commit["record"] = record
	commit["cid"] = "bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4"
	return commit
}
