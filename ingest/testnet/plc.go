package testnet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/mr-tron/base58"
)

// servePLC answers GET /{did}; see https://web.plc.directory/api/redoc.
func (n *Network) servePLC(w http.ResponseWriter, r *http.Request) {
	did := syntax.DID(strings.TrimPrefix(r.URL.Path, "/"))
	if did == "_health" {
		writeJSON(w, http.StatusOK, map[string]string{"version": "testnet"})
		return
	}
	message := func(status int, text string) {
		writeJSON(w, status, map[string]string{"message": text})
	}
	switch {
	case n.Faults.hit(PLCFail, did):
		message(http.StatusInternalServerError, "Internal Server Error")
		return
	case n.Faults.hit(PLCLimit, did):
		w.Header().Set("Retry-After", "1")
		message(http.StatusTooManyRequests, "Too Many Requests")
		return
	case n.Faults.hit(PLCGone, did):
		message(http.StatusNotFound, "DID not registered: "+string(did))
		return
	case n.Faults.hit(PLCSlow, did):
		if !n.wait(r.Context(), n.cfg.Slow) {
			return
		}
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	a := n.accounts[did]
	switch {
	case a == nil || did.Method() != "plc":
		message(http.StatusNotFound, "DID not registered: "+string(did))
		return
	case a.tombstoned:
		message(http.StatusGone, "DID not available: "+string(did))
		return
	}
	doc := a.doc
	if a.oldDoc != nil && n.Faults.hit(PLCStale, did) {
		doc = a.oldDoc
	}
	w.Header().Set("Content-Type", "application/did+ld+json")
	w.Write(doc)
}

// writeDoc makes the DID document anew; see https://atproto.com/specs/did.
func (a *Account) writeDoc() {
	type method struct {
		ID         string     `json:"id"`
		Type       string     `json:"type"`
		Controller syntax.DID `json:"controller"`
		Multibase  string     `json:"publicKeyMultibase"`
	}
	type service struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Endpoint string `json:"serviceEndpoint"`
	}
	key := method{ID: string(a.did) + "#atproto", Type: "Multikey", Controller: a.did, Multibase: a.key.public.Multibase()}
	if a.n.cfg.OldDocs {
		key.ID, key.Type = "#atproto", "EcdsaSecp256r1VerificationKey2019"
		if a.key.k256 {
			key.Type = "EcdsaSecp256k1VerificationKey2019"
		}
		key.Multibase = "z" + base58.Encode(a.key.public.UncompressedBytes())
	}
	doc, err := json.Marshal(struct {
		Context     []string   `json:"@context"`
		ID          syntax.DID `json:"id"`
		AlsoKnownAs []string   `json:"alsoKnownAs"`
		Methods     []method   `json:"verificationMethod"`
		Services    []service  `json:"service"`
	}{
		Context: []string{
			"https://www.w3.org/ns/did/v1",
			"https://w3id.org/security/multikey/v1",
			"https://w3id.org/security/suites/secp256k1-2019/v1",
		},
		ID:          a.did,
		AlsoKnownAs: []string{"at://" + string(a.handle)},
		Methods:     []method{key},
		Services:    []service{{"#atproto_pds", "AtprotoPersonalDataServer", a.n.PDS(a.pds)}},
	})
	if err != nil {
		panic(fmt.Sprintf("testnet: DID document: %v", err)) // strings only
	}
	a.oldDoc, a.doc = a.doc, doc
}
