package dialect

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// What is kept for the next frame holds nothing of the last one's buffer: neither the
// frame nor a value of it, after a whole frame and after a broken one.
func TestNothingIsKept(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		frame, resp := redemption(t, d)
		for _, sent := range [][]byte{frame, frame[:len(frame)-3]} {
			m, wrong := d.open(sent)
			require.Nil(t, wrong)
			_ = d.readFields(m) // the cut one is broken
			require.NotNil(t, m.values[3])
			d.close(m)
			require.Nil(t, m.body)
			require.Equal(t, [lastElement + 1][]byte{}, m.values)
		}
		var req points.Request
		require.NoError(t, d.Decode(frame, &req))
		f := d.blank(req.Envelope)
		d.draftAnswer(f, &req, &resp, []byte("48"))
		require.NotNil(t, f.values[48])
		d.discard(f)
		require.Equal(t, [lastElement + 1][]byte{}, f.values)
		require.Equal(t, elementSet{}, f.set)
		require.Empty(t, f.text)
	}
}
