package jetstreamv2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// unit is what is given up if it cannot be read: a block, or where that is
// unknown, a segment (block -1).
type unit struct {
	segment string
	block   int
}

// loss is why a unit is given up, and whether that has been told.
type loss struct {
	err  error
	told bool
}

func (u unit) String() string {
	if u.block < 0 {
		return "segment " + u.segment
	}
	return fmt.Sprintf("block %d of segment %s", u.block, u.segment)
}

// job is a download: a block, or blocks of a segment that lie side by side.
type job struct {
	first  unit
	places []place // of a part of a segment; nil for a block of its own
	etag   string  // the segment's
	err    error   // known beforehand: nothing is downloaded
	lost   bool    // err is told as a reject, and reading goes on

	done chan result // capacity 1
}

// result is what a job's blocks are as lines.
type result struct {
	blocks []lines
	err    error
	unit   unit // that failed
}

// lines are a block's.
type lines struct {
	lines []source.Line
	last  int64 // the highest number in the block, wanted or not; 0 if it is empty
}

// read downloads and emits what a page lists. Downloads are made side by side;
// what they bring is emitted in the plan's order, which is that of the numbers.
func (r *archiveRun) read(ctx context.Context, srv *server, p *plan, wants source.Collections) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	work := make(chan *job)
	// Full, it has the producer wait: so many downloads are under way, or done and not
	// emitted.
	order := make(chan *job, 2*r.cfg.Downloads)
	keep := filter{after: r.span.next - 1, until: r.span.until, all: r.span.all, wants: wants}
	l := lister{archiveRun: r, server: srv, keep: keep, given: maps.Clone(r.given)}

	g.Go(func() error {
		defer close(order)
		defer close(work)
		return l.jobs(gctx, p, func(j *job) error {
			j.done = make(chan result, 1)
			select {
			case order <- j:
			case <-gctx.Done():
				return gctx.Err()
			}
			if failed := j.err; failed != nil {
				j.done <- result{err: failed, unit: j.first}
			} else {
				select {
				case work <- j:
				case <-gctx.Done():
					return gctx.Err()
				}
			}
			return nil
		})
	})
	for range r.cfg.Downloads {
		g.Go(func() error {
			for j := range work {
				j.done <- r.download(gctx, srv, j, &keep)
			}
			return nil
		})
	}
	err := r.emitAll(gctx, order)
	cancel()
	if werr := g.Wait(); err == nil && werr != nil {
		err = werr
	}
	return err
}

// lister hands out a page's downloads, while what they bring is emitted: so it has
// a copy of what that changes.
type lister struct {
	*archiveRun
	server *server
	keep   filter
	given  map[unit]*loss
}

// jobs hands out the page's downloads in their order.
func (l *lister) jobs(ctx context.Context, p *plan, add func(*job) error) error {
	for _, seg := range p.Segments {
		if seg.Mode == "blocks" {
			for _, b := range seg.Blocks {
				for i := b.First; i <= b.Last; i++ {
					if err := add(l.blockJob(unit{seg.Name, i})); err != nil {
						return err
					}
				}
			}
			continue
		}
		// Any other mode than those that are known is taken as the whole segment.
		if err := l.segmentJobs(ctx, seg.Name, add); err != nil {
			return err
		}
	}
	return nil
}

// blockJob is a block's download, or if it is given up, why.
func (l *lister) blockJob(u unit) *job {
	j := &job{first: u}
	if lost := l.given[u]; lost != nil {
		j.err, j.lost = lost.err, true
	}
	return j
}

