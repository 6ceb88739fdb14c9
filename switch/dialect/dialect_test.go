package dialect

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/moov-io/iso8583"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/points"
)

// sale returns a redemption that every dialect can write.
func sale(t testing.TB) points.Request {
	r := points.Request{
		Function: points.Redeem, Amount: 300, STAN: 7, EntryMode: 21, Batch: 124, Program: 901, AccountType: 65,
		Acquirer: 10000001, Transmission: 216093015,
	}
	var err error
	r.PAN, err = points.ParsePAN("6222021234567890123")
	require.NoError(t, err)
	r.Terminal, err = points.ParseTerminalID("T0000001")
	require.NoError(t, err)
	r.Merchant, err = points.ParseMerchantID("M00000000000001")
	require.NoError(t, err)
	return r
}

func written(t testing.TB, d *Dialect, r *points.Request) []byte {
	frame, err := d.AppendRequest(nil, r)
	require.NoError(t, err)
	return frame
}

// Each name gives the dialect of that name, and no other name gives one.
func TestByName(t *testing.T) {
	for _, name := range []string{"pos", "pos-right", "host"} {
		d, err := ByName(name)
		require.NoError(t, err)
		require.Equal(t, name, d.Name())
	}
	_, err := ByName("iso87")
	require.Equal(t, points.FormatError, points.ReasonOf(err))
}

// A card number of 19 digits, whatever its last digit, comes back digit for digit;
// packed to the right it is refused rather than read one place off.
func TestOddCardNumber(t *testing.T) {
	for last := range 10 {
		digits := fmt.Sprintf("622202123456789012%d", last)
		r := sale(t)
		var err error
		r.PAN, err = points.ParsePAN(digits)
		require.NoError(t, err)
		for _, d := range []*Dialect{Pos(), Host()} {
			var got points.Request
			require.NoError(t, d.Decode(written(t, d, &r), &got))
			require.Equal(t, digits, string(got.PAN.AppendDigits(nil)))
		}
		if last == 0 {
			continue // its padding is a zero nibble either way
		}
		frame := strings.Replace(hex.EncodeToString(written(t, Pos(), &r)), digits+"0", "0"+digits, 1)
		var got points.Request
		err = Pos().Decode(unhex(t, frame), &got)
		requireFault(t, err, 2, false)
	}
}

func requireFault(t testing.TB, err error, field int, fatal bool) {
	var wrong *FormatError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, field, wrong.Field, "%v", err)
	require.Equal(t, fatal, wrong.Fatal, "%v", err)
	require.Equal(t, points.FormatError, points.ReasonOf(err))
}

// DE11 goes out and comes back with its leading zeros, in both dialects and in the
// answer: a reply under another number would match nothing.
func TestLeadingZerosOfSTAN(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		for _, stan := range []points.STAN{0, 7, 123, 45678, 999_999} {
			r := sale(t)
			r.STAN = stan
			want := stan.String()
			if !d.packed {
				want = hex.EncodeToString([]byte(want))
			}
			frame := written(t, d, &r)
			m, wrong := d.open(frame)
			require.Nil(t, wrong)
			require.Nil(t, d.readFields(m))
			require.Equal(t, want, hex.EncodeToString(frame[m.spans[11].from:m.spans[11].to]))

			var req points.Request
			require.NoError(t, d.Decode(frame, &req))
			answer := d.AppendResponse(nil, &req, &points.Response{Reason: points.Approved})
			m, wrong = d.open(answer)
			require.Nil(t, wrong)
			require.Nil(t, d.readFields(m))
			require.Equal(t, want, hex.EncodeToString(answer[m.spans[11].from:m.spans[11].to]))
		}
	}
}

// A client that sends 128 bits gets 128, one that sends 64 gets 64, in either form
// of the bitmap.
func TestBitmapInKind(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		for _, wide := range []bool{false, true} {
			for _, hexMap := range []bool{false, !d.packed} {
				r := sale(t)
				r.Envelope.Wide, r.Envelope.HexMap = wide, hexMap
				var req, echo points.Request
				require.NoError(t, d.Decode(written(t, d, &r), &req))
				require.Equal(t, wide, req.Envelope.Wide)
				var resp points.Response
				require.NoError(t, d.DecodeResponse(d.AppendResponse(nil, &req, &points.Response{Reason: points.Approved}), &echo, &resp))
				require.Equal(t, wide, echo.Envelope.Wide)
				require.Equal(t, hexMap, echo.Envelope.HexMap)
			}
		}
	}
}

