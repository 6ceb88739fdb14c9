package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/liability"
	"github.com/lianfen/lianfen/tariff"
)

// LiabilityQuery asks what issuers owe: as of the end of Date, or now.
type LiabilityQuery struct {
	Program points.ProgramID    `json:"program,omitempty"` // 0: all
	Date    points.BusinessDate `json:"date,omitzero"`     // 0: now
}

// Liability is the points accounting of issuers.
type Liability struct {
	AsOf     points.Position     `json:"as_of"`
	Date     points.BusinessDate `json:"business_date"`
	Programs []LiabilityProgram  `json:"programs"`
	// Proved is the position at which all programmes were held against the ledger's own
	// balances: they agreed, and between it and AsOf are records of later dates only.
	Proved points.Position `json:"proved"`
}

// LiabilityProgram is one programme.
type LiabilityProgram struct {
	liability.Program
	Name  string `json:"name"`
	Scale uint8  `json:"scale"`
	// Value is Outstanding in units of 0.0001 QZP, at the CLEAR rate in force now; nil
	// where there is none.
	Value *points.Amount `json:"value,omitempty"`
}

// liabilityPart is a line of the answer: how far it is, or the whole.
type liabilityPart struct {
	Done   points.Position `json:"done,omitempty"`
	Total  points.Position `json:"total,omitempty"`
	Report *Liability      `json:"report,omitempty"`
	Fault  string          `json:"fault,omitempty"`
	Apart  bool            `json:"apart,omitempty"` // the fault is [liability.ErrApart]
}

// liability reads the journal up to a date, and tells how far it is meanwhile.
func (a *App) liability(w http.ResponseWriter, r *http.Request) {
	var q LiabilityQuery
	if err := decodeBody(w, r, &q); err != nil {
		refuse(w, err)
		return
	}
	trial, err := a.ledger.TrialBalance(r.Context())
	if err != nil {
		refuse(w, err)
		return
	}
	end := trial.Position
	if q.Date != 0 {
		next, err := firstOf(a.ledger, q.Date+1)
		if err != nil {
			refuse(w, err)
			return
		}
		if next == 1 {
			refuse(w, points.Errorf(points.UnknownOriginal, "liability: the journal begins after %v", q.Date))
			return
		}
		end = min(end, next-1)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(patient{a, w})
	report, err := a.foldLiability(r.Context(), q, end, &trial, func(done points.Position) error {
		if err := out.Encode(liabilityPart{Done: done, Total: trial.Position}); err != nil {
			return fmt.Errorf("liability: %w", err)
		}
		return http.NewResponseController(w).Flush()
	})
	part := liabilityPart{Report: &report}
	if err != nil {
		part = liabilityPart{Fault: whyEnded(r.Context(), err).Error(), Apart: errors.Is(err, liability.ErrApart)}
	}
	_ = out.Encode(part) // The peer has gone; there is nobody to tell.
}

// foldLiability folds the journal up to end, reports that, and folds on to where the trial
// balance is of, which has to agree.
func (a *App) foldLiability(
	ctx context.Context, q LiabilityQuery, end points.Position, trial *book.TrialBalance, progress func(points.Position) error,
) (Liability, error) {
	report := Liability{AsOf: end, Programs: []LiabilityProgram{}, Proved: trial.Position}
	fold := liability.NewFold(a.ledger.Record)
	told := a.opts.Clock()
	add := func(rec *book.Record) error {
		if now := a.opts.Clock(); now > told+points.Timestamp(time.Second.Microseconds()) {
			told = now
			if err := progress(rec.Outcome.Position); err != nil {
				return err
			}
		}
		return fold.Add(rec)
	}
	if err := a.ledger.Scan(ctx, 1, end, add); err != nil {
		return report, err
	}
	report.Date = fold.Date()
	programs, err := fold.Report()
	if err != nil {
		return report, err
	}
	if err := a.ledger.Scan(ctx, end+1, trial.Position, add); err != nil {
		return report, err
	}
	if err := fold.Check(balancesOf(trial)); err != nil {
		return report, err
	}
	var registry *book.Registry
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	}); err != nil {
		return report, err
	}
	if q.Program != 0 && registry.Programs[q.Program] == nil {
		return report, points.Errorf(points.UnknownOriginal, "programme %d: there is none", q.Program)
	}
	for i := range programs {
		p := LiabilityProgram{Program: programs[i]}
		if q.Program != 0 && q.Program != p.Program.Program {
			continue
		}
		if known := registry.Programs[p.Program.Program]; known != nil {
			p.Name, p.Scale, p.Issuer = known.Name, known.Scale, known.Issuer
		}
		p.Value = clearValue(registry, &p, a.opts.Clock())
		report.Programs = append(report.Programs, p)
	}
	return report, nil
}

// balancesOf are the balances that points accounting is held against.
func balancesOf(trial *book.TrialBalance) map[points.ProgramID]liability.Balances {
	all := make(map[points.ProgramID]liability.Balances)
	for _, t := range trial.Totals() {
		b := all[t.Program]
		switch t.Kind {
		case book.MemberAccount:
			b.Members += t.Amount
		case book.DebtAccount:
			b.Debts -= t.Amount
		case book.BreakageAccount:
			b.Breakage += t.Amount
		default: // others have no members behind them
		}
		all[t.Program] = b
	}
	return all
}

// clearValue is what is outstanding at the CLEAR rate in force now; nil where there is none.
func clearValue(registry *book.Registry, p *LiabilityProgram, now points.Timestamp) *points.Amount {
	if registry.Rates == nil {
		return nil
	}
	rate := registry.Rates.At(p.Program.Program, tariff.Clear, now)
	if rate == nil {
		return nil
	}
	value, ok := tariff.HalfEven(p.Total.Outstanding, rate.Num, rate.Den)
	if !ok {
		return nil
	}
	return &value
}

// Liability computes the points accounting of issuers; progress hears how far it is, about
// once a second.
func (c *Client) Liability(ctx context.Context, q LiabilityQuery, progress func(done, total uint64)) (l Liability, err error) {
	response, err := c.send(ctx, http.MethodPost, "liability", q)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	decoder := json.NewDecoder(response.Body)
	for {
		var part liabilityPart
		switch err := decoder.Decode(&part); {
		case errors.Is(err, io.EOF):
			return l, fmt.Errorf("admin liability: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return l, fmt.Errorf("admin liability: read the answer: %w", err)
		case part.Apart:
			return l, fmt.Errorf("admin liability: %w: %s", liability.ErrApart, part.Fault)
		case part.Fault != "":
			return l, fmt.Errorf("admin liability: %s", part.Fault)
		case part.Report != nil:
			return *part.Report, nil
		}
		progress(uint64(part.Done), uint64(part.Total))
	}
}
