package tariff

import "github.com/lianfen/lianfen/points"

// Value values item by the rates and fees in force at its moment, or its original's,
// into v, whose content it replaces. It allocates nothing. Where the fault is not
// [OK], v has no legs.
func Value(rates *Rates, fees *Fees, item *Item, v *Valuation) Fault {
	v.clear()
	if fault := item.check(); fault != OK {
		return fault
	}
	if item.Kind.Explicit() {
		v.Std = item.Amount
		v.leg(item.Payer, item.Payee, item.Amount-item.VAT, item.Kind.ValueCode())
		v.leg(item.Payer, AccountVAT, item.VAT, CodeVAT)
		return OK
	}
	var b basis
	if fault := b.find(rates, fees, item); fault != OK {
		return fault
	}
	// What the original is worth at one amount, less what it is worth at the other.
	one, other := item.Amount, points.Amount(0)
	if item.Kind.Undoing() {
		one, other = item.Refunded, item.Refunded-item.Amount
	}
	var f, less figures
	if item.Whole > max(one, other) { // What is no more than these fits where they do.
		if fault := b.value(item.Whole, &f); fault != OK {
			return fault
		}
		f = figures{}
	}
	if fault := b.value(one, &f); fault != OK {
		return fault
	}
	if other != 0 {
		if fault := b.value(other, &less); fault != OK {
			return fault
		}
		f.take(&less)
	}
	v.Rate, v.TargetRate, v.Schedule = b.rate, b.target, b.schedule
	v.Std, v.Interchange, v.Fee, v.VAT = f.Value, f.interchange, f.fee, f.vat
	if b.kind == KindSWP {
		v.Worth, v.Granted, v.Rest = f.Worth, f.Granted, f.Rest()
	}
	v.legsOf(item, &b, &f)
	return v.charge(fees, item)
}

// clear empties v but for the legs, which n says how many of are good.
func (v *Valuation) clear() {
	v.Rate, v.TargetRate, v.Schedule = nil, nil, nil
	v.Std, v.Interchange, v.Fee, v.VAT, v.Worth, v.Granted, v.Rest, v.n = 0, 0, 0, 0, 0, 0, 0, 0
}

// check refuses an item that cannot be valued whatever the rates.
func (i *Item) check() Fault {
	kind := i.Kind
	switch {
	case kind.Undoing():
		kind = i.Of
	case i.Of != 0 || i.OriginalAt != 0 || i.Refunded != 0 || i.Whole != 0:
		return BadOriginal
	}
	switch {
	case kind == 0 || kind >= endOfKinds || kind.Undoing() || (i.Kind != kind && !kind.Original()):
		return BadKind
	case i.Amount == 0 || i.Amount > MaxValue || i.Amount < -MaxValue || i.VAT < 0 || i.VAT >= max(1, i.Amount) || (i.VAT != 0 && i.Kind != KindFEE):
		return BadAmount
	case i.Step != 0 && i.Step != i.Kind, i.Step != 0 && i.Step != KindCBK && i.Step != KindREP, i.Held < 0 || i.Held > i.At, i.Held != 0 && kind != KindRDM:
		return BadOriginal
	case i.Kind != KindRVS && (i.Amount < 0) != (i.Kind == KindRFD || i.Kind == KindCBK):
		return BadSign
	case kind.Explicit():
		if i.Program != points.Standard || !i.Payer.Valid() || !i.Payee.Valid() || i.Payer == i.Payee {
			return BadMember
		}
		return OK
	case !i.Issuer.Institution() || (i.Acquirer != 0 || kind != KindSWP) && !i.Acquirer.Institution():
		return BadMember
	case kind == KindSWP && !i.Target.Institution():
		return BadMember
	case kind != KindSWP && i.Quoted != Swap{}, i.Quoted == Swap{} && i.Promised != 0, i.Promised < 0 || i.Promised > i.At:
		return BadQuote
	}
	if !i.Kind.Undoing() {
		return OK
	}
	undone := i.Refunded - i.Amount // of two amounts of fifteen digits: it fits
	if i.OriginalAt == 0 || i.OriginalAt > i.At || i.Refunded < 0 || i.Refunded > MaxValue || undone < 0 || undone > MaxValue {
		return BadOriginal
	}
	if i.Quoted != (Swap{}) && i.Refunded != 0 && undone != 0 {
		return BadQuote // quoted figures are of the whole
	}
	return OK
}

// basis is what an item is valued by.
type basis struct {
	kind     Kind // the original's
	rate     *Rate
	target   *Rate
	schedule *Schedule
	row      *FeeRow
	quoted   Swap
	weights  [MaxShares]Weight
	shares   int
}

