package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// A keystore file. Numbers are big-endian; text has one byte of length before it.
//
//	"LFKS"            magic
//	1                 version, 2 bytes
//	generation        8 bytes
//	number of keys    4 bytes
//	name of the KEK   text, to say which one is missing
//	file key          2 bytes of length, then the file key sealed by the KEK
//	seal              16 bytes: AES-256-GCM of nothing, bound to all before it
//	each key:
//	  name            text; keys ascend by name and version
//	  version         4 bytes
//	  usage, algorithm, state, bound    1 byte each
//	  from, until     8 bytes each, microseconds since 1970
//	  check value     3 bytes
//	  key             1 byte of length, then it sealed: AES-256-GCM, bound to the
//	                  seal of the file and to all that stands of the key before
//
// A new file key is drawn for each write, so a nonce, which is the number of what it
// seals, is used once. Whatever is left out, moved, repeated or taken from another
// generation does not open.
const (
	keystoreMagic   = "LFKS"
	keystoreVersion = 1
	fileKeyBytes    = 32
	sealBytes       = 16
	maxWrapped      = 1024
)

// sealRing is the file that holds ring.
func sealRing(ring *keyring, kek KEK, random io.Reader) ([]byte, error) {
	var fileKey [fileKeyBytes]byte
	defer wipe(fileKey[:])
	if _, err := io.ReadFull(random, fileKey[:]); err != nil {
		return nil, fmt.Errorf("keystore: draw: %w", err)
	}
	wrapped, err := kek.Wrap(fileKey[:])
	if err != nil {
		return nil, fmt.Errorf("keystore: seal under %s: %w", kek.Name(), err)
	}
	aead, err := fileAEAD(fileKey[:])
	if err != nil {
		return nil, err
	}
	n := ring.len()
	const keyBytes = 128 // or so
	file := make([]byte, 0, 256+len(wrapped)+n*keyBytes)
	file = append(file, keystoreMagic...)
	file = binary.BigEndian.AppendUint16(file, keystoreVersion)
	file = binary.BigEndian.AppendUint64(file, ring.generation)
	file = binary.BigEndian.AppendUint32(file, uint32(n)) //nolint:gosec // bounded by the size of a file.
	file = appendText(file, kek.Name())
	file = binary.BigEndian.AppendUint16(file, uint16(len(wrapped))) //nolint:gosec // a key and a little.
	file = append(file, wrapped...)
	file = aead.Seal(file, nonceOf(0), nil, file)
	bound := append([]byte(nil), file[len(file)-sealBytes:]...)
	index := uint64(0)
	for key := range ring.all() {
		index++
		start := len(file)
		file = appendKeyInfo(file, &key.KeyInfo)
		bound = append(bound[:sealBytes], file[start:]...)
		var plain []byte
		if key.secret != nil {
			plain = key.secret()
		}
		file = append(file, byte(len(plain)+sealBytes)) //nolint:gosec // at most 48.
		file = aead.Seal(file, nonceOf(index), plain, bound)
	}
	return file, nil
}

func fileAEAD(fileKey []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(fileKey)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	return aead, nil
}

func nonceOf(index uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), index)
}

func appendText(dst []byte, text string) []byte {
	if len(text) > 255 {
		text = text[:255]
	}
	return append(append(dst, byte(len(text))), text...) //nolint:gosec // just cut.
}

func appendKeyInfo(dst []byte, k *KeyInfo) []byte {
	dst = appendText(dst, k.Name)
	dst = binary.BigEndian.AppendUint32(dst, k.Version)
	bound := byte(0)
	if k.Bound {
		bound = 1
	}
	dst = append(dst, byte(k.Usage), byte(k.Algorithm), byte(k.State), bound)
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.From))  //nolint:gosec // back to int64 where it is read.
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.Until)) //nolint:gosec // back to int64 where it is read.
	return append(dst, k.Check[:]...)
}

// cursor reads a file from front to back. Past the end it reads zeros and is short.
type cursor struct {
	b     []byte
	at    int
	short bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b)-c.at {
		c.short = true
		return make([]byte, n)
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

func (c *cursor) byte() byte     { return c.take(1)[0] }
func (c *cursor) uint16() uint16 { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) uint32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) uint64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }
func (c *cursor) text() string   { return string(c.take(int(c.byte()))) }

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrKeystoreDamaged, fmt.Sprintf(format, args...))
}

