package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"
)

// network is Bluesky's simulated network (directory, PDS and relay in one) with
// Bluesky's Jetstream in front of it.
type network struct {
	*bench
	simulator, jetstream       *process
	simulatorURL, jetstreamURL string
	simulatorBin, jetstreamBin string
}

// startNetwork starts both with a history, and waits until Jetstream serves.
func startNetwork(b *bench) *network {
	b.t.Helper()
	n := &network{
		bench:        b,
		simulatorBin: peer(b.t, "github.com/bluesky-social/jetstream/cmd/simulator"),
		jetstreamBin: peer(b.t, "github.com/bluesky-social/jetstream/cmd/jetstream"),
		simulatorURL: "http://" + freeAddress(b.t),
		jetstreamURL: "http://" + freeAddress(b.t),
	}
	n.simulate(float64(*rateFlag))
	n.launchJetstream()
	return n
}

// simulate starts the simulated network on the data that it has.
func (n *network) simulate(commitsPerSecond float64) {
	n.t.Helper()
	address := n.simulatorURL[len("http://"):]
	n.simulator = n.start("simulator", environment(), n.simulatorBin, "--log-format", "text", "serve", "--addr", address,
		"--public-url", n.simulatorURL, "--data-dir", n.path("simulator"), "--seed", strconv.FormatUint(*seedFlag, 10),
		// 1,000 records of history: Jetstream reads it within a second.
		"--accounts", "50", "--initial-records-per-account", "20",
		// What a restarted Jetstream asks for again must be there.
		"--firehose-history", "1000000",
		"--commits-per-sec", strconv.FormatFloat(commitsPerSecond, 'f', -1, 64))
	eventually(n.t, 30*time.Second, "the simulated network answers", func() (bool, string) {
		_, err := n.seq(n.t.Context())
		return err == nil, fmt.Sprint(err)
	})
}

// seq counts the events that the network has made.
func (n *network) seq(ctx context.Context) (int64, error) {
	body, err := get(ctx, n.simulatorURL+"/xrpc/com.atproto.sync.listHosts")
	if err != nil {
		return 0, err
	}
	var out struct{ Hosts []struct{ Seq int64 } }
	if err := json.Unmarshal(body, &out); err != nil {
		return 0, err
	}
	if len(out.Hosts) != 1 {
		return 0, fmt.Errorf("%d hosts in %s", len(out.Hosts), body)
	}
	return out.Hosts[0].Seq, nil
}

// advance waits until the network has made some more events.
func (n *network) advance(events int64) (seq int64) {
	n.t.Helper()
	goal := int64(-1)
	// On a machine that is busy the simulator makes a tenth of the rate.
	eventually(n.t, 5*time.Minute, "the network goes on", func() (bool, string) {
		now, err := n.seq(n.t.Context())
		if err != nil {
			return false, err.Error()
		}
		if goal < 0 {
			goal = now + events
		}
		seq = now
		return now >= goal, fmt.Sprintf("event %d of %d", now, goal)
	})
	return seq
}

// quiet lets the network write no more. The simulator takes no rate of nothing:
// this one is an event in months.
func (n *network) quiet() {
	n.t.Helper()
	n.simulator.stop()
	n.simulate(0.0000001)
}

func (n *network) launchJetstream() {
	n.t.Helper()
	n.jetstream = n.start("jetstream", environment("JETSTREAM_RELAY_URL="+n.simulatorURL, "JETSTREAM_PLC_URL="+n.simulatorURL,
		"JETSTREAM_SKIP_MERGE_DISCOVERY=true"),
		n.jetstreamBin, "--log-format", "text", "serve", "--addr", n.jetstreamURL[len("http://"):], "--data-dir", n.path("jetstream"))
	eventually(n.t, time.Minute, "Jetstream serves", func() (bool, string) {
		req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.jetstreamURL+"/subscribe", nil)
		if err != nil {
			return false, err.Error()
		}
		resp, err := client.Do(req)
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		// Until it has read all repositories it answers 503.
		return resp.StatusCode == http.StatusUpgradeRequired, resp.Status
	})
}

// flags are those of an atview that reads this network.
func (n *network) flags() []string {
	return []string{"--source", "ws" + n.jetstreamURL[len("http"):] + "/xrpc/network.bsky.jetstream.subscribeEvents", "--jetstream-archive",
		"--relay", n.simulatorURL}
}

