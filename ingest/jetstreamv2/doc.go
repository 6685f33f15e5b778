// Package jetstreamv2 reads version 2 of Bluesky's Jetstream: its live stream
// (network.bsky.jetstream.subscribeEvents) and the archive of all that it has seen
// (planSnapshot, getBlock, getSegment). See
// https://github.com/bluesky-social/jetstream. It has nothing to do with NATS
// JetStream.
//
// Place in the flow: two [source.Source], run by package ingest: [Live], which is
// published like any source, and [Archive], which is meant for the lane of
// backfills, so that it never holds up what happens now.
//
// # Where the one begins and the other ends
//
// What has not been sealed yet is only in the live stream, and the stream looks
// back 36 hours only. So with [Config.Archive], which takes it that both are run:
//
//	            1 ........................ S ........ now
//	Archive     |--------------------------|
//	Live                                   |----------------->
//
// Live, when it has no cursor, asks Archive; that asks the server for its sealed
// tip S, has "read 1 to S" stored as its own cursor, and then answers. Live has "S"
// stored, and connects. Wherever the process is killed, the two ranges touch.
//
// When the server has no more what follows Live's cursor (CursorTooOld), the same is
// done for the range from the cursor to the tip of then. That range is read with
// identity, account and sync events, for Live will not have seen them. Without an
// archive Live goes on with the oldest event that the server has, counts that in
// [Live.Gaps], and logs an error.
//
// Archive does not end by itself, unless with [Config.Once]: it waits until Live, or
// a new collection, needs it. If it has ended, Live goes on as if there were none.
//
// # What Live guarantees
//
// Events that the server sends are emitted in its order, at least once.
//
//   - The cursor is the event's number. Servers of version 0.2 give the numbers that
//     they lost in a crash to other events
//     (https://github.com/bluesky-social/jetstream/issues/345): so no event is left out
//     for its number, and each reconnect asks for [Config.RewindSeqs] more.
//   - Numbers belong to a host. On another one, and where a host has begun to count
//     anew, reading goes on by time, [Config.RewindOtherHost] earlier.
//   - The beginning is stored before anything is read.
//   - A cursor in the future, which servers take as none, is recognized by the
//     numbers that come.
//   - A frame that is no event, that does not decompress or that is too large is
//     emitted as a reject and never a reason to reconnect: it would come again.
//     Kinds of event, frames and notices that nobody knows yet are skipped.
//   - The server cuts off a reader that stalls. So frames are read into a bounded
//     buffer while the log does not take them.
//   - A sync event says that the repository has to be read anew. The creates that
//     follow it are ordinary commits, and nothing says where they end.
//
// # What Archive guarantees
//
// Of the collections that are wanted, every row up to the tip is emitted at least
// once, in the order of the numbers, and its cursor is never ahead of that.
//
//   - Nothing that arrives is believed: sizes and counts are bounded, before and after
//     decompression, and rows are filtered exactly, for a plan lists whole blocks.
//   - The parts of a segment are all of one version, by its ETag. One that is
//     rewritten meanwhile, as compaction does, is planned anew from the cursor.
//   - A record's JSON is made by package dagcbor from the archive's bytes, and its CID
//     is computed of them. A row that is none is a reject.
//   - A block that cannot be read, however often it is asked for, is a reject, too, and
//     reading goes on behind it ([Progress].Lost).
//   - Trouble of server or network is waited for; 429 as long as the server says. Only
//     a refusal that asking again does not change ends Run: a request that is wrong, a
//     missing or wrong API key.
//   - A kill or a cancel costs a block that is read twice.
//
// Its cursor is the first number that has not been read, and beside the host it says
// how far, for which collections, and with which kinds. So a restart with other
// collections reads from the beginning.
//
// # What it leaves to others
//
// The range from 1 to S is planned for commits only. With the other kinds the server
// lists every block that has one of anybody's, which is nearly the whole archive.
// What follows: that an account was deleted or taken down before the live stream
// began is not known from here, nor that a repository was declared anew. Its records
// stand until somebody asks its PDS. And records that were read with the archive's
// bootstrap carry the revision of their repository at that time, not their own.
//
// A server's filter takes at most 100 patterns; beyond it is asked for more than is
// wanted, for everything if need be, and package ingest filters exactly. For a live
// stream that is traffic; for an archive it is days: with many collections,
// reading the repositories is the shorter way.
//
// The server may lose repairs of its own (it drops a resync when the account writes
// on), so an index that has to be complete checks repositories against their PDS.
package jetstreamv2
