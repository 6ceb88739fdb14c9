package app_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// twoTowns has a second acquirer beside that of smallTown, with merchant M2 and terminal X1.
var twoTowns = strings.NewReplacer(
	"name: Acquirer}]", "name: Acquirer}, {id: 20000002, name: Other}]",
	"programs: [901]}]\nterminals: [", "programs: [901]}, {id: M2, acquirer: 20000002, name: Other, programs: [901]}]\nterminals: [{id: X1, merchant: M2}, ",
).Replace(smallTown)

const otherAcquirer points.AcquirerID = 20000002

// line is one TLS connection of the holder of gate to a listener.
func (r *running) line(t *testing.T, listener string, gate *certs.Gate) (net.Conn, error) {
	t.Helper()
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: gate.Client(certs.OfRole(certs.RoleSwitch))}
	conn, err := dialer.DialContext(t.Context(), "tcp", r.Address(listener).String())
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	}
	return conn, err
}

// swaps sends a frame and reads the answer to it; nil: the connection has ended instead.
func swaps(t *testing.T, conn net.Conn, frame []byte) []byte {
	t.Helper()
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(frame))), frame...))
	if err != nil {
		return nil
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		return nil
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	return answer
}

// heard is DE39 and DE100 of an answer.
func heard(t *testing.T, d *dialect.Dialect, answer []byte) (code string, issuer points.IssuerID) {
	t.Helper()
	require.NotNil(t, answer, "the connection has ended")
	var echo points.Request
	var resp points.Response
	require.NoError(t, d.DecodeResponse(answer, &echo, &resp))
	return resp.Reason.DE39(), resp.Issuer
}

// written is a request as it stands on the wire.
func written(t *testing.T, d *dialect.Dialect, req *points.Request) []byte {
	t.Helper()
	require.NoError(t, d.Complete(req))
	frame, err := d.AppendRequest(nil, req)
	require.NoError(t, err)
	return frame
}

// earning is a request to give member 1 a hundred points.
func earning(t *testing.T, terminal, merchant string, stan points.STAN) points.Request {
	t.Helper()
	who, err := sim.ParseIdentity(terminal, merchant)
	require.NoError(t, err)
	pan, err := points.ParsePAN(firstCard)
	require.NoError(t, err)
	return points.Request{
		Function: points.Earn, STAN: stan, Batch: 1, EntryMode: 12, Terminal: who.Terminal, Merchant: who.Merchant, PAN: pan, Program: 901, Amount: 100,
		Door: points.DoorTerminal,
	}
}

// asHost makes a request one of an acquirer's host.
func asHost(req points.Request, acquirer points.AcquirerID) points.Request {
	req.Door, req.Batch, req.Acquirer = points.DoorHost, 0, acquirer
	at := now().Time().UTC()
	req.Transmission = uint64(int(at.Month())*1e8 + at.Day()*1e6 + at.Hour()*1e4 + at.Minute()*100 + at.Second())
	return req
}

