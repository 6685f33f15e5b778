// Package lexfetch gets lexicons from the network, where their authors publish
// them: https://atproto.com/specs/lexicon#lexicon-publication-and-resolution.
//
// Place in the flow: before it. A command asks for lexicons by name, looks at what
// comes, and writes files; from there on they are lexicons like all others. Nothing
// is fetched while events are read: a record may name any type, and whoever wrote
// it would have us ask a host of theirs.
//
// It guarantees:
//
//   - A lexicon is its authority's. The domain in the NSID says by DNS who publishes
//     it, that account's PDS gives the record together with its proof, and the proof
//     is checked up to the account's signature. A PDS, or whoever stands in
//     between, cannot change a lexicon.
//   - What a lexicon refers to comes with it, and so on; how many, how deep and how
//     large is bounded, and what is left out is said.
//   - What is no lexicon, or one of another name, is a [Failure] and no file; the
//     others come all the same.
//   - [Write] stays within its folder, writes whole files, and replaces none that
//     says something else unless told to.
//
// It leaves to its caller which addresses may be reached (package outbound), and to
// package schema what a lexicon becomes.
package lexfetch
