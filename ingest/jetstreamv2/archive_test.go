package jetstreamv2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// threeSegments has 1 to 60 in blocks of 5: two segments of blocks, one to be
// fetched whole in between. Each block has a row of another collection and one of
// an account, which the numbers of the notes leave out.
func threeSegments(f *fake) {
	seq := 1
	for i := range 3 {
		s := &segment{name: fmt.Sprintf("seg_%d.jss", i), generation: uint64(i + 1), whole: i == 1}
		for range 4 {
			var b []row
			for range 5 {
				r := noteRow(seq)
				switch seq % 5 {
				case 2:
					r.collection = []byte("com.example.other")
				case 3:
					r = row{seq: r.seq, witnessed: r.witnessed, kind: rowAccount, did: r.did, payload: []byte("\xa1\x66active\xf5")}
				}
				b = append(b, r)
				seq++
			}
			s.blocks = append(s.blocks, b)
		}
		f.segments = append(f.segments, s)
	}
}

// notes are the keys of threeSegments' notes.
func notes(first, last int) []string {
	var out []string
	for i := first; i <= last; i++ {
		if i%5 != 2 && i%5 != 3 {
			out = append(out, fmt.Sprintf("r%d", i))
		}
	}
	return out
}

func once(f *fake) Config { return Config{URLs: []string{f.url()}, Once: true, PartSize: 500} }

// readArchive reads to the end.
func readArchive(t *testing.T, cfg Config, from stream.Cursor) ([]source.Line, *Archive) {
	t.Helper()
	_, archive := newSources(t, cfg)
	archive.SetCollections(collections(t, note))
	out := newSink()
	if err := archive.Run(t.Context(), from, out.emit); err != nil {
		t.Fatal(err)
	}
	return out.all, archive
}

