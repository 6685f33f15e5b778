package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atview/atview/index/dbtest"
	"github.com/atview/atview/ingest/testnet"
)

// audited is a small network, and an atview that has read all of it.
type audited struct {
	*signed
	data string
	args []string // of commands that reach the network and the database
	p    *process
}

func startAudited(t *testing.T, seed uint64, flags ...string) *audited {
	t.Helper()
	n := &audited{signed: startSigned(t, seed, 20, 600), data: sharedDir(t)}
	for _, a := range n.Accounts() {
		if s := a.Status(); s != testnet.Active && s != testnet.Deleted {
			a.Activate()
		}
	}
	// The directory under a name, as in a network of containers.
	n.args = []string{"--lexicons", exampleLexiconDir(t), "--data", n.data, "--plc-url", "http://plc.test",
		"--resolve", "plc.test=" + strings.TrimPrefix(n.PLC(), "http://"), "--allow-private-hosts"}
	n.p = launch(t, slices.Concat([]string{"dev", "--listen", "127.0.0.1:0", "--source", n.Firehose()}, n.args, flags)...)
	return n
}

// verify runs the command and holds what it prints against what is expected of it,
// and against what must not be there.
func (n *audited) verify(t *testing.T, code int, says []string, args ...string) (printed string) {
	t.Helper()
	stdout, stderr, got := atview(t, slices.Concat([]string{"verify"}, args, n.args)...)
	printed = stdout + stderr
	if got != code {
		t.Errorf("verify %s: exit %d, want %d:\n%s", strings.Join(args, " "), got, code, printed)
		return printed
	}
	for _, want := range says {
		if !strings.Contains(printed, want) {
			t.Errorf("verify %s lacks %q:\n%s", strings.Join(args, " "), want, printed)
		}
	}
	return printed
}

// change runs a statement that returns one value.
func (n *audited) change(t *testing.T, sql string) string {
	t.Helper()
	rows, err := psql(t.Context(), n.p.Database, sql)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%s: %q %v", sql, rows, err)
	}
	return rows[0]
}

// one is a condition that one row of a table meets, whose record breaks no lexicon.
// The numbers go through the accounts in order; below 0, from the last one.
func one(table string, which int) string {
	order := "did, rkey"
	if which < 0 {
		which, order = -which-1, "did desc, rkey"
	}
	return fmt.Sprintf("(rkey, did) = (select rkey, did from records.%s where not flagged order by %s offset %d limit 1)", table, order, which)
}

const returningURI = " returning concat('at://', did, '/%s/', rkey)"

// spoilRecords changes what only the repositories can tell, and returns the lines
// in which that is found.
func (n *audited) spoilRecords(t *testing.T) (lines []string) {
	t.Helper()
	post, status, profile := fmt.Sprintf(returningURI, "app.bsky.feed.post"), fmt.Sprintf(returningURI, "xyz.statusphere.status"), fmt.Sprintf(returningURI, "app.bsky.actor.profile")
	return []string{
		"missing   " + n.change(t, "delete from records.xyz_statusphere_status where "+one("xyz_statusphere_status", -1)+status),
		"extra     " + n.change(t, `insert into records.xyz_statusphere_status select (jsonb_populate_record(r, '{"rkey":"forged"}')).* from records.xyz_statusphere_status r where `+one("xyz_statusphere_status", -2)+status),
		"record    " + n.change(t, `update records.app_bsky_actor_profile set record = record || '{"pronouns":"forged"}', pronouns = 'forged' where `+one("app_bsky_actor_profile", 0)+profile),
		"cid       " + n.change(t, "update records.app_bsky_feed_post set cid = 'bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i' where "+one("app_bsky_feed_post", 0)+post),
	}
}

