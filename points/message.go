package points

import "fmt"

// Function is what a request asks for, whatever dialect it was said in.
type Function uint8

// Functions.
const (
	SignOn           Function = iota + 1
	SignOff                   // ends a terminal's or a link's session
	Echo                      // is the other side alive?
	CashierSignOn             // points cashier sign-in 收银员积分签到
	Download                  // parameters, key lists, black lists
	KeyChange                 // 0800 with DE70 161
	CutOverNotice             // 0800 with DE70 201
	Balance                   // 积分查询
	Redeem                    // 积分消费
	Earn                      // 积分累积
	EarnConfirm               // 0220/630000: answered, without effect
	Void                      // 撤销: cancels a redemption or earn of the same day
	Refund                    // 退货: a new, opposite sale
	PreAuth                   // 预授权: places a hold
	PreAuthVoid               // releases a hold
	Completion                // captures a hold, asked for
	CompletionAdvice          // captures a hold, told
	CompletionVoid            // cancels a capture
	OfflineRedeem             // told: redeemed while off line
	OfflineEarn               // told: earned while off line
	Transfer                  // 转赠: member to member
	SwapQuote                 // 积分互换询价
	Swap                      // 积分互换
	Reversal                  // 冲正: undoes a request whose answer is unknown
	BatchClose                // 批结算
	BatchUpload               // 批上送
	BatchUploadEnd            // 批上送结束
	SwapCredit                // 互换入账: the leg of a swap that its issuer gives, by the swap's id
	SwapDebit                 // 互换扣减: the leg of a swap that its issuer takes
	SwapEnquiry               // 互换查询: does the leg of this id stand?

	functionCount
)

var functionNames = [functionCount]string{
	SignOn: "sign_on", SignOff: "sign_off", Echo: "echo", CashierSignOn: "cashier_sign_on", Download: "download",
	KeyChange: "key_change", CutOverNotice: "cut_over_notice", Balance: "balance", Redeem: "redeem", Earn: "earn",
	EarnConfirm: "earn_confirm", Void: "void", Refund: "refund", PreAuth: "pre_auth", PreAuthVoid: "pre_auth_void",
	Completion: "completion", CompletionAdvice: "completion_advice", CompletionVoid: "completion_void",
	OfflineRedeem: "offline_redeem", OfflineEarn: "offline_earn", Transfer: "transfer", SwapQuote: "swap_quote",
	Swap: "swap", Reversal: "reversal", BatchClose: "batch_close", BatchUpload: "batch_upload", BatchUploadEnd: "batch_upload_end",
	SwapCredit: "swap_credit", SwapDebit: "swap_debit", SwapEnquiry: "swap_enquiry",
}

// String returns the name used in logs, metrics, scripts and JSON.
func (f Function) String() string {
	if f == 0 || f >= functionCount {
		return fmt.Sprintf("function(%d)", uint8(f))
	}
	return functionNames[f]
}

// MarshalText renders the name.
func (f Function) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a name.
func (f *Function) UnmarshalText(text []byte) error {
	for candidate := SignOn; candidate < functionCount; candidate++ {
		if functionNames[candidate] == string(text) {
			*f = candidate
			return nil
		}
	}
	return Errorf(FormatError, "function %q: no such name", text)
}

// Functions returns every function in order, for documents, metrics and tests.
func Functions() []Function {
	all := make([]Function, 0, functionCount)
	for f := SignOn; f < functionCount; f++ {
		all = append(all, f)
	}
	return all
}

// Envelope is what an answer must give back unchanged around its fields.
type Envelope struct {
	TPDU   [5]byte // pos: 60, destination, source; swapped in the answer
	Header [6]byte // pos: echoed in the answer
	MTI    uint16  // as four decimal digits, e.g. 200 for 0200
	Wide   bool    // the request had a 128-bit bitmap although 64 would do
	HexMap bool    // host: the bitmap is sixteen (or 32) hexadecimal characters, else raw bytes
}

// Original names the transaction that a void, refund, completion or reversal is
// about. Which parts are filled depends on dialect and function.
type Original struct {
	MTI          uint16 // DE90
	STAN         STAN   // DE61.2, DE90
	Batch        uint32 // DE61.1
	Date         uint32 // DE61.3, MMDD; 0 is unknown
	Transmission uint64 // DE90: DE7 of the original
	Acquirer     AcquirerID
	Forwarder    AcquirerID
	Present      bool // DE61 or DE90 was there
}

