package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/internal/tools"
	"github.com/lianfen/lianfen/settlement/delivery"
)

// slowMember is a member's server at which every piece takes a moment, known to the folder
// of a switch: its configuration carries files to it.
func slowMember(t *testing.T, dir string) (home string) {
	t.Helper()
	if _, err := os.Stat(sim.SFTPServer); err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "OpenSSH's sftp-server is not installed (apt-get install openssh-sftp-server)")
	}
	home = t.TempDir()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "courier.key"), pem.EncodeToMemory(block), 0o600))
	host, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(knownhosts.Line([]string{address}, host.PublicKey())+"\n"), 0o600))
	path := filepath.Join(dir, config.FileName)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	item := fmt.Sprintf("  delivery:\n    - {member: 10000001, address: %q, user: points, folder: in, key: courier.key, known_hosts: known_hosts}\n", address)
	require.Contains(t, string(text), "  delivery: []\n")
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), "  delivery: []\n", item, 1)), 0o600))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	member := &sim.MemberHost{Key: host, Home: home, Packet: func() { <-time.After(15 * time.Millisecond) }}
	ended := make(chan error, 1)
	go func() { ended <- member.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return home
}

// A switch that is killed while it delivers goes on where it was: the member gets every
// file once, whole, and what it had got before stays as it was.
func TestKillWhileDelivering(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	require.NoError(t, prepare(dir))
	home := slowMember(t, dir)
	d := startDaemon(t, dir)
	d.ready(t)
	directory, err := app.ReadDirectory(strings.NewReader(killDirectory))
	require.NoError(t, err)
	_, err = d.client().Load(t.Context(), directory)
	require.NoError(t, err)
	_, err = d.client().CutOver(t.Context(), app.CutOver{Force: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
	settled, err := d.client().Settle(t.Context(), "run", app.SettleAsk{Operator: "li", Second: "wang", Publish: true}, nil)
	require.NoError(t, err)
	run := settled.Run
	there := filepath.Join(home, "in", strings.ReplaceAll(run.Cut.Date.String(), "-", "")+"-01")
	flags := func() int {
		found, err := filepath.Glob(filepath.Join(there, "*.ok"))
		require.NoError(t, err)
		return len(found)
	}
	published := filepath.Join(dir, "store", app.SettlementFolder, run.ID, "10000001")
	all, err := os.ReadDir(published)
	require.NoError(t, err)
	kills, seen := 0, map[string]os.FileInfo{}
	for n := 1; n < len(all); n += 2 {
		require.Eventually(t, func() bool { return flags() >= n }, patience, 5*time.Millisecond)
		if flags() == len(all) {
			break
		}
		d.kill(t)
		kills++
		sameAs(t, there, seen)
		d = startDaemon(t, dir)
		d.ready(t)
	}
	require.GreaterOrEqual(t, kills, 2)
	require.Eventually(t, func() bool {
		rows, err := d.client().SettleDeliveries(t.Context(), app.SettleAsk{Run: run.ID})
		require.NoError(t, err)
		return rows[0].State == delivery.Delivered
	}, patience, 20*time.Millisecond)
	sameAs(t, there, seen)
	require.Equal(t, len(all), flags())
	for _, e := range all {
		want, err := os.ReadFile(filepath.Join(published, e.Name()))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(there, e.Name()))
		require.NoError(t, err)
		require.Equal(t, want, got, e.Name())
	}
	d.terminate(t)
}

// sameAs looks at what has its flag: what was seen before is the same file, unchanged.
func sameAs(t *testing.T, folder string, seen map[string]os.FileInfo) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*.ok"))
	require.NoError(t, err)
	for _, flag := range found {
		name := strings.TrimSuffix(flag, ".ok")
		info, err := os.Stat(name)
		require.NoError(t, err)
		if before := seen[name]; before != nil {
			require.True(t, os.SameFile(before, info) && before.ModTime().Equal(info.ModTime()), "%s was sent again", name)
		}
		seen[name] = info
	}
}
