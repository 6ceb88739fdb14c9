package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// A journal as a stream, for backups:
//
//	magic   "LFJ1"
//	check   1 byte of length, and so many bytes: the check value of the card key
//	blocks  each: first position, 8 bytes; length, 4 bytes; the block as it stands in
//	        the journal
//	end     8 zero bytes; last position, 8 bytes; hash of the chain, 32 bytes
//
// All numbers are big-endian. Nothing follows the end.
const (
	journalMagic = "LFJ1"
	// maxBlock is the longest block that is believed; a group is far below it.
	maxBlock = 1 << 30
)

// ErrJournalStream says that a stream is not a whole journal.
var ErrJournalStream = errors.New("ledger: the backup is not a whole journal")

// WriteJournal writes the journal, as far as it is durable, to w while the ledger serves,
// and returns where it ends. What an error leaves in w is not taken for whole.
func (l *Ledger) WriteJournal(ctx context.Context, w io.Writer) (store.Mark, error) {
	if err := l.enter(); err != nil {
		return store.Mark{}, err
	}
	defer l.readers.Done()
	l.durableMark.Lock()
	mark := l.durableMark.Mark
	l.durableMark.Unlock()
	check, _, err := l.store.Get(nil, store.KeyCheck, nil)
	if err != nil {
		return store.Mark{}, err
	}
	head := append([]byte(journalMagic), byte(len(check))) //nolint:gosec // three bytes.
	if _, err := w.Write(append(head, check...)); err != nil {
		return store.Mark{}, fmt.Errorf("ledger: write the journal: %w", err)
	}
	var end store.Mark
	err = blocks(ctx, l.store, 1, func(b *block) error {
		if end.Position >= mark.Position {
			return errEnough
		}
		end = store.Mark{Position: uint64(b.last()), Hash: b.hash}
		frame := binary.BigEndian.AppendUint64(make([]byte, 0, 12), uint64(b.first))
		frame = binary.BigEndian.AppendUint32(frame, uint32(len(b.value))) //nolint:gosec // far below maxBlock.
		if _, err := w.Write(frame); err != nil {
			return fmt.Errorf("ledger: write the journal: %w", err)
		}
		if _, err := w.Write(b.value); err != nil {
			return fmt.Errorf("ledger: write the journal: %w", err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return store.Mark{}, err
	}
	if end != mark {
		return store.Mark{}, fmt.Errorf("%w: the journal that was read ends at position %d, durable is %d", ErrBehindAnchor, end.Position, mark.Position)
	}
	tail := binary.BigEndian.AppendUint64(make([]byte, 8, 48), end.Position)
	if _, err := w.Write(append(tail, end.Hash[:]...)); err != nil {
		return store.Mark{}, fmt.Errorf("ledger: write the journal: %w", err)
	}
	return end, nil
}

// JournalReport is what a journal in a stream was found to be.
type JournalReport struct {
	End     store.Mark
	Records uint64
	Blocks  uint64
	Posted  points.Timestamp // of the last record
	Date    points.BusinessDate
}

// ReadJournal reads the journal in r to its end and proves what can be proved without a
// book: each block's seal and the chain, that every record can be read and stands at its
// position, and that all of it is there. progress hears how many records were read.
// Errors: [ErrJournalStream], a [*DamageError], or what r gave.
func ReadJournal(ctx context.Context, r io.Reader, progress func(done, total uint64)) (report JournalReport, err error) {
	var rec book.Record
	j, err := newJournalReader(r)
	if err != nil {
		return report, err
	}
	err = j.blocks(ctx, func(b *block) error {
		report.Blocks++
		report.Records += uint64(b.count) //nolint:gosec // at least one.
		progress(report.Records, 0)
		return b.visit(&rec, func(rec *book.Record) error {
			report.Posted, report.Date = rec.Outcome.Posted, rec.Outcome.Date
			return nil
		})
	})
	report.End = j.end
	return report, err
}

// RestoreJournal is [Restore] from a journal in a stream. Without a bound all of it has
// to be there; what lies behind a bound is not read.
func RestoreJournal(ctx context.Context, from io.Reader, to *store.Store, until Until, progress func(done, total uint64)) (store.Mark, error) {
	j, err := newJournalReader(from)
	if err != nil {
		return store.Mark{}, err
	}
	r := restoration{to: to, until: until}
	if err := r.fill(ctx, uint64(until.Position), j.blocks, progress); err != nil {
		return store.Mark{}, err
	}
	if len(j.check) > 0 {
		if err := to.Ingest(ctx, []store.Pair{{Key: []byte{byte(store.KeyCheck)}, Value: j.check}}); err != nil {
			return store.Mark{}, err
		}
	}
	return r.end, to.ResetAnchor(r.end)
}

// journalReader reads a journal from a stream. What it reads may be anything.
type journalReader struct {
	from  io.Reader
	check []byte
	end   store.Mark // of what was read so far
	value bytes.Buffer
}

func newJournalReader(from io.Reader) (*journalReader, error) {
	j := &journalReader{from: from}
	head := make([]byte, len(journalMagic)+1)
	if err := j.fill(head); err != nil {
		return nil, err
	}
	if string(head[:len(journalMagic)]) != journalMagic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrJournalStream)
	}
	j.check = make([]byte, head[len(journalMagic)])
	return j, j.fill(j.check)
}

// fill reads all of dst.
func (j *journalReader) fill(dst []byte) error {
	_, err := io.ReadFull(j.from, dst)
	return j.short(err)
}

// short names the end of a stream that should have gone on.
func (j *journalReader) short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it breaks off behind position %d", ErrJournalStream, j.end.Position)
	}
	return err
}

