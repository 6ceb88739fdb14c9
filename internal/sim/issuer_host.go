package sim

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// IssuerHostOptions is how an [IssuerHost] speaks.
type IssuerHostOptions struct {
	Clock points.Clock
	Log   *slog.Logger
	// SignOn makes the issuer sign on (0800/001) when a connection opens, as the
	// side that dials does.
	SignOn bool
	// Echo is the time between two echoes (0800/301) on each connection; 0: none.
	// A connection that left three unanswered is closed.
	Echo time.Duration
	// TLS is spoken on the connections that ln accepts; nil: plain TCP. Those of
	// [DialIssuer] have it already.
	TLS *tls.Config
}

// Bounds of an issuer's host.
const (
	lostEchoes = 3               // unanswered echoes that end a connection
	redial     = time.Second / 4 // least time between two attempts to connect
	farewell   = 2 * time.Second // for connections to end in order when the host stops
	cutTimeout = 5 * time.Second // for the half answer of FaultDisconnect
)

var errNoEcho = errors.New("issuer: echoes were not answered")

// IssuerHost is an [Issuer] at the end of its lines.
type IssuerHost struct {
	issuer  *Issuer
	opts    IssuerHostOptions
	server  *link.Server
	dialect *dialect.Dialect
	stopped chan struct{}  // closed when Serve ends
	later   sync.WaitGroup // answers that are kept back

	mu   sync.Mutex // guards what follows
	open map[*link.Conn]*line
	stan points.STAN
}

// line is what a host remembers of one connection.
type line struct {
	unanswered int // echoes, since anything came
}

// NewIssuerHost makes a host on the connections that ln accepts: those of a
// listener, or those of [DialIssuer]. It closes ln in the end.
func NewIssuerHost(ln net.Listener, issuer *Issuer, opts IssuerHostOptions) (*IssuerHost, error) {
	h := &IssuerHost{issuer: issuer, opts: opts, dialect: dialect.Host(), stopped: make(chan struct{}), open: make(map[*link.Conn]*line)}
	var err error
	if h.server, err = link.NewServer(breakable{ln}, link.Options{Log: opts.Log, TLS: opts.TLS}, h); err != nil {
		return nil, fmt.Errorf("issuer's host: %w", err)
	}
	return h, nil
}

// Serve answers until ctx ends, then closes the connections; answers that are
// still kept back are lost. It returns nil after that.
func (h *IssuerHost) Serve(ctx context.Context) error {
	var beating sync.WaitGroup
	if h.opts.Echo > 0 {
		beating.Go(func() { h.beat(ctx) })
	}
	err := h.server.Serve(ctx)
	close(h.stopped)
	h.later.Wait()
	beating.Wait()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if slow := h.server.Shutdown(ending); slow != nil {
		h.opts.Log.Warn("connections did not end in order", slog.String("error", slow.Error()))
	}
	return err
}

// Open signs on, where it is the host's turn to.
func (h *IssuerHost) Open(c *link.Conn) {
	h.mu.Lock()
	h.open[c] = new(line)
	h.mu.Unlock()
	h.opts.Log.Info("connection opened", slog.String("peer", c.RemoteAddr().String()))
	if h.opts.SignOn {
		h.ask(c, points.SignOn)
	}
}

// Closed forgets a connection.
func (h *IssuerHost) Closed(c *link.Conn, reason error) {
	h.mu.Lock()
	delete(h.open, c)
	h.mu.Unlock()
	h.opts.Log.Info("connection closed", slog.String("peer", c.RemoteAddr().String()), slog.String("cause", reason.Error()))
}

// Frames hands requests to the issuer and delivers what it says to them.
func (h *IssuerHost) Frames(c *link.Conn, frames [][]byte) {
	h.mu.Lock()
	h.open[c].unanswered = 0
	h.mu.Unlock()
	for _, frame := range frames {
		if mti, ok := h.dialect.MTI(frame); ok && dialect.IsAnswer(mti) {
			h.answered(frame)
			c.Drop()
			continue
		}
		h.deliver(c, h.issuer.Receive(h.opts.Clock(), frame))
	}
}

// answered looks at the answer to a message of the host's own.
func (h *IssuerHost) answered(frame []byte) {
	var req points.Request
	var resp points.Response
	if err := h.dialect.DecodeResponse(frame, &req, &resp); err != nil {
		h.opts.Log.Warn("an answer cannot be read", slog.String("error", err.Error()))
	} else if !resp.Reason.Approved() {
		h.opts.Log.Warn("the switch refused", slog.String("stan", req.STAN.String()), slog.String("code", resp.Reason.DE39()))
	}
}

// deliver sends an answer as its fault wants it.
func (h *IssuerHost) deliver(c *link.Conn, d Delivery) {
	if d.Fault != 0 {
		h.opts.Log.Info("fault", slog.String("fault", d.Fault.String()), slog.String("peer", c.RemoteAddr().String()))
	}
	switch {
	case d.Frame == nil:
		c.Drop()
	case d.Cut:
		c.Drop()
		if err := cut(c, d.Frame); err != nil {
			h.opts.Log.Warn("half an answer was not sent", slog.String("error", err.Error()))
		}
	case d.After > 0:
		c.Drop() // So that what is kept back holds nothing up.
		h.later.Go(func() { h.send(c, d) })
	default:
		c.Reply(func(dst []byte) []byte { return append(dst, d.Frame...) })
		d.Copies--
		h.send(c, d)
	}
}

