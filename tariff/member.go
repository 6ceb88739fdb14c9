package tariff

import (
	"strconv"

	"github.com/lianfen/lianfen/points"
)

// Member is a party of clearing: an institution, in settlement's one number space
// of eight digits, or one of the operator's accounts. An issuer and an acquirer
// with the same number are one member. 0 is "nobody", and "any" in a [FeeRow].
type Member uint32

// MaxMember is the largest number of an institution.
const MaxMember Member = 99_999_999

// The operator's accounts are members of their own kind, behind all institutions.
const (
	AccountFee      Member = MaxMember + 1 + iota // switch fees, net of VAT
	AccountVAT                                    // VAT in the fees
	AccountRound                                  // what rounding leaves of swaps
	AccountSuspense                               // what nobody owns yet
	endOfMembers
)

// Accounts returns the operator's accounts in order.
func Accounts() [4]Member {
	return [4]Member{AccountFee, AccountVAT, AccountRound, AccountSuspense}
}

// MemberOf returns the member that an institution's number names. Numbers of more
// than eight digits, which DE32 and DE100 can carry, have no place in settlement.
func MemberOf[T points.IssuerID | points.AcquirerID](number T) (Member, error) {
	if number == 0 || uint64(number) > uint64(MaxMember) {
		return 0, points.Errorf(points.FormatError,
			"institution %d: settlement numbers its members with 1 to 8 digits; register it under a number of up to %d", number, MaxMember)
	}
	return Member(number), nil
}

// ParseMember reads what [Member.String] wrote: 1 to 8 digits, or the name of an
// account of the operator.
func ParseMember(s string) (Member, error) {
	for _, account := range Accounts() {
		if s == account.String() {
			return account, nil
		}
	}
	number, err := strconv.ParseUint(s, 10, 32)
	if err != nil || number == 0 || number > uint64(MaxMember) {
		return 0, points.Errorf(points.FormatError, "member %q: want 1 to 8 digits, or FEE, VAT, ROUND, SUSPENSE", s)
	}
	return Member(number), nil
}

// Institution reports whether m is an institution.
func (m Member) Institution() bool { return m > 0 && m <= MaxMember }

// Account reports whether m is an account of the operator.
func (m Member) Account() bool { return m > MaxMember && m < endOfMembers }

// Valid reports whether m can be a party of a leg.
func (m Member) Valid() bool { return m > 0 && m < endOfMembers }

// String renders eight digits, or the account's name; "*" for 0.
func (m Member) String() string { return string(m.Append(nil)) }

// Append appends what [Member.String] renders.
func (m Member) Append(dst []byte) []byte {
	switch m {
	case 0:
		return append(dst, '*')
	case AccountFee:
		return append(dst, "FEE"...)
	case AccountVAT:
		return append(dst, "VAT"...)
	case AccountRound:
		return append(dst, "ROUND"...)
	case AccountSuspense:
		return append(dst, "SUSPENSE"...)
	default:
		for least := Member(10_000_000); least > m; least /= 10 {
			dst = append(dst, '0')
		}
		return strconv.AppendUint(dst, uint64(m), 10)
	}
}

// MarshalText is [Member.String].
func (m Member) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is [ParseMember], and takes "*" for 0.
func (m *Member) UnmarshalText(text []byte) (err error) {
	if string(text) == "*" {
		*m = 0
		return nil
	}
	*m, err = ParseMember(string(text))
	return err
}
