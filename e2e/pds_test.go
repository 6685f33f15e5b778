package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// A box is a PLC directory with two PDSes, as pds/box.mjs starts them.
type box struct {
	t     testing.TB
	PLC   string
	Mail  string
	Admin string
	Hosts []*host
}

type host struct {
	box         *box
	number      int
	URL, Domain string
}

func startBox(b *bench) *box {
	b.t.Helper()
	dir, node := installPDS(b.t)
	p := b.start("pds", environment("LOG_ENABLED=0"), node, dir+"/box.mjs", b.path("pds"))
	box := &box{t: b.t}
	if err := json.Unmarshal([]byte(p.line("", time.Minute)), box); err != nil {
		b.t.Fatalf("what the PDSes said: %v", err)
	}
	for i, h := range box.Hosts {
		h.box, h.number = box, i
	}
	return box
}

// An account is one at a PDS, logged in.
type account struct {
	*host
	DID    syntax.DID
	Handle syntax.Handle
	access string
}

// object is JSON of an XRPC call.
type object map[string]any

func (h *host) createAccount(name string, more object, auth string) *account {
	h.box.t.Helper()
	in := object{"handle": name + h.Domain, "email": name + "@example.com", "password": "password of " + name}
	maps.Copy(in, more)
	var out struct {
		DID       syntax.DID
		Handle    syntax.Handle
		AccessJwt string
	}
	h.call("com.atproto.server.createAccount", auth, in, &out)
	return &account{h, out.DID, out.Handle, "Bearer " + out.AccessJwt}
}

// call runs a procedure.
func (h *host) call(method, auth string, in, out any) {
	h.box.t.Helper()
	contentType, body := "application/json", []byte(nil)
	switch in := in.(type) {
	case nil:
		contentType = ""
	case []byte:
		contentType, body = "application/vnd.ipld.car", in
	default:
		var err error
		if body, err = json.Marshal(in); err != nil {
			h.box.t.Fatal(err)
		}
	}
	h.request(http.MethodPost, method, contentType, auth, bytes.NewReader(body), out)
}

// ask runs a query. Its parameters are part of the method.
func (h *host) ask(method, auth string, out any) {
	h.box.t.Helper()
	h.request(http.MethodGet, method, "", auth, nil, out)
}

