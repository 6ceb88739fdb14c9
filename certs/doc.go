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
//     terminals that have none ([DUKPTKey]);
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
// It does not know messages: the caller says which bytes a MAC is over and what DE52
// and DE53 say of a PIN block. It keeps no counters: how often a PIN was wrong and which
// key serial number came last is the ledger's to remember. Memory that held a PIN or a
// derived key is wiped; expanded keys stay in memory for as long as they are used.
package certs
