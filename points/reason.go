package points

import (
	"errors"
	"fmt"
)

// Reason classifies an outcome. A decline is a value of this type, not an error.
// The numbers are written in the journal: never renumber, only append.
type Reason uint8

// Reasons. Each has one row in the table below.
const (
	Approved Reason = iota + 1
	ApprovedPartly
	ApprovedStandIn

	// Refused at the door: the sender or the message is not established.
	FormatError
	UnknownTerminal
	UnknownMerchant
	ForeignIdentity
	BadMAC
	BadPINFormat
	NotFresh
	Overloaded
	Draining

	// Refused by what the request asks.
	UnknownFunction
	FunctionDisabled
	BadAmount
	BelowMinimum
	DuplicateOther
	ReversedBefore

	// Refused by the route.
	NoRoute
	IssuerDown
	LineDown
	IssuerTimeout
	NoAnswer

	// Refused by participants, programme, card or member.
	AcquirerSuspended
	IssuerSuspended
	TerminalBlocked
	MerchantBlocked
	UnknownProgram
	ProgramClosed
	ProgramNotHere
	UnknownCard
	CardBlocked
	CardLost
	CardStolen
	CardExpired
	CardDormant
	AskIssuer
	UnknownMember
	MemberFrozen
	MemberClosed
	DoNotHonour
	SuspectedFraud

	// Refused by secrets.
	WrongPIN
	PINTriesExceeded
	CardCheckFailed

	// Refused by limits.
	OverAmountLimit
	OverCountLimit

	// Refused by the ledger.
	NotEnoughPoints
	PointsExpired
	UnknownOriginal
	OriginalNotApproved
	OriginalDiffers
	OriginalClosed
	AmountOverOriginal
	HoldExpired
	UnknownAccount
	AccountFrozen
	AccountClosed
	WrongUnit
	BalanceOverflow
	AlreadyExists
	NotPermitted
	NeedsSecondPerson
	QuoteExpired
	RateMoved
	TooManyLots

	// Ours.
	InternalError

	// About a batch.
	BatchClosed
	BatchOpen
	TotalsDiffer
	UploadIncomplete

	// Refused to an operator.
	SignInRefused
	LockedOut
	RoleMissing
	LastAdmin
	ProposalUnknown
	ProposalStale
	ProposalExpired
	// Refused by secrets, too.
	PINRequired
	// Refused by limits, too.
	OverSettlementCap
	// Refused by the exchange.
	NoSwapRate
	RemoteSwap
	// About a terminal's keys.
	NoKeyReady

	reasonCount
)

// Outcome of one reason for each audience.
type reasonRow struct {
	name string // for logs, metrics and JSON
	de39 string // both dialects: DE39 is an2 in each
	http int    // status of the problem document
	en   string // a plain sentence: what, and what to do
	zh   string
}

