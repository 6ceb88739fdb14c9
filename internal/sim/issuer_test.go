package sim_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

const (
	ann     = "6222030000000000016"
	poor    = "6222030000000000040"
	lost    = "6222030000000000057"
	hundred = 100_000 // what ann has at first
)

// noon is when the tests' messages are sent.
const noon points.Timestamp = 1_772_000_000_000_000

func newIssuer(t *testing.T, faults string, seed uint64) *sim.Issuer {
	t.Helper()
	accounts, err := sim.ReadIssuerAccounts(sim.IssuerAccounts())
	require.NoError(t, err)
	what, err := sim.ParseFaults(faults)
	require.NoError(t, err)
	i, err := sim.NewIssuer(sim.IssuerOptions{ID: 10000004, Accounts: accounts, Faults: what, Seed: seed})
	require.NoError(t, err)
	return i
}

// asker makes requests as a switch does, each under a trace number of its own.
type asker struct {
	host *dialect.Dialect
	stan points.STAN
}

func newAsker() *asker { return &asker{host: dialect.Host()} }

// request asks for function in programme 904.
func (a *asker) request(t *testing.T, function points.Function, card string, amount points.Amount) points.Request {
	t.Helper()
	a.stan++
	req := points.Request{
		Function: function, STAN: a.stan, Transmission: 225_120_000 + uint64(a.stan)%60, Acquirer: 20000001, Forwarder: 1, Amount: amount,
	}
	req.RRN = points.Position(a.stan).RRN()
	if req.Function == points.Echo || req.Function == points.SignOn {
		return req
	}
	var err error
	req.PAN, err = points.ParsePAN(card)
	require.NoError(t, err)
	req.Program = 904
	req.Terminal, err = points.ParseTerminalID("T0000001")
	require.NoError(t, err)
	req.Merchant, err = points.ParseMerchantID("M00000000000001")
	require.NoError(t, err)
	return req
}

// about makes a request that names o in DE90.
func (a *asker) about(t *testing.T, function points.Function, o points.Request, amount points.Amount) points.Request {
	t.Helper()
	req := a.request(t, function, string(o.PAN.AppendDigits(nil)), amount)
	req.Original = points.Original{
		MTI: originalMTI(o.Function), STAN: o.STAN, Transmission: o.Transmission, Acquirer: o.Acquirer, Forwarder: o.Forwarder, Present: true,
	}
	if function == points.Reversal {
		req.Reversed, req.Processing, req.Condition = o.Function, o.Processing, o.Condition
	}
	return req
}

func originalMTI(f points.Function) uint16 {
	switch f {
	case points.PreAuth, points.PreAuthVoid:
		return 100
	case points.Refund, points.CompletionAdvice, points.OfflineRedeem, points.OfflineEarn:
		return 220
	default:
		return 200
	}
}

func (a *asker) frame(t *testing.T, req points.Request) []byte {
	t.Helper()
	frame, err := a.host.AppendRequest(nil, &req)
	require.NoError(t, err, "%v", req.Function)
	return frame
}

func (a *asker) read(t *testing.T, frame []byte) (points.Request, points.Response) {
	t.Helper()
	var req points.Request
	var resp points.Response
	require.NoError(t, a.host.DecodeResponse(frame, &req, &resp))
	return req, resp
}

// ask lets an issuer answer without a line between.
func (a *asker) ask(t *testing.T, i *sim.Issuer, req points.Request) points.Response {
	t.Helper()
	d := i.Receive(noon, a.frame(t, req))
	require.NotNil(t, d.Frame)
	echoed, resp := a.read(t, d.Frame)
	require.Equal(t, []any{req.STAN, req.Transmission, req.RRN}, []any{echoed.STAN, echoed.Transmission, echoed.RRN})
	return resp
}

// available is what a card can spend, as the issuer's state tells it.
func available(t *testing.T, i *sim.Issuer, card string) (free, held points.Amount) {
	t.Helper()
	pan, err := points.ParsePAN(card)
	require.NoError(t, err)
	for _, a := range i.State().Accounts {
		if a.Card == pan {
			return a.Available, a.Held
		}
	}
	require.Fail(t, "no such account")
	return 0, 0
}

