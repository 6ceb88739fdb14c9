package certs

import (
	"bytes"
	"crypto/des" //nolint:gosec // the installed terminals' cipher.
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	"github.com/lianfen/lianfen/points"
)

// KeySet is which working keys a terminal is given at sign-on, and how they are
// written into DE62.
type KeySet uint8

// Key sets; the first three are named by 60.3 of the UnionPay POS sign-on.
const (
	// KeySet001 is a PIN key and a MAC key of single DES: 24 bytes.
	KeySet001 KeySet = iota + 1
	// KeySet003 is a double-length PIN key and a MAC key of single DES: 40 bytes.
	KeySet003
	// KeySet004 is KeySet003 and a double-length key for track data: 60 bytes.
	KeySet004
	// KeySetAES128 is the three as AES-128 in key blocks: 336 characters.
	KeySetAES128
	// KeySetAES256 is the three as AES-256 in key blocks: 432 characters.
	KeySetAES256
	// KeySetHMAC is KeySetAES256 with a MAC key for HMAC-SHA-256: 448 characters.
	KeySetHMAC
)

var keySetNames = [...]string{
	KeySet001: "001", KeySet003: "003", KeySet004: "004", KeySetAES128: "aes-128", KeySetAES256: "aes-256", KeySetHMAC: "hmac-sha256",
}

// String is the word for the set: where 60.3 names it, that.
func (s KeySet) String() string { return wordOf(keySetNames[:], uint8(s), "set") }

// ParseKeySet reads the word for a set of keys.
func ParseKeySet(word string) (KeySet, error) {
	n, err := parseWord(keySetNames[:], word, "set of working keys")
	return KeySet(n), err
}

// MAC is what messages are authenticated by under the set's MAC key; of single DES that is
// the UnionPay POS MAC.
func (s KeySet) MAC() MACAlgorithm {
	switch s.algorithms()[1] {
	case AES128, AES256:
		return CMAC
	case HMACSHA256:
		return HMAC
	default:
		return XORMAC
	}
}

// algorithms are those of the PIN key, the MAC key and the track key; 0 is no key.
func (s KeySet) algorithms() [3]Algorithm {
	switch s {
	case KeySet001:
		return [3]Algorithm{DES, DES, 0}
	case KeySet003:
		return [3]Algorithm{TDES, DES, 0}
	case KeySet004:
		return [3]Algorithm{TDES, DES, TDES}
	case KeySetAES128:
		return [3]Algorithm{AES128, AES128, AES128}
	case KeySetAES256:
		return [3]Algorithm{AES256, AES256, AES256}
	case KeySetHMAC:
		return [3]Algorithm{AES256, HMACSHA256, AES256}
	default:
		return [3]Algorithm{}
	}
}

// workingUsages are what the keys of a set are for, in the order in which DE62 has them.
var workingUsages = [3]Usage{PINWorking, MACWorking, TrackWorking}

// WorkingKeys are the keys of one terminal from one sign-on to the next. They follow
// from a key of the keystore, the terminal and the generation: the journal keeps the
// generation, which is no secret, and a restart knows the keys again.
type WorkingKeys struct {
	PIN   *Key
	MAC   *Key
	Track *Key // nil where the set has none
	set   KeySet
	pad   hidden[[]byte] // what fills key blocks: the same wherever the keys are
}

// workingDomain keeps these keys apart from all else that the key might derive.
const workingDomain = "lianfen working key 1\x00"

