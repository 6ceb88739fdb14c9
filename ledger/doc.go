// Package ledger is the durable shell around the book: one journal, one order.
//
// It owns the queue, the applying goroutine, the journal's blocks with their hash
// chain, the group commit, checkpoints, recovery and reads. What a command does
// is the book's business; where bytes lie is the store's.
//
// It promises:
//
//   - J1: done is called exactly once for each submitted command, in the order of
//     the journal, and only when its record is on disk and so is everything
//     before it. After a fault nobody is answered any more;
//   - J2: positions are dense from 1, each block names the hash of the one before;
//   - J3: recovery gives the state that answered, or refuses and says where the
//     journal is damaged. It never skips a record. Every block that it relies on
//     is held against its own hash, the block before it, and what the checkpoint
//     and the anchor noted; an older block is when a command or a reader needs it;
//   - J4: a reader is only told what is durable ([Ledger.View] waits for it);
//   - J5: everything is bounded: commands waiting (Options.Queue), commands in a
//     group (GroupMax), groups between applying and durable (GroupsInFlight);
//   - J6: [Ledger.Unseen] takes no key for a new one that the book remembers, or will when
//     what waits is carried out.
//
// It refuses: to retry a failed write, to answer before it is durable, to run on
// after a fault ([Ledger.Failed]).
//
// # Goroutines
//
//	Submit ──> queue ──> apply ──> committing ──> commit ──> done(outcome)
//	                       │ ^                      │
//	                       │ └──── free groups ─────┘
//	                       └──> checkpoints ──> ingest ──> ended
//	                                              commit ──> anchor
//
// Before that, Open recovers, on goroutines that end with it; see replay.go.
//
// apply takes all that waits, up to GroupMax, carries it out, writes the group's
// journal block and hands it to Pebble, which syncs it while the next group is
// applied. commit waits for the sync, in order, and answers. checkpoint puts the
// changed state away behind the journal; anchor notes ten times a second how far
// the journal is acknowledged. [Ledger.Close] stops all four and waits for them.
//
// After a fault of any of them apply takes no more, commit lets what comes go
// unanswered, and no checkpoint is put away: all end by themselves, and Close
// still waits for them. A log that cannot be written does not come that far: the
// store ends the process.
//
// A [Projection] is handed by commit what each durable block is about; a goroutine of
// its own stores what has come together, and reads the blocks that it was not handed;
// [Projection.Close] stops it, before [Ledger.Close].
//
// # Block
//
//	key    first position, 8 bytes big-endian
//	value  version 1 | hash of the block before, 32 | count, 4 | records | SHA-256 of all that, 32
//
// Version 2 has the records packed with Snappy. Both are read.
//
// The hash is taken over key and value. The first block follows 32 zero bytes.
package ledger
