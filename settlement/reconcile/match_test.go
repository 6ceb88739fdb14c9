package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
)

// told is a finding or a doubt in words, to compare two ways of finding it.
func told(f *Finding) string {
	text := fmt.Sprintf("%v side=%v diffs=%05b doubt=%v timing=%v", f.Class, f.Side, f.Diffs, f.InDoubt, f.Timing)
	for s, line := range f.Lines {
		if line != nil {
			text += fmt.Sprintf(" %v#%d@%v", Side(s), line.Number, line.Date)
		}
	}
	return text
}

func doubted(s Side, l *Line) string {
	return fmt.Sprintf("again %v#%d@%v seen=%b tries=%d", s, l.Number, l.Date, l.Seen, l.Tries)
}

type results struct {
	said   []string
	doubts [sides][]Line
	sum    Summary
}

func compared(t require.TestingT, ours, acquirer, issuer []Line) results {
	var r results
	in := [sides][]Line{slices.Clone(ours), slices.Clone(acquirer), slices.Clone(issuer)}
	for s := range in {
		sortLines(in[s])
	}
	sum, err := Compare(Slice(in[0]), Slice(in[1]), Slice(in[2]), Hands{
		Found: func(f *Finding) error { r.said = append(r.said, told(f)); return nil },
		Doubt: func(s Side, l *Line) error {
			r.said = append(r.said, doubted(s, l))
			r.doubts[s] = append(r.doubts[s], *l)
			return nil
		},
	})
	require.NoError(t, err)
	r.sum = sum
	slices.Sort(r.said)
	return r
}

// oracle is the slow obvious way: for each line of ours, in order, look through all lines
// of a side for the best one that nobody has.
func oracle(ours, acquirer, issuer []Line) (said []string, matches int) {
	ours = slices.Clone(ours)
	theirs := map[Side][]Line{Acquirer: acquirer, Issuer: issuer}
	gone := map[Side]map[int]bool{Acquirer: {}, Issuer: {}}
	early := make([]Sides, len(ours))
	for i := range ours {
		early[i] = ours[i].Seen
	}
	worst, late := map[int]bool{}, map[int]bool{}
	say := func(f Finding) { said = append(said, told(&f)) }
	better := []func(o, l *Line, s Side) bool{
		func(o, l *Line, s Side) bool {
			return sameButDate(o, l, s) && (o.Tells&l.Tells&TellsDate == 0 || o.Date == l.Date)
		},
		sameButDate,
		func(o, l *Line, _ Side) bool { return o.Asset == l.Asset && o.Kind == l.Kind },
		func(_, _ *Line, _ Side) bool { return true },
	}
	for s, lines := range theirs {
		for _, fits := range better {
			for i := range ours {
				o := &ours[i]
				for j := range lines {
					if o.Key != lines[j].Key || gone[s][j] || !o.Expect.Has(s) || o.Seen.Has(s) || !fits(o, &lines[j], s) {
						continue
					}
					gone[s][j] = true
					o.Seen |= In(s)
					class := slowClass(o, &lines[j], s)
					if class == 0 {
						continue
					}
					worst[i] = true
					late[i] = late[i] || (o.Tells&lines[j].Tells&TellsDate != 0 && o.Date != lines[j].Date)
					f := Finding{Class: class, Side: s, Diffs: o.diff(&lines[j], s), Timing: class == Date && near(o.Date, lines[j].Date)}
					f.Lines[Switch], f.Lines[s] = o, &lines[j]
					say(f)
				}
			}
		}
	}
	for s, lines := range theirs {
		for j := range lines {
			if gone[s][j] {
				continue
			}
			var first *Line
			seen := false
			for i := range ours {
				if ours[i].Key == lines[j].Key {
					if first == nil {
						first = &ours[i]
					}
					seen = seen || ours[i].Seen.Has(s)
				}
			}
			if first == nil {
				continue
			}
			f := Finding{Class: MissingSwitch}
			if seen {
				f = Finding{Class: map[Side]Class{Acquirer: DupAcq, Issuer: DupIss}[s], Side: s}
			}
			gone[s][j] = true
			f.Lines[Switch], f.Lines[s] = first, &lines[j]
			say(f)
		}
	}
	for i := range ours {
		o := &ours[i]
		if o.Expect&Both == 0 {
			continue
		}
		lacks := false
		for s, class := range map[Side]Class{Acquirer: MissingAcq, Issuer: MissingIss} {
			if o.Expect.Has(s) && !o.Seen.Has(s) {
				lacks = true
				f := Finding{Class: class, Side: s, InDoubt: o.Tries < 2}
				f.Lines[Switch] = o
				say(f)
			}
		}
		if !lacks && !worst[i] && o.Tries == 0 {
			matches++
		}
		if (lacks || late[i]) && o.Tries < 2 {
			again := *o
			again.Tries++
			said = append(said, doubted(Switch, &again))
		}
	}
	// What is left is theirs alone: the n-th of the acquirer goes with the n-th of the issuer.
	nth := func(s Side, key Key, n int) *Line {
		for j := range theirs[s] {
			if !gone[s][j] && theirs[s][j].Key == key {
				if n == 0 {
					return &theirs[s][j]
				}
				n--
			}
		}
		return nil
	}
	var keys []Key
	for s, lines := range theirs {
		for j := range lines {
			if !gone[s][j] && !slices.Contains(keys, lines[j].Key) {
				keys = append(keys, lines[j].Key)
			}
		}
	}
	for _, key := range keys {
		for n := 0; ; n++ {
			a, b := nth(Acquirer, key, n), nth(Issuer, key, n)
			if a == nil && b == nil {
				break
			}
			f := Finding{Class: MissingSwitch}
			f.Lines[Acquirer], f.Lines[Issuer] = a, b
			f.InDoubt = (a != nil && a.Tries < 2) || (b != nil && b.Tries < 2)
			say(f)
			for s, l := range map[Side]*Line{Acquirer: a, Issuer: b} {
				if l != nil && f.InDoubt {
					again := *l
					again.Tries = min(again.Tries+1, 2)
					said = append(said, doubted(s, &again))
				}
			}
		}
	}
	slices.Sort(said)
	return said, matches
}

