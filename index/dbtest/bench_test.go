package dbtest

import "testing"

// BenchmarkNew is what a test pays for its database: 22 ms on two idle cores,
// several times that when all packages are tested at once. Copying by file
// (STRATEGY file_copy), smaller buffers and less WAL made no difference.
func BenchmarkNew(b *testing.B) {
	New(b) // the start of the server is not what is measured
	for b.Loop() {
		New(b)
	}
}
