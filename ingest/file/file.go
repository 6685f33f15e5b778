package file

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// Config says which file.
type Config struct {
	// Path of the file. Names that end in .zst or .gz are decompressed.
	Path string
	// MaxLine is the length in bytes from which on a line is not an event. Default
	// 16 MiB.
	MaxLine int
}

// Source reads a file. See the package's documentation.
type Source struct {
	cfg   Config
	open  atomic.Bool
	opens atomic.Int64
	bytes atomic.Int64
}

var _ source.Source = (*Source)(nil)

// New checks that the file is there.
func New(cfg Config) (*Source, error) {
	if cfg.MaxLine <= 0 {
		cfg.MaxLine = 16 << 20
	}
	info, err := os.Stat(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("source file: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("source file %s: is a directory, want a file of JSON lines", cfg.Path)
	}
	return &Source{cfg: cfg}, nil
}

// Name is "file:" and the path as it was given.
func (s *Source) Name() string { return "file:" + s.cfg.Path }

// SetCollections does nothing: a file cannot be asked for less.
func (s *Source) SetCollections(source.Collections) {}

// Status returns how much has been read.
func (s *Source) Status() source.Status {
	return source.Status{Connected: s.open.Load(), Host: s.cfg.Path, Connects: s.opens.Load(), Bytes: s.bytes.Load()}
}

// Run emits every line of the file, from its start. See [source.Source].
func (s *Source) Run(ctx context.Context, _ stream.Cursor, emit func(source.Line) error) error {
	f, err := os.Open(s.cfg.Path)
	if err != nil {
		return fmt.Errorf("source file: %w", err)
	}
	defer f.Close()
	s.open.Store(true)
	s.opens.Add(1)
	defer s.open.Store(false)

	plain, err := s.decompress(&counter{r: f, n: &s.bytes})
	if err != nil {
		return fmt.Errorf("source file %s: %w", s.cfg.Path, err)
	}
	defer plain.Close()
	r := bufio.NewReaderSize(plain, 256<<10)
	for {
		line, length, err := readLine(r, s.cfg.MaxLine)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("source file %s: %w", s.cfg.Path, err)
		}
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if data := bytes.TrimSpace(line); len(data) > 0 {
			l := source.Line{Data: data}
			if length > s.cfg.MaxLine {
				l.Err = &stream.InvalidError{
					Reason: stream.ReasonTooLarge,
					Detail: fmt.Sprintf("line of %d bytes, more than %d", length, s.cfg.MaxLine),
				}
			} else {
				l = source.Parsed(data)
			}
			if err := emit(l); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

func (s *Source) decompress(r io.Reader) (io.ReadCloser, error) {
	switch strings.ToLower(filepath.Ext(s.cfg.Path)) {
	case ".zst":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case ".gz":
		return gzip.NewReader(r)
	}
	return io.NopCloser(r), nil
}

// readLine returns a line in memory of its own, without its end, and its length.
// Of a line longer than most, it returns the beginning. The error is that of the
// reader; there may be a line with io.EOF.
func readLine(r *bufio.Reader, most int) (line []byte, length int, err error) {
	for {
		part, err := r.ReadSlice('\n')
		length += len(part)
		if room := most - len(line); len(part) > room {
			part = part[:max(room, 0)]
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil {
			length--
			line = bytes.TrimSuffix(line, []byte{'\n'})
		}
		return line, length, err
	}
}

type counter struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
