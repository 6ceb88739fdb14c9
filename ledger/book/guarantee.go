package book

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Fund is the guarantee fund of all members: what is there beside a member's own cover if
// it fails. Each entry says what the fund has from then on; the journal keeps them all.
type Fund struct {
	Amount points.Amount `json:"amount"` // smallest units of the standard point
}

// Grant is a bilateral limit: what By would bear of To's debt at the most if To failed, in
// smallest units of the standard point. 0: nothing any more.
type Grant struct {
	By     tariff.Member `json:"by"`
	To     tariff.Member `json:"to"`
	Amount points.Amount `json:"amount"`
}

// GrantKey names who has granted a limit to whom.
type GrantKey struct{ By, To tariff.Member }

func (f *Fund) valid() error { return validSum("fund", f.Amount) }

func (g *Grant) valid() error {
	switch {
	case !g.By.Institution() || !g.To.Institution():
		return wrong("member", []tariff.Member{g.By, g.To}, "want two institutions' numbers of 1 to 8 digits")
	case g.By == g.To:
		return wrong("member", g.By, "want two: nobody grants itself a limit")
	}
	return validSum("limit", g.Amount)
}

// validSum bounds what a member can put down or grant: so many of them together fit.
func validSum(name string, amount points.Amount) error {
	if amount < 0 || amount > tariff.MaxValue {
		return points.Errorf(points.BadAmount, "%s %d: want 0 to %d", name, amount, tariff.MaxValue)
	}
	return nil
}

func appendGrant(dst []byte, g *Grant) []byte {
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(g.By)), uint64(g.To))
	return appendAmount(dst, g.Amount)
}

func decodeGrant(r *reader) *Grant {
	return &Grant{By: tariff.Member(r.uint32()), To: tariff.Member(r.uint32()), Amount: r.amount()}
}
