package book_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

const (
	second = points.Timestamp(1_000_000)
	hour   = 3600 * second
)

// staffed is a desk with operators: ann and bob are everything, cat enters, dan looks,
// eve administers and approves.
func staffed(t testing.TB, acts book.Acts) *desk {
	t.Helper()
	d := newDesk(t, book.Options{})
	d.furnish(2, kindRules, kindRules)
	d.must(operator("", "ann", book.RoleAdmin|book.RoleOperator|book.RoleApprover))
	d.must(operator("ann", "bob", book.RoleAdmin|book.RoleOperator|book.RoleApprover))
	d.must(operator("ann", "cat", book.RoleOperator))
	d.must(operator("ann", "dan", book.RoleViewer))
	d.must(operator("ann", "eve", book.RoleAdmin|book.RoleApprover))
	if acts != 0 {
		d.must(policy("ann", acts, 24))
	}
	return d
}

func operator(by, name string, roles book.Roles) book.Command {
	return book.Command{Kind: book.KindPut, Operator: by, Entry: book.Entry{Operator: &book.Operator{Name: name, Roles: roles, Status: book.Active}}}
}

func disabled(by, name string, roles book.Roles) book.Command {
	cmd := operator(by, name, roles)
	cmd.Entry.Operator.Status = book.Suspended
	return cmd
}

func policy(by string, acts book.Acts, hours uint16) book.Command {
	return book.Command{Kind: book.KindPut, Operator: by, Entry: book.Entry{Policy: &book.Policy{TwoPersons: acts, Hours: hours}}}
}

func shop(by, name string) book.Command {
	return book.Command{Kind: book.KindPut, Operator: by, Entry: book.Entry{Merchant: &book.Merchant{
		ID: merchantID("SHOP"), Acquirer: acquirer, Name: name, Status: book.Active, Programs: []points.ProgramID{air, inn},
	}}}
}

func adjust(by string, amount points.Amount) book.Command {
	return book.Command{Kind: book.KindAdjust, Operator: by, Member: 1, Program: air, Amount: amount, Note: "case 17"}
}

func proposed(cmd book.Command) book.Command {
	return book.Command{Kind: book.KindPropose, Operator: cmd.Operator, Group: []book.Command{cmd}}
}

// approval approves what is pending at position, as the approver has seen it.
func (d *desk) approval(by string, position points.Position) book.Command {
	cmd := book.Command{Kind: book.KindApprove, Operator: by, Original: position}
	for _, p := range d.book.Proposals() {
		if p.Position == position {
			cmd.Group = []book.Command{p.Act}
		}
	}
	if cmd.Group == nil {
		cmd.Group = []book.Command{adjust("cat", 1)}
	}
	return cmd
}

func (d *desk) free(t testing.TB) points.Amount {
	t.Helper()
	view, _, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: air, Party: 1})
	require.NoError(t, err)
	return view.Free
}

// refused carries out a command that must be refused with this reason, without trace.
func (d *desk) refused(t testing.TB, reason points.Reason, cmd book.Command) {
	t.Helper()
	before := d.book.Digest()
	out := d.do(cmd)
	require.Equal(t, reason, out.Reason)
	require.Zero(t, out.Position)
	require.Empty(t, out.Postings)
	require.Equal(t, before, d.book.Digest(), "a refusal changes nothing")
}

// recovered checks that the journal from genesis, and a checkpoint, give the same book.
func (d *desk) recovered(t testing.TB) {
	t.Helper()
	require.NoError(t, d.book.Audit())
	replay(t, d, newDesk(t, book.Options{}))
	d.store.checkpoint(d.book)
	again := book.New(book.Options{}, d.store)
	require.NoError(t, again.Err())
	require.Equal(t, d.book.Position(), again.Position())
	require.Equal(t, d.book.Proposals(), again.Proposals())
	require.Equal(t, d.book.Keystore(), again.Keystore())
	require.Equal(t, d.book.Registry().Operators, again.Registry().Operators)
	require.Equal(t, d.book.Registry().Policy, again.Registry().Policy)
	for name := range d.book.Registry().Operators {
		require.Equal(t, d.book.Login(name), again.Login(name))
	}
	require.NoError(t, again.Audit())
}

