package settlement

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/settlement/table"
	"github.com/lianfen/lianfen/tariff"
)

// Export writes the items of a published run to w as a table, one pass over the cycle by one
// goroutine, so that it takes little from whoever else needs the machine. It is certain to be
// what was published: rates, fees and input have the digests that the run was published
// under, else the error has [ErrDiffers] and w has no whole file.
func (r *Runner) Export(ctx context.Context, run *Run, w io.Writer) (rows uint64, err error) {
	if run.State != Published && run.State != Confirmed {
		return 0, points.Errorf(points.NotPermitted, "settlement run %s is %v; what is exported is PUBLISHED", run.ID, run.State)
	}
	setting, err := r.journal.Setting(ctx)
	if err != nil {
		return 0, err //nolint:wrapcheck // the journal's own words.
	}
	for _, part := range []struct{ name, is, was string }{
		{"rates", hexOf(setting.Rates.Digest(run.Cut.Ended)), run.Rates}, {"fees", hexOf(setting.Fees.Digest(run.Cut.Ended)), run.Fees},
	} {
		if part.is != part.was {
			return 0, fmt.Errorf("%w: run %s of %v was published with other %s (%s, was %s)", ErrDiffers, run.ID, run.Cut, part.name, brief(part.is), brief(part.was))
		}
	}
	b, err := newBasis(&setting, r.opts.Models)
	if err != nil {
		return 0, err
	}
	e := &exporter{basis: b, run: run, out: table.NewWriter(w, table.About{Run: run.ID, Manifest: run.Manifest, Program: r.opts.Code})}
	if err := e.items(ctx, r.journal); err != nil {
		return e.out.Rows(), fmt.Errorf("export of run %s: %w", run.ID, err)
	}
	if err := e.out.Close(); err != nil {
		return e.out.Rows(), fmt.Errorf("export of run %s: %w", run.ID, err)
	}
	return e.out.Rows(), nil
}

// exporter makes rows of items.
type exporter struct {
	basis
	run    *Run
	out    *table.Writer
	worth  tariff.Valuation
	placed [maxPlaces]place
}

// items writes all rows, and proves by the input's digest and their number that they are
// those of the run.
func (x *exporter) items(ctx context.Context, source Items) error {
	var digests []tariff.Digest
	var entries uint64
	p := partial{hash: sha256.New()}
	for _, s := range spans(x.run.Cut.First, x.run.Cut.Last, chunkPositions) {
		p.hash.Reset()
		err := source.Entries(ctx, s.first, s.last, func(e *Entry) error {
			entries++
			p.digest(e)
			return x.item(e)
		})
		if err != nil {
			return err //nolint:wrapcheck // the journal's own words.
		}
		digests = append(digests, p.sum())
	}
	if input := hexOf(netting.Root(digests, entries)); input != x.run.Input || x.out.Rows() != x.run.Items {
		return fmt.Errorf("%w: %d items of input %s, were %d of %s", ErrDiffers, x.out.Rows(), brief(input), x.run.Items, brief(x.run.Input))
	}
	return nil
}

// item writes the row of an entry, if it was cleared.
func (x *exporter) item(e *Entry) error {
	if reason, _ := x.value(e, &x.worth, nil); reason != "" {
		return nil
	}
	places, known := x.places(e, &x.worth, x.placed[:0])
	if !known {
		return nil
	}
	row := x.out.Next()
	x.message(row, e)
	x.valued(row, e)
	for i := range places {
		m := x.roll.Member(places[i].index)
		switch places[i].role {
		case files.RoleAcquirer:
			row.AcquirerSide = x.side(m)
		case files.RoleIssuer:
			row.IssuerSide = x.side(m)
		case files.RoleSwapTarget:
			row.TargetSide = x.side(m)
		default:
			row.Shares += int64(x.worth.View(m).Net)
		}
	}
	for _, account := range tariff.Accounts() {
		row.House += int64(x.worth.View(account).Net)
	}
	return x.out.Done() //nolint:wrapcheck // it says what.
}

func (x *exporter) side(m tariff.Member) *table.Side {
	side, v := x.out.Side(), x.worth.View(m)
	*side = table.Side{
		Std: int64(v.Std), Interchange: int64(v.Interchange), SwitchFee: int64(v.SwitchFee), VAT: int64(v.VAT), Other: int64(v.Other), Net: int64(v.Net),
	}
	return side
}

// message fills in what the message and the record say.
func (x *exporter) message(row *table.Row, e *Entry) {
	l := &e.Line
	fillShared(l, e)
	row.ID, row.BusinessDate, row.Cycle, row.Decided = l.ID, table.Date(x.run.Cut.Date), uint32(x.run.Cut.Cycle), int64(e.At)
	row.Kind = e.Kind.String()
	if e.Kind.Undoing() {
		row.Of = e.Of.String()
	}
	row.Acquirer, row.Forwarder, row.Issuer, row.Target = uint32(l.Acquirer), uint32(l.Forwarder), uint32(l.Issuer), uint32(e.Target)
	row.STAN, row.Transmitted, row.Local = uint32(l.STAN), l.Transmitted, l.Local
	row.RRN, row.Auth, row.Response, row.Account = textOf(l.RRN[:]), textOf(l.Auth[:]), textOf(l.Response[:]), textOf(l.Account[:])
	row.MTI, row.Processing, row.EntryMode, row.Condition = uint32(l.MTI), l.Processing, uint32(l.EntryMode), uint32(l.Condition)
	row.Category, row.Terminal, row.Merchant = uint32(l.Category), textOf(l.Terminal[:]), textOf(l.Merchant[:])
	row.Original, row.OriginalDate, row.Flags = l.Original, table.Date(l.OriginalDate), l.Flags.String()
}

// valued fills in what the item is worth.
func (x *exporter) valued(row *table.Row, e *Entry) {
	program := x.setting.Programs[e.Program]
	row.Program, row.Scale, row.Amount, row.StdScale, row.Value = program.Code, uint32(program.Scale), int64(e.Amount), Scale, int64(x.worth.Std)
	row.Num, row.Den = 1, 1
	if rate := x.worth.Rate; rate != nil {
		row.RateVersion, row.Num, row.Den = rate.Version, rate.Num, rate.Den
	}
	if e.original() != tariff.KindSWP {
		return
	}
	target := x.setting.Programs[e.TargetProgram]
	row.Swap = x.out.Swap()
	row.Swap.Program, row.Swap.Scale, row.Swap.Granted = target.Code, uint32(target.Scale), int64(x.worth.Granted)
	row.Swap.Num, row.Swap.Den = 1, 1
	if rate := x.worth.TargetRate; rate != nil {
		row.Swap.RateVersion, row.Swap.Num, row.Swap.Den = rate.Version, rate.Num, rate.Den
	}
}

// textOf is a field of fixed width without what fills it.
func textOf(field []byte) string { return string(bytes.TrimRight(field, "\x00 ")) }