// A reversal made of the sale it undoes carries neither PIN nor product code, nor, in
// pos, an RRN that the terminal was never told.
func TestReversalLeavesOut(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		r := sale(t)
		r.PINLen, r.Security = 8, 26
		r.PIN[0] = 1
		copy(r.Product[:], "COFFEE")
		copy(r.RRN[:], "000000000042")
		var sold, undone points.Request
		require.NoError(t, d.Decode(written(t, d, &r), &sold))
		require.True(t, sold.Has(52) && sold.Has(53) && sold.Has(62) && sold.Has(37))

		sold.Function, sold.Reversed = points.Reversal, sold.Function
		sold.Envelope.MTI = 0
		copy(sold.Answer[:], "98")
		sold.Original = points.Original{Present: true, MTI: 200, STAN: sold.STAN}
		require.NoError(t, d.Decode(written(t, d, &sold), &undone))
		require.Equal(t, points.Reversal, undone.Function)
		for _, de := range []int{26, 52, 53, 62} {
			require.False(t, undone.Has(de), "DE%d", de)
		}
		require.Equal(t, !d.packed, undone.Has(37))
	}
}

// A raw bitmap is never taken for a hexadecimal one: whatever character stands in
// the place of its eighth byte announces an element that host does not have.
func TestRawBitmapIsNotHex(t *testing.T) {
	fields := Host().raw.Fields
	for c := range 256 {
		if _, isHex := nibbleOf(byte(c)); !isHex {
			continue
		}
		foreign := false
		for bit := range 8 {
			foreign = foreign || (c&(0x80>>bit) != 0 && fields[57+bit] == nil)
		}
		require.True(t, foreign, "%q", c)
	}
}

// DE22 is left aligned in pos and right aligned in pos-right, and each refuses the
// other's where the digits tell.
func TestEntryModeAlignment(t *testing.T) {
	r := sale(t)
	left, right := written(t, Pos(), &r), written(t, PosRight(), &r)
	require.Contains(t, hex.EncodeToString(left), "0210"+"65")
	require.Contains(t, hex.EncodeToString(right), "0021"+"65")
	var got points.Request
	requireFault(t, Pos().Decode(right, &got), 22, false)
	require.NoError(t, PosRight().Decode(right, &got))
	require.Equal(t, uint16(21), got.EntryMode)
}

// What does not fit the wire is refused with the element's number, and dst stays.
func TestAppendRequestRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		d      *Dialect
		change func(*points.Request)
		field  int
	}{
		{"amount of thirteen digits", Pos(), func(r *points.Request) { r.Amount = points.MaxAmount + 1 }, 4},
		{"negative amount", Host(), func(r *points.Request) { r.Amount = -1 }, 4},
		{"STAN of seven digits", Host(), func(r *points.Request) { r.STAN = 1_000_000 }, 11},
		{"batch of seven digits", Pos(), func(r *points.Request) { r.Batch = 1_000_000 }, 60},
		{"no card", Pos(), func(r *points.Request) { r.PAN = points.PAN{} }, 2},
		{"no terminal", Pos(), func(r *points.Request) { r.Terminal = points.TerminalID{} }, 41},
		{"no transmission time", Host(), func(r *points.Request) { r.Transmission = 0 }, 7},
		{"no such time", Host(), func(r *points.Request) { r.Transmission = 231093015 }, 7},
		{"acquirer of twelve digits", Host(), func(r *points.Request) { r.Acquirer = points.MaxInstitution + 1 }, 32},
		{"items without AppendUpload", Pos(), func(r *points.Request) { r.Function = points.BatchUpload }, 48},
		{"function that the dialect has not", Host(), func(r *points.Request) { r.Function = points.CashierSignOn }, 0},
		{"reversal of what cannot be undone", Pos(), func(r *points.Request) { r.Function, r.Reversed = points.Reversal, points.Earn }, 0},
		{"neither function nor message type", Pos(), func(r *points.Request) { r.Function = 0 }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := sale(t)
			c.change(&r)
			dst, err := c.d.AppendRequest([]byte("kept"), &r)
			var wrong *FormatError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, c.field, wrong.Field, "%v", err)
			require.Equal(t, "kept", string(dst))
		})
	}
}

