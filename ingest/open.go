package ingest

import (
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/file"
	"github.com/atview/atview/ingest/firehose"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/jetstreamv2"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/tap"
)

// OpenConfig is what sources of all kinds are made with. What a spec says (URLs,
// paths, names) is filled in.
type OpenConfig struct {
	Jetstream   jetstream.Config
	JetstreamV2 jetstreamv2.Config
	Firehose    firehose.Config
	Tap         tap.Config
	// Directory has the keys that a firehose's commits are signed with.
	Directory identity.Directory
	// Pool is of the database where a firehose remembers how repositories stood; nil
	// if there is none.
	Pool *pgxpool.Pool
	// HTTP makes connections to hosts that the user has named.
	HTTP *http.Client
	Log  zerolog.Logger
}

// Opened are sources to run.
type Opened struct {
	Sources []source.Source
	// Archives belong on the backfill lane.
	Archives []source.Source
}

// Open makes sources of specs. Nothing is connected yet.
func Open(specs []Spec, cfg OpenConfig) (Opened, error) {
	var out Opened
	for _, spec := range specs {
		src, archive, err := spec.open(cfg)
		if err != nil {
			return out, fmt.Errorf("--source %s: %w", spec, err)
		}
		out.Sources = append(out.Sources, src)
		if archive != nil {
			out.Archives = append(out.Archives, archive)
		}
	}
	return out, nil
}

func (s Spec) open(cfg OpenConfig) (src, archive source.Source, err error) {
	log := cfg.Log.With().Str("component", string(s.Kind)).Logger()
	switch s.Kind {
	case File:
		src, err = file.New(file.Config{Path: s.Path})
	case Jetstream:
		c := cfg.Jetstream
		c.URLs, c.Name, c.Log = s.URLs, s.Name(), log
		src, err = jetstream.New(c)
	case JetstreamV2:
		c := cfg.JetstreamV2
		c.URLs, c.Name, c.HTTP, c.Log = s.URLs, s.Name(), cfg.HTTP, log
		var live *jetstreamv2.Live
		var past *jetstreamv2.Archive
		if live, past, err = jetstreamv2.New(c); err == nil && c.Archive {
			archive = past
		}
		src = live
	case Firehose:
		c := cfg.Firehose
		c.URLs, c.Name, c.Directory, c.Pool, c.Log = s.URLs, s.Name(), cfg.Directory, cfg.Pool, log
		src, err = firehose.New(c)
	case Tap:
		c := cfg.Tap
		c.URL, c.Name, c.Log = s.URLs[0], s.Name(), log
		src, err = tap.New(c)
	}
	return src, archive, err
}
