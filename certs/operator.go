package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/bcrypt"

	"github.com/lianfen/lianfen/points"
)

// OperatorKey seals and proves what operators sign in with where no certificate tells
// who they are: a password, kept as a bcrypt hash, and one-time codes (TOTP, RFC 6238),
// whose secret is kept sealed under a key of its own, derived from the card key. It is
// safe for concurrent use.
type OperatorKey struct {
	aead   hidden[cipher.AEAD]
	halves hidden[[]byte] // a key for HMAC
}

// Operators derives the key from the card key: four blocks under it that are no card's,
// for the first byte of a card's is its number of digits.
func (k *CardKey) Operators() *OperatorKey {
	var key [64]byte
	for i := range 4 {
		block := [16]byte{0xFF, byte(i)}
		copy(block[2:], "operator seal")
		k.block().Encrypt(key[i*16:(i+1)*16], block[:])
	}
	block, err := aes.NewCipher(key[:32])
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCM(block); err == nil {
			return &OperatorKey{hide(aead), newSecret(key[32:])}
		}
	}
	panic("certs: AES-GCM refuses a 32-byte key: " + err.Error()) //nolint:forbidigo // cannot happen.
}

// InvitationHalf is the half of an invitation's code that goes to whoever approves it: who
// proposes has the other, so that neither can use it in the place of the person. It is
// computed again from the name and the end of the invitation.
func (k *OperatorKey) InvitationHalf(name string, until points.Timestamp) points.Secret {
	mac := hmac.New(sha256.New, k.halves())
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(until))) //nolint:gosec // its bits.
	mac.Write([]byte(name))
	return points.Secret(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:10]))
}

// CodeHalf is the half of an enrolment code that goes to whoever approves it: who proposes
// has the other, whose hash proof is. It is computed again from that and whom the code is for.
func (k *OperatorKey) CodeHalf(proof [32]byte, of Identity) points.Secret {
	mac := hmac.New(sha256.New, k.halves())
	mac.Write([]byte("enrolment code\x00"))
	mac.Write(proof[:])
	mac.Write([]byte(of.String()))
	return points.Secret(spellCode(mac.Sum(nil)[:codeBytes]))
}

// Bounds of a password. The longest is what bcrypt looks at.
const (
	leastPassword = 12
	mostPassword  = 72
)

// codePeriod is how long a one-time code stands; one period earlier and one later are
// taken too, for the clocks of telephones.
const codePeriod = 30

// codes are six digits, as every authenticator shows them.
var codes = totp.ValidateOpts{Period: codePeriod, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1} //nolint:gochecknoglobals // a constant.

// Enrolment is what a person has enrolled. URI holds the secret in clear: it is shown
// to the person, once, and kept nowhere.
type Enrolment struct {
	Password string // bcrypt
	Secret   string // sealed
	URI      string // otpauth://
}

// Format says what it is alone.
func (e Enrolment) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, "the credentials of an operator")
}

// LogValue says what it is alone.
func (e Enrolment) LogValue() slog.Value { return slog.StringValue("the credentials of an operator") }

// Enrol makes the credentials of the operator called name: the person's own password,
// and a new secret drawn from random. Errors name what is wrong with the password and
// never repeat it.
func (k *OperatorKey) Enrol(random io.Reader, name, password string) (Enrolment, error) {
	switch {
	case !utf8.ValidString(password) || utf8.RuneCountInString(password) < leastPassword:
		return Enrolment{}, points.Errorf(points.FormatError, "password: want at least %d characters", leastPassword)
	case len(password) > mostPassword:
		return Enrolment{}, points.Errorf(points.FormatError, "password: want at most %d bytes", mostPassword)
	case strings.Contains(strings.ToLower(password), name):
		return Enrolment{}, points.Errorf(points.FormatError, "password: the operator's name is in it")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return Enrolment{}, errors.New("operator: bcrypt refuses the password")
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "lianfen", AccountName: name, Rand: random, Period: codes.Period, Digits: codes.Digits, Algorithm: codes.Algorithm})
	if err != nil {
		return Enrolment{}, fmt.Errorf("operator %s: one-time codes: %w", name, err)
	}
	nonce := make([]byte, k.aead().NonceSize())
	if _, err := io.ReadFull(random, nonce); err != nil {
		return Enrolment{}, fmt.Errorf("operator %s: draw: %w", name, err)
	}
	sealed := k.aead().Seal(nonce, nonce, []byte(key.Secret()), []byte(name))
	return Enrolment{string(hash), base64.RawStdEncoding.EncodeToString(sealed), key.URL()}, nil
}

// stranger is the hash that a password is held against when there is no such operator,
// so that the answer takes as long: of a password that nobody has.
var stranger = sync.OnceValue(func() []byte { //nolint:gochecknoglobals // made once.
	hash, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), bcrypt.DefaultCost)
	if err != nil {
		panic("certs: bcrypt refuses a short password: " + err.Error()) //nolint:forbidigo // cannot happen.
	}
	return hash
})

// Prove holds a password and a one-time code against what the operator called name has
// enrolled, as of now; ok is true only when both are right, and step is that of the
// code, of which the caller takes each one once. Empty credentials prove nothing, in
// the same time.
func (k *OperatorKey) Prove(name string, enrolled Enrolment, password, code string, now time.Time) (step uint32, ok bool) {
	hash := []byte(enrolled.Password)
	if len(hash) == 0 {
		hash = stranger()
	}
	known := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && enrolled.Password != ""
	secret, err := k.open(name, enrolled.Secret)
	if err != nil {
		return 0, false
	}
	at := now.Unix() / codePeriod
	for s := at - 1; s <= at+1; s++ {
		want, err := totp.GenerateCodeCustom(secret, time.Unix(s*codePeriod, 0), codes)
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step = uint32(s) //nolint:gosec // half minutes since 1970: 32 bits last for 4,000 years.
		}
	}
	return step, known && step != 0
}

// OneTimeCode is what an authenticator that has read uri shows at a time.
func OneTimeCode(uri string, at time.Time) (string, error) {
	key, err := otp.NewKeyFromURL(uri)
	if err != nil {
		return "", errors.New("operator: this is no address of an authenticator") // It may hold a secret.
	}
	return totp.GenerateCodeCustom(key.Secret(), at, codes)
}

func (k *OperatorKey) open(name, sealed string) (string, error) {
	raw, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil || len(raw) < k.aead().NonceSize() {
		return "", errors.New("operator: the sealed secret is damaged")
	}
	n := k.aead().NonceSize()
	secret, err := k.aead().Open(nil, raw[:n], raw[n:], []byte(name))
	if err != nil {
		return "", errors.New("operator: the sealed secret is not under this key, or another operator's")
	}
	return string(secret), nil
}