// reasons is the only place where a code for the outside stands.
// DE39 values: UnionPay POS convention; the points reading is ours.
var reasons = [reasonCount]reasonRow{
	Approved:        {"approved", "00", 200, "Done.", "交易成功"},
	ApprovedPartly:  {"approved_partly", "10", 200, "Part was paid in points; pay the rest another way.", "部分积分支付成功，余款请用其他方式支付"},
	ApprovedStandIn: {"approved_stand_in", "A2", 200, "Done for the absent issuer; the issuer will confirm.", "交易成功，请向积分发行方确认"},

	FormatError:     {"format_error", "30", 400, "The message is malformed; the field is named beside.", "报文格式错误"},
	UnknownTerminal: {"unknown_terminal", "97", 403, "This terminal is not registered; ask the acquirer to register it.", "终端未登记，请联系收单机构"},
	UnknownMerchant: {"unknown_merchant", "03", 403, "This merchant is not in the alliance, or the terminal is not its own.", "商户未登记或终端不属于该商户"},
	ForeignIdentity: {"foreign_identity", "58", 403, "This connection may not speak for that institution or terminal.", "连接身份与报文不符"},
	BadMAC:          {"bad_mac", "A0", 401, "The message authentication code is wrong; sign on again.", "MAC校验错，请重新签到"},
	BadPINFormat:    {"bad_pin_format", "99", 400, "The PIN block cannot be read; enter the PIN again.", "PIN格式错，请重新输入"},
	NotFresh:        {"not_fresh", "94", 409, "The transmission time is too far from now; set the clock and send a new request.", "报文时间超出允许范围，请校准时钟"},
	Overloaded:      {"overloaded", "91", 503, "The switch is busy; try again.", "系统繁忙，请稍后重试"},
	Draining:        {"draining", "91", 503, "The switch is being stopped; try again in a moment.", "系统正在维护，请稍后重试"},

	UnknownFunction:  {"unknown_function", "12", 400, "This transaction is not known here.", "无效交易"},
	FunctionDisabled: {"function_disabled", "40", 403, "This transaction is not offered here.", "不支持的交易类型"},
	BadAmount:        {"bad_amount", "13", 422, "The amount is zero, too large, or below the programme's minimum.", "无效金额，或低于最低积分数"},
	BelowMinimum:     {"below_minimum", "13", 422, "The amount is below the programme's minimum.", "低于最低积分数"},
	DuplicateOther:   {"duplicate_other", "94", 409, "This trace number was used for a different request; send it under a new one.", "流水号重复且内容不同"},
	ReversedBefore:   {"reversed_before", "94", 409, "This request was reversed; it will not be carried out.", "原交易已冲正"},

	NoRoute:       {"no_route", "15", 422, "No issuer for this card and programme.", "无此积分发行方"},
	IssuerDown:    {"issuer_down", "91", 503, "The issuer's system does not answer; try again later.", "积分发行方系统不可用，请稍后重试"},
	LineDown:      {"line_down", "92", 503, "The line to the issuer is down; try again later.", "积分发行方线路异常，请稍后重试"},
	IssuerTimeout: {"issuer_timeout", "98", 504, "The issuer did not answer in time; the request is being reversed.", "积分发行方应答超时，正在冲正"},
	NoAnswer:      {"no_answer", "68", 504, "No answer in time; the request is being reversed.", "交易超时，正在冲正"},

	AcquirerSuspended: {"acquirer_suspended", "58", 403, "This acquirer is suspended.", "收单机构已停用"},
	IssuerSuspended:   {"issuer_suspended", "91", 503, "This issuer is suspended.", "积分发行方已停用"},
	TerminalBlocked:   {"terminal_blocked", "58", 403, "This terminal is blocked.", "终端已停用"},
	MerchantBlocked:   {"merchant_blocked", "03", 403, "This merchant is blocked.", "商户已停用"},
	UnknownProgram:    {"unknown_program", "57", 404, "No such programme.", "积分计划不存在"},
	ProgramClosed:     {"program_closed", "57", 403, "The programme is closed.", "积分计划已关闭"},
	ProgramNotHere:    {"program_not_here", "57", 403, "This programme is not accepted here.", "此处不受理该积分计划"},
	UnknownCard:       {"unknown_card", "14", 404, "No member has this card.", "无效卡号"},
	CardBlocked:       {"card_blocked", "62", 403, "This card is blocked.", "卡片已冻结"},
	CardLost:          {"card_lost", "41", 403, "This card was reported lost.", "挂失卡"},
	CardStolen:        {"card_stolen", "43", 403, "This card was reported stolen.", "被窃卡"},
	CardExpired:       {"card_expired", "54", 403, "This card or membership has expired.", "卡片或会员资格已过期"},
	CardDormant:       {"card_dormant", "21", 403, "This card is not activated.", "卡片未激活"},
	AskIssuer:         {"ask_issuer", "01", 403, "The member must contact the programme.", "请联系积分发行方"},
	UnknownMember:     {"unknown_member", "14", 404, "No such member.", "会员不存在"},
	MemberFrozen:      {"member_frozen", "62", 403, "This member is frozen.", "会员已冻结"},
	MemberClosed:      {"member_closed", "14", 403, "This membership is closed.", "会员已注销"},
	DoNotHonour:       {"do_not_honour", "05", 403, "The issuer declines.", "积分发行方拒绝"},
	SuspectedFraud:    {"suspected_fraud", "34", 403, "The issuer suspects fraud.", "疑似欺诈"},

	WrongPIN:         {"wrong_pin", "55", 403, "The PIN is wrong.", "密码错"},
	PINTriesExceeded: {"pin_tries_exceeded", "75", 403, "Too many wrong PINs.", "密码错误次数超限"},
	CardCheckFailed:  {"card_check_failed", "59", 403, "The card check failed.", "卡片校验错"},

	OverAmountLimit: {"over_amount_limit", "61", 403, "Over the limit on amount.", "超出积分限额"},
	OverCountLimit:  {"over_count_limit", "65", 403, "Over the limit on number of transactions.", "超出交易次数限制"},

	NotEnoughPoints:     {"not_enough_points", "51", 409, "Not enough points.", "可用积分不足"},
	PointsExpired:       {"points_expired", "54", 409, "The points have expired.", "积分已过期"},
	UnknownOriginal:     {"unknown_original", "25", 404, "The original transaction is not known.", "原交易不存在"},
	OriginalNotApproved: {"original_not_approved", "25", 409, "The original transaction was not approved.", "原交易未成功"},
	OriginalDiffers:     {"original_differs", "64", 409, "The request does not match its original.", "与原交易信息不符"},
	OriginalClosed:      {"original_closed", "22", 409, "The original can no longer be changed: already undone, or its day is over.", "原交易状态不允许此操作"},
	AmountOverOriginal:  {"amount_over_original", "64", 409, "The amount is more than the original leaves.", "金额超出原交易可用金额"},
	HoldExpired:         {"hold_expired", "22", 409, "The pre-authorisation has expired.", "预授权已过期"},
	UnknownAccount:      {"unknown_account", "14", 404, "The member has no account in this programme.", "会员未加入该积分计划"},
	AccountFrozen:       {"account_frozen", "62", 403, "The account is frozen.", "积分账户已冻结"},
	AccountClosed:       {"account_closed", "62", 403, "The account is closed.", "积分账户已注销"},
	WrongUnit:           {"wrong_unit", "57", 409, "The original is in another programme.", "积分计划与原交易不符"},
	BalanceOverflow:     {"balance_overflow", "13", 422, "The balance would not fit.", "金额溢出"},
	AlreadyExists:       {"already_exists", "94", 409, "It exists already with other content.", "已存在且内容不同"},
	NotPermitted:        {"not_permitted", "57", 403, "The programme's rules do not allow this.", "积分规则不允许此操作"},
	NeedsSecondPerson:   {"needs_second_person", "57", 403, "A second person must approve this.", "需要第二人复核"},
	QuoteExpired:        {"quote_expired", "22", 409, "The quote has expired; ask for a new one.", "报价已过期，请重新询价"},
	RateMoved:           {"rate_moved", "13", 409, "The rate has changed; ask for a new quote.", "兑换比例已变动，请重新询价"},
	TooManyLots:         {"too_many_lots", "96", 409, "The account holds too many different lots.", "积分批次过多"},

	BatchClosed:      {"batch_closed", "77", 409, "This batch is closed; sign on again for the next one.", "批次已结算，请重新签到"},
	BatchOpen:        {"batch_open", "22", 409, "This batch is not closed; close it before its transactions are sent up.", "请先进行批结算"},
	TotalsDiffer:     {"totals_differ", "95", 409, "The totals differ; the sender sends its transactions up.", "对账不平，请上送批次明细"},
	UploadIncomplete: {"upload_incomplete", "79", 409, "Fewer transactions came than were sent; send them all up again.", "批上送不完整，请重新上送"},

	SignInRefused:     {"sign_in_refused", "58", 401, "It is not established who asks; sign in.", "操作员身份未确认，请登录"},
	LockedOut:         {"locked_out", "75", 429, "Too many refused sign-ins; wait, then try again.", "登录失败次数过多，请稍后再试"},
	RoleMissing:       {"role_missing", "58", 403, "The operator has not the role for this.", "操作员无此权限"},
	LastAdmin:         {"last_admin", "58", 409, "Nobody would be left who can administer operators, or approve.", "不能停用最后一名管理员或复核员"},
	ProposalUnknown:   {"proposal_unknown", "25", 404, "No such act is pending: it was decided, or never proposed.", "无此待复核操作"},
	ProposalStale:     {"proposal_stale", "64", 409, "What it is about has changed since; propose it again.", "资料已变更，请重新提交复核"},
	ProposalExpired:   {"proposal_expired", "22", 409, "Its time is over; propose it again.", "复核已过期，请重新提交"},
	OverSettlementCap: {"over_settlement_cap", "61", 409, "An institution has reached what it may owe before it has paid; a smaller amount may pass, or try again after settlement.", "机构清算限额不足"},

	NoSwapRate:  {"no_swap_rate", "40", 409, "No swap between these programmes is on offer now: a rate, swap terms or fees are missing.", "暂无该互换的兑换比例或条款"},
	RemoteSwap:  {"remote_swap", "40", 403, "A programme whose issuer keeps its own ledger is swapped at the desk, with one whose ledger is here.", "积分发行方自管账户的积分计划须在柜台办理互换，且另一方须为本系统管账"},
	PINRequired: {"pin_required", "55", 403, "This needs the card's PIN; ask the member to enter it.", "请输入密码"},

	NoKeyReady: {"no_key_ready", "25", 404, "No new master key is ready for this terminal; an operator makes one (lianfen keys offer).", "没有为该终端准备新的主密钥，请联系运营方"},

	InternalError: {"internal_error", "96", 500, "Our own fault; it is logged. Try again or call the operator.", "系统异常，请稍后重试"},
}

