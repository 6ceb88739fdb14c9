package settlement_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// goldenItem is what a case is looked for in: an item of the golden day, what its lines say,
// and its record.
type goldenItem struct {
	item  book.ClearingItem
	entry settlement.Entry
	rec   book.Record
	cut   settlement.Cut
	legs  int // items of the same record
	value tariff.Valuation
	fault tariff.Fault
}

// of reports whether an item is of a kind, and undoes one of another; 0: of any.
func (g *goldenItem) of(kind, original tariff.Kind) bool {
	return g.item.Kind == kind && (original == 0 || g.item.Of == original)
}

// earlier reports whether what an item undoes is of a date that is over.
func (g *goldenItem) earlier() bool {
	return g.item.Root != 0 && g.item.RootDate < g.item.Date && g.entry.Line.OriginalDate == g.item.RootDate && g.entry.Line.Original != 0
}

// today reports whether what an item undoes is of its own date and cycle.
func (g *goldenItem) today() bool {
	return g.item.Root != 0 && g.item.RootDate == g.item.Date && g.item.RootCycle == g.item.Cycle
}

// tender reports whether an item is of a sale that several programmes paid.
func (g *goldenItem) tender(kind tariff.Kind) bool { return g.item.Kind == kind && g.legs > 1 }

// part reports whether an item takes back less than all.
func (g *goldenItem) part() bool {
	return g.item.Root != 0 && g.item.Amount < 0 && -g.item.Amount < g.item.Whole
}

// version is that of the rate by which an item is valued; 0: by none.
func (g *goldenItem) version() uint32 {
	if g.value.Rate == nil {
		return 0
	}
	return g.value.Rate.Version
}

// ruleCases are the cases of the specification's table of items (1.3).
func ruleCases() map[string]func(*goldenItem) bool {
	return map[string]func(*goldenItem) bool{
		"redemption":                     func(g *goldenItem) bool { return g.of(tariff.KindRDM, 0) },
		"earn":                           func(g *goldenItem) bool { return g.of(tariff.KindEAR, 0) },
		"swap, with its quote's figures": func(g *goldenItem) bool { return g.of(tariff.KindSWP, 0) && g.item.Quoted != tariff.Swap{} },
		"swap, with a rest for ROUND":    func(g *goldenItem) bool { return g.of(tariff.KindSWP, 0) && g.value.Rest > 0 },
		"reversal of a redemption":       func(g *goldenItem) bool { return g.of(tariff.KindRVS, tariff.KindRDM) && g.item.Amount < 0 },
		"reversal of a void or refund":   func(g *goldenItem) bool { return g.of(tariff.KindRVS, tariff.KindRDM) && g.item.Amount > 0 },
		"reversal of an earn":            func(g *goldenItem) bool { return g.of(tariff.KindRVS, tariff.KindEAR) },
		"reversal of a swap":             func(g *goldenItem) bool { return g.of(tariff.KindRVS, tariff.KindSWP) },
		"reversal of a part":             func(g *goldenItem) bool { return g.of(tariff.KindRVS, tariff.KindRDM) && g.part() },
		"refund of a part":               func(g *goldenItem) bool { return g.of(tariff.KindRFD, 0) && g.part() && g.item.Refunded == 0 },
		"refund of the rest": func(g *goldenItem) bool {
			return g.item.Kind == tariff.KindRFD && g.item.Refunded > 0 && g.item.Refunded-g.item.Amount == g.item.Whole
		},
		"chargeback":               func(g *goldenItem) bool { return g.of(tariff.KindCBK, 0) },
		"chargeback of a part":     func(g *goldenItem) bool { return g.of(tariff.KindCBK, 0) && g.part() },
		"re-presentment":           func(g *goldenItem) bool { return g.of(tariff.KindREP, 0) && g.item.Amount == g.item.Refunded },
		"re-presentment of a part": func(g *goldenItem) bool { return g.of(tariff.KindREP, 0) && g.item.Amount < g.item.Refunded },
		"adjustment between members": func(g *goldenItem) bool {
			return g.of(tariff.KindADJ, 0) && g.item.Payer.Institution() && g.item.Payee.Institution()
		},
		"adjustment with an account": func(g *goldenItem) bool { return g.of(tariff.KindADJ, 0) && g.item.Payer.Account() },
		"fee between members":        func(g *goldenItem) bool { return g.of(tariff.KindFEE, 0) && g.item.Payee.Institution() },
		"fee of the operator":        func(g *goldenItem) bool { return g.of(tariff.KindFEE, 0) && g.item.Payee.Account() },
		"item on us":                 func(g *goldenItem) bool { return g.item.OnUs() && len(g.value.Legs()) > 0 },
		"item on us, undone":         func(g *goldenItem) bool { return g.item.OnUs() && g.item.Root != 0 },
		"the least fee": func(g *goldenItem) bool {
			return g.of(tariff.KindRDM, 0) && g.value.Fee == 50 && g.value.Std*3/1000 < 50
		},
		"the least fee, given back": func(g *goldenItem) bool {
			return g.item.Kind == tariff.KindRFD && g.value.Fee == -50 && g.value.Std*3/1000 > -50
		},
		"a fee that others have a share of": func(g *goldenItem) bool {
			return slices.ContainsFunc(g.value.Legs(), func(l tariff.Leg) bool { return l.Code == tariff.CodeOTH })
		},
		"tender of two issuers":               func(g *goldenItem) bool { return g.tender(tariff.KindRDM) && g.item.Issuer == teaShop },
		"tender, one of the shop's own":       func(g *goldenItem) bool { return g.tender(tariff.KindRDM) && g.item.OnUs() },
		"tender, one elsewhere":               func(g *goldenItem) bool { return g.tender(tariff.KindRDM) && g.item.Issuer == ferry },
		"tender, a part back":                 func(g *goldenItem) bool { return g.tender(tariff.KindRFD) && g.part() && g.today() },
		"tender, the rest back, of yesterday": func(g *goldenItem) bool { return g.tender(tariff.KindRFD) && g.item.Refunded > 0 && g.earlier() },
		"tender, a leg elsewhere back": func(g *goldenItem) bool {
			return g.of(tariff.KindRFD, 0) && g.item.Issuer == ferry && len(g.rec.Outcome.Legs) == 0 && g.item.Member == 3
		},
		"tender, void":                    func(g *goldenItem) bool { return g.tender(tariff.KindRVS) && g.rec.Command.Kind == book.KindVoid },
		"tender, void reversed":           func(g *goldenItem) bool { return g.tender(tariff.KindRVS) && g.item.Amount > 0 },
		"tender, reversed behind the cut": func(g *goldenItem) bool { return g.tender(tariff.KindRVS) && g.earlier() },
		"flag L":                          func(g *goldenItem) bool { return g.entry.Line.Flags&files.FlagLate != 0 },
		"flag S":                          func(g *goldenItem) bool { return g.entry.Line.Flags&files.FlagStandIn != 0 },
		"flag M":                          func(g *goldenItem) bool { return g.entry.Line.Flags&files.FlagManual != 0 },
		"flag R":                          func(g *goldenItem) bool { return g.entry.Line.Flags&files.FlagRepresented != 0 },
	}
}

