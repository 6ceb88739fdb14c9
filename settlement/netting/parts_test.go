package netting_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Sums of 128 bits are those of unbounded integers.
func TestSumIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum netting.Sum
		want := new(big.Int)
		for range rapid.IntRange(0, 8).Draw(t, "terms") {
			term := rapid.Int64().Draw(t, "term")
			add := netting.SumOf(points.Amount(term))
			doublings := rapid.IntRange(0, 40).Draw(t, "doublings")
			for range doublings {
				add = add.Plus(add)
			}
			exact := new(big.Int).Lsh(big.NewInt(term), uint(doublings))
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				sum, want = sum.Plus(add), want.Add(want, exact)
			case 1:
				sum, want = sum.Minus(add), want.Sub(want, exact)
			default:
				sum, want = sum.Neg(), want.Neg(want)
			}
		}
		require.Equal(t, want.String(), sum.String())
		require.Equal(t, want.Sign(), sum.Sign())
		other := netting.SumOf(points.Amount(rapid.Int64().Draw(t, "other")))
		exact, _ := other.Amount()
		require.Equal(t, want.Cmp(big.NewInt(int64(exact))), sum.Cmp(other))
		amount, fits := sum.Amount()
		require.Equal(t, want.IsInt64(), fits)
		if fits {
			require.Equal(t, want.Int64(), int64(amount))
		}
		bytes := sum.AppendBytes([]byte("x"))
		require.Len(t, bytes, 17)
		low := new(big.Int).And(want, new(big.Int).SetUint64(1<<64-1))
		require.Equal(t, low.Uint64(), binary.BigEndian.Uint64(bytes[9:]))
		require.Equal(t, new(big.Int).Rsh(want, 64).Int64(), int64(binary.BigEndian.Uint64(bytes[1:])))
	})
	large := netting.SumOf(9_000_000_000_000_000_000).Plus(netting.SumOf(9_000_000_000_000_000_001))
	require.Equal(t, "-1800000000000000000.1", large.Neg().Decimal(1))
	require.Equal(t, "1800000000000000.0001", large.Decimal(4))
	require.Equal(t, "-0.05", netting.SumOf(-5).Decimal(2))
}

// Rules that leave a case open or decide it twice are refused, naming the case; of those
// that fit, the one that fixes most decides, whoever pays.
func TestModels(t *testing.T) {
	everything := netting.Rule{One: netting.Any, Other: netting.Any, Model: netting.MNET}
	for want, rules := range map[string][]netting.Rule{
		"no rule for RDM between classes operator and operator": {{One: 1, Other: netting.Any, Model: netting.MNET}},
		"no rule for EAR between":                               {{Kind: tariff.KindRDM, One: netting.Any, Other: netting.Any, Model: netting.MNET}},
		"rules 2 (GROSS) and 3 (MNET) both decide RDM between classes 1 and 2": {
			everything, {One: 1, Other: netting.Any, Model: netting.GROSS}, {One: netting.Any, Other: 2, Model: netting.MNET},
		},
		"rule 2: want a model": {everything, {One: 1, Other: 1}},
		"rule 1: want a model, a kind or *, and classes of 0 (operator) to 2 or *": {{One: 3, Other: 1, Model: netting.BNET}},
		"rule 1: want": {{Kind: 200, One: 1, Other: 1, Model: netting.BNET}},
	} {
		_, err := netting.NewModels(2, rules)
		require.ErrorContains(t, err, want)
	}
	for _, classes := range []netting.Class{0, 16} {
		_, err := netting.NewModels(classes, []netting.Rule{everything})
		require.ErrorContains(t, err, "want 1 to 15")
	}
	models := must(netting.NewModels(3, []netting.Rule{
		everything, {One: 2, Other: 3, Model: netting.BNET}, {Kind: tariff.KindSWP, One: 3, Other: 2, Model: netting.GROSS}, {Kind: tariff.KindSWP, One: 1, Other: 1, Model: netting.MNET},
	}))
	for kind := tariff.KindRDM; int(kind) < tariff.Kinds; kind++ {
		for one := netting.Operator; one <= 3; one++ {
			for other := netting.Operator; other <= 3; other++ {
				want := netting.MNET
				if min(one, other) == 2 && max(one, other) == 3 {
					want = netting.BNET
					if kind == tariff.KindSWP {
						want = netting.GROSS
					}
				}
				require.Equal(t, want, models.Of(kind, one, other), "%v %v %v", kind, one, other)
			}
		}
	}
	require.Zero(t, models.Of(200, 1, 1))
	require.Zero(t, models.Of(tariff.KindRDM, 1, 200))

	_, err := netting.NewFold(must(netting.NewRoll([]netting.Party{{Member: 1, Class: 4}})), models)
	require.ErrorContains(t, err, "member 00000001 is of class 4; the models of settlement know classes up to 3")
	for _, model := range []netting.Model{netting.MNET, netting.BNET, netting.GROSS} {
		var read netting.Model
		require.NoError(t, read.UnmarshalText([]byte(model.String())))
		require.Equal(t, model, read)
	}
	require.ErrorContains(t, new(netting.Model).UnmarshalText([]byte("NET")), "want one of [MNET BNET GROSS]")
}

