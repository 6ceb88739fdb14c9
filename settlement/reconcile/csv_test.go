package reconcile

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const csvHead = "acquirer,stan,transmitted,rrn,kind,amount,asset,status\n"

func row(rrn string, amount int) string {
	return fmt.Sprintf("10000001,7,20260301120000,%s,RDM,%d,901,00\n", rrn, amount)
}

func readCSV(text string, side Side) (lines []Line, bad []BadLine, err error) {
	c, err := NewCSV(strings.NewReader(text), side, 20260301, func(b BadLine) error { bad = append(bad, b); return nil })
	if err != nil {
		return nil, nil, err
	}
	for {
		var l Line
		ok, err := c.Next(&l)
		if err != nil || !ok {
			return lines, bad, err
		}
		lines = append(lines, l)
	}
}

// A partner's rows are read, both sides in the acquirer's view.
func TestCSVReadsRows(t *testing.T) {
	body := csvHead + row("000000000001", 500)
	text := body + fmt.Sprintf("#TOTAL,1,500,%x\n", sha256.Sum256([]byte(body)))
	lines, bad, err := readCSV(text, Acquirer)
	require.NoError(t, err)
	require.Empty(t, bad)
	want := line(1, 500)
	want.Number, want.CID, want.Issuer, want.Tells, want.Expect = 2, 0, 0, TellsStatus, 0
	require.Equal(t, []Line{want}, lines)

	lines, _, err = readCSV(text, Issuer)
	require.NoError(t, err)
	require.EqualValues(t, -500, lines[0].Amount)
}

// What spreadsheets do to a file does not hurt: byte order mark, CRLF, quotes, tabs.
func TestCSVReadsWhatSpreadsheetsSave(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(csvHead, "\n", "\r\n") + "\"10000001\",7,\t20260301120000,'000000000001,RDM,500,901,\r\n\r\n#TOTAL,1,500\r\n"
	lines, bad, err := readCSV(text, Acquirer)
	require.NoError(t, err)
	require.Empty(t, bad)
	require.Len(t, lines, 1)
	require.Zero(t, lines[0].Tells)
}

// A row that cannot be read is handed on with its number and its bytes, the others are
// read, and the file stands (R3).
func TestCSVKeepsBadRows(t *testing.T) {
	for _, c := range []struct{ row, why string }{
		{"10000001,7,20260301120000,000000000002,RDM,5x0,901,00", `amount: "5x0": want a whole number`},
		{"10000001,7,20260301120000,000000000002,RDM,0,901,00", "amount: 0: want an amount"},
		{"10000001,7,20260301120000,000000000002,RDM,9999999999999999,901,00", "at most 15 digits"},
		{"10000001,-7,20260301120000,000000000002,RDM,1,901,00", `stan: "-7"`},
		{"10000001,7,2026030112000,000000000002,RDM,1,901,00", "transmitted"},
		{"10000001,7,20260301120000,2,RDM,1,901,00", `rrn: "2": want 12 characters`},
		{"10000001,7,20260301120000,000000000002,XXX,1,901,00", `kind: "XXX"`},
		{"10000001,7,20260301120000,000000000002,RDM,1,901", "7 cells, the header names 8"},
		{`10000001,"7,20260301120000,000000000002,RDM,1,901,00`, "quotes"},
		{strings.Repeat("9", 5000), "a line of more than 4096 bytes"},
		{strings.Repeat("9", 200_000), "a line of more than 4096 bytes"},
	} {
		text := csvHead + row("000000000001", 500) + c.row + "\n" + row("000000000003", 70)
		lines, bad, err := readCSV(text+"#TOTAL,3,570\n", Acquirer)
		if err != nil { // The amount of the bad row can be read, and counts.
			lines, bad, err = readCSV(text+"#TOTAL,3,571\n", Acquirer)
		}
		require.NoError(t, err, c.why)
		require.Len(t, lines, 2, c.why)
		require.Len(t, bad, 1, c.why)
		require.EqualValues(t, 3, bad[0].Number)
		require.Contains(t, bad[0].Why, c.why)
		require.Equal(t, c.row[:min(len(c.row), maxRaw)], string(bad[0].Raw))
		require.EqualValues(t, 4, lines[1].Number)
	}
}

