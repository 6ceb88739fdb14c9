package certs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
)

// Bounds of how long a code may be used.
const (
	DefaultCodeLife = 24 * time.Hour
	MaxCodeLife     = 14 * 24 * time.Hour
	MinCodeLife     = time.Minute
)

// codeBytes is what is drawn for a code: 80 bits, 16 characters to type.
const (
	codeBytes   = 10
	codeLetters = codeBytes * 8 / 5
)

// codeAlphabet is Crockford's: no letter looks like a digit.
const codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewCode makes a code with which o can be enrolled once, until life is over. The
// register keeps its hash only.
func (a *Authority) NewCode(o Order, life time.Duration) (code string, until time.Time, err error) {
	code, hash := DrawCode()
	until, err = a.AddCode(o, hash, life)
	if err != nil {
		return "", until, err
	}
	return code, until, nil
}

// DrawCode draws a code, which is good for nothing before [Authority.AddCode] was given
// its hash.
func DrawCode() (code string, hash [32]byte) {
	var random [codeBytes]byte
	_, _ = rand.Read(random[:]) // Never fails.
	code = spellCode(random[:])
	return code, ProofOfCode(code)
}

// spellCode writes codeBytes of a code, or half of one, as they are shown: XXXX-XXXX-XXXX-XXXX.
func spellCode(b []byte) string {
	text := base32.NewEncoding(codeAlphabet).EncodeToString(b)
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
}

// dividedCode is the hash of a code of two halves: of the first only its hash is known.
func dividedCode(first [32]byte, second points.Secret) [32]byte {
	both := append([]byte("lianfen divided code "), first[:]...)
	return sha256.Sum256(append(both, plainCode(string(second))...))
}

// MayOrder refuses what could not be issued, or no code could be made for: life is 0 for
// a certificate at once.
func (a *Authority) MayOrder(o Order, life time.Duration) error {
	if _, err := a.signing(); err != nil {
		return err
	}
	if _, err := o.complete(); err != nil {
		return err
	}
	if life != 0 && (life < MinCodeLife || life > MaxCodeLife) {
		return points.Errorf(points.FormatError, "certs: a code can be used for %v to %v, not %v", MinCodeLife, MaxCodeLife, life)
	}
	return nil
}

// AddCode lets o be enrolled once with the code of this hash, from now until life is over.
func (a *Authority) AddCode(o Order, hash [32]byte, life time.Duration) (until time.Time, err error) {
	return a.addCode(o, hash, nil, life)
}

// AddDividedCode is [Authority.AddCode] of a code of two halves: of the first the hash, as
// [DrawCode] gives it. Whoever enrols types the first and then the second.
func (a *Authority) AddDividedCode(o Order, first [32]byte, second points.Secret, life time.Duration) (until time.Time, err error) {
	other := ProofOfCode(string(second))
	return a.addCode(o, dividedCode(first, second), []string{hex.EncodeToString(first[:]), hex.EncodeToString(other[:])}, life)
}

func (a *Authority) addCode(o Order, hash [32]byte, halves []string, life time.Duration) (until time.Time, err error) {
	if err := a.MayOrder(o, max(life, 1)); err != nil {
		return until, err
	}
	if o, err = o.complete(); err != nil {
		return until, err
	}
	now := a.clock().Time().UTC()
	until = now.Add(life)
	return until, a.register.write(func() ([]event, error) {
		code := hex.EncodeToString(hash[:])
		if a.register.codes[code] != nil {
			return nil, fmt.Errorf("%w (%s)", ErrIssued, o.Act)
		}
		return []event{{
			At: now, Event: eventCode, By: o.By, Act: o.Act, Code: code, Halves: halves, Identity: &o.Identity, Names: o.Names, Until: &until, Lifetime: o.Lifetime.String(),
		}}, nil
	})
}

// codeHash is what the register keeps of a code: of one of two halves what
// [dividedCode] makes of them.
func codeHash(code string) string {
	plain := plainCode(code)
	sum := codeSum(plain)
	if len(plain) == 2*codeLetters {
		sum = dividedCode(codeSum(plain[:codeLetters]), points.Secret(plain[codeLetters:]))
	}
	return hex.EncodeToString(sum[:])
}

// plainCode is a code however it was typed: in small letters, without dashes, with blanks,
// and with the letters that look like digits.
func plainCode(code string) string {
	return strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code))
}

// CheckCode refuses what is as long as no code, before a switch counts it as a try.
func CheckCode(code string) error {
	if n := len(plainCode(code)); n != codeLetters && n != 2*codeLetters {
		return fmt.Errorf("%d letters and digits; a code has %d, or two halves of as many: first that of who asked for it, then that of who approved it", n, codeLetters)
	}
	return nil
}

