package link

import "errors"

// The reasons for which a connection ends. The error that [Handler.Closed] gets
// wraps one of them, or is the reason that the handler gave itself.
var (
	// ErrPeerClosed says that the peer ended its stream between two frames.
	ErrPeerClosed = errors.New("link: the peer closed the connection")
	// ErrTruncated says that the peer ended its stream within a frame.
	ErrTruncated = errors.New("link: the stream ended within a frame")
	// ErrFrameEmpty says that a peer announced a frame of no bytes.
	ErrFrameEmpty = errors.New("link: a frame of length 0")
	// ErrFrameTooLong says that a peer announced more than Options.MaxFrame.
	ErrFrameTooLong = errors.New("link: a frame over the bound")
	// ErrHalfFrame says that a frame began and was not complete within
	// Options.HalfFrame.
	ErrHalfFrame = errors.New("link: a frame did not become complete in time")
	// ErrIdle says that nothing was in flight and nothing came within
	// Options.Idle.
	ErrIdle = errors.New("link: nothing came for too long")
	// ErrSlowPeer says that a peer did not take what was written to it within
	// Options.Write.
	ErrSlowPeer = errors.New("link: the peer does not read")
	// ErrBacklog says that more than Options.MaxPending bytes would wait to be
	// written.
	ErrBacklog = errors.New("link: too many bytes wait to be written")
	// ErrDrain says that answers were still owed when Options.Drain was over.
	ErrDrain = errors.New("link: answers were still owed when the time to drain was over")
	// ErrNetwork says that reading or writing failed, with the cause.
	ErrNetwork = errors.New("link: network")
	// ErrHandshake says that no TLS session came about, with the cause.
	ErrHandshake = errors.New("link: TLS handshake")
	// ErrTooManyConnections says that a connection was refused because
	// Options.MaxConnections were open.
	ErrTooManyConnections = errors.New("link: too many connections")
	// ErrTooManyOfSource says that a connection was refused because
	// Options.MaxPerSource of its address were open.
	ErrTooManyOfSource = errors.New("link: too many connections from one address")
	// ErrTooManyOfIdentity says that a connection was refused because
	// Options.MaxPerIdentity of its identity were open.
	ErrTooManyOfIdentity = errors.New("link: too many connections of one identity")
	// ErrSilent says that a connection never sent a whole frame: for
	// Options.FirstFrame, or until its room was needed for another.
	ErrSilent = errors.New("link: no frame ever came")
	// ErrShutdown says that the server was shut down.
	ErrShutdown = errors.New("link: shut down")
	// ErrClosed says that this side closed the connection and gave no other
	// reason. [Conn.Send] returns it once a connection no longer takes frames.
	ErrClosed = errors.New("link: the connection is closed")
)

// Errors of calls that leave the connection as it was.
var (
	// ErrBody says that a body to be sent was empty or over Options.MaxFrame.
	ErrBody = errors.New("link: a body to be sent is empty or over the bound")
	// ErrOptions says that an option is out of its range.
	ErrOptions = errors.New("link: option out of range")
)

// reasons gives every reason its label in the metrics. Being a fixed list it
// keeps the label's values bounded: an error that wraps none of them is the
// handler's.
var reasons = [...]struct {
	err   error
	label string
}{
	{ErrPeerClosed, "peer_closed"},
	{ErrTruncated, "truncated"},
	{ErrFrameEmpty, "frame_empty"},
	{ErrFrameTooLong, "frame_too_long"},
	{ErrHalfFrame, "half_frame"},
	{ErrIdle, "idle"},
	{ErrSlowPeer, "slow_peer"},
	{ErrBacklog, "backlog"},
	{ErrDrain, "drain"},
	{ErrNetwork, "network"},
	{ErrHandshake, "handshake"},
	{ErrTooManyConnections, "too_many_connections"},
	{ErrTooManyOfSource, "too_many_of_source"},
	{ErrTooManyOfIdentity, "too_many_of_identity"},
	{ErrSilent, "silent"},
	{ErrShutdown, "shutdown"},
	{ErrClosed, "closed"},
}

// handlerReason is the label of a reason that is not the package's own.
const handlerReason = "handler"

// labelOf returns the label of a reason.
func labelOf(reason error) string {
	for _, r := range reasons {
		if errors.Is(reason, r.err) {
			return r.label
		}
	}
	return handlerReason
}
