package dialect

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// Explanation is a frame laid out for a person. Card numbers are masked in it, and
// tracks, PIN blocks, keys and chip data are not in it at all, neither as value nor
// as bytes.
type Explanation struct {
	Dialect  string           `json:"dialect"`
	Prefixed bool             `json:"length_prefixed"` // the two length bytes were there
	TPDU     string           `json:"tpdu,omitempty"`  // hexadecimal
	Header   string           `json:"header,omitempty"`
	MTI      string           `json:"mti,omitempty"`
	Answer   bool             `json:"answer"`
	Function string           `json:"function,omitempty"` // of a request
	Reversed string           `json:"reversed,omitempty"`
	Bitmap   string           `json:"bitmap,omitempty"` // as on the wire, hexadecimal
	Fields   []ExplainedField `json:"fields"`
	Fault    *ExplainedFault  `json:"fault,omitempty"`
}

// ExplainedField is one data element.
type ExplainedField struct {
	Number  int             `json:"number"`
	Name    string          `json:"name"`
	Chinese string          `json:"name_zh"`
	Format  string          `json:"format"`
	Wire    string          `json:"wire"` // hexadecimal, length included; ** for a byte that is not shown
	Value   string          `json:"value"`
	Parts   []ExplainedPart `json:"parts,omitempty"`
}

// ExplainedPart is a part of a data element.
type ExplainedPart struct {
	Name    string `json:"name"`
	Chinese string `json:"name_zh"`
	Value   string `json:"value"`
}

// ExplainedFault says what is wrong with the frame. Field is 0 when no element can
// be named.
type ExplainedFault struct {
	Field   int    `json:"field"`
	Name    string `json:"name,omitempty"`
	Chinese string `json:"name_zh,omitempty"`
	Reason  string `json:"reason"`
}

// Guess returns the dialect that frame, with or without its two length bytes, looks
// like; nil when it looks like none.
func Guess(frame []byte) *Dialect {
	body, _ := withoutLength(frame)
	switch {
	case len(body) > tpduSize && body[0] == 0x60 && (body[tpduSize] == 0x60 || body[tpduSize] == 0x61):
		return Pos()
	case len(body) >= 4 && classN.check(body[:4]) == nil:
		return Host()
	default:
		return nil
	}
}

// withoutLength takes the two length bytes off a frame that has them.
func withoutLength(frame []byte) (body []byte, prefixed bool) {
	if len(frame) > 2 && int(binary.BigEndian.Uint16(frame)) == len(frame)-2 {
		return frame[2:], true
	}
	return frame, false
}

// Explain lays out a request or an answer, with or without its two length bytes. It
// explains a broken frame as far as it can be read, names the field at fault and
// returns the [*FormatError] beside.
func (d *Dialect) Explain(frame []byte) (Explanation, error) {
	body, prefixed := withoutLength(frame)
	e := Explanation{Dialect: d.name, Prefixed: prefixed, Fields: []ExplainedField{}}
	m, err := d.open(body)
	if err != nil {
		return e.failed(err)
	}
	defer d.close(m)
	if d.packed {
		e.TPDU = hexOf(m.envelope.TPDU[:])
		e.Header = hexOf(m.envelope.Header[:])
	}
	e.MTI = fmt.Sprintf("%04d", m.envelope.MTI)
	e.Answer = IsAnswer(m.envelope.MTI)
	e.Bitmap = hexOf(body[m.bitmaps.from:m.bitmaps.to])
	if m.envelope.HexMap {
		e.Bitmap = string(body[m.bitmaps.from:m.bitmaps.to])
	}
	wrong := d.readFields(m)
	var req points.Request
	if e.Answer {
		var resp points.Response
		wrong = earlier(wrong, formatErrorOf(d.DecodeResponse(body, &req, &resp)))
	} else {
		wrong = earlier(wrong, formatErrorOf(d.Decode(body, &req)))
		e.Function = nameOf(req.Function)
		e.Reversed = nameOf(req.Reversed)
	}
	for de := 2; de <= lastElement; de++ {
		if m.values[de] != nil {
			e.Fields = append(e.Fields, d.explainField(m, &req, de))
		}
	}
	if wrong != nil {
		return e.failed(wrong)
	}
	return e, nil
}

