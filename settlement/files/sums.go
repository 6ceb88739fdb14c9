package files

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// DigestWriter hashes and counts what goes through it.
type DigestWriter struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

// NewDigest returns a writer that passes on to w.
func NewDigest(w io.Writer) *DigestWriter { return &DigestWriter{w: w, hash: sha256.New()} }

// Write passes p on.
func (d *DigestWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	_, _ = d.hash.Write(p[:n]) // A hash never fails.
	d.size += int64(n)
	return n, err //nolint:wrapcheck // a writer says what its writer says.
}

// Sum returns the SHA-256 of what went through so far.
func (d *DigestWriter) Sum() (digest [sha256.Size]byte) {
	d.hash.Sum(digest[:0])
	return digest
}

// Size returns how many bytes went through.
func (d *DigestWriter) Size() int64 { return d.size }

// AppendSums writes SHA256SUMS as coreutils do, sorted by name: sha256sum -c reads it.
func AppendSums(dst []byte, outputs []Output) []byte {
	for _, o := range sortedOutputs(outputs) {
		dst = fmt.Appendf(dst, "%x  %s\n", o.Digest, o.Name)
	}
	return dst
}

func sortedOutputs(outputs []Output) []Output {
	return slices.SortedFunc(slices.Values(outputs), func(a, b Output) int { return strings.Compare(a.Name, b.Name) })
}

// maxSums bounds SHA256SUMS: more than a hundred thousand files.
const maxSums = 1 << 24

// ParseSums reads SHA256SUMS. Names are of files in the same folder. It gives up behind
// MaxBreaches that are broken: then it is something else.
func ParseSums(r io.Reader) (outputs []Output, broken []FormatError, err error) {
	const digits = 2 * sha256.Size
	scanner := bufio.NewScanner(io.LimitReader(r, maxSums))
	seen := make(map[string]bool)
	for at := uint64(1); len(broken) < MaxBreaches && scanner.Scan(); at++ {
		line := scanner.Bytes()
		var o Output
		if len(line) < digits+3 {
			broken = append(broken, FormatError{Line: at, Column: 1, Field: "line", Found: quoted(line), Expected: "a digest, two blanks and a name"})
			continue
		}
		if n, err := hex.Decode(o.Digest[:], line[:digits]); err != nil {
			broken = append(broken, FormatError{Line: at, Column: 2*n + 1, Field: "digest", Found: quoted(line[:digits]), Expected: "64 hexadecimal digits"})
			continue
		}
		o.Name = string(line[digits+2:])
		if mark := string(line[digits : digits+2]); mark != "  " && mark != " *" || seen[o.Name] || strings.ContainsAny(o.Name, `/\`) {
			broken = append(broken, FormatError{Line: at, Column: digits + 1, Field: "name", Found: quoted(line[digits:]), Expected: "two blanks and the name of a file in this folder, once"})
			continue
		}
		seen[o.Name] = true
		outputs = append(outputs, o)
	}
	return outputs, broken, scanner.Err() //nolint:wrapcheck // the caller says which file.
}

// Namespace is what signatures of SHA256SUMS are for (ssh-keygen -Y ... -n clearing): a
// signature that the same key made for something else does not pass for one.
const Namespace = "clearing"

// Signer is who signs, as allowed_signers names the operator.
const Signer = "lianfen"

// AppendSigner writes a line of allowed_signers: whose signatures partners take, what for, and
// the key by which they know them.
func AppendSigner(dst []byte, key ssh.PublicKey) []byte {
	dst = fmt.Appendf(dst, "%s namespaces=%q ", Signer, Namespace)
	return append(dst, ssh.MarshalAuthorizedKey(key)...)
}

// Sign signs the bytes of SHA256SUMS in OpenSSH's format.
func Sign(sums []byte, key ssh.Signer) ([]byte, error) {
	signature, err := sshsig.Sign(bytes.NewReader(sums), key, sshsig.HashSHA512, Namespace)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", SumsName, err)
	}
	return sshsig.Armor(signature), nil
}

// CheckSignature holds a signature of SHA256SUMS against the operator's keys: one of
// them must have made it.
func CheckSignature(sums, armored []byte, operator []ssh.PublicKey) error {
	signature, err := sshsig.Unarmor(armored)
	if err != nil {
		return fmt.Errorf("%s: %w", SignatureName, err)
	}
	for _, key := range operator {
		if !bytes.Equal(key.Marshal(), signature.PublicKey.Marshal()) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(sums), signature, key, signature.HashAlgorithm, Namespace); err != nil {
			return fmt.Errorf("%s: %w", SignatureName, err)
		}
		return nil
	}
	return fmt.Errorf("%s: made with the key %s, which is not the operator's", SignatureName, ssh.FingerprintSHA256(signature.PublicKey))
}

// ParseKeys reads public keys in OpenSSH's form: a .pub file, authorized_keys, or an
// allowed_signers file, whose lines have the signer's name in front.
func ParseKeys(text []byte) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("public keys, line %d: %w", i+1, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("public keys: there is none; want lines such as: ssh-ed25519 AAAA…, as ssh-keygen writes them")
	}
	return keys, nil
}

func parseKey(line string) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)) //nolint:dogsled // the library's result.
	if _, rest, named := strings.Cut(line, " "); err != nil && named {
		key, _, _, _, err = ssh.ParseAuthorizedKey([]byte(rest)) //nolint:dogsled // as above.
	}
	return key, err //nolint:wrapcheck // the caller says which line.
}