// Without an element that §4 of the message specification makes mandatory, a request
// is refused with the element's number.
func TestMandatoryElements(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		for i := range d.rules {
			u := &d.rules[i]
			for _, de := range u.required {
				var whole, lacking points.Request
				for _, other := range append([]int{2, 38, 90}, u.required...) {
					whole.Mark(other)
					if other != de {
						lacking.Mark(other)
					}
				}
				got, _ := u.missing(&whole)
				require.Zero(t, got, "%s %s", d.name, u.function)
				got, _ = u.missing(&lacking)
				require.Equal(t, de, got, "%s %s", d.name, u.function)
			}
		}
	}
}

// No message asks for two functions: whatever looks like one rule looks like no other.
func TestFunctionsAreUnambiguous(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		for i := range d.rules {
			u := &d.rules[i]
			if u.function == points.Reversal {
				continue
			}
			for _, r := range selections(u) {
				var matching []points.Function
				for j := range d.rules {
					if v := &d.rules[j]; v.mti == u.mti && v.function != points.Reversal && v.matches(d, &r) {
						matching = append(matching, v.function)
					}
				}
				require.Equal(t, []points.Function{u.function}, matching, "%s %04d %06d %d", d.name, u.mti, r.Processing, r.Condition)
			}
		}
	}
}

// selections returns one request for every combination that a rule accepts.
func selections(u *rule) []points.Request {
	all := []points.Request{{Kind: uint8(u.kind)}}
	all[0].Envelope.MTI = u.mti
	if u.target == mustHave {
		all[0].Mark(50)
	}
	vary := func(values []int, set func(*points.Request, int)) {
		var next []points.Request
		for _, r := range all {
			for _, v := range values {
				if v != absent {
					set(&r, v)
				}
				next = append(next, r)
			}
		}
		if values != nil {
			all = next
		}
	}
	vary(u.processing, func(r *points.Request, v int) { r.Processing = uint32(v); r.Mark(3) })
	vary(u.networks, func(r *points.Request, v int) { r.NetworkCode = uint16(v) })
	vary(u.conditions, func(r *points.Request, v int) { r.Condition = uint8(v); r.Mark(25) })
	return all
}

// What a terminal asks is asked of an issuer in the other dialect, and comes out the
// same there.
func TestBridge(t *testing.T) {
	pos, host := Pos(), Host()
	bridged := 0
	for i := range pos.rules {
		u := &pos.rules[i]
		if u.conditions == nil && u.function != points.Reversal {
			continue // session and batch messages stay on their own side
		}
		r := sale(t)
		r.Function, r.AccountType, r.Repeat = u.function, 0, i%2 == 0
		r.TargetPAN, r.Target = r.PAN, 902
		if u.function == points.Reversal {
			r.Reversed = points.Void
		}
		if u.function == points.Transfer {
			r.Target = 0
		} else {
			copy(r.Product[:], "Q000000000000001260216100000")
		}
		copy(r.Operator[:], "000")
		copy(r.RRN[:], "000000000042")
		copy(r.AuthCode[:], "7AB3Q9")
		copy(r.Answer[:], "98")
		r.Original = points.Original{Present: true, Batch: 124, STAN: 5}
		var asked, got points.Request
		require.NoError(t, pos.Decode(written(t, pos, &r), &asked), "%s", u.function)

		asked.Envelope = points.Envelope{}
		asked.Acquirer, asked.Transmission = 10000001, 216093015
		asked.Original.MTI = 200
		require.NoError(t, host.Decode(written(t, host, &asked), &got), "%s", u.function)
		require.Equal(t, asked.Function, got.Function)
		require.Equal(t, asked.Reversed, got.Reversed)
		require.Equal(t, asked.Repeat, got.Repeat)
		require.Equal(t, asked.Processing, got.Processing)
		require.Equal(t, asked.Condition, got.Condition)
		require.Equal(t, asked.Amount, got.Amount)
		require.Equal(t, asked.PAN, got.PAN)
		require.Equal(t, asked.TargetPAN, got.TargetPAN)
		require.Equal(t, asked.Program, got.Program)
		require.Equal(t, asked.Target, got.Target)
		require.Equal(t, asked.STAN, got.STAN)
		bridged++
	}
	require.Greater(t, bridged, 15)
}

