package reconcile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// Lines gives lines one by one. It fills line and reports true, or reports false at the
// end. After an error or the end it is not called again.
type Lines interface {
	Next(line *Line) (ok bool, err error)
}

// Class is what is wrong with a line, or that nothing is.
type Class uint8

// Classes. The names are those of the interbank reports.
const (
	Match Class = iota + 1
	MissingIss
	MissingAcq
	MissingSwitch
	Amount
	Status
	Asset
	Fee
	Date
	DupIss
	DupAcq
	BadRow // a row that could not be read

	classCount
)

var classNames = [classCount]string{
	Match: "MATCH", MissingIss: "MISSING_ISS", MissingAcq: "MISSING_ACQ", MissingSwitch: "MISSING_SWITCH", Amount: "AMOUNT", Status: "STATUS",
	Asset: "ASSET", Fee: "FEE", Date: "DATE", DupIss: "DUP_ISS", DupAcq: "DUP_ACQ", BadRow: "BAD_ROW",
}

// String names the class.
func (c Class) String() string {
	if c < classCount && c > 0 {
		return classNames[c]
	}
	return "class?"
}

// MarshalText renders the name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a name.
func (c *Class) UnmarshalText(text []byte) error {
	return parseName((*uint8)(c), classNames[:], text, "class")
}

// Classes lists the classes in order.
func Classes() []Class {
	var all []Class
	for c := Match; c < classCount; c++ {
		all = append(all, c)
	}
	return all
}

// Retries is in how many later dates' files a line that is missing is looked for.
const Retries = 2

// Finding is one difference. The lines are good until the function that was given it
// returns.
type Finding struct {
	Class   Class
	Side    Side  // of the partner who differs; Switch where we do
	Diffs   Diffs // all that differs, of a pair
	InDoubt bool  // looked for again in the next date's files
	Timing  bool  // DATE: the neighbour date; nothing has to be done
	Lines   [sides]*Line
}

// Hands are where results go, one by one, in the order of the keys.
type Hands struct {
	// Found takes each difference.
	Found func(*Finding) error
	// Doubt takes each line that is to be among the lines of its side when the next date
	// is compared.
	Doubt func(Side, *Line) error
	// Known looks for a line that none of ours has the key of among those of dates before:
	// what we have there, Seen where it was in a file of the side then; nil: nothing. Where
	// Known is nil there is nothing.
	Known func(Side, *Line) (*Line, error)
}

// Summary counts what was compared.
type Summary struct {
	Lines     [sides]uint64     `json:"lines"`                     // read on each side
	Classes   [classCount]Count `json:"-"`                         // by class
	Unchecked uint64            `json:"unchecked"`                 // of ours, that no file had to have
	InDoubt   uint64            `json:"in_doubt"`                  // findings that are tried again
	Timing    uint64            `json:"timing"`                    // found in a neighbour date
	Carried   [sides]uint64     `json:"carried_from_dates_before"` // of Lines: those in doubt before
}

// Count is how many findings there were, and what of points they are about: of a pair what
// the amounts differ by, else the amount of the line, without sign. Over says that the sum
// does not fit.
type Count struct {
	Count  uint64 `json:"count"`
	Points uint64 `json:"points"`
	Over   bool   `json:"over,omitempty"`
}

func (c *Count) add(amount uint64) {
	c.Count++
	if c.Points += amount; c.Points < amount {
		c.Over = true
	}
}

// ErrUnsorted says that a source does not come in the order of the keys.
var ErrUnsorted = errors.New("lines are not in the order of DE37, acquirer, DE7, DE11")

// maxGroup bounds the lines of one key on one side: a file that says the same thing a
// million times is not worth reading.
const maxGroup = 100_000

// Compare merges three sorted sources. A source may be nil: then nothing is expected there.
func Compare(ours, acquirer, issuer Lines, hands Hands) (Summary, error) {
	m := matcher{hands: hands}
	for s, lines := range [sides]Lines{ours, acquirer, issuer} {
		m.in[s] = &stream{side: Side(s), lines: lines}
		if err := m.in[s].advance(); err != nil {
			return m.sum, err
		}
	}
	for {
		key := m.least()
		if key == nil {
			return m.sum, nil
		}
		if err := m.gather(*key); err != nil {
			return m.sum, err
		}
		if err := m.group(); err != nil {
			return m.sum, err
		}
	}
}

// stream is a source with the line that comes next.
type stream struct {
	side  Side
	lines Lines
	next  Line
	open  bool
}