func nameOf(f points.Function) string {
	if f == 0 {
		return ""
	}
	return f.String()
}

// formatErrorOf returns the concrete error of a function of this package, all of
// whose errors are of that type.
func formatErrorOf(err error) *FormatError {
	wrong, _ := err.(*FormatError) //nolint:errorlint // never wrapped inside this package.
	return wrong
}

func (e *Explanation) failed(wrong *FormatError) (Explanation, error) {
	e.Fault = &ExplainedFault{Field: wrong.Field, Reason: wrong.Reason}
	if wrong.Field != 0 {
		e.Fault.Name, e.Fault.Chinese = elementAt(wrong.Field).en, elementAt(wrong.Field).zh
	}
	return *e, wrong
}

func hexOf(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

func (d *Dialect) explainField(m *message, req *points.Request, de int) ExplainedField {
	spec := d.spec(m.envelope.HexMap).Fields[de].Spec()
	names := elementAt(de)
	field := ExplainedField{Number: de, Name: names.en, Chinese: names.zh, Format: format(spec)}
	enc, length := wireOf(spec)
	value := m.values[de]
	wire := m.body[m.spans[de].from:m.spans[de].to]

	secret := d.secrecyOf(m, req, de)
	switch {
	case secret == cardNumber:
		field.Value = maskCard(value)
	case secret == hidden:
		field.Value = fmt.Sprintf("(%d, not shown)", len(value))
	case enc.chars() == classB && classANS.check(value) != nil:
		field.Value = hexOf(value)
	case enc.chars() == classB && (de == 52 || de == 64 || de == 128):
		field.Value = hexOf(value)
	default:
		field.Value = string(value)
	}
	if secret == shown {
		field.Wire = hexOf(wire)
	} else {
		_, read, _ := length.DecodeLength(spec.Length, wire) // it was read before
		field.Wire = hexOf(wire[:read]) + strings.Repeat("**", len(wire)-read)
	}
	field.Parts = d.explainParts(m, req, de)
	return field
}

// secrecyOf says how the value of de may be shown in this message. Private fields
// are judged by what the message puts there, and hidden where that is not known.
func (d *Dialect) secrecyOf(m *message, req *points.Request, de int) secrecy {
	value := m.values[de]
	switch {
	case de == 48 && d.packed && isTotals(value):
		return shown
	case de == 48 && d.packed:
		return hidden // a batch upload's card numbers; its parts are shown masked
	case de == 48 && !d.packed && req.Class == points.ClassNetwork:
		return hidden // key blocks
	case de == 62 && d.packed && isOpenList(req):
		return shown
	case de == 62 && d.packed && req.Class == points.ClassNetwork:
		return hidden // working keys of a sign-on, lists of a download
	case de == 62 && d.packed && req.Function == points.Transfer:
		return cardNumber
	case de == 62 && IsAnswer(m.envelope.MTI) && isUsed(value):
		return shown
	case (de == 44 || de == 48 || de == 62 || de == 63) && len(value) != used62 && holdsCard(value):
		return hidden
	default:
		return elementAt(de).secret
	}
}

// isOpenList reports whether DE62 of a network message is what anybody may see: a
// terminal's parameters, or card prefixes.
func isOpenList(req *points.Request) bool {
	return req.Class == points.ClassNetwork && (req.NetworkCode == ParameterDownload || req.NetworkCode == BlackListDownload || req.NetworkCode == BlackListEnd)
}

// isTotals tells the totals of a batch close, or the count that ends an upload,
// from the items of an upload.
func isTotals(value []byte) bool { return len(value) == totals48 || len(value) == 4 }

// holdsCard reports whether free text has a run of digits that could be a card
// number, 13 to 19 of them.
func holdsCard(text []byte) bool {
	run := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			run = 0
			continue
		}
		if run++; run >= 13 {
			return true
		}
	}
	return false
}

func maskCard(value []byte) string {
	pan, err := points.ParsePAN(bytes.TrimRight(value, " "))
	if err != nil {
		return strings.Repeat("*", len(value))
	}
	return pan.Masked()
}

