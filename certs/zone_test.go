package certs_test

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

// zoneTime is when the exchanges of the tests happen.
const zoneTime points.Timestamp = 1_772_415_000_000_000

// twoSides are the keystores of the two sides of an exchange, with the same master key.
func twoSides(t *testing.T) (zone certs.Zone, ours, theirs *certs.Keystore) {
	t.Helper()
	zone = certs.Zone{Role: certs.RoleIssuer, ID: 20000003}
	open := func() *certs.Keystore {
		dir := t.TempDir()
		require.NoError(t, certs.WriteKEK(filepath.Join(dir, "kek"), rand.Reader))
		kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
		require.NoError(t, err)
		store, err := certs.CreateKeystore(filepath.Join(dir, "keys"), kek, rand.Reader)
		require.NoError(t, err)
		return store
	}
	ours, theirs = open(), open()
	for _, store := range []*certs.Keystore{ours, theirs} {
		parts, err := certs.NewComponents(certs.AES256)
		require.NoError(t, err)
		for _, part := range []string{strings.Repeat("A1", 32), strings.Repeat("5C", 31) + "7F"} {
			_, err = parts.Add([]byte(part))
			require.NoError(t, err)
		}
		master, err := parts.Key()
		require.NoError(t, err)
		require.NoError(t, store.Update(func(c *certs.Changes) error {
			_, err := c.Import(certs.NewKey{Name: zone.Master(), Usage: certs.ZoneMaster, Algorithm: certs.AES256}, master)
			return err
		}))
	}
	return zone, ours, theirs
}

// offered are keys that store sends, in force there.
func offered(t *testing.T, store *certs.Keystore, zone certs.Zone, now points.Timestamp) (blocks, checks string) {
	t.Helper()
	blocks, checks, err := store.OfferZoneKeys(zone, certs.AES128, true, now)
	require.NoError(t, err)
	require.NoError(t, store.ConfirmZoneKeys(zone, checks, now))
	return blocks, checks
}

// A key that came alone leaves the other one in force, and what was on its way under the
// two before is believed: the PIN key belongs to both.
func TestZoneKeyThatComesAlone(t *testing.T) {
	zone, ours, theirs := twoSides(t)
	blocks, checks := offered(t, theirs, zone, zoneTime)
	first, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(checks), zoneTime)
	require.NoError(t, err)
	now := zoneTime + 3_600_000_000
	blocks, checks = offered(t, theirs, zone, now)
	second, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks[:len(blocks)/2]), []byte(checks[:6]), now)
	require.NoError(t, err)
	require.Nil(t, second.PIN)
	ring := ours.ZoneRing(zone, now, time.Minute)
	require.True(t, ring.Now.MAC.Same(second.MAC))
	require.True(t, ring.Now.PIN.Same(first.PIN))
	require.True(t, ring.Before.MAC.Same(first.MAC))
	require.True(t, ring.Before.PIN.Same(first.PIN))
}

// Keys that come in force end those before them, and two exchanges of one instant are two:
// who was told that keys are spent does not take the next ones for them.
func TestZoneKeysFollowEachOther(t *testing.T) {
	zone, ours, theirs := twoSides(t)
	for range 2 {
		blocks, checks := offered(t, theirs, zone, zoneTime)
		_, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(checks), zoneTime)
		require.NoError(t, err)
	}
	for side, store := range map[string]*certs.Keystore{"who takes": ours, "who offers": theirs} {
		first, err := store.Key(zone.MAC(), 1)
		require.NoError(t, err)
		second, err := store.Key(zone.MAC(), 2)
		require.NoError(t, err)
		require.Greater(t, second.From, first.From, side)
		require.Equal(t, second.From, first.Until, side)
	}
}

// A key that has a partner's name and is for something else serves nothing there, and the
// partner's own does not follow it.
func TestZoneNameOfAnotherUse(t *testing.T) {
	zone, ours, theirs := twoSides(t)
	require.NoError(t, ours.Update(func(c *certs.Changes) error {
		_, err := c.Generate(certs.NewKey{Name: zone.MAC(), Usage: certs.ZonePIN, Algorithm: certs.AES128, From: zoneTime})
		return err
	}))
	require.Nil(t, ours.ZoneRing(zone, zoneTime, time.Minute).Now.MAC)
	blocks, checks := offered(t, theirs, zone, zoneTime)
	_, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(checks), zoneTime)
	require.ErrorContains(t, err, "is for zone-pin, not for zone-mac")
}