// Every reason's code is read as a reason with that same code, and approvals as
// approvals.
func TestMeaningsOfAnswerCodes(t *testing.T) {
	known := meanings()
	for _, reason := range points.Reasons() {
		read := known[reason.DE39()]
		require.Equal(t, reason.DE39(), read.DE39(), "%s", reason)
		require.Equal(t, reason.Approved(), read.Approved(), "%s", reason)
	}
	d := Host()
	require.Equal(t, points.DoNotHonour, d.meaning([]byte("Z9")), "a code nobody knows declines")
	require.True(t, d.meaning([]byte("11")).Approved(), "done, VIP tier")
	require.True(t, d.meaning([]byte("A6")).Approved(), "approved, confirm with issuer")
}

// Amounts past their field are written as the field's largest, and a number of
// points used that does not fit is not written at all.
func TestAnswerBounds(t *testing.T) {
	d := Pos()
	var req, echo points.Request
	r := sale(t)
	require.NoError(t, d.Decode(written(t, d, &r), &req))
	resp := points.Response{Reason: points.ApprovedPartly, Amount: points.MaxAmount + 5, Used: 10_000_000_000, SelfPaid: 1}
	resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: 901, Amount: -1 << 63})
	var got points.Response
	require.NoError(t, d.DecodeResponse(d.AppendResponse(nil, &req, &resp), &echo, &got))
	require.Equal(t, points.MaxAmount, got.Amount)
	require.Equal(t, -points.MaxAmount, got.Balances[0].Amount)
	require.Zero(t, got.Used)
	require.Zero(t, got.SelfPaid)
}

// A length of fixed size, a sign or an excess in a length, and frames over the bound
// are refused, each with what was wanted.
func TestBounds(t *testing.T) {
	var req points.Request
	r := sale(t)
	long := append(written(t, Pos(), &r), make([]byte, MaxFrame)...)
	err := Pos().Decode(long, &req)
	requireFault(t, err, 0, true)
	require.ErrorContains(t, err, "want 4096 at most")
	requireFault(t, Pos().Decode(long[:MaxFrame], &req), 0, false)
	requireFault(t, Host().Decode(nil, &req), 0, true)
	for _, c := range []struct {
		length string
		want   string
	}{
		{"+8", "character 1 of 2"}, {"00", "length 0"}, {"20", "length 20, want 1 to 19"},
	} {
		_, _, err := textLength{count: 2, unit: 1}.DecodeLength(19, []byte(c.length))
		require.ErrorContains(t, err, c.want)
	}
	for _, c := range []struct {
		wire []byte
		want string
	}{
		{[]byte{0x00}, "length 0"}, {[]byte{0x20}, "length 20"}, {[]byte{0x1A}, "class n"}, {nil, "ends early"},
	} {
		_, _, err := packedLength(2).DecodeLength(19, c.wire)
		require.ErrorContains(t, err, c.want)
	}
	_, _, err = textLength{count: 3, unit: 2}.DecodeLength(16, []byte("031"))
	require.ErrorContains(t, err, "multiple of 2")
}

// moov's own message, driven by the same field table, reads the same values and
// writes the same bytes: the table is all there is.
func TestMoovAgrees(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		requests, answers := goldenFrames(t, d.Name())
		compared := 0
		for _, frame := range append(requests, answers...) {
			m, wrong := d.open(frame)
			if wrong != nil || d.readFields(m) != nil {
				continue // a frame that is broken on purpose
			}
			message := iso8583.NewMessage(d.spec(m.envelope.HexMap))
			require.NoError(t, message.Unpack(frame[d.preamble():]))
			for de := 2; de <= lastElement; de++ {
				if m.values[de] == nil {
					require.Nil(t, message.GetField(de))
					continue
				}
				value, err := message.GetBytes(de)
				require.NoError(t, err)
				require.Equal(t, m.values[de], value, "DE%d", de)
			}
			if m.envelope.Wide {
				continue // moov sends no empty secondary bitmap
			}
			packed, err := message.Pack()
			require.NoError(t, err)
			require.Equal(t, frame[d.preamble():], packed)
			compared++
		}
		require.Greater(t, compared, 50)
	}
}