// Whoever has a good certificate speaks for its holder alone, at both doors: DE32, DE41 and
// DE42 of somebody else are refused, move nothing and leave no record. A DE100 that names
// another issuer chooses none: the answer says whose points they are.
func TestForeignFieldsAtTheDoors(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	r.load(t, twoTowns)
	own, _ := s.gate(t, s.identity(t, "T1"))
	whole, _ := s.gate(t, certs.AcquirerIdentity(acquirer))
	namesake, _ := s.gate(t, certs.TerminalIdentity(otherAcquirer, terminalID(t, "T1")))
	other, _ := s.gate(t, certs.AcquirerIdentity(otherAcquirer))
	stan := points.STAN(0)
	ask := func(listener string, gate *certs.Gate, req points.Request) (string, points.IssuerID) {
		t.Helper()
		conn, err := r.line(t, listener, gate)
		require.NoError(t, err)
		d := dialect.Pos()
		if listener == "host" {
			d = dialect.Host()
		}
		return heard(t, d, swaps(t, conn, written(t, d, &req)))
	}
	position := func() points.Position {
		status, err := r.client.Status(t.Context())
		require.NoError(t, err)
		return status.Position
	}
	for _, c := range []struct {
		what, listener     string
		gate               *certs.Gate
		terminal, merchant string
		as                 points.AcquirerID // DE32; 0: none
		issuer             points.IssuerID   // DE100; 0: none
		want               string
	}{
		{"its own", "pos", own, "T1", "M1", 0, 0, "00"},
		{"another terminal of the shop", "pos", own, "T2", "M1", 0, 0, "58"},
		{"a terminal of another acquirer", "pos", own, "X1", "M2", 0, 0, "58"},
		{"itself at another merchant", "pos", own, "T1", "M2", 0, 0, "03"},
		{"a terminal that there is not", "pos", own, "T9", "M1", 0, 0, "97"},
		{"the terminal of its number at another acquirer", "pos", namesake, "T1", "M1", 0, 0, "58"},
		{"an acquirer, for its terminals", "pos", whole, "T2", "M1", 0, 0, "00"},
		{"an acquirer, for another's terminal", "pos", other, "T1", "M1", 0, 0, "58"},
		{"its own host", "host", whole, "T1", "M1", acquirer, 0, "00"},
		{"another acquirer (DE32)", "host", whole, "X1", "M2", otherAcquirer, 0, "58"},
		{"an acquirer that there is not", "host", whole, "T1", "M1", 29999999, 0, "58"},
		{"another acquirer's merchant (DE42)", "host", whole, "T1", "M2", acquirer, 0, "03"},
		{"a terminal of another merchant (DE41)", "host", whole, "X1", "M1", acquirer, 0, "03"},
		{"as the other acquirer's, by its own host", "host", other, "T1", "M1", acquirer, 0, "58"},
		{"a terminal, for its acquirer's host", "host", own, "T2", "M1", acquirer, 0, "58"},
		{"another issuer (DE100)", "host", whole, "T1", "M1", acquirer, 10000099, "00"},
	} {
		stan++
		before, had := position(), r.usable(t, 1)
		req := earning(t, c.terminal, c.merchant, stan)
		if c.listener == "host" {
			req = asHost(req, c.as)
			req.Issuer = c.issuer
		}
		code, issuer := ask(c.listener, c.gate, req)
		require.Equal(t, c.want, code, c.what)
		if c.want == "00" {
			require.Equal(t, had+100, r.usable(t, 1), c.what)
			require.NotEqual(t, points.IssuerID(10000099), issuer, c.what)
			continue
		}
		require.Equal(t, before, position(), c.what)
		require.Equal(t, had, r.usable(t, 1), c.what)
	}
	for _, stranger := range []certs.Identity{certs.IssuerIdentity(10000001), certs.OperatorIdentity("li"), certs.SwitchIdentity("lianfen")} {
		gate, _ := s.gate(t, stranger)
		for _, listener := range []string{"pos", "host"} {
			conn, err := r.line(t, listener, gate)
			if err == nil { // The refusal comes behind our part of the handshake.
				req := earning(t, "T1", "M1", 999)
				require.Nil(t, swaps(t, conn, written(t, dialect.Pos(), &req)), "%v at %s", stranger, listener)
			}
		}
	}
	r.stop(t)
}

