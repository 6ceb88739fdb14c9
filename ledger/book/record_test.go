package book_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// fill sets every field of a struct to something that is not zero, so that a
// field that the codec forgets is found, also one that is added later.
func fill(v reflect.Value, n *int64, skip string) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.Name != skip && field.IsExported() {
				fill(v.Field(i), n, skip)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n, skip)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n, skip)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n, skip)
	case reflect.String:
		v.SetString(string(rune('a' + *n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(*n)
	default:
		v.SetUint(uint64(*n%120) + 1)
	}
}

// Every field of a record comes back as it went in, for every kind of entry.
func TestRecordKeepsEveryField(t *testing.T) {
	entries := reflect.TypeFor[book.Entry]()
	for i := range entries.NumField() {
		var n int64
		var rec, got book.Record
		fill(reflect.ValueOf(&rec.Outcome).Elem(), &n, "")
		fill(reflect.ValueOf(&rec.Command).Elem(), &n, "Group")
		rec.Outcome.Replayed, rec.Outcome.Forwarded, rec.Command.RepeatOnly, rec.Command.Chosen = false, false, false, false // not written
		rec.Outcome.About = 0                                                                                                // likewise
		rec.Command.Since = 0                                                                                                // neither
		rec.Command.Entry = book.Entry{}
		fill(reflect.ValueOf(&rec.Command.Entry).Elem().Field(i), &n, "")
		member := rec.Command
		rec.Command.Group = []book.Command{member, {Kind: book.KindEarn, Amount: 5}}
		bytes := book.AppendRecord(nil, &rec.Command, &rec.Outcome)
		size, err := book.DecodeRecord(append(bytes, 0xff), &got)
		require.NoError(t, err)
		require.Len(t, bytes, size)
		require.Equal(t, rec, got, entries.Field(i).Name)
	}
}

// A record read into one that was used before is as if read into a new one.
func TestDecodeRecordForgetsTheLastOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var n int64
		var used book.Record
		fill(reflect.ValueOf(&used).Elem(), &n, "Group")
		cmd := book.Command{Kind: book.KindEarn, Amount: points.Amount(rapid.Int64().Draw(rt, "amount")), At: 7}
		out := book.Outcome{Position: 9, Reason: points.BadAmount, Posted: points.Timestamp(rapid.Int64Range(0, 1<<50).Draw(rt, "posted"))}
		_, err := book.DecodeRecord(book.AppendRecord(nil, &cmd, &out), &used)
		require.NoError(rt, err)
		require.Equal(rt, cmd.Amount, used.Command.Amount)
		require.Equal(rt, out.Posted, used.Outcome.Posted)
		require.Empty(rt, used.Command.Note)
		require.Equal(rt, book.Entry{}, used.Command.Entry)
		require.Empty(rt, used.Outcome.Postings)
		require.Empty(rt, used.Outcome.Lots)
	})
}

// Every record cut short, or with a byte more inside its length, is refused.
func TestDecodeRecordRefusesWrongLengths(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 100}))
	d.must(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 40}))
	var rec book.Record
	for _, whole := range d.store.journal {
		for n := range whole {
			_, err := book.DecodeRecord(whole[:n], &rec)
			require.Error(t, err, "%d of %d bytes", n, len(whole))
		}
		longer := append([]byte(nil), whole...)
		longer[0]++ // below 128: one byte of length
		if whole[0] < 0x7f {
			_, err := book.DecodeRecord(append(longer, 0), &rec)
			require.Error(t, err)
		}
		future := append([]byte(nil), whole...)
		future[1+int(whole[0]>>7)] = 2
		_, err := book.DecodeRecord(future, &rec)
		require.ErrorContains(t, err, "version")
	}
}

// Any bytes are refused or are a record that reads the same when written again.
func FuzzDecodeRecord(f *testing.F) {
	d := newDesk(f, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 100}))
	d.must(at("T1", 2, book.Command{Kind: book.KindHold, Card: cardOf(1), Program: air, Amount: 40}))
	d.must(at("T1", 3, book.Command{Kind: book.KindCapture, Card: cardOf(1), OriginalKey: keyOf("T1", 2, 2), Amount: 30, Final: true}))
	d.must(at("T1", 4, book.Command{Kind: book.KindRefund, Card: cardOf(1), OriginalKey: keyOf("T1", 3, 2), Amount: 20}))
	d.must(at("T1", 5, book.Command{Kind: book.KindBalance, Card: cardOf(1)}))
	for _, bytes := range d.store.journal {
		f.Add(bytes)
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		var rec, again book.Record
		n, err := book.DecodeRecord(bytes, &rec)
		if err != nil {
			return
		}
		require.LessOrEqual(t, n, len(bytes))
		written := book.AppendRecord(nil, &rec.Command, &rec.Outcome)
		size, err := book.DecodeRecord(written, &again)
		require.NoError(t, err)
		require.Len(t, written, size)
		require.Equal(t, written, book.AppendRecord(nil, &again.Command, &again.Outcome))
	})
}

// Any sequence of commands, sensible or not, leaves a book that keeps its
// invariants, agrees with the oracle where the oracle knows the commands, and can
// be replayed. The first byte says which; the others are choices.
func FuzzCommands(f *testing.F) {
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if len(bytes) == 0 || len(bytes) > 4096 {
			return
		}
		wild := bytes[0]&1 != 0
		bytes = bytes[1:]
		g := &generator{pick: func(n int) int {
			if len(bytes) == 0 {
				return 0
			}
			choice := int(bytes[0]) % n
			bytes = bytes[1:]
			return choice
		}}
		d := newDesk(t, book.Options{})
		d.furnish(people, strictRules, kindRules)
		if !wild {
			o := newOracle(people, strictRules, kindRules)
			for len(bytes) > 0 {
				compared(t, d, o, g, 1, map[string]int{})
			}
		}
		for len(bytes) > 0 {
			cmd := g.wild(d.book.Date())
			d.do(cmd)
			require.NoError(t, d.book.Audit())
		}
		replay(t, d, newDesk(t, book.Options{}))
	})
}

