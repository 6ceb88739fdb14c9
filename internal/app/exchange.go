package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/exchange"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// SwapAsked is a quote that an operator asks for on a member's behalf: In points handed in,
// or Out wanted at least.
type SwapAsked struct {
	CallID   string           `json:"key,omitempty"`
	Operator string           `json:"operator,omitempty"`
	Member   points.MemberID  `json:"member"`
	Card     CardNumber       `json:"card,omitempty"` // where one of the programmes is in its issuer's own ledger
	From     points.ProgramID `json:"from"`
	Into     points.ProgramID `json:"into"`
	In       points.Amount    `json:"in,omitempty"`
	Out      points.Amount    `json:"out,omitempty"`
	// LockSeconds is for how long a lock is wanted, where the terms take a fee for it.
	LockSeconds uint32 `json:"lock_seconds,omitempty"`
}

// SwapNamed is a call about a quote.
type SwapNamed struct {
	CallID   string `json:"key,omitempty"`
	Operator string `json:"operator,omitempty"`
	Quote    string `json:"quote"`
}

// SwapState is a swap for people and machines. Amounts of points are in smallest units of
// their programmes; value, fee, cost and rest in those of the standard point.
type SwapState struct {
	Quote    string           `json:"quote"`
	State    string           `json:"state"`
	Member   points.MemberID  `json:"member"`
	From     points.ProgramID `json:"from"`
	Into     points.ProgramID `json:"into"`
	In       points.Amount    `json:"in"`
	Out      points.Amount    `json:"out"`
	Bonus    points.Amount    `json:"bonus,omitempty"`
	Value    points.Amount    `json:"value"`
	Fee      points.Amount    `json:"fee"`
	Cost     points.Amount    `json:"cost"`
	Rest     points.Amount    `json:"rest"`
	Buy      uint32           `json:"buy_version"`
	Sell     uint32           `json:"sell_version"`
	Expires  string           `json:"expires"`
	RRN      string           `json:"rrn,omitempty"`    // of the record of this call
	Locked   string           `json:"locked,omitempty"` // RRN of the lock
	Done     string           `json:"done,omitempty"`   // RRN of the execution
	Repeated bool             `json:"repeated,omitempty"`
	Leg      *SwapLeg         `json:"leg,omitempty"` // in an issuer's own ledger
}

// SwapLeg is the side of a swap that an issuer with its own ledger has to say of.
type SwapLeg struct {
	RRN      string          `json:"rrn"` // by which the issuer knows it: DE37
	Issuer   points.IssuerID `json:"issuer"`
	Act      points.Function `json:"act"`
	Asked    points.Function `json:"asked,omitzero"` // last; none: nothing is open
	Attempts uint32          `json:"attempts"`
	Next     string          `json:"next,omitempty"`     // when it is asked again
	GivenUp  string          `json:"given_up,omitempty"` // since when only the answer to FENCE counts
	Undoing  bool            `json:"undoing,omitempty"`  // it stands at the issuer though the swap was given up
	Denied   bool            `json:"denied,omitempty"`   // the issuer says that it does not stand, though the swap is done
	Ended    *SwapEnd        `json:"ended,omitempty"`    // what has decided it
}

// SwapEnd is what has decided the leg of a swap, last where it was more than once: its
// issuer's answer, that it could not be sent, or two operators.
type SwapEnd struct {
	RRN      string          `json:"rrn"`
	At       string          `json:"at"`
	Asked    points.Function `json:"asked,omitzero"`
	Sent     bool            `json:"sent"` // it went out to the issuer
	Answer   points.Reason   `json:"answer"`
	DE39     string          `json:"de39"`
	Text     string          `json:"text"`
	Operator string          `json:"operator,omitempty"`
	Second   string          `json:"second,omitempty"`
	Note     string          `json:"note,omitempty"`
}