func TestArchive(t *testing.T) {
	t.Parallel()

	t.Run("ReadsEachPageInOrder", func(t *testing.T) {
		t.Parallel()
		for _, pageCap := range []int{1, 2, 3, 1000} {
			f := startFake(t)
			threeSegments(f)
			f.pageCap = pageCap
			cfg := once(f)
			cfg.APIKey = "secret"
			lines, archive := readArchive(t, cfg, stream.Cursor{})
			if got := keys(events(lines)); !slices.Equal(got, notes(1, 60)) {
				t.Errorf("pages of %d: %v", pageCap, got)
			}
			if c := lastCursor(lines); c.Value != 61 || restore(c) != (span{host: f.host(), next: 61, until: 60, of: digest(collections(t, note))}) {
				t.Errorf("%+v", c)
			}
			if p := archive.Progress(); p != (Progress{Next: 61, Until: 60, Rows: 36}) {
				t.Errorf("%+v", p)
			}
			if st := archive.Status(); st.Bytes == 0 || st.Host != f.host() {
				t.Errorf("%+v", st)
			}
			for _, method := range []string{"planSnapshot", "getBlock", "getSegment"} {
				if h := f.request(t, method, 0).header.Get("Authorization"); h != "Bearer secret" {
					t.Errorf("%s: authorization %q", method, h)
				}
			}
			first := f.request(t, "planSnapshot", 1).plan
			if first.AfterSeq != 0 || first.BeforeSeq != 60 || !slices.Equal(first.Kinds, []string{"commit"}) || !slices.Equal(first.Collections, []string{note}) {
				t.Errorf("%+v", first)
			}
		}
	})

	t.Run("CursorIsNeverAhead", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.segments[2].blocks[1][0], f.segments[2].blocks[1][4] = f.segments[2].blocks[1][4], f.segments[2].blocks[1][0] // out of order
		lines, _ := readArchive(t, once(f), stream.Cursor{})
		seen := 0
		for _, l := range lines {
			if l.Event.Commit != nil {
				seen++
			}
			if l.Cursor.Value == 0 {
				continue
			}
			if want := len(notes(1, int(l.Cursor.Value)-1)); seen < want {
				t.Errorf("cursor %d after %d of %d", l.Cursor.Value, seen, want)
			}
		}
	})

	t.Run("ResumesAnywhere", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.pageCap = 2
		all, _ := readArchive(t, once(f), stream.Cursor{})
		for n := 1; n <= len(all); n++ {
			_, archive := newSources(t, once(f))
			archive.SetCollections(collections(t, note))
			ctx, cancel := context.WithCancel(t.Context())
			var got []source.Line
			err := archive.Run(ctx, stream.Cursor{}, func(l source.Line) error {
				got = append(got, l)
				if len(got) == n {
					cancel()
				}
				return ctx.Err()
			})
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("after %d lines: %v", n, err)
			}
			rest, _ := readArchive(t, once(f), lastCursor(got))
			both := keys(events(append(got, rest...)))
			slices.SortFunc(both, func(a, b string) int { return len(a)*1000 - len(b)*1000 + strings.Compare(a, b) })
			if both = slices.Compact(both); !slices.Equal(both, notes(1, 60)) {
				t.Errorf("stopped after %d lines: %v", n, both)
			}
		}
	})

	t.Run("AnotherVersionOfASegmentIsReadAnew", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.hook = func(method string, n int, _ http.ResponseWriter, _ *http.Request) bool {
			if method == "getSegment" && n == 3 { // header, index, a part
				f.update(func() { // compacted: what was superseded is gone, the numbers stay
					s := f.segments[1]
					s.generation = 99
					s.blocks = slices.Clone(s.blocks)
					s.blocks[2] = nil
					s.blocks[3] = slices.Clone(s.blocks[3][3:])
				})
			}
			return false
		}
		lines, _ := readArchive(t, once(f), stream.Cursor{})
		got := keys(events(lines))
		want := slices.Concat(notes(1, 30), notes(39, 60))
		for _, k := range want {
			if !slices.Contains(got, k) {
				t.Errorf("%s is missing of %v", k, got)
			}
		}
		for _, k := range got {
			if strings.Contains(k, " ") {
				t.Errorf("reject: %s", k)
			}
		}
		rewritten := false
		for i := range f.count("getSegment") {
			rewritten = rewritten || i > 3 && f.request(t, "getSegment", i).header.Get("If-Range") == fmt.Sprintf(`"%016x"`, 99)
		}
		if !rewritten {
			t.Error("nothing was asked of the new version")
		}
	})

	t.Run("RangesThatAreNotKnown", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.hook = func(_ string, _ int, _ http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Range") // a proxy's work
			return false
		}
		lines, _ := readArchive(t, once(f), stream.Cursor{})
		if got := keys(events(lines)); !slices.Equal(got, notes(1, 60)) {
			t.Errorf("%v", got)
		}
	})

	for name, trouble := range map[string]func(w http.ResponseWriter, answer []byte){
		"Truncated": func(w http.ResponseWriter, answer []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
			_, _ = w.Write(answer[:len(answer)/2])
		},
		"TruncatedUnseen": func(w http.ResponseWriter, answer []byte) { _, _ = w.Write(answer[:len(answer)/2]) },
		"Garbled": func(w http.ResponseWriter, answer []byte) {
			_, _ = w.Write(bytes.Repeat([]byte{7}, len(answer)))
		},
		"Unavailable": func(w http.ResponseWriter, _ []byte) { refuse(w, 503, "ServiceUnavailable", "") },
		"TooMany": func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Retry-After", "0")
			refuse(w, 429, "RateLimitExceeded", "")
		},
		"HungUp": func(http.ResponseWriter, []byte) { panic(http.ErrAbortHandler) },
		"NoJSON": func(w http.ResponseWriter, _ []byte) { _, _ = io.WriteString(w, "<html>") },
	} {
		t.Run("Trouble/"+name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			threeSegments(f)
			var mu sync.Mutex
			met := make(map[string]int)
			f.hook = func(method string, n int, w http.ResponseWriter, r *http.Request) bool {
				if n%2 == 1 {
					return false
				}
				mu.Lock()
				met[method]++
				first := met[method] <= 6
				mu.Unlock()
				if !first {
					return false
				}
				rec := httptest.NewRecorder()
				w.Header().Set("Etag", `"0000000000000002"`)
				switch method {
				case "getBlock":
					_, _ = rec.Write(f.segment(r.URL.Query().Get("segment")).frame(0))
				default:
					_, _ = rec.Write(bytes.Repeat([]byte("x"), 500))
				}
				trouble(w, rec.Body.Bytes())
				return true
			}
			cfg := once(f)
			lines, archive := readArchive(t, cfg, stream.Cursor{})
			if got := keys(events(lines)); !slices.Equal(got, notes(1, 60)) {
				t.Errorf("%v", got)
			}
			if archive.Progress().Lost != 0 {
				t.Errorf("%+v", archive.Progress())
			}
			for _, method := range []string{"planSnapshot", "getBlock", "getSegment"} {
				if met[method] == 0 {
					t.Errorf("no trouble for %s", method)
				}
			}
		})
	}

	t.Run("BlocksThatCannotBeReadAreRejects", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		for i, s := range f.segments {
			s.frames = make([][]byte, 4)
			s.frames[1] = [][]byte{[]byte("garbage"), compress(encodeColumns(noteRows(26, 30)...)[:100]), compress(make([]byte, 1<<20))}[i]
		}
		f.segments[2].frames[2] = bytes.Repeat([]byte{1}, 3000)
		cfg := once(f)
		cfg.MaxDecoded, cfg.MaxBlock = 1<<18, 2000
		lines, archive := readArchive(t, cfg, stream.Cursor{})
		got := events(lines)
		var reasons []stream.Reason
		got = slices.DeleteFunc(got, func(l source.Line) bool {
			if l.Err != nil {
				reasons = append(reasons, reason(l.Err))
				if !bytes.Contains(l.Data, []byte(`"segment":"seg_`)) {
					t.Errorf("%s", l.Data)
				}
			}
			return l.Err != nil
		})
		if want := slices.Concat(notes(1, 5), notes(11, 25), notes(31, 45), notes(56, 60)); !slices.Equal(keys(got), want) {
			t.Errorf("%v", keys(got))
		}
		if want := []stream.Reason{stream.ReasonFrame, stream.ReasonFrame, stream.ReasonTooLarge, stream.ReasonTooLarge}; !slices.Equal(reasons, want) {
			t.Errorf("%v", reasons)
		}
		if archive.Progress().Lost != 4 {
			t.Errorf("%+v", archive.Progress())
		}
	})

	t.Run("SegmentThatIsNoneIsAReject", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.hook = func(method string, _ int, w http.ResponseWriter, _ *http.Request) bool {
			if method == "getSegment" {
				w.Header().Set("Etag", `"1"`)
				_, _ = w.Write(make([]byte, 4096))
				return true
			}
			return false
		}
		lines, _ := readArchive(t, once(f), stream.Cursor{})
		got := events(lines)
		if want := len(notes(1, 20)); len(got) != 2*want+1 || reason(got[want].Err) != stream.ReasonFrame {
			t.Errorf("%v", keys(got))
		}
	})

	t.Run("WhatIsNotThereIsPlannedAnewAndThenAReject", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.hook = func(method string, _ int, w http.ResponseWriter, r *http.Request) bool {
			if method == "getBlock" && r.URL.Query().Get("segment") == "seg_0.jss" && r.URL.Query().Get("blockIndex") == "2" {
				refuse(w, 404, "BlockNotFound", "gone")
				return true
			}
			return false
		}
		lines, archive := readArchive(t, once(f), stream.Cursor{})
		got := events(lines)
		if want := slices.Concat(notes(1, 10), []string{got[6].Err.Error()}, notes(16, 60)); !slices.Equal(keys(got), want) {
			t.Errorf("%v", keys(got))
		}
		if p := archive.Progress(); p.Lost != 1 {
			t.Errorf("%+v", p)
		}
		if n := f.count("planSnapshot"); n < 4 {
			t.Errorf("%d plans", n)
		}
	})

	t.Run("OddRows", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		odd, far, resync, future := noteRow(2), noteRow(3), noteRow(4), noteRow(5)
		odd.payload = []byte{0x61, 'x'}
		far.seq = 1 << 63
		resync.kind = rowResync
		future.kind = 200
		f.segments = []*segment{{name: "a", generation: 1, blocks: [][]row{{noteRow(1), odd, far, resync, future, noteRow(6)}, nil, {noteRow(7)}}}}
		cfg := once(f)
		cfg.Downloads = 1
		lines, _ := readArchive(t, cfg, stream.Cursor{})
		got := events(lines)
		if len(got) != 6 || reason(got[1].Err) != stream.ReasonRecord || got[2].Event.Commit.RKey != "r3" || got[3].Event.Commit.Operation != stream.Create || got[5].Event.Commit.RKey != "r7" {
			t.Errorf("%v", keys(got))
		}
	})

	t.Run("PlansThatWouldNeverEnd", func(t *testing.T) {
		t.Parallel()
		cfg := Config{URLs: []string{"ws://a.test" + xrpcPath + "subscribeEvents"}}
		if err := cfg.validate(); err != nil {
			t.Fatal(err)
		}
		req := planRequest{AfterSeq: 10, BeforeSeq: 100}
		for name, p := range map[string]plan{
			"NoProgress":    {PlannedThrough: 10, SealedTip: 100},
			"Backwards":     {PlannedThrough: 3, SealedTip: 100},
			"NegativeTip":   {PlannedThrough: 20, SealedTip: -1},
			"EndlessTip":    {PlannedThrough: 20, SealedTip: timeCursors},
			"EndlessPage":   {PlannedThrough: timeCursors, SealedTip: 100},
			"NoName":        {PlannedThrough: 20, SealedTip: 100, Segments: []planSegment{{}}},
			"Reversed":      {PlannedThrough: 20, SealedTip: 100, Segments: []planSegment{{Name: "a", Blocks: []planRange{{2, 1}}}}},
			"Negative":      {PlannedThrough: 20, SealedTip: 100, Segments: []planSegment{{Name: "a", Blocks: []planRange{{-1, 1}}}}},
			"EndlessBlocks": {PlannedThrough: 20, SealedTip: 100, Segments: []planSegment{{Name: "a", Blocks: []planRange{{0, 1 << 40}}}}},
			"ManyUnits":     {PlannedThrough: 20, SealedTip: 100, Segments: []planSegment{{Name: "a", Blocks: slices.Repeat([]planRange{{0, 65_000}}, 16)}}},
		} {
			if err := p.check(req, &cfg); err == nil {
				t.Errorf("%s passes", name)
			}
		}
		good := plan{PlannedThrough: 100, SealedTip: 100}
		if err := good.check(req, &cfg); err != nil {
			t.Error(err)
		}
	})

	t.Run("MissingKeyIsForGood", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.hook = func(_ string, _ int, w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, 401, "AuthMissing", "no key")
			return true
		}
		_, archive := newSources(t, once(f))
		err := archive.Run(t.Context(), stream.Cursor{}, newSink().emit)
		if err == nil || !strings.Contains(err.Error(), "API key") {
			t.Errorf("%v", err)
		}
	})

	t.Run("AnotherHostBeginsAnew", func(t *testing.T) {
		t.Parallel()
		bad, f := startFake(t), startFake(t)
		bad.hook = func(_ string, _ int, w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, 502, "", "")
			return true
		}
		threeSegments(f)
		cfg := once(f)
		cfg.URLs = []string{bad.url(), f.url()}
		gone := span{host: "gone.test", next: 40, until: 1000, of: digest(collections(t, note))}
		lines, _ := readArchive(t, cfg, gone.cursor())
		if got := keys(events(lines)); !slices.Equal(got, notes(1, 60)) {
			t.Errorf("%v", got)
		}
	})

	t.Run("OtherCollectionsAreReadFromTheBeginning", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		lines, _ := readArchive(t, once(f), stream.Cursor{})
		_, archive := newSources(t, once(f))
		archive.SetCollections(collections(t, "com.example.*"))
		out := newSink()
		if err := archive.Run(t.Context(), lastCursor(lines), out.emit); err != nil {
			t.Fatal(err)
		}
		if got := events(out.all); len(got) != 48 {
			t.Errorf("%v", keys(got))
		}
	})

	t.Run("EmitsErrorEndsIt", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		for fail := 1; fail < 30; fail += 3 {
			_, archive := newSources(t, once(f))
			out := newSink()
			out.fail, out.err = fail, errors.New("log is gone")
			if err := archive.Run(t.Context(), stream.Cursor{}, out.emit); !errors.Is(err, out.err) {
				t.Errorf("%v", err)
			}
		}
	})

	t.Run("WaitsAsLongAsTheServerSays", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			refused := true
			s := &archiveRun{Archive: &Archive{cfg: &Config{MinBackoff: time.Second, MaxBackoff: time.Second, Attempts: 3}}}
			start := time.Now()
			err := s.attempts(t.Context(), func() error {
				if refused {
					refused = false
					return &statusError{code: 429, retryAfter: 90 * time.Second}
				}
				return nil
			})
			if err != nil || time.Since(start) != 90*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})

	t.Run("RetryAfter", func(t *testing.T) {
		t.Parallel()
		s := &server{cfg: &Config{MaxRetryAfter: time.Minute}, url: must(t, "ws://a.test/x")}
		for header, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "99999999999": time.Minute, "3600": time.Minute, "-1": 0, "soon": 0, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Minute} {
			resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {header}}, Body: io.NopCloser(strings.NewReader("slow down"))}
			if e := s.refusal("m", resp); e.retryAfter != want || e.message != "slow down" {
				t.Errorf("%q: %v", header, e.retryAfter)
			}
		}
	})
}

