package certs_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

func dukptHost(t testing.TB, most int) *certs.DUKPTHost {
	t.Helper()
	h, err := certs.NewDUKPTHost(most)
	require.NoError(t, err)
	return h
}

// agrees holds the keys of a message against those that are derived from the base key.
func agrees(t testing.TB, h *certs.DUKPTHost, m *certs.DUKPTMessage, base *certs.Key, ksn certs.KSN) {
	t.Helper()
	require.NoError(t, h.Derive(m, base, ksn))
	text := []byte("what is sent under " + ksn.String())
	for use, got := range map[certs.DUKPTUse]*certs.MAC{certs.DUKPTRequestMAC: m.Request(), certs.DUKPTAnswerMAC: m.Answer()} {
		key, err := certs.DUKPTKey(base, ksn, use, base.Algorithm)
		require.NoError(t, err)
		want, err := certs.NewMAC(key, certs.CMAC)
		require.NoError(t, err)
		require.Equal(t, want.Append(nil, text), got.Append(nil, text), "%v %#x", ksn, use)
		require.True(t, got.Verify(text, want.Append(nil, text)))
	}
}

// What is derived with the help of what is kept is what is derived from the base key: of
// the counters one after the other, of any that come, forward or back, of other terminals
// between them, of a base key that has changed, kept or not.
func TestDUKPTHostDerivesTheSame(t *testing.T) {
	bases := []*certs.Key{
		testKey(t, certs.DUKPTBase, certs.AES128, bdk128), testKey(t, certs.DUKPTBase, certs.AES256, bdk128+bdk128),
		testKey(t, certs.DUKPTBase, certs.AES128, strings.Repeat("5A", 16)),
	}
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	h, m := dukptHost(t, 3), new(certs.DUKPTMessage)
	for counter := uint32(1); counter < 300; counter++ {
		agrees(t, h, m, bases[0], testKSN(t, counter))
		m.Keep()
	}
	for range 3000 {
		ksn := testKSN(t, 1)
		ksn[7] = byte(random.IntN(5)) // five terminals, where three are kept
		counter := random.Uint32() >> random.IntN(32)
		if ksn[8], ksn[9], ksn[10], ksn[11] = byte(counter>>24), byte(counter>>16), byte(counter>>8), byte(counter); ksn.Valid() != nil {
			continue
		}
		agrees(t, h, m, bases[random.IntN(len(bases))], ksn)
		switch random.IntN(4) {
		case 0:
		case 1:
			m.Forget()
		default:
			m.Keep()
		}
		require.LessOrEqual(t, h.Len(), 3)
	}
	_, err := certs.NewDUKPTHost(0)
	require.Error(t, err)
	require.ErrorIs(t, h.Derive(m, testKey(t, certs.ZoneMaster, certs.AES128, bdk128), testKSN(t, 1)), certs.ErrKeyUse)
	require.Error(t, h.Derive(m, bases[0], certs.KSN{}))
}

// The next counter costs its own derivations, whatever the one before has cost; what is
// forgotten, or gave way, is wiped and costs the whole way.
func TestDUKPTHostKeepsTheWay(t *testing.T) {
	base := testKey(t, certs.DUKPTBase, certs.AES128, bdk128)
	other := testKey(t, certs.DUKPTBase, certs.AES128, strings.Repeat("5A", 16))
	h, m := dukptHost(t, 2), new(certs.DUKPTMessage)
	ksn := testKSN(t, 0xFFFE0000)
	require.NoError(t, h.Derive(m, base, ksn))
	require.Zero(t, certs.SharedForTest(h, base, testKSN(t, 0xFFFE2000))+1, "what was not authentic is not kept")
	m.Keep()
	require.Equal(t, 15, certs.SharedForTest(h, base, testKSN(t, 0xFFFE2000)))
	ways := certs.WaysForTest(h)
	require.Len(t, ways, 1)
	require.False(t, ways[0]())

	// A message from before moves nothing back.
	require.NoError(t, h.Derive(m, base, testKSN(t, 1)))
	m.Keep()
	require.Equal(t, 15, certs.SharedForTest(h, base, testKSN(t, 0xFFFE2000)))

	// Another base key of the same number: nothing of the one before is used.
	require.Zero(t, certs.SharedForTest(h, other, testKSN(t, 0xFFFE2000))+1)
	require.True(t, ways[0](), "wiped")
	require.Zero(t, h.Len())

	// Three terminals where two are kept: the one that sent first gives way.
	for n := range byte(3) {
		of := testKSN(t, 3)
		of[7] = n
		require.NoError(t, h.Derive(m, base, of))
		m.Keep()
	}
	require.Equal(t, 2, h.Len())
	first := testKSN(t, 4)
	first[7] = 0
	require.Zero(t, certs.SharedForTest(h, base, first)+1)
	ways = certs.WaysForTest(h)
	h.Wipe()
	for _, wiped := range ways {
		require.True(t, wiped())
	}
	require.Zero(t, h.Len())
	m.Forget()
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %d %s", m, m, m, m, h), "54AC")
}

// Many goroutines at once get the right keys.
func TestDUKPTHostAtOnce(t *testing.T) {
	base := testKey(t, certs.DUKPTBase, certs.AES128, bdk128)
	h := dukptHost(t, 4)
	var all sync.WaitGroup
	for n := range byte(8) {
		all.Go(func() {
			m := new(certs.DUKPTMessage)
			for counter := uint32(1); counter < 50; counter++ {
				ksn := testKSN(t, counter)
				ksn[7] = n % 6
				agrees(t, h, m, base, ksn)
				m.Keep()
			}
		})
	}
	all.Wait()
}

// The keys for the MACs of a message and its answer, with the way to the last message and
// from the base key on.
func BenchmarkDUKPTMessage(b *testing.B) {
	for _, base := range []*certs.Key{testKey(b, certs.DUKPTBase, certs.AES128, bdk128), testKey(b, certs.DUKPTBase, certs.AES256, bdk128+bdk128)} {
		text := []byte(strings.Repeat("0200", 30))
		b.Run(base.Algorithm.String()+"/kept", func(b *testing.B) {
			h, m := dukptHost(b, 16), new(certs.DUKPTMessage)
			ksn := testKSN(b, 0x0FFF)
			b.ReportAllocs()
			for b.Loop() {
				ksn, _ = ksn.Next()
				if err := h.Derive(m, base, ksn); err != nil {
					b.Fatal(err)
				}
				m.Request().Verify(text, text[:8])
				m.Keep()
			}
		})
		b.Run(base.Algorithm.String()+"/from-the-base", func(b *testing.B) {
			ksn := testKSN(b, 0x0FFF)
			b.ReportAllocs()
			for b.Loop() {
				ksn, _ = ksn.Next()
				initial, err := certs.DUKPTInitialKey(base, ksn)
				if err != nil {
					b.Fatal(err)
				}
				for _, use := range []certs.DUKPTUse{certs.DUKPTRequestMAC, certs.DUKPTAnswerMAC} {
					key, err := certs.DUKPTKey(initial, ksn, use, base.Algorithm)
					if err != nil {
						b.Fatal(err)
					}
					mac, err := certs.NewMAC(key, certs.CMAC)
					if err != nil {
						b.Fatal(err)
					}
					if use == certs.DUKPTRequestMAC {
						mac.Verify(text, text[:8])
					}
				}
			}
		})
	}
}