// wild makes commands out of anything: every kind, every field.
func (g *generator) wild(date points.BusinessDate) book.Command {
	if g.pick(4) == 0 {
		return g.operator(date)
	}
	cmd := g.next(date)
	numbers := []int64{0, 1, -1, 5, 100, 1 << 39, 1 << 40, -1 << 63, 1<<63 - 1}
	for range 1 + g.pick(3) {
		switch g.pick(16) {
		case 0:
			cmd.Kind = book.Kind(g.pick(28))
		case 1:
			cmd.Amount = points.Amount(numbers[g.pick(len(numbers))])
		case 2:
			cmd.Program = points.ProgramID(899 + g.pick(4))
		case 3:
			cmd.Member, cmd.Card = points.MemberID(g.pick(4)), points.CardToken{}
		case 4:
			cmd.Original = points.Position(g.pick(60))
		case 5:
			cmd.Operator, cmd.Second = "ann", []string{"", "ann", "bob"}[g.pick(3)]
		case 6:
			cmd.Date = []points.BusinessDate{0, 1, date, date.AddDays(1), date.AddDays(400), 20261332}[g.pick(6)]
		case 7:
			cmd.ExpiresOn, cmd.ActiveOn = points.BusinessDate(g.pick(3)*20260300), date.AddDays(g.pick(5))
		case 8:
			cmd.Freeze = book.Freeze(g.pick(5))
		case 9:
			cmd.Against, cmd.Reverses = book.AccountKind(g.pick(12)), points.Function(g.pick(9))
		case 10:
			cmd.Limit, cmd.Actual = uint32(g.pick(3)), points.Amount(numbers[g.pick(len(numbers))])
		case 11:
			cmd.Acquirer = points.AcquirerID(g.pick(2) * 2001)
		case 12:
			cmd.Kind, cmd.Group = book.KindGroup, []book.Command{g.fresh(date), g.fresh(date)}
		case 13:
			cmd.Key = points.TraceKey{}
		case 14:
			cmd.ToMember, cmd.ToCard = 0, cardOf(points.MemberID(g.pick(4)))
		default:
			cmd.Kind, cmd.Entry = book.KindPut, g.entry()
		}
	}
	return cmd
}

// operator makes the commands of an operator and of partners' systems.
func (g *generator) operator(date points.BusinessDate) book.Command {
	g.stan++
	cmd := book.Command{
		Key: keyOf("T1", g.stan, 2), Member: points.MemberID(1 + g.pick(2)), Program: g.program(),
		Amount: points.Amount(g.pick(90) - 30), Operator: "ann", Second: "bob",
	}
	cmd.Kind = []book.Kind{
		book.KindOpen, book.KindClose, book.KindFreeze, book.KindAdjust, book.KindReinstate, book.KindSettle, book.KindBalance, book.KindGroup, book.KindReverse,
	}[g.pick(9)]
	switch cmd.Kind {
	case book.KindFreeze:
		cmd.Freeze = book.Freeze(g.pick(2))
	case book.KindSettle:
		cmd.Acquirer = acquirer
		cmd.Amount = points.Amount(g.pick(2) * 20)
	case book.KindReinstate:
		for i := range g.sent {
			if g.sent[i].Kind == book.KindExpireLots && g.pick(3) == 0 {
				cmd.OriginalKey = g.sent[i].Key
			}
		}
	case book.KindGroup:
		member := cmd
		member.Key = points.TraceKey{}
		for range 1 + g.pick(3) {
			member.Kind = []book.Kind{book.KindOpen, book.KindAdjust, book.KindAdjust, book.KindEarn, book.KindRedeem}[g.pick(5)]
			member.Amount = points.Amount(1 + g.pick(20))
			member.Against = []book.AccountKind{book.HouseAccount, book.SponsorAccount}[g.pick(2)]
			member.Program = g.program()
			cmd.Group = append(cmd.Group, member)
		}
		cmd = book.Command{Kind: book.KindGroup, Key: cmd.Key, Group: cmd.Group}
	case book.KindReverse:
		cmd = book.Command{Kind: cmd.Kind, Key: keyOf("T1", g.stan, 4)}
		if len(g.sent) > 0 {
			cmd.OriginalKey = g.sent[max(0, len(g.sent)-1-g.pick(20))].Key
		}
	default:
	}
	g.sent = append(g.sent, cmd)
	return cmd
}

func (g *generator) entry() book.Entry {
	status := book.Status(g.pick(8))
	member := points.MemberID(g.pick(4))
	switch g.pick(5) {
	case 0:
		return book.Entry{Member: &book.Member{ID: member, Status: status, Freeze: book.Freeze(g.pick(4))}}
	case 1:
		return book.Entry{Card: &book.Card{Token: cardOf(member), Member: member, Status: status, Expiry: uint32(g.pick(3) * 2602)}}
	case 2:
		return book.Entry{Program: &book.Program{ID: g.program(), Issuer: issuer, Name: "P", Status: status, Rules: kindRules}}
	case 3:
		return book.Entry{Terminal: &book.Terminal{ID: terminalID("T1"), Merchant: merchantID("SHOP"), Status: status}}
	default:
		return book.Entry{Merchant: &book.Merchant{ID: merchantID("SHOP"), Acquirer: acquirer, Name: "S", Status: status, Programs: []points.ProgramID{g.program()}}}
	}
}
