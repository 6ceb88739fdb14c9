package pointswitch_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

var crashSeeds = flag.Int("crashseeds", 25, "how many seeded days with an issuer that fails and a switch that is killed")

// deal is how an issuer knows a request again.
type deal struct {
	stan points.STAN
	when uint64
}

// bank is the issuer's ledger, as plain as it can be: what stands, and what was undone,
// also before it came. It shares nothing with the switch.
type bank8583 struct {
	stands map[deal]points.Amount // redeemed, and not undone
	seen   map[deal]bool
	undone map[deal]bool
}

func (b *bank8583) take(req *points.Request) points.Reason {
	key := deal{req.STAN, req.Transmission}
	switch req.Function {
	case points.Redeem, points.OfflineRedeem:
		switch {
		case b.undone[key]:
			return points.ReversedBefore
		case !b.seen[key] && req.Amount%7 == 0 && req.Function == points.Redeem:
			return points.NotEnoughPoints
		case !b.seen[key]:
			b.seen[key], b.stands[key] = true, req.Amount
		}
		return points.Approved
	case points.Refund:
		original := deal{req.Original.STAN, req.Original.Transmission}
		if _, there := b.stands[original]; !there {
			return points.UnknownOriginal
		}
		if !b.seen[key] {
			b.seen[key] = true
			b.stands[original] -= req.Amount
		}
		return points.Approved
	case points.Reversal:
		original := deal{req.Original.STAN, req.Original.Transmission}
		b.undone[original] = true
		delete(b.stands, original)
		return points.Approved
	default:
		return points.UnknownFunction
	}
}

func (b *bank8583) sum() (sum points.Amount) {
	for _, amount := range b.stands {
		sum += amount
	}
	return sum
}

// day is a house, an issuer that fails in every way, and terminals that lose patience.
type day struct {
	*house
	there *host
	bank  *bank8583
	rng   *rand.Rand
	seed  int
	pos   *dialect.Dialect
	stan  points.STAN
	asked []points.Request
	sales []points.Request // that a programme here and the issuer pay together
	inbox []points.Request // at the issuer, not yet looked at
	did   map[string]int
}

func newDay(t *testing.T, seed int, did map[string]int) *day {
	there := newHost(t)
	link := far(there.address)
	link.Retry, link.GiveUp = []time.Duration{5 * time.Second}, 100*time.Hour
	link.Breaker.Failures = 1000
	link.StandIn = pointswitch.StandIn{Programs: []points.ProgramID{903}, MaxAmount: 30, AfterTimeout: seed%2 == 1}
	h := &house{
		t: t, disk: vfs.NewCrashableMem(), cardKey: certs.NewCardKey([32]byte{1, 2, 3}), log: newLines(),
		links: []pointswitch.LinkProfile{link},
	}
	h.begin()
	h.furnishFar()
	cafe := *h.router.Table().MerchantOf(parseMerchant(t, "CAFE"))
	cafe.Programs = []points.ProgramID{901, 903}
	cafe.Tender = []book.TenderTerm{{Program: 901, Points: 10, Per: 1}, {Program: 903, Points: 3, Per: 2}}
	h.put(book.Entry{Merchant: &cafe})
	return &day{
		house: h, there: there, rng: rand.New(rand.NewPCG(uint64(seed), 83)), seed: seed, pos: dialect.Pos(), did: did,
		bank: &bank8583{stands: make(map[deal]points.Amount), seen: make(map[deal]bool), undone: make(map[deal]bool)},
	}
}

// post sends a terminal's request; nobody waits for the answer here.
func (d *day) post(req points.Request) {
	d.t.Helper()
	require.NoError(d.t, d.pos.Complete(&req))
	frame, err := d.pos.AppendRequest(nil, &req)
	require.NoError(d.t, err)
	echo := points.Request{Function: points.Echo, Terminal: req.Terminal, Merchant: req.Merchant}
	echoFrame, err := d.pos.AppendRequest(nil, &echo)
	require.NoError(d.t, err)
	p := d.dial(d.house.pos)
	p.send(frame, echoFrame)
	for {
		frame := p.receive()
		require.NotNil(d.t, frame)
		if mti, _ := d.pos.MTI(frame); mti/100 == 8 {
			break
		}
	}
	d.view(func(*book.Book) {})
	d.round()
}

