package pointswitch

import (
	"fmt"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// swapLeg reports whether a function is the leg of a swap that another house carries out: its
// reversal is FENCE.
func swapLeg(f points.Function) bool { return f == points.SwapCredit || f == points.SwapDebit }

// swapOf says what a swap or its quote is about: DE50 is where it goes, and of the swap
// DE62 the quote, as the quote's answer has told it (messages.md 10.12).
func swapOf(req *points.Request, cmd *book.Command) points.Reason {
	cmd.Into = req.Target
	if req.Function == points.SwapQuote {
		return points.Approved
	}
	quote, err := points.ParseQuote(req.Product[:])
	if err != nil {
		return points.ReasonOf(err)
	}
	cmd.Original = quote
	return points.Approved
}

// fillSwap tells what is handed out (DE5), for how much of it (DE9), and of a quote its name
// and its end (DE62).
func (x *exchange) fillSwap(f *book.SwapFigures) {
	x.resp.Granted, x.resp.Ratio = f.Out, points.QuoteRatio(f.In, f.Out)
	if x.req.Function == points.SwapQuote {
		end := f.Expires.Time().In(x.s.opts.Location)
		x.resp.List = fmt.Sprintf("%016d%s", f.Quote, end.Format("060102150405"))
	}
}
