package delivery

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lianfen/lianfen/internal/tools"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// served is a server with two members, and what OpenSSH's client needs for the first.
type served struct {
	address string
	folder  string // of member 10000001
	key     ssh.Signer
	keyFile string
	hosts   string
	server  *Server
	acks    chan string
	fetched chan string
}

func newKey(t *testing.T) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return signer, private
}

func serve(t *testing.T, limits Limits) *served {
	t.Helper()
	home := t.TempDir()
	s := &served{folder: filepath.Join(home, "10000001"), keyFile: filepath.Join(home, "key"), hosts: filepath.Join(home, "known_hosts"), acks: make(chan string, 10), fetched: make(chan string, 100)}
	other := filepath.Join(home, "10000002")
	require.NoError(t, os.MkdirAll(filepath.Join(s.folder, "2026-02-16"), 0o750))
	require.NoError(t, os.MkdirAll(other, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, "2026-02-16", "QZ_DET.txt"), []byte(strings.Repeat("line\r\n", 50_000)), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, ".part"), []byte("under way"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(other, "secret.txt"), []byte("of the other"), 0o600))
	require.NoError(t, os.Symlink(filepath.Join(other, "secret.txt"), filepath.Join(s.folder, "link.txt")))

	var private ed25519.PrivateKey
	s.key, private = newKey(t)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.keyFile, pem.EncodeToMemory(block), 0o600))
	theirs, _ := newKey(t)
	host, _ := newKey(t)
	server, err := NewServer(host, []Account{
		{Member: 10000001, Folder: s.folder, Keys: []ssh.PublicKey{s.key.PublicKey()}},
		{Member: 10000002, Folder: other, Keys: []ssh.PublicKey{theirs.PublicKey()}},
	}, limits, Hears{Acked: func(m tariff.Member, name string, ack Ack) error {
		s.acks <- fmt.Sprintf("%v %s %v", m, name, ack)
		return nil
	}, Fetched: func(m tariff.Member, name string) { s.fetched <- fmt.Sprintf("%v %s", m, name) }}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	s.server = server
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = listener.Addr().String()
	require.NoError(t, os.WriteFile(s.hosts, []byte(knownhosts.Line([]string{s.address}, host.PublicKey())+"\n"), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return s
}

// batch runs OpenSSH's own client.
func (s *served) batch(t *testing.T, user string, commands ...string) (string, error) {
	t.Helper()
	client, err := exec.LookPath("sftp")
	if err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "sftp is not installed (apt-get install openssh-client): the server is not tested against it here")
	}
	_, port, err := net.SplitHostPort(s.address)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), client, "-b", "-", "-i", s.keyFile, "-P", port, "-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "UserKnownHostsFile="+s.hosts, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", user+"@127.0.0.1")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err == nil {
		if got, read := os.ReadFile(filepath.Join(cmd.Dir, "QZ_DET.txt")); read == nil {
			return string(out) + fmt.Sprintf("got %x", sha256.Sum256(got)), nil
		}
	}
	return string(out), err
}

// TestOpenSSHFetches: OpenSSH's client lists and fetches what is the member's, sees nothing
// of what is under way, and acknowledges.
func TestOpenSSHFetches(t *testing.T) {
	s := serve(t, DefaultLimits())
	out, err := s.batch(t, "10000001", "ls -l", "ls -l 2026-02-16", "cd 2026-02-16", "get QZ_DET.txt")
	require.NoError(t, err, out)
	require.Contains(t, out, "QZ_DET.txt")
	require.NotContains(t, out, ".part")
	require.NotContains(t, out, "link.txt")
	require.Contains(t, out, fmt.Sprintf("got %x", sha256.Sum256([]byte(strings.Repeat("line\r\n", 50_000)))))

	require.Equal(t, "10000001 2026-02-16/QZ_DET.txt", <-s.fetched, "what was read to its end is told")

	ack := AckOf(&files.Output{Lines: 50_000, Net: files.SumOf(12)})
	local := filepath.Join(t.TempDir(), "ack")
	require.NoError(t, os.WriteFile(local, []byte(ack.String()+"\n"), 0o600))
	out, err = s.batch(t, "10000001", "put "+local+" 2026-02-16/QZ_DET.txt.ack")
	require.NoError(t, err, out)
	require.Equal(t, "10000001 2026-02-16/QZ_DET.txt "+ack.String(), <-s.acks)
	kept, err := os.ReadFile(filepath.Join(s.folder, "2026-02-16", "QZ_DET.txt.ack"))
	require.NoError(t, err)
	require.Equal(t, ack.String()+"\n", string(kept))
}

