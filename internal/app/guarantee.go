package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Guarantees are what stands in for a member that fails, beside its own cover.
type Guarantees struct {
	Fund   book.Fund    `json:"fund"`
	Limits []book.Grant `json:"limits"` // by who has granted them, then to whom
}

// FundSetting enters what the guarantee fund has from now on.
type FundSetting struct {
	book.Fund
	Operator string `json:"operator"`
	Second   string `json:"second,omitempty"`
	Note     string `json:"note"`
}

// GrantSetting enters a bilateral limit.
type GrantSetting struct {
	book.Grant
	Operator string `json:"operator"`
	Second   string `json:"second,omitempty"`
	Note     string `json:"note"`
}

func (a *App) guarantees(ctx context.Context, _ nothing) (Guarantees, error) {
	g := Guarantees{Limits: []book.Grant{}}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		if registry.Fund != nil {
			g.Fund = *registry.Fund
		}
		for _, grant := range registry.Grants {
			g.Limits = append(g.Limits, *grant)
		}
		return nil
	})
	slices.SortFunc(g.Limits, func(x, y book.Grant) int { return cmp.Or(cmp.Compare(x.By, y.By), cmp.Compare(x.To, y.To)) })
	return g, err
}

func (a *App) setFund(ctx context.Context, s FundSetting) (Done, error) {
	if err := signed(ctx, "guarantee fund", &s.Operator, s.Second); err != nil {
		return Done{}, err
	}
	if s.Operator == "" || s.Note == "" {
		return Done{}, points.Errorf(points.FormatError, "guarantee fund: say who enters it, and why")
	}
	return a.do(ctx, "guarantee fund", &book.Command{Kind: book.KindPut, At: a.opts.Clock(), Entry: book.Entry{Fund: &s.Fund}, Operator: s.Operator, Second: s.Second, Note: s.Note})
}

func (a *App) setGrant(ctx context.Context, s GrantSetting) (Done, error) {
	if err := signed(ctx, "limit", &s.Operator, s.Second); err != nil {
		return Done{}, err
	}
	if s.Operator == "" || s.Note == "" {
		return Done{}, points.Errorf(points.FormatError, "limit: say who enters it, and why")
	}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		return cmp.Or(b.Registry().WhyNoMember(s.By), b.Registry().WhyNoMember(s.To))
	})
	if err != nil {
		return Done{}, fmt.Errorf("limit: %w", err)
	}
	return a.do(ctx, fmt.Sprintf("limit that %v grants %v", s.By, s.To), &book.Command{Kind: book.KindPut, At: a.opts.Clock(), Entry: book.Entry{Grant: &s.Grant}, Operator: s.Operator, Second: s.Second, Note: s.Note})
}

// settleDefault tells what it would come to if a member did not pay for a cycle: of its run
// under the tables as they were then, of a cycle without a run under those of now.
func (a *App) settleDefault(ctx context.Context, ask SettleAsk) (Settled, error) {
	date, cycle, err := a.asked(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	side, err := a.settlement.Now(ctx, date, cycle)
	if err != nil {
		return Settled{}, err
	}
	run, err := a.settlement.Of(date, cycle)
	if ask.Run != "" {
		run, err = a.settlement.Load(ask.Run)
	}
	if err == nil && run != nil {
		side, err = a.settlement.Side(ctx, run)
	}
	if err != nil {
		return Settled{}, err
	}
	failure, err := a.settlement.Fail(ctx, side, ask.Member)
	return Settled{Outcome: SettleDone, Default: failure}, err
}
