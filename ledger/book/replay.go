package book

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/lianfen/lianfen/points"
)

// Replay books a record again and compares the outcome with the recorded one (I9).
//
// It takes from the record who was admitted, that nobody had used its key, and why a
// sale was declined, which moved nothing: what points moved, in which lots, what that
// leaves and the limits are worked out again. The whole proof is a fresh [Book.Apply]
// of every command, which is what verify does.
func (b *Book) Replay(rec *Record) error {
	b.replay.of = rec
	err := b.Apply(rec.Outcome.Position, &rec.Command, &b.replay.out)
	b.replay.of = nil
	if err != nil {
		return err
	}
	if b.risk.rehearsed {
		b.replay.out.Risk = rec.Outcome.Risk
	}
	if rec.Outcome.NoRoom == 0 {
		b.replay.out.NoRoom = 0 // Records from before this was written are booked as they were.
	}
	if field := b.replay.out.differs(&rec.Outcome); field != "" {
		b.fault = fmt.Errorf("book: I9: replay of position %d (kind %d) differs from the journal in %s", rec.Outcome.Position, rec.Command.Kind, field)
		return b.fault
	}
	return nil
}

// together is for how many records memory is waited for together: what they need is
// still at hand when their turn comes.
const together = 128

// ReplayAll is [Book.Replay] of records that follow each other. Memory that is far away
// is waited for together: the accounts that the next records name are found first, the
// keys of all are put down last.
func (b *Book) ReplayAll(recs []Record) error {
	p := &b.replay
	p.deferred = true
	defer func() {
		p.deferred, p.account = false, nil
		b.putDownKeys()
	}()
	for i := range recs {
		if i%together == 0 {
			b.findAccounts(recs[i:min(i+together, len(recs))])
		}
		p.account = p.accounts[i%together]
		if err := b.Replay(&recs[i]); err != nil {
			return err
		}
	}
	return nil
}

// findAccounts finds the accounts that records name, those that are in memory: first
// where they are, then who is there, so that neither loop waits for the other.
func (b *Book) findAccounts(recs []Record) {
	var slots [together]uint32
	for i := range recs {
		if rec := &recs[i]; rec.told() && rec.Outcome.Member != 0 {
			slots[i] = b.accounts.likely(rec.account())
		}
	}
	for i := range recs {
		b.replay.accounts[i] = nil
		if slots[i] == 0 {
			continue
		}
		if a := b.accounts.at(slots[i]); a.key == recs[i].account() {
			a.seen = true
			b.replay.accounts[i] = a
		}
	}
}

// replaying is what a replay knows beside the state.
type replaying struct {
	of       *Record // what is booked again; nil: new commands come in
	out      Outcome
	account  *account           // that of names, if it is still there; nil: to be found
	accounts [together]*account // likewise, of those that are replayed together
	deferred bool               // keys wait to be put down
	keys     []keyEntry         // that wait
}

// putDownKeys puts the keys that wait into the index.
func (b *Book) putDownKeys() {
	for i := range b.replay.keys {
		b.keys.insert(b.replay.keys[i].hash, numberOf(b.replay.keys[i].position))
	}
	b.replay.keys = b.replay.keys[:0]
}

// told reports whether the record tells who was admitted, so that this need not be
// found out again: it is of a sale or an enquiry.
func (r *Record) told() bool {
	switch r.Command.Kind {
	case KindEarn, KindRedeem, KindHold, KindBalance:
		return true
	default:
		return false
	}
}

// moved reports whether a record that tells who was admitted changed an account.
func (r *Record) moved() bool { return r.Outcome.Reason.Approved() && r.Command.Kind != KindBalance }

// account is the account that the record shows.
func (r *Record) account() AccountKey {
	return AccountKey{MemberAccount, r.Outcome.Program, uint64(r.Outcome.Member)}
}

// replayed is the record of cmd when it is replayed and tells who was admitted.
func (b *Book) replayed(cmd *Command) *Record {
	if rec := b.replay.of; rec != nil && cmd == &rec.Command && rec.told() {
		return rec
	}
	return nil
}

// shownThen finds the account that a replayed record shows; nil: none.
func (b *Book) shownThen(rec *Record) (*account, error) {
	key := rec.account()
	if key.Party == 0 || key.Program == 0 {
		return nil, nil
	}
	if a := b.replay.account; a != nil && a.key == key {
		return a, nil
	}
	return b.findAccount(key)
}

// admittedThen is the subject that a replayed sale had; false when admission has to find
// it out again.
func (b *Book) admittedThen(cmd *Command, out *Outcome) (s subject, ok bool, err error) {
	rec := b.replayed(cmd)
	if rec == nil {
		return s, false, nil
	}
	program, ok := b.live.Programs[rec.Outcome.Program]
	if !ok || (cmd.Kind == KindEarn && program.Rules.Tier != 0) {
		return s, false, nil
	}
	a, err := b.shownThen(rec)
	if err != nil || a == nil {
		return s, false, err
	}
	out.Member, out.Program, out.Issuer = rec.Outcome.Member, program.ID, program.Issuer
	b.shown = a
	return subject{program: program, account: a}, true, nil
}

