package source

import (
	"slices"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

func TestCollections(t *testing.T) {
	t.Parallel()
	cases := []struct {
		patterns []string
		want     []syntax.NSID
		not      []syntax.NSID
		kept     []string
	}{
		{nil, nil, []syntax.NSID{"a.b.c"}, []string{}},
		{[]string{"a.b.d", "a.b.c", "a.b.d"}, []syntax.NSID{"a.b.c", "a.b.d"}, []syntax.NSID{"a.b.e", "a.b.c.d", "a.b.C"}, []string{"a.b.c", "a.b.d"}},
		{[]string{"a.b.*"}, []syntax.NSID{"a.b.c", "a.b.c.d"}, []syntax.NSID{"a.bc.d", "x.a.b.c"}, []string{"a.b.*"}},
		{[]string{"a.b.c", "*"}, []syntax.NSID{"a.b.c", "x.y.z"}, nil, nil},
	}
	for _, c := range cases {
		got, err := ParseCollections(c.patterns)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range c.want {
			if !got.Want(n) {
				t.Errorf("%v does not want %s", c.patterns, n)
			}
		}
		for _, n := range c.not {
			if got.Want(n) {
				t.Errorf("%v wants %s", c.patterns, n)
			}
		}
		if !slices.Equal(got.Patterns(), c.kept) || got.All() != (c.kept == nil) {
			t.Errorf("%v: %v", c.patterns, got.Patterns())
		}
	}
	if !(Collections{}).All() {
		t.Error("the zero value does not want all")
	}
	for _, bad := range []string{"", "a", "a.b", "a.*", ".*", "a..b.*", "*.b.c", "a.*.c", "a.b.c*", "a.b.c d"} {
		if _, err := ParseCollections([]string{bad}); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
