package jetstreamv2

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Config says which servers are read, and how.
type Config struct {
	// URLs of servers that stand in for one another
	// (wss://HOST/xrpc/network.bsky.jetstream.subscribeEvents). The first is read
	// until it fails, then the next.
	URLs []string
	// Name of the live source; the archive's is Name with "-archive". Default
	// "jetstreamv2".
	Name string
	// APIKey is sent with requests for the archive, as a bearer token. Servers that
	// anybody runs need none.
	APIKey string

	// Archive says that Archive is run, too, by the same process. Then Live begins
	// where the archive ends, and a gap in the live stream is read from the archive.
	Archive bool
	// Once has Archive end when it has been read to the tip that it had at the
	// beginning. Otherwise it waits there, until Live or a new collection needs it.
	Once bool

	// ReplayWindow is how far back to begin if the log has no cursor and no archive
	// is read. Default 0: with what happens now.
	ReplayWindow time.Duration
	// Plain asks for uncompressed frames: several times the traffic for less work.
	Plain bool
	// RewindSeqs is how much is read again after a disconnect. Default 8,192, two
	// blocks: a server writes a block when it has 4,096 events, and after a crash
	// gives the numbers of those that it lost to others. See
	// https://github.com/bluesky-social/jetstream/issues/345.
	RewindSeqs int64
	// RewindOtherHost is the same when another host takes over, whose numbers are its
	// own. Default 60 s: so is its clock, and how far it is behind the network.
	RewindOtherHost time.Duration
	// MaxGaps is how often in a row Live asks the archive for what the server has no
	// more, before it takes the gap. Default 5: each time took the server longer than
	// it looks back.
	MaxGaps int

	// IdleTimeout is how long a connection may bring no event. Default 60 s; the
	// network brings identity and account events every second, whatever the filter.
	IdleTimeout time.Duration
	// PingEvery is how often the server has to answer. Default 20 s.
	PingEvery time.Duration
	// ConnectTimeout bounds the making of a connection. Default 20 s.
	ConnectTimeout time.Duration
	// RequestTimeout bounds a request for a plan, a block or a part of a segment.
	// Default 2 min: 2 MiB at 17 kB/s.
	RequestTimeout time.Duration
	// MinBackoff and MaxBackoff bound the waits between attempts, which double
	// while all hosts fail. Default 1 s and 60 s.
	MinBackoff, MaxBackoff time.Duration
	// MaxRetryAfter bounds the wait that a server asks for. Default 10 min.
	MaxRetryAfter time.Duration

	// BufferFrames and BufferBytes bound what is read live and not yet taken by the
	// log. Default 16,384 frames and 32 MiB: half a minute of the whole network. A
	// server cuts off a reader that stalls for 5 s.
	BufferFrames int
	BufferBytes  int64
	// MaxFrame is the longest frame in bytes, compressed or not. Default 32 MiB:
	// records are 1 MiB of CBOR at most, JSON may be several times as long, and so are
	// a sync's blocks.
	MaxFrame int

	// Downloads is how many requests for the archive are made at the same time.
	// Default 4: more gain nothing at the rates that hosted archives allow. Three times
	// as many blocks, or parts of segments, are held at most.
	Downloads int
	// MaxBlock and MaxDecoded are the longest block in bytes, compressed and not.
	// Default 64 and 256 MiB. A block has 4,096 events, of a few hundred bytes mostly.
	MaxBlock, MaxDecoded int64
	// PartSize is how much of a segment is fetched by one request, in whole blocks.
	// Default 2 MiB, some 25,000 events.
	PartSize int64
	// MaxSegmentBlocks is the highest count of blocks that a segment may have. Default
	// 65,536; they have about 700.
	MaxSegmentBlocks int
	// MaxPlan is the longest page of a plan in bytes. Default 64 MiB: servers list at
	// most 100,000 entries.
	MaxPlan int64
	// MaxPlanUnits is how many blocks and segments a page may have. Default 1,000,000.
	MaxPlanUnits int
	// Attempts is how often a download is tried before the plan is asked for anew, and
	// a block that cannot be read before it is given up as a reject. Default 5.
	Attempts int

	// HTTP makes all requests and connections. Default a client of its own, that
	// follows the proxy of the environment.
	HTTP *http.Client
	// UserAgent is what the servers' operators see. Default "atview".
	UserAgent string
	Log       zerolog.Logger
}

