package netting

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"iter"

	"github.com/lianfen/lianfen/tariff"
)

// Position is a line of the net position file.
type Position struct {
	Model        Model
	Member       tariff.Member
	Counterparty tariff.Member // 0: all
	Code         tariff.Code   // 0: all
	Items        uint64        // legs
	Pay, Receive Sum           // gross, never negative
}

// Net is receive less pay.
func (p Position) Net() Sum { return p.Receive.Minus(p.Pay) }

// add adds what a cell holds, seen from the lower place or from the higher.
func (p *Position) add(c *cell, lower bool) {
	pay, receive := c.seen(lower)
	p.Items, p.Pay, p.Receive = p.Items+c.legs, p.Pay.Plus(pay), p.Receive.Plus(receive)
}

// compare orders positions as they are written.
func (p Position) compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Model, q.Model), cmp.Compare(p.Member, q.Member),
		cmp.Compare(p.Counterparty, q.Counterparty), cmp.Compare(p.Code, q.Code))
}

// Positions yields the positions of every member by counterparty and code, in order of
// model, member, counterparty, code. Those without a leg are left out.
func (f *Fold) Positions() iter.Seq[Position] {
	return func(yield func(Position) bool) {
		for model := MNET; model < endOfModels; model++ {
			for place := range f.roll.Len() {
				if !f.positions(model, place, yield) {
					return
				}
			}
		}
	}
}

// Of yields the positions of m alone, in order of model, counterparty, code.
func (f *Fold) Of(m tariff.Member) iter.Seq[Position] {
	return func(yield func(Position) bool) {
		place, known := f.roll.Index(m)
		for model := MNET; known && model < endOfModels; model++ {
			if !f.positions(model, place, yield) {
				return
			}
		}
	}
}

// positions yields the positions of the member at place, and reports whether to go on.
func (f *Fold) positions(model Model, place int, yield func(Position) bool) bool {
	for other := range f.roll.Len() {
		account := f.met(model, place, other)
		if account == nil {
			continue
		}
		for code := range account {
			if account[code].legs == 0 {
				continue
			}
			p := Position{
				Model: model, Member: f.roll.Member(place), Counterparty: f.roll.Member(other),
				Code: tariff.Code(code + 1),
			}
			p.add(&account[code], place < other)
			if !yield(p) {
				return false
			}
		}
	}
	return true
}

// Totals yields the position of every member that has a leg over all counterparties and
// codes, in order of model and member. Per model they sum to zero.
func (f *Fold) Totals() iter.Seq[Position] {
	return func(yield func(Position) bool) {
		for model := MNET; model < endOfModels; model++ {
			for place := range f.roll.Len() {
				total := Position{Model: model, Member: f.roll.Member(place)}
				for other := range f.roll.Len() {
					if account := f.met(model, place, other); account != nil {
						for code := range account {
							total.add(&account[code], place < other)
						}
					}
				}
				if total.Items > 0 && !yield(total) {
					return
				}
			}
		}
	}
}

// Digest is the SHA-256 of all positions in order, and of the counts.
func (f *Fold) Digest() tariff.Digest {
	hash := sha256.New()
	b := []byte("lianfen positions 1\n")
	for _, count := range [...]uint64{f.counts.Items, f.counts.OnUs, f.counts.Legs, f.counts.LeftOut} {
		b = binary.BigEndian.AppendUint64(b, count)
	}
	for _, count := range f.counts.Kinds {
		b = binary.BigEndian.AppendUint64(b, count)
	}
	hash.Write(b)
	for p := range f.Positions() {
		b = append(b[:0], byte(p.Model), byte(p.Code))
		b = binary.BigEndian.AppendUint32(b, uint32(p.Member))
		b = binary.BigEndian.AppendUint32(b, uint32(p.Counterparty))
		b = binary.BigEndian.AppendUint64(b, p.Items)
		hash.Write(p.Receive.AppendBytes(p.Pay.AppendBytes(b)))
	}
	return tariff.Digest(hash.Sum(nil))
}

// Instruction is a payment that settles positions.
type Instruction struct {
	Model  Model
	Payer  tariff.Member // 0: the operator's settlement account pays
	Payee  tariff.Member // 0: the operator's settlement account is paid
	Amount Sum           // positive
}

// Instructions yields the payments: in MNET one a member, with the operator's settlement
// account; in BNET one a pair. Legs in GROSS are instructions themselves, see
// [Fold.Model].
func (f *Fold) Instructions() iter.Seq[Instruction] {
	return func(yield func(Instruction) bool) {
		for place, net := range f.nets[MNET] {
			if instruction, due := instruct(MNET, f.roll.Member(place), 0, net); due && !yield(instruction) {
				return
			}
		}
		for place := range f.roll.Len() {
			for other := place + 1; other < f.roll.Len(); other++ {
				net := f.pairNet(BNET, place, other)
				if instruction, due := instruct(BNET, f.roll.Member(place), f.roll.Member(other), net); due && !yield(instruction) {
					return
				}
			}
		}
	}
}

// instruct returns the payment that settles what m is owed by the counterparty.
func instruct(model Model, m, counterparty tariff.Member, net Sum) (Instruction, bool) {
	if net.Sign() < 0 {
		return Instruction{Model: model, Payer: m, Payee: counterparty, Amount: net.Neg()}, true
	}
	return Instruction{Model: model, Payer: counterparty, Payee: m, Amount: net}, net.Sign() > 0
}

// Difference is a position that two folds have different figures for.
type Difference struct {
	Before, After Position // one of them may be without items
}

// Delta is the net position after less the one before.
func (d Difference) Delta() Sum { return d.After.Net().Minus(d.Before.Net()) }

// Differences yields the positions in which before and after differ, in order.
func Differences(before, after *Fold) iter.Seq[Difference] {
	return func(yield func(Difference) bool) {
		next, stop := iter.Pull(before.Positions())
		defer stop()
		old, more := next()
		for p := range after.Positions() {
			for ; more && old.compare(p) < 0; old, more = next() {
				if !yield(Difference{Before: old, After: old.none()}) {
					return
				}
			}
			difference := Difference{Before: p.none(), After: p}
			if more && old.compare(p) == 0 {
				difference.Before = old
				old, more = next()
			}
			if difference.Before != difference.After && !yield(difference) {
				return
			}
		}
		for ; more; old, more = next() {
			if !yield(Difference{Before: old, After: old.none()}) {
				return
			}
		}
	}
}

// none returns p without items and amounts.
func (p Position) none() Position {
	return Position{Model: p.Model, Member: p.Member, Counterparty: p.Counterparty, Code: p.Code}
}
