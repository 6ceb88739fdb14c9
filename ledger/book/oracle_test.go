package book_test

import (
	"math"
	"slices"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// The oracle is the slow, obvious ledger: it has no lots and no sums, every point
// is a thing of its own. It shares no code with the book, only its words.

type point struct {
	active, expires, decays points.BusinessDate
	origin                  book.Origin
	standIn                 book.AccountKind // of a sale: no point was there, and a debt or the issuer stood in for it
}

type purse struct {
	points      []point
	debt        int
	day         points.BusinessDate
	redeemed    int
	redemptions int
	given       int
}

type purseKey struct {
	program points.ProgramID
	member  points.MemberID
}

// deed is one thing that was done: whose points went where.
type deed struct {
	cmd      book.Command
	reason   points.Reason
	amount   int
	program  points.ProgramID
	member   points.MemberID
	date     points.BusinessDate
	took     []point // from the member
	back     []bool  // which of took came back
	gave     []point // to the member (earn), or to the other member (transfer)
	gaveTo   points.MemberID
	repaid   int
	borrowed int
	owing    int   // what a claim left with the issuer
	returned []int // refund, void: which of the original's points it gave back
	lapsed   int   // of those, how many went to breakage
	settled  int   // of those, how many a debt had stood in for: repaid
	renewed  int   // the same, but the debt had been repaid: new points
	borne    int   // of those, how many the issuer had stood in for
	original *deed
	hold     *reserve
	tier     *deed   // what an earn, or what undoes it, does in the tier unit
	reheld   []point // final capture, release: what went back to free
	reversed bool
	parted   int // what reversals of a part have given or taken back
	voided   *deed
	voidOf   book.Kind
}

type reserve struct {
	deed     *deed
	points   []point
	due      points.BusinessDate
	placed   points.BusinessDate
	state    string
	captured int
}

type oracle struct {
	date     points.BusinessDate
	rules    map[points.ProgramID]book.ProgramRules
	purses   map[purseKey]*purse
	house    map[book.AccountKind]map[points.ProgramID]int
	deeds    map[points.TraceKey]*deed
	tombs    map[points.TraceKey]bool
	joined   map[points.MemberID]bool // who has an account of the tier unit
	reserves []*reserve
}

func newOracle(members points.MemberID, airRules, innRules book.ProgramRules) *oracle {
	o := &oracle{
		date:   day0,
		rules:  map[points.ProgramID]book.ProgramRules{air: airRules, inn: innRules},
		purses: make(map[purseKey]*purse),
		house:  make(map[book.AccountKind]map[points.ProgramID]int),
		deeds:  make(map[points.TraceKey]*deed),
		tombs:  make(map[points.TraceKey]bool),
		joined: make(map[points.MemberID]bool),
	}
	for _, kind := range []book.AccountKind{book.ClearingAccount, book.IssuedAccount, book.BreakageAccount, book.SuspenseAccount} {
		o.house[kind] = make(map[points.ProgramID]int)
	}
	for id := points.MemberID(1); id <= members; id++ {
		o.purses[purseKey{air, id}] = &purse{}
		o.purses[purseKey{inn, id}] = &purse{}
	}
	if airRules.Tier != 0 {
		o.rules[airRules.Tier] = milesRules
		for id := points.MemberID(1); id <= members; id++ {
			o.purses[purseKey{airRules.Tier, id}] = &purse{}
		}
	}
	return o
}

func (o *oracle) purse(d *deed) *purse { return o.purses[purseKey{d.program, d.member}] }

func (o *oracle) live(p point) bool {
	return p.active <= o.date && (p.expires == 0 || p.expires >= o.date)
}

func (o *oracle) lapsed(p point) bool { return p.expires != 0 && p.expires < o.date }

func goesBefore(p, q point) bool {
	pe, qe := uint64(p.expires), uint64(q.expires)
	if pe == 0 {
		pe = math.MaxUint64
	}
	if qe == 0 {
		qe = math.MaxUint64
	}
	if pe != qe {
		return pe < qe
	}
	if p.decays != q.decays {
		return q.decays == 0 || (p.decays != 0 && p.decays < q.decays)
	}
	if p.active != q.active {
		return p.active < q.active
	}
	return p.origin < q.origin
}

func (o *oracle) usable(pu *purse) (n int) {
	for _, p := range pu.points {
		if o.live(p) {
			n++
		}
	}
	return n
}

// pick removes the point that goes first among those that match.
func (pu *purse) pick(match func(point) bool) (point, bool) {
	best := -1
	for i, p := range pu.points {
		if match(p) && (best < 0 || goesBefore(p, pu.points[best])) {
			best = i
		}
	}
	if best < 0 {
		return point{}, false
	}
	p := pu.points[best]
	pu.points = slices.Delete(pu.points, best, best+1)
	return p, true
}

func (o *oracle) spend(pu *purse, n int) (taken []point) {
	for range n {
		p, ok := pu.pick(o.live)
		if !ok {
			panic("oracle: spent what is not there")
		}
		taken = append(taken, p)
	}
	return taken
}

func (o *oracle) normal(p point) point {
	if p.active <= o.date {
		p.active = 0
	}
	return p
}

func (o *oracle) receive(pu *purse, p point) { pu.points = append(pu.points, o.normal(p)) }

// comeBack returns a point to its owner; false: it has lapsed and is gone.
func (o *oracle) comeBack(program points.ProgramID, pu *purse, p point) bool {
	if o.lapsed(p) {
		grace := int(o.rules[program].GraceDays)
		if grace == 0 {
			o.house[book.BreakageAccount][program]++
			return false
		}
		p.expires, p.decays = o.date.AddDays(grace), 0
	}
	o.receive(pu, p)
	return true
}

// monthAfter is the first day of the month that comes n months after date's.
func monthAfter(date points.BusinessDate, n int) points.BusinessDate {
	months := int(date/10_000)*12 + int(date/100%100) - 1 + n
	return points.BusinessDate(months/12*10_000 + (months%12+1)*100 + 1)
}

// ageing gives a point the date on which it first decays.
func (o *oracle) ageing(program points.ProgramID, p point) point {
	if r := o.rules[program]; r.DecayPart > 0 {
		p.decays = monthAfter(max(p.active, o.date), int(r.DecayAfter)+1)
	}
	return mortal(p)
}

// mortal is a point that does not decay after it has expired.
func mortal(p point) point {
	if p.expires != 0 && p.decays > p.expires {
		p.decays = 0
	}
	return p
}

// decay takes from what is alike, each kind of points for itself.
func (o *oracle) decay(d *deed) points.Reason {
	for key, pu := range o.purses {
		rules := o.rules[key.program]
		due := make(map[point]int)
		var kept []point
		for _, p := range pu.points {
			if p.decays != 0 && p.decays <= o.date {
				due[p]++
			} else {
				kept = append(kept, p)
			}
		}
		for p, n := range due {
			for p.decays != 0 && p.decays <= o.date {
				gone := n * int(rules.DecayPart) / 10_000
				n -= gone
				d.amount += gone
				o.house[book.BreakageAccount][key.program] += gone
				p.decays = monthAfter(p.decays, int(rules.DecayEvery))
				p = mortal(p)
			}
			for range n {
				kept = append(kept, o.normal(p))
			}
		}
		pu.points = kept
	}
	return points.Approved
}

// alike finds a point like want, else one that has only decayed since.
func (o *oracle) alike(pu *purse, want point) (point, bool) {
	want = o.normal(want)
	if p, ok := pu.pick(func(p point) bool { return o.normal(p) == want }); ok {
		return p, true
	}
	return pu.pick(func(p point) bool {
		p.decays = want.decays
		return want.decays != 0 && o.normal(p) == want
	})
}

func (o *oracle) today(pu *purse) {
	if pu.day != o.date {
		pu.day, pu.redeemed, pu.redemptions, pu.given = o.date, 0, 0, 0
	}
}

func (o *oracle) uncount(pu *purse, amount, redemptions int) {
	o.today(pu)
	pu.redeemed = max(0, pu.redeemed-amount)
	pu.redemptions = max(0, pu.redemptions-redemptions)
}

// do answers a command.
func (o *oracle) do(cmd book.Command) (points.Reason, int) {
	if first, ok := o.deeds[cmd.Key]; ok {
		a, c := first.cmd, cmd
		if a.Kind != c.Kind || a.Card != c.Card || a.Program != c.Program || a.Amount != c.Amount || a.OriginalKey != c.OriginalKey ||
			a.ToMember != c.ToMember || a.ActiveOn != c.ActiveOn || a.ExpiresOn != c.ExpiresOn || a.Date != c.Date || a.Origin != c.Origin || a.Actual != c.Actual {
			if a.Kind == book.KindReverse && c.Kind == book.KindReverse && !first.reason.Approved() {
				return o.judge(cmd) // anew
			}
			return points.DuplicateOther, 0
		}
		if first.reason.Approved() && first.reversed {
			return points.ReversedBefore, 0
		}
		return first.reason, first.amount
	}
	return o.judge(cmd)
}

func (o *oracle) judge(cmd book.Command) (points.Reason, int) {
	d := &deed{cmd: cmd, date: o.date, program: cmd.Program, member: points.MemberID(cmd.Card[15])}
	if o.tombs[cmd.Key] {
		d.reason = points.ReversedBefore
	} else {
		d.reason = o.carryOut(d)
	}
	if !d.reason.Approved() {
		d.amount = 0
	}
	o.deeds[cmd.Key] = d
	return d.reason, d.amount
}

func (o *oracle) carryOut(d *deed) points.Reason {
	switch d.cmd.Kind {
	case book.KindEarn:
		return o.earn(d)
	case book.KindRedeem:
		return o.redeem(d)
	case book.KindHold:
		return o.hold(d)
	case book.KindIncrement:
		return o.increment(d)
	case book.KindCapture:
		return o.capture(d)
	case book.KindRelease:
		return o.release(d)
	case book.KindVoid:
		return o.void(d)
	case book.KindRefund:
		return o.refund(d)
	case book.KindReverse:
		return o.reverse(d)
	case book.KindTransfer:
		return o.transfer(d)
	case book.KindExpireLots:
		return o.expire(d)
	case book.KindExpireHolds:
		return o.expireHolds(d)
	case book.KindVestLots:
		return o.vest(d)
	case book.KindDecay:
		return o.decay(d)
	case book.KindCutOver:
		o.date = d.cmd.Date
		return points.Approved
	default:
		panic("oracle: unknown command")
	}
}

func (o *oracle) earn(d *deed) points.Reason {
	n := int(d.cmd.Amount)
	if n <= 0 {
		return points.BadAmount
	}
	p := point{active: d.cmd.ActiveOn, expires: d.cmd.ExpiresOn, origin: d.cmd.Origin}
	if p.origin == 0 {
		p.origin = book.Earned
	}
	if o.lapsed(p) {
		return points.PointsExpired
	}
	if p.expires != 0 && p.active > p.expires {
		return points.NotPermitted
	}
	d.amount = n
	o.credit(d, p)
	if unit := o.rules[d.program].Tier; unit != 0 {
		d.tier = &deed{cmd: d.cmd, program: unit, member: d.member, amount: n}
		o.credit(d.tier, point{origin: p.origin})
		o.joined[d.member] = true
	}
	return points.Approved
}

func (o *oracle) credit(d *deed, p point) {
	pu := o.purse(d)
	p = o.ageing(d.program, p)
	o.house[o.giver(d.program)][d.program] -= d.amount
	for range d.amount {
		if pu.debt > 0 {
			pu.debt--
			d.repaid++
			continue
		}
		d.gave = append(d.gave, p)
		o.receive(pu, p)
	}
	d.gaveTo = d.member
}

// giver is where earned points come from.
func (o *oracle) giver(program points.ProgramID) book.AccountKind {
	if o.rules[program].Qualifying {
		return book.IssuedAccount
	}
	return book.ClearingAccount
}

func (o *oracle) mayRedeem(d *deed, n int) points.Reason {
	r, pu := o.rules[d.program], o.purse(d)
	o.today(pu)
	switch {
	case n < int(r.MinRedeem):
		return points.BelowMinimum
	case r.MaxRedeemDay > 0 && pu.redeemed+n > int(r.MaxRedeemDay):
		return points.OverAmountLimit
	case r.MaxRedeemCnt > 0 && pu.redemptions >= int(r.MaxRedeemCnt):
		return points.OverCountLimit
	}
	return o.there(pu, n)
}

func (o *oracle) there(pu *purse, n int) points.Reason {
	usable, with := o.usable(pu), 0
	for _, p := range pu.points {
		if o.live(p) || o.lapsed(p) {
			with++
		}
	}
	switch {
	case usable >= n:
		return points.Approved
	case with >= n:
		return points.PointsExpired
	}
	return points.NotEnoughPoints
}

func (o *oracle) redeem(d *deed) points.Reason {
	n, pu, yes := int(d.cmd.Amount), o.purse(d), points.Approved
	if n <= 0 {
		return points.BadAmount
	}
	if u := o.usable(pu); d.cmd.PartialOK && u > 0 && u < n {
		n, yes = u, points.ApprovedPartly
	}
	if r := o.mayRedeem(d, n); !r.Approved() {
		return r
	}
	d.take(o.spend(pu, n))
	pu.redeemed += n
	pu.redemptions++
	o.house[book.ClearingAccount][d.program] += n
	return yes
}

func (d *deed) take(taken []point) {
	d.took, d.back, d.amount = taken, make([]bool, len(taken)), len(taken)
}

func (o *oracle) hold(d *deed) points.Reason {
	n, pu := int(d.cmd.Amount), o.purse(d)
	if n <= 0 {
		return points.BadAmount
	}
	if r := o.mayRedeem(d, n); !r.Approved() {
		return r
	}
	pu.redeemed += n
	pu.redemptions++
	d.amount = n
	d.hold = &reserve{deed: d, points: o.spend(pu, n), due: o.date.AddDays(int(o.rules[d.program].HoldDays)), placed: o.date, state: "open"}
	o.reserves = append(o.reserves, d.hold)
	return points.Approved
}

// same finds the original and checks that the command means it.
func (o *oracle) same(d *deed) (*deed, points.Reason) {
	first, ok := o.deeds[d.cmd.OriginalKey]
	if !ok {
		return nil, points.UnknownOriginal
	}
	if !first.reason.Approved() {
		return first, points.OriginalNotApproved
	}
	if first.member != d.member {
		return first, points.OriginalDiffers
	}
	if d.cmd.Program != 0 && d.cmd.Program != first.program {
		return first, points.WrongUnit
	}
	d.original, d.program = first, first.program
	return first, points.Approved
}

func (o *oracle) liveHold(d *deed) (*reserve, points.Reason) {
	first, ok := o.deeds[d.cmd.OriginalKey]
	if !ok {
		return nil, points.UnknownOriginal
	}
	if !first.reason.Approved() {
		return nil, points.OriginalNotApproved
	}
	if first.cmd.Kind != book.KindHold {
		return nil, points.OriginalDiffers
	}
	if _, r := o.same(d); !r.Approved() {
		return nil, r
	}
	h := first.hold
	switch {
	case h.state == "expired" || (h.state == "open" && h.due < o.date):
		return nil, points.HoldExpired
	case h.state != "open":
		return nil, points.OriginalClosed
	}
	d.hold = h
	return h, points.Approved
}

func (o *oracle) increment(d *deed) points.Reason {
	if d.cmd.Amount <= 0 {
		return points.BadAmount
	}
	h, r := o.liveHold(d)
	if !r.Approved() {
		return r
	}
	n, pu, rules := int(d.cmd.Amount), o.purse(d), o.rules[d.program]
	o.today(pu)
	if rules.MaxRedeemDay > 0 && pu.redeemed+n > int(rules.MaxRedeemDay) {
		return points.OverAmountLimit
	}
	if r := o.there(pu, n); !r.Approved() {
		return r
	}
	pu.redeemed += n
	d.amount = n
	d.took = o.spend(pu, n)
	h.points = append(h.points, d.took...)
	return points.Approved
}

// first removes the point of a hold that goes first.
func (h *reserve) first() point {
	pu := purse{points: h.points}
	p, _ := pu.pick(func(point) bool { return true })
	h.points = pu.points
	return p
}

func (o *oracle) capture(d *deed) points.Reason {
	if d.cmd.Amount <= 0 {
		return points.BadAmount
	}
	h, r := o.liveHold(d)
	if !r.Approved() {
		return r
	}
	n := int(d.cmd.Amount)
	if n > len(h.points) {
		return points.AmountOverOriginal
	}
	var taken []point
	for range n {
		taken = append(taken, h.first())
	}
	d.take(taken)
	o.house[book.ClearingAccount][d.program] += n
	before := h.captured
	h.captured += n
	if d.cmd.Final {
		o.giveRest(d, h, before+n)
	}
	if len(h.points) == 0 {
		h.state = "captured"
	}
	return points.Approved
}

// giveRest returns what a hold still reserves.
func (o *oracle) giveRest(d *deed, h *reserve, captured int) {
	pu, n := o.purse(h.deed), len(h.points)
	if h.placed == o.date {
		o.uncount(pu, n, 0)
		if captured == 0 {
			o.uncount(pu, 0, 1)
		}
	}
	for len(h.points) > 0 {
		p := h.first()
		if o.comeBack(h.deed.program, pu, p) {
			if o.lapsed(p) {
				p.expires, p.decays = o.date.AddDays(int(o.rules[h.deed.program].GraceDays)), 0
			}
			d.reheld = append(d.reheld, o.normal(p))
		} else {
			d.reheld = append(d.reheld, p) // the lot is named, but nothing of it is there
		}
	}
}

func (o *oracle) release(d *deed) points.Reason {
	h, r := o.liveHold(d)
	if !r.Approved() {
		return r
	}
	d.amount = len(h.points)
	o.giveRest(d, h, h.captured)
	h.state = "released"
	return points.Approved
}

func (o *oracle) expireHolds(d *deed) points.Reason {
	for _, h := range o.reserves {
		if h.state == "open" && h.due < o.date {
			d.amount += len(h.points)
			o.giveRest(d, h, h.captured)
			h.state = "expired"
		}
	}
	return points.Approved
}

func (o *oracle) expire(d *deed) points.Reason {
	for key, pu := range o.purses {
		kept := pu.points[:0]
		for _, p := range pu.points {
			if o.lapsed(p) {
				o.house[book.BreakageAccount][key.program]++
				d.amount++
				continue
			}
			kept = append(kept, p)
		}
		pu.points = kept
	}
	return points.Approved
}

func (o *oracle) vest(d *deed) points.Reason {
	for _, pu := range o.purses {
		for i, p := range pu.points {
			if p.active != 0 && p.active <= o.date {
				pu.points[i].active = 0
				d.amount++
			}
		}
	}
	return points.Approved
}

func (o *oracle) transfer(d *deed) points.Reason {
	n, pu, rules := int(d.cmd.Amount), o.purse(d), o.rules[d.program]
	switch {
	case n <= 0:
		return points.BadAmount
	case !rules.Transfer || d.cmd.ToMember == d.member:
		return points.NotPermitted
	}
	o.today(pu)
	if rules.TransferDay > 0 && pu.given+n > int(rules.TransferDay) {
		return points.OverAmountLimit
	}
	if r := o.there(pu, n); !r.Approved() {
		return r
	}
	pu.given += n
	d.take(o.spend(pu, n))
	d.gaveTo = d.cmd.ToMember
	for _, p := range d.took {
		d.gave = append(d.gave, o.normal(p))
		o.receive(o.purses[purseKey{d.program, d.gaveTo}], p)
	}
	return points.Approved
}

// returnLatest gives back n of what a sale took, the latest expiring first.
func (o *oracle) returnLatest(d, sale *deed, n int) {
	pu := o.purse(sale)
	o.house[book.ClearingAccount][sale.program] -= n
	debts := 0
	for range n {
		best := sale.latest()
		sale.back[best] = true
		d.returned = append(d.returned, best)
		p := sale.took[best]
		if p.standIn != 0 {
			debts += o.settle(d, p)
			continue
		}
		if o.comeBack(sale.program, pu, p) {
			if o.lapsed(p) {
				p.expires, p.decays = o.date.AddDays(int(o.rules[sale.program].GraceDays)), 0
			}
			d.gave = append(d.gave, o.normal(p))
		} else {
			d.lapsed++
		}
	}
	o.repay(d, pu, sale.program, debts)
	d.gaveTo = sale.member
}

// settle gives the issuer back what it bore, and counts debts.
func (o *oracle) settle(d *deed, p point) (debts int) {
	if p.standIn == book.DebtAccount {
		return 1
	}
	o.house[book.SuspenseAccount][d.program]++
	d.borne++
	return 0
}

// repay takes n off a debt; what of it has been repaid comes as new points.
func (o *oracle) repay(d *deed, pu *purse, program points.ProgramID, n int) {
	for range n {
		if pu.debt > 0 {
			pu.debt--
			d.settled++
			continue
		}
		p := o.ageing(program, point{origin: book.Adjusted})
		o.receive(pu, p)
		d.gave = append(d.gave, o.normal(p))
		d.renewed++
	}
}

// again takes back what by gave back of a sale; taken is what the member has lost
// by it. A point that is not among them is another's by now: the sale has taken
// what was there instead.
func (o *oracle) again(sale, by *deed, taken []point) {
	var others []int
	gave := by.gave
	for _, i := range by.returned {
		sale.back[i] = false
		p := sale.took[i]
		switch {
		case p.standIn != 0 || (o.lapsedOn(p, by.date) && by.lapsed > 0):
			continue
		case !o.strike(&taken, gave[0]):
			others = append(others, i)
		}
		gave = gave[1:]
	}
	for _, i := range by.returned {
		if sale.took[i].standIn != book.DebtAccount || o.strike(&taken, point{standIn: book.DebtAccount}) {
			continue
		}
		if !o.strike(&taken, gave[0]) {
			others = append(others, i)
		}
		gave = gave[1:]
	}
	for _, i := range others {
		sale.took[i], taken = taken[0], taken[1:]
	}
}

// strike removes one like p from taken. One that has decayed since is not like it.
func (o *oracle) strike(taken *[]point, want point) bool {
	pu := purse{points: *taken}
	_, ok := pu.pick(func(p point) bool { return o.normal(p) == o.normal(want) })
	*taken = pu.points
	return ok
}

func (o *oracle) lapsedOn(p point, date points.BusinessDate) bool {
	return p.expires != 0 && p.expires < date
}

// latest is what comes back next: of what others stood in for, then of the points
// that expire last.
func (d *deed) latest() int {
	best := -1
	for i, p := range d.took {
		switch {
		case d.back[i]:
		case best < 0, p.standIn > d.took[best].standIn:
			best = i
		case p.standIn < d.took[best].standIn, laterExpiry(d.took[best], p):
		case laterExpiry(p, d.took[best]), !goesBefore(p, d.took[best]):
			best = i
		}
	}
	return best
}

func laterExpiry(p, q point) bool {
	return p.expires != q.expires && (p.expires == 0 || (q.expires != 0 && p.expires > q.expires))
}

func (d *deed) left() (n int) {
	for _, back := range d.back {
		if !back {
			n++
		}
	}
	return n
}

func (o *oracle) void(d *deed) points.Reason {
	sale, r := o.same(d)
	if sale != nil && sale.reason.Approved() && sale.cmd.Kind != book.KindRedeem && sale.cmd.Kind != book.KindEarn && sale.cmd.Kind != book.KindCapture {
		return points.OriginalDiffers
	}
	if !r.Approved() {
		return r
	}
	n := int(d.cmd.Amount)
	switch {
	case d.cmd.Terminal != sale.cmd.Terminal:
		return points.OriginalDiffers
	case n > sale.amount:
		return points.AmountOverOriginal
	case n != 0 && n != sale.amount:
		return points.OriginalDiffers
	case sale.date != o.date:
		return points.OriginalClosed
	case sale.reversed || sale.voided != nil || sale.parted > 0 || sale.left() < len(sale.took) && (sale.cmd.Kind == book.KindRedeem || sale.cmd.Kind == book.KindCapture):
		return points.OriginalClosed
	}
	d.voidOf = sale.cmd.Kind
	switch sale.cmd.Kind {
	case book.KindRedeem:
		o.returnLatest(d, sale, sale.amount)
		o.uncount(o.purse(sale), sale.amount, 1)
	case book.KindEarn:
		if sale.amount > len(o.purse(sale).points) && !o.rules[sale.program].Debt {
			return points.NotEnoughPoints
		}
		o.unearn(d, sale)
	case book.KindCapture:
		o.uncapture(d, sale, false)
	default:
	}
	d.amount = sale.amount
	sale.voided = d
	return points.Approved
}

func (o *oracle) unearn(d, sale *deed) {
	if sale.tier != nil {
		d.tier = &deed{}
		o.unearn(d.tier, sale.tier)
	}
	o.house[o.giver(sale.program)][sale.program] += sale.amount
	o.claim(d, sale.program, sale.gaveTo, sale.gave, len(sale.gave))
	o.purse(sale).debt += sale.repaid
	d.borrowed += sale.repaid
}

// claim takes n points back: the same, then others, then a debt or suspense.
func (o *oracle) claim(d *deed, program points.ProgramID, member points.MemberID, gave []point, n int) {
	pu, missing := o.purses[purseKey{program, member}], n
	for _, want := range gave {
		if missing == 0 {
			break
		}
		if p, ok := o.alike(pu, want); ok {
			d.took = append(d.took, p)
			missing--
		}
	}
	for range missing {
		p, ok := pu.pick(func(point) bool { return true })
		switch {
		case ok:
			d.took = append(d.took, p)
		case o.rules[program].Debt:
			pu.debt++
			d.borrowed++
		default:
			o.house[book.SuspenseAccount][program]--
			d.owing++
		}
	}
	d.back = make([]bool, len(d.took))
}

func (o *oracle) uncapture(d, sale *deed, again bool) {
	h, n := sale.hold, sale.left()
	if h.due < o.date || h.state == "expired" || h.deed.reversed {
		o.returnLatest(d, sale, n)
		h.captured -= n
		return
	}
	o.toHold(d, sale, n)
	if again {
		o.rehold(d, h, sale.reheld)
	}
	if len(h.points) > 0 {
		h.state = "open"
	}
}

// toHold returns n of what a capture took to its hold.
func (o *oracle) toHold(d, sale *deed, n int) {
	h, debts := sale.hold, 0
	o.house[book.ClearingAccount][sale.program] -= n
	for range n {
		i := sale.latest()
		sale.back[i] = true
		d.returned = append(d.returned, i)
		p := sale.took[i]
		if p.standIn != 0 {
			debts += o.settle(d, p)
			continue
		}
		h.points = append(h.points, p)
		d.gave = append(d.gave, p)
	}
	o.repay(d, o.purse(sale), sale.program, debts)
	h.captured -= n
}

func (o *oracle) rehold(d *deed, h *reserve, released []point) {
	pu := o.purse(h.deed)
	for _, want := range released {
		want = o.normal(want)
		if p, ok := o.alike(pu, want); ok {
			want.decays = p.decays
			h.points = append(h.points, want)
			if h.placed == o.date {
				o.today(pu)
				pu.redeemed++
			}
		}
	}
}

func (o *oracle) refund(d *deed) points.Reason {
	n := int(d.cmd.Amount)
	if n <= 0 {
		return points.BadAmount
	}
	sale, r := o.same(d)
	switch {
	case sale != nil && sale.reason.Approved() && sale.cmd.Kind != book.KindRedeem && sale.cmd.Kind != book.KindCapture:
		return points.OriginalDiffers
	case !r.Approved():
		return r
	case sale.reversed || sale.voided != nil:
		return points.OriginalClosed
	case n > sale.left():
		return points.AmountOverOriginal
	}
	d.amount = n
	o.returnLatest(d, sale, n)
	return points.Approved
}

func (o *oracle) reverse(d *deed) points.Reason {
	if d.cmd.Actual < 0 {
		return points.BadAmount
	}
	first, r := o.same(d)
	if first == nil {
		o.tombs[d.cmd.OriginalKey] = true
		return points.Approved
	}
	if !first.reason.Approved() {
		return points.Approved
	}
	switch first.cmd.Kind {
	case book.KindReverse, book.KindCutOver, book.KindExpireHolds, book.KindExpireLots, book.KindVestLots, book.KindDecay:
		return points.NotPermitted
	default:
	}
	if !r.Approved() {
		return r
	}
	if d.cmd.Terminal != first.cmd.Terminal {
		return points.OriginalDiffers
	}
	if n := int(d.cmd.Amount); n != 0 && n != int(first.cmd.Amount) && n != first.amount {
		return points.OriginalDiffers
	}
	if d.cmd.Actual != 0 {
		return o.reduce(d, first)
	}
	if first.reversed {
		return points.Approved
	}
	first.reversed = true
	pu := o.purse(first)
	switch first.cmd.Kind {
	case book.KindEarn:
		if first.voided == nil {
			d.amount = first.amount - first.parted
			o.unearnSome(d, first, d.amount)
		}
	case book.KindRedeem:
		if n := first.left(); first.voided == nil && n > 0 {
			d.amount = n
			o.returnLatest(d, first, n)
			if first.date == o.date && n == first.amount-first.parted {
				o.uncount(pu, n, 1)
			}
		}
	case book.KindCapture:
		if n := first.left(); first.voided == nil && n > 0 {
			d.amount = n
			o.uncapture(d, first, true)
		}
	case book.KindTransfer:
		d.amount = first.amount
		for _, p := range first.took {
			o.comeBack(first.program, pu, p)
		}
		o.claim(&deed{}, first.program, first.gaveTo, first.gave, len(first.gave))
	case book.KindHold:
		if h := first.hold; h.state == "open" {
			d.amount = len(h.points)
			o.giveRest(d, h, h.captured)
			h.state = "reversed"
		}
	case book.KindIncrement:
		o.unincrement(d, first)
	case book.KindRelease:
		if h := first.hold; h.state == "released" && h.due >= o.date {
			o.rehold(d, h, first.reheld)
			d.amount = len(h.points)
			if len(h.points) > 0 {
				h.state = "open"
			}
		}
	case book.KindRefund:
		if first.original.reversed {
			break
		}
		d.amount = first.amount
		o.ungive(d, first)
	case book.KindVoid:
		o.unvoid(d, first)
	default:
	}
	return points.Approved
}

// reduce reverses first but for what the sender says stands.
func (o *oracle) reduce(d, first *deed) points.Reason {
	pu, keep, h := o.purse(first), int(d.cmd.Actual), first.hold
	switch first.cmd.Kind {
	case book.KindEarn, book.KindRedeem, book.KindCapture, book.KindHold:
	default:
		return points.NotPermitted
	}
	if keep > first.amount {
		return points.AmountOverOriginal
	}
	if first.reversed || first.voided != nil {
		return points.Approved
	}
	stands := first.amount - first.parted
	if first.cmd.Kind == book.KindRedeem || first.cmd.Kind == book.KindCapture {
		stands = first.left()
	}
	n := max(0, stands-keep)
	switch {
	case n == 0:
	case first.cmd.Kind == book.KindEarn:
		o.unearnSome(d, first, n)
	case first.cmd.Kind == book.KindRedeem:
		o.returnLatest(d, first, n)
		if first.date == o.date {
			o.uncount(pu, n, 0)
		}
	case first.cmd.Kind == book.KindHold:
		if n = 0; h.state == "open" {
			if n = max(0, stands-keep); d.cmd.Edition > 0 { // No more than what is reserved and captured exceeds keep by.
				n = min(n, max(0, h.captured+len(h.points)-keep))
			}
			n = min(n, len(h.points))
			o.shrink(d, h, n)
		}
	case first.cmd.Final || h.due < o.date || h.state == "expired" || h.deed.reversed:
		o.returnLatest(d, first, n)
		if h.placed == o.date {
			o.uncount(pu, n, 0)
		}
		h.captured -= n
	default:
		o.toHold(d, first, n)
		if len(h.points) > 0 {
			h.state = "open"
		}
	}
	d.amount = n
	first.parted += n
	return points.Approved
}

// shrink gives back the n points of a hold that expire last.
func (o *oracle) shrink(d *deed, h *reserve, n int) {
	part := &reserve{deed: h.deed, placed: h.placed}
	for range n {
		last := 0
		for i, p := range h.points {
			if goesBefore(h.points[last], p) {
				last = i
			}
		}
		part.points = append(part.points, h.points[last])
		h.points = slices.Delete(h.points, last, last+1)
	}
	o.giveRest(d, part, 1)
	if len(h.points) == 0 {
		h.state = "reversed"
	}
}

// unearnSome takes back n of what an earn still gives: points first, and then the
// debt that it repaid is owed again.
func (o *oracle) unearnSome(d, sale *deed, n int) {
	if sale.tier != nil {
		o.unearnSome(&deed{}, sale.tier, n)
		sale.tier.parted += n
	}
	o.house[o.giver(sale.program)][sale.program] += n
	left := sale.gave[min(sale.parted, len(sale.gave)):]
	left = left[:min(n, len(left))]
	o.claim(d, sale.program, sale.gaveTo, left, len(left))
	o.purse(sale).debt += n - len(left)
}

func (o *oracle) unincrement(d, first *deed) {
	h := first.hold
	if h.state != "open" {
		return
	}
	part := &reserve{deed: h.deed, placed: first.date}
	for _, want := range first.took {
		for i, p := range h.points {
			if p == want {
				part.points = append(part.points, p)
				h.points = slices.Delete(h.points, i, i+1)
				break
			}
		}
	}
	d.amount = len(part.points)
	o.giveRest(d, part, 1)
	if len(h.points) == 0 {
		h.state = "reversed"
	}
}

func (o *oracle) unvoid(d, first *deed) {
	sale := first.original
	if sale.reversed {
		return
	}
	d.amount = first.amount
	pu := o.purse(sale)
	switch first.voidOf {
	case book.KindCapture:
		h := sale.hold
		o.ungive(d, first)
		h.captured += first.amount
		if h.state == "open" && len(h.points) == 0 {
			h.state = "captured"
		}
	case book.KindRedeem:
		o.ungive(d, first)
		if first.date == o.date {
			o.today(pu)
			pu.redeemed += first.amount
			pu.redemptions++
		}
	case book.KindEarn:
		o.earnAgain(first, sale)
	default:
	}
	sale.voided = nil
}

// ungive undoes what by gave back of its original: from the hold of a capture that
// was voided first, then from the member.
func (o *oracle) ungive(d, by *deed) {
	sale, n := by.original, len(by.gave)
	o.house[book.ClearingAccount][sale.program] += by.amount
	o.house[book.BreakageAccount][sale.program] -= by.lapsed
	o.house[book.SuspenseAccount][sale.program] -= by.borne
	var taken []point
	if h := sale.hold; by.voidOf == book.KindCapture {
		for h.state == "open" && n > 0 && len(h.points) > 0 {
			taken = append(taken, h.first())
			n--
		}
	}
	claim := &deed{}
	o.claim(claim, sale.program, sale.member, by.gave, n)
	o.purse(sale).debt += by.settled
	taken = append(taken, claim.took...)
	for range claim.borrowed + by.settled {
		taken = append(taken, point{standIn: book.DebtAccount})
	}
	for range claim.owing {
		taken = append(taken, point{standIn: book.SuspenseAccount})
	}
	o.again(sale, by, taken)
}

// earnAgain gives what the void first took back of an earn.
func (o *oracle) earnAgain(first, sale *deed) {
	if sale.tier != nil {
		o.earnAgain(first.tier, sale.tier)
	}
	pu := o.purse(sale)
	o.house[o.giver(sale.program)][sale.program] -= sale.amount
	for _, p := range first.took {
		o.comeBack(sale.program, pu, p)
	}
	for range first.borrowed {
		if pu.debt > 0 {
			pu.debt--
		} else {
			o.receive(pu, o.ageing(sale.program, point{origin: book.Adjusted}))
		}
	}
}
