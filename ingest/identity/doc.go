// Package identity finds out what a DID stands for: its handle, the host of its
// repository, the key that signs its commits.
//
// Place in the flow: beside it. Whoever reads repositories or checks signatures
// asks a [Directory]; a [Worker] keeps what table atview.actor says of accounts
// true, of those that an event or a lookup has made due.
//
// There are three layers. A [Resolver] asks the network: the PLC directory or a
// web host for the DID document, DNS and the handle's host for the handle. A
// [Cache] over it is the Directory: memory, then Postgres, then the network.
// The Worker is the only one that verifies handles, and the only one that writes
// them: a backfill needs keys and hosts, and should not wait for the DNS of a
// thousand hobbyists.
//
// It guarantees:
//
//   - A handle that is written was verified in both directions: the document claims
//     it, and it leads to the DID (https://atproto.com/specs/handle). It becomes
//     handle.invalid only by a definite answer, never because something did not
//     answer.
//   - What is remembered outlives the network: while a document cannot be read, the
//     last one is used, for as long as [CacheConfig.StaleFor].
//   - Questions are few: one at a time for a DID, however many ask; what failed is
//     not asked again at once; requests to the PLC directory have a rate, and it is
//     left alone for as long as it asks to be.
//   - An event that arrives while its account is being looked at has it looked at
//     once more; a Worker that dies leaves what it had taken to the others.
//
// It leaves to package outbound which hosts may be reached, to the fold what makes
// an account due (resolve_at), and to its callers what a missing key or host means.
package identity