// spoilTables changes what the tables know by themselves, in each way once, and
// returns the lines in which that is found.
func (n *audited) spoilTables(t *testing.T) (lines []string) {
	t.Helper()
	recipe := fmt.Sprintf(returningURI, "com.myrecipes.recipe")
	return []string{
		// A column, one of atview's own, and a record that is not what its CID says.
		"column    " + n.change(t, "update records.com_myrecipes_recipe set title = 'forged' where "+one("com_myrecipes_recipe", 0)+recipe) + " path title want ",
		"column    " + n.change(t, "update records.com_myrecipes_recipe set hidden = true where "+one("com_myrecipes_recipe", 1)+recipe) + " path hidden want false have true",
		"cid       " + n.change(t, `update records.app_bsky_actor_profile set record = record || '{"pronouns":"forged"}' where `+one("app_bsky_actor_profile", 1)+fmt.Sprintf(returningURI, "app.bsky.actor.profile")) + " want bafy",
		// A count of too many, one of nothing, and one that should be there.
		n.change(t, `update atview.link_count set records = records + 7 where ctid = (select ctid from atview.link_count where collection = 'com.myrecipes.review' order by target limit 1)
			returning concat('count     ', collection, ' path ', path, ' target ', target, ' want ', records - 7, ' records of ', dids, ' accounts have ', records)`),
		n.change(t, `insert into atview.link_count values ('did:plc:nobody', 'app.bsky.graph.follow', 'subject', 2, 1)
			returning 'count     app.bsky.graph.follow path subject target did:plc:nobody have 2 records of 1 accounts'`),
		n.change(t, `delete from atview.link_count where ctid = (select ctid from atview.link_count where collection = 'com.myrecipes.like' order by target limit 1)
			returning concat('count     ', collection, ' path ', path, ' target ', target, ' want ', records, ' records of ', dids, ' accounts')`),
		// A link that is missing, and one too many.
		n.change(t, `delete from atview.link where ctid = (select ctid from atview.link order by target, did, rkey limit 1)
			returning concat('link      at://', did, '/', collection, '/', rkey, ' path ', path, ' target ', target, ' want a row')`),
		n.change(t, `insert into atview.link select 'https://example.com/forged', collection, path, did, rkey, sort_at, hidden from atview.link order by target desc, did, rkey limit 1
			returning concat('link      at://', did, '/', collection, '/', rkey, ' path ', path, ' target https://example.com/forged have ')`),
		// A row that is gone, of which the count of what it linked to is left.
		n.change(t, "delete from records.app_bsky_feed_like where "+one("app_bsky_feed_like", 0)+" returning 'count     app.bsky.feed.like path subject.uri target ' || subject_uri"),
		// A flag of a record that deserves none, one of nothing, and a deletion of what is there.
		"flag      " + n.change(t, "insert into atview.flag select 'com.myrecipes.recipe', rkey, did, 9, 'title', 'forged' from records.com_myrecipes_recipe where "+one("com_myrecipes_recipe", 2)+recipe) + " path title have forged",
		n.change(t, `insert into atview.flag values ('com.myrecipes.recipe', 'nothing', 'did:plc:nobody', 0, 'title', 'forged')
			returning 'orphan    at://did:plc:nobody/com.myrecipes.recipe/nothing path atview.flag'`),
		"tombstone " + n.change(t, "insert into atview.tombstone select 'com.myrecipes.recipe', rkey, did, '7zzzzzzzzzzzz' from records.com_myrecipes_recipe where "+one("com_myrecipes_recipe", 3)+recipe),
	}
}

