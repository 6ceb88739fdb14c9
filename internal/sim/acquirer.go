package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Acquirer is an acquirer's host at the end of a connection. It does one thing after the
// other and is used by one goroutine.
type Acquirer struct {
	ID   points.AcquirerID
	STAN points.STAN // the last trace number used
	Keys *HostKeys   // nil: it shares none

	conn    net.Conn
	dialect *dialect.Dialect
	clock   points.Clock
}

// NewAcquirer makes a host on a connection to the switch.
func NewAcquirer(conn net.Conn, id points.AcquirerID, keys *HostKeys, clock points.Clock) *Acquirer {
	return &Acquirer{ID: id, Keys: keys, conn: conn, dialect: dialect.Host(), clock: clock}
}

// Next prepares a request under the next trace number.
func (a *Acquirer) Next(function points.Function) points.Request {
	a.STAN = a.STAN%MaxSTAN + 1
	return points.Request{Function: function, STAN: a.STAN, Transmission: transmission(a.clock()), Acquirer: a.ID, Door: points.DoorHost}
}

// ChangeKeys asks the switch for keys and takes them.
func (a *Acquirer) ChangeKeys(ctx context.Context) error {
	if a.Keys == nil {
		return errors.New("acquirer: it shares no keys")
	}
	req := a.Next(points.KeyChange)
	receipt, err := a.Send(ctx, &req)
	if err != nil {
		return err
	}
	if !receipt.Response.Reason.Approved() {
		return fmt.Errorf("acquirer: the change of keys is refused: %s", receipt.Response.Reason.DE39())
	}
	return a.Keys.take([]byte(receipt.Response.List), []byte(receipt.Response.Check))
}

// Send sends req, with a MAC where there are keys, and returns what it is answered. An
// answer to it without a right MAC is [ErrForged]; one that refuses the request's own MAC
// has none.
func (a *Acquirer) Send(ctx context.Context, req *points.Request) (*Receipt, error) {
	if err := a.dialect.Complete(req); err != nil {
		return nil, fmt.Errorf("acquirer: %w", err)
	}
	signs := a.Keys != nil && a.Keys.now.mac != nil && (req.Class != points.ClassNetwork || req.Function == points.KeyChange)
	if signs {
		req.Mark(64)
	}
	frame, err := a.dialect.AppendRequest(nil, req)
	if err != nil {
		return nil, fmt.Errorf("acquirer: %w", err)
	}
	if signs {
		a.dialect.Sign(frame, req, a.Keys.now.mac)
	}
	got, err := a.roundTrip(ctx, frame)
	if err != nil {
		return nil, fmt.Errorf("acquirer: %w", err)
	}
	receipt := &Receipt{Request: *req, Sent: frame, Got: got}
	var echoed points.Request
	if err := a.dialect.DecodeResponse(got, &echoed, &receipt.Response); err != nil {
		return nil, fmt.Errorf("acquirer: the answer to %v: %w", req.Function, err)
	}
	if signs && receipt.Response.Reason != points.BadMAC {
		if _, ok := a.Keys.verify(a.dialect, got, &echoed); !ok {
			return nil, fmt.Errorf("acquirer: the answer to %v: %w", req.Function, ErrForged)
		}
	}
	return receipt, matches(req, &echoed)
}

func (a *Acquirer) roundTrip(ctx context.Context, body []byte) ([]byte, error) {
	if err := a.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = a.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...) //nolint:gosec // at most dialect.MaxFrame.
	if _, err := a.conn.Write(frame); err != nil {
		return nil, err
	}
	return readFrame(a.conn)
}
