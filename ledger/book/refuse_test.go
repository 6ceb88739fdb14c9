package book_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// An account takes 64 different lots and refuses the next; equal ones still merge,
// and what comes back finds room.
func TestAccountRefusesTooManyLots(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	earn := func(stan uint32, days int) points.Reason {
		return d.do(at("T1", stan, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 1, ExpiresOn: day0.AddDays(days)})).Reason
	}
	require.Equal(t, points.Approved, earn(100, 0))
	sale := at("T1", 101, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1})
	d.must(sale)
	for i := range 64 {
		require.Equal(t, points.Approved, earn(uint32(i), i+1))
	}
	require.Equal(t, points.TooManyLots, earn(102, 65))
	require.Equal(t, points.Approved, earn(103, 64))
	d.must(at("T1", 104, book.Command{Kind: book.KindVoid, Card: cardOf(1), OriginalKey: sale.Key}))
	require.NoError(t, d.book.Audit())
}

// A sale is given back in 4,096 pieces at the most; its reversal gives back the rest.
func TestSaleIsGivenBackInBoundedPieces(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 5000}))
	sale := at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 5000})
	d.must(sale)
	refund := func(stan uint32) points.Reason {
		return d.do(at("T1", stan, book.Command{Kind: book.KindRefund, Card: cardOf(1), OriginalKey: sale.Key, Amount: 1})).Reason
	}
	for i := range uint32(4096) {
		require.Equal(t, points.Approved, refund(10+i))
	}
	require.Equal(t, points.OverCountLimit, refund(9000))
	reverse := at("T1", 2, book.Command{Kind: book.KindReverse, Card: cardOf(1), OriginalKey: sale.Key})
	reverse.Key = keyOf("T1", 9001, 4)
	part := reverse
	part.Key, part.Actual = keyOf("T1", 9002, 4), 100
	require.Equal(t, points.OverCountLimit, d.do(part).Reason)
	require.EqualValues(t, 5000-4096, d.must(reverse).Amount)
	require.NoError(t, d.book.Audit())
}

// What could not be read back is refused without a trace, not written.
func TestMalformedCommandsAreNotWritten(t *testing.T) {
	long := strings.Repeat("x", 2000)
	name := strings.Repeat("x", 300)
	for what, cmd := range map[string]book.Command{
		"no kind":           {},
		"unknown kind":      {Kind: 200},
		"long note":         {Kind: book.KindCutOver, Date: day0, Note: long},
		"long operator":     {Kind: book.KindCutOver, Date: day0, Operator: long},
		"long name":         {Kind: book.KindPut, Entry: book.Entry{Issuer: &book.Issuer{ID: 1, Name: name, Status: book.Active}}},
		"two entries":       {Kind: book.KindPut, Entry: book.Entry{Issuer: &book.Issuer{}, Acquirer: &book.Acquirer{}}},
		"no entry":          {Kind: book.KindPut},
		"entry elsewhere":   {Kind: book.KindOpen, Entry: book.Entry{Issuer: &book.Issuer{}}},
		"empty group":       {Kind: book.KindGroup},
		"group in a group":  {Kind: book.KindGroup, Group: []book.Command{{Kind: book.KindGroup, Group: []book.Command{{Kind: book.KindOpen}}}}},
		"group not a group": {Kind: book.KindEarn, Group: []book.Command{{Kind: book.KindOpen}}},
		"huge group":        {Kind: book.KindGroup, Group: make([]book.Command, 65)},
		"time before 1970":  {Kind: book.KindCutOver, Date: day0, At: -1},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t, book.Options{})
			cmd.Key = keyOf("T1", 1, 2)
			if cmd.At == 0 {
				cmd.At = 5
			}
			before := d.book.Digest()
			out := d.do(cmd)
			require.Equal(t, points.FormatError, out.Reason)
			require.Zero(t, out.Position)
			require.Empty(t, d.store.journal)
			require.Equal(t, before, d.book.Digest())
		})
	}
}

// A decline without a key is not written: nobody can ask for it again.
func TestUnkeyedDeclineIsNotWritten(t *testing.T) {
	d := newDesk(t, book.Options{})
	before := d.book.Digest()
	out := d.do(book.Command{Kind: book.KindOpen, Member: 9, Program: air})
	require.Equal(t, points.UnknownMember, out.Reason)
	require.Zero(t, out.Position)
	require.Equal(t, before, d.book.Digest())
}

type brokenStore struct {
	*store
	fail bool
}

var errDisk = errors.New("disk is gone")

func (s *brokenStore) State(key []byte) ([]byte, bool, error) {
	if s.fail {
		return nil, false, errDisk
	}
	return s.store.State(key)
}

