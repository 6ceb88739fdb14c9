package app

import (
	"cmp"
	"context"
	"slices"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
)

// BatchQuery asks for the batches that were closed.
type BatchQuery struct {
	Terminal points.TerminalID `json:"terminal,omitzero"`
	Merchant points.MerchantID `json:"merchant,omitzero"`
	Unequal  bool              `json:"unequal,omitempty"` // only those whose totals differ
	Range
}

// Batch is the close of a terminal's batch, or of a partner's business date: what the
// sender has counted, and what we have. Of a terminal both are what stands; of a partner
// what was reversed stands apart.
type Batch struct {
	RRN          string              `json:"rrn"` // of the close
	Posted       string              `json:"posted"`
	Date         points.BusinessDate `json:"business_date"`
	Acquirer     points.AcquirerID   `json:"acquirer"`
	Merchant     points.MerchantID   `json:"merchant,omitzero"`
	Terminal     points.TerminalID   `json:"terminal,omitzero"`
	Batch        uint32              `json:"batch,omitempty"`
	Closes       points.BusinessDate `json:"closes,omitzero"` // of a partner: the date
	Equal        bool                `json:"equal"`
	Theirs       Sums                `json:"theirs"`
	Ours         Sums                `json:"ours"`
	TheirsUndone *Sums               `json:"theirs_reversed,omitempty"`
	OursUndone   *Sums               `json:"ours_reversed,omitempty"`
}

// Sums are debits and credits.
type Sums struct {
	Debits  Sum `json:"debits"`
	Credits Sum `json:"credits"`
}

// Sum is an amount and the number of transactions that it is the sum of.
type Sum struct {
	Amount points.Amount `json:"amount"`
	Count  uint32        `json:"count"`
}

// Batches are the closes that were asked for.
type Batches struct {
	Batches []Batch `json:"batches"`
	Reach
}

func sumsOf(t points.Totals) Sums {
	return Sums{Debits: Sum{t.DebitAmount, t.DebitCount}, Credits: Sum{t.CreditAmount, t.CreditCount}}
}

func (a *App) batches(ctx context.Context, q BatchQuery) (Batches, error) {
	result := Batches{Batches: []Batch{}}
	page, err := q.page()
	if err != nil {
		return result, err
	}
	limit := cmp.Or(page.Limit, ledger.DefaultPageLimit)
	page.Limit = ledger.MaxPageLimit
	for {
		got, err := a.projection.Closes(ctx, q.dates(), page)
		if err != nil {
			return result, err
		}
		result.Reach = reachOf(got.Extent)
		for i := range got.Records {
			rec := &got.Records[i]
			if !q.wants(rec) {
				continue
			}
			if len(result.Batches) == limit {
				result.Next = rrnOf(rec.Outcome.Position)
				return result, nil
			}
			result.Batches = append(result.Batches, a.batchOf(rec))
		}
		if got.Next == 0 {
			return result, nil
		}
		page.From = got.Next
	}
}

func (q *BatchQuery) wants(rec *book.Record) bool {
	return (q.Terminal == points.TerminalID{} || q.Terminal == rec.Command.Terminal) &&
		(q.Merchant == points.MerchantID{} || q.Merchant == rec.Command.Merchant) && (!q.Unequal || rec.Outcome.Unequal)
}

func (a *App) batchOf(rec *book.Record) Batch {
	cmd, out := &rec.Command, &rec.Outcome
	b := Batch{
		RRN: rrnOf(out.Position), Posted: out.Posted.String(), Date: out.Date, Acquirer: cmd.Acquirer, Merchant: cmd.Merchant,
		Terminal: cmd.Terminal, Batch: out.Batch, Equal: !out.Unequal, Theirs: sumsOf(cmd.Tally.Done), Ours: sumsOf(out.Tally.Stands()),
	}
	if cmd.Batch == book.DateBatch {
		theirs, ours := sumsOf(cmd.Tally.Undone), sumsOf(out.Tally.Undone)
		b.Batch, b.Closes, b.Ours, b.TheirsUndone, b.OursUndone = 0, points.BusinessDate(out.Batch), sumsOf(out.Tally.Done), &theirs, &ours
	}
	return b
}

// BatchDetail is a batch with what its terminal has sent up, held against what we have
// now. What was reversed since the close is in neither: a difference that was mended is
// gone.
type BatchDetail struct {
	Batch
	Sent     int  `json:"sent"`     // transactions that the terminal sent up, each once
	Complete bool `json:"complete"` // it has said that these are all
	Matched  int  `json:"matched"`  // that are the same here
	// OnlyTerminal are not here: the member was not charged, or the batch is another.
	OnlyTerminal []BatchItem `json:"only_terminal"`
	// OnlyHost the terminal does not have: it has lost the answer, and its reversal did
	// not come. They are for a reversal, once the merchant agrees.
	OnlyHost []BatchItem `json:"only_host"`
	Differ   []BatchPair `json:"differ"`
}

