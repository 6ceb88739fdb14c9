package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

func (a *App) registryOperators(ctx context.Context) (operators map[string]*book.Operator, err error) {
	err = a.ledger.View(ctx, func(b *book.Book) error {
		operators = b.Registry().Operators
		return nil
	})
	return operators, err
}

// signed puts the name of who asks into a request. Where operators are enrolled, nobody
// gives another name, and a second person does not sign by a word in somebody else's
// request.
func signed(ctx context.Context, what string, operator *string, second string) error {
	w := who(ctx)
	switch said := strings.TrimSpace(*operator); {
	case w.Name == "":
		return nil
	case said != "" && said != w.Name:
		return points.Errorf(points.NotPermitted, "%s: you are %s and cannot act as %q; leave the name out", what, w.Name, said)
	case strings.TrimSpace(second) != "":
		return points.Errorf(points.NeedsSecondPerson, "%s: a second person approves by lianfen admin approve; leave --second out", what)
	}
	*operator = w.Name
	return nil
}

// aloneIn says which acts that wanted two names before operators were enrolled one operator
// does alone now; empty: none, or there are no operators.
func aloneIn(r *book.Registry) string {
	if len(r.Operators) == 0 {
		return ""
	}
	var alone book.Acts
	for _, act := range []book.Act{book.ActAdjust, book.ActCutOver, book.ActResolve} {
		if !r.Policy.TwoPersons.Has(act) {
			alone |= 1 << act
		}
	}
	if alone == 0 {
		return ""
	}
	return fmt.Sprintf("one operator alone does what needed two names before operators were enrolled (%v), by any amount: have a second one who approves (lianfen admin operator put), and ask for two persons (lianfen admin policy --two-persons on)", alone)
}

// warnAlone has the log say so.
func (a *App) warnAlone(ctx context.Context) error {
	return a.ledger.View(ctx, func(b *book.Book) error {
		if alone := aloneIn(b.Registry()); alone != "" {
			a.log.Warn("acts that need no second person", slog.String("warning", alone))
		}
		return nil
	})
}

// propose proposes what needs a second person; proposed is false where it needs none.
func (a *App) propose(ctx context.Context, what string, cmd *book.Command) (done Done, proposed bool, err error) {
	name, act := who(ctx).Name, cmd.Of()
	if name == "" || act == 0 {
		return Done{}, false, nil
	}
	var policy book.Policy
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		policy = b.Registry().Policy
		return nil
	}); err != nil || (!policy.TwoPersons.Has(act) && act != book.ActRates) { // Rates always need two.
		return Done{}, false, err
	}
	wrapped := book.Command{Kind: book.KindPropose, At: a.opts.Clock(), Operator: name, Note: cmd.Note, Group: []book.Command{*cmd}}
	out, err := a.ledger.Do(ctx, &wrapped)
	if err != nil {
		return Done{}, true, err
	}
	if !out.Reason.Approved() {
		return Done{}, true, a.refusal(ctx, what, &wrapped, out.Reason)
	}
	a.log.Info("proposed", slog.String("act", act.String()), slog.String("operator", name), slog.String("rrn", rrnOf(out.Position)))
	until := out.Posted + points.Timestamp(policy.Hours)*3_600_000_000
	return Done{RRN: rrnOf(out.Position), Date: out.Date, Pending: until.String()}, true, nil
}

// noted writes down who asked for what changes nothing in the book, before it is done.
func (a *App) noted(what string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if name := who(r.Context()).Name; name != "" {
			cmd := book.Command{Kind: book.KindNote, At: a.opts.Clock(), Operator: name, Act: book.ActHouse, Note: what}
			if _, err := a.do(r.Context(), what, &cmd); err != nil {
				refuse(w, err)
				return
			}
		}
		serve(w, r)
	}
}

// OperatorChange makes or changes an operator. Invite gives a code by which the person
// sets a password and one-time codes, and ends those that were there.
type OperatorChange struct {
	Name   string      `json:"name"`
	Roles  book.Roles  `json:"roles,omitempty"`  // of one who is there: left out, they stay
	Status book.Status `json:"status,omitempty"` // likewise
	Invite bool        `json:"invite,omitempty"`
}