// The issuer's book does what each message asks, once, and says so.
func TestIssuerBook(t *testing.T) {
	i, a := newIssuer(t, "", 1), newAsker()
	step := func(name string, req points.Request, code string, free, held points.Amount) points.Response {
		resp := a.ask(t, i, req)
		require.Equal(t, code, resp.Reason.DE39(), name)
		gotFree, gotHeld := available(t, i, ann)
		require.Equal(t, [2]points.Amount{free, held}, [2]points.Amount{gotFree, gotHeld}, name)
		return resp
	}
	sale := a.request(t, points.Redeem, ann, 300)
	first := step("redeem", sale, "00", 99_700, 0)
	require.NotZero(t, first.AuthCode)
	require.Equal(t, points.Balance54{Kind: points.AvailableBalance, Program: 904, Amount: 99_700}, first.Balances[0])
	require.Equal(t, first, step("the same again", sale, "00", 99_700, 0))
	other := sale
	other.Amount = 301
	step("the same number for something else", other, "94", 99_700, 0)
	step("balance", a.request(t, points.Balance, ann, 0), "00", 99_700, 0)
	earn := a.request(t, points.Earn, ann, 50)
	step("earn", earn, "00", 99_750, 0)

	step("void for another amount", a.about(t, points.Void, sale, 299), "64", 99_750, 0)
	void := a.about(t, points.Void, sale, 300)
	step("void", void, "00", 100_050, 0)
	step("void again", a.about(t, points.Void, sale, 300), "22", 100_050, 0)
	step("a voided sale stands", a.about(t, points.Reversal, sale, 300), "22", 100_050, 0)
	step("the void is reversed", a.about(t, points.Reversal, void, 300), "00", 99_750, 0)
	step("void of an earn", a.about(t, points.Void, earn, 50), "00", 99_700, 0)
	step("void of nothing", a.about(t, points.Void, a.request(t, points.Redeem, ann, 1), 1), "25", 99_700, 0)

	step("refund of a part", a.about(t, points.Refund, sale, 100), "00", 99_800, 0)
	step("of the rest", a.about(t, points.Refund, sale, 200), "00", 100_000, 0)
	step("of more", a.about(t, points.Refund, sale, 1), "64", 100_000, 0)
	step("a refunded sale is not voided", a.about(t, points.Void, sale, 300), "22", 100_000, 0)

	hold := a.request(t, points.PreAuth, ann, 200)
	step("pre-authorisation", hold, "00", 99_800, 200)
	step("completion for more", a.about(t, points.Completion, hold, 201), "64", 99_800, 200)
	bill := a.about(t, points.Completion, hold, 150)
	step("completion", bill, "00", 99_850, 0)
	step("completion again", a.about(t, points.Completion, hold, 1), "22", 99_850, 0)
	step("void of the completion", a.about(t, points.CompletionVoid, bill, 150), "00", 99_850, 150)
	told := a.about(t, points.CompletionAdvice, hold, 120)
	step("completion advice", told, "00", 99_880, 0)
	step("which is reversed never", a.about(t, points.PreAuthVoid, hold, 200), "22", 99_880, 0)
	second := a.request(t, points.PreAuth, ann, 80)
	step("another hold", second, "00", 99_800, 80)
	step("given up", a.about(t, points.PreAuthVoid, second, 80), "00", 99_880, 0)

	step("off-line sale", a.request(t, points.OfflineRedeem, ann, 80), "00", 99_800, 0)
	step("off-line earn", a.request(t, points.OfflineEarn, ann, 200), "00", 100_000, 0)
	advised := a.request(t, points.OfflineRedeem, ann, 30)
	step("a sale approved in its place", advised, "00", 99_970, 0)
	step("which is voided", a.about(t, points.Void, advised, 30), "00", 100_000, 0)
	gift := a.request(t, points.OfflineEarn, ann, 40)
	step("likewise an earn", gift, "00", 100_040, 0)
	step("which is voided too", a.about(t, points.Void, gift, 40), "00", 100_000, 0)
	step("nothing", a.request(t, points.Redeem, ann, 0), "13", 100_000, 0)
	step("too much", a.request(t, points.Redeem, ann, 100_001), "51", 100_000, 0)
	step("lost card", a.request(t, points.Redeem, lost, 1), "41", 100_000, 0)
	step("nobody's card", a.request(t, points.Redeem, "6222030000000000991", 1), "14", 100_000, 0)
	elsewhere := a.request(t, points.Redeem, ann, 1)
	elsewhere.Program = 905
	step("no such programme", elsewhere, "57", 100_000, 0)
	poorSale := a.request(t, points.OfflineRedeem, poor, 70)
	require.Equal(t, "00", a.ask(t, i, poorSale).Reason.DE39())
	free, _ := available(t, i, poor)
	require.Equal(t, points.Amount(-20), free, "what happened off line is booked whether there were points or not")
}

