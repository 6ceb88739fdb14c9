package netting_test

import (
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// The oracle works out what each member is owed as the specification says it, by another
// way than the code: unbounded fractions, lists that are looked through from end to end,
// money that moves between accounts instead of legs, signs that follow the amount.
type oracle struct {
	rates    []tariff.Terms // in the order of approval: a later one of the same side has a higher version
	froms    []points.Timestamp
	schedule [][]tariff.FeeRow
}

// money is what moves: what each account has in the end.
type money map[tariff.Member]*big.Int

// move takes amount, of either sign, from one account to another.
func (m money) move(from, to tariff.Member, amount *big.Int) {
	m.put(from, new(big.Int).Neg(amount))
	m.put(to, amount)
}

func (m money) put(account tariff.Member, amount *big.Int) {
	if m[account] == nil {
		m[account] = new(big.Int)
	}
	m[account].Add(m[account], amount)
}

// rateAt is the fraction in force, nil for none.
func (o *oracle) rateAt(program points.ProgramID, side tariff.Side, t points.Timestamp) *tariff.Terms {
	var found *tariff.Terms
	for i := range o.rates {
		r := &o.rates[i]
		if r.Program == program && r.Side == side && r.From <= t && (found == nil || r.From >= found.From) {
			found = r
		}
	}
	return found
}

func (o *oracle) rowAt(kind tariff.Kind, item *tariff.Item, t points.Timestamp) *tariff.FeeRow {
	inForce := -1
	for i, from := range o.froms {
		if from <= t && (inForce < 0 || from >= o.froms[inForce]) {
			inForce = i
		}
	}
	if inForce < 0 {
		return nil
	}
	var found *tariff.FeeRow
	most := -1
	for i := range o.schedule[inForce] {
		row := &o.schedule[inForce][i]
		n := 0
		matches := row.Kind == kind
		for _, column := range [][2]int{
			{int(row.Issuer), int(item.Issuer)}, {int(row.Acquirer), int(item.Acquirer)}, {int(row.MCC), int(item.MCC)}, {int(row.Program), int(item.Program)},
		} {
			if column[0] != 0 {
				n++
				matches = matches && column[0] == column[1]
			}
		}
		if matches && n > most {
			found, most = row, n
		}
	}
	return found
}

func fraction(num, den int64) *big.Rat { return big.NewRat(num, den) }

func times(n *big.Int, r *big.Rat) *big.Rat { return new(big.Rat).Mul(new(big.Rat).SetInt(n), r) }

// floorOf is the largest whole number not above r.
func floorOf(r *big.Rat) *big.Int {
	return new(big.Int).Div(r.Num(), r.Denom()) // Euclidean, and the denominator is positive
}

// nearest rounds to the nearest whole number, a half to the even one of its neighbours.
func nearest(r *big.Rat) *big.Int {
	below := floorOf(r)
	above := new(big.Int).Add(below, big.NewInt(1))
	toBelow := new(big.Rat).Sub(r, new(big.Rat).SetInt(below))
	toAbove := new(big.Rat).Sub(new(big.Rat).SetInt(above), r)
	switch c := toBelow.Cmp(toAbove); {
	case c < 0:
		return below
	case c > 0:
		return above
	case below.Bit(0) == 0:
		return below
	default:
		return above
	}
}

// towardZero cuts the fraction off.
func towardZero(r *big.Rat) *big.Int {
	if r.Sign() < 0 {
		return new(big.Int).Neg(floorOf(new(big.Rat).Neg(r)))
	}
	return floorOf(r)
}

// settle returns what item moves; false for one that goes to the exception list.
func (o *oracle) settle(item *tariff.Item) (money, bool) {
	m := make(money)
	switch item.Kind {
	case tariff.KindADJ, tariff.KindFEE:
		m.move(item.Payer, item.Payee, big.NewInt(int64(item.Amount)))
		return m, true
	case tariff.KindRDM, tariff.KindEAR, tariff.KindSWP:
		ok := o.original(m, item.Kind, item, item.At, big.NewInt(int64(item.Amount)))
		return m, ok
	default:
		// By the cumulative method: give back all that was undone so far with this item,
		// and take again all that was undone before it.
		before := big.NewInt(int64(item.Refunded))
		after := new(big.Int).Sub(before, big.NewInt(int64(item.Amount)))
		ok := o.original(make(money), item.Of, item, item.OriginalAt, big.NewInt(int64(item.Whole))) &&
			o.original(m, item.Of, item, item.OriginalAt, new(big.Int).Neg(after)) &&
			o.original(m, item.Of, item, item.OriginalAt, before)
		return m, ok
	}
}

// original moves what an original of a signed amount moves.
func (o *oracle) original(m money, kind tariff.Kind, item *tariff.Item, t points.Timestamp, amount *big.Int) bool {
	row := o.rowAt(kind, item, t)
	side := tariff.Clear
	if kind == tariff.KindSWP {
		side = tariff.Buy
	}
	rate := o.rateAt(item.Program, side, t)
	if rate == nil || row == nil {
		return false
	}
	if amount.Sign() == 0 {
		return true
	}
	std := nearest(times(amount, fraction(int64(rate.Num), int64(rate.Den))))
	if kind == tariff.KindSWP {
		return o.swap(m, item, t, row, std, int64(rate.SpreadPPM))
	}
	if kind == tariff.KindRDM {
		m.move(item.Issuer, item.Acquirer, std)
	} else {
		m.move(item.Acquirer, item.Issuer, std)
	}
	interchange := nearest(times(std, fraction(int64(row.InterchangePPM), 1_000_000)))
	m.move(item.Acquirer, item.Issuer, interchange)

	size := new(big.Int).Abs(std)
	fee := nearest(times(size, fraction(int64(row.PPM), 1_000_000)))
	fee.Add(fee, big.NewInt(int64(row.Fixed)))
	if least := big.NewInt(int64(row.Min)); fee.Cmp(least) < 0 {
		fee = least
	}
	if most := big.NewInt(int64(row.Max)); most.Sign() > 0 && fee.Cmp(most) > 0 {
		fee = most
	}
	if amount.Sign() < 0 { // of the item, not of its value
		fee.Neg(fee)
	}
	o.charge(m, item, row, item.Acquirer, fee)
	return fits(std, 15) && fits(interchange, 12) && fits(fee, 12)
}

// swap moves what a swap worth std moves.
func (o *oracle) swap(m money, item *tariff.Item, t points.Timestamp, row *tariff.FeeRow, std *big.Int, ppm int64) bool {
	target := o.rateAt(item.TargetProgram, tariff.Sell, t)
	if target == nil {
		return false
	}
	spread := nearest(times(std, fraction(ppm, 1_000_000)))
	rest := new(big.Int).Sub(std, spread)
	granted := towardZero(times(rest, fraction(int64(target.Den), int64(target.Num))))
	worth := towardZero(times(granted, fraction(int64(target.Num), int64(target.Den))))
	rest.Sub(rest, worth)
	m.move(item.Issuer, item.Target, worth)
	m.move(item.Issuer, tariff.AccountRound, rest)
	o.charge(m, item, row, item.Issuer, spread)
	return fits(std, 15) && fits(granted, 15) && fits(spread, 12) && fits(rest, 12)
}

func fits(n *big.Int, digits int64) bool {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(digits), nil)
	return new(big.Int).Abs(n).Cmp(limit) < 0
}

