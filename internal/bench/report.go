package bench

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Clock tells the time, monotonic part included.
type Clock func() time.Time

// Progress hears what is being measured and for how long about.
type Progress func(what string, about time.Duration)

// Check is one measured value held against its target.
type Check struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target string  `json:"target"` // ">= 0.6": the sign and the bound
	Pass   bool    `json:"pass"`
}

// atLeast is a check whose value may not be below bound.
func atLeast(name string, value float64, unit string, bound float64) Check {
	return Check{name, value, unit, fmt.Sprintf(">= %v", bound), value >= bound}
}

// atMost is a check whose value may not be above bound. A value of nothing, which
// says that it could not be measured, does not pass.
func atMost(name string, value float64, unit string, bound float64) Check {
	return Check{name, value, unit, fmt.Sprintf("<= %v", bound), value <= bound && value > 0}
}

// none is a check of a count that has to be zero.
func none(name string, count uint64, unit string) Check {
	return Check{name, float64(count), unit, "= 0", count == 0}
}

// Measurement is one line of a run: the median of its rounds. What does not apply
// is zero.
type Measurement struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"per_second"`
	Latency   Latency `json:"latency_us"`
	// CPU time of each side for one request, in microseconds. Of what runs in one
	// process, Server holds all of it.
	ServerCPU    float64 `json:"server_cpu_us"`
	GeneratorCPU float64 `json:"generator_cpu_us"`
	Allocations  float64 `json:"allocations,omitempty"`
	// Group is how many journal records a group commit wrote, on average.
	Group float64 `json:"group_records,omitempty"`
	// Bytes is how many bytes of journal one request took, on average.
	Bytes  float64 `json:"journal_bytes,omitempty"`
	Rounds int     `json:"rounds"`
	// Of a load that measures approvals only, what was declined; of one round.
	Declined        float64 `json:"declined_per_second,omitempty"`
	DeclinedLatency Latency `json:"declined_latency_us,omitzero"`

	took time.Duration
}

// Latency is how long requests took, in microseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// median is the line that stands for rounds: each figure's own median, so that one
// disturbed round moves none of them.
func median(name string, rounds []Measurement) Measurement {
	of := func(figure func(*Measurement) float64) float64 {
		values := make([]float64, len(rounds))
		for i := range rounds {
			values[i] = figure(&rounds[i])
		}
		return medianOf(values)
	}
	return Measurement{
		Name:      name,
		PerSecond: of(func(m *Measurement) float64 { return m.PerSecond }),
		Latency: Latency{
			P50:  of(func(m *Measurement) float64 { return m.Latency.P50 }),
			P90:  of(func(m *Measurement) float64 { return m.Latency.P90 }),
			P99:  of(func(m *Measurement) float64 { return m.Latency.P99 }),
			P999: of(func(m *Measurement) float64 { return m.Latency.P999 }),
			Max:  of(func(m *Measurement) float64 { return m.Latency.Max }),
		},
		ServerCPU:    of(func(m *Measurement) float64 { return m.ServerCPU }),
		GeneratorCPU: of(func(m *Measurement) float64 { return m.GeneratorCPU }),
		Allocations:  of(func(m *Measurement) float64 { return m.Allocations }),
		Group:        of(func(m *Measurement) float64 { return m.Group }),
		Bytes:        of(func(m *Measurement) float64 { return m.Bytes }),
		Rounds:       len(rounds),
	}
}

// medianOf is the middle of values, the lower one of two; 0 of none.
func medianOf[T cmp.Ordered](values []T) (middle T) {
	if len(values) == 0 {
		return middle
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// ratio is a over b, 0 when there is no b: it then meets no target.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Machine is what a run was measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	System string `json:"system"`
	Go     string `json:"go"`
}

// thisMachine describes the machine that the process runs on.
func thisMachine() Machine {
	m := Machine{CPU: "unknown", Cores: runtime.GOMAXPROCS(0), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m // Another system: the name stays unknown.
	}
	for line := range strings.Lines(string(text)) {
		if name, model, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(model)
			break
		}
	}
	return m
}

// Report is what a run measured, and whether that is enough.
type Report struct {
	Command      string        `json:"command"`
	Machine      Machine       `json:"machine"`
	Measurements []Measurement `json:"measurements"`
	Checks       []Check       `json:"checks"`
	// Notes are what a reader of the figures has to know beside them.
	Notes []string `json:"notes,omitempty"`
	// Kept is the folder with store and logs, when it was to be kept.
	Kept string `json:"kept,omitempty"`
}

func newReport(command string) *Report {
	return &Report{Command: command, Machine: thisMachine(), Measurements: []Measurement{}, Checks: []Check{}}
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Failed is how many checks fall short of their targets.
func (r *Report) Failed() int {
	failed := 0
	for _, c := range r.Checks {
		if !c.Pass {
			failed++
		}
	}
	return failed
}