// A reversal ends with the points where they were, whether its original came
// before, comes later or was declined, and however often it is sent.
func TestIssuerReversals(t *testing.T) {
	i, a := newIssuer(t, "", 1), newAsker()
	sale := a.request(t, points.Redeem, ann, 300)
	require.Equal(t, "00", a.ask(t, i, sale).Reason.DE39())
	undo := a.about(t, points.Reversal, sale, 300)
	undone := a.ask(t, i, undo)
	require.Equal(t, points.Approved, undone.Reason)
	require.Equal(t, "REVERSED", undone.Detail)
	repeat := undo
	repeat.Envelope.MTI = 421
	require.Equal(t, undone, a.ask(t, i, repeat), "0421 is answered as its 0420 was")
	require.Equal(t, "REVERSED", a.ask(t, i, a.about(t, points.Reversal, sale, 300)).Detail, "another reversal of the same")
	require.Equal(t, "94", a.ask(t, i, sale).Reason.DE39(), "what was reversed is not approved again")

	late := a.request(t, points.Redeem, ann, 77)
	require.Equal(t, "TOMBSTONE", a.ask(t, i, a.about(t, points.Reversal, late, 77)).Detail)
	require.Equal(t, "94", a.ask(t, i, late).Reason.DE39(), "the late original is refused")

	declined := a.request(t, points.Redeem, ann, 999_999)
	require.Equal(t, "51", a.ask(t, i, declined).Reason.DE39())
	require.Equal(t, "REVERSED", a.ask(t, i, a.about(t, points.Reversal, declined, 999_999)).Detail)

	again := a.request(t, points.Redeem, ann, 10)
	require.Equal(t, "00", a.ask(t, i, again).Reason.DE39())
	require.Equal(t, "64", a.ask(t, i, a.about(t, points.Reversal, again, 11)).Reason.DE39(), "for another amount")
	free, _ := available(t, i, ann)
	require.Equal(t, points.Amount(hundred-10), free)

	standing := map[sim.Standing]int{}
	for _, tx := range i.State().Transactions {
		standing[tx.Standing]++
		if tx.STAN == sale.STAN {
			require.Equal(t, sim.IssuerTransaction{
				RRN: "000000000001", Acquirer: 20000001, STAN: 1, Transmission: sale.Transmission, Function: points.Redeem,
				Card: sale.PAN, Program: 904, Amount: 300, Moved: -300, Code: "00", Standing: sim.Reversed,
			}, tx)
		}
	}
	require.Equal(t, map[sim.Standing]int{sim.Reversed: 2, sim.Tombstone: 1, sim.Stands: 5, sim.Declined: 1}, standing)
}

