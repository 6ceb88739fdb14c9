package settlement

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/points"
)

// Steps that take their time.
const (
	StepCompute   = "compute"
	StepPlain     = "plain read"
	StepRender    = "render"
	StepSets      = "sets"
	StepProve     = "prove"
	StepPublish   = "publish"
	StepDiffering = "compare"
)

// Progress is how far a step is. Rows are positions of the journal, sets or files.
type Progress struct {
	Step  string           `json:"step"`
	Done  uint64           `json:"done"`
	Total uint64           `json:"total"`
	Began points.Timestamp `json:"began"`
	At    points.Timestamp `json:"at"`
}

// PerSecond is how many rows were done in a second so far.
func (p Progress) PerSecond() uint64 {
	took := p.At - p.Began
	if took <= 0 {
		return 0
	}
	return p.Done * 1_000_000 / uint64(took)
}

// Left is how many seconds the rest takes at that speed.
func (p Progress) Left() uint64 {
	speed := p.PerSecond()
	if speed == 0 || p.Done > p.Total {
		return 0
	}
	return (p.Total - p.Done) / speed
}

// progress counts what is done. Its steps are begun by one goroutine at a time, and
// counted by many.
type progress struct {
	clock points.Clock
	done  atomic.Uint64
	mu    sync.Mutex
	now   Progress
}

func (p *progress) begin(step string, total uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done.Store(0)
	p.now = Progress{Step: step, Total: total, Began: p.clock()}
}

func (p *progress) add(n uint64) { p.done.Add(n) }

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done.Store(0)
	p.now = Progress{}
}

// read tells how far the step is; of none, nothing.
func (p *progress) read() Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now
	if now.Step != "" {
		now.Done, now.At = p.done.Load(), p.clock()
	}
	return now
}

// register registers the gauges of progress.
func (p *progress) register(registry prometheus.Registerer) error {
	for name, read := range map[string]func(Progress) float64{
		"rows_done":       func(now Progress) float64 { return float64(now.Done) },
		"rows_total":      func(now Progress) float64 { return float64(now.Total) },
		"rows_per_second": func(now Progress) float64 { return float64(now.PerSecond()) },
		"seconds_left":    func(now Progress) float64 { return float64(now.Left()) },
	} {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "lianfen", Subsystem: "settlement", Name: name, Help: "Of the step of a settlement run that is under way; 0: none is.",
		}, func() float64 { return read(p.read()) })
		if err := registry.Register(gauge); err != nil {
			return err //nolint:wrapcheck // it names the gauge.
		}
	}
	return nil
}
