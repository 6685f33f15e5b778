// Package simulate is a small network that does not exist: accounts that come
// and go, and the records they write, valid for whatever lexicons are given;
// with a server in front that speaks the legacy Jetstream wire.
//
// # Place in the flow
//
// It stands where the network stands: before ingest, which reads it over a
// websocket like any other Jetstream. Nothing else of atview imports it but the
// command that starts it, and tests.
//
// # What it guarantees
//
//   - A [Model] emits the same events for the same catalog and [Config], as long
//     as Config.Clock is not set: the moment is then part of the model, too.
//   - Records break their lexicon only if asked to ([Config.Odd]), or where the
//     lexicon cannot be obeyed at all ([Model.Problems]). Their CIDs are right.
//   - Revisions increase per repository, time_us never goes back, and all
//     operations of one commit share both.
//   - [Model.State] is what a reader should have after the events so far. It is
//     kept and counted in plain maps, and shares no code with the index, so that
//     the two can be held against each other.
//   - A [Server] sends each subscriber every event that it wants, from its cursor
//     on, in order and once; a subscriber that falls behind what is kept is cut
//     off rather than skipped ahead.
//
// # What it leaves to others
//
// Repositories, signatures and DID documents: there is no PDS behind a DID and
// no blob behind a CID.
package simulate
