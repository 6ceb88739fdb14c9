package settlement

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Bounds of the second pass.
const (
	// maxOpen is how many files of items are written at a time. Members beyond that have
	// a pass over the cycle of their own, so that neither descriptors nor buffers grow
	// with the number of members.
	maxOpen = 1024
	// BatchPositions is how many positions are valued before their lines are written: few
	// enough that a batch is still in the processor's cache then.
	BatchPositions = 256
	// writers is how many goroutines write lines, each those of its own members.
	writers = 4
)

// folderMode is that of a run's folders: they are the operator's alone.
const folderMode = 0o700

// rendering is the second pass: the files of every member.
type rendering struct {
	basis
	run      *Run
	computed *computed
	folder   string // <run>.tmp
	opts     *Options
	progress *progress
	witness  *witness
	totals   map[tariff.Member][]netting.Position // of all counterparties and codes, by model
	only     tariff.Member                        // whose set alone is made; 0: everybody's

	texts sync.Pool // of []byte: where files of a set are made

	mu      sync.Mutex
	outputs []([]files.Output) // by place in the roll
	written []written          // by place in the roll
}

// written is what a member's files of items really hold.
type written struct {
	count     [roles]uint64
	net       netting.Sum
	details   []string // their identities in statements
	merchants map[points.MerchantID]*files.MerchantTotal
	notices   []files.Entry // of the notification, in the order of their items
	rates     files.EntryRates
}

// batch is some of a cycle's entries in order, valued. It goes back to the pool when all
// writers have been through it.
type batch struct {
	entries []valued
	jobs    [writers][]job // by desk
	placed  [maxPlaces]place
	left    atomic.Int32
}

type valued struct {
	Entry
	worth  tariff.Valuation
	shared files.Shared // what all its lines have
	fits   bool         // shared is good; else lines are written field by field, which tells why not
}

// job is a line to be written: of which entry, and where.
type job struct {
	entry int
	place place
	with  int // the place in the roll of whom the member owes the value, or is owed it; -1: nobody's
}

// with is the place in the roll of the other side of an item's value, as a member in a role
// sees it; -1: it does not.
func with(places []place, role files.Role) int {
	other := files.RoleIssuer
	if role == files.RoleIssuer {
		other = files.RoleAcquirer
	}
	for i := range places {
		if places[i].role == other && role != other {
			return places[i].index
		}
	}
	return -1
}

// details writes the files of items of all members, in as many passes as it takes.
func (r *rendering) details(ctx context.Context, source Items) error {
	var places []int
	files := 0
	for place := range r.computed.lines {
		if !r.wanted(r.roll.Member(place)) {
			continue
		}
		n := 0
		for _, count := range r.computed.lines[place].count {
			if count > 0 {
				n++
			}
		}
		if files+n > maxOpen {
			if err := r.pass(ctx, source, places); err != nil {
				return err
			}
			places, files = nil, 0
		}
		if n > 0 {
			places, files = append(places, place), files+n
		}
	}
	return r.pass(ctx, source, places)
}

// wanted reports whether a member's set is made.
func (r *rendering) wanted(m tariff.Member) bool { return r.only == 0 || r.only == m }

// pass goes over the cycle once for the members at these places of the roll.
func (r *rendering) pass(ctx context.Context, source Items, places []int) (err error) {
	if len(places) == 0 {
		return nil
	}
	desks := make([]*desk, writers)
	busy := make(chan struct{}, r.opts.Workers)
	mine := make([]int8, r.roll.Len()) // by place: which desk writes, from 1
	for i := range desks {
		desks[i] = &desk{rendering: r, number: i, details: make([]*[roles]*files.DetailWriter, r.roll.Len()), batches: make(chan *batch, 2*r.opts.Workers), busy: busy}
	}
	for i, place := range places {
		mine[place] = int8(i%writers + 1)
		if err := desks[i%writers].open(place); err != nil {
			abandon(desks)
			return err
		}
	}
	pool := sync.Pool{New: func() any { return new(batch) }}
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range desks {
		group.Go(func() error { return d.write(ctx, &pool) })
	}
	r.progress.begin(StepRender, uint64(r.run.Cut.Last-r.run.Cut.First)+1)
	group.Go(func() error {
		defer func() {
			for _, d := range desks {
				close(d.batches)
			}
		}()
		return inOrder(ctx, spans(r.run.Cut.First, r.run.Cut.Last, BatchPositions), r.opts.Workers,
			func(ctx context.Context, _ int, s span) (*batch, error) {
				busy <- struct{}{}
				defer func() { <-busy }()
				b, _ := pool.Get().(*batch)
				return b, r.batch(ctx, source, s, b, mine)
			},
			func(b *batch) error {
				b.left.Store(writers)
				for _, d := range desks {
					select {
					case d.batches <- b:
					case <-ctx.Done():
						return context.Cause(ctx) //nolint:wrapcheck // why the run ends.
					}
				}
				return nil
			})
	})
	if err := group.Wait(); err != nil {
		abandon(desks)
		return err
	}
	for _, d := range desks {
		if err := d.close(); err != nil {
			abandon(desks)
			return err
		}
	}
	return nil
}

