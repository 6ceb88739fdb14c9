package certs_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

const (
	kbpkA74 = "88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6"
	keyA74  = "3F419E1CB7079442AA37474C2EFBF8B8"
)

// blockVectors are key blocks that others made.
var blockVectors = []struct {
	source string
	under  certs.Algorithm
	kbpk   string
	block  string
	usage  certs.Usage
	is     certs.Algorithm
	key    string
}{
	{
		"TR-31:2018 A.7.2.2", certs.TDES, "DD7515F2BFC17F85CE48F3CA25CB21F6",
		"B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A3B8E4FA4C5F5341176EED7B727B8A248E",
		certs.ZonePIN, certs.TDES, keyA74,
	},
	{
		"TR-31:2018 A.7.3.2, an optional block", certs.TDES, "1D22BF32387C600AD97F9B97A51311AC",
		"B0104B0TX12S0100KS1800604B120F9292800000BB68BE8680A400D9191AD4ECE45B6E6C0D21C4738A52190E248719E24B433627",
		certs.DUKPTBase, certs.TDES, "E8BC63E5479455E26577F715D587FE68",
	},
	{
		"TR-31:2018 A.7.4", certs.AES256, kbpkA74,
		"D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A27E8E31DA05F7425509593D03A457DC34",
		certs.ZonePIN, certs.AES128, keyA74,
	},
	{
		"payShield 10k, in openemv/tr31", certs.TDES, "EFE0853B256B583D868F251CE99EA1D9",
		"B0080K0TN00N00001C414014375212C24995E405B5EE052CB92B67F455EA2680F6751088F9F1C228",
		certs.ZoneMaster, certs.TDES, "5DB50B454F8389ADCE573BE50861F2BF",
	},
}

// What others made opens to the key that they say; DUKPT's base keys of 3DES are the
// older DUKPT's, and no key here can be one.
func TestKeyBlocksOfOthers(t *testing.T) {
	for _, v := range blockVectors {
		t.Run(v.source, func(t *testing.T) {
			imported, err := certs.OpenKeyBlock([]byte(v.block), testKey(t, certs.ZoneMaster, v.under, v.kbpk))
			require.NoError(t, err)
			require.Equal(t, v.usage, imported.Usage())
			require.Equal(t, v.is, imported.Algorithm())
			require.Equal(t, strings.ToLower(v.key), hex.EncodeToString(certs.ImportedForTest(imported)))
		})
	}
}

// With the example's random bytes we write the example's block.
func TestKeyBlockIsTheStandards(t *testing.T) {
	got, err := certs.SealKeyBlockForTest("P0AE00E", unhex(t, keyA74), testKey(t, certs.ZoneMaster, certs.AES256, kbpkA74), bytes.NewReader(unhex(t, "1C2965473CE206BB855B01533782")))
	require.NoError(t, err)
	require.Equal(t, blockVectors[2].block, string(got))
}

// Every key that may leave comes back the same from its block, for the usage that it
// had, and may not leave again; nothing else leaves.
func TestKeyBlockRoundTrip(t *testing.T) {
	s, _ := newKeystore(t, testKEK(t))
	masters := []*certs.Key{
		testKey(t, certs.ZoneMaster, certs.AES256, kbpkA74), testKey(t, certs.ZoneMaster, certs.TDES, "DD7515F2BFC17F85CE48F3CA25CB21F6"),
		testKey(t, certs.TerminalMaster, certs.AES128, "DD7515F2BFC17F85CE48F3CA25CB21F6"),
	}
	left := map[certs.Usage]bool{}
	for key := range s.All() {
		for _, master := range masters {
			block, err := certs.AppendKeyBlock(nil, key, master, rand.Reader)
			if err != nil {
				require.ErrorIs(t, err, certs.ErrKeyUse, key)
				continue
			}
			left[key.Usage] = true
			imported, err := certs.OpenKeyBlock(block, master)
			require.NoError(t, err, key)
			require.Equal(t, key.Check, imported.Check())
			require.NoError(t, s.Update(func(c *certs.Changes) error {
				again, err := c.Import(certs.NewKey{Name: "again-" + key.Name + master.Check.String(), Usage: key.Usage, Algorithm: key.Algorithm}, imported)
				require.NoError(t, err, key)
				require.True(t, again.Same(key))
				_, err = certs.AppendKeyBlock(nil, again, master, rand.Reader)
				require.ErrorIs(t, err, certs.ErrKeyUse)
				require.ErrorContains(t, err, "not passed on")
				return nil
			}))
		}
	}
	for _, usage := range []certs.Usage{certs.CardEncryption, certs.PINVerification, certs.WorkingDerivation, certs.CASigning, certs.BackupSealing} {
		require.False(t, left[usage], usage)
	}
	for _, usage := range []certs.Usage{certs.TerminalMaster, certs.ZonePIN, certs.ZoneMAC, certs.ZoneMaster, certs.DUKPTBase} {
		require.True(t, left[usage], usage)
	}
}