// send sends what is left of a delivery when its time has come.
func (h *IssuerHost) send(c *link.Conn, d Delivery) {
	if d.After > 0 {
		timer := time.NewTimer(d.After)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-h.stopped:
			return
		}
	}
	for range d.Copies {
		if err := c.Send(func(dst []byte) []byte { return append(dst, d.Frame...) }); err != nil {
			h.opts.Log.Info("an answer found no connection", slog.String("error", err.Error()))
			return
		}
	}
}

// ask sends a network message of the host's own.
func (h *IssuerHost) ask(c *link.Conn, function points.Function) {
	h.mu.Lock()
	h.stan = h.stan%MaxSTAN + 1
	stan := h.stan
	h.mu.Unlock()
	id := points.AcquirerID(h.issuer.book.id)
	req := points.Request{Function: function, STAN: stan, Transmission: transmission(h.opts.Clock()), Acquirer: id, Forwarder: id}
	frame, err := h.dialect.AppendRequest(nil, &req)
	if err == nil {
		err = c.Send(func(dst []byte) []byte { return append(dst, frame...) })
	}
	if err != nil {
		h.opts.Log.Warn("a message was not sent", slog.String("function", function.String()), slog.String("error", err.Error()))
	}
}

// transmission is DE7 of now, MMDDhhmmss in UTC.
func transmission(now points.Timestamp) uint64 {
	t := now.Time()
	hour, minute, second := t.Clock()
	return uint64(points.DateOf(t).MMDD())*1_000_000 + uint64(hour*10000+minute*100+second) //nolint:gosec // at most 235959.
}

// beat sends an echo on every connection from time to time.
func (h *IssuerHost) beat(ctx context.Context) {
	tick := time.NewTicker(h.opts.Echo)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range h.due() {
			h.ask(c, points.Echo)
		}
	}
}

// due returns the connections to send an echo on; one that is silent for too long
// is closed.
func (h *IssuerHost) due() []*link.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*link.Conn
	for c, l := range h.open {
		if l.unanswered == lostEchoes {
			c.Close(errNoEcho)
			continue
		}
		l.unanswered++
		all = append(all, c)
	}
	return all
}

// breakable is a listener whose connections can be broken in mid-frame.
type breakable struct{ net.Listener }

// Accept returns a connection as a [wire].
func (b breakable) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wire{Conn: conn}, nil
}

// wire is a connection under package link, which writes whole frames only.
type wire struct {
	net.Conn
	mu sync.Mutex // held while something is written
}

// Write writes whole frames.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Conn.Write(b)
}

// RemoteAddr is the peer's address, by which the wire is found again.
func (w *wire) RemoteAddr() net.Addr { return end{w.Conn.RemoteAddr(), w} }

// end is an address that knows its wire.
type end struct {
	net.Addr
	wire *wire
}

// cut writes half of a frame, length included, and closes the connection.
func cut(c *link.Conn, frame []byte) error {
	at, ok := c.RemoteAddr().(end)
	if !ok {
		panic("sim: an issuer's connection that it did not accept") //nolint:forbidigo // NewIssuerHost wraps every listener.
	}
	w := at.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	half := append(binary.BigEndian.AppendUint16(nil, uint16(len(frame))), frame[:len(frame)/2]...) //nolint:gosec // at most dialect.MaxFrame.
	err := w.SetWriteDeadline(time.Now().Add(cutTimeout))
	if err == nil {
		_, err = w.Conn.Write(half)
	}
	return errors.Join(err, w.Close())
}

// DialIssuer returns a listener that accepts from the other end: it keeps one
// connection to address, dialling again whenever it ends, until it is closed.
func DialIssuer(address string) net.Listener { return DialIssuerTLS(address, nil) }

// DialIssuerTLS is [DialIssuer] over TLS; secure nil: plain TCP.
func DialIssuerTLS(address string, secure *tls.Config) net.Listener {
	return &dialler{address: address, secure: secure, closed: make(chan struct{}), idle: make(chan struct{}, 1)}
}

// dialler is a listener that dials.
type dialler struct {
	address string
	secure  *tls.Config // nil: plain TCP
	once    sync.Once
	closed  chan struct{}
	idle    chan struct{} // holds one when the last connection has ended
	dialled bool          // of the goroutine that accepts
}

// Accept waits for the last connection to end and returns the next.
func (d *dialler) Accept() (net.Conn, error) {
	if d.dialled {
		select {
		case <-d.idle:
		case <-d.closed:
			return nil, net.ErrClosed
		}
		pause := time.NewTimer(redial)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-d.closed:
			return nil, net.ErrClosed
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // Ends with the call, or ends it.
		select {
		case <-d.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", d.address, err)
	}
	if d.secure != nil {
		session := tls.Client(conn, d.secure)
		if err := session.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("dial %s: %w", d.address, err), conn.Close())
		}
		conn = session
	}
	d.dialled = true
	return &dialled{Conn: conn, ended: func() { d.idle <- struct{}{} }}, nil
}

// Close ends Accept; the connection that is open stays.
func (d *dialler) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// Addr is where the connections go.
func (d *dialler) Addr() net.Addr { return dialledAddr(d.address) }

type dialledAddr string

// Network is tcp.
func (dialledAddr) Network() string { return "tcp" }

// String is the address.
func (a dialledAddr) String() string { return string(a) }

// dialled is a connection that tells its end, once.
type dialled struct {
	net.Conn
	once  sync.Once
	ended func()
}

// Close closes the connection and lets the next be dialled.
func (d *dialled) Close() error {
	err := d.Conn.Close()
	d.once.Do(d.ended)
	return err
}
