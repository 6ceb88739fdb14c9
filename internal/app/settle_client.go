package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// SettlePrepare makes the checks that need no computing.
func (c *Client) SettlePrepare(ctx context.Context, ask SettleAsk) (checks []settlement.Check, err error) {
	return checks, c.call(ctx, http.MethodPost, "settle/prepare", ask, &checks)
}

// SettleShow lists runs, or tells of one.
func (c *Client) SettleShow(ctx context.Context, ask SettleAsk) (runs []*settlement.Run, err error) {
	return runs, c.call(ctx, http.MethodPost, "settle/show", ask, &runs)
}

// SettleExceptions lists what a run has not cleared.
func (c *Client) SettleExceptions(ctx context.Context, ask SettleAsk) (list []files.Exception, err error) {
	return list, c.call(ctx, http.MethodPost, "settle/exceptions", ask, &list)
}

// SettleVoid ends a run that was not published.
func (c *Client) SettleVoid(ctx context.Context, ask SettleAsk) (s Settled, err error) {
	return s, c.call(ctx, http.MethodPost, "settle/void", ask, &s)
}

// Settle makes a step that takes its time: run, approve, publish or diff. heard is told how
// far it is.
func (c *Client) Settle(ctx context.Context, step string, ask SettleAsk, heard func(settlement.Progress)) (_ Settled, err error) {
	response, err := c.send(ctx, http.MethodPost, "settle/"+step, ask)
	if err != nil {
		return Settled{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	for lines := json.NewDecoder(response.Body); ; {
		var s settling
		if err := lines.Decode(&s); err != nil {
			return Settled{}, fmt.Errorf("admin settle %s: it ended without a result: %w", step, err)
		}
		switch {
		case s.Settled != nil:
			return *s.Settled, nil
		case s.Fault != "":
			return Settled{}, points.Errorf(s.Reason, "%s", s.Fault)
		case s.Progress != nil && heard != nil:
			heard(*s.Progress)
		}
	}
}
