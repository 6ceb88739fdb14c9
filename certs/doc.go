// Package certs is the security room of the house: keys, and what is done with
// them, stay in here.
//
// Today it owns the card key, under which card numbers are turned into the
// tokens that the journal, the indexes and the checkpoints know. It promises
// that no key leaves the package, by return value, error or log. Identities,
// working keys, MAC and PIN belong here too.
package certs
