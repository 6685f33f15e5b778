package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// DefaultPartitions is the number of partitions of a new log. 8: on one machine
// two writers already use what Postgres gives, and a team that spreads its
// workers over four machines still has two for each. More partitions make
// smaller batches in the fold, and the number is bound to the log.
const DefaultPartitions = 8

// DefaultMaxBytes is how much a new log holds: about 12 million events, seven
// hours of the whole network.
const DefaultMaxBytes = 8 << 30

const (
	metaPartitions = "atview.partitions"
	metaHash       = "atview.hash"
	hashName       = "fnv1a64-xor32"

	maxPartitions = 1024

	// leastMaxBytes is where Open stops to halve the default.
	leastMaxBytes = 64 << 20
)

// Outcomes that a caller branches on.
var (
	// ErrNotFound says that the log does not hold what was asked for.
	ErrNotFound = errors.New("not on the log")
	// ErrPartitions says that the log was made with another number of partitions.
	ErrPartitions = errors.New("log has another number of partitions")
	// ErrClosed says that a publisher, a reader or the connection to NATS has been
	// closed for good.
	ErrClosed = errors.New("log closed")
)

// Config says which log, and how it is made if it is not there.
type Config struct {
	// Name of the stream, and the first token of its subjects. Default "atview".
	// Letters, digits, "_" and "-".
	Name string
	// Partitions is the number of partitions. 0 takes the log's own, or
	// [DefaultPartitions] for a new one.
	Partitions int
	// MaxBytes is how much the log holds before it refuses publishers, which then
	// wait. 0 keeps the log's own, or takes [DefaultMaxBytes] for a new one, or less
	// where NATS has less to give.
	MaxBytes int64
	// Replicas is how many NATS servers hold the log. 0 keeps the log's own, or
	// takes 1 for a new one.
	Replicas int
	// Log receives what an operator should know. Default: nothing.
	Log zerolog.Logger
}

func (c *Config) validate() error {
	if c.Name == "" {
		c.Name = "atview"
	}
	var faults []error
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(c.Name) {
		faults = append(faults, fmt.Errorf("name %q: 1 to 64 letters, digits, _ or -", c.Name))
	}
	if c.Partitions < 0 || c.Partitions > maxPartitions {
		faults = append(faults, fmt.Errorf("partitions %d: between 1 and %d, or 0 for the default", c.Partitions, maxPartitions))
	}
	if c.MaxBytes < 0 {
		faults = append(faults, fmt.Errorf("max bytes %d: negative", c.MaxBytes))
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		faults = append(faults, fmt.Errorf("replicas %d: NATS keeps 1 to 5", c.Replicas))
	}
	return errors.Join(faults...)
}

// Log is a handle on the stream. It holds no resources of its own and is safe
// for concurrent use; the connection belongs to the caller.
type Log struct {
	nc         *nats.Conn
	js         jetstream.JetStream
	events     jetstream.Stream
	trims      jetstream.Stream
	name       string
	prefix     string // "<name>.ev."
	partitions int
	log        zerolog.Logger
}

// Open finds the log, or makes it. Several processes may do so at once.
//
// The stream keeps to file, limits its bytes and refuses what is beyond them
// (it never drops old events for new ones), and has no maximum age: [Log.Trim]
// removes what has been folded.
//
// A log that holds events keeps its number of partitions: asking for another is
// [ErrPartitions].
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("log configuration: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("use of NATS JetStream: %w", err)
	}
	l := &Log{nc: nc, js: js, name: cfg.Name, prefix: cfg.Name + tokenEvents, log: cfg.Log}
	if err := l.openTrims(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open log %s: %w", cfg.Name, err)
	}

	s, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = l.create(ctx, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", cfg.Name, err)
	}
	if err := l.adopt(ctx, s, cfg); err != nil {
		return nil, fmt.Errorf("open log %s: %w", cfg.Name, err)
	}
	l.events = s
	return l, nil
}