// A message that somebody has seen is worth nothing: sent again at once, on another
// connection, under the acquirer's certificate, after a restart, it gets the first answer
// and moves nothing; under another's certificate, or with anything in it changed, it is
// refused. Under a MAC neither another time nor another trace number makes it a new one.
func TestReplayAtTheDoors(t *testing.T) {
	dir, store := keyRoom(t)
	s := newSecured(t, "keys.file="+filepath.Join(dir, "keys"), "keys.kek=file:"+filepath.Join(dir, "kek"), "switch.participant_keys=20000001=cmac")
	r := s.start(t)
	r.load(t, twoTowns)
	own, _ := s.gate(t, s.identity(t, "T1"))
	whole, _ := s.gate(t, certs.AcquirerIdentity(acquirer))
	second, _ := s.gate(t, s.identity(t, "T2"))
	other, _ := s.gate(t, certs.AcquirerIdentity(otherAcquirer))
	line := func(listener string, gate *certs.Gate) net.Conn {
		t.Helper()
		conn, err := r.line(t, listener, gate)
		require.NoError(t, err)
		return conn
	}
	code := func(d *dialect.Dialect, conn net.Conn, frame []byte) string {
		t.Helper()
		code, _ := heard(t, d, swaps(t, conn, frame))
		return code
	}
	pos, host := dialect.Pos(), dialect.Host()
	req := earning(t, "T1", "M1", 7)
	frame := written(t, pos, &req)
	conn := line("pos", own)
	first := swaps(t, conn, frame)
	require.Equal(t, first, swaps(t, conn, frame), "at once")
	require.Equal(t, first, swaps(t, line("pos", own), frame), "on another connection")
	require.Equal(t, first, swaps(t, line("pos", whole), frame), "by the acquirer")
	require.Equal(t, "58", code(pos, line("pos", second), frame))
	require.Equal(t, "58", code(pos, line("pos", other), frame))
	more := req
	more.Amount = 200
	require.Equal(t, "94", code(pos, conn, written(t, pos, &more)), "the same name for another request")
	require.EqualValues(t, 100, r.usable(t, 1))

	keys := hostKeys(t, store, zoneAcquirer)
	a := sim.NewAcquirer(line("host", whole), acquirer, keys, now)
	require.NoError(t, a.ChangeKeys(t.Context()))
	sale := a.Next(points.Earn)
	like := earning(t, "T1", "M1", 0)
	sale.Terminal, sale.Merchant, sale.PAN, sale.Program, sale.Amount, sale.EntryMode = like.Terminal, like.Merchant, like.PAN, 901, 100, 12
	receipt, err := a.Send(t.Context(), &sale)
	require.NoError(t, err)
	require.True(t, receipt.Response.Reason.Approved())
	require.EqualValues(t, 200, r.usable(t, 1))
	replays := func(when string) {
		t.Helper()
		require.Equal(t, first, swaps(t, line("pos", own), frame), when)
		require.Equal(t, receipt.Got, swaps(t, line("host", whole), receipt.Sent), when)
		require.Equal(t, "58", code(host, line("host", other), receipt.Sent), when)
		for what, change := range map[string]func(*points.Request){
			"another time":     func(req *points.Request) { req.Transmission ^= 1 },
			"another number":   func(req *points.Request) { req.STAN += 100 },
			"another card":     func(req *points.Request) { req.PAN, _ = points.ParsePAN("6222020000000000025") },
			"another amount":   func(req *points.Request) { req.Amount++ },
			"another terminal": func(req *points.Request) { req.Terminal = terminalID(t, "T2") },
		} {
			altered := sale
			change(&altered)
			forged, err := host.AppendRequest(nil, &altered)
			require.NoError(t, err)
			copy(forged[len(forged)-8:], receipt.Sent[len(receipt.Sent)-8:]) // The MAC that was seen.
			require.Equal(t, "A0", code(host, line("host", whole), forged), "%s, %s", what, when)
			stripped := altered
			stripped.Unmark(64)
			stripped.Unmark(128)
			require.Equal(t, "A0", code(host, line("host", whole), written(t, host, &stripped)), "%s without a MAC, %s", what, when)
			require.NoError(t, a.ChangeKeys(t.Context())) // So many wrong ones cost the keys.
			receipt, err = a.Send(t.Context(), &sale)     // The same once more, under the new keys: known.
			require.NoError(t, err)
		}
		require.EqualValues(t, 200, r.usable(t, 1), when)
	}
	replays("at once")
	r.stop(t)
	r = s.start(t)
	a = sim.NewAcquirer(line("host", whole), acquirer, keys, now)
	a.STAN = 50
	replays("after a restart")
	r.stop(t)
}

