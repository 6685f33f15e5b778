package identity_test

import (
	"net/http"
	"testing"

	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/outbound"
	"github.com/atview/atview/ingest/testnet"
)

// TestNetwork finds accounts of a whole network, with documents in the form of
// today and that of before, as they move and are given up.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]bool{"Multikey": false, "OldDocs": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := testnet.Start(testnet.Config{Seed: 7, PDSes: 2, OldDocs: old, K256Every: 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(n.Close)
			guarded, err := outbound.New(outbound.Config{AllowPrivate: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(guarded.CloseIdleConnections)
			resolver, err := identity.NewResolver(identity.ResolverConfig{
				HTTP: guarded, DNS: n, PLC: n.PLC(), AllowPrivate: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			// Handles have no address here but what the network's transport knows.
			handles, err := identity.NewResolver(identity.ResolverConfig{
				HTTP: &http.Client{Transport: n.Transport()}, DNS: n, PLC: n.PLC(), AllowPrivate: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			check := func(a *testnet.Account) {
				t.Helper()
				doc, err := resolver.Document(t.Context(), a.DID())
				if err != nil || doc.Handle != a.Handle() || doc.PDS != n.PDS(a.PDS()) || doc.Key == nil || !doc.Key.Equal(a.Key()) || doc.Note != "" {
					t.Fatalf("%+v, %v", doc, err)
				}
				if ok, err := handles.VerifyHandle(t.Context(), doc.Handle, a.DID()); !ok || err != nil {
					t.Errorf("handle %s: %v, %v", doc.Handle, ok, err)
				}
			}
			byDNS, byHTTP := n.AddAccount(testnet.Spec{DNS: true}), n.NewAccount(1)
			check(byDNS)
			check(byHTTP)
			was := byDNS.Handle()
			byDNS.Migrate(1)
			byDNS.ChangeHandle("changed.test")
			check(byDNS)
			if ok, err := handles.VerifyHandle(t.Context(), was, byDNS.DID()); ok {
				t.Errorf("old handle %s: %v, %v", was, ok, err)
			}
			byHTTP.Tombstone()
			if _, err := resolver.Document(t.Context(), byHTTP.DID()); err == nil {
				t.Error("a DID that was given up is found")
			}
		})
	}
}
