package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// Headers of a reject.
const (
	// HeaderReject is the [Reason].
	HeaderReject = "Atview-Reject"
	// HeaderDetail says what is wrong, for people.
	HeaderDetail = "Atview-Detail"
	// HeaderSource is the name of the source that sent it.
	HeaderSource = "Atview-Source"
	// HeaderLength is the full length in bytes, where the body has been cut.
	HeaderLength = "Atview-Length"
)

// codeMessageTooLarge is NATS' refusal of a message that is longer than the
// stream takes. nats.go has no name for it.
const codeMessageTooLarge = 10054

var errMessageTooLarge = errors.New("message is too large for NATS")

// headroom is what a message's headers and protocol line may take of NATS'
// maximum payload, which counts headers.
const headroom = 4 << 10

// PublisherConfig tunes a [Publisher].
type PublisherConfig struct {
	// Source is the name of the source whose events these are. Cursors and rejects
	// carry it.
	Source string
	// Window is how many messages may wait for their confirmation, sent or not. When
	// it is full, Publish waits. Default 4,096: at 16 µs a message that is 65 ms of
	// work for NATS, more than any round trip on one site.
	Window int
	// WindowBytes bounds the same by size. Default 64 MiB.
	WindowBytes int
	// AckWait is how long NATS may confirm nothing before everything unconfirmed is
	// sent again. Default 10 s.
	AckWait time.Duration
	// Log receives stalls and recoveries. Default: that of the [Log].
	Log *zerolog.Logger
}

// Publisher puts the events of one source on the log, in order. It is safe for
// concurrent use; the order is then that in which the calls get their turn.
//
// How it repeats: messages go out in order under a window. If one is refused or
// not confirmed, everything from it on is sent again, beginning with that one
// alone and doubling with each confirmation. Suppose 5, 6 and 7 are out, and 5 is
// refused because the log is full, while 6, being smaller, is taken. Then 5 is
// tried until it is taken, and 6 and 7 follow: the log has 6 5 6 7. Its last
// word on each repository is right, and a fold that is guarded by rev does not
// mind the first 6.
type Publisher struct {
	log *Log
	cfg PublisherConfig
	zl  zerolog.Logger

	inbox string // "<inbox>."; replies come to "<inbox>.<epoch>.<ticket>"
	sub   *nats.Subscription
	wake  chan struct{} // capacity 1: there is something to do
	stop  context.CancelFunc
	done  chan struct{}

	// failing mirrors failure != nil, for the middle of a batch.
	failing atomic.Bool

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when head moves or the publisher closes
	closed  error         // why the publisher has ended; nil while it runs
	// Tickets number messages from 1. Ring[t % len] holds ticket t for
	// head <= t < next; those below sent are out.
	ring             []slot
	head, sent, next uint64
	bytes            int // of all in the ring
	limit            int // how many may be out, at most len(ring)
	epoch            uint64
	failure          error     // of the current epoch; nil while all is well
	failed           uint64    // the ticket that failed; 0 if none did by itself
	progress         time.Time // of the last confirmation, or of the first message out
	positions        Positions
	newest           confirmed // the last message that is stored, and known to be
	retries          uint64
	attempts         int // since the last confirmation
	stalledSince     time.Time
}

type slot struct {
	subject   string
	header    nats.Header
	data      []byte
	partition int    // -1 for a cursor
	acked     uint64 // stream sequence; 0 while unconfirmed
}

// confirmed is a message that NATS has said to have stored.
type confirmed struct {
	seq     uint64
	subject string
	data    []byte
}

// Positions holds a stream sequence number for each partition; 0 is none.
type Positions []uint64

// NewPublisher starts a publisher. The caller closes it.
func (l *Log) NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if cfg.Window <= 0 {
		cfg.Window = 4096
	}
	if cfg.WindowBytes <= 0 {
		cfg.WindowBytes = 64 << 20
	}
	if cfg.AckWait <= 0 {
		cfg.AckWait = 10 * time.Second
	}
	p := &Publisher{
		log:       l,
		cfg:       cfg,
		zl:        l.log,
		inbox:     l.nc.NewInbox() + ".",
		wake:      make(chan struct{}, 1),
		done:      make(chan struct{}),
		changed:   make(chan struct{}),
		ring:      make([]slot, cfg.Window),
		head:      1,
		sent:      1,
		next:      1,
		limit:     cfg.Window,
		positions: make(Positions, l.partitions),
	}
	if cfg.Log != nil {
		p.zl = *cfg.Log
	}
	p.zl = p.zl.With().Str("source", cfg.Source).Logger()
	sub, err := l.nc.Subscribe(p.inbox+"*.*", p.confirm)
	if err != nil {
		return nil, fmt.Errorf("subscription to confirmations: %w", err)
	}
	// A confirmation is 60 bytes, and no more are under way than the window holds,
	// twice after a failure.
	if err := sub.SetPendingLimits(4*cfg.Window+1024, -1); err != nil {
		return nil, fmt.Errorf("subscription to confirmations: %w", err)
	}
	p.sub = sub
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go p.run(ctx)
	return p, nil
}

