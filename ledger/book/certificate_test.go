package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

func registerAt(length uint64, first byte) book.Register {
	return book.Register{Length: length, Digest: [16]byte{first, 1}}
}

func found(r book.Register, final bool) book.Command {
	return book.Command{Kind: book.KindRegister, Certificate: &book.Certificate{Register: r}, Final: final, Note: "seen"}
}

// certified is an act on certificates in full.
func certified(by string, act book.CertificateAct, identity string) book.Command {
	return book.Command{Kind: book.KindNote, Operator: by, Act: book.ActCertificates, Note: "case 3", Certificate: &book.Certificate{
		Act: act, Identity: identity, Names: "host.example,10.0.0.1", Serial: "41ff", Lifetime: 2_592_000, Valid: 86_400, Proof: [32]byte{7},
	}}
}

const (
	hostIdentity   = "lianfen://issuer/10000004"
	personIdentity = "lianfen://operator/fay"
)

// I23: the register of certificates that the journal knows only grows; a shorter one, and
// another one of the same length, follow only by somebody's word.
func TestRegisterOnlyGrows(t *testing.T) {
	d := staffed(t, 0)
	require.Zero(t, d.book.Register())
	d.must(found(registerAt(300, 1), false))
	d.recovered(t)
	require.Equal(t, registerAt(300, 1), d.book.Register())
	d.refused(t, points.NotPermitted, found(registerAt(299, 1), false))
	d.refused(t, points.NotPermitted, found(registerAt(300, 2), false))
	d.refused(t, points.FormatError, found(book.Register{}, true))
	d.refused(t, points.FormatError, book.Command{Kind: book.KindRegister})
	d.must(noted(keystoreAt(3, 1), false))
	d.must(found(registerAt(450, 2), false))
	d.recovered(t)
	d.must(found(registerAt(120, 3), true))
	require.Equal(t, registerAt(120, 3), d.book.Register())
	d.recovered(t)
}

// To issue, and to make a code, needs the second person that the policy asks for; to
// revoke needs none, whatever the policy says, and has a name all the same.
func TestCertificatesNeedSecondPerson(t *testing.T) {
	d := staffed(t, book.TwoPersons)
	for _, act := range []book.CertificateAct{book.CertificateIssue, book.CertificateCode} {
		cmd := certified("cat", act, hostIdentity)
		d.refused(t, points.NeedsSecondPerson, cmd)
		at := d.must(proposed(cmd)).Position
		d.recovered(t)
		d.refused(t, points.RoleMissing, d.approval("cat", at))
		another := d.approval("bob", at)
		of := *another.Group[0].Certificate
		of.Proof[0]++
		another.Group[0].Certificate = &of
		d.refused(t, points.ProposalStale, another)
		d.must(d.approval("bob", at))
		d.recovered(t)
	}
	revoke := certified("cat", book.CertificateRevoke, personIdentity)
	d.refused(t, points.FormatError, book.Command{Kind: book.KindNote, Operator: "cat", Act: book.ActCertificates, Note: "of nothing"})
	out := *d.must(revoke)
	var rec book.Record
	require.NoError(t, d.store.Record(out.Position, &rec))
	require.Equal(t, book.ActCertificates, rec.Command.Act)
	require.Equal(t, revoke.Certificate, rec.Command.Certificate)
	revoke.Operator = "dan"
	d.refused(t, points.RoleMissing, revoke)
	d.recovered(t)
}

// Who lets somebody in as an operator, or as the switch, has to be one who administers
// operators: alone, as the proposer, and still when it is approved.
func TestOperatorsCertificatesNeedAnAdmin(t *testing.T) {
	alone := staffed(t, 0)
	for _, identity := range []string{personIdentity, "lianfen://switch/lianfen"} {
		alone.refused(t, points.RoleMissing, certified("cat", book.CertificateIssue, identity))
		alone.refused(t, points.RoleMissing, certified("cat", book.CertificateCode, identity))
		alone.must(certified("ann", book.CertificateCode, identity))
	}
	alone.must(certified("cat", book.CertificateIssue, hostIdentity))

	d := staffed(t, book.TwoPersons)
	d.refused(t, points.RoleMissing, proposed(certified("cat", book.CertificateIssue, personIdentity)))
	at := d.must(proposed(certified("ann", book.CertificateIssue, personIdentity))).Position
	demoted := d.must(proposed(operator("bob", "ann", book.RoleOperator))).Position
	d.must(d.approval("eve", demoted))
	d.refused(t, points.RoleMissing, d.approval("bob", at))
}

// An act on certificates is a note of that act, and nothing is smuggled under another one.
func TestCertificatesGoUnderTheirAct(t *testing.T) {
	d := staffed(t, book.TwoPersons)
	for _, spoil := range []func(*book.Command){
		func(c *book.Command) { c.Act = book.ActHouse },
		func(c *book.Command) { c.Certificate.Act = 0 },
		func(c *book.Command) { c.Certificate.Act = 99 },
		func(c *book.Command) { c.Certificate.Register = registerAt(9, 9) },
		func(c *book.Command) { c.Certificate.Identity += string(make([]byte, 200)) },
		func(c *book.Command) { c.Certificate.Names += string(make([]byte, 600)) },
		func(c *book.Command) { c.Certificate.Serial += string(make([]byte, 60)) },
		func(c *book.Command) { c.Kind, c.Amount, c.Member, c.Program = book.KindAdjust, 1, 1, air },
		func(c *book.Command) { c.Kind = book.KindRegister },
	} {
		cmd := certified("cat", book.CertificateRevoke, hostIdentity)
		spoil(&cmd)
		d.refused(t, points.FormatError, cmd)
	}
}
