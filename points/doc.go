// Package points holds the words of the domain: amounts, identities, dates,
// requests, answers and the reasons for them.
//
// It owns the meaning of each word and the single table that turns a [Reason]
// into what a terminal, a partner system, a browser or a person is told. It
// promises that a word carries its own rules: an [Amount] cannot overflow in
// silence, a [PAN] cannot be printed in clear by accident, a zero value of an
// enumeration is visibly nobody's choice.
//
// It imports the standard library only, holds no state, does no I/O and reads
// no clock (see [Clock]). Every other package may import it.
package points