// openRing opens a file.
func openRing(file []byte, kek KEK) (*keyring, error) {
	c := &cursor{b: file}
	if string(c.take(len(keystoreMagic))) != keystoreMagic {
		return nil, damaged("it does not begin with %s, so that it is perhaps no keystore at all", keystoreMagic)
	}
	if version := c.uint16(); !c.short && version != keystoreVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrKeystoreVersion, version, keystoreVersion)
	}
	ring := &keyring{generation: c.uint64(), keys: map[string][]*Key{}, pending: map[string]*Key{}}
	n := c.uint32()
	sealedUnder := c.text()
	wrapped := c.take(min(int(c.uint16()), maxWrapped))
	header := file[:c.at]
	seal := c.take(sealBytes)
	if c.short {
		return nil, damaged("it ends within its head")
	}
	aead, err := openFileKey(kek, wrapped, sealedUnder)
	if err != nil {
		return nil, err
	}
	if _, err := aead.Open(nil, nonceOf(0), seal, header); err != nil {
		return nil, damaged("its head is not what was sealed")
	}
	bound := append([]byte(nil), seal...)
	var last *Key
	for index := range uint64(n) {
		start := c.at
		info := readKeyInfo(c)
		bound = append(bound[:sealBytes], file[start:c.at]...)
		sealed := c.take(int(c.byte()))
		if c.short {
			return nil, damaged("it ends within key %d of %d", index+1, n)
		}
		plain, err := aead.Open(nil, nonceOf(index+1), sealed, bound)
		if err != nil {
			return nil, damaged("key %d of %d is not what was sealed", index+1, n)
		}
		key, err := keyFrom(info, plain, last)
		wipe(plain)
		if err != nil {
			return nil, err
		}
		last = key
		if key.State == KeyPending {
			ring.pending[key.Name] = key
			continue
		}
		ring.keys[key.Name] = append(ring.keys[key.Name], key)
	}
	if c.at != len(file) {
		return nil, damaged("%d bytes follow the last key", len(file)-c.at)
	}
	return ring, nil
}

func openFileKey(kek KEK, wrapped []byte, sealedUnder string) (cipher.AEAD, error) {
	fileKey, err := kek.Unwrap(wrapped)
	if errors.Is(err, ErrOtherKEK) && sealedUnder == kek.Name() {
		return nil, damaged("its own key does not open, though it was sealed under this one (%s)", kek.Name())
	}
	if errors.Is(err, ErrOtherKEK) {
		return nil, fmt.Errorf("%w: under %q, this one is %q", err, sealedUnder, kek.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("keystore: open with %s: %w", kek.Name(), err)
	}
	defer wipe(fileKey)
	return fileAEAD(fileKey)
}

func readKeyInfo(c *cursor) KeyInfo {
	return KeyInfo{
		Name: c.text(), Version: c.uint32(),
		Usage: Usage(c.byte()), Algorithm: Algorithm(c.byte()), State: KeyState(c.byte()), Bound: c.byte() != 0,
		From: points.Timestamp(c.uint64()), Until: points.Timestamp(c.uint64()), //nolint:gosec // written from int64.
		Check: CheckValue(c.take(len(CheckValue{}))),
	}
}

// keyFrom makes a key of what was read. All of it was sealed, so what does not hold was
// written by a program that knew more.
func keyFrom(info KeyInfo, plain []byte, last *Key) (*Key, error) {
	if !info.Usage.Valid() || info.Algorithm.size() == 0 || int(info.State) >= len(stateNames) || info.State == 0 {
		return nil, fmt.Errorf("%w: %s has %v, %v, %v", ErrKeystoreVersion, info.Name, info.Usage, info.Algorithm, info.State)
	}
	if last != nil {
		if order := strings.Compare(last.Name, info.Name); order > 0 || order == 0 && last.Version >= info.Version {
			return nil, damaged("%s/%d follows %v", info.Name, info.Version, last)
		}
	}
	key := &Key{KeyInfo: info}
	switch {
	case info.State == KeyDestroyed && len(plain) == 0:
	case info.State != KeyDestroyed && len(plain) == info.Algorithm.size():
		key.secret = newSecret(plain)
	default:
		return nil, damaged("%v has %d bytes", key, len(plain))
	}
	return key, nil
}
