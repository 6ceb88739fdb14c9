package dialect

import (
	"fmt"
	"testing"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/prefix"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

func BenchmarkRedeemPos(b *testing.B) {
	benchmarkRedeem(b, Pos())
	b.Run("stock", benchmarkStock)
}

func BenchmarkRedeemHost(b *testing.B) { benchmarkRedeem(b, Host()) }

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

// stockSpec is the fields of a redemption and its answer as moov's own BCD encoder
// and prefixes describe them.
func stockSpec() *iso8583.MessageSpec {
	spec := &iso8583.MessageSpec{Name: "stock", Fields: map[int]field.Field{
		1: field.NewBitmap(&field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
	}}
	add := func(de, n int, enc encoding.Encoder, length prefix.Prefixer) {
		spec.Fields[de] = field.NewString(&field.Spec{Length: n, Enc: enc, Pref: length})
	}
	for de, n := range map[int]int{0: 4, 3: 6, 4: 12, 11: 6, 12: 6, 13: 4, 15: 4, 22: 3, 25: 2} {
		add(de, n, encoding.BCD, prefix.BCD.Fixed)
	}
	for de, n := range map[int]int{37: 12, 38: 6, 39: 2, 41: 8, 42: 15, 49: 3} {
		add(de, n, encoding.ASCII, prefix.ASCII.Fixed)
	}
	add(2, 19, encoding.BCD, prefix.BCD.LL)
	add(32, 11, encoding.BCD, prefix.BCD.LL)
	add(44, 25, encoding.ASCII, prefix.BCD.LL)
	add(54, 120, encoding.ASCII, prefix.BCD.LLL)
	add(60, 40, encoding.BCD, prefix.BCD.LLL)
	add(62, 512, encoding.Binary, prefix.BCD.LLL)
	add(64, 8, encoding.Binary, prefix.Binary.Fixed)
	return spec
}

// benchmarkStock is the same step as moov's user writes it: unpack, read, build, pack.
func benchmarkStock(b *testing.B) {
	d := Pos()
	frame, resp := redemption(b, d)
	m, wrong := d.open(frame)
	require.Nil(b, wrong)
	require.Nil(b, d.readFields(m))
	spec := stockSpec()
	asked := iso8583.NewMessage(spec)
	asked.MTI("0200")
	for de := m.read.next(1); de != 0; de = m.read.next(de) {
		require.NoError(b, asked.BinaryField(de, m.values[de]))
	}
	request, err := asked.Pack()
	require.NoError(b, err)
	var req points.Request
	require.NoError(b, d.Decode(frame, &req))
	m, wrong = d.open(d.AppendResponse(nil, &req, &resp))
	require.Nil(b, wrong)
	require.Nil(b, d.readFields(m))
	b.ReportAllocs()
	for b.Loop() {
		if err := stockStep(spec, request, m); err != nil {
			b.Fatal(err)
		}
	}
}

// stockStep reads request with moov and builds the answer that m is.
func stockStep(spec *iso8583.MessageSpec, request []byte, m *message) error {
	asked, answer := iso8583.NewMessage(spec), iso8583.NewMessage(spec)
	if err := asked.Unpack(request); err != nil {
		return fmt.Errorf("stock: unpack: %w", err)
	}
	answer.MTI("0210")
	for de := m.read.next(1); de != 0; de = m.read.next(de) {
		value := m.values[de]
		if asked.GetField(de) != nil {
			echoed, err := asked.GetBytes(de)
			if err != nil {
				return fmt.Errorf("stock: DE%d: %w", de, err)
			}
			value = echoed
		}
		if err := answer.BinaryField(de, value); err != nil {
			return fmt.Errorf("stock: DE%d: %w", de, err)
		}
	}
	_, err := answer.Pack()
	return err
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
