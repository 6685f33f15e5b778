package index_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/atview/atview/index"
)

// TestLogIsTrimmedBehindTheIndex folds, goes quiet, and finds the log emptied
// of what is folded, also in partitions that no longer move.
func TestLogIsTrimmedBehindTheIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, load(t, "../lexicons"))
	w.stop()
	ix, err := index.New(index.Config{Pool: w.pool, Log: w.log, Catalog: w.cat, Logger: zerolog.Nop(),
		KeepFolded: 10 * time.Millisecond, TrimInterval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	w.ix = ix
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ix.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("index: %v", err)
		}
	}()
	w.feed(readLines(t, "../examples/records.jsonl")...)
	w.settle()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := w.log.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if state.Messages <= uint64(w.log.Partitions()) {
			break // the positions' own messages may stay
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the log still holds %d messages", state.Messages)
		}
	}
	// A worker that starts now finds its position in a log that has been trimmed.
	want := w.dump()
	w.feed([]byte(fmt.Sprintf(`{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","time_us":%d,"kind":"identity","identity":{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","handle":"new.example.com","seq":1}}`, time.Now().UnixMicro())))
	w.settle()
	if want == w.dump() {
		t.Error("an event after the trim was not folded")
	}
}