func TestLiveAndArchive(t *testing.T) {
	t.Parallel()

	start := func(t *testing.T, f *fake, liveFrom, archiveFrom stream.Cursor) (*Live, *Archive, *sink, *sink, func()) {
		t.Helper()
		live, archive := newSources(t, Config{URLs: []string{f.url()}, Archive: true, PartSize: 500, RewindSeqs: 10})
		live.SetCollections(collections(t, note))
		archive.SetCollections(collections(t, note))
		lo, ao := newSink(), newSink()
		stopLive, stopArchive := run(t, live, liveFrom, lo), run(t, archive, archiveFrom, ao)
		return live, archive, lo, ao, func() { stopLive(); stopArchive() } //nolint:errcheck // cancelled
	}

	t.Run("TheRangesTouch", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		for i := 50; i <= 70; i++ {
			f.append(noteFrame(i, ""))
		}
		_, _, lo, ao, stop := start(t, f, stream.Cursor{}, stream.Cursor{})
		live := lo.events(t, 11)
		if got := keys(live); !slices.Equal(got, rkeys(60, 70)) {
			t.Errorf("live: %v", got)
		}
		archive := ao.until(t, func(lines []source.Line) bool { return lastCursor(lines).Value == 61 })
		if got := keys(events(archive)); !slices.Equal(got, notes(1, 60)) {
			t.Errorf("archive: %v", got)
		}
		if first := lo.all[0]; first.Data != nil || first.Cursor.Value != 60 {
			t.Errorf("%+v", first)
		}
		stop()

		// And again: nothing is downloaded twice.
		plans := f.count("planSnapshot")
		_, _, lo, ao, stop = start(t, f, lastCursor(lo.all), lastCursor(ao.all))
		lo.events(t, 11)
		stop()
		if n := f.count("planSnapshot"); n != plans || len(ao.all) != 0 {
			t.Errorf("%d plans more, %d lines", n-plans, len(ao.all))
		}
	})

	t.Run("KilledBetweenTheTwo", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		for i := 61; i <= 70; i++ {
			f.append(noteFrame(i, ""))
		}
		// The archive has its range stored, Live nothing; meanwhile more was sealed.
		begun := span{host: f.host(), next: 1, until: 40, of: digest(collections(t, note))}
		_, _, lo, ao, stop := start(t, f, stream.Cursor{}, begun.cursor())
		lo.events(t, 10)
		ao.until(t, func(lines []source.Line) bool { return lastCursor(lines).Value == 61 })
		stop()
		if got := keys(events(ao.all)); !slices.Equal(got, notes(1, 60)) {
			t.Errorf("archive: %v", got)
		}
	})

	t.Run("LiveThatBeganEarlierGoesBackToTheTip", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		for i := 61; i <= 90; i++ {
			f.append(noteFrame(i, ""))
		}
		_, _, lo, _, stop := start(t, f, stream.Cursor{Value: 80, Host: f.host()}, stream.Cursor{})
		got := keys(lo.events(t, 30))
		stop()
		if !slices.Equal(got, rkeys(61, 90)) {
			t.Errorf("%v", got)
		}
	})

	t.Run("TooOldIsReadFromTheArchive", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.floor = 55
		for i := 55; i <= 70; i++ {
			f.append(noteFrame(i, ""))
		}
		done := span{host: f.host(), next: 21, until: 20, of: digest(collections(t, note))}
		live, archive, lo, ao, stop := start(t, f, stream.Cursor{Value: 30, Host: f.host(), Time: asTime(someTime)}, done.cursor())
		if got := keys(lo.events(t, 11)); !slices.Equal(got, rkeys(60, 70)) {
			t.Errorf("live: %v", got)
		}
		lines := ao.until(t, func(lines []source.Line) bool { return lastCursor(lines).Value == 61 })
		stop()
		got := keys(events(lines))
		accounts := slices.DeleteFunc(slices.Clone(got), func(k string) bool { return k != "account" })
		got = slices.DeleteFunc(got, func(k string) bool { return k == "account" })
		if !slices.Equal(got, notes(20, 60)) || len(accounts) != 8 {
			t.Errorf("archive: %v and %d accounts", got, len(accounts))
		}
		if live.Gaps() != 0 || archive.Progress().Until != 60 {
			t.Errorf("%d gaps, %+v", live.Gaps(), archive.Progress())
		}
		if c := restore(lastCursor(lines)); !c.all || c.until != 60 {
			t.Errorf("%+v", c)
		}
	})

	t.Run("TooOldWhileTheArchiveIsRead", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.floor = 55
		for i := 55; i <= 62; i++ {
			f.append(noteFrame(i, ""))
		}
		hold := make(chan struct{})
		release := sync.OnceFunc(func() { close(hold) })
		t.Cleanup(release)
		f.hook = func(method string, _ int, _ http.ResponseWriter, r *http.Request) bool {
			if method == "getBlock" {
				select {
				case <-hold:
				case <-r.Context().Done():
				}
			}
			return false
		}
		reading := span{host: f.host(), next: 6, until: 40, of: digest(collections(t, note))}
		_, _, lo, ao, stop := start(t, f, stream.Cursor{Value: 45, Host: f.host()}, reading.cursor())
		lo.events(t, 3) // Live does not wait until it has been read
		release()
		lines := ao.until(t, func(lines []source.Line) bool { return lastCursor(lines).Value == 61 })
		stop()
		got := slices.DeleteFunc(keys(events(lines)), func(k string) bool { return k == "account" })
		if !slices.Equal(got, notes(6, 60)) {
			t.Errorf("archive: %v", got)
		}
	})

	t.Run("AServerThatSealsTooSlowlyIsNotAskedForEver", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		f.floor = 1000 // above its own tip
		late := noteFrame(1000, "")
		late.timeUS = time.Now().UnixMicro()
		f.append(late)
		f.info = map[int][]byte{6: message("info", `"name":"OutdatedCursor"`)}
		live, _, lo, _, stop := start(t, f, stream.Cursor{}, stream.Cursor{})
		lo.events(t, 1)
		stop()
		if live.Gaps() != 1 {
			t.Errorf("%d gaps", live.Gaps())
		}
	})

	t.Run("NewCollectionWhileBothRun", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		live, archive, lo, ao, stop := start(t, f, stream.Cursor{}, stream.Cursor{})
		ao.until(t, func(lines []source.Line) bool { return lastCursor(lines).Value == 61 })
		live.SetCollections(collections(t, "com.example.*"))
		archive.SetCollections(collections(t, "com.example.*"))
		ao.events(t, 36+48)
		ao.until(t, func(lines []source.Line) bool { return lastCursor(lines).Value == 61 })
		// Less than before is nothing to read.
		plans := f.count("planSnapshot")
		archive.SetCollections(collections(t, note))
		archive.SetCollections(collections(t, "com.example.*"))
		f.append(noteFrame(61, ""))
		lo.events(t, 1)
		stop()
		if n := f.count("planSnapshot") - plans; n > 2 {
			t.Errorf("%d plans more", n)
		}
	})

	t.Run("ALogThatLostTheArchivesCursor", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		threeSegments(f)
		live, archive := newSources(t, Config{URLs: []string{f.url()}, Archive: true})
		run(t, live, stream.Cursor{}, newSink())
		read := func(lines []source.Line) bool { return lastCursor(lines).Value == 61 }
		for range 2 {
			out := newSink()
			stop := run(t, archive, stream.Cursor{}, out)
			if got := keys(events(out.until(t, read))); len(got) != 48 {
				t.Errorf("%v", got)
			}
			stop() //nolint:errcheck // cancelled
		}
	})

	t.Run("LiveWithoutTheArchiveThatEnded", func(t *testing.T) {
		t.Parallel()
		f := startFake(t)
		f.hook = func(method string, _ int, w http.ResponseWriter, _ *http.Request) bool {
			if method == "planSnapshot" {
				refuse(w, 401, "AuthMissing", "")
				return true
			}
			return false
		}
		_, _, _, _, stop := start(t, f, stream.Cursor{}, stream.Cursor{})
		f.request(t, "subscribeEvents", 0)
		stop()
	})
}

