package dialect

import (
	"github.com/lianfen/lianfen/points"
)

// posElements are the private elements of dialect pos.
func posElements(t *[lastElement + 1]requestElement) {
	// DE26 says how long a PIN may be; the switch has no use for it.
	t[26] = requestElement{
		read:  func(*points.Request, []byte) string { return "" },
		write: func(dst []byte, r *points.Request) ([]byte, bool) { return append(dst, "06"...), r.PINLen > 0 },
	}
	t[48] = requestElement{read: readTotals48, write: writeTotals48, late: true}
	t[59] = requestElement{read: readKeys59, write: writeKeys59}
	t[60] = requestElement{read: readBatch60, write: writeBatch60}
	t[61] = requestElement{read: readOriginal61, write: writeOriginal61}
	t[63] = requestElement{
		read: func(r *points.Request, value []byte) string {
			if len(value) < len(r.Operator) || classANS.check(value[:len(r.Operator)]) != nil {
				return "shorter than an operator or card organisation of 3 characters, or not printable"
			}
			copy(r.Operator[:], value)
			return ""
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			return append(dst, r.Operator[:]...), !isBlank(r.Operator[:])
		},
	}
}

func readKeys59(r *points.Request, value []byte) string {
	if n := len(value); n != ksnSize && n != pinBlockSize && n != ksnSize+pinBlockSize {
		return "not a key serial number of 12 bytes, a PIN block of 16, or the one behind the other"
	}
	if len(value) != pinBlockSize {
		copy(r.KSN[:], value)
		value = value[ksnSize:]
	}
	if len(value) > 0 {
		copy(r.PIN[:], value)
		r.PINLen = pinBlockSize
	}
	return ""
}

func writeKeys59(dst []byte, r *points.Request) ([]byte, bool) {
	start := len(dst)
	if r.KSN != [ksnSize]byte{} {
		dst = append(dst, r.KSN[:]...)
	}
	if r.PINLen == pinBlockSize && r.Function != points.Reversal { // A reversal brings no PIN.
		dst = append(dst, r.PIN[:]...)
	}
	return dst, len(dst) > start
}

// part60 is one of the seven parts of DE60: its first digit and the digit behind its last.
type part60 struct {
	from, to int
	en, zh   string
}

// parts60 lays DE60 out. An acquirer's own digits behind the seventh part are
// not read.
func parts60() []part60 {
	return []part60{
		{0, 2, "kind", "交易类型码"},
		{2, 8, "batch", "批次号"},
		{8, 11, "network code", "网络管理信息码"},
		{11, 12, "terminal capability", "终端读取能力"},
		{12, 13, "chip condition", "IC卡条件代码"},
		{13, 14, "part in points accepted", "支持部分扣款标志"},
		{14, 17, "account type", "账户类型"},
	}
}

// shortest60 is DE60.1 to 60.3, without which a pos message has no function.
const shortest60 = 11

func readBatch60(r *points.Request, value []byte) string {
	if len(value) < shortest60 {
		return "shorter than its first three parts, want 11 digits"
	}
	if len(value) > 14 && len(value) < 17 {
		return "cut inside its seventh part, want 11 to 14 digits or 17 and more"
	}
	r.Kind = uint8(number(value[0:2]))          //nolint:gosec // two digits.
	r.Batch = uint32(number(value[2:8]))        //nolint:gosec // six digits.
	r.NetworkCode = uint16(number(value[8:11])) //nolint:gosec // three digits.
	if len(value) >= 14 {
		r.PartialOK = value[13] == '1'
	}
	if len(value) >= 17 {
		r.AccountType = uint16(number(value[14:17])) //nolint:gosec // three digits.
	}
	return ""
}

func writeBatch60(dst []byte, r *points.Request) ([]byte, bool) {
	dst = appendHead60(dst, r.Kind, r.Batch, r.NetworkCode)
	if r.PartialOK || r.AccountType != 0 {
		partial := byte('0')
		if r.PartialOK {
			partial = '1'
		}
		dst = append(dst, '0', '0', partial)
		dst = appendDecimal(dst, uint64(r.AccountType), 3)
	}
	return dst, true
}

