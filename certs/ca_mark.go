package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// RegisterMark tells how far a register has come, for whoever has to know an older one or
// another from it.
type RegisterMark struct {
	Length uint64   // bytes of whole lines
	Digest [16]byte // of them: the first half of their SHA-256
}

// ErrRegister says that a register does not begin with what was known of it.
var ErrRegister = errors.New("certs: the register of certificates is older than it was, or another one")

// RegisterChange is one line of the register, for people.
type RegisterChange struct {
	What string // that happened, to whom, and who has done it
	// Outside tells that no record of a journal has decided it, nor a code, nor the holder
	// of a good certificate, nor the switch for itself.
	Outside bool
	// Lent tells, of what is Outside, that the authority of this machine has lent it to what
	// plays terminals and issuers here.
	Lent bool
}

// RegisterPath is the file of the register in an authority's folder.
func RegisterPath(dir string) string { return filepath.Join(dir, registerFile) }

// RegisterSince holds the register against a mark that was taken of it before, and tells
// what was appended since and how far it has come. Errors: [ErrRegister].
func (a *Authority) RegisterSince(known RegisterMark) (is RegisterMark, changes []RegisterChange, err error) {
	r := a.register
	r.mu.Lock()
	defer r.mu.Unlock()
	file, err := OpenRegular(r.path, maxRegister)
	if err != nil {
		return is, nil, fmt.Errorf("certs: register: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := r.take(file); err != nil {
		return is, nil, err
	}
	is.Length = uint64(r.read) //nolint:gosec // a length.
	copy(is.Digest[:], r.sum.Sum(nil))
	if known.Length > is.Length {
		return is, nil, fmt.Errorf("%w: %s has %d bytes, and had %d", ErrRegister, r.path, is.Length, known.Length)
	}
	if known != r.seen {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(file, 0, int64(known.Length))); err != nil { //nolint:gosec // no more than r.read.
			return is, nil, fmt.Errorf("certs: register: %w", err)
		}
		if known.Length > 0 && !bytes.Equal(sum.Sum(nil)[:len(known.Digest)], known.Digest[:]) {
			return is, nil, fmt.Errorf("%w: the first %d bytes of %s are not what they were", ErrRegister, known.Length, r.path)
		}
	}
	text := make([]byte, is.Length-known.Length)
	if _, err := file.ReadAt(text, int64(known.Length)); err != nil && !errors.Is(err, io.EOF) { //nolint:gosec // likewise.
		return is, nil, fmt.Errorf("certs: register: %w", err)
	}
	for line := range bytes.Lines(text) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return is, nil, fmt.Errorf("certs: register %s: %w; put its copy back", r.path, err)
		}
		changes = append(changes, e.change())
	}
	r.seen = is
	return is, changes, nil
}

// Who writes into the register without anybody's asking: the holder of a code, and the
// switch for itself.
const (
	ByCode    = "code"
	BySwitch  = "switch"
	byRenewal = "renewal of "
	// ByLoan stands before the name of the user who is lent a certificate.
	ByLoan = "lent to "
)

func (e *event) change() RegisterChange {
	c := RegisterChange{Outside: e.Act == "" && e.Event != eventUsed && e.By != ByCode && e.By != BySwitch && !strings.HasPrefix(e.By, byRenewal)}
	c.Lent = c.Outside && e.Event == eventIssued && strings.HasPrefix(e.By, ByLoan)
	switch e.Event {
	case eventIssued:
		c.What = fmt.Sprintf("issued %s to %v", e.Serial, e.Identity)
	case eventRevoked:
		c.What = "revoked " + e.Serial
	case eventCode:
		c.What = fmt.Sprintf("code for %v", e.Identity)
	default:
		return RegisterChange{What: "code used"}
	}
	c.What += " by " + e.By
	return c
}

// RequestKey is the SHA-256 of the public key (SPKI) in a certificate signing request, as
// PEM, that asks for a certificate of who: that it is signed by the key was looked at.
func RequestKey(request []byte, who Identity) (sum [32]byte, err error) {
	public, err := requestedKey(request, who)
	if err != nil {
		return sum, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return sum, fmt.Errorf("certs: certificate signing request: %w", err)
	}
	return sha256.Sum256(der), nil
}

// RequestOf is a certificate signing request of the key in a file, both as PEM.
func RequestOf(path string) ([]byte, error) {
	private, err := readKey(path, nil)
	if err != nil {
		return nil, err
	}
	return requestOf(private)
}
