package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrRewound says that the log lost messages that it had, and uses their sequence
// numbers for others: NATS came back from a crash without its newest messages.
// A reader begins again from a position that is still valid, or from the start,
// since folding is idempotent; a source begins again from its last cursor.
var ErrRewound = errors.New("log lost its tail and uses its sequence numbers again")

// Message is one message of a partition.
type Message struct {
	// Seq is the stream sequence number: ascending in a partition, with gaps.
	Seq uint64
	// Time is when NATS stored the message. With Seq it identifies the message, see
	// [Log.At].
	Time time.Time
	// Data is the event's JSON, for [Parse], or the rejected bytes.
	Data []byte
	// Reject is not nil if this is a reject.
	Reject *Reject
}

// Reject says what is wrong with a message's Data.
type Reject struct {
	Reason Reason
	Detail string
	Source string
	// Length is the length of what the source sent; Data is its beginning.
	Length int
}

const (
	// prefetchMessages and prefetchBytes bound what is read ahead: two batches of
	// the fold. Half of it is asked for again when half is used up.
	prefetchMessages = 2048
	prefetchBytes    = 16 << 20
	// handover is how many messages stand between the prefetch and Next; its only
	// use is that Next finds several at once.
	handover = 256
)

// Reader reads one partition. It is for one goroutine.
type Reader struct {
	log       *Log
	partition int
	ch        chan Message
	stop      context.CancelFunc
	err       error // why ch is closed

	last     uint64    // of the pump: the last message handed over
	lastTime time.Time // zero for the one that Read was given
}

// Read starts to read a partition after sequence number after; 0 begins with the
// oldest message. The caller closes the reader; ctx bounds only the start.
func (l *Log) Read(ctx context.Context, partition int, after uint64) (*Reader, error) {
	if partition < 0 || partition >= l.partitions {
		return nil, fmt.Errorf("partition %d: the log has 0 to %d", partition, l.partitions-1)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read of partition %d: %w", partition, err)
	}
	run, cancel := context.WithCancel(context.Background())
	r := &Reader{log: l, partition: partition, ch: make(chan Message, handover), stop: cancel, last: after}
	go r.pump(run)
	return r, nil
}

