package book

import (
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Entry is one piece of reference data; exactly one field is set.
type Entry struct {
	Issuer   *Issuer
	Acquirer *Acquirer
	Program  *Program
	Merchant *Merchant
	Terminal *Terminal
	Route    *Route
	Member   *Member
	Card     *Card
	Operator *Operator
	Policy   *Policy
	Risk     *RiskRules
	Disputes *DisputeRules
	Rate     *tariff.Rate     // of a command: its terms; who stands behind it is the book's to say
	Fees     *tariff.Schedule // likewise
	Cap      *Cap
	Swaps    *tariff.SwapTerms // as Rate: of a command, its rules
	Fund     *Fund
	Grant    *Grant
}

// Status is whether a participant, terminal, member or card takes part.
type Status uint8

// States of reference data.
const (
	Active Status = iota + 1
	Suspended
	Lost    // cards
	Stolen  // cards
	Dormant // cards: issued, not activated
	Closed
)

// Issuer owes the points of its programmes.
type Issuer struct {
	ID     points.IssuerID `json:"id"`
	Name   string          `json:"name"`
	NameZH string          `json:"name_zh,omitempty"`
	Status Status          `json:"status"`
	// Link names the link to the issuer's own host; empty: its ledger is hosted here.
	Link string `json:"link,omitempty"`
}

// Acquirer brings the traffic of its merchants.
type Acquirer struct {
	ID     points.AcquirerID `json:"id"`
	Name   string            `json:"name"`
	NameZH string            `json:"name_zh,omitempty"`
	Status Status            `json:"status"`
}

// Program is one points currency and its rules.
type Program struct {
	ID     points.ProgramID `json:"id"`
	Issuer points.IssuerID  `json:"issuer"`
	Name   string           `json:"name"`
	NameZH string           `json:"name_zh,omitempty"`
	Scale  uint8            `json:"scale"` // decimals that a person sees, 0 to 4
	Status Status           `json:"status"`
	// Alliance: DE60.7 065 asks for it; else 048.
	Alliance bool         `json:"alliance,omitempty"`
	Rules    ProgramRules `json:"rules"`
}

// ProgramRules are the terms of a programme. Zero values are the plainest terms.
type ProgramRules struct {
	ValidMonths   uint16        `json:"valid_months,omitempty"`    // 0: points never expire
	ExpiryAtMonth bool          `json:"expiry_at_month,omitempty"` // round the expiry up to the end of its month
	PendingDays   uint16        `json:"pending_days,omitempty"`    // earned points can be spent so many days later
	GraceDays     uint16        `json:"grace_days,omitempty"`      // a refunded lot that lapsed meanwhile lives so long; 0: straight to breakage
	HoldDays      uint16        `json:"hold_days,omitempty"`       // a hold lapses after so many days; 0: 30
	MinRedeem     points.Amount `json:"min_redeem,omitempty"`
	MaxAmount     points.Amount `json:"max_amount,omitempty"`       // per transaction; 0: no limit
	MaxRedeemDay  points.Amount `json:"max_redeem_day,omitempty"`   // per member and business date; 0: no limit
	MaxRedeemCnt  uint32        `json:"max_redeem_count,omitempty"` // redemptions per member and business date; 0: no limit
	OpenOnEarn    bool          `json:"open_on_earn,omitempty"`     // the first earn opens the account
	Debt          bool          `json:"debt,omitempty"`             // undoing an earn may leave a debt that the next earn repays
	Transfer      bool          `json:"transfer,omitempty"`         // members may give points to each other
	TransferMax   points.Amount `json:"transfer_max,omitempty"`     // per transfer; 0: no limit
	TransferDay   points.Amount `json:"transfer_day,omitempty"`     // given per member and business date; 0: no limit
	// Points lose DecayPart of what is left of each lot, in units of 1/10000, on the
	// first day of the month after DecayAfter months are over since they became
	// active, and every DecayEvery months from then on. 0: they do not.
	DecayPart  uint16 `json:"decay_basis_points,omitempty"`
	DecayAfter uint16 `json:"decay_after_months,omitempty"`
	DecayEvery uint16 `json:"decay_every_months,omitempty"`
	// Tier is the programme of the same issuer whose points count for a member's
	// status: an earn here gives as many of them. 0: there is none.
	Tier points.ProgramID `json:"tier,omitempty"`
	// Qualifying points are such a unit: nobody can redeem, hold or transfer them.
	Qualifying bool `json:"qualifying,omitempty"`
	// PINFrom is the amount from which spending needs a PIN; 0: it never does.
	PINFrom points.Amount `json:"pin_from,omitempty"`
}

// Merchant is a card acceptor (DE42).
type Merchant struct {
	ID       points.MerchantID `json:"id"`
	Acquirer points.AcquirerID `json:"acquirer"`
	Name     string            `json:"name"`
	NameZH   string            `json:"name_zh,omitempty"`
	MCC      uint16            `json:"mcc,omitempty"`
	Status   Status            `json:"status"`
	// Programs are accepted here, in the order in which one is chosen when the
	// request names none.
	Programs []points.ProgramID `json:"programs"`
	// Tender are the terms on which several programmes pay for one sale together, in
	// this order, where the request names none; none: one programme pays.
	Tender []TenderTerm `json:"tender,omitempty"`
}

// Terminal is a device at a merchant (DE41).
type Terminal struct {
	ID       points.TerminalID `json:"id"`
	Merchant points.MerchantID `json:"merchant"`
	Status   Status            `json:"status"`
	Batch    uint32            `json:"batch"` // the batch that its next sign-on is told; 1 when new
	// MAC is how its messages are authenticated, with the keys that a sign-on gives.
	MAC MAC `json:"mac,omitempty"`
	// MACOptional takes a message without a MAC all the same: while terminals change over.
	MACOptional bool `json:"mac_optional,omitempty"`
	// PIN says whether it has to send one.
	PIN PINRule `json:"pin,omitempty"`
	// DUKPT is the initial key of a terminal whose keys are derived for each message (ANSI
	// X9.24-3); zeros: it has others, or none.
	DUKPT InitialKey `json:"dukpt,omitzero"`
}

// Route sends the cards that begin with Prefix to an issuer.
type Route struct {
	Prefix string           `json:"prefix"`            // 1 to 11 digits
	Issuer points.IssuerID  `json:"issuer,omitempty"`  // 0: the programme's own issuer
	Only   points.ProgramID `json:"program,omitempty"` // 0: any programme
	// Links are the ways to an issuer that keeps its own ledger, at most [MaxRouteLinks];
	// none: the issuer's own link.
	Links []RouteLink `json:"links,omitempty"`
}

// MaxRouteLinks bounds the links of a route.
const MaxRouteLinks = 8

// RouteLink is one way to an issuer: of those that work, the ones of the lowest priority
// carry, in proportion to their weight.
type RouteLink struct {
	Link     string `json:"link"`
	Priority uint8  `json:"priority"` // from 1
	Weight   uint16 `json:"weight"`   // from 1
}

// Member is a person at one or more programmes.
type Member struct {
	ID     points.MemberID  `json:"id"`
	Ref    string           `json:"ref,omitempty"` // the issuer's own reference; no personal data
	Status Status           `json:"status"`
	Freeze Freeze           `json:"freeze,omitempty"`
	Since  points.Timestamp `json:"since,omitempty"`
}

// Card is a token of a member: it opens all of the member's accounts.
type Card struct {
	Token  points.CardToken `json:"-"`
	Masked string           `json:"masked"` // first six and last four digits
	Member points.MemberID  `json:"member"`
	Expiry uint32           `json:"expiry,omitempty"` // YYMM; 0: none
	Status Status           `json:"status"`
	// Since is when the card was first put, which later puts do not change; 0: nobody knows.
	Since points.Timestamp `json:"since,omitempty"`
}

// Registry is the reference data at one moment. A registry that was handed out
// is never changed again; the entries in it are shared and must not be written to.
// Members and cards are not in it: they are many, and stay with the accounts.
type Registry struct {
	Version   uint64 // grows with every put of what is in it
	Issuers   map[points.IssuerID]*Issuer
	Acquirers map[points.AcquirerID]*Acquirer
	Programs  map[points.ProgramID]*Program
	Merchants map[points.MerchantID]*Merchant
	Terminals map[points.TerminalID]*Terminal
	Routes    []*Route // ascending by prefix, then programme
	Operators map[string]*Operator
	Policy    Policy
	Risk      *RiskRules    // in force; nil: none were ever set
	Disputes  *DisputeRules // in force; nil: [DefaultDisputeRules]
	Rates     *tariff.Rates // every version; nil: there is none
	Fees      *tariff.Fees  // likewise
	Caps      map[tariff.Member]*Cap
	Swaps     *tariff.SwapTable // every version; nil: there is none
	Fund      *Fund             // the guarantee fund; nil: none was ever entered
	Grants    map[GrantKey]*Grant
}
