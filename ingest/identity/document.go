package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/mr-tron/base58"
)

// Document is what of a DID document matters to AT Protocol; see
// https://atproto.com/specs/did#did-documents.
type Document struct {
	DID syntax.DID
	// Handle is claimed, not verified; empty if none is.
	Handle syntax.Handle
	// PDS and Key are as in [Identity].
	PDS string
	Key atcrypto.PublicKey
	// Note says what in the document could not be used; empty if nothing.
	Note string
}

// text is a string where documents of other uses may have something else.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	}
	return nil
}

type rawDocument struct {
	ID                 syntax.DID `json:"id"`
	AlsoKnownAs        []text     `json:"alsoKnownAs"`
	VerificationMethod []struct {
		ID                 text `json:"id"`
		Type               text `json:"type"`
		Controller         text `json:"controller"`
		PublicKeyMultibase text `json:"publicKeyMultibase"`
	} `json:"verificationMethod"`
	Service []struct {
		ID              text `json:"id"`
		Type            text `json:"type"`
		ServiceEndpoint text `json:"serviceEndpoint"`
	} `json:"service"`
}

// parseDocument reads a DID document. What it has for others is passed over; what
// it has for us and is wrong is left out and noted.
func parseDocument(did syntax.DID, b []byte, allowHTTP bool) (Document, error) {
	var raw rawDocument
	if err := json.Unmarshal(b, &raw); err != nil {
		return Document{}, fmt.Errorf("DID document: %w", err)
	}
	if raw.ID != did {
		return Document{}, fmt.Errorf("DID document is of %q", raw.ID)
	}
	doc := Document{DID: did}
	var notes []error
	for _, name := range raw.AlsoKnownAs {
		rest, ok := strings.CutPrefix(string(name), "at://")
		if !ok {
			continue
		}
		if h, err := syntax.ParseHandle(rest); err == nil { // the first that is one, by the specification
			doc.Handle = h.Normalize()
			break
		}
	}
	for _, m := range raw.VerificationMethod {
		if !isFragment(m.ID, did, "atproto") || syntax.DID(m.Controller) != did {
			continue
		}
		key, err := parseKey(string(m.Type), string(m.PublicKeyMultibase))
		if err != nil {
			notes = append(notes, fmt.Errorf("signing key: %w", err))
		}
		doc.Key = key
		break
	}
	for _, s := range raw.Service {
		if !isFragment(s.ID, did, "atproto_pds") || s.Type != "AtprotoPersonalDataServer" {
			continue
		}
		pds, err := parsePDS(string(s.ServiceEndpoint), allowHTTP)
		if err != nil {
			notes = append(notes, fmt.Errorf("PDS: %w", err))
		}
		doc.PDS = pds
		break
	}
	if err := errors.Join(notes...); err != nil {
		doc.Note = reason(err)
	}
	return doc, nil
}

// isFragment reports whether an id is #fragment, in full or relative to the
// document.
func isFragment(id text, did syntax.DID, fragment string) bool {
	return string(id) == "#"+fragment || string(id) == string(did)+"#"+fragment
}

// maxKey bounds a key's text: decoding base 58 takes time by the square of it.
const maxKey = 256

// parseKey reads a verification method. The types of 2019, whose keys are bare
// curve points, are in documents of older PLC directories
// (https://atproto.com/specs/did#legacy-representation).
func parseKey(typ, multibase string) (atcrypto.PublicKey, error) {
	if len(multibase) < 2 || len(multibase) > maxKey {
		return nil, fmt.Errorf("%d bytes of publicKeyMultibase", len(multibase))
	}
	switch typ {
	case "Multikey":
		return asKey(atcrypto.ParsePublicMultibase(multibase))
	case "EcdsaSecp256k1VerificationKey2019", "EcdsaSecp256r1VerificationKey2019":
	default:
		return nil, fmt.Errorf("type %.64q is not understood", typ)
	}
	if multibase[0] != 'z' {
		return nil, errors.New("not base58btc")
	}
	point, err := base58.Decode(multibase[1:])
	if err != nil {
		return nil, err
	}
	switch k256 := typ == "EcdsaSecp256k1VerificationKey2019"; {
	case k256 && len(point) == 33:
		return asKey(atcrypto.ParsePublicBytesK256(point))
	case k256:
		return asKey(atcrypto.ParsePublicUncompressedBytesK256(point))
	case len(point) == 33:
		return asKey(atcrypto.ParsePublicBytesP256(point))
	default:
		return asKey(atcrypto.ParsePublicUncompressedBytesP256(point))
	}
}

// asKey keeps a nil pointer from becoming a key that is not nil.
func asKey[K atcrypto.PublicKey](key K, err error) (atcrypto.PublicKey, error) {
	if err != nil {
		return nil, err
	}
	return key, nil
}

func hostRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._:[]", r)
}

// parsePDS checks that a service endpoint is a host, and nothing else: it comes to
// stand before paths.
func parsePDS(endpoint string, allowHTTP bool) (string, error) {
	if len(endpoint) > 512 {
		return "", fmt.Errorf("URL of %d bytes", len(endpoint))
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is no URL", endpoint)
	case u.Scheme != "https" && (u.Scheme != "http" || !allowHTTP):
		return "", fmt.Errorf("%q is not https", endpoint)
	case u.Hostname() == "", u.User != nil, strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "", u.Opaque != "":
		return "", fmt.Errorf("%q is more than scheme, host and port", endpoint)
	case strings.ContainsFunc(u.Host, func(r rune) bool { return !hostRune(r) }):
		// Such as bytes that are no UTF-8, in percent signs, which Postgres would refuse.
		return "", fmt.Errorf("%q has a host that is none", endpoint)
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}