const xrpcPath = "/xrpc/network.bsky.jetstream."

func (c *Config) validate() error {
	var faults []error
	if len(c.URLs) == 0 {
		faults = append(faults, errors.New("no URL"))
	}
	for _, s := range c.URLs {
		u, err := url.Parse(s)
		switch {
		case err != nil:
			faults = append(faults, err)
		case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" || !strings.HasSuffix(u.Path, xrpcPath+"subscribeEvents"):
			faults = append(faults, fmt.Errorf("URL %q: want wss://HOST%ssubscribeEvents", s, xrpcPath))
		}
	}
	if c.ReplayWindow < 0 || c.RewindSeqs < 0 || c.RewindOtherHost < 0 {
		faults = append(faults, errors.New("replay window and rewinds must not be negative"))
	}
	c.Name = cmp.Or(c.Name, "jetstreamv2")
	c.RewindSeqs = cmp.Or(c.RewindSeqs, 8192)
	c.RewindOtherHost = cmp.Or(c.RewindOtherHost, 60*time.Second)
	c.MaxGaps = cmp.Or(c.MaxGaps, 5)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 60*time.Second)
	c.PingEvery = cmp.Or(c.PingEvery, 20*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 20*time.Second)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 2*time.Minute)
	c.MinBackoff = cmp.Or(c.MinBackoff, time.Second)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 60*time.Second)
	c.MaxRetryAfter = cmp.Or(c.MaxRetryAfter, 10*time.Minute)
	c.BufferFrames = cmp.Or(c.BufferFrames, 16384)
	c.BufferBytes = cmp.Or(c.BufferBytes, 32<<20)
	c.MaxFrame = cmp.Or(c.MaxFrame, 32<<20)
	c.Downloads = cmp.Or(c.Downloads, 4)
	c.MaxBlock = cmp.Or(c.MaxBlock, 64<<20)
	c.MaxDecoded = cmp.Or(c.MaxDecoded, 256<<20)
	c.PartSize = cmp.Or(c.PartSize, 2<<20)
	c.MaxSegmentBlocks = cmp.Or(c.MaxSegmentBlocks, 1<<16)
	c.MaxPlan = cmp.Or(c.MaxPlan, 64<<20)
	c.MaxPlanUnits = cmp.Or(c.MaxPlanUnits, 1_000_000)
	c.Attempts = cmp.Or(c.Attempts, 5)
	c.UserAgent = cmp.Or(c.UserAgent, "atview")
	for name, n := range map[string]int64{
		"BufferFrames": int64(c.BufferFrames), "BufferBytes": c.BufferBytes, "MaxFrame": int64(c.MaxFrame), "Downloads": int64(c.Downloads),
		"MaxBlock": c.MaxBlock, "MaxDecoded": c.MaxDecoded, "PartSize": c.PartSize, "MaxSegmentBlocks": int64(c.MaxSegmentBlocks),
		"MaxPlan": c.MaxPlan, "MaxPlanUnits": int64(c.MaxPlanUnits), "Attempts": int64(c.Attempts), "MaxGaps": int64(c.MaxGaps),
		"IdleTimeout": int64(c.IdleTimeout), "PingEvery": int64(c.PingEvery), "ConnectTimeout": int64(c.ConnectTimeout),
		"RequestTimeout": int64(c.RequestTimeout), "MinBackoff": int64(c.MinBackoff), "MaxBackoff": int64(c.MaxBackoff), "MaxRetryAfter": int64(c.MaxRetryAfter),
	} {
		if n < 0 {
			faults = append(faults, fmt.Errorf("%s must not be negative", name))
		}
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	return errors.Join(faults...)
}
