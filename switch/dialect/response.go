package dialect

import (
	"bytes"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// AppendResponse appends the frame that answers req with resp, without length
// bytes, and returns the extended slice. req is what [Dialect.Decode] filled, after
// an error that was not fatal too. The answer echoes what the sender matches on;
// DE38, 54 and 62 go out with approvals only. A MAC field goes out where the
// request carried one, filled with zeros: whoever holds the key writes over it.
//
// DE4 differs from the request's only when part was approved. Amounts past their
// field are written as the field's largest. DE62 is left out when the points used
// do not fit its ten digits.
func (d *Dialect) AppendResponse(dst []byte, req *points.Request, resp *points.Response) []byte {
	// The error would name a field that does not pack and is left out. Whatever is
	// echoed has passed Decode and whatever is ours is bounded, so there is none; the
	// tests hold it to that. If there were, an answer without one field is better
	// than no answer.
	dst, _ = d.appendAnswer(dst, req, resp, nil)
	return dst
}

func (d *Dialect) appendAnswer(dst []byte, req *points.Request, resp *points.Response, echo48 []byte) ([]byte, error) {
	f := d.blank(req.Envelope)
	defer d.discard(f)
	d.draftAnswer(f, req, resp, echo48)
	return d.append(dst, f)
}

// draftAnswer writes the elements of an answer into f, which has the request's envelope.
func (d *Dialect) draftAnswer(f *draft, req *points.Request, resp *points.Response, echo48 []byte) {
	f.envelope.MTI = AnswerTo(req.Envelope.MTI)
	if d.packed {
		t := &f.envelope.TPDU
		t[1], t[2], t[3], t[4] = t[3], t[4], t[1], t[2]
		if resp.Please != 0 {
			status := &f.envelope.Header[pleaseAt]
			*status = *status&0xF0 | byte(resp.Please)&0x0F
		}
	}
	d.echo(f, req)
	common(f, req, resp)
	if d.packed {
		posAnswer(f, req, resp)
	} else {
		hostAnswer(f, req, resp)
	}
	if echo48 != nil {
		f.put(48, echo48)
	}
	// A message that is not authenticated is not answered as if it were.
	if (req.Has(64) || req.Has(128)) && resp.Reason != points.BadMAC {
		var unsigned [8]byte
		f.keep(d.macElement(f), append(f.text, unsigned[:]...))
	}
}

// echoed lists the elements that an answer gives back as they came.
func (d *Dialect) echoed() []int {
	if d.packed {
		return []int{3, 4, 11, 25, 32, 41, 42, 49, 50, 60}
	}
	return []int{3, 4, 7, 11, 12, 13, 25, 32, 33, 37, 41, 42, 49, 50, 70, 74, 75, 76, 77, 86, 87, 88, 89, 90, 97}
}

func (d *Dialect) echo(f *draft, req *points.Request) {
	for _, de := range d.echoes {
		if !req.Has(de) {
			continue
		}
		longer, _ := d.requests[de].write(f.text, req)
		f.keep(de, longer)
	}
}

// common writes what both dialects answer alike.
func common(f *draft, req *points.Request, resp *points.Response) {
	if req.Has(4) && resp.Reason == points.ApprovedPartly {
		f.keep(4, appendBounded(f.text, resp.Amount, 12))
	}
	if resp.Date != 0 {
		f.keep(15, appendDecimal(f.text, uint64(resp.Date.MMDD()), 4))
	}
	if !req.Has(32) && resp.Acquirer != 0 {
		f.keep(32, appendInstitution(f.text, resp.Acquirer))
	}
	f.keep(39, append(f.text, answerCode(req, resp)...))
	if !resp.Reason.Approved() {
		return
	}
	if !isBlank(resp.AuthCode[:]) {
		f.keep(38, append(f.text, resp.AuthCode[:]...))
	}
	f.keep(54, appendBalances(f.text, resp))
	f.keep(62, appendUsed(f.text, resp))
	if resp.Granted > 0 {
		f.keep(5, appendBounded(f.text, resp.Granted, 12))
		f.keep(9, appendDecimal(f.text, uint64(min(resp.Ratio, 99_999_999)), 8))
	}
	if req.Function == points.Download || req.Function == points.SwapQuote {
		f.keep(62, append(f.text, resp.List...))
	}
}

// pleaseAt is the byte of the header with the terminal's status and, in an answer, what
// it is asked to do.
const pleaseAt = 2

// answerCode is DE39. A batch that does not balance is not refused: the answer is 00
// and the result in DE48 or DE66 says unequal, upon which the terminal sends its
// transactions up.
func answerCode(req *points.Request, resp *points.Response) string {
	if req.Function == points.BatchClose && resp.Reason == points.TotalsDiffer {
		return points.Approved.DE39()
	}
	return resp.Reason.DE39()
}

// appendBounded appends an amount of ours, cut to what width digits hold.
func appendBounded(dst []byte, a points.Amount, width int) []byte {
	longer := appendDecimal(dst, uint64(max(a, 0)), width)
	if len(longer)-len(dst) <= width {
		return longer
	}
	longer = longer[:len(dst)+width]
	for i := len(dst); i < len(longer); i++ {
		longer[i] = '9'
	}
	return longer
}

// balanceSize is an entry of DE54: account type 2, amount type 2, currency 3, C
// or D, amount 12.
const balanceSize = 20

func appendBalances(dst []byte, resp *points.Response) []byte {
	for _, b := range resp.Balances[:min(int(resp.NBalances), len(resp.Balances))] {
		sign, magnitude := byte('C'), b.Amount
		if magnitude < 0 {
			sign = 'D'
			if opposite, ok := magnitude.Neg(); ok {
				magnitude = opposite
			} else {
				magnitude = points.MaxAmount
			}
		}
		dst = append(dst, '0', '0')
		dst = appendDecimal(dst, uint64(b.Kind), 2)
		dst = appendProgram(dst, b.Program)
		dst = append(dst, sign)
		dst = appendBounded(dst, magnitude, 12)
	}
	return dst
}

// used62 is DE62 of a points answer: points used 10, amount paid otherwise 12. Behind it
// stands, of a sale that several programmes paid, for each: programme 3, points taken 12,
// what they cover of the sale 12.
const used62, paid62 = 22, 3 + 12 + 12

// paidIn is how many programmes stand in a DE62 of an answer; ok is false where it is no
// such field.
func paidIn(value []byte) (n int, ok bool) {
	n = (len(value) - used62) / paid62
	return n, len(value) >= used62 && (len(value)-used62)%paid62 == 0 && n <= points.MaxPaid && classN.check(value) == nil
}

func appendUsed(dst []byte, resp *points.Response) []byte {
	const mostUsed points.Amount = 9_999_999_999
	if (resp.Used == 0 && resp.SelfPaid == 0) || resp.Used < 0 || resp.Used > mostUsed {
		return dst
	}
	dst = appendBounded(appendBounded(dst, resp.Used, 10), resp.SelfPaid, 12)
	for _, p := range resp.Paid[:min(int(resp.NPaid), len(resp.Paid))] {
		dst = appendBounded(appendBounded(appendProgram(dst, p.Program), p.Amount, 12), p.Covers, 12)
	}
	return dst
}

// posAnswer writes what dialect pos adds: the clock, the RRN, the two
// institutions, the batch.
func posAnswer(f *draft, req *points.Request, resp *points.Response) {
	if resp.LocalDate != 0 && checkDay(uint64(resp.LocalDate)) == "" && checkClock(uint64(resp.LocalTime)) == "" {
		f.keep(12, appendDecimal(f.text, uint64(resp.LocalTime), 6))
		f.keep(13, appendDecimal(f.text, uint64(resp.LocalDate), 4))
	}
	if resp.Position != 0 {
		rrn := resp.Position.RRN()
		f.keep(37, append(f.text, rrn[:]...))
	}
	if resp.Issuer != 0 && resp.Issuer <= points.MaxInstitution && resp.Acquirer <= points.MaxInstitution {
		f.keep(44, appendPart44(appendPart44(f.text, resp.Issuer), resp.Acquirer))
	}
	if (req.Function == points.SignOn || req.Function == points.KeyChange) && resp.Reason.Approved() {
		f.keep(62, append(f.text, resp.List...))
	}
	if req.Has(60) {
		batch := req.Batch
		if req.Function == points.SignOn && resp.Reason.Approved() && resp.Batch != 0 && resp.Batch <= maxBatch {
			batch = resp.Batch
		}
		f.keep(60, appendHead60(f.text, req.Kind, batch, req.NetworkCode))
	}
	if !req.Has(48) {
		return
	}
	switch req.Function {
	case points.BatchClose:
		f.keep(48, appendTotals(f.text, &req.Totals, totalsResult(resp.Reason)))
	case points.BatchUploadEnd:
		f.keep(48, appendDecimal(f.text, uint64(req.Totals.DebitCount), 4))
	default:
	}
}

// size44 is an institution in DE44 of pos, blanks behind.
const size44 = 11

func appendPart44[T unsigned](dst []byte, id T) []byte {
	longer := appendInstitution(dst, id)
	for len(longer)-len(dst) < size44 {
		longer = append(longer, ' ')
	}
	return longer
}

// maxBatch is the largest batch number, six digits.
const maxBatch = 999_999

// totalsResult says whether the sender's totals were found right.
func totalsResult(reason points.Reason) byte {
	switch reason {
	case points.Approved:
		return totalsEqual
	case points.TotalsDiffer:
		return totalsUnequal
	default:
		return totalsError
	}
}

// positionTag stands before our RRN in DE63 of host, where DE37 is the acquirer's.
const positionTag = "RRN"

// faultTag stands before the number of the element at fault in DE44 of host.
const faultTag = "FIELD "

// maxDetail and maxText are the widths of DE44, and of DE48 and DE120.
const maxDetail, maxText = 25, 999

// hostAnswer writes what dialect host adds: the detail, our RRN, the issuer, the
// programme that was used.
func hostAnswer(f *draft, req *points.Request, resp *points.Response) {
	switch {
	case resp.Detail != "":
		f.keep(44, appendPrintable(f.text, resp.Detail, maxDetail))
	case resp.Field != 0:
		f.keep(44, appendDecimal(append(f.text, faultTag...), uint64(resp.Field), 3))
	}
	if resp.Program != 0 && resp.Program <= 999 && req.Program == 0 && req.Function != 0 && req.Class != points.ClassNetwork {
		f.keep(49, appendProgram(f.text, resp.Program))
	}
	if resp.Position != 0 {
		rrn := resp.Position.RRN()
		f.keep(63, append(append(f.text, positionTag...), rrn[:]...))
	}
	// Only where the request named one: DE100 alone would widen the bitmap and move
	// the MAC of a peer that knows 64 bits.
	if req.Has(100) && resp.Issuer != 0 && resp.Issuer <= points.MaxInstitution {
		f.keep(100, appendInstitution(f.text, resp.Issuer))
	}
	switch {
	case req.Function == points.BatchClose:
		f.keep(66, append(f.text, totalsResult(resp.Reason)))
	case req.Function == points.KeyChange && resp.Reason.Approved():
		f.keep(48, appendPrintable(f.text, resp.Check, maxText))
		f.keep(120, appendPrintable(f.text, resp.List, maxText))
	}
}

// appendPrintable appends limit bytes of text at most, with a blank for what ASCII
// does not print.
func appendPrintable(dst []byte, text string, limit int) []byte {
	for i := range min(len(text), limit) {
		c := text[i]
		if c < ' ' || c > '~' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}

// MACSpan returns the stretch of a frame that its MAC covers: from the message
// type to the field before the MAC, as sent. ok is false when the frame carries no
// MAC or cannot be read.
func (d *Dialect) MACSpan(frame []byte) (from, to int, ok bool) {
	m, err := d.open(frame)
	if err != nil {
		return 0, 0, false
	}
	defer d.close(m)
	if err := d.readFields(m); err != nil {
		return 0, 0, false
	}
	for _, de := range [...]int{128, 64} {
		if m.values[de] != nil {
			return d.preamble(), m.spans[de].from, true
		}
	}
	return 0, 0, false
}

// DecodeResponse reads an answer. It resets both values, fills resp with what the
// answer says, and req with what finds the request it belongs to: envelope, door,
// class, and the elements that an answer echoes; its Function stays 0. Of resp.Date
// only month and day are known, the year is not on the wire. Several reasons share a
// code: resp.Reason is the one that the code means when an issuer sends it. Every
// error is a [*FormatError].
func (d *Dialect) DecodeResponse(frame []byte, req *points.Request, resp *points.Response) error {
	req.Reset()
	*resp = points.Response{}
	m, wrong := d.open(frame)
	if wrong != nil {
		return wrong
	}
	defer d.close(m)
	if wrong := d.beginAnswer(m, req); wrong != nil {
		return wrong
	}
	if wrong := d.interpretAnswer(m, req, resp, d.readFields(m)); wrong != nil {
		return wrong
	}
	return nil
}

// beginAnswer tells req what stands before the fields, and refuses a request.
func (d *Dialect) beginAnswer(m *message, req *points.Request) *FormatError {
	req.Envelope, req.Door = m.envelope, d.door()
	mti := m.envelope.MTI
	if !IsAnswer(mti) {
		return fatal("message type %04d is a request, want an answer", mti)
	}
	req.Class = points.Class(mti / 100 % 10)
	return nil
}

// interpretAnswer fills req and resp with what the fields of m say, first being what
// is wrong with them, and returns the first fault of all.
func (d *Dialect) interpretAnswer(m *message, req *points.Request, resp *points.Response, first *FormatError) *FormatError {
	for _, de := range d.echoes {
		first = earlier(first, d.understandEcho(m, req, de))
	}
	for _, de := range [...]int{37, 64, 128} {
		first = earlier(first, d.understandEcho(m, req, de))
	}
	first = earlier(first, d.readAnswer(m, resp))
	if first == nil && m.values[39] == nil {
		first = fault(39, "missing; an answer must carry it")
	}
	return first
}

func (d *Dialect) understandEcho(m *message, req *points.Request, de int) *FormatError {
	e := &d.requests[de]
	if m.values[de] == nil || e.read == nil || req.Has(de) {
		return nil
	}
	if wrong := e.read(req, m.values[de]); wrong != "" {
		return fault(de, "%s", wrong)
	}
	req.Mark(de)
	return nil
}

// readAnswer fills resp. Elements are taken in the order of their numbers, so that
// the first fault is the first on the wire.
func (d *Dialect) readAnswer(m *message, resp *points.Response) *FormatError {
	v := &m.values
	if v[4] != nil {
		resp.Amount = points.Amount(number(v[4])) //nolint:gosec // twelve digits.
	}
	if wrong := d.readTimes(m, resp); wrong != nil {
		return wrong
	}
	if v[32] != nil {
		resp.Acquirer = points.AcquirerID(number(v[32]))
	}
	copy(resp.AuthCode[:], v[38])
	if v[39] != nil {
		resp.Reason = d.meaning(v[39])
	}
	if v[49] != nil {
		id, wrong := parseProgram(v[49])
		if wrong != "" {
			return fault(49, "%s", wrong)
		}
		resp.Program = id
	}
	if v[54] != nil {
		if wrong := readBalances(v[54], resp); wrong != "" {
			return fault(54, "%s", wrong)
		}
	}
	if m.envelope.MTI/100%10 != uint16(points.ClassNetwork) { // There it is what a download brings.
		readUsed(v[62], resp)
		readSwap(v[5], v[9], v[62], resp)
	}
	if d.packed {
		readPosAnswer(m, resp)
	} else {
		readHostAnswer(m, resp)
	}
	closed := IsAnswer(m.envelope.MTI) && m.envelope.MTI/100%10 == uint16(points.ClassTotals)
	if closed && resp.Reason == points.Approved && d.resultOf(m) == totalsUnequal {
		resp.Reason = points.TotalsDiffer
	}
	return nil
}

// readUsed reads DE62 of a points answer; what is none is left alone.
func readUsed(value []byte, resp *points.Response) {
	n, ok := paidIn(value)
	if !ok {
		return
	}
	amount := func(from, to int) points.Amount { return points.Amount(number(value[from:to])) } //nolint:gosec // twelve digits at most.
	resp.Used, resp.SelfPaid = amount(0, 10), amount(10, used62)
	for i := range n {
		at := used62 + i*paid62
		program := points.ProgramID(number(value[at : at+3])) //nolint:gosec // three digits.
		resp.AddPaid(points.Paid{Program: program, Amount: amount(at+3, at+15), Covers: amount(at+15, at+paid62)})
	}
}

// readSwap reads DE5, 9 and 62 of the answer to a swap or its quote.
func readSwap(granted, ratio, quote []byte, resp *points.Response) {
	if granted == nil || ratio == nil {
		return
	}
	resp.Granted, resp.Ratio = points.Amount(number(granted)), uint32(number(ratio)) //nolint:gosec // twelve and eight digits.
	if len(quote) == points.QuoteSize {
		resp.List = string(quote)
	}
}

// resultOf returns the result of a batch close, 0 where there is none.
func (d *Dialect) resultOf(m *message) byte {
	switch {
	case d.packed && len(m.values[48]) == totals48:
		return m.values[48][30]
	case !d.packed && len(m.values[66]) == 1:
		return m.values[66][0]
	default:
		return 0
	}
}

func (d *Dialect) readTimes(m *message, resp *points.Response) *FormatError {
	v := &m.values
	if v[12] != nil {
		if wrong := checkClock(number(v[12])); wrong != "" {
			return fault(12, "%s", wrong)
		}
		resp.LocalTime = uint32(number(v[12])) //nolint:gosec // six digits.
	}
	for _, de := range [...]int{13, 15} {
		if v[de] == nil {
			continue
		}
		if wrong := checkDay(number(v[de])); wrong != "" {
			return fault(de, "%s", wrong)
		}
	}
	if v[13] != nil {
		resp.LocalDate = uint32(number(v[13])) //nolint:gosec // four digits.
	}
	if v[15] != nil {
		resp.Date = points.BusinessDate(number(v[15])) //nolint:gosec // four digits.
	}
	return nil
}

// readBalances reads DE54. Amount types other than ledger and available balance
// are somebody else's and are passed over.
func readBalances(value []byte, resp *points.Response) (wrong string) {
	if len(value)%balanceSize != 0 {
		return "want entries of 20 characters"
	}
	for ; len(value) > 0; value = value[balanceSize:] {
		entry := value[:balanceSize]
		sign := entry[7]
		if classN.check(entry[:7]) != nil || classN.check(entry[8:]) != nil || (sign != 'C' && sign != 'D') {
			return "an entry that is not seven digits, C or D, twelve digits"
		}
		b := points.Balance54{
			Kind:   points.BalanceKind(number(entry[2:4])), //nolint:gosec // two digits.
			Amount: points.Amount(number(entry[8:])),       //nolint:gosec // twelve digits.
		}
		if b.Kind != points.LedgerBalance && b.Kind != points.AvailableBalance {
			continue
		}
		if b.Program, wrong = parseProgram(entry[4:7]); wrong != "" {
			return wrong
		}
		if sign == 'D' {
			b.Amount = -b.Amount
		}
		resp.AddBalance(b)
	}
	return ""
}

// signOnAnswer is the message type of the answer to a sign-on.
const signOnAnswer = 810

func readPosAnswer(m *message, resp *points.Response) {
	v := &m.values
	resp.Please = points.Please(m.envelope.Header[pleaseAt] & 0x0F)
	if v[37] != nil {
		if position, err := points.ParseRRN(v[37]); err == nil {
			resp.Position = position
		}
	}
	resp.Issuer = points.IssuerID(part44(v[44], 0))
	if acquirer := part44(v[44], size44); acquirer != 0 {
		resp.Acquirer = points.AcquirerID(acquirer)
	}
	if len(v[60]) >= shortest60 {
		resp.Batch = uint32(number(v[60][2:8])) //nolint:gosec // six digits.
		network := m.envelope.MTI/100%10 == uint16(points.ClassNetwork)
		code := int(number(v[60][8:11]))                                                                                                     //nolint:gosec // three digits.
		if network && (slices.Contains(downloads(), code) || (m.envelope.MTI == signOnAnswer && bringsKeys(int(number(v[60][:2])), code))) { //nolint:gosec // two digits.
			resp.List = string(v[62])
		}
	}
}

// bringsKeys reports whether DE62 of an answer 0810 holds keys, by 60.1 and 60.3.
func bringsKeys(kind, code int) bool {
	return kind == 0 && code <= SignOnHMAC || kind == masterKind && code == masterCode
}

// part44 reads one of the two institutions of DE44, 0 where there is none.
func part44(value []byte, from int) uint64 {
	if len(value) <= from {
		return 0
	}
	digits := bytes.TrimSpace(value[from:min(len(value), from+size44)])
	if classN.check(digits) != nil {
		return 0
	}
	return number(digits)
}

func readHostAnswer(m *message, resp *points.Response) {
	v := &m.values
	if de, ok := fault44(v[44]); ok {
		resp.Field = de
	} else {
		resp.Detail = string(v[44])
	}
	if rrn, ok := bytes.CutPrefix(v[63], []byte(positionTag)); ok {
		if position, err := points.ParseRRN(rrn); err == nil {
			resp.Position = position
		}
	}
	if v[100] != nil {
		resp.Issuer = points.IssuerID(number(v[100]))
	}
	if network := m.envelope.MTI/100%10 == uint16(points.ClassNetwork); network && v[70] != nil && number(v[70]) == keyChange {
		resp.Check, resp.List = string(v[48]), string(v[120])
	}
}

// fault44 reads the number of the element at fault in DE44 of host.
func fault44(detail []byte) (de uint8, ok bool) {
	digits, tagged := bytes.CutPrefix(detail, []byte(faultTag))
	if !tagged || len(digits) != 3 || !classN.holds(digits) || number(digits) > lastElement {
		return 0, false
	}
	return uint8(number(digits)), true //nolint:gosec // at most 128, checked above.
}

// meanings turns the table of reasons round: for each DE39 the reason that an
// answer with it has. Several reasons share a code; the preferred ones are what
// the code says when an issuer, not our own door, sends it.
func meanings() map[string]points.Reason {
	preferred := []points.Reason{
		points.DuplicateOther, points.IssuerDown, points.NotPermitted, points.TerminalBlocked, points.InternalError,
	}
	known := make(map[string]points.Reason)
	for _, reason := range append(preferred, points.Reasons()...) {
		if _, taken := known[reason.DE39()]; !taken {
			known[reason.DE39()] = reason
		}
	}
	// Codes of the UnionPay convention that we read and never send.
	for code, reason := range map[string]points.Reason{
		"11": points.Approved, // done, VIP tier
		"A4": points.ApprovedStandIn, "A5": points.ApprovedStandIn, "A6": points.ApprovedStandIn,
		"38": points.PINTriesExceeded,
		"90": points.IssuerDown, // cut-over, try later
	} {
		if _, taken := known[code]; !taken {
			known[code] = reason
		}
	}
	return known
}

// meaning returns the reason of an answer code; one that nobody knows declines.
func (d *Dialect) meaning(code []byte) points.Reason {
	if reason := d.codes[codeIndex(code)]; reason != 0 {
		return reason
	}
	return points.DoNotHonour
}

const (
	base36 = 36                // the characters that answer codes are made of
	noCode = base36*base36 - 1 // ZZ, which no table of answers has
)

// codeIndex is the place of an answer code in the dialect's codes: two characters,
// digits or capitals, as a number of base 36; noCode for any other.
func codeIndex(code []byte) int {
	if len(code) != 2 {
		return noCode
	}
	index := 0
	for _, c := range code {
		switch {
		case c >= '0' && c <= '9':
			index = index*base36 + int(c-'0')
		case c >= 'A' && c <= 'Z':
			index = index*base36 + int(c-'A') + 10
		default:
			return noCode
		}
	}
	return index
}
