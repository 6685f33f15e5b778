// Package tap reads from Tap, a service that follows the repositories it was told
// to, verifies them, and keeps each event until its reader has acknowledged it. See
// https://github.com/bluesky-social/indigo/tree/main/cmd/tap.
//
// Place in the flow: a [source.Confirmer], run by package ingest.
//
// # What it guarantees
//
//   - An event is acknowledged when it is on the log, and not before: Tap sends it
//     again otherwise. Whoever runs the source says so by calling
//     [Source.Confirmed] with the cursor of the last line that is stored. What Tap
//     sent and nobody can use is acknowledged, too, once the reject is stored.
//   - Only events of the present connection are acknowledged. Tap's ids begin again
//     with 1 when it restarts with nothing left to send, so an id from before may be
//     another event's.
//   - At most [Config.MaxUnacked] events wait to be confirmed; then reading waits.
//   - A record that Tap sends without its content, because it could not decode it,
//     is a reject and a sync event: the repository is to be read anew.
//   - A frame that is no event or is too large is a reject. A kind of event that
//     nobody knows yet is skipped.
//
// Events come at least once, and again after a disconnect: Tap repeats what was not
// acknowledged for a minute. That is enough, because the fold takes a commit only if
// its rev is later than the record's; the same rev again changes nothing. They must
// not be told apart by Tap's ids.
//
// The cursor is a counter of our own. It says nothing about where to begin, which
// Tap knows, and only ties lines to events.
//
// # Times
//
// Tap sends none. A commit has the time in its rev, if that is not in the future, so
// that the same event twice has the same time. Historical records have the rev of
// the repository when Tap read it. An identity event has the present.
//
// # What it leaves to others
//
// Which repositories and collections Tap follows is Tap's configuration. If several
// readers are connected to one Tap, each gets a part of the events.
//
// Tap says what an account's state is, in its identity events, but not since when:
// where it sends an old one again behind a newer one, the old one wins until the next.
// Tap does not send deletes for what a repository lost while Tap did not follow it,
// so an index that has to be complete checks repositories against their PDS.
package tap