// A roll finds every member at its place, in the order of numbers with the operator's
// accounts behind, and nobody else; what cannot be on it is refused.
func TestRoll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfNDistinct(rapid.Uint32Range(1, 99_999_999), 0, 700, rapid.ID[uint32]).Draw(t, "numbers")
		var parties []netting.Party
		for _, number := range numbers {
			parties = append(parties, netting.Party{Member: tariff.Member(number), Class: 1})
		}
		roll := must(netting.NewRoll(parties))
		slices.Sort(numbers)
		require.Equal(t, len(numbers)+4, roll.Len())
		for i := range roll.Len() {
			place, known := roll.Index(roll.Member(i))
			require.True(t, known)
			require.Equal(t, i, place)
			if i < len(numbers) {
				require.Equal(t, numbers[i], uint32(roll.Member(i)))
				require.Equal(t, netting.Class(1), roll.Class(i))
			} else {
				require.Equal(t, tariff.Accounts()[i-len(numbers)], roll.Member(i))
				require.Equal(t, netting.Operator, roll.Class(i))
			}
		}
		other := rapid.Uint32().Draw(t, "other")
		_, known := roll.Index(tariff.Member(other))
		require.Equal(t, slices.Contains(numbers, other) || tariff.Member(other).Account(), known)
	})
	for want, parties := range map[string][]netting.Party{
		"00000007 is there twice":              {{Member: 7, Class: 1}, {Member: 7, Class: 2}},
		"FEE is not an institution's number":   {{Member: tariff.AccountFee, Class: 1}},
		"* is not an institution's number":     {{Class: 1}},
		"00000007 is of class 16, want 1 to":   {{Member: 7, Class: 16}},
		"00000007 is of class 0, want 1 to 15": {{Member: 7}},
		"2049 institutions, at most 2048":      make([]netting.Party, 2049),
	} {
		_, err := netting.NewRoll(parties)
		require.ErrorContains(t, err, want)
	}
}

// Who takes part, in which class, and the models all show in the policy's digest.
func TestPolicy(t *testing.T) {
	rule := netting.Rule{One: netting.Any, Other: netting.Any, Model: netting.MNET}
	digests := make(map[tariff.Digest]bool)
	for _, parties := range [][]netting.Party{nil, {{Member: 1, Class: 1}}, {{Member: 1, Class: 2}}, {{Member: 2, Class: 1}}} {
		for _, rules := range [][]netting.Rule{{rule}, {rule, {One: 1, Other: 2, Model: netting.BNET}}} {
			digests[netting.Policy(must(netting.NewRoll(parties)), must(netting.NewModels(2, rules)))] = true
		}
	}
	require.Len(t, digests, 8)
}

