package dialect

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// The server's step of one redemption: read the request, write the answer.
func BenchmarkRedeem(b *testing.B) {
	for _, d := range []*Dialect{Pos(), Host()} {
		b.Run(d.Name(), func(b *testing.B) {
			r := sale(b)
			r.MAC = [8]byte{1}
			frame := written(b, d, &r)
			resp := points.Response{Reason: points.Approved, Position: 43, Date: 20260216, Used: 300}
			resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: 901, Amount: 1200})
			var (
				req points.Request
				dst []byte
			)
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, d.Decode(frame, &req))
				dst = d.AppendResponse(dst[:0], &req, &resp)
			}
		})
	}
}
