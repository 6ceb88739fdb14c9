package sim

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

//go:embed issuer/accounts.yaml
var issuerAccounts []byte

// IssuerAccounts is the book that a simulated issuer opens with when it is given
// none, as [ReadIssuerAccounts] reads it.
func IssuerAccounts() io.Reader { return bytes.NewReader(issuerAccounts) }

// IssuerAccount is the account of one card in one programme.
type IssuerAccount struct {
	Card    string           `yaml:"card"`
	Program points.ProgramID `yaml:"program"`
	Balance points.Amount    `yaml:"balance"`
	// Decline is the answer code (DE39) that every request about the account
	// gets; "" for none.
	Decline string `yaml:"decline"`
	// PIN is compared where a request about the account brings one, which takes keys;
	// "" is none, and every PIN is right.
	PIN points.Secret `yaml:"pin"`
}

// ReadIssuerAccounts reads a book from YAML; an unknown key is an error.
//
//	accounts:
//	  - {card: "6222030000000000016", program: 904, balance: 5000}
//	  - {card: "6222030000000000032", program: 904, decline: "41"}
func ReadIssuerAccounts(r io.Reader) ([]IssuerAccount, error) {
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	var file struct {
		Accounts []IssuerAccount `yaml:"accounts"`
	}
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("issuer's accounts: %w", config.PlainYAML(err))
	}
	return file.Accounts, nil
}

// IssuerOptions is what an [Issuer] is made of.
type IssuerOptions struct {
	ID       points.IssuerID
	Accounts []IssuerAccount
	Faults   Faults
	Seed     uint64 // of chance: the same seed and messages meet the same faults
	// Parts of a million redemptions are approved for a part only (DE39 10), whether or
	// not the acquirer can take one.
	Parts int
	// Keys are shared with the switch: its messages must carry MACs by them, and answers
	// do; nil: none.
	Keys *HostKeys
}

// Issuer is an issuer's host without its line: frames of dialect host in, frames
// out. It keeps a book of its own that shares no code with the ledger's, so that
// the two can be compared afterwards ([Issuer.State]). It reads no clock and
// draws no chance but from its seed: the same frames in the same order get the
// same deliveries. It may be used by several goroutines.
type Issuer struct {
	dialect *dialect.Dialect
	faults  Faults

	mu     sync.Mutex // guards what follows
	chance *rand.Rand
	next   []FaultRate // what the next messages meet, whatever chance says
	book   *issuerBook
	tally  issuerTally
	keys   *HostKeys // nil: messages carry no MACs
}

// issuerTally counts what came and what went wrong on purpose.
type issuerTally struct {
	functions  map[points.Function]uint64
	faults     [faultCount]uint64
	repeats    uint64
	unreadable uint64
	forged     uint64 // messages with a wrong MAC, or none
	exchanges  uint64 // of keys
}

// NewIssuer makes an issuer. Its error names the account or the identity that cannot be.
func NewIssuer(opts IssuerOptions) (*Issuer, error) {
	if opts.ID == 0 || opts.ID > points.MaxInstitution {
		return nil, errors.New("issuer: its number is missing or longer than 11 digits")
	}
	book := newIssuerBook(opts.ID)
	for i, account := range opts.Accounts {
		if err := book.open(account); err != nil {
			return nil, fmt.Errorf("issuer: account %d: %w", i+1, err)
		}
	}
	chance := rand.New(rand.NewPCG(opts.Seed, uint64(opts.ID)))
	if opts.Parts > 0 {
		book.part = func(asked points.Amount) points.Amount {
			if asked < 2 || chance.IntN(million) >= opts.Parts {
				return asked
			}
			return 1 + points.Amount(chance.Int64N(int64(asked-1)))
		}
	}
	return &Issuer{
		dialect: dialect.Host(), faults: opts.Faults, book: book,
		chance: chance, keys: opts.Keys,
		tally: issuerTally{functions: make(map[points.Function]uint64)},
	}, nil
}

// Inject makes the next message that moves or tells points meet a fault; several
// calls queue. after is for [FaultDelay] and [FaultLate]; others have no use for it.
func (i *Issuer) Inject(fault Fault, after time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !fault.waits() {
		after = 0
	}
	i.next = append(i.next, FaultRate{Fault: fault, After: after})
}

// Delivery is what an issuer does about a frame: how its answer goes out.
type Delivery struct {
	Frame  []byte        // the answer without its length; nil: none is sent
	Copies int           // how often it is sent
	After  time.Duration // how long it is kept back
	Cut    bool          // half of it is sent, then the connection ends
	Fault  Fault         // what caused that; 0: nothing
}

