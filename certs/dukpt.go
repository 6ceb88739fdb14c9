package certs

import (
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
)

// KSN is a key serial number (ANSI X9.24-3): which base key and which terminal, 8 bytes,
// and how often that terminal has used a key, 4 bytes. It comes with the message, and
// whoever accepts a message keeps the last one and takes only greater ones.
type KSN [12]byte

// maxCounterBits is the most ones that a counter has; a terminal passes over the rest.
const maxCounterBits = 16

// ParseKSN reads 24 hexadecimal digits.
func ParseKSN(text string) (ksn KSN, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(ksn) {
		return KSN{}, points.Errorf(points.FormatError, "certs: a key serial number has %d hexadecimal digits", 2*len(ksn))
	}
	ksn = KSN(b)
	return ksn, ksn.check()
}

// Valid refuses a number that no terminal sends: its counter is zero, or has too many
// ones, which a terminal that is used up would have to send.
func (k KSN) Valid() error { return k.check() }

func (k KSN) check() error {
	if n := bits.OnesCount32(k.Counter()); n == 0 || n > maxCounterBits {
		return points.Errorf(points.FormatError, "certs: key serial number %v: its counter has %d ones; want 1 to %d", k, n, maxCounterBits)
	}
	return nil
}

// Counter is how often the terminal has used a key, this time included.
func (k KSN) Counter() uint32 { return binary.BigEndian.Uint32(k[8:]) }

// Terminal is the part of the number that does not change: the base key's and the
// terminal's.
func (k KSN) Terminal() [8]byte { return [8]byte(k[:8]) }

// String is the number in hexadecimal; it is no secret.
func (k KSN) String() string { return strings.ToUpper(hex.EncodeToString(k[:])) }

// Next is the number of the terminal's next message; ok is false when its key is used
// up and it needs a new one.
func (k KSN) Next() (next KSN, ok bool) {
	counter := k.Counter()
	for counter < 0xFFFF0000 {
		counter++
		if bits.OnesCount32(counter) <= maxCounterBits {
			next = k
			binary.BigEndian.PutUint32(next[8:], counter)
			return next, true
		}
		counter |= counter&-counter - 1 // All with these ones and more have too many.
	}
	return KSN{}, false
}

// Nth is the number of the terminal's nth message, from 1 on; ok is false behind the last.
func (k KSN) Nth(n uint64) (nth KSN, ok bool) {
	counter, ones := uint32(0), maxCounterBits
	for bit := 31; bit >= 0; bit-- {
		without := fewOnes(bit, ones)
		if n < without {
			continue
		}
		if ones == 0 {
			return KSN{}, false
		}
		n -= without
		counter |= 1 << bit
		ones--
	}
	nth = k
	binary.BigEndian.PutUint32(nth[8:], counter)
	return nth, n == 0 && counter != 0
}

// fewOnes is how many numbers of so many bits have at most so many ones.
func fewOnes(width, ones int) (sum uint64) {
	choose := uint64(1)
	for k := 0; k <= min(width, ones); k++ {
		sum += choose
		choose = choose * uint64(width-k) / uint64(k+1) //nolint:gosec // not negative.
	}
	return sum
}

// A terminal without a memory counts by the clock: a number each eighth of a second since
// 2026, so that they last until 2035.
const (
	ksnSince = 1_767_225_600 * 1_000_000 // microseconds to 2026
	ksnPace  = 125_000
)

// ByClock is the number that a terminal without a memory has to take for used.
func (k KSN) ByClock(now points.Timestamp) (KSN, error) {
	if now >= ksnSince {
		if ksn, ok := k.Nth(uint64(now-ksnSince)/ksnPace + 1); ok {
			return ksn, nil
		}
	}
	return KSN{}, points.Errorf(points.FormatError, "certs: key serial numbers by the clock are of 2026 to 2035, not of %v", now)
}

// AfterClock is the number after k of a terminal that counts by the clock, and for how long
// it has to wait before it uses it: no number is used before its time, so that whoever counts
// on when this terminal is gone has greater ones.
func (k KSN) AfterClock(now points.Timestamp) (next KSN, wait time.Duration, err error) {
	if next, err = k.ByClock(now); err != nil || next.Counter() > k.Counter() {
		return next, 0, err
	}
	wait = time.Duration(ksnPace-(now-ksnSince)%ksnPace) * time.Microsecond
	next, err = k.ByClock(now.Add(wait))
	return next, wait, err
}

// DUKPTUse is what a key is derived for. The numbers are the standard's key usage
// indicators (X9.24-3 table 4), named as the terminal sees them.
type DUKPTUse uint16

// Uses of derived keys.
const (
	// DUKPTPIN enciphers PIN blocks.
	DUKPTPIN DUKPTUse = 0x1000
	// DUKPTRequestMAC authenticates what the terminal sends.
	DUKPTRequestMAC DUKPTUse = 0x2000
	// DUKPTAnswerMAC authenticates what the terminal gets.
	DUKPTAnswerMAC DUKPTUse = 0x2001
	// DUKPTMAC authenticates both.
	DUKPTMAC DUKPTUse = 0x2002
	// DUKPTRequestData enciphers what the terminal sends.
	DUKPTRequestData DUKPTUse = 0x3000

	dukptDerivation DUKPTUse = 0x8000
	dukptInitial    DUKPTUse = 0x8001
)