// OperatorChanged is what came of it.
type OperatorChanged struct {
	Done
	// Code is for the person alone, good once and until then: it is shown nowhere else. Where
	// a second person has to approve, it is the first half: who approves is given the other.
	Code      points.Secret `json:"code,omitempty"`
	CodeUntil string        `json:"code_until,omitempty"`
	Begun
}

// Begun says which acts need a second person from now on, because there is one now and
// nobody has set a policy before.
type Begun struct {
	TwoPersons book.Acts `json:"two_persons_begun,omitempty"`
}

// doStaff does what changes who the operators are, and tells whether the policy of two
// persons has begun by it.
func (a *App) doStaff(ctx context.Context, what string, cmd *book.Command) (Done, Begun, error) {
	before, err := a.twoPersons(ctx)
	if err != nil {
		return Done{}, Begun{}, err
	}
	done, err := a.do(ctx, what, cmd)
	if err != nil {
		return Done{}, Begun{}, err
	}
	after, err := a.twoPersons(ctx)
	if err != nil || before == after {
		return done, Begun{}, err
	}
	a.log.Warn("acts need a second person from now on", slog.String("acts", after.String()))
	return done, Begun{after}, nil
}

// twoPersons are the acts that need a second person.
func (a *App) twoPersons(ctx context.Context) (acts book.Acts, err error) {
	err = a.ledger.View(ctx, func(b *book.Book) error {
		acts = b.Registry().Policy.TwoPersons
		return nil
	})
	return acts, err
}

// LogValue is the RRN alone.
func (c OperatorChanged) LogValue() slog.Value { return slog.StringValue(c.RRN) }

func (a *App) putOperator(ctx context.Context, c OperatorChange) (OperatorChanged, error) {
	was, _, err := a.operator(ctx, c.Name)
	if err != nil {
		return OperatorChanged{}, err
	}
	if was.Name == "" && c.Roles == 0 {
		return OperatorChanged{}, points.Errorf(points.UnknownOriginal, "operator %q: there is none; lianfen admin operator list shows them, and put with --roles makes one", c.Name)
	}
	o := book.Operator{Name: c.Name, Roles: c.Roles, Status: c.Status}
	if o.Roles == 0 {
		o.Roles = was.Roles
	}
	if o.Status == 0 {
		o.Status = max(was.Status, book.Active)
	}
	now := a.opts.Clock()
	var changed OperatorChanged
	first, second := points.Secret(rand.Text()[:invitationHalf]), points.Secret("")
	if c.Invite {
		o.InviteUntil = now + points.Timestamp(inviteTime.Microseconds())
		second = a.desk.key.InvitationHalf(o.Name, o.InviteUntil)
		o.Invite, changed.CodeUntil = invitation(first+second), o.InviteUntil.String()
	}
	cmd := book.Command{Kind: book.KindPut, Edition: book.Edition, At: now, Operator: who(ctx).Name, Entry: book.Entry{Operator: &o}}
	if changed.Done, changed.Begun, err = a.doStaff(ctx, "operator "+c.Name, &cmd); err != nil {
		return OperatorChanged{}, err
	}
	if err := errors.Join(a.governKeys(), a.governCertificates()); err != nil {
		return OperatorChanged{}, err
	}
	if err := a.warnAlone(ctx); err != nil {
		return OperatorChanged{}, err
	}
	if changed.Pending == "" && (o.Status != book.Active || c.Invite) {
		a.desk.end(c.Name, "")
	}
	switch {
	case c.Invite && changed.Pending == "":
		changed.Code = first + "-" + second
	case c.Invite:
		changed.Code = first
	}
	return changed, nil
}

// invitationHalf is how many letters half a code has: 80 bits.
const invitationHalf = 16

// invitation is what the journal keeps of an invitation's code, however it is spaced.
func invitation(code points.Secret) [32]byte {
	return sha256.Sum256([]byte(strings.Map(func(r rune) rune {
		if r == '-' || unicode.IsSpace(r) {
			return -1
		}
		return unicode.ToUpper(r)
	}, string(code))))
}

// PolicyChange says which acts need a second person.
type PolicyChange struct {
	TwoPersons book.Acts `json:"two_persons"`
	Hours      uint16    `json:"hours,omitempty"` // until a proposal is over; left out, it stays
}

