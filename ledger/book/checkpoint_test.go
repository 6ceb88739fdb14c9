package book_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// shell is a book that is checkpointed a little at a time while commands go on,
// that keeps next to nothing in memory, loses checkpoints, and crashes.
type shell struct {
	*desk
	all     bool // what is used is kept in memory; else next to nothing
	rng     *rand.Rand
	pending map[string][]byte // pairs of the checkpoint that is running
	running bool
	done    bool
}

// afterCommand takes a random step of checkpointing, or crashes and recovers.
func (s *shell) afterCommand(t *testing.T) {
	switch n := s.rng.IntN(20); {
	case !s.running && n < 6:
		s.book.BeginCheckpoint()
		s.pending, s.running, s.done = make(map[string][]byte), true, false
	case s.running && n < 15:
		s.done = s.book.Drain(1+s.rng.IntN(4), func(key, value []byte) {
			s.pending[string(key)] = append([]byte(nil), value...)
		})
		if !s.done {
			return
		}
		durable := s.rng.IntN(4) != 0
		if durable {
			for key, value := range s.pending {
				s.store.put([]byte(key), value)
			}
		}
		s.book.EndCheckpoint(durable)
		s.running = false
	case s.running && n == 15:
		s.book.EndCheckpoint(false) // given up half-way
		s.running = false
	case n == 16:
		s.recover(t)
	}
}

// recover starts again from the store: state, keys of the window, tail. Keys are read
// one by one or gathered; the tail comes in pieces, with what it will want read ahead or
// not, and with what it does not want.
func (s *shell) recover(t *testing.T) { s.recoverBy(t, s.rng.IntN(2) == 0) }

func (s *shell) recoverBy(t *testing.T, gathered bool) {
	s.running = false
	opts := book.Options{Accounts: 1}
	if s.all {
		opts.Accounts = 0
	}
	s.book = book.New(opts, s.store)
	require.NoError(t, s.book.Err())
	var rec book.Record
	checkpoint := s.book.Position()
	keys := s.book.NewKeys()
	for position := s.book.TraceFloor(); position <= checkpoint; position++ {
		require.NoError(t, s.store.Record(position, &rec))
		if gathered {
			n, err := keys.Gather(s.store.journal[position-1], position)
			require.NoError(t, err)
			require.Len(t, s.store.journal[position-1], n)
		} else {
			s.book.Remember(&rec)
		}
	}
	s.book.RememberAll(keys)
	for next := int(checkpoint); next < len(s.store.journal); {
		piece := make([]book.Record, min(1+s.rng.IntN(300), len(s.store.journal)-next))
		var wanted []book.StateKey
		for i := range piece {
			require.NoError(t, s.store.Record(points.Position(next+i+1), &piece[i]))
			wanted = piece[i].Wants(wanted, checkpoint)
		}
		s.preload(t, wanted)
		require.NoError(t, s.book.ReplayAll(piece))
		s.preload(t, wanted) // Too late: what is in memory has changed since.
		next += len(piece)
	}
}

// preload reads some of what is wanted ahead, and some of what is not.
func (s *shell) preload(t *testing.T, wanted []book.StateKey) {
	for i := range wanted {
		if key := wanted[i].Bytes(); s.rng.IntN(4) > 0 {
			require.NoError(t, s.book.Preload(key, s.store.state[string(key)]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.store.state)) {
		if s.rng.IntN(8) == 0 {
			require.NoError(t, s.book.Preload([]byte(key), s.store.state[key]))
		}
	}
}

// A book with next to no memory, checkpointed in pieces between commands, losing
// checkpoints and crashing, gives the answers of one that keeps everything, and
// has its digest after every command.
func TestCheckpointsChangeNothing(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 2))
			plain := clearingDesk(t, book.Options{})
			small := &shell{desk: clearingDesk(t, book.Options{Accounts: 1}), rng: rng}
			plain.furnish(people, strictRules, kindRules)
			small.furnish(people, strictRules, kindRules)
			g := &generator{pick: rng.IntN}
			for range 300 {
				cmd := g.next(plain.book.Date())
				if cmd.Kind == book.KindCutOver {
					cmd.TraceDays, cmd.Limit = uint8(rng.IntN(4)), uint32(rng.IntN(100))
					cmd.TraceTime = []uint32{0, 1, 3600}[rng.IntN(3)]
				}
				want, got := plain.do(cmd), small.do(cmd)
				require.Equal(t, book.AppendRecord(nil, &cmd, want), book.AppendRecord(nil, &cmd, got))
				require.Equal(t, want.Replayed, got.Replayed)
				require.Equal(t, plain.book.Digest(), small.book.Digest())
				require.NoError(t, small.book.Audit())
				small.afterCommand(t)
				require.Equal(t, plain.book.Digest(), small.book.Digest())
			}
			require.Equal(t, plain.store.journal, small.store.journal)
		})
	}
}

