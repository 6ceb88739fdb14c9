package certs

import (
	"encoding/base64"
	"slices"
)

// Reseal seals the secret of the operator called name under another key: what was sealed
// under k. It draws nothing, so that the same secret gives the same again.
func (k *OperatorKey) Reseal(name, sealed string, under *OperatorKey) (string, error) {
	secret, err := k.open(name, sealed)
	if err != nil {
		return "", err
	}
	raw, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return "", err
	}
	nonce := raw[:k.aead().NonceSize()] // Under another key it is as good as new.
	return base64.RawStdEncoding.EncodeToString(under.aead().Seal(slices.Clip(nonce), nonce, []byte(secret), []byte(name))), nil
}
