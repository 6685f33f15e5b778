package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/goccy/go-yaml"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// generate returns the events of a kitchen as lines of JSON.
func generate(source []byte) ([]byte, error) {
	var k kitchen
	if err := yaml.UnmarshalWithOptions(source, &k, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("kitchen.yaml: %w", err)
	}
	n := &network{kitchen: k, refs: map[string]ref{}, keys: map[string]string{}, records: map[string]map[string]any{}, rev: map[string]int64{}}
	plan := k.plan()
	slices.SortStableFunc(plan, func(a, b action) int { return a.at.Compare(b.at) })
	for _, a := range plan {
		if err := a.do(n, a); err != nil {
			return nil, fmt.Errorf("%s by %s, %s: %w", a.name, a.by, a.at.Format(time.DateTime), err)
		}
	}
	return n.out.Bytes(), nil
}

// action is one thing that a cook does.
type action struct {
	at   time.Time
	by   string
	name string // unique; others refer to it
	do   func(*network, action) error
}

// plan lists what happens, in no order.
func (k kitchen) plan() []action {
	var plan []action
	add := func(at time.Time, by, name string, do func(*network, action) error) {
		// The source has minutes. Seconds and less come from the name.
		plan = append(plan, action{at.Add(spread(by+name, time.Minute)), by, name, do})
	}
	// later returns a time some hours after all of the given ones.
	later := func(name string, times ...time.Time) time.Time {
		return slices.MaxFunc(times, time.Time.Compare).Add(time.Hour + spread(name, 40*time.Hour))
	}
	written := map[string]time.Time{} // what can be liked, and since when
	like := func(collection, by, subject string) {
		name := "like " + subject + " " + by
		add(later(name, written[subject], k.Cooks[by].Joined.Time), by, name, func(n *network, a action) error {
			return n.create(a, collection, "", map[string]any{"subject": n.ref(subject)})
		})
	}

	for _, by := range slices.Sorted(maps.Keys(k.Cooks)) {
		c := k.Cooks[by]
		add(c.Joined.Time, by, "join", func(n *network, a action) error { return n.join(a, c) })
	}
	for _, by := range slices.Sorted(maps.Keys(k.Follows)) {
		for _, whom := range k.Follows[by] {
			name := "follow " + whom
			add(later(by+name, k.Cooks[by].Joined.Time, k.Cooks[whom].Joined.Time), by, name, func(n *network, a action) error {
				return n.create(a, "app.bsky.graph.follow", "", map[string]any{"subject": did(whom)})
			})
		}
	}
	for _, r := range k.Recipes {
		written[r.ID] = r.At.Time
		add(r.At.Time, r.By, r.ID, func(n *network, a action) error { return n.create(a, "com.myrecipes.recipe", "", r.record(n)) })
	}
	for _, r := range k.Reviews {
		name := "review " + r.Of + " " + r.By
		written[name] = r.At.Time
		add(r.At.Time, r.By, name, func(n *network, a action) error {
			return n.create(a, "com.myrecipes.review", "", map[string]any{
				"subject": n.ref(r.Of), "rating": r.Rating, "text": r.Text, "tags": r.Tags,
			})
		})
	}
	for _, subject := range slices.Sorted(maps.Keys(k.Likes)) {
		for _, by := range k.Likes[subject] {
			like("com.myrecipes.like", by, subject)
		}
	}
	for _, c := range k.Collections {
		add(c.At.Time, c.By, c.ID, func(n *network, a action) error {
			var items []any
			for _, id := range c.Items {
				items = append(items, n.ref(id))
			}
			return n.create(a, "com.myrecipes.collection", "", map[string]any{"name": c.Name, "description": c.Description, "items": items})
		})
	}
	for i, s := range k.Statuses {
		add(s.At.Time, s.By, fmt.Sprint("status ", i), func(n *network, a action) error {
			return n.create(a, "xyz.statusphere.status", "", map[string]any{"status": s.Status})
		})
	}
	for _, p := range k.Posts {
		written[p.ID] = p.At.Time
		add(p.At.Time, p.By, p.ID, func(n *network, a action) error { return n.create(a, "app.bsky.feed.post", "", p.record(n)) })
		for _, by := range p.Likes {
			like("app.bsky.feed.like", by, p.ID)
		}
	}
	for i, c := range k.Changes {
		add(c.At.Time, c.By, fmt.Sprint("change ", i), c.do)
	}
	return plan
}

