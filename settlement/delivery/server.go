package delivery

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/tariff"
)

// Limits bound what members can ask of the server.
type Limits struct {
	Connections int           // at the same time, of all
	PerMember   int           // of one member
	Handles     int           // open files and folders of one connection
	Handshake   time.Duration // until a member is known
	Idle        time.Duration // without a byte either way
	Session     time.Duration // a connection in all
}

// DefaultLimits suit some hundred members.
func DefaultLimits() Limits {
	return Limits{Connections: 256, PerMember: 4, Handles: 64, Handshake: 15 * time.Second, Idle: 2 * time.Minute, Session: 2 * time.Hour}
}

// Account is a member that may fetch: the folder that it sees, and the keys that open it.
type Account struct {
	Member tariff.Member
	Folder string
	Keys   []ssh.PublicKey
}

// Hears is told what members do. It is called from several goroutines.
type Hears struct {
	// Acked is told of an acknowledgement that a member has dropped, once it is kept. Where
	// it returns an error the acknowledgement is refused, and the member's program says so.
	Acked func(member tariff.Member, name string, ack Ack) error
	// Fetched is told of a file that a member has read to its end.
	Fetched func(member tariff.Member, name string)
}

// Server lets members fetch their files by SFTP. A member's user name is its number, in
// eight digits.
type Server struct {
	config *ssh.ServerConfig
	limits Limits
	hears  Hears
	log    *slog.Logger

	refused refusals

	mu       sync.Mutex // guards what follows
	accounts map[string]*Account
	count    map[string]int // connections by member
	open     map[*session]bool
}

// session is a member that is connected, and the key with which it has come.
type session struct {
	conn   net.Conn
	user   string
	public string // key, as SSH writes it
}

// errRefused is all that a stranger is told.
var errRefused = errors.New("no such member or key")

// NewServer returns a server with its host key.
func NewServer(host ssh.Signer, accounts []Account, limits Limits, hears Hears, log *slog.Logger) (*Server, error) {
	if limits.Connections < 1 || limits.PerMember < 1 || limits.Handles < 1 || limits.Handshake <= 0 || limits.Idle <= 0 || limits.Session <= 0 {
		return nil, fmt.Errorf("delivery: limits %+v: every one has to be above zero", limits)
	}
	byUser, err := accountsByUser(accounts)
	if err != nil {
		return nil, err
	}
	s := &Server{accounts: byUser, limits: limits, hears: hears, log: log, count: make(map[string]int), open: make(map[*session]bool)}
	s.config = &ssh.ServerConfig{
		MaxAuthTries:      6, // A member's agent may offer several keys.
		ServerVersion:     "SSH-2.0-lianfen",
		PublicKeyCallback: s.authenticate,
	}
	s.config.AddHostKey(host)
	return s, nil
}

func accountsByUser(accounts []Account) (map[string]*Account, error) {
	byUser := make(map[string]*Account, len(accounts))
	for i := range accounts {
		a := &accounts[i]
		if !a.Member.Institution() || len(a.Keys) == 0 || byUser[a.Member.String()] != nil {
			return nil, fmt.Errorf("delivery: member %v: want an institution, once, with at least one key", a.Member)
		}
		byUser[a.Member.String()] = a
	}
	return byUser, nil
}

// Renew puts other accounts in force. Who is connected with a key that opens nothing any
// more is cut off in the middle of whatever it does; it returns how many were.
func (s *Server) Renew(accounts []Account) (closed int, err error) {
	byUser, err := accountsByUser(accounts)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts = byUser
	for o := range s.open {
		if s.admits(o.user, []byte(o.public)) == nil {
			closed++
			_ = o.conn.Close() // It may have ended by itself.
		}
	}
	return closed, nil
}

// admits is the account that a key opens; nil: none. The caller holds s.mu.
func (s *Server) admits(user string, key []byte) *Account {
	account := s.accounts[user]
	if account == nil {
		return nil
	}
	for _, known := range account.Keys {
		if subtle.ConstantTimeCompare(known.Marshal(), key) == 1 {
			return account
		}
	}
	return nil
}

// keyExtension is where a connection keeps the key with which it has come.
const keyExtension = "key@lianfen"

