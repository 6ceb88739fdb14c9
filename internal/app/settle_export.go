package app

import (
	"context"
	"io"
	"net/http"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// settleExport streams the items of a published run as a table.
func (a *App) settleExport(w http.ResponseWriter, r *http.Request) {
	var ask SettleAsk
	err := decodeBody(w, r, &ask)
	var run *settlement.Run
	if err == nil {
		run, err = a.runAsked(r.Context(), &ask)
	}
	if err == nil && run.State != settlement.Published && run.State != settlement.Confirmed {
		err = points.Errorf(points.NotPermitted, "settlement run %s is %v; what is exported is PUBLISHED: lianfen settle show lists the runs", run.ID, run.State)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	a.stream(w, r, "application/vnd.apache.parquet", func(w io.Writer) (uint64, error) { //nolint:contextcheck // the request's own.
		return a.settlement.Export(r.Context(), run, w)
	})
}

// SettleExport writes the items of a published run to w as a table, in Parquet, and returns how
// many there are. After an error w has a part of it, which no reader takes for the whole.
func (c *Client) SettleExport(ctx context.Context, ask SettleAsk, w io.Writer) (items uint64, err error) {
	return c.streamed(ctx, "settle/export", ask, w)
}
