package jetstreamv2

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// server is one host.
type server struct {
	url *url.URL // of its live stream
	cfg *Config

	// dictionary is for the live session only, which is one at a time.
	dictionary []byte
	forgotten  bool
}

func (s *server) host() string { return s.url.Host }

// endpoint returns the URL of a method other than subscribeEvents.
func (s *server) endpoint(method string, q url.Values) string {
	u := *s.url
	u.Scheme = "https"
	if s.url.Scheme == "ws" {
		u.Scheme = "http"
	}
	u.Path = strings.TrimSuffix(u.Path, "subscribeEvents") + method
	u.RawQuery = q.Encode()
	return u.String()
}

// statusError is an HTTP answer other than the one that was asked for.
type statusError struct {
	host, method string
	code         int
	name         string // of an XRPC error
	message      string
	retryAfter   time.Duration
}

func (e *statusError) Error() string {
	msg := fmt.Sprintf("%s of %s answers HTTP %d", e.method, e.host, e.code)
	if e.name != "" {
		msg += " " + e.name
	}
	if e.message != "" {
		msg += fmt.Sprintf(": %q", e.message)
	}
	if e.method != "subscribeEvents" && (e.code == http.StatusUnauthorized || e.code == http.StatusForbidden) {
		msg += " (the archive of a hosted Jetstream needs an API key)"
	}
	return msg
}

// permanent reports whether asking again is of no use. A server that has taken us
// before may answer oddly for a while, but 400 is about the request itself.
func (e *statusError) permanent(served bool) bool {
	switch e.code {
	case http.StatusBadRequest, http.StatusUnauthorized:
		return true
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return http.StatusBadRequest < e.code && e.code < 500 && !served
}

// refusal reads an answer that is an error; see
// https://atproto.com/specs/xrpc#error-responses.
func (s *server) refusal(method string, resp *http.Response) *statusError {
	e := &statusError{host: s.host(), method: method, code: resp.StatusCode}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 2000)) // what could be read is shown
	var xrpc struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &xrpc) == nil && xrpc.Error != "" {
		e.name, e.message = clip(xrpc.Error, 100), clip(xrpc.Message, 300)
	} else {
		e.message = clip(strings.TrimSpace(string(body)), 300)
	}
	if after := resp.Header.Get("Retry-After"); after != "" {
		if n, err := strconv.Atoi(after); err == nil && n > 0 {
			e.retryAfter = min(time.Duration(min(n, 1<<20))*time.Second, s.cfg.MaxRetryAfter)
		} else if at, err := http.ParseTime(after); err == nil {
			e.retryAfter = min(time.Until(at), s.cfg.MaxRetryAfter)
		}
	}
	return e
}

func clip(s string, most int) string { return s[:min(len(s), most)] }

// do makes a request. The caller closes the body, unless there is an error.
func (s *server) do(ctx context.Context, method string, req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	// What is compressed already is not to be compressed once more, and a range is one
	// of the file itself.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := s.cfg.HTTP.Do(req.WithContext(ctx))
	if err != nil {
		if uerr, ok := errors.AsType[*url.Error](err); ok {
			err = uerr.Err
		}
		return nil, fmt.Errorf("%s of %s: %w", method, s.host(), err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		defer resp.Body.Close()
		return nil, s.refusal(method, resp)
	}
	return resp, nil
}

// get requests from the archive.
func (s *server) get(ctx context.Context, method string, q url.Values, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.endpoint(method, q), nil)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", method, s.host(), err)
	}
	maps.Copy(req.Header, header)
	s.authorize(req)
	return s.do(ctx, method, req)
}

func (s *server) authorize(req *http.Request) {
	if s.cfg.APIKey != "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.APIKey)
	}
}

// errTooLarge says that an answer is longer than is taken.
var errTooLarge = errors.New("too large")

// readAll reads a body of at most most bytes. One that ends before its announced
// length is an error of net/http.
func readAll(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("more than %d bytes: %w", most, errTooLarge)
	}
	return data, nil
}

// maxDictionary bounds a dictionary; the one in use is 64 KiB.
const maxDictionary = 4 << 20

// loadDictionary returns the server's present dictionary, and its number. Without
// an error and without a dictionary, the server has none.
func (s *server) loadDictionary(ctx context.Context) ([]byte, uint32, error) {
	const method = "getZstdDictionary"
	if s.dictionary == nil {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.endpoint(method, nil), nil)
		if err != nil {
			return nil, 0, fmt.Errorf("%s of %s: %w", method, s.host(), err)
		}
		resp, err := s.do(ctx, method, req)
		if err != nil {
			return nil, 0, err
		}
		defer resp.Body.Close()
		data, err := readAll(resp.Body, maxDictionary)
		if err != nil {
			return nil, 0, fmt.Errorf("%s of %s: %w", method, s.host(), err)
		}
		// RFC 8878, section 5: a magic number, and the dictionary's.
		if len(data) < 8 || binary.LittleEndian.Uint32(data) != 0xEC30A437 || binary.LittleEndian.Uint32(data[4:]) == 0 {
			return nil, 0, fmt.Errorf("%s of %s: %d bytes that are no zstd dictionary", method, s.host(), len(data))
		}
		s.dictionary = data
	}
	return s.dictionary, binary.LittleEndian.Uint32(s.dictionary[4:]), nil
}

// forget has the dictionary be fetched again, and reports whether that was done
// before, without a frame since.
func (s *server) forget() (again bool) {
	again = s.forgotten
	s.dictionary, s.forgotten = nil, true
	return again
}

