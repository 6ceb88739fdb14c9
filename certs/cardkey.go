package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/lianfen/lianfen/points"
)

// CardKey turns card numbers into tokens and back. A card number with its length
// fits one AES block, and one block under AES is a permutation that tells
// nothing without the key; so the token is at once the ciphertext at rest and
// the index to look a card up by. It is safe for concurrent use.
type CardKey struct {
	block hidden[cipher.Block]
}

// WriteCardKey draws a new card key from random and writes it to a new file
// that only its owner can read. It never overwrites: a lost key makes every
// card of the store unknown.
func WriteCardKey(path string, random io.Reader) error {
	return writeSecretFile("card key", path, random)
}

// ErrCardKey says that a file of a card key is not what was written.
var ErrCardKey = errors.New("card key: the file is damaged; put a copy of it back, without it no card is recognised")

// ReadCardKey reads the file that [WriteCardKey] wrote. A file that others may
// read is refused.
func ReadCardKey(path string) (*CardKey, error) {
	key, err := readSecretFile("card key", path)
	if errors.Is(err, errSecretFile) {
		return nil, fmt.Errorf("%w (%s): want %d hexadecimal digits", ErrCardKey, path, 2*secretFileBytes)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("card key %s: %w; put the copy of it back, without it no card is recognised: a new one comes with a new switch only (lianfen init)", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer wipe(key)
	return NewCardKey([secretFileBytes]byte(key)), nil
}

// CardKeyOf makes a card key of one in a keystore.
func CardKeyOf(key *Key) (*CardKey, error) {
	block, err := key.block(CardEncryption)
	if err != nil {
		return nil, err
	}
	return &CardKey{block: hide(block)}, nil
}

// NewCardKey makes a card key from its 32 bytes.
func NewCardKey(key [secretFileBytes]byte) *CardKey {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("certs: AES refuses a 32-byte key: " + err.Error()) //nolint:forbidigo // cannot happen.
	}
	return &CardKey{block: hide(block)}
}

// CheckValue tells two keys apart without telling either: the first three bytes of
// a block of zeros under the key, as key check values are (ANSI X9.24-1).
func (k *CardKey) CheckValue() [3]byte {
	var block [16]byte
	k.block().Encrypt(block[:], block[:])
	return [3]byte(block[:])
}

// String is the check value.
func (k *CardKey) String() string { return "card key KCV " + CheckValue(k.CheckValue()).String() }

// Format writes [CardKey.String] for every verb.
func (k *CardKey) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, k.String()) }

// LogValue is [CardKey.String].
func (k *CardKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// The plain block: number of digits, ten bytes of digits two by two, filled
// with 0xF nibbles, then five zero bytes that tell a token of another key.
const tokenDigitsAt, tokenZerosAt = 1, 11

// Token writes the token of pan into dst; of no card, the zero token. It writes
// in place so that the path of an authorisation allocates nothing.
func (k *CardKey) Token(dst *points.CardToken, pan points.PAN) {
	*dst = points.CardToken{}
	if pan.IsZero() {
		return
	}
	var digits [points.MaxPANDigits + 1]byte
	n := len(pan.AppendDigits(digits[:0]))
	for i := n; i < len(digits); i++ {
		digits[i] = '0' + 0xF
	}
	dst[0] = byte(n) //nolint:gosec // at most 19 digits.
	for i := tokenDigitsAt; i < tokenZerosAt; i++ {
		j := 2 * (i - tokenDigitsAt)
		dst[i] = (digits[j]-'0')<<4 | (digits[j+1] - '0')
	}
	k.block().Encrypt(dst[:], dst[:])
}

// PAN returns the card number that token stands for; ok is false when the token
// was not made with this key.
func (k *CardKey) PAN(token points.CardToken) (pan points.PAN, ok bool) {
	var plain [16]byte
	k.block().Decrypt(plain[:], token[:])
	n := int(plain[0])
	if n < 1 || n > points.MaxPANDigits || [5]byte(plain[tokenZerosAt:]) != [5]byte{} {
		return points.PAN{}, false
	}
	digits := make([]byte, 0, 2*(tokenZerosAt-tokenDigitsAt))
	for _, b := range plain[tokenDigitsAt:tokenZerosAt] {
		digits = append(digits, '0'+b>>4, '0'+b&0xF)
	}
	for _, c := range digits[n:] {
		if c != '0'+0xF {
			return points.PAN{}, false
		}
	}
	pan, err := points.ParsePAN(digits[:n])
	return pan, err == nil
}
