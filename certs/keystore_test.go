package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

func testKEK(t testing.TB) certs.KEK {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek")
	require.NoError(t, certs.WriteKEK(path, rand.Reader))
	kek, err := certs.OpenKEK("file:"+path, rand.Reader)
	require.NoError(t, err)
	return kek
}

// newKeystore is a keystore of one key of each usage.
func newKeystore(t testing.TB, kek certs.KEK) (*certs.Keystore, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	s, err := certs.CreateKeystore(path, kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, s.Update(func(c *certs.Changes) error {
		for _, word := range certs.Usages() {
			usage, err := certs.ParseUsage(word)
			require.NoError(t, err)
			algorithm := certs.AES256
			switch usage {
			case certs.CASigning:
				algorithm = certs.ECDSAP256
			case certs.TerminalMaster:
				algorithm = certs.TDES
			case certs.ZonePIN:
				algorithm = certs.AES128
			default:
			}
			_, err = c.Generate(certs.NewKey{Name: word, Usage: usage, Algorithm: algorithm, From: 100})
			require.NoError(t, err)
		}
		return nil
	}))
	return s, path
}

func infos(s *certs.Keystore) (all []certs.KeyInfo) {
	for key := range s.All() {
		all = append(all, key.KeyInfo)
	}
	return all
}

// What was put into a keystore is what a later process finds, the keys themselves
// included.
func TestKeystoreIsReadBack(t *testing.T) {
	kek := testKEK(t)
	s, path := newKeystore(t, kek)
	require.Equal(t, len(certs.Usages()), s.Len())
	again, err := certs.OpenKeystore(path, kek, rand.Reader)
	require.NoError(t, err)
	require.Equal(t, infos(s), infos(again))
	require.Equal(t, s.Generation(), again.Generation())
	for key := range s.All() {
		other, err := again.Key(key.Name, 0)
		require.NoError(t, err)
		require.True(t, key.Same(other), key)
		require.NotZero(t, key.Check)
	}
	_, err = certs.CreateKeystore(path, kek, rand.Reader)
	require.ErrorIs(t, err, os.ErrExist)
	_, err = again.Key("nothing", 0)
	require.ErrorIs(t, err, certs.ErrNoKey)
	_, err = again.Key("card", 2)
	require.ErrorIs(t, err, certs.ErrNoKey)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// A file is the one that was written, to the last bit, or it is refused: no byte can
// be changed, left out or added, and nothing of a key is there in clear.
func TestKeystoreDamage(t *testing.T) {
	kek := testKEK(t)
	s, path := newKeystore(t, kek)
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	for key := range s.All() {
		require.False(t, bytes.Contains(file, certs.ClearForTest(key)), key)
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	refused := func(content []byte, what string, at int) {
		t.Helper()
		_, err := certs.OpenRingForTest(content, kek)
		require.Error(t, err, "%s %d", what, at)
		require.True(t, errors.Is(err, certs.ErrKeystoreDamaged) || errors.Is(err, certs.ErrKeystoreVersion) || errors.Is(err, certs.ErrOtherKEK), "%s %d: %v", what, at, err)
	}
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1 << (i % 8)
		refused(changed, "byte", i)
		refused(file[:i], "cut at", i)
	}
	refused(append(bytes.Clone(file), 0), "one more byte", len(file))
	newer := bytes.Clone(file)
	newer[5] = 2
	require.NoError(t, os.WriteFile(damaged, newer, 0o600))
	_, err = certs.OpenKeystore(damaged, kek, rand.Reader)
	require.ErrorIs(t, err, certs.ErrKeystoreVersion)
}

// Keys of one generation cannot be put into another, though the same key-encryption
// key sealed both: of a retired key the state before cannot be had back.
func TestKeystoreGenerationsDoNotMix(t *testing.T) {
	kek := testKEK(t)
	path := filepath.Join(t.TempDir(), "keys")
	s, err := certs.CreateKeystore(path, kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Generate(certs.NewKey{Name: "zone", Usage: certs.ZoneMAC, Algorithm: certs.AES128})
		return err
	}))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Retire("zone", 0)
		return err
	}))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, after, len(before))
	at := bytes.LastIndex(after, []byte("zone"))
	require.NoError(t, os.WriteFile(path, append(bytes.Clone(after[:at]), before[at:]...), 0o600))
	_, err = certs.OpenKeystore(path, kek, rand.Reader)
	require.ErrorIs(t, err, certs.ErrKeystoreDamaged)
}

