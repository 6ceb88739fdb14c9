package dialect

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// A terminal counts each approved request once, by what was paid in points; a repeat
// counts nothing, a reversal takes its request out, and a lost receipt is forgotten.
func TestTill(t *testing.T) {
	var till Till
	ok := func(f points.Function, stan points.STAN, amount points.Amount, resp points.Response) points.Request {
		req := points.Request{Function: f, STAN: stan, Batch: 7, Amount: amount}
		till.Hear(&req, &resp)
		return req
	}
	approved := points.Response{Reason: points.Approved}
	sale := ok(points.Redeem, 1, 100, approved)
	ok(points.Redeem, 1, 100, approved)
	ok(points.Redeem, 2, 50, points.Response{Reason: points.ApprovedPartly, Amount: 30})
	ok(points.Redeem, 3, 50, points.Response{Reason: points.Approved, Used: 20, SelfPaid: 30})
	ok(points.Void, 4, 100, approved)
	ok(points.Balance, 5, 0, approved)
	ok(points.Redeem, 6, 9, points.Response{Reason: points.NotEnoughPoints})
	require.Equal(t, points.Totals{DebitAmount: 150, DebitCount: 3, CreditAmount: 100, CreditCount: 1}, till.Totals(7))
	require.Zero(t, till.Totals(8))

	reversal := points.Request{Function: points.Reversal, Reversed: points.Redeem, STAN: 2, Batch: 7}
	till.Hear(&reversal, &approved)
	till.Forget(&sale)
	require.Equal(t, points.Totals{DebitAmount: 20, DebitCount: 1, CreditAmount: 100, CreditCount: 1}, till.Totals(7))

	for stan := points.STAN(10); stan < 25; stan++ {
		ok(points.Earn, stan, 1, approved)
	}
	pieces := till.Items(7)
	require.Len(t, pieces, 3)
	require.Len(t, pieces[0], MaxUpload)
	require.Len(t, pieces[2], 1)
}
