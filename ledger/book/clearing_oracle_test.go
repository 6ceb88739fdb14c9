package book_test

import (
	"maps"
	"math/big"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// What everything is worth in tests: numerator and denominator.
var worth = map[points.ProgramID][2]int64{air: {3, 7}, inn: {2, 1}, farMiles: {5, 3}}

// price are the fees of tests: parts per million, smallest units.
type price struct{ interchange, ppm, fixed, least, most, vat int64 }

var prices = map[tariff.Kind]price{
	tariff.KindRDM: {interchange: 5_000, ppm: 30_000, fixed: 1, least: 2, most: 40, vat: 60_000},
	tariff.KindEAR: {interchange: 0, ppm: 20_000, fixed: 0, least: 1, most: 0, vat: 60_000},
}

// rated puts rates and fees in force, by two persons, as the first thing that happens.
func (d *desk) rated(programs ...points.ProgramID) {
	d.tb.Helper()
	from := d.now + 2*tariff.LeadTime
	for _, program := range programs {
		d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{
			Program: program, Side: tariff.Clear, From: from, Num: uint64(worth[program][0]) * 5, Den: uint64(worth[program][1]) * 5,
		}}}})
	}
	if d.book.Registry().Fees == nil {
		fees := &tariff.Schedule{From: from}
		for _, kind := range []tariff.Kind{tariff.KindRDM, tariff.KindEAR} {
			p := prices[kind]
			fees.Rows = append(fees.Rows, tariff.FeeRow{
				Kind: kind, InterchangePPM: uint32(p.interchange), PPM: uint32(p.ppm), Fixed: points.Amount(p.fixed),
				Min: points.Amount(p.least), Max: points.Amount(p.most), VATPPM: uint32(p.vat),
			})
		}
		d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Fees: fees}})
	}
	d.now = from + 1_000_000
}

// naiveSums are what members get (above zero) or pay in each cycle, to the last unit, and
// how many items have a value.
type naiveSums struct {
	net   map[naiveCycle]map[tariff.Member]*big.Int
	moved map[naiveCycle]map[book.AccountKey]points.Amount
	items map[naiveCycle]uint64
}

type naiveCycle struct {
	date  points.BusinessDate
	cycle uint8
}

