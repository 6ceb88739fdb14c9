package tariff

import (
	"math/bits"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// fixed says which columns of a row, or of an item, are looked at.
type fixed uint8

const (
	fixesIssuer fixed = 1 << iota
	fixesAcquirer
	fixesMCC
	fixesProgram
	everyColumn = 1<<iota - 1
)

func (f fixed) columns() int { return bits.OnesCount8(uint8(f)) }

// fit is what rows are found by: the columns that are fixed, and their values. The
// others are 0.
type fit struct {
	issuer, acquirer Member
	mcc              uint16
	program          points.ProgramID
	kind             Kind
	fixed            fixed
}

// only returns f with no other columns fixed than those of keep.
func (f fit) only(keep fixed) fit {
	if keep&fixesIssuer == 0 {
		f.issuer = 0
	}
	if keep&fixesAcquirer == 0 {
		f.acquirer = 0
	}
	if keep&fixesMCC == 0 {
		f.mcc = 0
	}
	if keep&fixesProgram == 0 {
		f.program = 0
	}
	f.fixed = keep
	return f
}

// with returns what fits f and g both, which agree where both fix a column.
func (f fit) with(g fit) fit {
	return fit{
		issuer: f.issuer | g.issuer, acquirer: f.acquirer | g.acquirer, mcc: f.mcc | g.mcc, program: f.program | g.program,
		kind: f.kind, fixed: f.fixed | g.fixed,
	}
}

// fits returns what items fit r.
func (r *FeeRow) fits() fit {
	f := fit{issuer: r.Issuer, acquirer: r.Acquirer, mcc: r.MCC, program: r.Program, kind: r.Kind}
	if r.Issuer != 0 {
		f.fixed |= fixesIssuer
	}
	if r.Acquirer != 0 {
		f.fixed |= fixesAcquirer
	}
	if r.MCC != 0 {
		f.fixed |= fixesMCC
	}
	if r.Program != 0 {
		f.fixed |= fixesProgram
	}
	return f
}

// index finds the row of an item.
type index struct {
	rows  map[fit]int32
	order [Kinds][]fixed // which columns to look at, most of them first
}

// row returns the row that fits and fixes most columns, or -1.
func (x *index) row(item fit) int32 {
	for _, columns := range x.order[item.kind] {
		if row, found := x.rows[item.only(columns)]; found {
			return row
		}
	}
	return -1
}

// compile makes the index and refuses rows of which two fit one item equally well. An
// item that fits a third row that fixes more is no matter: that one decides.
func (s *Schedule) compile() error {
	s.index.rows = make(map[fit]int32, len(s.Rows))
	for i := range s.Rows {
		f := s.Rows[i].fits()
		if j, twice := s.index.rows[f]; twice {
			return points.Errorf(points.FormatError, "fee schedule: rows %d and %d fit the same items; keep one", j+1, i+1)
		}
		s.index.rows[f] = int32(i)
		order := &s.index.order[f.kind]
		if !slices.Contains(*order, f.fixed) {
			*order = append(*order, f.fixed)
		}
	}
	for kind := range s.index.order {
		slices.SortFunc(s.index.order[kind], func(a, b fixed) int {
			if a.columns() != b.columns() {
				return b.columns() - a.columns()
			}
			return int(a) - int(b)
		})
		for _, one := range s.index.order[kind] {
			for _, other := range s.index.order[kind] {
				if one < other && one.columns() == other.columns() {
					if err := s.untied(Kind(kind), one, other); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// untied refuses two rows of kind, one that fixes the columns one and one that fixes
// other, that fit an item for which no row fixes more.
func (s *Schedule) untied(kind Kind, one, other fixed) error {
	alike := make(map[fit][]int) // rows of one by what they have in common with rows of other
	for i := range s.Rows {
		if f := s.Rows[i].fits(); f.kind == kind && f.fixed == one {
			common := f.only(one & other)
			alike[common] = append(alike[common], i)
		}
	}
	for j := range s.Rows {
		g := s.Rows[j].fits()
		if g.kind != kind || g.fixed != other {
			continue
		}
		for _, i := range alike[g.only(one&other)] {
			both := s.Rows[i].fits().with(g)
			if !s.decided(both, one.columns()) {
				return points.Errorf(points.FormatError,
					"fee schedule: rows %d and %d fit %v items of issuer %v, acquirer %v, MCC %04d, programme %d equally well; add a row for just these",
					min(i, j)+1, max(i, j)+1, kind, both.issuer, both.acquirer, both.mcc, both.program)
			}
		}
	}
	return nil
}

// decided reports whether a row that fixes more than n columns fits all of both.
func (s *Schedule) decided(both fit, n int) bool {
	for columns := fixed(1); columns <= everyColumn; columns++ {
		if columns&^both.fixed == 0 && columns.columns() > n {
			if _, found := s.index.rows[both.only(columns)]; found {
				return true
			}
		}
	}
	return false
}
