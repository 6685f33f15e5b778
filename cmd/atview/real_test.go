package main

import (
	"context"
	endian "encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/index/dbtest"
)

// TestRealFirehoseEqualsRealJetstream reads one window of the real network twice:
// as the frames of a relay, and as the lines that a Jetstream made of them. The
// tables are the same in both databases, but for these columns:
//
//   - indexed_at of records is the source's time of the event: a relay's is that of
//     its frame, a Jetstream's its own, somewhat later. Here it may not be earlier.
//   - sort_at is the earlier of that and the date in the record. Where the record's
//     date is earlier, it is the same; else it lies between the two indexed_at. The
//     sort_at of atview.link is its record's, which `atview verify` looks at.
//   - of atview.actor what a DID document says (handle, pds, signing_key, and the
//     resolve columns): who checks signatures has read it, who reads a file has not.
//     For the same reason accounts that have only deleted something are left out.
//     Status, and the stamps of account and identity events, are the same.
func TestRealFirehoseEqualsRealJetstream(t *testing.T) {
	t.Parallel()
	file := shared(t, "records", "jetstream-v1", "bluesky-2026-07-04.jsonl")
	relay := serveFrames(t)
	// Bluesky's lexicons, and those that come with atview: with them, most of what is
	// in the window is of no interest.
	for _, test := range []struct {
		name, lexicons string
		records        int
	}{
		{"every collection", shared(t, "lexicons", "bluesky"), 145},
		{"some collections", exampleLexiconDir(t), 128},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			postgres := dbtest.Private(t).URL()
			lines, frames := createDatabase(t, postgres, "of_lines"), createDatabase(t, postgres, "of_frames")
			args := func(database, source string) []string {
				return []string{"dev", "--lexicons", test.lexicons, "--database-url", database, "--data", t.TempDir(), "--listen", "127.0.0.1:0",
					"--backfill", "off", "--identities", "off", "--partitions", "2", "--source", source}
			}
			if _, stderr, code := atview(t, append(args(lines, "file:"+file), "--once")...); code != 0 {
				t.Fatalf("the file: exit %d:\n%s", code, stderr)
			}
			want := stateOf(t, lines)
			if n := len(want.records); n != test.records {
				t.Errorf("%d records of the file, want %d", n, test.records)
			}

			p := launch(t, append(args(frames, "ws"+strings.TrimPrefix(relay, "http")+"/xrpc/com.atproto.sync.subscribeRepos"),
				"--plc-url", relay, "--allow-private-hosts")...)
			eventually(t, time.Minute, "the tables of both are the same", func() (bool, string) {
				differ := want.differ(stateOf(t, frames))
				return len(differ) == 0, strings.Join(differ, "\n") + "\n" + lastLines(p.log(), 20)
			})
			if _, body := get(t, p.Console+"metrics"); strings.Contains(body, "atview_source_rejects_total{") || !strings.Contains(body, "atview_index_dead_letters_total 0\n") {
				t.Errorf("something of the firehose was refused:\n%s", grep(body, "reject", "dead"))
			}
			for name, database := range map[string]string{"lines": lines, "frames": frames} {
				if stdout, stderr, code := atview(t, "verify", "--lexicons", test.lexicons, "--database-url", database); code != 0 {
					t.Errorf("verify what came of the %s: exit %d:\n%s%s", name, code, stdout, stderr)
				}
			}
		})
	}
}

