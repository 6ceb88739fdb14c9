package netting

import (
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
func (c Cover) Usable() (prefund, collateral points.Amount, err error) { return 0, 0, nil }

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
// member, in GROSS the sum of the legs to pay.
func (f *Fold) Exposures(covers []Cover) ([]Exposure, error) { return nil, nil }

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
func Waterfall(d Default) (Loss, error) { return Loss{}, nil }
