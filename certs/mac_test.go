package certs_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

// unhex reads a vector as it is published.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return b
}

func testKey(t testing.TB, usage certs.Usage, algorithm certs.Algorithm, plain string) *certs.Key {
	t.Helper()
	key, err := certs.KeyForTest(usage, algorithm, unhex(t, plain))
	require.NoError(t, err)
	return key
}

func testMAC(t testing.TB, algorithm certs.MACAlgorithm, of certs.Algorithm, plain string) *certs.MAC {
	t.Helper()
	m, err := certs.NewMAC(testKey(t, certs.MACWorking, of, plain), algorithm)
	require.NoError(t, err)
	return m
}

// AES-CMAC and TDES-CMAC are NIST's, on its own examples.
func TestCMACVectors(t *testing.T) {
	const message = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
	const aes128 = "2b7e151628aed2a6abf7158809cf4f3c"
	const aes256 = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
	for _, v := range []struct {
		source    string
		algorithm certs.Algorithm
		key       string
		bytes     int
		want      string
	}{
		{"SP 800-38B D.1 example 1, RFC 4493", certs.AES128, aes128, 0, "bb1d6929e95937287fa37d129b756746"},
		{"SP 800-38B D.1 example 2", certs.AES128, aes128, 16, "070a16b46b4d4144f79bdd9dd04a287c"},
		{"SP 800-38B D.1 example 3", certs.AES128, aes128, 40, "dfa66747de9ae63030ca32611497c827"},
		{"SP 800-38B D.1 example 4", certs.AES128, aes128, 64, "51f0bebf7e3b9d92fc49741779363cfe"},
		{"SP 800-38B D.3 example 9", certs.AES256, aes256, 0, "028962f61b7bf89efc6b551f4667d983"},
		{"SP 800-38B D.3 example 10", certs.AES256, aes256, 16, "28a7023f452e8f82bd4bf28d8c37c35c"},
		{"SP 800-38B D.3 example 11", certs.AES256, aes256, 40, "aaf3d8f1de5640c232f5b169b9c911e6"},
		{"SP 800-38B D.3 example 12", certs.AES256, aes256, 64, "e1992190549f6ed5696a2c056c315410"},
		{"SP 800-38B D.5 example 17 (two-key TDES)", certs.TDES, "4cf15134a2850dd58a3d10ba80570d38", 0, "bd2ebf9a3ba00361"},
		{"SP 800-38B D.5 example 18", certs.TDES, "4cf15134a2850dd58a3d10ba80570d38", 8, "4ff2ab813c53ce83"},
		{"SP 800-38B D.5 example 19", certs.TDES, "4cf15134a2850dd58a3d10ba80570d38", 20, "62dd1b471902bd4e"},
		{"SP 800-38B D.5 example 20", certs.TDES, "4cf15134a2850dd58a3d10ba80570d38", 32, "31b1e431dabc4eb8"},
	} {
		t.Run(v.source, func(t *testing.T) {
			got, err := certs.CMACForTest(v.algorithm, unhex(t, v.key), unhex(t, message)[:v.bytes])
			require.NoError(t, err)
			require.Equal(t, v.want, hex.EncodeToString(got))
			if v.algorithm != certs.TDES {
				m := testMAC(t, certs.CMAC, v.algorithm, v.key)
				require.Equal(t, v.want[:16], hex.EncodeToString(m.Append(nil, unhex(t, message)[:v.bytes])))
			}
		})
	}
}

// The retail MAC is that of X9.19, on published examples and on one of the
// specification.
func TestRetailMACVectors(t *testing.T) {
	for _, v := range []struct{ source, key, message, want string }{
		{"ISO/IEC 9797-1:2011 B.4, algorithm 3, padding 1", "0123456789ABCDEFFEDCBA9876543210", hex.EncodeToString([]byte("Now is the time for all ")), "a1c72e74"},
		{"ISO/IEC 9797-1:2011 B.4, algorithm 3, padding 1", "0123456789ABCDEFFEDCBA9876543210", hex.EncodeToString([]byte("Now is the time for it")), "2e2b1428"},
		{"Bouncy Castle ISO9797Alg3MacTest", "7CA110454A1A6E570131D9619DC1376E", hex.EncodeToString([]byte("Hello World !!!!")), "f09b856213bab83b"},
		{"computed with two independent implementations", "5CBE7E38A146FD5C0123456789ABCDEF", "010203", "08f9e0bf4c7f729f"},
	} {
		got := testMAC(t, certs.RetailMAC, certs.TDES, v.key).Append(nil, unhex(t, v.message))
		require.Len(t, got, certs.MACBytes)
		require.Equal(t, v.want, hex.EncodeToString(got)[:len(v.want)], v.source)
	}
}

