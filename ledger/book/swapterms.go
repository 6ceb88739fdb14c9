package book

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/exchange/quote"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// versioned reports whether an entry is a version of something that is never edited: a
// rate, the fees, swap terms.
func (e *Entry) versioned() bool { return e.Rate != nil || e.Fees != nil || e.Swaps != nil }

func appendSwapTerms(dst []byte, v *tariff.SwapTerms) []byte {
	dst = binary.AppendUvarint(dst, uint64(v.Program))
	dst = binary.AppendVarint(dst, int64(v.From))
	dst = v.AppendRules(dst)
	return appendSignature(dst, &signature{v.Version, v.Maker, v.Checker, v.Approved, v.Previous, v.Digest})
}

func decodeSwapTerms(r *reader) *tariff.SwapTerms {
	v := &tariff.SwapTerms{Program: r.program(), From: r.timestamp()}
	if !v.SetRules(r.uvarint) {
		r.fail()
	}
	s := decodeSignature(r)
	v.Version, v.Maker, v.Checker, v.Approved, v.Previous, v.Digest = s.version, s.maker, s.checker, s.approved, s.previous, s.digest
	return v
}

func (r *Registry) swaps() *tariff.SwapTable {
	if r.Swaps == nil {
		return tariff.NewSwapTable()
	}
	return r.Swaps
}

// nextSwapTerms is the version that proposed rules would be.
func (b *Book) nextSwapTerms(v *tariff.SwapTerms, maker, checker string, now points.Timestamp) (Entry, error) {
	if _, ok := b.live.Programs[v.Program]; !ok && v.Program.Valid() {
		return Entry{}, points.Errorf(points.UnknownProgram, "programme %d: there is none; put it first", v.Program)
	}
	if latest := b.live.swaps().Latest(v.Program); v.Version != 0 && v.Version != latest+1 {
		return Entry{}, points.Errorf(points.AlreadyExists, "version %d of the swap terms of %d: the next one is %d; what is there is not edited", v.Version, v.Program, latest+1)
	}
	if v.Lots == 0 || v.Lots&1 != 0 || v.Lots >= 1<<(Adjusted+1) {
		return Entry{}, points.Errorf(points.FormatError, "swap terms of %d: lots_allowed: want one or more of %s", v.Program, originList())
	}
	switch p := b.live.Programs[v.Program]; {
	case v.TierBonus != tariff.BonusTiers{} && p != nil && p.Rules.Tier == 0:
		return Entry{}, points.Errorf(points.NotPermitted, "swap terms of %d: tier_bonus: the programme has no tier unit; give it one first", v.Program)
	case (v.TierBonus != tariff.BonusTiers{} || v.VolumeBonus != tariff.BonusSteps{}) && v.Lots&(1<<Bonus) != 0:
		return Entry{}, points.Errorf(points.NotPermitted, "swap terms of %d: lots_allowed: bonus: while the campaign runs, what it gave is not swapped on", v.Program)
	}
	next, err := b.live.swaps().Next(v.Program, v.From, v.SwapRules, maker, checker, now)
	if err == nil {
		err = b.mayPublish(nil, &next)
	}
	return Entry{Swaps: &next}, err
}

func originList() string { return "earned, bought, swapped, bonus, adjusted" }

// mayPublish refuses a rate or swap terms beside which some way from programme to programme
// and back would gain, at any instant from when they take effect on (I26). All rates but
// the overrides of pairs stand against the standard point, so it is enough to look at each
// programme alone, and at the ways with an override.
func (b *Book) mayPublish(rate *tariff.Rate, terms *tariff.SwapTerms) error {
	rates, swaps := b.live.rates().Clone(), b.live.swaps().Clone()
	program, from := points.ProgramID(0), points.Timestamp(0)
	if rate != nil {
		if rate.Side == tariff.Clear {
			return nil
		}
		program, from = rate.Program, rate.From
		if err := rates.Append(*rate); err != nil {
			return fmt.Errorf("publication of a rate: %w", err)
		}
	} else {
		program, from = terms.Program, terms.From
		if err := swaps.Append(*terms); err != nil {
			return fmt.Errorf("publication of swap terms: %w", err)
		}
	}
	if err := unfair(rates, swaps, program, from); err != nil {
		return err
	}
	return roundabout(rates, swaps, from)
}

