package dialect

import (
	"fmt"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/prefix"

	"github.com/lianfen/lianfen/points"
)

// Baseline is what reading one request and writing its answer costs a program that
// uses moov as it comes: its own encoders and prefixes, unpack, read, build, pack.
// The compiled plan is measured against it, in benchmarks and by lianfen bench.
// It is not safe for concurrent use.
type Baseline struct {
	spec    *iso8583.MessageSpec
	request []byte
	mti     string
	answer  []carried // of the answer, in order; what the request has is read from it
}

// carried is the number of a data element and its value, spelled out.
type carried struct {
	de    int
	value []byte
}

// NewBaseline makes the baseline of one exchange in dialect d: frame is a request
// without length bytes, resp what answers it. Errors name the element that moov's
// own encoders cannot write.
func NewBaseline(d *Dialect, frame []byte, resp *points.Response) (*Baseline, error) {
	var req points.Request
	if err := d.Decode(frame, &req); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	asked, _, err := d.elementsOf(frame)
	if err != nil {
		return nil, err
	}
	answered, mti, err := d.elementsOf(d.AppendResponse(nil, &req, resp))
	if err != nil {
		return nil, err
	}
	b := &Baseline{spec: d.stockSpec(asked, answered), mti: fmt.Sprintf("%04d", mti), answer: answered}
	m := iso8583.NewMessage(b.spec)
	m.MTI(fmt.Sprintf("%04d", req.Envelope.MTI))
	for _, e := range asked {
		if err := m.BinaryField(e.de, e.value); err != nil {
			return nil, fmt.Errorf("baseline: DE%d: %w", e.de, err)
		}
	}
	if b.request, err = m.Pack(); err != nil {
		return nil, fmt.Errorf("baseline: pack the request: %w", err)
	}
	return b, nil
}

// elementsOf takes a frame apart; the values are copies.
func (d *Dialect) elementsOf(frame []byte) (all []carried, mti uint16, err error) {
	m, wrong := d.open(frame)
	if wrong != nil {
		return nil, 0, fmt.Errorf("baseline: %w", wrong)
	}
	defer d.close(m)
	if wrong := d.readFields(m); wrong != nil {
		return nil, 0, fmt.Errorf("baseline: %w", wrong)
	}
	for de := m.read.next(1); de != 0; de = m.read.next(de) {
		all = append(all, carried{de, append([]byte(nil), m.values[de]...)})
	}
	return all, m.envelope.MTI, nil
}

// stockSpec describes the elements that occur in messages as moov's own encoders
// and prefixes do.
func (d *Dialect) stockSpec(messages ...[]carried) *iso8583.MessageSpec {
	spec := &iso8583.MessageSpec{Name: d.name + ", stock", Fields: map[int]field.Field{
		0: stockField(d.raw.Fields[0].Spec()),
		1: field.NewBitmap(&field.Spec{Length: bitmapSize, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
	}}
	for _, elements := range messages {
		for _, e := range elements {
			spec.Fields[e.de] = stockField(d.raw.Fields[e.de].Spec())
		}
	}
	return spec
}

// stockField is the field of a spec of ours with moov's own encoder and prefix.
func stockField(ours *field.Spec) field.Field {
	stock := &field.Spec{Length: ours.Length, Enc: encoding.ASCII, Pref: prefix.ASCII.Fixed}
	enc, length := wireOf(ours)
	switch {
	case enc.chars() == classB:
		stock.Enc = encoding.Binary
	case enc.size(2) == 1: // Two digits in a byte.
		stock.Enc, stock.Pref = encoding.BCD, prefix.BCD.Fixed
	}
	switch length.(type) {
	case packedLength:
		stock.Pref = prefix.BCD.LL
		if length.digits() > 2 {
			stock.Pref = prefix.BCD.LLL
		}
	case textLength:
		stock.Pref = prefix.ASCII.LL
		if length.digits() > 2 {
			stock.Pref = prefix.ASCII.LLL
		}
	}
	return field.NewString(stock)
}

// Step reads the request and builds the answer once. An element of the answer that
// the request has takes the request's value, as a switch echoes it.
func (b *Baseline) Step() error {
	asked, answer := iso8583.NewMessage(b.spec), iso8583.NewMessage(b.spec)
	if err := asked.Unpack(b.request); err != nil {
		return fmt.Errorf("baseline: unpack: %w", err)
	}
	answer.MTI(b.mti)
	for _, e := range b.answer {
		value := e.value
		if asked.GetField(e.de) != nil {
			echoed, err := asked.GetBytes(e.de)
			if err != nil {
				return fmt.Errorf("baseline: DE%d: %w", e.de, err)
			}
			value = echoed
		}
		if err := answer.BinaryField(e.de, value); err != nil {
			return fmt.Errorf("baseline: DE%d: %w", e.de, err)
		}
	}
	if _, err := answer.Pack(); err != nil {
		return fmt.Errorf("baseline: pack: %w", err)
	}
	return nil
}
