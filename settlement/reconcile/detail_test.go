package reconcile

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

type memory struct{ bytes.Buffer }

func (*memory) Close() error { return nil }

// item is a redemption as its acquirer or issuer has it in a detail file.
func item(rrn points.Position, amount points.Amount, role files.Role) files.Line {
	l := files.Line{
		ID: uint64(rrn), Kind: tariff.KindRDM, Acquirer: 10000001, Forwarder: 10000001, Issuer: 20000001, STAN: 7, Transmitted: 20260301120000, Local: 20260301200000,
		RRN: rrn.RRN(), MTI: 200, Response: [2]byte{'0', '0'}, Asset: AssetOf("901"), Amount: amount, RateVersion: 1, Num: 1, Den: 1, Std: amount,
	}
	if role == files.RoleIssuer {
		l.Amount, l.Std = -amount, -amount
	}
	l.Interchange, l.SwitchFee, l.VAT = -3, -2, 1
	l.Net = l.Std - 4
	return l
}

// detailOf writes a detail file of one part.
func detailOf(t testing.TB, role files.Role, items ...files.Line) []byte {
	var out memory
	header := files.Header{
		Date: 20260301, Cycle: 1, Operator: 90000000, Receiver: 10000001, Role: role, Created: 20260302000000, Zone: [5]byte([]byte("+0800")),
		Run: [26]byte([]byte("01ARZ3NDEKTSV4RRFFQ69G5FAV")), Unit: [3]byte([]byte("QZP")), Scale: 4, Mode: files.Production,
	}
	if role == files.RoleIssuer {
		header.Receiver = 20000001
	}
	w, err := files.NewDetail(header, uint64(len(items)), false, func(string) (io.WriteCloser, error) { return &out, nil })
	require.NoError(t, err)
	for i := range items {
		require.NoError(t, w.Write(&items[i], ""))
	}
	_, err = w.Close()
	require.NoError(t, err)
	return out.Bytes()
}

func readDetail(t *testing.T, text []byte, side Side) (lines []Line, bad []BadLine, err error) {
	d, err := NewDetail(bytes.NewReader(text), side, func(b BadLine) error { bad = append(bad, b); return nil })
	if err != nil {
		return nil, nil, err
	}
	for {
		var l Line
		ok, err := d.Next(&l)
		if err != nil || !ok {
			return lines, bad, err
		}
		lines = append(lines, l)
	}
}

// A detail file is read in either role, both in the acquirer's view, fees in their own.
func TestDetailReadsBothRoles(t *testing.T) {
	for side, role := range map[Side]files.Role{Acquirer: files.RoleAcquirer, Issuer: files.RoleIssuer} {
		lines, bad, err := readDetail(t, detailOf(t, role, item(1, 500, role)), side)
		require.NoError(t, err)
		require.Empty(t, bad)
		want := line(1, 500)
		want.Number, want.Expect = 2, 0
		want.Fees[side] = -4
		require.Equal(t, []Line{want}, lines)
	}
	_, _, err := readDetail(t, detailOf(t, files.RoleAcquirer), Issuer)
	require.ErrorContains(t, err, "role A, want that of the issuer")
}

// A file with one byte changed is refused whole, but the line in which it is broken is
// handed on with its bytes first; a header that cannot be read is refused at once (R3).
func TestDetailRefusesWhatWasChanged(t *testing.T) {
	text := detailOf(t, files.RoleAcquirer, item(1, 500, files.RoleAcquirer), item(2, 70, files.RoleAcquirer))
	rows := strings.SplitAfter(string(text), "\r\n")
	rows[1] = strings.Replace(rows[1], "RDM", "XDM", 1)
	lines, bad, err := readDetail(t, []byte(strings.Join(rows, "")), Acquirer)
	require.ErrorContains(t, err, "sha")
	require.Len(t, lines, 1)
	require.Len(t, bad, 1)
	require.EqualValues(t, 2, bad[0].Number)
	require.Equal(t, strings.TrimRight(rows[1], "\r\n"), string(bad[0].Raw))

	_, _, err = readDetail(t, text[:len(text)-20], Acquirer)
	require.Error(t, err)
	_, _, err = readDetail(t, text[10:], Acquirer)
	require.ErrorContains(t, err, "header")
	_, _, err = readDetail(t, []byte(strings.Join(rows[:3], "")), Acquirer)
	require.ErrorContains(t, err, "end of the file")
}

