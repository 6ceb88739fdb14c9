package sim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
)

// Script is a day, or a part of one, as terminals live it. Its file is YAML:
//
//	terminals:
//	  - {id: T0000001, merchant: M00000000000001}
//	cards:
//	  ann: "6222021234567890"
//	steps:
//	  - {send: sign_on}
//	  - {send: redeem, card: ann, program: 901, amount: 300, as: lunch, expect: {code: "00", available: 700}}
//	  - {send: void, of: lunch}
type Script struct {
	Terminals []ScriptTerminal  `yaml:"terminals"`
	Cards     map[string]string `yaml:"cards"` // name -> number
	Steps     []Step            `yaml:"steps"`
}

// ScriptTerminal is a terminal of a script. The first is used by steps that name none.
type ScriptTerminal struct {
	ID       string `yaml:"id"`
	Merchant string `yaml:"merchant"`
	Keys     string `yaml:"keys"` // which it signs on for: a set by its word; or dukpt: and 16 digits, its initial key
}

// Step is one thing that happens.
type Step struct {
	Note     string `yaml:"note"`     // for people
	Terminal string `yaml:"terminal"` // id
	Merchant string `yaml:"merchant"` // instead of the terminal's own

	// What is sent: a function by name, an earlier step's bytes once more, or
	// bytes in hexadecimal.
	Send   string `yaml:"send"`
	Repeat string `yaml:"repeat"`
	Raw    string `yaml:"raw"`

	Card    string        `yaml:"card"` // name or number
	To      string        `yaml:"to"`   // transfer: who receives
	Into    uint16        `yaml:"into"` // swap_quote: the programme handed out; of a swap it is that of its quote
	Expiry  uint32        `yaml:"expiry"`
	Program uint16        `yaml:"program"`
	Amount  *int64        `yaml:"amount"`
	Partial bool          `yaml:"partial"` // the terminal can take part in points
	STAN    uint32        `yaml:"stan"`    // instead of the next
	Under   string        `yaml:"under"`   // the earlier step whose trace number this one takes
	As      string        `yaml:"as"`      // name for later steps
	Of      string        `yaml:"of"`      // the earlier step that this one is about
	Lose    bool          `yaml:"lose"`    // the answer is lost on its way: hang up
	Forget  string        `yaml:"forget"`  // the earlier step of which the terminal has lost the receipt
	Network uint16        `yaml:"network"` // download: DE60.3, 360 when left out
	From    string        `yaml:"from"`    // download of a black list: how many the terminal has
	PIN     points.Secret `yaml:"pin"`     // what is typed in at a terminal with keys
	MAC     MAC           `yaml:"mac"`     // of a terminal with keys: wrong or none, instead of its own

	Expect Expectation `yaml:"expect"`
}

// Expectation is what a step must come to. What is left out is not looked at,
// but for the code: without one, the request must be approved.
type Expectation struct {
	Code      string `yaml:"code"`      // DE39
	Available *int64 `yaml:"available"` // spendable balance in the answer
	Amount    *int64 `yaml:"amount"`    // DE4 of the answer
	Same      bool   `yaml:"same"`      // the answer to a repeat: byte for byte the first one
	Closed    bool   `yaml:"closed"`    // no answer: the connection is closed
	Totals    string `yaml:"totals"`    // of a batch close: equal or unequal
	List      string `yaml:"list"`      // text that DE62 of a download has in it
}

// ReadScript reads a script; an unknown key is an error.
func ReadScript(r io.Reader) (*Script, error) {
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	script := new(Script)
	if err := decoder.Decode(script); err != nil {
		return nil, fmt.Errorf("script: %w", config.PlainYAML(err))
	}
	if len(script.Terminals) == 0 || len(script.Steps) == 0 {
		return nil, errors.New("script: at least one terminal and one step are needed")
	}
	for i := range script.Steps {
		if err := script.Steps[i].check(); err != nil {
			return nil, fmt.Errorf("script: step %d: %w", i+1, err)
		}
	}
	return script, nil
}

// Results of a close.
const (
	totalsEqual   = "equal"
	totalsUnequal = "unequal"
)

