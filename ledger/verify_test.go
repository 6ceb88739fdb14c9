package ledger_test

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// tale is a small store in which something of each kind has happened, with a
// checkpoint in the middle and records behind it.
type tale struct {
	*house
	fs         *vfs.MemFS
	checkpoint points.Position
	// Positions of the records that tests break.
	program, earn, redeem, refund, hold, later, cutOver, last points.Position
}

func tell(t *testing.T) *tale {
	t.Helper()
	fs := vfs.NewCrashableMem()
	s := &tale{fs: fs, house: build(t, fs, ledger.Options{})}
	s.furnish(2)
	s.program = 4 // after the genesis, the issuer and the acquirer
	soon := command(book.KindEarn, 0, 1, 1, 500)
	soon.ExpiresOn = 20260401 // before the lot of furnish, so that there is an order
	s.earn = s.must(soon).Position
	s.redeem = s.must(command(book.KindRedeem, 0, 2, 1, 300)).Position
	back := command(book.KindRefund, 0, 3, 1, 100)
	back.Original = s.redeem
	s.refund = s.must(back).Position
	s.hold = s.must(command(book.KindHold, 0, 4, 2, 700)).Position
	part := command(book.KindCapture, 0, 5, 2, 200)
	part.Original = s.hold
	s.must(part)
	s.close()
	s.open()
	s.checkpoint = s.ledger.Durable()
	s.later = s.must(command(book.KindRedeem, 0, 6, 1, 350)).Position
	s.cutOver = s.must(book.Command{Kind: book.KindCutOver, Date: 20260302, At: noon + 100}).Position
	s.last = s.must(command(book.KindRedeem, 0, 200, 2, 50)).Position
	return s
}

