package ledger_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

var (
	writtenRecords = flag.Int("written-records", 200_000, "redemptions of the test that counts bytes written")
	writtenMembers = flag.Int("written-members", 20_000, "members of the test that counts bytes written")
	writtenGroup   = flag.Int("written-group", 256, "redemptions in a group of the test that counts bytes written")
)

// token is as random as that of a real card.
func token(id points.MemberID) points.CardToken {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(id)))
	return points.CardToken(sum[:16])
}

// together hands commands over at once, and waits until all are approved.
func (h *house) together(cmds []book.Command) {
	h.tb.Helper()
	var open sync.WaitGroup
	open.Add(len(cmds))
	asks := make([]ledger.Ask, len(cmds))
	reasons := make([]points.Reason, len(cmds))
	for i := range cmds {
		asks[i] = ledger.Ask{Command: &cmds[i], Done: func(out *book.Outcome) {
			reasons[i] = out.Reason
			open.Done()
		}}
	}
	h.ledger.SubmitAll(asks)
	open.Wait()
	for i, reason := range reasons {
		require.Equal(h.tb, points.Approved, reason, "command %d of kind %v", i, cmds[i].Kind)
	}
}

// bytesWritten is what the store has written so far, by how and of whom.
func bytesWritten(tb testing.TB, registry *prometheus.Registry) map[string]float64 {
	tb.Helper()
	families, err := registry.Gather()
	require.NoError(tb, err)
	bytes := make(map[string]float64)
	for _, family := range families {
		switch family.GetName() {
		case "lianfen_store_wal_bytes_total":
			bytes["log"] = family.GetMetric()[0].GetCounter().GetValue()
		case "lianfen_store_table_bytes_total":
			for _, m := range family.GetMetric() {
				bytes[m.GetLabel()[0].GetValue()+" of "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return bytes
}

// An authorisation costs at most 200 bytes written, in the log, in tables and again in
// compactions, of the journal, of checkpoints and of the index together; it is some 130.
func TestBytesWrittenForARedemption(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := &house{tb: t, fs: vfs.NewMem(), opts: ledger.Options{GroupMax: *writtenGroup, CheckpointInterval: time.Hour, CheckpointEvery: min(1_000_000, *writtenRecords/2)}}
	h.db = store.Options{Dir: folder, FS: h.fs, Registerer: registry}
	h.create()
	h.furnish(1)
	random := rand.New(rand.NewPCG(1, 2))
	var cmds []book.Command
	for id := points.MemberID(2); int(id) <= *writtenMembers+1; id++ {
		cmds = append(cmds,
			book.Command{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: id, Status: book.Active}}, At: noon},
			book.Command{Kind: book.KindPut, Entry: book.Entry{Card: &book.Card{Token: token(id), Member: id, Status: book.Active}}, At: noon},
			book.Command{Kind: book.KindOpen, Member: id, Program: program, At: noon},
			book.Command{Kind: book.KindEarn, Card: token(id), Program: program, Amount: 1_000_000, Acquirer: acquirer, Merchant: merchant(), At: noon},
		)
	}
	for chunk := range slices.Chunk(cmds, 20_000) {
		h.together(chunk)
	}
	h.close()
	h.open()
	p := h.project(ledger.ProjectionOptions{})
	h.stored(p)
	before := bytesWritten(t, registry)
	at := noon
	for serial := 0; serial < *writtenRecords; {
		cmds = cmds[:0]
		for range 20_000 {
			serial++
			at += points.Timestamp(random.IntN(20))
			cmd := command(book.KindRedeem, random.IntN(10), uint64(serial), 1, 1)
			cmd.At, cmd.Function, cmd.Card = at, points.Redeem, token(2+points.MemberID(random.IntN(*writtenMembers)))
			cmd.Key.When = 20_261_126_101_010 + uint64(serial)/100_000 // MMDDhhmmss and the year.
			cmds = append(cmds, cmd)
		}
		h.together(cmds)
	}
	h.stored(p)
	after := bytesWritten(t, registry)
	p.Close()
	require.NoError(t, h.ledger.Close(context.Background()))
	total, flushed := 0.0, 0.0
	for _, name := range slices.Sorted(maps.Keys(after)) {
		each := (after[name] - before[name]) / float64(*writtenRecords)
		total += each
		if strings.HasPrefix(name, "flush") {
			flushed += each
		}
		if each != 0 {
			t.Logf("%-24s %7.1f bytes", name, each)
		}
	}
	rest := max(0, (after["log"]-before["log"])/float64(*writtenRecords)-flushed)
	t.Logf("%-24s %7.1f bytes at most", "not flushed yet", rest)
	t.Logf("%-24s %7.1f bytes", "together", total+rest)
	require.LessOrEqual(t, total+rest, 200.0)
}
