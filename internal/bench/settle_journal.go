package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/tariff"
)

// Groups in which the journal of a night is written. Of busy switches a block has hundreds
// of records, of others some tens; a block is what is read, proved and unpacked at once.
const (
	busyGroup = 600
	calmGroup = 30

	journalAccounts = 20_000
)

// journalRun measures how a run reads the records of its cut.
type journalRun struct {
	*settleRun
	key       *certs.CardKey
	db        *store.Store
	ledger    *ledger.Ledger
	from      points.Timestamp // when rates are in force
	serial    uint64
	positions []points.Position // of what was asked, by serial
	sales     []uint64          // serials of redemptions that nothing undoes yet
}

// stretch is a part of the journal, and what it clears.
type stretch struct {
	group       int
	first, last points.Position
	items       uint64
	points      points.Amount
}

// journal fills a ledger with so many records of a day, half of them in large groups and
// half in small ones, and reads them as both passes of a run do, beside a plain read of
// the same blocks.
func (r *settleRun) journal(ctx context.Context) (err error) {
	j := &journalRun{settleRun: r, positions: make([]points.Position, 1, r.opts.Journal+1)}
	folder := store.Options{Dir: filepath.Join(r.dir, "journal")}
	r.opts.Progress(fmt.Sprintf("filling a journal with %d records", r.opts.Journal), time.Duration(r.opts.Journal)*20*time.Microsecond) //nolint:gosec // at most millions.
	if err := store.Create(folder); err != nil {
		return err
	}
	if err := j.open(ctx, folder); err != nil {
		return err
	}
	stretches, err := j.fill(ctx)
	if err := errors.Join(err, j.ledger.Close(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	if err := j.open(ctx, folder); err != nil { // So that it is read from tables, as a day would be.
		return err
	}
	defer func() { err = errors.Join(err, j.ledger.Close(context.WithoutCancel(ctx))) }()
	for i := range stretches {
		if err := j.read(ctx, &stretches[i]); err != nil {
			return err
		}
	}
	return nil
}

func (j *journalRun) open(ctx context.Context, folder store.Options) (err error) {
	if j.db, err = store.Open(folder); err != nil {
		return err
	}
	if j.ledger, err = openLedger(ctx, j.db, journalAccounts, j.opts.Clock, nil); err != nil {
		return errors.Join(err, j.db.Close())
	}
	return nil
}

// fill enters the world, a rate and the records.
func (j *journalRun) fill(ctx context.Context) (stretches []stretch, err error) {
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("bench: card key: %w", err)
	}
	j.key = certs.NewCardKey(random)
	if err := enter(ctx, j.ledger, j.key, 1, journalAccounts, "", signers{}, j.opts.Clock); err != nil {
		return nil, err
	}
	f := furnisher{ledger: j.ledger, at: points.TimestampOf(j.opts.Clock())}
	j.from = f.at + 2*tariff.LeadTime
	rate := book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: worldProgram, Side: tariff.Clear, From: j.from, Num: 3, Den: 7}}}
	if err := f.do(ctx, []book.Command{{Kind: book.KindPut, At: f.at, Operator: "maker", Second: "checker", Entry: rate}}); err != nil {
		return nil, err
	}
	for _, group := range []int{busyGroup, calmGroup} {
		s := stretch{group: group, first: j.ledger.Durable() + 1}
		j.sales = j.sales[:0]                                                            // What is undone lies in groups of the same size.
		for written := uint64(0); written < j.opts.Journal/2; written += uint64(group) { //nolint:gosec // one of two constants.
			if err := j.group(ctx, &s); err != nil {
				return nil, err
			}
		}
		s.last = j.ledger.Durable()
		stretches = append(stretches, s)
	}
	return stretches, nil
}

// group carries out as many requests as are in a group, together.
func (j *journalRun) group(ctx context.Context, s *stretch) error {
	commands := make([]book.Command, s.group)
	var sales []uint64
	for i := range commands {
		j.serial++
		if err := j.request(&commands[i]); err != nil {
			return err
		}
		s.items++
		s.points += commands[i].Amount
		if commands[i].Kind == book.KindRedeem {
			sales = append(sales, j.serial)
		}
	}
	first := j.ledger.Durable() + 1
	f := furnisher{ledger: j.ledger}
	if err := f.do(ctx, commands); err != nil {
		return err
	}
	for i := range commands {
		j.positions = append(j.positions, first+points.Position(i))
	}
	j.sales = append(j.sales, sales...)
	return nil
}

