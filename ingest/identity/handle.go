package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/outbound"
)

// errNoHandle is a definite answer: this way, the handle leads nowhere.
var errNoHandle = errors.New("handle leads to no DID")

// VerifyHandle reports whether a handle leads to a DID, by DNS or by the handle's
// own host. An error says that there was no definite answer, neither yes nor no.
// See https://atproto.com/specs/handle#handle-resolution.
func (r *Resolver) VerifyHandle(ctx context.Context, handle syntax.Handle, did syntax.DID) (bool, error) {
	handle = handle.Normalize()
	if handle.IsInvalidHandle() || !handle.AllowedTLD() {
		return false, nil
	}
	// DNS has the say where it has an answer; most handles below a PDS's own domain
	// have none.
	viaDNS, dnsErr := r.handleDNS(ctx, handle)
	if dnsErr == nil {
		return viaDNS == did, nil
	}
	viaHTTP, httpErr := r.handleHTTP(ctx, handle)
	switch {
	case httpErr == nil && viaHTTP == did:
		return true, nil
	case !errors.Is(dnsErr, errNoHandle):
		return false, dnsErr
	case httpErr == nil || errors.Is(httpErr, errNoHandle):
		return false, nil
	}
	return false, httpErr
}

// handleDNS returns the DID of TXT record _atproto.HANDLE; an empty one if there
// are several that contradict one another, which leads nowhere for good.
func (r *Resolver) handleDNS(ctx context.Context, handle syntax.Handle) (syntax.DID, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	dids, err := LookupDIDs(ctx, r.cfg.DNS, "_atproto."+string(handle))
	switch {
	case err != nil:
		return "", fmt.Errorf("DNS of handle %s: %w", handle, err)
	case len(dids) == 0:
		return "", errNoHandle
	case len(dids) > 1:
		return "", nil
	}
	return dids[0], nil
}

// LookupDIDs returns the DIDs that TXT records did=DID of a name have, each once;
// none and no error if it is certain that there are none.
func LookupDIDs(ctx context.Context, dns TXT, name string) ([]syntax.DID, error) {
	records, err := dns.LookupTXT(ctx, name)
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var dids []syntax.DID
	seen := map[syntax.DID]bool{}
	for _, s := range records {
		rest, ok := strings.CutPrefix(strings.TrimSpace(s), "did=")
		if !ok {
			continue
		}
		if did, err := syntax.ParseDID(strings.TrimSpace(rest)); err == nil && !seen[did] {
			seen[did] = true
			dids = append(dids, did)
		}
	}
	return dids, nil
}

// maxHandleBody bounds what a handle's host answers: a DID is up to 2,048 bytes.
const maxHandleBody = 4 << 10

// handleHTTP asks the handle's own host.
func (r *Resolver) handleHTTP(ctx context.Context, handle syntax.Handle) (syntax.DID, error) {
	path := string(handle) + "/.well-known/atproto-did"
	body, err := r.get(ctx, "https://"+path, maxHandleBody)
	if _, answered := errors.AsType[*outbound.StatusError](err); err != nil && !answered && r.cfg.AllowPrivate && ctx.Err() == nil {
		body, err = r.get(ctx, "http://"+path, maxHandleBody)
	}
	if err != nil {
		if definite(err) {
			return "", fmt.Errorf("%w: %w", errNoHandle, err)
		}
		return "", err
	}
	did, err := syntax.ParseDID(strings.TrimSpace(string(body)))
	if err != nil {
		return "", fmt.Errorf("%w: %s answers with something else", errNoHandle, handle) // such as its start page
	}
	return did, nil
}

// definite reports whether an error of a handle's host says that it has no DID
// for us. A host that refuses (401, 403) may refuse us and not others; one that
// cannot be connected to may be back tomorrow; an address that we may not reach
// says something about where we stand, too.
func definite(err error) bool {
	if status, ok := errors.AsType[*outbound.StatusError](err); ok {
		return !status.Temporary() && status.Status != http.StatusUnauthorized && status.Status != http.StatusForbidden
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound
	}
	_, large := errors.AsType[*outbound.TooLargeError](err)
	return large
}
