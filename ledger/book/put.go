package book

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// identity names an entry of reference data: its kind and its number or name.
type identity struct {
	kind uint8
	id   uint64
	name string
}

func (e *Entry) identity() identity {
	switch {
	case e.Issuer != nil:
		return identity{entryIssuer, uint64(e.Issuer.ID), ""}
	case e.Acquirer != nil:
		return identity{entryAcquirer, uint64(e.Acquirer.ID), ""}
	case e.Program != nil:
		return identity{entryProgram, uint64(e.Program.ID), ""}
	case e.Merchant != nil:
		return identity{entryMerchant, 0, string(e.Merchant.ID[:])}
	case e.Terminal != nil:
		return identity{entryTerminal, 0, string(e.Terminal.ID[:])}
	case e.Route != nil:
		return identity{entryRoute, uint64(e.Route.Only), e.Route.Prefix}
	case e.Operator != nil:
		return identity{entryOperator, 0, e.Operator.Name}
	case e.Policy != nil:
		return identity{entryPolicy, 0, ""}
	case e.Risk != nil:
		return identity{entryRisk, 0, ""}
	case e.Disputes != nil:
		return identity{entryDisputes, 0, ""}
	case e.versioned():
		return versionIdentity(e)
	case e.Cap != nil:
		return identity{entryCap, uint64(e.Cap.Member), ""}
	case e.Fund != nil:
		return identity{entryFund, 0, ""}
	case e.Grant != nil:
		return identity{entryGrant, uint64(e.Grant.By)<<32 | uint64(e.Grant.To), ""}
	default:
		return identity{}
	}
}

func emptyRegistry() Registry {
	return Registry{
		Issuers:   make(map[points.IssuerID]*Issuer),
		Acquirers: make(map[points.AcquirerID]*Acquirer),
		Programs:  make(map[points.ProgramID]*Program),
		Merchants: make(map[points.MerchantID]*Merchant),
		Terminals: make(map[points.TerminalID]*Terminal),
		Operators: make(map[string]*Operator),
		Policy:    Policy{Hours: defaultHours},
		Caps:      make(map[tariff.Member]*Cap),
		Grants:    make(map[GrantKey]*Grant),
	}
}

// set enters an entry, in place of the one with the same identity. Errors: a version of a
// rate or of the fees that is not the next one.
func (r *Registry) set(e *Entry) error {
	switch {
	case e.Issuer != nil:
		r.Issuers[e.Issuer.ID] = e.Issuer
	case e.Acquirer != nil:
		r.Acquirers[e.Acquirer.ID] = e.Acquirer
	case e.Program != nil:
		r.Programs[e.Program.ID] = e.Program
	case e.Merchant != nil:
		r.Merchants[e.Merchant.ID] = e.Merchant
	case e.Terminal != nil:
		r.Terminals[e.Terminal.ID] = e.Terminal
	case e.Operator != nil:
		r.Operators[e.Operator.Name] = e.Operator
	case e.Policy != nil:
		r.Policy = *e.Policy
	case e.Route != nil:
		i, found := slices.BinarySearchFunc(r.Routes, e.Route, func(x, y *Route) int {
			if c := strings.Compare(x.Prefix, y.Prefix); c != 0 {
				return c
			}
			return int(x.Only) - int(y.Only)
		})
		if found {
			r.Routes[i] = e.Route
		} else {
			r.Routes = slices.Insert(r.Routes, i, e.Route)
		}
	case e.Risk != nil:
		r.Risk = e.Risk
	case e.Disputes != nil:
		r.Disputes = e.Disputes
	case e.versioned():
		return r.setVersion(e)
	case e.Cap != nil:
		r.Caps[e.Cap.Member] = e.Cap
	case e.Fund != nil:
		r.Fund = e.Fund
	case e.Grant != nil:
		r.Grants[GrantKey{e.Grant.By, e.Grant.To}] = e.Grant
	}
	return nil
}

