package delivery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// Target is where a member's files go.
type Target struct {
	Member  tariff.Member
	Address string // host:port
	User    string
	Folder  string // on the member's server; made where it is not there
}

// Parcel is what goes to one member: files of a folder, in this order.
type Parcel struct {
	Target Target
	Files  fs.FS
	Names  []string
}

// Outcome is what became of one file.
type Outcome struct {
	Member   tariff.Member
	Name     string
	Already  bool // it was there with the same bytes
	Attempts int
	Err      error // nil: it is there, with its flag
}

// ErrDiffers says that a file of that name is there with other bytes. It is not tried
// again: somebody has to look.
var ErrDiffers = errors.New("a file of this name is there with other bytes, and is left as it is")

// Pace is how often and when a file is tried again.
type Pace struct {
	Attempts int           // in all, for each file
	First    time.Duration // the pause after the first attempt; each is twice the one before
	Most     time.Duration // the longest pause
	Stall    time.Duration // how long an attempt may be without progress
	Uploads  int           // at the same time, over all members
}

// DefaultPace tries for half an hour.
func DefaultPace() Pace {
	return Pace{Attempts: 10, First: time.Second, Most: 5 * time.Minute, Stall: time.Minute, Uploads: 32}
}

// Dial opens a session with a member's server. What it returns is closed.
type Dial func(ctx context.Context, target Target) (*sftp.Client, io.Closer, error)

// Courier delivers. It is safe for many goroutines.
type Courier struct {
	dial  Dial
	pace  Pace
	slots chan struct{}
}

// NewCourier returns a courier that opens sessions with dial, see [DialSSH].
func NewCourier(dial Dial, pace Pace) (*Courier, error) {
	if pace.Attempts < 1 || pace.First <= 0 || pace.Most < pace.First || pace.Stall <= 0 || pace.Uploads < 1 {
		return nil, fmt.Errorf("delivery: pace %+v: want at least one attempt, pauses that grow, a time to stall and one upload", pace)
	}
	return &Courier{dial: dial, pace: pace, slots: make(chan struct{}, pace.Uploads)}, nil
}

// DialSSH dials with one key, and only servers that known hosts has (OpenSSH's files): a
// server that shows another key, or none that is known, is refused.
func DialSSH(key ssh.Signer, hosts ssh.HostKeyCallback, timeout time.Duration) Dial {
	return func(ctx context.Context, target Target) (*sftp.Client, io.Closer, error) {
		dialer := net.Dialer{Timeout: timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target.Address)
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // it names the address.
		}
		// Whatever hangs is ended by closing the connection under it.
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		config := &ssh.ClientConfig{User: target.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: hosts, Timeout: timeout}
		session, channels, requests, err := ssh.NewClientConn(conn, target.Address, config)
		if err != nil {
			stop()
			_ = conn.Close() // It says nothing that err does not.
			return nil, nil, fmt.Errorf("ssh %s: %w", target.Address, err)
		}
		client := ssh.NewClient(session, channels, requests)
		opened, err := sftp.NewClient(client)
		if err != nil {
			stop()
			_ = client.Close() // As above.
			return nil, nil, fmt.Errorf("sftp %s: %w", target.Address, err)
		}
		return opened, client, nil
	}
}

// DialEach dials each member in its own way.
func DialEach(ways map[tariff.Member]Dial) Dial {
	return func(ctx context.Context, target Target) (*sftp.Client, io.Closer, error) {
		way := ways[target.Member]
		if way == nil {
			return nil, nil, fmt.Errorf("there is no way to %v", target.Member)
		}
		return way(ctx, target)
	}
}

// KnownHosts reads files such as ~/.ssh/known_hosts.
func KnownHosts(paths ...string) (ssh.HostKeyCallback, error) {
	callback, err := knownhosts.New(paths...)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	return callback, nil
}

// Deliver delivers all parcels and tells of each file as soon as it is known what became
// of it; tell is called from several goroutines. It returns when there is nothing more to
// try. Members are independent: one that fails or hangs delays none.
func (c *Courier) Deliver(ctx context.Context, parcels []Parcel, tell func(Outcome)) {
	var all errgroup.Group
	for _, p := range parcels {
		all.Go(func() error {
			c.parcel(ctx, &p, tell)
			return nil
		})
	}
	_ = all.Wait() // Outcomes carry the errors.
}