// TestOpenSSHIsRefused: nothing else can be written, changed, removed or seen, and what
// was refused has changed nothing.
func TestOpenSSHIsRefused(t *testing.T) {
	s := serve(t, DefaultLimits())
	local := filepath.Join(t.TempDir(), "local")
	require.NoError(t, os.WriteFile(local, []byte("12,1.0000"), 0o600))
	before := tree(t, filepath.Dir(s.folder))
	for _, command := range []string{
		"put " + local + " new.txt", "put " + local + " 2026-02-16/QZ_DET.txt", "put " + local + " 2026-02-16/missing.txt.ack",
		"put " + local + " 2026-02-16/QZ_DET.txt.ack", // It is no acknowledgement.
		"rm 2026-02-16/QZ_DET.txt", "rename 2026-02-16/QZ_DET.txt other.txt", "mkdir new", "rmdir 2026-02-16", "chmod 777 2026-02-16/QZ_DET.txt",
		"ln -s /etc/passwd 2026-02-16/passwd", "get ../10000002/secret.txt", "get /10000002/secret.txt", "get link.txt", "get .part", "get /etc/passwd", "get 2026-02-16/missing.txt",
	} {
		out, err := s.batch(t, "10000001", command)
		require.Error(t, err, "%s: %s", command, out)
	}
	require.Equal(t, before, tree(t, filepath.Dir(s.folder)))
	require.Empty(t, s.acks)
	for _, user := range []string{"10000002", "root", "99999999"} {
		_, err := s.batch(t, user, "ls")
		require.Error(t, err, user)
	}
}

// tree is everything in a folder.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	require.NoError(t, filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			text, read := os.ReadFile(path)
			all[path] = string(text)
			return read
		}
		all[path] = info.Mode().String()
		return err
	}))
	return all
}

// open dials the server as a member of Go.
func (s *served) open(t *testing.T) (*sftp.Client, error) {
	t.Helper()
	hosts, err := KnownHosts(s.hosts)
	require.NoError(t, err)
	client, conn, err := DialSSH(s.key, hosts, 10*time.Second)(t.Context(), Target{Address: s.address, User: "10000001"})
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return client, err
}

// TestFlagsAtTheServer: where a set lies, each of its files has a flag as it has where it is
// carried, which nobody can write; a file that is in no set has none.
func TestFlagsAtTheServer(t *testing.T) {
	s := serve(t, DefaultLimits())
	folder := filepath.Join(s.folder, "2026-02-16")
	text, err := os.ReadFile(filepath.Join(folder, "QZ_DET.txt"))
	require.NoError(t, err)
	out, err := s.batch(t, "10000001", "ls 2026-02-16")
	require.NoError(t, err, out)
	require.NotContains(t, out, ".ok", "there is no set yet")
	sums := files.AppendSums(nil, []files.Output{{Name: "QZ_DET.txt", Digest: sha256.Sum256(text)}, {Name: "missing.txt"}})
	require.NoError(t, os.WriteFile(filepath.Join(folder, files.SumsName), sums, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "notes.txt"), text, 0o600))
	before := tree(t, s.folder)

	client, err := s.open(t)
	require.NoError(t, err)
	entries, err := client.ReadDir("2026-02-16")
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.ElementsMatch(t, []string{"QZ_DET.txt", "QZ_DET.txt.ok", "SHA256SUMS", "SHA256SUMS.ok", "notes.txt"}, names)
	for name, content := range map[string][]byte{"QZ_DET.txt": text, "SHA256SUMS": sums} {
		file, err := client.Open("2026-02-16/" + name + ".ok")
		require.NoError(t, err)
		flag, err := io.ReadAll(file)
		require.NoError(t, errors.Join(err, file.Close()))
		require.Equal(t, fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name), string(flag))
		info, err := client.Stat("2026-02-16/" + name + ".ok")
		require.NoError(t, err)
		require.EqualValues(t, len(flag), info.Size())
		require.EqualValues(t, 0o400, info.Mode())
	}
	for _, name := range []string{"notes.txt.ok", "SHA256SUMS.sig.ok", "QZ_DET.txt.ok.ok", "QZ_DET.txt.ack.refused"} {
		_, err := client.Open("2026-02-16/" + name)
		require.ErrorIs(t, err, os.ErrNotExist, name)
	}
	_, err = client.Create("2026-02-16/QZ_DET.txt.ok")
	require.Error(t, err)
	require.Equal(t, before, tree(t, s.folder))
}

