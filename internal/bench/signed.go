package bench

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// The acquirer whose host shares keys with the switch, beside the one that shares none:
// one process serves both, so that their ratio is of the same minutes.
const (
	signedAcquirer points.AcquirerID = 20000002
	signedMerchant                   = "SIGNED"
	signedListener                   = "signed"
)

// signedPlace is the entry of its listener in a configuration.
const signedPlace = "  - name: " + signedListener + "\n    address: \"127.0.0.1:0\"\n    dialect: host\n"

// signedZone is what the keys are shared under.
func signedZone() certs.Zone {
	return certs.Zone{Role: certs.RoleAcquirer, ID: uint64(signedAcquirer)}
}

// signedEntries are the acquirer and its merchant.
func signedEntries() ([]book.Entry, error) {
	merchant, err := points.ParseMerchantID(signedMerchant)
	return []book.Entry{
		{Acquirer: &book.Acquirer{ID: signedAcquirer, Name: "Signed", Status: book.Active}},
		{Merchant: &book.Merchant{ID: merchant, Acquirer: signedAcquirer, Name: "Signed", Status: book.Active, Programs: []points.ProgramID{worldProgram}}},
	}, err
}

// makeKeys makes a keystore in dir with what a switch needs and the keys of an exchange
// with the acquirer's host.
func makeKeys(dir string, now points.Timestamp) error {
	defaults := config.Default().Keys
	if err := certs.WriteKEK(filepath.Join(dir, "kek.key"), rand.Reader); err != nil {
		return err
	}
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek.key"), rand.Reader)
	if err != nil {
		return err
	}
	store, err := certs.CreateKeystore(filepath.Join(dir, defaults.File), kek, rand.Reader)
	if err != nil {
		return err
	}
	return store.Update(func(c *certs.Changes) error {
		var errs []error
		for _, want := range []certs.NewKey{
			{Name: "working", Usage: certs.WorkingDerivation, Algorithm: certs.AES256, From: now},
			{Name: "pin-verification", Usage: certs.PINVerification, Algorithm: certs.AES256, From: now},
			{Name: signedZone().Master(), Usage: certs.ZoneMaster, Algorithm: certs.AES256, From: now},
			{Name: signedZone().MAC(), Usage: certs.ZoneMAC, Algorithm: certs.AES128, From: now},
		} {
			_, err := c.Generate(want)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// readMAC reads the key for MACs from the keystore in dir.
func readMAC(dir string, now points.Timestamp) (*certs.MAC, error) {
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek.key"), rand.Reader)
	if err != nil {
		return nil, err
	}
	store, err := certs.OpenKeystore(filepath.Join(dir, config.Default().Keys.File), kek, rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := store.Use(signedZone().MAC(), certs.ZoneMAC, now)
	if err != nil {
		return nil, err
	}
	return certs.NewMAC(key, certs.CMAC)
}

// sign makes req one of the acquirer's that shares keys, in the terminal's name of a host.
func sign(req *points.Request, conn int) (err error) {
	req.Acquirer = signedAcquirer
	req.Mark(64)
	if req.Terminal, err = points.ParseTerminalID(fmt.Sprintf("H%07d", conn)); err != nil {
		return err
	}
	req.Merchant, err = points.ParseMerchantID(signedMerchant)
	return err
}

// macSize is the length of a MAC at the end of a frame with a raw bitmap.
const macSize = certs.MACBytes

// errForged says that the MAC of an answer is wrong.
var errForged = errors.New("the MAC of an answer is wrong")
