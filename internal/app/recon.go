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

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
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
	Lines     bool                `json:"lines,omitempty"` // line by line also where totals are equal
	Early     bool                `json:"early,omitempty"` // also of a date that has not ended: nothing of it can be acted on
}

// Reconciled is what came of it. Exceptions and what is in doubt stand in Folder, which is
// made from the files and the journal, and can be made again.
type Reconciled struct {
	Date       points.BusinessDate        `json:"date"`
	Folder     string                     `json:"folder"`
	Before     points.BusinessDate        `json:"before,omitzero"`           // whose lines in doubt were looked for again
	Open       bool                       `json:"date_still_open,omitempty"` // all of it is provisional
	Acquirers  []uint64                   `json:"acquirers,omitempty"`       // whose files there were
	Issuers    []uint64                   `json:"issuers,omitempty"`
	ByTotals   []string                   `json:"equal_by_totals,omitempty"` // partners that were equal as a whole: none of their lines was looked at by itself
	Totals     []TotalsApart              `json:"totals_apart,omitempty"`    // that were not, at most [maxTotalsApart]
	Lines      map[string]uint64          `json:"lines"`
	Classes    map[string]reconcile.Count `json:"classes"`
	Unchecked  uint64                     `json:"unchecked"`
	InDoubt    uint64                     `json:"in_doubt"`
	Timing     uint64                     `json:"timing"`
	Exceptions uint64                     `json:"exceptions"`
	BadRows    uint64                     `json:"bad_rows"`
	Unsummed   []string                   `json:"sums_unchecked,omitempty"` // files with a row whose amount could not be read
	Online     []OnlineTotals             `json:"online_totals"`            // 0500/0510 of acquirers
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
	Doubt  bool `json:"in_doubt,omitempty"`
	Timing bool `json:"timing,omitempty"`
	// Provisional: the date had not ended. Nothing can be done about it before the date is run again.
	Provisional bool `json:"provisional,omitempty"`

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
	Fee      *int64              `json:"fee,omitempty"` // left out: it is not told
	Date     points.BusinessDate `json:"business_date"`
}

func exceptionLine(l *reconcile.Line, side reconcile.Side) *ExceptionLine {
	if l == nil {
		return nil
	}
	e := &ExceptionLine{
		Line: l.Number, CID: l.CID, Acquirer: l.Acquirer, Issuer: l.Issuer, STAN: l.STAN, When: l.When, Kind: string(l.Kind[:]),
		Asset: strings.TrimSpace(string(l.Asset[:])), Amount: l.Amount, Status: strings.Trim(string(l.Status[:]), "\x00"), Date: l.Date,
	}
	if l.Tells&reconcile.TellsFee != 0 {
		e.Fee = &l.Fees[side]
	}
	return e
}

// Names of what a run leaves in its folder.
const (
	exceptionsName = "exceptions.jsonl"
	doubtsName     = "doubts.jsonl"
	reportName     = "report.json"
	actsName       = "acts.jsonl"
)