// A row that can be read and does not compute is compared, and reported too.
func TestDetailComparesWhatDoesNotCompute(t *testing.T) {
	wrong := item(1, 500, files.RoleAcquirer)
	wrong.Net++
	lines, bad, err := readDetail(t, detailOf(t, files.RoleAcquirer, wrong), Acquirer)
	require.NoError(t, err)
	require.Len(t, lines, 1)
	require.Len(t, bad, 1)
	require.Contains(t, bad[0].Why, "net")
}

// generated gives so many lines of a day without keeping them.
type generated struct {
	side Side
	n    points.Position
	at   points.Position
}

func (g *generated) Next(l *Line) (bool, error) {
	if g.at++; g.at > g.n {
		return false, nil
	}
	*l = Line{
		Key: Key{RRN: g.at.RRN(), Acquirer: points.AcquirerID(10000001 + g.at%7), When: 20260301120000, STAN: points.STAN(g.at % 1_000_000)}, Number: uint64(g.at),
		CID: uint64(g.at), Amount: int64(g.at%977 + 1), Issuer: 20000001, Date: 20260301, Asset: AssetOf("901"), Kind: [3]byte{'R', 'D', 'M'}, Status: [2]byte{'0', '0'},
		Tells: TellsStatus | TellsFee | TellsDate, Expect: Both,
	}
	if g.side != Switch {
		l.Expect = 0
		if g.at%1000 == 0 {
			l.Amount++ // One in a thousand is about another amount.
		}
	}
	return true, nil
}

// BenchmarkCompare merges three sorted days that are made on the way.
func BenchmarkCompare(b *testing.B) {
	for _, n := range []points.Position{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("lines=%d", 3*n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sum, err := Compare(&generated{side: Switch, n: n}, &generated{side: Acquirer, n: n}, &generated{side: Issuer, n: n}, Hands{})
				require.NoError(b, err)
				require.EqualValues(b, n/1000*2, sum.Classes[Amount].Count)
			}
			b.ReportMetric(float64(3*n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// BenchmarkFiles compares our lines with two detail files from memory, each read on a
// goroutine of its own.
func BenchmarkFiles(b *testing.B) {
	const n = 50_000
	var texts [sides][]byte
	for side, role := range map[Side]files.Role{Acquirer: files.RoleAcquirer, Issuer: files.RoleIssuer} {
		items := make([]files.Line, n)
		for i := range items {
			items[i] = item(points.Position(i+1), 500, role)
		}
		texts[side] = detailOf(b, role, items...)
	}
	ours := make([]Line, n)
	for i := range ours {
		ours[i] = line(points.Position(i+1), 500)
		ours[i].Fees = [sides]int64{Acquirer: -4, Issuer: -4}
	}
	b.SetBytes(int64(len(texts[Acquirer]) + len(texts[Issuer])))
	for b.Loop() {
		var sources [sides]*Ahead
		for _, side := range []Side{Acquirer, Issuer} {
			d, err := NewDetail(bytes.NewReader(texts[side]), side, nil)
			require.NoError(b, err)
			sources[side] = ReadAhead(d)
		}
		sum, err := Compare(Slice(ours), sources[Acquirer], sources[Issuer], Hands{})
		require.NoError(b, err)
		require.EqualValues(b, n, sum.Classes[Match].Count)
		sources[Acquirer].Close()
		sources[Issuer].Close()
	}
	b.ReportMetric(float64(3*n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
