package ledger_test

import (
	"context"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Of many who race at a cap from many terminals, with repeats between, exactly as many go
// through as it lets; a start later it still stands, the journal proves itself, and under
// a wider cap the day would have gone as that says.
func TestRacingAtACap(t *testing.T) {
	const most, asked = 25, 200
	h := build(t, vfs.NewMem(), ledger.Options{})
	h.furnish(4)
	rule := book.RiskRule{Name: "merchant", Measure: book.CountOf, Per: book.PerMerchant, Window: book.BusinessDay, Limit: most, Action: book.Decline}
	h.put(book.Entry{Risk: &book.RiskRules{Rules: []book.RiskRule{rule}}})
	from := h.ledger.Durable() + 1
	sale := func(i int) book.Command {
		cmd := command(book.KindRedeem, i%10, uint64(1000+i), points.MemberID(1+i%4), 1)
		cmd.Function = points.Redeem
		return cmd
	}
	reasons := make(chan points.Reason, 2*asked)
	var racers sync.WaitGroup
	for i := range asked {
		racers.Go(func() {
			for range 2 { // the second is a repeat
				cmd := sale(i)
				out, err := h.ledger.Do(context.Background(), &cmd)
				if err != nil {
					out.Reason = points.InternalError
				}
				reasons <- out.Reason
			}
		})
	}
	racers.Wait()
	count := map[points.Reason]int{}
	for range 2 * asked {
		count[<-reasons]++
	}
	require.Equal(t, map[points.Reason]int{points.Approved: 2 * most, points.OverCountLimit: 2 * (asked - most)}, count)

	h.close()
	h.open()
	require.Equal(t, points.OverCountLimit, h.do(sale(asked)).Reason)
	h.verify()

	rule.Limit = most + 10
	now := map[points.Reason]int{}
	require.NoError(t, ledger.Rehearse(context.Background(), h.ledger, &book.RiskRules{Rules: []book.RiskRule{rule}}, from, h.ledger.Durable(), func(_ *book.Record, out *book.Outcome) error {
		now[out.Reason]++
		return nil
	}))
	require.Equal(t, map[points.Reason]int{points.Approved: most + 10, points.OverCountLimit: asked + 1 - most - 10}, now)
	h.close()
}
