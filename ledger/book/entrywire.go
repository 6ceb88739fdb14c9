package book

import (
	"encoding/binary"
	"math"

	"github.com/lianfen/lianfen/points"
)

// What an entry is, in its first byte on the wire.
const (
	entryIssuer = iota + 1
	entryAcquirer
	entryProgram
	entryMerchant
	entryTerminal
	entryRoute
	entryMember
	entryCard
	entryRouteLinks // a route with links of its own
	entryMerchantTender
	entryOperator
	entryPolicy
	entryCardSince // a card of which it is known when it was first put
	entryRisk
	entryTerminalKeys // a terminal with keys or a PIN rule
	entryRate
	entryFees
	entryCap
	entryDisputes
	entrySwaps
	entryFund
	entryGrant
	entryFeesMore // of rows that have a payer or are locked at a hold
)

func appendEntry(dst []byte, e *Entry) []byte {
	switch {
	case e.Issuer != nil:
		v := e.Issuer
		dst = append(dst, entryIssuer, byte(v.Status))
		dst = binary.AppendUvarint(dst, uint64(v.ID))
		return appendText(appendText(appendText(dst, v.Name), v.NameZH), v.Link)
	case e.Acquirer != nil:
		v := e.Acquirer
		dst = append(dst, entryAcquirer, byte(v.Status))
		dst = binary.AppendUvarint(dst, uint64(v.ID))
		return appendText(appendText(dst, v.Name), v.NameZH)
	case e.Program != nil:
		return appendProgram(append(dst, entryProgram), e.Program)
	case e.Merchant != nil:
		if len(e.Merchant.Tender) > 0 {
			return appendTender(appendMerchant(append(dst, entryMerchantTender), e.Merchant), e.Merchant.Tender)
		}
		return appendMerchant(append(dst, entryMerchant), e.Merchant)
	case e.Terminal != nil:
		v := e.Terminal
		if v.keyed() {
			return appendTerminalKeys(appendTerminal(append(dst, entryTerminalKeys), v), v)
		}
		return appendTerminal(append(dst, entryTerminal), v)
	case e.Route != nil:
		if len(e.Route.Links) > 0 {
			return appendRouteLinks(appendRoute(append(dst, entryRouteLinks), e.Route), e.Route.Links)
		}
		return appendRoute(append(dst, entryRoute), e.Route)
	case e.Member != nil:
		v := e.Member
		dst = append(dst, entryMember, byte(v.Status), byte(v.Freeze))
		dst = binary.AppendUvarint(dst, uint64(v.ID))
		dst = binary.AppendVarint(dst, int64(v.Since))
		return appendText(dst, v.Ref)
	case e.Card != nil:
		if e.Card.Since != 0 {
			return binary.AppendVarint(appendCard(append(dst, entryCardSince), e.Card), int64(e.Card.Since))
		}
		return appendCard(append(dst, entryCard), e.Card)
	case e.Risk != nil:
		return appendRisk(append(dst, entryRisk), e.Risk)
	case e.Disputes != nil:
		return e.Disputes.append(append(dst, entryDisputes))
	case e.Operator != nil:
		return appendOperator(append(dst, entryOperator), e.Operator)
	case e.Rate != nil:
		return appendRate(append(dst, entryRate), e.Rate)
	case e.Fees != nil:
		if e.Fees.Extended() {
			return appendFeesMore(append(dst, entryFeesMore), e.Fees)
		}
		return appendFees(append(dst, entryFees), e.Fees)
	case e.Cap != nil:
		return appendCap(append(dst, entryCap), e.Cap)
	case e.Swaps != nil:
		return appendSwapTerms(append(dst, entrySwaps), e.Swaps)
	case e.Fund != nil:
		return appendAmount(append(dst, entryFund), e.Fund.Amount)
	case e.Grant != nil:
		return appendGrant(append(dst, entryGrant), e.Grant)
	case e.Policy != nil:
		dst = binary.AppendUvarint(append(dst, entryPolicy), uint64(e.Policy.TwoPersons))
		return binary.AppendUvarint(dst, uint64(e.Policy.Hours))
	default:
		return append(dst, 0)
	}
}

func appendTerminal(dst []byte, v *Terminal) []byte {
	dst = append(dst, byte(v.Status))
	dst = append(dst, v.ID[:]...)
	dst = append(dst, v.Merchant[:]...)
	return binary.AppendUvarint(dst, uint64(v.Batch))
}

