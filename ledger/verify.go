package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Report is what [Ledger.Verify] and [VerifyStore] found in order.
type Report struct {
	Records    uint64
	Blocks     uint64
	Position   points.Position // last that was proved
	Posted     points.Timestamp
	Date       points.BusinessDate
	Checkpoint points.Position // whose state was compared, entity by entity; 0: there is none
	Digest     [32]byte
}

// BreachError says which invariant does not hold, and where that shows first.
type BreachError struct {
	Invariant string          `json:"invariant"` // which of package book
	Position  points.Position `json:"position"`  // of the record; of a state, the last record that it is the result of; 0: no record
	Found     string          `json:"found"`
	Expected  string          `json:"expected"`

	cause error // [*DamageError], [ErrBehindAnchor] or what the book said; may be nil
}

// Error names invariant, position, RRN, what was found and what was expected.
func (e *BreachError) Error() string {
	rrn := e.Position.RRN()
	return fmt.Sprintf("ledger: verify: %s is broken at position %d (RRN %s): found %s; expected %s", e.Invariant, e.Position, rrn[:], e.Found, e.Expected)
}

// Unwrap returns what lies behind the breach, if anything does.
func (e *BreachError) Unwrap() error { return e.cause }

// Verify proves the journal against the state that serves: a checkpoint is taken
// for it, and what that finds changed since the one before comes from the book that
// serves. The journal is replayed from the first record on into a new book:
//
//   - the seal and the chain of every block, the anchor and the checkpoint's mark (I8);
//   - of every record that its postings sum to zero (I1), that its posting time is
//     after the one before (I11), and that the date changes by a cut-over only (I12);
//   - that every recorded outcome comes out again (I9). Where it does not, the
//     invariant is named that the difference is about: a key that was used
//     before (I7), a limit (I10), an original that gave more than it had (I4),
//     other lots than are due (I5) or than were taken (I6);
//   - that the state in the store is the one that the replay gives at the
//     checkpoint, entity by entity;
//   - the audit of the replayed book (I1 to I5, I7, I11, I12).
//
// The first fault is returned as a [*BreachError]; any other error says that the
// verification could not be carried out. It reads beside the writer, which does
// not wait for it; it needs memory for the whole state. progress hears how many records are done, and of how many.
func (l *Ledger) Verify(ctx context.Context, progress func(done, total uint64)) (Report, error) {
	if err := l.enter(); err != nil {
		return Report{}, err
	}
	defer l.readers.Done()
	if err := l.putAwayNow(ctx); err != nil {
		return Report{}, err
	}
	v := verification{store: l.store, held: l.anchor.Mark(), progress: progress}
	v.goal = func() (points.Position, error) { return l.Durable(), nil }
	return v.run(ctx)
}

// VerifyStore proves the journal of a store that nobody serves, as
// [Ledger.Verify] does, against the state that a start would recover: the last
// checkpoint and the records behind it. The store may be open read-only.
func VerifyStore(ctx context.Context, s *store.Store, progress func(done, total uint64)) (Report, error) {
	anchor, err := s.Anchor()
	if err != nil {
		return Report{}, err
	}
	v := verification{store: s, held: anchor.Mark(), progress: progress, offline: true}
	if err := anchor.Close(); err != nil {
		return Report{}, err
	}
	v.goal = func() (points.Position, error) {
		end, err := lastPosition(s)
		if err != nil {
			return 0, asBreach(err)
		}
		if v.held.Position > uint64(end) {
			return 0, &BreachError{
				Invariant: "I8", Position: end + 1, Found: fmt.Sprintf("a journal that ends at %d", end),
				Expected: fmt.Sprintf("at least the %d records that were acknowledged", v.held.Position), cause: ErrBehindAnchor,
			}
		}
		return end, nil
	}
	return v.run(ctx)
}

// verification is one run of [Ledger.Verify] or [VerifyStore].
type verification struct {
	store    *store.Store
	held     store.Mark // the anchor's
	offline  bool       // nothing writes to the store
	progress func(done, total uint64)
	// goal tells how far to prove; it is asked once the state is pinned.
	goal func() (points.Position, error)

	mark store.Mark // the checkpoint's
	end  points.Position

	again   *book.Book // replayed from the first record
	tail    *book.Book // resumed from the checkpoint; nil when something serves, or without one
	strayed error      // where tail's outcomes left the journal; the state that it began from is looked at first
	out     book.Outcome
	passage passage
	state   checkpointing // what the replay gave at the mark, ascending by key
	next    int           // first of state's pairs that was not met in the store
	report  Report
}

// errMoved says that a checkpoint was put away while its state was being pinned.
var errMoved = errors.New("ledger: the checkpoint has moved")

