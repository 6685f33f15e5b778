package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Limits of the legacy wire; see
// https://github.com/bluesky-social/jetstream#consuming-jetstream.
const (
	maxWantedCollections = 100
	maxWantedDIDs        = 10_000
	maxUpdateBytes       = 10_000_000
)

// filter is what a subscriber wants.
type filter struct {
	exact    map[syntax.NSID]bool
	prefixes []string // "app.bsky.graph."
	dids     map[syntax.DID]bool
	maxBytes int // of an event as it is sent; 0 for any
}

// wants decides without the size. Identity and account events pass whatever the
// collections, as they do on the real wire.
func (f *filter) wants(e *entry) bool {
	if len(f.dids) > 0 && !f.dids[e.did] {
		return false
	}
	if e.collection == "" || len(f.exact)+len(f.prefixes) == 0 || f.exact[e.collection] {
		return true
	}
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(string(e.collection), prefix) {
			return true
		}
	}
	return false
}

// options is how a subscription begins.
type options struct {
	filter   *filter
	cursor   *int64
	packed   bool // compressed with the legacy dictionary
	mustWait bool // for the first options_update
}

func parseOptions(r *http.Request) (options, error) {
	var o options
	var err error
	q := r.URL.Query()
	maxBytes := 0
	if s := q.Get("maxMessageSizeBytes"); s != "" {
		if maxBytes, err = strconv.Atoi(s); err != nil {
			return o, fmt.Errorf("maxMessageSizeBytes: %w", err)
		}
	}
	if o.filter, err = newFilter(q["wantedCollections"], q["wantedDids"], maxBytes); err != nil {
		return o, err
	}
	if s := q.Get("cursor"); s != "" {
		cursor, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return o, fmt.Errorf("cursor: %w", err)
		}
		o.cursor = &cursor
	}
	o.packed = q.Get("compress") == "true" || strings.Contains(r.Header.Get("Socket-Encoding"), "zstd")
	o.mustWait = q.Get("requireHello") == "true"
	return o, nil
}

func newFilter(collections, dids []string, maxBytes int) (*filter, error) {
	f := &filter{exact: map[syntax.NSID]bool{}, dids: map[syntax.DID]bool{}, maxBytes: max(maxBytes, 0)}
	for _, s := range collections {
		if prefix, ok := strings.CutSuffix(s, ".*"); ok {
			if prefix += "."; !slices.Contains(f.prefixes, prefix) {
				f.prefixes = append(f.prefixes, prefix)
			}
			continue
		}
		nsid, err := syntax.ParseNSID(s)
		if err != nil {
			return nil, fmt.Errorf("wantedCollections: %q: %w", s, err)
		}
		f.exact[nsid] = true
	}
	for _, s := range dids {
		did, err := syntax.ParseDID(s)
		if err != nil {
			return nil, fmt.Errorf("wantedDids: %q: %w", s, err)
		}
		f.dids[did] = true
	}
	if n := len(f.exact) + len(f.prefixes); n > maxWantedCollections {
		return nil, fmt.Errorf("wantedCollections: %d are more than %d", n, maxWantedCollections)
	}
	if n := len(f.dids); n > maxWantedDIDs {
		return nil, fmt.Errorf("wantedDids: %d are more than %d", n, maxWantedDIDs)
	}
	return f, nil
}

// parseUpdate reads what a client sends: its new filter, whole.
func parseUpdate(data []byte) (*filter, error) {
	var msg struct {
		Type    string `json:"type"`
		Payload *struct {
			WantedCollections   []string `json:"wantedCollections"`
			WantedDIDs          []string `json:"wantedDids"`
			MaxMessageSizeBytes int      `json:"maxMessageSizeBytes"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(data, &msg); err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	if msg.Type != "options_update" || msg.Payload == nil {
		return nil, errors.New("message: no options_update with a payload")
	}
	return newFilter(msg.Payload.WantedCollections, msg.Payload.WantedDIDs, msg.Payload.MaxMessageSizeBytes)
}
