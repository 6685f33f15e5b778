package schema_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atview/atview/schema"
)

// claimed is a record with the CID that its source gives it.
type claimed struct {
	place   string
	cid     string
	network string // what the network had, where the corpus' maker computed another
	record  []byte
}

// claimedRecords are all records of the corpus whose CID is vouched for: by the
// network, or computed when the corpus was made.
func claimedRecords(t testing.TB) []claimed {
	t.Helper()
	var out []claimed
	for _, dir := range []string{"jetstream-v1", "car-events", "synthetic", "extracted"} {
		files, err := filepath.Glob(filepath.Join(shared(t, "records"), dir, "*.jsonl"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no records in %s: %v", dir, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(bytes.NewReader(data))
			lines.Buffer(nil, 1<<24)
			for lines.Scan() {
				var line struct {
					CID        string
					CIDClaimed string `json:"cid_claimed"`
					Record     json.RawMessage
					Commit     struct {
						RKey   string
						CID    string
						Record json.RawMessage
					}
				}
				if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
					t.Fatal(err)
				}
				c := claimed{place: filepath.Base(file) + " " + line.Commit.RKey, cid: line.Commit.CID, record: line.Commit.Record}
				if dir == "extracted" {
					c.cid, c.network, c.record = line.CID, line.CIDClaimed, line.Record
				}
				if c.cid != "" {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

func TestCID(t *testing.T) {
	t.Parallel()
	t.Run("RecomputesOfAllRecords", func(t *testing.T) {
		t.Parallel()
		records := claimedRecords(t)
		for _, c := range records {
			// The golden lines of the legacy wire's encoder have made-up CIDs.
			if strings.HasPrefix(c.place, "jetstream-v2-golden") {
				continue
			}
			got, err := schema.CID(c.record)
			if err != nil || got != c.cid && got != c.network {
				t.Errorf("%s: got %s (%v), want %s\n%.300s", c.place, got, err, c.cid, c.record)
			}
		}
		if len(records) < 4000 {
			t.Errorf("only %d records with a CID", len(records))
		}
	})
	t.Run("HasOneFormForOneValue", func(t *testing.T) {
		t.Parallel()
		same := [][]string{
			{`{"a":1,"bb":2}`, `{"bb":2,"a":1}`, ` { "bb" : 2.0 , "a" : 10e-1 } `, `{"\u0061":1,"b\u0062":0.2E1}`},
			{`{"n":0}`, `{"n":-0}`, `{"n":0.000}`, `{"n":0e99999999}`},
			{`{"n":18446744073709551615}`, `{"n":1844674407370955161.5e1}`},
			{`{"b":{"$bytes":"AQI"}}`, `{"b":{"$bytes":"AQI="}}`},
			{`{"s":"\ud83d\ude00"}`, `{"s":"😀"}`},
		}
		for _, forms := range same {
			want := mustCID(t, forms[0])
			for _, form := range forms[1:] {
				if got := mustCID(t, form); got != want {
					t.Errorf("%s and %s have CIDs %s and %s", forms[0], form, want, got)
				}
			}
		}
	})
	t.Run("IsExactForIntegers", func(t *testing.T) {
		t.Parallel()
		for number, block := range map[string]string{
			"0": "\x00", "23": "\x17", "24": "\x18\x18", "255": "\x18\xff", "256": "\x19\x01\x00",
			"65536": "\x1a\x00\x01\x00\x00", "4294967296": "\x1b\x00\x00\x00\x01\x00\x00\x00\x00",
			"-1": "\x20", "-256": "\x38\xff", "-257": "\x39\x01\x00",
			"9007199254740993":     "\x1b\x00\x20\x00\x00\x00\x00\x00\x01", // 2^53 + 1: no float64
			"-9223372036854775808": "\x3b\x7f\xff\xff\xff\xff\xff\xff\xff",
			"9223372036854775807":  "\x1b\x7f\xff\xff\xff\xff\xff\xff\xff",
		} {
			if got, want := mustCID(t, `{"n":`+number+`}`), cidOf(t, "\xa1\x61n"+block); got != want {
				t.Errorf("%s: got %s, want %s", number, got, want)
			}
		}
	})
	t.Run("SaysWhatHasNone", func(t *testing.T) {
		t.Parallel()
		for record, want := range map[string]string{
			`{"a":{"b":[1,2.5]}}`:              "a.b[1]: number is not an integer of 64 bits: 2.5",
			`{"n":18446744073709551616}`:       "n: number is not an integer of 64 bits: 18446744073709551616",
			`{"n":1e400}`:                      "n: number is not an integer of 64 bits: 1e400",
			`{"n":1e99999999999999999999}`:     "n: number is not an integer of 64 bits: 1e99999999999999999999",
			`{"a":1,"a":1}`:                    "a: property is given twice",
			`{"s":"\ud83d"}`:                   "text is not Unicode",
			"{\"s\":\"\xff\"}":                 "text is not Unicode",
			`{"l":{"$link":"nope"}}`:           "l.$link: not a CID",
			`{"l":{"$link":1}}`:                "l.$link: not a CID",
			`{"l":{"$link":"bafy","x":1}}`:     "l: object with $link has other properties",
			`{"b":{"$bytes":"!"}}`:             "b.$bytes: not base64",
			`[]`:                               "JSON array in place of an object",
			`{`:                                "not JSON",
			strings.Repeat(`{"a":`, 301) + "1": "not JSON",
		} {
			_, err := schema.CID([]byte(record))
			var none *schema.NoCBORError
			if !errors.As(err, &none) || !strings.Contains(err.Error(), want) {
				t.Errorf("%.60s: got %v, want %s", record, err, want)
			}
		}
		if got, want := mustCID(t, `{"s":"\u0000"}`), cidOf(t, "\xa1\x61s\x61\x00"); got != want {
			t.Errorf("U+0000 is text to CBOR: got %s, want %s", got, want)
		}
	})
}

func mustCID(t testing.TB, record string) string {
	t.Helper()
	got, err := schema.CID([]byte(record))
	if err != nil {
		t.Fatalf("%s: %v", record, err)
	}
	return got
}

func cidOf(t testing.TB, block string) string {
	t.Helper()
	c, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum([]byte(block))
	if err != nil {
		t.Fatal(err)
	}
	return c.String()
}

// FuzzCID holds the encoder against indigo's, where that one takes the record.
func FuzzCID(f *testing.F) {
	for _, record := range []string{
		`{"$type":"app.bsky.feed.like","subject":{"uri":"at://x","cid":"bafy"},"createdAt":"2026-01-01T00:00:00Z"}`,
		`{"$type":"a","l":{"$link":"bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4"},"b":{"$bytes":"AQI"}}`,
		`{"$type":"a","n":[0,-1,24,-25,256,65536,4294967296,null,true,false],"":{"b":{},"a":[]}}`,
	} {
		f.Add([]byte(record))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		got, err := schema.CID(record)
		if err != nil {
			return
		}
		// encoding/json forgives in text what CBOR cannot hold, and reads numbers as
		// float64: integers past 2^53 are not its.
		obj, err := atdata.UnmarshalJSON(record)
		if err != nil || !json.Valid(record) || bytes.ContainsAny(record, ".eE") || longNumber(record) {
			return
		}
		block, err := atdata.MarshalCBOR(obj)
		if err != nil {
			return
		}
		if want := cidOf(t, string(block)); got != want {
			t.Errorf("%s: got %s, want %s", record, got, want)
		}
	})
}

func longNumber(record []byte) bool {
	digits := 0
	for _, c := range record {
		if digits++; c < '0' || c > '9' {
			digits = 0
		}
		if digits > 15 {
			return true
		}
	}
	return false
}

// BenchmarkCID computes the CIDs of the network's records.
func BenchmarkCID(b *testing.B) {
	var records [][]byte
	var size int64
	for _, c := range claimedRecords(b) {
		if strings.HasPrefix(c.place, "bluesky-") {
			records = append(records, c.record)
			size += int64(len(c.record))
		}
	}
	b.ReportAllocs()
	b.SetBytes(size / int64(len(records)))
	for i := 0; b.Loop(); i++ {
		if _, err := schema.CID(records[i%len(records)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
