package dialect

import (
	"bytes"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// requestElements builds the table of what a request's elements mean in d.
func requestElements(d *Dialect) [lastElement + 1]requestElement {
	var t [lastElement + 1]requestElement
	commonElements(&t)
	if d.packed {
		posElements(&t)
	} else {
		hostElements(&t)
	}
	return t
}

// commonElements are those that both dialects understand alike.
func commonElements(t *[lastElement + 1]requestElement) {
	t[2] = requestElement{
		read: func(r *points.Request, value []byte) (wrong string) {
			r.PAN, wrong = parseCard(value)
			return wrong
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			return r.PAN.AppendDigits(dst), !r.PAN.IsZero()
		},
	}
	t[3] = numeric(6, func(r *points.Request) *uint32 { return &r.Processing }, nil)
	t[4] = amount(12, func(r *points.Request) *points.Amount { return &r.Amount })
	t[11] = numeric(6, func(r *points.Request) *points.STAN { return &r.STAN }, nil)
	t[12] = numeric(6, func(r *points.Request) *uint32 { return &r.LocalTime }, checkClock)
	t[13] = numeric(4, func(r *points.Request) *uint32 { return &r.LocalDate }, checkDay)
	t[14] = numeric(4, func(r *points.Request) *uint32 { return &r.Expiry }, checkExpiry)
	t[22] = numeric(3, func(r *points.Request) *uint16 { return &r.EntryMode }, nil)
	t[23] = numeric(3, func(r *points.Request) *uint16 { return &r.CardSequence }, nil)
	t[25] = numeric(2, func(r *points.Request) *uint8 { return &r.Condition }, nil)
	t[32] = institution(func(r *points.Request) *points.AcquirerID { return &r.Acquirer })
	t[35] = requestElement{read: readTrack(0)}
	t[36] = requestElement{read: readTrack(2)}
	t[37] = text(func(r *points.Request) []byte { return r.RRN[:] })
	t[38] = text(func(r *points.Request) []byte { return r.AuthCode[:] })
	t[39] = text(func(r *points.Request) []byte { return r.Answer[:] })
	t[41] = text(func(r *points.Request) []byte { return r.Terminal[:] })
	t[42] = text(func(r *points.Request) []byte { return r.Merchant[:] })
	t[49] = program(func(r *points.Request) *points.ProgramID { return &r.Program })
	t[50] = program(func(r *points.Request) *points.ProgramID { return &r.Target })
	t[52] = pinBlock(8)
	t[53] = numeric(16, func(r *points.Request) *uint64 { return &r.Security }, nil)
	t[62] = requestElement{read: readPrivate62, write: writePrivate62, late: true}
	t[64] = requestElement{read: readMAC}
}

func parseCard(value []byte) (pan points.PAN, wrong string) {
	pan, err := points.ParsePAN(value)
	if err != nil {
		return points.PAN{}, "not a card number of 1 to 19 digits"
	}
	return pan, ""
}

// pinBlock is DE52 (8 bytes) or DE125 of host (16 bytes).
func pinBlock(size uint8) requestElement {
	return requestElement{
		read: func(r *points.Request, value []byte) string {
			if len(value) != int(size) {
				return "not a PIN block of format 4, want 16 bytes"
			}
			copy(r.PIN[:], value)
			r.PINLen = size
			return ""
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			return append(dst, r.PIN[:size]...), r.PINLen == size
		},
	}
}

func readMAC(r *points.Request, value []byte) string {
	copy(r.MAC[:], value)
	return ""
}

// readPrivate62 reads DE62: the target card of a transfer (pos), else a product
// code or, in a swap, the quote being taken up. Other functions send pages and
// lists there, which nobody reads.
func readPrivate62(r *points.Request, value []byte) string {
	if r.Function == points.Transfer && r.Door == points.DoorTerminal {
		pan, wrong := parseCard(bytes.TrimRight(value, " "))
		r.TargetPAN = pan
		return wrong
	}
	if r.Function == points.Download {
		copy(r.Product[:], value) // A key's name is binary; what is longer is nobody's page.
		return ""
	}
	if !carriesProduct(r) {
		return ""
	}
	if len(value) > len(r.Product) || classANS.check(value) != nil {
		return "a product code of more than 60 characters, or not printable"
	}
	copy(r.Product[:], value)
	return ""
}

func writePrivate62(dst []byte, r *points.Request) ([]byte, bool) {
	if r.Function == points.Transfer && r.Door == points.DoorTerminal {
		return r.TargetPAN.AppendDigits(dst), !r.TargetPAN.IsZero()
	}
	product := bytes.TrimRight(r.Product[:], "\x00")
	return append(dst, product...), len(product) > 0 && (carriesProduct(r) || r.Function == points.Download)
}

func carriesProduct(r *points.Request) bool {
	return r.Class == points.ClassAuthorisation || r.Class == points.ClassFinancial
}

// leftOut reports whether an element stays out of a reversal although its original
// had it: PIN, tracks and private data, and in pos the RRN, which a terminal that
// reverses has not been told.
func (d *Dialect) leftOut(r *points.Request, de int) bool {
	if r.Function != points.Reversal {
		return false
	}
	switch de {
	case 26, 52, 53, 62, 125:
		return true
	case 37:
		return d.packed
	default:
		return false
	}
}

// Decode reads a request: frame is what follows the two length bytes. It resets
// req and fills everything but At. A message that no function describes is read
// with Function 0. Every error is a [*FormatError]; after one that is not fatal,
// req holds what could be read.
func (d *Dialect) Decode(frame []byte, req *points.Request) error {
	req.Reset()
	m, wrong := d.open(frame)
	if wrong != nil {
		return wrong
	}
	defer d.close(m)
	if wrong := d.begin(m, req); wrong != nil {
		return wrong
	}
	if wrong := d.interpret(m, req, d.readFields(m)); wrong != nil {
		return wrong
	}
	return nil
}

// begin tells req what stands before the fields, and refuses an answer.
func (d *Dialect) begin(m *message, req *points.Request) *FormatError {
	req.Envelope, req.Door = m.envelope, d.door()
	if mti := m.envelope.MTI; IsAnswer(mti) {
		return fatal("message type %04d is an answer, and answers are not answered", mti)
	}
	return nil
}

// interpret fills req with what the fields of m say, first being what is wrong with
// them, and returns the first fault of all.
func (d *Dialect) interpret(m *message, req *points.Request, first *FormatError) *FormatError {
	first = earlier(first, d.understand(m, req, false))
	if mti := m.envelope.MTI; mti > 999 {
		// Another version of the standard: its fields mean something else.
		first = earlier(first, fault(0, "message type %04d, want a version digit of 0", mti))
	}
	u := d.identify(req)
	first = earlier(first, d.understand(m, req, true))
	if first == nil {
		first = d.incomplete(u, req)
	}
	return first
}

func (d *Dialect) door() points.Door {
	if d.packed {
		return points.DoorTerminal
	}
	return points.DoorHost
}

// understand stores the elements that were read into req, early or late ones, and
// marks those that made sense.
func (d *Dialect) understand(m *message, req *points.Request, late bool) *FormatError {
	var first *FormatError
	for de := m.read.next(1); de != 0; de = m.read.next(de) {
		e := &d.requests[de]
		if e.late != late {
			continue
		}
		if e.read != nil {
			if wrong := e.read(req, m.values[de]); wrong != "" {
				first = earlier(first, fault(de, "%s", wrong))
				continue
			}
		}
		req.Mark(de)
	}
	return first
}

// incomplete names the first element that a request should carry and does not:
// those that tell its function first, then those its function needs.
func (d *Dialect) incomplete(u *rule, req *points.Request) *FormatError {
	if u == nil {
		for _, de := range d.selectors(req.Class) {
			if de != 0 && !req.Has(de) {
				return fault(de, "missing; without it the function of a %04d is not known", req.Envelope.MTI)
			}
		}
		return nil
	}
	if de, or := u.missing(req); de != 0 {
		return fault(de, "missing; a %s must carry it%s", req.Function, or)
	}
	return nil
}

// Complete makes a request that names its Function (a reversal its Reversed too)
// whole for this dialect: message type, DE3, DE25, DE60.1 and the network code
// where they are zero, TPDU and header of pos, and the marks of all elements that
// [Dialect.AppendRequest] will send. A request without function must say its
// message type itself. The error is a [*FormatError] that names what cannot be
// written.
func (d *Dialect) Complete(req *points.Request) error {
	_, err := d.completed(nil, req, false)
	return err
}

// CompleteAppend is [Dialect.Complete] and, of the completed req,
// [Dialect.AppendRequest], for less than both cost.
func (d *Dialect) CompleteAppend(dst []byte, req *points.Request) ([]byte, error) {
	return d.completed(dst, req, true)
}

func (d *Dialect) completed(dst []byte, req *points.Request, write bool) ([]byte, error) {
	f, err := d.draftRequest(req, nil)
	if err != nil {
		return dst, err
	}
	defer d.discard(f)
	for de := 2; de <= lastElement; de++ {
		if f.values[de] != nil {
			req.Mark(de)
		}
	}
	if !write {
		return dst, nil
	}
	longer, err := d.append(dst, f)
	if err != nil {
		return dst, err
	}
	return longer, nil
}

// AppendRequest appends the frame of req, without length bytes, and returns the
// extended slice; after an error dst comes back as it was. It sends the elements
// that are not zero, those marked in req, and those its function needs, having
// completed a copy of req as [Dialect.Complete] does. What it writes, Decode
// accepts. Tracks are not written: the card goes in DE2.
func (d *Dialect) AppendRequest(dst []byte, req *points.Request) ([]byte, error) {
	return d.appendRequest(dst, req, nil)
}

// extra is what a request has no room for: the DE48 of a batch upload, DE48 and DE120 of
// a change of keys. nil is none.
type extra struct{ de48, de120 []byte }

func (e *extra) into(f *draft) {
	if e == nil {
		return
	}
	if e.de48 != nil {
		f.put(48, e.de48)
		f.scratch.Mark(48)
	}
	if e.de120 != nil {
		f.put(120, e.de120)
		f.scratch.Mark(120)
	}
}

// appendRequest is AppendRequest with more than req has room for.
func (d *Dialect) appendRequest(dst []byte, req *points.Request, more *extra) ([]byte, error) {
	f := d.blank(points.Envelope{})
	defer d.discard(f)
	f.whole = *req
	if err := d.fillDraft(f, &f.whole, more); err != nil {
		return dst, err
	}
	longer, err := d.append(dst, f)
	if err != nil {
		return dst, err
	}
	return longer, nil
}

// draftRequest completes req and returns a draft of it, which the caller discards.
func (d *Dialect) draftRequest(req *points.Request, more *extra) (*draft, error) {
	f := d.blank(points.Envelope{})
	if err := d.fillDraft(f, req, more); err != nil {
		d.discard(f)
		return nil, err
	}
	return f, nil
}

// fillDraft completes req and writes its elements into f.
func (d *Dialect) fillDraft(f *draft, req *points.Request, more *extra) error {
	u, err := d.fillSelectors(req)
	if err != nil {
		return err
	}
	f.envelope = req.Envelope
	scratch := &f.scratch
	scratch.Reset()
	scratch.Function, scratch.Class, scratch.Door, scratch.PINLen = req.Function, req.Class, req.Door, req.PINLen
	for de := 2; de <= lastElement; de++ {
		e := &d.requests[de]
		if e.write == nil || d.leftOut(req, de) {
			continue
		}
		longer, there := e.write(f.text, req)
		value := longer[len(f.text):]
		if len(value) == 0 || (!there && !req.Has(de) && (u == nil || !slices.Contains(u.required, de))) {
			continue
		}
		if wrong := e.read(scratch, value); wrong != "" {
			return fault(de, "%s", wrong)
		}
		// A part that does not fit its place pushes the others along; read back
		// and written again it comes out otherwise.
		if again, _ := e.write(longer, scratch); !bytes.Equal(again[len(longer):], value) {
			return fault(de, "a part of it is too large for its place")
		}
		f.keep(de, longer)
		scratch.Mark(de)
	}
	more.into(f)
	if req.MAC != [8]byte{} || req.Has(64) || req.Has(128) {
		f.keep(d.macElement(f), append(f.text, req.MAC[:]...))
	}
	if u != nil {
		if de, or := u.missing(scratch); de != 0 {
			return fault(de, "missing; a %s must carry it%s", req.Function, or)
		}
	}
	return nil
}

// fillSelectors gives req the values that tell its function.
func (d *Dialect) fillSelectors(req *points.Request) (*rule, error) {
	req.Door = d.door()
	if d.packed {
		req.Envelope.HexMap = false
		if req.Envelope.TPDU[0] == 0 {
			req.Envelope.TPDU[0] = 0x60
		}
		if req.Envelope.Header[0] == 0 {
			req.Envelope.Header[0] = 0x60
		}
	}
	u := d.ruleFor(req)
	if u == nil {
		if req.Function == 0 && req.Envelope.MTI != 0 {
			d.identify(req)
			return nil, nil
		}
		return nil, fatal("dialect %s has no message for %s with this message type and condition", d.name, req.Function)
	}
	selectors := u
	if u.function == points.Reversal {
		if selectors = d.reversed(req.Reversed); selectors == nil {
			return nil, fatal("dialect %s has no reversal of %s", d.name, req.Reversed)
		}
	}
	if req.Envelope.MTI == 0 {
		req.Envelope.MTI = u.mti
		if req.Repeat {
			req.Envelope.MTI++
		}
	}
	req.Class = points.Class(u.mti / 100 % 10)
	req.Repeat, req.Advice = req.Envelope.MTI%10 == 1, u.advice
	selectors.fill(d, req)
	return u, nil
}

func (d *Dialect) reversed(function points.Function) *rule {
	for i := range d.rules {
		if d.rules[i].function == function && d.rules[i].reversible {
			return &d.rules[i]
		}
	}
	return nil
}

// fill sets the selectors that req leaves at zero to the rule's first choice.
func (u *rule) fill(d *Dialect, req *points.Request) {
	if len(u.processing) > 0 && req.Processing == 0 && !req.Has(3) {
		req.Processing = uint32(u.processing[0]) //nolint:gosec // a constant of the table.
	}
	if len(u.conditions) > 0 && u.conditions[0] >= 0 && req.Condition == 0 && !req.Has(25) {
		req.Condition = uint8(u.conditions[0]) //nolint:gosec // a constant of the table.
		req.Mark(25)
	}
	if d.packed && req.Kind == 0 {
		req.Kind = uint8(u.kind) //nolint:gosec // a constant of the table.
	}
	if len(u.networks) > 0 && u.networks[0] > 0 && req.NetworkCode == 0 {
		req.NetworkCode = uint16(u.networks[0]) //nolint:gosec // a constant of the table.
	}
}
