package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// KEK is a key-encryption key: what a keystore file is sealed under. It never leaves
// its owner, which may be a token; so it seals and opens one key, the file's.
type KEK interface {
	// Name tells which key it is, and nothing else of it.
	Name() string
	// Wrap seals key.
	Wrap(key []byte) (wrapped []byte, err error)
	// Unwrap opens what Wrap sealed. Its error is [ErrOtherKEK] if another key sealed it,
	// or it is damaged.
	Unwrap(wrapped []byte) (key []byte, err error)
}

// Ways to name a key-encryption key, as prefixes of a source.
const (
	kekFile   = "file:"
	kekEnv    = "env:"
	kekPKCS11 = "pkcs11:"
)

// KEKSources explains the sources of a key-encryption key, for help.
const KEKSources = `file:PATH (64 hexadecimal digits, readable by its owner only), env:NAME (the same in an environment variable), or pkcs11:token=LABEL;object=LABEL?module-path=PATH&pin-source=PATH (an AES key in a token, RFC 7512)`

// OpenKEK finds the key-encryption key that source names; see [KEKSources]. What it
// returns is closed by whoever asked, if it is an [io.Closer]: a token's session is.
func OpenKEK(source string, random io.Reader) (KEK, error) {
	switch {
	case strings.HasPrefix(source, kekFile):
		if source == kekFile {
			return nil, errors.New("key-encryption key: file: names no file; want file:PATH")
		}
		key, err := readSecretFile("key-encryption key", strings.TrimPrefix(source, kekFile))
		if err != nil {
			return nil, err
		}
		defer wipe(key)
		return newSoftKEK(key, random)
	case strings.HasPrefix(source, kekEnv):
		name := strings.TrimPrefix(source, kekEnv)
		text, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("key-encryption key: the environment variable %q is not set", name)
		}
		key, err := hex.DecodeString(strings.TrimSpace(text))
		if err != nil || len(key) != secretFileBytes {
			return nil, fmt.Errorf("key-encryption key: the environment variable %q is not %d hexadecimal digits", name, 2*secretFileBytes)
		}
		defer wipe(key)
		return newSoftKEK(key, random)
	case strings.HasPrefix(source, kekPKCS11):
		return openTokenKEK(source, random)
	default:
		// The source is not repeated: it might be the key itself.
		return nil, errors.New("key-encryption key: the source begins with none of file:, env:, pkcs11:; want " + KEKSources)
	}
}

// WriteKEK draws a new key-encryption key and writes it to a new file that only its
// owner can read. It never overwrites: without it the keystore cannot be opened.
func WriteKEK(path string, random io.Reader) error {
	return writeSecretFile("key-encryption key", path, random)
}

// secretFileBytes is the length of a key that has a file of its own: AES-256.
const secretFileBytes = 32

func writeSecretFile(what, path string, random io.Reader) (err error) {
	var key [secretFileBytes]byte
	defer wipe(key[:])
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return fmt.Errorf("%s: draw: %w", what, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%s: create: %w", what, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := fmt.Fprintln(f, hex.EncodeToString(key[:])); err != nil {
		return fmt.Errorf("%s: write: %w", what, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%s: sync: %w", what, err)
	}
	return nil
}

// errSecretFile says that the file of a key is not what was written.
var errSecretFile = errors.New("the file is damaged")

func readSecretFile(what, path string) ([]byte, error) {
	if err := Regular(path, MaxFile); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, fmt.Errorf("%s %s: mode %v lets others read it; run: chmod 600 %s", what, path, info.Mode().Perm(), path)
	}
	text, err := ReadRegular(path, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != secretFileBytes {
		// The cause is left out: it would quote a byte of the key.
		return nil, fmt.Errorf("%s %s: %w: want %d hexadecimal digits", what, path, errSecretFile, 2*secretFileBytes)
	}
	return key, nil
}

// softKEK is a key-encryption key in memory: AES-256-GCM.
type softKEK struct {
	name   string
	aead   hidden[cipher.AEAD]
	random io.Reader
}

func newSoftKEK(key []byte, random io.Reader) (*softKEK, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key-encryption key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("key-encryption key: %w", err)
	}
	check, err := checkValue(AES256, key)
	if err != nil {
		return nil, fmt.Errorf("key-encryption key: %w", err)
	}
	return &softKEK{name: "KCV " + check.String(), aead: hide(aead), random: random}, nil
}

// kekBound binds what a key-encryption key seals to what it is for.
const kekBound = "lianfen keystore 1"

// Name is the key's check value.
func (k *softKEK) Name() string { return k.name }

// Format writes the key's check value for every verb.
func (k *softKEK) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, k.name) }

// LogValue is the key's check value.
func (k *softKEK) LogValue() slog.Value { return slog.StringValue(k.name) }

// Wrap seals a key.
func (k *softKEK) Wrap(key []byte) ([]byte, error) { return wrapWith(k.aead(), key, k.random) }

func (k *softKEK) Unwrap(wrapped []byte) ([]byte, error) {
	aead := k.aead()
	n := aead.NonceSize()
	if len(wrapped) < n {
		return nil, ErrOtherKEK
	}
	key, err := aead.Open(nil, wrapped[:n], wrapped[n:], []byte(kekBound))
	if err != nil {
		return nil, ErrOtherKEK // All that a cipher can say is that it does not open.
	}
	return key, nil
}

func wrapWith(aead cipher.AEAD, key []byte, random io.Reader) ([]byte, error) {
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("key-encryption key: draw: %w", err)
	}
	return append(nonce, aead.Seal(nil, nonce, key, []byte(kekBound))...), nil
}
