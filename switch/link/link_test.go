package link_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/switch/link"
)

// serve runs a server on a free loopback port for the length of the test.
func serve(t testing.TB, opts link.Options, handler link.Handler) *link.Server {
	t.Helper()
	s, err := link.Listen(t.Context(), "127.0.0.1:0", opts, handler)
	require.NoError(t, err)
	run(t, s)
	return s
}

// run serves until the test ends.
func run(t testing.TB, s *link.Server) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // Nothing that a test left open is waited for.
		if err := s.Shutdown(ctx); err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.NoError(t, <-served)
	})
}

// identities makes a certificate for localhost and the two sides' configurations
// of mutual TLS with it.
func identities(t testing.TB) (server, peer *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "terminal 12345678"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}
	server = &tls.Config{
		Certificates: own, ClientCAs: roots,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
	peer = &tls.Config{
		Certificates: own, RootCAs: roots,
		ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13,
	}
	return server, peer
}

// handlerFuncs is a handler of functions; a missing Frames drops every frame.
type handlerFuncs struct {
	open   func(c *link.Conn)
	frames func(c *link.Conn, frames [][]byte)
	closed func(c *link.Conn, reason error)
}

func (h handlerFuncs) Open(c *link.Conn) {
	if h.open != nil {
		h.open(c)
	}
}

func (h handlerFuncs) Frames(c *link.Conn, frames [][]byte) {
	if h.frames != nil {
		h.frames(c, frames)
		return
	}
	for range frames {
		c.Drop()
	}
}

func (h handlerFuncs) Closed(c *link.Conn, reason error) {
	if h.closed != nil {
		h.closed(c, reason)
	}
}

// body returns a function for Reply and Send that appends b.
func body(b []byte) func([]byte) []byte {
	return func(dst []byte) []byte { return append(dst, b...) }
}

// framed returns bodies behind their lengths, as they go over the wire.
func framed(bodies ...string) []byte {
	var s []byte
	for _, b := range bodies {
		s = binary.BigEndian.AppendUint16(s, uint16(len(b)))
		s = append(s, b...)
	}
	return s
}

// nextFrame reads one frame.
func nextFrame(t testing.TB, r io.Reader) string {
	t.Helper()
	var prefix [2]byte
	_, err := io.ReadFull(r, prefix[:])
	require.NoError(t, err)
	frame := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	_, err = io.ReadFull(r, frame)
	require.NoError(t, err)
	return string(frame)
}

// pipes is a listener of connections within the process, for tests under a fake
// clock.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes {
	return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return new(net.TCPAddr) }

// dial connects a peer.
func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.accept <- there
	return here
}

// ending is what Closed was told, and when.
type ending struct {
	reason error
	at     time.Time
}

// station is a server within the process whose connections' frames the test
// finishes itself.
type station struct {
	*link.Server
	pipes  *pipes
	opened chan *link.Conn
	taken  chan string
	ended  chan ending
}

// newStation serves until the test's bubble ends.
func newStation(t *testing.T, opts link.Options) *station {
	s := &station{
		pipes:  newPipes(),
		opened: make(chan *link.Conn, 100),
		taken:  make(chan string, 10_000),
		ended:  make(chan ending, 100),
	}
	server, err := link.NewServer(s.pipes, opts, handlerFuncs{
		open: func(c *link.Conn) { s.opened <- c },
		frames: func(_ *link.Conn, frames [][]byte) {
			for _, frame := range frames {
				s.taken <- string(frame)
			}
		},
		closed: func(_ *link.Conn, reason error) { s.ended <- ending{reason, time.Now()} },
	})
	require.NoError(t, err)
	s.Server = server
	run(t, server)
	return s
}

// connect returns both ends of a new connection.
func (s *station) connect(t *testing.T) (net.Conn, *link.Conn) {
	peer := s.pipes.dial()
	t.Cleanup(func() { hangUp(peer) })
	return peer, <-s.opened
}

// write sends bytes and fails the test if they are not taken.
func write(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	_, err := w.Write(b)
	require.NoError(t, err)
}

// logTo returns a logger that writes to w.
func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// hangUp ends a peer. It may have been let go before, so an error says nothing.
func hangUp(c io.Closer) { _ = c.Close() }
