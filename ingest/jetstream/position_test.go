package jetstream

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestPosition(t *testing.T) {
	t.Parallel()
	now := time.UnixMicro(1_800_000_000_000_000)
	at := func(d time.Duration) int64 { return now.Add(d).UnixMicro() }
	const same, other = 10 * time.Second, 60 * time.Second
	newPosition := func(cursor int64) *position {
		return &position{cursor: cursor, host: "a", log: zerolog.Nop()}
	}

	t.Run("NoCursorAsksForNone", func(t *testing.T) {
		t.Parallel()
		if got := newPosition(0).ask("a", now, same, other); got != 0 {
			t.Errorf("%d", got)
		}
	})

	t.Run("RewindDependsOnTheHost", func(t *testing.T) {
		t.Parallel()
		p := newPosition(at(-time.Hour))
		if got := p.ask("a", now, same, other); got != at(-time.Hour-same) {
			t.Errorf("same host: %d", got)
		}
		if got := p.ask("b", now, same, other); got != at(-time.Hour-other) {
			t.Errorf("other host: %d", got)
		}
	})

	t.Run("AConfiguredStartIsExact", func(t *testing.T) {
		t.Parallel()
		p := newPosition(at(-time.Hour))
		p.exact = true
		if got := p.ask("b", now, same, other); got != at(-time.Hour) {
			t.Errorf("%d", got)
		}
	})

	t.Run("CursorFromTheFutureIsThePresent", func(t *testing.T) {
		t.Parallel()
		if got := newPosition(at(time.Hour)).ask("a", now, same, other); got != at(-same) {
			t.Errorf("%d", got)
		}
	})

	t.Run("NeverBackwards", func(t *testing.T) {
		t.Parallel()
		p := newPosition(at(-time.Minute))
		p.advance(at(-time.Hour), "a", now)
		p.advance(0, "a", now)
		if p.cursor != at(-time.Minute) {
			t.Errorf("%d", p.cursor)
		}
		p.advance(at(-time.Second), "a", now)
		if p.cursor != at(-time.Second) {
			t.Errorf("%d", p.cursor)
		}
	})

	t.Run("AnEventFromTheFutureDoesNotMoveIt", func(t *testing.T) {
		t.Parallel()
		p := newPosition(at(-time.Minute))
		p.advance(at(time.Hour), "a", now)
		if p.cursor != at(-time.Minute) {
			t.Errorf("%d", p.cursor)
		}
	})

	t.Run("AClockAheadMovesItToThePresent", func(t *testing.T) {
		t.Parallel()
		p := newPosition(at(-time.Minute))
		for range futureRun {
			p.advance(at(time.Hour), "a", now)
		}
		if p.cursor != now.UnixMicro() {
			t.Errorf("%d", p.cursor)
		}
	})

	t.Run("TheFirstEventReplacesOurOwnClock", func(t *testing.T) {
		t.Parallel()
		p := newPosition(0)
		p.start(now, 0, "a")
		if got := p.ask("a", now, same, other); got != at(-same) {
			t.Errorf("before the first event: %d", got)
		}
		p.advance(at(-5*time.Minute), "a", now)
		if p.cursor != at(-5*time.Minute) {
			t.Errorf("%d", p.cursor)
		}
		p.advance(at(-6*time.Minute), "a", now)
		if p.cursor != at(-5*time.Minute) {
			t.Errorf("later ones do not: %d", p.cursor)
		}
	})
}