func BenchmarkDecode(b *testing.B) {
	rows := make([]row, 4096)
	text := bytes.Repeat([]byte("a"), 150)
	payload := append([]byte("\xa3\x64text\x78\x96"), text...)
	payload = append(payload, "\x65$type\x72app.bsky.feed.post\x69createdAt\x78\x182026-01-01T00:00:00.000Z"...)
	for i := range rows {
		rows[i] = noteRow(i + 1)
		rows[i].payload = payload
	}
	frame := encodeBlock(rows...)
	_, archive := newSources(b, Config{URLs: []string{"ws://a.test" + xrpcPath + "subscribeEvents"}})
	dec := newDecoder(b)
	r := &archiveRun{Archive: archive, zstd: dec}
	for _, bench := range []struct {
		name string
		keep filter
	}{
		{"Wanted", filter{until: 1 << 40}},
		{"Filtered", filter{until: 1 << 40, wants: collections(b, "x.y.z")}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out, err := r.decode(unit{}, frame, &bench.keep)
				if err != nil || len(out.lines) > 0 && out.lines[0].Err != nil {
					b.Fatal(err, out.lines[0].Err)
				}
			}
			b.ReportMetric(float64(len(rows))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkFrame(b *testing.B) {
	data := noteFrame(1, "").data
	b.ReportAllocs()
	for b.Loop() {
		if f := parseFrame(data, time.Time{}); f.line.Err != nil {
			b.Fatal(f.line.Err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
