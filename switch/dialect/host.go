package dialect

import (
	"maps"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/field"

	"github.com/lianfen/lianfen/points"
)

// hostSpec is the field table of dialect host, ISO 8583:1987 in ASCII. With
// hexMap the bitmap and the binary fields are hexadecimal characters, else raw
// bytes.
func hostSpec(hexMap bool) *iso8583.MessageSpec {
	form := hostForm{name: "lianfen host, raw bitmap", binary: characters{class: classB}, length: textLength{count: 3, unit: 1}}
	if hexMap {
		form = hostForm{name: "lianfen host, hexadecimal bitmap", binary: hexadecimal{}, length: textLength{count: 3, unit: 2}}
	}
	fields := map[int]field.Field{
		0: fixed(0, 4, characters{class: classN}),
		1: bitmap(form.binary),
	}
	form.primary(fields)
	form.secondary(fields)
	return &iso8583.MessageSpec{Name: form.name, Fields: fields}
}

// hostForm is what differs between the two forms of a host frame: how binary
// fields stand on the wire, and the length in front of one.
type hostForm struct {
	name   string
	binary wireEncoder
	length wirePrefixer
}

// primary describes the elements of the first bitmap.
func (form hostForm) primary(fields map[int]field.Field) {
	var (
		n   = characters{class: classN}
		an  = characters{class: classAN}
		ans = characters{class: classANS}
		z   = characters{class: classZ}
		ll  = textLength{count: 2, unit: 1}
		lll = textLength{count: 3, unit: 1}
	)
	maps.Copy(fields, map[int]field.Field{
		2:  variable(2, points.MaxPANDigits, n, ll),
		3:  fixed(3, 6, n),
		4:  fixed(4, 12, n),
		5:  fixed(5, 12, n),
		7:  fixed(7, 10, n),
		9:  fixed(9, 8, n),
		11: fixed(11, 6, n),
		12: fixed(12, 6, n),
		13: fixed(13, 4, n),
		14: fixed(14, 4, n),
		15: fixed(15, 4, n),
		18: fixed(18, 4, n),
		22: fixed(22, 3, n),
		23: fixed(23, 3, n),
		25: fixed(25, 2, n),
		32: variable(32, 11, n, ll),
		33: variable(33, 11, n, ll),
		35: variable(35, 37, z, ll),
		36: variable(36, 104, z, lll),
		37: fixed(37, 12, an),
		38: fixed(38, 6, an),
		39: fixed(39, 2, an),
		41: fixed(41, 8, ans),
		42: fixed(42, 15, ans),
		43: fixed(43, 40, ans),
		44: variable(44, 25, ans, ll),
		48: variable(48, 999, ans, lll),
		49: fixed(49, 3, an),
		50: fixed(50, 3, an),
		52: fixed(52, 8, form.binary),
		53: fixed(53, 16, n),
		54: variable(54, 20*points.MaxBalances, an, lll),
		62: variable(62, 999, ans, lll),
		63: variable(63, 999, ans, lll),
		64: fixed(64, 8, form.binary),
	})
}

// secondary describes the elements of the second bitmap.
func (form hostForm) secondary(fields map[int]field.Field) {
	var (
		n   = characters{class: classN}
		an  = characters{class: classAN}
		ans = characters{class: classANS}
		xn  = characters{class: classXN}
		ll  = textLength{count: 2, unit: 1}
		lll = textLength{count: 3, unit: 1}
	)
	maps.Copy(fields, map[int]field.Field{
		66:  fixed(66, 1, n),
		70:  fixed(70, 3, n),
		90:  fixed(90, 42, n),
		95:  fixed(95, 42, an),
		97:  fixed(97, 17, xn),
		100: variable(100, 11, n, ll),
		102: variable(102, 28, ans, ll),
		103: variable(103, 28, ans, ll),
		120: variable(120, 999, ans, lll),
		125: variable(125, 16, form.binary, form.length),
		128: fixed(128, 8, form.binary),
	})
	for de := 74; de <= 81; de++ { // numbers
		fields[de] = fixed(de, 10, n)
	}
	for de := 82; de <= 85; de++ { // fees
		fields[de] = fixed(de, 12, n)
	}
	for de := 86; de <= 89; de++ { // amounts
		fields[de] = fixed(de, 16, n)
	}
}

