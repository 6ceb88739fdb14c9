package pointswitch_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// Stories of terminals and partners, from bytes on a socket to bytes on a socket.
// Beside every answer stands what the journal and the accounts did. Whatever is
// refused changes no account; whatever is refused at the door leaves no trace.
//
//	send FUNCTION [as=NAME] ...      a request; see story.request for its arguments
//	again NAME [conn=2]              the same bytes once more
//	reverse NAME [as=NAME] ...       the reversal of a request that was sent
//	upload NAME... [as=NAME]         a terminal sends earlier requests up, eight at most;
//	                                 NAME=N with another amount, NAME=none with a STAN of its own
//	card NAME status=STATUS          an operator changes a card
//	program N status=STATUS          ... a programme
//	order MERCHANT N N ...           ... in which order a merchant takes programmes
//	give member=N program=N amount=N ... a balance
//	tender MERCHANT terms=(...)      the terms on which programmes pay together there
//	accounts                         what all members have
//	wait DURATION, cutover DATE      time passes
//	restart                          the house is stopped and started again
func TestFlows(t *testing.T) {
	datadriven.Walk(t, "testdata/flows", func(t *testing.T, path string) {
		s := newStory(t)
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			s.t, s.h.t = t, t
			return s.act(td)
		})
		s.h.verify()
		s.h.stop()
		requireNoSecrets(t, s.h.log.text())
	})
}

// requireNoSecrets requires that a log names no card and no PIN block that was used.
func requireNoSecrets(t *testing.T, log string) {
	t.Helper()
	require.Contains(t, log, `"msg":"request"`)
	require.Contains(t, log, `"card":"6222`, "cards are in the log, masked")
	for name, digits := range cards() {
		require.NotContains(t, log, digits, "card %s in clear", name)
	}
	folded := strings.ToLower(log)
	require.NotContains(t, folded, strings.ToLower(hex.EncodeToString([]byte(pinBlock))), "a PIN block")
	require.NotContains(t, log, pinBlock)
	require.NotContains(t, log, base64.StdEncoding.EncodeToString([]byte(pinBlock)))
}

// story is a house, its peers and what they sent.
type story struct {
	t     testing.TB
	h     *house
	pos   *dialect.Dialect
	host  *dialect.Dialect
	peers map[string]*peer
	sent  map[string]*sent
	stan  points.STAN
}

// sent is a request that was sent, with its answer.
type sent struct {
	dialect *dialect.Dialect
	req     points.Request
	frame   []byte
	answer  []byte
	resp    points.Response
}

func newStory(t testing.TB) *story {
	s := &story{
		t: t, h: newHouse(t), pos: dialect.Pos(), host: dialect.Host(),
		peers: make(map[string]*peer), sent: make(map[string]*sent),
	}
	s.h.furnish()
	return s
}

func (s *story) act(td *datadriven.TestData) string {
	switch td.Cmd {
	case "send":
		return s.send(td)
	case "again":
		return s.again(td)
	case "reverse":
		return s.reverse(td)
	case "upload":
		return s.upload(td)
	case "issuer":
		return s.changeIssuer(td)
	case "merchant":
		return s.renameMerchant(td)
	case "parameters":
		return s.parameters(td)
	case "card":
		return s.changeCard(td)
	case "program":
		return s.changeProgram(td)
	case "tender":
		var err error
		merchant := *s.h.router.Table().MerchantOf(parseMerchant(s.t, td.CmdArgs[0].Key))
		merchant.Tender, err = router.ParseTender(strings.Join(td.CmdArgs[1].Vals, ","))
		require.NoError(s.t, err)
		s.h.put(book.Entry{Merchant: &merchant})
		return ""
	case "order":
		return s.order(td)
	case "give":
		var member points.MemberID
		var program points.ProgramID
		var amount points.Amount
		td.ScanArgs(s.t, "member", &member)
		td.ScanArgs(s.t, "program", &program)
		td.ScanArgs(s.t, "amount", &amount)
		s.h.do(book.Command{Kind: book.KindAdjust, Member: member, Program: program, Amount: amount, Operator: "anna", Second: "bo"})
		return s.accounts()
	case "accounts":
		return s.accounts()
	case "wait":
		d, err := time.ParseDuration(td.CmdArgs[0].Key)
		require.NoError(s.t, err)
		s.h.wait(d)
		return s.h.clock().String() + "\n"
	case "cutover":
		date, err := points.ParseBusinessDate(td.CmdArgs[0].Key)
		require.NoError(s.t, err)
		cut := book.Command{Kind: book.KindCutOver, Date: date}
		if td.HasArg("keep") { // What the door's freshness asks for.
			cut.TraceTime = uint32(pointswitch.Remembers(freshBehind) / time.Second)
		}
		s.h.do(cut)
		return ""
	case "restart":
		s.restart()
		return ""
	default:
		td.Fatalf(s.t, "unknown command %s", td.Cmd)
		return ""
	}
}