// truth reads every repository.
func (n *network) truth() records {
	n.t.Helper()
	all, err := readRepos(n.t.Context(), n.simulatorURL, n.simulatorURL)
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// TestJetstreamKilled kills Jetstream and atview at random moments while the network
// writes. A Jetstream that is killed forgets what it has already served, and may
// give its numbers to other events (https://github.com/bluesky-social/jetstream/issues/345);
// a repair of its own that it then makes may get lost as well. So what comes out
// of the stream may be short of a few records. What atview promises is that
// `atview verify --repair`, which reads the repositories themselves, finds all of
// it, and that nothing is lost that was not lost before it came to atview.
func TestJetstreamKilled(t *testing.T) {
	b := newBench(t)
	n := startNetwork(b)
	a := newAtview(b, n.simulatorURL, nil, n.flags()...)

	rng := rand.New(rand.NewPCG(*seedFlag, 0xe2e))
	for i := range 2 * *killsFlag {
		// Both have worked since the last kill: the network wrote, and what it
		// wrote has come to the tables.
		began := n.advance(0)
		before := folded(t, a, -1)
		n.advance(50 + rng.Int64N(int64(4**rateFlag)))
		after := folded(t, a, before)
		var down int64
		if victim := (i + int(*seedFlag)) % 2; victim == 0 {
			n.jetstream.kill()
			down = n.advance(1 + rng.Int64N(int64(*rateFlag)))
			n.launchJetstream()
			t.Logf("kill %d: Jetstream, at event %d of the network (%d since the last), %d folded since", i+1, down, down-began, after-before)
		} else {
			a.kill()
			down = n.advance(1 + rng.Int64N(int64(*rateFlag)))
			a.launch()
			t.Logf("kill %d: atview, at event %d of the network (%d since the last), %d folded since", i+1, down, down-began, after-before)
		}
		if now := n.advance(0); now <= began || after <= before {
			t.Errorf("kill %d was in a standstill: the network from %d to %d, the tables from %d to %d", i+1, began, now, before, after)
		}
	}
	before := folded(t, a, -1)
	n.advance(int64(*rateFlag))
	folded(t, a, before)
	n.quiet()
	n.repair(t, a)
}

// TestJetstreamReplaced takes the archive from Jetstream while it is down, as if its
// disk had failed. It reads all repositories anew and begins to count at 1. What
// was deleted meanwhile, no stream will ever say: only the repositories tell.
func TestJetstreamReplaced(t *testing.T) {
	b := newBench(t)
	n := startNetwork(b)
	a := newAtview(b, n.simulatorURL, nil, n.flags()...)

	before := folded(t, a, -1)
	n.advance(int64(2 * *rateFlag))
	before = folded(t, a, before)
	n.jetstream.kill()
	if err := os.RemoveAll(n.path("jetstream")); err != nil {
		t.Fatal(err)
	}
	n.advance(int64(5 * *rateFlag))
	n.launchJetstream()
	n.advance(int64(2 * *rateFlag))
	folded(t, a, before)
	n.quiet()
	if d := n.repair(t, a); d.count() == 0 {
		t.Error("nothing needed the repair, so this has tested nothing")
	}
}

// repair compares the tables with the repositories, has atview mend what differs,
// and expects that nothing does any more.
func (n *network) repair(t testing.TB, a *atview) difference {
	t.Helper()
	truth := n.truth()
	d := settle(t, a, truth)
	t.Logf("before the repair: %d records in the repositories, of which in the tables %s", len(truth), d)
	t.Logf("verify --all-repos --repair says: %s", lastLines(a.verify(t, "--all-repos", "--repair"), 3))
	a.expect(t, time.Minute, func() (records, error) { return truth, nil })
	t.Logf("verify says: %s", lastLines(a.verify(t), 2))
	t.Logf("after the repair: equal; %d records of %d needed it", d.count(), len(truth))
	return d
}

// folded waits until more is folded than there was, and says how much.
func folded(t testing.TB, a *atview, than int64) (now int64) {
	t.Helper()
	eventually(t, time.Minute, "atview folds", func() (bool, string) {
		var err error
		if now, err = a.folded(); err != nil {
			return false, err.Error()
		}
		return now > than, fmt.Sprintf("%d messages of the log, as before", now)
	})
	return now
}

// settle waits until the tables equal the repositories, or until nothing has
// come to them for some time, and gives the difference that is left.
func settle(t testing.TB, a *atview, truth records) (d difference) {
	t.Helper()
	// The longest pause that atview or Jetstream makes between two attempts to
	// connect is below this.
	const standstill = 15 * time.Second
	last, since := int64(-1), time.Now()
	eventually(t, 3*time.Minute, "the tables come to rest", func() (bool, string) {
		now, err := a.folded()
		if err != nil {
			return false, err.Error()
		}
		if now != last {
			last, since = now, time.Now()
			return false, fmt.Sprintf("%d folded", now)
		}
		shown, _, err := a.records()
		if err != nil {
			return false, err.Error()
		}
		d = compare(truth, shown)
		return d.count() == 0 || time.Since(since) > standstill, d.String()
	})
	return d
}
