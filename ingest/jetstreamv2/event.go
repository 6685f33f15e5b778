package jetstreamv2

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atview/atview/ingest/dagcbor"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// Both wires are brought into the shape of the log's messages, and
// [stream.Parse] judges that, as it does for every source: what is an event and
// what a reject is decided in one place.

// frameKind says what a frame of the live stream is.
type frameKind int

const (
	frameEvent frameKind = iota // or something odd in the place of one
	frameInfo
	frameError
)

// frame is one frame of the live stream, as understood.
type frame struct {
	kind frameKind
	line source.Line // of frameEvent
	seq  int64       // 0 if it has none
	// timeUS is when the server witnessed the event; 0 if it does not say.
	timeUS int64
	// name and message are those of an info or an error.
	name, message string
}

// wire is a frame as it is sent. Values stay as they are: a record's bytes must not
// change.
type wire struct {
	Type    string          `json:"$type"`
	Error   json.RawMessage `json:"error"`
	Message json.RawMessage `json:"message"`
	Payload *struct {
		Type       string          `json:"$type"`
		Seq        json.RawMessage `json:"seq"`
		DID        json.RawMessage `json:"did"`
		Time       json.RawMessage `json:"time"`
		Rev        json.RawMessage `json:"rev"`
		Operation  json.RawMessage `json:"operation"`
		Collection json.RawMessage `json:"collection"`
		RKey       json.RawMessage `json:"rkey"`
		Record     json.RawMessage `json:"record"`
		CID        json.RawMessage `json:"cid"`
		Identity   json.RawMessage `json:"identity"`
		Account    json.RawMessage `json:"account"`
		Sync       json.RawMessage `json:"sync"`
		Name       json.RawMessage `json:"name"`
		Message    json.RawMessage `json:"message"`
	} `json:"payload"`
}

// parseFrame reads a frame. Now stands for the time of an event that has none.
func parseFrame(data []byte, now time.Time) frame {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return frame{line: reject(data, stream.ReasonFrame, err.Error())}
	}
	switch w.Type {
	case "message":
	case "error":
		return frame{kind: frameError, name: text(w.Error), message: text(w.Message)}
	default:
		return frame{line: source.Line{Data: data, Err: stream.ErrUnknownKind}}
	}
	p := w.Payload
	if p == nil {
		return frame{line: reject(data, stream.ReasonFrame, "message without payload")}
	}
	_, kind, _ := strings.Cut(p.Type, "#")
	if kind == "info" {
		return frame{kind: frameInfo, name: text(p.Name), message: text(p.Message)}
	}

	f := frame{}
	f.seq, _ = strconv.ParseInt(string(p.Seq), 10, 64)
	f.seq = max(f.seq, 0)
	f.timeUS = micros(text(p.Time))
	e := envelope{did: p.DID, timeUS: f.timeUS, kind: stream.Kind(kind)}
	if e.timeUS == 0 {
		e.timeUS = now.UnixMicro()
	}
	switch e.kind {
	case stream.KindCommit:
		e.commit = commit{rev: p.Rev, operation: p.Operation, collection: p.Collection, rkey: p.RKey, record: p.Record, cid: p.CID}
	case stream.KindIdentity:
		e.body = p.Identity
	case stream.KindAccount:
		e.body = p.Account
	case stream.KindSync:
		e.body = p.Sync
	default:
		f.line = source.Line{Data: data, Err: stream.ErrUnknownKind}
		return f
	}
	f.line = e.line(data)
	return f
}

// parseRow makes a line of a row of the archive. Want has been asked before.
func parseRow(r *row) source.Line {
	e := envelope{did: quoted(r.did), timeUS: r.timeUS()}
	switch r.kind {
	case rowCreate, rowUpdate, rowDelete, rowResync:
		e.kind = stream.KindCommit
		e.commit = commit{rev: quoted(r.rev), collection: quoted(r.collection), rkey: quoted(r.rkey)}
	case rowIdentity:
		e.kind = stream.KindIdentity
	case rowAccount:
		e.kind = stream.KindAccount
	case rowSync:
		e.kind = stream.KindSync
	default:
		return source.Line{Data: original(r), Err: stream.ErrUnknownKind}
	}
	var content []byte
	var err error
	if r.kind != rowDelete && len(r.payload) > 0 {
		content, err = dagcbor.AppendJSON(nil, r.payload)
	}
	if err != nil {
		// Everything but the content is judged first, for what the event is about.
		line := e.line(nil)
		line.Data = original(r)
		line.Err = &stream.InvalidError{Reason: stream.ReasonRecord, Detail: err.Error()}
		return line
	}
	switch r.kind {
	case rowCreate, rowResync:
		e.commit.operation = json.RawMessage(`"create"`)
	case rowUpdate:
		e.commit.operation = json.RawMessage(`"update"`)
	case rowDelete:
		e.commit.operation = json.RawMessage(`"delete"`)
	default:
		e.body = content
		return e.line(original(r))
	}
	if content != nil {
		e.commit.record = content
		e.commit.cid = quoted([]byte(dagcbor.CID(r.payload)))
	}
	line := e.line(nil)
	if line.Err != nil {
		line.Data = original(r)
	}
	return line
}

