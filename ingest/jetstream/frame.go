package jetstream

import (
	_ "embed"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/stream"
)

//go:embed dictionary/legacy_subscribe.zdict
var dictionary []byte

// Dictionary is the zstd dictionary of the legacy wire, for whoever serves it. It
// must not be changed.
func Dictionary() []byte { return dictionary }

// maxEvent is the longest event in bytes, compressed or not. Records are 1 MiB of
// CBOR at most; JSON may be several times as long.
const maxEvent = 32 << 20

// frame is what came over the socket.
type frame struct {
	data []byte
	zstd bool
	// length of what was sent; data is its beginning if that is shorter.
	length int64
}

// Size is what it takes of the buffer.
func (f frame) Size() int { return len(f.data) }

// errDictionary says that frames are compressed with a dictionary that we do not
// have, so that none will ever be readable.
var errDictionary = errors.New("server compresses with another dictionary")

// decoder decompresses frames. It is for one goroutine.
type decoder struct{ z *zstd.Decoder }

func newDecoder() (*decoder, error) {
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderDicts(dictionary),
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(maxEvent)) // a few bytes can claim to be gigabytes
	if err != nil {
		return nil, fmt.Errorf("zstd decoder: %w", err)
	}
	return &decoder{z: z}, nil
}

func (d *decoder) close() { d.z.Close() }

// line returns a frame's event, or why there is none: an
// [*stream.InvalidError], or errDictionary.
func (d *decoder) line(f frame) ([]byte, error) {
	if f.length > int64(len(f.data)) {
		return f.data, &stream.InvalidError{
			Reason: stream.ReasonTooLarge,
			Detail: fmt.Sprintf("frame of %d bytes, more than %d", f.length, len(f.data)),
		}
	}
	if !f.zstd {
		return f.data, nil
	}
	out, err := d.z.DecodeAll(f.data, nil)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return f.data, errDictionary
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return f.data, &stream.InvalidError{
			Reason: stream.ReasonTooLarge,
			Detail: fmt.Sprintf("compressed frame of more than %d bytes", maxEvent),
		}
	}
	return f.data, &stream.InvalidError{Reason: stream.ReasonFrame, Detail: fmt.Sprintf("compressed frame: %v", err)}
}
