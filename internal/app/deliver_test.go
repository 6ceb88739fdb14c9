package app_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
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
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/delivery"
)

// keyFile writes a new private key of OpenSSH's, and the public one beside it.
func keyFile(t *testing.T, path string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600))
	return signer
}

// memberServer is a member's own server whose folder is home. It returns its address.
func memberServer(t *testing.T, host ssh.Signer, home string) string {
	t.Helper()
	if _, err := os.Stat(sim.SFTPServer); err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "OpenSSH's sftp-server is not installed (apt-get install openssh-sftp-server): delivery is not tested against it here")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- (&sim.MemberHost{Key: host, Home: home}).Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return listener.Addr().String()
}

// members is a house with a member to whom files are carried, and one that fetches.
type members struct {
	*house
	home    string // of the first at its own server
	fetcher string // key file of the second
	host    ssh.Signer
}

func newMembers(t *testing.T) *members {
	t.Helper()
	dir := t.TempDir()
	m := &members{house: newHouse(t, "settlement.run=publish"), home: filepath.Join(dir, "home"), fetcher: filepath.Join(dir, "fetcher")}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "keys"), 0o700))
	require.NoError(t, os.MkdirAll(m.home, 0o700))
	theirs := keyFile(t, filepath.Join(dir, "theirs"))
	keyFile(t, filepath.Join(dir, "key"))
	keyFile(t, m.fetcher)
	require.NoError(t, os.Rename(m.fetcher+".pub", filepath.Join(dir, "keys", "20000001.pub")))
	m.host = keyFile(t, filepath.Join(dir, "host"))
	address := memberServer(t, theirs, m.home)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "known"), []byte(knownhosts.Line([]string{address}, theirs.PublicKey())+"\n"), 0o600))
	keyFile(t, filepath.Join(dir, "sign"))
	m.config.Night.SignedBy = filepath.Join(dir, "sign")
	m.config.Courier = config.Courier{
		Deliveries: []config.Delivery{{Member: 10000001, Address: address, User: "points", Folder: "in", IdentityFile: filepath.Join(dir, "key"), KnownHosts: filepath.Join(dir, "known")}},
		Fetch:      config.Fetch{Address: "127.0.0.1:0", IdentityFile: filepath.Join(dir, "host"), Keys: filepath.Join(dir, "keys")},
		AckBy:      config.ClockTimes{9 * 60},
	}
	return m
}

// sftp runs OpenSSH's own client as the member that fetches, in a folder.
func (m *members) sftp(t *testing.T, r *running, folder string, commands ...string) (string, error) {
	t.Helper()
	client, err := exec.LookPath("sftp")
	if err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "sftp is not installed (apt-get install openssh-client): the server is not tested against it here")
	}
	known := filepath.Join(t.TempDir(), "known")
	address := r.FetchAddress().String()
	require.NoError(t, os.WriteFile(known, []byte(knownhosts.Line([]string{address}, m.host.PublicKey())+"\n"), 0o600))
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), client, "-b", "-", "-i", m.fetcher, "-P", port, "-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "UserKnownHostsFile="+known, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "20000001@127.0.0.1")
	cmd.Stdin, cmd.Dir = strings.NewReader(strings.Join(commands, "\n")+"\n"), folder
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// row is the delivery to a member.
func (r *running) row(t *testing.T, run, member string) delivery.Row {
	t.Helper()
	rows, err := r.client.SettleDeliveries(t.Context(), app.SettleAsk{Run: run})
	require.NoError(t, err)
	for i := range rows {
		if rows[i].Member.String() == member {
			return rows[i]
		}
	}
	require.Fail(t, "no delivery", "%s in %v", member, rows)
	return delivery.Row{}
}

func (r *running) comesTo(t *testing.T, run, member string, state delivery.State) {
	t.Helper()
	require.Eventually(t, func() bool { return r.row(t, run, member).State >= state }, 30*time.Second, 20*time.Millisecond, "%s: %v", member, state)
}

// published is the run of the night, once it is published.
func (r *running) published(t *testing.T) *settlement.Run {
	t.Helper()
	var run *settlement.Run
	require.Eventually(t, func() bool {
		runs, err := r.client.SettleShow(t.Context(), app.SettleAsk{})
		require.NoError(t, err)
		if len(runs) == 1 {
			run = runs[0]
		}
		return run != nil && run.State >= settlement.Published
	}, 30*time.Second, 50*time.Millisecond)
	return run
}

