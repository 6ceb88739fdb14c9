package settlement

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Synthetic is a day that is made up: the same numbers give the same day, item by item,
// without a ledger. It is there to measure a run, and to try one on more items than a
// test could let terminals send.
type Synthetic struct {
	Items   uint64
	Members int // half of them issuers, half acquirers
	Seed    uint64

	setting Setting
	kept    Kept
	mu      sync.Mutex
	posted  map[tariff.Digest]points.Position
}

// Numbers of a synthetic day.
const (
	syntheticDate  points.BusinessDate = 20260302
	syntheticStart points.Timestamp    = 1_772_380_800_000_000 // 2026-03-02 00:00 in China
	firstIssuer    tariff.Member       = 10_000_000
	firstAcquirer  tariff.Member       = 20_000_000
	day            points.Timestamp    = 86_400_000_000
)

// NewSynthetic makes up a day of so many items between so many members.
func NewSynthetic(items uint64, members int, seed uint64) (*Synthetic, error) {
	if items == 0 || members < 2 || members > netting.MaxParties || seed == 0 {
		return nil, points.Errorf(points.FormatError, "made-up day: %d items of %d members, seed %d: want items, 2 to %d members, a seed", items, members, seed, netting.MaxParties)
	}
	s := &Synthetic{Items: items, Members: members, Seed: seed, posted: map[tariff.Digest]points.Position{}}
	s.setting = Setting{Rates: tariff.NewRates(), Fees: tariff.NewFees(), Programs: map[points.ProgramID]Program{}}
	var merchant points.MerchantID
	copyText(merchant[:], "M00000000000001")
	s.setting.Merchants = map[points.MerchantID]string{merchant: "便利店"}
	cover := netting.Cover{Prefund: 100_000_000_000_000}
	for i := range s.half() {
		s.setting.Parties = append(s.setting.Parties, Party{Member: firstIssuer + tariff.Member(i), Name: fmt.Sprintf("积分发行方 %d", i), Class: 1, Cover: cover})
	}
	for i := range members - s.half() {
		s.setting.Parties = append(s.setting.Parties, Party{Member: firstAcquirer + tariff.Member(i), Name: fmt.Sprintf("收单机构 %d", i), Class: 1, Cover: cover})
	}
	approved := syntheticStart - 30*day
	for program := range syntheticPrograms {
		id := points.MinProgram + points.ProgramID(program)
		s.setting.Programs[id] = Program{Code: fmt.Sprintf("P%05d", id), Name: fmt.Sprintf("Programme %d", id)}
		for side := tariff.Clear; side.Valid(); side++ {
			terms := tariff.Terms{Program: id, Side: side, From: approved + day, Num: uint64(97 + 13*program), Den: 3}
			if side == tariff.Buy {
				terms.SpreadPPM = 15_000
			}
			rate, err := s.setting.Rates.Next(terms, "maker", "checker", approved)
			if err == nil {
				err = s.setting.Rates.Append(rate)
			}
			if err != nil {
				return nil, fmt.Errorf("made-up day: %w", err)
			}
		}
	}
	schedule, err := s.setting.Fees.Next(approved+day, syntheticFees(), "maker", "checker", approved)
	if err == nil {
		err = s.setting.Fees.Append(schedule)
	}
	if err != nil {
		return nil, fmt.Errorf("made-up day: %w", err)
	}
	return s, nil
}

// syntheticPrograms is how many programmes there are; issuers take turns.
const syntheticPrograms = 12

func syntheticFees() []tariff.FeeRow {
	return []tariff.FeeRow{
		{Kind: tariff.KindRDM, InterchangePPM: 4_000, PPM: 3_000, Fixed: 100, Min: 50, VATPPM: 60_000},
		{Kind: tariff.KindRDM, MCC: 5411, InterchangePPM: 2_000, PPM: 1_000, VATPPM: 60_000, Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 7}, {Role: tariff.RoleIssuer, Weight: 3}}},
		{Kind: tariff.KindEAR, PPM: 1_500, Min: 10, Max: 5_000, VATPPM: 60_000},
		{Kind: tariff.KindSWP, VATPPM: 60_000},
	}
}

