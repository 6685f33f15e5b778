package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/coder/websocket"
)

func TestCursors(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	a := n.NewAccount(0)
	for range 10 {
		a.Commit(Create(posts, "", `{}`))
	}
	// From a cursor on, and then live.
	r := dial(t, n.Firehose()+"?cursor=8")
	for seq := int64(9); seq <= n.RelaySeq(); seq++ {
		if m := r.next(); m.seq != seq {
			t.Fatalf("seq %d, want %d", m.seq, seq)
		}
	}
	live := dial(t, n.Firehose())
	// The subscription is there once something that came after it arrives; whatever
	// arrives is the newest.
	a.Commit(Create(posts, "", `{}`))
	if m := r.next(); m.seq != n.RelaySeq() {
		t.Fatalf("live: %d, want %d", m.seq, n.RelaySeq())
	}
	if m := live.next(); m.seq < 15 {
		t.Fatalf("without a cursor: %d", m.seq)
	}
	// Of the future.
	r = dial(t, n.Firehose()+"?cursor=1000")
	if m := r.next(); m.t != "" || !strings.Contains(string(m.bytes), "FutureCursor") {
		t.Fatalf("future: %q", m.bytes)
	}
	if _, err := r.raw(); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Fatalf("future: %v", err)
	}
	// Outdated.
	n.Forget()
	a.Commit(Create(posts, "", `{}`))
	r = dial(t, n.Firehose()+"?cursor=3")
	if m := r.next(); m.info == nil || m.info.Name != "OutdatedCursor" {
		t.Fatalf("outdated: %q", m.bytes)
	}
	if m := r.next(); m.seq != n.RelaySeq() {
		t.Fatalf("outdated: %d, want %d", m.seq, n.RelaySeq())
	}
	// Numbering begins anew.
	n.RestartRelay()
	if _, err := r.raw(); err == nil {
		t.Fatal("the connection outlives the relay")
	}
	a.Commit(Create(posts, "", `{}`))
	if m := dial(t, n.Firehose()+"?cursor=0").next(); m.seq != 1 {
		t.Fatalf("after a restart: %d", m.seq)
	}
	if code, _, err := get(t, "http"+strings.TrimPrefix(n.Firehose(), "ws")+"?cursor=x"); err != nil || code != http.StatusBadRequest {
		t.Fatalf("bad cursor: %d, %v", code, err)
	}
}

// relayFixture is a network with 40 commits of two accounts.
func relayFixture(t *testing.T) *Network {
	n := start(t, Config{ReplayFrames: 3, Slow: 50 * time.Millisecond})
	accounts := []*Account{n.NewAccount(0), n.NewAccount(0)}
	for range 20 {
		for _, a := range accounts {
			a.Commit(Create(posts, "", `{}`))
		}
	}
	return n
}

func seqs(ms []message) string {
	var b strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&b, "%d ", m.seq)
	}
	return strings.TrimSpace(b.String())
}

func TestRelayFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		fault Fault
		want  string // sequence numbers, from cursor 30 to 36
	}{
		{RelayDuplicate, "31 31 32 33 34 35 36"},
		{RelayReorder, "32 31 33 34 35 36"},
		{RelayReplay, "31 29 30 31 32 33 34 35 36"},
		{RelayRegress, "1 32 33 34 35 36"},
		{RelaySlow, "31 32 33 34 35 36"},
	} {
		t.Run(string(tc.fault), func(t *testing.T) {
			t.Parallel()
			n := relayFixture(t)
			n.Faults.FailNext(tc.fault, 1)
			if got := seqs(dial(t, n.Firehose()+"?cursor=30").until(36)); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if n.Faults.Fired(tc.fault) != 1 {
				t.Errorf("fired %d times", n.Faults.Fired(tc.fault))
			}
		})
	}

	t.Run("ends", func(t *testing.T) {
		t.Parallel()
		n := relayFixture(t)
		n.Faults.FailNext(RelayCut, 1)
		if _, err := dial(t, n.Firehose()+"?cursor=30").raw(); err == nil || websocket.CloseStatus(err) != -1 {
			t.Errorf("%s: %v", RelayCut, err)
		}
		n.Faults.FailNext(RelayError, 1)
		r := dial(t, n.Firehose()+"?cursor=30")
		if m := r.next(); m.t != "" || !bytes.Contains(m.bytes, []byte("ConsumerTooSlow")) {
			t.Errorf("%s: %q", RelayError, m.bytes)
		}
		if _, err := r.raw(); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%s: %v", RelayError, err)
		}
		n.Faults.FailNext(RelayFuture, 1)
		if m := dial(t, n.Firehose()+"?cursor=30").next(); m.t != "" {
			t.Errorf("%s: %q", RelayFuture, m.bytes)
		}
		n.Faults.FailNext(RelayOutdated, 1)
		r = dial(t, n.Firehose()+"?cursor=30")
		if m := r.next(); m.info == nil {
			t.Errorf("%s: %q", RelayOutdated, m.bytes)
		}
		n.Faults.FailNext(RelayRefuse, 1)
		if code, _, err := get(t, "http"+strings.TrimPrefix(n.Firehose(), "ws")); err != nil || code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %v", RelayRefuse, code, err)
		}
		if idle := n.Faults.Idle(); len(idle) > 0 {
			t.Errorf("idle: %v", idle)
		}
	})

	t.Run(string(RelayGarbage), func(t *testing.T) {
		t.Parallel()
		n := relayFixture(t)
		n.Faults.FailNext(RelayGarbage, 7)
		r := dial(t, n.Firehose()+"?cursor=0")
		bad, good := 0, 0
		for last := int64(0); last < n.RelaySeq(); {
			data, err := r.raw()
			if err != nil {
				t.Fatal(err)
			}
			if m, err := parseFrame(data); err != nil {
				bad++
			} else {
				good++
				last = m.seq
			}
		}
		if bad != 7 || good != int(n.RelaySeq()) {
			t.Errorf("%d bad and %d good frames", bad, good)
		}
	})
}

// TestCommitFaults: what the relay loses or falsifies is found out by its commits.
func TestCommitFaults(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	a, other := n.NewAccount(0), n.NewAccount(0)
	a.Commit(Create(posts, "a", `{}`))
	at := n.RelaySeq()

	n.Faults.Set(RelayDrop, Rule{Times: 1, DID: a.DID()})
	other.Commit(Create(posts, "a", `{}`))
	if n.Faults.Fired(RelayDrop) != 0 || len(n.Faults.Idle()) != 1 {
		t.Error("a fault of one account hits another")
	}
	dropped := a.Commit(Create(posts, "b", `{}`))
	a.Commit(Create(posts, "c", `{}`))
	n.Faults.FailNext(RelayForge, 1)
	a.Commit(Create(posts, "d", `{}`))
	n.Faults.FailNext(RelayTamper, 1)
	a.Commit(Create(posts, "e", `{}`))

	ms := dial(t, fmt.Sprintf("%s?cursor=%d", n.Firehose(), at)).until(n.RelaySeq())
	if len(ms) != 5 {
		t.Fatalf("%d frames", len(ms))
	}
	gap, forged, honest, tampered := ms[1].commit, ms[2].commit, ms[3].commit, ms[4].commit
	if *gap.Since != string(dropped) {
		t.Errorf("%s: since %s, want %s", RelayDrop, *gap.Since, dropped)
	}
	if _, err := repo.VerifyCommitMessage(t.Context(), forged); err != nil {
		t.Errorf("%s: the form gives it away: %v", RelayForge, err)
	}
	if *forged.Since != gap.Rev || *honest.Since != gap.Rev || forged.Rev >= honest.Rev || !strings.HasPrefix(forged.Ops[0].Path, string(Forged)) {
		t.Errorf("%s: %v", RelayForge, forged)
	}
	if err := repo.VerifyCommitSignature(t.Context(), directory(n), forged); err == nil {
		t.Errorf("%s: the signature is right", RelayForge)
	}
	if err := repo.VerifyCommitSignature(t.Context(), directory(n), honest); err != nil {
		t.Error(err)
	}
	if _, err := repo.VerifyCommitMessage(t.Context(), tampered); err == nil {
		t.Errorf("%s: it passes", RelayTamper)
	}
}

