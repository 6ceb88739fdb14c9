package app_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// zoneIssuer and zoneAcquirer share keys with the switch.
var (
	zoneIssuer   = certs.Zone{Role: certs.RoleIssuer, ID: 10000002}
	zoneAcquirer = certs.Zone{Role: certs.RoleAcquirer, ID: 20000001}
)

// keyRoom is a keystore with the master keys of both, in a folder of its own.
func keyRoom(t *testing.T) (dir string, store *certs.Keystore) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, certs.WriteKEK(filepath.Join(dir, "kek"), rand.Reader))
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
	require.NoError(t, err)
	store, err = certs.CreateKeystore(filepath.Join(dir, "keys"), kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, store.Update(func(c *certs.Changes) error {
		for _, want := range []certs.NewKey{
			{Name: "working", Usage: certs.WorkingDerivation, Algorithm: certs.AES256},
			{Name: "pin-verification", Usage: certs.PINVerification, Algorithm: certs.AES256},
			{Name: zoneIssuer.Master(), Usage: certs.ZoneMaster, Algorithm: certs.AES256},
			{Name: zoneAcquirer.Master(), Usage: certs.ZoneMaster, Algorithm: certs.AES128},
		} {
			if _, err := c.Generate(want); err != nil {
				return err
			}
		}
		return nil
	}))
	return dir, store
}

func hostKeys(t *testing.T, store *certs.Keystore, zone certs.Zone) *sim.HostKeys {
	t.Helper()
	master, err := store.Use(zone.Master(), certs.ZoneMaster, now())
	require.NoError(t, err)
	return &sim.HostKeys{Zone: zone, Master: master, By: certs.CMAC, Random: rand.Reader}
}

