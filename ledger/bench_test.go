package ledger_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

var benchAccounts = flag.Uint64("bench-accounts", 100_000, "benchmarks: how many accounts there are")

var benchClients = []int{1, 64, 1024}

// share lets clients goroutines carry out b.N transfers, each with one open at a
// time; do gets the transfer's number, from 0 to b.N-1.
func share(b *testing.B, clients int, do func(client int, number uint64)) {
	b.Helper()
	var next atomic.Uint64
	var all sync.WaitGroup
	b.ResetTimer()
	for client := range clients {
		all.Go(func() {
			for {
				number := next.Add(1) - 1
				if number >= uint64(b.N) {
					return
				}
				do(client, number)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transfers/s")
}

// BenchmarkRedeem is durable redemptions in process, over a real folder. Set it
// beside BenchmarkReadModifyWrite of the same run.
func BenchmarkRedeem(b *testing.B) {
	fs := vfs.Default
	h := &house{tb: b, fs: fs, opts: ledger.Options{Queue: 1 << 20}}
	h.db.Dir, h.db.FS = filepath.Join(b.TempDir(), folder), fs
	h.create()
	h.furnish(1)
	fund(h, points.MemberID(*benchAccounts))
	serial := uint64(0) // Of all runs: no key is used twice.
	for _, clients := range benchClients {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			answers := make([]chan points.Reason, clients)
			for i := range answers {
				answers[i] = make(chan points.Reason, 1)
			}
			var declined atomic.Int64
			base := serial
			share(b, clients, func(client int, number uint64) {
				member := points.MemberID(2 + (number*7919)%(*benchAccounts-1))
				cmd := command(book.KindRedeem, 1, base+number, member, 1)
				h.ledger.Submit(&cmd, func(out *book.Outcome) { answers[client] <- out.Reason })
				if reason := <-answers[client]; !reason.Approved() {
					declined.Add(1)
				}
			})
			serial += uint64(b.N)
			require.Zero(b, declined.Load())
		})
	}
	h.close()
}

// fund enters members 2 to last, with a million points each.
func fund(h *house, last points.MemberID) {
	h.tb.Helper()
	const chunk = 20_000
	for first := points.MemberID(2); first <= last; first += chunk {
		end := min(first+chunk-1, last)
		h.enrol(first, end)
		var funded sync.WaitGroup
		for id := first; id <= end; id++ {
			cmd := command(book.KindEarn, 8, uint64(id), id, 1_000_000)
			funded.Add(1)
			h.ledger.Submit(&cmd, func(*book.Outcome) { funded.Done() })
		}
		funded.Wait()
	}
}

// BenchmarkSync is the floor: one append to a file and one sync of it.
func BenchmarkSync(b *testing.B) {
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	require.NoError(b, err)
	record := make([]byte, 300)
	for b.Loop() {
		if _, err := file.Write(record); err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, file.Close())
}

// BenchmarkReadModifyWrite is what a ledger without a journal does: each transfer
// reads both balances and the key, and commits a synced batch of its own. Pebble
// groups the syncs. It has no lots, limits, postings, checks or hash chain.
func BenchmarkReadModifyWrite(b *testing.B) {
	db, err := pebble.Open(filepath.Join(b.TempDir(), "db"), &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 32 << 20, MemTableStopWritesThreshold: 4, CacheSize: 64 << 20,
		Logger: quietLog{},
	})
	require.NoError(b, err)
	var locks [4096]sync.Mutex
	serial := uint64(0)
	for _, clients := range benchClients {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var faults atomic.Int64
			base := serial
			share(b, clients, func(_ int, number uint64) {
				member := (number * 7919) % *benchAccounts
				lock := &locks[member%uint64(len(locks))]
				lock.Lock()
				err := transfer(db, member, member%64, base+number)
				lock.Unlock()
				if err != nil {
					faults.Add(1)
				}
			})
			serial += uint64(b.N)
			require.Zero(b, faults.Load())
		})
	}
	require.NoError(b, db.Close())
}

// quietLog is a store's logger that only speaks when all is over.
type quietLog struct{}

func (quietLog) Infof(string, ...any)              {}
func (quietLog) Errorf(string, ...any)             {}
func (quietLog) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// transfer moves one point from a member to one of the clearing accounts.
func transfer(db *pebble.DB, member, clearing, key uint64) error {
	batch := db.NewBatch()
	number := func(prefix byte, n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{prefix}, n) }
	if _, closer, err := db.Get(number('k', key)); !errors.Is(err, pebble.ErrNotFound) {
		return errors.Join(errors.New("the key is known"), err, closer.Close())
	}
	for account, change := range map[string]uint64{string(number('m', member)): ^uint64(0), string(number('c', clearing)): 1} {
		balance := uint64(1_000_000)
		value, closer, err := db.Get([]byte(account))
		if err == nil {
			balance = binary.BigEndian.Uint64(value)
			err = closer.Close()
		}
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			return err
		}
		if err := batch.Set([]byte(account), binary.BigEndian.AppendUint64(nil, balance+change), nil); err != nil {
			return err
		}
	}
	record := make([]byte, 150)
	binary.BigEndian.PutUint64(record, key)
	if err := errors.Join(batch.Set(number('k', key), record[:16], nil), batch.Set(number('r', key), record, nil)); err != nil {
		return err
	}
	return batch.Commit(pebble.Sync)
}
