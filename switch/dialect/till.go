package dialect

import (
	"slices"

	"github.com/lianfen/lianfen/points"
)

// Till is what a terminal remembers of its batches: each approved request that counts,
// as its totals and its upload are made of. A terminal that lost an answer does not
// remember the request; one that was reversed it forgets.
type Till struct {
	entries []tillEntry
}

type tillEntry struct {
	batch    uint32
	function points.Function
	item     UploadItem
}

// Hear takes a request and its answer.
func (t *Till) Hear(req *points.Request, resp *points.Response) {
	switch {
	case !resp.Reason.Approved():
	case req.Function == points.Reversal:
		t.forget(req.Batch, req.STAN, req.Reversed)
	case req.Function.Side() != 0 && t.index(req.Batch, req.STAN, req.Function) < 0:
		amount := req.Amount
		switch {
		case resp.Reason == points.ApprovedPartly:
			amount = resp.Amount
		case resp.Used > 0:
			amount = resp.Used
		}
		t.entries = append(t.entries, tillEntry{req.Batch, req.Function, UploadItem{STAN: req.STAN, PAN: req.PAN, Amount: amount}})
	}
}

// Forget takes a request out of memory, as if its answer had not come.
func (t *Till) Forget(req *points.Request) { t.forget(req.Batch, req.STAN, req.Function) }

func (t *Till) forget(batch uint32, stan points.STAN, f points.Function) {
	if i := t.index(batch, stan, f); i >= 0 {
		t.entries = slices.Delete(t.entries, i, i+1)
	}
}

func (t *Till) index(batch uint32, stan points.STAN, f points.Function) int {
	return slices.IndexFunc(t.entries, func(e tillEntry) bool { return e.batch == batch && e.item.STAN == stan && e.function == f })
}

// Totals are those of a batch.
func (t *Till) Totals(batch uint32) (totals points.Totals) {
	for _, e := range t.entries {
		if e.batch == batch {
			totals.Add(e.function.Side(), e.item.Amount, 1)
		}
	}
	return totals
}

// Items are the transactions of a batch, in pieces that one upload carries each.
func (t *Till) Items(batch uint32) (pieces [][]UploadItem) {
	var items []UploadItem
	for _, e := range t.entries {
		if e.batch == batch {
			items = append(items, e.item)
		}
	}
	return slices.Collect(slices.Chunk(items, MaxUpload))
}