// Both sides have the same keys after an exchange; the ones before are believed for the
// overlap and not a moment longer, and a restart knows all of it again.
func TestZoneKeysComeInForceWithAnOverlap(t *testing.T) {
	zone, ours, theirs := twoSides(t)
	const overlap = time.Minute
	now := zoneTime
	require.Equal(t, certs.ZoneKeys{}, ours.ZoneRing(zone, now, overlap).Now)

	blocks, checks := offered(t, theirs, zone, now)
	first, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(checks), now)
	require.NoError(t, err)
	ring := ours.ZoneRing(zone, now, overlap)
	require.Equal(t, first, ring.Now)
	require.Equal(t, certs.ZoneKeys{}, ring.Before)
	require.True(t, first.MAC.Same(theirs.ZoneRing(zone, now, overlap).Now.MAC))
	require.Equal(t, certs.ZoneMAC, first.MAC.Usage)
	require.Equal(t, certs.ZonePIN, first.PIN.Usage)

	now += 3_600_000_000
	blocks, checks = offered(t, theirs, zone, now)
	second, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(checks), now)
	require.NoError(t, err)
	for _, c := range []struct {
		after    time.Duration
		believed bool
	}{{0, true}, {overlap - time.Microsecond, true}, {overlap, false}, {time.Hour, false}} {
		ring = ours.ZoneRing(zone, now.Add(c.after), overlap)
		require.Equal(t, second, ring.Now)
		require.Equal(t, c.believed, ring.Before.MAC != nil, "%v after the change", c.after)
		require.Equal(t, c.believed, ring.Before.PIN != nil)
		if c.believed {
			require.True(t, ring.Before.MAC.Same(first.MAC))
			require.Equal(t, now.Add(overlap), ring.Until)
		}
	}
}

// A key that was retired, because others may know it, is believed neither at once nor when
// the next one is in force.
func TestRetiredZoneKeysAreNotBelieved(t *testing.T) {
	zone, ours, theirs := twoSides(t)
	for i := range points.Timestamp(2) {
		blocks, checks := offered(t, theirs, zone, zoneTime+i)
		_, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(checks), zoneTime+i)
		require.NoError(t, err)
	}
	require.NoError(t, ours.Update(func(c *certs.Changes) error {
		_, err := c.Retire(zone.MAC(), 0)
		return err
	}))
	ring := ours.ZoneRing(zone, zoneTime+2, time.Minute)
	require.Nil(t, ring.Now.MAC)
	require.Nil(t, ring.Before.MAC)
	blocks, checks := offered(t, theirs, zone, zoneTime+3)
	_, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(checks), zoneTime+3)
	require.NoError(t, err)
	ring = ours.ZoneRing(zone, zoneTime+3, time.Minute)
	require.NotNil(t, ring.Now.MAC)
	require.Nil(t, ring.Before.MAC)
}

// Keys that were sent to a partner are not in force before it has said that it took them;
// who asks again is sent the same ones, and what comes from the other side withdraws them.
func TestZoneKeysOnOffer(t *testing.T) {
	zone, ours, theirs := twoSides(t)
	_, _ = offered(t, ours, zone, zoneTime)
	now := zoneTime + 1
	before := ours.ZoneRing(zone, now, time.Minute).Now
	_, checks, err := ours.OfferZoneKeys(zone, certs.AES128, true, now)
	require.NoError(t, err)
	_, again, err := ours.OfferZoneKeys(zone, certs.AES128, true, now)
	require.NoError(t, err)
	require.Equal(t, checks, again)
	ring := ours.ZoneRing(zone, now, time.Minute)
	require.Equal(t, before, ring.Now)
	require.Equal(t, checks, ring.Next.Checks())
	require.ErrorIs(t, ours.ConfirmZoneKeys(zone, "000000000000", now), certs.ErrZoneKeys)

	blocks, theirChecks := offered(t, theirs, zone, now)
	taken, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(theirChecks), now)
	require.NoError(t, err)
	ring = ours.ZoneRing(zone, now+1, time.Minute)
	require.Equal(t, taken, ring.Now)
	require.Equal(t, certs.ZoneKeys{}, ring.Next)
	require.Equal(t, before.Checks(), ring.Before.Checks())
	require.ErrorIs(t, ours.ConfirmZoneKeys(zone, checks, now), certs.ErrZoneKeys)
}

