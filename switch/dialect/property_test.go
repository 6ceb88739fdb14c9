package dialect

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
)

// drawRequest draws a request that the dialect can write, of any of its functions
// that AppendRequest covers.
func drawRequest(t *rapid.T, d *Dialect) points.Request {
	var rules []*rule
	for i := range d.rules {
		if d.rules[i].function != points.BatchUpload { // AppendUpload writes it
			rules = append(rules, &d.rules[i])
		}
	}
	u := rapid.SampledFrom(rules).Draw(t, "rule")
	r := points.Request{Function: u.function, Repeat: rapid.Bool().Draw(t, "repeat")}
	r.Envelope.MTI = u.mti
	if r.Repeat {
		r.Envelope.MTI++
	}
	drawEnvelope(t, d, &r)
	if u.function == points.Reversal {
		r.Reversed = rapid.SampledFrom(reversibles(d)).Draw(t, "reversed")
		u = d.reversed(r.Reversed)
	}
	drawSelectors(t, u, &r)
	drawCard(t, d, &r)
	r.Transmission = 216093015
	r.STAN = points.STAN(rapid.Uint32Range(0, 999_999).Draw(t, "stan"))
	r.EntryMode = rapid.Uint16Range(0, 999).Draw(t, "entry")
	r.Acquirer = points.AcquirerID(rapid.Uint64Range(1, points.MaxInstitution).Draw(t, "acquirer"))
	r.Batch = rapid.Uint32Range(0, maxBatch).Draw(t, "batch")
	r.AccountType = rapid.Uint16Range(0, 999).Draw(t, "account")
	r.PartialOK = rapid.Bool().Draw(t, "partial")
	drawText(t, "terminal", r.Terminal[:])
	drawText(t, "merchant", r.Merchant[:])
	drawText(t, "operator", r.Operator[:])
	drawText(t, "rrn", r.RRN[:])
	drawText(t, "auth", r.AuthCode[:])
	drawText(t, "answer", r.Answer[:])
	drawText(t, "product", r.Product[:rapid.IntRange(1, 60).Draw(t, "product length")])
	drawOriginal(t, d, u, &r)
	if r.Function == points.Reversal && !d.packed {
		r.Actual = points.Amount(rapid.Int64Range(0, int64(points.MaxAmount)).Draw(t, "actual"))
	}
	if u.target != mustLack {
		r.Target = points.ProgramID(rapid.Uint16Range(900, 998).Draw(t, "target"))
	}
	r.Program = points.ProgramID(rapid.Uint16Range(900, 998).Draw(t, "program"))
	if rapid.Bool().Draw(t, "mac") {
		copy(r.MAC[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "mac bytes"))
		r.MAC[0] |= 1
	}
	return d.onlyCarried(r)
}

func reversibles(d *Dialect) []points.Function {
	var all []points.Function
	for i := range d.rules {
		if d.rules[i].reversible {
			all = append(all, d.rules[i].function)
		}
	}
	return all
}

func drawEnvelope(t *rapid.T, d *Dialect, r *points.Request) {
	if !d.packed {
		r.Envelope.HexMap = rapid.Bool().Draw(t, "hex")
		return
	}
	r.Envelope.Wide = rapid.Bool().Draw(t, "wide")
	copy(r.Envelope.TPDU[:], rapid.SliceOfN(rapid.Byte(), 5, 5).Draw(t, "tpdu"))
	copy(r.Envelope.Header[:], rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "header"))
	r.Envelope.TPDU[0] = 0x60
	r.Envelope.Header[0] = rapid.SampledFrom([]byte{0x60, 0x61}).Draw(t, "class")
}

// drawSelectors draws one of the values that a rule accepts for each selector.
func drawSelectors(t *rapid.T, u *rule, r *points.Request) {
	if u.processing != nil {
		r.Processing = uint32(rapid.SampledFrom(u.processing).Draw(t, "DE3"))
		r.Mark(3)
	}
	if u.conditions != nil {
		if condition := rapid.SampledFrom(u.conditions).Draw(t, "DE25"); condition != absent {
			r.Condition = uint8(condition)
			r.Mark(25)
		}
	}
	if u.networks != nil {
		r.NetworkCode = uint16(rapid.SampledFrom(u.networks).Draw(t, "network"))
	}
}

