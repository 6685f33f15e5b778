package jetstreamv2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

func TestLive(t *testing.T) {
	t.Parallel()

	t.Run("AsksForCollectionsAndCursor", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		live, _ := newSources(t, Config{URLs: []string{f.url() + "?extra=1"}, UserAgent: "test"})
		live.SetCollections(collections(t, note, "x.y.*"))
		stop := run(t, live, stream.Cursor{Value: 10_000, Host: f.host()}, newSink())
		a := f.request(t, "subscribeEvents", 0)
		if want := "collections=com.example.note&collections=x.y.%2A&cursor=1808&extra=1"; a.q.Encode() != want {
			t.Errorf("%s\nwant %s", a.q.Encode(), want)
		}
		if a.header.Get("Sec-Websocket-Protocol") != "xrpc.v1.json" || a.header.Get("User-Agent") != "test" {
			t.Errorf("%v", a.header)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	})

	t.Run("EventsOfAllKinds", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		d := did(1)
		base := `"did":"` + d + `","time":"2026-09-21T14:13:20.000001Z"`
		body := `{"a":"\ud800\u0000","n":123456789012345678901, "f":1.0e2}`
		frames := [][2]string{
			{"commit", base + `,"seq":1,"rev":"` + someRev + `","operation":"update","collection":"com.example.note","rkey":"self","record":` + body},
			{"commit", base + `,"seq":2,"rev":"` + someRev + `","operation":"delete","collection":"com.example.note","rkey":"self"`},
			{"identity", base + `,"seq":3,"identity":{"did":"` + d + `","handle":"a.test","seq":77,"time":"2026-01-01T00:00:00Z"}`},
			{"account", base + `,"seq":4,"account":{"did":"` + d + `","active":false,"status":"takendown","seq":78,"time":""}`},
			{"sync", `"did":"` + d + `","time":"","seq":5,"sync":{"blocks":{"$bytes":""},"did":"` + d + `","rev":"` + someRev + `","seq":0,"time":""}`},
			{"commit", base + `,"seq":6,"rev":"` + someRev + `","operation":"create","collection":"com.example.note","rkey":"odd","record":"text"`},
			{"commit", base + `,"seq":7,"rev":"` + someRev + `","operation":"create","collection":"com.example.note","rkey":"a/b","record":{}`},
			{"future", base + `,"seq":8`},
			{"account", base + `,"seq":9`},
		}
		for i, fr := range frames {
			f.append(liveEvent{seq: i + 1, data: message(fr[0], fr[1])})
		}
		f.append(
			liveEvent{seq: 10, data: []byte(`{"$type":"greeting"}`)},
			liveEvent{seq: 10, data: []byte(`no JSON`)},
			liveEvent{seq: 10, data: []byte(`{"$type":"message"}`)},
			liveEvent{seq: 10, data: []byte{1, 2, 3}, binary: true},
		)
		live, _ := newSources(t, Config{URLs: []string{f.url()}, Plain: true})
		out := newSink()
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, out)
		lines := out.events(t, 13)
		prefix := `{"did":"` + d + `","time_us":1790000000000001,"kind":`
		for i, want := range []string{
			prefix + `"commit","commit":{"rev":"3mptbypluud2a","operation":"update","collection":"com.example.note","rkey":"self","record":` + body + `}}`,
			prefix + `"commit","commit":{"rev":"3mptbypluud2a","operation":"delete","collection":"com.example.note","rkey":"self"}}`,
			prefix + `"identity","identity":{"did":"` + d + `","handle":"a.test","seq":77,"time":"2026-01-01T00:00:00Z"}}`,
			prefix + `"account","account":{"active":false,"did":"` + d + `","status":"takendown","seq":78}}`,
		} {
			if lines[i].Err != nil || string(lines[i].Data) != want {
				t.Errorf("%v\n%s\nwant\n%s", lines[i].Err, lines[i].Data, want)
			}
		}
		if s := lines[4]; s.Err != nil || s.Event.Sync == nil || s.Event.Sync.Complete || s.Event.Sync.Rev != someRev || s.Event.TimeUS == 0 {
			t.Errorf("sync: %+v", s)
		}
		for i, want := range map[int]stream.Reason{5: stream.ReasonRecord, 6: stream.ReasonRKey, 8: stream.ReasonBody, 10: stream.ReasonFrame, 11: stream.ReasonFrame, 12: stream.ReasonFrame} {
			if reason(lines[i].Err) != want || lines[i].Data == nil {
				t.Errorf("line %d: %v, %q", i, lines[i].Err, lines[i].Data)
			}
		}
		if !bytes.HasPrefix(lines[5].Data, []byte(`{"$type":"message"`)) {
			t.Errorf("a reject is not as it was sent: %s", lines[5].Data)
		}
		for _, i := range []int{7, 9} {
			if !errors.Is(lines[i].Err, stream.ErrUnknownKind) {
				t.Errorf("line %d: %v", i, lines[i].Err)
			}
		}
		for i := range 9 {
			if lines[i].Cursor.Value != int64(i+1) || lines[i].Cursor.Host != f.host() {
				t.Errorf("cursor %d: %+v", i, lines[i].Cursor)
			}
		}
	})

	t.Run("FirstStartIsStoredBeforeConnecting", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		before := time.Now()
		live, _ := newSources(t, Config{URLs: []string{f.url()}, ReplayWindow: time.Hour})
		out := newSink()
		run(t, live, stream.Cursor{}, out)
		a := f.request(t, "subscribeEvents", 0)
		first := out.all[0]
		if first.Data != nil || first.Err != nil || first.Cursor.Host != f.host() {
			t.Errorf("%+v", first)
		}
		if us := first.Cursor.Value; us < before.Add(-time.Hour).UnixMicro() || us > time.Now().Add(-time.Hour).UnixMicro() {
			t.Errorf("begins %v ago", time.Since(time.UnixMicro(us)))
		}
		if a.q.Get("cursor") != strconv.FormatInt(first.Cursor.Value, 10) {
			t.Errorf("asked for %s", a.q.Get("cursor"))
		}
	})

	// https://github.com/bluesky-social/jetstream/issues/345
	t.Run("NumbersGivenTwiceAreNewEvents", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.append(noteFrames(30)...)
		f.cut = func(conn int) int { return map[int]int{0: 30}[conn] }
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		out := newSink()
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, out)
		out.events(t, 30)
		f.update(func() { // it lost 21 to 30, and gives the numbers again
			f.events = f.events[:20]
			for i := 21; i <= 25; i++ {
				f.events = append(f.events, noteFrame(i, "new"))
			}
		})
		lines := out.until(t, func(lines []source.Line) bool { return slices.Contains(keys(events(lines)), "r25new") })
		got := keys(events(lines))
		for i := 21; i <= 25; i++ {
			if !slices.Contains(got, fmt.Sprintf("r%dnew", i)) {
				t.Errorf("r%dnew is missing", i)
			}
		}
		if c := lastCursor(lines); c.Value != 30 {
			t.Errorf("the cursor went back to %d", c.Value)
		}
	})

	t.Run("ReconnectGoesBack", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.append(noteFrames(50)...)
		f.cut = func(conn int) int { return map[int]int{0: 20}[conn] }
		live, _ := newSources(t, Config{URLs: []string{f.url()}, RewindSeqs: 5})
		out := newSink()
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, out)
		got := keys(out.events(t, 20+36))
		if want := append(rkeys(1, 20), rkeys(15, 50)...); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	})

	t.Run("AnotherHostIsAskedByTime", func(t *testing.T) {
		t.Parallel()
		a, b := startFake(t), startFake(t)
		a.append(noteFrames(100)...)
		a.cut = func(conn int) int { return 100 }
		a.hook = func(method string, n int, w http.ResponseWriter, r *http.Request) bool {
			if method == "subscribeEvents" && n > 0 {
				refuse(w, 503, "ServiceUnavailable", "down")
				return true
			}
			return false
		}
		for i := 30; i <= 101; i++ { // its numbers are others
			ev := noteFrame(i, "")
			ev.data = bytes.Replace(ev.data, fmt.Appendf(nil, `"seq":%d`, i), fmt.Appendf(nil, `"seq":%d`, i+5000), 1)
			ev.seq += 5000
			b.append(ev)
		}
		live, _ := newSources(t, Config{URLs: []string{a.url(), b.url()}, RewindOtherHost: 10 * time.Second})
		out := newSink()
		run(t, live, stream.Cursor{Value: 1, Host: a.host()}, out)
		lines := out.events(t, 112)
		if got, want := keys(lines), append(rkeys(1, 100), rkeys(90, 101)...); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		if got := b.request(t, "subscribeEvents", 0).q.Get("cursor"); got != strconv.Itoa(someTime+90*1_000_000) {
			t.Errorf("asked for %s", got)
		}
		if c := lines[100].Cursor; c.Host != b.host() || c.Value != 5090 || !c.Time.Equal(asTime(someTime+100*1_000_000)) {
			t.Errorf("%+v", c)
		}
	})

	t.Run("HostThatCountsAnewIsAskedByTime", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.append(noteFrames(3)...)
		live, _ := newSources(t, Config{URLs: []string{f.url()}, RewindSeqs: 1, RewindOtherHost: time.Second})
		out := newSink()
		// As a server that has been set up anew: what we know is far above its count, and
		// taken for "from now on".
		f.hook = func(method string, n int, w http.ResponseWriter, r *http.Request) bool {
			if method == "subscribeEvents" && n == 0 {
				q := r.URL.Query()
				q.Set("cursor", "3")
				r.URL.RawQuery = q.Encode()
			}
			return false
		}
		run(t, live, stream.Cursor{Value: 90_000, Host: f.host(), Time: asTime(someTime + 3_000_000)}, out)
		lines := out.events(t, 2)
		if got := keys(lines); !slices.Equal(got, rkeys(2, 3)) {
			t.Errorf("%v", got)
		}
		if c := lastCursor(lines); c.Value != 3 {
			t.Errorf("%+v", c)
		}
	})

	t.Run("FutureCursorIsAskedByTime", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.info = map[int][]byte{0: message("info", `"name":"FutureCursor","message":"later"`)}
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		run(t, live, stream.Cursor{Value: 90_000, Host: f.host(), Time: asTime(someTime)}, newSink())
		if got := f.request(t, "subscribeEvents", 1).q.Get("cursor"); got != strconv.Itoa(someTime-60_000_000) {
			t.Errorf("asked for %s", got)
		}
	})

	t.Run("TooOldWithoutArchiveIsAGap", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.floor = 20_000
		f.info = map[int][]byte{1: message("info", `"name":"OutdatedCursor","message":"starting at 20000"`), 2: message("info", `"name":"News","message":"?"`)}
		f.append(noteFrame(20_000, ""))
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		out := newSink()
		run(t, live, stream.Cursor{Value: 10_000, Host: f.host(), Time: asTime(someTime)}, out)
		lines := out.events(t, 1)
		if live.Gaps() != 1 || lines[0].Cursor.Value != 20_000 {
			t.Errorf("%d gaps, %+v", live.Gaps(), lines[0].Cursor)
		}
	})

	t.Run("Compression", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.dict = dictionary()
		f.append(noteFrames(5)...)
		live, _ := newSources(t, Config{URLs: []string{f.url()}, MaxFrame: 1 << 20})
		out := newSink()
		bomb, err := zstd.NewWriter(nil, zstd.WithEncoderDict(f.dict))
		if err != nil {
			t.Fatal(err)
		}
		f.append(liveEvent{seq: 6, data: bomb.EncodeAll(make([]byte, 8<<20), nil), binary: true}, noteFrame(7, ""))
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, out)
		lines := out.events(t, 7)
		if got := keys(lines[:5]); !slices.Equal(got, rkeys(1, 5)) {
			t.Errorf("%v", got)
		}
		if reason(lines[5].Err) != stream.ReasonTooLarge || lines[6].Err != nil {
			t.Errorf("%v, %v", lines[5].Err, lines[6].Err)
		}
		if a := f.request(t, "subscribeEvents", 0); a.q.Get("zstdDictionary") != "1612007021" {
			t.Errorf("%v", a.q)
		}
		if a := f.request(t, "getZstdDictionary", 0); a.header.Get("Authorization") != "" {
			t.Error("the key was sent where none is needed")
		}
	})

	t.Run("UnknownDictionaryIsFetchedOnceMore", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.dict = dictionary()
		f.given = bytes.Clone(f.dict)
		f.given[4]++
		f.append(noteFrame(1, ""))
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		out := newSink()
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, out)
		out.events(t, 1)
		if n := f.count("getZstdDictionary"); n != 2 {
			t.Errorf("fetched %d times", n)
		}
		if a := f.request(t, "subscribeEvents", 2); a.q.Has("zstdDictionary") {
			t.Errorf("%v", a.q)
		}
	})

	t.Run("TooLargeFrameIsARejectAndTheStreamGoesOn", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.append(noteFrame(1, ""), liveEvent{seq: 2, data: bytes.Repeat([]byte("x"), 5000)}, noteFrame(3, ""))
		live, _ := newSources(t, Config{URLs: []string{f.url()}, MaxFrame: 4000})
		out := newSink()
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, out)
		lines := out.events(t, 3)
		if reason(lines[1].Err) != stream.ReasonTooLarge || len(lines[1].Data) != 4000 || lines[2].Err != nil {
			t.Errorf("%v", keys(lines))
		}
	})

	t.Run("WaitsForAServerThatStarts", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.append(noteFrame(1, ""))
		f.hook = func(method string, n int, w http.ResponseWriter, r *http.Request) bool {
			if method == "subscribeEvents" && n < 3 {
				refuse(w, 503, "ServiceUnavailable", "warming up")
				return true
			}
			return false
		}
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		out := newSink()
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, out)
		out.events(t, 1)
		if st := live.Status(); !st.Connected || st.Connects != 1 || !strings.Contains(st.LastError.Error(), "warming up") {
			t.Errorf("%+v", st)
		}
	})

	t.Run("WrongRequestIsForGood", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.hook = func(method string, n int, w http.ResponseWriter, r *http.Request) bool {
			refuse(w, 400, "InvalidRequest", "bad pattern")
			return true
		}
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		err := live.Run(t.Context(), stream.Cursor{Value: 1}, newSink().emit)
		if err == nil || !strings.Contains(err.Error(), "bad pattern") {
			t.Errorf("%v", err)
		}
	})

	t.Run("ErrorFrameReconnects", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.info = map[int][]byte{0: []byte(`{"$type":"error","error":"ConsumerTooSlow","message":"too slow"}`)}
		f.append(noteFrame(1, ""))
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		out := newSink()
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, out)
		out.events(t, 1)
		if err := live.Status().LastError; err == nil || !strings.Contains(err.Error(), "ConsumerTooSlow") {
			t.Errorf("%v", err)
		}
	})

	t.Run("OtherCollectionsReconnect", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		live.SetCollections(collections(t))
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, newSink())
		if got := f.request(t, "subscribeEvents", 0).q["collections"]; !slices.Equal(got, []string{nothing}) {
			t.Errorf("%v", got)
		}
		live.SetCollections(collections(t, note))
		if got := f.request(t, "subscribeEvents", 1).q["collections"]; !slices.Equal(got, []string{note}) {
			t.Errorf("%v", got)
		}
	})

	t.Run("SilentConnectionIsLeft", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		live, _ := newSources(t, Config{URLs: []string{f.url()}, IdleTimeout: 20 * time.Millisecond})
		run(t, live, stream.Cursor{Value: 1, Host: f.host()}, newSink())
		f.request(t, "subscribeEvents", 2)
		if err := live.Status().LastError; !errors.Is(err, errIdle) {
			t.Errorf("%v", err)
		}
	})

	t.Run("EmitsErrorEndsIt", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.append(noteFrames(10)...)
		live, _ := newSources(t, Config{URLs: []string{f.url()}})
		out := newSink()
		out.fail, out.err = 5, errors.New("log is gone")
		if err := live.Run(t.Context(), stream.Cursor{Value: 1, Host: f.host()}, out.emit); !errors.Is(err, out.err) {
			t.Errorf("%v", err)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, bad := range []Config{
		{},
		{URLs: []string{"https://a.test" + xrpcPath + "subscribeEvents"}},
		{URLs: []string{"wss://a.test/subscribe"}},
		{URLs: []string{"wss://a.test" + xrpcPath + "subscribeEvents"}, ReplayWindow: -1},
		{URLs: []string{"wss://a.test" + xrpcPath + "subscribeEvents"}, MaxBlock: -1},
	} {
		if _, _, err := New(bad); err == nil {
			t.Errorf("%+v passes", bad)
		}
	}
	live, archive, err := New(Config{URLs: []string{"wss://a.test" + xrpcPath + "subscribeEvents"}, Name: "n"})
	if err != nil || live.Name() != "n" || archive.Name() != "n-archive" {
		t.Errorf("%v", err)
	}
}