// segmentJobs hands out a segment in parts of whole blocks.
func (l *lister) segmentJobs(ctx context.Context, name string, add func(*job) error) error {
	whole := unit{name, -1}
	if l.given[whole] != nil {
		return add(l.blockJob(whole))
	}
	places, etag, err := l.index(ctx, l.server, name)
	if err != nil {
		return add(&job{first: whole, err: err})
	}
	for i := 0; i < len(places); {
		u := unit{name, i}
		pl := places[i]
		switch {
		case !l.keep.place(pl):
			i++
			continue
		case l.given[u] != nil:
			if err := add(l.blockJob(u)); err != nil {
				return err
			}
			i++
			continue
		case pl.size > l.cfg.MaxBlock:
			return add(&job{first: u, err: fmt.Errorf("%s: %d bytes, more than %d: %w", u, pl.size, l.cfg.MaxBlock, errTooLarge)})
		}
		end := i + 1
		for end < len(places) && places[end].offset+places[end].size-pl.offset <= l.cfg.PartSize &&
			l.given[unit{name, end}] == nil && l.keep.place(places[end]) {
			end++
		}
		if err := add(&job{first: u, places: places[i:end], etag: etag}); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// index reads where a segment's blocks are. It does so for one version of it, as
// all that is read of it later.
func (r *archiveRun) index(ctx context.Context, srv *server, name string) ([]place, string, error) {
	var places []place
	var etag string
	err := r.attempts(ctx, func() error {
		var data []byte
		var err error
		data, etag, err = srv.getPart(ctx, name, "", 0, headerSize)
		if err != nil {
			return err
		}
		h, err := parseHeader(data)
		if err != nil {
			return &corruptError{fmt.Errorf("segment %s of %s: %w", name, srv.host(), err)}
		}
		if h.blocks > uint32(r.cfg.MaxSegmentBlocks) {
			return fmt.Errorf("segment %s of %s: %d blocks, more than %d: %w", name, srv.host(), h.blocks, r.cfg.MaxSegmentBlocks, errTooLarge)
		}
		if h.blocks == 0 {
			places = nil
			return nil
		}
		data, etag, err = srv.getPart(ctx, name, etag, int64(h.index), int64(h.blocks)*indexEntrySize)
		if err != nil {
			return err
		}
		if places, err = parseIndex(data, h); err != nil {
			return &corruptError{fmt.Errorf("segment %s of %s: %w", name, srv.host(), err)}
		}
		return nil
	})
	return places, etag, err
}

// attempts tries a download until it succeeds, [Config.Attempts] times at most.
func (r *archiveRun) attempts(ctx context.Context, try func() error) error {
	for tries := 1; ; tries++ {
		err := try()
		var refusal *statusError
		wait := retry.Backoff(tries-1, r.cfg.MinBackoff, r.cfg.MaxBackoff)
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, errRewritten), errors.Is(err, errTooLarge):
			return err
		case errors.As(err, &refusal):
			if refusal.permanent(false) {
				return err
			}
			wait = max(wait, refusal.retryAfter)
		}
		if tries == r.cfg.Attempts {
			return err
		}
		if !retry.Sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// corruptError says that bytes arrived and are no block.
type corruptError struct{ err error }

func (e *corruptError) Error() string { return e.err.Error() }
func (e *corruptError) Unwrap() error { return e.err }

// download brings a job's blocks, and makes lines of them.
func (r *archiveRun) download(ctx context.Context, srv *server, j *job, keep *filter) result {
	var res result
	err := r.attempts(ctx, func() error {
		res = result{unit: j.first}
		if j.places == nil {
			frame, err := srv.getBlock(ctx, j.first.segment, j.first.block)
			if err != nil {
				return err
			}
			r.bytes.Add(int64(len(frame)))
			b, err := r.decode(j.first, frame, keep)
			res.blocks = append(res.blocks, b)
			return err
		}
		last := j.places[len(j.places)-1]
		start := j.places[0].offset
		data, _, err := srv.getPart(ctx, j.first.segment, j.etag, start, last.offset+last.size-start)
		if err != nil {
			return err
		}
		r.bytes.Add(int64(len(data)))
		for i, pl := range j.places {
			u := unit{j.first.segment, j.first.block + i}
			b, err := r.decode(u, data[pl.offset-start:pl.offset-start+pl.size], keep)
			if err != nil {
				res.unit = u
				return err
			}
			res.blocks = append(res.blocks, b)
		}
		return nil
	})
	res.err = err
	return res
}

// decode makes lines of a block's frame.
func (r *archiveRun) decode(u unit, frame []byte, keep *filter) (lines, error) {
	data, err := r.zstd.DecodeAll(frame, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return lines{}, fmt.Errorf("%s: decompressed more than %d bytes: %w", u, r.cfg.MaxDecoded, errTooLarge)
	}
	if err != nil {
		return lines{}, &corruptError{fmt.Errorf("%s: decompress %d bytes: %w", u, len(frame), err)}
	}
	b, err := parseBlock(data)
	if err != nil {
		return lines{}, &corruptError{fmt.Errorf("%s: %w", u, err)}
	}
	var out lines
	for row := range b.each {
		seq, ok := seqOf(row.seq)
		if ok {
			out.last = max(out.last, seq)
		}
		if !ok || keep.row(row, seq) {
			out.lines = append(out.lines, parseRow(row))
		}
	}
	return out, nil
}

// filter is what of a block was asked for: a plan lists whole blocks that may have
// something of it.
type filter struct {
	after, until int64
	all          bool
	wants        source.Collections
}

// place reports whether a block can have something of the span.
func (f *filter) place(p place) bool {
	return p.maxSeq > uint64(f.after) && p.minSeq <= uint64(f.until)
}

func (f *filter) row(r *row, seq int64) bool {
	if seq <= f.after || seq > f.until {
		return false
	}
	if r.commit() {
		return f.wants.Want(syntax.NSID(r.collection))
	}
	return f.all
}

// emitAll emits what the jobs bring, in their order, and moves the span behind it.
func (r *archiveRun) emitAll(ctx context.Context, order <-chan *job) error {
	for {
		j, ok, err := receive(ctx, r, order)
		if err != nil || !ok {
			return err
		}
		res, _, err := receive(ctx, r, j.done)
		if err != nil {
			return err
		}
		for _, b := range res.blocks {
			if err := r.emitBlock(b); err != nil {
				return err
			}
		}
		if len(res.blocks) > 0 {
			r.stuckFor = 0
		}
		switch {
		case res.err == nil:
		case j.lost:
			if err := r.emitLost(res.unit, res.err); err != nil {
				return err
			}
		default:
			return r.judge(res.unit, res.err)
		}
	}
}

// receive waits for what comes of a channel, unless Live or the collections have
// something more urgent.
func receive[T any](ctx context.Context, r *archiveRun, c <-chan T) (v T, ok bool, err error) {
	for {
		select {
		case v, ok = <-c:
			return v, ok, nil
		case req := <-r.pact.requests:
			if !r.asked(&req) {
				return v, false, errAsked
			}
		case <-r.refilter:
			if digest(*r.collections.Load()) != r.span.of {
				return v, false, errAsked
			}
		case <-ctx.Done():
			return v, false, ctx.Err()
		}
	}
}

// emitBlock emits a block. The cursor moves with its last line, for nothing says
// that rows stand in the order of their numbers.
func (r *archiveRun) emitBlock(b lines) error {
	r.span.next = max(r.span.next, min(b.last, r.span.until)+1)
	for i, line := range b.lines {
		if i == len(b.lines)-1 {
			line.Cursor = r.span.cursor()
		}
		if err := r.emit(line); err != nil {
			return &emitError{err}
		}
	}
	r.moved(len(b.lines))
	return nil
}

// maxStuck is how many plans in a row may name what the server does not have,
// before it is given up: a segment that was replaced is in the next plan under its
// new name.
const maxStuck = 3

// judge decides what follows from a download's failure: give the unit up, which
// the next plan does, or only try again.
func (r *archiveRun) judge(u unit, err error) error {
	if refusal, ok := errors.AsType[*statusError](err); ok {
		if !refusal.permanent(false) || refusal.code == http.StatusUnauthorized || refusal.code == http.StatusForbidden {
			return err
		}
		if u != r.stuck {
			r.stuck, r.stuckFor = u, 0
		}
		if r.stuckFor++; r.stuckFor < maxStuck {
			return err
		}
		r.given[u] = &loss{err: err}
		return errAsked
	}
	if _, corrupt := errors.AsType[*corruptError](err); corrupt || errors.Is(err, errTooLarge) {
		r.given[u] = &loss{err: err}
		return errAsked
	}
	return err
}

// emitLost says that a unit could not be read: a reject, for it is not to be
// forgotten.
func (r *archiveRun) emitLost(u unit, why error) error {
	l := r.given[u]
	if l.told {
		return nil // by an earlier plan
	}
	l.told = true
	r.cfg.Log.Error().Err(why).Str("segment", u.segment).Int("block", u.block).Msg("giving up a part of Jetstream's archive; its events are missing")
	r.mu.Lock()
	r.progress.Lost++
	r.mu.Unlock()
	reason := stream.ReasonFrame
	if errors.Is(why, errTooLarge) {
		reason = stream.ReasonTooLarge
	}
	data := fmt.Appendf(nil, `{"host":%s,"segment":%s,"block":%d}`, quoted([]byte(r.span.host)), quoted([]byte(u.segment)), u.block)
	if err := r.emit(reject(data, reason, why.Error())); err != nil {
		return &emitError{err}
	}
	return nil
}