// usage is what a derived key may do here.
func (u DUKPTUse) usage() Usage {
	switch u {
	case DUKPTPIN:
		return PINWorking
	case DUKPTRequestMAC, DUKPTAnswerMAC, DUKPTMAC:
		return MACWorking
	case DUKPTRequestData:
		return TrackWorking
	default:
		return 0
	}
}

// DUKPTInitialKey derives the key that the terminal of ksn is given.
func DUKPTInitialKey(base *Key, ksn KSN) (*Key, error) {
	plain, err := base.open(DUKPTBase)
	if err != nil {
		return nil, err
	}
	derived, err := dukptDerive(base.Algorithm, plain, dukptInitial, base.Algorithm, ksn.Terminal())
	if err != nil {
		return nil, fmt.Errorf("%v: derive: %w", base, err)
	}
	defer wipe(derived)
	terminal := ksn.Terminal()
	return newKey(KeyInfo{
		Name: "dukpt/" + hex.EncodeToString(terminal[:]), Version: 1, Usage: DUKPTInitial, Algorithm: base.Algorithm, State: KeyActive,
	}, derived)
}

// DUKPTKey derives the key of one message, of algorithm, from a base key or a
// terminal's initial key. A key is not derived from a weaker one.
func DUKPTKey(from *Key, ksn KSN, use DUKPTUse, algorithm Algorithm) (*Key, error) {
	if err := ksn.check(); err != nil {
		return nil, err
	}
	if use.usage() == 0 {
		return nil, fmt.Errorf("%w: no key is derived for %#04x", ErrKeyUse, uint16(use))
	}
	if from != nil && from.Usage == DUKPTBase {
		initial, err := DUKPTInitialKey(from, ksn)
		if err != nil {
			return nil, err
		}
		from = initial
	}
	plain, err := from.open(DUKPTInitial)
	if err != nil {
		return nil, err
	}
	if strength(algorithm) > strength(from.Algorithm) {
		return nil, fmt.Errorf("%w: a key of %v is stronger than %v of %v", ErrKeyUse, algorithm, from, from.Algorithm)
	}
	current, data, err := dukptCurrent(from.Algorithm, plain, ksn)
	if err != nil {
		return nil, fmt.Errorf("%v: derive: %w", from, err)
	}
	defer wipe(current)
	derived, err := dukptDerive(from.Algorithm, current, use, algorithm, data)
	if err != nil {
		return nil, fmt.Errorf("%v: derive: %w", from, err)
	}
	defer wipe(derived)
	return newKey(KeyInfo{Name: "dukpt/" + ksn.String(), Version: 1, Usage: use.usage(), Algorithm: algorithm, State: KeyActive}, derived)
}

// dukptDerive is the derivation of X9.24-3 6.3: as many blocks as the key has, each
// the data with its number enciphered.
func dukptDerive(of Algorithm, key []byte, use DUKPTUse, algorithm Algorithm, data [8]byte) ([]byte, error) {
	block, err := newBlock(of, key)
	if err != nil {
		return nil, err
	}
	derived := make([]byte, algorithm.size())
	if err := dukptText(derived, use, algorithm, data); err != nil {
		return nil, err
	}
	for i := 0; i < len(derived); i += block.BlockSize() {
		block.Encrypt(derived[i:], derived[i:])
	}
	return derived, nil
}

// dukptText is what is enciphered to derive a key of algorithm, which is as long.
func dukptText(text []byte, use DUKPTUse, algorithm Algorithm, data [8]byte) error {
	code := uint16(0)
	switch algorithm {
	case TDES:
	case AES128:
		code = 2
	case AES256:
		code = 4
	default:
		return fmt.Errorf("no key of %v is derived", algorithm)
	}
	for i := 0; i < len(text); i += aes.BlockSize {
		part := text[i : i+aes.BlockSize]
		part[0], part[1] = 1, byte(1+i/aes.BlockSize)
		binary.BigEndian.PutUint16(part[2:], uint16(use))
		binary.BigEndian.PutUint16(part[4:], code)
		binary.BigEndian.PutUint16(part[6:], uint16(8*len(text))) //nolint:gosec // at most 256.
		copy(part[8:], data[:])
	}
	return nil
}

// dukptCurrent derives the key that all keys of one message follow from, and the data
// that they do by: from the initial key, one derivation for each one of the counter, the
// highest first (X9.24-3 6.3.1). The host needs no table of keys, and no memory of the
// terminal.
func dukptCurrent(of Algorithm, initial []byte, ksn KSN) (current []byte, data [8]byte, err error) {
	current = append([]byte(nil), initial...)
	data = [8]byte(ksn[4:])
	reached := uint32(0)
	for left := ksn.Counter(); left != 0; {
		highest := uint32(1) << (31 - bits.LeadingZeros32(left))
		left &^= highest
		reached |= highest
		binary.BigEndian.PutUint32(data[4:], reached)
		next, err := dukptDerive(of, current, dukptDerivation, of, data)
		if err != nil {
			return nil, data, err
		}
		wipe(current)
		current = next
	}
	return current, data, nil
}