// A key for HMAC travels as one (M7, H) and says its hash, under AES-256 alone; it opens as
// nothing else, and one of another hash is refused.
func TestKeyBlockOfHMAC(t *testing.T) {
	under := testKey(t, certs.ZoneMaster, certs.AES256, kbpkA74)
	key := testKey(t, certs.ZoneMAC, certs.HMACSHA256, strings.Repeat("5A", 32))
	block, err := certs.AppendKeyBlock(nil, key, under, rand.Reader)
	require.NoError(t, err)
	require.Equal(t, "D0160M7HC00N0200HM0621PB0A000000", string(block[:32]))
	imported, err := certs.OpenKeyBlock(block, under)
	require.NoError(t, err)
	require.Equal(t, certs.HMACSHA256, imported.Algorithm())
	require.Equal(t, certs.ZoneMAC, imported.Usage())
	require.Equal(t, key.Check, imported.Check())
	for i := range block {
		changed := bytes.Clone(block)
		changed[i] = map[bool]byte{true: '1', false: '0'}[changed[i] == '0']
		_, err := certs.OpenKeyBlock(changed, under)
		require.ErrorIs(t, err, certs.ErrKeyBlock, "character %d", i)
	}
	for says, changed := range map[string]string{
		"M7 and H (HMAC) go together": "M6H", "go together": "M7A", `with the hash "22"`: "HM0622",
	} {
		at := map[bool]int{true: 5, false: 16}[changed[0] == 'M']
		_, err := certs.OpenKeyBlock([]byte(string(block[:at])+changed+string(block[at+len(changed):])), under)
		require.ErrorContains(t, err, says)
	}
	for _, algorithm := range []certs.Algorithm{certs.AES128, certs.TDES} {
		_, err := certs.AppendKeyBlock(nil, key, testKey(t, certs.ZoneMaster, algorithm, "DD7515F2BFC17F85CE48F3CA25CB21F6"), rand.Reader)
		require.ErrorContains(t, err, "protect it with a stronger one")
	}
}

// A block that was changed in any character, or that says what we do not take, is
// refused, and the refusal says what does not hold.
func TestKeyBlockRefusals(t *testing.T) {
	under := testKey(t, certs.ZoneMaster, certs.AES256, kbpkA74)
	good := blockVectors[2].block
	for i := range good {
		changed := []byte(good)
		changed[i] = map[bool]byte{true: '1', false: '0'}[changed[i] == '0']
		_, err := certs.OpenKeyBlock(changed, under)
		require.ErrorIs(t, err, certs.ErrKeyBlock, "character %d", i)
		_, err = certs.OpenKeyBlock([]byte(good[:i]), under)
		require.ErrorIs(t, err, certs.ErrKeyBlock, "cut at %d", i)
	}
	for says, block := range map[string]string{
		"ask for version D":         "A" + good[1:],
		"a block under this key":    "B" + good[1:],
		"has 0113 characters":       good[:1] + "0113" + good[5:],
		"which we have no keys for": good[:5] + "V1" + good[7:],
		"mode of use is S":          good[:8] + "S" + good[9:],
		"exportability is X":        good[:11] + "X" + good[12:],
		"optional blocks is":        good[:12] + "xx" + good[14:],
		"optional block 1":          good[:12] + "01" + good[14:16] + "KS00" + good[20:],
		"no printable ASCII":        good[:20] + "\x00" + good[21:],
		"want 16 to":                "D0001",
		"it was not made under":     good[:16] + "C" + good[17:],
	} {
		_, err := certs.OpenKeyBlock([]byte(block), under)
		require.ErrorIs(t, err, certs.ErrKeyBlock, says)
		require.ErrorContains(t, err, says)
	}
	_, err := certs.OpenKeyBlock([]byte(good), testKey(t, certs.ZoneMaster, certs.AES256, kbpkA74[32:]+kbpkA74[:32]))
	require.ErrorContains(t, err, "it was not made under")
	_, err = certs.OpenKeyBlock([]byte(good), testKey(t, certs.ZoneMAC, certs.AES256, kbpkA74))
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = certs.AppendKeyBlock(nil, testKey(t, certs.ZonePIN, certs.AES128, keyA74), testKey(t, certs.ZoneMaster, certs.TDES, "DD7515F2BFC17F85CE48F3CA25CB21F6"), rand.Reader)
	require.ErrorContains(t, err, "stronger")

	// For what it says only.
	imported, err := certs.OpenKeyBlock([]byte(good), under)
	require.NoError(t, err)
	s, _ := newKeystore(t, testKEK(t))
	require.ErrorContains(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Import(certs.NewKey{Name: "mac", Usage: certs.ZoneMAC, Algorithm: certs.AES128}, imported)
		return err
	}), "the block holds a key for zone-pin, not for zone-mac")
}

// Whatever comes as a key block is read or refused; nothing panics.
func FuzzKeyBlock(f *testing.F) {
	var masters []*certs.Key
	for _, v := range blockVectors {
		f.Add([]byte(v.block))
		masters = append(masters, testKey(f, certs.ZoneMaster, v.under, v.kbpk))
	}
	f.Add([]byte("D0016P0AE00E0000"))
	f.Add([]byte("D0048P0AE00E0100PB0002000A" + strings.Repeat("0", 22)))
	f.Fuzz(func(t *testing.T, block []byte) {
		for _, master := range masters {
			if _, err := certs.OpenKeyBlock(block, master); err != nil {
				require.ErrorIs(t, err, certs.ErrKeyBlock)
			}
		}
	})
}

// Check values are those that others tell of the same keys.
func TestCheckValues(t *testing.T) {
	for _, v := range []struct {
		source    string
		algorithm certs.Algorithm
		key, want string
	}{
		{"openemv/tr31, TR-31:2018 A.7.2.2", certs.TDES, keyA74, "57C409"},
		{"openemv/tr31, TR-31:2018 A.7.4, by CMAC", certs.AES128, keyA74, "08793E"},
		{"openemv/tr31, payShield 10k, by CMAC", certs.AES256, "BE19E6A07A760F10EF8E83A226B63AAD141F463FDDD4F47DB244B4023EC3CACC", "0A00E3"},
		{"computed with two independent implementations", certs.TDES, tdesPIN, "4BA3F8"},
	} {
		require.Equal(t, v.want, testKey(t, certs.ZoneMaster, v.algorithm, v.key).Check.String(), v.source)
	}
}
