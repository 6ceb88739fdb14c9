package book_test

import (
	"cmp"
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
	tariff.KindEAR: {interchange: 0, ppm: 20_000, fixed: 0, least: 1, most: 1_000_000_000, vat: 60_000},
	tariff.KindSWP: {vat: 60_000}, // its fee is the spread
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
		for _, kind := range []tariff.Kind{tariff.KindRDM, tariff.KindEAR, tariff.KindSWP} {
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

// naiveSums are what members get (above zero) or pay in each cycle, to the last unit, how
// many items have a value, and how many have none.
type naiveSums struct {
	net      map[naiveCycle]map[tariff.Member]*big.Int
	moved    map[naiveCycle]map[book.AccountKey]points.Amount
	items    map[naiveCycle]uint64
	unvalued map[naiveCycle]uint64
}

type naiveCycle struct {
	date  points.BusinessDate
	cycle uint8
}

// naiveRate is a version of a rate.
type naiveRate struct {
	program  points.ProgramID
	side     tariff.Side
	from     points.Timestamp
	num, den int64
	ppm      int64
}

// naiveBooks is what a recount knows of the journal before a record.
type naiveBooks struct {
	naiveSums
	records []book.Record
	now     naiveCycle
	rates   []naiveRate
	fees    points.Timestamp // from when on; 0: none
	owner   map[points.ProgramID]points.IssuerID
	decided map[points.Position]points.Position // of a request elsewhere, by which record
	undone  map[points.Position]map[points.ProgramID]points.Amount

	pairs bool                                              // what undoes something without room has none either
	gross map[naiveCycle]map[tariff.Member]*[2]*big.Int     // what each owes and is owed, without netting
	debts []naiveDebt                                       // of the item that is looked at
	out   map[points.Position]map[points.ProgramID]struct{} // originals that had no room, or of which something had none
}

// naiveDebt is above zero.
type naiveDebt struct {
	from, to tariff.Member
	amount   *big.Int
}

// recount works out from the journal alone, in rational numbers and by its own reading of
// it and of the specification, what members owe each other. It shares no code with the book
// or package tariff.
func (d *desk) recount() naiveSums {
	d.tb.Helper()
	n := naiveBooks{
		naiveSums: naiveSums{make(map[naiveCycle]map[tariff.Member]*big.Int), make(map[naiveCycle]map[book.AccountKey]points.Amount), make(map[naiveCycle]uint64), make(map[naiveCycle]uint64)},
		records:   make([]book.Record, len(d.store.journal)+1),
		owner:     make(map[points.ProgramID]points.IssuerID), decided: make(map[points.Position]points.Position), undone: make(map[points.Position]map[points.ProgramID]points.Amount),
		gross: make(map[naiveCycle]map[tariff.Member]*[2]*big.Int), out: make(map[points.Position]map[points.ProgramID]struct{}),
	}
	for i := range d.store.journal {
		rec := &n.records[i+1]
		_, err := book.DecodeRecord(d.store.journal[i], rec)
		require.NoError(d.tb, err)
		if rec.Outcome.Reason.Approved() {
			n.enter(rec)
		}
	}
	return n.naiveSums
}

// enter counts one approved record.
func (n *naiveBooks) enter(rec *book.Record) {
	cmd, out := rec.Command.Carried(), &rec.Outcome
	switch {
	case cmd.Kind == book.KindCutOver:
		n.now = naiveCycle{cmd.Date, max(cmd.Cycle, 1)}
		n.pairs = n.pairs || cmd.Edition > 1
	case cmd.Entry.Program != nil:
		n.owner[cmd.Entry.Program.ID] = cmd.Entry.Program.Issuer
	case cmd.Entry.Rate != nil:
		r := cmd.Entry.Rate
		n.rates = append(n.rates, naiveRate{r.Program, r.Side, r.From, int64(r.Num), int64(r.Den), int64(r.SpreadPPM)})
	case cmd.Entry.Fees != nil:
		n.fees = cmd.Entry.Fees.From
	}
	root := n.rootOf(cmd, out)
	switch {
	case cmd.Kind == book.KindSettle || cmd.Kind == book.KindPost:
	case cmd.Kind == book.KindLeg: // One debt, said outright.
		n.pay(1, cmd.Leg.Payer, cmd.Leg.Payee, big.NewInt(int64(cmd.Amount)))
		n.count(out.Position, 0, points.Standard)
	case len(n.rates) == 0: // There is no clearing before the first rate.
	case cmd.Kind == book.KindSwap:
		n.swap(1, out.Original, out.Posted)
		n.count(out.Position, 0, n.records[out.Original].Outcome.Program)
	case root != 0 && n.records[root].Command.Kind == book.KindSwap:
		n.swap(-1, n.records[root].Outcome.Original, n.records[root].Outcome.Posted)
		n.count(out.Position, root, n.records[n.records[root].Outcome.Original].Outcome.Program)
	default:
		n.clear(cmd, out, root)
	}
}

// rootOf is the position of the record that has cleared what a record undoes; 0: it undoes
// nothing.
func (n *naiveBooks) rootOf(cmd *book.Command, out *book.Outcome) (root points.Position) {
	request, rrn := n.requestOf(cmd, out)
	for at, of := request, &n.records[rrn].Outcome; ; {
		switch at.Kind {
		case book.KindVoid, book.KindRefund, book.KindReverse, book.KindDispute:
			if of.Original != 0 {
				root = of.Original
				at, of = &n.records[root].Command, &n.records[root].Outcome
				continue
			}
		default:
		}
		break
	}
	if root == 0 && n.decided[rrn] != 0 {
		root = rrn
	}
	if root != 0 && n.decided[root] != 0 {
		root = n.decided[root]
	}
	return root
}

// requestOf is the request that a record decides, and its position.
func (n *naiveBooks) requestOf(cmd *book.Command, out *book.Outcome) (*book.Command, points.Position) {
	switch cmd.Kind {
	case book.KindConclude, book.KindStandIn, book.KindOwe, book.KindAcknowledge, book.KindResolve:
		return &n.records[out.Original].Command, out.Original
	default:
		return cmd, out.Position
	}
}

// moment is when what a record has cleared is valued, and whether it has no value since it
// was told more than thirty days late.
func (n *naiveBooks) moment(rec *book.Record) (at points.Timestamp, late bool) {
	request, _ := n.requestOf(rec.Command.Carried(), &rec.Outcome)
	at = rec.Outcome.Posted
	switch request.Function {
	case points.OfflineRedeem, points.OfflineEarn, points.CompletionAdvice:
		if request.Sent != 0 {
			return min(at, request.Sent), request.At > request.Sent+30*86_400*1_000_000
		}
	default:
	}
	return at, false
}

// clear counts what a record has moved on clearing accounts.
func (n *naiveBooks) clear(cmd *book.Command, out *book.Outcome, root points.Position) {
	moved := make(map[book.AccountKey]points.Amount)
	for _, p := range out.Postings {
		if p.Account.Kind == book.ClearingAccount {
			moved[p.Account] += p.Amount
		}
	}
	what := &n.records[out.Position]
	if root != 0 {
		what = &n.records[root]
	}
	for key, amount := range moved {
		if amount == 0 {
			continue
		}
		if _, rrn := n.requestOf(cmd, out); root == 0 && rrn != out.Position {
			n.decided[rrn] = out.Position
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
			if n.undone[root] == nil {
				n.undone[root] = make(map[points.ProgramID]points.Amount)
			}
			before = n.undone[root][key.Program]
			after = before - amount
			n.undone[root][key.Program] = after
			sign = -1
		}
		at, late := n.moment(what)
		_, itself := n.moment(&n.records[out.Position])
		rate := n.rateAt(key.Program, tariff.Clear, at)
		if rate == nil || n.fees == 0 || at < n.fees || late || itself {
			n.unvalued[n.now]++
			continue
		}
		n.add(key, kind, rate, sign, before, after)
		if n.count(out.Position, root, key.Program) {
			n.move(key, kind, amount)
		}
	}
}

// count enters the debts of an item in the cycle, unless one of its members owes or is owed
// 2^56 there already, or the item undoes what had no room, or something that undoes the same
// had none.
func (n *naiveBooks) count(position, root points.Position, program points.ProgramID) (counted bool) {
	debts := n.debts
	n.debts = nil
	if debts == nil {
		return false // It has no value at all.
	}
	if n.gross[n.now] == nil {
		n.gross[n.now] = make(map[tariff.Member]*[2]*big.Int)
		n.net[n.now] = make(map[tariff.Member]*big.Int)
	}
	sums := n.gross[n.now]
	full := new(big.Int).Lsh(big.NewInt(1), 56)
	_, fits := n.out[root][program]
	fits = !fits || !n.pairs
	for _, debt := range debts {
		for _, m := range []tariff.Member{debt.from, debt.to} {
			if sums[m] == nil {
				sums[m], n.net[n.now][m] = &[2]*big.Int{new(big.Int), new(big.Int)}, new(big.Int)
			}
			fits = fits && sums[m][0].Cmp(full) < 0 && sums[m][1].Cmp(full) < 0
		}
	}
	if !fits {
		n.unvalued[n.now]++
		if about := cmp.Or(root, position); root == 0 || n.pairs {
			if n.out[about] == nil {
				n.out[about] = make(map[points.ProgramID]struct{})
			}
			n.out[about][program] = struct{}{}
		}
		return false
	}
	n.items[n.now]++
	for _, debt := range debts {
		sums[debt.from][0].Add(sums[debt.from][0], debt.amount)
		sums[debt.to][1].Add(sums[debt.to][1], debt.amount)
		n.net[n.now][debt.from].Sub(n.net[n.now][debt.from], debt.amount)
		n.net[n.now][debt.to].Add(n.net[n.now][debt.to], debt.amount)
	}
	return true
}

// rateAt is the version in force: the last that has begun, and of two that begin together
// the later one.
func (n *naiveBooks) rateAt(program points.ProgramID, side tariff.Side, at points.Timestamp) (found *naiveRate) {
	for i := range n.rates {
		r := &n.rates[i]
		if r.program == program && r.side == side && r.from <= at && (found == nil || r.from >= found.from) {
			found = r
		}
	}
	return found
}

// pay lets from owe to an amount, or with sign -1 or an amount below zero the other way round.
func (n *naiveBooks) pay(sign int64, from, to tariff.Member, amount *big.Int) {
	if n.debts == nil {
		n.debts = []naiveDebt{}
	}
	amount = new(big.Int).Mul(amount, big.NewInt(sign))
	switch {
	case from == to || amount.Sign() == 0:
	case amount.Sign() < 0:
		n.debts = append(n.debts, naiveDebt{to, from, amount.Neg(amount)})
	default:
		n.debts = append(n.debts, naiveDebt{from, to, amount})
	}
}

// swap counts a swap at what its quote was worth at the rates of the quote's moment: value
// and what is handed out rounded down, fee and cost up, and the rest to the rounding account.
func (n *naiveBooks) swap(sign int64, quote points.Position, executed points.Timestamp) {
	promise := &n.records[quote].Outcome
	if n.fees == 0 || executed < n.fees {
		n.unvalued[n.now]++
		return
	}
	buy, sell := n.rateAt(promise.Program, tariff.Buy, promise.Posted), n.rateAt(promise.Swap.Into, tariff.Sell, promise.Posted)
	value := down(big.NewInt(int64(promise.Swap.In)), buy.num, buy.den)
	fee := up(value, buy.ppm, 1_000_000)
	left := new(big.Int).Sub(value, fee)
	granted := down(left, sell.den, sell.num)
	cost := up(granted, sell.num, sell.den)
	vat := even(fee.Int64(), prices[tariff.KindSWP].vat, 1_000_000+prices[tariff.KindSWP].vat)
	from, into := tariff.Member(n.owner[promise.Program]), tariff.Member(n.owner[promise.Swap.Into])
	n.pay(sign, from, into, cost)
	n.pay(sign, from, tariff.AccountFee, new(big.Int).Sub(fee, vat))
	n.pay(sign, from, tariff.AccountVAT, vat)
	n.pay(sign, from, tariff.AccountRound, new(big.Int).Sub(left, cost))
}

// down and up are a*n/d, rounded so.
func down(a *big.Int, n, d int64) *big.Int {
	return new(big.Int).Div(new(big.Int).Mul(a, big.NewInt(n)), big.NewInt(d))
}

func up(a *big.Int, n, d int64) *big.Int {
	return new(big.Int).Neg(down(new(big.Int).Neg(a), n, d))
}

// move notes what a counted item has moved on a clearing account.
func (n *naiveBooks) move(key book.AccountKey, kind tariff.Kind, amount points.Amount) {
	if n.moved[n.now] == nil {
		n.moved[n.now] = make(map[book.AccountKey]points.Amount)
	}
	if kind == tariff.KindEAR {
		amount = -amount
	}
	n.moved[n.now][key] += amount
}

// add owes sign times what after is worth less what before is worth.
func (n *naiveBooks) add(key book.AccountKey, kind tariff.Kind, rate *naiveRate, sign int64, before, after points.Amount) {
	i, a := tariff.Member(n.owner[key.Program]), tariff.Member(key.Party)
	one, two := figuresOf(rate, kind, after), figuresOf(rate, kind, before)
	diff := func(at int) *big.Int { return new(big.Int).Sub(one[at], two[at]) }
	if kind == tariff.KindRDM {
		n.pay(sign, i, a, diff(0))
	} else {
		n.pay(sign, a, i, diff(0))
	}
	n.pay(sign, a, i, diff(1))
	n.pay(sign, a, tariff.AccountFee, diff(2))
	n.pay(sign, a, tariff.AccountVAT, diff(3))
}

// figuresOf are value, interchange, fee without VAT, and VAT of an amount.
func figuresOf(rate *naiveRate, kind tariff.Kind, amount points.Amount) [4]*big.Int {
	if amount == 0 {
		return [4]*big.Int{new(big.Int), new(big.Int), new(big.Int), new(big.Int)}
	}
	p := prices[kind]
	value := even(int64(amount), rate.num, rate.den)
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
	rates, fees := cmp.Or(registry.Rates, tariff.NewRates()), cmp.Or(registry.Fees, tariff.NewFees())
	var rec book.Record
	for position := points.Position(1); int(position) <= len(d.store.journal); position++ {
		require.NoError(d.tb, d.store.Record(position, &rec))
		items, err := reader.Items(&rec)
		require.NoError(d.tb, err)
		for i := range items {
			item := &items[i]
			var v tariff.Valuation
			if item.Orphan || item.TooOld || item.NoRoom || tariff.Value(rates, fees, &item.Item, &v) != tariff.OK {
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
	for at := range want.unvalued {
		if want.net[at] == nil {
			want.net[at] = make(map[tariff.Member]*big.Int)
		}
	}
	for at, members := range want.net {
		view, ok, err := d.book.ClearedIn(at.date, at.cycle)
		require.NoError(d.tb, err)
		require.True(d.tb, ok, "%v", at)
		require.Equal(d.tb, want.items[at], view.Items, "items of %v", at)
		require.Equal(d.tb, want.unvalued[at], view.Unvalued, "items without a value of %v", at)
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
