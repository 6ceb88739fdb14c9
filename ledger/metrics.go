package ledger

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/points"
)

type metrics struct {
	registerer prometheus.Registerer // nil: none
	all        []prometheus.Collector

	batch      prometheus.Histogram
	latency    prometheus.Histogram
	written    prometheus.Gauge
	position   prometheus.Gauge
	checkpoint prometheus.Gauge
	overloaded prometheus.Counter
	bytes      prometheus.Counter
	unvalued   prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer, l *Ledger) (*metrics, error) {
	m := &metrics{
		registerer: registerer,
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "lianfen_ledger_group_records", Help: "Journal records written by one group commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 14),
		}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "lianfen_ledger_commit_seconds", Help: "Time from applying a group to its being on disk.", Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16),
		}),
		written:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "lianfen_ledger_written_position", Help: "Last journal position that was handed to the store."}),
		position:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "lianfen_ledger_position", Help: "Last journal position that is on disk."}),
		checkpoint: prometheus.NewGauge(prometheus.GaugeOpts{Name: "lianfen_ledger_checkpoint_position", Help: "Journal position of the last checkpoint; what lies between is replayed at a start."}),
		overloaded: prometheus.NewCounter(prometheus.CounterOpts{Name: "lianfen_ledger_overloaded_total", Help: "Commands refused because the queue was full."}),
		bytes:      prometheus.NewCounter(prometheus.CounterOpts{Name: "lianfen_ledger_block_bytes_total", Help: "Bytes of journal blocks."}),
	}
	m.unvalued = prometheus.NewGauge(prometheus.GaugeOpts{Name: "lianfen_clearing_unvalued_items", Help: "Items of the open cycle that have no value: there was no rate or no fee, or a sum would not fit."})
	waiting := prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "lianfen_ledger_queue_commands", Help: "Commands that wait to be applied."},
		func() float64 { return float64(l.waiting()) },
	)
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.batch, m.latency, m.written, m.position, m.checkpoint, m.overloaded, m.bytes, m.unvalued, waiting} {
		if err := registerer.Register(c); err != nil {
			m.unregister()
			return nil, fmt.Errorf("ledger: register metrics: %w", err)
		}
		m.all = append(m.all, c)
	}
	return m, nil
}

// unregister makes room for the metrics of the next ledger.
func (m *metrics) unregister() {
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

func (m *metrics) applied(position points.Position) { m.written.Set(float64(position)) }

func (m *metrics) refused(reason points.Reason) {
	if reason == points.Overloaded {
		m.overloaded.Inc()
	}
}

func (m *metrics) committed(g *group) {
	m.batch.Observe(float64(g.last - g.first + 1))
	m.latency.Observe(time.Since(g.began).Seconds()) //nolint:forbidigo // a metric, not a decision.
	m.position.Set(float64(g.last))
	m.bytes.Add(float64(g.size))
}

func (m *metrics) recovered(position points.Position, checkpoint uint64) {
	m.written.Set(float64(position))
	m.position.Set(float64(position))
	m.checkpointed(checkpoint)
}

func (m *metrics) checkpointed(position uint64) { m.checkpoint.Set(float64(position)) }
