package files

import (
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Receiver is a member that gets a line of an item, in its file of a role.
type Receiver struct {
	Member tariff.Member
	Role   Role
}

// Receivers appends who gets a line of an item that was valued: its acquirer and issuer,
// or a swap's issuer and target, also where nothing is owed, so that every item is in
// their files; payer and payee of what was approved by hand; and whoever has nothing but
// a share of the fee. The operator's accounts get none. An item on us is in one file.
func Receivers(dst []Receiver, item *tariff.Item, v *tariff.Valuation) []Receiver {
	start := len(dst)
	add := func(m tariff.Member, role Role) {
		if !m.Institution() {
			return
		}
		for _, r := range dst[start:] {
			if r.Member == m {
				return
			}
		}
		dst = append(dst, Receiver{m, role})
	}
	switch {
	case item.Kind.Explicit():
		add(item.Payer, RoleAcquirer)
		add(item.Payee, RoleAcquirer)
	case original(item) == tariff.KindSWP:
		add(item.Issuer, RoleIssuer)
		add(item.Target, RoleSwapTarget)
	default:
		add(item.Acquirer, RoleAcquirer)
		add(item.Issuer, RoleIssuer)
	}
	for _, leg := range v.Legs() {
		add(leg.Debtor, RoleShare)
		add(leg.Creditor, RoleShare)
	}
	return dst
}

// original is the kind of what an item is about.
func original(item *tariff.Item) tariff.Kind {
	if item.Kind.Undoing() {
		return item.Of
	}
	return item.Kind
}

// Value sets what the receiver sees of a valued item: parties, amounts and the rate.
func (l *Line) Value(item *tariff.Item, v *tariff.Valuation, to Receiver) {
	l.ID, l.Kind, l.Acquirer, l.Issuer, l.Category = uint64(item.Position), item.Kind, item.Acquirer, item.Issuer, item.MCC
	view := v.View(to.Member)
	l.Std, l.Interchange, l.SwitchFee, l.VAT, l.Other, l.Net = view.Std, view.Interchange, view.SwitchFee, view.VAT, view.Other, view.Net
	l.Amount = item.Amount
	rate := v.Rate
	switch {
	case item.Kind.Explicit():
		l.RateVersion, l.Num, l.Den = 0, 1, 1
		l.Amount = signedAs(l.Amount, to.Member == item.Payee)
	case to.Role == RoleShare:
		l.Amount = signedAs(magnitudeOf(l.Amount), view.Other >= 0)
	case to.Role == RoleSwapTarget:
		l.Amount, rate = v.Granted, v.TargetRate
	default:
		// An acquirer is owed what is redeemed, and owes what is earned; an issuer the
		// other way round. A swap's issuer owes.
		l.Amount = signedAs(l.Amount, (to.Role == RoleAcquirer) == (original(item) == tariff.KindRDM) && original(item) != tariff.KindSWP)
	}
	if rate != nil {
		l.RateVersion, l.Num, l.Den = rate.Version, rate.Num, rate.Den
	}
}

func signedAs(a points.Amount, credit bool) points.Amount {
	if credit {
		return a
	}
	return -a
}

func magnitudeOf(a points.Amount) points.Amount { return max(a, -a) }
