package netting_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// large is a day of a house of 600 members, 300 of each side, and twenty programmes: 85 %
// redemptions and earns, 10 % swaps, 3 % refunds of a part, 2 % reversals.
func large(n int) (*world, *netting.Roll, *netting.Models) {
	r := rand.New(rand.NewPCG(1, 8))
	w := &world{rates: tariff.NewRates(), fees: tariff.NewFees()}
	for program := points.ProgramID(900); program < 920; program++ {
		for side := tariff.Clear; side <= tariff.Sell; side++ {
			for version := range 5 {
				terms := tariff.Terms{
					Program: program, Side: side, From: dawn + 10*minute + points.Timestamp(version)*hour, Num: 1 + r.Uint64N(1_000_000), Den: 1 + r.Uint64N(1_000_000),
				}
				if side == tariff.Buy {
					terms.SpreadPPM = 15_000
				}
				if err := w.rates.Append(must(w.rates.Next(terms, "ann", "bob", dawn))); err != nil {
					panic(err)
				}
			}
		}
	}
	rows := []tariff.FeeRow{{Kind: tariff.KindSWP, VATPPM: 60_000}}
	for _, kind := range []tariff.Kind{tariff.KindRDM, tariff.KindEAR} {
		row := tariff.FeeRow{
			Kind: kind, InterchangePPM: 12_000, PPM: 4_000, Min: 20, Max: 200_000, VATPPM: 60_000,
			Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 6}, {Role: tariff.RoleIssuer, Weight: 1}, {Member: 10_000_000, Weight: 1}},
		}
		rows = append(rows, row)
		for i := range 50 { // issuers with terms of their own, and some of these for one trade
			row.Issuer = tariff.Member(10_000_000 + 6*i)
			row.MCC, row.PPM = 0, 3_000
			rows = append(rows, row)
			row.MCC, row.PPM = 5411, 2_000
			rows = append(rows, row)
		}
	}
	if err := w.fees.Append(must(w.fees.Next(dawn+10*minute, rows, "ann", "bob", dawn))); err != nil {
		panic(err)
	}
	var parties []netting.Party
	for i := range 300 {
		parties = append(parties, netting.Party{Member: tariff.Member(10_000_000 + i), Class: 1}, netting.Party{Member: tariff.Member(20_000_000 + 17*i), Class: 2})
	}
	for i := range n {
		item := tariff.Item{
			Position: points.Position(i + 1), Kind: tariff.KindRDM, Issuer: tariff.Member(10_000_000 + r.IntN(300)), Acquirer: tariff.Member(20_000_000 + 17*r.IntN(300)),
			Program: points.ProgramID(900 + r.IntN(20)), MCC: []uint16{5411, 5812, 0}[r.IntN(3)], Amount: 1 + points.Amount(r.IntN(1_000_000)),
			At: dawn + hour + points.Timestamp(r.Int64N(int64(20*hour))),
		}
		switch c := r.IntN(100); {
		case c < 60:
		case c < 85:
			item.Kind = tariff.KindEAR
		case c < 95:
			item.Kind, item.Target, item.TargetProgram = tariff.KindSWP, tariff.Member(10_000_000+r.IntN(300)), points.ProgramID(900+r.IntN(20))
		default:
			item.Kind, item.Of, item.OriginalAt, item.Amount = tariff.KindRVS, tariff.KindRDM, item.At-hour/2, -item.Amount
			if c < 98 {
				item.Kind, item.Refunded = tariff.KindRFD, 1+points.Amount(r.IntN(1000))
			}
		}
		w.items = append(w.items, item)
	}
	models := must(netting.NewModels(2, []netting.Rule{{One: netting.Any, Other: netting.Any, Model: netting.MNET}}))
	return w, must(netting.NewRoll(parties)), models
}

