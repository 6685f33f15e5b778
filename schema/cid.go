package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/valyala/fastjson"
)

// NoCBORError says which part of a record has no DAG-CBOR form, so that the
// record has no CID.
type NoCBORError struct {
	Path   string // `embed.images[2].alt`; "" for the record as a whole
	Reason string
}

func (e *NoCBORError) Error() string {
	if e.Path == "" {
		return "no DAG-CBOR form: " + e.Reason
	}
	return "no DAG-CBOR form: " + e.Path + ": " + e.Reason
}

// CID computes the CID (version 1, DAG-CBOR, SHA-256) of a record given in the
// JSON of atproto, whatever the order of its properties; see
// https://atproto.com/specs/data-model. The only error is a [*NoCBORError]: for
// fractions, text that is not Unicode, a property given twice, `$link` and
// `$bytes` that are none, and for what is no JSON object.
func CID(record []byte) (string, error) {
	if err := unicodeOnly(record); err != nil {
		return "", err
	}
	parser := parsers.Get()
	defer parsers.Put(parser)
	v, err := parser.ParseBytes(record)
	if err != nil {
		return "", &NoCBORError{Reason: "not JSON: " + clip(err.Error(), 200)}
	}
	if v.Type() != fastjson.TypeObject {
		return "", &NoCBORError{Reason: "JSON " + v.Type().String() + " in place of an object"}
	}
	block, err := appendCBOR(make([]byte, 0, len(record)), v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(block)
	// Version 1, the codec dag-cbor, and a multihash: sha2-256 of 32 bytes.
	id := append(make([]byte, 0, 36), 0x01, 0x71, 0x12, 0x20)
	return "b" + cidEncoding.EncodeToString(append(id, sum[:]...)), nil
}

var cidEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// unicodeOnly refuses what the parser would take as it is: half a surrogate pair
// and bytes that are no UTF-8. U+0000 is text to CBOR, unlike to Postgres.
func unicodeOnly(record []byte) error {
	if needsRepair(record) && needsRepair(bytes.ReplaceAll(record, []byte(`\u0000`), []byte(`\u0001`))) {
		return &NoCBORError{Reason: "text is not Unicode"}
	}
	return nil
}

// The major types of CBOR (RFC 8949, section 3.1).
const (
	cborUint  = 0 << 5
	cborNeg   = 1 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
	cborTag   = 6 << 5

	cborFalse = 0xf4
	cborTrue  = 0xf5
	cborNull  = 0xf6

	tagCID = 42
)

// appendHead writes a major type and its argument in the shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendCBOR(b []byte, v *fastjson.Value) ([]byte, error) {
	switch v.Type() {
	case fastjson.TypeNull:
		return append(b, cborNull), nil
	case fastjson.TypeTrue:
		return append(b, cborTrue), nil
	case fastjson.TypeFalse:
		return append(b, cborFalse), nil
	case fastjson.TypeString:
		s := v.GetStringBytes()
		return append(appendHead(b, cborText, uint64(len(s))), s...), nil
	case fastjson.TypeNumber:
		return appendNumber(b, v)
	case fastjson.TypeArray:
		return appendArray(b, v.GetArray())
	}
	obj := v.GetObject()
	if obj.Len() == 1 {
		if link := obj.Get("$link"); link != nil {
			return appendLink(b, link)
		}
		if text := obj.Get("$bytes"); text != nil {
			return appendBytes(b, text)
		}
	} else if name := reservedProperty(obj); name != "" {
		return nil, &NoCBORError{Reason: "object with " + name + " has other properties"}
	}
	return appendMap(b, obj)
}

// reservedProperty finds a property that only an object of its own may have.
func reservedProperty(obj *fastjson.Object) string {
	for _, name := range []string{"$link", "$bytes"} {
		if obj.Get(name) != nil {
			return name
		}
	}
	return ""
}

func appendArray(b []byte, items []*fastjson.Value) ([]byte, error) {
	b = appendHead(b, cborArray, uint64(len(items)))
	for i, item := range items {
		var err error
		if b, err = appendCBOR(b, item); err != nil {
			return nil, within(err, "["+strconv.Itoa(i)+"]")
		}
	}
	return b, nil
}

