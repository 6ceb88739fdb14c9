package app

import (
	"crypto/rand"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// What was approved for export is one key: another that lies under its name and version by
// then is not given out.
func TestExportOfAnotherKeyByThen(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, certs.WriteKEK(filepath.Join(dir, "kek"), rand.Reader))
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
	require.NoError(t, err)
	store, err := certs.CreateKeystore(filepath.Join(dir, "keys"), kek, rand.Reader)
	require.NoError(t, err)
	var key *certs.Key
	require.NoError(t, store.Update(func(c *certs.Changes) error {
		if _, err := c.Generate(certs.NewKey{Name: "zone-bank", Usage: certs.ZoneMaster, Algorithm: certs.AES256}); err != nil {
			return err
		}
		key, err = c.Generate(certs.NewKey{Name: "bank-pin", Usage: certs.ZonePIN, Algorithm: certs.AES128})
		return err
	}))
	a := &App{keystore: store}
	a.opts.Clock = func() points.Timestamp { return 1 }
	agreed := book.Ceremony{Act: book.KeyExport, Key: key.Name, Version: key.Version, Under: "zone-bank", Fingerprint: key.Fingerprint()}
	block, err := a.exported(&agreed)
	require.NoError(t, err)
	require.NotEmpty(t, block)
	agreed.Fingerprint[0] ^= 1
	block, err = a.exported(&agreed)
	require.Equal(t, points.ProposalStale, points.ReasonOf(err))
	require.Empty(t, block)
}
