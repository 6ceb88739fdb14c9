package settlement

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A desk writes no line while as many goroutines compute as a run may have.
func TestDesksWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{busy: make(chan struct{}, 1)}
		d.busy <- struct{}{}
		written := make(chan error, 1)
		go func() { written <- d.lines(new(batch)) }()
		synctest.Wait()
		require.Empty(t, written)
		<-d.busy
		require.NoError(t, <-written)
		require.Empty(t, d.busy, "the place is given back")
	})
}
