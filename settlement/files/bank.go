package files

import (
	"cmp"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Price is what a whole standard point is worth in money: Num/Den whole units of the
// currency, such as 1/100 of a yuan. It is a ratio of whole numbers, as rates are.
type Price struct {
	Currency string // three letters of ISO 4217
	Scale    int    // decimals of the currency, 0 to 5
	Num, Den uint64 // 1 to MaxPrice
}

// MaxPrice bounds both sides of a price, as those of rates are: with the decimals of both
// units the ratio of their smallest units has 17 digits, and so has every remainder.
const MaxPrice = 999_999_999_999

// Check tells what is wrong with a price.
func (p *Price) Check() error {
	letters := len(p.Currency) == 3 && strings.Trim(p.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	if !letters || p.Scale < 0 || p.Scale > 5 || p.Num < 1 || p.Num > MaxPrice || p.Den < 1 || p.Den > MaxPrice {
		return points.Errorf(points.FormatError, "price of a standard point %d/%d %q with %d decimals: want 1 to %d on both sides, three capital letters and 0 to 5 decimals",
			p.Num, p.Den, p.Currency, p.Scale, uint64(MaxPrice))
	}
	return nil
}

// ratio is the price of smallest units, in lowest terms.
func (p *Price) ratio() (num, den uint64) {
	num, den = p.Num*power(p.Scale), p.Den*power(Scale)
	a, b := num, den
	for b != 0 {
		a, b = b, a%b
	}
	return num / a, den / a
}

// money is what an amount of standard points is worth in smallest units of the currency,
// to the nearest, halves to the even one, and what that leaves: net*num = amount*den + rest,
// with num/den as ratio has it. Both signs are rounded alike.
func (p *Price) money(net points.Amount) (amount, rest points.Amount, ok bool) {
	num, den := p.ratio()
	if amount, rest, ok = net.MulRat(num, den); !ok {
		return 0, 0, false
	}
	step := points.Amount(1)
	if rest < 0 {
		step = -1
	}
	left := points.Amount(den) - rest*step //nolint:gosec // seventeen digits at most.
	if rest*step > left || (rest*step == left && amount%2 != 0) {
		amount, rest = amount+step, rest-step*points.Amount(den) //nolint:gosec // as above.
	}
	return amount, rest, amount <= isoAmountMost && amount >= -isoAmountMost
}

// Account is an account at a bank.
type Account struct {
	Bank   string // its BIC, or its number in a clearing system as SYSTEM:NUMBER (CNAPS:102100099996)
	Number string // an IBAN, or a number of another kind
}

// The forms of ISO 20022, where a bank's number is as long as the strictest users take it.
var (
	bicForm    = regexp.MustCompile(`^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$`)
	systemForm = regexp.MustCompile(`^[A-Z0-9]{1,5}:[0-9A-Za-z]{1,28}$`)
	ibanForm   = regexp.MustCompile(`^[A-Z]{2}[0-9]{2}`)
	numberForm = regexp.MustCompile(`^[0-9A-Za-z-]{1,34}$`)
)

// ParseAccount reads an account as it is configured. What begins like an IBAN has to be one,
// with the right check digits: money is sent by it.
func ParseAccount(bank, number string) (Account, error) {
	if !bicForm.MatchString(bank) && !systemForm.MatchString(bank) {
		return Account{}, points.Errorf(points.FormatError, "bank %q: want a BIC of 8 or 11 characters, or the number of a clearing system such as CNAPS:102100099996", bank)
	}
	if !numberForm.MatchString(number) {
		return Account{}, points.Errorf(points.FormatError, "account of %d characters: want 1 to 34 letters, digits and -", len(number))
	}
	if ibanForm.MatchString(number) && !checksAsIBAN(number) {
		return Account{}, points.Errorf(points.FormatError, "account: it begins like an IBAN, and its check digits are wrong: compare it with what its owner has given")
	}
	return Account{bank, number}, nil
}

// checksAsIBAN proves the check digits of ISO 13616: the number with its first four
// characters behind it, letters as 10 to 35, is 1 modulo 97.
func checksAsIBAN(number string) bool {
	sum := 0
	for _, c := range number[4:] + number[:4] {
		switch {
		case c >= '0' && c <= '9':
			sum = (sum*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			sum = (sum*100 + int(c-'A') + 10) % 97
		default:
			return false
		}
	}
	return sum == 1 && len(number) > 4
}

// PaymentState is what becomes of a member's position at the bank.
type PaymentState string

// States of payments.
const (
	PaymentOrdered   PaymentState = "ORDERED"    // it is in PYI or PYO
	PaymentNoAccount PaymentState = "NO_ACCOUNT" // left out: nobody has said where the member's account is
	PaymentZero      PaymentState = "ZERO"       // worth less than half of the smallest unit: nothing is paid
	PaymentOwn       PaymentState = "OWN"        // of an account of the operator: it stays on the settlement account
)

// Payment is the money for one member's position in one model. Amounts are positive where
// the member is paid.
type Payment struct {
	Member      tariff.Member
	Name        string
	Model       netting.Model
	Instruction string // as NET has it
	Net         points.Amount
	Amount      points.Amount // in smallest units of the currency
	Rest        points.Amount // what rounding has left, in units of 1/den
	State       PaymentState
	Account     Account
}

// Payments are the bank leg of a run: who pays into the settlement account, and who is
// paid from it.
type Payments struct {
	Price      Price
	Settlement Account // the operator's, through which all is paid
	Operator   tariff.Member
	Name       string // the operator's
	Run        string
	Date       points.BusinessDate
	Cycle      uint8
	Settles    points.BusinessDate // the banking day of the payments
	Created    time.Time
	List       []Payment // by model and member, the operator's accounts last
	Totals     PaymentTotals
}

// PaymentTotals are sums over the payments of a run, in smallest units of the currency. What
// is paid in, ordered and not, is what is paid out, the operator's own share and the rounding.
type PaymentTotals struct {
	Currency string        `json:"currency"`
	Scale    int           `json:"scale"`
	Num      uint64        `json:"price_num"`
	Den      uint64        `json:"price_den"`
	Payers   uint64        `json:"payers"` // payments that are ordered
	In       points.Amount `json:"in"`
	Payees   uint64        `json:"payees"`
	Out      points.Amount `json:"out"`
	LeftOut  uint64        `json:"left_out"` // payments that are not ordered, for want of an account
	LeftIn   points.Amount `json:"in_left_out"`
	LeftPaid points.Amount `json:"out_left_out"`
	Own      points.Amount `json:"own"`      // of the operator's accounts; below zero it pays
	Rounding points.Amount `json:"rounding"` // stays on the settlement account; below zero it is short
}

// Pay works out the payments for the rows of all counterparties and codes in NET. What is
// known of the members is asked of known: names, and accounts where there are any. The error
// is of an amount that no payment carries, or of positions that do not sum to zero.
func (p *Payments) Pay(rows []Position, known func(tariff.Member) (name string, account Account)) error {
	for i := range rows {
		row := &rows[i]
		if !row.Whole() {
			continue
		}
		pay := Payment{Member: row.Member, Model: row.Model, Instruction: row.Instruction, Net: row.Receive - row.Pay}
		pay.Name, pay.Account = known(row.Member)
		var ok bool
		if pay.Amount, pay.Rest, ok = p.Price.money(pay.Net); !ok {
			return points.Errorf(points.BalanceOverflow, "payment %s: %s points at %d/%d %s have more than %d digits",
				pay.Instruction, pay.Net.Decimal(Scale), p.Price.Num, p.Price.Den, p.Price.Currency, isoAmountDigits)
		}
		pay.State = pay.state()
		p.List = append(p.List, pay)
	}
	slices.SortStableFunc(p.List, func(a, b Payment) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.Member, b.Member))
	})
	return p.total()
}

