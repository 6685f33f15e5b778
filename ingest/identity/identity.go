package identity

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Identity is what is known of a DID.
type Identity struct {
	DID syntax.DID
	// Handle is the one that the DID document claims, if it leads back to the DID;
	// [syntax.HandleInvalid] if it does not, or there is none; empty if nobody has
	// looked yet.
	Handle syntax.Handle
	// PDS is the base URL of the host that has the repository, without a slash at
	// the end; empty if the document names none.
	PDS string
	// Key is the one that signs commits; nil if the document names none that is
	// understood.
	Key atcrypto.PublicKey
	// ResolvedAt is when the DID document was read.
	ResolvedAt time.Time
}

// Outcomes that a caller branches on. Every other error is for now only.
var (
	// ErrNotFound says that there is no such DID, or that it has been given up.
	ErrNotFound = errors.New("no such DID")
	// ErrMethod says that the DID is of a method that cannot be resolved.
	ErrMethod = errors.New("DID method is not supported")
)

// Directory finds identities. It is safe for concurrent use.
type Directory interface {
	// Lookup returns an identity, as it is remembered if that is recent enough.
	Lookup(ctx context.Context, did syntax.DID) (Identity, error)
	// Refresh asks the network again, but of one DID not more often than every few
	// seconds: then it is Lookup. It is for when what is remembered turns out wrong,
	// such as a key that does not fit a signature.
	Refresh(ctx context.Context, did syntax.DID) (Identity, error)
}
