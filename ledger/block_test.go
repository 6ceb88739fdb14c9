package ledger

import (
	"encoding/hex"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// sampleBlock is a sealed block of count records from first on.
func sampleBlock(first points.Position, count int) (key, value []byte, seal hash) {
	open := beginBlock(nil, hash{1, 2, 3})
	for i := range count {
		cmd := book.Command{Kind: book.KindRedeem, Amount: points.Amount(i + 1), At: 1_772_366_400_000_000, Operator: "teller"}
		out := book.Outcome{Reason: points.Approved, Position: first + points.Position(i), Posted: cmd.At, Amount: cmd.Amount}
		open = book.AppendRecord(open, &cmd, &out)
	}
	value, seal = endBlock(nil, open, first, count)
	return blockKey(first), value, seal
}

// A block is read back as it was written.
func TestBlockRoundTrip(t *testing.T) {
	key, value, seal := sampleBlock(17, 3)
	b, err := readBlock(key, value)
	require.NoError(t, err)
	require.Equal(t, points.Position(17), b.first)
	require.Equal(t, points.Position(19), b.last())
	require.Equal(t, hash{1, 2, 3}, b.prev)
	require.Equal(t, seal, b.hash)
	var rec book.Record
	next := points.Position(17)
	require.NoError(t, b.visit(&rec, func(rec *book.Record) error {
		require.Equal(t, next, rec.Outcome.Position)
		require.Equal(t, points.Amount(next-16), rec.Command.Amount)
		next++
		return nil
	}))
	require.Equal(t, points.Position(20), next)
	require.NoError(t, record(b.bytes, b.first, 18, &rec))
	require.Equal(t, points.Amount(2), rec.Command.Amount)
	require.ErrorIs(t, record(b.bytes, b.first, 20, &rec), errNoSuchRecord)
	require.ErrorIs(t, record(b.bytes, b.first, 99, &rec), errNoSuchRecord)
}

// I8: no byte of a block, its key included, can change unnoticed, and the error
// names a position.
func TestEveryByteOfABlockIsSealed(t *testing.T) {
	key, value, _ := sampleBlock(17, 3)
	for i := range len(key) + len(value) {
		for bit := range 8 {
			rottenKey, rotten := append([]byte(nil), key...), append([]byte(nil), value...)
			if i < len(key) {
				rottenKey[i] ^= 1 << bit
			} else {
				rotten[i-len(key)] ^= 1 << bit
			}
			_, err := readBlock(rottenKey, rotten)
			var damage *DamageError
			require.ErrorAs(t, err, &damage, "byte %d bit %d", i, bit)
			require.Contains(t, err.Error(), fmt.Sprintf("at position %d:", damage.Position))
			if i >= len(key) {
				require.Equal(t, points.Position(17), damage.Position)
			}
		}
	}
	for n := range value {
		_, err := readBlock(key, value[:n])
		require.Error(t, err, "cut after %d bytes", n)
	}
}

// A block whose seal is right but whose records are not what it says is refused.
func TestSealedNonsenseIsRefused(t *testing.T) {
	one := func(position points.Position) []byte {
		return book.AppendRecord(nil, &book.Command{Kind: book.KindRedeem}, &book.Outcome{Reason: points.Approved, Position: position})
	}
	for name, c := range map[string]struct {
		records []byte
		count   int
		at      points.Position
		says    string
	}{
		"no records":          {nil, 0, 5, "without records"},
		"fewer than it says":  {one(5), 2, 6, "malformed"},
		"more than it says":   {append(one(5), one(6)...), 1, 6, "bytes after"},
		"another position":    {one(6), 1, 5, "says 6"},
		"not a record at all": {[]byte{3, 9, 9, 9}, 1, 5, "version"},
	} {
		t.Run(name, func(t *testing.T) {
			value, _ := endBlock(nil, append(beginBlock(nil, hash{}), c.records...), 5, c.count)
			b, err := readBlock(blockKey(5), value)
			if err == nil {
				err = b.visit(new(book.Record), func(*book.Record) error { return nil })
			}
			var damage *DamageError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, c.at, damage.Position)
			require.ErrorContains(t, err, c.says)
		})
	}
	require.ErrorContains(t, record(one(6), 5, 5, new(book.Record)), "says 6")
	for _, c := range []struct {
		says   string
		count  int
		change func(body []byte) []byte
	}{
		{"block version 3, this program reads 1 and 2", 9, func(body []byte) []byte { return append([]byte{packedBlock + 1}, body[1:]...) }},
		{"cannot be unpacked", 1, func(body []byte) []byte { return append([]byte{packedBlock}, body[1:]...) }},
		{"unpacked: snappy: corrupt", 9, func(body []byte) []byte { // It says that it is half a GiB long.
			return slices.Insert(body, recordsAt, 0xff, 0xff, 0xff, 0xff, 0x01)
		}},
	} {
		_, value, _ := sampleBlock(5, c.count)
		body := c.change(value[:len(value)-hashSize])
		sum := sealOf(5, body)
		value = append(body, sum[:]...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readBlock(blockKey(5), value)
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, c.says)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "memory was made for a lie")
		require.ErrorContains(t, new(indexed).index(blockKey(5), value), c.says)
	}
}