// swapEnd reads what has decided a leg; nil: nothing has.
func (a *App) swapEnd(v *book.SwapLegView) (*SwapEnd, error) {
	if v.Ended == 0 {
		return nil, nil //nolint:nilnil // there is none.
	}
	rec, err := a.ledger.Record(v.Ended)
	if err != nil {
		return nil, err
	}
	cmd := rec.Command.Carried()
	return &SwapEnd{
		RRN: rrnOf(v.Ended), At: rec.Outcome.Posted.String(), Asked: cmd.Function, Sent: cmd.Kind == book.KindSwapTold && !cmd.Final,
		Answer: cmd.Answer, DE39: cmd.Answer.DE39(), Text: cmd.Answer.English(), Operator: cmd.Operator, Second: cmd.Second, Note: cmd.Note,
	}, nil
}

func legState(v *book.SwapLegView) *SwapLeg {
	leg := &SwapLeg{RRN: rrnOf(v.Position), Issuer: v.Issuer, Act: v.Act, Asked: v.Asks, Attempts: v.Attempt, Undoing: v.Undoing, Denied: v.Denied}
	if v.Asks != 0 {
		leg.Next = v.Due.String()
	}
	if v.Fenced != 0 {
		leg.GivenUp = v.FencedAt.String()
	}
	return leg
}

func swapState(f *book.SwapFigures, member points.MemberID, from points.ProgramID) SwapState {
	return SwapState{
		Quote: rrnOf(f.Quote), State: f.State.String(), Member: member, From: from, Into: f.Into, In: f.In, Out: f.Out, Bonus: f.Bonus,
		Value: f.Value, Fee: f.Fee, Cost: f.Cost, Rest: f.Rest, Buy: f.Buy, Sell: f.Sell, Expires: f.Expires.String(),
	}
}

func viewedSwap(v *book.SwapView) SwapState {
	s := swapState(&v.SwapFigures, v.Member, v.Program)
	if v.Locked != 0 {
		s.Locked = rrnOf(v.Locked)
	}
	if v.Done != 0 {
		s.Done = rrnOf(v.Done)
	}
	return s
}

// caller is the operator who asks, and the key of the call.
func caller(ctx context.Context, key, operator string) (exchange.Caller, error) {
	if err := signed(ctx, "swap", &operator, ""); err != nil {
		return exchange.Caller{}, err
	}
	return exchange.Caller{Operator: operator, CallID: key}, points.CheckText("operator", operator)
}

func (a *App) answered(done exchange.Swap, err error) (SwapState, error) {
	if reason := points.ReasonOf(err); err != nil && reason != points.InternalError {
		return SwapState{}, points.InBoth(reason, a.inZone(err.Error()), a.inZone(points.ChineseOf(err)))
	}
	if err != nil {
		return SwapState{}, err
	}
	s := swapState(&done.SwapFigures, done.Member, done.From)
	s.RRN, s.Repeated = rrnOf(done.Position), done.Repeated
	return s, nil
}

func (a *App) quoteSwap(ctx context.Context, s SwapAsked) (SwapState, error) {
	by, err := caller(ctx, s.CallID, s.Operator)
	if err != nil {
		return SwapState{}, err
	}
	asked := exchange.Asked{Caller: by, Member: s.Member, From: s.From, Into: s.Into, In: s.In, Out: s.Out, LockSeconds: s.LockSeconds}
	if s.Card != "" {
		pan, err := points.ParsePAN(string(s.Card))
		if err != nil {
			return SwapState{}, err
		}
		asked.Card = a.token(pan)
	}
	return a.answered(a.swaps.Quote(ctx, asked))
}

// aboutSwap serves a verb of the desk about a quote.
func (a *App) aboutSwap(verb func(context.Context, exchange.Named) (exchange.Swap, error)) func(context.Context, SwapNamed) (SwapState, error) {
	return func(ctx context.Context, n SwapNamed) (SwapState, error) {
		by, err := caller(ctx, n.CallID, n.Operator)
		if err != nil {
			return SwapState{}, err
		}
		quote, err := points.ParseRRN(n.Quote)
		if err != nil {
			return SwapState{}, err
		}
		s, err := a.answered(verb(ctx, exchange.Named{Caller: by, Quote: quote}))
		if err != nil {
			return s, err
		}
		// The record of an execution has the quote's end. What is locked is good until the
		// lock's, whatever became of it.
		if view, err := a.swaps.Show(ctx, exchange.Named{Quote: quote}); err != nil {
			a.log.Warn("an answered swap cannot be shown", slog.String("quote", rrnOf(quote)), slog.String("error", err.Error()))
		} else if view.Locked != 0 {
			s.Expires, s.Locked = view.Expires.String(), rrnOf(view.Locked)
		}
		return s, nil
	}
}