// serveFrames is a relay that sends the real frames to whoever connects, and a PLC
// directory that knows the accounts.
func serveFrames(t *testing.T) (url string) {
	t.Helper()
	var manifest struct {
		First  int64 `json:"seq_first"`
		Frames int   `json:"frames"`
	}
	if err := json.Unmarshal(corpus(t, "manifest.json"), &manifest); err != nil {
		t.Fatal(err)
	}
	var docs map[string]json.RawMessage
	if err := json.Unmarshal(corpus(t, "did_docs.json.zst"), &docs); err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for data := corpus(t, "frames.bin.zst"); len(data) > 0; {
		n := endian.LittleEndian.Uint32(data)
		frames = append(frames, data[4:4+n])
		data = data[4+n:]
	}
	if len(frames) != manifest.Frames {
		t.Fatalf("%d frames, want %d", len(frames), manifest.Frames)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{did}", func(w http.ResponseWriter, r *http.Request) {
		doc, ok := docs[r.PathValue("did")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/did+ld+json")
		_, _ = w.Write(doc)
	})
	mux.HandleFunc("GET /xrpc/com.atproto.sync.subscribeRepos", func(w http.ResponseWriter, r *http.Request) {
		// Their numbers have no gap. Who comes back goes on; who comes without a
		// cursor gets what happens from now on, which is all of them.
		next := 0
		if cursor, err := strconv.ParseInt(r.URL.Query().Get("cursor"), 10, 64); err == nil {
			next = int(min(max(cursor+1-manifest.First, 0), int64(len(frames))))
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow() //nolint:errcheck // it is over anyway
		ctx := conn.CloseRead(r.Context())
		for _, frame := range frames[next:] {
			if conn.Write(ctx, websocket.MessageBinary, frame) != nil {
				return
			}
		}
		<-ctx.Done()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func corpus(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(shared(t, "records", "firehose", name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, ".zst") {
		return raw
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if raw, err = dec.DecodeAll(raw, nil); err != nil {
		t.Fatal(err)
	}
	return raw
}

func createDatabase(t *testing.T, server, name string) (url string) {
	t.Helper()
	if _, err := psql(t.Context(), server, "create database "+name); err != nil {
		t.Fatal(err)
	}
	u, err := neturl.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = name
	return u.String()
}

// state is what a database has.
type state struct {
	records map[string]record
	rest    []string // rows of atview's own tables, in order
}

type record struct {
	row               string // without indexed_at and sort_at
	indexedAt, sortAt time.Time
}

func stateOf(t *testing.T, database string) state {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	s, writers := state{records: map[string]record{}}, map[string]bool{}
	// All of it as of one moment, since a fold may be under way.
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select table_name from information_schema.tables where table_schema = 'records' order by 1")
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(tables) == 0 {
			return fmt.Errorf("%s has no tables of records", database)
		}
		for _, table := range tables {
			rows, err := tx.Query(ctx, fmt.Sprintf("select did, concat_ws(' ', '%[1]s', did, rkey), (to_jsonb(r) - 'indexed_at' - 'sort_at')::text, indexed_at, sort_at from records.%[1]s r", table))
			if err != nil {
				return err
			}
			var did, key string
			var rec record
			if _, err := pgx.ForEachRow(rows, []any{&did, &key, &rec.row, &rec.indexedAt, &rec.sortAt}, func() error {
				s.records[key], writers[did] = rec, true
				return nil
			}); err != nil {
				return err
			}
		}
		rows, err = tx.Query(ctx, `select 'link ' || (to_jsonb(l) - 'sort_at')::text from atview.link l
			union all select 'link_count ' || to_jsonb(c)::text from atview.link_count c
			union all select 'flag ' || to_jsonb(f)::text from atview.flag f
			union all select 'tombstone ' || to_jsonb(b)::text from atview.tombstone b
			union all select 'dead letter ' || reason from atview.dead_letter
			union all select concat_ws(' ', 'actor', did, status, 'account', account_at, nullif(account_seq, 0), 'identity', identity_at, nullif(identity_seq, 0),
					'purged', purged_rev, 'synced', synced_rev, synced_of, 'read', read_rev) from atview.actor
				where account_at is not null or identity_at is not null or did = any($1)`, slices.Collect(maps.Keys(writers)))
		if err != nil {
			return err
		}
		s.rest, err = pgx.CollectRows(rows, pgx.RowTo[string])
		slices.Sort(s.rest)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// differ holds what came of a Jetstream against what came of a firehose.
func (s state) differ(frames state) (lines []string) {
	if !slices.Equal(s.rest, frames.rest) {
		lines = append(lines, difference(s.rest, frames.rest))
	}
	for key, want := range s.records {
		got, ok := frames.records[key]
		late := want.indexedAt.Sub(got.indexedAt)
		switch {
		case !ok:
			lines = append(lines, "missing: "+key)
		case got.row != want.row:
			lines = append(lines, fmt.Sprintf("%s: %s\nwant %s", key, got.row, want.row))
		case late < 0 || late > 5*time.Second:
			lines = append(lines, fmt.Sprintf("%s: seen %v before the Jetstream had it", key, late))
		case got.sortAt.Before(got.indexedAt) && !got.sortAt.Equal(want.sortAt),
			!got.sortAt.Before(got.indexedAt) && (want.sortAt.Before(got.indexedAt) || want.sortAt.After(want.indexedAt)):
			lines = append(lines, fmt.Sprintf("%s: sorts at %v of %v, want %v of %v", key, got.sortAt, got.indexedAt, want.sortAt, want.indexedAt))
		}
	}
	for key := range frames.records {
		if _, ok := s.records[key]; !ok {
			lines = append(lines, "unexpected: "+key)
		}
	}
	slices.Sort(lines)
	return lines
}

// grep is the lines of a text in which any of the words is.
func grep(text string, words ...string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			b.WriteString(line)
		}
	}
	return b.String()
}
