package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// SwapGame is what a schedule of one swap with a remote leg may do. The book and the issuer
// are the real ones; between them lies a line that delivers in any order, late, twice or
// never, and a process that is killed.
type SwapGame struct {
	Debit    bool // the leg is at the source
	Declines bool // the issuer will not have it
	Spent    bool // the member spends a credit at once, so that it cannot be reversed
	Unfenced bool // the link's issuer knows no FENCE: give_up manual
	Resolves bool // operators decide what is manual, as the issuer's book says
	Timers   int  // at most so many timers go off while all goes wrong
	Copies   int  // at most so many messages come twice
	Kills    int  // at most so many times the book is made again from its journal

	Fault SwapFault // what is built wrongly; 0: nothing
}

// SwapFault is a way to build remote swaps wrongly, each of which splits the outcome.
type SwapFault uint8

// Faults.
const (
	SwapVoidsOnTimeout  SwapFault = iota + 1 // no answer is taken for a no
	SwapVoidsOnNotFound                      // so is "not there" to an enquiry
	SwapBelievesLate                         // a yes is believed after the swap was given up
	SwapNoTombstone                          // the issuer forgets a FENCE for what it does not know
)

// swapMove is one thing that happens in a schedule.
type swapMove struct {
	what swapEvent
	at   int // which message
}

type swapEvent uint8

const (
	swapDeliver swapEvent = iota + 1
	swapCopy              // deliver, and leave a copy on the line
	swapSilence           // the answer to what was asked is given up
	swapTimer
	swapKill
	swapResolve
)

var swapEventNames = [...]string{swapDeliver: "deliver", swapCopy: "deliver a copy of", swapSilence: "no answer in time", swapTimer: "timer", swapKill: "kill", swapResolve: "operators decide"}

func (m swapMove) String() string {
	if m.what == swapDeliver || m.what == swapCopy {
		return fmt.Sprintf("%s %d", swapEventNames[m.what], m.at)
	}
	return swapEventNames[m.what]
}

// swapMessage is a message on the line: a request to the issuer, or its answer.
type swapMessage struct {
	request points.Request
	answer  points.Reason // 0: it is a request
}

// What the game is about: air here, far at its issuer, 100 u each.
const (
	swapHere    = points.ProgramID(900)
	swapFar     = points.ProgramID(901)
	swapIssuer  = points.IssuerID(1001)
	swapFarAway = points.IssuerID(1002)
	swapHas     = points.Amount(1000)
	swapAmount  = points.Amount(100)
	swapLimit   = 3 // seconds until it is given up: the second timer does
	swapSecond  = points.Timestamp(1_000_000)
)

var swapCard = points.CardToken{0xca}

// swapPlay is one schedule as far as it was played.
type swapPlay struct {
	game   SwapGame
	book   *book.Book
	shelf  shelf
	issuer *issuerBook
	pan    points.PAN
	now    points.Timestamp
	quote  points.Position
	line   []swapMessage
	waits  bool // the process still waits for the answer to the request

	timers, copies, kills int
	out                   book.Outcome
}

// shelf keeps a journal in memory.
type shelf struct{ records [][]byte }

// State has none: the game's book begins at its first record.
func (s *shelf) State([]byte) ([]byte, bool, error) { return nil, false, nil }

// Record reads a record back.
func (s *shelf) Record(position points.Position, rec *book.Record) error {
	if position == 0 || position > points.Position(len(s.records)) {
		return fmt.Errorf("sim: no record %d", position)
	}
	_, err := book.DecodeRecord(s.records[position-1], rec)
	return err
}

