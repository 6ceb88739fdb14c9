package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

func keystoreAt(generation uint64, first byte) book.Keystore {
	return book.Keystore{Generation: generation, Digest: [16]byte{first, 1}}
}

func noted(k book.Keystore, final bool) book.Command {
	return book.Command{Kind: book.KindKeystore, Ceremony: book.Ceremony{Keystore: k}, Final: final, Note: "seen"}
}

// rotation is a key ceremony in full.
func rotation(by string) book.Command {
	return book.Command{Kind: book.KindNote, Operator: by, Act: book.ActKeys, Note: "rotate working", Ceremony: book.Ceremony{
		Act: book.KeyRotate, Key: "working", Version: 2, Usage: "working-derivation", Algorithm: "aes-256", Under: "x", Check: [3]byte{1, 2, 3}, Fingerprint: [16]byte{9},
	}}
}

// I23: the keystore that the journal knows grows by each ceremony; an older one follows
// only by somebody's word, and what is refused leaves no trace.
func TestKeystoreOnlyGrows(t *testing.T) {
	d := staffed(t, 0)
	require.Zero(t, d.book.Keystore())
	d.must(noted(keystoreAt(3, 1), false))
	require.Equal(t, book.KeystoreView{Is: keystoreAt(3, 1)}, d.book.Keystore())
	d.refused(t, points.NotPermitted, noted(keystoreAt(3, 2), false))
	d.refused(t, points.NotPermitted, noted(keystoreAt(2, 1), false))
	d.refused(t, points.FormatError, noted(book.Keystore{}, true))

	held := rotation("ann")
	held.Ceremony.Keystore = keystoreAt(4, 4)
	out := d.must(held)
	require.Equal(t, book.KeystoreView{Is: keystoreAt(4, 4), Was: keystoreAt(3, 1), Last: out.Position}, d.book.Keystore())
	d.refused(t, points.NotPermitted, held)
	d.recovered(t)
	d.must(noted(keystoreAt(2, 7), true))
	require.Equal(t, book.KeystoreView{Is: keystoreAt(2, 7)}, d.book.Keystore())
	d.recovered(t)
}

// I23: what was exchanged with partners is of the keystore that is known, where it is known:
// a journal from before it was written learns of it once, and then another one is refused.
func TestKeystoreKnowsWhatWasExchanged(t *testing.T) {
	with := func(k book.Keystore, first byte) book.Keystore {
		k.Exchanged = [16]byte{first, 2}
		return k
	}
	d := staffed(t, 0)
	old := keystoreAt(3, 1)
	d.must(noted(old, false))
	d.recovered(t)
	require.True(t, old.Is(with(old, 7)))
	d.refused(t, points.NotPermitted, noted(old, false))
	d.must(noted(with(old, 7), false))
	require.Equal(t, book.KeystoreView{Is: with(old, 7)}, d.book.Keystore())
	d.recovered(t)
	d.refused(t, points.NotPermitted, noted(with(old, 8), false))
	d.refused(t, points.NotPermitted, noted(with(old, 7), false))
	d.refused(t, points.NotPermitted, noted(old, false))
	require.False(t, with(old, 7).Is(with(old, 8)))
	require.False(t, with(old, 7).Is(old))

	held := rotation("ann")
	held.Ceremony.Keystore = with(keystoreAt(4, 4), 9)
	d.must(held)
	require.Equal(t, with(keystoreAt(4, 4), 9), d.book.Keystore().Is)
	d.recovered(t)
	d.must(noted(with(keystoreAt(4, 4), 1), true))
	require.Equal(t, book.KeystoreView{Is: with(keystoreAt(4, 4), 1)}, d.book.Keystore(), "by somebody's word")
	d.recovered(t)
}

// A key ceremony is a proposal like any other, and only its approval says which keystore
// it leaves behind.
func TestKeyCeremonyNeedsSecondPerson(t *testing.T) {
	d := staffed(t, book.TwoPersons)
	d.refused(t, points.NeedsSecondPerson, rotation("ann"))
	smuggled := rotation("ann")
	smuggled.Ceremony.Keystore = keystoreAt(9, 9)
	d.refused(t, points.FormatError, proposed(smuggled))
	at := d.must(proposed(rotation("ann"))).Position
	d.recovered(t)

	own := d.approval("ann", at)
	own.Ceremony.Keystore = keystoreAt(5, 5)
	d.refused(t, points.NeedsSecondPerson, own)
	act := d.approval("bob", at)
	act.Ceremony = rotation("").Ceremony
	d.refused(t, points.FormatError, act)
	act.Ceremony = book.Ceremony{Keystore: keystoreAt(5, 5)}
	out := d.must(act)
	require.Equal(t, book.KeystoreView{Is: keystoreAt(5, 5), Last: out.Position}, d.book.Keystore())
	d.recovered(t)

	at = d.must(proposed(rotation("ann"))).Position
	act = d.approval("bob", at)
	act.Ceremony.Keystore = keystoreAt(5, 6)
	d.refused(t, points.ProposalStale, act)
	at = d.must(proposed(adjust("cat", 5))).Position
	act = d.approval("bob", at)
	act.Ceremony.Keystore = keystoreAt(6, 6)
	d.refused(t, points.ProposalStale, act)
}

// To set a PIN needs the second person that the policy asks for; to unlock one does not,
// and what records of before did stays as it was.
func TestPINNeedsSecondPerson(t *testing.T) {
	d := staffed(t, book.TwoPersons)
	set := book.Command{Kind: book.KindPIN, Edition: book.Edition, Card: cardOf(1), PINValue: rightPIN, Operator: "cat"}
	d.refused(t, points.NeedsSecondPerson, set)
	before := set
	before.Edition = 0
	d.must(before)
	d.must(book.Command{Kind: book.KindPIN, Edition: book.Edition, Card: cardOf(1), Operator: "cat"})

	set.PINValue = wrongPIN
	at := d.must(proposed(set)).Position
	d.recovered(t)
	d.must(d.approval("bob", at))
	require.True(t, d.pin().Set)
	at = d.must(proposed(set)).Position
	d.must(before)
	d.refused(t, points.ProposalStale, d.approval("bob", at))
	d.recovered(t)

	alone := staffed(t, 0)
	alone.must(set)
	set.Operator = "dan"
	alone.refused(t, points.RoleMissing, set)
}