// plan is a page of what to download.
type plan struct {
	PlannedThrough int64         `json:"plannedThroughSeq"`
	SealedTip      int64         `json:"sealedTipSeq"`
	Segments       []planSegment `json:"segments"`
}

type planSegment struct {
	Name   string      `json:"name"`
	Mode   string      `json:"mode"`
	Blocks []planRange `json:"blocks"`
}

// planRange includes both of its ends.
type planRange struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

type planRequest struct {
	Kinds       []string `json:"kinds,omitempty"`
	Collections []string `json:"collections,omitempty"`
	AfterSeq    int64    `json:"afterSeq"`
	BeforeSeq   int64    `json:"beforeSeq,omitempty"`
}

// plan asks for a page.
func (s *server) plan(ctx context.Context, r planRequest) (plan, error) {
	const method = "planSnapshot"
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	var p plan
	body, err := json.Marshal(r)
	if err != nil {
		return p, fmt.Errorf("%s of %s: %w", method, s.host(), err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint(method, nil), bytes.NewReader(body))
	if err != nil {
		return p, fmt.Errorf("%s of %s: %w", method, s.host(), err)
	}
	req.Header.Set("Content-Type", "application/json")
	s.authorize(req)
	resp, err := s.do(ctx, method, req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	data, err := readAll(resp.Body, s.cfg.MaxPlan)
	if err != nil {
		return p, fmt.Errorf("%s of %s: %w", method, s.host(), err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%s of %s: %w", method, s.host(), err)
	}
	if err := p.check(r, s.cfg); err != nil {
		return p, fmt.Errorf("%s of %s: %w", method, s.host(), err)
	}
	return p, nil
}

// check refuses a page that would have us work for ever.
func (p *plan) check(r planRequest, cfg *Config) error {
	tip := p.SealedTip
	if r.BeforeSeq > 0 {
		tip = min(tip, r.BeforeSeq)
	}
	switch {
	case p.SealedTip < 0 || p.SealedTip >= timeCursors:
		return fmt.Errorf("sealedTipSeq %d", p.SealedTip)
	case p.PlannedThrough < 0 || p.PlannedThrough >= timeCursors:
		return fmt.Errorf("plannedThroughSeq %d", p.PlannedThrough)
	case p.PlannedThrough <= r.AfterSeq && p.PlannedThrough < tip:
		return fmt.Errorf("no progress: planned through %d, after %d, of %d", p.PlannedThrough, r.AfterSeq, tip)
	}
	units := 0
	for _, seg := range p.Segments {
		if len(seg.Name) == 0 || len(seg.Name) > 255 {
			return fmt.Errorf("segment with a name of %d bytes", len(seg.Name))
		}
		units++
		for _, b := range seg.Blocks {
			if b.First < 0 || b.Last < b.First || b.Last >= cfg.MaxSegmentBlocks {
				return fmt.Errorf("segment %q: blocks %d to %d", seg.Name, b.First, b.Last)
			}
			units += b.Last - b.First + 1
		}
		if units > cfg.MaxPlanUnits {
			return fmt.Errorf("more than %d blocks and segments in a page", cfg.MaxPlanUnits)
		}
	}
	return nil
}

// getBlock downloads one block's frame.
func (s *server) getBlock(ctx context.Context, segment string, index int) ([]byte, error) {
	const method = "getBlock"
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	q := url.Values{"segment": {segment}, "blockIndex": {strconv.Itoa(index)}}
	resp, err := s.get(ctx, method, q, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := readAll(resp.Body, s.cfg.MaxBlock)
	if err != nil {
		return nil, fmt.Errorf("block %d of segment %s of %s: %w", index, segment, s.host(), err)
	}
	return data, nil
}

// errRewritten says that a segment is not the one any more that its parts are
// being read of.
var errRewritten = errors.New("segment has been rewritten")

// getPart downloads size bytes of a segment from offset on. Etag, if it is not
// empty, says of which version; the one that was read is returned.
func (s *server) getPart(ctx context.Context, segment, etag string, offset, size int64) ([]byte, string, error) {
	const method = "getSegment"
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	h := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", offset, offset+size-1)}}
	if etag != "" {
		h.Set("If-Range", etag)
	}
	resp, err := s.get(ctx, method, url.Values{"name": {segment}}, h)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	is := resp.Header.Get("Etag")
	what := func(err error) error {
		return fmt.Errorf("bytes %d to %d of segment %s of %s: %w", offset, offset+size-1, segment, s.host(), err)
	}
	switch {
	case is == "" || strings.HasPrefix(is, "W/"):
		return nil, "", what(errors.New("answer without a strong ETag, so that parts of two versions could be mixed"))
	case etag != "" && is != etag:
		return nil, "", what(errRewritten)
	case resp.StatusCode == http.StatusPartialContent:
		if want := fmt.Sprintf("bytes %d-%d/", offset, offset+size-1); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return nil, "", what(fmt.Errorf("answer is of range %q", clip(resp.Header.Get("Content-Range"), 100)))
		}
	default: // the whole of it: something between does not know ranges
		if _, err := io.CopyN(io.Discard, resp.Body, offset); err != nil {
			return nil, "", what(err)
		}
	}
	data := make([]byte, 0, min(size, 1<<20))
	buf := bytes.NewBuffer(data)
	if _, err := io.CopyN(buf, resp.Body, size); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, "", what(err)
	}
	return buf.Bytes(), is, nil
}
