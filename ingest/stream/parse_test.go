package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const likeLine = `{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1783175888085434,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"create","collection":"app.bsky.feed.like","rkey":"3mptbyplj5d2a","record":{"$type":"app.bsky.feed.like","createdAt":"2026-07-04T14:38:08.999Z","subject":{"cid":"bafyreiftot7eltsc3f6g4qktykmbv6jcmdmhcx5osscan6jpdxkpqcmcza","uri":"at://did:plc:r2zybk6op3ymzpz6jhqpkoy5/app.bsky.feed.post/3mpsjbtci2c2o"}},"cid":"bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"}}`

// corpus returns the lines of a file beside the checkout, or skips.
func corpus(t testing.TB, name string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "records", name))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no record corpus beside the checkout: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(data), []byte("\n"))
}

func TestParse(t *testing.T) {
	t.Parallel()

	t.Run("Commit", func(t *testing.T) {
		t.Parallel()
		ev, err := Parse([]byte(likeLine))
		if err != nil {
			t.Fatal(err)
		}
		if ev.DID != "did:plc:wq4aajammjtxdomz3e23667t" || ev.TimeUS != 1783175888085434 || ev.Kind != KindCommit {
			t.Errorf("envelope %+v", ev)
		}
		c := ev.Commit
		if c.Rev != "3mptbypluud2a" || c.Operation != Create || c.Collection != "app.bsky.feed.like" || c.RKey != "3mptbyplj5d2a" ||
			c.CID != "bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i" {
			t.Errorf("commit %+v", c)
		}
	})

	t.Run("RecordKeepsItsBytes", func(t *testing.T) {
		t.Parallel()
		record := `{ "a" : "x\u0000y \ud800 \ud83d\ude00 <&>" ,"big":123456789012345678901234567890, "f":1.0e+2,"n":null, "e":[ ] }`
		line := `{"commit": {"record":` + record + `, "rev":"3mptbypluud2a","operation":"update","collection":"a.b.c","rkey":"self"}, "kind":"commit","time_us":1,"did":"did:web:x.test"}`
		ev, err := Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if string(ev.Commit.Record) != record {
			t.Errorf("record\n%s\nwant\n%s", ev.Commit.Record, record)
		}
	})

	// Each of these is one fault in an otherwise good line.
	faults := []struct {
		name string
		line string
		want Reason
	}{
		{"Empty", ``, ReasonJSON},
		{"Cut", likeLine[:200], ReasonJSON},
		{"TwoValues", likeLine + likeLine, ReasonJSON},
		{"Array", `[]`, ReasonJSON},
		{"Null", `null`, ReasonJSON},
		{"Empty object", `{}`, ReasonKind},
		{"BrokenUTF8", strings.Replace(likeLine, "app.bsky.feed.post", "app.bsky.feed.p\xff", 1), ReasonJSON},
		{"NumberAsKind", `{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1,"kind":7}`, ReasonKind},
		{"NoDID", strings.Replace(likeLine, `"did":`, `"did2":`, 1), ReasonDID},
		{"NoStringDID", strings.Replace(likeLine, `"did:plc:wq4aajammjtxdomz3e23667t"`, `{}`, 1), ReasonDID},
		{"HandleAsDID", strings.Replace(likeLine, `did:plc:wq4aajammjtxdomz3e23667t`, `alice.test`, 1), ReasonDID},
		{"SubjectInDID", strings.Replace(likeLine, `did:plc:wq4aajammjtxdomz3e23667t`, `did:plc:*.>`, 1), ReasonDID},
		{"LongDID", strings.Replace(likeLine, `did:plc:wq4aajammjtxdomz3e23667t`, `did:web:`+strings.Repeat("a", 505), 1), ReasonDID},
		{"NoTime", strings.Replace(likeLine, `"time_us":`, `"time":`, 1), ReasonTime},
		{"FloatTime", strings.Replace(likeLine, `1783175888085434`, `1783175888085434.5`, 1), ReasonTime},
		{"NegativeTime", strings.Replace(likeLine, `1783175888085434`, `-5`, 1), ReasonTime},
		{"FarTime", strings.Replace(likeLine, `1783175888085434`, `9223372036854775807`, 1), ReasonTime},
		{"HugeTime", strings.Replace(likeLine, `1783175888085434`, `99999999999999999999`, 1), ReasonTime},
		{"NoBody", `{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1,"kind":"commit"}`, ReasonBody},
		{"TextAsBody", `{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1,"kind":"commit","commit":"x"}`, ReasonBody},
		{"OneSegmentNSID", strings.Replace(likeLine, `"app.bsky.feed.like","rkey"`, `"like","rkey"`, 1), ReasonCollection},
		{"WildcardNSID", strings.Replace(likeLine, `"app.bsky.feed.like","rkey"`, `"app.bsky.>","rkey"`, 1), ReasonCollection},
		{"LongNSID", strings.Replace(likeLine, `"app.bsky.feed.like","rkey"`, `"app.bsky.`+strings.Repeat("a", 400)+`","rkey"`, 1), ReasonCollection},
		{"Operation", strings.Replace(likeLine, `"create"`, `"upsert"`, 1), ReasonOperation},
		{"EmptyRKey", strings.Replace(likeLine, `"3mptbyplj5d2a"`, `""`, 1), ReasonRKey},
		{"DotRKey", strings.Replace(likeLine, `"3mptbyplj5d2a"`, `".."`, 1), ReasonRKey},
		{"SlashRKey", strings.Replace(likeLine, `"3mptbyplj5d2a"`, `"a/b"`, 1), ReasonRKey},
		{"LongRKey", strings.Replace(likeLine, `3mptbyplj5d2a`, strings.Repeat("k", 513), 1), ReasonRKey},
		{"Rev", strings.Replace(likeLine, `3mptbypluud2a`, `3mptbypluud2`, 1), ReasonRev},
		{"NoRecord", strings.Replace(likeLine, `"record":`, `"value":`, 1), ReasonRecord},
		{"NullRecord", `{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"create","collection":"a.b.c","rkey":"x","record":null}}`, ReasonRecord},
		{"TextRecord", `{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"create","collection":"a.b.c","rkey":"x","record":"{}"}}`, ReasonRecord},
		{"AccountWithoutActive", `{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1,"kind":"account","account":{"status":"deleted"}}`, ReasonBody},
		{"SyncBody", `{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1,"kind":"sync","sync":"3lvedge"}`, ReasonBody},
	}
	for _, f := range faults {
		t.Run("Fault"+f.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(f.line))
			var bad *InvalidError
			if !errors.As(err, &bad) || bad.Reason != f.want {
				t.Errorf("got %v, want reason %s", err, f.want)
			}
		})
	}

	t.Run("UnknownKindIsToBeIgnored", func(t *testing.T) {
		t.Parallel()
		for _, line := range []string{
			`{"kind":"info","name":"OutdatedCursor"}`,
			`{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":5,"kind":"labels","labels":{}}`,
		} {
			if _, err := Parse([]byte(line)); !errors.Is(err, ErrUnknownKind) {
				t.Errorf("%s: %v", line, err)
			}
		}
	})

	t.Run("IdentityWithoutHandleOrBody", func(t *testing.T) {
		t.Parallel()
		for _, line := range []string{
			`{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":5,"kind":"identity","identity":{"did":"did:plc:wq4aajammjtxdomz3e23667t","seq":1}}`,
			`{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":5,"kind":"identity","identity":{"handle":"not a handle"}}`,
			`{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":5,"kind":"identity"}`,
		} {
			ev, err := Parse([]byte(line))
			if err != nil || ev.Identity == nil || ev.Identity.Handle != "" {
				t.Errorf("%s: %+v, %v", line, ev.Identity, err)
			}
		}
	})

	t.Run("SyncWithoutRevStillSaysLookAgain", func(t *testing.T) {
		t.Parallel()
		ev, err := Parse([]byte(`{"did":"did:plc:wq4aajammjtxdomz3e23667t","time_us":1,"kind":"sync","sync":{"rev":"3lvedge","seq":7}}`))
		if err != nil || ev.Sync == nil || ev.Sync.Rev != "" || ev.Sync.Seq != 7 {
			t.Errorf("%+v, %v", ev.Sync, err)
		}
	})

	t.Run("LastOfTwoKeysCounts", func(t *testing.T) {
		t.Parallel()
		ev, err := Parse([]byte(`{"did":"did:web:a.test","d\u0069d":"did:web:b.test","DID":"did:web:c.test","time_us":5,"kind":"identity"}`))
		if err != nil || ev.DID != "did:web:b.test" {
			t.Errorf("%s, %v", ev.DID, err)
		}
	})

	t.Run("FaultyCommitStillNamesItsCollection", func(t *testing.T) {
		t.Parallel()
		ev, err := Parse([]byte(strings.Replace(likeLine, `"3mptbyplj5d2a"`, `""`, 1)))
		if err == nil || ev.DID == "" || ev.Commit == nil || ev.Commit.Collection != "app.bsky.feed.like" {
			t.Errorf("%+v, %v", ev, err)
		}
	})
}