// find looks up rates, schedule, row and who has shares.
func (b *basis) find(rates *Rates, fees *Fees, item *Item) Fault {
	at := item.At
	b.kind = item.Kind
	if item.Kind.Undoing() {
		at, b.kind = item.OriginalAt, item.Of
	}
	if item.Held != 0 {
		at = item.Held
	}
	side := Clear
	if b.kind == KindSWP {
		side, b.quoted = Buy, item.Quoted
	}
	if b.quoted == (Swap{}) {
		if b.rate = rates.At(item.Program, side, at); b.rate == nil {
			return NoRate
		}
		if b.kind == KindSWP {
			if b.target = rates.At(item.TargetProgram, Sell, at); b.target == nil {
				return NoTargetRate
			}
		}
	} else {
		if !b.quoted.adds() {
			return BadQuote
		}
		b.rate, b.target = rates.Version(item.Program, Buy, item.Buy), rates.Version(item.TargetProgram, Sell, item.Sell)
	}
	if item.Promised != 0 {
		at = item.Promised
	}
	if b.schedule = fees.At(at); b.schedule == nil {
		return NoFees
	}
	row := b.schedule.index.row(fit{
		issuer: item.Issuer, acquirer: item.Acquirer, mcc: item.MCC, program: item.Program, kind: b.kind,
	})
	if row < 0 {
		return NoFeeRow
	}
	b.row = &b.schedule.Rows[row]
	b.share(item)
	return OK
}

// share finds who has shares of the fee: roles that nobody has are the operator's, and
// a member with two shares has one of both weights.
func (b *basis) share(item *Item) {
	if len(b.row.Shares) == 0 {
		b.weights[0], b.shares = Weight{Member: AccountFee, Weight: 1}, 1
		return
	}
next:
	for _, share := range b.row.Shares {
		member := share.Member
		switch share.Role {
		case RoleIssuer:
			member = item.Issuer
		case RoleAcquirer:
			member = item.Acquirer
		case RoleTarget:
			member = item.Target
		default:
		}
		if member == 0 {
			member = AccountFee
		}
		for i := range b.weights[:b.shares] {
			if b.weights[i].Member == member {
				b.weights[i].Weight += uint64(share.Weight)
				continue next
			}
		}
		b.weights[b.shares] = Weight{Member: member, Weight: uint64(share.Weight)}
		b.shares++
	}
}

// figures are what an amount is worth and costs. All are 0 or more, until one is taken
// off another.
type figures struct {
	Swap
	interchange, fee, vat points.Amount
	shares                [MaxShares]points.Amount
}

// take takes less off f.
func (f *figures) take(less *figures) {
	f.Value -= less.Value
	f.Spread -= less.Spread
	f.Worth -= less.Worth
	f.Granted -= less.Granted
	f.interchange -= less.interchange
	f.fee -= less.fee
	f.vat -= less.vat
	for i := range f.shares {
		f.shares[i] -= less.shares[i]
	}
}

// value computes the figures of amount, which is not negative. Nothing is worth nothing
// and costs nothing, not even the least fee.
func (b *basis) value(amount points.Amount, f *figures) Fault {
	if amount == 0 {
		return OK
	}
	var ok bool
	if b.kind == KindSWP {
		f.Swap = b.quoted
		if f.Value == 0 {
			var fault Fault
			if f.Swap, fault = ValueSwap(b.rate, b.target, amount); fault != OK {
				return fault
			}
		}
		f.fee = f.Spread
	} else {
		if f.Value, ok = HalfEven(amount, b.rate.Num, b.rate.Den); !ok {
			return Overflow
		}
		if f.Value > MaxValue {
			return TooWide
		}
		// Of fifteen digits at most, times at most one: it does not overflow.
		f.interchange, _ = HalfEven(f.Value, uint64(b.row.InterchangePPM), Million)
		f.fee = b.row.fee(f.Value)
	}
	if f.interchange > MaxFee || f.fee > MaxFee || (b.kind == KindSWP && f.Rest() > MaxFee) {
		return TooWide
	}
	if f.Value+f.interchange+f.fee > MaxValue { // What a member pays in all stands in one field of its file.
		return TooWide
	}
	return b.divide(f)
}

// fee is what a value of fifteen digits at most costs: a product of it with at most one does
// not overflow.
func (r *FeeRow) fee(value points.Amount) points.Amount {
	fee, _ := HalfEven(value, uint64(r.PPM), Million)
	fee = max(fee+r.Fixed, r.Min)
	if r.Max != 0 {
		fee = min(fee, r.Max)
	}
	return fee
}

