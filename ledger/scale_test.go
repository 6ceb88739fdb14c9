package ledger_test

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

var (
	scaleAccounts = flag.Int("accounts", 20_000, "TestManyAccounts: how many accounts there are")
	scaleBlocks   = flag.Int("blocks", 64, "TestManyAccounts: MiB of memory for blocks of the store")
	scaleCached   = flag.Int("cached", 1_000, "TestManyAccounts: how many of them are kept in memory")
)

// However many accounts there are, the memory is that of those which are kept:
// accounts that were let go are read back, and serve. With -accounts and -v it
// reports what that costs.
func TestManyAccounts(t *testing.T) {
	dir := t.TempDir()
	db := store.Options{Dir: dir, BlockCacheMB: *scaleBlocks}
	require.NoError(t, store.Create(db))
	h := &house{tb: t, db: db, opts: ledger.Options{Accounts: *scaleCached}}
	h.open()
	h.furnish(1)
	began := time.Now()
	const chunk = 5_000
	for first := 2; first <= *scaleAccounts; first += chunk {
		h.enrol(points.MemberID(first), points.MemberID(min(first+chunk-1, *scaleAccounts)))
		if done := first + chunk - 2; done%1_000_000 == 0 {
			t.Logf("%d accounts after %v, resident %d MiB", done, time.Since(began).Round(time.Second), resident(t))
		}
	}
	t.Logf("enrolled %d accounts in %v, resident %d MiB", *scaleAccounts, time.Since(began).Round(time.Millisecond), resident(t))
	h.close()
	began = time.Now()
	h.open()
	t.Logf("opened in %v, resident %d MiB", time.Since(began).Round(time.Millisecond), resident(t))

	random := rand.New(rand.NewPCG(1, 2))
	for _, among := range []int{min(*scaleCached, *scaleAccounts), *scaleAccounts} {
		began = time.Now()
		const traffic = 20_000
		earn(h, traffic, func() points.MemberID { return points.MemberID(1 + random.IntN(among)) })
		took := time.Since(began)
		t.Logf("%d earns among %d accounts: %.0f/s, resident %d MiB", traffic, among, traffic/took.Seconds(), resident(t))
	}
	require.NoError(t, h.ledger.View(context.Background(), func(b *book.Book) error { return b.Audit() }))
	h.close()
}

// earn gives one point to each of count members that pick names, all in flight.
func earn(h *house, count int, pick func() points.MemberID) {
	h.tb.Helper()
	reasons := make(chan points.Reason, count)
	for range count {
		cmd := command(book.KindEarn, 9, 0, pick(), 1)
		cmd.Key = points.TraceKey{}
		h.ledger.Submit(&cmd, func(out *book.Outcome) { reasons <- out.Reason })
	}
	for range count {
		require.Equal(h.tb, points.Approved, <-reasons)
	}
}

// resident is the memory that the process holds, in MiB, once what can be given
// back was given back; 0 where the system does not tell.
func resident(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, found := bytes.Cut(status, []byte("VmRSS:"))
	require.True(t, found)
	kib, err := strconv.Atoi(string(bytes.Fields(after)[0]))
	require.NoError(t, err)
	return kib >> 10
}