// Request is one message from outside, in our words. It is a flat value without
// pointers: it can be copied, pooled and kept after its frame is gone. A field
// that the message did not carry is zero; [Request.Has] tells a zero that was
// sent from a field that was not.
type Request struct {
	At       Timestamp // when its frame was read; set at the door
	Envelope Envelope
	Function Function
	Reversed Function // of a Reversal: what it undoes
	Class    Class
	Door     Door
	Repeat   bool // MTI xxx1: the sender says that it sent this before
	Advice   bool // it tells what happened; it does not ask

	PAN          PAN    // DE2, else from DE35 or DE36
	Processing   uint32 // DE3, six digits
	Amount       Amount // DE4
	Actual       Amount // DE95 of a reversal: what stands of the original; 0: nothing
	Transmission uint64 // DE7, MMDDhhmmss
	STAN         STAN   // DE11
	LocalTime    uint32 // DE12, hhmmss
	LocalDate    uint32 // DE13, MMDD
	Expiry       uint32 // DE14, YYMM
	Settlement   uint32 // DE15 of host, MMDD: the date that a reconciliation or a notice is about
	EntryMode    uint16 // DE22, three digits
	CardSequence uint16 // DE23
	Condition    uint8  // DE25, two digits
	Acquirer     AcquirerID
	Forwarder    AcquirerID
	Issuer       IssuerID // DE100
	RRN          [12]byte // DE37; blanks when absent
	AuthCode     [6]byte  // DE38
	Answer       [2]byte  // DE39: in a reversal why it is sent
	Terminal     TerminalID
	Merchant     MerchantID
	Program      ProgramID // DE49; 0 when absent or money
	Target       ProgramID // DE50: where a swap goes
	TargetPAN    PAN       // DE62 or DE103: who receives a transfer
	NetworkCode  uint16    // DE70, or DE60.3 of pos

	Kind        uint8  // DE60.1, two digits
	Batch       uint32 // DE60.2
	PartialOK   bool   // DE60.6: the terminal can take part in points
	AccountType uint16 // DE60.7: 48 issuer points, 65 alliance points, 0 unsaid
	Original    Original

	Product  [60]byte // DE62 of a points request: product code; of a download: where it goes on
	Operator [3]byte  // DE63.1 of pos
	PIN      PINBlock // DE52 (8 bytes), or DE125 of host and DE59 of pos (16 bytes), as sent; never logged
	KSN      [12]byte // DE59 of pos: which derived keys the terminal has used (ANSI X9.24-3); zeros when absent
	PINLen   uint8    // 0, 8 or 16
	MAC      [8]byte  // DE64 or DE128
	Security uint64   // DE53
	Totals   Totals   // DE48 of 0500; DE74, 76, 86 and 88 of host
	Undone   Totals   // what of them was reversed: DE75, 77, 87 and 89 of host
	Net      Amount   // DE97 of host: what the acquirer is to receive; below zero, to pay

	fields [2]uint64 // which data elements the message carried, bit n-1 for DE n
}

// Totals are the sums a sender believes in when it closes a batch. A debit is what the
// acquirer is to receive.
type Totals struct {
	DebitAmount, CreditAmount Amount
	DebitCount, CreditCount   uint32
}

// Side says where a function counts in the totals of a batch.
type Side uint8

// Sides.
const (
	DebitSide Side = iota + 1
	CreditSide
)

// Side returns where f counts in the totals of a batch, 0 for nowhere. A void stands
// on the credit side whatever it voids, because that is how terminals count.
func (f Function) Side() Side {
	switch f {
	case Redeem, Completion, CompletionAdvice, OfflineRedeem:
		return DebitSide
	case Void, CompletionVoid, Refund, Earn, OfflineEarn:
		return CreditSide
	default:
		return 0
	}
}

// Add counts n transactions of together amount on one side; it reports false, and
// leaves t as it was, where the sum does not fit.
func (t *Totals) Add(side Side, amount Amount, n uint32) bool {
	sum, count := &t.DebitAmount, &t.DebitCount
	if side == CreditSide {
		sum, count = &t.CreditAmount, &t.CreditCount
	}
	next, ok := sum.Add(amount)
	if !ok || *count+n < *count {
		return false
	}
	*sum, *count = next, *count+n
	return true
}

