package book

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// both says the same in English and Chinese, of the same values: a member who swaps reads it.
// The Chinese counts them, %[1]d, where its order is another.
func both(reason points.Reason, english, chinese string, args ...any) error {
	return points.InBoth(reason, fmt.Sprintf(english, args...), fmt.Sprintf(chinese, args...))
}

// chinese names the states of a swap.
func (s SwapState) chinese() string {
	if name, ok := ChineseSwapStates()[s.String()]; ok {
		return name
	}
	return s.String()
}

// ChineseSwapStates are the names of the states of a swap for people, by those for machines.
func ChineseSwapStates() map[string]string {
	return map[string]string{ //nolint:gosec // words for states, no credentials.
		"open": "已报价", "locked": "已锁定", "executing": "处理中", "done": "已完成", "expired": "已过期", "cancelled": "已撤销",
		"rejected": "已拒绝", "credit_unknown": "对方结果未明", "reversed": "已冲正", "manual": "待人工处理",
	}
}

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
		text, zh := "", ""
		if by != 0 {
			text, zh = " (RRN "+rrnText(by)+")", "（参考号"+rrnText(by)+"）"
		}
		quote := rrnText(cmd.Original)
		return points.InBoth(points.OriginalClosed, fmt.Sprintf("swap %s is %s already%s", quote, view.State, text), "互换"+quote+view.State.chinese()+zh)
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
		return both(points.QuoteExpired, "the quote %s was good before %s: ask for a new one", "报价%s有效至%s，已过期，请重新报价", rrnText(cmd.Original), view.Expires)
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
		return both(points.FunctionDisabled, "a swap with an issuer that keeps its own ledger is not locked: execute the quote", "与自管账务的发行方互换不可锁定，请直接按报价执行")
	case terms == nil:
		return nil
	case terms.LockSeconds == 0:
		return both(points.FunctionDisabled, "the swap terms of programme %d give no lock (lock_seconds): execute the quote", "积分计划%d的互换条款不支持锁定(lock_seconds)，请直接按报价执行", view.Program)
	case terms.LockFeePPM != 0:
		return both(points.FunctionDisabled, "programme %d takes a fee for a lock: say for how long when asking for the quote (lock_seconds)",
			"积分计划%d的锁定需收费，请在报价时说明锁定时长(lock_seconds)", view.Program)
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
	case max(cmd.Amount, cmd.Wanted) > points.MaxAmount:
		return both(points.BadAmount, "%d is larger than an account can hold (%d)", "%d超过账户上限(%d)", max(cmd.Amount, cmd.Wanted), points.MaxAmount)
	case from == into:
		return both(points.NotPermitted, "from and into are both programme %d", "换出与换入同为积分计划%d", from)
	case source && target:
		return both(points.RemoteSwap, "programmes %d and %d: both are in their issuers' own ledgers, and one side has to be here: swap through a programme that is",
			"积分计划%d和%d均由发行方自管账务，至少一方须在本平台：请经由在本平台的积分计划互换", from, into)
	case (source || target) && cmd.Card.IsZero():
		return both(points.RemoteSwap, "one of the programmes %d and %d is in its issuer's own ledger, which knows the member by the card: name it (--card)",
			"积分计划%d和%d之一由发行方自管账务，需以卡号识别会员：请提供卡号(--card)", from, into)
	case (source || target) && !cmd.Ask:
		return nil
	}
	terms, out := b.live.swaps().At(from, cmd.At), b.live.swaps().At(into, cmd.At)
	if err := b.whyNoOffer(from, into, cmd.At); err != nil {
		return err
	}
	if cmd.Limit > terms.LockSeconds {
		return both(points.FunctionDisabled, "lock_seconds %d: the swap terms of programme %d give at most %d", "锁定%d秒：积分计划%d的互换条款最长%d秒(lock_seconds)", cmd.Limit, from, terms.LockSeconds)
	}
	m, _, err := b.holder(cmd.Card, cmd.Member, FreezeDebit)
	if err != nil || m == nil || cmd.Amount <= 0 && cmd.Wanted <= 0 {
		return nil //nolint:nilerr // the refusal stands; only its figures are missing.
	}
	by := swapTerms(b.live.rates().Pair(from, into, cmd.At), b.live.rates().At(into, tariff.Sell, cmd.At), terms)
	by.FeePPM = lockedFee(by.FeePPM, terms, cmd.Limit)
	f, reason := figuresOf(&by, cmd, terms)
	switch {
	case reason == points.BalanceOverflow && cmd.Amount > 0:
		return both(reason, "in %d: its value, or what it gives, is larger than an account can hold (%d)", "换出%d：其价值或可换入数额超过账户上限(%d)", cmd.Amount, points.MaxAmount)
	case reason == points.BalanceOverflow:
		return both(reason, "out %d: its value, or what has to be handed in, is larger than an account can hold (%d)", "换入%d：其价值或须换出数额超过账户上限(%d)", cmd.Wanted, points.MaxAmount)
	case !reason.Approved():
		return nil
	}
	if err := b.whyLimit(m.ID, from, into, f.In, f.Out, terms, out); err != nil {
		return err
	}
	return b.whyPoints(m.ID, from, f.In, terms)
}

