package book

import (
	"encoding/binary"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// CertificateAct is what is done with certificates. The numbers are written in the
// journal: never renumber, only append.
type CertificateAct uint8

// Acts on certificates.
const (
	CertificateIssue  CertificateAct = iota + 1 // of a key that its holder has
	CertificateCode                             // a one-time code to enrol with
	CertificateRevoke                           // one, or all of an identity

	certificateActCount
)

var certificateActNames = [certificateActCount]string{CertificateIssue: "issue", CertificateCode: "code", CertificateRevoke: "revoke"}

// String returns the name used in tables and in JSON.
func (a CertificateAct) String() string {
	return nameAt(certificateActNames[:], uint8(a), "certificate act")
}

// MarshalText renders the name.
func (a CertificateAct) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name.
func (a *CertificateAct) UnmarshalText(text []byte) error {
	at, err := nameIndex(certificateActNames[:], text, "act on certificates")
	*a = CertificateAct(at)
	return err
}

// Register tells how far the authority's register had come. It is only ever appended to,
// so that one which begins with these bytes has lost nothing of them.
type Register struct {
	Length uint64   // bytes of whole lines
	Digest [16]byte // of them: the first half of their SHA-256
}

// Certificate is what is done with certificates, complete enough for a second person to
// decide; of KindRegister, the register that the switch has found. No secret is in it.
type Certificate struct {
	Act      CertificateAct
	Identity string // whose
	Names    string // at which a switch or an issuer is reached, with commas between them
	Serial   string // revoke: of the one certificate; empty: all that the identity has
	Lifetime uint32 // of the certificate, in seconds
	Valid    uint32 // of the code, in seconds
	// Proof is the SHA-256 of the public key that is certified, or of the code.
	Proof    [32]byte
	Register Register
}

// Bounds of an act on certificates.
const (
	maxIdentity         = 128
	maxCertificateNames = 512
	maxSerial           = 40
)

// ofPeople begins the identities that act here or are believed by everybody.
var ofPeople = []string{"lianfen://operator/", "lianfen://switch/"}

// Needs are the roles that a command needs of who asks: that of its act; and where it lets
// somebody in as an operator, or as the switch, that of who administers operators.
func (c *Command) Needs() Roles {
	needs := c.Of().Role()
	if c.Certificate != nil && c.Certificate.Act != CertificateRevoke {
		for _, scheme := range ofPeople {
			if strings.HasPrefix(c.Certificate.Identity, scheme) {
				needs |= RoleAdmin
			}
		}
	}
	return needs
}

// followsRegister reports whether a register may come after the one that is known: it
// only grows (I23). That it begins with what is known, whoever reads it has seen.
func (o *office) followsRegister(r Register) bool {
	return r.Length > o.register.Length || r == o.register
}

// noteRegister notes the register of certificates that the switch has found. An older one is
// taken only where whoever owns the configuration has said so, which is Final.
func (b *Book) noteRegister(cmd *Command) points.Reason {
	switch {
	case cmd.Certificate == nil || cmd.Certificate.Register == Register{}:
		return points.FormatError
	case !cmd.Final && !b.office.followsRegister(cmd.Certificate.Register):
		return points.NotPermitted
	}
	b.touch(&b.office)
	b.office.register = cmd.Certificate.Register
	return points.Approved
}

// Register returns what the journal knows of the register of certificates; zero before
// the first was noted.
func (b *Book) Register() Register { return b.office.register }

// malformedCertificate tells what keeps the act on certificates from being read back.
func (c *Command) malformedCertificate() error {
	is := c.Certificate
	switch {
	case is == nil && (c.Kind == KindRegister || c.Kind == KindNote && c.Act == ActCertificates):
		return points.Errorf(points.FormatError, "a command of kind %v about certificates says nothing of them", c.Kind)
	case is == nil:
		return nil
	case c.Kind == KindRegister:
		if *is != (Certificate{Register: is.Register}) {
			return points.Errorf(points.FormatError, "a register with an act on certificates")
		}
		return nil
	case c.Kind != KindNote || c.Act != ActCertificates || is.Register != Register{}:
		return points.Errorf(points.FormatError, "an act on certificates in a command of kind %v and act %v", c.Kind, c.Act)
	case is.Act == 0 || is.Act >= certificateActCount:
		return points.Errorf(points.FormatError, "act %d on certificates: there is none", is.Act)
	}
	if err := longest(maxIdentity, text{"identity", is.Identity}); err != nil {
		return err
	}
	if err := longest(maxCertificateNames, text{"names", is.Names}); err != nil {
		return err
	}
	return longest(maxSerial, text{"serial", is.Serial})
}

func appendCertificate(dst []byte, c *Certificate) []byte {
	dst = append(dst, byte(c.Act))
	dst = appendText(appendText(appendText(dst, c.Identity), c.Names), c.Serial)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(c.Lifetime)), uint64(c.Valid))
	return appendRegister(append(dst, c.Proof[:]...), c.Register)
}

func decodeCertificate(r *reader) *Certificate {
	c := &Certificate{Act: CertificateAct(r.byte())}
	c.Identity, c.Names, c.Serial = r.text(maxIdentity), r.text(maxCertificateNames), r.text(maxSerial)
	c.Lifetime, c.Valid = r.uint32(), r.uint32()
	r.fixed(c.Proof[:])
	c.Register = decodeRegister(r)
	return c
}

func appendRegister(dst []byte, v Register) []byte {
	return append(binary.AppendUvarint(dst, v.Length), v.Digest[:]...)
}

func decodeRegister(r *reader) (v Register) {
	v.Length = r.uvarint()
	r.fixed(v.Digest[:])
	return v
}