// put writes one entry of reference data.
func (b *Book) put(cmd *Command, out *Outcome) (points.Reason, error) {
	switch e := &cmd.Entry; {
	case e.Member != nil:
		return b.putMember(e.Member)
	case e.Card != nil:
		return b.putCard(e.Card)
	case e.Operator != nil:
		return b.putOperator(cmd), nil
	case e.Risk != nil:
		return b.putRisk(cmd, out), nil
	case e.versioned():
		return b.putVersion(cmd), nil
	default:
		if err := b.validEntry(e); err != nil {
			if reason := points.ReasonOf(err); reason != points.InternalError {
				return reason, nil
			}
			return 0, err // The store, not the entry.
		}
		b.putReference(e.clone())
		return points.Approved, nil
	}
}

func (b *Book) putReference(e Entry) {
	if e.Terminal != nil && e.Terminal.Batch == 0 {
		e.Terminal.Batch = 1
	}
	key := e.identity()
	ref, ok := b.byIdentity[key]
	if ok {
		b.touch(ref)
	} else {
		ref = &reference{ordinal: uint32(len(b.references))} //nolint:gosec // far below 2^32.
		b.references = append(b.references, ref)
		b.byIdentity[key] = ref
		b.create(ref)
	}
	ref.entry = e
	b.live.Version++
	if err := b.live.set(&ref.entry); err != nil {
		panic(fmt.Sprintf("book: I19: a version that was made is not the next one: %v", err)) //nolint:forbidigo // our own, not input.
	}
}

// clone copies an entry, so that what the book keeps is the book's alone.
func (e *Entry) clone() Entry {
	var c Entry
	switch {
	case e.Issuer != nil:
		v := *e.Issuer
		c.Issuer = &v
	case e.Acquirer != nil:
		v := *e.Acquirer
		c.Acquirer = &v
	case e.Program != nil:
		v := *e.Program
		c.Program = &v
	case e.Merchant != nil:
		v := *e.Merchant
		v.Programs, v.Tender = slices.Clone(v.Programs), slices.Clone(v.Tender)
		c.Merchant = &v
	case e.Terminal != nil:
		v := *e.Terminal
		c.Terminal = &v
	case e.Route != nil:
		v := *e.Route
		v.Links = slices.Clone(v.Links)
		c.Route = &v
	case e.Operator != nil:
		v := *e.Operator
		c.Operator = &v
	case e.Policy != nil:
		v := *e.Policy
		c.Policy = &v
	case e.Risk != nil:
		c.Risk = e.Risk.clone()
	case e.Disputes != nil:
		v := DisputeRules{Rules: slices.Clone(e.Disputes.Rules)}
		c.Disputes = &v
	case e.Rate != nil:
		v := *e.Rate
		c.Rate = &v
	case e.Fees != nil:
		v := *e.Fees
		v.Rows = cloneRows(v.Rows)
		c.Fees = &v
	case e.Cap != nil:
		v := *e.Cap
		c.Cap = &v
	case e.Fund != nil:
		v := *e.Fund
		c.Fund = &v
	case e.Grant != nil:
		v := *e.Grant
		c.Grant = &v
	case e.Swaps != nil:
		v := *e.Swaps
		c.Swaps = &v
	}
	return c
}

func (s Status) valid(most Status) bool {
	return s == Active || s == Suspended || s == Closed || (s <= most && s > 0)
}

// What is allowed, in the words of a refusal.
const (
	wantStatus = "want active, suspended or closed"
	wantName   = "want a name"
)

// wrong is the refusal of a field's value.
func wrong(field string, value any, want string) error {
	return points.Errorf(points.FormatError, "%s %v: %s", field, value, want)
}

// validEntry tells which field of an entry cannot be as it is; nil when all can.
func (b *Book) validEntry(e *Entry) error {
	switch {
	case e.Issuer != nil:
		if err := validParty(uint64(e.Issuer.ID), e.Issuer.Name, e.Issuer.Status); err != nil {
			return err
		}
		return b.legsStay(e.Issuer)
	case e.Acquirer != nil:
		return validParty(uint64(e.Acquirer.ID), e.Acquirer.Name, e.Acquirer.Status)
	case e.Program != nil:
		return b.validProgram(e.Program)
	case e.Merchant != nil:
		return b.validMerchant(e.Merchant)
	case e.Terminal != nil:
		return b.validTerminal(e.Terminal)
	case e.Route != nil:
		return b.validRoute(e.Route)
	case e.Operator != nil:
		return b.validOperator(e.Operator)
	case e.Policy != nil:
		return b.validPolicy(e.Policy)
	case e.Risk != nil:
		return b.validRisk(e.Risk)
	case e.Disputes != nil:
		return e.Disputes.valid()
	case e.Cap != nil:
		return e.Cap.valid()
	case e.Fund != nil:
		return e.Fund.valid()
	case e.Grant != nil:
		return e.Grant.valid()
	default:
		return points.Errorf(points.FormatError, "an entry of no kind")
	}
}

