package app

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/reconcile"
	"github.com/lianfen/lianfen/tariff"
)

// PartnerFile is a file of one member: its detail file (DET, one part) or its CSV.
type PartnerFile struct {
	Member uint64 `json:"member"`
	Path   string `json:"path"` // absolute, as the serving process sees it
}

// Reconciling asks for the comparison of a business date.
type Reconciling struct {
	Date      points.BusinessDate `json:"date"`
	Acquirers []PartnerFile       `json:"acquirers"`
	Issuers   []PartnerFile       `json:"issuers"`
}

// Reconciled is what came of it. Exceptions and what is in doubt stand in Folder, which is
// made from the files and the journal, and can be made again.
type Reconciled struct {
	Date       points.BusinessDate        `json:"date"`
	Folder     string                     `json:"folder"`
	Before     points.BusinessDate        `json:"before,omitzero"` // whose lines in doubt were looked for again
	Open       bool                       `json:"date_still_open,omitempty"`
	ByTotals   []string                   `json:"equal_by_totals,omitempty"` // sides that were equal as a whole
	Lines      map[string]uint64          `json:"lines"`
	Classes    map[string]reconcile.Count `json:"classes"`
	Unchecked  uint64                     `json:"unchecked"`
	InDoubt    uint64                     `json:"in_doubt"`
	Timing     uint64                     `json:"timing"`
	Exceptions uint64                     `json:"exceptions"`
	BadRows    uint64                     `json:"bad_rows"`
	Online     []OnlineTotals             `json:"online_totals"` // 0500/0510 of acquirers
	Millis     int64                      `json:"milliseconds"`
}

// OnlineTotals is an acquirer's close of the date.
type OnlineTotals struct {
	Acquirer points.AcquirerID `json:"acquirer"`
	RRN      string            `json:"rrn"`
	Equal    bool              `json:"equal"`
}

// Exception is one line for people.
type Exception struct {
	ID    string              `json:"id"`
	Date  points.BusinessDate `json:"date"`
	Class reconcile.Class     `json:"class"`
	// Doubt: it is looked for again with the next date; Timing: of another date, and closed.
	Doubt  bool                `json:"in_doubt,omitempty"`
	Timing bool                `json:"timing,omitempty"`
	Owner  string              `json:"owner"` // who is to look into it
	Since  points.BusinessDate `json:"since,omitzero"`
	Action string              `json:"suggested_action,omitempty"`
	RRN    string              `json:"rrn,omitempty"`
	Ours   *ExceptionLine      `json:"switch,omitempty"`
	Acq    *ExceptionLine      `json:"acquirer,omitempty"`
	Iss    *ExceptionLine      `json:"issuer,omitempty"`
	File   string              `json:"file,omitempty"` // of a row that could not be read
	Line   uint64              `json:"line,omitempty"`
	Raw    []byte              `json:"raw,omitempty"`
	Why    string              `json:"why,omitempty"`
	Acts   []ReconAct          `json:"acts,omitempty"`
}

// ExceptionLine is what one side says.
type ExceptionLine struct {
	Line     uint64              `json:"line"`
	CID      uint64              `json:"cid,omitempty"`
	Acquirer points.AcquirerID   `json:"acquirer"`
	Issuer   points.IssuerID     `json:"issuer,omitempty"`
	STAN     points.STAN         `json:"stan"`
	When     uint64              `json:"transmitted"`
	Kind     string              `json:"kind"`
	Asset    string              `json:"asset"`
	Amount   int64               `json:"amount"`
	Status   string              `json:"status,omitempty"`
	Fee      int64               `json:"fee"`
	Date     points.BusinessDate `json:"business_date"`
}

func exceptionLine(l *reconcile.Line, side reconcile.Side) *ExceptionLine {
	if l == nil {
		return nil
	}
	return &ExceptionLine{
		Line: l.Number, CID: l.CID, Acquirer: l.Acquirer, Issuer: l.Issuer, STAN: l.STAN, When: l.When, Kind: string(l.Kind[:]),
		Asset: strings.TrimSpace(string(l.Asset[:])), Amount: l.Amount, Status: strings.Trim(string(l.Status[:]), "\x00"), Fee: l.Fees[side], Date: l.Date,
	}
}

