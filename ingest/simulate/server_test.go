package simulate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server, and what its model will have said.
type world struct {
	*simulate.Server
	host string
	// lines are all events that there will be; nil if the clock is real.
	lines []string
}

// serve starts a server of cfg.Events events that ends with the test.
func serve(t testing.TB, cat *schema.Catalog, cfg simulate.ServerConfig) world {
	t.Helper()
	model := simulate.Config{Seed: 9, Accounts: 30}
	w := serveModel(t, newModel(t, cat, model), cfg)
	twin := newModel(t, cat, model)
	for range cfg.Events {
		ev := twin.Next()
		w.lines = append(w.lines, string(ev.AppendJSON(nil)))
	}
	return w
}

func serveModel(t testing.TB, m *simulate.Model, cfg simulate.ServerConfig) world {
	t.Helper()
	return serveUntil(t.Context(), t, m, cfg)
}

func serveUntil(ctx context.Context, t testing.TB, m *simulate.Model, cfg simulate.ServerConfig) world {
	t.Helper()
	s, err := simulate.NewServer(m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return world{Server: s, host: listener.Addr().String()}
}

// subscribe connects with a query such as "cursor=0".
func (w world) subscribe(t testing.TB, query string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+w.host+"/subscribe?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(32 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func read(t testing.TB, conn *websocket.Conn, n int) []string {
	t.Helper()
	lines := make([]string, n)
	for i := range lines {
		kind, data, err := conn.Read(t.Context())
		if err != nil {
			t.Fatalf("event %d of %d: %v", i, n, err)
		}
		if kind != websocket.MessageText {
			t.Fatalf("event %d came as %v", i, kind)
		}
		lines[i] = string(data)
	}
	return lines
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("event %d\ngot  %s\nwant %s", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
}

func parse(t testing.TB, line string) stream.Event {
	t.Helper()
	ev, err := stream.Parse([]byte(line))
	if err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	return ev
}

func TestServer(t *testing.T) {
	t.Parallel()
	cat := examples(t)

	t.Run("SubscriberGetsAllFromTheStart", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 5000})
		conn := w.subscribe(t, "")
		equal(t, read(t, conn, 5000), w.lines)
		<-w.Done()
		if s := w.State(); s.Events != 5000 {
			t.Errorf("state after %d events", s.Events)
		}
	})

	t.Run("CursorIsInclusive", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 2000})
		read(t, w.subscribe(t, ""), 2000)
		for _, at := range []int{0, 1, 999, 1999} {
			us := parse(t, w.lines[at]).TimeUS
			first := at // several operations of one commit share a time
			for first > 0 && parse(t, w.lines[first-1]).TimeUS == us {
				first--
			}
			conn := w.subscribe(t, fmt.Sprintf("cursor=%d", us))
			equal(t, read(t, conn, 2000-first), w.lines[first:])
		}
		// One that is too old is the oldest event, without a word.
		equal(t, read(t, w.subscribe(t, "cursor=1"), 2000), w.lines)
	})

	t.Run("CutAnywhereAndResumed", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 3000})
		seen := map[string]bool{}
		var got []string
		query := ""
		for n := 1; len(got) < 3000; n = n*2 + 1 {
			conn := w.subscribe(t, query)
			for range n {
				_, data, err := conn.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if line := string(data); !seen[line] {
					seen[line] = true
					got = append(got, line)
				}
				if len(got) == 3000 {
					break
				}
			}
			query = fmt.Sprintf("cursor=%d", parse(t, got[len(got)-1]).TimeUS)
			_ = conn.CloseNow()
		}
		equal(t, got, w.lines)
	})

	t.Run("FutureCursorIsTheLiveTip", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 400, Rate: 1e6, Await: true})
		w.Pause()
		first := w.subscribe(t, "")
		w.Resume()
		read(t, first, 400)
		conn := w.subscribe(t, fmt.Sprintf("cursor=%d", time.Now().Add(time.Hour).UnixMicro()))
		other := w.subscribe(t, "cursor=1")
		equal(t, read(t, other, 400), w.lines)
		nothing(t, conn)
	})

	t.Run("Filters", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 3000})
		read(t, w.subscribe(t, ""), 3000)
		somebody := string(parse(t, w.lines[0]).DID)
		commit := func(want func(string) bool) func(stream.Event, string) bool {
			return func(ev stream.Event, _ string) bool {
				return ev.Kind != stream.KindCommit || want(ev.Commit.Collection.String())
			}
		}
		cases := []struct {
			query string
			want  func(ev stream.Event, line string) bool
		}{
			{"wantedCollections=com.myrecipes.recipe", commit(func(c string) bool { return c == "com.myrecipes.recipe" })},
			{"wantedCollections=app.bsky.*", commit(func(c string) bool { return strings.HasPrefix(c, "app.bsky.") })},
			{"wantedCollections=app.bsky.graph.*&wantedCollections=com.myrecipes.like", commit(func(c string) bool {
				return strings.HasPrefix(c, "app.bsky.graph.") || c == "com.myrecipes.like"
			})},
			{"wantedCollections=com.example.nothing", commit(func(string) bool { return false })},
			{"wantedDids=" + somebody, func(ev stream.Event, _ string) bool { return string(ev.DID) == somebody }},
			{"wantedCollections=com.myrecipes.like&wantedDids=" + somebody, func(ev stream.Event, _ string) bool {
				return string(ev.DID) == somebody && (ev.Commit == nil || ev.Commit.Collection == "com.myrecipes.like")
			}},
			{"maxMessageSizeBytes=600", func(_ stream.Event, line string) bool { return len(line) <= 600 }},
		}
		for _, c := range cases {
			var want []string
			for _, line := range w.lines {
				if c.want(parse(t, line), line) {
					want = append(want, line)
				}
			}
			if len(want) == 0 || len(want) == len(w.lines) {
				t.Fatalf("%s: %d events are no test", c.query, len(want))
			}
			conn := w.subscribe(t, "cursor=1&"+c.query)
			equal(t, read(t, conn, len(want)), want)
			nothing(t, conn)
		}
	})

	t.Run("Compressed", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 1000})
		decoder, err := zstd.NewReader(nil, zstd.WithDecoderDicts(jetstream.Dictionary()))
		if err != nil {
			t.Fatal(err)
		}
		defer decoder.Close()
		byQuery := w.subscribe(t, "compress=true")
		byHeader, _, err := websocket.Dial(t.Context(), "ws://"+w.host+"/subscribe?cursor=1", &websocket.DialOptions{
			HTTPHeader: http.Header{"Socket-Encoding": {"zstd"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = byHeader.CloseNow() }()
		for _, conn := range []*websocket.Conn{byQuery, byHeader} {
			var got []string
			size := 0
			for range 1000 {
				kind, data, err := conn.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if kind != websocket.MessageBinary {
					t.Fatalf("compressed event came as %v", kind)
				}
				line, err := decoder.DecodeAll(data, nil)
				if err != nil {
					t.Fatal(err)
				}
				size += len(data)
				got = append(got, string(line))
			}
			equal(t, got, w.lines)
			if all := len(strings.Join(got, "")); size*3 > all*2 {
				t.Errorf("%d bytes became %d: hardly compressed", all, size)
			}
		}
	})

	t.Run("HelloAndUpdate", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 1000})
		conn := w.subscribe(t, "requireHello=true&cursor=1")
		if st := w.Status(); st.Events != 0 {
			t.Errorf("%d events before the hello", st.Events)
		}
		update(t, conn, map[string]any{"wantedCollections": []string{"com.myrecipes.review"}})
		var want []string
		for _, line := range w.lines {
			if ev := parse(t, line); ev.Commit == nil || ev.Commit.Collection == "com.myrecipes.review" {
				want = append(want, line)
			}
		}
		equal(t, read(t, conn, len(want)), want)
	})

	t.Run("UpdateReplacesTheFilter", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 500})
		w.Pause()
		conn := w.subscribe(t, "wantedCollections=com.example.nothing")
		lines := make(chan string)
		go func() {
			defer close(lines)
			for {
				_, data, err := conn.Read(t.Context())
				if err != nil {
					return
				}
				lines <- string(data)
			}
		}()
		update(t, conn, map[string]any{})
		if err := conn.Ping(t.Context()); err != nil { // its pong comes after the update is read
			t.Fatal(err)
		}
		w.Resume()
		var got []string
		for range 500 {
			got = append(got, <-lines)
		}
		equal(t, got, w.lines)
		_ = conn.CloseNow()
		for range lines {
			t.Error("one more event")
		}
	})

	t.Run("BadRequests", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Rate: 1})
		many := url.Values{}
		for i := range 101 {
			many.Add("wantedCollections", fmt.Sprintf("com.example.c%d", i))
		}
		for query, want := range map[string]string{
			"wantedCollections=nonsense": "wantedCollections",
			"wantedDids=nobody":          "wantedDids",
			"cursor=yesterday":           "cursor",
			"maxMessageSizeBytes=much":   "maxMessageSizeBytes",
			many.Encode():                "101 are more than 100",
		} {
			_, response, err := websocket.Dial(t.Context(), "ws://"+w.host+"/subscribe?"+query, nil)
			if err == nil || response == nil || response.StatusCode != http.StatusBadRequest {
				t.Errorf("%.50s: %v, want status 400", query, err)
				continue
			}
			body, _ := io.ReadAll(response.Body)
			if !strings.Contains(string(body), want) {
				t.Errorf("%.50s: answer %q, want %q in it", query, body, want)
			}
		}
	})

	t.Run("BadUpdateCutsOff", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Rate: 0.001})
		conn := w.subscribe(t, "requireHello=true")
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"hello"}`)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("error %v, want a policy violation", err)
		}
	})

	t.Run("OvertakenSubscriberIsCutOff", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Rate: 1e6, Events: 30_000, Await: true, History: 1 << 20, WriteTimeout: time.Minute})
		conn := w.subscribe(t, "")
		<-w.Done() // many times what is kept, and what sockets hold
		n := 0
		for ; ; n++ {
			if _, _, err := conn.Read(t.Context()); err != nil {
				if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
					t.Errorf("error %v, want a policy violation", err)
				}
				break
			}
		}
		if n == 30_000 {
			t.Error("the subscriber kept up; no test")
		}
		if st := w.Status(); st.HistoryBytes > 1<<20 || st.Kept == 0 {
			t.Errorf("history of %d bytes, %d events", st.HistoryBytes, st.Kept)
		}
	})

	t.Run("StalledSubscriberIsCutOff", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 30_000, WriteTimeout: 3 * time.Second})
		w.subscribe(t, "") // and never read
		equal(t, read(t, w.subscribe(t, "cursor=1"), 30_000), w.lines)
	})

	t.Run("SubscribersDoNotDisturbOneAnother", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 4000})
		w.Pause()
		done := make(chan []string, 4)
		for i := range 4 {
			conn := w.subscribe(t, "cursor=1")
			go func() {
				var got []string
				for range 4000 {
					_, data, err := conn.Read(t.Context())
					if err != nil {
						break
					}
					got = append(got, string(data))
					if i == 0 && len(got) == 100 {
						_ = conn.CloseNow() // one leaves in the middle
					}
				}
				done <- got
			}()
		}
		w.Resume()
		complete := 0
		for range 4 {
			if got := <-done; len(got) > 1000 {
				equal(t, got, w.lines)
				complete++
			}
		}
		if complete != 3 {
			t.Errorf("%d subscribers got all, want 3", complete)
		}
	})

	t.Run("IdleSubscriberIsPinged", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Ping: time.Millisecond})
		w.Pause()
		pinged := make(chan struct{}, 1)
		conn, _, err := websocket.Dial(t.Context(), "ws://"+w.host+"/subscribe", &websocket.DialOptions{
			OnPingReceived: func(context.Context, []byte) bool {
				select {
				case pinged <- struct{}{}:
				default:
				}
				return true
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { // coder/websocket takes pings while it reads
			for {
				if _, _, err := conn.Read(t.Context()); err != nil {
					return
				}
			}
		}()
		<-pinged
		_ = conn.CloseNow()
	})

	t.Run("RateIsKept", func(t *testing.T) {
		t.Parallel()
		start := time.Now()
		w := serve(t, cat, simulate.ServerConfig{Events: 500, Rate: 2000})
		<-w.Done()
		if took := time.Since(start); took < 240*time.Millisecond {
			t.Errorf("500 events took %s at 2000 a second", took)
		}
	})

	t.Run("ShutdownSaysGoodbye", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		w := serveUntil(ctx, t, newModel(t, cat, simulate.Config{}), simulate.ServerConfig{Rate: 100})
		conn := w.subscribe(t, "")
		read(t, conn, 3)
		cancel()
		var err error
		for {
			if _, _, err = conn.Read(t.Context()); err != nil {
				break
			}
		}
		if websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("error %v, want going away", err)
		}
	})

	t.Run("StatusStatePauseResume", func(t *testing.T) {
		t.Parallel()
		w := serve(t, cat, simulate.ServerConfig{Events: 2000})
		call(t, http.MethodPost, w.host, "/pause")
		if st := w.Status(); !st.Paused {
			t.Error("not paused")
		}
		call(t, http.MethodPost, w.host, "/resume")
		read(t, w.subscribe(t, ""), 2000)
		<-w.Done()
		var st simulate.Status
		if err := json.Unmarshal(call(t, http.MethodGet, w.host, "/"), &st); err != nil {
			t.Fatal(err)
		}
		if st.Events != 2000 || !st.Done || st.Seed != 9 || st.Kept != 2000 || st.Paused {
			t.Errorf("status %+v", st)
		}
		lines := slices.Collect(strings.Lines(string(call(t, http.MethodGet, w.host, "/state"))))
		if len(lines) < st.Records+st.Accounts || !strings.HasPrefix(lines[0], `{"type":"state","events":2000,`) {
			t.Errorf("state of %d lines that begins with %s", len(lines), lines[0])
		}
	})
}

// nothing holds that there is nothing more to read: a pong comes before any
// event.
func nothing(t testing.TB, conn *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	more := make(chan string, 1)
	go func() {
		defer close(more)
		if _, data, err := conn.Read(ctx); err == nil {
			more <- string(data)
		}
	}()
	if err := conn.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if line, ok := <-more; ok {
		t.Errorf("one more event: %s", line)
	}
}

func update(t testing.TB, conn *websocket.Conn, payload map[string]any) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"type": "options_update", "payload": payload})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, data); err != nil {
		t.Fatal(err)
	}
}

func call(t testing.TB, method, host, path string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: status %d, %v", method, path, response.StatusCode, err)
	}
	return body
}

// BenchmarkServe is one local client that reads what is there already, as a
// source that was away does.
func BenchmarkServe(b *testing.B) {
	cat := examples(b)
	for _, bench := range []struct{ name, query string }{
		{"plain", "cursor=1"},
		{"compressed", "cursor=1&compress=true"},
		{"filtered", "cursor=1&wantedCollections=com.myrecipes.*"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			const events = 100_000
			w := serve(b, cat, simulate.ServerConfig{Events: events})
			matching := len(w.lines)
			if bench.name == "filtered" {
				matching = 0
				for _, line := range w.lines {
					if ev := parse(b, line); ev.Commit == nil || strings.HasPrefix(ev.Commit.Collection.String(), "com.myrecipes.") {
						matching++
					}
				}
			}
			drain(b, w, bench.query, matching) // to make the events, and compress them
			for b.Loop() {
				drain(b, w, bench.query, matching)
			}
			b.ReportMetric(float64(b.N)*float64(matching)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkServeLive makes the events while the client reads.
func BenchmarkServeLive(b *testing.B) {
	cat := examples(b)
	for range b.N {
		b.StopTimer()
		w := serve(b, cat, simulate.ServerConfig{Events: 100_000})
		b.StartTimer()
		drain(b, w, "cursor=1", 100_000)
	}
	b.ReportMetric(float64(b.N)*100_000/b.Elapsed().Seconds(), "events/s")
}

// drain reads n events, with as little work as a client can have.
func drain(b *testing.B, w world, query string, n int) {
	b.Helper()
	conn := w.subscribe(b, query)
	defer func() { _ = conn.CloseNow() }()
	for range n {
		_, r, err := conn.Reader(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}
