package certs

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A key block (ANSI X9.143, TR-31) is a key with what it is for, enciphered and
// authenticated under a key-block protection key. We write and read version B under
// 3DES and version D under AES; the older A and C are refused, since they do not bind
// what a key is for to the key as well.
//
//	0   version, B or D
//	1   length of all, 4 decimal digits
//	5   usage, 2 characters
//	7   algorithm, A, T or H
//	8   mode of use
//	9   version of the key, 2 characters
//	11  exportability: E, S, N
//	12  number of optional blocks, 2 decimal digits
//	14  reserved
//	16  optional blocks, then in hexadecimal: the key, the MAC
const (
	keyBlockHead  = 16
	maxKeyBlock   = 9999
	blockVersionB = 'B'
	blockVersionD = 'D'
)

// ErrKeyBlock is wrapped by every refusal of a key block.
var ErrKeyBlock = errors.New("key block refused")

// blockUse is what a usage is called in key blocks.
type blockUse struct {
	code  string // of a key that we write; for MACs that of AES
	mode  byte   // of a key that we write
	modes string // that we take
	usage Usage  // of a key that we read
	loose bool   // other usages of ours are called the same
}

// blockUses are the usages that keys have in key blocks (X9.143 tables 7 and 9).
var blockUses = map[string]blockUse{
	"B0": {"B0", 'X', "XN", DUKPTBase, false},
	"B1": {"B1", 'X', "XN", DUKPTInitial, false},
	"D0": {"D0", 'B', "BDEN", TrackWorking, false},
	"K0": {"K0", 'B', "BDEN", ZoneMaster, true},
	"K1": {"K1", 'B', "BDEN", ZoneMaster, true},
	"M0": {"M0", 'C', "CGVN", ZoneMAC, true},
	"M1": {"M1", 'C', "CGVN", ZoneMAC, true},
	"M3": {"M3", 'C', "CGVN", ZoneMAC, true},
	"M6": {"M6", 'C', "CGVN", ZoneMAC, true},
	"M7": {"M7", 'C', "CGVN", ZoneMAC, true},
	"P0": {"P0", 'B', "BDEN", ZonePIN, true},
}

// blockUseOf is what a key that leaves is called.
func blockUseOf(key *Key) (blockUse, bool) {
	code := ""
	switch key.Usage {
	case DUKPTBase:
		code = "B0"
	case DUKPTInitial:
		code = "B1"
	case TrackWorking:
		code = "D0"
	case TerminalMaster, ZoneMaster:
		code = "K0"
		if !key.Algorithm.des() {
			code = "K1" // It protects key blocks.
		}
	case MACWorking, ZoneMAC:
		code = "M6"
		switch {
		case key.Algorithm.des():
			code = "M3"
		case key.Algorithm == HMACSHA256:
			code = "M7"
		}
	case PINWorking, ZonePIN:
		code = "P0"
	default:
	}
	use, ok := blockUses[code]
	return use, ok
}

// AppendKeyBlock appends key as a key block under the master key of a partner or a
// terminal. The receiver may not pass it on. Keys that are of use to nobody else, and
// those that their owner did not allow to be passed on, are refused.
func AppendKeyBlock(dst []byte, key, under *Key, random io.Reader) ([]byte, error) {
	use, ok := blockUseOf(key)
	if !ok || !key.Usage.leaves() {
		return nil, fmt.Errorf("%w: %v is for %v, which nobody else needs; it is copied with the keystore only", ErrKeyUse, key, key.Usage)
	}
	if key.Bound {
		return nil, fmt.Errorf("%w: %v came with the word that it is not passed on", ErrKeyUse, key)
	}
	plain, err := key.open(key.Usage)
	if err != nil {
		return nil, err
	}
	algorithm, optional := byte('A'), ""
	switch {
	case key.Algorithm.des():
		algorithm = 'T'
	case key.Algorithm == HMACSHA256:
		algorithm, optional = 'H', hashFilled
	}
	if key.Algorithm == DES {
		return nil, fmt.Errorf("%w: %v is of single DES, which no key block holds", ErrKeyUse, key)
	}
	if strength(key.Algorithm) > strength(under.Algorithm) {
		return nil, fmt.Errorf("%w: %v is of %v and stronger than %v of %v; protect it with a stronger one", ErrKeyUse, key, key.Algorithm, under, under.Algorithm)
	}
	return sealKeyBlock(dst, use.code+string([]byte{algorithm, use.mode})+"00N", optional, plain, under, random)
}

