package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// ErrCertificates says that the register of certificates is not the one that the journal
// knows of.
var ErrCertificates = errors.New("certificates: the register is not the one that the journal knows of")

// markedRegister is how far the register has come as the book keeps it.
func markedRegister(m certs.RegisterMark) book.Register {
	return book.Register{Length: m.Length, Digest: m.Digest}
}

// accountRegister holds the register of certificates against the journal at the start,
// and notes what has changed in it meanwhile. One that is older than the journal knows, or
// another one, serves nobody: a revocation that is lost would let somebody in.
func (a *App) accountRegister(ctx context.Context) error {
	if a.authority == nil {
		return nil
	}
	if err := a.noteRegister(ctx); err != nil {
		return err
	}
	operators, err := a.registryOperators(ctx)
	if err != nil || len(operators) == 0 {
		return err
	}
	return a.governCertificates()
}

// noteRegister writes into the journal what was appended to the register since the last
// note. tls.accept of the configuration names one length that is taken all the same.
func (a *App) noteRegister(ctx context.Context) error {
	if a.authority == nil {
		return nil
	}
	a.noting.Lock()
	defer a.noting.Unlock()
	var known book.Register
	var governed bool
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		known, governed = b.Register(), len(b.Registry().Operators) > 0
		return nil
	}); err != nil {
		return err
	}
	note := book.Command{Kind: book.KindRegister, At: a.opts.Clock()}
	is, changes, err := a.authority.RegisterSince(certs.RegisterMark(known))
	switch {
	case errors.Is(err, certs.ErrRegister) && a.opts.Config.TLS.Accept != 0 && uint64(a.opts.Config.TLS.Accept) == is.Length: //nolint:gosec // not negative.
		note.Final = true
		a.log.Warn("a register of certificates is taken that the journal does not know of, as tls.accept says", slog.Uint64("length", is.Length), slog.Uint64("known", known.Length))
	case errors.Is(err, certs.ErrRegister):
		return fmt.Errorf("%w: %w; put the newest copy back, or, where it is lost, revoke what has to be and name this one with tls.accept: %d", ErrCertificates, err, is.Length)
	case err != nil:
		return err
	}
	if markedRegister(is) == known {
		return nil
	}
	note.Certificate = &book.Certificate{Register: markedRegister(is)}
	switch {
	case note.Final:
		note.Note = "accepted by tls.accept"
	case known == book.Register{}:
		note.Note = fmt.Sprintf("first seen, %d lines", len(changes))
	default:
		note.Note = changesInWords(changes)
		n, lent := outside(changes)
		if n > lent && governed {
			a.log.Warn("certificates were changed outside the switch; the journal says so from here on", slog.Int("changes", n-lent))
		}
		if lent > 0 && governed {
			a.log.Info("certificates were lent to commands on this machine; the journal says so from here on", slog.Int("certificates", lent))
		}
	}
	out, err := a.ledger.Do(ctx, &note)
	if err == nil && !out.Reason.Approved() {
		err = a.refusal(ctx, "certificates", &note, out.Reason)
	}
	return err
}

// outside counts the changes that were made outside the switch, and of them the loans.
func outside(changes []certs.RegisterChange) (n, lent int) {
	for i := range changes {
		if changes[i].Outside {
			n++
		}
		if changes[i].Lent {
			lent++
		}
	}
	return n, lent
}

// longestNote is how much of a note tells of changes; what does not fit is counted.
const longestNote = 900

// changesInWords tells what happened in the register, those outside the switch first.
func changesInWords(changes []certs.RegisterChange) string {
	var text strings.Builder
	told, left := map[bool]bool{}, 0
	for _, out := range []bool{true, false} {
		for i := range changes {
			switch c := &changes[i]; {
			case c.Outside != out:
			case text.Len()+len(c.What) > longestNote:
				left++
			default:
				switch {
				case out && !told[out]:
					text.WriteString("outside the switch: ")
				case !out && !told[out] && told[true]:
					text.WriteString("; at the switch: ")
				case told[out]:
					text.WriteString(", ")
				}
				told[out] = true
				text.WriteString(points.Escaped(c.What))
			}
		}
	}
	if left > 0 {
		fmt.Fprintf(&text, " and %d more", left)
	}
	return text.String()
}

