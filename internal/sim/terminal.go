package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// ErrSilent says that whoever was connected to has never given an answer that a
// terminal understands.
var ErrSilent = errors.New("no answer of a switch")

// answerTimeout is how long a terminal waits for an answer before it gives up,
// as installed terminals do.
const answerTimeout = 60 * time.Second

// Identity is who a terminal says that it is.
type Identity struct {
	Terminal points.TerminalID
	Merchant points.MerchantID
}

// Dial connects a terminal to the switch at an address, over TLS where it has a
// certificate to show.
type Dial func(ctx context.Context, address string, who Identity) (net.Conn, error)

// Terminal is a POS terminal at the end of a TCP connection. It does one thing
// after the other, as terminals do, and is used by one goroutine.
type Terminal struct {
	Identity
	// Batch goes into every request; a sign-on sets it.
	Batch uint32
	// STAN is the last trace number used.
	STAN points.STAN
	// First bounds the wait for the first answer on a connection: whoever gives none
	// is probably no switch. 0: as long as for every other.
	First time.Duration
	// Dial connects; nil: plain TCP.
	Dial Dial
	// Till is what the terminal has counted itself.
	Till dialect.Till
	// Keys are what it authenticates with; nil: it has none.
	Keys *Keys

	address string
	dialect *dialect.Dialect
	clock   points.Clock
	conn    net.Conn // nil: not connected
	heard   bool     // conn has answered before
}

// NewTerminal makes a terminal that will connect to address when it first sends.
// stan is the trace number before its first.
func NewTerminal(address string, who Identity, stan points.STAN, clock points.Clock) *Terminal {
	return &Terminal{Identity: who, Batch: 1, STAN: stan, address: address, dialect: dialect.Pos(), clock: clock}
}

// Receipt is what a terminal keeps of a request: what it sent and what it got.
type Receipt struct {
	Request  points.Request
	Response points.Response
	Sent     []byte // frame without its length; it holds the card in clear
	Got      []byte
}

// MaxSTAN is the last trace number of six digits.
const MaxSTAN = 999_999

// Next prepares a request for function under the next trace number.
func (t *Terminal) Next(function points.Function) points.Request {
	t.STAN = t.STAN%MaxSTAN + 1
	req := points.Request{Function: function, Door: points.DoorTerminal, STAN: t.STAN, Batch: t.Batch, Terminal: t.Terminal, Merchant: t.Merchant}
	local := t.clock().Time()
	hour, minute, second := local.Clock()
	req.LocalTime = uint32(hour*10000 + minute*100 + second) //nolint:gosec // at most 235959.
	req.LocalDate = points.DateOf(local).MMDD()
	req.EntryMode = keyed
	return req
}

// keyed is the entry mode (DE22) of a card number typed in, without a PIN.
const keyed = 12

// Send sends req and waits for its answer, connecting first where needed.
func (t *Terminal) Send(ctx context.Context, req *points.Request) (*Receipt, error) {
	frame, err := t.frame(req)
	if err != nil {
		return nil, fmt.Errorf("terminal %v: %w", t.Terminal, err)
	}
	return t.Resend(ctx, &Receipt{Request: *req, Sent: frame})
}

// Resend sends the frame of a receipt, byte for byte, and returns a receipt with
// the answer to it.
func (t *Terminal) Resend(ctx context.Context, earlier *Receipt) (*Receipt, error) {
	got, err := t.Raw(ctx, earlier.Sent)
	if err != nil {
		return nil, err
	}
	receipt := &Receipt{Request: earlier.Request, Sent: earlier.Sent, Got: got}
	var echoed points.Request
	if err := t.dialect.DecodeResponse(got, &echoed, &receipt.Response); err != nil {
		return nil, fmt.Errorf("terminal %v: the answer to %v: %w", t.Terminal, earlier.Request.Function, err)
	}
	if err := t.Keys.hears(t, receipt, &echoed); err != nil {
		return nil, fmt.Errorf("terminal %v: the answer to %v: %w", t.Terminal, earlier.Request.Function, err)
	}
	if err := matches(&earlier.Request, &echoed); err != nil {
		return nil, fmt.Errorf("terminal %v: the answer to %v: %w", t.Terminal, earlier.Request.Function, err)
	}
	t.count(receipt)
	return receipt, nil
}

