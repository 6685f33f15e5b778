package firehose

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

func shared(t testing.TB, elem ...string) []byte {
	t.Helper()
	p := filepath.Join(append([]string{"..", "..", "..", "shared", "records"}, elem...)...)
	data, err := os.ReadFile(p)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no records beside the checkout: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(p) != ".zst" {
		return data
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if data, err = dec.DecodeAll(data, nil); err != nil {
		t.Fatal(err)
	}
	return data
}

// realFrames returns 150 frames in a row of the network's main relay, and the
// identities of all accounts that signed.
func realFrames(t testing.TB) ([]numbered, *directory) {
	t.Helper()
	data := shared(t, "firehose", "frames.bin.zst")
	var docs map[syntax.DID]struct {
		VerificationMethod []struct {
			ID                 string `json:"id"`
			PublicKeyMultibase string `json:"publicKeyMultibase"`
		} `json:"verificationMethod"`
	}
	if err := json.Unmarshal(shared(t, "firehose", "did_docs.json.zst"), &docs); err != nil {
		t.Fatal(err)
	}
	dir := newDirectory()
	for did, doc := range docs {
		for _, m := range doc.VerificationMethod {
			if !strings.HasSuffix(m.ID, "#atproto") {
				continue
			}
			key, err := atcrypto.ParsePublicMultibase(m.PublicKeyMultibase)
			if err != nil {
				t.Fatal(err)
			}
			dir.known[did] = identity.Identity{DID: did, Key: key}
		}
	}
	var frames []numbered
	for len(data) > 0 {
		n := binary.LittleEndian.Uint32(data)
		f := data[4 : 4+n]
		data = data[4+n:]
		m, err := decode(f)
		if err != nil {
			t.Fatal(err)
		}
		var seq int64
		switch {
		case m.commit != nil:
			seq = m.commit.Seq
		case m.identity != nil:
			seq = m.identity.Seq
		case m.account != nil:
			seq = m.account.Seq
		default:
			t.Fatalf("%+v", m)
		}
		frames = append(frames, numbered{seq, f})
	}
	return frames, dir
}

// TestRealFrames holds what is emitted against what a Jetstream sent for the same
// frames.
func TestRealFrames(t *testing.T) {
	t.Parallel()
	frames, dir := realFrames(t)
	want := make(map[string]stream.Event)
	for line := range bytes.Lines(shared(t, "jetstream-v1", "bluesky-2026-07-04.jsonl")) {
		ev, err := stream.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		want[eventKey(ev)] = ev
	}

	h := startHost(t, nil)
	h.append(frames...)
	src := newSource(t, Config{URLs: []string{h.url()}, Directory: dir})
	out := newSink()
	run(t, src, stream.Cursor{Value: frames[0].seq - 1, Host: h.name()}, out)
	lines := out.count(t, len(want))
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d", len(lines), len(want))
	}
	var before int64
	for _, l := range lines {
		if l.Err != nil {
			t.Fatal(l.Err)
		}
		if l.Cursor.Value != 0 {
			if l.Cursor.Value < before {
				t.Errorf("cursor %d after %d", l.Cursor.Value, before)
			}
			before = l.Cursor.Value
		}
		// As the log will give it.
		got, err := stream.Parse(l.Event.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		w, ok := want[eventKey(got)]
		if !ok {
			t.Errorf("not of the Jetstream: %s", eventKey(got))
			continue
		}
		delete(want, eventKey(got))
		switch {
		case got.Commit != nil:
			if got.Commit.CID != w.Commit.CID || got.Commit.Operation == stream.Delete != (w.Commit.Record == nil) {
				t.Errorf("%s: %+v\nwant %+v", eventKey(got), got.Commit, w.Commit)
			}
			if w.Commit.Record != nil && !reflect.DeepEqual(value(t, got.Commit.Record), value(t, w.Commit.Record)) {
				t.Errorf("%s: %s\nwant %s", eventKey(got), got.Commit.Record, w.Commit.Record)
			}
		case !reflect.DeepEqual(got.Identity, w.Identity), !reflect.DeepEqual(got.Account, w.Account):
			t.Errorf("%+v %+v\nwant %+v %+v", got.Identity, got.Account, w.Identity, w.Account)
		}
		// A Jetstream's time is that of its own clock, somewhat later.
		if late := time.Duration(w.TimeUS-got.TimeUS) * time.Microsecond; late < 0 || late > 5*time.Second {
			t.Errorf("%s: %v before the Jetstream's", eventKey(got), late)
		}
	}
	for k := range want {
		t.Errorf("missing: %s", k)
	}
	if before != frames[len(frames)-1].seq {
		t.Errorf("cursor %d, want %d", before, frames[len(frames)-1].seq)
	}
	if st := src.Stats(); st.Commits != 148 || st.Checked != 148 || st.Rejected+st.Resyncs+st.Missing != 0 {
		t.Errorf("%+v", st)
	}
}

func eventKey(ev stream.Event) string {
	s := fmt.Sprintf("%s %s", ev.DID, ev.Kind)
	if c := ev.Commit; c != nil {
		s += fmt.Sprintf(" %s %s/%s %s", c.Operation, c.Collection, c.RKey, c.Rev)
	}
	return s
}

func value(t testing.TB, data []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

func collections(t testing.TB, patterns ...string) source.Collections {
	t.Helper()
	c, err := source.ParseCollections(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
