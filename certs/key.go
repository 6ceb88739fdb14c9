package certs

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the installed terminals' cipher: double-length 3DES, and what is made of it.
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// Usage says what a key may do, and it may do nothing else: a key for MACs never
// opens a PIN block, a key that leaves for a partner never seals a backup. The
// numbers stand in keystore files and do not change.
type Usage uint8

// Usages.
const (
	// CardEncryption turns card numbers into tokens and back ([CardKey]).
	CardEncryption Usage = iota + 1
	// PINVerification makes the values that PINs are compared by ([PINVerifier]).
	PINVerification
	// TerminalMaster wraps the working keys of one terminal at sign-on.
	TerminalMaster
	// PINWorking encrypts PIN blocks between a terminal and us.
	PINWorking
	// MACWorking authenticates messages between a terminal and us.
	MACWorking
	// TrackWorking encrypts track data between a terminal and us.
	TrackWorking
	// ZoneMaster protects keys that a partner and we exchange as key blocks.
	ZoneMaster
	// ZonePIN encrypts PIN blocks between a partner and us.
	ZonePIN
	// ZoneMAC authenticates messages between a partner and us.
	ZoneMAC
	// DUKPTBase is what the initial keys of terminals are derived from (X9.24-3).
	DUKPTBase
	// WorkingDerivation is what the working keys of all terminals are derived from.
	WorkingDerivation
	// CASigning signs certificates.
	CASigning
	// BackupSealing seals backups.
	BackupSealing
	// DUKPTInitial is the key of one terminal that its working keys are derived from.
	DUKPTInitial
)

// usageNames are the words for usages, in files for people and on command lines.
var usageNames = [...]string{
	CardEncryption: "card", PINVerification: "pin-verification", TerminalMaster: "terminal-master",
	PINWorking: "pin-working", MACWorking: "mac-working", TrackWorking: "track-working",
	ZoneMaster: "zone-master", ZonePIN: "zone-pin", ZoneMAC: "zone-mac",
	DUKPTBase: "dukpt-base", WorkingDerivation: "working-derivation", CASigning: "ca-signing", BackupSealing: "backup", DUKPTInitial: "dukpt-initial",
}

// String is the word for the usage.
func (u Usage) String() string { return wordOf(usageNames[:], uint8(u), "usage") }

// Valid reports whether u is a usage.
func (u Usage) Valid() bool { return u != 0 && int(u) < len(usageNames) }

// ParseUsage reads the word for a usage.
func ParseUsage(word string) (Usage, error) {
	n, err := parseWord(usageNames[:], word, "usage of a key")
	return Usage(n), err
}

// Usages returns the words for all usages, for help and completion.
func Usages() []string { return append([]string(nil), usageNames[1:]...) }

// leaves reports whether keys of this usage may leave in a key block. The others
// are of use to nobody else; a copy of them is a copy of the keystore.
func (u Usage) leaves() bool {
	switch u {
	case TerminalMaster, PINWorking, MACWorking, TrackWorking, ZoneMaster, ZonePIN, ZoneMAC, DUKPTBase, DUKPTInitial:
		return true
	default:
		return false
	}
}

// allows says whether a key of algorithm can serve u.
func (u Usage) allows(algorithm Algorithm) bool {
	switch u {
	case CASigning:
		return algorithm == ECDSAP256
	case CardEncryption, WorkingDerivation, BackupSealing:
		return algorithm == AES256
	case PINVerification, DUKPTBase, DUKPTInitial:
		return algorithm == AES128 || algorithm == AES256
	case PINWorking, TrackWorking:
		return algorithm.des() || algorithm.aes()
	case MACWorking:
		return algorithm.des() || algorithm.aes() || algorithm == HMACSHA256
	case ZoneMAC:
		return algorithm == TDES || algorithm.aes() || algorithm == HMACSHA256
	default:
		return algorithm == TDES || algorithm.aes()
	}
}

// Algorithm is what a key is a key of. The numbers stand in keystore files and do
// not change.
type Algorithm uint8