// ProofOfCode is the hash of a code, or of one half, however it was typed.
func ProofOfCode(code string) [32]byte { return codeSum(plainCode(code)) }

func codeSum(plain string) [32]byte {
	return sha256.Sum256([]byte("lianfen enrolment code " + plain))
}

// Refusals of whoever asks for a certificate.
var (
	// ErrCode refuses a code. Why it is not good is nobody's business who has not got it.
	ErrCode = errors.New("certs: this code is not good here: it may wait for its approval, and is good from then on; or it was used, is over, or is not known, and you need a new one")
	// ErrHalfCode refuses one half of a code that is good, or the two in the wrong order. Who
	// has a half may know that: it is as long a secret as a whole code is.
	ErrHalfCode = errors.New("certs: this is half of a code")
	// ErrRenewal refuses to renew a certificate.
	ErrRenewal = errors.New("certs: not renewed")
)

// Enrol uses up a code and issues a certificate of the key in the certificate signing
// request, for whom the code was made. A request that cannot be certified leaves the
// code as it is. Both happen in one write of the register: a code is never good twice.
func (a *Authority) Enrol(code string, request []byte) (*Issued, error) {
	hash := codeHash(code)
	if err := a.register.refresh(); err != nil {
		return nil, err
	}
	known, ok := a.code(hash)
	if !ok {
		return nil, a.notGood(code)
	}
	public, err := requestedKey(request, known.identity)
	if err != nil {
		return nil, err
	}
	return a.issue(Order{}, public, func() (Order, []event, error) {
		code := a.register.codes[hash]
		now := a.clock().Time().UTC()
		if code == nil || code.used || !now.Before(code.until) {
			return Order{}, nil, ErrCode
		}
		return Order{Identity: code.identity, Names: code.names, Lifetime: code.lifetime, By: ByCode},
			[]event{{At: now, Event: eventUsed, Code: hash}}, nil
	})
}

// notGood says what is wrong with a code, as far as who has typed it may know.
func (a *Authority) notGood(code string) error {
	plain := plainCode(code)
	if len(plain) == 2*codeLetters {
		if _, swapped := a.code(codeHash(plain[codeLetters:] + plain[:codeLetters])); swapped {
			return fmt.Errorf("%w, the second, and then the first; type the first and then the second", ErrHalfCode)
		}
		return ErrCode
	}
	sum := codeSum(plain)
	a.register.mu.Lock()
	part, known := a.register.halves[hex.EncodeToString(sum[:])]
	a.register.mu.Unlock()
	switch {
	case !known || part.of.used || !a.clock().Time().Before(part.of.until):
		return ErrCode
	case part.second:
		return fmt.Errorf("%w, the second, which was shown to who approved it; who asked for the code has the first: type that, then this one", ErrHalfCode)
	default:
		return fmt.Errorf("%w, the first, which was shown to who asked for it; who approved it has the second: type this one, then that", ErrHalfCode)
	}
}

func (a *Authority) code(hash string) (enrolment, bool) {
	a.register.mu.Lock()
	defer a.register.mu.Unlock()
	code := a.register.codes[hash]
	if code == nil || code.used || !a.clock().Time().Before(code.until) {
		return enrolment{}, false
	}
	return *code, true
}

// Renew issues a certificate to the holder of another one, who has shown it on a
// connection that a [Gate] has let in: as long a life, the same names, the key in the
// certificate signing request. What is revoked is not renewed.
func (a *Authority) Renew(peer *Peer, request []byte) (*Issued, error) {
	public, err := requestedKey(request, peer.Identity)
	if err != nil {
		return nil, err
	}
	return a.issue(Order{}, public, func() (Order, []event, error) {
		old := a.register.certs[peer.serial]
		now := a.clock().Time()
		switch {
		case old == nil:
			return Order{}, nil, fmt.Errorf("%w: the certificate that asks was not issued here", ErrRenewal)
		case !old.revoked.IsZero():
			return Order{}, nil, fmt.Errorf("%w: the certificate that asks is revoked", ErrRenewal)
		case !now.Before(old.until):
			return Order{}, nil, fmt.Errorf("%w: the certificate that asks is over; enrol with a code", ErrRenewal)
		}
		life := old.until.Sub(old.from) - backdated
		return Order{Identity: old.identity, Names: old.names, Lifetime: max(life, MinLifetime), By: byRenewal + old.serial}, nil, nil
	})
}
