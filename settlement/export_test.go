package settlement_test

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/table"
	"github.com/lianfen/lianfen/tariff"
)

// rowKey tells rows apart: a sale that several programmes pay is an item of each.
type rowKey struct {
	id      uint64
	program string
}

// exported reads the table of a run as other programs do, by clearing id and programme.
func exported(t *testing.T, r *settlement.Runner, run *settlement.Run) (all map[rowKey]*table.Row, order []rowKey) {
	t.Helper()
	var file bytes.Buffer
	n, err := r.Export(t.Context(), run, &file)
	require.NoError(t, err)
	require.Equal(t, run.Items, n)
	rows, err := parquet.Read[table.Row](bytes.NewReader(file.Bytes()), int64(file.Len()))
	require.NoError(t, err)
	require.Len(t, rows, int(n))
	all = map[rowKey]*table.Row{}
	for i := range rows {
		key := rowKey{rows[i].ID, rows[i].Program}
		require.NotContains(t, all, key)
		all[key] = &rows[i]
		order = append(order, key)
	}
	return all, order
}

// details calls visit with every line of every detail file of a run.
func details(t *testing.T, folder string, visit func(files.Header, *files.Line)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*", "QZ_DET_*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		file, err := os.Open(path)
		require.NoError(t, err)
		d, broken, err := files.NewDetailReader(file)
		require.NoError(t, err)
		require.Empty(t, broken)
		for {
			var l files.Line
			more, broken, err := d.Next(&l)
			require.NoError(t, err)
			require.Empty(t, broken)
			if !more {
				break
			}
			visit(d.Header(), &l)
		}
		require.NoError(t, file.Close())
	}
}

// text is a column of fixed width as a table has it.
func text(field []byte) string { return strings.TrimRight(string(field), "\x00 ") }

// common is what a row and a line have to say alike, whoever reads the line.
func common(l *files.Line) []any {
	return []any{
		l.Kind.String(), uint32(l.Acquirer), uint32(l.Forwarder), uint32(l.Issuer), uint32(l.STAN), l.Transmitted, l.Local, text(l.RRN[:]), text(l.Auth[:]), uint32(l.MTI),
		l.Processing, uint32(l.EntryMode), uint32(l.Condition), uint32(l.Category), text(l.Terminal[:]), text(l.Merchant[:]), text(l.Account[:]),
		table.Date(l.OriginalDate), l.Original, text(l.Response[:]), l.Flags.String(),
	}
}

func commonOf(r *table.Row) []any {
	return []any{
		r.Kind, r.Acquirer, r.Forwarder, r.Issuer, r.STAN, r.Transmitted, r.Local, r.RRN, r.Auth, r.MTI, r.Processing, r.EntryMode, r.Condition, r.Category, r.Terminal,
		r.Merchant, r.Account, r.OriginalDate, r.Original, r.Response, r.Flags,
	}
}