// Algorithms.
const (
	AES128 Algorithm = iota + 1
	AES256
	// TDES is double-length triple DES, 16 bytes.
	TDES
	// ECDSAP256 is a private key on NIST's curve P-256.
	ECDSAP256
	// DES is single DES, which the oldest terminals' working keys are. No key of it is
	// kept: it lives from a sign-on to the next.
	DES
	// HMACSHA256 is a key for HMAC-SHA-256, as long as what that comes to.
	HMACSHA256
)

var algorithmNames = [...]string{
	AES128: "aes-128", AES256: "aes-256", TDES: "3des-2key", ECDSAP256: "ecdsa-p256", DES: "des", HMACSHA256: "hmac-sha256",
}

// String is the word for the algorithm.
func (a Algorithm) String() string { return wordOf(algorithmNames[:], uint8(a), "algorithm") }

// ParseAlgorithm reads the word for an algorithm.
func ParseAlgorithm(word string) (Algorithm, error) {
	n, err := parseWord(algorithmNames[:], word, "algorithm of a key")
	return Algorithm(n), err
}

// Algorithms returns the words for all algorithms that a keystore keeps keys of.
func Algorithms() []string {
	return append(slices.Clone(algorithmNames[AES128:DES]), algorithmNames[HMACSHA256])
}

// size is the length in bytes of a key; 0 is of no algorithm.
func (a Algorithm) size() int {
	switch a {
	case DES:
		return 8
	case AES128, TDES:
		return 16
	case AES256, ECDSAP256, HMACSHA256:
		return 32
	default:
		return 0
	}
}

// des reports whether the algorithm is DES or made of it.
func (a Algorithm) des() bool { return a == DES || a == TDES }

// aes reports whether the algorithm is AES.
func (a Algorithm) aes() bool { return a == AES128 || a == AES256 }

func wordOf(words []string, n uint8, what string) string {
	if n == 0 || int(n) >= len(words) {
		return fmt.Sprintf("%s(%d)", what, n)
	}
	return words[n]
}

func parseWord(words []string, word, what string) (uint8, error) {
	for i, w := range words {
		if w != "" && w == word {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no %s; want one of %s", word, what, strings.Join(words[1:], ", "))
}

// CheckValue tells two keys apart without telling either: of AES the first three
// bytes of the CMAC of a block of zeros, of DES those of a block of zeros
// enciphered (ANSI X9.24-1), of HMAC those of the HMAC of a block of zeros (ours: 16 of
// them, as of AES), of ECDSA those of the hash of the public key.
type CheckValue [3]byte

// String is the check value in six hexadecimal digits.
func (v CheckValue) String() string { return strings.ToUpper(hex.EncodeToString(v[:])) }

// MarshalText is [CheckValue.String].
func (v CheckValue) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads six hexadecimal digits.
func (v *CheckValue) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(v[:], text[:min(len(text), 2*len(v))]); err != nil || n != len(v) || len(text) != 2*len(v) {
		return fmt.Errorf("a check value has %d hexadecimal digits", 2*len(v))
	}
	return nil
}

// hidden holds what must not be printed where nothing that prints by reflection finds it:
// in a closure. A pointer would not do: fmt follows one under a verb that does not fit.
type hidden[T any] func() T

func hide[T any](v T) hidden[T] { return func() T { return v } }

// newSecret hides a copy of a key in clear.
func newSecret(plain []byte) hidden[[]byte] { return hide(bytes.Clone(plain)) }

// Key is one key: what it is called, what it may do, and the key itself, which no
// way of printing it shows and no method returns. It does not change; a newer
// version of it is another Key. It is safe for concurrent use.
type Key struct {
	KeyInfo
	secret hidden[[]byte] // nil once destroyed
}

// KeyInfo is what may be told of a key.
type KeyInfo struct {
	Name      string           `json:"name"`
	Version   uint32           `json:"version"` // counts from 1 on by rotation
	Usage     Usage            `json:"usage"`
	Algorithm Algorithm        `json:"algorithm"`
	State     KeyState         `json:"state"`
	Check     CheckValue       `json:"kcv"`
	From      points.Timestamp `json:"from"`            // in force from here on
	Until     points.Timestamp `json:"until,omitempty"` // and before here; 0 is for ever
	// Bound keys came from a partner who did not allow them to be passed on.
	Bound bool `json:"bound,omitempty"`
}

// MarshalText is the word for the usage.
func (u Usage) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalText is the word for the algorithm.
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is [ParseUsage].
func (u *Usage) UnmarshalText(text []byte) (err error) {
	*u, err = ParseUsage(string(text))
	return err
}

// UnmarshalText is [ParseAlgorithm].
func (a *Algorithm) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAlgorithm(string(text))
	return err
}