// A keystore opens under its own key-encryption key only, and the refusal says which
// is missing.
func TestKeystoreOtherKEK(t *testing.T) {
	kek := testKEK(t)
	_, path := newKeystore(t, kek)
	other := testKEK(t)
	_, err := certs.OpenKeystore(path, other, rand.Reader)
	require.ErrorIs(t, err, certs.ErrOtherKEK)
	require.ErrorContains(t, err, kek.Name())
	require.ErrorContains(t, err, other.Name())
}

// An older file in the place of a newer one is noticed, by a process that starts and
// by one that runs.
func TestKeystoreRollback(t *testing.T) {
	kek := testKEK(t)
	s, path := newKeystore(t, kek)
	older, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Destroy("zone-pin", 0)
		return err
	}))
	require.NoError(t, os.WriteFile(path, older, 0o600))
	_, err = certs.OpenKeystore(path, kek, rand.Reader)
	require.ErrorIs(t, err, certs.ErrOlderKeystore)
	require.ErrorContains(t, err, "remove "+path+".generation")
	require.NoError(t, os.Remove(path+".generation"))
	_, err = certs.OpenKeystore(path, kek, rand.Reader)
	require.NoError(t, err)
	_, err = s.Reload(anyMark)
	require.ErrorIs(t, err, certs.ErrOlderKeystore)
	require.ErrorIs(t, s.Update(func(*certs.Changes) error { return nil }), certs.ErrOlderKeystore)
}

// A change is seen as a whole or not at all: where it is refused or cannot be written,
// neither the process nor the file has changed.
func TestKeystoreUpdateIsWhole(t *testing.T) {
	kek := testKEK(t)
	s, path := newKeystore(t, kek)
	before, generation := infos(s), s.Generation()
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	same := func() {
		t.Helper()
		require.Equal(t, before, infos(s))
		require.Equal(t, generation, s.Generation())
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, file, now)
	}
	refused := errors.New("changed my mind")
	require.ErrorIs(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Retire("card", 0)
		require.NoError(t, err)
		_, err = c.Rotate("zone-mac", 200)
		require.NoError(t, err)
		return refused
	}), refused)
	same()
	require.NoError(t, os.Mkdir(path+".new", 0o700)) // Nothing can be written beside the file.
	require.Error(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Retire("card", 0)
		return err
	}))
	same()
}

// Two processes that change the same file do not lose each other's changes, and one
// that reads sees them when it reloads.
func TestKeystoreOfTwoProcesses(t *testing.T) {
	kek := testKEK(t)
	s, path := newKeystore(t, kek)
	other, err := certs.OpenKeystore(path, kek, rand.Reader)
	require.NoError(t, err)
	reader, err := certs.OpenKeystore(path, kek, rand.Reader)
	require.NoError(t, err)
	for i, store := range []*certs.Keystore{s, other, s, other} {
		require.NoError(t, store.Update(func(c *certs.Changes) error {
			_, err := c.Generate(certs.NewKey{Name: fmt.Sprint("new-", i), Usage: certs.ZonePIN, Algorithm: certs.TDES})
			return err
		}))
	}
	changed, err := reader.Reload(anyMark)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, infos(other), infos(reader))
	require.Equal(t, len(certs.Usages())+4, reader.Len())
	changed, err = reader.Reload(anyMark)
	require.NoError(t, err)
	require.False(t, changed)
}

