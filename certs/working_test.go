package certs_test

import (
	"crypto/des"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

var (
	testMerchant = points.MerchantID([]byte("898123456789012"))
	testTerminal = points.TerminalID([]byte("T0000001"))
	everyKeySet  = []certs.KeySet{certs.KeySet001, certs.KeySet003, certs.KeySet004, certs.KeySetAES128, certs.KeySetAES256, certs.KeySetHMAC}
)

func testBase(t testing.TB) *certs.Key {
	return testKey(t, certs.WorkingDerivation, certs.AES256, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")
}

func testMaster(t testing.TB, set certs.KeySet) *certs.Key {
	if set.MAC() != certs.XORMAC {
		return testKey(t, certs.TerminalMaster, certs.AES256, kbpkA74)
	}
	return testKey(t, certs.TerminalMaster, certs.TDES, "70F2A84CCBC2AE8625CBB0F2C22AB923")
}

func workingKeys(t testing.TB, set certs.KeySet, generation uint64) *certs.WorkingKeys {
	w, err := certs.DeriveWorkingKeys(testBase(t), set, testMerchant, testTerminal, generation)
	require.NoError(t, err)
	return w
}

// The same sign-on has the same keys and the same DE62, after a restart too; another
// terminal, merchant, generation, set or base key has other keys.
func TestWorkingKeysFollowFromTheSignOn(t *testing.T) {
	seen := map[string]string{}
	for _, set := range everyKeySet {
		w, again := workingKeys(t, set, 7), workingKeys(t, set, 7)
		one, err := w.AppendWrapped(nil, testMaster(t, set))
		require.NoError(t, err)
		two, err := again.AppendWrapped(nil, testMaster(t, set))
		require.NoError(t, err)
		require.Equal(t, one, two)
		other := testTerminal
		other[7] = '2'
		for what, derive := range map[string]func() (*certs.WorkingKeys, error){
			"this":       func() (*certs.WorkingKeys, error) { return w, nil },
			"generation": func() (*certs.WorkingKeys, error) { return workingKeys(t, set, 8), nil },
			"terminal": func() (*certs.WorkingKeys, error) {
				return certs.DeriveWorkingKeys(testBase(t), set, testMerchant, other, 7)
			},
			"merchant": func() (*certs.WorkingKeys, error) {
				return certs.DeriveWorkingKeys(testBase(t), set, points.MerchantID{}, testTerminal, 7)
			},
			"base": func() (*certs.WorkingKeys, error) {
				return certs.DeriveWorkingKeys(testKey(t, certs.WorkingDerivation, certs.AES256, kbpkA74), set, testMerchant, testTerminal, 7)
			},
		} {
			w, err := derive()
			require.NoError(t, err)
			for _, key := range []*certs.Key{w.PIN, w.MAC, w.Track} {
				if key != nil {
					id := string(certs.ClearForTest(key))
					require.Empty(t, seen[id], "%v %s", set, what)
					seen[id] = fmt.Sprint(set, what)
				}
			}
		}
	}
}

// DE62 has the layout of the terminal specification, in which a terminal of its own
// finds the keys: enciphered one block after the other, with four bytes to check.
func TestWrappedKeysOfPOS(t *testing.T) {
	master := testMaster(t, certs.KeySet001)
	tmk, err := des.NewTripleDESCipher(unhex(t, "70F2A84CCBC2AE8625CBB0F2C22AB92370F2A84CCBC2AE86"))
	require.NoError(t, err)
	for set, size := range map[certs.KeySet]int{certs.KeySet001: 24, certs.KeySet003: 40, certs.KeySet004: 60} {
		w := workingKeys(t, set, 7)
		de62, err := w.AppendWrapped([]byte("x"), master)
		require.NoError(t, err)
		de62 = de62[1:]
		require.Len(t, de62, size)
		for _, key := range []*certs.Key{w.PIN, w.MAC, w.Track} {
			if key == nil {
				continue
			}
			plain := certs.ClearForTest(key)
			for i := 0; i < len(plain); i += 8 {
				var block [8]byte
				tmk.Decrypt(block[:], de62)
				require.Equal(t, plain[i:i+8], block[:])
				de62 = de62[8:]
			}
			if key == w.MAC && set != certs.KeySet001 {
				require.Equal(t, make([]byte, 8), de62[:8])
				de62 = de62[8:]
			}
			block, err := des.NewCipher(plain[:8])
			if len(plain) == 16 {
				block, err = des.NewTripleDESCipher(append(plain, plain[:8]...))
			}
			require.NoError(t, err)
			var zeros [8]byte
			block.Encrypt(zeros[:], zeros[:])
			require.Equal(t, zeros[:4], de62[:4])
			de62 = de62[4:]
		}
		require.Empty(t, de62)
	}
}

// The wrapping of one key is the one that the terminal specification's example shows:
// its master key, its MAC key.
func TestWrappedKeyVector(t *testing.T) {
	got, err := certs.WrapForTest(testKey(t, certs.MACWorking, certs.DES, "C24A8FB57AA20123"), testMaster(t, certs.KeySet001))
	require.NoError(t, err)
	require.Equal(t, unhex(t, "96D605EA176B7E9E"), got)
}

// A terminal that opens DE62 works with the keys that the switch has.
func TestWorkingKeysAreOpened(t *testing.T) {
	pan := testPAN(t, "5555555551234567")
	for _, set := range everyKeySet {
		w := workingKeys(t, set, 7)
		master := testMaster(t, set)
		de62, err := w.AppendWrapped(nil, master)
		require.NoError(t, err)
		require.LessOrEqual(t, len(de62), 512)
		theirs, err := certs.OpenWorkingKeys(set, de62, master, testMerchant, testTerminal)
		require.NoError(t, err)
		require.True(t, w.PIN.Same(theirs.PIN))
		require.True(t, w.MAC.Same(theirs.MAC))
		require.Equal(t, w.Track == nil, theirs.Track == nil)
		require.Equal(t, w.MAC.KeyInfo, theirs.MAC.KeyInfo)
		pinFormat, mac := certs.PINFormat4, set.MAC()
		if mac == certs.XORMAC {
			pinFormat = certs.PINFormat0
		}
		ours, err := certs.NewMAC(w.MAC, mac)
		require.NoError(t, err)
		terminal, err := certs.NewMAC(theirs.MAC, mac)
		require.NoError(t, err)
		require.True(t, ours.Verify([]byte("message"), terminal.Append(nil, []byte("message"))))
		pin, err := certs.NewPINKey(theirs.PIN)
		require.NoError(t, err)
		_, err = pin.AppendPINBlock(nil, pinFormat, []byte("1234"), pan, rand.Reader)
		require.NoError(t, err)

		_, err = certs.OpenWorkingKeys(set, de62[:len(de62)-1], master, testMerchant, testTerminal)
		require.Error(t, err)
		_, err = certs.OpenWorkingKeys(set, append(de62, '0'), master, testMerchant, testTerminal)
		require.ErrorContains(t, err, "follow the keys")
		de62[0] ^= 1
		_, err = certs.OpenWorkingKeys(set, de62, master, testMerchant, testTerminal)
		require.Error(t, err)
	}
}

// Keys go under the master key of their kind only, and follow from a key that is for
// that only.
func TestWorkingKeyRefusals(t *testing.T) {
	_, err := workingKeys(t, certs.KeySet003, 7).AppendWrapped(nil, testMaster(t, certs.KeySetAES128))
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = workingKeys(t, certs.KeySetAES128, 7).AppendWrapped(nil, testMaster(t, certs.KeySet003))
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = workingKeys(t, certs.KeySetAES256, 7).AppendWrapped(nil, testKey(t, certs.TerminalMaster, certs.AES128, aesPIN))
	require.ErrorIs(t, err, certs.ErrKeyUse)
	for _, set := range []certs.KeySet{certs.KeySet003, certs.KeySetAES128} {
		_, err = workingKeys(t, set, 7).AppendWrapped(nil, testKey(t, certs.ZoneMaster, certs.TDES, "DD7515F2BFC17F85CE48F3CA25CB21F6"))
		require.ErrorIs(t, err, certs.ErrKeyUse)
	}
	_, err = certs.DeriveWorkingKeys(testKey(t, certs.BackupSealing, certs.AES256, kbpkA74), certs.KeySet003, testMerchant, testTerminal, 7)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	for _, set := range []certs.KeySet{0, 99} {
		_, err = certs.DeriveWorkingKeys(testBase(t), set, testMerchant, testTerminal, 7)
		require.Error(t, err)
		_, err = certs.OpenWorkingKeys(set, nil, testMaster(t, certs.KeySet003), testMerchant, testTerminal)
		require.Error(t, err)
	}
}

// Whatever comes in DE62 of a sign-on's answer is read or refused; nothing panics.
func FuzzWorkingKeys(f *testing.F) {
	for _, set := range everyKeySet {
		de62, err := workingKeys(f, set, 7).AppendWrapped(nil, testMaster(f, set))
		require.NoError(f, err)
		f.Add(uint8(set), de62)
	}
	f.Fuzz(func(t *testing.T, set uint8, de62 []byte) {
		master := testMaster(t, certs.KeySet(set))
		w, err := certs.OpenWorkingKeys(certs.KeySet(set), de62, master, testMerchant, testTerminal)
		if err == nil {
			require.NotNil(t, w.PIN)
			require.NotNil(t, w.MAC)
		}
	})
}

func BenchmarkWorkingKeys(b *testing.B) {
	for _, set := range []certs.KeySet{certs.KeySet003, certs.KeySetAES128} {
		master, base := testMaster(b, set), testBase(b)
		b.Run(set.String(), func(b *testing.B) {
			for b.Loop() {
				w, err := certs.DeriveWorkingKeys(base, set, testMerchant, testTerminal, 7)
				require.NoError(b, err)
				_, err = w.AppendWrapped(nil, master)
				require.NoError(b, err)
			}
		})
	}
}