// authenticate looks for the key among the member's.
func (s *Server) authenticate(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admits(conn.User(), key.Marshal()) == nil {
		return nil, errRefused
	}
	return &ssh.Permissions{Extensions: map[string]string{keyExtension: string(key.Marshal())}}, nil
}

// Serve accepts connections until ctx is done or the listener fails, and returns when the
// last one has ended.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // Ends the connections, before they are waited for.
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	slots := make(chan struct{}, s.limits.Connections)
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("delivery: %w", err)
		}
		select {
		case slots <- struct{}{}:
			all.Go(func() {
				defer func() { <-slots }()
				s.connection(ctx, conn)
			})
		default:
			_ = conn.Close() // As many as there may be are there.
		}
	}
}

// watched is a connection that ends when nothing moves, or its time is over.
type watched struct {
	net.Conn
	idle time.Duration
	end  time.Time
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.SetReadDeadline(w.deadline()); err != nil {
		return 0, err //nolint:wrapcheck // a connection says what its connection says.
	}
	return w.Conn.Read(p) //nolint:wrapcheck // as above.
}

func (w *watched) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(w.deadline()); err != nil {
		return 0, err //nolint:wrapcheck // as above.
	}
	return w.Conn.Write(p) //nolint:wrapcheck // as above.
}

// deadline is when the connection ends if nothing moves any more.
func (w *watched) deadline() time.Time {
	next := time.Now().Add(w.idle) //nolint:forbidigo // deadlines of sockets are of the machine's clock.
	if next.After(w.end) {
		return w.end
	}
	return next
}

// connection serves one connection to its end.
func (s *Server) connection(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }() // It may have ended by itself.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	began := time.Now() //nolint:forbidigo // deadlines of sockets are of the machine's clock.
	guard := time.AfterFunc(s.limits.Handshake, func() { _ = conn.Close() })
	shell, channels, requests, err := ssh.NewServerConn(&watched{conn, s.limits.Idle, began.Add(s.limits.Session)}, s.config)
	guard.Stop()
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelInfo, "sftp_refused", slog.String("from", conn.RemoteAddr().String()), slog.String("why", err.Error()))
		return
	}
	defer func() { _ = shell.Close() }() // As above.
	who := &session{conn: conn, user: shell.User(), public: shell.Permissions.Extensions[keyExtension]}
	account := s.enter(who)
	if account == nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "sftp_connections", slog.String("member", who.user), slog.Int("limit", s.limits.PerMember))
		return
	}
	defer s.leave(who)
	go ssh.DiscardRequests(requests) // It ends with the session.
	for channel := range channels {
		if channel.ChannelType() != "session" {
			_ = channel.Reject(ssh.UnknownChannelType, "sftp only") // The peer is gone or told.
			continue
		}
		// One after the other: a member that wants two at a time connects twice.
		s.channel(ctx, account, channel)
	}
}

// enter counts a connection. There is none where the member has as many as it may, or its
// key was taken away since it was asked for.
func (s *Server) enter(who *session) *Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	account := s.admits(who.user, []byte(who.public))
	if account == nil || s.count[who.user] >= s.limits.PerMember {
		return nil
	}
	s.count[who.user]++
	s.open[who] = true
	return account
}

func (s *Server) leave(who *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, who)
	if s.count[who.user]--; s.count[who.user] == 0 {
		delete(s.count, who.user)
	}
}

// channel serves SFTP on one channel, and nothing else: no shell, no command.
func (s *Server) channel(ctx context.Context, account *Account, offered ssh.NewChannel) {
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	defer func() { _ = channel.Close() }() // It may be closed.
	for request := range requests {
		wanted := struct{ Name string }{}
		ok := request.Type == "subsystem" && ssh.Unmarshal(request.Payload, &wanted) == nil && wanted.Name == "sftp"
		if request.WantReply {
			_ = request.Reply(ok, nil) // The peer is gone or told.
		}
		if ok {
			break
		}
	}
	go ssh.DiscardRequests(requests) // It ends with the channel.
	root, err := os.OpenRoot(account.Folder)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "sftp_folder", slog.String("member", account.Member.String()), slog.String("error", err.Error()))
		return
	}
	defer func() { _ = root.Close() }() // Only read.
	h := &handlers{server: s, member: account.Member, root: root}
	server := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h})
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		s.log.LogAttrs(ctx, slog.LevelInfo, "sftp_ended", slog.String("member", account.Member.String()), slog.String("why", err.Error()))
	}
}