// I14, I15: what is proposed changes nothing; a second person's approval carries it out
// once, in the approval's own record, which names both.
func TestSecondPersonApproves(t *testing.T) {
	d := staffed(t, book.TwoPersons)
	d.refused(t, points.NeedsSecondPerson, adjust("cat", 50))
	at := d.must(proposed(adjust("cat", 50))).Position
	require.Zero(t, d.free(t))
	d.refused(t, points.RoleMissing, d.approval("dan", at))
	out := *d.must(d.approval("bob", at))
	require.Equal(t, points.Amount(50), d.free(t))
	require.Equal(t, at, out.Original)
	require.Equal(t, points.Amount(50), out.Amount)
	balanced(t, &out)
	var rec book.Record
	require.NoError(t, d.store.Record(out.Position, &rec))
	require.Equal(t, "bob", rec.Command.Operator)
	require.Equal(t, "cat", rec.Command.Carried().Operator)
	require.Equal(t, "case 17", rec.Command.Carried().Note)
	d.refused(t, points.ProposalUnknown, d.approval("bob", at))
	d.refused(t, points.ProposalUnknown, d.approval("eve", at))
	require.Equal(t, points.Amount(50), d.free(t))
	d.recovered(t)
}

// The attacks on maker and checker that must fail, and change nothing.
func TestMakerCheckerAttacks(t *testing.T) {
	t.Run("own act", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		at := d.must(proposed(adjust("bob", 50))).Position
		d.refused(t, points.NeedsSecondPerson, d.approval("bob", at))
		d.refused(t, points.RoleMissing, d.approval("Bob", at))
		d.refused(t, points.RoleMissing, d.approval("bob ", at))
		d.refused(t, points.FormatError, proposed(operator("ann", "Bob", book.RoleApprover)))
		d.refused(t, points.FormatError, proposed(operator("ann", "b\u043eb", book.RoleApprover)))
	})
	t.Run("second person by word", func(t *testing.T) {
		d := staffed(t, 0)
		cmd := adjust("cat", 50)
		cmd.Second = "bob"
		d.refused(t, points.NeedsSecondPerson, cmd)
		d.refused(t, points.NotPermitted, proposed(cmd))
		inGroup := book.Command{Kind: book.KindGroup, Key: keyOf("T1", 7, 2), Group: []book.Command{cmd}}
		require.Equal(t, points.NeedsSecondPerson, d.do(inGroup).Reason)
		require.Zero(t, d.free(t))
	})
	t.Run("by a group", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		require.Equal(t, points.NeedsSecondPerson, d.do(book.Command{Kind: book.KindGroup, Key: keyOf("T1", 7, 2), Group: []book.Command{adjust("cat", 5)}}).Reason)
		require.Zero(t, d.free(t))
	})
	t.Run("two approvers race", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		at := d.must(proposed(adjust("cat", 50))).Position
		first, other := d.approval("bob", at), d.approval("eve", at)
		d.must(first)
		d.refused(t, points.ProposalUnknown, other)
		require.Equal(t, points.Amount(50), d.free(t))
	})
	t.Run("too late", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		at := d.must(proposed(adjust("cat", 50))).Position
		d.now += 24*hour + second
		d.refused(t, points.ProposalExpired, d.approval("bob", at))
		d.must(proposed(adjust("cat", 1)))
		d.refused(t, points.ProposalUnknown, d.approval("bob", at))
	})
	t.Run("another act than was proposed", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		at := d.must(proposed(adjust("cat", 50))).Position
		changed := d.approval("bob", at)
		changed.Group[0].Amount = 5000
		d.refused(t, points.ProposalStale, changed)
	})
	t.Run("the target has changed", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		first := d.must(proposed(shop("cat", "One"))).Position
		other := d.must(proposed(shop("cat", "Two"))).Position
		d.must(d.approval("bob", first))
		d.refused(t, points.ProposalStale, d.approval("bob", other))
		require.Equal(t, "One", d.book.Registry().Merchants[merchantID("SHOP")].Name)
		cut := book.Command{Kind: book.KindCutOver, Operator: "cat", Date: day0.AddDays(1)}
		first = d.must(proposed(cut)).Position
		other = d.must(proposed(cut)).Position
		require.Equal(t, day0.AddDays(1), d.must(d.approval("bob", first)).Date)
		d.refused(t, points.ProposalStale, d.approval("bob", other))
		at := d.must(proposed(adjust("cat", 50))).Position
		d.must(book.Command{Kind: book.KindFreeze, Member: 1, Freeze: book.FreezeCredit})
		d.refused(t, points.ProposalStale, d.approval("bob", at))
	})
	t.Run("roles were withdrawn meanwhile", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		at := d.must(proposed(adjust("cat", 50))).Position
		d.must(d.approval("bob", d.must(proposed(operator("ann", "cat", book.RoleViewer))).Position))
		d.refused(t, points.RoleMissing, d.approval("bob", at))
		d.must(d.approval("eve", d.must(proposed(operator("ann", "cat", book.RoleOperator))).Position))
		require.Len(t, d.book.Proposals(), 1)
		d.must(d.approval("bob", at))
	})
	t.Run("one's own roles", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		d.refused(t, points.RoleMissing, operator("cat", "cat", book.RoleAdmin))
		d.refused(t, points.RoleMissing, proposed(operator("cat", "cat", book.RoleAdmin)))
		d.refused(t, points.NotPermitted, proposed(operator("eve", "eve", book.RoleAdmin|book.RoleApprover|book.RoleOperator)))
		one := staffed(t, 0)
		one.refused(t, points.NotPermitted, operator("eve", "eve", book.RoleAdmin|book.RoleApprover|book.RoleOperator))
		one.refused(t, points.NotPermitted, disabled("eve", "eve", book.RoleAdmin|book.RoleApprover))
		one.refused(t, points.RoleMissing, operator("zoe", "zoe", book.RoleAdmin))
		one.refused(t, points.RoleMissing, operator("", "zoe", book.RoleAdmin))
		stranger := operator("eve", "cat", book.RoleOperator)
		stranger.Entry.Operator.Password = "known to eve"
		one.refused(t, points.NotPermitted, stranger)
	})
	t.Run("the policy by one person", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		d.refused(t, points.NeedsSecondPerson, policy("ann", 0, 24))
		d.refused(t, points.NeedsSecondPerson, operator("ann", "zoe", book.RoleApprover))
		loose := staffed(t, 0)
		loose.refused(t, points.FormatError, policy("ann", 1<<book.ActAdjust, 24))
		loose.refused(t, points.FormatError, policy("ann", book.TwoPersons|1<<book.ActHouse, 24))
		loose.refused(t, points.RoleMissing, policy("cat", book.TwoPersons, 24))
	})
	t.Run("nobody is left", func(t *testing.T) {
		d := newDesk(t, book.Options{})
		d.refused(t, points.LastAdmin, operator("", "ann", book.RoleOperator))
		d.refused(t, points.LastAdmin, policy("", book.TwoPersons, 24))
		d.must(operator("", "ann", book.RoleAdmin|book.RoleApprover))
		d.refused(t, points.LastAdmin, policy("ann", book.TwoPersons, 24))
		d.must(operator("ann", "bob", book.RoleAdmin))
		d.must(disabled("bob", "ann", book.RoleAdmin|book.RoleApprover))
		d.refused(t, points.NotPermitted, disabled("bob", "bob", book.RoleAdmin))
		d.must(operator("bob", "ann", book.RoleAdmin|book.RoleApprover))
		d.must(policy("bob", book.TwoPersons, 24))
		at := d.must(proposed(operator("bob", "ann", book.RoleAdmin))).Position
		d.refused(t, points.LastAdmin, d.approval("ann", at))
		require.NoError(t, d.book.Audit())
	})
	t.Run("too many", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		for range 256 {
			d.must(proposed(adjust("cat", 1)))
		}
		d.refused(t, points.OverCountLimit, proposed(adjust("cat", 1)))
		d.must(book.Command{Kind: book.KindReject, Operator: "cat", Original: d.book.Proposals()[7].Position})
		d.must(proposed(adjust("cat", 1)))
		d.recovered(t)
	})
	t.Run("what is not proposed", func(t *testing.T) {
		d := staffed(t, book.TwoPersons)
		for _, cmd := range []book.Command{
			{Kind: book.KindOpen, Operator: "cat", Member: 1, Program: air},
			{Kind: book.KindRedeem, Operator: "cat", Card: cardOf(1), Program: air, Amount: 5},
			{Kind: book.KindReject, Operator: "cat", Original: 5},
		} {
			d.refused(t, points.NotPermitted, proposed(cmd))
		}
		d.refused(t, points.FormatError, proposed(proposed(adjust("cat", 5))))
		d.refused(t, points.FormatError, proposed(shop("cat", "")))
	})
}

