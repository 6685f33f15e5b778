package web_test

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/atview/atview/web"
)

// The answer of a small schema to GraphiQL's introspection query.
//
//go:embed testdata/introspection.json
var introspection []byte

// TestConsoleInBrowser opens the console in Chromium (skipped where there is
// none) before a GraphQL server that knows one recipe. It runs a query and a
// subscription, opens a dialog, and holds that nothing leaves the host and that
// the browser has nothing to complain of, the page's own policy included.
func TestConsoleInBrowser(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/graphql", fakeGraphQL(t))
	mux.Handle("/", web.Handler(web.Config{Queries: []string{
		"query Newest { comMyrecipesRecipe(first: 5) { edges { node { title actorHandle } } } }",
		"subscription Live { comMyrecipesRecipeCreated { title } }",
	}}))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	b := openBrowser(t, server.URL+"/")
	b.waitFor(`document.querySelector('.graphiql-query-editor .CodeMirror')`)
	b.waitFor(`document.querySelector('.graphiql-tab button')?.textContent == 'Newest'`)

	b.eval(`document.querySelector('.graphiql-execute-button').click()`)
	b.waitFor(`document.querySelector('.graphiql-response').textContent.includes('Khachapuri')`)

	b.eval(`[...document.querySelectorAll('.graphiql-tab button')].find(b => b.textContent == 'Live').click()`)
	// The editor parses a little after it shows; until then the button would run the old tab's query.
	b.waitFor(`document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.documentAST.definitions[0].operation == 'subscription'`)
	b.eval(`document.querySelector('.graphiql-execute-button').click()`)
	b.waitFor(`document.querySelector('.graphiql-response').textContent.includes('Lobio')`)

	b.eval(`document.querySelector('button[aria-label="Show Documentation Explorer"]').click()`)
	b.waitFor(`document.querySelector('.graphiql-doc-explorer')?.textContent.includes('ComMyrecipesRecipe')`)
	b.eval(`document.querySelector('button[aria-label="Open settings dialog"]').click()`)
	b.waitFor(`document.querySelector('.graphiql-dialog')`)

	for _, url := range b.requests {
		if !strings.HasPrefix(url, server.URL) && !strings.HasPrefix(url, "ws"+strings.TrimPrefix(server.URL, "http")) && !strings.HasPrefix(url, "data:") {
			t.Errorf("the page asked for %s", url)
		}
	}
	for _, complaint := range b.complaints {
		t.Errorf("the browser says: %s", complaint)
	}
}

func fakeGraphQL(t *testing.T) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			subscribe(t, w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("request: %v", err)
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(string(body), "IntrospectionQuery") {
			_, _ = w.Write(introspection)
			return
		}
		_, _ = io.WriteString(w, `{"data": {"comMyrecipesRecipe": {"edges": [{"node": {"title": "Khachapuri"}}]}}}`)
	}
}

// subscribe speaks as much of graphql-transport-ws as one subscription needs.
func subscribe(t *testing.T, w http.ResponseWriter, r *http.Request) {
	t.Helper()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		t.Errorf("subscription: %v", err)
		return
	}
	defer func() { _ = conn.CloseNow() }()
	type message struct {
		ID      string          `json:"id,omitempty"`
		Type    string          `json:"type"`
		Payload json.RawMessage `json:"payload,omitempty"`
	}
	for {
		var msg message
		if err := wsjson.Read(r.Context(), conn, &msg); err != nil {
			return // the page is gone
		}
		switch msg.Type {
		case "connection_init":
			_ = wsjson.Write(r.Context(), conn, message{Type: "connection_ack"})
		case "subscribe":
			_ = wsjson.Write(r.Context(), conn, message{ID: msg.ID, Type: "next",
				Payload: json.RawMessage(`{"data": {"comMyrecipesRecipeCreated": {"title": "Lobio"}}}`)})
		}
	}
}

