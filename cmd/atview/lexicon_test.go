package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest/lexfetch"
	"github.com/atview/atview/ingest/testnet"
)

func TestLexiconList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"com.example.note.json":      lexiconOf("com.example.note"),
		"com.example.broken.json":    `{"lexicon": 1,`,
		"com.example.elsewhere.json": lexiconOf("com.example.other"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stdout, stderr, code := atview(t, "lexicon", "list", "--lexicons", exampleLexiconDir(t), "--lexicons", dir)
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"com.example.note records.com_example_note", "xyz.statusphere.status records.xyz_statusphere_status", "com.atproto.repo.strongRef -"} {
		if !strings.Contains(words(stdout), want+"\n") {
			t.Errorf("lacks %q:\n%s", want, stdout)
		}
	}
	for _, want := range []string{"com.example.broken.json: ", "com.example.elsewhere.json: com.example.other id is not the file's path"} {
		if !strings.Contains(words(stderr), want) {
			t.Errorf("standard error lacks %q:\n%s", want, stderr)
		}
	}
}

func TestMistakesOfLexicons(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"list without a folder", []string{"list"}, 2, []string{"--lexicons"}},
		{"list of no folder", []string{"list", "--lexicons", "absent"}, 1, []string{"--lexicons", "absent"}},
		{"list with an argument", []string{"list", "com.example.note"}, 2, []string{"com.example.note"}},
		{"add nothing", []string{"add", "--lexicons", "into"}, 2, []string{"Try: atview lexicon add --help"}},
		{"add without a folder", []string{"add", "com.example.note"}, 2, []string{"--lexicons"}},
		{"add what is no NSID", []string{"add", "--lexicons", "into", "note"}, 1, []string{"note", "NSID"}},
		{"add a pattern that is none", []string{"add", "--lexicons", "into", "com.*.note"}, 1, []string{"com.*.note"}},
		{"add all there is", []string{"add", "--lexicons", "into", "*"}, 1, []string{"*"}},
		{"add with a bad address", []string{"add", "--lexicons", "into", "--resolve", "host", "com.example.note"}, 1, []string{`--resolve "host"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, stderr, code := atviewIn(t, dir, nil, append([]string{"lexicon"}, test.args...)...)
			if code != test.code {
				t.Errorf("exit %d, want %d", code, test.code)
			}
			for _, want := range test.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("lacks %q:\n%s", want, stderr)
				}
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
				t.Errorf("it has left %v: %v", files, err)
			}
		})
	}
}

// TestLexiconAdd is what the command does once it has its settings: who publishes
// is told by DNS, and a test has none of its own to give the binary.
func TestLexiconAdd(t *testing.T) {
	t.Parallel()
	n, err := testnet.Start(testnet.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	publisher := n.NewAccount(0)
	publish := func(nsid string, refs ...string) {
		publisher.Commit(testnet.Create("com.atproto.lexicon.schema", syntax.RecordKey(nsid), lexiconOf(nsid, refs...)))
	}
	publish("com.example.recipe", "com.example.defs#amount", "org.example.unpublished")
	publish("com.example.defs")
	publish("com.example.kitchen.knife")
	publish("com.example.menu", "com.example.recipe")

	dir := filepath.Join(t.TempDir(), "lexicons")
	common := settings{Lexicons: []string{dir}, PLCURL: n.PLC(), AllowPrivate: true}
	peers, err := openPeers(&common, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(peers.client.CloseIdleConnections)
	add := func(change func(*settings), patterns ...string) (printed, fault string) {
		t.Helper()
		s := common
		s.Args = patterns
		if change != nil {
			change(&s)
		}
		var out bytes.Buffer
		err := addLexicons(t.Context(), &out, &s, lexfetch.Config{Directory: peers.identities, HTTP: peers.client,
			DNS: txt{"_lexicon.example.com": "did=" + string(publisher.DID())}})
		if err != nil {
			fault = err.Error()
		}
		return words(out.String()), fault
	}
	line := func(state, nsid string) string {
		return fmt.Sprintf("%s %s %s by %s\n", state, nsid, strings.ReplaceAll(nsid, ".", "/")+".json", publisher.DID())
	}
	review := func(n int) string {
		return fmt.Sprintf("%d lexicons in %s; review them before you index by them.\n", n, dir)
	}
	for _, step := range []struct {
		name, pattern string
		change        func(*settings)
		printed       string
		faults        []string
	}{
		{"without what it refers to", "com.example.menu", func(s *settings) { s.NoRefs = true }, line("added", "com.example.menu") + review(1), nil},
		{"with what it refers to, of which one is not published", "com.example.recipe", nil,
			line("added", "com.example.defs") + line("added", "com.example.recipe") + review(2), []string{"org.example.unpublished, which com.example.recipe refers to: "}},
		{"what is there already", "com.example.defs", nil, line("same", "com.example.defs") + review(1), nil},
		{"a group, with what of it is there already", "com.example.*", nil,
			line("same", "com.example.defs") + line("same", "com.example.menu") + line("same", "com.example.recipe") + review(3), []string{"org.example.unpublished"}},
		{"what nobody publishes", "com.example.nothing", nil, review(0), []string{"com.example.nothing: "}},
		{"whom nobody knows", "org.example.nothing", nil, review(0), []string{"org.example.nothing: "}},
	} {
		printed, fault := add(step.change, step.pattern)
		if printed != step.printed {
			t.Errorf("%s: %s\nwant %s", step.name, printed, step.printed)
		}
		if len(step.faults) == 0 && fault != "" {
			t.Errorf("%s: %s", step.name, fault)
		}
		for _, want := range step.faults {
			if !strings.Contains(fault, want) {
				t.Errorf("%s: %q lacks %q", step.name, fault, want)
			}
		}
	}

	// A file that says something else is the user's, until they say otherwise.
	file := filepath.Join(dir, "com", "example", "defs.json")
	mine := []byte(lexiconOf("com.example.defs", "com.example.mine"))
	if err := os.WriteFile(file, mine, 0o644); err != nil {
		t.Fatal(err)
	}
	printed, fault := add(nil, "com.example.defs")
	if !strings.HasPrefix(printed, line("differs", "com.example.defs")) || !strings.Contains(fault, "com/example/defs.json says something else and was left alone (--force replaces it)") {
		t.Errorf("%s%s", printed, fault)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, mine) {
		t.Errorf("the user's file is now %s: %v", now, err)
	}
	if printed, fault := add(func(s *settings) { s.Force = true }, "com.example.defs"); !strings.HasPrefix(printed, line("changed", "com.example.defs")) || fault != "" {
		t.Errorf("%s%s", printed, fault)
	}

	// What came is what the other commands read.
	stdout, stderr, code := atview(t, "lexicon", "list", "--lexicons", dir)
	if want := "com.example.recipe records.com_example_recipe\n"; code != 0 || !strings.Contains(words(stdout), want) {
		t.Errorf("list: exit %d, want %q:\n%s%s", code, want, stdout, stderr)
	}
}

// lexiconOf is the lexicon of a record, with references.
func lexiconOf(nsid string, refs ...string) string {
	properties := []string{`"text":{"type":"string"}`}
	for i, ref := range refs {
		properties = append(properties, fmt.Sprintf(`"r%d":{"type":"ref","ref":%q}`, i, ref))
	}
	return fmt.Sprintf(`{"lexicon":1,"id":%q,"defs":{"amount":{"type":"object","properties":{}},"main":{"type":"record","key":"tid","record":{"type":"object","properties":{%s}}}}}`,
		nsid, strings.Join(properties, ","))
}

// txt is a DNS that knows a few names.
type txt map[string]string

func (d txt) LookupTXT(_ context.Context, name string) ([]string, error) {
	if answer, ok := d[name]; ok {
		return []string{answer}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// words is a text with one space between the columns of a table.
func words(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}
