package book

import (
	"encoding/binary"
	"fmt"

	"github.com/lianfen/lianfen/points"
)

// DisputeStep is one step of a dispute. The numbers are written in the journal: never
// renumber, only append.
type DisputeStep uint8

// Steps. Those that take or give back points yield one item of clearing each.
const (
	StepRetrieval     DisputeStep = iota + 1 // 调单: the issuer asks for the slip
	StepAnswer                               // 调单回复: the acquirer has sent it
	StepChargeback                           // 退单: the issuer takes back
	StepRepresentment                        // 再请款: the acquirer takes again
	StepArbitration                          // 仲裁: the issuer asks the operator to decide
	StepUphold                               // the operator: the issuer is right, and takes back
	StepDismiss                              // the operator: the acquirer keeps what it has
	StepAccept                               // who is to answer gives in
	StepCreditAdj                            // 贷记调整: the acquirer gives back by itself
	StepDebitAdj                             // 请款: the acquirer asks back what a closed case took
	StepException                            // 例外: by agreement, outside the rules

	disputeStepCount
)

var disputeStepNames = [disputeStepCount]string{
	StepRetrieval: "retrieval", StepAnswer: "answer", StepChargeback: "chargeback", StepRepresentment: "representment", StepArbitration: "arbitration",
	StepUphold: "uphold", StepDismiss: "dismiss", StepAccept: "accept", StepCreditAdj: "credit_adj", StepDebitAdj: "debit_adj", StepException: "exception",
}

// String returns the name used in tables and in JSON.
func (s DisputeStep) String() string { return nameAt(disputeStepNames[:], uint8(s), "step") }

// MarshalText renders the name.
func (s DisputeStep) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *DisputeStep) UnmarshalText(text []byte) error {
	at, err := nameIndex(disputeStepNames[:], text, "step of a dispute")
	*s = DisputeStep(at)
	return err
}

// takes reports whether the step takes points back from the acquirer, gives whether it
// gives them to the acquirer again.
func (s DisputeStep) takes() bool {
	return s == StepChargeback || s == StepUphold || s == StepCreditAdj || s == StepException
}

func (s DisputeStep) gives() bool { return s == StepRepresentment || s == StepDebitAdj }

// decides reports whether the step moves points or ends the case: then it is an act that
// can need a second person. The others are messages between the parties.
func (s DisputeStep) decides() bool {
	return s.takes() || s.gives() || s == StepDismiss || s == StepAccept
}

// DisputeState is where a dispute stands. The numbers are in checkpoints: only append.
type DisputeState uint8

// States; 0 is no dispute.
const (
	DisputeRetrieval DisputeState = iota + 1
	DisputeChargeback
	DisputeRepresentment
	DisputeArbitration
	DisputeClosed
	DisputeCreditAdj
	DisputeDebitAdj
	DisputeException

	disputeStateCount
)

var disputeStateNames = [disputeStateCount]string{
	"none", DisputeRetrieval: "RETRIEVAL", DisputeChargeback: "CHARGEBACK", DisputeRepresentment: "REPRESENTMENT", DisputeArbitration: "ARBITRATION",
	DisputeClosed: "CLOSED", DisputeCreditAdj: "CREDIT_ADJ", DisputeDebitAdj: "DEBIT_ADJ", DisputeException: "EXCEPTION",
}

// String returns the name used in tables and in JSON.
func (s DisputeState) String() string {
	return nameAt(disputeStateNames[:], uint8(s), "state")
}

// MarshalText renders the name.
func (s DisputeState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *DisputeState) UnmarshalText(text []byte) error {
	at, err := nameIndex(disputeStateNames[:], text, "state of a dispute")
	*s = DisputeState(at)
	return err
}

// open reports whether somebody is to answer.
func (s DisputeState) open() bool { return s >= DisputeRetrieval && s <= DisputeArbitration }

// after is the state that a step leads to.
func (s DisputeStep) after(was DisputeState) DisputeState {
	switch s {
	case StepRetrieval, StepAnswer:
		return DisputeRetrieval
	case StepChargeback:
		return DisputeChargeback
	case StepRepresentment:
		return DisputeRepresentment
	case StepArbitration:
		return DisputeArbitration
	case StepUphold, StepDismiss, StepAccept:
		return DisputeClosed
	case StepCreditAdj:
		return DisputeCreditAdj
	case StepDebitAdj:
		return DisputeDebitAdj
	case StepException:
		return DisputeException
	default:
		return was
	}
}

// DisputeStates is a set of states: bit n is the state n, bit 0 no dispute.
type DisputeStates uint16

func statesOf(states ...DisputeState) (set DisputeStates) {
	for _, s := range states {
		set |= 1 << s
	}
	return set
}

// Has reports whether s is in the set.
func (set DisputeStates) Has(s DisputeState) bool { return set>>s&1 != 0 }

