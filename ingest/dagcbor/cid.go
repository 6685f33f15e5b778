package dagcbor

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"fmt"

	"github.com/ipfs/go-cid"
)

// cidPrefix is what the CIDs of records and of all else in a repository begin
// with: version 1, DAG-CBOR, SHA-256 of 32 bytes. See
// https://atproto.com/specs/data-model#link-and-cid-formats.
var cidPrefix = []byte{0x01, 0x71, 0x12, 0x20}

// rawPrefix is the same for blobs, which are of the codec "raw".
var rawPrefix = []byte{0x01, 0x55, 0x12, 0x20}

// base32Lower is RFC 4648 in lower case without padding; multibase calls it "b".
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// CID returns the CID of a block: version 1, DAG-CBOR, SHA-256, in base 32.
func CID(block []byte) string {
	return string(base32Lower.AppendEncode([]byte{'b'}, binaryCID(block)))
}

func binaryCID(block []byte) []byte {
	sum := sha256.Sum256(block)
	return append(bytes.Clone(cidPrefix), sum[:]...)
}

// CheckCID returns nil if claimed is the CID of the block, in whatever base. A CID
// of another codec or hash is none that a record can have, and an error, too.
func CheckCID(claimed string, block []byte) error {
	is := CID(block)
	if is == claimed {
		return nil
	}
	c, err := cid.Decode(claimed)
	if err != nil {
		return fmt.Errorf("CID %.100q: %w", claimed, err)
	}
	if !bytes.Equal(c.Bytes(), binaryCID(block)) {
		return fmt.Errorf("CID of the block is %s, not %.100s", is, claimed)
	}
	return nil
}

// appendCID appends the text of a CID that is given in bytes.
func appendCID(dst, b []byte) ([]byte, error) {
	if len(b) == 36 && (bytes.HasPrefix(b, cidPrefix) || bytes.HasPrefix(b, rawPrefix)) {
		return base32Lower.AppendEncode(append(dst, 'b'), b), nil
	}
	c, err := cid.Cast(b)
	if err != nil {
		return dst, fmt.Errorf("CID %.40x: %w", b, err)
	}
	return append(dst, c.String()...), nil
}