// batch values the entries of a span, and says which desk has to write which lines. What
// cannot be cleared is among the exceptions of the first pass.
func (r *rendering) batch(ctx context.Context, source Items, s span, b *batch, mine []int8) error {
	b.entries = b.entries[:0]
	for i := range b.jobs {
		b.jobs[i] = b.jobs[i][:0]
	}
	err := source.Entries(ctx, s.first, s.last, func(e *Entry) error {
		n := len(b.entries)
		b.entries = slices.Grow(b.entries, 1)[:n+1]
		v := &b.entries[n]
		v.Entry = *e
		if reason, _ := r.value(&v.Entry, &v.worth, nil); reason != "" {
			b.entries = b.entries[:n]
			return nil
		}
		places, known := r.places(&v.Entry, &v.worth, b.placed[:0])
		if !known {
			b.entries = b.entries[:n]
			return nil
		}
		fillShared(&v.Line, &v.Entry)
		v.fits = !r.opts.Twin && v.shared.Fill(&v.Line)
		for _, p := range places {
			if desk := mine[p.index]; desk > 0 {
				b.jobs[desk-1] = append(b.jobs[desk-1], job{n, p, with(places, p.role)})
			}
		}
		return nil
	})
	r.progress.add(uint64(s.last-s.first) + 1)
	return err //nolint:wrapcheck // the journal's own words.
}

// desk writes the files of some members.
type desk struct {
	*rendering
	number  int
	details []*[roles]*files.DetailWriter // by place in the roll; nil: another desk's
	batches chan *batch
	busy    chan struct{} // a place for each goroutine of the pass that computes; who has one waits for nobody
	line    files.Line
}

// open begins the files of the member at a place of the roll.
func (d *desk) open(place int) error {
	m := d.roll.Member(place)
	if err := os.MkdirAll(filepath.Join(d.folder, folderOf(m)), folderMode); err != nil {
		return fmt.Errorf("files of %v: %w", m, err)
	}
	var of [roles]*files.DetailWriter
	d.details[place] = &of
	for i, count := range d.computed.lines[place].count {
		if count == 0 {
			continue
		}
		header := d.header(m, files.Role(i+1))
		var err error
		if of[i], err = files.NewDetail(header, count, d.opts.Twin, d.create(folderOf(m))); err != nil {
			return fmt.Errorf("files of %v: %w", m, err)
		}
	}
	return nil
}

// write takes batches until there are no more.
func (d *desk) write(ctx context.Context, pool *sync.Pool) error {
	for {
		select {
		case b, ok := <-d.batches:
			if !ok {
				return nil
			}
			if err := d.lines(b); err != nil {
				return err
			}
			if b.left.Add(-1) == 0 {
				pool.Put(b)
			}
		case <-ctx.Done():
			return context.Cause(ctx) //nolint:wrapcheck // why the run ends.
		}
	}
}

// lines writes the desk's lines of a batch.
func (d *desk) lines(b *batch) error {
	d.busy <- struct{}{}
	defer func() { <-d.busy }()
	for _, j := range b.jobs[d.number] {
		if err := d.put(&b.entries[j.entry], j.place, j.with); err != nil {
			return err
		}
	}
	return nil
}

