package book_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// crowd is a book with n members who have points, and a command to use again.
type crowd struct {
	book *book.Book
	pos  points.Position
	out  book.Outcome
	cmd  book.Command
	stan uint64
}

// discard is a source without a journal: hot commands never read one back.
type discard struct{}

func (discard) State([]byte) ([]byte, bool, error) { return nil, false, nil }

func (discard) Record(position points.Position, _ *book.Record) error {
	return fmt.Errorf("record %d was not kept", position)
}

func newCrowd(tb testing.TB, members points.MemberID) *crowd {
	c := &crowd{book: book.New(book.Options{}, discard{})}
	d := newDesk(tb, book.Options{})
	d.book = c.book
	d.furnish(1, book.ProgramRules{ValidMonths: 12, ExpiryAtMonth: true}, book.ProgramRules{})
	c.pos = points.Position(len(d.store.journal))
	for id := points.MemberID(2); id <= members; id++ {
		c.do(tb, &book.Command{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: id, Status: book.Active}}})
		c.do(tb, &book.Command{Kind: book.KindPut, Entry: book.Entry{Card: &book.Card{Token: wideCard(id), Member: id, Status: book.Active}}})
		c.do(tb, &book.Command{Kind: book.KindOpen, Member: id, Program: air})
	}
	for id := points.MemberID(2); id <= members; id++ {
		c.prepare(book.KindEarn, id, 1_000_000)
		c.do(tb, &c.cmd)
	}
	return c
}

func wideCard(id points.MemberID) points.CardToken {
	return points.CardToken{0xcb, 12: byte(id >> 24), 13: byte(id >> 16), 14: byte(id >> 8), 15: byte(id)}
}

func (c *crowd) prepare(kind book.Kind, id points.MemberID, amount points.Amount) {
	c.stan++
	c.cmd = at("T1", 0, book.Command{Kind: kind, Card: wideCard(id), Program: air, Amount: amount, At: points.Timestamp(1_770_000_000_000_000 + c.stan)})
	c.cmd.Key.When, c.cmd.Key.STAN = c.stan/1_000_000, points.STAN(c.stan%1_000_000)
}

func (c *crowd) do(tb testing.TB, cmd *book.Command) {
	if err := c.book.Apply(c.pos+1, cmd, &c.out); err != nil || !c.out.Reason.Approved() {
		require.NoError(tb, err)
		require.Equal(tb, points.Approved, c.out.Reason)
	}
	c.pos++
}

// A redemption and an earn allocate nothing once their account and terms are known.
func TestHotPathAllocatesNothing(t *testing.T) {
	c := newCrowd(t, 100)
	record := make([]byte, 0, 1024)
	for _, kind := range []book.Kind{book.KindRedeem, book.KindEarn} {
		id := points.MemberID(2)
		require.Zero(t, testing.AllocsPerRun(5000, func() {
			c.prepare(kind, id, 1)
			c.do(t, &c.cmd)
			record = book.AppendRecord(record[:0], &c.cmd, &c.out)
			if id++; id > 100 {
				id = 2
			}
		}), "kind %d", kind)
	}
}

// The record of a redemption stays small: bytes written are what a ledger costs.
func TestRedemptionRecordIsSmall(t *testing.T) {
	c := newCrowd(t, 100_000)
	c.prepare(book.KindRedeem, 99_999, 1234)
	c.do(t, &c.cmd)
	size := len(book.AppendRecord(nil, &c.cmd, &c.out))
	t.Logf("a redemption is %d bytes", size)
	require.Less(t, size, 200)
}

const benchMembers = 100_000

func (c *crowd) run(b *testing.B, kind book.Kind) {
	b.Helper()
	b.ReportAllocs()
	id := points.MemberID(2)
	for b.Loop() {
		c.prepare(kind, id, 1)
		c.do(b, &c.cmd)
		if id += 7919; id > benchMembers {
			id -= benchMembers - 1
		}
	}
}

func BenchmarkRedeem(b *testing.B) { newCrowd(b, benchMembers).run(b, book.KindRedeem) }

func BenchmarkEarn(b *testing.B) { newCrowd(b, benchMembers).run(b, book.KindEarn) }

func BenchmarkHoldAndCapture(b *testing.B) {
	c := newCrowd(b, benchMembers)
	b.ReportAllocs()
	id := points.MemberID(2)
	for b.Loop() {
		c.prepare(book.KindHold, id, 1)
		c.do(b, &c.cmd)
		hold := c.pos
		c.prepare(book.KindCapture, id, 1)
		c.cmd.Original, c.cmd.Final = hold, true
		c.do(b, &c.cmd)
		if id += 7919; id > benchMembers {
			id -= benchMembers - 1
		}
	}
}

// BenchmarkNaiveRedeem is the baseline: a map of balances and a map of answers,
// without lots, limits, postings or checks.
func BenchmarkNaiveRedeem(b *testing.B) {
	balances := make(map[points.CardToken]int64)
	for id := points.MemberID(2); id <= benchMembers; id++ {
		balances[wideCard(id)] = 1_000_000
	}
	answers := make(map[points.TraceKey]int64)
	c := &crowd{}
	b.ReportAllocs()
	id := points.MemberID(2)
	for b.Loop() {
		c.prepare(book.KindRedeem, id, 1)
		if _, known := answers[c.cmd.Key]; !known && balances[c.cmd.Card] >= 1 {
			balances[c.cmd.Card]--
			balances[points.CardToken{1}]++
			answers[c.cmd.Key] = balances[c.cmd.Card]
		}
		if id += 7919; id > benchMembers {
			id -= benchMembers - 1
		}
	}
}
