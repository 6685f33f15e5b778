// Package backfill reads repositories whole: it finds out which there are,
// fetches each from its PDS, verifies it, and publishes what it holds as a
// snapshot. See https://atproto.com/specs/sync.
//
// Place in the flow: it stands beside the live sources of package ingest and
// writes the backfill lane, a log of its own, so that the past never holds up the
// present. What it does not have to know is where the live sources are: a
// snapshot says at which rev it was taken, and the fold puts the two together.
//
// # The life of a repository
//
// It is a row of atview.repo.
//
//	queued ──▶ fetching ──▶ published ──▶ done
//	  ▲  ▲        │  │          │
//	  │  └────────┘  ├──▶ failed (due again later)
//	  │   deferred   └──▶ gone   (until somebody asks again)
//	  └─────────────────────────┘ lost with the end of the log
//
// Anybody may queue one: a list of a relay's, an operator, the fold when a
// repository is declared anew (#sync) or seen for the first time. A claim has a
// number and a lease that is extended while the work goes on; a process that was
// killed loses its claims when the lease ends. Published means that all of it is
// stored on the log; the fold makes it done in the transaction that has it in the
// tables.
//
// # Guarantees
//
//   - Nothing of a repository is published before all of it has been verified (see
//     package car): its end mark deletes what the snapshot lacks.
//   - What is queued is read, or its row says why not, in one of the few words of
//     [Reason]. Failures are tried again for ever, with longer and longer waits.
//   - A request that comes while the repository is being fetched has it fetched
//     once more.
//   - A host is not asked more often than it likes: its answers (429, 503,
//     Retry-After, RateLimit-*) pause that host, and no other.
//   - A host can cost a worker, for [FetchConfig.Timeout], and as many bytes of disk
//     as [FetchConfig.Limits] say, and nothing else.
//   - The log being full blocks the workers, and loses nothing.
//
// # What it leaves to others
//
// Folding, and with it the state done: package index. Identities: package
// identity. Which addresses may be reached: the HTTP client that it is given.
package backfill
