package book

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// StepFee is what a step of a dispute costs that moves no points, so that there is no item
// which could carry it: who pays it to whom, in smallest units of the standard point, and
// the VAT in it. It stands in the outcome, since it is of the schedule that was in force.
type StepFee struct {
	Payer, Payee tariff.Member
	Amount, VAT  points.Amount
}

func (f *StepFee) append(dst []byte) []byte {
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(f.Payer)), uint64(f.Payee))
	return appendAmount(appendAmount(dst, f.Amount), f.VAT)
}

func decodeStepFee(r *reader) StepFee {
	return StepFee{Payer: tariff.Member(r.uint32()), Payee: tariff.Member(r.uint32()), Amount: r.amount(), VAT: r.amount()}
}

// item is the FEE of it. It is about the sale, and undoes nothing of it.
func (f *StepFee) item(base ClearingItem, out *Outcome) ClearingItem {
	base.Kind, base.Payer, base.Payee, base.Program, base.Amount, base.VAT = tariff.KindFEE, f.Payer, f.Payee, points.Standard, f.Amount, f.VAT
	base.OriginalAt, base.Held, base.TooOld = 0, 0, false
	base.NoRoom = out.NoRoom&roomBit(0) != 0
	return base
}

// chargeRetrieval notes in the outcome what a retrieval costs by the schedule in force.
// Those of before ([Command.Edition] 0) cost nothing.
func (b *Book) chargeRetrieval(cmd *Command, out *Outcome) error {
	if cmd.Kind != KindDispute || cmd.Edition == 0 || cmd.Dispute.Step != StepRetrieval || b.live.Fees == nil || !out.Reason.Approved() {
		return nil
	}
	d, err := b.findDispute(cmd.Original)
	if err != nil || d == nil {
		return err
	}
	item := tariff.Item{Program: d.program}
	item.Issuer, _ = tariff.MemberOf(d.issuer)
	item.Acquirer, _ = tariff.MemberOf(d.acquirer)
	decided := cmd.Original
	if was, err := b.clearing.find(cmd.Original); err != nil {
		return err
	} else if was != nil && was.decided != 0 {
		decided = was.decided
	}
	sale, err := b.record(decided)
	if err != nil {
		return err
	}
	item.MCC = sale.Outcome.MCC
	fee := b.live.Fees.Retrieval(&item, b.risk.now)
	out.Fee = StepFee{Payer: fee.Payer, Payee: fee.Payee, Amount: fee.Amount, VAT: fee.VAT}
	return nil
}

// lock notes in the outcome of a capture when its hold was placed, where the schedule of then
// says that its rate and fees hold. A hold elsewhere was placed when its issuer was asked.
func (b *Book) lock(cmd *Command, out *Outcome) error {
	if b.live.Fees == nil || !b.live.Fees.Locks() {
		return nil
	}
	hold, merchant, err := b.holdOfCapture(cmd, out)
	if err != nil || hold == 0 {
		return err
	}
	placed, err := b.record(hold)
	if err != nil {
		return err
	}
	at := placed.Outcome.Posted
	for i := range out.Postings {
		key := out.Postings[i].Account
		if key.Kind != ClearingAccount {
			continue
		}
		item := tariff.Item{Program: key.Program}
		item.Issuer, _ = tariff.MemberOf(b.live.Programs[key.Program].Issuer)
		item.Acquirer, _ = tariff.MemberOf(points.AcquirerID(key.Party))
		if m, ok := b.live.Merchants[merchant]; ok {
			item.MCC = m.MCC
		}
		if b.live.Fees.Locked(&item, at) {
			out.Locked = at
		}
	}
	return nil
}

// holdOfCapture is the hold that a command has captured from, and the merchant; 0: none.
func (b *Book) holdOfCapture(cmd *Command, out *Outcome) (hold points.Position, merchant points.MerchantID, err error) {
	switch cmd.Kind {
	case KindCapture:
		return out.Original, cmd.Merchant, nil
	case KindConclude, KindStandIn, KindOwe, KindAcknowledge, KindResolve:
	default:
		return 0, merchant, nil
	}
	r, err := b.findRemote(out.Original)
	if err != nil || r == nil || (r.function != points.Completion && r.function != points.CompletionAdvice) {
		return 0, merchant, err
	}
	return r.original, r.merchant, nil
}
