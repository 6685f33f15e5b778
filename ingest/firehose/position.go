package firehose

import (
	"slices"
	"time"

	"github.com/atview/atview/ingest/stream"
)

// renumberAfter is how many frames in a row have to be numbered below the cursor
// before we take it that the host has begun to count anew.
const renumberAfter = 100

// position is how far each host has been read. Hosts number their frames
// independently, so that a cursor says nothing to another one.
type position struct {
	cursors map[string]int64 // by host
	host    string           // that is being read
	below   int              // frames in a row numbered below the cursor
	// times of the latest frames, in microseconds: another host has to go on from
	// there. The clocks are those of many hosts, so that one time says little.
	times []int64
}

// rememberTimes is of how many frames: a tenth of a second of the network.
const rememberTimes = 64

// move is how a frame's number stands to the one before.
type move struct {
	begin     int64 // more than 0: the first frame of a host, whose cursor was this before
	missing   int64 // numbers left out
	backwards bool
	renumber  bool
}

func newPosition(from stream.Cursor) *position {
	p := &position{cursors: make(map[string]int64)}
	if from.Value > 0 {
		p.cursors[from.Host] = from.Value
		if !from.Time.IsZero() {
			p.times = append(p.times, from.Time.UnixMicro())
		}
	}
	return p
}

// at returns the cursor of the host that is being read; Value 0 if it has none.
func (p *position) at() stream.Cursor {
	return stream.Cursor{Value: p.cursors[p.host], Host: p.host}
}

// next looks at a frame's number, before its lines are emitted.
func (p *position) next(seq int64) move {
	last, known := p.cursors[p.host]
	switch {
	case seq <= 0:
		return move{}
	case !known:
		p.cursors[p.host] = seq - 1
		return move{begin: seq - 1}
	case seq <= last:
		p.below++
		if p.below < renumberAfter {
			return move{backwards: true}
		}
		p.cursors[p.host] = seq - 1
		p.below = 0
		return move{backwards: true, renumber: true}
	}
	p.below = 0
	if last == 0 {
		return move{} // it was asked for all it has
	}
	return move{missing: seq - last - 1}
}

// done moves the cursor to a frame.
func (p *position) done(seq, timeUS int64) {
	if timeUS > 0 {
		if len(p.times) == rememberTimes {
			p.times = p.times[1:]
		}
		p.times = append(p.times, timeUS)
	}
	if last, known := p.cursors[p.host]; known && seq > last {
		p.cursors[p.host] = seq
	}
}

// when returns the time up to which frames have been read; zero if none have.
func (p *position) when() time.Time {
	if len(p.times) == 0 {
		return time.Time{}
	}
	sorted := slices.Sorted(slices.Values(p.times))
	return time.UnixMicro(sorted[len(sorted)/2])
}

// forget drops the cursor of the host that is being read.
func (p *position) forget() { delete(p.cursors, p.host) }
