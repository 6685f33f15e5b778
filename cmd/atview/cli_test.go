package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMistakesAreNamed gives each kind of bad input once: the answer says what
// is wrong and where, and the exit code is not 0.
func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	bad := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(bad, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("broken.json", `{"lexicon": 1,`)
	write("com.example.elsewhere.json", `{"lexicon":1,"id":"com.example.other","defs":{}}`)
	write("settings.yaml", "lexikons: [a]\n")
	write("events.txt", "")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	lex := []string{"--lexicons", exampleLexiconDir(t)}
	tests := []struct {
		name string
		env  []string
		args []string
		code int
		says []string
	}{
		{"unknown command", nil, []string{"serv"}, 2, []string{`unknown command "serv"`, "serve"}},
		{"unknown flag", nil, []string{"dev", "--lexicon", "x"}, 2, []string{"--lexicon", "atview dev --help"}},
		{"bad flag value", nil, []string{"dev", "--batch-size", "many"}, 2, []string{"many", "--batch-size"}},
		{"argument", nil, []string{"dev", "lexicons"}, 2, []string{`"lexicons"`}},
		{"unknown environment", []string{"ATVIEW_LEXICON=x"}, append([]string{"dev"}, lex...), 2, []string{"ATVIEW_LEXICON"}},
		{"bad environment value", []string{"ATVIEW_PAGE_MAX=lots"}, append([]string{"dev"}, lex...), 2, []string{"ATVIEW_PAGE_MAX", "lots"}},
		{"unknown setting in the file", nil, append([]string{"dev", "--config", filepath.Join(bad, "settings.yaml")}, lex...), 2, []string{"settings.yaml", "lexikons"}},
		{"no file of settings", nil, append([]string{"dev", "--config", "absent.yaml"}, lex...), 2, []string{"--config", "absent.yaml"}},
		{"no lexicons", nil, []string{"dev"}, 1, []string{"--lexicons"}},
		{"no folder of lexicons", nil, []string{"dev", "--lexicons", "absent"}, 1, []string{"--lexicons", "absent"}},
		{"lexicons that are none", nil, []string{"schema", "--sdl", "--lexicons", bad}, 1, []string{"broken.json", "com.example.elsewhere.json", "id is not the file's path", "no record lexicon"}},
		{"glob that matches nothing", nil, append([]string{"dev", "--collections", "com.exmaple.*"}, lex...), 1, []string{"--collections", "com.exmaple.*"}},
		{"port in use", nil, append([]string{"dev", "--listen", taken.Addr().String()}, lex...), 1, []string{"--listen", taken.Addr().String(), "in use"}},
		{"source of no kind", nil, append([]string{"dev", "--source", "ftp://example.com"}, lex...), 1, []string{"--source", "ftp://example.com"}},
		{"source that is absent", nil, append([]string{"dev", "--once", "--source", "file:absent.jsonl"}, lex...), 1, []string{"absent.jsonl"}},
		{"once without an end", nil, append([]string{"dev", "--once", "--source", "ws://127.0.0.1:1/subscribe"}, lex...), 1, []string{"--once", "ws://127.0.0.1:1/subscribe"}},
		{"database that is not there", nil, append([]string{"migrate", "--database-url", "postgres://u:secret@127.0.0.1:1/db"}, lex...), 1, []string{"127.0.0.1:1", "refused"}},
		{"roles without stores", nil, append([]string{"serve", "--roles", "index,apy"}, lex...), 2, []string{"apy", "--database-url", "--nats-url"}},
		{"schema of both kinds", nil, append([]string{"schema", "--sdl", "--ddl"}, lex...), 2, []string{"--sdl", "--ddl"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, stderr, code := atviewIn(t, t.TempDir(), test.env, test.args...)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("standard error lacks %q:\n%s", want, stderr)
				}
			}
			if strings.Contains(stderr, "secret") || strings.Contains(stderr, "goroutine") {
				t.Errorf("standard error says too much:\n%s", stderr)
			}
		})
	}
}

// TestSettingsComeFromThreePlaces holds flag over environment over file.
func TestSettingsComeFromThreePlaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lexicons := exampleLexiconDir(t)
	if err := os.WriteFile(filepath.Join(dir, "atview.yaml"), []byte("lexicons: ["+lexicons+"]\ncollections: xyz.statusphere.status\npage-max: 5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		env      []string
		args     []string
		has, not string
	}{
		{"file", nil, nil, "records.\"xyz_statusphere_status\"", "com_myrecipes"},
		{"environment over file", []string{"ATVIEW_COLLECTIONS=com.myrecipes.like,com.myrecipes.review"}, nil, "com_myrecipes_review", "xyz_statusphere"},
		{"flag over environment", []string{"ATVIEW_COLLECTIONS=com.myrecipes.like"}, []string{"--collections", "com.myrecipes.recipe"}, "com_myrecipes_recipe", "com_myrecipes_like"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := atviewIn(t, dir, test.env, append([]string{"schema", "--ddl"}, test.args...)...)
			if code != 0 || !strings.Contains(stdout, test.has) || strings.Contains(stdout, test.not) {
				t.Errorf("exit %d, want %q and not %q in:\n%.400s\n%s", code, test.has, test.not, stdout, stderr)
			}
		})
	}
}

