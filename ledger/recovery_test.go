package ledger_test

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// recover recovers a house that is closed, without serving.
func (h *house) recover(opts ledger.Options) (got ledger.Recovered, err error) {
	h.tb.Helper()
	h.inStore(func(s *store.Store) {
		opts.Store = s
		got, err = ledger.Recover(opts)
	})
	return got, err
}

// submit hands commands over without waiting between them, and waits for all.
func (h *house) submit(commands []book.Command) (outcomes []book.Outcome) {
	h.tb.Helper()
	heard := make(chan book.Outcome, len(commands))
	for i := range commands {
		h.ledger.Submit(&commands[i], func(out *book.Outcome) { heard <- out.Clone() })
	}
	for range commands {
		outcomes = append(outcomes, <-heard)
	}
	return outcomes
}

// killed is a closed house with a journal of many runs, as a crash has left it: members
// with a checkpoint, and behind that redemptions, holds, captures and declines.
func killed(t *testing.T, members, sales int) (left *house, checkpoint points.Position) {
	disk := vfs.NewCrashableMem()
	h := build(t, disk, ledger.Options{GroupMax: 16})
	h.furnish(points.MemberID(members))
	h.close()
	h.open()
	checkpoint = h.ledger.Durable()
	var commands []book.Command
	for i := range sales {
		member := points.MemberID(1 + i%members)
		cmd := command(book.KindRedeem, 1, uint64(i), member, 1)
		switch i % 4 {
		case 1:
			cmd.Kind = book.KindHold
		case 2:
			cmd.Kind, cmd.OriginalKey, cmd.Final = book.KindCapture, key(1, uint64(i-1)), true
			cmd.Card = card(points.MemberID(1 + (i-1)%members))
		case 3:
			cmd.Amount = 1_000_000
		}
		cmd.Note = note(1000)
		commands = append(commands, cmd)
	}
	for i, out := range h.submit(commands) {
		require.Equal(t, i%4 != 3, out.Reason.Approved(), "%d: %v", i, out.Reason)
	}
	left = h.at(disk.CrashClone(vfs.CrashCloneCfg{}))
	h.close()
	return left, checkpoint
}

// J3: where the journal goes wrong in the middle of what is read in parallel, recovery
// names the place, the first one if there are several, and has booked nothing behind it.
func TestRecoveryBooksNothingBehindDamage(t *testing.T) {
	t.Parallel()
	h, checkpoint := killed(t, 40, 2000)
	whole, err := h.recover(ledger.Options{})
	require.NoError(t, err)
	require.Equal(t, whole.Position, whole.Booked)
	all := h.blocks()
	first := slices.IndexFunc(all, func(b stored) bool { return b.first() > checkpoint })
	require.Greater(t, len(all), first+100)
	for i := first - 2; i < len(all)-1; i += 9 {
		b := all[i]
		rotten := stored{b.key, slices.Clone(b.value)}
		rotten.value[len(b.value)/2] ^= 4
		for what, change := range map[string]stored{"a flipped bit": rotten, "a broken chain": b.sealed(1), "a missing block": {b.key, nil}} {
			h.write(change)
			later := all[min(i+40, len(all)-1)]
			h.write(later.sealed(1))
			got, err := h.recover(ledger.Options{})
			var damage *ledger.DamageError
			require.ErrorAs(t, err, &damage, what)
			require.Equal(t, b.first(), damage.Position, what)
			require.EqualValues(t, b.first()-1, got.Position, what)
			require.EqualValues(t, max(b.first()-1, checkpoint), got.Booked, what)
			h.write(later)
			h.write(b)
		}
	}
	h.open()
	h.verify()
	h.close()
}

// Recovery reads the state that the records want ahead of them, all accounts at once or,
// where not all are kept, in the order of the store: hardly anything by itself.
func TestRecoveryReadsStateAhead(t *testing.T) {
	t.Parallel()
	const members = 200
	h, _ := killed(t, members, 400)
	for name, opts := range map[string]ledger.Options{"all accounts": {}, "what is wanted": {Accounts: members - 1}} {
		got, err := h.recover(opts)
		require.NoError(t, err, name)
		require.Less(t, got.Single, members/8, name) // what is singly read are the lists that every book has
	}
}
