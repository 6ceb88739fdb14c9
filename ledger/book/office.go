package book

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// office is what the operators have in hand: one entity, small, and none while nothing
// is proposed and nobody has signed in.
//
//	propose                    approve: applied in the same command
//	────────> pending ────────────────────────────────────────────> gone
//	             ├──── reject by an approver or the proposer ─────> gone
//	             └──── its time is over (refused; cleared away by the next propose)
//
// A proposal is a journal record and is known by its position. It does not change: who
// wants another thing rejects it and proposes again. Its basis tells what its target
// was; where that has changed since, the approval is refused (I15).
type office struct {
	node
	proposals []proposal // ascending by position
	logins    []login    // ascending by name
	keys      KeystoreView
	register  Register // of certificates
}

type proposal struct {
	position points.Position
	until    points.Timestamp
	basis    uint64
	act      Command // Operator is who proposed it
}

// login is how an operator's sign-ins went.
type login struct {
	name     string
	refused  uint32           // in a row
	locked   points.Timestamp // until then nobody signs in as this operator
	step     uint32           // of the last one-time code that was taken
	lastSeen points.Timestamp
}

func (o *office) appendKey(dst []byte) []byte { return append(dst, stateOffice) }

func (o *office) appendValue(dst []byte) []byte {
	if len(o.proposals) == 0 && len(o.logins) == 0 && o.keys == (KeystoreView{}) && o.register == (Register{}) {
		return dst
	}
	dst = append(dst, stateVersion)
	dst = binary.AppendUvarint(dst, uint64(len(o.proposals)))
	for i := range o.proposals {
		p := &o.proposals[i]
		dst = binary.AppendUvarint(dst, uint64(p.position))
		dst = binary.AppendVarint(dst, int64(p.until))
		dst = binary.BigEndian.AppendUint64(dst, p.basis)
		dst = appendCommand(dst, &p.act)
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.logins)))
	for i := range o.logins {
		l := &o.logins[i]
		dst = appendText(dst, l.name)
		dst = binary.AppendUvarint(dst, uint64(l.refused))
		dst = binary.AppendVarint(dst, int64(l.locked))
		dst = binary.AppendUvarint(dst, uint64(l.step))
		dst = binary.AppendVarint(dst, int64(l.lastSeen))
	}
	if o.keys != (KeystoreView{}) || o.register != (Register{}) {
		dst = appendKeystore(dst, &o.keys)
	}
	exchanged := o.keys.Is.Exchanged != [16]byte{}
	if o.register != (Register{}) || exchanged {
		dst = appendRegister(dst, o.register)
	}
	if exchanged {
		dst = append(dst, o.keys.Is.Exchanged[:]...)
	}
	return dst
}

func (o *office) decodeValue(r *reader) {
	for range r.count(maxProposals, 12) {
		p := proposal{position: r.position(), until: r.timestamp()}
		var basis [8]byte
		r.fixed(basis[:])
		p.basis = binary.BigEndian.Uint64(basis[:])
		decodeCommand(r, &p.act, false)
		o.proposals = append(o.proposals, p)
	}
	for range r.count(maxOperators, 5) {
		l := login{name: r.text(maxName), refused: r.uint32(), locked: r.timestamp(), step: r.uint32(), lastSeen: r.timestamp()}
		o.logins = append(o.logins, l)
	}
	if !r.bad && len(r.src) > 0 {
		o.keys = decodeKeystore(r)
	}
	if !r.bad && len(r.src) > 0 {
		o.register = decodeRegister(r)
	}
	if !r.bad && len(r.src) > 0 {
		decodeExchanged(r, &o.keys.Is)
	}
}

func appendOperator(dst []byte, v *Operator) []byte {
	dst = append(dst, byte(v.Status), byte(v.Roles))
	dst = appendText(appendText(appendText(dst, v.Name), v.Password), v.Secret)
	dst = binary.AppendVarint(dst, int64(v.InviteUntil))
	if v.Invite == [32]byte{} {
		return append(dst, 0)
	}
	return append(append(dst, 1), v.Invite[:]...)
}

func decodeOperator(r *reader) *Operator {
	v := &Operator{Status: Status(r.byte()), Roles: Roles(r.byte())}
	v.Name, v.Password, v.Secret = r.text(maxName), r.text(maxName), r.text(maxName)
	v.InviteUntil = r.timestamp()
	switch r.byte() {
	case 0:
	case 1:
		r.fixed(v.Invite[:])
	default:
		r.fail()
	}
	return v
}

