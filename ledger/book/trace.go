package book

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// defaultTraceDays is how many business dates keep their keys when the cut-over
// does not say: the current one and the one before (settlement: a repeat on
// either side of the cut is not cleared again).
const defaultTraceDays = 2

// generation is what is remembered of one business date's keys. Whole dates are
// forgotten at cut-over: what lies before the first generation counts for nothing,
// and leaves the index when its room is needed.
type generation struct {
	first points.Position  // first position of the date
	began points.Timestamp // when that was posted; 0: the record has to be looked at
	keys  uint64           // how many were put down on the date
	// tombs are originals that were reversed before they came, by the position of
	// the reversal.
	tombs map[points.TraceKey]points.Position
	sum   [2]uint64
}

func newGeneration(first points.Position) generation {
	return generation{first: first, tombs: make(map[points.TraceKey]points.Position)}
}

func (g *generation) bury(key points.TraceKey, position points.Position) {
	g.tombs[key] = position
	g.sumUp(hashKey(0, &key), ^uint64(position))
}

// count counts a key, of which digest is the hash under no seed.
func (g *generation) count(digest, position uint64) {
	g.sumUp(digest, position)
	g.keys++
}

// sumUp adds a key to the sum that goes into the digest. Keys come by the
// million and the sum is there to find faults, so it is mixed, not hashed.
func (g *generation) sumUp(digest, position uint64) {
	h := digest ^ position*0x9e3779b97f4a7c15
	g.sum[0] += h
	g.sum[1] += bits.RotateLeft64(h, 29) * 0xff51afd7ed558ccd
}

func (g *generation) appendDigest(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, g.keys)
	dst = binary.AppendUvarint(dst, uint64(len(g.tombs)))
	dst = binary.LittleEndian.AppendUint64(dst, g.sum[0])
	return binary.LittleEndian.AppendUint64(dst, g.sum[1])
}

// hashKey gives keys that differ in the last bits of the STAN only, as those of
// one sender's messages do, hashes that lead to neighbouring slots of the index:
// the next message then finds in the processor's cache what the last one brought.
func hashKey(seed uint64, key *points.TraceKey) uint64 {
	const neighbours = 8
	who := mix(seed, binary.LittleEndian.Uint64(key.Source[:]), uint64(key.Acquirer)<<16|uint64(key.Class)<<8|uint64(key.Door))
	return mix(seed, key.When^who, uint64(key.STAN/neighbours)) ^ uint64(key.STAN%neighbours)<<8
}

// KeyHash is the hash by which the book finds key, for who keeps keys beside it. It is the
// same for as long as the book lives, nobody outside can say what it is, and it may be
// asked for from any goroutine.
func (b *Book) KeyHash(key *points.TraceKey) uint64 { return hashKey(b.seed, key) }

// numberOf is the number that stands for a position in the index.
func numberOf(p points.Position) uint64 { return uint64(p)%numberMask + 1 }

// positionOf is the position that number stands for: of those that do, the last
// one that was applied.
func (b *Book) positionOf(number uint64) points.Position {
	return b.position - points.Position((uint64(b.position)%numberMask+numberMask-(number-1))%numberMask)
}

