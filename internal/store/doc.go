// Package store is the only door to the embedded key-value store (Pebble) and to
// the anchor file beside it. The rest of the house sees byte keys, byte values
// and the few operations that a journal-first ledger needs.
//
// It owns options, key prefixes, files and durability; it knows nothing of what
// it keeps. It promises:
//
//   - what [Batch.Wait] has confirmed, or [Store.Ingest] returned from, is on disk;
//   - an ingest is seen whole or not at all, also after a crash;
//   - a failing write never returns to the caller as if it might be tried again:
//     Pebble's own fatal errors end the process (Options.Exit).
//
// # Keys
//
// One byte of prefix, one owner each:
//
//	i  ledger  the projection: what is found by whom, and how far it has come
//	j  ledger  journal blocks, by first position (8 bytes, big-endian)
//	k  app     check value of the card key that the store's cards are under
//	s  ledger  state of the book, by the book's own keys
//	t  ledger  the checkpoint that the state is of
//	z  store   written once at creation
//
// s and t are neighbours, so that a checkpoint is one sorted table that does not
// overlap the journal.
//
// # Layout
//
//	DIR/db/      Pebble's files
//	DIR/anchor   two slots, see [Anchor]
package store
