// Package car verifies a whole repository, as com.atproto.sync.getRepo gives it
// out in a CAR file, and reads its records. See
// https://atproto.com/specs/repository.
//
// Place in the flow: package ingest/backfill fetches the file and publishes the
// records; `atview verify` compares them with the tables.
//
// # Guarantees
//
// [Verify] gives a [Repo] only if everything that follows has been seen to hold,
// and otherwise an [*InvalidError] with one of a few reasons:
//
//   - The file is a CAR of version 1 with one root, complete, with nothing behind
//     its end, and each block has the hash that its CID says.
//   - The root is a commit of the repository that was asked for, in version 3 of
//     the format, not older than asked for and not from the future, and the key
//     has signed it.
//   - The tree under it is whole and well formed: all nodes are there, each on its
//     layer, and the keys ascend from the first to the last. So no record can be
//     left out, given twice, or be found by one reader and not by another.
//   - The blocks of all wanted records are there. Those of other records need not
//     be.
//
// The file is never believed: no length in it is allocated before it is compared
// with a limit and with what is there, and no content of it panics.
//
// Memory is bounded by [Limits]: the index of the blocks (65 to 120 bytes for each),
// and the nodes on the way from the root to a leaf. Blocks are read again when
// they are needed, so the file must not change.
//
// A record that cannot be a record (its key is none, or its block has no meaning
// in the data model) does not make the repository wrong, since others sign and
// serve it: it is given with an error, to be set aside with its bytes.
//
// # What it leaves to others
//
// Where the file comes from, and which key is the right one; what a record means,
// and how large one may be to be stored.
package car
