package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
)

// Acts of a version that named no action are read as what they were, and so are their exceptions;
// what only looks like one is nobody's.
func TestActsAboutExceptionsInWords(t *testing.T) {
	note := func(text string) *book.Command {
		return &book.Command{Kind: book.KindNote, Act: book.ActSettlement, Note: text}
	}
	leg := func(text string) *book.Command {
		return &book.Command{Kind: book.KindLeg, Leg: book.Leg{Evidence: text}}
	}
	for _, c := range []struct {
		act       *book.Command
		id, words string
	}{
		{note("recon 3f2a: letter. DATE of 2026-03-01."), "3f2a", "close exception 3f2a of the reconciliation: nothing is booked, and it is over; evidence: letter. DATE of 2026-03-01."},
		{note("recon 3f2a close: letter"), "3f2a", "close exception 3f2a of the reconciliation: nothing is booked, and it is over; evidence: letter"},
		{leg("recon 3f2a: letter"), "3f2a", "end exception 3f2a of the reconciliation: "},
		{leg(reconEvidence("3f2a", ActionSuspense, "letter")), "3f2a", "suspense exception 3f2a of the reconciliation: "},
		{&book.Command{Kind: book.KindDispute, Dispute: book.DisputeMove{Evidence: "recon 3f2a: x"}}, "3f2a", "reverse exception 3f2a of the reconciliation: "},
		{leg("letter of recon 3f2a: x"), "", ""},
		{&book.Command{Kind: book.KindNote, Act: book.ActHouse, Note: "recon 3f2a: x"}, "3f2a", ""},
	} {
		id, _, _, _ := reconOf(c.act)
		require.Equal(t, []string{c.id, c.words}, []string{id, aboutException(c.act)})
	}
	require.Equal(t, "letter: of March", evidenceOf(reconEvidence("3f2a", ActionPost, "letter: of March")))
	require.Equal(t, "recon", evidenceOf("recon"))
}