// BatchItem is one transaction of a batch.
type BatchItem struct {
	STAN     string          `json:"stan"`
	Card     string          `json:"card"` // masked
	Amount   points.Amount   `json:"amount"`
	RRN      string          `json:"rrn,omitempty"` // ours
	Function points.Function `json:"function,omitempty"`
	token    points.CardToken
}

// BatchPair is one transaction under one trace number that is not the same on both sides.
type BatchPair struct {
	Terminal BatchItem `json:"terminal"`
	Host     BatchItem `json:"host"`
}

// Bounds of what is looked through for one batch.
const (
	batchDays    = 7 // before its close
	batchRecords = 50_000
)

func (a *App) batch(ctx context.Context, l Lookup) (BatchDetail, error) {
	position, err := points.ParseRRN(l.RRN)
	if err != nil {
		return BatchDetail{}, err
	}
	rec, err := a.ledger.Record(position)
	if err != nil {
		return BatchDetail{}, err
	}
	if rec.Command.Kind != book.KindCloseBatch || !rec.Outcome.Reason.Approved() {
		return BatchDetail{}, points.Errorf(points.UnknownOriginal, "record %s closes no batch; lianfen admin batch list shows those that do", l.RRN)
	}
	d := BatchDetail{Batch: a.batchOf(&rec), OnlyTerminal: []BatchItem{}, OnlyHost: []BatchItem{}, Differ: []BatchPair{}}
	if rec.Command.Batch == book.DateBatch {
		return d, nil // Partners close with totals alone.
	}
	ours, theirs, complete, err := a.itemsOf(ctx, &rec)
	if err != nil {
		return d, err
	}
	d.Sent, d.Complete = len(theirs), complete
	d.compare(ours, theirs)
	return d, nil
}

// itemsOf collects the transactions that count in the batch which rec closed, and those
// that its terminal sent up since.
func (a *App) itemsOf(ctx context.Context, closed *book.Record) (ours, theirs []BatchItem, complete bool, err error) {
	counted := make(map[points.Position]*book.Record)
	query := ledger.FindQuery{
		Terminal: closed.Command.Terminal, Dates: ledger.Dates{From: closed.Outcome.Date.AddDays(-batchDays)},
		Page: ledger.Page{Limit: ledger.MaxPageLimit, Oldest: true},
	}
	for seen := 0; ; {
		got, err := a.projection.Find(ctx, query)
		if err != nil {
			return nil, nil, false, err
		}
		for i := range got.Records {
			rec := &got.Records[i]
			cmd, out := &rec.Command, &rec.Outcome
			if cmd.Batch != closed.Command.Batch || cmd.Merchant != closed.Command.Merchant || !out.Reason.Approved() {
				continue
			}
			switch {
			case cmd.Kind == book.KindUpload && out.Original == closed.Outcome.Position:
				complete = complete || cmd.Final
				theirs = append(theirs, a.uploaded(cmd.Items)...)
			case cmd.Function.Side() != 0:
				counted[out.Position] = rec
			}
		}
		if seen += len(got.Records); seen > batchRecords {
			return nil, nil, false, points.Errorf(points.Overloaded, "terminal %v has more than %d records since %v; look for them with lianfen ledger find",
				closed.Command.Terminal, batchRecords, query.Dates.From)
		}
		if got.Next == 0 {
			break
		}
		query.Page.From = got.Next
	}
	ours, err = a.standing(ctx, counted)
	slices.SortStableFunc(theirs, compareItems)
	return ours, slices.CompactFunc(theirs, func(x, y BatchItem) bool { return compareItems(x, y) == 0 }), complete, err
}

func (a *App) uploaded(items []book.UploadItem) (list []BatchItem) {
	for i := range items {
		list = append(list, a.itemOf(items[i].STAN, items[i].Card, items[i].Amount))
	}
	return list
}

func (a *App) itemOf(stan points.STAN, token points.CardToken, amount points.Amount) BatchItem {
	item := BatchItem{STAN: stan.String(), Amount: amount, token: token}
	if pan, ok := a.key.PAN(token); ok {
		item.Card = pan.Masked()
	}
	return item
}

func compareItems(x, y BatchItem) int {
	return cmp.Or(cmp.Compare(x.STAN, y.STAN), slices.Compare(x.token[:], y.token[:]), cmp.Compare(x.Amount, y.Amount))
}

