package certs_test

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

const bdk128 = "FEDCBA9876543210F1F1F1F1F1F1F1F1"

func testKSN(t testing.TB, counter uint32) certs.KSN {
	t.Helper()
	ksn, err := certs.ParseKSN(fmt.Sprintf("1234567890123456%08X", counter))
	require.NoError(t, err)
	return ksn
}

// Keys are those of the test vectors that ASC X9 publishes beside X9.24-3:2017.
func TestDUKPTVectors(t *testing.T) {
	for _, v := range []struct {
		base      certs.Algorithm
		initial   string
		counter   uint32
		use       certs.DUKPTUse
		algorithm certs.Algorithm
		want      string
	}{
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 1, certs.DUKPTPIN, certs.AES128, "AF8CB133A78F8DC2D1359F18527593FB"},
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 1, certs.DUKPTRequestMAC, certs.AES128, "A2DC23DE6FDE0824A2BC321E08E4B8B7"},
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 1, certs.DUKPTRequestData, certs.AES128, "A35C412EFD41FDB98B69797C02DCD08F"},
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 2, certs.DUKPTPIN, certs.AES128, "D30BDC73EC9714B000BEC66BDB7B6D09"},
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 8, certs.DUKPTPIN, certs.AES128, "4D9DF3FBEE3448FC3E676D04320A90F5"},
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 8, certs.DUKPTRequestMAC, certs.AES128, "6FD572E5D59E618875F193484F9178FB"},
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 8, certs.DUKPTRequestData, certs.AES128, "650F34204ABD4E57764D61AC3D266FB1"},
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 1, certs.DUKPTPIN, certs.TDES, "630C706D9546E47D4449313F61C4D4AB"},
		{certs.AES128, "1273671EA26AC29AFA4D1084127652A1", 1, certs.DUKPTRequestMAC, certs.TDES, "5D8FD787E8A796D07035FFCA9B5800BB"},
		{certs.AES256, "CE9CE0C101D1138F97FB6CAD4DF045A7083D4EAE2D35A31789D01CCF0949550F", 1, certs.DUKPTPIN, certs.AES256, "8C1AB7BEE973829E30242E0BBBDD4946D540C98FC1B5BDCF94790001A23FD502"},
		{certs.AES256, "CE9CE0C101D1138F97FB6CAD4DF045A7083D4EAE2D35A31789D01CCF0949550F", 1, certs.DUKPTRequestMAC, certs.AES256, "61DABDF4B340CF461EE860B1D1AB55357142BD2D6977306859CF49AEFE8F1549"},
		{certs.AES256, "CE9CE0C101D1138F97FB6CAD4DF045A7083D4EAE2D35A31789D01CCF0949550F", 1, certs.DUKPTRequestData, certs.AES256, "71EB36C9A6B7F801D1D1700C29741FC5A5C4E9B45D742DA7AF6992B8AA29AF58"},
	} {
		text := bdk128
		if v.base == certs.AES256 {
			text += bdk128
		}
		base := testKey(t, certs.DUKPTBase, v.base, text)
		ksn := testKSN(t, v.counter)
		initial, err := certs.DUKPTInitialKey(base, ksn)
		require.NoError(t, err)
		require.Equal(t, v.initial, strings.ToUpper(hex.EncodeToString(certs.ClearForTest(initial))))
		for _, from := range []*certs.Key{base, initial} {
			key, err := certs.DUKPTKey(from, ksn, v.use, v.algorithm)
			require.NoError(t, err)
			require.Equal(t, v.want, strings.ToUpper(hex.EncodeToString(certs.ClearForTest(key))), "%d %#x", v.counter, v.use)
		}
	}
}

