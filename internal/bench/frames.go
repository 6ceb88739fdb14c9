package bench

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// The world that the load plays in: one issuer with one programme, one acquirer
// with one merchant, a terminal for each connection, and as many members as are
// asked for, each with one card and one account.
const (
	worldIssuer   points.IssuerID   = 10000001
	worldAcquirer points.AcquirerID = 20000001
	worldProgram  points.ProgramID  = 901
	worldMerchant                   = "BENCH"
	worldLink                       = "issuer" // where the issuer keeps its own ledger
	cardPrefix                      = "622202" // and ten digits: the member's number
	memberDigits                    = 8        // of those, the ones that are patched
	// MaxAccounts is how many members there can be.
	MaxAccounts = 99_999_999
	// worldFunds is what each member has; every redemption takes one point.
	worldFunds points.Amount = 900_000_000_000
)

// worldTerminal is the terminal of connection conn, from 0.
func worldTerminal(conn int) (points.TerminalID, error) {
	return points.ParseTerminalID(fmt.Sprintf("B%07d", conn))
}

// worldCard is the card of a member.
func worldCard(member uint64) (points.PAN, error) {
	return points.ParsePAN(fmt.Sprintf("%s%010d", cardPrefix, member))
}

// series numbers requests beyond the six digits of the STAN. No two connections or
// runs share one, so that no request is ever taken for a repeat. A terminal's
// series is its batch number (DE60.2), a partner's the second in which it says that
// it sent (DE7), counted back from the base of the run.
type series uint32

const (
	// perSeries is how many requests one series numbers: STAN 1 to 999,999.
	perSeries = 999_999
	// maxSeries keeps a partner's transmission times within the day that a switch
	// takes for fresh, and a batch number within its six digits.
	maxSeries series = 80_000
)

// when is the series as it stands on the wire and, behind the door, in
// [points.TraceKey.When].
func (s series) when(d *dialect.Dialect, base time.Time) uint64 {
	if !spokenByPartners(d) {
		return uint64(s)
	}
	return transmission(base.Add(-time.Duration(s) * time.Second))
}

// spokenByPartners tells dialect host from the terminals'.
func spokenByPartners(d *dialect.Dialect) bool { return d.Name() == "host" }

// transmission is MMDDhhmmss of an instant, in UTC (DE7).
func transmission(t time.Time) uint64 {
	t = t.UTC()
	month, day := int(t.Month()), t.Day()
	hour, minute, second := t.Clock()
	return uint64((((month*100+day)*100+hour)*100+minute)*100 + second) //nolint:gosec // all of them are above zero.
}

// digits is a number in a frame: count decimal digits from byte at on, two in a
// byte where packed.
type digits struct {
	at, count int
	packed    bool
}

// put writes n over the digits.
func (f digits) put(frame []byte, n uint64) {
	if f.packed {
		for i := f.at + f.count/2 - 1; i >= f.at; i-- {
			frame[i] = byte(n/10%10<<4 | n%10) //nolint:gosec // two digits.
			n /= 100
		}
		return
	}
	for i := f.at + f.count - 1; i >= f.at; i-- {
		frame[i] = byte('0' + n%10)
		n /= 10
	}
}

// read returns the number; whether these are digits at all is not looked at.
func (f digits) read(frame []byte) (n uint64) {
	if f.packed {
		for _, b := range frame[f.at : f.at+f.count/2] {
			n = n*100 + uint64(b>>4)*10 + uint64(b&0x0f)
		}
		return n
	}
	for _, b := range frame[f.at : f.at+f.count] {
		n = n*10 + uint64(b-'0')
	}
	return n
}

// locate finds a number of count digits in a frame from two frames that differ in
// all digits of it and in nothing else.
func locate(one, other []byte, count int, packed bool) (digits, error) {
	from, to := len(one), 0
	if len(one) == len(other) {
		for i := range one {
			if one[i] != other[i] {
				from, to = min(from, i), i+1
			}
		}
	}
	size := count
	if packed {
		size /= 2
	}
	if to-from != size {
		return digits{}, fmt.Errorf("bench: %d digits do not stand together in the frame", count)
	}
	return digits{from, count, packed}, nil
}

