package examples_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/atview/atview/examples"
)

type event struct {
	DID    syntax.DID `json:"did"`
	TimeUS int64      `json:"time_us"`
	Kind   string     `json:"kind"`
	Commit *struct {
		Rev        syntax.TID       `json:"rev"`
		Operation  string           `json:"operation"`
		Collection syntax.NSID      `json:"collection"`
		RKey       syntax.RecordKey `json:"rkey"`
		Record     json.RawMessage  `json:"record"`
		CID        string           `json:"cid"`
	} `json:"commit"`
	Identity *struct {
		DID    syntax.DID    `json:"did"`
		Handle syntax.Handle `json:"handle"`
	} `json:"identity"`
	Account *struct {
		DID    syntax.DID `json:"did"`
		Active bool       `json:"active"`
	} `json:"account"`
}

// events parses the lines, with the syntax of each identifier.
func events(t *testing.T) []event {
	t.Helper()
	var all []event
	for line := range bytes.Lines(examples.Records) {
		var ev event
		if err := json.Unmarshal(line, &ev); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, ev)
	}
	return all
}

func TestRecordsAreValid(t *testing.T) {
	t.Parallel()
	catalog := lexicon.NewBaseCatalog()
	if err := catalog.LoadDirectory("../lexicons"); err != nil {
		t.Fatal(err)
	}
	for _, ev := range events(t) {
		if ev.Commit == nil || ev.Commit.Operation == "delete" {
			continue
		}
		id := ev.DID.String() + "/" + ev.Commit.Collection.String() + "/" + ev.Commit.RKey.String()
		record, err := atdata.UnmarshalJSON(ev.Commit.Record)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if err := lexicon.ValidateRecord(catalog, record, ev.Commit.Collection.String(), lexicon.StrictRecursiveValidation); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if want := cidOf(t, record); ev.Commit.CID != want {
			t.Errorf("%s: cid %s, want %s", id, ev.Commit.CID, want)
		}
		if _, err := syntax.ParseTID(ev.Commit.RKey.String()); err != nil && ev.Commit.RKey != "self" {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func cidOf(t *testing.T, record map[string]any) string {
	t.Helper()
	blob, err := atdata.MarshalCBOR(record)
	if err != nil {
		t.Fatal(err)
	}
	id, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum(blob)
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// The order is one that the network could have sent, and what a record refers
// to is there when it comes: the account, and the record in that very version.
func TestRecordsComeInOrder(t *testing.T) {
	t.Parallel()
	var last int64
	revs := map[syntax.DID]syntax.TID{}
	active := map[string]bool{}
	current := map[string]string{} // URI → CID
	for _, ev := range events(t) {
		if ev.TimeUS <= last {
			t.Errorf("time_us %d after %d", ev.TimeUS, last)
		}
		last = ev.TimeUS
		switch ev.Kind {
		case "identity":
			if ev.Identity.DID != ev.DID || ev.Identity.Handle == "" {
				t.Errorf("identity %+v of %s", ev.Identity, ev.DID)
			}
			continue
		case "account":
			active[ev.DID.String()] = ev.Account.Active
			continue
		}
		if !active[ev.DID.String()] {
			t.Errorf("%s writes before its account is there", ev.DID)
		}
		if ev.Commit.Rev <= revs[ev.DID] {
			t.Errorf("%s: rev %s after %s", ev.DID, ev.Commit.Rev, revs[ev.DID])
		}
		revs[ev.DID] = ev.Commit.Rev

		uri := "at://" + ev.DID.String() + "/" + ev.Commit.Collection.String() + "/" + ev.Commit.RKey.String()
		if there := current[uri] != ""; there != (ev.Commit.Operation != "create") {
			t.Errorf("%s of %s, which is there: %v", ev.Commit.Operation, uri, there)
		}
		if ev.Commit.Operation == "delete" {
			delete(current, uri)
			continue
		}
		current[uri] = ev.Commit.CID
		var record any
		if err := json.Unmarshal(ev.Commit.Record, &record); err != nil {
			t.Fatal(err)
		}
		links(record, func(uri, cid string) {
			if current[uri] != cid {
				t.Errorf("%s %s refers to %s with %s, which is %q now", ev.Commit.Collection, ev.Commit.RKey, uri, cid, current[uri])
			}
		}, func(did string) {
			if !active[did] {
				t.Errorf("%s %s refers to %s, which is not there", ev.Commit.Collection, ev.Commit.RKey, did)
			}
		})
	}
}

// links finds the strongRefs and the DIDs in a record.
func links(value any, strongRef func(uri, cid string), did func(string)) {
	switch v := value.(type) {
	case map[string]any:
		if uri, ok := v["uri"].(string); ok {
			strongRef(uri, v["cid"].(string))
		}
		for _, inner := range v {
			links(inner, strongRef, did)
		}
	case []any:
		for _, inner := range v {
			links(inner, strongRef, did)
		}
	case string:
		if strings.HasPrefix(v, "did:") {
			did(v)
		}
	}
}

// The demo is to have something of everything.
func TestRecordsCoverTheLexicons(t *testing.T) {
	t.Parallel()
	created := map[string]int{}
	operations := map[string]int{}
	for _, ev := range events(t) {
		if ev.Commit == nil {
			operations[ev.Kind]++
			continue
		}
		operations[ev.Commit.Operation]++
		if ev.Commit.Operation == "create" {
			created[ev.Commit.Collection.String()]++
		}
	}
	for collection, least := range map[string]int{
		"app.bsky.actor.profile": 12, "app.bsky.feed.like": 1, "app.bsky.feed.post": 3, "app.bsky.graph.follow": 12,
		"com.myrecipes.collection": 2, "com.myrecipes.like": 20, "com.myrecipes.recipe": 25, "com.myrecipes.review": 25,
		"xyz.statusphere.status": 5,
	} {
		if created[collection] < least {
			t.Errorf("%d of %s", created[collection], collection)
		}
	}
	for _, operation := range []string{"create", "update", "delete", "identity", "account"} {
		if operations[operation] == 0 {
			t.Errorf("no %s", operation)
		}
	}
}

func TestQueriesParse(t *testing.T) {
	t.Parallel()
	var names []string
	for _, text := range examples.Queries() {
		doc, err := parser.ParseQuery(&ast.Source{Input: text})
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		names = append(names, doc.Operations[0].Name)
	}
	if want := []string{"NewestRecipes", "FiveStars"}; !slices.Equal(names, want) {
		t.Errorf("operations %v, want %v", names, want)
	}
}
