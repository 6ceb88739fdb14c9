package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

const (
	firstCard  = "6222020000000000017"
	secondCard = "6222020000000000025"
)

// indexed waits until the index has taken in the whole journal.
func (r *running) indexed(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		at, err := r.client.Indexed(t.Context())
		return err == nil && at.AsOf > 0 && at.AsOf == at.Position
	}, time.Minute, time.Millisecond)
}

// shopping is a switch at which the first member has earned 500, redeemed 120 and
// asked in vain for 9,000 more.
func shopping(t *testing.T) *running {
	t.Helper()
	r := newHouse(t).start(t)
	r.load(t, smallTown)
	terminal := r.terminal(t, "T1")
	require.Equal(t, points.Approved, send(t, terminal, points.Earn, firstCard, 500).Response.Reason)
	require.Equal(t, points.Approved, send(t, terminal, points.Redeem, firstCard, 120).Response.Reason)
	require.Equal(t, points.NotEnoughPoints, send(t, terminal, points.Redeem, firstCard, 9_000).Response.Reason)
	r.indexed(t)
	return r
}

// A statement tells what moved a member's points, with the balance afterwards, by
// card or by number; what was declined only when it is asked for; and no card
// number in clear.
func TestStatement(t *testing.T) {
	t.Parallel()
	r := shopping(t)
	for _, who := range []app.Holder{{Card: firstCard}, {Member: 1}} {
		s, err := r.client.Statement(t.Context(), app.StatementQuery{Holder: who})
		require.NoError(t, err)
		require.Equal(t, points.MemberID(1), s.Member)
		require.Equal(t, []app.StatementUnit{{Program: 901, Name: "One"}}, s.Programs)
		require.Len(t, s.Lines, 2)
		redeemed, earned := s.Lines[0], s.Lines[1]
		require.Equal(t, points.Redeem, redeemed.Function)
		require.Equal(t, points.Amount(-120), redeemed.Amount)
		require.Equal(t, points.Amount(380), *redeemed.Balance)
		require.Equal(t, points.Amount(380), *redeemed.Free)
		require.Equal(t, "622202*********0017", redeemed.Card)
		require.Equal(t, points.Amount(500), earned.Amount)
		require.Equal(t, points.Amount(500), *earned.Balance)
		require.Equal(t, s.Position, s.AsOf)
	}
	all, err := r.client.Statement(t.Context(), app.StatementQuery{Holder: app.Holder{Member: 1}, Program: 901, All: true, Range: app.Range{Limit: 1}})
	require.NoError(t, err)
	require.Len(t, all.Lines, 1)
	require.Equal(t, points.NotEnoughPoints, all.Lines[0].Reason)
	require.Zero(t, all.Lines[0].Amount)
	require.Equal(t, points.Amount(380), *all.Lines[0].Balance)
	next, err := r.client.Statement(t.Context(), app.StatementQuery{Holder: app.Holder{Member: 1}, Program: 901, All: true, Range: app.Range{Limit: 1, Next: all.Next}})
	require.NoError(t, err)
	require.Equal(t, points.Amount(-120), next.Lines[0].Amount)

	_, err = r.client.Statement(t.Context(), app.StatementQuery{Holder: app.Holder{Card: "6222020000000000991"}})
	require.Equal(t, points.UnknownCard, points.ReasonOf(err))
	// A card and a member that do not belong together are neither's statement.
	both := app.Holder{Card: firstCard, Member: 2}
	const wrong = "card 622202*********0017 is not one of member 2's"
	_, err = r.client.Statement(t.Context(), app.StatementQuery{Holder: both})
	require.ErrorContains(t, err, wrong)
	_, err = r.client.Accounts(t.Context(), both)
	require.ErrorContains(t, err, wrong)
	_, err = r.client.Adjust(t.Context(), app.Adjustment{Holder: both, Program: 901, Amount: 5, Operator: "li", Second: "wang", Note: "n"})
	require.ErrorContains(t, err, wrong)
	_, err = r.client.Accounts(t.Context(), app.Holder{Card: firstCard, Member: 1})
	require.NoError(t, err)
	_, err = r.client.Statement(t.Context(), app.StatementQuery{})
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	_, err = r.client.Statement(t.Context(), app.StatementQuery{Holder: app.Holder{Member: 1}, Range: app.Range{Next: "x"}})
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	r.stop(t)
}