// wantOf is what the acknowledgement of the whole set has to say.
func wantOf(t *testing.T, row delivery.Row) string {
	t.Helper()
	for _, f := range row.Files {
		if f.Name == "SHA256SUMS" {
			return f.Want
		}
	}
	require.Fail(t, "no SHA256SUMS")
	return ""
}

// A night reaches both members, the one through OpenSSH's server, the other through
// OpenSSH's client; what they acknowledge wrongly is told and confirms nothing, and when
// both have acknowledged the run is confirmed, which a start does not undo.
func TestNightReachesMembers(t *testing.T) {
	m := newMembers(t)
	clock := new(shifted)
	m.clock = clock.clock
	r := m.start(t)
	r.load(t, smallTown)
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	run := r.published(t)
	folder := filepath.Join(m.config.Data, app.SettlementFolder, run.ID)
	cycle := strings.ReplaceAll(run.Cut.Date.String(), "-", "") + "-01"

	r.comesTo(t, run.ID, "10000001", delivery.Delivered)
	there := filepath.Join(m.home, "in", cycle)
	entries, err := os.ReadDir(filepath.Join(folder, "10000001"))
	require.NoError(t, err)
	require.Greater(t, len(entries), 6)
	for _, e := range entries {
		want, err := os.ReadFile(filepath.Join(folder, "10000001", e.Name()))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(there, e.Name()))
		require.NoError(t, err)
		require.Equal(t, want, got, e.Name())
		require.FileExists(t, filepath.Join(there, e.Name()+".ok"))
	}
	carried := wantOf(t, r.row(t, run.ID, "10000001"))
	require.NoError(t, os.WriteFile(filepath.Join(there, "SHA256SUMS.ack"), []byte("7"+carried), 0o600))
	require.Eventually(t, func() bool { return len(r.row(t, run.ID, "10000001").Wrong) == 1 }, 30*time.Second, 50*time.Millisecond)
	require.Contains(t, r.row(t, run.ID, "10000001").Wrong[0], "lines were taken in")
	require.Contains(t, m.log.String(), "settlement acknowledgement differs")
	require.NoError(t, os.WriteFile(filepath.Join(there, "SHA256SUMS.ack"), []byte(carried+"\n"), 0o600))
	r.comesTo(t, run.ID, "10000001", delivery.Acked)
	require.Empty(t, r.row(t, run.ID, "10000001").Wrong)

	mine := t.TempDir()
	require.Eventually(t, func() bool { return r.row(t, run.ID, "20000001").Ready }, 30*time.Second, 20*time.Millisecond)
	require.Equal(t, delivery.Published, r.row(t, run.ID, "20000001").State)
	out, err := m.sftp(t, r, mine, "get -r "+cycle)
	require.NoError(t, err, out)
	r.comesTo(t, run.ID, "20000001", delivery.Delivered)
	got, err := os.ReadFile(filepath.Join(mine, cycle, "SHA256SUMS"))
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join(folder, "20000001", "SHA256SUMS"))
	require.NoError(t, err)
	require.Equal(t, want, got)
	fetched := wantOf(t, r.row(t, run.ID, "20000001"))
	require.NoError(t, os.WriteFile(filepath.Join(mine, "wrong"), []byte("7"+fetched), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(mine, "right"), []byte(fetched+"\n"), 0o600))
	out, err = m.sftp(t, r, mine, "put wrong "+cycle+"/SHA256SUMS.ack")
	require.Error(t, err, out)
	require.Len(t, r.row(t, run.ID, "20000001").Wrong, 1)
	shown, err := r.client.SettleShow(t.Context(), app.SettleAsk{Run: run.ID})
	require.NoError(t, err)
	require.Equal(t, settlement.Published, shown[0].State)
	out, err = m.sftp(t, r, mine, "put right "+cycle+"/SHA256SUMS.ack")
	require.NoError(t, err, out)
	confirmed := func() bool {
		runs, err := r.client.SettleShow(t.Context(), app.SettleAsk{Run: run.ID})
		require.NoError(t, err)
		return runs[0].State == settlement.Confirmed
	}
	require.Eventually(t, confirmed, 30*time.Second, 50*time.Millisecond)
	r.stop(t)

	before := modified(t, there)
	r = m.start(t)
	require.True(t, confirmed())
	require.Equal(t, delivery.Acked, r.row(t, run.ID, "20000001").State)
	r.stop(t)
	require.Equal(t, before, modified(t, there), "nothing is sent twice")
}