// A reversal of a part (DE95) leaves so much standing; what is left can be refunded, made
// less once more, and as long as nothing was refunded reversed as a whole. A hold reserves
// less.
func TestIssuerReversesParts(t *testing.T) {
	i, a := newIssuer(t, "", 1), newAsker()
	less := func(o points.Request, actual points.Amount) string {
		undo := a.about(t, points.Reversal, o, o.Amount)
		undo.Actual = actual
		return a.ask(t, i, undo).Reason.DE39()
	}
	has := func(wantFree, wantHeld points.Amount) {
		t.Helper()
		free, held := available(t, i, ann)
		require.Equal(t, []points.Amount{hundred + wantFree, wantHeld}, []points.Amount{free, held})
	}
	sale := a.request(t, points.Redeem, ann, 300)
	require.Equal(t, "00", a.ask(t, i, sale).Reason.DE39())
	require.Equal(t, "64", less(sale, 301))
	require.Equal(t, "00", less(sale, 200))
	has(-200, 0)
	require.Equal(t, "00", less(sale, 250), "more stands than is left: nothing is taken again")
	require.Equal(t, "22", a.ask(t, i, a.about(t, points.Void, sale, 300)).Reason.DE39())
	require.Equal(t, "00", less(sale, 150))
	has(-150, 0)
	require.Equal(t, "00", a.ask(t, i, a.about(t, points.Reversal, sale, 300)).Reason.DE39())
	has(0, 0)

	refunded := a.request(t, points.Redeem, ann, 100)
	require.Equal(t, "00", a.ask(t, i, refunded).Reason.DE39())
	require.Equal(t, "00", a.ask(t, i, a.about(t, points.Refund, refunded, 40)).Reason.DE39())
	require.Equal(t, "00", less(refunded, 50))
	has(-50, 0)
	require.Equal(t, "64", a.ask(t, i, a.about(t, points.Refund, refunded, 51)).Reason.DE39())
	require.Equal(t, "22", a.ask(t, i, a.about(t, points.Reversal, refunded, 100)).Reason.DE39())

	hold := a.request(t, points.PreAuth, ann, 80)
	require.Equal(t, "00", a.ask(t, i, hold).Reason.DE39())
	require.Equal(t, "00", less(hold, 30))
	has(-80, 30)
	require.Equal(t, "00", a.ask(t, i, a.about(t, points.Reversal, hold, 80)).Reason.DE39())
	has(-50, 0)
}

// A transfer moves points from a card to another of the issuer's, and its reversal back.
func TestIssuerTransfers(t *testing.T) {
	i, a := newIssuer(t, "", 1), newAsker()
	give := func(amount points.Amount, to string) (points.Request, string) {
		req := a.request(t, points.Transfer, ann, amount)
		var err error
		req.TargetPAN, err = points.ParsePAN(to)
		require.NoError(t, err)
		return req, a.ask(t, i, req).Reason.DE39()
	}
	before, _ := available(t, i, poor)
	gift, code := give(70, poor)
	require.Equal(t, "00", code)
	annHas, _ := available(t, i, ann)
	poorHas, _ := available(t, i, poor)
	require.Equal(t, []points.Amount{hundred - 70, before + 70}, []points.Amount{annHas, poorHas})
	_, code = give(hundred, poor)
	require.Equal(t, "51", code)
	_, code = give(1, ann)
	require.Equal(t, "57", code, "to itself")
	undo := a.about(t, points.Reversal, gift, 70)
	undo.TargetPAN = gift.TargetPAN
	require.Equal(t, "00", a.ask(t, i, undo).Reason.DE39())
	annHas, _ = available(t, i, ann)
	poorHas, _ = available(t, i, poor)
	require.Equal(t, []points.Amount{hundred, before}, []points.Amount{annHas, poorHas})
}