// One dialect serves many goroutines at once; the race detector watches.
func TestConcurrentUse(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		r := sale(t)
		frame := written(t, d, &r)
		var group errgroup.Group
		for range 8 {
			group.Go(func() error {
				for range 20 {
					var req, echo points.Request
					var resp points.Response
					if err := d.Decode(frame, &req); err != nil {
						return err
					}
					answer := d.AppendResponse(nil, &req, &points.Response{Reason: points.Approved})
					if err := d.DecodeResponse(answer, &echo, &resp); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, group.Wait())
	}
}

// The span of a MAC goes from the message type to the field before it.
func TestMACSpan(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		r := sale(t)
		_, _, ok := d.MACSpan(written(t, d, &r))
		require.False(t, ok)
		r.MAC = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
		frame := written(t, d, &r)
		from, to, ok := d.MACSpan(frame)
		require.True(t, ok)
		require.Equal(t, d.preamble(), from)
		require.Equal(t, r.MAC[:], frame[to:])
	}
}

// MTI tells the message type of a readable front and nothing of another.
func TestMTI(t *testing.T) {
	r := sale(t)
	frame := written(t, Host(), &r)
	mti, ok := Host().MTI(frame)
	require.True(t, ok)
	require.Equal(t, uint16(200), mti)
	require.False(t, IsAnswer(mti))
	require.True(t, IsAnswer(AnswerTo(mti)))
	require.Equal(t, uint16(430), AnswerTo(421))
	_, ok = Host().MTI(frame[:10])
	require.False(t, ok)
}

// The explanation of a frame, as table and as JSON, shows no card number, track, PIN
// block or key of it, and neither does the error of a broken one.
func TestExplainKeepsSecrets(t *testing.T) {
	secrets := []string{
		"6222021234567890123", "6222021234567890", "6222029876543210", "29122011234",
		"5BA6CD5374CA7366", "00112233445566778899AABBCCDDEEFF", "B0016V1TX00N0000",
	}
	for _, d := range []*Dialect{Pos(), Host()} {
		requests, answers := goldenFrames(t, d.Name())
		for _, frame := range append(requests, answers...) {
			explained, err := d.Explain(frame)
			text := explained.String()
			if err != nil {
				text += err.Error()
			}
			encoded, err := json.Marshal(explained)
			require.NoError(t, err)
			for _, secret := range secrets {
				for _, shown := range []string{text, string(encoded)} {
					require.NotContains(t, shown, secret)
					require.NotContains(t, shown, strings.ToUpper(hex.EncodeToString([]byte(secret))))
				}
			}
		}
	}
}

// Nor does it show the working keys of a sign-on answer, or a transfer's target card
// that is too short to look like a card number.
func TestExplainKeepsKeys(t *testing.T) {
	d := Pos()
	keys := &draft{envelope: points.Envelope{TPDU: [5]byte{0x60}, Header: [6]byte{0x60}, MTI: 810}}
	keys.put(39, []byte("00"))
	keys.put(60, []byte("00000124003"))
	keys.put(62, bytes.Repeat([]byte("K"), 40))
	frame, err := d.append(nil, keys)
	require.NoError(t, err)
	explained, err := d.Explain(frame)
	require.NoError(t, err)
	require.NotContains(t, explained.String(), "KK")
	require.NotContains(t, explained.String(), "4B4B")
	require.Contains(t, explained.String(), "(40, not shown)")

	r := sale(t)
	r.Function = points.Transfer
	r.TargetPAN, err = points.ParsePAN("123456789012")
	require.NoError(t, err)
	explained, err = d.Explain(written(t, d, &r))
	require.NoError(t, err)
	require.NotContains(t, explained.String(), "123456789012")
	require.NotContains(t, explained.String(), hex.EncodeToString([]byte("123456789012")))
	require.Contains(t, explained.String(), "********9012")
}

// The card comes from DE2 where it was sent, else from track 2 or 3; a track tells the
// expiry unless DE14 does.
func TestCardFromTracks(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields map[int]string
		card   string
		expiry uint32
		fault  int
	}{
		{"track 2", map[int]string{35: "6222021234567890123=2912201"}, "6222021234567890123", 2912, 0},
		{"track 2, DE14 tells the expiry", map[int]string{14: "3001", 35: "6222021234567890=2912201"}, "6222021234567890", 3001, 0},
		{"track 2 with an impossible month", map[int]string{35: "6222021234567890=2913201"}, "6222021234567890", 0, 0},
		{"track 3", map[int]string{36: "996222021234567890=156"}, "6222021234567890", 0, 0},
		{"DE2 before a track that nobody can read", map[int]string{2: "6222021234567890", 35: ">>>>"}, "6222021234567890", 0, 0},
		{"no separator", map[int]string{35: "6222021234567890"}, "", 0, 35},
		{"no number", map[int]string{35: "=2912201"}, "", 0, 35},
		{"a number of twenty digits", map[int]string{36: "9912345678901234567890=156"}, "", 0, 36},
		{"shorter than a format code", map[int]string{36: "9"}, "", 0, 36},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range []*Dialect{Pos(), Host()} {
				r := sale(t)
				f, err := d.draftRequest(&r, nil)
				require.NoError(t, err)
				f.values[2] = nil
				for de, value := range c.fields {
					f.put(de, []byte(value))
				}
				frame, err := d.append(nil, f)
				require.NoError(t, err)
				var got points.Request
				err = d.Decode(frame, &got)
				if c.fault != 0 {
					requireFault(t, err, c.fault, false)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, c.card, string(got.PAN.AppendDigits(nil)))
				require.Equal(t, c.expiry, got.Expiry)
			}
		})
	}
}

