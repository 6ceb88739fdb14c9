package sim

import (
	"bytes"

	"github.com/lianfen/lianfen/points"
)

// IssuerState is what a simulated issuer knows, for people and for comparison
// with a switch's journal. Card numbers in it are masked.
type IssuerState struct {
	Issuer   points.IssuerID   `json:"issuer"`
	Accounts []IssuerBalance   `json:"accounts"`
	Messages map[string]uint64 `json:"messages"` // by function; what is no function is "unknown"
	Faults   map[string]uint64 `json:"faults"`   // every fault there is, and how often it was made
	// Repeats are the messages that came before, under the same identity.
	Repeats uint64 `json:"repeats"`
	// Unreadable are the frames that were no message of the dialect.
	Unreadable   uint64              `json:"unreadable"`
	Forged       uint64              `json:"forged"`       // messages without a right MAC, where keys are shared
	Exchanges    uint64              `json:"exchanges"`    // of keys
	Transactions []IssuerTransaction `json:"transactions"` // in the order in which they came
}

// IssuerBalance is one account.
type IssuerBalance struct {
	Card      points.PAN       `json:"card"`
	Program   points.ProgramID `json:"program"`
	Available points.Amount    `json:"available"`
	Held      points.Amount    `json:"held"`
}

// Standing says what became of a transaction in an issuer's book.
type Standing string

// Standings.
const (
	Stands    Standing = "stands"
	Declined  Standing = "declined"
	Reversed  Standing = "reversed"
	Tombstone Standing = "tombstone" // only its reversal came
)

// IssuerTransaction is one entry of an issuer's book.
type IssuerTransaction struct {
	RRN          string            `json:"rrn,omitempty"` // DE37 as it came
	Acquirer     points.AcquirerID `json:"acquirer"`
	STAN         points.STAN       `json:"stan"`
	Transmission uint64            `json:"transmission"` // DE7
	Function     points.Function   `json:"function,omitzero"`
	Card         points.PAN        `json:"card"`
	Program      points.ProgramID  `json:"program"`
	Amount       points.Amount     `json:"amount"`
	Moved        points.Amount     `json:"moved"`          // what it gave the member, what is held included; a reversal has its own
	Held         points.Amount     `json:"held"`           // of that
	Code         string            `json:"code,omitempty"` // DE39; none of a tombstone
	Standing     Standing          `json:"standing"`
}

// State returns what the issuer knows now.
func (i *Issuer) State() IssuerState {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := IssuerState{
		Issuer: i.book.id, Messages: make(map[string]uint64), Faults: make(map[string]uint64),
		Repeats: i.tally.repeats, Unreadable: i.tally.unreadable, Forged: i.tally.forged, Exchanges: i.tally.exchanges, Transactions: i.book.transactions(),
	}
	for _, at := range i.book.order {
		a := i.book.accounts[at]
		s.Accounts = append(s.Accounts, IssuerBalance{at.card, at.program, a.free, a.held})
	}
	for function, n := range i.tally.functions {
		name := "unknown"
		if function != 0 {
			name = function.String()
		}
		s.Messages[name] = n
	}
	for fault := FaultDelay; fault < faultCount; fault++ {
		s.Faults[fault.String()] = i.tally.faults[fault]
	}
	return s
}

func (b *issuerBook) transactions() []IssuerTransaction {
	all := make([]IssuerTransaction, 0, len(b.history))
	for _, e := range b.history {
		t := IssuerTransaction{
			RRN: string(bytes.Trim(e.request.RRN[:], " \x00")), Acquirer: e.request.Acquirer, STAN: e.request.STAN,
			Transmission: e.request.Transmission, Function: e.request.Function, Card: e.request.PAN,
			Program: e.request.Program, Amount: e.request.Amount, Moved: e.free + e.held, Held: e.held, Standing: Stands,
		}
		if e.account.program != 0 {
			t.Card, t.Program = e.account.card, e.account.program
		}
		if !e.tomb {
			t.Code = e.response.Reason.DE39()
		}
		switch {
		case e.tomb:
			t.Standing = Tombstone
		case e.reversed:
			t.Standing = Reversed
		case !e.approved():
			t.Standing = Declined
		}
		all = append(all, t)
	}
	return all
}