func newSwapPlay(game SwapGame) (*swapPlay, error) {
	pan, err := points.ParsePAN("6222020000000018")
	if err != nil {
		return nil, err
	}
	p := &swapPlay{game: game, pan: pan, issuer: newIssuerBook(swapFarAway), now: 1_770_000_000_000_000}
	p.book = book.New(book.Options{}, &p.shelf)
	account := IssuerAccount{Card: "6222020000000018", Program: swapFar, Balance: swapHas}
	if game.Declines {
		account.Decline = points.MemberClosed.DE39()
	}
	if err := errors.Join(p.issuer.open(account), p.furnish()); err != nil {
		return nil, err
	}
	asked := book.Command{Kind: book.KindQuote, Edition: book.Edition, Member: 1, Card: swapCard, Program: swapHere, Into: swapFar, Amount: swapAmount, Ask: true}
	if game.Debit {
		asked.Program, asked.Into = swapFar, swapHere
	}
	if err := p.must(asked); err != nil {
		return nil, err
	}
	p.quote = p.out.Position
	if err := p.must(book.Command{Kind: book.KindSwap, Original: p.quote}); err != nil {
		return nil, err
	}
	p.waits = true
	return p, p.send()
}

// furnish enters participants, rates and a member.
func (p *swapPlay) furnish() error {
	from := p.now + 2*tariff.LeadTime
	put := func(e book.Entry) book.Command {
		return book.Command{Kind: book.KindPut, Entry: e, Operator: "li", Second: "wang"}
	}
	rules := tariff.SwapRules{Lots: 1 << book.Earned, Expiry: tariff.ExpiryProgram, QuoteSeconds: 30, LockSeconds: 600}
	commands := []book.Command{
		put(book.Entry{Issuer: &book.Issuer{ID: swapIssuer, Name: "Here", Status: book.Active}}),
		put(book.Entry{Issuer: &book.Issuer{ID: swapFarAway, Name: "Far", Status: book.Active, Link: "far"}}),
		put(book.Entry{Program: &book.Program{ID: swapHere, Issuer: swapIssuer, Name: "Here", Status: book.Active}}),
		put(book.Entry{Program: &book.Program{ID: swapFar, Issuer: swapFarAway, Name: "Far", Status: book.Active}}),
		put(book.Entry{Member: &book.Member{ID: 1, Status: book.Active}}),
		put(book.Entry{Card: &book.Card{Token: swapCard, Member: 1, Status: book.Active}}),
		{Kind: book.KindOpen, Member: 1, Program: swapHere},
		{Kind: book.KindCutOver, Date: 20260301},
		{Kind: book.KindAdjust, Member: 1, Program: swapHere, Amount: swapHas, Origin: book.Earned, Operator: "li", Second: "wang", Note: "start"},
		put(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindSWP}}}}),
	}
	for _, program := range []points.ProgramID{swapHere, swapFar} {
		for _, side := range []tariff.Side{tariff.Buy, tariff.Sell} {
			commands = append(commands, put(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: program, Side: side, Num: 100, Den: 1, From: from}}}))
		}
		commands = append(commands, put(book.Entry{Swaps: &tariff.SwapTerms{Program: program, From: from, SwapRules: rules}}))
	}
	for _, cmd := range commands {
		if err := p.must(cmd); err != nil {
			return err
		}
	}
	p.now = from + swapSecond
	return nil
}

// do applies a command and keeps its record.
func (p *swapPlay) do(cmd book.Command) error {
	p.now += 10
	cmd.At = max(cmd.At, p.now)
	if err := p.book.Apply(p.book.Position()+1, &cmd, &p.out); err != nil {
		return err
	}
	if p.out.Position != 0 && !p.out.Replayed {
		p.shelf.records = append(p.shelf.records, book.AppendRecord(nil, &cmd, &p.out))
	}
	return nil
}

func (p *swapPlay) must(cmd book.Command) error {
	if err := p.do(cmd); err != nil {
		return err
	}
	if !p.out.Reason.Approved() {
		return fmt.Errorf("sim: %v: %v", cmd.Kind, p.out.Reason)
	}
	return nil
}

func (p *swapPlay) leg() (book.SwapLegView, error) {
	view, ok, err := p.book.SwapLeg(p.quote)
	if err == nil && !ok {
		err = errors.New("sim: the swap has no leg")
	}
	return view, err
}