// I17: a code is taken once; the third refusal in a row locks, each one more for twice as
// long, an hour at most; whoever signs in then begins anew.
func TestSignInLocks(t *testing.T) {
	d := staffed(t, 0)
	right := func(step uint32) book.Command {
		return book.Command{Kind: book.KindSignIn, Operator: "cat", Answer: points.Approved, Parameters: step}
	}
	wrong := book.Command{Kind: book.KindSignIn, Operator: "cat", Answer: points.SignInRefused}
	d.must(right(7))
	d.refused(t, points.SignInRefused, right(7))
	d.refused(t, points.SignInRefused, right(6))
	d.refused(t, points.SignInRefused, right(0))
	stranger := right(9)
	stranger.Operator = "zoe"
	d.refused(t, points.SignInRefused, stranger)
	for range 2 {
		d.must(wrong)
		require.Zero(t, d.book.Login("cat").Locked)
	}
	lock := 30 * second
	for range 12 {
		d.now += 100 * second // Clocks of doors differ.
		d.must(wrong)
		at := d.last
		require.Equal(t, at+lock, d.book.Login("cat").Locked)
		d.refused(t, points.LockedOut, right(1_000))
		d.refused(t, points.LockedOut, wrong)
		d.now = max(d.now, at+lock)
		lock = min(2*lock, hour)
	}
	d.recovered(t)
	d.now += 100 * second
	d.must(right(1_000))
	require.Equal(t, book.LoginView{Step: 1_000, LastSeen: d.last}, d.book.Login("cat"))
	d.must(disabled("ann", "cat", book.RoleOperator))
	d.refused(t, points.SignInRefused, right(1_001))
	d.recovered(t)
}

