package book

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// defaultTraceDays is how many business dates keep their keys when the cut-over
// does not say: the current one and the one before (settlement: a repeat on
// either side of the cut is not cleared again).
const defaultTraceDays = 2

// generation is the keys of one business date. Whole dates are forgotten at
// cut-over, so nothing is ever looked for in order to be deleted.
type generation struct {
	first points.Position // first position of the date
	keys  map[points.TraceKey]points.Position
	// tombs are originals that were reversed before they came, by the position of
	// the reversal.
	tombs map[points.TraceKey]points.Position
	sum   [2]uint64
}

func newGeneration(first points.Position) generation {
	return generation{
		first: first,
		keys:  make(map[points.TraceKey]points.Position),
		tombs: make(map[points.TraceKey]points.Position),
	}
}

func (g *generation) add(key points.TraceKey, position points.Position) {
	g.keys[key] = position
	g.count(&key, uint64(position))
}

func (g *generation) bury(key points.TraceKey, position points.Position) {
	g.tombs[key] = position
	g.count(&key, ^uint64(position))
}

// count adds a key to the sum that goes into the digest. Keys come by the
// million and the sum is there to find faults, so it is mixed, not hashed.
func (g *generation) count(key *points.TraceKey, position uint64) {
	h := position*0x9e3779b97f4a7c15 + uint64(key.Class)<<8 + uint64(key.Door)
	for _, word := range [...]uint64{uint64(key.Acquirer), binary.LittleEndian.Uint64(key.Source[:]), key.When, uint64(key.STAN)} {
		hi, lo := bits.Mul64(h^word, 0xd6e8feb86659fd93)
		h = hi ^ lo + 0x2545f4914f6cdd1d
	}
	g.sum[0] += h
	g.sum[1] += bits.RotateLeft64(h, 29) * 0xff51afd7ed558ccd
}

func (g *generation) appendDigest(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(g.keys)))
	dst = binary.AppendUvarint(dst, uint64(len(g.tombs)))
	dst = binary.LittleEndian.AppendUint64(dst, g.sum[0])
	return binary.LittleEndian.AppendUint64(dst, g.sum[1])
}

// lookUp finds the position at which key was first used.
func (b *Book) lookUp(key points.TraceKey) (points.Position, bool) {
	for _, g := range slices.Backward(b.generations) {
		if position, ok := g.keys[key]; ok {
			return position, true
		}
	}
	return 0, false
}

// buried reports whether key was reversed before it came.
func (b *Book) buried(key points.TraceKey) bool {
	for i := range b.generations {
		if len(b.generations[i].tombs) == 0 {
			continue
		}
		if _, ok := b.generations[i].tombs[key]; ok {
			return true
		}
	}
	return false
}

// current is the generation of the date that runs.
func (b *Book) current() *generation { return &b.generations[len(b.generations)-1] }

// Remember enters the key of a record that lies before the checkpoint and at or
// after [Book.TraceFloor]: recovery reads those in order before it replays.
func (b *Book) Remember(rec *Record) {
	for i := len(b.generations) - 1; i >= 0; i-- {
		if g := &b.generations[i]; rec.Outcome.Position >= g.first {
			g.remember(&rec.Command, &rec.Outcome)
			return
		}
	}
}

func (g *generation) remember(cmd *Command, out *Outcome) {
	if cmd.Key != (points.TraceKey{}) {
		g.add(cmd.Key, out.Position)
	}
	if cmd.Kind == KindReverse && out.Reason.Approved() && out.Original == 0 {
		g.bury(cmd.OriginalKey, out.Position)
	}
}

// TraceFloor returns the first position whose keys are remembered.
func (b *Book) TraceFloor() points.Position { return b.generations[0].first }

// recall answers a repeat. done is false when the key is new.
func (b *Book) recall(cmd *Command, out *Outcome) (done bool, err error) {
	position, known := b.lookUp(cmd.Key)
	if !known {
		return false, nil
	}
	rec, err := b.record(position)
	if err != nil {
		return false, err
	}
	if !b.sameContent(&rec.Command, cmd) {
		if cmd.Kind == KindReverse && rec.Command.Kind == KindReverse && !rec.Outcome.Reason.Approved() {
			// Its sender repeats a reversal until it is approved. One that was wrong
			// must not stand in the way of the right one.
			return false, nil
		}
		out.Reason = points.DuplicateOther
		return true, nil
	}
	if rec.Outcome.Reason.Approved() {
		t, err := b.findTransaction(position)
		if err != nil {
			return false, err
		}
		if t != nil && t.reversed != 0 {
			out.Reason = points.ReversedBefore
			out.Original = position
			return true, nil
		}
	}
	postings, lots, others := out.Postings, out.Lots, out.Others
	*out = rec.Outcome
	out.Postings = append(postings[:0], rec.Outcome.Postings...)
	out.Lots = append(lots[:0], rec.Outcome.Lots...)
	out.Others = append(others[:0], rec.Outcome.Others...)
	out.Replayed = true
	return true, nil
}

// sameContent reports whether two commands under one key ask for the same thing
// (messages.md 10.1). What only describes how it was asked does not count.
func (b *Book) sameContent(x, y *Command) bool {
	if x.Kind != y.Kind || x.Function != y.Function || x.Card != y.Card || x.Member != y.Member ||
		x.Program != y.Program || x.Amount != y.Amount || x.Against != y.Against || x.Reverses != y.Reverses {
		return false
	}
	if x.Original != y.Original || x.OriginalKey != y.OriginalKey || x.ToCard != y.ToCard || x.ToMember != y.ToMember {
		return false
	}
	if x.Origin != y.Origin || x.ActiveOn != y.ActiveOn || x.ExpiresOn != y.ExpiresOn || x.Freeze != y.Freeze || x.Date != y.Date {
		return false
	}
	if (x.Entry != Entry{} || y.Entry != Entry{}) {
		b.valueScratch = appendEntry(b.valueScratch[:0], &x.Entry)
		n := len(b.valueScratch)
		b.valueScratch = appendEntry(b.valueScratch, &y.Entry)
		if !slices.Equal(b.valueScratch[:n], b.valueScratch[n:]) {
			return false
		}
	}
	return slices.EqualFunc(x.Group, y.Group, func(x, y Command) bool { return b.sameContent(&x, &y) })
}