// However many ask at once, on many connections of several terminals, no more goes through
// than there is, than a rule on risk lets, and than the issuer may owe.
func TestManyAtOnceExceedNothing(t *testing.T) {
	h := newHouse(t)
	clock := new(turned)
	h.clock = clock.clock
	clock.set(t, "2026-03-02T09:00:00+08:00")
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	_, err := r.client.ProposeRates(ctx, app.RateSetting{Rates: []app.RateTerms{{Program: 901, From: "2026-03-02 09:10", Value: "0.0125"}}, Operator: "li", Second: "wang", Note: "x"})
	require.NoError(t, err)
	fees, err := app.ReadFees(strings.NewReader("from: 2026-03-02 09:10\nrows: [{kind: RDM, ppm: 3000, min: 1}]\n"))
	require.NoError(t, err)
	_, err = r.client.ProposeFees(ctx, app.FeeSetting{FeeTerms: fees, Operator: "li", Second: "wang", Note: "x"})
	require.NoError(t, err)
	clock.set(t, "2026-03-02T09:20:00+08:00")
	const terminals, lines, each = 4, 4, 4
	round := points.STAN(0)
	race := func(card string, amount points.Amount) map[string]int {
		t.Helper()
		round += 1000
		codes := make(chan string, terminals*lines*each)
		var racers sync.WaitGroup
		for i := range terminals * lines {
			terminal := r.terminal(t, fmt.Sprint("T", 1+i%terminals))
			terminal.STAN = round + points.STAN(i*10)
			var reqs []points.Request
			for range each {
				reqs = append(reqs, request(t, terminal, points.Redeem, card, amount))
			}
			racers.Go(func() {
				for j := range reqs {
					receipt, err := terminal.Send(ctx, &reqs[j])
					if err != nil {
						codes <- err.Error()
						continue
					}
					codes <- receipt.Response.Reason.DE39()
				}
			})
		}
		racers.Wait()
		count := make(map[string]int)
		for range terminals * lines * each {
			count[<-codes]++
		}
		return count
	}
	gives := func(member points.MemberID, amount points.Amount) {
		t.Helper()
		_, err := r.client.Adjust(ctx, app.Adjustment{Holder: app.Holder{Member: member}, Program: 901, Amount: amount, Operator: "li", Second: "wang", Note: "x"})
		require.NoError(t, err)
	}
	gives(2, 105)
	require.Equal(t, map[string]int{"00": 10, "51": 54}, race("6222020000000000025", 10))
	require.EqualValues(t, 5, r.usable(t, 2))

	gives(1, 100_000)
	rule := book.RiskRule{Name: "card", Measure: book.CountOf, Per: book.PerCard, Window: book.BusinessDay, Limit: 7, Action: book.Decline}
	_, err = r.client.SetRisk(ctx, app.RiskSetting{Rules: book.RiskRules{Rules: []book.RiskRule{rule}}, Operator: "li", Second: "wang", Note: "x"})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"00": 7, "65": 57}, race(firstCard, 10))
	require.EqualValues(t, 100_000-70, r.usable(t, 1))
	_, err = r.client.SetRisk(ctx, app.RiskSetting{Operator: "li", Second: "wang", Note: "x"})
	require.NoError(t, err)

	owed := points.Amount((100 + 70) * 125) // What the sales so far are worth.
	limit := book.Cap{Member: 10000001, Cap: owed + 5*12_500 + 12_499, Prefund: owed + 100_000}
	_, err = r.client.SetCap(ctx, app.CapSetting{Cap: limit, Operator: "li", Second: "wang", Note: "x"})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"00": 5, "61": 59}, race(firstCard, 100))
	require.EqualValues(t, 100_000-70-500, r.usable(t, 1))
	caps, err := r.client.Caps(ctx)
	require.NoError(t, err)
	require.Equal(t, points.Amount(12_499), caps[0].Headroom)
	clock.now.Store(int64(now())) // By which an answer that takes long is given time.
	_, err = r.client.Prove(ctx, app.ProofProgress{})
	require.NoError(t, err)
	r.stop(t)
}