// check refuses a step that does not say one thing to send, or that compares with
// an answer that there is not.
func (s *Step) check() error {
	sends := 0
	for _, what := range []string{s.Send, s.Repeat, s.Raw} {
		if what != "" {
			sends++
		}
	}
	if sends != 1 {
		return fmt.Errorf("%d of send, repeat and raw are given, want one", sends)
	}
	if t := s.Expect.Totals; t != "" && t != totalsEqual && t != totalsUnequal {
		return fmt.Errorf("expect: totals: %q, want equal or unequal", t)
	}
	if s.MAC != "" && s.MAC != MACWrong && s.MAC != MACNone {
		return fmt.Errorf("mac: %q, want wrong or none", string(s.MAC))
	}
	if s.Send == "" && (s.MAC != "" || s.PIN != "") {
		return errors.New("mac and pin go with send")
	}
	if s.Expect.Same && s.Repeat == "" {
		return errors.New("expect: same compares the answer to a repeat, and this is none")
	}
	if s.Send != "" {
		var function points.Function
		return function.UnmarshalText([]byte(s.Send))
	}
	return nil
}

// Result is what a step came to.
type Result struct {
	Step      int           `json:"step"` // from 1
	Note      string        `json:"note,omitempty"`
	Terminal  string        `json:"terminal"`
	What      string        `json:"what"`
	Card      string        `json:"card,omitempty"` // masked
	Program   uint16        `json:"program,omitempty"`
	Amount    int64         `json:"amount,omitempty"`
	STAN      string        `json:"stan,omitempty"`
	RRN       string        `json:"rrn,omitempty"`
	Code      string        `json:"code,omitempty"` // DE39
	Meaning   string        `json:"meaning,omitempty"`
	MeaningZH string        `json:"meaning_zh,omitempty"`
	Available *int64        `json:"available,omitempty"`
	Took      time.Duration `json:"took_ns"`
	Wrong     string        `json:"wrong,omitempty"` // how it differs from what was expected
}

// Player runs scripts against a switch.
type Player struct {
	Address string
	Clock   points.Clock
	// Retry is for how long a terminal that cannot reach the switch, or loses it
	// before the answer, tries again with the same bytes; 0: not at all.
	Retry time.Duration
	// First bounds the wait for the first answer on a connection, see [Terminal].
	First time.Duration
	// Dial connects the terminals; nil: plain TCP.
	Dial Dial
	// FirstSTAN is the trace number before each terminal's first.
	FirstSTAN points.STAN
	// Keys gives a terminal its keys, by the word that the script has for their set, "" where
	// it has none; nil: no terminal has keys.
	Keys func(who Identity, set string) (*Keys, error)
	// Keep hears of every answered request, for whoever wants to check it later.
	Keep func(*Receipt) error

	terminals map[string]*Terminal
	receipts  map[string]*Receipt
}

// Play runs the steps in order and tells each result as it comes. It goes on
// after a step that differs; wrong is how many did. An error is a script that
// cannot be played, or a switch that cannot be reached.
func (p *Player) Play(ctx context.Context, script *Script, tell func(Result) error) (wrong int, err error) {
	if err := p.prepare(script); err != nil {
		return 0, err
	}
	for i := range script.Steps {
		result, err := p.step(ctx, script, &script.Steps[i])
		if err != nil {
			return wrong, fmt.Errorf("step %d: %w", i+1, err)
		}
		result.Step = i + 1
		if result.Wrong != "" {
			wrong++
		}
		if err := tell(result); err != nil {
			return wrong, err
		}
	}
	return wrong, nil
}

// HangUp closes all connections.
func (p *Player) HangUp() error {
	var errs []error
	for _, t := range p.terminals {
		errs = append(errs, t.HangUp())
	}
	return errors.Join(errs...)
}

// prepare makes the terminals that are not there yet, so that scripts played one
// after the other go on counting.
func (p *Player) prepare(script *Script) error {
	if p.terminals == nil {
		p.terminals, p.receipts = map[string]*Terminal{}, map[string]*Receipt{}
	}
	for _, s := range script.Terminals {
		if _, ok := p.terminals[s.ID]; ok {
			continue
		}
		who, err := ParseIdentity(s.ID, s.Merchant)
		if err != nil {
			return err
		}
		if p.terminals[s.ID], err = p.terminal(who, s.Keys); err != nil {
			return err
		}
	}
	return nil
}

// ParseIdentity reads a terminal and its merchant.
func ParseIdentity(terminal, merchant string) (who Identity, err error) {
	if who.Terminal, err = points.ParseTerminalID(terminal); err != nil {
		return who, err
	}
	who.Merchant, err = points.ParseMerchantID(merchant)
	return who, err
}