// parcel carries one member's files, one after the other; one that fails does not keep
// those behind it.
func (c *Courier) parcel(ctx context.Context, p *Parcel, tell func(Outcome)) {
	attempts := make([]int, len(p.Names))
	open := make([]int, len(p.Names))
	for i := range open {
		open[i] = i
	}
	for pause := c.pace.First; len(open) > 0; pause = min(2*pause, c.pace.Most) {
		var again []int
		failed := c.session(ctx, p, open, func(i int, already bool, err error) {
			attempts[i]++
			if err != nil && !final(err) && attempts[i] < c.pace.Attempts && ctx.Err() == nil {
				again = append(again, i)
				return
			}
			tell(Outcome{Member: p.Target.Member, Name: p.Names[i], Already: already, Attempts: attempts[i], Err: err})
		})
		if open = again; len(open) == 0 || !failed {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// final reports whether trying again cannot help.
func final(err error) bool {
	if _, unknown := errors.AsType[*knownhosts.KeyError](err); unknown {
		return true
	}
	if _, revoked := errors.AsType[*knownhosts.RevokedError](err); revoked {
		return true
	}
	return errors.Is(err, ErrDiffers) || errors.Is(err, errName) || errors.Is(err, fs.ErrNotExist) && errors.Is(err, errLocal)
}

var (
	errName  = errors.New("not the name of a file in the folder")
	errLocal = errors.New("read what is to be delivered")
)

// session opens one session and carries what is open in it. It reports whether anything
// failed.
func (c *Courier) session(ctx context.Context, p *Parcel, open []int, done func(i int, already bool, err error)) (failed bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stall := time.AfterFunc(c.pace.Stall, cancel)
	defer stall.Stop()
	client, conn, err := c.dial(ctx, p.Target)
	if err != nil {
		for _, i := range open {
			done(i, false, fmt.Errorf("deliver to %v: %w", p.Target.Member, err))
		}
		return true
	}
	defer func() { _ = conn.Close() }() // Every file was waited for.
	end := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer end()
	for _, i := range open {
		stall.Reset(c.pace.Stall)
		already, err := c.carry(ctx, client, p, p.Names[i], stall)
		if err != nil {
			failed = true
			err = fmt.Errorf("deliver %s to %v: %w", p.Names[i], p.Target.Member, err)
		}
		done(i, already, err)
	}
	return failed
}

// carry brings one file and its flag.
func (c *Courier) carry(ctx context.Context, client *sftp.Client, p *Parcel, name string, stall *time.Timer) (already bool, err error) {
	if name == "" || name[0] == '.' || strings.ContainsAny(name, `/\`) || strings.HasSuffix(name, FlagSuffix) || strings.HasSuffix(name, AckSuffix) {
		return false, fmt.Errorf("%q: %w", name, errName)
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("no upload was free: %w", ctx.Err())
	}
	if err := client.MkdirAll(p.Target.Folder); err != nil {
		return false, fmt.Errorf("mkdir %s: %w", p.Target.Folder, err)
	}
	file, err := p.Files.Open(name)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errLocal, err)
	}
	defer func() { _ = file.Close() }() // Only read.
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return false, fmt.Errorf("%w: %w", errLocal, err)
	}
	again, err := p.Files.Open(name)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errLocal, err)
	}
	defer func() { _ = again.Close() }() // As above.
	already, err = put(client, path.Join(p.Target.Folder, name), moving{again, stall, c.pace.Stall}, [sha256.Size]byte(digest.Sum(nil)), stall, c.pace.Stall)
	if err != nil {
		return false, err
	}
	flag := string(files.AppendFlag(nil, name, [sha256.Size]byte(digest.Sum(nil))))
	_, err = put(client, path.Join(p.Target.Folder, name+FlagSuffix), strings.NewReader(flag), sha256.Sum256([]byte(flag)), stall, c.pace.Stall)
	return already, err
}

// moving puts off the end of a session that has not stalled.
type moving struct {
	io.Reader
	stall *time.Timer
	after time.Duration
}

func (m moving) Read(p []byte) (int, error) {
	m.stall.Reset(m.after)
	return m.Reader.Read(p) //nolint:wrapcheck // a reader says what its reader says.
}

// put writes a file under another name and renames it. It leaves a file that is there as
// it is; already says that it has the same bytes.
func put(client *sftp.Client, name string, r io.Reader, digest [sha256.Size]byte, stall *time.Timer, after time.Duration) (already bool, err error) {
	switch same, err := there(client, name, digest, stall, after); {
	case err != nil:
		return false, err
	case same:
		return true, nil
	}
	folder, base := path.Split(name)
	part := folder + "." + base + ".part"
	file, err := client.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return false, fmt.Errorf("create %s: %w", part, err)
	}
	n, err := file.ReadFrom(r)
	if err == nil {
		err = synced(client, file)
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", part, err)
	}
	info, err := client.Stat(part)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", part, err)
	}
	if info.Size() != n {
		return false, fmt.Errorf("%s has %d bytes there, %d were sent", part, info.Size(), n)
	}
	// Somebody may have put it there meanwhile; renaming would overwrite it.
	if same, err := there(client, name, digest, stall, after); err != nil || same {
		return same, err
	}
	if err := client.PosixRename(part, name); err != nil {
		return false, fmt.Errorf("rename %s: %w", part, err)
	}
	return false, nil
}

// synced has the server write the file to its disk, where it has the extension for it.
func synced(client *sftp.Client, file *sftp.File) error {
	if _, can := client.HasExtension("fsync@openssh.com"); !can {
		return nil
	}
	return file.Sync() //nolint:wrapcheck // the caller says which file.
}

// there reports whether the file is there with the digest. With another it is ErrDiffers.
func there(client *sftp.Client, name string, digest [sha256.Size]byte, stall *time.Timer, after time.Duration) (bool, error) {
	file, err := client.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", name, err)
	}
	defer func() { _ = file.Close() }() // Only read.
	found := sha256.New()
	if _, err := file.WriteTo(writing{found, stall, after}); err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	if [sha256.Size]byte(found.Sum(nil)) != digest {
		return false, fmt.Errorf("%s: %w", name, ErrDiffers)
	}
	return true, nil
}

// writing puts off the end of a session as moving does.
type writing struct {
	io.Writer
	stall *time.Timer
	after time.Duration
}

func (w writing) Write(p []byte) (int, error) {
	w.stall.Reset(w.after)
	return w.Writer.Write(p) //nolint:wrapcheck // a writer says what its writer says.
}

// Acks reads what a member has acknowledged of the files, from its own server, once. Files
// without an acknowledgement are left out; one that is not as it must be, or differs from
// what was sent, is in the error of its name.
func (c *Courier) Acks(ctx context.Context, target Target, sent []files.Output) (acked map[string]error, err error) {
	found, err := c.read(ctx, target, sent)
	acked = make(map[string]error)
	for i := range sent {
		said, there := found[sent[i].Name]
		if there && said.err == nil {
			said.err = said.ack.Differs(AckOf(&sent[i]))
		}
		if there {
			acked[sent[i].Name] = said.err
		}
	}
	return acked, err
}

// saying is what stands in an acknowledgement, or that it cannot be read.
type saying struct {
	ack Ack
	err error
}

// read reads the acknowledgements that are there.
func (c *Courier) read(ctx context.Context, target Target, sent []files.Output) (found map[string]saying, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.pace.Stall)
	defer cancel()
	client, conn, err := c.dial(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("acknowledgements of %v: %w", target.Member, err)
	}
	defer func() { _ = conn.Close() }() // Only read.
	end := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer end()
	found = make(map[string]saying)
	for i := range sent {
		file, err := client.Open(path.Join(target.Folder, sent[i].Name+AckSuffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return found, fmt.Errorf("acknowledgements of %v: %w", target.Member, err)
		}
		ack, err := ParseAck(file)
		_ = file.Close() // Only read.
		found[sent[i].Name] = saying{ack, err}
	}
	return found, nil
}
