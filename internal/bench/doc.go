// Package bench measures the switch, and what it is held against, in one run.
//
// It owns the workloads of lianfen bench: the codec beside moov, the ledger beside
// a ledger without a journal, and authorisations over TCP beside an echo of the
// same frames, the disk's own flush and the same switch with nothing made durable.
// Switch, echo and load generator are processes of their own ([Child]), so that
// the CPU of each is its own. The commands that become these processes live in
// cmd/lianfen.
//
// It promises:
//
//   - a product and its floors are measured in turns, in one run, and medians of
//     the rounds are compared: a machine that changes its speed changes both;
//   - latency runs from the time at which a request was due, so that a stall is
//     seen by all that it delayed ([Load.Rate]);
//   - what was not approved fails the run, and every approved answer of a durable
//     switch is looked up in the journal afterwards ([CheckJournal]);
//   - no target is hard-coded as met: a [Check] holds what was measured and what
//     was wanted, and [Report.Failed] counts those that fall short.
//
// It prints nothing and reads no clock of its own: a [Clock] is given to it.
package bench