// copied is the store of the tale in a copy of its own, after damage.
func (s *tale) copied(t *testing.T, damage func(*store.Store)) *store.Store {
	t.Helper()
	opts := s.db
	opts.FS = s.fs.CrashClone(vfs.CrashCloneCfg{})
	db, err := store.Open(opts)
	require.NoError(t, err)
	damage(db)
	require.NoError(t, db.Close())
	opts.ReadOnly = true
	db, err = store.Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func noProgress(uint64, uint64) {}

// What nobody has touched is in order, live and offline, and both say the same.
func TestVerifyFindsNothingInAnHonestStore(t *testing.T) {
	s := tell(t)
	db := s.copied(t, func(*store.Store) {})
	var seen []uint64
	offline, err := ledger.VerifyStore(context.Background(), db, func(done, total uint64) {
		require.Equal(t, uint64(s.last), total)
		seen = append(seen, done)
	})
	require.NoError(t, err)
	require.Equal(t, s.last, offline.Position)
	require.Equal(t, uint64(s.last), offline.Records)
	require.Equal(t, s.checkpoint, offline.Checkpoint)
	require.Equal(t, points.BusinessDate(20260302), offline.Date)
	require.IsNonDecreasing(t, seen)
	require.Equal(t, uint64(s.last), seen[len(seen)-1])

	live, err := s.ledger.Verify(context.Background(), noProgress)
	require.NoError(t, err)
	require.Equal(t, s.last, live.Checkpoint)
	live.Checkpoint = offline.Checkpoint
	require.Equal(t, offline, live)
	s.close()
}

// Verify goes on beside the writer, and each time proves all that was written when
// it began, the state of the moment included.
func TestVerifyWhileItServes(t *testing.T) {
	s := tell(t)
	const bursts = 5
	stan := uint64(1_000)
	for range bursts {
		answered := make(chan points.Reason, 500)
		for range cap(answered) {
			stan++
			cmd := command(book.KindEarn, 0, stan, 2, 1)
			s.ledger.Submit(&cmd, func(out *book.Outcome) { answered <- out.Reason })
		}
		before := s.ledger.Durable()
		report, err := s.ledger.Verify(context.Background(), noProgress)
		require.NoError(t, err)
		require.GreaterOrEqual(t, report.Checkpoint, before)
		require.GreaterOrEqual(t, report.Position, report.Checkpoint)
		for range cap(answered) {
			require.Equal(t, points.Approved, <-answered)
		}
	}
	s.close()
}

// What falls due in another way than it does is named as that, and not as points that
// somebody spent in the wrong order.
func TestVerifyNamesWhatFellDue(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := &tale{fs: fs, house: build(t, fs, ledger.Options{})}
	defer func() { s.close() }()
	s.furnish(1)
	s.put(book.Entry{Program: &book.Program{ID: inn, Issuer: issuer, Name: "Inn", Status: book.Active, Rules: book.ProgramRules{ValidMonths: 1, DecayPart: 1000, DecayEvery: 1}}})
	s.put(book.Entry{Merchant: &book.Merchant{ID: merchant(), Acquirer: acquirer, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{inn}}})
	s.must(book.Command{Kind: book.KindOpen, At: noon, Member: 1, Program: inn})
	earn := command(book.KindEarn, 0, 1, 1, 500)
	earn.Program = inn
	s.must(earn)
	due := map[book.Kind]points.Position{}
	for _, step := range []struct {
		date points.BusinessDate
		kind book.Kind
	}{{genesis.MonthEnd().AddDays(1), book.KindDecay}, {genesis.AddMonths(2), book.KindExpireLots}} {
		s.must(book.Command{Kind: book.KindCutOver, At: noon, Date: step.date})
		out := s.must(book.Command{Kind: step.kind, At: noon})
		require.NotEmpty(t, out.Lots)
		due[step.kind] = out.Position
	}
	for kind, position := range due {
		db := s.copied(t, func(db *store.Store) {
			ledger.Tamper(t, db, func(r *book.Record) {
				if r.Outcome.Position == position {
					r.Outcome.Lots[0].Lot.ExpiresOn++
				}
			})
		})
		_, err := ledger.VerifyStore(context.Background(), db, noProgress)
		breach := new(ledger.BreachError)
		require.ErrorAs(t, err, &breach)
		require.Equal(t, "I11", breach.Invariant, "%v: %v", kind, err)
		require.Equal(t, position, breach.Position)
	}
}

// Each invariant that is broken in the journal, under an intact chain, is found
// at the record that breaks it, and named.
func TestVerifyNamesTheBrokenRecord(t *testing.T) {
	s := tell(t)
	defer s.close()
	first, err := s.ledger.Record(s.redeem)
	require.NoError(t, err)
	key := first.Command.Key
	for name, broken := range map[string]struct {
		invariant string
		at        points.Position // of the record that is changed
		found     points.Position // where it shows; 0: there
		change    func(*book.Record)
	}{
		"postings do not sum to zero":     {"I1", s.redeem, 0, func(r *book.Record) { r.Outcome.Postings[0].Amount-- }},
		"a refund above its original":     {"I4", s.refund, 0, func(r *book.Record) { r.Command.Amount = 301 }},
		"a later lot is taken first":      {"I5", s.redeem, 0, func(r *book.Record) { r.Outcome.Lots[0].Lot.ExpiresOn = 20270331 }},
		"a refund with a new expiry":      {"I6", s.refund, 0, func(r *book.Record) { r.Outcome.Lots[0].Lot.ExpiresOn = 20270331 }},
		"a key a second time":             {"I7", s.later, 0, func(r *book.Record) { r.Command.Key = key }},
		"another balance afterwards":      {"I9", s.last, 0, func(r *book.Record) { r.Outcome.Free++ }},
		"another amount":                  {"I9", s.redeem, 0, func(r *book.Record) { r.Outcome.Amount++ }},
		"a decline that was an approval":  {"I9", s.redeem, 0, func(r *book.Record) { r.Outcome.Reason = points.NotEnoughPoints }},
		"above the day's limit":           {"I10", s.program, s.redeem, func(r *book.Record) { r.Command.Entry.Program.Rules.MaxRedeemDay = 299 }},
		"more often than the day's limit": {"I10", s.program, s.later, func(r *book.Record) { r.Command.Entry.Program.Rules.MaxRedeemCnt = 1 }},
		"posted before its predecessor":   {"I11", s.redeem, 0, func(r *book.Record) { r.Outcome.Posted = noon - 1 }},
		"posted later than it was":        {"I11", s.redeem, 0, func(r *book.Record) { r.Outcome.Posted++ }},
		"a date goes back":                {"I12", s.last, 0, func(r *book.Record) { r.Outcome.Date = 20260301 }},
		"a date begins without cut-over":  {"I12", s.later, 0, func(r *book.Record) { r.Outcome.Date = 20260302 }},
		"a cut-over to another date":      {"I12", s.cutOver, 0, func(r *book.Record) { r.Outcome.Date = 20260303 }},
	} {
		t.Run(broken.invariant+" "+name, func(t *testing.T) {
			db := s.copied(t, func(db *store.Store) {
				ledger.Tamper(t, db, func(r *book.Record) {
					if r.Outcome.Position == broken.at {
						broken.change(r)
					}
				})
			})
			_, err := ledger.VerifyStore(context.Background(), db, noProgress)
			breach := new(ledger.BreachError)
			require.ErrorAs(t, err, &breach)
			require.Equal(t, broken.invariant, breach.Invariant, "%v", err)
			at := broken.found
			if at == 0 {
				at = broken.at
			}
			require.Equal(t, at, breach.Position, "%v", err)
			rrn := at.RRN()
			require.ErrorContains(t, err, string(rrn[:]))
		})
	}
}

// Each invariant that is broken in the state of the checkpoint, where no record
// tells, is found and named.
func TestVerifyNamesWhatIsBrokenInTheCheckpoint(t *testing.T) {
	s := tell(t)
	defer s.close()
	account := append([]byte{2, byte(book.MemberAccount)}, 900>>8, 900&0xff, 0, 0, 0, 0, 0, 0, 0, 1)
	hold := binary.BigEndian.AppendUint64([]byte{5}, uint64(s.hold))
	for name, broken := range map[string]struct {
		invariant string
		key       []byte
		change    func(value []byte) []byte
	}{
		"more held than there is":              {"I2", []byte{1}, func(v []byte) []byte { return amountAt(v, heldTotal(v), 1_000_000) }},
		"an account's balance is not its lots": {"I3", account, func(v []byte) []byte { return amountAt(v, 3, 123) }},
		"a hold was captured above itself":     {"I4", hold, func(v []byte) []byte { return amountAt(v, captured(v), 9_999) }},
		"the state is of another journal":      {"I9", account, func(v []byte) []byte { v[2] = byte(book.FreezeCredit); return v }},
		"an entity is missing":                 {"I9", binary.BigEndian.AppendUint64([]byte{3}, 2), func([]byte) []byte { return nil }},
		"an entity too many":                   {"I9", binary.BigEndian.AppendUint64([]byte{3}, 77), func([]byte) []byte { return []byte{1} }},
	} {
		t.Run(broken.invariant+" "+name, func(t *testing.T) {
			db := s.copied(t, func(db *store.Store) {
				value, _, err := db.Get(nil, store.State, broken.key)
				require.NoError(t, err)
				pair := store.Pair{Key: append([]byte{byte(store.State)}, broken.key...), Value: broken.change(value)}
				require.NoError(t, db.Ingest(context.Background(), []store.Pair{pair}))
			})
			_, err := ledger.VerifyStore(context.Background(), db, noProgress)
			breach := new(ledger.BreachError)
			require.ErrorAs(t, err, &breach)
			require.Equal(t, broken.invariant, breach.Invariant, "%v", err)
			require.Equal(t, s.checkpoint, breach.Position, "%v", err)
		})
	}
}

// I8: a byte that is not as it was written, a block that is gone, an end before
// the anchor: whoever did not seal again is found by the chain.
func TestVerifyNamesABrokenChain(t *testing.T) {
	s := tell(t)
	defer s.close()
	block := func(first points.Position) []byte { return binary.BigEndian.AppendUint64(nil, uint64(first)) }
	for name, broken := range map[string]struct {
		at     points.Position
		damage func(*testing.T, *store.Store)
	}{
		"a flipped byte": {s.redeem, func(t *testing.T, db *store.Store) {
			value, ok, err := db.Get(nil, store.Journal, block(s.redeem))
			require.NoError(t, err)
			require.True(t, ok)
			value[len(value)/2] ^= 1
			ledger.Overwrite(t, db, store.Journal, block(s.redeem), value)
		}},
		"a block is gone": {s.refund, func(t *testing.T, db *store.Store) { remove(t, db, block(s.refund)) }},
		"the end is gone": {s.last, func(t *testing.T, db *store.Store) { remove(t, db, block(s.last)) }},
		"the anchor is of another journal": {s.last, func(t *testing.T, db *store.Store) {
			require.NoError(t, db.ResetAnchor(store.Mark{Position: uint64(s.last), Hash: [32]byte{1}}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			db := s.copied(t, func(db *store.Store) {
				require.NoError(t, db.ResetAnchor(endOf(t, db)))
				broken.damage(t, db)
			})
			_, err := ledger.VerifyStore(context.Background(), db, noProgress)
			breach := new(ledger.BreachError)
			require.ErrorAs(t, err, &breach)
			require.Equal(t, "I8", breach.Invariant)
			require.Equal(t, broken.at, breach.Position, "%v", err)
		})
	}
}

// BenchmarkVerify proves a store of a hundred thousand redemptions.
func BenchmarkVerify(b *testing.B) {
	const records = 100_000
	h := build(b, vfs.NewMem(), ledger.Options{})
	h.furnish(1000)
	var answered sync.WaitGroup
	answered.Add(records)
	for i := range records {
		cmd := command(book.KindRedeem, i%10, uint64(i), points.MemberID(1+i%1000), 1)
		h.ledger.Submit(&cmd, func(*book.Outcome) { answered.Done() })
		if i%10_000 == 0 {
			h.must(command(book.KindBalance, 9, uint64(records+i), 1, 0)) // The queue is bounded.
		}
	}
	answered.Wait()
	h.close()
	db, err := store.Open(h.db)
	require.NoError(b, err)
	total := uint64(0)
	for b.Loop() {
		report, err := ledger.VerifyStore(context.Background(), db, noProgress)
		require.NoError(b, err)
		total += report.Records
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "records/s")
	require.NoError(b, db.Close())
}

// While it serves, verify holds the state in the store against the replay too, to
// its last entity.
func TestVerifyLooksIntoTheStoreOfAServingLedger(t *testing.T) {
	s := tell(t)
	defer s.close()
	for name, key := range map[string][]byte{
		"a member":                      {3, 0, 0, 0, 0, 0, 0, 0, 2},
		"the last entry, of 14, of all": {8, 0, 0, 0, 13},
	} {
		t.Run(name, func(t *testing.T) {
			opts := s.db
			opts.FS = s.fs.CrashClone(vfs.CrashCloneCfg{})
			db, err := store.Open(opts)
			require.NoError(t, err)
			served, err := ledger.Open(context.Background(), ledger.Options{Store: db})
			require.NoError(t, err)
			report, err := served.Verify(context.Background(), noProgress)
			require.NoError(t, err)
			require.Equal(t, report.Position, report.Checkpoint)
			require.Greater(t, report.Checkpoint, s.checkpoint)
			_, ok, err := db.Get(nil, store.State, key)
			require.NoError(t, err)
			require.True(t, ok)
			require.NoError(t, db.Ingest(context.Background(), []store.Pair{{Key: append([]byte{byte(store.State)}, key...)}}))
			_, err = served.Verify(context.Background(), noProgress)
			breach := new(ledger.BreachError)
			require.ErrorAs(t, err, &breach)
			require.Equal(t, "I9", breach.Invariant)
			require.Equal(t, report.Checkpoint, breach.Position)
			require.NoError(t, served.Close(context.Background()))
		})
	}
}

func remove(t *testing.T, db *store.Store, block []byte) {
	t.Helper()
	require.NoError(t, db.Ingest(context.Background(), []store.Pair{{Key: append([]byte{byte(store.Journal)}, block...)}}))
}

// endOf is the mark of the journal's last block.
func endOf(t *testing.T, db *store.Store) store.Mark {
	t.Helper()
	mark, err := ledger.End(db)
	require.NoError(t, err)
	return mark
}

// amountAt puts amount in place of the one that begins at offset.
func amountAt(value []byte, offset int, amount int64) []byte {
	_, n := binary.Varint(value[offset:])
	changed := binary.AppendVarint(append([]byte(nil), value[:offset]...), amount)
	return append(changed, value[offset+n:]...)
}

// skip returns the offset behind n varints of either sort.
func skip(value []byte, offset, n int) int {
	for range n {
		_, size := binary.Uvarint(value[offset:])
		offset += size
	}
	return offset
}

// heldTotal is where the meta entity has what the first programme's members have
// held: behind version, position, posting time, date, the generations, the
// registry's version, the number of references, the programme and its accounts.
func heldTotal(meta []byte) int {
	at := skip(meta, 1, 3)
	generations, size := binary.Uvarint(meta[at:])
	return skip(meta, at+size, int(generations)+4)
}

// captured is where a hold's entity has what was captured: behind version, state,
// account, acquirer, merchant and terminal, two dates and what was reserved.
func captured(hold []byte) int {
	at := skip(hold, 3, 3) + len(points.MerchantID{}) + len(points.TerminalID{})
	return skip(hold, at, 3)
}