// Credentials are the person's own: whoever was invited brings the code, in time, once.
func TestEnrolment(t *testing.T) {
	d := staffed(t, 0)
	code := sha256.Sum256([]byte("the code"))
	enrolment := func(name string, invite [32]byte) book.Command {
		return book.Command{Kind: book.KindEnrol, Operator: name, Entry: book.Entry{Operator: &book.Operator{Name: name, Password: "hash", Secret: "sealed", Invite: invite}}}
	}
	d.refused(t, points.SignInRefused, enrolment("cat", code))
	d.refused(t, points.SignInRefused, enrolment("cat", [32]byte{}))
	invited := operator("ann", "cat", book.RoleOperator)
	invited.Entry.Operator.Invite, invited.Entry.Operator.InviteUntil = code, d.now+hour
	d.must(invited)
	d.refused(t, points.SignInRefused, enrolment("cat", sha256.Sum256([]byte("another"))))
	d.refused(t, points.SignInRefused, enrolment("dan", code))
	foreign := enrolment("cat", code)
	foreign.Operator = "ann"
	d.refused(t, points.FormatError, foreign)
	d.must(enrolment("cat", code))
	d.refused(t, points.SignInRefused, enrolment("cat", code))
	is := d.book.Registry().Operators["cat"]
	require.Equal(t, book.Operator{Name: "cat", Roles: book.RoleOperator, Status: book.Active, Password: "hash", Secret: "sealed"}, *is)
	d.must(operator("ann", "cat", book.RoleViewer))
	require.Equal(t, "hash", d.book.Registry().Operators["cat"].Password, "a change of roles leaves credentials alone")
	d.must(invited)
	require.Empty(t, d.book.Registry().Operators["cat"].Password, "an invitation ends what was there")
	d.now = invited.Entry.Operator.InviteUntil + second
	d.refused(t, points.SignInRefused, enrolment("cat", code))
	d.recovered(t)
}

// present puts an operator as of today's edition, invited where there is an invitation.
func present(by, name string, roles book.Roles, invite [32]byte, until points.Timestamp) book.Command {
	cmd := operator(by, name, roles)
	cmd.Edition = book.Edition
	cmd.Entry.Operator.Invite, cmd.Entry.Operator.InviteUntil = invite, until
	return cmd
}