// dispatchOffice is the list of commands of operators about each other's acts.
func (b *Book) dispatchOffice(cmd *Command, out *Outcome) (points.Reason, error) {
	switch cmd.Kind {
	case KindSignIn:
		return b.signIn(cmd), nil
	case KindEnrol:
		return b.enrol(cmd), nil
	case KindPropose:
		return b.propose(cmd)
	case KindApprove:
		return b.approveAct(cmd, out)
	case KindReject:
		return b.reject(cmd, out), nil
	case KindKeystore:
		return b.keystore(cmd)
	case KindRegister:
		return b.noteRegister(cmd), nil
	default:
		return b.note(cmd), nil
	}
}

// enrolled reports whether there are operators. Where there is none, a command's word
// about who asked is all there is, as it was before there were operators.
func (b *Book) enrolled() bool { return len(b.live.Operators) > 0 }

// hasRole checks that an operator is active and has a role.
func (b *Book) hasRole(name string, role Roles) points.Reason {
	o := b.live.Operators[name]
	if o == nil || o.Status != Active || !o.Roles.Has(role) {
		return points.RoleMissing
	}
	return points.Approved
}

// mayAct holds an act against who does it (I14): an active operator with the role for
// it, alone only where no second person is needed, else by an approval.
func (b *Book) mayAct(cmd *Command) points.Reason {
	act := cmd.Of()
	if act == 0 || !b.enrolled() || cmd == b.approved {
		return points.Approved
	}
	if reason := b.hasRole(cmd.Operator, cmd.Needs()); !reason.Approved() {
		return reason
	}
	if b.live.Policy.TwoPersons.Has(act) || cmd.Second != "" {
		return points.NeedsSecondPerson // who approves says so in a command of their own
	}
	return points.Approved
}

// propose keeps an act until a second person decides.
func (b *Book) propose(cmd *Command) (points.Reason, error) {
	act := &cmd.Group[0]
	if reason := b.hasRole(cmd.Operator, act.Needs()); !reason.Approved() {
		return reason, nil
	}
	if err := b.whyProposed(cmd); err != nil {
		return points.ReasonOf(err), nil
	}
	now := b.postingTime(cmd)
	basis, err := b.basis(act)
	if err != nil {
		return 0, err
	}
	over := func(p proposal) bool { return p.until <= now }
	live := 0
	for i := range b.office.proposals {
		if !over(b.office.proposals[i]) {
			live++
		}
	}
	if live >= maxProposals {
		return points.OverCountLimit, nil
	}
	b.touch(&b.office)
	b.office.proposals = slices.DeleteFunc(b.office.proposals, over)
	p := proposal{position: b.position + 1, until: now + points.Timestamp(b.live.Policy.Hours)*hour, basis: basis}
	if err := p.keep(act, cmd.Operator); err != nil {
		return 0, err
	}
	b.office.proposals = append(b.office.proposals, p)
	return points.Approved, nil
}

// hour is one in the units of a timestamp.
const hour = points.Timestamp(3600 * 1_000_000)

// keep copies an act by way of the wire, so that what is kept is the book's alone and
// the same after a recovery.
func (p *proposal) keep(act *Command, operator string) error {
	r := reader{src: appendCommand(nil, act)}
	decodeCommand(&r, &p.act, false)
	if !r.ok() {
		return fmt.Errorf("a proposal of kind %v cannot be read back", act.Kind)
	}
	p.act.Operator = operator
	return nil
}

// whyProposed tells why an act cannot be proposed. That it refers to what is not there
// is no reason: what it refers to may be pending itself.
func (b *Book) whyProposed(cmd *Command) error {
	act := &cmd.Group[0]
	switch of := act.Of(); {
	case !b.enrolled():
		return points.Errorf(points.NotPermitted, "there are no operators: nobody could approve it")
	case of == 0 || of >= actCount:
		return points.Errorf(points.NotPermitted, "a command of kind %v is not proposed", act.Kind)
	case act.Second != "" || (act.Operator != "" && act.Operator != cmd.Operator):
		return points.Errorf(points.NotPermitted, "an act is proposed by who is signed in, and approved by a command of its own")
	case act.Ceremony.Keystore != Keystore{}:
		return points.Errorf(points.FormatError, "what keystore a ceremony leaves behind is said when it is approved")
	case act.Kind != KindPut:
		return nil
	}
	if o := act.Entry.Operator; o != nil {
		asked := *act
		asked.Operator = cmd.Operator
		if err := b.whyOperator(&asked); err != nil && points.ReasonOf(err) != points.LastAdmin {
			return err
		}
		return nil
	}
	if act.Entry.versioned() {
		asked := *act
		asked.Operator, asked.At = cmd.Operator, cmd.At
		return b.whyVersion(&asked)
	}
	err := b.validEntry(&act.Entry)
	if reason := points.ReasonOf(err); reason == points.FormatError || reason == points.BadAmount {
		return err
	}
	return nil
}