// modified is when the files of a folder were written.
func modified(t *testing.T, folder string) map[string]time.Time {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	times := make(map[string]time.Time)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		times[e.Name()] = info.ModTime()
	}
	return times
}

// A member that cannot be reached keeps no other from its files; what it has not
// acknowledged by the time that is set is told in log, status and metrics; what an operator
// gives it by hand is noted in the journal and counts the same; what it has said wrongly
// is refused and changes nothing.
func TestMemberOutOfReach(t *testing.T) {
	m := newMembers(t)
	m.config.Courier.Deliveries[0].Address = freeAddress(t)
	clock := new(shifted)
	m.clock = clock.clock
	r := m.start(t)
	r.load(t, smallTown)
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	run := r.published(t)
	require.Eventually(t, func() bool { return r.row(t, run.ID, "20000001").Ready }, 30*time.Second, 20*time.Millisecond)
	row := r.row(t, run.ID, "10000001")
	require.Equal(t, delivery.Published, row.State)
	require.False(t, row.Late)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	require.NotContains(t, strings.Join(status.Warnings, "\n"), "acknowledged")

	clock.by.Add((25 * time.Hour).Microseconds())
	require.Eventually(t, func() bool { return strings.Contains(m.log.String(), "settlement not acknowledged in time") }, 30*time.Second, 50*time.Millisecond)
	status, err = r.client.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, strings.Join(status.Warnings, "\n"), "2 of 2 members have not acknowledged")
	require.Contains(t, get(t, "http://"+r.HTTPAddress().String()+"/metrics"), "lianfen_settlement_acks_late 2")

	ask := app.DeliveredAsk{SettleAsk: app.SettleAsk{Run: run.ID, Operator: "li"}, Member: row.Member, Ack: "7" + wantOf(t, row)}
	_, err = r.client.SettleDelivered(t.Context(), ask)
	reasonIs(t, points.FormatError, err)
	require.Equal(t, delivery.Published, r.row(t, run.ID, "10000001").State)
	stranger := ask
	stranger.Member = 30000001
	_, err = r.client.SettleDelivered(t.Context(), stranger)
	reasonIs(t, points.UnknownOriginal, err)
	nobody := ask
	nobody.Operator = ""
	_, err = r.client.SettleDelivered(t.Context(), nobody)
	reasonIs(t, points.FormatError, err)
	ask.Ack = ""
	done, err := r.client.SettleDelivered(t.Context(), ask)
	require.NoError(t, err)
	require.Equal(t, []any{delivery.Delivered, "li"}, []any{done.Slip.State, done.Slip.By})
	ask.Ack = wantOf(t, row)
	done, err = r.client.SettleDelivered(t.Context(), ask)
	require.NoError(t, err)
	require.Equal(t, delivery.Acked, done.Slip.State)
	ask.Member, ask.Ack = 20000001, wantOf(t, r.row(t, run.ID, "20000001"))
	_, err = r.client.SettleDelivered(t.Context(), ask)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		runs, err := r.client.SettleShow(t.Context(), app.SettleAsk{Run: run.ID})
		require.NoError(t, err)
		return runs[0].State == settlement.Confirmed
	}, 30*time.Second, 50*time.Millisecond)
	status, err = r.client.Status(t.Context())
	require.NoError(t, err)
	require.NotContains(t, strings.Join(status.Warnings, "\n"), "acknowledged")
	rrn := status.Position.RRN()
	detail, err := r.client.Detail(t.Context(), string(rrn[:]))
	require.NoError(t, err)
	require.Equal(t, []any{book.KindNote, "li"}, []any{detail.Kind, detail.Operator})
	require.Contains(t, detail.Note, "delivered to 20000001 by hand, acknowledged")
	r.stop(t)
}