// Less returns what of t is left when undone is taken off it.
func (t Totals) Less(undone Totals) Totals {
	return Totals{
		DebitAmount: t.DebitAmount - undone.DebitAmount, CreditAmount: t.CreditAmount - undone.CreditAmount,
		DebitCount: t.DebitCount - undone.DebitCount, CreditCount: t.CreditCount - undone.CreditCount,
	}
}

// Mark notes that the message carried data element de, 1 to 128.
func (r *Request) Mark(de int) { r.fields[(de-1)/64] |= 1 << ((de - 1) % 64) }

// Unmark notes that the message does not carry data element de after all.
func (r *Request) Unmark(de int) { r.fields[(de-1)/64] &^= 1 << ((de - 1) % 64) }

// Has reports whether the message carried data element de, 1 to 128.
func (r *Request) Has(de int) bool { return r.fields[(de-1)/64]&(1<<((de-1)%64)) != 0 }

// Reset makes r as new, for use with the next frame.
func (r *Request) Reset() { *r = Request{} }

// BalanceKind says which of an account's figures a [Balance54] is (DE54 amount type).
type BalanceKind uint8

// Amount types of DE54, ISO 8583:1987.
const (
	LedgerBalance    BalanceKind = 1 // 01: with what is held
	AvailableBalance BalanceKind = 2 // 02: what can be spent
)

// Balance54 is one entry of DE54.
type Balance54 struct {
	Kind    BalanceKind
	Program ProgramID
	Amount  Amount // may be negative: shown as a debit
}

// MaxBalances is how many entries DE54 carries (an..120, twenty characters each).
const MaxBalances = 6

// MaxPaid is how many programmes DE62 of an answer tells.
const MaxPaid = 4

// Paid is what one programme paid of a sale.
type Paid struct {
	Program ProgramID
	Amount  Amount // points taken
	Covers  Amount // of the sale
}

// Response is the answer to a [Request], in our words. What the answer echoes is
// taken from the request.
type Response struct {
	Reason    Reason
	Position  Position // 0: the request left no trace in the journal, DE37 is not sent (pos) or echoed (host)
	AuthCode  [6]byte  // DE38; sent on approvals when not zero
	Date      BusinessDate
	LocalTime uint32 // DE12 of pos: sets the terminal's clock
	LocalDate uint32 // DE13
	Amount    Amount // DE4; differs from the request's only when partly approved
	Acquirer  AcquirerID
	Issuer    IssuerID
	Program   ProgramID
	Used      Amount // DE62 of a points answer: points used
	SelfPaid  Amount // and what is left to pay another way
	Paid      [MaxPaid]Paid
	NPaid     uint8  // of a sale that the merchant's programmes pay together
	Batch     uint32 // DE60.2 of a sign-on answer
	Please    Please // pos: what the terminal is asked to do next
	Balances  [MaxBalances]Balance54
	NBalances uint8
	Granted   Amount // DE5 of a swap: points handed out
	Ratio     uint32 // DE9 of it: how many decimals, then seven digits of target per source
	List      string // DE62 of a download: parameters, or a page of a list; of a sign-on: keys, enciphered; DE120 of a change of keys; of a swap's quote: its name and end
	Check     string // host: DE48 of a change of keys, the check values of those in DE120 or of those that came
	Field     uint8  // of a FormatError: the data element at fault, 0 when none can be named
	Detail    string // host: DE44; a few words, never a card number
}

// Please is what an answer asks a terminal to do next: the processing request in the low
// nibble of the third header byte (UnionPay POS convention).
type Please uint8

// What a terminal is asked to do.
const (
	PleaseDownload Please = 1 // its parameters
	PleaseSignOn   Please = 3
)

// AddPaid appends a programme that paid for a part; past [MaxPaid] it is left out.
func (r *Response) AddPaid(p Paid) {
	if int(r.NPaid) < len(r.Paid) {
		r.Paid[r.NPaid] = p
		r.NPaid++
	}
}

// AddBalance appends an entry for DE54; past [MaxBalances] it is left out.
func (r *Response) AddBalance(b Balance54) {
	if int(r.NBalances) < len(r.Balances) {
		r.Balances[r.NBalances] = b
		r.NBalances++
	}
}
