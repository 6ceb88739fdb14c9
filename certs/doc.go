// Package certs is the security room of the house: keys, and what is done with
// them, stay in here.
//
// It owns
//   - the card key, under which card numbers are turned into the tokens that the
//     journal, the indexes and the checkpoints know ([CardKey]);
//   - the keystore, a sealed file of keys with usage, algorithm, check value, validity
//     and state ([Keystore], [Key], [KEK]);
//   - the working keys that a terminal gets at sign-on, which follow from a key of the
//     keystore and from what the journal may know ([DeriveWorkingKeys]), and those of
//     terminals that have none ([DUKPTKey]); the master keys of terminals, each handed over
//     under the one before it ([Keystore.Master], [AppendMasterBlock]);
//   - who is who: the [Authority], the scheme's own CA with its register of certificates
//     and one-time codes, and the [Gate], which makes the TLS configuration of every door
//     and every connection that we dial;
//   - message authentication ([MAC]), PIN blocks ([PINKey], [PINVerifier],
//     [TranslatePIN]) and key blocks ([AppendKeyBlock], [OpenKeyBlock]).
//
// It promises that
//   - no key and no PIN leaves the package in clear, by return value, error or log: a
//     [Key] prints as its name and check value, whatever prints it, and a PIN is
//     deciphered, compared and wiped in here;
//   - a key does what its usage says and nothing else, and only while it is in force;
//   - [MAC.Append], [MAC.Verify] and [PINVerifier.Verify] allocate nothing, take no lock
//     and serve any number of goroutines: keys are expanded where they are made ready;
//   - the same input gives the same output: time and randomness come in as arguments.
//
// Of certificates:
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
// It does not know messages: the caller says which bytes a MAC is over and what DE52
// and DE53 say of a PIN block. It keeps no counters: how often a PIN was wrong and which
// key serial number came last is the ledger's to remember. Memory that held a PIN or a
// derived key is wiped; expanded keys stay in memory for as long as they are used.
package certs