// Whatever was done, undone in the opposite order it leaves every account as it
// was; and at every moment a book that only adds up the transactions that stand
// agrees with the issuer's.
func TestIssuerUndoes(t *testing.T) {
	for seed := range uint64(200) {
		i, a := newIssuer(t, "", 1), newAsker()
		chance := rand.New(rand.NewPCG(seed, 5))
		worth := map[points.STAN]points.Amount{} // what each approved request did to free and held together
		var done []points.Request
		try := func(req points.Request, effect points.Amount) {
			if a.ask(t, i, req).Reason.Approved() {
				worth[req.STAN] = effect
				done = append(done, req)
			}
		}
		total := func() points.Amount {
			free, held := available(t, i, ann)
			return free + held
		}
		for range 30 {
			amount := points.Amount(1 + chance.IntN(40_000))
			var of points.Request
			if len(done) > 0 {
				of = done[chance.IntN(len(done))]
			}
			switch kind := chance.IntN(6); {
			case kind == 0:
				try(a.request(t, points.Redeem, ann, amount), -amount)
			case kind == 1:
				try(a.request(t, points.Earn, ann, amount), amount)
			case kind == 2:
				try(a.request(t, points.PreAuth, ann, amount), 0)
			case of.Function == points.PreAuth && kind == 3:
				try(a.about(t, points.PreAuthVoid, of, of.Amount), 0)
			case of.Function == points.PreAuth:
				part := 1 + points.Amount(chance.Int64N(int64(of.Amount)))
				try(a.about(t, points.Completion, of, part), -part)
			case of.Function == points.Completion:
				try(a.about(t, points.CompletionVoid, of, of.Amount), of.Amount)
			case of.Function == points.Redeem, of.Function == points.Earn:
				try(a.about(t, points.Void, of, of.Amount), -worth[of.STAN])
			}
			sum := points.Amount(hundred)
			for _, req := range done {
				sum += worth[req.STAN]
			}
			require.Equal(t, sum, total(), "seed %d", seed)
		}
		for _, req := range slices.Backward(done) {
			require.Equal(t, "REVERSED", a.ask(t, i, a.about(t, points.Reversal, req, req.Amount)).Detail, "seed %d: %v %v", seed, req.Function, req.STAN)
		}
		free, held := available(t, i, ann)
		require.Equal(t, [2]points.Amount{hundred, 0}, [2]points.Amount{free, held}, "seed %d", seed)
	}
}

// A frame that cannot be read is answered 30 with the field named, or not at all;
// a function that an issuer does not offer is refused.
func TestIssuerMalformed(t *testing.T) {
	i, a := newIssuer(t, "", 1), newAsker()
	frame := a.frame(t, a.request(t, points.Redeem, ann, 300))
	at := strings.Index(string(frame), "000000000300")
	frame[at+11] = 'x'
	_, resp := a.read(t, i.Receive(noon, frame).Frame)
	require.Equal(t, points.FormatError, resp.Reason)
	require.Equal(t, uint8(4), resp.Field)
	require.Nil(t, i.Receive(noon, []byte("no message")).Frame)
	require.Equal(t, uint64(2), i.State().Unreadable)

	swap := a.request(t, points.SwapQuote, ann, 5)
	swap.Target = 901
	require.Equal(t, "40", a.ask(t, i, swap).Reason.DE39())
	unknown := a.request(t, points.Redeem, ann, 300)
	unknown.Function, unknown.Envelope.MTI, unknown.Processing = 0, 200, 990000
	require.Equal(t, "12", a.ask(t, i, unknown).Reason.DE39())
	require.Equal(t, uint64(1), i.State().Messages["unknown"])
}

// The same seed and messages meet the same faults, in the shares that were asked
// for; another seed meets others.
func TestIssuerChance(t *testing.T) {
	fates := func(seed uint64) (all []sim.Fault, state sim.IssuerState) {
		i, a := newIssuer(t, "delay=5%:3s,lose=2%,drop=10%,late=1%:20s,wrong-amount=5%,disconnect=5%,duplicate=20%", seed), newAsker()
		for range 4000 {
			all = append(all, i.Receive(noon, a.frame(t, a.request(t, points.Earn, ann, 1))).Fault)
		}
		return all, i.State()
	}
	first, state := fates(7)
	again, same := fates(7)
	require.Equal(t, first, again)
	require.Equal(t, state, same)
	other, _ := fates(8)
	require.NotEqual(t, first, other)
	for name, percent := range map[string]float64{"delay": 5, "lose": 2, "drop": 10, "late": 1, "wrong-amount": 5, "disconnect": 5, "duplicate": 20} {
		require.InDelta(t, percent*40, state.Faults[name], percent*12+12, name)
	}
	require.Equal(t, uint64(4000)-state.Faults["lose"], uint64(len(state.Transactions)), "what is lost is not carried out, the rest is")
}