// A key is used from its time on and until its successor's, which is known before;
// afterwards it checks and opens, until it is destroyed.
func TestKeyLife(t *testing.T) {
	kek := testKEK(t)
	s, _ := newKeystore(t, kek)
	use := func(now points.Timestamp) uint32 {
		key, err := s.Use("zone-mac", certs.ZoneMAC, now)
		if err != nil {
			require.ErrorIs(t, err, certs.ErrKeyUse)
			return 0
		}
		return key.Version
	}
	require.Zero(t, use(99))
	require.EqualValues(t, 1, use(100))
	first, err := s.Key("zone-mac", 1)
	require.NoError(t, err)
	require.NoError(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Rotate("zone-mac", 100)
		require.ErrorContains(t, err, "later than that")
		next, err := c.Rotate("zone-mac", 500)
		require.NoError(t, err)
		require.False(t, next.Same(first))
		return nil
	}))
	require.EqualValues(t, 1, use(499))
	require.EqualValues(t, 2, use(500))
	first, err = s.Key("zone-mac", 1)
	require.NoError(t, err)
	require.NoError(t, first.InForce(900, true))
	require.ErrorIs(t, first.InForce(900, false), certs.ErrKeyUse)

	_, err = s.Use("zone-mac", certs.ZonePIN, 500)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	require.NoError(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Retire("zone-mac", 2)
		require.NoError(t, err)
		_, err = c.Retire("zone-mac", 2)
		require.ErrorContains(t, err, "already")
		_, err = c.Destroy("zone-mac", 1)
		return err
	}))
	require.Zero(t, use(600))
	gone, err := s.Key("zone-mac", 1)
	require.NoError(t, err)
	require.Equal(t, first.Check, gone.Check)
	require.ErrorIs(t, gone.InForce(200, true), certs.ErrKeyUse)
	_, err = certs.NewMAC(gone, certs.CMAC)
	require.ErrorIs(t, err, certs.ErrKeyUse)
	require.Equal(t, certs.KeyDestroyed, gone.State)
}

// What cannot be a key of a keystore is refused, with words that say why.
func TestKeystoreRefusals(t *testing.T) {
	s, _ := newKeystore(t, testKEK(t))
	for _, c := range []struct {
		want certs.NewKey
		says string
	}{
		{certs.NewKey{Name: "", Usage: certs.ZonePIN, Algorithm: certs.AES128}, "1 to 64 characters"},
		{certs.NewKey{Name: strings.Repeat("n", 65), Usage: certs.ZonePIN, Algorithm: certs.AES128}, "1 to 64 characters"},
		{certs.NewKey{Name: "a b", Usage: certs.ZonePIN, Algorithm: certs.AES128}, "without spaces"},
		{certs.NewKey{Name: "钥", Usage: certs.ZonePIN, Algorithm: certs.AES128}, "without spaces"},
		{certs.NewKey{Name: "card", Usage: certs.CardEncryption, Algorithm: certs.AES256}, "rotate it"},
		{certs.NewKey{Name: "n", Usage: certs.MACWorking, Algorithm: certs.DES}, "single DES"},
		{certs.NewKey{Name: "n", Usage: certs.CardEncryption, Algorithm: certs.TDES}, "cannot be of 3des-2key"},
		{certs.NewKey{Name: "n", Usage: certs.ZonePIN, Algorithm: certs.ECDSAP256}, "cannot be of ecdsa-p256"},
		{certs.NewKey{Name: "n", Usage: 0, Algorithm: certs.AES128}, "no usage"},
		{certs.NewKey{Name: "n", Usage: certs.ZonePIN, Algorithm: certs.AES128, From: 9, Until: 9}, "before"},
	} {
		require.ErrorContains(t, s.Update(func(c2 *certs.Changes) error {
			_, err := c2.Generate(c.want)
			return err
		}), c.says)
	}
	require.Equal(t, len(certs.Usages()), s.Len())
}

