package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// pos is what the terminal's commands share.
type pos struct {
	address  string
	terminal string
	merchant string
	script   string
	replay   string
	receipts string
	loop     int
	retry    time.Duration
	timeout  time.Duration
	stan     points.STAN
	asJSON   bool
	keys     keysAt
	keySet   string
	pin      bool
	known    credentials
	dial     sim.Dial                                   // nil: plain TCP
	undone   func(context.Context, *sim.Receipt) string // of a reversal that was answered 00; else nil
	inForce  *certs.Key                                 // master key that next-key has put in force; nil: none
}

func newPOS() *cobra.Command {
	p := new(pos)
	cmd := &cobra.Command{
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return p.connect(cmd) },
		Use:               "pos",
		Short:             "Be a terminal: send one message, or play a script",
		Long: `Be a terminal of the pos dialect. A command sends one message and explains the
answer; it exits 0 when the answer approves. --script plays a file of steps and
exits 0 when every answer is the expected one.

Receipts (--receipts) hold frames as sent, with the card in clear: they are for
test cards.`,
		Example: `  lianfen pos redeem --card 6222020000000000017 --program 901 --amount 300
  lianfen pos void --card 6222020000000000017 --program 901 --amount 300 --rrn 000000000042
  lianfen pos --script day.yaml
  lianfen pos --script load.yaml --loop 1000 --retry 1m --receipts receipts.jsonl
  lianfen pos --replay receipts.jsonl`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case p.script != "":
				return p.play(cmd)
			case p.replay != "":
				return p.again(cmd)
			}
			return cmd.Help()
		},
	}
	f := cmd.PersistentFlags()
	f.StringVar(&p.address, "addr", "127.0.0.1:8583", "address of the switch's pos listener; where --config names a configuration, its")
	p.known.add(cmd)
	f.StringVar(&p.terminal, "terminal", "T0000001", "terminal identification (DE41)")
	f.StringVar(&p.merchant, "merchant", "M00000000000001", "merchant identification (DE42)")
	f.DurationVar(&p.timeout, "timeout", 15*time.Second, "how long to wait for the first answer of whoever is at the address; then each may take a minute, as terminals wait")
	f.DurationVar(&p.retry, "retry", 0, "try again for so long, with the same bytes, when the switch cannot be reached")
	f.Var((*traceNumber)(&p.stan), "stan", "trace number (DE11) of the message, of a script's first one; 0: drawn by lot, as is that of the sign-on before a message")
	f.BoolVar(&p.asJSON, "json", false, "print JSON")
	f.StringVar(&p.keySet, "keys", "", "sign on for keys, and authenticate: 001, 003, 004 (mac cup-ecb), aes-128, aes-256 (mac cmac), hmac-sha256; the master key is in --keystore; dukpt: and the 16 digits of its initial key, whose base key is there; of a script, the terminals that name none")
	f.StringVar(&p.keys.path, "keystore", "keys.store", "with --keys, or a script's: file of the keystore; where --config names a configuration, its")
	f.StringVar(&p.keys.kek, "kek", "file:kek.key", "with --keys, or a script's: where its key-encryption key is; likewise")
	cmd.Flags().StringVar(&p.script, "script", "", "play this file")
	cmd.Flags().Var(decimal(&p.loop, 1), "loop", "play it so many times")
	f.StringVar(&p.receipts, "receipts", "", "append every answered request to this file; close counts what it tells")
	cmd.Flags().StringVar(&p.replay, "replay", "", "send the requests of a receipts file again: each must get the same answer, byte for byte")
	cmd.MarkFlagsMutuallyExclusive("script", "replay")
	cmd.AddCommand(
		p.command("sign-on", "Sign on; the answer tells the batch", points.SignOn, nil),
		p.nextKey(),
		p.command("sign-off", "Sign off", points.SignOff, nil),
		p.command("echo", "Ask whether the switch is there", points.Echo, nil),
		p.command("balance", "Ask for a balance 积分查询", points.Balance, []string{"card"}, "program"),
		p.command("redeem", "Redeem points 积分消费", points.Redeem, []string{"card", "amount"}, "program", "partial"),
		p.command("earn", "Credit points 积分累积", points.Earn, []string{"card", "amount"}, "program"),
		p.command("void", "Cancel a sale of today 撤销", points.Void, []string{"card", "amount", "rrn"}, "program", "auth"),
		p.command("refund", "Give back part or all of a sale 退货", points.Refund, []string{"card", "amount", "rrn"}, "program"),
		p.command("pre-auth", "Reserve points 预授权", points.PreAuth, []string{"card", "amount"}, "program"),
		p.command("completion", "Capture what was reserved 预授权完成", points.Completion, []string{"card", "amount", "rrn", "auth"}, "program"),
		p.command("pre-auth-void", "Give back what was reserved 预授权撤销", points.PreAuthVoid, []string{"card", "amount", "rrn", "auth"}, "program"),
		p.command("transfer", "Give points to another member 转赠", points.Transfer, []string{"card", "to", "amount"}, "program"),
		p.command("swap-quote", "Ask what points give in another programme; nothing moves 积分互换询价", points.SwapQuote, []string{"card", "program", "into", "amount"}),
		p.command("swap", "Swap points as a quote has it 积分互换", points.Swap, []string{"card", "program", "into", "amount", "quote"}),
		p.reversal(),
		p.closeBatch(),
		p.totals(),
		p.download(),
	)
	return cmd
}