// A record is found by card, by terminal and STAN, by member and by date; a
// detail has its lots and the words of its outcome.
func TestFindAndDetail(t *testing.T) {
	t.Parallel()
	r := shopping(t)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	byTerminal, err := r.client.Find(t.Context(), app.FindQuery{Terminal: terminalID(t, "T1")})
	require.NoError(t, err)
	require.Len(t, byTerminal.Records, 3)
	refused, redeemed := byTerminal.Records[0], byTerminal.Records[1]
	require.Equal(t, points.NotEnoughPoints, refused.Reason)

	read := func(q app.FindQuery) (rrns []string) {
		f, err := r.client.Find(t.Context(), q)
		require.NoError(t, err)
		for _, record := range f.Records {
			rrns = append(rrns, record.RRN)
		}
		return rrns
	}
	for name, q := range map[string]app.FindQuery{
		"card":   {Holder: app.Holder{Card: firstCard}},
		"member": {Holder: app.Holder{Member: 1}},
		"date":   {Range: app.Range{From: status.Date, To: status.Date}},
	} {
		require.Subset(t, read(q), []string{refused.RRN, redeemed.RRN}, name)
	}
	var stan points.STAN
	for _, digit := range redeemed.STAN {
		stan = stan*10 + points.STAN(digit-'0')
	}
	require.Equal(t, []string{redeemed.RRN}, read(app.FindQuery{Terminal: terminalID(t, "T1"), STAN: &stan}))
	require.Empty(t, read(app.FindQuery{Terminal: terminalID(t, "T2"), STAN: &stan}))
	require.NotContains(t, read(app.FindQuery{Holder: app.Holder{Card: secondCard}}), redeemed.RRN)
	require.Empty(t, read(app.FindQuery{Range: app.Range{To: status.Date.AddDays(-1)}}))

	d, err := r.client.Detail(t.Context(), redeemed.RRN)
	require.NoError(t, err)
	require.Equal(t, redeemed, d.Record)
	require.Equal(t, points.Amount(380), d.Free)
	require.Len(t, d.Lots, 1)
	require.Equal(t, points.Amount(-120), d.Lots[0].Amount)
	require.Equal(t, book.MemberAccount, d.Lots[0].Account)
	require.Equal(t, "00", d.DE39)
	d, err = r.client.Detail(t.Context(), refused.RRN)
	require.NoError(t, err)
	require.Equal(t, "51", d.DE39)
	require.Equal(t, points.NotEnoughPoints.English(), d.English)
	require.Empty(t, d.Lots)
	r.stop(t)
}

// The index can be dropped while the switch serves, and says the same again.
func TestReindex(t *testing.T) {
	t.Parallel()
	r := shopping(t)
	before, err := r.client.Statement(t.Context(), app.StatementQuery{Holder: app.Holder{Member: 1}, All: true})
	require.NoError(t, err)
	require.NotEmpty(t, before.Lines)
	_, err = r.client.Reindex(t.Context())
	require.NoError(t, err)
	r.indexed(t)
	after, err := r.client.Statement(t.Context(), app.StatementQuery{Holder: app.Holder{Member: 1}, All: true})
	require.NoError(t, err)
	require.Equal(t, before, after)
	r.stop(t)
}

// At cut-over points lose what their programme says, once; the statement names it
// and the lot tells when it goes on.
func TestPointsDecayInTheNight(t *testing.T) {
	t.Parallel()
	r := newHouse(t).start(t)
	r.load(t, strings.Replace(smallTown, "valid_months: 12", "decay_basis_points: 1000, decay_every_months: 1", 1))
	require.Equal(t, points.Approved, send(t, r.terminal(t, "T1"), points.Earn, firstCard, 505).Response.Reason)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	first := status.Date.MonthEnd().AddDays(1)
	for _, date := range []points.BusinessDate{first, first.AddDays(1)} {
		_, err = r.client.CutOver(t.Context(), app.CutOver{Date: date, Operator: "li", Second: "wang", Force: true, Ahead: true})
		require.NoError(t, err)
	}
	accounts, err := r.client.Accounts(t.Context(), app.Holder{Card: firstCard})
	require.NoError(t, err)
	require.Equal(t, points.Amount(455), accounts.Accounts[0].Free)
	require.Equal(t, []app.Lot{{Amount: 455, DecaysOn: first.AddMonths(1)}}, accounts.Accounts[0].Lots)
	r.indexed(t)
	s, err := r.client.Statement(t.Context(), app.StatementQuery{Holder: app.Holder{Card: firstCard}})
	require.NoError(t, err)
	require.Len(t, s.Lines, 2)
	require.Equal(t, book.KindDecay, s.Lines[0].Kind)
	require.Equal(t, points.Amount(-50), s.Lines[0].Amount)
	r.stop(t)
}
