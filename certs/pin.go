package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the installed terminals' cipher.
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"sync"

	"github.com/lianfen/lianfen/points"
)

// Bounds of a PIN (ISO 9564-1) in digits.
const (
	MinPINDigits = 4
	MaxPINDigits = 12
)

// MaxPINBlock is the length in bytes of the longest PIN block.
const MaxPINBlock = aes.BlockSize

// PINFormat is how a PIN is laid out in a block (ISO 9564-1).
type PINFormat uint8

// PIN block formats.
const (
	// PINFormat0 is PIN filled with F, XORed with the card number: 8 bytes under 3DES or
	// DES, DE52.
	PINFormat0 PINFormat = iota + 1
	// PINFormat3 is format 0 filled at random.
	PINFormat3
	// PINFormat4 is 16 bytes under AES, bound to the card number: DE125.
	PINFormat4
)

var pinFormatNames = [...]string{PINFormat0: "iso-0", PINFormat3: "iso-3", PINFormat4: "iso-4"}

// String is the word for the format.
func (f PINFormat) String() string { return wordOf(pinFormatNames[:], uint8(f), "format") }

// ParsePINFormat reads the word for a format, as profiles name it.
func ParsePINFormat(word string) (PINFormat, error) {
	n, err := parseWord(pinFormatNames[:], word, "format of a PIN block")
	return PINFormat(n), err
}

// PINKey is a key for PIN blocks, expanded once. It does not change: one of them
// serves any number of goroutines. What it deciphers never leaves the package.
type PINKey struct {
	key   string // what may be told of the key
	usage Usage
	block hidden[cipher.Block]
}

// NewPINKey makes ready key, which is for PIN blocks with a terminal or a partner.
func NewPINKey(key *Key) (*PINKey, error) {
	block, err := key.block(PINWorking, ZonePIN)
	if err != nil {
		return nil, err
	}
	return &PINKey{key: key.String(), usage: key.Usage, block: hide(block)}, nil
}

// String is what may be told of the key.
func (k *PINKey) String() string {
	if k == nil {
		return "no key"
	}
	return k.key
}

// Format writes [PINKey.String] for every verb.
func (k *PINKey) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, k.String()) }

