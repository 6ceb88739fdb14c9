package book

import (
	"encoding/binary"
	"math"

	"github.com/lianfen/lianfen/points"
)

// appendRisk writes a set of rules. What the book has given it, the place in the journal
// and the names of counters, is zero in a command.
func appendRisk(dst []byte, s *RiskRules) []byte {
	for _, n := range [...]uint64{uint64(s.Version), uint64(s.Parties), uint64(s.position), uint64(len(s.Rules))} {
		dst = binary.AppendUvarint(dst, n)
	}
	for i := range s.Rules {
		dst = appendRule(dst, &s.Rules[i])
	}
	return dst
}

func appendRule(dst []byte, r *RiskRule) []byte {
	attempts := byte(0)
	if r.Attempts {
		attempts = 1
	}
	dst = appendText(dst, r.Name)
	dst = append(dst, byte(r.Measure), byte(r.Per), byte(r.Action), byte(r.Reason), attempts)
	dst = appendList(dst, r.Functions, func(dst []byte, f points.Function) []byte { return append(dst, byte(f)) })
	dst = appendList(dst, r.Programs, func(dst []byte, id points.ProgramID) []byte { return binary.AppendUvarint(dst, uint64(id)) })
	dst = appendList(dst, r.Acquirers, func(dst []byte, id points.AcquirerID) []byte { return binary.AppendUvarint(dst, uint64(id)) })
	dst = appendList(dst, r.Merchants, func(dst []byte, id points.MerchantID) []byte { return append(dst, id[:]...) })
	dst = appendList(dst, r.Terminals, func(dst []byte, id points.TerminalID) []byte { return append(dst, id[:]...) })
	dst = appendList(dst, r.EntryModes, func(dst []byte, mode uint16) []byte { return binary.AppendUvarint(dst, uint64(mode)) })
	for _, n := range [...]uint64{uint64(r.NewHours), uint64(r.Window), uint64(r.serial), uint64(r.since)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return appendAmount(appendAmount(appendAmount(dst, r.From), r.To), r.Limit)
}

func appendList[T any](dst []byte, list []T, one func([]byte, T) []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, item := range list {
		dst = one(dst, item)
	}
	return dst
}

func decodeRisk(r *reader) *RiskRules {
	s := &RiskRules{Version: r.uint32(), Parties: r.uint32(), position: r.position()}
	for range r.count(MaxRiskRules, 20) {
		s.Rules = append(s.Rules, decodeRule(r))
	}
	return s
}

func decodeRule(r *reader) (rule RiskRule) {
	rule.Name = r.text(maxName)
	rule.Measure, rule.Per, rule.Action = Measure(r.byte()), Per(r.byte()), Action(r.byte())
	rule.Reason = points.Reason(r.byte())
	rule.Attempts = r.byte() != 0
	rule.Functions = decodeList(r, 1, func() points.Function { return points.Function(r.byte()) })
	rule.Programs = decodeList(r, 1, r.program)
	rule.Acquirers = decodeList(r, 1, func() points.AcquirerID { return points.AcquirerID(r.uvarint()) })
	rule.Merchants = decodeList(r, len(points.MerchantID{}), func() (id points.MerchantID) { r.fixed(id[:]); return id })
	rule.Terminals = decodeList(r, len(points.TerminalID{}), func() (id points.TerminalID) { r.fixed(id[:]); return id })
	rule.EntryModes = decodeList(r, 1, r.uint16)
	rule.NewHours, rule.Window, rule.serial, rule.since = r.uint32(), Window(r.uint32()), r.uint32(), r.position()
	rule.From, rule.To, rule.Limit = r.amount(), r.amount(), r.amount()
	return rule
}

func decodeList[T any](r *reader, width int, one func() T) (list []T) {
	for range r.count(maxScope, width) {
		list = append(list, one())
	}
	return list
}

// appendDecision writes what the rules had to say.
func appendDecision(dst []byte, d Decision) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(d.Version)), d.Rule)
	return binary.AppendUvarint(dst, d.Flags)
}

func decodeDecision(r *reader) Decision {
	d := Decision{Version: r.uint32(), Rule: r.byte(), Flags: r.uvarint()}
	if d == (Decision{}) {
		r.fail()
	}
	return d
}

// riskRoot is what belongs to the counters as a whole; there is one, from the first set
// of rules on.
type riskRoot struct {
	node
	parties uint32       // how many there are in the store
	hand    uint32       // where the search for one that is over goes on
	serial  uint32       // the last that a rule was given
	shared  []windowPart // of those beyond the bound
}

func (t *riskRoot) appendKey(dst []byte) []byte { return append(dst, stateRisk) }

func (t *riskRoot) appendValue(dst []byte) []byte {
	if t.serial == 0 {
		return dst
	}
	dst = append(dst, stateVersion)
	for _, n := range [...]uint32{t.parties, t.hand, t.serial} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return appendParts(dst, t.shared)
}

func (t *riskRoot) decodeValue(r *reader) {
	t.parties, t.hand, t.serial = r.uint32(), r.uint32(), r.uint32()
	t.shared = decodeParts(r)
}

func (p *party) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(append(dst, stateParty), p.ordinal)
}

func (p *party) appendValue(dst []byte) []byte {
	late := byte(0)
	if p.late {
		late = 1
	}
	dst = append(dst, stateVersion, byte(p.key.per), late)
	dst = binary.AppendUvarint(dst, uint64(p.key.program))
	dst = append(append(dst, p.key.who[:]...), p.key.where[:]...)
	return appendParts(dst, p.parts)
}

func (p *party) decodeValue(r *reader) {
	p.key.per, p.late = Per(r.byte()), r.byte() != 0
	p.key.program = r.program()
	r.fixed(p.key.who[:])
	r.fixed(p.key.where[:])
	p.parts = decodeParts(r)
}

// maxParts is how many parts of windows one party can have.
const maxParts = 2 * MaxRiskRules * (windowParts + 1)

func appendParts(dst []byte, parts []windowPart) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(parts)))
	for i := range parts {
		part := &parts[i]
		dst = binary.AppendUvarint(dst, uint64(part.serial)<<1|uint64(part.side))
		dst = binary.AppendUvarint(dst, uint64(part.slot))
		dst = binary.AppendUvarint(dst, uint64(part.count))
		dst = appendAmount(dst, part.amount)
	}
	return dst
}

func decodeParts(r *reader) (parts []windowPart) {
	for range r.count(maxParts, 4) {
		name := r.uvarint()
		if name>>1 > math.MaxUint32 {
			r.fail()
		}
		parts = append(parts, windowPart{serial: uint32(name >> 1), side: uint8(name & 1), slot: r.uint32(), count: r.uint32(), amount: r.amount()}) //nolint:gosec // looked at.
	}
	return parts
}

// malformed tells what keeps a set from being read back.
func (s *RiskRules) malformed() error {
	if len(s.Rules) > MaxRiskRules {
		return points.Errorf(points.FormatError, "%d rules: want at most %d", len(s.Rules), MaxRiskRules)
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		lists := max(len(r.Functions), len(r.Programs), len(r.Acquirers), len(r.Merchants), len(r.Terminals), len(r.EntryModes))
		if lists > maxScope || len(r.Name) > maxName {
			return points.Errorf(points.FormatError, "rule %d: want lists of at most %d and a name of at most %d bytes", i+1, maxScope, maxName)
		}
	}
	return nil
}
