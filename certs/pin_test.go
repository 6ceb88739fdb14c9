package certs_test

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

func testPAN(t testing.TB, digits string) points.PAN {
	t.Helper()
	pan, err := points.ParsePAN(digits)
	require.NoError(t, err)
	return pan
}

func testPINKey(t testing.TB, usage certs.Usage, algorithm certs.Algorithm, plain string) *certs.PINKey {
	t.Helper()
	key, err := certs.NewPINKey(testKey(t, usage, algorithm, plain))
	require.NoError(t, err)
	return key
}

const (
	tdesPIN = "5CBE7E38A146FD5C0123456789ABCDEF"
	aesPIN  = "AF8CB133A78F8DC2D1359F18527593FB"
)

// A PIN block is the one that the standards' examples show.
func TestPINBlockVectors(t *testing.T) {
	for _, v := range []struct {
		source    string
		algorithm certs.Algorithm
		key       string
		format    certs.PINFormat
		random    string
		pin, pan  string
		want      string
	}{
		{"computed with two independent implementations", certs.TDES, tdesPIN, certs.PINFormat0, "", "1234", "6222021234567890", "5ba6cd5374ca7366"},
		{"X9.24-3:2017 supplement, format 4, transaction 1", certs.AES128, aesPIN, certs.PINFormat4, "2F69ADDE2E9E7ACE", "1234", "4111111111111111", "a912150391ab65a67e52883d81ce2d15"},
		{"X9.24-3:2017 supplement, format 4, transaction 2", certs.AES128, "D30BDC73EC9714B000BEC66BDB7B6D09", certs.PINFormat4, "2F69ADDE2E9E7ACE", "1234", "4111111111111111", "52a00503bd34ba1383f6a7ee9fe2547f"},
		{"psec, 19 digits", certs.AES128, "00112233445566778899AABBCCDDEEFF", certs.PINFormat4, "FFFFFFFFFFFFFFFF", "1234", "1234567890123456789", "28b41fddd29b743e93124bd8e32d921e"},
	} {
		t.Run(v.source, func(t *testing.T) {
			key := testPINKey(t, certs.PINWorking, v.algorithm, v.key)
			got, err := key.AppendPINBlock(nil, v.format, []byte(v.pin), testPAN(t, v.pan), bytes.NewReader(unhex(t, v.random)))
			require.NoError(t, err)
			require.Equal(t, v.want, hex.EncodeToString(got))
		})
	}
}

// What other makes enciphered is read: blocks published for decoding, which have
// the fill that their terminal chose.
func TestPINBlocksOfOthers(t *testing.T) {
	verifier, err := certs.NewPINVerifier(testKey(t, certs.PINVerification, certs.AES256, "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"))
	require.NoError(t, err)
	for _, v := range []struct{ source, key, block, pan, pin string }{
		{"ep2 eft/pos 2000 8.0.0, 8.4", "C1D0F8FB4958670DBA40AB1F3752EF0D", "CC17F65586BFD0953010226C4FC5B3CA", "432198765432109870", "1234"},
		{"psec, one digit", "00112233445566778899AABBCCDDEEFF", "39B69B1B91FE05D48F7EF0D68EB2CBD6", "1", "123456"},
	} {
		key := testPINKey(t, certs.PINWorking, certs.AES128, v.key)
		pan := testPAN(t, v.pan)
		own, err := key.AppendPINBlock(nil, certs.PINFormat4, []byte(v.pin), pan, rand.Reader)
		require.NoError(t, err, v.source)
		value, err := verifier.Value(key, certs.PINFormat4, own, pan)
		require.NoError(t, err, v.source)
		require.NoError(t, verifier.Verify(key, certs.PINFormat4, unhex(t, v.block), pan, &value), v.source)
	}
}