// governCertificates leaves word beside the register that its changes are acts of
// operators, and where: lianfen certs heeds it while the switch serves.
func (a *App) governCertificates() error {
	if a.authority == nil {
		return nil
	}
	if err := os.WriteFile(GovernedBy(certs.RegisterPath(a.opts.Config.TLS.Authority)), []byte(a.opts.Config.Admin.Socket+"\n"), 0o600); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}

// CertificateChange is an act on certificates that is asked for.
type CertificateChange struct {
	Act      book.CertificateAct `json:"act"`
	Identity certs.Identity      `json:"identity,omitzero"`
	Names    []string            `json:"names,omitempty"`
	Lifetime time.Duration       `json:"lifetime,omitempty"` // of the certificate, in nanoseconds
	Valid    time.Duration       `json:"valid,omitempty"`    // of the code, likewise
	Request  string              `json:"request,omitempty"`  // issue: certificate signing request, as PEM
	Serial   string              `json:"serial,omitempty"`   // revoke: one certificate, and no identity
	Note     string              `json:"note,omitempty"`
}

// CertificateChanged is what came of it.
type CertificateChanged struct {
	Done
	Enrolled *Enrolled     `json:"enrolled,omitempty"`  // issue, once it is decided
	Code     points.Secret `json:"code,omitempty"`      // while it is Pending its first half, good for nothing alone
	Until    time.Time     `json:"code_until,omitzero"` // the code is good, once it is decided
	Revoked  []string      `json:"revoked,omitempty"`   // serials
	Closed   int           `json:"closed,omitempty"`    // connections
	Warning  string        `json:"warning,omitempty"`   // what may not be as it was meant
	NotNoted string        `json:"not_noted,omitempty"` // why the journal has not got a revocation, which is in force
}

// LogValue is the RRN alone.
func (c CertificateChanged) LogValue() slog.Value { return slog.StringValue(c.RRN) }

// changeCertificates carries out an act on certificates, or proposes it.
func (a *App) changeCertificates(ctx context.Context, change CertificateChange) (CertificateChanged, error) {
	w := who(ctx)
	switch {
	case a.authority == nil:
		return CertificateChanged{}, points.Errorf(points.FunctionDisabled, "certificates: this switch has no authority; name its folder: tls.authority")
	case w.Name == "":
		return CertificateChanged{}, points.Errorf(points.FunctionDisabled, "certificates: no operator is enrolled: lianfen certs does it beside the switch")
	}
	if change.Act == book.CertificateRevoke {
		return a.revoke(ctx, w.Name, &change)
	}
	if err := a.keyIsTheirs(ctx, w.Name, &change); err != nil {
		return CertificateChanged{}, err
	}
	directory, err := a.directory(ctx, nothing{})
	if err != nil {
		return CertificateChanged{}, err
	}
	var result CertificateChanged
	if result.Warning, err = directory.Holder(change.Identity); err != nil {
		return CertificateChanged{}, err
	}
	what := &book.Certificate{Act: change.Act, Identity: change.Identity.String(), Names: strings.Join(change.Names, ","), Lifetime: wholeSeconds(change.Lifetime)}
	var life time.Duration
	if change.Act == book.CertificateIssue {
		what.Proof, err = certs.RequestKey([]byte(change.Request), change.Identity)
	} else {
		var code string
		what.Valid = wholeSeconds(change.Valid)
		life = max(1, seconds(what.Valid))
		code, what.Proof = certs.DrawCode()
		result.Code = points.Secret(code)
	}
	if err == nil {
		err = a.authority.MayOrder(orderOf(what, w.Name, ""), life)
	}
	if err != nil {
		return CertificateChanged{}, points.Errorf(points.FormatError, "certificates: %w", err)
	}
	cmd := book.Command{
		Kind: book.KindNote, At: a.opts.Clock(), Operator: w.Name, Act: book.ActCertificates, Certificate: what,
		Note: strings.TrimSpace(change.Act.String() + " " + what.Identity + " " + change.Note),
	}
	if result.Done, err = a.do(ctx, "certificates", &cmd); err != nil || result.Pending != "" {
		if err != nil {
			result = CertificateChanged{}
		}
		return result, err
	}
	if change.Act == book.CertificateCode {
		result.Until, err = a.makeCode(ctx, what, w.Name, result.RRN)
	} else {
		result.Enrolled, err = a.issueDecided(ctx, what, w.Name, result.RRN, change.Request)
	}
	if err != nil {
		return CertificateChanged{}, err
	}
	return result, nil
}

