package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// MaxDIDLength is the longest DID taken, in bytes. The specification allows
// 2,048; every DID method in use stays under 300.
const MaxDIDLength = 512

// maxTimeUS is the end of the year 9999: later times have no RFC 3339 form.
const maxTimeUS = 253_402_300_799_999_999

// ErrUnknownKind says that an event is of a kind that this version does not
// know. It is to be ignored, not rejected: upstream may add kinds.
var ErrUnknownKind = errors.New("unknown kind of event")

// Reason is why something a source sent is not an event. The set is small and
// fixed, so that it may label a metric.
type Reason string

// The reasons for a reject.
const (
	ReasonJSON       Reason = "json"       // no JSON object in UTF-8
	ReasonKind       Reason = "kind"       // no kind
	ReasonDID        Reason = "did"        // no, invalid or too long DID
	ReasonTime       Reason = "time"       // no time_us, or none between 1970 and 9999
	ReasonBody       Reason = "body"       // the object that the kind promises is missing or incomplete
	ReasonCollection Reason = "collection" // no NSID
	ReasonRKey       Reason = "rkey"       // no record key
	ReasonRev        Reason = "rev"        // no TID
	ReasonOperation  Reason = "operation"  // none of create, update, delete
	ReasonRecord     Reason = "record"     // create or update without a record object
	ReasonTooLarge   Reason = "too-large"  // longer than the log or the source can take
	ReasonFrame      Reason = "frame"      // bytes that the source's framing does not explain
)

// InvalidError says why something is not an event.
type InvalidError struct {
	Reason Reason
	// Detail is for people and may quote what the network sent.
	Detail string
}

func (e *InvalidError) Error() string { return string(e.Reason) + ": " + e.Detail }

