package testnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// view is what a fold of Jetstream events makes.
type view struct {
	records map[syntax.DID]map[Path]string
	status  map[syntax.DID]string
}

func newView() *view {
	return &view{records: map[syntax.DID]map[Path]string{}, status: map[syntax.DID]string{}}
}

func (v *view) fold(t *testing.T, ev stream.Event) {
	t.Helper()
	if v.records[ev.DID] == nil {
		v.records[ev.DID] = map[Path]string{}
	}
	switch ev.Kind {
	case stream.KindCommit:
		path := Path{ev.Commit.Collection, ev.Commit.RKey}
		if ev.Commit.Operation == stream.Delete {
			delete(v.records[ev.DID], path)
			return
		}
		rec, err := Create(path.Collection, path.RKey, ev.Commit.Record).encode()
		if err != nil || rec.block.cid.String() != ev.Commit.CID {
			t.Errorf("%s is not the CID of %s: %v", ev.Commit.CID, ev.Commit.Record, err)
		}
		v.records[ev.DID][path] = ev.Commit.CID
	case stream.KindAccount:
		if v.status[ev.DID] = ev.Account.Status; ev.Account.Active {
			v.status[ev.DID] = Active
		}
		if ev.Account.Status == Deleted {
			delete(v.records, ev.DID)
		}
	case stream.KindSync:
		delete(v.records, ev.DID)
	}
}

// diff says what differs from the truth; unseen records may be missing.
func (v *view) diff(t *testing.T, truth map[syntax.DID]Repo, complete bool) {
	t.Helper()
	for did, r := range truth {
		if v.status[did] != r.Status {
			t.Errorf("%s is %s, want %s", did, v.status[did], r.Status)
		}
		for path, rec := range r.Records {
			unseen := !complete && strings.Contains(string(rec.JSON), "unseen")
			if got := v.records[did][path]; got != rec.CID && (got != "" || !unseen) {
				t.Errorf("%s %v: %q, want %s", did, path, got, rec.CID)
			}
		}
		for path := range v.records[did] {
			if _, ok := r.Records[path]; !ok {
				t.Errorf("%s %v should be gone", did, path)
			}
		}
	}
}

// last has a new account be the last thing that happens, so that a reader knows
// when it has read all.
func last(n *Network) syntax.DID { return n.NewAccount(0).DID() }

