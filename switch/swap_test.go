package pointswitch_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
	"github.com/lianfen/lianfen/tariff"
)

// rateSwaps puts 901 (100 u) and 902 (25 u) on offer, with 1 % on what is handed in.
func (h *house) rateSwaps() {
	h.t.Helper()
	signed := func(e book.Entry) {
		h.do(book.Command{Kind: book.KindPut, At: h.clock(), Operator: "li", Second: "wang", Entry: e})
	}
	from := h.clock() + 2*tariff.LeadTime
	for program, num := range map[points.ProgramID]uint64{901: 100, 902: 25} {
		signed(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: program, Side: tariff.Buy, Num: num, Den: 1, SpreadPPM: 10_000, From: from}}})
		signed(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: program, Side: tariff.Sell, Num: num, Den: 1, From: from}}})
		signed(book.Entry{Swaps: &tariff.SwapTerms{Program: program, From: from, SwapRules: tariff.SwapRules{
			Lots: 1<<book.Earned | 1<<book.Adjusted, Expiry: tariff.ExpiryProgram, QuoteSeconds: 30,
		}}})
	}
	signed(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindSWP}}}})
	h.now.Store(int64(from + 1_000_000))
	h.refresh()
}

// A swap over the wire, in both dialects: the quote says what is handed out (DE5), for how
// much (DE9), its name and its end (DE62); the execution carries that back, is answered the
// same when it is repeated and refused under another content, and is undone by a reversal.
func TestSwapOverTheWire(t *testing.T) {
	for _, d := range []*dialect.Dialect{dialect.Pos(), dialect.Host()} {
		t.Run(d.Name(), func(t *testing.T) {
			h := newHouse(t)
			h.furnish()
			h.rateSwaps()
			var server *link.Server
			stan := points.STAN(100)
			ask := func(function points.Function, change func(*points.Request)) points.Request {
				stan++
				req := points.Request{
					Function: function, STAN: stan, Amount: 400, Program: 901, Target: 902, PAN: parsePAN(t, cards()["A"]),
					Batch: 1, EntryMode: 21, Terminal: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"),
				}
				server = h.pos
				if d.Name() == dialect.Host().Name() {
					server = h.host
					req.Batch, req.EntryMode, req.Acquirer, req.Transmission = 0, 0, partner, stampOf(h.clock().Time())
					req.Terminal, req.Merchant = parseTerminal(t, "OWN1"), parseMerchant(t, "MALL")
				}
				if change != nil {
					change(&req)
				}
				return req
			}
			send := func(req points.Request) (resp points.Response, frame []byte) {
				out, err := d.AppendRequest(nil, &req)
				require.NoError(t, err)
				p := h.dial(server)
				p.send(out)
				frame = p.receive()
				var echo points.Request
				require.NoError(t, d.DecodeResponse(frame, &echo, &resp))
				return resp, frame
			}
			before := h.standings()
			quoted, _ := send(ask(points.SwapQuote, nil))
			require.Equal(t, "00", quoted.Reason.DE39())
			// 40000 u less 400 are 39600: 1584 points of 902.
			require.Equal(t, []any{points.Amount(1584), uint32(6_3960000)}, []any{quoted.Granted, quoted.Ratio})
			require.Len(t, quoted.List, points.QuoteSize)
			require.Equal(t, before, h.standings(), "a quote moves nothing")

			carry := func(req *points.Request) { copy(req.Product[:], quoted.List) }
			other := ask(points.Swap, carry)
			other.Amount = 401
			resp, _ := send(other)
			require.Equal(t, "64", resp.Reason.DE39(), "another amount than was quoted")
			theirs := ask(points.Swap, carry)
			theirs.PAN = parsePAN(t, cards()["B"])
			resp, _ = send(theirs)
			require.Equal(t, "64", resp.Reason.DE39(), "another member's quote")
			swap := ask(points.Swap, carry)
			done, first := send(swap)
			require.Equal(t, "00", done.Reason.DE39())
			require.Equal(t, points.Amount(1584), done.Granted)
			require.NotEqual(t, before, h.standings())
			_, again := send(swap)
			require.Equal(t, first, again, "the same bytes")
			changed := swap
			changed.Amount = 402
			resp, _ = send(changed)
			require.Equal(t, "94", resp.Reason.DE39())
			resp, _ = send(ask(points.Swap, carry))
			require.Equal(t, "22", resp.Reason.DE39(), "a quote is executed once")

			back := swap
			back.Function, back.Reversed = points.Reversal, points.Swap
			back.Product, back.Answer = [60]byte{}, [2]byte{'9', '8'}
			if server == h.host {
				back.STAN += 50
				back.Answer = [2]byte{}
				back.Original = points.Original{MTI: 200, STAN: swap.STAN, Transmission: swap.Transmission, Acquirer: partner, Present: true}
			}
			resp, _ = send(back)
			require.Equal(t, "00", resp.Reason.DE39())
			require.Equal(t, before, h.standings(), "all is as it was")

			// Refused with a code: another programme at an issuer of its own, none on offer, a quote
			// that is none, one whose time is over.
			resp, _ = send(ask(points.SwapQuote, func(r *points.Request) { r.Target = 903 }))
			require.Equal(t, "40", resp.Reason.DE39())
			resp, _ = send(ask(points.SwapQuote, func(r *points.Request) { r.Program = 903 }))
			require.Equal(t, "40", resp.Reason.DE39(), "whichever side it is")
			resp, _ = send(ask(points.Swap, func(r *points.Request) { copy(r.Product[:], "0000000000000007260302120000") }))
			require.Equal(t, "25", resp.Reason.DE39())
			resp, _ = send(ask(points.Swap, func(r *points.Request) { copy(r.Product[:], "nonsense") }))
			require.Equal(t, "30", resp.Reason.DE39())
			quoted, _ = send(ask(points.SwapQuote, nil))
			h.now.Add(31_000_000)
			resp, _ = send(ask(points.Swap, carry))
			require.Equal(t, "22", resp.Reason.DE39())
			h.verify()
		})
	}
}
