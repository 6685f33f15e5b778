package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestRecordsAreThoseOfTheKitchen(t *testing.T) {
	t.Parallel()
	want, err := generate(source)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../records.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("examples/records.jsonl is not what kitchen.yaml says: run `go run ./examples/gen`")
	}
}

func TestMistakesInTheKitchenAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ edit, into, want string }{
		"unknown key":       {"servings: 2", "serves: 2", "serves"},
		"not a time":        {"joined: 2026-03-01 08:10", "joined: yesterday", "yesterday"},
		"refers to nothing": {"basedOn: traybake", "basedOn: trybake", "trybake"},
		"refers to later":   {"at: 2026-04-20 06:30", "at: 2026-03-10 06:30", "not there yet"},
		"edit of nothing":   {"edit: khachapuri", "edit: pizza", "pizza"},
		"delete of nothing": {"delete: typo", "delete: nothing", "nothing"},
		"change of nothing": {"rename: keiko", "set: {}", "change of nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(source), c.edit, c.into, 1)
			if text == string(source) {
				t.Fatalf("kitchen.yaml has no %q", c.edit)
			}
			if _, err := generate([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}
