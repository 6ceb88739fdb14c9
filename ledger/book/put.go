package book

import (
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
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
	}
}

// set enters an entry, in place of the one with the same identity.
func (r *Registry) set(e *Entry) {
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
	}
}

// put writes one entry of reference data.
func (b *Book) put(cmd *Command, _ *Outcome) (points.Reason, error) {
	switch e := &cmd.Entry; {
	case e.Member != nil:
		return b.putMember(e.Member)
	case e.Card != nil:
		return b.putCard(e.Card)
	default:
		if reason := b.validEntry(e); !reason.Approved() {
			return reason, nil
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
	b.live.set(&ref.entry)
	b.live.Version++
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
		v.Programs = slices.Clone(v.Programs)
		c.Merchant = &v
	case e.Terminal != nil:
		v := *e.Terminal
		c.Terminal = &v
	case e.Route != nil:
		v := *e.Route
		c.Route = &v
	}
	return c
}

func (s Status) valid(most Status) bool {
	return s == Active || s == Suspended || s == Closed || (s <= most && s > 0)
}

func (b *Book) validEntry(e *Entry) points.Reason {
	switch {
	case e.Issuer != nil:
		v := e.Issuer
		return validIf(v.ID > 0 && v.ID <= points.MaxInstitution && v.Name != "" && v.Status.valid(Suspended))
	case e.Acquirer != nil:
		v := e.Acquirer
		return validIf(v.ID > 0 && v.ID <= points.MaxInstitution && v.Name != "" && v.Status.valid(Suspended))
	case e.Program != nil:
		return b.validProgram(e.Program)
	case e.Merchant != nil:
		return b.validMerchant(e.Merchant)
	case e.Terminal != nil:
		v := e.Terminal
		if _, ok := b.live.Merchants[v.Merchant]; !ok {
			return points.UnknownMerchant
		}
		return validIf(v.ID.String() != "" && v.Status.valid(Suspended))
	case e.Route != nil:
		return b.validRoute(e.Route)
	default:
		return points.FormatError
	}
}

func validIf(ok bool) points.Reason {
	if !ok {
		return points.FormatError
	}
	return points.Approved
}

// maxScale is the most decimals that a person sees.
const maxScale = 4

func (b *Book) validProgram(v *Program) points.Reason {
	if !v.ID.Valid() || v.Name == "" || !v.Status.valid(Suspended) || v.Scale > maxScale {
		return points.FormatError
	}
	for _, limit := range [...]points.Amount{v.Rules.MinRedeem, v.Rules.MaxAmount, v.Rules.MaxRedeemDay, v.Rules.TransferMax, v.Rules.TransferDay} {
		if limit < 0 {
			return points.BadAmount
		}
	}
	if v.Rules.ValidMonths > maxMonths || !v.Rules.validDecay() {
		return points.FormatError
	}
	if _, ok := b.live.Issuers[v.Issuer]; !ok {
		return points.NoRoute
	}
	was, ok := b.live.Programs[v.ID]
	if ok && b.totals.accounts[programIndex(v.ID)] > 0 && (was.Issuer != v.Issuer || was.Scale != v.Scale) {
		return points.NotPermitted
	}
	return b.validTier(v, was)
}

// validTier checks that a programme and its tier unit fit: one issuer, the same
// decimals, no tier of a tier, and no way back to points that can be spent.
func (b *Book) validTier(v, was *Program) points.Reason {
	if was != nil && b.totals.accounts[programIndex(v.ID)] > 0 && was.Rules.Qualifying != v.Rules.Qualifying {
		return points.NotPermitted
	}
	fits := func(of, unit *Program) bool {
		return unit.Rules.Qualifying && !of.Rules.Qualifying && of.Issuer == unit.Issuer && of.Scale == unit.Scale
	}
	if v.Rules.Tier != 0 {
		unit, ok := b.live.Programs[v.Rules.Tier]
		switch {
		case !ok:
			return points.UnknownProgram
		case unit.ID == v.ID || !fits(v, unit):
			return points.NotPermitted
		}
	}
	for _, of := range b.live.Programs { // in any order: it is about all of them
		if of.ID != v.ID && of.Rules.Tier == v.ID && !fits(of, v) {
			return points.NotPermitted
		}
	}
	return points.Approved
}

// maxMonths keeps every date that rules can give within four digits of a year.
const maxMonths = 1200

func (b *Book) validMerchant(v *Merchant) points.Reason {
	if v.ID.String() == "" || v.Name == "" || !v.Status.valid(Suspended) {
		return points.FormatError
	}
	if _, ok := b.live.Acquirers[v.Acquirer]; !ok {
		return points.ForeignIdentity
	}
	for i, id := range v.Programs {
		if _, ok := b.live.Programs[id]; !ok {
			return points.UnknownProgram
		}
		if slices.Contains(v.Programs[:i], id) {
			return points.FormatError
		}
	}
	return points.Approved
}

// maxPrefix is the longest card prefix that is routed.
const maxPrefix = 11

func (b *Book) validRoute(v *Route) points.Reason {
	if v.Prefix == "" || len(v.Prefix) > maxPrefix || strings.Trim(v.Prefix, "0123456789") != "" {
		return points.FormatError
	}
	if _, ok := b.live.Issuers[v.Issuer]; v.Issuer != 0 && !ok {
		return points.NoRoute
	}
	if _, ok := b.live.Programs[v.Only]; v.Only != 0 && !ok {
		return points.UnknownProgram
	}
	return points.Approved
}

func (b *Book) putMember(v *Member) (points.Reason, error) {
	if v.ID == 0 || !v.Status.valid(Suspended) || v.Freeze > FreezeDebit|FreezeCredit {
		return points.FormatError, nil
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
	month := v.Expiry % 100
	if v.Token.IsZero() || !v.Status.valid(Dormant) || (v.Expiry != 0 && (v.Expiry > 9999 || month < 1 || month > 12)) {
		return points.FormatError, nil
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
	c.Card = *v
	return points.Approved, nil
}
