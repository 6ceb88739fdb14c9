package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// codecTarget is how many times as fast as moov's own encoders the codec of the
// terminals' dialect has to be.
const codecTarget = 50

// CodecOptions say how the codec is measured.
type CodecOptions struct {
	Dialects []string // "pos", "host"
	Duration time.Duration
	Rounds   int
	Clock    Clock
	Progress Progress
}

// Codec measures reading a redemption and writing its answer, by the compiled plan
// and by moov as it comes, in turns.
func Codec(ctx context.Context, opts CodecOptions) (*Report, error) {
	report := newReport("codec")
	for _, name := range opts.Dialects {
		spoken, err := dialect.ByName(name)
		if err != nil {
			return nil, err
		}
		plan, stock, err := codecSteps(spoken)
		if err != nil {
			return nil, err
		}
		opts.Progress("codec, dialect "+name, 2*time.Duration(opts.Rounds)*opts.Duration)
		var ours, theirs []Measurement
		for range opts.Rounds {
			one, err := measureStep(ctx, opts, plan)
			if err != nil {
				return nil, err
			}
			other, err := measureStep(ctx, opts, stock)
			if err != nil {
				return nil, err
			}
			ours, theirs = append(ours, one), append(theirs, other)
		}
		plain, moov := median("codec "+name+": decode request, encode answer", ours), median("codec "+name+": the same by moov", theirs)
		report.Measurements = append(report.Measurements, plain, moov)
		report.Checks = append(report.Checks, none("codec "+name+": allocations", uint64(plain.Allocations+0.5), "per exchange"))
		faster := round3(ratio(moov.ServerCPU, plain.ServerCPU)) // CPU time: a busy neighbour takes none of it.
		if spokenByPartners(spoken) {
			report.note("codec %s takes %.1f times less CPU than moov, whose ASCII encoders are its fast ones; there is no target.", name, faster)
			continue
		}
		report.Checks = append(report.Checks, atLeast("codec "+name+" against moov, in CPU time", faster, "times", codecTarget))
	}
	return report, nil
}

// codecSteps are the exchange by the plan and the exchange by moov.
func codecSteps(d *dialect.Dialect) (plan, stock func() error, err error) {
	when := uint64(124)
	if spokenByPartners(d) {
		when = 216093015
	}
	asked, err := redemption(d, 1, 7, when, 4711)
	if err != nil {
		return nil, nil, err
	}
	frame, err := d.AppendRequest(nil, &asked)
	if err != nil {
		return nil, nil, fmt.Errorf("bench: encode a redemption: %w", err)
	}
	const position points.Position = 43
	resp := points.Response{
		Reason: points.Approved, Position: position, AuthCode: position.AuthCode(), Date: 20260216, LocalDate: 216, LocalTime: 93015,
		Amount: asked.Amount, Acquirer: worldAcquirer, Issuer: worldIssuer, Program: worldProgram, Used: asked.Amount,
	}
	resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: worldProgram, Amount: 1200})
	resp.AddBalance(points.Balance54{Kind: points.LedgerBalance, Program: worldProgram, Amount: 1200})
	moov, err := dialect.NewBaseline(d, frame, &resp)
	if err != nil {
		return nil, nil, err
	}
	var req points.Request
	var out []byte
	plan = func() error {
		if err := d.Decode(frame, &req); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		out = d.AppendResponse(out[:0], &req, &resp)
		return nil
	}
	return plan, moov.Step, nil
}

// measureStep repeats step for the duration of opts.
func measureStep(ctx context.Context, opts CodecOptions, step func() error) (Measurement, error) {
	const between = 64 // steps between two looks at the clock
	if err := step(); err != nil {
		return Measurement{}, err // The first one fills buffers and pools.
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpuBefore, err := ownCPU()
	if err != nil {
		return Measurement{}, err
	}
	began, steps := opts.Clock(), 0
	took := time.Duration(0)
	for ; took < opts.Duration && ctx.Err() == nil; took = opts.Clock().Sub(began) {
		for range between {
			if err := step(); err != nil {
				return Measurement{}, err
			}
		}
		steps += between
	}
	cpu, err := ownCPU()
	if err != nil {
		return Measurement{}, err
	}
	runtime.ReadMemStats(&after)
	if err := ctx.Err(); err != nil {
		return Measurement{}, fmt.Errorf("bench: %w", err)
	}
	each := float64(took.Nanoseconds()) / float64(steps) / 1e3
	return Measurement{
		PerSecond: float64(steps) / took.Seconds(), Latency: Latency{P50: each}, Rounds: 1,
		ServerCPU:   float64((cpu - cpuBefore).Nanoseconds()) / float64(steps) / 1e3,
		Allocations: float64(after.Mallocs-before.Mallocs) / float64(steps),
	}, nil
}
