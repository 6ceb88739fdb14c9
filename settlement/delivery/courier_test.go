package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/tools"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// opensshServer is OpenSSH's own sftp-server, or ends the test and says so.
func opensshServer(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	tools.Lacking(t, os.Getenv(tools.Variable), "OpenSSH's sftp-server is not installed (apt-get install openssh-sftp-server): this is not tested here")
	return ""
}

// closer closes once, whoever asks and however often: a process is waited for once only.
type closer func() error

func (c closer) Close() error { return c() }

// dialOpenSSH runs a new sftp-server for each session, in the folder.
func dialOpenSSH(t *testing.T, folder string) Dial {
	t.Helper()
	server := opensshServer(t)
	return func(ctx context.Context, _ Target) (*sftp.Client, io.Closer, error) {
		cmd := exec.CommandContext(ctx, server, "-e", "-d", folder)
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, nil, err
		}
		client, err := sftp.NewClientPipe(out, in)
		if err != nil {
			return nil, nil, errors.Join(err, in.Close(), cmd.Wait())
		}
		return client, closer(sync.OnceValue(func() error {
			err := errors.Join(in.Close(), client.Close())
			_ = cmd.Wait() // A cancelled context has killed it.
			return err
		})), nil
	}
}

func parcel(folder string, names ...string) Parcel {
	set := fstest.MapFS{}
	for _, name := range names {
		set[name] = &fstest.MapFile{Data: bytes.Repeat([]byte(name+"\r\n"), 20_000)}
	}
	return Parcel{Target: Target{Member: 10000001, Folder: folder}, Files: set, Names: names}
}

// told collects outcomes.
type outcomes struct {
	mu  sync.Mutex
	all []Outcome
}

func (o *outcomes) tell(one Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, one)
}

func quick() Pace {
	return Pace{Attempts: 3, First: time.Millisecond, Most: time.Millisecond, Stall: 20 * time.Second, Uploads: 4}
}

// TestDeliverToOpenSSH: files and their flags arrive at OpenSSH's server whole and under
// their names, a second delivery does nothing, and other bytes are never overwritten.
func TestDeliverToOpenSSH(t *testing.T) {
	home := t.TempDir()
	c, err := NewCourier(dialOpenSSH(t, home), quick())
	require.NoError(t, err)
	p := parcel(filepath.Join(home, "in/2026-02-16/01"), "QZ_DET.txt", "SHA256SUMS")

	var first outcomes
	c.Deliver(t.Context(), []Parcel{p}, first.tell)
	require.Len(t, first.all, 2)
	for _, o := range first.all {
		require.NoError(t, o.Err)
		require.False(t, o.Already)
		require.Equal(t, 1, o.Attempts)
		text, err := os.ReadFile(filepath.Join(p.Target.Folder, o.Name))
		require.NoError(t, err)
		require.Equal(t, p.Files.(fstest.MapFS)[o.Name].Data, text)
		flag, err := os.ReadFile(filepath.Join(p.Target.Folder, o.Name+".ok"))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%x  %s\n", sha256.Sum256(text), o.Name), string(flag))
	}
	entries, err := os.ReadDir(p.Target.Folder)
	require.NoError(t, err)
	require.Len(t, entries, 4, "nothing is left under way")

	var second outcomes
	c.Deliver(t.Context(), []Parcel{p}, second.tell)
	for _, o := range second.all {
		require.NoError(t, o.Err)
		require.True(t, o.Already)
	}

	theirs := filepath.Join(p.Target.Folder, "SHA256SUMS")
	require.NoError(t, os.WriteFile(theirs, []byte("theirs"), 0o600))
	var third outcomes
	c.Deliver(t.Context(), []Parcel{p}, third.tell)
	require.NoError(t, third.all[0].Err)
	require.ErrorIs(t, third.all[1].Err, ErrDiffers)
	require.Equal(t, 1, third.all[1].Attempts, "it is not tried again")
	text, err := os.ReadFile(theirs)
	require.NoError(t, err)
	require.Equal(t, "theirs", string(text))
}