// Publish hands an event over. It returns when there is room in the window, not
// when the event is stored: [Publisher.Flush] waits for that.
//
// Line is the event as the source sent it and becomes the message's body; it
// must not be changed afterwards. If it is nil, the event is encoded. An event
// too long for NATS becomes a reject.
//
// The error is ctx's, [ErrClosed], or [ErrRewound] if NATS came back from a crash
// without messages that it had confirmed: then the source has to begin again at
// its last cursor, with a new publisher.
func (p *Publisher) Publish(ctx context.Context, ev *Event, line []byte) error {
	if line == nil {
		line = ev.AppendJSON(nil)
	}
	if err := p.Fits(line); err != nil {
		return p.Reject(ctx, ev, line, err)
	}
	partition := Partition(ev.DID, p.log.partitions)
	return p.enqueue(ctx, slot{subject: p.log.subject(partition, ev), data: line, partition: partition})
}

// Fits returns an [*InvalidError] if a line is too long for NATS, so that
// Publish would reject it.
func (p *Publisher) Fits(line []byte) error {
	if most := p.maxPayload(); len(line) > most {
		return invalid(ReasonTooLarge, "%d bytes, NATS takes %d", len(line), most)
	}
	return nil
}

// Reject puts on the log what a source sent and cannot be used: the bytes, and
// why. Ev is what [Parse] could make of it. Of bytes that are longer than NATS
// takes the beginning is kept, and the full length in a header.
func (p *Publisher) Reject(ctx context.Context, ev *Event, data []byte, why error) error {
	reason, detail := ReasonJSON, why.Error()
	if bad, ok := errors.AsType[*InvalidError](why); ok {
		reason, detail = bad.Reason, bad.Detail
	}
	h := p.rejectHeader(reason, detail)
	if most := p.maxPayload(); len(data) > most {
		h.Set(HeaderLength, strconv.Itoa(len(data)))
		data = slices.Clone(data[:most])
	}
	partition := unplaced(data, p.log.partitions)
	if ev.DID != "" {
		partition = Partition(ev.DID, p.log.partitions)
	}
	return p.enqueue(ctx, slot{subject: p.log.rejectSubject(partition), header: h, data: data, partition: partition})
}

func (p *Publisher) rejectHeader(reason Reason, detail string) nats.Header {
	return nats.Header{
		HeaderReject: []string{string(reason)},
		HeaderDetail: []string{headerText(detail)},
		HeaderSource: []string{headerText(p.cfg.Source)},
	}
}

// Mark stores how far the source has been read. It is sent when everything
// published before it is confirmed. Source and Time are filled in.
func (p *Publisher) Mark(ctx context.Context, c Cursor) error {
	c.Source = p.cfg.Source
	if c.Time.IsZero() {
		c.Time = time.Now().UTC()
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("cursor of %s: %w", c.Source, err)
	}
	return p.enqueue(ctx, slot{subject: p.log.cursorSubject(c.Source), data: data, partition: -1})
}

// Flush returns when everything handed over before is stored, with the sequence
// number of the last message that this publisher has on each partition.
func (p *Publisher) Flush(ctx context.Context) (Positions, error) {
	p.mu.Lock()
	target := p.next
	for p.head < target && p.closed == nil {
		if err := p.waitLocked(ctx); err != nil {
			p.mu.Unlock()
			return nil, fmt.Errorf("flush of %s to the log: %w", p.cfg.Source, err)
		}
	}
	defer p.mu.Unlock()
	if p.head < target {
		return nil, fmt.Errorf("flush of %s to the log: %w", p.cfg.Source, p.closed)
	}
	return slices.Clone(p.positions), nil
}

// PublisherStats is a snapshot for metrics.
type PublisherStats struct {
	// Waiting is how many messages are not confirmed yet, and Bytes their size.
	Waiting, Bytes int
	// Confirmed counts the messages that are stored.
	Confirmed uint64
	// Retries counts how often the publisher began again after a failure.
	Retries uint64
	// StalledSince is when the log began to refuse, zero while it does not; Err says
	// why.
	StalledSince time.Time
	Err          error
}

// Stats returns a snapshot.
func (p *Publisher) Stats() PublisherStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PublisherStats{
		Waiting:      int(p.next - p.head),
		Bytes:        p.bytes,
		Confirmed:    p.head - 1,
		Retries:      p.retries,
		StalledSince: p.stalledSince,
		Err:          p.failure,
	}
}

// Close stops at once. What is not confirmed may or may not be stored; flush
// first to know.
func (p *Publisher) Close() {
	p.end(ErrClosed)
	<-p.done
}

