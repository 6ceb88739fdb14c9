package book

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Leg is an item of clearing that says its one leg outright: an adjustment or a fee, in
// standard points, from one member of settlement to another. It moves no member's points
// and books nothing here: it is a debt between participants, which the settlement of the
// business date nets with the others.
type Leg struct {
	Kind         tariff.Kind // KindADJ or KindFEE
	Payer, Payee tariff.Member
	// About names what it corrects: the clearing id of an item, 0: none.
	About    points.Position
	Evidence string // what proves it: a case number, the number of an exception
}

func (l *Leg) append(dst []byte) []byte {
	dst = append(dst, byte(l.Kind))
	for _, n := range [...]uint64{uint64(l.Payer), uint64(l.Payee), uint64(l.About)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return appendText(dst, l.Evidence)
}

func decodeLeg(r *reader) Leg {
	l := Leg{Kind: tariff.Kind(r.byte())}
	l.Payer, l.Payee, l.About = tariff.Member(r.uint32()), tariff.Member(r.uint32()), points.Position(r.uvarint())
	l.Evidence = r.text(maxText)
	return l
}

// leg enters an adjustment or a fee. Two people stand behind it.
func (b *Book) leg(cmd *Command, out *Outcome) points.Reason {
	if reason := b.twoPeople(cmd); !reason.Approved() {
		return reason
	}
	if reason := b.opened(); !reason.Approved() {
		return reason
	}
	if err := b.whyLeg(cmd); err != nil {
		return points.ReasonOf(err)
	}
	out.Amount, out.Original = cmd.Amount, cmd.Leg.About
	return points.Approved
}

// whyLeg tells why a leg cannot be entered.
func (b *Book) whyLeg(cmd *Command) error {
	l := &cmd.Leg
	switch {
	case !l.Kind.Explicit():
		return wrong("kind", l.Kind, "want ADJ or FEE")
	case l.Payer == l.Payee:
		return wrong("payee", l.Payee, "payer and payee are two members")
	case cmd.Amount <= 0 || cmd.Amount > points.MaxAmount:
		return points.Errorf(points.BadAmount, "amount %d: want 1 to %d, in units of 0.0001 QZP", cmd.Amount, points.MaxAmount)
	case cmd.Note == "":
		return wrong("note", `""`, "want why")
	case l.About > b.position:
		return points.Errorf(points.UnknownOriginal, "about %d: there is none", l.About)
	}
	for _, m := range [...]tariff.Member{l.Payer, l.Payee} {
		if m.Account() {
			continue
		}
		if err := b.live.WhyNoMember(m); err != nil {
			return err
		}
	}
	return nil
}

// WhyNoMember refuses the number of nobody who settles.
func (r *Registry) WhyNoMember(m tariff.Member) error {
	_, issuer := r.Issuers[points.IssuerID(m)]
	_, acquirer := r.Acquirers[points.AcquirerID(m)]
	if m == 0 || (!issuer && !acquirer) {
		return points.Errorf(points.NoRoute, "member %v: no issuer and no acquirer has this number", m)
	}
	return nil
}
