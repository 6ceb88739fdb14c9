package link

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Options bounds the connections of a [Server] or of a [Dial]. The zero value of
// every field means its default.
type Options struct {
	// MaxFrame is the longest body in bytes, the length prefix not counted,
	// both ways: 1 to 65,535; 4,096 by default (the bound of the POS convention).
	MaxFrame int
	// MaxInFlight is how many frames of one connection may be unanswered before
	// it is no longer read; 256 by default.
	MaxInFlight int
	// MaxPending is how many bytes may wait to be written to one connection,
	// those in the hands of the network included; at least MaxFrame + 2,
	// 1 MiB by default.
	MaxPending int
	// MaxConnections is how many connections a server keeps open, handshakes
	// included; one more is accepted, closed at once and counted. 10,000 by
	// default. It has no meaning for [Dial].
	MaxConnections int

	// MaxPerSource is how many of them one source may have: an IPv4 address, or the
	// /64 of an IPv6 address, which is what one subscriber is given. 0: no limit.
	MaxPerSource int
	// Identify tells who the peer of a TLS session is, in the caller's words; "" is
	// nobody in particular. Nil: everybody is. See [Conn.Identity].
	Identify func(*tls.ConnectionState) string
	// MaxPerIdentity is how many connections one identity may have; 0: no limit.
	MaxPerIdentity int

	// HalfFrame is the time from the first byte of a frame to its last; 30 s by default.
	HalfFrame time.Duration
	// Idle is how long a peer may send nothing while nothing is in flight;
	// 5 minutes by default.
	Idle time.Duration
	// FirstFrame is the time from Open to the end of the first frame; as long as Idle
	// by default.
	FirstFrame time.Duration
	// Write is the time in which a peer takes what one write hands to it; 10 s by
	// default. It bounds the whole write, so that reading a byte a second does
	// not prolong it.
	Write time.Duration
	// Handshake is the time for a TLS handshake; 10 s by default.
	Handshake time.Duration
	// Drain is the time that frames in flight get to be answered once a
	// connection is no longer read; 30 s by default.
	Drain time.Duration

	// TLS turns TLS on. A server needs certificates in it; Dial takes the name
	// to verify from the address if ServerName is empty. It is not changed.
	TLS *tls.Config
	// Admit tells who is at the other end of a TLS session, for [Conn.Peer]; an error
	// refuses the connection. Nil: nobody asks.
	Admit func(*tls.ConnectionState) (any, error)
	// Refused hears why a handshake came to nothing; nil: nobody does.
	Refused func(error)
	// Peer is what [Conn.Peer] says where there is no TLS.
	Peer any
	// Metrics counts what happens; nil counts where nobody looks.
	Metrics *Metrics
	// Log hears of what no connection can be told: a failing accept, refused
	// connections (once until one is accepted again), failed handshakes. Nil is
	// silent.
	Log *slog.Logger

	// ID is the [Conn.ID] of a dialled connection. A server numbers its
	// connections itself.
	ID uint64
}

// Defaults of [Options].
const (
	DefaultMaxFrame       = 4096
	DefaultMaxInFlight    = 256
	DefaultMaxPending     = 1 << 20
	DefaultMaxConnections = 10_000
	DefaultHalfFrame      = 30 * time.Second
	DefaultIdle           = 5 * time.Minute
	DefaultWrite          = 10 * time.Second
	DefaultHandshake      = 10 * time.Second
	DefaultDrain          = 30 * time.Second
)

// prefixSize is the length in front of a frame, in bytes.
const prefixSize = 2

// complete returns o with its defaults filled in, or [ErrOptions] naming the
// first option that is out of its range.
func (o Options) complete() (*Options, error) {
	for _, n := range []struct {
		name     string
		value    *int
		standard int
		least    int
		most     int
	}{
		{"MaxFrame", &o.MaxFrame, DefaultMaxFrame, 1, math.MaxUint16},
		{"MaxInFlight", &o.MaxInFlight, DefaultMaxInFlight, 1, math.MaxInt32},
		{"MaxPending", &o.MaxPending, DefaultMaxPending, 1 + prefixSize, math.MaxInt32},
		{"MaxConnections", &o.MaxConnections, DefaultMaxConnections, 1, math.MaxInt32},
	} {
		if *n.value == 0 {
			*n.value = n.standard
		}
		if *n.value < n.least || *n.value > n.most {
			return nil, fmt.Errorf("%w: %s is %d, want %d to %d", ErrOptions, n.name, *n.value, n.least, n.most)
		}
	}
	if o.MaxPending < o.MaxFrame+prefixSize {
		return nil, fmt.Errorf("%w: MaxPending is %d, want room for one frame, %d at least",
			ErrOptions, o.MaxPending, o.MaxFrame+prefixSize)
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"HalfFrame", &o.HalfFrame, DefaultHalfFrame},
		{"Idle", &o.Idle, DefaultIdle},
		{"Write", &o.Write, DefaultWrite},
		{"Handshake", &o.Handshake, DefaultHandshake},
		{"Drain", &o.Drain, DefaultDrain},
	} {
		if *d.value == 0 {
			*d.value = d.standard
		}
		if *d.value < 0 {
			return nil, fmt.Errorf("%w: %s is %v, want more than 0", ErrOptions, d.name, *d.value)
		}
	}
	if o.FirstFrame == 0 {
		o.FirstFrame = o.Idle
	}
	if o.FirstFrame < 0 || o.MaxPerSource < 0 || o.MaxPerIdentity < 0 {
		return nil, fmt.Errorf("%w: FirstFrame %v, MaxPerSource %d, MaxPerIdentity %d, want none below 0",
			ErrOptions, o.FirstFrame, o.MaxPerSource, o.MaxPerIdentity)
	}
	if o.Metrics == nil {
		o.Metrics = newMetrics()
	}
	if o.Refused == nil {
		o.Refused = func(error) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &o, nil
}