// strength orders algorithms: no key protects a stronger one.
func strength(a Algorithm) int {
	switch a {
	case DES:
		return 1
	case TDES:
		return 2
	case AES128:
		return 3
	default:
		return 4
	}
}

// protection are the keys that a protection key stands for: one enciphers, one
// authenticates (X9.143 6.3).
type protection struct {
	version byte
	cipher  hidden[cipher.Block]
	mac     hidden[cipher.Block]
}

func protectionOf(under *Key) (*protection, error) {
	master, err := under.block(ZoneMaster, TerminalMaster)
	if err != nil {
		return nil, err
	}
	p := &protection{version: blockVersionD}
	if under.Algorithm == TDES {
		p.version = blockVersionB
	}
	var derived [2][]byte
	for purpose := range derived { // 0 enciphers, 1 authenticates.
		derived[purpose] = deriveUnder(master, under.Algorithm, uint16(purpose))
		defer wipe(derived[purpose])
	}
	enciphers, err := newBlock(under.Algorithm, derived[0])
	if err != nil {
		return nil, fmt.Errorf("%v: derive: %w", under, err)
	}
	authenticates, err := newBlock(under.Algorithm, derived[1])
	if err != nil {
		return nil, fmt.Errorf("%v: derive: %w", under, err)
	}
	p.cipher, p.mac = hide(enciphers), hide(authenticates)
	return p, nil
}

// macOf is the MAC of a block: over its head and the key in clear.
func (p *protection) macOf(head string, plain []byte) []byte {
	text := append([]byte(head), plain...)
	defer wipe(text)
	sum := cmacOf(p.mac(), text)
	return sum[:p.mac().BlockSize()]
}

// Optional blocks of a key for HMAC (X9.143 6.3.6): the hash that it is for, of which we
// know SHA-256, and what fills them to whole blocks of AES.
const (
	hashBlock  = "HM0621"
	hashFilled = hashBlock + "PB0A000000"
)

// sealKeyBlock appends a key block; use is what stands from the usage to the
// exportability, optional is nothing or hashFilled.
func sealKeyBlock(dst []byte, use, optional string, plain []byte, under *Key, random io.Reader) ([]byte, error) {
	p, err := protectionOf(under)
	if err != nil {
		return nil, err
	}
	size := p.cipher().BlockSize()
	payload := make([]byte, (2+len(plain)+size-1)/size*size)
	defer wipe(payload)
	binary.BigEndian.PutUint16(payload, uint16(8*len(plain))) //nolint:gosec // at most 256.
	if _, err := io.ReadFull(random, payload[2+copy(payload[2:], plain):]); err != nil {
		return nil, fmt.Errorf("key block: draw: %w", err)
	}
	count := "00"
	if optional != "" {
		count = "02"
	}
	head := fmt.Sprintf("%c%04d%s%s00%s", p.version, keyBlockHead+len(optional)+2*(len(payload)+size), use, count, optional)
	mac := p.macOf(head, payload)
	cipher.NewCBCEncrypter(p.cipher(), mac).CryptBlocks(payload, payload)
	dst = append(dst, head...)
	dst = appendHex(dst, payload)
	return appendHex(dst, mac), nil
}

func appendHex(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&0xF])
	}
	return dst
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrKeyBlock, fmt.Sprintf(format, args...))
}

// OpenKeyBlock opens a key block that came under a master key. Its error wraps
// [ErrKeyBlock] and says what does not hold.
func OpenKeyBlock(block []byte, under *Key) (*Imported, error) {
	p, err := protectionOf(under)
	if err != nil {
		return nil, err
	}
	use, headLen, err := p.readHead(block)
	if err != nil {
		return nil, err
	}
	size := p.cipher().BlockSize()
	payload, err := hex.DecodeString(string(block[headLen:]))
	if err != nil || len(payload) < 2*size || len(payload)%size != 0 {
		return nil, refused("after its head there is not a whole number of blocks of %d bytes in hexadecimal", size)
	}
	defer wipe(payload)
	payload, mac := payload[:len(payload)-size], payload[len(payload)-size:]
	cipher.NewCBCDecrypter(p.cipher(), mac).CryptBlocks(payload, payload)
	if subtle.ConstantTimeCompare(p.macOf(string(block[:headLen]), payload), mac) != 1 {
		return nil, refused("it was not made under %v, or it was changed", under)
	}
	bits := int(binary.BigEndian.Uint16(payload))
	if bits%8 != 0 || 2+bits/8 > len(payload) {
		return nil, refused("its key has %d bits, more than are there", bits)
	}
	plain := payload[2 : 2+bits/8]
	algorithm, err := blockAlgorithm(block[7], len(plain))
	if err != nil {
		return nil, err
	}
	check, err := checkValue(algorithm, plain)
	if err != nil {
		return nil, refused("%v", err)
	}
	return &Imported{usage: use.usage, loose: use.loose, algorithm: algorithm, bound: block[11] == 'N', check: check, secret: newSecret(plain)}, nil
}

