package settlement

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// refused gives entries that cannot be cleared, one at each position: the first so many were
// declined and booked nothing.
type refused struct{ declined points.Position }

func (r refused) Entries(_ context.Context, first, last points.Position, visit func(*Entry) error) error {
	for position := first; position <= last; position++ {
		e := Entry{Why: codeTooLate, What: "too late", Declined: position <= r.declined}
		e.Position, e.Kind = position, tariff.KindRDM
		e.Batch = Batch{Number: uint32(position)}
		if err := visit(&e); err != nil {
			return err
		}
	}
	return nil
}

// Of what was declined the first ten thousand are listed, of what booked something the first
// hundred thousand, and all are counted.
func TestExceptionsAreBounded(t *testing.T) {
	models, err := netting.NewModels(1, []netting.Rule{{One: netting.Any, Other: netting.Any, Model: netting.MNET}})
	require.NoError(t, err)
	b, err := newBasis(&Setting{Rates: tariff.NewRates(), Fees: tariff.NewFees(), Parties: []Party{{Member: 1, Class: 1}}}, models)
	require.NoError(t, err)
	compute := func(declined, booked points.Position) (*computed, error) {
		p := &progress{clock: func() points.Timestamp { return 1 }}
		return b.compute(t.Context(), refused{declined}, Cut{First: 1, Last: declined + booked}, 2, p)
	}
	for _, c := range []struct{ declined, booked, listed points.Position }{
		{maxDeclined - 1, 3, maxDeclined + 2},
		{maxDeclined, 3, maxDeclined + 3},
		{maxDeclined + 7, 3, maxDeclined + 3},
		{maxDeclined + 7, MaxExceptions, maxDeclined + MaxExceptions},
		{maxDeclined + 7, MaxExceptions + 1, maxDeclined + MaxExceptions},
	} {
		all, err := compute(c.declined, c.booked)
		require.NoError(t, err)
		require.EqualValues(t, c.declined, all.exceptions.declined)
		require.EqualValues(t, c.booked, all.exceptions.booked)
		require.Len(t, all.exceptions.listed, int(c.listed))
		var left uint64
		for _, l := range all.exceptions.left {
			left += l.items
		}
		require.Equal(t, all.exceptions.all(), left, "each is counted by its reason")
	}
}

// legs gives one debt at each position, each in a batch of its chunk.
type legs struct{}

func (legs) Entries(_ context.Context, first, last points.Position, visit func(*Entry) error) error {
	for position := first; position <= last; position++ {
		e := Entry{Item: tariff.Item{Position: position, Kind: tariff.KindADJ, Program: points.Standard, Payer: 1, Payee: 2, Amount: 1, At: 1}}
		e.Batch = Batch{Number: uint32(first)}
		if err := visit(&e); err != nil {
			return err
		}
	}
	return nil
}

// What workers have found apart is put together, of whichever of them: items, lines, and the
// batches that have to be closed.
func TestWorkersAreAddedUp(t *testing.T) {
	models, err := netting.NewModels(1, []netting.Rule{{One: netting.Any, Other: netting.Any, Model: netting.MNET}})
	require.NoError(t, err)
	b, err := newBasis(&Setting{Rates: tariff.NewRates(), Fees: tariff.NewFees(), Parties: []Party{{Member: 1, Class: 1}, {Member: 2, Class: 1}}}, models)
	require.NoError(t, err)
	const chunks = 8
	for workers := 1; workers <= 4; workers++ {
		p := &progress{clock: func() points.Timestamp { return 1 }}
		all, err := b.compute(t.Context(), legs{}, Cut{First: 1, Last: chunks * ChunkPositions}, workers, p)
		require.NoError(t, err)
		require.Len(t, all.batches, chunks)
		require.EqualValues(t, chunks*ChunkPositions, all.items)
		for place := range all.lines {
			if m := all.roll.Member(place); m.Institution() {
				require.EqualValues(t, chunks*ChunkPositions, all.lines[place].count[0]+all.lines[place].count[1])
			}
		}
	}
}
