package pointswitch_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// pair is a switch, and the issuer at the end of its link, which is one too.
type pair struct {
	*house
	issuer *house
	link   pointswitch.LinkProfile
	stan   points.STAN
	said   map[string]points.Response
	reqs   map[string]points.Request
}

func newPair(t *testing.T) *pair {
	issuer := newHouse(t)
	issuer.furnishFar()
	issuer.put(
		book.Entry{Issuer: &book.Issuer{ID: remote, Name: "Remote", Status: book.Active}},
		book.Entry{Acquirer: &book.Acquirer{ID: 30000001, Name: "Switch", Status: book.Active}},
	)
	for i, name := range []string{"remote", "remote2"} {
		member := points.MemberID(6 + i)
		pan := parsePAN(t, cards()[name])
		card := &book.Card{Masked: pan.Masked(), Member: member, Status: book.Active}
		issuer.cardKey.Token(&card.Token, pan)
		issuer.put(book.Entry{Member: &book.Member{ID: member, Status: book.Active}}, book.Entry{Card: card})
		issuer.do(book.Command{Kind: book.KindOpen, Member: member, Program: 903, Operator: "anna"})
		issuer.do(book.Command{Kind: book.KindAdjust, Member: member, Program: 903, Amount: 1000, Operator: "anna", Second: "bo"})
	}
	link := far(issuer.host.Addr().String())
	link.StandIn = pointswitch.StandIn{Programs: []points.ProgramID{903}, AfterTimeout: true}
	h := newHouseOf(t, nil, []pointswitch.LinkProfile{link})
	h.furnishFar()
	return &pair{house: h, issuer: issuer, link: link, said: make(map[string]points.Response), reqs: make(map[string]points.Request)}
}

// connect puts the link in force, or cuts it, and waits for that.
func (p *pair) connect(up bool) {
	p.t.Helper()
	link := p.link
	if !up {
		link.Paths = nil
	}
	require.NoError(p.t, p.issuers.Reload([]pointswitch.LinkProfile{link}))
	p.until(func() bool {
		states := p.issuers.Links()
		return up == (len(states) > 0 && states[0].State == "up")
	})
}

// until lets the leg work until condition holds.
func (p *pair) until(condition func() bool) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		_, _, err := p.issuers.Round(p.t.Context())
		require.NoError(p.t, err)
		return condition()
	}, patience, time.Millisecond)
}

// ask sends a terminal's request and returns the answer's code.
func (p *pair) ask(name string, req points.Request, of string) string {
	p.t.Helper()
	p.stan++
	req.STAN, req.Batch, req.EntryMode = p.stan, 1, 21
	req.Terminal, req.Merchant = parseTerminal(p.t, "T1"), parseMerchant(p.t, "SHOP")
	if req.PAN.IsZero() {
		req.PAN = parsePAN(p.t, cards()["remote"])
	}
	if of != "" {
		original := p.said[of]
		req.RRN, req.AuthCode = original.Position.RRN(), original.AuthCode
		req.Original = points.Original{Present: true, Batch: 1, STAN: p.reqs[of].STAN, Date: 302}
		copy(req.Operator[:], "001")
	} else {
		req.Program = 903
	}
	if req.Function == points.Reversal {
		req = p.reqs[of]
		req.Function, req.Reversed, req.Envelope.MTI = points.Reversal, p.reqs[of].Function, 0
		copy(req.Answer[:], "98")
	}
	d := dialect.Pos()
	require.NoError(p.t, d.Complete(&req))
	frame, err := d.AppendRequest(nil, &req)
	require.NoError(p.t, err)
	peer := p.dial(p.pos)
	answers := make(chan []byte, 1)
	go func() {
		peer.send(frame)
		answers <- peer.receive()
	}()
	var answer []byte
	p.until(func() bool {
		select {
		case answer = <-answers:
			return true
		default:
			return false
		}
	})
	require.NotNil(p.t, answer)
	var echo points.Request
	var resp points.Response
	require.NoError(p.t, d.DecodeResponse(answer, &echo, &resp))
	p.said[name], p.reqs[name] = resp, req
	return resp.Reason.DE39()
}

// agree waits until the issuer is owed nothing, and holds its ledger against clearing.
func (p *pair) agree(free points.Amount) {
	p.t.Helper()
	p.until(func() bool {
		settled := false
		p.view(func(b *book.Book) { settled = len(b.Unfinished()) == 0 })
		return settled
	})
	clearing := func(h *house) (balance points.Amount) {
		h.view(func(b *book.Book) {
			a, _, err := b.Account(book.AccountKey{Kind: book.ClearingAccount, Program: 903, Party: uint64(posAcq)})
			require.NoError(p.t, err)
			balance = a.Balance
		})
		return balance
	}
	require.Equal(p.t, clearing(p.issuer), clearing(p.house), "clearing there and here")
	for _, s := range p.issuer.standings() {
		if s.member == 6 && s.program == 903 {
			require.Equal(p.t, free, s.free, "the member's points at the issuer")
		}
	}
}

// A switch whose issuer is a switch of the same make: both say the same after stand-ins,
// their reversal, holds that are opened again and gifts, without an operator.
func TestIssuerOfTheSameMake(t *testing.T) {
	p := newPair(t)
	p.connect(true)
	require.Equal(t, "00", p.ask("sale", points.Request{Function: points.Redeem, Amount: 100}, ""))
	p.agree(900)
	require.Equal(t, "00", p.ask("hold", points.Request{Function: points.PreAuth, Amount: 80}, ""))
	require.Equal(t, "00", p.ask("capture", points.Request{Function: points.Completion, Amount: 70}, "hold"))
	require.Equal(t, "00", p.ask("uncaptured", points.Request{Function: points.CompletionVoid, Amount: 70}, "capture"))
	p.agree(830)
	require.Equal(t, "64", p.ask("too much", points.Request{Function: points.Completion, Amount: 71}, "hold"))
	require.Equal(t, "00", p.ask("captured", points.Request{Function: points.Completion, Amount: 60}, "hold"))
	p.agree(840)
	require.Equal(t, "00", p.ask("gift", points.Request{Function: points.Transfer, Amount: 40, TargetPAN: parsePAN(t, cards()["remote2"])}, ""))
	p.agree(800)
	require.Equal(t, "00", p.ask("no gift", points.Request{Function: points.Reversal}, "gift"))
	p.agree(840)

	p.connect(false)
	require.Equal(t, "A2", p.ask("stood in", points.Request{Function: points.Redeem, Amount: 30}, ""))
	require.Equal(t, "A2", p.ask("undone", points.Request{Function: points.Redeem, Amount: 50}, ""))
	require.Equal(t, "00", p.ask("undo", points.Request{Function: points.Reversal}, "undone"))
	p.connect(true)
	p.agree(810)
	require.Equal(t, "00", p.ask("undo later", points.Request{Function: points.Reversal}, "stood in"))
	p.agree(840)
}