// unmovedThen fills in the outcome of a replayed record that moved nothing, as it stands
// in the journal. The balances that it shows are worked out again.
func (b *Book) unmovedThen(rec *Record, out *Outcome) (reason points.Reason, err error) {
	then := &rec.Outcome
	out.Member, out.Program, out.Issuer = then.Member, then.Program, then.Issuer
	out.Others, out.Risk = append(out.Others, then.Others...), then.Risk
	b.shown, err = b.shownThen(rec)
	return then.Reason, err
}

// originalThen is the position of the original that a replayed record names, if it has
// the key that the command names; 0: it has to be looked up.
func (b *Book) originalThen(cmd *Command) (points.Position, error) {
	rec := b.replay.of
	if rec == nil || cmd != &rec.Command || rec.Outcome.Original == 0 || rec.Outcome.Original > b.position {
		return 0, nil
	}
	original, err := b.record(rec.Outcome.Original)
	if err != nil || original.Command.Key != cmd.OriginalKey {
		return 0, err
	}
	return rec.Outcome.Original, nil
}

// StateKey is the key of an entity.
type StateKey struct {
	size  uint8
	bytes [17]byte
}

// Bytes is the key as the [Source] is asked for it.
func (k *StateKey) Bytes() []byte { return k.bytes[:k.size] }

// OfMemberAccount reports whether the key is that of a member's account.
func (k *StateKey) OfMemberAccount() bool { return bytes.HasPrefix(k.Bytes(), MemberAccountKeys()) }

// MemberAccountKeys is what the keys of all members' accounts begin with.
func MemberAccountKeys() []byte { return []byte{stateAccount, byte(MemberAccount)} }

// MemberAccounts is how many accounts members have, closed ones included.
func (b *Book) MemberAccounts() (count uint64) {
	for _, accounts := range b.totals.accounts {
		count += accounts
	}
	return count
}

// Compare is the order of the keys' bytes.
func (k *StateKey) Compare(other *StateKey) int { return bytes.Compare(k.Bytes(), other.Bytes()) }

// Wants appends the keys of the entities that the replay of r will most likely look
// for, so that they can be read together ([Book.Preload]); checkpoint is the position
// that the state in the store is of. What it leaves out is read when it is needed, and
// what is too much does no harm.
func (r *Record) Wants(dst []StateKey, checkpoint points.Position) []StateKey {
	cmd, out := &r.Command, &r.Outcome
	if out.Member != 0 && out.Program != 0 {
		dst = append(dst, memberAccountKey(out.Program, out.Member))
	}
	if r.told() && (out.Member != 0 || !r.moved()) {
		return dst
	}
	for _, token := range [...]*points.CardToken{&cmd.Card, &cmd.ToCard} {
		if !token.IsZero() {
			k := StateKey{size: 17}
			k.bytes[0] = stateCard
			copy(k.bytes[1:], token[:])
			dst = append(dst, k)
		}
	}
	for _, id := range [...]points.MemberID{out.Member, cmd.ToMember} {
		if id != 0 && out.Original == 0 { // What is about an original finds the account by that.
			dst = append(dst, numberKey(stateMember, uint64(id)))
		}
	}
	for i := range out.Postings {
		if key := &out.Postings[i].Account; key.Kind == MemberAccount && key.Party != uint64(out.Member) {
			dst = append(dst, memberAccountKey(key.Program, points.MemberID(key.Party)), numberKey(stateMember, key.Party))
		}
	}
	if out.Original != 0 && out.Original <= checkpoint {
		dst = append(dst, numberKey(stateHold, uint64(out.Original)), numberKey(stateTransaction, uint64(out.Original)))
	}
	return dst
}

func numberKey(kind byte, number uint64) StateKey {
	k := StateKey{size: 9}
	k.bytes[0] = kind
	binary.BigEndian.PutUint64(k.bytes[1:], number)
	return k
}

func memberAccountKey(program points.ProgramID, member points.MemberID) StateKey {
	k := StateKey{size: 12}
	k.bytes[0], k.bytes[1] = stateAccount, byte(MemberAccount)
	binary.BigEndian.PutUint16(k.bytes[2:], uint16(program))
	binary.BigEndian.PutUint64(k.bytes[4:], uint64(member))
	return k
}

