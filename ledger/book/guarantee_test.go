package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Fund and limits are entered as caps are: the last entry holds, who grants itself a limit
// or less than nothing is refused and changes nothing, and what was read back from a
// checkpoint and a journal is the same.
func TestGuarantees(t *testing.T) {
	d := newDesk(t, book.Options{})
	fund := func(amount points.Amount) book.Command {
		return book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Fund: &book.Fund{Amount: amount}}}
	}
	grant := func(by, to tariff.Member, amount points.Amount) book.Command {
		return book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Grant: &book.Grant{By: by, To: to, Amount: amount}}}
	}
	require.Nil(t, d.book.Registry().Fund)
	d.must(fund(5))
	before := d.book.Registry()
	d.must(fund(7))
	d.must(grant(1, 2, 10))
	d.must(grant(2, 1, 20))
	d.must(grant(1, 2, 30))
	require.Equal(t, points.Amount(5), before.Fund.Amount, "what was handed out stays")
	require.Empty(t, before.Grants)
	digest := d.book.Digest()
	for reason, cmds := range map[points.Reason][]book.Command{
		points.BadAmount:   {fund(-1), fund(tariff.MaxValue + 1), grant(1, 2, -1), grant(1, 2, tariff.MaxValue+1)},
		points.FormatError: {grant(1, 1, 5), grant(0, 1, 5), grant(1, 100_000_000, 5)},
	} {
		for _, cmd := range cmds {
			require.Equal(t, reason, d.do(cmd).Reason, "%+v", cmd.Entry)
			require.Equal(t, digest, d.book.Digest(), "nothing has changed")
		}
	}
	registry := d.book.Registry()
	require.Equal(t, points.Amount(7), registry.Fund.Amount)
	require.Len(t, registry.Grants, 2)
	require.Equal(t, points.Amount(30), registry.Grants[book.GrantKey{By: 1, To: 2}].Amount)
	require.Equal(t, points.Amount(20), registry.Grants[book.GrantKey{By: 2, To: 1}].Amount)
	again := fund(7)
	require.True(t, again.Entry.Stands(registry))
	again = grant(1, 2, 31)
	require.False(t, again.Entry.Stands(registry))
	d.recovered(t)
	recovered := reopened(t, d).Registry()
	require.Equal(t, []any{registry.Fund, registry.Grants}, []any{recovered.Fund, recovered.Grants})
}
