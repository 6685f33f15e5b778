package dagcbor

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
)

// block reads "a1 6161 01" as bytes.
func block(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// value parses JSON so that two can be compared: numbers keep their digits.
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

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	const hash = "e8bcbb5ba8c8f2f6d5e7a8f3b0a1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3"
	cases := []struct{ name, in, want string }{
		{"Empty", "a0", `{}`},
		{"Null", "a1 6161 f6", `{"a":null}`},
		{"Booleans", "a2 6161 f5 6162 f4", `{"a":true,"b":false}`},
		{"Integers", "a3 6161 00 6162 1b7fffffffffffffff 6163 3b7fffffffffffffff", `{"a":0,"b":9223372036854775807,"c":-9223372036854775808}`},
		{"BeyondWhatAFloatHolds", "a1 6161 1b0020000000000001", `{"a":9007199254740993}`},
		{"Negative", "a2 6161 20 6162 3903e7", `{"a":-1,"b":-1000}`},
		{"Nested", "a1 6161 82 a1 6162 80 82 01 02", `{"a":[{"b":[]},[1,2]]}`},
		{"Bytes", "a2 6161 40 6162 42 ffff", `{"a":{"$bytes":""},"b":{"$bytes":"//8"}}`},
		{"LinkToARecord", "a1 6161 d82a 5825 00 01711220" + hash, `{"a":{"$link":"bafyreihixs5vxkgi6l3nlz5i6oykdqwt4t2qmfzihfffw3d5r2p2bmoc2m"}}`},
		{"LinkOfVersion0", "a1 6161 d82a 5823 00 1220" + hash, `{"a":{"$link":"Qme1ADBWoeiVEPoyd6WHkHezPeQxCGf9PznhEeYS36ceuG"}}`},
		{"Escapes", "a1 6161 67 22 5c 0a 0d 09 00 1f", `{"a":"\"\\\n\r\t\u0000\u001f"}`},
		{"NotASCII", "a1 6161 67 c3a9 f09f9880 7f", "{\"a\":\"é😀\x7f\"}"},
		{"NotUTF8", "a1 6161 65 61 ff 62 c3 63", `{"a":"a\udcffb\udcc3c"}`},
		{"HalfASurrogatePairInUTF8", "a1 6161 63 eda080", `{"a":"\udced\udca0\udc80"}`},
		{"ReplacementCharacterIsText", "a1 6161 63 efbfbd", "{\"a\":\"\ufffd\"}"},
		{"OddKeys", "a2 60 01 61 22 02", `{"":1,"\"":2}`},
		{"UnsortedKeysStayInTheirOrder", "a3 6262 62 01 6161 02 6163 03", `{"bb":1,"a":2,"c":3}`},
		{"LongerThanNecessary", "b801 7801 61 1b0000000000000001", `{"a":1}`},
		{"LooksLikeALink", "a1 6161 a1 65246c696e6b 01", `{"a":{"$link":1}}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := AppendJSON([]byte("x"), block(t, c.in))
			if err != nil || string(got) != "x"+c.want {
				t.Errorf("%s, %v\nwant x%s", got, err, c.want)
			}
			value(t, got[1:])
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return "a1 6161" + strings.Repeat("81", n-1) + "01" }
	cases := []struct {
		name, in string
		reason   Reason
		offset   int
	}{
		{"Nothing", "", ReasonShort, 0},
		{"CutInAKey", "a1 6361", ReasonShort, 1},
		{"CutInAnInteger", "a1 6161 1900", ReasonShort, 3},
		{"NoValue", "a1 6161", ReasonShort, 3},
		{"TextLongerThanAnything", "a1 6161 7bffffffffffffffff", ReasonShort, 3},
		{"ArrayLongerThanAnything", "a1 6161 9bffffffffffffffff", ReasonShort, 12},
		{"MapLongerThanAnything", "bbffffffffffffffff", ReasonShort, 9},
		{"Trailing", "a0 00", ReasonTrailing, 1},
		{"Array", "80", ReasonNotMap, 0},
		{"Text", "6161", ReasonNotMap, 0},
		{"Float16", "a1 6161 f93c00", ReasonFloat, 3},
		{"Float32", "a1 6161 fa3f800000", ReasonFloat, 3},
		{"Float64", "a1 6161 fb3ff0000000000000", ReasonFloat, 3},
		{"IntegerTooLarge", "a1 6161 1b8000000000000000", ReasonInteger, 3},
		{"IntegerTooSmall", "a1 6161 3b8000000000000000", ReasonInteger, 3},
		{"MapWithoutLength", "bf 6161 01 ff", ReasonIndefinite, 0},
		{"TextWithoutLength", "a1 6161 7f 6161 ff", ReasonIndefinite, 3},
		{"Break", "a1 6161 ff", ReasonIndefinite, 3},
		{"KeyIsANumber", "a1 01 01", ReasonKey, 1},
		{"KeyTwice", "a2 6161 01 6161 02", ReasonDuplicate, 1},
		{"KeyTwiceApart", "a3 6161 01 6162 02 6161 03", ReasonDuplicate, 1},
		{"KeyTwiceWithin", "a1 6161 a3 6162 a1 6161 00 6161 02 6162 03", ReasonDuplicate, 4},
		{"OtherTag", "a1 6161 c1 01", ReasonTag, 3},
		{"LinkIsText", "a1 6161 d82a 6161", ReasonLink, 3},
		{"LinkWithoutZero", "a1 6161 d82a 4101", ReasonLink, 3},
		{"LinkToNothing", "a1 6161 d82a 4100", ReasonLink, 3},
		{"Undefined", "a1 6161 f7", ReasonSimple, 3},
		{"Simple", "a1 6161 e0", ReasonSimple, 3},
		{"Reserved", "a1 6161 1c", ReasonReserved, 3},
		{"TooDeep", deep(MaxDepth + 1), ReasonDepth, 3 + MaxDepth - 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := AppendJSON([]byte("x"), block(t, c.in))
			var e *Error
			if !errors.As(err, &e) || e.Reason != c.reason || e.Offset != c.offset || string(got) != "x" {
				t.Errorf("%q, %v; want %s at byte %d", got, err, c.reason, c.offset)
			}
		})
	}
	if _, err := AppendJSON(nil, block(t, deep(MaxDepth))); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
}

// TestFixtures takes the data model's interoperability vectors
// (https://github.com/bluesky-social/atproto-interop-tests).
func TestFixtures(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/data-model-fixtures.json")
	if err != nil {
		t.Fatal(err)
	}
	var fixtures []struct {
		JSON json.RawMessage `json:"json"`
		CBOR string          `json:"cbor_base64"`
		CID  string          `json:"cid"`
	}
	if err := json.Unmarshal(data, &fixtures); err != nil {
		t.Fatal(err)
	}
	if len(fixtures) == 0 {
		t.Fatal("no fixtures")
	}
	for _, f := range fixtures {
		b, err := base64.RawStdEncoding.DecodeString(f.CBOR)
		if err != nil {
			t.Fatal(err)
		}
		got, err := AppendJSON(nil, b)
		if err != nil || !reflect.DeepEqual(value(t, got), value(t, f.JSON)) {
			t.Errorf("%s, %v\nwant %s", got, err, f.JSON)
		}
		if err := CheckCID(f.CID, b); err != nil || CID(b) != f.CID {
			t.Errorf("%s: %v", f.CID, err)
		}
	}
}

func TestCheckCID(t *testing.T) {
	t.Parallel()
	b := block(t, "a1 6161 01")
	is := CID(b)
	for _, bad := range []string{"", "x", is[:20], CID(block(t, "a0")), "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"} {
		if err := CheckCID(bad, b); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	if err := CheckCID("F01711220"+strings.ToUpper(hex.EncodeToString(binaryCID(b)[4:])), b); err != nil {
		t.Errorf("in base 16: %v", err)
	}
}

// TestCorpus takes records, as JSON that others made, to DAG-CBOR and back. The CID
// tells that the block is the one that they had.
func TestCorpus(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..", "shared", "records")
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no records beside the checkout: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var ev struct {
				Commit struct {
					CID    string
					Record json.RawMessage
				}
			}
			if json.Unmarshal(line, &ev) != nil || ev.Commit.Record == nil {
				continue
			}
			v, err := atdata.UnmarshalJSON(ev.Commit.Record)
			if err != nil {
				continue // not of the data model
			}
			b, err := atdata.MarshalCBOR(v)
			if err != nil || CheckCID(ev.Commit.CID, b) != nil {
				continue // then it is not the block that the source had
			}
			if bytes.Contains(b, []byte("dsize ")) {
				continue // MarshalCBOR writes a blob of the old form in the new one, with size -1
			}
			n++
			got, err := AppendJSON(nil, b)
			if err != nil || !reflect.DeepEqual(value(t, got), value(t, ev.Commit.Record)) {
				t.Errorf("%s, %v\nwant %s", got, err, ev.Commit.Record)
			}
		}
	}
	t.Logf("%d records", n)
	if n < 5000 {
		t.Errorf("only %d records", n)
	}
}

func FuzzAppendJSON(f *testing.F) {
	post, err := os.ReadFile("testdata/feedpost_record.cbor")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(post)
	for _, s := range []string{"a0", "a2 6161 40 6162 42 ffff", "a1 6161 65 61 ff 62 c3 63", "a3 6262 62 01 6161 02 6163 03", "a1 6161 d82a 5823 00 1220", "a1 6161 3b7fffffffffffffff"} {
		f.Add(block(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		got, err := AppendJSON(nil, in)
		if !bytes.Equal(in, before) {
			t.Fatal("the block has changed")
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(in) {
				t.Fatalf("%#v", err)
			}
			return
		}
		if !json.Valid(got) || got[0] != '{' || len(got) > 14*len(in)+2 {
			t.Fatalf("%d bytes from %d: %s", len(got), len(in), got)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	post, err := os.ReadFile("testdata/feedpost_record.cbor")
	if err != nil {
		b.Fatal(err)
	}
	var out []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(post)))
	for b.Loop() {
		if out, err = AppendJSON(out[:0], post); err != nil {
			b.Fatal(err)
		}
	}
}
