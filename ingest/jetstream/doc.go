// Package jetstream reads the legacy wire of Bluesky's Jetstream
// (wss://HOST/subscribe): JSON events over a websocket, filtered by the server.
// It has nothing to do with NATS JetStream.
//
// Place in the flow: a [source.Source], run by package ingest.
//
// # What it guarantees
//
// Events that the server sends are emitted in its order, at least once. The
// cursor is a time in microseconds by the server's clock; the wire's properties
// that have cost others events are met like this:
//
//   - A cursor says "events from this time on", several events share a time, times
//     go backwards now and then, and hosts differ: so every reconnect asks for
//     [Config.Rewind] more than has been read, and on another host for
//     [Config.RewindOtherHost] more. Events come twice; the fold does not mind.
//   - A cursor never goes backwards, whatever time the events say.
//   - A cursor in the future is silently taken as "from now on": it is replaced by
//     the present, and an event from the future does not move the cursor there.
//   - The first start, which has no cursor, takes the present for one and has it
//     stored before it connects, so that neither a disconnect nor a kill before the
//     first event is a gap.
//   - A server cuts off a reader that stalls. So frames are read into a bounded
//     buffer while the log does not take them; only when that is full does the
//     socket wait. Being cut off then is a normal reconnect.
//   - A frame that is no event, that does not decompress or that is too large is
//     emitted as a reject and never a reason to reconnect: it would come again.
//   - The server does not say when it has no more events as old as the cursor; what
//     is missing then is missing. A Jetstream keeps 24 to 36 hours.
//
// # What it leaves to others
//
// The server's filter takes at most 100 patterns; beyond it is asked for more than
// is wanted, and package ingest filters exactly. The legacy wire has no sync
// events, and not everything that happened upstream is on it: an index that has to
// be complete checks repositories against their PDS.
package jetstream