// send puts what the book wants to be asked on the line.
func (p *swapPlay) send() error {
	leg, err := p.leg()
	if err != nil || leg.Asks == 0 {
		return err
	}
	req := points.Request{
		Function: leg.Asks, PAN: p.pan, Program: leg.Program, Amount: leg.Amount, Acquirer: 1, Class: points.ClassFinancial,
		STAN: 1, Transmission: uint64(leg.Position),
	}
	if leg.Asks != leg.Act {
		req.Original = points.Original{Present: true, MTI: 200, STAN: 1, Transmission: req.Transmission}
		req.Transmission = uint64(leg.AskedBy)
	}
	if leg.Asks == points.Reversal {
		req.Class, req.Reversed, req.Transmission = points.ClassReversal, leg.Act, uint64(leg.Fenced)
	}
	p.line = append(p.line, swapMessage{request: req})
	return nil
}

// play makes one move.
func (p *swapPlay) play(m swapMove) error {
	switch m.what {
	case swapDeliver, swapCopy:
		message := p.line[m.at]
		if m.what == swapDeliver {
			p.line = slices.Delete(p.line, m.at, m.at+1)
		} else {
			p.copies++
		}
		if message.answer == 0 {
			p.ask(message)
			return nil
		}
		if p.waits && message.request.Function != points.SwapEnquiry {
			p.waits = false
		}
		return p.told(message.request.Function, message.answer)
	case swapSilence:
		p.waits = false
		leg, err := p.leg()
		if err != nil {
			return err
		}
		return p.told(leg.Act, points.IssuerTimeout)
	case swapTimer:
		p.timers++
		return p.retry()
	case swapKill:
		p.kills++
		return p.restart()
	default:
		return p.resolve()
	}
}

// ask has the issuer answer a request.
func (p *swapPlay) ask(message swapMessage) {
	req := message.request
	resp, _ := p.issuer.carryOut(p.now, &req, nil)
	if p.game.Fault == SwapNoTombstone && resp.Detail == "TOMBSTONE" {
		delete(p.issuer.entries, originalKey(&req))
	}
	if p.game.Spent && req.Function == points.SwapCredit && resp.Reason.Approved() {
		p.issuer.accounts[holding{p.pan, swapFar}].free = 0
	}
	message.answer = resp.Reason
	p.line = append(p.line, message)
}

// told enters an answer, as it is built or wrongly, and sends what follows from it.
func (p *swapPlay) told(asked points.Function, answer points.Reason) error {
	leg, err := p.leg()
	if err != nil {
		return err
	}
	switch fault := p.game.Fault; {
	case fault == SwapVoidsOnTimeout && answer == points.IssuerTimeout,
		fault == SwapVoidsOnNotFound && asked == points.SwapEnquiry && answer == points.UnknownOriginal:
		asked, answer = leg.Act, points.DoNotHonour
	case fault == SwapBelievesLate && asked == leg.Act && answer.Approved() && leg.Fenced != 0 && leg.Asks != 0:
		asked, answer = points.Reversal, points.OriginalClosed
	}
	if err := p.do(book.Command{Kind: book.KindSwapTold, Original: p.quote, Function: asked, Answer: answer}); err != nil {
		return err
	}
	if p.out.Reason.Approved() && p.out.Forwarded {
		return p.send()
	}
	return nil
}

func (p *swapPlay) retry() error {
	leg, err := p.leg()
	if err != nil {
		return err
	}
	p.waits, p.now = false, max(p.now, leg.Due)
	if err := p.must(book.Command{Kind: book.KindSwapRetry, Original: p.quote, Limit: swapLimit, Final: !p.game.Unfenced}); err != nil {
		return err
	}
	return p.send()
}