// charge moves a fee, of either sign, with its VAT and shares.
func (o *oracle) charge(m money, item *tariff.Item, row *tariff.FeeRow, payer tariff.Member, fee *big.Int) {
	vat := nearest(times(fee, fraction(int64(row.VATPPM), 1_000_000+int64(row.VATPPM))))
	m.move(payer, tariff.AccountVAT, vat)
	net := new(big.Int).Sub(fee, vat)
	weights := make(map[tariff.Member]int64)
	for _, share := range row.Shares {
		who := map[tariff.Role]tariff.Member{
			0: share.Member, tariff.RoleOperator: tariff.AccountFee, tariff.RoleIssuer: item.Issuer,
			tariff.RoleAcquirer: item.Acquirer, tariff.RoleTarget: item.Target,
		}[share.Role]
		if who == 0 {
			who = tariff.AccountFee
		}
		weights[who] += int64(share.Weight)
	}
	if len(weights) == 0 {
		weights[tariff.AccountFee] = 1
	}
	total := int64(0)
	type claim struct {
		who tariff.Member
		cut *big.Rat // what is cut off its exact part
	}
	var claims []claim
	for _, weight := range weights {
		total += weight
	}
	left := new(big.Int).Set(net)
	for who, weight := range weights {
		exact := times(net, fraction(weight, total))
		whole := towardZero(exact)
		left.Sub(left, whole)
		m.move(payer, who, whole)
		cut := new(big.Rat).Sub(exact, new(big.Rat).SetInt(whole))
		claims = append(claims, claim{who, cut.Abs(cut)})
	}
	slices.SortFunc(claims, func(a, b claim) int {
		if c := b.cut.Cmp(a.cut); c != 0 {
			return c
		}
		return int(a.who) - int(b.who)
	})
	unit := big.NewInt(int64(left.Sign()))
	for i := range int(left.Abs(left).Int64()) {
		m.move(payer, claims[i].who, unit)
	}
}