// Faults are read as they are written on the command line; what makes no sense is refused.
func TestParseFaults(t *testing.T) {
	faults, err := sim.ParseFaults(" delay=5%:3s, drop=0.5% ")
	require.NoError(t, err)
	require.Equal(t, sim.Faults{{Fault: sim.FaultDelay, PerMillion: 50_000, After: 3 * time.Second}, {Fault: sim.FaultDrop, PerMillion: 5_000}}, faults)
	none, err := sim.ParseFaults("")
	require.NoError(t, err)
	require.Empty(t, none)
	for text, wrong := range map[string]string{
		"burn=1%":                  "no such fault; there are delay, lose",
		"drop":                     "want a percentage",
		"drop=1":                   "want a percentage",
		"drop=NaN%":                "want a percentage",
		"drop=101%":                "want a percentage",
		"drop=-1%":                 "want a percentage",
		"drop=1%:3s":               "a time for delay and late only",
		"late=1%":                  "a time for delay and late only",
		"late=1%:soon":             `time "soon"`,
		"drop=60%,duplicate=40.1%": "more than 100%",
	} {
		_, err := sim.ParseFaults(text)
		require.ErrorContains(t, err, wrong, text)
	}
}

// A book that cannot be is refused, with the line or the account named.
func TestIssuerAccounts(t *testing.T) {
	for text, wrong := range map[string]string{
		"accounts: [{card: '1', programme: 904}]":                          `line 1: unknown key "programme"`,
		"accounts: [{card: 'x', program: 904}]":                            "account 1: card number",
		"accounts: [{card: '1', program: 156}]":                            "programme 156",
		"accounts: [{card: '1', program: 904, decline: '00'}]":             "no decline has this code",
		"accounts: [{card: '1', program: 904}, {card: '1', program: 904}]": "account 2: card * in programme 904 is there already",
	} {
		accounts, err := sim.ReadIssuerAccounts(strings.NewReader(text))
		if err == nil {
			_, err = sim.NewIssuer(sim.IssuerOptions{ID: 1, Accounts: accounts})
		}
		require.ErrorContains(t, err, wrong, text)
	}
	_, err := sim.NewIssuer(sim.IssuerOptions{})
	require.ErrorContains(t, err, "number is missing")
}

// serveIssuer puts an issuer at the end of a listener, until the test ends.
func serveIssuer(t *testing.T, i *sim.Issuer, ln net.Listener, opts sim.IssuerHostOptions) {
	t.Helper()
	opts.Clock, opts.Log = now, slog.New(slog.DiscardHandler)
	host, err := sim.NewIssuerHost(ln, i, opts)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- host.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
}

// peer is a switch's end of a connection to an issuer, byte by byte.
type peer struct{ net.Conn }

func dialPeer(t *testing.T, i *sim.Issuer) peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serveIssuer(t, i, ln, sim.IssuerHostOptions{})
	conn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return peer{conn}
}

func (p peer) send(t *testing.T, frame []byte) {
	t.Helper()
	_, err := p.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(frame))), frame...))
	require.NoError(t, err)
}