func sameButDate(o, l *Line, s Side) bool {
	tells := o.Tells & l.Tells
	return o.Asset == l.Asset && o.Amount == l.Amount && o.Kind == l.Kind && (tells&TellsStatus == 0 || o.Status == l.Status) &&
		(tells&TellsFee == 0 || o.Fees[s] == l.Fees[s])
}

func slowClass(o, l *Line, s Side) Class {
	tells := o.Tells & l.Tells
	switch {
	case o.Asset != l.Asset:
		return Asset
	case o.Amount != l.Amount:
		return Amount
	case o.Kind != l.Kind || (tells&TellsStatus != 0 && o.Status != l.Status):
		return Status
	case tells&TellsFee != 0 && o.Fees[s] != l.Fees[s]:
		return Fee
	case tells&TellsDate != 0 && o.Date != l.Date:
		return Date
	}
	return 0
}

func near(a, b points.BusinessDate) bool {
	for n := -2; n <= 2; n++ {
		if a != 0 && b != 0 && a.AddDays(n) == b {
			return true
		}
	}
	return false
}

// anyLine draws from few values, so that keys meet and differ in every way.
func anyLine(rt *rapid.T, side Side) Line {
	small := func(name string, n int) int { return rapid.IntRange(0, n).Draw(rt, name) }
	keys := [...]Key{{Acquirer: 1, When: 2, STAN: 3}, {Acquirer: 2, When: 2, STAN: 3}, {Acquirer: 1, When: 3, STAN: 3}, {Acquirer: 1, When: 2, STAN: 4}}
	l := Line{
		Key:    keys[max(0, small("key", 9)-6)],
		Amount: int64(small("amount", 1)*7 - 3), Issuer: 9, Date: points.BusinessDate(20260301 + uint32(small("date", 4))),
		Kind: [3]byte{'R', 'D', byte('M' + small("kind", 1))}, Status: [2]byte{'0', byte('0' + small("status", 1))},
		Asset: [6]byte{'9', '0', byte('1' + small("asset", 1)), ' ', ' ', ' '},
		Tries: uint8(max(0, small("tries", 4)-2)), Tells: Fields(small("tells", 7)),
	}
	l.Fees[Acquirer], l.Fees[Issuer] = int64(small("fee a", 1)), int64(small("fee i", 1))
	if small("plain", 2) > 0 { // Mostly alike, or nothing would ever match but in part.
		l.Kind, l.Asset, l.Status = [3]byte{'R', 'D', 'M'}, [6]byte{'9', '0', '1', ' ', ' ', ' '}, [2]byte{'0', '0'}
		l.Tells = TellsStatus | TellsFee | TellsDate
	}
	if side == Switch {
		l.Tells = TellsStatus | TellsFee | TellsDate
		l.Expect = Sides(small("expect", 3) << 1)
		if l.Tries > 0 {
			l.Seen = l.Expect & Sides(small("seen", 3)<<1)
		}
	}
	return l
}