func TestJetstreamV1(t *testing.T) {
	t.Parallel()
	n := start(t, Config{PDSes: 2})
	drive(n, 5, 10, 500)
	end := last(n)
	for _, packed := range []bool{false, true} {
		d, err := zstd.NewReader(nil, zstd.WithDecoderDicts(jetstream.Dictionary()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		r := dial(t, n.Jetstream()+fmt.Sprintf("?cursor=0&compress=%t", packed))
		v := newView()
		var times int64
		for v.status[end] == "" {
			line, err := r.raw()
			if err == nil && packed {
				line, err = d.DecodeAll(line, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			ev, err := stream.Parse(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if ev.TimeUS < times || ev.Kind == stream.KindSync {
				t.Fatalf("out of order, or a sync: %s", line)
			}
			times = ev.TimeUS
			var extra struct{ Cursor int64 }
			if err := json.Unmarshal(line, &extra); err != nil || extra.Cursor == 0 {
				t.Fatalf("no cursor: %s", line)
			}
			v.fold(t, ev)
		}
		v.diff(t, n.Truth(), false)
	}
}

// TestJetstreamSource has our own client read it, with cuts, repetitions and
// nonsense.
func TestJetstreamSource(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	drive(n, 6, 10, 300)
	end := last(n)
	for _, f := range []Fault{JetstreamCut, JetstreamReplay, JetstreamGarbage} {
		n.Faults.Set(f, Rule{Rate: 0.01, Times: 5})
	}
	n.Faults.FailNext(JetstreamRefuse, 1)
	src, err := jetstream.New(jetstream.Config{URLs: []string{n.Jetstream()}, StartCursor: 1, Rewind: 1, MinBackoff: 1, MaxBackoff: 2})
	if err != nil {
		t.Fatal(err)
	}
	all, err := source.ParseCollections([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	src.SetCollections(all)
	v, rejects := newView(), 0
	done := errors.New("done")
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	revs := map[string]syntax.TID{}
	err = src.Run(ctx, stream.Cursor{}, func(l source.Line) error {
		switch {
		case l.Err != nil:
			rejects++
		case l.Event.Kind == stream.KindCommit: // repetitions: by rev, as the fold does
			key := fmt.Sprint(l.Event.DID, l.Event.Commit.Collection, l.Event.Commit.RKey)
			if l.Event.Commit.Rev > revs[key] {
				revs[key] = l.Event.Commit.Rev
				v.fold(t, l.Event)
			}
		case l.Event.Kind == stream.KindAccount && l.Event.Account.Status == Deleted && v.status[l.Event.DID] == Deleted:
		case l.Event.DID == end && l.Event.Kind == stream.KindAccount:
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	if idle := n.Faults.Idle(); len(idle) > 0 || rejects == 0 {
		t.Errorf("idle: %v; %d rejects", idle, rejects)
	}
	for did, r := range n.Truth() {
		if r.Status == Deleted {
			continue
		}
		for path, rec := range r.Records {
			if got := v.records[did][path]; got != rec.CID && !strings.Contains(string(rec.JSON), "unseen") {
				t.Errorf("%s %v: %q, want %s", did, path, got, rec.CID)
			}
		}
	}
}

// v2Event reads an event of the new wire as one of ours.
func v2Event(t *testing.T, line []byte) (stream.Event, int64) {
	t.Helper()
	var frame struct {
		Type    string `json:"$type"`
		Payload struct {
			Type       string          `json:"$type"`
			DID        syntax.DID      `json:"did"`
			Seq        int64           `json:"seq"`
			Time       string          `json:"time"`
			Collection syntax.NSID     `json:"collection"`
			RKey       string          `json:"rkey"`
			Rev        syntax.TID      `json:"rev"`
			CID        string          `json:"cid"`
			Operation  string          `json:"operation"`
			Record     json.RawMessage `json:"record"`
			Account    *struct {
				Active bool
				Status string
			} `json:"account"`
			Sync *struct{ Rev syntax.TID } `json:"sync"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(line, &frame); err != nil || frame.Type != "message" {
		t.Fatalf("%s: %v", line, err)
	}
	p := frame.Payload
	_, kind, _ := strings.Cut(p.Type, "subscribeEvents#")
	if _, err := syntax.ParseDatetime(p.Time); err != nil && kind != "info" {
		t.Fatalf("%s: %v", line, err)
	}
	ev := stream.Event{DID: p.DID, Kind: stream.Kind(kind)}
	switch ev.Kind {
	case stream.KindCommit:
		ev.Commit = &stream.Commit{
			Rev: p.Rev, Operation: stream.Operation(p.Operation), Collection: p.Collection,
			RKey: syntax.RecordKey(p.RKey), CID: p.CID, Record: p.Record,
		}
	case stream.KindAccount:
		ev.Account = &stream.Account{Active: p.Account.Active, Status: p.Account.Status}
	}
	return ev, p.Seq
}

func TestJetstreamV2(t *testing.T) {
	t.Parallel()
	n := start(t, Config{PDSes: 2})
	n.AddAccount(Spec{Records: []Op{Create(posts, "imported", `{}`)}})
	drive(n, 7, 10, 500)
	end := last(n)
	r := dial(t, n.JetstreamV2()+"?cursor=0")
	v := newView()
	for seq := int64(1); v.status[end] == ""; seq++ {
		line, err := r.raw()
		if err != nil {
			t.Fatal(err)
		}
		ev, got := v2Event(t, line)
		if got != seq {
			t.Fatalf("seq %d, want %d", got, seq)
		}
		v.fold(t, ev)
	}
	v.diff(t, n.Truth(), true)
}

// TestJetstreamDrop: what is lost is lost on both wires, for every subscriber.
func TestJetstreamDrop(t *testing.T) {
	t.Parallel()
	n := start(t, Config{KeepHandles: true})
	a := n.NewAccount(0)
	n.Faults.FailNext(JetstreamDrop, 1)
	a.Commit(Create(posts, "lost", `{}`), Create(posts, "kept", `{}`))
	a.SetStatus(Suspended)
	for _, url := range []string{n.Jetstream() + "?cursor=1", n.Jetstream() + "?cursor=4", n.JetstreamV2() + "?cursor=1"} {
		r, all := dial(t, url), ""
		for !strings.Contains(all, Suspended) {
			line, err := r.raw()
			if err != nil {
				t.Fatal(err)
			}
			all += string(line)
		}
		if strings.Contains(all, "lost") || !strings.Contains(all, "kept") {
			t.Errorf("%s: %s", url, all)
		}
		if strings.HasSuffix(url, "=1") && !strings.Contains(all, `"handle":"user-0.test"`) {
			t.Errorf("%s: no handle: %s", url, all)
		}
	}
	if n.Faults.Fired(JetstreamDrop) != 1 || n.RelaySeq() != 6 {
		t.Errorf("fired %d times; the relay is at %d", n.Faults.Fired(JetstreamDrop), n.RelaySeq())
	}
}

func TestJetstreamRequests(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	a := n.NewAccount(0)
	for i := range 10 {
		a.Commit(Create([]syntax.NSID{posts, likes}[i%2], "", `{}`))
	}
	first := func(url string) (stream.Event, int64) {
		t.Helper()
		line, err := dial(t, url).raw()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(url, "/subscribe?") {
			ev, err := stream.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			var extra struct{ Cursor int64 }
			_ = json.Unmarshal(line, &extra)
			return ev, extra.Cursor
		}
		return v2Event(t, line)
	}
	whole, _ := first(n.Jetstream() + "?cursor=5")
	for _, tc := range []struct {
		url        string
		kind       stream.Kind
		collection syntax.NSID
		seq        int64
	}{
		// Identity and account events pass the filter of collections.
		{n.Jetstream() + "?cursor=1&wantedCollections=" + string(likes), stream.KindIdentity, "", 1},
		{n.Jetstream() + "?cursor=4&wantedCollections=" + string(likes), stream.KindCommit, likes, 5},
		{n.Jetstream() + "?cursor=4&wantedCollections=com.example.*", stream.KindCommit, posts, 4},
		{n.Jetstream() + fmt.Sprintf("?cursor=%d", whole.TimeUS), stream.KindCommit, likes, 5},
		{n.JetstreamV2() + fmt.Sprintf("?cursor=%d", whole.TimeUS+1), stream.KindCommit, posts, 6},
		{n.JetstreamV2() + "?cursor=1&kinds=commit", stream.KindCommit, posts, 4},
		{n.JetstreamV2() + "?cursor=1&kinds=sync", stream.KindSync, "", 3},
		{n.JetstreamV2() + "?cursor=4&collections=" + string(likes), stream.KindCommit, likes, 5},
	} {
		ev, seq := first(tc.url)
		if ev.Kind != tc.kind || seq != tc.seq || ev.Commit != nil && ev.Commit.Collection != tc.collection {
			t.Errorf("%s: %v at %d", tc.url, ev, seq)
		}
	}

	// The filter changes on the way.
	r := dial(t, n.Jetstream()+"?cursor=4&requireHello=true")
	update := `{"type":"options_update","payload":{"wantedCollections":["` + string(likes) + `"],"wantedDids":[],"maxMessageSizeBytes":0}}`
	if err := r.conn.Write(t.Context(), websocket.MessageText, []byte(update)); err != nil {
		t.Fatal(err)
	}
	if line, err := r.raw(); err != nil || !strings.Contains(string(line), string(likes)) {
		t.Errorf("after an update: %s, %v", line, err)
	}
	// The new wire takes nothing from the client.
	r = dial(t, n.JetstreamV2())
	if err := r.conn.Write(t.Context(), websocket.MessageText, []byte(update)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.raw(); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("data from the client: %v", err)
	}

	// Compressed with the server's own dictionary.
	base := "http" + strings.TrimSuffix(strings.TrimPrefix(n.JetstreamV2(), "ws"), subscribeEvents)
	_, dictionary, err := get(t, base+zstdDictionary)
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dictionary))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	line, err := dial(t, n.JetstreamV2()+"?cursor=1&zstdDictionary="+dictionaryID()).raw()
	if err == nil {
		line, err = d.DecodeAll(line, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	v2Event(t, line)

	for query, want := range map[string]string{
		"zstdDictionary=1":                        "UnknownZstdDictionary",
		"wantedCollections=com.example.a":         "InvalidRequest",
		"collections=*":                           "InvalidRequest",
		"collections=com.example.a&kinds=account": "InvalidRequest",
		"kinds=future":                            "InvalidRequest",
		"cursor=x":                                "InvalidRequest",
		"dids=x":                                  "InvalidRequest",
	} {
		code, body, err := get(t, base+subscribeEvents+"?"+query)
		if err != nil || code != http.StatusBadRequest || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s %v", query, code, body, err)
		}
	}
	if code, _, _ := get(t, base+"/subscribe?wantedCollections=x"); code != http.StatusBadRequest {
		t.Errorf("bad NSID: %d", code)
	}
	many := url.Values{}
	for i := range 101 {
		many.Add("wantedCollections", "com.example.c"+strconv.Itoa(i))
	}
	if code, _, _ := get(t, base+"/subscribe?"+many.Encode()); code != http.StatusBadRequest {
		t.Errorf("101 collections: %d", code)
	}

	// What is forgotten.
	n.Forget()
	a.Commit(Create(posts, "", `{}`))
	if ev, _ := first(n.Jetstream() + "?cursor=1"); ev.Kind != stream.KindCommit {
		t.Errorf("an old cursor: %v", ev)
	}
	if code, body, _ := get(t, base+subscribeEvents+"?cursor=1"); code != http.StatusBadRequest || !strings.Contains(string(body), "CursorTooOld") {
		t.Errorf("an old cursor: %d %s", code, body)
	}
	r = dial(t, n.JetstreamV2()+fmt.Sprintf("?cursor=%d", whole.TimeUS))
	if line, err := r.raw(); err != nil || !strings.Contains(string(line), "OutdatedCursor") {
		t.Errorf("an old time: %s, %v", line, err)
	}
	if line, err := r.raw(); err != nil || !strings.Contains(string(line), "#commit") {
		t.Errorf("behind an old time: %s, %v", line, err)
	}
}
