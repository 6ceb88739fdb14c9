package pointswitch

import (
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// keyedZone is a zone with keys in force, and a signed request of its partner.
func keyedZone(t *testing.T) (z *zone, frame []byte, req points.Request) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, certs.WriteKEK(filepath.Join(dir, "kek"), rand.Reader))
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
	require.NoError(t, err)
	store, err := certs.CreateKeystore(filepath.Join(dir, "keys"), kek, rand.Reader)
	require.NoError(t, err)
	id := certs.Zone{Role: certs.RoleAcquirer, ID: 10000002}
	require.NoError(t, store.Update(func(c *certs.Changes) error {
		_, err := c.Generate(certs.NewKey{Name: id.Master(), Usage: certs.ZoneMaster, Algorithm: certs.AES256})
		return err
	}))
	zones, err := NewZones(ZonesOptions{
		Keystore: store, Rules: map[certs.Zone]ZoneRules{id: {MAC: certs.CMAC}}, Overlap: time.Minute, MACErrors: 3,
		Clock: func() points.Timestamp { return 1 }, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	z = zones.find(id.Role, id.ID)
	_, checks, err := z.offer(1)
	require.NoError(t, err)
	z.confirm(checks, 1)

	d := dialect.Host()
	req = points.Request{Function: points.Redeem, STAN: 1, Transmission: 302013000, Acquirer: 10000002, Amount: 1, Program: 901}
	req.PAN, err = points.ParsePAN("6222020000000002")
	require.NoError(t, err)
	copy(req.Terminal[:], "H0000001")
	copy(req.Merchant[:], "MALL           ")
	req.Mark(64)
	frame, err = d.AppendRequest(nil, &req)
	require.NoError(t, err)
	d.Sign(frame, &req, z.current(1).mac)
	require.NoError(t, d.Decode(frame, &req))
	return z, frame, req
}

// Finding a partner's keys, checking the MAC of its message and making that of the answer
// allocates nothing.
func TestZoneMACAllocatesNothing(t *testing.T) {
	z, frame, req := keyedZone(t)
	d, good := dialect.Host(), true
	require.Zero(t, testing.AllocsPerRun(100, func() {
		keys, _ := z.of.find(z.id.Role, z.id.ID).verify(d, frame, &req, 2, true)
		good = good && keys != nil
		d.Sign(frame, &req, keys.mac)
	}))
	require.True(t, good)
}

// While keys are exchanged over and over, no message under the keys in force, or those
// right before, is refused.
func TestKeysChangeUnderLoad(t *testing.T) {
	z, frame, req := keyedZone(t)
	d := dialect.Host()
	var checking sync.WaitGroup
	for range 4 {
		checking.Go(func() {
			for range 2_000 {
				if keys, cause := z.verify(d, frame, &req, 2, true); keys == nil {
					t.Error(cause)
					return
				}
			}
		})
	}
	_, checks, err := z.offer(2)
	require.NoError(t, err)
	z.confirm(checks, 2)
	checking.Wait()
	keys, _ := z.verify(d, frame, &req, 3, true)
	require.NotNil(t, keys, "the keys before")
	keys, _ = z.verify(d, frame, &req, points.Timestamp(2).Add(2*time.Minute), true)
	require.Nil(t, keys)
}