// connect finds out where the switch is and how it is spoken to.
func (p *pos) connect(cmd *cobra.Command) error {
	dial, address, err := p.known.terminals(cmd)
	if err != nil {
		return err
	}
	if read, err := p.known.configured(cmd); err == nil && read != nil { // An error was told above.
		keep(!cmd.Flags().Changed("keystore"), &p.keys.path, read.Keys.File)
		keep(!cmd.Flags().Changed("kek"), &p.keys.kek, read.Keys.KEK)
		p.keys.config = p.known.file
	}
	if p.dial = dial; address != "" && !cmd.Flags().Changed("addr") {
		p.address = address
	}
	return nil
}

// at is a terminal at the switch.
func (p *pos) at(who sim.Identity, stan points.STAN) *sim.Terminal {
	t := sim.NewTerminal(p.address, who, stan, now)
	t.Dial = p.dial
	return t
}

// reversal is a one-shot that says more of its answer: a terminal gets 00 also when
// there was nothing to undo. The switch, where it can be asked, tells which it was.
func (p *pos) reversal() *cobra.Command {
	var a admin
	cmd := p.command("reversal", "Undo the redemption with --original-stan, whose answer was lost 冲正", points.Reversal, []string{"card", "amount", "original-stan"}, "program")
	cmd.Long = cmd.Short + `

The answer is 00 also where no such request is known: then a tombstone is laid, and the
request is refused if it comes after all. Which of the two it was is told where the
switch runs on this machine and --config or --socket names it.`
	cmd.Flags().StringVar(&a.socket, "socket", "", "admin socket, instead of the configuration's")
	send := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.file = p.known.file
		p.undone = a.undone
		return send(cmd, args)
	}
	return cmd
}

// undone tells what a reversal has met, as the switch's journal has it.
func (a *admin) undone(ctx context.Context, r *sim.Receipt) string {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	rrn := r.Response.Position.RRN()
	client, err := a.client()
	if err == nil {
		var d app.Detail
		d, err = client.Detail(ctx, string(rrn[:]))
		switch {
		case err != nil || d.Kind != book.KindReverse || d.Terminal != r.Request.Terminal || d.STAN != r.Request.STAN.String():
		case d.Original == "":
			return "nothing to reverse: a tombstone was laid, and the request is refused if it comes after all"
		default:
			return "undoes what RRN " + d.Original + " did"
		}
	}
	return "undone, or there was nothing to reverse and a tombstone was laid: lianfen ledger show " + string(rrn[:]) + " tells"
}

// message is what a one-shot command fills in.
type message struct {
	card, to, rrn, auth string
	quote               string // DE62 of a quote's answer
	program, into       uint16
	amount              int64
	partial             bool
	originalSTAN        points.STAN
}

