package exchange_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/exchange"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// partnerAPI is what an interface over HTTP would make of the desk: who calls is known from
// its certificate, the key of a call from a header, what is asked from the body; an answer is
// a status and bytes.
type partnerAPI struct{ desk *exchange.Desk }

type swapBody struct {
	Member points.MemberID  `json:"member"`
	From   points.ProgramID `json:"from"`
	Into   points.ProgramID `json:"into"`
	In     points.Amount    `json:"in"`
	Out    points.Amount    `json:"out"`
	Lock   uint32           `json:"lock_seconds"`
}

type swapAnswer struct {
	Quote   points.Position  `json:"quote"`
	State   book.SwapState   `json:"state"`
	In      points.Amount    `json:"in"`
	Out     points.Amount    `json:"out"`
	Fee     points.Amount    `json:"fee"`
	Expires points.Timestamp `json:"expires"`
	Free    points.Amount    `json:"free"`
}

// post is POST /v1/swaps/{verb} and /v1/swaps/{quote}/{verb}.
func (p *partnerAPI) post(ctx context.Context, acquirer points.AcquirerID, key, verb string, quote points.Position, body string) (status int, answer string) {
	by := exchange.Caller{Acquirer: acquirer, CallID: key}
	named := exchange.Named{Caller: by, Quote: quote}
	var done exchange.Swap
	var err error
	switch verb {
	case "quote":
		var b swapBody
		if err := json.Unmarshal([]byte(body), &b); err != nil {
			return 400, err.Error()
		}
		done, err = p.desk.Quote(ctx, exchange.Asked{Caller: by, Member: b.Member, From: b.From, Into: b.Into, In: b.In, Out: b.Out, LockSeconds: b.Lock})
	case "lock":
		done, err = p.desk.Lock(ctx, named)
	case "execute":
		done, err = p.desk.Swap(ctx, named)
	case "cancel":
		done, err = p.desk.Cancel(ctx, named)
	case "show":
		view, err := p.desk.Show(ctx, named)
		return told(swapAnswer{view.Quote, view.State, view.In, view.Out, view.Fee, view.Expires, 0}, err)
	}
	return told(swapAnswer{done.Quote, done.State, done.In, done.Out, done.Fee, done.Expires, done.Free}, err)
}

// told turns what the desk says into a status and bytes, by the one table of reasons.
func told(a swapAnswer, err error) (status int, answer string) {
	if err != nil {
		reason := points.ReasonOf(err)
		return reason.HTTPStatus(), reason.String()
	}
	text, err := json.Marshal(a)
	if err != nil {
		return 500, err.Error()
	}
	return 200, string(text)
}

// A partner's calls are answered with a status each; the same call under the same key is
// answered with the same bytes, another one under it and another partner's are refused, each
// with an answer of its own, and a call that is not waited for is answered when it comes
// again.
func TestTheDeskAsAPartnersInterface(t *testing.T) {
	h := openHouse(t, nil)
	const other points.AcquirerID = 2002
	h.put(book.Entry{Acquirer: &book.Acquirer{ID: other, Name: "Other bank", Status: book.Active}})
	api := partnerAPI{h.desk}
	ask := func(acquirer points.AcquirerID, key, verb string, quote points.Position, body string) (int, string) {
		return api.post(t.Context(), acquirer, key, verb, quote, body)
	}
	const body = `{"member": 1, "from": 900, "into": 901, "in": 1000}`
	status, first := ask(bank, "q-1", "quote", 0, body)
	require.Equal(t, 200, status, first)
	var quoted swapAnswer
	require.NoError(t, json.Unmarshal([]byte(first), &struct {
		*swapAnswer
		State string `json:"state"`
	}{swapAnswer: &quoted}))
	require.Equal(t, points.Amount(5000), quoted.Out)

	for _, c := range []struct {
		acquirer        points.AcquirerID
		key, verb, body string
		status          int
		answer          string // "": the first one
	}{
		{bank, "q-1", "quote", body, 200, ""},
		{bank, "q-1", "quote", `{"member": 1, "from": 900, "into": 901, "in": 1001}`, points.DuplicateOther.HTTPStatus(), points.DuplicateOther.String()},
		{bank, "q-1", "quote", `{"member": 1, "from": 900, "into": 901, "in": 1000, "lock_seconds": 60}`, points.DuplicateOther.HTTPStatus(), points.DuplicateOther.String()},
		{bank, "q-2", "quote", `{"member": 1, "from": 900, "into": 901, "in": 999999}`, points.NotEnoughPoints.HTTPStatus(), points.NotEnoughPoints.String()},
		{bank, "q-3", "quote", `{"member": 1, "from": 900, "into": 901}`, points.BadAmount.HTTPStatus(), points.BadAmount.String()},
		{other, "x-1", "execute", "", points.OriginalDiffers.HTTPStatus(), points.OriginalDiffers.String()},
		{other, "", "show", "", points.UnknownOriginal.HTTPStatus(), points.UnknownOriginal.String()},
	} {
		status, answer := ask(c.acquirer, c.key, c.verb, quoted.Quote, c.body)
		if c.answer == "" {
			c.answer = first
		}
		require.Equal(t, []any{c.status, c.answer}, []any{status, answer}, "%+v", c)
	}

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	status, _ = api.post(gone, bank, "x-1", "execute", quoted.Quote, "")
	require.Contains(t, []int{200, points.InternalError.HTTPStatus()}, status, "whoever does not wait may be told nothing")
	status, done := ask(bank, "x-1", "execute", quoted.Quote, "")
	require.Equal(t, 200, status, done)
	require.Contains(t, done, `"state":"done"`)
	for range 3 {
		h.now.Add(int64(24 * time.Hour / time.Microsecond))
		status, again := ask(bank, "x-1", "execute", quoted.Quote, "")
		require.Equal(t, []any{200, done}, []any{status, again})
	}
	_, shown := ask(bank, "", "show", quoted.Quote, "")
	require.Contains(t, shown, `"state":"done"`)
	status, answer := ask(bank, "x-2", "execute", quoted.Quote, "")
	require.Equal(t, []any{points.OriginalClosed.HTTPStatus(), points.OriginalClosed.String()}, []any{status, answer})
	require.Equal(t, start-1000, h.has(air), "once")
}
