package settlement_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// swamped is a day of which nothing can be cleared: every tenth item was declined, the
// others lack a rate.
type swamped struct{ *settlement.Synthetic }

func (s *swamped) Entries(ctx context.Context, first, last points.Position, visit func(*settlement.Entry) error) error {
	return s.Synthetic.Entries(ctx, first, last, func(e *settlement.Entry) error { //nolint:wrapcheck // a test.
		if e.Why, e.What = "RATE_UNKNOWN", "no rate"; e.Position%10 == 0 {
			e.Why, e.What, e.Declined = "ORIGINAL_UNKNOWN", "no original", true
		}
		return visit(e)
	})
}

// Kept: a ledger has valued none of it either.
func (s *swamped) Kept(context.Context, settlement.Cut) (settlement.Kept, error) {
	return settlement.Kept{}, nil
}

// However many items cannot be cleared, the night goes on with a second person: the first are
// listed, the others counted and summed up by reason and programme, in the operator's list
// and in that of every member, alike for any number of workers; each set is proved.
func TestMoreExceptionsThanAreListed(t *testing.T) {
	const items = 160_000 // 144,000 of them without a rate, 16,000 declined
	day, err := settlement.NewSynthetic(items, 4, 1)
	require.NoError(t, err)
	var first map[string]string
	for _, workers := range []int{3, 1} {
		n := newNight(t, day, func(o *settlement.Options) { o.Workers = workers })
		n.Runner, err = settlement.NewRunner(&swamped{day}, n.opts)
		require.NoError(t, err)
		run, err := n.Run(t.Context(), 20260302, 1, order("li"))
		require.NoError(t, err)
		require.Equal(t, []uint64{0, items}, []uint64{run.Items, run.Exceptions})
		c := checkNamed(t, run.Checks, settlement.CheckExceptions)
		require.Equal(t, []any{false, settlement.SecondPerson}, []any{c.Pass, c.Severity})
		require.Equal(t, "144000; the first is item 1: RATE_UNKNOWN; 100000 are listed, the others summed up by reason; 16000 refunds were declined without an original", c.Found)
		require.NoError(t, n.Approve(t.Context(), run, order("wang")))
		require.NoError(t, n.Publish(t.Context(), run, order("wang")))
		if first == nil {
			first = tree(t, filepath.Join(n.opts.Folder, ulid))
			n.sumsUp(t, run)
			continue
		}
		require.Equal(t, first, tree(t, filepath.Join(n.opts.Folder, ulid)))
	}
}

// sumsUp holds the lists of a swamped day against what its items say one by one.
func (n *night) sumsUp(t *testing.T, run *settlement.Run) {
	t.Helper()
	type sum struct {
		items  uint64
		amount points.Amount
	}
	lists := map[tariff.Member]map[string]sum{}
	booked, declined := 0, 0
	require.NoError(t, (&swamped{n.day}).Entries(t.Context(), 1, points.Position(n.day.Items), func(e *settlement.Entry) error {
		if e.Declined {
			declined++
		} else {
			booked++
		}
		if (e.Declined && declined <= 10_000) || (!e.Declined && booked <= settlement.MaxExceptions) {
			return nil
		}
		for m := range map[tariff.Member]bool{0: true, e.Acquirer: true, e.Issuer: true, e.Target: true} {
			if lists[m] == nil {
				lists[m] = map[string]sum{}
			}
			key := fmt.Sprintf("%s %d", e.Why, e.Program)
			lists[m][key] = sum{lists[m][key].items + 1, lists[m][key].amount + e.Amount}
		}
		return nil
	}))
	require.Len(t, lists, 5)
	all, err := n.Exceptions(run)
	require.NoError(t, err)
	for m, want := range lists {
		list, folder := all, filepath.Join(n.Folder(run), m.String())
		if m != 0 {
			text, err := os.ReadFile(filepath.Join(folder, files.WholeName(files.EXC, m, 20260302, 1, "csv").String()))
			require.NoError(t, err)
			list, err = files.ReadExceptions(text)
			require.NoError(t, err)
			report, err := files.Verify(os.DirFS(folder), nil, files.Check{Scale: settlement.Scale})
			require.NoError(t, err)
			require.Empty(t, report.Breaches[:min(3, len(report.Breaches))], m)
		}
		got, listed := map[string]sum{}, 0
		for _, x := range list {
			if x.More == 0 {
				listed++
				continue
			}
			var is sum
			var program points.ProgramID
			_, err := fmt.Sscanf(string(x.Raw), "MORE items=%d programme=%d amount=%d", &is.items, &program, &is.amount)
			require.NoError(t, err)
			require.Equal(t, is.items, x.More)
			got[fmt.Sprintf("%s %d", x.Reason, program)] = is
		}
		require.Equal(t, want, got, m)
		if m == 0 {
			require.Equal(t, settlement.MaxExceptions+10_000, listed)
		}
	}
}
