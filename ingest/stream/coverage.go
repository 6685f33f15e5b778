package stream

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Coverage names a set of collections, for [Sync.Coverage]: 32 hexadecimal
// digits, the same for the same set in whatever order. It is a hash, so that a
// name can never come to mean other collections; who needs to know them keeps
// them beside it.
func Coverage(collections []syntax.NSID) string {
	sorted := slices.Sorted(slices.Values(collections))
	h := sha256.New()
	for _, nsid := range slices.Compact(sorted) {
		h.Write([]byte(nsid))
		h.Write([]byte{'\n'})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
