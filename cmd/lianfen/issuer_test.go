package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// issuerProcess is a simulated issuer that runs as a process of its own.
type issuerProcess struct {
	cmd     *exec.Cmd
	address string
	stdout  *bytes.Buffer // read it after the end only
	printed io.Reader     // the same as it comes
	stderr  *bytes.Buffer
	done    chan error
}

// startIssuer starts an issuer and waits until it listens.
func startIssuer(t *testing.T, args ...string) *issuerProcess {
	t.Helper()
	p := &issuerProcess{address: freeAddress(t), stdout: new(bytes.Buffer), stderr: new(bytes.Buffer), done: make(chan error, 1)}
	p.cmd = exec.Command("lianfen", append([]string{"issuer", "--listen", p.address}, args...)...)
	reader, writer := io.Pipe()
	p.printed = io.TeeReader(reader, p.stdout)
	p.cmd.Stdout, p.cmd.Stderr = writer, p.stderr
	require.NoError(t, p.cmd.Start())
	go func() {
		err := p.cmd.Wait()
		_ = writer.Close()
		p.done <- err
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // A test that failed leaves nobody behind.
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", p.address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}, patience, 10*time.Millisecond, "the issuer does not listen")
	return p
}

// terminate asks the issuer to stop, wants exit status 0 and returns all that it
// still prints.
func (p *issuerProcess) terminate(t *testing.T) string {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	rest, err := io.ReadAll(p.printed)
	require.NoError(t, err)
	require.NoError(t, <-p.done, "the issuer said:\n%s", p.stderr)
	return string(rest)
}

// The issuer answers on the wire, prints its book when it is asked to and at its
// end, and the two tell what came between them.
func TestIssuerCommand(t *testing.T) {
	p := startIssuer(t, "--json", "--faults", "duplicate=100%", "--seed", "3")
	conn, err := net.Dial("tcp", p.address)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))

	host := dialect.Host()
	req := points.Request{Function: points.Redeem, STAN: 7, Transmission: 225_120_000, Acquirer: 20000001, Program: 904, Amount: 300}
	req.PAN, err = points.ParsePAN("6222030000000000016")
	require.NoError(t, err)
	copy(req.Terminal[:], "T0000001")
	copy(req.Merchant[:], "M00000000000001")
	frame, err := host.AppendRequest(nil, &req)
	require.NoError(t, err)
	_, err = conn.Write(append([]byte{byte(len(frame) >> 8), byte(len(frame))}, frame...))
	require.NoError(t, err)
	for range 2 {
		var length [2]byte
		_, err = io.ReadFull(conn, length[:])
		require.NoError(t, err)
		answer := make([]byte, int(length[0])<<8|int(length[1]))
		_, err = io.ReadFull(conn, answer)
		require.NoError(t, err)
		var echoed points.Request
		var resp points.Response
		require.NoError(t, host.DecodeResponse(answer, &echoed, &resp))
		require.Equal(t, points.Approved, resp.Reason)
		require.Equal(t, points.STAN(7), echoed.STAN)
	}

	require.NoError(t, p.cmd.Process.Signal(syscall.SIGUSR1))
	var asked, last sim.IssuerState
	decoder := json.NewDecoder(p.printed)
	require.NoError(t, decoder.Decode(maskedCards(&asked)))
	require.Len(t, asked.Transactions, 1)
	require.Equal(t, sim.Stands, asked.Transactions[0].Standing)
	require.Equal(t, points.Amount(99_700), asked.Accounts[0].Available)
	require.Equal(t, uint64(1), asked.Faults["duplicate"])
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, decoder.Decode(maskedCards(&last)))
	require.Equal(t, asked, last)
	_, err = io.Copy(io.Discard, p.printed)
	require.NoError(t, err)
	require.NoError(t, <-p.done)
	require.NotContains(t, p.stdout.String()+p.stderr.String(), "6222030000000000016")
}

// maskedCards reads an issuer's state although the cards in it are masked, which
// no card number can be read from.
func maskedCards(s *sim.IssuerState) json.Unmarshaler { return &masked{s} }

// masked is a state that is read without its cards.
type masked struct{ state *sim.IssuerState }

// UnmarshalJSON reads all but the cards.
func (m *masked) UnmarshalJSON(text []byte) error {
	text = regexp.MustCompile(`"card": "[^"]*",`).ReplaceAll(text, nil)
	return json.Unmarshal(text, m.state)
}

// For people it prints tables; what it cannot do, it says before it starts.
func TestIssuerCommandForPeople(t *testing.T) {
	p := startIssuer(t)
	printed := p.terminate(t)
	require.Regexp(t, `(?m)^Issuer 10000004$`, printed)
	require.Regexp(t, `622203\*+0016 +904 +100000 +0\n`, printed)
	require.Regexp(t, `fault disconnect +0\n`, printed)
	for _, c := range []struct{ args, wrong string }{
		{"", "--listen or --dial must be given"},
		{"--listen 127.0.0.1:0 --dial 127.0.0.1:1", "--dial and --listen exclude each other"},
		{"--listen 127.0.0.1:0 --faults burn=1%", "no such fault"},
		{"--listen 127.0.0.1:0 --id 0", "number is missing"},
		{"--listen 127.0.0.1:0 --accounts nowhere.yaml", "nowhere.yaml"},
	} {
		_, stderr, status := lianfen(t, append([]string{"issuer"}, strings.Fields(c.args)...)...)
		require.Equal(t, exitUsage, status, c.args)
		require.Contains(t, stderr, c.wrong)
	}
}
