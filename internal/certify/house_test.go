package certify_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/certify"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/testdata/certification"
)

func now() points.Timestamp { return points.TimestampOf(time.Now()) }

// startSwitch runs a switch with the demonstration's participants until the test
// ends, and returns the address of its terminals' door.
func startSwitch(t *testing.T) string {
	t.Helper()
	address, _, _ := startKeyedSwitch(t)
	return address
}

// startKeyedSwitch is [startSwitch], and the keys of its terminals; the cards of the test data
// have their PINs. offer makes the next master key ready of the terminal that takes one.
func startKeyedSwitch(t *testing.T) (address string, find certify.FindKey, offer func()) {
	t.Helper()
	dir := t.TempDir()
	keys := keystore(t, dir)
	require.NoError(t, certs.WriteCardKey(filepath.Join(dir, "card.key"), rand.Reader))
	c, err := config.Load("", nil, []string{
		"tls.mode=off",
		"data=" + filepath.Join(dir, "store"), "card_key=" + filepath.Join(dir, "card.key"), "admin.socket=" + filepath.Join(dir, "a"),
		"keys.file=" + filepath.Join(dir, "keys"), "keys.kek=file:" + filepath.Join(dir, "kek"),
		"listeners.pos.address=127.0.0.1:0", "listeners.host.address=127.0.0.1:0", "http.address=127.0.0.1:0",
	})
	require.NoError(t, err)
	require.NoError(t, store.Create(store.Options{Dir: c.Data}))
	a, err := app.New(t.Context(), app.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler), Clock: now, Reread: func() (config.Config, error) { return c, nil }})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	file, err := os.Open("../sim/day/directory.yaml")
	require.NoError(t, err)
	directory, err := app.ReadDirectory(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	client := app.NewClient(c.Admin.Socket)
	_, err = client.Load(t.Context(), directory)
	require.NoError(t, err)
	more, err := app.ReadDirectory(strings.NewReader(`terminals:
  - {id: T0000007, merchant: M00000000000001, mac: cmac, dukpt: "1234567800000007"}
  - {id: T0000008, merchant: M00000000000001, mac: cup-ecb}
  - {id: T0000009, merchant: M00000000000001, mac: hmac-sha256}
`))
	require.NoError(t, err)
	_, err = client.Load(t.Context(), more)
	require.NoError(t, err)
	for _, card := range []string{"9555100000000031", "6222020000000000025"} {
		setPIN(t, client, keys, card, "739105")
	}
	offer = func() {
		require.Eventually(t, func() bool { // The one before may be taken, and the file not say so yet.
			return keys.Update(func(c *certs.Changes) error { _, err := c.Offer("tmk/M00000000000001/T0000008"); return err }) == nil
		}, 10*time.Second, 50*time.Millisecond)
		_, err := client.Reload(t.Context())
		require.NoError(t, err)
	}
	return a.Address("pos").String(), findIn(keys), offer
}

func findIn(keys *certs.Keystore) certify.FindKey {
	return func(name string, usage certs.Usage) (*certs.Key, error) { return keys.Use(name, usage, now()) }
}

// keystore makes one with what the switch and the terminals of the test data need.
func keystore(t *testing.T, dir string) *certs.Keystore {
	t.Helper()
	require.NoError(t, certs.WriteKEK(filepath.Join(dir, "kek"), rand.Reader))
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
	require.NoError(t, err)
	keys, err := certs.CreateKeystore(filepath.Join(dir, "keys"), kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, keys.Update(func(c *certs.Changes) error {
		for _, want := range []certs.NewKey{
			{Name: "working", Usage: certs.WorkingDerivation, Algorithm: certs.AES256},
			{Name: "pin-verification", Usage: certs.PINVerification, Algorithm: certs.AES256},
			{Name: "pin-entry", Usage: certs.ZonePIN, Algorithm: certs.AES256},
			{Name: "tmk/M00000000000001/T0000005", Usage: certs.TerminalMaster, Algorithm: certs.TDES},
			{Name: "tmk/M00000000000003/T0000006", Usage: certs.TerminalMaster, Algorithm: certs.AES128},
			{Name: "tmk/M00000000000001/T0000008", Usage: certs.TerminalMaster, Algorithm: certs.TDES},
			{Name: "tmk/M00000000000001/T0000009", Usage: certs.TerminalMaster, Algorithm: certs.AES256},
			{Name: "bdk/12345678", Usage: certs.DUKPTBase, Algorithm: certs.AES128},
		} {
			if _, err := c.Generate(want); err != nil {
				return err
			}
		}
		return nil
	}))
	return keys
}

func setPIN(t *testing.T, client *app.Client, keys *certs.Keystore, card, pin string) {
	t.Helper()
	key, err := keys.Use("pin-entry", certs.ZonePIN, now())
	require.NoError(t, err)
	under, err := certs.NewPINKey(key)
	require.NoError(t, err)
	pan, err := points.ParsePAN(card)
	require.NoError(t, err)
	block, err := under.AppendPINBlock(nil, certs.PINFormat4, []byte(pin), pan, rand.Reader)
	require.NoError(t, err)
	_, err = client.SetPIN(t.Context(), app.PINChange{Card: app.CardNumber(card), Block: points.Secret(hex.EncodeToString(block)), Format: "iso-4", Key: "pin-entry", Tries: 3, Operator: "li"})
	require.NoError(t, err)
}

// options is a run of a profile's own scripts and test data against target.
func options(t *testing.T, profile certify.Profile, target string) certify.Options {
	t.Helper()
	scripts, err := certify.ReadScripts(certification.Files, profile)
	require.NoError(t, err)
	file, err := certification.Files.Open("targets/" + map[certify.Profile]string{
		certify.ProfilePOS: "pos-demo.yaml", certify.ProfileIssuer: "issuer-sim.yaml",
	}[profile])
	require.NoError(t, err)
	parameters, err := certify.ReadParameters(file)
	require.NoError(t, err)
	return certify.Options{Target: target, Parameters: parameters, Scripts: scripts, Clock: now}
}

// run plays a certification and returns its report; what failed is in the test's log.
func run(t *testing.T, opts certify.Options) *certify.Report {
	t.Helper()
	report, err := certify.Run(t.Context(), opts, func(c *certify.CaseResult) error {
		if c.Verdict == certify.Failed {
			return c.WriteCase(t.Output(), false)
		}
		return nil
	})
	require.NoError(t, err)
	return report
}
