// Package quote computes what a swap of one programme's points into another's gives. It
// owns the rounding of a quote, and it says which rates may stand beside each other.
//
// It only computes: amounts are whole numbers, products are held in 128 bits, what does
// not fit is refused. It knows no clock, no member and no rate table: terms come in, and
// figures or a reason go out. Nothing in it allocates but [Gain], which is asked when a
// rate is published.
//
//	value = floor(in * buy)                               smallest units of the standard point
//	fee   = clamp(ceil(value * fee), fee_min, fee_cap)    refused where fee >= value
//	out   = floor((value - fee) / sell)                   points handed out; refused where 0
//	cost  = ceil(out * sell)                              what these really cost
//	rest  = value - fee - cost >= 0                       what rounding leaves
//
// # Invariants
//
//	S1 value = fee + cost + rest, and none of them is negative.
//	S2 There and back (A -> B -> A) never returns more than was handed in.
//	S3 Nor does a way over three programmes or more.
//	S4 Handing in an amount in parts never gives more than handing it in whole.
//	S5 Who hands in more never gets less.
//	S6 Exact-out is the least amount that gives what is wanted: it gives that or more,
//	   and one unit less does not.
//	S7 What does not fit is refused, and never wraps.
//
// S2 and S3 hold for rates that [Gain] finds nothing in; the others for all.
package quote

import (
	"math/big"

	"github.com/lianfen/lianfen/points"
)

// Million is the denominator of a fee.
const Million = 1_000_000

// Bounds of figures: what settlement's files carry.
const (
	MaxValue points.Amount = 999_999_999_999_999 // of a value, and of points
	MaxFee   points.Amount = 999_999_999_999     // of a fee, and of a rest
)

// Ratio is so many smallest units of the standard point for one of a programme.
type Ratio struct{ Num, Den uint64 }

// Terms are what a swap is computed by.
type Terms struct {
	Buy    Ratio         // what is credited for a point handed in
	Sell   Ratio         // what is asked for a point handed out
	FeePPM uint32        // of the value, in parts per million
	FeeMin points.Amount // at least so much
	FeeCap points.Amount // at most so much; 0: no cap
}

// Figures are those of one swap. In is in the programme handed in, Out in the one handed
// out, the others are in smallest units of the standard point.
type Figures struct {
	In, Value, Fee, Cost, Rest, Out points.Amount
}

// ExactIn computes what in points give. Reasons: BadAmount of an amount that is none;
// BelowMinimum where the fee would eat the value or nothing would be handed out;
// BalanceOverflow where a figure does not fit.
func (t *Terms) ExactIn(in points.Amount) (Figures, points.Reason) {
	if in <= 0 || in > MaxValue {
		return Figures{}, points.BadAmount
	}
	value, _, ok := in.MulRat(t.Buy.Num, t.Buy.Den)
	if !ok || value > MaxValue {
		return Figures{}, points.BalanceOverflow
	}
	fee, ok := t.fee(value)
	if !ok {
		return Figures{}, points.BalanceOverflow
	}
	if fee >= value {
		return Figures{}, points.BelowMinimum
	}
	out, _, ok := (value - fee).MulRat(t.Sell.Den, t.Sell.Num)
	if !ok || out > MaxValue {
		return Figures{}, points.BalanceOverflow
	}
	if out == 0 {
		return Figures{}, points.BelowMinimum
	}
	cost, ok := ceil(out, t.Sell.Num, t.Sell.Den)
	rest := value - fee - cost
	if !ok || fee > MaxFee || rest > MaxFee {
		return Figures{}, points.BalanceOverflow
	}
	return Figures{In: in, Value: value, Fee: fee, Cost: cost, Rest: rest, Out: out}, points.Approved
}

// ExactOut computes the least amount to hand in that gives out points or more. Reasons as
// of [Terms.ExactIn].
func (t *Terms) ExactOut(out points.Amount) (Figures, points.Reason) {
	if out <= 0 || out > MaxValue {
		return Figures{}, points.BadAmount
	}
	net, ok := ceil(out, t.Sell.Num, t.Sell.Den)
	if !ok {
		return Figures{}, points.BalanceOverflow
	}
	value, ok := t.leaves(net)
	if !ok {
		return Figures{}, points.BalanceOverflow
	}
	in, ok := ceil(value, t.Buy.Den, t.Buy.Num)
	if !ok || in > MaxValue {
		return Figures{}, points.BalanceOverflow
	}
	return t.ExactIn(in)
}

// leaves is the least value that leaves net when the fee is taken. Of a value v the part in
// parts per million leaves floor(v * (million - ppm) / million), which is net from
// ceil(net * million / (million - ppm)) on; the least fee asks for net + fee_min besides, and
// with a cap net + fee_cap is always enough.
func (t *Terms) leaves(net points.Amount) (points.Amount, bool) {
	value, ok := points.Amount(0), false
	if t.FeePPM < Million {
		value, ok = ceil(net, Million, Million-uint64(t.FeePPM))
	}
	least, fits := net.Add(t.FeeMin)
	value, ok = max(value, least), ok && fits
	if t.FeeCap != 0 {
		if enough, fits := net.Add(t.FeeCap); fits && (!ok || enough < value) {
			value, ok = enough, true
		}
	}
	return value, ok && value <= MaxValue
}

// fee is what the house takes of a value.
func (t *Terms) fee(value points.Amount) (points.Amount, bool) {
	fee, ok := ceil(value, uint64(t.FeePPM), Million)
	if !ok {
		return 0, false
	}
	fee = max(fee, t.FeeMin)
	if t.FeeCap != 0 {
		fee = min(fee, t.FeeCap)
	}
	return fee, true
}

// ceil is a*num/den rounded up, of an a that is not negative.
func ceil(a points.Amount, num, den uint64) (points.Amount, bool) {
	q, r, ok := a.MulRat(num, den)
	if !ok || r == 0 {
		return q, ok
	}
	return q.Add(1)
}

// Gain is what one unit of the standard point becomes by handing out a programme's points
// at Sell and taking them back at Buy less the fee, where that is more than 1; nil where it
// is not. All rates stand against one unit, so no way from programme to programme and back
// gains while no single programme does: each way is a product of such steps. A capped fee
// is next to nothing of a large amount, and counts as none.
func (t *Terms) Gain() *big.Rat {
	all := worth(t.Buy, kept(t.FeePPM, t.FeeCap != 0), t.Sell)
	if all.num.Cmp(all.den) > 0 {
		return new(big.Rat).SetFrac(all.num, all.den)
	}
	return nil
}