// Receive takes a request and carries it out. at is when it came; it is what the
// issuer's day is told by. An answer, or a frame that none can be given to, is
// not answered.
func (i *Issuer) Receive(at points.Timestamp, frame []byte) Delivery {
	var req points.Request
	err := i.dialect.Decode(frame, &req)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		return i.malformed(&req, err)
	}
	i.tally.functions[req.Function]++
	by, refused := i.believe(frame, &req)
	if refused != 0 {
		return i.answer(&req, &points.Response{Reason: refused}, FaultRate{}, by)
	}
	switch {
	case req.Function == points.KeyChange:
		return i.answer(&req, i.exchange(frame), FaultRate{}, by)
	case req.Class == points.ClassNetwork:
		return i.answer(&req, &points.Response{Reason: network(req.Function)}, FaultRate{}, by)
	}
	rate := i.fate()
	if rate.Fault == FaultLose {
		i.tally.faults[FaultLose]++
		return Delivery{Fault: FaultLose}
	}
	resp, repeated := i.book.carryOut(at, &req, by.holds)
	if repeated {
		i.tally.repeats++
	}
	return i.answer(&req, &resp, rate, by)
}

// believe finds the keys that a message has its MAC by, or refuses it. A change of keys is
// believed for what it brings, where there are no keys; i.mu is held.
func (i *Issuer) believe(frame []byte, req *points.Request) (by hostPair, refused points.Reason) {
	if i.keys == nil || req.Class == points.ClassNetwork && req.Function != points.KeyChange {
		return by, 0
	}
	by, ok := i.keys.verify(i.dialect, frame, req)
	if ok || req.Function == points.KeyChange {
		return by, 0
	}
	i.tally.forged++
	return by, points.BadMAC
}

// exchange takes the keys that a message brings; i.mu is held.
func (i *Issuer) exchange(frame []byte) *points.Response {
	if i.keys == nil {
		return &points.Response{Reason: points.FunctionDisabled}
	}
	blocks, checks, err := i.dialect.KeyBlocks(frame)
	if err == nil {
		err = i.keys.take(blocks, checks)
	}
	if err != nil {
		return &points.Response{Reason: points.FormatError}
	}
	i.tally.exchanges++
	return &points.Response{Reason: points.Approved, Check: string(checks)}
}

// malformed answers 30 what can be answered.
func (i *Issuer) malformed(req *points.Request, err error) Delivery {
	i.tally.unreadable++
	wrong, ok := errors.AsType[*dialect.FormatError](err)
	if !ok || wrong.Fatal {
		return Delivery{}
	}
	resp := points.Response{Reason: points.FormatError, Field: uint8(wrong.Field)} //nolint:gosec // a data element, 0 to 128.
	return i.answer(req, &resp, FaultRate{}, hostPair{})
}

// network is the outcome of a message that moves no points.
func network(f points.Function) points.Reason {
	switch f {
	case points.SignOn, points.SignOff, points.Echo, points.CutOverNotice:
		return points.Approved
	case points.KeyChange:
		return points.FunctionDisabled
	default:
		return points.UnknownFunction
	}
}

// fate is what the next message meets; i.mu is held.
func (i *Issuer) fate() FaultRate {
	if len(i.next) == 0 {
		return i.faults.draw(i.chance)
	}
	rate := i.next[0]
	i.next = i.next[1:]
	return rate
}

// answer makes the delivery of an answer that meets a fault; i.mu is held.
func (i *Issuer) answer(req *points.Request, resp *points.Response, rate FaultRate, by hostPair) Delivery {
	said := *req
	if by.mac == nil {
		said.Unmark(64)
		said.Unmark(128)
	}
	if rate.Fault == FaultWrongAmount {
		if !req.Has(4) {
			rate = FaultRate{} // There is no amount to get wrong.
		}
		said.Amount++
	}
	if rate.Fault != 0 {
		i.tally.faults[rate.Fault]++
	}
	d := Delivery{Copies: 1, After: rate.After, Cut: rate.Fault == FaultDisconnect, Fault: rate.Fault}
	switch rate.Fault {
	case FaultDrop:
		return Delivery{Fault: FaultDrop}
	case FaultDuplicate:
		d.Copies = 2
	default:
	}
	d.Frame = i.dialect.AppendResponse(nil, &said, resp)
	if by.mac != nil {
		i.dialect.Sign(d.Frame, &said, by.mac)
	}
	if rate.Fault == FaultForge {
		d.Frame[len(d.Frame)-1] ^= 1 // Where there is a MAC it is wrong now.
	}
	return d
}
