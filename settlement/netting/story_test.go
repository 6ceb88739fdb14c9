package netting_test

import (
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// The stories in testdata are read by people: members and models, the items of a cycle,
// and who owes whom in the end. Programme 900 is worth 1/1 and 901 worth 3/2 all day, and
// redemptions cost 1 %, 6 % VAT in it.
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, stories)
	for _, story := range stories {
		t.Run(filepath.Base(story), func(t *testing.T) {
			c := newClerk()
			datadriven.RunTest(t, story, func(t *testing.T, td *datadriven.TestData) string {
				var text strings.Builder
				if err := c.tell(&text, td); err != nil {
					return err.Error()
				}
				return text.String()
			})
		})
	}
}

// clerk keeps what a story has said so far.
type clerk struct {
	rates  *tariff.Rates
	fees   *tariff.Fees
	roll   *netting.Roll
	models *netting.Models
	fold   *netting.Fold
	items  []tariff.Item
}

func newClerk() *clerk {
	c := &clerk{rates: tariff.NewRates(), fees: tariff.NewFees()}
	for i, worth := range [][2]uint64{{1, 1}, {3, 2}} {
		for side := tariff.Clear; side <= tariff.Sell; side++ {
			terms := tariff.Terms{Program: points.ProgramID(900 + i), Side: side, From: dawn + 10*minute, Num: worth[0], Den: worth[1]}
			if err := c.rates.Append(must(c.rates.Next(terms, "ann", "bob", dawn))); err != nil {
				panic(err)
			}
		}
	}
	rows := []tariff.FeeRow{{Kind: tariff.KindRDM, PPM: 10_000, VATPPM: 60_000}, {Kind: tariff.KindEAR}, {Kind: tariff.KindSWP}}
	if err := c.fees.Append(must(c.fees.Next(dawn+10*minute, rows, "ann", "bob", dawn))); err != nil {
		panic(err)
	}
	return c
}

func (c *clerk) tell(text *strings.Builder, td *datadriven.TestData) (err error) {
	var lines [][]string
	for line := range strings.SplitSeq(td.Input, "\n") {
		if fields := strings.Fields(line); len(fields) > 0 {
			lines = append(lines, fields)
		}
	}
	switch td.Cmd {
	case "members":
		var parties []netting.Party
		for _, line := range lines {
			parties = append(parties, netting.Party{Member: member(line[0]), Class: class(line[1])})
		}
		c.roll, err = netting.NewRoll(parties)
	case "models":
		var rules []netting.Rule
		for _, line := range lines {
			rule := netting.Rule{One: class(line[1]), Other: class(line[2])}
			if line[0] != "*" {
				err = rule.Kind.UnmarshalText([]byte(line[0]))
			}
			if err == nil {
				err = rule.Model.UnmarshalText([]byte(line[3]))
			}
			if err != nil {
				return err
			}
			rules = append(rules, rule)
		}
		c.models, err = netting.NewModels(2, rules)
	case "cycle":
		return c.cycle(text, lines)
	case "positions":
		show(text, c.fold.Positions())
	case "totals":
		show(text, c.fold.Totals())
	case "of":
		show(text, c.fold.Of(member(td.CmdArgs[0].Key)))
	case "instructions":
		for i := range c.fold.Instructions() {
			fmt.Fprintf(text, "%-5v %-10v pays %-10v %14s\n", i.Model, i.Payer, i.Payee, i.Amount.Decimal(4))
		}
	case "largest-debtor":
		return c.exposures(text, lines)
	case "default":
		return c.waterfall(text, td, lines)
	case "unwind":
		return c.unwind(text, member(td.CmdArgs[0].Key))
	default:
		return fmt.Errorf("no command %q", td.Cmd)
	}
	return err
}

func (c *clerk) cycle(text *strings.Builder, lines [][]string) (err error) {
	if c.fold, err = netting.NewFold(c.roll, c.models); err != nil {
		return err
	}
	c.items = nil
	for _, line := range lines {
		item := tariff.Item{At: dawn + hour, Program: points.ProgramID(number(line[3])), Amount: number(line[4])}
		if err := item.Kind.UnmarshalText([]byte(line[0])); err != nil {
			return err
		}
		switch {
		case item.Kind.Explicit():
			item.Payer, item.Payee = member(line[1]), member(line[2])
		case item.Kind == tariff.KindSWP:
			item.Issuer, item.Target, item.TargetProgram = member(line[1]), member(line[2]), points.ProgramID(number(line[5]))
		default:
			item.Issuer, item.Acquirer = member(line[1]), member(line[2])
		}
		if item.Kind.Undoing() {
			item.Of, item.OriginalAt = tariff.KindRDM, item.At
		}
		c.items = append(c.items, item)
	}
	c.foldInto(text, c.fold)
	counts := c.fold.Counts()
	fmt.Fprintf(text, "%d items, %d on-us, %d legs\n", counts.Items, counts.OnUs, counts.Legs)
	return c.fold.Check()
}

