package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Baseline is what a ledger without a journal does with the same store: each
// transfer reads its key and both balances and commits a synced batch of its own,
// whose syncs Pebble groups. It has no lots, limits, postings, checks or hash
// chain. The ledger is measured against it. It is safe for concurrent use.
type Baseline struct {
	db    *pebble.DB
	locks [4096]sync.Mutex // by member, its low bits
}

// OpenBaseline makes an empty baseline in the new folder dir.
func OpenBaseline(dir string) (*Baseline, error) {
	db, err := pebble.Open(dir, &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 32 * mib, MemTableStopWritesThreshold: 4, CacheSize: 64 * mib,
		ErrorIfExists: true, Logger: logger{log: slog.New(slog.DiscardHandler), exit: os.Exit}, //nolint:forbidigo // as Options.Exit.
	})
	if err != nil {
		return nil, fmt.Errorf("store: baseline in %s: %w", dir, err)
	}
	return &Baseline{db: db}, nil
}

// What an account has that was never written.
const baselineFunds = 1 << 40

// Transfer moves one point from a member to one of the clearing accounts, under a
// key that must be new.
func (b *Baseline) Transfer(member, clearing, key uint64) (err error) {
	// The member only: two transfers to one clearing account may lose a point there.
	// A lock held over the sync would let a few transfers pass at a time, and the
	// baseline is to be beaten at its best.
	lock := &b.locks[member%uint64(len(b.locks))]
	lock.Lock()
	defer lock.Unlock()
	batch := b.db.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	if _, known, err := b.balance(baselineKey('k', key)); err != nil || known {
		return errors.Join(fmt.Errorf("store: baseline: key %d is known or cannot be read", key), err)
	}
	for _, side := range [...]struct {
		account []byte
		change  int64
	}{{baselineKey('m', member), -1}, {baselineKey('c', clearing), 1}} {
		balance, known, err := b.balance(side.account)
		if err != nil {
			return err
		}
		if !known {
			balance = baselineFunds
		}
		if err := batch.Set(side.account, binary.BigEndian.AppendUint64(nil, uint64(balance+side.change)), nil); err != nil { //nolint:gosec // above zero.
			return fmt.Errorf("store: baseline: %w", err)
		}
	}
	record := make([]byte, 150)
	binary.BigEndian.PutUint64(record, key)
	if err := errors.Join(batch.Set(baselineKey('k', key), record[:16], nil), batch.Set(baselineKey('r', key), record, nil)); err != nil {
		return fmt.Errorf("store: baseline: %w", err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("store: baseline: %w", err)
	}
	return nil
}

// balance reads the number under a key.
func (b *Baseline) balance(key []byte) (value int64, known bool, err error) {
	found, closer, err := b.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("store: baseline: %w", err)
	}
	value = int64(binary.BigEndian.Uint64(found)) //nolint:gosec // as it was written.
	return value, true, closer.Close()
}

func baselineKey(prefix byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, number)
}

// Close closes the baseline.
func (b *Baseline) Close() error {
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("store: close the baseline: %w", err)
	}
	return nil
}