// command is a one-shot: it signs on for the batch number, sends one message and
// explains the answer.
func (p *pos) command(name, short string, function points.Function, required []string, optional ...string) *cobra.Command {
	var m message
	cmd := &cobra.Command{
		Use: name, Short: short, Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.once(cmd, function, &m) },
	}
	f := cmd.Flags()
	for _, flag := range append(append([]string{}, required...), optional...) {
		switch flag {
		case "card":
			f.StringVar(&m.card, flag, "", "card number")
		case "to":
			f.StringVar(&m.to, flag, "", "card of the member who receives")
		case "rrn":
			f.StringVar(&m.rrn, flag, "", "retrieval reference number of the original (DE37)")
		case "auth":
			f.StringVar(&m.auth, flag, "", "authorisation code of the original (DE38)")
		case "program":
			f.Var(decimal(&m.program, 0), flag, "programme code (DE49); 0: the merchant's first that the member has")
		case "into":
			f.Var(decimal(&m.into, 0), flag, "programme that a swap hands out (DE50)")
		case "quote":
			f.StringVar(&m.quote, flag, "", "the quote, as swap-quote has printed it (DE62)")
		case "amount":
			f.Var(decimal(&m.amount, 0), flag, "points, in the programme's smallest unit")
		case "partial":
			f.BoolVar(&m.partial, flag, false, "take what there is; the rest is paid another way")
		case "original-stan":
			f.Var((*traceNumber)(&m.originalSTAN), flag, "trace number of the request to undo")
		}
	}
	if f.Lookup("card") != nil {
		f.BoolVar(&p.pin, "pin", false, "enter a PIN, which is read from standard input; it goes with --keys")
	}
	requireFlags(cmd, required...)
	return cmd
}

func (p *pos) once(cmd *cobra.Command, function points.Function, m *message) (err error) {
	who, err := sim.ParseIdentity(p.terminal, p.merchant)
	if err != nil {
		return usage("%w", err)
	}
	if err := m.check(cmd); err != nil {
		return err
	}
	t := p.at(who, drawnSTAN())
	t.First = p.timeout
	if t.Keys, err = p.keysOf(who, ""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.HangUp()) }()
	if function != points.SignOn {
		// The batch is part of every request's identity. The trace number that was asked
		// for is the message's own: the sign-on has one of its own.
		signOn := t.Next(points.SignOn)
		sim.Dress(&signOn)
		if receipt, err := t.SendFor(cmd.Context(), &signOn, p.retry); err != nil {
			return p.unheard(err)
		} else if !receipt.Response.Reason.Approved() {
			return p.explain(cmd, receipt)
		}
	}
	if p.stan != 0 {
		t.STAN = p.stan - 1
	}
	req, err := m.request(t, function)
	if err != nil {
		return usage("%w", err)
	}
	if p.pin {
		if err := enterPIN(cmd, t, &req); err != nil {
			return err
		}
	}
	receipt, err := t.SendFor(cmd.Context(), &req, p.retry)
	if err != nil {
		return p.unheard(err)
	}
	if err := p.keep(receipt); err != nil {
		return err
	}
	return p.explain(cmd, receipt)
}

// unheard adds what to do where nobody answered who understands a terminal.
func (p *pos) unheard(err error) error {
	var refused *net.OpError
	if p.dial != nil && errors.As(err, &refused) && refused.Op == "remote error" { // A TLS alert.
		return fmt.Errorf("%w; the switch refuses the certificate: it is perhaps revoked or over, or of somebody else (lianfen certs list --all at the switch tells)", err)
	}
	if p.dial != nil && errors.Is(err, sim.ErrSilent) {
		return fmt.Errorf("%w; over TLS, perhaps the certificate is revoked or over (lianfen certs list --all at the switch tells); --addr names the switch's pos listener, --timeout waits longer", err)
	}
	if errors.Is(err, sim.ErrSilent) {
		return fmt.Errorf("%w; a switch that speaks TLS only takes --config or --tls-cert and --tls-ca; --addr names the switch's pos listener (lianfen admin status tells it), --timeout waits longer", err)
	}
	return err
}

// check refuses what no message can carry, before anything is sent.
func (m *message) check(cmd *cobra.Command) error {
	if err := errors.Join(checkCard("card", m.card), checkCard("to", m.to)); err != nil {
		return err
	}
	if cmd.Flags().Lookup("amount") != nil {
		if err := checkAmount(points.Amount(m.amount)); err != nil {
			return err
		}
	}
	if cmd.Flags().Lookup("original-stan") != nil && m.originalSTAN == 0 {
		return usage("--original-stan %d: want 1 to %d", m.originalSTAN, sim.MaxSTAN)
	}
	return nil
}

// firstSTAN is the trace number before the first of a script.
func (p *pos) firstSTAN() points.STAN {
	if p.stan != 0 {
		return p.stan - 1
	}
	return drawnSTAN()
}

