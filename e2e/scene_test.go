package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// A scene is accounts at two PDSes, with a history, and what happens to them: all
// that changes what an index has to show.
type scene struct {
	*box
	alice, bob, carol, dave, erin *account
	// Whether the source does not tell that a handle has changed.
	handlesUntold bool
}

// An act is a part of what happens. After it the tables have to equal what the
// PDSes give out, and check says what else has to be so.
type act struct {
	what  string
	do    func()
	check func(t testing.TB, a *atview)
}

// newScene makes the accounts and their history. Alice, Bob and the later ones are
// at the first PDS, Carol at the second.
func newScene(b *box) *scene {
	s := &scene{box: b}
	s.alice = b.Hosts[0].createAccount("alice", nil, "")
	s.bob = b.Hosts[0].createAccount("bob", nil, "")
	s.carol = b.Hosts[1].createAccount("carol", nil, "")
	soup, _ := s.alice.create("com.myrecipes.recipe", recipe("Soup"))
	s.bob.create("com.myrecipes.like", like(soup))
	_, old := s.bob.create("xyz.statusphere.status", status("😀"))
	s.bob.delete("xyz.statusphere.status", old)
	s.carol.create("com.myrecipes.like", like(soup))
	var many []object
	for i := range 150 {
		many = append(many, recipe(fmt.Sprintf("Recipe %d", i)))
	}
	s.alice.write("com.myrecipes.recipe", many)
	return s
}

func recipe(title string) object {
	return object{"$type": "com.myrecipes.recipe", "title": title, "ingredients": []string{"water", "salt"}, "steps": []string{"Boil."},
		"createdAt": time.Now().UTC().Format(time.RFC3339Nano)}
}

func status(emoji string) object {
	return object{"$type": "xyz.statusphere.status", "status": emoji, "createdAt": time.Now().UTC().Format(time.RFC3339Nano)}
}

func like(subject object) object {
	return object{"$type": "com.myrecipes.like", "subject": subject, "createdAt": time.Now().UTC().Format(time.RFC3339Nano)}
}

// play runs the acts before an atview.
func (s *scene) play(t testing.TB, a *atview, acts []act) {
	t.Helper()
	a.connected(t)
	for _, act := range acts {
		began := time.Now()
		act.do()
		a.expect(t, time.Minute, func() (records, error) { return s.truth(t.Context()) })
		if act.check != nil {
			act.check(t, a)
		}
		truth, err := s.truth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d records agree after %s", act.what, len(truth), time.Since(began).Round(10*time.Millisecond))
	}
}

func (s *scene) acts() []act {
	p0 := s.Hosts[0]
	return []act{
		{"history", func() {
			// Carol's PDS may be one that nobody has asked for a list: her repository
			// is read because she writes.
			s.carol.create("xyz.statusphere.status", status("👋"))
		}, func(t testing.TB, a *atview) {
			a.expectHandle(t, s.bob.DID, "bob.pds0.test")
		}},
		{"writes, changes, deletions", func() {
			s.dave, s.erin = p0.createAccount("dave", nil, ""), p0.createAccount("erin", nil, "")
			bread, rkey := s.dave.create("com.myrecipes.recipe", recipe("Bread"))
			_, gone := s.dave.create("com.myrecipes.recipe", recipe("Burnt bread"))
			s.dave.put("com.myrecipes.recipe", rkey, recipe("Better bread"))
			s.dave.delete("com.myrecipes.recipe", gone)
			s.erin.create("com.myrecipes.like", like(bread))
			s.erin.put("app.bsky.actor.profile", "self", object{"$type": "app.bsky.actor.profile", "displayName": "Erin"})
			// What no PDS objects to, and the lexicon and Postgres do.
			s.erin.create("xyz.statusphere.status", object{"$type": "xyz.statusphere.status", "status": 7, "text": "a\x00b"})
			s.alice.write("xyz.statusphere.status", slices.Repeat([]object{status("🍞")}, 60))
		}, nil},
		{"a new handle", func() {
			s.alice.call("com.atproto.identity.updateHandle", s.alice.access, object{"handle": "alicia.pds0.test"}, nil)
		}, func(t testing.TB, a *atview) {
			if !s.handlesUntold {
				a.expectHandle(t, s.alice.DID, "alicia.pds0.test")
			}
		}},
		{"deactivated", func() {
			s.bob.deactivate()
		}, func(t testing.TB, a *atview) {
			a.expectAccount(t, s.bob.DID, "deactivated", 1)
		}},
		{"activated", func() {
			s.bob.call("com.atproto.server.activateAccount", s.bob.access, nil, nil)
		}, nil},
		{"activated and writing", func() {
			s.bob.create("xyz.statusphere.status", status("🎉"))
		}, nil},
		{"taken down", func() {
			s.erin.takedown(true)
		}, func(t testing.TB, a *atview) {
			a.expectAccount(t, s.erin.DID, "takendown", 3)
		}},
		{"not taken down any more", func() {
			s.erin.takedown(false)
		}, nil},
		{"deleted", func() {
			s.dave.call("com.atproto.admin.deleteAccount", s.operator(), object{"did": s.dave.DID}, nil)
		}, func(t testing.TB, a *atview) {
			a.expectAccount(t, s.dave.DID, "deleted", 0)
		}},
	}
}

