package book

import (
	"math"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// looking is a way that no freeze forbids: it asks who somebody is as strictly as
// for spending, and moves nothing.
const looking Freeze = 1 << 7

// subject is whose points a command is about.
type subject struct {
	member  *member
	program *Program
	account *account // nil: the member has none in the programme
}

// participants checks who brings the command. The switch has done so before; the
// book is safe without it. A command may leave out terminal, or terminal and
// merchant (a partner's system), or all three (the house itself).
func (b *Book) participants(cmd *Command) points.Reason {
	if cmd.Terminal != (points.TerminalID{}) {
		terminal, ok := b.live.Terminals[cmd.Terminal]
		switch {
		case !ok:
			return points.UnknownTerminal
		case terminal.Status != Active:
			return points.TerminalBlocked
		case terminal.Merchant != cmd.Merchant:
			return points.UnknownMerchant
		}
	}
	if cmd.Merchant != (points.MerchantID{}) {
		merchant, ok := b.live.Merchants[cmd.Merchant]
		switch {
		case !ok:
			return points.UnknownMerchant
		case merchant.Status != Active:
			return points.MerchantBlocked
		case merchant.Acquirer != cmd.Acquirer:
			return points.ForeignIdentity
		}
	}
	if cmd.Acquirer != 0 {
		acquirer, ok := b.live.Acquirers[cmd.Acquirer]
		switch {
		case !ok:
			return points.ForeignIdentity
		case acquirer.Status != Active:
			return points.AcquirerSuspended
		}
	}
	return points.Approved
}

// opened checks that there is a business date to book in.
func (b *Book) opened() points.Reason {
	if b.date == 0 {
		return points.ProgramClosed
	}
	return points.Approved
}

func validAmount(a points.Amount) points.Reason {
	if a <= 0 || a > points.MaxAmount {
		return points.BadAmount
	}
	return points.Approved
}

// admit is the ordered list of checks before points move at a merchant
// (messages.md 10.3): participants, amount, card, member, programme, account.
// way is the freeze that would forbid it. The caller goes on with limits.
func (b *Book) admit(cmd *Command, way Freeze, out *Outcome) (subject, points.Reason, error) {
	if s, ok, err := b.admittedThen(cmd, out); ok || err != nil {
		return s, points.Approved, err
	}
	if reason := b.participants(cmd); !reason.Approved() {
		return subject{}, reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return subject{}, reason, nil
	}
	if reason := validAmount(cmd.Amount); !reason.Approved() {
		return subject{}, reason, nil
	}
	return b.subject(cmd, way, out)
}

// subject finds member, programme and account, and checks that they take part.
// Only for an earn (way FreezeCredit alone) may the account be missing, when the
// programme opens it.
func (b *Book) subject(cmd *Command, way Freeze, out *Outcome) (s subject, reason points.Reason, err error) {
	if s.member, reason, err = b.holder(cmd.Card, cmd.Member, way); err != nil || !reason.Approved() {
		return s, reason, err
	}
	out.Member = s.member.ID
	program, reason := b.chooseProgram(cmd, s.member)
	if !reason.Approved() {
		return s, reason, nil
	}
	if s.program, reason = b.programAt(cmd.Merchant, program); !reason.Approved() {
		return s, reason, nil
	}
	out.Program, out.Issuer = s.program.ID, s.program.Issuer
	s.account, err = b.accountIn(s.member, program)
	if err != nil {
		return s, 0, err
	}
	if s.account == nil {
		if cmd.Kind == KindEarn && s.program.Rules.OpenOnEarn {
			return s, points.Approved, nil
		}
		return s, points.UnknownAccount, nil
	}
	b.shown = s.account
	switch {
	case s.account.status == Closed:
		return s, points.AccountClosed, nil
	case s.account.freeze&way != 0:
		return s, points.AccountFrozen, nil
	}
	return s, points.Approved, nil
}

// holder finds the member behind a card, or the one named, and checks both. way
// 0 is for commands that give back or only look: they work on a card or member
// that may not spend.
func (b *Book) holder(token points.CardToken, id points.MemberID, way Freeze) (m *member, reason points.Reason, err error) {
	if !token.IsZero() {
		var c *card
		if c, err = b.findCard(token); err != nil {
			return nil, 0, err
		}
		if c == nil || (id != 0 && id != c.Member) {
			return nil, points.UnknownCard, nil
		}
		if reason := c.usable(b.date); way != 0 && !reason.Approved() {
			return nil, reason, nil
		}
		m, err = b.ownerOf(c)
	} else if id == 0 {
		return nil, points.UnknownCard, nil
	} else {
		m, err = b.findMember(id)
	}
	if err != nil {
		return nil, 0, err
	}
	switch {
	case m == nil:
		return nil, points.UnknownMember, nil
	case way == 0:
		return m, points.Approved, nil
	case m.Status == Closed:
		return nil, points.MemberClosed, nil
	case m.Status != Active || m.Freeze&way != 0:
		return nil, points.MemberFrozen, nil
	}
	return m, points.Approved, nil
}

// usable checks a card's own state. A card is good through the month of its
// expiry (ISO/IEC 7813).
func (c *card) usable(date points.BusinessDate) points.Reason {
	switch c.Status {
	case Active:
	case Lost:
		return points.CardLost
	case Stolen:
		return points.CardStolen
	case Dormant:
		return points.CardDormant
	case Suspended, Closed:
		return points.CardBlocked
	default:
		return points.CardBlocked
	}
	if c.Expiry != 0 && uint32(date/100%10000) > c.Expiry {
		return points.CardExpired
	}
	return points.Approved
}

// chooseProgram returns the programme named, else the first in the merchant's
// order in which the member has an open account, else (for an earn) the first
// that opens accounts by itself. Without a merchant it is the member's first. It is
// never one of tier-qualifying points, which have to be asked for.
func (b *Book) chooseProgram(cmd *Command, m *member) (points.ProgramID, points.Reason) {
	if cmd.Program != 0 {
		return cmd.Program, points.Approved
	}
	order := m.programs
	if merchant, ok := b.live.Merchants[cmd.Merchant]; ok {
		order = merchant.Programs
	}
	for _, program := range order {
		if slices.Contains(m.programs, program) && !b.live.Programs[program].Rules.Qualifying {
			return program, points.Approved
		}
	}
	if cmd.Kind == KindEarn {
		for _, id := range order {
			if program, ok := b.live.Programs[id]; ok && program.Rules.OpenOnEarn && !program.Rules.Qualifying {
				return id, points.Approved
			}
		}
	}
	return 0, points.UnknownAccount
}

// programAt checks that a programme is open, and accepted at the merchant where
// there is one.
func (b *Book) programAt(at points.MerchantID, id points.ProgramID) (*Program, points.Reason) {
	program, ok := b.live.Programs[id]
	if !ok {
		return nil, points.UnknownProgram
	}
	if program.Status != Active {
		return nil, points.ProgramClosed
	}
	if issuer, ok := b.live.Issuers[program.Issuer]; !ok || issuer.Status != Active {
		return nil, points.IssuerSuspended
	}
	if merchant, ok := b.live.Merchants[at]; ok && !slices.Contains(merchant.Programs, id) {
		return nil, points.ProgramNotHere
	}
	return program, points.Approved
}

// spending checks the programme's limits on redeeming amount.
func (a *account) spending(rules *ProgramRules, amount points.Amount, date points.BusinessDate) points.Reason {
	day := a.today(date)
	switch {
	case rules.MaxAmount > 0 && amount > rules.MaxAmount:
		return points.OverAmountLimit
	case rules.MaxRedeemDay > 0 && (amount > rules.MaxRedeemDay || day.redeemed > rules.MaxRedeemDay-amount):
		return points.OverAmountLimit
	case rules.MaxRedeemCnt > 0 && day.redemption >= rules.MaxRedeemCnt:
		return points.OverCountLimit
	}
	return points.Approved
}

// today is what was counted on date.
func (a *account) today(date points.BusinessDate) dayCount {
	if a.day.date != date {
		return dayCount{date: date}
	}
	return a.day
}

// countRedeemed counts amount and one redemption on date; both may be negative:
// what is undone on the date of the original does not count.
func (a *account) countRedeemed(date points.BusinessDate, amount points.Amount, redemptions int) {
	day := a.today(date)
	day.redeemed = max(0, saturated(day.redeemed, amount))
	if redemptions >= 0 {
		day.redemption += uint32(redemptions) //nolint:gosec // 0 or 1.
	} else if day.redemption > 0 {
		day.redemption--
	}
	a.day = day
}

// saturated is a+b, or the largest amount where that does not fit: a count for
// limits stays above every limit then.
func saturated(a, b points.Amount) points.Amount {
	if sum, ok := a.Add(b); ok {
		return sum
	}
	return math.MaxInt64
}

// points51 tells why amount is not there: it lapsed, or it never was.
func (a *account) points51(amount points.Amount, date points.BusinessDate) points.Reason {
	held := a.spendable(date)
	if held >= amount {
		return points.Approved
	}
	for i := range a.lots {
		if a.lots[i].key.lapsed(date) {
			held += a.lots[i].amount
		}
	}
	if held >= amount {
		return points.PointsExpired
	}
	return points.NotEnoughPoints
}
