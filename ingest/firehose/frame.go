package firehose

import (
	"bytes"
	"encoding/json"
	"fmt"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/atview/atview/ingest/dagcbor"
	"github.com/atview/atview/ingest/stream"
)

// message is what a frame says; at most one of its bodies is set. With none it is
// of a type that this version does not know, and to be skipped.
type message struct {
	commit   *comatproto.SyncSubscribeRepos_Commit
	sync     *comatproto.SyncSubscribeRepos_Sync
	identity *comatproto.SyncSubscribeRepos_Identity
	account  *comatproto.SyncSubscribeRepos_Account
	info     *comatproto.SyncSubscribeRepos_Info
	err      *hostError
}

// hostError is an error frame: the last of a connection.
type hostError struct {
	Name    string `json:"error"`
	Message string `json:"message"`
}

func (e *hostError) Error() string { return fmt.Sprintf("host says %.100q: %.300q", e.Name, e.Message) }

const (
	// futureCursor is the error of a host that never had what we say to have read.
	futureCursor = "FutureCursor"
	// outdatedCursor is the #info of a host that does not have any more what follows.
	outdatedCursor = "OutdatedCursor"
)

// header is a frame's first object; the body is the second. See
// https://atproto.com/specs/event-stream#framing.
type header struct {
	op   int64 // 1 message, -1 error
	kind string
}

func decodeHeader(r *cbg.CborReader) (header, error) {
	var h header
	major, n, err := r.ReadHeader()
	if err != nil {
		return h, err
	}
	if major != cbg.MajMap || n > 64 {
		return h, fmt.Errorf("type %d of length %d, want a map of a few keys", major, n)
	}
	for range n {
		key, err := cbg.ReadStringWithMax(r, 64)
		if err != nil {
			return h, err
		}
		switch key {
		case "op":
			var op cbg.CborInt
			if err := op.UnmarshalCBOR(r); err != nil {
				return h, fmt.Errorf("op: %w", err)
			}
			h.op = int64(op)
		case "t":
			if h.kind, err = cbg.ReadStringWithMax(r, 128); err != nil {
				return h, fmt.Errorf("t: %w", err)
			}
		default:
			if err := cbg.ScanForLinks(r, func(cid.Cid) {}); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// decode reads a frame. The error is an [*stream.InvalidError].
func decode(data []byte) (m message, err error) {
	// The decoders are generated and not made for what is out to harm.
	defer func() {
		if p := recover(); p != nil {
			m, err = message{}, invalid(stream.ReasonFrame, "decoder panics: %v", p)
		}
	}()
	rest := bytes.NewReader(data)
	r := cbg.NewCborReader(rest)
	h, err := decodeHeader(r)
	if err != nil {
		return m, invalid(stream.ReasonFrame, "frame's header: %v", err)
	}
	switch {
	case h.op == -1:
		m.err = new(hostError)
		body, err := dagcbor.AppendJSON(nil, data[len(data)-rest.Len():])
		if err == nil {
			err = json.Unmarshal(body, m.err)
		}
		if err != nil { // an error all the same
			m.err.Message = err.Error()
		}
		return m, nil
	case h.op != 1:
		return m, nil // reserved
	}
	switch h.kind {
	case "#commit":
		m.commit = new(comatproto.SyncSubscribeRepos_Commit)
		err = m.commit.UnmarshalCBOR(r)
	case "#sync":
		m.sync = new(comatproto.SyncSubscribeRepos_Sync)
		err = m.sync.UnmarshalCBOR(r)
	case "#identity":
		m.identity = new(comatproto.SyncSubscribeRepos_Identity)
		err = m.identity.UnmarshalCBOR(r)
	case "#account":
		m.account = new(comatproto.SyncSubscribeRepos_Account)
		err = m.account.UnmarshalCBOR(r)
	case "#info":
		m.info = new(comatproto.SyncSubscribeRepos_Info)
		err = m.info.UnmarshalCBOR(r)
	}
	if err != nil {
		return message{}, invalid(stream.ReasonFrame, "%.100s: %v", h.kind, err)
	}
	return m, nil
}

func invalid(r stream.Reason, format string, args ...any) error {
	return &stream.InvalidError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}