// Every line of every detail file of the golden day is in the table of its run, column by
// column, and the table has nothing else; each row comes to zero, and all rows to the
// members' positions.
func TestExportIsWhatDetailFilesSay(t *testing.T) {
	s := tell(t)
	tellGolden(s)
	folder := t.TempDir()
	r := s.runner(folder, 2)
	s.settle(r, dayOne, 1, "01KJJQZ3A00000000000000001")
	run := s.settle(r, dayTwo, 1, goldenRun)
	rows, order := exported(t, r, run)
	require.True(t, slices.IsSortedFunc(order, func(a, b rowKey) int { return cmp.Compare(a.id, b.id) }), "by clearing id")
	lines, shares, source := map[rowKey]int{}, map[rowKey]int64{}, map[uint64]string{}
	for key, row := range rows {
		if row.Swap != nil {
			source[key.id] = key.program
		}
	}
	details(t, filepath.Join(folder, goldenRun), func(h files.Header, l *files.Line) {
		key := rowKey{l.ID, text(l.Asset[:])}
		if h.Role == files.RoleSwapTarget {
			key.program = source[l.ID] // The line is of what was granted.
		}
		row := rows[key]
		require.NotNil(t, row, "item %v", key)
		lines[key]++
		require.Equal(t, common(l), commonOf(row), "item %d, role %v", l.ID, h.Role)
		require.Equal(t, []any{table.Date(h.Date), uint32(h.Cycle), uint32(h.Scale)}, []any{row.BusinessDate, row.Cycle, row.StdScale})
		is := table.Side{Std: int64(l.Std), Interchange: int64(l.Interchange), SwitchFee: int64(l.SwitchFee), VAT: int64(l.VAT), Other: int64(l.Other), Net: int64(l.Net)}
		of := []any{text(l.Asset[:]), uint32(l.AssetScale), l.RateVersion, l.Num, l.Den}
		from := []any{row.Program, row.Scale, row.RateVersion, row.Num, row.Den}
		switch h.Role {
		case files.RoleAcquirer:
			require.Equal(t, &is, row.AcquirerSide, "item %d", l.ID)
			require.Equal(t, from, of)
		case files.RoleIssuer:
			require.Equal(t, &is, row.IssuerSide, "item %d", l.ID)
			require.Equal(t, from, of)
		case files.RoleSwapTarget:
			require.Equal(t, &is, row.TargetSide, "item %d", l.ID)
			require.Equal(t, []any{row.Swap.Program, row.Swap.Scale, row.Swap.RateVersion, row.Swap.Num, row.Swap.Den, row.Swap.Granted}, append(of, int64(l.Amount)))
			require.EqualValues(t, h.Receiver, row.Target)
		default:
			shares[key] += int64(l.Net)
		}
		if amount := max(l.Amount, -l.Amount); h.Role == files.RoleAcquirer || h.Role == files.RoleIssuer {
			require.EqualValues(t, amount, max(row.Amount, -row.Amount), "item %d", l.ID)
		}
	})
	require.Len(t, lines, len(rows))
	nets := map[tariff.Member]int64{}
	for key, row := range rows {
		sum, sides := row.Shares+row.House, 0
		for _, of := range []struct {
			member uint32
			side   *table.Side
		}{{row.Acquirer, row.AcquirerSide}, {row.Issuer, row.IssuerSide}, {row.Target, row.TargetSide}} {
			if of.side != nil {
				sum, sides = sum+of.side.Net, sides+1
				nets[tariff.Member(of.member)] += of.side.Net
			}
		}
		require.Zero(t, sum, "item %v", key)
		require.LessOrEqual(t, sides, lines[key])
		require.Equal(t, shares[key], row.Shares, "item %v", key)
	}
	require.EqualValues(t, 17_867_576, nets[airline], "its figure in NET")
	var cups, refunds int
	for _, row := range rows {
		switch {
		case row.Swap != nil && row.Swap.Granted == 12_384: // By hand: 12345 wanted, 531666 worth, 12384 granted
			cups++
			require.Equal(t, &table.Swap{Program: "000902", Scale: 2, Granted: 12_384, RateVersion: row.Swap.RateVersion, Num: 85, Den: 2}, row.Swap)
			require.EqualValues(t, 531_666, row.Value)
		case row.Kind == "RFD" && row.Of == "RDM" && row.Amount == -100:
			refunds++
		}
	}
	require.Equal(t, 1, cups)
	require.Positive(t, refunds)
}

// What is exported is what was published: a run that is not, or whose rates, fees or input are
// others, is refused; a write that fails is told, and leaves no whole file.
func TestExportRefuses(t *testing.T) {
	n := newNight(t, madeUp(t, 3_000, 4), nil)
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	_, err = n.Export(t.Context(), run, io.Discard)
	require.Equal(t, points.NotPermitted, points.ReasonOf(err))
	run = n.publish(t)
	rows, _ := exported(t, n.Runner, run)
	require.Len(t, rows, int(run.Items))
	for _, change := range []func(*settlement.Run){
		func(r *settlement.Run) { r.Rates = strings.Repeat("0", 64) },
		func(r *settlement.Run) { r.Fees = strings.Repeat("0", 64) },
		func(r *settlement.Run) { r.Input = strings.Repeat("0", 64) },
		func(r *settlement.Run) { r.Items++ },
		func(r *settlement.Run) { r.Cut.Last-- },
	} {
		other := *run
		change(&other)
		var file bytes.Buffer
		_, err = n.Export(t.Context(), &other, &file)
		require.ErrorIs(t, err, settlement.ErrDiffers)
		_, err = parquet.Read[table.Row](bytes.NewReader(file.Bytes()), int64(file.Len()))
		require.Error(t, err, "it has no end")
	}
	_, err = n.Export(t.Context(), run, full{})
	require.ErrorIs(t, err, io.ErrShortWrite)
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// Who shares a fee without another part in the item is under shares, all of them together.
func TestExportAddsShares(t *testing.T) {
	s := tell(t)
	s.put(book.Entry{Fees: &tariff.Schedule{From: s.clock.Add(10 * time.Minute), Rows: []tariff.FeeRow{
		{Kind: tariff.KindRDM, Fixed: 100, Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 1}, {Member: teaShop, Weight: 2}, {Member: ferry, Weight: 7}}},
	}}})
	s.later(time.Hour)
	s.must(s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, 301))
	s.cutOver(dayTwo, 0)
	r := s.runner(t.TempDir(), 1)
	rows, order := exported(t, r, s.settle(r, dayOne, 1, goldenRun))
	require.Equal(t, []int64{90, 10}, []int64{rows[order[0]].Shares, rows[order[0]].House})
}
