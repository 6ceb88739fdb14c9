// Package certs is the security room of the house: keys, and what is done with
// them, stay in here.
//
// It owns the card key, under which card numbers are turned into the tokens that
// the journal, the indexes and the checkpoints know. It owns who is who: the
// [Authority], the scheme's own CA with its register of certificates and one-time
// codes, and the [Gate], which makes the TLS configuration of every door and every
// connection that we dial. Working keys, MAC and PIN belong here too.
//
// It promises that no key leaves the package, by return value, error or log, other
// than to the file of whoever it was made for; and of certificates:
//
//   - C1: a certificate is in the register, durably, before it leaves; so there is
//     none that cannot be revoked;
//   - C2: a certificate names one identity, in one spelling;
//   - C3: a code is good once, for the identity that it was made for, until it is
//     over; who asks cannot choose the identity, and the folder has no code in clear;
//   - C4: what is revoked is refused by the next handshake behind [Gate.Reload], and
//     [Gate.Admits] says so of what is open. No session is resumed past that;
//   - C5: a file that cannot be read leaves in force what was.
//
// It opens no socket and reads no clock but the one that it is given.
package certs
