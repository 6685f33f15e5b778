package firehose

import (
	"context"
	"errors"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"

	"github.com/atview/atview/ingest/stream"
)

// FuzzFrame gives whatever to the whole way of a frame. What comes of it is events
// that the log takes, or rejects.
func FuzzFrame(f *testing.F) {
	a := newAccount(1)
	a.key = fuzzKey
	f.Add(a.frame(f, 1, post("com.example.post/1", 1)).data)
	f.Add(a.frame(f, 2, post("com.example.post/2", 1), write{path: "com.example.post/1"}).data)
	f.Add(encode(f, "#sync", a.declare(f, 3)))
	f.Add(encode(f, "#identity", &comatproto.SyncSubscribeRepos_Identity{Did: string(a.did), Seq: 4, Time: "2026-07-04T14:39:14Z"}))
	f.Add(encode(f, "#account", &comatproto.SyncSubscribeRepos_Account{Did: string(a.did), Seq: 5, Active: true}))
	f.Add(encode(f, "#info", &comatproto.SyncSubscribeRepos_Info{Name: outdatedCursor}))
	f.Add(errorFrame(futureCursor))
	cfg := Config{URLs: []string{"wss://one.test"}, Directory: newDirectory(a)}
	full := newSource(f, cfg)
	cfg.Trust = true // so that more comes through
	trust := newSource(f, cfg)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, src := range []*Source{full, trust} {
			o := src.check(context.Background(), frame{data, int64(len(data))})
			for _, l := range o.lines {
				var bad *stream.InvalidError
				switch {
				case errors.As(l.Err, &bad):
					continue
				case l.Err != nil:
					t.Fatalf("%v", l.Err)
				}
				if _, err := stream.Parse(l.Event.AppendJSON(nil)); err != nil {
					t.Fatalf("%v: %s", err, l.Event.AppendJSON(nil))
				}
			}
		}
	})
}

// FuzzCAR gives whatever to the reader of blocks.
func FuzzCAR(f *testing.F) {
	a := newAccount(1)
	f.Add([]byte(a.commit(f, 1, post("com.example.post/1", 1)).Blocks))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := readCAR(data, false)
		if err != nil {
			return
		}
		for id, b := range c.blocks {
			if sum, err := id.Prefix().Sum(b); err != nil || sum != id {
				t.Fatalf("%s is %s, %v", id, sum, err)
			}
		}
	})
}
