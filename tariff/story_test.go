package tariff_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// The stories in testdata are read by people: rates and fees, then items and what they
// make whom owe. Times are of one day; rates and fees are approved at 00:00 unless they
// say otherwise.
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, stories)
	for _, story := range stories {
		t.Run(filepath.Base(story), func(t *testing.T) {
			s := &teller{rates: tariff.NewRates(), fees: tariff.NewFees()}
			datadriven.RunTest(t, story, func(t *testing.T, td *datadriven.TestData) string {
				return s.tell(t, td)
			})
		})
	}
}

type teller struct {
	rates *tariff.Rates
	fees  *tariff.Fees
}

func (s *teller) tell(t *testing.T, td *datadriven.TestData) string {
	var text strings.Builder
	switch td.Cmd {
	case "rates":
		for line := range strings.SplitSeq(td.Input, "\n") {
			fmt.Fprintln(&text, s.rate(t, words(t, line)))
		}
	case "in-force":
		w := words(t, fmt.Sprint(td.CmdArgs))
		rate := s.rates.At(points.ProgramID(w.number("programme")), w.side(), w.time("at"))
		if rate == nil {
			return "none"
		}
		fmt.Fprintf(&text, "version %d: %d/%d", rate.Version, rate.Num, rate.Den)
	case "fees":
		var rows []tariff.FeeRow
		for line := range strings.SplitSeq(td.Input, "\n") {
			rows = append(rows, words(t, line).row())
		}
		w := words(t, fmt.Sprint(td.CmdArgs))
		schedule, err := s.fees.Next(w.time("from"), rows, "ann", "bob", w.time("approved"))
		if err != nil {
			return err.Error()
		}
		require.NoError(t, s.fees.Append(schedule))
		fmt.Fprintf(&text, "version %d, %d rows", schedule.Version, len(rows))
	case "item":
		s.item(&text, words(t, fmt.Sprint(td.CmdArgs)).item())
	default:
		t.Fatalf("%s: no command %q", td.Pos, td.Cmd)
	}
	return text.String()
}

func (s *teller) rate(t *testing.T, w word) string {
	rate, err := s.rates.Next(tariff.Terms{
		Program: points.ProgramID(w.number("programme")), Side: w.side(), From: w.time("from"),
		Num: uint64(w.number("num")), Den: uint64(w.number("den")), SpreadPPM: uint32(w.number("spread")),
	}, "ann", "bob", w.time("approved"))
	if err != nil {
		return err.Error()
	}
	require.NoError(t, s.rates.Append(rate))
	return fmt.Sprintf("%d %-5v version %d: %d/%d", rate.Program, rate.Side, rate.Version, rate.Num, rate.Den)
}

func (s *teller) item(text *strings.Builder, item tariff.Item) {
	var v tariff.Valuation
	if fault := tariff.Value(s.rates, s.fees, &item, &v); fault != tariff.OK {
		fmt.Fprintf(text, "exception: %v", fault)
		return
	}
	fmt.Fprintf(text, "value %s", v.Std.Decimal(4))
	if v.Rate != nil {
		fmt.Fprintf(text, " at version %d (%d/%d)", v.Rate.Version, v.Rate.Num, v.Rate.Den)
	}
	if v.Worth != 0 || v.Granted != 0 {
		fmt.Fprintf(text, "; granted %d of %d, worth %s", v.Granted, item.TargetProgram, v.Worth.Decimal(4))
	}
	fmt.Fprintf(text, "\n  %-9s %-9s %-4s %14s\n", "debtor", "creditor", "code", "amount")
	for _, leg := range v.Legs() {
		fmt.Fprintf(text, "  %-9v %-9v %-4v %14s\n", leg.Debtor, leg.Creditor, leg.Code, leg.Amount.Decimal(4))
	}
	fmt.Fprintf(text, "  %-9s %12s %12s %12s %10s %10s %12s\n", "sees", "std", "interchange", "fee", "VAT", "other", "net")
	seen := make(map[tariff.Member]bool)
	for _, m := range []tariff.Member{item.Issuer, item.Acquirer, item.Target, item.Payer, item.Payee} {
		if view := v.View(m); m != 0 && !seen[m] {
			seen[m] = true
			fmt.Fprintf(text, "  %-9v %12s %12s %12s %10s %10s %12s\n", m, view.Std.Decimal(4), view.Interchange.Decimal(4),
				view.SwitchFee.Decimal(4), view.VAT.Decimal(4), view.Other.Decimal(4), view.Net.Decimal(4))
		}
	}
}