// clearPINs are plain fields of format 0 and 3 for the card 5555555551234567, good
// and bad, as psec's tests have them; we encipher them ourselves.
var clearPINs = []struct {
	clear  string
	format certs.PINFormat
	pin    string // none: the field is refused
}{
	{"041261AAAAEDCBA9", certs.PINFormat0, "1234"},
	{"091261032D8DCBA9", certs.PINFormat0, "123456789"},
	{"0A1261032D82CBA9", certs.PINFormat0, "1234567890"},
	{"0C1261032D8226A9", certs.PINFormat0, "123456789012"},
	{"241261AAAAEDCBA9", certs.PINFormat0, ""}, // control
	{"0F1261AAAAEDCBA9", certs.PINFormat0, ""}, // 15 digits
	{"021261AAAAEDCBA9", certs.PINFormat0, ""}, // 2 digits
	{"03126AAAAAEDCBA9", certs.PINFormat0, ""}, // 3 digits, well filled: by the number alone
	{"0212AAAAAAEDCBA9", certs.PINFormat0, ""}, // 2
	{"00FFAAAAAAEDCBA9", certs.PINFormat0, ""}, // none
	{"0D1261032D822669", certs.PINFormat0, ""}, // 13
	{"041261AAAAEDCBAA", certs.PINFormat0, ""}, // fill
	{"051261AAAAEDCBA9", certs.PINFormat0, ""}, // a digit F
	{"341261AAAAEDCBA9", certs.PINFormat3, "1234"},
	{"391261032D8DCBA9", certs.PINFormat3, "123456789"},
	{"3A1261032D82CBA9", certs.PINFormat3, "1234567890"},
	{"3C1261032D8226A9", certs.PINFormat3, "123456789012"},
	{"241261AAAAEDCBA9", certs.PINFormat3, ""},
	{"3F1261AAAAEDCBA9", certs.PINFormat3, ""},
	{"321261AAAAEDCBA9", certs.PINFormat3, ""},
	{"341261AAAAEDCBA2", certs.PINFormat3, ""},
	{"351261AAAAEDCBA9", certs.PINFormat3, ""},
}

// A field is read if and only if it is laid out as its format says; what is not is
// told apart from a PIN that is wrong.
func TestPINFields(t *testing.T) {
	pan := testPAN(t, "5555555551234567")
	key := testPINKey(t, certs.PINWorking, certs.TDES, tdesPIN)
	verifier, err := certs.NewPINVerifier(testKey(t, certs.PINVerification, certs.AES128, aesPIN))
	require.NoError(t, err)
	for _, v := range clearPINs {
		block, err := certs.EncipherForTest(certs.TDES, unhex(t, tdesPIN), unhex(t, v.clear))
		require.NoError(t, err)
		_, err = verifier.Value(key, v.format, block, pan)
		if v.pin == "" {
			require.Equal(t, points.BadPINFormat, points.ReasonOf(err), "%v %s", v.format, v.clear)
			continue
		}
		require.NoError(t, err, "%v %s", v.format, v.clear)
		same, err := key.AppendPINBlock(nil, v.format, []byte(v.pin), pan, rand.Reader)
		require.NoError(t, err)
		value, err := verifier.Value(key, v.format, same, pan)
		require.NoError(t, err)
		require.NoError(t, verifier.Verify(key, v.format, block, pan, &value), v.clear)
	}
	for _, clear := range []string{
		"541234AAAAAAAAAA548ED7FD65495950", "43123AAAAAAAAAAA548ED7FD65495950", "4D123AAAAAAAAAAA548ED7FD65495950",
		"441234ABCDEFABCD548ED7FD65495950", "4412D4AAAAAAAAAA548ED7FD65495950",
	} {
		block := encipher4(t, unhex(t, clear), "44555555555123456700000000000000")
		_, err := verifier.Value(testPINKey(t, certs.ZonePIN, certs.AES128, aesPIN), certs.PINFormat4, block, pan)
		require.Equal(t, points.BadPINFormat, points.ReasonOf(err), clear)
	}
}

// encipher4 is ISO 9564-1 9.4.2.3 once more, by hand.
func encipher4(t *testing.T, field []byte, panField string) []byte {
	t.Helper()
	block, err := aes.NewCipher(unhex(t, aesPIN))
	require.NoError(t, err)
	block.Encrypt(field, field)
	for i, b := range unhex(t, panField) {
		field[i] ^= b
	}
	block.Encrypt(field, field)
	return field
}

