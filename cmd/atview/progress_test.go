package main

import (
	"bytes"
	"strings"
	"testing"
)

// terminal is what is to be seen of what is written to one.
func terminal(written string) string {
	var lines []string
	for line := range strings.SplitSeq(written, "\n") {
		at := strings.LastIndex(line, clearLine)
		if at >= 0 {
			line = line[at+len(clearLine):]
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestBar(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := &bar{out: &out}
	write := func(s string) {
		if n, err := b.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	expect := func(want string) {
		t.Helper()
		if got := terminal(out.String()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	write("one\n")
	expect("one\n")
	b.show(0.5, "12 of 24")
	expect("one\n[============            ] 12 of 24")
	write("two\n")
	expect("one\ntwo\n[============            ] 12 of 24")
	b.show(2, "more than all")
	expect("one\ntwo\n[========================] more than all")
	b.show(0, "")
	write("three\n")
	expect("one\ntwo\nthree\n")
}