// Names of what a run leaves in its folder.
const (
	exceptionsName = "exceptions.jsonl"
	doubtsName     = "doubts.jsonl"
	reportName     = "report.json"
	actsName       = "acts.jsonl"
)

func (a *App) reconFolder(date points.BusinessDate) string {
	return filepath.Join(a.opts.Config.Data, "recon", date.String())
}

// maxPartnerFiles bounds the files of one run.
const maxPartnerFiles = 2000

// reconcile compares a business date with the files of partners.
func (a *App) reconcile(ctx context.Context, q Reconciling) (result Reconciled, err error) {
	began := a.opts.Clock()
	what := fmt.Sprintf("reconcile %v", q.Date)
	switch {
	case !q.Date.Valid():
		return result, points.Errorf(points.FormatError, "%s: want a business date", what)
	case len(q.Acquirers)+len(q.Issuers) == 0:
		return result, points.Errorf(points.FormatError, "%s: name a file of an acquirer or an issuer", what)
	case len(q.Acquirers)+len(q.Issuers) > maxPartnerFiles:
		return result, points.Errorf(points.OverCountLimit, "%s: %d files, want at most %d", what, len(q.Acquirers)+len(q.Issuers), maxPartnerFiles)
	}
	for _, f := range slices.Concat(q.Acquirers, q.Issuers) {
		if f.Member == 0 || !filepath.IsAbs(f.Path) {
			return result, points.Errorf(points.FormatError, "%s: %q of member %d: want a member's number and an absolute path", what, f.Path, f.Member)
		}
	}
	a.reconciling.Lock()
	defer a.reconciling.Unlock()
	folder := a.reconFolder(q.Date)
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return result, fmt.Errorf("%s: %w", what, err)
	}
	partial := folder + unfinished
	if err := errors.Join(os.RemoveAll(partial), os.Mkdir(partial, 0o700)); err != nil {
		return result, fmt.Errorf("%s: %w", what, err)
	}
	run := &reconRun{app: a, q: q, folder: partial, result: Reconciled{Date: q.Date, Folder: folder, Lines: map[string]uint64{}, Classes: map[string]reconcile.Count{}}}
	if err := run.do(ctx); err != nil {
		return result, errors.Join(fmt.Errorf("%s: %w", what, err), os.RemoveAll(partial))
	}
	run.result.Millis = int64(a.opts.Clock()-began) / 1000
	if err := errors.Join(writeWhole(filepath.Join(partial, reportName), run.result), os.RemoveAll(folder), os.Rename(partial, folder)); err != nil {
		return result, fmt.Errorf("%s: %w", what, err)
	}
	return run.result, nil
}