// basis tells apart what an act is about from what it was before: the first bytes of a
// SHA-256 of it. A balance is not in it, since members go on buying.
func (b *Book) basis(act *Command) (uint64, error) {
	var text []byte
	switch act.Kind {
	case KindPut:
		if e := &act.Entry; e.versioned() {
			text = b.live.basisOf(e)
		} else if ref, ok := b.byIdentity[e.identity()]; ok {
			text = appendEntry(text, &ref.entry)
		}
	case KindCutOver:
		text = binary.AppendUvarint(text, uint64(b.date))
		if b.cycle != 0 {
			text = append(text, b.cycle)
		}
	case KindPost:
		c, err := b.cycleAt(act.Date, act.Cycle)
		if err != nil {
			return 0, err
		}
		if c != nil {
			text = c.appendValue(text)
		}
	case KindResolve:
		var err error
		if text, err = b.owedAs(act.Original); err != nil {
			return 0, err
		}
	case KindDispute:
		d, err := b.findDispute(act.Original)
		if err != nil {
			return 0, err
		}
		if d != nil {
			text = d.appendValue(text)
		}
	case KindAdjust, KindReinstate:
		var err error
		if text, err = b.holderAs(act); err != nil {
			return 0, err
		}
	case KindPIN:
		c, err := b.findCard(act.Card)
		if err != nil {
			return 0, err
		}
		if c != nil {
			text = append(text, byte(c.Status), c.pin.limit)
			text = append(text, c.pin.value[:]...)
		}
	default: // a note is about nothing in the book
	}
	digest := sha256.Sum256(text)
	return binary.BigEndian.Uint64(digest[:]), nil
}

// owedAs is what is open about a request, or a swap, that is to be resolved.
func (b *Book) owedAs(position points.Position) ([]byte, error) {
	r, err := b.findRemote(position)
	if err != nil {
		return nil, err
	}
	if r != nil {
		return r.appendValue(nil), nil
	}
	s, err := b.findSwap(position)
	if err != nil || s == nil {
		return nil, err
	}
	return s.settledAs(nil), nil
}

// holderAs is in which state the member is whose points an act moves, and the account.
func (b *Book) holderAs(act *Command) (text []byte, err error) {
	m, _, err := b.holder(act.Card, act.Member, 0)
	if err != nil || m == nil {
		return nil, err
	}
	text = binary.AppendUvarint([]byte{byte(m.Status), byte(m.Freeze)}, uint64(m.ID))
	a, err := b.findAccount(AccountKey{MemberAccount, act.Program, uint64(m.ID)})
	if err != nil || a == nil {
		return text, err
	}
	return append(text, byte(a.status), byte(a.freeze)), nil
}

func (o *office) find(position points.Position) (int, bool) {
	return slices.BinarySearchFunc(o.proposals, position, func(p proposal, at points.Position) int { return cmp.Compare(p.position, at) })
}

// pending finds the proposal that an approver decides on.
func (b *Book) pending(cmd *Command) (*proposal, points.Reason) {
	if reason := b.hasRole(cmd.Operator, RoleApprover); !reason.Approved() {
		return nil, reason
	}
	i, found := b.office.find(cmd.Original)
	if !found {
		return nil, points.ProposalUnknown
	}
	return &b.office.proposals[i], points.Approved
}