// KeyState is where a key is in its life. The numbers stand in keystore files.
type KeyState uint8

// States of a key.
const (
	// KeyActive keys do all that their usage allows.
	KeyActive KeyState = iota + 1
	// KeyRetired keys check and open what was made under them, and make nothing new.
	KeyRetired
	// KeyDestroyed keys are no more; their name and check value are kept.
	KeyDestroyed
	// KeyPending keys wait for a second person, and do nothing.
	KeyPending
)

var stateNames = [...]string{KeyActive: "active", KeyRetired: "retired", KeyDestroyed: "destroyed", KeyPending: "pending"}

// String is the word for the state.
func (s KeyState) String() string { return wordOf(stateNames[:], uint8(s), "state") }

// MarshalText is the word for the state.
func (s KeyState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word for a state.
func (s *KeyState) UnmarshalText(text []byte) error {
	n, err := parseWord(stateNames[:], string(text), "state of a key")
	*s = KeyState(n)
	return err
}

// ErrKeyUse is wrapped by every refusal to use a key for what it is not for, or when
// it is not in force.
var ErrKeyUse = errors.New("key refused")

// newKey makes a key of plain, which it copies.
func newKey(info KeyInfo, plain []byte) (*Key, error) {
	if !info.Usage.Valid() {
		return nil, fmt.Errorf("key %s: %v is no usage", info.Name, info.Usage)
	}
	if !info.Usage.allows(info.Algorithm) {
		return nil, fmt.Errorf("key %s: a key for %v cannot be of %v", info.Name, info.Usage, info.Algorithm)
	}
	if len(plain) != info.Algorithm.size() {
		return nil, fmt.Errorf("key %s: %d bytes, but a key of %v has %d", info.Name, len(plain), info.Algorithm, info.Algorithm.size())
	}
	if info.Algorithm == TDES && sameDES(plain[:8], plain[8:]) {
		return nil, fmt.Errorf("key %s: both halves are the same, which makes single DES of it", info.Name)
	}
	k := &Key{KeyInfo: info, secret: newSecret(plain)}
	check, err := checkValue(info.Algorithm, plain)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", info.Name, err)
	}
	k.Check = check
	return k, nil
}

// sameDES reports whether two single DES keys are the same; the lowest bit of each
// byte is parity and does not count.
func sameDES(a, b []byte) bool {
	var differ byte
	for i := range a {
		differ |= (a[i] ^ b[i]) &^ 1
	}
	return differ == 0
}

func checkValue(algorithm Algorithm, plain []byte) (CheckValue, error) {
	if algorithm == ECDSAP256 {
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), plain)
		if err != nil {
			return CheckValue{}, errors.New("not a private key on the curve P-256") // The cause might quote it.
		}
		public, err := private.PublicKey.Bytes()
		if err != nil {
			return CheckValue{}, errors.New("not a private key on the curve P-256")
		}
		sum := sha256.Sum256(public)
		return CheckValue(sum[:]), nil
	}
	if algorithm == HMACSHA256 {
		var zeros [aes.BlockSize]byte
		mac := hmac.New(sha256.New, plain)
		mac.Write(zeros[:]) // A hash does not fail.
		return CheckValue(mac.Sum(nil)), nil
	}
	block, err := newBlock(algorithm, plain)
	if err != nil {
		return CheckValue{}, err
	}
	if algorithm.des() {
		var zeros [des.BlockSize]byte
		block.Encrypt(zeros[:], zeros[:])
		return CheckValue(zeros[:]), nil
	}
	var zeros [aes.BlockSize]byte
	sum := cmacOf(block, zeros[:])
	return CheckValue(sum[:]), nil
}

