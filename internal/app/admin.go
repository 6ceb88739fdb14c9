package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// listenAdmin opens the unix socket of the operators. A socket that a killed
// process left behind is taken over; one that answers is not, nor is a file that
// is no socket.
func listenAdmin(ctx context.Context, path string) (net.Listener, error) {
	if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("admin socket %s: another process serves it", path), conn.Close())
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("admin socket %s: there is a file that is no socket; admin.socket names another, or it goes away", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), ln.Close())
	}
	return ln, nil
}

// adminHandler is the operators' interface, in JSON. Every refusal is a problem
// document (RFC 9457) with the reason's name beside.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	handle(mux, "GET /v1/status", a.status)
	handle(mux, "GET /v1/directory", a.directory)
	handle(mux, "POST /v1/directory", a.load)
	handle(mux, "POST /v1/accounts", a.accounts)
	handle(mux, "POST /v1/adjust", a.adjust)
	handle(mux, "POST /v1/cutover", a.cutOver)
	handle(mux, "POST /v1/record", a.record)
	handle(mux, "GET /v1/totals", a.totals)
	handle(mux, "GET /v1/links", a.links)
	handle(mux, "GET /v1/owed", a.owed)
	handle(mux, "POST /v1/owed/resolve", a.resolve)
	handle(mux, "POST /v1/reload", a.reload)
	handle(mux, "POST /v1/verify", a.verify)
	handle(mux, "POST /v1/backup", a.backup)
	mux.HandleFunc("POST /v1/prove", a.prove)
	mux.HandleFunc("POST /v1/export", a.export)
	handle(mux, "POST /v1/statement", a.statement)
	handle(mux, "POST /v1/find", a.find)
	handle(mux, "POST /v1/detail", a.detail)
	handle(mux, "GET /v1/index", a.indexed)
	handle(mux, "POST /v1/index/rebuild", a.reindex)
	return mux
}

// problem is an RFC 9457 problem document.
type problem struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail"`
	Reason points.Reason `json:"reason"`
}

// handle answers pattern with what f makes of the request's body; for GET there
// is none.
func handle[In, Out any](mux *http.ServeMux, pattern string, f func(context.Context, In) (Out, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var in In
		var out Out
		err := decodeBody(r, &in)
		if err == nil {
			out, err = f(r.Context(), in)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // The peer has gone; there is nobody to tell.
	})
}

// refuse answers with the problem document of err.
func refuse(w http.ResponseWriter, err error) {
	reason := points.ReasonOf(err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(reason.HTTPStatus())
	p := problem{Type: "about:blank", Title: reason.English(), Status: reason.HTTPStatus(), Detail: err.Error(), Reason: reason}
	_ = json.NewEncoder(w).Encode(p) // The peer has gone; there is nobody to tell.
}

func decodeBody(r *http.Request, in any) error {
	if r.Method != http.MethodPost {
		return nil
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(in); err != nil {
		return points.Errorf(points.FormatError, "request body: %w", err)
	}
	if decoder.More() {
		return points.Errorf(points.FormatError, "request body: there is more behind its end")
	}
	return nil
}

type nothing struct{}

// Status is how the process is.
type Status struct {
	Version   string              `json:"version"`
	Ready     bool                `json:"ready"`
	Position  points.Position     `json:"position"`
	Date      points.BusinessDate `json:"business_date"`
	Listeners map[string]string   `json:"listeners"`
	HTTP      string              `json:"http"`
}

func (a *App) status(ctx context.Context, _ nothing) (Status, error) {
	s := Status{Version: a.opts.Version, Ready: a.ready.yes.Load(), Position: a.ledger.Durable(), HTTP: a.web.Addr().String(), Listeners: map[string]string{}}
	for _, l := range a.listeners {
		s.Listeners[l.name] = l.server.Addr().String()
	}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		s.Date = b.Date()
		return nil
	})
	return s, err
}

// refresh swaps in the router's table of the reference data as it is now.
func (a *App) refresh(ctx context.Context) error {
	var registry *book.Registry
	err := a.ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	})
	if err != nil {
		return err
	}
	a.router.Swap(router.NewTable(registry))
	return nil
}