// putPolicy puts a policy. One of two persons that stands already, as it does from itself
// where nobody has said anything else, is not asked for again; one of a single person is
// put, since that somebody has said so is a difference.
func (a *App) putPolicy(ctx context.Context, c PolicyChange) (Done, error) {
	var is book.Policy
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		is = b.Registry().Policy
		return nil
	}); err != nil {
		return Done{}, err
	}
	v := book.Policy{TwoPersons: c.TwoPersons, Hours: cmp.Or(c.Hours, is.Hours)}
	if v == is && v.TwoPersons != 0 {
		return Done{}, nil
	}
	return a.do(ctx, "policy", &book.Command{Kind: book.KindPut, At: a.opts.Clock(), Operator: who(ctx).Name, Entry: book.Entry{Policy: &v}})
}

// OperatorState is an operator for people.
type OperatorState struct {
	book.Operator
	Password bool   `json:"password"`          // signs in with password and codes
	Invited  string `json:"invited,omitempty"` // until when
	Refused  uint32 `json:"refused,omitempty"` // sign-ins in a row
	Locked   string `json:"locked,omitempty"`  // until when
	LastSeen string `json:"last_seen,omitempty"`
}

// operators lists the operators, ascending by name.
func (a *App) operators(ctx context.Context, _ nothing) ([]OperatorState, error) {
	list := []OperatorState{}
	now := a.opts.Clock()
	err := a.ledger.View(ctx, func(b *book.Book) error {
		all := b.Registry().Operators
		for _, name := range slices.Sorted(maps.Keys(all)) {
			o, l := all[name], b.Login(name)
			s := OperatorState{Operator: book.Operator{Name: name, Roles: o.Roles, Status: o.Status}, Password: o.Password != "", Refused: l.Refused}
			if o.InviteUntil > now {
				s.Invited = o.InviteUntil.String()
			}
			if l.Locked > now {
				s.Locked = l.Locked.String()
			}
			if l.LastSeen != 0 {
				s.LastSeen = l.LastSeen.String()
			}
			list = append(list, s)
		}
		return nil
	})
	return list, err
}

// Decision is about one pending act.
type Decision struct {
	RRN  string `json:"rrn"`
	Note string `json:"note,omitempty"`
}

// approve carries out what somebody else has proposed, and what follows from it.
func (a *App) approve(ctx context.Context, d Decision) (Done, error) {
	cmd, err := a.decision(ctx, book.KindApprove, d)
	if err != nil {
		return Done{}, err
	}
	act := cmd.Group[0]
	what := fmt.Sprintf("approve %s (%v by %s)", d.RRN, act.Of(), act.Operator)
	if err := legible(what, &cmd); err != nil {
		return Done{}, err
	}
	inWords, err := a.inWords(ctx, &act, true)
	if err != nil {
		return Done{}, err
	}
	if act.Kind == book.KindPost {
		if _, err := a.settlement.Outlook(act.Run, act.Manifest); err != nil {
			return Done{}, fmt.Errorf("%s: %w", what, err)
		}
	}
	done, err := a.carryOut(ctx, what, d, &cmd, &act)
	done.What = inWords
	return done, err
}