// row returns the table row of r, and that of an internal error for a number
// that is no reason.
func (r Reason) row() *reasonRow {
	if r == 0 || r >= reasonCount {
		r = InternalError
	}
	return &reasons[r]
}

// Valid reports whether r is one of the reasons above.
func (r Reason) Valid() bool { return r > 0 && r < reasonCount }

// Approved reports whether the request had its effect, whole or in part.
func (r Reason) Approved() bool { return r >= Approved && r <= ApprovedStandIn }

// DE39 returns the two-character answer code.
func (r Reason) DE39() string { return r.row().de39 }

// HTTPStatus returns the status of the answer over HTTP.
func (r Reason) HTTPStatus() int { return r.row().http }

// English returns one plain sentence.
func (r Reason) English() string { return r.row().en }

// Chinese returns one plain sentence in simplified Chinese.
func (r Reason) Chinese() string { return r.row().zh }

// String returns the reason's name as it stands in logs, metrics and JSON.
func (r Reason) String() string {
	if !r.Valid() {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return r.row().name
}

// MarshalText renders the name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a name.
func (r *Reason) UnmarshalText(text []byte) error {
	for candidate := Approved; candidate < reasonCount; candidate++ {
		if reasons[candidate].name == string(text) {
			*r = candidate
			return nil
		}
	}
	return Errorf(FormatError, "reason %q: no such name", text)
}

// Reasons returns every reason in order, for documents and tests.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount)
	for r := Approved; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

// Error is a fault that knows how the outside is told about it.
type Error struct {
	Reason  Reason
	text    string
	chinese string // empty: it is not said in Chinese
	cause   error
}

// Errorf makes an [Error]. The format follows fmt.Errorf, %w included.
func Errorf(reason Reason, format string, args ...any) error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Reason: reason, text: wrapped.Error(), cause: errors.Unwrap(wrapped)}
}

// InBoth makes an [Error] that members are told of, in English and Chinese.
func InBoth(reason Reason, english, chinese string) error {
	return &Error{Reason: reason, text: english, chinese: chinese}
}

// ChineseOf is what an error says in Chinese; empty: only its reason can be told.
func ChineseOf(err error) string {
	for known, ok := errors.AsType[*Error](err); ok; known, ok = errors.AsType[*Error](known.cause) {
		if known.chinese != "" {
			return known.chinese
		}
	}
	return ""
}

// Error returns what was being done, with what, and why it failed.
func (e *Error) Error() string { return e.text }

// Unwrap returns the wrapped cause.
func (e *Error) Unwrap() error { return e.cause }

// ReasonOf finds the reason that err carries: Approved for nil, InternalError
// for an error that carries none.
func ReasonOf(err error) Reason {
	if err == nil {
		return Approved
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known.Reason
	}
	return InternalError
}
