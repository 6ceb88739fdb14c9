package book

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// Roles is what an operator may do; each bit is one role. Whoever has any may look.
type Roles uint8

// Roles. An approver decides what others have proposed; an admin administers operators.
const (
	RoleViewer Roles = 1 << iota
	RoleOperator
	RoleApprover
	RoleAdmin

	allRoles = RoleAdmin<<1 - 1
)

var roleNames = [...]string{"viewer", "operator", "approver", "admin"}

// Has reports whether r has all roles of wanted; every role is also a viewer's.
func (r Roles) Has(wanted Roles) bool {
	if r != 0 {
		r |= RoleViewer
	}
	return r&wanted == wanted
}

// String returns the names, with commas between them.
func (r Roles) String() string { return setString(uint16(r), roleNames[:], 0) }

// MarshalText renders the names.
func (r Roles) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads names with commas between them.
func (r *Roles) UnmarshalText(text []byte) error {
	set, err := parseSet(string(text), roleNames[:], 0, "role")
	*r = Roles(set) //nolint:gosec // no more bits than roleNames has names.
	return err
}

// Act is a kind of act of an operator. The numbers are written in the journal: never
// renumber, only append. What is to need a second person is one of these, named in a
// [Policy]; nothing else has to change for a new one but [Command.Of].
type Act uint8

// Acts.
const (
	ActAdjust       Act = iota + 1 // balances: adjust, reinstate
	ActParticipants                // issuers, acquirers, programmes, merchants, terminals, routes
	ActOperators                   // operators and their roles
	ActPolicy                      // what needs a second person
	ActCutOver                     // the end of a business date
	ActResolve                     // what an issuer was not told
	ActKeys                        // key ceremonies
	ActRisk                        // limits and risk rules
	ActRates                       // dated rates
	ActSettlement                  // the approval of a settlement
	ActHouse                       // reload, backup, export and the like: noted
	ActPIN                         // the PIN of a card, set or changed
	ActDisputes                    // what a dispute takes or gives, and its rules
	ActCertificates                // certificates and one-time codes; to revoke waits for nobody

	actCount
)

var actNames = [actCount]string{
	ActAdjust: "adjust", ActParticipants: "participants", ActOperators: "operators", ActPolicy: "policy", ActCutOver: "cutover", ActResolve: "resolve",
	ActKeys: "keys", ActRisk: "risk", ActRates: "rates", ActSettlement: "settlement", ActHouse: "house",
	ActPIN:          "pin",
	ActDisputes:     "disputes",
	ActCertificates: "certificates",
}

// String returns the name used in tables and in JSON.
func (a Act) String() string { return nameAt(actNames[:], uint8(a), "act") }

// MarshalText renders the name.
func (a Act) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name.
func (a *Act) UnmarshalText(text []byte) error {
	at, err := nameIndex(actNames[:], text, "act")
	*a = Act(at)
	return err
}

// Role is the role that an act needs.
func (a Act) Role() Roles {
	if a == ActOperators || a == ActPolicy {
		return RoleAdmin
	}
	return RoleOperator
}

// Acts is a set of acts: bit n is the act n.
type Acts uint16

// TwoPersons are the acts that need a second person where a policy asks for two
// persons and says no more, and where nobody ever set one, from the moment on that there
// is a second person. They are in journals by that: another act goes among them with
// another [Edition] of what begins the policy.
const TwoPersons = Acts(1)<<ActAdjust | 1<<ActParticipants | 1<<ActOperators | 1<<ActPolicy | 1<<ActCutOver | 1<<ActResolve |
	1<<ActKeys | 1<<ActRisk | 1<<ActRates | 1<<ActSettlement | 1<<ActPIN | 1<<ActDisputes | 1<<ActCertificates

// Has reports whether a is in the set.
func (s Acts) Has(a Act) bool { return s>>a&1 != 0 }

// String returns the names, with commas between them; "none" of an empty set.
func (s Acts) String() string {
	if s == 0 {
		return "none"
	}
	return setString(uint16(s), actNames[:], 0)
}

// MarshalText renders the names.
func (s Acts) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads names with commas between them, or none.
func (s *Acts) UnmarshalText(text []byte) error {
	if string(text) == "none" {
		*s = 0
		return nil
	}
	set, err := parseSet(string(text), actNames[:], 1, "act")
	*s = Acts(set)
	return err
}

func setString(set uint16, names []string, first int) string {
	var all []string
	for i := first; i < len(names); i++ {
		if set>>i&1 != 0 {
			all = append(all, names[i])
		}
	}
	if bits.OnesCount16(set) > len(all) {
		return fmt.Sprintf("set(%d)", set)
	}
	return strings.Join(all, ",")
}

func parseSet(text string, names []string, first int, what string) (set uint16, err error) {
	for word := range strings.SplitSeq(text, ",") {
		word, found := strings.TrimSpace(word), false
		for i := first; i < len(names); i++ {
			if names[i] == word && word != "" {
				set |= 1 << i
				found = true
			}
		}
		if !found {
			return 0, points.Errorf(points.FormatError, "%s %q: want of %s", what, word, strings.Join(names[first:], ", "))
		}
	}
	return set, nil
}