func invalid(r Reason, format string, args ...any) error {
	return &InvalidError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// Parse reads one event in the shape of the log's messages, which is that of the
// legacy Jetstream wire. Keys it does not know are skipped; a key given twice
// counts as given last.
//
// The error is [ErrUnknownKind] or an [*InvalidError]. With an error, the event
// has what could be read before it (DID, TimeUS, Kind and the commit's
// collection come first), so that the caller can tell where it belongs.
//
// Record shares memory with line.
func Parse(line []byte) (Event, error) {
	var ev Event
	if !json.Valid(line) {
		return ev, invalid(ReasonJSON, "not a JSON value")
	}
	// encoding/json lets broken UTF-8 pass, no database does.
	if !utf8.Valid(line) {
		return ev, invalid(ReasonJSON, "not UTF-8")
	}
	var did, timeUS, kind, commit, identity, account, sync []byte
	if !isObject(line) {
		return ev, invalid(ReasonJSON, "not an object")
	}
	for k, v := range members(line) {
		switch string(k) {
		case "did":
			did = v
		case "time_us":
			timeUS = v
		case "kind":
			kind = v
		case "commit":
			commit = v
		case "identity":
			identity = v
		case "account":
			account = v
		case "sync":
			sync = v
		}
	}

	switch {
	case string(kind) == `"commit"`: // without an allocation
		ev.Kind = KindCommit
	default:
		s, ok := text(kind)
		if !ok || s == "" {
			return ev, invalid(ReasonKind, "no kind")
		}
		ev.Kind = Kind(s)
	}
	t, timeErr := strconv.ParseInt(string(timeUS), 10, 64)
	if timeErr == nil && 0 < t && t <= maxTimeUS {
		ev.TimeUS = t
	}
	var err error
	ev.DID, err = parseDID(did)

	switch ev.Kind {
	case KindCommit, KindIdentity, KindAccount, KindSync:
	default:
		return ev, ErrUnknownKind
	}
	var commitErr error
	if ev.Kind == KindCommit {
		ev.Commit, commitErr = parseCommit(commit)
	}
	if err != nil {
		return ev, err
	}
	if ev.TimeUS == 0 {
		return ev, invalid(ReasonTime, "time_us %s", quote(timeUS))
	}
	switch ev.Kind {
	case KindCommit:
		err = commitErr
	case KindIdentity:
		ev.Identity = parseIdentity(identity)
	case KindAccount:
		ev.Account, err = parseAccount(account)
	case KindSync:
		ev.Sync, err = parseSync(sync)
	}
	return ev, err
}

func parseDID(v []byte) (syntax.DID, error) {
	s, ok := text(v)
	if !ok {
		return "", invalid(ReasonDID, "no DID")
	}
	if len(s) > MaxDIDLength {
		return "", invalid(ReasonDID, "%d bytes, more than %d", len(s), MaxDIDLength)
	}
	did, err := syntax.ParseDID(s)
	if err != nil {
		return "", invalid(ReasonDID, "%s: %v", quote(v), err)
	}
	return did, nil
}

func parseCommit(v []byte) (*Commit, error) {
	if !isObject(v) {
		return nil, invalid(ReasonBody, "commit without commit object")
	}
	var c Commit
	var rev, operation, collection, rkey, cid, record []byte
	for k, v := range members(v) {
		switch string(k) {
		case "rev":
			rev = v
		case "operation":
			operation = v
		case "collection":
			collection = v
		case "rkey":
			rkey = v
		case "cid":
			cid = v
		case "record":
			record = v
		case "snapshot":
			c.Snapshot = string(v) == "true"
		}
	}

	s, _ := text(collection)
	var err error
	if c.Collection, err = syntax.ParseNSID(s); err != nil {
		return &c, invalid(ReasonCollection, "%s: %v", quote(collection), err)
	}
	switch string(operation) {
	case `"create"`:
		c.Operation = Create
	case `"update"`:
		c.Operation = Update
	case `"delete"`:
		c.Operation = Delete
	default:
		return &c, invalid(ReasonOperation, "%s", quote(operation))
	}
	s, _ = text(rkey)
	if c.RKey, err = syntax.ParseRecordKey(s); err != nil {
		return &c, invalid(ReasonRKey, "%s: %v", quote(rkey), err)
	}
	s, _ = text(rev)
	if c.Rev, err = syntax.ParseTID(s); err != nil {
		return &c, invalid(ReasonRev, "%s: %v", quote(rev), err)
	}
	if c.Operation == Delete {
		if c.Snapshot {
			return &c, invalid(ReasonOperation, "delete in a snapshot")
		}
		return &c, nil
	}
	if !isObject(record) {
		return &c, invalid(ReasonRecord, "%s without a record object", c.Operation)
	}
	c.Record = record
	if s, ok := text(cid); ok {
		// A claim that is no CID is no claim; the record stands for itself.
		if _, err := syntax.ParseCID(s); err == nil {
			c.CID = s
		}
	}
	return &c, nil
}

// parseIdentity takes an identity event without a body, too: its DID says what
// has to be resolved again.
func parseIdentity(v []byte) *Identity {
	id := new(Identity)
	if !isObject(v) {
		return id
	}
	for k, v := range members(v) {
		switch string(k) {
		case "handle":
			if s, ok := text(v); ok {
				id.Handle, _ = syntax.ParseHandle(s) // empty if it is none
			}
		case "seq":
			id.Seq = integer(v)
		case "time":
			id.Time = datetime(v)
		}
	}
	return id
}

func parseAccount(v []byte) (*Account, error) {
	if !isObject(v) {
		return nil, invalid(ReasonBody, "account without account object")
	}
	a := new(Account)
	var active []byte
	for k, v := range members(v) {
		switch string(k) {
		case "active":
			active = v
		case "status":
			a.Status, _ = text(v)
		case "seq":
			a.Seq = integer(v)
		case "time":
			a.Time = datetime(v)
		}
	}
	switch string(active) {
	case "true":
		a.Active = true
	case "false":
	default:
		return a, invalid(ReasonBody, "account with active %s", quote(active))
	}
	return a, nil
}

func parseSync(v []byte) (*Sync, error) {
	if !isObject(v) {
		return nil, invalid(ReasonBody, "sync without sync object")
	}
	y := new(Sync)
	var rev []byte
	for k, v := range members(v) {
		switch string(k) {
		case "rev":
			rev = v
		case "seq":
			y.Seq = integer(v)
		case "time":
			y.Time = datetime(v)
		case "complete":
			y.Complete = string(v) == "true"
		case "coverage":
			y.Coverage, _ = text(v)
		}
	}
	// It says "look at the repository again", with or without a rev that is one.
	s, _ := text(rev)
	if tid, err := syntax.ParseTID(s); err == nil {
		y.Rev = tid
	}
	if y.Complete && (y.Rev == "" || y.Coverage == "") {
		return y, invalid(ReasonBody, "complete sync without rev or coverage")
	}
	return y, nil
}

// The rest walks JSON that json.Valid has passed, so it needs no error paths; a
// nil value is a key that was not there.

// members yields the keys (unescaped) and values (raw) of the object obj.
func members(obj []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		i := skipSpace(obj, 0) + 1 // {
		for {
			i = skipSpace(obj, i)
			if obj[i] == '}' {
				return
			}
			if obj[i] == ',' {
				i = skipSpace(obj, i+1)
			}
			end := skipValue(obj, i)
			k := obj[i:end]
			if bytes.IndexByte(k, '\\') >= 0 {
				s, _ := text(k)
				k = []byte(s)
			} else {
				k = k[1 : len(k)-1]
			}
			i = skipSpace(obj, end) + 1 // :
			i = skipSpace(obj, i)
			end = skipValue(obj, i)
			if !yield(k, obj[i:end:end]) {
				return
			}
			i = end
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the index after the value that starts at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			i++
			continue // only inside of a container
		default: // a number, true, false, null
			for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' &&
				b[i] != ' ' && b[i] != '\n' && b[i] != '\t' && b[i] != '\r' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// skipString returns the index after the string whose opening quote is at i.
func skipString(b []byte, i int) int {
	i++
	for {
		i += bytes.IndexByte(b[i:], '"')
		backslashes := 0
		for b[i-1-backslashes] == '\\' {
			backslashes++
		}
		i++
		if backslashes%2 == 0 {
			return i
		}
	}
}

func isObject(v []byte) bool {
	i := skipSpace(v, 0)
	return i < len(v) && v[i] == '{'
}

// text returns the content of a JSON string; ok is false for any other value.
func text(v []byte) (s string, ok bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1]), true
	}
	err := json.Unmarshal(v, &s)
	return s, err == nil
}

// integer returns 0 for what is no int64.
func integer(v []byte) int64 {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// datetime returns the zero time for what is none.
func datetime(v []byte) time.Time {
	s, _ := text(v)
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// quote shortens what the network sent to what fits into a log line or a header.
func quote(v []byte) string {
	if v == nil {
		return "missing"
	}
	const most = 100
	if len(v) > most {
		return strconv.QuoteToASCII(string(v[:most])) + "…"
	}
	return strconv.QuoteToASCII(string(v))
}
