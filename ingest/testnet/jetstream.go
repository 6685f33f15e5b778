package testnet

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/coder/websocket"

	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/stream"
)

const (
	subscribeEvents = "/xrpc/network.bsky.jetstream.subscribeEvents"
	zstdDictionary  = "/xrpc/network.bsky.jetstream.getZstdDictionary"
)

// timeCursors are cursors that are microseconds since the Unix epoch; smaller ones
// are sequence numbers.
const timeCursors = 1_000_000_000_000_000

// jet is a Jetstream of what the PDSes emit. See
// https://github.com/bluesky-social/jetstream.
type jet struct {
	n      *Network
	server *server

	mu      sync.Mutex
	events  []jetEvent
	last    int64 // sequence number
	seq     int64 // that the upstream's events have
	garbage int
	changed chan struct{}
}

// jetEvent is one event of either wire.
type jetEvent struct {
	seq    int64
	timeUS int64
	v2     bool // only the new wire has it

	did  syntax.DID
	kind stream.Kind
	// Of a commit.
	collection syntax.NSID
	rkey       syntax.RecordKey
	operation  stream.Operation
	rev        syntax.TID // of a sync, too
	cid        string
	record     []byte
	// Of the others.
	upstream int64 // sequence number
	at       time.Time
	handle   syntax.Handle
	status   string
	car      []byte
}

// take shows an event; under the network's lock. A #sync is followed by what the
// repository has, as on the real one, which reads it from the PDS.
func (j *jet) take(a *Account, ev *event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	base := jetEvent{did: ev.did, timeUS: ev.at.UnixMicro(), rev: ev.rev, upstream: j.seq, at: ev.at}
	add := func(e jetEvent) {
		if e.kind == stream.KindCommit && j.n.Faults.hit(JetstreamDrop, ev.did) {
			return
		}
		j.last++
		e.seq = j.last
		j.events = append(j.events, e)
	}
	switch ev.kind {
	case kindCommit:
		for _, c := range ev.diff.changes {
			if c.is != nil && c.is.json == nil {
				continue // nothing that JSON could say
			}
			e := base
			e.kind, e.operation = stream.KindCommit, stream.Operation(c.op.action)
			e.collection, e.rkey = c.op.collection, c.op.rkey
			if c.is != nil {
				e.cid, e.record = c.is.block.cid.String(), c.is.json
			}
			add(e)
		}
	case kindIdentity:
		base.kind = stream.KindIdentity
		if j.n.cfg.KeepHandles {
			base.handle = ev.handle
		}
		add(base)
	case kindAccount:
		base.kind, base.status = stream.KindAccount, ev.status
		add(base)
	case kindSync:
		base.v2 = true
		sync := base
		sync.kind, sync.car = stream.KindSync, ev.car
		add(sync)
		for _, path := range slices.Sorted(maps.Keys(a.repo.records)) {
			rec := a.repo.records[path]
			if rec.json == nil {
				continue
			}
			collection, rkey, _ := strings.Cut(path, "/")
			e := base
			e.kind, e.operation = stream.KindCommit, stream.Create
			e.collection, e.rkey = syntax.NSID(collection), syntax.RecordKey(rkey)
			e.cid, e.record = rec.block.cid.String(), rec.json
			add(e)
		}
	}
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *jet) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = nil
}

// v1 is the event on the legacy wire.
func (e *jetEvent) v1() []byte {
	ev := stream.Event{DID: e.did, TimeUS: e.timeUS, Kind: e.kind}
	switch e.kind {
	case stream.KindCommit:
		ev.Commit = &stream.Commit{
			Rev: e.rev, Operation: e.operation, Collection: e.collection, RKey: e.rkey, CID: e.cid, Record: e.record,
		}
	case stream.KindIdentity:
		ev.Identity = &stream.Identity{Handle: e.handle, Seq: e.upstream, Time: e.at}
	default:
		ev.Account = &stream.Account{Active: e.status == Active, Seq: e.upstream, Time: e.at}
		if e.status != Active {
			ev.Account.Status = e.status
		}
	}
	line := ev.AppendJSON(nil)
	// Today's servers have a cursor in it, which the log's own shape has not.
	at := bytes.Index(line, []byte(`,"kind":`))
	return slices.Insert(line, at, fmt.Appendf(nil, `,"cursor":%d`, e.seq)...)
}