// migration moves Alice to the other PDS. What the old one says of her then, that
// she is deactivated, does not count.
func (s *scene) migration() []act {
	old := s.alice
	return []act{
		{"moved to the other PDS", func() {
			s.alice = old.migrate(s.Hosts[1], "alicia")
			s.alice.create("xyz.statusphere.status", status("📦"))
		}, func(t testing.TB, a *atview) {
			if !s.handlesUntold {
				a.expectHandle(t, s.alice.DID, "alicia.pds1.test")
			}
		}},
		{"deactivated at the old PDS", func() {
			old.deactivate()
			// By the time that this has come, that has.
			s.erin.create("xyz.statusphere.status", status("🚚"))
		}, func(t testing.TB, a *atview) {
			a.expectAccount(t, s.alice.DID, "active", 0)
		}},
		{"moved and writing", func() {
			s.alice.create("xyz.statusphere.status", status("🏠"))
		}, nil},
	}
}

// handles maps the names of the scene's handles, which no name server knows, to
// their hosts.
func (s *scene) handles() []string {
	var flags []string
	for i, names := range [][]string{{"alice", "alicia", "bob", "dave", "erin"}, {"alicia", "carol"}} {
		for _, name := range names {
			flags = append(flags, "--resolve", name+s.Hosts[i].Domain+"=127.0.0.1:"+s.Hosts[i].port())
		}
	}
	return flags
}

// expectHandle waits until an account has a handle.
func (a *atview) expectHandle(t testing.TB, did syntax.DID, want syntax.Handle) {
	t.Helper()
	eventually(t, time.Minute, did.String()+" is "+want.String(), func() (bool, string) {
		got, err := query[string](a, "select coalesce(handle, 'unknown') from atview.actor where did = $1", did.String())
		return err == nil && slices.Equal(got, []string{want.String()}), fmt.Sprint(got, err)
	})
}

// expectAccount waits for an account's state, and for how many of its records are to be kept hidden.
func (a *atview) expectAccount(t testing.TB, did syntax.DID, state string, kept int) {
	t.Helper()
	eventually(t, time.Minute, did.String()+" is "+state, func() (bool, string) {
		got, err := query[string](a, "select status from atview.actor where did = $1", did.String())
		if err != nil {
			return false, err.Error()
		}
		_, hidden, err := a.records()
		if err != nil {
			return false, err.Error()
		}
		n := 0
		for u := range hidden {
			if syntax.ATURI(u).Authority().String() == did.String() {
				n++
			}
		}
		return slices.Equal(got, []string{state}) && n == kept, fmt.Sprintf("%v, %d records hidden", got, n)
	})
}
