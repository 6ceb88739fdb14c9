package netting

import (
	"cmp"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Cover is what a member has put down, in smallest units of the standard point.
type Cover struct {
	Member            tariff.Member
	Prefund           points.Amount
	PrefundHaircut    uint32 // parts per million
	Collateral        points.Amount
	CollateralHaircut uint32 // parts per million
}

// Usable returns what the haircuts leave of prefund and collateral, rounded down.
func (c Cover) Usable() (prefund, collateral points.Amount, err error) {
	if c.Prefund < 0 || c.Collateral < 0 || c.PrefundHaircut > tariff.Million || c.CollateralHaircut > tariff.Million {
		return 0, 0, points.Errorf(points.FormatError, "cover of %v: amounts are not negative, haircuts at most %d ppm", c.Member, tariff.Million)
	}
	// Times at most one: neither overflows.
	prefund, _ = tariff.Floor0(c.Prefund, uint64(tariff.Million-c.PrefundHaircut), tariff.Million)
	collateral, _ = tariff.Floor0(c.Collateral, uint64(tariff.Million-c.CollateralHaircut), tariff.Million)
	return prefund, collateral, nil
}

// Exposure is what the failure of one net debtor would leave open.
type Exposure struct {
	Member    tariff.Member
	Debt      Sum // what it has to pay in all models together
	Cover     Sum
	Shortfall Sum // what Debt is more than Cover, else 0
}

// Exposures returns the exposure of every institution with something to pay, the
// largest debt first, equal ones by number. The first is the one that the nightly test
// is about (Lamfalussy IV: a day must settle although its largest net debtor fails).
// In MNET a debt is a negative position, in BNET the sum of what is owed to each other
// member, in GROSS the sum of the legs to pay. Who has no cover has put down nothing.
func (f *Fold) Exposures(covers []Cover) ([]Exposure, error) {
	usable := make([]Sum, f.roll.Len())
	seen := make([]bool, f.roll.Len())
	for _, cover := range covers {
		place, known := f.roll.Index(cover.Member)
		if !known || seen[place] {
			return nil, points.Errorf(points.FormatError, "cover of %v: the member is not on the roll, or its cover is there twice", cover.Member)
		}
		prefund, collateral, err := cover.Usable()
		if err != nil {
			return nil, err
		}
		seen[place], usable[place] = true, SumOf(prefund).Plus(SumOf(collateral))
	}
	var exposures []Exposure
	for place := range f.roll.Len() {
		debt := f.debt(place)
		if debt.Sign() <= 0 || f.roll.Class(place) == Operator {
			continue
		}
		exposure := Exposure{Member: f.roll.Member(place), Debt: debt, Cover: usable[place]}
		if short := debt.Minus(usable[place]); short.Sign() > 0 {
			exposure.Shortfall = short
		}
		exposures = append(exposures, exposure)
	}
	slices.SortFunc(exposures, func(a, b Exposure) int {
		return cmp.Or(b.Debt.Cmp(a.Debt), cmp.Compare(a.Member, b.Member))
	})
	return exposures, nil
}

// Debt returns what m has to pay in all models together, as [Fold.Exposures] counts it; 0
// for who is not on the roll.
func (f *Fold) Debt(m tariff.Member) Sum {
	place, known := f.roll.Index(m)
	if !known {
		return Sum{}
	}
	return f.debt(place)
}

// debt returns what the member at place has to pay.
func (f *Fold) debt(place int) Sum {
	var debt Sum
	owe := func(net Sum) {
		if net.Sign() < 0 {
			debt = debt.Minus(net)
		}
	}
	owe(f.nets[MNET][place])
	for other := range f.roll.Len() {
		owe(f.pairNet(BNET, place, other))
		if account := f.met(GROSS, place, other); account != nil {
			for code := range account {
				pay, _ := account[code].seen(place < other)
				debt = debt.Plus(pay)
			}
		}
	}
	return debt
}

// Default is the failure of a member to pay Debt.
type Default struct {
	Member     tariff.Member
	Debt       points.Amount
	Prefund    points.Amount // usable, see [Cover.Usable]
	Collateral points.Amount // usable
	Fund       points.Amount // of the guarantee fund
	Limits     []Limit       // that the survivors had granted the defaulter
}

// Limit is what Member would bear of the defaulter's debt at most.
type Limit struct {
	Member  tariff.Member
	Granted points.Amount
}

// Loss says who bears a default's debt: the parts sum to it exactly.
type Loss struct {
	Prefund, Collateral, Fund points.Amount
	Shares                    []LossShare   // of the survivors, by number
	Open                      points.Amount // what is left: the defaulter's items are to be unwound
}

// LossShare is what one survivor bears.
type LossShare struct {
	Member tariff.Member
	Amount points.Amount
}

// Waterfall divides the debt: own prefund, own collateral, guarantee fund, then the
// survivors by largest remainder in the ratio of the limits that they had granted, up to
// these limits, and what is left stays open.
func Waterfall(d Default) (Loss, error) {
	for _, amount := range [...]points.Amount{d.Debt, d.Prefund, d.Collateral, d.Fund} {
		if amount < 0 {
			return Loss{}, points.Errorf(points.FormatError, "default of %v: no amount may be negative", d.Member)
		}
	}
	limits := slices.Clone(d.Limits)
	slices.SortFunc(limits, func(a, b Limit) int { return cmp.Compare(a.Member, b.Member) })
	var weights []tariff.Weight
	var together points.Amount
	for i, limit := range limits {
		if limit.Member == d.Member || limit.Granted < 0 || (i > 0 && limits[i-1].Member == limit.Member) {
			return Loss{}, points.Errorf(points.FormatError,
				"default of %v: limit of %v: it is of a survivor, once, and not negative", d.Member, limit.Member)
		}
		var fits bool
		if together, fits = together.Add(limit.Granted); !fits {
			return Loss{}, points.Errorf(points.FormatError, "default of %v: the limits together do not fit; check them", d.Member)
		}
		weights = append(weights, tariff.Weight{Member: limit.Member, Weight: uint64(limit.Granted)})
	}
	var loss Loss
	left := d.Debt
	for _, layer := range [...]struct {
		has  points.Amount
		take *points.Amount
	}{{d.Prefund, &loss.Prefund}, {d.Collateral, &loss.Collateral}, {d.Fund, &loss.Fund}} {
		*layer.take = min(left, layer.has)
		left -= *layer.take
	}
	shared := min(left, together)
	if shared > 0 {
		shares := make([]points.Amount, len(weights))
		if !tariff.Split(shared, weights, shares) {
			return Loss{}, points.Errorf(points.InternalError, "default of %v: %d cannot be divided by the limits", d.Member, shared)
		}
		for i, share := range shares {
			loss.Shares = append(loss.Shares, LossShare{Member: weights[i].Member, Amount: share})
		}
	}
	loss.Open = left - shared
	return loss, nil
}
