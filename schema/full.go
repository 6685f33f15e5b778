package schema

// MaxFlags and MaxLinks are how many flags and links are kept of a record. Of one
// that has more, which are kept depends on the order of its properties, and jsonb
// does not keep that.
const (
	MaxFlags = maxFlags
	MaxLinks = maxLinks
)