// A line of as many bytes as are kept is read, one of a byte more is handed on.
func TestCSVReadsTheLongestLine(t *testing.T) {
	for _, more := range []int{0, 1} {
		long := row("000000000001", 500)
		long = strings.Repeat("\t", maxRaw-len(long)+more) + long
		require.Len(t, long, maxRaw+more)
		lines, bad, err := readCSV(csvHead+long+"#TOTAL,1,500\n", Acquirer)
		require.NoError(t, err)
		require.Equal(t, []int{1 - more, more}, []int{len(lines), len(bad)})
	}
}

// A wrong trailer refuses the file also where a row cannot be read, as long as its amount can;
// where that cannot be read either, the reader says that the sum was not checked.
func TestCSVSumBesideBadRows(t *testing.T) {
	read := func(bad, total string) (unsummed bool, err error) {
		c, err := NewCSV(strings.NewReader(csvHead+row("000000000001", 500)+bad+"\n"+total+"\n"), Acquirer, 20260301, nil)
		require.NoError(t, err)
		for ok := true; ok && err == nil; {
			var l Line
			ok, err = c.Next(&l)
		}
		return c.Unsummed(), err
	}
	for _, c := range []struct {
		bad, right, wrong string
		unsummed          bool
	}{
		{"10000001,7,20260301120000,2,RDM,70,901,00", "#TOTAL,2,570", "#TOTAL,2,571", false},
		{"10000001,7,20260301120000,000000000002,RDM,0,901,00", "#TOTAL,2,500", "#TOTAL,2,501", false},
		{"10000001,7,20260301120000,000000000002,RDM,7x,901,00", "#TOTAL,2,570", "#TOTAL,3,570", true},
		{"10000001,7", "#TOTAL,2,570", "#TOTAL,1,570", true},
	} {
		unsummed, err := read(c.bad, c.right)
		require.NoError(t, err, c.bad)
		require.Equal(t, c.unsummed, unsummed, c.bad)
		_, err = read(c.bad, c.wrong)
		require.ErrorContains(t, err, "#TOTAL", c.bad)
	}
}

// A file whose header, trailer or digest is wrong is refused whole, and says why.
func TestCSVRefusesFiles(t *testing.T) {
	good := csvHead + row("000000000001", 500)
	for text, why := range map[string]string{
		"":                                     "header: the file ends here",
		"acquirer,colour\n":                    `column "colour": there is none`,
		"acquirer,acquirer\n":                  `column "acquirer" twice`,
		"acquirer,stan\n":                      `column "transmitted" is missing`,
		good:                                   "the file ends here, and its last line is to be #TOTAL",
		good + "#TOTAL,2,500\n":                "lines 2, the lines above come to 1",
		good + "#TOTAL,1,501\n":                "amount 501 is not what the lines above come to",
		good + "#TOTAL,1,500," + "00\n":        "SHA-256 00, the lines above come to",
		good + "#TOTAL,1\n":                    "want #TOTAL,lines,amount",
		good + "#TOTAL,1,x\n":                  `amount "x"`,
		good + "#TOTAL,1,500\n" + csvHead:      "#TOTAL is the last line",
		strings.Repeat("x", 1<<17) + "\n":      "header",
		good + "#TOTALLY,1,500\n":              "want #TOTAL",
		good + row("000000000002", 1)[:20]:     "#TOTAL",
		good + "#TOTAL,1,99999999999999999999": "want a whole number",
	} {
		_, _, err := readCSV(text, Acquirer)
		require.ErrorContains(t, err, why, "%.80q", text)
	}
}

// No bytes make the reader panic or lose a line: what it does not give, it hands on.
func FuzzCSV(f *testing.F) {
	f.Add(csvHead + row("000000000001", 500) + "#TOTAL,1,500\n")
	f.Add(csvHead + "x\n\"\n#TOTAL,2,0\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, bad, err := readCSV(text, Issuer)
		if err != nil {
			return
		}
		full := 0
		for l := range strings.Lines(text) {
			if strings.Trim(l, "\r\n") != "" && !strings.HasPrefix(l, "#TOTAL") {
				full++
			}
		}
		require.Equal(t, full-1, len(lines)+len(bad))
	})
}

