package dialect

import (
	"bytes"

	"github.com/lianfen/lianfen/points"
)

// hostElements are the elements that only dialect host has.
func hostElements(t *[lastElement + 1]requestElement) {
	t[7] = numeric(10, func(r *points.Request) *uint64 { return &r.Transmission }, checkStamp)
	t[15] = numeric(4, func(r *points.Request) *uint32 { return &r.Settlement }, checkDay)
	t[33] = institution(func(r *points.Request) *points.AcquirerID { return &r.Forwarder })
	t[70] = numeric(3, func(r *points.Request) *uint16 { return &r.NetworkCode }, nil)
	t[74] = onlyClose(numeric(10, func(r *points.Request) *uint32 { return &r.Totals.CreditCount }, checkCount))
	t[76] = onlyClose(numeric(10, func(r *points.Request) *uint32 { return &r.Totals.DebitCount }, checkCount))
	t[75] = onlyClose(numeric(10, func(r *points.Request) *uint32 { return &r.Undone.CreditCount }, checkCount))
	t[77] = onlyClose(numeric(10, func(r *points.Request) *uint32 { return &r.Undone.DebitCount }, checkCount))
	t[86] = onlyClose(amount(16, func(r *points.Request) *points.Amount { return &r.Totals.CreditAmount }))
	t[88] = onlyClose(amount(16, func(r *points.Request) *points.Amount { return &r.Totals.DebitAmount }))
	t[87] = onlyClose(amount(16, func(r *points.Request) *points.Amount { return &r.Undone.CreditAmount }))
	t[89] = onlyClose(amount(16, func(r *points.Request) *points.Amount { return &r.Undone.DebitAmount }))
	t[97] = onlyClose(requestElement{read: readNet97, write: writeNet97})
	t[90] = requestElement{read: readOriginal90, write: writeOriginal90}
	t[95] = requestElement{read: readReplacement95, write: writeReplacement95, late: true}
	t[100] = institution(func(r *points.Request) *points.IssuerID { return &r.Issuer })
	t[103] = requestElement{read: readTarget103, write: writeTarget103, late: true}
	t[125] = pinBlock(16)
	t[128] = requestElement{read: readMAC}
}

// onlyClose keeps totals to the message that has them.
func onlyClose(e requestElement) requestElement {
	read, write := e.read, e.write
	return requestElement{
		read: func(r *points.Request, value []byte) string {
			if r.Function != points.BatchClose {
				return ""
			}
			return read(r, value)
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			if r.Function != points.BatchClose {
				return dst, false
			}
			return write(dst, r)
		},
		late: true,
	}
}

// readNet97 reads what the acquirer is to receive (D, a net debit) or to pay (C).
func readNet97(r *points.Request, value []byte) string {
	r.Net = points.Amount(number(value[1:])) //nolint:gosec // sixteen digits.
	if value[0] == 'C' {
		r.Net = -r.Net
	}
	return ""
}

func writeNet97(dst []byte, r *points.Request) ([]byte, bool) {
	side, net := byte('D'), r.Net
	if net < 0 {
		side, net = 'C', -net
	}
	return appendAmount(append(dst, side), net, 16), r.Net != 0
}

func checkCount(n uint64) string {
	const most = 1<<32 - 1
	if n > most {
		return "a count of more than 4294967295"
	}
	return ""
}

// original90 is the layout of DE90: message type 4, STAN 6, DE7 10, acquirer 11,
// forwarder 11.
func original90() []part60 {
	return []part60{
		{0, 4, "message type", "消息类型"},
		{4, 10, "STAN", "流水号"},
		{10, 20, "transmission time", "传输时间"},
		{20, 31, "acquirer", "受理机构"},
		{31, 42, "forwarder", "发送机构"},
	}
}

func readOriginal90(r *points.Request, value []byte) string {
	if stamp := number(value[10:20]); stamp != 0 && checkStamp(stamp) != "" {
		return "its transmission time is no date and time, want MMDDhhmmss or zeros"
	}
	r.Original = points.Original{
		MTI:          uint16(number(value[0:4])),       //nolint:gosec // four digits.
		STAN:         points.STAN(number(value[4:10])), //nolint:gosec // six digits.
		Transmission: number(value[10:20]),
		Acquirer:     points.AcquirerID(number(value[20:31])),
		Forwarder:    points.AcquirerID(number(value[31:42])),
		Present:      true,
	}
	return ""
}

func writeOriginal90(dst []byte, r *points.Request) ([]byte, bool) {
	o := &r.Original
	dst = appendDecimal(dst, uint64(o.MTI), 4)
	dst = appendDecimal(dst, uint64(o.STAN), 6)
	dst = appendDecimal(dst, o.Transmission, 10)
	dst = appendDecimal(dst, uint64(o.Acquirer), 11)
	return appendDecimal(dst, uint64(o.Forwarder), 11), o.Present
}

// replacement95 is the layout of DE95: actual amount 12, the same for settlement
// 12, fees 9 and 9 (a C or D and eight digits).
func replacement95() []part60 {
	return []part60{
		{0, 12, "actual amount", "实际金额"},
		{12, 24, "actual settlement amount", "实际清算金额"},
		{24, 33, "transaction fee", "交易手续费"},
		{33, 42, "settlement fee", "清算手续费"},
	}
}

// readReplacement95 reads what a reversal leaves standing. Points have no second
// currency and no fees to be replaced: what says otherwise is refused, since a
// reversal that is understood in half gives back points that were spent.
func readReplacement95(r *points.Request, value []byte) string {
	actual, settled := value[:12], value[12:24]
	switch {
	case len(bytes.Trim(value, "0CD ")) == 0:
		return ""
	case r.Function != points.Reversal:
		return "only a reversal has replacement amounts; leave it out or send zeros"
	case !classN.holds(actual) || (!bytes.Equal(settled, actual) && len(bytes.Trim(settled, "0 ")) != 0):
		return "want the actual amount in twelve digits, then the same again or zeros"
	case len(bytes.Trim(value[24:], "0CD ")) != 0:
		return "fees are not supported; send zeros"
	}
	r.Actual = points.Amount(number(actual)) //nolint:gosec // twelve digits.
	return ""
}

func writeReplacement95(dst []byte, r *points.Request) ([]byte, bool) {
	const settlementAndFees = "000000000000000000000000000000"
	dst = appendAmount(dst, r.Actual, 12)
	return append(dst, settlementAndFees...), r.Actual != 0
}

// readTarget103 reads who receives a transfer. In other functions DE103 is an
// account number of the sender's own.
func readTarget103(r *points.Request, value []byte) string {
	if r.Function != points.Transfer {
		return ""
	}
	pan, wrong := parseCard(bytes.TrimRight(value, " "))
	r.TargetPAN = pan
	return wrong
}

func writeTarget103(dst []byte, r *points.Request) ([]byte, bool) {
	if r.Function != points.Transfer {
		return dst, false
	}
	return r.TargetPAN.AppendDigits(dst), !r.TargetPAN.IsZero()
}
