package dialect

import (
	"bytes"
	"testing"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/padding"
	"github.com/moov-io/iso8583/prefix"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
)

// The plan and moov agree on every frame. There is no intended difference: not in
// what is accepted, not in what it says, not in the bytes of an answer, and not in a
// word of an error.

func FuzzDifferentialPos(f *testing.F) {
	seed(f, "pos")
	left, right := Pos(), PosRight()
	f.Fuzz(func(t *testing.T, frame []byte) {
		requireAgreement(t, left, frame)
		requireAgreement(t, right, frame)
	})
}

func FuzzDifferentialHost(f *testing.F) {
	seed(f, "host")
	d := Host()
	f.Fuzz(func(t *testing.T, frame []byte) { requireAgreement(t, d, frame) })
}

// requireAgreement holds the plan against moov on one frame, taken as a request and
// as an answer, and on what is written after it.
func requireAgreement(t require.TestingT, d *Dialect, frame []byte) {
	o := oracle{d}
	before := bytes.Clone(frame)
	var wantReq, gotReq points.Request
	want := o.decode(frame, &wantReq)
	requireSameFault(t, want, d.Decode(frame, &gotReq))
	require.Equal(t, wantReq, gotReq)
	if want == nil || !want.Fatal {
		for _, resp := range answersTo(want) {
			requireSameAnswer(t, d, &gotReq, &resp)
		}
		requireSameRequest(t, d, &gotReq)
	}
	var (
		wantEcho, gotEcho points.Request
		wantResp, gotResp points.Response
	)
	want = o.decodeResponse(frame, &wantEcho, &wantResp)
	requireSameFault(t, want, d.DecodeResponse(frame, &gotEcho, &gotResp))
	require.Equal(t, wantEcho, gotEcho)
	require.Equal(t, wantResp, gotResp)

	wantFrom, wantTo, wantOK := o.macSpan(frame)
	gotFrom, gotTo, gotOK := d.MACSpan(frame)
	require.Equal(t, wantOK, gotOK)
	require.Equal(t, span{wantFrom, wantTo}, span{gotFrom, gotTo})
	require.Equal(t, before, frame, "the frame is the caller's")
}

// requireSameFault wants the same error: field, fatality and words.
func requireSameFault(t require.TestingT, want *FormatError, err error) {
	if want == nil {
		require.NoError(t, err)
		return
	}
	var got *FormatError
	require.ErrorAs(t, err, &got)
	require.Equal(t, *want, *got)
}

func requireSameAnswer(t require.TestingT, d *Dialect, req *points.Request, resp *points.Response) {
	want, wrong := oracle{d}.appendResponse([]byte("before"), req, resp)
	got, err := d.appendAnswer([]byte("before"), req, resp, nil)
	requireSameFault(t, wrong, err)
	require.Equal(t, want, got)
	require.Equal(t, want, d.AppendResponse([]byte("before"), req, resp))
}

func requireSameRequest(t require.TestingT, d *Dialect, req *points.Request) {
	want, wrong := oracle{d}.appendRequest([]byte("before"), req)
	got, err := d.AppendRequest([]byte("before"), req)
	requireSameFault(t, wrong, err)
	require.Equal(t, want, got)
}

// answersTo are the answers that a request which decoded with wrong is given: an
// approval with everything in it, one with every number too large, and a refusal.
func answersTo(wrong *FormatError) []points.Response {
	whole := points.Response{
		Reason: points.Approved, Position: 43, Date: 20260216, LocalTime: 93015, LocalDate: 216, Acquirer: 10000001,
		Issuer: 20000001, Program: 901, Used: 300, SelfPaid: 5, Batch: 7, AuthCode: [6]byte([]byte("7AB3Q9")),
	}
	whole.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: 901, Amount: 1200})
	whole.AddBalance(points.Balance54{Kind: points.LedgerBalance, Program: 902, Amount: -1})
	large := points.Response{
		Reason: points.ApprovedPartly, Position: 1 << 60, Amount: 1 << 62, Issuer: points.MaxInstitution, Acquirer: 1 << 50,
		Program: 998, Used: 9_999_999_999, SelfPaid: 1 << 62, Batch: maxBatch + 1, LocalDate: 230, Detail: "naïve, and longer than the field holds",
	}
	large.AddBalance(points.Balance54{Kind: 255, Amount: -1 << 63})
	refused := points.Response{Reason: points.FormatError}
	if wrong != nil {
		refused.Field = uint8(wrong.Field)
	}
	return []points.Response{whole, large, refused}
}

