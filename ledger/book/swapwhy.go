package book

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// whySwap is Why of a command about a swap: which limit it meets and how much of it is used,
// what is not on offer, what of the points may not be swapped, or where the swap is already.
func (b *Book) whySwap(cmd *Command) error {
	if cmd.Kind == KindQuote {
		return b.whyQuote(cmd)
	}
	view, ok, err := b.Swap(cmd.Original, cmd.At)
	if err != nil || !ok || view.Acquirer != cmd.Acquirer {
		return nil //nolint:nilerr // the refusal stands, and of another caller's swap nothing is told.
	}
	closed := func(by points.Position) error {
		text := ""
		if by != 0 {
			text = " (RRN " + rrnText(by) + ")"
		}
		return points.Errorf(points.OriginalClosed, "swap %s is %s already%s", rrnText(cmd.Original), view.State, text)
	}
	switch view.State {
	case SwapOpen:
		if cmd.Kind == KindSwapLock {
			return b.whyLock(cmd, &view)
		}
		if cmd.Kind == KindSwap {
			return b.whyPoints(view.Member, view.Program, view.In, b.live.swaps().At(view.Program, cmd.At))
		}
		return nil
	case SwapLocked:
		return closed(view.Locked)
	case SwapExpired:
		return points.Errorf(points.QuoteExpired, "the quote %s was good before %s: ask for a new one", rrnText(cmd.Original), view.Expires)
	default:
		return closed(view.Done)
	}
}

func rrnText(p points.Position) string {
	rrn := p.RRN()
	return string(rrn[:])
}

func (b *Book) whyLock(cmd *Command, view *SwapView) error {
	terms := b.live.swaps().At(view.Program, cmd.At)
	switch {
	case b.farProgram(view.Program) || b.farProgram(view.Into):
		return points.Errorf(points.FunctionDisabled, "a swap with an issuer that keeps its own ledger is not locked: execute the quote")
	case terms == nil:
		return nil
	case terms.LockSeconds == 0:
		return points.Errorf(points.FunctionDisabled, "the swap terms of programme %d give no lock (lock_seconds): execute the quote", view.Program)
	case terms.LockFeePPM != 0:
		return points.Errorf(points.FunctionDisabled, "programme %d takes a fee for a lock: say for how long when asking for the quote (lock_seconds)", view.Program)
	default:
		return b.whyPoints(view.Member, view.Program, view.In, terms)
	}
}

// whyQuote names the first thing that keeps a quote from being given.
func (b *Book) whyQuote(cmd *Command) error {
	from, into := cmd.Program, cmd.Into
	if from == 0 || b.live.Programs[from] == nil || b.live.Programs[into] == nil {
		return nil
	}
	switch source, target := b.farProgram(from), b.farProgram(into); {
	case from == into:
		return points.Errorf(points.NotPermitted, "from and into are both programme %d", from)
	case source && target:
		return points.Errorf(points.RemoteSwap, "programmes %d and %d: both are in their issuers' own ledgers, and one side has to be here: swap through a programme that is", from, into)
	case (source || target) && cmd.Card.IsZero():
		return points.Errorf(points.RemoteSwap, "one of the programmes %d and %d is in its issuer's own ledger, which knows the member by the card: name it (--card)", from, into)
	case (source || target) && !cmd.Ask:
		return nil
	}
	terms, out := b.live.swaps().At(from, cmd.At), b.live.swaps().At(into, cmd.At)
	var lacks []string
	for _, part := range [...]struct {
		there bool
		name  string
	}{
		{b.live.rates().Pair(from, into, cmd.At) != nil, fmt.Sprintf("a BUY rate of programme %d", from)},
		{b.live.rates().At(into, tariff.Sell, cmd.At) != nil, fmt.Sprintf("a SELL rate of programme %d", into)},
		{terms != nil, fmt.Sprintf("swap terms of programme %d", from)},
		{out != nil, fmt.Sprintf("swap terms of programme %d", into)},
		{b.swapFees(cmd.At), "a row of kind SWP in the fees"},
	} {
		if !part.there {
			lacks = append(lacks, part.name)
		}
	}
	if len(lacks) > 0 {
		return points.Errorf(points.NoSwapRate, "no swap of programme %d into %d is on offer: not in force now: %s", from, into, strings.Join(lacks, ", "))
	}
	if cmd.Limit > terms.LockSeconds {
		return points.Errorf(points.FunctionDisabled, "lock_seconds %d: the swap terms of programme %d give at most %d", cmd.Limit, from, terms.LockSeconds)
	}
	m, _, err := b.holder(cmd.Card, cmd.Member, FreezeDebit)
	if err != nil || m == nil || cmd.Amount <= 0 {
		return nil //nolint:nilerr // the refusal stands; only its figures are missing.
	}
	by := swapTerms(b.live.rates().Pair(from, into, cmd.At), b.live.rates().At(into, tariff.Sell, cmd.At), terms)
	by.FeePPM = lockedFee(by.FeePPM, terms, cmd.Limit)
	f, reason := by.ExactIn(cmd.Amount)
	if !reason.Approved() {
		return nil
	}
	if err := b.whyLimit(m.ID, from, into, f.In, f.Out, terms, out); err != nil {
		return err
	}
	return b.whyPoints(m.ID, from, f.In, terms)
}

