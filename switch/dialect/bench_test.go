package dialect

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

func BenchmarkRedeemPos(b *testing.B) {
	benchmarkRedeem(b, Pos())
	b.Run("stock", func(b *testing.B) { benchmarkStock(b, Pos()) })
}

func BenchmarkRedeemHost(b *testing.B) {
	benchmarkRedeem(b, Host())
	b.Run("stock", func(b *testing.B) { benchmarkStock(b, Host()) })
}

// benchmarkRedeem is the server's step of one redemption, read the request and write
// the answer, by the plan and by moov walking the same spec.
func benchmarkRedeem(b *testing.B, d *Dialect) {
	frame, resp := redemption(b, d)
	b.Run("plan", func(b *testing.B) {
		var (
			req points.Request
			dst []byte
		)
		b.ReportAllocs()
		for b.Loop() {
			if err := d.Decode(frame, &req); err != nil {
				b.Fatal(err)
			}
			dst = d.AppendResponse(dst[:0], &req, &resp)
		}
	})
	b.Run("moov", func(b *testing.B) {
		var (
			req points.Request
			dst []byte
			o   = oracle{d}
		)
		b.ReportAllocs()
		for b.Loop() {
			if err := o.decode(frame, &req); err != nil {
				b.Fatal(err)
			}
			dst, _ = o.appendResponse(dst[:0], &req, &resp)
		}
	})
}

// redemption is the frame of a redemption and what answers it.
func redemption(t testing.TB, d *Dialect) ([]byte, points.Response) {
	r := sale(t)
	r.MAC = [8]byte{1}
	resp := points.Response{
		Reason: points.Approved, Position: 43, Date: 20260216, LocalDate: 216, LocalTime: 93015,
		Acquirer: 10000001, Issuer: 20000001, Used: 300, AuthCode: [6]byte([]byte("7AB3Q9")),
	}
	resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: 901, Amount: 1200})
	return written(t, d, &r), resp
}

// benchmarkStock is the same step as moov's user writes it.
func benchmarkStock(b *testing.B, d *Dialect) {
	frame, resp := redemption(b, d)
	stock, err := NewBaseline(d, frame, &resp)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if err := stock.Step(); err != nil {
			b.Fatal(err)
		}
	}
}

// The baseline reads and writes what the plan does, apart from TPDU and header,
// which moov does not know, and DE22, which it writes right aligned: otherwise the
// two could not be compared.
func TestBaselineIsTheSameExchange(t *testing.T) {
	for _, d := range []*Dialect{PosRight(), Host()} {
		frame, resp := redemption(t, d)
		stock, err := NewBaseline(d, frame, &resp)
		require.NoError(t, err)
		require.NoError(t, stock.Step())
		var req points.Request
		require.NoError(t, d.Decode(frame, &req))
		answered, mti, err := d.elementsOf(d.AppendResponse(nil, &req, &resp))
		require.NoError(t, err)
		require.Equal(t, "0210", stock.mti)
		require.Equal(t, uint16(210), mti)
		require.Equal(t, answered, stock.answer)
		require.Greater(t, len(answered), 10)
		if !d.packed {
			require.Equal(t, string(frame), string(stock.request))
		} else {
			require.Len(t, stock.request, len(frame)-d.preamble())
		}
		stock.request = stock.request[:len(stock.request)-1]
		require.ErrorContains(t, stock.Step(), "baseline: unpack")
	}
}

// Reading a redemption and answering it allocates nothing, in either dialect and in
// either form of a host frame.
func TestRedeemAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops what it is given, at random")
	}
	for _, form := range []struct {
		d      *Dialect
		hexMap bool
	}{{Pos(), false}, {PosRight(), false}, {Host(), false}, {Host(), true}} {
		d := form.d
		frame, resp := redemption(t, d)
		var req, echo points.Request
		var got points.Response
		require.NoError(t, d.Decode(frame, &req))
		req.Envelope.HexMap = form.hexMap
		frame = written(t, d, &req)
		answer := make([]byte, 0, MaxFrame)
		forward := make([]byte, 0, MaxFrame)
		var wrong error
		allocations := testing.AllocsPerRun(1000, func() {
			wrong = d.Decode(frame, &req)
			answer = d.AppendResponse(answer[:0], &req, &resp)
		})
		require.NoError(t, wrong)
		require.Zero(t, allocations, "%s: decode and answer", d.name)
		allocations = testing.AllocsPerRun(1000, func() {
			forward, wrong = d.AppendRequest(forward[:0], &req)
			if wrong == nil {
				wrong = d.DecodeResponse(answer, &echo, &got)
			}
			_, _, _ = d.MACSpan(frame)
		})
		require.NoError(t, wrong)
		require.Equal(t, frame, forward)
		require.Zero(t, allocations, "%s: forward and read the answer", d.name)
	}
}