// whyNoOffer names what is not in force of all that a swap needs; nil: nothing is missing.
func (b *Book) whyNoOffer(from, into points.ProgramID, now points.Timestamp) error {
	var lacks, lacksZH []string
	for _, part := range [...]struct {
		there    bool
		name, zh string
	}{
		{b.live.rates().Pair(from, into, now) != nil, fmt.Sprintf("a BUY rate of programme %d", from), fmt.Sprintf("积分计划%d的买入价", from)},
		{b.live.rates().At(into, tariff.Sell, now) != nil, fmt.Sprintf("a SELL rate of programme %d", into), fmt.Sprintf("积分计划%d的卖出价", into)},
		{b.live.swaps().At(from, now) != nil, fmt.Sprintf("swap terms of programme %d", from), fmt.Sprintf("积分计划%d的互换条款", from)},
		{b.live.swaps().At(into, now) != nil, fmt.Sprintf("swap terms of programme %d", into), fmt.Sprintf("积分计划%d的互换条款", into)},
		{b.swapFees(now), "a row of kind SWP in the fees", "费率表中的SWP行"},
	} {
		if !part.there {
			lacks, lacksZH = append(lacks, part.name), append(lacksZH, part.zh)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return points.InBoth(points.NoSwapRate, fmt.Sprintf("no swap of programme %d into %d is on offer: not in force now: %s", from, into, strings.Join(lacks, ", ")),
		fmt.Sprintf("积分计划%d换%d暂不可用：目前缺少%s", from, into, strings.Join(lacksZH, "、")))
}

// swapFees reports whether the fees in force have a row for swaps.
func (b *Book) swapFees(now points.Timestamp) bool {
	s := b.live.fees().At(now)
	return s != nil && slices.ContainsFunc(s.Rows, func(r tariff.FeeRow) bool { return r.Kind == tariff.KindSWP })
}

// whyLimit names the limit of the terms that a swap of in into gets would pass.
func (b *Book) whyLimit(member points.MemberID, from, into points.ProgramID, in, gets points.Amount, terms, out *tariff.SwapTerms) error {
	if terms.MinIn > 0 && in < terms.MinIn {
		return both(points.BelowMinimum, "in %d: programme %d takes at least %d (min_in)", "换出%d：积分计划%d每笔至少%d(min_in)", in, from, terms.MinIn)
	}
	if terms.StepIn > 0 && in%terms.StepIn != 0 {
		return both(points.BelowMinimum, "in %d: programme %d takes multiples of %d only (step_in)", "换出%d：积分计划%d只接受%d的整数倍(step_in)", in, from, terms.StepIn)
	}
	if over(terms.MaxIn, 0, in) {
		return both(points.OverAmountLimit, "in %d: programme %d takes at most %d a swap (max_in)", "换出%d：积分计划%d每笔至多%d(max_in)", in, from, terms.MaxIn)
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
			return both(points.OverAmountLimit, "%d more: %s of programme %d is %d, of which %d are used and %d left", "再加%d：积分计划%[3]d的限额%[2]s为%[4]d，已用%[5]d，剩余%[6]d",
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
	origins := terms.Lots.Names()
	return points.InBoth(points.NotEnoughPoints,
		fmt.Sprintf("of %d points that member %d may spend in programme %d, %d may be swapped: those that are %s, and of swapped ones those whose swap_lock_days are over",
			free, member, program, may, strings.Join(origins, " or ")),
		fmt.Sprintf("会员%d在积分计划%d可用的%d积分中，可互换%d：仅限来源为%s者，换入的积分须过锁定期(swap_lock_days)", member, program, free, may, strings.Join(origins, "、")))
}