// newBlock expands a symmetric key.
func newBlock(algorithm Algorithm, plain []byte) (cipher.Block, error) {
	if algorithm.size() != len(plain) {
		return nil, fmt.Errorf("a key of %v has %d bytes, not %d", algorithm, algorithm.size(), len(plain))
	}
	switch algorithm {
	case AES128, AES256:
		return aes.NewCipher(plain)
	case TDES:
		var three [24]byte
		defer wipe(three[:])
		copy(three[copy(three[:], plain):], plain[:8])
		return des.NewTripleDESCipher(three[:]) //nolint:gosec // the installed terminals' cipher.
	case DES:
		return des.NewCipher(plain) //nolint:gosec // the oldest terminals' cipher.
	default:
		return nil, fmt.Errorf("%v enciphers no blocks", algorithm)
	}
}

// wipe forgets a key or a PIN.
func wipe(b []byte) { clear(b) }

// open returns the key in clear, for one of usages only.
func (k *Key) open(usages ...Usage) ([]byte, error) {
	if k == nil || k.secret == nil {
		return nil, fmt.Errorf("%w: %v is destroyed", ErrKeyUse, k)
	}
	if slices.Contains(usages, k.Usage) {
		return k.secret(), nil
	}
	return nil, fmt.Errorf("%w: %v is for %v, not for %v", ErrKeyUse, k, k.Usage, usages[0])
}

// block expands the key, for one of usages only.
func (k *Key) block(usages ...Usage) (cipher.Block, error) {
	plain, err := k.open(usages...)
	if err != nil {
		return nil, err
	}
	return newBlock(k.Algorithm, plain)
}

// InForce says why the key must not be used at now: not yet, no longer, or not by
// its state. Retired keys are in force for checking and opening only.
func (k *Key) InForce(now points.Timestamp, checking bool) error {
	switch {
	case k.State == KeyDestroyed || k.secret == nil:
		return fmt.Errorf("%w: %v is destroyed", ErrKeyUse, k)
	case k.State == KeyPending:
		return fmt.Errorf("%w: %v waits for a second person", ErrKeyUse, k)
	case k.State == KeyRetired && !checking:
		return fmt.Errorf("%w: %v is retired; rotate it, or name the version that is active", ErrKeyUse, k)
	case now < k.From:
		return fmt.Errorf("%w: %v is in force from %v on", ErrKeyUse, k, k.From)
	case k.Until != 0 && now >= k.Until && !checking:
		return fmt.Errorf("%w: %v was in force until %v; rotate it", ErrKeyUse, k, k.Until)
	}
	return nil
}

// Fingerprint tells a key apart from every other without telling it: the first half of an
// HMAC of a fixed text under it. Where a check value is three bytes, which somebody can
// meet by trying, this is sixteen. That of a destroyed key is zero.
func (k *Key) Fingerprint() (sum [16]byte) {
	if k.secret == nil {
		return sum
	}
	mac := hmac.New(sha256.New, k.secret())
	mac.Write([]byte("lianfen key fingerprint")) // Never fails.
	copy(sum[:], mac.Sum(nil))
	return sum
}

// Same reports whether both are the same key, whatever they are called.
func (k *Key) Same(other *Key) bool {
	return k.secret != nil && other.secret != nil && subtle.ConstantTimeCompare(k.secret(), other.secret()) == 1
}

// String is the key's name, version and check value.
func (k *Key) String() string {
	if k == nil {
		return "no key"
	}
	return fmt.Sprintf("key %s/%d KCV %v", k.Name, k.Version, k.Check)
}

// Format writes [Key.String] for every verb.
func (k *Key) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, k.String()) }

// MarshalJSON writes name, version and check value.
func (k *Key) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name    string     `json:"name"`
		Version uint32     `json:"version"`
		Check   CheckValue `json:"kcv"`
	}{k.Name, k.Version, k.Check})
}

// MarshalText is [Key.String].
func (k *Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue is [Key.String].
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