// DeriveWorkingKeys derives the keys that terminal has after its sign-on number
// generation, which never comes back: a position of the journal serves. The key base
// is for working-derivation.
func DeriveWorkingKeys(base *Key, set KeySet, merchant points.MerchantID, terminal points.TerminalID, generation uint64) (*WorkingKeys, error) {
	plain, err := base.open(WorkingDerivation)
	if err != nil {
		return nil, err
	}
	algorithms := set.algorithms()
	if algorithms[0] == 0 {
		return nil, fmt.Errorf("working keys: %v is not known", set)
	}
	derive := func(purpose byte, n int) ([]byte, error) {
		info := append([]byte(workingDomain), purpose, byte(set))
		info = append(info, merchant[:]...)
		info = append(info, terminal[:]...)
		info = binary.BigEndian.AppendUint64(info, generation)
		return hkdf.Expand(sha256.New, plain, string(info), n)
	}
	w := &WorkingKeys{set: set}
	for i, into := range []**Key{&w.PIN, &w.MAC, &w.Track} {
		if algorithms[i] == 0 {
			continue
		}
		key, err := derive(byte(workingUsages[i]), algorithms[i].size())
		if err != nil {
			return nil, fmt.Errorf("working keys: derive: %w", err)
		}
		if algorithms[i].des() {
			oddParity(key)
		}
		*into, err = newKey(workingInfo(workingUsages[i], algorithms[i], merchant, terminal), key)
		wipe(key)
		if err != nil {
			return nil, fmt.Errorf("working keys: %w", err)
		}
	}
	pad, err := derive(0, 3*aesPad)
	if err != nil {
		return nil, fmt.Errorf("working keys: derive: %w", err)
	}
	w.pad = hide(pad)
	return w, nil
}

// aesPad is how much fills the key block of an AES key.
const aesPad = 14

func workingInfo(usage Usage, algorithm Algorithm, merchant points.MerchantID, terminal points.TerminalID) KeyInfo {
	return KeyInfo{
		Name: usage.String() + TerminalMasterName(merchant, terminal)[len("tmk"):], Version: 1, Usage: usage, Algorithm: algorithm, State: KeyActive,
	}
}

// Set is which keys these are.
func (w *WorkingKeys) Set() KeySet { return w.set }

// Format writes what may be told of the keys, for every verb.
func (w *WorkingKeys) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "set %v: %v, %v, %v", w.set, w.PIN, w.MAC, w.Track)
}

// desCheckBytes is the length of a check value in DE62.
const desCheckBytes = 4

// AppendWrapped appends the keys as DE62 has them, under the terminal's master key. The
// same keys give the same bytes, so that a sign-on that is repeated is answered alike.
func (w *WorkingKeys) AppendWrapped(dst []byte, master *Key) ([]byte, error) {
	keys := []*Key{w.PIN, w.MAC}
	if w.Track != nil {
		keys = append(keys, w.Track)
	}
	if !w.PIN.Algorithm.des() {
		if _, err := master.open(TerminalMaster); err != nil {
			return nil, err
		}
		pad := bytes.NewReader(w.pad())
		for _, key := range keys {
			var err error
			if dst, err = AppendKeyBlock(dst, key, master, pad); err != nil {
				return nil, err
			}
		}
		return dst, nil
	}
	block, err := master.block(TerminalMaster)
	if err != nil {
		return nil, err
	}
	if master.Algorithm != TDES {
		return nil, fmt.Errorf("%w: %v is of %v; keys of set %v are wrapped under %v", ErrKeyUse, master, master.Algorithm, w.set, TDES)
	}
	for _, key := range keys {
		plain, err := key.open(key.Usage)
		if err != nil {
			return nil, err
		}
		var part [16]byte
		for i := 0; i < len(plain); i += des.BlockSize {
			block.Encrypt(part[i:], plain[i:])
		}
		n := len(plain)
		if key == w.MAC && w.set != KeySet001 {
			n = len(part) // Its second half is eight zeros, not enciphered.
		}
		dst = append(dst, part[:n]...)
		check, err := desCheck(key.Algorithm, plain)
		if err != nil {
			return nil, err
		}
		dst = append(dst, check[:]...)
	}
	return dst, nil
}