// divide takes the VAT out of a fee and splits what is left.
func (b *basis) divide(f *figures) Fault {
	if f.fee == 0 {
		return OK
	}
	vat := uint64(b.row.VATPPM)
	f.vat, _ = HalfEven(f.fee, vat, Million+vat)
	if !Split(f.fee-f.vat, b.weights[:b.shares], f.shares[:]) {
		return Overflow
	}
	return OK
}

// charge adds what the step of a dispute costs: by the schedule in force when it was
// approved, of what the points are worth that it moves, and from payer to payees whichever
// way these go.
func (v *Valuation) charge(fees *Fees, item *Item) Fault {
	if item.Step == 0 {
		return OK
	}
	row := fees.row(item, item.Step, item.At)
	if row == nil {
		return OK
	}
	b := basis{row: row}
	b.share(item)
	value := max(v.Std, -v.Std)
	f := figures{fee: row.fee(value)}
	undone := max(v.Fee, -v.Fee)
	switch fault := b.divide(&f); {
	case fault != OK:
		v.clear()
		return fault
	case f.fee+undone > MaxFee, value+max(v.Interchange, -v.Interchange)+undone+f.fee > MaxValue: // As of other fees: they stand in one field of a file.
		v.clear()
		return TooWide
	}
	payer := item.Acquirer
	if row.Payer == RoleIssuer {
		payer = item.Issuer
	}
	v.shareOut(payer, &b, &f)
	return OK
}

// shareOut adds the legs of a fee: its shares, then VAT.
func (v *Valuation) shareOut(payer Member, b *basis, f *figures) {
	for i, weight := range b.weights[:b.shares] {
		code := CodeOTH
		if weight.Member == AccountFee {
			code = CodeSWF
		}
		v.leg(payer, weight.Member, f.shares[i], code)
	}
	v.leg(payer, AccountVAT, f.vat, CodeVAT)
}

// ValueSwap values a swap of amount, which is positive, at the source's Buy and the
// target's Sell rate.
func ValueSwap(buy, sell *Rate, amount points.Amount) (Swap, Fault) {
	var s Swap
	var ok bool
	if s.Value, ok = HalfEven(amount, buy.Num, buy.Den); !ok {
		return Swap{}, Overflow
	}
	if s.Value > MaxValue {
		return Swap{}, TooWide
	}
	if s.Spread, ok = HalfEven(s.Value, uint64(buy.SpreadPPM), Million); !ok {
		return Swap{}, Overflow
	}
	if s.Granted, ok = Floor0(s.Value-s.Spread, sell.Den, sell.Num); !ok {
		return Swap{}, Overflow
	}
	if s.Granted > MaxValue {
		return Swap{}, TooWide
	}
	if s.Worth, ok = Floor0(s.Granted, sell.Num, sell.Den); !ok {
		return Swap{}, Overflow
	}
	return s, OK
}

// adds reports whether quoted figures are whole: none negative, none too wide, and no
// more given than there was.
func (s Swap) adds() bool {
	return s.Value > 0 && s.Value <= MaxValue && s.Spread >= 0 && s.Spread <= MaxFee && s.Worth >= 0 && s.Worth <= MaxValue &&
		s.Granted >= 0 && s.Granted <= MaxValue && s.Rest() >= 0
}

// legsOf writes the legs of figures. Sums of 0 or less go the other way round.
func (v *Valuation) legsOf(item *Item, b *basis, f *figures) {
	code, payer := item.Kind.ValueCode(), item.Acquirer
	switch b.kind {
	case KindRDM:
		v.leg(item.Issuer, item.Acquirer, f.Value, code)
	case KindEAR:
		v.leg(item.Acquirer, item.Issuer, f.Value, code)
	default:
		payer = item.Issuer
		v.leg(item.Issuer, item.Target, f.Worth, code)
	}
	v.leg(item.Acquirer, item.Issuer, f.interchange, CodeICF)
	v.shareOut(payer, b, f)
	if b.kind == KindSWP {
		v.leg(item.Issuer, AccountRound, f.Rest(), CodeRND)
	}
}

// leg adds one leg, the other way round where amount is negative, and none where it is
// 0 or the member's own.
func (v *Valuation) leg(debtor, creditor Member, amount points.Amount, code Code) {
	if amount == 0 || debtor == creditor {
		return
	}
	if amount < 0 {
		debtor, creditor, amount = creditor, debtor, -amount
	}
	v.legs[v.n] = Leg{Debtor: debtor, Creditor: creditor, Amount: amount, Code: code}
	v.n++
}