// TestRefusalCanBeRead: why an acknowledgement was refused is told to a program that reads
// answers, and stands in a file for one that does not, as OpenSSH's; it is gone with a right one.
func TestRefusalCanBeRead(t *testing.T) {
	s := serve(t, DefaultLimits())
	s.server.hears.Acked = func(_ tariff.Member, name string, ack Ack) error {
		if ack.Lines == 1 {
			return &os.PathError{Op: "open", Path: "/our/own/disk", Err: os.ErrInvalid}
		}
		return ack.Differs(Ack{Lines: 12, Net: ack.Net, Digest: ack.Digest})
	}
	client, err := s.open(t)
	require.NoError(t, err)
	drop := func(lines int) error {
		file, err := client.Create("2026-02-16/QZ_DET.txt.ack")
		require.NoError(t, err)
		_, err = fmt.Fprintf(file, "%d,0.0000,%064d\n", lines, 0)
		require.NoError(t, err)
		return file.Close()
	}
	const why = "QZ_DET.txt.ack is refused: 11 lines were taken in, 12 were sent"
	require.ErrorContains(t, drop(11), why)
	out, err := s.batch(t, "10000001", "ls 2026-02-16", "get 2026-02-16/QZ_DET.txt.ack.refused")
	require.NoError(t, err, out)
	require.Contains(t, out, "QZ_DET.txt.ack.refused")
	file, err := client.Open("2026-02-16/QZ_DET.txt.ack.refused")
	require.NoError(t, err)
	said, err := io.ReadAll(file)
	require.NoError(t, errors.Join(err, file.Close()))
	require.Equal(t, why+"\n", string(said))
	err = drop(1)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "/our/own/disk", "what is of our disk is nobody else's")
	require.NoError(t, drop(12))
	_, err = client.Open("2026-02-16/QZ_DET.txt.ack.refused")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestAcknowledgedTwice: the same acknowledgement is taken again, another is refused, and
// one that is too long never reaches the disk.
func TestAcknowledgedTwice(t *testing.T) {
	s := serve(t, DefaultLimits())
	client, err := s.open(t)
	require.NoError(t, err)
	drop := func(text string) error {
		file, err := client.Create("2026-02-16/QZ_DET.txt.ack")
		require.NoError(t, err)
		_, err = file.Write([]byte(text))
		return errors.Join(err, file.Close())
	}
	ack := AckOf(&files.Output{Lines: 1})
	require.Error(t, drop(strings.Repeat("1", 5000)))
	require.NoError(t, drop(ack.String()))
	require.NoError(t, drop(ack.String()))
	ack.Lines = 2
	require.Error(t, drop(ack.String()))
	kept, err := os.ReadFile(filepath.Join(s.folder, "2026-02-16", "QZ_DET.txt.ack"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(kept), "1,"))
}

