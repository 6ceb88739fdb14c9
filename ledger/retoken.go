package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Retokened is what [Retoken] has done.
type Retokened struct {
	From, To store.Mark // where the old and the new journal end: one position, two chains
	Cards    uint64     // tokens that were exchanged, each as often as it stands there
}

// Exchange puts in the place of what is under the old card key what is under the new.
type Exchange struct {
	Card   func(*points.CardToken) error
	Secret func(operator string, sealed *string) error // of an operator's one-time codes
}

// Retoken writes the journal in from into the new and empty store to with every card's
// token and every operator's sealed secret exchanged, and sets to's anchor there. Nothing else of a record is changed:
// positions, and with them RRNs, times, amounts and outcomes are what they were. As a
// block's hash is over its tokens too, the new journal is another chain, of blocks of
// the same records. check becomes the check value of the card key that the tokens are
// under from then on.
//
// What is not journal is not copied: opening the ledger makes it again, and proves that
// every record gives its outcome under the new tokens too. exchange is called with each
// of them; its error ends the work. Records that this program would write otherwise than
// they stand there are refused, since more than tokens would change.
func Retoken(ctx context.Context, from, to *store.Store, exchange Exchange, check []byte, progress func(done, total uint64)) (Retokened, error) {
	r := retokening{restoration: restoration{to: to}, exchange: exchange}
	if end, err := endOf(to); err != nil || end.Position != 0 {
		return Retokened{}, errors.Join(fmt.Errorf("ledger: retoken: the new store has records up to %d already", end.Position), err)
	}
	total, err := r.total(from)
	if err != nil {
		return Retokened{}, err
	}
	if r.done.From, err = endOf(from); err != nil {
		return Retokened{}, err
	}
	err = blocks(ctx, from, 1, func(b *block) error {
		if err := r.rewrite(b); err != nil {
			return err
		}
		progress(r.end.Position, total)
		if r.bytes >= restoreChunk {
			return r.flush(ctx)
		}
		return nil
	})
	if err := errors.Join(err, r.flush(ctx)); err != nil {
		return Retokened{}, err
	}
	if err := r.reached(total); err != nil {
		return Retokened{}, err
	}
	if err := to.Ingest(ctx, []store.Pair{{Key: []byte{byte(store.KeyCheck)}, Value: check}}); err != nil {
		return Retokened{}, err
	}
	r.done.To = r.end
	return r.done, to.ResetAnchor(r.end)
}

// retokening is one run of [Retoken].
type retokening struct {
	restoration
	exchange Exchange
	open     []byte // the block that is being written
	again    []byte // a record as this program writes it
	done     Retokened
}

// rewrite takes over one block with other tokens, as the next of the new chain.
func (r *retokening) rewrite(b *block) error {
	r.open = beginBlock(r.open, r.end.Hash)
	err := b.each(func(position points.Position, record []byte) (int, error) {
		n, err := decodeAt(position, record, &r.rec)
		if err != nil {
			return 0, err
		}
		r.again = book.AppendRecord(r.again[:0], &r.rec.Command, &r.rec.Outcome)
		if !bytes.Equal(r.again, record[:n]) {
			return 0, fmt.Errorf("ledger: retoken: the record at position %d is written otherwise than this program writes it; use the program that wrote it", position)
		}
		r.rec.Command.EachCard(func(token *points.CardToken) {
			r.done.Cards++
			if failed := r.exchange.Card(token); failed != nil && err == nil {
				err = fmt.Errorf("ledger: retoken: position %d: %w", position, failed)
			}
		})
		r.rec.Command.EachSecret(func(operator string, sealed *string) {
			if failed := r.exchange.Secret(operator, sealed); failed != nil && err == nil {
				err = fmt.Errorf("ledger: retoken: position %d: %w", position, failed)
			}
		})
		r.open = book.AppendRecord(r.open, &r.rec.Command, &r.rec.Outcome)
		return n, err
	})
	if err != nil {
		return err
	}
	value, sum := endBlock(nil, r.open, b.first, b.count)
	r.pairs = append(r.pairs, store.Pair{Key: append([]byte{byte(store.Journal)}, blockKey(b.first)...), Value: slices.Clip(value)})
	r.bytes += len(value)
	r.end = store.Mark{Position: uint64(b.last()), Hash: sum}
	return nil
}