// world is a house of a few members with everything that can be random: rates, fees,
// items, and what has been undone of which.
type world struct {
	rates   *tariff.Rates
	fees    *tariff.Fees
	oracle  oracle
	members []tariff.Member
	items   []tariff.Item
}

const (
	dawn   points.Timestamp = 1_772_409_600_000_000 // 2026-03-02T00:00Z
	minute points.Timestamp = 60_000_000
	hour                    = 60 * minute
)

// newWorld makes rates and fees that change during a day that begins at dawn. The first
// ten minutes have none.
func newWorld(r *rand.Rand) *world {
	w := &world{
		rates: tariff.NewRates(), fees: tariff.NewFees(),
		members: []tariff.Member{1, 20, 10000001, 10000002, 20000001, 20000002, 99_999_999},
	}
	// Small terms often, for rates like 1/2 make halves.
	term := func() uint64 { return []uint64{1, 2, 3, 5, 8, 1000, 1 + r.Uint64N(1_000_000)}[r.IntN(7)] }
	for version := range 4 {
		for program := points.ProgramID(900); program < 904; program++ {
			for side := tariff.Clear; side <= tariff.Sell; side++ {
				terms := tariff.Terms{Program: program, Side: side, From: dawn + 10*minute + points.Timestamp(r.IntN(1+6*version))*hour, Num: term(), Den: term()}
				if side == tariff.Buy {
					terms.SpreadPPM = uint32(r.IntN(60_000))
				}
				rate := must(w.rates.Next(terms, "ann", "bob", dawn))
				if err := w.rates.Append(rate); err != nil {
					panic(err)
				}
				w.oracle.rates = append(w.oracle.rates, terms)
			}
		}
	}
	for version := range 3 {
		from := dawn + 10*minute + points.Timestamp(r.IntN(1+8*version))*hour
		var schedule *tariff.Schedule
		for schedule == nil { // rows that tie are refused
			schedule, _ = w.fees.Next(from, w.rows(r), "ann", "bob", dawn)
		}
		if err := w.fees.Append(schedule); err != nil {
			panic(err)
		}
		w.oracle.froms = append(w.oracle.froms, from)
		w.oracle.schedule = append(w.oracle.schedule, schedule.Rows)
	}
	return w
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// rows makes a row of each kind for all items, and a few for some.
func (w *world) rows(r *rand.Rand) []tariff.FeeRow {
	var rows []tariff.FeeRow
	for _, kind := range []tariff.Kind{tariff.KindRDM, tariff.KindEAR, tariff.KindSWP} {
		for n := range 1 + r.IntN(4) {
			row := tariff.FeeRow{Kind: kind, VATPPM: []uint32{0, 60_000, 130_000}[r.IntN(3)]}
			if n > 0 {
				row.Issuer = []tariff.Member{0, w.any(r)}[r.IntN(2)]
				row.Program = []points.ProgramID{0, 900, 901}[r.IntN(3)]
				row.MCC = []uint16{0, 0, 5411}[r.IntN(3)]
			}
			if kind != tariff.KindSWP {
				row.InterchangePPM, row.PPM = uint32(r.IntN(20_000)), uint32(r.IntN(20_000))
				row.Fixed, row.Min = points.Amount(r.IntN(3)), points.Amount(r.IntN(30))
				if r.IntN(2) == 0 {
					row.Max = row.Min + points.Amount(r.IntN(500))
				}
			}
			for _, share := range []tariff.Share{
				{Role: tariff.RoleOperator}, {Role: tariff.RoleIssuer}, {Role: tariff.RoleAcquirer}, {Role: tariff.RoleTarget}, {Member: w.any(r)}, {Member: 20},
			} {
				twice := slices.ContainsFunc(row.Shares, func(s tariff.Share) bool { return s.Role == share.Role && s.Member == share.Member })
				if r.IntN(3) == 0 && !twice && (share.Role != tariff.RoleTarget || kind == tariff.KindSWP) {
					share.Weight = uint32(1 + r.IntN(9))
					row.Shares = append(row.Shares, share)
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func (w *world) any(r *rand.Rand) tariff.Member { return w.members[r.IntN(len(w.members))] }

// size draws amounts of one digit to thirteen.
func size(r *rand.Rand) points.Amount {
	return points.Amount(1 + r.Int64N([]int64{3, 100, 10_000, 1_000_000, 10_000_000_000_000}[r.IntN(5)]))
}

// trade makes n items. Of some originals later ones undo parts, and take that back.
func (w *world) trade(r *rand.Rand, n int) {
	var open []tariff.Item // originals, with what is undone in Refunded
	for len(w.items) < n {
		item := tariff.Item{
			Position: points.Position(len(w.items) + 1),
			Issuer:   w.any(r), Acquirer: w.any(r), Program: points.ProgramID(900 + r.IntN(4)), MCC: []uint16{0, 5411, 5812}[r.IntN(3)],
			Amount: size(r), At: dawn + points.Timestamp(r.Int64N(int64(20*hour))),
		}
		if r.IntN(3) == 0 { // on the boundary of a rate
			item.At = dawn + 10*minute + points.Timestamp(r.IntN(20))*hour - points.Timestamp(r.IntN(2))
		}
		switch kind := r.IntN(10); {
		case kind < 3:
			item.Kind = tariff.KindRDM
		case kind < 5:
			item.Kind = tariff.KindEAR
		case kind < 6:
			item.Kind, item.Target, item.TargetProgram = tariff.KindSWP, w.any(r), points.ProgramID(900+r.IntN(4))
			if r.IntN(2) == 0 {
				item.Acquirer = 0 // at the portal: nobody brought it
			}
		case kind < 7:
			item = tariff.Item{Position: item.Position, Kind: tariff.KindADJ, Program: points.Standard, Payer: w.any(r), Payee: tariff.AccountSuspense, Amount: size(r)}
			if r.IntN(2) == 0 {
				item.Kind, item.Payee = tariff.KindFEE, tariff.AccountFee
			}
		default:
			if len(open) == 0 {
				continue
			}
			item = w.undo(r, &open[r.IntN(len(open))], item.Position)
		}
		if item.Kind.Original() {
			open = append(open, item)
		}
		w.items = append(w.items, item)
	}
}

// undo makes the next item about original.
func (w *world) undo(r *rand.Rand, original *tariff.Item, position points.Position) tariff.Item {
	item := *original
	item.Position, item.Of, item.OriginalAt, item.At = position, original.Kind, original.At, original.At+points.Timestamp(r.Int64N(int64(12*hour)))
	item.Whole = original.Amount
	undone := original.Refunded
	if undone == original.Amount || (undone > 0 && r.IntN(4) == 0) { // take some of it back
		item.Kind = []tariff.Kind{tariff.KindREP, tariff.KindRVS}[r.IntN(2)]
		item.Amount = 1 + points.Amount(r.Int64N(int64(undone)))
	} else {
		item.Kind = []tariff.Kind{tariff.KindRFD, tariff.KindRVS, tariff.KindCBK}[r.IntN(3)]
		item.Amount = undone - original.Amount
		if r.IntN(2) == 0 {
			item.Amount = -1 - points.Amount(r.Int64N(int64(original.Amount-undone)))
		}
	}
	original.Refunded -= item.Amount
	return item
}