func (v *verification) run(ctx context.Context) (Report, error) {
	for {
		mark, err := readCheckpoint(v.store)
		if err != nil {
			return v.report, asBreach(err)
		}
		v.mark = mark
		if err := v.pinned(ctx); !errors.Is(err, errMoved) {
			return v.report, asBreach(err)
		}
	}
}

// pinned proves the journal inside a scan of the state: a scan sees the state as
// it was when it began, whatever checkpoints are put away meanwhile.
func (v *verification) pinned(ctx context.Context) error {
	proved := false
	err := v.store.Scan(ctx, store.State, nil, func(key, value []byte) (bool, error) {
		if !proved {
			proved = true
			if mark, err := readCheckpoint(v.store); err != nil || mark != v.mark {
				return false, errors.Join(err, errMoved)
			}
			if err := v.prove(ctx); err != nil {
				return false, err
			}
		}
		return true, v.compare(ctx, key, value)
	})
	if err != nil {
		return err
	}
	if !proved { // There is no state: none was ever put away, or all of it is gone.
		if err := v.prove(ctx); err != nil {
			return err
		}
	}
	if v.next < len(v.state.pairs) {
		pair := v.state.pairs[v.next]
		return v.differs(ctx, pair.Key[1:], nil, pair.Value)
	}
	v.report.Checkpoint = points.Position(v.mark.Position)
	return v.agree()
}

// prove replays the journal up to the goal.
func (v *verification) prove(ctx context.Context) error {
	if err := v.resume(); err != nil {
		return err
	}
	var err error
	if v.end, err = v.goal(); err != nil {
		return err
	}
	v.again = book.New(book.Options{}, journalOnly{v.store})
	if err := v.replay(ctx); err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if position := v.again.Position(); position != v.end || uint64(position) < v.mark.Position {
		return damaged(position+1, "the journal ends there; the state is of position %d, the checkpoint of %d", v.end, v.mark.Position)
	}
	if err := v.again.Audit(); err != nil {
		return stateBreach(v.end, err)
	}
	v.report.Position, v.report.Digest = v.end, v.again.Digest()
	return nil
}

// agree holds the replayed book against the one that a start would recover.
func (v *verification) agree() error {
	switch {
	case v.tail == nil:
		return nil
	case v.strayed != nil:
		return v.strayed
	}
	if err := v.tail.Audit(); err != nil {
		return stateBreach(v.end, err)
	}
	if digest := v.tail.Digest(); digest != v.report.Digest {
		return &BreachError{Invariant: "I9", Position: v.end, Found: fmt.Sprintf("a state with digest %x", digest), Expected: fmt.Sprintf("%x, which the replay from the first record gives", v.report.Digest)}
	}
	return nil
}

// resume opens the book that a start would begin from, and audits it.
func (v *verification) resume() error {
	if !v.offline || v.mark.Position == 0 {
		return nil
	}
	v.tail = book.New(book.Options{}, unserved{v.store})
	if err := v.tail.Err(); err != nil {
		return stateBreach(points.Position(v.mark.Position), err)
	}
	if position := uint64(v.tail.Position()); position != v.mark.Position {
		return damaged(v.tail.Position(), "the checkpoint's state is of position %d, its mark of %d", position, v.mark.Position)
	}
	if err := v.tail.Audit(); err != nil {
		return stateBreach(points.Position(v.mark.Position), err)
	}
	return nil
}

func (v *verification) replay(ctx context.Context) error {
	var rec book.Record
	return blocks(ctx, v.store, 1, func(b *block) error {
		if b.first > v.end {
			return errEnough
		}
		v.progress(v.report.Records, uint64(v.end))
		v.report.Blocks++
		if err := errors.Join(b.agrees(v.mark, "checkpoint"), b.agrees(v.held, "anchor")); err != nil {
			return err
		}
		if err := b.visit(&rec, v.record); err != nil {
			return err
		}
		if uint64(b.last()) == v.mark.Position {
			v.freeze()
		}
		v.progress(v.report.Records, uint64(v.end))
		return nil
	})
}

// record proves one record.
func (v *verification) record(rec *book.Record) error {
	position := rec.Outcome.Position
	if err := v.passage.check(rec); err != nil {
		return err
	}
	if err := v.again.Apply(position, &rec.Command, &v.out); err != nil {
		return stateBreach(position, err)
	}
	if err := compareOutcomes(rec, &v.out); err != nil {
		return err
	}
	v.report.Records++
	v.report.Posted, v.report.Date = rec.Outcome.Posted, rec.Outcome.Date
	if v.tail != nil && v.strayed == nil {
		v.strayed = v.followed(rec)
	}
	return nil
}

