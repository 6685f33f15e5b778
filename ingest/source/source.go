package source

import (
	"context"
	"time"

	"github.com/atview/atview/ingest/stream"
)

// Source is one upstream, or several hosts that stand in for one another.
type Source interface {
	// Name is the key under which the log keeps the source's cursor. It must not
	// change from one start to the next, nor when a host is replaced by another.
	Name() string

	// Run reads, from the cursor on, and emits in the upstream's order, until ctx is
	// done or the source is at its end, which is nil. A cursor with Value 0 means
	// that there is none. Disconnects are the source's own affair; an error is for
	// good.
	//
	// Emit blocks while the log cannot keep up. An error of emit ends Run, and Run
	// returns it. Run calls emit from one goroutine at a time and not after it has
	// returned.
	Run(ctx context.Context, from stream.Cursor, emit func(Line) error) error

	// SetCollections says which collections are wanted from now on. It is a hint to
	// send less: whoever runs the source filters again. It may be called before and
	// during Run, from any goroutine.
	SetCollections(Collections)

	// Status is a snapshot; it may be called at any time, from any goroutine.
	Status() Status
}

// Confirmer is a source whose upstream keeps what it has sent until it hears that
// it is stored.
type Confirmer interface {
	Source

	// Confirmed says that all lines up to the one with this cursor are on the log. It
	// is called during Run, from one goroutine at a time, soon after they are stored,
	// and must not block for long.
	Confirmed(stream.Cursor)
}

// Line is one thing that a source read.
type Line struct {
	// Data is what becomes the message's body; it must not be changed after emit.
	// Nil has the event encoded, or, with no event and no error, stands for nothing
	// but the cursor.
	Data []byte
	// Event and Err are what [stream.Parse] made of it, or what the source knows
	// itself.
	Event stream.Event
	Err   error
	// Cursor is how far the source has been read when this line is stored. Value 0
	// means no statement.
	Cursor stream.Cursor
}

// Parsed returns data as a line without cursor.
func Parsed(data []byte) Line {
	ev, err := stream.Parse(data)
	return Line{Data: data, Event: ev, Err: err}
}

// Status is what an operator wants to know of a source.
type Status struct {
	// Connected is whether it reads now.
	Connected bool
	// Host is where it reads, or tries to.
	Host string
	// Connects counts connections made, so reconnects are one less.
	Connects int64
	// Buffered is how many frames have been read and not been emitted.
	Buffered int
	// Bytes counts what has been read, before decompression.
	Bytes int64
	// LastError is the last disconnect's cause; nil if there was none.
	LastError error
	// LastErrorTime is when that was.
	LastErrorTime time.Time
}