// put writes the line of an entry in one of the desk's files.
func (d *desk) put(v *valued, p place, with int) error {
	line := &d.line
	d.fillOwn(line, v, p, v.worth.View(d.roll.Member(p.index)))
	detail := d.details[p.index][p.role-1]
	if detail == nil {
		return fmt.Errorf("item %d: no file of role %v of %v was announced for it", v.Position, p.role, d.roll.Member(p.index))
	}
	if err := d.append(detail, line, v, p); err != nil {
		return fmt.Errorf("item %d: %w", v.Position, err)
	}
	w := &d.written[p.index]
	w.count[p.role-1]++
	w.net = w.net.Plus(netting.SumOf(line.Net))
	w.rates.Note(p.role, v.Kind, with, line)
	w.merchant(v, d.setting, line.Net)
	return d.notify(w, v, p)
}

// append writes a line of which the member's own part is filled in.
func (d *desk) append(detail *files.DetailWriter, line *files.Line, v *valued, p place) error {
	if v.fits {
		if done, err := detail.WriteShared(&v.shared, line); done || err != nil {
			return err //nolint:wrapcheck // the caller says of which item.
		}
	}
	*line = v.Line
	d.fillOwn(line, v, p, v.worth.View(d.roll.Member(p.index)))
	return detail.Write(line, d.setting.Merchants[v.Line.Merchant]) //nolint:wrapcheck // as above.
}

// notify notes what an adjustment, a fee out of the schedule, a chargeback or a
// re-presentment has moved for the member at a place. The fees of a chargeback stand in the
// statement.
func (d *desk) notify(w *written, v *valued, p place) error {
	code, m := files.NoticeCode(v.Kind), d.roll.Member(p.index)
	if code == 0 {
		return nil
	}
	for _, leg := range v.worth.Legs() {
		other, amount := leg.Debtor, leg.Amount
		if m == leg.Debtor {
			other, amount = leg.Creditor, -leg.Amount
		}
		if v.Kind.Explicit() {
			amount = v.worth.View(m).Net // With the VAT in it.
		}
		if leg.Code != code || (m != leg.Debtor && m != leg.Creditor) {
			continue
		}
		if len(w.notices) >= files.MaxNotices {
			return points.Errorf(points.NotPermitted, "item %d: %v has more than %d adjustments and chargebacks in one cycle", v.Position, m, files.MaxNotices)
		}
		e := files.Entry{
			Item: uint64(v.Position), Counterparty: other, Code: code.String(), Amount: amount, Items: 1, Reversal: v.Kind == tariff.KindCBK,
			Instruction: d.settledBy(m, other, leg, &v.Item), Detail: d.detailID(m, p.role),
			Info: files.NoticeInfo(v.Kind, uint64(v.Position), v.Line.Original, v.Line.OriginalDate), Rate: files.RateOf(p.role, v.Kind, &d.line),
		}
		w.notices = append(w.notices, e)
		return nil
	}
	return nil
}

// settledBy names the payment that settles a leg between a member and another one.
func (d *desk) settledBy(m, other tariff.Member, leg tariff.Leg, item *tariff.Item) string {
	model := d.computed.fold.Model(item, leg)
	if model == netting.MNET {
		return d.instruction(m, 0, 0, model)
	}
	return d.instruction(m, other, leg.Code, model)
}

// merchant adds an item to what its merchant comes to.
func (w *written) merchant(v *valued, setting *Setting, net points.Amount) {
	if v.Line.Merchant == (points.MerchantID{}) {
		return
	}
	t := w.merchants[v.Line.Merchant]
	if t == nil {
		if len(w.merchants) >= files.MaxMerchants {
			return
		}
		if w.merchants == nil {
			w.merchants = map[points.MerchantID]*files.MerchantTotal{}
		}
		t = &files.MerchantTotal{Merchant: v.Line.Merchant, Name: setting.Merchants[v.Line.Merchant]}
		w.merchants[v.Line.Merchant] = t
	}
	t.Items++
	t.Net += net
}