func (s *stream) advance() error {
	if s.lines == nil {
		return nil
	}
	last := s.next.Key
	ok, err := s.lines.Next(&s.next)
	if err != nil {
		return fmt.Errorf("reconcile: %v's lines: %w", s.side, err)
	}
	if ok && s.open && last.Compare(&s.next.Key) > 0 {
		return fmt.Errorf("reconcile: %v's line %d: %w", s.side, s.next.Number, ErrUnsorted)
	}
	s.open = ok
	if !ok {
		s.lines = nil
	}
	return nil
}

type matcher struct {
	hands Hands
	in    [sides]*stream
	lines [sides][]Line // of one key
	taken [sides][]bool // of lines: theirs that are in a pair
	sum   Summary
}

// least is the smallest key that any source has next; nil at the end of all.
func (m *matcher) least() *Key {
	var key *Key
	for _, s := range m.in {
		if s.open && (key == nil || s.next.Compare(key) < 0) {
			key = &s.next.Key
		}
	}
	return key
}

// gather takes the lines of one key from each source.
func (m *matcher) gather(key Key) error {
	for s, in := range m.in {
		m.lines[s], m.taken[s] = m.lines[s][:0], m.taken[s][:0]
		for in.open && in.next.Key == key {
			if len(m.lines[s]) == maxGroup {
				return points.Errorf(points.FormatError, "reconcile: %v's line %d: the same key more than %d times", in.side, in.next.Number, maxGroup)
			}
			m.lines[s], m.taken[s] = append(m.lines[s], in.next), append(m.taken[s], false)
			m.sum.Lines[s]++
			if in.next.Tries > 0 {
				m.sum.Carried[s]++
			}
			if err := in.advance(); err != nil {
				return err
			}
		}
	}
	return nil
}

// group compares the lines of one key.
func (m *matcher) group() error {
	ours := m.lines[Switch]
	if len(ours) == 1 && len(m.lines[Acquirer]) <= 1 && len(m.lines[Issuer]) <= 1 && m.plain(&ours[0]) {
		m.sum.Classes[Match].add(0)
		return nil
	}
	worst := make([]bool, len(ours)) // which of ours have a finding
	late := make([]bool, len(ours))  // which of ours were found under another date
	for _, side := range [...]Side{Acquirer, Issuer} {
		if err := m.side(side, worst, late); err != nil {
			return err
		}
	}
	for i := range ours {
		if err := m.settle(&ours[i], worst[i], late[i]); err != nil {
			return err
		}
	}
	if len(ours) > 0 {
		return nil
	}
	return m.strangers()
}

// plain reports whether one line of ours, of this date, is matched by at most one on each
// side and has nothing to be said of it. That is how almost all of a day is.
func (m *matcher) plain(ours *Line) bool {
	if ours.Seen != 0 || ours.Tries > 0 || ours.Expect&Both == 0 {
		return false
	}
	for _, side := range [...]Side{Acquirer, Issuer} {
		theirs := m.lines[side]
		if ours.Expect.Has(side) != (len(theirs) == 1) || (len(theirs) == 1 && ours.diff(&theirs[0], side) != 0) {
			return false
		}
	}
	return true
}

// rounds are the differences that a pair may have, round by round.
func rounds() [4]Diffs {
	return [...]Diffs{0, DiffDate, DiffAmount | DiffFee | DiffDate | DiffStatus, ^Diffs(0)}
}

// side pairs ours with the lines of one side, and says what differs.
func (m *matcher) side(side Side, worst, late []bool) error {
	ours, theirs, taken := m.lines[Switch], m.lines[side], m.taken[side]
	for round, allowed := range rounds() {
		for i := range ours {
			if !ours[i].Expect.Has(side) || ours[i].Seen.Has(side) {
				continue
			}
			for j := range theirs {
				diffs := ours[i].diff(&theirs[j], side)
				if taken[j] || diffs&^allowed != 0 || (round == 2 && ours[i].Kind != theirs[j].Kind) {
					continue
				}
				taken[j] = true
				ours[i].Seen |= In(side)
				if diffs == 0 {
					break
				}
				worst[i] = true
				late[i] = late[i] || diffs&DiffDate != 0
				if err := m.pair(side, diffs, &ours[i], &theirs[j]); err != nil {
					return err
				}
				break
			}
		}
	}
	if len(ours) == 0 {
		return nil
	}
	for j := range theirs {
		if taken[j] {
			continue
		}
		f := Finding{Class: MissingSwitch} // We have it, and it was not for this side to tell.
		if slices.ContainsFunc(ours, func(l Line) bool { return l.Seen.Has(side) }) {
			f.Class, f.Side = dupOf(side), side
		}
		f.Lines[Switch], f.Lines[side] = &ours[0], &theirs[j]
		if err := m.found(&f, magnitude(theirs[j].Amount)); err != nil {
			return err
		}
	}
	return nil
}