// handlers answer one channel. Everything goes through root, which nothing leads out of,
// no name and no link.
type handlers struct {
	server *Server
	member tariff.Member
	root   *os.Root
	open   atomic.Int64
}

// inside is the name of a path of SFTP in the member's folder. What begins with a dot is
// under way and nobody's.
func inside(filepath string) (string, bool) {
	name := strings.TrimPrefix(path.Clean("/"+filepath), "/")
	if name == "" {
		return ".", true
	}
	for part := range strings.SplitSeq(name, "/") {
		if part[0] == '.' {
			return "", false
		}
	}
	return name, true
}

// take counts a handle.
func (h *handlers) take() bool {
	if h.open.Add(1) > int64(h.server.limits.Handles) {
		h.open.Add(-1)
		return false
	}
	return true
}

func (h *handlers) give() { h.open.Add(-1) }

// handle is an open file.
type handle struct {
	*os.File
	give  func()
	once  sync.Once
	ended func() // at its end; nil: nobody wants to know
	told  sync.Once
}

// ReadAt reads, and tells when the end was seen.
func (f *handle) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	if errors.Is(err, io.EOF) && f.ended != nil {
		f.told.Do(f.ended)
	}
	return n, err //nolint:wrapcheck // the library turns it into a status.
}

// Close gives the file's place back, once.
func (f *handle) Close() error {
	f.once.Do(f.give)
	return f.File.Close() //nolint:wrapcheck // the library turns it into a status.
}

// Fileread opens a file for reading.
func (h *handlers) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	name, ok := inside(r.Filepath)
	if !ok {
		return nil, sftp.ErrSSHFxNoSuchFile
	}
	if !h.take() {
		return nil, sftp.ErrSSHFxFailure
	}
	file, err := h.root.Open(name)
	if err != nil {
		if content, _, ok := h.virtual(name); ok {
			return &text{Reader: bytes.NewReader(content), give: h.give}, nil
		}
		h.give()
		return nil, status(err)
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		h.give()
		_ = file.Close() // Nothing was read.
		return nil, sftp.ErrSSHFxPermissionDenied
	}
	opened := &handle{File: file, give: h.give}
	if tell := h.server.hears.Fetched; tell != nil {
		opened.ended = func() { tell(h.member, name) }
	}
	return opened, nil
}

// status says no more of an error than SFTP has words for: no path of ours.
func status(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sftp.ErrSSHFxNoSuchFile
	case errors.Is(err, fs.ErrPermission):
		return sftp.ErrSSHFxPermissionDenied
	}
	return sftp.ErrSSHFxFailure
}

// Filewrite takes an acknowledgement of a file that is there, and nothing else.
func (h *handlers) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	name, ok := inside(r.Filepath)
	of, isAck := strings.CutSuffix(name, AckSuffix)
	if !ok || !isAck || strings.HasSuffix(of, AckSuffix) || r.Pflags().Append {
		return nil, sftp.ErrSSHFxPermissionDenied
	}
	if info, err := h.root.Stat(of); err != nil || !info.Mode().IsRegular() {
		return nil, sftp.ErrSSHFxPermissionDenied
	}
	if !h.take() {
		return nil, sftp.ErrSSHFxFailure
	}
	return &drop{handlers: h, name: name, of: of}, nil
}

// drop is an acknowledgement that is being written: in memory until it is whole and right.
type drop struct {
	*handlers
	name, of string
	mu       sync.Mutex
	text     []byte
	lost     bool
	once     sync.Once
}

// WriteAt takes a piece. One that makes it longer than a line is refused.
func (d *drop) WriteAt(p []byte, at int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at < 0 || at > maxAck || int(at)+len(p) > maxAck {
		d.lost = true
		return 0, sftp.ErrSSHFxFailure
	}
	if need := int(at) + len(p); need > len(d.text) {
		d.text = append(d.text, make([]byte, need-len(d.text))...)
	}
	return copy(d.text[at:], p), nil
}

// TransferError is told that the connection broke.
func (d *drop) TransferError(error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = true
}