func (h *host) request(verb, method, contentType, auth string, body io.Reader, out any) {
	h.box.t.Helper()
	req, err := http.NewRequestWithContext(h.box.t.Context(), verb, h.URL+"/xrpc/"+method, body)
	if err != nil {
		h.box.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	answer, err := do(req)
	if err != nil {
		h.box.t.Fatal(err)
	}
	if out == nil {
		return
	}
	if raw, isBytes := out.(*[]byte); isBytes {
		*raw = answer
	} else if err := json.Unmarshal(answer, out); err != nil {
		h.box.t.Fatalf("%s of %s: %v", method, h.URL, err)
	}
}

// create writes a record under a key of the PDS's choice and gives its strongRef.
func (a *account) create(collection string, record object) (ref object, rkey string) {
	a.box.t.Helper()
	var out struct {
		URI syntax.ATURI
		CID string
	}
	a.call("com.atproto.repo.createRecord", a.access, object{"repo": a.DID, "collection": collection, "record": record}, &out)
	return object{"uri": out.URI, "cid": out.CID}, out.URI.RecordKey().String()
}

func (a *account) put(collection, rkey string, record object) {
	a.box.t.Helper()
	a.call("com.atproto.repo.putRecord", a.access, object{"repo": a.DID, "collection": collection, "rkey": rkey, "record": record}, nil)
}

func (a *account) delete(collection, rkey string) {
	a.box.t.Helper()
	a.call("com.atproto.repo.deleteRecord", a.access, object{"repo": a.DID, "collection": collection, "rkey": rkey}, nil)
}

// write makes many records with one commit.
func (a *account) write(collection string, list []object) {
	a.box.t.Helper()
	var writes []object
	for _, record := range list {
		writes = append(writes, object{"$type": "com.atproto.repo.applyWrites#create", "collection": collection, "value": record})
	}
	a.call("com.atproto.repo.applyWrites", a.access, object{"repo": a.DID, "writes": writes}, nil)
}

func (a *account) deactivate() {
	a.box.t.Helper()
	a.call("com.atproto.server.deactivateAccount", a.access, object{}, nil)
}

// takedown hides the account, as the PDS's operator, or lets it be seen again.
func (a *account) takedown(applied bool) {
	a.box.t.Helper()
	a.call("com.atproto.admin.updateSubjectStatus", a.box.operator(),
		object{"subject": object{"$type": "com.atproto.admin.defs#repoRef", "did": a.DID}, "takedown": object{"applied": applied}}, nil)
}

func (b *box) operator() string {
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth("admin", b.Admin)
	return req.Header.Get("Authorization")
}

// migrate moves the account to another host, under a new handle: repository,
// identity, activation. What is left to do is to deactivate the old one. See
// https://atproto.com/guides/account-migration.
func (a *account) migrate(to *host, name string) *account {
	t := a.box.t
	t.Helper()
	var service struct{ Token string }
	a.ask("com.atproto.server.getServiceAuth?"+url.Values{"aud": {"did:web:localhost%3A" + to.port()}, "lxm": {"com.atproto.server.createAccount"}}.Encode(), a.access, &service)
	moved := to.createAccount(name, object{"did": a.DID}, "Bearer "+service.Token)
	var car []byte
	a.ask("com.atproto.sync.getRepo?did="+a.DID.String(), "", &car)
	moved.call("com.atproto.repo.importRepo", moved.access, car, nil)

	token, err := get(t.Context(), fmt.Sprintf("%s/token/%d/plc_operation/%s", a.box.Mail, a.number, a.DID))
	if err != nil {
		t.Fatal(err)
	}
	operation := object{}
	moved.ask("com.atproto.identity.getRecommendedDidCredentials", moved.access, &operation)
	operation["token"] = string(token)
	var signed struct{ Operation any }
	a.call("com.atproto.identity.signPlcOperation", a.access, operation, &signed)
	moved.call("com.atproto.identity.submitPlcOperation", moved.access, object{"operation": signed.Operation}, nil)
	moved.call("com.atproto.server.activateAccount", moved.access, nil, nil)
	return moved
}

func (h *host) port() string {
	u, err := url.Parse(h.URL)
	if err != nil {
		h.box.t.Fatal(err)
	}
	return u.Port()
}

// truth is what the PDSes give out of all active accounts: by listRecords, so
// another way than atview's.
func (b *box) truth(ctx context.Context) (records, error) {
	all := records{}
	for _, h := range b.Hosts {
		dids, err := listRepos(ctx, h.URL)
		if err != nil {
			return nil, err
		}
		for _, did := range dids {
			if err := h.list(ctx, did, all); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func (h *host) list(ctx context.Context, did syntax.DID, into records) error {
	body, err := get(ctx, h.URL+"/xrpc/com.atproto.repo.describeRepo?repo="+did.String())
	if err != nil {
		return err
	}
	var repo struct{ Collections []syntax.NSID }
	if err := json.Unmarshal(body, &repo); err != nil {
		return err
	}
	for _, collection := range repo.Collections {
		for cursor := ""; ; {
			body, err := get(ctx, h.URL+"/xrpc/com.atproto.repo.listRecords?"+url.Values{"repo": {did.String()}, "collection": {collection.String()},
				"limit": {"100"}, "cursor": {cursor}}.Encode())
			if err != nil {
				return err
			}
			var page struct {
				Cursor  string
				Records []struct{ URI, CID string }
			}
			if err := json.Unmarshal(body, &page); err != nil {
				return err
			}
			for _, r := range page.Records {
				into[r.URI] = r.CID
			}
			if cursor = page.Cursor; cursor == "" || len(page.Records) == 0 {
				break
			}
		}
	}
	return nil
}

// socket is the PDS's firehose.
func (h *host) socket() string {
	return "ws" + h.URL[len("http"):] + "/xrpc/com.atproto.sync.subscribeRepos"
}

// TestPDS follows two PDSes themselves, without a relay: history by the list of
// repositories of one of them, the rest by their firehoses. Who does so believes
// each PDS what it says of accounts, also of those that have left it: moving is
// for TestRelay.
func TestPDS(t *testing.T) {
	b := newBench(t)
	box := startBox(b)
	s := newScene(box)
	a := newAtview(b, box.PLC, s.handles(), "--source", box.Hosts[0].socket(), "--source", box.Hosts[1].socket(), "--relay", box.Hosts[0].URL)
	s.play(t, a, s.acts())
	a.verifyBoth(t)
}
