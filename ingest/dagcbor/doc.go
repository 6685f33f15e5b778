// Package dagcbor turns a record as repositories hold it (a DAG-CBOR block) into
// the JSON that everything behind the log reads, and checks blocks against their
// CID. See https://atproto.com/specs/data-model.
//
// Place in the flow: sources that read repositories themselves (a firehose, a
// CAR) call it for each record; a Jetstream has done it already.
//
// # What it guarantees
//
//   - [AppendJSON] goes over a block once and builds no tree. It needs memory in
//     proportion to the block: no length in a block is believed before that many
//     bytes are there, and a byte of it becomes at most 14 of JSON.
//   - Nothing is rounded: integers are exact, and a float is an error.
//   - The JSON is one valid object in UTF-8, with keys in the order of the block.
//   - No input panics.
//
// # What is taken, and what is not
//
// A block that the network has accepted should be stored, so what has one clear
// meaning is taken although DAG-CBOR demands another form: unsorted keys, and
// lengths and integers that are longer than necessary. Who has checked the block's
// CID knows that it is what was signed.
//
// Text that is not UTF-8 is taken too: a byte that does not belong becomes half a
// surrogate pair (byte 0xFF becomes \udcff), which package schema replaces and
// flags like all broken Unicode. Replaced here already, nobody would see later that
// the record was not so. U+0000 becomes \u0000 for the same reason.
//
// What has no clear meaning in the data model is refused with a [Reason]: floats,
// integers beyond 64 bits, a key given twice, keys that are not text, tags other
// than a link's, items without a length, simple values other than true, false and
// null, bytes behind the end, and a block that is not a map.
//
// # What it leaves to others
//
// Whether the record fits its lexicon, and how large a block may be.
package dagcbor