// v2 is the event on the new wire.
func (e *jetEvent) v2Line() []byte {
	at := e.at.Format(time.RFC3339Nano)
	payload := map[string]any{
		"$type": "network.bsky.jetstream.subscribeEvents#" + string(e.kind),
		"did":   e.did, "seq": e.seq, "time": time.UnixMicro(e.timeUS).UTC().Format(time.RFC3339Nano),
	}
	inner := map[string]any{"did": e.did, "seq": e.upstream, "time": at}
	switch e.kind {
	case stream.KindCommit:
		payload["collection"], payload["rkey"] = e.collection, e.rkey
		payload["operation"], payload["rev"] = e.operation, e.rev
		if e.record != nil {
			payload["cid"], payload["record"] = e.cid, json.RawMessage(e.record)
		}
	case stream.KindIdentity:
		if e.handle != "" {
			inner["handle"] = e.handle
		}
		payload["identity"] = inner
	case stream.KindAccount:
		inner["active"] = e.status == Active
		if e.status != Active {
			inner["status"] = e.status
		}
		payload["account"] = inner
	case stream.KindSync:
		inner["rev"] = e.rev
		inner["blocks"] = map[string]string{"$bytes": base64.RawStdEncoding.EncodeToString(e.car)}
		payload["sync"] = inner
	}
	return v2Message(payload)
}

func v2Message(payload map[string]any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"$type": "message", "payload": payload}); err != nil {
		panic(fmt.Sprintf("testnet: encode Jetstream event: %v", err)) // records are JSON
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// jetFilter is what a subscriber wants.
type jetFilter struct {
	mu          sync.Mutex
	collections []string // NSIDs, and prefixes that end with ".*"
	dids        []string
	kinds       []string
	maxBytes    int
}

func (f *jetFilter) wants(e *jetEvent) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.dids) > 0 && !slices.Contains(f.dids, string(e.did)) ||
		len(f.kinds) > 0 && !slices.Contains(f.kinds, string(e.kind)) {
		return false
	}
	if e.kind != stream.KindCommit || len(f.collections) == 0 {
		return true
	}
	return slices.ContainsFunc(f.collections, func(c string) bool {
		prefix, ok := strings.CutSuffix(c, "*")
		return c == string(e.collection) || ok && strings.HasPrefix(string(e.collection), prefix)
	})
}

func (f *jetFilter) tooLong(line []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.maxBytes > 0 && len(line) > f.maxBytes
}