func anyLines(rt *rapid.T, side Side) []Line {
	lines := make([]Line, rapid.IntRange(0, 8).Draw(rt, "lines of "+side.String()))
	for i := range lines {
		lines[i] = anyLine(rt, side)
		lines[i].Number = uint64(i + 1)
	}
	return lines
}

// The streaming comparison finds what three nested loops find, on any multisets.
func TestCompareAgreesWithNestedLoops(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ours, acquirer, issuer := anyLines(rt, Switch), anyLines(rt, Acquirer), anyLines(rt, Issuer)
		got := compared(rt, ours, acquirer, issuer)
		want, matches := oracle(ours, acquirer, issuer)
		require.Equal(rt, want, got.said)
		require.EqualValues(rt, matches, got.sum.Classes[Match].Count)
	})
}

// Every line of every side is accounted for exactly once (R1), and the order in which
// lines of different keys come does not matter (R2).
func TestCompareConsumesEachLineOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ours, acquirer, issuer := anyLines(rt, Switch), anyLines(rt, Acquirer), anyLines(rt, Issuer)
		used := map[string]int{}
		in := [sides][]Line{slices.Clone(ours), slices.Clone(acquirer), slices.Clone(issuer)}
		for s := range in {
			slices.SortStableFunc(in[s], func(a, b Line) int { return cmp.Or(a.Compare(&b.Key), cmp.Compare(a.Number, b.Number)) })
		}
		sum, err := Compare(Slice(in[0]), Slice(in[1]), Slice(in[2]), Hands{Found: func(f *Finding) error {
			for _, s := range []Side{Acquirer, Issuer} {
				if f.Lines[s] != nil {
					used[fmt.Sprint(s, f.Lines[s].Number)]++
				}
			}
			return nil
		}})
		require.NoError(rt, err)
		for line, n := range used {
			require.Equal(rt, 1, n, line)
		}
		require.EqualValues(rt, len(ours), sum.Lines[Switch])
		require.EqualValues(rt, len(acquirer), sum.Lines[Acquirer])
		require.EqualValues(rt, len(issuer), sum.Lines[Issuer])
	})
}

func line(rrn points.Position, amount int64) Line {
	return Line{
		Key: Key{RRN: rrn.RRN(), Acquirer: 10000001, When: 20260301120000, STAN: 7}, Number: uint64(rrn), CID: uint64(rrn), Amount: amount, Issuer: 20000001,
		Date: 20260301, Asset: [6]byte{'9', '0', '1', ' ', ' ', ' '}, Kind: [3]byte{'R', 'D', 'M'}, Status: [2]byte{'0', '0'},
		Tells: TellsStatus | TellsFee | TellsDate, Expect: Both,
	}
}

// One acquirer's view of a fee is not the issuer's.
func TestFeesAreOfTheirSide(t *testing.T) {
	ours, acquirer, issuer := line(1, 500), line(1, 500), line(1, 500)
	ours.Fees = [sides]int64{Acquirer: -20, Issuer: 15}
	acquirer.Fees[Acquirer], issuer.Fees[Issuer] = -20, 15
	got := compared(t, []Line{ours}, []Line{acquirer}, []Line{issuer})
	require.EqualValues(t, 1, got.sum.Classes[Match].Count)
}

