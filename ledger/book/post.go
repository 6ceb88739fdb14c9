package book

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// MaxMoves bounds how many clearing accounts one posting moves.
const MaxMoves = 1 << 14

func appendPost(dst []byte, c *Command, m uint64) []byte {
	if m&hasRun != 0 {
		dst = append(dst, c.Run[:]...)
	}
	if m&hasManifest != 0 {
		dst = append(dst, c.Manifest[:]...)
	}
	if m&hasMoves != 0 {
		dst = appendList(dst, c.Moves, func(dst []byte, move ClearingMove) []byte {
			dst = binary.AppendUvarint(dst, uint64(move.Program))
			return appendAmount(binary.AppendUvarint(dst, uint64(move.Acquirer)), move.Amount)
		})
	}
	return dst
}

func decodePost(r *reader, c *Command, m uint64) {
	if m&hasRun != 0 {
		r.fixed(c.Run[:])
	}
	if m&hasManifest != 0 {
		r.fixed(c.Manifest[:])
	}
	if m&hasMoves != 0 {
		for range r.count(MaxMoves, 3) {
			move := ClearingMove{Program: r.program(), Acquirer: points.AcquirerID(r.uvarint())}
			move.Amount = r.amount()
			c.Moves = append(c.Moves, move)
		}
	}
}

func appendCleared(dst []byte, o *Outcome, m uint64) []byte {
	if m&outMCC != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.MCC))
	}
	if m&outRoot != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Root))
	}
	if m&outUndone != 0 {
		dst = appendProgramAmounts(dst, o.Undone)
	}
	if m&outOwners != 0 {
		dst = appendList(dst, o.Owners, func(dst []byte, owner ProgramOwner) []byte {
			return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(owner.Program)), uint64(owner.Issuer))
		})
	}
	if m&outSwap != 0 {
		dst = appendSwapFigures(dst, &o.Swap)
	}
	if m&outNoRoom != 0 {
		dst = binary.AppendUvarint(dst, o.NoRoom)
	}
	if m&outLocked != 0 {
		dst = binary.AppendVarint(dst, int64(o.Locked))
	}
	if m&outFee != 0 {
		dst = o.Fee.append(dst)
	}
	return dst
}

func decodeCleared(r *reader, o *Outcome, m uint64) {
	if m&outMCC != 0 {
		o.MCC = r.uint16()
	}
	if m&outRoot != 0 {
		o.Root = r.position()
	}
	if m&outUndone != 0 {
		o.Undone = decodeProgramAmounts(r, o.Undone)
	}
	if m&outOwners != 0 {
		for range r.count(maxOthers, 2) {
			o.Owners = append(o.Owners, ProgramOwner{r.program(), points.IssuerID(r.uvarint())})
		}
	}
	if m&outSwap != 0 {
		o.Swap = decodeSwapFigures(r)
	}
	if m&outNoRoom != 0 {
		o.NoRoom = r.uvarint()
	}
	if m&outLocked != 0 {
		o.Locked = r.timestamp()
	}
	if m&outFee != 0 {
		o.Fee = decodeStepFee(r)
	}
}

// postedBefore answers a run that has posted as it was answered the first time, however
// long ago; nothing is written. Another run of the same cycle is refused by postCycle.
func (b *Book) postedBefore(cmd *Command, out *Outcome) (bool, error) {
	c, err := b.cycleAt(cmd.Date, cmd.Cycle)
	if err != nil || c == nil || c.posted == 0 || c.run != cmd.Run {
		return false, err
	}
	rec, err := b.record(c.posted)
	if err != nil {
		return false, err
	}
	carried := rec.Command.Carried()
	if carried.Manifest != cmd.Manifest || !slices.Equal(carried.Moves, cmd.Moves) {
		out.Reason = points.DuplicateOther
		return true, nil
	}
	rec.Outcome.copyTo(out)
	out.Replayed = true
	return true, nil
}