func (p *Player) terminal(who Identity, set string) (t *Terminal, err error) {
	t = NewTerminal(p.Address, who, p.FirstSTAN, p.Clock)
	t.First, t.Dial = p.First, p.Dial
	switch {
	case p.Keys != nil:
		t.Keys, err = p.Keys(who, set)
	case set != "":
		err = fmt.Errorf("script: terminal %v has keys of set %s, and there is no keystore", who.Terminal, set)
	}
	return t, err
}

func (p *Player) step(ctx context.Context, script *Script, s *Step) (Result, error) {
	id := s.Terminal
	if id == "" {
		id = script.Terminals[0].ID
	}
	t, ok := p.terminals[id]
	if !ok {
		who, err := ParseIdentity(id, cmp.Or(s.Merchant, script.Terminals[0].Merchant))
		if err != nil {
			return Result{}, err
		}
		if t, err = p.terminal(who, ""); err != nil {
			return Result{}, err
		}
		p.terminals[id] = t
	}
	if s.Forget != "" {
		earlier, ok := p.receipts[s.Forget]
		if !ok {
			return Result{}, fmt.Errorf("forget: no earlier step is called %q", s.Forget)
		}
		t.Till.Forget(&earlier.Request)
	}
	if s.Send == points.BatchUpload.String() {
		return p.upload(ctx, s, t)
	}
	receipt, first, what, err := p.prepareStep(script, s, t)
	if err != nil {
		return Result{}, err
	}
	result := Result{Note: s.Note, Terminal: id, What: what, STAN: stanOf(receipt), Amount: int64(receipt.Request.Amount), Program: uint16(receipt.Request.Program)}
	if !receipt.Request.PAN.IsZero() {
		result.Card = receipt.Request.PAN.Masked()
	}
	began := p.Clock()
	answered, err := p.deliver(ctx, t, receipt, s.Raw != "" || s.Expect.Closed)
	result.Took = p.Clock().Sub(began)
	if err != nil && !s.Expect.Closed {
		return result, err
	}
	if s.As != "" && answered != nil {
		p.receipts[s.As] = answered
	}
	if s.Lose {
		if err := t.HangUp(); err != nil {
			return result, err
		}
		t.Till.Forget(&receipt.Request)
		result.What += ", answer lost"
	}
	result.fill(answered)
	result.Wrong = s.Expect.differs(answered, first, err)
	if answered != nil && p.Keep != nil && s.Raw == "" {
		return result, p.Keep(answered)
	}
	return result, nil
}

// upload sends a batch up, all messages of it.
func (p *Player) upload(ctx context.Context, s *Step, t *Terminal) (Result, error) {
	began := p.Clock()
	last, items, err := t.Upload(ctx, p.Retry)
	if err != nil {
		return Result{}, err
	}
	result := Result{
		Note: s.Note, Terminal: t.Terminal.String(), What: fmt.Sprintf("batch_upload of %d", items), STAN: stanOf(last), Took: p.Clock().Sub(began),
	}
	result.fill(last)
	result.Wrong = s.Expect.differs(last, nil, nil)
	return result, nil
}

// prepareStep makes the request of a step. first is the receipt that a repeat
// repeats.
func (p *Player) prepareStep(script *Script, s *Step, t *Terminal) (receipt, first *Receipt, what string, err error) {
	switch {
	case s.Raw != "":
		body, err := hex.DecodeString(strings.ReplaceAll(s.Raw, " ", ""))
		return &Receipt{Sent: body}, nil, fmt.Sprintf("%d raw bytes", len(body)), err
	case s.Repeat != "":
		first, ok := p.receipts[s.Repeat]
		if !ok {
			return nil, nil, "", fmt.Errorf("repeat: no earlier step is called %q", s.Repeat)
		}
		return first, first, "repeat of " + s.Repeat, nil
	}
	var function points.Function
	if err := function.UnmarshalText([]byte(s.Send)); err != nil {
		return nil, nil, "", err
	}
	req, err := p.request(script, s, t, function)
	if err != nil {
		return nil, nil, "", err
	}
	what = function.String()
	if s.Of != "" {
		what += " of " + s.Of
	}
	if s.PIN != "" {
		what += ", PIN"
		if err := t.Keys.Enter(&req, []byte(s.PIN)); err != nil {
			return nil, nil, "", err
		}
	}
	if s.MAC != "" {
		what += ", MAC " + string(s.MAC)
	}
	frame, err := t.frameWith(&req, s.MAC)
	return &Receipt{Request: req, Sent: frame}, nil, what, err
}

