package certs

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// States of a certificate.
const (
	StateValid   = "valid"
	StateExpired = "expired"
	StateRevoked = "revoked"
)

// Listed is a certificate as the register knows it.
type Listed struct {
	Serial   string    `json:"serial"`
	Identity Identity  `json:"identity"`
	Names    []string  `json:"names,omitempty"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	DaysLeft float64   `json:"days_left"` // 0 once it is over or revoked
	State    string    `json:"state"`
	By       string    `json:"by,omitempty"` // who had it issued
	Revoked  time.Time `json:"revoked,omitzero"`
	Reason   string    `json:"reason,omitempty"`
}

// List tells of all certificates, in the order of issue.
func (a *Authority) List() ([]Listed, error) {
	if err := a.register.refresh(); err != nil {
		return nil, err
	}
	now := a.clock().Time()
	list := []Listed{}
	for _, cert := range a.register.all() {
		l := Listed{
			Serial: cert.serial, Identity: cert.identity, Names: cert.names, From: cert.from, Until: cert.until,
			State: StateValid, By: cert.by, Revoked: cert.revoked, Reason: cert.reason,
		}
		switch {
		case !cert.revoked.IsZero():
			l.State = StateRevoked
		case !now.Before(cert.until):
			l.State = StateExpired
		default:
			l.DaysLeft = days(cert.until.Sub(now))
		}
		list = append(list, l)
	}
	return list, nil
}

// days is a time in days, to a hundredth.
func days(d time.Duration) float64 {
	return float64(d/(24*time.Hour/100)) / 100
}

// Expiry is how long a certificate of the house's own lasts.
type Expiry struct {
	Certificate string    `json:"certificate"` // own, issuing or root
	Until       time.Time `json:"until"`
	DaysLeft    float64   `json:"days_left"` // below 0: it is over
}

// RootKey is the path of the sealed key of the root where it still lies in the folder; empty:
// it does not.
func (a *Authority) RootKey() string {
	path := filepath.Join(a.dir, rootKeyFile)
	if _, err := os.Lstat(path); err != nil {
		return ""
	}
	return path
}

// ExportRootKey writes the sealed key of the root into a new file elsewhere, and, where
// remove says so, takes it out of the folder once the copy is known to be whole.
func (a *Authority) ExportRootKey(to string, remove bool) error {
	from := filepath.Join(a.dir, rootKeyFile)
	sealed, err := readPrivate(from)
	if err != nil {
		return err
	}
	if err := create(to, sealed, 0o600); err != nil {
		return err
	}
	copied, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(copied, sealed) {
		return errors.Join(fmt.Errorf("certs: the copy %s is not what was written; %s stays", to, from), err)
	}
	if !remove {
		return nil
	}
	if err := os.Remove(from); err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	return syncFolder(a.dir)
}

func pemDecode(text []byte, kind string) (der, rest []byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == kind {
			return block.Bytes, rest
		}
	}
	return nil, text
}

func pemEncode(out *bytes.Buffer, kind string, der []byte) {
	_ = pem.Encode(out, &pem.Block{Type: kind, Bytes: der}) // A buffer takes everything.
}