// set replaces the filter, if it is a valid one.
func (f *jetFilter) set(collections, dids []string, maxBytes int) error {
	switch {
	case len(collections) > 100:
		return fmt.Errorf("too many wanted collections: %d > 100", len(collections))
	case len(dids) > 10_000:
		return fmt.Errorf("too many wanted DIDs: %d > 10000", len(dids))
	}
	for _, c := range collections {
		if strings.HasSuffix(c, ".*") {
			continue
		}
		if _, err := syntax.ParseNSID(c); err != nil {
			return fmt.Errorf("collection %q: %w", c, err)
		}
	}
	for _, d := range dids {
		if _, err := syntax.ParseDID(d); err != nil {
			return fmt.Errorf("DID %q: %w", d, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.collections, f.dids, f.maxBytes = collections, dids, max(maxBytes, 0)
	return nil
}

func (j *jet) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/subscribe":
		j.subscribeV1(w, r)
	case subscribeEvents:
		j.subscribeV2(w, r)
	case zstdDictionary:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(jetstream.Dictionary())
	default:
		http.NotFound(w, r)
	}
}

func (j *jet) subscribeV1(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	refuse := func(err error) { http.Error(w, err.Error(), http.StatusBadRequest) }
	filter := &jetFilter{}
	maxBytes, _ := strconv.Atoi(q.Get("maxMessageSizeBytes"))
	if err := filter.set(q["wantedCollections"], q["wantedDids"], maxBytes); err != nil {
		refuse(err)
		return
	}
	after, _, err := j.seek(q.Get("cursor"))
	if err != nil {
		refuse(err)
		return
	}
	if j.n.Faults.hit(JetstreamRefuse, "") {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	conn.SetReadLimit(10_000_000)
	ctx, cancel := context.WithCancel(j.n.over)
	hello := make(chan struct{}) // closed by the first options_update
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		defer cancel()
		j.listen(ctx, conn, filter, hello)
	}()
	defer func() {
		cancel()
		_ = conn.CloseNow() // it is over anyway
		<-reader
	}()
	if q.Get("requireHello") == "true" {
		select {
		case <-hello:
		case <-ctx.Done():
			return
		}
	}
	s := &jetSubscriber{
		jet: j, conn: conn, filter: filter,
		packed: q.Get("compress") == "true" || strings.Contains(r.Header.Get("Socket-Encoding"), "zstd"),
	}
	_ = s.run(ctx, after) // that the client has left, or is to leave
}

// listen reads what a subscriber of the legacy wire says.
func (j *jet) listen(ctx context.Context, conn *websocket.Conn, filter *jetFilter, hello chan struct{}) {
	for first := true; ; first = false {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var msg struct {
			Type    string `json:"type"`
			Payload *struct {
				WantedCollections   []string `json:"wantedCollections"`
				WantedDIDs          []string `json:"wantedDids"`
				MaxMessageSizeBytes int      `json:"maxMessageSizeBytes"`
			} `json:"payload"`
		}
		if json.Unmarshal(data, &msg) != nil || msg.Type != "options_update" || msg.Payload == nil ||
			filter.set(msg.Payload.WantedCollections, msg.Payload.WantedDIDs, msg.Payload.MaxMessageSizeBytes) != nil {
			_ = conn.Close(websocket.StatusPolicyViolation, "invalid options_update")
			return
		}
		if first {
			close(hello)
		}
	}
}

func (j *jet) subscribeV2(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	filter, err := filterV2(q)
	if err != nil {
		xrpcError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	if id := q.Get("zstdDictionary"); id != "" && id != dictionaryID() {
		xrpcError(w, http.StatusBadRequest, "UnknownZstdDictionary", "the current dictionary is "+dictionaryID())
		return
	}
	after, old, err := j.seek(q.Get("cursor"))
	cursor, _ := strconv.ParseInt(q.Get("cursor"), 10, 64)
	switch {
	case err != nil:
		xrpcError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	case old && cursor < timeCursors:
		xrpcError(w, http.StatusBadRequest, "CursorTooOld", fmt.Sprintf("the oldest event is %d", after+1))
		return
	case j.n.Faults.hit(JetstreamRefuse, ""):
		xrpcError(w, http.StatusServiceUnavailable, "ServiceUnavailable", "not ready")
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	ctx, end := j.n.mute(conn)
	defer end()
	s := &jetSubscriber{jet: j, conn: conn, filter: filter, v2: true, packed: q.Get("zstdDictionary") != ""}
	if old {
		info := v2Message(map[string]any{
			"$type": "network.bsky.jetstream.subscribeEvents#info", "name": "OutdatedCursor",
			"message": fmt.Sprintf("requested timestamp cursor below retention floor; starting at seq %d", after+1),
		})
		if s.write(ctx, info) != nil {
			return
		}
	}
	_ = s.run(ctx, after) // that the client has left, or is to leave
}

func filterV2(q url.Values) (*jetFilter, error) {
	for _, p := range []string{"wantedCollections", "wantedDids", "requireHello"} {
		if q.Has(p) {
			return nil, fmt.Errorf("%s is a parameter of the legacy wire", p)
		}
	}
	f := &jetFilter{kinds: q["kinds"]}
	for _, k := range f.kinds {
		if !slices.Contains([]string{"commit", "identity", "account", "sync"}, k) {
			return nil, fmt.Errorf("kind %q", k)
		}
	}
	if len(q["collections"]) > 0 && len(f.kinds) > 0 && !slices.Contains(f.kinds, "commit") {
		return nil, fmt.Errorf("collections without the kind commit")
	}
	if slices.Contains(q["collections"], "*") {
		return nil, fmt.Errorf("collection *")
	}
	return f, f.set(q["collections"], q["dids"], 0)
}

// dictionaryID is in the dictionary's header, behind the magic number; see
// https://datatracker.ietf.org/doc/html/rfc8878#section-5.
func dictionaryID() string {
	d := jetstream.Dictionary()
	return strconv.FormatUint(uint64(d[4])|uint64(d[5])<<8|uint64(d[6])<<16|uint64(d[7])<<24, 10)
}

// seek returns the sequence number behind which a cursor begins, and whether what it
// asks for is kept no longer. None, and one of the future, are the present.
func (j *jet) seek(cursor string) (after int64, old bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	floor := j.last - int64(len(j.events))
	if cursor == "" {
		return j.last, false, nil
	}
	c, err := strconv.ParseInt(cursor, 10, 64)
	switch {
	case err != nil || c < 0:
		return 0, false, fmt.Errorf("cursor %q", cursor)
	case c < timeCursors && c > j.last:
		return j.last, false, nil
	case c < timeCursors:
		return max(c-1, floor), c <= floor && floor > 0, nil
	}
	i := slices.IndexFunc(j.events, func(e jetEvent) bool { return e.timeUS >= c })
	if i < 0 {
		return j.last, false, nil
	}
	return floor + int64(i), i == 0 && floor > 0 && j.events[0].timeUS > c, nil
}

// next returns the event behind a sequence number; nil if there is none yet.
func (j *jet) next(after int64) (*jetEvent, chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	floor := j.last - int64(len(j.events))
	if i := max(after-floor, 0); i < int64(len(j.events)) {
		return &j.events[i], j.changed
	}
	return nil, j.changed
}

type jetSubscriber struct {
	jet    *jet
	conn   *websocket.Conn
	filter *jetFilter
	v2     bool
	packed bool
}

func (s *jetSubscriber) run(ctx context.Context, after int64) error {
	faults := s.jet.n.Faults
	for {
		e, changed := s.jet.next(after)
		if e == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		after = e.seq
		if e.v2 && !s.v2 || !s.filter.wants(e) {
			continue
		}
		if faults.hit(JetstreamCut, e.did) {
			return errFault
		}
		if faults.hit(JetstreamGarbage, e.did) {
			if err := s.write(ctx, s.jet.nonsense()); err != nil {
				return err
			}
		}
		line := e.v2Line
		if !s.v2 {
			line = e.v1
		}
		if err := s.write(ctx, line()); err != nil {
			return err
		}
		if e.seq > 1 && faults.hit(JetstreamReplay, e.did) {
			after = max(e.seq-int64(s.jet.n.cfg.ReplayFrames), 0)
		}
	}
}

func (s *jetSubscriber) write(ctx context.Context, line []byte) error {
	if s.filter.tooLong(line) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.jet.n.cfg.WriteTimeout)
	defer cancel()
	if !s.packed {
		return s.conn.Write(ctx, websocket.MessageText, line)
	}
	return s.conn.Write(ctx, websocket.MessageBinary, s.jet.n.packer.EncodeAll(line, nil))
}

// nonsense is one kind of garbage after the other.
func (j *jet) nonsense() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.garbage++
	switch j.garbage % 4 {
	case 1:
		return []byte(`{"did":"did:plc:`)
	case 2:
		return []byte(`[]`)
	case 3:
		return []byte("\xff\xfe")
	}
	return []byte(`{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","time_us":1767225600000000,"kind":"future"}`)
}
