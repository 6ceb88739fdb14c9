package pointswitch_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Stories of an issuer that keeps its own ledger, at the other end of a link: what the
// acquirer asks and hears, what the issuer is sent and answers, what clearing says.
//
//	up, down                         the issuer's host connects, is cut off
//	ask FUNCTION [as=NAME] ...       a request; see story.request for its arguments
//	                                 later: it is on its way, and comes with again
//	again NAME                       the same bytes once more, under the name again
//	undo NAME [as=NAME] [actual=N]   the acquirer's reversal of a request; actual of it stands
//	hears NAME                       the answer to a request of the acquirer
//	gets [as=NAME]                   the next message that the issuer is sent
//	silence                          ... there is none
//	says NAME CODE [amount=N] [...]  the issuer answers a message
//	wait DURATION                    time passes
//	crash                            the switch is killed and started again
//	books                            what is unfinished, and clearing
//	resolve NAME stands|gone         the operators end what was left to them
//	links                            how the connections are
//	route LINKS                      the cards' route lists links to the issuer
//	tender MERCHANT terms=(...)      the terms on which programmes pay together there
//	also PROGRAM                     SHOP takes another programme of the issuer
//	accounts                         what the members have
//	at main|reserve                  from here on "the issuer" is its host at that link
//	cutover DATE                     the business date changes
//	program NUMBER status=WORD       the operators close a programme, or open it
func TestIssuerFlows(t *testing.T) {
	datadriven.Walk(t, "testdata/issuers", func(t *testing.T, path string) {
		s := newRemoteStory(t, strings.Contains(path, "stand_in"), strings.Contains(path, "doubt"))
		if strings.Contains(path, "routes") {
			s.withReserve()
		}
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			s.t, s.h.t, s.there.t = t, t, t
			return s.act(td)
		})
		s.h.verify()
		for _, host := range s.hosts {
			host.hangUp()
		}
		s.h.stop()
		requireNoCards(t, s.h.log.text())
	})
}

func requireNoCards(t *testing.T, log string) {
	t.Helper()
	for name, digits := range cards() {
		require.NotContains(t, log, digits, "card %s in clear", name)
	}
}

type remoteStory struct {
	story
	there *host
	hosts map[string]*host
	asked map[string]*peer          // of the acquirer's requests, by name
	told  map[string]points.Request // what the issuer was sent, by name
	early map[string][]byte         // answers that came while another was waited for
}

func newRemoteStory(t testing.TB, standIn, doubtful bool) *remoteStory {
	h, there := withIssuer(t, func(p *pointswitch.LinkProfile) {
		if standIn {
			p.StandIn = pointswitch.StandIn{Programs: []points.ProgramID{903}, MaxAmount: 100, MaxDay: 150, MaxCount: 3, AfterTimeout: doubtful}
		}
	})
	return &remoteStory{
		story: story{t: t, h: h, pos: dialect.Pos(), host: dialect.Host(), peers: make(map[string]*peer), sent: make(map[string]*sent)},
		early: make(map[string][]byte), there: there, hosts: map[string]*host{"main": there}, asked: make(map[string]*peer), told: make(map[string]points.Request),
	}
}

// withReserve gives the issuer a second host, at the end of another link.
func (s *remoteStory) withReserve() {
	there := newHost(s.t)
	reserve := far(there.address)
	reserve.Name, reserve.Institution, reserve.Paths = "reserve", 30000002, reserve.Paths[:1]
	reserve.Paths[0].Name = "reserve"
	s.hosts["reserve"] = there
	s.h.links = append(s.h.links, reserve)
	require.NoError(s.t, s.h.issuers.Reload(s.h.links))
}

func (s *remoteStory) act(td *datadriven.TestData) string {
	name := ""
	if len(td.CmdArgs) > 0 {
		name = td.CmdArgs[0].Key
	}
	switch td.Cmd {
	case "up":
		s.h.up(s.there)
		return s.h.linkStates()
	case "down":
		s.h.down(s.there)
		return s.h.linkStates()
	case "links":
		return s.h.linkStates()
	case "route":
		links, err := router.ParseLinks(strings.ReplaceAll(name, "/", ","))
		require.NoError(s.t, err)
		s.h.put(book.Entry{Route: &book.Route{Prefix: "99", Issuer: remote, Links: links}})
		return ""
	case "at":
		s.there = s.hosts[name]
		s.there.t = s.t
		return ""
	case "ask":
		return s.ask(td)
	case "again":
		first := s.sent[name]
		x := *first
		x.answer = nil
		s.sent["again"] = &x
		return s.post("again", &x)
	case "undo":
		return s.undo(td, name)
	case "hears":
		return s.hears(name)
	case "gets":
		return s.gets(td)
	case "silence":
		s.there.ping()
		require.Empty(s.t, s.there.inbox, "%s", td.Pos)
		return ""
	case "says":
		return s.says(td, name)
	case "wait":
		d, err := time.ParseDuration(name)
		require.NoError(s.t, err)
		s.h.wait(d)
		s.h.round()
		return ""
	case "crash":
		s.h.crash()
		s.there.hangUp()
		s.there.inbox = nil
		s.there.listen(s.there.address)
		clear(s.asked)
		s.h.start()
		return ""
	case "tender", "accounts":
		return s.story.act(td)
	case "also":
		id := points.ProgramID(integer(s.t, name))
		shop := *s.h.router.Table().MerchantOf(parseMerchant(s.t, "SHOP"))
		shop.Programs = append(slices.Clone(shop.Programs), id)
		s.h.put(book.Entry{Program: &book.Program{ID: id, Issuer: remote, Name: "Further", Status: book.Active}}, book.Entry{Merchant: &shop})
		return ""
	case "books":
		return s.books()
	case "cutover":
		date, err := points.ParseBusinessDate(name)
		require.NoError(s.t, err)
		s.h.do(book.Command{Kind: book.KindCutOver, Date: date})
		s.h.issuers.CutOver(date)
		s.h.round()
		return s.h.linkStates()
	case "program":
		return s.changeProgram(td)
	case "resolve":
		return s.resolve(td, name)
	default:
		td.Fatalf(s.t, "unknown command %s", td.Cmd)
		return ""
	}
}

