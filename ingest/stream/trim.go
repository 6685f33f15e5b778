package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// trim is how far a partition has been trimmed: what its worker has folded for
// good. The last one of each partition is in a small stream beside the log, for
// all processes.
//
// It is there because NATS removes the beginning of a stream, whatever its
// subjects, by unlinking files; to remove one partition's messages it reads every
// file there is, with the stream locked, which is minutes for a full log. So each
// trim removes what is before the least of all partitions.
type trim struct {
	Seq uint64 `json:"seq"`
	// Time is when that message was stored; zero if it was not there.
	Time time.Time `json:"time"`
}

func (l *Log) trimSubject(partition int) string {
	return l.name + tokenTrim + strconv.Itoa(partition)
}

func (l *Log) openTrims(ctx context.Context, cfg Config) error {
	name := cfg.Name + trimSuffix
	s, err := l.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = l.js.CreateStream(ctx, jetstream.StreamConfig{
			Name:              name,
			Description:       "atview: how far each partition of " + cfg.Name + " has been trimmed",
			Subjects:          []string{cfg.Name + tokenTrim + "*"},
			MaxMsgsPerSubject: 1,
			MaxBytes:          4 << 20,
			Storage:           jetstream.FileStorage,
			Replicas:          cmpOr(cfg.Replicas, 1),
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			s, err = l.js.Stream(ctx, name) // somebody else was first
		}
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	l.trims = s
	return nil
}

// Trim says that the messages of a partition before upTo have been folded for
// good. What is before that in every partition is removed from the log; until
// then nothing is. A partition that has been trimmed to its end holds up
// nothing.
//
// [Log.At] keeps knowing message upTo. The last cursor of each source stays on
// the log, at a new place if need be.
func (l *Log) Trim(ctx context.Context, partition int, upTo uint64) error {
	if upTo == 0 {
		return nil
	}
	if err := l.trim(ctx, partition, upTo); err != nil {
		return fmt.Errorf("trim of partition %d: %w", partition, err)
	}
	return nil
}

func (l *Log) trim(ctx context.Context, partition int, upTo uint64) error {
	at, err := l.At(ctx, upTo)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	body, err := json.Marshal(trim{Seq: upTo, Time: at})
	if err != nil {
		return err
	}
	if _, err := l.js.Publish(ctx, l.trimSubject(partition), body); err != nil {
		return err
	}
	// Before the partitions are looked at: what comes later is not touched.
	state, err := l.State(ctx)
	if err != nil {
		return err
	}
	before := state.Last + 1
	for p := range l.partitions {
		keep, err := l.keepFrom(ctx, p, state)
		if err != nil {
			return err
		}
		before = min(before, keep)
	}
	if before <= state.First {
		return nil
	}
	if err := l.moveCursors(ctx, state.First, before); err != nil {
		return err
	}
	return l.events.Purge(ctx, jetstream.WithPurgeSequence(before))
}

// keepFrom returns the first message that has to stay because of a partition.
func (l *Log) keepFrom(ctx context.Context, partition int, state State) (uint64, error) {
	last, err := l.Last(ctx, partition)
	if err != nil {
		return 0, err
	}
	if last == 0 {
		return state.Last + 1, nil
	}
	t, err := l.lastTrim(ctx, partition)
	if err != nil {
		return 0, err
	}
	valid, err := l.valid(ctx, t, state)
	switch {
	case err != nil:
		return 0, err
	case valid && t.Seq >= last:
		return state.Last + 1, nil
	case valid:
		return t.Seq, nil
	}
	return l.firstOf(ctx, partition)
}

// valid reports whether the log is still the one of which a trim speaks: after
// it lost its tail, the numbers are those of other messages.
func (l *Log) valid(ctx context.Context, t trim, state State) (bool, error) {
	if t.Seq == 0 {
		return false, nil
	}
	msg, err := l.get(ctx, t.Seq)
	switch {
	case errors.Is(err, ErrNotFound):
		return t.Seq < state.First, nil
	case err != nil:
		return false, err
	}
	return msg.Time.Equal(t.Time), nil
}

// lastTrim returns how far a partition was trimmed last, zero if never.
func (l *Log) lastTrim(ctx context.Context, partition int) (t trim, err error) {
	msg, err := l.trims.GetLastMsgForSubject(ctx, l.trimSubject(partition))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return t, nil
	case err != nil:
		return t, err
	}
	return t, json.Unmarshal(msg.Data, &t)
}

// trimmedAt returns when a message was stored that the log does not have, if a
// partition was trimmed to it last and it fell to the trim of another; else
// ErrNotFound.
func (l *Log) trimmedAt(ctx context.Context, seq uint64) (time.Time, error) {
	state, err := l.State(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if seq >= state.First {
		return time.Time{}, ErrNotFound // no trim took it
	}
	for p := range l.partitions {
		t, err := l.lastTrim(ctx, p)
		if err != nil {
			return time.Time{}, err
		}
		if t.Seq == seq && !t.Time.IsZero() {
			return t.Time, nil
		}
	}
	return time.Time{}, ErrNotFound
}

// firstOf returns the first message of a partition that is not empty.
func (l *Log) firstOf(ctx context.Context, partition int) (uint64, error) {
	msg, err := l.events.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(l.partitionSubjects(partition)))
	if err != nil {
		return 0, err
	}
	return msg.Sequence, nil
}

// moveCursors stores those cursors again that are the last of their source and
// about to be removed. That they are stored later than they were true does not
// make them wrong.
func (l *Log) moveCursors(ctx context.Context, first, before uint64) error {
	info, err := l.events.Info(ctx, jetstream.WithSubjectFilter(l.name+tokenCursor+"*"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		msg, err := l.events.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cursor %s: %w", subject, err)
		}
		if msg.Sequence >= before {
			continue
		}
		if err := l.moveCursor(ctx, msg, first, before); err != nil {
			return fmt.Errorf("cursor %s: %w", subject, err)
		}
	}
	return nil
}

func (l *Log) moveCursor(ctx context.Context, msg *jetstream.RawStreamMsg, first, before uint64) error {
	// How many messages may have to make room: a few cursors' worth, several times,
	// because waiting publishers take room, too.
	for room := 64; ; room-- {
		_, err := l.js.PublishMsg(ctx, &nats.Msg{Subject: msg.Subject, Data: msg.Data},
			jetstream.WithExpectLastSequencePerSubject(msg.Sequence))
		var api *jetstream.APIError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
			return nil // its source has stored a newer one
		case !logFull(err) || room == 0:
			return err
		}
		if first, err = l.makeRoom(ctx, first, before); err != nil {
			return err
		}
	}
}

// makeRoom removes the first event from first on, and returns what comes after
// it. The log may be too full to store the cursors behind which it can be
// trimmed.
func (l *Log) makeRoom(ctx context.Context, first, before uint64) (uint64, error) {
	for ; first < before; first++ {
		msg, err := l.get(ctx, first)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return first, err
		}
		if strings.HasPrefix(msg.Subject, l.prefix) {
			return first + 1, l.events.DeleteMsg(ctx, first)
		}
	}
	return first, nil
}

func logFull(err error) bool {
	var api *jetstream.APIError
	// 10077: maximum bytes exceeded. nats.go has no name for it.
	return errors.As(err, &api) && api.ErrorCode == 10077
}