// pair reports what differs between two lines.
func (m *matcher) pair(side Side, diffs Diffs, ours, theirs *Line) error {
	f := Finding{Side: side, Diffs: diffs}
	f.Lines[Switch], f.Lines[side] = ours, theirs
	switch {
	case diffs&DiffAsset != 0:
		f.Class = Asset
	case diffs&DiffAmount != 0:
		f.Class = Amount
	case diffs&DiffStatus != 0:
		f.Class = Status
	case diffs&DiffFee != 0:
		f.Class = Fee
	default:
		f.Class = Date
		f.Timing = neighbours(ours.Date, theirs.Date)
	}
	return m.found(&f, distance(ours.Amount, theirs.Amount))
}

// neighbours reports whether two dates are no further apart than a line is looked for.
func neighbours(a, b points.BusinessDate) bool {
	if a > b {
		a, b = b, a
	}
	return a != 0 && a.AddDays(Retries) >= b
}

// settle says what is missing of one of ours, and whether it is looked for again.
func (m *matcher) settle(ours *Line, worst, late bool) error {
	if ours.Expect&Both == 0 {
		m.sum.Unchecked++
		return nil
	}
	missing := ours.Expect & Both &^ ours.Seen
	for _, side := range [...]Side{Acquirer, Issuer} {
		if !missing.Has(side) {
			continue
		}
		worst = true
		f := Finding{Class: MissingAcq, Side: side, InDoubt: ours.Tries < Retries}
		if side == Issuer {
			f.Class = MissingIss
		}
		f.Lines[Switch] = ours
		if err := m.found(&f, magnitude(ours.Amount)); err != nil {
			return err
		}
	}
	if !worst && ours.Tries == 0 {
		m.sum.Classes[Match].add(0)
	}
	// What was found under another date may come once more under its own.
	if (missing != 0 || late) && ours.Tries < Retries {
		return m.again(Switch, ours)
	}
	return nil
}

// settledBefore reports those lines of theirs that we have on a date before, and leaves
// the others.
func (m *matcher) settledBefore(side Side) (left []Line, err error) {
	lines := m.lines[side]
	if m.hands.Known == nil {
		return lines, nil
	}
	left = lines[:0]
	for i := range lines {
		line := lines[i]
		ours, err := m.hands.Known(side, &line)
		switch {
		case err != nil:
			return nil, err
		case ours == nil:
			left = append(left, line)
			continue
		case ours.Seen.Has(side):
			f := Finding{Class: dupOf(side), Side: side, Diffs: DiffDate}
			f.Lines[Switch], f.Lines[side] = ours, &line
			err = m.found(&f, magnitude(line.Amount))
		default:
			err = m.pair(side, ours.diff(&line, side)|DiffDate, ours, &line)
		}
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

func dupOf(side Side) Class {
	if side == Issuer {
		return DupIss
	}
	return DupAcq
}

// strangers reports lines that we have not: an acquirer's and an issuer's that agree are
// one finding.
func (m *matcher) strangers() (err error) {
	for _, side := range [...]Side{Acquirer, Issuer} {
		if m.lines[side], err = m.settledBefore(side); err != nil {
			return err
		}
	}
	theirs, others := m.lines[Acquirer], m.lines[Issuer]
	for i := 0; i < max(len(theirs), len(others)); i++ {
		f := Finding{Class: MissingSwitch, Side: Switch}
		var amount uint64
		tries := uint8(Retries)
		for side, lines := range [sides][]Line{Acquirer: theirs, Issuer: others} {
			if i < len(lines) {
				f.Lines[side] = &lines[i]
				amount = max(amount, magnitude(lines[i].Amount))
				tries = min(tries, lines[i].Tries)
			}
		}
		f.InDoubt = tries < Retries
		if err := m.found(&f, amount); err != nil {
			return err
		}
		for side, line := range f.Lines {
			if line == nil || !f.InDoubt {
				continue
			}
			if err := m.again(Side(side), line); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *matcher) found(f *Finding, amount uint64) error {
	m.sum.Classes[f.Class].add(amount)
	if f.InDoubt {
		m.sum.InDoubt++
	}
	if f.Timing {
		m.sum.Timing++
	}
	if m.hands.Found == nil {
		return nil
	}
	return m.hands.Found(f)
}

func (m *matcher) again(side Side, line *Line) error {
	if m.hands.Doubt == nil {
		return nil
	}
	carried := *line
	carried.Tries = min(carried.Tries+1, Retries)
	return m.hands.Doubt(side, &carried)
}

// magnitude is |a|, of every int64.
func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a) //nolint:gosec // two's complement.
	}
	return uint64(a)
}

// distance is |a-b|, of every two int64.
func distance(a, b int64) uint64 {
	if a < b {
		a, b = b, a
	}
	return uint64(a) - uint64(b) //nolint:gosec // two's complement.
}
