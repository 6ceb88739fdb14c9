package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// demoSwap is a swap of the demonstration: what is asked for, what is done with the quote,
// and what has to come of it, worked out by hand.
type demoSwap struct {
	member     points.MemberID
	from, into points.ProgramID
	in, out    points.Amount // what is handed in, or wanted at least
	acts       string        // of the desk, behind the quote
	state      string
	want       [6]points.Amount // in, out, bonus; value, fee, cost in 0.0001 QZP
}

// demoSwaps go both ways between miles and stars. A mile is taken at 1.20 QZP and given at
// 1.30, a star at 0.75 and 0.85; 1 % of the value is the fee; 100 stars that are handed out
// bring 5 more. So 400 stars are worth 300.0000, less 3.0000 buy 228 miles for 296.4000.
var demoSwaps = []demoSwap{ //nolint:gochecknoglobals // never written.
	{1002, 902, 901, 400, 0, "swap", "done", [6]points.Amount{400, 228, 0, 3_000_000, 30_000, 2_964_000}},
	{1003, 901, 902, 100, 0, "lock, swap", "done", [6]points.Amount{100, 139, 5, 1_200_000, 12_000, 1_181_500}},
	{1002, 902, 901, 0, 50, "swap", "done", [6]points.Amount{88, 50, 0, 660_000, 6_600, 650_000}}, // 87 give 49
	{1003, 901, 902, 50, 0, "lock, swap", "done", [6]points.Amount{50, 69, 0, 600_000, 6_000, 586_500}},
	{1002, 902, 901, 100, 0, "lock, cancel", "cancelled", [6]points.Amount{100, 57, 0, 750_000, 7_500, 741_000}},
	{1003, 901, 902, 60, 0, "lock", "expired", [6]points.Amount{60, 83, 0, 720_000, 7_200, 705_500}},
}

// demoLock is how long a lock is good for in the demonstration, whose clock jumps over it.
const demoLock = time.Minute

// swapTerms puts the rates and terms of swaps in force from a moment on.
func (d *demo) swapTerms(ctx context.Context, client *app.Client, from string) error {
	rates := []app.RateTerms{
		{Program: 901, Side: "BUY", From: from, Value: "1.2", SpreadPPM: 10_000},
		{Program: 901, Side: "SELL", From: from, Value: "1.3"},
		{Program: 902, Side: "BUY", From: from, Value: "0.75", SpreadPPM: 10_000},
		{Program: 902, Side: "SELL", From: from, Value: "0.85"},
	}
	if _, err := client.ProposeRates(ctx, app.RateSetting{Rates: rates, Operator: "demo", Second: "demo-second", Note: "opening rates of swaps"}); err != nil {
		return err
	}
	terms, err := app.ReadSwapTerms(strings.NewReader(fmt.Sprintf(`
- {program: 901, from: %[1]q, lots_allowed: [earned, adjusted], lock_seconds: %[2]d}
- {program: 902, from: %[1]q, lots_allowed: [earned, adjusted], lock_seconds: %[2]d, swap_lock_days: 5, bonus_per: 100, bonus_add: 5, bonus_budget: 1000}
`, from, int(demoLock.Seconds()))))
	if err != nil {
		return err
	}
	_, err = client.ProposeSwapTerms(ctx, app.SwapTermsSetting{Terms: terms, Operator: "demo", Second: "demo-second", Note: "opening terms of swaps"})
	return err
}

