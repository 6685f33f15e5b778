package graphql

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	gql "github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// httpTransport takes operations by POST and GET and writes answers as they
// are: gqlgen's own transports marshal an answer once more, which for a large
// one takes longer than all else. See
// https://graphql.github.io/graphql-over-http/draft/
type httpTransport struct{ maxBody int64 }

// Supports is part of gqlgen's interface. This transport is the last one
// asked and takes what is left.
func (httpTransport) Supports(r *http.Request) bool { return r.Header.Get("Upgrade") == "" }

const (
	mediaJSON    = "application/json"
	mediaGraphQL = "application/graphql-response+json"
)

// Do is part of gqlgen's interface.
func (t httpTransport) Do(w http.ResponseWriter, r *http.Request, exec gql.GraphExecutor) {
	a := answerer{w: w, media: mediaOf(r)}
	var params *gql.RawParams
	switch r.Method {
	case http.MethodPost:
		params = t.post(a, r)
	case http.MethodGet, http.MethodHead:
		params = t.get(a, r)
	default:
		w.Header().Set("Allow", "GET, POST, OPTIONS")
		a.refuse(http.StatusMethodNotAllowed, codeMethod, "operations come by GET or POST")
	}
	if params == nil {
		return
	}
	params.Headers = r.Header
	ctx := r.Context()
	op, errs := exec.CreateOperationContext(ctx, params)
	if errs != nil {
		a.errors(exec.DispatchError(gql.WithOperationContext(ctx, op), errs).Errors)
		return
	}
	if op.Operation.Operation != ast.Query && r.Method != http.MethodPost {
		a.refuse(http.StatusMethodNotAllowed, codeMethod, "GET is for queries only")
		return
	}
	handler, ctx := exec.DispatchOperation(ctx, op)
	a.response(handler(ctx))
}

func (t httpTransport) post(a answerer, r *http.Request) *gql.RawParams {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != mediaJSON && media != "application/graphql" {
		a.refuse(http.StatusUnsupportedMediaType, codeMedia, "send the operation as application/json")
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(a.w, r.Body, t.maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		a.refuse(http.StatusRequestEntityTooLarge, codeTooLarge, "the request is over the maximum of "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
		return nil
	case err != nil:
		a.refuse(http.StatusBadRequest, codeRequest, "the request could not be read")
		return nil
	}
	params := &gql.RawParams{}
	if media == "application/graphql" {
		params.Query = string(body)
		return params
	}
	if err := decodeJSON(body, params); err != nil {
		a.refuse(http.StatusBadRequest, codeRequest, "the request is no JSON object with a query: "+err.Error())
		return nil
	}
	return params
}

func (t httpTransport) get(a answerer, r *http.Request) *gql.RawParams {
	query := r.URL.Query()
	params := &gql.RawParams{Query: query.Get("query"), OperationName: query.Get("operationName")}
	if params.Query == "" && query.Get("extensions") == "" {
		a.refuse(http.StatusBadRequest, codeRequest, "the parameter query is missing")
		return nil
	}
	for name, into := range map[string]*map[string]any{"variables": &params.Variables, "extensions": &params.Extensions} {
		if text := query.Get(name); text != "" {
			if err := decodeJSON([]byte(text), into); err != nil {
				a.refuse(http.StatusBadRequest, codeRequest, "the parameter "+name+" is no JSON object: "+err.Error())
				return nil
			}
		}
	}
	return params
}

func decodeJSON(text []byte, into any) error {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind it")
	}
	return nil
}

func mediaOf(r *http.Request) string {
	for accept := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		media, _, _ := strings.Cut(accept, ";")
		switch strings.TrimSpace(media) {
		case mediaGraphQL:
			return mediaGraphQL
		case mediaJSON:
			return mediaJSON
		}
	}
	return mediaJSON
}

// answerer writes answers in the media type that the client takes.
type answerer struct {
	w     http.ResponseWriter
	media string
}

// refuse answers what is not an operation.
func (a answerer) refuse(status int, code, message string) {
	a.write(status, nil, gqlerror.List{{Message: message, Extensions: map[string]any{"code": code}}})
}

// errors answers an operation that was not run. Clients that take plain JSON
// look into the body only if the status is 200.
func (a answerer) errors(errs gqlerror.List) {
	status := http.StatusOK
	if a.media == mediaGraphQL {
		status = http.StatusBadRequest
	}
	a.write(status, nil, errs)
}

func (a answerer) response(resp *gql.Response) {
	if resp == nil { // the client has hung up
		a.refuse(http.StatusServiceUnavailable, codeTimeout, "the request was cancelled")
		return
	}
	data := resp.Data
	if data == nil {
		data = []byte("null")
	}
	a.write(http.StatusOK, data, resp.Errors)
}

// write puts an answer together. data is nil for none, which is not null.
func (a answerer) write(status int, data []byte, errs gqlerror.List) {
	var head, tail []byte
	switch {
	case len(errs) > 0:
		text, err := json.Marshal(errs)
		if err != nil {
			text = []byte(`[{"message":"internal error"}]`)
		}
		head = append(append(head, `{"errors":`...), text...)
		if data != nil {
			head = append(head, `,"data":`...)
		}
	default:
		head = append(head, `{"data":`...)
	}
	tail = append(tail, '}')
	h := a.w.Header()
	h.Set("Content-Type", a.media+"; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff") // records hold whatever people write
	h.Set("Content-Length", strconv.Itoa(len(head)+len(data)+len(tail)))
	a.w.WriteHeader(status)
	for _, part := range [][]byte{head, data, tail} {
		if _, err := a.w.Write(part); err != nil {
			return // the client has hung up
		}
	}
}
