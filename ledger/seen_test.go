package ledger_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
)

// A key that is in the book's memory, or on its way there, is never taken for a new one: not
// while its command waits, nor once it is answered, nor after a start, whether a checkpoint
// lies behind it or not, nor on the next date. Nearly all new ones are.
func TestUnseen(t *testing.T) {
	const sales = 300
	disk := vfs.NewCrashableMem()
	h := build(t, disk, ledger.Options{CheckpointEvery: 100, CheckpointInterval: time.Hour})
	h.furnish(1)
	unseen := func(serial uint64) bool { k := key(3, serial); return h.ledger.Unseen(&k) }
	for serial := range uint64(sales) {
		cmd := command(book.KindRedeem, 3, serial, 1, 1)
		if serial == 7 {
			release := h.occupy()
			told := make(chan struct{})
			h.ledger.Submit(&cmd, func(*book.Outcome) { close(told) })
			require.False(t, unseen(serial), "it waits")
			release()
			<-told
			continue
		}
		h.must(cmd)
	}
	all := func(when string) {
		t.Helper()
		wrong := 0
		for serial := range uint64(sales) {
			require.False(t, unseen(serial), "%s: sale %d", when, serial)
			if !unseen(sales + serial) {
				wrong++
			}
		}
		require.Less(t, wrong, sales/20, when)
	}
	all("answered")
	left := h.at(disk.CrashClone(vfs.CrashCloneCfg{}))
	require.Positive(t, h.checkpoint())
	h.close()
	h.open()
	all("after a start")
	whole := h.ledger
	left.open()
	require.Less(t, left.checkpoint(), left.ledger.Durable())
	h.ledger = left.ledger
	all("after a power cut")
	left.close()
	h.ledger = whole
	h.must(book.Command{Kind: book.KindCutOver, Date: genesis + 1, At: noon})
	all("on the next date")
	h.close()
	h.open()
	all("and a start on it")

	asked := command(book.KindRedeem, 3, 2*sales, 1, 1)
	require.True(t, unseen(2*sales))
	asked.RepeatOnly = true
	require.False(t, h.do(asked).Reason.Approved())
	require.True(t, unseen(2*sales), "a question leaves no trace")
	h.close()
}