// restart makes the book again from its journal, which must come to the same. What is on the
// line stays there.
func (p *swapPlay) restart() error {
	again := book.New(book.Options{}, &p.shelf)
	var rec book.Record
	for i := range p.shelf.records {
		if err := p.shelf.Record(points.Position(i+1), &rec); err != nil {
			return err
		}
		if err := again.Replay(&rec); err != nil {
			return err
		}
	}
	if again.Digest() != p.book.Digest() {
		return errors.New("sim: the journal comes to another state")
	}
	p.book = again
	if p.waits { // Its answer goes to a process that is gone.
		return p.play(swapMove{what: swapSilence})
	}
	return nil
}

// resolve ends a manual swap by what the issuer's book says.
func (p *swapPlay) resolve() error {
	answer := points.ReversedBefore
	if p.stands() {
		answer = points.Approved
	}
	return p.must(book.Command{Kind: book.KindResolve, Original: p.quote, Answer: answer, Operator: "li", Second: "wang"})
}

// stands reports whether the leg stands in the issuer's book.
func (p *swapPlay) stands() bool {
	for _, e := range p.issuer.history {
		if (e.request.Function == points.SwapCredit || e.request.Function == points.SwapDebit) && e.approved() && !e.reversed {
			return true
		}
	}
	return false
}

// moves lists what can happen now.
func (p *swapPlay) moves() ([]swapMove, error) {
	leg, err := p.leg()
	if err != nil {
		return nil, err
	}
	var all []swapMove
	for i := range p.line {
		all = append(all, swapMove{swapDeliver, i})
		if p.copies < p.game.Copies {
			all = append(all, swapMove{swapCopy, i})
		}
	}
	if p.waits {
		all = append(all, swapMove{what: swapSilence})
	}
	if leg.Asks != 0 && p.timers < p.game.Timers {
		all = append(all, swapMove{what: swapTimer})
	}
	if p.kills < p.game.Kills {
		all = append(all, swapMove{what: swapKill})
	}
	if p.game.Resolves && leg.State == book.SwapManual && len(p.line) == 0 {
		all = append(all, swapMove{what: swapResolve})
	}
	return all, nil
}

// check holds the two books against each other, as they are now: nobody has both sides, and
// what is decided is decided on both.
func (p *swapPlay) check() error {
	leg, err := p.leg()
	if err != nil {
		return err
	}
	account, _, err := p.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: swapHere, Party: 1})
	if err != nil {
		return err
	}
	free, held, stands := account.Balance-account.Held, account.Held, p.stands()
	far := p.issuer.accounts[holding{p.pan, swapFar}].free
	worth := free + far
	switch {
	case p.game.Spent && stands && !p.game.Debit:
		worth += swapHas + swapAmount - far
	case worth+held > 2*swapHas && leg.Asks == 0:
		return fmt.Errorf("worth %d with what is held, began with %d", worth+held, 2*swapHas)
	}
	switch {
	case worth > 2*swapHas:
		return fmt.Errorf("worth %d (here %d, at the issuer %d), began with %d", worth, free, far, 2*swapHas)
	case leg.State == book.SwapDone && !stands:
		return errors.New("done here, and nothing stands at the issuer")
	case (leg.State == book.SwapRejected || leg.State == book.SwapReversed) && stands && leg.Asks == 0:
		return fmt.Errorf("%v here, and it stands at the issuer", leg.State)
	case leg.Asks == 0 && (held != 0 || worth != 2*swapHas):
		return fmt.Errorf("%v with %d held, worth %d of %d", leg.State, held, worth, 2*swapHas)
	}
	return nil
}

// finish lets everything drain: what is on the line arrives, timers go off. The swap must come
// to an end, and stay manual only where nobody decides.
func (p *swapPlay) finish() error {
	for range 64 {
		for len(p.line) > 0 {
			if err := errors.Join(p.play(swapMove{swapDeliver, 0}), p.check()); err != nil {
				return err
			}
		}
		leg, err := p.leg()
		if err != nil {
			return err
		}
		if leg.Asks == 0 {
			return errors.Join(p.check(), p.book.Audit())
		}
		if err := p.retry(); err != nil {
			return err
		}
	}
	return errors.New("it does not come to an end")
}