// keyIsTheirs refuses to have a second person approve an operator's certificate for a key
// that somebody else has asked for, and may have: with it they would be that operator.
func (a *App) keyIsTheirs(ctx context.Context, by string, change *CertificateChange) error {
	i := change.Identity
	if change.Act != book.CertificateIssue || i.Role != certs.RoleOperator || i.Name == by {
		return nil
	}
	var policy book.Policy
	err := a.ledger.View(ctx, func(b *book.Book) error {
		policy = b.Registry().Policy
		return nil
	})
	if err == nil && policy.TwoPersons.Has(book.ActCertificates) {
		err = points.Errorf(points.NotPermitted, "certificates: where two persons decide, %s alone asks for a certificate of %[1]s, or enrols with a code: lianfen certs code --operator %[1]s", i.Name)
	}
	return err
}

// wholeSeconds is a time as the journal keeps it; what has no place there is refused by
// the bounds of an order.
func wholeSeconds(d time.Duration) uint32 {
	s := d / time.Second
	if s < 0 || s > 1<<31 {
		return 1<<32 - 1
	}
	return uint32(s)
}

func seconds(s uint32) time.Duration { return time.Duration(s) * time.Second }

// orderOf is what was decided as the authority wants it. An identity that cannot be read
// is refused there.
func orderOf(c *book.Certificate, by, act string) certs.Order {
	identity, _ := certs.ParseIdentity(c.Identity)
	o := certs.Order{Identity: identity, Lifetime: seconds(c.Lifetime), By: by, Act: act}
	if c.Names != "" {
		o.Names = strings.Split(c.Names, ",")
	}
	return o
}

// approveCode lets a code be used that somebody else has proposed: with the half that this
// one has and the half that is returned, for the approver.
func (a *App) approveCode(ctx context.Context, c *book.Certificate, by, act string) (second points.Secret, err error) {
	o := orderOf(c, by, act)
	second = a.desk.key.CodeHalf(c.Proof, o.Identity)
	until, err := a.authority.AddDividedCode(o, c.Proof, second, seconds(c.Valid))
	if _, err = a.codeMade(ctx, &o, until, err); err != nil {
		return "", err
	}
	return second, nil
}

// makeCode lets a code be used, as was decided under act.
func (a *App) makeCode(ctx context.Context, c *book.Certificate, by, act string) (until time.Time, err error) {
	o := orderOf(c, by, act)
	until, err = a.authority.AddCode(o, c.Proof, seconds(c.Valid))
	return a.codeMade(ctx, &o, until, err)
}

// codeMade tells of a code that the authority has let be used, or refused with err.
func (a *App) codeMade(ctx context.Context, o *certs.Order, until time.Time, err error) (time.Time, error) {
	if err != nil {
		return until, points.Errorf(points.NotPermitted, "%w", err)
	}
	a.log.Info("enrolment code made", slog.String("identity", o.Identity.String()), slog.String("by", o.By), slog.String("rrn", o.Act))
	return until, a.noteRegister(ctx)
}

// waitingHalf says that a code is the first half of one that waits for its approval, and
// else what err says of it.
func (a *App) waitingHalf(ctx context.Context, code points.Secret, err error) error {
	proof := certs.ProofOfCode(string(code))
	waits := false
	if viewErr := a.ledger.View(ctx, func(b *book.Book) error {
		for _, p := range b.Proposals() {
			c := p.Act.Certificate
			waits = waits || c != nil && c.Act == book.CertificateCode && c.Proof == proof
		}
		return nil
	}); viewErr != nil {
		return viewErr
	}
	if waits {
		return fmt.Errorf("%w, the first, which was shown to who asked for it; it waits for its approval, and who approves is shown the second: type this one, then that", certs.ErrHalfCode)
	}
	return err
}

// issueDecided issues what was decided under act, for the key that was decided on, once.
func (a *App) issueDecided(ctx context.Context, c *book.Certificate, by, act, request string) (*Enrolled, error) {
	o := orderOf(c, by, act)
	switch proof, err := certs.RequestKey([]byte(request), o.Identity); {
	case err != nil:
		return nil, points.Errorf(points.FormatError, "%w", err)
	case proof != c.Proof:
		return nil, points.Errorf(points.ProposalStale, "certificates: this request is of another key than the one that was decided on under %s", act)
	}
	made, err := a.authority.Certify(o, []byte(request))
	if err != nil {
		return nil, points.Errorf(points.NotPermitted, "%w", err)
	}
	a.log.Info("certificate issued", slog.String("identity", c.Identity), slog.String("serial", made.Serial), slog.String("by", by), slog.String("rrn", act))
	return &Enrolled{Identity: o.Identity, Serial: made.Serial, Until: made.Certificate.NotAfter, Chain: string(made.ChainPEM), Trust: string(a.authority.Trust())}, a.noteRegister(ctx)
}