// swaps lets members turn points of one programme into another's.
func (d *demo) swaps(ctx context.Context, client *app.Client) error {
	for i := range demoSwaps {
		s := &demoSwaps[i]
		state, err := client.QuoteSwap(ctx, app.SwapAsked{Member: s.member, From: s.from, Into: s.into, In: s.in, Out: s.out})
		if err != nil {
			return err
		}
		for act := range strings.SplitSeq(s.acts, ", ") {
			call := map[string]func(context.Context, app.SwapNamed) (app.SwapState, error){"lock": client.LockSwap, "swap": client.Swap, "cancel": client.CancelSwap}[act]
			if _, err := call(ctx, app.SwapNamed{Quote: state.Quote}); err != nil {
				return err
			}
		}
		d.report.Swaps = append(d.report.Swaps, state)
	}
	if err := d.overTime(ctx, client); err != nil {
		return err
	}
	t := new(table)
	t.row("MEMBER", "FROM", "IN", "INTO", "OUT", "BONUS", "VALUE", "FEE", "COST", "REST", "ACTS", "STATE")
	wrong := 0
	for i := range demoSwaps {
		s := &demoSwaps[i]
		state, err := client.ShowSwap(ctx, app.SwapNamed{Quote: d.report.Swaps[i].Quote})
		if err != nil {
			return err
		}
		d.report.Swaps[i] = state
		if state.State != s.state || [6]points.Amount{state.In, state.Out, state.Bonus, state.Value, state.Fee, state.Cost} != s.want || state.Rest != state.Value-state.Fee-state.Cost {
			wrong++
		}
		qzp := func(a points.Amount) string { return a.Decimal(settlement.Scale) }
		t.row(state.Member, state.From, state.In, state.Into, state.Out, state.Bonus, qzp(state.Value), qzp(state.Fee), qzp(state.Cost), qzp(state.Rest), s.acts, state.State)
	}
	d.check("swaps both ways, one with a bonus, one cancelled, one expired, came to what was worked out by hand", wrong == 0, fmt.Sprintf("%d of %d", len(demoSwaps)-wrong, len(demoSwaps)))
	return d.show("Swaps", t)
}

// overTime lets the switch's clock jump over the time of the locks, and waits until it has
// ended those that nobody has executed.
func (d *demo) overTime(ctx context.Context, client *app.Client) error {
	d.early.Add(-(demoLock + time.Second).Microseconds())
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for range 600 {
		list, err := client.SwapQueue(ctx)
		if err != nil || len(list) == 0 {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx) //nolint:wrapcheck // why the demonstration ends.
		}
	}
	return fmt.Errorf("demo: a lock whose time is over was not ended")
}

// netted checks that the swaps net in the night with everything else, and that the books
// close to zero behind it, in every unit.
func (d *demo) netted(ctx context.Context, client *app.Client, folder string, run *settlement.Run) error {
	done := 0
	for i := range demoSwaps {
		if demoSwaps[i].state == "done" {
			done++
		}
	}
	items, sum, err := swapsNetted(filepath.Join(folder, settlement.OperatorFolder), run)
	if err != nil {
		return err
	}
	d.check("the swaps that were executed net in the night with redemptions, and all members sum to zero", items == done && sum == 0, fmt.Sprintf("%d swaps among %d items", items, run.Items))
	totals, err := client.Totals(ctx)
	if err != nil {
		return err
	}
	clearing, sums := 0, map[points.ProgramID]points.Amount{}
	for _, t := range totals.Lines {
		sums[t.Program] += t.Amount
		if t.Account == book.ClearingAccount && t.Amount != 0 {
			clearing++
		}
	}
	for program, amount := range sums {
		if amount == 0 {
			delete(sums, program)
		}
	}
	d.check("after the night every clearing account is at zero, and so is the sum of every unit", clearing == 0 && len(sums) == 0, fmt.Sprintf("%d clearing accounts and %d units are not", clearing, len(sums)))
	return nil
}

// swapsNetted reads from the operator's net position file how many swaps stand between the
// two issuers, and what the lines of all members sum to.
func swapsNetted(folder string, run *settlement.Run) (items int, sum int64, err error) {
	matches, err := filepath.Glob(filepath.Join(folder, "QZ_NET_*.csv"))
	if err != nil || len(matches) != 1 {
		return 0, 0, fmt.Errorf("demo: the net position file of run %s: %w", run.ID, err)
	}
	file, err := os.Open(matches[0])
	if err != nil {
		return 0, 0, fmt.Errorf("demo: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was read.
	rows := csv.NewReader(file)
	rows.FieldsPerRecord = -1
	all, err := rows.ReadAll()
	if err != nil {
		return 0, 0, fmt.Errorf("demo: %w", err)
	}
	for _, row := range all {
		switch {
		case len(row) < 13:
		case row[6] == "10000001" && row[8] == "SWP":
			n, err := strconv.Atoi(row[9])
			if err != nil {
				return 0, 0, fmt.Errorf("demo: items of a net position: %w", err)
			}
			items += n
		case row[7] == "*" && row[8] == "*":
			net, err := strconv.ParseInt(strings.Replace(row[12], ".", "", 1), 10, 64)
			if err != nil {
				return 0, 0, fmt.Errorf("demo: a net position: %w", err)
			}
			sum += net
		}
	}
	return items, sum, nil
}