// request makes up the request of the current serial: of twenty 15 redemptions, three
// earns, a refund of any sale before and a void of one of the last.
func (j *journalRun) request(cmd *book.Command) error {
	pan, err := worldCard(1 + j.serial*7919%journalAccounts)
	if err != nil {
		return err
	}
	terminal, terminalErr := worldTerminal(0)
	merchant, merchantErr := points.ParseMerchantID(worldMerchant)
	*cmd = book.Command{
		Kind: book.KindRedeem, Function: points.Redeem, At: j.from + points.Timestamp(j.serial), //nolint:gosec // some millions.
		Key: points.TraceKey{
			Acquirer: worldAcquirer, Source: terminal, When: 1 + j.serial/perSeries, STAN: points.STAN(1 + j.serial%perSeries),
			Class: points.ClassFinancial, Door: points.DoorTerminal,
		},
		Program: worldProgram, Amount: 1 + points.Amount(j.serial%5), Acquirer: worldAcquirer, Merchant: merchant, Terminal: terminal,
	}
	switch of := j.serial % 20; {
	case of < 3:
		cmd.Kind, cmd.Function = book.KindEarn, points.Earn
	case of == 3 && len(j.sales) > 0:
		cmd.Kind, cmd.Function = book.KindRefund, points.Refund
		pan = j.undo(cmd, int(j.serial*104_729%uint64(len(j.sales)))) //nolint:gosec // below the length.
	case of == 4 && len(j.sales) > 0:
		cmd.Kind, cmd.Function = book.KindVoid, points.Void
		pan = j.undo(cmd, len(j.sales)-1)
	default:
	}
	j.key.Token(&cmd.Card, pan)
	return errors.Join(terminalErr, merchantErr)
}

// undo makes cmd about one of the sales, of which nothing is left then, and returns its card.
func (j *journalRun) undo(cmd *book.Command, nth int) points.PAN {
	serial := j.sales[nth]
	j.sales[nth] = j.sales[len(j.sales)-1]
	j.sales = j.sales[:len(j.sales)-1]
	cmd.Original, cmd.Amount = j.positions[serial], 1+points.Amount(serial%5)
	pan, _ := worldCard(1 + serial*7919%journalAccounts) // It was made before.
	return pan
}

// read measures a stretch: the blocks plainly, the records, and what they clear in the
// spans of the first pass and of the second.
func (j *journalRun) read(ctx context.Context, s *stretch) error {
	house := &settlement.House{Ledger: j.ledger, Zone: time.UTC, Masked: func(token points.CardToken) string {
		if pan, ok := j.key.PAN(token); ok {
			return pan.Masked()
		}
		return ""
	}}
	var size uint64
	var copied []byte
	plain, err := j.timed(s, "a plain read of the blocks", func() error {
		size = 0
		return j.blocks(ctx, s, func(block []byte) {
			copied = append(copied[:0], block...)
			size += uint64(len(copied))
		})
	})
	if err != nil {
		return err
	}
	plain.Bytes = float64(size) / float64(s.items)
	if _, err := j.timed(s, "records, decoded", func() error {
		return j.ledger.Scan(ctx, s.first, s.last, func(*book.Record) error { return nil })
	}); err != nil {
		return err
	}
	for _, pass := range []struct {
		name string
		span uint64
	}{{"first", settlement.ChunkPositions}, {"second", settlement.BatchPositions}} {
		name := fmt.Sprintf("what they clear, in spans of the %s pass", pass.name)
		var missed uint64
		m, err := j.timed(s, name, func() (err error) {
			missed, err = s.missed(ctx, house, pass.span)
			return err
		})
		if err != nil {
			return err
		}
		j.report.Checks = append(j.report.Checks, none(fmt.Sprintf("groups of %d, %s pass: items or points that were not read, or too often", s.group, pass.name), missed, "items or points"))
		j.report.note("groups of %d: an item costs the %s pass %.1f times the CPU of a plain read of the blocks", s.group, pass.name, ratio(m.ServerCPU, plain.ServerCPU))
	}
	return nil
}

// blocks visits the blocks of a stretch as they stand in the store.
func (j *journalRun) blocks(ctx context.Context, s *stretch, visit func(block []byte)) error {
	return j.db.Scan(ctx, store.Journal, binary.BigEndian.AppendUint64(nil, uint64(s.first)), func(key, value []byte) (bool, error) {
		if points.Position(binary.BigEndian.Uint64(key)) > s.last {
			return false, nil
		}
		visit(value)
		return true, nil
	})
}

// missed reads what a stretch clears, span by span, and tells by how much it is not what
// was asked.
func (s *stretch) missed(ctx context.Context, house *settlement.House, span uint64) (uint64, error) {
	var items uint64
	var sum points.Amount
	for first := s.first; first <= s.last; first += points.Position(span) {
		err := house.Entries(ctx, first, min(s.last, first+points.Position(span)-1), func(e *settlement.Entry) error {
			items++
			sum += max(e.Amount, -e.Amount)
			return nil
		})
		if err != nil {
			return 0, err //nolint:wrapcheck // the ledger's own words.
		}
	}
	return difference(items, s.items) + difference(uint64(sum), uint64(s.points)), nil //nolint:gosec // sums of absolute amounts.
}

// timed measures work on a stretch three times, on one goroutine.
func (j *journalRun) timed(s *stretch, name string, work func() error) (Measurement, error) {
	var rounds []Measurement
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		watch, err := j.watch()
		if err != nil {
			return Measurement{}, err
		}
		if err := work(); err != nil {
			return Measurement{}, err
		}
		took, used, err := watch.lap()
		if err != nil {
			return Measurement{}, err
		}
		runtime.ReadMemStats(&after)
		rounds = append(rounds, Measurement{
			PerSecond: ratio(float64(s.items), took.Seconds()), ServerCPU: ratio(float64(used.Nanoseconds())/1000, float64(s.items)),
			Allocations: ratio(float64(after.Mallocs-before.Mallocs), float64(s.items)),
		})
	}
	m := median(fmt.Sprintf("groups of %d: %s", s.group, name), rounds)
	j.report.Measurements = append(j.report.Measurements, m)
	return m, nil
}