// lookUp finds the position at which key was last put down, 0 when it is not
// remembered: a key is put down once, only that of a declined reversal may come
// again (see recall). The index has only a part of its hash, so the record is read to
// see whether it is this key's.
func (b *Book) lookUp(key *points.TraceKey) (points.Position, error) {
	b.putDownKeys()
	found, floor := points.Position(0), b.TraceFloor()
	for cursor := b.keys.seek(hashKey(b.seed, key)); ; {
		number := cursor.next()
		if number == 0 {
			return found, nil
		}
		position := b.positionOf(number)
		if position < floor || position <= found {
			continue
		}
		rec, err := b.record(position)
		if err != nil {
			return 0, err
		}
		if rec.Command.Key == *key {
			found = position
		}
	}
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

// tooMany is how many of the first dates would have to be forgotten for at most
// limit keys to stay. The date that runs and the one before are never among them.
func (b *Book) tooMany(limit uint64) (dates int) {
	kept := uint64(0)
	for i := range b.generations {
		kept += b.generations[i].keys
	}
	for ; kept > limit && dates < len(b.generations)-defaultTraceDays; dates++ {
		kept -= b.generations[dates].keys
	}
	return dates
}

// second is that of a [points.Timestamp].
const second points.Timestamp = 1_000_000

// mostGenerations is how many dates are told apart at most; in a checkpoint there is
// room for 256.
const mostGenerations = 200

// forgetKeys forgets the keys of the first dates, surplus of them at most and none that
// ended less than keep ago: dates that follow one another quickly do not shorten for how
// long a key is remembered (I13). When so many are left that they cannot be told apart
// any more, the first two become one.
func (b *Book) forgetKeys(surplus int, keep points.Timestamp) error {
	now := b.current().began
	for keep > 0 && surplus > 0 {
		ended, err := b.began(&b.generations[surplus])
		if err != nil {
			return err
		}
		if now-ended >= keep {
			break
		}
		surplus--
	}
	b.generations = slices.Delete(b.generations, 0, surplus)
	for keep > 0 && len(b.generations) > mostGenerations {
		b.generations[0].absorb(&b.generations[1])
		b.generations = slices.Delete(b.generations, 1, 2)
	}
	return nil
}

// absorb adds what next, the date behind g, keeps to what g keeps.
func (g *generation) absorb(next *generation) {
	maps.Copy(g.tombs, next.tombs)
	g.keys += next.keys
	for i := range g.sum {
		g.sum[i] += next.sum[i]
	}
}

// began is when the date of g began.
func (b *Book) began(g *generation) (points.Timestamp, error) {
	if g.began == 0 {
		rec, err := b.record(g.first)
		if err != nil {
			return 0, err
		}
		g.began = rec.Outcome.Posted
	}
	return g.began, nil
}

// stale reports whether a command whose key is not known may still be the repeat of one
// that was (I13).
func (b *Book) stale(cmd *Command) (bool, error) {
	if cmd.RepeatOnly {
		return true, nil
	}
	if cmd.Since == 0 || b.TraceFloor() == 1 { // Nothing was ever forgotten.
		return false, nil
	}
	began, err := b.began(&b.generations[0])
	return cmd.Since < began, err
}

// current is the generation of the date that runs.
func (b *Book) current() *generation { return &b.generations[len(b.generations)-1] }

// Remember enters the key of a record that lies before the checkpoint and at or
// after [Book.TraceFloor]: recovery reads those in order before it replays.
func (b *Book) Remember(rec *Record) {
	if rec.Outcome.Position < b.TraceFloor() {
		return
	}
	b.remember(b.generationOf(rec.Outcome.Position), &rec.Command, &rec.Outcome)
	b.followSwap(&rec.Command, &rec.Outcome)
}

// generationOf is the generation that position, which is not before the first, lies in.
func (b *Book) generationOf(position points.Position) *generation {
	i := len(b.generations) - 1
	for i > 0 && position < b.generations[i].first {
		i--
	}
	return &b.generations[i]
}

// remember puts down what g keeps of a command.
func (b *Book) remember(g *generation, cmd *Command, out *Outcome) {
	if cmd.Key != (points.TraceKey{}) {
		e := keyEntry{hashKey(b.seed, &cmd.Key), hashKey(0, &cmd.Key), out.Position}
		g.count(e.digest, uint64(e.position))
		if b.replay.deferred {
			b.replay.keys = append(b.replay.keys, e)
		} else {
			b.keys.insert(e.hash, numberOf(e.position))
		}
	}
	if buries(cmd, out) {
		g.bury(cmd.OriginalKey, out.Position)
	}
}

// buries reports whether a command is the reversal of what has not come yet.
func buries(cmd *Command, out *Outcome) bool {
	return cmd.Kind == KindReverse && out.Reason.Approved() && out.Original == 0
}

// TraceFloor returns the first position whose keys are remembered.
func (b *Book) TraceFloor() points.Position { return b.generations[0].first }

// recall answers a repeat. done is false when the key is new.
func (b *Book) recall(cmd *Command, out *Outcome) (done bool, err error) {
	position, err := b.lookUp(&cmd.Key)
	if position == 0 && err == nil {
		position, err = b.swapUnder(cmd)
	}
	if position == 0 || err != nil {
		return false, err
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
		if isRemote(rec) || rec.asksIssuer() {
			return true, b.recallRemote(position, out)
		}
	}
	rec.Outcome.copyTo(out)
	out.Replayed = true
	return true, nil
}

// sameKind reports whether two commands do the same. Whose ledger is asked is no part of
// what a request says, and the route may have changed between it and its repeat.
func sameKind(x, y *Command) bool {
	return x.Kind == y.Kind || x.Kind == KindForward || y.Kind == KindForward
}

// sameContent reports whether two commands under one key ask for the same thing
// (messages.md 10.1); y is the later one. What only describes how it was asked does not
// count.
func (b *Book) sameContent(x, y *Command) bool {
	if !sameKind(x, y) || x.Function != y.Function || x.Card != y.Card || x.Member != y.Member ||
		(x.Program != y.Program && !y.Chosen) || x.Amount != y.Amount || x.Against != y.Against || x.Reverses != y.Reverses || x.Actual != y.Actual {
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
	if x.Run != y.Run || x.Manifest != y.Manifest || x.Cycle != y.Cycle || !slices.Equal(x.Moves, y.Moves) {
		return false
	}
	if x.Into != y.Into || x.Wanted != y.Wanted || (x.Kind == KindQuote && x.Limit != y.Limit) {
		return false
	}
	if x.Kind == KindPIN && (x.PINValue != y.PINValue || x.Limit != y.Limit) {
		return false
	}
	if x.Tally != y.Tally || !slices.Equal(x.Items, y.Items) || (x.Kind == KindUpload && x.Limit != y.Limit) {
		return false
	}
	return slices.EqualFunc(x.Group, y.Group, func(x, y Command) bool { return b.sameContent(&x, &y) })
}
