// Package localnats runs NATS with JetStream inside this process, so that
// atview has its log on a machine where nobody has set up NATS.
//
// # Place
//
// cmd/atview starts it when no NATS URL is given. Ingest publishes to it and
// the index workers read from it over connections from [Server.Connect], which
// are pipes within the process; package stream cannot tell them from a
// connection to a cluster. With a port, other programs can attach consumers of
// their own.
//
// # Guarantees
//
//   - What was acknowledged survives the death of the process, also by SIGKILL.
//     JetStream hands a message to the operating system before it acknowledges
//     it, and the page cache outlives the process.
//   - It may not survive the death of the machine: NATS forces its files to
//     disk every two minutes (its default), not for every message, which would
//     cost a hundred times the throughput. After a power failure the log ends
//     earlier, at a whole message. Whoever resumes from the log's own last
//     message then asks upstream again for what is missing; a position kept
//     elsewhere can lie beyond the end of the log, and its keeper has to notice.
//   - One server per folder: a second one gets [ErrLocked].
//   - [Server.Stop] returns within a bounded time.
//
// # What is in the folder
//
//	Dir.lock       held by the process that owns the folder; dies with it
//	Dir/jetstream  the streams
//
// # Left to others
//
// Streams and consumers, their limits and names (package stream). Access
// control: without a port nobody else can connect; with one, whoever can reach
// it may read and write the log, so it stays on the loopback address unless the
// caller says otherwise.
package localnats
