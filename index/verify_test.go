package index_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/atview/atview/index"
	"github.com/atview/atview/schema"
)

// verify looks at everything.
func (w *world) verify() index.VerifyReport {
	w.t.Helper()
	report, err := index.Verify(w.t.Context(), w.pool, w.cat, index.VerifyConfig{Connections: 2})
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

func (w *world) mustBeClean() {
	w.t.Helper()
	report := w.verify()
	for i, d := range report.Differences {
		if i == 10 {
			break
		}
		w.t.Errorf("unexpected difference: %+v", d)
	}
	if !report.Clean() {
		w.t.Errorf("found %v", report.Found)
	}
}

// withCIDs gives the records of made-up events the CIDs that they have.
func withCIDs(t testing.TB, lines [][]byte) [][]byte {
	t.Helper()
	out := make([][]byte, len(lines))
	for i, line := range lines {
		var ev struct {
			Commit struct {
				CID    string
				Record json.RawMessage
			}
		}
		if err := json.Unmarshal(line, &ev); err != nil {
			t.Fatal(err)
		}
		out[i] = line
		if ev.Commit.CID == "" {
			continue
		}
		cid, err := schema.CID(ev.Commit.Record)
		if err != nil {
			t.Fatal(err)
		}
		// The CID of the commit is written after its record or before it; both are
		// quoted, and the record's own links are not the commit's.
		out[i] = bytes.Replace(line, []byte(`"commit":{"cid":"`+ev.Commit.CID+`"`), []byte(`"commit":{"cid":"`+cid+`"`), 1)
		if cid != ev.Commit.CID && bytes.Equal(out[i], line) {
			t.Fatalf("no CID in %s", line)
		}
	}
	return out
}

func TestVerifyFindsNothing(t *testing.T) {
	t.Parallel()
	t.Run("InCapturedEvents", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, load(t, shared(t, "lexicons")))
		for _, file := range captures(t) {
			// These have made-up CIDs.
			if strings.Contains(file, "golden") || strings.Contains(file, "edge") {
				continue
			}
			w.feed(readLines(t, file)...)
		}
		w.settle()
		w.mustBeClean()
		report := w.verify()
		if report.Rows < 3000 || report.CIDs < 3000 || report.Counts < 3000 {
			t.Errorf("too little was looked at: %+v", report)
		}
		t.Logf("%+v", report)
	})
	t.Run("InOddEvents", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, load(t, shared(t, "lexicons")))
		for _, file := range captures(t) {
			if strings.Contains(file, "edge") {
				w.feed(readLines(t, file)...)
			}
		}
		w.settle()
		report := w.verify()
		delete(report.Found, index.DiffCID) // they are made up
		if !report.Clean() {
			t.Errorf("%+v", report.Differences)
		}
		t.Logf("%+v", report)
	})
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("InRandomHistory%d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, load(t, "../lexicons"))
			h := history{rng: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			for range 5 {
				w.feed(withCIDs(t, h.lines(150))...)
				w.settle()
				w.mustBeClean()
			}
		})
	}
}
