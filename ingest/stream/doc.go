// Package stream is the contract on the log: what an event looks like, under
// which subject it lies, how it gets there and how it is read back.
//
// # Place in the flow
//
// Sources (package ingest and its sub-packages) publish events; index workers
// read them, one partition each. Between them stands one NATS JetStream stream,
// "the log". (NATS JetStream has nothing to do with Bluesky's Jetstream, which
// is one of the sources.)
//
// # What lies on the log
//
//	atview.ev.<partition>.<collection NSID>   a commit event
//	atview.ev.<partition>._.identity          an identity event
//	atview.ev.<partition>._.account           an account event
//	atview.ev.<partition>._.sync              a sync event
//	atview.ev.<partition>._.reject            what a source sent and nobody can use
//	atview.cursor.<source>                    how far a source has been read
//
// and beside it, in a small stream of its own:
//
//	atview.trim.<partition>                   how far a partition has been trimmed
//
// The body of an event is one JSON object in the shape of the legacy Jetstream
// wire ({"did","time_us","kind","commit":{…}}); what came from a Jetstream is
// there byte for byte. So anybody can attach a consumer of their own, in any
// language. The partition is a hash of the DID (see [Partition]): all events of
// one repository are on one partition, in the order in which they were
// published.
//
// A reject carries the original bytes and says in its headers what is wrong
// with them ([HeaderReject], [HeaderDetail], [HeaderSource], [HeaderLength]).
//
// # Guarantees
//
//   - What [Publisher.Flush] has confirmed is stored. A publish that NATS
//     refuses or does not confirm is repeated until it does; the log being full
//     blocks the publisher and loses nothing.
//   - Events of one publisher are stored in the order in which they were
//     published. After a failure a run of events may be stored twice, and the
//     second copy of the run is complete and in order; a reader must fold by rev.
//   - NATS forces its files to disk now and then, so a power failure takes the newest
//     messages back. Publishers and readers notice and say [ErrRewound]; the source
//     begins again at the last cursor that is left.
//   - A cursor is stored after every event up to it is confirmed, and in the same
//     stream. A crash that tears the tail off the log takes the cursor with it,
//     so a cursor is never ahead of the data.
//   - A [Reader] returns each stored message of its partition once, in order, over
//     disconnects and restarts of NATS, or says [ErrRewound].
//
// # What it leaves to others
//
// Which events are wanted (package ingest), what they mean (package index), and
// where a reader stands: the position belongs to the transaction that folded the
// events, so nothing is acknowledged to NATS.
package stream
