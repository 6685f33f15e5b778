package localpg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "log")
	o, err := newOutput(dir, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	chunk := []byte(strings.Repeat(strings.Repeat("x", 999)+"\n", 100))
	for range 3 * maxLogFile / len(chunk) {
		if _, err := o.pipe.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.pipe.WriteString("the last line\n"); err != nil {
		t.Fatal(err)
	}
	o.close()
	o.close() // harmless

	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("files: %v, %v; want two", entries, err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Size() > maxLogFile || info.Size() == 0 {
			t.Errorf("%s has %d bytes, %v", entry.Name(), info.Size(), err)
		}
	}
	text, err := os.ReadFile(o.path)
	if err != nil || !strings.HasSuffix(string(text), "the last line\n") {
		t.Errorf("the last line is not in the log, %v", err)
	}
	if !strings.HasSuffix(o.tail(), "the last line") {
		t.Errorf("tail is %q", o.tail())
	}
}

func TestOutputTailIsComplete(t *testing.T) {
	t.Parallel()
	o, err := newOutput(t.TempDir(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	for _, text := range []string{"one\n", "two\n", "half"} {
		if _, err := o.pipe.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if got := o.tail(); !strings.HasSuffix(got, strings.TrimSpace(text)) {
			t.Errorf("after %q the tail is %q", text, got)
		}
	}
	text, err := os.ReadFile(o.path)
	if err != nil || string(text) != "one\ntwo\nhalf" {
		t.Errorf("the log is %q, %v", text, err)
	}
}
