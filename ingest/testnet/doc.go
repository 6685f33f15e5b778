// Package testnet is a small AT Protocol network in one process, for tests: a PLC
// directory, PDSes, a relay and a Jetstream, on sockets of 127.0.0.1, with the
// wire formats of the real ones and repositories that are really signed.
//
// # Place in the flow
//
// It stands where the network stands: before ingest. A test starts a [Network],
// points what it tests at its URLs, lets [Account]s do things, switches [Faults]
// on, and in the end compares what was made of it with [Network.Truth]. Nothing but
// tests imports it.
//
// # What it guarantees
//
//   - The same calls make the same network for the same [Config.Seed], to the last
//     byte: DIDs, keys, signatures, frames. (Unless [Config.Clock] is set, or
//     several goroutines call.)
//   - An action emits the frames that the reference PDS emits, in its order, with
//     its peculiarities: no #sync when a takedown ends, a #sync signed with the old
//     key after a migration. The relay strips and drops what the indigo relay does.
//   - When an action returns, its frames are in the logs of PDS, relay and
//     Jetstream, and the Truth has it.
//   - Without a fault, every commit's blocks suffice to invert it
//     (https://atproto.com/specs/sync#commit-validation), what is served passes
//     indigo's verification, and each subscriber gets every frame from its cursor on,
//     in order and once. (Indigo's VerifyCommitMessage refuses some commits that
//     delete all records and create others, honest as they are.)
//   - A fault happens only where it makes a difference, and is counted when it does
//     ([Faults.Fired]), so that a test can prove that it met it.
//
// All of it is safe for concurrent use.
//
// # What it leaves to others
//
// Writing over XRPC, OAuth, blobs, labels. Records come from the caller;
// [Network.Play] takes the events of package simulate, which makes valid ones
// for any lexicon. The archive of the new Jetstream is not served, only its live
// wire.
package testnet