// TestVerify spoils tables in each way, has the differences found and mended,
// beside the process that is at work and without one, and in the end nothing
// differs.
func TestVerify(t *testing.T) {
	t.Parallel()
	n := startAudited(t, 3)
	n.expect(t, n.p, time.Minute)
	n.verify(t, 0, []string{"nothing differs"})
	n.verify(t, 0, []string{"20 repositories compared, 0 differ, 0 could not be read", "nothing differs"}, "--all-repos")

	// What only the repositories know, beside the process that is at work.
	found := n.spoilRecords(t)
	dids := repositoriesOf(found)
	n.verify(t, 1, append(found, fmt.Sprintf("20 repositories compared, %d differ, 0 could not be read", len(dids)), "1 cid, 1 extra, 1 missing, 1 record"), "--sample", "1000")
	named := append(found, fmt.Sprintf("%[1]d repositories compared, %[1]d differ", len(dids)), fmt.Sprintf("4 records of %d repositories needed the repair", len(dids)), "nothing differs")
	args := []string{"--repair", "--repo", dids[0]} // named twice, it is compared once
	for _, did := range dids {
		args = append(args, "--repo", did)
	}
	n.verify(t, 0, named, args...)
	n.verify(t, 0, []string{"20 repositories compared, 0 differ", "nothing differs"}, "--all-repos", "--sample", "5", "--repair")
	n.verify(t, 0, []string{"nothing differs"})
	n.expect(t, n.p, time.Minute)

	// Who is not there, or gives nothing out.
	away := n.Accounts()[3]
	away.Deactivate()
	n.verify(t, 1, []string{"unread    " + string(away.DID()) + " deactivated: ", "unread    did:plc:aaaaaaaaaaaaaaaaaaaaaaaa no-did: ",
		"unread    did:example:nobody did-method: ", "0 repositories compared, 0 differ, 3 could not be read", "atview: 3 repositories could not be read"},
		"--repo", string(away.DID()), "--repo", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "--repo", "did:example:nobody")
	n.expect(t, n.p, time.Minute) // the tables know that the account is away, and there is nothing to compare
	n.verify(t, 0, []string{"19 repositories compared, 0 differ, 0 could not be read", "nothing differs"}, "--all-repos")
	away.Activate()
	n.expect(t, n.p, time.Minute)

	// What the tables know by themselves.
	more := n.spoilRecords(t)
	lines := n.spoilTables(t)
	n.verify(t, 1, append(lines, "the index is not what it should be"))
	n.verify(t, 1, []string{"--repair: other index processes are at work", "--sample, --repo"}, "--repair")
	n.p.Stop()
	n.verify(t, 0, append(lines, "repaired: ", "rows are not the record that their CID names", "nothing differs"), "--repair")
	// Of what is missing or forged only the PDS can tell.
	left := n.verify(t, 0, append(more[:2:2], "needed the repair", "nothing differs"), "--repair", "--all-repos")
	if strings.Contains(left, "record ") || strings.Contains(left, "cid ") {
		t.Errorf("the repair of the tables has left what it had found:\n%s", left)
	}
	n.verify(t, 0, []string{"nothing differs"})
	n.verify(t, 0, []string{"20 repositories compared, 0 differ, 0 could not be read"}, "--all-repos")
}

// repositoriesOf are the DIDs in lines with AT-URIs, each once.
func repositoriesOf(lines []string) (dids []string) {
	for _, line := range lines {
		_, uri, _ := strings.Cut(line, "at://")
		did, _, _ := strings.Cut(uri, "/")
		dids = append(dids, did)
	}
	slices.Sort(dids)
	return slices.Compact(dids)
}

// TestRepairNeedsAReader asks for a repair beside a process that reads no
// repositories: it is told that nobody will.
func TestRepairNeedsAReader(t *testing.T) {
	t.Parallel()
	n := startAudited(t, 5, "--backfill", "off")
	did := string(n.Accounts()[0].DID())
	n.verify(t, 1, []string{"missing   at://" + did + "/", "1 repositories are queued, and nobody reads them", "--backfill off"}, "--repo", did, "--repair")
}