// requestForm is a redemption of one point that is encoded once, and where in it
// the numbers stand that every request has of its own.
type requestForm struct {
	frame              []byte // without length bytes
	stan, when, member digits
}

// Numbers that differ in every digit.
const ones, twos = 11111111, 22222222

// newRequestForm encodes the redemption of connection conn; signed says that it carries a
// MAC, which is written when the numbers are.
func newRequestForm(d *dialect.Dialect, conn int, signed bool) (*requestForm, error) {
	encode := func(stan, when, member uint64) ([]byte, error) {
		req, err := redemption(d, conn, stan, when, member)
		if err == nil && signed {
			err = sign(&req, d, conn)
		}
		if err != nil {
			return nil, err
		}
		frame, err := d.AppendRequest(nil, &req)
		if err != nil {
			return nil, fmt.Errorf("bench: encode a redemption: %w", err)
		}
		return frame, nil
	}
	whenOne, whenTwo := uint64(ones%1_000_000), uint64(twos%1_000_000)
	if spokenByPartners(d) {
		whenOne, whenTwo = 1111111111, 222222222 // 02-22 22:22:22
	}
	frame, err := encode(ones%1_000_000, whenOne, ones)
	if err != nil {
		return nil, err
	}
	form := &requestForm{frame: frame}
	packed := !spokenByPartners(d)
	for _, number := range []struct {
		where              *digits
		stan, when, member uint64
		count              int
	}{
		{&form.stan, twos % 1_000_000, whenOne, ones, 6},
		{&form.when, ones % 1_000_000, whenTwo, ones, whenDigits(d)},
		{&form.member, ones % 1_000_000, whenOne, twos, memberDigits},
	} {
		other, err := encode(number.stan, number.when, number.member)
		if err != nil {
			return nil, err
		}
		if *number.where, err = locate(frame, other, number.count, packed); err != nil {
			return nil, err
		}
	}
	return form, nil
}

// whenDigits is how many digits the series has on the wire.
func whenDigits(d *dialect.Dialect) int {
	if spokenByPartners(d) {
		return 10
	}
	return 6
}

// redemption is one point of a member's, asked for by connection conn.
func redemption(d *dialect.Dialect, conn int, stan, when, member uint64) (req points.Request, err error) {
	req = points.Request{Function: points.Redeem, STAN: points.STAN(stan), Amount: 1, Program: worldProgram, EntryMode: 21} //nolint:gosec // six digits.
	if spokenByPartners(d) {
		req.Acquirer, req.Transmission = worldAcquirer, when
	} else {
		req.Batch = uint32(when) //nolint:gosec // six digits.
	}
	if req.PAN, err = worldCard(member); err != nil {
		return req, err
	}
	if req.Terminal, err = worldTerminal(conn); err != nil {
		return req, err
	}
	req.Merchant, err = points.ParseMerchantID(worldMerchant)
	return req, err
}

// answer is what the generator reads of an answer.
type answer struct {
	stan, when uint64
	code       [2]byte // DE39
	position   points.Position
}

// answerForm reads answers. It learns from the first approval where the numbers
// stand; what has another length, message type or bitmap is taken apart by the
// dialect, as the first one was.
type answerForm struct {
	dialect    *dialect.Dialect
	learned    bool
	size       int
	front      []byte // message type and bitmap, from byte frontAt on
	frontAt    int
	signed     bool // they carry MACs
	stan, when digits
	rrn, code  int // where DE37 (of dialect host: DE63) and DE39 stand
}

const (
	rrnSize      = 12
	authCodeSize = 6
)

