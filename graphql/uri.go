package graphql

import (
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// uriParts is an AT-URI of a record, taken apart.
type uriParts struct{ authority, collection, rkey string }

// uriPart makes a parameter out of a part of the AT-URI that a user gives.
func uriPart(part func(uriParts) string) func(any) (any, error) {
	return func(v any) (any, error) {
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
		return part(uriParts{uri.Authority().String(), uri.Collection().String(), uri.RecordKey().String()}), nil
	}
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
