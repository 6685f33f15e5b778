package ingest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atview/atview/ingest"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a,b.jsonl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	t.Run("Known", func(t *testing.T) {
		t.Parallel()
		cases := []struct {
			urls  []string
			names []string
		}{
			{nil, nil},
			{[]string{"file:" + path}, []string{"file:" + path}},
			{[]string{"file://" + path}, []string{"file:" + path}},
			{[]string{"wss://one.test/subscribe"}, []string{"jetstream"}},
			{[]string{"wss://one.test/subscribe, ws://localhost:8080/subscribe/", "wss://three.test/subscribe?x=1", "file:" + path}, []string{"file:" + path, "jetstream"}},
		}
		for _, c := range cases {
			sources, err := ingest.Open(c.urls, ingest.OpenConfig{})
			if err != nil {
				t.Errorf("%v: %v", c.urls, err)
			}
			var names []string
			for _, s := range sources {
				names = append(names, s.Name())
			}
			if strings.Join(names, " ") != strings.Join(c.names, " ") {
				t.Errorf("%v: %v", c.urls, names)
			}
		}
	})

	t.Run("NotSupportedYet", func(t *testing.T) {
		t.Parallel()
		for _, u := range []string{
			"wss://one.test/xrpc/network.bsky.jetstream.subscribeEvents",
			"wss://one.test/xrpc/com.atproto.sync.subscribeRepos",
			"tap+ws://localhost:2480/channel",
		} {
			if _, err := ingest.Open([]string{u}, ingest.OpenConfig{}); !errors.Is(err, ingest.ErrUnsupported) || !strings.Contains(err.Error(), u) {
				t.Errorf("%s: %v", u, err)
			}
		}
	})

	t.Run("Wrong", func(t *testing.T) {
		t.Parallel()
		for _, u := range []string{
			"", "one.test", "https://one.test/subscribe", "wss:///subscribe", "wss://one.test/", "wss://one.test/other",
			"wss://one.test/subscribe,", "wss://[/subscribe", "kafka://one.test",
			"file:" + filepath.Join(t.TempDir(), "missing.jsonl"), "file:" + t.TempDir(), "file:",
		} {
			_, err := ingest.Open([]string{u}, ingest.OpenConfig{})
			if err == nil || errors.Is(err, ingest.ErrUnsupported) || !strings.Contains(err.Error(), "--source "+u) {
				t.Errorf("%s: %v", u, err)
			}
		}
	})
}