func (r recipe) record(n *network) map[string]any {
	record := map[string]any{
		"title": r.Title, "description": r.Description, "cuisine": r.Cuisine, "difficulty": r.Difficulty,
		"servings": r.Servings, "prepMinutes": r.PrepMinutes, "cookMinutes": r.CookMinutes,
		"tags": r.Tags, "ingredients": r.Ingredients, "steps": r.Steps,
	}
	if r.BasedOn != "" {
		record["basedOn"] = n.ref(r.BasedOn)
	}
	return record
}

func (p post) record(n *network) map[string]any {
	record := map[string]any{"text": p.Text, "langs": []string{"en"}}
	if p.Mention != "" {
		handle := "@" + n.kitchen.Cooks[p.Mention].Handle
		start := strings.Index(p.Text, "{mention}")
		record["text"] = strings.Replace(p.Text, "{mention}", handle, 1)
		record["facets"] = []any{map[string]any{
			"index":    map[string]any{"byteStart": start, "byteEnd": start + len(handle)},
			"features": []any{map[string]any{"$type": "app.bsky.richtext.facet#mention", "did": did(p.Mention)}},
		}}
	}
	if p.Reply != "" {
		root := p.Reply
		for parent := root; parent != ""; parent = n.kitchen.post(root).Reply {
			root = parent
		}
		record["reply"] = map[string]any{"root": n.ref(root), "parent": n.ref(p.Reply)}
	}
	return record
}

func (k kitchen) post(id string) post {
	return k.Posts[slices.IndexFunc(k.Posts, func(p post) bool { return p.ID == id })]
}

func (c change) do(n *network, a action) error {
	switch {
	case c.Edit != "":
		return n.update(a, c.Edit, c.Set)
	case c.Delete != "":
		return n.delete(a, c.Delete)
	case c.Unlike != "":
		return n.delete(a, "like "+c.Unlike+" "+c.By)
	case c.Rename != "":
		return n.identity(a, c.Handle)
	default:
		return fmt.Errorf("a change of nothing")
	}
}

// network writes the events down and remembers what others refer to.
type network struct {
	kitchen kitchen
	out     bytes.Buffer
	refs    map[string]ref            // name → its newest version
	keys    map[string]string         // name → collection/rkey
	records map[string]map[string]any // name → newest content
	rev     map[string]int64          // cook → time of the newest revision
	seq     int64
	missing []string // referred to and not there yet
}

// ref is a strongRef.
type ref struct {
	URI string `json:"uri"`
	CID string `json:"cid"`
}

func (n *network) ref(name string) ref {
	r, ok := n.refs[name]
	if !ok {
		n.missing = append(n.missing, name)
	}
	return r
}

type event struct {
	DID      string         `json:"did"`
	TimeUS   int64          `json:"time_us"`
	Kind     string         `json:"kind"`
	Commit   *commit        `json:"commit,omitempty"`
	Identity map[string]any `json:"identity,omitempty"`
	Account  map[string]any `json:"account,omitempty"`
}

type commit struct {
	Rev        string          `json:"rev"`
	Operation  string          `json:"operation"`
	Collection string          `json:"collection"`
	RKey       string          `json:"rkey"`
	Record     json.RawMessage `json:"record,omitempty"`
	CID        string          `json:"cid,omitempty"`
}

// join is what the network shows of a new account: its handle, that it is
// active, and its profile.
func (n *network) join(a action, c cook) error {
	if err := n.identity(a, c.Handle); err != nil {
		return err
	}
	a.at = a.at.Add(20 * time.Millisecond)
	n.seq++
	account := map[string]any{"active": true, "did": did(a.by), "seq": n.seq, "time": stamp(a.at)}
	if err := n.emit(a, event{Kind: "account", Account: account}); err != nil {
		return err
	}
	a.at = a.at.Add(3 * time.Second)
	return n.create(a, "app.bsky.actor.profile", "self", map[string]any{"displayName": c.Name, "description": c.Bio})
}