func (s *story) restart() {
	s.h.stop()
	clear(s.peers)
	s.h.start()
}

func statusOf(t testing.TB, name string) book.Status {
	known := map[string]book.Status{
		"active": book.Active, "suspended": book.Suspended, "lost": book.Lost, "stolen": book.Stolen, "closed": book.Closed,
	}
	status, ok := known[name]
	require.True(t, ok, "status %s", name)
	return status
}

func (s *story) changeCard(td *datadriven.TestData) string {
	var status string
	td.ScanArgs(s.t, "status", &status)
	var token points.CardToken
	s.h.cardKey.Token(&token, parsePAN(s.t, cards()[td.CmdArgs[0].Key]))
	var card book.Card
	s.h.view(func(b *book.Book) {
		found, ok, err := b.Card(token)
		require.NoError(s.t, err)
		require.True(s.t, ok)
		card = found
	})
	card.Status = statusOf(s.t, status)
	s.h.put(book.Entry{Card: &card})
	return ""
}

func (s *story) changeProgram(td *datadriven.TestData) string {
	var status string
	td.ScanArgs(s.t, "status", &status)
	id, err := strconv.ParseUint(td.CmdArgs[0].Key, 10, 16)
	require.NoError(s.t, err)
	program, ok := s.h.router.Table().Program(points.ProgramID(id))
	require.True(s.t, ok)
	changed := *program
	changed.Status = statusOf(s.t, status)
	s.h.put(book.Entry{Program: &changed})
	return ""
}

// upload sends items up: 0320 with DE60.3 201.
func (s *story) upload(td *datadriven.TestData) string {
	s.stan++
	req := points.Request{
		Function: points.BatchUpload, STAN: s.stan, Batch: 1, Terminal: parseTerminal(s.t, "T1"), Merchant: parseMerchant(s.t, "SHOP"),
	}
	name := "upload"
	var items []dialect.UploadItem
	for _, arg := range td.CmdArgs {
		switch arg.Key {
		case "as":
			name = arg.Vals[0]
			continue
		case "batch":
			req.Batch = uint32(integer(s.t, arg.Vals[0]))
			continue
		case "terminal":
			req.Terminal = parseTerminal(s.t, arg.Vals[0])
			continue
		}
		first, ok := s.sent[arg.Key]
		require.True(s.t, ok, "%s: %s", td.Pos, arg.Key)
		item := dialect.UploadItem{STAN: first.req.STAN, PAN: first.req.PAN, Amount: first.req.Amount}
		switch {
		case len(arg.Vals) == 0:
		case arg.Vals[0] == "none":
			item.STAN += 500_000
		default:
			item.Amount = points.Amount(integer(s.t, arg.Vals[0]))
		}
		items = append(items, item)
	}
	frame, err := s.pos.AppendUpload(nil, &req, items)
	require.NoError(s.t, err, "%s", td.Pos)
	require.NoError(s.t, s.pos.Decode(frame, &req), "%s", td.Pos)
	x := &sent{dialect: s.pos, req: req, frame: frame}
	s.sent[name] = x
	out := s.exchange(td, x)
	if x.resp.Reason.Approved() {
		sent, err := s.pos.DecodeUpload(x.frame)
		require.NoError(s.t, err)
		got, err := s.pos.DecodeUpload(x.answer)
		require.NoError(s.t, err)
		require.Equal(s.t, sent, got, "the answer gives the items back")
	}
	return out
}

func (s *story) changeIssuer(td *datadriven.TestData) string {
	var status string
	td.ScanArgs(s.t, "status", &status)
	s.h.put(book.Entry{Issuer: &book.Issuer{ID: points.IssuerID(integer(s.t, td.CmdArgs[0].Key)), Name: "Issuer", Status: statusOf(s.t, status)}})
	return ""
}