// envelope is an event, its values in JSON; nil for one that is missing.
type envelope struct {
	did    json.RawMessage
	timeUS int64
	kind   stream.Kind
	commit commit
	body   json.RawMessage // of all other kinds
}

type commit struct {
	rev, operation, collection, rkey, record, cid json.RawMessage
}

// line returns the event; raw is what becomes the body of a reject.
func (e *envelope) line(raw []byte) source.Line {
	b := make([]byte, 0, 256+len(e.commit.record)+len(e.body))
	b = append(b, '{')
	b = member(b, "did", e.did)
	b = append(b, `,"time_us":`...)
	b = strconv.AppendInt(b, e.timeUS, 10)
	b = append(b, `,"kind":"`...)
	b = append(b, e.kind...)
	b = append(b, '"', ',')
	if e.kind != stream.KindCommit {
		b = member(b, string(e.kind), e.body)
		b = append(b, '}')
		ev, err := stream.Parse(b)
		if err != nil {
			return source.Line{Data: raw, Event: ev, Err: err}
		}
		// The log's own form: a sync may carry a commit's blocks, which nobody reads.
		return source.Line{Data: ev.AppendJSON(nil), Event: ev}
	}
	c := &e.commit
	b = append(b, `"commit":{`...)
	b = member(b, "rev", c.rev)
	b = append(b, ',')
	b = member(b, "operation", c.operation)
	b = append(b, ',')
	b = member(b, "collection", c.collection)
	b = append(b, ',')
	b = member(b, "rkey", c.rkey)
	if c.record != nil {
		b = append(b, ',')
		b = member(b, "record", c.record)
	}
	if c.cid != nil {
		b = append(b, ',')
		b = member(b, "cid", c.cid)
	}
	b = append(b, '}', '}')
	line := source.Parsed(b)
	if line.Err != nil && raw != nil {
		line.Data = raw
	}
	return line
}

func member(b []byte, key string, value json.RawMessage) []byte {
	b = append(b, '"')
	b = append(b, key...)
	b = append(b, '"', ':')
	if value == nil {
		return append(b, "null"...)
	}
	return append(b, value...)
}

// original is a row as the body of a reject: what it has besides its place.
func original(r *row) []byte {
	b, err := json.Marshal(struct {
		Seq        uint64 `json:"seq"`
		TimeUS     int64  `json:"time_us"`
		Kind       byte   `json:"kind"`
		DID        string `json:"did"`
		Collection string `json:"collection,omitempty"`
		RKey       string `json:"rkey,omitempty"`
		Rev        string `json:"rev,omitempty"`
		CBOR       string `json:"cbor,omitempty"`
	}{r.seq, r.timeUS(), r.kind, string(r.did), string(r.collection), string(r.rkey), string(r.rev), base64.StdEncoding.EncodeToString(r.payload)})
	if err != nil {
		return fmt.Appendf(nil, "row %d: %v", r.seq, err) // strings and numbers always marshal
	}
	return b
}

func reject(data []byte, reason stream.Reason, detail string) source.Line {
	return source.Line{Data: data, Err: &stream.InvalidError{Reason: reason, Detail: detail}}
}

// quoted returns s as a JSON string. Identifiers need no escape and take the short
// way.
func quoted(s []byte) json.RawMessage {
	for _, c := range s {
		if c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			b, _ := json.Marshal(string(s)) // a string always marshals
			return b
		}
	}
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// text returns the content of a JSON string, and nothing for any other value.
func text(v json.RawMessage) string {
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// micros returns a datetime in microseconds since the Unix epoch, and 0 for what
// is none: the wire has empty ones.
func micros(s string) int64 {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return 0
	}
	return t.UnixMicro()
}

// seqOf returns a row's seq as a cursor's value; false for one that no cursor can
// have.
func seqOf(seq uint64) (int64, bool) {
	if seq == 0 || seq >= timeCursors || seq > math.MaxInt64 {
		return 0, false
	}
	return int64(seq), true
}
