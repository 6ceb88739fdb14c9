package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

var hostOf = certs.IssuerIdentity(10000004)

func issueOf(t *testing.T, i certs.Identity) app.CertificateChange {
	t.Helper()
	request, _, err := certs.NewRequest()
	require.NoError(t, err)
	return app.CertificateChange{Act: book.CertificateIssue, Identity: i, Lifetime: certs.DefaultLifetime, Request: string(request), Note: "case 4"}
}

func codeOf(i certs.Identity) app.CertificateChange {
	return app.CertificateChange{Act: book.CertificateCode, Identity: i, Lifetime: certs.DefaultLifetime, Valid: certs.DefaultCodeLife}
}

// valid counts the certificates of an identity that are good.
func (s *secured) valid(t *testing.T, i certs.Identity) (serials []string) {
	t.Helper()
	list, err := s.authority.List()
	require.NoError(t, err)
	for _, c := range list {
		if c.Identity == i && c.State == certs.StateValid {
			serials = append(serials, c.Serial)
		}
	}
	return serials
}

// A certificate that somebody asks for is issued once somebody else has approved it: to who
// has proposed it, for the key that was proposed, once, within an hour.
func TestCertificatesTakeTwo(t *testing.T) {
	s := newSecured(t, "admin.session=24h")
	var later time.Duration
	s.clock = func() points.Timestamp { return now() + points.Timestamp(later.Microseconds()) }
	r := s.start(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	ctx := t.Context()
	require.FileExists(t, app.GovernedBy(certs.RegisterPath(s.dir)))

	change := issueOf(t, hostOf)
	asked, err := li.client.ChangeCertificates(ctx, change)
	require.NoError(t, err)
	require.NotEmpty(t, asked.Pending)
	require.Nil(t, asked.Enrolled)
	require.Empty(t, s.valid(t, hostOf))
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Contains(t, pending[0].What, "certificate: issue for lianfen://issuer/10000004, good for 720h0m0s, key ")
	require.Equal(t, book.ActCertificates, pending[0].Act)
	_, err = li.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	reasonIs(t, points.NeedsSecondPerson, err)
	_, err = li.client.FetchCertificate(ctx, app.CertificateFetch{RRN: asked.RRN, Request: change.Request})
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, asked.RRN+" is the proposal of a certificate: it waits for a second person: lianfen admin approve "+asked.RRN)
	approved, err := wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	require.Empty(t, s.valid(t, hostOf), "it is issued when it is fetched")

	fetch := app.CertificateFetch{RRN: approved.RRN, Request: change.Request}
	_, err = wang.client.FetchCertificate(ctx, fetch)
	reasonIs(t, points.NotPermitted, err)
	_, err = li.client.FetchCertificate(ctx, app.CertificateFetch{RRN: approved.RRN, Request: issueOf(t, hostOf).Request})
	reasonIs(t, points.ProposalStale, err)
	later = 61 * time.Minute
	_, err = li.client.FetchCertificate(ctx, fetch)
	reasonIs(t, points.ProposalExpired, err)
	later = 0
	// The proposal's RRN names the same act as its approval's, and it is issued once by whichever.
	byProposal := app.CertificateFetch{RRN: asked.RRN, Request: change.Request}
	fetched, err := li.client.FetchCertificate(ctx, byProposal)
	require.NoError(t, err)
	require.Equal(t, approved.RRN, fetched.RRN)
	require.Equal(t, []string{fetched.Enrolled.Serial}, s.valid(t, hostOf))
	_, err = li.client.FetchCertificate(ctx, byProposal)
	reasonIs(t, points.NotPermitted, err)
	_, err = li.client.FetchCertificate(ctx, fetch)
	reasonIs(t, points.NotPermitted, err)
	require.Len(t, s.valid(t, hostOf), 1)
	detail, err := li.client.Detail(ctx, approved.RRN)
	require.NoError(t, err)
	require.Equal(t, []string{"wang", "li"}, []string{detail.Operator, detail.Proposed})

	// What is rejected is never issued.
	asked, err = li.client.ChangeCertificates(ctx, change)
	require.NoError(t, err)
	_, err = wang.client.Reject(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	_, err = li.client.FetchCertificate(ctx, app.CertificateFetch{RRN: asked.RRN, Request: change.Request})
	reasonIs(t, points.NotPermitted, err)
	r.stop(t)
	s.start(t).stop(t)
	require.NotContains(t, s.log.String(), "changed outside the switch")
}

// A code is good for nothing before somebody else has approved it, and then once, with the
// half of who has proposed it and the half of who has approved it: neither can be who enrols.
func TestEnrolmentCodesTakeTwo(t *testing.T) {
	s := newSecured(t, "admin.session=24h")
	var later atomic.Int64 // minutes
	s.clock = func() points.Timestamp { return now().Add(time.Duration(later.Load()) * time.Minute) }
	r := s.start(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	ctx := t.Context()
	client, err := app.NewEnrolment("https://"+r.HTTPAddress().String(), filepath.Join(s.dir, "trust.crt"), "", "", now)
	require.NoError(t, err)
	enrol := func(code points.Secret) error {
		request, _, err := certs.NewRequest()
		require.NoError(t, err)
		_, err = client.Ask(ctx, app.Enrolment{Code: code, Request: string(request)})
		return err
	}
	for _, i := range []certs.Identity{hostOf, certs.OperatorIdentity("zhou")} {
		asked, err := li.client.ChangeCertificates(ctx, codeOf(i))
		require.NoError(t, err)
		require.NotEmpty(t, asked.Code)
		other, err := li.client.ChangeCertificates(ctx, codeOf(i))
		require.NoError(t, err)
		refusedAs := func(code points.Secret, want string) {
			err := enrol(code)
			reasonIs(t, points.ForeignIdentity, err)
			require.ErrorContains(t, err, want)
		}
		refusedAs(asked.Code, "this is half of a code, the first, which was shown to who asked for it; it waits for its approval")
		approved, err := wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
		require.NoError(t, err)
		require.Len(t, approved.SecondHalf, len(asked.Code))
		require.NotEqual(t, asked.Code, approved.SecondHalf)
		for _, part := range []points.Secret{asked.Code, approved.SecondHalf, approved.SecondHalf + asked.Code, other.Code + approved.SecondHalf} {
			reasonIs(t, points.ForeignIdentity, enrol(part))
			later.Add(1) // Ten tries a minute are taken.
		}
		refusedAs(points.Secret(strings.ToLower(string(asked.Code))), "this is half of a code, the first, which was shown to who asked for it; who approved it has the second")
		refusedAs(approved.SecondHalf, "this is half of a code, the second, which was shown to who approved it; who asked for the code has the first")
		refusedAs(approved.SecondHalf+asked.Code, "type the first and then the second")
		refusedAs(other.Code+approved.SecondHalf, "it was used, is over, or is not known")
		later.Add(1)
		whole := points.Secret(strings.ToLower(string(asked.Code))) + " " + approved.SecondHalf
		require.NoError(t, enrol(whole))
		reasonIs(t, points.ForeignIdentity, enrol(whole))
		refusedAs(asked.Code, "it was used, is over, or is not known")
		require.Len(t, s.valid(t, i), 1)
		require.NotContains(t, s.log.String(), string(asked.Code))
		require.NotContains(t, s.log.String(), string(approved.SecondHalf))
	}
	r.stop(t)
	s.start(t).stop(t)
	require.NotContains(t, s.log.String(), "changed outside the switch")
}

// Who has the key of an operator's certificate is that operator: while two persons decide,
// nobody gets one for another's name, whoever would approve it.
func TestOperatorsKeyIsTheirOwn(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	defer r.stop(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	ctx := t.Context()
	for _, name := range []string{"wang", "zhou"} {
		_, err := li.client.ChangeCertificates(ctx, issueOf(t, certs.OperatorIdentity(name)))
		reasonIs(t, points.NotPermitted, err)
	}
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Empty(t, pending)
	asked, err := li.client.ChangeCertificates(ctx, issueOf(t, certs.OperatorIdentity("li")))
	require.NoError(t, err)
	require.NotEmpty(t, asked.Pending)
}

// To revoke waits for nobody, whatever the policy says; the journal says who has done it.
// Without operators the switch leaves the register to whoever has it.
func TestRevokingWaitsForNobody(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	ctx := t.Context()
	_, err := r.client.ChangeCertificates(ctx, codeOf(hostOf))
	reasonIs(t, points.FunctionDisabled, err)
	require.NoFileExists(t, app.GovernedBy(certs.RegisterPath(s.dir)))
	_, serial := s.gate(t, hostOf)
	li, _ := r.staffedHouse(t, 0)
	chen := r.enrol(t, li.client, "chen", book.RoleOperator)
	looks := r.enrol(t, li.client, "looks", book.RoleViewer)
	_, err = li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)
	revoke := app.CertificateChange{Act: book.CertificateRevoke, Serial: strings.ToUpper(serial), Note: "stolen"}
	_, err = looks.client.ChangeCertificates(ctx, revoke)
	reasonIs(t, points.RoleMissing, err)
	require.Len(t, s.valid(t, hostOf), 1)
	done, err := chen.client.ChangeCertificates(ctx, revoke)
	require.NoError(t, err)
	require.Equal(t, []string{serial}, done.Revoked)
	require.Empty(t, done.Pending)
	require.Empty(t, done.NotNoted)
	require.Empty(t, s.valid(t, hostOf))
	detail, err := li.client.Detail(ctx, done.RRN)
	require.NoError(t, err)
	require.Equal(t, []string{"chen", "revoke " + serial + " stolen"}, []string{detail.Operator, detail.Note})
	_, err = chen.client.ChangeCertificates(ctx, revoke)
	reasonIs(t, points.FormatError, err)
	_, err = chen.client.ChangeCertificates(ctx, app.CertificateChange{Act: book.CertificateRevoke, Identity: hostOf, Serial: serial})
	reasonIs(t, points.FormatError, err)

	// Nor does who enters let anybody in as an operator.
	_, err = chen.client.ChangeCertificates(ctx, codeOf(certs.OperatorIdentity("li")))
	reasonIs(t, points.RoleMissing, err)
	r.stop(t)
}

// Where no second person is asked for, certificate and code are there at once, and the
// journal names who has asked.
func TestCertificatesAreNoted(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	li, _ := r.staffedHouse(t, 0)
	done, err := li.client.ChangeCertificates(t.Context(), issueOf(t, hostOf))
	require.NoError(t, err)
	require.Equal(t, []string{done.Enrolled.Serial}, s.valid(t, hostOf))
	detail, err := li.client.Detail(t.Context(), done.RRN)
	require.NoError(t, err)
	require.Equal(t, []string{"li", "issue lianfen://issuer/10000004 case 4"}, []string{detail.Operator, detail.Note})
	for _, spoil := range []func(*app.CertificateChange){
		func(c *app.CertificateChange) { c.Lifetime = 9999 * time.Hour },
		func(c *app.CertificateChange) { c.Lifetime = -1 << 62 },
		func(c *app.CertificateChange) { c.Request = "nothing" },
		func(c *app.CertificateChange) { c.Names = []string{"not a name"} },
		func(c *app.CertificateChange) { c.Identity = certs.Identity{} },
		func(c *app.CertificateChange) { *c = codeOf(hostOf); c.Valid = time.Second },
		func(c *app.CertificateChange) { *c = codeOf(hostOf); c.Valid = 0 },
		func(c *app.CertificateChange) { *c = codeOf(hostOf); c.Act = 9 },
	} {
		change := issueOf(t, hostOf)
		spoil(&change)
		_, err := li.client.ChangeCertificates(t.Context(), change)
		reasonIs(t, points.FormatError, err)
	}
	r.stop(t)
}

// What is changed in the register while the switch does not serve is in the journal at
// its next start, by name; an older register, or another one, serves nobody, unless
// tls.accept names it, which the journal says too.
func TestRegisterIsTheJournals(t *testing.T) {
	s := newSecured(t)
	s.config.Admin.Owner = "li"
	path := certs.RegisterPath(s.dir)
	r := s.start(t)
	r.staffedHouse(t, book.TwoPersons)
	r.stop(t)
	_, err := s.authority.Issue(certs.Order{Identity: hostOf, By: certs.ByLoan + "root"})
	require.NoError(t, err)
	r = s.start(t)
	require.NotContains(t, s.log.String(), "changed outside the switch", "what is lent is no alarm")
	require.Contains(t, s.log.String(), "certificates were lent to commands on this machine")
	r.stop(t)
	oldest, err := os.ReadFile(path)
	require.NoError(t, err)
	made, err := s.authority.Issue(certs.Order{Identity: hostOf, By: "root"})
	require.NoError(t, err)
	_, err = s.authority.Revoke(certs.Revocation{Serial: made.Serial, By: "root"})
	require.NoError(t, err)
	newest, err := os.ReadFile(path)
	require.NoError(t, err)

	r = s.start(t)
	require.Contains(t, s.log.String(), "certificates were changed outside the switch; the journal says so from here on")
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	last := status.Position.RRN()
	detail, err := r.client.Detail(t.Context(), string(last[:]))
	require.NoError(t, err)
	require.Equal(t, "outside the switch: issued "+made.Serial+" to lianfen://issuer/10000004 by root, revoked "+made.Serial+" by root", detail.Note)
	r.stop(t)

	another := append([]byte{}, newest...)
	another[len(another)-3] ^= 1
	for _, content := range [][]byte{oldest, another, newest[:len(newest)-40]} {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		_, err = s.open(t)
		require.Error(t, err)
	}
	require.NoError(t, os.WriteFile(path, oldest, 0o600))
	_, err = s.open(t)
	require.ErrorIs(t, err, app.ErrCertificates)
	require.ErrorContains(t, err, "put the newest copy back, or, where it is lost, revoke what has to be and name this one with tls.accept: ")

	s.config.TLS.Accept = len(oldest)
	r = s.start(t)
	require.Contains(t, s.log.String(), "as tls.accept says")
	r.stop(t)
	s.config.TLS.Accept = 0
	s.start(t).stop(t)
	require.NoError(t, os.WriteFile(path, newest, 0o600))
	s.start(t).stop(t)
}
