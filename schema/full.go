package schema

// FullFlags says whether the row has as many flags as are kept. Which ones then
// depends on the order of the record's properties, which jsonb does not keep.
func (row *Row) FullFlags() bool { return len(row.Flags) >= maxFlags }

// FullLinks says the same of links.
func (row *Row) FullLinks() bool { return len(row.Links) >= maxLinks }
