// Package ingest brings the network's events to the log.
//
// Place in the flow: it stands at the beginning. [Parse] and [Open] make sources
// of URLs, a [Runner] runs them: what a source reads is filtered by collection, counted
// and published on the log of package stream. Behind the log stand the index
// workers, which know nothing of sources.
//
// It guarantees:
//
//   - Every wanted event that a source emits is on the log before the source's
//     cursor says so. After a crash the source begins again at the last cursor;
//     events in between come twice, none is missing.
//
//   - The events of a source are on the log in the order in which it emitted them.
//
//   - What is no event is on the log, too, as a reject, and stops nothing.
//
//   - A log that is full or away blocks the sources, and is waited for.
//
//   - A source that is a [source.Confirmer] hears what is stored.
//
//   - Archives write the backfill lane, and hold up nobody.
//
// It leaves to package stream how the log is written, to its sub-packages how an
// upstream is read, to package backfill the repositories that have to be read
// whole, and to package index what an event means.
package ingest
