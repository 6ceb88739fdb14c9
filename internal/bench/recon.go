package bench

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/reconcile"
)

// Targets of a reconciliation of 10 million lines on each of three sides; docs/performance.md
// says where they come from. Smaller days have their part of the time.
const (
	reconLines         = 10_000_000
	targetReconSeconds = 30
	targetReconHeapMB  = 512
)

// ReconOptions say what is compared.
type ReconOptions struct {
	Clock    Clock
	Progress Progress
	Dir      string // where the temporary folder is made; "": the system's
	Keep     bool
	Lines    uint64  // on each side
	Members  int     // half of them issuers, half acquirers, with a file each
	Faults   float64 // of a hundred lines, how many have a fault, of all classes in turn
}

// reconRun is one run.
type reconRun struct {
	opts   ReconOptions
	report *Report
	dir    string
	day    reconDay
	apart  [2]uint64 // rows that are ours only or a partner's only, by side
}

// Recon compares three made-up sides of a day line by line: partners' files on disk with
// lines of ours, beside sort and comm on the same lines. Every fault that was planted has
// to be found once, in its class, and no other.
func Recon(ctx context.Context, opts ReconOptions) (_ *Report, err error) {
	r := &reconRun{opts: opts, report: newReport("recon"), day: reconDay{lines: opts.Lines, half: uint64(opts.Members / 2), perMillion: uint64(opts.Faults * 10_000)}} //nolint:gosec // some hundreds.
	if r.dir, err = os.MkdirTemp(opts.Dir, "lianfen-bench-"); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if opts.Keep {
		r.report.Kept = r.dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	}
	opts.Progress("making files up", time.Duration(opts.Lines)*2*time.Microsecond) //nolint:gosec // lines are bounded.
	if err := r.write(); err != nil {
		return nil, err
	}
	opts.Progress("a plain read of the files", time.Duration(opts.Lines)*time.Microsecond/10) //nolint:gosec // as above.
	if err := r.plain(); err != nil {
		return nil, err
	}
	for _, way := range []struct {
		name  string
		order func(sources []reconcile.Lines) (reconcile.Lines, func() error, error)
	}{{"totals only", nil}, {"line by line, files in order", inOrder}, {"line by line, files in any order", r.sorted}} {
		opts.Progress(way.name, time.Duration(opts.Lines)*3*time.Microsecond) //nolint:gosec // as above.
		if err := r.compare(way.name, way.order); err != nil {
			return nil, err
		}
	}
	return r.report, r.baseline(ctx)
}

// reconDay makes lines up: the same numbers give the same day.
type reconDay struct {
	lines, half, perMillion uint64
}

// fault is what is wrong with a line.
type fault struct {
	class reconcile.Class
	side  reconcile.Side
}

// faults are planted in turn. A row that cannot be read is missing, too.
func faults() []fault {
	all := []fault{{reconcile.MissingIss, reconcile.Issuer}, {reconcile.MissingAcq, reconcile.Acquirer}, {reconcile.MissingSwitch, reconcile.Switch}}
	for _, class := range []reconcile.Class{reconcile.Amount, reconcile.Status, reconcile.Asset, reconcile.Fee, reconcile.Date} {
		all = append(all, fault{class, reconcile.Acquirer}, fault{class, reconcile.Issuer})
	}
	return append(all, fault{reconcile.DupIss, reconcile.Issuer}, fault{reconcile.DupAcq, reconcile.Acquirer}, fault{reconcile.BadRow, reconcile.Acquirer}, fault{reconcile.BadRow, reconcile.Issuer})
}

