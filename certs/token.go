package certs

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// tokenURI is what a PKCS#11 URI (RFC 7512) names: an object in a token, the module
// that speaks to it, and the file with the PIN.
type tokenURI struct {
	token, object, module, pinFile string
}

// parseTokenURI reads a URI of the kind pkcs11:token=T;object=O?module-path=M&pin-source=P.
// The PIN itself is not taken: command lines and configurations are read by many.
func parseTokenURI(uri string) (u tokenURI, err error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(uri, kekPKCS11), "?")
	into := map[string]*string{"token": &u.token, "object": &u.object, "module-path": &u.module, "pin-source": &u.pinFile}
	for _, attribute := range append(strings.Split(path, ";"), strings.Split(query, "&")...) {
		if attribute == "" {
			continue
		}
		name, value, _ := strings.Cut(attribute, "=")
		if name == "pin-value" {
			return u, errors.New("pkcs11: pin-value is not taken, others could read it; name a file with pin-source")
		}
		field, ok := into[name]
		if !ok {
			return u, fmt.Errorf("key-encryption key: pkcs11: %q is not known; want token, object, module-path, pin-source", name)
		}
		if *field, err = url.PathUnescape(value); err != nil {
			return u, fmt.Errorf("pkcs11: %s: %w", name, err)
		}
	}
	for name, field := range into {
		if *field == "" {
			return u, fmt.Errorf("pkcs11: %s is missing; want pkcs11:token=LABEL;object=LABEL?module-path=PATH&pin-source=PATH", name)
		}
	}
	u.pinFile = strings.TrimPrefix(u.pinFile, kekFile)
	return u, nil
}

// pin reads the PIN of the token.
func (u *tokenURI) pin() (string, error) {
	info, err := os.Stat(u.pinFile)
	if err != nil {
		return "", fmt.Errorf("pkcs11: PIN: %w", err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return "", fmt.Errorf("pkcs11: PIN %s: mode %v lets others read it; run: chmod 600 %s", u.pinFile, info.Mode().Perm(), u.pinFile)
	}
	text, err := ReadRegular(u.pinFile, MaxFile)
	if err != nil {
		return "", fmt.Errorf("pkcs11: PIN: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
