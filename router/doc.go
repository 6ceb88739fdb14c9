// Package router decides which issuer a request goes to, and whether its
// terminal, merchant and acquirer may speak at all.
//
// It owns the tables of participants as the path of an authorisation reads
// them. A [Table] is immutable: it is built from the journal's reference data
// and swapped in whole ([Router.Swap]), so that a request sees one state of the
// world from beginning to end, and reading takes no lock. [Breaker] and [Choose] are
// the rules by which one of the ways to an issuer is taken; the ways themselves are
// the switch's. Whose points they are,
// and whether there are enough, is the ledger's business.
package router