func (p *Publisher) end(why error) {
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed == nil {
		p.closed = why
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

func (p *Publisher) maxPayload() int {
	return int(p.log.nc.MaxPayload()) - headroom
}

func (p *Publisher) enqueue(ctx context.Context, s slot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed != nil {
			return p.closed
		}
		if n := int(p.next - p.head); n < len(p.ring) && (n == 0 || p.bytes+len(s.data) <= p.cfg.WindowBytes) {
			break
		}
		if err := p.waitLocked(ctx); err != nil {
			return fmt.Errorf("wait for the log: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for the log: %w", err)
	}
	*p.at(p.next) = s
	p.next++
	p.bytes += len(s.data)
	p.nudge()
	return nil
}

func (p *Publisher) at(ticket uint64) *slot { return &p.ring[ticket%uint64(len(p.ring))] }

func (p *Publisher) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// waitLocked waits for a change, without holding the lock meanwhile.
func (p *Publisher) waitLocked(ctx context.Context) error {
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run sends. It alone moves sent and epoch.
func (p *Publisher) run(ctx context.Context) {
	defer close(p.done)
	defer p.end(ErrClosed)
	defer p.sub.Unsubscribe() //nolint:errcheck // the connection may be gone already
	var watch sync.WaitGroup
	defer watch.Wait()
	status := p.log.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer p.log.nc.RemoveStatusListener(status)
	watch.Go(func() {
		for range status { // until the listener is removed
			p.disconnected()
		}
	})
	tick := time.NewTicker(p.cfg.AckWait / 4)
	defer tick.Stop()

	var batch []nats.Msg
	for {
		var failed bool
		batch, failed = p.take(batch[:0])
		if failed {
			if p.log.nc.IsClosed() || !sleep(ctx, p.backoff()) {
				return
			}
			err := p.verify(ctx)
			if errors.Is(err, ErrRewound) {
				p.zl.Error().Err(err).Msg("log lost what it had confirmed")
				p.end(err)
				return
			}
			if err == nil {
				p.rewind()
			}
			continue
		}
		for i := range batch {
			if p.failing.Load() {
				break
			}
			if err := p.log.nc.PublishMsg(&batch[i]); err != nil {
				p.fail(p.sent-uint64(len(batch)-i), err)
				break
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-tick.C:
			p.overdue()
		}
	}
}

// verify checks, after a failure, that the log still has what it has confirmed
// last. NATS forces its files to disk now and then: when its machine loses power
// it comes back without the newest messages, and nobody would send them again.
func (p *Publisher) verify(ctx context.Context) error {
	p.mu.Lock()
	newest := p.newest
	p.mu.Unlock()
	if newest.seq == 0 {
		return nil
	}
	if !p.log.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	rewound := fmt.Errorf("message %d: %w", newest.seq, ErrRewound)
	msg, err := p.log.get(ctx, newest.seq)
	switch {
	case err == nil && msg.Subject == newest.subject && bytes.Equal(msg.Data, newest.data):
		return nil
	case err == nil:
		return rewound
	case !errors.Is(err, ErrNotFound):
		return err
	}
	state, err := p.log.State(ctx)
	if err == nil && newest.seq >= state.First {
		return rewound
	}
	return err // nil if it has been trimmed
}

const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = 2 * time.Second

	// sendBatch bounds how many messages are sent between two looks at the state.
	sendBatch = 256
)

// take gives the next messages to send, or says that a failure has to be dealt
// with first.
func (p *Publisher) take(batch []nats.Msg) (_ []nats.Msg, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure == nil && p.sent < p.next && !p.log.nc.IsConnected() {
		// Sent now, it would wait in the client's buffer and go out before what was
		// lost.
		p.failLocked(0, nats.ErrDisconnected)
	}
	if p.failure != nil {
		return batch, true
	}
	for p.sent < p.next && int(p.sent-p.head) < p.limit && len(batch) < sendBatch {
		s := p.at(p.sent)
		if s.partition < 0 && p.sent != p.head {
			break // a cursor waits until all before it is confirmed
		}
		if p.sent == p.head {
			p.progress = time.Now()
		}
		batch = append(batch, nats.Msg{
			Subject: s.subject,
			Reply:   p.inbox + strconv.FormatUint(p.epoch, 36) + "." + strconv.FormatUint(p.sent, 36),
			Header:  s.header,
			Data:    s.data,
		})
		p.sent++
	}
	return batch, false
}

func (p *Publisher) backoff() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := minBackoff << min(p.attempts, 16)
	p.attempts++
	return jitter(min(d, maxBackoff))
}

// rewind begins again with the first message that is not confirmed.
func (p *Publisher) rewind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == p.head && errors.Is(p.failure, errMessageTooLarge) {
		p.shrinkLocked(p.at(p.head))
	}
	p.failure, p.failed = nil, 0
	p.failing.Store(false)
	p.epoch++
	p.retries++
	p.sent = p.head
	p.limit = 1
	for t := p.head; t < p.next; t++ {
		p.at(t).acked = 0
	}
	if p.head == p.next {
		p.recoveredLocked()
	}
}

func (p *Publisher) recoveredLocked() {
	if !p.stalledSince.IsZero() && p.failure == nil {
		p.zl.Info().Dur("after", time.Since(p.stalledSince)).Msg("log takes events again")
		p.stalledSince = time.Time{}
	}
	p.attempts = 0
}

// shrinkLocked makes a reject of a message that NATS will never take: the limit
// has been lowered since it was published.
func (p *Publisher) shrinkLocked(s *slot) {
	if s.partition < 0 || len(s.data) == 0 {
		return // a cursor fits wherever anything does
	}
	length := len(s.data)
	if s.header == nil {
		s.header = p.rejectHeader(ReasonTooLarge, fmt.Sprintf("%d bytes, more than NATS takes", length))
		s.subject = p.log.rejectSubject(s.partition)
	}
	if s.header.Get(HeaderLength) == "" {
		s.header.Set(HeaderLength, strconv.Itoa(length))
	}
	s.data = slices.Clone(s.data[:min(length/2, max(p.maxPayload(), 0))])
	p.bytes -= length - len(s.data)
}

func (p *Publisher) overdue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent > p.head && time.Since(p.progress) > p.cfg.AckWait {
		p.failLocked(0, nats.ErrTimeout)
	}
}

