package ledger_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
)

// written is the journal of a ledger that serves, as a stream.
func written(t *testing.T, l *ledger.Ledger) ([]byte, store.Mark) {
	t.Helper()
	var out bytes.Buffer
	mark, err := l.WriteJournal(context.Background(), &out)
	require.NoError(t, err)
	return out.Bytes(), mark
}

// filled makes a new store of a stream.
func filled(t *testing.T, stream io.Reader, until ledger.Until) (*house, store.Mark, error) {
	t.Helper()
	h := &house{tb: t, db: store.Options{Dir: "filled", FS: vfs.NewMem(), BlockCacheMB: 1}}
	require.NoError(t, store.Create(h.db))
	to, err := store.Open(h.db)
	require.NoError(t, err)
	mark, err := ledger.RestoreJournal(context.Background(), stream, to, until, noProgress)
	require.NoError(t, to.Close())
	return h, mark, err
}

// A journal written while the ledger serves reads back to the same chain, and a store
// made of it to the same state; a bound cuts it.
func TestJournalStream(t *testing.T) {
	s := tell(t)
	want, end := digestOf(t, s.ledger)
	stream, mark := written(t, s.ledger)
	require.Equal(t, uint64(end), mark.Position)
	report, err := ledger.ReadJournal(context.Background(), iotest.OneByteReader(bytes.NewReader(stream)), noProgress)
	require.NoError(t, err)
	require.Equal(t, mark, report.End)
	require.Equal(t, mark.Position, report.Records)
	last, err := s.ledger.Record(end)
	require.NoError(t, err)
	require.Equal(t, last.Outcome.Posted, report.Posted)
	require.Equal(t, last.Outcome.Date, report.Date)

	h, got, err := filled(t, bytes.NewReader(stream), ledger.Until{})
	require.NoError(t, err)
	require.Equal(t, mark, got)
	h.open()
	digest, position := digestOf(t, h.ledger)
	require.Equal(t, end, position)
	require.Equal(t, want, digest)
	again, _ := written(t, h.ledger)
	require.Equal(t, stream, again)
	h.close()

	_, part, err := filled(t, bytes.NewReader(stream[:len(stream)/2]), ledger.Until{Position: 3})
	require.NoError(t, err, "what lies behind a bound is not read")
	require.Equal(t, uint64(3), part.Position)
	_, _, err = filled(t, bytes.NewReader(stream), ledger.Until{Position: end + 1})
	require.Equal(t, points.UnknownOriginal, points.ReasonOf(err))
	s.close()
	_, err = s.ledger.WriteJournal(context.Background(), io.Discard)
	require.ErrorIs(t, err, ledger.ErrClosed)
}

// No altered byte of a stream but those of the card key's check value is believed, no
// shorter one, and nothing behind the end; a reader's own error comes through.
func TestJournalStreamDamaged(t *testing.T) {
	s := tell(t)
	stream, _ := written(t, s.ledger)
	s.close()
	read := func(stream []byte) error {
		_, err := ledger.ReadJournal(context.Background(), bytes.NewReader(stream), noProgress)
		return err
	}
	require.NoError(t, read(stream))
	step := max(1, len(stream)/400)
	for i := 0; i < len(stream); i += step {
		altered := bytes.Clone(stream)
		altered[i] ^= 0x40
		require.Error(t, read(altered), "byte %d altered", i)
		require.ErrorIs(t, read(stream[:i]), ledger.ErrJournalStream, "cut to %d bytes", i)
	}
	require.ErrorIs(t, read(append(bytes.Clone(stream), 0)), ledger.ErrJournalStream)
	// A block that is whole and is not there is missed, though the end is right.
	first := 5 + int(stream[4])
	second := first + 12 + int(binary.BigEndian.Uint32(stream[first+8:]))
	third := second + 12 + int(binary.BigEndian.Uint32(stream[second+8:]))
	var damage *ledger.DamageError
	require.ErrorAs(t, read(slices.Concat(stream[:second], stream[third:])), &damage)
	require.ErrorAs(t, read(slices.Concat(stream[:first], stream[second:third], stream[first:second], stream[third:])), &damage, "two are exchanged")
	require.ErrorAs(t, read(slices.Concat(stream[:second], stream[first:second], stream[second:])), &damage, "one is there twice")
	broken := errors.New("the disk is broken")
	_, err := ledger.ReadJournal(context.Background(), io.MultiReader(bytes.NewReader(stream), iotest.ErrReader(broken)), noProgress)
	require.ErrorIs(t, err, broken, "an authenticated stream tells at its end that it is whole")
	_, _, err = filled(t, bytes.NewReader(stream[:len(stream)-1]), ledger.Until{})
	require.ErrorIs(t, err, ledger.ErrJournalStream)
}

// Any bytes may be read as a journal; a length that lies makes no room.
func FuzzReadJournal(f *testing.F) {
	f.Add([]byte("LFJ1\x00\x00\x00\x00\x00\x00\x00\x00\x01\x3f\xff\xff\xff"))
	f.Add(append([]byte("LFJ1\x03abc"), make([]byte, 48)...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		report, err := ledger.ReadJournal(context.Background(), bytes.NewReader(stream), noProgress)
		if err == nil {
			require.Equal(t, report.End.Position, report.Records)
		}
	})
}
