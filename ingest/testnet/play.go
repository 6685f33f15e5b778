package testnet

import (
	"fmt"
	"hash/fnv"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/stream"
)

// Play does what events tell, such as those of a simulate.Model: accounts are made
// when they are first heard of, under the DIDs that they have, so that links between
// records hold; consecutive operations of one revision are one commit. Revisions
// and times are the network's own. Record keys, and so the CIDs of records, are
// those of the events.
func (n *Network) Play(events ...stream.Event) {
	for i := 0; i < len(events); {
		ev := events[i]
		a := n.Account(ev.DID)
		if a == nil {
			spec := Spec{DID: ev.DID, PDS: n.homeOf(ev.DID)}
			if ev.Identity != nil {
				spec.Handle = ev.Identity.Handle
			}
			a = n.AddAccount(spec)
		}
		switch ev.Kind {
		case stream.KindCommit:
			var ops []Op
			rev := ev.Commit.Rev
			for ; i < len(events); i++ {
				c := events[i].Commit
				if events[i].DID != ev.DID || c == nil || c.Rev != rev {
					break
				}
				ops = append(ops, a.op(c))
			}
			a.Commit(ops...)
			continue
		case stream.KindIdentity:
			if h := ev.Identity.Handle; h != "" && h != a.Handle() {
				a.ChangeHandle(h)
			}
		case stream.KindAccount:
			status := ev.Account.Status
			if ev.Account.Active {
				status = Active
			}
			a.SetStatus(status)
		default:
			panic(fmt.Sprintf("testnet: play a %s event", ev.Kind))
		}
		i++
	}
}

// op makes a change of what there is: whether a record exists is not for the event
// to say.
func (a *Account) op(c *stream.Commit) Op {
	switch exists := a.Has(c.Collection, c.RKey); {
	case c.Operation == stream.Delete:
		return Delete(c.Collection, c.RKey)
	case exists:
		return Update(c.Collection, c.RKey, c.Record)
	}
	return Create(c.Collection, c.RKey, c.Record)
}

func (n *Network) homeOf(did syntax.DID) int {
	h := fnv.New32a()
	h.Write([]byte(did))
	return int(h.Sum32() % uint32(n.cfg.PDSes))
}