// Where nobody ever set a policy, acts need a second person from the command on that leaves
// one to approve them: an approver beside an admin, both with what to sign in with. What is
// asked for then is one set for ever, since replays ask for it again.
func TestTwoPersonsBeginByThemselves(t *testing.T) {
	const all = book.RoleAdmin | book.RoleOperator | book.RoleApprover
	begun := book.Policy{TwoPersons: 0x77fe, Hours: 24}
	none := book.Policy{Hours: 24}
	house := func(t *testing.T) *desk {
		d := newDesk(t, book.Options{})
		d.furnish(2, kindRules, kindRules)
		d.must(present("", "ann", all, [32]byte{}, 0))
		require.Equal(t, none, d.book.Registry().Policy)
		d.must(adjust("ann", 10))
		return d
	}
	code := sha256.Sum256([]byte("the code"))
	enrols := func(name string) book.Command {
		return book.Command{Kind: book.KindEnrol, Edition: book.Edition, Operator: name, Entry: book.Entry{Operator: &book.Operator{Name: name, Password: "hash", Secret: "sealed", Invite: code}}}
	}
	t.Run("by a certificate", func(t *testing.T) {
		d := house(t)
		d.must(present("ann", "cat", book.RoleOperator, [32]byte{}, 0))
		d.must(adjust("ann", 10))
		d.must(present("ann", "bob", book.RoleApprover, [32]byte{}, 0))
		require.Equal(t, begun, d.book.Registry().Policy)
		d.refused(t, points.NeedsSecondPerson, adjust("ann", 10))
		at := d.must(proposed(adjust("ann", 10))).Position
		d.must(d.approval("bob", at))
		d.refused(t, points.NeedsSecondPerson, policy("ann", 0, 24))
		d.recovered(t)
	})
	t.Run("with the enrolment", func(t *testing.T) {
		d := house(t)
		d.must(present("ann", "bob", all, code, d.now+hour))
		d.must(adjust("ann", 10))
		d.must(present("ann", "bob", all, code, d.now+2*hour))
		d.recovered(t)
		require.Equal(t, none, d.book.Registry().Policy, "who has not enrolled approves nothing")
		d.must(enrols("bob"))
		require.Equal(t, begun, d.book.Registry().Policy)
		d.refused(t, points.NeedsSecondPerson, adjust("ann", 10))
		d.recovered(t)
	})
	t.Run("off was said", func(t *testing.T) {
		d := house(t)
		d.must(policy("ann", 0, 24))
		d.must(present("ann", "bob", all, code, d.now+hour))
		d.must(enrols("bob"))
		d.recovered(t)
		require.Equal(t, none, d.book.Registry().Policy)
		d.must(adjust("ann", 10))
	})
	t.Run("nobody else could", func(t *testing.T) {
		d := house(t)
		bob := present("ann", "bob", all, [32]byte{}, 0)
		bob.Entry.Operator.Status = book.Suspended
		d.must(bob)
		d.must(present("ann", "cat", book.RoleOperator|book.RoleViewer, [32]byte{}, 0))
		require.Equal(t, none, d.book.Registry().Policy)
		d.must(present("ann", "bob", all, [32]byte{}, 0))
		require.Equal(t, begun, d.book.Registry().Policy)
	})
	t.Run("as it was before", func(t *testing.T) {
		d := staffed(t, 0)
		require.Equal(t, none, d.book.Registry().Policy, "a journal of before replays to what it said")
		d.must(adjust("cat", 10))
		d.must(present("ann", "fay", book.RoleViewer, [32]byte{}, 0))
		require.Equal(t, begun, d.book.Registry().Policy)
		d.recovered(t)
	})
}

// A house without operators is what it always was: two names stand behind an adjustment,
// and nobody can propose.
func TestWithoutOperators(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(2, kindRules, kindRules)
	cmd := adjust("li", 5)
	d.refused(t, points.NeedsSecondPerson, cmd)
	cmd.Second = "wang"
	d.must(cmd)
	require.Equal(t, points.RoleMissing, d.do(proposed(adjust("li", 5))).Reason)
	d.must(shop("", "Other"))
	d.recovered(t)
}