// explainParts takes an element apart that has parts.
func (d *Dialect) explainParts(m *message, req *points.Request, de int) []ExplainedPart {
	value := m.values[de]
	answer := IsAnswer(m.envelope.MTI)
	switch {
	case de == 39 && answer:
		reason := d.meaning(value)
		return []ExplainedPart{{reason.String(), reason.Chinese(), reason.English()}}
	case de == 44 && d.packed && len(value) >= 22:
		return cutParts(value, []part60{{0, 11, "issuer", "发卡机构"}, {11, 22, "acquirer", "受理机构"}})
	case de == 48 && d.packed:
		return explain48(value)
	case de == 54:
		return explain54(value)
	case de == 60 && d.packed:
		return cutParts(value, parts60())
	case de == 61 && d.packed:
		return cutParts(value, []part60{
			{0, 6, "batch", "原批次号"},
			{6, 12, "STAN", "原流水号"},
			{12, 16, "date", "原交易日期"},
			{16, 18, "authorisation mode", "授权方式"},
			{18, 29, "authorising institution", "授权机构"},
		})
	case de == 62 && answer && d.packed && req.Class == points.ClassNetwork && req.NetworkCode == ParameterDownload:
		return explainParameters(string(value))
	case de == 62 && answer && isUsed(value):
		return cutParts(value, used62Parts(len(value)))
	case de == 62 && (req.Function == points.Swap) && len(value) == 28:
		return cutParts(value, []part60{{0, 16, "quote", "报价号"}, {16, 28, "expires", "报价有效期"}})
	case de == 63 && d.packed && len(value) >= 3 && !answer:
		return cutParts(value, []part60{{0, 3, "operator or card organisation", "操作员或卡组织"}})
	case de == 90:
		return cutParts(value, original90())
	case de == 95:
		return cutParts(value, replacement95())
	default:
		return nil
	}
}

// cutParts cuts a value where its parts begin; the last part may be short.
// isUsed tells what a points answer has in DE62, programmes and all.
func isUsed(value []byte) bool {
	n, ok := paidIn(value)
	for i := range n {
		at := used62 + i*paid62
		ok = ok && points.ProgramID(number(value[at:at+3])).Valid() //nolint:gosec // three digits.
	}
	return ok
}

func used62Parts(size int) []part60 {
	parts := []part60{{0, 10, "points used", "使用积分"}, {10, used62, "paid otherwise", "自付金额"}}
	for at := used62; at < size; at += paid62 {
		parts = append(parts, part60{at, at + 3, "programme", "积分计划"}, part60{at + 3, at + 15, "points taken", "扣减积分"},
			part60{at + 15, at + paid62, "for so much of the sale", "抵付金额"})
	}
	return parts
}

func cutParts(value []byte, parts []part60) []ExplainedPart {
	var out []ExplainedPart
	for _, p := range parts {
		if p.from >= len(value) {
			break
		}
		out = append(out, ExplainedPart{p.en, p.zh, strings.TrimSpace(string(value[p.from:min(p.to, len(value))]))})
	}
	return out
}

func explain48(value []byte) []ExplainedPart {
	switch {
	case len(value) == totals48:
		return cutParts(value, []part60{
			{0, 12, "debit amount", "借记总金额"},
			{12, 15, "debit count", "借记总笔数"},
			{15, 27, "credit amount", "贷记总金额"},
			{27, 30, "credit count", "贷记总笔数"},
			{30, 31, "result", "对账结果"},
		})
	case len(value) == 4:
		return cutParts(value, []part60{{0, 4, "items sent", "上送总笔数"}})
	}
	items, wrong := parseUpload(value)
	if wrong != "" {
		return nil
	}
	var out []ExplainedPart
	for i := range items {
		item := &items[i]
		out = append(out, ExplainedPart{"item", "明细", fmt.Sprintf("kind %02d STAN %s card %s amount %d",
			item.Kind, item.STAN, item.PAN, item.Amount)})
	}
	return out
}

func explain54(value []byte) []ExplainedPart {
	var out []ExplainedPart
	for ; len(value) >= balanceSize; value = value[balanceSize:] {
		entry := value[:balanceSize]
		name, zh := "balance, type "+string(entry[2:4]), "余额"
		switch string(entry[2:4]) {
		case "01":
			name, zh = "ledger balance", "账面余额"
		case "02":
			name, zh = "available balance", "可用余额"
		}
		out = append(out, ExplainedPart{name, zh, fmt.Sprintf("programme %s %c %s", entry[4:7], entry[7], entry[8:])})
	}
	return out
}