func TestParseCorpus(t *testing.T) {
	t.Parallel()
	for name, rejects := range map[string]int{
		"jetstream-v1/bluesky-2026-07-04.jsonl":     0,
		"jetstream-v1/jetstream-v2-golden_v1.jsonl": 0,
		"edge/edge-cases.jsonl":                     0,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, line := range corpus(t, name) {
				ev, err := Parse(line)
				if err != nil {
					rejects--
					t.Logf("line %d: %v", i+1, err)
					continue
				}
				if ev.Commit != nil && !bytes.Contains(line, ev.Commit.Record) {
					t.Errorf("line %d: record is not the line's bytes", i+1)
				}
			}
			if rejects != 0 {
				t.Errorf("%d lines rejected too few or many", rejects)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(likeLine))
	f.Add([]byte(`{"did":"did:web:a.test","d\u0069d":"did:web:b.test","time_us":5,"kind":"identity","identity":{"handle":"a.test","seq":9,"time":"2026-01-01T00:00:00.000Z"}}`))
	f.Add([]byte(`{"did":"did:web:a.test","time_us":5,"kind":"account","account":{"active":false,"status":"dele\u0000\ud800ted","seq":93}}`))
	f.Add([]byte(`{"did":"did:web:a.test","time_us":5,"kind":"sync","sync":{"rev":"3mptbypluud2a"}}`))
	f.Add([]byte(` {"kind" : "commit" ,"commit":{"record":{"a":[{"b":"\\\""},[],-1e9,true]},"cid":"x"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		ev, err := Parse(line)
		if err != nil {
			var bad *InvalidError
			if !errors.Is(err, ErrUnknownKind) && !errors.As(err, &bad) {
				t.Fatalf("error of no known type: %v", err)
			}
			return
		}
		// The reader of another language sees the same.
		var other struct {
			DID    string `json:"did"`
			Kind   string `json:"kind"`
			Commit struct {
				Record json.RawMessage `json:"record"`
			} `json:"commit"`
		}
		if err := json.Unmarshal(line, &other); err != nil && ev.Kind == KindCommit {
			// encoding/json also looks at keys in another case; they may be of another type.
			if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
				t.Fatalf("passed Parse, but: %v", err)
			}
		}
		if ev.Commit != nil && ev.Commit.Record != nil && !json.Valid(ev.Commit.Record) {
			t.Fatalf("record is no JSON: %s", ev.Commit.Record)
		}
		again, err := Parse(ev.AppendJSON(nil))
		if err != nil {
			t.Fatalf("own encoding %s: %v", ev.AppendJSON(nil), err)
		}
		if !reflect.DeepEqual(ev, again) {
			t.Fatalf("own encoding reads as\n%+v\nwant\n%+v", again, ev)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	line := []byte(likeLine)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}