func (s *remoteStory) ask(td *datadriven.TestData) string {
	req := s.request(td)
	d := s.speaks(td)
	require.NoError(s.t, d.Complete(&req), "%s", td.Pos)
	frame, err := d.AppendRequest(nil, &req)
	require.NoError(s.t, err, "%s", td.Pos)
	name := "last"
	td.MaybeScanArgs(s.t, "as", &name)
	s.sent[name] = &sent{dialect: d, req: req, frame: frame}
	if td.HasArg("later") {
		return ""
	}
	return s.post(name, s.sent[name])
}

// post sends a request on a connection of its own. The request is with the ledger when
// post returns, and with the issuer when that is where it goes.
func (s *remoteStory) post(name string, x *sent) string {
	server := s.h.pos
	if x.dialect == s.host {
		server = s.h.host
	}
	from := s.h.ledger.Durable()
	p := s.h.dial(server)
	s.asked[name] = p
	p.send(x.frame, s.echo(x))
	delete(s.early, name)
	for { // The echo is answered when the request before it has been handed on.
		frame := p.receive()
		require.NotNil(s.t, frame)
		if mti, ok := x.dialect.MTI(frame); ok && mti/100 == 8 {
			break
		}
		s.early[name] = frame
	}
	s.h.view(func(*book.Book) {})
	s.h.round()
	return fmt.Sprintf("journal +%d\n", s.h.ledger.Durable()-from)
}

func (s *remoteStory) echo(x *sent) []byte {
	req := points.Request{Function: points.Echo, Terminal: x.req.Terminal, Merchant: x.req.Merchant}
	if x.dialect == s.host {
		req = points.Request{Function: points.Echo, STAN: 1, Transmission: s.stampNow(), Acquirer: x.req.Acquirer}
	}
	frame, err := x.dialect.AppendRequest(nil, &req)
	require.NoError(s.t, err)
	return frame
}

func (s *remoteStory) undo(td *datadriven.TestData, name string) string {
	first := s.sent[name]
	req := first.req
	req.Function, req.Reversed, req.Envelope.MTI = points.Reversal, first.req.Function, 0
	copy(req.Answer[:], "98")
	if td.HasArg("actual") {
		var actual int64
		td.ScanArgs(s.t, "actual", &actual)
		req.Actual = points.Amount(actual)
	}
	if first.dialect == s.host {
		req.Original = points.Original{
			Present: true, MTI: first.req.Envelope.MTI, STAN: first.req.STAN, Transmission: first.req.Transmission, Acquirer: first.req.Acquirer,
		}
		req.Mark(90)
		s.stan++
		req.STAN = s.stan // A second part is another request.
	}
	require.NoError(s.t, first.dialect.Complete(&req))
	frame, err := first.dialect.AppendRequest(nil, &req)
	require.NoError(s.t, err)
	as := "undo"
	td.MaybeScanArgs(s.t, "as", &as)
	s.sent[as] = &sent{dialect: first.dialect, req: req, frame: frame}
	return s.post(as, s.sent[as])
}

func (s *remoteStory) hears(name string) string {
	x := s.sent[name]
	if x.answer = s.early[name]; x.answer == nil {
		x.answer = s.asked[name].receive()
	}
	require.NotNil(s.t, x.answer, "no answer")
	var echo points.Request
	require.NoError(s.t, x.dialect.DecodeResponse(x.answer, &echo, &x.resp))
	s.requireEcho(x, &echo)
	var out strings.Builder
	fmt.Fprintf(&out, "%04d %s%s\n", echo.Envelope.MTI, x.resp.Reason.DE39(), describeAnswer(x, &echo))
	describeBalances(&out, &x.resp)
	for other, y := range s.sent {
		if other != name && bytes.Equal(y.frame, x.frame) && y.answer != nil && x.resp.Reason.DE39() != points.ReversedBefore.DE39() {
			require.Equal(s.t, y.answer, x.answer, "a repeat is answered otherwise")
			out.WriteString("  the same bytes as the first time\n")
		}
	}
	return out.String()
}

