package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Put writes pairs, all of them or none, and does not wait for the disk: a crash
// may lose them, but never without everything put or started after them. It is
// for what can be made again from the journal.
func (s *Store) Put(pairs []Pair) (err error) {
	batch := s.db.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	for _, pair := range pairs {
		if len(pair.Value) == 0 {
			err = batch.Delete(pair.Key, nil)
		} else {
			err = batch.Set(pair.Key, pair.Value, nil)
		}
		if err != nil {
			return fmt.Errorf("store: put %x: %w", pair.Key, err)
		}
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("store: put %d keys: %w", len(pairs), err)
	}
	return nil
}

// Clear removes every key under prefix. Like [Store.Put] it does not wait for the disk.
func (s *Store) Clear(prefix Prefix) error {
	if err := s.db.DeleteRange(key(prefix, nil), key(prefix+1, nil), pebble.NoSync); err != nil {
		return fmt.Errorf("store: clear %c: %w", prefix, err)
	}
	return nil
}

// ScanBack calls visit with the keys under prefix from high down to low, both
// included, descending; in everything else it is like [Store.Scan].
func (s *Store) ScanBack(ctx context.Context, prefix Prefix, low, high []byte, visit func(rest, value []byte) (more bool, err error)) (err error) {
	iter, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: key(prefix, low), UpperBound: append(key(prefix, high), 0)})
	if err != nil {
		return fmt.Errorf("store: scan %c%x back: %w", prefix, high, asDamage(err))
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for valid := iter.Last(); valid; valid = iter.Prev() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("store: scan %c back: %w", prefix, asDamage(err))
		}
		value, err := iter.ValueAndErr()
		if err != nil {
			return fmt.Errorf("store: scan %c%x back: %w", prefix, iter.Key()[1:], asDamage(err))
		}
		more, err := visit(iter.Key()[1:], value)
		if err != nil || !more {
			return err
		}
	}
	if err := iter.Error(); err != nil {
		return fmt.Errorf("store: scan %c back: %w", prefix, asDamage(err))
	}
	return nil
}
