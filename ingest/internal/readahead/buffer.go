// Package readahead is what stands between a socket and the log: frames that have
// been read and not been taken, bounded in number and in bytes.
//
// Place in the flow: inside a source. It guarantees order, and that a full buffer
// blocks who reads; what a frame is, is its user's affair.
package readahead

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Frame is something that was read.
type Frame interface {
	// Size is how many bytes it holds.
	Size() int
}

// Buffer is bounded in frames and in bytes; a full one blocks Put, and so the
// socket. One goroutine puts, one takes.
type Buffer[F Frame] struct {
	frames chan F
	bytes  *semaphore.Weighted
	most   int64
}

// New makes a buffer.
func New[F Frame](frames int, bytes int64) *Buffer[F] {
	return &Buffer[F]{frames: make(chan F, frames), bytes: semaphore.NewWeighted(bytes), most: bytes}
}

// weight of a frame: a single one that is larger than the buffer fills it.
func (b *Buffer[F]) weight(f F) int64 { return min(int64(f.Size()), b.most) }

// Try puts a frame in if there is room.
func (b *Buffer[F]) Try(f F) bool {
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

// Put waits for room.
func (b *Buffer[F]) Put(ctx context.Context, f F) error {
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

// End says that no frame comes any more; those inside can still be taken.
func (b *Buffer[F]) End() { close(b.frames) }

// Take returns the next frame; false at the end.
func (b *Buffer[F]) Take(ctx context.Context) (f F, ok bool) {
	select {
	case f, ok = <-b.frames:
		if ok {
			b.bytes.Release(b.weight(f))
		}
		return f, ok
	case <-ctx.Done():
		return f, false
	}
}

// Len is how many frames are inside.
func (b *Buffer[F]) Len() int { return len(b.frames) }
