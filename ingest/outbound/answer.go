package outbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// TooLargeError says that a body has more bytes than its reader takes.
type TooLargeError struct {
	Limit int64 // in bytes
}

func (e *TooLargeError) Error() string { return fmt.Sprintf("more than %d bytes", e.Limit) }

// ReadAll reads up to limit bytes, and fails with a [TooLargeError] if there are
// more.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &TooLargeError{limit}
	}
	return b, nil
}

// Get asks for a URL and returns the answer's body if the answer is a success; it
// fails with a [StatusError] if not, and with a [TooLargeError] if the body has
// more than limit bytes. Ctx bounds the whole of it.
func Get(ctx context.Context, client *http.Client, u string, limit int64) ([]byte, error) {
	return get(ctx, client, u, "", limit)
}

// JSON is Get for JSON, which is decoded into v.
func JSON(ctx context.Context, client *http.Client, u string, limit int64, v any) error {
	body, err := get(ctx, client, u, "application/json", limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("JSON of %s: %w", hostOf(u), err)
	}
	return nil
}

func get(ctx context.Context, client *http.Client, u, accept string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := client.Do(req)
	if err != nil {
		// Without the URL, which the caller knows, and which may be long.
		if uerr, ok := errors.AsType[*url.Error](err); ok {
			err = uerr.Err
		}
		return nil, fmt.Errorf("request to %s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	if err := Check(resp); err != nil {
		return nil, err
	}
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("answer of %s: %w", req.URL.Host, &TooLargeError{limit})
	}
	body, err := ReadAll(resp.Body, limit)
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", req.URL.Host, err)
	}
	return body, nil
}

func hostOf(u string) string {
	if p, err := url.Parse(u); err == nil {
		return p.Host
	}
	return u
}

// StatusError is an answer that is no success, as
// https://atproto.com/specs/xrpc#error-responses has it.
type StatusError struct {
	Status int    // of HTTP
	Host   string // that answered, after redirects
	// Name is the XRPC error's, such as RepoNotFound; empty if the answer was none.
	Name string
	// Message is the XRPC error's, or the beginning of what the answer had instead.
	Message string
	// RetryAt is when the host wants to be asked again; zero if it does not say. It
	// is what the host says, be it years: callers bound it.
	RetryAt time.Time
}

func (e *StatusError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s answers HTTP %d", e.Host, e.Status)
	if e.Name != "" {
		b.WriteString(" " + e.Name)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %q", e.Message)
	}
	return b.String()
}

// Temporary reports whether the same request may succeed later: the host is
// overloaded, limits us, or is out of order.
func (e *StatusError) Temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= 500
}

// RetryAfter is how long the host wants to be left alone from now on, but no
// longer than most; 0 if it does not say.
func (e *StatusError) RetryAfter(now time.Time, most time.Duration) time.Duration {
	if e.RetryAt.IsZero() {
		return 0
	}
	return min(max(e.RetryAt.Sub(now), 0), most)
}

// maxErrorBody and maxErrorText bound what is read and kept of an error: enough
// for an XRPC error, too little for a web page.
const (
	maxErrorBody = 8 << 10
	maxErrorText = 300
)

// Check returns nil for an answer that is a success (2xx). Else it reads what the
// answer says, and returns it as a [*StatusError]. The caller closes the body.
func Check(resp *http.Response) error {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	e := &StatusError{Status: resp.StatusCode, RetryAt: retryAt(resp, time.Now())}
	if resp.Request != nil && resp.Request.URL != nil {
		e.Host = resp.Request.URL.Host
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came before an error will do
	var x struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if json.Unmarshal(body, &x) == nil && x.Error+x.Message != "" {
		e.Name, e.Message = cut(x.Error), cut(x.Message)
	} else if mediaType != "text/html" {
		e.Message = cut(strings.TrimSpace(string(body)))
	}
	return e
}

func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxErrorText {
		return s
	}
	n := maxErrorText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// retryAt reads Retry-After (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after:
// seconds, or a date). If there is none, and the answer is about a rate limit or
// says that nothing is left, RateLimit-Reset: a time in seconds since the Unix
// epoch, as a PDS writes it, or, as others do, seconds from now.
func retryAt(resp *http.Response, now time.Time) time.Time {
	h := resp.Header
	if s := strings.TrimSpace(h.Get("Retry-After")); s != "" {
		if at, err := http.ParseTime(s); err == nil {
			return at
		}
		if at, ok := afterSeconds(s, now); ok {
			return at
		}
	}
	if resp.StatusCode != http.StatusTooManyRequests && strings.TrimSpace(h.Get("RateLimit-Remaining")) != "0" {
		return time.Time{}
	}
	s := strings.TrimSpace(h.Get("RateLimit-Reset"))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 1_000_000_000 && n < 1<<40 {
		return time.Unix(n, 0)
	}
	at, _ := afterSeconds(s, now)
	return at
}

// maxSeconds keeps what a host says within what a time can hold.
const maxSeconds = 100 * 365 * 24 * 3600

func afterSeconds(s string, now time.Time) (time.Time, bool) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0) {
		return time.Time{}, false
	}
	return now.Add(time.Duration(min(n, maxSeconds) * float64(time.Second))), true
}
