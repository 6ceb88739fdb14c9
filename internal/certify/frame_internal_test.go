package certify

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// example is a redemption of dialect name.
func example(t testing.TB, name string, wide, hexMap bool) []byte {
	t.Helper()
	d, err := dialect.ByName(name)
	require.NoError(t, err)
	req := points.Request{
		Function: points.Redeem, STAN: 7, Batch: 1, EntryMode: keyed, Transmission: 225_120_000, Acquirer: 20000001, Amount: 300, Program: 901,
		Envelope: points.Envelope{Wide: wide, HexMap: hexMap},
	}
	copy(req.Terminal[:], "T0000001")
	copy(req.Merchant[:], "M00000000000001")
	req.PAN, err = points.ParsePAN("6222020000000000017")
	require.NoError(t, err)
	frame, err := d.AppendRequest(nil, &req)
	require.NoError(t, err)
	return frame
}

// A frame put together again from its parts is the same, in every form of bitmap;
// a part taken out and put back makes it the same again; and each field's bytes
// are its own.
func TestTakeApart(t *testing.T) {
	for _, c := range []struct {
		dialect     string
		wide, hex   bool
		terminal    string // DE41 on the wire
		bitmapChars int
	}{
		{"pos", false, false, "T0000001", 16},
		{"pos", true, false, "T0000001", 32},
		{"host", false, false, "T0000001", 16},
		{"host", true, false, "T0000001", 32},
		{"host", false, true, "T0000001", 16},
		{"host", true, true, "T0000001", 32},
	} {
		d, err := dialect.ByName(c.dialect)
		require.NoError(t, err)
		frame := example(t, c.dialect, c.wide, c.hex)
		m := takeApart(d, frame)
		require.NoError(t, m.fault)
		require.Equal(t, c.terminal, string(m.fields[41]))
		require.Len(t, m.explained.Bitmap, c.bitmapChars)
		require.Equal(t, c.wide, m.wide())
		same, err := m.edited(m.mti(), nil, nil)
		require.NoError(t, err)
		require.Equal(t, frame, same)

		without, err := m.edited("", []int{4}, nil)
		require.NoError(t, err)
		require.NotContains(t, takeApart(d, without).fields, 4)
		back, err := takeApart(d, without).edited("", nil, map[int]string{4: hex.EncodeToString(m.fields[4])})
		require.NoError(t, err)
		require.Equal(t, frame, back)
		again, err := m.edited("0201", nil, nil)
		require.NoError(t, err)
		require.Equal(t, "0201", takeApart(d, again).mti())
		require.Len(t, again, len(frame))
	}
}

// One field that cannot be read hides no other, and shows no card number.
func TestTakeApartBroken(t *testing.T) {
	d := dialect.Host()
	frame := example(t, "host", false, false)
	at := strings.Index(string(frame), "000000000300")
	frame[at+11] = 'x'
	m := takeApart(d, frame)
	require.Error(t, m.fault)
	require.NotContains(t, m.fields, 4)
	require.Equal(t, "000007", string(m.fields[11]))
	require.Equal(t, "T0000001", string(m.fields[41]))
	require.Contains(t, m.shownHex(), hex.EncodeToString([]byte("00000000030"))+"78")
	require.NotContains(t, m.shownHex(), hex.EncodeToString([]byte("6222020000000000017")))
	require.Len(t, m.shownHex(), 2*len(frame))

	frame[strings.Index(string(frame), "0225")] = 'y'
	m = takeApart(d, frame)
	require.Equal(t, "T0000001", string(m.fields[41]), "behind two of them fields are found all the same")
	require.NotContains(t, m.shownHex(), hex.EncodeToString([]byte("6222020000000000017")))

	twice := takeApart(dialect.Host(), framed(example(t, "host", false, false)))
	require.ErrorContains(t, twice.fault, "a second length")
	require.Empty(t, twice.mti())

	_, err := takeApart(d, []byte("hello")).edited("0201", nil, nil)
	require.ErrorContains(t, err, "bytes that are no message")
}

// Whatever a target sends, it is taken apart and shown in full length; what of it
// can be read is put together again alike.
func FuzzTakeApart(f *testing.F) {
	for _, name := range []string{"pos", "host"} {
		f.Add(name, example(f, name, false, false))
		f.Add(name, example(f, name, true, name == "host"))
	}
	f.Add("pos", []byte{})
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		d, err := dialect.ByName(name)
		if err != nil {
			return
		}
		m := takeApart(d, body)
		require.Len(t, m.shownHex(), 2*len(body))
		if m.fault != nil {
			return
		}
		same, err := m.edited(m.mti(), nil, nil)
		require.NoError(t, err)
		if again := takeApart(d, same); again.fault == nil {
			require.Equal(t, m.fields, again.fields)
		}
	})
}
