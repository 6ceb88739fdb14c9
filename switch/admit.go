package pointswitch

import (
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// admit is the ordered list of checks before the ledger is asked (messages.md
// 10.3). It does no I/O. Refusals here leave no trace in the journal: who sent
// the message is not established. Amount, card, limits and points are the
// ledger's to check, in one place and in journal order. What was found of the
// acceptor stays in the exchange after a refusal too, so that the answer can name it.
//
// since is the earliest time at which the request can have come for the first time, 0
// if that is not known: the ledger holds it against what it remembers. The connection's
// peer is who it has shown to be; nil: nobody was asked.
func (s *Switch) admit(x *exchange, frame []byte) (since points.Timestamp, reason points.Reason) {
	if x.acceptor, reason = s.acceptor(x.table, &x.req); reason.Approved() {
		reason = s.bound(x.session.peer, x.acceptor, &x.req)
	}
	switch reason {
	case points.Approved:
		reason = s.authentic(x, frame)
	case points.ForeignIdentity:
		unsigned(&x.req) // Its sender is somebody else than who is on the connection.
	default:
		s.recognise(x, frame)
	}
	if reason.Approved() {
		since, reason = s.fresh(&x.req)
	}
	if reason.Approved() {
		if reason = offered(x.req.Function); x.req.Function == points.KeyChange && (x.req.Door == points.DoorTerminal || s.opts.Zones != nil) {
			reason = points.Approved
		}
	}
	return since, reason
}

// acceptor establishes who speaks. A terminal is found by DE41 and must belong
// to DE42; a partner system is its DE32, which signs on, echoes and reverses
// without naming a merchant.
func (s *Switch) acceptor(table *router.Table, req *points.Request) (router.Acceptor, points.Reason) {
	if req.Door == points.DoorTerminal {
		return table.Terminal(req.Terminal, req.Merchant)
	}
	if req.Class == points.ClassNetwork || !req.Has(42) {
		return table.System(req.Acquirer)
	}
	return table.Partner(req.Acquirer, req.Merchant, req.Terminal)
}

// bound holds what a message says of its sender against who the connection has shown
// to be: an acquirer speaks for itself (DE32) and its own terminals, a terminal for
// itself (DE41), and neither in the name of another (58).
func (s *Switch) bound(peer *certs.Identity, acceptor router.Acceptor, req *points.Request) points.Reason {
	if peer == nil {
		return points.Approved
	}
	switch {
	case peer.Role != certs.RoleAcquirer && peer.Role != certs.RoleTerminal,
		acceptor.Acquirer == nil || acceptor.Acquirer.ID != peer.Acquirer,
		req.Has(32) && req.Acquirer != peer.Acquirer:
		s.metrics.foreignAcquirer.Inc()
		return points.ForeignIdentity
	case peer.Role == certs.RoleAcquirer:
		return points.Approved
	case req.Terminal == peer.Terminal, req.Class == points.ClassNetwork && !req.Has(41):
		return points.Approved
	}
	s.metrics.foreignTerminal.Inc()
	return points.ForeignIdentity
}

// fresh checks the transmission time, where there is one (DE7, UTC, without a
// year: the year that brings it nearest to now is taken). Together with the
// ledger's memory of keys, which reaches further back, it keeps out replays.
//
// A reversal is never too old: its sender repeats it under the same time until
// it is answered, however long the line was down, and sent twice it does nothing.
// So does who tells what has happened (0220), for as long as the ledger is certain to
// know it again. The leg of a swap is sent again for as long, until it is given up; the
// FENCE that does so is of any age, but is not told "gone" where what it names may have been
// carried out and forgotten.
func (s *Switch) fresh(req *points.Request) (since points.Timestamp, reason points.Reason) {
	if !req.Has(7) || req.Function == points.Reversal {
		if swapLeg(req.Reversed) && req.Original.Transmission != 0 {
			if sent, ok := transmitted(req.Original.Transmission, req.At.Time()); ok {
				since = points.Timestamp(sent.Add(-MostAhead).UnixMicro())
			}
		}
		return since, points.Approved
	}
	now := req.At.Time()
	sent, ok := transmitted(req.Transmission, now)
	behind := s.opts.FreshnessBehind
	if book.Told(req.Function) || swapLeg(req.Function) {
		behind = max(behind, toldBehind)
	}
	if !ok || sent.Sub(now) > s.opts.FreshnessAhead || now.Sub(sent) > behind {
		return 0, points.NotFresh
	}
	return points.Timestamp(sent.Add(-MostAhead).UnixMicro()), points.Approved
}

// MostAhead is the most that [Options.FreshnessAhead] may be. A request came at most so
// much earlier than its transmission time says, whatever the option was then.
const MostAhead = time.Hour

// Remembers is for how long a cut-over has to keep keys ([book.Command.TraceTime]) where
// transmission times may lie behind by so much: then nobody who is fresh is refused
// because keys of that time are forgotten, even where a clock is set back by an hour.
func Remembers(behind time.Duration) time.Duration {
	return max(behind, toldBehind) + 2*MostAhead
}

// toldBehind is how old a message may be that tells what has happened: the ledger
// knows keys again for a whole business date at least.
const toldBehind = 24 * time.Hour

// remembered reports whether the ledger keeps the answers to requests for f.
func remembered(f points.Function) bool {
	switch f {
	case points.BatchClose, points.BatchUpload, points.BatchUploadEnd:
		return true
	default:
		return f != points.SignOn && book.KindOf(f) != 0
	}
}

// transmitted reads MMDDhhmmss as the instant of that name nearest to now.
func transmitted(mmddhhmmss uint64, now time.Time) (time.Time, bool) {
	month, day := mmddhhmmss/1e8%100, mmddhhmmss/1e6%100
	hour, minute, second := mmddhhmmss/1e4%100, mmddhhmmss/100%100, mmddhhmmss%100
	var nearest time.Time
	found := false
	for year := now.Year() - 1; year <= now.Year()+1; year++ {
		t := time.Date(year, time.Month(month), int(day), int(hour), int(minute), int(second), 0, time.UTC)
		if uint64(t.Month()) != month || uint64(t.Day()) != day { //nolint:gosec // above zero.
			continue // 29 February of another year.
		}
		if !found || t.Sub(now).Abs() < nearest.Sub(now).Abs() {
			nearest, found = t, true
		}
	}
	return nearest, found
}

// offered tells the functions that are answered: 12 for what is no function, 40
// for one that is not offered here.
func offered(f points.Function) points.Reason {
	switch f {
	case points.SignOn, points.SignOff, points.Echo, points.CutOverNotice,
		points.Balance, points.Redeem, points.Earn, points.EarnConfirm, points.Void, points.Refund,
		points.PreAuth, points.PreAuthVoid, points.Completion, points.CompletionAdvice, points.CompletionVoid,
		points.OfflineRedeem, points.OfflineEarn, points.Transfer, points.SwapQuote, points.Swap, points.Reversal,
		points.SwapCredit, points.SwapDebit, points.SwapEnquiry,
		points.Download, points.BatchClose, points.BatchUpload, points.BatchUploadEnd:
		return points.Approved
	case points.CashierSignOn, points.KeyChange:
		return points.FunctionDisabled
	default:
		return points.UnknownFunction
	}
}
