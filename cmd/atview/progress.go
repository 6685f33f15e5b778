package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
)

// bar is the last line of a terminal: how far long work is. What is logged
// meanwhile goes above it. It is safe for concurrent use.
type bar struct {
	mu    sync.Mutex
	out   io.Writer
	shown string
}

const (
	barWidth = 24
	// clearLine goes back to the line's beginning and clears it.
	clearLine = "\r\x1b[K"
)

// Write puts whole lines above the bar.
func (b *bar) Write(lines []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown == "" {
		return b.out.Write(lines)
	}
	var all bytes.Buffer
	all.WriteString(clearLine)
	all.Write(lines)
	all.WriteString(b.shown)
	if _, err := b.out.Write(all.Bytes()); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// show draws the bar, done being from 0 to 1. No text takes it away. A nil bar
// shows nothing.
func (b *bar) show(done float64, text string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.shown
	b.shown = ""
	if text != "" {
		full := min(max(int(done*barWidth), 0), barWidth)
		b.shown = fmt.Sprintf("[%s%s] %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), text)
	}
	if b.shown != before {
		fmt.Fprint(b.out, clearLine+b.shown)
	}
}