// TestLimits: handles, connections of a member and idle time are bounded, and what is
// given back can be had again.
func TestLimits(t *testing.T) {
	limits := DefaultLimits()
	limits.Handles, limits.PerMember, limits.Idle = 3, 2, 500*time.Millisecond
	s := serve(t, limits)
	client, err := s.open(t)
	require.NoError(t, err)
	for range 2 {
		var opened []*sftp.File
		for range 3 {
			file, err := client.Open("2026-02-16/QZ_DET.txt")
			require.NoError(t, err)
			opened = append(opened, file)
		}
		_, err = client.Open("2026-02-16/QZ_DET.txt")
		require.Error(t, err)
		_, err = client.ReadDir("/")
		require.Error(t, err)
		for _, file := range opened {
			require.NoError(t, file.Close())
		}
		_, err = client.ReadDir("/")
		require.NoError(t, err)
	}
	_, err = s.open(t)
	require.NoError(t, err)
	_, err = s.open(t)
	require.Error(t, err, "a third connection")
	require.Error(t, client.Wait(), "nothing moves")
	require.Eventually(t, func() bool {
		_, err := s.open(t)
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
}

// TestHostKey: a server that shows another key than the known one is refused, and not
// tried again.
func TestHostKey(t *testing.T) {
	s := serve(t, DefaultLimits())
	other, _ := newKey(t)
	require.NoError(t, os.WriteFile(s.hosts, []byte(knownhosts.Line([]string{s.address}, other.PublicKey())+"\n"), 0o600))
	hosts, err := KnownHosts(s.hosts)
	require.NoError(t, err)
	c, err := NewCourier(DialSSH(s.key, hosts, 10*time.Second), quick())
	require.NoError(t, err)
	var o outcomes
	p := Parcel{Target: Target{Member: 10000001, Address: s.address, User: "10000001", Folder: "/"}, Files: fstest.MapFS{"a": {}}, Names: []string{"a"}}
	c.Deliver(t.Context(), []Parcel{p}, o.tell)
	_, unknown := errors.AsType[*knownhosts.KeyError](o.all[0].Err)
	require.True(t, unknown, "%v", o.all[0].Err)
	require.Equal(t, 1, o.all[0].Attempts)
}

// TestAccounts: a member without a key, twice, or that is an account of the operator's is
// a mistake that is said at the start.
func TestAccounts(t *testing.T) {
	host, _ := newKey(t)
	key := []ssh.PublicKey{host.PublicKey()}
	for _, accounts := range [][]Account{{{Member: 1}}, {{Member: 1, Keys: key}, {Member: 1, Keys: key}}, {{Member: tariff.AccountFee, Keys: key}}} {
		_, err := NewServer(host, accounts, DefaultLimits(), Hears{}, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "want an institution, once")
	}
	_, err := NewServer(host, nil, Limits{}, Hears{}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "above zero")
}

// TestKeyTakenAway: who is connected with a key that is taken away is cut off in the middle
// of what it reads, and does not come again; who has another key of the member's stays.
func TestKeyTakenAway(t *testing.T) {
	s := serve(t, DefaultLimits())
	second, _ := newKey(t)
	account := func(keys ...ssh.PublicKey) []Account {
		return []Account{{Member: 10000001, Folder: s.folder, Keys: keys}}
	}
	closed, err := s.server.Renew(account(s.key.PublicKey(), second.PublicKey()))
	require.NoError(t, err)
	require.Zero(t, closed)
	client, err := s.open(t)
	require.NoError(t, err)
	file, err := client.Open("2026-02-16/QZ_DET.txt")
	require.NoError(t, err)
	_, err = file.ReadAt(make([]byte, 10), 0)
	require.NoError(t, err)
	first := s.key
	s.key = second
	stays, err := s.open(t)
	require.NoError(t, err)

	_, err = s.server.Renew([]Account{{Member: 10000001}})
	require.Error(t, err, "and changes nothing")
	_, err = file.ReadAt(make([]byte, 10), 10)
	require.NoError(t, err)
	closed, err = s.server.Renew(account(second.PublicKey()))
	require.NoError(t, err)
	require.Equal(t, 1, closed)
	_, err = file.ReadAt(make([]byte, 10), 20)
	require.Error(t, err)
	require.Error(t, client.Wait())
	_, err = stays.Stat("2026-02-16/QZ_DET.txt")
	require.NoError(t, err)
	s.key = first
	_, err = s.open(t)
	require.Error(t, err)
	closed, err = s.server.Renew(nil)
	require.NoError(t, err)
	require.Equal(t, 1, closed)
	require.Error(t, stays.Wait())
}

// TestBrokenUpload: an acknowledgement of which the connection broke before it was closed
// is not kept and not told, whole or half; neither is one that cannot be written down. It
// can be dropped again.
func TestBrokenUpload(t *testing.T) {
	s := serve(t, DefaultLimits())
	ack := AckOf(&files.Output{Lines: 50_000, Net: files.SumOf(12)}).String()
	before := tree(t, s.folder)
	for _, text := range []string{ack, ack[:len(ack)/2], ack[:20]} {
		client, err := s.open(t)
		require.NoError(t, err)
		file, err := client.Create("2026-02-16/QZ_DET.txt.ack")
		require.NoError(t, err)
		_, err = file.Write([]byte(text))
		require.NoError(t, err)
		closed, err := s.server.Renew(nil) // As if the line broke.
		require.NoError(t, err)
		require.Equal(t, 1, closed)
		require.Error(t, client.Wait())
		_, err = s.server.Renew([]Account{{Member: 10000001, Folder: s.folder, Keys: []ssh.PublicKey{s.key.PublicKey()}}})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			s.server.mu.Lock()
			defer s.server.mu.Unlock()
			return len(s.server.open) == 0
		}, 10*time.Second, time.Millisecond)
	}
	require.Equal(t, before, tree(t, s.folder))
	require.Empty(t, s.acks)

	client, err := s.open(t)
	require.NoError(t, err)
	drop := func() error {
		file, err := client.Create("2026-02-16/QZ_DET.txt.ack")
		require.NoError(t, err)
		_, err = file.Write([]byte(ack))
		return errors.Join(err, file.Close())
	}
	blocked := filepath.Join(s.folder, "2026-02-16", ".QZ_DET.txt.ack.part")
	require.NoError(t, os.MkdirAll(filepath.Join(blocked, "x"), 0o700)) // No room for it.
	require.Error(t, drop())
	require.Empty(t, s.acks)
	require.NoFileExists(t, filepath.Join(s.folder, "2026-02-16", "QZ_DET.txt.ack"))
	require.NoError(t, os.RemoveAll(blocked))
	require.NoError(t, drop())
	require.Equal(t, "10000001 2026-02-16/QZ_DET.txt "+ack, <-s.acks)
}

