package files

import (
	"fmt"
	"strconv"
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
	amount := func(a points.Amount) string { return string(s.appendAmount(nil, a)) }
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
	var account [64]byte
	for i := range s.Entries {
		name := s.Entries[i].appendAccount(account[:0])
		if !seen[string(name)] {
			seen[string(name)] = true
			dst = append(append(append(dst, "account "...), name...), '\n')
		}
	}
	line("")
	line("%v * opening position", s.Date)
	line("    assets:clearing  %s = %s", amount(s.Opening), amount(s.Opening))
	line("    equity:opening  %s", amount(-s.Opening))
	for i := range s.Entries {
		dst = s.appendTransaction(dst, &s.Entries[i])
	}
	line("")
	line("%v * closing position", s.Date)
	line("    assets:clearing  %s = %s", amount(0), amount(s.Closing))
	line("    equity:opening  %s", amount(0))
	return dst
}

// appendTransaction writes an entry: a member may have many thousands of them.
func (s *Statement) appendTransaction(dst []byte, e *Entry) []byte {
	dst = append(s.Date.Append(append(dst, '\n')), " * "...)
	dst = append(append(dst, e.Code...), " with "...)
	dst = append(e.Counterparty.Append(dst), "  ; "...)
	dst = append(strconv.AppendUint(dst, e.Items, 10), " items\n"...)
	if info := e.information(); info != "" {
		dst = append(append(append(dst, "    ; "...), journalText(info)...), '\n')
	}
	dst = s.appendAmount(append(dst, "    assets:clearing  "...), e.Amount)
	dst = append(e.appendAccount(append(dst, "\n    "...)), "  "...)
	return append(s.appendAmount(dst, -e.Amount), '\n')
}

// appendAmount writes an amount with its unit.
func (s *Statement) appendAmount(dst []byte, a points.Amount) []byte {
	return append(append(a.AppendDecimal(dst, s.Scale), ' '), s.Unit...)
}

// appendAccount writes where the other side of an entry is booked: fees are a cost or a
// gain, the rest is with the counterparty.
func (e *Entry) appendAccount(dst []byte) []byte {
	switch e.Code {
	case "ICF", "SWF", "VAT", "OTH", "RND":
		dst = append(append(append(dst, "expenses:"...), e.Code...), ':')
		return e.Counterparty.Append(dst)
	}
	dst = append(e.Counterparty.Append(append(dst, "counterparty:"...)), ':')
	return append(dst, e.Code...)
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