// The root is that of RFC 6962 over the chunks.
func TestRoot(t *testing.T) {
	chunks := make([]tariff.Digest, 11)
	for i := range chunks {
		chunks[i] = tariff.Digest(sha256.Sum256([]byte{byte(i)}))
	}
	// By another route: level by level; a digest without a neighbour goes up as it is.
	level := func(digests []tariff.Digest) (up []tariff.Digest) {
		for i := 0; i < len(digests); i += 2 {
			if i+1 == len(digests) {
				return append(up, digests[i])
			}
			up = append(up, sha256.Sum256(slices.Concat([]byte{1}, digests[i][:], digests[i+1][:])))
		}
		return up
	}
	for n := range len(chunks) + 1 {
		tree := []tariff.Digest{sha256.Sum256(nil)}
		if n > 0 {
			tree = chunks[:n]
		}
		for len(tree) > 1 {
			tree = level(tree)
		}
		want := sha256.Sum256(slices.Concat([]byte{2, 0, 0, 0, 0, 0, 0, 0, 77}, tree[0][:]))
		require.Equal(t, tariff.Digest(want), netting.Root(chunks[:n], 77), "%d chunks", n)
	}
}

// The waterfall divides a debt exactly, in order, nobody more than its limit, in the
// ratio of the limits to the unit, and opens what is left.
func TestLossIsDividedExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.OneOf(rapid.Int64Range(0, 50), rapid.Int64Range(0, 1_000_000_000_000_000))
		draw := func(name string) points.Amount { return points.Amount(amount.Draw(t, name)) }
		d := netting.Default{Member: 99, Debt: draw("debt"), Prefund: draw("prefund"), Collateral: draw("collateral"), Fund: draw("fund")}
		together := points.Amount(0)
		for i := range rapid.IntRange(0, 30).Draw(t, "survivors") {
			limit := netting.Limit{Member: tariff.Member(50 - i), Granted: draw("limit")}
			together += limit.Granted
			d.Limits = append(d.Limits, limit)
		}
		loss, err := netting.Waterfall(d)
		require.NoError(t, err)
		left := d.Debt
		for _, layer := range [][2]points.Amount{{d.Prefund, loss.Prefund}, {d.Collateral, loss.Collateral}, {d.Fund, loss.Fund}} {
			require.Equal(t, min(left, layer[0]), layer[1])
			left -= layer[1]
		}
		shared := points.Amount(0)
		for i, share := range loss.Shares {
			limit := d.Limits[len(d.Limits)-1-i]
			require.Equal(t, limit.Member, share.Member, "by number")
			require.LessOrEqual(t, share.Amount, limit.Granted)
			exact := new(big.Rat).SetFrac(
				new(big.Int).Mul(big.NewInt(int64(min(left, together))), big.NewInt(int64(limit.Granted))), big.NewInt(int64(together)))
			off := exact.Sub(exact, new(big.Rat).SetInt64(int64(share.Amount)))
			require.Negative(t, off.Abs(off).Cmp(big.NewRat(1, 1)), "less than a unit off the exact part")
			shared += share.Amount
		}
		require.Equal(t, min(left, together), shared)
		require.Equal(t, left-shared, loss.Open)
	})
}

// Units that cannot be divided go to the largest remainders, then to the lowest numbers.
func TestLossShareTies(t *testing.T) {
	loss := must(netting.Waterfall(netting.Default{Member: 9, Debt: 115, Prefund: 10, Fund: 5, Limits: []netting.Limit{{3, 100}, {2, 100}, {1, 100}}}))
	require.Equal(t, netting.Loss{Prefund: 10, Fund: 5, Shares: []netting.LossShare{{1, 34}, {2, 33}, {3, 33}}}, loss)
	for want, d := range map[string]netting.Default{
		"no amount may be negative":      {Member: 9, Debt: -1},
		"limit of 00000009: it is of a ": {Member: 9, Limits: []netting.Limit{{9, 1}}},
		"limit of 00000001: it is of a ": {Member: 9, Limits: []netting.Limit{{1, 1}, {1, 1}}},
		"limit of 00000002: it is of a ": {Member: 9, Limits: []netting.Limit{{2, -1}}},
		"the limits together do not fit": {Member: 9, Limits: []netting.Limit{{2, 1 << 62}, {3, 1 << 62}}},
	} {
		_, err := netting.Waterfall(d)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "default of 00000009")
	}
}

