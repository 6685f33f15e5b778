package simulate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// A record is made as a value of the data model: nil, bool, int64, string,
// link, octets, []any or object. So its JSON and its CID come from the same
// thing, without a detour over maps; see https://atproto.com/specs/data-model.
type (
	object []member // sorted by key
	member struct {
		key   string
		value any
	}
	link   string // a CID
	octets []byte
)

func (o object) get(key string) any {
	if i, found := o.find(key); found {
		return o[i].value
	}
	return nil
}

func (o *object) set(key string, v any) {
	i, found := o.find(key)
	if !found {
		*o = slices.Insert(*o, i, member{key: key})
	}
	(*o)[i].value = v
}

func (o *object) unset(key string) {
	if i, found := o.find(key); found {
		*o = slices.Delete(*o, i, i+1)
	}
}

func (o object) find(key string) (int, bool) {
	return slices.BinarySearchFunc(o, key, func(m member, key string) int { return cmp.Compare(m.key, key) })
}

// appendJSON appends v as JSON; see
// https://atproto.com/specs/data-model#json-encoding.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case string:
		return appendString(b, v)
	case link:
		b = append(b, `{"$link":`...)
		b = appendString(b, string(v))
		return append(b, '}')
	case octets:
		b = append(b, `{"$bytes":"`...)
		b = base64.RawStdEncoding.AppendEncode(b, v)
		return append(b, `"}`...)
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, item)
		}
		return append(b, ']')
	case object:
		b = append(b, '{')
		for i, m := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, m.key)
			b = append(b, ':')
			b = appendJSON(b, m.value)
		}
		return append(b, '}')
	}
	panic(fmt.Sprintf("simulate: %T is no value of the data model", v))
}

// appendString appends s as a JSON string. Text without anything to escape, even
// beyond ASCII, takes the short way.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c == 0x7f {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	if !utf8.ValidString(s) {
		panic("simulate: text is not UTF-8")
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendCBOR appends v as DAG-CBOR: definite lengths, shortest heads, keys by
// length and then by bytes, links as tag 42; see
// https://ipld.io/specs/codecs/dag-cbor/spec/.
func appendCBOR(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0xf6)
	case bool:
		if v {
			return append(b, 0xf5)
		}
		return append(b, 0xf4)
	case int64:
		if v < 0 {
			return appendHead(b, 1, uint64(-(v + 1)))
		}
		return appendHead(b, 0, uint64(v))
	case string:
		b = appendHead(b, 3, uint64(len(v)))
		return append(b, v...)
	case octets:
		b = appendHead(b, 2, uint64(len(v)))
		return append(b, v...)
	case link:
		c, err := cid.Decode(string(v))
		if err != nil {
			panic(fmt.Sprintf("simulate: link %q: %v", v, err))
		}
		b = appendHead(b, 6, 42)
		b = appendHead(b, 2, uint64(c.ByteLen()+1))
		b = append(b, 0) // the multibase prefix of raw bytes
		return append(b, c.Bytes()...)
	case []any:
		b = appendHead(b, 4, uint64(len(v)))
		for _, item := range v {
			b = appendCBOR(b, item)
		}
		return b
	case object:
		b = appendHead(b, 5, uint64(len(v)))
		sorted := slices.Clone(v)
		slices.SortFunc(sorted, func(a, b member) int {
			return cmp.Or(cmp.Compare(len(a.key), len(b.key)), cmp.Compare(a.key, b.key))
		})
		for _, m := range sorted {
			b = appendHead(b, 3, uint64(len(m.key)))
			b = append(b, m.key...)
			b = appendCBOR(b, m.value)
		}
		return b
	}
	panic(fmt.Sprintf("simulate: %T is no value of the data model", v))
}

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

// recordCID is the CID of a record whose DAG-CBOR is given.
func recordCID(cbor []byte) string { return cidOf(cid.DagCBOR, cbor) }

// blobCID is the CID of a blob's bytes.
func blobCID(data []byte) string { return cidOf(cid.Raw, data) }

func cidOf(codec uint64, data []byte) string {
	sum := sha256.Sum256(data)
	hash, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // the code is known and the length is right
	}
	return cid.NewCidV1(codec, hash).String()
}

// readValue takes a record that appendJSON has written apart again.
func readValue(data []byte) (any, error) {
	var v any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	return fromJSON(v)
}

func fromJSON(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return v.Int64()
	case []any:
		for i := range v {
			item, err := fromJSON(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = item
		}
		return v, nil
	case map[string]any:
		if cid, ok := v["$link"].(string); ok && len(v) == 1 {
			return link(cid), nil
		}
		if text, ok := v["$bytes"].(string); ok && len(v) == 1 {
			raw, err := base64.RawStdEncoding.DecodeString(text)
			return octets(raw), err
		}
		o := make(object, 0, len(v))
		for key, inner := range v {
			value, err := fromJSON(inner)
			if err != nil {
				return nil, err
			}
			o = append(o, member{key, value})
		}
		slices.SortFunc(o, func(a, b member) int { return cmp.Compare(a.key, b.key) })
		return o, nil
	}
	return v, nil
}
