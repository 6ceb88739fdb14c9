package settlement

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Bank is what positions are paid by where a standard point has a price in money: the
// operator's settlement account, and those of members.
type Bank struct {
	Price      files.Price
	Settlement files.Account
	Members    map[tariff.Member]files.Account
}

// digest is of all that payments are made by. Who approves a run approves these with it:
// whoever could put another account in place of a member's would be paid in its stead.
func (b *Bank) digest() tariff.Digest {
	text := fmt.Appendf(nil, "lianfen bank 1\nprice %q %d %d/%d\nsettlement %q %q\n", b.Price.Currency, b.Price.Scale, b.Price.Num, b.Price.Den, b.Settlement.Bank, b.Settlement.Number)
	for _, m := range slices.Sorted(maps.Keys(b.Members)) {
		text = fmt.Appendf(text, "member %d %q %q\n", m, b.Members[m].Bank, b.Members[m].Number)
	}
	return sha256.Sum256(text)
}

// pay works out what is paid for the positions of a run; nothing where there is no price.
func (r *Runner) pay(run *Run, b *basis, all *computed) error {
	run.Payments, run.Bank = nil, ""
	if r.opts.Bank == nil {
		return nil
	}
	var rows []files.Position
	for p := range all.fold.Totals() {
		row := files.Position{Member: p.Member, Model: p.Model, Instruction: run.instruction(p.Member, p.Model)}
		if err := grossOf(&row, &p); err != nil {
			return err
		}
		rows = append(rows, row)
	}
	payments := &files.Payments{
		Price: r.opts.Bank.Price, Settlement: r.opts.Bank.Settlement, Operator: r.opts.Operator, Name: r.opts.Name,
		Run: run.ID, Date: run.Cut.Date, Cycle: run.Cut.Cycle, Settles: run.Cut.Settles, Created: run.Created.Time().In(r.opts.Zone),
	}
	if err := payments.Pay(rows, func(m tariff.Member) (string, files.Account) { return b.party(m).Name, r.opts.Bank.Members[m] }); err != nil {
		return err //nolint:wrapcheck // it names the payment.
	}
	all.payments = payments
	for _, pay := range payments.LeftOut() {
		all.unpaid = append(all.unpaid, exception{members: [3]tariff.Member{pay.Member}, Exception: payments.Exception(&pay)})
	}
	run.Payments, run.Bank = &payments.Totals, hexOf(r.opts.Bank.digest())
	return nil
}

// instruction names the payment that settles a member's position in a model.
func (run *Run) instruction(m tariff.Member, model netting.Model) string {
	return files.InstructionID(run.Cut.Date, run.Cut.Cycle, model, m, 0, 0)
}

// checkBank asks whether all are paid by the bank's files, and whether somebody has approved
// a run with this price and these accounts before.
func (r *Runner) checkBank(run *Run, c *checker, all *computed) error {
	if all.payments == nil {
		return nil
	}
	t := &all.payments.Totals
	found := fmt.Sprintf("%d pay in %s, %d are paid %s %s; the house's own share %s, rounding %s",
		t.Payers, t.In.Decimal(t.Scale), t.Payees, t.Out.Decimal(t.Scale), t.Currency, t.Own.Decimal(t.Scale), t.Rounding.Decimal(t.Scale))
	if len(all.unpaid) > 0 {
		found = fmt.Sprintf("%d are left out, since no account of theirs is configured; %s", len(all.unpaid), all.unpaid[0].What)
	}
	c.add("in", CheckBank, SecondPerson, len(all.unpaid) == 0, found,
		"void the run, configure the accounts under settlement.accounts and run it anew; or approve it, and pay those by hand")
	runs, err := r.shelf.all()
	if err != nil {
		return err
	}
	var before *Run
	for _, other := range runs {
		if other.Bank != "" && (other.State == Published || other.State == Confirmed) {
			before = other
		}
	}
	same, found := before != nil && before.Bank == run.Bank, "no run was published with a price and accounts yet: "+brief(run.Bank)
	switch {
	case same:
		found = fmt.Sprintf("as in run %s: %s", before.ID, brief(run.Bank))
	case before != nil:
		found = fmt.Sprintf("not those of run %s: %s, were %s", before.ID, brief(run.Bank), brief(before.Bank))
	}
	c.add("in", CheckAccounts, SecondPerson, same, found,
		"compare settlement.cash_price and settlement.accounts with what was agreed in writing, not with who has typed them, before you approve")
	return nil
}

// bankFiles writes the orders to the bank, and the list of what becomes of every position.
func (r *rendering) bankFiles() (outputs []files.Output, err error) {
	p := r.computed.payments
	if p == nil {
		return nil, nil
	}
	ins, inErr := p.AppendPayIns(nil)
	outs, outErr := p.AppendPayOuts(nil)
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, err
	}
	for _, file := range []struct {
		kind files.File
		ext  string
		text []byte
		rows uint64
	}{{files.PAY, "csv", p.AppendPayments(nil), uint64(len(p.List))}, {files.PYI, "xml", ins, p.Totals.Payers}, {files.PYO, "xml", outs, p.Totals.Payees}} {
		if len(file.text) == 0 {
			continue // Nobody pays, or nobody is paid: an empty message is none.
		}
		output, err := r.put(OperatorFolder, files.WholeName(file.kind, r.opts.Operator, r.run.Cut.Date, r.run.Cut.Cycle, file.ext).String(), file.text, file.rows)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, output)
	}
	return outputs, nil
}

// maxManifest bounds the list of a run's files that is read by whoever has the folder: half a
// million files.
const maxManifest = 1 << 26

// OperatorSums reads the digests of the operator's files out of a run's list of files; where
// there is no list, none.
func OperatorSums(folder string) ([]files.Output, error) {
	path := filepath.Join(folder, ManifestName)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && (!info.Mode().IsRegular() || info.Size() > maxManifest): // To read a pipe may never end.
		return nil, points.Errorf(points.FormatError, "%s: want a file of at most %d bytes", path, maxManifest)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("files of the run: %w", err)
	}
	var mine []byte
	for line := range strings.Lines(string(text)) {
		if digest, name, ok := strings.Cut(line, "  "+OperatorFolder+"/"); ok {
			mine = append(mine, digest+"  "+name...)
		}
	}
	sums, broken, err := files.ParseSums(bytes.NewReader(mine))
	if err == nil && len(broken) > 0 {
		err = broken[0]
	}
	return sums, err //nolint:wrapcheck // it says which line.
}