// MarshalText is [PINKey.String].
func (k *PINKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue is [PINKey.String].
func (k *PINKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// pinWork is where a PIN is in clear. It is wiped before it goes back to its pool.
type pinWork struct {
	block  [MaxPINBlock]byte
	pan    [MaxPINBlock]byte // what the card number contributes
	pin    [MaxPINDigits]byte
	digits [points.MaxPANDigits + 1]byte
	random [MaxPINBlock]byte
	text   [len(pinValueDomain) + 2 + points.MaxPANDigits + MaxPINDigits]byte
	sum    [sha256.Size]byte
	n      int // digits of the PIN
}

var pinScratch = sync.Pool{New: func() any { return new(pinWork) }}

func newPINWork() *pinWork { return pinScratch.Get().(*pinWork) }

func (w *pinWork) wipe() {
	*w = pinWork{}
	pinScratch.Put(w)
}

// readPIN deciphers block into w. What cannot be a PIN is [points.BadPINFormat],
// whether it was laid out wrongly, enciphered under another key or made for another
// card: nobody can tell these apart.
func (k *PINKey) readPIN(w *pinWork, format PINFormat, block []byte, pan points.PAN) error {
	if err := k.fits(format); err != nil {
		return err
	}
	if len(block) != k.block().BlockSize() {
		return points.Errorf(points.BadPINFormat, "certs: a PIN block of format %v has %d bytes, not %d", format, k.block().BlockSize(), len(block))
	}
	if pan.IsZero() {
		return points.Errorf(points.BadPINFormat, "certs: a PIN block of format %v needs the card number", format)
	}
	w.panField(format, pan)
	b := w.block[:len(block)]
	k.block().Decrypt(b, block)
	subtle.XORBytes(b, b, w.pan[:len(b)])
	if format == PINFormat4 {
		k.block().Decrypt(b, b)
	}
	if !w.readField(format) {
		return points.Errorf(points.BadPINFormat, "certs: no PIN of format %v under %v for this card", format, k)
	}
	return nil
}

func (k *PINKey) fits(format PINFormat) error {
	want := des.BlockSize
	switch format {
	case PINFormat0, PINFormat3:
	case PINFormat4:
		want = aes.BlockSize
	default:
		return points.Errorf(points.BadPINFormat, "certs: %v of a PIN block is not accepted", format)
	}
	if k.block().BlockSize() != want {
		return points.Errorf(points.BadPINFormat, "certs: a PIN block of format %v does not fit %v, whose blocks have %d bytes", format, k, k.block().BlockSize())
	}
	return nil
}

// panField lays out the card number: in format 4 all of it, else its twelve digits
// before the check digit (ISO 9564-1 9.3.2, 9.3.5, 9.4.2).
func (w *pinWork) panField(format PINFormat, pan points.PAN) {
	digits := pan.AppendDigits(w.digits[:0])
	field := w.pan[:]
	clear(field)
	if format == PINFormat4 {
		const shortest = 12
		pad := max(0, shortest-len(digits))
		setNibble(field, 0, byte(max(0, len(digits)-shortest))) //nolint:gosec // at most 7.
		for i, d := range digits {
			setNibble(field, 1+pad+i, d-'0')
		}
		return
	}
	digits = digits[:len(digits)-1]
	digits = digits[max(0, len(digits)-12):]
	for i, d := range digits {
		setNibble(field, 16-len(digits)+i, d-'0')
	}
}

// readField reads the PIN from the plain field. It looks at every digit whatever the
// first ones are, so that its time does not tell which was wrong.
func (w *pinWork) readField(format PINFormat) bool {
	control := []byte{PINFormat0: 0, PINFormat3: 3, PINFormat4: 4}[format]
	bad := nibble(w.block[:], 0) ^ control
	w.n = int(nibble(w.block[:], 1))
	if w.n < MinPINDigits || w.n > MaxPINDigits {
		return false
	}
	for i := range 14 {
		d := nibble(w.block[:], 2+i)
		switch {
		case i < w.n:
			bad |= isMore(d, 9)
			if i < len(w.pin) {
				w.pin[i] = d
			}
		case format == PINFormat0:
			bad |= d ^ 0xF
		case format == PINFormat3:
			bad |= 1 - isMore(d, 9)
		default:
			bad |= d ^ 0xA
		}
	}
	return bad == 0
}

// isMore is 1 if d is more than most, else 0.
func isMore(d, most byte) byte { return (most - d) >> 7 }

func nibble(b []byte, i int) byte { return b[i/2] >> (4 * (1 - i%2)) & 0xF }

func setNibble(b []byte, i int, d byte) { b[i/2] |= d << (4 * (1 - i%2)) }

// writePIN appends w's PIN enciphered.
func (k *PINKey) writePIN(dst []byte, w *pinWork, format PINFormat, pan points.PAN, random io.Reader) ([]byte, error) {
	if err := k.fits(format); err != nil {
		return nil, err
	}
	if pan.IsZero() {
		return nil, points.Errorf(points.BadPINFormat, "certs: a PIN block of format %v needs the card number", format)
	}
	w.panField(format, pan)
	if err := w.writeField(format, random); err != nil {
		return nil, fmt.Errorf("certs: a PIN block of format %v: draw: %w", format, err)
	}
	b := w.block[:k.block().BlockSize()]
	if format == PINFormat4 {
		k.block().Encrypt(b, b)
	}
	subtle.XORBytes(b, b, w.pan[:len(b)])
	k.block().Encrypt(b, b)
	return append(dst, b...), nil
}

func (w *pinWork) writeField(format PINFormat, random io.Reader) error {
	b := w.block[:]
	clear(b)
	setNibble(b, 0, []byte{PINFormat0: 0, PINFormat3: 3, PINFormat4: 4}[format])
	setNibble(b, 1, byte(w.n)) //nolint:gosec // at most 12.
	for i := range w.n {
		setNibble(b, 2+i, w.pin[i])
	}
	switch format {
	case PINFormat0:
		fillNibbles(b, w.n, 0xF)
	case PINFormat3:
		for i := w.n; i < 14; {
			if _, err := io.ReadFull(random, w.random[:1]); err != nil {
				return err
			}
			if w.random[0] < 252 { // A multiple of 6: each digit is as likely.
				setNibble(b, 2+i, 10+w.random[0]%6)
				i++
			}
		}
	default:
		fillNibbles(b, w.n, 0xA)
		if _, err := io.ReadFull(random, b[8:]); err != nil {
			return err
		}
	}
	return nil
}

func fillNibbles(b []byte, from int, d byte) {
	for i := from; i < 14; i++ {
		setNibble(b, 2+i, d)
	}
}

// AppendPINBlock appends the PIN block of pin, 4 to 12 ASCII digits, for pan: what a
// terminal does. The switch itself never has a PIN to call it with.
func (k *PINKey) AppendPINBlock(dst []byte, format PINFormat, pin []byte, pan points.PAN, random io.Reader) ([]byte, error) {
	if len(pin) < MinPINDigits || len(pin) > MaxPINDigits {
		return nil, points.Errorf(points.BadPINFormat, "a PIN has %d to %d digits", MinPINDigits, MaxPINDigits)
	}
	w := newPINWork()
	defer w.wipe()
	w.n = len(pin)
	for i, d := range pin {
		if d < '0' || d > '9' {
			return nil, points.Errorf(points.BadPINFormat, "a PIN has digits only")
		}
		w.pin[i] = d - '0'
	}
	return k.writePIN(dst, w, format, pan, random)
}

// Holds reports whether block, which came for pan under the key, holds pin, in digits. It
// is for an issuer's side that keeps PINs; ours keeps values of them ([PINVerifier]).
func (k *PINKey) Holds(format PINFormat, block []byte, pan points.PAN, pin []byte) bool {
	w := newPINWork()
	defer w.wipe()
	if err := k.readPIN(w, format, block, pan); err != nil || len(pin) > MaxPINDigits {
		return false
	}
	var digits [MaxPINDigits]byte
	defer wipe(digits[:])
	for i, d := range pin {
		digits[i] = d - '0'
	}
	return subtle.ConstantTimeCompare(w.pin[:w.n], digits[:len(pin)]) == 1
}

// TranslatePIN appends to dst the PIN of block, which came for pan under from, as a
// block of format under zone, which is a key with a partner: what an issuer elsewhere
// verifies. The card number is bound to both and stays the same.
func TranslatePIN(dst []byte, from *PINKey, fromFormat PINFormat, block []byte, pan points.PAN, zone *PINKey, format PINFormat, random io.Reader) ([]byte, error) {
	if zone.usage != ZonePIN {
		return nil, fmt.Errorf("%w: %v is for %v; a PIN is translated to a key for %v only", ErrKeyUse, zone, zone.usage, ZonePIN)
	}
	w := newPINWork()
	defer w.wipe()
	if err := from.readPIN(w, fromFormat, block, pan); err != nil {
		return nil, err
	}
	return zone.writePIN(dst, w, format, pan, random)
}

// PINValue is what is kept of a PIN to compare it by. It tells nothing without the key
// for PIN verification; the same PIN of another card has another.
type PINValue [16]byte

// IsZero reports whether there is no PIN.
func (v PINValue) IsZero() bool { return v == PINValue{} }

// pinValueDomain keeps these values apart from all else that a key might authenticate.
const pinValueDomain = "lianfen pin value 1\x00"

// PINVerifier compares PINs. It does not change: one of them serves any number of
// goroutines.
type PINVerifier struct {
	key  string
	macs *sync.Pool // of hash.Hash, keyed
}

// NewPINVerifier makes ready key, which is for PIN verification.
func NewPINVerifier(key *Key) (*PINVerifier, error) {
	plain, err := key.open(PINVerification)
	if err != nil {
		return nil, err
	}
	return &PINVerifier{key: key.String(), macs: &sync.Pool{New: func() any { return hmac.New(sha256.New, plain) }}}, nil
}

// String is what may be told of the key.
func (v *PINVerifier) String() string {
	if v == nil {
		return "no key"
	}
	return v.key
}

// Format writes [PINVerifier.String] for every verb.
func (v *PINVerifier) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, v.String()) }

