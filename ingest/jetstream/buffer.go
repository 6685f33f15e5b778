package jetstream

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// buffer stands between the socket and the log. It is bounded in frames and in
// bytes; a full one blocks put, and so the socket.
type buffer struct {
	frames chan frame
	bytes  *semaphore.Weighted
	most   int64
}

func newBuffer(frames int, bytes int64) *buffer {
	return &buffer{frames: make(chan frame, frames), bytes: semaphore.NewWeighted(bytes), most: bytes}
}

// weight of a frame: a single one that is larger than the buffer fills it.
func (b *buffer) weight(f frame) int64 { return min(int64(len(f.data)), b.most) }

// try puts a frame in if there is room.
func (b *buffer) try(f frame) bool {
	w := b.weight(f)
	if !b.bytes.TryAcquire(w) {
		return false
	}
	select {
	case b.frames <- f:
		return true
	default:
		b.bytes.Release(w)
		return false
	}
}

// put waits for room.
func (b *buffer) put(ctx context.Context, f frame) error {
	w := b.weight(f)
	if err := b.bytes.Acquire(ctx, w); err != nil {
		return err
	}
	select {
	case b.frames <- f:
		return nil
	case <-ctx.Done():
		b.bytes.Release(w)
		return ctx.Err()
	}
}

// end says that no frame comes any more; those inside can still be taken.
func (b *buffer) end() { close(b.frames) }

// take returns the next frame; false at the end.
func (b *buffer) take(ctx context.Context) (frame, bool) {
	select {
	case f, ok := <-b.frames:
		if ok {
			b.bytes.Release(b.weight(f))
		}
		return f, ok
	case <-ctx.Done():
		return frame{}, false
	}
}

func (b *buffer) len() int { return len(b.frames) }
