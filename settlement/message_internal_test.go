package settlement

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// A line has the type, processing code and condition of the message that has asked for its
// item, and zeros where people or the house itself have acted.
func TestMessageOf(t *testing.T) {
	type message struct {
		mti        uint16
		processing uint32
		condition  uint8
	}
	for _, c := range []struct {
		door     points.Door
		function points.Function
		reverses points.Function
		want     message
	}{
		{points.DoorTerminal, points.Redeem, 0, message{200, 0, 0}},
		{points.DoorTerminal, points.Refund, 0, message{220, 200_000, 0}},
		{points.DoorHost, points.OfflineEarn, 0, message{220, 210_000, 0}},
		{points.DoorTerminal, points.CompletionAdvice, 0, message{220, 0, 6}},
		{points.DoorTerminal, points.Swap, 0, message{200, 400_000, 66}},
		{points.DoorHost, points.Swap, 0, message{200, 400_000, 0}},
		{points.DoorTerminal, points.Reversal, points.Redeem, message{400, 0, 0}},
		{points.DoorTerminal, points.Reversal, points.Earn, message{400, 210_000, 0}},
		{points.DoorTerminal, points.Reversal, 0, message{400, 0, 0}},
		{points.DoorHost, points.Reversal, points.Void, message{420, 200_000, 0}},
		{points.DoorHost, points.Reversal, points.Completion, message{420, 0, 6}},
		{points.DoorOperator, points.Swap, 0, message{}},
		{points.DoorClock, points.Reversal, points.Redeem, message{}},
		{points.DoorTerminal, 0, 0, message{}},
		{0, points.Redeem, 0, message{}},
	} {
		mti, processing, condition := messageOf(&book.Command{Function: c.function, Reverses: c.reverses, Key: points.TraceKey{Door: c.door}})
		require.Equal(t, c.want, message{mti, processing, condition}, "%+v", c)
	}
}