// drawnSTAN is a trace number by lot: two commands that start together must not use
// the same, or one would be answered as the other's repeat. --stan is for whoever
// minds.
func drawnSTAN() points.STAN {
	const period = 999_000
	var random [4]byte
	_, _ = rand.Read(random[:]) // Never fails.
	return points.STAN(binary.LittleEndian.Uint32(random[:]) % period)
}

func (m *message) request(t *sim.Terminal, function points.Function) (req points.Request, err error) {
	req = t.Next(function)
	sim.Dress(&req)
	if function == points.Reversal {
		req.Function, req.Reversed, req.STAN = points.Reversal, points.Redeem, m.originalSTAN
		req.Answer = [2]byte{'9', '8'}
	}
	req.Program, req.Amount, req.PartialOK = points.ProgramID(m.program), points.Amount(m.amount), m.partial
	if m.card != "" {
		if req.PAN, err = points.ParsePAN(m.card); err != nil {
			return req, fmt.Errorf("--card: %w", err)
		}
	}
	if m.to != "" {
		if req.TargetPAN, err = points.ParsePAN(m.to); err != nil {
			return req, fmt.Errorf("--to: %w", err)
		}
	}
	req.Target = points.ProgramID(m.into)
	if m.quote != "" {
		if _, err := points.ParseQuote([]byte(m.quote)); err != nil {
			return req, fmt.Errorf("--quote: %w", err)
		}
		copy(req.Product[:], m.quote)
	}
	if m.rrn != "" {
		position, err := points.ParseRRN(fullRRN(m.rrn))
		if err != nil {
			return req, fmt.Errorf("--rrn: %w", err)
		}
		req.RRN = position.RRN()
		req.Original = points.Original{Present: true, Batch: t.Batch, Date: req.LocalDate}
		req.AuthCode = position.AuthCode()
	}
	if m.auth != "" {
		if len(m.auth) != len(req.AuthCode) {
			return req, fmt.Errorf("--auth: %d characters, want %d", len(m.auth), len(req.AuthCode))
		}
		copy(req.AuthCode[:], m.auth)
	}
	return req, nil
}

// answer is an answer for machines.
type answer struct {
	Function  points.Function `json:"function"`
	STAN      string          `json:"stan"`
	Code      string          `json:"code"`
	Meaning   string          `json:"meaning"`
	MeaningZH string          `json:"meaning_zh"`
	Likely    []points.Reason `json:"likely,omitempty"` // what the code can stand for, where that is more than one thing
	RRN       string          `json:"rrn,omitempty"`
	AuthCode  string          `json:"auth_code,omitempty"`
	Amount    points.Amount   `json:"amount,omitempty"`
	Batch     uint32          `json:"batch,omitempty"`
	Balances  []balance       `json:"balances,omitempty"`
	About     string          `json:"about,omitempty"` // what a reversal has met
	Paid      []paid          `json:"paid,omitempty"`  // by each programme of a sale that several pay
	ToPay     points.Amount   `json:"to_pay,omitempty"`
	Granted   points.Amount   `json:"granted,omitempty"`            // what a swap hands out
	Quote     string          `json:"quote,omitempty"`              // of a swap's quote: DE62, which the swap names
	Master    uint32          `json:"master_key_version,omitempty"` // that next-key has put in force
	KCV       string          `json:"master_key_kcv,omitempty"`
}

type paid struct {
	Program points.ProgramID `json:"program"`
	Points  points.Amount    `json:"points"`
	Covers  points.Amount    `json:"covers"`
}

type balance struct {
	Program points.ProgramID `json:"program"`
	Kind    string           `json:"kind"`
	Amount  points.Amount    `json:"amount"`
}

func answerOf(r *sim.Receipt) answer {
	resp := &r.Response
	a := answer{
		Function: r.Request.Function, STAN: r.Request.STAN.String(), Code: resp.Reason.DE39(), Meaning: resp.Reason.English(),
		MeaningZH: resp.Reason.Chinese(), Likely: likely(resp.Reason.DE39()), AuthCode: string(bytes.Trim(resp.AuthCode[:], "\x00")), Amount: resp.Amount, Batch: resp.Batch,
	}
	if resp.Position != 0 {
		rrn := resp.Position.RRN()
		a.RRN = string(rrn[:])
	}
	for _, b := range resp.Balances[:resp.NBalances] {
		kind := "available"
		if b.Kind == points.LedgerBalance {
			kind = "ledger"
		}
		a.Balances = append(a.Balances, balance{b.Program, kind, b.Amount})
	}
	for _, p := range resp.Paid[:resp.NPaid] {
		a.Paid = append(a.Paid, paid{p.Program, p.Amount, p.Covers})
	}
	a.ToPay, a.Granted = resp.SelfPaid, resp.Granted
	if r.Request.Function == points.SwapQuote {
		a.Quote = resp.List
	}
	return a
}

