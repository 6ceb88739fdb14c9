package book_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

var (
	rightPIN = book.PINValue{1}
	wrongPIN = book.PINValue{2}
)

// pinDesk is a desk whose member 1 has 1000 points and a PIN, with so many tries.
func pinDesk(t *testing.T, tries uint32) *desk {
	d := newDesk(t, book.Options{})
	rules := kindRules
	rules.MaxAmount, rules.PINFrom, rules.Transfer = 500, 100, true
	d.furnish(2, rules, kindRules)
	d.must(at("T1", 900001, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 500}))
	d.must(book.Command{Kind: book.KindPIN, Card: cardOf(1), PINValue: rightPIN, Limit: tries, Operator: "ada"})
	return d
}

func (d *desk) redeems(stan uint32, amount points.Amount, offered book.PINValue) points.Reason {
	d.tb.Helper()
	return d.do(at("T1", stan, book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Program: air, Amount: amount, PINValue: offered})).Reason
}

func (d *desk) pin() book.PINView {
	d.tb.Helper()
	view, ok, err := d.book.PIN(cardOf(1))
	require.NoError(d.tb, err)
	require.True(d.tb, ok)
	return view
}

// As many wrong PINs in a row as the card allows lock it: then the right one is refused
// too, and nothing was spent, until it is unlocked. A right one in between begins anew.
func TestWrongPINsLockTheCard(t *testing.T) {
	for tries := uint32(book.MinPINTries); tries <= book.MaxPINTries; tries++ {
		d := pinDesk(t, tries)
		stan := uint32(0)
		next := func(offered book.PINValue) points.Reason { stan++; return d.redeems(stan, 10, offered) }
		for range tries - 1 {
			require.Equal(t, points.WrongPIN, next(wrongPIN))
		}
		require.Equal(t, points.Approved, next(rightPIN))
		require.Zero(t, d.pin().Tries)
		for range tries {
			require.Equal(t, points.WrongPIN, next(wrongPIN))
		}
		require.True(t, d.pin().Locked)
		for range 3 {
			require.Equal(t, points.PINTriesExceeded, next(rightPIN))
			require.Equal(t, points.PINTriesExceeded, next(wrongPIN))
		}
		require.Equal(t, uint8(tries), d.pin().Tries, "a locked PIN counts nothing more")
		require.Equal(t, points.Amount(490), d.out.Free, "one sale of ten was approved")
		d.must(book.Command{Kind: book.KindPIN, Card: cardOf(1), Operator: "ada"})
		require.Equal(t, points.Approved, next(rightPIN))
		replay(t, d, newDesk(t, book.Options{}))
		replay(t, d, newDesk(t, book.Options{Accounts: 1}))
	}
}

// The order of checks is limits, PIN, points (messages.md 10.3), and a wrong PIN that was
// not looked at is not counted.
func TestPINStandsBetweenLimitsAndPoints(t *testing.T) {
	d := pinDesk(t, 3)
	require.Equal(t, points.OverAmountLimit, d.redeems(1, 501, wrongPIN))
	require.Zero(t, d.pin().Tries)
	require.Equal(t, points.Approved, d.redeems(2, 400, rightPIN))
	require.Equal(t, points.WrongPIN, d.redeems(3, 400, wrongPIN))
	require.Equal(t, points.NotEnoughPoints, d.redeems(4, 400, rightPIN))
	require.Equal(t, uint8(1), d.pin().Tries, "a right one that spends nothing resets nothing")
	replay(t, d, newDesk(t, book.Options{}))
}

// From the programme's amount on a PIN is needed, and at a terminal that demands one
// always, for looking too; what its sender tells has happened needs none.
func TestPINIsDemanded(t *testing.T) {
	d := pinDesk(t, 3)
	require.Equal(t, points.Approved, d.redeems(1, 99, book.PINValue{}))
	require.Equal(t, points.PINRequired, d.redeems(2, 100, book.PINValue{}))
	give := book.Command{Kind: book.KindTransfer, Function: points.Transfer, Card: cardOf(1), ToCard: cardOf(2), Program: air, Amount: 100}
	require.Equal(t, points.PINRequired, d.do(at("T1", 3, give)).Reason)
	d.put(book.Entry{Terminal: &book.Terminal{ID: terminalID("T1"), Merchant: merchantID("SHOP"), Status: book.Active, MAC: book.MACByXOR, PIN: book.PINDemanded}})
	require.Equal(t, points.PINRequired, d.redeems(4, 1, book.PINValue{}))
	look := book.Command{Kind: book.KindBalance, Function: points.Balance, Card: cardOf(1), Program: air}
	require.Equal(t, points.PINRequired, d.do(at("T1", 5, look)).Reason)
	look.PINValue = wrongPIN
	require.Equal(t, points.WrongPIN, d.do(at("T1", 6, look)).Reason)
	look.PINValue = rightPIN
	require.Equal(t, points.Approved, d.do(at("T1", 7, look)).Reason)
	require.Zero(t, d.pin().Tries, "an enquiry counts, and resets, as a sale does")
	told := book.Command{Kind: book.KindRedeem, Function: points.OfflineRedeem, Card: cardOf(1), Program: air, Amount: 200}
	require.Equal(t, points.Approved, d.do(at("T1", 8, told)).Reason)
	none := book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(2), Program: air, Amount: 1, PINValue: rightPIN}
	require.Equal(t, points.PINRequired, d.do(at("T1", 9, none)).Reason, "the card has none")
	unreadable := book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Program: air, Amount: 1, PINResult: book.PINUnreadable}
	require.Equal(t, points.BadPINFormat, d.do(at("T1", 10, unreadable)).Reason)
	require.Zero(t, d.pin().Tries, "what cannot be read was no try")
	replay(t, d, newDesk(t, book.Options{}))
}

