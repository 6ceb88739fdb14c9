package settlement

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// The standard unit: what members settle in.
const (
	Unit  = files.Unit
	Scale = files.Scale
)

// OperatorFolder has the operator's copy of the net positions and of the exceptions.
const OperatorFolder = "operator"

// ManifestName is the list of all files of a run with their digests. Its own SHA-256 is
// what a run is approved and posted by.
const ManifestName = "MANIFEST"

// render writes the whole work folder anew and returns the digest of its manifest.
func (r *rendering) render(ctx context.Context, source Items) (manifest tariff.Digest, err error) {
	if err := errors.Join(os.RemoveAll(r.folder), os.MkdirAll(r.folder, folderMode)); err != nil {
		return manifest, fmt.Errorf("work folder: %w", err)
	}
	r.outputs, r.written = make([][]files.Output, r.roll.Len()), make([]written, r.roll.Len())
	if err := r.details(ctx, source); err != nil {
		return manifest, err
	}
	r.totals = make(map[tariff.Member][]netting.Position, r.roll.Len())
	for p := range r.computed.fold.Totals() {
		r.totals[p.Member] = append(r.totals[p.Member], p)
	}
	total, outputs, err := r.operatorSet()
	if err != nil {
		return manifest, err
	}
	all := prefixed(OperatorFolder, outputs)
	r.progress.begin(StepSets, uint64(len(r.setting.Parties)))
	sets := make([][]files.Output, len(r.setting.Parties))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Workers)
	for i := range r.setting.Parties {
		if !r.wanted(r.setting.Parties[i].Member) {
			continue
		}
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx) //nolint:wrapcheck // why the run ends.
			}
			party := &r.setting.Parties[i]
			set, err := r.set(party, total)
			if err != nil {
				return fmt.Errorf("files of %v: %w", party.Member, err)
			}
			sets[i] = prefixed(folderOf(party.Member), set)
			r.progress.add(1)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return manifest, err //nolint:wrapcheck // they say which member's.
	}
	all = append(all, slices.Concat(sets...)...)
	r.run.Files = uint64(len(all))
	output, err := r.put("", ManifestName, files.AppendSums(nil, all), uint64(len(all)))
	return output.Digest, err
}

func prefixed(folder string, outputs []files.Output) []files.Output {
	for i := range outputs {
		outputs[i].Name = folder + "/" + outputs[i].Name
	}
	return outputs
}

// putBytes is how much of a file is hashed and written at a time: a write of a megabyte
// costs the kernel three times as much for each byte.
const putBytes = 1 << 16

// put writes a file of a set whole.
func (r *rendering) put(sub, name string, content []byte, rows uint64) (files.Output, error) {
	w, err := r.create(sub)(name)
	if err != nil {
		return files.Output{}, fmt.Errorf("%s: %w", name, err)
	}
	d := files.NewDigest(w)
	for piece := range slices.Chunk(content, putBytes) {
		if _, err = d.Write(piece); err != nil {
			break
		}
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return files.Output{}, fmt.Errorf("%s: %w", name, err)
	}
	return files.Output{Name: name, Digest: d.Sum(), Size: d.Size(), Lines: rows}, nil
}

// operatorSet writes the net positions of all members, and all exceptions.
func (r *rendering) operatorSet() (total files.NetTotal, outputs []files.Output, err error) {
	if err := os.MkdirAll(filepath.Join(r.folder, OperatorFolder), folderMode); err != nil {
		return total, nil, fmt.Errorf("work folder: %w", err)
	}
	name := files.WholeName(files.NET, r.opts.Operator, r.run.Cut.Date, r.run.Cut.Cycle, "csv").String()
	w, err := r.create(OperatorFolder)(name)
	if err != nil {
		return total, nil, fmt.Errorf("%s: %w", name, err)
	}
	output, total, err := r.net(w, name)
	if err := errors.Join(err, w.Close()); err != nil {
		return total, nil, fmt.Errorf("%s: %w", name, err)
	}
	exceptions := r.exceptionsOf(0)
	list, err := r.put(OperatorFolder, exceptionsName(r.opts.Operator, r.run.Cut), files.AppendExceptions(nil, exceptions), uint64(len(exceptions)))
	if err != nil {
		return total, nil, err
	}
	orders, err := r.bankFiles()
	return total, append([]files.Output{output, list}, orders...), err
}

func (r *rendering) net(w io.Writer, name string) (files.Output, files.NetTotal, error) {
	n := files.NewNet(w, Scale)
	for i := range r.roll.Len() {
		rows, err := r.positions(r.roll.Member(i))
		if err != nil {
			return files.Output{}, files.NetTotal{}, err
		}
		for j := range rows {
			if err := n.Write(&rows[j]); err != nil {
				return files.Output{}, files.NetTotal{}, err //nolint:wrapcheck // the caller says which file.
			}
		}
	}
	total, err := n.Close(r.run.Key.Input, termsDigest(r.run.Key.Rates, r.run.Key.Fees))
	if err != nil {
		return files.Output{}, total, err //nolint:wrapcheck // as above.
	}
	digest, size := n.Digest()
	return files.Output{Name: name, Digest: digest, Size: size, Lines: total.Rows}, total, nil
}