func (c *clerk) foldInto(text *strings.Builder, f *netting.Fold) {
	var v tariff.Valuation
	for i := range c.items {
		fault := tariff.Value(c.rates, c.fees, &c.items[i], &v)
		if fault == tariff.OK {
			fault = f.Add(&c.items[i], &v)
		}
		if fault != tariff.OK {
			fmt.Fprintf(text, "item %d: exception: %v\n", i+1, fault)
		}
	}
}

func (c *clerk) exposures(text *strings.Builder, lines [][]string) error {
	var covers []netting.Cover
	for _, line := range lines {
		covers = append(covers, netting.Cover{
			Member: member(line[0]), Prefund: number(line[1]), PrefundHaircut: uint32(number(line[2])), Collateral: number(line[3]), CollateralHaircut: uint32(number(line[4])),
		})
	}
	exposures, err := c.fold.Exposures(covers)
	for _, e := range exposures {
		fmt.Fprintf(text, "%v owes %14s  cover %14s  short %14s\n", e.Member, e.Debt.Decimal(4), e.Cover.Decimal(4), e.Shortfall.Decimal(4))
	}
	return err
}

func (c *clerk) waterfall(text *strings.Builder, td *datadriven.TestData, lines [][]string) error {
	value := func(key string) points.Amount {
		for _, arg := range td.CmdArgs {
			if arg.Key == key {
				return number(arg.Vals[0])
			}
		}
		return 0
	}
	d := netting.Default{
		Member: member(td.CmdArgs[0].Key), Debt: value("debt"), Prefund: value("prefund"), Collateral: value("collateral"), Fund: value("fund"),
	}
	for _, line := range lines {
		d.Limits = append(d.Limits, netting.Limit{Member: member(line[0]), Granted: number(line[1])})
	}
	loss, err := netting.Waterfall(d)
	if err != nil {
		return err
	}
	fmt.Fprintf(text, "prefund %s, collateral %s, fund %s\n", loss.Prefund.Decimal(4), loss.Collateral.Decimal(4), loss.Fund.Decimal(4))
	for _, share := range loss.Shares {
		fmt.Fprintf(text, "%v bears %12s\n", share.Member, share.Amount.Decimal(4))
	}
	fmt.Fprintf(text, "open %s\n", loss.Open.Decimal(4))
	return nil
}

func (c *clerk) unwind(text *strings.Builder, defaulter tariff.Member) error {
	without, err := netting.NewUnwinding(c.roll, c.models, defaulter)
	if err != nil {
		return err
	}
	c.foldInto(text, without)
	fmt.Fprintf(text, "%d items, %d left out\n", without.Counts().Items, without.Counts().LeftOut)
	for d := range netting.Differences(c.fold, without) {
		fmt.Fprintf(text, "%-5v %-9v %-9v %-4v %14s -> %14s  %14s\n", d.After.Model, d.After.Member, d.After.Counterparty, d.After.Code,
			d.Before.Net().Decimal(4), d.After.Net().Decimal(4), d.Delta().Decimal(4))
	}
	return without.Check()
}

func show(text *strings.Builder, positions iter.Seq[netting.Position]) {
	fmt.Fprintf(text, "%-5s %-9s %-9s %-4s %5s %14s %14s %14s\n", "model", "member", "with", "code", "items", "pay", "receive", "net")
	for p := range positions {
		fmt.Fprintf(text, "%-5v %-9v %-9v %-4v %5d %14s %14s %14s\n", p.Model, p.Member, p.Counterparty, p.Code, p.Items,
			p.Pay.Decimal(4), p.Receive.Decimal(4), p.Net().Decimal(4))
	}
}

func member(s string) (m tariff.Member) {
	if err := m.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return m
}

func class(s string) netting.Class {
	if s == "*" {
		return netting.Any
	}
	return netting.Class(number(s))
}

func number(s string) points.Amount { return points.Amount(must(strconv.ParseInt(s, 10, 64))) }
