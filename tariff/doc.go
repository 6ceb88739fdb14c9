// Package tariff says what things are worth and what they cost: rate versions, fee
// schedules, and the legs that a clearing item makes of them. It owns rounding.
//
// It only computes: amounts are whole numbers, products are held in 128 bits,
// overflow is a value ([Fault]), time comes in with the item. Valuing allocates nothing.
// It will not fetch, store or approve anything: who may propose a rate is decided
// above, and that proposer and approver differ is looked at here once more.
//
// # From item to legs
//
//	RDM  issuer   -> acquirer  value        half_even(amount * num/den), CLEAR
//	     acquirer -> issuer    interchange  half_even(value * ppm)
//	     acquirer -> FEE, shares, VAT       clamp(half_even(value * ppm) + fixed, min, max)
//	EAR  acquirer -> issuer    value        and the rest as above
//	SWP  issuer   -> target    worth        floor0(granted * num/den), SELL
//	     issuer   -> FEE, shares, VAT       spread = half_even(value * spread_ppm), BUY
//	     issuer   -> ROUND                  value - spread - worth
//	     granted = floor0((value - spread) * den/num), SELL; value as above, BUY
//	RFD, RVS, CBK  the original's, the other way round, at its rates and fees
//	REP  takes a CBK back: the original's way again
//	ADJ, FEE  payer -> payee   amount
//
// A fee has the sign of the item's amount, not of its value: an item that is worth
// nothing pays the least fee, and its reversal gives it back. A fee includes VAT:
// vat = half_even(fee * v/(10^6 + v)). Rounding happens once, per item. So detail, net
// position and statement agree to the last unit.
package tariff
