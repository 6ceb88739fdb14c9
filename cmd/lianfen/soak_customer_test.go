package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// door is how a customer speaks to the switch: a [sim.Terminal] or a [partner].
type door interface {
	Next(points.Function) points.Request
	About(points.Function, *sim.Receipt) points.Request
	Send(context.Context, *points.Request) (*sim.Receipt, error)
	HangUp() error
}

// deal is what a customer keeps of one transaction.
type deal struct {
	receipt  *sim.Receipt
	about    *deal
	reversed bool // and the reversal was answered 00
	lost     bool // the customer has neither answer nor reversal, and knows nothing
}

// stands reports whether the customer counts it.
func (d *deal) stands() bool { return !d.reversed && !d.lost && d.receipt.Response.Reason.Approved() }

// effect is what it moves: what the issuer pays the acquirer, and what it holds.
func (d *deal) effect() (pays, holds points.Amount) {
	if !d.stands() {
		return 0, 0
	}
	return d.meant()
}

// meant is what it moves if it stands.
func (d *deal) meant() (pays, holds points.Amount) {
	req := &d.receipt.Request
	switch req.Function {
	case points.Redeem:
		return req.Amount, 0
	case points.Earn, points.Refund:
		return -req.Amount, 0
	case points.PreAuth:
		return 0, req.Amount
	case points.Completion:
		return req.Amount, -d.about.receipt.Request.Amount
	case points.CompletionVoid: // What a completion left over stays released.
		return -d.about.receipt.Request.Amount, d.about.receipt.Request.Amount
	case points.Void, points.PreAuthVoid:
		pays, holds = d.about.meant()
		return -pays, -holds
	default:
		return 0, 0
	}
}

// customer does one thing after the other, whatever comes of it.
type customer struct {
	soak   *soak
	door   door
	chance *rand.Rand
	sales  []*deal // that can be voided or refunded
	holds  []*deal // that can be completed or voided
}

// act does one thing.
func (c *customer) act(ctx context.Context) error {
	switch what := c.chance.IntN(100); {
	case what < 30:
		return c.start(ctx, points.Redeem)
	case what < 55:
		return c.start(ctx, points.Earn)
	case what < 67:
		return c.start(ctx, points.PreAuth)
	case what < 72:
		return c.start(ctx, points.Balance)
	case what < 80 && len(c.sales) > 0:
		return c.refund(ctx)
	case what < 90 && len(c.sales) > 0:
		return c.void(ctx)
	case len(c.holds) > 0:
		return c.end(ctx)
	default:
		return c.start(ctx, points.Redeem)
	}
}

// start sends a request that is about no other.
func (c *customer) start(ctx context.Context, function points.Function) error {
	req := c.door.Next(function)
	sim.Dress(&req)
	pan, err := points.ParsePAN(soakCards[c.chance.IntN(len(soakCards))])
	if err != nil {
		return err
	}
	req.PAN, req.Program = pan, 904+points.ProgramID(c.chance.IntN(2))
	if function != points.Balance {
		req.Amount = points.Amount(1 + c.chance.IntN(100))
	}
	d := &deal{}
	if err := c.deliver(ctx, d, &req); err != nil || !d.stands() {
		return err
	}
	switch function {
	case points.PreAuth:
		c.holds = append(c.holds, d)
	case points.Redeem, points.Earn:
		c.sales = append(c.sales, d)
	default:
	}
	return nil
}

// void cancels a sale, an earn or a completion.
func (c *customer) void(ctx context.Context) error {
	i := c.chance.IntN(len(c.sales))
	function, req := points.Void, &c.sales[i].receipt.Request
	if req.Function == points.Completion {
		function = points.CompletionVoid
	}
	voided, err := c.follow(ctx, function, c.sales[i], req.Amount)
	if voided {
		c.sales = slices.Delete(c.sales, i, i+1)
	}
	return err
}

// refund gives back a part of a sale, and forgets it.
func (c *customer) refund(ctx context.Context) error {
	i := c.chance.IntN(len(c.sales))
	sale := c.sales[i]
	if sale.receipt.Request.Function == points.Earn {
		return nil
	}
	c.sales = slices.Delete(c.sales, i, i+1)
	_, err := c.follow(ctx, points.Refund, sale, 1+points.Amount(c.chance.Int64N(int64(sale.receipt.Request.Amount))))
	return err
}

// end completes a hold or lets it go.
func (c *customer) end(ctx context.Context) error {
	i := c.chance.IntN(len(c.holds))
	hold := c.holds[i]
	amount, function := hold.receipt.Request.Amount, points.PreAuthVoid
	if c.chance.IntN(3) > 0 {
		function, amount = points.Completion, 1+points.Amount(c.chance.Int64N(int64(amount)))
	}
	ended, err := c.follow(ctx, function, hold, amount)
	if ended {
		c.holds = slices.Delete(c.holds, i, i+1)
	}
	return err
}

// follow sends a request about an earlier one.
func (c *customer) follow(ctx context.Context, function points.Function, about *deal, amount points.Amount) (stands bool, err error) {
	req := c.door.About(function, about.receipt)
	sim.Dress(&req)
	req.Amount = amount
	d := &deal{about: about}
	if err := c.deliver(ctx, d, &req); err != nil {
		return false, err
	}
	if d.stands() && function == points.Completion {
		c.sales = append(c.sales, d)
	}
	return d.stands(), nil
}

// hurry is for how long an impatient customer waits at most: less than the switch may need.
const hurry = 200 * time.Millisecond

// breath is what a customer takes before its next request when the issuer is away.
const breath = 30 * time.Millisecond