// mix is a hash of a number (SplitMix64).
func mix(n uint64) uint64 {
	n *= 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// wrong is what is planted at a line, from 1; nothing at most.
func (d *reconDay) wrong(n uint64) fault {
	h := mix(n + 1<<40)
	if h%1_000_000 >= d.perMillion {
		return fault{reconcile.Match, reconcile.Switch}
	}
	all := faults()
	return all[h>>32%uint64(len(all))]
}

// Numbers of the day.
const (
	reconDate         = points.BusinessDate(20260302)
	reconAcquirers    = 20_000_000
	reconIssuers      = 10_000_000
	reconTells        = reconcile.TellsStatus | reconcile.TellsFee | reconcile.TellsDate
	reconHeader       = "rrn,acquirer,transmitted,stan,kind,amount,asset,status,fee,business_date\n"
	reconFileBuffer   = 1 << 16
	reconDistinctDays = 86_400
)

// line makes up line n as it is here, which is how both partners should see it.
func (d *reconDay) line(l *reconcile.Line, n uint64) {
	h := mix(n)
	*l = reconcile.Line{
		Key:    reconcile.Key{Acquirer: points.AcquirerID(reconAcquirers + h%d.half), When: clockOf(n % reconDistinctDays), STAN: points.STAN(1 + n%999_999)},
		Number: n, CID: n, Amount: int64(1 + h>>24%500_000), Issuer: points.IssuerID(reconIssuers + h>>16%d.half), Date: reconDate,
		Tells: reconTells, Expect: reconcile.Both,
	}
	copy(l.RRN[:], "000000000000")
	for i, rest := len(l.RRN)-1, n; rest > 0; i, rest = i-1, rest/10 {
		l.RRN[i] = byte('0' + rest%10)
	}
	copy(l.Kind[:], "RDM")
	copy(l.Status[:], "00")
	copy(l.Asset[:], "901   ")
	l.Fees = [3]int64{reconcile.Acquirer: -int64(h >> 50), reconcile.Issuer: int64(h >> 52)}
}

// clockOf is a second of the day as DE7 with the year.
func clockOf(second uint64) uint64 {
	return uint64(reconDate)*1_000_000 + second/3600*10_000 + second/60%60*100 + second%60
}

// appendRow is a line in the file of one side.
func appendRow(dst []byte, l *reconcile.Line, side reconcile.Side) []byte {
	amount := l.Amount
	if side == reconcile.Issuer {
		amount = -amount
	}
	dst = append(append(dst, l.RRN[:]...), ',')
	dst = append(strconv.AppendUint(dst, uint64(l.Acquirer), 10), ',')
	dst = append(strconv.AppendUint(dst, l.When, 10), ',')
	dst = append(strconv.AppendUint(dst, uint64(l.STAN), 10), ',')
	dst = append(append(dst, l.Kind[:]...), ',')
	dst = append(strconv.AppendInt(dst, amount, 10), ',')
	dst = append(append(dst, strings.TrimRight(string(l.Asset[:]), " ")...), ',')
	dst = append(append(dst, l.Status[:]...), ',')
	dst = append(strconv.AppendInt(dst, l.Fees[side], 10), ',')
	return append(append(dst, l.Date.String()...), '\n')
}

// memberFile is a partner's file that is being written.
type memberFile struct {
	file   *os.File
	out    *bufio.Writer
	hash   hash.Hash
	lines  uint64
	amount int64
}

func (r *reconRun) path(side reconcile.Side, member uint64) string {
	return filepath.Join(r.dir, fmt.Sprintf("%v-%d.csv", side, member))
}

// ours is where our lines stand as a side's file would have them, for others to compare.
func (r *reconRun) ours(side reconcile.Side) string {
	return filepath.Join(r.dir, fmt.Sprintf("ours-%v.txt", side))
}

func createMember(path string) (*memberFile, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	f := &memberFile{file: file, hash: sha256.New()}
	f.out = bufio.NewWriterSize(io.MultiWriter(file, f.hash), reconFileBuffer)
	_, err = f.out.WriteString(reconHeader)
	return f, err //nolint:wrapcheck // as above.
}

// end writes the trailer.
func (f *memberFile) end() error {
	if err := f.out.Flush(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	_, err := fmt.Fprintf(f.file, "#TOTAL,%d,%d,%s\n", f.lines, f.amount, hex.EncodeToString(f.hash.Sum(nil)))
	return errors.Join(err, f.file.Close())
}

// write makes up the files of all partners, and ours for other programs.
func (r *reconRun) write() (err error) {
	var all [3][]*memberFile
	var ours [3]*bufio.Writer
	for _, side := range partnerSides() {
		file, err := os.Create(r.ours(side))
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		ours[side] = bufio.NewWriterSize(file, 1<<20)
		for member := range r.day.half {
			f, err := createMember(r.path(side, member))
			if err != nil {
				return err
			}
			all[side] = append(all[side], f)
		}
	}
	var line reconcile.Line
	for n := uint64(1); n <= r.day.lines; n++ {
		r.day.line(&line, n)
		wrong := r.day.wrong(n)
		for _, side := range partnerSides() {
			member := uint64(line.Acquirer) - reconAcquirers
			if side == reconcile.Issuer {
				member = uint64(line.Issuer) - reconIssuers
			}
			theirs := line
			rows, apart := wrong.plant(&theirs, side)
			r.apart[side-1] += apart
			if err := all[side][member].put(&theirs, side, rows, wrong == fault{reconcile.BadRow, side}); err != nil {
				return err
			}
			if wrong.class == reconcile.MissingSwitch {
				continue
			}
			if _, err := ours[side].Write(appendRow(nil, &line, side)); err != nil {
				return fmt.Errorf("bench: %w", err)
			}
		}
	}
	for _, side := range partnerSides() {
		if err := ours[side].Flush(); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		for _, f := range all[side] {
			if err := f.end(); err != nil {
				return err
			}
		}
	}
	return nil
}

func partnerSides() [2]reconcile.Side {
	return [...]reconcile.Side{reconcile.Acquirer, reconcile.Issuer}
}

// put writes the row of a line so many times, or a row that cannot be read.
func (f *memberFile) put(l *reconcile.Line, side reconcile.Side, rows int, bad bool) error {
	row := appendRow(make([]byte, 0, 128), l, side)
	for range rows {
		f.lines++
		if f.amount += l.Amount; side == reconcile.Issuer { // Whose amounts are as its file has them.
			f.amount -= 2 * l.Amount
		}
		if bad {
			row[0] = 'x' // Its DE37 is of eleven characters then.
			row = append(row[:1], row[2:]...)
		}
		if _, err := f.out.Write(row); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	return nil
}

// plant makes a line what the fault makes of it on a side, and returns how often it stands
// there, and how many rows are on one of both sides only then.
func (w fault) plant(l *reconcile.Line, side reconcile.Side) (rows int, apart uint64) {
	if w.class == reconcile.MissingSwitch {
		return 1, 1
	}
	if w.side != side {
		return 1, 0
	}
	switch w.class {
	case reconcile.MissingIss, reconcile.MissingAcq:
		return 0, 1
	case reconcile.DupIss, reconcile.DupAcq:
		return 2, 1
	case reconcile.BadRow:
	case reconcile.Amount:
		l.Amount++
	case reconcile.Status:
		copy(l.Status[:], "05")
	case reconcile.Asset:
		copy(l.Asset[:], "902   ")
	case reconcile.Fee:
		l.Fees[side]++
	case reconcile.Date:
		l.Date = l.Date.AddDays(1)
	default:
		return 1, 0
	}
	return 1, 2
}
