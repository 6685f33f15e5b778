package backfill

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atview/atview/ingest/car"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/outbound"
)

// Reason is why a repository was not read. With the reasons of package car, the
// set is small and fixed, so that it may label a metric.
type Reason string

// The reasons that have nothing to do with what is in the repository.
const (
	ReasonNoDID       Reason = "no-did"      // there is no such DID (any more)
	ReasonMethod      Reason = "did-method"  // it is of a method that cannot be resolved
	ReasonIdentity    Reason = "identity"    // its document cannot be read now
	ReasonNoPDS       Reason = "no-pds"      // the document names no PDS
	ReasonNoKey       Reason = "no-key"      // or no key that is understood
	ReasonNotFound    Reason = "not-found"   // the PDS does not have the repository
	ReasonDeactivated Reason = "deactivated" // the PDS does not give it out, as its owner wants
	ReasonTakendown   Reason = "takendown"   // or as the PDS wants
	ReasonSuspended   Reason = "suspended"   // or as the PDS wants, for a while
	ReasonHTTP        Reason = "http"        // another answer that is no repository
	ReasonConnection  Reason = "connection"  // no answer, or not all of it
	ReasonRate        Reason = "rate-limit"  // the PDS wants to be left alone
	ReasonBlocked     Reason = "blocked"     // the PDS' address is none that may be reached
	ReasonTimeout     Reason = "timeout"     // it took too long
	ReasonSlow        Reason = "slow"        // it came too slowly
	ReasonTooLarge    Reason = "too-large"   // it is longer than we take
	ReasonLocal       Reason = "local"       // no fault of the network: the disk is full
)

// Error is why a repository was not read.
type Error struct {
	Reason Reason
	// PDS is where it was asked for; empty if that is not known.
	PDS string
	// Err is the cause.
	Err error
}

func (e *Error) Error() string {
	if bad, ok := errors.AsType[*car.InvalidError](e.Err); ok && Reason(bad.Reason) == e.Reason {
		return e.Err.Error()
	}
	return string(e.Reason) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

var (
	errTimeout = errors.New("not all there in time")
	errSlow    = errors.New("hardly anything comes any more")
)

// classify gives an error its reason.
func classify(pds string, err error) *Error {
	e := &Error{Reason: ReasonConnection, PDS: pds, Err: err}
	if already, ok := errors.AsType[*Error](err); ok {
		return already
	}
	bad, isCAR := errors.AsType[*car.InvalidError](err)
	status, isStatus := errors.AsType[*outbound.StatusError](err)
	_, tooLarge := errors.AsType[*outbound.TooLargeError](err)
	_, blocked := errors.AsType[*outbound.BlockedError](err)
	switch {
	case isCAR:
		e.Reason = Reason(bad.Reason)
	case tooLarge:
		e.Reason = ReasonTooLarge
	case blocked:
		e.Reason = ReasonBlocked
	case errors.Is(err, errTimeout):
		e.Reason = ReasonTimeout
	case errors.Is(err, errSlow):
		e.Reason = ReasonSlow
	// Before the status: that there is no such DID is an answer of HTTP, too.
	case errors.Is(err, identity.ErrNotFound):
		e.Reason = ReasonNoDID
	case errors.Is(err, identity.ErrMethod):
		e.Reason = ReasonMethod
	case isStatus:
		e.Reason = reasonOf(status)
	}
	return e
}

// reasonOf reads an answer to com.atproto.sync.getRepo that is no repository.
func reasonOf(e *outbound.StatusError) Reason {
	switch e.Name {
	case "RepoNotFound":
		return ReasonNotFound
	case "RepoDeactivated":
		return ReasonDeactivated
	case "RepoTakendown":
		return ReasonTakendown
	case "RepoSuspended":
		return ReasonSuspended
	}
	switch {
	case e.Status == http.StatusTooManyRequests,
		e.Status == http.StatusServiceUnavailable && !e.RetryAt.IsZero():
		return ReasonRate
	case strings.HasPrefix(e.Message, "Could not find repo"):
		// The reference PDS says so under InvalidRequest:
		// https://github.com/bluesky-social/atproto/blob/main/packages/pds/src/api/com/atproto/sync/getRepo.ts
		return ReasonNotFound
	}
	return ReasonHTTP
}

// withheld are the reasons for which the account is not active, as its PDS says.
var withheld = []Reason{ReasonDeactivated, ReasonTakendown, ReasonSuspended}

// maxUnknown is how often a DID that does not exist is looked for: one that is new
// may not have reached all mirrors of the directory.
const maxUnknown = 5

// final reports whether asking again is of no use until something changes.
// Attempts is how often it has failed before.
func (e *Error) final(attempts int) bool {
	return slices.Contains(withheld, e.Reason) || e.Reason == ReasonNotFound || e.Reason == ReasonMethod ||
		e.Reason == ReasonNoDID && attempts+1 >= maxUnknown
}

// maybeMoved reports whether an account that has moved to another PDS, or has
// another key, would explain it. Of a host that is out of order, that is asked only
// when it was so before: else each of its repositories would have us ask.
func (e *Error) maybeMoved(retry bool) bool {
	switch e.Reason {
	case ReasonNotFound, ReasonDeactivated, ReasonTakendown, ReasonSuspended, Reason(car.ReasonSignature), Reason(car.ReasonOld):
		return true
	case ReasonHTTP, ReasonConnection, ReasonBlocked:
		return retry
	}
	return false
}

// maxReason bounds what is kept of an error's text.
const maxReason = 500

// text is an error as a column can hold it.
func (e *Error) text() string {
	s := strings.ReplaceAll(strings.ToValidUTF8(e.Error(), "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= maxReason {
		return s
	}
	n := maxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// deferError says that a host cannot be asked now, and when to come again.
type deferError struct {
	pds   string
	delay time.Duration
}

func (e *deferError) Error() string {
	return fmt.Sprintf("%s is not to be asked for another %s", e.pds, e.delay.Round(time.Millisecond))
}