// frame completes req and writes it.
func (t *Terminal) frame(req *points.Request) ([]byte, error) { return t.frameWith(req, "") }

// frameWith is frame with another MAC than the terminal's own.
func (t *Terminal) frameWith(req *points.Request, mac MAC) ([]byte, error) {
	if mac != "" && (t.Keys == nil || t.Keys.mac == nil && t.Keys.Initial == nil) {
		return nil, fmt.Errorf("%v: mac %s: the terminal has not signed on for keys", req.Function, string(mac))
	}
	if err := t.dialect.Complete(req); err != nil {
		return nil, fmt.Errorf("%v: %w", req.Function, err)
	}
	if err := t.Keys.dress(req); err != nil {
		return nil, fmt.Errorf("%v: %w", req.Function, err)
	}
	if mac == MACNone {
		req.Unmark(64)
	}
	frame, err := t.dialect.AppendRequest(nil, req)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", req.Function, err)
	}
	t.Keys.sign(t.dialect, frame, req)
	if mac == MACWrong {
		if !req.Has(64) {
			return nil, fmt.Errorf("%v has no MAC that could be wrong", req.Function)
		}
		frame[len(frame)-1] ^= 1 // The MAC is the last field.
	}
	return frame, nil
}

func (p *Player) request(script *Script, s *Step, t *Terminal, function points.Function) (points.Request, error) {
	var req points.Request
	if s.Of != "" && function != points.Swap {
		earlier, ok := p.receipts[s.Of]
		if !ok {
			return req, fmt.Errorf("of: no earlier step is called %q", s.Of)
		}
		req = t.About(function, earlier)
	} else if function == points.BatchUploadEnd {
		req = *t.uploadEnd()
	} else {
		req = t.Next(function)
	}
	switch function {
	case points.BatchClose:
		req.Totals = t.Till.Totals(t.Batch)
	case points.SwapQuote:
		req.Target = points.ProgramID(s.Into)
	case points.Swap:
		quoted, ok := p.receipts[s.Of]
		if !ok || quoted.Request.Function != points.SwapQuote {
			return req, errors.New("swap: want of: the step that has asked for its quote")
		}
		req.PAN, req.Program, req.Target, req.Amount = quoted.Request.PAN, quoted.Request.Program, quoted.Request.Target, quoted.Request.Amount
		copy(req.Product[:], quoted.Response.List)
	case points.Download:
		req.NetworkCode = s.Network
		copy(req.Product[:], s.From)
	default:
	}
	if function != points.Reversal {
		Dress(&req)
	}
	var err error
	if s.Card != "" {
		if req.PAN, err = script.card("card", s.Card); err != nil {
			return req, err
		}
	}
	if req.TargetPAN, err = script.card("to", s.To); err != nil {
		return req, err
	}
	if s.Merchant != "" {
		if req.Merchant, err = points.ParseMerchantID(s.Merchant); err != nil {
			return req, err
		}
	}
	if s.Amount != nil {
		req.Amount = points.Amount(*s.Amount)
	}
	if s.Program != 0 {
		req.Program = points.ProgramID(s.Program)
	}
	if s.STAN != 0 {
		req.STAN = points.STAN(s.STAN)
	}
	if s.Under != "" {
		earlier, ok := p.receipts[s.Under]
		if !ok {
			return req, fmt.Errorf("under: no earlier step is called %q", s.Under)
		}
		req.STAN = earlier.Request.STAN
	}
	if s.Expiry != 0 {
		req.Expiry = s.Expiry
	}
	req.PartialOK = s.Partial
	return req, nil
}

// card is the number of a card that a step names or spells out.
func (s *Script) card(field, name string) (points.PAN, error) {
	number, named := s.Cards[name]
	switch {
	case name == "":
		return points.PAN{}, nil
	case !named && strings.Trim(name, "0123456789") != "":
		return points.PAN{}, fmt.Errorf("%s: no card is called %q", field, name)
	case !named:
		number = name
	}
	pan, err := points.ParsePAN(number)
	if err != nil {
		return pan, fmt.Errorf("%s: %w", field, err)
	}
	return pan, nil
}