// TestMistakesOfAudits gives wrong flags, which are found before anything is
// opened, and a database that is empty.
func TestMistakesOfAudits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dids := filepath.Join(dir, "dids.txt")
	if err := os.WriteFile(dids, []byte("# mine\n\ndid:plc:aaaaaaaaaaaaaaaaaaaaaaaa\nnobody.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lex := exampleLexiconDir(t)
	dev := []string{"dev", "--lexicons", lex, "--listen", "127.0.0.1:0", "--source", "ws://127.0.0.1:1/subscribe"}
	verify := []string{"verify", "--lexicons", lex}
	for _, test := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"backfill of no kind", append(dev[:len(dev):len(dev)], "--backfill", "most"), 1, []string{`--backfill "most" is none of auto, listed, seen, linked, none, off`}},
		{"backfill off and on", append(dev[:len(dev):len(dev)], "--backfill", "off,listed"), 1, []string{"--backfill off,listed", "off stands alone"}},
		{"nobody to list", append(dev[:len(dev):len(dev)], "--backfill", "listed"), 1, []string{"--backfill listed", "--relay"}},
		{"DIDs for nothing", append(dev[:len(dev):len(dev)], "--backfill", "off", "--backfill-dids", os.DevNull), 1, []string{"--backfill-dids", "--backfill off"}},
		{"DIDs that are none", append(dev[:len(dev):len(dev)], "--backfill-dids", dids), 1, []string{"--backfill-dids " + dids, "line 4", "DID"}},
		{"relay that is no URL", append(dev[:len(dev):len(dev)], "--relay", "relay.example"), 1, []string{"--relay relay.example: want http://HOST or https://HOST"}},
		{"relay of websockets", append(dev[:len(dev):len(dev)], "--relay", "wss://relay.example"), 1, []string{"--relay wss://relay.example: want http"}},
		{"directory that is no URL", append(dev[:len(dev):len(dev)], "--plc-url", "plc.directory"), 1, []string{"--plc-url plc.directory: want http"}},
		{"name without an address", append(dev[:len(dev):len(dev)], "--resolve", "plc.directory"), 1, []string{`--resolve "plc.directory": want NAME=HOST:PORT`}},
		{"identities maybe", append(dev[:len(dev):len(dev)], "--identities", "maybe"), 1, []string{`--identities "maybe" is none of on, off, auto`}},
		{"backfill of a handle", []string{"backfill", "alice.example"}, 2, []string{"DID", "Try: atview backfill --help"}},
		{"backfill of a file with a handle", []string{"backfill", "--backfill-dids", dids}, 1, []string{dids, "line 4"}},
		{"backfill of no file", []string{"backfill", "--backfill-dids", "absent.txt"}, 1, []string{"--backfill-dids", "absent.txt"}},
		{"verify a handle", append(verify[:3:3], "--repo", "alice.example"), 2, []string{`--repo "alice.example"`, "Try: atview verify --help"}},
		{"verify less than none", append(verify[:3:3], "--sample", "-1"), 2, []string{"--sample -1"}},
		{"verify some", append(verify[:3:3], "--sample", "some"), 2, []string{"--sample", "some"}},
		{"verify with an argument", append(verify[:3:3], "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), 2, []string{"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}},
		{"verify without lexicons", []string{"verify"}, 1, []string{"--lexicons"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			_, stderr, code := atview(t, append(test.args, "--data", data)...)
			if code != test.code {
				t.Errorf("exit %d, want %d", code, test.code)
			}
			for _, want := range test.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("lacks %q:\n%s", want, stderr)
				}
			}
			if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something was opened before the mistake was found: %v\n%s", err, stderr)
			}
		})
	}
	t.Run("empty database", func(t *testing.T) {
		t.Parallel()
		database := dbtest.Private(t).URL()
		for _, command := range [][]string{{"backfill"}, {"backfill", "--retry"}, verify, append(verify[:3:3], "--all-repos")} {
			_, stderr, code := atview(t, append(command, "--database-url", database, "--data", t.TempDir())...)
			if code != 1 || !strings.Contains(stderr, "the database is empty: atview has not run on it") {
				t.Errorf("%s: exit %d: %s", strings.Join(command, " "), code, stderr)
			}
		}
		if stdout, stderr, code := atview(t, "status", "--database-url", database); code != 0 || !strings.Contains(stdout, "The database is empty") {
			t.Errorf("status: exit %d: %s%s", code, stdout, stderr)
		}
	})
}