// browser is one page of a headless Chromium, steered over its DevTools
// protocol (https://chromedevtools.github.io/devtools-protocol/).
type browser struct {
	t          *testing.T
	ctx        context.Context //nolint:containedctx // it lives as long as the test
	conn       *websocket.Conn
	session    string
	lastID     int
	requests   []string // URLs that the page asked for
	complaints []string // console errors and warnings, uncaught exceptions, violations of the policy
}

func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	// 2 minutes: the first start of Chromium on a loaded machine takes tens of seconds.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, startChromium(t, ctx), nil)
	if err != nil {
		t.Fatalf("connect to chromium: %v", err)
	}
	conn.SetReadLimit(-1) // its messages are as long as the page's texts
	b := &browser{t: t, ctx: ctx, conn: conn}
	var target struct {
		TargetID  string `json:"targetId"`
		SessionID string `json:"sessionId"`
	}
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Runtime", "Log", "Network", "Page"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	return b
}

// startChromium returns the URL of its DevTools. The process ends with the test.
func startChromium(t *testing.T, ctx context.Context) string {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("no chromium on PATH")
	}
	dir, err := os.MkdirTemp("", "atview-browser-") //nolint:usetesting // Chromium's children may still write while it is removed; TempDir would fail the test for it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.CommandContext(ctx, program, "--headless", "--remote-debugging-port=0",
		"--no-sandbox", // root has none, and the page is our own
		"--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--user-data-dir="+dir, "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, stderr)
		_ = cmd.Wait()
	})
	listening := regexp.MustCompile(`DevTools listening on (ws://\S+)`)
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			return m[1]
		}
		fmt.Fprintln(&said, lines.Text())
	}
	t.Fatalf("%s does not listen:\n%s", program, said.String())
	return ""
}

// call sends a command and reads until its answer, noting what else arrives.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.lastID++
	command := map[string]any{"id": b.lastID, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	if err := wsjson.Write(b.ctx, b.conn, command); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		var msg struct {
			ID     int             `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
			Result json.RawMessage `json:"result"`
			Error  *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := wsjson.Read(b.ctx, b.conn, &msg); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		if msg.Method != "" {
			b.note(msg.Method, msg.Params)
			continue
		}
		if msg.ID != b.lastID {
			continue
		}
		if msg.Error != nil {
			b.t.Fatalf("%s: %s", method, msg.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(msg.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

func (b *browser) note(event string, params json.RawMessage) {
	var p struct {
		Type    string `json:"type"`
		URL     string `json:"url"`
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
		Entry struct {
			Level string `json:"level"`
			Text  string `json:"text"`
		} `json:"entry"`
	}
	if err := json.Unmarshal(params, &p); err != nil {
		b.t.Fatalf("event %s: %v", event, err)
	}
	switch event {
	case "Network.requestWillBeSent":
		b.requests = append(b.requests, p.Request.URL)
	case "Network.webSocketCreated":
		b.requests = append(b.requests, p.URL)
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "warning" || p.Type == "assert" {
			b.complaints = append(b.complaints, string(params))
		}
	case "Runtime.exceptionThrown":
		b.complaints = append(b.complaints, string(params))
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" {
			b.complaints = append(b.complaints, p.Entry.Text)
		}
	}
}

// eval runs JavaScript in the page, waits for the promise if it is one, and
// returns the value.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	var result struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		ExceptionDetails json.RawMessage `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &result)
	if result.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s\n%s", expression, result.ExceptionDetails, strings.Join(b.complaints, "\n"))
	}
	return result.Result.Value
}

// waitFor waits until the condition holds in the page, which looks before each
// frame that it draws.
func (b *browser) waitFor(condition string) {
	b.t.Helper()
	const wait = `new Promise(resolve => {
		const end = Date.now() + 30_000;
		const look = () => {
			let holds = false;
			try { holds = Boolean(%s) } catch {}
			if (holds || Date.now() > end) resolve(holds); else requestAnimationFrame(look);
		};
		look();
	})`
	if b.eval(fmt.Sprintf(wait, condition)) != true {
		b.t.Fatalf("for 30 s not true: %s\npage: %v\n%s", condition,
			b.eval(`document.body.innerText.slice(0, 2000)`), strings.Join(b.complaints, "\n"))
	}
}
