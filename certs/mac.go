package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the installed terminals' cipher.
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"sync"
)

// MACBytes is the length of every message authentication code on the wire (DE64,
// DE128).
const MACBytes = 8

// MACAlgorithm is how a message is authenticated; a terminal's or a link's profile
// names one.
type MACAlgorithm uint8

// MAC algorithms.
const (
	// CMAC is AES-CMAC (NIST SP 800-38B), its first 8 bytes.
	CMAC MACAlgorithm = iota + 1
	// RetailMAC is ANSI X9.19: DES in CBC mode under the left half of a double-length
	// key, the last block under all of it (ISO/IEC 9797-1 algorithm 3, padding 1).
	RetailMAC
	// XORMAC is the UnionPay POS MAC ("ECB"): all blocks of 8 bytes XORed, written in
	// hexadecimal, the first half enciphered, the second XORed to it, enciphered,
	// written in hexadecimal, the first 8 characters of it.
	XORMAC
	// HMAC is HMAC-SHA-256 (RFC 2104, FIPS 198-1), its first 8 bytes.
	HMAC
)

var macNames = [...]string{CMAC: "cmac", RetailMAC: "x9.19", XORMAC: "cup-ecb", HMAC: "hmac-sha256"}

// String is the word for the algorithm.
func (a MACAlgorithm) String() string { return wordOf(macNames[:], uint8(a), "mac") }

// ParseMACAlgorithm reads the word for a MAC algorithm, as profiles name it.
func ParseMACAlgorithm(word string) (MACAlgorithm, error) {
	n, err := parseWord(macNames[:], word, "MAC algorithm")
	return MACAlgorithm(n), err
}

// MAC is a key for message authentication with its algorithm, expanded once. It
// neither changes nor allocates: one of them serves any number of goroutines.
type MAC struct {
	algorithm MACAlgorithm
	key       string // what may be told of the key
	keys      hidden[*macKeys]
}

// macKeys is a key, expanded.
type macKeys struct {
	block   cipher.Block // the whole key; of X9.19 its left half
	right   cipher.Block // of X9.19 the right half
	subkeys cmacSubkeys  // of CMAC
	hashes  *sync.Pool   // of HMAC: of hash.Hash, keyed
}

// NewMAC makes ready key, which is for MACs with a terminal or a partner.
func NewMAC(key *Key, algorithm MACAlgorithm) (*MAC, error) {
	secret, err := key.open(MACWorking, ZoneMAC)
	if err != nil {
		return nil, err
	}
	keys := new(macKeys)
	switch {
	case algorithm == CMAC && key.Algorithm.aes():
		if keys.block, err = key.block(key.Usage); err == nil {
			keys.subkeys.of(keys.block)
		}
	case algorithm == RetailMAC && key.Algorithm == TDES:
		if keys.block, err = newBlock(DES, secret[:8]); err == nil {
			keys.right, err = newBlock(DES, secret[8:])
		}
	case algorithm == XORMAC && key.Algorithm.des():
		keys.block, err = key.block(key.Usage)
	case algorithm == HMAC && key.Algorithm == HMACSHA256:
		keys.hashes = &sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}
	default:
		return nil, fmt.Errorf("%w: %v is of %v, which makes no MAC of the kind %v", ErrKeyUse, key, key.Algorithm, algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("%v: expand: %w", key, err)
	}
	return &MAC{algorithm: algorithm, key: key.String(), keys: hide(keys)}, nil
}

// Append appends the 8 bytes of the MAC of message to dst. The message is what is
// sent, from the MTI to the field before the MAC.
func (m *MAC) Append(dst, message []byte) []byte {
	work := macScratch.Get().(*macWork)
	m.sum(work, message)
	dst = append(dst, work.mac[:]...)
	macScratch.Put(work)
	return dst
}

// Verify reports whether mac is the MAC of message, in a time that does not depend
// on where they differ.
func (m *MAC) Verify(message, mac []byte) bool {
	work := macScratch.Get().(*macWork)
	m.sum(work, message)
	same := subtle.ConstantTimeCompare(work.mac[:], mac) == 1
	clear(work.mac[:]) // The right MAC of a forged message is nobody's business.
	macScratch.Put(work)
	return same
}

// macWork is where a MAC is computed: on the heap, since a block cipher is an
// interface, and pooled, since the path of an authorisation allocates nothing.
type macWork struct {
	x    [aes.BlockSize]byte
	hash [sha256.Size]byte
	mac  [MACBytes]byte
}

var macScratch = sync.Pool{New: func() any { return new(macWork) }}