// Next waits for a message, then takes what else is there: up to max messages,
// waiting no longer than linger for more.
//
// It waits through disconnects and restarts of NATS. The error is ctx's,
// [ErrRewound], or [ErrClosed] if the reader or the connection is closed. With an
// error there are no messages.
func (r *Reader) Next(ctx context.Context, max int, linger time.Duration) ([]Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var msgs []Message
	select {
	case m, ok := <-r.ch:
		if !ok {
			return nil, r.err
		}
		msgs = append(msgs, m)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var late <-chan time.Time
	for len(msgs) < max {
		select {
		case m, ok := <-r.ch:
			if !ok {
				return msgs, nil // the next call says why
			}
			msgs = append(msgs, m)
			continue
		default:
		}
		if linger <= 0 {
			return msgs, nil
		}
		if late == nil {
			t := time.NewTimer(linger)
			defer t.Stop()
			late = t.C
		}
		select {
		case m, ok := <-r.ch:
			if !ok {
				return msgs, nil
			}
			msgs = append(msgs, m)
		case <-late:
			return msgs, nil
		case <-ctx.Done():
			return msgs, nil // what was taken is not lost
		}
	}
	return msgs, nil
}

// Close stops the reader and waits until it has stopped.
func (r *Reader) Close() {
	r.stop()
	for range r.ch { // until the pump closes it
	}
}

// pump reads into ch until it is stopped.
func (r *Reader) pump(ctx context.Context) {
	defer close(r.ch)
	var backoff time.Duration
	for {
		before := r.last
		err := r.consume(ctx)
		switch {
		case ctx.Err() != nil, r.log.nc.IsClosed():
			r.err = ErrClosed
			return
		case errors.Is(err, ErrRewound):
			r.err = err
			return
		}
		if r.last != before {
			backoff = 0
		}
		backoff = min(max(2*backoff, minBackoff), maxBackoff)
		r.log.log.Debug().Err(err).Int("partition", r.partition).Msg("reading of the log begins again")
		if !sleep(ctx, jitter(backoff)) {
			r.err = ErrClosed
			return
		}
	}
}

// consume reads with one consumer on the server until anything is odd: a gap, a
// missing heartbeat, a change of the connection. Then the pump begins again with
// a new one, after the last message handed over.
//
// That is what nats.go's ordered consumer does. It is not used because its reset
// cannot be cancelled, takes ten seconds if its request is lost, and hides that
// the server may have forgotten what we have seen.
func (r *Reader) consume(ctx context.Context) error {
	nc := r.log.nc
	status := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	if !nc.IsConnected() {
		defer nc.RemoveStatusListener(status)
		if nc.IsClosed() { // no event will say so
			return ErrClosed
		}
		select {
		case <-status:
		case <-ctx.Done():
		}
		return errors.New("not connected")
	}
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		<-status // closed below, at the latest
		cancel()
	})
	defer watch.Wait()
	defer nc.RemoveStatusListener(status)
	defer cancel()

	if r.last > 0 && !r.lastTime.IsZero() {
		if err := r.verify(ctx); err != nil {
			return err
		}
	}
	cons, err := r.create(ctx)
	if err != nil {
		return err
	}
	defer r.delete(cons)
	// Less than the largest message would never deliver that message.
	limit := prefetchBytes + int(nc.MaxPayload())
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(prefetchMessages, limit), jetstream.PullHeartbeat(5*time.Second))
	if err != nil {
		return err
	}
	defer it.Stop()

	for n := uint64(1); ; n++ {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != n {
			return fmt.Errorf("delivery %d is missing", n)
		}
		m := Message{Seq: meta.Sequence.Stream, Time: meta.Timestamp, Data: msg.Data()}
		if h := msg.Headers(); h != nil {
			m.Reject = reject(h, len(m.Data))
		}
		select {
		case r.ch <- m:
			r.last, r.lastTime = m.Seq, m.Time
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func reject(h nats.Header, length int) *Reject {
	reason := h.Get(HeaderReject)
	if reason == "" {
		return nil
	}
	rej := &Reject{Reason: Reason(reason), Detail: h.Get(HeaderDetail), Source: h.Get(HeaderSource), Length: length}
	if n, err := strconv.Atoi(h.Get(HeaderLength)); err == nil {
		rej.Length = n
	}
	return rej
}

func (r *Reader) create(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return r.log.js.CreateConsumer(ctx, r.log.name, jetstream.ConsumerConfig{
		FilterSubject:     r.log.partitionSubjects(r.partition),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       r.last + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 5 * time.Minute, // NATS removes it if delete does not
	})
}

// delete does not insist: NATS removes a consumer that nobody asks.
func (r *Reader) delete(cons jetstream.Consumer) {
	if !r.log.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := r.log.js.DeleteConsumer(ctx, r.log.name, cons.CachedInfo().Name)
	if err != nil {
		r.log.log.Debug().Err(err).Msg("consumer is left to NATS")
	}
}

// verify checks that the last message handed over is still the one the log has
// under its number, or had, if it has been trimmed.
func (r *Reader) verify(ctx context.Context) error {
	rewound := fmt.Errorf("partition %d, message %d: %w", r.partition, r.last, ErrRewound)
	// Twice: a log that is being written may have grown past the number between the
	// first look and the look at its end. Then the second one finds another message.
	for range 2 {
		msg, err := r.log.get(ctx, r.last)
		switch {
		case err == nil && msg.Time.Equal(r.lastTime):
			return nil
		case err == nil:
			return rewound
		case !errors.Is(err, ErrNotFound):
			return err
		}
		state, err := r.log.State(ctx)
		switch {
		case err != nil:
			return err
		case state.Last < r.last:
			return rewound
		case r.last < state.First:
			return nil
		}
	}
	return nil // removed by itself, to make room for a cursor
}