// TestRepoFaults: a reader that checks refuses what the faults break, and takes what
// comes next.
func TestRepoFaults(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	var ops []Op
	for i := range 200 {
		ops = append(ops, Create(posts, syntax.RecordKey(fmt.Sprint(i)), fmt.Sprintf(`{"n":%d}`, i)))
	}
	a := n.AddAccount(Spec{Records: ops})
	n.NewAccount(0)
	a.Commit(Delete(posts, "7"), Update(posts, "8", `{"n":0}`))
	url := n.PDS(0) + "/xrpc/com.atproto.sync.getRepo?did=" + string(a.DID())
	read := func() error {
		code, car, err := get(t, url)
		if err != nil {
			return err
		}
		if code != http.StatusOK {
			return fmt.Errorf("HTTP %d", code)
		}
		if len(car) >= 4<<20 {
			return errors.New("too large")
		}
		records, err := verifyRepo(t, n, a, car)
		if err == nil && len(records) != 199 {
			return fmt.Errorf("%d records", len(records))
		}
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	for fault, want := range map[Fault]string{
		RepoEndless:   "too large",
		RepoHuge:      "unexpected EOF",
		RepoTruncated: "unexpected EOF",
		RepoNoNode:    "partial",
		RepoNoRecord:  "not find",
		RepoFlip:      "mismatch",
		RepoPrefix:    "panic",
		RepoOrder:     "out of order",
		RepoWrongKey:  "signature",
		RepoOther:     "repository of",
		RepoStale:     "stale",
		RepoCut:       "EOF",
		PDSRateLimit:  "429",
		PDSBusy:       "503",
		PDSError:      "500",
		PDSCut:        "EOF",
	} {
		n.Faults.FailNext(fault, 1)
		if err := read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", fault, err, want)
		}
		if n.Faults.Fired(fault) != 1 {
			t.Errorf("%s: fired %d times", fault, n.Faults.Fired(fault))
		}
		if err := read(); err != nil {
			t.Errorf("after %s: %v", fault, err)
		}
	}
	n.Faults.FailNext(PDSSlow, 1)
	before := time.Now()
	if err := read(); err != nil || time.Since(before) < n.cfg.Slow {
		t.Errorf("%s: %v", PDSSlow, err)
	}
}

func TestPLCFaults(t *testing.T) {
	t.Parallel()
	n := start(t, Config{Slow: 50 * time.Millisecond})
	a := n.NewAccount(0)
	url := n.PLC() + "/" + string(a.DID())
	_, before, _ := get(t, url)
	a.RotateKey()
	_, after, _ := get(t, url)
	for fault, want := range map[Fault]int{PLCFail: 500, PLCLimit: 429, PLCGone: 404, PLCSlow: 200, PLCStale: 200} {
		n.Faults.FailNext(fault, 1)
		code, body, err := get(t, url)
		if err != nil || code != want || n.Faults.Fired(fault) != 1 {
			t.Errorf("%s: %d, %v", fault, code, err)
		}
		if fault == PLCStale && !bytes.Equal(body, before) {
			t.Errorf("%s: %s", fault, body)
		}
		if _, body, err := get(t, url); err != nil || !bytes.Equal(body, after) {
			t.Errorf("after %s: %s, %v", fault, body, err)
		}
	}
}

