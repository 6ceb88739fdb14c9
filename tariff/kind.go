package tariff

import (
	"slices"

	"github.com/lianfen/lianfen/points"
)

// Kind is what a clearing item is. The three letters are those of the files.
type Kind uint8

// Kinds of items. The numbers are written in journals: only append.
const (
	KindRDM Kind = iota + 1 // redemption of the issuer's points at the acquirer
	KindEAR                 // earn of the issuer's points at the acquirer
	KindSWP                 // swap of the issuer's points into the target's
	KindRFD                 // refund, whole or in parts
	KindRVS                 // reversal or void
	KindCBK                 // chargeback
	KindREP                 // re-presentment: takes a chargeback back
	KindADJ                 // adjustment: one leg, said outright
	KindFEE                 // a fee outside the schedule: one leg, said outright
	endOfKinds
)

// Kinds is the number of kinds plus one: the size of an array by kind.
const Kinds = int(endOfKinds)

// Original reports whether an item of this kind is valued on its own, at the time
// of its decision.
func (k Kind) Original() bool { return k >= KindRDM && k <= KindSWP }

// Undoing reports whether an item of this kind is about an earlier one, whose
// rate, fees and signs it has: a refund, reversal, chargeback or re-presentment.
func (k Kind) Undoing() bool { return k >= KindRFD && k <= KindREP }

// Explicit reports whether an item of this kind says its one leg outright.
func (k Kind) Explicit() bool { return k == KindADJ || k == KindFEE }

func kindNames() []string {
	return []string{"RDM", "EAR", "SWP", "RFD", "RVS", "CBK", "REP", "ADJ", "FEE"}
}

// String renders the three letters.
func (k Kind) String() string { return nameOf(kindNames(), int(k)) }

// MarshalText is [Kind.String].
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the three letters.
func (k *Kind) UnmarshalText(text []byte) error {
	return readName(k, kindNames(), "kind of item", text)
}

// Code says what a leg is for. It is the code of net positions and statements.
type Code uint8

// Codes of legs. The numbers are written in journals: only append.
const (
	CodeRDM Code = iota + 1 // value of a redemption
	CodeEAR                 // value of an earn
	CodeSWP                 // worth of what a swap granted
	CodeRFD                 // value of a refund
	CodeRVS                 // value of a reversal
	CodeCBK                 // value of a chargeback, and of its re-presentment
	CodeADJ                 // adjustment
	CodeICF                 // interchange
	CodeSWF                 // switch fee, or a swap's spread, net of VAT: the operator's share
	CodeVAT                 // VAT in the fee
	CodeOTH                 // shares of a fee that others have; fees outside the schedule
	CodeRND                 // what rounding leaves of a swap
	endOfCodes
)

// Codes is the number of codes plus one: the size of an array by code.
const Codes = int(endOfCodes)

func codeNames() []string {
	return []string{"RDM", "EAR", "SWP", "RFD", "RVS", "CBK", "ADJ", "ICF", "SWF", "VAT", "OTH", "RND"}
}

// String renders the three letters, "*" for 0.
func (c Code) String() string {
	if c == 0 {
		return "*"
	}
	return nameOf(codeNames(), int(c))
}

// MarshalText is [Code.String].
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the three letters.
func (c *Code) UnmarshalText(text []byte) error {
	return readName(c, codeNames(), "code of a leg", text)
}

// ValueCode is the code of the leg that carries an item's value: of what undoes an item, that
// of the undoing.
func (k Kind) ValueCode() Code {
	switch k {
	case KindRDM:
		return CodeRDM
	case KindEAR:
		return CodeEAR
	case KindSWP:
		return CodeSWP
	case KindRFD:
		return CodeRFD
	case KindRVS:
		return CodeRVS
	case KindCBK, KindREP:
		return CodeCBK
	case KindADJ:
		return CodeADJ
	default:
		return CodeOTH
	}
}

// Side is what a rate is for.
type Side uint8

// Sides of a rate. The numbers are written in journals: only append.
const (
	Clear Side = iota + 1 // what a point is worth between members at settlement
	Buy                   // what a swap credits for a point handed in
	Sell                  // what a swap asks for a point handed out
	endOfSides
)

func sideNames() []string { return []string{"CLEAR", "BUY", "SELL"} }

// Valid reports whether s is a side.
func (s Side) Valid() bool { return s > 0 && s < endOfSides }

// String renders CLEAR, BUY or SELL.
func (s Side) String() string { return nameOf(sideNames(), int(s)) }

// MarshalText is [Side.String].
func (s Side) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads CLEAR, BUY or SELL.
func (s *Side) UnmarshalText(text []byte) error {
	return readName(s, sideNames(), "side of a rate", text)
}

// Role is what a member is to an item, for fee shares that follow the item.
type Role uint8

// Roles. The numbers are written in journals: only append.
const (
	RoleOperator Role = iota + 1
	RoleIssuer
	RoleAcquirer
	RoleTarget
	endOfRoles
)

func roleNames() []string { return []string{"operator", "issuer", "acquirer", "target"} }

// String renders the role in lower case.
func (r Role) String() string { return nameOf(roleNames(), int(r)) }

// MarshalText is [Role.String].
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Role) UnmarshalText(text []byte) error { return readName(r, roleNames(), "role", text) }

// nameOf returns the name of value n of an enumeration that starts at 1.
func nameOf(names []string, n int) string {
	if n < 1 || n > len(names) {
		return "?"
	}
	return names[n-1]
}

func readName[T ~uint8](value *T, names []string, what string, text []byte) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return points.Errorf(points.FormatError, "%s %q: want one of %v", what, text, names)
	}
	*value = T(i + 1)
	return nil
}