// Each class of difference is called by its name.
func TestCompareNamesEachClass(t *testing.T) {
	with := func(change func(*Line)) []Line {
		l := line(1, 500)
		change(&l)
		return []Line{l}
	}
	same := []Line{line(1, 500)}
	for _, c := range []struct {
		class                  Class
		ours, acquirer, issuer []Line
	}{
		{Match, same, same, same},
		{MissingIss, same, same, nil},
		{MissingAcq, same, nil, same},
		{MissingSwitch, nil, same, same},
		{Amount, same, same, with(func(l *Line) { l.Amount = 501 })},
		{Status, same, with(func(l *Line) { l.Status = [2]byte{'0', '5'} }), same},
		{Status, same, with(func(l *Line) { l.Kind = [3]byte{'E', 'A', 'R'} }), same},
		{Asset, same, same, with(func(l *Line) { l.Asset[2] = '2' })},
		{Fee, same, same, with(func(l *Line) { l.Fees[Issuer] = 3 })},
		{Date, same, with(func(l *Line) { l.Date = 20260302 }), same},
		{DupIss, same, same, []Line{line(1, 500), line(1, 500)}},
		{DupAcq, same, []Line{line(1, 500), line(1, 500)}, same},
	} {
		t.Run(c.class.String(), func(t *testing.T) {
			got := compared(t, c.ours, c.acquirer, c.issuer)
			for _, class := range Classes() {
				want := uint64(0)
				if class == c.class || (class == Match && (c.class == DupIss || c.class == DupAcq)) {
					want = 1
				}
				require.Equal(t, want, got.sum.Classes[class].Count, class.String())
			}
		})
	}
}

// A line that is missing is looked for with the next two dates, then it is an exception;
// what is found there is timing; what comes a second time is a duplicate.
func TestDoubtLastsTwoDates(t *testing.T) {
	ours := []Line{line(1, 500)}
	first := compared(t, ours, ours, nil)
	require.EqualValues(t, 1, first.sum.InDoubt)
	second := compared(t, first.doubts[Switch], nil, nil)
	require.EqualValues(t, 1, second.sum.InDoubt)
	require.Zero(t, second.sum.Classes[MissingAcq].Count, "the acquirer had it on its own date")

	third := compared(t, second.doubts[Switch], nil, nil)
	require.Zero(t, third.sum.InDoubt)
	require.EqualValues(t, 1, third.sum.Classes[MissingIss].Count, "now it is an exception")
	require.Empty(t, third.doubts[Switch])

	next := line(1, 500)
	next.Date = 20260302
	late := compared(t, first.doubts[Switch], nil, []Line{next})
	require.EqualValues(t, 1, late.sum.Classes[Date].Count)
	require.EqualValues(t, 1, late.sum.Timing)
	twice := compared(t, late.doubts[Switch], nil, []Line{next})
	require.EqualValues(t, 1, twice.sum.Classes[DupIss].Count)

	none := compared(t, ours, nil, nil)
	both := compared(t, none.doubts[Switch], ours, ours)
	require.Empty(t, both.said, "what came late under its own date is no difference")
	require.Zero(t, both.sum.Classes[Match].Count, "and no match of this date: it was counted with its own")
	require.EqualValues(t, 1, both.sum.Carried[Switch])

	far := line(1, 500)
	far.Date = 20260310
	require.Zero(t, compared(t, ours, []Line{far}, ours).sum.Timing)
	far.Date = 0
	require.Zero(t, compared(t, ours, []Line{far}, ours).sum.Timing, "no date is no neighbour")
}

// A source that is not in order is refused, with the line, and a key without end is too.
func TestCompareRefusesWhatIsNotInOrder(t *testing.T) {
	_, err := Compare(Slice([]Line{line(2, 1), line(1, 1)}), nil, nil, Hands{})
	require.ErrorIs(t, err, ErrUnsorted)
	require.ErrorContains(t, err, "switch's line 1")
	many := make([]Line, maxGroup+1)
	for i := range many {
		many[i] = line(1, 1)
	}
	_, err = Compare(Slice(many), nil, nil, Hands{})
	require.ErrorContains(t, err, "the same key more than 100000 times")
}
