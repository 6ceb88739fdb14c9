package settlement

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// State is how far a run is.
type State uint8

// States, in their order; Void is the end of a run that was not published.
const (
	Open State = iota + 1
	WasCut
	Computed
	Checked
	Approved
	Published
	Confirmed
	Void
)

func stateNames() []string {
	return []string{"OPEN", "CUT", "COMPUTED", "CHECKED", "APPROVED", "PUBLISHED", "CONFIRMED", "VOID"}
}

// String renders the name.
func (s State) String() string {
	if names := stateNames(); s >= 1 && int(s) <= len(names) {
		return names[s-1]
	}
	return "?"
}

// MarshalText renders the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames(), string(text))
	if i < 0 {
		return points.Errorf(points.FormatError, "state of a run %q: want one of %s", text, strings.Join(stateNames(), ", "))
	}
	*s = State(i + 1) //nolint:gosec // eight of them.
	return nil
}

// Stage is a step that was made: what it led to, when, and by whom.
type Stage struct {
	State State            `json:"state"`
	At    points.Timestamp `json:"at"`
	By    string           `json:"by,omitempty"`
	Note  string           `json:"note,omitempty"`
}

// Run is one settlement of a cycle, as it is written down after each step.
type Run struct {
	ID       string           `json:"run"` // ULID
	State    State            `json:"state"`
	Cut      Cut              `json:"cut"`
	Created  points.Timestamp `json:"created"`
	Sequence uint64           `json:"sequence"` // of statements, without gaps

	Key        netting.RunKey `json:"-"`
	KeyDigest  string         `json:"key,omitempty"`
	Rates      string         `json:"rates,omitempty"`
	Fees       string         `json:"fees,omitempty"`
	Policy     string         `json:"policy,omitempty"`
	Terms      string         `json:"terms,omitempty"` // of rates and fees together, as the last line of net positions has it
	Input      string         `json:"input,omitempty"`
	Code       string         `json:"code,omitempty"`
	Positions  string         `json:"positions,omitempty"` // digest
	Manifest   string         `json:"manifest,omitempty"`  // digest
	Items      uint64         `json:"items"`
	OnUs       uint64         `json:"on_us"`
	Legs       uint64         `json:"legs"`
	Exceptions uint64         `json:"exceptions"`
	Rows       uint64         `json:"rows"` // positions of the journal that were read
	Files      uint64         `json:"files,omitempty"`

	// What is paid for the positions, and the digest of the price and accounts that it is paid by.
	Payments *files.PaymentTotals `json:"payments,omitempty"`
	Bank     string               `json:"bank,omitempty"`

	Checks  []Check  `json:"checks,omitempty"`
	Debtor  *Debtor  `json:"largest_debtor,omitempty"` // nil: nobody owes anything, or it was not computed
	Stages  []Stage  `json:"stages"`
	Timings []Timing `json:"timings,omitempty"`

	Moves    []Move          `json:"moves,omitempty"`    // what the posting moves
	Maker    string          `json:"maker,omitempty"`    // who ran it
	Checker  string          `json:"checker,omitempty"`  // who approved it
	Proposal points.Position `json:"proposal,omitempty"` // of the posting, that waits for the second person
	Posting  points.Position `json:"posting,omitempty"`  // 0: nothing was to be posted
}

// Timing is how long a step took.
type Timing struct {
	Step   string `json:"step"`
	Rows   uint64 `json:"rows"`
	Micros int64  `json:"micros"`
	Bytes  uint64 `json:"bytes,omitempty"` // of a plain read
}

// Plain is how fast the run computed beside a plain read of the same journal, by one
// goroutine, in thousandths, and that read; 0 where it was not measured.
func (r *Run) Plain() (permille uint64, read Timing) {
	var computed Timing
	for _, t := range r.Timings {
		switch t.Step {
		case StepCompute:
			computed = t
		case StepPlain:
			read = t
		}
	}
	if read.PerSecond() == 0 {
		return 0, read
	}
	return computed.PerSecond() * 1000 / read.PerSecond(), read
}

// PerSecond is how many rows the step did in a second.
func (t Timing) PerSecond() uint64 {
	if t.Micros <= 0 {
		return 0
	}
	return t.Rows * 1_000_000 / uint64(t.Micros)
}

// Debtor is the largest net debtor of a cycle, and whether the cycle settles although it
// fails (Lamfalussy IV). Amounts are in smallest units of the standard point.
type Debtor struct {
	Member    tariff.Member `json:"member"`
	Debt      points.Amount `json:"debt"`
	Cover     points.Amount `json:"cover"`
	Shortfall points.Amount `json:"shortfall"`
}

// String says it in a sentence.
func (d *Debtor) String() string {
	return fmt.Sprintf("%v owes %s, cover %s, short by %s if it fails", d.Member, d.Debt.Decimal(Scale), d.Cover.Decimal(Scale), d.Shortfall.Decimal(Scale))
}

