package files

import (
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// follows names the figures of a row that do not follow from its others: where the position
// closes, and what a member may still owe before its cap. Rows with a counterparty or a
// code are parts of a position, which have neither of their own.
func (p *Position) follows(scale int, wrong func(name, found, expected string)) {
	if p.Cover < 0 {
		wrong("cover", p.Cover.Decimal(scale), "an amount that is not negative")
	}
	if p.Cap < 0 || p.Cap > p.Cover {
		wrong("cap", p.Cap.Decimal(scale), "at most the cover, "+p.Cover.Decimal(scale))
	}
	if !p.Whole() {
		return
	}
	if closing := SumOf(p.Opening).add(p.Net()); SumOf(p.Closing) != closing {
		wrong("closing_position", p.Closing.Decimal(scale), closing.Decimal(scale)+" = opening + receive - pay")
	}
	headroom := SumOf(p.Cap).plus(min(p.Closing, 0))
	if !p.Capped {
		headroom = Sum{}
	}
	if SumOf(p.Headroom) != headroom {
		wrong("headroom", p.Headroom.Decimal(scale), headroom.Decimal(scale)+" = cap less what is owed at the close")
	}
}

// covers names the rows in which a member has another cover or cap than in its first.
func covers(rows []Position, scale int) (broken []FormatError) {
	type cover struct {
		cover, limit points.Amount
		capped       bool
	}
	said := func(c cover) string {
		if !c.capped {
			return c.cover.Decimal(scale) + ", no cap"
		}
		return c.cover.Decimal(scale) + ", " + c.limit.Decimal(scale)
	}
	first := make(map[tariff.Member]cover)
	for i := range rows {
		p := &rows[i]
		is := cover{p.Cover, p.Cap, p.Capped}
		if was, known := first[p.Member]; known && was != is {
			broken = append(broken, FormatError{
				Line: uint64(i) + 2, Column: 1, Field: "cover and cap",
				Found:    said(is),
				Expected: said(was) + ", as in the first row of " + p.Member.String(),
			})
			continue
		}
		first[p.Member] = is
	}
	return broken
}

// wholes names the rows of all counterparties and codes to which a member's other rows of the
// model do not come.
func wholes(rows []Position, scale int) (broken []FormatError) {
	type position struct {
		member tariff.Member
		model  netting.Model
	}
	type gross struct{ pay, receive Sum }
	parts := make(map[position]gross)
	for i := range rows {
		if p := &rows[i]; p.Counterparty != 0 && p.Code != 0 {
			of := position{p.Member, p.Model}
			parts[of] = gross{parts[of].pay.plus(p.Pay), parts[of].receive.plus(p.Receive)}
		}
	}
	for i := range rows {
		p := &rows[i]
		if !p.Whole() {
			continue
		}
		want := parts[position{p.Member, p.Model}]
		if is := (gross{SumOf(p.Pay), SumOf(p.Receive)}); is != want {
			broken = append(broken, FormatError{
				Line: uint64(i) + 2, Column: 1, Field: "pay and receive",
				Found:    is.pay.Decimal(scale) + ", " + is.receive.Decimal(scale),
				Expected: want.pay.Decimal(scale) + ", " + want.receive.Decimal(scale) + ", the sums of the rows of " + p.Member.String() + " by counterparty and code",
			})
		}
	}
	return broken
}
