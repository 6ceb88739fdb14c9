package dialect

import (
	"fmt"
	"slices"
	"sync"

	"github.com/moov-io/iso8583"

	"github.com/lianfen/lianfen/points"
)

// Bounds and fixed parts of a frame, in bytes.
const (
	// MaxFrame is the longest frame that is read, without its two length bytes.
	MaxFrame   = 4096
	tpduSize   = 5
	headerSize = 6
	bitmapSize = 8
)

// Dialect reads and writes the frames of one kind of peer. Make one with [Pos],
// [PosRight] or [Host].
type Dialect struct {
	name   string
	packed bool // pos: packed decimal, TPDU and header
	raw    *iso8583.MessageSpec
	hex    *iso8583.MessageSpec // host: for a hexadecimal bitmap; pos: the same as raw

	rawPlan *plan // raw, compiled
	hexPlan *plan // hex, compiled

	rules    []rule
	requests [lastElement + 1]requestElement
	late     elementSet                     // of requests, those that are read when the function is known
	echoes   []int                          // elements that an answer gives back as they came
	answers  map[string]points.Reason       // DE39 -> what it means
	codes    [base36 * base36]points.Reason // answers again, by codeIndex; 0 is unknown

	messages, drafts sync.Pool // of *message and *draft, so that no frame needs new ones
}

// Pos returns the terminals' dialect.
func Pos() *Dialect { return newPos("pos", false) }

// PosRight returns the terminals' dialect for endpoints that send DE22 right
// aligned (00 21 for 021) where the convention has it left aligned (02 10). The
// two cannot be told apart on the wire, so the endpoint's configuration says it.
func PosRight() *Dialect { return newPos("pos-right", true) }

func newPos(name string, rightEntryMode bool) *Dialect {
	spec := posSpec(rightEntryMode)
	d := &Dialect{name: name, packed: true, raw: spec, hex: spec, rules: posRules()}
	return d.complete()
}

// Host returns the dialect of partners and issuers.
func Host() *Dialect {
	d := &Dialect{name: "host", raw: hostSpec(false), hex: hostSpec(true), rules: hostRules()}
	return d.complete()
}

func (d *Dialect) complete() *Dialect {
	for i := range d.rules {
		slices.Sort(d.rules[i].required)
	}
	d.requests = requestElements(d)
	d.echoes = d.echoed()
	d.answers = meanings()
	if err := d.compile(); err != nil {
		panic(fmt.Sprintf("dialect %s: %v", d.name, err)) //nolint:forbidigo // a table of ours, not input.
	}
	return d
}

// compile makes the plans and the tables that go with them, and holds the others
// against them: what a request's element is read into, or an answer echoes, must be
// an element of the spec.
func (d *Dialect) compile() (err error) {
	if d.rawPlan, err = compile(d.raw); err != nil {
		return err
	}
	if d.hexPlan, err = compile(d.hex); err != nil {
		return err
	}
	if d.rawPlan.hexMap || d.hexPlan.hexMap == d.packed {
		return fmt.Errorf("the bitmaps of %s and %s are mixed up", d.raw.Name, d.hex.Name)
	}
	for de := range d.requests {
		e := &d.requests[de]
		if e.read == nil {
			continue
		}
		if d.rawPlan.steps[de].layout == 0 || d.hexPlan.steps[de].layout == 0 {
			return fmt.Errorf("DE%d has a meaning and is not in the spec", de)
		}
		if e.late {
			d.late.add(de)
		}
	}
	for _, de := range d.echoes {
		if d.requests[de].write == nil {
			return fmt.Errorf("DE%d is echoed and has no meaning", de)
		}
	}
	for code, reason := range d.answers {
		at := codeIndex([]byte(code))
		if at == noCode {
			return fmt.Errorf("answer code %q is not two digits or capitals", code)
		}
		d.codes[at] = reason
	}
	return nil
}

// ByName returns the dialect called name: "pos", "pos-right" or "host".
func ByName(name string) (*Dialect, error) {
	switch name {
	case "pos":
		return Pos(), nil
	case "pos-right":
		return PosRight(), nil
	case "host":
		return Host(), nil
	default:
		return nil, points.Errorf(points.FormatError, "dialect %q: want pos, pos-right or host", name)
	}
}

// Name returns the name that [ByName] knows the dialect by.
func (d *Dialect) Name() string { return d.name }

// spec returns the field table for frames with a hexadecimal or raw bitmap.
func (d *Dialect) spec(hexMap bool) *iso8583.MessageSpec {
	if hexMap {
		return d.hex
	}
	return d.raw
}

// plan returns the compiled form of what spec returns.
func (d *Dialect) plan(hexMap bool) *plan {
	if hexMap {
		return d.hexPlan
	}
	return d.rawPlan
}

// preamble is how many bytes stand before the message type.
func (d *Dialect) preamble() int {
	if d.packed {
		return tpduSize + headerSize
	}
	return 0
}

// MTI returns the message type of a frame as four decimal digits, so that a link
// that carries both directions can tell a request from an answer before it reads
// on. ok is false where [Dialect.Decode] would report a fatal error.
func (d *Dialect) MTI(frame []byte) (mti uint16, ok bool) {
	m, err := d.open(frame)
	if err != nil {
		return 0, false
	}
	defer d.close(m)
	return m.envelope.MTI, true
}

// IsAnswer reports whether mti is the type of an answer: its third digit is odd.
func IsAnswer(mti uint16) bool { return mti/10%2 == 1 }

// AnswerTo returns the type of the answer to mti: ten more, without the repeat
// digit (0201 and 0200 are answered by 0210, 0421 by 0430).
func AnswerTo(mti uint16) uint16 { return mti - mti%10 + 10 }