// A fault of the store is an error, not an outcome, and the book is stopped by it.
func TestFaultOfTheSourceStopsTheBook(t *testing.T) {
	s := &brokenStore{store: newStore()}
	d := newDesk(t, book.Options{})
	d.book, d.store = book.New(book.Options{}, s), s.store
	d.furnish(1, kindRules, kindRules)
	s.fail = true
	cmd := at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(9), Program: air, Amount: 1})
	var out book.Outcome
	next := points.Position(len(s.journal) + 1)
	require.ErrorIs(t, d.book.Apply(next, &cmd, &out), errDisk)
	s.fail = false
	require.ErrorIs(t, d.book.Apply(next, &cmd, &out), errDisk)
	require.ErrorIs(t, d.book.Err(), errDisk)

	s.fail = true
	require.ErrorIs(t, book.New(book.Options{}, s).Err(), errDisk)
}

// Rotten state is an error that names the key, never a guess.
func TestRottenStateIsRefused(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 10}))
	d.store.checkpoint(d.book)
	const page, otherAccount = 7, "\x02\x01\x03\x85"
	for key, value := range d.store.state {
		if key[0] == page || strings.HasPrefix(key, otherAccount) {
			continue // a redemption in the one programme does not read them
		}
		for _, rotten := range [][]byte{value[:len(value)-1], append(append([]byte(nil), value...), 0), append([]byte{99}, value[1:]...)} {
			d.store.state[key] = rotten
			b := book.New(book.Options{}, d.store)
			err := b.Err()
			if err == nil { // not read at start
				cmd := at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 5})
				err = b.Apply(b.Position()+1, &cmd, &d.out)
			}
			require.ErrorContains(t, err, "book:", "%x", key)
		}
		d.store.state[key] = value
	}
}

// A position that is not the next one is a fault of ours (I8), and a record that
// replays to another outcome is named by position and field (I9).
func TestReplayNamesWhatDiffers(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 10}))
	require.ErrorContains(t, book.New(book.Options{}, newStore()).Apply(2, &book.Command{Kind: book.KindOpen}, &d.out), "I8")

	again := book.New(book.Options{}, newStore())
	var rec book.Record
	for i, bytes := range d.store.journal {
		_, err := book.DecodeRecord(bytes, &rec)
		require.NoError(t, err)
		if i+1 == len(d.store.journal) {
			rec.Outcome.Free++
			require.ErrorContains(t, again.Replay(&rec), "differs from the journal in free")
			continue
		}
		require.NoError(t, again.Replay(&rec))
	}
}

// The registry that was handed out stays as it was; a new one is made only when
// something changed.
func TestRegistryIsNeverChangedOnceHandedOut(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	first := d.book.Registry()
	require.Same(t, first, d.book.Registry())
	d.put(book.Entry{Terminal: &book.Terminal{ID: terminalID("T1"), Merchant: merchantID("SHOP"), Status: book.Suspended, Batch: 7}})
	d.put(book.Entry{Route: &book.Route{Prefix: "62", Only: inn}})
	d.put(book.Entry{Route: &book.Route{Prefix: "62", Only: air}})
	d.put(book.Entry{Route: &book.Route{Prefix: "6", Issuer: issuer}})
	second := d.book.Registry()
	require.Equal(t, book.Active, first.Terminals[terminalID("T1")].Status)
	require.Empty(t, first.Routes)
	require.Equal(t, book.Suspended, second.Terminals[terminalID("T1")].Status)
	require.Greater(t, second.Version, first.Version)
	prefixes := []string{}
	for _, route := range second.Routes {
		prefixes = append(prefixes, route.Prefix)
	}
	require.Equal(t, []string{"6", "62", "62"}, prefixes)
	require.Equal(t, air, second.Routes[1].Only)
}

// Links of a route have a name, once each, a priority and a weight.
func TestRouteLinksAreChecked(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	good := book.RouteLink{Link: "main", Priority: 1, Weight: 1}
	d.put(book.Entry{Route: &book.Route{Prefix: "6", Issuer: issuer, Links: []book.RouteLink{good, {Link: "reserve", Priority: 2, Weight: 1}}}})
	for _, wrong := range []book.RouteLink{{Priority: 1, Weight: 1}, {Link: "other", Weight: 1}, {Link: "other", Priority: 1}, good} {
		out := d.do(book.Command{Kind: book.KindPut, Entry: book.Entry{Route: &book.Route{Prefix: "7", Links: []book.RouteLink{good, wrong}}}})
		require.Equal(t, points.FormatError, out.Reason, "%+v", wrong)
	}
}