func validParty(id uint64, name string, status Status) error {
	switch {
	case id == 0 || id > points.MaxInstitution:
		return wrong("id", id, fmt.Sprintf("want 1 to %d", uint64(points.MaxInstitution)))
	case name == "":
		return wrong("name", `""`, wantName)
	case !status.valid(Suspended):
		return wrong("status", status, wantStatus)
	}
	return nil
}

func (b *Book) validTerminal(v *Terminal) error {
	if _, ok := b.live.Merchants[v.Merchant]; !ok {
		return points.Errorf(points.UnknownMerchant, "merchant %q: there is none; put it first", v.Merchant)
	}
	switch {
	case v.ID.String() == "":
		return wrong("id", `""`, "want 1 to 8 characters")
	case !v.Status.valid(Suspended):
		return wrong("status", v.Status, wantStatus)
	case int(v.MAC) >= len(macNames) || v.MAC == MACByRetail:
		// X9.19 is made under none of the keys that a sign-on gives.
		return wrong("mac", v.MAC, "want none, cmac, cup-ecb or hmac-sha256")
	case v.DUKPT != InitialKey{} && v.MAC != MACByCMAC:
		return wrong("dukpt", v.DUKPT, "it goes with mac cmac")
	case v.MACOptional && v.MAC == 0:
		return wrong("mac_optional", true, "it goes with a mac")
	case int(v.PIN) >= len(pinRuleNames):
		return wrong("pin", v.PIN, "want taken or required")
	case v.PIN == PINDemanded && v.MAC == 0:
		return wrong("pin", v.PIN, "it goes with a mac: a terminal without keys sends no PIN")
	}
	return nil
}

// maxScale is the most decimals that a person sees.
const maxScale = 4

func (b *Book) validProgram(v *Program) error {
	switch {
	case !v.ID.Valid():
		return wrong("id", v.ID, fmt.Sprintf("want %d to %d", points.MinProgram, points.MaxProgram))
	case v.Name == "":
		return wrong("name", `""`, wantName)
	case !v.Status.valid(Suspended):
		return wrong("status", v.Status, wantStatus)
	case v.Scale > maxScale:
		return wrong("scale", v.Scale, fmt.Sprintf("want 0 to %d decimals", maxScale))
	}
	if err := v.Rules.valid(); err != nil {
		return err
	}
	if _, ok := b.live.Issuers[v.Issuer]; !ok {
		return points.Errorf(points.NoRoute, "issuer %d: there is none; put it first", v.Issuer)
	}
	was := b.live.Programs[v.ID]
	if was != nil && b.totals.accounts[programIndex(v.ID)] > 0 {
		switch {
		case was.Issuer != v.Issuer:
			return points.Errorf(points.NotPermitted, "issuer %d: members have accounts in the programme, which stays issuer %d's", v.Issuer, was.Issuer)
		case was.Scale != v.Scale:
			return points.Errorf(points.NotPermitted, "scale %d: members have accounts in the programme, whose scale stays %d", v.Scale, was.Scale)
		case was.Rules.Qualifying != v.Rules.Qualifying:
			return points.Errorf(points.NotPermitted, "qualifying %v: members have accounts in the programme, where it stays %v", v.Rules.Qualifying, was.Rules.Qualifying)
		}
	}
	return b.validTier(v)
}