func (m *MAC) sum(work *macWork, message []byte) {
	keys := m.keys()
	switch m.algorithm {
	case CMAC:
		keys.subkeys.sum(keys.block, &work.x, message)
		copy(work.mac[:], work.x[:])
	case RetailMAC:
		keys.retail(work, message)
	case HMAC:
		keys.hash(work, message)
	default:
		keys.xor(work, message)
	}
}

func (k *macKeys) hash(work *macWork, message []byte) {
	h := k.hashes.Get().(hash.Hash)
	h.Write(message) // A hash does not fail.
	copy(work.mac[:], h.Sum(work.hash[:0]))
	clear(work.hash[:])
	h.Reset() // What stays in the pool is the key alone.
	k.hashes.Put(h)
}

func (k *macKeys) retail(work *macWork, message []byte) {
	block, right := k.block, k.right
	x := work.x[:des.BlockSize]
	clear(x)
	for {
		n := subtle.XORBytes(x, x, message) // Zeros fill the last block.
		block.Encrypt(x, x)
		if message = message[n:]; len(message) == 0 {
			break
		}
	}
	right.Decrypt(x, x)
	block.Encrypt(x, x)
	copy(work.mac[:], x)
}

func (k *macKeys) xor(work *macWork, message []byte) {
	block := k.block
	var folded uint64
	for len(message) >= 8 {
		folded ^= binary.BigEndian.Uint64(message)
		message = message[8:]
	}
	for i, b := range message {
		folded ^= uint64(b) << (56 - 8*i)
	}
	digits := &work.x
	for i := range digits {
		digits[i] = hexDigits[folded>>(60-4*i)&0xF]
	}
	first, last := digits[:8], digits[8:]
	block.Encrypt(first, first)
	subtle.XORBytes(first, first, last)
	block.Encrypt(first, first)
	for i := range work.mac {
		work.mac[i] = hexDigits[first[i/2]>>(4*(1-i%2))&0xF]
	}
}

const hexDigits = "0123456789ABCDEF"

// Algorithm is how m authenticates.
func (m *MAC) Algorithm() MACAlgorithm { return m.algorithm }

// String is the algorithm and what may be told of the key.
func (m *MAC) String() string {
	if m == nil {
		return "no key"
	}
	return m.algorithm.String() + " " + m.key
}

// Format writes [MAC.String] for every verb.
func (m *MAC) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, m.String()) }

// MarshalText is [MAC.String].
func (m *MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// LogValue is [MAC.String].
func (m *MAC) LogValue() slog.Value { return slog.StringValue(m.String()) }

// cmacSubkeys are K1 and K2 of SP 800-38B: what the last block is XORed with, whole or
// padded.
type cmacSubkeys struct {
	whole, padded [aes.BlockSize]byte
}

// subkeysOf derives the subkeys of an AES or a DES key; of DES, half of each is used.
func subkeysOf(block cipher.Block) *cmacSubkeys {
	s := new(cmacSubkeys)
	s.of(block)
	return s
}

// of makes them those of a key.
func (s *cmacSubkeys) of(block cipher.Block) {
	*s = cmacSubkeys{}
	n := block.BlockSize()
	block.Encrypt(s.whole[:n], s.whole[:n])
	double(s.whole[:n])
	s.padded = s.whole
	double(s.padded[:n])
}

// double multiplies by x in the field of the block: SP 800-38B 5.3, 6.1.
func double(b []byte) {
	carry := b[0] >> 7
	for i := range len(b) - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	polynomial := byte(0x87)
	if len(b) == des.BlockSize {
		polynomial = 0x1B
	}
	b[len(b)-1] = b[len(b)-1]<<1 ^ byte(subtle.ConstantTimeSelect(int(carry), int(polynomial), 0)) //nolint:gosec // a byte.
}

// sum leaves the CMAC of message in x, of a DES key in its first half.
func (s *cmacSubkeys) sum(block cipher.Block, x *[aes.BlockSize]byte, message []byte) {
	n := block.BlockSize()
	b := x[:n]
	clear(b)
	for len(message) > n {
		subtle.XORBytes(b, b, message[:n])
		block.Encrypt(b, b)
		message = message[n:]
	}
	subtle.XORBytes(b, b, message)
	if len(message) == n {
		subtle.XORBytes(b, b, s.whole[:n])
	} else {
		b[len(message)] ^= 0x80
		subtle.XORBytes(b, b, s.padded[:n])
	}
	block.Encrypt(b, b)
}

// cmacOf is the whole CMAC of message; of a DES key its first half.
func cmacOf(block cipher.Block, message []byte) [aes.BlockSize]byte {
	x := new([aes.BlockSize]byte)
	subkeysOf(block).sum(block, x, message)
	return *x
}