// Notes name who, what and why.
func TestNotes(t *testing.T) {
	d := staffed(t, book.TwoPersons)
	note := book.Command{Kind: book.KindNote, Operator: "cat", Act: book.ActHouse, Note: "backup to /backup/monday"}
	d.must(note)
	key := note
	key.Act = book.ActKeys
	d.refused(t, points.NeedsSecondPerson, key)
	d.must(d.approval("bob", d.must(proposed(key)).Position))
	note.Operator = "dan"
	d.refused(t, points.RoleMissing, note)
	note.Operator, note.Note = "cat", ""
	d.refused(t, points.FormatError, note)
	d.recovered(t)
}

// clerk is the slow obvious model of who may do what. It knows names, roles and what is
// pending, and nothing of how the book keeps them.
type clerk struct {
	roles   map[string]string // a letter for each role; empty: suspended
	two     map[string]bool   // acts that need two
	hours   points.Timestamp
	pending map[points.Position]*wish
	shop    string
	free    points.Amount
}

type wish struct {
	by, what, name string
	roles          string
	amount         points.Amount
	until          points.Timestamp
	was            string
}

func (c *clerk) has(name, role string) bool {
	for _, r := range c.roles[name] {
		if string(r) == role {
			return true
		}
	}
	return false
}

func roleFor(what string) string {
	if what == "roles" || what == "policy" {
		return "a"
	}
	return "o"
}

// target is what a wish is about, as it is now.
func (c *clerk) target(w *wish) string {
	switch w.what {
	case "shop":
		return c.shop
	case "roles":
		return c.roles[w.name]
	case "policy":
		return fmt.Sprint(c.two, c.hours)
	}
	return ""
}

// left tells whether an admin, and with two persons another approver, would be there.
func (c *clerk) left(roles map[string]string, two bool) bool {
	then := clerk{roles: roles}
	admin, pair := false, false
	for a := range roles {
		for b := range roles {
			admin = admin || then.has(a, "a")
			pair = pair || (a != b && then.has(a, "a") && then.has(b, "p"))
		}
	}
	return admin && (!two || pair)
}

func (c *clerk) carry(w *wish, by string) points.Reason {
	switch w.what {
	case "adjust":
		if c.free+w.amount < 0 {
			return points.NotEnoughPoints
		}
		c.free += w.amount
	case "shop":
		c.shop = w.name
	case "roles":
		if w.name == by && w.roles != c.roles[by] {
			return points.NotPermitted
		}
		then := maps.Clone(c.roles)
		then[w.name] = w.roles
		if !c.left(then, c.two["adjust"]) {
			return points.LastAdmin
		}
		c.roles = then
	case "policy":
		on := w.amount > 0
		if !c.left(c.roles, on) {
			return points.LastAdmin
		}
		for _, what := range []string{"adjust", "shop", "roles", "policy"} {
			c.two[what] = on
		}
	}
	return points.Approved
}

func (c *clerk) direct(w *wish) points.Reason {
	switch {
	case !c.has(w.by, roleFor(w.what)):
		return points.RoleMissing
	case c.two[w.what]:
		return points.NeedsSecondPerson
	}
	return c.carry(w, w.by)
}

func (c *clerk) propose(w *wish) points.Reason {
	switch {
	case !c.has(w.by, roleFor(w.what)):
		return points.RoleMissing
	case w.what == "roles" && w.name == w.by && w.roles != c.roles[w.by]:
		return points.NotPermitted
	}
	w.was = c.target(w)
	return points.Approved
}

func (c *clerk) approve(by string, at points.Position, now points.Timestamp) points.Reason {
	w := c.pending[at]
	switch {
	case !c.has(by, "p"):
		return points.RoleMissing
	case w == nil:
		return points.ProposalUnknown
	case w.by == by:
		return points.NeedsSecondPerson
	case now >= w.until:
		return points.ProposalExpired
	case !c.has(w.by, roleFor(w.what)):
		return points.RoleMissing
	case w.was != c.target(w):
		return points.ProposalStale
	}
	reason := c.carry(w, w.by)
	if reason.Approved() {
		delete(c.pending, at)
	}
	return reason
}

var rolesOf = map[string]book.Roles{
	"": 0, "a": book.RoleAdmin, "o": book.RoleOperator, "p": book.RoleApprover, "ap": book.RoleAdmin | book.RoleApprover,
	"op": book.RoleOperator | book.RoleApprover, "aop": book.RoleAdmin | book.RoleOperator | book.RoleApprover,
}

