package reconcile

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// bare is a line without DE37.
func bare(l Line, rrn string) Line {
	copy(l.RRN[:], rrn)
	return l
}

// A line that tells no DE37, in whichever way, is given ours by the rest of its key, that of
// the date which was offered first; where two of ours fit it stays without.
func TestNamelessLinesAreNamed(t *testing.T) {
	ours, before, twin, other := line(7, 500), line(3, 500), line(8, 500), line(9, 1)
	before.Date, other.STAN = 20260228, 8
	for _, rrn := range []string{"            ", "000000000000", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		theirs, told, strange := bare(line(1, 500), rrn), line(1, 500), bare(line(1, 500), rrn)
		strange.When++
		require.False(t, theirs.Told())
		n := NewNameless()
		require.True(t, n.Empty())
		for _, l := range []*Line{&theirs, &told, &strange} {
			require.NoError(t, n.Want(l))
		}
		require.False(t, n.Empty())
		require.Equal(t, []uint32{20260301}, n.Days())
		for _, l := range []*Line{&other, &ours, &before} {
			n.Offer(l)
		}
		n.Fill(&theirs)
		require.Equal(t, ours.RRN, theirs.RRN, "that of the date, which was offered first")
		n.Fill(&told)
		require.Equal(t, line(1, 500), told, "what is told stays")
		n.Fill(&strange)
		require.False(t, strange.Told())
		require.Equal(t, []uint32{20260301}, n.Days(), "one is open")
		n.Offer(&twin)
		theirs = bare(theirs, rrn)
		n.Fill(&theirs)
		require.False(t, theirs.Told(), "two of the date fit: none is taken")
	}
	n := NewNameless()
	first := bare(line(1, 500), "            ")
	require.NoError(t, n.Want(&first))
	n.Offer(&ours)
	require.Empty(t, n.Days())
	n.Offer(&ours)
	n.Fill(&first)
	require.Equal(t, ours.RRN, first.RRN, "two items of one request have one key")
}

// What is kept is bounded, and the line beyond is named.
func TestNamelessIsBounded(t *testing.T) {
	n := NewNameless()
	l := bare(line(1, 1), "            ")
	for i := range MaxNameless {
		l.When = 20260301000000 + uint64(i)
		require.NoError(t, n.Want(&l))
	}
	require.NoError(t, n.Want(&l), "the same again")
	l.When, l.Number = 20260302000000+MaxNameless, 77
	require.ErrorContains(t, n.Want(&l), "line 77: more than 1048576 lines tell no DE37")
}

// Whatever ours are, a line gets the DE37 that one of ours has, of the earliest offered date
// that has the rest of its key, where that date has only one; else none.
func TestNamelessAgreesWithASearch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ours, theirs := anyLines(rt, Switch), anyLines(rt, Acquirer)
		slices.SortStableFunc(ours, func(a, b Line) int { return int(b.Date) - int(a.Date) }) // The latest first.
		n := NewNameless()
		for i := range ours {
			copy(ours[i].RRN[:], rapid.SampledFrom([]string{"000000000001", "000000000002", "000000000003"}).Draw(rt, "rrn"))
		}
		for i := range theirs {
			theirs[i] = bare(theirs[i], "            ")
			require.NoError(rt, n.Want(&theirs[i]))
		}
		for i := range ours {
			n.Offer(&ours[i])
		}
		for i := range theirs {
			want, date := map[[12]byte]bool{}, ours[:0:0]
			for _, o := range ours {
				if o.Acquirer == theirs[i].Acquirer && o.When == theirs[i].When && o.STAN == theirs[i].STAN && (len(date) == 0 || date[0].Date == o.Date) {
					date, want[o.RRN] = append(date, o), true
				}
			}
			n.Fill(&theirs[i])
			if len(want) == 1 {
				require.Equal(rt, date[0].RRN, theirs[i].RRN)
			} else {
				require.False(rt, theirs[i].Told())
			}
		}
	})
}