// next reads one frame.
func (p peer) next(t *testing.T) ([]byte, error) {
	t.Helper()
	require.NoError(t, p.SetReadDeadline(time.Now().Add(20*time.Second)))
	var length [2]byte
	if _, err := io.ReadFull(p, length[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint16(length[:]))
	n, err := io.ReadFull(p, frame)
	return frame[:n], err
}

func (p peer) answer(t *testing.T, a *asker) (points.Request, points.Response) {
	t.Helper()
	frame, err := p.next(t)
	require.NoError(t, err)
	return a.read(t, frame)
}

// Each fault is seen on the wire as what it is called, on the message it was meant
// for; the message before and behind it is answered in order, and the book has
// carried out what it says.
func TestIssuerFaults(t *testing.T) {
	const wait = 300 * time.Millisecond
	for _, fault := range []sim.Fault{
		sim.FaultDelay, sim.FaultLose, sim.FaultDrop, sim.FaultLate, sim.FaultWrongAmount, sim.FaultDisconnect, sim.FaultDuplicate,
	} {
		t.Run(fault.String(), func(t *testing.T) {
			i, a := newIssuer(t, "", 1), newAsker()
			p := dialPeer(t, i)
			before := a.request(t, points.Redeem, ann, 1)
			p.send(t, a.frame(t, before))
			echoed, resp := p.answer(t, a)
			require.Equal(t, before.STAN, echoed.STAN)
			require.True(t, resp.Reason.Approved())

			i.Inject(fault, wait)
			hit, behind := a.request(t, points.Redeem, ann, 20), a.request(t, points.Redeem, ann, 300)
			began := time.Now()
			p.send(t, a.frame(t, hit))
			if fault != sim.FaultDisconnect {
				p.send(t, a.frame(t, behind))
			}
			switch fault {
			case sim.FaultDelay, sim.FaultLate:
				first, _ := p.answer(t, a)
				require.Equal(t, behind.STAN, first.STAN, "what is kept back holds nothing up")
				second, resp := p.answer(t, a)
				require.Equal(t, hit.STAN, second.STAN)
				require.True(t, resp.Reason.Approved())
				require.GreaterOrEqual(t, time.Since(began), wait)
			case sim.FaultLose, sim.FaultDrop:
				first, _ := p.answer(t, a)
				require.Equal(t, behind.STAN, first.STAN)
			case sim.FaultWrongAmount:
				first, resp := p.answer(t, a)
				require.Equal(t, hit.STAN, first.STAN)
				require.Equal(t, hit.Amount+1, resp.Amount)
			case sim.FaultDisconnect:
				half, err := p.next(t)
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				require.NotEmpty(t, half)
			case sim.FaultDuplicate:
				first, err := p.next(t)
				require.NoError(t, err)
				second, err := p.next(t)
				require.NoError(t, err)
				require.Equal(t, first, second)
				third, _ := p.answer(t, a)
				require.Equal(t, behind.STAN, third.STAN)
			default:
			}
			state := i.State()
			for name, n := range state.Faults {
				require.Equal(t, name == fault.String(), n == 1, "%s is counted %d times", name, n)
			}
			carriedOut := 0
			for _, tx := range state.Transactions {
				if tx.STAN == hit.STAN {
					carriedOut++
				}
			}
			require.Equal(t, fault != sim.FaultLose, carriedOut == 1)
		})
	}
}

// An issuer that dials signs on, answers, keeps the line alive with echoes, and
// dials again when it is hung up on.
func TestIssuerDials(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, ln.Close()) }()
	i, a := newIssuer(t, "", 1), newAsker()
	serveIssuer(t, i, sim.DialIssuer(ln.Addr().String()), sim.IssuerHostOptions{SignOn: true, Echo: 50 * time.Millisecond})
	for round := range 2 {
		conn, err := ln.Accept()
		require.NoError(t, err)
		p := peer{conn}
		for _, want := range []points.Function{points.SignOn, points.Echo} {
			frame, err := p.next(t)
			require.NoError(t, err)
			var req points.Request
			require.NoError(t, a.host.Decode(frame, &req))
			require.Equal(t, want, req.Function, fmt.Sprint("round ", round))
			require.Equal(t, points.AcquirerID(10000004), req.Acquirer)
			p.send(t, a.host.AppendResponse(nil, &req, &points.Response{Reason: points.Approved}))
		}
		sale := a.request(t, points.Redeem, ann, 5)
		p.send(t, a.frame(t, sale))
		for {
			frame, err := p.next(t)
			require.NoError(t, err)
			if mti, _ := a.host.MTI(frame); dialect.IsAnswer(mti) {
				echoed, resp := a.read(t, frame)
				require.Equal(t, sale.STAN, echoed.STAN)
				require.True(t, resp.Reason.Approved())
				break
			}
		}
		require.NoError(t, conn.Close())
	}
}

// A line on which echoes are not answered is given up and dialled again.
func TestIssuerGivesUpASilentLine(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, ln.Close()) }()
	serveIssuer(t, newIssuer(t, "", 1), sim.DialIssuer(ln.Addr().String()), sim.IssuerHostOptions{Echo: 20 * time.Millisecond})
	silent, err := ln.Accept()
	require.NoError(t, err)
	for range 3 {
		_, err := peer{silent}.next(t)
		require.NoError(t, err)
	}
	_, err = peer{silent}.next(t)
	require.Error(t, err)
	again, err := ln.Accept()
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.NoError(t, silent.Close())
}
