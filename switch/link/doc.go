// Package link carries frames over TCP: a two-byte big-endian length, which
// does not count itself, then that many bytes. What the bytes mean is not its
// business; it knows no message type, no STAN and no terminal.
//
// It owns the connections: accepting and dialling them, TLS handshakes,
// reading, splitting into frames, writing, every deadline and every bound.
// [Server] is the accepting side, [Dial] the dialling side, [Handler] the user
// of both; [Matcher] pairs the answers that arrive with the requests that were
// sent, by a key of the caller's.
//
// It promises:
//
//   - L1: however the bytes of a stream are cut into reads, the frames are the
//     same, each is handed over once and in the order of the stream;
//   - L2: a frame that was handed over is in flight until [Conn.Reply] or
//     [Conn.Drop] finishes it, and never more than Options.MaxInFlight are:
//     at that bound the connection is not read, so the peer's own window fills;
//   - L3: [Conn.Reply], [Conn.Drop], [Conn.Send], [Conn.Close] and
//     [Conn.CloseAfterFlush] may be called by any goroutine, at any time, also
//     after the connection is gone, and do not wait for the network;
//   - L4: nothing is unbounded: frame, frames in flight, bytes that wait to be
//     written, connections, and the time for a handshake, a silence, a frame
//     that has begun, a write, and the last answers before closing;
//   - L5: the time for a frame runs from its first byte. A byte a second does
//     not prolong it;
//   - L6: [Handler.Open], [Handler.Frames] and [Handler.Closed] of a connection
//     never overlap. Open is the first and Closed the last, each exactly once;
//     a connection that was refused or failed its handshake gets neither;
//   - L7: a connection that ends in order (the peer finished, sent a bad
//     length or fell silent, [Conn.CloseAfterFlush], [Server.Shutdown]) still
//     sends the answers to what it handed over, for Options.Drain at most;
//   - L8: who is at the other end of a TLS session is asked once, before Open, and
//     whoever is refused is never handed over ([Options].Admit); what the answer
//     means is the caller's business.
//
// It refuses: to answer anything itself (a bad length closes the connection),
// to interpret, to retry, to reconnect, to match by order, and to log what a
// connection did. The reason of every end reaches [Handler.Closed] as an error
// that wraps one of the package's sentinels, and is counted; the caller knows
// whose connection it was and logs it.
//
// # States
//
//	        CloseAfterFlush, Shutdown, end of stream,
//	        bad length, silence, half frame
//	open ──────────────────────────────────────> draining   not read; Reply works, Send refuses
//	  │                                             │ none in flight
//	  │                                             v
//	  │                                          flushing   the writer empties the buffer and stops
//	  │ Close, network error, slow peer,            │ flushed
//	  v backlog, Drain over (from any state)        v
//	closed <────────────────────────────────────────┘       Reply and Drop only count
//
// The first reason wins and is what Closed is told.
//
// # Goroutines
//
// A connection has two. The reading goroutine handshakes, reads, calls the
// handler, waits for the last answers and closes the socket; it stops when the
// connection ends and is waited for by [Server.Shutdown], or by whoever dialled
// through [Conn.Done]. The writing goroutine is started by the reading one,
// sleeps until something is pending, writes all of it in one Write, and is
// waited for by the reading one. What an [Outbox] collects is written by the
// goroutine that flushes it, as far as a socket takes it without waiting. [Server.Serve] accepts on the goroutine that
// calls it. There are no others, and none per frame.
//
// # Memory
//
// An idle connection holds a read buffer of 4 KiB and two goroutines: 13 KB over
// plain TCP and 34 KB over mutual TLS, the peer's end in the same process
// included, so that 10,000 terminals cost 130 MB, or 340 MB. That is heap and
// stacks; TestIdleConnectionsAreSmall measures it and holds it to 20 and 80 KiB.
// Buffers grow with what a peer really sends, the read buffer to 64 KiB (or one
// frame, if that is more), the two write buffers to Options.MaxPending; after
// 30 s without a byte they are given back.
//
// # Time
//
// Deadlines of sockets are instants of the wall clock, so the package reads it,
// in one place. No message is judged by that time. [Matcher] reads no clock.
package link
