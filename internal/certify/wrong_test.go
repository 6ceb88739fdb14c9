package certify_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/certify"
	"github.com/lianfen/lianfen/points"
)

// meddler stands between the kit and a target and does to each answer what a test
// tells it: it returns what the kit gets, frames and other bytes, without length.
type meddler struct {
	answer func(n int, frame []byte) [][]byte // n from 1 on each connection; nothing: hang up

	ln      net.Listener
	target  string
	serving sync.WaitGroup
	mu      sync.Mutex // guards what follows
	conns   []net.Conn
}

// meddle serves until the test ends.
func meddle(t *testing.T, target string, answer func(n int, frame []byte) [][]byte) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &meddler{answer: answer, ln: ln, target: target}
	m.serving.Go(m.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		m.mu.Lock()
		for _, conn := range m.conns {
			_ = conn.Close()
		}
		m.mu.Unlock()
		m.serving.Wait()
	})
	return ln.Addr().String()
}

func (m *meddler) accept() {
	for {
		kit, err := m.ln.Accept()
		if err != nil {
			return
		}
		target, err := net.Dial("tcp", m.target)
		if err != nil {
			_ = kit.Close()
			continue
		}
		m.mu.Lock()
		m.conns = append(m.conns, kit, target)
		m.mu.Unlock()
		m.serving.Go(func() {
			_, _ = io.Copy(target, kit)
			_ = target.Close()
		})
		m.serving.Go(func() {
			m.pass(target, kit)
			_ = kit.Close()
		})
	}
}