// hostRules is the function table of dialect host. The standard leaves the
// choice of values to the parties; this one follows dialect pos, with DE70 for
// the network messages and DE50 telling a swap from a transfer.
func hostRules() []rule {
	var (
		asked  = []int{3, 7, 11, 32, 41, 42}
		moved  = []int{3, 4, 7, 11, 32, 41, 42}
		swaps  = []int{3, 4, 7, 11, 32, 41, 42, 49, 50}
		legs   = []int{3, 4, 7, 11, 32, 37, 49}
		net    = []int{7, 11, 70}
		plain  = []int{absent, 0, 65}
		topUp  = []int{absent, 0, 65, 66}
		hold   = []int{absent, 6} // where message type and DE3 tell a pre-authorisation
		onHold = []int{6}         // where DE25 is what tells it
	)
	return []rule{
		{function: points.SignOn, mti: 800, networks: []int{1}, required: net},
		{function: points.SignOff, mti: 800, networks: []int{2}, required: net},
		{function: points.Echo, mti: 800, networks: []int{301}, required: net},
		{function: points.CutOverNotice, mti: 800, networks: []int{201}, required: net},
		{function: points.KeyChange, mti: 800, networks: []int{keyChange}, required: net},
		{function: points.Balance, mti: 200, processing: []int{310000}, conditions: plain, required: asked, card: true},
		{function: points.Redeem, mti: 200, processing: []int{0}, conditions: plain, required: moved, card: true, reversible: true},
		{function: points.Earn, mti: 200, processing: []int{210000, 630000}, conditions: plain, required: moved, card: true, reversible: true},
		{function: points.EarnConfirm, mti: 220, processing: []int{630000}, conditions: plain, required: moved, card: true},
		{function: points.Void, mti: 200, processing: []int{200000}, conditions: plain, required: moved, original: true, reversible: true},
		{function: points.Refund, mti: 220, processing: []int{200000}, conditions: plain, required: moved, original: true, reversible: true},
		{function: points.PreAuth, mti: 100, processing: []int{30000}, conditions: hold, required: moved, card: true, reversible: true},
		{function: points.PreAuthVoid, mti: 100, processing: []int{200000}, conditions: hold, required: moved, original: true, reversible: true},
		{function: points.Completion, mti: 200, processing: []int{0}, conditions: onHold, required: moved, original: true, reversible: true},
		{function: points.CompletionVoid, mti: 200, processing: []int{200000}, conditions: onHold, required: moved, original: true, reversible: true},
		{function: points.CompletionAdvice, mti: 220, processing: []int{0}, conditions: onHold, required: moved, original: true, advice: true},
		{function: points.OfflineRedeem, mti: 220, processing: []int{0}, conditions: plain, required: moved, card: true, reversible: true, advice: true},
		{function: points.OfflineEarn, mti: 220, processing: []int{210000}, conditions: plain, required: moved, card: true, reversible: true, advice: true},
		{function: points.SwapQuote, mti: 100, processing: []int{400000}, conditions: topUp, target: mustHave, required: swaps, card: true},
		{function: points.Swap, mti: 200, processing: []int{400000}, conditions: topUp, target: mustHave, required: append([]int{62}, swaps...), card: true, reversible: true},
		{function: points.Transfer, mti: 200, processing: []int{400000}, conditions: topUp, target: mustLack, required: append([]int{103}, moved...), card: true, reversible: true},
		{function: points.SwapCredit, mti: 200, processing: []int{410000}, conditions: topUp, required: legs, card: true, reversible: true},
		{function: points.SwapDebit, mti: 200, processing: []int{420000}, conditions: topUp, required: legs, card: true, reversible: true},
		{function: points.SwapEnquiry, mti: 200, processing: []int{430000}, conditions: topUp, required: append([]int{90}, legs...), card: true},
		{function: points.Reversal, mti: 420, required: []int{3, 4, 7, 11, 32}, original: true, advice: true},
		{function: points.Reversal, mti: 400, required: []int{3, 4, 7, 11, 32}, original: true},
		{function: points.BatchClose, mti: 500, required: []int{7, 11, 32, 74, 76, 86, 88}},
	}
}