// Any PIN of any card survives encoding, comparing and translation in every format;
// another PIN, another card and another key are refused.
func TestPINRoundTrip(t *testing.T) {
	verifier, err := certs.NewPINVerifier(testKey(t, certs.PINVerification, certs.AES256, aesPIN+aesPIN))
	require.NoError(t, err)
	keys := map[certs.PINFormat][2]*certs.PINKey{}
	for format, algorithm := range map[certs.PINFormat]certs.Algorithm{certs.PINFormat0: certs.TDES, certs.PINFormat3: certs.TDES, certs.PINFormat4: certs.AES128} {
		keys[format] = [2]*certs.PINKey{testPINKey(t, certs.PINWorking, algorithm, tdesPIN), testPINKey(t, certs.ZonePIN, algorithm, aesPIN)}
	}
	formats := []certs.PINFormat{certs.PINFormat0, certs.PINFormat3, certs.PINFormat4}
	rapid.Check(t, func(t *rapid.T) {
		pin := []byte(rapid.StringMatching(`[0-9]{4,12}`).Draw(t, "pin"))
		pan, err := points.ParsePAN(rapid.StringMatching(`[0-9]{13,19}`).Draw(t, "pan"))
		require.NoError(t, err)
		from, to := rapid.SampledFrom(formats).Draw(t, "from"), rapid.SampledFrom(formats).Draw(t, "to")
		terminal, zone := keys[from][0], keys[to][1]
		block, err := terminal.AppendPINBlock(nil, from, pin, pan, rand.Reader)
		require.NoError(t, err)
		value, err := verifier.Value(terminal, from, block, pan)
		require.NoError(t, err)
		require.NoError(t, verifier.Verify(terminal, from, block, pan, &value))

		translated, err := certs.TranslatePIN([]byte("x"), terminal, from, block, pan, zone, to, rand.Reader)
		require.NoError(t, err)
		require.NoError(t, verifier.Verify(zone, to, translated[1:], pan, &value))

		other := bytes.Clone(pin)
		other[len(other)-1] ^= 1
		wrong, err := terminal.AppendPINBlock(nil, from, other, pan, rand.Reader)
		require.NoError(t, err)
		require.Equal(t, points.WrongPIN, points.ReasonOf(verifier.Verify(terminal, from, wrong, pan, &value)))

		elsewhere, err := points.ParsePAN(rapid.StringMatching(`9[0-9]{12}`).Draw(t, "elsewhere"))
		require.NoError(t, err)
		if elsewhere != pan {
			require.Error(t, verifier.Verify(terminal, from, block, elsewhere, &value))
		}
	})
}

// What is not a PIN block is refused before anything is deciphered, and no error
// tells a PIN.
func TestPINRefusals(t *testing.T) {
	pan := testPAN(t, "5555555551234567")
	terminal, zone := testPINKey(t, certs.PINWorking, certs.TDES, tdesPIN), testPINKey(t, certs.ZonePIN, certs.AES128, aesPIN)
	verifier, err := certs.NewPINVerifier(testKey(t, certs.PINVerification, certs.AES128, aesPIN))
	require.NoError(t, err)
	block, err := terminal.AppendPINBlock(nil, certs.PINFormat0, []byte("739182"), pan, rand.Reader)
	require.NoError(t, err)
	for _, refuse := range []func() error{
		func() error { _, err := verifier.Value(terminal, certs.PINFormat0, block[:7], pan); return err },
		func() error { _, err := verifier.Value(terminal, certs.PINFormat0, nil, pan); return err },
		func() error { _, err := verifier.Value(terminal, certs.PINFormat3, block, pan); return err },
		func() error { _, err := verifier.Value(terminal, certs.PINFormat4, block, pan); return err },
		func() error { _, err := verifier.Value(terminal, 0, block, pan); return err },
		func() error { _, err := verifier.Value(terminal, 77, block, pan); return err },
		func() error { _, err := verifier.Value(zone, certs.PINFormat0, block, pan); return err },
		func() error { _, err := verifier.Value(terminal, certs.PINFormat0, block, points.PAN{}); return err },
		func() error {
			_, err := terminal.AppendPINBlock(nil, certs.PINFormat0, []byte("739"), pan, nil)
			return err
		},
		func() error {
			_, err := terminal.AppendPINBlock(nil, certs.PINFormat0, []byte("7391827391827"), pan, nil)
			return err
		},
		func() error {
			_, err := terminal.AppendPINBlock(nil, certs.PINFormat0, []byte("73918A"), pan, nil)
			return err
		},
	} {
		err := refuse()
		require.Equal(t, points.BadPINFormat, points.ReasonOf(err))
		require.NotContains(t, err.Error(), "7391")
	}
	_, err = certs.TranslatePIN(nil, terminal, certs.PINFormat0, block, pan, terminal, certs.PINFormat0, rand.Reader)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = terminal.AppendPINBlock(nil, certs.PINFormat3, []byte("739182"), pan, bytes.NewReader(nil))
	require.ErrorContains(t, err, "draw")
	for _, usage := range []certs.Usage{certs.MACWorking, certs.ZoneMAC, certs.TerminalMaster, certs.TrackWorking, certs.PINVerification} {
		_, err := certs.NewPINKey(testKey(t, usage, certs.AES128, aesPIN))
		require.ErrorIs(t, err, certs.ErrKeyUse, usage)
	}
	_, err = certs.NewPINVerifier(testKey(t, certs.MACWorking, certs.AES128, aesPIN))
	require.ErrorIs(t, err, certs.ErrKeyUse)
}

