package book

import "slices"

// differs names the first field in which two outcomes differ, "" for none.
// Replayed and Forwarded are not compared: they are not in the journal.
func (o *Outcome) differs(other *Outcome) string {
	for _, field := range [...]struct {
		name string
		same bool
	}{
		{"reason", o.Reason == other.Reason},
		{"position", o.Position == other.Position},
		{"posted", o.Posted == other.Posted},
		{"date", o.Date == other.Date},
		{"cycle", o.Cycle == other.Cycle},
		{"member", o.Member == other.Member},
		{"program", o.Program == other.Program},
		{"issuer", o.Issuer == other.Issuer},
		{"original", o.Original == other.Original},
		{"amount", o.Amount == other.Amount},
		{"free", o.Free == other.Free},
		{"pending", o.Pending == other.Pending},
		{"held", o.Held == other.Held},
		{"debt", o.Debt == other.Debt},
		{"batch", o.Batch == other.Batch},
		{"more", o.More == other.More},
		{"postings", slices.Equal(o.Postings, other.Postings)},
		{"lots", slices.Equal(o.Lots, other.Lots)},
		{"others", slices.Equal(o.Others, other.Others)},
		{"legs", slices.Equal(o.Legs, other.Legs)},
		{"answer", o.Answer == other.Answer},
		{"tally", o.Tally == other.Tally},
		{"unequal", o.Unequal == other.Unequal},
		{"parameters", o.Parameters == other.Parameters},
		{"risk", o.Risk == other.Risk},
		{"mcc", o.MCC == other.MCC},
		{"root", o.Root == other.Root},
		{"undone", slices.Equal(o.Undone, other.Undone)},
		{"swap", o.Swap == other.Swap},
		{"owners", slices.Equal(o.Owners, other.Owners)},
		{"no room", o.NoRoom == other.NoRoom},
		{"locked", o.Locked == other.Locked},
		{"fee", o.Fee == other.Fee},
	} {
		if !field.same {
			return field.name
		}
	}
	return ""
}