func (s *story) renameMerchant(td *datadriven.TestData) string {
	id := parseMerchant(s.t, td.CmdArgs[0].Key)
	changed := *s.h.router.Table().MerchantOf(id)
	td.ScanArgs(s.t, "name", &changed.NameZH)
	s.h.put(book.Entry{Merchant: &changed})
	return ""
}

// order changes in which order a merchant takes programmes.
func (s *story) order(td *datadriven.TestData) string {
	changed := *s.h.router.Table().MerchantOf(parseMerchant(s.t, td.CmdArgs[0].Key))
	changed.Programs = nil
	for _, arg := range td.CmdArgs[1:] {
		changed.Programs = append(changed.Programs, points.ProgramID(integer(s.t, arg.Key)))
	}
	s.h.put(book.Entry{Merchant: &changed})
	return ""
}

// parameters puts other parameters of terminals in force: time-outs in seconds for all,
// for SHOP and for T1.
func (s *story) parameters(td *datadriven.TestData) string {
	var rules []pointswitch.TerminalParameters
	for _, arg := range td.CmdArgs {
		r := pointswitch.TerminalParameters{Parameters: dialect.Parameters{TimeOut: int(integer(s.t, arg.Vals[0])), Retries: -1, Resends: -1}}
		switch arg.Key {
		case "SHOP":
			r.Merchant = parseMerchant(s.t, arg.Key)
		case "T1":
			r.Terminal = parseTerminal(s.t, arg.Key)
		}
		rules = append(rules, r)
	}
	s.h.sw.Reload(rules)
	return ""
}

func (s *story) accounts() string {
	var out strings.Builder
	for _, a := range s.h.standings() {
		fmt.Fprintf(&out, "member %d  %d  %6d free  %4d held\n", a.member, a.program, a.free, a.held)
	}
	return out.String()
}

func (s *story) send(td *datadriven.TestData) string {
	req := s.request(td)
	d := s.speaks(td)
	require.NoError(s.t, d.Complete(&req), "%s", td.Pos)
	frame, err := d.AppendRequest(nil, &req)
	require.NoError(s.t, err, "%s", td.Pos)
	if td.HasArg("drop") {
		frame = s.dropping(td, d, &req)
	}
	if td.HasArg("spoil") {
		var from, to string
		td.ScanArgs(s.t, "spoil", &from, &to)
		at := bytes.LastIndex(frame, []byte(from))
		require.Positive(s.t, at, "%s: %q in the frame", td.Pos, from)
		copy(frame[at:], to)
	}
	name := "last"
	td.MaybeScanArgs(s.t, "as", &name)
	x := &sent{dialect: d, req: req, frame: frame}
	s.sent[name] = x
	return s.exchange(td, x)
}

// dropping writes req without one of its data elements, which AppendRequest
// would not do for a request that says its function.
func (s *story) dropping(td *datadriven.TestData, d *dialect.Dialect, req *points.Request) []byte {
	var de int
	td.ScanArgs(s.t, "drop", &de)
	bare := points.Request{
		Envelope: req.Envelope, PAN: req.PAN, Processing: req.Processing, Amount: req.Amount, Transmission: req.Transmission,
		STAN: req.STAN, EntryMode: req.EntryMode, Condition: req.Condition, Acquirer: req.Acquirer, Terminal: req.Terminal,
		Merchant: req.Merchant, Program: req.Program, Kind: req.Kind, Batch: req.Batch,
	}
	for _, mark := range []int{3, 25} {
		if mark != de && req.Has(mark) {
			bare.Mark(mark)
		}
	}
	switch de {
	case 2:
		bare.PAN = points.PAN{}
	case 3:
	case 4:
		bare.Amount = 0
	case 7:
		bare.Transmission = 0
	case 11:
		bare.STAN = 0
	case 41:
		bare.Terminal = points.TerminalID{}
	case 42:
		bare.Merchant = points.MerchantID{}
	default:
		td.Fatalf(s.t, "drop %d", de)
	}
	frame, err := d.AppendRequest(nil, &bare)
	require.NoError(s.t, err, "%s", td.Pos)
	*req = bare
	return frame
}