// An acquirer's own rate, as the configuration has it, is that of all its connections
// together; another acquirer is not touched by it.
func TestParticipantsOwnRate(t *testing.T) {
	h := newHouse(t, "switch.participant_rates=20000001=3")
	frozen := now()
	h.clock = func() points.Timestamp { return frozen }
	r := h.start(t)
	r.load(t, twoTowns)
	stan := points.STAN(0)
	asks := func(terminal, merchant string) string {
		t.Helper()
		conn, err := net.Dial("tcp", r.Address("pos").String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		stan++
		req := earning(t, terminal, merchant, stan)
		code, _ := heard(t, dialect.Pos(), swaps(t, conn, written(t, dialect.Pos(), &req)))
		return code
	}
	var codes []string
	for i := range 8 {
		codes = append(codes, asks(fmt.Sprint("T", 1+i%4), "M1"))
	}
	require.Equal(t, "00 00 00 91 91 91 91 91", strings.Join(codes, " "))
	for range 5 {
		require.Equal(t, "00", asks("X1", "M2"))
	}
	require.EqualValues(t, 800, r.usable(t, 1))
	r.stop(t)
}

// No word from the wire chooses a business date: a notice of a cut-over that a partner or a
// terminal sends, dates in its requests of long ago or far ahead, and a clock that it claims.
func TestNobodyOnTheWireCutsOver(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	before, err := r.client.Status(t.Context())
	require.NoError(t, err)
	conn, err := net.Dial("tcp", r.Address("host").String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	d := dialect.Host()
	stan := points.STAN(0)
	for _, settlement := range []uint32{101, 1231, before.Date.AddDays(1).MMDD(), before.Date.AddDays(-1).MMDD()} {
		stan++
		notice := asHost(points.Request{Function: points.CutOverNotice, STAN: stan, Settlement: settlement}, acquirer)
		_, _ = heard(t, d, swaps(t, conn, written(t, d, &notice)))
		stan++
		req := asHost(earning(t, "T1", "M1", stan), acquirer)
		req.LocalDate, req.LocalTime = settlement, 235959
		code, _ := heard(t, d, swaps(t, conn, written(t, d, &req)))
		require.Equal(t, "00", code, "%d", settlement)
	}
	terminal := r.terminal(t, "T1")
	req := request(t, terminal, points.Earn, firstCard, 1)
	req.LocalDate, req.LocalTime = 229, 23000
	receipt, err := terminal.Send(t.Context(), &req)
	require.NoError(t, err)
	require.True(t, receipt.Response.Reason.Approved())
	after, err := r.client.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.Date, after.Date)
	require.Equal(t, before.Cycle, after.Cycle)
	page, err := r.client.Find(t.Context(), app.FindQuery{Terminal: terminalID(t, "T1")})
	require.NoError(t, err)
	require.Len(t, page.Records, 5)
	for _, rec := range page.Records {
		require.Equal(t, before.Date, rec.Date)
	}
	r.stop(t)
}

// What is no message gets no answer of worth from any door, with TLS or without, costs
// nobody else anything, and leaves no record: garbage, lengths that lie, plain HTTP, a
// handshake where none is spoken, and one that ends in the middle.
func TestGarbageAtTheDoors(t *testing.T) {
	hello := append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, bytes.Repeat([]byte{0xA5}, 40)...)
	inputs := map[string][]byte{
		"nothing": {}, "a length of zero": {0, 0}, "many of them": bytes.Repeat([]byte{0}, 4096),
		"a length of 65,535": append([]byte{0xFF, 0xFF}, bytes.Repeat([]byte{0x60}, 300)...),
		"ones":               bytes.Repeat([]byte{0xFF}, 4096), "garbage": bytes.Repeat([]byte{0x00, 0x10, 0xDE, 0xAD}, 512),
		"plain HTTP": []byte("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"), "half a handshake": hello,
		"digits": []byte("0200" + strings.Repeat("9", 500)),
	}
	s := newSecured(t)
	plain := newHouse(t)
	for name, r := range map[string]*running{"tls": s.start(t), "plain": plain.start(t)} {
		r.load(t, smallTown)
		status, err := r.client.Status(t.Context())
		require.NoError(t, err)
		for _, listener := range []string{"pos", "host"} {
			for what, input := range inputs {
				var lines []net.Conn
				bare, err := net.Dial("tcp", r.Address(listener).String())
				require.NoError(t, err)
				lines = append(lines, bare)
				if name == "tls" {
					gate, _ := s.gate(t, certs.AcquirerIdentity(acquirer))
					inside, err := r.line(t, listener, gate)
					require.NoError(t, err)
					lines = append(lines, inside)
				}
				for _, conn := range lines {
					require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
					_, _ = conn.Write(input) // It may be closed before all of it is written.
					if half, ok := conn.(interface{ CloseWrite() error }); ok {
						_ = half.CloseWrite()
					}
					got, _ := io.ReadAll(conn) // However it ends, what counts is what was said.
					require.NotContains(t, string(got), "date", "%s, %s, %s", name, listener, what)
					require.Less(t, len(got), 512, "%s, %s, %s", name, listener, what)
					_ = conn.Close() // Likewise.
				}
			}
		}
		after, err := r.client.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, status.Position, after.Position, name)
		gate, _ := s.gate(t, s.identity(t, "T1"))
		terminal := r.terminal(t, "T1")
		if name == "tls" {
			terminal = r.known(t, "T1", gate)
		}
		require.True(t, send(t, terminal, points.Earn, firstCard, 5).Response.Reason.Approved(), name)
		r.stop(t)
	}
	require.NotContains(t, s.log.String()+plain.log.String(), "level=ERROR")
}