// approveAct carries out what was proposed, once (I15): what is pending no longer cannot be
// approved again. A refusal of the act itself leaves it pending.
func (b *Book) approveAct(cmd *Command, out *Outcome) (points.Reason, error) {
	p, reason := b.pending(cmd)
	switch {
	case !reason.Approved():
		return reason, nil
	case p.act.Operator == cmd.Operator:
		return points.NeedsSecondPerson, nil
	case p.until <= b.postingTime(cmd):
		return points.ProposalExpired, nil
	case string(appendCommand(nil, &p.act)) != string(appendCommand(nil, &cmd.Group[0])):
		return points.ProposalStale, nil // the approver has seen something else
	case !b.office.keys.follows(cmd.Ceremony.Keystore) || (cmd.Ceremony != Ceremony{} && p.act.Ceremony.Act == 0):
		return points.ProposalStale, nil // another keystore came between
	}
	act := p.act
	if reason := b.hasRole(act.Operator, act.Needs()); !reason.Approved() {
		return reason, nil
	}
	if basis, err := b.basis(&act); err != nil || basis != p.basis {
		return points.ProposalStale, err
	}
	act.At, act.Second = cmd.At, cmd.Operator
	b.approved = &act
	defer func() { b.approved = nil }()
	reason, err := b.dispatch(&act, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	b.forgetProposal(cmd.Original)
	b.leaveKeystore(cmd)
	if out.Original == 0 {
		out.Original = cmd.Original
	}
	return reason, nil
}

func (b *Book) forgetProposal(position points.Position) {
	b.touch(&b.office)
	if i, found := b.office.find(position); found {
		b.office.proposals = slices.Delete(b.office.proposals, i, i+1)
	}
}

// reject ends what was proposed: by an approver, or by who proposed it.
func (b *Book) reject(cmd *Command, out *Outcome) points.Reason {
	i, found := b.office.find(cmd.Original)
	if !found || b.office.proposals[i].act.Operator != cmd.Operator {
		if _, reason := b.pending(cmd); !reason.Approved() {
			return reason
		}
	} else if reason := b.hasRole(cmd.Operator, RoleViewer); !reason.Approved() {
		return reason
	}
	out.Original = cmd.Original
	b.forgetProposal(cmd.Original)
	return points.Approved
}

// note writes down an act that changes nothing here.
func (b *Book) note(cmd *Command) points.Reason {
	if cmd.Act == 0 || cmd.Act >= actCount || cmd.Operator == "" || cmd.Note == "" {
		return points.FormatError
	}
	if !b.office.keys.follows(cmd.Ceremony.Keystore) {
		return points.NotPermitted
	}
	b.leaveKeystore(cmd)
	return points.Approved
}

// putOperator enters an operator. The first one needs nobody: whoever may open the
// door before there are operators brings it.
func (b *Book) putOperator(cmd *Command) points.Reason {
	if err := b.whyOperator(cmd); err != nil {
		return points.ReasonOf(err)
	}
	v := *cmd.Entry.Operator
	if was := b.live.Operators[v.Name]; was != nil && v.InviteUntil == 0 {
		v.Password, v.Secret, v.Invite, v.InviteUntil = was.Password, was.Secret, was.Invite, was.InviteUntil
	}
	b.putReference(Entry{Operator: &v})
	b.beginPolicy(cmd)
	return points.Approved
}

// beginPolicy asks for two persons where nobody ever said how many: with the command that
// leaves a second person to approve what an admin does. One who was invited and has not
// enrolled is nobody yet: an invitation that is never used would lock everybody out.
func (b *Book) beginPolicy(cmd *Command) {
	_, said := b.byIdentity[identity{kind: entryPolicy}]
	if cmd.Edition == 0 || said || b.staffed(nil, true, (*Operator).present) != nil {
		return
	}
	b.putReference(Entry{Policy: &Policy{TwoPersons: TwoPersons, Hours: defaultHours}})
}

// present reports whether an operator has what to sign in with: credentials, or a
// certificate, which is not known here and is what remains for who was not invited.
func (o *Operator) present() bool { return o.Status == Active && o.InviteUntil == 0 }

func (o *Operator) active() bool { return o.Status == Active }

// whyOperator tells why an operator cannot be put by who asks.
func (b *Book) whyOperator(cmd *Command) error {
	v := cmd.Entry.Operator
	was := b.live.Operators[v.Name]
	switch {
	case v.Password != "" || v.Secret != "":
		return points.Errorf(points.NotPermitted, "operator %s: credentials are set by the person alone, who is invited", v.Name)
	case was == nil && v.Name == cmd.Operator && b.enrolled(), was != nil && v.Name == cmd.Operator && (v.Roles != was.Roles || v.Status != was.Status):
		return points.Errorf(points.NotPermitted, "operator %s: nobody changes their own roles or status", v.Name)
	}
	return b.validOperator(v)
}

func (b *Book) validOperator(v *Operator) error {
	switch {
	case !validName(v.Name):
		return wrong("name", fmt.Sprintf("%q", v.Name), fmt.Sprintf("want 1 to %d of a-z, 0-9 and -, a letter first", maxOperator))
	case v.Roles == 0 || v.Roles > allRoles:
		return wrong("roles", v.Roles, "want one or more of viewer, operator, approver and admin")
	case v.Status != Active && v.Status != Suspended:
		return wrong("status", v.Status, "want active or suspended")
	case (v.InviteUntil == 0) != (v.Invite == [32]byte{}) || v.InviteUntil < 0:
		return wrong("invite", "", "want a code and until when it is good")
	case b.live.Operators[v.Name] == nil && len(b.live.Operators) >= maxOperators:
		return points.Errorf(points.OverCountLimit, "operator %s: there are %d, and no more fit", v.Name, maxOperators)
	}
	return b.staffed(v, b.live.Policy.TwoPersons != 0, (*Operator).active)
}

// validName keeps names apart in every spelling: no capitals, no blanks, ASCII only.
func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (c != '-' && (c < '0' || c > '9'))) {
			return false
		}
	}
	return name != "" && len(name) <= maxOperator
}

