package ledger_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// accountsOf is what the serving book says a member has.
func (h *house) accountsOf(id points.MemberID) (want ledger.Accounts) {
	h.tb.Helper()
	require.NoError(h.tb, h.ledger.View(context.Background(), func(b *book.Book) (err error) {
		want.AsOf, want.Date = b.Position(), b.Date()
		if want.Member, _, err = b.Member(id); err != nil {
			return err
		}
		if want.Card, _, err = b.Card(card(id)); err != nil {
			return err
		}
		for _, program := range want.Member.Programs {
			view, _, err := b.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: uint64(id)})
			if err != nil {
				return err
			}
			view.Redeemed, view.Redemptions, view.Given = 0, 0, 0
			want.Accounts = append(want.Accounts, view)
		}
		return nil
	}))
	return want
}

// What is read beside the writer is what the serving book says, over days with
// holds, debts, transfers, groups and what falls due in batches, with checkpoints
// in between and the index ahead, behind, or being made again. Statements and
// searches have the records of the batches, too: the balances agree with them.
func TestAccountsBesideTheWriter(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			h := build(t, vfs.NewMem(), ledger.Options{CheckpointEvery: 150})
			defer h.close()
			b := openBazaar(h, seed)
			p := h.project(ledger.ProjectionOptions{ShelfBits: 4})
			for round := range 60 {
				b.trade(20)
				if round%20 == 19 {
					require.NoError(t, p.Rebuild(t.Context()))
				}
				for id := points.MemberID(1); id <= members; id++ {
					want := h.accountsOf(id)
					got, err := p.Accounts(t.Context(), ledger.Holder{Card: card(id)})
					require.NoError(t, err)
					require.Equal(t, want, got, "round %d, member %d, as of %d", round, id, got.AsOf)
					require.LessOrEqual(t, got.AsOf, h.ledger.Durable(), "J4")
					got.Card, want.Card = book.Card{}, book.Card{}
					got, err = p.Accounts(t.Context(), ledger.Holder{Member: id})
					require.NoError(t, err)
					require.Equal(t, want.Accounts, got.Accounts)
				}
				trial, err := h.ledger.TrialBalance(t.Context())
				require.NoError(t, err)
				require.NoError(t, h.ledger.View(t.Context(), func(b *book.Book) error {
					require.Equal(t, b.Totals(), trial.Totals())
					require.Equal(t, b.Position(), trial.Position)
					return nil
				}))
			}
			require.NotZero(t, h.checkpoint())
			h.caughtUp(p)
			_, err := p.Accounts(t.Context(), ledger.Holder{Member: members + 1})
			require.Equal(t, points.UnknownMember, points.ReasonOf(err))
			_, err = p.Accounts(t.Context(), ledger.Holder{Card: card(members + 1)})
			require.Equal(t, points.UnknownCard, points.ReasonOf(err))
		})
	}
}

// A balance is answered while the applying goroutine is held up, and as of what was
// durable then.
func TestAccountsDoNotNeedTheWriter(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{})
	defer h.close()
	h.furnish(2)
	p := h.project(ledger.ProjectionOptions{})
	want := h.accountsOf(1)
	entered, held, left := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	leave := sync.OnceFunc(func() { close(held) })
	defer leave()
	go func() {
		left <- h.ledger.View(context.Background(), func(*book.Book) error {
			close(entered)
			<-held
			return nil
		})
	}()
	<-entered
	answered := make(chan points.Reason, 1)
	cmd := command(book.KindRedeem, 0, 77, 1, 100)
	h.ledger.Submit(&cmd, func(out *book.Outcome) { answered <- out.Reason })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := p.Accounts(ctx, ledger.Holder{Card: card(1)})
	require.NoError(t, err)
	require.Equal(t, want, got)
	trial, err := h.ledger.TrialBalance(ctx)
	require.NoError(t, err)
	require.Equal(t, want.AsOf, trial.Position)
	leave()
	require.NoError(t, <-left)
	require.Equal(t, points.Approved, <-answered)
	got, err = p.Accounts(ctx, ledger.Holder{Card: card(1)})
	require.NoError(t, err)
	require.Equal(t, want.Accounts[0].Free-100, got.Accounts[0].Free, "what was answered is in the next balance")
}

// Balances read while checkpoints are put away are each of one position: the
// account that is read has the sum that the journal gives it there.
func TestAccountsAcrossCheckpoints(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{CheckpointEvery: 3, CheckpointInterval: time.Millisecond})
	defer h.close()
	h.furnish(1)
	p := h.project(ledger.ProjectionOptions{ShelfBits: 2})
	start := h.accountsOf(1)
	stop, stopped := make(chan struct{}), make(chan struct{})
	defer func() {
		close(stop)
		<-stopped
	}()
	go func() {
		defer close(stopped)
		for serial := uint64(100); ; serial++ {
			select {
			case <-stop:
				return
			default:
			}
			cmd := command(book.KindEarn, 0, serial, 1, 1)
			if _, err := h.ledger.Do(context.Background(), &cmd); err != nil {
				return
			}
		}
	}()
	for range 2_000 {
		got, err := p.Accounts(t.Context(), ledger.Holder{Card: card(1)})
		require.NoError(t, err)
		require.Equal(t, points.Amount(got.AsOf-start.AsOf), got.Accounts[0].Free-start.Accounts[0].Free, "each record behind %d earns one point", start.AsOf)
	}
}

// The state may be that of a process before: read, and brought forward.
func TestAccountsAfterARestart(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{})
	h.furnish(1)
	h.close()
	h.open()
	defer h.close()
	p := h.project(ledger.ProjectionOptions{})
	h.must(command(book.KindRedeem, 0, 78, 1, 100))
	got, err := p.Accounts(t.Context(), ledger.Holder{Card: card(1)})
	require.NoError(t, err)
	require.Equal(t, h.accountsOf(1), got)
	require.EqualValues(t, 9_900, got.Accounts[0].Free)
}