// String returns the names, with commas between them.
func (set DisputeStates) String() string { return setString(uint16(set), disputeStateNames[:], 0) }

// MarshalText renders the names.
func (set DisputeStates) MarshalText() ([]byte, error) { return []byte(set.String()), nil }

// UnmarshalText reads names with commas between them.
func (set *DisputeStates) UnmarshalText(text []byte) error {
	n, err := parseSet(string(text), disputeStateNames[:], 0, "state of a dispute")
	*set = DisputeStates(n)
	return err
}

// Party is who takes a step.
type Party uint8

// Parties.
const (
	PartyIssuer Party = iota + 1
	PartyAcquirer
	PartyOperator

	partyCount
)

var partyNames = [partyCount]string{PartyIssuer: "issuer", PartyAcquirer: "acquirer", PartyOperator: "operator"}

// String returns the name used in tables and in JSON; "-" for nobody.
func (p Party) String() string {
	if p == 0 {
		return "-"
	}
	return nameAt(partyNames[:], uint8(p), "party")
}

// MarshalText renders the name.
func (p Party) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a name.
func (p *Party) UnmarshalText(text []byte) error {
	at, err := nameIndex(partyNames[:], text, "party")
	*p = Party(at)
	return err
}

// DisputeRule is one reason for one step: what it needs, and until when. Rules are data,
// so that another alliance's terms are another file and no other program.
type DisputeRule struct {
	Code   string        `json:"code"` // reason code, 1 to 8 characters
	Step   DisputeStep   `json:"step"`
	Who    Party         `json:"who"`
	From   DisputeStates `json:"from"`             // in which states of the case
	Days   uint16        `json:"days,omitempty"`   // after the original at the latest; 0: any time
	Answer uint16        `json:"answer,omitempty"` // so many days has the other side; 0: no limit
	Once   bool          `json:"once,omitempty"`   // per original, whatever the reason code
	// Evidence has to be named: a file's name and digest, a case number.
	Evidence bool   `json:"evidence,omitempty"`
	Name     string `json:"name"`
	NameZH   string `json:"name_zh,omitempty"`
}

// DisputeRules is what disputes follow.
type DisputeRules struct {
	Rules []DisputeRule `json:"rules"`
}

// MaxDisputeRules bounds a set of rules.
const MaxDisputeRules = 200

// DefaultDisputeRules are in force until others are put. The limits are those that members
// of the interbank alliance know: retrieval within 120 days, an answer within 20.
func DefaultDisputeRules() *DisputeRules {
	fresh := statesOf(0, DisputeRetrieval)
	over := statesOf(DisputeClosed, DisputeCreditAdj, DisputeDebitAdj, DisputeException)
	charge := func(code, name, zh string) DisputeRule {
		return DisputeRule{Code: code, Step: StepChargeback, Who: PartyIssuer, From: fresh, Days: 180, Answer: 20, Once: true, Evidence: true, Name: name, NameZH: zh}
	}
	return &DisputeRules{Rules: []DisputeRule{
		{Code: "RET", Step: StepRetrieval, Who: PartyIssuer, From: statesOf(0), Days: 120, Answer: 20, Once: true, Name: "request for the slip", NameZH: "调单"},
		{Code: "ANS", Step: StepAnswer, Who: PartyAcquirer, From: statesOf(DisputeRetrieval), Answer: 20, Once: true, Evidence: true, Name: "slip supplied", NameZH: "调单回复"},
		charge("CB01", "goods or service not received", "未收到商品或服务"),
		charge("CB02", "processed twice", "重复入账"),
		charge("CB03", "amount differs", "金额不符"),
		charge("CB04", "member did not take part", "会员否认交易"),
		charge("CB05", "credit not processed", "退货未入账"),
		{Code: "REP", Step: StepRepresentment, Who: PartyAcquirer, From: statesOf(DisputeChargeback), Answer: 20, Once: true, Evidence: true, Name: "re-presentment", NameZH: "再请款"},
		{Code: "ARB", Step: StepArbitration, Who: PartyIssuer, From: statesOf(DisputeRepresentment), Once: true, Evidence: true, Name: "arbitration asked for", NameZH: "申请仲裁"},
		{Code: "UPH", Step: StepUphold, Who: PartyOperator, From: statesOf(DisputeArbitration), Evidence: true, Name: "ruled for the issuer", NameZH: "裁决支持积分发行方"},
		{Code: "DIS", Step: StepDismiss, Who: PartyOperator, From: statesOf(DisputeArbitration), Evidence: true, Name: "ruled for the acquirer", NameZH: "裁决支持收单方"},
		{Code: "ACA", Step: StepAccept, Who: PartyAcquirer, From: statesOf(DisputeChargeback), Name: "chargeback accepted", NameZH: "接受退单"},
		{Code: "ACI", Step: StepAccept, Who: PartyIssuer, From: statesOf(DisputeRepresentment), Name: "re-presentment accepted", NameZH: "接受再请款"},
		{Code: "CRA", Step: StepCreditAdj, Who: PartyAcquirer, From: fresh | over, Days: 365, Name: "credit adjustment", NameZH: "贷记调整"},
		{Code: "DBA", Step: StepDebitAdj, Who: PartyAcquirer, From: over, Days: 365, Evidence: true, Name: "debit adjustment", NameZH: "请款"},
		{Code: "EXC", Step: StepException, Who: PartyOperator, From: fresh | over, Evidence: true, Name: "exception by agreement", NameZH: "例外处理"},
	}}
}

