// Package settlement is the night: the resumable run that makes one cycle of a
// business date into positions, files for members, and one posting in the journal.
//
//	        cut-over        compute         render, check     a second person
//	OPEN ────────────> CUT ─────────> COMPUTED ────────> CHECKED ────────> APPROVED
//	  │                 │                 │                  │                 │ sync, rename,
//	  └─────────────────┴───── void ──────┴──────────────────┘                 │ one command
//	                             v                                             v
//	                           VOID                 CONFIRMED <──────────── PUBLISHED
//	                                                            delivered
//
// It owns the order of these steps, what is written down after each, the work folder
// and its rename, the checks, and the comparison of two runs. It asks a [Journal] for
// the cut, the items, the tables and the live positions; what an item is worth is
// package tariff's, how positions add up package netting's, how files look package
// files' business.
//
// It promises:
//
//	R1  A run is a function of its key: date, cycle, rates, fees, members, input and
//	    the program's version. The same key gives the same bytes; a run that would
//	    give others is refused and says which part of the key has changed.
//	R2  Nothing is visible before it is published: work lies in <run>.tmp, which is
//	    synced, proved and renamed as a whole. A .tmp that does not hold what its manifest says
//	    is thrown away and made again.
//	R3  Every step can be repeated. Running again resumes, or proves that there is
//	    nothing to do; a cycle is posted once, whatever is killed when. What stands in the
//	    journal decides: a run that is posted there is approved, and is never void.
//	R4  Nothing is published whose positions do not sum to zero (P1, P2), whose files
//	    do not add up to the positions (P5), or whose positions are not those that the
//	    ledger kept while the day went on (P9).
//	R5  An item is cleared or it is an exception, listed with its reason; the first of a run
//	    one by one, all others counted and summed up by reason. None is skipped.
//	R6  The heap is bounded: what grows with the day goes through and is not kept.
//
// Times and identifiers come in with the [Order] from a door. It will not decide who
// may do what, cut a date over, or change what was published.
package settlement
