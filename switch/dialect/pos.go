package dialect

import (
	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/field"

	"github.com/lianfen/lianfen/points"
)

// posSpec is the field table of dialect pos, the UnionPay POS convention:
// variable numerics left aligned, fixed ones right aligned, DE22 left aligned
// unless an endpoint sends it right aligned.
func posSpec(rightEntryMode bool) *iso8583.MessageSpec {
	var (
		right  = packed{class: classN}
		left   = packed{class: classN, left: true}
		tracks = packed{class: classZ, left: true}
		an     = characters{class: classAN}
		ans    = characters{class: classANS}
		b      = characters{class: classB}
		ll     = packedLength(2)
		lll    = packedLength(3)
	)
	entryMode := left
	if rightEntryMode {
		entryMode = right
	}
	return &iso8583.MessageSpec{Name: "lianfen pos", Fields: map[int]field.Field{
		0:  fixed(0, 4, right),
		1:  bitmap(b),
		2:  variable(2, points.MaxPANDigits, left, ll),
		3:  fixed(3, 6, right),
		4:  fixed(4, 12, right),
		5:  fixed(5, 12, right),
		9:  fixed(9, 8, right),
		11: fixed(11, 6, right),
		12: fixed(12, 6, right),
		13: fixed(13, 4, right),
		14: fixed(14, 4, right),
		15: fixed(15, 4, right),
		22: fixed(22, 3, entryMode),
		23: fixed(23, 3, right),
		25: fixed(25, 2, right),
		26: fixed(26, 2, right),
		32: variable(32, 11, left, ll),
		35: variable(35, 37, tracks, ll),
		36: variable(36, 104, tracks, lll),
		37: fixed(37, 12, an),
		38: fixed(38, 6, an),
		39: fixed(39, 2, an),
		41: fixed(41, 8, ans),
		42: fixed(42, 15, ans),
		44: variable(44, 25, ans, ll),
		48: variable(48, maxUpload48, left, lll),
		49: fixed(49, 3, an),
		50: fixed(50, 3, an),
		52: fixed(52, 8, b),
		53: fixed(53, 16, right),
		54: variable(54, 20*points.MaxBalances, an, lll),
		55: variable(55, 255, b, lll),
		59: variable(59, ksnSize+pinBlockSize, b, lll),
		60: variable(60, maxField60, left, lll),
		61: variable(61, 29, left, lll),
		62: variable(62, 512, b, lll),
		63: variable(63, 163, b, lll),
		64: fixed(64, 8, b),
	}}
}

// What DE59 is made of (ours): a key serial number of ANSI X9.24-3, a PIN block of format
// 4, or the one behind the other. Each length means one of them.
const (
	ksnSize      = 12
	pinBlockSize = 16
)

// maxField60 bounds DE60: seventeen digits are defined; what an acquirer adds
// behind them is accepted and not read.
const maxField60 = 40

// Network codes (60.3) of a sign-on that asks for keys of AES, or of AES and for HMAC, in key
// blocks (ours; 005 is the convention's for SM4).
const (
	SignOnAES128 = 6
	SignOnAES256 = 7
	SignOnHMAC   = 8
)

// What DE60 of a request for the next master key of a terminal says (60.1, 60.3).
const (
	masterKind = 99
	masterCode = 3
)