// What all deliveries need and cannot be read is told at the start, and by a reload, with
// the key of the configuration.
func TestWaysThatCannotBe(t *testing.T) {
	for key, spoil := range map[string]func(*config.Config){
		"settlement.fetch_host_key": func(c *config.Config) { require.NoError(t, os.Chmod(c.Courier.Fetch.IdentityFile, 0o644)) },
		"settlement.fetch_keys":     func(c *config.Config) { c.Courier.Fetch.Keys += "x" },
		"settlement.key":            func(c *config.Config) { c.Night.SignedBy += "x" },
		"settlement.holidays":       func(c *config.Config) { c.Settlement.Holidays = filepath.Join(t.TempDir(), "x") },
		"card key":                  func(c *config.Config) { c.CardKey += "x" },
		"data":                      func(c *config.Config) { c.Data += "x" },
	} {
		m := newMembers(t)
		r := m.start(t)
		spoiled := m.config
		spoil(&spoiled)
		_, err := r.Reload(t.Context(), spoiled)
		require.ErrorContains(t, err, key)
		r.stop(t)
		m.config = spoiled
		_, err = m.open(t)
		require.Error(t, err, key)
	}
}

// What is wrong with one member's files stops neither the switch nor another member: the
// way is broken, which status says, and a reload takes it up once it is mended. Files of
// keys that are no use, or of members that do not exist, are ignored and named.
func TestOneMembersFilesStopNobody(t *testing.T) {
	m := newMembers(t)
	known, keys := m.config.Courier.Deliveries[0].KnownHosts, m.config.Courier.Fetch.Keys
	require.NoError(t, os.Rename(known, known+".away"))
	for _, name := range []string{"20000099.pub", "README", "20000002.pub"} {
		require.NoError(t, os.WriteFile(filepath.Join(keys, name), []byte("no key\n"), 0o600))
	}
	r := m.start(t)
	told := func(want ...string) {
		t.Helper()
		status, err := r.client.Status(t.Context())
		require.NoError(t, err)
		text := strings.Join(status.Warnings, "\n")
		for _, one := range want {
			require.Contains(t, text, one)
		}
		require.Len(t, status.Warnings, len(want), text)
	}
	told("nothing is carried to member 10000001: settlement.delivery.10000001.known_hosts: ", "20000099.pub is ignored: no issuer or acquirer 20000099 is registered",
		"README is ignored: is no file of a member's keys", "20000002.pub is ignored", "20000001.pub is ignored: no issuer")
	r.load(t, "issuers: [{id: 20000001, name: One}]\nacquirers: [{id: 10000001, name: Ten}]\n")
	done, err := r.Reload(t.Context(), m.config)
	require.NoError(t, err)
	require.Len(t, done.Warnings, 4, "20000001 is registered by now")

	require.NoError(t, os.Rename(known+".away", known))
	for _, name := range []string{"20000099.pub", "README", "20000002.pub"} {
		require.NoError(t, os.Remove(filepath.Join(keys, name)))
	}
	done, err = r.Reload(t.Context(), m.config)
	require.NoError(t, err)
	require.Empty(t, done.Warnings)
	told()
	out, err := m.sftp(t, r, t.TempDir(), "ls")
	require.NoError(t, err, out)
	r.stop(t)
}

// Keys of members that fetch are read anew by a reload: one whose file is gone comes in no
// more, one that is new comes in.
func TestFetchKeysAreReloaded(t *testing.T) {
	m := newMembers(t)
	r := m.start(t)
	ctx, dir := t.Context(), t.TempDir()
	keys := m.config.Courier.Fetch.Keys
	theirs := filepath.Join(keys, "20000001.pub")
	_, err := m.sftp(t, r, dir, "ls")
	require.Error(t, err, "it was not registered at the start")
	r.load(t, "issuers: [{id: 20000001, name: One}, {id: 20000002, name: Two}]\nacquirers: [{id: 10000001, name: Ten}]\n")
	out, err := m.sftp(t, r, dir, "ls")
	require.NoError(t, err, out)

	require.NoError(t, os.Rename(theirs, filepath.Join(keys, "20000002.pub")))
	done, err := r.Reload(ctx, m.config)
	require.NoError(t, err)
	require.Empty(t, done.Restart)
	_, err = m.sftp(t, r, dir, "ls")
	require.Error(t, err)
	require.NoError(t, os.Rename(filepath.Join(keys, "20000002.pub"), theirs))
	_, err = r.Reload(ctx, m.config)
	require.NoError(t, err)
	out, err = m.sftp(t, r, dir, "ls")
	require.NoError(t, err, out)
	r.stop(t)
}
