package firehose

import (
	"context"
	"errors"
	"strings"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"

	"github.com/atview/atview/ingest/dagcbor"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// The reasons for rejects that only a firehose has.
const (
	// ReasonProof: the blocks do not show what the frame says.
	ReasonProof stream.Reason = "proof"
	// ReasonSignature: the account's key did not sign the commit.
	ReasonSignature stream.Reason = "signature"
	// ReasonIdentity: the account's key could not be found out.
	ReasonIdentity stream.Reason = "identity"
)

// outcome is what one frame comes to, before it is known what came before it.
type outcome struct {
	seq    int64 // 0 if the frame has none
	did    syntax.DID
	timeUS int64
	time   time.Time
	lines  []source.Line

	// What the frame does to the chain of its repository, if it does.
	step     *step
	declared bool // a #sync, and no #commit
	forget   bool // nothing is known of the repository's state any more
	// again says that the repository has to be read anew, as of rev, which is empty
	// if it is not known.
	again bool
	rev   syntax.TID

	end     *hostError
	info    *comatproto.SyncSubscribeRepos_Info
	unknown bool // of a type to be skipped
	commit  bool
	checked bool // signature and proof
}

// check does all with a frame that needs no other frame. It is called by many
// goroutines.
func (s *Source) check(ctx context.Context, f frame) outcome {
	if f.length > int64(len(f.data)) {
		return outcome{lines: []source.Line{{
			Data: f.data,
			Err:  invalid(stream.ReasonTooLarge, "frame of %d bytes, more than %d", f.length, len(f.data)),
		}}}
	}
	m, err := decode(f.data)
	switch {
	case err != nil:
		return outcome{lines: []source.Line{{Data: f.data, Err: err}}}
	case m.err != nil:
		return outcome{end: m.err}
	case m.info != nil:
		return outcome{info: m.info}
	case m.commit != nil:
		return s.checkCommit(ctx, m.commit, f.data)
	case m.sync != nil:
		return s.checkSync(ctx, m.sync, f.data)
	case m.identity != nil:
		return s.readIdentity(m.identity, f.data)
	case m.account != nil:
		return s.readAccount(m.account, f.data)
	}
	return outcome{unknown: true}
}

// newOutcome reads what all frames have; ok is false if there is no DID, and then
// the frame is a reject.
func newOutcome(kind stream.Kind, seq int64, did, at string, data []byte) (o outcome, ok bool) {
	o.seq = seq
	now := time.Now()
	o.time = parseTime(at)
	// The time of the frame is the time of the event, but for those of a clock that
	// is wrong.
	o.timeUS = now.UnixMicro()
	if us := o.time.UnixMicro(); !o.time.IsZero() && 0 < us && us < o.timeUS {
		o.timeUS = us
	}
	err := errors.New("too long")
	if len(did) <= stream.MaxDIDLength {
		o.did, err = syntax.ParseDID(did)
	}
	if err != nil {
		o.reject(kind, data, invalid(stream.ReasonDID, "%.100q: %v", did, err))
		return o, false
	}
	return o, true
}

// parseTime returns the zero time for what is none.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

func (o *outcome) event(kind stream.Kind) stream.Event {
	return stream.Event{DID: o.did, TimeUS: o.timeUS, Kind: kind}
}

func (o *outcome) reject(kind stream.Kind, data []byte, why error) {
	o.lines = append(o.lines, source.Line{Data: data, Event: o.event(kind), Err: why})
}

// fail is for a frame that is not to be believed: it is kept as a reject, and what
// it was about is read from the repository.
func (o *outcome) fail(kind stream.Kind, data []byte, why error) outcome {
	o.lines, o.step = nil, nil
	o.reject(kind, data, why)
	o.again, o.rev, o.forget = true, "", true
	return *o
}

func (s *Source) readIdentity(msg *comatproto.SyncSubscribeRepos_Identity, data []byte) outcome {
	o, ok := newOutcome(stream.KindIdentity, msg.Seq, msg.Did, msg.Time, data)
	if !ok {
		return o
	}
	s.stale.Add(o.did, struct{}{})
	ev := o.event(stream.KindIdentity)
	ev.Identity = &stream.Identity{Seq: o.seq, Time: o.time}
	if msg.Handle != nil {
		ev.Identity.Handle, _ = syntax.ParseHandle(*msg.Handle) // empty if it is none
	}
	o.lines = append(o.lines, source.Line{Event: ev})
	return o
}

func (s *Source) readAccount(msg *comatproto.SyncSubscribeRepos_Account, data []byte) outcome {
	o, ok := newOutcome(stream.KindAccount, msg.Seq, msg.Did, msg.Time, data)
	if !ok {
		return o
	}
	ev := o.event(stream.KindAccount)
	ev.Account = &stream.Account{Active: msg.Active, Seq: o.seq, Time: o.time}
	if msg.Status != nil {
		ev.Account.Status = *msg.Status
	}
	o.lines = append(o.lines, source.Line{Event: ev})
	return o
}

func (s *Source) checkSync(ctx context.Context, msg *comatproto.SyncSubscribeRepos_Sync, data []byte) outcome {
	o, ok := newOutcome(stream.KindSync, msg.Seq, msg.Did, msg.Time, data)
	if !ok {
		return o
	}
	rev, err := syntax.ParseTID(msg.Rev)
	if err != nil {
		return o.fail(stream.KindSync, data, invalid(stream.ReasonRev, "%.20q: %v", msg.Rev, err))
	}
	c, err := readCAR(msg.Blocks, true)
	var commit *repo.Commit
	if err == nil {
		commit, err = readCommit(c, o.did, msg.Rev)
	}
	if err != nil {
		return o.fail(stream.KindSync, data, invalid(ReasonProof, "%v", err))
	}
	if !s.cfg.Trust {
		if err := s.signed(ctx, commit, o.did); err != nil {
			return o.fail(stream.KindSync, data, err)
		}
	}
	o.rev, o.declared, o.checked = rev, true, true
	o.step = &step{rev: msg.Rev, data: commit.Data, checked: true}
	return o
}

// wantedOp is an operation on a record that somebody wants, or why it is none.
type wantedOp struct {
	*comatproto.SyncSubscribeRepos_RepoOp
	collection syntax.NSID
	rkey       syntax.RecordKey
	err        error
}

func wantedOps(c *source.Collections, ops []*comatproto.SyncSubscribeRepos_RepoOp) []wantedOp {
	var wanted []wantedOp
	for _, op := range ops {
		w := wantedOp{SyncSubscribeRepos_RepoOp: op}
		collection, rkey, _ := strings.Cut(op.Path, "/")
		var err error
		if w.collection, err = syntax.ParseNSID(collection); err != nil {
			if !c.All() {
				continue
			}
			w.err = invalid(stream.ReasonCollection, "%.300q: %v", op.Path, err)
		} else if !c.Want(w.collection) {
			continue
		} else if w.rkey, err = syntax.ParseRecordKey(rkey); err != nil {
			w.err = invalid(stream.ReasonRKey, "%.300q: %v", op.Path, err)
		}
		wanted = append(wanted, w)
	}
	return wanted
}

func (s *Source) checkCommit(ctx context.Context, msg *comatproto.SyncSubscribeRepos_Commit, data []byte) outcome {
	o, ok := newOutcome(stream.KindCommit, msg.Seq, msg.Repo, msg.Time, data)
	o.commit = true
	if !ok {
		return o
	}
	for _, op := range msg.Ops {
		if op == nil {
			return o.fail(stream.KindCommit, data, invalid(stream.ReasonOperation, "null"))
		}
	}
	rev, err := syntax.ParseTID(msg.Rev)
	if err != nil {
		return o.fail(stream.KindCommit, data, invalid(stream.ReasonRev, "%.20q: %v", msg.Rev, err))
	}
	if msg.TooBig { // does not say what it did
		o.again, o.forget = true, true
		return o
	}
	wanted := wantedOps(s.collections.Load(), msg.Ops)
	c, commit, err := s.verify(ctx, msg, o.did, len(wanted) == 0)
	if err != nil {
		if len(wanted) == 0 {
			o.forget = true // and nobody has lost anything
			return o
		}
		return o.fail(stream.KindCommit, data, err)
	}
	o.rev, o.checked = rev, len(wanted) > 0
	o.step = &step{rev: msg.Rev, data: commit.Data, checked: o.checked}
	if msg.Since != nil {
		o.step.since = *msg.Since
	}
	if msg.PrevData != nil {
		o.step.prevData = cid.Cid(*msg.PrevData)
	}
	for _, op := range wanted {
		o.operation(c, op, rev)
	}
	return o
}

// operation adds the line of one operation of a commit that holds.
func (o *outcome) operation(c *car, op wantedOp, rev syntax.TID) {
	ev := o.event(stream.KindCommit)
	ev.Commit = &stream.Commit{Rev: rev, Operation: stream.Operation(op.Action), Collection: op.collection, RKey: op.rkey}
	if op.Action == string(stream.Delete) {
		if op.err != nil {
			o.lines = append(o.lines, source.Line{Data: []byte(op.Path), Event: ev, Err: op.err})
			return
		}
		o.lines = append(o.lines, source.Line{Event: ev})
		return
	}
	var block []byte
	if op.Cid != nil {
		block = c.blocks[cid.Cid(*op.Cid)]
	}
	if block == nil {
		o.again = true
		return
	}
	err := op.err
	if err == nil {
		var jerr error
		ev.Commit.CID = op.Cid.String()
		if ev.Commit.Record, jerr = dagcbor.AppendJSON(nil, block); jerr != nil {
			ev.Commit.Record = nil
			err = invalid(stream.ReasonRecord, "%.300s: %v", op.Path, jerr)
		}
	}
	if err != nil {
		o.lines = append(o.lines, source.Line{Data: block, Event: ev, Err: err})
		return
	}
	o.lines = append(o.lines, source.Line{Event: ev})
}

// verify reads a commit and checks it, unless nobody wants anything of it: then it
// is read as far as the chain needs it. The error is an [*stream.InvalidError].
func (s *Source) verify(ctx context.Context, msg *comatproto.SyncSubscribeRepos_Commit, did syntax.DID, unwanted bool) (c *car, commit *repo.Commit, err error) {
	defer func() {
		if p := recover(); p != nil { // the tree's reader trusts what it reads
			c, commit, err = nil, nil, invalid(ReasonProof, "tree cannot be read: %v", p)
		}
	}()
	if c, err = readCAR(msg.Blocks, unwanted); err != nil {
		return nil, nil, invalid(ReasonProof, "%v", err)
	}
	if commit, err = readCommit(c, did, msg.Rev); err != nil {
		return nil, nil, invalid(ReasonProof, "%v", err)
	}
	if unwanted {
		return c, commit, nil
	}
	for _, op := range msg.Ops { // whom we trust, too, has to say what is meant
		if _, err := readOp(op); err != nil {
			return nil, nil, invalid(stream.ReasonOperation, "%v", err)
		}
	}
	if s.cfg.Trust {
		return c, commit, nil
	}
	if err := prove(c, commit, msg); err != nil {
		return nil, nil, invalid(ReasonProof, "%v", err)
	}
	if err := s.signed(ctx, commit, did); err != nil {
		return nil, nil, err
	}
	return c, commit, nil
}

// signed checks a commit's signature. If the key that is remembered does not fit,
// it asks anew. The error is an [*stream.InvalidError].
func (s *Source) signed(ctx context.Context, commit *repo.Commit, did syntax.DID) error {
	ask := s.cfg.Directory.Lookup
	if s.stale.Remove(did) {
		ask = s.cfg.Directory.Refresh
	}
	id, err := s.lookup(ctx, ask, did)
	if err != nil {
		return err
	}
	first := id.Key
	if first != nil && commit.VerifySignature(first) == nil {
		return nil
	}
	if id, err = s.lookup(ctx, s.cfg.Directory.Refresh, did); err != nil {
		return err
	}
	switch {
	case id.Key == nil:
		return invalid(ReasonIdentity, "%s has no key that is understood", did)
	case first != nil && id.Key.Equal(first):
		return invalid(ReasonSignature, "not of %s", id.Key.DIDKey())
	}
	if err := commit.VerifySignature(id.Key); err != nil {
		return invalid(ReasonSignature, "not of %s: %v", id.Key.DIDKey(), err)
	}
	return nil
}

func (s *Source) lookup(ctx context.Context, ask func(context.Context, syntax.DID) (identity.Identity, error), did syntax.DID) (identity.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	id, err := ask(ctx, did)
	if err != nil {
		return id, invalid(ReasonIdentity, "%s: %v", did, err)
	}
	return id, nil
}