// TestOnceIndexesAFile is the shortest way through everything: a captured file,
// every real lexicon, exit 0, and the records are there.
func TestOnceIndexesAFile(t *testing.T) {
	t.Parallel()
	data := sharedDir(t)
	common := []string{"--lexicons", shared(t, "lexicons"), "--data", data}
	file := shared(t, "records", "jetstream-v1", "bluesky-2026-07-04.jsonl")
	stdout, stderr, code := atview(t, append([]string{"dev", "--listen", "127.0.0.1:0", "--source", "file:" + file, "--once"}, common...)...)
	if code != 0 {
		t.Fatalf("exit %d:\n%s", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "Console") || !strings.HasPrefix(lines[1], "GraphQL") ||
		!strings.HasPrefix(lines[2], "Database") || !strings.HasPrefix(lines[3], "Indexing") {
		t.Errorf("printed:\n%s", stdout)
	}
	stdout, stderr, code = atview(t, "status", "--data", data)
	if code != 0 {
		t.Fatalf("status: exit %d:\n%s", code, stderr)
	}
	for _, want := range []string{"app.bsky.feed.like", "app.bsky.feed.post"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("status lacks %s:\n%s", want, stdout)
		}
	}
	stdout, stderr, code = atview(t, append([]string{"plan"}, common...)...)
	if code != 0 || !strings.Contains(stdout, "Nothing to do") {
		t.Errorf("plan after the fact: exit %d:\n%s%s", code, stdout, stderr)
	}
}

// TestDemoAnswersAndGrows is what a newcomer does first.
func TestDemoAnswersAndGrows(t *testing.T) {
	t.Parallel()
	data := sharedDir(t)
	p := launch(t, "demo", "--data", data, "--listen", "127.0.0.1:0", "--rate", "200")
	if status, body := get(t, p.Console+"healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d %s", status, body)
	}
	eventually(t, time.Minute, "ready", func() (bool, string) {
		status, body := get(t, p.Console+"readyz")
		return status == http.StatusOK, body
	})
	const recipes = `{ comMyrecipesRecipe(first: 3) { totalCount edges { node { title actorHandle
		appBskyActorProfileByDid { displayName } comMyrecipesReviewViaSubject(first: 2) { totalCount edges { node { rating text } } } } } } }`
	var first string
	eventually(t, time.Minute, "the sample recipes are there", func() (bool, string) {
		first = query(t, p.GraphQL, recipes)
		return !strings.Contains(first, "errors") && strings.Contains(first, "displayName"), first
	})
	eventually(t, time.Minute, "the answer changes as one looks", func() (bool, string) {
		now := query(t, p.GraphQL, recipes)
		return now != first, now
	})
	if status, body := get(t, p.Console); status != http.StatusOK || !strings.Contains(body, "<html") {
		t.Errorf("console: %d %.200s", status, body)
	}
	if _, body := get(t, p.Console+"metrics"); !strings.Contains(body, `atview_index_records_total{outcome="put"}`) {
		t.Errorf("metrics lack what the index has done:\n%.300s", body)
	}
	comments, err := psql(t.Context(), p.Database, "select col_description('records.com_myrecipes_review'::regclass, ordinal_position) from information_schema.columns where table_name = 'com_myrecipes_review' and column_name = 'rating'")
	if err != nil || len(comments) != 1 || !strings.Contains(comments[0], "Stars") {
		t.Errorf("column comment %q: %v", comments, err)
	}
	// A second atview on the same data.
	_, stderr, code := atview(t, "dev", "--lexicons", exampleLexiconDir(t), "--data", data, "--listen", "127.0.0.1:0", "--source", "ws://127.0.0.1:1/subscribe")
	if code != 1 || !strings.Contains(stderr, data) || !strings.Contains(stderr, "--data") {
		t.Errorf("a second atview on one folder: exit %d: %s", code, stderr)
	}
	// A query that is too deep.
	deep := strings.Repeat("{ comMyrecipesRecipe { edges { node { comMyrecipesReviewViaSubject { edges { node { subjectResolved { ... on ComMyrecipesRecipe ", 4) +
		"{ title }" + strings.Repeat(" } } } } } } }", 4)
	if answer := query(t, p.GraphQL, deep); !strings.Contains(answer, "errors") {
		t.Errorf("a query too deep: %s", answer)
	}
}

// TestLexiconAddedWhileRunning drops a lexicon into the folder of a running
// atview: its table and its field come without a restart.
func TestLexiconAddedWhileRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lexicon := func(nsid string) {
		text := `{"lexicon":1,"id":"` + nsid + `","defs":{"main":{"type":"record","key":"tid","record":{"type":"object","properties":{"text":{"type":"string"}}}}}}`
		if err := os.WriteFile(filepath.Join(dir, nsid+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lexicon("com.example.first")
	p := launch(t, "dev", "--lexicons", dir, "--data", sharedDir(t), "--listen", "127.0.0.1:0", "--source", "ws://127.0.0.1:1/subscribe")
	if answer := query(t, p.GraphQL, "{ comExampleFirst { totalCount } }"); !strings.Contains(answer, `"totalCount":0`) {
		t.Fatalf("first lexicon: %s", answer)
	}
	lexicon("com.example.second")
	eventually(t, time.Minute, "the second lexicon has an API", func() (bool, string) {
		answer := query(t, p.GraphQL, "{ comExampleSecond { totalCount } }")
		return strings.Contains(answer, `"totalCount":0`), answer + "\n" + lastLines(p.log(), 5)
	})
}