// What is not a new, whole pair of a MAC key and a PIN key under the partner's own master
// key is refused, and nothing changes.
func TestZoneKeysRefused(t *testing.T) {
	zone, ours, theirs := twoSides(t)
	old, oldChecks := offered(t, theirs, zone, zoneTime)
	_, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(old), []byte(oldChecks), zoneTime)
	require.NoError(t, err)
	blocks, checks := offered(t, theirs, zone, zoneTime+1)
	_, err = ours.TakeZoneKeys(zone, certs.CMAC, []byte(blocks), []byte(checks), zoneTime+1)
	require.NoError(t, err)
	fresh, freshChecks := offered(t, theirs, zone, zoneTime+2)
	half := len(fresh) / 2
	other, otherOurs, _ := twoSides(t)
	other.ID++
	require.NoError(t, otherOurs.Update(func(c *certs.Changes) error {
		_, err := c.Generate(certs.NewKey{Name: other.Master(), Usage: certs.ZoneMaster, Algorithm: certs.AES256})
		return err
	}))
	foreign, foreignChecks := offered(t, otherOurs, other, zoneTime)
	master, err := theirs.Use(zone.Master(), certs.ZoneMaster, zoneTime)
	require.NoError(t, err)
	wrapped, err := certs.AppendKeyBlock(nil, master, master, rand.Reader)
	require.NoError(t, err)
	altered := []byte(fresh)
	altered[half-40] ^= 1
	more, moreChecks := offered(t, theirs, zone, zoneTime+3)
	var twice []byte // one key for MACs and for PINs
	for _, usage := range []certs.Usage{certs.ZoneMAC, certs.ZonePIN} {
		key, err := certs.KeyForTest(usage, certs.AES128, []byte("sixteen bytes..."))
		require.NoError(t, err)
		twice, err = certs.AppendKeyBlock(twice, key, master, rand.Reader)
		require.NoError(t, err)
	}
	one, err := certs.KeyForTest(certs.ZoneMAC, certs.AES128, []byte("sixteen bytes..."))
	require.NoError(t, err)

	before := ours.Generation()
	for name, c := range map[string]struct{ blocks, checks string }{
		"replayed":                       {blocks, checks},
		"rolled back to the first":       {old, oldChecks},
		"a replayed MAC key, a new PIN":  {blocks[:half] + fresh[half:], checks[:6] + freshChecks[6:]},
		"altered":                        {string(altered), freshChecks},
		"other check values":             {fresh, checks},
		"no check values":                {fresh, ""},
		"under another's master key":     {foreign, foreignChecks},
		"two MAC keys":                   {fresh[:half] + fresh[:half], freshChecks[:6] + freshChecks[:6]},
		"two other MAC keys":             {fresh[:half] + more[:half], freshChecks[:6] + moreChecks[:6]},
		"three keys":                     {fresh + more[:half], freshChecks + moreChecks[:6]},
		"one key for both":               {string(twice), one.Check.String() + one.Check.String()},
		"a master key":                   {string(wrapped), master.Check.String()},
		"nothing":                        {"", ""},
		"cut short":                      {fresh[:half+10], freshChecks},
		"a length that is more than all": {"D9999" + fresh[5:], freshChecks},
		"no key block":                   {strings.Repeat("x", 20), freshChecks},
	} {
		_, err := ours.TakeZoneKeys(zone, certs.CMAC, []byte(c.blocks), []byte(c.checks), zoneTime+3)
		require.ErrorIs(t, err, certs.ErrZoneKeys, name)
		require.NotContains(t, err.Error(), fresh[20:40], name)
	}
	_, err = ours.TakeZoneKeys(zone, certs.RetailMAC, []byte(fresh), []byte(freshChecks), zoneTime+3)
	require.ErrorIs(t, err, certs.ErrZoneKeys, "an AES key where X9.19 is agreed")
	require.Equal(t, before, ours.Generation())
	_, err = ours.TakeZoneKeys(zone, certs.CMAC, []byte(fresh), []byte(freshChecks), zoneTime+3)
	require.NoError(t, err)
	_, err = ours.TakeZoneKeys(certs.Zone{Role: certs.RoleIssuer, ID: 1}, certs.CMAC, []byte(fresh), []byte(freshChecks), zoneTime+3)
	require.ErrorIs(t, err, certs.ErrNoKey, "a partner without a master key")
	held := 0
	for key := range ours.All() {
		if key.State != certs.KeyDestroyed {
			held++
		}
	}
	require.Equal(t, 5, held, "the master key, those in force and those before; of older ones the check values")
}

// Keys of an exchange for who keeps no keystore are those that the other side has.
func TestZoneKeysWithoutAKeystore(t *testing.T) {
	zone, ours, theirs := twoSides(t)
	blocks, checks := offered(t, ours, zone, zoneTime)
	master, err := theirs.Use(zone.Master(), certs.ZoneMaster, zoneTime)
	require.NoError(t, err)
	keys, err := certs.ZoneKeysOf(zone, master, []byte(blocks), []byte(checks))
	require.NoError(t, err)
	require.True(t, keys.MAC.Same(ours.ZoneRing(zone, zoneTime, 0).Now.MAC))
	require.True(t, keys.PIN.Same(ours.ZoneRing(zone, zoneTime, 0).Now.PIN))
	require.Equal(t, checks, keys.Checks())
	_, err = certs.ZoneKeysOf(zone, keys.PIN, []byte(blocks), []byte(checks))
	require.ErrorIs(t, err, certs.ErrKeyUse)
	var twice []byte
	one := "sixteen bytes..."
	for _, usage := range []certs.Usage{certs.ZoneMAC, certs.ZonePIN} {
		key, err := certs.KeyForTest(usage, certs.AES128, []byte(one))
		require.NoError(t, err)
		twice, err = certs.AppendKeyBlock(twice, key, master, rand.Reader)
		require.NoError(t, err)
		checks = key.Check.String()
	}
	_, err = certs.ZoneKeysOf(zone, master, twice, []byte(checks+checks))
	require.ErrorContains(t, err, "one key for MACs and PINs alike")
}