// Plan and moov agree on drawn requests, whether the wire holds them or not, on
// their answers, and on frames with a few bytes changed.
func TestPlanAgreesWithMoov(t *testing.T) {
	for _, d := range []*Dialect{Pos(), PosRight(), Host()} {
		t.Run(d.Name(), rapid.MakeCheck(func(t *rapid.T) {
			req := drawRequest(t, d)
			frame, err := d.AppendRequest(nil, &req)
			require.NoError(t, err)
			requireAgreement(t, d, frame)
			resp := drawResponse(t)
			requireSameAnswer(t, d, &req, &resp)
			requireAgreement(t, d, d.AppendResponse(nil, &req, &resp))
			for range rapid.IntRange(1, 4).Draw(t, "changes") {
				at := rapid.IntRange(0, len(frame)-1).Draw(t, "at")
				switch rapid.IntRange(0, 3).Draw(t, "change") {
				case 0:
					frame[at] = rapid.Byte().Draw(t, "byte")
				case 1:
					frame[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				case 2:
					frame = append(frame[:at:at], append([]byte{rapid.Byte().Draw(t, "more")}, frame[at:]...)...)
				default:
					frame = frame[:max(at, 1)]
				}
			}
			requireAgreement(t, d, frame)
			spoil(t, &req)
			requireSameRequest(t, d, &req)
			requireSameAnswer(t, d, &req, &resp)
		}))
	}
}

// spoil gives one element of a request a value that the wire does not hold.
func spoil(t *rapid.T, r *points.Request) {
	switch rapid.IntRange(0, 7).Draw(t, "spoilt") {
	case 0:
		r.Amount = -5
	case 1:
		r.STAN = 1_000_000
	case 2:
		r.Batch = maxBatch + 1
	case 3:
		r.Acquirer = points.MaxInstitution + 1
	case 4:
		r.Processing = 1_000_000
	case 5:
		r.Product[0] = 7
	case 6:
		r.Terminal[3] = 0xC3
	default:
		r.Envelope.MTI = 12345
	}
}

// Every element of both dialects, alone, is read and written alike: with every length
// that its prefix can say, and with every byte at both of its ends.
func TestElementsAgreeWithMoov(t *testing.T) {
	for _, spec := range []*iso8583.MessageSpec{posSpec(false), hostSpec(false), hostSpec(true)} {
		p, err := compile(spec)
		require.NoError(t, err)
		for de := 2; de <= lastElement; de++ {
			if s := &p.steps[de]; s.layout != 0 {
				requireLengthsAgree(t, spec.Fields[de], s)
				requireContentAgrees(t, spec.Fields[de], s)
				requireWritingAgrees(t, spec.Fields[de], s)
			}
		}
	}
}

// ones is a frame of n bytes that is all digits 1, in the layout of s.
func ones(s *step, n int) []byte {
	if s.layout == digitPairs {
		return bytes.Repeat([]byte{0x11}, n)
	}
	return bytes.Repeat([]byte{'1'}, n)
}

func requireLengthsAgree(t *testing.T, described field.Field, s *step) {
	if s.prefix == 0 {
		return
	}
	wire := ones(s, 1100)
	for length := range 1000 {
		copy(wire, s.encodeLength(nil, length))
		requireElementAgrees(t, described, s, wire)
	}
	for first := range 256 { // lengths that are no numbers
		wire[0] = byte(first)
		requireElementAgrees(t, described, s, wire)
	}
}

func requireContentAgrees(t *testing.T, described field.Field, s *step) {
	sizes := []int{s.limit}
	if s.prefix != 0 {
		sizes = []int{1, 2, 3}
	}
	for _, units := range sizes {
		value := s.encodeLength(nil, units*s.unit)
		front := len(value)
		value = append(value, ones(s, s.size(units))...)
		if s.left && units%2 == 1 {
			value[len(value)-1] = 0x10
		} else if s.layout == digitPairs && units%2 == 1 {
			value[front] = 0x01
		}
		for at := front; at < len(value); at++ {
			if at > front+2 && at < len(value)-2 {
				continue
			}
			kept := value[at]
			for b := range 256 {
				value[at] = byte(b)
				requireElementAgrees(t, described, s, value)
			}
			value[at] = kept
		}
		requireElementAgrees(t, described, s, value[:len(value)-1])
	}
}

func requireElementAgrees(t *testing.T, described field.Field, s *step, data []byte) {
	var text [textSize]byte
	want, wantSize, err := unpack(described, data)
	got, size, ok := s.decode(data, text[:])
	if err != nil {
		if complaint := s.complaint(data); ok || complaint.Error() != err.Error() {
			require.FailNow(t, "the plan does not refuse", "%s: want %v, got %v", described.Spec().Description, err, complaint)
		}
		return
	}
	if !ok || size != wantSize || !bytes.Equal(want, got) {
		require.FailNow(t, "the plan reads otherwise", "%s: want %d bytes, got %d", described.Spec().Description, wantSize, size)
	}
	wire, err := pack(described, got)
	require.NoError(t, err)
	if again, ok := s.encode(nil, got); !ok || !bytes.Equal(wire, again) {
		require.FailNow(t, "the plan writes otherwise", "%s: want %X, got %X", described.Spec().Description, wire, again)
	}
}

// requireWritingAgrees writes values of every length around the bounds, with every
// byte at both ends and in the middle.
func requireWritingAgrees(t *testing.T, described field.Field, s *step) {
	for _, n := range []int{0, 1, 2, 3, s.limit - 1, s.limit, s.limit + 1} {
		value := bytes.Repeat([]byte{'1'}, n)
		requireWritten(t, described, s, value)
		for _, at := range []int{0, n / 2, n - 1} {
			for b := range 256 {
				if at >= 0 && at < n {
					value[at] = byte(b)
					requireWritten(t, described, s, value)
				}
			}
		}
	}
}

func requireWritten(t *testing.T, described field.Field, s *step, value []byte) {
	want, err := pack(described, value)
	got, ok := s.encode([]byte("before"), value)
	if err != nil {
		want = nil
		if refusal := s.refusal(value); ok || refusal.Error() != err.Error() {
			require.FailNow(t, "the plan does not refuse", "%s: want %v, got %v", described.Spec().Description, err, refusal)
		}
	}
	if ok != (err == nil) || string(got) != "before"+string(want) {
		require.FailNow(t, "the plan writes otherwise", "%s: want %X, got %X", described.Spec().Description, want, got)
	}
}

// What a plan does not know of a spec is refused by name when the plan is made, not
// passed over.
func TestCompileRefuses(t *testing.T) {
	n, length := characters{class: classN}, textLength{count: 2, unit: 1}
	str := func(s field.Spec) field.Field { return field.NewString(&s) }
	for _, c := range []struct {
		name  string
		de    int
		field field.Field
		want  string
	}{
		{"another type of field", 4, field.NewNumeric(&field.Spec{Length: 12, Enc: n, Pref: fixedLength{}}), "DE4: field type *field.Numeric"},
		{"moov's encoder", 4, str(field.Spec{Length: 12, Enc: encoding.BCD, Pref: fixedLength{}}), "DE4: encoder"},
		{"moov's length", 4, str(field.Spec{Length: 12, Enc: n, Pref: prefix.ASCII.LL}), "DE4: length"},
		{"padding", 4, str(field.Spec{Length: 12, Enc: n, Pref: fixedLength{}, Pad: padding.Left('0')}), "DE4: padding"},
		{"subfields", 4, str(field.Spec{Length: 12, Enc: n, Pref: fixedLength{}, Tag: &field.TagSpec{}}), "DE4: subfields"},
		{"a packer", 4, str(field.Spec{Length: 12, Enc: n, Pref: fixedLength{}, Packer: field.Track2Packer{}}), "DE4: a packer of its own"},
		{"no length", 4, str(field.Spec{Enc: n, Pref: fixedLength{}}), "DE4: length 0"},
		{"a length past its digits", 4, str(field.Spec{Length: 100, Enc: n, Pref: length}), "DE4: length 100 times 1 does not fit"},
		{"four digits of length", 4, str(field.Spec{Length: 9, Enc: n, Pref: packedLength(4)}), "DE4: length of 4 digits"},
		{"packed text", 4, str(field.Spec{Length: 9, Enc: packed{class: classAN}, Pref: length}), "DE4: class an in packed decimal"},
		{"no class", 4, str(field.Spec{Length: 9, Enc: characters{}, Pref: length}), "DE4: character class"},
		{"an element past the bitmap", 129, str(field.Spec{Length: 9, Enc: n, Pref: length}), "DE129: want 0 to 128"},
		{"a message type of six", 0, str(field.Spec{Length: 6, Enc: n, Pref: fixedLength{}}), "the message type is not four digits"},
		{"a bitmap that is text", 1, str(field.Spec{Length: 8, Enc: n, Pref: fixedLength{}}), "DE1: field type *field.String"},
		{"a bitmap of sixteen", 1, field.NewBitmap(&field.Spec{Length: 16, Enc: hexadecimal{}, Pref: fixedLength{}}), "DE1: want 8 bytes"},
		{"a bitmap of digits", 1, field.NewBitmap(&field.Spec{Length: 8, Enc: n, Pref: fixedLength{}}), "DE1: encoder"},
		{"too much to spell out", 48, str(field.Spec{Length: 999, Enc: packed{class: classN}, Pref: packedLength(3)}), "to spell out, want 1024 at most"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := posSpec(false)
			_, err := compile(spec)
			require.NoError(t, err)
			spec.Fields[c.de] = c.field
			_, err = compile(spec)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A table that speaks of an element which the spec does not have stops the dialect
// from being made.
func TestTablesNeedTheirSpec(t *testing.T) {
	lacking := func(de int) *iso8583.MessageSpec {
		spec := posSpec(false)
		delete(spec.Fields, de)
		return spec
	}
	d := &Dialect{name: "pos", packed: true, raw: lacking(61), hex: posSpec(false)}
	require.PanicsWithValue(t, "dialect pos: DE61 has a meaning and is not in the spec", func() { d.complete() })
	mixed := &Dialect{name: "host", raw: hostSpec(true), hex: hostSpec(true)}
	require.Panics(t, func() { mixed.complete() })
}
