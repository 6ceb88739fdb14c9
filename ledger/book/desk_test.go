package book_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// store is what a shell would keep: the checkpointed state and the journal, both
// as bytes, so that every test goes through the codecs.
type store struct {
	state   map[string][]byte
	journal [][]byte

	states, records int // how often it was asked for them
}

func newStore() *store { return &store{state: make(map[string][]byte)} }

func (s *store) State(key []byte) ([]byte, bool, error) {
	s.states++
	value, ok := s.state[string(key)]
	return value, ok, nil
}

func (s *store) Record(position points.Position, rec *book.Record) error {
	s.records++
	if position == 0 || int(position) > len(s.journal) {
		return fmt.Errorf("no record %d among %d", position, len(s.journal))
	}
	_, err := book.DecodeRecord(s.journal[position-1], rec)
	return err
}

func (s *store) write(cmd *book.Command, out *book.Outcome) {
	s.journal = append(s.journal, book.AppendRecord(nil, cmd, out))
}

// checkpoint puts a whole checkpoint away.
func (s *store) checkpoint(b *book.Book) {
	b.BeginCheckpoint()
	for !b.Drain(3, s.put) {
	}
	b.EndCheckpoint(true)
}

func (s *store) put(key, value []byte) {
	if len(value) == 0 {
		delete(s.state, string(key))
		return
	}
	s.state[string(key)] = append([]byte(nil), value...)
}

// desk applies commands to a book the way a shell does.
type desk struct {
	tb    testing.TB
	book  *book.Book
	store *store
	out   book.Outcome
	now   points.Timestamp
	last  points.Timestamp // posting time of the last record
	kept  int              // records behind the last checkpoint of agrees

	clears bool // there are rates, and what is cleared is looked at in the end
}

func newDesk(tb testing.TB, opts book.Options) *desk {
	s := newStore()
	return &desk{tb: tb, book: book.New(opts, s), store: s, now: 1_770_000_000_000_000}
}

// clearingDesk is a desk with rates.
func clearingDesk(tb testing.TB, opts book.Options) *desk {
	d := newDesk(tb, opts)
	d.clears = true
	return d
}

func (d *desk) do(cmd book.Command) *book.Outcome {
	d.tb.Helper()
	d.now += 1000
	if cmd.At == 0 {
		cmd.At = d.now - points.Timestamp(len(d.store.journal)%3)*5000 // clocks go back, too
	}
	next := points.Position(len(d.store.journal) + 1)
	require.NoError(d.tb, d.book.ComparePIN(&cmd))
	require.NoError(d.tb, d.book.Apply(next, &cmd, &d.out))
	if d.out.Position == next && !d.out.Replayed {
		d.store.write(&cmd, &d.out)
		require.Greater(d.tb, d.out.Posted, d.last, "I11")
		require.GreaterOrEqual(d.tb, d.out.Posted, cmd.At, "I11")
		d.last = d.out.Posted
	}
	return &d.out
}

func (d *desk) must(cmd book.Command) *book.Outcome {
	d.tb.Helper()
	out := d.do(cmd)
	require.True(d.tb, out.Reason.Approved(), "kind %d: %v", cmd.Kind, out.Reason)
	return out
}

func (d *desk) put(e book.Entry) {
	d.tb.Helper()
	d.must(book.Command{Kind: book.KindPut, Entry: e})
}

// Names used by tests.
const (
	issuer   = points.IssuerID(1001)
	acquirer = points.AcquirerID(2001)
	air      = points.ProgramID(900)
	inn      = points.ProgramID(901)
	miles    = points.ProgramID(902) // a tier unit
	day0     = points.BusinessDate(20260301)
)

func terminalID(s string) points.TerminalID {
	id, err := points.ParseTerminalID(s)
	if err != nil {
		panic(err)
	}
	return id
}

func merchantID(s string) points.MerchantID {
	id, err := points.ParseMerchantID(s)
	if err != nil {
		panic(err)
	}
	return id
}

func cardOf(member points.MemberID) points.CardToken {
	return points.CardToken{0xca, 15: byte(member)}
}

// milesRules are the terms of tier-qualifying points.
var milesRules = book.ProgramRules{Qualifying: true, Debt: true, Transfer: true, DecayPart: 2000, DecayEvery: 1}

// furnish enters participants, two programmes with the rules given and members
// 1 to n with a card and both accounts.
func (d *desk) furnish(members points.MemberID, airRules, innRules book.ProgramRules) {
	d.tb.Helper()
	d.put(book.Entry{Issuer: &book.Issuer{ID: issuer, Name: "Issuer", Status: book.Active}})
	d.put(book.Entry{Acquirer: &book.Acquirer{ID: acquirer, Name: "Acquirer", Status: book.Active}})
	if airRules.Tier == miles {
		d.put(book.Entry{Program: &book.Program{ID: miles, Issuer: issuer, Name: "Miles", Status: book.Active, Rules: milesRules}})
	}
	d.put(book.Entry{Program: &book.Program{ID: air, Issuer: issuer, Name: "Air", Status: book.Active, Rules: airRules}})
	d.put(book.Entry{Program: &book.Program{ID: inn, Issuer: issuer, Name: "Inn", Status: book.Active, Rules: innRules}})
	if d.clears {
		d.rated(air, inn)
		d.tb.Cleanup(d.checkClearing)
	}
	d.put(book.Entry{Merchant: &book.Merchant{ID: merchantID("SHOP"), Acquirer: acquirer, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{air, inn}}})
	for _, t := range []string{"T1", "T2"} {
		d.put(book.Entry{Terminal: &book.Terminal{ID: terminalID(t), Merchant: merchantID("SHOP"), Status: book.Active}})
	}
	for id := points.MemberID(1); id <= members; id++ {
		d.put(book.Entry{Member: &book.Member{ID: id, Status: book.Active}})
		d.put(book.Entry{Card: &book.Card{Token: cardOf(id), Member: id, Status: book.Active}})
		d.must(book.Command{Kind: book.KindOpen, Member: id, Program: air})
		d.must(book.Command{Kind: book.KindOpen, Member: id, Program: inn})
	}
	d.must(book.Command{Kind: book.KindCutOver, Date: day0})
}

// at fills in where a command comes from, and its key.
func at(terminal string, stan uint32, cmd book.Command) book.Command {
	cmd.Acquirer, cmd.Merchant, cmd.Terminal = acquirer, merchantID("SHOP"), terminalID(terminal)
	cmd.Key = keyOf(terminal, stan, 2)
	return cmd
}

func keyOf(terminal string, stan uint32, class points.Class) points.TraceKey {
	return points.TraceKey{Acquirer: acquirer, Source: terminalID(terminal), When: 1, STAN: points.STAN(stan), Class: class, Door: points.DoorTerminal}
}