// speaks sends raw HTTP to the operators' door and returns the status line and what follows;
// empty: the connection was closed.
func (r *running) speaks(t *testing.T, config *tls.Config, text string) string {
	t.Helper()
	var conn net.Conn
	conn, err := net.DialTimeout("tcp", r.AdminAddress().String(), 10*time.Second)
	require.NoError(t, err)
	if config != nil {
		config.ServerName, config.NextProtos = "", nil
		conn = tls.Client(conn, config)
	}
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	go func() { _, _ = io.WriteString(conn, text) }() // It may be refused before all of it is read.
	answer, _ := io.ReadAll(io.LimitReader(conn, 1<<16))
	return string(answer)
}

// The operators' door tells nothing to who is no operator, whatever is asked and however it
// is written: without TLS, without a certificate, with a terminal's, an issuer's, that of an
// operator who is not enrolled. What an operator may ask is asked under one spelling.
func TestStrangersAtTheOperatorsDoor(t *testing.T) {
	s := newSecured(t, "admin.owner=li")
	r := s.start(t)
	r.load(t, smallTown)
	_, err := r.client.PutOperator(t.Context(), app.OperatorChange{Name: "li", Roles: book.RoleAdmin | book.RoleOperator})
	require.NoError(t, err)
	li, _ := s.gate(t, certs.OperatorIdentity("li"))
	as := func(gate *certs.Gate) *tls.Config { return gate.Client(certs.OfRole(certs.RoleSwitch)) }
	ask := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	}
	require.Contains(t, r.speaks(t, as(li), ask("/v1/status")), "200 OK")
	terminal, _ := s.gate(t, s.identity(t, "T1"))
	issuer, _ := s.gate(t, certs.IssuerIdentity(10000001))
	wang, _ := s.gate(t, certs.OperatorIdentity("wang"))
	for who, config := range map[string]*tls.Config{
		"without TLS": nil, "without a certificate": {InsecureSkipVerify: true, MinVersion: tls.VersionTLS13},
		"a terminal": as(terminal), "an issuer": as(issuer), "an operator who is not enrolled": as(wang),
	} {
		for _, path := range []string{"/v1/status", "/v1/../v1/status", "//v1/status", "/v1//status", "/%76%31/status", "/v1/status%00", "/V1/STATUS", "/v1/directory", "/metrics", "http://x/v1/status", "/v1/status?operator=li"} {
			answer := r.speaks(t, config, ask(path)+ask("/v1/status"))
			require.NotContains(t, answer, "200 OK", "%s asks for %s", who, path)
			require.NotContains(t, answer, "position", "%s asks for %s", who, path)
		}
		for _, header := range []string{"Authorization: Bearer li", "Authorization: Basic bGk6bGk=", "X-Forwarded-User: li", "X-Client-Cert: li", "X-HTTP-Method-Override: GET"} {
			answer := r.speaks(t, config, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+header+"\r\n\r\n")
			require.NotContains(t, answer, "200 OK", "%s with %s", who, header)
		}
		answer := r.speaks(t, config, "POST /v1/adjust HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+ask("/v1/status"))
		require.NotContains(t, answer, "200 OK", "%s with two lengths", who)
	}
	r.stop(t)
}