// Unwinding leaves out every item of the defaulter and no other; what remains is proved
// like any fold, and the differences lead from the one to the other.
func TestUnwindingLeavesTheDefaulterOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 6))
		w := newWorld(r)
		w.trade(r, 60)
		roll, models := w.roll(), threeModels()
		all, without := must(netting.NewFold(roll, models)), must(netting.NewFold(roll, models))
		const defaulter = 10000001
		unwinding := must(netting.NewUnwinding(roll, models, defaulter))
		exceptions := fold(w, all, w.items)
		fold(w, unwinding, w.items)
		kept := slices.DeleteFunc(slices.Clone(w.items), func(i tariff.Item) bool {
			return slices.Contains([]tariff.Member{i.Issuer, i.Acquirer, i.Target, i.Payer, i.Payee}, defaulter)
		})
		fold(w, without, kept)
		require.NoError(t, unwinding.Check())
		require.Equal(t, slices.Collect(without.Positions()), slices.Collect(unwinding.Positions()))
		require.Equal(t, uint64(len(w.items)-len(exceptions)), unwinding.Counts().Items+unwinding.Counts().LeftOut)

		before := make(map[string]netting.Sum)
		key := func(p netting.Position) string { return fmt.Sprint(p.Model, p.Member, p.Counterparty, p.Code) }
		for p := range all.Positions() {
			before[key(p)] = p.Net()
		}
		var last netting.Position
		for d := range netting.Differences(all, unwinding) {
			require.Equal(t, key(d.Before), key(d.After))
			require.NotEqual(t, d.Before, d.After)
			before[key(d.After)] = before[key(d.After)].Plus(d.Delta())
			require.NotEqual(t, key(last), key(d.Before))
			last = d.Before
		}
		for p := range unwinding.Positions() {
			require.Equal(t, p.Net(), before[key(p)])
			delete(before, key(p))
		}
		for _, rest := range before {
			require.Zero(t, rest)
		}
	})
	_, err := netting.NewUnwinding(must(netting.NewRoll(nil)), threeModels(), 5)
	require.ErrorContains(t, err, "defaulter 00000005 is not an institution of the run")
}

// Positions, totals, a member's own, and instructions tell the same sums.
func TestViewsOfAFoldAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 7))
		w := newWorld(r)
		w.trade(r, 60)
		f := must(netting.NewFold(w.roll(), threeModels()))
		fold(w, f, w.items)
		type who struct {
			model  netting.Model
			member tariff.Member
		}
		sums, paid := make(map[who]netting.Position), make(map[who]netting.Sum)
		var own []netting.Position
		legs := uint64(0)
		for p := range f.Positions() {
			sum := sums[who{p.Model, p.Member}]
			sum.Model, sum.Member = p.Model, p.Member
			sum.Items, sum.Pay, sum.Receive = sum.Items+p.Items, sum.Pay.Plus(p.Pay), sum.Receive.Plus(p.Receive)
			sums[who{p.Model, p.Member}] = sum
			require.NotEqual(t, p.Member, p.Counterparty)
			require.Positive(t, p.Items)
			if p.Member == w.members[2] {
				own = append(own, p)
			}
			legs += p.Items
		}
		require.Equal(t, 2*f.Counts().Legs, legs, "each leg is seen from both sides")
		require.Equal(t, own, slices.Collect(f.Of(w.members[2])))
		n := 0
		for total := range f.Totals() {
			require.Equal(t, sums[who{total.Model, total.Member}], total)
			require.Equal(t, f.Net(total.Model, total.Member), total.Net())
			n++
		}
		require.Len(t, sums, n)
		for instruction := range f.Instructions() {
			require.Equal(t, 1, instruction.Amount.Sign())
			payer, payee := who{instruction.Model, instruction.Payer}, who{instruction.Model, instruction.Payee}
			paid[payer], paid[payee] = paid[payer].Minus(instruction.Amount), paid[payee].Plus(instruction.Amount)
			require.Equal(t, instruction.Model == netting.MNET, instruction.Payer == 0 || instruction.Payee == 0)
		}
		for _, model := range []netting.Model{netting.MNET, netting.BNET} {
			for _, member := range w.members {
				require.Equal(t, f.Net(model, member), paid[who{model, member}])
			}
		}
		require.Zero(t, paid[who{netting.MNET, 0}])
		for range f.Positions() { // stopping early is no fault
			break
		}
	})
}