// DE95 tells what a reversal leaves standing, and nothing else: what says more is
// refused, since a reversal understood in half gives back points that were spent.
func TestReplacementAmounts(t *testing.T) {
	for _, c := range []struct {
		function points.Function
		value    string
		actual   points.Amount
		wrong    string
	}{
		{points.Reversal, "000000000000000000000000000000000000000000", 0, ""},
		{points.Reversal, "000000000000000000000000C00000000D00000000", 0, ""},
		{points.Reversal, "000000000120000000000000000000000000000000", 120, ""},
		{points.Reversal, "000000000120000000000120C00000000C00000000", 120, ""},
		{points.Reversal, "999999999999000000000000000000000000000000", points.MaxAmount, ""},
		{points.Reversal, "000000000120000000000119000000000000000000", 0, "twelve digits"},
		{points.Reversal, "000000000000000000000119000000000000000000", 0, "twelve digits"},
		{points.Reversal, "0000000C0120000000000000000000000000000000", 0, "twelve digits"},
		{points.Reversal, "000000000120000000000000D00000001000000000", 0, "fees"},
		{points.Redeem, "000000000000000000000000000000000000000000", 0, ""},
		{points.Redeem, "000000000120000000000000000000000000000000", 0, "only a reversal"},
	} {
		r := points.Request{Function: c.function}
		wrong := readReplacement95(&r, []byte(c.value))
		require.Equal(t, c.actual, r.Actual, c.value)
		require.Contains(t, wrong, c.wrong, c.value)
		require.Equal(t, c.wrong == "", wrong == "", c.value)
	}
}

// Dates and times are of the calendar and the clock; a year is not told, so that
// 29 February is a day.
func TestDatesAndTimes(t *testing.T) {
	for _, good := range []uint64{101, 131, 229, 430, 1231} {
		require.Empty(t, checkDay(good), "%04d", good)
	}
	for _, bad := range []uint64{0, 100, 132, 230, 431, 1131, 1232, 1301, 9999} {
		require.NotEmpty(t, checkDay(bad), "%04d", bad)
	}
	for _, good := range []uint64{0, 235959} {
		require.Empty(t, checkClock(good))
	}
	for _, bad := range []uint64{240000, 236000, 235960, 999999} {
		require.NotEmpty(t, checkClock(bad), "%06d", bad)
	}
	require.Empty(t, checkStamp(229235959))
	require.NotEmpty(t, checkStamp(230000000))
	require.NotEmpty(t, checkStamp(229240000))
	require.Empty(t, checkExpiry(2912))
	require.NotEmpty(t, checkExpiry(2900))
	require.NotEmpty(t, checkExpiry(2913))
}

