//go:build !cgo

package certs

import (
	"crypto"
	"errors"
	"io"
)

// HasPKCS11 tells that this build does not speak to tokens.
const HasPKCS11 = false

var errNoPKCS11 = errors.New("pkcs11: this lianfen was built without cgo and speaks to no token; build it with CGO_ENABLED=1 and a C compiler, or use file: or env:")

func openTokenKEK(uri string, _ io.Reader) (KEK, error) {
	if _, err := parseTokenURI(uri); err != nil {
		return nil, err
	}
	return nil, errNoPKCS11
}

// TokenSigner is a private key that stays in its token; this build has none.
type TokenSigner struct{ crypto.Signer }

// OpenTokenSigner says that this build speaks to no token.
func OpenTokenSigner(uri string) (*TokenSigner, error) {
	if _, err := parseTokenURI(uri); err != nil {
		return nil, err
	}
	return nil, errNoPKCS11
}

// Close does nothing.
func (*TokenSigner) Close() error { return nil }
