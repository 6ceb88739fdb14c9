package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// A file of answers is a list of series, each as
//
//	8   the connection's number, with signedMark where its terminal makes MACs
//	8   the series as it stands on the wire
//	8   how many requests it numbered
//	8   for each of them, STAN 1 first: the position that its approval named, 0
//	    where there was none
//
// all big-endian.

// signedMark tells the terminals that make MACs from the others.
const signedMark = 1 << 32

// writeAnswers writes what conns were told.
func writeAnswers(path string, conns []*sender) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("bench: keep the answers: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriterSize(file, 1<<20)
	var buf []byte
	for _, c := range conns {
		number := uint64(c.number) //nolint:gosec // counts from 0.
		if c.answers.signed {
			number |= signedMark
		}
		for i, when := range c.numbered {
			of := c.position[min(i*perSeries, len(c.position)):min((i+1)*perSeries, len(c.position))]
			buf = binary.BigEndian.AppendUint64(buf[:0], number)
			buf = binary.BigEndian.AppendUint64(buf, when)
			buf = binary.BigEndian.AppendUint64(buf, uint64(len(of)))
			for _, p := range of {
				buf = binary.BigEndian.AppendUint64(buf, uint64(p))
			}
			if _, err := out.Write(buf); err != nil {
				return fmt.Errorf("bench: keep the answers: %w", err)
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("bench: keep the answers: %w", err)
	}
	return nil
}

// numbering is a series of one terminal's.
type numbering struct {
	terminal points.TerminalID
	when     uint64
}

// Answers are the positions that approvals named, by series and STAN.
type Answers struct {
	partners bool // told apart by DE7 alone: a partner has no terminal of its own in the key
	all      map[numbering][]points.Position
	count    uint64
}

func newAnswers(partners bool) *Answers {
	return &Answers{partners: partners, all: map[numbering][]points.Position{}}
}

// add reads a file of answers.
func (a *Answers) add(path string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := bufio.NewReaderSize(file, 1<<20)
	for {
		var head [3]uint64
		if err := binary.Read(in, binary.BigEndian, &head); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("bench: read %s: %w", path, err)
		}
		key := numbering{when: head[1]}
		if !a.partners {
			of := worldTerminal
			if head[0]&signedMark != 0 {
				of = signedTerminal
			}
			if key.terminal, err = of(int(head[0] &^ signedMark)); err != nil { //nolint:gosec // as it was written.
				return err
			}
		}
		if _, twice := a.all[key]; twice {
			return fmt.Errorf("bench: series %d of connection %d was sent twice", head[1], head[0])
		}
		of := make([]points.Position, min(head[2], perSeries))
		if err := binary.Read(in, binary.BigEndian, of); err != nil {
			return fmt.Errorf("bench: read %s: %w", path, err)
		}
		a.all[key] = of
		for _, p := range of {
			if p != 0 {
				a.count++
			}
		}
	}
}

// Tally is what a journal says to the answers.
type Tally struct {
	Answers  uint64 // approvals that the generators got
	Approved uint64 // redemptions that the journal approved
	Found    uint64 // answers whose request stands at the position that they named
	Missing  uint64 // answers that the journal does not have
	Doubled  uint64 // requests that the journal approved more than once
	Strange  uint64 // approvals in the journal that nobody was told of, or at another position
}

// wrong is how many answers are not in the journal exactly once, and the other
// way round.
func (t Tally) wrong() uint64 { return t.Missing + t.Doubled + t.Strange }

// reader is a journal that is read from from to to.
type reader interface {
	Scan(ctx context.Context, from, to points.Position, visit func(*book.Record) error) error
}

var _ reader = (*ledger.Archive)(nil)

// CheckJournal looks up every answer in the journal from position from on. Each has
// to be there once, as its own request, at the position that the answer named, and
// there may be no approved redemption that was not answered.
func CheckJournal(ctx context.Context, journal reader, from points.Position, answers *Answers) (Tally, error) {
	t := Tally{Answers: answers.count}
	const done = ^points.Position(0) // of an answer that was found
	approvals := approvals{forwarded: map[points.Position]points.TraceKey{}}
	err := journal.Scan(ctx, from, ^points.Position(0), func(rec *book.Record) error {
		trace, position := approvals.read(rec)
		if position == 0 {
			return nil
		}
		t.Approved++
		key := numbering{when: trace.When}
		if !answers.partners {
			key.terminal = trace.Source
		}
		of := answers.all[key]
		at := int(trace.STAN) - 1
		switch {
		case at < 0 || at >= len(of):
			t.Strange++
		case of[at] == done:
			t.Doubled++
		case of[at] != position:
			t.Strange++
		default:
			of[at] = done
			t.Found++
		}
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("bench: read the journal: %w", err)
	}
	t.Missing = t.Answers - t.Found
	return t, nil
}

// approvals finds the redemptions that a journal approves.
type approvals struct {
	forwarded map[points.Position]points.TraceKey // to their issuer, and not decided yet
}

// read returns identity and position of the redemption that rec approves; position is
// 0 when it approves none.
func (a *approvals) read(rec *book.Record) (key points.TraceKey, position points.Position) {
	cmd, out := &rec.Command, &rec.Outcome
	switch {
	case !out.Reason.Approved():
	case cmd.Kind == book.KindRedeem:
		return cmd.Key, out.Position
	case cmd.Kind == book.KindForward && cmd.Function == points.Redeem:
		a.forwarded[out.Position] = cmd.Key
	case out.Answer != 0: // Of a forwarded one: what its acquirer was told.
		key, found := a.forwarded[out.Original]
		delete(a.forwarded, out.Original)
		if found && out.Answer.Approved() {
			return key, out.Original
		}
	}
	return key, 0
}
