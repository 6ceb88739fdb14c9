package pointswitch

import "context"

// Round does what is due now, dials included, in the place of Run: for tests that move
// the clock. It reports whether there may be more to do at once.
func (s *Issuers) Round(ctx context.Context) (more bool, err error) {
	_, dials, err := s.round(ctx)
	for _, o := range dials {
		o.dial(ctx)
	}
	for _, l := range s.all() {
		l.mu.Lock()
		more = more || len(l.notices) > 0 || len(l.start) > 0
		for _, it := range l.order {
			more = more || it.state == itemJudged
		}
		for _, f := range l.flights {
			more = more || f.cmd.Kind != 0 // On its way through the ledger.
		}
		l.mu.Unlock()
	}
	return more, err
}

// StampOf is stampOf, for tests.
var StampOf = stampOf
