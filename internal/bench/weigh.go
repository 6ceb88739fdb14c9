package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// weighedAccounts are enough to be seen beside what else a heap holds.
const weighedAccounts = 400_000

// nothing is a source of state for a book that keeps everything in memory.
type nothing struct{}

// State has none.
func (nothing) State([]byte) ([]byte, bool, error) { return nil, false, nil }

// Record has none either.
func (nothing) Record(points.Position, *book.Record) error {
	return errors.New("bench: a book that is weighed reads no record")
}

// weigh measures what a book keeps in memory: for each account, its place in the
// index included, and beside it for each member with a card. What has changed is
// put away before anything is weighed, and no command has a key, because keys are
// remembered for a time and not with the accounts.
func weigh(accounts uint64) (account, member float64, err error) {
	w := weighing{book: book.New(book.Options{Accounts: int(accounts) + spareAccounts}, nothing{})} //nolint:gosec // at most weighedAccounts.
	w.do(&book.Command{Kind: book.KindCutOver, Date: 20260101, TraceDays: traceDays})
	w.do(&book.Command{Kind: book.KindPut, Entry: book.Entry{Issuer: &book.Issuer{ID: worldIssuer, Name: "Issuer", Status: book.Active}}})
	w.do(&book.Command{Kind: book.KindPut, Entry: book.Entry{Acquirer: &book.Acquirer{ID: worldAcquirer, Name: "Acquirer", Status: book.Active}}})
	w.do(&book.Command{Kind: book.KindPut, Entry: book.Entry{Program: &book.Program{
		ID: worldProgram, Issuer: worldIssuer, Name: "Points", Status: book.Active, Rules: book.ProgramRules{OpenOnEarn: true},
	}}})
	var weights [3]float64
	for turn := range weights { // More often than needed, so that the lists of what changed have their size before the accounts come.
		weights[turn] = w.heap()
		for id := range accounts {
			w.do(&book.Command{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: points.MemberID(id + 1), Status: book.Active}}})
			w.do(&book.Command{Kind: book.KindPut, Entry: book.Entry{Card: &book.Card{Token: weighedCard(id), Masked: "622202******0000", Member: points.MemberID(id + 1), Status: book.Active}}})
		}
	}
	members := w.heap()
	for id := range accounts {
		w.do(&book.Command{Kind: book.KindEarn, Card: weighedCard(id), Program: worldProgram, Amount: worldFunds, Acquirer: worldAcquirer})
	}
	all := w.heap()
	runtime.KeepAlive(w.book)
	return (all - members) / float64(accounts), (members - weights[0]) / float64(accounts), w.err
}

func weighedCard(id uint64) (token points.CardToken) {
	binary.LittleEndian.PutUint64(token[:], (id+1)*0x9e3779b97f4a7c15) // spread, as tokens are
	return token
}

// weighing is a book on the scales.

type weighing struct {
	book *book.Book
	last points.Position
	out  book.Outcome
	err  error // the first
}

// do carries out a command that has to be approved.
func (w *weighing) do(cmd *book.Command) {
	if w.err != nil {
		return
	}
	w.last++
	cmd.At++ // enough for the book, which makes posting times increase
	if w.err = w.book.Apply(w.last, cmd, &w.out); w.err == nil && !w.out.Reason.Approved() {
		w.err = fmt.Errorf("bench: weigh: kind %v: %s", cmd.Kind, w.out.Reason.English())
	}
}

// heap is what is alive when all changes have been put away, in bytes.
func (w *weighing) heap() float64 {
	if w.err != nil {
		return 0
	}
	w.book.BeginCheckpoint()
	w.book.Drain(int(w.last)*4, func(_, _ []byte) {}) //nolint:gosec // a few million.
	w.book.EndCheckpoint(true)
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one freed is swept by the second
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