// Preload takes in an entity that was read ahead from the [Source] that the book has.
// One that is in memory already stays as it is: it may have changed since.
func (b *Book) Preload(key, value []byte) error {
	if len(key) == 0 || len(value) == 0 {
		return nil
	}
	rest := key[1:]
	number := func() uint64 { return binary.BigEndian.Uint64(rest) }
	switch kind := key[0]; {
	case kind == stateAccount && len(rest) == 11 && rest[0] == byte(MemberAccount):
		a := account{key: AccountKey{MemberAccount, points.ProgramID(binary.BigEndian.Uint16(rest[1:])), binary.BigEndian.Uint64(rest[3:])}}
		if _, ok := b.accounts.find(a.key); ok {
			return nil
		}
		if err := decodeState(&a, key, value); err != nil {
			return err
		}
		b.addAccount(&a)
	case kind == stateMember && len(rest) == 8:
		return preload(&b.members, key, value, &member{Member: Member{ID: points.MemberID(number())}})
	case kind == stateCard && len(rest) == len(points.CardToken{}):
		return preload(&b.cards, key, value, &card{Card: Card{Token: points.CardToken(rest)}})
	case kind == stateHold && len(rest) == 8:
		return preload(&b.holds, key, value, &hold{position: points.Position(number())})
	case kind == stateTransaction && len(rest) == 8:
		return preload(&b.transactions, key, value, &transaction{position: points.Position(number())})
	}
	return nil
}

// preload is [Book.Preload] for the entities of one cache.
func preload[K comparable, V any, E interface {
	stored[K, V]
	readable
}](c *cache[K, V, E], key, value []byte, e E) error {
	if _, ok := c.find(e.id()); ok {
		return nil
	}
	if err := decodeState(e, key, value); err != nil {
		return err
	}
	c.add(*e)
	return nil
}

// Keys are those of records before the checkpoint, as the book remembers them, and what
// quotes that are still open promise. They
// are gathered beside the book ([Keys.Gather]), on any goroutine, and remembered in
// order.
type Keys struct {
	seed     uint64
	posted   points.Timestamp // of the checkpoint
	entries  []keyEntry
	tombs    []tombEntry
	promises []promise // what has become of quotes that may still be open
	rec      Record    // reversals and swaps are read whole
}

type keyEntry struct {
	hash     uint64
	digest   uint64 // of the key alone
	position points.Position
}

type tombEntry struct {
	key      points.TraceKey
	position points.Position
}

// NewKeys returns an empty list for b's index.
func (b *Book) NewKeys() *Keys { return &Keys{seed: b.seed, posted: b.posted} }

// Reset empties the list.
func (k *Keys) Reset() { k.entries, k.tombs, k.promises = k.entries[:0], k.tombs[:0], k.promises[:0] }

// Gather reads of the record at the start of src, which is that of position, what is
// remembered, and returns the record's length. It is not for records that nobody has
// checked: it reads no further than the key.
func (k *Keys) Gather(src []byte, position points.Position) (n int, err error) {
	n, err = SkipRecord(src)
	if err != nil {
		return 0, err
	}
	_, prefix := binary.Uvarint(src)
	r := reader{src: src[prefix:n]}
	version, kind, mask := r.byte(), Kind(r.byte()), r.uvarint()
	if version != recordVersion || mask > commandMask {
		return 0, fmt.Errorf("%w: version %d", errRecord, version)
	}
	if mask&hasFunction != 0 {
		r.byte()
	}
	var key points.TraceKey
	if mask&hasKey != 0 {
		decodeKey(&r, &key)
	}
	if r.bad {
		return 0, fmt.Errorf("%w: %d bytes of kind %d", errRecord, n, kind)
	}
	if key != (points.TraceKey{}) {
		k.entries = append(k.entries, keyEntry{hashKey(k.seed, &key), hashKey(0, &key), position})
	}
	if kind != KindReverse && !promises(kind) {
		return n, nil
	}
	if _, err := DecodeRecord(src[:n], &k.rec); err != nil {
		return 0, err
	}
	cmd, out := &k.rec.Command, &k.rec.Outcome
	if buries(cmd, out) {
		k.tombs = append(k.tombs, tombEntry{cmd.OriginalKey, position})
	}
	if promises(kind) && out.Reason.Approved() && (kind != KindQuote || out.Swap.Expires > k.posted) {
		k.promises = append(k.promises, promiseIn(cmd, out))
	}
	return n, nil
}

// Hashes are the keys in the list, as [Book.KeyHash] has them.
func (k *Keys) Hashes() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range k.entries {
			if !yield(k.entries[i].hash) {
				return
			}
		}
	}
}

// RememberAll is [Book.Remember] for the records that k was gathered from.
func (b *Book) RememberAll(k *Keys) {
	for i := range k.entries {
		e := &k.entries[i]
		b.keys.insert(e.hash, numberOf(e.position))
		b.generationOf(e.position).count(e.digest, uint64(e.position))
	}
	for _, t := range k.tombs {
		b.generationOf(t.position).bury(t.key, t.position)
	}
	for i := range k.promises {
		b.keepPromise(&k.promises[i])
	}
}