// A sale that several programmes pay needs a PIN where one of them does for its part, and
// a wrong one takes nothing from any.
func TestPINOfATender(t *testing.T) {
	d := pinDesk(t, 3)
	d.must(at("T1", 900002, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: inn, Amount: 500}))
	sale := book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Amount: 600, Tender: []book.TenderTerm{{Program: air, Points: 1, Per: 1}, {Program: inn, Points: 1, Per: 1}}}
	require.Equal(t, points.PINRequired, d.do(at("T1", 1, sale)).Reason)
	sale.PINValue = wrongPIN
	require.Equal(t, points.WrongPIN, d.do(at("T1", 2, sale)).Reason)
	sale.PINValue = rightPIN
	require.Equal(t, points.Approved, d.do(at("T1", 3, sale)).Reason)
	require.Zero(t, d.pin().Tries)
	replay(t, d, newDesk(t, book.Options{}))
}

// A request that comes again gets its first answer and is no further try, whatever PIN
// the repeat brings.
func TestRepeatedPINCountsOnce(t *testing.T) {
	d := pinDesk(t, 3)
	for _, offered := range []book.PINValue{wrongPIN, wrongPIN, rightPIN} {
		require.Equal(t, points.WrongPIN, d.redeems(1, 10, offered))
	}
	require.Equal(t, uint8(1), d.pin().Tries)
}

// No record of a try holds what the PIN's value was; that of setting it does.
func TestJournalKeepsNoPINThatWasTried(t *testing.T) {
	d := pinDesk(t, 3)
	tried := book.PINValue(bytes.Repeat([]byte{0xA7}, 16))
	require.Equal(t, points.WrongPIN, d.redeems(1, 10, tried))
	for _, record := range d.store.journal {
		require.NotContains(t, string(record), string(tried[:]))
	}
	raw := at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 10, PINValue: tried})
	var out book.Outcome
	require.NoError(t, d.book.Apply(d.book.Position()+1, &raw, &out))
	require.Equal(t, points.FormatError, out.Reason, "a value that nobody has compared")
	require.Zero(t, out.Position)
}

// What sets a PIN says who did it, for a card that there is, with 3 to 6 tries.
func TestSettingAPINIsRefused(t *testing.T) {
	d := pinDesk(t, 3)
	for _, c := range []struct {
		cmd  book.Command
		want points.Reason
	}{
		{book.Command{Card: cardOf(1), PINValue: wrongPIN}, points.NotPermitted},
		{book.Command{Card: cardOf(9), PINValue: wrongPIN, Operator: "ada"}, points.UnknownCard},
		{book.Command{Card: cardOf(1), PINValue: wrongPIN, Operator: "ada", Limit: 2}, points.FormatError},
		{book.Command{Card: cardOf(1), PINValue: wrongPIN, Operator: "ada", Limit: 7}, points.FormatError},
		{book.Command{Card: cardOf(2), Operator: "ada"}, points.NotPermitted},
	} {
		c.cmd.Kind = book.KindPIN
		require.Equal(t, c.want, d.do(c.cmd).Reason)
	}
	require.Equal(t, points.Approved, d.redeems(1, 10, rightPIN), "the PIN is what it was")
}

// However tries, rights, unlocks, checkpoints and crashes follow each other, the count is
// that of who counts the answers.
func TestPINCountIsThatOfTheAnswers(t *testing.T) {
	for seed := range *seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 11))
		small := &shell{desk: pinDesk(t, 4), rng: rng}
		tries := 0
		for stan := range uint32(120) {
			switch n := rng.IntN(20); {
			case n == 0:
				small.must(book.Command{Kind: book.KindPIN, Card: cardOf(1), Operator: "ada"})
				tries = 0
			case n < 12:
				want := points.WrongPIN
				if tries == 4 {
					want = points.PINTriesExceeded
				} else {
					tries++
				}
				require.Equal(t, want, small.redeems(1000+stan, 1, wrongPIN))
			default:
				want := points.Approved
				if tries == 4 {
					want = points.PINTriesExceeded
				} else {
					tries = 0
				}
				require.Equal(t, want, small.redeems(1000+stan, 1, rightPIN))
			}
			small.afterCommand(t)
			require.Equal(t, uint8(tries), small.pin().Tries)
		}
		replay(t, small.desk, newDesk(t, book.Options{}))
	}
}

