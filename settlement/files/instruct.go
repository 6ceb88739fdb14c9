package files

import (
	"fmt"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// InstructionID names the payment of a row of NET; empty where there is none of its own. Of
// all counterparties and codes it is the member's with the settlement account, by which its
// position in the model is paid in one. Of one counterparty and code there is none in MNET;
// in BNET it is that of the pair, whoever of the two reads it; in GROSS that of the pair and
// code: what is paid under it is not netted, and each leg in it is an item of the detail
// files. 35 characters at most.
func InstructionID(date points.BusinessDate, cycle uint8, model netting.Model, m, counterparty tariff.Member, code tariff.Code) string {
	day := fmt.Sprintf("%08d-%02d", uint32(date), cycle)
	switch {
	case counterparty == 0 && code == 0:
		return fmt.Sprintf("%s-%v-%v", day, m, model)
	case model == netting.BNET:
		return fmt.Sprintf("%s-%v-%v-BNET", day, min(m, counterparty), max(m, counterparty))
	case model == netting.GROSS:
		return fmt.Sprintf("%s-%v-%v-%v-G", day, min(m, counterparty), max(m, counterparty), code)
	default:
		return ""
	}
}

// settledBy is what the payment of a row settles: rows of which it is the same are settled by
// one payment, others by others.
type settledBy struct {
	model        netting.Model
	lower, upper tariff.Member
	code         tariff.Code
}

func (p *Position) settledBy() settledBy {
	switch {
	case p.Whole():
		return settledBy{model: p.Model, lower: p.Member}
	case p.Model == netting.BNET:
		return settledBy{p.Model, min(p.Member, p.Counterparty), max(p.Member, p.Counterparty), 0}
	default:
		return settledBy{p.Model, min(p.Member, p.Counterparty), max(p.Member, p.Counterparty), p.Code}
	}
}

// instructions names the rows whose payment is not what it has to be: one for each position
// of a member, and on the rows by counterparty one for each pair in BNET, each pair and code
// in GROSS, under a name of its own. In files of before these rows had none.
func instructions(rows []Position) (broken []FormatError) {
	type position struct {
		member tariff.Member
		model  netting.Model
	}
	paired := make(map[position]bool)
	for i := range rows {
		if p := &rows[i]; !p.Whole() && p.Instruction != "" {
			paired[position{p.Member, p.Model}] = true
		}
	}
	names, settles := make(map[settledBy]string), make(map[string]settledBy)
	for i := range rows {
		p := &rows[i]
		wrong := func(expected string) {
			broken = append(broken, FormatError{Line: uint64(i) + 2, Column: 1, Field: "instruction_id", Found: p.Instruction, Expected: expected}) //nolint:gosec // an index.
		}
		if !p.Whole() && (p.Model == netting.MNET || !paired[position{p.Member, p.Model}]) {
			if p.Instruction != "" {
				wrong("none: in MNET it is on the row of all")
			}
			continue
		}
		by := p.settledBy()
		name, known := names[by]
		of, taken := settles[p.Instruction]
		switch {
		case p.Instruction == "":
			wrong("the payment that settles the row")
		case known && name != p.Instruction:
			wrong(name + ", as in the other rows that it settles")
		case taken && of != by:
			wrong("another one: it settles rows of another member, pair or code")
		}
		names[by], settles[p.Instruction] = p.Instruction, by
	}
	return broken
}
