package ingest

import (
	"fmt"
	"net/url"
	"strings"
)

// Kind is what a source speaks.
type Kind string

// The kinds of source.
const (
	File        Kind = "file"         // JSON lines
	Jetstream   Kind = "jetstream"    // the legacy Jetstream wire
	JetstreamV2 Kind = "jetstream-v2" // network.bsky.jetstream.subscribeEvents
	Firehose    Kind = "firehose"     // com.atproto.sync.subscribeRepos
	Tap         Kind = "tap"
)

// known is what an error about a source URL shows.
const known = "file:PATH.jsonl, wss://HOST/subscribe, wss://HOST/xrpc/network.bsky.jetstream.subscribeEvents," +
	" wss://HOST/xrpc/com.atproto.sync.subscribeRepos or tap+ws://HOST:PORT/channel"

// Spec is a source as it was asked for, checked.
type Spec struct {
	Kind Kind
	// Path is a file's, and URLs are hosts that stand in for one another.
	Path string
	URLs []string
}

// Parse reads what --source was given, each one URL or several with commas
// between them:
//
//	file:PATH.jsonl             a file of JSON lines, also .jsonl.zst and .jsonl.gz
//	wss://HOST/subscribe        a Jetstream, in the legacy wire format
//	wss://HOST/xrpc/network.bsky.jetstream.subscribeEvents
//	                            a Jetstream, version 2
//	wss://HOST/xrpc/com.atproto.sync.subscribeRepos
//	                            the firehose of a relay or a PDS
//	tap+ws://HOST:PORT/channel  a Tap, also tap+wss
//
// Jetstreams of a version become one source that reads one host at a time and takes
// the next when one fails: each has the whole network. So do firehoses that are
// given with commas between them. Firehoses that are given one by one are sources
// of their own, since those of two PDSes are two halves; so are Taps.
func Parse(args []string) ([]Spec, error) {
	var specs []Spec
	jetstreams := map[Kind]int{} // where their spec is
	for _, arg := range args {
		if path, ok := strings.CutPrefix(arg, "file:"); ok {
			specs = append(specs, Spec{Kind: File, Path: strings.TrimPrefix(path, "//")})
			continue
		}
		firehose := -1
		for one := range strings.SplitSeq(arg, ",") {
			one = strings.TrimSpace(one)
			kind, err := kindOf(one)
			if err != nil {
				return nil, fmt.Errorf("--source %s: %w", arg, err)
			}
			at, merge := -1, false
			switch kind {
			case Jetstream, JetstreamV2:
				at, merge = jetstreams[kind]-1, true
			case Firehose:
				at, merge = firehose, true
			}
			if merge && at >= 0 {
				specs[at].URLs = append(specs[at].URLs, one)
				continue
			}
			specs = append(specs, Spec{Kind: kind, URLs: []string{one}})
			switch kind {
			case Jetstream, JetstreamV2:
				jetstreams[kind] = len(specs)
			case Firehose:
				firehose = len(specs) - 1
			}
		}
	}
	return specs, nil
}

func kindOf(s string) (Kind, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	path := strings.TrimSuffix(u.Path, "/")
	tap := u.Scheme == "tap+ws" || u.Scheme == "tap+wss"
	switch {
	case !tap && u.Scheme != "ws" && u.Scheme != "wss":
		return "", fmt.Errorf("unknown kind of source %q: want %s", s, known)
	case u.Host == "":
		return "", fmt.Errorf("no host in %q: want %s", s, known)
	case tap:
		return Tap, nil
	case strings.HasSuffix(path, "/xrpc/network.bsky.jetstream.subscribeEvents"):
		return JetstreamV2, nil
	case strings.HasSuffix(path, "/xrpc/com.atproto.sync.subscribeRepos"):
		return Firehose, nil
	case strings.HasSuffix(path, "/subscribe"):
		return Jetstream, nil
	}
	return "", fmt.Errorf("unknown kind of source %q: path %q, want %s", s, u.Path, known)
}

// Name is the source's: that of its kind, and of the file or host where there can
// be several. The log keeps the cursor under it.
func (s Spec) Name() string {
	switch s.Kind {
	case File:
		return "file:" + s.Path
	case Firehose, Tap:
		u, err := url.Parse(s.URLs[0])
		if err != nil {
			return string(s.Kind) // not of Parse
		}
		return string(s.Kind) + ":" + u.Host
	}
	return string(s.Kind)
}

// Ends reports whether the source comes to an end by itself.
func (s Spec) Ends() bool { return s.Kind == File }

// HTTP is the base URL of the host that the source reads first: a relay that has a
// firehose answers questions, too. Empty for a file.
func (s Spec) HTTP() string {
	if len(s.URLs) == 0 {
		return ""
	}
	u, err := url.Parse(s.URLs[0])
	if err != nil {
		return ""
	}
	scheme := "https"
	if strings.HasSuffix(u.Scheme, "ws") {
		scheme = "http"
	}
	return (&url.URL{Scheme: scheme, Host: u.Host}).String()
}

// String is the spec as it was given, without passwords.
func (s Spec) String() string {
	if s.Kind == File {
		return s.Name()
	}
	shown := make([]string, len(s.URLs))
	for i, raw := range s.URLs {
		if u, err := url.Parse(raw); err == nil {
			shown[i] = u.Redacted()
		}
	}
	return strings.Join(shown, ",")
}