// posRules is the function table of dialect pos (UnionPay POS convention; what
// the convention leaves open is ours). The first of several values is the one
// that we send.
func posRules() []rule {
	var (
		asked = []int{3, 11, 22, 25, 41, 42, 60}    // every request that a card starts
		moved = []int{3, 4, 11, 22, 25, 41, 42, 60} // and that moves points
		held  = []int{3, 4, 11, 22, 25, 38, 41, 42, 60, 61}
		told  = []int{2, 3, 4, 11, 22, 25, 41, 42, 60}
		swaps = []int{3, 4, 11, 22, 25, 41, 42, 49, 50, 60}
		base  = []int{11, 41, 42, 60}
		bare  = []int{41, 42, 60} // without DE11
		none  = []int{0}
		money = []int{0}
		point = []int{65}
		both  = []int{65, 0}
		hold  = []int{6}
		topUp = []int{66}
	)
	return []rule{
		{function: points.SignOn, mti: 800, networks: []int{1, 3, 4, SignOnAES128, SignOnAES256, SignOnHMAC}, required: append([]int{63}, base...)},
		{function: points.SignOff, mti: 820, networks: []int{2}, required: base},
		{function: points.Echo, mti: 820, networks: []int{301}, required: bare},
		{function: points.CashierSignOn, mti: 820, networks: []int{401}, required: bare, card: true},
		{function: points.Download, mti: 800, networks: downloads(), required: bare},
		{function: points.Download, mti: 820, networks: downloads(), required: bare},
		{function: points.KeyChange, mti: 800, kind: masterKind, networks: []int{masterCode}, required: bare},
		{function: points.Balance, mti: 200, processing: []int{310000}, conditions: point, kind: 3, networks: none, required: asked, card: true},
		{function: points.Balance, mti: 200, processing: []int{310000}, conditions: money, kind: 1, networks: none, required: asked, card: true},
		{function: points.Redeem, mti: 200, processing: []int{0}, conditions: point, kind: 22, networks: none, required: moved, card: true, reversible: true},
		{function: points.Earn, mti: 200, processing: []int{630000, 210000}, conditions: both, kind: 48, networks: none, required: moved, card: true},
		{function: points.EarnConfirm, mti: 220, processing: []int{630000}, conditions: both, kind: 48, networks: none, required: told},
		{function: points.Void, mti: 200, processing: []int{200000}, conditions: point, kind: 23, networks: none, required: append([]int{37, 61}, moved...), reversible: true},
		{function: points.Refund, mti: 220, processing: []int{200000}, conditions: []int{0, 65}, kind: 25, networks: none, required: append([]int{37, 61, 63}, moved...)},
		{function: points.PreAuth, mti: 100, processing: []int{30000}, conditions: hold, kind: 10, networks: none, required: moved, card: true, reversible: true},
		{function: points.PreAuthVoid, mti: 100, processing: []int{200000}, conditions: hold, kind: 11, networks: none, required: held, reversible: true},
		{function: points.Completion, mti: 200, processing: []int{0}, conditions: hold, kind: 20, networks: none, required: held, reversible: true},
		{function: points.CompletionVoid, mti: 200, processing: []int{200000}, conditions: hold, kind: 21, networks: none, required: append([]int{37, 61}, moved...), reversible: true},
		{function: points.CompletionAdvice, mti: 220, processing: []int{0}, conditions: hold, kind: 24, networks: none, required: append([]int{38, 61}, told...), advice: true},
		{function: points.OfflineRedeem, mti: 220, processing: []int{0}, conditions: point, kind: 30, networks: none, required: told, advice: true},
		{function: points.OfflineEarn, mti: 220, processing: []int{210000}, conditions: point, kind: 30, networks: none, required: told, advice: true},
		{function: points.SwapQuote, mti: 100, processing: []int{400000}, conditions: topUp, kind: 49, networks: none, required: swaps, card: true},
		{function: points.Swap, mti: 200, processing: []int{400000}, conditions: topUp, kind: 49, networks: none, required: append([]int{62}, swaps...), card: true, reversible: true},
		{function: points.Transfer, mti: 200, processing: []int{400000}, conditions: topUp, kind: 47, networks: none, required: append([]int{62}, moved...), card: true, reversible: true},
		{function: points.Reversal, mti: 400, required: append([]int{39}, told...)},
		{function: points.BatchClose, mti: 500, networks: []int{201}, required: append([]int{48, 63}, base...)},
		{function: points.BatchUpload, mti: 320, networks: []int{201, 203, 204, 205}, required: append([]int{48}, base...), advice: true},
		{function: points.BatchUploadEnd, mti: 320, networks: []int{202, 207}, required: append([]int{48}, base...), advice: true},
	}
}

// downloads lists the DE60.3 of parameter, key-list and black-list downloads.
func downloads() []int {
	return []int{360, 370, 371, 372, 380, 381, 382, 390, 391}
}