// find returns the rule with a code; nil where there is none.
func (s *DisputeRules) find(code string) *DisputeRule {
	for i := range s.Rules {
		if s.Rules[i].Code == code {
			return &s.Rules[i]
		}
	}
	return nil
}

func (s *DisputeRules) valid() error {
	if len(s.Rules) == 0 {
		return wrong("rules", "[]", "want one or more")
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		at := fmt.Sprintf("rules[%d] %s: ", i, r.Code)
		switch {
		case s.find(r.Code) != r:
			return wrong(at+"code", r.Code, "each has its own")
		case !validCode(r.Code):
			return wrong(at+"code", fmt.Sprintf("%q", r.Code), "want 1 to 8 of A-Z and 0-9")
		case r.Step == 0 || r.Step >= disputeStepCount:
			return wrong(at+"step", r.Step, "there is none such")
		case r.Who == 0 || r.Who >= partyCount:
			return wrong(at+"who", r.Who, "want issuer, acquirer or operator")
		case r.From == 0 || r.From>>disputeStateCount != 0:
			return wrong(at+"from", r.From, "want one or more states, or none")
		case r.Name == "":
			return wrong(at+"name", `""`, wantName)
		case !r.fits():
			return wrong(at+"from", r.From, fmt.Sprintf("the step %v is not taken from there", r.Step))
		}
	}
	return nil
}

// fits holds what the picture of the states says against from: rules choose among its
// arrows and cannot draw others.
func (r *DisputeRule) fits() bool {
	over := statesOf(DisputeClosed, DisputeCreditAdj, DisputeDebitAdj, DisputeException)
	may := map[DisputeStep]DisputeStates{
		StepRetrieval: statesOf(0), StepAnswer: statesOf(DisputeRetrieval), StepChargeback: statesOf(0, DisputeRetrieval),
		StepRepresentment: statesOf(DisputeChargeback), StepArbitration: statesOf(DisputeRepresentment),
		StepUphold: statesOf(DisputeArbitration), StepDismiss: statesOf(DisputeArbitration), StepAccept: statesOf(DisputeChargeback, DisputeRepresentment),
		StepCreditAdj: statesOf(0, DisputeRetrieval) | over, StepDebitAdj: over, StepException: statesOf(0, DisputeRetrieval) | over,
	}
	return r.From&^may[r.Step] == 0
}

func validCode(code string) bool {
	for i := range len(code) {
		if c := code[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return code != "" && len(code) <= maxCode
}

const maxCode = 8 // bytes of a reason code

func (s *DisputeRules) malformed() error {
	if len(s.Rules) > MaxDisputeRules {
		return points.Errorf(points.FormatError, "%d rules of disputes, want at most %d", len(s.Rules), MaxDisputeRules)
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		if err := longest(maxName, text{"code", r.Code}, text{"name", r.Name}, text{"name_zh", r.NameZH}); err != nil {
			return err
		}
	}
	return nil
}

// Bits of a rule on the wire.
const (
	ruleOnce = 1 << iota
	ruleEvidence
)

func (s *DisputeRules) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.Rules)))
	for i := range s.Rules {
		r := &s.Rules[i]
		var flags byte
		if r.Once {
			flags |= ruleOnce
		}
		if r.Evidence {
			flags |= ruleEvidence
		}
		dst = append(appendText(dst, r.Code), byte(r.Step), byte(r.Who), flags)
		for _, n := range [...]uint16{uint16(r.From), r.Days, r.Answer} {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
		dst = appendText(appendText(dst, r.Name), r.NameZH)
	}
	return dst
}

func decodeDisputeRules(r *reader) *DisputeRules {
	s := new(DisputeRules)
	for range r.count(MaxDisputeRules, 9) {
		rule := DisputeRule{Code: r.text(maxName), Step: DisputeStep(r.byte()), Who: Party(r.byte())}
		flags := r.byte()
		rule.Once, rule.Evidence = flags&ruleOnce != 0, flags&ruleEvidence != 0
		rule.From, rule.Days, rule.Answer = DisputeStates(r.uint16()), r.uint16(), r.uint16()
		rule.Name, rule.NameZH = r.text(maxName), r.text(maxName)
		s.Rules = append(s.Rules, rule)
	}
	return s
}