// TestBackfillCommand has repositories read by name, of which some cannot be.
func TestBackfillCommand(t *testing.T) {
	t.Parallel()
	n := startAudited(t, 4, "--backfill", "none")
	ask := func(command string, says []string, args ...string) (string, bool) {
		t.Helper()
		stdout, stderr, code := atview(t, append([]string{command, "--data", n.data}, args...)...)
		if code != 0 {
			t.Fatalf("%s %s: exit %d: %s", command, strings.Join(args, " "), code, stderr)
		}
		for _, want := range says {
			if !regexp.MustCompile(want).MatchString(stdout) {
				return fmt.Sprintf("no %q in:\n%s", want, stdout), false
			}
		}
		return stdout, true
	}
	expect := func(command string, says []string, args ...string) {
		t.Helper()
		if out, ok := ask(command, says, args...); !ok {
			t.Error(command, args, out)
		}
	}
	await := func(command string, says ...string) {
		t.Helper()
		eventually(t, time.Minute, "repositories are read", func() (bool, string) {
			out, ok := ask(command, says)
			return ok, out
		})
	}
	expect("backfill", []string{"no repositories are read whole"})
	expect("status", []string{"no repositories are read whole"})

	accounts := n.Accounts()
	named, listed, broken, away := accounts[0], accounts[1], accounts[2], accounts[3]
	away.Deactivate()
	n.Faults.Set(testnet.PDSError, testnet.Rule{DID: broken.DID(), Rate: 1})
	file := filepath.Join(t.TempDir(), "dids.txt")
	text := fmt.Sprintf("# those that we know\n\n%s\n  %s  \r\n%s\n", listed.DID(), away.DID(), listed.DID())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	expect("backfill", []string{"4 repositories queued\n", "REPOSITORIES +RECORDS"}, "--backfill-dids", file, string(named.DID()), string(broken.DID()), string(named.DID()))
	await("backfill", `2 done `, `1 failed `, `1 gone `,
		`NOT READ +STATE +ATTEMPTS +NEXT +REASON`,
		string(broken.DID())+` +failed +\d+ +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +http: .*500`,
		string(away.DID())+` +gone +\d+ +- +deactivated: `)
	await("status", `REPOSITORIES +RECORDS`, `2 done `, `1 failed `, `1 gone `)
	n.expectOf(t, named, listed)

	n.Faults.Off()
	// Half a minute after it failed, the one that failed is being tried again anyway.
	expect("backfill", []string{"[12] repositories queued again\n"}, "--retry")
	await("backfill", `3 done `, `1 gone `)
	n.expectOf(t, named, listed, broken)
	away.Activate() // it is read without being asked for
	await("backfill", `4 done `)
	n.expectOf(t, named, listed, broken, away)

	eventually(t, time.Minute, "metrics tell of it", func() (bool, string) {
		_, body := get(t, n.p.Console+"metrics")
		for _, want := range []string{`atview_backfill_repositories{state="done"} 4`, `atview_backfill_repositories{state="failed"} 0`, `atview_backfill_repositories{state="gone"} 0`,
			`atview_backfill_repositories{state="queued"} 0`, `atview_backfill_records_total [1-9]`, `atview_backfill_bytes_total [1-9]`, `atview_backfill_hosts_paused 0`} {
			if !regexp.MustCompile(strings.NewReplacer("{", `\{`, "}", `\}`).Replace(want)).MatchString(body) {
				return false, "no " + want + " in:\n" + grep(body, "backfill")
			}
		}
		return true, ""
	})
}

// expectOf waits until the tables have the repositories of some accounts, and
// nothing else.
func (n *audited) expectOf(t *testing.T, accounts ...*testnet.Account) {
	t.Helper()
	var want []string
	for _, line := range n.truth() {
		if slices.ContainsFunc(accounts, func(a *testnet.Account) bool { return strings.Contains(line, " "+string(a.DID())+" ") }) {
			want = append(want, line)
		}
	}
	eventually(t, time.Minute, "the tables have what was read", func() (bool, string) {
		got, err := n.tables(t.Context(), n.p.Database)
		return err == nil && slices.Equal(want, got), fmt.Sprint(difference(want, got), err)
	})
}