// TestInject has the relay emit, and a PDS serve, what a test made up.
func TestInject(t *testing.T) {
	t.Parallel()
	n := start(t, Config{Slow: 10 * time.Millisecond})
	a := n.NewAccount(0)
	n.Inject(func(seq int64) []byte { return fmt.Appendf(nil, "frame %d", seq) })
	a.Commit(Create(posts, "a", `{}`))
	r := dial(t, fmt.Sprintf("%s?cursor=%d", n.Firehose(), n.RelaySeq()-2))
	if data, err := r.raw(); err != nil || string(data) != fmt.Sprintf("frame %d", n.RelaySeq()-1) {
		t.Errorf("%q, %v", data, err)
	}
	if m := r.next(); m.commit == nil {
		t.Errorf("%q", m.bytes)
	}
	url := n.PDS(0) + "/xrpc/com.atproto.sync.getRepo?did=" + string(a.DID())
	a.ServeCAR([]byte("no CAR"))
	if _, body, err := get(t, url); err != nil || string(body) != "no CAR" {
		t.Errorf("%q, %v", body, err)
	}
	a.ServeCAR(nil)
	if _, body, err := get(t, url); err != nil || !bytes.Equal(body, a.CAR()) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	// A byte at a time, until the client has enough.
	n.Faults.FailNext(RepoTrickle, 1)
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	if k, err := res.Body.Read(buf); k > 20 || err != nil {
		t.Errorf("%d bytes at once, %v", k, err)
	}
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

// TestFaultRules is when faults happen.
func TestFaultRules(t *testing.T) {
	t.Parallel()
	f := newFaults(1)
	if f.hit(PDSBusy, "") {
		t.Error("a fault that nobody asked for")
	}
	f.FailNext(PDSBusy, 2)
	if !f.hit(PDSBusy, "did:a:b") || !f.hit(PDSBusy, "") || f.hit(PDSBusy, "") {
		t.Error("FailNext(2)")
	}
	f.Set(PDSError, Rule{Rate: 0.25})
	for range 4000 {
		f.hit(PDSError, "")
	}
	if n := f.Fired(PDSError); n < 850 || n > 1150 {
		t.Errorf("a rate of 0.25: %d of 4000", n)
	}
	f.Set(PDSCut, Rule{DID: "did:a:b"})
	if f.hit(PDSCut, "did:a:c") || !f.hit(PDSCut, "did:a:b") || !f.hit(PDSCut, "did:a:b") {
		t.Error("of one DID")
	}
	f.Off()
	if f.hit(PDSCut, "did:a:b") || f.Fired(PDSCut) != 2 {
		t.Error("Off")
	}
	done := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	go func() { done <- f.Wait(ctx, PDSBusy, 3) }()
	f.FailNext(PDSBusy, 1)
	f.hit(PDSBusy, "")
	if err := <-done; err != nil {
		t.Error(err)
	}
	canceled, stop := context.WithCancel(t.Context())
	stop()
	if err := f.Wait(canceled, PDSBusy, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
}

// TestClose: nothing outlives the network, whatever its clients do.
func TestClose(t *testing.T) {
	t.Parallel()
	n, err := Start(Config{})
	if err != nil {
		t.Fatal(err)
	}
	a := n.AddAccount(Spec{Records: []Op{Create(posts, "a", `{}`)}})
	stalled := dial(t, n.Firehose()+"?cursor=0") // reads nothing
	n.Faults.FailNext(RepoEndless, 1)
	res, err := http.Get(n.PDS(0) + "/xrpc/com.atproto.sync.getRepo?did=" + string(a.DID()))
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	for err == nil { // what was sent before
		_, err = stalled.raw()
	}
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if _, err := Start(Config{PDSes: -1, Slow: -1}); err == nil || !strings.Contains(err.Error(), "PDSes") || !strings.Contains(err.Error(), "waits") {
		t.Errorf("bad configuration: %v", err)
	}
}