// TestDeliverResumes: what a broken delivery left under way is no obstacle, and a file
// without its flag gets it.
func TestDeliverResumes(t *testing.T) {
	home := t.TempDir()
	c, err := NewCourier(dialOpenSSH(t, home), quick())
	require.NoError(t, err)
	p := parcel(home, "QZ_DET.txt")
	require.NoError(t, os.WriteFile(filepath.Join(home, ".QZ_DET.txt.part"), bytes.Repeat([]byte("x"), 1<<20), 0o600))
	var first outcomes
	c.Deliver(t.Context(), []Parcel{p}, first.tell)
	require.NoError(t, first.all[0].Err)
	require.NoError(t, os.Remove(filepath.Join(home, "QZ_DET.txt.ok")))
	var second outcomes
	c.Deliver(t.Context(), []Parcel{p}, second.tell)
	require.NoError(t, second.all[0].Err)
	require.True(t, second.all[0].Already)
	require.FileExists(t, filepath.Join(home, "QZ_DET.txt.ok"))
}

// TestAcksFromOpenSSH: an acknowledgement that agrees is one, and one that differs says in
// what.
func TestAcksFromOpenSSH(t *testing.T) {
	home := t.TempDir()
	c, err := NewCourier(dialOpenSSH(t, home), quick())
	require.NoError(t, err)
	sent := []files.Output{{Name: "a.txt", Lines: 12, Digest: sha256.Sum256([]byte("a"))}, {Name: "b.txt", Lines: 3}, {Name: "c.txt"}}
	wrong := AckOf(&sent[1])
	wrong.Lines, wrong.Net = 2, "0.0001"
	require.NoError(t, os.WriteFile(filepath.Join(home, "a.txt.ack"), []byte(AckOf(&sent[0]).String()+"\r\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(home, "b.txt.ack"), []byte(wrong.String()), 0o600))
	acked, err := c.Acks(t.Context(), Target{Member: 10000001, Folder: home}, sent)
	require.NoError(t, err)
	require.Len(t, acked, 2)
	require.NoError(t, acked["a.txt"])
	require.ErrorContains(t, acked["b.txt"], "2 lines were taken in, 3 were sent")
	require.ErrorContains(t, acked["b.txt"], "come to 0.0001, sent was 0.0000")
}

// dialMemory serves sessions from memory, over pipes, so that time can stand still.
func dialMemory(handlers sftp.Handlers) Dial {
	return func(context.Context, Target) (*sftp.Client, io.Closer, error) {
		ours, theirs := net.Pipe()
		server := sftp.NewRequestServer(theirs, handlers)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = server.Serve() // It ends when the pipe does.
			_ = theirs.Close()
		}()
		client, err := sftp.NewClientPipe(ours, ours)
		if err != nil {
			return nil, nil, err
		}
		return client, closer(sync.OnceValue(func() error {
			err := ours.Close()
			<-ended
			_ = client.Close() // Its pipe is closed.
			return err
		})), nil
	}
}

// TestPauses: a file is tried again after pauses that double up to a longest one, and
// given up after the last attempt.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		c, err := NewCourier(func(context.Context, Target) (*sftp.Client, io.Closer, error) {
			at = append(at, time.Since(began))
			return nil, nil, errors.New("connection refused")
		}, Pace{Attempts: 6, First: time.Second, Most: 5 * time.Second, Stall: time.Minute, Uploads: 1})
		require.NoError(t, err)
		var o outcomes
		c.Deliver(t.Context(), []Parcel{parcel("in", "a.txt", "b.txt")}, o.tell)
		require.Equal(t, []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 12 * time.Second, 17 * time.Second}, at)
		require.Len(t, o.all, 2)
		require.ErrorContains(t, o.all[0].Err, "deliver to 10000001: connection refused")
		require.Equal(t, 6, o.all[0].Attempts)
	})
}