// speaks tells which dialect a command is in.
func (s *story) speaks(td *datadriven.TestData) *dialect.Dialect {
	if td.HasArg("host") {
		return s.host
	}
	return s.pos
}

// again sends the bytes of an earlier request and requires the bytes of its
// answer, unless the story says that it differs.
func (s *story) again(td *datadriven.TestData) string {
	first, ok := s.sent[td.CmdArgs[0].Key]
	require.True(s.t, ok, "%s", td.Pos)
	x := &sent{dialect: first.dialect, req: first.req, frame: first.frame}
	out := s.exchange(td, x)
	if bytes.Equal(first.answer, x.answer) {
		return "the same bytes\n" + out
	}
	return "another answer\n" + out
}

// reverse reverses an earlier request, a partner's by DE90.
//
//	merchantless   without terminal and merchant
//	by38           by DE38 and the card, without DE90
//	host           in the partner's name, whoever sent the original
//	card=NAME      with another card
//	amount=N       with another amount
//	actual=N       but for N, which stand (DE95)
//	claims=WORD    as if the original had been of another function
//	mti=0, when=0  DE90 does not say the message type, the transmission time
//	acquirer=N     DE90 says another acquirer
func (s *story) reverse(td *datadriven.TestData) string {
	first, ok := s.sent[td.CmdArgs[0].Key]
	require.True(s.t, ok, "%s", td.Pos)
	req, d := first.req, first.dialect
	req.Function, req.Reversed = points.Reversal, first.req.Function
	req.Envelope.MTI = 0
	copy(req.Answer[:], "98")
	if d == s.host || td.HasArg("host") {
		d = s.host
		req = s.hostReversal(td, first)
	}
	if name := ""; td.MaybeScanArgs(s.t, "card", &name) {
		req.PAN = parsePAN(s.t, cards()[name])
	}
	td.MaybeScanArgs(s.t, "actual", &req.Actual)
	amount, claim := int64(req.Amount), ""
	td.MaybeScanArgs(s.t, "amount", &amount)
	req.Amount = points.Amount(amount)
	if td.MaybeScanArgs(s.t, "claims", &claim); claim != "" {
		require.NoError(s.t, req.Reversed.UnmarshalText([]byte(claim)), "%s", td.Pos)
		req.Processing, req.Condition, req.Kind = 0, 0, 0
		req.Unmark(3)
		req.Unmark(25)
	}
	require.NoError(s.t, d.Complete(&req), "%s", td.Pos)
	frame, err := d.AppendRequest(nil, &req)
	require.NoError(s.t, err, "%s", td.Pos)
	name := "reversal"
	td.MaybeScanArgs(s.t, "as", &name)
	x := &sent{dialect: d, req: req, frame: frame}
	s.sent[name] = x
	return s.exchange(td, x)
}

func (s *story) hostReversal(td *datadriven.TestData, first *sent) points.Request {
	s.stan++
	req := points.Request{
		Function: points.Reversal, Reversed: first.req.Function, PAN: first.req.PAN, Amount: first.req.Amount, Program: first.req.Program,
		Transmission: s.stampNow(), STAN: 900_000 + s.stan, Acquirer: partner,
	}
	if first.dialect == s.host && first.req.Has(25) {
		req.Condition = first.req.Condition
		req.Mark(25)
	}
	if !td.HasArg("merchantless") {
		req.Terminal, req.Merchant = parseTerminal(s.t, "OWN1"), parseMerchant(s.t, "MALL")
	}
	if td.HasArg("by38") {
		req.AuthCode = first.resp.AuthCode
		return req
	}
	req.Original = s.named90(&first.req)
	td.MaybeScanArgs(s.t, "mti", &req.Original.MTI)
	td.MaybeScanArgs(s.t, "when", &req.Original.Transmission)
	td.MaybeScanArgs(s.t, "acquirer", &req.Original.Acquirer)
	return req
}

func (s *story) stampNow() uint64 {
	return stampOf(s.h.clock().Time())
}

func stampOf(at time.Time) uint64 {
	n, _ := strconv.ParseUint(at.UTC().Format("0102150405"), 10, 64)
	return n
}

// named90 is DE90 for a request of a partner.
func (s *story) named90(req *points.Request) points.Original {
	return points.Original{
		Present: true, MTI: req.Envelope.MTI, STAN: req.STAN, Transmission: req.Transmission,
		Acquirer: req.Acquirer, Forwarder: req.Forwarder,
	}
}