// dateCases are those of its table of dates (1.4), as far as an item shows them. That a repeat
// is not cleared again the story itself requires; what a member that cuts at another hour
// has in its files, package reconcile compares.
func dateCases() map[string]func(*goldenItem) bool {
	return map[string]func(*goldenItem) bool{
		"asked before the cut, decided behind it": func(g *goldenItem) bool {
			return g.item.Root == 0 && g.item.RRN < g.cut.First && g.item.At >= g.cut.Began
		},
		"tender asked before the cut, decided behind it": func(g *goldenItem) bool { return g.tender(tariff.KindRDM) && g.item.RRN < g.cut.First },
		"held before the cut, completed behind it": func(g *goldenItem) bool {
			return g.rec.Command.Kind == book.KindCapture && g.rec.Outcome.Original < g.cut.First && g.item.At >= noon() && g.version() == 2
		},
		"locked before the cut, swapped behind it": func(g *goldenItem) bool { return g.of(tariff.KindSWP, 0) && g.rec.Outcome.Original < g.cut.First },
		"reversal, the original's date open":       func(g *goldenItem) bool { return g.item.Kind == tariff.KindRVS && g.today() },
		"reversal, the original's date closed":     func(g *goldenItem) bool { return g.item.Kind == tariff.KindRVS && g.earlier() },
		"undone at the original's rate, not today's": func(g *goldenItem) bool {
			return g.item.Kind.Undoing() && g.item.At >= noon() && g.item.OriginalAt < noon() && g.item.Program == miles && g.version() == 1
		},
		"late advice, at the rate of when it was sent": func(g *goldenItem) bool {
			return g.item.Late && g.item.At < noon() && g.rec.Outcome.Posted >= noon() && g.fault == tariff.OK && g.entry.Why == ""
		},
		"late advice of more than 30 days: exception": func(g *goldenItem) bool { return g.entry.Why == "TOO_LATE" && g.item.Root == 0 },
		"what undoes one: exception":                  func(g *goldenItem) bool { return g.entry.Why == "TOO_LATE" && g.item.Root != 0 },
		"late advice, no rate when it was sent":       func(g *goldenItem) bool { return g.item.Late && g.entry.Why == "" && g.fault == tariff.NoRate },
		"no row of fees: exception":                   func(g *goldenItem) bool { return g.fault == tariff.NoFeeRow },
		"refund without original: exception":          func(g *goldenItem) bool { return g.entry.Why == "ORIGINAL_UNKNOWN" && g.entry.Declined },
		"stand-in":                                    func(g *goldenItem) bool { return g.item.StandIn },
		"resolved by an operator":                     func(g *goldenItem) bool { return g.rec.Command.Kind == book.KindResolve },
		"chargeback, of yesterday's, today":           func(g *goldenItem) bool { return g.item.Kind == tariff.KindCBK && g.earlier() },
		"adjustment about something of a date that is over": func(g *goldenItem) bool {
			return g.item.Kind == tariff.KindADJ && g.entry.Line.Original != 0 && g.entry.Line.Original < uint64(g.cut.First)
		},
	}
}

