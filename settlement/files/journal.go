package files

import (
	"fmt"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// AppendJournal writes day.journal: the statement as a plain-text journal that hledger
// reads and checks. Every entry is a transaction of two postings, and the closing
// position is asserted, so that a digit that is altered is noticed (hledger check).
// Beancount wants another syntax (accounts opened, names in quotes); one file cannot be
// both.
func AppendJournal(dst []byte, s *Statement) []byte {
	line := func(format string, args ...any) { dst = fmt.Appendf(dst, format+"\n", args...) }
	amount := func(a points.Amount) string { return a.Decimal(s.Scale) + " " + s.Unit }
	line("; %s, %v, cycle %02d: positions of %08d %s", journalText(s.Operator), s.Date, s.Cycle, uint32(s.Member), journalText(s.Name))
	line("")
	whole := "1000"
	if s.Scale > 0 {
		whole += "." + strings.Repeat("0", s.Scale)
	} else {
		whole += "."
	}
	line("commodity %s %s", whole, s.Unit)
	line("account assets:clearing")
	line("account equity:opening")
	seen := make(map[string]bool)
	for i := range s.Entries {
		if account := s.Entries[i].account(); !seen[account] {
			seen[account] = true
			line("account %s", account)
		}
	}
	line("")
	line("%v * opening position", s.Date)
	line("    assets:clearing  %s = %s", amount(s.Opening), amount(s.Opening))
	line("    equity:opening  %s", amount(-s.Opening))
	for i := range s.Entries {
		e := &s.Entries[i]
		line("")
		line("%v * %s with %s  ; %d items", s.Date, e.Code, e.Counterparty, e.Items)
		if info := e.information(); info != "" {
			line("    ; %s", journalText(info))
		}
		line("    assets:clearing  %s", amount(e.Amount))
		line("    %s  %s", e.account(), amount(-e.Amount))
	}
	line("")
	line("%v * closing position", s.Date)
	line("    assets:clearing  %s = %s", amount(0), amount(s.Closing))
	line("    equity:opening  %s", amount(0))
	return dst
}

// account is where the other side of an entry is booked: fees are a cost or a gain, the
// rest is with the counterparty.
func (e *Entry) account() string {
	switch e.Code {
	case "ICF", "SWF", "VAT", "OTH", "RND":
		return fmt.Sprintf("expenses:%s:%s", e.Code, e.Counterparty)
	}
	return fmt.Sprintf("counterparty:%s:%s", e.Counterparty, e.Code)
}

// journalText keeps a name on its line.
func journalText(text string) string {
	return strings.Map(func(r rune) rune {
		if r == ';' || r == '|' {
			return ','
		}
		return r
	}, points.Escaped(text))
}
