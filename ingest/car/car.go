package car

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Reason is why a file is not the repository that was asked for. The set is
// small and fixed, so that it may label a metric.
type Reason string

// The reasons of an [*InvalidError].
const (
	ReasonFile      Reason = "car"        // no CAR of version 1 with one root, or cut off
	ReasonLimit     Reason = "limit"      // larger than one of the Limits
	ReasonBlock     Reason = "block"      // a block that is not what its CID says
	ReasonCommit    Reason = "commit"     // no commit at the root, or a malformed one
	ReasonVersion   Reason = "version"    // a commit of another version of the format
	ReasonDID       Reason = "repository" // the repository of somebody else
	ReasonRev       Reason = "rev"        // a rev that is no TID, or of the future
	ReasonOld       Reason = "old"        // a rev before the one asked for
	ReasonSignature Reason = "signature"  // not signed by the key
	ReasonTree      Reason = "tree"       // a malformed tree
	ReasonMissing   Reason = "missing"    // a node or a record's block is not in the file
	ReasonKey       Reason = "key"        // of a [Record]: its key is no collection and record key
)

// InvalidError says why a file is not the repository that was asked for.
type InvalidError struct {
	Reason Reason
	// Detail is for people and may quote what the file holds.
	Detail string
}

func (e *InvalidError) Error() string { return string(e.Reason) + ": " + e.Detail }

func invalid(r Reason, format string, args ...any) error {
	return &InvalidError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// Limits bound what a file may cost. Zero takes the default.
type Limits struct {
	// Bytes is how long the file may be, and how many bytes its wanted records may
	// have together: keys that share one block can be far more than the file.
	// Default 1 GiB: most repositories are below 10 MB, and the largest of people who
	// post all day below 500 MB.
	Bytes int64
	// Blocks is how many blocks the file may have. Default 4 million: up to 480 MB of
	// memory while the repository is read, and what a file of 1 GiB has.
	Blocks int
	// BlockSize is how long a block may be. Default 4 MiB: servers refuse records
	// beyond 1 MB or 2 MB, and a tree's node is rarely more than a few kB.
	BlockSize int
	// Layers is how many layers the tree may have. Default 32. A layer has 4 times as
	// many keys as the one above it, so that even a tree of all the records there
	// are has less than 20.
	Layers int
	// Records is how many records the tree may have, wanted or not. Default 10
	// million: a tenth of a second of CPU for each 100,000 of them.
	Records int64
}

func (l Limits) withDefaults() Limits {
	l.Bytes = or(l.Bytes, 1<<30)
	l.Blocks = or(l.Blocks, 4_000_000)
	l.BlockSize = or(l.BlockSize, 4<<20)
	l.Layers = or(l.Layers, 32)
	l.Records = or(l.Records, 10_000_000)
	return l
}

func or[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Options say which repository is expected.
type Options struct {
	// DID is whose repository it has to be.
	DID syntax.DID
	// Key is the one that has to have signed it.
	Key atcrypto.PublicKey
	// MinRev is the rev that it must have reached; empty takes any.
	MinRev syntax.TID
	// MaxAhead is how far its rev may lie in the future. Default 5 min, for clocks
	// that differ; a rev further ahead would shut out all commits until then.
	MaxAhead time.Duration
	// Now is the present. Default [time.Now].
	Now func() time.Time
	// Want says whose records are to be read; nil wants all.
	Want   func(collection syntax.NSID) bool
	Limits Limits

	// unsigned leaves the signature out, for tests with files whose keys are lost.
	unsigned bool
}

func (o *Options) validate() error {
	var faults []error
	if o.DID == "" {
		faults = append(faults, errors.New("no DID"))
	}
	if o.Key == nil && !o.unsigned {
		faults = append(faults, errors.New("no key"))
	}
	if o.Want == nil {
		o.Want = func(syntax.NSID) bool { return true }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.MaxAhead = or(o.MaxAhead, 5*time.Minute)
	o.Limits = o.Limits.withDefaults()
	if o.Limits.BlockSize > 1<<30 {
		faults = append(faults, fmt.Errorf("block size %d: at most 1 GiB", o.Limits.BlockSize))
	}
	return errors.Join(faults...)
}

// Repo is a repository that has been verified. It is for one goroutine.
type Repo struct {
	// DID is whose it is.
	DID syntax.DID
	// Rev is its revision.
	Rev syntax.TID
	// Wanted is how many records it has of the wanted collections, those included
	// that [Repo.Records] gives with an error.
	Wanted int64
	// Total is how many records it has in all.
	Total int64
	// Bytes is the length of the file.
	Bytes int64

	file   io.ReaderAt
	blocks map[digest]place
	root   digest // of the tree
	limits Limits
	want   func(syntax.NSID) bool
	// The last answer of want: keys of one collection stand together.
	collection []byte
	isWanted   bool
}

// Verify reads a CAR file of size bytes and checks it; see the package's
// documentation. The error is an [*InvalidError], ctx's, or that of reading.
//
// The Repo reads from file. Whoever opened it closes it, after the last use of
// the Repo; [Repo.Close] does so, too.
func Verify(ctx context.Context, file io.ReaderAt, size int64, opts Options) (*Repo, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("options for the repository's verification: %w", err)
	}
	if size > opts.Limits.Bytes {
		return nil, invalid(ReasonLimit, "the file has %d bytes, more than %d", size, opts.Limits.Bytes)
	}
	root, blocks, err := scan(ctx, io.NewSectionReader(file, 0, size), opts.Limits)
	if err != nil {
		return nil, err
	}
	r := &Repo{DID: opts.DID, Bytes: size, file: file, blocks: blocks, limits: opts.Limits, want: opts.Want}
	if err := r.checkCommit(root, opts); err != nil {
		return nil, err
	}
	if err := r.checkTree(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Close closes the file, if it can be closed.
func (r *Repo) Close() error {
	if c, ok := r.file.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// checkTree walks the whole tree once.
func (r *Repo) checkTree(ctx context.Context) error {
	var bytes int64
	return r.walk(ctx, func(key []byte, value digest) error {
		r.Total++
		if r.Total > r.limits.Records {
			return invalid(ReasonLimit, "more than %d records", r.limits.Records)
		}
		if !r.wanted(key) {
			return nil
		}
		r.Wanted++
		at, ok := r.blocks[value]
		if !ok {
			return invalid(ReasonMissing, "the block of record %.200q", key)
		}
		if bytes += int64(at.size); bytes > r.limits.Bytes {
			return invalid(ReasonLimit, "records of more than %d bytes", r.limits.Bytes)
		}
		return nil
	})
}