// The golden day has every kind of item, at least three times; every case of the
// specification's tables; every code of a leg; lines in a file of every role; and what the
// cases say is so of some item of it.
func TestGoldenDayHasEveryCase(t *testing.T) {
	s := tell(t)
	tellGolden(s)
	cut, list := s.goldenItems()
	kinds, codes := map[tariff.Kind]int{}, map[tariff.Code]int{}
	cases := ruleCases()
	maps.Copy(cases, dateCases())
	missing := maps.Clone(cases)
	for i := range list {
		g := &list[i]
		if g.fault == tariff.OK && g.entry.Why == "" {
			kinds[g.item.Kind]++
		}
		for _, leg := range g.value.Legs() {
			codes[leg.Code]++
		}
		maps.DeleteFunc(missing, func(_ string, is func(*goldenItem) bool) bool { return is(g) })
	}
	require.Empty(t, slices.Sorted(maps.Keys(missing)), "cases that the golden day has not")
	for kind := tariff.KindRDM; int(kind) < tariff.Kinds; kind++ {
		require.GreaterOrEqual(t, kinds[kind], 3, "items of kind %v", kind)
	}
	for code := tariff.CodeRDM; int(code) < tariff.Codes; code++ {
		require.Positive(t, codes[code], "legs of code %v", code)
	}
	s.goldenRest(cut)
}

// goldenItems reads what the golden day clears.
func (s *story) goldenItems() (cut settlement.Cut, list []goldenItem) {
	s.t.Helper()
	cut, err := s.house().Cut(dayTwo, 1)
	require.NoError(s.t, err)
	setting, err := s.house().Setting(s.t.Context())
	require.NoError(s.t, err)
	read := func(position points.Position, rec *book.Record) (err error) {
		*rec, err = s.ledger.Record(position)
		return err
	}
	var entries []settlement.Entry
	require.NoError(s.t, s.house().Entries(s.t.Context(), cut.First, cut.Last, func(e *settlement.Entry) error {
		entries = append(entries, *e)
		return nil
	}))
	clearing := book.NewClearing(read)
	for position := cut.First; position <= cut.Last; position++ {
		var rec book.Record
		require.NoError(s.t, read(position, &rec))
		items, err := clearing.Items(&rec)
		require.NoError(s.t, err)
		for i := range items {
			g := goldenItem{item: items[i], entry: entries[len(list)], rec: rec, cut: cut, legs: len(items)}
			g.fault = tariff.Value(setting.Rates, setting.Fees, &g.item.Item, &g.value)
			list = append(list, g)
		}
	}
	require.Len(s.t, entries, len(list))
	return cut, list
}

// goldenRest looks at what no item shows: holds that nobody completed and what is declined
// clear nothing, a hold expires, and members have lines in files of every role.
func (s *story) goldenRest(cut settlement.Cut) {
	s.t.Helper()
	seen := map[book.Kind]bool{}
	declined := false
	require.NoError(s.t, s.ledger.Scan(s.t.Context(), cut.First, cut.Last, func(rec *book.Record) error {
		seen[rec.Command.Kind] = true
		declined = declined || (rec.Command.Kind == book.KindRedeem && !rec.Outcome.Reason.Approved())
		return nil
	}))
	for _, kind := range []book.Kind{book.KindHold, book.KindForward, book.KindOwe, book.KindGiveUp, book.KindQuote, book.KindSwapLock, book.KindSwapCancel} {
		require.True(s.t, seen[kind], "%v", kind)
	}
	require.True(s.t, declined)
	expired, last := false, cut.Last
	require.NoError(s.t, s.ledger.View(s.t.Context(), func(b *book.Book) error { last = b.Position(); return nil }))
	require.NoError(s.t, s.ledger.Scan(s.t.Context(), cut.Last, last, func(rec *book.Record) error {
		expired = expired || (rec.Command.Kind == book.KindExpireHolds && rec.Outcome.Amount > 0)
		return nil
	}))
	require.True(s.t, expired, "a hold that expires")
	for _, role := range []string{"A", "I", "T", "S"} {
		lines := 0
		for name, text := range tree(s.t, filepath.Join("testdata", "story")) {
			if strings.Contains(name, "_DET_") && strings.Contains(name, "_"+role+"_") && strings.HasSuffix(name, ".txt") {
				lines += strings.Count(text, "\nTX ")
			}
		}
		require.Positive(s.t, lines, "lines in files of role %s", role)
	}
}
