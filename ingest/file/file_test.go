package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const identity = `{"did":"did:web:a.test","time_us":5,"kind":"identity"}`

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, cfg Config) ([]source.Line, error) {
	t.Helper()
	src, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var lines []source.Line
	err = src.Run(t.Context(), stream.Cursor{Value: 99}, func(l source.Line) error {
		lines = append(lines, l)
		return nil
	})
	return lines, err
}

func TestSource(t *testing.T) {
	t.Parallel()

	t.Run("EachLineOnce", func(t *testing.T) {
		t.Parallel()
		path := write(t, "x.jsonl", []byte("\n"+identity+"\r\n \n\nno JSON\n"+identity)) // no line end at the end
		lines, err := read(t, Config{Path: path})
		if err != nil || len(lines) != 3 {
			t.Fatalf("%d lines, %v", len(lines), err)
		}
		for _, i := range []int{0, 2} {
			if string(lines[i].Data) != identity || lines[i].Err != nil || lines[i].Event.Kind != stream.KindIdentity || lines[i].Cursor.Value != 0 {
				t.Errorf("%+v", lines[i])
			}
		}
		var bad *stream.InvalidError
		if !errors.As(lines[1].Err, &bad) || string(lines[1].Data) != "no JSON" {
			t.Errorf("%+v", lines[1])
		}
	})

	t.Run("ALongLineIsARejectAndTheNextIsRead", func(t *testing.T) {
		t.Parallel()
		const most = 1 << 20
		exact := identity + strings.Repeat(" ", most-len(identity))
		long := strings.Repeat("x", most+1)
		path := write(t, "x.jsonl", []byte(exact+"\n"+long+"\n"+identity+"\n"+long))
		lines, err := read(t, Config{Path: path, MaxLine: most})
		if err != nil || len(lines) != 4 {
			t.Fatalf("%d lines, %v", len(lines), err)
		}
		for i, tooLong := range []bool{false, true, false, true} {
			var bad *stream.InvalidError
			if got := errors.As(lines[i].Err, &bad) && bad.Reason == stream.ReasonTooLarge; got != tooLong {
				t.Errorf("line %d: %v", i, lines[i].Err)
			}
			if len(lines[i].Data) > most {
				t.Errorf("line %d keeps %d bytes", i, len(lines[i].Data))
			}
		}
	})

	t.Run("Compressed", func(t *testing.T) {
		t.Parallel()
		plain := []byte(strings.Repeat(identity+"\n", 10_000))
		var gz bytes.Buffer
		w := gzip.NewWriter(&gz)
		if _, err := w.Write(plain); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		defer enc.Close()
		zst := enc.EncodeAll(plain, nil)
		for name, data := range map[string][]byte{"x.jsonl.gz": gz.Bytes(), "x.jsonl.zst": zst} {
			lines, err := read(t, Config{Path: write(t, name, data)})
			if err != nil || len(lines) != 10_000 {
				t.Errorf("%s: %d lines, %v", name, len(lines), err)
			}
			if _, err := read(t, Config{Path: write(t, name, data[:len(data)-20])}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s that is cut: %v", name, err)
			}
		}
	})

	t.Run("MissingFileAndFolder", func(t *testing.T) {
		t.Parallel()
		if _, err := New(Config{Path: "does/not/exist.jsonl"}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "does/not/exist.jsonl") {
			t.Errorf("%v", err)
		}
		dir := t.TempDir()
		if _, err := New(Config{Path: dir}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v", err)
		}
	})

	t.Run("EndsWithContextAndWithEmit", func(t *testing.T) {
		t.Parallel()
		src, err := New(Config{Path: write(t, "x.jsonl", []byte(strings.Repeat(identity+"\n", 10)))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err = src.Run(ctx, stream.Cursor{}, func(source.Line) error {
			if n++; n == 3 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || n != 3 {
			t.Errorf("%d lines, %v", n, err)
		}
		enough := errors.New("enough")
		if err := src.Run(t.Context(), stream.Cursor{}, func(source.Line) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("%v", err)
		}
		if st := src.Status(); st.Connected || st.Connects != 2 || st.Bytes == 0 {
			t.Errorf("%+v", st)
		}
	})
}
