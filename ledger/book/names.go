package book

import (
	"fmt"

	"github.com/lianfen/lianfen/points"
)

var statusNames = [...]string{Active: "active", Suspended: "suspended", Lost: "lost", Stolen: "stolen", Dormant: "dormant", Closed: "closed"}

// String returns the name used in files and in JSON.
func (s Status) String() string { return nameAt(statusNames[:], uint8(s), "status") }

// MarshalText renders the name; nothing for a status that is not said.
func (s Status) MarshalText() ([]byte, error) {
	if s == 0 {
		return nil, nil
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads a name, or nothing.
func (s *Status) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = 0
		return nil
	}
	at, err := nameIndex(statusNames[:], text, "status")
	*s = Status(at)
	return err
}

var accountKindNames = [...]string{
	MemberAccount: "member", DebtAccount: "debt", IssuedAccount: "issued", ClearingAccount: "clearing", BreakageAccount: "breakage",
	FeeAccount: "fee", RoundingAccount: "rounding", SponsorAccount: "sponsor", HouseAccount: "house", SuspenseAccount: "suspense",
}

// String returns the name used in tables and in JSON.
func (k AccountKind) String() string { return nameAt(accountKindNames[:], uint8(k), "account") }

// MarshalText renders the name.
func (k AccountKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a name.
func (k *AccountKind) UnmarshalText(text []byte) error {
	at, err := nameIndex(accountKindNames[:], text, "account")
	*k = AccountKind(at)
	return err
}

var kindNames = [kindCount]string{
	KindPut: "put", KindOpen: "open", KindFreeze: "freeze", KindClose: "close", KindSignOn: "sign_on", KindBalance: "balance",
	KindEarn: "earn", KindRedeem: "redeem", KindHold: "hold", KindIncrement: "increment", KindCapture: "capture",
	KindRelease: "release", KindExpireHolds: "expire_holds", KindVoid: "void", KindRefund: "refund", KindReverse: "reverse",
	KindTransfer: "transfer", KindAdjust: "adjust", KindReinstate: "reinstate", KindExpireLots: "expire_lots",
	KindVestLots: "vest_lots", KindCutOver: "cut_over", KindSettle: "settle", KindGroup: "group", KindDecay: "decay",
	KindForward: "forward", KindConclude: "conclude", KindStandIn: "stand_in", KindOwe: "owe",
	KindAcknowledge: "acknowledge", KindGiveUp: "give_up", KindResolve: "resolve",
	KindCloseBatch: "close_batch", KindUpload: "upload", KindDownload: "download",
	KindSignIn: "sign_in", KindEnrol: "enrol", KindPropose: "propose", KindApprove: "approve", KindReject: "reject", KindNote: "note",
	KindPIN: "pin", KindPost: "post", KindDispute: "dispute", KindExpireDisputes: "expire_disputes", KindLeg: "leg", KindKeystore: "keystore",
	KindQuote: "quote", KindSwapLock: "swap_lock", KindSwap: "swap", KindSwapCancel: "swap_cancel", KindExpireSwaps: "expire_swaps",
	KindRegister: "register", KindSwapTold: "swap_told", KindSwapRetry: "swap_retry",
}

// String returns the name used in tables and in JSON.
func (k Kind) String() string { return nameAt(kindNames[:], uint8(k), "kind") }

// MarshalText renders the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a name.
func (k *Kind) UnmarshalText(text []byte) error {
	at, err := nameIndex(kindNames[:], text, "kind")
	*k = Kind(at)
	return err
}

func nameAt(names []string, at uint8, what string) string {
	if int(at) >= len(names) || names[at] == "" {
		return fmt.Sprintf("%s(%d)", what, at)
	}
	return names[at]
}

func nameIndex(names []string, text []byte, what string) (uint8, error) {
	for i, name := range names {
		if name != "" && name == string(text) {
			return uint8(i), nil
		}
	}
	return 0, points.Errorf(points.FormatError, "%s %q: no such name", what, text)
}
