package pointswitch

import (
	"time"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// What a message to an issuer's host is called by comes from the journal alone, so
// that it is the same again after a restart: DE11 and DE7 from position and posting
// time of the command that caused it, DE37 is the RRN of the request.

// maxSTAN is the largest trace number; 000000 is none.
const maxSTAN = 999_999

// stanOf is the trace number of what the command at position causes. The same comes
// again after a million positions, with another RRN and, as a rule, another DE7.
func stanOf(position points.Position) points.STAN {
	return points.STAN(uint64(position-1)%maxSTAN + 1)
}

// stampOf is DE7, MMDDhhmmss in UTC.
func stampOf(at points.Timestamp) uint64 {
	t := at.Time()
	hour, minute, second := t.Clock()
	clock := hour*1e4 + minute*100 + second
	return uint64(int(t.Month())*1e8 + t.Day()*1e6 + clock) //nolint:gosec // above zero.
}

// noTerminal is DE41 of a request whose acquirer's terminals are not registered here:
// a host wants one, and every message about the request must name the same.
const noTerminal = "00000000"

// messageType is the type of the message by which function is asked for or told.
func messageType(f points.Function) uint16 {
	switch {
	case book.Told(f):
		return 220
	case f == points.PreAuth || f == points.PreAuthVoid:
		return 100
	default:
		return 200
	}
}

// replyKey is what finds the request that an answer belongs to: all that an answer
// echoes. No part of it alone would do: trace numbers repeat among terminals and
// links, and the order of answers is the host's.
type replyKey struct {
	mti          uint16
	stan         points.STAN
	transmission uint64
	acquirer     points.AcquirerID
	rrn          [12]byte
	terminal     points.TerminalID
	merchant     points.MerchantID
	processing   uint32
}

// keyOf is the key of the answer to req, which has its message type.
func keyOf(req *points.Request, mti uint16) replyKey {
	return replyKey{
		mti: mti, stan: req.STAN, transmission: req.Transmission, acquirer: req.Acquirer, rrn: req.RRN,
		terminal: req.Terminal, merchant: req.Merchant, processing: req.Processing,
	}
}

// message makes the request that carries view to its issuer.
func (l *leg) message(view *book.RemoteView) points.Request {
	req := l.parties(view)
	req.Function, req.STAN, req.Transmission = view.Function, stanOf(view.Position), stampOf(view.Posted)
	if view.Original != 0 {
		req.AuthCode = view.OriginalAuthCode
		req.Original = l.naming(view.OriginalName, view.Acquirer)
	}
	return req
}

// parties fills in what every message about view carries.
func (l *leg) parties(view *book.RemoteView) points.Request {
	req := points.Request{
		Amount: view.Asked, Acquirer: view.Acquirer, Forwarder: l.profile.Institution, Issuer: view.Issuer,
		RRN: view.Position.RRN(), Terminal: view.Terminal, Merchant: view.Merchant, Program: view.Program,
	}
	if req.Terminal == (points.TerminalID{}) {
		copy(req.Terminal[:], noTerminal)
	}
	if pan, ok := l.of.opts.CardKey.PAN(view.Card); ok {
		req.PAN = pan
	}
	return req
}

// naming is DE90 of a message that we have sent.
func (l *leg) naming(name book.RemoteName, acquirer points.AcquirerID) points.Original {
	return points.Original{
		Present: true, MTI: messageType(name.Function), STAN: stanOf(name.Position), Transmission: stampOf(name.Posted),
		Acquirer: acquirer, Forwarder: l.profile.Institution,
	}
}

// advice tells the issuer what stands here, under the name by which it knows it, or will.
func (l *leg) advice(view *book.RemoteView, repeat bool) points.Request {
	req := l.message(view)
	req.Function, req.STAN, req.Transmission = view.Name.Function, stanOf(view.Name.Position), stampOf(view.Name.Posted)
	req.Repeat = repeat
	return req
}

// reversal undoes view at the issuer. Its identity is that of the command since which
// it is owed, and stays the same in every repeat.
func (l *leg) reversal(view *book.RemoteView, repeat bool) points.Request {
	req := l.parties(view)
	req.Function, req.Reversed, req.Repeat = points.Reversal, view.Name.Function, repeat
	req.Actual = view.Actual
	req.STAN, req.Transmission = stanOf(view.OwedBy), stampOf(view.OwedAt)
	req.AuthCode = view.AuthCode
	req.Original = l.naming(view.Name, view.Acquirer)
	copy(req.Answer[:], points.IssuerTimeout.DE39())
	if view.Reversed != 0 || view.Actual != 0 {
		copy(req.Answer[:], "06")
	}
	return req
}

// encode writes req and the key of its answer; with keys it carries a MAC. The frame is the
// leg's, and valid until the next one is written. mu is held.
func (l *leg) encode(req *points.Request, keys *workingKeys) (frame []byte, key replyKey, err error) {
	if keys != nil {
		req.Mark(64) // Where the bitmap is wider it becomes 128.
	}
	l.frame, err = l.of.opts.Dialect.CompleteAppend(l.frame[:0], req)
	if keys != nil && err == nil {
		l.of.opts.Dialect.Sign(l.frame, req, keys.mac)
	}
	return l.frame, keyOf(req, dialect.AnswerTo(req.Envelope.MTI)), err
}

// toldBalances turns DE54 into what the journal keeps of it.
func toldBalances(resp *points.Response) []book.Balance {
	var told []book.Balance
	find := func(program points.ProgramID) *book.Balance {
		for i := range told {
			if told[i].Program == program {
				return &told[i]
			}
		}
		told = append(told, book.Balance{Program: program})
		return &told[len(told)-1]
	}
	for _, b := range resp.Balances[:resp.NBalances] {
		if b.Kind == points.AvailableBalance {
			find(b.Program).Free = b.Amount
		}
	}
	for _, b := range resp.Balances[:resp.NBalances] {
		if b.Kind != points.LedgerBalance {
			continue
		}
		balance := find(b.Program)
		if held, ok := b.Amount.Sub(balance.Free); ok {
			balance.Held = held
		}
	}
	return told
}

// since is the time from then to now, zero when now is before.
func since(now, then points.Timestamp) time.Duration { return max(0, now.Sub(then)) }
