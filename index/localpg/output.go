package localpg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// maxLogFile bounds the log: when the file is full it becomes postgres.log.1,
// in place of the one before.
const maxLogFile = 8 << 20

// output takes what Postgres writes, which comes through one pipe for all its
// processes and all its restarts, and keeps it in a file of bounded size.
// Postgres' own collector rotates by time or size, but reuses a file only by
// time, so it cannot promise a bound.
type output struct {
	path string
	log  zerolog.Logger
	pipe *os.File // for Postgres to write to
	read *os.File
	done chan struct{}
	once sync.Once

	mu      sync.Mutex
	lines   []string        // the last few, for an error
	waiting []chan struct{} // for their mark to come through, in order
}

const keptLines = 20

func newOutput(dir string, log zerolog.Logger) (*output, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("log of Postgres: %w", err)
	}
	o := &output{path: filepath.Join(dir, "postgres.log"), log: log, done: make(chan struct{})}
	file, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of Postgres: %w", err)
	}
	if o.read, o.pipe, err = os.Pipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("log of Postgres: %w", err), file.Close())
	}
	go o.run(file)
	return o, nil
}

func (o *output) run(file *os.File) {
	defer close(o.done)
	var size int64
	if info, err := file.Stat(); err == nil {
		size = info.Size()
	}
	// A line longer than the buffer comes in parts, which is as good.
	for r := bufio.NewReaderSize(o.read, 64<<10); ; {
		line, err := r.ReadSlice('\n')
		line, marked := bytes.CutSuffix(line, []byte(mark)) // after half a line, if its writer was killed
		if len(line) > 0 {
			if size+int64(len(line)) > maxLogFile {
				file, size = o.rotate(file), 0
			}
			if file != nil {
				// Without space for the log, Postgres has larger troubles, and
				// must not block on a pipe that nobody reads.
				n, _ := file.Write(line)
				size += int64(n)
			}
			o.take(strings.TrimSpace(string(line)))
		}
		if marked {
			o.passed()
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break // io.EOF when all of Postgres has ended, or the deadline of close
		}
	}
	if file != nil {
		_ = file.Close()
	}
	_ = o.read.Close()
}

func (o *output) rotate(file *os.File) *os.File {
	if file != nil {
		_ = file.Close()
	}
	if err := os.Rename(o.path, o.path+".1"); err != nil {
		o.log.Error().Err(err).Msg("rotation of Postgres' log")
	}
	file, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		o.log.Error().Err(err).Msg("rotation of Postgres' log")
		return nil
	}
	return file
}

func (o *output) take(line string) {
	if strings.Contains(line, " PANIC: ") || strings.Contains(line, " was terminated by signal ") {
		o.log.Error().Str("postgres", line).Msg("Postgres is in trouble")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lines) == keptLines {
		o.lines = o.lines[1:]
	}
	o.lines = append(o.lines, line)
}

// mark goes through the pipe to find out when what came before has been read.
const mark = "\x00atview\n"

// tail is what Postgres said last, on one line. All that it wrote before the
// call is taken into account: of a server that has just ended, the last words
// may still be in the pipe.
func (o *output) tail() string {
	seen := make(chan struct{})
	o.mu.Lock()
	o.waiting = append(o.waiting, seen)
	o.mu.Unlock()
	if _, err := o.pipe.WriteString(mark); err == nil {
		select {
		case <-seen:
		case <-o.done:
		case <-time.After(time.Second): // the mark was torn apart; the text is for people only
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines[max(0, len(o.lines)-6):], "; ")
}

// passed tells the oldest waiter that its mark has come through.
func (o *output) passed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) > 0 {
		close(o.waiting[0])
		o.waiting = o.waiting[1:]
	}
}

// close ends the reading when the last writer has gone, or soon after.
func (o *output) close() {
	o.once.Do(func() {
		_ = o.pipe.Close()
		_ = o.read.SetReadDeadline(time.Now().Add(time.Second))
	})
	<-o.done
}
