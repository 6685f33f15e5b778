package testnet

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// Op is one operation of a commit.
type Op struct {
	action     string // create, update, delete
	collection syntax.NSID
	rkey       syntax.RecordKey
	record     any
	raw        []byte
}

// Create makes a record; no rkey is a new TID. The record is JSON (string, []byte
// or [json.RawMessage]) or what marshals to it; a missing $type is added, as a PDS
// does.
func Create(collection syntax.NSID, rkey syntax.RecordKey, record any) Op {
	return Op{action: "create", collection: collection, rkey: rkey, record: record}
}

// Update changes a record, which must exist. The same content once more is no
// change, and a commit of nothing else is none.
func Update(collection syntax.NSID, rkey syntax.RecordKey, record any) Op {
	return Op{action: "update", collection: collection, rkey: rkey, record: record}
}

// Delete removes a record, which must exist.
func Delete(collection syntax.NSID, rkey syntax.RecordKey) Op {
	return Op{action: "delete", collection: collection, rkey: rkey}
}

// CreateRaw makes a record whose block is cbor, whatever that is: with floats,
// without order, or no map at all. Its [Record] has no JSON, and a Jetstream does
// not show it.
func CreateRaw(collection syntax.NSID, rkey syntax.RecordKey, cbor []byte) Op {
	return Op{action: "create", collection: collection, rkey: rkey, raw: cbor}
}

func (op Op) path() string { return string(op.collection) + "/" + string(op.rkey) }

// encode makes the record that the operation writes.
func (op Op) encode() (*record, error) {
	if op.raw != nil {
		return &record{block: newBlock(op.raw)}, nil
	}
	var data []byte
	switch r := op.record.(type) {
	case string:
		data = []byte(r)
	case []byte:
		data = r
	case json.RawMessage:
		data = r
	default:
		var err error
		if data, err = json.Marshal(r); err != nil {
			return nil, err
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v map[string]any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("%s is no record", data)
	}
	if _, ok := v["$type"]; !ok {
		v["$type"] = string(op.collection)
	}
	text, cbor, err := appendValue(nil, nil, v)
	if err != nil {
		return nil, err
	}
	return &record{block: newBlock(cbor), json: text}, nil
}

// appendValue appends a decoded JSON value twice: as JSON with sorted keys, and as
// DAG-CBOR; see https://atproto.com/specs/data-model.
func appendValue(text, cbor []byte, v any) (_, _ []byte, err error) {
	switch v := v.(type) {
	case nil:
		return append(text, "null"...), append(cbor, 0xf6), nil
	case bool:
		if v {
			return append(text, "true"...), append(cbor, 0xf5), nil
		}
		return append(text, "false"...), append(cbor, 0xf4), nil
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return nil, nil, fmt.Errorf("number %s: the data model has integers only; CreateRaw takes others", v)
		}
		text = append(text, v...)
		if n < 0 {
			return text, appendHead(cbor, 1, uint64(-(n + 1))), nil
		}
		return text, appendHead(cbor, 0, uint64(n)), nil
	case string:
		return appendText(text, v), append(appendHead(cbor, 3, uint64(len(v))), v...), nil
	case []any:
		text, cbor = append(text, '['), appendHead(cbor, 4, uint64(len(v)))
		for i, item := range v {
			if i > 0 {
				text = append(text, ',')
			}
			if text, cbor, err = appendValue(text, cbor, item); err != nil {
				return nil, nil, err
			}
		}
		return append(text, ']'), cbor, nil
	case map[string]any:
		return appendObject(text, cbor, v)
	}
	return nil, nil, fmt.Errorf("%T in JSON", v)
}

func appendObject(text, cbor []byte, v map[string]any) (_, _ []byte, err error) {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	// The JSON first: its order is by bytes, that of DAG-CBOR by length.
	start := len(text)
	text = append(text, '{')
	values := make(map[string][]byte, len(v))
	for i, k := range keys {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(appendText(text, k), ':')
		var value []byte
		if text, value, err = appendValue(text, nil, v[k]); err != nil {
			return nil, nil, err
		}
		values[k] = value
	}
	text = append(text, '}')

	if len(v) == 1 {
		if s, ok := v["$link"].(string); ok {
			c, err := cid.Decode(s)
			if err != nil {
				return nil, nil, fmt.Errorf("$link %q: %w", s, err)
			}
			return text, appendLink(cbor, c), nil
		}
		if s, ok := v["$bytes"].(string); ok {
			raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
			if err != nil {
				return nil, nil, fmt.Errorf("$bytes: %w", err)
			}
			// Without padding, as it is written anew from the block.
			text = append(text[:start], `{"$bytes":"`...)
			text = base64.RawStdEncoding.AppendEncode(text, raw)
			return append(text, `"}`...), append(appendHead(cbor, 2, uint64(len(raw))), raw...), nil
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	cbor = appendHead(cbor, 5, uint64(len(keys)))
	for _, k := range keys {
		cbor = append(appendHead(cbor, 3, uint64(len(k))), k...)
		cbor = append(cbor, values[k]...)
	}
	return text, cbor, nil
}

func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			var buf bytes.Buffer
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // a string always encodes
			return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendHead appends the head of a CBOR data item in its shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendLink(b []byte, c cid.Cid) []byte {
	b = appendHead(b, 6, 42)
	b = appendHead(b, 2, uint64(c.ByteLen()+1))
	b = append(b, 0) // the multibase prefix of raw bytes
	return append(b, c.Bytes()...)
}

// block is a piece of a repository under its hash.
type block struct {
	cid  cid.Cid
	data []byte
}

func newBlock(data []byte) block {
	hash, err := multihash.Sum(data, multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // the hash is built in
	}
	return block{cid: cid.NewCidV1(cid.DagCBOR, hash), data: data}
}

// appendCAR appends a CAR file; see https://ipld.io/specs/transport/car/carv1/.
func appendCAR(b []byte, root cid.Cid, blocks ...block) []byte {
	head := append([]byte{0xa2, 0x65}, "roots"...)
	head = appendLink(append(head, 0x81), root)
	head = append(append(head, 0x67), "version"...)
	head = append(head, 1)
	b = binary.AppendUvarint(b, uint64(len(head)))
	b = append(b, head...)
	for _, blk := range blocks {
		b = appendBlock(b, blk)
	}
	return b
}

func appendBlock(b []byte, blk block) []byte {
	b = binary.AppendUvarint(b, uint64(blk.cid.ByteLen()+len(blk.data)))
	b = append(b, blk.cid.Bytes()...)
	return append(b, blk.data...)
}
