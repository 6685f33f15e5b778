package identity

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// BenchmarkCacheMemory is what an identity in memory takes: 0.7 kB, most of which
// is the key.
func BenchmarkCacheMemory(b *testing.B) {
	private, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		b.Fatal(err)
	}
	public, err := private.PublicKey()
	if err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	const n = 20_000
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		c, err := NewCache(CacheConfig{Resolver: &Resolver{}})
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			key, err := atcrypto.ParsePublicBytesK256(public.Bytes())
			if err != nil {
				b.Fatal(err)
			}
			did := syntax.DID(fmt.Sprintf("did:plc:%024d", i))
			id := Identity{DID: did, PDS: fmt.Sprintf("https://host%d.example.com", i), Key: key, ResolvedAt: time.Now()}
			c.remember(did, entry{id: id, claimed: syntax.Handle(fmt.Sprintf("user%d.example.com", i)), read: true, asked: time.Now()})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/identity")
		runtime.KeepAlive(c)
	}
}
