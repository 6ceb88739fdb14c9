// Package sim plays the other side: terminals that send what real ones send,
// issuers' hosts that answer as real ones do and as they should not, and the
// business day of the demonstration.
//
// It owns the terminal ([Terminal]), the scripts that drive it ([Script]), the
// issuer with its faults ([Issuer], [IssuerHost]) and the participants of the
// demonstration. It is part of the product: integrators use
// it to try a switch, `lianfen demo` to show one, tests to prove one. It knows a
// switch only by its address and by the answers it gives.
package sim