// A CA's key signs, and nothing else does.
func TestKeySigner(t *testing.T) {
	s, _ := newKeystore(t, testKEK(t))
	key, err := s.Use("ca-signing", certs.CASigning, 100)
	require.NoError(t, err)
	signer, err := key.Signer()
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("certificate"))
	signature, err := signer.Sign(rand.Reader, digest[:], nil)
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(signer.Public().(*ecdsa.PublicKey), digest[:], signature))
	card, err := s.Use("card", certs.CardEncryption, 100)
	require.NoError(t, err)
	_, err = card.Signer()
	require.ErrorIs(t, err, certs.ErrKeyUse)
	_, err = certs.CardKeyOf(card)
	require.NoError(t, err)
	_, err = certs.CardKeyOf(key)
	require.ErrorIs(t, err, certs.ErrKeyUse)
}

// The source of a key-encryption key is named, never quoted.
func TestKEKSources(t *testing.T) {
	const key = "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"
	t.Setenv("LIANFEN_TEST_KEK", key)
	fromEnv, err := certs.OpenKEK("env:LIANFEN_TEST_KEK", rand.Reader)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "kek")
	require.NoError(t, os.WriteFile(path, []byte(key+"\n"), 0o600))
	fromFile, err := certs.OpenKEK("file:"+path, rand.Reader)
	require.NoError(t, err)
	require.Equal(t, fromEnv.Name(), fromFile.Name())
	_, file := newKeystore(t, fromEnv)
	_, err = certs.OpenKeystore(file, fromFile, rand.Reader)
	require.NoError(t, err)

	t.Setenv("LIANFEN_TEST_KEK", key[1:])
	for source, says := range map[string]string{
		"env:LIANFEN_TEST_KEK":  "64 hexadecimal digits",
		"env:LIANFEN_TEST_NONE": "not set",
		"file:" + path + "none": "no such file",
		key:                     "file:PATH",
		"":                      "file:PATH",
	} {
		_, err := certs.OpenKEK(source, rand.Reader)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), key[1:10])
	}
	require.NoError(t, os.Chmod(path, 0o640))
	_, err = certs.OpenKEK("file:"+path, rand.Reader)
	require.ErrorContains(t, err, "chmod 600")
}

