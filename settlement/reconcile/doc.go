// Package reconcile compares three accounts of the same day line by line: what this
// switch has cleared, what an acquirer says, what an issuer says. It owns the classes of
// difference, the order in which lines are compared, and what stays in doubt until later
// files have come. It reads from [io.Reader] only and books nothing: what follows from a
// difference is proposed by one person and approved by another, as a journalled command.
//
// # What is one transaction
//
// Lines belong together by [Key]: acquirer, DE11, DE7 with its year, DE37. A partner's line
// that tells no DE37 is given ours before, by the rest of the key ([Nameless]). A key may stand
// several times on every side (a sale that several programmes paid has one key), so all
// three sides are multisets and each line is consumed once. Within a key, ours take theirs
// in four rounds, each in the order of the lines: what is equal in everything; in
// everything but the business date; in kind and programme; and then whatever is left.
//
//	R1  Every line of every side is in exactly one of: a pair, a finding of its own.
//	R2  The order of the lines of different keys does not matter, nor does the order in
//	    which files are read: the findings are the same, in the order of the keys.
//	R3  A row that cannot be read is reported with its number and its bytes, never dropped.
//	    A file whose header, trailer or digest is wrong is refused whole: the last call of
//	    its reader returns the error, and what was found by then is void.
//	R4  Equal multisets have equal totals and digests ([Totals]), so that comparing these
//	    first ends most days.
//
// # In doubt (存疑)
//
//	              found, dates differ                    found later
//	line ───────> DATE (timing, closed)     in doubt ───────────────> DATE
//	  │ missing on a side                      │  ▲
//	  └────────────────────────────────────────┘  │ the next date's files: not there either
//	                                           ├──┘ (at most [Retries] times)
//	                                           └───> exception with owner, age, action
//
// Amounts, fees, programmes, states and duplicates are exceptions at once: another file
// does not mend them.
//
// # Memory
//
// Sorted sources are merged and nothing is kept but the lines of one key. The order is by
// DE37 first, which is the journal position here: our journal, and the detail files made
// from it, come in that order by themselves. An unsorted file goes through [Sort], which
// keeps a bounded number of lines and spills sorted runs. That is slower than a hash table
// over the journal where the table fits, and works where it does not.
package reconcile