// A batch upload carries one to eight items, and says how many; anything else is
// refused, and so is writing it.
func TestUploadBounds(t *testing.T) {
	d := Pos()
	r := sale(t)
	r.Function = points.BatchUpload
	item := UploadItem{STAN: 5, PAN: r.PAN, Amount: 300}
	for n := range MaxUpload + 2 {
		items := make([]UploadItem, n)
		for i := range items {
			items[i] = item
		}
		frame, err := d.AppendUpload(nil, &r, items)
		if n < 1 || n > MaxUpload {
			requireFault(t, err, 48, false)
			continue
		}
		require.NoError(t, err)
		got, err := d.DecodeUpload(frame)
		require.NoError(t, err)
		require.Equal(t, items, got)
	}
	whole := uploadDigits([]UploadItem{item})
	for _, bad := range []string{"", "00", "01", "02" + string(whole[2:]), "09" + strings.Repeat(string(whole[2:]), 9), "01" + strings.Repeat("0", 40)} {
		_, wrong := parseUpload([]byte(bad))
		require.NotEmpty(t, wrong, "%q", bad)
	}
	_, err := d.AppendUpload(nil, &r, []UploadItem{{STAN: 1_000_000, PAN: r.PAN}})
	requireFault(t, err, 48, false)
	_, err = Host().AppendUpload(nil, &r, []UploadItem{item})
	requireFault(t, err, 48, false)
}

// A broken frame is explained up to where it breaks, and the field is named.
func TestExplainBrokenFrame(t *testing.T) {
	d := Pos()
	r := sale(t)
	frame := written(t, d, &r)
	explained, err := d.Explain(frame[:len(frame)-3])
	requireFault(t, err, 60, false)
	require.Equal(t, 60, explained.Fault.Field)
	require.Equal(t, 49, explained.Fields[len(explained.Fields)-1].Number)
	require.Contains(t, explained.String(), "wrong: DE60 batch and network 自定义域60: the frame ends early")
}

// The dialect of a frame is guessed with and without its length, and of nothing else.
func TestGuess(t *testing.T) {
	r := sale(t)
	for _, d := range []*Dialect{Pos(), Host()} {
		frame := written(t, d, &r)
		prefixed := append([]byte{byte(len(frame) >> 8), byte(len(frame))}, frame...)
		require.Equal(t, d.Name(), Guess(frame).Name())
		require.Equal(t, d.Name(), Guess(prefixed).Name())
		explained, err := d.Explain(prefixed)
		require.NoError(t, err)
		require.True(t, explained.Prefixed)
		require.Equal(t, "redeem", explained.Function)
	}
	require.Nil(t, Guess([]byte("GET / HTTP/1.1")))
	require.Nil(t, Guess(nil))
}

// The table's columns stand under each other, Chinese characters taking two places.
func TestExplanationAligns(t *testing.T) {
	require.Equal(t, 10, displayWidth("主账号 DE2"))
	r := sale(t)
	explained, err := Pos().Explain(written(t, Pos(), &r))
	require.NoError(t, err)
	var column []int
	for line := range strings.Lines(explained.String()) {
		if before, _, found := strings.Cut(line, "BCD, "); found {
			column = append(column, displayWidth(before[:strings.LastIndex(before, "  ")]))
		}
	}
	require.Greater(t, len(column), 5)
	for _, at := range column {
		require.Equal(t, column[0], at)
	}
}

// A fatal error and one that is answered are told apart, and both are format errors.
func TestFormatErrorReason(t *testing.T) {
	err := fmt.Errorf("link: reading: %w", fault(41, "missing"))
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	var wrong *FormatError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, "dialect: DE41 (terminal): missing", wrong.Error())
	require.Equal(t, "dialect: bitmap: gone", fatal("bitmap: gone").Error())
}