func (l *Log) create(ctx context.Context, cfg Config) (jetstream.Stream, error) {
	sc := jetstream.StreamConfig{
		Name:        cfg.Name,
		Description: "atview: events of the AT Protocol network on their way to the index",
		Subjects:    []string{cfg.Name + tokenEvents + ">", cfg.Name + tokenCursor + "*"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		Storage:     jetstream.FileStorage,
		MaxBytes:    cmpOr(cfg.MaxBytes, DefaultMaxBytes),
		Replicas:    cmpOr(cfg.Replicas, 1),
		Metadata: map[string]string{
			metaPartitions: strconv.Itoa(cmpOr(cfg.Partitions, DefaultPartitions)),
			metaHash:       hashName,
		},
	}
	for {
		s, err := l.js.CreateStream(ctx, sc)
		switch {
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
			return l.js.Stream(ctx, cfg.Name) // somebody else was first
		case noStorage(err) && cfg.MaxBytes == 0 && sc.MaxBytes/2 >= leastMaxBytes:
			sc.MaxBytes /= 2
			continue
		case noStorage(err):
			return nil, fmt.Errorf("NATS has less storage left than %d bytes; give the log less (MaxBytes) or NATS more: %w", sc.MaxBytes, err)
		case err != nil:
			return nil, err
		}
		if sc.MaxBytes != cmpOr(cfg.MaxBytes, DefaultMaxBytes) {
			l.log.Warn().Int64("max_bytes", sc.MaxBytes).Msg("NATS has little storage; the log is smaller than the default")
		}
		return s, nil
	}
}

// adopt checks an existing stream and brings what may change to cfg.
func (l *Log) adopt(ctx context.Context, s jetstream.Stream, cfg Config) error {
	info := s.CachedInfo()
	sc := info.Config
	if sc.Discard != jetstream.DiscardNew {
		return errors.New("stream drops old events when it is full (discard policy is not \"new\"): not made by atview, or changed since")
	}
	if h := sc.Metadata[metaHash]; h != hashName {
		return fmt.Errorf("stream's metadata %s is %q, want %q: not made by this version of atview", metaHash, h, hashName)
	}
	n, err := strconv.Atoi(sc.Metadata[metaPartitions])
	if err != nil || n < 1 || n > maxPartitions {
		return fmt.Errorf("stream's metadata %s is %q: no number of partitions", metaPartitions, sc.Metadata[metaPartitions])
	}
	changed := false
	if cfg.Partitions != 0 && cfg.Partitions != n {
		if info.State.Msgs > 0 {
			return fmt.Errorf("%w: it holds %d messages in %d partitions, %d were asked for; ask for %d, or index what it holds and delete it",
				ErrPartitions, info.State.Msgs, n, cfg.Partitions, n)
		}
		n = cfg.Partitions
		sc.Metadata[metaPartitions] = strconv.Itoa(n)
		changed = true
	}
	if cfg.MaxBytes != 0 && cfg.MaxBytes != sc.MaxBytes {
		sc.MaxBytes = cfg.MaxBytes
		changed = true
	}
	if cfg.Replicas != 0 && cfg.Replicas != sc.Replicas {
		sc.Replicas = cfg.Replicas
		changed = true
	}
	if changed {
		if _, err := l.js.UpdateStream(ctx, sc); err != nil {
			return fmt.Errorf("change of the stream's configuration: %w", err)
		}
	}
	l.partitions = n
	return nil
}

func noStorage(err error) bool {
	var api *jetstream.APIError
	// 10047: insufficient storage resources available; 10028: resource limits
	// exceeded for account. nats.go has no names for them.
	return errors.As(err, &api) && (api.ErrorCode == 10047 || api.ErrorCode == 10028)
}

func cmpOr[T int | int64](v, or T) T {
	if v == 0 {
		return or
	}
	return v
}

// Name is the stream's name.
func (l *Log) Name() string { return l.name }

// Partitions is the number of partitions, numbered from 0.
func (l *Log) Partitions() int { return l.partitions }

// Last returns the sequence number of a partition's last message, 0 if the
// partition holds none.
func (l *Log) Last(ctx context.Context, partition int) (uint64, error) {
	msg, err := l.lastOf(ctx, l.partitionSubjects(partition))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("last message of partition %d: %w", partition, err)
	}
	return msg.Sequence, nil
}

// At returns when the message with sequence number seq was stored, or
// [ErrNotFound].
//
// A log that lost its tail uses sequence numbers again, at another time: a
// worker that remembers sequence number and time of the last message that it
// folded finds out by comparing. Of the message to which a partition was trimmed
// last, [Log.Trim] keeps the time if not the message.
func (l *Log) At(ctx context.Context, seq uint64) (time.Time, error) {
	msg, err := l.get(ctx, seq)
	if err == nil {
		return msg.Time, nil
	}
	if errors.Is(err, ErrNotFound) {
		at, terr := l.trimmedAt(ctx, seq)
		if terr == nil {
			return at, nil
		}
		err = terr
	}
	return time.Time{}, fmt.Errorf("message %d: %w", seq, err)
}

// requestTimeout is for a request to NATS, or its answer, that got lost.
const requestTimeout = 5 * time.Second

func (l *Log) get(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	msg, err := l.events.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, ErrNotFound
	}
	return msg, err
}

func (l *Log) lastOf(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	msg, err := l.events.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, ErrNotFound
	}
	return msg, err
}

// Cursor is how far a source has been read. Every event of the source up to it
// is on the log.
type Cursor struct {
	// Source is the name of the source.
	Source string `json:"source"`
	// Value is the source's own measure: microseconds since the Unix epoch for the
	// legacy Jetstream wire, a sequence number elsewhere. 0 is no cursor.
	Value int64 `json:"cursor"`
	// Host is where the source read, for cursors that only one host understands.
	Host string `json:"host,omitempty"`
	// Time is when the cursor was taken.
	Time time.Time `json:"time"`
}

// Cursor returns the last cursor of a source, or [ErrNotFound].
func (l *Log) Cursor(ctx context.Context, source string) (Cursor, error) {
	msg, err := l.lastOf(ctx, l.cursorSubject(source))
	if err != nil {
		return Cursor{}, fmt.Errorf("cursor of %s: %w", source, err)
	}
	var c Cursor
	if err := json.Unmarshal(msg.Data, &c); err != nil {
		return Cursor{}, fmt.Errorf("cursor of %s: %w", source, err)
	}
	return c, nil
}

// State is how full the log is.
type State struct {
	Messages uint64
	Bytes    uint64
	// MaxBytes is where the log refuses publishers.
	MaxBytes int64
	// First and Last are sequence numbers; First is Last+1 when the log is empty.
	First, Last uint64
}

// State asks NATS how full the log is.
func (l *Log) State(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := l.events.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("state of log %s: %w", l.name, err)
	}
	return State{
		Messages: info.State.Msgs,
		Bytes:    info.State.Bytes,
		MaxBytes: info.Config.MaxBytes,
		First:    info.State.FirstSeq,
		Last:     info.State.LastSeq,
	}, nil
}