func (w *wish) command() book.Command {
	switch w.what {
	case "adjust":
		return adjust(w.by, w.amount)
	case "shop":
		return shop(w.by, w.name)
	case "policy":
		if w.amount > 0 {
			return policy(w.by, book.TwoPersons, 2)
		}
		return policy(w.by, 0, 2)
	}
	if w.roles == "" {
		return disabled(w.by, w.name, book.RoleViewer)
	}
	return operator(w.by, w.name, rolesOf[w.roles])
}

// Over many random days of operators who propose, approve, reject, take roles and give
// them, the book decides as the clerk does, and its journal and checkpoints replay.
func TestOfficeAgreesWithClerk(t *testing.T) {
	names := []string{"ann", "bob", "cat", "dan"}
	roles := []string{"", "a", "o", "p", "ap", "op", "aop"}
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 11))
			d := newDesk(t, book.Options{})
			d.furnish(2, kindRules, kindRules)
			c := &clerk{roles: map[string]string{}, two: map[string]bool{}, pending: map[points.Position]*wish{}, shop: "Shop"}
			d.must(operator("", "ann", rolesOf["aop"]))
			c.roles["ann"] = "aop"
			for i, name := range names[1:] {
				c.roles[name] = []string{"aop", "o", "p"}[i]
				d.must(operator("ann", name, rolesOf[c.roles[name]]))
			}
			d.must(policy("ann", 0, 2))
			for range 300 {
				d.now += points.Timestamp(rng.IntN(1200)) * second
				d.must(book.Command{Kind: book.KindBalance, Key: keyOf("T2", uint32(len(d.store.journal)), 1), Card: cardOf(1), Program: air, Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T2"), At: d.now})
				now := d.now + 1000
				w := &wish{
					by: names[rng.IntN(4)], what: []string{"adjust", "adjust", "shop", "roles", "policy"}[rng.IntN(5)], name: names[rng.IntN(4)],
					roles: roles[rng.IntN(len(roles))], amount: points.Amount(rng.IntN(90) - 40), until: now + 2*hour,
				}
				if w.amount == 0 {
					w.amount = 1
				}
				var want points.Reason
				var cmd book.Command
				var at points.Position
				switch rng.IntN(5) {
				case 0:
					want, cmd = c.direct(w), w.command()
				case 1, 2:
					want, cmd = c.propose(w), proposed(w.command())
					for old, p := range c.pending {
						if want.Approved() && p.until <= now {
							delete(c.pending, old)
						}
					}
					if want.Approved() {
						c.pending[points.Position(len(d.store.journal)+1)] = w
					}
				default:
					at = points.Position(1 + rng.IntN(len(d.store.journal)))
					if all := d.book.Proposals(); len(all) > 0 && rng.IntN(6) > 0 {
						at = all[rng.IntN(len(all))].Position
					}
					if rng.IntN(5) == 0 {
						cmd = book.Command{Kind: book.KindReject, Operator: w.by, Original: at}
						mine := c.pending[at] != nil && c.pending[at].by == w.by
						switch {
						case mine && c.roles[w.by] == "", !mine && !c.has(w.by, "p"):
							want = points.RoleMissing
						case c.pending[at] == nil:
							want = points.ProposalUnknown
						default:
							want = points.Approved
							delete(c.pending, at)
						}
					} else {
						cmd = d.approval(w.by, at)
						want = c.approve(w.by, at, now)
					}
				}
				cmd.At = now
				before := d.book.Digest()
				out := d.do(cmd)
				require.Equal(t, want.String(), out.Reason.String(), "kind %v of %+v", cmd.Kind, w)
				if !want.Approved() {
					require.Equal(t, before, d.book.Digest(), "a refusal changes nothing")
				}
				require.Equal(t, c.free, d.free(t))
				require.Equal(t, c.shop, d.book.Registry().Merchants[merchantID("SHOP")].Name)
				require.Len(t, d.book.Proposals(), len(c.pending))
				require.NoError(t, d.book.Audit())
				if rng.IntN(40) == 0 {
					d.store.checkpoint(d.book)
					again := book.New(book.Options{}, d.store)
					require.NoError(t, again.Err())
					require.Equal(t, d.book.Proposals(), again.Proposals())
				}
			}
			d.recovered(t)
		})
	}
}