// explain prints an answer; a decline is exit status 1.
func (p *pos) explain(cmd *cobra.Command, r *sim.Receipt) error {
	a := answerOf(r)
	if p.undone != nil && r.Response.Reason.Approved() && r.Request.Function == points.Reversal {
		a.About = p.undone(cmd.Context(), r)
	}
	if p.inForce != nil {
		a.Master, a.KCV = p.inForce.Version, p.inForce.Check.String()
	}
	var err error
	if p.asJSON {
		err = writeJSON(cmd.OutOrStdout(), a)
	} else {
		var t table
		t.row("request", fmt.Sprintf("%v, STAN %s", a.Function, a.STAN))
		if len(a.Likely) == 0 {
			t.row("answer", a.Code+"  "+a.Meaning+"  "+a.MeaningZH)
		} else {
			t.row("answer", a.Code+"  which stands for one of:")
			for _, r := range a.Likely {
				t.row("", "    "+r.English()+"  "+r.Chinese())
			}
			t.row("", "which it was, the switch tells: "+whereToLook(a.RRN))
		}
		if r.Request.Function == points.SignOn && r.Response.Reason == points.FunctionDisabled {
			t.row("hint", "the switch has no key that it could give: lianfen keys list there, and lianfen admin reload after one was made")
		}
		if a.KCV != "" {
			t.row("master key", fmt.Sprintf("version %d, KCV %s", a.Master, a.KCV))
		}
		if a.RRN != "" {
			t.row("RRN", a.RRN)
		}
		if a.AuthCode != "" {
			t.row("authorisation code", a.AuthCode)
		}
		if a.Batch != 0 {
			t.row("batch", a.Batch)
		}
		for _, leg := range a.Paid {
			t.row(fmt.Sprintf("programme %d paid", leg.Program), fmt.Sprintf("%d points for %d  扣减%d积分，抵付%d", leg.Points, leg.Covers, leg.Points, leg.Covers))
		}
		if a.ToPay != 0 {
			t.row("to pay otherwise", fmt.Sprintf("%d  另付%d", a.ToPay, a.ToPay))
		}
		if a.Granted != 0 {
			t.row("handed out", fmt.Sprintf("%d of programme %d  换得%d", a.Granted, r.Request.Target, a.Granted))
		}
		if a.Quote != "" {
			t.row("quote", a.Quote)
		}
		for _, b := range a.Balances {
			t.row(fmt.Sprintf("programme %d %s", b.Program, b.Kind), b.Amount)
		}
		if a.About != "" {
			t.row("about", a.About)
		}
		err = t.write(cmd.OutOrStdout())
	}
	if err == nil && !r.Response.Reason.Approved() {
		return &statusError{status: exitFault}
	}
	return err
}

// notAtTerminals are reasons that operators and partners are given, and no terminal.
func notAtTerminals() []points.Reason {
	return []points.Reason{
		points.SignInRefused, points.LockedOut, points.RoleMissing, points.LastAdmin, points.ProposalUnknown, points.ProposalStale, points.ProposalExpired,
		points.NeedsSecondPerson, points.QuoteExpired, points.RateMoved, points.NoSwapRate, points.RemoteSwap, points.AlreadyExists,
	}
}

// likely are the reasons for which a terminal is given a code; nil: there is one alone, or
// none that is known.
func likely(code string) (reasons []points.Reason) {
	for _, r := range points.Reasons() {
		if r.DE39() == code && !slices.Contains(notAtTerminals(), r) {
			reasons = append(reasons, r)
		}
	}
	if len(reasons) < 2 {
		return nil
	}
	return reasons
}

// whereToLook is where the switch tells why it has declined.
func whereToLook(rrn string) string {
	if rrn == "" {
		return "its log, and lianfen ledger find --terminal"
	}
	return "lianfen ledger show " + rrn
}