// The keys that all keys of a message follow from are the published ones, for counters
// with one bit and with sixteen, the last of all included.
func TestDUKPTDerivationKeys(t *testing.T) {
	for counter, want := range map[uint32][2]string{
		1:          {"4F21B565BAD9835E112B6465635EAE44", "54AC2B32B145EA4A554CB8BC44B17467063A799856B1CCC2A138D36E8DBF78B3"},
		2:          {"2F34D68DE10F68D38091A73B9E7C437C", "5DD5A0253842BBBE1D7C0DA27021412C6F1FAB53FB928DEAE56DA06090A9DE97"},
		7:          {"A8253CEED9AC042C54F75D35C8352278", "88D0ACA287B3066F5DE0C93396337D4C2DA8D92C1F720A576D62CEB4C979E01E"},
		0x1FFFE:    {"E21E8C8D347F8561A2BE752DAA85A111", "A289508CBF1228452CD86AB77B15CB35577AC828C18BB66681E5A16D6C9CCED3"},
		0x20001:    {"692C8EA4013645135B36497131DF9D2C", "44110A1102748D4A3AC326F53D8CAC650212590CA7126D54546DDE0F20E89CEE"},
		0xFFFE2000: {"48E585B694EB0B18D5C35443E163C0BA", ""},
		0xFFFF0000: {"F6BA59389BD14A9855BE9727E7C52E3C", ""},
		0xFFFE4000: {"396C2C7CA1EA701C03B86B7D41F0C562", "FF20E1BB575539ACCB44E3111BE8757F83AE8549A2DD71B441A4A424F7FFD4B1"},
	} {
		for i, base := range []*certs.Key{testKey(t, certs.DUKPTBase, certs.AES128, bdk128), testKey(t, certs.DUKPTBase, certs.AES256, bdk128+bdk128)} {
			if want[i] == "" {
				continue
			}
			got, err := certs.DUKPTDerivationKeyForTest(base, testKSN(t, counter))
			require.NoError(t, err)
			require.Equal(t, want[i], strings.ToUpper(hex.EncodeToString(got)), "%#x", counter)
		}
	}
}

// The numbers of a terminal are those of the standard: each has at most sixteen ones,
// none is left out, and there is a last one.
func TestKSNNext(t *testing.T) {
	for from, to := range map[uint32]uint32{
		1: 2, 2: 3, 7: 8, 0xFFFE: 0xFFFF, 0x1FFFE: 0x20000, 0x20000: 0x20001,
		0xFFFE2000: 0xFFFE4000, 0xFFFE4000: 0xFFFE8000, 0xFFFE8000: 0xFFFF0000,
	} {
		next, ok := testKSN(t, from).Next()
		require.True(t, ok)
		require.Equal(t, testKSN(t, to), next, "%#x", from)
	}
	_, ok := testKSN(t, 0xFFFF0000).Next()
	require.False(t, ok)
	ksn := testKSN(t, 0x1FF00)
	for counter := ksn.Counter() + 1; counter < 0x30000; counter++ {
		if bits.OnesCount32(counter) > 16 {
			continue
		}
		ksn, ok = ksn.Next()
		require.True(t, ok)
		require.Equal(t, counter, ksn.Counter())
	}
	require.Equal(t, [8]byte{0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56}, ksn.Terminal())
}

// The nth number is where counting comes to, to the last one; by the clock, a later second
// is behind all eight of an earlier one.
func TestKSNNth(t *testing.T) {
	ksn := testKSN(t, 1)
	for n := uint64(1); n < 200_000; n++ {
		nth, ok := ksn.Nth(n)
		require.True(t, ok)
		require.Equal(t, ksn, nth)
		ksn, _ = ksn.Next()
	}
	last := uint64(0)
	for step := uint64(1) << 31; step > 0; step /= 2 {
		if _, ok := ksn.Nth(last + step); ok {
			last += step
		}
	}
	final, ok := ksn.Nth(last)
	require.True(t, ok)
	require.Equal(t, uint32(0xFFFF0000), final.Counter())
	for _, n := range []uint64{last / 3, last / 2, last - 1} {
		one, _ := ksn.Nth(n)
		next, ok := one.Next()
		require.True(t, ok)
		other, _ := ksn.Nth(n + 1)
		require.Equal(t, next, other)
	}
	for _, n := range []uint64{0, last + 1, 1 << 40} {
		_, ok := ksn.Nth(n)
		require.False(t, ok, n)
	}
	began := points.TimestampOf(time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC))
	one, err := ksn.ByClock(began)
	require.NoError(t, err)
	for range 8 {
		one, _ = one.Next()
	}
	other, err := ksn.ByClock(began.Add(time.Second))
	require.NoError(t, err)
	require.Equal(t, one, other)
	for _, year := range []int{2025, 2036} {
		_, err = ksn.ByClock(points.TimestampOf(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)))
		require.Equal(t, points.FormatError, points.ReasonOf(err))
	}
}

