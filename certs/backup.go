package certs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

// BackupSeal encrypts backups: to recipients, whose secret keys need not be on this
// machine, or under a passphrase. The format is that of age (age-encryption.org/v1): a
// stream of chunks that are authenticated one by one, the last one as the last.
type BackupSeal struct {
	recipients []age.Recipient
}

// BackupOpener opens what a [BackupSeal] sealed. It does not tell who sealed it:
// everybody can who knows the recipient.
type BackupOpener struct {
	identities []age.Identity
}

// Errors of opening a backup.
var (
	// ErrBackupKey says that no key that was given opens the file.
	ErrBackupKey = errors.New("backup: none of the keys that were given opens this file; name the identity of one of its recipients, or its passphrase")
	// ErrBackupDamaged says that a file is not what was sealed, or not all of it.
	ErrBackupDamaged = errors.New("backup: the file is altered or cut short; take another copy of it")
	// ErrNotSealed says that a file is no encrypted backup.
	ErrNotSealed = errors.New("backup: this is no encrypted backup")
)

const (
	// maxBackupKeyFile bounds a file of recipients, identities or a passphrase.
	maxBackupKeyFile = 64 << 10
	// minPassphrase is the shortest passphrase, in bytes: a stolen file can be tried for ever.
	minPassphrase = 12
)

// NewBackupSeal seals to recipients: each is a public key (age1…), or the path of a file
// with one a line.
func NewBackupSeal(recipients []string) (*BackupSeal, error) {
	s := new(BackupSeal)
	for _, text := range recipients {
		if strings.HasPrefix(text, "age1") {
			r, err := age.ParseX25519Recipient(text)
			if err != nil {
				return nil, fmt.Errorf("backup: recipient %q: %w", text, err)
			}
			s.recipients = append(s.recipients, r)
			continue
		}
		// Who is handed a secret key by mistake does not repeat it.
		if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
			return nil, errors.New("backup: a recipient is a public key, age1…; this is a secret one, now in the list of processes and the shell's history: draw another")
		}
		file, err := os.Open(text)
		if err != nil {
			return nil, fmt.Errorf("backup: recipient: want age1… or a file of such: %w", err)
		}
		some, err := age.ParseRecipients(io.LimitReader(file, maxBackupKeyFile))
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("backup: recipients in %s: want a line age1… for each", text)
		}
		s.recipients = append(s.recipients, some...)
	}
	if len(s.recipients) == 0 {
		return nil, errors.New("backup: no recipient")
	}
	return s, nil
}

// NewBackupPassphrase seals and opens under the passphrase that is the first line of the
// file at path, which others must not be able to read.
func NewBackupPassphrase(path string) (*BackupSeal, *BackupOpener, error) {
	text, err := readOwn("backup passphrase", path)
	if err != nil {
		return nil, nil, err
	}
	defer clear(text)
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if len(line) < minPassphrase {
		return nil, nil, fmt.Errorf("backup passphrase %s: its first line has %d bytes, want at least %d", path, len(line), minPassphrase)
	}
	recipient, err := age.NewScryptRecipient(string(line))
	if err != nil {
		return nil, nil, fmt.Errorf("backup passphrase %s: %w", path, err)
	}
	identity, err := age.NewScryptIdentity(string(line))
	if err != nil {
		return nil, nil, fmt.Errorf("backup passphrase %s: %w", path, err)
	}
	return &BackupSeal{[]age.Recipient{recipient}}, &BackupOpener{[]age.Identity{identity}}, nil
}

// NewBackupOpener opens with the secret keys (AGE-SECRET-KEY-1…) in the file at path,
// which others must not be able to read.
func NewBackupOpener(path string) (*BackupOpener, error) {
	text, err := readOwn("backup identity", path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		// The cause is left out: it would quote a part of a key.
		return nil, fmt.Errorf("backup identity %s: want a line AGE-SECRET-KEY-1… for each, as age-keygen writes them", path)
	}
	return &BackupOpener{identities}, nil
}

// readOwn reads a small file that nobody but its owner may read.
func readOwn(what, path string) (text []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat() // Of what is read, whatever the name points to by then.
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, fmt.Errorf("%s %s: mode %v lets others read it; run: chmod 600 %s", what, path, info.Mode().Perm(), path)
	}
	if text, err = io.ReadAll(io.LimitReader(file, maxBackupKeyFile)); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return text, nil
}

// To encrypts what is written to the result into w. Nothing can be opened before it is
// closed; closing it does not close w.
func (s *BackupSeal) To(w io.Writer) (io.WriteCloser, error) {
	sealed, err := age.Encrypt(w, s.recipients...)
	if err != nil {
		return nil, fmt.Errorf("backup: encrypt: %w", err)
	}
	return sealed, nil
}

// From decrypts r. What the result gives is authentic as far as it was read; that it is
// all is known when it gives [io.EOF].
func (o *BackupOpener) From(r io.Reader) (io.Reader, error) {
	opened, err := age.Decrypt(r, o.identities...)
	if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
		return nil, ErrBackupKey
	}
	if err != nil {
		return nil, fmt.Errorf("%w, or its beginning is damaged: %w", ErrNotSealed, err)
	}
	return opening{opened}, nil
}

// opening is a backup that is being opened.
type opening struct{ from io.Reader }

// Read reads; every error but the end is damage, for age tells by none which.
func (o opening) Read(p []byte) (n int, err error) {
	if n, err = o.from.Read(p); err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrBackupDamaged, err)
	}
	return n, err
}