// A sign-on gives a terminal the keys of its own position, a later one others; they are
// there again after a checkpoint. One without keys leaves them.
func TestSignOnGivesKeysOfItsPosition(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	signOn := book.Command{Kind: book.KindSignOn, Function: points.SignOn, Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T1")}
	keys := func(b *book.Book) book.TerminalKeys {
		k, err := b.Keys(acquirer, merchantID("SHOP"), terminalID("T1"))
		require.NoError(t, err)
		return k
	}
	d.must(signOn)
	require.Zero(t, keys(d.book))
	signOn.KeySet = 2
	first := d.must(signOn).Position
	require.Equal(t, book.TerminalKeys{Set: 2, Generation: first}, keys(d.book))
	signOn.KeySet = 4
	second := d.must(signOn).Position
	require.Equal(t, book.TerminalKeys{Set: 4, Generation: second}, keys(d.book))
	require.Greater(t, second, first)
	d.store.checkpoint(d.book)
	require.Equal(t, book.TerminalKeys{Set: 4, Generation: second}, keys(book.New(book.Options{}, d.store)))
	replay(t, d, newDesk(t, book.Options{}))
}

// Which keys a terminal needs is refused where it cannot be, with the field's name.
func TestTerminalKeysThatCannotBe(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	for _, c := range []struct {
		terminal book.Terminal
		field    string
	}{
		{book.Terminal{MAC: book.MACByRetail}, "mac x9.19"},
		{book.Terminal{MAC: 9}, "mac"},
		{book.Terminal{MACOptional: true}, "mac_optional"},
		{book.Terminal{PIN: book.PINDemanded}, "pin"},
		{book.Terminal{MAC: book.MACByXOR, PIN: 7}, "pin"},
		{book.Terminal{MAC: book.MACByXOR, DUKPT: book.InitialKey{1}}, "dukpt 0100000000000000"},
		{book.Terminal{DUKPT: book.InitialKey{1}}, "dukpt"},
	} {
		c.terminal.ID, c.terminal.Merchant, c.terminal.Status = terminalID("T1"), merchantID("SHOP"), book.Active
		cmd := book.Command{Kind: book.KindPut, Entry: book.Entry{Terminal: &c.terminal}}
		require.Equal(t, points.FormatError, d.do(cmd).Reason)
		require.ErrorContains(t, d.book.Why(&cmd), c.field)
	}
}

// The counter of derived keys goes forward only, in what is declined too; a checkpoint and
// a replay know it; another initial key begins anew.
func TestDerivedKeysCount(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	terminal := book.Terminal{ID: terminalID("T1"), Merchant: merchantID("SHOP"), Status: book.Active, MAC: book.MACByCMAC, DUKPT: book.InitialKey{1, 2, 3, 4, 5, 6, 7, 8}}
	d.must(book.Command{Kind: book.KindPut, Entry: book.Entry{Terminal: &terminal}})
	signOn := book.Command{Kind: book.KindSignOn, Function: points.SignOn, Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T1"), Counter: 8}
	derived := func(b *book.Book) book.Derived {
		k, err := b.Derived(acquirer, merchantID("SHOP"), terminalID("T1"))
		require.NoError(t, err)
		return k
	}
	require.Zero(t, derived(d.book))
	d.must(signOn)
	require.Equal(t, book.Derived{Key: terminal.DUKPT, Counter: 8}, derived(d.book))
	for _, counter := range []uint32{8, 7, 1} {
		signOn.Counter = counter
		out := d.do(signOn)
		require.Equal(t, points.BadMAC, out.Reason)
		require.Zero(t, out.Position)
	}
	signOn.Counter = 1 << 20
	d.must(signOn)
	d.store.checkpoint(d.book)
	require.Equal(t, book.Derived{Key: terminal.DUKPT, Counter: 1 << 20}, derived(book.New(book.Options{}, d.store)))
	terminal.DUKPT[7]++
	d.must(book.Command{Kind: book.KindPut, Entry: book.Entry{Terminal: &terminal}})
	signOn.Counter = 1
	d.must(signOn)
	require.Equal(t, book.Derived{Key: terminal.DUKPT, Counter: 1}, derived(d.book))
	replay(t, d, newDesk(t, book.Options{}))
}