// Terminals that follow each other without a memory, however fast, never use a number twice
// nor go back, and none waits for more than an eighth of a second.
func TestAfterClock(t *testing.T) {
	var ksn certs.KSN
	copy(ksn[:], "terminal")
	now := points.TimestampOf(time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC))
	last := uint32(0)
	for n, lasts := range []time.Duration{0, 0, time.Millisecond, 124 * time.Millisecond, 125 * time.Millisecond, 126 * time.Millisecond, time.Hour, 0} {
		began, err := ksn.ByClock(now)
		require.NoError(t, err)
		at := began
		for range n + 1 {
			next, wait, err := at.AfterClock(now)
			require.NoError(t, err)
			require.Greater(t, next.Counter(), last)
			require.LessOrEqual(t, wait, 125*time.Millisecond)
			now = now.Add(wait)
			last, at = next.Counter(), next
		}
		now = now.Add(lasts)
	}
	_, _, err := ksn.AfterClock(0)
	require.Equal(t, points.FormatError, points.ReasonOf(err))
}

// What cannot be is refused.
func TestDUKPTRefusals(t *testing.T) {
	for _, text := range []string{"", "12", strings.Repeat("0", 24), "12345678901234560001FFFF", "1234567890123456000000GG", "123456789012345600000001FF"} {
		_, err := certs.ParseKSN(text)
		require.Equal(t, points.FormatError, points.ReasonOf(err), text)
	}
	base := testKey(t, certs.DUKPTBase, certs.AES128, bdk128)
	_, err := certs.DUKPTKey(base, testKSN(t, 1), certs.DUKPTPIN, certs.AES256)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = certs.DUKPTKey(base, testKSN(t, 1), 0x8001, certs.AES128)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = certs.DUKPTKey(base, certs.KSN{}, certs.DUKPTPIN, certs.AES128)
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	_, err = certs.DUKPTKey(testKey(t, certs.ZoneMaster, certs.AES128, bdk128), testKSN(t, 1), certs.DUKPTPIN, certs.AES128)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = certs.DUKPTInitialKey(testKey(t, certs.DUKPTInitial, certs.AES128, bdk128), testKSN(t, 1))
	require.ErrorIs(t, err, certs.ErrKeyUse)
	// A derived key does what it was derived for.
	key, err := certs.DUKPTKey(base, testKSN(t, 1), certs.DUKPTRequestMAC, certs.AES128)
	require.NoError(t, err)
	_, err = certs.NewPINKey(key)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = certs.NewMAC(key, certs.CMAC)
	require.NoError(t, err)
}

// Whatever comes as a key serial number is read or refused; what is read has a key.
func FuzzKSN(f *testing.F) {
	f.Add("123456789012345600000001")
	f.Add("1234567890123456FFFF0000")
	f.Add("")
	base := testKey(f, certs.DUKPTBase, certs.AES128, bdk128)
	f.Fuzz(func(t *testing.T, text string) {
		ksn, err := certs.ParseKSN(text)
		if err != nil {
			return
		}
		require.Equal(t, strings.ToUpper(text), ksn.String())
		_, err = certs.DUKPTKey(base, ksn, certs.DUKPTMAC, certs.AES128)
		require.NoError(t, err)
		if next, ok := ksn.Next(); ok {
			require.Greater(t, next.Counter(), ksn.Counter())
			_, err = certs.ParseKSN(next.String())
			require.NoError(t, err)
		}
	})
}

func BenchmarkDUKPTKey(b *testing.B) {
	base := testKey(b, certs.DUKPTBase, certs.AES128, bdk128)
	for _, counter := range []uint32{1, 0xFFFF0000} {
		ksn := testKSN(b, counter)
		b.Run(ksn.String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := certs.DUKPTKey(base, ksn, certs.DUKPTPIN, certs.AES128); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
