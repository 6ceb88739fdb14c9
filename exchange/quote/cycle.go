package quote

import (
	"math/big"
	"slices"
)

// Pair is an override: at what points of programme From are handed in where those of Into
// are handed out, instead of From's own Buy and FeePPM. From and Into are places in a list
// of terms, in which a ratio of nothing is none: its points are then not handed in, or out.
type Pair struct {
	From, Into int
	Buy        Ratio
	FeePPM     uint32
}

// short is over how many programmes a way goes at most that is looked for first: a short way
// says more to whoever reads it.
const short = 4

// MaxPairs is how many overrides may be in force at one instant: what is looked at grows
// with their cube, and a publication waits for it.
const MaxPairs = 32

// Gaining finds a way from programme to programme and back, however long, on which a large
// amount grows, and what 1 becomes on it, in exact fractions; nil: there is none. One over
// two to four of them is preferred. It looks for ways with an override: of the others [Terms.Gain], which has to find
// nothing in any of the terms, says enough. The fee is that of the programme handed in; capped, it
// counts as none. Rounding, least fees and the fee for a lock only take more.
//
// Of programmes that are on no override only the one that loses the least on being passed
// through is looked at. They differ in that loss alone; and a way that meets it twice is two
// ways, of which one gains where both together do.
func Gaining(offers []Terms, pairs []Pair) (way []int, gain *big.Rat) {
	s := search{offers: offers, pairs: make(map[[2]int]*Pair, len(pairs))}
	touched := make([]bool, len(offers))
	for i := range pairs {
		p := &pairs[i]
		s.pairs[[2]int{p.From, p.Into}] = p
		touched[p.From], touched[p.Into] = true, true
	}
	best := -1
	for i := range offers {
		if touched[i] {
			s.nodes = append(s.nodes, i)
		} else if offers[i].Buy.Num != 0 && offers[i].Sell.Num != 0 {
			if best < 0 || s.passing(i).compare(s.passing(best)) > 0 {
				best = i
			}
		}
	}
	if best >= 0 {
		s.nodes = append(s.nodes, best)
	}
	for i := range pairs {
		p := &pairs[i]
		if step, ok := s.step(p.From, p.Into); ok && s.close([]int{p.From, p.Into}, step) {
			return s.found, s.gain
		}
	}
	return s.long()
}

// search looks for a gaining way.
type search struct {
	offers []Terms
	pairs  map[[2]int]*Pair
	nodes  []int // that are looked at
	found  []int
	gain   *big.Rat
}

// fraction is not reduced: reducing costs more than it saves on so few factors.
type fraction struct{ num, den *big.Int }

func (f fraction) times(g fraction) fraction {
	return fraction{new(big.Int).Mul(f.num, g.num), new(big.Int).Mul(f.den, g.den)}
}

func (f fraction) compare(g fraction) int {
	return new(big.Int).Mul(f.num, g.den).Cmp(new(big.Int).Mul(g.num, f.den))
}

// close goes on from the end of way, which has turned 1 into so much, to where it began, or
// over one programme more.
func (s *search) close(way []int, so fraction) bool {
	end := way[len(way)-1]
	if step, ok := s.step(end, way[0]); ok {
		if all := so.times(step); all.num.Cmp(all.den) > 0 {
			s.found, s.gain = append(slices.Clone(way), way[0]), new(big.Rat).SetFrac(all.num, all.den)
			return true
		}
	}
	if len(way) == short {
		return false
	}
	for _, next := range s.nodes {
		if slices.Contains(way, next) {
			continue
		}
		if step, ok := s.step(end, next); ok && s.close(append(way, next), so.times(step)) {
			return true
		}
	}
	return false
}

// long finds a way of any length (Bellman and Ford): what 1 of any programme becomes of each
// grows no more after as many rounds as there are programmes, unless it grows on a way back to
// where it was. Fractions grow by about a hundred bits a step, and are not rounded.
func (s *search) long() (way []int, gain *big.Rat) {
	best := make([]fraction, len(s.nodes))
	came := make([]int, len(s.nodes)) // from which; -1: it began here
	steps := make([][]fraction, len(s.nodes))
	for i, from := range s.nodes {
		best[i], came[i] = fraction{big.NewInt(1), big.NewInt(1)}, -1
		steps[i] = make([]fraction, len(s.nodes))
		for j, to := range s.nodes {
			if step, ok := s.step(from, to); ok && i != j {
				steps[i][j] = step
			}
		}
	}
	grown := -1
	for range len(s.nodes) {
		grown = -1
		for i := range s.nodes {
			for j := range s.nodes {
				if steps[i][j].num == nil {
					continue
				}
				if more := best[i].times(steps[i][j]); more.compare(best[j]) > 0 {
					best[j], came[j], grown = more, i, j
				}
			}
		}
		if grown < 0 {
			return nil, nil
		}
	}
	if grown < 0 {
		return nil, nil // There are no programmes.
	}
	for range len(s.nodes) { // Onto the way, from what comes behind it.
		grown = came[grown]
	}
	way, all := []int{s.nodes[grown]}, fraction{big.NewInt(1), big.NewInt(1)}
	for at := grown; ; {
		all = all.times(steps[came[at]][at])
		at = came[at]
		way = append(way, s.nodes[at])
		if at == grown {
			break
		}
	}
	slices.Reverse(way)
	return way, new(big.Rat).SetFrac(all.num, all.den)
}

// step is how many points of programme to one of programme from becomes, of a large amount.
func (s *search) step(from, to int) (fraction, bool) {
	offer, sell := &s.offers[from], s.offers[to].Sell
	buy, fee := offer.Buy, offer.FeePPM
	if p := s.pairs[[2]int{from, to}]; p != nil {
		buy, fee = p.Buy, p.FeePPM
	}
	if buy.Num == 0 || sell.Num == 0 {
		return fraction{}, false
	}
	return worth(buy, kept(fee, offer.FeeCap != 0), sell), true
}

// passing is what is left of the value that passes through a programme.
func (s *search) passing(i int) fraction {
	offer := &s.offers[i]
	return worth(offer.Buy, kept(offer.FeePPM, offer.FeeCap != 0), offer.Sell)
}

// kept is what a fee leaves of a million.
func kept(ppm uint32, capped bool) uint64 {
	if capped {
		return Million
	}
	return Million - uint64(min(ppm, Million))
}

// worth is buy * keeps / million / sell.
func worth(buy Ratio, keeps uint64, sell Ratio) fraction {
	product := func(factors ...uint64) *big.Int {
		p := big.NewInt(1)
		for _, f := range factors {
			p.Mul(p, new(big.Int).SetUint64(f))
		}
		return p
	}
	return fraction{product(buy.Num, keeps, sell.Den), product(buy.Den, Million, sell.Num)}
}
