// Package index folds the log's events into typed Postgres tables.
//
// # Place in the flow
//
// ingest writes events to the log, one partition for each part of the DIDs; a
// worker reads one partition of a lane in order and writes what the events come to;
// graphql reads the tables.
//
// # What it guarantees
//
//   - A batch of events and the position that it ends at are one transaction.
//     The position in Postgres, and no acknowledgement, says what is folded. It
//     is also the fence: of two workers on one partition one fails.
//   - The tables are a function of the events, whatever their order between
//     repositories and however often each is delivered: an event changes a record
//     only if its rev is newer than the record's or its tombstone's.
//   - Links and counts change in the same transaction, by what the rows were and
//     became, which is read from the rows.
//   - An event that cannot be stored is a dead letter with its bytes, and the
//     events around it are folded. Only a failing database stops a worker, which
//     tries again until it answers.
//   - A repository that was read whole settles all commits up to its rev: what it
//     did not hold goes when its end has come. Its lane never holds up live events
//     for longer than a batch.
//   - [Verify] derives all of that anew and finds nothing, ever, unless somebody else
//     has written to the tables.
//   - A change of lexicons is planned ([Plan]) before it is applied; nothing that
//     destroys data is applied unless asked for.
//
// # What it leaves to others
//
// It knows nothing of sources or of HTTP. Package stream says how events stand
// in the log, package schema how a record becomes a row.
package index
