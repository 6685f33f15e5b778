package ingest_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest"
	"github.com/atview/atview/ingest/identity"
)

// nobody knows no identities.
type nobody struct{}

func (nobody) Lookup(context.Context, syntax.DID) (identity.Identity, error) {
	return identity.Identity{}, identity.ErrNotFound
}

func (nobody) Refresh(context.Context, syntax.DID) (identity.Identity, error) {
	return identity.Identity{}, identity.ErrNotFound
}

func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a,b.jsonl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	t.Run("Known", func(t *testing.T) {
		t.Parallel()
		const (
			v2       = "/xrpc/network.bsky.jetstream.subscribeEvents"
			firehose = "/xrpc/com.atproto.sync.subscribeRepos"
		)
		cases := []struct {
			urls  []string
			names []string
		}{
			{nil, nil},
			{[]string{"file:" + path}, []string{"file:" + path}},
			{[]string{"file://" + path}, []string{"file:" + path}},
			{[]string{"wss://one.test/subscribe"}, []string{"jetstream"}},
			{[]string{"wss://one.test/subscribe, ws://localhost:8080/subscribe/", "wss://three.test/subscribe?x=1", "file:" + path}, []string{"jetstream", "file:" + path}},
			{[]string{"wss://one.test" + v2, "wss://one.test/subscribe", "wss://two.test" + v2}, []string{"jetstream-v2", "jetstream"}},
			{[]string{"wss://one.test" + firehose + ",wss://two.test" + firehose, "wss://three.test" + firehose}, []string{"firehose:one.test", "firehose:three.test"}},
			{[]string{"tap+ws://one.test:2480/channel", "tap+wss://admin:secret@two.test/channel"}, []string{"tap:one.test:2480", "tap:two.test"}},
		}
		for _, c := range cases {
			specs, err := ingest.Parse(c.urls)
			if err != nil {
				t.Errorf("%v: %v", c.urls, err)
			}
			opened, err := ingest.Open(specs, ingest.OpenConfig{Directory: nobody{}})
			if err != nil {
				t.Errorf("%v: %v", c.urls, err)
			}
			var names []string
			for _, s := range opened.Sources {
				names = append(names, s.Name())
			}
			if strings.Join(names, " ") != strings.Join(c.names, " ") {
				t.Errorf("%v: %v", c.urls, names)
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
			specs, err := ingest.Parse([]string{u})
			if err == nil {
				_, err = ingest.Open(specs, ingest.OpenConfig{})
			}
			if err == nil || !strings.Contains(err.Error(), "--source "+u) {
				t.Errorf("%s: %v", u, err)
			}
		}
	})
}