// followed takes one record into the book that a start would recover.
func (v *verification) followed(rec *book.Record) error {
	position := rec.Outcome.Position
	if uint64(position) > v.mark.Position {
		if err := v.tail.Replay(rec); err != nil {
			return stateBreach(position, err)
		}
	} else if position >= v.tail.TraceFloor() {
		v.tail.Remember(rec)
	}
	return nil
}

// freeze keeps the state that the replay gives at the checkpoint's mark.
func (v *verification) freeze() {
	v.again.BeginCheckpoint()
	v.again.Drain(math.MaxInt, func(key, value []byte) {
		if len(value) > 0 {
			v.state.keep(store.State, key, value)
		}
	})
	v.again.EndCheckpoint(true)
	slices.SortFunc(v.state.pairs, func(a, b store.Pair) int { return bytes.Compare(a.Key, b.Key) })
}

// compare holds one entity of the store against the replay's.
func (v *verification) compare(ctx context.Context, key, value []byte) error {
	if v.next >= len(v.state.pairs) {
		return v.differs(ctx, key, value, nil)
	}
	want := v.state.pairs[v.next]
	switch bytes.Compare(want.Key[1:], key) {
	case -1:
		return v.differs(ctx, want.Key[1:], nil, want.Value)
	case 1:
		return v.differs(ctx, key, value, nil)
	}
	if !bytes.Equal(want.Value, value) {
		return v.differs(ctx, key, value, want.Value)
	}
	v.next++
	return nil
}

// differs is the breach that a state entity shows. Where nothing writes to the
// store, the audit of all that lies in it may name an invariant nearer than I9.
func (v *verification) differs(ctx context.Context, key, found, want []byte) error {
	breach := &BreachError{
		Invariant: "I9", Position: points.Position(v.mark.Position),
		Found: fmt.Sprintf("state entity %x with value %x in the checkpoint", key, found), Expected: fmt.Sprintf("value %x, which the replay gives", want),
	}
	if v.offline {
		if err := v.auditStored(ctx); err != nil {
			breach.Invariant, breach.Found, breach.cause = invariantOf(err), err.Error(), err
		}
	}
	return breach
}

// auditStored reads every account and hold that the journal speaks of from the
// checkpoint, and audits them.
func (v *verification) auditStored(ctx context.Context) error {
	stored := book.New(book.Options{}, unserved{v.store})
	var rec book.Record
	err := blocks(ctx, v.store, 1, func(b *block) error {
		if uint64(b.first) > v.mark.Position {
			return errEnough
		}
		return b.visit(&rec, func(rec *book.Record) error {
			out := &rec.Outcome
			if rec.Command.Kind == book.KindHold {
				if _, _, err := stored.Hold(out.Position); err != nil {
					return err
				}
			}
			_, _, err := stored.Account(book.AccountKey{Kind: book.MemberAccount, Program: out.Program, Party: uint64(out.Member)})
			for i := 0; err == nil && i < len(out.Postings); i++ {
				_, _, err = stored.Account(out.Postings[i].Account)
			}
			return err
		})
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return stored.Audit()
}

// inText finds the invariant that the book names in an error.
var inText = regexp.MustCompile(`\b(I1[0-2]|I[1-9]):`)

// invariantOf is the invariant that err is about. What names none is a replay or
// a state that is not what it was: I9.
func invariantOf(err error) string {
	if found := inText.FindStringSubmatch(err.Error()); found != nil {
		return found[1]
	}
	return "I9"
}

// stateBreach is the breach that the book has found in its state at position.
func stateBreach(position points.Position, err error) error {
	return &BreachError{Invariant: invariantOf(err), Position: position, Found: err.Error(), Expected: "a state that keeps the book's invariants", cause: err}
}

// asBreach turns damage of the journal into the breach that it is.
func asBreach(err error) error {
	if breach, ok := errors.AsType[*BreachError](err); ok {
		return breach
	}
	if damage, ok := errors.AsType[*DamageError](err); ok {
		return &BreachError{Invariant: "I8", Position: damage.Position, Found: damage.Cause, Expected: "an unbroken chain of sealed blocks", cause: err}
	}
	return err
}

// journalOnly is the source of a book that is replayed from the first record: no
// state was ever put away, and every block's hash was compared before.
type journalOnly struct {
	store *store.Store
}

// State has nothing.
func (journalOnly) State([]byte) ([]byte, bool, error) { return nil, false, nil }

// Record reads the journal.
func (j journalOnly) Record(position points.Position, rec *book.Record) error {
	return readRecord(j.store, position, rec, false)
}

// unserved is the source of a book over a store that nothing writes to.
type unserved struct {
	store *store.Store
}

// State reads a checkpointed entity.
func (u unserved) State(key []byte) ([]byte, bool, error) { return u.store.Get(nil, store.State, key) }

// Record reads the journal.
func (u unserved) Record(position points.Position, rec *book.Record) error {
	return readRecord(u.store, position, rec, true)
}
