package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/youmark/pkcs8"
)

// Types of PEM blocks.
const (
	pemCertificate  = "CERTIFICATE"
	pemKey          = "PRIVATE KEY"
	pemEncryptedKey = "ENCRYPTED PRIVATE KEY"
	pemRequest      = "CERTIFICATE REQUEST"
	pemRevocations  = "X509 CRL"
)

// sealing is how a key is encrypted under a passphrase: PKCS#8 with PBES2, which
// OpenSSL reads too. The count of PBKDF2 is OWASP's for SHA-256.
func sealing() *pkcs8.Opts {
	return &pkcs8.Opts{
		Cipher:  pkcs8.AES256CBC,
		KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: 600_000, HMACHash: crypto.SHA256},
	}
}

// drawSigner draws an ECDSA P-256 key.
func drawSigner() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: draw a key: %w", err)
	}
	return key, nil
}

// keyPEM writes a key down: under a passphrase, or, where there is none, in clear.
func keyPEM(key crypto.Signer, passphrase []byte) ([]byte, error) {
	if passphrase == nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("certs: write a key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
	}
	der, err := pkcs8.MarshalPrivateKey(key, passphrase, sealing())
	if err != nil {
		return nil, fmt.Errorf("certs: seal a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemEncryptedKey, Bytes: der}), nil
}

// ErrPassphrase says that a key could not be opened with a passphrase.
var ErrPassphrase = errors.New("certs: the passphrase does not open the key")

// parseKey reads what keyPEM wrote.
func parseKey(text, passphrase []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case pemKey:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case pemEncryptedKey:
			if key, _, err = pkcs8.ParsePrivateKey(block.Bytes, passphrase); err != nil {
				return nil, ErrPassphrase // Its own error may tell of what is inside.
			}
		default:
			continue
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, errors.New("certs: a PEM block PRIVATE KEY that holds no key in PKCS#8")
		}
		return signer, nil
	}
	return nil, errors.New("certs: no PEM block PRIVATE KEY or ENCRYPTED PRIVATE KEY")
}

// certificatesPEM writes a chain down.
func certificatesPEM(chain ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range chain {
		_ = pem.Encode(&out, &pem.Block{Type: pemCertificate, Bytes: cert.Raw}) // A buffer takes everything.
	}
	return out.Bytes()
}

// parseCertificates reads all certificates of a file; none is an error.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certs: certificate %d: %w", len(all)+1, err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("certs: no PEM block CERTIFICATE")
	}
	return all, nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	text, err := ReadRegular(path, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	all, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// readKey reads a key that nobody else may read.
func readKey(path string, passphrase []byte) (crypto.Signer, error) {
	if err := Regular(path, MaxFile); err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// readPrivate reads a file and refuses one that others could have read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("certs: %s has mode %v and lets others read a key; run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return text, nil
}

// ReadPassphrase reads a passphrase from the first line of a file that nobody else
// may read.
func ReadPassphrase(path string) ([]byte, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) < leastPassphrase {
		return nil, fmt.Errorf("certs: the first line of %s has %d characters, want a passphrase of %d at least", path, len(line), leastPassphrase)
	}
	return line, nil
}

// leastPassphrase is what stands between a stolen file and the root of all trust.
const leastPassphrase = 12

// readPair reads a chain and its key for [tls]; both may be in one file.
func readPair(certificate, key string) (*tls.Certificate, error) {
	chain, err := os.ReadFile(certificate)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	secret, err := readPrivate(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, secret)
	if err != nil {
		// The error may quote nothing of the key: it names types and what does not match.
		return nil, fmt.Errorf("certs: %s with the key %s: %w", certificate, key, err)
	}
	return &pair, nil
}

// replace writes a file whole or not at all: readers see the old one or the new one.
func replace(path string, content []byte, mode fs.FileMode) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("certs: write %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// create writes a new file and never overwrites one.
func create(path string, content []byte, mode fs.FileMode) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("certs: write %s: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("certs: sync %s: %w", path, err)
	}
	return nil
}