// matches checks what a terminal checks before it believes an answer.
func matches(sent, echoed *points.Request) error {
	switch {
	case sent.Has(11) && echoed.STAN != sent.STAN:
		return fmt.Errorf("STAN %v instead of %v", echoed.STAN, sent.STAN)
	case sent.Has(41) && echoed.Terminal != sent.Terminal:
		return fmt.Errorf("terminal %v instead of %v", echoed.Terminal, sent.Terminal)
	case sent.Has(42) && echoed.Merchant != sent.Merchant:
		return fmt.Errorf("merchant %v instead of %v", echoed.Merchant, sent.Merchant)
	}
	return nil
}

// Raw sends body behind its length and returns the body of what comes back. An
// error closes the connection; [io.EOF] in it means that the other side did.
func (t *Terminal) Raw(ctx context.Context, body []byte) ([]byte, error) {
	got, err := t.roundTrip(ctx, body)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("terminal %v: %w", t.Terminal, err), t.HangUp())
	}
	return got, nil
}

func (t *Terminal) connect(ctx context.Context) (net.Conn, error) {
	if t.Dial != nil {
		return t.Dial(ctx, t.address, t.Identity)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", t.address)
}

func (t *Terminal) roundTrip(ctx context.Context, body []byte) ([]byte, error) {
	if t.conn == nil {
		conn, err := t.connect(ctx)
		if err != nil {
			return nil, err
		}
		t.conn, t.heard = conn, false
	}
	conn, wait := t.conn, answerTimeout
	if !t.heard && t.First > 0 {
		wait = t.First
	}
	if err := conn.SetDeadline(t.clock().Time().Add(wait)); err != nil {
		return nil, err
	}
	// Behind the deadline of the answer, which would undo this one.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if len(body) > dialect.MaxFrame {
		return nil, fmt.Errorf("a frame of %d bytes, at most %d can be sent", len(body), dialect.MaxFrame)
	}
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...) //nolint:gosec // at most MaxFrame.
	if _, err := conn.Write(frame); err != nil {
		return nil, err
	}
	got, err := readFrame(conn)
	switch {
	case err == nil:
		t.heard = true
	case ctx.Err() != nil:
		err = ctx.Err()
	case !t.heard:
		within := ""
		if errors.Is(err, os.ErrDeadlineExceeded) {
			within = fmt.Sprintf(" within %v", wait)
		}
		err = fmt.Errorf("%w from %s%s, where a listener of dialect %s was expected (ISO 8583 behind a length of two bytes): %w",
			ErrSilent, t.address, within, t.dialect.Name(), err)
	}
	return got, err
}

func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	got := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, got)
	return got, err
}

// HangUp closes the connection, if there is one; the next Send connects again.
func (t *Terminal) HangUp() error {
	if t.conn == nil {
		return nil
	}
	err := t.conn.Close()
	t.conn = nil
	if err != nil {
		return fmt.Errorf("terminal %v: hang up: %w", t.Terminal, err)
	}
	return nil
}

// About makes a request of function that is about an earlier one: a void, refund
// or completion names it by RRN, authorisation code, batch and trace number; a
// reversal repeats its trace number.
func (t *Terminal) About(function points.Function, earlier *Receipt) points.Request {
	if function == points.Reversal {
		return reversalOf(earlier)
	}
	original := &earlier.Request
	req := t.Next(function)
	req.PAN, req.Expiry, req.Program, req.Amount = original.PAN, original.Expiry, original.Program, original.Amount
	req.RRN, req.AuthCode = earlier.Response.Position.RRN(), earlier.Response.AuthCode
	req.Original = points.Original{STAN: original.STAN, Batch: original.Batch, Date: earlier.Response.LocalDate, Present: true}
	return req
}

// reversalOf undoes earlier, because no answer to it came (DE39 98).
func reversalOf(earlier *Receipt) points.Request {
	req := earlier.Request
	req.Function, req.Reversed = points.Reversal, earlier.Request.Function
	req.Envelope, req.Class = points.Envelope{}, 0
	req.Answer = [2]byte{'9', '8'}
	req.RRN, req.AuthCode, req.Product, req.PIN, req.PINLen = [12]byte{}, [6]byte{}, [60]byte{}, [16]byte{}, 0
	req.KSN = [12]byte{} // It is a message of its own.
	req.Unmark(37)
	req.Unmark(38)
	req.Unmark(62)
	return req
}
