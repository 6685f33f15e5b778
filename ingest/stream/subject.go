package stream

import (
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Partition returns which of n partitions holds the events of a repository:
// FNV-1a with 64 bits over the DID's bytes, its halves joined by xor, modulo n.
//
//	h = 14695981039346656037
//	for each byte b of the DID: h = (h xor b) * 1099511628211   (modulo 2^64)
//	partition = ((h xor (h >> 32)) mod 2^32) mod n
//
// It never changes: a log is bound to it.
func Partition(did syntax.DID, n int) int {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(did) {
		h = (h ^ uint64(did[i])) * prime
	}
	// Joining the halves: the low bits of an FNV hash alone depend on the low bits
	// of the input alone.
	return int(uint32(h^h>>32) % uint32(n))
}

// unplaced is the partition of bytes that name no repository.
func unplaced(data []byte, n int) int {
	h := fnv.New64a()
	h.Write(data)
	return int(h.Sum64() % uint64(n))
}

const (
	tokenEvents = ".ev."
	tokenCursor = ".cursor."
	tokenTrim   = ".trim."
	// tokenReject and the other kinds stand behind "_", which begins no NSID.
	tokenReject = "._.reject"

	// trimSuffix behind the log's name is the stream of its trims.
	trimSuffix = "_trim"
)

func (l *Log) subject(partition int, ev *Event) string {
	var b [128]byte
	s := append(b[:0], l.prefix...)
	s = strconv.AppendInt(s, int64(partition), 10)
	if ev.Kind == KindCommit {
		s = append(s, '.')
		s = append(s, ev.Commit.Collection...)
	} else {
		s = append(s, "._."...)
		s = append(s, ev.Kind...)
	}
	return string(s)
}

func (l *Log) rejectSubject(partition int) string {
	return l.prefix + strconv.Itoa(partition) + tokenReject
}

func (l *Log) partitionSubjects(partition int) string {
	return l.prefix + strconv.Itoa(partition) + ".>"
}

func (l *Log) cursorSubject(source string) string {
	return l.name + tokenCursor + sourceToken(source)
}

// sourceToken makes a subject token of a source's name: what a token cannot hold
// becomes "_", and a hash keeps two such names apart.
func sourceToken(source string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, source)
	if clean == source && source != "" {
		return source
	}
	h := fnv.New64a()
	h.Write([]byte(source))
	return clean + "-" + strconv.FormatUint(h.Sum64(), 36)
}
