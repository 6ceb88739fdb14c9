// Package sim plays the other side: terminals that send what real ones send,
// issuers' hosts that answer as real ones do and as they should not, and the
// business day of the demonstration.
//
// It owns the terminal ([Terminal]), the scripts that drive it ([Script]), the
// issuer with its faults ([Issuer], [IssuerHost]) and the participants of the
// demonstration. It is part of the product: integrators use
// it to try a switch, `lianfen demo` to show one, tests to prove one. These know a
// switch only by its address and by the answers it gives.
//
// And it plays the whole system in one process from a seed ([World], [RunWorld]): there
// the switch and its ledger are inside, between simulated lines, disk and clock, and
// in the end everybody's books are compared.
package sim