// close ends the files of the desk's members.
func (d *desk) close() error {
	for place, of := range d.details {
		if of == nil {
			continue
		}
		for i, detail := range of {
			if detail == nil {
				continue
			}
			outputs, err := detail.Close()
			if err != nil {
				return fmt.Errorf("files of %v: %w", d.roll.Member(place), err)
			}
			of[i] = nil
			d.mu.Lock()
			d.outputs[place] = append(d.outputs[place], outputs...)
			d.written[place].details = append(d.written[place].details, d.detailID(d.roll.Member(place), files.Role(i+1)))
			d.mu.Unlock()
		}
	}
	return nil
}

// detailID is how statements name the files of items of a role, all parts together.
func (r *rendering) detailID(m tariff.Member, role files.Role) string {
	return files.DetailID(m, role, r.run.Cut.Date, r.run.Cut.Cycle)
}

// abandon closes what is under way.
func abandon(desks []*desk) {
	for _, d := range desks {
		for _, of := range d.details {
			for i := 0; of != nil && i < len(of); i++ {
				if detail := of[i]; detail != nil {
					detail.Abandon()
				}
			}
		}
	}
}

// create makes new files in a folder of the run's.
func (r *rendering) create(sub string) func(name string) (io.WriteCloser, error) {
	return func(name string) (io.WriteCloser, error) { return r.witness.create(r.folder, sub, name) }
}

// folderOf names a member's folder.
func folderOf(m tariff.Member) string { return fmt.Sprintf("%08d", uint32(m)) }

func (r *rendering) header(m tariff.Member, role files.Role) files.Header {
	created := r.run.Created.Time().In(r.opts.Zone)
	h := files.Header{
		Date: r.run.Cut.Date, Cycle: r.run.Cut.Cycle, Operator: r.opts.Operator, Receiver: m, Role: role,
		Created: files.Moment(created), Scale: Scale, Mode: r.opts.Mode,
	}
	copy(h.Zone[:], created.Format("-0700"))
	copy(h.Run[:], r.run.ID)
	copy(h.Unit[:], Unit)
	return h
}

// fillShared fills in the columns of a line that follow from the item alone.
func fillShared(l *files.Line, e *Entry) {
	l.ID, l.Kind, l.Category = uint64(e.Position), e.Kind, e.MCC
	l.Acquirer, l.Issuer = e.Acquirer, e.Issuer
	if e.Kind.Explicit() {
		l.Acquirer, l.Issuer = digitsOnly(e.Payee), digitsOnly(e.Payer)
	}
}

// fillOwn fills in those that follow from who reads, too, and the clearing id.
func (r *rendering) fillOwn(l *files.Line, v *valued, p place, view tariff.View) {
	l.ID = uint64(v.Position)
	program, rate, amount := v.Program, v.worth.Rate, v.Amount
	switch {
	case v.Kind.Explicit():
		amount = view.Net
	case p.role == files.RoleSwapTarget:
		program, rate, amount = v.TargetProgram, v.worth.TargetRate, v.worth.Granted
	case p.role == files.RoleShare:
		if amount = max(amount, -amount); view.Other < 0 {
			amount = -amount
		}
	case (p.role == files.RoleIssuer) == (v.original() != tariff.KindEAR):
		amount = -amount
	}
	l.RateVersion, l.Num, l.Den = 0, 1, 1
	if rate != nil {
		l.RateVersion, l.Num, l.Den = rate.Version, rate.Num, rate.Den
	}
	l.Amount = amount
	known := r.setting.Programs[program]
	copyText(l.Asset[:], known.Code)
	l.AssetScale = known.Scale
	l.Std, l.Interchange, l.SwitchFee, l.VAT, l.Other, l.Net = view.Std, view.Interchange, view.SwitchFee, view.VAT, view.Other, view.Net
}

// original is the kind of the item that an entry is, or is about.
func (e *Entry) original() tariff.Kind {
	if e.Kind.Undoing() {
		return e.Of
	}
	return e.Kind
}

// digitsOnly is a member where a file wants eight digits: the operator's accounts are 0.
func digitsOnly(m tariff.Member) tariff.Member {
	if !m.Institution() {
		return 0
	}
	return m
}

// copyText copies text into a field of fixed width, with blanks behind it.
func copyText(field []byte, text string) {
	for i := copy(field, text); i < len(field); i++ {
		field[i] = ' '
	}
}