// Close keeps the acknowledgement, if it can be read and none with other content is there.
func (d *drop) Close() error {
	d.once.Do(d.give)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost {
		return sftp.ErrSSHFxFailure
	}
	d.lost = true // Once.
	ack, err := ParseAck(bytes.NewReader(d.text))
	if err == nil {
		err = d.keep()
	}
	if err == nil && d.server.hears.Acked != nil {
		if err = d.server.hears.Acked(d.member, d.of, ack); err != nil {
			_ = d.root.Remove(d.name) // So that it can be dropped again.
		}
	}
	if err == nil {
		d.server.refused.forget(d.member, d.name)
		return nil
	}
	d.server.log.Warn("sftp_ack", slog.String("member", d.member.String()), slog.String("file", d.of), slog.String("refused", err.Error()))
	if ofOurs(err) {
		return sftp.ErrSSHFxFailure // It is our disk, and nothing of the member's.
	}
	// The answer has the reason too; OpenSSH's client does not show it, but it can read the file.
	why := refusedFor(d.name, err)
	d.server.refused.note(d.member, d.name, why)
	return errors.New(why)
}

// ofOurs reports whether an error is of our own disk, and tells of paths that are nobody else's.
func ofOurs(err error) bool {
	_, opened := errors.AsType[*fs.PathError](err)
	_, moved := errors.AsType[*os.LinkError](err)
	return opened || moved || errors.Is(err, errKeep)
}

// errKeep is a fault of our own disk.
var errKeep = errors.New("keep an acknowledgement")

// keep writes the acknowledgement into the member's folder.
func (d *drop) keep() error {
	if before, err := d.root.ReadFile(d.name); err == nil {
		if !bytes.Equal(before, d.text) {
			return errors.New("another acknowledgement of the file is there")
		}
		return nil
	}
	folder, base := path.Split(d.name)
	part := folder + "." + base + ".part"
	file, err := d.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errKeep, d.name, err)
	}
	_, err = file.Write(d.text)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = d.root.Rename(part, d.name)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errKeep, d.name, err)
	}
	return nil
}

// Filecmd refuses whatever would change something.
func (h *handlers) Filecmd(*sftp.Request) error { return sftp.ErrSSHFxPermissionDenied }

// list is an open folder, or the one entry of a file.
type list struct {
	entries []fs.FileInfo
	give    func()
	once    sync.Once
}

// ListAt fills dst from the entries behind the first at.
func (l *list) ListAt(dst []fs.FileInfo, at int64) (int, error) {
	if at >= int64(len(l.entries)) {
		return 0, io.EOF
	}
	n := copy(dst, l.entries[at:])
	if n < len(dst) {
		return n, io.EOF
	}
	return n, nil
}

// Close gives the handle back.
func (l *list) Close() error {
	l.once.Do(l.give)
	return nil
}

// maxEntries is how many files of a folder are listed.
const maxEntries = 100_000

// Filelist lists a folder or looks at a file.
func (h *handlers) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	name, ok := inside(r.Filepath)
	if !ok {
		return nil, sftp.ErrSSHFxNoSuchFile
	}
	if r.Method != "List" {
		info, err := h.root.Lstat(name)
		if err != nil {
			if _, info, ok := h.virtual(name); ok {
				return &list{entries: []fs.FileInfo{info}, give: func() {}}, nil
			}
			return nil, status(err)
		}
		return &list{entries: []fs.FileInfo{info}, give: func() {}}, nil
	}
	if !h.take() {
		return nil, sftp.ErrSSHFxFailure
	}
	entries, err := h.read(name)
	if err != nil {
		h.give()
		return nil, status(err)
	}
	return &list{entries: entries, give: h.give}, nil
}

func (h *handlers) read(name string) ([]fs.FileInfo, error) {
	folder, err := h.root.Open(name)
	if err != nil {
		return nil, err //nolint:wrapcheck // it becomes a status.
	}
	defer func() { _ = folder.Close() }() // Only read.
	infos, err := folder.Readdir(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err //nolint:wrapcheck // as above.
	}
	shown := infos[:0]
	for _, info := range infos {
		if info.Name()[0] != '.' && (info.IsDir() || info.Mode().IsRegular()) {
			shown = append(shown, info)
		}
	}
	return append(shown, h.beside(name, shown)...), nil
}
