// Package netting folds the legs of a clearing cycle into positions: who owes whom how
// much, by code, by model of settlement. It owns sums, proofs about them, what happens
// when the largest debtor fails, and the digests of what went in and came out.
//
// It only computes. A [Fold] belongs to one goroutine; several workers have one each,
// and [Fold.Merge] adds them up: the order of items and the number of workers do not
// matter, for sums are whole numbers of 128 bits.
//
// It promises what [Fold.Check] looks at: P1, all accounts sum to zero per model; P2,
// what members owe each other in pairs is what each owes in all. It will not publish,
// post or write files.
package netting