func drawCard(t *rapid.T, d *Dialect, r *points.Request) {
	card := rapid.StringMatching(`[0-9]{1,19}`)
	r.PAN, _ = points.ParsePAN(card.Draw(t, "card"))
	r.TargetPAN, _ = points.ParsePAN(card.Draw(t, "target card"))
	r.CardSequence = rapid.Uint16Range(0, 999).Draw(t, "sequence")
	r.Expiry = rapid.SampledFrom([]uint32{0, 2912, 3001}).Draw(t, "expiry")
	r.PINLen = rapid.SampledFrom([]uint8{0, 8, 16}).Draw(t, "pin size")
	copy(r.PIN[:r.PINLen], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "pin"))
	if d.packed && rapid.Bool().Draw(t, "derived keys") {
		copy(r.KSN[:], rapid.SliceOfN(rapid.Byte(), len(r.KSN), len(r.KSN)).Draw(t, "key serial number"))
	}
	r.Security = rapid.Uint64Range(0, 9_999_999_999_999_999).Draw(t, "security")
	r.Amount = points.Amount(rapid.Int64Range(0, int64(points.MaxAmount)).Draw(t, "amount"))
	r.Totals = points.Totals{DebitAmount: r.Amount, CreditAmount: 1, DebitCount: 999, CreditCount: 7}
	r.Undone = points.Totals{DebitAmount: 2, CreditAmount: r.Amount, DebitCount: 3, CreditCount: 8}
	r.Net = points.Amount(rapid.Int64Range(-int64(points.MaxAmount), int64(points.MaxAmount)).Draw(t, "net"))
	r.Settlement = rapid.SampledFrom([]uint32{0, 101, 1231}).Draw(t, "settlement")
}

func drawText(t *rapid.T, name string, at []byte) {
	copy(at, rapid.StringMatching(fmt.Sprintf("[0-9A-Za-z]{%d}", len(at))).Draw(t, name))
}

func drawOriginal(t *rapid.T, d *Dialect, u *rule, r *points.Request) {
	r.Original.Present = true
	r.Original.STAN = points.STAN(rapid.Uint32Range(0, 999_999).Draw(t, "original"))
	if d.packed {
		r.Original.Batch = rapid.Uint32Range(0, maxBatch).Draw(t, "original batch")
		r.Original.Date = rapid.SampledFrom([]uint32{0, 101, 229, 1231}).Draw(t, "original date")
		return
	}
	r.Original.MTI = u.mti
	r.Original.Transmission = rapid.SampledFrom([]uint64{0, 229235959, 1231000000}).Draw(t, "original time")
	r.Original.Acquirer = points.AcquirerID(rapid.Uint64Range(0, points.MaxInstitution).Draw(t, "original acquirer"))
	r.Original.Forwarder = points.AcquirerID(rapid.Uint64Range(0, points.MaxInstitution).Draw(t, "original forwarder"))
}

// onlyCarried clears what a message of the request's function and dialect has no
// place for; the rest must survive the wire.
func (d *Dialect) onlyCarried(r points.Request) points.Request {
	if d.packed {
		r.Transmission, r.Settlement, r.Undone, r.Net = 0, 0, points.Totals{}, 0
	} else {
		r.Batch, r.AccountType, r.PartialOK, r.Operator = 0, 0, false, [3]byte{}
	}
	if !carriesTotals(r.Function) {
		r.Totals, r.Undone, r.Net = points.Totals{}, points.Totals{}, 0
	}
	if r.Function == points.BatchUploadEnd {
		r.Totals = points.Totals{DebitCount: r.Totals.DebitCount}
	}
	financial := r.Function != points.Reversal && r.Processing|uint32(r.Condition) != 0 || r.Function == points.Redeem
	if r.Function != points.Transfer {
		r.TargetPAN = points.PAN{}
	} else if d.packed {
		r.Product = [60]byte{}
	}
	if !financial && r.Function != points.Download {
		r.Product = [60]byte{}
	}
	if r.Function == points.Reversal {
		r.PIN, r.PINLen, r.Security = [16]byte{}, 0, 0
		if d.packed {
			r.RRN = [12]byte{}
		}
	}
	return r
}

func carriesTotals(f points.Function) bool {
	return f == points.BatchClose || f == points.BatchUploadEnd
}

// D2: what AppendRequest wrote, Decode reads back; CompleteAppend writes the same and
// completes as Complete does.
func TestRequestSurvivesTheWire(t *testing.T) {
	for _, d := range []*Dialect{Pos(), PosRight(), Host()} {
		t.Run(d.Name(), rapid.MakeCheck(func(t *rapid.T) {
			req := drawRequest(t, d)
			frame, err := d.AppendRequest(nil, &req)
			require.NoError(t, err)
			both := req
			again, err := d.CompleteAppend(nil, &both)
			require.NoError(t, err)
			require.Equal(t, frame, again)
			require.NoError(t, d.Complete(&req))
			require.Equal(t, req, both)
			var got points.Request
			require.NoError(t, d.Decode(frame, &got))
			require.Equal(t, req, got)
		}))
	}
}