// No way of printing a key, or what is made of one, shows the key: every verb of fmt,
// JSON, text and slog, of the thing, of a pointer to it, and within a struct.
func TestKeysAreNotPrinted(t *testing.T) {
	const plain = "AF8CB133A78F8DC2D1359F18527593FB"
	mac := testKey(t, certs.MACWorking, certs.AES128, plain)
	pin := testKey(t, certs.PINWorking, certs.AES128, plain)
	check := testKey(t, certs.PINVerification, certs.AES128, plain)
	m, err := certs.NewMAC(mac, certs.CMAC)
	require.NoError(t, err)
	p, err := certs.NewPINKey(pin)
	require.NoError(t, err)
	v, err := certs.NewPINVerifier(check)
	require.NoError(t, err)
	kek, err := certs.OpenKEK("file:"+writeKey(t, plain+plain), rand.Reader)
	require.NoError(t, err)
	card := certs.NewCardKey([32]byte(unhex(t, plain+plain)))
	components, err := certs.NewComponents(certs.AES128)
	require.NoError(t, err)
	for _, part := range []string{plain, strings.Repeat("0", 31) + "1"} {
		_, err = components.Add([]byte(part))
		require.NoError(t, err)
	}
	imported, err := components.Key()
	require.NoError(t, err)

	for _, thing := range append([]any{mac, *mac, m, *m, p, *p, v, *v, card, *card, kek, components, imported}, morePrinted(t)...) {
		for _, printed := range []any{thing, &thing, struct{ Key any }{thing}, struct{ key any }{thing}, []any{thing}, map[string]any{"key": thing}} {
			var all strings.Builder
			for _, verb := range "vsqxXdboOcUeEfFgGtTp" {
				for _, flags := range []string{"", "+", "#", " ", "-", "0", "+#", "40.20"} {
					_, _ = fmt.Fprintf(&all, "%"+flags+string(verb)+"\n", printed)
				}
			}
			if text, err := json.Marshal(printed); err == nil {
				all.Write(text)
			}
			slog.New(slog.NewJSONHandler(&all, nil)).Info("json", "key", printed)
			slog.New(slog.NewTextHandler(&all, nil)).Info("text", "key", printed)
			requireNotShown(t, all.String(), unhex(t, plain), fmt.Sprintf("%T", thing))
		}
	}
	require.Equal(t, `{"name":"test","version":1,"kcv":"`+mac.Check.String()+`"}`, marshal(t, mac))
	require.Equal(t, "key test/1 KCV "+mac.Check.String(), fmt.Sprintf("%d", mac))
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

func writeKey(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// requireNotShown looks for four bytes of key in a row, in every notation that Go
// prints bytes in.
func requireNotShown(t *testing.T, text string, key []byte, what string) {
	t.Helper()
	text = strings.ToLower(text)
	for i := range len(key) - 3 {
		part := key[i : i+4]
		spell := func(format, between string) string {
			var words []string
			for _, b := range part {
				words = append(words, fmt.Sprintf(format, b))
			}
			return strings.ToLower(strings.Join(words, between))
		}
		for _, form := range []string{
			hex.EncodeToString(part), spell("%d", " "), spell("%d", ","), spell("%x", " "), spell("%#x", ", "), spell("%#x", " "), spell("%b", " "), spell("%o", " "),
			spell("0o%o", " "), spell("U+%04X", " "), new(big.Int).SetBytes(part).String(), string(part),
		} {
			if strings.Contains(text, form) {
				t.Fatalf("%s shows its key as %q", what, form)
			}
		}
	}
}

// Parts that persons hold make the key that none of them knows.
func TestComponents(t *testing.T) {
	const first, second = "11112222 33334444 55556666 77778888", "ABABABABABABABABCDCDCDCDCDCDCDCD"
	c, err := certs.NewComponents(certs.TDES)
	require.NoError(t, err)
	_, err = c.Key()
	require.ErrorContains(t, err, "two parts")
	for _, bad := range []string{"", "1111", first + "00", strings.Replace(first, "1", "G", 1)} {
		_, err := c.Add([]byte(bad))
		require.ErrorContains(t, err, "32 hexadecimal digits")
		require.NotContains(t, err.Error(), "G111")
	}
	one, err := c.Add([]byte(first))
	require.NoError(t, err)
	require.Equal(t, testKey(t, certs.ZoneMaster, certs.TDES, first).Check, one)
	_, err = c.Key()
	require.ErrorContains(t, err, "two parts")
	_, err = c.Add([]byte(second))
	require.NoError(t, err)
	imported, err := c.Key()
	require.NoError(t, err)
	sum := unhex(t, first)
	for i, b := range unhex(t, second) {
		sum[i] ^= b
	}
	require.Equal(t, testKey(t, certs.ZoneMaster, certs.TDES, hex.EncodeToString(sum)).Check, imported.Check())

	s, _ := newKeystore(t, testKEK(t))
	require.NoError(t, s.Update(func(changes *certs.Changes) error {
		_, err := changes.Import(certs.NewKey{Name: "partner", Usage: certs.ZoneMaster, Algorithm: certs.AES128}, imported)
		require.ErrorContains(t, err, "3des-2key, not of aes-128")
		_, err = changes.Import(certs.NewKey{Name: "partner", Usage: certs.ZoneMaster, Algorithm: certs.TDES}, imported)
		require.NoError(t, err)
		_, err = changes.Replace("partner", imported, 700)
		return err
	}))
	key, err := s.Use("partner", certs.ZoneMaster, 700)
	require.NoError(t, err)
	require.EqualValues(t, 2, key.Version)
	require.Equal(t, imported.Check(), key.Check)

	same, err := certs.NewComponents(certs.AES128)
	require.NoError(t, err)
	for range 2 {
		_, err = same.Add([]byte(second))
		require.NoError(t, err)
	}
	_, err = same.Key()
	require.ErrorContains(t, err, "cancel out")
	for _, algorithm := range []certs.Algorithm{0, certs.DES, certs.ECDSAP256} {
		_, err := certs.NewComponents(algorithm)
		require.Error(t, err)
	}
}

// Keys of DES have the parity that terminals may check.
func TestGeneratedDESKeysHaveOddParity(t *testing.T) {
	s, _ := newKeystore(t, testKEK(t))
	key, err := s.Key("terminal-master", 0)
	require.NoError(t, err)
	for _, b := range certs.ClearForTest(key) {
		n := 0
		for ; b != 0; b &= b - 1 {
			n++
		}
		require.Equal(t, 1, n%2)
	}
}

// Whatever is read as a keystore is refused or read; nothing panics, and nothing
// makes room for more than the file has.
func FuzzKeystore(f *testing.F) {
	kek := testKEK(f)
	_, path := newKeystore(f, kek)
	file, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(file)
	f.Add([]byte("LFKS"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, file := range [][]byte{file, certs.ResealForTest(file, kek)} {
			if n, err := certs.OpenRingForTest(file, kek); err == nil {
				require.LessOrEqual(t, n*40, len(file))
			}
		}
	})
}

// BenchmarkKeystore is the keystore of a scheme with 100,000 terminals.
func BenchmarkKeystore(b *testing.B) {
	kek := testKEK(b)
	path := filepath.Join(b.TempDir(), "keys")
	s, err := certs.CreateKeystore(path, kek, rand.Reader)
	require.NoError(b, err)
	require.NoError(b, s.Update(func(c *certs.Changes) error {
		for i := range 100_000 {
			if _, err := c.Generate(certs.NewKey{Name: fmt.Sprintf("tmk/898123456789%03d/%08d", i%1000, i), Usage: certs.TerminalMaster, Algorithm: certs.TDES}); err != nil {
				return err
			}
		}
		return nil
	}))
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.Run("open", func(b *testing.B) {
		b.ReportMetric(float64(info.Size()), "file-bytes")
		for b.Loop() {
			_, err := certs.OpenKeystore(path, kek, rand.Reader)
			require.NoError(b, err)
		}
	})
	b.Run("change one", func(b *testing.B) {
		at := points.Timestamp(0)
		for b.Loop() {
			at++
			require.NoError(b, s.Update(func(c *certs.Changes) error {
				_, err := c.Rotate("tmk/898123456789007/00000007", at)
				return err
			}))
		}
	})
	b.Run("use", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := s.Use("tmk/898123456789008/00000008", certs.TerminalMaster, 1)
			require.NoError(b, err)
		}
	})
}