func writeWhole(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// reconRun is one comparison under way.
type reconRun struct {
	app        *App
	q          Reconciling
	folder     string
	result     Reconciled
	exceptions *jsonLines
	doubts     *jsonLines
	closers    []func() error
	spilled    int
	seen       map[string]int // identities of exceptions, to tell equal ones apart
}

// doubt is a line that is looked for again, as it is kept.
type doubt struct {
	Side reconcile.Side `json:"side"`
	Line reconcile.Line `json:"line"`
}

func (r *reconRun) do(ctx context.Context) (err error) {
	defer func() {
		for _, closer := range slices.Backward(r.closers) {
			err = errors.Join(err, closer())
		}
	}()
	r.seen = make(map[string]int)
	if r.exceptions, err = r.create(exceptionsName); err != nil {
		return err
	}
	if r.doubts, err = r.create(doubtsName); err != nil {
		return err
	}
	before, err := r.doubtsBefore()
	if err != nil {
		return err
	}
	ours, err := r.ours(ctx, before[reconcile.Switch])
	if err != nil {
		return err
	}
	var theirs [3]reconcile.Lines
	for side, list := range map[reconcile.Side][]PartnerFile{reconcile.Acquirer: r.q.Acquirers, reconcile.Issuer: r.q.Issuers} {
		if theirs[side], err = r.theirs(side, list, before[side]); err != nil {
			return err
		}
	}
	sum, err := reconcile.Compare(ours, theirs[reconcile.Acquirer], theirs[reconcile.Issuer], reconcile.Hands{
		Found: r.found,
		Doubt: func(side reconcile.Side, line *reconcile.Line) error { return r.doubts.write(doubt{side, *line}) },
	})
	if err != nil {
		return err
	}
	for side, n := range sum.Lines {
		r.result.Lines[reconcile.Side(side).String()] = n
	}
	for _, class := range reconcile.Classes() {
		if count := sum.Classes[class]; count.Count > 0 {
			r.result.Classes[class.String()] = count
		}
	}
	r.result.Unchecked, r.result.InDoubt, r.result.Timing = sum.Unchecked, sum.InDoubt, sum.Timing
	r.result.Online, err = r.online(ctx)
	return err
}

// jsonLines writes one value a line.
type jsonLines struct {
	out     *bufio.Writer
	encoder *json.Encoder
}

func (j *jsonLines) write(v any) error {
	if err := j.encoder.Encode(v); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (r *reconRun) create(name string) (*jsonLines, error) {
	file, err := os.OpenFile(filepath.Join(r.folder, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	j := &jsonLines{out: bufio.NewWriter(file)}
	j.encoder = json.NewEncoder(j.out)
	r.closers = append(r.closers, func() error { return errors.Join(j.out.Flush(), file.Sync(), file.Close()) })
	return j, nil
}

// Create makes a file to sort in; see [reconcile.Spill].
func (r *reconRun) Create() (reconcile.SpillFile, error) {
	r.spilled++
	file, err := os.OpenFile(filepath.Join(r.folder, fmt.Sprintf("sort-%d", r.spilled)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	return spilled{file}, nil
}

type spilled struct{ *os.File }

// Close removes the file.
func (s spilled) Close() error { return errors.Join(s.File.Close(), os.Remove(s.Name())) }

// sorted puts a source in order.
func (r *reconRun) sorted(source reconcile.Lines) (reconcile.Lines, error) {
	s, err := reconcile.Sort(source, r, 0)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, s.Close)
	return s, nil
}

// doubtsBefore reads what the latest date before left in doubt.
func (r *reconRun) doubtsBefore() (before [3][]reconcile.Line, err error) {
	dates, err := r.app.reconDates()
	if err != nil {
		return before, err
	}
	for _, date := range slices.Backward(dates) {
		if date >= r.q.Date {
			continue
		}
		r.result.Before = date
		err := eachLine(filepath.Join(r.app.reconFolder(date), doubtsName), func(d *doubt) error {
			if d.Side > reconcile.Issuer {
				return points.Errorf(points.FormatError, "a line of side %d", d.Side)
			}
			before[d.Side] = append(before[d.Side], d.Line)
			return nil
		})
		return before, err
	}
	return before, nil
}

// eachLine reads a file of JSON values, one a line.
func eachLine[T any](path string, visit func(*T) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	decoder := json.NewDecoder(bufio.NewReader(file))
	for {
		var v T
		if err := decoder.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := visit(&v); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}

// reconDates are the dates that were compared, ascending.
func (a *App) reconDates() (dates []points.BusinessDate, err error) {
	entries, err := os.ReadDir(filepath.Join(a.opts.Config.Data, "recon"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("recon: %w", err)
	}
	for _, entry := range entries {
		if date, err := points.ParseBusinessDate(entry.Name()); err == nil {
			dates = append(dates, date)
		}
	}
	slices.Sort(dates)
	return dates, nil
}

// theirs are the lines of one side, in order.
func (r *reconRun) theirs(side reconcile.Side, list []PartnerFile, before []reconcile.Line) (reconcile.Lines, error) {
	if len(list) == 0 && len(before) == 0 {
		return nil, nil //nolint:nilnil // nothing is expected of this side.
	}
	sources := []reconcile.Lines{reconcile.Slice(before)}
	for _, f := range list {
		source, err := r.open(side, f)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	return r.sorted(&chain{sources: sources})
}

// chain gives one source after the other.
type chain struct{ sources []reconcile.Lines }

// Next gives the next line.
func (c *chain) Next(line *reconcile.Line) (bool, error) {
	for len(c.sources) > 0 {
		ok, err := c.sources[0].Next(line)
		if ok || err != nil {
			return ok, err //nolint:wrapcheck // the source says which file.
		}
		c.sources = c.sources[1:]
	}
	return false, nil
}

// open opens a partner's file: a detail file begins with HD.
func (r *reconRun) open(side reconcile.Side, f PartnerFile) (reconcile.Lines, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fmt.Errorf("file of member %d: %w", f.Member, err)
	}
	r.closers = append(r.closers, file.Close)
	in := bufio.NewReader(file)
	bad := func(b reconcile.BadLine) error { return r.badRow(side, f, b) }
	named := func(lines reconcile.Lines, err error) (reconcile.Lines, error) {
		if err != nil {
			return nil, points.Errorf(points.FormatError, "%s of %v %d is refused: %w", f.Path, side, f.Member, err)
		}
		return &fileLines{lines: lines, file: f, side: side}, nil
	}
	if start, _ := in.Peek(2); string(start) == "HD" {
		d, err := reconcile.NewDetail(in, side, bad)
		if err == nil && (d.Header().Date != r.q.Date || d.Header().Receiver != tariff.Member(f.Member)) { //nolint:gosec // compared, not used.
			err = points.Errorf(points.FormatError, "it is of member %v on %v", d.Header().Receiver, d.Header().Date)
		}
		return named(d, err)
	}
	c, err := reconcile.NewCSV(in, side, r.q.Date, bad)
	return named(c, err)
}

// fileLines says in an error which file it is of, and that its lines are the member's.
type fileLines struct {
	lines reconcile.Lines
	file  PartnerFile
	side  reconcile.Side
}

// Next gives the next line.
func (n *fileLines) Next(line *reconcile.Line) (bool, error) {
	ok, err := n.lines.Next(line)
	if err != nil {
		return false, points.Errorf(points.FormatError, "%s of %v %d is refused: %w", n.file.Path, n.side, n.file.Member, err)
	}
	if ok && n.side == reconcile.Issuer && line.Issuer == 0 {
		line.Issuer = points.IssuerID(n.file.Member)
	}
	return ok, nil
}

func (r *reconRun) badRow(side reconcile.Side, f PartnerFile, b reconcile.BadLine) error {
	r.result.BadRows++
	r.result.Exceptions++
	e := Exception{
		Date: r.q.Date, Class: reconcile.BadRow, Owner: fmt.Sprintf("%v %d", side, f.Member), Since: r.q.Date, Action: "ask for the row again",
		File: f.Path, Line: b.Number, Raw: b.Raw, Why: b.Why,
	}
	return r.put(&e, fmt.Sprint(side, f.Member, b.Number))
}

// put writes an exception under an identity that is the same when the run is done again.
func (r *reconRun) put(e *Exception, of string) error {
	text := fmt.Sprint(e.Date, e.Class, of)
	r.seen[text]++
	digest := sha256.Sum256(fmt.Appendf(nil, "%s/%d", text, r.seen[text]))
	e.ID = hex.EncodeToString(digest[:6])
	return r.exceptions.write(e)
}

// found writes a difference down.
func (r *reconRun) found(f *reconcile.Finding) error {
	e := Exception{
		Date: r.q.Date, Class: f.Class, Doubt: f.InDoubt, Timing: f.Timing, Action: suggested(f.Class), Since: r.q.Date,
		Ours: exceptionLine(f.Lines[reconcile.Switch], f.Side), Acq: exceptionLine(f.Lines[reconcile.Acquirer], reconcile.Acquirer), Iss: exceptionLine(f.Lines[reconcile.Issuer], reconcile.Issuer),
	}
	if !f.InDoubt && !f.Timing {
		r.result.Exceptions++
	}
	e.Owner = "switch"
	var of strings.Builder
	of.WriteString(f.Side.String())
	for side, line := range f.Lines {
		if line == nil {
			continue
		}
		e.RRN = string(line.RRN[:])
		e.Since = min(e.Since, line.Date)
		switch f.Side {
		case reconcile.Acquirer:
			e.Owner = fmt.Sprintf("acquirer %d", line.Acquirer)
		case reconcile.Issuer:
			e.Owner = fmt.Sprintf("issuer %d", line.Issuer)
		default:
		}
		fmt.Fprint(&of, side, line.Key, line.Number)
	}
	return r.put(&e, of.String())
}

// suggested is what usually ends a difference of a class.
func suggested(class reconcile.Class) string {
	switch class {
	case reconcile.MissingIss, reconcile.MissingAcq:
		return ActionPost
	case reconcile.MissingSwitch:
		return ActionSuspense
	case reconcile.DupIss, reconcile.DupAcq:
		return ActionReverse
	case reconcile.Amount, reconcile.Asset, reconcile.Fee:
		return ActionAdjust
	default:
		return ""
	}
}

// ours are the lines of our journal, in order.
func (r *reconRun) ours(ctx context.Context, before []reconcile.Line) (reconcile.Lines, error) {
	cuts, err := r.app.ledger.Cuts(r.q.Date)
	if err != nil {
		return nil, err
	}
	if len(cuts) == 0 {
		return nil, points.Errorf(points.UnknownOriginal, "there was no business date %v", r.q.Date)
	}
	r.result.Open = !cuts[len(cuts)-1].Closed
	var registry *book.Registry
	if err := r.app.ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	}); err != nil {
		return nil, err
	}
	j := &journalLines{app: r.app, rates: registry.Rates, fees: registry.Fees, expect: make(map[reconcile.Side]map[uint64]bool)}
	if j.rates == nil {
		j.rates = tariff.NewRates()
	}
	if j.fees == nil {
		j.fees = tariff.NewFees()
	}
	for side, list := range map[reconcile.Side][]PartnerFile{reconcile.Acquirer: r.q.Acquirers, reconcile.Issuer: r.q.Issuers} {
		j.expect[side] = make(map[uint64]bool)
		for _, f := range list {
			j.expect[side][f.Member] = true
		}
	}
	lines := make(chan []reconcile.Line, 4) //nolint:mnd // batches that wait.
	scanned := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		err := j.scan(ctx, cuts[0].First, cuts[len(cuts)-1].Last, lines)
		scanned <- err
		close(lines)
	}()
	r.closers = append(r.closers, func() error {
		cancel()
		for range lines {
		}
		return nil
	})
	return r.sorted(&chain{sources: []reconcile.Lines{reconcile.Slice(before), &scanning{lines: lines, done: scanned}}})
}

// scanning gives the lines that a scan sends.
type scanning struct {
	lines <-chan []reconcile.Line
	done  <-chan error
	now   []reconcile.Line
}

// Next gives the next line.
func (s *scanning) Next(line *reconcile.Line) (bool, error) {
	for len(s.now) == 0 {
		batch, ok := <-s.lines
		if !ok {
			return false, <-s.done
		}
		s.now = batch
	}
	*line, s.now = s.now[0], s.now[1:]
	return true, nil
}

// journalLines turns records into lines.
type journalLines struct {
	app    *App
	rates  *tariff.Rates
	fees   *tariff.Fees
	expect map[reconcile.Side]map[uint64]bool
	value  tariff.Valuation
	batch  []reconcile.Line
}

// scanBatch is how many lines a scan sends at once.
const scanBatch = 1024

func (j *journalLines) scan(ctx context.Context, first, last points.Position, out chan<- []reconcile.Line) error {
	clearing := book.NewClearing(func(p points.Position, rec *book.Record) (err error) {
		*rec, err = j.app.ledger.Record(p)
		return err
	})
	send := func() error {
		select {
		case out <- j.batch:
			j.batch = make([]reconcile.Line, 0, scanBatch)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err := j.app.ledger.Scan(ctx, first, last, func(rec *book.Record) error {
		items, err := clearing.Items(rec)
		if err != nil {
			return err
		}
		for i := range items {
			j.batch = append(j.batch, j.line(&items[i]))
		}
		if len(j.batch) < scanBatch {
			return nil
		}
		return send()
	})
	if err != nil {
		return err
	}
	return send()
}

// line is an item as the acquirer sees it, with the fees as each side does.
func (j *journalLines) line(item *book.ClearingItem) reconcile.Line {
	key := &item.Request.Key
	l := reconcile.Line{
		Key:    reconcile.Key{RRN: item.RRN.RRN(), Acquirer: points.AcquirerID(item.Acquirer), When: j.app.transmitted(item), STAN: key.STAN},
		Number: uint64(item.Position), CID: uint64(item.Position), Amount: int64(item.Amount), Issuer: points.IssuerID(item.Issuer), Date: item.Date,
		Tells: reconcile.TellsStatus | reconcile.TellsDate,
	}
	if item.Kind == tariff.KindEAR || item.Of == tariff.KindEAR {
		l.Amount = -l.Amount // The acquirer pays for what it grants.
	}
	for i := range l.Asset {
		l.Asset[i] = ' '
	}
	copy(l.Asset[:], fmt.Sprint(item.Program))
	copy(l.Kind[:], item.Kind.String())
	copy(l.Status[:], item.Answer.DE39())
	if !item.NoRoom && tariff.Value(j.rates, j.fees, &item.Item, &j.value) == tariff.OK {
		l.Tells |= reconcile.TellsFee
		for side, m := range map[reconcile.Side]tariff.Member{reconcile.Acquirer: item.Acquirer, reconcile.Issuer: item.Issuer} {
			v := j.value.View(m)
			l.Fees[side] = int64(v.Interchange + v.SwitchFee + v.VAT + v.Other)
		}
	}
	if j.expect[reconcile.Acquirer][uint64(item.Acquirer)] {
		l.Expect |= reconcile.In(reconcile.Acquirer)
	}
	if j.expect[reconcile.Issuer][uint64(item.Issuer)] {
		l.Expect |= reconcile.In(reconcile.Issuer)
	}
	return l
}

// transmitted is DE7 with the year: what a partner's system has sent, in the year of its
// decision; of a terminal, which sends none, when it was decided, in local time.
func (a *App) transmitted(item *book.ClearingItem) uint64 {
	const seconds = 10_000_000_000 // MMDDhhmmss
	at := item.At.Time().In(a.zone)
	key := &item.Request.Key
	if key.Door != points.DoorHost || key.When == 0 {
		return uint64(at.Year())*seconds + uint64(at.Month())*100_000_000 + uint64(at.Day())*1_000_000 + //nolint:gosec // years of our era.
			uint64(at.Hour())*10_000 + uint64(at.Minute())*100 + uint64(at.Second()) //nolint:gosec // as above.
	}
	year := at.Year()
	switch month := key.When / 100_000_000; { // Sent in the old year, decided in the new one; or the other way round.
	case month == uint64(time.December) && at.Month() == time.January:
		year--
	case month == uint64(time.January) && at.Month() == time.December:
		year++
	}
	return uint64(year)*seconds + key.When //nolint:gosec // as above.
}

// online collects the closes by which acquirers have told their totals of the date.
func (r *reconRun) online(ctx context.Context) ([]OnlineTotals, error) {
	list := []OnlineTotals{}
	page := ledger.Page{Limit: ledger.MaxPageLimit, Oldest: true}
	for {
		got, err := r.app.projection.Closes(ctx, ledger.Dates{From: r.q.Date}, page)
		if err != nil {
			return nil, err
		}
		for i := range got.Records {
			rec := &got.Records[i]
			if rec.Command.Batch == book.DateBatch && points.BusinessDate(rec.Outcome.Batch) == r.q.Date {
				list = append(list, OnlineTotals{rec.Command.Acquirer, rrnOf(rec.Outcome.Position), !rec.Outcome.Unequal})
			}
		}
		if got.Next == 0 {
			return list, nil
		}
		page.From = got.Next
	}
}
