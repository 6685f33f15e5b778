package testnet

import (
	"fmt"
	"testing"
)

// record is about as long as a real post.
func benchRecord(i int) string {
	return fmt.Sprintf(`{"text":"record %d, with a text about as long as people write them, so that it measures something","createdAt":"2026-01-01T00:00:00Z","langs":["en"],"reply":{"root":{"uri":"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/com.example.post/3mbd3546iyk23","cid":"bafyreiaync3gnhdbuflvcqx3i3eabjwezozf4ydbmrihkelwn6dkxyvx2y"}}}`, i)
}

// BenchmarkAccounts makes accounts with 30 records each.
func BenchmarkAccounts(b *testing.B) {
	n := start(b, Config{})
	for b.Loop() {
		ops := make([]Op, 30)
		for i := range ops {
			ops[i] = Create(posts, "", benchRecord(i))
		}
		n.AddAccount(Spec{Records: ops})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "repos/s")
}

// BenchmarkCommits has 1,000 accounts commit one record each, in turn.
func BenchmarkCommits(b *testing.B) {
	n := start(b, Config{})
	accounts := make([]*Account, 1000)
	for i := range accounts {
		accounts[i] = n.NewAccount(0)
	}
	i := 0
	for b.Loop() {
		accounts[i%len(accounts)].Commit(Create(posts, "", benchRecord(i)))
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkFirehose has one subscriber read the relay's backlog.
func BenchmarkFirehose(b *testing.B) {
	n := start(b, Config{})
	a := n.NewAccount(0)
	for i := range 5000 {
		a.Commit(Create(posts, "", benchRecord(i)))
	}
	frames := 0
	for b.Loop() {
		r := dial(b, n.Firehose()+"?cursor=0")
		for range n.RelaySeq() {
			if _, err := r.raw(); err != nil {
				b.Fatal(err)
			}
			frames++
		}
	}
	b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "frames/s")
}