// postCycle moves all that a closed cycle has cleared off the clearing accounts, once (I22):
// it names what it moves, and is refused where that is not what was cleared. What members
// owed in the cycle does not count for their caps any more.
//
//	for each programme and acquirer:
//	clearing(acquirer)  -amount
//	issued              +amount
func (b *Book) postCycle(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.twoPeople(cmd); !reason.Approved() {
		return reason, nil
	}
	c, err := b.cycleAt(cmd.Date, cmd.Cycle)
	switch {
	case err != nil:
		return 0, err
	case c == nil:
		return points.UnknownOriginal, nil
	case c == b.clearing.current:
		return points.BatchOpen, nil
	case c.posted != 0:
		return points.AlreadyExists, nil
	case cmd.Run == [32]byte{}, cmd.Manifest == [32]byte{}:
		return points.FormatError, nil
	case !slices.Equal(cmd.Moves, c.moves()):
		return points.TotalsDiffer, nil
	}
	for _, move := range cmd.Moves {
		clearing := AccountKey{ClearingAccount, move.Program, uint64(move.Acquirer)}
		if reason, err := b.postHouse(clearing, -move.Amount, out); err != nil || !reason.Approved() {
			return reason, err
		}
		if reason, err := b.postHouse(b.issuersAccount(IssuedAccount, move.Program), move.Amount, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	b.touch(&b.clearing.exposure)
	for _, s := range c.members {
		if b.clearing.exposure.unsettled, err = addSum(b.clearing.exposure.unsettled, s, -1); err != nil {
			return 0, err
		}
	}
	b.touch(c)
	c.posted, c.run = b.position+1, cmd.Run
	return points.Approved, nil
}

// moves is what a cycle has cleared, by programme and acquirer. What participants owe each
// other outright (leg.go) stands among the flows in standard points, and is on no clearing
// account.
func (c *cycle) moves() (moves []ClearingMove) {
	for _, f := range c.flows {
		if f.amount != 0 && f.program != points.Standard {
			moves = append(moves, ClearingMove{f.program, f.acquirer, f.amount})
		}
	}
	slices.SortFunc(moves, func(x, y ClearingMove) int {
		return cmp.Or(cmp.Compare(x.Program, y.Program), cmp.Compare(x.Acquirer, y.Acquirer))
	})
	return moves
}

// MemberPosition is what a member owes and is owed in a cycle, both 0 or more, in smallest
// units of the standard point.
type MemberPosition struct {
	Member        tariff.Member
	Debit, Credit points.Amount
}

// Net is what the member is to receive; below zero, to pay.
func (p MemberPosition) Net() points.Amount { return p.Credit - p.Debit }

// CycleView is what was cleared in a cycle of a business date, as the book has kept it.
type CycleView struct {
	Date      points.BusinessDate
	Cycle     uint8
	Closed    bool
	Posted    points.Position  // of the posting; 0: none
	Positions []MemberPosition // ascending by member, accounts of the operator last; they sum to zero
	Moves     []ClearingMove   // what a posting moves
	Items     uint64
	Unvalued  uint64 // items without a value: the run's exceptions
}

// ClearedIn returns what was cleared in a cycle; ok is false when that was nothing, or
// before there were rates.
func (b *Book) ClearedIn(date points.BusinessDate, number uint8) (view CycleView, ok bool, err error) {
	c, err := b.cycleAt(date, number)
	if c == nil || err != nil {
		return CycleView{}, false, err
	}
	view = CycleView{
		Date: date, Cycle: c.key.cycle, Closed: c != b.clearing.current, Posted: c.posted, Moves: c.moves(), Items: c.items, Unvalued: c.unvalued,
	}
	for _, s := range c.members {
		view.Positions = append(view.Positions, MemberPosition{s.member, s.debit, s.credit})
	}
	slices.SortFunc(view.Positions, func(x, y MemberPosition) int { return cmp.Compare(x.Member, y.Member) })
	return view, true, nil
}

// Unvalued is how many items of the open cycle have no value.
func (b *Book) Unvalued() uint64 {
	if c := b.clearing.current; c != nil {
		return c.unvalued
	}
	return 0
}
