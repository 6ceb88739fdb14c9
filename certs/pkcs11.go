//go:build cgo

package certs

import (
	"crypto"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/ThalesGroup/crypto11"
)

// HasPKCS11 tells that this build speaks to tokens: it was built with cgo.
const HasPKCS11 = true

// tokenSessions bounds how many sessions a token is asked for.
const tokenSessions = 4

// openToken opens a session with the token that u names.
func openToken(u *tokenURI) (*crypto11.Context, error) {
	pin, err := u.pin()
	if err != nil {
		return nil, err
	}
	token, err := crypto11.Configure(&crypto11.Config{Path: u.module, TokenLabel: u.token, Pin: pin, MaxSessions: tokenSessions})
	if err != nil {
		return nil, fmt.Errorf("pkcs11: token %q by %s: %w", u.token, u.module, err)
	}
	return token, nil
}

// openIn opens a session with the token that uri, a PKCS#11 URI, names, and has take take
// what it names there. Where that fails the session is ended.
func openIn[T any](uri string, take func(token *crypto11.Context, u *tokenURI) (*T, error)) (*T, error) {
	u, err := parseTokenURI(uri)
	if err != nil {
		return nil, err
	}
	token, err := openToken(&u)
	if err != nil {
		return nil, err
	}
	taken, err := take(token, &u)
	if err != nil {
		return nil, errors.Join(err, token.Close())
	}
	return taken, nil
}

// tokenKEK is a key-encryption key that stays in its token, which seals and opens with
// AES-GCM.
type tokenKEK struct {
	name   string
	token  *crypto11.Context
	aead   cipher.AEAD
	random io.Reader
}

func openTokenKEK(uri string, random io.Reader) (KEK, error) {
	kek, err := openIn(uri, func(token *crypto11.Context, u *tokenURI) (*tokenKEK, error) {
		key, err := token.FindKey(nil, []byte(u.object))
		if err != nil {
			return nil, fmt.Errorf("pkcs11: find %q in token %q: %w", u.object, u.token, err)
		}
		if key == nil {
			return nil, fmt.Errorf("pkcs11: token %q has no secret key %q", u.token, u.object)
		}
		aead, err := key.NewGCM()
		if err != nil {
			return nil, fmt.Errorf("pkcs11: %q in token %q: AES-GCM: %w", u.object, u.token, err)
		}
		return &tokenKEK{name: "token " + u.token + " object " + u.object, token: token, aead: aead, random: random}, nil
	})
	if err != nil {
		return nil, err // And no KEK: one that is nil inside is one to who looks.
	}
	return kek, nil
}

// Name is the token's label and the key's.
func (k *tokenKEK) Name() string { return k.name }

// Format writes [tokenKEK.Name] for every verb.
func (k *tokenKEK) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, k.name) }

// LogValue is [tokenKEK.Name].
func (k *tokenKEK) LogValue() slog.Value { return slog.StringValue(k.name) }

// Wrap has the token seal a key.
func (k *tokenKEK) Wrap(key []byte) ([]byte, error) { return wrapWith(k.aead, key, k.random) }

// Unwrap cannot tell a wrong key from a token that is at fault, so it says what the token
// said.
func (k *tokenKEK) Unwrap(wrapped []byte) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(wrapped) < n {
		return nil, ErrOtherKEK
	}
	key, err := k.aead.Open(nil, wrapped[:n], wrapped[n:], []byte(kekBound))
	if err != nil {
		return nil, fmt.Errorf("%w: the token says: %w", ErrOtherKEK, err)
	}
	return key, nil
}

// Close ends the session with the token.
func (k *tokenKEK) Close() error { return k.token.Close() }

// TokenSigner is a private key that stays in its token: a CA's.
type TokenSigner struct {
	crypto.Signer
	token *crypto11.Context
}

// OpenTokenSigner finds the private key that uri, a PKCS#11 URI, names.
func OpenTokenSigner(uri string) (*TokenSigner, error) {
	return openIn(uri, func(token *crypto11.Context, u *tokenURI) (*TokenSigner, error) {
		pair, err := token.FindKeyPair(nil, []byte(u.object))
		if err != nil {
			return nil, fmt.Errorf("pkcs11: find %q in token %q: %w", u.object, u.token, err)
		}
		if pair == nil {
			return nil, fmt.Errorf("pkcs11: token %q has no pair of keys %q", u.token, u.object)
		}
		return &TokenSigner{Signer: pair, token: token}, nil
	})
}

// Close ends the session with the token.
func (s *TokenSigner) Close() error { return s.token.Close() }
