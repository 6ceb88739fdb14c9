package app_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// badInput is what a peer sends and what it must come to. What is refused before
// the ledger is asked is not in the journal; what the ledger declines is one record
// there, without a posting.
type badInput struct {
	name    string
	wire    []byte // with the length, as it stands on the wire
	half    bool   // the peer closes its side behind it
	code    string // DE39; "" when the connection is closed without an answer
	logs    string // what the log says of it
	counter string // of the metrics: the line that grows by one
	records uint64 // that the journal grows by
}

// Whatever a peer sends gets the answer of the specification, a line of the log
// that tells what was wrong, and a count; it moves no points, and the switch goes
// on serving.
func TestBadInput(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	for _, c := range badInputs(t) {
		t.Run(c.name, func(t *testing.T) {
			status, err := r.client.Status(t.Context())
			require.NoError(t, err)
			totals, err := r.client.Totals(t.Context())
			require.NoError(t, err)
			counted := counterOf(t, r, c.counter)
			logged := len(h.log.String())

			require.Equal(t, c.code, exchangeRaw(t, r.Address("pos").String(), c))

			require.Eventually(t, func() bool { return counterOf(t, r, c.counter) == counted+1 }, 10*time.Second, time.Millisecond, "%s did not grow", c.counter)
			require.Eventually(t, func() bool { return strings.Contains(h.log.String()[logged:], c.logs) }, 10*time.Second, time.Millisecond,
				"the log does not say %q", c.logs)
			require.NotContains(t, h.log.String()[logged:], "6222020000000000017")
			after, err := r.client.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, status.Position+points.Position(c.records), after.Position)
			totalsAfter, err := r.client.Totals(t.Context())
			require.NoError(t, err)
			require.Equal(t, totals.Lines, totalsAfter.Lines)
		})
	}
	receipt := send(t, r.terminal(t, "T4"), points.Earn, "6222020000000000017", 5)
	require.True(t, receipt.Response.Reason.Approved())
	require.NotContains(t, h.log.String(), "level=ERROR")
	r.stop(t)
}

func badInputs(t *testing.T) []badInput {
	t.Helper()
	good := earnFrame(t, nil)
	digit := earnFrame(t, nil)
	// The amount's last digit becomes the letter A.
	at := strings.Index(hex.EncodeToString(digit), "000000000700")
	require.Positive(t, at)
	digit[(at+11)/2] |= 0x0a
	mti := earnFrame(t, nil)
	copy(mti[2+11:], []byte{0x09, 0x00})
	version := earnFrame(t, nil)
	copy(version[2+11:], []byte{0x92, 0x00})
	return []badInput{
		{name: "garbage", wire: framed([]byte("GET / HTTP/1.1\r\n\r\n")), logs: "reason=format_error", counter: "lianfen_frames_unanswered_total"},
		{name: "a TPDU and nothing", wire: framed([]byte{0x60, 0, 3, 0, 0}), logs: "reason=format_error", counter: "lianfen_frames_unanswered_total"},
		{name: "cut off", wire: good[:30], half: true, logs: "frame", counter: `link_bad_frames_total{kind="truncated",listener="pos"}`},
		{name: "length 0", wire: []byte{0, 0}, logs: "frame", counter: `link_bad_frames_total{kind="empty",listener="pos"}`},
		{name: "length over the limit", wire: []byte{0x13, 0x88, 0x60}, logs: "frame", counter: `link_bad_frames_total{kind="too_long",listener="pos"}`},
		{name: "version of MTI", wire: version, code: "30", logs: "message type 9200", counter: `lianfen_frames_malformed_total{field="0"}`},
		{name: "unknown MTI", wire: mti, code: "12", logs: "reason=unknown_function", counter: `lianfen_requests_total{function="unknown",reason="unknown_function"}`},
		{name: "a letter among digits", wire: digit, code: "30", logs: "DE4 (amount)", counter: `lianfen_frames_malformed_total{field="4"}`},
		{
			name: "no amount", wire: without(t, good, 4, []byte{0, 0, 0, 0, 7, 0}), code: "30", logs: "DE4 (amount): missing",
			counter: `lianfen_frames_malformed_total{field="4"}`,
		},
		{
			name: "no terminal", wire: without(t, good, 41, []byte("T1      ")), code: "30", logs: "DE41 (terminal): missing",
			counter: `lianfen_frames_malformed_total{field="41"}`,
		},
		{
			name: "bytes behind the end", wire: framed(append(good[2:], 0)), code: "30", logs: "1 bytes after the last field",
			counter: `lianfen_frames_malformed_total{field="0"}`,
		},
		{
			name: "unknown terminal", wire: earnFrame(t, func(req *points.Request) { req.Terminal = terminalID(t, "T99") }), code: "97",
			logs: "reason=unknown_terminal", counter: `lianfen_requests_total{function="earn",reason="unknown_terminal"}`,
		},
		{
			name: "amount zero", wire: earnFrame(t, func(req *points.Request) { req.Amount, req.STAN = 0, 11 }), code: "13",
			logs: "reason=bad_amount", counter: `lianfen_requests_total{function="earn",reason="bad_amount"}`, records: 1,
		},
		{
			name: "amount of twelve nines", wire: earnFrame(t, func(req *points.Request) { req.Amount, req.STAN = 999_999_999_999, 12 }), code: "61",
			logs: "reason=over_amount_limit", counter: `lianfen_requests_total{function="earn",reason="over_amount_limit"}`, records: 1,
		},
		{
			name: "unknown programme", wire: earnFrame(t, func(req *points.Request) { req.Program, req.STAN = 950, 13 }), code: "57",
			logs: "reason=unknown_program", counter: `lianfen_requests_total{function="earn",reason="unknown_program"}`, records: 1,
		},
	}
}