// deliver sends a request and keeps what came of it. A customer that hears no answer
// asks again, or has it reversed, until it is answered; one in eight does neither.
func (c *customer) deliver(ctx context.Context, d *deal, req *points.Request) error {
	d.receipt = &sim.Receipt{Request: *req}
	c.soak.keep(d)
	once, cancel := ctx, context.CancelFunc(func() {})
	if c.chance.IntN(12) == 0 {
		once, cancel = context.WithTimeout(ctx, time.Duration(c.chance.Int64N(int64(hurry>>c.chance.IntN(10)))))
	}
	receipt, err := c.door.Send(once, req)
	cancel()
	if err == nil {
		d.receipt = receipt
		if reason := receipt.Response.Reason; reason == points.LineDown || reason == points.IssuerDown {
			<-time.After(breath)
		}
		return nil
	}
	if !unheard(err) {
		return err
	}
	d.receipt.Request = *req   // As it was completed.
	if c.chance.IntN(8) == 0 { // Switched off, and never heard of again.
		d.lost = true
		c.soak.lost.Add(1)
		return nil
	}
	if !c.reversible(req.Function) || c.chance.IntN(2) == 0 {
		c.soak.resent.Add(1)
		if receipt, err = c.insist(ctx, req); err == nil {
			d.receipt = receipt
		}
		return err
	}
	c.soak.reversed.Add(1)
	undo := c.door.About(points.Reversal, d.receipt)
	answered, err := c.insist(ctx, &undo)
	if err != nil {
		return err
	}
	if !answered.Response.Reason.Approved() {
		return fmt.Errorf("reversal of %v STAN %v was answered %v", req.Function, req.STAN, answered.Response.Reason)
	}
	d.reversed = true
	return nil
}

// reversible reports whether a function can be reversed: what is told has happened, and
// dialect pos has no reversal of an earn.
func (c *customer) reversible(function points.Function) bool {
	switch function {
	case points.Refund, points.Balance:
		return false
	case points.Earn:
		_, terminal := c.door.(*sim.Terminal)
		return !terminal
	default:
		return true
	}
}

// insist sends the same again until it is answered.
func (c *customer) insist(ctx context.Context, req *points.Request) (*sim.Receipt, error) {
	until := time.Now().Add(2 * patience)
	for {
		receipt, err := c.door.Send(ctx, req)
		if err == nil || !unheard(err) || time.Now().After(until) {
			return receipt, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// unheard reports whether an error means that no answer came; else a wrong one did.
func unheard(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

func (s *soak) keep(d *deal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deals = append(s.deals, d)
}

// partner is another institution, on the dialect of hosts. It asks one thing after the
// other on one connection.
type partner struct {
	sim.Identity
	address string
	dialect *dialect.Dialect
	stan    points.STAN
	conn    net.Conn // nil: not connected
}

// partnerID is the institution.
const partnerID points.AcquirerID = 20000002

func newPartner(address string, who sim.Identity) *partner {
	p := &partner{Identity: who, address: address, dialect: dialect.Host()}
	if who.Terminal[1] == '2' {
		p.stan = sim.MaxSTAN / 2 // The two have one name: their requests differ by number.
	}
	return p
}

// Next prepares a request under the next trace number.
func (p *partner) Next(function points.Function) points.Request {
	p.stan++
	at := time.Now().UTC()
	hour, minute, second := at.Clock()
	return points.Request{
		Function: function, STAN: p.stan, Transmission: uint64(points.DateOf(at).MMDD())*1_000_000 + uint64(hour*10000+minute*100+second),
		Acquirer: partnerID, Terminal: p.Terminal, Merchant: p.Merchant, EntryMode: 12,
	}
}

// About prepares a request about an earlier one, which DE90 names.
func (p *partner) About(function points.Function, earlier *sim.Receipt) points.Request {
	o := &earlier.Request
	req := p.Next(function)
	req.PAN, req.Program, req.Amount = o.PAN, o.Program, o.Amount
	req.Original = points.Original{Present: true, MTI: o.Envelope.MTI, STAN: o.STAN, Transmission: o.Transmission, Acquirer: partnerID}
	if function == points.Reversal {
		req.Reversed, req.Answer = o.Function, [2]byte{'9', '8'}
		if o.Has(25) {
			req.Condition = o.Condition
			req.Mark(25)
		}
	}
	return req
}

// Send sends req and waits for its answer.
func (p *partner) Send(ctx context.Context, req *points.Request) (*sim.Receipt, error) {
	if err := p.dialect.Complete(req); err != nil {
		return nil, err
	}
	frame, err := p.dialect.AppendRequest([]byte{0, 0}, req)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(frame, uint16(len(frame)-2))
	got, err := p.exchange(ctx, frame)
	if err != nil {
		_ = p.HangUp()
		return nil, err
	}
	receipt := &sim.Receipt{Request: *req, Sent: frame[2:], Got: got}
	var echoed points.Request
	if err := p.dialect.DecodeResponse(got, &echoed, &receipt.Response); err != nil {
		return nil, err
	}
	if echoed.STAN != req.STAN || echoed.Transmission != req.Transmission {
		return nil, fmt.Errorf("partner: STAN %v of %v was answered to %v of %v", echoed.STAN, echoed.Transmission, req.STAN, req.Transmission)
	}
	return receipt, nil
}

func (p *partner) exchange(ctx context.Context, frame []byte) ([]byte, error) {
	if p.conn == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
		if err != nil {
			return nil, err
		}
		p.conn = conn
	}
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	conn := p.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := p.conn.Write(frame); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(p.conn, length[:]); err != nil {
		return nil, err
	}
	got := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(p.conn, got)
	return got, err
}

// HangUp closes the connection, if there is one.
func (p *partner) HangUp() error {
	if p.conn == nil {
		return nil
	}
	err := p.conn.Close()
	p.conn = nil
	return err
}