// The value of a PIN depends on the key, the card and the PIN, and on nothing else.
func TestPINValueIsApart(t *testing.T) {
	seen := map[certs.PINValue]string{}
	terminal := testPINKey(t, certs.PINWorking, certs.TDES, tdesPIN)
	for _, key := range []string{aesPIN, tdesPIN} {
		verifier, err := certs.NewPINVerifier(testKey(t, certs.PINVerification, certs.AES128, key))
		require.NoError(t, err)
		// 13 digits and 4, or 12 and 5, must not run into each other.
		for _, c := range [][2]string{{"5555555551234", "12345"}, {"55555555512341", "2345"}, {"5555555551234", "1234"}, {"5555555551235", "1234"}} {
			block, err := terminal.AppendPINBlock(nil, certs.PINFormat0, []byte(c[1]), testPAN(t, c[0]), nil)
			require.NoError(t, err)
			value, err := verifier.Value(terminal, certs.PINFormat0, block, testPAN(t, c[0]))
			require.NoError(t, err)
			require.Empty(t, seen[value])
			seen[value] = fmt.Sprint(key, c)
		}
	}
}

// Whatever comes in DE52 or DE125 is read or refused with a reason; nothing panics.
func FuzzPINBlock(f *testing.F) {
	f.Add(uint8(1), unhex(f, "5ba6cd5374ca7366"), "6222021234567890")
	f.Add(uint8(3), unhex(f, "a912150391ab65a67e52883d81ce2d15"), "4111111111111111")
	f.Add(uint8(2), []byte{}, "1")
	terminal, zone := testPINKey(f, certs.PINWorking, certs.TDES, tdesPIN), testPINKey(f, certs.ZonePIN, certs.AES128, aesPIN)
	verifier, err := certs.NewPINVerifier(testKey(f, certs.PINVerification, certs.AES128, aesPIN))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, format uint8, block []byte, digits string) {
		pan, err := points.ParsePAN(digits)
		if err != nil {
			return
		}
		for _, key := range []*certs.PINKey{terminal, zone} {
			value, err := verifier.Value(key, certs.PINFormat(format), block, pan)
			if err != nil {
				require.Equal(t, points.BadPINFormat, points.ReasonOf(err))
				continue
			}
			require.NoError(t, verifier.Verify(key, certs.PINFormat(format), block, pan, &value))
		}
	})
}

func BenchmarkPINVerify(b *testing.B) {
	pan := testPAN(b, "5555555551234567")
	verifier, err := certs.NewPINVerifier(testKey(b, certs.PINVerification, certs.AES256, aesPIN+aesPIN))
	require.NoError(b, err)
	for format, key := range map[certs.PINFormat]*certs.PINKey{
		certs.PINFormat0: testPINKey(b, certs.PINWorking, certs.TDES, tdesPIN),
		certs.PINFormat4: testPINKey(b, certs.PINWorking, certs.AES128, aesPIN),
	} {
		block, err := key.AppendPINBlock(nil, format, []byte("739182"), pan, rand.Reader)
		require.NoError(b, err)
		value, err := verifier.Value(key, format, block, pan)
		require.NoError(b, err)
		b.Run(format.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if verifier.Verify(key, format, block, pan, &value) != nil {
					b.Fatal("does not verify")
				}
			}
		})
	}
}
