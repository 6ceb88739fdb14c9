package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// lastBatch is the last batch number; 1 comes after it.
const lastBatch = 999_999

// count is what a terminal does about an answer: it counts, and it begins the next batch
// when the switch says that this one is settled.
func (t *Terminal) count(r *Receipt) {
	t.Till.Hear(&r.Request, &r.Response)
	approved := r.Response.Reason.Approved()
	switch f := r.Request.Function; {
	case f == points.SignOn && approved && r.Response.Batch != 0:
		t.Batch = r.Response.Batch
	case (f == points.BatchClose || f == points.BatchUploadEnd) && approved && r.Request.Batch == t.Batch:
		t.Batch = t.Batch%lastBatch + 1
	}
}

// Closing prepares the close of the terminal's batch, with the totals it has counted.
func (t *Terminal) Closing() points.Request {
	req := t.Next(points.BatchClose)
	Dress(&req)
	req.Totals = t.Till.Totals(t.Batch)
	return req
}

// Upload sends up all that the terminal has of its batch, and the end of it. It returns
// the answer to the last message sent: a refusal ends the upload. items is how many were
// sent. retry is as in [Terminal.SendFor].
func (t *Terminal) Upload(ctx context.Context, retry time.Duration) (last *Receipt, items int, err error) {
	for _, piece := range t.Till.Items(t.Batch) {
		req := t.Next(points.BatchUpload)
		frame, err := t.dialect.AppendUpload(nil, &req, piece)
		if err != nil {
			return nil, items, fmt.Errorf("terminal %v: %w", t.Terminal, err)
		}
		if err := t.dialect.Decode(frame, &req); err != nil {
			return nil, items, fmt.Errorf("terminal %v: %w", t.Terminal, err)
		}
		if last, err = t.resendFor(ctx, &Receipt{Request: req, Sent: frame}, retry); err != nil {
			return nil, items, err
		}
		if !last.Response.Reason.Approved() {
			return last, items, nil
		}
		items += len(piece)
	}
	last, err = t.SendFor(ctx, t.uploadEnd(), retry)
	return last, items, err
}

func (t *Terminal) uploadEnd() *points.Request {
	req := t.Next(points.BatchUploadEnd)
	for _, piece := range t.Till.Items(t.Batch) {
		req.Totals.DebitCount += uint32(len(piece)) //nolint:gosec // at most eight.
	}
	return &req
}

// Remember lets the terminal count what receipts of an earlier run tell: frames as they
// were sent and answered. What another terminal sent is passed over.
func (t *Terminal) Remember(sent, got []byte) error {
	var req, echo points.Request
	var resp points.Response
	if err := t.dialect.Decode(sent, &req); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if err := t.dialect.DecodeResponse(got, &echo, &resp); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if req.Terminal == t.Terminal && req.Merchant == t.Merchant {
		t.Till.Hear(&req, &resp)
	}
	return nil
}

// Explained lays an answer out for people.
func (t *Terminal) Explained(r *Receipt) (dialect.Explanation, error) {
	e, err := t.dialect.Explain(r.Got)
	if err != nil {
		return e, fmt.Errorf("terminal %v: %w", t.Terminal, err)
	}
	return e, nil
}