func (a *App) directory(ctx context.Context, _ nothing) (Directory, error) {
	var registry *book.Registry
	err := a.ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	})
	if err != nil {
		return Directory{}, err
	}
	return directoryOf(registry), nil
}

// Loaded is how many entries of a directory were put.
type Loaded struct {
	Entries int `json:"entries"`
}

// loadChunk is how many entries are in the ledger's queue at once.
const loadChunk = 1_000

// load puts a directory, entry by entry in journal order. It stops after the
// chunk with the first refusal, which it names; what was put before stays.
func (a *App) load(ctx context.Context, d Directory) (Loaded, error) {
	commands, err := d.commands(a.token)
	if err != nil {
		return Loaded{}, err
	}
	err = a.ledger.View(ctx, func(b *book.Book) error {
		for i := range commands {
			if err := commands[i].keep(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Loaded{}, err
	}
	commands = slices.DeleteFunc(commands, func(n named) bool { return n.done })
	done := 0
	for ; err == nil && done < len(commands); done += min(loadChunk, len(commands)-done) {
		err = a.loadSome(ctx, commands[done:min(done+loadChunk, len(commands))])
	}
	if err := errors.Join(err, a.refresh(ctx)); err != nil {
		return Loaded{}, err
	}
	a.log.Info("directory loaded", slog.Int("entries", done))
	return Loaded{Entries: done}, nil
}

func (a *App) loadSome(ctx context.Context, commands []named) error {
	now := a.opts.Clock()
	outcomes := make(chan error, len(commands))
	for i := range commands {
		c := &commands[i]
		c.cmd.At = now
		a.ledger.Submit(&c.cmd, func(out *book.Outcome) {
			if out.Reason.Approved() || (c.cmd.Kind == book.KindOpen && out.Reason == points.AlreadyExists) {
				outcomes <- nil
				return
			}
			outcomes <- points.Errorf(out.Reason, "%s: %s", c.what, out.Reason.English())
		})
	}
	var first error
	for range commands {
		select {
		case err := <-outcomes:
			if first == nil {
				first = err
			}
		case <-a.ledger.Failed():
			return a.ledger.Err()
		case <-ctx.Done():
			return fmt.Errorf("load: %w", ctx.Err())
		}
	}
	return first
}

func (a *App) token(pan points.PAN) (token points.CardToken) {
	a.key.Token(&token, pan)
	return token
}

// Holder names a member, by card or by number.
type Holder struct {
	Card   CardNumber      `json:"card,omitempty"`
	Member points.MemberID `json:"member,omitempty"`
}

// Accounts is what a member has.
type Accounts struct {
	Member   points.MemberID `json:"member"`
	Status   book.Status     `json:"status"`
	Card     string          `json:"card,omitempty"` // masked
	Accounts []Account       `json:"accounts"`
}

// Account is what a member has in one programme.
type Account struct {
	Program points.ProgramID `json:"program"`
	Name    string           `json:"name"`
	Usable  points.Amount    `json:"usable"`
	Free    points.Amount    `json:"free"`
	Held    points.Amount    `json:"held"`
	Debt    points.Amount    `json:"debt"`
	Lots    []Lot            `json:"lots"`
}

// Lot is a part of an account with its own expiry.
type Lot struct {
	Amount    points.Amount       `json:"amount"`
	ActiveOn  points.BusinessDate `json:"active_on"`
	ExpiresOn points.BusinessDate `json:"expires_on"`
}

func (a *App) accounts(ctx context.Context, who Holder) (Accounts, error) {
	var result Accounts
	err := a.ledger.View(ctx, func(b *book.Book) error {
		member := who.Member
		if who.Card != "" {
			pan, err := points.ParsePAN(string(who.Card))
			if err != nil {
				return err
			}
			card, ok, err := b.Card(a.token(pan))
			if err != nil {
				return err
			}
			if !ok {
				return points.Errorf(points.UnknownCard, "card %v: %s", pan, points.UnknownCard.English())
			}
			member, result.Card = card.Member, card.Masked
		}
		view, ok, err := b.Member(member)
		if err != nil {
			return err
		}
		if !ok {
			return points.Errorf(points.UnknownMember, "member %d: %s", member, points.UnknownMember.English())
		}
		result.Member, result.Status = view.ID, view.Status
		for _, program := range view.Programs {
			account, err := accountOf(b, view.ID, program)
			if err != nil {
				return err
			}
			result.Accounts = append(result.Accounts, account)
		}
		return nil
	})
	return result, err
}

func accountOf(b *book.Book, member points.MemberID, program points.ProgramID) (Account, error) {
	view, _, err := b.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: uint64(member)})
	if err != nil {
		return Account{}, err
	}
	account := Account{Program: program, Usable: view.Usable, Free: view.Free, Held: view.Held, Debt: view.Debt, Lots: []Lot{}}
	if entry, ok := b.Registry().Programs[program]; ok {
		account.Name = entry.Name
	}
	for _, l := range view.Lots {
		account.Lots = append(account.Lots, Lot{l.Amount, l.Key.ActiveOn, l.Key.ExpiresOn})
	}
	return account, nil
}

// Adjustment corrects a balance; two different people stand behind it.
type Adjustment struct {
	Holder
	Program  points.ProgramID `json:"program"`
	Amount   points.Amount    `json:"amount"` // below zero takes away
	Operator string           `json:"operator"`
	Second   string           `json:"second"`
	Note     string           `json:"note"`
}

// Done is what a command of an operator did.
type Done struct {
	RRN  string              `json:"rrn"`
	Date points.BusinessDate `json:"business_date"`
	Free points.Amount       `json:"free"`
}

func (a *App) adjust(ctx context.Context, adj Adjustment) (Done, error) {
	cmd := book.Command{
		Kind: book.KindAdjust, At: a.opts.Clock(), Member: adj.Member, Program: adj.Program, Amount: adj.Amount,
		Operator: adj.Operator, Second: adj.Second, Note: adj.Note,
	}
	if adj.Card != "" {
		pan, err := points.ParsePAN(string(adj.Card))
		if err != nil {
			return Done{}, err
		}
		cmd.Card = a.token(pan)
	}
	return a.do(ctx, "adjust", &cmd)
}

// CutOver ends the business date. A zero Date is the day after the current one.
type CutOver struct {
	Date     points.BusinessDate `json:"date,omitempty"`
	Operator string              `json:"operator"`
	Second   string              `json:"second"`
}

func (a *App) cutOver(ctx context.Context, c CutOver) (Done, error) {
	if c.Operator == "" || c.Second == "" || c.Operator == c.Second {
		return Done{}, points.Errorf(points.NeedsSecondPerson, "cut-over: name an operator and another person who approves")
	}
	if c.Date == 0 {
		status, err := a.status(ctx, nothing{})
		if err != nil {
			return Done{}, err
		}
		c.Date = status.Date.AddDays(1)
	}
	done, err := a.do(ctx, "cut-over to "+c.Date.String(), &book.Command{
		Kind: book.KindCutOver, At: a.opts.Clock(), Date: c.Date,
		TraceDays: uint8(a.opts.Config.Ledger.TraceDays), Limit: uint32(a.opts.Config.Ledger.TraceKeys), //nolint:gosec // 2 to 31; 1 to 2^32-1.
		Operator: c.Operator, Second: c.Second,
	})
	if err != nil {
		return Done{}, err
	}
	a.log.Info("cut-over", slog.String("date", c.Date.String()), slog.String("operator", c.Operator), slog.String("second", c.Second))
	return done, a.night(ctx)
}

// do carries out an operator's command and turns a decline into an error.
func (a *App) do(ctx context.Context, what string, cmd *book.Command) (Done, error) {
	out, err := a.ledger.Do(ctx, cmd)
	if err != nil {
		return Done{}, err
	}
	if !out.Reason.Approved() {
		return Done{}, points.Errorf(out.Reason, "%s: %s", what, out.Reason.English())
	}
	rrn := out.Position.RRN()
	return Done{RRN: string(rrn[:]), Date: out.Date, Free: out.Free}, nil
}

// Lookup names a journal record.
type Lookup struct {
	RRN string `json:"rrn"`
}

// Record is a journal record for people. Cards are shown masked.
type Record struct {
	RRN      string              `json:"rrn"`
	AuthCode string              `json:"auth_code"`
	Kind     book.Kind           `json:"kind"`
	Function points.Function     `json:"function,omitempty"`
	Reason   points.Reason       `json:"reason"`
	Posted   string              `json:"posted"`
	Date     points.BusinessDate `json:"business_date"`
	Terminal points.TerminalID   `json:"terminal,omitzero"`
	Merchant points.MerchantID   `json:"merchant,omitzero"`
	STAN     string              `json:"stan,omitempty"`
	Card     string              `json:"card,omitempty"`
	Member   points.MemberID     `json:"member,omitempty"`
	Program  points.ProgramID    `json:"program,omitempty"`
	Amount   points.Amount       `json:"amount,omitempty"`
	Original string              `json:"original,omitempty"` // RRN
	Postings []Posting           `json:"postings"`
}

// Posting is one side of a booking: credit positive.
type Posting struct {
	Account book.AccountKind `json:"account"`
	Program points.ProgramID `json:"program"`
	Party   uint64           `json:"party"`
	Amount  points.Amount    `json:"amount"`
	After   points.Amount    `json:"after"`
}

func (a *App) record(_ context.Context, l Lookup) (Record, error) {
	position, err := points.ParseRRN(l.RRN)
	if err != nil {
		return Record{}, err
	}
	rec, err := a.ledger.Record(position)
	if err != nil {
		return Record{}, err
	}
	return a.recordOf(&rec), nil
}

func (a *App) recordOf(rec *book.Record) Record { return recordFor(a.key, rec) }

// recordFor shows a record; without a key no card.
func recordFor(key *certs.CardKey, rec *book.Record) Record {
	cmd, out := &rec.Command, &rec.Outcome
	rrn, code := out.Position.RRN(), out.Position.AuthCode()
	r := Record{
		RRN: string(rrn[:]), AuthCode: string(code[:]), Kind: cmd.Kind, Function: cmd.Function, Reason: out.Reason, Posted: out.Posted.String(),
		Date: out.Date, Terminal: cmd.Terminal, Merchant: cmd.Merchant, Member: out.Member, Program: out.Program,
		Amount: out.Amount, Postings: []Posting{},
	}
	if cmd.Key.STAN != 0 {
		r.STAN = cmd.Key.STAN.String()
	}
	if key != nil {
		if pan, ok := key.PAN(cmd.Card); ok {
			r.Card = pan.Masked()
		}
	}
	if out.Original != 0 {
		original := out.Original.RRN()
		r.Original = string(original[:])
	}
	for _, p := range out.Postings {
		r.Postings = append(r.Postings, Posting{p.Account.Kind, p.Account.Program, p.Account.Party, p.Amount, p.After})
	}
	return r
}

// Total is one line of the trial balance: credit positive.
type Total struct {
	Program points.ProgramID `json:"program"`
	Account book.AccountKind `json:"account"`
	Amount  points.Amount    `json:"amount"`
}

func (a *App) totals(ctx context.Context, _ nothing) ([]Total, error) {
	var totals []Total
	err := a.ledger.View(ctx, func(b *book.Book) error {
		for _, t := range b.Totals() {
			totals = append(totals, Total{t.Program, t.Kind, t.Amount})
		}
		return nil
	})
	return totals, err
}

// Verified is what a verification proved.
type Verified struct {
	Records uint64 `json:"records"`
	Blocks  uint64 `json:"blocks"`
	Digest  string `json:"digest"`
}

func (a *App) verify(ctx context.Context, _ nothing) (Verified, error) {
	report, err := a.ledger.Verify(ctx, func(uint64, uint64) {})
	if err != nil {
		return Verified{}, err
	}
	return Verified{report.Records, report.Blocks, fmt.Sprintf("%x", report.Digest)}, nil
}
