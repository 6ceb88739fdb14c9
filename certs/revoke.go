package certs

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"time"
)

// Revocation says what is no longer to be let in.
type Revocation struct {
	Serial   string   // one certificate, or
	Identity Identity // all that this one has
	Reason   string
	By       string
	AtDoor   bool // of a switch that serves, which writes its journal
}

// Revoke takes back certificates, durably, and returns their serials. That there is
// none to take back is an error. The list of revoked certificates ([Authority.CRL]) is
// written anew.
func (a *Authority) Revoke(r Revocation) ([]string, error) {
	var serials []string
	serial, act := strings.ToLower(r.Serial), ""
	if r.AtDoor {
		act = actAtDoor
	}
	err := a.register.write(func() (events []event, err error) {
		now := a.clock().Time().UTC()
		known := false
		for _, cert := range a.register.order {
			if cert.serial != serial && (r.Identity.Role == 0 || cert.identity != r.Identity) {
				continue
			}
			known = true
			if !cert.revoked.IsZero() || (serial == "" && !now.Before(cert.until)) {
				continue
			}
			serials = append(serials, cert.serial)
			events = append(events, event{At: now, Event: eventRevoked, By: r.By, Act: act, Serial: cert.serial, Reason: r.Reason})
		}
		switch {
		case len(events) > 0:
			return events, nil
		case known:
			return nil, errors.New("certs: nothing to revoke: it is revoked already, or over")
		case serial != "":
			return nil, fmt.Errorf("certs: no certificate with serial %q was issued here; see: lianfen certs list", r.Serial)
		}
		return nil, fmt.Errorf("certs: no certificate of %v was issued here; see: lianfen certs list", r.Identity)
	})
	if err != nil || !a.CanIssue() {
		return serials, err
	}
	return serials, a.WriteCRL()
}

// crlLifetime is how long a list of revoked certificates may be used. Our own doors
// read the register and need none.
const crlLifetime = 7 * 24 * time.Hour

// CRL is the list of the revoked certificates that the present issuing CA has signed
// (RFC 5280), as DER, for others. A certificate that is over is left out.
func (a *Authority) CRL() ([]byte, error) {
	issuing, err := a.signing()
	if err != nil {
		return nil, err
	}
	if err := a.register.refresh(); err != nil {
		return nil, err
	}
	now := a.clock().Time().UTC()
	list := &x509.RevocationList{
		// Milliseconds grow with every list, whoever writes it.
		Number: big.NewInt(now.UnixMilli()), ThisUpdate: now, NextUpdate: now.Add(crlLifetime),
	}
	ca := serialText(issuing.SerialNumber)
	for _, cert := range a.register.all() {
		if cert.revoked.IsZero() || cert.ca != ca || !now.Before(cert.until) {
			continue
		}
		serial, ok := new(big.Int).SetString(cert.serial, 16)
		if !ok {
			return nil, fmt.Errorf("certs: register: serial %q", cert.serial)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: cert.revoked})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, issuing.Certificate, issuing.key)
	if err != nil {
		return nil, fmt.Errorf("certs: list of revoked certificates: %w", err)
	}
	return der, nil
}

// WriteCRL writes that list into the folder, as PEM.
func (a *Authority) WriteCRL() error {
	der, err := a.CRL()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	pemEncode(&out, pemRevocations, der)
	return replace(filepath.Join(a.dir, crlFile), out.Bytes(), 0o644)
}