func (b *Book) validPolicy(v *Policy) error {
	switch {
	case v.TwoPersons>>actCount != 0 || v.TwoPersons&1 != 0:
		return wrong("two_persons", v.TwoPersons, "want acts that there are")
	case v.TwoPersons.Has(ActHouse):
		return wrong("two_persons", ActHouse, "it is noted, and nobody waits for it")
	case v.TwoPersons != 0 && !v.TwoPersons.Has(ActPolicy) || v.TwoPersons != 0 && !v.TwoPersons.Has(ActOperators):
		return wrong("two_persons", v.TwoPersons, "want policy and operators among them: one person could undo the rest")
	case v.Hours == 0 || v.Hours > maxHours:
		return wrong("hours", v.Hours, fmt.Sprintf("want 1 to %d", maxHours))
	}
	return b.staffed(nil, v.TwoPersons != 0, (*Operator).active)
}

// staffed checks I16 as it would be with one operator changed: an active admin stays,
// and where two persons are asked for, an active approver who is another person. Who
// counts is said by counts.
func (b *Book) staffed(changed *Operator, two bool, counts func(*Operator) bool) error {
	var admins, approvers, both int
	count := func(o *Operator) {
		if !counts(o) {
			return
		}
		if o.Roles.Has(RoleAdmin) {
			admins++
		}
		if o.Roles.Has(RoleApprover) {
			approvers++
		}
		if o.Roles.Has(RoleAdmin | RoleApprover) {
			both++
		}
	}
	for name, o := range b.live.Operators { // in any order: they are counted
		if changed == nil || name != changed.Name {
			count(o)
		}
	}
	if changed != nil {
		count(changed)
	}
	switch {
	case changed == nil && len(b.live.Operators) == 0 && !two:
		return nil
	case admins == 0:
		return points.Errorf(points.LastAdmin, "an active admin has to stay")
	case two && (approvers == 0 || (admins == 1 && approvers == 1 && both == 1)):
		return points.Errorf(points.LastAdmin, "acts need a second person: an active approver beside an active admin has to stay")
	}
	return nil
}

// enrol sets the credentials of who was invited and brings the code.
func (b *Book) enrol(cmd *Command) points.Reason {
	v := cmd.Entry.Operator
	switch {
	case v == nil || v.Name != cmd.Operator || v.Password == "" || v.Secret == "" || len(v.Password) > maxCredential || len(v.Secret) > maxCredential:
		return points.FormatError
	case b.hasRole(v.Name, RoleViewer) != points.Approved:
		return points.SignInRefused
	}
	is := *b.live.Operators[v.Name]
	if is.InviteUntil == 0 || is.InviteUntil <= b.postingTime(cmd) || is.Invite != v.Invite {
		return points.SignInRefused
	}
	is.Password, is.Secret, is.Invite, is.InviteUntil = v.Password, v.Secret, [32]byte{}, 0
	b.putReference(Entry{Operator: &is})
	l := b.changeLogin(v.Name)
	*l = login{name: l.name, lastSeen: l.lastSeen}
	b.beginPolicy(cmd)
	return points.Approved
}

// A lock begins with the third refusal in a row and doubles with each one more.
const (
	triesBeforeLock = 3
	firstLock       = 30 * points.Timestamp(1_000_000)
	longestLock     = hour
)