// recount works out from the journal alone, in rational numbers and by its own reading of
// it, what members owe each other. It shares no code with the book or package tariff.
func (d *desk) recount() naiveSums {
	d.tb.Helper()
	sums := naiveSums{make(map[naiveCycle]map[tariff.Member]*big.Int), make(map[naiveCycle]map[book.AccountKey]points.Amount), make(map[naiveCycle]uint64)}
	records := make([]book.Record, len(d.store.journal)+1)
	decided := make(map[points.Position]points.Position)
	undone := make(map[points.Position]map[points.ProgramID]points.Amount)
	owner := make(map[points.ProgramID]points.IssuerID)
	var now naiveCycle
	inForce := make(map[points.ProgramID]points.Timestamp)
	feesFrom := points.Timestamp(0)
	for i := range d.store.journal {
		rec := &records[i+1]
		_, err := book.DecodeRecord(d.store.journal[i], rec)
		require.NoError(d.tb, err)
		cmd, out := rec.Command.Carried(), &rec.Outcome
		if !out.Reason.Approved() {
			continue
		}
		switch {
		case cmd.Kind == book.KindCutOver:
			now = naiveCycle{cmd.Date, max(cmd.Cycle, 1)}
		case cmd.Entry.Program != nil:
			owner[cmd.Entry.Program.ID] = cmd.Entry.Program.Issuer
		case cmd.Entry.Rate != nil:
			inForce[cmd.Entry.Rate.Program] = cmd.Entry.Rate.From
		case cmd.Entry.Fees != nil:
			feesFrom = cmd.Entry.Fees.From
		}
		if cmd.Kind == book.KindSettle || cmd.Kind == book.KindPost {
			continue
		}
		moved := make(map[book.AccountKey]points.Amount)
		for _, p := range out.Postings {
			if p.Account.Kind == book.ClearingAccount {
				moved[p.Account] += p.Amount
			}
		}
		request, rrn := cmd, out.Position
		switch cmd.Kind {
		case book.KindConclude, book.KindStandIn, book.KindOwe, book.KindAcknowledge, book.KindResolve:
			request, rrn = &records[out.Original].Command, out.Original
		default:
		}
		root := points.Position(0) // of what it undoes
		for at, of := request, &records[rrn].Outcome; at.Kind == book.KindVoid || at.Kind == book.KindRefund || at.Kind == book.KindReverse; {
			if root = of.Original; root == 0 {
				break
			}
			at, of = &records[root].Command, &records[root].Outcome
		}
		if root == 0 && decided[rrn] != 0 {
			root = rrn
		}
		if root != 0 && decided[root] != 0 {
			root = decided[root]
		}
		for key, amount := range moved {
			if amount == 0 {
				continue
			}
			what, at := rec, out.Posted
			if root != 0 {
				what, at = &records[root], records[root].Outcome.Posted
			} else if rrn != out.Position {
				decided[rrn] = out.Position
			}
			if inForce[key.Program] == 0 || at < inForce[key.Program] || feesFrom == 0 || at < feesFrom {
				continue
			}
			kind, whole := tariff.KindRDM, points.Amount(0)
			for _, p := range what.Outcome.Postings {
				if p.Account == key {
					whole += p.Amount
				}
			}
			if whole < 0 {
				kind, amount = tariff.KindEAR, -amount
			}
			before, after := points.Amount(0), amount
			sign := int64(1)
			if root != 0 {
				if undone[root] == nil {
					undone[root] = make(map[points.ProgramID]points.Amount)
				}
				before = undone[root][key.Program]
				after = before - amount
				undone[root][key.Program] = after
				sign = -1
			}
			sums.add(now, key, owner[key.Program], kind, sign, before, after, amount)
		}
	}
	return sums
}

// add enters sign times what after is worth less what before is worth.
func (s *naiveSums) add(at naiveCycle, key book.AccountKey, issuer points.IssuerID, kind tariff.Kind, sign int64, before, after, amount points.Amount) {
	if s.net[at] == nil {
		s.net[at], s.moved[at] = make(map[tariff.Member]*big.Int), make(map[book.AccountKey]points.Amount)
	}
	s.items[at]++
	if kind == tariff.KindEAR {
		amount = -amount
	}
	s.moved[at][key] += amount
	pay := func(from, to tariff.Member, amount *big.Int) {
		for member, way := range map[tariff.Member]int64{from: -sign, to: sign} {
			if from == to {
				continue
			}
			if s.net[at][member] == nil {
				s.net[at][member] = new(big.Int)
			}
			s.net[at][member].Add(s.net[at][member], new(big.Int).Mul(amount, big.NewInt(way)))
		}
	}
	i, a := tariff.Member(issuer), tariff.Member(key.Party)
	one, two := figuresOf(key.Program, kind, after), figuresOf(key.Program, kind, before)
	diff := func(n int) *big.Int { return new(big.Int).Sub(one[n], two[n]) }
	if kind == tariff.KindRDM {
		pay(i, a, diff(0))
	} else {
		pay(a, i, diff(0))
	}
	pay(a, i, diff(1))
	pay(a, tariff.AccountFee, diff(2))
	pay(a, tariff.AccountVAT, diff(3))
}