// blocks calls visit with each block, which is valid during the call, and checks the
// chain and the end.
func (j *journalReader) blocks(ctx context.Context, visit func(*block) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("ledger: read a journal: %w", err)
		}
		key := make([]byte, 8)
		if err := j.fill(key); err != nil {
			return err
		}
		if binary.BigEndian.Uint64(key) == 0 {
			return j.finish()
		}
		b, err := j.block(key)
		if err != nil {
			return err
		}
		if err := b.follows(points.Position(j.end.Position)+1, j.end.Hash); err != nil {
			return err
		}
		j.end = store.Mark{Position: uint64(b.last()), Hash: b.hash}
		if err := visit(&b); err != nil {
			return err
		}
	}
}

func (j *journalReader) block(key []byte) (block, error) {
	var length [4]byte
	if err := j.fill(length[:]); err != nil {
		return block{}, err
	}
	size := int64(binary.BigEndian.Uint32(length[:]))
	if size > maxBlock {
		return block{}, fmt.Errorf("%w: a block of %d bytes behind position %d, at most %d", ErrJournalStream, size, j.end.Position, int64(maxBlock))
	}
	j.value.Reset()
	if _, err := io.CopyN(&j.value, j.from, size); err != nil { // Makes room as it comes: a length may lie.
		return block{}, j.short(err)
	}
	return readBlock(key, j.value.Bytes())
}

// finish checks the end and that nothing follows it: a stream that is authenticated tells
// only at its own end that it is whole.
func (j *journalReader) finish() error {
	tail := make([]byte, 40)
	if err := j.fill(tail); err != nil {
		return err
	}
	end := store.Mark{Position: binary.BigEndian.Uint64(tail), Hash: hash(tail[8:])}
	if end != j.end {
		return fmt.Errorf("%w: it has records up to position %d, and says %d, or another chain", ErrJournalStream, j.end.Position, end.Position)
	}
	n, err := io.CopyN(io.Discard, j.from, 1)
	if n > 0 {
		return fmt.Errorf("%w: something follows its end", ErrJournalStream)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