func (p *Payment) state() PaymentState {
	switch {
	case p.Member.Account():
		return PaymentOwn
	case p.Amount == 0:
		return PaymentZero
	case p.Account == Account{}:
		return PaymentNoAccount
	default:
		return PaymentOrdered
	}
}

// total adds the payments up, and proves that rounding alone is between what comes in and
// what goes out: positions sum to zero, so that the rests of all come to the rounding exactly.
func (p *Payments) total() error {
	t := PaymentTotals{Currency: p.Price.Currency, Scale: p.Price.Scale, Num: p.Price.Num, Den: p.Price.Den}
	var all, in, out, leftIn, leftPaid, own, rests Sum
	for i := range p.List {
		pay := &p.List[i]
		all, rests = all.plus(pay.Amount), rests.plus(pay.Rest)
		switch into := pay.Amount < 0; {
		case pay.State == PaymentOwn:
			own = own.plus(pay.Amount)
		case pay.State == PaymentOrdered && into:
			t.Payers, in = t.Payers+1, in.minus(pay.Amount)
		case pay.State == PaymentOrdered:
			t.Payees, out = t.Payees+1, out.plus(pay.Amount)
		case pay.State == PaymentNoAccount && into:
			t.LeftOut, leftIn = t.LeftOut+1, leftIn.minus(pay.Amount)
		case pay.State == PaymentNoAccount:
			t.LeftOut, leftPaid = t.LeftOut+1, leftPaid.plus(pay.Amount)
		}
	}
	for _, sum := range []struct {
		of Sum
		to *points.Amount
	}{{in, &t.In}, {out, &t.Out}, {leftIn, &t.LeftIn}, {leftPaid, &t.LeftPaid}, {own, &t.Own}, {all.negated(), &t.Rounding}} {
		var ok bool
		if *sum.to, ok = sum.of.Amount(); !ok || *sum.to > isoAmountMost {
			return points.Errorf(points.BalanceOverflow, "payments of %v cycle %d: they come to more than %d digits", p.Date, p.Cycle, isoAmountDigits)
		}
	}
	if _, den := p.Price.ratio(); rests != times(t.Rounding, den) {
		return points.Errorf(points.BalanceOverflow, "payments of %v cycle %d: rounding leaves %s of 1/%d of a unit, and %s are between what comes in and goes out: positions do not sum to zero",
			p.Date, p.Cycle, rests.Digits(), den, t.Rounding.Decimal(p.Price.Scale))
	}
	p.Totals = t
	return nil
}