// signIn notes a sign-in. Password and code were looked at by the door; here stands
// whether this operator may sign in now, and that a code is taken once (I17).
func (b *Book) signIn(cmd *Command) points.Reason {
	o := b.live.Operators[cmd.Operator]
	if o == nil || (cmd.Answer != points.Approved && cmd.Answer != points.SignInRefused) {
		return points.SignInRefused
	}
	now := b.postingTime(cmd)
	if l := b.login(cmd.Operator); l != nil && now < l.locked {
		return points.LockedOut
	}
	if cmd.Answer == points.Approved {
		l := b.login(cmd.Operator)
		if o.Status != Active || cmd.Parameters == 0 || (l != nil && cmd.Parameters <= l.step) {
			return points.SignInRefused
		}
		l = b.changeLogin(cmd.Operator)
		l.refused, l.locked, l.step, l.lastSeen = 0, 0, cmd.Parameters, now
		return points.Approved
	}
	l := b.changeLogin(cmd.Operator)
	if l.refused++; l.refused >= triesBeforeLock {
		l.locked = now + min(firstLock<<min(l.refused-triesBeforeLock, 16), longestLock)
	}
	return points.Approved
}

func (b *Book) loginAt(name string) (int, bool) {
	return slices.BinarySearchFunc(b.office.logins, name, func(l login, name string) int { return cmp.Compare(l.name, name) })
}

func (b *Book) login(name string) *login {
	if i, found := b.loginAt(name); found {
		return &b.office.logins[i]
	}
	return nil
}

func (b *Book) changeLogin(name string) *login {
	b.touch(&b.office)
	i, found := b.loginAt(name)
	if !found {
		b.office.logins = slices.Insert(b.office.logins, i, login{name: name})
	}
	return &b.office.logins[i]
}

// auditOffice checks I15 to I17 on what is in memory.
func (b *Book) auditOffice() error {
	if b.enrolled() {
		if err := b.staffed(nil, b.live.Policy.TwoPersons != 0, (*Operator).active); err != nil {
			return fmt.Errorf("book: I16: %w", err)
		}
	}
	for i := range b.office.proposals {
		p := &b.office.proposals[i]
		if p.position == 0 || p.position > b.position || (i > 0 && b.office.proposals[i-1].position >= p.position) || b.live.Operators[p.act.Operator] == nil || p.act.Second != "" {
			return fmt.Errorf("book: I15: proposal %d of %q is out of order", p.position, p.act.Operator)
		}
	}
	for i := range b.office.logins {
		if l := &b.office.logins[i]; (i > 0 && b.office.logins[i-1].name >= l.name) || (l.refused < triesBeforeLock) != (l.locked == 0) || b.live.Operators[l.name] == nil {
			return fmt.Errorf("book: I17: sign-ins of %q: %d refused, locked until %v", l.name, l.refused, l.locked)
		}
	}
	return nil
}

// ProposalView is an act that waits for a second person.
type ProposalView struct {
	Position points.Position
	Until    points.Timestamp
	Act      Command // Operator is who proposed it
}

// Proposals returns what is pending, in order; those whose time is over are among them
// until the next one is proposed.
func (b *Book) Proposals() []ProposalView {
	views := make([]ProposalView, 0, len(b.office.proposals))
	for i := range b.office.proposals {
		p := &b.office.proposals[i]
		view := ProposalView{Position: p.position, Until: p.until, Act: p.act}
		view.Act.Entry = p.act.Entry.clone()
		views = append(views, view)
	}
	return views
}

// ProposalStale reports whether what a pending act is about has changed since it was proposed:
// approving it is refused then. What is not pending is not stale.
func (b *Book) ProposalStale(position points.Position) (bool, error) {
	i, found := b.office.find(position)
	if !found {
		return false, nil
	}
	p := &b.office.proposals[i]
	act := p.act
	basis, err := b.basis(&act)
	return basis != p.basis, err
}

// LoginView is how an operator's sign-ins went.
type LoginView struct {
	Refused  uint32           // in a row
	Locked   points.Timestamp // until then nobody signs in as this operator; 0: not locked
	Step     uint32           // of the last one-time code that was taken
	LastSeen points.Timestamp
}

// Login tells how an operator's sign-ins went; zeros of one who never tried.
func (b *Book) Login(name string) LoginView {
	l := b.login(name)
	if l == nil {
		return LoginView{}
	}
	return LoginView{l.refused, l.locked, l.step, l.lastSeen}
}