// appendMap writes the properties in the order of DAG-CBOR: shorter names first,
// then by their bytes.
func appendMap(b []byte, obj *fastjson.Object) ([]byte, error) {
	type property struct {
		name  string
		value *fastjson.Value
	}
	properties := make([]property, 0, 16)
	obj.Visit(func(name []byte, v *fastjson.Value) {
		properties = append(properties, property{string(name), v})
	})
	slices.SortFunc(properties, func(a, b property) int {
		if len(a.name) != len(b.name) {
			return len(a.name) - len(b.name)
		}
		return strings.Compare(a.name, b.name)
	})
	b = appendHead(b, cborMap, uint64(len(properties)))
	for i, p := range properties {
		if i > 0 && p.name == properties[i-1].name {
			return nil, within(&NoCBORError{Reason: "property is given twice"}, p.name)
		}
		b = append(appendHead(b, cborText, uint64(len(p.name))), p.name...)
		var err error
		if b, err = appendCBOR(b, p.value); err != nil {
			return nil, within(err, p.name)
		}
	}
	return b, nil
}

// appendLink writes a CID as DAG-CBOR has it: tagged bytes behind a zero, see
// https://ipld.io/specs/codecs/dag-cbor/spec/#links.
func appendLink(b []byte, v *fastjson.Value) ([]byte, error) {
	c, err := cid.Decode(string(v.GetStringBytes()))
	if err != nil {
		return nil, &NoCBORError{Path: "$link", Reason: "not a CID"}
	}
	raw := c.Bytes()
	b = appendHead(b, cborTag, tagCID)
	b = appendHead(b, cborBytes, uint64(len(raw)+1))
	return append(append(b, 0), raw...), nil
}

// appendBytes takes base64 with padding, too: the bytes that it stands for are
// not in doubt.
func appendBytes(b []byte, v *fastjson.Value) ([]byte, error) {
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(string(v.GetStringBytes()), "="))
	if err != nil || v.Type() != fastjson.TypeString {
		return nil, &NoCBORError{Path: "$bytes", Reason: "not base64"}
	}
	return append(appendHead(b, cborBytes, uint64(len(raw))), raw...), nil
}

func appendNumber(b []byte, v *fastjson.Value) ([]byte, error) {
	token := v.MarshalTo(nil)
	negative, n, ok := wholeNumber(string(token))
	switch {
	case !ok:
		return nil, &NoCBORError{Reason: "number is not an integer of 64 bits: " + clip(string(token), 40)}
	case negative:
		return appendHead(b, cborNeg, n-1), nil
	}
	return appendHead(b, cborUint, n), nil
}

// wholeNumber reads a JSON number exactly, if it is whole and CBOR can hold it.
// `1.0` and `10e-1` are 1: JSON has one kind of number, and jsonb keeps the
// zeros behind a point.
func wholeNumber(token string) (negative bool, n uint64, ok bool) {
	token, negative = strings.CutPrefix(token, "-")
	mantissa, exponent := token, 0
	if i := strings.IndexAny(token, "eE"); i >= 0 {
		var err error
		mantissa = token[:i]
		if exponent, err = strconv.Atoi(token[i+1:]); err != nil {
			return false, 0, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return false, 0, whole != ""
	}
	exponent -= len(fraction)
	significant := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(significant)
	// 2^64 has twenty digits.
	if exponent < 0 || exponent > 20 {
		return false, 0, false
	}
	n, err := strconv.ParseUint(significant, 10, 64)
	for ; err == nil && exponent > 0; exponent-- {
		var over uint64
		if over, n = bits.Mul64(n, 10); over > 0 {
			return false, 0, false
		}
	}
	return negative, n, err == nil
}

// within puts a step before the path of a [NoCBORError].
func within(err error, step string) error {
	var e *NoCBORError
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", step, err)
	}
	path := clip(step, 100)
	if e.Path != "" && e.Path[0] != '[' {
		path += "."
	}
	return &NoCBORError{Path: clip(path+e.Path, 500), Reason: e.Reason}
}