// D2 and D5: what AppendResponse wrote, DecodeResponse reads back, in the envelope
// of the request and with what the sender matches on.
func TestAnswerSurvivesTheWire(t *testing.T) {
	for _, d := range []*Dialect{Pos(), PosRight(), Host()} {
		t.Run(d.Name(), rapid.MakeCheck(func(t *rapid.T) {
			req := drawRequest(t, d)
			frame, err := d.AppendRequest(nil, &req)
			require.NoError(t, err)
			require.NoError(t, d.Decode(frame, &req))
			resp := drawResponse(t)
			if req.Function == points.SwapQuote || req.Function == points.Swap {
				drawSwap(t, &req, &resp)
			}
			answer, err := d.appendAnswer([]byte("before"), &req, &resp, nil)
			require.NoError(t, err)
			require.Equal(t, answer, d.AppendResponse([]byte("before"), &req, &resp))
			require.True(t, bytes.HasPrefix(answer, []byte("before")))
			answer = answer[len("before"):]

			var (
				echo points.Request
				got  points.Response
			)
			require.NoError(t, d.DecodeResponse(answer, &echo, &got))
			if d.packed && resp.Please != 0 {
				require.Equal(t, byte(resp.Please), echo.Envelope.Header[pleaseAt]&0x0F)
				echo.Envelope.Header[pleaseAt] ^= (echo.Envelope.Header[pleaseAt] ^ req.Envelope.Header[pleaseAt]) & 0x0F
			}
			requireEcho(t, d, &req, &echo, resp.Reason != points.BadMAC)
			require.Equal(t, d.expected(&req, &resp), got)
		}))
	}
}

// requireEcho requires what an answer gives back; one that refuses a MAC has none.
func requireEcho(t require.TestingT, d *Dialect, req, echo *points.Request, signed bool) {
	require.Equal(t, AnswerTo(req.Envelope.MTI), echo.Envelope.MTI)
	require.Equal(t, req.Envelope.Header, echo.Envelope.Header)
	require.Equal(t, req.Envelope.HexMap, echo.Envelope.HexMap)
	if req.Envelope.Wide && d.packed {
		require.True(t, echo.Envelope.Wide)
	}
	if d.packed {
		q, e := req.Envelope.TPDU, echo.Envelope.TPDU
		require.Equal(t, [5]byte{q[0], q[3], q[4], q[1], q[2]}, e)
	}
	require.Equal(t, signed && (req.Has(64) || req.Has(128)), echo.Has(64) || echo.Has(128))
	for _, de := range []int{3, 11, 41, 42} {
		require.Equal(t, req.Has(de), echo.Has(de))
	}
	require.Equal(t, req.Processing, echo.Processing)
	require.Equal(t, req.STAN, echo.STAN)
	require.Equal(t, req.Terminal, echo.Terminal)
	require.Equal(t, req.Merchant, echo.Merchant)
	require.Equal(t, req.Transmission, echo.Transmission)
	require.Equal(t, req.NetworkCode, echo.NetworkCode)
	require.Equal(t, req.Kind, echo.Kind)
}

