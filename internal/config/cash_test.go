package config_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/config"
)

// What a point is worth at the bank is read whole or refused with its keys: a price without a
// currency, a currency without all that it takes, an account that is none or there twice.
func TestCash(t *testing.T) {
	const one = "settlement:\n  cash_currency: CNY\n  cash_price: 1/100\n  cash_bank: ICBKCNBJ\n  cash_account: \"0200001009\"\n" +
		"  accounts:\n    - member: 20000001\n      bank: CNAPS:102100099996\n      account: \"6222001\"\n"
	c, err := config.Load(write(t, one), nil, []string{"settlement.accounts.20000001.account=6222002"})
	require.NoError(t, err)
	require.Equal(t, config.Cash{
		Currency: "CNY", Scale: 2, Price: config.Ratio{Num: 1, Den: 100}, Bank: "ICBKCNBJ", Account: "0200001009",
		Accounts: []config.MemberAccount{{Member: 20000001, Bank: "CNAPS:102100099996", Account: "6222002"}},
	}, c.Cash)

	account := one[strings.Index(one, "    - member"):]
	for text, want := range map[string]string{
		one + account:                                       "a member that no other item has",
		strings.Replace(one, "20000001", "x", 1):            "settlement.accounts.1.member",
		strings.Replace(one, "CNAPS:", "CNAPS-", 1):         "settlement.accounts.20000001.bank",
		strings.Replace(one, "\"6222001\"", "62 22", 1):     "settlement.accounts.20000001.account",
		strings.Replace(one, "CNY", "yuan", 1):              "settlement.cash_currency",
		strings.Replace(one, "1/100", "0.01", 1):            "settlement.cash_price",
		strings.Replace(one, "1/100", "0/1", 1):             "settlement.cash_price",
		strings.Replace(one, "1/100", "1/1000000000000", 1): "settlement.cash_price",
		strings.Replace(one, "ICBKCNBJ", "icbk", 1):         "settlement.cash_bank",
		"settlement:\n  accounts: yes\n":                    "a list of members",
	} {
		_, err := config.Load(write(t, text), nil, nil)
		require.ErrorContains(t, err, want, text)
	}
	_, err = config.Load(write(t, "settlement:\n  cash_currency: CNY\n"), nil, nil)
	for _, key := range []string{"cash_price", "cash_bank", "cash_account"} {
		require.ErrorContains(t, err, "settlement."+key)
	}
}