// desCheck is the check value as DE62 has it, a byte longer than [CheckValue].
func desCheck(algorithm Algorithm, plain []byte) ([desCheckBytes]byte, error) {
	block, err := newBlock(algorithm, plain)
	if err != nil {
		return [desCheckBytes]byte{}, err
	}
	var zeros [des.BlockSize]byte
	block.Encrypt(zeros[:], zeros[:])
	return [desCheckBytes]byte(zeros[:]), nil
}

// OpenWorkingKeys opens the keys that DE62 of a sign-on's answer holds: what a terminal
// does. Its error says which key's check value does not fit.
func OpenWorkingKeys(set KeySet, wrapped []byte, master *Key, merchant points.MerchantID, terminal points.TerminalID) (*WorkingKeys, error) {
	algorithms := set.algorithms()
	if algorithms[0] == 0 {
		return nil, fmt.Errorf("working keys: %v is not known", set)
	}
	w := &WorkingKeys{set: set, pad: hide(make([]byte, 3*aesPad))}
	for i, into := range []**Key{&w.PIN, &w.MAC, &w.Track} {
		if algorithms[i] == 0 {
			continue
		}
		info := workingInfo(workingUsages[i], algorithms[i], merchant, terminal)
		open := openWrappedDES
		if !algorithms[i].des() {
			open = openWrappedBlock
		}
		key, rest, err := open(info, set, wrapped, master)
		if err != nil {
			return nil, fmt.Errorf("working keys: %s: %w", info.Name, err)
		}
		*into, wrapped = key, rest
	}
	if len(wrapped) > 0 {
		return nil, fmt.Errorf("working keys: %d bytes follow the keys of set %v", len(wrapped), set)
	}
	return w, nil
}

func openWrappedBlock(info KeyInfo, _ KeySet, wrapped []byte, master *Key) (*Key, []byte, error) {
	if len(wrapped) < keyBlockHead {
		return nil, nil, io.ErrUnexpectedEOF
	}
	n, err := strconv.ParseUint(string(wrapped[1:5]), 10, 16)
	if err != nil || n > uint64(len(wrapped)) {
		return nil, nil, refused("it says that it has %q characters, and %d are there", wrapped[1:5], len(wrapped))
	}
	imported, err := OpenKeyBlock(wrapped[:n], master)
	if err != nil {
		return nil, nil, err
	}
	if looseUsage(imported.usage) != looseUsage(info.Usage) || imported.algorithm != info.Algorithm {
		return nil, nil, refused("it holds a key for %v of %v", imported.usage, imported.algorithm)
	}
	key, err := newKey(info, imported.secret())
	return key, wrapped[n:], err
}

func openWrappedDES(info KeyInfo, set KeySet, wrapped []byte, master *Key) (*Key, []byte, error) {
	block, err := master.block(TerminalMaster)
	if err != nil {
		return nil, nil, err
	}
	if master.Algorithm != TDES {
		return nil, nil, fmt.Errorf("%w: %v is of %v; keys of set %v are wrapped under %v", ErrKeyUse, master, master.Algorithm, set, TDES)
	}
	n := info.Algorithm.size()
	end := n
	if info.Usage == MACWorking && set != KeySet001 {
		end = 2 * n
	}
	if len(wrapped) < end+desCheckBytes {
		return nil, nil, io.ErrUnexpectedEOF
	}
	var plain [16]byte
	defer wipe(plain[:])
	for i := 0; i < n; i += des.BlockSize {
		block.Decrypt(plain[i:], wrapped[i:])
	}
	check, err := desCheck(info.Algorithm, plain[:n])
	if err != nil {
		return nil, nil, err
	}
	if subtle.ConstantTimeCompare(check[:], wrapped[end:end+desCheckBytes]) != 1 {
		return nil, nil, fmt.Errorf("its check value does not fit; is %v the terminal's master key?", master)
	}
	key, err := newKey(info, plain[:n])
	return key, wrapped[end+desCheckBytes:], err
}