func decodeTerminal(r *reader) *Terminal {
	v := &Terminal{Status: Status(r.byte())}
	r.fixed(v.ID[:])
	r.fixed(v.Merchant[:])
	v.Batch = r.uint32()
	return v
}

func appendCard(dst []byte, v *Card) []byte {
	dst = append(append(dst, byte(v.Status)), v.Token[:]...)
	dst = binary.AppendUvarint(dst, uint64(v.Member))
	dst = binary.AppendUvarint(dst, uint64(v.Expiry))
	return appendText(dst, v.Masked)
}

func decodeCard(r *reader) *Card {
	v := &Card{Status: Status(r.byte())}
	r.fixed(v.Token[:])
	v.Member = points.MemberID(r.uvarint())
	v.Expiry = r.uint32()
	v.Masked = r.text(maxName)
	return v
}

func appendRoute(dst []byte, v *Route) []byte {
	dst = appendText(dst, v.Prefix)
	dst = binary.AppendUvarint(dst, uint64(v.Issuer))
	return binary.AppendUvarint(dst, uint64(v.Only))
}

func decodeRoute(r *reader) *Route {
	v := &Route{Prefix: r.text(maxName)}
	v.Issuer = points.IssuerID(r.uvarint())
	v.Only = r.program()
	return v
}

func appendRouteLinks(dst []byte, links []RouteLink) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(links)))
	for i := range links {
		dst = append(appendText(dst, links[i].Link), links[i].Priority)
		dst = binary.AppendUvarint(dst, uint64(links[i].Weight))
	}
	return dst
}

func decodeRouteLinks(r *reader) (links []RouteLink) {
	for range r.count(MaxRouteLinks, 3) {
		v := RouteLink{Link: r.text(maxName), Priority: r.byte()}
		weight := r.uint32()
		if weight > math.MaxUint16 {
			r.fail()
		}
		v.Weight = uint16(weight) //nolint:gosec // looked at.
		links = append(links, v)
	}
	if len(links) == 0 {
		r.fail()
	}
	return links
}

func decodeEntry(r *reader, e *Entry) {
	switch r.byte() {
	case entryIssuer:
		v := &Issuer{Status: Status(r.byte()), ID: points.IssuerID(r.uvarint())}
		v.Name, v.NameZH, v.Link = r.text(maxName), r.text(maxName), r.text(maxName)
		e.Issuer = v
	case entryAcquirer:
		v := &Acquirer{Status: Status(r.byte()), ID: points.AcquirerID(r.uvarint())}
		v.Name, v.NameZH = r.text(maxName), r.text(maxName)
		e.Acquirer = v
	case entryProgram:
		e.Program = decodeProgram(r)
	case entryMerchant:
		e.Merchant = decodeMerchant(r)
	case entryMerchantTender:
		e.Merchant = decodeMerchant(r)
		if e.Merchant.Tender = decodeTender(r, nil); len(e.Merchant.Tender) == 0 {
			r.fail()
		}
	case entryTerminal:
		e.Terminal = decodeTerminal(r)
	case entryTerminalKeys:
		e.Terminal = decodeTerminal(r)
		decodeTerminalKeys(r, e.Terminal)
	case entryRoute:
		e.Route = decodeRoute(r)
	case entryRouteLinks:
		e.Route = decodeRoute(r)
		e.Route.Links = decodeRouteLinks(r)
	case entryMember:
		v := &Member{Status: Status(r.byte()), Freeze: Freeze(r.byte()), ID: points.MemberID(r.uvarint())}
		v.Since = r.timestamp()
		v.Ref = r.text(maxName)
		e.Member = v
	case entryCard:
		e.Card = decodeCard(r)
	case entryCardSince:
		e.Card = decodeCard(r)
		if e.Card.Since = r.timestamp(); e.Card.Since == 0 {
			r.fail()
		}
	case entryRisk:
		e.Risk = decodeRisk(r)
	case entryDisputes:
		e.Disputes = decodeDisputeRules(r)
	case entryOperator:
		e.Operator = decodeOperator(r)
	case entryRate:
		e.Rate = decodeRate(r)
	case entryFees:
		e.Fees = decodeFees(r)
	case entryFeesMore:
		e.Fees = decodeFeesMore(r)
	case entryCap:
		e.Cap = decodeCap(r)
	case entrySwaps:
		e.Swaps = decodeSwapTerms(r)
	case entryFund:
		e.Fund = &Fund{Amount: r.amount()}
	case entryGrant:
		e.Grant = decodeGrant(r)
	case entryPolicy:
		e.Policy = &Policy{TwoPersons: Acts(r.uint16()), Hours: r.uint16()}
	default:
		r.fail()
	}
}

