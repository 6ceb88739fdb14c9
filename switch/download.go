package pointswitch

import (
	"sync"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/switch/dialect"
)

// TerminalParameters are parameters for some terminals: those of a merchant, or one, or,
// with both zero, all. What they leave out more general ones say.
type TerminalParameters struct {
	Merchant points.MerchantID
	Terminal points.TerminalID
	dialect.Parameters
}

// attendance is which parameters the terminals have, as far as they have told since the
// start, by signing on or downloading them.
type attendance struct {
	mu    sync.Mutex
	rules []TerminalParameters
	has   map[points.TerminalID]uint32 // check values
}

// Reload puts other parameters in force. Terminals that have others are asked to download.
func (s *Switch) Reload(rules []TerminalParameters) {
	s.terminals.mu.Lock()
	defer s.terminals.mu.Unlock()
	s.terminals.rules = rules
}

func (a *attendance) note(terminal points.TerminalID, check uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if check != 0 {
		a.has[terminal] = check
	}
}

func (a *attendance) check(terminal points.TerminalID) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.has[terminal]
}

// parameters are those of a terminal: the merchant's name and programmes by the directory,
// the rest by the rules, the most special last.
func (a *attendance) parameters(acceptor router.Acceptor) dialect.Parameters {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := dialect.Parameters{Retries: -1, Resends: -1}
	for level := range 3 {
		for i := range a.rules {
			r := &a.rules[i]
			special := 0
			switch {
			case r.Terminal != points.TerminalID{}:
				special = 2
			case r.Merchant != points.MerchantID{}:
				special = 1
			}
			meant := (r.Terminal == points.TerminalID{} || r.Terminal == acceptor.Terminal.ID) &&
				(r.Merchant == points.MerchantID{} || r.Merchant == acceptor.Merchant.ID)
			if special == level && meant {
				overlay(&p, &r.Parameters)
			}
		}
	}
	if p.Name == "" {
		if p.Name = acceptor.Merchant.NameZH; p.Name == "" {
			p.Name = acceptor.Merchant.Name
		}
	}
	p.Programs = acceptor.Merchant.Programs
	return p
}

// overlay puts what over says in the place of what p says.
func overlay(p, over *dialect.Parameters) {
	if over.TimeOut > 0 {
		p.TimeOut = over.TimeOut
	}
	if over.Retries >= 0 {
		p.Retries = over.Retries
	}
	if over.Resends >= 0 {
		p.Resends = over.Resends
	}
	for i, phone := range over.Phones {
		if phone != "" {
			p.Phones[i] = phone
		}
	}
	if over.ManagementPhone != "" {
		p.ManagementPhone = over.ManagementPhone
	}
	if over.ManualEntry != nil {
		p.ManualEntry = over.ManualEntry
	}
	if over.AutoSignOff != nil {
		p.AutoSignOff = over.AutoSignOff
	}
	if over.Name != "" {
		p.Name = over.Name
	}
}

// download answers what a terminal asks to be sent. That it has been given its parameters
// is written down first, unless it has them: then it is asked again when they change.
func (s *Switch) download(x *exchange, acceptor router.Acceptor) {
	switch x.req.NetworkCode {
	case dialect.ParameterDownload:
		p := s.terminals.parameters(acceptor)
		x.resp.List = p.Encode()
		if s.terminals.check(acceptor.Terminal.ID) == p.Check() {
			break
		}
		x.cmd = book.Command{
			Kind: book.KindDownload, Function: points.Download, At: x.req.At, Parameters: p.Check(),
			Acquirer: acceptor.Acquirer.ID, Merchant: acceptor.Merchant.ID, Terminal: acceptor.Terminal.ID,
		}
		x.submit()
		return
	case dialect.BlackListDownload:
		x.resp.List = dialect.BlackListPage(x.table.BlackList(), &x.req)
	case dialect.KeyDownload, dialect.KeyQuery, dialect.ChipDownload, dialect.ChipQuery:
		x.resp.List = dialect.NothingToDownload
	default: // The end of a download.
	}
	x.answer(points.Approved)
}

// please is what the answer asks the terminal to do. An answer that may be repeated from
// the journal asks only what its own reason says, so that the repeat is the same.
func (x *exchange) please(reason points.Reason) points.Please {
	switch {
	case x.req.Door != points.DoorTerminal:
		return 0
	case reason == points.BatchClosed || reason == points.BadMAC:
		return points.PleaseSignOn
	case x.req.Class != points.ClassNetwork || !reason.Approved() || x.req.Function == points.Download || x.acceptor.Terminal == nil:
		return 0
	}
	has := x.s.terminals.check(x.acceptor.Terminal.ID)
	if has == 0 {
		return 0 // It has never asked for any.
	}
	if p := x.s.terminals.parameters(x.acceptor); p.Check() != has {
		return points.PleaseDownload
	}
	return 0
}