// termsDigest is one digest of rates and fees, as the last line of net positions has it, and
// who shows a run.
func termsDigest(rates, fees tariff.Digest) tariff.Digest {
	return sha256.Sum256(append(slices.Clone(rates[:]), fees[:]...))
}

// positions are the rows of a member in the net position file: those by counterparty and
// code, and one of all per model.
func (r *rendering) positions(m tariff.Member) (rows []files.Position, err error) {
	party := r.party(m)
	cover, err := coverOf(party)
	if err != nil {
		return nil, err
	}
	common := files.Position{
		Run: r.run.ID, Date: r.run.Cut.Date, Cycle: r.run.Cut.Cycle, SettlementDate: r.run.Cut.Settles, Unit: Unit, Member: m, Cover: cover, Capped: party.Capped, Cap: party.Cap,
	}
	for p := range r.computed.fold.Of(m) {
		if rows, err = r.row(rows, &common, &p); err != nil {
			return nil, err
		}
	}
	for i := range r.totals[m] {
		if rows, err = r.row(rows, &common, &r.totals[m][i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// party is what is known of a member; of the operator's accounts nothing.
func (b *basis) party(m tariff.Member) *Party {
	i, found := partyAt(b.setting.Parties, m)
	if !found {
		return new(Party)
	}
	return &b.setting.Parties[i]
}

// partyAt finds a member among those of a setting.
func partyAt(parties []Party, m tariff.Member) (int, bool) {
	return slices.BinarySearchFunc(parties, m, func(p Party, m tariff.Member) int { return cmp.Compare(p.Member, m) })
}

// maxPosition is the largest position that files carry: the 18 digits of an ISO 20022
// amount. What the ledger lets a member owe in one cycle is less.
const maxPosition points.Amount = 999_999_999_999_999_999

// row appends a row: what all rows of a member have in common, and a position.
func (r *rendering) row(rows []files.Position, common *files.Position, p *netting.Position) ([]files.Position, error) {
	rows = append(rows, *common)
	row := &rows[len(rows)-1]
	row.Model, row.Counterparty, row.Code, row.Items = p.Model, p.Counterparty, p.Code, p.Items
	if err := grossOf(row, p); err != nil {
		return nil, err
	}
	if row.Whole() {
		row.Closing = row.Receive - row.Pay
	}
	row.Instruction = r.instruction(row.Member, row.Counterparty, p.Code, p.Model)
	if row.Capped {
		row.Headroom = row.Cap + min(row.Closing, 0)
	}
	return rows, nil
}

// grossOf sets what a row pays and receives.
func grossOf(row *files.Position, p *netting.Position) error {
	var ok, both bool
	row.Pay, ok = p.Pay.Amount()
	row.Receive, both = p.Receive.Amount()
	if !ok || !both || row.Pay > maxPosition || row.Receive > maxPosition {
		return points.Errorf(points.BalanceOverflow, "net position of %v: pay %s, receive %s: more than files carry", row.Member, p.Pay.Decimal(Scale), p.Receive.Decimal(Scale))
	}
	return nil
}

// coverOf is what the haircuts leave of what a member has put down.
func coverOf(party *Party) (points.Amount, error) {
	prefund, collateral, err := party.Cover.Usable()
	if err != nil {
		return 0, fmt.Errorf("cover of %v: %w", party.Member, err)
	}
	cover, ok := prefund.Add(collateral)
	if !ok {
		return 0, points.Errorf(points.BalanceOverflow, "cover of %v: more than fits", party.Member)
	}
	return cover, nil
}

// instruction names the payment that settles a member's position in a model: with all, or
// with one other under a code.
func (r *rendering) instruction(m, with tariff.Member, code tariff.Code, model netting.Model) string {
	return files.InstructionID(r.run.Cut.Date, r.run.Cut.Cycle, model, m, with, code)
}

// set writes what a member gets beside its items, and signs the whole.
func (r *rendering) set(party *Party, total files.NetTotal) ([]files.Output, error) {
	m := party.Member
	place, _ := r.roll.Index(m)
	folder := folderOf(m)
	if err := os.MkdirAll(filepath.Join(r.folder, folder), folderMode); err != nil {
		return nil, err //nolint:wrapcheck // the caller says whose.
	}
	outputs := slices.Clone(r.outputs[place])
	date, cycle := r.run.Cut.Date, r.run.Cut.Cycle
	text, _ := r.texts.Get().([]byte)
	defer func() { r.texts.Put(text) }() //nolint:staticcheck // a slice's head is small beside what it spares.
	add := func(name string, content []byte, rows uint64, err error) error {
		text = content[:0] // It may have grown.
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		output, err := r.put(folder, name, content, rows)
		outputs = append(outputs, output)
		return err
	}
	rows, err := r.positions(m)
	if err != nil {
		return nil, err
	}
	net, err := files.AppendNetCopy(text, rows, &total, Scale)
	if err := add(files.WholeName(files.NET, m, date, cycle, "csv").String(), net, uint64(len(rows)), err); err != nil {
		return nil, err
	}
	exceptions := r.exceptionsOf(m)
	if err := add(files.WholeName(files.EXC, m, date, cycle, "csv").String(), files.AppendExceptions(text, exceptions), uint64(len(exceptions)), nil); err != nil {
		return nil, err
	}
	statement, err := r.statement(party, place, rows)
	if err != nil {
		return nil, err
	}
	stm, err := files.AppendStatement(text, statement)
	if err := add(files.WholeName(files.STM, m, date, cycle, "xml").String(), stm, 0, err); err != nil {
		return nil, err
	}
	if notice := adjustments(statement, r.written[place].notices); len(notice.Entries) > 0 {
		ntf, err := files.AppendNotification(text, notice)
		if err := add(files.WholeName(files.NTF, m, date, cycle, "xml").String(), ntf, 0, err); err != nil {
			return nil, err
		}
	}
	if err := add(files.JournalName, files.AppendJournal(text, statement), 0, nil); err != nil {
		return nil, err
	}
	page := files.Page{Statement: statement, Exceptions: exceptions, Names: r.names(rows), Merchants: r.written[place].sorted(), Files: outputs}
	html := bytes.NewBuffer(text)
	err = files.WriteStatement(html, &page)
	if err := add(files.StatementName, html.Bytes(), 0, err); err != nil {
		return nil, err
	}
	return r.sign(folder, outputs)
}

// sign ends a set with its sums and their signature.
func (r *rendering) sign(folder string, outputs []files.Output) ([]files.Output, error) {
	sums := files.AppendSums(nil, outputs)
	output, err := r.put(folder, files.SumsName, sums, 0)
	if err != nil {
		return nil, err
	}
	outputs = append(outputs, output)
	if r.opts.Key == nil {
		return outputs, nil
	}
	signature, err := files.Sign(sums, r.opts.Key)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what.
	}
	output, err = r.put(folder, files.SignatureName, signature, 0)
	return append(outputs, output), err
}

// exceptionsOf are the exceptions of a member, of everybody for 0: items that were not cleared,
// and who has no bank account.
func (r *rendering) exceptionsOf(m tariff.Member) []files.Exception {
	list := r.computed.exceptions.rows(m)
	for i := range r.computed.unpaid {
		if x := &r.computed.unpaid[i]; m == 0 || slices.Contains(x.members[:], m) {
			list = append(list, x.Exception)
		}
	}
	return list
}

// sorted are the merchants, the one with most items first.
func (w *written) sorted() []files.MerchantTotal {
	var list []files.MerchantTotal
	for _, t := range w.merchants {
		list = append(list, *t)
	}
	files.SortMerchants(list)
	return list
}

func (r *rendering) names(rows []files.Position) map[tariff.Member]string {
	names := make(map[tariff.Member]string)
	for i := range rows {
		other := rows[i].Counterparty
		if i > 0 && rows[i-1].Counterparty == other {
			continue
		}
		if name := r.party(other).Name; name != "" {
			names[other] = name
		}
	}
	return names
}

// statement is what STM, day.journal and statement.html say. Each cycle is paid by itself,
// so that it opens at zero.
func (r *rendering) statement(party *Party, place int, rows []files.Position) (*files.Statement, error) {
	s := &files.Statement{
		Operator: r.opts.Name, Member: party.Member, Name: party.Name, Unit: Unit, Scale: Scale,
		Date: r.run.Cut.Date, Cycle: r.run.Cut.Cycle, SettlementDate: r.run.Cut.Settles, Sequence: r.run.Sequence,
		Temporary: r.opts.Mode == files.DryRun, Created: r.local(r.run.Created), From: r.local(r.run.Cut.Began), To: r.local(r.run.Cut.Ended),
	}
	detail := ""
	if details := r.written[place].details; len(details) == 1 {
		detail = details[0]
	}
	rate := func(row *files.Position) *files.EntryRate {
		counterparty, _ := r.roll.Index(row.Counterparty) // All of whom there are rows are on it.
		return r.written[place].rates.Of(counterparty, row)
	}
	if err := s.Follow(rows, detail, rate); err != nil {
		return nil, err //nolint:wrapcheck // it says whose.
	}
	s.Capped, s.Available = party.Capped, s.Closing+party.Cap
	return s, nil
}

// adjustments is the notification of what people have approved, an entry for each item.
func adjustments(s *files.Statement, notices []files.Entry) *files.Statement {
	notice := *s
	notice.Entries = notices
	return &notice
}

func (r *rendering) local(t points.Timestamp) time.Time { return t.Time().In(r.opts.Zone) }