// exchange sends a request and tells what came of it: the answer, the reason as
// it was logged, and what journal and accounts did.
func (s *story) exchange(td *datadriven.TestData, x *sent) string {
	before, from := s.h.standings(), s.h.ledger.Durable()
	x.answer = s.carry(td, x)
	var out strings.Builder
	entry := s.h.log.next(s.t)
	var echo points.Request
	require.NoError(s.t, x.dialect.DecodeResponse(x.answer, &echo, &x.resp))
	require.Equal(s.t, entry["de39"], x.resp.Reason.DE39(), "the log says another code than the answer")
	s.requireEcho(x, &echo)
	fmt.Fprintf(&out, "%04d %s %s%s", echo.Envelope.MTI, entry["de39"], entry["reason"], describeAnswer(x, &echo))
	if field, ok := entry["field"]; ok {
		fmt.Fprintf(&out, "  field %v: %v", field, entry["error"])
	}
	if entry["repeat"] == true {
		out.WriteString("  repeat")
	}
	out.WriteByte('\n')
	describeBalances(&out, &x.resp)
	after, to := s.h.standings(), s.h.ledger.Durable()
	fmt.Fprintf(&out, "  journal +%d", to-from)
	moved := movements(before, after)
	fmt.Fprintf(&out, "%s\n", moved)
	var reason points.Reason
	require.NoError(s.t, reason.UnmarshalText([]byte(entry["reason"].(string))))
	if !reason.Approved() {
		require.Equal(s.t, before, after, "%s: refused, and yet points moved", td.Pos)
		require.Zero(s.t, x.resp.NBalances)
		require.Zero(s.t, x.resp.AuthCode)
		require.Zero(s.t, x.resp.Used)
	}
	if leavesNoTrace(reason) || entry["repeat"] == true {
		require.Equal(s.t, from, to, "%s: refused at the door, and yet in the journal", td.Pos)
		require.Equal(s.t, before, after)
	}
	return out.String()
}

// leavesNoTrace lists the reasons of the door (messages.md 10.2): the journal
// knows nothing of them.
func leavesNoTrace(reason points.Reason) bool {
	return slices.Contains([]points.Reason{
		points.FormatError, points.UnknownTerminal, points.UnknownMerchant, points.ForeignIdentity, points.TerminalBlocked,
		points.MerchantBlocked, points.AcquirerSuspended, points.NotFresh, points.UnknownFunction, points.FunctionDisabled, points.DuplicateOther,
		points.NoRoute, points.LineDown, points.Overloaded, points.Draining,
	}, reason)
}

// carry sends a frame on the connection that the command names and returns the answer.
func (s *story) carry(td *datadriven.TestData, x *sent) []byte {
	name := x.dialect.Name()
	var number int
	if td.MaybeScanArgs(s.t, "conn", &number); number != 0 {
		name = fmt.Sprint(name, number)
	}
	var shown string
	td.MaybeScanArgs(s.t, "shown", &shown)
	p := s.peers[name+shown]
	if p == nil {
		server := s.h.pos
		if x.dialect == s.host {
			server = s.h.host
		}
		if shown != "" {
			server = s.door(x.dialect, shown)
		}
		p = s.h.dial(server)
		s.peers[name+shown] = p
	}
	p.t = s.t
	p.send(x.frame)
	answer := p.receive()
	require.NotNil(s.t, answer, "%s: no answer", td.Pos)
	return answer
}

// door is a listener whose connections are all of one identity.
func (s *story) door(d *dialect.Dialect, identity string) *link.Server {
	who, err := certs.ParseIdentity(identity)
	require.NoError(s.t, err)
	door := points.DoorTerminal
	if d == s.host {
		door = points.DoorHost
	}
	server := s.h.listenAs(s.h.sw.Listener("known", d, door, pointswitch.Rate{}), certs.PlainPeer(who))
	s.h.doors = append(s.h.doors, server)
	return server
}

