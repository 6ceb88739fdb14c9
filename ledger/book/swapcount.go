package book

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// swapCount is what was swapped in one programme by one member, or by all together (member
// 0), in the windows that a date lies in: locked or executed, less what was given back.
type swapCount struct {
	node
	key     swapCountKey
	date    points.BusinessDate // the last one that something was counted on; 0: nothing ever was
	dayIn   points.Amount       // handed in on it
	monthIn points.Amount       // in its month
	yearIn  points.Amount       // in its year
	dayOut  points.Amount       // handed out
	yearOut points.Amount
	version uint32        // of the swap terms whose campaign paid bonus
	bonus   points.Amount // by them
}

type swapCountKey struct {
	program points.ProgramID
	member  points.MemberID
}

func (c *swapCount) id() swapCountKey { return c.key }

func (c *swapCount) appendKey(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, stateSwapCount), uint16(c.key.program))
	return binary.BigEndian.AppendUint64(dst, uint64(c.key.member))
}

func (c *swapCount) appendValue(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, stateVersion), uint64(c.date))
	for _, amount := range [...]points.Amount{c.dayIn, c.monthIn, c.yearIn, c.dayOut, c.yearOut, c.bonus} {
		dst = appendAmount(dst, amount)
	}
	return binary.AppendUvarint(dst, uint64(c.version))
}

func (c *swapCount) decodeValue(r *reader) {
	c.date = r.date()
	for _, amount := range [...]*points.Amount{&c.dayIn, &c.monthIn, &c.yearIn, &c.dayOut, &c.yearOut, &c.bonus} {
		*amount = r.amount()
	}
	c.version = r.uint32()
}

// at is what counts on date: windows that are over have nothing.
func (c *swapCount) at(date points.BusinessDate) swapCount {
	now := swapCount{key: c.key, date: date, version: c.version, bonus: c.bonus}
	if c.date == date {
		now.dayIn, now.dayOut = c.dayIn, c.dayOut
	}
	if c.date/100 == date/100 {
		now.monthIn = c.monthIn
	}
	if c.date/10000 == date/10000 {
		now.yearIn, now.yearOut = c.yearIn, c.yearOut
	}
	return now
}

// swapCountOf returns what counts today; a copy.
func (b *Book) swapCountOf(program points.ProgramID, member points.MemberID) (swapCount, error) {
	c, err := b.findSwapCount(swapCountKey{program, member})
	if err != nil {
		return swapCount{}, err
	}
	return c.at(b.date), nil
}

// findSwapCount never finds nothing: a count that is empty is kept in memory like others, so
// that the store is not asked for it again by the execution of what was quoted.
func (b *Book) findSwapCount(key swapCountKey) (*swapCount, error) {
	if c, ok := b.swapCounts.find(key); ok {
		return c, nil
	}
	c := &swapCount{key: key}
	if _, err := b.load(c); err != nil {
		return nil, err
	}
	return b.swapCounts.add(*c), nil
}

// over reports whether amount more than counted is over a limit; 0 is none.
func over(limit, counted, amount points.Amount) bool {
	return limit > 0 && (amount > limit || counted > limit-amount)
}

// withinSwapCaps checks the limits of both programmes on one more swap, and what is left of
// the campaign.
func (b *Book) withinSwapCaps(member points.MemberID, from points.ProgramID, f *SwapFigures, in, out *tariff.SwapTerms) (points.Reason, error) {
	if (in.MinIn > 0 && f.In < in.MinIn) || (in.StepIn > 0 && f.In%in.StepIn != 0) {
		return points.BelowMinimum, nil
	}
	var counts [4]swapCount
	for i, key := range [...]swapCountKey{{from, member}, {from, 0}, {f.Into, member}, {f.Into, 0}} {
		var err error
		if counts[i], err = b.swapCountOf(key.program, key.member); err != nil {
			return 0, err
		}
	}
	giver, pool, taker, other := &counts[0], &counts[1], &counts[2], &counts[3]
	gets := f.Out + f.Bonus
	switch {
	case over(in.MaxIn, 0, f.In),
		over(in.UserDay, giver.dayIn, f.In), over(in.UserMonth, giver.monthIn, f.In), over(in.UserYear, giver.yearIn, f.In),
		over(in.PoolIn, pool.dayIn, f.In),
		over(out.RecipientYear, taker.yearOut, gets), over(out.PoolOut, other.dayOut, gets):
		return points.OverAmountLimit, nil
	case f.Bonus > 0 && over(out.BonusBudget, other.given(out.Version), f.Bonus):
		return points.RateMoved, nil // What was promised is spent: a new quote promises less.
	}
	return points.Approved, nil
}

// given is what the campaign of a version of the terms has paid.
func (c *swapCount) given(version uint32) points.Amount {
	if c.version != version {
		return 0
	}
	return c.bonus
}

// countSwap counts a swap of date (sign 1), or takes it off again (-1) where its windows
// still run.
func (b *Book) countSwap(member points.MemberID, from points.ProgramID, f *SwapFigures, date points.BusinessDate, sign points.Amount) error {
	gets := f.Out + f.Bonus
	for _, part := range [...]struct {
		key     swapCountKey
		in, out points.Amount
	}{{swapCountKey{from, member}, f.In, 0}, {swapCountKey{from, 0}, f.In, 0}, {swapCountKey{f.Into, member}, 0, gets}, {swapCountKey{f.Into, 0}, 0, gets}} {
		c, err := b.findSwapCount(part.key)
		if err != nil {
			return err
		}
		b.touch(c)
		c.count(part.in*sign, part.out*sign, max(date, b.date), date)
		if part.key.member == 0 && part.out != 0 && f.Bonus != 0 {
			if sign > 0 && f.IntoTerms > c.version {
				c.version, c.bonus = f.IntoTerms, 0
			}
			if c.version == f.IntoTerms {
				c.bonus += f.Bonus * sign
			}
		}
	}
	return nil
}

// count adds in and out, of date, as of today.
func (c *swapCount) count(in, out points.Amount, today, date points.BusinessDate) {
	n, now := c.node, c.at(today)
	now.node = n
	add := func(to *points.Amount, amount points.Amount, counts bool) {
		if counts {
			*to = max(0, saturated(*to, amount))
		}
	}
	add(&now.dayIn, in, date == today)
	add(&now.dayOut, out, date == today)
	add(&now.monthIn, in, date/100 == today/100)
	add(&now.yearIn, in, date/10000 == today/10000)
	add(&now.yearOut, out, date/10000 == today/10000)
	*c = now
}

// SwapCount is what was swapped in a programme in the windows that run: by a member, or by
// all together where member is 0.
type SwapCount struct {
	DayIn, MonthIn, YearIn, DayOut, YearOut points.Amount
}

// SwapCount returns it.
func (b *Book) SwapCount(program points.ProgramID, member points.MemberID) (SwapCount, error) {
	c, err := b.swapCountOf(program, member)
	return SwapCount{c.dayIn, c.monthIn, c.yearIn, c.dayOut, c.yearOut}, err
}
