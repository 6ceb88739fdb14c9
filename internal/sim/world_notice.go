package sim

import (
	"fmt"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// system is what a partner's system knows beside its tills' business: that it has signed
// on, and which business date runs.
type system struct {
	stan points.STAN
	date points.BusinessDate // the latest that it was told
	told []uint32            // DE15 of the notices that came
}

// Trace numbers of a partner's network messages and closes begin here.
const systemSTAN = 800_000

// number is the next trace number of the system itself.
func (x *exchangeLine) number() points.STAN {
	x.stan++
	return systemSTAN + x.stan
}

// signOn tells the switch who is there, so that it tells us of cut-overs.
func (x *exchangeLine) signOn() {
	x.ask(points.SignOn)
	if x.w.chance(200) {
		x.ask(points.KeyChange) // 161, which partners are not offered.
	}
}

func (x *exchangeLine) ask(function points.Function) {
	req := points.Request{Function: function, STAN: x.number(), Transmission: transmission(x.w.now), Acquirer: worldPartner}
	frame, err := x.lanes[0].dialect.AppendRequest(nil, &req)
	if err != nil {
		x.w.fail(fmt.Errorf("%s: %v: %w", x.name, function, err))
		return
	}
	x.cable.send(frame)
}

// network takes a network message: an answer, or the notice of a cut-over.
func (x *exchangeLine) network(c *cable, frame []byte) {
	w, d := x.w, x.lanes[0].dialect
	var req points.Request
	var resp points.Response
	if mti, ok := d.MTI(frame); ok && dialect.IsAnswer(mti) {
		if err := d.DecodeResponse(frame, &req, &resp); err != nil {
			w.mismatch(nil, "%s gets an answer that cannot be read: %v", x.name, err)
			return
		}
		w.did("partner's network message answered " + resp.Reason.DE39())
		return
	}
	if err := d.Decode(frame, &req); err != nil {
		w.mismatch(nil, "%s gets a message that cannot be read: %v", x.name, err)
		return
	}
	if req.Function != points.CutOverNotice || !w.operator.began(req.Settlement) {
		w.mismatch(nil, "%s is asked for %v of date %04d", x.name, req.Function, req.Settlement)
		return
	}
	w.did("partner told of a cut-over")
	x.told = append(x.told, req.Settlement)
	x.learn(&points.Response{Date: points.BusinessDate(req.Settlement)})
	c.send(d.AppendResponse(nil, &req, &points.Response{Reason: points.Approved}))
}

// learn notes the business date of an answer, of which month and day are on the wire.
func (x *exchangeLine) learn(resp *points.Response) {
	if day := resp.Date % 10_000; x.door == partnerDoor && day > x.date%10_000 {
		x.date = worldGenesis - worldGenesis%10_000 + day
	}
}

// began reports whether a business date of that month and day has begun.
func (o *operator) began(mmdd uint32) bool {
	for date := worldGenesis; date <= o.date; date = date.AddDays(1) {
		if date.MMDD() == mmdd {
			return true
		}
	}
	return false
}

// compareNotices checks that every bank was told of the last cut-over, or had no line.
func (w *World) compareNotices() {
	for _, state := range w.house.issuers.Links() {
		date, how, found := strings.Cut(state.CutOver, " ")
		if !found || strings.HasPrefix(state.Link, "partner") {
			continue // A partner's line may be dead without anybody's knowing.
		}
		heard := false
		for _, b := range w.banks {
			for _, mmdd := range b.told[state.Link] {
				heard = heard || strings.HasSuffix(strings.ReplaceAll(date, "-", ""), fmt.Sprintf("%04d", mmdd))
			}
		}
		switch {
		case strings.HasPrefix(how, "sent"):
			w.mismatch(nil, "%s is still being told that %s has begun: %s", state.Link, date, how)
		case strings.HasPrefix(how, "answered") && !heard:
			w.mismatch(nil, "%s has answered a notice of %s that it never had", state.Link, date)
		}
	}
}
