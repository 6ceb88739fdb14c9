package config

import (
	"regexp"
	"strconv"
	"strings"
)

// Cash says what a standard point is worth in money, and where that is paid.
type Cash struct {
	Currency string // three letters; empty: a point has no price, and no bank is told anything
	Scale    int    // decimals of the currency
	Price    Ratio  // of a whole standard point, in whole units of the currency
	Bank     string // of the settlement account: a BIC, or SYSTEM:NUMBER
	Account  string // the settlement account
	Accounts []MemberAccount
}

// MemberAccount is where a member pays from, and is paid.
type MemberAccount struct {
	Member  int // 8 digits
	Bank    string
	Account string
}

// Ratio is a ratio of whole numbers; zero: there is none.
type Ratio struct{ Num, Den uint64 }

// maxRatio bounds both sides of a ratio, as those of rates are.
const maxRatio = 999_999_999_999

// String renders it as it is configured.
func (r Ratio) String() string {
	if r == (Ratio{}) {
		return ""
	}
	return strconv.FormatUint(r.Num, 10) + "/" + strconv.FormatUint(r.Den, 10)
}

func defaultCash() Cash { return Cash{Scale: 2} }

// accountList is the key of the list of members' bank accounts.
const accountList = "settlement.accounts"

// accountPrefix returns the beginning of the keys of item i, as listenerPrefix does.
func (c *Cash) accountPrefix(i int) string {
	if member := c.Accounts[i].Member; member != 0 {
		return accountList + "." + eightDigits(member) + "."
	}
	return accountList + "." + strconv.Itoa(i+1) + "."
}

var (
	currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)
	bankForm     = regexp.MustCompile(`^([A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?|[A-Z0-9]{1,5}:[0-9A-Za-z]{1,28})$`)
	accountForm  = regexp.MustCompile(`^[0-9A-Za-z-]{1,34}$`)
)

func (c *Cash) settings() []setting {
	table := []setting{
		optional(formed("settlement.cash_currency", &c.Currency, currencyForm, "three capital letters, such as CNY",
			"Currency in which positions are paid at a bank. Without one a standard point has no price, and no orders to a bank are written.")),
		number("settlement.cash_scale", &c.Scale, 0, 5, "Decimals of that currency."),
		optional(ratio("settlement.cash_price", &c.Price, "What a whole standard point (QZP) is worth in whole units of that currency; "+
			"a hundred points are one yuan at 1/100. It holds for every run from now on.")),
		optional(formed("settlement.cash_bank", &c.Bank, bankForm, "a BIC, or the number in a clearing system, such as CNAPS:102100099996",
			"Bank of the settlement account, which the orders go to.")),
		optional(formed("settlement.cash_account", &c.Account, accountForm, "an IBAN, or 1 to 34 letters, digits and -",
			"The operator's settlement account there: net debtors pay into it, net creditors are paid from it.")),
	}
	for i := range c.Accounts {
		table = append(table, c.Accounts[i].settings(c.accountPrefix(i))...)
	}
	return table
}

func (a *MemberAccount) settings(prefix string) []setting {
	return []setting{
		number(prefix+"member", &a.Member, 1, 99_999_999, "The member's number."),
		formed(prefix+"bank", &a.Bank, bankForm, "a BIC, or the number in a clearing system, such as CNAPS:102100099996", "Its bank."),
		formed(prefix+"account", &a.Account, accountForm, "an IBAN, or 1 to 34 letters, digits and -", "Its account there."),
	}
}

// formed is text of a given form.
func formed(key string, field *string, form *regexp.Regexp, expects, help string) setting {
	return setting{
		key: key, help: help, expects: expects,
		set:   func(text string) bool { *field = text; return true },
		show:  func() string { return *field },
		valid: func() bool { return form.MatchString(*field) },
	}
}

// ratio is a ratio of whole numbers.
func ratio(key string, field *Ratio, help string) setting {
	return setting{
		key: key, help: help, expects: "NUM/DEN, two whole numbers from 1 to 999999999999, such as 1/100",
		set: func(text string) bool {
			if text == "" {
				*field = Ratio{}
				return true
			}
			num, den, found := strings.Cut(text, "/")
			n, numErr := strconv.ParseUint(num, 10, 64)
			d, denErr := strconv.ParseUint(den, 10, 64)
			if !found || numErr != nil || denErr != nil {
				return false
			}
			*field = Ratio{n, d}
			return true
		},
		show:  func() string { return field.String() },
		valid: func() bool { return field.Num >= 1 && field.Num <= maxRatio && field.Den >= 1 && field.Den <= maxRatio },
	}
}

// disagreements returns what is wrong with values that are each valid.
func (c *Cash) disagreements(report func(key, value, expected string)) {
	seen := make(map[int]bool)
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if a.Member != 0 && seen[a.Member] {
			report(c.accountPrefix(i)+"member", strconv.Itoa(a.Member), "a member that no other item has")
		}
		seen[a.Member] = true
	}
	if c.Currency == "" { // The others may stand there already; they do nothing yet.
		return
	}
	if c.Price == (Ratio{}) {
		report("settlement.cash_price", "", "a price, since settlement.cash_currency is given")
	}
	if c.Bank == "" {
		report("settlement.cash_bank", "", "a bank, since settlement.cash_currency is given")
	}
	if c.Account == "" {
		report("settlement.cash_account", "", "an account, since settlement.cash_currency is given")
	}
}