func (n *network) identity(a action, handle string) error {
	n.seq++
	return n.emit(a, event{Kind: "identity", Identity: map[string]any{
		"did": did(a.by), "handle": handle, "seq": n.seq, "time": stamp(a.at),
	}})
}

// create writes a new record. Without an rkey it is a TID of the record's time.
func (n *network) create(a action, collection, rkey string, record map[string]any) error {
	if rkey == "" {
		rkey = tid(a.at.UnixMicro(), a.by)
	}
	record["$type"] = collection
	record["createdAt"] = stamp(a.at)
	n.keys[a.name] = collection + "/" + rkey
	return n.write(a, "create", a.name, record)
}

func (n *network) update(a action, name string, set map[string]any) error {
	record, ok := n.records[name]
	if !ok {
		return fmt.Errorf("%q is not there", name)
	}
	record = maps.Clone(record)
	maps.Copy(record, set)
	return n.write(a, "update", name, record)
}

func (n *network) write(a action, operation, name string, record map[string]any) error {
	if len(n.missing) > 0 {
		return fmt.Errorf("refers to what is not there yet: %q", n.missing)
	}
	maps.DeleteFunc(record, func(_ string, value any) bool {
		list, isList := value.([]string)
		return value == "" || isList && len(list) == 0
	})
	text, id, err := encode(record)
	if err != nil {
		return err
	}
	collection, rkey, _ := strings.Cut(n.keys[name], "/")
	n.records[name] = record
	n.refs[name] = ref{"at://" + did(a.by) + "/" + n.keys[name], id}
	return n.commit(a, commit{Operation: operation, Collection: collection, RKey: rkey, Record: text, CID: id})
}

func (n *network) delete(a action, name string) error {
	collection, rkey, ok := strings.Cut(n.keys[name], "/")
	if !ok {
		return fmt.Errorf("%q is not there", name)
	}
	delete(n.refs, name)
	return n.commit(a, commit{Operation: "delete", Collection: collection, RKey: rkey})
}

// commit gives the commit its revision: a TID a little after the record's own,
// and after the repository's last one.
func (n *network) commit(a action, c commit) error {
	n.rev[a.by] = max(a.at.UnixMicro()+4000, n.rev[a.by]+1)
	c.Rev = tid(n.rev[a.by], a.by)
	return n.emit(a, event{Kind: "commit", Commit: &c})
}

// emit writes the event as Jetstream would a third of a second later.
func (n *network) emit(a action, ev event) error {
	ev.DID = did(a.by)
	ev.TimeUS = a.at.Add(300*time.Millisecond + spread(a.by+a.name, 10*time.Millisecond)).UnixMicro()
	enc := json.NewEncoder(&n.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(ev)
}

// encode returns the record as JSON, and its CID.
func encode(record map[string]any) (json.RawMessage, string, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(record); err != nil {
		return nil, "", err
	}
	data, err := atdata.UnmarshalJSON(text.Bytes())
	if err != nil {
		return nil, "", err
	}
	blob, err := atdata.MarshalCBOR(data)
	if err != nil {
		return nil, "", err
	}
	id, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum(blob)
	if err != nil {
		return nil, "", err
	}
	return bytes.TrimSpace(text.Bytes()), id.String(), nil
}

// did returns the made-up DID of a cook: of the form that did:plc has, 24
// characters of base32, and of a value that no account's genesis operation has.
func did(cook string) string {
	sum := sha256.Sum256([]byte("atview example cook " + cook))
	return "did:plc:" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:15]))
}

// tid makes a TID; see https://atproto.com/specs/tid.
func tid(unixMicro int64, cook string) string {
	return syntax.NewTID(unixMicro, uint(hash(cook)%1024)).String()
}

// stamp is a time as most clients write it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// spread returns a duration below limit that looks random and is always the
// same for the same name.
func spread(name string, limit time.Duration) time.Duration {
	return time.Duration(hash(name) % uint64(limit)).Truncate(time.Microsecond)
}

func hash(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:])
}
