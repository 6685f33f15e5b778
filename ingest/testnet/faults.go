package testnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Fault is something that can go wrong. Its text is for messages.
type Fault string

// Faults of the relay's stream. The first three are about what the relay takes
// in, so that no cursor brings it back; the others are about one connection.
const (
	// RelayDrop loses a #commit: the repository's chain has a gap.
	RelayDrop Fault = "relay drops a commit"
	// RelayTamper has a byte flipped in a #commit's blocks.
	RelayTamper Fault = "relay tampers with a commit"
	// RelayForge puts a #commit before the honest one, with a record that does not
	// exist, in proper form but signed by somebody else.
	RelayForge Fault = "relay forges a commit"

	// RelayDuplicate sends a frame twice.
	RelayDuplicate Fault = "relay repeats a frame"
	// RelayReorder sends two neighbours of different repositories the wrong way round.
	RelayReorder Fault = "relay swaps two frames"
	// RelayReplay goes back [Config.ReplayFrames] and sends them again. At a rate of
	// more than one in as many frames the stream gets nowhere.
	RelayReplay Fault = "relay goes back"
	// RelayRegress sends a frame with a sequence number that is far too low.
	RelayRegress Fault = "relay sends a low seq"
	// RelayGarbage sends a frame that is none before the next; what is wrong with it
	// changes each time.
	RelayGarbage Fault = "relay sends garbage"
	// RelayCut ends the connection without a goodbye, in the middle of a frame.
	RelayCut Fault = "relay cuts the connection"
	// RelayError sends the error frame ConsumerTooSlow and closes.
	RelayError Fault = "relay sends an error frame"
	// RelaySlow waits for [Config.Slow] before a frame.
	RelaySlow Fault = "relay is slow"
	// RelayRefuse answers 503 in place of a websocket.
	RelayRefuse Fault = "relay refuses a connection"
	// RelayFuture calls a cursor one of the future, whatever it is.
	RelayFuture Fault = "relay says FutureCursor"
	// RelayOutdated says that it has forgotten what the cursor is about, and begins
	// with what happens now.
	RelayOutdated Fault = "relay says OutdatedCursor"
)

// Faults of the relay's listReposByCollection.
const (
	// ListFail answers a page with 503.
	ListFail Fault = "listReposByCollection answers 503"
	// ListRepeat answers with a page and the cursor that led there.
	ListRepeat Fault = "listReposByCollection does not get on"
	// ListBroken answers with half of a page.
	ListBroken Fault = "listReposByCollection answers broken JSON"
)

// Faults of a PDS. These are about any of its answers but the stream.
const (
	PDSRateLimit Fault = "PDS answers 429" // with Retry-After: [Config.RetryAfter]
	PDSBusy      Fault = "PDS answers 503"
	PDSError     Fault = "PDS answers 500"
	PDSSlow      Fault = "PDS is slow" // by [Config.Slow]
	PDSCut       Fault = "PDS cuts the connection"
)

// Faults of a PDS's getRepo.
const (
	// RepoEndless goes on after the repository with one block after the other.
	RepoEndless Fault = "repository without end"
	// RepoHuge says that a TiB will follow.
	RepoHuge Fault = "repository with huge Content-Length"
	// RepoTrickle sends a byte each [Config.Slow].
	RepoTrickle Fault = "repository trickles"
	// RepoTruncated ends in the middle of a block, and the answer is well-formed.
	RepoTruncated Fault = "repository ends early"
	// RepoNoNode leaves out a node of the tree, RepoNoRecord a record's block.
	RepoNoNode   Fault = "repository lacks a node"
	RepoNoRecord Fault = "repository lacks a record"
	// RepoFlip flips a bit of a block.
	RepoFlip Fault = "repository with a flipped bit"
	// RepoPrefix has a properly signed tree whose first key shares 50 bytes with the
	// key before it, which there is not.
	RepoPrefix Fault = "repository with impossible prefix"
	// RepoOrder has a properly signed tree whose keys are not in order.
	RepoOrder Fault = "repository out of order"
	// RepoWrongKey is signed by somebody else.
	RepoWrongKey Fault = "repository signed with a wrong key"
	// RepoOther is that of another DID.
	RepoOther Fault = "repository of another DID"
	// RepoStale is the repository before its last commit.
	RepoStale Fault = "repository is stale"
	// RepoCut ends the connection in the middle.
	RepoCut Fault = "repository is cut off"
)