// TestSlowReader: who asks for much and takes nothing is cut off, as is who goes on for
// longer than a session may last; others are served meanwhile.
func TestSlowReader(t *testing.T) {
	limits := DefaultLimits()
	limits.Idle, limits.Session = 300*time.Millisecond, 1500*time.Millisecond
	s := serve(t, limits)
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, "2026-02-16", "large"), make([]byte, 64<<20), 0o600))
	hosts, err := KnownHosts(s.hosts)
	require.NoError(t, err)
	config := &ssh.ClientConfig{User: "10000001", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key)}, HostKeyCallback: hosts, Timeout: 10 * time.Second}
	conn, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	stuck := &stuckConn{Conn: conn, stop: make(chan struct{})}
	t.Cleanup(func() { close(stuck.stop) })
	shell, channels, requests, err := ssh.NewClientConn(stuck, s.address, config)
	require.NoError(t, err)
	client, err := sftp.NewClient(ssh.NewClient(shell, channels, requests))
	require.NoError(t, err)
	file, err := client.Open("2026-02-16/large")
	require.NoError(t, err)
	stuck.stuck.Store(true)
	go func() { _, _ = io.Copy(io.Discard, file) }() // It never ends by itself.

	lively, err := s.open(t)
	require.NoError(t, err)
	began := time.Now()
	for err == nil && time.Since(began) < 10*time.Second {
		_, err = lively.Stat("2026-02-16/large")
	}
	require.Error(t, err, "a session ends")
	require.Less(t, time.Since(began), 8*time.Second)
	require.Eventually(t, func() bool {
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		return len(s.server.open) == 0
	}, 10*time.Second, 10*time.Millisecond, "the one that takes nothing is gone")
}

// stuckConn takes nothing any more once it is stuck.
type stuckConn struct {
	net.Conn
	stuck atomic.Bool
	stop  chan struct{}
}

func (c *stuckConn) Read(p []byte) (int, error) {
	if c.stuck.Load() {
		<-c.stop
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}
