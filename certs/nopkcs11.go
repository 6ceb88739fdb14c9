package certs

import (
	"errors"
	"io"
)

func openTokenKEK(string, io.Reader) (KEK, error) {
	return nil, errors.New("key-encryption key: this build has no PKCS#11")
}
