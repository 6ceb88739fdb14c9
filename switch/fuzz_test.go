package pointswitch_test

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Whatever a peer writes, nothing panics, every frame is finished (else the
// connection would not end in order) and the books stay right.
func FuzzFrames(f *testing.F) {
	h := furnished(f)
	for _, host := range []bool{false, true} {
		for _, frame := range seedFrames(f, h, host) {
			f.Add(host, frame)
			f.Add(host, append(append([]byte(nil), frame...), frame...))
		}
	}
	f.Fuzz(func(t *testing.T, host bool, stream []byte) {
		h.t = t
		server := h.pos
		if host {
			server = h.host
		}
		p := h.dial(server)
		// A connection that the switch has closed already does not take it all.
		_, _ = p.conn.Write(stream)
		if err := p.conn.(*net.TCPConn).CloseWrite(); err == nil {
			for p.receive() != nil {
			}
		}
		h.leave()
		drain(h.log)
		h.view(func(b *book.Book) { require.NoError(t, b.Audit()) })
	})
}

// drain forgets the lines about requests that nobody waits for.
func drain(l *lines) {
	for {
		select {
		case <-l.request:
		default:
			return
		}
	}
}

// seedFrames are streams with one request of each kind that moves points.
func seedFrames(t testing.TB, h *house, host bool) [][]byte {
	d := dialect.Pos()
	if host {
		d = dialect.Host()
	}
	var streams [][]byte
	for i, function := range []points.Function{points.SignOn, points.Balance, points.Redeem, points.Earn, points.PreAuth, points.Void, points.Reversal} {
		req := points.Request{
			Function: function, STAN: points.STAN(i + 1), Batch: 1, EntryMode: 21, Amount: 1, Program: 901, PAN: parsePAN(t, cards()["B"]),
			Terminal: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"), Operator: [3]byte{'0', '0', '1'}, Answer: [2]byte{'9', '8'},
			Original: points.Original{Present: true, Batch: 1, STAN: 3}, RRN: points.Position(51).RRN(),
		}
		if function == points.Reversal {
			req.Reversed, req.STAN = points.Redeem, 3
		}
		if host {
			req.Acquirer, req.Transmission, req.Terminal = partner, stampOf(h.clock().Time()), parseTerminal(t, "OWN1")
			req.Merchant = parseMerchant(t, "MALL")
			req.Original = points.Original{Present: true, MTI: 200, STAN: 3, Transmission: req.Transmission}
		}
		frame, err := d.AppendRequest(nil, &req)
		require.NoError(t, err)
		streams = append(streams, append(binary.BigEndian.AppendUint16(nil, uint16(len(frame))), frame...))
	}
	return streams
}
