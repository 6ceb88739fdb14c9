package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

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

func answered(done exchange.Swap, err error) (SwapState, error) {
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
	quoted, err := a.swaps.Quote(ctx, asked)
	switch points.ReasonOf(err) {
	case points.RemoteSwap:
		err = a.whyRemote(ctx, &s, err)
	case points.NoSwapRate:
		err = a.whyNone(ctx, &s)
	default:
	}
	return answered(quoted, err)
}

// whyNone tells what is missing where a swap is not on offer, and how it is proposed.
func (a *App) whyNone(ctx context.Context, s *SwapAsked) error {
	now, missing := a.opts.Clock(), []string{}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		rates, terms := registry.Rates, registry.Swaps
		if rates == nil || rates.Pair(s.From, s.Into, now) == nil {
			missing = append(missing, fmt.Sprintf("a BUY rate of programme %d (lianfen rates propose)", s.From))
		}
		if rates == nil || rates.At(s.Into, tariff.Sell, now) == nil {
			missing = append(missing, fmt.Sprintf("a SELL rate of programme %d (lianfen rates propose)", s.Into))
		}
		for _, id := range [...]points.ProgramID{s.From, s.Into} {
			if terms == nil || terms.At(id, now) == nil {
				missing = append(missing, fmt.Sprintf("terms of swaps of programme %d (lianfen exchange terms propose)", id))
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(missing) == 0:
		missing = []string{"a row of kind SWP in the fees (lianfen fees propose)"}
	}
	return points.Errorf(points.NoSwapRate, "swap of programme %d into %d: it is not on offer now; what is missing: %s", s.From, s.Into, strings.Join(missing, ", "))
}

// whyRemote tells what to do where a swap is refused because of issuers with ledgers of their
// own.
func (a *App) whyRemote(ctx context.Context, s *SwapAsked, refused error) error {
	var far []points.ProgramID
	err := a.ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		for _, id := range [...]points.ProgramID{s.From, s.Into} {
			if p := registry.Programs[id]; p != nil && registry.Issuers[p.Issuer] != nil && registry.Issuers[p.Issuer].Link != "" {
				far = append(far, id)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(far) == 2:
		return points.Errorf(points.RemoteSwap, "swap of programme %d into %d: both are in their issuers' own ledgers, and one side has to be here: swap through a programme that is", s.From, s.Into)
	case len(far) == 1 && s.Card == "":
		return points.Errorf(points.RemoteSwap, "swap of programme %d into %d: %d is in its issuer's own ledger, which knows the member by the card: name it (--card)", s.From, s.Into, far[0])
	default:
		return refused
	}
}

// aboutSwap serves a verb of the desk about a quote.
func (a *App) aboutSwap(verb func(context.Context, exchange.Named) (exchange.Swap, error)) func(context.Context, SwapNamed) (SwapState, error) {
	return func(ctx context.Context, s SwapNamed) (SwapState, error) {
		by, err := caller(ctx, s.CallID, s.Operator)
		if err != nil {
			return SwapState{}, err
		}
		quote, err := points.ParseRRN(s.Quote)
		if err != nil {
			return SwapState{}, err
		}
		done, err := verb(ctx, exchange.Named{Caller: by, Quote: quote})
		if points.ReasonOf(err) == points.OriginalClosed {
			if view, showing := a.swaps.Show(ctx, exchange.Named{Quote: quote}); showing == nil {
				err = points.Errorf(points.OriginalClosed, "swap %s is %v already; lianfen exchange show tells all of it", s.Quote, view.State)
			}
		}
		return answered(done, err)
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
	for i := range legs {
		shown.Leg = legState(&legs[i])
	}
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
	for {
		_, err := a.swaps.Expire(ctx)
		if err == nil {
			_, err = a.swaps.Turn(ctx)
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

// SwapTerms are the terms of swaps as people give them.
type SwapTerms struct {
	Program          points.ProgramID `json:"program" yaml:"program"`
	From             string           `json:"from" yaml:"from"`
	tariff.SwapRules `yaml:",inline"`
	LotsAllowed      []string `json:"lots_allowed" yaml:"lots_allowed"` // earned, bought, swapped, bonus, adjusted
}

var originNames = []string{"earned", "bought", "swapped", "bonus", "adjusted"}

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
			t.LotsAllowed = originNames[:1]
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
		t.Lots = 0
		for _, name := range t.LotsAllowed {
			at := slices.Index(originNames, strings.ToLower(name))
			if at < 0 {
				return nil, points.Errorf(points.FormatError, "swap terms %d: lots_allowed %q: want of %s", i+1, name, strings.Join(originNames, ", "))
			}
			t.Lots |= 1 << (at + 1)
		}
		entries[i] = &tariff.SwapTerms{Program: t.Program, From: from, SwapRules: t.SwapRules}
	}
	done := []Done{}
	for i, e := range entries {
		cmd := book.Command{Kind: book.KindPut, At: a.opts.Clock(), Entry: book.Entry{Swaps: e}, Operator: s.Operator, Second: s.Second, Note: s.Note}
		one, err := a.do(ctx, fmt.Sprintf("swap terms %d of %d", i+1, len(entries)), &cmd)
		if err != nil {
			return nil, err
		}
		done = append(done, one)
	}
	return done, nil
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
			SwapTerms: SwapTerms{Program: t.Program, From: t.From.String(), SwapRules: t.SwapRules, LotsAllowed: []string{}},
			Version:   t.Version, Maker: t.Maker, Checker: t.Checker, Approved: t.Approved.String(), Digest: t.Digest.String(),
			InForce: table.At(t.Program, now) == t,
		}
		for i, name := range originNames {
			if t.Lots&(1<<(i+1)) != 0 {
				v.LotsAllowed = append(v.LotsAllowed, name)
			}
		}
		list = append(list, v)
	}
	return list, nil
}
