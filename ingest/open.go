package ingest

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/file"
	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/source"
)

// ErrUnsupported says that a source URL is of a known kind that cannot be read.
var ErrUnsupported = errors.New("kind of source not supported yet")

// known is what an error about a source URL shows.
const known = "file:PATH.jsonl or wss://HOST/subscribe"

// OpenConfig is what sources of all kinds are made with.
type OpenConfig struct {
	// Jetstream tunes a Jetstream source; its URLs are filled in.
	Jetstream jetstream.Config
	Log       zerolog.Logger
}

// Open makes sources of what --source was given, each one URL or several with
// commas between them:
//
//	file:PATH.jsonl             a file of JSON lines, also .jsonl.zst and .jsonl.gz
//	wss://HOST[:PORT]/subscribe a Jetstream, in the legacy wire format
//
// Several Jetstreams become one source that reads one host at a time and takes
// the next when one fails. Nothing is connected yet.
func Open(urls []string, cfg OpenConfig) ([]source.Source, error) {
	var sources []source.Source
	var jetstreams []string
	for _, arg := range urls {
		if path, ok := strings.CutPrefix(arg, "file:"); ok {
			path = strings.TrimPrefix(path, "//")
			src, err := file.New(file.Config{Path: path})
			if err != nil {
				return nil, fmt.Errorf("--source %s: %w", arg, err)
			}
			sources = append(sources, src)
			continue
		}
		for one := range strings.SplitSeq(arg, ",") {
			one = strings.TrimSpace(one)
			if err := checkJetstream(one); err != nil {
				return nil, fmt.Errorf("--source %s: %w", arg, err)
			}
			jetstreams = append(jetstreams, one)
		}
	}
	if len(jetstreams) > 0 {
		jc := cfg.Jetstream
		jc.URLs = jetstreams
		jc.Log = cfg.Log.With().Str("component", "jetstream").Logger()
		src, err := jetstream.New(jc)
		if err != nil {
			return nil, fmt.Errorf("--source %s: %w", strings.Join(jetstreams, ","), err)
		}
		sources = append(sources, src)
	}
	return sources, nil
}

func checkJetstream(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	path := strings.TrimSuffix(u.Path, "/")
	switch {
	case u.Scheme == "tap+ws" || u.Scheme == "tap+wss":
		return fmt.Errorf("%w: Tap", ErrUnsupported)
	case u.Scheme != "ws" && u.Scheme != "wss":
		return fmt.Errorf("unknown kind of source %q: want %s", s, known)
	case u.Host == "":
		return fmt.Errorf("no host in %q: want %s", s, known)
	case strings.HasSuffix(path, "/xrpc/network.bsky.jetstream.subscribeEvents"):
		return fmt.Errorf("%w: Jetstream version 2", ErrUnsupported)
	case strings.HasSuffix(path, "/xrpc/com.atproto.sync.subscribeRepos"):
		return fmt.Errorf("%w: relay firehose", ErrUnsupported)
	case !strings.HasSuffix(path, "/subscribe"):
		return fmt.Errorf("unknown kind of source %q: path %q, want %s", s, u.Path, known)
	}
	return nil
}