func (s *Synthetic) half() int { return s.Members / 2 }

// mix is a hash of a position under the seed (SplitMix64).
func (s *Synthetic) mix(p points.Position) uint64 {
	x := uint64(p)*0x9e3779b97f4a7c15 + s.Seed*0xd1342543de82ef95
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Cut is the one cycle of the day.
func (s *Synthetic) Cut(points.BusinessDate, uint8) (Cut, error) {
	return Cut{Date: syntheticDate, Cycle: 1, First: 1, Last: points.Position(s.Items), Began: syntheticStart, Ended: syntheticStart + day, Settles: syntheticDate.AddDays(1)}, nil
}

// Unposted knows of no cycle but the one of the day.
func (s *Synthetic) Unposted(context.Context, points.Position) ([]Cut, error) { return nil, nil }

// Setting returns the day's tables.
func (s *Synthetic) Setting(context.Context) (Setting, error) { return s.setting, nil }

// Entries makes up the items of some positions.
func (s *Synthetic) Entries(ctx context.Context, first, last points.Position, visit func(*Entry) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) //nolint:wrapcheck // why the run ends.
	}
	var e Entry
	for p := first; p <= last; p++ {
		s.make(&e, p)
		if err := visit(&e); err != nil {
			return err
		}
	}
	return nil
}

// make makes up the item at a position: of a hundred 70 redemptions, 18 earns, 7 swaps,
// 3 refunds, 2 reversals.
func (s *Synthetic) make(e *Entry, p points.Position) {
	h := s.mix(p)
	*e = Entry{}
	e.Position, e.At = p, syntheticStart+points.Timestamp(uint64(p)*uint64(day)/(s.Items+1))        //nolint:gosec // within a day.
	issuer := int(h >> 8 % uint64(s.half()))                                                        //nolint:gosec // at most MaxParties.
	acquirer := int(h >> 24 % uint64(s.Members-s.half()))                                           //nolint:gosec // as above.
	e.Issuer, e.Acquirer = firstIssuer+tariff.Member(issuer), firstAcquirer+tariff.Member(acquirer) //nolint:gosec // as above.
	e.Program = points.MinProgram + points.ProgramID(issuer%syntheticPrograms)
	e.Amount = points.Amount(1 + h>>40%500_000)
	if e.MCC = 5812; h>>16&1 == 0 {
		e.MCC = 5411
	}
	switch kind := h % 100; {
	case kind < 70:
		e.Kind = tariff.KindRDM
	case kind < 88:
		e.Kind = tariff.KindEAR
	case kind < 95:
		target := int(h >> 32 % uint64(s.half()))                            //nolint:gosec // a few hundred.
		e.Kind, e.Target = tariff.KindSWP, firstIssuer+tariff.Member(target) //nolint:gosec // as above.
		e.TargetProgram = points.MinProgram + points.ProgramID(target%syntheticPrograms)
	case kind < 98:
		e.Kind, e.Of, e.Whole, e.Amount, e.OriginalAt = tariff.KindRFD, tariff.KindRDM, e.Amount, -e.Amount, e.At-day
	default:
		e.Kind, e.Of, e.Whole, e.Amount, e.OriginalAt = tariff.KindRVS, tariff.KindEAR, e.Amount, -e.Amount, e.At-day
	}
	l := &e.Line
	l.STAN, l.Transmitted, l.Local = points.STAN(p%1_000_000), 20260302_000000, 20260302_080000
	digits(l.RRN[:], uint64(p))
	copyText(l.Auth[:], "000000")
	copyText(l.Terminal[:], "T0000001")
	copyText(l.Merchant[:], "M00000000000001")
	copyText(l.Account[:], "621234******1234")
	copyText(l.Response[:], "00")
	l.MTI, l.Processing, l.EntryMode = 210, 0, 51
	if e.Kind.Undoing() {
		l.Original, l.OriginalDate = uint64(p)+1<<40, syntheticDate.AddDays(-1)
	}
}