// The bytes of a block are what docs promise: a change of format is a decision.
func TestBlockFormatIsFixed(t *testing.T) {
	key, value, _ := sampleBlock(17, 1)
	require.Equal(t, "0000000000000011", hex.EncodeToString(key))
	require.Equal(t, "01"+"0102030000000000000000000000000000000000000000000000000000000000"+"00000001", hex.EncodeToString(value[:recordsAt]))
	_, value, _ = sampleBlock(17, 3)
	require.Equal(t, "02"+"0102030000000000000000000000000000000000000000000000000000000000"+"00000003", hex.EncodeToString(value[:recordsAt]))
}

// Blocks that were written before there was packing are read as they were, among
// those that are packed: the same records come out, and the seal is over what stands
// there.
func TestPlainBlocksAreStillRead(t *testing.T) {
	_, packed, _ := sampleBlock(17, 3)
	b, err := readBlock(blockKey(17), packed)
	require.NoError(t, err)
	require.Less(t, len(packed)-recordsAt-hashSize, len(b.bytes))
	plain := append(append([]byte{plainBlock}, packed[1:recordsAt]...), b.bytes...)
	sum := sealOf(17, plain)
	plain = append(plain, sum[:]...)
	old, err := readBlock(blockKey(17), plain)
	require.NoError(t, err)
	require.Equal(t, b.bytes, old.bytes)
	require.Equal(t, sum, old.hash)
	require.NotEqual(t, b.hash, old.hash)
	var x, y indexed
	require.NoError(t, x.index(blockKey(17), packed))
	require.NoError(t, y.index(blockKey(17), plain))
	require.Equal(t, x, y)
	require.Len(t, x.offsets, 3)
}

// Whatever stands in the store is either a block whose records come out, or
// refused; seal makes the fuzzer's bytes pass the hash, so that it gets further.
func FuzzReadBlock(f *testing.F) {
	for count := range 4 {
		key, value, _ := sampleBlock(17, count)
		f.Add(key, value, false)
		f.Add(key, value[:len(value)-hashSize], true)
	}
	f.Add([]byte{}, []byte{}, false)
	f.Fuzz(func(t *testing.T, key, value []byte, seal bool) {
		if seal && len(key) == 8 {
			sum := sealOf(points.Position(key[7]), value)
			key = blockKey(points.Position(key[7]))
			value = append(append([]byte(nil), value...), sum[:]...)
		}
		b, err := readBlock(key, value)
		if err != nil {
			return
		}
		require.Positive(t, b.count)
		next := b.first
		err = b.visit(new(book.Record), func(rec *book.Record) error {
			require.Equal(t, next, rec.Outcome.Position)
			require.NoError(t, record(b.bytes, b.first, next, new(book.Record)))
			next++
			return nil
		})
		if err == nil {
			require.Equal(t, b.last()+1, next)
		}
	})
}
