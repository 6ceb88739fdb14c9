package ledger

import "context"

// Recovered is how far a recovery got.
type Recovered struct {
	Position uint64 // of the ledger
	Booked   uint64 // of its book
	Single   int    // entities that were read by themselves
}

// Recover recovers the journal in opts.Store, without serving.
func Recover(opts Options) (Recovered, error) {
	opts = opts.complete()
	l := &Ledger{opts: opts, log: opts.Log, store: opts.Store}
	var err error
	if l.metrics, err = newMetrics(nil, l); err != nil {
		return Recovered{}, err
	}
	err = l.recover(context.Background())
	if closing := l.closeAnchor(); closing != nil {
		return Recovered{}, closing
	}
	return Recovered{uint64(l.position), uint64(l.book.Position()), l.single}, err
}