func (d *day) ask() {
	d.stan++
	req := points.Request{
		Function: points.Redeem, STAN: d.stan, Batch: 1, EntryMode: 21, Terminal: parseTerminal(d.t, "T1"), Merchant: parseMerchant(d.t, "SHOP"),
		PAN: parsePAN(d.t, cards()[[]string{"remote", "remote2"}[d.rng.IntN(2)]]), Program: 903, Amount: points.Amount(1 + d.rng.IntN(60)),
	}
	d.asked = append(d.asked, req)
	d.post(req)
}

// sell asks for a sale that member 2 pays with points of 901, ten for one, as far as they
// go, and with the issuer's.
func (d *day) sell() {
	d.stan++
	req := points.Request{
		Function: points.Redeem, STAN: d.stan, Batch: 1, EntryMode: 21, Terminal: parseTerminal(d.t, "T3"), Merchant: parseMerchant(d.t, "CAFE"),
		PAN: parsePAN(d.t, cards()["B"]), Amount: points.Amount(20 + d.rng.IntN(60)),
	}
	d.asked, d.sales = append(d.asked, req), append(d.sales, req)
	d.post(req)
	d.did["tender"]++
}

// unsell voids one of the last such sales, or refunds a part, whatever has become of it.
func (d *day) unsell(function points.Function) {
	if len(d.sales) == 0 {
		return
	}
	d.stan++
	sale := d.sales[max(0, len(d.sales)-1-d.rng.IntN(3))]
	req := sale
	req.Function, req.STAN = function, d.stan
	if function == points.Refund {
		copy(req.Operator[:], "001")
		req.Amount = points.Amount(1 + d.rng.IntN(int(sale.Amount)))
	}
	for position := d.ledger.Durable(); position > 0; position-- {
		rec, err := d.ledger.Record(position)
		require.NoError(d.t, err)
		if len(rec.Command.Tender) > 0 && rec.Command.Key.STAN == sale.STAN {
			req.RRN = position.RRN()
			d.post(req)
			return
		}
	}
}

// requireWhole requires that of each sale that programmes pay together all legs stand or
// none, but for refunds, and that nothing is reserved any more.
func (d *day) requireWhole() {
	d.t.Helper()
	type sale struct {
		here, refunded points.Amount // of 901
		remote         bool
		sold, undone   bool
	}
	sales := make(map[points.Position]*sale)
	for position := points.Position(1); position <= d.ledger.Durable(); position++ {
		rec, err := d.ledger.Record(position)
		require.NoError(d.t, err)
		cmd, out := &rec.Command, &rec.Outcome
		about := sales[out.Original]
		switch {
		case !out.Reason.Approved():
		case len(cmd.Tender) > 0:
			s := &sale{remote: len(out.Postings) == 0, sold: len(out.Postings) > 0}
			for _, leg := range out.Legs {
				if leg.Program == 901 {
					s.here += leg.Amount
				}
			}
			sales[position] = s
		case about == nil:
		case cmd.Kind == book.KindConclude && out.Answer.Approved():
			about.sold = true
		case cmd.Kind == book.KindVoid, cmd.Kind == book.KindReverse:
			about.undone = true
			d.did["tender undone"]++
		case cmd.Kind == book.KindRefund:
			d.did["tender refunded"]++
			for _, p := range out.Postings {
				if p.Account.Kind == book.ClearingAccount && p.Account.Program == 901 {
					about.refunded -= p.Amount
				}
			}
		}
	}
	stands := points.Amount(0)
	d.view(func(b *book.Book) {
		for position, s := range sales {
			if s.sold && !s.undone {
				stands += s.here - s.refunded
			}
			if view, ok, err := b.Remote(position); s.remote {
				require.NoError(d.t, err)
				require.True(d.t, ok)
				require.Equal(d.t, s.sold && !s.undone, view.Booked > 0, "seed %d: sale %d", d.seed, position)
			}
		}
	})
	require.Equal(d.t, stands, d.clearing(901), "seed %d: what 901 has paid", d.seed)
	for _, a := range d.standings() {
		require.Zero(d.t, a.held, "seed %d: member %d has points reserved", d.seed, a.member)
		if a.member == 2 {
			require.Equal(d.t, 500-stands, a.free, "seed %d", d.seed)
		}
	}
}