// Faults of the PLC directory.
const (
	PLCFail  Fault = "PLC answers 500"
	PLCLimit Fault = "PLC answers 429"
	PLCSlow  Fault = "PLC is slow" // by [Config.Slow]
	PLCGone  Fault = "PLC answers 404"
	// PLCStale answers with the document before the last change.
	PLCStale Fault = "PLC is stale"
)

// Faults of the Jetstream, on both wires.
const (
	// JetstreamDrop loses an event of a commit for good.
	JetstreamDrop Fault = "Jetstream drops an event"
	// JetstreamCut ends the connection without a goodbye.
	JetstreamCut Fault = "Jetstream cuts the connection"
	// JetstreamReplay is as RelayReplay.
	JetstreamReplay Fault = "Jetstream goes back"
	// JetstreamRefuse answers 503 in place of a websocket.
	JetstreamRefuse Fault = "Jetstream refuses a connection"
	// JetstreamGarbage sends a frame that is no event.
	JetstreamGarbage Fault = "Jetstream sends garbage"
)

// Rule is when a fault happens. The zero value is never.
type Rule struct {
	// Times is how often at most; 0 means as often as Rate has it.
	Times int
	// Rate is the probability each time that it can; 0 means always, up to Times.
	Rate float64
	// DID restricts it to what is about one repository; empty means all.
	DID syntax.DID
}

// Faults is what goes wrong in a network. Nothing does unless asked to.
type Faults struct {
	mu      sync.Mutex
	rng     *rand.Rand
	rules   map[Fault]Rule
	fired   map[Fault]int
	changed chan struct{} // closed when fired changes
}

func newFaults(seed uint64) *Faults {
	return &Faults{
		rng:     rand.New(rand.NewPCG(seed, 0x6661756c7473)),
		rules:   map[Fault]Rule{},
		fired:   map[Fault]int{},
		changed: make(chan struct{}),
	}
}

// FailNext makes a fault happen the next n times that it can.
func (f *Faults) FailNext(fault Fault, n int) { f.Set(fault, Rule{Times: n}) }

// Set replaces a fault's rule.
func (f *Faults) Set(fault Fault, rule Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules[fault] = rule
}

// Off switches all faults off. The counters stay.
func (f *Faults) Off() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.rules)
}

// Fired is how often a fault has happened.
func (f *Faults) Fired(fault Fault) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired[fault]
}

// Idle are the faults that were switched on, still are, and never happened.
func (f *Faults) Idle() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var idle []Fault
	for fault, rule := range f.rules {
		if rule != (Rule{}) && f.fired[fault] == 0 {
			idle = append(idle, fault)
		}
	}
	slices.Sort(idle)
	return idle
}

// Wait returns when a fault has happened n times in all.
func (f *Faults) Wait(ctx context.Context, fault Fault, n int) error {
	for {
		f.mu.Lock()
		fired, changed := f.fired[fault], f.changed
		f.mu.Unlock()
		if fired >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %d of %d times: %w", fault, fired, n, ctx.Err())
		}
	}
}

// hit reports whether a fault happens, now that it can, and counts it.
func (f *Faults) hit(fault Fault, did syntax.DID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	rule := f.rules[fault]
	if rule == (Rule{}) || rule.DID != "" && rule.DID != did {
		return false
	}
	if rule.Times == 0 && rule.Rate == 0 { // of one DID, always
		rule.Rate = 1
	}
	if rule.Rate > 0 && f.rng.Float64() >= rule.Rate {
		return false
	}
	if rule.Times > 0 {
		if rule.Times--; rule.Times == 0 {
			delete(f.rules, fault)
		} else {
			f.rules[fault] = rule
		}
	}
	f.fired[fault]++
	close(f.changed)
	f.changed = make(chan struct{})
	return true
}
