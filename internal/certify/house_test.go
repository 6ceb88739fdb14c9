package certify_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
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
	dir := t.TempDir()
	require.NoError(t, certs.WriteCardKey(filepath.Join(dir, "card.key"), rand.Reader))
	c, err := config.Load("", nil, []string{"tls.mode=off",
		"data=" + filepath.Join(dir, "store"), "card_key=" + filepath.Join(dir, "card.key"), "admin.socket=" + filepath.Join(dir, "a"),
		"listeners.pos.address=127.0.0.1:0", "listeners.host.address=127.0.0.1:0", "http.address=127.0.0.1:0",
	})
	require.NoError(t, err)
	require.NoError(t, store.Create(store.Options{Dir: c.Data}))
	a, err := app.New(t.Context(), app.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler), Clock: now})
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
	_, err = app.NewClient(c.Admin.Socket).Load(t.Context(), directory)
	require.NoError(t, err)
	return a.Address("pos").String()
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
