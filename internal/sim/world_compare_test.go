package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// Each of the three books that says something else than the others is found, with the
// card and what happened with it.
func TestWorldFindsWhatDiffers(t *testing.T) {
	t.Parallel()
	stands := func(w *World, fits func(*receipt) bool) *receipt {
		for _, l := range w.lanes {
			for _, r := range l.receipts {
				if r.stands() && r.req.Function == points.Redeem && fits(r) {
					return r
				}
			}
		}
		return nil
	}
	whichever := func(*receipt) bool { return true }
	for name, test := range map[string]struct {
		tamper func(w *World) *card
		says   string
	}{
		"a receipt for more": {func(w *World) *card {
			r := stands(w, whichever)
			r.req.Amount++
			return r.card
		}, "receipt says"},
		"a receipt that was thought reversed": {func(w *World) *card {
			r := stands(w, whichever)
			r.reversed = true
			return r.card
		}, "receipt says"},
		"a receipt that nobody gave": {func(w *World) *card {
			r := stands(w, whichever)
			r.req.STAN = 999_999
			return r.card
		}, "not in the journal"},
		"a receipt that was lost": {func(w *World) *card {
			l := w.lanes[0]
			l.receipts = l.receipts[1:]
			return nil
		}, "nobody has asked"},
		"points that a bank moved": {func(w *World) *card {
			e := w.banks[0].issuer.book.history[0]
			e.free++
			return w.cardOfPAN(e.request.PAN)
		}, "whose book moved"},
		"a transaction that only a bank has": {func(w *World) *card {
			e := *w.banks[0].issuer.book.history[0]
			e.request.RRN, e.free = points.Position(888_888).RRN(), 1
			w.banks[0].issuer.book.history = append(w.banks[0].issuer.book.history, &e)
			return w.cardOfPAN(e.request.PAN)
		}, "does not know of it"},
		"a close that counts what its sender never had": {func(w *World) *card {
			for _, l := range w.lanes {
				for _, r := range l.receipts {
					if r.req.Function == points.BatchClose && len(r.claims) > 0 {
						r.claims[0].amount++
						return nil
					}
				}
			}
			return nil
		}, "counts"},
		"a gift to another card": {func(w *World) *card {
			for _, l := range w.lanes {
				for _, r := range l.receipts {
					if r.req.Function == points.Transfer && r.stands() && r.card.bank != nil {
						r.to = r.card
						return r.card
					}
				}
			}
			return nil
		}, "another card"},
		"a sale that a bank thinks reversed": {func(w *World) *card {
			for _, e := range w.banks[1].issuer.book.history {
				if e.approved() && e.request.Function == points.Redeem {
					e.reversed = true
					return w.cardOfPAN(e.request.PAN)
				}
			}
			return nil
		}, "at the switch it stands"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := newWorld(t.Context(), WorldOptions{Seed: 3, Faults: []string{}})
			require.NoError(t, err)
			require.NoError(t, w.play())
			require.Nil(t, w.wrong)
			of := test.tamper(w)
			require.NoError(t, w.compare())
			require.NoError(t, w.close())
			require.NotNil(t, w.report.Mismatch)
			require.Contains(t, w.report.Mismatch.What, test.says)
			if of != nil {
				require.Equal(t, of.name, w.report.Mismatch.Card)
				require.NotEmpty(t, w.report.Mismatch.Steps)
			}
		})
	}
}