// standing leaves, of transactions, those that are not reversed and that their issuer has
// not declined.
func (a *App) standing(ctx context.Context, counted map[points.Position]*book.Record) (items []BatchItem, err error) {
	err = a.ledger.View(ctx, func(b *book.Book) error {
		for position, rec := range counted {
			amount, stands, err := b.Counted(position)
			if err != nil {
				return err
			}
			if !stands {
				continue
			}
			item := a.itemOf(rec.Command.Key.STAN, rec.Command.Card, amount)
			item.RRN, item.Function = rrnOf(position), rec.Command.Function
			items = append(items, item)
		}
		return nil
	})
	slices.SortFunc(items, func(x, y BatchItem) int { return cmp.Or(cmp.Compare(x.STAN, y.STAN), cmp.Compare(x.RRN, y.RRN)) })
	return items, err
}

// compare matches what is the same on both sides, then what has the same trace number.
func (d *BatchDetail) compare(ours, theirs []BatchItem) {
	take := func(match func(*BatchItem) bool) (BatchItem, bool) {
		i := slices.IndexFunc(ours, func(item BatchItem) bool { return match(&item) })
		if i < 0 {
			return BatchItem{}, false
		}
		item := ours[i]
		ours = slices.Delete(ours, i, i+1)
		return item, true
	}
	var rest []BatchItem
	for i := range theirs {
		item := &theirs[i]
		if _, ok := take(func(o *BatchItem) bool {
			return o.STAN == item.STAN && o.Amount == item.Amount && (o.token == item.token || o.token.IsZero())
		}); ok {
			d.Matched++
		} else {
			rest = append(rest, *item)
		}
	}
	for _, item := range rest {
		if other, ok := take(func(o *BatchItem) bool { return o.STAN == item.STAN }); ok {
			d.Differ = append(d.Differ, BatchPair{Terminal: item, Host: other})
		} else {
			d.OnlyTerminal = append(d.OnlyTerminal, item)
		}
	}
	if d.Sent > 0 || d.Complete {
		d.OnlyHost = append(d.OnlyHost, ours...)
	}
}

// Counting is what is counted of a terminal now.
type Counting struct {
	Terminal points.TerminalID `json:"terminal"`
	Merchant points.MerchantID `json:"merchant"`
	Closed   uint32            `json:"closed,omitempty"` // the last batch that was closed
	Batches  []OpenBatch       `json:"batches"`
}

// OpenBatch is what stands of one batch.
type OpenBatch struct {
	Batch  uint32 `json:"batch"`
	Closed bool   `json:"closed"`
	Ours   Sums   `json:"ours"`
}

// counting tells what is counted of a terminal; of the query only the terminal counts.
func (a *App) counting(ctx context.Context, q BatchQuery) (Counting, error) {
	var c Counting
	err := a.ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		terminal, ok := registry.Terminals[q.Terminal]
		if !ok {
			return points.Errorf(points.UnknownTerminal, "terminal %v: %s", q.Terminal, points.UnknownTerminal.English())
		}
		c = Counting{Terminal: terminal.ID, Merchant: terminal.Merchant, Batches: []OpenBatch{}}
		merchant, ok := registry.Merchants[terminal.Merchant]
		if !ok {
			return nil
		}
		view, _, err := b.Batches(merchant.Acquirer, merchant.ID, terminal.ID)
		c.Closed = view.Closed
		for i := range view.Batches {
			batch := &view.Batches[i]
			c.Batches = append(c.Batches, OpenBatch{batch.Batch, batch.Over, sumsOf(batch.Tally.Stands())})
		}
		return err
	})
	return c, err
}

// parameters turns the configuration's parameters of terminals into what the switch is
// told of them.
func (a *App) parameters(items []config.Terminals) []pointswitch.TerminalParameters {
	rules := make([]pointswitch.TerminalParameters, len(items))
	for i := range items {
		t, r := &items[i], &rules[i]
		r.Merchant, _ = points.ParseMerchantID(t.Merchant) // Nothing is any; the rest is checked.
		r.Terminal, _ = points.ParseTerminalID(t.Terminal)
		r.TimeOut, r.Retries, r.Resends = t.TimeOut, t.Retries, t.Resends
		copy(r.Phones[:], t.Phones)
		r.ManagementPhone, r.Name = t.ManagementPhone, t.MerchantName
		r.ManualEntry, r.AutoSignOff = yesOrNo(t.ManualEntry), yesOrNo(t.AutoSignOff)
	}
	return rules
}

func yesOrNo(text string) *bool {
	if text == "" {
		return nil
	}
	yes := text == "yes"
	return &yes
}