// word is a line of a story: words, some of them with a value.
type word struct {
	t      *testing.T
	values map[string]string
}

func words(t *testing.T, line string) word {
	w := word{t, make(map[string]string)}
	for i, field := range strings.Fields(strings.Trim(line, "[]")) {
		key, value, found := strings.Cut(field, "=")
		if !found {
			key, value = strconv.Itoa(i), field
		}
		w.values[key] = value
	}
	return w
}

// number is the value of key, 0 where there is none.
func (w word) number(key string) int64 {
	if w.values[key] == "" {
		return 0
	}
	n, err := strconv.ParseInt(w.values[key], 10, 64)
	require.NoError(w.t, err, key)
	return n
}

// time is the value of key, an hour and minute of the day, with seconds and microseconds
// where they matter.
func (w word) time(key string) points.Timestamp {
	at := w.values[key]
	if at == "" {
		at = "00:00"
	}
	var hour, minutes, sec, micro points.Timestamp
	n, _ := fmt.Sscanf(at, "%d:%d:%d.%d", &hour, &minutes, &sec, &micro)
	require.GreaterOrEqual(w.t, n, 2, at)
	return dawn + (hour*60+minutes)*minute + sec*1_000_000 + micro
}

func (w word) member(key string) (m tariff.Member) {
	if text := w.values[key]; text != "" {
		require.NoError(w.t, m.UnmarshalText([]byte(text)), key)
	}
	return m
}

func (w word) kind(key string) (k tariff.Kind) {
	if text := w.values[key]; text != "" {
		require.NoError(w.t, k.UnmarshalText([]byte(text)), key)
	}
	return k
}

func (w word) side() (s tariff.Side) {
	require.NoError(w.t, s.UnmarshalText([]byte(w.values["side"])))
	return s
}

func (w word) row() tariff.FeeRow {
	row := tariff.FeeRow{
		Kind: w.kind("0"), Issuer: w.member("issuer"), Acquirer: w.member("acquirer"), MCC: uint16(w.number("mcc")),
		Program: points.ProgramID(w.number("programme")), InterchangePPM: uint32(w.number("interchange")), PPM: uint32(w.number("fee")),
		Fixed: points.Amount(w.number("fixed")), Min: points.Amount(w.number("min")), Max: points.Amount(w.number("max")), VATPPM: uint32(w.number("vat")),
	}
	for share := range strings.SplitSeq(w.values["shares"], ",") {
		who, weight, found := strings.Cut(share, ":")
		if !found {
			continue
		}
		n, err := strconv.ParseUint(weight, 10, 32)
		require.NoError(w.t, err)
		s := tariff.Share{Weight: uint32(n)}
		if s.Role.UnmarshalText([]byte(who)) != nil {
			require.NoError(w.t, s.Member.UnmarshalText([]byte(who)))
		}
		row.Shares = append(row.Shares, s)
	}
	return row
}

func (w word) item() tariff.Item {
	item := tariff.Item{
		Kind: w.kind("0"), Of: w.kind("of"), Issuer: w.member("issuer"), Acquirer: w.member("acquirer"), Target: w.member("target"),
		Payer: w.member("payer"), Payee: w.member("payee"), Program: points.ProgramID(w.number("programme")),
		TargetProgram: points.ProgramID(w.number("into")), MCC: uint16(w.number("mcc")), Amount: points.Amount(w.number("amount")),
		At: w.time("at"), Refunded: points.Amount(w.number("refunded")),
	}
	if item.Kind.Explicit() {
		item.Program = points.Standard
	}
	if item.Kind.Undoing() {
		item.OriginalAt = w.time("original")
	}
	return item
}