func (a *App) reconFolder(date points.BusinessDate) string {
	return filepath.Join(a.opts.Config.Data, reconName, date.String())
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
	if err := a.strangers(ctx, &q); err != nil {
		return result, fmt.Errorf("%s: %w", what, err)
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
	run := &reconRun{app: a, q: q, folder: partial, result: Reconciled{
		Date: q.Date, Folder: folder, Acquirers: membersOf(q.Acquirers), Issuers: membersOf(q.Issuers), Lines: map[string]uint64{}, Classes: map[string]reconcile.Count{},
	}}
	if err := run.do(ctx); err != nil {
		return result, errors.Join(fmt.Errorf("%s: %w", what, err), os.RemoveAll(partial))
	}
	run.result.Millis = int64(a.opts.Clock()-began) / 1000
	if err := errors.Join(writeWhole(filepath.Join(partial, reportName), run.result), os.RemoveAll(folder), os.Rename(partial, folder)); err != nil {
		return result, fmt.Errorf("%s: %w", what, err)
	}
	return run.result, a.forgetEarly(ctx)
}

// strangers refuses files of nobody: what came of the date before is worth more than what
// such a comparison finds.
func (a *App) strangers(ctx context.Context, q *Reconciling) error {
	return a.ledger.View(ctx, func(b *book.Book) error {
		for _, f := range q.Acquirers {
			if _, ok := b.Registry().Acquirers[points.AcquirerID(f.Member)]; !ok {
				return points.Errorf(points.NoRoute, "%q: no acquirer has the number %d; lianfen admin list shows them", f.Path, f.Member)
			}
		}
		for _, f := range q.Issuers {
			if _, ok := b.Registry().Issuers[points.IssuerID(f.Member)]; !ok {
				return points.Errorf(points.NoRoute, "%q: no issuer has the number %d; lianfen admin list shows them", f.Path, f.Member)
			}
		}
		return nil
	})
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
	seen       map[string]int   // identities of exceptions, to tell equal ones apart
	equal      map[partner]bool // by totals
	nameless   *reconcile.Nameless
	inOrder    map[string]bool // by path: files whose lines came in the order of their keys
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
	r.seen, r.nameless, r.inOrder = make(map[string]int), reconcile.NewNameless(), make(map[string]bool)
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
	j, err := r.journal(ctx)
	if err != nil {
		return err
	}
	if err := r.byTotals(ctx, j, before); err != nil {
		return err
	}
	if err := r.name(ctx, j, before); err != nil {
		return err
	}
	ours, err := r.ours(ctx, j, before[reconcile.Switch])
	if err != nil {
		return err
	}
	var theirs [3]reconcile.Lines
	for side := range theirs {
		if side := reconcile.Side(side); side != reconcile.Switch {
			if theirs[side], err = r.theirs(side, before[side]); err != nil {
				return err
			}
		}
	}
	sum, err := reconcile.Compare(ours, theirs[reconcile.Acquirer], theirs[reconcile.Issuer], reconcile.Hands{
		Found: r.found,
		Doubt: func(side reconcile.Side, line *reconcile.Line) error { return r.doubts.write(doubt{side, *line}) },
		Known: r.known(j),
	})
	if err != nil {
		return err
	}
	r.count(&sum, j.equal)
	r.result.Online, err = r.online(ctx)
	return err
}

// count tells what came of a comparison; equal is how many of our lines stand in files that
// were equal by totals only.
func (r *reconRun) count(sum *reconcile.Summary, equal uint64) {
	sum.Lines[reconcile.Switch] += equal
	sum.Classes[reconcile.Match].Count += equal
	for side, n := range sum.Lines {
		r.result.Lines[reconcile.Side(side).String()] += n
	}
	for _, class := range reconcile.Classes() {
		if count := sum.Classes[class]; count.Count > 0 {
			r.result.Classes[class.String()] = count
		}
	}
	r.result.Unchecked, r.result.InDoubt, r.result.Timing = sum.Unchecked, sum.InDoubt, sum.Timing
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
		if early, err := r.app.early(date); err != nil {
			return before, err
		} else if early { // What was still to come then is in doubt there, and is not.
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
	entries, err := os.ReadDir(filepath.Join(a.opts.Config.Data, reconName))
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

// early reports whether what came of a date is of before its end.
func (a *App) early(date points.BusinessDate) (bool, error) {
	text, err := os.ReadFile(filepath.Join(a.reconFolder(date), reportName))
	if err != nil {
		return false, fmt.Errorf("recon: %w", err)
	}
	var report Reconciled
	if err := json.Unmarshal(text, &report); err != nil {
		return false, fmt.Errorf("recon: %v: %s: %w", date, reportName, err)
	}
	return report.Open, nil
}

// forgetEarly removes what was found early on dates that have ended since: a look at half a date
// leaves nothing behind.
func (a *App) forgetEarly(ctx context.Context) error {
	dates, err := a.reconDates()
	if err != nil {
		return err
	}
	running := a.runningDate(ctx)
	for _, date := range dates {
		if date >= running {
			continue
		}
		early, err := a.early(date)
		if err == nil && early {
			err = os.RemoveAll(a.reconFolder(date))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// theirs are the lines of one side, in order.
func (r *reconRun) theirs(side reconcile.Side, before []reconcile.Line) (reconcile.Lines, error) {
	list := r.filesOf(side)
	if len(list) == 0 && len(before) == 0 {
		return nil, nil //nolint:nilnil // nothing is expected of this side.
	}
	var sources []reconcile.Lines
	var rest chain // What is not in order, and what has its DE37, and so its place, from ours.
	if slices.ContainsFunc(before, func(l reconcile.Line) bool { return !l.Told() }) {
		rest.sources = append(rest.sources, reconcile.Slice(before))
	} else {
		sources = append(sources, reconcile.Slice(ascending(before)))
	}
	for _, f := range list {
		if r.equal[partner{side, f.Member}] {
			continue
		}
		source, err := r.open(side, f, r.badRow)
		switch {
		case err != nil:
			return nil, err
		case r.inOrder[f.Path]:
			sources = append(sources, source)
		default:
			rest.sources = append(rest.sources, source)
		}
	}
	if len(rest.sources) > 0 {
		sorted, err := r.sorted(&naming{&rest, r.nameless})
		if err != nil {
			return nil, err
		}
		sources = append(sources, sorted)
	}
	return reconcile.Merge(sources...) // Read by who compares: so rows that cannot be read and findings come in one order.
}

// ascending are lines in the order of their keys.
func ascending(lines []reconcile.Line) []reconcile.Line {
	slices.SortStableFunc(lines, func(a, b reconcile.Line) int { return a.Compare(&b.Key) })
	return lines
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

// open opens a partner's file: a detail file begins with HD. Rows that cannot be read go
// to bad.
func (r *reconRun) open(side reconcile.Side, f PartnerFile, bad func(reconcile.Side, PartnerFile, reconcile.BadLine) error) (*fileLines, error) {
	info, err := os.Stat(f.Path)
	if err == nil && !info.Mode().IsRegular() { // To open a pipe may wait for ever.
		return nil, points.Errorf(points.FormatError, "file of member %d: %s is no regular file", f.Member, f.Path)
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fmt.Errorf("file of member %d: %w", f.Member, err)
	}
	r.closers = append(r.closers, file.Close)
	in := bufio.NewReader(file)
	lines := &fileLines{file: f, side: side}
	row := func(b reconcile.BadLine) error { return bad(side, f, b) }
	if start, _ := in.Peek(2); string(start) == "HD" {
		d, err := reconcile.NewDetail(in, side, row)
		if err == nil {
			lines.lines, lines.tells, lines.header = d, d.Tells(), d.Header()
			if h := &lines.header; h.Date != r.q.Date || uint64(h.Receiver) != f.Member {
				err = points.Errorf(points.FormatError, "it is of member %v on %v, want %08d on %v", h.Receiver, h.Date, f.Member, r.q.Date)
			}
		}
		return lines, lines.refused(err)
	}
	c, err := reconcile.NewCSV(in, side, r.q.Date, row)
	if err == nil {
		lines.lines, lines.tells = c, c.Tells()
	}
	return lines, lines.refused(err)
}

// fileLines says in an error which file it is of, and that its lines are the member's.
type fileLines struct {
	lines  reconcile.Lines
	tells  reconcile.Fields
	header files.Header // of a detail file
	file   PartnerFile
	side   reconcile.Side
	order  reconcile.Order

	nameless bool // a line tells no DE37
}

// refused says of what is wrong with the file which one it is.
func (n *fileLines) refused(err error) error {
	if err == nil {
		return nil
	}
	return points.Errorf(points.FormatError, "%s of %v %d is refused: %w", n.file.Path, n.side, n.file.Member, err)
}

// Next gives the next line.
func (n *fileLines) Next(line *reconcile.Line) (bool, error) {
	ok, err := n.lines.Next(line)
	if err != nil {
		return false, n.refused(err)
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
	e.Provisional = r.result.Open
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
		return ActionClose // Ours is right: the partner has it too often, and corrects that.
	case reconcile.Amount, reconcile.Asset, reconcile.Fee:
		return ActionAdjust
	default:
		return ""
	}
}

// journal is where our lines come from.
func (r *reconRun) journal(ctx context.Context) (*journalLines, error) {
	cuts, err := r.app.ledger.Cuts(r.q.Date)
	if err != nil {
		return nil, err
	}
	if len(cuts) == 0 {
		return nil, points.Errorf(points.UnknownOriginal, "there was no business date %v", r.q.Date)
	}
	if r.result.Open = !cuts[len(cuts)-1].Closed; r.result.Open && !r.q.Early {
		return nil, points.Errorf(points.NotPermitted, "the date has not ended: run it after the cut-over, or with --early to look only; nothing of that can be acted on")
	}
	var registry *book.Registry
	if err := r.app.ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	}); err != nil {
		return nil, err
	}
	j := &journalLines{
		app: r.app, rates: registry.Rates, fees: registry.Fees, expect: make(map[partner]bool),
		first: cuts[0].First, last: cuts[len(cuts)-1].Last,
	}
	if j.rates == nil {
		j.rates = tariff.NewRates()
	}
	if j.fees == nil {
		j.fees = tariff.NewFees()
	}
	for _, side := range [...]reconcile.Side{reconcile.Acquirer, reconcile.Issuer} {
		for _, f := range r.filesOf(side) {
			j.expect[partner{side, f.Member}] = true
		}
	}
	return j, nil
}

// ours are the lines of our journal, in order, but for those that totals have settled.
func (r *reconRun) ours(ctx context.Context, j *journalLines, before []reconcile.Line) (reconcile.Lines, error) {
	lines := make(chan []reconcile.Line, 4) //nolint:mnd // batches that wait.
	scanned := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		err := j.send(ctx, r.equal, lines)
		scanned <- err
		close(lines)
	}()
	r.closers = append(r.closers, func() error {
		cancel()
		for range lines {
		}
		return nil
	})
	scan := &scanning{lines: lines, done: scanned}
	if j.inOrder {
		return reconcile.Merge(reconcile.Slice(ascending(before)), scan)
	}
	return r.sorted(&chain{sources: []reconcile.Lines{reconcile.Slice(before), scan}})
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
	app         *App
	rates       *tariff.Rates
	fees        *tariff.Fees
	first, last points.Position
	expect      map[partner]bool // whose files there are
	value       tariff.Valuation
	inOrder     bool   // it was looked at, and lines come in the order of their keys
	equal       uint64 // lines that were not sent, since totals have settled them
}

// scanBatch is how many lines a scan sends at once.
const scanBatch = 1024

// each visits the lines of the date.
func (j *journalLines) each(ctx context.Context, visit func(*reconcile.Line) error) error {
	clearing := j.clearing()
	return j.app.ledger.Scan(ctx, j.first, j.last, func(rec *book.Record) error {
		items, err := clearing.Items(rec)
		if err != nil {
			return err
		}
		for i := range items {
			if items[i].Orphan { // We have declined it: who lists it lists what is not here.
				continue
			}
			line := j.line(&items[i])
			if err := visit(&line); err != nil {
				return err
			}
		}
		return nil
	})
}

func (j *journalLines) clearing() *book.Clearing {
	return book.NewClearing(j.app.ledger.Records().Read)
}

// send sends the lines of the date, but for those of which nothing is left to be compared.
func (j *journalLines) send(ctx context.Context, equal map[partner]bool, out chan<- []reconcile.Line) error {
	var batch []reconcile.Line
	send := func() error {
		select {
		case out <- batch:
			batch = make([]reconcile.Line, 0, scanBatch)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err := j.each(ctx, func(line *reconcile.Line) error {
		was := line.Expect
		for _, side := range [...]reconcile.Side{reconcile.Acquirer, reconcile.Issuer} {
			if line.Expect.Has(side) && equal[partnerOf(side, line)] {
				line.Expect &^= reconcile.In(side)
			}
		}
		if was != 0 && line.Expect == 0 {
			j.equal++
			return nil
		}
		if batch = append(batch, *line); len(batch) < scanBatch {
			return nil
		}
		return send()
	})
	if err != nil {
		return err
	}
	return send()
}

// line is an item as the acquirer sees it, with the fees as each side does. It stands in
// the files in which settlement puts it: one on an acquirer's own points in the acquirer's
// only, a swap in no acquirer's, what one member pays another in the payee's as acquirer
// and the payer's as issuer.
func (j *journalLines) line(item *book.ClearingItem) reconcile.Line {
	acquirer, issuer := item.Acquirer, item.Issuer
	if item.Kind.Explicit() {
		acquirer, issuer = institution(item.Payee), institution(item.Payer)
	}
	l := reconcile.Line{
		Key: reconcile.Key{
			RRN: item.RRN.RRN(), Acquirer: points.AcquirerID(acquirer), When: settlement.Transmitted(item, j.app.zone), STAN: item.Request.Key.STAN,
		},
		Number: uint64(item.Position), CID: uint64(item.Position), Amount: int64(item.Amount), Issuer: points.IssuerID(issuer), Date: item.Date,
		Tells: reconcile.TellsStatus | reconcile.TellsDate,
	}
	if item.Kind == tariff.KindEAR || item.Of == tariff.KindEAR {
		l.Amount = -l.Amount // The acquirer pays for what it grants.
	}
	l.Asset = reconcile.AssetOf(fmt.Sprint(item.Program))
	if item.Program == points.Standard {
		l.Asset = reconcile.AssetOf(settlement.Unit)
	}
	copy(l.Kind[:], item.Kind.String())
	copy(l.Status[:], item.Answer.DE39())
	if !item.NoRoom && !item.TooOld && tariff.Value(j.rates, j.fees, &item.Item, &j.value) == tariff.OK {
		l.Tells |= reconcile.TellsFee
		for side, m := range map[reconcile.Side]tariff.Member{reconcile.Acquirer: acquirer, reconcile.Issuer: issuer} {
			v := j.value.View(m)
			l.Fees[side] = int64(v.Interchange + v.SwitchFee + v.VAT + v.Other)
		}
	}
	swap := item.Kind == tariff.KindSWP || item.Of == tariff.KindSWP
	if !swap && j.expect[partner{reconcile.Acquirer, uint64(acquirer)}] {
		l.Expect |= reconcile.In(reconcile.Acquirer)
	}
	if (swap || issuer != acquirer) && j.expect[partner{reconcile.Issuer, uint64(issuer)}] {
		l.Expect |= reconcile.In(reconcile.Issuer)
	}
	return l
}

// institution is m where it has files, 0 of the operator's accounts.
func institution(m tariff.Member) tariff.Member {
	if m.Institution() {
		return m
	}
	return 0
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