// valid tells which rule cannot be as it is.
func (r *ProgramRules) valid() error {
	for _, limit := range [...]struct {
		name  string
		value points.Amount
	}{
		{"min_redeem", r.MinRedeem},
		{"max_amount", r.MaxAmount},
		{"max_redeem_day", r.MaxRedeemDay},
		{"transfer_max", r.TransferMax},
		{"transfer_day", r.TransferDay},
		{"pin_from", r.PINFrom},
	} {
		if limit.value < 0 {
			return points.Errorf(points.BadAmount, "%s %d: want 0 or more", limit.name, limit.value)
		}
	}
	if r.ValidMonths > maxMonths {
		return wrong("valid_months", r.ValidMonths, fmt.Sprintf("want 0 to %d", maxMonths))
	}
	return r.validDecay()
}

// validTier checks that a programme and its tier unit fit: one issuer, the same
// decimals, no tier of a tier, and no way back to points that can be spent.
func (b *Book) validTier(v *Program) error {
	fits := func(of, unit *Program) bool {
		return unit.Rules.Qualifying && !of.Rules.Qualifying && of.Issuer == unit.Issuer && of.Scale == unit.Scale
	}
	const want = "want another programme made with qualifying, of the same issuer and scale"
	if v.Rules.Tier != 0 {
		unit, ok := b.live.Programs[v.Rules.Tier]
		switch {
		case !ok:
			return points.Errorf(points.UnknownProgram, "tier %d: there is no such programme; put it first", v.Rules.Tier)
		case unit.ID == v.ID || !fits(v, unit):
			return points.Errorf(points.NotPermitted, "tier %d: %s", v.Rules.Tier, want)
		}
	}
	bound := points.ProgramID(0)
	for _, of := range b.live.Programs { // in any order: it is about all of them
		if of.ID != v.ID && of.Rules.Tier == v.ID && !fits(of, v) && (bound == 0 || of.ID < bound) {
			bound = of.ID
		}
	}
	if bound != 0 {
		return points.Errorf(points.NotPermitted, "programme %d has this one as its tier, which has to stay qualifying, of its issuer and scale", bound)
	}
	return nil
}

// maxMonths keeps every date that rules can give within four digits of a year.
const maxMonths = 1200

func (b *Book) validMerchant(v *Merchant) error {
	switch {
	case v.ID.String() == "":
		return wrong("id", `""`, "want 1 to 15 characters")
	case v.Name == "":
		return wrong("name", `""`, wantName)
	case !v.Status.valid(Suspended):
		return wrong("status", v.Status, wantStatus)
	}
	if _, ok := b.live.Acquirers[v.Acquirer]; !ok {
		return points.Errorf(points.ForeignIdentity, "acquirer %d: there is none; put it first", v.Acquirer)
	}
	for i, id := range v.Programs {
		if _, ok := b.live.Programs[id]; !ok {
			return points.Errorf(points.UnknownProgram, "programme %d: there is none; put it first", id)
		}
		if slices.Contains(v.Programs[:i], id) {
			return wrong("programme", id, "it is named twice")
		}
	}
	if !validTender(v.Tender) {
		return wrong("tender", len(v.Tender), fmt.Sprintf("want each programme once, at most %d, with points and per of 1 or more", MaxTender))
	}
	for _, term := range v.Tender {
		if !slices.Contains(v.Programs, term.Program) {
			return points.Errorf(points.ProgramNotHere, "tender: programme %d is none of those that the merchant takes", term.Program)
		}
	}
	return nil
}

// maxPrefix is the longest card prefix that is routed.
const maxPrefix = 11

func (b *Book) validRoute(v *Route) error {
	if v.Prefix == "" || len(v.Prefix) > maxPrefix || strings.Trim(v.Prefix, "0123456789") != "" {
		return wrong("prefix", strconv.Quote(v.Prefix), fmt.Sprintf("want 1 to %d digits", maxPrefix))
	}
	if _, ok := b.live.Issuers[v.Issuer]; v.Issuer != 0 && !ok {
		return points.Errorf(points.NoRoute, "issuer %d: there is none; put it first, or 0 for the programme's own", v.Issuer)
	}
	if _, ok := b.live.Programs[v.Only]; v.Only != 0 && !ok {
		return points.Errorf(points.UnknownProgram, "programme %d: there is none; put it first, or 0 for any", v.Only)
	}
	for i, l := range v.Links {
		twice := slices.ContainsFunc(v.Links[:i], func(other RouteLink) bool { return other.Link == l.Link })
		if l.Link == "" || l.Priority == 0 || l.Weight == 0 || twice {
			return wrong("links", strconv.Quote(l.Link), "want a name, each once, and a priority and weight of 1 or more")
		}
	}
	return nil
}