// Of is the kind of act that a command is, 0 of none. What services do by themselves,
// and what is about one member only (the member's record, cards, accounts), is none: the
// door holds that against the operator's role.
func (c *Command) Of() Act {
	switch c.Kind {
	case KindAdjust, KindReinstate:
		return ActAdjust
	case KindResolve:
		return ActResolve
	case KindCutOver:
		if c.Planned != 0 && c.Operator == "" {
			return 0 // By the schedule, which is the house's.
		}
		return ActCutOver
	case KindPost:
		return ActSettlement
	case KindNote:
		if c.Certificate != nil && c.Certificate.Act == CertificateRevoke {
			return ActHouse // who is to be kept out is kept out by one person
		}
		return c.Act
	case KindPIN:
		if c.Edition > 0 && !c.PINValue.IsZero() {
			return ActPIN // to unlock one tells nobody anything
		}
		return 0
	case KindLeg:
		return ActSettlement
	case KindDispute:
		if c.Dispute.Step.decides() {
			return ActDisputes
		}
		return 0
	case KindPut:
		switch e := &c.Entry; {
		case e.Operator != nil:
			return ActOperators
		case e.Policy != nil:
			return ActPolicy
		case e.Member != nil || e.Card != nil:
			return 0
		case e.Disputes != nil:
			return ActDisputes
		case e.versioned():
			return ActRates
		case e.Cap != nil, e.Fund != nil, e.Grant != nil, e.Risk != nil && c.Edition > 0:
			return ActRisk
		}
		return ActParticipants
	default:
		return 0
	}
}

// Carried is the command that was carried out: of an approval, the act that was approved.
func (c *Command) Carried() *Command {
	if c.Kind == KindApprove && len(c.Group) == 1 {
		return &c.Group[0]
	}
	return c
}

// CutsOver reports whether the command, if it was approved, began a business date or cycle.
func (r *Record) CutsOver() bool { return r.Command.Carried().Kind == KindCutOver }

// Operator is a person who operates the switch. There is no shared one: whoever acts is
// in the journal by this name.
type Operator struct {
	Name   string `json:"name"`
	Roles  Roles  `json:"roles"`
	Status Status `json:"status"` // active or suspended
	// What the person signs in with where no certificate tells: the hash of a password,
	// and the secret of the one-time codes, sealed. Both are the person's own: nobody
	// else can set them, and they are cleared when the person is invited again.
	Password string `json:"-"`
	Secret   string `json:"-"`
	// Invite is the SHA-256 of the code by which the person sets them, once, until
	// InviteUntil; zero: not invited.
	Invite      [32]byte         `json:"-"`
	InviteUntil points.Timestamp `json:"-"`
}

// Format writes who the operator is, without credentials.
func (o Operator) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "operator %s (%v, %v)", o.Name, o.Roles, o.Status)
}

// Policy is which acts need a second person.
type Policy struct {
	TwoPersons Acts   `json:"two_persons"`
	Hours      uint16 `json:"hours"` // a proposal that nobody decides is over after so many
}

// Bounds of operators and proposals.
const (
	defaultHours  = 24
	maxHours      = 720
	maxOperators  = 1000
	maxProposals  = 256
	maxOperator   = 32 // bytes of a name
	maxCredential = 200
)

// Stands reports whether the registry has the entry as it is, so that to put it would
// change nothing; of members and cards, which are in no registry, never.
func (e *Entry) Stands(r *Registry) bool {
	var is Entry
	switch {
	case e.Issuer != nil:
		is.Issuer = r.Issuers[e.Issuer.ID]
	case e.Acquirer != nil:
		is.Acquirer = r.Acquirers[e.Acquirer.ID]
	case e.Program != nil:
		is.Program = r.Programs[e.Program.ID]
	case e.Merchant != nil:
		is.Merchant = r.Merchants[e.Merchant.ID]
	case e.Terminal != nil:
		is.Terminal = r.Terminals[e.Terminal.ID]
	case e.Operator != nil:
		is.Operator = r.Operators[e.Operator.Name]
	case e.Policy != nil:
		is.Policy = &r.Policy
	case e.Cap != nil:
		is.Cap = r.Caps[e.Cap.Member]
	case e.Fund != nil:
		is.Fund = r.Fund
	case e.Grant != nil:
		is.Grant = r.Grants[GrantKey{e.Grant.By, e.Grant.To}]
	case e.Disputes != nil:
		is.Disputes = r.Disputes
		if is.Disputes == nil {
			return false
		}
	case e.Route != nil:
		for _, route := range r.Routes {
			if route.Prefix == e.Route.Prefix && route.Only == e.Route.Only {
				is.Route = route
			}
		}
	}
	return is != (Entry{}) && string(appendEntry(nil, &is)) == string(appendEntry(nil, e))
}