// requireEcho holds an answer to what the sender matches on.
func (s *story) requireEcho(x *sent, echo *points.Request) {
	s.t.Helper()
	require.Equal(s.t, dialect.AnswerTo(x.req.Envelope.MTI), echo.Envelope.MTI)
	require.Equal(s.t, x.req.STAN, echo.STAN)
	require.Equal(s.t, x.req.Terminal, echo.Terminal)
	require.Equal(s.t, x.req.Merchant, echo.Merchant)
	require.Equal(s.t, x.req.Has(64), echo.Has(64))
	if x.resp.Reason == points.FormatError {
		return // What was spoiled is not echoed.
	}
	require.Equal(s.t, x.req.Processing, echo.Processing)
	if x.resp.Reason != points.ApprovedPartly {
		require.Equal(s.t, x.req.Amount, echo.Amount)
	}
	if x.dialect == s.host {
		require.Equal(s.t, x.req.Transmission, echo.Transmission)
		if x.req.Has(37) {
			require.Equal(s.t, x.req.RRN, echo.RRN)
		}
		return
	}
	if x.resp.Please != 0 {
		echo.Envelope.Header[2] &= 0xF0
	}
	require.Equal(s.t, x.req.Envelope.Header, echo.Envelope.Header)
	require.NotZero(s.t, x.resp.LocalDate, "DE13 sets the terminal's clock")
}

func describeAnswer(x *sent, echo *points.Request) string {
	var out strings.Builder
	r := &x.resp
	if r.Position != 0 {
		fmt.Fprintf(&out, "  rrn %d", r.Position)
	}
	if r.AuthCode != [6]byte{} {
		fmt.Fprintf(&out, " auth %s", r.AuthCode)
	}
	if r.Date != 0 {
		fmt.Fprintf(&out, " date %04d", r.Date)
	}
	if r.Amount != x.req.Amount {
		fmt.Fprintf(&out, " amount %d", r.Amount)
	}
	if r.Used != 0 || r.SelfPaid != 0 {
		fmt.Fprintf(&out, " used %d to pay %d", r.Used, r.SelfPaid)
	}
	for _, p := range r.Paid[:r.NPaid] {
		fmt.Fprintf(&out, " (%d pays %d with %d)", p.Program, p.Covers, p.Amount)
	}
	if r.Issuer != 0 {
		fmt.Fprintf(&out, " issuer %d", r.Issuer)
	}
	if r.Acquirer == 0 {
		out.WriteString(" no acquirer")
	}
	if echo.Program != x.req.Program {
		fmt.Fprintf(&out, " program %d", echo.Program)
	}
	if x.req.Function == points.SignOn && x.dialect.Name() == "pos" {
		fmt.Fprintf(&out, " batch %d clock %04d %06d", echo.Batch, r.LocalDate, r.LocalTime)
	}
	if r.Please != 0 {
		fmt.Fprintf(&out, " please %d", r.Please)
	}
	if r.List != "" {
		list, err := simplifiedchinese.GBK.NewDecoder().String(r.List)
		if err != nil {
			list = err.Error()
		}
		fmt.Fprintf(&out, " list %s", strings.Join(strings.Fields(list), " "))
	}
	if r.Field != 0 {
		fmt.Fprintf(&out, " DE44 names field %d", r.Field)
	}
	if r.Detail != "" {
		fmt.Fprintf(&out, " %q", r.Detail)
	}
	return out.String()
}

func describeBalances(out *strings.Builder, resp *points.Response) {
	if resp.NBalances == 0 {
		return
	}
	out.WriteString(" ")
	for _, b := range resp.Balances[:resp.NBalances] {
		kind := "available"
		if b.Kind == points.LedgerBalance {
			kind = "ledger"
		}
		fmt.Fprintf(out, " %d %s %d", b.Program, kind, b.Amount)
	}
	out.WriteByte('\n')
}

// movements tells how accounts changed.
func movements(before, after []standing) string {
	was := make(map[[2]uint64]standing)
	for _, a := range before {
		was[[2]uint64{uint64(a.member), uint64(a.program)}] = a
	}
	var out strings.Builder
	for _, a := range after {
		w := was[[2]uint64{uint64(a.member), uint64(a.program)}]
		if a.free != w.free {
			fmt.Fprintf(&out, "; member %d %d free %d -> %d", a.member, a.program, w.free, a.free)
		}
		if a.held != w.held {
			fmt.Fprintf(&out, "; member %d %d held %d -> %d", a.member, a.program, w.held, a.held)
		}
	}
	return out.String()
}