// times is a product in 128 bits. Roundings are few units, and den has 17 digits.
func times(a points.Amount, den uint64) Sum {
	magnitude := a
	if a < 0 {
		magnitude = -a
	}
	hi, lo := bits.Mul64(uint64(magnitude), den) //nolint:gosec // not negative.
	if a < 0 {
		return Sum{hi, lo}.negated()
	}
	return Sum{hi, lo}
}

// LeftOut lists what is not ordered, as exceptions: whoever settles has to see to it by hand.
func (p *Payments) LeftOut() (list []Payment) {
	for i := range p.List {
		if p.List[i].State == PaymentNoAccount {
			list = append(list, p.List[i])
		}
	}
	return list
}

// ReasonNoBankAccount is the reason of a payment that is left out.
const ReasonNoBankAccount = "NO_BANK_ACCOUNT"

// Exception is the row in EXC of a payment that is left out.
func (p *Payments) Exception(pay *Payment) Exception {
	what := pay.Member.String() + " pays "
	if pay.Amount > 0 {
		what = pay.Member.String() + " is paid "
	}
	amount := max(pay.Amount, -pay.Amount)
	return Exception{
		Source: "bank", Reason: ReasonNoBankAccount, Raw: []byte(pay.Instruction),
		What: what + amount.Decimal(p.Price.Scale) + " " + p.Price.Currency + " under " + pay.Instruction + ", and no account of it is configured: pay it by hand, and configure it for the next run",
	}
}

// Sides of the bank leg. Pay-ins are a message of their own: nobody is paid before they are in.
const (
	payIn  = "PI-"
	payOut = "PO-"
)

// AppendPayIns writes PYI: pacs.009.001.08, a payment for each net debtor, from its account to
// the settlement account. Without one it writes nothing.
func (p *Payments) AppendPayIns(dst []byte) ([]byte, error) { return p.message(dst, payIn) }

// AppendPayOuts writes PYO: the same for each net creditor, from the settlement account.
func (p *Payments) AppendPayOuts(dst []byte) ([]byte, error) { return p.message(dst, payOut) }