// What an operator sends is bounded and read in one way: bodies that do not end, that are
// nothing but brackets, and names of operators that look like others' are refused, and who
// was refused is not there.
func TestHostileBodiesAndNames(t *testing.T) {
	s := newSecured(t, "admin.owner=li")
	r := s.start(t)
	r.load(t, smallTown)
	_, err := r.client.PutOperator(t.Context(), app.OperatorChange{Name: "li", Roles: book.RoleAdmin | book.RoleOperator})
	require.NoError(t, err)
	li, _ := s.gate(t, certs.OperatorIdentity("li"))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: li.Client(certs.OfRole(certs.RoleSwitch))}}
	defer client.CloseIdleConnections()
	for what, body := range map[string]string{
		"20 MB of blanks":   strings.Repeat(" ", 20<<20) + `{"member":1}`,
		"100,000 brackets":  strings.Repeat("[", 100_000),
		"100,000 objects":   strings.Repeat(`{"a":`, 100_000),
		"a very long name":  `{"` + strings.Repeat("a", 1<<20) + `":1}`,
		"a very long value": `{"member":` + strings.Repeat("9", 1<<20) + `}`,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.AdminAddress().String()+"/v1/accounts", strings.NewReader(body))
		require.NoError(t, err)
		response, err := client.Do(request)
		if err != nil {
			continue // Cut off in the middle of it.
		}
		answer, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.GreaterOrEqual(t, response.StatusCode, 400, what)
		require.Less(t, response.StatusCode, 500, what)
		require.Less(t, len(answer), 4096, what)
	}
	remote := app.NewRemoteClient("https://"+r.AdminAddress().String(), li.Client(certs.OfRole(certs.RoleSwitch)))
	for _, name := range []string{"", "LI", "Li", "li ", " li", "li/x", "../li", "li\x00", "l\u0456", "li\u200b", "ｌｉ", strings.Repeat("l", 200), "li\n"} {
		_, err := remote.PutOperator(t.Context(), app.OperatorChange{Name: name, Roles: book.RoleAdmin})
		require.Error(t, err, "%q", name)
		require.NotEqual(t, points.InternalError, points.ReasonOf(err), "%q", name)
	}
	operators, err := remote.Operators(t.Context())
	require.NoError(t, err)
	require.Len(t, operators, 1)
	r.stop(t)
}

// Hundreds of handshakes that end in the middle, and as many connections that say nothing,
// keep nobody from being served meanwhile.
func TestServedBetweenStrangers(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	r.load(t, smallTown)
	hello := append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, bytes.Repeat([]byte{0xA5}, 40)...)
	for i := range 300 {
		conn, err := net.Dial("tcp", r.Address([]string{"pos", "host"}[i%2]).String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		if i%3 != 0 {
			_, err = conn.Write(hello)
			require.NoError(t, err)
		}
	}
	gate, _ := s.gate(t, s.identity(t, "T1"))
	for range 5 {
		terminal := r.known(t, "T1", gate)
		terminal.STAN = points.STAN(r.usable(t, 1))
		require.True(t, send(t, terminal, points.Earn, firstCard, 5).Response.Reason.Approved())
		require.NoError(t, terminal.HangUp())
	}
	require.EqualValues(t, 25, r.usable(t, 1))
	r.stop(t)
}