// Equal multisets have equal totals and digests whatever their order (R4); any change of
// what is compared shows.
func TestTotalsEndTheDay(t *testing.T) {
	sum := func(side Side, lines ...Line) *Totals {
		totals := NewTotals(side)
		for i := range lines {
			totals.Add(&lines[i], TellsStatus|TellsFee|TellsDate)
		}
		return totals
	}
	a, b := line(1, 500), line(2, -70)
	_, equal := sum(Acquirer, a, b).Compare(sum(Acquirer, b, a))
	require.True(t, equal)
	for _, change := range []func(*Line){
		func(l *Line) { l.Amount++ }, func(l *Line) { l.STAN++ }, func(l *Line) { l.Kind[0] = 'X' }, func(l *Line) { l.Asset[0] = 'X' },
		func(l *Line) { l.Status[0] = 'X' }, func(l *Line) { l.Fees[Acquirer]++ }, func(l *Line) { l.Date++ }, func(l *Line) { l.CID++ },
	} {
		c := b
		change(&c)
		_, equal = sum(Acquirer, a, b).Compare(sum(Acquirer, a, c))
		require.False(t, equal)
	}
	diffs, equal := sum(Acquirer, a, b).Compare(sum(Acquirer, a))
	require.False(t, equal)
	require.Len(t, diffs, 1)
	require.EqualValues(t, 2, diffs[0].Ours.Count)
	require.Equal(t, Sum{Hi: 0, Lo: 430}, diffs[0].Ours.Amount)
	_, equal = sum(Acquirer, a, b, b).Compare(sum(Acquirer, a, b))
	require.False(t, equal, "a line that stands twice")
	c := a
	c.STAN++
	_, equal = sum(Acquirer, a, a).Compare(sum(Acquirer, c, c))
	require.False(t, equal, "two of one are not two of another")
	b.Expect = In(Issuer)
	_, equal = sum(Acquirer, a, b).Compare(sum(Acquirer, a))
	require.True(t, equal, "what the acquirer is not to have is left out")
}

// A sum reads as it was written, both ways from zero; more than it can hold is refused.
func TestSumText(t *testing.T) {
	for text, want := range map[string]Sum{"0": {}, "430": {0, 430}, "-1": {-1, 1<<64 - 1}, "18446744073709551616": {1, 0}, "-18446744073709551617": {-2, 1<<64 - 1}} {
		var s Sum
		require.NoError(t, s.UnmarshalText([]byte(text)))
		require.Equal(t, want, s)
		require.Equal(t, text, s.String())
	}
	var s Sum
	require.Error(t, s.UnmarshalText([]byte("1e3")))
	require.Error(t, s.UnmarshalText([]byte("99999999999999999999999999999999999999999")))
}

// Sums of clearing ids go beyond 64 bits.
func TestTotalsCarry(t *testing.T) {
	a := line(1, 500)
	a.CID = 1<<64 - 1
	ours := NewTotals(Acquirer)
	ours.Add(&a, 0)
	ours.Add(&a, 0)
	diffs, _ := ours.Compare(NewTotals(Acquirer))
	require.Equal(t, "36893488147419103230", diffs[0].Ours.CID.String())
}

// Totals are of the member in whose file a line stands, and name it.
func TestTotalsNameTheirMember(t *testing.T) {
	a := line(1, 500)
	a.Acquirer, a.Issuer = 20, 10
	for side, member := range map[Side]uint64{Acquirer: 20, Issuer: 10} {
		ours := NewTotals(side)
		ours.Add(&a, 0)
		diffs, equal := ours.Compare(NewTotals(side))
		require.False(t, equal)
		require.Equal(t, member, diffs[0].Member)
		require.EqualValues(t, 1, ours.Lines())
	}
}

// A line that does not tell what the others are compared by is not taken for equal.
func TestTotalsOfSilentLines(t *testing.T) {
	a := line(1, 500)
	b := a
	b.Tells = TellsFee | TellsDate
	ours, theirs := NewTotals(Acquirer), NewTotals(Acquirer)
	ours.Add(&a, TellsStatus|TellsFee|TellsDate)
	theirs.Add(&b, TellsStatus|TellsFee|TellsDate)
	_, equal := ours.Compare(theirs)
	require.False(t, equal)
}