// A sale that was declined before anybody looked at its points is replayed as declined,
// though its points were there; an enquiry shows again what it showed.
func TestReplayKeepsDeclines(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 100}))
	d.must(book.Command{Kind: book.KindFreeze, Member: 1, Program: air, Freeze: book.FreezeDebit | book.FreezeCredit})
	for stan, kind := range []book.Kind{book.KindRedeem, book.KindHold, book.KindEarn} {
		out := d.do(at("T1", uint32(2+stan), book.Command{Kind: kind, Card: cardOf(1), Program: air, Amount: 5}))
		require.Equal(t, points.AccountFrozen, out.Reason)
		require.Equal(t, points.Amount(100), out.Free)
	}
	d.must(at("T1", 9, book.Command{Kind: book.KindBalance, Card: cardOf(1), Program: air}))
	replay(t, d, newDesk(t, book.Options{}))
}

// What Drain hands out is the state at BeginCheckpoint, whatever happens between.
func TestDrainHandsOutTheStateAtBegin(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(2, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 100}))
	want := d.book.Digest()

	d.book.BeginCheckpoint()
	d.must(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 30}))
	pairs := make(map[string][]byte)
	for !d.book.Drain(1, func(key, value []byte) { pairs[string(key)] = append([]byte(nil), value...) }) {
		d.must(at("T1", uint32(10+len(pairs)), book.Command{Kind: book.KindEarn, Card: cardOf(2), Program: inn, Amount: 1}))
	}
	d.book.EndCheckpoint(true)

	before := newStore()
	before.state, before.journal = pairs, d.store.journal
	recovered := book.New(book.Options{}, before)
	require.NoError(t, recovered.Err())
	var rec book.Record
	for position := recovered.TraceFloor(); position <= recovered.Position(); position++ {
		require.NoError(t, before.Record(position, &rec))
		recovered.Remember(&rec)
	}
	require.Equal(t, want, recovered.Digest())
	view, ok, err := recovered.Account(book.AccountKey{Kind: book.MemberAccount, Program: air, Party: 1})
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, points.Amount(100), view.Free)
}

// A second checkpoint of an unchanged book holds the meta entity only, and one
// after a single redemption holds what the redemption touched.
func TestCheckpointHoldsWhatChanged(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(2, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 100}))
	d.store.checkpoint(d.book)
	count := func() int {
		before := maps.Clone(d.store.state)
		n := 0
		d.book.BeginCheckpoint()
		for !d.book.Drain(1, func([]byte, []byte) { n++ }) {
		}
		d.book.EndCheckpoint(true)
		require.Equal(t, before, d.store.state)
		return n
	}
	require.Equal(t, 1, count())
	d.must(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 30}))
	require.Equal(t, 3, count()) // the member's account, clearing, meta
}

// An account that a declined command had opened leaves nothing behind, also where
// another account takes its place in memory: the digest is that of what there is.
func TestDeclinedAccountsLeaveNoTrace(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	for _, id := range []points.MemberID{2, 3} {
		d.put(book.Entry{Member: &book.Member{ID: id, Status: book.Active}})
	}
	d.do(book.Command{Kind: book.KindGroup, Group: []book.Command{
		{Kind: book.KindOpen, Member: 2, Program: air},
		{Kind: book.KindOpen, Member: 99, Program: air},
	}})
	require.Equal(t, points.UnknownMember, d.out.Reason)
	d.must(book.Command{Kind: book.KindOpen, Member: 3, Program: air})
	before := d.book.Digest()
	d.store.checkpoint(d.book)
	require.Equal(t, before, d.book.Digest())
	_, ok, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: air, Party: 2})
	require.NoError(t, err)
	require.False(t, ok)
}