// revoke takes back certificates at once. The register comes first: that the journal
// cannot be written keeps nobody in, and the next start notes what it has missed.
func (a *App) revoke(ctx context.Context, by string, change *CertificateChange) (result CertificateChanged, err error) {
	if (change.Serial == "") == (change.Identity.Role == 0) {
		return result, points.Errorf(points.FormatError, "certificates: revoke one serial, or all of one identity")
	}
	result.Revoked, err = a.authority.Revoke(certs.Revocation{Serial: change.Serial, Identity: change.Identity, Reason: change.Note, By: by, AtDoor: true})
	if len(result.Revoked) == 0 {
		return result, points.Errorf(points.FormatError, "%w", err)
	}
	closed, reloading := a.reloadGate()
	result.Closed, err = closed, errors.Join(err, reloading)
	a.log.Warn("certificates revoked", slog.String("serials", strings.Join(result.Revoked, " ")), slog.String("by", by))
	what := &book.Certificate{Act: book.CertificateRevoke, Serial: strings.ToLower(change.Serial)}
	if change.Serial == "" {
		what.Identity = change.Identity.String()
	}
	cmd := book.Command{
		Kind: book.KindNote, At: a.opts.Clock(), Operator: by, Act: book.ActCertificates, Certificate: what,
		Note: strings.TrimSpace("revoke " + what.Serial + what.Identity + " " + change.Note),
	}
	done, noting := a.do(ctx, "certificates", &cmd)
	if noting == nil {
		result.Done, noting = done, a.noteRegister(ctx)
	}
	if err = errors.Join(err, noting); err != nil {
		result.NotNoted = err.Error()
		a.log.Error("a revocation is in force and something that follows from it is not done", slog.String("error", err.Error()))
	}
	return result, nil
}

// issueTime is how long what was approved may be fetched.
const issueTime = time.Hour

// CertificateFetch asks for what was approved under RRN.
type CertificateFetch struct {
	RRN     string `json:"rrn"`
	Request string `json:"request"` // of the key that was decided on
}

// fetchCertificate issues to whoever has proposed it what somebody else has approved.
func (a *App) fetchCertificate(ctx context.Context, f CertificateFetch) (CertificateChanged, error) {
	if a.authority == nil {
		return CertificateChanged{}, points.Errorf(points.FormatError, "certificates: this switch issues none")
	}
	rec, err := a.approvalOf(ctx, f.RRN, "a certificate", func(act *book.Command) bool {
		return act.Certificate != nil && act.Certificate.Act == book.CertificateIssue
	})
	if err != nil {
		return CertificateChanged{}, points.Errorf(points.ReasonOf(err), "certificates: %w", err)
	}
	f.RRN = rrnOf(rec.Outcome.Position)
	act := rec.Command.Carried()
	switch {
	case act.Operator != who(ctx).Name:
		return CertificateChanged{}, points.Errorf(points.NotPermitted, "certificates: %s was proposed by %s, who alone may fetch it", f.RRN, act.Operator)
	case a.opts.Clock().Sub(rec.Outcome.Posted) > issueTime:
		return CertificateChanged{}, points.Errorf(points.ProposalExpired, "certificates: %s was approved more than %v ago; propose it again", f.RRN, issueTime)
	}
	enrolled, err := a.issueDecided(ctx, act.Certificate, act.Operator+", approved by "+rec.Command.Operator, f.RRN, f.Request)
	return CertificateChanged{Done: Done{RRN: f.RRN, Date: rec.Outcome.Date}, Enrolled: enrolled}, err
}

// certificateInWords is an act on certificates with all that an approver has to see.
func certificateInWords(c *book.Certificate) string {
	text := fmt.Sprintf("%v for %s, good for %v", c.Act, points.Escaped(c.Identity), seconds(c.Lifetime))
	switch c.Act {
	case book.CertificateIssue:
		text = "certificate: " + text + fmt.Sprintf(", key %x", c.Proof[:8])
	case book.CertificateCode:
		text = "certificate: one-time " + text + fmt.Sprintf(", the code for %v", seconds(c.Valid))
	default:
	}
	if c.Names != "" {
		text += ", reached at " + points.Escaped(c.Names)
	}
	return text
}
