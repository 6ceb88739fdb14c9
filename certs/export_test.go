package certs

import (
	"crypto"
	"crypto/x509"
	"io"
)

// KeyForTest makes a key of known bytes, as published vectors need it. Outside of
// tests a key comes from a keystore only.
func KeyForTest(usage Usage, algorithm Algorithm, plain []byte) (*Key, error) {
	return newKey(KeyInfo{Name: "test", Version: 1, Usage: usage, Algorithm: algorithm, State: KeyActive}, plain)
}

// CMACForTest is the whole CMAC of a message.
func CMACForTest(algorithm Algorithm, plain, message []byte) ([]byte, error) {
	block, err := newBlock(algorithm, plain)
	if err != nil {
		return nil, err
	}
	sum := cmacOf(block, message)
	return sum[:block.BlockSize()], nil
}

// ClearForTest is the key in clear.
func ClearForTest(k *Key) []byte { return append([]byte(nil), k.secret()...) }

// EncipherForTest enciphers one block.
func EncipherForTest(algorithm Algorithm, plain, field []byte) ([]byte, error) {
	block, err := newBlock(algorithm, plain)
	if err != nil {
		return nil, err
	}
	block.Encrypt(field, field)
	return field, nil
}

// OpenRingForTest opens the content of a file and returns the number of its keys.
func OpenRingForTest(file []byte, kek KEK) (int, error) {
	ring, err := openRing(file, kek)
	if err != nil {
		return 0, err
	}
	return ring.len(), nil
}

// ResealForTest gives file a head and seals that hold, so that a fuzzer gets to what
// stands behind them: each key's sealed bytes are taken as the key.
func ResealForTest(file []byte, kek KEK) []byte {
	c := &cursor{b: file}
	ring := &keyring{generation: c.uint64(), keys: map[string][]*Key{}}
	for !c.short && ring.len() < 100 {
		info := readKeyInfo(c)
		key := &Key{KeyInfo: info}
		if n := int(c.byte()) % 33; n > 0 {
			key.secret = newSecret(c.take(n))
		}
		ring.keys[info.Name] = append(ring.keys[info.Name], key)
	}
	sealed, err := sealRing(ring, kek, zeros{})
	if err != nil {
		return nil
	}
	return sealed
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// ImportedForTest is the key in clear.
func ImportedForTest(i *Imported) []byte { return append([]byte(nil), i.secret()...) }

// SealKeyBlockForTest writes a key block with a head of one's choice.
func SealKeyBlockForTest(use string, plain []byte, under *Key, random io.Reader) ([]byte, error) {
	return sealKeyBlock(nil, use, "", plain, under, random)
}

// DUKPTDerivationKeyForTest is what the keys of one message follow from.
func DUKPTDerivationKeyForTest(base *Key, ksn KSN) ([]byte, error) {
	initial, err := DUKPTInitialKey(base, ksn)
	if err != nil {
		return nil, err
	}
	current, _, err := dukptCurrent(initial.Algorithm, initial.secret(), ksn)
	return current, err
}

// WrapForTest enciphers one key under a master key of 3DES, block by block.
func WrapForTest(key, master *Key) ([]byte, error) {
	other, err := newKey(KeyInfo{Name: "test", Usage: PINWorking, Algorithm: DES}, key.secret())
	if err != nil {
		return nil, err
	}
	wrapped, err := (&WorkingKeys{PIN: other, MAC: key, set: KeySet001}).AppendWrapped(nil, master)
	return wrapped[:8], err
}

// RequestedKeyForTest reads a certificate signing request.
func RequestedKeyForTest(text []byte, who Identity) (crypto.PublicKey, error) {
	return requestedKey(text, who)
}

// ParseCertificatesForTest reads certificates as PEM.
func ParseCertificatesForTest(text []byte) ([]*x509.Certificate, error) {
	return parseCertificates(text)
}

// IdentityOfForTest reads who a certificate is of.
func IdentityOfForTest(cert *x509.Certificate) (Identity, error) { return identityOf(cert) }

// SharedForTest is for how many ones of its counter a message is helped by what is kept;
// -1: by nothing.
func SharedForTest(h *DUKPTHost, base *Key, ksn KSN) int {
	return h.begin(&DUKPTMessage{way: newWay(), ksn: ksn}, base)
}

// WaysForTest tells of what is kept of each terminal whether it is wiped by now.
func WaysForTest(h *DUKPTHost) (wiped []func() bool) {
	for e := h.order.Front(); e != nil; e = e.Next() {
		keys := e.Value.(*dukptWay).keys
		wiped = append(wiped, func() bool { return *keys() == dukptKeys{} })
	}
	return wiped
}