// valid tells which field of a member cannot be as it is.
func (m *Member) valid() error {
	switch {
	case m.ID == 0:
		return wrong("id", m.ID, "want 1 or more")
	case !m.Status.valid(Suspended):
		return wrong("status", m.Status, wantStatus)
	case m.Freeze > FreezeDebit|FreezeCredit:
		return wrong("freeze", uint8(m.Freeze), "want 0 to 3: 1 debit, 2 credit")
	}
	return nil
}

// valid tells which field of a card cannot be as it is.
func (c *Card) valid() error {
	month := c.Expiry % 100
	switch {
	case c.Token.IsZero():
		return points.Errorf(points.FormatError, "number: want a card number")
	case !c.Status.valid(Dormant):
		return wrong("status", c.Status, "want active, suspended, lost, stolen, dormant or closed")
	case c.Expiry != 0 && (c.Expiry > 9999 || month < 1 || month > 12):
		return wrong("expiry", c.Expiry, "want YYMM with a month from 01 to 12, or 0 for none")
	}
	return nil
}

func (b *Book) putMember(v *Member) (points.Reason, error) {
	if err := v.valid(); err != nil {
		return points.ReasonOf(err), nil
	}
	m, err := b.findMember(v.ID)
	if err != nil {
		return 0, err
	}
	if m == nil {
		b.create(b.addMember(&member{Member: *v}))
		return points.Approved, nil
	}
	b.touch(m)
	m.Member = *v
	return points.Approved, nil
}

func (b *Book) putCard(v *Card) (points.Reason, error) {
	if err := v.valid(); err != nil {
		return points.ReasonOf(err), nil
	}
	m, err := b.findMember(v.Member)
	if err != nil {
		return 0, err
	}
	if m == nil {
		return points.UnknownMember, nil
	}
	c, err := b.findCard(v.Token)
	if err != nil {
		return 0, err
	}
	if c == nil {
		b.create(b.cards.add(card{Card: *v}))
		return points.Approved, nil
	}
	if c.Member != v.Member {
		return points.AlreadyExists, nil // a card number is never given to somebody else
	}
	b.touch(c)
	since := c.Since
	c.Card = *v
	c.Since = since
	return points.Approved, nil
}

// Why tells which field keeps an operator's command from being carried out, its value
// and what is allowed there; nil where it is no field by itself, and the reason says
// all there is. It is for who was refused: nothing is decided here.
func (b *Book) Why(cmd *Command) error {
	if err := cmd.malformed(false); err != nil {
		return err
	}
	switch cmd.Kind {
	case KindPut:
	case KindPropose:
		return b.whyProposed(cmd)
	case KindApprove:
		act := cmd.Group[0]
		return b.Why(&act)
	case KindDispute:
		_, err := b.whyDispute(cmd)
		return err
	case KindLeg:
		return b.whyLeg(cmd)
	case KindResolve:
		return b.whyResolve(cmd)
	case KindQuote, KindSwapLock, KindSwap, KindSwapCancel:
		return b.whySwap(cmd)
	default:
		return nil
	}
	switch e := &cmd.Entry; {
	case e.Member != nil:
		return e.Member.valid()
	case e.Card != nil:
		return b.whyCard(e.Card)
	case e.Operator != nil:
		return b.whyOperator(cmd)
	case e.versioned():
		return b.whyVersion(cmd)
	default:
		return b.validEntry(e)
	}
}

func (b *Book) whyCard(v *Card) error {
	if err := v.valid(); err != nil {
		return err
	}
	m, err := b.findMember(v.Member)
	if err != nil {
		return err
	}
	if m == nil {
		return points.Errorf(points.UnknownMember, "member %d: there is none; put it first", v.Member)
	}
	if c, err := b.findCard(v.Token); err != nil || c == nil || c.Member == v.Member {
		return err
	}
	return points.Errorf(points.AlreadyExists, "member %d: the card is another member's; a card number is never given to somebody else", v.Member)
}