// swapFees reports whether the fees in force have a row for swaps.
func (b *Book) swapFees(now points.Timestamp) bool {
	s := b.live.fees().At(now)
	return s != nil && slices.ContainsFunc(s.Rows, func(r tariff.FeeRow) bool { return r.Kind == tariff.KindSWP })
}

// whyLimit names the limit of the terms that a swap of in into gets would pass.
func (b *Book) whyLimit(member points.MemberID, from, into points.ProgramID, in, gets points.Amount, terms, out *tariff.SwapTerms) error {
	if terms.MinIn > 0 && in < terms.MinIn {
		return points.Errorf(points.BelowMinimum, "in %d: programme %d takes at least %d (min_in)", in, from, terms.MinIn)
	}
	if terms.StepIn > 0 && in%terms.StepIn != 0 {
		return points.Errorf(points.BelowMinimum, "in %d: programme %d takes multiples of %d only (step_in)", in, from, terms.StepIn)
	}
	if over(terms.MaxIn, 0, in) {
		return points.Errorf(points.OverAmountLimit, "in %d: programme %d takes at most %d a swap (max_in)", in, from, terms.MaxIn)
	}
	giver, err := b.SwapCount(from, member)
	pool, poolErr := b.SwapCount(from, 0)
	taker, takerErr := b.SwapCount(into, member)
	other, otherErr := b.SwapCount(into, 0)
	if err != nil || poolErr != nil || takerErr != nil || otherErr != nil {
		return nil //nolint:nilerr // The refusal stands; only its figures are missing.
	}
	for _, window := range [...]struct {
		name                 string
		program              points.ProgramID
		limit, used, another points.Amount
	}{
		{"user_day", from, terms.UserDay, giver.DayIn, in},
		{"user_month", from, terms.UserMonth, giver.MonthIn, in},
		{"user_year", from, terms.UserYear, giver.YearIn, in},
		{"pool_in_day", from, terms.PoolIn, pool.DayIn, in},
		{"recipient_year", into, out.RecipientYear, taker.YearOut, gets},
		{"pool_out_day", into, out.PoolOut, other.DayOut, gets},
	} {
		if over(window.limit, window.used, window.another) {
			return points.Errorf(points.OverAmountLimit, "%d more: %s of programme %d is %d, of which %d are used and %d left",
				window.another, window.name, window.program, window.limit, window.used, max(0, window.limit-window.used))
		}
	}
	return nil
}

// whyPoints tells how many of a member's points may be swapped, where they are fewer.
func (b *Book) whyPoints(member points.MemberID, program points.ProgramID, in points.Amount, terms *tariff.SwapTerms) error {
	if terms == nil || b.farProgram(program) {
		return nil
	}
	a, err := b.findAccount(AccountKey{MemberAccount, program, uint64(member)})
	if err != nil || a == nil {
		return nil //nolint:nilerr // as above.
	}
	may, free := a.swappable(terms, b.date), a.spendable(b.date)
	if may >= in || free <= may {
		return nil
	}
	return points.Errorf(points.NotEnoughPoints, "of %d points that member %d may spend in programme %d, %d may be swapped: those that are %s, and of swapped ones those whose swap_lock_days are over",
		free, member, program, may, strings.Join(terms.Lots.Names(), " or "))
}
