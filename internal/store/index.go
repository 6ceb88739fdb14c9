package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Clear removes every key under prefix. It does not wait for the
// disk: a crash may bring them back, but not together with anything put or started
// after it.
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
