package firehose

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

const (
	// probeFrames is how many frames are looked at to know when a host was where. A
	// frame's time is that of a PDS, whose clock may be wrong: the median counts.
	probeFrames = 15
	// probeWait is how long to wait for more after the first.
	probeWait = 2 * time.Second
	// maxProbes bounds the search. Numbers grow evenly with time, so it takes some
	// five; halving a hundred million takes 27.
	maxProbes = 40
	// seekTimeout bounds it in time, too.
	seekTimeout = 2 * time.Minute
	// closeEnough is how much more than necessary may be read again.
	closeEnough = time.Minute
)

// errNoFrame says that a host has nothing to send at a cursor.
var errNoFrame = errors.New("host has no frame to tell where it is")

// probe is where a host stands at a cursor: its next frame.
type probe struct {
	seq int64
	at  time.Time
}

// seek finds a cursor of a host behind which it has all that happened since a
// moment, by asking it what it has where: hosts are asked for numbers, and do not
// say when they gave them out.
//
// The error is that of the first connection, if that cannot be made.
func (s *Source) seek(ctx context.Context, u *url.URL, since time.Time) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, seekTimeout)
	defer cancel()
	tip, err := s.probe(ctx, u, nil)
	switch {
	case errors.Is(err, errNoFrame):
		return 0, nil // so quiet a host that it does not matter to read all it has
	case err != nil:
		return 0, err
	case tip.at.Before(since):
		return tip.seq - 1, nil // it is behind the other one
	}
	zero := int64(0)
	oldest, err := s.probe(ctx, u, &zero)
	if err != nil {
		s.count(func(st *Stats) { st.Lost++ })
		s.cutShort(u, tip, err)
		return tip.seq - 1, nil
	}
	if !oldest.at.Before(since) {
		s.count(func(st *Stats) { st.Lost++ })
		s.cfg.Log.Error().Str("host", u.Host).Time("since", since).Time("oldest", oldest.at).Msg("host does not have all that is missing; repositories that commit again are read anew")
		return 0, nil
	}
	low, high := oldest, tip
	for n := range maxProbes {
		if high.seq-low.seq < 2 || since.Sub(low.at) < closeEnough || !low.at.Before(high.at) {
			break
		}
		// Where it would be if the host's rate were even; and because it is not, every
		// third time in the middle, and never too near the ends.
		part := float64(since.Sub(low.at)) / float64(high.at.Sub(low.at))
		part = min(max(part, 1./16), 15./16)
		if n%3 == 2 {
			part = 0.5
		}
		cursor := low.seq + int64(part*float64(high.seq-low.seq))
		cursor = min(max(cursor, low.seq), high.seq-2)
		p, err := s.probe(ctx, u, &cursor)
		if err != nil {
			s.cutShort(u, low, err)
			return low.seq - 1, nil
		}
		switch {
		case p.at.After(since):
			high = probe{cursor + 1, p.at}
		case p.seq >= high.seq:
			return low.seq - 1, nil // no frames between
		default:
			low = probe{max(p.seq, low.seq+1), p.at}
		}
	}
	return low.seq - 1, nil
}

// cutShort logs that a search ended before its end. From p on it is right.
func (s *Source) cutShort(u *url.URL, p probe, err error) {
	s.cfg.Log.Warn().Err(err).Str("host", u.Host).Int64("seq", p.seq).Time("at", p.at).Msg("search for the place to go on at another host is cut short")
}

// probe asks a host what it sends at a cursor; nil asks for what happens now.
func (s *Source) probe(ctx context.Context, u *url.URL, cursor *int64) (probe, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	conn, err := s.dial(ctx, u, cursor)
	if err != nil {
		return probe{}, err
	}
	defer conn.CloseNow() //nolint:errcheck // it is over anyway
	var first int64
	var times []time.Time
	var scratch []byte
	for rctx := ctx; len(times) < probeFrames; {
		var f frame
		if f, scratch, err = readFrame(rctx, conn, scratch, s.cfg.MaxFrame); err != nil {
			break
		}
		m, derr := decode(f.data)
		if derr != nil {
			continue
		}
		if m.err != nil {
			return probe{}, fmt.Errorf("probe of %s: %w", u.Host, m.err)
		}
		seq, at := m.position()
		if t := parseTime(at); !t.IsZero() && seq > 0 {
			times = append(times, t)
			if first == 0 {
				first = seq
				var stop context.CancelFunc
				rctx, stop = context.WithTimeout(ctx, probeWait)
				defer stop()
			}
		}
	}
	switch {
	case len(times) > 0:
	case ctx.Err() != nil:
		return probe{}, errNoFrame
	default:
		return probe{}, fmt.Errorf("probe of %s: %w", u.Host, err)
	}
	slices.SortFunc(times, time.Time.Compare)
	return probe{first, times[len(times)/2]}, nil
}

// position returns a message's number and time, as far as it has them.
func (m message) position() (seq int64, at string) {
	switch {
	case m.commit != nil:
		return m.commit.Seq, m.commit.Time
	case m.sync != nil:
		return m.sync.Seq, m.sync.Time
	case m.identity != nil:
		return m.identity.Seq, m.identity.Time
	case m.account != nil:
		return m.account.Seq, m.account.Time
	}
	return 0, ""
}
