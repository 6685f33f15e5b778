package jetstreamv2

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// received is what came over the socket.
type received struct {
	data []byte
	zstd bool
	// length of what was sent; data is its beginning if that is shorter.
	length int64
}

// buffer stands between the socket and the log. It is bounded in frames and in
// bytes; a full one blocks put, and so the socket.
type buffer struct {
	frames chan received
	bytes  *semaphore.Weighted
	most   int64
}

func newBuffer(frames int, bytes int64) *buffer {
	return &buffer{frames: make(chan received, frames), bytes: semaphore.NewWeighted(bytes), most: bytes}
}

// weight of a frame: a single one that is larger than the buffer fills it.
func (b *buffer) weight(f received) int64 { return min(int64(len(f.data)), b.most) }

// try puts a frame in if there is room.
func (b *buffer) try(f received) bool {
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
func (b *buffer) put(ctx context.Context, f received) error {
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
func (b *buffer) take(ctx context.Context) (received, bool) {
	select {
	case f, ok := <-b.frames:
		if ok {
			b.bytes.Release(b.weight(f))
		}
		return f, ok
	case <-ctx.Done():
		return received{}, false
	}
}

func (b *buffer) len() int { return len(b.frames) }