func (d *day) clearing(program points.ProgramID) (sum points.Amount) {
	d.view(func(b *book.Book) {
		a, _, err := b.Account(book.AccountKey{Kind: book.ClearingAccount, Program: program, Party: uint64(posAcq)})
		require.NoError(d.t, err)
		sum = a.Balance
	})
	return sum
}

// undo reverses one of the last requests, as a terminal does that has heard nothing.
func (d *day) undo() {
	if len(d.asked) == 0 {
		return
	}
	req := d.asked[max(0, len(d.asked)-1-d.rng.IntN(3))]
	req.Reversed, req.Function = req.Function, points.Reversal
	copy(req.Answer[:], "98")
	d.post(req)
}

// issuer lets the issuer look at what it was sent. faults says whether requests and
// answers may be lost, or answered late.
func (d *day) issuer(faults bool) {
	if d.there.peer == nil {
		return
	}
	d.there.ping()
	for len(d.there.inbox) > 0 {
		req, _ := d.there.next()
		if faults && d.rng.IntN(6) == 0 {
			d.did["request lost"]++
			continue
		}
		d.inbox = append(d.inbox, req)
	}
	keep := d.inbox[:0]
	for _, req := range d.inbox {
		if faults && d.rng.IntN(4) == 0 {
			d.did["late"]++
			keep = append(keep, req)
			continue
		}
		reason := d.bank.take(&req)
		if faults && d.rng.IntN(5) == 0 {
			d.did["answer lost"]++
			continue
		}
		d.there.answer(&req, &points.Response{Reason: reason, Amount: req.Amount})
	}
	d.inbox = keep
	d.round()
}

// powerCut kills the switch; what was not synced is gone.
func (d *day) powerCut() {
	left := d.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	d.crash()
	d.disk = left
	d.there.hangUp()
	d.there.inbox = nil
	d.start()
	d.did["power cut"]++
}

func (d *day) connect() {
	if d.there.peer == nil {
		d.up(d.there)
	}
}

// A switch that is killed at any moment, with an issuer that loses requests and answers
// and answers late: when all is settled, the issuer's ledger and clearing with the
// acquirer say the same, and what stands was not undone by the acquirer.
func TestIssuerAndClearingAgreeAfterCrashes(t *testing.T) {
	did := make(map[string]int)
	for seed := range *crashSeeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { playDay(t, seed, did) })
	}
	for _, kind := range []string{"request lost", "answer lost", "late", "power cut", "link cut", "stood in", "undone", "tender", "tender undone", "tender refunded"} {
		require.Positive(t, did[kind], "no day had: %s", kind)
	}
	slog.Info("days with an issuer", slog.Any("had", did))
}

func playDay(t *testing.T, seed int, did map[string]int) {
	d := newDay(t, seed, did)
	d.connect()
	for range 48 {
		switch n := d.rng.IntN(24); {
		case n >= 22:
			d.unsell([]points.Function{points.Void, points.Refund}[n-22])
		case n >= 20:
			d.sell()
		case n < 8:
			d.ask()
			if d.there.peer == nil {
				did["stood in"]++
			}
		case n < 13:
			d.issuer(true)
		case n < 15:
			d.wait(time.Duration(1+d.rng.IntN(20)) * time.Second)
			d.round()
		case n < 16:
			d.undo()
			did["undone"]++
		case n < 18:
			d.powerCut()
		case n < 19 && d.there.peer != nil:
			d.down(d.there)
			d.there.inbox = nil
			did["link cut"]++
		default:
			d.connect()
		}
	}
	for rounds := 0; d.unsettled() > 0; rounds++ {
		require.Less(t, rounds, 100, "seed %d: %d are never settled", seed, d.unsettled())
		d.connect()
		d.issuer(false)
		d.wait(16 * time.Second)
		d.round()
	}
	require.Equal(t, d.bank.sum(), d.clearing(903), "seed %d: the issuer's ledger and clearing differ", seed)
	d.requireWhole()
	d.verify()
	d.there.hangUp()
	d.stop()
}

func (d *day) unsettled() (n int) {
	d.view(func(b *book.Book) { n = len(b.Unfinished()) })
	return n
}
