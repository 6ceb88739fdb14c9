package files

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Both of a pair name their payment alike, no two payments have one name, and the longest
// name has the 35 characters that ISO 20022 allows.
func TestInstructionID(t *testing.T) {
	id := func(model netting.Model, m, with tariff.Member, code tariff.Code) string {
		return InstructionID(20260216, 1, model, m, with, code)
	}
	require.Equal(t, "20260216-01-10000001-MNET", id(netting.MNET, us, 0, 0))
	require.Equal(t, "20260216-01-10000001-20000001-BNET", id(netting.BNET, 20_000_001, us, tariff.CodeRDM))
	require.Equal(t, id(netting.BNET, us, 20_000_001, tariff.CodeICF), id(netting.BNET, 20_000_001, us, tariff.CodeRDM))
	require.Equal(t, "20260216-01-10000001-20000001-RDM-G", id(netting.GROSS, us, 20_000_001, tariff.CodeRDM))
	require.Len(t, id(netting.GROSS, us, 20_000_001, tariff.CodeRDM), 35)
	require.Empty(t, id(netting.MNET, us, other, tariff.CodeRDM))
	require.Equal(t, "20260216-01-10000001-BNET", id(netting.BNET, us, 0, 0))
}

// instructed are the rows of two members that settle by pairs and by legs.
func instructed() []Position {
	var rows []Position
	for _, of := range [][2]tariff.Member{{us, other}, {us, third}, {other, us}, {third, us}} {
		for _, code := range []tariff.Code{tariff.CodeRDM, tariff.CodeICF} {
			for _, model := range []netting.Model{netting.BNET, netting.GROSS, netting.MNET} {
				p := Position{Date: 20260216, Cycle: 1, Model: model, Member: of[0], Counterparty: of[1], Code: code}
				p.Instruction = InstructionID(p.Date, p.Cycle, p.Model, p.Member, p.Counterparty, p.Code)
				rows = append(rows, p)
			}
		}
	}
	for _, m := range []tariff.Member{us, other, third} {
		for _, model := range []netting.Model{netting.BNET, netting.GROSS, netting.MNET} {
			rows = append(rows, Position{Date: 20260216, Cycle: 1, Model: model, Member: m, Instruction: InstructionID(20260216, 1, model, m, 0, 0)})
		}
	}
	return rows
}

// Payments are where their model has them, under one name for what they settle and no other;
// a row whose payment is missing, misplaced, another one's or split is named. What a set of
// before says, a payment on the row of all alone, is right still.
func TestInstructionsVerified(t *testing.T) {
	require.Empty(t, instructions(instructed()))
	for i := range instructed() {
		rows := instructed()
		was := rows[i].Instruction
		rows[i].Instruction += "x"
		if was == "" || !rows[i].Whole() { // A name that nobody else has is as good, where there is one.
			require.NotEmpty(t, instructions(rows), "%+v", rows[i])
		}
		if rows = instructed(); was != "" {
			rows[i].Instruction = ""
			require.NotEmpty(t, instructions(rows), "%+v", rows[i])
		}
		if rows = instructed(); was != "" {
			for j := range rows {
				if rows[j].Instruction != "" && rows[j].settledBy() != rows[i].settledBy() {
					rows[i].Instruction = rows[j].Instruction
					break
				}
			}
			require.NotEmpty(t, instructions(rows), "%+v", rows[i])
		}
	}
	rows := instructed()
	for i := range rows {
		if !rows[i].Whole() {
			rows[i].Instruction = ""
		}
	}
	require.Empty(t, instructions(rows))
}
