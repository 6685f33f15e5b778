package testnet

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	lexutil "github.com/bluesky-social/indigo/lex/util"
	"github.com/coder/websocket"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

const subscribeRepos = "/xrpc/com.atproto.sync.subscribeRepos"

type kind string

const (
	kindCommit   kind = "#commit"
	kindIdentity kind = "#identity"
	kindAccount  kind = "#account"
	kindSync     kind = "#sync"
)

// event is what a PDS emits, before it has a sequence number; see
// https://atproto.com/specs/sync#firehose.
type event struct {
	kind   kind
	did    syntax.DID
	at     time.Time
	handle syntax.Handle // of an identity; may be empty
	status string        // of an account
	rev    syntax.TID    // of a commit, of a sync
	commit cid.Cid       // of a commit
	diff   diff          // of a commit
	car    []byte        // of a sync
}

// frame is the event on the wire; see https://atproto.com/specs/event-stream.
func (ev *event) frame(seq int64, withHandle bool) []byte {
	var buf bytes.Buffer
	header(&buf, string(ev.kind))
	at := ev.at.Format("2006-01-02T15:04:05.000Z")
	var err error
	switch ev.kind {
	case kindCommit:
		body := comatproto.SyncSubscribeRepos_Commit{
			Blobs:  []lexutil.LexLink{},
			Blocks: ev.diff.car,
			Commit: lexutil.LexLink(ev.commit),
			Ops:    []*comatproto.SyncSubscribeRepos_RepoOp{},
			Repo:   string(ev.did),
			Rev:    string(ev.rev),
			Seq:    seq,
			Time:   at,
		}
		if ev.diff.since != "" {
			since := string(ev.diff.since)
			body.Since = &since
		}
		if ev.diff.prevData.Defined() {
			prev := lexutil.LexLink(ev.diff.prevData)
			body.PrevData = &prev
		}
		for _, c := range ev.diff.changes {
			body.Ops = append(body.Ops, &comatproto.SyncSubscribeRepos_RepoOp{
				Action: c.op.action,
				Path:   c.op.path(),
				Cid:    (*lexutil.LexLink)(c.operation.Value),
				Prev:   (*lexutil.LexLink)(c.operation.Prev),
			})
		}
		err = body.MarshalCBOR(&buf)
	case kindIdentity:
		body := comatproto.SyncSubscribeRepos_Identity{Did: string(ev.did), Seq: seq, Time: at}
		if handle := string(ev.handle); withHandle && handle != "" {
			body.Handle = &handle
		}
		err = body.MarshalCBOR(&buf)
	case kindAccount:
		body := comatproto.SyncSubscribeRepos_Account{Active: ev.status == Active, Did: string(ev.did), Seq: seq, Time: at}
		if !body.Active {
			body.Status = &ev.status
		}
		err = body.MarshalCBOR(&buf)
	case kindSync:
		body := comatproto.SyncSubscribeRepos_Sync{Blocks: ev.car, Did: string(ev.did), Rev: string(ev.rev), Seq: seq, Time: at}
		err = body.MarshalCBOR(&buf)
	}
	if err != nil {
		panic(fmt.Sprintf("testnet: encode %s: %v", ev.kind, err)) // all of it is ours
	}
	return buf.Bytes()
}

func header(buf *bytes.Buffer, t string) {
	buf.WriteString("\xa2\x61t")
	buf.Write(cbg.CborEncodeMajorType(cbg.MajTextString, uint64(len(t))))
	buf.WriteString(t)
	buf.WriteString("\x62op\x01")
}

// infoFrame is {op: 1, t: "#info"} {name, message}, errorFrame {op: -1} {error,
// message}.
func infoFrame(name, message string) []byte {
	var buf bytes.Buffer
	header(&buf, "#info")
	body := comatproto.SyncSubscribeRepos_Info{Name: name, Message: &message}
	if err := body.MarshalCBOR(&buf); err != nil {
		panic(fmt.Sprintf("testnet: encode #info: %v", err))
	}
	return buf.Bytes()
}

func errorFrame(name, message string) []byte {
	b := append([]byte{0xa1}, "\x62op\x20\xa2"...)
	for _, s := range []string{"error", name, "message", message} {
		b = append(appendHead(b, 3, uint64(len(s))), s...)
	}
	return b
}

// Emitting, under the network's lock.

func (a *Account) emit(ev *event) {
	a.n.pdses[a.pds].stream.append(ev, nil)
	a.n.relay.take(ev)
	a.n.jet.take(a, ev)
}

func (a *Account) emitCommit(at time.Time, d diff) {
	a.emit(&event{kind: kindCommit, did: a.did, at: at, rev: a.repo.rev, commit: a.repo.head.cid, diff: d})
}

func (a *Account) identity(at time.Time, handle syntax.Handle) {
	a.emit(&event{kind: kindIdentity, did: a.did, at: at, handle: handle})
}

func (a *Account) account(at time.Time) {
	a.emit(&event{kind: kindAccount, did: a.did, at: at, status: a.status})
}

func (a *Account) sync(at time.Time) { a.emit(a.syncEvent(at, a.repo.rev)) }

