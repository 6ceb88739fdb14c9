package dialect

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// The golden frames are the seeds of every fuzz target: requests, answers, and the
// broken ones among them.
func seed(f *testing.F, rooms ...string) {
	for _, room := range rooms {
		requests, answers := goldenFrames(f, room)
		for _, frame := range append(requests, answers...) {
			f.Add(frame)
		}
	}
}

func FuzzDecodePos(f *testing.F) {
	seed(f, "pos")
	left, right := Pos(), PosRight()
	f.Fuzz(func(t *testing.T, frame []byte) {
		checkDecode(t, left, frame)
		checkDecode(t, right, frame)
	})
}

func FuzzDecodeHost(f *testing.F) {
	seed(f, "host")
	d := Host()
	f.Fuzz(func(t *testing.T, frame []byte) { checkDecode(t, d, frame) })
}

// checkDecode holds D1 to D5 against any bytes.
func checkDecode(t *testing.T, d *Dialect, frame []byte) {
	var req points.Request
	err := d.Decode(frame, &req)
	if err != nil {
		wrong := formatErrorOf(err)
		require.NotNil(t, wrong)
		if wrong.Fatal {
			return
		}
	}
	requireAnswerable(t, d, &req)
	if err != nil || req.Function == 0 || req.Function == points.BatchUpload {
		return
	}
	again := written(t, d, &req)
	var got points.Request
	require.NoError(t, d.Decode(again, &got))
	require.Equal(t, rewritten(d, req), rewritten(d, got))
}

// requireAnswerable holds that any request that is not fatal can be answered, and
// that the sender can match the answer.
func requireAnswerable(t *testing.T, d *Dialect, req *points.Request) {
	resp := points.Response{Reason: points.FormatError, Field: 4, Position: 12}
	answer, err := d.appendAnswer(nil, req, &resp, nil)
	require.NoError(t, err)
	var (
		echo points.Request
		got  points.Response
	)
	require.NoError(t, d.DecodeResponse(answer, &echo, &got))
	require.Equal(t, points.FormatError, got.Reason)
	require.Equal(t, req.STAN, echo.STAN)
	require.Equal(t, req.Terminal, echo.Terminal)
	require.Equal(t, AnswerTo(req.Envelope.MTI), echo.Envelope.MTI)
	require.Equal(t, req.Envelope.HexMap, echo.Envelope.HexMap)
}

// rewritten takes out of a request what is not written again: which elements there
// were that it has no place for, and the bitmap that was as wide as they needed.
func rewritten(d *Dialect, r points.Request) points.Request {
	r.Envelope.Wide = false
	if r.Function == points.Reversal {
		r.PIN, r.PINLen, r.Security = [16]byte{}, 0, 0
		if d.packed {
			r.RRN = [12]byte{}
		}
	}
	for de := 1; de <= lastElement; de++ {
		r.Mark(de)
	}
	return r
}

func FuzzDecodeResponse(f *testing.F) {
	seed(f, "pos", "host")
	dialects := []*Dialect{Pos(), Host()}
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, d := range dialects {
			var (
				req  points.Request
				resp points.Response
			)
			if err := d.DecodeResponse(frame, &req, &resp); err != nil {
				require.NotNil(t, formatErrorOf(err))
				continue
			}
			require.True(t, resp.Reason.Valid())
		}
	})
}

func FuzzExplain(f *testing.F) {
	seed(f, "pos", "host")
	dialects := []*Dialect{Pos(), Host()}
	f.Fuzz(func(t *testing.T, frame []byte) {
		Guess(frame)
		for _, d := range dialects {
			explained, err := d.Explain(frame)
			require.Equal(t, err != nil, explained.Fault != nil)
			require.NotEmpty(t, explained.String())
			_, err = json.Marshal(explained)
			require.NoError(t, err)
			_, _ = d.DecodeUpload(frame)
		}
	})
}

// Any value in the place of a batch upload's items is refused, or is written back as it
// came: no item is lost, made up or read as another.
func FuzzUpload(f *testing.F) {
	item := "01" + "000001" + "06222020000000000017"[:20] + "000000000100"
	f.Add([]byte("01" + item))
	f.Add([]byte("02" + item + item))
	f.Add([]byte("00"))
	f.Add([]byte("99"))
	f.Fuzz(func(t *testing.T, value []byte) {
		for i := range value { // The codec hands over digits only.
			value[i] = '0' + value[i]%10
		}
		items, wrong := parseUpload(value)
		if wrong != "" {
			require.Empty(t, items)
			return
		}
		require.Equal(t, string(value), string(uploadDigits(items)))
	})
}