// Live reports whether the run can still come to be published.
func (r *Run) Live() bool { return r.State < Published }

// reach notes a step.
func (r *Run) reach(state State, order Order, note string) {
	r.State = state
	r.Stages = append(r.Stages, Stage{State: state, At: order.At, By: order.By, Note: note})
}

// setKey notes what the run is a function of.
func (r *Run) setKey(key netting.RunKey) {
	digest := key.Digest()
	r.Key, r.KeyDigest = key, hexOf(digest)
	r.Rates, r.Fees, r.Policy, r.Input, r.Code = hexOf(key.Rates), hexOf(key.Fees), hexOf(key.Policy), hexOf(key.Input), key.Code
	r.Terms = hexOf(termsDigest(key.Rates, key.Fees))
}

// differs names the parts of the key in which another one is not the run's.
func (r *Run) differs(key netting.RunKey) (parts []string) {
	for _, part := range []struct{ name, was, is string }{
		{"rates", r.Rates, hexOf(key.Rates)},
		{"fees", r.Fees, hexOf(key.Fees)},
		{"members, their caps, merchants, programmes, models or bank accounts", r.Policy, hexOf(key.Policy)},
		{"input", r.Input, hexOf(key.Input)},
		{"program version", r.Code, key.Code},
	} {
		if part.was != part.is {
			parts = append(parts, fmt.Sprintf("%s (%s, was %s)", part.name, brief(part.is), brief(part.was)))
		}
	}
	return parts
}

func hexOf(d tariff.Digest) string { return fmt.Sprintf("%x", d[:]) }

// brief is as much of a digest as people compare.
func brief(digest string) string { return digest[:min(len(digest), 12)] }

// String names a cycle.
func (c Cut) String() string { return fmt.Sprintf("%v cycle %d", c.Date, c.Cycle) }

// shelf keeps runs in a folder: <run>.json is what was written down, <run>.tmp the work,
// <run> what was published.
type shelf struct{ folder string }

func (s shelf) note(id string) string      { return filepath.Join(s.folder, id+".json") }
func (s shelf) work(id string) string      { return filepath.Join(s.folder, id+".tmp") }
func (s shelf) published(id string) string { return filepath.Join(s.folder, id) }

// save writes a run down: what is there afterwards is the old or the new, whole.
func (s shelf) save(r *Run) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("settlement run %s: %w", r.ID, err)
	}
	if err := replace(s.note(r.ID), append(text, '\n')); err != nil {
		return fmt.Errorf("settlement run %s: %w", r.ID, err)
	}
	return nil
}

// replace puts a file in the place of another, durably.
func replace(path string, content []byte) (err error) {
	beside := path + ".new"
	file, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it is.
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(beside, path), syncFolder(filepath.Dir(path)))
}

// syncFolder makes names in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // it names the path.
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// load reads a run. The error has [points.UnknownOriginal] when there is none.
func (s shelf) load(id string) (*Run, error) {
	if !validID(id) {
		return nil, points.Errorf(points.FormatError, "settlement run %q: want the 26 characters of a run; lianfen settle show lists them", id)
	}
	text, err := os.ReadFile(s.note(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, points.Errorf(points.UnknownOriginal, "settlement run %s: there is none; lianfen settle show lists them", id)
	}
	if err != nil {
		return nil, fmt.Errorf("settlement run %s: %w", id, err)
	}
	r := new(Run)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("settlement run %s: %w", id, err)
	}
	if r.Terms == "" && r.Rates != "" { // A run of before it was written down.
		r.Terms = hexOf(termsDigest(mustDigest(r.Rates), mustDigest(r.Fees)))
	}
	if r.ID != id { // It becomes a part of paths, and a backup may say anything.
		return nil, points.Errorf(points.FormatError, "settlement run %s: %s is of another run, %q", id, s.note(id), r.ID)
	}
	return r, nil
}

// validID reports whether id can be a run's: it becomes a part of paths.
func validID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == ""
}

// all reads all runs, in the order in which they were made.
func (s shelf) all() ([]*Run, error) {
	entries, err := os.ReadDir(s.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("settlement runs: %w", err)
	}
	var runs []*Run
	for _, e := range entries {
		id, isRun := strings.CutSuffix(e.Name(), ".json")
		if !isRun || !validID(id) {
			continue
		}
		r, err := s.load(id)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	slices.SortStableFunc(runs, func(a, b *Run) int { return int(a.Created - b.Created) })
	return runs, nil
}

// of finds the run of a cycle that is not void; nil when there is none.
func (s shelf) of(date points.BusinessDate, cycle uint8) (*Run, error) {
	runs, err := s.all()
	for _, r := range runs {
		if r.Cut.Date == date && r.Cut.Cycle == cycle && r.State != Void {
			return r, err
		}
	}
	return nil, err
}