func (a *App) showSwap(ctx context.Context, s SwapNamed) (SwapState, error) {
	quote, err := points.ParseRRN(s.Quote)
	if err != nil {
		return SwapState{}, err
	}
	view, err := a.swaps.Show(ctx, exchange.Named{Quote: quote})
	if err != nil {
		return SwapState{}, err
	}
	shown := viewedSwap(&view)
	legs, err := a.swaps.Legs(ctx, quote)
	if err != nil || len(legs) == 0 {
		return shown, err
	}
	shown.Leg = legState(&legs[0])
	shown.Leg.Ended, err = a.swapEnd(&legs[0])
	return shown, err
}

// swapQueue lists what is locked, and behind it what waits for an issuer or for operators.
func (a *App) swapQueue(ctx context.Context, _ nothing) ([]SwapState, error) {
	list := []SwapState{}
	views, err := a.swaps.Queue(ctx)
	if err != nil {
		return nil, err
	}
	for i := range views {
		list = append(list, viewedSwap(&views[i]))
	}
	legs, err := a.swaps.Legs(ctx)
	for i := range legs {
		view, err := a.swaps.Show(ctx, exchange.Named{Quote: legs[i].Quote})
		if err != nil {
			return nil, err
		}
		shown := viewedSwap(&view)
		shown.Leg = legState(&legs[i])
		list = append(list, shown)
	}
	return list, err
}

// swapLook is how long the end of a lock may be processed late. It is refused from its last
// moment on whatever the delay.
const swapLook = time.Second

// keepSwaps ends locks whose time is over, and asks issuers with their own ledgers about swaps.
func (a *App) keepSwaps(ctx context.Context) error {
	ticker := time.NewTicker(swapLook)
	defer ticker.Stop()
	watch := newSwapWatch(a.registry)
	for {
		_, err := a.swaps.Expire(ctx)
		if err == nil {
			_, err = a.swaps.Turn(ctx)
		}
		if err == nil {
			err = a.watchSwaps(ctx, watch)
		}
		switch {
		case ctx.Err() != nil, errors.Is(err, ledger.ErrFailed):
			return nil // Whoever watches the ledger tells of it.
		case err != nil:
			a.log.Error("swaps were not looked after; it is tried again", slog.String("error", err.Error()))
		}
		select {
		case <-ticker.C:
		case <-a.swaps.Wake():
		case <-ctx.Done():
			return nil
		}
	}
}

// swapWatch shows how many swaps have no end yet.
type swapWatch struct {
	waiting *prometheus.GaugeVec
	manual  int // when it was last looked
}

// waitingSwaps are the states that are watched, and how the metric calls them.
func waitingSwaps() map[book.SwapState]string {
	return map[book.SwapState]string{
		book.SwapExecuting: "executing", book.SwapCreditUnknown: "credit_unknown", book.SwapManual: "manual", book.SwapRejected: "undoing", book.SwapReversed: "undoing", book.SwapDone: "denied",
	}
}

func newSwapWatch(registerer prometheus.Registerer) *swapWatch {
	w := &swapWatch{waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "lianfen_swaps_waiting", Help: "Swaps whose issuer, which keeps its own ledger, has yet to decide, by state: executing, credit_unknown, manual (left to operators), undoing (given up here, and standing there), denied (done here, and not standing there).",
	}, []string{"state"})}
	registerer.MustRegister(w.waiting)
	return w
}

func (a *App) watchSwaps(ctx context.Context, w *swapWatch) error {
	var waiting map[book.SwapState]int
	err := a.ledger.View(ctx, func(b *book.Book) (err error) {
		waiting, err = b.SwapLegsWaiting()
		return err
	})
	if err != nil {
		return err
	}
	counts := make(map[string]int)
	for state, name := range waitingSwaps() {
		counts[name] += waiting[state]
	}
	for name, n := range counts {
		w.waiting.WithLabelValues(name).Set(float64(n))
	}
	if manual := counts["manual"]; manual > w.manual {
		a.log.Warn("swaps are left to operators: lianfen exchange queue", slog.Int("swaps", manual))
	}
	w.manual = counts["manual"]
	return nil
}