// pass hands the target's frames to the kit, meddled with.
func (m *meddler) pass(target, kit net.Conn) {
	for n := 1; ; n++ {
		var length [2]byte
		if _, err := io.ReadFull(target, length[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(target, frame); err != nil {
			return
		}
		answers := m.answer(n, frame)
		if answers == nil {
			return
		}
		for _, answer := range answers {
			if _, err := kit.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
				return
			}
		}
	}
}

// mti is the message type of a pos frame.
func mti(frame []byte) string { return string(frame[11:13]) }

// swapped returns frame with the first occurrence of old replaced by one as long.
func swapped(frame []byte, old, by string) [][]byte {
	return [][]byte{bytes.Replace(frame, []byte(old), []byte(by), 1)}
}

// differences are what a report says differs, as "id/step: what: expected, got".
func differences(report *certify.Report) []string {
	var all []string
	for _, script := range report.Scripts {
		for _, c := range script.Cases {
			for _, step := range c.Steps {
				for _, check := range step.Checks {
					if !check.Passed {
						all = append(all, c.ID+": "+step.Title+": "+check.What+": expected "+check.Expected+", got "+check.Got)
					}
				}
			}
		}
	}
	return all
}

// Whatever a wrong target does to an answer is found, and named as what it is: the
// step, the data element, what was expected and what came.
func TestWrongTarget(t *testing.T) {
	const financial = "\x02\x10"
	target := startSwitch(t)
	// only changes the answers with message type 0210.
	only := func(change func(frame []byte) [][]byte) func(int, []byte) [][]byte {
		return func(_ int, frame []byte) [][]byte {
			if mti(frame) != financial {
				return [][]byte{frame}
			}
			return change(frame)
		}
	}
	for i, c := range []struct {
		name, play string
		answer     func(n int, frame []byte) [][]byte
		differs    string
	}{
		{"nothing wrong", "redeem", only(func(frame []byte) [][]byte { return [][]byte{frame} }), ""},
		{
			"another amount", "redeem", only(func(frame []byte) [][]byte {
				return swapped(frame, "\x00\x00\x00\x00\x03\x00", "\x00\x00\x00\x00\x03\x01")
			}),
			"redeem: redeem: DE4 amount echoed: expected 000000000300, got 000000000301",
		},
		{
			"another balance", "balance", func(n int, frame []byte) [][]byte {
				if n == 3 {
					frame[bytes.Index(frame, []byte("901C"))+15]++
				}
				return [][]byte{frame}
			},
			"balance: balance: DE54 balances available: expected ",
		},
		{
			"another terminal", "redeem", only(func(frame []byte) [][]byte { return swapped(frame, "T0000001", "T0000002") }),
			"DE41 terminal echoed: expected T0000001, got T0000002",
		},
		{
			"another answer code", "redeem", only(func(frame []byte) [][]byte { return swapped(frame, "00T0000001", "05T0000001") }),
			"DE39 answer code: expected 00, got 05",
		},
		{
			"an authorisation code that is none", "redeem", only(func(frame []byte) [][]byte {
				if before, _, found := bytes.Cut(frame, []byte("T0000001")); found {
					copy(frame[len(before)-8:], "abcdef")
				}
				return [][]byte{frame}
			}),
			"redeem: redeem: DE38 authorisation code format: expected [0-9A-Z]{6}, got abcdef",
		},
		{
			"another message type", "redeem", only(func(frame []byte) [][]byte {
				frame[12] = 0x30
				return [][]byte{frame}
			}),
			"message type: expected 0210, got 0230",
		},
		{
			"TPDU as it came", "redeem", only(func(frame []byte) [][]byte {
				copy(frame[1:5], []byte{9, 9, 9, 9})
				return [][]byte{frame}
			}),
			"TPDU, addresses swapped: expected 6000000000, got 6009090909",
		},
		{
			"another header", "redeem", only(func(frame []byte) [][]byte {
				frame[10] = 0x77
				return [][]byte{frame}
			}),
			"header: expected 60000*000000, got 60000*000077",
		},
		{
			"a field that cannot be read", "redeem", only(func(frame []byte) [][]byte {
				return swapped(frame, "\x00\x00\x00\x00\x03\x00", "\x00\x00\x00\x00\x03\x0F")
			}),
			"DE4 amount can be read: expected it can, got dialect: DE4 (amount): ",
		},
		{
			"no message", "redeem", only(func([]byte) [][]byte { return [][]byte{[]byte("hello")} }),
			"can be read: expected it can, got dialect: frame of 5 bytes",
		},
		{
			"no answer", "redeem", only(func([]byte) [][]byte { return [][]byte{} }),
			"what comes of it: expected answer, got silent",
		},
		{"hung up", "redeem", only(func([]byte) [][]byte { return nil }), "what comes of it: expected answer, got closed"},
		{
			"the last answer twice", "redeem", func(n int, frame []byte) [][]byte {
				if n == 4 {
					return [][]byte{frame, frame}
				}
				return [][]byte{frame}
			}, "redeem: balance: every request is answered once: expected nothing more, got the answer to step 4 came again",
		},
		{
			"an answer twice", "redeem", func(n int, frame []byte) [][]byte {
				if n == 2 {
					return [][]byte{frame, frame}
				}
				return [][]byte{frame}
			}, "redeem: redeem: every request is answered once: expected one answer, got the answer to step 2 came again",
		},
		{
			"somebody else's answer", "redeem", only(func(frame []byte) [][]byte {
				_, after, found := bytes.Cut(frame, []byte("\x00\x00\x00\x00\x03\x00"))
				if found {
					copy(frame[len(frame)-len(after):], "\x99\x99\x98")
				}
				return [][]byte{frame}
			}), "redeem: redeem: DE11 systems trace audit number echoed: expected {stan}, got 999998",
		},
		{
			"another answer to a repeat", "repeat", func(n int, frame []byte) [][]byte {
				if n == 4 {
					return swapped(frame, "901C", "901D")
				}
				return [][]byte{frame}
			}, "repeat: repeat of lunch: DE54 balances same as the answer to lunch: expected the same bytes, got DE54 ",
		},
		{
			"a request of its own", "redeem", func(n int, frame []byte) [][]byte {
				if n != 3 {
					return [][]byte{frame}
				}
				request := bytes.Clone(frame)
				request[12] = 0x00
				return [][]byte{request, frame}
			}, "redeem: redeem: only answers come: expected an answer, got a request, message type 0200",
		},
		{
			"64 bits for 128", "wide-bitmap", func(n int, frame []byte) [][]byte {
				if n != 3 {
					return [][]byte{frame}
				}
				narrow := bytes.Clone(frame[:21])
				narrow[13] &^= 0x80
				return [][]byte{append(narrow, frame[29:]...)}
			}, "wide-bitmap: balance: bitmap: expected 128 bits, got 64 bits",
		},
		{
			"an answer where none is due", "half-frame", nil,
			"half-frame: bytes without a length: what comes of it: expected silent, got ",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var address string
			if c.answer != nil {
				address = meddle(t, target, c.answer)
			} else {
				address = chatterbox(t)
			}
			opts := options(t, certify.ProfilePOS, address)
			opts.Only = []string{c.play}
			opts.Parameters.Within = time.Second
			opts.FirstSTAN = points.STAN(1000 * i)
			report, err := certify.Run(t.Context(), opts, func(*certify.CaseResult) error { return nil })
			require.NoError(t, err)
			found := differences(report)
			if c.differs == "" {
				require.Empty(t, found)
				require.Equal(t, 1, report.Passed)
				return
			}
			require.Equal(t, 1, report.Failed)
			require.Contains(t, strings.Join(found, "\n"), strings.ReplaceAll(c.differs, "{stan}", fmt.Sprintf("%06d", 1000*i+3)))
		})
	}
}

// chatterbox is a target that sends a frame as soon as anything comes, until the
// test ends.
func chatterbox(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			var some [1]byte
			if _, err := io.ReadFull(conn, some[:]); err == nil {
				_, _ = conn.Write([]byte("\x00\x05hello"))
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}
