package router

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// ParseTender reads the terms on which programmes pay for a sale together, in order:
// three points of 902 pay for two of the sale, one of 901 for one.
//
//	901, 902:3/2
func ParseTender(text string) ([]book.TenderTerm, error) {
	var terms []book.TenderTerm
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		program, rate, rated := strings.Cut(strings.TrimSpace(item), ":")
		term := book.TenderTerm{Points: 1, Per: 1}
		id, err := strconv.ParseUint(program, 10, 16)
		if err != nil || !points.ProgramID(id).Valid() {
			return nil, fmt.Errorf("tender %q: programme %q, want a number from %d to %d", text, program, points.MinProgram, points.MaxProgram)
		}
		term.Program = points.ProgramID(id)
		if rated {
			paid, per, _ := strings.Cut(rate, "/")
			a, errA := strconv.ParseUint(paid, 10, 32)
			b, errB := strconv.ParseUint(per, 10, 32)
			if errA != nil || errB != nil || a == 0 || b == 0 {
				return nil, fmt.Errorf("tender %q: rate %q, want points/amount, such as 3/2", text, rate)
			}
			term.Points, term.Per = uint32(a), uint32(b)
		}
		terms = append(terms, term)
	}
	if len(terms) > book.MaxTender {
		return nil, fmt.Errorf("tender %q: more than %d programmes", text, book.MaxTender)
	}
	return terms, nil
}

// FormatTender writes terms as [ParseTender] reads them.
func FormatTender(terms []book.TenderTerm) string {
	items := make([]string, len(terms))
	for i, t := range terms {
		items[i] = strconv.Itoa(int(t.Program))
		if t.Points != 1 || t.Per != 1 {
			items[i] += fmt.Sprintf(":%d/%d", t.Points, t.Per)
		}
	}
	return strings.Join(items, ", ")
}