// message writes the payments of a side.
func (p *Payments) message(dst []byte, side string) ([]byte, error) {
	n, total := p.Totals.Payers, p.Totals.In
	if side == payOut {
		n, total = p.Totals.Payees, p.Totals.Out
	}
	if n == 0 {
		return dst, nil
	}
	x := document{dst: dst, of: "payments", s: &Statement{Member: p.Operator, Unit: p.Price.Currency, Scale: p.Price.Scale, Created: p.Created}}
	x.start("pacs.009.001.08", "FICdtTrf", side+p.id())
	x.number("NbOfTxs", n)
	x.sum("CtrlSum", SumOf(total))
	x.amount("TtlIntrBkSttlmAmt", total, p.Price.Currency, p.Price.Scale)
	x.begun("IntrBkSttlmDt")
	x.dst = p.Settles.Append(x.dst)
	x.ended("IntrBkSttlmDt")
	x.open("SttlmInf")
	x.raw("SttlmMtd", "INDA") // On the books of the bank that is told to.
	x.close("SttlmInf")
	x.institution("InstgAgt", p.Name, p.Operator)
	x.bank("InstdAgt", p.Settlement.Bank)
	x.close("GrpHdr")
	for i := range p.List {
		if pay := &p.List[i]; pay.State == PaymentOrdered && (pay.Amount < 0) == (side == payIn) {
			p.transfer(&x, pay)
		}
	}
	x.end("FICdtTrf")
	return x.done()
}

// id names the messages of a cycle.
func (p *Payments) id() string {
	statement := Statement{Date: p.Date, Cycle: p.Cycle, Member: p.Operator}
	return statement.id()
}

// transfer writes one payment. Its identification is the instruction of NET and of the
// member's statement, so that all three name it alike.
func (p *Payments) transfer(x *document, pay *Payment) {
	x.open("CdtTrfTxInf")
	x.open("PmtId")
	for _, name := range [...]string{"InstrId", "EndToEndId", "TxId"} {
		x.text(name, pay.Instruction, isoID)
	}
	x.close("PmtId")
	x.amount("IntrBkSttlmAmt", pay.Amount, p.Price.Currency, p.Price.Scale)
	member := func(party, agent string, agentFirst bool) {
		p.side(x, party, agent, pay.Name, pay.Member, pay.Account, agentFirst)
	}
	house := func(party, agent string, agentFirst bool) {
		p.side(x, party, agent, p.Name, p.Operator, p.Settlement, agentFirst)
	}
	if pay.Amount < 0 {
		member("Dbtr", "DbtrAgt", false)
		house("Cdtr", "CdtrAgt", true)
	} else {
		house("Dbtr", "DbtrAgt", false)
		member("Cdtr", "CdtrAgt", true)
	}
	x.open("RmtInf")
	x.text("Ustrd", Unit+" "+pay.Net.Decimal(Scale)+" at "+p.Price.text(), isoName)
	x.close("RmtInf")
	x.close("CdtTrfTxInf")
}

// text renders the price for people: 1/100 CNY.
func (p *Price) text() string {
	return strconv.FormatUint(p.Num, 10) + "/" + strconv.FormatUint(p.Den, 10) + " " + p.Currency
}

// side writes a party of a payment with its account and its bank, in the order of ISO 20022.
func (p *Payments) side(x *document, party, agent, name string, m tariff.Member, a Account, agentFirst bool) {
	if agentFirst {
		x.bank(agent, a.Bank)
	}
	x.institution(party, name, m)
	x.open(party + "Acct")
	x.open("Id")
	if ibanForm.MatchString(a.Number) {
		x.raw("IBAN", a.Number)
	} else {
		x.open("Othr")
		x.text("Id", a.Number, isoAccount)
		x.close("Othr")
	}
	x.close("Id")
	x.close(party + "Acct")
	if !agentFirst {
		x.bank(agent, a.Bank)
	}
}

// institution writes a member or the operator, by name and number.
func (x *document) institution(element, name string, m tariff.Member) {
	x.open(element)
	x.open("FinInstnId")
	x.text("Nm", name, isoName)
	x.open("Othr")
	x.text("Id", m.String(), isoID)
	x.raw("Issr", "PTSCLR")
	x.close("Othr")
	x.close("FinInstnId")
	x.close(element)
}

// bank writes a bank, by its BIC or by its number in a clearing system.
func (x *document) bank(element, bank string) {
	x.open(element)
	x.open("FinInstnId")
	if system, number, ok := strings.Cut(bank, ":"); ok {
		x.open("ClrSysMmbId")
		x.open("ClrSysId")
		x.text("Cd", system, isoSystem)
		x.close("ClrSysId")
		x.text("MmbId", number, isoID)
		x.close("ClrSysMmbId")
	} else {
		x.raw("BICFI", bank)
	}
	x.close("FinInstnId")
	x.close(element)
}