func blockAlgorithm(code byte, n int) (Algorithm, error) {
	switch {
	case code == 'T' && n == 16:
		return TDES, nil
	case code == 'A' && n == 16:
		return AES128, nil
	case code == 'A' && n == 32:
		return AES256, nil
	case code == 'H' && n == 32:
		return HMACSHA256, nil
	default:
		return 0, refused("a key of %d bytes of algorithm %q; want T (3DES) with 16, A (AES) with 16 or 32 or H (HMAC) with 32", n, code)
	}
}

// readHead checks what stands before the key, as far as it can be checked without the
// MAC, and returns where that ends.
func (p *protection) readHead(block []byte) (use blockUse, n int, err error) {
	if len(block) < keyBlockHead || len(block) > maxKeyBlock {
		return use, 0, refused("it has %d characters; want %d to %d", len(block), keyBlockHead, maxKeyBlock)
	}
	for i, c := range block {
		if c < ' ' || c > '~' {
			return use, 0, refused("character %d is no printable ASCII", i+1)
		}
	}
	switch block[0] {
	case p.version:
	case 'A', 'C':
		return use, 0, refused("version %c is not accepted; ask for version %c", block[0], p.version)
	default:
		return use, 0, refused("version %q; a block under this key is of version %c", block[0], p.version)
	}
	if length, err := strconv.ParseUint(string(block[1:5]), 10, 16); err != nil || int(length) != len(block) {
		return use, 0, refused("it says that it has %s characters, and has %d", block[1:5], len(block))
	}
	use, ok := blockUses[string(block[5:7])]
	if !ok {
		return use, 0, refused("its usage is %s, which we have no keys for", block[5:7])
	}
	if !strings.ContainsRune(use.modes, rune(block[8])) {
		return use, 0, refused("its mode of use is %c; with usage %s want one of %s", block[8], block[5:7], use.modes)
	}
	if (use.code == "M7") != (block[7] == 'H') {
		return use, 0, refused("its usage is %s and its algorithm %c; M7 and H (HMAC) go together", block[5:7], block[7])
	}
	if !strings.ContainsRune("ESN", rune(block[11])) {
		return use, 0, refused("its exportability is %c; want E, S or N", block[11])
	}
	n, err = p.skipOptional(block)
	return use, n, err
}

// skipOptional passes by the optional blocks: the MAC covers them, and none changes
// what we do with a key, but for the hash that a key for HMAC is for. An odd one is longer than 255 and has its length elsewhere.
func (p *protection) skipOptional(block []byte) (int, error) {
	count, err := strconv.ParseUint(string(block[12:14]), 10, 8)
	if err != nil {
		return 0, refused("its number of optional blocks is %q", block[12:14])
	}
	at := keyBlockHead
	for i := range count {
		if len(block)-at < 4 {
			return 0, refused("it ends within optional block %d", i+1)
		}
		length, err := strconv.ParseUint(string(block[at+2:at+4]), 16, 16)
		least := uint64(4)
		if err == nil && length == 0 && len(block)-at >= 10 && string(block[at+4:at+6]) == "02" {
			length, err = strconv.ParseUint(string(block[at+6:at+10]), 16, 16)
			least = 10
		}
		if err != nil || length < least || length > uint64(len(block)-at) { //nolint:gosec // a length.
			return 0, refused("optional block %d has a length of %q", i+1, block[at+2:at+4])
		}
		if kind := block[at : at+2]; string(kind) == hashBlock[:2] && string(block[at:at+int(length)]) != hashBlock {
			return 0, refused("it is for HMAC with the hash %q; want 21 (SHA-256)", block[at+4:at+int(length)])
		}
		at += int(length)
	}
	if (at-keyBlockHead)%p.cipher().BlockSize() != 0 {
		return 0, refused("its optional blocks have %d characters, no multiple of %d", at-keyBlockHead, p.cipher().BlockSize())
	}
	return at, nil
}
