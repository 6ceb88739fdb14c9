package reconcile

import (
	"github.com/lianfen/lianfen/points"
)

// MaxNameless bounds the lines without DE37 of one comparison: about 64 MiB.
const MaxNameless = 1 << 20

// Told reports whether the line tells DE37. Blanks and zeros tell nothing: no position of
// the journal is 0.
func (k *Key) Told() bool {
	return k.RRN != untold() && k.RRN != [12]byte([]byte("000000000000")) && k.RRN != [12]byte{}
}

// untold is how DE37 is kept that was not told.
func untold() [12]byte { return [12]byte([]byte("            ")) }

// Nameless gives lines that tell no DE37 ours, by what else there is of the key: acquirer,
// DE7 with the year, DE11. It keeps such lines alone, not the journal: [Nameless.Want] all of
// them, [Nameless.Offer] our lines, date by date, then [Nameless.Fill] each line that is
// compared. Where two of ours fit it gives none: a wrong one would hide both.
type Nameless struct {
	at   map[bareKey]*offered
	open map[uint32]int // by day of DE7 (yyyymmdd), how many fit none of ours yet
}

type bareKey struct {
	acquirer points.AcquirerID
	when     uint64
	stan     points.STAN
}

// offered is what fits a key.
type offered struct {
	rrn     [12]byte
	date    points.BusinessDate // of ours
	several bool
}

// NewNameless begins without any line.
func NewNameless() *Nameless {
	return &Nameless{at: make(map[bareKey]*offered), open: make(map[uint32]int)}
}

func (k *Key) bare() bareKey { return bareKey{k.Acquirer, k.When, k.STAN} }

func (b bareKey) day() uint32 { return uint32(b.when / 1_000_000) } //nolint:gosec // eight digits.

// Want notes a line that tells no DE37; of others it does nothing.
func (n *Nameless) Want(line *Line) error {
	if line.Told() {
		return nil
	}
	key := line.bare()
	if n.at[key] != nil {
		return nil
	}
	if len(n.at) == MaxNameless {
		return points.Errorf(points.OverCountLimit, "line %d: more than %d lines tell no DE37: tell it, or compare fewer partners at once", line.Number, MaxNameless)
	}
	n.at[key] = new(offered)
	n.open[key.day()]++
	return nil
}

// Empty reports whether no line is without DE37.
func (n *Nameless) Empty() bool { return len(n.at) == 0 }

// Days are the days of DE7 (yyyymmdd) of lines that none of ours fits yet.
func (n *Nameless) Days() []uint32 {
	days := make([]uint32, 0, len(n.open))
	for day, lines := range n.open {
		if lines > 0 {
			days = append(days, day)
		}
	}
	return days
}

// Offer offers one of our lines. What fits on a date that was offered before is taken.
func (n *Nameless) Offer(ours *Line) {
	key := ours.bare()
	o := n.at[key]
	switch {
	case o == nil, o.date != 0 && o.date != ours.Date:
	case o.date == 0:
		o.rrn, o.date = ours.RRN, ours.Date
		n.open[key.day()]--
	case o.rrn != ours.RRN:
		o.several = true
	}
}

// Fill gives a line without DE37 that of ours.
func (n *Nameless) Fill(line *Line) {
	if line.Told() {
		return
	}
	line.RRN = untold()
	if o := n.at[line.bare()]; o != nil && o.date != 0 && !o.several {
		line.RRN = o.rrn
	}
}