// MarshalText is [PINVerifier.String].
func (v *PINVerifier) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// LogValue is [PINVerifier.String].
func (v *PINVerifier) LogValue() slog.Value { return slog.StringValue(v.String()) }

// Value returns what to keep of the PIN in block, which came for pan under key: how a
// PIN is set and changed.
func (v *PINVerifier) Value(key *PINKey, format PINFormat, block []byte, pan points.PAN) (PINValue, error) {
	w := newPINWork()
	defer w.wipe()
	if err := key.readPIN(w, format, block, pan); err != nil {
		return PINValue{}, err
	}
	v.sum(w, pan)
	return PINValue(w.sum[:]), nil
}

// Verify compares the PIN in block, which came for pan under key, with the one that
// value was made of. The error's reason is [points.WrongPIN] if they differ, and
// [points.BadPINFormat] if block holds no PIN.
func (v *PINVerifier) Verify(key *PINKey, format PINFormat, block []byte, pan points.PAN, value *PINValue) error {
	w := newPINWork()
	defer w.wipe()
	if err := key.readPIN(w, format, block, pan); err != nil {
		return err
	}
	v.sum(w, pan)
	if subtle.ConstantTimeCompare(w.sum[:len(value)], value[:]) != 1 {
		return errWrongPIN
	}
	return nil
}

var errWrongPIN = points.Errorf(points.WrongPIN, "certs: the PIN differs")

// sum leaves in w the HMAC of card number and PIN. Both have their lengths before
// them, so that no two pairs are the same text.
func (v *PINVerifier) sum(w *pinWork, pan points.PAN) {
	text := append(w.text[:0], pinValueDomain...)
	text = append(text, byte(pan.Len())) //nolint:gosec // at most 19.
	text = pan.AppendDigits(text)
	text = append(text, byte(w.n)) //nolint:gosec // at most 12.
	text = append(text, w.pin[:w.n]...)
	mac := v.macs.Get().(hash.Hash)
	mac.Write(text) // A hash does not fail.
	mac.Sum(w.sum[:0])
	mac.Reset() // What stays in the pool is the key alone.
	v.macs.Put(mac)
}