// BenchmarkItem values and folds items of a large day, and in the same run does the
// arithmetic of a redemption on the same amounts with math/big, reusing its numbers: value,
// interchange, fee, VAT, three shares, and what each account has in the end. It looks up
// neither rates nor fees and keeps no pairs, which the engine does, so that the ratio is
// the least that there is.
func BenchmarkItem(b *testing.B) {
	w, roll, models := large(200_000)
	f := must(netting.NewFold(roll, models))
	fold(w, f, w.items) // members have met
	var v tariff.Valuation
	var engine, values, naive time.Duration
	reckoner := newReckoner()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		items := w.items[n%len(w.items):]
		items = items[:min(len(items), 1000)]
		start := time.Now()
		for i := range items {
			if fault := tariff.Value(w.rates, w.fees, &items[i], &v); fault != tariff.OK {
				b.Fatal(fault)
			}
		}
		middle := time.Now()
		for i := range items {
			tariff.Value(w.rates, w.fees, &items[i], &v)
			f.Add(&items[i], &v)
		}
		end := time.Now()
		values, engine = values+middle.Sub(start), engine+end.Sub(middle)
		b.StopTimer() // what math/big allocates is not ours
		start = time.Now()
		for i := range items {
			reckoner.reckon(int64(items[i].Amount), 355, 113, int(items[i].Issuer)%600, int(items[i].Acquirer)%600)
		}
		naive += time.Since(start)
		b.StartTimer()
		n += len(items)
	}
	b.ReportMetric(float64(values.Nanoseconds())/float64(n), "ns/value")
	b.ReportMetric(float64(engine.Nanoseconds())/float64(n), "ns/item")
	b.ReportMetric(float64(naive.Nanoseconds())/float64(n), "ns/big")
	b.ReportMetric(float64(naive)/float64(values), "big/value")
	b.ReportMetric(0, "ns/op")
}

// reckoner computes with math/big.
type reckoner struct {
	a, n, d, q, r, std, interchange, fee, vat, left *big.Int
	shares, rests                                   [3]*big.Int
	accounts                                        [602]*big.Int
}

func newReckoner() *reckoner {
	k := &reckoner{
		new(big.Int), new(big.Int), new(big.Int), new(big.Int), new(big.Int), new(big.Int), new(big.Int), new(big.Int), new(big.Int), new(big.Int),
		[3]*big.Int{},
		[3]*big.Int{},
		[602]*big.Int{},
	}
	for i := range k.shares {
		k.shares[i], k.rests[i] = new(big.Int), new(big.Int)
	}
	for i := range k.accounts {
		k.accounts[i] = new(big.Int)
	}
	return k
}

// round puts a*num/den, halves to even, into to.
func (k *reckoner) round(to, a *big.Int, num, den uint64) {
	k.d.SetUint64(den)
	k.n.SetUint64(num)
	k.n.Mul(k.n, a)
	k.q.QuoRem(k.n, k.d, k.r)
	k.r.Abs(k.r.Lsh(k.r, 1))
	if c := k.r.Cmp(k.d); c > 0 || (c == 0 && k.q.Bit(0) == 1) {
		k.q.Add(k.q, big.NewInt(int64(k.n.Sign())))
	}
	to.Set(k.q)
}

func (k *reckoner) reckon(amount int64, num, den uint64, issuer, acquirer int) {
	k.a.SetInt64(amount)
	k.round(k.std, k.a, num, den)
	k.round(k.interchange, k.std, 12_000, tariff.Million)
	k.round(k.fee, k.std, 4_000, tariff.Million)
	if k.fee.Cmp(k.a.SetInt64(20)) < 0 {
		k.fee.Set(k.a)
	}
	k.round(k.vat, k.fee, 60_000, 1_060_000)
	k.fee.Sub(k.fee, k.vat)
	k.left.Set(k.fee)
	for i, weight := range [...]uint64{6, 1, 1} {
		k.n.Mul(k.fee, k.n.SetUint64(weight))
		k.shares[i].QuoRem(k.n, k.d.SetUint64(8), k.rests[i])
		k.left.Sub(k.left, k.shares[i])
	}
	for ; k.left.Sign() > 0; k.left.Sub(k.left, k.a.SetUint64(1)) {
		best := 0
		for i := range k.rests {
			if k.rests[i].Cmp(k.rests[best]) > 0 {
				best = i
			}
		}
		k.rests[best].SetUint64(0)
		k.shares[best].Add(k.shares[best], k.a.SetUint64(1))
	}
	k.move(issuer, acquirer, k.std)
	k.move(acquirer, issuer, k.interchange)
	k.move(acquirer, 600, k.shares[0])
	k.move(acquirer, issuer, k.shares[1])
	k.move(acquirer, 0, k.shares[2])
	k.move(acquirer, 601, k.vat)
}

func (k *reckoner) move(from, to int, amount *big.Int) {
	k.accounts[from].Sub(k.accounts[from], amount)
	k.accounts[to].Add(k.accounts[to], amount)
}

// BenchmarkCheck proves and digests the positions of the large day: once a run.
func BenchmarkCheck(b *testing.B) {
	w, roll, models := large(100_000)
	f := must(netting.NewFold(roll, models))
	fold(w, f, w.items)
	for name, prove := range map[string]func() error{
		"check": f.Check, "digest": func() error { f.Digest(); return nil },
	} {
		b.Run(fmt.Sprintf("%s of %d members", name, roll.Len()), func(b *testing.B) {
			for b.Loop() {
				if err := prove(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
