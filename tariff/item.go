package tariff

import "github.com/lianfen/lianfen/points"

// Item is one thing that clearing values: a decision of the journal, or an approved
// correction.
type Item struct {
	Position points.Position // the clearing id
	Kind     Kind
	Of       Kind // of an undoing item (RFD, RVS, CBK, REP): the original's kind

	Issuer   Member // whose points they are
	Acquirer Member // who brought the traffic
	Target   Member // of a swap: who owes the points that it granted
	Payer    Member // of ADJ and FEE: who pays
	Payee    Member // of ADJ and FEE: who is paid

	Program       points.ProgramID // of Amount; [points.Standard] for ADJ and FEE
	TargetProgram points.ProgramID // of a swap
	MCC           uint16           // 0: unknown; only rows for any MCC fit

	// Amount is in smallest units of Program. RDM, EAR, SWP, REP, ADJ and FEE are
	// positive; RFD and CBK are negative; RVS is negative, or positive where it
	// reverses an undoing: the reversal of a void or of a refund.
	Amount points.Amount

	At         points.Timestamp // of the decision; of a late advice, its own transmission time
	OriginalAt points.Timestamp // of an undoing item: At of the original, whose rates and fees it has

	// Refunded is how much of the original's amount was undone before this item
	// (refunds, reversals and chargebacks, less what was taken back), 0 or positive. An
	// undoing item is worth what the original is worth at the one total less what it
	// is worth at the other, so that the last part returns exactly the rest.
	Refunded points.Amount
	// Whole is the original's amount, positive; 0: not known. Where the original cannot be
	// valued, neither can a part of it that alone could: all of it is cleared, or nothing.
	Whole points.Amount

	// Held is when the hold was placed to which a capture's rate and fees are locked, of the
	// item or of its original: these are in force then. 0: they are those of At.
	Held points.Timestamp
	// Step is the kind of row whose fee a dispute's step costs, beside what it undoes: CBK or
	// REP. 0: it costs nothing.
	Step Kind
	// VAT is in the Amount of a FEE whose row has it.
	VAT points.Amount

	// Quoted are the figures of a swap that was quoted, as its quote says them,
	// positive. Where Value is 0 the swap is valued by the rates.
	Quoted Swap
	// Promised is when those figures were quoted: the fee schedule of then settles them,
	// whatever is in force when the swap is executed. 0: that of At, as before quotes said it.
	Promised points.Timestamp
	// Buy and Sell are the versions of the rates that a quote was worked out at. They change
	// no figure: files say them, so that who reads them can work the quote out again.
	Buy, Sell uint32
}

// Concerns reports whether m is a party of the item.
func (i *Item) Concerns(m Member) bool {
	return m != 0 && (m == i.Issuer || m == i.Acquirer || m == i.Target || m == i.Payer || m == i.Payee)
}

// OnUs reports whether the item's value is the member's own debt: issuer and acquirer,
// or the two sides of a swap, are the same. It has lines in the files and fees, but its
// value is no obligation.
func (i *Item) OnUs() bool {
	if i.Kind == KindSWP || i.Of == KindSWP {
		return i.Issuer == i.Target
	}
	return i.Issuer != 0 && i.Issuer == i.Acquirer
}

// Swap holds the figures of one swap, in smallest units of the standard point, and
// what was granted, in smallest units of the target's programme:
// Value = Spread + Worth + what rounding leaves.
type Swap struct {
	Value, Spread, Worth points.Amount
	Granted              points.Amount
}

// Rest is what rounding leaves.
func (s Swap) Rest() points.Amount { return s.Value - s.Spread - s.Worth }

// Leg is one debt that an item makes: Debtor owes Creditor Amount, always positive,
// in smallest units of the standard point. Debtor and creditor differ.
type Leg struct {
	Debtor, Creditor Member
	Amount           points.Amount
	Code             Code
}

// MaxLegs is the largest number of legs of one item: its own, and those of the fee of a
// dispute's step.
const MaxLegs = 4 + MaxShares + 1 + MaxShares

// Valuation is what an item is worth. Figures have the item's sign: positive where
// they go the way of the original's table (see the package comment).
type Valuation struct {
	Rate       *Rate     // by which it was valued, or quoted; nil for ADJ and FEE
	TargetRate *Rate     // of a swap
	Schedule   *Schedule // nil for ADJ and FEE

	Std         points.Amount // the value of Amount
	Interchange points.Amount // acquirer to issuer
	Fee         points.Amount // switch fee or spread, with VAT and all shares
	VAT         points.Amount // in Fee
	Worth       points.Amount // of a swap: of what was granted
	Granted     points.Amount // of a swap: in the target's programme
	Rest        points.Amount // of a swap: what rounding leaves

	legs [MaxLegs]Leg
	n    int
}

// Legs returns the legs, in the order value, interchange, fee shares, VAT, rest.
// Legs of nothing are left out, and so are those of a member with itself: on-us items
// have a value and fees, but no obligation. The slice is v's own, until v is next used.
func (v *Valuation) Legs() []Leg { return v.legs[:v.n] }

// View is what one member sees of an item: credits positive, debits negative, the
// columns of the detail file.
type View struct {
	Std, Interchange, SwitchFee, VAT, Other, Net points.Amount
}

// View returns what m sees: its legs by column. Fees outside the schedule and what
// rounding leaves are among Other.
func (v *Valuation) View(m Member) View {
	var view View
	for _, leg := range v.Legs() {
		amount := leg.Amount
		switch m {
		case leg.Creditor:
		case leg.Debtor:
			amount = -amount
		default:
			continue
		}
		switch leg.Code {
		case CodeICF:
			view.Interchange += amount
		case CodeSWF:
			view.SwitchFee += amount
		case CodeVAT:
			view.VAT += amount
		case CodeOTH, CodeRND:
			view.Other += amount
		default:
			view.Std += amount
		}
		view.Net += amount
	}
	return view
}
