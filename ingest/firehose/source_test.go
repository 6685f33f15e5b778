package firehose

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// sink collects what a source emits.
type sink struct {
	mu      sync.Mutex
	lines   []source.Line // those that are more than a cursor
	cursors []stream.Cursor
	changed chan struct{}
	hold    chan struct{} // emit waits for it, if not nil
}

func newSink() *sink { return &sink{changed: make(chan struct{})} }

func (s *sink) emit(l source.Line) error {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Event.Kind != "" || l.Err != nil {
		s.lines = append(s.lines, l)
	}
	if l.Cursor.Value != 0 {
		s.cursors = append(s.cursors, l.Cursor)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// until waits until what is collected is as wanted.
func (s *sink) until(t *testing.T, done func() bool) []source.Line {
	t.Helper()
	for {
		s.mu.Lock()
		ok, lines, changed := done(), s.lines, s.changed
		s.mu.Unlock()
		if ok {
			return lines
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("only %d lines", len(lines))
		case <-time.After(30 * time.Second):
			t.Fatalf("only %d lines: %+v", len(lines), lines)
		}
	}
}

func (s *sink) count(t *testing.T, n int) []source.Line {
	t.Helper()
	return s.until(t, func() bool { return len(s.lines) >= n })
}

// at waits until the cursor is at seq, and returns the lines up to there.
func (s *sink) at(t *testing.T, seq int64) []source.Line {
	t.Helper()
	return s.until(t, func() bool { return len(s.cursors) > 0 && s.cursors[len(s.cursors)-1].Value >= seq })
}

func newSource(t testing.TB, cfg Config) *Source {
	t.Helper()
	cfg.MinBackoff = or(cfg.MinBackoff, time.Millisecond)
	cfg.MaxBackoff = or(cfg.MaxBackoff, 10*time.Millisecond)
	cfg.CursorEvery = or(cfg.CursorEvery, time.Nanosecond)
	src, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// run runs a source until stop is called, which returns Run's error.
func run(t testing.TB, src *Source, from stream.Cursor, out *sink) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx, from, out.emit) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() }) //nolint:errcheck // looked at where it matters
	return stop
}