// key is all of a play that its future depends on, but for times and positions.
func (p *swapPlay) key() (string, error) {
	leg, err := p.leg()
	if err != nil {
		return "", err
	}
	var key strings.Builder
	fmt.Fprintf(&key, "%v %v %d %v %v %v|%d %d %d|", leg.State, leg.Asks, leg.Attempt, leg.Fenced != 0, leg.Undoing, p.waits, p.timers, p.copies, p.kills)
	for _, e := range p.issuer.history {
		if e.request.Function != points.SwapEnquiry {
			fmt.Fprintf(&key, "%v %v %v %v;", e.request.Function, e.response.Reason, e.reversed, e.tomb)
		}
	}
	var line []string
	for _, m := range p.line {
		line = append(line, fmt.Sprintf("|%v %v %v", m.request.Function, m.answer, m.request.Function == points.SwapEnquiry && m.request.Transmission == uint64(leg.AskedBy)))
	}
	slices.Sort(line)
	return key.String() + fmt.Sprint(line), nil
}

// SwapExploration is what came of all schedules.
type SwapExploration struct {
	States int
	Ends   map[book.SwapState]int
}

// ExploreSwaps plays every schedule of a game, each state once. The error tells the first
// schedule that splits the outcome.
func ExploreSwaps(game SwapGame) (SwapExploration, error) {
	found := SwapExploration{Ends: make(map[book.SwapState]int)}
	seen := make(map[string]bool)
	ways := [][]swapMove{nil}
	for len(ways) > 0 {
		way := ways[len(ways)-1]
		ways = ways[:len(ways)-1]
		p, err := replaySwap(game, way)
		if err != nil {
			return found, err
		}
		key, err := p.key()
		if err != nil {
			return found, err
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		found.States++
		moves, err := p.moves()
		if err != nil {
			return found, err
		}
		for _, m := range moves {
			ways = append(ways, append(slices.Clone(way), m))
		}
		if err := p.finish(); err != nil {
			return found, fmt.Errorf("sim: after %v and all that drains: %w", way, err)
		}
		leg, err := p.leg()
		if err != nil {
			return found, err
		}
		found.Ends[leg.State]++
	}
	return found, nil
}

func replaySwap(game SwapGame, way []swapMove) (*swapPlay, error) {
	p, err := newSwapPlay(game)
	if err != nil {
		return nil, err
	}
	for i, m := range way {
		if err := errors.Join(p.play(m), p.check()); err != nil {
			return nil, fmt.Errorf("sim: after %v: %w", way[:i+1], err)
		}
	}
	return p, nil
}

// RunSwap plays one long schedule from a seed and lets it drain.
func RunSwap(seed uint64) (book.SwapState, error) {
	r := rand.New(rand.NewPCG(seed, 0x5a9))
	flip := func() bool { return r.IntN(2) == 0 }
	game := SwapGame{Debit: flip(), Declines: r.IntN(4) == 0, Spent: r.IntN(4) == 0, Unfenced: r.IntN(4) == 0, Resolves: flip(), Timers: r.IntN(24), Copies: r.IntN(6), Kills: r.IntN(4)}
	game.Spent = game.Spent && !game.Debit
	p, err := newSwapPlay(game)
	if err != nil {
		return 0, err
	}
	var way []swapMove
	for range 80 {
		moves, err := p.moves()
		if err != nil {
			return 0, err
		}
		if len(moves) == 0 {
			break
		}
		m := moves[r.IntN(len(moves))]
		way = append(way, m)
		if err := errors.Join(p.play(m), p.check()); err != nil {
			return 0, fmt.Errorf("sim: swap seed %d, %+v, after %v: %w", seed, game, way, err)
		}
	}
	if err := p.finish(); err != nil {
		return 0, fmt.Errorf("sim: swap seed %d, %+v, after %v and all that drains: %w", seed, game, way, err)
	}
	leg, err := p.leg()
	return leg.State, err
}