// Dress fills in what a terminal adds to a function by itself: the operator of a
// sign-on, the card organisation of a refund, the product code of a points sale.
func Dress(req *points.Request) {
	switch req.Function {
	case points.SignOn, points.SignOff, points.BatchClose:
		copy(req.Operator[:], "001")
	case points.Refund:
		copy(req.Operator[:], "000") // the card organisation: none
	case points.Redeem, points.Earn:
		copy(req.Product[:], strings.Repeat(" ", len(req.Product)))
		copy(req.Product[:], "POINTS")
	default:
	}
}

// retryPause is how long a terminal waits before it tries again.
const retryPause = 100 * time.Millisecond

// deliver sends a prepared request until it is answered, for as long as Retry says.
func (p *Player) deliver(ctx context.Context, t *Terminal, receipt *Receipt, once bool) (*Receipt, error) {
	if once {
		return t.Resend(ctx, receipt)
	}
	return t.resendFor(ctx, receipt, p.Retry)
}

// SendFor is [Terminal.Send], with the same bytes again and again for as long as
// retry while the switch cannot be reached or is lost before the answer.
func (t *Terminal) SendFor(ctx context.Context, req *points.Request, retry time.Duration) (*Receipt, error) {
	frame, err := t.frame(req)
	if err != nil {
		return nil, fmt.Errorf("terminal %v: %w", t.Terminal, err)
	}
	return t.resendFor(ctx, &Receipt{Request: *req, Sent: frame}, retry)
}

func (t *Terminal) resendFor(ctx context.Context, receipt *Receipt, retry time.Duration) (*Receipt, error) {
	until := t.clock().Add(retry)
	for {
		answered, err := t.Resend(ctx, receipt)
		if err == nil || t.clock() >= until {
			return answered, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("terminal %v: %w", t.Terminal, ctx.Err())
		case <-time.After(retryPause):
		}
	}
}

func (r *Result) fill(answered *Receipt) {
	if answered == nil {
		r.Meaning, r.MeaningZH = "No answer: the connection was closed.", "无应答:连接已关闭"
		return
	}
	resp := &answered.Response
	r.Code, r.Meaning, r.MeaningZH = resp.Reason.DE39(), resp.Reason.English(), resp.Reason.Chinese()
	if resp.Position != 0 {
		rrn := resp.Position.RRN()
		r.RRN = string(rrn[:])
	}
	if resp.NBalances > 0 {
		available := int64(resp.Balances[0].Amount)
		r.Available = &available
	}
}

// differs says how an answer differs from what was expected, "" when it does not.
func (e *Expectation) differs(answered, first *Receipt, err error) string {
	if e.Closed {
		if answered != nil {
			return "an answer came; the connection should have been closed"
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
			return fmt.Sprintf("the connection should have been closed, but: %v", err)
		}
		return ""
	}
	resp := &answered.Response
	if e.Totals != "" {
		got := totalsEqual
		if resp.Reason == points.TotalsDiffer {
			got = totalsUnequal
		}
		if got == e.Totals && (resp.Reason.Approved() || got == totalsUnequal) {
			return ""
		}
		return fmt.Sprintf("code %s, totals %s, expected %s", resp.Reason.DE39(), got, e.Totals)
	}
	if !strings.Contains(resp.List, e.List) {
		return fmt.Sprintf("list %q, expected %q in it", resp.List, e.List)
	}
	if want := cmp.Or(e.Code, points.Approved.DE39()); resp.Reason.DE39() != want {
		return fmt.Sprintf("code %s, expected %s", resp.Reason.DE39(), want)
	}
	if e.Amount != nil && int64(resp.Amount) != *e.Amount {
		return fmt.Sprintf("amount %d, expected %d", resp.Amount, *e.Amount)
	}
	if e.Available != nil {
		switch {
		case resp.NBalances == 0:
			return fmt.Sprintf("no balance, expected %d", *e.Available)
		case int64(resp.Balances[0].Amount) != *e.Available:
			return fmt.Sprintf("balance %d, expected %d", resp.Balances[0].Amount, *e.Available)
		}
	}
	if e.Same && !bytes.Equal(answered.Got, first.Got) {
		return "the repeat was answered differently"
	}
	return ""
}

func stanOf(r *Receipt) string {
	if !r.Request.Has(11) {
		return ""
	}
	return r.Request.STAN.String()
}