// figuresOf are value, interchange, fee without VAT, and VAT of an amount.
func figuresOf(program points.ProgramID, kind tariff.Kind, amount points.Amount) [4]*big.Int {
	if amount == 0 {
		return [4]*big.Int{new(big.Int), new(big.Int), new(big.Int), new(big.Int)}
	}
	p := prices[kind]
	value := even(int64(amount), worth[program][0], worth[program][1])
	fee := even(value.Int64(), p.ppm, 1_000_000)
	fee.Add(fee, big.NewInt(p.fixed))
	if fee.Int64() < p.least {
		fee.SetInt64(p.least)
	}
	if p.most > 0 && fee.Int64() > p.most {
		fee.SetInt64(p.most)
	}
	vat := even(fee.Int64(), p.vat, 1_000_000+p.vat)
	return [4]*big.Int{value, even(value.Int64(), p.interchange, 1_000_000), new(big.Int).Sub(fee, vat), vat}
}

// even is a*n/d, halves to the even one.
func even(a, n, d int64) *big.Int {
	product := new(big.Int).Mul(big.NewInt(a), big.NewInt(n))
	q, r := new(big.Int).QuoRem(product, big.NewInt(d), new(big.Int))
	switch twice := new(big.Int).Lsh(r, 1); twice.Cmp(big.NewInt(d)) {
	case 1:
		q.Add(q, big.NewInt(1))
	case 0:
		if q.Bit(0) == 1 {
			q.Add(q, big.NewInt(1))
		}
	}
	return q
}

// checkClearing holds what the book has kept of every cycle against a recount of the
// journal, and against what a reader of the journal makes of it with [book.Clearing] (I20).
func (d *desk) checkClearing() {
	d.tb.Helper()
	if d.book.Err() != nil {
		return
	}
	want := d.recount()
	reader := book.NewClearing(d.store.Record)
	read := make(map[naiveCycle]map[tariff.Member]points.Amount)
	registry := d.book.Registry()
	var rec book.Record
	for position := points.Position(1); int(position) <= len(d.store.journal); position++ {
		require.NoError(d.tb, d.store.Record(position, &rec))
		items, err := reader.Items(&rec)
		require.NoError(d.tb, err)
		for i := range items {
			item := &items[i]
			var v tariff.Valuation
			if registry.Rates == nil || registry.Fees == nil || tariff.Value(registry.Rates, registry.Fees, &item.Item, &v) != tariff.OK {
				continue
			}
			at := naiveCycle{item.Date, item.Cycle}
			if read[at] == nil {
				read[at] = make(map[tariff.Member]points.Amount)
			}
			for _, leg := range v.Legs() {
				read[at][leg.Debtor] -= leg.Amount
				read[at][leg.Creditor] += leg.Amount
			}
		}
	}
	for at, members := range want.net {
		view, ok, err := d.book.ClearedIn(at.date, at.cycle)
		require.NoError(d.tb, err)
		require.True(d.tb, ok, "%v", at)
		require.Equal(d.tb, want.items[at], view.Items, "items of %v", at)
		got := make(map[tariff.Member]string)
		for _, p := range view.Positions {
			if p.Net() != 0 {
				got[p.Member] = big.NewInt(int64(p.Net())).String()
			}
		}
		expected := make(map[tariff.Member]string)
		for m, net := range members {
			if net.Sign() != 0 {
				expected[m] = net.String()
			}
		}
		require.Equal(d.tb, expected, got, "I20: what members owe in %v", at)
		asRead := make(map[tariff.Member]string)
		for m, net := range read[at] {
			if net != 0 {
				asRead[m] = big.NewInt(int64(net)).String()
			}
		}
		require.Equal(d.tb, expected, asRead, "I20: as read from the journal: %v", at)
		moved := maps.Clone(want.moved[at])
		maps.DeleteFunc(moved, func(_ book.AccountKey, amount points.Amount) bool { return amount == 0 })
		require.Len(d.tb, view.Moves, len(moved))
		for _, move := range view.Moves {
			require.Equal(d.tb, moved[book.AccountKey{Kind: book.ClearingAccount, Program: move.Program, Party: uint64(move.Acquirer)}], move.Amount)
		}
	}
}
