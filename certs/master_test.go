package certs_test

import (
	"bytes"
	"crypto/rand"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

func masterKeystore(t *testing.T) *certs.Keystore {
	t.Helper()
	s, err := certs.CreateKeystore(filepath.Join(t.TempDir(), "keys"), testKEK(t), rand.Reader)
	require.NoError(t, err)
	return s
}

func proofKey(t *testing.T, usage certs.Usage, algorithm certs.Algorithm, plain string) *certs.Key {
	t.Helper()
	key, err := certs.KeyForTest(usage, algorithm, unhex(t, plain))
	require.NoError(t, err)
	return key
}

var proofVectors = []struct {
	algorithm certs.Algorithm
	key, mac  string
}{
	{certs.TDES, "5CBE7E38A146FD5C0123456789ABCDEF", "10AC0CEC4E41D133"},
	{certs.AES128, "000102030405060708090A0B0C0D0E0F", "546155C4494A1DCA"},
	{certs.AES256, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "89C8A9F751AD8B4F"},
}

const terminalKey = "tmk/SHOP/T1"

func masterOf(t *testing.T, s *certs.Keystore, proved uint32, now points.Timestamp) (current, offered *certs.Key) {
	t.Helper()
	merchant, err := points.ParseMerchantID("SHOP")
	require.NoError(t, err)
	terminal, err := points.ParseTerminalID("T1")
	require.NoError(t, err)
	require.Equal(t, terminalKey, certs.TerminalMasterName(merchant, terminal))
	current, offered, err = s.Master(merchant, terminal, proved, now)
	require.NoError(t, err)
	return current, offered
}

// A key on offer serves nothing until its terminal has proved it; then no older one does,
// whether the file says so already or not.
func TestMasterKeyOnOffer(t *testing.T) {
	s := masterKeystore(t)
	update := func(change func(c *certs.Changes) (*certs.Key, error)) error {
		return s.Update(func(c *certs.Changes) error { _, err := change(c); return err })
	}
	offer := func(c *certs.Changes) (*certs.Key, error) { return c.Offer(terminalKey) }
	require.ErrorIs(t, update(offer), certs.ErrNoKey)
	require.NoError(t, update(func(c *certs.Changes) (*certs.Key, error) {
		return c.Generate(certs.NewKey{Name: terminalKey, Usage: certs.TerminalMaster, Algorithm: certs.AES128, From: 10})
	}))
	require.NoError(t, update(func(c *certs.Changes) (*certs.Key, error) {
		return c.Generate(certs.NewKey{Name: "zone", Usage: certs.ZoneMaster, Algorithm: certs.AES128, From: 10})
	}))
	require.ErrorContains(t, update(func(c *certs.Changes) (*certs.Key, error) { return c.Offer("zone") }), "can be on offer")
	require.Empty(t, s.MastersOnOffer())
	require.NoError(t, update(offer))
	require.ErrorContains(t, update(offer), "is on offer; let the terminal take it")
	require.ErrorContains(t, update(func(c *certs.Changes) (*certs.Key, error) { return c.Rotate(terminalKey, 100) }), "is on offer")
	require.Len(t, s.MastersOnOffer(), 1)

	used, err := s.Use(terminalKey, certs.TerminalMaster, 100)
	require.NoError(t, err)
	require.Equal(t, uint32(1), used.Version)
	require.Zero(t, used.Until, "the one before stays for as long as it takes")
	current, offered := masterOf(t, s, 0, 100)
	require.Equal(t, []uint32{1, 2}, []uint32{current.Version, offered.Version})
	current, offered = masterOf(t, s, 2, 100)
	require.Equal(t, uint32(2), current.Version, "the journal goes before the file")
	require.Nil(t, offered)

	require.Error(t, update(func(c *certs.Changes) (*certs.Key, error) { return c.Take(terminalKey, 1, 100) }))
	require.NoError(t, update(func(c *certs.Changes) (*certs.Key, error) { return c.Take(terminalKey, 2, 100) }))
	require.Error(t, update(func(c *certs.Changes) (*certs.Key, error) { return c.Take(terminalKey, 2, 100) }))
	require.Empty(t, s.MastersOnOffer())
	for _, now := range []points.Timestamp{99, 100, 101} { // A request may have come before the file was written.
		current, offered = masterOf(t, s, 2, now)
		require.Equal(t, uint32(2), current.Version)
		require.Nil(t, offered)
	}
	old, err := s.Key(terminalKey, 1)
	require.NoError(t, err)
	require.ErrorIs(t, old.InForce(100, false), certs.ErrKeyUse)

	// One that is withdrawn is on offer no longer; the next one is another version.
	require.NoError(t, update(offer))
	require.NoError(t, update(func(c *certs.Changes) (*certs.Key, error) { return c.Retire(terminalKey, 3) }))
	current, offered = masterOf(t, s, 2, 200)
	require.Equal(t, uint32(2), current.Version)
	require.Nil(t, offered)
	require.NoError(t, update(offer))
	_, offered = masterOf(t, s, 2, 200)
	require.Equal(t, uint32(4), offered.Version)

	// What was proved and is not there leaves none, and never an older one.
	merchant, _ := points.ParseMerchantID("SHOP")
	terminal, _ := points.ParseTerminalID("T1")
	_, _, err = s.Master(merchant, terminal, 5, 200)
	require.ErrorIs(t, err, certs.ErrNoKey)
	_, _, err = s.Master(merchant, terminal, 3, 200)
	require.ErrorContains(t, err, "is retired")
}

// The block of a key is the same each time, opens under the key that it was made under and
// no other, and holds the key that is next.
func TestMasterKeyBlock(t *testing.T) {
	for _, algorithm := range []certs.Algorithm{certs.TDES, certs.AES128, certs.AES256} {
		s := masterKeystore(t)
		require.NoError(t, s.Update(func(c *certs.Changes) error {
			for _, name := range []string{terminalKey, "tmk/SHOP/T2"} {
				if _, err := c.Generate(certs.NewKey{Name: name, Usage: certs.TerminalMaster, Algorithm: algorithm, From: 10}); err != nil {
					return err
				}
			}
			_, err := c.Offer(terminalKey)
			return err
		}))
		current, offered := masterOf(t, s, 0, 100)
		block, err := certs.AppendMasterBlock(nil, offered, current)
		require.NoError(t, err)
		again, err := certs.AppendMasterBlock(nil, offered, current)
		require.NoError(t, err)
		require.Equal(t, block, again)
		next, err := certs.OpenMasterBlock(block, current)
		require.NoError(t, err)
		require.True(t, next.Same(offered))
		require.Equal(t, offered.Check, next.Check)
		require.Equal(t, offered.Version, next.Version)

		other, err := s.Key("tmk/SHOP/T2", 0)
		require.NoError(t, err)
		for _, wrong := range []*certs.Key{other, offered} {
			_, err = certs.OpenMasterBlock(block, wrong)
			require.ErrorIs(t, err, certs.ErrKeyBlock)
		}
		for i := range block {
			turned := bytes.Clone(block)
			turned[i] ^= 1
			_, err = certs.OpenMasterBlock(turned, current)
			require.Error(t, err, "byte %d", i)
		}
		same, err := certs.AppendKeyBlock(nil, current, current, rand.Reader)
		require.NoError(t, err)
		_, err = certs.OpenMasterBlock(same, current)
		require.ErrorContains(t, err, "the key that it came under")
	}
}

// A proof by one key is none of another, and is not what the key does elsewhere. The values
// were computed with another implementation (pyca/cryptography 48, over OpenSSL 3), from the
// derivation that docs/security.md describes.
func TestProofOfAMasterKey(t *testing.T) {
	message := []byte("0800 and what follows")
	for _, v := range proofVectors {
		by, err := certs.NewProof(proofKey(t, certs.TerminalMaster, v.algorithm, v.key))
		require.NoError(t, err)
		require.Equal(t, unhex(t, v.mac), by.Append(nil, message), v.algorithm)
		require.True(t, by.Verify(message, unhex(t, v.mac)))
	}
	_, err := certs.NewProof(proofKey(t, certs.ZoneMaster, certs.AES128, "000102030405060708090A0B0C0D0E0F"))
	require.ErrorIs(t, err, certs.ErrKeyUse)
}