// unfair tells the gaining cycle of a programme at any instant from from on; nil: there is
// none.
func unfair(rates *tariff.Rates, swaps *tariff.SwapTable, program points.ProgramID, from points.Timestamp) error {
	instants := []points.Timestamp{from}
	for rate := range rates.All() {
		if rate.Program == program && rate.Side != tariff.Clear && rate.From > from {
			instants = append(instants, rate.From)
		}
	}
	for terms := range swaps.All() {
		if terms.Program == program && terms.From > from {
			instants = append(instants, terms.From)
		}
	}
	slices.Sort(instants)
	for _, t := range instants {
		buy, sell := rates.At(program, tariff.Buy, t), rates.At(program, tariff.Sell, t)
		if buy == nil || sell == nil {
			continue
		}
		by := swapTerms(buy, sell, swaps.At(program, t))
		gain := by.Gain()
		if gain == nil {
			continue
		}
		fee := fmt.Sprintf("less %d ppm", buy.SpreadPPM)
		if by.FeeCap != 0 {
			fee = fmt.Sprintf("with a fee of at most %d, which is nothing of a large amount,", by.FeeCap)
		}
		return points.Errorf(points.NotPermitted,
			"programme %d from %v: the way QZP -> %d -> QZP gains: handed out at %d/%d (SELL version %d) and taken back at %d/%d (BUY version %d) %s, 1 becomes %s; want BUY less the fee at or below SELL",
			program, t, program, sell.Num, sell.Den, sell.Version, buy.Num, buy.Den, buy.Version, fee, gain.RatString())
	}
	return nil
}

// roundabout tells the gaining way with an override of a pair at any instant from from on;
// nil: there is none.
func roundabout(rates *tariff.Rates, swaps *tariff.SwapTable, from points.Timestamp) error {
	instants, overrides := []points.Timestamp{from}, false
	for rate := range rates.All() {
		if rate.Side != tariff.Clear && rate.From > from {
			instants = append(instants, rate.From)
		}
		overrides = overrides || rate.Into != 0
	}
	if !overrides {
		return nil
	}
	for terms := range swaps.All() {
		if terms.From > from {
			instants = append(instants, terms.From)
		}
	}
	slices.Sort(instants)
	for _, t := range slices.Compact(instants) {
		offers, pairs := offersAt(rates, swaps, t)
		if len(pairs) > quote.MaxPairs {
			return points.Errorf(points.NotPermitted, "from %v: %d overrides of pairs are in force, want at most %d; end some first", t, len(pairs), quote.MaxPairs)
		}
		way, gain := quote.Gaining(offers, pairs)
		if way == nil {
			continue
		}
		text := make([]string, len(way))
		for i, at := range way {
			text[i] = "QZP"
			if program := points.MinProgram + points.ProgramID(at); program != points.Standard { //nolint:gosec // at most MaxProgram.
				text[i] = fmt.Sprint(program)
			}
		}
		return points.Errorf(points.NotPermitted, "from %v: the way %s gains: 1 becomes %s there, by the overrides of pairs in force then; want no way back that returns more",
			t, strings.Join(text, " -> "), gain.RatString())
	}
	return nil
}

// offersAt is what is on offer at t, by programme from the first, and for which pairs.
func offersAt(rates *tariff.Rates, swaps *tariff.SwapTable, t points.Timestamp) (offers []quote.Terms, pairs []quote.Pair) {
	for program := points.MinProgram; program <= points.MaxProgram; program++ {
		var offer quote.Terms
		if buy := rates.At(program, tariff.Buy, t); buy != nil {
			offer = swapTerms(buy, buy, swaps.At(program, t))
		}
		offer.Sell = quote.Ratio{}
		if sell := rates.At(program, tariff.Sell, t); sell != nil {
			offer.Sell = quote.Ratio{Num: sell.Num, Den: sell.Den}
		}
		if terms := swaps.At(program, t); terms != nil {
			offer.FeeCap = terms.FeeCap
		}
		offers = append(offers, offer)
		for into := range rates.Overrides(program, t) {
			pairs = append(pairs, quote.Pair{
				From: int(into.Program - points.MinProgram), Into: int(into.Into - points.MinProgram), Buy: quote.Ratio{Num: into.Num, Den: into.Den}, FeePPM: into.SpreadPPM,
			})
		}
	}
	return offers, pairs
}

// swapTerms are what a swap is computed by: the fee is that of the programme handed in,
// whose terms are given.
func swapTerms(buy, sell *tariff.Rate, terms *tariff.SwapTerms) quote.Terms {
	t := quote.Terms{Buy: quote.Ratio{Num: buy.Num, Den: buy.Den}, Sell: quote.Ratio{Num: sell.Num, Den: sell.Den}, FeePPM: buy.SpreadPPM}
	if terms != nil {
		t.FeeMin, t.FeeCap = terms.FeeMin, terms.FeeCap
	}
	return t
}

// auditSwapTerms checks that swap terms have two persons behind them (I19), and that no
// rates gain (I26).
func (b *Book) auditSwapTerms() error {
	swaps := b.live.swaps()
	for t := range swaps.All() {
		if t.Maker == "" || t.Checker == "" || t.Maker == t.Checker || t.From < t.Approved+tariff.LeadTime {
			return fmt.Errorf("book: I19: version %d of the swap terms of %d by %q and %q", t.Version, t.Program, t.Maker, t.Checker)
		}
	}
	if err := roundabout(b.live.rates(), swaps, 0); err != nil {
		return fmt.Errorf("book: I26: %w", err)
	}
	for program := range b.live.Programs { //nolint:gocritic // the first error of any will do.
		if err := unfair(b.live.rates(), swaps, program, 0); err != nil {
			return fmt.Errorf("book: I26: %w", err)
		}
	}
	return nil
}