func (a *Account) syncEvent(at time.Time, rev syntax.TID) *event {
	car := appendCAR(nil, a.repo.head.cid, a.repo.head)
	return &event{kind: kindSync, did: a.did, at: at, rev: rev, car: car}
}

// firehose is what a host has emitted.
type firehose struct {
	mu      sync.Mutex
	entries []entry
	last    int64 // sequence number; they have no gaps
	epoch   int   // how often numbering began anew
	purged  map[syntax.DID]int64
	changed chan struct{}
}

type entry struct {
	seq int64
	ev  *event
	raw func(seq int64) []byte // in place of the event's own frame
}

func newFirehose() *firehose {
	return &firehose{purged: map[syntax.DID]int64{}, changed: make(chan struct{})}
}

func (f *firehose) signal() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *firehose) append(ev *event, raw func(seq int64) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.entries = append(f.entries, entry{f.last, ev, raw})
	f.signal()
}

// purge hides what a repository emitted so far.
func (f *firehose) purge(did syntax.DID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.purged[did] = f.last
}

func (f *firehose) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = nil
}

func (f *firehose) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries, f.last = nil, 0
	f.epoch++
	f.signal()
}

func (f *firehose) age() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch
}

func (f *firehose) tip() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// oldest is the sequence number before the first that is kept.
func (f *firehose) oldest() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last - int64(len(f.entries))
}

// next returns the entry behind a sequence number and the one behind that; nil
// for what is not there yet. Changed is closed when there is more.
func (f *firehose) next(after int64) (e, following *entry, epoch int, changed chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := max(after-(f.last-int64(len(f.entries))), 0)
	for ; i < int64(len(f.entries)); i++ {
		x := &f.entries[i]
		if x.seq <= f.purged[x.ev.did] {
			continue
		}
		if e == nil {
			e = x
			continue
		}
		following = x
		break
	}
	return e, following, f.epoch, f.changed
}

// subscriber is one connection to a firehose.
type subscriber struct {
	n          *Network
	conn       *websocket.Conn
	withHandle bool
	faulty     bool // whether the relay's faults apply
}

// stream serves com.atproto.sync.subscribeRepos.
func (n *Network) stream(w http.ResponseWriter, r *http.Request, f *firehose, withHandle, faulty bool) {
	began := f.age() // before all else: what follows is about this numbering
	cursor := f.tip()
	asked := r.URL.Query().Get("cursor")
	if asked != "" {
		var err error
		if cursor, err = strconv.ParseInt(asked, 10, 64); err != nil || cursor < 0 {
			xrpcError(w, http.StatusBadRequest, "InvalidRequest", "cursor must be an integer")
			return
		}
	}
	if faulty && n.Faults.hit(RelayRefuse, "") {
		xrpcError(w, http.StatusServiceUnavailable, "ServiceUnavailable", "no room")
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	ctx, end := n.mute(conn)
	defer end()
	s := &subscriber{n: n, conn: conn, withHandle: withHandle, faulty: faulty}
	switch {
	case asked == "":
	case cursor > f.tip(), faulty && n.Faults.hit(RelayFuture, ""):
		_ = s.write(ctx, errorFrame("FutureCursor", "Cursor in the future."))
		_ = conn.Close(websocket.StatusPolicyViolation, "FutureCursor")
		return
	case cursor < f.oldest(), faulty && n.Faults.hit(RelayOutdated, ""):
		message := "Requested cursor exceeded limit. Possibly missing events"
		if s.write(ctx, infoFrame("OutdatedCursor", message)) != nil {
			return
		}
		if cursor >= f.oldest() {
			cursor = f.tip()
		}
		cursor = max(cursor, f.oldest())
	}
	_ = s.run(ctx, f, began, cursor) // that the client has left, or is to leave
}

// mute notices when the client leaves, and closes if it says anything. End ends the
// connection. (The library's own CloseRead waits for itself for 15 s after data.)
func (n *Network) mute(conn *websocket.Conn) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(n.over)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		if _, _, err := conn.Read(ctx); err == nil {
			_ = conn.Close(websocket.StatusPolicyViolation, "unexpected data message")
		}
	}()
	return ctx, func() {
		cancel()
		_ = conn.CloseNow() // it is over anyway
		<-done
	}
}

func (s *subscriber) write(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.n.cfg.WriteTimeout)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageBinary, data)
}

func (s *subscriber) run(ctx context.Context, f *firehose, began int, after int64) error {
	for {
		e, following, epoch, changed := f.next(after)
		if epoch != began {
			return errAgain
		}
		if e == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if !s.faulty {
			if err := s.send(ctx, e, e.seq); err != nil {
				return err
			}
			after = e.seq
			continue
		}
		sent, err := s.sendFaulty(ctx, e, following)
		if err != nil {
			return err
		}
		after = sent
	}
}

func (s *subscriber) send(ctx context.Context, e *entry, seq int64) error {
	return s.write(ctx, s.frame(e, seq))
}

func (s *subscriber) frame(e *entry, seq int64) []byte {
	if e.raw != nil {
		return e.raw(seq)
	}
	return e.ev.frame(seq, s.withHandle)
}