// Flags of a programme and its rules.
const (
	flagAlliance = 1 << iota
	flagExpiryAtMonth
	flagOpenOnEarn
	flagDebt
	flagTransfer
	flagDecay // its three numbers follow behind the amounts
	flagQualifying
	flagTier // its programme follows behind them
	flagPIN  // the amount follows last

	programFlags = flagPIN<<1 - 1
)

func appendProgram(dst []byte, v *Program) []byte {
	rules := &v.Rules
	var flags uint64
	for _, f := range [...]struct {
		bit uint64
		set bool
	}{{flagAlliance, v.Alliance}, {flagExpiryAtMonth, rules.ExpiryAtMonth}, {flagOpenOnEarn, rules.OpenOnEarn}, {flagDebt, rules.Debt}, {flagTransfer, rules.Transfer}, {flagDecay, rules.DecayPart|rules.DecayAfter|rules.DecayEvery != 0}, {flagQualifying, rules.Qualifying}, {flagTier, rules.Tier != 0}, {flagPIN, rules.PINFrom != 0}} {
		if f.set {
			flags |= f.bit
		}
	}
	dst = append(dst, byte(v.Status), v.Scale)
	dst = binary.AppendUvarint(dst, flags) // one byte without a tier
	dst = binary.AppendUvarint(dst, uint64(v.ID))
	dst = binary.AppendUvarint(dst, uint64(v.Issuer))
	dst = appendText(appendText(dst, v.Name), v.NameZH)
	for _, n := range [...]uint16{rules.ValidMonths, rules.PendingDays, rules.GraceDays, rules.HoldDays} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	dst = binary.AppendUvarint(dst, uint64(rules.MaxRedeemCnt))
	for _, a := range [...]points.Amount{rules.MinRedeem, rules.MaxAmount, rules.MaxRedeemDay, rules.TransferMax, rules.TransferDay} {
		dst = appendAmount(dst, a)
	}
	if flags&flagDecay != 0 {
		for _, n := range [...]uint16{rules.DecayPart, rules.DecayAfter, rules.DecayEvery} {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
	}
	if flags&flagTier != 0 {
		dst = binary.AppendUvarint(dst, uint64(rules.Tier))
	}
	if flags&flagPIN != 0 {
		dst = appendAmount(dst, rules.PINFrom)
	}
	return dst
}

func decodeProgram(r *reader) *Program {
	v := &Program{Status: Status(r.byte()), Scale: r.byte()}
	flags := r.uvarint()
	if flags > programFlags {
		r.fail()
	}
	v.Alliance = flags&flagAlliance != 0
	v.ID = r.program()
	v.Issuer = points.IssuerID(r.uvarint())
	v.Name, v.NameZH = r.text(maxName), r.text(maxName)
	rules := &v.Rules
	rules.ExpiryAtMonth, rules.OpenOnEarn = flags&flagExpiryAtMonth != 0, flags&flagOpenOnEarn != 0
	rules.Debt, rules.Transfer = flags&flagDebt != 0, flags&flagTransfer != 0
	for _, n := range [...]*uint16{&rules.ValidMonths, &rules.PendingDays, &rules.GraceDays, &rules.HoldDays} {
		*n = r.uint16()
	}
	rules.MaxRedeemCnt = r.uint32()
	for _, a := range [...]*points.Amount{&rules.MinRedeem, &rules.MaxAmount, &rules.MaxRedeemDay, &rules.TransferMax, &rules.TransferDay} {
		*a = r.amount()
	}
	if flags&flagDecay != 0 {
		for _, n := range [...]*uint16{&rules.DecayPart, &rules.DecayAfter, &rules.DecayEvery} {
			*n = r.uint16()
		}
	}
	rules.Qualifying = flags&flagQualifying != 0
	if flags&flagTier != 0 {
		rules.Tier = r.program()
	}
	if flags&flagPIN != 0 {
		rules.PINFrom = r.amount()
	}
	return v
}

func appendMerchant(dst []byte, v *Merchant) []byte {
	dst = append(dst, byte(v.Status))
	dst = append(dst, v.ID[:]...)
	dst = binary.AppendUvarint(dst, uint64(v.Acquirer))
	dst = appendText(appendText(dst, v.Name), v.NameZH)
	dst = binary.AppendUvarint(dst, uint64(v.MCC))
	dst = binary.AppendUvarint(dst, uint64(len(v.Programs)))
	for _, program := range v.Programs {
		dst = binary.AppendUvarint(dst, uint64(program))
	}
	return dst
}

func decodeMerchant(r *reader) *Merchant {
	v := &Merchant{Status: Status(r.byte())}
	r.fixed(v.ID[:])
	v.Acquirer = points.AcquirerID(r.uvarint())
	v.Name, v.NameZH = r.text(maxName), r.text(maxName)
	v.MCC = r.uint16()
	for range r.count(maxAccepted, 1) {
		v.Programs = append(v.Programs, r.program())
	}
	return v
}

// malformed tells what keeps an entry from being read back: more than one field that is
// set, a text that is too long.
func (e *Entry) malformed() error {
	set := 0
	for _, is := range [...]bool{e.Issuer != nil, e.Acquirer != nil, e.Program != nil, e.Merchant != nil, e.Terminal != nil, e.Route != nil, e.Member != nil, e.Card != nil, e.Operator != nil, e.Policy != nil, e.Risk != nil, e.Rate != nil, e.Fees != nil, e.Cap != nil, e.Disputes != nil, e.Swaps != nil, e.Fund != nil, e.Grant != nil} {
		if is {
			set++
		}
	}
	if set > 1 {
		return points.Errorf(points.FormatError, "an entry of %d kinds", set)
	}
	if e.Merchant != nil && len(e.Merchant.Programs) > maxAccepted {
		return points.Errorf(points.FormatError, "%d programmes, want at most %d", len(e.Merchant.Programs), maxAccepted)
	}
	if e.Merchant != nil && len(e.Merchant.Tender) > MaxTender {
		return points.Errorf(points.FormatError, "tender of %d programmes, want at most %d", len(e.Merchant.Tender), MaxTender)
	}
	if e.Route != nil && len(e.Route.Links) > MaxRouteLinks {
		return points.Errorf(points.FormatError, "%d links, want at most %d", len(e.Route.Links), MaxRouteLinks)
	}
	if e.Risk != nil {
		return e.Risk.malformed()
	}
	if e.Disputes != nil {
		return e.Disputes.malformed()
	}
	if e.Fees != nil {
		return malformedFees(e.Fees)
	}
	if e.Swaps != nil {
		return longest(maxName, text{"maker", e.Swaps.Maker}, text{"checker", e.Swaps.Checker})
	}
	if e.Rate != nil {
		return longest(maxName, text{"maker", e.Rate.Maker}, text{"checker", e.Rate.Checker})
	}
	var err error
	e.texts(func(name, value string) {
		if err == nil {
			err = longest(maxName, text{name, value})
		}
	})
	return err
}

// texts calls visit with every text of an entry that somebody has written, and its name.
func (e *Entry) texts(visit func(name, value string)) {
	switch {
	case e.Disputes != nil:
		for i := range e.Disputes.Rules {
			visit("name", e.Disputes.Rules[i].Name)
			visit("name_zh", e.Disputes.Rules[i].NameZH)
		}
	case e.Issuer != nil:
		visit("name", e.Issuer.Name)
		visit("name_zh", e.Issuer.NameZH)
		visit("link", e.Issuer.Link)
	case e.Acquirer != nil:
		visit("name", e.Acquirer.Name)
		visit("name_zh", e.Acquirer.NameZH)
	case e.Program != nil:
		visit("name", e.Program.Name)
		visit("name_zh", e.Program.NameZH)
	case e.Merchant != nil:
		visit("name", e.Merchant.Name)
		visit("name_zh", e.Merchant.NameZH)
	case e.Route != nil:
		visit("prefix", e.Route.Prefix)
		for i := range e.Route.Links {
			visit("links", e.Route.Links[i].Link)
		}
	case e.Member != nil:
		visit("ref", e.Member.Ref)
	case e.Card != nil:
		visit("masked", e.Card.Masked)
	case e.Operator != nil:
		visit("name", e.Operator.Name)
		visit("password", e.Operator.Password)
		visit("secret", e.Operator.Secret)
	case e.Risk != nil:
		for i := range e.Risk.Rules {
			visit("name", e.Risk.Rules[i].Name)
		}
	}
}

// Texts calls visit with every text of a command that somebody has written, and its
// name.
func (c *Command) Texts(visit func(name, value string)) {
	visit("operator", c.Operator)
	visit("second", c.Second)
	visit("note", c.Note)
	visit("evidence", c.Dispute.Evidence)
	visit("evidence", c.Leg.Evidence)
	c.Entry.texts(visit)
	for i := range c.Group {
		c.Group[i].Texts(visit)
	}
}