// appendHead60 appends the first three parts of DE60, all that an answer has.
func appendHead60(dst []byte, kind uint8, batch uint32, network uint16) []byte {
	dst = appendDecimal(dst, uint64(kind), 2)
	dst = appendDecimal(dst, uint64(batch), 6)
	return appendDecimal(dst, uint64(network), 3)
}

// DE61: batch 6, STAN 6, date 4, authorisation mode 2, authorising institution
// up to 11. Terminals stop after any of them.
const (
	shortest61 = 12
	dated61    = 16
)

func readOriginal61(r *points.Request, value []byte) string {
	if len(value) < shortest61 || (len(value) > shortest61 && len(value) < dated61) {
		return "want batch 6 and STAN 6, then date 4 or nothing"
	}
	r.Original = points.Original{
		Batch:   uint32(number(value[0:6])),       //nolint:gosec // six digits.
		STAN:    points.STAN(number(value[6:12])), //nolint:gosec // six digits.
		Present: true,
	}
	if len(value) >= dated61 {
		date := number(value[12:16])
		if date != 0 && checkDay(date) != "" {
			return "its date is not a day of the year, want MMDD or 0000"
		}
		r.Original.Date = uint32(date) //nolint:gosec // four digits.
	}
	return ""
}

func writeOriginal61(dst []byte, r *points.Request) ([]byte, bool) {
	dst = appendDecimal(dst, uint64(r.Original.Batch), 6)
	dst = appendDecimal(dst, uint64(r.Original.STAN), 6)
	return appendDecimal(dst, uint64(r.Original.Date), 4), r.Original.Present
}

// totals48 is the length of DE48 in a batch close: debit amount 12 and count 3,
// credit amount 12 and count 3, result 1, and the same again for foreign cards,
// which points do not have.
const totals48 = 62

// Results of a batch close, position 31 of DE48 (and DE66 of host).
const (
	totalsEqual   = '1'
	totalsUnequal = '2'
	totalsError   = '3'
)

func readTotals48(r *points.Request, value []byte) string {
	switch r.Function {
	case points.BatchClose:
		if len(value) != totals48 {
			return "not the totals of a batch, want 62 digits"
		}
		r.Totals = parseTotals(value)
		return ""
	case points.BatchUploadEnd:
		if len(value) != 4 {
			return "not the number of items sent, want 4 digits"
		}
		r.Totals.DebitCount = uint32(number(value)) //nolint:gosec // four digits.
		return ""
	case points.BatchUpload:
		_, wrong := parseUpload(value)
		return wrong
	default:
		return ""
	}
}

func parseTotals(value []byte) points.Totals {
	return points.Totals{
		DebitAmount:  points.Amount(number(value[0:12])),  //nolint:gosec // twelve digits.
		DebitCount:   uint32(number(value[12:15])),        //nolint:gosec // three digits.
		CreditAmount: points.Amount(number(value[15:27])), //nolint:gosec // twelve digits.
		CreditCount:  uint32(number(value[27:30])),        //nolint:gosec // three digits.
	}
}

func writeTotals48(dst []byte, r *points.Request) ([]byte, bool) {
	switch r.Function {
	case points.BatchClose:
		return appendTotals(dst, &r.Totals, '0'), true
	case points.BatchUploadEnd:
		return appendDecimal(dst, uint64(r.Totals.DebitCount), 4), true
	default:
		return dst, false
	}
}

func appendTotals(dst []byte, t *points.Totals, result byte) []byte {
	dst = appendAmount(dst, t.DebitAmount, 12)
	dst = appendDecimal(dst, uint64(t.DebitCount), 3)
	dst = appendAmount(dst, t.CreditAmount, 12)
	dst = appendDecimal(dst, uint64(t.CreditCount), 3)
	dst = append(dst, result)
	dst = append(dst, "000000000000000000000000000000"...) // foreign cards: none
	return append(dst, result)
}