// disconnected is called at once, before there can be another connection: what is
// confirmed after it is confirmed by a server that may have forgotten what was
// before.
func (p *Publisher) disconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failLocked(0, nats.ErrDisconnected)
}

func (p *Publisher) fail(ticket uint64, err error) {
	if errors.Is(err, nats.ErrMaxPayload) {
		err = errMessageTooLarge
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failLocked(ticket, err)
}

func (p *Publisher) failLocked(ticket uint64, err error) {
	if p.failure != nil {
		return
	}
	p.failure, p.failed = err, ticket
	p.failing.Store(true)
	if p.stalledSince.IsZero() {
		p.stalledSince = time.Now()
		p.zl.Warn().Err(err).Int("waiting", int(p.next-p.head)).Msg("log refuses events; trying until it takes them")
	}
	p.nudge()
}

// confirm takes NATS' answer to one message.
func (p *Publisher) confirm(m *nats.Msg) {
	epoch, ticket, ok := strings.Cut(m.Subject[len(p.inbox):], ".")
	if !ok {
		return
	}
	e, err1 := strconv.ParseUint(epoch, 36, 64)
	t, err2 := strconv.ParseUint(ticket, 36, 64)
	if err1 != nil || err2 != nil {
		return
	}
	seq, err := parseAck(m)

	p.mu.Lock()
	defer p.mu.Unlock()
	if e != p.epoch || p.failure != nil || t < p.head || t >= p.sent {
		return // of a message that has been or will be sent again
	}
	if err != nil {
		p.failLocked(t, err)
		return
	}
	p.at(t).acked = seq
	p.advanceLocked()
}

func (p *Publisher) advanceLocked() {
	before := p.head
	for p.head < p.sent && p.at(p.head).acked != 0 {
		s := p.at(p.head)
		if s.partition >= 0 {
			p.positions[s.partition] = max(p.positions[s.partition], s.acked)
		}
		p.newest = confirmed{s.acked, s.subject, s.data}
		p.bytes -= len(s.data)
		*s = slot{}
		p.head++
		p.limit = min(2*p.limit, len(p.ring))
	}
	if p.head == before {
		return
	}
	p.progress = time.Now()
	p.recoveredLocked()
	close(p.changed)
	p.changed = make(chan struct{})
	p.nudge()
}

// parseAck reads {"stream":"atview","seq":7}, or an error.
func parseAck(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 {
		if m.Header.Get("Status") == "503" {
			return 0, nats.ErrNoResponders
		}
		return 0, errors.New("empty confirmation")
	}
	var ack struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("confirmation: %w", err)
	}
	if ack.Error != nil && ack.Error.Code == codeMessageTooLarge {
		return 0, errMessageTooLarge
	}
	if ack.Error != nil {
		return 0, fmt.Errorf("refused by NATS: %s (%d)", ack.Error.Description, ack.Error.Code)
	}
	if ack.Seq == 0 {
		return 0, errors.New("confirmation without a sequence number")
	}
	return ack.Seq, nil
}

// headerText makes a string fit for a NATS header: one line of bounded length.
func headerText(s string) string {
	const most = 512
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// sleep reports whether it slept all the time, rather than ctx ending.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
