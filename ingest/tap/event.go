package tap

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// wire is an event as it is sent. Values stay as they are: a record's bytes must not
// change.
type wire struct {
	ID     uint64 `json:"id"`
	Type   string `json:"type"`
	Record *struct {
		DID        json.RawMessage `json:"did"`
		Rev        json.RawMessage `json:"rev"`
		Collection json.RawMessage `json:"collection"`
		RKey       json.RawMessage `json:"rkey"`
		Action     json.RawMessage `json:"action"`
		Record     json.RawMessage `json:"record"`
		CID        json.RawMessage `json:"cid"`
	} `json:"record"`
	Identity *struct {
		DID      json.RawMessage `json:"did"`
		Handle   json.RawMessage `json:"handle"`
		IsActive json.RawMessage `json:"is_active"`
		Status   string          `json:"status"`
	} `json:"identity"`
}

// parse makes lines of a frame, at least one, and returns the id to acknowledge; 0
// if it has none. All is brought into the shape of the log's messages, and
// [stream.Parse] judges that, as it does for every source.
func parse(data []byte, now time.Time) (uint64, []source.Line) {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return id(data), []source.Line{reject(data, stream.ReasonFrame, err.Error())}
	}
	switch {
	case w.Type == "record" && w.Record != nil:
		r := w.Record
		b := head(r.DID, commitTime(text(r.Rev), now), stream.KindCommit)
		b = append(b, `"commit":{`...)
		b = member(b, "rev", r.Rev)
		b = append(b, ',')
		b = member(b, "operation", r.Action)
		b = append(b, ',')
		b = member(b, "collection", r.Collection)
		b = append(b, ',')
		b = member(b, "rkey", r.RKey)
		if r.Record != nil {
			b = append(b, ',')
			b = member(b, "record", r.Record)
		}
		if r.CID != nil {
			b = append(b, ',')
			b = member(b, "cid", r.CID)
		}
		line := source.Parsed(append(b, '}', '}'))
		if line.Err == nil {
			return w.ID, []source.Line{line}
		}
		line.Data = data
		lines := []source.Line{line}
		// Without its content the record is as good as changed unseen.
		if bad, ok := errors.AsType[*stream.InvalidError](line.Err); ok && bad.Reason == stream.ReasonRecord && (r.Record == nil || string(r.Record) == "null") {
			ev := stream.Event{DID: line.Event.DID, TimeUS: line.Event.TimeUS, Kind: stream.KindSync, Sync: &stream.Sync{Rev: line.Event.Commit.Rev}}
			lines = append(lines, source.Line{Data: ev.AppendJSON(nil), Event: ev})
		}
		return w.ID, lines
	case w.Type == "identity" && w.Identity != nil:
		i := w.Identity
		b := head(i.DID, now.UnixMicro(), stream.KindIdentity)
		b = append(b, `"identity":{`...)
		b = member(b, "handle", i.Handle)
		identity := source.Parsed(append(b, '}', '}'))
		if identity.Err != nil {
			identity.Data = data
			return w.ID, []source.Line{identity}
		}
		b = head(i.DID, now.UnixMicro(), stream.KindAccount)
		b = append(b, `"account":{`...)
		b = member(b, "active", i.IsActive)
		// Why it is not active; "active" is no reason.
		if string(i.IsActive) == "false" && i.Status != "" && i.Status != "active" {
			status, _ := json.Marshal(i.Status) // a string always marshals
			b = append(b, ',')
			b = member(b, "status", status)
		}
		account := source.Parsed(append(b, '}', '}'))
		if account.Err != nil {
			account.Data = data
		}
		return w.ID, []source.Line{identity, account}
	case w.Type == "record", w.Type == "identity":
		return w.ID, []source.Line{reject(data, stream.ReasonBody, w.Type+" without its body")}
	case w.Type == "":
		return w.ID, []source.Line{reject(data, stream.ReasonKind, "no type")}
	}
	return w.ID, []source.Line{{Data: data, Err: stream.ErrUnknownKind}}
}

// id is the number of a frame that is odd otherwise.
func id(data []byte) uint64 {
	var w struct {
		ID uint64 `json:"id"`
	}
	if json.Unmarshal(data, &w) != nil {
		return 0
	}
	return w.ID
}

// commitTime is the time in a rev, which is a TID, unless that is later than now.
func commitTime(rev string, now time.Time) int64 {
	tid, err := syntax.ParseTID(rev)
	if err != nil || tid.Time().After(now) {
		return now.UnixMicro()
	}
	// A time before the network was is as good as any other that is valid.
	return max(tid.Time().UnixMicro(), 1)
}

func head(did json.RawMessage, timeUS int64, kind stream.Kind) []byte {
	b := append(make([]byte, 0, 512), '{')
	b = member(b, "did", did)
	b = append(b, `,"time_us":`...)
	b = strconv.AppendInt(b, timeUS, 10)
	b = append(b, `,"kind":"`...)
	b = append(b, kind...)
	return append(b, '"', ',')
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

func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

func reject(data []byte, reason stream.Reason, detail string) source.Line {
	return source.Line{Data: data, Err: &stream.InvalidError{Reason: reason, Detail: detail}}
}