// SwapTerms are the terms of swaps as people give them.
type SwapTerms struct {
	Program          points.ProgramID `json:"program" yaml:"program"`
	From             string           `json:"from" yaml:"from"`
	tariff.SwapRules `yaml:",inline"`
	LotsAllowed      []string `json:"lots_allowed" yaml:"lots_allowed"` // earned, bought, swapped, bonus, adjusted
}

// ReadSwapTerms reads a file of swap terms: a YAML list, every key known. What is left out
// has the careful value: only earned points, half a minute for a quote, no lock, expiry as
// for points that are earned.
func ReadSwapTerms(r io.Reader) (list []SwapTerms, err error) {
	if err := readStrict(r, "swap terms", &list); err != nil {
		return nil, err
	}
	for i := range list {
		t := &list[i]
		if t.Expiry == 0 {
			t.Expiry = tariff.ExpiryProgram
		}
		if t.QuoteSeconds == 0 {
			t.QuoteSeconds = 30
		}
		if len(t.LotsAllowed) == 0 {
			t.LotsAllowed = []string{"earned"}
		}
	}
	return list, nil
}

// SwapTermsSetting proposes swap terms, or, where no operators are enrolled, puts them.
type SwapTermsSetting struct {
	Terms    []SwapTerms `json:"terms"`
	Operator string      `json:"operator"`
	Second   string      `json:"second,omitempty"`
	Note     string      `json:"note"`
}

func (a *App) proposeSwapTerms(ctx context.Context, s SwapTermsSetting) ([]Done, error) {
	if err := signed(ctx, "swap terms", &s.Operator, s.Second); err != nil {
		return nil, err
	}
	if len(s.Terms) == 0 || s.Note == "" {
		return nil, points.Errorf(points.FormatError, "swap terms: say which, and why (--note)")
	}
	entries := make([]*tariff.SwapTerms, len(s.Terms))
	for i := range s.Terms {
		t := &s.Terms[i]
		from, err := a.moment(t.From)
		if err != nil {
			return nil, fmt.Errorf("swap terms %d: %w", i+1, err)
		}
		if t.Lots, err = tariff.OriginsOf(t.LotsAllowed); err != nil {
			return nil, fmt.Errorf("swap terms %d: %w", i+1, err)
		}
		entries[i] = &tariff.SwapTerms{Program: t.Program, From: from, SwapRules: t.SwapRules}
	}
	cmds := make([]book.Command, len(entries))
	for i, e := range entries {
		cmds[i] = book.Command{Kind: book.KindPut, Entry: book.Entry{Swaps: e}, Operator: s.Operator, Second: s.Second, Note: s.Note}
	}
	return a.enter(ctx, "swap terms", cmds)
}

// SwapTermsVersion is a version of swap terms.
type SwapTermsVersion struct {
	SwapTerms
	Version  uint32 `json:"version"`
	Maker    string `json:"maker"`
	Checker  string `json:"checker"`
	Approved string `json:"approved"`
	Digest   string `json:"digest"`
	InForce  bool   `json:"in_force"` // now
}

func (a *App) swapTerms(ctx context.Context, _ nothing) ([]SwapTermsVersion, error) {
	list := []SwapTermsVersion{}
	var table *tariff.SwapTable
	err := a.ledger.View(ctx, func(b *book.Book) error {
		table = b.Registry().Swaps
		return nil
	})
	if err != nil || table == nil {
		return list, err
	}
	now := a.opts.Clock()
	for t := range table.All() {
		v := SwapTermsVersion{
			SwapTerms: SwapTerms{Program: t.Program, From: t.From.String(), SwapRules: t.SwapRules, LotsAllowed: t.Lots.Names()},
			Version:   t.Version, Maker: t.Maker, Checker: t.Checker, Approved: t.Approved.String(), Digest: t.Digest.String(),
			InForce: table.At(t.Program, now) == t,
		}
		list = append(list, v)
	}
	return list, nil
}
