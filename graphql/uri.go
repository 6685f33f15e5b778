package graphql

import (
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// uriParams are parameters for the parts of the AT-URI of a record that a user
// gives. The first checks all of it; checking takes longer than all else that
// is done for a small request, so the others only cut.
func (c *compiler) uriParams(in input) (authority, collection, rkey string) {
	cut := func(part int) func(any) (any, error) {
		return func(v any) (any, error) {
			s, _ := v.(string)
			if parts := strings.Split(s, "/"); len(parts) == 5 {
				return parts[part], nil
			}
			return nil, nil // refused by the check
		}
	}
	return c.param(in, "authority", "text", uriAuthority), c.param(in, "collection", "text", cut(3)), c.param(in, "rkey", "text", cut(4))
}

func uriAuthority(v any) (any, error) {
	s, err := textOperand(v)
	if err != nil {
		return nil, err
	}
	uri, err := syntax.ParseATURI(s.(string))
	if err != nil {
		return nil, fmt.Errorf("%s is not an AT-URI: %w", show(v), err)
	}
	if uri.RecordKey() == "" {
		return nil, fmt.Errorf("%s is not the AT-URI of a record: at://did/collection/rkey", show(v))
	}
	return uri.Authority().String(), nil
}

func didOperand(v any) (any, error) {
	s, err := textOperand(v)
	if err != nil {
		return nil, err
	}
	did, err := syntax.ParseDID(s.(string))
	if err != nil {
		return nil, fmt.Errorf("%s is not a DID: %w", show(v), err)
	}
	return did.String(), nil
}