// The UnionPay POS MAC is that of the terminal specification, on vectors of two
// independent implementations.
func TestXORMACVectors(t *testing.T) {
	m := testMAC(t, certs.XORMAC, certs.DES, "5CBE7E38A146FD5C")
	for _, v := range []struct{ message, want string }{
		{"010203", "4631314632433237"},
		{"", "3931364433424134"},
		{"0200302004C020C09811000000000000000100000100000100210000123412345678", "4446304538423430"},
	} {
		require.Equal(t, v.want, hex.EncodeToString(m.Append(nil, unhex(t, v.message))), v.message)
	}
	// Under a double-length key the cipher is 3DES and nothing else changes: with two
	// halves that differ in parity only it would be single DES, and is refused.
	_, err := certs.KeyForTest(certs.MACWorking, certs.TDES, unhex(t, "5CBE7E38A146FD5C5DBF7F39A047FC5D"))
	require.ErrorContains(t, err, "both halves are the same")
	require.NotEqual(t, m.Append(nil, []byte{1}), testMAC(t, certs.XORMAC, certs.TDES, "5CBE7E38A146FD5C0123456789ABCDEF").Append(nil, []byte{1}))
}

// HMAC-SHA-256 is that of RFC 4231, on its own test cases: HMAC fills a shorter key with
// zeros, so that each of theirs is one of 32 bytes too.
func TestHMACVectors(t *testing.T) {
	for _, v := range []struct{ source, key, message, want string }{
		{"RFC 4231 4.2, test case 1", strings.Repeat("0b", 20), hex.EncodeToString([]byte("Hi There")), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{"RFC 4231 4.3, test case 2", hex.EncodeToString([]byte("Jefe")), hex.EncodeToString([]byte("what do ya want for nothing?")), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"RFC 4231 4.4, test case 3", strings.Repeat("aa", 20), strings.Repeat("dd", 50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
		{"RFC 4231 4.5, test case 4", "0102030405060708090a0b0c0d0e0f10111213141516171819", strings.Repeat("cd", 50), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
		{"RFC 4231 4.6, test case 5", strings.Repeat("0c", 20), hex.EncodeToString([]byte("Test With Truncation")), "a3b6167473100ee06e0c796c2955552b"},
	} {
		got := testMAC(t, certs.HMAC, certs.HMACSHA256, v.key+strings.Repeat("00", 32-len(v.key)/2)).Append(nil, unhex(t, v.message))
		require.Equal(t, v.want[:16], hex.EncodeToString(got), v.source)
	}
}

// everyMAC is one MAC of each kind.
func everyMAC(t testing.TB) []*certs.MAC {
	return []*certs.MAC{
		testMAC(t, certs.CMAC, certs.AES128, "2b7e151628aed2a6abf7158809cf4f3c"),
		testMAC(t, certs.CMAC, certs.AES256, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"),
		testMAC(t, certs.RetailMAC, certs.TDES, "5CBE7E38A146FD5C0123456789ABCDEF"),
		testMAC(t, certs.XORMAC, certs.DES, "5CBE7E38A146FD5C"),
		testMAC(t, certs.XORMAC, certs.TDES, "5CBE7E38A146FD5C0123456789ABCDEF"),
		testMAC(t, certs.HMAC, certs.HMACSHA256, kbpkA74),
	}
}

// A MAC verifies its message, and neither another message, nor another MAC, nor a
// part of it.
func TestVerify(t *testing.T) {
	message := bytes.Repeat([]byte("a message as it is sent "), 6)
	for _, m := range everyMAC(t) {
		mac := m.Append([]byte("before"), message)
		require.Equal(t, "before", string(mac[:6]))
		mac = mac[6:]
		require.True(t, m.Verify(message, mac), m)
		for i := range message {
			message[i] ^= 0x10
			require.False(t, m.Verify(message, mac), "%v, byte %d", m, i)
			message[i] ^= 0x10
		}
		for i := range mac {
			mac[i] ^= 1
			require.False(t, m.Verify(message, mac), "%v, byte %d of the MAC", m, i)
			mac[i] ^= 1
		}
		require.False(t, m.Verify(message, mac[:7]), m)
		require.False(t, m.Verify(message, nil), m)
		require.False(t, m.Verify(message, append(mac, 0)), m)
	}
}

// A MAC is made only by a key that is for MACs and of a fitting algorithm.
func TestMACRefusesOtherKeys(t *testing.T) {
	const aes128 = "2b7e151628aed2a6abf7158809cf4f3c"
	for _, usage := range []certs.Usage{certs.PINWorking, certs.ZonePIN, certs.TerminalMaster, certs.ZoneMaster, certs.DUKPTBase} {
		_, err := certs.NewMAC(testKey(t, usage, certs.AES128, aes128), certs.CMAC)
		require.ErrorIs(t, err, certs.ErrKeyUse, usage)
	}
	_, err := certs.NewMAC(testKey(t, certs.ZoneMAC, certs.AES128, aes128), certs.CMAC)
	require.NoError(t, err)
	for _, algorithm := range []certs.MACAlgorithm{certs.RetailMAC, certs.XORMAC, certs.HMAC, 0, 9} {
		_, err := certs.NewMAC(testKey(t, certs.MACWorking, certs.AES128, aes128), algorithm)
		require.ErrorIs(t, err, certs.ErrKeyUse, algorithm)
	}
	_, err = certs.NewMAC(testKey(t, certs.MACWorking, certs.DES, "5CBE7E38A146FD5C"), certs.RetailMAC)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	for _, algorithm := range []certs.MACAlgorithm{certs.CMAC, certs.RetailMAC, certs.XORMAC} {
		_, err = certs.NewMAC(testKey(t, certs.ZoneMAC, certs.HMACSHA256, kbpkA74), algorithm)
		require.ErrorIs(t, err, certs.ErrKeyUse, algorithm)
	}
	_, err = certs.NewMAC(testKey(t, certs.ZoneMAC, certs.AES256, kbpkA74), certs.HMAC)
	require.ErrorIs(t, err, certs.ErrKeyUse, "the same bytes as a key for AES-CMAC")
	for _, usage := range []certs.Usage{certs.PINWorking, certs.ZonePIN, certs.TerminalMaster, certs.ZoneMaster, certs.TrackWorking, certs.BackupSealing} {
		_, err = certs.KeyForTest(usage, certs.HMACSHA256, unhex(t, kbpkA74))
		require.ErrorContains(t, err, "cannot be of hmac-sha256", usage)
	}
	_, err = certs.NewMAC(nil, certs.CMAC)
	require.ErrorIs(t, err, certs.ErrKeyUse)
}

// One MAC serves many goroutines.
func TestMACServesMany(t *testing.T) {
	message := make([]byte, 150)
	for _, m := range everyMAC(t) {
		want := m.Append(nil, message)
		var all sync.WaitGroup
		wrong := make(chan string, 8)
		for range cap(wrong) {
			all.Go(func() {
				for range 200 {
					if !bytes.Equal(want, m.Append(nil, message)) || !m.Verify(message, want) {
						wrong <- m.String()
						return
					}
				}
			})
		}
		all.Wait()
		require.Empty(t, wrong)
	}
}

func BenchmarkMAC(b *testing.B) {
	message := make([]byte, 150)
	names := []string{"aes-128", "aes-256", "3des", "des", "3des", "sha-256"}
	for i, m := range everyMAC(b) {
		want := m.Append(nil, message)
		b.Run(m.Algorithm().String()+"/"+names[i], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !m.Verify(message, want) {
					b.Fatal("does not verify")
				}
			}
		})
	}
}

// A MAC is right in all of its bits, and in its length.
func TestMACIsWhole(t *testing.T) {
	for algorithm, key := range map[certs.MACAlgorithm]*certs.Key{
		certs.CMAC:      testKey(t, certs.MACWorking, certs.AES128, "AF8CB133A78F8DC2D1359F18527593FB"),
		certs.RetailMAC: testKey(t, certs.ZoneMAC, certs.TDES, "0123456789ABCDEFFEDCBA9876543210"),
		certs.XORMAC:    testKey(t, certs.MACWorking, certs.TDES, "0123456789ABCDEFFEDCBA9876543210"),
		certs.HMAC:      testKey(t, certs.ZoneMAC, certs.HMACSHA256, kbpkA74),
	} {
		m, err := certs.NewMAC(key, algorithm)
		require.NoError(t, err)
		message := []byte("a message as it was sent")
		mac := m.Append(nil, message)
		require.True(t, m.Verify(message, mac))
		for bit := range 8 * len(mac) {
			turned := bytes.Clone(mac)
			turned[bit/8] ^= 1 << (bit % 8)
			require.False(t, m.Verify(message, turned), "%v, bit %d", algorithm, bit)
		}
		for n := range len(mac) {
			require.False(t, m.Verify(message, mac[:n]), "%v, %d bytes", algorithm, n)
		}
		require.False(t, m.Verify(message, append(bytes.Clone(mac), 0)))
	}
}