func drawResponse(t *rapid.T) points.Response {
	resp := points.Response{
		Reason:    rapid.SampledFrom(points.Reasons()).Draw(t, "reason"),
		Position:  points.Position(rapid.Uint64Range(0, 1<<50).Draw(t, "position")),
		Date:      rapid.SampledFrom([]points.BusinessDate{0, 20260216, 20280229}).Draw(t, "date"),
		LocalDate: rapid.SampledFrom([]uint32{0, 216, 1231}).Draw(t, "local date"),
		Amount:    points.Amount(rapid.Int64Range(0, int64(points.MaxAmount)).Draw(t, "amount")),
		Acquirer:  points.AcquirerID(rapid.Uint64Range(0, points.MaxInstitution).Draw(t, "acquirer")),
		Issuer:    points.IssuerID(rapid.Uint64Range(0, points.MaxInstitution).Draw(t, "issuer")),
		Used:      points.Amount(rapid.Int64Range(0, 9_999_999_999).Draw(t, "used")),
		SelfPaid:  points.Amount(rapid.Int64Range(0, int64(points.MaxAmount)).Draw(t, "self paid")),
		Batch:     rapid.Uint32Range(1, maxBatch).Draw(t, "batch"),
		Detail:    rapid.StringMatching(`[A-Z ]{0,25}`).Draw(t, "detail"),
		Field:     rapid.Uint8Range(0, 128).Draw(t, "field"),
		Please:    points.Please(rapid.Uint8Range(0, 15).Draw(t, "please")),
		List:      rapid.StringN(0, 100, 500).Draw(t, "list"),
		Check:     rapid.StringMatching(`([0-9A-F]{6}){0,2}`).Draw(t, "check"),
	}
	if resp.LocalDate != 0 {
		resp.LocalTime = rapid.SampledFrom([]uint32{0, 93015, 235959}).Draw(t, "local time")
	}
	if rapid.Bool().Draw(t, "authorised") {
		drawText(t, "auth code", resp.AuthCode[:])
	}
	for range rapid.IntRange(0, points.MaxBalances).Draw(t, "balances") {
		resp.AddBalance(points.Balance54{
			Kind:    rapid.SampledFrom([]points.BalanceKind{points.LedgerBalance, points.AvailableBalance}).Draw(t, "kind"),
			Program: points.ProgramID(rapid.Uint16Range(900, 998).Draw(t, "balance program")),
			Amount:  points.Amount(rapid.Int64Range(-int64(points.MaxAmount), int64(points.MaxAmount)).Draw(t, "balance")),
		})
	}
	for range rapid.IntRange(0, points.MaxPaid).Draw(t, "programmes") {
		resp.AddPaid(points.Paid{
			Program: points.ProgramID(rapid.Uint16Range(900, 998).Draw(t, "paying programme")),
			Amount:  points.Amount(rapid.Int64Range(0, int64(points.MaxAmount)).Draw(t, "points")),
			Covers:  points.Amount(rapid.Int64Range(0, int64(points.MaxAmount)).Draw(t, "covers")),
		})
	}
	return resp
}

// drawSwap draws what the answer to a swap or its quote tells instead of how a sale was paid.
func drawSwap(t *rapid.T, req *points.Request, resp *points.Response) {
	resp.Used, resp.SelfPaid, resp.List = 0, 0, ""
	resp.Granted = points.Amount(rapid.Int64Range(1, int64(points.MaxAmount)).Draw(t, "granted"))
	resp.Ratio = rapid.Uint32Range(0, 99_999_999).Draw(t, "ratio")
	if req.Function == points.SwapQuote {
		resp.List = rapid.StringMatching(`[0-9]{28}`).Draw(t, "quote")
	}
}

// expected is what of resp reaches the sender of req.
func (d *Dialect) expected(req *points.Request, resp *points.Response) points.Response {
	want := *resp
	want.Reason = d.answers[resp.Reason.DE39()]
	if req.Function == points.BatchClose && resp.Reason == points.TotalsDiffer {
		want.Reason = points.TotalsDiffer
	}
	want.Amount = 0
	if req.Has(4) {
		want.Amount = req.Amount
		if resp.Reason == points.ApprovedPartly {
			want.Amount = resp.Amount
		}
	}
	want.Date %= 10000
	want.Program = req.Program
	if !resp.Reason.Approved() {
		want.AuthCode, want.Used, want.SelfPaid = [6]byte{}, 0, 0
		want.Balances, want.NBalances = [points.MaxBalances]points.Balance54{}, 0
		want.Granted, want.Ratio = 0, 0
	}
	if req.Class == points.ClassNetwork {
		want.Used, want.SelfPaid = 0, 0
	}
	if want.Used == 0 && want.SelfPaid == 0 {
		want.Paid, want.NPaid = [points.MaxPaid]points.Paid{}, 0
	}
	if req.Has(32) {
		want.Acquirer = req.Acquirer
	}
	inList := req.Function == points.SwapQuote || (d.packed && (req.Function == points.Download || req.Function == points.SignOn || req.Function == points.KeyChange))
	if !inList || !resp.Reason.Approved() {
		want.List = ""
	}
	if keys := !d.packed && req.Function == points.KeyChange && resp.Reason.Approved(); keys {
		want.List = string(appendPrintable(nil, resp.List, maxText))
	} else {
		want.Check = ""
	}
	if !d.packed {
		want.Please = 0
	} else if want.Please == 0 {
		want.Please = points.Please(req.Envelope.Header[pleaseAt] & 0x0F)
	}
	if d.packed {
		want.Field, want.Detail = 0, ""
		if resp.Issuer != 0 {
			want.Acquirer = resp.Acquirer
			if resp.Acquirer == 0 {
				want.Acquirer = req.Acquirer
			}
		}
		if req.Function != points.SignOn || !resp.Reason.Approved() {
			want.Batch = req.Batch
		}
		return want
	}
	want.Batch, want.Issuer = 0, 0 // DE100 only where it was sent
	want.LocalTime, want.LocalDate = 0, 0
	if want.Detail != "" {
		want.Field = 0
	}
	return want
}
