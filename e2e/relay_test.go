package e2e

import (
	"path/filepath"
	"testing"
	"time"
)

// startRelay starts indigo's relay in front of the PDSes, and returns its URL.
func startRelay(b *bench, box *box) string {
	b.t.Helper()
	bin := peer(b.t, "github.com/bluesky-social/indigo/cmd/relay")
	address, metrics := freeAddress(b.t), freeAddress(b.t)
	serve := func() *process {
		p := b.start("relay", environment("DATABASE_URL=sqlite://"+b.path("relay.sqlite"), "RELAY_PERSIST_DIR="+b.path("relay"),
			"RELAY_PLC_HOST="+box.PLC, "RELAY_API_BIND="+address, "RELAY_METRICS_LISTEN="+metrics,
			"RELAY_ADMIN_PASSWORD=admin", "RELAY_ALLOW_INSECURE_HOSTS=true"), bin, "serve")
		waitFor(b.t, "the relay answers", "http://"+address+"/xrpc/_health")
		return p
	}
	serve().stop() // makes its tables
	dir, node := installPDS(b.t)
	args := []string{filepath.Join(dir, "hosts.mjs"), b.path("relay.sqlite")}
	for _, h := range box.Hosts {
		args = append(args, "localhost:"+h.port())
	}
	run(b.t, b.dir, node, args...)
	serve()
	return "http://" + address
}

// startTap starts indigo's Tap behind a relay, following all repositories, and
// returns its address.
func startTap(b *bench, box *box, relay string) string {
	b.t.Helper()
	bin := peer(b.t, "github.com/bluesky-social/indigo/cmd/tap")
	address := freeAddress(b.t)
	b.start("tap", environment("TAP_RELAY_URL="+relay, "TAP_PLC_URL="+box.PLC, "TAP_DATABASE_URL=sqlite://"+b.path("tap.sqlite"),
		"TAP_BIND="+address, "TAP_FULL_NETWORK=true"), bin, "run")
	waitFor(b.t, "Tap answers", "http://"+address+"/health")
	return address
}

func waitFor(t testing.TB, what, url string) {
	t.Helper()
	eventually(t, time.Minute, what, func() (bool, string) {
		_, err := get(t.Context(), url)
		if err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}

// TestRelay follows the PDSes through a relay, which alone can tell that an
// account's former PDS has no say any more.
func TestRelay(t *testing.T) {
	b := newBench(t)
	box := startBox(b)
	relay := startRelay(b, box)
	s := newScene(box)
	a := newAtview(b, box.PLC, s.handles(), "--source", "ws"+relay[len("http"):]+"/xrpc/com.atproto.sync.subscribeRepos")
	s.play(t, a, append(s.acts(), s.migration()...))
	a.verifyBoth(t)
}

// TestTap follows the PDSes through a relay and Tap, which reads the history
// itself. Tap sends on that a handle has changed if it can verify the new one, by
// HTTPS, which there is none of here.
func TestTap(t *testing.T) {
	b := newBench(t)
	box := startBox(b)
	relay := startRelay(b, box)
	s := newScene(box)
	s.handlesUntold = true
	a := newAtview(b, box.PLC, s.handles(), "--source", "tap+ws://"+startTap(b, box, relay)+"/channel")
	s.play(t, a, append(s.acts(), s.migration()...))
	a.verifyBoth(t)
}