// read reads an answer to a request of form.
func (f *answerForm) read(form *requestForm, frame []byte) (answer, error) {
	if f.learned && len(frame) == f.size && bytes.Equal(frame[f.frontAt:f.frontAt+len(f.front)], f.front) {
		position := uint64(0)
		for _, b := range frame[f.rrn : f.rrn+rrnSize] {
			if b < '0' || b > '9' {
				return f.decode(frame) // In base 36, or nonsense.
			}
			position = position*10 + uint64(b-'0')
		}
		return answer{f.stan.read(frame), f.when.read(frame), [2]byte(frame[f.code:]), points.Position(position)}, nil
	}
	a, err := f.decode(frame)
	if err == nil && !f.learned && string(a.code[:]) == points.Approved.DE39() {
		f.learn(form, frame)
	}
	return a, err
}

func (f *answerForm) decode(frame []byte) (answer, error) {
	var echoed points.Request
	var resp points.Response
	if err := f.dialect.DecodeResponse(frame, &echoed, &resp); err != nil {
		return answer{}, fmt.Errorf("bench: read an answer: %w", err)
	}
	a := answer{stan: uint64(echoed.STAN), when: uint64(echoed.Batch), code: [2]byte([]byte(resp.Reason.DE39())), position: resp.Position}
	if spokenByPartners(f.dialect) {
		a.when = echoed.Transmission
	}
	return a, nil
}

// learn finds the numbers in an approval by writing it again with others. Where
// that does not give the approval back there is nothing to be learned, and answers
// go on being taken apart.
func (f *answerForm) learn(form *requestForm, frame []byte) {
	var asked, echoed points.Request
	var resp points.Response
	if f.dialect.Decode(form.frame, &asked) != nil || f.dialect.DecodeResponse(frame, &echoed, &resp) != nil {
		return
	}
	asked.PAN = echoed.PAN // form.frame may have gone on to another member.
	write := func(stan points.STAN, when uint64, position points.Position, auth [6]byte) []byte {
		asked, resp := asked, resp
		asked.STAN, resp.Position, resp.AuthCode = stan, position, auth
		if spokenByPartners(f.dialect) {
			asked.Transmission = when
		} else {
			asked.Batch = uint32(when) //nolint:gosec // six digits.
		}
		return f.dialect.AppendResponse(nil, &asked, &resp)
	}
	when := uint64(echoed.Batch)
	if spokenByPartners(f.dialect) {
		when = echoed.Transmission
	}
	if f.signed { // An answer is written with an empty MAC.
		frame = append(bytes.Clone(frame[:len(frame)-macSize]), make([]byte, macSize)...)
	}
	if !bytes.Equal(write(echoed.STAN, when, resp.Position, resp.AuthCode), frame) {
		return
	}
	packed, one, two := !spokenByPartners(f.dialect), uint64(111111), uint64(222222)
	if !packed {
		one, two = 1111111111, 222222222
	}
	const low, high points.Position = 111111111111, 222222222222
	a, b := [6]byte([]byte("AAAAAA")), [6]byte([]byte("BBBBBB"))
	base := write(111111, one, low, a)
	stan, stanErr := locate(base, write(222222, one, low, a), 6, packed)
	series, seriesErr := locate(base, write(111111, two, low, a), whenDigits(f.dialect), packed)
	rrn, rrnErr := locate(base, write(111111, one, high, a), rrnSize, false)
	auth, authErr := locate(base, write(111111, one, low, b), authCodeSize, false)
	if errors.Join(stanErr, seriesErr, rrnErr, authErr) != nil {
		return
	}
	code := auth.at + authCodeSize // DE39 is the element behind DE38.
	if string(base[code:code+2]) != points.Approved.DE39() {
		return
	}
	f.frontAt = len(frame) - len(frontless(f.dialect, frame))
	f.front = bytes.Clone(frame[f.frontAt : f.frontAt+frontSize(f.dialect)])
	f.size, f.stan, f.when, f.rrn, f.code, f.learned = len(frame), stan, series, rrn.at, code, true
}

// frontless is a frame without what stands before its message type.
func frontless(d *dialect.Dialect, frame []byte) []byte {
	if spokenByPartners(d) {
		return frame
	}
	return frame[11:] // TPDU of 5 bytes, header of 6
}

// frontSize is the size of message type and primary bitmap.
func frontSize(d *dialect.Dialect) int {
	if spokenByPartners(d) {
		return 4 + 8
	}
	return 2 + 8
}
