package bench

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// The acquirer whose host, or whose terminals, share keys with the switch, beside the one
// that shares none: one process serves both, so that their ratio is of the same minutes.
const (
	signedAcquirer points.AcquirerID = 20000002
	signedMerchant                   = "SIGNED"
	signedListener                   = "signed"
)

// signedPlace is the entry of its listener in a configuration.
func signedPlace(dialect string) string {
	return "  - name: " + signedListener + "\n    address: \"127.0.0.1:0\"\n    dialect: " + dialect + "\n"
}

// signedZone is what the keys are shared under.
func signedZone() certs.Zone {
	return certs.Zone{Role: certs.RoleAcquirer, ID: uint64(signedAcquirer)}
}

// signedEntries are the acquirer, its merchant and as many terminals, whose messages are
// authenticated by a MAC.
func signedEntries(terminals int, by book.MAC) ([]book.Entry, error) {
	merchant, err := points.ParseMerchantID(signedMerchant)
	entries := []book.Entry{
		{Acquirer: &book.Acquirer{ID: signedAcquirer, Name: "Signed", Status: book.Active}},
		{Merchant: &book.Merchant{ID: merchant, Acquirer: signedAcquirer, Name: "Signed", Status: book.Active, Programs: []points.ProgramID{worldProgram}}},
	}
	for conn := range terminals {
		id, terminalErr := signedTerminal(conn)
		err = errors.Join(err, terminalErr)
		entries = append(entries, book.Entry{Terminal: &book.Terminal{ID: id, Merchant: merchant, Status: book.Active, MAC: by}})
	}
	return entries, err
}

// signedTerminal is the terminal of a connection.
func signedTerminal(conn int) (points.TerminalID, error) {
	return points.ParseTerminalID(fmt.Sprintf("H%07d", conn))
}

// terminalKeys are the master key, the set and the working keys' algorithm of terminals
// whose MACs are made by.
func terminalKeys(by book.MAC) (master certs.Algorithm, set certs.KeySet, network uint16, mac certs.MACAlgorithm) {
	switch by {
	case book.MACByXOR:
		return certs.TDES, certs.KeySet003, 3, certs.XORMAC
	case book.MACByHMAC:
		return certs.AES256, certs.KeySetHMAC, dialect.SignOnHMAC, certs.HMAC
	default:
	}
	return certs.AES128, certs.KeySetAES128, dialect.SignOnAES128, certs.CMAC
}

// makeKeys makes a keystore in dir with what a switch needs, the keys of an exchange with
// the acquirer's host, and the master keys of so many terminals.
func makeKeys(dir string, terminals int, by book.MAC, now points.Timestamp) error {
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
	merchant, err := points.ParseMerchantID(signedMerchant)
	if err != nil {
		return err
	}
	return store.Update(func(c *certs.Changes) error {
		var errs []error
		zoneKey, _, _ := hostKeys(by)
		wanted := []certs.NewKey{
			{Name: "working", Usage: certs.WorkingDerivation, Algorithm: certs.AES256, From: now},
			{Name: "pin-verification", Usage: certs.PINVerification, Algorithm: certs.AES256, From: now},
			{Name: signedZone().Master(), Usage: certs.ZoneMaster, Algorithm: certs.AES256, From: now},
			{Name: signedZone().MAC(), Usage: certs.ZoneMAC, Algorithm: zoneKey, From: now},
		}
		algorithm, _, _, _ := terminalKeys(by)
		for conn := range terminals {
			id, err := signedTerminal(conn)
			errs = append(errs, err)
			wanted = append(wanted, certs.NewKey{Name: certs.TerminalMasterName(merchant, id), Usage: certs.TerminalMaster, Algorithm: algorithm, From: now})
		}
		for _, want := range wanted {
			_, err := c.Generate(want)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

func openKeys(dir string) (*certs.Keystore, error) {
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek.key"), rand.Reader)
	if err != nil {
		return nil, err
	}
	return certs.OpenKeystore(filepath.Join(dir, config.Default().Keys.File), kek, rand.Reader)
}

// hostKeys are the key for MACs of the acquirer's host, what it makes them by, and how the
// switch is told. Hosts have no MAC of terminals of DES: they make AES-CMAC beside it.
func hostKeys(by book.MAC) (certs.Algorithm, certs.MACAlgorithm, config.PartnerKeys) {
	if by == book.MACByHMAC {
		return certs.HMACSHA256, certs.HMAC, config.KeysHMAC
	}
	return certs.AES128, certs.CMAC, config.KeysCMAC
}

// hostMAC is the key for MACs of the acquirer's host.
func hostMAC(store *certs.Keystore, by book.MAC, now points.Timestamp) (*certs.MAC, error) {
	key, err := store.Use(signedZone().MAC(), certs.ZoneMAC, now)
	if err != nil {
		return nil, err
	}
	_, algorithm, _ := hostKeys(by)
	return certs.NewMAC(key, algorithm)
}

// signOn has the terminal of a connection sign on, and returns the key for its MACs.
func signOn(conn net.Conn, spoken *dialect.Dialect, number int, by book.MAC, store *certs.Keystore, now points.Timestamp) (*certs.MAC, error) {
	_, set, network, algorithm := terminalKeys(by)
	req := points.Request{Function: points.SignOn, STAN: 1, Batch: 1, NetworkCode: network, Operator: [3]byte{'0', '0', '1'}}
	if err := sign(&req, spoken, number); err != nil {
		return nil, err
	}
	req.Unmark(64)
	frame, err := spoken.AppendRequest(make([]byte, 2), &req)
	if err != nil {
		return nil, fmt.Errorf("bench: sign on: %w", err)
	}
	binary.BigEndian.PutUint16(frame, uint16(len(frame)-2)) //nolint:gosec // at most dialect.MaxFrame.
	if _, err := conn.Write(frame); err != nil {
		return nil, fmt.Errorf("bench: sign on: %w", err)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("bench: sign on: %w", err)
	}
	answer := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, fmt.Errorf("bench: sign on: %w", err)
	}
	var echoed points.Request
	var resp points.Response
	if err := spoken.DecodeResponse(answer, &echoed, &resp); err != nil {
		return nil, fmt.Errorf("bench: sign on: %w", err)
	}
	if !resp.Reason.Approved() {
		return nil, fmt.Errorf("bench: the sign-on of terminal %v was refused: %v", req.Terminal, resp.Reason)
	}
	master, err := store.Use(certs.TerminalMasterName(req.Merchant, req.Terminal), certs.TerminalMaster, now)
	if err != nil {
		return nil, err
	}
	keys, err := certs.OpenWorkingKeys(set, []byte(resp.List), master, req.Merchant, req.Terminal)
	if err != nil {
		return nil, err
	}
	return certs.NewMAC(keys.MAC, algorithm)
}

// sign makes req one of the acquirer's that shares keys, in the name of a terminal.
func sign(req *points.Request, spoken *dialect.Dialect, conn int) (err error) {
	if spokenByPartners(spoken) {
		req.Acquirer = signedAcquirer
	}
	req.Mark(64)
	if req.Terminal, err = signedTerminal(conn); err != nil {
		return err
	}
	req.Merchant, err = points.ParseMerchantID(signedMerchant)
	return err
}

// macSize is the length of a MAC at the end of a frame with a raw bitmap.
const macSize = certs.MACBytes

// errForged says that the MAC of an answer is wrong.
var errForged = errors.New("the MAC of an answer is wrong")
