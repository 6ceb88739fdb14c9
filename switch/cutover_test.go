package pointswitch_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// signOnAs signs a partner's system on and returns its connection.
func (h *house) signOnAs(stan points.STAN, hexMap bool) *peer {
	h.t.Helper()
	d := dialect.Host()
	p := h.dial(h.host)
	req := points.Request{Function: points.SignOn, STAN: stan, Transmission: stampOf(h.clock().Time()), Acquirer: partner}
	req.Envelope.HexMap = hexMap
	frame, err := d.AppendRequest(nil, &req)
	require.NoError(h.t, err)
	p.send(frame)
	require.NotNil(h.t, p.receive())
	return p
}

// partnerLines are the lines of the partners among the links.
func (h *house) partnerLines() (lines []string) {
	for _, l := range h.issuers.Links() {
		if strings.HasPrefix(l.Link, "partner") {
			lines = append(lines, l.Link+" on "+l.Path+": "+l.CutOver)
		}
	}
	return lines
}

// A partner's system that has signed on is told of a cut-over, in the form that it speaks,
// and again until it answers; its answer costs it nothing, and one that has signed off or
// hung up is not told.
func TestPartnersAreToldOfCutOvers(t *testing.T) {
	h, _ := withIssuer(t, nil)
	d := dialect.Host()
	first, second := h.signOnAs(1, true), h.signOnAs(2, false)
	third := h.signOnAs(3, false)
	off := points.Request{Function: points.SignOff, STAN: 4, Transmission: stampOf(h.clock().Time()), Acquirer: partner}
	frame, err := d.AppendRequest(nil, &off)
	require.NoError(t, err)
	third.send(frame)
	require.NotNil(t, third.receive())

	h.issuers.CutOver(20260303)
	h.round()
	var news points.Request
	told := first.receive()
	require.NoError(t, d.Decode(told, &news))
	require.Equal(t, points.CutOverNotice, news.Function)
	require.Equal(t, uint32(303), news.Settlement)
	require.True(t, news.Envelope.HexMap, "as it speaks")
	first.send(d.AppendResponse(nil, &news, &points.Response{Reason: points.Approved}))
	require.Eventually(t, func() bool {
		return slices.Contains(h.partnerLines(), "partner 10000002 on partners: 2026-03-03 answered 00")
	}, patience, time.Millisecond)

	require.NoError(t, d.Decode(second.receive(), &news))
	require.False(t, news.Envelope.HexMap)
	h.wait(10 * time.Second)
	h.round()
	h.wait(30 * time.Second)
	h.round()
	var again points.Request
	require.NoError(t, d.Decode(second.receive(), &again))
	require.Equal(t, news.Settlement, again.Settlement)
	require.NotEqual(t, news.STAN, again.STAN)
	require.Equal(t, []string{"partner 10000002 on partners: 2026-03-03 answered 00", "partner 10000002 on partners: 2026-03-03 sent 2 times"}, h.partnerLines())

	// The late answer to the first telling is nobody's, and does not close the connection.
	second.send(d.AppendResponse(nil, &news, &points.Response{Reason: points.Approved}))
	echo := points.Request{Function: points.Echo, STAN: 9, Transmission: stampOf(h.clock().Time()), Acquirer: partner}
	frame, err = d.AppendRequest(nil, &echo)
	require.NoError(t, err)
	second.send(frame)
	require.NotNil(t, second.receive())
	require.NoError(t, second.conn.Close())
	require.Eventually(t, func() bool { return len(h.partnerLines()) == 1 }, patience, time.Millisecond)
	first.send(frame)
	require.NotNil(t, first.receive(), "it goes on")
}
