package firehose

import (
	"testing"

	"github.com/atview/atview/ingest/identity"
)

// RealHost serves real frames to tests of the package from outside.
type RealHost struct {
	h      *host
	frames []numbered
	// Directory has the identities of all who signed.
	Directory identity.Directory
}

// StartRealHost starts a host that has nothing yet.
func StartRealHost(t testing.TB) *RealHost {
	frames, dir := realFrames(t)
	return &RealHost{startHost(t, nil), frames, dir}
}

// URL is what a client is given.
func (r *RealHost) URL() string { return r.h.url() }

// Serve adds the next n frames and returns the number of the last.
func (r *RealHost) Serve(n int) int64 {
	r.h.append(r.frames[:n]...)
	last := r.frames[n-1].seq
	r.frames = r.frames[n:]
	return last
}

// Asked returns the cursor that connection n asked with.
func (r *RealHost) Asked(t testing.TB, n int) string { return r.h.request(t, n).Get("cursor") }