// serveFar serves a simulated issuer that shares keys; a second one has lost them.
func serveFar(t *testing.T, ln net.Listener, store *certs.Keystore) (issuer *sim.Issuer, stop func()) {
	t.Helper()
	var err error
	issuer, err = sim.NewIssuer(sim.IssuerOptions{
		ID: 10000002, Keys: hostKeys(t, store, zoneIssuer),
		Accounts: []sim.IssuerAccount{{Card: "6222020000000000017", Program: 901, Balance: 1000, PIN: "1234"}},
	})
	require.NoError(t, err)
	host, err := sim.NewIssuerHost(ln, issuer, sim.IssuerHostOptions{Clock: now, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- host.Serve(ctx) }()
	return issuer, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

// Simulated hosts of an acquirer and an issuer exchange keys with a switch, and with MACs
// and PINs between all three, what the switch has in clearing is what the issuer booked:
// also after the switch was started anew, after the issuer has lost its keys, and where an
// answer of the issuer was forged.
func TestHostsThatShareKeys(t *testing.T) {
	dir, store := keyRoom(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := ln.Addr().String()
	issuer, stopIssuer := serveFar(t, ln, store)
	h := newHouse(t,
		"keys.file="+filepath.Join(dir, "keys"), "keys.kek=file:"+filepath.Join(dir, "kek"),
		"switch.participant_keys=20000001=cmac", "keys.mac_errors=2")
	file := filepath.Join(dir, "links.yaml")
	require.NoError(t, os.WriteFile(file, []byte("links: [{name: far, dial: \""+address+"\", connections: 1, keys: cmac, zone: 10000002, "+
		"deadline: 500ms, redial: 10ms, redial_most: 20ms, retry: 10ms}]"), 0o600))
	linked, err := config.Load(file, nil, nil)
	require.NoError(t, err)
	h.config.Links = linked.Links
	r := h.start(t)
	r.load(t, farTown)
	keys := hostKeys(t, store, zoneAcquirer)
	dial := func() *sim.Acquirer {
		conn, err := net.Dial("tcp", r.Address("host").String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return sim.NewAcquirer(conn, 20000001, keys, now)
	}
	stan := points.STAN(0)
	asks := func(a *sim.Acquirer, pin string) string {
		a.STAN = stan
		req := a.Next(points.Redeem)
		stan = a.STAN
		pan, err := points.ParsePAN("6222020000000000017")
		require.NoError(t, err)
		req.PAN, req.Program, req.Amount, req.EntryMode = pan, 901, 10, 21
		copy(req.Merchant[:], "M1             ")
		copy(req.Terminal[:], "H0000001")
		require.NoError(t, keys.Enter(&req, []byte(pin)))
		receipt, err := a.Send(t.Context(), &req)
		require.NoError(t, err)
		return receipt.Response.Reason.DE39()
	}
	approved := func(a *sim.Acquirer) {
		t.Helper()
		require.Eventually(t, func() bool { return asks(a, "1234") == "00" }, 20*time.Second, 20*time.Millisecond)
	}
	a := dial()
	require.NoError(t, a.ChangeKeys(t.Context()))
	approved(a)
	require.Equal(t, "55", asks(a, "4711"))
	require.NoError(t, a.ChangeKeys(t.Context()), "in the middle of traffic")
	require.Equal(t, "00", asks(a, "1234"))

	issuer.Inject(sim.FaultForge, 0)
	require.Equal(t, "68", asks(a, "1234"), "approved by somebody else, perhaps")
	require.Equal(t, "00", asks(a, "1234"))

	r.stop(t)
	r = h.start(t)
	a = dial()
	approved(a)
	exchanges := issuer.State().Exchanges
	require.Equal(t, uint64(1), exchanges, "a restart needs no other keys")
	booked := issuer.State()

	stopIssuer()
	ln, err = net.Listen("tcp", address)
	require.NoError(t, err)
	again, stopAgain := serveFar(t, ln, store)
	approved(a)
	require.Equal(t, uint64(1), again.State().Exchanges, "who has lost them is given others")
	require.Positive(t, again.State().Forged)

	spent := func(s sim.IssuerState) points.Amount { return 1000 - s.Accounts[0].Available }
	clearing := func() points.Amount {
		var sum points.Amount
		totals, err := r.client.Totals(t.Context())
		require.NoError(t, err)
		for _, line := range totals.Lines {
			if strings.Contains(fmt.Sprint(line.Account), "clearing") {
				sum += line.Amount
			}
		}
		return sum
	}
	require.Eventually(t, func() bool { return clearing() == spent(booked)+spent(again.State()) }, 20*time.Second, 20*time.Millisecond)
	r.stop(t)
	stopAgain()
	for _, secret := range []string{"1234", "4711"} {
		require.NotContains(t, strings.ReplaceAll(h.log.String(), address, ""), "pin="+secret)
	}
}

// Keys that a partner's host exchanges with the switch are no operator's act: neither the
// next start nor the next ceremony takes them for a change outside the switch, whatever
// the policy asks for. A change of the master key under which they came is one.
func TestExchangedKeysAreNoCeremony(t *testing.T) {
	dir, store := keyRoom(t)
	h := newHouse(t,
		"keys.file="+filepath.Join(dir, "keys"), "keys.kek=file:"+filepath.Join(dir, "kek"), "switch.participant_keys=20000001=cmac")
	r := h.start(t)
	r.load(t, farTown)
	li, _ := r.staffedHouse(t, book.TwoPersons)
	exchange := func() {
		t.Helper()
		conn, err := net.Dial("tcp", r.Address("host").String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		require.NoError(t, sim.NewAcquirer(conn, 20000001, hostKeys(t, store, zoneAcquirer), now).ChangeKeys(t.Context()))
	}
	exchange()
	done, err := li.client.ChangeKey(t.Context(), newZone)
	require.NoError(t, err)
	require.NotEmpty(t, done.Pending)
	r.stop(t)
	r = h.start(t)
	r.stop(t)
	require.NotContains(t, h.log.String(), "changed outside")

	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
	require.NoError(t, err)
	outside, err := certs.OpenKeystore(filepath.Join(dir, "keys"), kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, outside.Update(func(c *certs.Changes) error {
		_, err := c.Retire(zoneAcquirer.Master(), 0)
		return err
	}))
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrKeystore)
}

// A partner that has keys changed over and over does not fill the keystore, which is
// everybody's: after some changes it is told to try again, and its keys stay in force.
func TestKeysAreNotChangedWithoutEnd(t *testing.T) {
	dir, store := keyRoom(t)
	h := newHouse(t,
		"keys.file="+filepath.Join(dir, "keys"), "keys.kek=file:"+filepath.Join(dir, "kek"), "switch.participant_keys=20000001=cmac")
	r := h.start(t)
	r.load(t, farTown)
	conn, err := net.Dial("tcp", r.Address("host").String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	a := sim.NewAcquirer(conn, 20000001, hostKeys(t, store, zoneAcquirer), now)
	changes := 0
	for changes < 40 && err == nil {
		if err = a.ChangeKeys(t.Context()); err == nil {
			changes++
		}
	}
	require.ErrorContains(t, err, "91")
	require.Less(t, changes, 20)
	r.stop(t)
}

// A keystore from before keys were exchanged with a partner is refused at a start as any
// older one is, also where no ceremony lies between the two.
func TestKeystoreFromBeforeAnExchange(t *testing.T) {
	dir, store := keyRoom(t)
	path := filepath.Join(dir, "keys")
	h := newHouse(t, "keys.file="+path, "keys.kek=file:"+filepath.Join(dir, "kek"), "switch.participant_keys=20000001=cmac")
	r := h.start(t)
	r.load(t, farTown)
	exchange := func() {
		t.Helper()
		conn, err := net.Dial("tcp", r.Address("host").String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		require.NoError(t, sim.NewAcquirer(conn, 20000001, hostKeys(t, store, zoneAcquirer), now).ChangeKeys(t.Context()))
	}
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	exchange()
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotEqual(t, before, after)
	r.stop(t)
	put := func(content []byte) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.RemoveAll(path+".generation"))
	}
	put(before)
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrKeystore)
	put(after)
	h.start(t).stop(t)

	// Another key under the same generation: whoever has the key-encryption key makes the
	// file from before, and comes to the generation that the journal knows with another content.
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
	require.NoError(t, err)
	opened := func() *certs.Keystore {
		s, err := certs.OpenKeystore(path, kek, rand.Reader)
		require.NoError(t, err)
		return s
	}
	want := opened().Mark()
	put(before)
	require.NoError(t, opened().Update(func(c *certs.Changes) error {
		_, err := c.Generate(certs.NewKey{Name: zoneAcquirer.MAC(), Usage: certs.ZoneMAC, Algorithm: certs.AES128, From: now()})
		return err
	}))
	for opened().Generation() < want.Generation {
		require.NoError(t, opened().Update(func(*certs.Changes) error { return nil }))
	}
	require.Equal(t, want.Generation, opened().Generation())
	require.Equal(t, want.Digest, opened().Mark().Digest, "nothing that operators decide on has changed")
	require.NoError(t, os.RemoveAll(path+".generation"))
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrKeystore)
	require.ErrorContains(t, err, "in what was exchanged with partners (zak, zpk)")
	put(after)
	h.start(t).stop(t)
}
