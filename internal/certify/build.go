package certify

import (
	"fmt"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// exchange is what a step sent and got, for later steps to refer to.
type exchange struct {
	request  points.Request
	sent     []byte
	response points.Response
	got      []byte // nil: no answer
	step     int    // from 1
}

// sender makes the messages of a run. It counts trace numbers and knows the batch
// of each terminal.
type sender struct {
	parameters *Parameters
	dialect    *dialect.Dialect
	clock      points.Clock
	stan       points.STAN // the last one used
	batches    map[points.TerminalID]uint32
	tills      map[points.TerminalID]*dialect.Till
	keys       map[points.TerminalID]*terminalKeys // of those that have master keys
}

// till is what a terminal has counted in this run.
func (b *sender) till(terminal points.TerminalID) *dialect.Till {
	if b.tills == nil {
		b.tills = make(map[points.TerminalID]*dialect.Till)
	}
	if b.tills[terminal] == nil {
		b.tills[terminal] = new(dialect.Till)
	}
	return b.tills[terminal]
}

// settle gives a request about a batch what its terminal has counted: totals, with one
// debit of a point more where the step says so, or the number of its items.
func (b *sender) settle(req *points.Request, s *Step) {
	switch req.Function {
	case points.BatchClose:
		req.Totals = b.till(req.Terminal).Totals(req.Batch)
		if s.Unequal {
			req.Totals.Add(points.DebitSide, 1, 1)
		}
	case points.BatchUploadEnd:
		for _, piece := range b.till(req.Terminal).Items(req.Batch) {
			req.Totals.DebitCount += uint32(len(piece)) //nolint:gosec // at most eight.
		}
	case points.Download:
		req.NetworkCode = s.Network
	default:
	}
}

const (
	maxSTAN = 999_999
	keyed   = 12 // DE22 of a card number typed in, without a PIN
	noReply = "98"
)

// build makes the message of a step that sends one: the request, and the frame
// with the step's changes. earlier are the case's exchanges by name, amounts what
// it captured.
func (b *sender) build(s *Step, earlier map[string]*exchange, captured map[string]int64) (req points.Request, frame []byte, err error) {
	var function points.Function
	if err := function.UnmarshalText([]byte(s.Send)); err != nil {
		return req, nil, err
	}
	who := b.parameters.Terminals[s.terminal()]
	req = points.Request{Function: function}
	if req.Terminal, err = points.ParseTerminalID(who.ID); err != nil {
		return req, nil, err
	}
	if req.Merchant, err = points.ParseMerchantID(who.Merchant); err != nil {
		return req, nil, err
	}
	b.stamp(&req)
	if s.Of != "" {
		b.about(&req, earlier[s.Of])
	}
	if s.Under != "" {
		req.STAN, req.Transmission = earlier[s.Under].request.STAN, earlier[s.Under].request.Transmission
	}
	if err := b.fill(&req, s, captured); err != nil {
		return req, nil, err
	}
	b.settle(&req, s)
	frame, err = b.write(&req, s)
	return req, frame, err
}

// stamp gives a request its numbers and times.
func (b *sender) stamp(req *points.Request) {
	b.stan = b.stan%maxSTAN + 1
	req.STAN = b.stan
	t := b.clock().Time()
	hour, minute, second := t.Clock()
	req.LocalTime = uint32(hour*10000 + minute*100 + second) //nolint:gosec // at most 235959.
	req.LocalDate = points.DateOf(t).MMDD()
	req.EntryMode = keyed
	if b.parameters.Profile == ProfilePOS {
		req.Door = points.DoorTerminal
		req.Batch = 1
		if batch, ok := b.batches[req.Terminal]; ok {
			req.Batch = batch
		}
		return
	}
	req.Door = points.DoorHost
	req.Envelope.HexMap = b.parameters.HexBitmap
	req.Transmission = uint64(req.LocalDate)*1_000_000 + uint64(req.LocalTime)
	req.Acquirer, req.Forwarder = b.parameters.Acquirer, b.parameters.Forwarder
	req.RRN = points.Position(b.stan).RRN()
	if req.Function == points.SignOn || req.Function == points.SignOff || req.Function == points.Echo {
		req.Terminal, req.Merchant, req.EntryMode, req.LocalTime, req.LocalDate = points.TerminalID{}, points.MerchantID{}, 0, 0, 0
	}
}

// about makes a request be about an earlier one. A terminal names it by RRN,
// authorisation code, batch and trace number, and its reversal repeats the trace
// number (messages.md 10.6); a switch names it by DE90 (10.13).
func (b *sender) about(req *points.Request, o *exchange) {
	original := &o.request
	req.PAN, req.Expiry, req.Program, req.Amount = original.PAN, original.Expiry, original.Program, original.Amount
	req.EntryMode = original.EntryMode
	if req.Function == points.Reversal {
		req.Reversed, req.Processing, req.Condition, req.Kind = original.Function, original.Processing, original.Condition, original.Kind
	}
	if b.parameters.Profile == ProfileIssuer {
		req.Original = points.Original{
			MTI: original.Envelope.MTI - original.Envelope.MTI%10, STAN: original.STAN, Transmission: original.Transmission,
			Acquirer: original.Acquirer, Forwarder: original.Forwarder, Present: true,
		}
		return
	}
	if req.Function == points.Reversal {
		req.STAN, req.Batch, req.Original = original.STAN, original.Batch, original.Original
		copy(req.Answer[:], noReply)
		return
	}
	req.RRN, req.AuthCode = o.response.Position.RRN(), o.response.AuthCode
	if o.response.AuthCode == [6]byte{} {
		copy(req.AuthCode[:], "000000") // The original was declined; a completion must carry one all the same.
	}
	req.Original = points.Original{STAN: original.STAN, Batch: original.Batch, Date: o.response.LocalDate, Present: true}
}

// fill gives a request what the step says, and what a terminal adds by itself.
func (b *sender) fill(req *points.Request, s *Step, captured map[string]int64) (err error) {
	p := b.parameters
	if s.Card != "" {
		if req.PAN, err = points.ParsePAN(p.Cards[s.Card]); err != nil {
			return err
		}
	}
	if s.To != "" {
		if req.TargetPAN, err = points.ParsePAN(p.Cards[s.To]); err != nil {
			return err
		}
	}
	if s.Program != "" {
		req.Program = points.ProgramID(p.Programs[s.Program])
	}
	if s.Amount.given() {
		amount, err := s.Amount.value(captured, p.Amounts)
		if err != nil {
			return err
		}
		req.Amount = points.Amount(amount)
	}
	if s.Entry != 0 {
		req.EntryMode = s.Entry
	}
	if s.Expiry != 0 {
		req.Expiry = s.Expiry
	}
	req.PartialOK = s.Partial
	req.Envelope.Wide = s.Wide
	tpdu, err := unhex(s.TPDU)
	if err != nil {
		return fmt.Errorf("TPDU: %w", err)
	}
	header, err := unhex(s.Header)
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	copy(req.Envelope.TPDU[:], tpdu)
	copy(req.Envelope.Header[:], header)
	if b.parameters.Profile == ProfilePOS {
		b.dress(req)
	}
	return nil
}

// dress adds the operator of a sign-on, the card organisation of a refund, the
// product code of a points sale.
func (b *sender) dress(req *points.Request) {
	switch req.Function {
	case points.SignOn, points.SignOff, points.BatchClose:
		copy(req.Operator[:], "001")
	case points.Refund:
		copy(req.Operator[:], "000")
	case points.Redeem, points.Earn:
		copy(req.Product[:], "POINTS"+strings.Repeat(" ", len(req.Product)))
	default:
	}
}

// write makes the frame of a request and applies the step's changes to it.
func (b *sender) write(req *points.Request, s *Step) ([]byte, error) {
	if req.Function == points.BatchUpload {
		return b.writeUpload(req, s)
	}
	if err := b.dialect.Complete(req); err != nil {
		return nil, fmt.Errorf("%v: %w", req.Function, err)
	}
	if err := b.authenticate(req, s); err != nil {
		return nil, fmt.Errorf("%v: %w", req.Function, err)
	}
	frame, err := b.dialect.AppendRequest(nil, req)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", req.Function, err)
	}
	frame, err = takeApart(b.dialect, frame).edited(s.MTI, s.Remove, s.Wire)
	if err != nil {
		return nil, err
	}
	return b.sign(frame, req, s), nil
}

// writeUpload makes the frame of an upload: the first eight of what the terminal has
// counted in its batch.
func (b *sender) writeUpload(req *points.Request, s *Step) ([]byte, error) {
	pieces := b.till(req.Terminal).Items(req.Batch)
	if len(pieces) == 0 {
		return nil, fmt.Errorf("%v: the terminal has counted nothing in batch %d", req.Function, req.Batch)
	}
	frame, err := b.dialect.AppendUpload(nil, req, pieces[0])
	if err == nil {
		err = b.dialect.Decode(frame, req)
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", req.Function, err)
	}
	return takeApart(b.dialect, frame).edited(s.MTI, s.Remove, s.Wire)
}