// TestIndependent: a member whose server refuses and one whose server hangs do not delay
// the third, which is done at once.
func TestIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		memory := dialMemory(sftp.InMemHandler())
		c, err := NewCourier(func(ctx context.Context, target Target) (*sftp.Client, io.Closer, error) {
			switch target.Member {
			case 1:
				return nil, nil, errors.New("connection refused")
			case 2:
				<-ctx.Done()
				return nil, nil, ctx.Err()
			default:
			}
			return memory(ctx, target)
		}, Pace{Attempts: 3, First: time.Minute, Most: time.Hour, Stall: 10 * time.Minute, Uploads: 1})
		require.NoError(t, err)
		var parcels []Parcel
		for member := range tariff.Member(3) {
			p := parcel("/in", "a.txt", "b.txt")
			p.Target.Member = member + 1
			parcels = append(parcels, p)
		}
		done := make(map[tariff.Member]time.Duration)
		var mu sync.Mutex
		c.Deliver(t.Context(), parcels, func(o Outcome) {
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, o.Member != 3, o.Err != nil, "%v", o)
			done[o.Member] = time.Since(began)
		})
		require.Less(t, done[3], time.Second) // The memory behind it takes a moment for each packet.
		require.Equal(t, 3*time.Minute, done[1])
		require.Equal(t, 33*time.Minute, done[2])
	})
}

// flaky refuses what is written a number of times.
type flaky struct {
	sftp.FileWriter
	left int
}

func (f *flaky) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	if f.left--; f.left >= 0 {
		return nil, sftp.ErrSSHFxFailure
	}
	return f.FileWriter.Filewrite(r)
}

// TestOneFileAgain: of several files only the one that failed is tried again.
func TestOneFileAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handlers := sftp.InMemHandler()
		handlers.FilePut = &flaky{handlers.FilePut, 1}
		c, err := NewCourier(dialMemory(handlers), Pace{Attempts: 3, First: time.Second, Most: time.Second, Stall: time.Minute, Uploads: 1})
		require.NoError(t, err)
		var o outcomes
		c.Deliver(t.Context(), []Parcel{parcel("/in", "a.txt", "b.txt")}, o.tell)
		require.Len(t, o.all, 2)
		require.Equal(t, "b.txt", o.all[0].Name)
		require.Equal(t, 1, o.all[0].Attempts)
		require.Equal(t, "a.txt", o.all[1].Name)
		require.Equal(t, 2, o.all[1].Attempts)
		require.NoError(t, o.all[1].Err)
	})
}

// TestNames: only plain names of files that are there are carried, and nothing else is
// tried again.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewCourier(dialMemory(sftp.InMemHandler()), quick())
		require.NoError(t, err)
		for _, name := range []string{"", "../a", "a/b", ".a", "a.ok", "a.ack", "missing"} {
			var o outcomes
			p := parcel("/in")
			p.Names = []string{name}
			c.Deliver(t.Context(), []Parcel{p}, o.tell)
			require.Error(t, o.all[0].Err, name)
			require.Equal(t, 1, o.all[0].Attempts)
		}
	})
	_, err := NewCourier(nil, Pace{})
	require.ErrorContains(t, err, "at least one attempt")
}

// TestParseAck: what is not an acknowledgement is refused, and says what is wrong.
func TestParseAck(t *testing.T) {
	good := AckOf(&files.Output{Lines: 12, Net: files.SumOf(-23074)})
	require.Equal(t, "12,-2.3074,0000000000000000000000000000000000000000000000000000000000000000", good.String())
	for _, end := range []string{"", "\n", "\r\n"} {
		again, err := ParseAck(bytes.NewBufferString(good.String() + end))
		require.NoError(t, err)
		require.Equal(t, good, again)
		require.NoError(t, again.Differs(good))
	}
	for text, says := range map[string]string{
		"": "columns", "12,1.0000": "columns", "x,1.0000," + good.Digest: "not a number", "1,1.00," + good.Digest: "4 decimals",
		"1,.0000," + good.Digest: "4 decimals", "1,1.0000,abc": "not a SHA-256", good.String() + "\n\n": "SHA-256", string(make([]byte, 300)): "more than 256 bytes",
	} {
		_, err := ParseAck(bytes.NewBufferString(text))
		require.ErrorContains(t, err, says, text)
	}
}

func FuzzParseAck(f *testing.F) {
	f.Add([]byte("12,-2.3074,0000000000000000000000000000000000000000000000000000000000000000\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ack, err := ParseAck(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := ParseAck(bytes.NewBufferString(ack.String()))
		require.NoError(t, err)
		require.Equal(t, ack, again)
	})
}
