package pointswitch

import (
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// batchOf is the batch in whose totals a request counts, and that must not be over for it
// to be carried out: a terminal's own, or the business date for a partner. An enquiry
// counts nowhere, and a reversal is never too late.
func batchOf(req *points.Request) uint32 {
	switch {
	case req.Function == points.Balance || req.Function == points.Reversal:
		return 0
	case req.Door == points.DoorTerminal:
		return req.Batch
	case req.Function.Side() != 0:
		return book.DateBatch
	default:
		return 0
	}
}

// batch turns a close or an upload into a command. It reports false for everything else.
// frame is the request's: an upload's items have no room in it.
func (s *Switch) batch(x *exchange, acceptor router.Acceptor, frame []byte) (known bool, reason points.Reason) {
	req, cmd := &x.req, &x.cmd
	switch req.Function {
	case points.BatchClose:
		cmd.Kind, cmd.Tally = book.KindCloseBatch, book.Tally{Done: req.Totals, Undone: req.Undone}
	case points.BatchUpload, points.BatchUploadEnd:
		cmd.Kind, cmd.Final = book.KindUpload, req.Function == points.BatchUploadEnd
	default:
		return false, points.Approved
	}
	s.identify(x, acceptor)
	cmd.Batch = req.Batch
	if req.Door != points.DoorTerminal {
		cmd.Batch = book.DateBatch
		cmd.Merchant, cmd.Terminal = points.MerchantID{}, points.TerminalID{} // All that the acquirer brings is counted together.
		if req.Has(15) {
			cmd.Date = nearestDate(req.Settlement, points.DateOf(req.At.Time().In(s.opts.Location)))
		}
	}
	if cmd.Final {
		cmd.Limit = req.Totals.DebitCount // DE48 of the end is the number of items.
	}
	if req.Function != points.BatchUpload {
		return true, points.Approved
	}
	x.frame = append(x.frame[:0], frame...)
	items, err := x.session.listener.dialect.DecodeUpload(frame)
	if err != nil { // Decode has read them before.
		return true, points.FormatError
	}
	for i := range items {
		item := book.UploadItem{Kind: items[i].Kind, STAN: items[i].STAN, Amount: items[i].Amount}
		s.opts.CardKey.Token(&item.Card, items[i].PAN)
		cmd.Items = append(cmd.Items, item)
	}
	return true, points.Approved
}

// nearestDate is the date of a month and day that lies nearest to today, since the wire
// says no year.
func nearestDate(mmdd uint32, today points.BusinessDate) points.BusinessDate {
	const halfYear = 183
	year := uint32(today) / 10_000
	for _, candidate := range []uint32{year, year + 1, year - 1} {
		date := points.BusinessDate(candidate*10_000 + mmdd)
		if date.Valid() && date > today.AddDays(-halfYear) && date <= today.AddDays(halfYear) {
			return date
		}
	}
	return points.BusinessDate(year*10_000 + mmdd)
}

// closed says what the answer to a close is: approved, or that the totals differ. The net
// amount of a partner is no total of its own; it has to follow from the others.
func (x *exchange) closed(out *book.Outcome) points.Reason {
	net := func(t points.Totals) points.Amount { return t.DebitAmount - t.CreditAmount }
	wrongNet := x.req.Has(97) && x.req.Net != net(x.req.Totals.Less(x.req.Undone))
	result, reason := closeEqual, points.Approved
	if out.Unequal || wrongNet {
		result, reason = closeUnequal, points.TotalsDiffer
	}
	if !out.Replayed {
		x.s.metrics.closes.WithLabelValues(result).Inc()
	}
	return reason
}