func (p *pos) play(cmd *cobra.Command) (err error) {
	file, err := os.Open(p.script)
	if err != nil {
		return fmt.Errorf("script: %w", err)
	}
	script, err := sim.ReadScript(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s: %w", p.script, err)
	}
	player := sim.Player{Address: p.address, Clock: now, Dial: p.dial, Retry: p.retry, FirstSTAN: p.firstSTAN(), Keys: p.keysOf}
	if cmd.Flags().Changed("timeout") {
		player.First = p.timeout // A script's first message may be one that an issuer far away answers.
	}
	defer func() { err = errors.Join(err, player.HangUp()) }()
	if p.receipts != "" {
		keeper, err := os.OpenFile(p.receipts, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return fmt.Errorf("receipts: %w", err)
		}
		defer func() { err = errors.Join(err, keeper.Close()) }()
		player.Keep = func(r *sim.Receipt) error { return writeReceipt(keeper, r) }
	}
	return playScript(cmd.Context(), cmd.OutOrStdout(), &player, script, p.loop, p.asJSON)
}

func playScript(ctx context.Context, w io.Writer, player *sim.Player, script *sim.Script, loop int, asJSON bool) error {
	steps, wrong := 0, 0
	var results []sim.Result
	for round := range loop {
		w2, err := player.Play(ctx, script, func(r sim.Result) error {
			steps++
			if asJSON {
				results = append(results, r)
				return nil
			}
			if loop > 1 && r.Wrong == "" {
				return nil // Only what differs is worth a line.
			}
			return printResult(w, r)
		})
		if err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		wrong += w2
	}
	if asJSON {
		if err := writeJSON(w, map[string]any{"steps": results, "wrong": wrong}); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(w, "%s, %d not as expected.\n", points.Counted(steps, "step", "steps"), wrong); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if wrong > 0 {
		return &statusError{status: exitFault}
	}
	return nil
}

// printResult prints one step as it comes, in fixed columns.
func printResult(w io.Writer, r sim.Result) error {
	if r.Note != "" {
		if _, err := fmt.Fprintf(w, "\n  %s\n", r.Note); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	mark := "ok"
	if r.Wrong != "" {
		mark = "WRONG: " + r.Wrong
	}
	available := ""
	if r.Available != nil {
		available = fmt.Sprint(*r.Available)
	}
	amount := ""
	if r.Program != 0 || r.Amount != 0 {
		amount = fmt.Sprintf("%d of %d", r.Amount, r.Program)
	}
	_, err := fmt.Fprintf(w, "  %3d  %-8s  %-24s  %-19s  %12s  %-6s  %-12s  %-2s  %9s  %s\n",
		r.Step, r.Terminal, r.What, r.Card, amount, r.STAN, r.RRN, r.Code, available, mark)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// keptReceipt is a line of a receipts file.
type keptReceipt struct {
	Terminal points.TerminalID `json:"terminal"`
	Merchant points.MerchantID `json:"merchant"`
	Function points.Function   `json:"function"`
	STAN     string            `json:"stan"`
	Code     string            `json:"code"`
	Sent     string            `json:"sent"` // frames in hexadecimal, without their length
	Got      string            `json:"got"`
}

func writeReceipt(w io.Writer, r *sim.Receipt) error {
	line, err := json.Marshal(keptReceipt{
		r.Request.Terminal, r.Request.Merchant, r.Request.Function, r.Request.STAN.String(), r.Response.Reason.DE39(),
		hex.EncodeToString(r.Sent), hex.EncodeToString(r.Got),
	})
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	return nil
}

// again sends every request of a receipts file once more. A switch that lost
// none of them and did none twice gives each answer again, byte for byte.
// Sign-ons, sign-offs and echoes are left out: they are not remembered.
func (p *pos) again(cmd *cobra.Command) (err error) {
	t := p.at(sim.Identity{}, 0)
	defer func() { err = errors.Join(err, t.HangUp()) }()
	same, other := 0, 0
	err = eachReceipt(p.replay, func(n int, kept *keptReceipt, sent []byte) error {
		if f := kept.Function; f == points.SignOn || f == points.SignOff || f == points.Echo || f == points.Download {
			return nil
		}
		got, err := t.Raw(cmd.Context(), sent)
		if err != nil {
			return err
		}
		if hex.EncodeToString(got) == kept.Got {
			same++
			return nil
		}
		other++
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s:%d: STAN %s: another answer than the first time\n", p.replay, n, kept.STAN)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s answered as the first time, %d differently.\n", points.Counted(same, "request", "requests"), other); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if other > 0 {
		return &statusError{status: exitFault}
	}
	return nil
}
