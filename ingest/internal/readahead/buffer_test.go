package readahead

import (
	"context"
	"errors"
	"testing"
)

type line string

func (l line) Size() int { return len(l) }

func TestBuffer(t *testing.T) {
	t.Parallel()
	b := New[line](3, 10)
	for _, c := range []struct {
		put  line
		room bool
	}{{"four", true}, {"fiver", true}, {"ab", false}, {"c", true}, {"", false}} {
		if got := b.Try(c.put); got != c.room {
			t.Errorf("room for %q with %d inside: %t", c.put, b.Len(), got)
		}
	}
	full, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Put(full, "more"); !errors.Is(err, context.Canceled) {
		t.Errorf("put into a full one: %v", err)
	}
	for _, want := range []line{"four", "fiver", "c"} {
		if got, ok := b.Take(t.Context()); got != want || !ok {
			t.Errorf("took %q %t, want %q", got, ok, want)
		}
	}
	// One that is larger than the buffer fills it.
	if err := b.Put(t.Context(), "far more than ten bytes"); err != nil || b.Try("x") {
		t.Errorf("beside one that is too large there is room; %v", err)
	}
	b.End()
	if got, ok := b.Take(t.Context()); len(got) == 0 || !ok {
		t.Errorf("what was inside at the end: %q %t", got, ok)
	}
	if _, ok := b.Take(t.Context()); ok {
		t.Error("there is more after the end")
	}
}
