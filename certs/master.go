package certs

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// The master key of a terminal is put into it by hand, once. The next one can come over
// the line: it is made ready, the terminal fetches it under the one that it has, and it is
// in force when the terminal has shown that it has it.
//
//	          Offer                   proved, in the journal          Take
//	in force ───────> one on offer ──────────────────────────> over ───────> over, in the file too
//	                  │ Retire                                 the next one in force
//	                  └───────> as before
//
// What a terminal has proved is the ledger's to remember: no version before it is used
// again, and the file may follow later.

// Offer draws the next version of a terminal's master key. It is on offer: nothing is done
// with it but to hand it to the terminal, until that has proved that it has it.
func (c *Changes) Offer(name string) (*Key, error) {
	last, err := c.Key(name, 0)
	if err != nil {
		return nil, err
	}
	if last.Usage != TerminalMaster || !strings.HasPrefix(name, "tmk/") {
		return nil, fmt.Errorf("keystore: %v is for %v; the next master key of a terminal (tmk/MERCHANT/TERMINAL) can be on offer, and no other", last, last.Usage)
	}
	return c.Rotate(name, onOffer)
}

// Take puts a key that was on offer in force from a time on, and ends the versions before
// it: its terminal has proved that it has it.
func (c *Changes) Take(name string, version uint32, from points.Timestamp) (*Key, error) {
	key, err := c.Key(name, version)
	if err != nil {
		return nil, err
	}
	if !key.OnOffer() || key.Usage != TerminalMaster || key.State != KeyActive {
		return nil, fmt.Errorf("keystore: %v is not on offer", key)
	}
	versions := slices.Clone(c.ring.keys[name])
	taken := *key
	for i, other := range versions {
		ended := *other
		switch {
		case other == key:
			taken.From = max(from, points.Timestamp(1))
			versions[i] = &taken
		case other.Version < key.Version && other.State == KeyActive && (other.Until == 0 || other.Until > from):
			ended.Until = from
			versions[i] = &ended
		}
	}
	c.ring.keys[name] = versions
	return &taken, nil
}

// MastersOnOffer are the master keys that wait for their terminals to take them, by name.
func (s *Keystore) MastersOnOffer() (all []*Key) {
	for _, versions := range s.keys.Load().keys { // in any order: they are sorted below
		if last := versions[len(versions)-1]; last.onOfferTo() {
			all = append(all, last)
		}
	}
	slices.SortFunc(all, func(a, b *Key) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (k *Key) onOfferTo() bool {
	return k.Usage == TerminalMaster && k.State == KeyActive && k.OnOffer()
}

// Master returns the master key of a terminal that is in force at now, and the one that is
// on offer to it, nil where there is none. The terminal has proved that it has version
// proved, 0 if none: no older one is in force, and that one is, though the file may not
// say so yet.
func (s *Keystore) Master(merchant points.MerchantID, terminal points.TerminalID, proved uint32, now points.Timestamp) (current, offered *Key, err error) {
	name := TerminalMasterName(merchant, terminal)
	versions := s.keys.Load().keys[name]
	if len(versions) == 0 {
		return nil, nil, fmt.Errorf("%w: %q", ErrNoKey, name)
	}
	var why error
	for _, key := range slices.Backward(versions) {
		switch {
		case key.Usage != TerminalMaster:
			return nil, nil, fmt.Errorf("%w: %v is for %v, not for %v", ErrKeyUse, key, key.Usage, TerminalMaster)
		case key.Version < proved:
			if why == nil {
				why = fmt.Errorf("%w: the terminal has proved version %d of %s, which is not there", ErrNoKey, proved, name)
			}
			return nil, offered, why
		case key.onOfferTo() && key.Version > proved:
			if offered == nil {
				offered = key
			}
			continue
		}
		at := now
		if key.Version == proved {
			at = max(at, key.From)
		}
		err := key.InForce(at, false)
		if err == nil {
			return key, offered, nil
		}
		if why == nil {
			why = err
		}
	}
	if why == nil {
		why = fmt.Errorf("%w: %s has none in force", ErrNoKey, name)
	}
	return nil, offered, why
}

// masterPad fills the key block of a master key, and no other: so that who asks twice gets
// the same bytes, and nobody learns more than who can open the block.
const masterPad = "lianfen master key block 1\x00"

// AppendMasterBlock appends next, a master key of a terminal, as a key block under the
// master key that the terminal has. The same keys give the same bytes.
func AppendMasterBlock(dst []byte, next, under *Key) ([]byte, error) {
	plain, err := next.open(TerminalMaster)
	if err != nil {
		return nil, err
	}
	if _, err := under.open(TerminalMaster); err != nil {
		return nil, err
	}
	pad, err := hkdf.Expand(sha256.New, plain, masterPad, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("%v: fill its block: %w", next, err)
	}
	defer wipe(pad)
	return AppendKeyBlock(dst, next, under, bytes.NewReader(pad))
}

// OpenMasterBlock opens the key block of the next master key, that came under the one which
// the terminal has: what a terminal does.
func OpenMasterBlock(block []byte, under *Key) (*Key, error) {
	if _, err := under.open(TerminalMaster); err != nil {
		return nil, err
	}
	imported, err := OpenKeyBlock(block, under)
	if err != nil {
		return nil, err
	}
	if looseUsage(imported.usage) != looseUsage(TerminalMaster) || imported.algorithm != under.Algorithm {
		return nil, refused("it holds a key for %v of %v", imported.usage, imported.algorithm)
	}
	info := KeyInfo{Name: under.Name, Version: under.Version + 1, Usage: TerminalMaster, Algorithm: imported.algorithm, State: KeyActive}
	next, err := newKey(info, imported.secret())
	if err != nil {
		return nil, err
	}
	if next.Same(under) {
		return nil, errors.New("it holds the key that it came under")
	}
	return next, nil
}

// proofUse is what the key is derived for by which a terminal proves that it has a master
// key; X9.143 derives those for key blocks the same way, for 0 and 1.
const proofUse = 0x4C46

// NewProof makes ready what a sign-on is authenticated by that proves a terminal's master
// key: CMAC where that is of AES, else X9.19, under a key derived from it for this alone.
func NewProof(master *Key) (*MAC, error) {
	block, err := master.block(TerminalMaster)
	if err != nil {
		return nil, err
	}
	by := CMAC
	if master.Algorithm.des() {
		by = RetailMAC
	}
	derived := deriveUnder(block, master.Algorithm, proofUse)
	defer wipe(derived)
	key, err := newKey(KeyInfo{Name: "proof/" + master.Name, Version: master.Version, Usage: MACWorking, Algorithm: master.Algorithm, State: KeyActive}, derived)
	if err != nil {
		return nil, err
	}
	return NewMAC(key, by)
}

// deriveUnder derives a key of the algorithm that the key is of which block is expanded
// from, for a use (X9.143 6.3: CMACs of a counter, the use, the algorithm and the length).
func deriveUnder(block cipher.Block, algorithm Algorithm, use uint16) (derived []byte) {
	code, bits := uint16(2), uint16(128)
	switch algorithm {
	case TDES:
		code = 0
	case AES256:
		code, bits = 4, 256
	default:
	}
	for counter := byte(1); len(derived) < int(bits/8); counter++ {
		data := binary.BigEndian.AppendUint16([]byte{counter}, use)
		data = append(data, 0)
		data = binary.BigEndian.AppendUint16(data, code)
		data = binary.BigEndian.AppendUint16(data, bits)
		sum := cmacOf(block, data)
		derived = append(derived, sum[:block.BlockSize()]...)
	}
	return derived
}
