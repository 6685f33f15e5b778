// Package firehose reads com.atproto.sync.subscribeRepos of a relay or of one PDS:
// signed commits of repositories with the blocks that prove them. See
// https://atproto.com/specs/sync and https://atproto.com/specs/event-stream.
//
// Place in the flow: a [source.Source], run by package ingest.
//
// # What it guarantees
//
// Frames are emitted in the host's order, at least once; the operations of a commit
// in the commit's order, each as one event.
//
//   - Of a commit with anything wanted, the signature is checked with the account's
//     key, each block with its CID, each operation with the tree, and all of them
//     together by taking them back, which has to give the tree of the commit before
//     (prevData). The key is asked for anew if it does not fit, and after an #identity.
//     Operations of the form without prev cannot be taken back; then it is checked
//     that they are done.
//   - Of other commits only as much is read as shows whether they follow the one
//     before. So no identity is looked up of accounts that nobody is interested in.
//   - What does not hold is a reject: the frame and a reason. What a reject was about
//     is not lost: a sync event asks that the repository be read anew. The same is
//     asked for when a commit does not follow the one before, is too big to say what
//     it did, or lacks the block of a record.
//   - A commit that this run has checked already is not emitted again. Which one is
//     the newest is remembered for [Config.Heads] repositories; about others nothing
//     is known, and their next commit is taken to follow.
//   - A record that is not of the data model is a reject of its own; its neighbours go
//     on. Frames that are no frames, or too large, are rejects and never a reason to
//     reconnect: they would come again. Frames of unknown types are skipped.
//   - Frames are checked in parallel and emitted in order. An identity that cannot be
//     had within [Config.LookupTimeout] counts as a reject, with its sync event, so that
//     no account holds up the others for longer.
//   - The cursor is the number of the last frame of which, and of all before it,
//     everything has been emitted.
//
// # Cursors and hosts
//
// Each host numbers its frames as it likes, so a cursor is of one host. The first
// host that is ever read begins with what happens now ([Config.FromStart]: with the
// oldest that it has), and the beginning is emitted before the first event. A host
// that has been read in this run, or is the cursor's, goes on from there.
//
// When another host takes over, it is searched for the time at which the one before
// stopped, by asking it what it has at a number, and read from
// [Config.RewindOtherHost] before that; what comes twice is known by its rev. So a
// relay that stands in for another leaves no gap. The same is done when a host says
// that it has never been at the cursor (FutureCursor: it has begun to count anew). A
// host that sends nothing when asked for what happens now is read from its oldest.
// If it just counts anew, that is taken for a fact after 100 frames.
//
// What a host does not have any more (it says OutdatedCursor, or the search ends
// before its oldest) is a gap. It is logged and counted ([Stats.Lost]), and noticed
// for each repository of which a commit from before is remembered, when it commits
// again: that commit does not follow, and a sync event asks for the repository. What
// repositories did in the gap that do not commit again is for a check of all
// repositories to find.
//
// # What it leaves to others
//
// Reading repositories anew. Whether an account's host may speak for it at all is
// checked by relays, and not here: to read a PDS is to trust it with what it says of
// identities and accounts. Those events are not signed.
package firehose