func (s *remoteStory) gets(td *datadriven.TestData) string {
	req, _ := s.there.next()
	name := "message"
	td.MaybeScanArgs(s.t, "as", &name)
	s.told[name] = req
	var out strings.Builder
	f := req.Function
	if f == points.CutOverNotice {
		return fmt.Sprintf("%04d %v DE15 %04d  DE7 %010d DE11 %v DE32 %d\n", req.Envelope.MTI, f, req.Settlement, req.Transmission, req.STAN, req.Acquirer)
	}
	if f == points.Reversal {
		f = req.Reversed
		out.WriteString("reversal of ")
	}
	fmt.Fprintf(&out, "%v %d in %d", f, req.Amount, req.Program)
	line := fmt.Sprintf("%04d %s  DE7 %010d DE11 %v DE37 %s DE32 %d DE33 %d", req.Envelope.MTI, out.String(), req.Transmission, req.STAN, req.RRN, req.Acquirer, req.Forwarder)
	if req.Actual != 0 {
		line += fmt.Sprintf("  of which %d stand", req.Actual)
	}
	if !req.TargetPAN.IsZero() {
		line += "  to another card"
	}
	if o := req.Original; o.Present {
		line += fmt.Sprintf("  about %04d DE7 %010d DE11 %v", o.MTI, o.Transmission, o.STAN)
	}
	require.False(s.t, req.PAN.IsZero(), "the issuer knows the card by its number")
	return line + "\n"
}

// says answers as the issuer. amount, stan, terminal and rrn spoil what it echoes;
// used answers points and cash, code gives an authorisation code.
func (s *remoteStory) says(td *datadriven.TestData, name string) string {
	req, ok := s.told[name]
	require.True(s.t, ok, "%s", td.Pos)
	resp := points.Response{Amount: req.Amount, Program: req.Program}
	for _, reason := range points.Reasons() {
		if reason.DE39() == td.CmdArgs[1].Key {
			resp.Reason = reason
			break
		}
	}
	require.NotZero(s.t, resp.Reason, "%s", td.Pos)
	if resp.Reason.Approved() {
		copy(resp.AuthCode[:], "ISSUER")
		resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: req.Program, Amount: 1000})
		resp.AddBalance(points.Balance54{Kind: points.LedgerBalance, Program: req.Program, Amount: 1200})
	}
	for _, arg := range td.CmdArgs[2:] {
		n := integer(s.t, arg.Vals[0])
		switch arg.Key {
		case "amount":
			req.Amount, resp.Amount = points.Amount(n), points.Amount(n)
		case "stan":
			req.STAN = points.STAN(n)
		case "used":
			resp.Used, resp.SelfPaid = points.Amount(n), req.Amount-points.Amount(n)
		case "terminal":
			copy(req.Terminal[:], "OTHER   ")
		case "rrn":
			req.RRN = points.Position(n).RRN()
		default:
			td.Fatalf(s.t, "unknown argument %s", arg.Key)
		}
	}
	from := s.h.ledger.Durable()
	s.there.answer(&req, &resp)
	s.h.round()
	return fmt.Sprintf("journal +%d\n", s.h.ledger.Durable()-from)
}

func (s *remoteStory) books() string {
	s.h.round()
	var out strings.Builder
	phases := map[book.RemotePhase]string{
		book.RemoteOpen: "no answer yet", book.RemoteOwed: "the issuer is owed a reversal",
		book.RemoteTold: "the issuer is owed an advice", book.RemoteQueued: "for the operators",
	}
	s.h.view(func(b *book.Book) {
		positions := b.Unfinished()
		slices.Sort(positions)
		for _, position := range positions {
			view, ok, err := b.Remote(position)
			require.NoError(s.t, err)
			require.True(s.t, ok)
			fmt.Fprintf(&out, "%d %v %d: %s\n", position, view.Function, view.Asked, phases[view.Phase])
		}
		for _, line := range b.Totals() {
			if line.Program == 903 {
				fmt.Fprintf(&out, "%v %d\n", line.Kind, line.Amount)
			}
		}
	})
	return out.String()
}

func (s *remoteStory) resolve(td *datadriven.TestData, name string) string {
	answer := map[string]points.Reason{"stands": points.Approved, "gone": points.ReversedBefore}[td.CmdArgs[1].Key]
	req := s.told[name]
	position, err := points.ParseRRN(req.RRN[:])
	require.NoError(s.t, err)
	out := s.h.do(book.Command{Kind: book.KindResolve, Original: position, Answer: answer, Operator: "li", Second: "wang"})
	return fmt.Sprintf("%v, amount %d\n", out.Reason, out.Amount)
}