func anyMark(certs.Mark) error { return nil }

// A key that waits for a second person makes nothing, opens nothing, and is found under
// no version, before it is confirmed.
func TestPendingKeysDoNothing(t *testing.T) {
	s, err := certs.CreateKeystore(filepath.Join(t.TempDir(), "keys"), testKEK(t), rand.Reader)
	require.NoError(t, err)
	var key *certs.Key
	require.NoError(t, s.Update(func(c *certs.Changes) (err error) {
		c.Stage()
		key, err = c.Generate(certs.NewKey{Name: "zone", Usage: certs.ZoneMaster, Algorithm: certs.AES256})
		return err
	}))
	before := s.Mark()
	require.ErrorIs(t, key.InForce(1, true), certs.ErrKeyUse)
	_, err = s.Key("zone", 0)
	require.ErrorIs(t, err, certs.ErrNoKey)
	_, err = s.Use("zone", certs.ZoneMaster, 1)
	require.ErrorIs(t, err, certs.ErrNoKey)
	require.NoError(t, s.Update(func(c *certs.Changes) error {
		_, err := c.Confirm("zone", 5)
		return err
	}))
	confirmed, err := s.Use("zone", certs.ZoneMaster, 5)
	require.NoError(t, err)
	require.Equal(t, key.Fingerprint(), confirmed.Fingerprint())
	require.NotEqual(t, before.Digest, s.Mark().Digest)
}