// carryOut does what is approved, and what follows from it.
func (a *App) carryOut(ctx context.Context, what string, d Decision, cmd, act *book.Command) (Done, error) {
	if act.Ceremony.Act != 0 {
		return a.approveKeys(ctx, what, cmd)
	}
	out, err := a.ledger.Do(ctx, cmd)
	if err != nil {
		return Done{}, err
	}
	if !out.Reason.Approved() {
		return Done{}, a.undecided(ctx, what, cmd, act, out.Reason)
	}
	a.log.Info("approved", slog.String("act", act.Of().String()), slog.String("operator", act.Operator), slog.String("second", cmd.Operator), slog.String("rrn", rrnOf(out.Position)))
	done := Done{RRN: rrnOf(out.Position), Date: out.Date}
	a.decidedAct(act, d.RRN, done.RRN, actDone)
	switch act.Kind {
	case book.KindAdjust:
		done.Free = &out.Free
	case book.KindResolve:
		if out.Swap.Quote == 0 {
			a.issuers.Look(out.Issuer, act.Original)
		}
	case book.KindCutOver:
		return done, a.begun(ctx, act)
	case book.KindPost:
		return done, a.settlement.Posted(ctx, act.Date, max(1, act.Cycle), settlement.Order{At: a.opts.Clock()})
	case book.KindPut:
		if o := act.Entry.Operator; o != nil && (o.Status != book.Active || o.InviteUntil != 0) {
			a.desk.end(o.Name, "")
		}
		if o := act.Entry.Operator; o != nil && o.InviteUntil != 0 {
			done.SecondHalf = a.desk.key.InvitationHalf(o.Name, o.InviteUntil)
		}
		err := a.refresh(ctx)
		a.takeUpMembers(ctx)
		return done, err
	case book.KindNote:
		if c := act.Certificate; c != nil && c.Act == book.CertificateCode {
			var err error
			done.SecondHalf, err = a.approveCode(ctx, c, act.Operator+", approved by "+cmd.Operator, done.RRN)
			return done, err
		}
	default:
	}
	return done, nil
}

// undecided says why an approval was refused.
func (a *App) undecided(ctx context.Context, what string, cmd, act *book.Command, reason points.Reason) error {
	switch reason {
	case points.NeedsSecondPerson:
		return points.Errorf(reason, "%s: nobody approves their own act; ask another approver", what)
	case points.ProposalStale:
		return points.Errorf(reason, "%s: %s: lianfen admin reject %s, and propose it again", what, hasChanged, rrnOf(cmd.Original))
	case points.RoleMissing:
		operators, err := a.registryOperators(ctx)
		if err != nil {
			return err
		}
		if o := operators[act.Operator]; o == nil || o.Status != book.Active || !o.Roles.Has(act.Needs()) {
			return points.Errorf(reason, "%s: %s has not the role %s any more; reject it", what, act.Operator, act.Needs())
		}
	default:
	}
	return a.refusal(ctx, what, cmd, reason)
}

// reject ends what is pending without effect.
func (a *App) reject(ctx context.Context, d Decision) (Done, error) {
	cmd, err := a.decision(ctx, book.KindReject, d)
	if err != nil {
		return Done{}, err
	}
	ended := cmd.Group[0]
	cmd.Group = nil
	if w := who(ctx); w.By == byOwner && !w.Roles.Has(book.RoleApprover) {
		if err := a.ownProposal(ctx, cmd.Original, w); err != nil {
			return Done{}, err
		}
	}
	done, err := a.do(ctx, "reject "+d.RRN, &cmd)
	if err != nil {
		return done, err
	}
	a.decidedAct(&ended, d.RRN, done.RRN, actRejected)
	a.reloading.Lock()
	defer a.reloading.Unlock()
	return done, a.dropPending(ctx, &ended.Ceremony)
}

// ownProposal lets who may not approve reject only what they have proposed themselves.
func (a *App) ownProposal(ctx context.Context, position points.Position, w Who) error {
	var by string
	var operators map[string]*book.Operator
	err := a.ledger.View(ctx, func(b *book.Book) error {
		operators = b.Registry().Operators
		for _, p := range b.Proposals() {
			if p.Position == position {
				by = p.Act.Operator
			}
		}
		return nil
	})
	if err == nil && by != w.Name {
		return missing(w, book.RoleApprover, operators)
	}
	return err
}

// decision is the command about a pending act, as it is now.
func (a *App) decision(ctx context.Context, kind book.Kind, d Decision) (book.Command, error) {
	position, err := points.ParseRRN(d.RRN)
	if err != nil {
		return book.Command{}, err
	}
	cmd := book.Command{Kind: kind, At: a.opts.Clock(), Operator: who(ctx).Name, Original: position, Note: d.Note}
	err = a.ledger.View(ctx, func(b *book.Book) error {
		for _, p := range b.Proposals() {
			if p.Position == position {
				cmd.Group = []book.Command{p.Act}
			}
		}
		return nil
	})
	if err == nil && len(cmd.Group) == 0 {
		err = a.notPending(ctx, position)
	}
	return cmd, err
}