// earnFrame is an earn of 700 points of terminal T1 with something changed.
func earnFrame(t *testing.T, change func(*points.Request)) []byte {
	t.Helper()
	d := dialect.Pos()
	req := points.Request{Function: points.Earn, Door: points.DoorTerminal, STAN: 10, Batch: 1, Terminal: terminalID(t, "T1"), Amount: 700, Program: 901, EntryMode: 12}
	var err error
	req.Merchant, err = points.ParseMerchantID("M1")
	require.NoError(t, err)
	req.PAN, err = points.ParsePAN("6222020000000000017")
	require.NoError(t, err)
	copy(req.Product[:], "POINTS"+strings.Repeat(" ", len(req.Product)))
	require.NoError(t, d.Complete(&req))
	if change != nil {
		change(&req)
	}
	frame, err := d.AppendRequest(nil, &req)
	require.NoError(t, err)
	return framed(frame)
}

// without takes an element out of a frame: its bit and its value.
func without(t *testing.T, wire []byte, de int, value []byte) []byte {
	t.Helper()
	const bitmap = 5 + 6 + 2 // behind TPDU, header and MTI
	body := slices.Clone(wire[2:])
	at := bytes.Index(body[bitmap+8:], value)
	require.Positive(t, at)
	at += bitmap + 8
	body[bitmap+(de-1)/8] &^= 0x80 >> ((de - 1) % 8)
	return framed(slices.Delete(body, at, at+len(value)))
}

func terminalID(t *testing.T, id string) points.TerminalID {
	t.Helper()
	terminal, err := points.ParseTerminalID(id)
	require.NoError(t, err)
	return terminal
}

func framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...)
}

// exchangeRaw sends bytes on a connection of their own and returns the DE39 of the
// answer, "" when the connection is closed without one.
func exchangeRaw(t *testing.T, address string, c badInput) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Write(c.wire)
	require.NoError(t, err)
	if c.half {
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "neither an answer nor an end")
		return ""
	}
	body := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err = io.ReadFull(conn, body)
	require.NoError(t, err)
	var echoed points.Request
	var resp points.Response
	require.NoError(t, dialect.Pos().DecodeResponse(body, &echoed, &resp), "%x", body)
	return resp.Reason.DE39()
}

// counterOf reads a counter; one that is not there yet stands at zero.
func counterOf(t *testing.T, r *running, name string) int {
	t.Helper()
	for line := range strings.Lines(get(t, "http://"+r.HTTPAddress().String()+"/metrics")) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			require.NoError(t, err, line)
			return n
		}
	}
	return 0
}
