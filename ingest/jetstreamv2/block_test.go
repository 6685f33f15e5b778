package jetstreamv2

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/atview/atview/ingest/dagcbor"
	"github.com/atview/atview/ingest/stream"
)

// TestGolden reads bytes that the real server's package wrote; see
// testdata/README.md.
func TestGolden(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/golden.jss")
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHeader(file[:headerSize])
	if err != nil {
		t.Fatal(err)
	}
	places, err := parseIndex(file[h.index:h.index+uint64(h.blocks)*indexEntrySize], h)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	var perBlock []int
	i := 0
	for _, p := range places {
		data, err := dec.DecodeAll(file[p.offset:p.offset+p.size], nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := parseBlock(data)
		if err != nil {
			t.Fatal(err)
		}
		perBlock = append(perBlock, b.rows)
		for r := range b.each {
			i++
			want := row{seq: uint64(100 + i), witnessed: someTime + int64(i)*1_000_000, kind: byte((i-1)%7 + 1), did: []byte(did(i % 3))}
			if i%5 == 0 {
				want.indexed = 1_700_000_000_000_000 + int64(i)
			}
			if want.commit() {
				want.collection, want.rkey, want.rev = []byte(note), fmt.Appendf(nil, "r%d", i), []byte(someRev)
			}
			if got, want := fmt.Sprintf("%d %d %d %d %s %s %s %s", r.seq, r.witnessed, r.indexed, r.kind, r.did, r.collection, r.rkey, r.rev),
				fmt.Sprintf("%d %d %d %d %s %s %s %s", want.seq, want.witnessed, want.indexed, want.kind, want.did, want.collection, want.rkey, want.rev); got != want {
				t.Errorf("row %d: %s\nwant %s", i, got, want)
			}
			if r.seq < p.minSeq || r.seq > p.maxSeq {
				t.Errorf("row %d is outside of its block's numbers, %d to %d", r.seq, p.minSeq, p.maxSeq)
			}
			line := parseRow(r)
			switch {
			case r.kind == rowAccount || r.kind == rowSync: // without a body
				if reason(line.Err) != stream.ReasonBody {
					t.Errorf("row %d: %v", i, line.Err)
				}
			case line.Err != nil:
				t.Errorf("row %d: %v", i, line.Err)
			case r.commit() && r.kind != rowDelete:
				if want := fmt.Sprintf(`{"n":%d,"text":"note","$type":"com.example.note"}`, 500+i); string(line.Event.Commit.Record) != want {
					t.Errorf("row %d: %s", i, line.Event.Commit.Record)
				}
				if line.Event.Commit.CID != dagcbor.CID(r.payload) {
					t.Errorf("row %d: CID %s", i, line.Event.Commit.CID)
				}
			}
		}
	}
	if !slices.Equal(perBlock, []int{16, 16, 8}) {
		t.Errorf("rows of the blocks: %v", perBlock)
	}
}

func reason(err error) stream.Reason {
	if bad, ok := errors.AsType[*stream.InvalidError](err); ok {
		return bad.Reason
	}
	return ""
}

func TestParseBlock(t *testing.T) {
	t.Parallel()
	good := encodeColumns(noteRows(1, 3)...)
	if b, err := parseBlock(good); err != nil || b.rows != 3 {
		t.Fatalf("%d rows, %v", b.rows, err)
	}
	if b, err := parseBlock([]byte{0, 0, 0, 0}); err != nil || b.rows != 0 {
		t.Errorf("an empty block: %d rows, %v", b.rows, err)
	}
	for n := range good {
		if _, err := parseBlock(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes pass", n, len(good))
		}
	}
	for name, bad := range map[string][]byte{
		"BehindTheEnd":  append(bytes.Clone(good), 0),
		"ManyRows":      {0xff, 0xff, 0xff, 0xff, 0},
		"RowsOfNothing": {1, 0, 0, 0},
	} {
		if _, err := parseBlock(bad); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestParseSegment(t *testing.T) {
	t.Parallel()
	blocks := [][]row{noteRows(1, 2), nil, noteRows(3, 4)}
	good := (&segment{generation: 7, blocks: blocks}).file()
	index := func(file []byte) error {
		h, err := parseHeader(file)
		if err != nil {
			return err
		}
		if h.index > uint64(len(file)) {
			return errors.New("index behind the end")
		}
		_, err = parseIndex(file[h.index:], h)
		return err
	}
	if err := index(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"Short":         func(b []byte) []byte { return b[:100] },
		"Magic":         func(b []byte) []byte { b[0] = 'x'; return b },
		"Active":        func(b []byte) []byte { clear(b[4:12]); return b },
		"Version":       func(b []byte) []byte { b[12] = 9; return b },
		"IndexInHeader": func(b []byte) []byte { clear(b[90:98]); return b },
		"IndexFarAway":  func(b []byte) []byte { b[97] = 0xff; return b },
		"BlockCount":    func(b []byte) []byte { b[14]++; return b },
		"Overlap": func(b []byte) []byte {
			copy(b[len(b)-indexEntrySize:], b[len(b)-2*indexEntrySize:][:8])
			b[len(b)-indexEntrySize] -= 9
			return b
		},
		"Size": func(b []byte) []byte { b[len(b)-indexEntrySize+11] = 0xff; return b },
	} {
		if err := index(spoil(bytes.Clone(good))); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// FuzzParseBlock: no block panics, and what is taken is all of the block.
func FuzzParseBlock(f *testing.F) {
	f.Add(encodeColumns(noteRows(1, 3)...))
	f.Add([]byte{0, 0, 0, 0})
	odd := noteRow(1)
	odd.kind, odd.payload, odd.did = 9, []byte{0xa1}, []byte{0xff, '"'}
	f.Add(encodeColumns(odd, noteRow(2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseBlock(data)
		if err != nil {
			return
		}
		total := 4
		rows := 0
		for r := range b.each {
			rows++
			total += fixedPerRow + len(r.collection) + len(r.did) + len(r.rkey) + len(r.rev) + len(r.payload)
			line := parseRow(r)
			if line.Err == nil {
				if _, err := stream.Parse(line.Data); err != nil {
					t.Errorf("a line that does not parse: %v", err)
				}
			} else if line.Data == nil {
				t.Error("a reject without bytes")
			}
		}
		if rows != b.rows || total != len(data) {
			t.Errorf("%d rows of %d, %d bytes of %d", rows, b.rows, total, len(data))
		}
	})
}

func FuzzParseFrame(f *testing.F) {
	f.Add(noteFrame(1, "").data)
	f.Add([]byte(`{"$type":"error","error":"ConsumerTooSlow"}`))
	f.Add(message("sync", `"seq":1,"did":"did:plc:a","sync":{"rev":1}`))
	f.Add(message("info", `"name":3`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := parseFrame(data, asTime(someTime))
		if got.kind == frameEvent && got.line.Err == nil {
			if _, err := stream.Parse(got.line.Data); err != nil {
				t.Errorf("a line that does not parse: %v", err)
			}
		}
		if got.kind == frameEvent && got.line.Data == nil {
			t.Error("a line without bytes")
		}
	})
}

func TestParseRow(t *testing.T) {
	t.Parallel()
	did := did(1)
	account := []byte("\xa3\x63seq\x05\x66active\xf4\x66status\x67deleted")
	sync := []byte("\xa2\x63rev\x6d" + someRev + "\x66blocks\x43abc")
	cases := []struct {
		name   string
		spoil  func(r *row)
		want   string        // the line
		reason stream.Reason // of the reject
	}{
		{name: "Create", want: `{"did":"` + did + `","time_us":1790000001000000,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"create","collection":"com.example.note","rkey":"r1","record":{"n":1},"cid":"` + dagcbor.CID(record(1)) + `"}}`},
		{name: "ImportedTime", spoil: func(r *row) { r.indexed = 5; r.kind = rowUpdate }, want: `{"did":"` + did + `","time_us":5,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"update","collection":"com.example.note","rkey":"r1","record":{"n":1},"cid":"` + dagcbor.CID(record(1)) + `"}}`},
		{name: "Delete", spoil: func(r *row) { r.kind, r.payload = rowDelete, nil }, want: `{"did":"` + did + `","time_us":1790000001000000,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"delete","collection":"com.example.note","rkey":"r1"}}`},
		{name: "Account", spoil: func(r *row) { r.kind, r.collection, r.rkey, r.rev, r.payload = rowAccount, nil, nil, nil, account }, want: `{"did":"` + did + `","time_us":1790000001000000,"kind":"account","account":{"active":false,"did":"` + did + `","status":"deleted","seq":5}}`},
		{name: "Sync", spoil: func(r *row) { r.kind, r.collection, r.rkey, r.payload = rowSync, nil, nil, sync }, want: `{"did":"` + did + `","time_us":1790000001000000,"kind":"sync","sync":{"did":"` + did + `","rev":"3mptbypluud2a","seq":0}}`},
		{name: "Identity", spoil: func(r *row) { r.kind, r.payload = rowIdentity, nil }, want: `{"did":"` + did + `","time_us":1790000001000000,"kind":"identity","identity":{"did":"` + did + `","seq":0}}`},
		{name: "BrokenCBOR", spoil: func(r *row) { r.payload = []byte{0xa1, 0x61} }, reason: stream.ReasonRecord},
		{name: "Text", spoil: func(r *row) { r.payload = []byte{0x61, 'a'} }, reason: stream.ReasonRecord},
		{name: "Float", spoil: func(r *row) { r.payload = []byte("\xa1\x61a\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00") }, reason: stream.ReasonRecord},
		{name: "NoRecord", spoil: func(r *row) { r.payload = nil }, reason: stream.ReasonRecord},
		{name: "RKey", spoil: func(r *row) { r.rkey = []byte("a/b") }, reason: stream.ReasonRKey},
		{name: "Rev", spoil: func(r *row) { r.rev = []byte("x") }, reason: stream.ReasonRev},
		{name: "DID", spoil: func(r *row) { r.did = []byte("a\"\xff") }, reason: stream.ReasonDID},
		{name: "Time", spoil: func(r *row) { r.witnessed = -1 }, reason: stream.ReasonTime},
		{name: "Collection", spoil: func(r *row) { r.collection = []byte("note") }, reason: stream.ReasonCollection},
	}
	for _, c := range cases {
		r := noteRow(1)
		if c.spoil != nil {
			c.spoil(&r)
		}
		line := parseRow(&r)
		if c.reason == "" {
			if line.Err != nil || string(line.Data) != c.want {
				t.Errorf("%s: %v\n%s\nwant\n%s", c.name, line.Err, line.Data, c.want)
			}
			continue
		}
		if reason(line.Err) != c.reason {
			t.Errorf("%s: %v", c.name, line.Err)
		}
		if !strings.Contains(string(line.Data), `"seq":1,`) {
			t.Errorf("%s: body %s", c.name, line.Data)
		}
	}
	r := noteRow(1)
	r.kind = 9
	if line := parseRow(&r); !errors.Is(line.Err, stream.ErrUnknownKind) {
		t.Errorf("a kind of the future: %v", line.Err)
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	var many, spread []string
	for i := range 150 {
		many = append(many, fmt.Sprintf("com.example.a%d.b", i))
		spread = append(spread, fmt.Sprintf("com.example%d.a", i))
	}
	cases := []struct{ patterns, want []string }{
		{[]string{"*"}, nil},
		{nil, []string{nothing}},
		{[]string{"a.b.d", "a.b.c"}, []string{"a.b.c", "a.b.d"}},
		{many, []string{"com.example.*"}},
		{append([]string{"x.y.z"}, many...), []string{"com.example.*", "x.y.z"}},
		{append([]string{"com.example.*"}, many...), []string{"com.example.*"}},
		{spread, nil}, // below "com" only
	}
	for _, c := range cases {
		if got := wanted(collections(t, c.patterns...)); !slices.Equal(got, c.want) {
			t.Errorf("%.3v: %v", c.patterns, got)
		}
	}
}