// digits writes a number with zeros in front.
func digits(dst []byte, n uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

// Naive sums the day up another way, member by member in a map: what the ledger would
// have kept, and an oracle of the run.
func (s *Synthetic) Naive(ctx context.Context) error {
	nets := map[tariff.Member]netting.Sum{}
	moves := map[Move]points.Amount{}
	var v tariff.Valuation
	err := s.Entries(ctx, 1, points.Position(s.Items), func(e *Entry) error {
		if tariff.Value(s.setting.Rates, s.setting.Fees, &e.Item, &v) != tariff.OK {
			return nil
		}
		for _, leg := range v.Legs() {
			nets[leg.Debtor] = nets[leg.Debtor].Minus(netting.SumOf(leg.Amount))
			nets[leg.Creditor] = nets[leg.Creditor].Plus(netting.SumOf(leg.Amount))
		}
		switch {
		case e.Kind == tariff.KindRDM || e.Of == tariff.KindRDM:
			moves[Move{Program: e.Program, Acquirer: e.Acquirer}] += e.Amount
		case e.Kind == tariff.KindEAR || e.Of == tariff.KindEAR:
			moves[Move{Program: e.Program, Acquirer: e.Acquirer}] -= e.Amount
		}
		return nil
	})
	s.kept = Kept{}
	for _, m := range slices.Sorted(maps.Keys(nets)) {
		s.kept.Members = append(s.kept.Members, Live{m, nets[m]})
	}
	for move, amount := range moves {
		if move.Amount = amount; amount != 0 {
			s.kept.Moves = append(s.kept.Moves, move)
		}
	}
	slices.SortFunc(s.kept.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(a.Program, b.Program), cmp.Compare(a.Acquirer, b.Acquirer))
	})
	return err
}

// Read makes up the items of some positions, which have no bytes.
func (s *Synthetic) Read(ctx context.Context, first, last points.Position) (uint64, error) {
	return 0, s.Entries(ctx, first, last, func(*Entry) error { return nil })
}

// Kept returns what [Synthetic.Naive] has summed up.
func (s *Synthetic) Kept(context.Context, Cut) (Kept, error) { return s.kept, nil }

// Tamper changes what was kept, as a fault of a disk or a program would.
func (s *Synthetic) Tamper(place int, by points.Amount) {
	s.kept.Members[place].Net = s.kept.Members[place].Net.Plus(netting.SumOf(by))
}

// Propose takes note of nothing: nobody has to approve.
func (s *Synthetic) Propose(context.Context, Publication) (points.Position, error) { return 0, nil }

// Standing knows of no posting.
func (s *Synthetic) Standing(context.Context, Cut) (Standing, error) { return Standing{}, nil }

// Withdraw has nothing to end.
func (s *Synthetic) Withdraw(context.Context, Publication, string) error { return nil }

// Approvable lets everybody approve.
func (s *Synthetic) Approvable(context.Context, Publication) error { return nil }

// Unfinished counts none.
func (s *Synthetic) Unfinished(context.Context, Cut) (uint64, error) { return 0, nil }

// Unclosed counts none.
func (s *Synthetic) Unclosed(context.Context, Cut, map[Batch]struct{}) (uint64, error) { return 0, nil }

// Publish takes note of a publication, once.
func (s *Synthetic) Publish(_ context.Context, p Publication) (points.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if position, known := s.posted[p.Key]; known {
		return position, nil
	}
	position := points.Position(s.Items) + points.Position(len(s.posted)) + 1
	s.posted[p.Key] = position
	return position, nil
}
