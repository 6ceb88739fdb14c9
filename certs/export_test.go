package certs

// KeyForTest makes a key of known bytes, as published vectors need it. Outside of
// tests a key comes from a keystore only.
func KeyForTest(usage Usage, algorithm Algorithm, clear []byte) (*Key, error) {
	return newKey(KeyInfo{Name: "test", Version: 1, Usage: usage, Algorithm: algorithm, State: KeyActive}, clear)
}

// CMACForTest is the whole CMAC of a message.
func CMACForTest(algorithm Algorithm, clear, message []byte) ([]byte, error) {
	block, err := newBlock(algorithm, clear)
	if err != nil {
		return nil, err
	}
	sum := cmacOf(block, message)
	return sum[:block.BlockSize()], nil
}

// ClearForTest is the key in clear.
func ClearForTest(k *Key) []byte { return append([]byte(nil), k.secret.bytes()...) }

// EncipherForTest enciphers one block.
func EncipherForTest(algorithm Algorithm, clear, field []byte) ([]byte, error) {
	block, err := newBlock(algorithm, clear)
	if err != nil {
		return nil, err
	}
	block.Encrypt(field, field)
	return field, nil
}
